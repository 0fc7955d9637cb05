// SPDX-License-Identifier: MIT
/*
 * The configuration validator, and what is done with an image it accepts: the
 * plan, the modelled time, and a short run on small memory. The chip is tiny, so
 * that an image has a chance to be accepted; its hash, magic and sizes are put
 * right before each try, since no fuzzer guesses a hash.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "fabric.h"

static const struct rdu_chip chip = {
	.name = "tiny", .tiles = 1, .tile_cols = 4, .tile_rows = 2, .agcus_per_tile = 2, .lanes = 4,
	.simd_stages = 6, .simd_regs = 6, .tail_stages = 2, .pcu_vec_in = 4, .pcu_vec_out = 2,
	.systolic_cols = 2, .clock_khz = 1000000, .pmu_bytes = 4096, .pmu_banks = 4,
	.pmu_writes = 2, .pmu_reads = 4, .agcu_programs = 4, .vec_links = 4, .hop_cycles = 1,
	.pmu_cycles = 4, .stage_cycles = 1, .dram_mbps = 1000, .dram_channels = 1,
	.dram_burst = 64, .dram_latency = 100, .host_mbps = 1000, .host_latency = 1000,
	.pload_bytes = 32, .pload_latency = 100, .aload_cycles = 10, .aload_per_segment = 4,
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
	struct rdu_fault_record fault;
	struct rdu_cfg_diag diag;
	struct rdu_section *s = rdu_section_new(image, size, &chip, 1, &diag);
	struct rdu_run run = { .segments = seg, .scalars = scalars, .scratch = scratch };
	struct timespec ts;

	if (!s)
		return;
	if (h->num_segments <= SEGMENTS) {
		for (int i = 0; i < 8; i++)
			scratch[i] = scratch_mem[i];
		for (int i = 0; i < SEGMENTS; i++)
			seg[i] = (struct rdu_segment){ segment_mem[i], sizeof(segment_mem[i]), i & 1 };
		clock_gettime(CLOCK_MONOTONIC, &ts);
		run.deadline_ns = (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec + 20000000;
		rdu_section_execute(s, &run, &fault);
	}
	rdu_section_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rdu_cfg_diag diag;
	unsigned char *copy = malloc(size ? size : 1);
	struct rdu_cfg_header *h = (void *)copy;
	struct rdu_prog_header *p = (void *)copy;

	memcpy(copy, data, size);
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
