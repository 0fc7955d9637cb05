/* SPDX-License-Identifier: MIT */
/* What tests of the fabric share: TAP, random bits, and a run of an image. */
#ifndef FABRIC_TEST_H
#define FABRIC_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cfgbuild.h"
#include "fabric.h"
#include "numerics.h"
#include "tap.h"

static uint64_t rnd_state = 0x9e3779b97f4a7c15;

__attribute__((unused)) static uint32_t rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return (uint32_t)(rnd_state >> 32);
}

/* In [-1, 1). */
__attribute__((unused)) static float rndf(void)
{
	return (float)(int32_t)rnd() * 0x1p-31f;
}

/* Numbers of all kinds: ordinary ones, and those at the edges. */
__attribute__((unused)) static uint32_t rnd_bits(void)
{
	static const uint32_t edge[] = { 0, 0x80000000, 1, 0x80000001, 0x007fffff, 0x807fffff,
					 0x00800000, 0x80800000, 0x3f800000, 0xbf800000,
					 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000,
					 0x7fc00000, 0xffc12345, 0x7f812345, 0x4b000000,
					 0x4f000000, 0xcf000000, 0x3f000000, 0x3fc00000 };
	uint32_t r = rnd();

	switch (r & 7) {
	case 0:
		return edge[(r >> 3) % (sizeof(edge) / sizeof(edge[0]))];
	case 1:
		return rnd();
	case 2:
		return (rnd() & 0x80ffffff) | (r >> 8 & 1) << 23; /* near the denormals */
	default:
		return rdu_u(rndf() * (float)(1 << (r >> 3 & 15)));
	}
}

struct rig {
	struct rdu_chip chip;
	struct rdu_segment seg[16];
	uint32_t scalars[RDU_MAX_SCALARS];
	uint32_t **scratch;
	uint32_t num_scratch;
	struct rdu_pool *pool;
	int again; /* runs of a section after the first: tables are made by the second */
	struct rdu_cfg_diag diag;
	struct fab_fault fault;
};

__attribute__((unused)) static void rig_init(struct rig *r, const char *chip)
{
	char error[200];

	memset(r, 0, sizeof(*r));
	if (rdu_chip_find(chip, &r->chip, error, sizeof(error))) {
		printf("Bail out! %s\n", error);
		exit(1);
	}
	r->num_scratch = r->chip.tiles * rdu_chip_pmus_per_tile(&r->chip);
	r->scratch = calloc(r->num_scratch, sizeof(*r->scratch));
}

__attribute__((unused)) static void rig_clear(struct rig *r)
{
	for (uint32_t i = 0; i < r->num_scratch; i++) {
		free(r->scratch[i]);
		r->scratch[i] = NULL;
	}
}

__attribute__((unused)) static void rig_free(struct rig *r)
{
	rig_clear(r);
	free(r->scratch);
	rdu_pool_free(r->pool);
}

/* Scratchpads that an image has buffers in. */
__attribute__((unused)) static void rig_scratch(struct rig *r, const void *image)
{
	const struct rdu_cfg_header *h = image;
	const struct rdu_cfg_buffer *b = (const void *)((const char *)image + h->buffers.offset);
	uint32_t pmus = rdu_chip_pmus_per_tile(&r->chip);

	for (uint32_t i = 0; i < h->buffers.count; i++) {
		uint32_t **p = &r->scratch[b[i].tile * pmus + b[i].unit];

		if (*p)
			continue;
		*p = aligned_alloc(64, r->chip.pmu_bytes);
		memset(*p, 0, r->chip.pmu_bytes);
	}
}

/* Validates, translates and runs. 0; 1: refused (diag); 2: fault. */
__attribute__((unused)) static int rig_run(struct rig *r, const void *image, size_t size)
{
	struct rdu_section *s = rdu_section_new(image, size, &r->chip, 0, &r->diag);
	struct fab_run run = { .segments = r->seg, .scalars = r->scalars, .scratch = r->scratch,
			       .pool = r->pool };
	int ret;

	if (!s)
		return 1;
	rig_scratch(r, image);
	ret = rdu_section_execute(s, &run, &r->fault);
	for (int i = 0; i < r->again && !ret; i++)
		ret = rdu_section_execute(s, &run, &r->fault);
	rdu_section_free(s);
	return ret ? 2 : 0;
}

__attribute__((unused)) static void rig_segment(struct rig *r, int i, void *ptr, size_t size)
{
	r->seg[i] = (struct rdu_segment){ ptr, size, true };
}

/* Finishes the builder, runs, frees; prints why not. */
__attribute__((unused)) static int rig_build_run(struct rig *r, struct cfgb *b)
{
	size_t size;
	void *image = cfgb_finish(b, &size);
	int ret = rig_run(r, image, size);

	if (ret == 1)
		printf("# refused: error %d at %llu: %s\n", r->diag.error,
		       (unsigned long long)r->diag.offset, r->diag.text);
	if (ret == 2)
		printf("# fault %d info %u program %u address %llu\n", r->fault.code, r->fault.info,
		       r->fault.program, (unsigned long long)r->fault.addr);
	free(image);
	return ret;
}

/* Programs that read and write n vectors in order, one after another. */
__attribute__((unused)) static uint32_t put_load(struct cfgb *b, uint32_t unit, uint32_t segment,
						 int n)
{
	uint32_t p = cfgb_program(b, RDU_KIND_LOAD, 0, unit);
	struct rdu_cfg_access a = { .target = segment, .lanes = b->chip.lanes, .lane_stride = 1,
				    .stride = { b->chip.lanes } };

	cfgb_loop(b, p, n);
	cfgb_access(b, p, &a, NULL);
	if (b->num_segments <= segment)
		b->num_segments = segment + 1;
	return p;
}

__attribute__((unused)) static uint32_t put_store(struct cfgb *b, uint32_t unit, uint32_t segment,
						  int n)
{
	uint32_t p = cfgb_program(b, RDU_KIND_STORE, 0, unit);
	struct rdu_cfg_access a = { .target = segment, .lanes = b->chip.lanes, .lane_stride = 1,
				    .stride = { b->chip.lanes } };

	cfgb_loop(b, p, n);
	cfgb_access(b, p, &a, NULL);
	if (b->num_segments <= segment)
		b->num_segments = segment + 1;
	return p;
}

#endif
