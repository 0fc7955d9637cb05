/* SPDX-License-Identifier: MIT */
/*
 * The kernels' text. Included once by each kernels_*.c, which is compiled for
 * one instruction set and defines KERNELS_NAME, and MAC_BF16, MAC_FP32, MAC_INT8, MAC_TERNARY if it has
 * better ones than those at the end. Gives `kernels`, the table.
 */
#include "kernels.h"
#include "numerics.h"
#include "rdu/config.h"

#ifdef __clang__
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

/* ---- lane-wise operations ------------------------------------------------- */

#define RDU_OP(NAME, expr) \
	static void map_##NAME(size_t n, uint32_t *out, const uint32_t *pa, const uint32_t *pb, \
			       const uint32_t *pc) \
	{ \
		INDEPENDENT \
		for (size_t i = 0; i < n; i++) { \
			uint32_t a = pa[i], b = pb[i], c = pc[i]; \
			float x = rdu_f(a), y = rdu_f(b), z = rdu_f(c); \
			\
			(void)c; \
			(void)b; \
			(void)x; \
			(void)y; \
			(void)z; \
			out[i] = expr; \
		} \
	}
#include "ops.h"
#undef RDU_OP

/* ---- accumulators ------------------------------------------------------------ */

#ifndef VW
#define VW 4
#endif
typedef float vf __attribute__((vector_size(VW * 4), aligned(4), may_alias));
typedef uint32_t vu __attribute__((vector_size(VW * 4), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(VW * 4), aligned(4), may_alias));

#define SCALAR_FADD(acc, x, y) rdu_canon(rdu_f(acc) + rdu_f(x))
#define SCALAR_FMA(acc, x, y) rdu_canon(rdu_fma(rdu_f(x), rdu_f(y), rdu_f(acc)))
#define SCALAR_FMAX(acc, x, y) rdu_fmax(acc, x)
#define SCALAR_FMIN(acc, x, y) rdu_fmin(acc, x)
#define SCALAR_IADD(acc, x, y) ((acc) + (x))

static inline vi pick(vi mask, vi yes, vi no)
{
	return (mask & yes) | (~mask & no);
}

static inline vi vec_canon(vf r)
{
	return pick((vi)(r != r), (vi){ 0 } + (int32_t)RDU_NAN_BITS, (vi)r);
}

static inline vi vec_FADD(vi acc, vi x, vi y)
{
	(void)y;
	return (vi)((vf)acc + (vf)x);
}

static inline vi vec_FMA(vi acc, vi x, vi y)
{
#ifdef VFMA
	return (vi)VFMA((VEC)x, (VEC)y, (VEC)acc);
#else
	vi r;

	for (int i = 0; i < VW; i++)
		r[i] = (int32_t)SCALAR_FMA((uint32_t)acc[i], (uint32_t)x[i], (uint32_t)y[i]);
	return r;
#endif
}

static inline vi vec_FMAX(vi acc, vi x, vi y)
{
	vf a = (vf)acc, b = (vf)x;
	vi r = pick((vi)(a > b), acc, x);

	(void)y;
	r = pick((vi)(a == b), acc & x, r);
	return pick((vi)(a != a) | (vi)(b != b), (vi){ 0 } + (int32_t)RDU_NAN_BITS, r);
}

static inline vi vec_FMIN(vi acc, vi x, vi y)
{
	vf a = (vf)acc, b = (vf)x;
	vi r = pick((vi)(a < b), acc, x);

	(void)y;
	r = pick((vi)(a == b), acc | x, r);
	return pick((vi)(a != a) | (vi)(b != b), (vi){ 0 } + (int32_t)RDU_NAN_BITS, r);
}

static inline vi vec_IADD(vi acc, vi x, vi y)
{
	(void)y;
	return (vi)((vu)acc + (vu)x); /* wraps */
}

/* A NaN stays one in a sum: it need not be *the* NaN before it is seen. */
#define seen_FADD(acc) vec_canon((vf)(acc))
#define seen_FMA(acc) vec_canon((vf)(acc))
#define seen_FMAX(acc) (acc)
#define seen_FMIN(acc) (acc)
#define seen_IADD(acc) (acc)

