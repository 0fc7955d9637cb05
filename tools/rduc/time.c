// SPDX-License-Identifier: MIT
/*
 * How long a section takes by the card's own clock.
 *
 * While rduc chooses, it asks for many sections that are alike: layers of a network, and one nest
 * again and again, each time with other scratchpads taken. Those that differ only by the places
 * of their units are taken to be as long as the first that was timed. What is reported in the
 * end is each section's own time, and a card on this host that runs it need not find it again.
 *
 * Below -O3 it chooses by estimates (qemu-device/model/timing_estimate.c), and the clock is asked only for
 * what is reported.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"
#include "rdu/program.h"
#include "timing_priv.h"
#include "workers.h"

/* Of the stage that a program is in. */
struct stage_time {
	uint64_t busy;
	uint32_t program; /* that sets its pace */
	int bound;
};

struct timed {
	uint64_t likeness;
	uint64_t longer_than; /* cycles; all that is known of it, if cycles is 0 */
	uint64_t cycles, dram_bytes, macs, flops;
	struct rdu_energy energy;
	struct stage_time *program;
};

/* ---- what is alike ---------------------------------------------------------------- */

static uint64_t mix(uint64_t h, const void *data, size_t size)
{
	return rdu_fnv1a(h, data, size);
}

static uint64_t mix_number(uint64_t h, uint64_t n)
{
	return rdu_fnv1a(h, &n, sizeof(n));
}

/* Of all that the time depends on, but for where units are: which of them are the same. */
static uint64_t likeness(const struct uimage *im)
{
	const struct rdu_cfg_header *hdr = im->bytes;
	const unsigned char *bytes = im->bytes;
	uint64_t h = mix_number(RDU_FNV1A_INIT, (uint64_t)im->num_progs);

	for (int i = 0; i < im->num_progs; i++) {
		struct rdu_cfg_program p;

		memcpy(&p, bytes + hdr->programs.offset + (size_t)i * sizeof(p), sizeof(p));
		p.tile = p.unit = p.op_id = 0;
		h = mix_number(mix(h, &p, sizeof(p)), (uint64_t)im->who[i].unit);
	}
	h = mix(h, bytes + hdr->bodies.offset, hdr->bodies.count);
	for (int i = 0; i < im->num_streams; i++) {
		const struct ustream *s = &im->stream[i];

		h = mix_number(mix_number(h, (uint64_t)s->prog), (uint64_t)s->port);
		for (int k = 0; k < s->num_dests; k++)
			h = mix_number(mix_number(h, (uint64_t)s->dest[k].prog),
				       (uint64_t)s->dest[k].port);
	}
	h = mix(h, bytes + hdr->tokens.offset, hdr->tokens.count * sizeof(struct rdu_cfg_token));
	for (int i = 0; i < im->num_buffers; i++) {
		h = mix_number(h, (uint64_t)im->buffer[i].unit);
		h = mix_number(mix_number(h, im->buffer[i].copies), im->buffer[i].words);
	}
	return h;
}

static struct timed *find(struct backend *be, uint64_t likeness)
{
	for (int i = 0; i < be->num_timed; i++)
		if (be->timed[i].likeness == likeness)
			return &be->timed[i];
	be->timed = xroom(be->timed, be->num_timed, &be->room_timed, sizeof(*be->timed));
	be->timed[be->num_timed] = (struct timed){ .likeness = likeness };
	return &be->timed[be->num_timed++];
}

void be_time_end(struct backend *be)
{
	for (int i = 0; i < be->num_timed; i++)
		free(be->timed[i].program);
	free(be->timed);
	be->timed = NULL;
	be->num_timed = be->room_timed = 0;
}

/* ---- what a section learns of it --------------------------------------------------- */

static struct ushare *share_of(struct uimage *im, int op)
{
	for (int i = 0; i < im->num_shares; i++)
		if (im->share[i].op == op)
			return &im->share[i];
	im->share = xgrow(im->share, im->num_shares, sizeof(*im->share));
	im->share[im->num_shares] = (struct ushare){ .op = op, .bound_prog = -1 };
	return &im->share[im->num_shares++];
}

