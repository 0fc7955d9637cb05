// SPDX-License-Identifier: MIT
/*
 * The fabric alone, by configurations written here: a systolic contraction on
 * scratchpads against the host's multiply-add peak, the same by SIMD stages,
 * and an element-wise chain and a copy against memcpy. One and two threads.
 */
#include "bench.h"
#include "cfgbuild.h"
#include "fabric.h"
#include "peak.h"

static struct rdu_chip chip;

static double run(void *image, size_t size, struct rdu_segment *seg, int threads)
{
	const struct rdu_cfg_header *h = image;
	const struct rdu_cfg_buffer *b = (const void *)((const char *)image + h->buffers.offset);
	uint32_t pmus = rdu_chip_pmus_per_tile(&chip), scalars[4] = { 0 };
	uint32_t **scratch = calloc((size_t)chip.tiles * pmus, sizeof(*scratch));
	struct rdu_pool *pool = rdu_pool_new(threads);
	struct fab_run r = {
		.segments = seg, .scalars = scalars, .scratch = scratch, .pool = pool
	};
	struct fab_fault fault;
	struct rdu_cfg_diag diag;
	struct rdu_section *s = rdu_section_new(image, size, &chip, 0, &diag);
	double best = 1e9;

	if (!s) {
		fprintf(stderr, "refused: %s\n", diag.text);
		exit(1);
	}
	for (uint32_t i = 0; i < h->buffers.count; i++) {
		uint32_t **p = &scratch[b[i].tile * pmus + b[i].unit];

		if (!*p)
			*p = aligned_alloc(64, chip.pmu_bytes);
		for (uint32_t k = 0; k < chip.pmu_bytes / 4; k++)
			(*p)[k] = 0x3f803f80 + k % 77;
	}
	for (int i = 0; i < 7; i++) {
		double t = now();

		if (rdu_section_execute(s, &r, &fault)) {
			fprintf(stderr, "fault %d program %u\n", fault.code, fault.program);
			exit(1);
		}
		t = now() - t;
		best = t < best ? t : best;
	}
	for (uint32_t i = 0; i < chip.tiles * pmus; i++)
		free(scratch[i]);
	free(scratch);
	rdu_section_free(s);
	rdu_pool_free(pool);
	free(image);
	return best;
}

/* `units` arrays, each M x N x K (words), `times` activations. */
static void *contraction(size_t *size, int units, int m, int n, int k, int times, bool simd)
{
	struct cfgb *b = cfgb_new(&chip, 1);
	int L = chip.lanes, cols = simd ? 4 : 8;

	for (int u = 0; u < units; u++) {
		uint32_t rc = cfgb_program(b, RDU_KIND_READ, 0, 2 * u);
		uint32_t rr = cfgb_program(b, RDU_KIND_READ, 0, 2 * u + 1);
		uint32_t pcu = cfgb_program(b, simd ? RDU_KIND_SIMD : RDU_KIND_SYSTOLIC, 0, u);
		uint32_t st = cfgb_program(b, RDU_KIND_STORE, 0, u);
		uint32_t bc = cfgb_buffer(b, 0, 2 * u, 1, 0, m * k);
		uint32_t br = cfgb_buffer(b, 0, 2 * u + 1, 1, 0, n * k), q[] = { rc, rr, pcu };
		struct rdu_cfg_access col = {
			.target = bc, .lanes = L, .lane_stride = 1, .stride = { 0, L, 0, m }
		};
		struct rdu_cfg_access row = {
			.target = br, .lanes = cols, .lane_stride = 1, .stride = { 0, 0, cols, n }
		};
		struct rdu_cfg_access out = {
			.target = u, .lanes = L, .lane_stride = 1, .stride = { 0, L, m }
		};
		struct rdu_cfg_systolic body = { .cols = cols, .k_mask = 8 };

		for (int i = 0; i < 3; i++) {
			cfgb_outer(b, q[i], times);
			cfgb_loop(b, q[i], m / L);
			cfgb_loop(b, q[i], n / cols);
			cfgb_loop(b, q[i], k);
		}
		cfgb_outer(b, st, times);
		cfgb_loop(b, st, m / L);
		cfgb_loop(b, st, n);
		cfgb_access(b, rc, &col, NULL);
		cfgb_access(b, rr, &row, NULL);
		cfgb_access(b, st, &out, NULL);
		if (simd)
			for (int j = 0; j < cols; j++)
				cfgb_stage_acc(b, pcu, RDU_SIMD_FMA, j, cfgb_in(0),
					       cfgb_in_lane(1, j), cfgb_acc(), 8, 0);
		else
			cfgb_systolic(b, pcu, &body);
		cfgb_out_port(b, pcu, 0, 8, 0, cols);
		cfgb_connect(b, rc, 0, pcu, 0);
		cfgb_connect(b, rr, 0, pcu, 1);
		cfgb_connect(b, pcu, 0, st, 0);
	}
	b->num_segments = units;
	return cfgb_finish(b, size);
}