/* Lanes in blocks that stay in registers while the vectors go by: two at a time,
 * to hide the latency of the chain. */
#define ACC_KERNEL(NAME) \
	static void acc_##NAME(size_t n, size_t lanes, uint32_t *out, const uint32_t *x, \
			       const uint32_t *y, uint32_t *acc) \
	{ \
		size_t l = 0; \
		\
		for (; l + 2 * VW <= lanes; l += 2 * VW) { \
			vi t = *(const vi *)(acc + l), u = *(const vi *)(acc + l + VW); \
			\
			for (size_t i = 0, p = l; i < n; i++, p += lanes) { \
				t = vec_##NAME(t, *(const vi *)(x + p), *(const vi *)(y + p)); \
				u = vec_##NAME(u, *(const vi *)(x + p + VW), \
					       *(const vi *)(y + p + VW)); \
				*(vi *)(out + p) = seen_##NAME(t); \
				*(vi *)(out + p + VW) = seen_##NAME(u); \
			} \
			*(vi *)(acc + l) = seen_##NAME(t); \
			*(vi *)(acc + l + VW) = seen_##NAME(u); \
		} \
		for (; l + VW <= lanes; l += VW) { \
			vi t = *(const vi *)(acc + l); \
			\
			for (size_t i = 0, p = l; i < n; i++, p += lanes) { \
				t = vec_##NAME(t, *(const vi *)(x + p), *(const vi *)(y + p)); \
				*(vi *)(out + p) = seen_##NAME(t); \
			} \
			*(vi *)(acc + l) = seen_##NAME(t); \
		} \
		for (; l < lanes; l++) { \
			uint32_t t = acc[l]; \
			\
			for (size_t i = 0; i < n; i++) { \
				t = SCALAR_##NAME(t, x[i * lanes + l], y[i * lanes + l]); \
				out[i * lanes + l] = t; \
			} \
			acc[l] = t; \
		} \
		(void)y; \
	}
ACC_KERNEL(FADD)
ACC_KERNEL(FMA)
ACC_KERNEL(FMAX)
ACC_KERNEL(FMIN)
ACC_KERNEL(IADD)

/* ---- cross-lane ---------------------------------------------------------------- */

#define SCALAR_RED_FADD(a, b) rdu_canon(rdu_f(a) + rdu_f(b))
#define SCALAR_RED_FMAX(a, b) rdu_fmax(a, b)
#define SCALAR_RED_FMIN(a, b) rdu_fmin(a, b)
#define SCALAR_RED_IADD(a, b) ((a) + (b))

#define RED_KERNEL(NAME) \
	static void red_##NAME(size_t n, size_t lanes, uint32_t *out, const uint32_t *a) \
	{ \
		uint32_t v[64]; \
		\
		for (size_t i = 0; i < n; i++) { \
			memcpy(v, a + i * lanes, lanes * 4); \
			for (size_t s = lanes / 2; s; s /= 2) { \
				INDEPENDENT \
				for (size_t l = 0; l < s; l++) \
					v[l] = SCALAR_##NAME(v[l], v[l + s]); \
			} \
			for (size_t l = 0; l < lanes; l++) \
				out[i * lanes + l] = v[0]; \
		} \
	}
RED_KERNEL(RED_FADD)
RED_KERNEL(RED_FMAX)
RED_KERNEL(RED_FMIN)
RED_KERNEL(RED_IADD)

/* ---- conversions ------------------------------------------------------------------ */

static void canon_words(size_t n, uint32_t *v)
{
	INDEPENDENT
	for (size_t i = 0; i < n; i++)
		v[i] = (v[i] & 0x7fffffff) > 0x7f800000 ? RDU_NAN_BITS : v[i];
}

