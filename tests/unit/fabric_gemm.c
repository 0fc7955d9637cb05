// SPDX-License-Identifier: MIT
/* Products of matrices by arrays, in each mode, and by SIMD stages, compared with plain C loops. */
#include "fabric_test.h"
#include "kernels.h"

static uint32_t in0[65536], in1[65536], out0[65536], want[65536];

static void fill(uint32_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = rdu_u(rndf());
}

static uint32_t bf(float f)
{
	return rdu_bf16(rdu_u(f));
}

/*
 * C = A B by systolic arrays: K words of bf16 pairs, or of four bytes; where one operand is ternary
 * weights, a quarter as many words of it. A as [M][K] (columns read
 * transposed) or [K][M] (in place), B as [K][VECS]; `cols` columns of the array.
 * Several passes over K, each adding to C through a two-copy buffer.
 * merged: A in two scratchpads, either has a part of the columns; where they meet, a vector has both.
 * joined: B as [pass][VECS / cols][K of a pass][cols], one counter for all drains' steps; the
 * predicate is the rows'.
 * zeros: one pass, which begins with zeros and not with C.
 * fp32: by SIMD stages, a word each step; with zeros.
 */
struct gemm {
	int M, N, K, passes, cols;
	bool transposed, predicate;
	enum rdu_systolic_mode mode;
	unsigned int flags;
	bool joined, merged, zeros, fp32;
};

/* Words of A and of B along K. */
static int gemm_words(const struct gemm *g, bool rows)
{
	bool weights = g->mode == RDU_SYS_TERNARY && rows != !!(g->flags & RDU_SYS_COLS_TERNARY);

	return weights ? g->K / 4 : g->K;
}

/* The contraction's counters: step by step, or words of weights and their quarters. */
static void gemm_steps(const struct gemm *g, struct rdu_cfg_access *a, bool rows, int step)
{
	if (g->mode != RDU_SYS_TERNARY) {
		a->stride[3] = step;
		return;
	}
	a->stride[3] = gemm_words(g, rows) < g->K ? step : 4 * step;
	a->stride[4] = gemm_words(g, rows) < g->K ? 0 : step;
}

