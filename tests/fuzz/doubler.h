/* SPDX-License-Identifier: MIT */
/* A small program for fuzzers to start from: doubles the words of a first region
 * (DOUBLER_BYTES) into a second one. */
#ifndef DOUBLER_H
#define DOUBLER_H

#include "../unit/cfgbuild.h"

#define DOUBLER_BYTES (16 * 32 * 4)
#define DOUBLER_ARGS (sizeof(struct rdu_args) + 32)

/* The program image, malloc'ed; *size its bytes. */
static inline void *doubler_image(const struct rdu_chip *chip, size_t *size)
{
	static const struct rdu_cfg_pred none;
	const uint64_t regions[2] = { DOUBLER_BYTES, DOUBLER_BYTES };
	struct cfgb *b = cfgb_new(chip, 1);
	uint32_t ld = cfgb_program(b, RDU_KIND_LOAD, 0, 0);
	uint32_t x = cfgb_program(b, RDU_KIND_SIMD, 0, 0);
	uint32_t st = cfgb_program(b, RDU_KIND_STORE, 0, 2);
	void *section, *image;
	size_t bytes;

	b->num_segments = 2;
	for (uint32_t i = 0; i < 3; i++)
		cfgb_loop(b, i, 16);
	cfgb_access(b, ld,
		    &(struct rdu_cfg_access){ .lanes = 32, .lane_stride = 1, .stride = { 32 } },
		    &none);
	cfgb_stage(b, x, RDU_SIMD_FADD, 0, cfgb_in(0), cfgb_in(0), cfgb_none());
	cfgb_access(b, st,
		    &(struct rdu_cfg_access){
			    .target = 1, .lanes = 32, .lane_stride = 1, .stride = { 32 } },
		    &none);
	cfgb_connect(b, ld, 0, x, 0);
	cfgb_connect(b, x, 0, st, 0);
	section = cfgb_finish(b, &bytes);
	image = cfgb_program_image(section, bytes, regions, size);
	free(section);
	return image;
}

/* Its argument block: DOUBLER_ARGS bytes. */
static inline void doubler_args(void *at, uint64_t from, uint64_t to)
{
	struct rdu_args *args = at;

	memset(args, 0, DOUBLER_ARGS);
	args->num_regions = 2;
	args->regions[0].addr = from;
	args->regions[1].addr = to;
	args->regions[0].size = args->regions[1].size = DOUBLER_BYTES;
}

#endif