static void pack_words(size_t n, uint32_t *out, const uint32_t *lo, const uint32_t *hi)
{
	INDEPENDENT
	for (size_t i = 0; i < n; i++)
		out[i] = rdu_bf16(lo[i]) | rdu_bf16(hi[i]) << 16;
}

static void pack_lane_words(size_t n, uint32_t *out, const uint32_t *in)
{
	INDEPENDENT
	for (size_t i = 0; i < n; i++)
		out[i] = rdu_bf16(in[2 * i]) | rdu_bf16(in[2 * i + 1]) << 16;
}

static void pack_low_words(size_t n, uint32_t *out, const uint32_t *in)
{
	INDEPENDENT
	for (size_t i = 0; i < n; i++)
		out[i] = rdu_bf16(in[i]);
}

static void pack_bytes_words(size_t n, uint32_t *out, const uint32_t *in, size_t step)
{
	INDEPENDENT
	for (size_t i = 0; i < n; i++)
		out[i] = (in[i] & 0xff) | (in[i + step] & 0xff) << 8 |
			 (in[i + 2 * step] & 0xff) << 16 | in[i + 3 * step] << 24;
}

static void pack_lane_bytes_words(size_t n, uint32_t *out, const uint32_t *in)
{
	INDEPENDENT
	for (size_t i = 0; i < n; i++)
		out[i] = (in[4 * i] & 0xff) | (in[4 * i + 1] & 0xff) << 8 |
			 (in[4 * i + 2] & 0xff) << 16 | in[4 * i + 3] << 24;
}

/* What does not fit is found before (access.c). Segments need not be aligned to their elements: elements go through memcpy. */
#define FORMAT_KERNEL(NAME, type, from, to) \
	static void load_##NAME(size_t n, uint32_t *out, const void *in) \
	{ \
		const char *p = in; \
		\
		INDEPENDENT \
		for (size_t i = 0; i < n; i++) { \
			type e; \
			\
			memcpy(&e, p + i * sizeof(e), sizeof(e)); \
			out[i] = from; \
		} \
	} \
	static void store_##NAME(size_t n, void *out, const uint32_t *in) \
	{ \
		char *p = out; \
		\
		INDEPENDENT \
		for (size_t i = 0; i < n; i++) { \
			uint32_t v = in[i]; \
			type e = (type)(to); \
			\
			memcpy(p + i * sizeof(e), &e, sizeof(e)); \
		} \
	}
FORMAT_KERNEL(bf16, uint16_t, (uint32_t)e << 16, rdu_bf16(v))
FORMAT_KERNEL(i8, int8_t, (uint32_t)(int32_t)e, v)
FORMAT_KERNEL(u8, uint8_t, e, v)
FORMAT_KERNEL(i16, int16_t, (uint32_t)(int32_t)e, v)
FORMAT_KERNEL(u16, uint16_t, e, v)
FORMAT_KERNEL(i64, int64_t, (uint32_t)e, (int32_t)v)
FORMAT_KERNEL(u64, uint64_t, (uint32_t)e, v)
FORMAT_KERNEL(f16, uint16_t, rdu_f16_wide(e), rdu_f16(v))
FORMAT_KERNEL(f64, double, rdu_canon((float)e), rdu_f(rdu_canon(rdu_f(v))))

static void load_word(size_t n, uint32_t *out, const void *in)
{
	memcpy(out, in, n * 4);
}

static void store_word(size_t n, void *out, const uint32_t *in)
{
	memcpy(out, in, n * 4);
}

static void rows_words(size_t n, size_t words, uint32_t *out, ptrdiff_t out_step,
		       const uint32_t *in, ptrdiff_t in_step)
{
	for (; n; n--, out += out_step, in += in_step) {
		size_t l = 0;

		for (; l + 2 * VW <= words; l += 2 * VW) {
			vi a = *(const vi *)(in + l), b = *(const vi *)(in + l + VW);

			*(vi *)(out + l) = a;
			*(vi *)(out + l + VW) = b;
		}
		for (; l + VW <= words; l += VW)
			*(vi *)(out + l) = *(const vi *)(in + l);
		for (; l < words; l++)
			out[l] = in[l];
	}
}

