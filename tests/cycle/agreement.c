// SPDX-License-Identifier: MIT
/*
 * The card's clock against the cycle-by-cycle simulator: over sections that the compiler
 * makes of random nests, for every chip, and over graphs written by hand.
 *
 *	agreement [-v] [first case [number of cases [chip]]]
 *
 * -v: every section, the worst last. Without a chip: those of the list, in turns, and the
 * graphs and nests by hand, too. Both sides lay segments one after another, on pages.
 */
#include <math.h>
#include <unistd.h>
#include "cycle.h"
#include "cycle_graphs.h"
#include "cycle_nests.h"
#include "timing_priv.h"
#include "rduc_back_run.h"
#include "tap.h"

#define LIMIT 30000000 /* cycles that a section may take */

struct sample {
	char name[64];
	const char *cause;
	uint64_t card, cycles;
	double error;
};

static struct sample *sample;
static size_t num_samples;
static bool verbose;

static uint32_t **scratch_new(const struct rdu_chip *chip, size_t pmus)
{
	uint32_t **p = calloc(pmus + 1, sizeof(*p));

	ran_scratch(p, pmus, chip->pmu_bytes);
	return p;
}

static void scratch_free(const struct rdu_chip *chip, uint32_t **p, size_t pmus)
{
	for (size_t i = 0; i < pmus; i++)
		munmap(p[i], chip->pmu_bytes);
	free(p);
}

static const char *cause_of(const struct rdu_section *s, const struct cycle_result *r)
{
	double memory = (double)r->dram_bytes * s->chip.clock_khz / (s->chip.dram_mbps * 1e3);

	if (memory > 0.5 * (double)r->cycles)
		return "memory";
	return s->num_stages > 1 ? "tokens" : "stream";
}

/* Does it access memory by indices, which are data? */
static bool gathers(const struct rdu_section *s)
{
	for (uint32_t i = 0; i < s->hdr->programs.count; i++) {
		const struct rdu_cfg_access *a = s->progs[i].body;

		if (s->programs[i].kind >= RDU_KIND_LOAD && a->flags & RDU_ACCESS_GATHER)
			return true;
	}
	return false;
}

/* Runs the section on both clocks and keeps what they say. */
static bool compare_beside(const char *name, struct rdu_section *x, struct cycle_segment *seg,
			   uint32_t **scratch, const struct rdu_offchip *off)
{
	struct cycle_setup setup = { .section = x,
				     .segments = seg,
				     .scratch = scratch,
				     .others = off->others,
				     .limit = LIMIT };
	const struct rdu_section_time *t = rdu_section_time_within(x, NULL, off, NULL, NULL, NULL);
	struct cycle_result got = { 0 };
	char error[300] = "no time for it";
	struct sample *s;

	for (uint32_t i = 0; i < x->hdr->num_segments; i++)
		seg[i].in_host = rdu_in_host(off, i);
	if (!t || cycle_run(&setup, &got, error, sizeof(error))) {
		printf("# %s: %s\n", name, error);
		return false;
	}
	if (t->dram_bytes != got.dram_bytes && !gathers(x)) {
		printf("# %s: %llu bytes by the card, %llu cycle by cycle\n", name,
		       (unsigned long long)t->dram_bytes, (unsigned long long)got.dram_bytes);
		return false;
	}
	sample = realloc(sample, (num_samples + 1) * sizeof(*sample));
	if (!sample)
		abort();
	s = &sample[num_samples++];
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->cause = cause_of(x, &got);
	s->card = t->cycles;
	s->cycles = got.cycles;
	s->error = (double)t->cycles / (double)got.cycles - 1;
	rdu_section_time_put(t);
	return true;
}

/* Alone; of every eighth section also with a part of memory's time taken by others, and with
 * every second segment in host memory. */
