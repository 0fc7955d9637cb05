// SPDX-License-Identifier: MIT
/*
 * What a schedule is expected to take, in a first run and in one right after it: its sections one
 * after another, each loaded as the card loads it (rdu_planes_load()).
 */
#include "backend.h"

uint64_t be_load_cycles(const struct backend *be, const struct uimage *im)
{
	return rdu_pload_cycles(&be->chip, im->size, NULL) +
	       rdu_aload_cycles(&be->chip, (uint32_t)im->num_segments);
}

struct rdu_load be_load(const struct backend *be, struct be_loads *l, struct uimage *im)
{
	struct rdu_load load = rdu_planes_load(&be->chip, &l->planes, im, 0, im->size, &l->under);

	load.cycles += rdu_aload_cycles(&be->chip, (uint32_t)im->num_segments);
	l->under = (struct rdu_load_under){ im->cycles, im->dram_bytes };
	return load;
}

/* ---- a schedule ------------------------------------------------------------------- */

struct walk {
	const struct backend *be;
	struct be_loads loads;
	struct be_run *run;
	bool kept; /* what KEEP steps bring is there */
};

static void add_section(struct walk *w, struct uimage *im, uint64_t times)
{
	const struct backend *be = w->be;
	struct rdu_load load = be_load(be, &w->loads, im);
	struct be_run *r = w->run;

	r->exec += times * im->cycles;
	r->load += times * load.cycles;
	r->load_bytes += times * load.bytes;
	r->dram_bytes += times * im->dram_bytes;
	r->macs += times * im->macs;
	r->array_macs += times * be_array_macs(be, im);
	rdu_energy_add(&r->energy, &im->energy, times);
	r->energy.memory += (double)times * rdu_load_energy(&be->chip, load.bytes).memory;
	r->energy.idle += rdu_idle_energy(&be->chip, (uint32_t)be->tiles, times * load.cycles);
}

static uint32_t loop_end(const struct rdu_prog_step *step, uint32_t at)
{
	int open = 1;

	while (open) {
		at++;
		open += (step[at].kind == RDU_STEP_LOOP) - (step[at].kind == RDU_STEP_END);
	}
	return at;
}

/* Of n steps, so many times. From the second iteration of a loop on, all find the same in the
 * planes and the same section before them. */
static void walk(struct walk *w, const struct rdu_prog_step *step, uint32_t n, uint64_t times)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t end, count = step[i].arg;

		if (step[i].kind == RDU_STEP_LOOP) {
			end = loop_end(step, i);
			if (count)
				walk(w, step + i + 1, end - i - 1, times);
			if (count > 1)
				walk(w, step + i + 1, end - i - 1, times * (count - 1));
			i = end;
		} else if (step[i].kind == RDU_STEP_RUN || !w->kept) {
			add_section(w, w->be->section[count].im, times);
		}
	}
}

void be_expect_steps(const struct backend *be, const struct rdu_prog_step *step, uint32_t n,
		     struct be_run *first, struct be_run *later)
{
	struct walk w = { .be = be, .run = first };

	*first = *later = (struct be_run){ 0 };
	walk(&w, step, n, 1);
	w.run = later;
	w.kept = true;
	w.loads.under.cycles = 0; /* nothing is loaded before its run begins */
	walk(&w, step, n, 1);
}

struct be_expected be_expect(const struct backend *be, int entry)
{
	struct be_expected x = { .compulsory_bytes = be_compulsory(be, entry) };
	const struct rdu_prog_step *step = &be->step[be->entry[entry].first_step];
	uint32_t n = be->entry[entry].num_steps;

	be_expect_steps(be, step, n, &x.first, &x.later);
	for (uint32_t i = 0; i < n; i++) {
		const struct uimage *im;

		if (step[i].kind == RDU_STEP_LOOP || step[i].kind == RDU_STEP_END)
			continue;
		im = be->section[step[i].arg].im;
		x.sections++;
		for (int u = 0; u < 3; u++)
			if (im->used[u] > x.used[u])
				x.used[u] = im->used[u];
	}
	return x;
}
