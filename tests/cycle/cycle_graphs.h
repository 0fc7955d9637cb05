/* SPDX-License-Identifier: MIT */
/* Small graphs, written by hand, that both clocks are tried on. */
#ifndef CYCLE_GRAPHS_H
#define CYCLE_GRAPHS_H

#include "cfgbuild.h"

/* LOAD -> SIMD -> STORE of n vectors. */
__attribute__((unused)) static struct cfgb *stream(const struct rdu_chip *chip, int n,
						   unsigned int format)
{
	struct cfgb *b = cfgb_new(chip, 1);
	uint32_t p[3], i;

	b->num_segments = 2;
	p[0] = cfgb_program(b, RDU_KIND_LOAD, 0, 0);
	p[1] = cfgb_program(b, RDU_KIND_SIMD, 0, 0);
	p[2] = cfgb_program(b, RDU_KIND_STORE, 0, 2);
	for (i = 0; i < 3; i++)
		cfgb_loop(b, p[i], n);
	for (i = 0; i < 3; i += 2)
		cfgb_access(b, p[i],
			    &(struct rdu_cfg_access){ .target = i / 2,
						      .format = (uint8_t)format,
						      .lanes = (uint8_t)chip->lanes,
						      .lane_stride = 1,
						      .stride = { chip->lanes } },
			    NULL);
	cfgb_stage(b, p[1], RDU_SIMD_FMAX, 0, cfgb_in(0), cfgb_immf(0), cfgb_none());
	cfgb_connect(b, p[0], 0, p[1], 0);
	cfgb_connect(b, p[1], 0, p[2], 0);
	return b;
}

/* `streams` times LOAD -> SIMD -> STORE of n vectors, all of one AGCU; the odd ones store lanes
 * a burst apart. */
__attribute__((unused)) static struct cfgb *crowded(const struct rdu_chip *chip, int streams, int n)
{
	struct cfgb *b = cfgb_new(chip, 1);

	b->num_segments = 2;
	for (int k = 0; k < streams; k++) {
		int apart = k & 1 ? (int)chip->dram_burst / 4 : 1;
		uint32_t p[3] = { cfgb_program(b, RDU_KIND_LOAD, 0, 0),
				  cfgb_program(b, RDU_KIND_SIMD, 0, (unsigned int)k),
				  cfgb_program(b, RDU_KIND_STORE, 0, 0) };

		for (uint32_t i = 0; i < 3; i++) {
			cfgb_loop(b, p[i], n);
			if (i != 1)
				cfgb_access(
					b, p[i],
					&(struct rdu_cfg_access){
						.target = i / 2,
						.lanes = (uint8_t)chip->lanes,
						.lane_stride = i ? apart : 1,
						.base = k * n * (int)chip->lanes,
						.stride = { i && apart > 1 ? 1 : chip->lanes } },
					NULL);
		}
		cfgb_stage(b, p[1], RDU_SIMD_FMAX, 0, cfgb_in(0), cfgb_immf(0), cfgb_none());
		cfgb_connect(b, p[0], 0, p[1], 0);
		cfgb_connect(b, p[1], 0, p[2], 0);
	}
	return b;
}

/* Twice LOAD -> WRITE of n vectors, all lanes in one bank: the WRITEs hold up the LOADs, of which
 * the second waits for the first. */
__attribute__((unused)) static struct cfgb *held_up(const struct rdu_chip *chip, int n)
{
	struct cfgb *b = cfgb_new(chip, 1);
	uint32_t p[4];

	b->num_segments = 1;
	for (uint32_t i = 0; i < 4; i++) {
		bool load = i % 2 == 0;

		p[i] = cfgb_program(b, load ? RDU_KIND_LOAD : RDU_KIND_WRITE, 0, i / 2);
		cfgb_loop(b, p[i], n);
		if (!load)
			cfgb_buffer(b, 0, i / 2, 1, 0, chip->lanes * chip->pmu_banks);
		cfgb_access(
			b, p[i],
			&(struct rdu_cfg_access){ .target = load ? 0 : i / 2,
						  .lanes = (uint8_t)chip->lanes,
						  .lane_stride = load ? 1 : (int)chip->pmu_banks,
						  .stride = { load ? chip->lanes : 0 } },
			NULL);
	}
	cfgb_connect(b, p[0], 0, p[1], 0);
	cfgb_connect(b, p[2], 0, p[3], 0);
	cfgb_token(b, p[0], p[2], 0, 0, 0);
	return b;
}

/* LOAD -> SIMD -> STORE of the same n vectors in each of `acts` activations. */
__attribute__((unused)) static struct cfgb *again(const struct rdu_chip *chip, int acts, int n,
						  unsigned int format)
{
	struct cfgb *b = cfgb_new(chip, 1);
	uint32_t p[3] = { cfgb_program(b, RDU_KIND_LOAD, 0, 0),
			  cfgb_program(b, RDU_KIND_SIMD, 0, 0),
			  cfgb_program(b, RDU_KIND_STORE, 0, 2) };

	b->num_segments = 2;
	for (uint32_t i = 0; i < 3; i++) {
		cfgb_outer(b, p[i], acts);
		cfgb_loop(b, p[i], n);
		if (i != 1)
			cfgb_access(b, p[i],
				    &(struct rdu_cfg_access){ .target = i / 2,
							      .format = (uint8_t)format,
							      .lanes = (uint8_t)chip->lanes,
							      .lane_stride = 1,
							      .stride = { 0, chip->lanes } },
				    NULL);
	}
	cfgb_stage(b, p[1], RDU_SIMD_FMAX, 0, cfgb_in(0), cfgb_immf(0), cfgb_none());
	cfgb_connect(b, p[0], 0, p[1], 0);
	cfgb_connect(b, p[1], 0, p[2], 0);
	return b;
}