static int run_gemm(struct rig *r, const struct gemm *g, uint32_t *out)
{
	struct cfgb *b = cfgb_new(&r->chip, 1);
	int L = r->chip.lanes, mt = g->M / L, nt = g->N / g->cols, kp = g->K / g->passes;
	int ka = gemm_words(g, false), kb = gemm_words(g, true);
	int k_mask = g->mode == RDU_SYS_TERNARY ? 24 : 8;
	uint32_t rc = cfgb_program(b, RDU_KIND_READ, 0, 0),
		 rr = cfgb_program(b, RDU_KIND_READ, 0, 1);
	uint32_t ri = g->zeros ? 0 : cfgb_program(b, RDU_KIND_READ, 0, 2),
		 wo = cfgb_program(b, RDU_KIND_WRITE, 0, 2);
	uint32_t pcu = cfgb_program(b, g->fp32 ? RDU_KIND_SIMD : RDU_KIND_SYSTOLIC, 0, 0);
	uint32_t la = cfgb_program(b, RDU_KIND_LOAD, 0, 0),
		 lb = cfgb_program(b, RDU_KIND_LOAD, 0, 1);
	uint32_t wa = cfgb_program(b, RDU_KIND_WRITE, 0, 0),
		 wb = cfgb_program(b, RDU_KIND_WRITE, 0, 1);
	uint32_t rs = cfgb_program(b, RDU_KIND_READ, 0, 2),
		 st = cfgb_program(b, RDU_KIND_STORE, 0, 2);
	uint32_t ba = cfgb_buffer(b, 0, 0, 1, 0, g->M * ka),
		 bb = cfgb_buffer(b, 0, 1, 1, 0, kb * g->N);
	uint32_t bc = cfgb_buffer(b, 0, 2, 2, 0, g->M * g->N);
	struct rdu_cfg_access a = { .lanes = L, .lane_stride = 1, .stride = { L } };
	struct rdu_cfg_access col = { .target = ba, .lanes = L, .lane_stride = 1 };
	struct rdu_cfg_access row = { .target = bb, .lanes = g->cols, .lane_stride = 1 };
	struct rdu_cfg_access acc = { .target = bc, .lanes = L, .lane_stride = 1 };
	struct rdu_cfg_systolic body = { .mode = (uint8_t)g->mode,
					 .cols = g->cols,
					 .flags = (uint8_t)((g->zeros ? 0 : RDU_SYS_INIT) |
							    g->flags),
					 .k_mask = (uint16_t)k_mask,
					 .init_mask = g->zeros ? 0 : 1 };
	struct rdu_cfg_pred yes = { .lo = 0, .hi = g->M, .lane_stride = 1 };
	uint32_t q[] = { rc, rr, pcu }, rest, to_array = rc; /* rest: the other part of A */

	/* Everything in, once. */
	cfgb_loop(b, la, g->M * ka / L);
	cfgb_loop(b, wa, g->M * ka / L);
	cfgb_loop(b, lb, kb * g->N / L);
	cfgb_loop(b, wb, kb * g->N / L);
	cfgb_access(b, la, &a, NULL);
	a.target = 1;
	cfgb_access(b, lb, &a, NULL);
	a.target = ba;
	cfgb_access(b, wa, &a, NULL);
	a.target = bb;
	cfgb_access(b, wb, &a, NULL);

	/* pass, m, n, k */
	for (int i = 0; i < 3; i++) {
		cfgb_outer(b, q[i], g->passes);
		cfgb_loop(b, q[i], mt);
		if (q[i] == rr && g->joined) {
			cfgb_loop(b, q[i], nt * kp);
			continue;
		}
		cfgb_loop(b, q[i], nt);
		cfgb_loop(b, q[i], g->mode == RDU_SYS_TERNARY ? kp / 4 : kp);
		if (g->mode == RDU_SYS_TERNARY)
			cfgb_loop(b, q[i], 4);
	}
	if (g->transposed) {
		col.lane_stride = ka;
		col.stride[0] = ka / g->passes;
		col.stride[1] = (int64_t)L * ka;
	} else {
		col.stride[0] = (int64_t)ka / g->passes * g->M;
		col.stride[1] = L;
	}
	gemm_steps(g, &col, false, g->transposed ? 1 : g->M);
	col.num_preds = g->predicate && !g->joined;
	row.num_preds = g->predicate && g->joined;
	yes.stride[1] = L;
	row.stride[0] = (int64_t)kb / g->passes * g->N;
	row.stride[2] = g->cols;
	if (!g->joined)
		gemm_steps(g, &row, true, g->N);
	/* C as [VECS][M] */
	for (int i = g->zeros; i < 2; i++) {
		uint32_t p = i ? wo : ri;

		cfgb_outer(b, p, g->passes);
		cfgb_loop(b, p, mt);
		cfgb_loop(b, p, g->N);
		acc.stride[1] = L;
		acc.stride[2] = g->M;
		acc.copy_start = i ? 0 : 1;
		acc.flip_mask = 0;
		cfgb_access(b, p, &acc, NULL);
	}
	if (g->merged) {
		uint32_t w = cfgb_program(b, RDU_KIND_WRITE, 0, 3), x;

		x = cfgb_program(b, RDU_KIND_SIMD, 0, 1);
		rest = cfgb_program(b, RDU_KIND_READ, 0, 3);
		cfgb_loop(b, w, g->M * ka / L);
		a.target = cfgb_buffer(b, 0, 3, 1, 0, g->M * ka);
		cfgb_access(b, w, &a, NULL);
		cfgb_connect(b, la, 0, w, 0);
		for (int i = 0; i < 2; i++) {
			uint32_t p = i ? x : rest;

			cfgb_outer(b, p, g->passes);
			cfgb_loop(b, p, mt);
			cfgb_loop(b, p, nt);
			cfgb_loop(b, p, kp);
		}
		col.num_preds = 1;
		yes.hi = L + 3;
		cfgb_access(b, rc, &col, &yes);
		yes.lo = L + 3;
		yes.hi = g->M;
		col.target = a.target;
		col.flip_mask = 1;
		cfgb_access(b, rest, &col, &yes);
		cfgb_stage(b, x, RDU_SIMD_XOR, 0, cfgb_in(0), cfgb_in(1), cfgb_none());
		cfgb_connect(b, rc, 0, x, 0);
		cfgb_connect(b, rest, 0, x, 1);
		cfgb_order(b, w, rest, 0, 1, 1, 0);
		to_array = x;
	} else {
		cfgb_access(b, rc, &col, &yes);
	}
	cfgb_access(b, rr, &row, &yes);
	if (g->fp32) {
		for (int j = 0; j < g->cols; j++)
			cfgb_stage_acc(b, pcu, RDU_SIMD_FMA, j, cfgb_in(0), cfgb_in_lane(1, j),
				       cfgb_acc(), k_mask, 0);
	} else {
		cfgb_systolic(b, pcu, &body);
		if (g->mode != RDU_SYS_BF16)
			cfgb_tail(b, pcu, RDU_SIMD_MOV, 0, cfgb_reg(0), cfgb_none(), cfgb_none());
		else
			cfgb_tail(b, pcu, RDU_SIMD_FADD, 0, cfgb_reg(0), cfgb_immf(0), cfgb_none());
	}
	if (!g->zeros)
		cfgb_in_port(b, pcu, 2, k_mask, g->cols);
	cfgb_out_port(b, pcu, 0, k_mask, 0, g->cols);
	/* Out at the end, when the last pass is done: d of the readers is passes
	 * mod 2; it runs once an activation, and only the last is kept. */
	cfgb_outer(b, rs, g->passes);
	cfgb_outer(b, st, g->passes);
	cfgb_loop(b, rs, g->M * g->N / L);
	cfgb_loop(b, st, g->M * g->N / L);
	acc.stride[1] = L;
	acc.stride[2] = 0;
	acc.copy_start = 0;
	cfgb_access(b, rs, &acc, NULL);
	a.target = 2;
	a.stride[0] = 0;
	a.stride[1] = L;
	cfgb_access(b, st, &a, NULL);
	b->num_segments = 3;

	cfgb_connect(b, la, 0, wa, 0);
	cfgb_connect(b, lb, 0, wb, 0);
	cfgb_connect(b, to_array, 0, pcu, 0);
	cfgb_connect(b, rr, 0, pcu, 1);
	if (!g->zeros) {
		cfgb_connect(b, ri, 0, pcu, 2);
		cfgb_order(b, wo, ri, 0, 0, 2, 1);
	}
	cfgb_connect(b, pcu, 0, wo, 0);
	cfgb_connect(b, rs, 0, st, 0);
	/* The loaders flip once; so do the readers of what they wrote. */
	((struct rdu_cfg_access *)cfgb_body(b, rc)->bytes)->flip_mask = 1;
	((struct rdu_cfg_access *)cfgb_body(b, rr)->bytes)->flip_mask = 1;
	cfgb_order(b, wa, rc, 0, 1, 1, 0);
	cfgb_order(b, wb, rr, 0, 1, 1, 0);
	cfgb_order(b, wo, rs, 0, 0, 2, 0);

	rig_segment(r, 0, in0, (size_t)g->M * ka * 4);
	rig_segment(r, 1, in1, (size_t)kb * g->N * 4);
	rig_segment(r, 2, out, (size_t)g->M * g->N * 4);
	return rig_build_run(r, b);
}