/* n vectors through `stages` operations, split over `units`. */
static void *chain(size_t *size, int units, int n, int stages)
{
	struct cfgb *b = cfgb_new(&chip, 1);
	int L = chip.lanes;

	for (int u = 0; u < units; u++) {
		uint32_t ld = cfgb_program(b, RDU_KIND_LOAD, 0, 2 * u);
		uint32_t st = cfgb_program(b, RDU_KIND_STORE, 0, 2 * u + 1), pcu;
		struct rdu_cfg_access a = { .lanes = L,
					    .lane_stride = 1,
					    .stride = { L },
					    .base = (int64_t)n / units * u * L };

		cfgb_loop(b, ld, n / units);
		cfgb_access(b, ld, &a, NULL);
		a.target = 1;
		cfgb_loop(b, st, n / units);
		cfgb_access(b, st, &a, NULL);
		if (!stages) {
			cfgb_connect(b, ld, 0, st, 0);
			continue;
		}
		pcu = cfgb_program(b, RDU_KIND_SIMD, 0, u);
		cfgb_loop(b, pcu, n / units);
		for (int i = 0; i < stages; i++)
			cfgb_stage(b, pcu, i & 1 ? RDU_SIMD_FMAX : RDU_SIMD_FMA, 0,
				   i ? cfgb_reg(0) : cfgb_in(0), cfgb_immf(i & 1 ? -1.0f : 0.5f),
				   i & 1 ? cfgb_none() : cfgb_immf(0.25f));
		cfgb_connect(b, ld, 0, pcu, 0);
		cfgb_connect(b, pcu, 0, st, 0);
	}
	b->num_segments = 2;
	return cfgb_finish(b, size);
}

/* An argument: only the measurements whose names hold it. */
int main(int argc, char **argv)
{
	const char *only = argc > 1 ? argv[1] : "";
	struct rdu_segment seg[4];
	size_t size, bytes = 64u << 20;
	const char *what;
	char error[100], name[64];
	float *mem[4];

	if (rdu_chip_find("sn10", &chip, error, sizeof(error)))
		return 1;
	for (int i = 0; i < 4; i++) {
		mem[i] = new_floats(bytes / 4);
		fill(mem[i], bytes / 4, i);
		seg[i] = (struct rdu_segment){ mem[i], bytes, true };
	}
	for (int threads = 1; threads <= 2; threads++) {
		double peak = peak_flops(threads, &what) * 1e-9, copy = 1e9;
		void *image;
		double t;

		for (int simd = 0; simd < 2; simd++) {
			snprintf(name, sizeof(name), "fabric_%s_contraction_%dt",
				 simd ? "simd" : "systolic", threads);
			if (!strstr(name, only))
				continue;
			image = contraction(&size, 4, 256, 256, 256, 8, simd);
			t = run(image, size, seg, threads);
			report(name, (simd ? 2e-9 : 4e-9) * 4 * 256 * 256 * 256 * 8 / t, "GFLOP/s",
			       what, peak);
		}
		for (int i = 0; i < 5; i++) {
			t = now();
			memcpy(mem[1], mem[0], bytes);
			t = now() - t;
			copy = t < copy ? t : copy;
		}
		for (int stages = 0; stages <= 6; stages += 3) {
			snprintf(name, sizeof(name), "fabric_chain_%d_%dt", stages, threads);
			if (!strstr(name, only))
				continue;
			image = chain(&size, 4, bytes / 4 / chip.lanes, stages);
			t = run(image, size, seg, threads);
			report(name, 2e-9 * bytes / t, "GB/s", "memcpy-1t", 2e-9 * bytes / copy);
		}
	}
	return 0;
}