/* What words are made of (transfer.c): words, two bf16 each, two fp32 that become bf16, one fp32 that becomes
 * the lower bf16. */
enum words_from { FROM_WORDS, FROM_BF16, FROM_FP32, FROM_LOW };
#define UNIT(from) ((from) == FROM_FP32 ? 2 : 1) /* words read for one */

static inline __attribute__((always_inline)) uint32_t word_of(const uint32_t *in,
							       const enum words_from from)
{
	if (from == FROM_FP32)
		return rdu_bf16(in[0]) | rdu_bf16(in[1]) << 16;
	if (from == FROM_BF16) /* read as fp32, and rounded back */
		return rdu_bf16(in[0] << 16) | rdu_bf16(in[0] & 0xffff0000) << 16;
	if (from == FROM_LOW)
		return rdu_bf16(in[0]);
	return in[0];
}

static void rows_bf16_words(size_t n, size_t words, uint32_t *out, ptrdiff_t out_step,
			    const uint32_t *in, ptrdiff_t in_step)
{
	for (; n; n--, out += out_step, in += in_step) {
		INDEPENDENT
		for (size_t l = 0; l < words; l++)
			out[l] = word_of(in + l, FROM_BF16);
	}
}

static void rows_fp32_words(size_t n, size_t words, uint32_t *out, ptrdiff_t out_step,
			    const uint32_t *in, ptrdiff_t in_step)
{
	for (; n; n--, out += out_step, in += in_step)
		pack_lane_words(words, out, in);
}

static void rows_low_words(size_t n, size_t words, uint32_t *out, ptrdiff_t out_step,
			   const uint32_t *in, ptrdiff_t in_step)
{
	for (; n; n--, out += out_step, in += in_step)
		pack_low_words(words, out, in);
}

static void xor_rows_words(size_t n, size_t words, uint32_t *out, ptrdiff_t out_step,
			   const uint32_t *in, ptrdiff_t step, ptrdiff_t lane_step, uint32_t value)
{
	vi v = (vi){ 0 } + (int32_t)value;

	for (; n; n--, out += out_step, in += step) {
		size_t l = 0;

		for (; lane_step == 1 && l + VW <= words; l += VW)
			*(vi *)(out + l) ^= *(const vi *)(in + l) ^ v;
		for (; l < words; l++)
			out[l] ^= in[(ptrdiff_t)l * lane_step] ^ value;
	}
}

#ifndef PART
static void part_words(size_t words, uint32_t *out, const uint32_t *in, size_t from, size_t to,
		       uint32_t pad)
{
	for (size_t l = 0; l < from; l++)
		out[l] = pad;
	for (size_t l = from; l < to; l++)
		out[l] = in[l];
	for (size_t l = to; l < words; l++)
		out[l] = pad;
}

static void part_store_words(uint32_t *out, const uint32_t *in, size_t from, size_t to)
{
	for (size_t l = from; l < to; l++)
		out[l] = in[l];
}
#define PART part_words
#define PART_STORE part_store_words
#endif

static inline const uint32_t *word_at(const void *base, int32_t at)
{
	return (const uint32_t *)((uintptr_t)base + (uintptr_t)(intptr_t)at * 4);
}

static inline __attribute__((always_inline)) void
take_vectors(size_t n, const size_t lanes, uint32_t *out, const uint32_t *first,
	     const struct vector_part *part, const void *const *base, uint32_t value)
{
	vi v = (vi){ 0 } + (int32_t)value;

	for (; n; n--, out += lanes, first++) {
		const struct vector_part *p = part + first[0], *end = part + first[1];
		size_t l = 0;

		if (p < end && (size_t)p->to - p->from == lanes) {
			const uint32_t *in = word_at(base[p->leaf], p->at);

			for (; l + VW <= lanes; l += VW)
				*(vi *)(out + l) = *(const vi *)(in + l);
			for (; l < lanes; l++)
				out[l] = in[l];
		} else if (p == end || (!p->from && p->to == VW && p + 1 == end)) {
			if (p < end) {
				*(vi *)out = *(const vi *)word_at(base[p->leaf], p->at);
				l = VW;
			}
			for (; l + VW <= lanes; l += VW)
				*(vi *)(out + l) = v;
			for (; l < lanes; l++)
				out[l] = value;
		} else {
			PART(lanes, out, word_at(base[p->leaf], p->at), p->from, p->to, value);
			while (++p < end)
				PART_STORE(out, word_at(base[p->leaf], p->at), p->from, p->to);
		}
	}
}