/* Where word j of column n of B is. */
static int gemm_row_at(const struct gemm *g, int j, int n)
{
	int kp = g->K / g->passes, c = g->cols;

	if (!g->joined)
		return j * g->N + n;
	return j / kp * kp * g->N + n / c * kp * c + j % kp * c + n % c;
}

/* One step of one cell. */
static uint32_t gemm_cell(const struct gemm *g, uint32_t acc, uint32_t x, uint32_t y, int k)
{
	switch (g->mode) {
	case RDU_SYS_INT8:
		return rdu_mac_int8(acc, x, y, g->flags);
	case RDU_SYS_TERNARY:
		if (g->flags & RDU_SYS_COLS_TERNARY)
			return rdu_mac_ternary(acc, y, x >> k % 4 * 8,
					       g->flags & RDU_SYS_ROWS_UNSIGNED);
		return rdu_mac_ternary(acc, x, y >> k % 4 * 8, g->flags & RDU_SYS_COLS_UNSIGNED);
	default:
		if (g->fp32)
			return rdu_u(rdu_fma(rdu_f(x), rdu_f(y), rdu_f(acc)));
		return rdu_u(rdu_mac_bf16(rdu_f(acc), x, y));
	}
}

/* A word of an operand: of weights without 10. */
static uint32_t gemm_word(const struct gemm *g, bool rows)
{
	uint32_t w = rnd();

	if (g->fp32)
		return rdu_u(rndf());
	if (g->mode == RDU_SYS_BF16)
		return bf(rndf()) | bf(rndf()) << 16;
	return gemm_words(g, rows) < g->K ? w & ~((w >> 1 & ~w & 0x55555555) << 1) : w;
}

