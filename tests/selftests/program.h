/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * A small program for the card, made by the tests' own builder, and loading it.
 * Needs librdumodel, which is asked where units are.
 */
#ifndef RDU_SELFTEST_PROGRAM_H
#define RDU_SELFTEST_PROGRAM_H

#include "card.h"
#include "rdu/config.h"
#include "rdu/program.h"
#include "tests/unit/cfgbuild.h"

#define WORDS 2048

static inline struct rdu_chip card_chip(int fd)
{
	struct rdu_chip chip;

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_CHIP, &chip, sizeof(chip)), 0);
	return chip;
}

/* region 1 = factor * region 0, WORDS words of fp32. */
static inline void *scale_image(int fd, float factor, uint32_t op, size_t *size)
{
	struct rdu_chip chip = card_chip(fd);
	uint64_t regions[2] = { WORDS * 4, WORDS * 4 };
	struct cfgb *b = cfgb_new(&chip, 1);
	uint32_t load, pcu, store;
	size_t cfg_size;
	void *cfg, *image;
	int32_t trips = WORDS / chip.lanes;
	struct rdu_cfg_access access = {
		.target = 0, .lanes = chip.lanes, .lane_stride = 1,
		.stride = { chip.lanes },
	};

	b->num_segments = 2;
	load = cfgb_program(b, RDU_KIND_LOAD, 0, 0);
	cfgb_loop(b, load, trips);
	cfgb_access(b, load, &access, NULL);
	pcu = cfgb_program(b, RDU_KIND_SIMD, 0, 0);
	cfgb_loop(b, pcu, trips);
	cfgb_stage(b, pcu, op, 0, cfgb_in(0), cfgb_immf(factor), cfgb_none());
	store = cfgb_program(b, RDU_KIND_STORE, 0, 1);
	cfgb_loop(b, store, trips);
	access.target = 1;
	cfgb_access(b, store, &access, NULL);
	cfgb_connect(b, load, 0, pcu, 0);
	cfgb_connect(b, pcu, 0, store, 0);
	cfg = cfgb_finish(b, &cfg_size);
	image = cfgb_program_image(cfg, cfg_size, regions, size);
	free(cfg);
	return image;
}

static inline int prog_load(int fd, const void *data, size_t size, struct drm_rdu_prog_load *args)
{
	*args = (struct drm_rdu_prog_load){ .data = (uintptr_t)data, .size = size };
	return call(fd, DRM_IOCTL_RDU_PROG_LOAD, args);
}

static inline int prog_unload(int fd, uint32_t prog)
{
	struct drm_rdu_prog_unload args = { .prog_id = prog };

	return call(fd, DRM_IOCTL_RDU_PROG_UNLOAD, &args);
}

#endif