/* LOAD -> buffer of `copies` -> STORE. */
__attribute__((unused)) static struct cfgb *buffered(const struct rdu_chip *chip,
						     unsigned int copies, int acts, int n)
{
	struct cfgb *b = cfgb_new(chip, 1);
	uint32_t p[4] = { cfgb_program(b, RDU_KIND_LOAD, 0, 0),
			  cfgb_program(b, RDU_KIND_WRITE, 0, 0),
			  cfgb_program(b, RDU_KIND_READ, 0, 0),
			  cfgb_program(b, RDU_KIND_STORE, 0, 1) };

	b->num_segments = 2;
	cfgb_buffer(b, 0, 0, copies, 0, (uint32_t)n * chip->lanes);
	for (uint32_t i = 0; i < 4; i++) {
		bool agcu = !i || i == 3;

		cfgb_outer(b, p[i], acts);
		cfgb_loop(b, p[i], n);
		cfgb_access(b, p[i],
			    &(struct rdu_cfg_access){
				    .target = i == 3,
				    .lanes = (uint8_t)chip->lanes,
				    .lane_stride = 1,
				    .stride = { agcu ? n * (int)chip->lanes : 0, chip->lanes } },
			    NULL);
	}
	cfgb_order(b, p[1], p[2], 0, 0, copies, 0);
	cfgb_connect(b, p[0], 0, p[1], 0);
	cfgb_connect(b, p[2], 0, p[3], 0);
	return b;
}

/* A product of bf16 or int8: packed columns and rows, K steps, `blocks` results stored. TERNARY: of
 * packed int8 and of words of weights, as they are in memory, each for four steps. */
__attribute__((unused)) static struct cfgb *product(const struct rdu_chip *chip,
						    enum rdu_systolic_mode mode, int k, int blocks)
{
	bool bytes = mode != RDU_SYS_BF16;
	struct cfgb *b = cfgb_new(chip, 1);
	uint32_t cols = chip->systolic_cols, a = cfgb_program(b, RDU_KIND_SYSTOLIC, 0, 0), st;

	b->num_segments = 3;
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t ld = cfgb_program(b, RDU_KIND_LOAD, 0, 2 * i),
			 w = cfgb_program(b, RDU_KIND_WRITE, 0, i),
			 r = cfgb_program(b, RDU_KIND_READ, 0, i);
		bool weights = i && mode == RDU_SYS_TERNARY;
		int n = weights ? 1 : bytes ? 4 : 2; /* vectors in one of a scratchpad */
		int vectors = weights ? k / 4 : k, again = weights ? 4 : 1;
		uint8_t format = bytes && !weights ? RDU_FMT_I8 : RDU_FMT_WORD;

		cfgb_buffer(b, 0, i, 1, 0, (uint32_t)vectors * chip->lanes);
		cfgb_loop(b, ld, n * vectors);
		cfgb_access(b, ld,
			    &(struct rdu_cfg_access){ .target = i,
						      .format = format,
						      .lanes = (uint8_t)chip->lanes,
						      .lane_stride = 1,
						      .stride = { chip->lanes } },
			    NULL);
		cfgb_loop(b, w, vectors);
		cfgb_loop(b, w, n);
		cfgb_access(
			b, w,
			&(struct rdu_cfg_access){ .target = i,
						  .format = format,
						  .pack = weights ? RDU_PACK_NONE : RDU_PACK_VEC,
						  .lanes = (uint8_t)chip->lanes,
						  .lane_stride = 1,
						  .stride = { chip->lanes } },
			NULL);
		cfgb_loop(b, r, blocks);
		cfgb_loop(b, r, k / 4);
		cfgb_loop(b, r, 4);
		cfgb_access(b, r,
			    &(struct rdu_cfg_access){ .target = i,
						      .lanes = (uint8_t)(i ? cols : chip->lanes),
						      .lane_stride = 1,
						      .stride = { 0, 4 / again * chip->lanes,
								  weights ? 0 : chip->lanes } },
			    NULL);
		cfgb_connect(b, ld, 0, w, 0);
		cfgb_order(b, w, r, 0, 0, 1, 0);
		cfgb_connect(b, r, 0, a, i);
	}
	cfgb_loop(b, a, blocks);
	cfgb_loop(b, a, k / 4);
	cfgb_loop(b, a, 4);
	cfgb_systolic(b, a,
		      &(struct rdu_cfg_systolic){
			      .mode = (uint8_t)mode, .cols = (uint8_t)cols, .k_mask = 6 });
	st = cfgb_program(b, RDU_KIND_STORE, 0, 4);
	cfgb_loop(b, st, blocks * (int)cols);
	cfgb_access(b, st,
		    &(struct rdu_cfg_access){ .target = 2,
					      .lanes = (uint8_t)chip->lanes,
					      .lane_stride = 1,
					      .stride = { chip->lanes } },
		    NULL);
	cfgb_connect(b, a, 0, st, 0);
	cfgb_out_port(b, a, 0, 6, 0, (uint8_t)cols);
	return b;
}

#endif