/* What each nest of the section has of it. A unit is counted with the first that uses it. */
static void find_shares(struct uimage *im, const struct timed *t)
{
	bool *seen = xcalloc((size_t)im->num_units + 1, sizeof(bool));

	im->num_shares = 0;
	for (int i = 0; i < im->num_progs; i++) {
		const struct stage_time *g = &t->program[i];
		const struct uwho *w = &im->who[i];
		struct ushare *s = share_of(im, w->op_id);

		s->used[im->unit[w->unit].kind] += !seen[w->unit];
		seen[w->unit] = true;
		if (s->bound_prog < 0 || g->busy > s->busy) {
			s->busy = g->busy;
			s->bound = g->bound;
			s->bound_prog = (int)g->program;
		}
	}
	free(seen);
}

static void take(const struct backend *be, struct uimage *im, const struct timed *t)
{
	uint64_t busy = 0;
	double share;

	im->cycles = t->cycles;
	im->dram_bytes = t->dram_bytes;
	im->macs = t->macs;
	im->flops = t->flops;
	im->energy = t->energy;
	im->energy.idle = rdu_idle_energy(&be->chip, (uint32_t)be->tiles, t->cycles);
	im->bound = RDU_BOUND_NONE;
	im->bound_prog = -1;
	for (int i = 0; i < im->num_progs; i++) {
		if (im->bound_prog >= 0 && t->program[i].busy <= busy)
			continue;
		busy = t->program[i].busy;
		im->bound = t->program[i].bound;
		im->bound_prog = (int)t->program[i].program;
	}
	/* Bandwidth is the chip's: no one stage shows that it is used up. */
	share = (double)im->dram_bytes /
		((double)im->cycles * be->chip.dram_mbps * 1000.0 / be->chip.clock_khz);
	if (share > 0.8)
		im->bound = RDU_BOUND_DRAM;
	find_shares(im, t);
}

/* ---- asking ----------------------------------------------------------------------- */

/* The card's clock is asked, now or beforehand. */
struct asked_time {
	struct work work; /* the first: find_time() */
	struct workers *workers; /* NULL: it was not asked beforehand */
	const struct rdu_chip *chip;
	const struct uimage *im; /* its bytes stay as long as this is asked */
	uint64_t likeness;
	atomic_bool stop; /* nobody wants to know any more */
	struct rdu_patience patience;
	const struct rdu_section_time *time; /* NULL: there is none, or it takes longer */
	struct rdu_cfg_diag invalid; /* why the section is not valid; no text: it is */
	struct asked_time **place, *next; /* in be->asked_times */
};

/* A section takes several times the memory of its image: it is there only while it is timed. */
static void find_time(struct work *work)
{
	static const struct rdu_offchip alone;
	struct asked_time *a = (struct asked_time *)work;
	struct rdu_section *s = rdu_section_new(a->im->bytes, a->im->size, a->chip,
						(uint32_t)a->im->tiles, &a->invalid);

	if (!s)
		return;
	a->time = rdu_section_time_within(s, NULL, &alone, NULL, NULL, &a->patience);
	rdu_section_free(s);
	if (a->patience.cycles && a->time && a->time->cycles > a->patience.cycles) {
		a->patience.longer = true;
		rdu_section_time_put(a->time);
		a->time = NULL;
	}
}

static void release(void *asked)
{
	struct asked_time *a = asked;

	if (a->time)
		rdu_section_time_put(a->time);
	free(a);
}

/* store: so that a card that runs it knows it. */
static struct asked_time *ask_new(const struct backend *be, const struct uimage *im, uint64_t most,
				  bool store)
{
	struct asked_time *a = calloc(1, sizeof(*a));

	if (!a)
		out_of_memory("a time");
	xown(a, release);
	a->chip = &be->chip;
	a->im = im;
	a->patience = (struct rdu_patience){ .cycles = store ? 0 : most,
					     .store = store,
					     .estimate = be_estimates(be) && !store,
					     .stop = &a->stop };
	a->work.run = find_time;
	return a;
}

