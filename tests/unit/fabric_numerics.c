// SPDX-License-Identifier: MIT
/*
 * Every operation of every kernel table against its scalar definition, bit for
 * bit; the systolic cell against the definition on millions of cases; the tail
 * functions' worst errors against libm in double precision.
 */
#include <math.h>
#include "fabric_test.h"
#include "kernels.h"

#define W 4096

static uint32_t a[W], b[W], c[W], out[W], want[W];

static const struct {
	const char *name;
	uint8_t op, operands;
} ops[] = {
#define OP_ROW(n, v, o, t, d) { #n, v, o },
	RDU_SIMD_OPS(OP_ROW)
#undef OP_ROW
};

static void test_maps(const struct rdu_kernels *k)
{
	int bad = 0, tested = 0;

	for (size_t o = 0; o < sizeof(ops) / sizeof(ops[0]); o++) {
		if (!k->map[ops[o].op])
			continue;
		tested++;
		for (int round = 0; round < 40; round++) {
			size_t n = round ? W : 37;

			for (int i = 0; i < W; i++) {
				a[i] = rnd_bits();
				b[i] = rnd() & 3 ? rnd_bits() : a[i];
				c[i] = rnd_bits();
				want[i] = rdu_simd_scalar(ops[o].op, a[i], b[i], c[i]);
			}
			memset(out, 0x55, sizeof(out));
			k->map[ops[o].op](n, out, a, b, c);
			for (size_t i = 0; i < n; i++)
				if (out[i] != want[i]) {
					printf("# %s %s(%08x, %08x, %08x) = %08x, not %08x\n",
					       k->name, ops[o].name, a[i], b[i], c[i], out[i],
					       want[i]);
					bad++;
					break;
				}
			memcpy(out, a, sizeof(out)); /* in place */
			k->map[ops[o].op](n, out, out, b, c);
			bad += !same_words(ops[o].name, out, want, n);
		}
	}
	ok(!bad && tested == 48, "%s: %d lane-wise operations", k->name, tested);
}

static void test_accs(const struct rdu_kernels *k)
{
	static const uint8_t op[] = { RDU_SIMD_FADD, RDU_SIMD_FMA, RDU_SIMD_FMAX, RDU_SIMD_FMIN,
				      RDU_SIMD_IADD };
	int bad = 0;

	for (size_t o = 0; o < sizeof(op); o++) {
		for (size_t lanes = 2; lanes <= 64; lanes *= 2) {
			uint32_t acc[64], acc2[64];
			size_t n = W / lanes;

			for (int i = 0; i < W; i++) {
				a[i] = rnd_bits();
				b[i] = rnd_bits();
			}
			for (size_t l = 0; l < lanes; l++)
				acc[l] = acc2[l] = rnd_bits();
			for (size_t i = 0; i < n; i++)
				for (size_t l = 0; l < lanes; l++)
					want[i * lanes + l] = acc2[l] =
						op[o] == RDU_SIMD_FMA
							? rdu_simd_scalar(op[o], a[i * lanes + l],
									  b[i * lanes + l], acc2[l])
							: rdu_simd_scalar(op[o], a[i * lanes + l],
									  acc2[l], 0);
			k->acc[op[o]](n, lanes, out, a, b, acc);
			bad += !same_words("out", out, want, n * lanes) ||
			       !same_words("acc", acc, acc2, lanes);
		}
	}
	ok(!bad, "%s: accumulators", k->name);
}

