// SPDX-License-Identifier: MIT
/*
 * A section of 10,000 unit programs: how long its image takes to be validated, and
 * then to be planned and run once, one vector a program. Peer: the 0.3 s that
 * validating and loading may take. Processor time; the least of some.
 */
#include "bench.h"
#include "cfgbuild.h"
#include "fabric.h"

#define TILES 8
#define COPIES 1800 /* LOAD to STORE */
#define ROUNDS 7

static double processor_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static uint32_t put(struct cfgb *b, enum rdu_kind kind, uint32_t tile, uint32_t unit,
		    uint32_t target, int64_t base)
{
	uint32_t p = cfgb_program(b, kind, tile, unit);
	struct rdu_cfg_access a = { .target = target, .lanes = 32, .lane_stride = 1, .base = base };

	cfgb_loop(b, p, 1);
	if (kind == RDU_KIND_SIMD)
		cfgb_stage(b, p, RDU_SIMD_FMUL, 0, cfgb_in(0), cfgb_immf(2), cfgb_none());
	else
		cfgb_access(b, p, &a, NULL);
	return p;
}

/* In each PMU: a vector that a PCU doubles, and one that is copied; and LOADs that are STOREd. */
static void *build(const struct rdu_chip *chip, size_t *size, uint32_t *num)
{
	struct cfgb *b = cfgb_new(chip, TILES);
	uint32_t pmus = rdu_chip_pmus_per_tile(chip), per_agcu = chip->agcu_programs / 2;

	b->num_segments = 2;
	for (uint32_t i = 0; i < TILES * pmus; i++) {
		uint32_t tile = i / pmus, unit = i % pmus, buf[4], p[5];

		for (uint32_t k = 0; k < 4; k++)
			buf[k] = cfgb_buffer(b, tile, unit, 1, 32 * k, 32);
		p[0] = put(b, RDU_KIND_READ, tile, unit, buf[0], 0);
		p[1] = put(b, RDU_KIND_SIMD, tile, unit, 0, 0);
		p[2] = put(b, RDU_KIND_WRITE, tile, unit, buf[1], 0);
		p[3] = put(b, RDU_KIND_READ, tile, unit, buf[2], 0);
		p[4] = put(b, RDU_KIND_WRITE, tile, unit, buf[3], 0);
		cfgb_connect(b, p[0], 0, p[1], 0);
		cfgb_connect(b, p[1], 0, p[2], 0);
		cfgb_connect(b, p[3], 0, p[4], 0);
	}
	for (uint32_t i = 0; i < COPIES; i++) {
		uint32_t agcu = i / per_agcu, tile = agcu / chip->agcus_per_tile;
		uint32_t unit = agcu % chip->agcus_per_tile;

		cfgb_connect(b, put(b, RDU_KIND_LOAD, tile, unit, 0, 32 * i), 0,
			     put(b, RDU_KIND_STORE, tile, unit, 1, 32 * i), 0);
	}
	*num = (uint32_t)(b->programs.size / sizeof(struct rdu_cfg_program));
	return cfgb_finish(b, size);
}

int main(void)
{
	static uint32_t memory[2][COPIES * 32];
	struct rdu_segment seg[] = { { memory[0], sizeof(memory[0]), false },
				     { memory[1], sizeof(memory[1]), true } };
	double valid = 1e9, ran = 1e9, t;
	struct rdu_cfg_diag diag;
	struct fab_fault fault;
	struct rdu_chip chip;
	uint32_t **scratch, units, num, scalars = 0;
	char error[200];
	void *image;
	size_t size;

	if (rdu_chip_find("sn10", &chip, error, sizeof(error)))
		die(error, NULL);
	chip.tiles = TILES;
	image = build(&chip, &size, &num);
	units = TILES * rdu_chip_pmus_per_tile(&chip);
	scratch = calloc(units, sizeof(*scratch));
	for (uint32_t i = 0; i < units; i++)
		scratch[i] = aligned_alloc(64, chip.pmu_bytes);
	for (int i = 0; i < ROUNDS; i++) {
		struct fab_run run = { .segments = seg, .scalars = &scalars, .scratch = scratch };
		struct rdu_section *s;

		t = processor_time();
		s = rdu_section_new(image, size, &chip, TILES, &diag);
		t = processor_time() - t;
		if (!s) {
			fprintf(stderr, "refused: %s\n", diag.text);
			return 1;
		}
		valid = t < valid ? t : valid;
		t = processor_time();
		if (rdu_section_execute(s, &run, &fault)) {
			fprintf(stderr, "fault %d program %u\n", fault.code, fault.program);
			return 1;
		}
		t = processor_time() - t;
		ran = t < ran ? t : ran;
		rdu_section_free(s);
	}
	report("section_10k", (valid + ran) * 1e3, "ms_cpu", "allowed", 300);
	printf("# %u unit programs, an image of %zu bytes: validated in %.3g ms, planned and run "
	       "in "
	       "%.3g ms\n",
	       num, size, valid * 1e3, ran * 1e3);
	for (uint32_t i = 0; i < units; i++)
		free(scratch[i]);
	free(scratch);
	free(image);
	return 0;
}