static void ask_end(struct asked_time *a)
{
	if (a->place) {
		*a->place = a->next;
		if (a->next)
			a->next->place = a->place;
	}
	xdisown(a);
	release(a);
}

/* Another thread does. */
static void ask_ahead(struct backend *be, struct uimage *im, uint64_t likeness, uint64_t most,
		      bool store)
{
	struct asked_time *a;

	be_time_drop(im);
	a = ask_new(be, im, most, store);
	a->likeness = likeness;
	a->workers = be->workers;
	a->place = &be->asked_times;
	a->next = be->asked_times;
	if (a->next)
		a->next->place = &a->next;
	be->asked_times = a;
	im->asked_time = a;
	workers_give(a->workers, &a->work);
}

void be_time_drop(struct uimage *im)
{
	struct asked_time *a = im->asked_time;

	if (!a)
		return;
	atomic_store(&a->stop, true);
	workers_drop(a->workers, &a->work);
	ask_end(a);
	im->asked_time = NULL;
}

/* What was asked beforehand, if it answers what is asked now. NULL: nothing does. */
static struct asked_time *answered(struct uimage *im, uint64_t most, bool store)
{
	struct asked_time *a = im->asked_time;

	if (!a)
		return NULL;
	if (a->patience.store == store && (store || most <= a->patience.cycles)) {
		workers_take(a->workers, &a->work);
		/* That it takes too long to simulate may be so only because it was allowed more. */
		if (a->time || a->patience.longer || store || most == a->patience.cycles) {
			im->asked_time = NULL;
			return a;
		}
	} else if (store && most <= a->patience.cycles) {
		workers_take(a->workers, &a->work); /* to be found by the clock, and stored */
	}
	be_time_drop(im);
	return NULL;
}

/* Are images the same, but for the numbers in them that are for people? */
static bool is_same(const struct uimage *a, const struct uimage *b)
{
	const struct rdu_cfg_header *hdr = a->bytes;
	const unsigned char *x = a->bytes, *y = b->bytes;
	size_t at = hdr->programs.offset, end;

	end = at + hdr->programs.count * sizeof(struct rdu_cfg_program);
	if (a->size != b->size || memcmp(x, y, at) || memcmp(x + end, y + end, a->size - end))
		return false;
	for (; at < end; at += sizeof(struct rdu_cfg_program)) {
		struct rdu_cfg_program p, q;

		memcpy(&p, x + at, sizeof(p));
		memcpy(&q, y + at, sizeof(q));
		p.op_id = q.op_id;
		if (memcmp(&p, &q, sizeof(p)))
			return false;
	}
	return true;
}

/* What was asked of another image that is the same, and answers this; it stays that one's. NULL: nothing does. */
static struct asked_time *answered_for_another(struct backend *be, const struct uimage *im,
					       uint64_t likeness, uint64_t most, bool store)
{
	for (struct asked_time *a = be->asked_times; a; a = a->next) {
		if (a->likeness != likeness || a->patience.store != store ||
		    (!store && most > a->patience.cycles) || !is_same(a->im, im))
			continue;
		workers_take(a->workers, &a->work);
		if (a->time || a->patience.longer)
			return a;
	}
	return NULL;
}

/* Asks the card's clock. As be_time_about(). likeness: of those asked beforehand; store: as of ask_new(). */
static int ask(struct backend *be, struct uimage *im, uint64_t likeness, uint64_t most, bool store,
	       struct timed *to)
{
	struct asked_time *a = answered(im, most, store);
	const struct rdu_section_time *t;
	bool longer, own = true;