static void test_reds(const struct rdu_kernels *k)
{
	static const uint8_t op[][2] = { { RDU_SIMD_RED_FADD, RDU_SIMD_FADD },
					 { RDU_SIMD_RED_FMAX, RDU_SIMD_FMAX },
					 { RDU_SIMD_RED_FMIN, RDU_SIMD_FMIN },
					 { RDU_SIMD_RED_IADD, RDU_SIMD_IADD } };
	int bad = 0;

	for (size_t o = 0; o < 4; o++) {
		for (size_t lanes = 2; lanes <= 64; lanes *= 2) {
			size_t n = W / lanes;

			for (int i = 0; i < W; i++)
				a[i] = rnd_bits();
			for (size_t i = 0; i < n; i++) {
				uint32_t v[64];

				memcpy(v, a + i * lanes, lanes * 4);
				for (size_t s = lanes / 2; s; s /= 2)
					for (size_t l = 0; l < s; l++)
						v[l] = rdu_simd_scalar(op[o][1], v[l], v[l + s], 0);
				for (size_t l = 0; l < lanes; l++)
					want[i * lanes + l] = v[0];
			}
			k->red[op[o][0]](n, lanes, out, a);
			bad += !same_words("out", out, want, n * lanes);
		}
	}
	ok(!bad, "%s: cross-lane operations", k->name);
}

static uint32_t bf_bits(void)
{
	uint32_t r = rnd();

	switch (r & 15) {
	case 0:
	case 1:
		return rnd_bits() >> 16;
	case 2:
		return rnd() & 0xffff;
	case 3: /* products near the smallest normal number */
		return 0x1f80 + (rnd() & 0x83ff);
	default:
		return rdu_u(rndf()) >> 16;
	}
}

static uint32_t pair(void)
{
	return bf_bits() | bf_bits() << 16;
}

/* The array's cell, one step and several, all lanes and columns. */
/* Rows that are copied: to lanes apart, and XORed with what is there; against one word at a time. */
static void test_rows(const struct rdu_kernels *k)
{
	static uint32_t in[64 * 70], out[16384], want[16384];
	int bad = 0;

	for (int round = 0; round < 300; round++) {
		size_t n = 1 + rnd() % 40, words = 1 + rnd() % 64, pitch = words + rnd() % 5;
		ptrdiff_t lane = (ptrdiff_t)(rnd() % 3 ? 1 + rnd() % 90 : 0);
		ptrdiff_t step = (ptrdiff_t)(rnd() % 2 ? 1 : rnd() % 70);
		uint32_t value = rnd();

		for (size_t i = 0; i < sizeof(in) / 4; i++)
			in[i] = rnd();
		for (size_t i = 0; i < sizeof(out) / 4; i++)
			out[i] = want[i] = rnd();
		k->scatter(n, words, out, step, lane, in, (ptrdiff_t)pitch);
		for (size_t i = 0; i < n; i++)
			for (size_t l = 0; l < words; l++)
				want[i * step + l * lane] = in[i * pitch + l];
		bad += memcmp(out, want, sizeof(out)) != 0;
		step = (ptrdiff_t)(rnd() % 60);
		lane = rnd() % 2 ? 1 : (ptrdiff_t)(rnd() % 30);
		k->xor_rows(n, words, out, (ptrdiff_t)pitch, in, step, lane, value);
		for (size_t i = 0; i < n; i++)
			for (size_t l = 0; l < words; l++)
				want[i * pitch + l] ^= in[i * step + l * lane] ^ value;
		bad += memcmp(out, want, sizeof(out)) != 0;
	}
	ok(!bad, "%s: rows to lanes apart, rows XORed", k->name);
}

/* So many that kernels take them in parts. */
#define MANY_STEPS 150