static bool compare(const char *name, struct rdu_section *x, struct cycle_segment *seg,
		    uint32_t **scratch)
{
	static unsigned int num;
	uint64_t half[RDU_MAX_SEGMENTS / 64 + 1];
	struct rdu_offchip alone = { 0 }, shared = { .others = 1 + num / 8 % 12 };
	struct rdu_offchip linked = { .in_host = half, .others = num / 8 % 2 * 4 };
	char other[80];

	memset(half, num & 8 ? 0x55 : 0xaa, sizeof(half));
	if (!compare_beside(name, x, seg, scratch, &alone))
		return false;
	if (num++ % 8)
		return true;
	snprintf(other, sizeof(other), "%s, %u/%u others'", name, shared.others, RDU_PARTS);
	if (!compare_beside(other, x, seg, scratch, &shared))
		return false;
	snprintf(other, sizeof(other), "%s, half in host memory", name);
	return compare_beside(other, x, seg, scratch, &linked);
}

/* Addresses: one after another, on pages. */
static void lay(struct cycle_segment *seg, uint32_t n)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < n; i++) {
		seg[i].address = at;
		at += (seg[i].size + 4095) / 4096 * 4096;
	}
}

/* Every section of a program's first entry point. */
static bool program(const char *name, const char *path)
{
	struct ran r;
	const struct rdu_prog_header *h;
	const struct rdu_prog_section *sec;
	const struct rdu_prog_segment *seg;
	const struct rdu_prog_step *step;
	const struct rdu_prog_entry *en;
	uint32_t **scratch;
	size_t pmus;
	bool good = true;

	if (ran_open(&r, path))
		return false;
	h = (const void *)r.program;
	sec = (const void *)(r.program + h->sections_off);
	seg = (const void *)(r.program + h->segments_off);
	en = (const void *)(r.program + h->entries_off);
	step = (const void *)(r.program + h->steps_off);
	pmus = rdu_chip_pmus_per_tile(&r.chip) * h->num_tiles;
	scratch = scratch_new(&r.chip, pmus);
	for (uint32_t k = 0; k < en->num_steps; k++) {
		const struct rdu_prog_section *q = &sec[step[en->first_step + k].arg];
		struct cycle_segment bound[256];
		struct rdu_cfg_diag diag;
		struct rdu_section *x = rdu_section_new(r.program + q->offset, q->size, &r.chip,
							h->num_tiles, &diag);
		char text[128];

		for (uint32_t i = 0; i < q->num_segments; i++) {
			const struct rdu_prog_segment *g = &seg[q->first_segment + i];

			bound[i] = (struct cycle_segment){ .data = r.memory[g->region] + g->offset,
							   .size = g->size };
		}
		lay(bound, q->num_segments);
		snprintf(text, sizeof(text), "%s %s", name, q->name);
		good &= x && compare(text, x, bound, scratch);
		rdu_section_free(x);
	}
	scratch_free(&r.chip, scratch, pmus);
	ran_close(&r);
	return good;
}

static bool compile(struct module *m, struct rduc_options opt, const char *name, const char *path)
{
	char error[400] = "";

	if (rduc_backend(m, &opt, path, error, sizeof(error))) {
		printf("# %s: %s\n", name, error);
		return false;
	}
	return program(name, path);
}

static bool random_case(int c, const char *chip_name, const char *path)
{
	static const int levels[] = { 0, 1, 3, 3 };
	struct module *m = module_new("test");
	struct rdu_chip chip;
	char error[400] = "", name[64];
	struct rduc_options opt = { .chip = &chip };
	bool good;

	make_case(m, c);
	opt.fp32 = rnd(4) == 0;
	good = !rdu_chip_find(chip_name, &chip, error, sizeof(error));
	opt.tiles = 1 + (int)rnd(chip.tiles);
	opt.opt = levels[rnd(4)];
	snprintf(name, sizeof(name), "%s %d %s -O%d", kinds[c % NUM_KINDS], c,
		 strrchr(chip_name, '/') ? strrchr(chip_name, '/') + 1 : chip_name, opt.opt);
	good = good && compile(m, opt, name, path);
	module_free(m);
	return good;
}