static void test_gemm(struct rig *r)
{
	int L = r->chip.lanes;
	const struct gemm shape[] = {
		{ 2 * L, 16, 24, 1, 8, .mode = RDU_SYS_BF16 },
		{ 2 * L, 24, 24, 3, 8, .mode = RDU_SYS_BF16 },
		{ L, 20, 8, 2, 5, .mode = RDU_SYS_BF16 },
		{ 2 * L, 16, 12, 2, 8, .transposed = true, .mode = RDU_SYS_BF16 },
		{ 2 * L, 16, 12, 2, 4, .predicate = true, .mode = RDU_SYS_BF16 },
		{ 2 * L, 24, 24, 3, 8, .mode = RDU_SYS_INT8 },
		{ 2 * L, 16, 12, 2, 8, .transposed = true, .mode = RDU_SYS_INT8,
		  .flags = RDU_SYS_COLS_UNSIGNED },
		{ L, 20, 8, 2, 5, .mode = RDU_SYS_INT8, .flags = RDU_SYS_ROWS_UNSIGNED },
		{ L, 16, 12, 1, 4, .predicate = true, .mode = RDU_SYS_INT8,
		  .flags = RDU_SYS_COLS_UNSIGNED | RDU_SYS_ROWS_UNSIGNED },
		{ 2 * L, 16, 32, 1, 8, .mode = RDU_SYS_TERNARY },
		{ 2 * L, 16, 48, 3, 8, .transposed = true, .mode = RDU_SYS_TERNARY,
		  .flags = RDU_SYS_COLS_TERNARY },
		{ L, 40, 32, 2, 5, .mode = RDU_SYS_TERNARY, .flags = RDU_SYS_COLS_UNSIGNED },
		{ L, 16, 32, 1, 4, .predicate = true, .mode = RDU_SYS_TERNARY,
		  .flags = RDU_SYS_COLS_TERNARY | RDU_SYS_ROWS_UNSIGNED },
		{ L, 16, 32, 2, 4, .predicate = true, .mode = RDU_SYS_TERNARY },
		{ 2 * L, 24, 24, 3, 8, .mode = RDU_SYS_BF16, .joined = true },
		{ 2 * L, 20, 16, 2, 5, .transposed = true, .predicate = true, .mode = RDU_SYS_INT8,
		  .joined = true },
		{ 2 * L, 24, 24, 3, 8, .mode = RDU_SYS_BF16, .merged = true },
		{ 6 * L, 1, L, 1, 1, .mode = RDU_SYS_BF16, .zeros = true },
		{ 6 * L, 1, L, 1, 1, .transposed = true, .mode = RDU_SYS_BF16, .zeros = true },
		{ 3 * L, 2, L, 1, 1, .mode = RDU_SYS_BF16, .zeros = true },
		{ 7 * L, 1, L, 1, 1, .mode = RDU_SYS_BF16, .zeros = true, .fp32 = true },
		{ 7 * L, 4, L, 1, 2, .mode = RDU_SYS_BF16, .zeros = true, .fp32 = true },
	};
	static const char *const name[] = { "in place",
					    "three passes through two copies",
					    "five columns",
					    "transposed columns",
					    "predicates",
					    "int8, three passes",
					    "uint8 x int8, transposed columns",
					    "int8 x uint8, five columns",
					    "uint8 x uint8, predicates",
					    "int8 x ternary",
					    "ternary x int8, transposed columns, three passes",
					    "uint8 x ternary, five columns",
					    "ternary x uint8, predicates",
					    "int8 x ternary, predicates",
					    "rows by one counter for all drains",
					    "rows by one counter, predicates",
					    "columns in two scratchpads",
					    "one column, drains side by side",
					    "one column, transposed",
					    "one column, drains that read other rows",
					    "fp32, one column, drains side by side",
					    "fp32, two columns" };

	for (unsigned int t = 0; t < sizeof(shape) / sizeof(shape[0]); t++) {
		const struct gemm *g = &shape[t];
		bool good;

		int ka = gemm_words(g, false), kb = gemm_words(g, true);

		for (int i = 0; i < g->M * ka; i++)
			in0[i] = gemm_word(g, false);
		for (int i = 0; i < kb * g->N; i++)
			in1[i] = gemm_word(g, true);
		rig_clear(r);
		good = run_gemm(r, g, out0) == 0;
		for (int m = 0; m < g->M; m++)
			for (int n = 0; n < g->N; n++) {
				uint32_t acc = 0;

				for (int k = 0; k < g->K; k++) {
					int i = k / (g->K / ka), j = k / (g->K / kb);
					uint32_t x = in0[g->transposed ? m * ka + i : i * g->M + m];
					uint32_t y = in1[gemm_row_at(g, j, n)];

					acc = gemm_cell(g, acc, x, y, k);
				}
				want[n * g->M + m] = acc;
			}
		ok(same_words("out0", out0, want, (size_t)g->M * g->N) && good, "GEMM, %s",
		   name[t]);
		if (g->mode != RDU_SYS_TERNARY)
			continue;
		/* the last weight of the last row, or of the last column */
		if (ka < kb)
			in0[g->M * ka - 1] = (in0[g->M * ka - 1] & 0x3fffffff) | 0x80000000;
		else
			in1[kb * g->N - 1] = (in1[kb * g->N - 1] & 0x3fffffff) | 0x80000000;
		rig_clear(r);
		ok(run_gemm(r, g, out0) == 2 && r->fault.code == RDU_FAULT_VALUE &&
			   r->fault.info == RDU_TRAP_TERNARY,
		   "%s: a weight 10 stops the section", name[t]);
	}
}