static void test_mac(const struct rdu_kernels *k, int rounds, bool fp32)
{
	int bad = 0, cases = 0;

	for (int round = 0; round < rounds && !bad; round++) {
		bool many = !(rnd() & 31);
		size_t lanes = 1 << (1 + rnd() % 6), cols = 1 + rnd() % 11;
		size_t steps = 1 + rnd() % (many ? MANY_STEPS : 6);
		size_t col_step = many ? 16 : 64, row_step = many ? 8 : 32;
		float acc[64 * 12], acc2[64 * 12];
		ptrdiff_t col_at[MANY_STEPS], row_at[MANY_STEPS];
		struct rdu_mac m = { .steps = steps,
				     .lanes = lanes,
				     .cols = cols,
				     .col = a,
				     .row = b,
				     .col_step = (ptrdiff_t)col_step,
				     .row_step = (ptrdiff_t)row_step,
				     .row_lane = rnd() & 1 ? 1 : 3,
				     .acc = acc };

		for (size_t i = 0; i < (steps + 8) * 64 && i < W; i++)
			a[i] = fp32 ? rnd_bits() : pair();
		for (size_t i = 0; i < (steps + 8) * 32 && i < W; i++)
			b[i] = fp32 ? rnd_bits() : pair();
		for (size_t i = 0; i < cols * lanes; i++) {
			uint32_t r = rnd();

			acc[i] = acc2[i] = r & 1   ? 0
					   : r & 2 ? rdu_f(rnd_bits())
					   : r & 4 ? rdu_f(0x00800000 | (rnd() & 0x80ffffff))
						   : rndf();
		}
		if (rnd() & 1) {
			for (size_t i = 0; i < steps; i++) {
				col_at[i] = (rnd() & 7) * 64;
				row_at[i] = (rnd() & 7) * 16;
			}
			m.col_at = col_at;
			m.row_at = row_at;
		}
		for (size_t i = 0; i < steps; i++)
			for (size_t j = 0; j < cols; j++)
				for (size_t l = 0; l < lanes; l++) {
					uint32_t x =
						a[(m.col_at ? (size_t)col_at[i] : i * col_step) +
						  l];
					uint32_t y =
						b[(m.row_at ? (size_t)row_at[i] : i * row_step) +
						  j * m.row_lane];
					float *p = &acc2[j * lanes + l];

					if (fp32)
						*p = rdu_f(rdu_simd_scalar(RDU_SIMD_FMA, x, y,
									   rdu_u(*p)));
					else
						*p = rdu_mac_bf16(*p, x, y);
					cases++;
				}
		(fp32 ? k->mac_fp32 : k->mac_bf16)(&m);
		k->canon(cols * lanes, (uint32_t *)acc);
		for (size_t i = 0; i < cols * lanes; i++)
			acc2[i] = rdu_f(rdu_canon(acc2[i]));
		if (memcmp(acc, acc2, cols * lanes * 4)) {
			for (size_t i = 0; i < cols * lanes && bad < 4; i++)
				if (rdu_u(acc[i]) != rdu_u(acc2[i])) {
					printf("# %s: lane %zu col %zu steps %zu: %08x, not %08x; "
					       "step 0: "
					       "%08x %08x\n",
					       k->name, i % lanes, i / lanes, steps, rdu_u(acc[i]),
					       rdu_u(acc2[i]),
					       a[(m.col_at ? col_at[0] : 0) + i % lanes],
					       b[(m.row_at ? row_at[0] : 0) +
						 i / lanes * m.row_lane]);
					bad++;
				}
			bad++;
		}
	}
	ok(!bad, "%s: %s contraction, %d multiply-adds", k->name, fp32 ? "fp32" : "bf16", cases);
}