/* bytes: of each segment that is accessed. */
static bool graph(const char *name, struct cfgb *b, uint64_t bytes)
{
	struct cycle_segment seg[16];
	struct rdu_chip chip = b->chip;
	struct rdu_cfg_diag diag;
	uint32_t n = b->num_segments, **scratch;
	size_t size, pmus = rdu_chip_pmus_per_tile(&chip);
	void *image = cfgb_finish(b, &size);
	struct rdu_section *x = rdu_section_new(image, size, &chip, 0, &diag);
	bool good;

	if (!x) {
		printf("# %s: %s\n", name, diag.text);
		free(image);
		return false;
	}
	scratch = scratch_new(&chip, pmus);
	for (uint32_t i = 0; i < n; i++)
		seg[i] = (struct cycle_segment){ .size = bytes };
	lay(seg, n);
	good = compare(name, x, seg, scratch);
	scratch_free(&chip, scratch, pmus);
	rdu_section_free(x);
	free(image);
	return good;
}

static bool by_hand(const char *chip_name)
{
	struct rdu_chip chip;
	char error[200], name[64];
	bool good = !rdu_chip_find(chip_name, &chip, error, sizeof(error));

#define GRAPH(what, vectors, element)                                                         \
	do {                                                                                  \
		snprintf(name, sizeof(name), "%s %s", #what, chip_name);                      \
		good = graph(name, what, (uint64_t)(vectors)*chip.lanes * (element)) && good; \
	} while (0)
	GRAPH(stream(&chip, 1000, RDU_FMT_WORD), 1000, 4);
	GRAPH(stream(&chip, 4000, RDU_FMT_BF16), 4000, 2);
	GRAPH(held_up(&chip, 300), 300, 4);
	GRAPH(crowded(&chip, 2, 400), 800, 4);
	GRAPH(crowded(&chip, 4, 400), 1600, 4);
	GRAPH(again(&chip, 100, 64, RDU_FMT_U8), 64, 1);
	GRAPH(again(&chip, 1000, 5, RDU_FMT_WORD), 5, 4);
	GRAPH(buffered(&chip, 1, 40, 16), 640, 4);
	GRAPH(buffered(&chip, 2, 200, 8), 1600, 4);
	GRAPH(buffered(&chip, 2, 20, 64), 1280, 4);
	GRAPH(buffered(&chip, 8, 40, 16), 640, 4);
	if (chip.systolic_cols) {
		GRAPH(product(&chip, RDU_SYS_BF16, 64, 8), 128, 4);
		GRAPH(product(&chip, RDU_SYS_BF16, 256, 16), 512, 4);
		GRAPH(product(&chip, RDU_SYS_INT8, 64, 8), 256, 1);
		GRAPH(product(&chip, RDU_SYS_INT8, 256, 16), 1024, 1);
		GRAPH(product(&chip, RDU_SYS_TERNARY, 64, 8), 256, 1);
		GRAPH(product(&chip, RDU_SYS_TERNARY, 256, 16), 1024, 1);
	}
#undef GRAPH
	return good;
}

/* Those on which the card's clock was wrong once, by what is said beside each. */
static bool nests_by_hand(const char *path)
{
	static const struct {
		struct window w;
		const char *what;
	} window[] = {
		{ { 4, 3, 256, 256, 0, 16, 16, 8 }, "maximum of 16 x 16, padded by 8" },
		{ { 8, 16, 28, 28, 64, 1, 1, 0 }, "convolution of one pixel" },
		{ { 4, 16, 28, 28, 32, 1, 2, 0 }, "convolution of every second pixel" },
		{ { 2, 8, 14, 14, 16, 3, 1, 1 }, "convolution, padded by 1" },
	};
	static const char *const chips[] = { "sn10", "plasticine" };
	bool good = true;
	char error[200], name[64];

	for (unsigned int i = 0; i < 2 * sizeof(window) / sizeof(window[0]); i++) {
		struct module *m = module_new("test");
		struct rdu_chip chip;
		struct rduc_options opt = { .chip = &chip, .opt = 3 };

		make_window(m, &window[i / 2].w);
		snprintf(name, sizeof(name), "%s %s", window[i / 2].what, chips[i % 2]);
		good = !rdu_chip_find(chips[i % 2], &chip, error, sizeof(error)) &&
		       compile(m, opt, name, path) && good;
		module_free(m);
	}
	for (unsigned int i = 0; i < 2; i++) {
		struct module *m = module_new("test");
		struct rdu_chip chip;
		struct rduc_options opt = { .chip = &chip, .opt = 3 };

		make_product(m, i ? 128 : 500, i ? 128 : 512, i ? 256 : 7);
		good = !rdu_chip_find("plasticine", &chip, error, sizeof(error)) && good;
		if (i) { /* one channel */
			chip.dram_channels = 1;
			chip.dram_mbps = 12800;
		}
		snprintf(name, sizeof(name), i ? "product, one channel" : "product 500 x 7 x 512");
		good = compile(m, opt, name, path) && good;
		module_free(m);
	}
	return good;
}

static int by_error(const void *a, const void *b)
{
	double x = fabs(((const struct sample *)a)->error),
	       y = fabs(((const struct sample *)b)->error);

	return x < y ? -1 : x > y;
}

static void judge_samples(const char *what)
{
	double sum = 0, p90, worst;
	uint64_t card = 0, cycles = 0;

	qsort(sample, num_samples, sizeof(*sample), by_error);
	for (size_t i = 0; i < num_samples; i++) {
		const struct sample *s = &sample[i];

		sum += fabs(s->error);
		card += s->card;
		cycles += s->cycles;
		if (verbose || fabs(s->error) > 0.15)
			printf("# %-56s %-7s %9llu %9llu %+7.2f %%\n", s->name, s->cause,
			       (unsigned long long)s->card, (unsigned long long)s->cycles,
			       100 * s->error);
	}
	if (!num_samples)
		return;
	p90 = fabs(sample[num_samples * 9 / 10].error);
	worst = fabs(sample[num_samples - 1].error);
	ok(sum / (double)num_samples <= 0.02, "%s: mean error of %zu sections %.2f %%", what,
	   num_samples, 100 * sum / (double)num_samples);
	ok(p90 <= 0.05, "%s: nine in ten are within %.2f %%", what, 100 * p90);
	ok(worst <= 0.15, "%s: the worst is off by %.2f %%", what, 100 * worst);
	printf("# %s: %llu cycles by the card's clock, %llu cycle by cycle\n", what,
	       (unsigned long long)card, (unsigned long long)cycles);
	num_samples = 0;
}

int main(int argc, char **argv)
{
	static const char *const chips[] = { "sn10",
					     "plasticine",
					     "tests/chips/tiny8.chip",
					     "tests/chips/wide64.chip",
					     "tests/chips/cut4k.chip",
					     "tests/chips/few.chip" };
	char path[] = "/tmp/rdu-agreement-XXXXXX";
	int fd, first, num, at = 1;
	bool good = true;

	verbose = argc > 1 && !strcmp(argv[1], "-v");
	at += verbose;
	first = argc > at ? atoi(argv[at]) : 0;
	num = argc > at + 1 ? atoi(argv[at + 1]) : 60;
	fd = mkstemp(path);
	if (fd < 0)
		return 1;
	close(fd);
	if (argc <= at + 2) {
		good = by_hand("sn10") && by_hand("plasticine") && nests_by_hand(path);
		ok(good, "graphs and nests by hand run on both");
		judge_samples("by hand");
	}
	for (int c = first; c < first + num; c++)
		good = random_case(c, argc > at + 2 ? argv[at + 2] : chips[c % 6], path) && good;
	ok(good, "every case compiles and runs on both");
	judge_samples("random");
	unlink(path);
	free(sample);
	return tap_done();
}