static void take_parts(size_t n, size_t lanes, uint32_t *out, const uint32_t *first,
		       const struct vector_part *part, const void *const *base, uint32_t value)
{
	if (lanes == 32) /* a constant in the loops */
		take_vectors(n, 32, out, first, part, base, value);
	else
		take_vectors(n, lanes, out, first, part, base, value);
}

static void put_parts(size_t n, size_t pitch, void *base, const uint32_t *first,
		      const struct vector_part *part, const uint32_t *in)
{
	for (; n; n--, in += pitch, first++) {
		const struct vector_part *p = part + first[0];

		if (first[0] == first[1])
			continue;
		if ((size_t)p->to - p->from == pitch)
			rows_words(1, pitch, (uint32_t *)(uintptr_t)word_at(base, p->at), 0, in, 0);
		else
			PART_STORE((uint32_t *)(uintptr_t)word_at(base, p->at), in, p->from, p->to);
	}
}

#include "kernels_transpose.h"

static void transpose_words(size_t n, size_t m, uint32_t *out, ptrdiff_t out_step,
			    const uint32_t *in, ptrdiff_t in_step)
{
	transpose(n, m, out, out_step, in, in_step, FROM_WORDS);
}

static void transpose_bf16_words(size_t n, size_t m, uint32_t *out, ptrdiff_t out_step,
				 const uint32_t *in, ptrdiff_t in_step)
{
	transpose(n, m, out, out_step, in, in_step, FROM_BF16);
}

static void transpose_fp32_words(size_t n, size_t m, uint32_t *out, ptrdiff_t out_step,
				 const uint32_t *in, ptrdiff_t in_step)
{
	transpose(n, m, out, out_step, in, in_step, FROM_FP32);
}

static void transpose_low_words(size_t n, size_t m, uint32_t *out, ptrdiff_t out_step,
				const uint32_t *in, ptrdiff_t in_step)
{
	transpose(n, m, out, out_step, in, in_step, FROM_LOW);
}

static void gather_words(size_t n, size_t lanes, uint32_t *out, const uint32_t *in,
			 ptrdiff_t step, ptrdiff_t lane_step)
{
	size_t done = 0; /* vectors, of the first lanes & ~7 */

	if (step == 1)
		for (; done + 8 <= n; done += 8)
			for (size_t l = 0; l + 8 <= lanes; l += 8)
				transpose8(out + done * lanes + l, (ptrdiff_t)lanes,
					   in + (ptrdiff_t)done + (ptrdiff_t)l * lane_step,
					   lane_step, FROM_WORDS);
	for (size_t i = 0; i < n; i++)
		for (size_t l = i < done ? lanes & ~(size_t)7 : 0; l < lanes; l++)
			out[i * lanes + l] = in[(ptrdiff_t)i * step + (ptrdiff_t)l * lane_step];
}

static void spread_words(size_t n, size_t lanes, uint32_t *out, const uint32_t *in, size_t step)
{
	for (; n; n--, out += lanes, in += step) {
		vi v = (vi){ 0 } + (int32_t)*in;
		size_t l = 0;

		for (; l + VW <= lanes; l += VW)
			*(vi *)(out + l) = v;
		for (; l < lanes; l++)
			out[l] = *in;
	}
}

