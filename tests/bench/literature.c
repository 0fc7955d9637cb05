// SPDX-License-Identifier: MIT
/* What the hand-written programs of the literature share. */
#include "cycle.h"
#include "literature.h"

uint32_t literature_agcu(struct cfgb *b, enum rdu_kind kind, uint32_t unit, uint32_t segment,
			 uint32_t vectors)
{
	uint32_t p = cfgb_program(b, kind, 0, unit), lanes = b->chip.lanes;

	cfgb_loop(b, p, (int32_t)vectors);
	cfgb_access(b, p,
		    &(struct rdu_cfg_access){ .target = segment,
					      .lanes = (uint8_t)lanes,
					      .lane_stride = 1,
					      .stride = { lanes } },
		    NULL);
	return p;
}

uint32_t literature_pcu(struct cfgb *b, uint32_t unit, uint32_t vectors)
{
	uint32_t p = cfgb_program(b, RDU_KIND_SIMD, 0, unit);

	cfgb_loop(b, p, (int32_t)vectors);
	return p;
}

double literature_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return (double)(*state >> 40) / (1 << 24);
}

/* ---- running one ------------------------------------------------------------------- */

struct memory {
	uint32_t *column[LITERATURE_SEGMENTS];
	size_t bytes[LITERATURE_SEGMENTS];
};

static void memory_new(struct memory *m, const struct literature *l, uint32_t rows)
{
	for (uint32_t i = 0; i < l->num_segments; i++) {
		uint32_t n = i + 1 < l->num_segments ? rows : l->result_rows(rows);

		m->bytes[i] = (size_t)n * 4;
		m->column[i] = calloc(n, 4);
		if (!m->column[i])
			abort();
	}
	l->fill(m->column, rows);
}

static void memory_free(struct memory *m, const struct literature *l)
{
	for (uint32_t i = 0; i < l->num_segments; i++)
		free(m->column[i]);
}

static int run_card(struct rdu_section *s, struct memory *m, uint32_t n, char *text, size_t size)
{
	struct rdu_segment seg[LITERATURE_SEGMENTS];
	struct fab_run run = { .segments = seg };
	struct fab_fault fault;

	for (uint32_t i = 0; i < n; i++)
		seg[i] = (struct rdu_segment){ m->column[i], m->bytes[i], i + 1 == n };
	if (!rdu_section_execute(s, &run, &fault))
		return 0;
	snprintf(text, size, "fault %d in unit program %u", fault.code, fault.program);
	return -1;
}

static int run_cycles(struct rdu_section *s, struct memory *m, uint32_t n, uint64_t gap,
		      struct cycle_result *result, char *text, size_t size)
{
	struct cycle_segment seg[LITERATURE_SEGMENTS];
	struct cycle_setup setup = { .section = s, .segments = seg, .limit = 1000000000 };
	uint64_t at = 0;

	for (uint32_t i = 0; i < n; i++) {
		seg[i] = (struct cycle_segment){ .data = (unsigned char *)m->column[i],
						 .size = m->bytes[i],
						 .address = at };
		at += (m->bytes[i] + 4095) / 4096 * 4096 + gap;
	}
	return cycle_run(&setup, result, text, size);
}

static int run_both(const struct literature *l, struct rdu_section *s, uint32_t rows, uint64_t gap,
		    struct literature_time *time, char *text, size_t size)
{
	struct cycle_result result = { 0 };
	uint32_t n = l->num_segments;
	struct memory a, b;
	int ret;

	memory_new(&a, l, rows);
	memory_new(&b, l, rows);
	ret = run_card(s, &a, n, text, size) || run_cycles(s, &b, n, gap, &result, text, size) ? -1
											       : 0;
	if (!ret && memcmp(a.column[n - 1], b.column[n - 1], a.bytes[n - 1])) {
		snprintf(text, size, "card and cycle-by-cycle simulator differ in the result");
		ret = -1;
	}
	if (!ret)
		ret = l->check(a.column, rows, &time->worst, text, size);
	time->cycles = result.cycles;
	time->bytes = result.dram_bytes;
	memory_free(&a, l);
	memory_free(&b, l);
	return ret;
}

int literature_run(const struct literature *l, const struct rdu_chip *chip, uint32_t rows,
		   uint64_t gap, struct literature_time *time, char *text, size_t size)
{
	const struct rdu_section_time *t;
	struct rdu_cfg_diag diag;
	struct rdu_section *s;
	size_t image_size;
	void *image = cfgb_finish(l->build(chip, rows), &image_size);
	int ret = -1;

	s = rdu_section_new(image, image_size, chip, 0, &diag);
	if (!s) {
		snprintf(text, size, "refused: %s", diag.text);
		free(image);
		return -1;
	}
	t = rdu_section_time(s, NULL, NULL, NULL);
	if (t) {
		time->card = t->cycles;
		ret = run_both(l, s, rows, gap, time, text, size);
	} else {
		snprintf(text, size, "out of memory");
	}
	rdu_section_free(s);
	free(image);
	return ret;
}