	if (!a) {
		a = answered_for_another(be, im, likeness, most, store);
		own = !a;
	}
	if (!a) {
		a = ask_new(be, im, most, store);
		find_time(&a->work);
	}
	if (a->invalid.text[0]) {
		be_error(be, "internal: %s: the section is not valid: %s", im->name,
			 a->invalid.text);
		if (own)
			ask_end(a);
		return -1;
	}
	t = a->time;
	longer = a->patience.longer;
	if (t && t->cycles > most) { /* beforehand, it was allowed more */
		longer = true;
		t = NULL;
	}
	if (t) {
		to->cycles = t->cycles;
		to->dram_bytes = t->dram_bytes;
		to->macs = t->macs;
		to->flops = t->flops;
		to->energy = t->energy;
		to->program =
			xrealloc(to->program, ((size_t)t->num_programs + 1) * sizeof(*to->program));
		for (uint32_t i = 0; i < t->num_programs; i++) {
			const struct rdu_stage_time *g = &t->stages[t->stage_of[i]];

			to->program[i] = (struct stage_time){ g->busy, g->program, (int)g->bound };
		}
	}
	if (own)
		ask_end(a);
	if (!t && !longer)
		return be_error(be, "%s: no time for this section: it takes too long to simulate",
				im->name);
	if (!t && most > to->longer_than)
		to->longer_than = most;
	return t ? 0 : 1;
}

static int time_one(struct backend *be, struct uimage *im)
{
	struct timed t = { 0 };

	if (ask(be, im, 0, UINT64_MAX, true, &t))
		return -1;
	take(be, im, &t);
	free(t.program);
	return 0;
}

static bool is_asked(const struct backend *be, uint64_t likeness)
{
	for (const struct asked_time *a = be->asked_times; a; a = a->next)
		if (a->likeness == likeness)
			return true;
	return false;
}

/* Is it known, or about to be, whether it takes `most`? */
static bool is_known(const struct backend *be, uint64_t likeness, uint64_t most)
{
	if (is_asked(be, likeness))
		return true;
	for (int i = 0; i < be->num_timed; i++)
		if (be->timed[i].likeness == likeness)
			return be->timed[i].cycles || most <= be->timed[i].longer_than;
	return false;
}

bool be_time_ahead(struct backend *be, struct uimage *im, uint64_t most)
{
	uint64_t h;

	if (!be->workers || im->asked_time)
		return false;
	h = likeness(im);
	if (is_known(be, h, most))
		return false;
	ask_ahead(be, im, h, most, false);
	return true;
}

void be_time_all_ahead(struct backend *be, int first)
{
	for (int i = first; be->workers && !be_estimates(be) && i < be->num_sections; i++)
		if (!be->section[i].im->asked_time)
			ask_ahead(be, be->section[i].im, 0, 0, true);
}

static int time_by_clock(struct backend *be)
{
	int ahead = 0;

	for (int i = 0; i < be->num_sections; i++) {
		for (; be->workers && ahead < be->num_sections &&
		       ahead <= i + 2 * workers_num(be->workers);
		     ahead++)
			if (!be->section[ahead].im->asked_time)
				ask_ahead(be, be->section[ahead].im, 0, 0, true);
		if (time_one(be, be->section[i].im))
			return -1;
	}
	be->estimated = false;
	return 0;
}

int be_time_all(struct backend *be)
{
	if (!be_estimates(be))
		return time_by_clock(be);
	for (int i = 0; i < be->num_sections; i++)
		if (!be->section[i].im->cycles && be_time_about(be, be->section[i].im, UINT64_MAX))
			return -1;
	be->estimated = true;
	return 0;
}

int be_time_reported(struct backend *be)
{
	const struct rduc_options *opt = be->opt;

	if (!be->estimated || !(opt->report || opt->report_json || opt->floor_plan || opt->dot ||
				be_prints(be, "report")))
		return 0;
	return time_by_clock(be);
}

int be_time_about(struct backend *be, struct uimage *im, uint64_t most)
{
	struct timed *t = find(be, likeness(im));

	if (t->cycles || most <= t->longer_than)
		be_time_drop(im);
	if (!t->cycles && most <= t->longer_than)
		return 1;
	if (!t->cycles) {
		int r = ask(be, im, t->likeness, most, false, t);

		if (r)
			return r;
	}
	if (t->cycles > most)
		return 1;
	take(be, im, t);
	return 0;
}
