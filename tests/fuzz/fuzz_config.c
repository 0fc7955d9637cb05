// SPDX-License-Identifier: MIT
/*
 * The configuration validator, and what is done with an image it accepts: the
 * plan, the modelled time, and a short run on small memory. The chip is tiny, so
 * that an image has a chance to be accepted; its hash, magic and sizes are put
 * right before each try, since no fuzzer guesses a hash. An input is an image, or
 * (first byte 1 or more) changes to one of the good images made here.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "../unit/cfgbuild.h"
#include "fabric.h"

static const struct rdu_chip chip = {
	.name = "tiny",
	.tiles = 1,
	.tile_cols = 4,
	.tile_rows = 2,
	.agcus_per_tile = 2,
	.lanes = 4,
	.simd_stages = 6,
	.simd_regs = 6,
	.tail_stages = 2,
	.pcu_vec_in = 4,
	.pcu_vec_out = 2,
	.systolic_cols = 2,
	.clock_khz = 1000000,
	.pmu_bytes = 4096,
	.pmu_banks = 4,
	.pmu_writes = 2,
	.pmu_reads = 4,
	.agcu_programs = 4,
	.vec_links = 4,
	.hop_cycles = 1,
	.pmu_cycles = 4,
	.stage_cycles = 1,
	.dram_mbps = 12800,
	.dram_channels = 1,
	.dram_burst = 64,
	.dram_latency = 100,
	.host_mbps = 1000,
	.host_latency = 1000,
	.pload_bytes = 32,
	.pload_latency = 100,
	.aload_cycles = 10,
	.aload_per_segment = 4,
	.dram_groups = 1,
	.dram_banks = 8,
	.dram_row = 8192,
	.dram_tck = 1250,
	.dram_cl = 11,
	.dram_cwl = 8,
	.dram_tccd_s = 4,
	.dram_tccd_l = 4,
	.dram_trcd = 13750,
	.dram_trp = 13750,
	.dram_tras = 35000,
	.dram_trc = 48750,
	.dram_trrd_s = 6000,
	.dram_trrd_l = 6000,
	.dram_tfaw = 30000,
	.dram_twtr_s = 7500,
	.dram_twtr_l = 7500,
	.dram_trtp = 7500,
	.dram_trtw = 9,
	.dram_twr = 15000,
	.dram_trfc = 260000,
	.dram_trefi = 7800000,
	.dram_queue = 64,
	.dram_drain_high = 48,
	.dram_drain_low = 16,
	.dram_drain_idle = 200,
	.agcu_requests = 128,
	.agcu_vectors = 128,
	.agcu_lines = 64,
	.fifo_vectors = 16,
	.config_planes = 2,
	.config_switch = 4,
};

#define SEGMENTS 4
#define SEGMENT_WORDS 1024

static uint32_t scratch_mem[8][1024] __attribute__((aligned(64)));
static uint32_t segment_mem[SEGMENTS][SEGMENT_WORDS];

static void use(const void *image, size_t size)
{
	const struct rdu_cfg_header *h = image;
	uint32_t scalars[RDU_MAX_SCALARS] = { 3, 1, 2 }, *scratch[8];
	struct rdu_segment seg[SEGMENTS];
	struct fab_fault fault;
	struct rdu_cfg_diag diag;
	struct rdu_section *s = rdu_section_new(image, size, &chip, 1, &diag);
	struct fab_run run = { .segments = seg, .scalars = scalars, .scratch = scratch };
	struct timespec ts;

	if (!s)
		return;
	if (h->num_segments <= SEGMENTS) {
		for (int i = 0; i < 8; i++)
			scratch[i] = scratch_mem[i];
		for (int i = 0; i < SEGMENTS; i++)
			seg[i] = (struct rdu_segment){ segment_mem[i], sizeof(segment_mem[i]),
						       i & 1 };
		clock_gettime(CLOCK_MONOTONIC, &ts);
		run.deadline_ns =
			(uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec + 20000000;
		rdu_section_execute(s, &run, &fault);
	}
	rdu_section_free(s);
}

/* ---- good images ----------------------------------------------------------- */

