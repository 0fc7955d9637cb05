/* SPDX-License-Identifier: MIT */
/* Small programs for a card in a test bed: made, loaded, given arguments, run. */
#ifndef CARD_PROGRAM_H
#define CARD_PROGRAM_H

#include "card_test.h"
#include "cfgbuild.h"

#define MB (1ull << 20)
#define VA 0x10000000ULL
#define N 64 /* vectors */
#define BYTES (N * 32 * 4)

static const struct rdu_cfg_pred no_pred;
static struct rdu_chip chip;
static uint64_t root;

/* Segment 1 = segment 0 * factor, n vectors, `again` times over. */
__attribute__((unused)) static void *scale(float factor, int again, uint32_t tiles, size_t *size)
{
	struct cfgb *b = cfgb_new(&chip, tiles);
	uint32_t ld = cfgb_program(b, RDU_KIND_LOAD, tiles - 1, 0);
	uint32_t x = cfgb_program(b, RDU_KIND_SIMD, tiles - 1, 0);
	uint32_t st = cfgb_program(b, RDU_KIND_STORE, tiles - 1, 2), i;

	b->num_segments = 2;
	for (i = 0; i < 3; i++) {
		cfgb_outer(b, i, again);
		cfgb_loop(b, i, N);
	}
	cfgb_access(b, ld,
		    &(struct rdu_cfg_access){
			    .target = 0, .lanes = 32, .lane_stride = 1, .stride = { 0, 32 } },
		    &no_pred);
	cfgb_stage(b, x, RDU_SIMD_FMUL, 0, cfgb_in(0), cfgb_immf(factor), cfgb_none());
	cfgb_access(b, st,
		    &(struct rdu_cfg_access){
			    .target = 1, .lanes = 32, .lane_stride = 1, .stride = { 0, 32 } },
		    &no_pred);
	cfgb_connect(b, ld, 0, x, 0);
	cfgb_connect(b, x, 0, st, 0);
	return cfgb_finish(b, size);
}

/* Segment 0 to (write) or from a scratchpad. */
__attribute__((unused)) static void *scratch(bool write, size_t *size)
{
	struct cfgb *b = cfgb_new(&chip, 1);
	uint32_t p = cfgb_program(b, write ? RDU_KIND_LOAD : RDU_KIND_READ, 0, 0);
	uint32_t q = cfgb_program(b, write ? RDU_KIND_WRITE : RDU_KIND_STORE, 0, 0), i;

	b->num_segments = 1;
	cfgb_buffer(b, 0, 0, 1, 0, N * 32);
	for (i = 0; i < 2; i++) {
		cfgb_loop(b, i ? q : p, N);
		cfgb_access(
			b, i ? q : p,
			&(struct rdu_cfg_access){ .lanes = 32, .lane_stride = 1, .stride = { 32 } },
			&no_pred);
	}
	cfgb_connect(b, p, 0, q, 0);
	return cfgb_finish(b, size);
}

/* Puts a program's image into a slot, and frees it: what the card says, ~0: nothing. */
static uint32_t load_image(struct bed *b, uint32_t slot, void *image, size_t size)
{
	struct rdu_cmd c = { .op = RDU_OP_PROG_LOAD, .slot = slot };
	struct rdu_prog_result *r = host_ptr(b, HOST_FREE);

	memcpy(b->mem + 4 * MB, image, size);
	free(image);
	c.prog.addr = 4 * MB;
	c.prog.size = size;
	c.prog.result = HOST_FREE;
	memset(r, 0xee, sizeof(*r));
	if (!bed_do(b, 0, c))
		return ~0u;
	memset(b->mem + 4 * MB, 0xdd, size); /* the card has its own copy */
	return r->error;
}

/* Puts a program with that one section into a slot, of two regions of `units`
 * times BYTES, BYTES further on for each iteration, with that schedule. */
static uint32_t load_schedule(struct bed *b, uint32_t slot, void *section, size_t section_size,
			      unsigned int units, const struct rdu_prog_step *steps,
			      uint32_t num_steps)
{
	const uint64_t sizes[2] = { BYTES, BYTES };
	unsigned char *image;
	size_t size;

	image = cfgb_program_image(section, section_size, sizes, &size);
	if (num_steps) {
		struct rdu_prog_header *h;
		struct rdu_prog_segment *seg;

		image = realloc(image, size + num_steps * sizeof(*steps));
		h = (void *)image;
		memcpy(image + size, steps, num_steps * sizeof(*steps));
		h->steps_off = (uint32_t)size;
		h->num_steps = num_steps;
		size += num_steps * sizeof(*steps);
		h->size = (uint32_t)size;
		((struct rdu_prog_entry *)(void *)(image + h->entries_off))->num_steps = num_steps;
		((uint64_t *)(void *)(image + h->regions_off))[0] = (uint64_t)units * BYTES;
		((uint64_t *)(void *)(image + h->regions_off))[1] = (uint64_t)units * BYTES;
		seg = (void *)(image + h->segments_off);
		seg[0].loop_stride = BYTES;
		seg[1].loop_stride = BYTES;
	}
	free(section);
	return load_image(b, slot, image, size);
}

/* `loops`: as a schedule of that many iterations; 0: run once. */
__attribute__((unused)) static uint32_t load(struct bed *b, uint32_t slot, void *section,
					     size_t section_size, unsigned int loops)
{
	const struct rdu_prog_step steps[] = { { RDU_STEP_LOOP, loops },
					       { RDU_STEP_RUN, 0 },
					       { RDU_STEP_END, 0 } };

	return load_schedule(b, slot, section, section_size, loops, steps, loops ? 3 : 0);
}

/* Argument block at card address `at`, mapped at VA + at. */
__attribute__((unused)) static void args(struct bed *b, uint64_t at, uint32_t n, uint64_t first,
					 uint64_t second, uint64_t size)
{
	struct rdu_args *a = (void *)(b->mem + at);

	a->num_regions = n;
	a->num_scalars = 0;
	a->regions[0].addr = first;
	a->regions[0].size = size;
	if (n > 1) {
		a->regions[1].addr = second;
		a->regions[1].size = size;
	}
}

static struct rdu_cmd run(uint32_t slot, uint64_t args_va, bool stats, bool trace)
{
	struct rdu_cmd c = { .op = RDU_OP_RUN, .slot = slot };

	c.run.args = args_va;
	c.run.args_size = 40;
	if (stats)
		c.run.stats = VA + 9 * MB;
	if (trace) {
		c.run.trace = VA + 10 * MB;
		c.run.trace_size = 65536;
	}
	return c;
}

__attribute__((unused)) static float *floats(struct bed *b, uint64_t at)
{
	return (float *)(void *)(b->mem + at);
}

__attribute__((unused)) static bool scaled(const float *in, const float *out, float factor,
					   unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (out[i] != in[i] * factor)
			return false;
	return true;
}

#endif
