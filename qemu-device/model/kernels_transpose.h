/* SPDX-License-Identifier: MIT */
/*
 * Transpositions of words, and of what words are made of, by blocks that fit the registers: of 8 x 8
 * words, and of 16 x 16 where vectors have as many. Included by kernels_body.h.
 */
#if VW >= 8
#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)

/* What words_of() of W words needs. round: rdu_bf16() of fp32, in the upper halves; NaN becomes the one NaN. */
#define WORDS_OF(W) \
	typedef int32_t v##W __attribute__((vector_size(W * 4), aligned(4), may_alias)); \
	typedef uint32_t u##W __attribute__((vector_size(W * 4))); \
	typedef int16_t half##W __attribute__((vector_size(W * 4))); \
	\
	static inline v##W round##W(v##W x) \
	{ \
		u##W u = (u##W)x; \
		v##W nan = (x & 0x7fffffff) > 0x7f800000; \
		\
		return (nan & (int32_t)RDU_NAN_BITS) | (~nan & (v##W)(u + 0x7fff + (u >> 16 & 1))); \
	} \
	\
	/* word_of() for W words */ \
	static inline __attribute__((always_inline)) v##W words_of##W(const uint32_t *in, \
								      const enum words_from from) \
	{ \
		v##W a = *(const v##W *)in, b; \
		half##W e = (half##W)a, nan = (e & 0x7fff) > 0x7f80; \
		\
		switch (from) { \
		case FROM_WORDS: \
			return a; \
		case FROM_BF16: \
			return (v##W)((nan & (int16_t)(RDU_NAN_BITS >> 16)) | (~nan & e)); \
		case FROM_LOW: \
			return (v##W)((u##W)round##W(a) >> 16); \
		case FROM_FP32: \
			break; \
		} \
		a = round##W(a); \
		b = round##W(*(const v##W *)(in + W)); \
		return (v##W)((u##W)MIX(a, b, EVEN##W) >> 16) | (MIX(a, b, ODD##W) & (int32_t)0xffff0000); \
	}

#define EVEN8 0, 2, 4, 6, 8, 10, 12, 14
#define ODD8 1, 3, 5, 7, 9, 11, 13, 15
WORDS_OF(8)
#define MIX_LOW32(a, b) MIX(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define MIX_HIGH32(a, b) MIX(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define MIX_LOW64(a, b) MIX(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define MIX_HIGH64(a, b) MIX(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#define MIX_LOW128(a, b) MIX(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define MIX_HIGH128(a, b) MIX(a, b, 4, 5, 6, 7, 12, 13, 14, 15)

/* out[k * out_step + i] = word k of in + i * in_step for i, k < 8 */
static inline __attribute__((always_inline)) void
transpose8(uint32_t *out, ptrdiff_t out_step, const uint32_t *in, ptrdiff_t in_step,
	   const enum words_from from)
{
	v8 r[8], t[8];

#pragma GCC unroll 8
	for (int i = 0; i < 8; i++)
		r[i] = words_of8(in + i * in_step, from);
#pragma GCC unroll 4
	for (int i = 0; i < 8; i += 2) {
		t[i] = MIX_LOW32(r[i], r[i + 1]);
		t[i + 1] = MIX_HIGH32(r[i], r[i + 1]);
	}
#pragma GCC unroll 2
	for (int i = 0; i < 8; i += 4) {
		r[i] = MIX_LOW64(t[i], t[i + 2]);
		r[i + 1] = MIX_HIGH64(t[i], t[i + 2]);
		r[i + 2] = MIX_LOW64(t[i + 1], t[i + 3]);
		r[i + 3] = MIX_HIGH64(t[i + 1], t[i + 3]);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		*(v8 *)(out + i * out_step) = MIX_LOW128(r[i], r[i + 4]);
		*(v8 *)(out + (i + 4) * out_step) = MIX_HIGH128(r[i], r[i + 4]);
	}
}
#else
static inline void transpose8(uint32_t *out, ptrdiff_t out_step, const uint32_t *in,
			      ptrdiff_t in_step, const enum words_from from)
{
	for (ptrdiff_t k = 0; k < 8; k++)
		for (ptrdiff_t i = 0; i < 8; i++)
			out[k * out_step + i] = word_of(in + i * in_step + k * UNIT(from), from);
}
#endif

#if VW >= 16
#define EVEN16 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD16 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
WORDS_OF(16)
#define MIX16_LOW32(a, b) MIX(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define MIX16_HIGH32(a, b) MIX(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define MIX16_LOW64(a, b) MIX(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define MIX16_HIGH64(a, b) MIX(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
/* parts of 128 bits: the even ones of both, the odd ones */
#define MIX16_EVEN128(a, b) MIX(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define MIX16_ODD128(a, b) MIX(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)

/* out[k * out_step + i] = word k of in + i * in_step for i, k < 16 */
static inline __attribute__((always_inline)) void
transpose16(uint32_t *out, ptrdiff_t out_step, const uint32_t *in, ptrdiff_t in_step,
	    const enum words_from from)
{
	v16 r[16], t[16];

#pragma GCC unroll 16
	for (int i = 0; i < 16; i++)
		r[i] = words_of16(in + i * in_step, from);
#pragma GCC unroll 8
	for (int i = 0; i < 16; i += 2) {
		t[i] = MIX16_LOW32(r[i], r[i + 1]);
		t[i + 1] = MIX16_HIGH32(r[i], r[i + 1]);
	}
	/* r[i + c]: rows i to i + 3 of columns c, c + 4, c + 8, c + 12 */
#pragma GCC unroll 4
	for (int i = 0; i < 16; i += 4) {
		r[i] = MIX16_LOW64(t[i], t[i + 2]);
		r[i + 1] = MIX16_HIGH64(t[i], t[i + 2]);
		r[i + 2] = MIX16_LOW64(t[i + 1], t[i + 3]);
		r[i + 3] = MIX16_HIGH64(t[i + 1], t[i + 3]);
	}
#pragma GCC unroll 4
	for (int c = 0; c < 4; c++) {
		v16 even_low = MIX16_EVEN128(r[c], r[c + 4]);
		v16 even_high = MIX16_EVEN128(r[c + 8], r[c + 12]);
		v16 odd_low = MIX16_ODD128(r[c], r[c + 4]);
		v16 odd_high = MIX16_ODD128(r[c + 8], r[c + 12]);

		*(v16 *)(out + c * out_step) = MIX16_EVEN128(even_low, even_high);
		*(v16 *)(out + (c + 4) * out_step) = MIX16_EVEN128(odd_low, odd_high);
		*(v16 *)(out + (c + 8) * out_step) = MIX16_ODD128(even_low, even_high);
		*(v16 *)(out + (c + 12) * out_step) = MIX16_ODD128(odd_low, odd_high);
	}
}
#endif

static inline __attribute__((always_inline)) void
transpose(size_t n, size_t m, uint32_t *out, ptrdiff_t out_step, const uint32_t *in,
	  ptrdiff_t in_step, const enum words_from kind)
{
	size_t width, k = 0, i;

	/* Whole lines of the cache, where there are: 16 words of each row out. */
	for (; k + 8 <= m; k += width) {
		uint32_t *to = out + k;
		const uint32_t *from = in + (ptrdiff_t)k * in_step;

		width = k + 16 <= m ? 16 : 8;
		i = 0;
#if VW >= 16
		for (; width == 16 && i + 16 <= n; i += 16)
			transpose16(to + (ptrdiff_t)i * out_step, out_step,
				    from + (ptrdiff_t)i * UNIT(kind), in_step, kind);
#endif
		for (; i + 8 <= n; i += 8)
			for (ptrdiff_t j = 0; j < (ptrdiff_t)width; j += 8)
				transpose8(to + (ptrdiff_t)i * out_step + j, out_step,
					   from + (ptrdiff_t)i * UNIT(kind) + j * in_step, in_step, kind);
	}
	for (i = 0; i < n; i++)
		for (size_t j = i < (n & ~(size_t)7) ? k : 0; j < m; j++)
			out[(ptrdiff_t)i * out_step + (ptrdiff_t)j] =
				word_of(in + (ptrdiff_t)j * in_step + (ptrdiff_t)i * UNIT(kind), kind);
}