#define BASES 6

static void *base[BASES];
static size_t base_size[BASES];

static uint32_t mover(struct cfgb *b, enum rdu_kind kind, uint32_t unit, uint32_t target)
{
	struct rdu_cfg_access a = {
		.target = target, .lanes = 4, .lane_stride = 1, .stride = { 12, 4 }, .num_preds = 1
	};
	struct rdu_cfg_pred pred = { .hi = 30, .lane_stride = 1, .stride = { 12, 4 } };
	uint32_t p = cfgb_program(b, kind, 0, unit);

	cfgb_outer(b, p, 3);
	cfgb_loop(b, p, 3);
	cfgb_access(b, p, &a, &pred);
	return p;
}

/* load, write, read, reduce, store; with gather, two stages, tokens. one: it is from the scratchpad, by one
 * index for all lanes. */
static void make_chain(struct cfgb *b, bool one)
{
	uint32_t ld = mover(b, RDU_KIND_LOAD, 0, 0), wr = mover(b, RDU_KIND_WRITE, 0, 0);
	uint32_t rd = mover(b, RDU_KIND_READ, 0, 0), st = mover(b, RDU_KIND_STORE, 1, 1);
	uint32_t ga = mover(b, one ? RDU_KIND_READ : RDU_KIND_LOAD, !one, one ? 0 : 2),
		 pcu = cfgb_program(b, RDU_KIND_SIMD, 0, 1);

	cfgb_buffer(b, 0, 0, 2, 16, 40);
	((struct rdu_cfg_access *)cfgb_body(b, ga)->bytes)->flags =
		RDU_ACCESS_GATHER | (one ? RDU_ACCESS_ONE_INDEX : 0);
	((struct rdu_cfg_access *)cfgb_body(b, ga)->bytes)->index_stride = 1;
	cfgb_outer(b, pcu, 3);
	cfgb_loop(b, pcu, 3);
	cfgb_stage(b, pcu, RDU_SIMD_FMA, 0, cfgb_in(0), cfgb_in_lane(1, 2), cfgb_arg(0));
	cfgb_stage_acc(b, pcu, RDU_SIMD_FADD, 1, cfgb_acc(), cfgb_reg(0), cfgb_none(), 1, 0);
	cfgb_stage(b, pcu, RDU_SIMD_RED_FMAX, 0, cfgb_reg(1), cfgb_none(), cfgb_none());
	cfgb_tail(b, pcu, RDU_SIMD_TANH, 0, cfgb_reg(0), cfgb_none(), cfgb_none());
	cfgb_connect(b, ld, 0, wr, 0);
	cfgb_connect(b, rd, 0, pcu, 0);
	cfgb_connect(b, rd, 0, ga, 0);
	cfgb_connect(b, ga, 0, pcu, 1);
	cfgb_connect(b, pcu, 0, st, 0);
	cfgb_order(b, wr, rd, 0, 0, 2, 0);
	if (one)
		cfgb_order(b, wr, ga, 0, 0, 2, 0);
	b->num_segments = 3;
	b->num_scalars = 1;
}