/* Contractions of bytes, of either kind, bit for bit, beyond 2^31 too. */
static void test_mac_int8(const struct rdu_kernels *k, int rounds)
{
	int bad = 0;

	for (int round = 0; round < rounds && !bad; round++) {
		size_t lanes = 1 << (1 + rnd() % 6), cols = 1 + rnd() % 11, steps = 1 + rnd() % 8;
		uint32_t acc[64 * 12], acc2[64 * 12];
		ptrdiff_t col_at[8], row_at[8];
		struct rdu_mac m = { .steps = steps,
				     .lanes = lanes,
				     .cols = cols,
				     .col = a,
				     .row = b,
				     .col_step = 64,
				     .row_step = 32,
				     .row_lane = rnd() & 1 ? 1 : 3,
				     .flags = rnd() &
					      (RDU_SYS_COLS_UNSIGNED | RDU_SYS_ROWS_UNSIGNED),
				     .acc = acc };

		for (size_t i = 0; i < W; i++) {
			a[i] = rnd() & 3 ? rnd() : rnd() & 1 ? 0x80808080 : 0xff7f00ff;
			b[i] = rnd() & 3 ? rnd() : rnd() & 1 ? 0x80808080 : 0xff7f00ff;
		}
		for (size_t i = 0; i < cols * lanes; i++)
			acc[i] = acc2[i] = rnd() & 1 ? rnd() : 0x7fffffff;
		if (rnd() & 1) {
			for (int i = 0; i < 8; i++) {
				col_at[i] = (rnd() & 7) * 64;
				row_at[i] = (rnd() & 7) * 16;
			}
			m.col_at = col_at;
			m.row_at = row_at;
		}
		for (size_t i = 0; i < steps; i++)
			for (size_t j = 0; j < cols; j++)
				for (size_t l = 0; l < lanes; l++) {
					uint32_t x = a[(m.col_at ? (size_t)col_at[i] : i * 64) + l];
					uint32_t y = b[(m.row_at ? (size_t)row_at[i] : i * 32) +
						       j * m.row_lane];

					acc2[j * lanes + l] =
						rdu_mac_int8(acc2[j * lanes + l], x, y, m.flags);
				}
		k->mac_int8(&m);
		bad += !same_words("acc", acc, acc2, cols * lanes);
	}
	ok(!bad, "%s: int8 contraction", k->name);
}

/* The definition of the cell against plain arithmetic: all pairs of bytes, each kind. */
static void test_int8_cell(void)
{
	int bad = 0;

	for (unsigned int flags = 0; flags < 16; flags += 4)
		for (int x = 0; x < 256; x++)
			for (int y = 0; y < 256; y++) {
				int64_t p = flags & RDU_SYS_COLS_UNSIGNED ? x : x - (x > 127) * 256;
				int at = (x + y) % 4 * 8;

				p *= flags & RDU_SYS_ROWS_UNSIGNED ? y : y - (y > 127) * 256;
				bad += rdu_mac_int8(0x7fffffff, (uint32_t)x << at,
						    (uint32_t)y << at,
						    flags) != (uint32_t)(p + 0x7fffffff);
			}
	ok(!bad, "int8 cell: products of all bytes, sums mod 2^32");
}

/* A word of weights, none of them 10. */
static uint32_t ternary_word(void)
{
	uint32_t w = rnd() & 3 ? rnd() : rnd() & 1 ? 0xffffffff : 0x55555555;

	return w & ~((w >> 1 & ~w & 0x55555555) << 1);
}