static void scatter_words(size_t n, size_t words, uint32_t *out, ptrdiff_t step,
			  ptrdiff_t lane_step, const uint32_t *in, ptrdiff_t pitch)
{
	size_t i = 0;

	/* A transpose, when no two of 8 rows meet. */
	for (; step == 1 && lane_step >= 8 && i + 8 <= n; i += 8) {
		const uint32_t *from = in + (ptrdiff_t)i * pitch;
		uint32_t *to = out + (ptrdiff_t)i;
		size_t l = 0;

		for (; l + 8 <= words; l += 8)
			transpose8(to + (ptrdiff_t)l * lane_step, lane_step, from + l, pitch,
				   FROM_WORDS);
		for (; l < words; l++)
			for (ptrdiff_t k = 0; k < 8; k++)
				to[k + (ptrdiff_t)l * lane_step] = from[k * pitch + (ptrdiff_t)l];
	}
	for (; i < n; i++)
		for (size_t l = 0; l < words; l++)
			out[(ptrdiff_t)i * step + (ptrdiff_t)l * lane_step] =
				in[(ptrdiff_t)i * pitch + (ptrdiff_t)l];
}

/* ---- contraction ---------------------------------------------------------------- */

#ifndef MAC_FP32
static void mac_fp32_plain(const struct rdu_mac *m)
{
	for (size_t i = 0; i < m->steps; i++) {
		const uint32_t *col = m->col + (m->col_at ? m->col_at[i] : (ptrdiff_t)i * m->col_step);
		const uint32_t *row = m->row + (m->row_at ? m->row_at[i] : (ptrdiff_t)i * m->row_step);

		for (size_t j = 0; j < m->cols; j++) {
			float b = rdu_f(row[(ptrdiff_t)j * m->row_lane]), *acc = (float *)m->acc + j * m->lanes;

			INDEPENDENT
			for (size_t l = 0; l < m->lanes; l++)
				acc[l] = rdu_f(rdu_canon(rdu_fma(rdu_f(col[l]), b, acc[l])));
		}
	}
}

#define MAC_FP32 mac_fp32_plain
#endif

#ifndef MAC_BF16
static void mac_bf16_plain(const struct rdu_mac *m)
{
	for (size_t i = 0; i < m->steps; i++) {
		const uint32_t *col = m->col + (m->col_at ? m->col_at[i] : (ptrdiff_t)i * m->col_step);
		const uint32_t *row = m->row + (m->row_at ? m->row_at[i] : (ptrdiff_t)i * m->row_step);

		for (size_t j = 0; j < m->cols; j++) {
			uint32_t b = row[(ptrdiff_t)j * m->row_lane];
			float *acc = (float *)m->acc + j * m->lanes;

			for (size_t l = 0; l < m->lanes; l++)
				acc[l] = rdu_mac_bf16(acc[l], col[l], b);
		}
	}
}
#define MAC_BF16 mac_bf16_plain
#endif

#ifndef MAC_INT8
static void mac_int8_plain(const struct rdu_mac *m)
{
	for (size_t i = 0; i < m->steps; i++) {
		const uint32_t *col = m->col + (m->col_at ? m->col_at[i] : (ptrdiff_t)i * m->col_step);
		const uint32_t *row = m->row + (m->row_at ? m->row_at[i] : (ptrdiff_t)i * m->row_step);

		for (size_t j = 0; j < m->cols; j++) {
			uint32_t b = row[(ptrdiff_t)j * m->row_lane];
			uint32_t *acc = (uint32_t *)m->acc + j * m->lanes;

			for (size_t l = 0; l < m->lanes; l++)
				acc[l] = rdu_mac_int8(acc[l], col[l], b, m->flags);
		}
	}
}
#define MAC_INT8 mac_int8_plain
#endif

