/* SPDX-License-Identifier: MIT */
/* What kernels_mac.h and kernels_body.h need, in AVX-512. */
#define VEC __m512
#define VECI __m512i
#define VW 16
#define VLOAD(p) _mm512_loadu_ps(p)
#define VLOADI(p) _mm512_loadu_si512((const void *)(p))
#define VSTORE(p, v) _mm512_storeu_ps(p, v)
#define VSET(x) _mm512_set1_ps(x)
#define VFMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define VODD(x) _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32((int)0xffff0000)))
#define VEVEN(x) _mm512_castsi512_ps(_mm512_slli_epi32(x, 16))
/* as fp32: each word's lower bf16 and then its upper, of VW / 2 words */
#define VHALVES(p)                                                                             \
	_mm512_slli_epi32(                                                                     \
		_mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(p))), \
		16)
#define VCANON(r)                                                     \
	_mm512_mask_mov_ps(r, _mm512_cmp_ps_mask(r, r, _CMP_UNORD_Q), \
			   _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000)))
#define VSTOREI(p, v) _mm512_storeu_si512((void *)(p), v)
#define VSETI(x) _mm512_set1_epi32((int)(x))
#define VADDI(a, b) _mm512_add_epi32(a, b)
#define VMULI(a, b) _mm512_mullo_epi32(a, b)
#define VMADD16(a, b) _mm512_madd_epi16(a, b)
/* bytes of 16 bits: the lower and the upper, unsigned and signed */
#define VLOW_U8(x) _mm512_and_si512(x, _mm512_set1_epi16(0xff))
#define VHIGH_U8(x) _mm512_srli_epi16(x, 8)
#define VLOW_S8(x) _mm512_srai_epi16(_mm512_slli_epi16(x, 8), 8)
#define VHIGH_S8(x) _mm512_srai_epi16(x, 8)

/* Lanes from..to - 1 of the 16 from lane l on. */
static inline __mmask16 part_mask(size_t l, size_t from, size_t to)
{
	int64_t a = (int64_t)from - (int64_t)l, b = (int64_t)to - (int64_t)l;

	a = a < 0 ? 0 : a > 16 ? 16 : a;
	b = b < 0 ? 0 : b > 16 ? 16 : b;
	return (__mmask16)((1u << b) - 1) & ~(__mmask16)((1u << a) - 1);
}

/* Whole vectors go without masks, which are slow where they meet a load or store of the same place. */
static inline __m512i part_load(const uint32_t *in, __mmask16 m, __m512i others)
{
	if (m == 0xffff)
		return _mm512_loadu_si512((const void *)in);
	return m ? _mm512_mask_loadu_epi32(others, m, in) : others;
}

static void part_avx512(size_t words, uint32_t *out, const uint32_t *in, size_t from, size_t to,
			uint32_t pad)
{
	__m512i pads = _mm512_set1_epi32((int)pad);

	for (size_t l = 0; l < words; l += 16) {
		__m512i v = part_load(in + l, part_mask(l, from, to), pads);

		if (words - l >= 16)
			_mm512_storeu_si512((void *)(out + l), v);
		else
			_mm512_mask_storeu_epi32(out + l, part_mask(l, 0, words), v);
	}
}

static void part_store_avx512(uint32_t *out, const uint32_t *in, size_t from, size_t to)
{
	for (size_t l = from & ~(size_t)15; l < to; l += 16) {
		__mmask16 m = part_mask(l, from, to);

		if (m == 0xffff)
			_mm512_storeu_si512((void *)(out + l), _mm512_loadu_si512((const void *)(in + l)));
		else
			_mm512_mask_storeu_epi32(out + l, m, _mm512_maskz_loadu_epi32(m, in + l));
	}
}
#define PART part_avx512
#define PART_STORE part_store_avx512