static void test_mac_ternary(const struct rdu_kernels *k, int rounds)
{
	static uint32_t bytes[W], weights[W];
	int bad = 0, found = 0;

	for (int round = 0; round < rounds && !bad; round++) {
		/* one column, each word of weights for four steps after one another */
		bool whole = rnd() % 3 == 0, wrong;
		size_t lanes = 1 << (1 + rnd() % 6), cols = whole ? 1 : 1 + rnd() % 11;
		size_t steps = whole	   ? 4 + rnd() % 34 * 4
			       : rnd() & 7 ? 1 + rnd() % 8
					   : 60 + rnd() % 80;
		bool in_cols = whole || rnd() & 1, is_unsigned = rnd() & 1;
		bool table = whole || rnd() & 1;
		uint32_t acc[64 * 12], acc2[64 * 12], *bad_word;
		ptrdiff_t at[2][140];
		struct rdu_mac m = { .steps = steps,
				     .lanes = lanes,
				     .cols = cols,
				     .col = in_cols ? weights : bytes,
				     .row = in_cols ? bytes : weights,
				     .col_step = 64,
				     .row_step = 32,
				     .row_lane = rnd() & 1 ? 1 : 3,
				     .quarter = whole ? 0 : rnd() & 3,
				     .acc = acc };

		if (in_cols)
			m.flags = RDU_SYS_COLS_TERNARY | (is_unsigned ? RDU_SYS_ROWS_UNSIGNED : 0);
		else
			m.flags = is_unsigned ? RDU_SYS_COLS_UNSIGNED : 0;
		for (size_t i = 0; i < W; i++) {
			bytes[i] = rnd() & 3 ? rnd() : rnd() & 1 ? 0x80808080 : 0xff7f00ff;
			weights[i] = ternary_word();
		}
		for (size_t i = 0; i < cols * lanes; i++)
			acc[i] = acc2[i] = rnd() & 1 ? rnd() : 0x7fffffff;
		for (size_t i = 0; i < steps; i++) {
			at[0][i] = (ptrdiff_t)(table ? rnd() & 7 : i % 8) * 64;
			if (whole)
				at[0][i] = at[0][i & ~(size_t)3];
			at[1][i] = table ? (rnd() & 7) * 16 : (ptrdiff_t)i % 8 * 32;
		}
		if (table || steps > 8) {
			m.col_at = at[0];
			m.row_at = at[1];
		}
		wrong = rnd() % 8 == 0;
		bad_word = &weights[(in_cols ? at[0] : at[1])[rnd() % steps] +
				    (in_cols ? (int64_t)(rnd() % lanes)
					     : (int64_t)(rnd() % cols) * m.row_lane)];
		if (wrong) {
			int bit = rnd() % 16 * 2;

			*bad_word = (*bad_word & ~(3u << bit)) | 2u << bit;
		}
		for (size_t i = 0; i < steps; i++)
			for (size_t j = 0; j < cols; j++)
				for (size_t l = 0; l < lanes; l++) {
					uint32_t x = m.col[at[0][i] + (int64_t)l];
					uint32_t y = m.row[at[1][i] + (int64_t)j * m.row_lane];
					uint32_t *to = &acc2[j * lanes + l];

					*to = rdu_mac_ternary(*to, in_cols ? y : x,
							      (in_cols ? x : y) >>
								      (m.quarter + i) % 4 * 8,
							      is_unsigned);
				}
		if (k->mac_ternary(&m) == wrong)
			bad++;
		else if (!wrong)
			bad += !same_words("acc", acc, acc2, cols * lanes);
		found += wrong;
	}
	ok(!bad && found > rounds / 20, "%s: ternary contraction, and weights 10 are found",
	   k->name);
}

/* The definition of the cell against plain arithmetic: every byte by every weight. */
static void test_ternary_cell(void)
{
	static const int weight[] = { 0, 1, 0, -1 };
	int bad = 0;

	for (int kind = 0; kind < 2; kind++)
		for (int x = 0; x < 256; x++)
			for (int w = 0; w < 4; w++)
				for (int at = 0; at < 4; at++) {
					int64_t p = kind ? x : x - (x > 127) * 256;

					p = p * weight[w] + 0x7fffffff;
					bad += rdu_mac_ternary(0x7fffffff, (uint32_t)x << 8 * at,
							       (uint32_t)w << 2 * at,
							       kind) != (uint32_t)p;
				}
	for (int i = 0; i < 16; i++)
		for (uint32_t w = 0; w < 4; w++)
			bad += rdu_ternary_valid(w << 2 * i) != (w != 2);
	ok(!bad, "ternary cell: every byte by every weight, sums mod 2^32");
}