#ifndef MAC_TERNARY
static bool mac_ternary_plain(const struct rdu_mac *m)
{
	bool in_cols = m->flags & RDU_SYS_COLS_TERNARY, valid = true;
	bool is_unsigned = m->flags & (in_cols ? RDU_SYS_ROWS_UNSIGNED : RDU_SYS_COLS_UNSIGNED);

	for (size_t i = 0; i < m->steps; i++) {
		const uint32_t *col = m->col + (m->col_at ? m->col_at[i] : (ptrdiff_t)i * m->col_step);
		const uint32_t *row = m->row + (m->row_at ? m->row_at[i] : (ptrdiff_t)i * m->row_step);
		unsigned int shift = (m->quarter + (unsigned int)i) % 4 * 8;

		for (size_t j = 0; j < m->cols; j++) {
			uint32_t b = row[(ptrdiff_t)j * m->row_lane];
			uint32_t *acc = (uint32_t *)m->acc + j * m->lanes;

			for (size_t l = 0; l < m->lanes; l++) {
				uint32_t bytes = in_cols ? b : col[l];
				uint32_t weights = in_cols ? col[l] : b;

				valid = valid && rdu_ternary_valid(weights);
				acc[l] = rdu_mac_ternary(acc[l], bytes, weights >> shift,
							 is_unsigned);
			}
		}
	}
	return valid;
}
#define MAC_TERNARY mac_ternary_plain
#endif

static const struct rdu_kernels kernels = {
	.name = KERNELS_NAME,
	.map = {
#define RDU_OP(NAME, expr) [RDU_SIMD_##NAME] = map_##NAME,
#include "ops.h"
#undef RDU_OP
	},
	.acc = {
		[RDU_SIMD_FADD] = acc_FADD,
		[RDU_SIMD_FMA] = acc_FMA,
		[RDU_SIMD_FMAX] = acc_FMAX,
		[RDU_SIMD_FMIN] = acc_FMIN,
		[RDU_SIMD_IADD] = acc_IADD,
	},
	.red = {
		[RDU_SIMD_RED_FADD] = red_RED_FADD,
		[RDU_SIMD_RED_FMAX] = red_RED_FMAX,
		[RDU_SIMD_RED_FMIN] = red_RED_FMIN,
		[RDU_SIMD_RED_IADD] = red_RED_IADD,
	},
	.mac_bf16 = MAC_BF16,
	.mac_fp32 = MAC_FP32,
	.mac_int8 = MAC_INT8,
	.mac_ternary = MAC_TERNARY,
	.canon = canon_words,
	.pack = pack_words,
	.pack_lane = pack_lane_words,
	.pack_low = pack_low_words,
	.pack_bytes = pack_bytes_words,
	.pack_lane_bytes = pack_lane_bytes_words,
	.load = {
		[RDU_FMT_WORD] = load_word,
		[RDU_FMT_BF16] = load_bf16,
		[RDU_FMT_I8] = load_i8,
		[RDU_FMT_U8] = load_u8,
		[RDU_FMT_I64] = load_i64,
		[RDU_FMT_I16] = load_i16,
		[RDU_FMT_U16] = load_u16,
		[RDU_FMT_F16] = load_f16,
		[RDU_FMT_F64] = load_f64,
		[RDU_FMT_U64] = load_u64,
	},
	.store = {
		[RDU_FMT_WORD] = store_word,
		[RDU_FMT_BF16] = store_bf16,
		[RDU_FMT_I8] = store_i8,
		[RDU_FMT_U8] = store_u8,
		[RDU_FMT_I64] = store_i64,
		[RDU_FMT_I16] = store_i16,
		[RDU_FMT_U16] = store_u16,
		[RDU_FMT_F16] = store_f16,
		[RDU_FMT_F64] = store_f64,
		[RDU_FMT_U64] = store_u64,
	},
	.rows = rows_words,
	.rows_bf16 = rows_bf16_words,
	.rows_fp32 = rows_fp32_words,
	.rows_low = rows_low_words,
	.transpose = transpose_words,
	.transpose_bf16 = transpose_bf16_words,
	.transpose_fp32 = transpose_fp32_words,
	.transpose_low = transpose_low_words,
	.xor_rows = xor_rows_words,
	.part = PART,
	.part_store = PART_STORE,
	.gather = gather_words,
	.scatter = scatter_words,
	.spread = spread_words,
	.take_parts = take_parts,
	.put_parts = put_parts,
};
