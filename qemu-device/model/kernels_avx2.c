// SPDX-License-Identifier: MIT
/* Kernels for x86-64 with AVX2 and FMA. */
#include "kernels.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

#define VEC __m256
#define VECI __m256i
#define VW 8
#define VLOAD(p) _mm256_loadu_ps(p)
#define VLOADI(p) _mm256_loadu_si256((const void *)(p))
#define VSTORE(p, v) _mm256_storeu_ps(p, v)
#define VSET(x) _mm256_set1_ps(x)
#define VFMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define VODD(x) _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32((int)0xffff0000)))
#define VEVEN(x) _mm256_castsi256_ps(_mm256_slli_epi32(x, 16))
/* as fp32: each word's lower bf16 and then its upper, of VW / 2 words */
#define VHALVES(p) \
	_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(p))), 16)
#define VCANON(r)                                                               \
	_mm256_blendv_ps(r, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000)), \
			 _mm256_cmp_ps(r, r, _CMP_UNORD_Q))
#define VSTOREI(p, v) _mm256_storeu_si256((void *)(p), v)
#define VSETI(x) _mm256_set1_epi32((int)(x))
#define VADDI(a, b) _mm256_add_epi32(a, b)
#define VMULI(a, b) _mm256_mullo_epi32(a, b)
#define VMADD16(a, b) _mm256_madd_epi16(a, b)
/* bytes of 16 bits: the lower and the upper, unsigned and signed */
#define VLOW_U8(x) _mm256_and_si256(x, _mm256_set1_epi16(0xff))
#define VHIGH_U8(x) _mm256_srli_epi16(x, 8)
#define VLOW_S8(x) _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8)
#define VHIGH_S8(x) _mm256_srai_epi16(x, 8)
#define MAC_BLOCK 4 /* columns; times two vectors of lanes */
#define MAC_BY_HALVES
#include "kernels_mac.h"
#include "kernels_int8.h"
#include "kernels_ternary.h"
#define KERNELS_NAME "avx2"
#include "kernels_body.h"

const struct rdu_kernels *rdu_kernels_avx2(void)
{
	return &kernels;
}
#else
const struct rdu_kernels *rdu_kernels_avx2(void)
{
	return NULL;
}
#endif
