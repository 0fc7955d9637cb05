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

/* Makes an image's only entry point run its section 2^64 times and more. */
static inline void *endless_image(void *image, size_t *size)
{
	const struct rdu_prog_step steps[] = {
		{ RDU_STEP_LOOP, ~0U }, { RDU_STEP_LOOP, ~0U }, { RDU_STEP_RUN, 0 },
		{ RDU_STEP_END, 0 }, { RDU_STEP_END, 0 },
	};
	struct rdu_prog_header *header;
	struct rdu_prog_entry *entry;

	image = realloc(image, *size + sizeof(steps));
	ASSERT_TRUE(image);
	memcpy((char *)image + *size, steps, sizeof(steps));
	header = image;
	header->steps_off = *size;
	header->num_steps = 5;
	*size += sizeof(steps);
	header->size = *size;
	entry = (struct rdu_prog_entry *)((char *)image + header->entries_off);
	entry->num_steps = 5;
	return image;
}

/* A program with all it needs to run. */
struct run {
	int fd;
	uint32_t vm, ctx, prog;
	struct buffer args, stats, in, out;
};

/* With a program like scale_image()'s; frees the image. */
static inline void run_load(struct run *r, int fd, void *image, size_t size, uint32_t tiles,
			    uint32_t placement)
{
	struct drm_rdu_prog_load load;
	struct rdu_args *args;

	r->fd = fd;
	r->vm = vm_create(fd);
	r->ctx = ctx_create(fd, r->vm, tiles);
	ASSERT_EQ(prog_load(fd, image, size, &load), 0);
	free(image);
	r->prog = load.prog_id;
	r->args = buffer_create(fd, r->vm, VA_BASE, PAGE, DRM_RDU_PLACEMENT_SYSTEM);
	r->stats = buffer_create(fd, r->vm, VA_BASE + PAGE, PAGE, DRM_RDU_PLACEMENT_SYSTEM);
	r->in = buffer_create(fd, r->vm, VA_BASE + (1 << 20), WORDS * 4, placement);
	r->out = buffer_create(fd, r->vm, VA_BASE + (2 << 20), WORDS * 4, placement);
	args = r->args.map;
	args->num_regions = 2;
	args->regions[0].addr = r->in.va;
	args->regions[0].size = WORDS * 4;
	args->regions[1].addr = r->out.va;
	args->regions[1].size = WORDS * 4;
}

static inline void run_init(struct run *r, int fd, float factor, uint32_t tiles, uint32_t placement)
{
	size_t size;
	void *image = scale_image(fd, factor, RDU_SIMD_FMUL, &size);

	run_load(r, fd, image, size, tiles, placement);
}

static inline struct drm_rdu_job run_command(const struct run *r)
{
	return (struct drm_rdu_job){
		.type = DRM_RDU_JOB_RUN,
		.run = { .prog_id = r->prog, .args_va = r->args.va,
			 .args_size = sizeof(struct rdu_args) + 32, .stats_va = r->stats.va },
	};
}

static inline void run_check(struct run *r, float factor, float bias)
{
	float *in = r->in.map, *out = r->out.map;

	for (int i = 0; i < WORDS; i++)
		in[i] = i + bias;
	memset(out, 0, WORDS * 4);
	ASSERT_EQ(run_job(r->fd, r->ctx, run_command(r)), 1);
	for (int i = 0; i < WORDS; i++)
		ASSERT_EQ(out[i] == factor * (i + bias), 1);
}

#endif