/* An array, or SIMD stages that do its work; columns, rows, k. */
static void make_contraction(struct cfgb *b, bool simd, enum rdu_systolic_mode mode)
{
	uint32_t p[4] = { cfgb_program(b, RDU_KIND_READ, 0, 0),
			  cfgb_program(b, RDU_KIND_READ, 0, 1),
			  cfgb_program(b, simd ? RDU_KIND_SIMD : RDU_KIND_SYSTOLIC, 0, 1),
			  cfgb_program(b, RDU_KIND_STORE, 0, 1) };
	struct rdu_cfg_access col = {
		.target = 0, .lanes = 4, .lane_stride = 1, .stride = { 0, 0, 4 }
	};
	struct rdu_cfg_access row = {
		.target = 1, .lanes = 2, .lane_stride = 5, .stride = { 0, 2, 1 }
	};
	struct rdu_cfg_access out = {
		.target = 1, .lanes = 4, .lane_stride = 1, .stride = { 24, 4 }
	};
	struct rdu_cfg_systolic body = { .mode = (uint8_t)mode, .cols = 2, .k_mask = 4 };

	cfgb_buffer(b, 0, 0, 1, 0, 64);
	cfgb_buffer(b, 0, 1, 1, 0, 64);
	for (int i = 0; i < 3; i++) {
		cfgb_outer(b, p[i], 2);
		cfgb_loop(b, p[i], 3);
		cfgb_loop(b, p[i], mode == RDU_SYS_TERNARY ? 4 : 5);
	}
	cfgb_outer(b, p[3], 2);
	cfgb_loop(b, p[3], 6);
	cfgb_access(b, p[0], &col, NULL);
	cfgb_access(b, p[1], &row, NULL);
	cfgb_access(b, p[3], &out, NULL);
	if (simd)
		for (int j = 0; j < 2; j++)
			cfgb_stage_acc(b, p[2], RDU_SIMD_FMA, j, cfgb_in(0), cfgb_in_lane(1, j),
				       cfgb_acc(), 4, 0);
	else
		cfgb_systolic(b, p[2], &body);
	cfgb_out_port(b, p[2], 0, 4, 0, 2);
	cfgb_connect(b, p[0], 0, p[2], 0);
	cfgb_connect(b, p[1], 0, p[2], 1);
	cfgb_connect(b, p[2], 0, p[3], 0);
	b->num_segments = 2;
}

static void make_bases(void)
{
	for (int i = 0; i < BASES; i++) {
		struct cfgb *b = cfgb_new(&chip, 1);
		struct rdu_cfg_diag diag;

		if (i && i < 5)
			make_contraction(b, i == 2,
					 i == 4	  ? RDU_SYS_TERNARY
					 : i == 3 ? RDU_SYS_INT8
						  : RDU_SYS_BF16);
		else
			make_chain(b, i);
		base[i] = cfgb_finish(b, &base_size[i]);
		if (rdu_config_validate(base[i], base_size[i], &chip, 1, &diag)) {
			fprintf(stderr, "image %d: %s\n", i, diag.text);
			abort();
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rdu_cfg_diag diag;
	struct rdu_cfg_header *h;
	struct rdu_prog_header *p;
	unsigned char *copy;

	if (!base[0])
		make_bases();
	if (size && data[0] && data[0] <= BASES) {
		/* Words to change: where (16 bits), and what they become. */
		size_t n = base_size[data[0] - 1];

		copy = malloc(n);
		memcpy(copy, base[data[0] - 1], n);
		for (data++, size--; size >= 6; data += 6, size -= 6)
			memcpy(copy + (data[0] | data[1] << 8) % (n - 3), data + 2, 4);
		size = n;
	} else {
		copy = malloc(size ? size : 1);
		memcpy(copy, data, size);
	}
	h = (void *)copy;
	p = (void *)copy;
	if (size >= sizeof(*p) && p->magic == RDU_PROG_MAGIC) {
		p->chip_hash = rdu_chip_hash(&chip);
		rdu_program_validate(copy, size, &chip, 1, &diag);
	} else if (size >= sizeof(*h)) {
		h->magic = RDU_CFG_MAGIC;
		h->version = RDU_CFG_VERSION;
		h->header_size = sizeof(*h);
		h->size = (uint32_t)size;
		h->chip_hash = rdu_chip_hash(&chip);
		if (!rdu_config_validate(copy, size, &chip, 1, &diag))
			use(copy, size);
	} else {
		rdu_config_validate(copy, size, &chip, 1, &diag);
	}
	free(copy);
	return 0;
}