static void test_packs(const struct rdu_kernels *k)
{
	int bad = 0;

	for (int i = 0; i < W; i++) {
		a[i] = rnd_bits();
		b[i] = rnd_bits();
	}
	k->pack(W - 3, out, a, b);
	for (int i = 0; i < W - 3; i++)
		bad += out[i] != (rdu_bf16(a[i]) | rdu_bf16(b[i]) << 16);
	k->pack_lane(W / 2, out, a);
	for (int i = 0; i < W / 2; i++)
		bad += out[i] != (rdu_bf16(a[2 * i]) | rdu_bf16(a[2 * i + 1]) << 16);
	k->pack_low(W, out, a);
	for (int i = 0; i < W; i++)
		bad += out[i] != rdu_bf16(a[i]);
	k->pack_bytes(100, out, a, 104);
	for (int i = 0; i < 100; i++)
		bad += out[i] != ((a[i] & 255) | (a[i + 104] & 255) << 8 |
				  (a[i + 208] & 255) << 16 | a[i + 312] << 24);
	k->pack_lane_bytes(W / 4, out, a);
	for (int i = 0; i < W / 4; i++)
		bad += out[i] != ((a[4 * i] & 255) | (a[4 * i + 1] & 255) << 8 |
				  (a[4 * i + 2] & 255) << 16 | a[4 * i + 3] << 24);
	for (int lanes = 2; lanes <= 64; lanes *= 2)
		for (int step = 1; step < 4; step++) {
			k->gather(20, lanes, out, a, step, 41);
			for (int i = 0; i < 20; i++)
				for (int l = 0; l < lanes; l++)
					bad += out[i * lanes + l] != a[i * step + l * 41];
		}
	for (size_t lanes = 2; lanes <= 64; lanes *= 2) {
		memset(out, 0x55, sizeof(out));
		k->spread(20, lanes, out, a, lanes);
		for (size_t i = 0; i < 20 * lanes; i++)
			bad += out[i] != a[i / lanes * lanes];
		bad += out[20 * lanes] != 0x55555555;
	}
	ok(!bad, "%s: packing and strided copies", k->name);
}

/* Distance in units in the last place of the exact result, at least those of
 * the smallest denormal. */
static double ulps(uint32_t got, double exact)
{
	float f = (float)exact;
	double unit;

	if (isnan(exact))
		return got == RDU_NAN_BITS ? 0 : 1e9;
	if (isinf(f) || (got & 0x7fffffff) >= 0x7f800000)
		return rdu_u(f) == got ? 0 : 1e9;
	unit = exact == 0 ? 0x1p-149 : ldexp(1, ilogb(exact) - 23);
	if (unit < 0x1p-149)
		unit = 0x1p-149;
	return fabs((double)rdu_f(got) - exact) / unit;
}

static double x_exp(double x)
{
	return exp(x);
}
static double x_sigmoid(double x)
{
	return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x));
}
static double x_rsqrt(double x)
{
	return 1 / sqrt(x);
}
static double x_recip(double x)
{
	return 1 / x;
}

static void test_tails(void)
{
	static const struct {
		const char *name;
		uint8_t op;
		double (*fn)(double);
		double bound;
	} t[] = {
		{ "exp", RDU_SIMD_EXP, x_exp, 1.0 },
		{ "log", RDU_SIMD_LOG, log, 1.0 },
		{ "tanh", RDU_SIMD_TANH, tanh, 2.0 },
		{ "sigmoid", RDU_SIMD_SIGMOID, x_sigmoid, 2.5 },
		{ "erf", RDU_SIMD_ERF, erf, 1.5 },
		{ "recip", RDU_SIMD_RECIP, x_recip, 0.5001 },
		{ "rsqrt", RDU_SIMD_RSQRT, x_rsqrt, 1.5 },
		{ "sqrt", RDU_SIMD_SQRT, sqrt, 0.5001 },
		{ "sin", RDU_SIMD_SIN, sin, 1.5 },
		{ "cos", RDU_SIMD_COS, cos, 1.5 },
		{ "floor", RDU_SIMD_FLOOR, floor, 0 },
		{ "ceil", RDU_SIMD_CEIL, ceil, 0 },
		{ "round", RDU_SIMD_ROUND, nearbyint, 0 },
	};
	const char *all = getenv("RDU_TEST_ALL");

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint64_t step = all ? 1 : 1999, worst_at = 0;
		double worst = 0;

		for (uint64_t u = 0; u < 1ull << 32; u += step) {
			uint32_t got = rdu_simd_scalar(t[i].op, (uint32_t)u, 0, 0);
			double e = ulps(got, t[i].fn(rdu_f((uint32_t)u)));

			if (e > worst) {
				worst = e;
				worst_at = u;
			}
		}
		ok(worst <= t[i].bound, "%s: worst error %.4f ulp, at %a (0x%08x)", t[i].name,
		   worst, rdu_f((uint32_t)worst_at), (uint32_t)worst_at);
	}
}