/* The same by SIMD stages: 4 columns in 4 registers. */
static void test_simd_gemm(struct rig *r)
{
	struct cfgb *b = cfgb_new(&r->chip, 1);
	int L = r->chip.lanes, M = 3 * L, Nc = 8, K = 20;
	uint32_t rc, rr, pcu = cfgb_program(b, RDU_KIND_SIMD, 0, 0), st;
	struct rdu_cfg_access col = { .target = 0, .lanes = L, .lane_stride = 1 };
	struct rdu_cfg_access row = { .target = 1, .lanes = 4, .lane_stride = 1 };
	struct rdu_cfg_access out = { .target = 2, .lanes = L, .lane_stride = 1 };
	bool good;

	rc = cfgb_program(b, RDU_KIND_LOAD, 0, 0);
	rr = cfgb_program(b, RDU_KIND_LOAD, 0, 1);
	st = cfgb_program(b, RDU_KIND_STORE, 0, 2);
	for (int i = 0; i < 3; i++) {
		uint32_t p = i == 0 ? rc : i == 1 ? rr : pcu;

		cfgb_loop(b, p, M / L);
		cfgb_loop(b, p, Nc / 4);
		cfgb_loop(b, p, K);
	}
	cfgb_loop(b, st, M / L);
	cfgb_loop(b, st, Nc);
	col.stride[0] = L;
	col.stride[2] = M;
	row.stride[1] = 4;
	row.stride[2] = Nc;
	out.stride[0] = L;
	out.stride[1] = M;
	cfgb_access(b, rc, &col, NULL);
	cfgb_access(b, rr, &row, NULL);
	cfgb_access(b, st, &out, NULL);
	b->num_segments = 3;
	for (int j = 0; j < 4; j++)
		cfgb_stage_acc(b, pcu, RDU_SIMD_FMA, j, cfgb_in(0), cfgb_in_lane(1, j), cfgb_acc(),
			       4, 0);
	cfgb_out_port(b, pcu, 0, 4, 0, 4);
	cfgb_connect(b, rc, 0, pcu, 0);
	cfgb_connect(b, rr, 0, pcu, 1);
	cfgb_connect(b, pcu, 0, st, 0);
	fill(in0, (size_t)M * K);
	fill(in1, (size_t)K * Nc);
	rig_segment(r, 0, in0, (size_t)M * K * 4);
	rig_segment(r, 1, in1, (size_t)K * Nc * 4);
	rig_segment(r, 2, out0, (size_t)M * Nc * 4);
	good = rig_build_run(r, b) == 0;
	for (int n = 0; n < Nc; n++)
		for (int m = 0; m < M; m++) {
			float acc = 0;

			for (int k = 0; k < K; k++)
				acc = rdu_fma(rdu_f(in0[k * M + m]), rdu_f(in1[k * Nc + n]), acc);
			good = SAME(out0, n * M + m, rdu_u(acc)) && good;
		}
	ok(good, "SIMD GEMM, four columns");
}

static void test_chip(const char *chip, const char *kernels, unsigned int threads)
{
	struct rig r;

	rig_init(&r, chip);
	r.pool = rdu_pool_new(threads);
	r.again = 2;
	printf("# %s, %s kernels, %u threads\n", chip, kernels, threads);
	if (r.chip.systolic_cols)
		test_gemm(&r);
	test_simd_gemm(&r);
	rig_free(&r);
}

int main(void)
{
	const struct rdu_kernels *k;

	for (unsigned int n = 0; (k = rdu_kernels_nth(n)); n++) {
		setenv("RDU_KERNELS", k->name, 1);
		for (unsigned int threads = 1; threads <= 2; threads++) {
			test_chip("sn10", k->name, threads);
			test_chip("plasticine", k->name, threads);
		}
	}
	return tap_done();
}