static void test_exact(void)
{
	static const struct {
		uint32_t ctr, key, out;
	} philox[] = { { 0, 0, 0xff1dae59 } };
	int bad = 0;

	/* Random123's known answers (counter word 1 is zero here). */
	for (size_t i = 0; i < sizeof(philox) / sizeof(philox[0]); i++)
		bad += rdu_rng(philox[i].key, philox[i].ctr) != philox[i].out;
	ok(!bad, "random numbers: Philox 2x32-10");

	bad = 0;
	for (int i = 0; i < 200000; i++) {
		uint32_t u = rnd_bits();
		float f = rdu_f(u);
		int64_t r = isnan(f)	   ? 0
			    : f >= 0x1p31f ? INT32_MAX
			    : f < -0x1p31f ? INT32_MIN
					   : llrintf(f);
		uint32_t seed = rnd(), index = rnd(), sr = rdu_f2bf_sr(u, seed, index);
		uint32_t low = u & 0xffff, up = rdu_rng(seed, index) & 0xffff;

		bad += rdu_f2i(f) != (uint32_t)r;
		if (!isnan(f))
			bad += sr != (u & 0xffff0000) + (low + up > 0xffff ? 0x10000 : 0);
	}
	ok(!bad, "fp32 to int32, stochastic rounding");
	ok(rdu_simd_scalar(RDU_SIMD_FMAX, 0x80000000, 0, 0) == 0 &&
		   rdu_simd_scalar(RDU_SIMD_FMIN, 0, 0x80000000, 0) == 0x80000000 &&
		   rdu_simd_scalar(RDU_SIMD_FMAX, 0x7fc12345, 0, 0) == RDU_NAN_BITS &&
		   rdu_simd_scalar(RDU_SIMD_FADD, 0xffc12345, 0, 0) == RDU_NAN_BITS &&
		   rdu_simd_scalar(RDU_SIMD_SELECT, 0x80000000, 5, 6) == 5,
	   "zeros, NaN and SELECT");
}

/* fp16 and back, and what lies between two of them: to the nearer, halves to the even one. */
static void test_half(void)
{
	bool good = true;

	for (uint32_t h = 0; h < 0x7c00; h++) {
		float a = rdu_f(rdu_f16_wide(h)), b = rdu_f(rdu_f16_wide(h + 1)), mid;

		b = h == 0x7bff ? 65536 : b; /* from the middle on it is an infinity */
		mid = (a + b) / 2;
		good &= rdu_f16(rdu_u(a)) == h && rdu_f16(rdu_u(-a)) == (h | 0x8000);
		good &= rdu_f16(rdu_u(mid)) == h + (h & 1);
		good &= rdu_f16(rdu_u(nextafterf(mid, 0))) == h;
		good &= rdu_f16(rdu_u(-nextafterf(mid, INFINITY))) == ((h + 1) | 0x8000);
	}
	good &= rdu_f(rdu_f16_wide(1)) == 0x1p-24f && rdu_f(rdu_f16_wide(0x7bff)) == 65504;
	good &= rdu_f16_wide(0xfc00) == 0xff800000 && rdu_f16(0x7f7fffff) == 0x7c00;
	good &= rdu_f16(0xff800000) == 0xfc00 && rdu_f16(0xffc00000) == 0x7e00;
	ok(good, "fp32 to fp16 and back");
}

int main(void)
{
	const struct rdu_kernels *k;

	test_int8_cell();
	test_ternary_cell();
	for (unsigned int i = 0; (k = rdu_kernels_nth(i)); i++) {
		test_maps(k);
		test_accs(k);
		test_reds(k);
		test_packs(k);
		test_rows(k);
		test_mac(k, i ? 20000 : 1000, false);
		test_mac(k, 3000, true);
		test_mac_int8(k, i ? 20000 : 1000);
		test_mac_ternary(k, i ? 5000 : 500);
	}
	test_half();
	test_exact();
	test_tails();
	return tap_done();
}
