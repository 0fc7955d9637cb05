// SPDX-License-Identifier: MIT
/* Kernels as those of kernels_avx512bf16.c, but whole blocks of columns go by fused multiply-adds:
 * for processors that do two of these in less time than one dot product of bf16. */
#include "kernels.h"

#if defined(__AVX512F__) && defined(__AVX512VNNI__) && defined(__AVX512BF16__)
#include <immintrin.h>
#include "kernels_avx512.h"
#define VDOT(acc, col, row) \
	_mm512_dpbf16_ps(acc, (__m512bh)(col), (__m512bh)_mm512_set1_epi32((int)(row)))
#define VDOT8(acc, u, s) _mm512_dpbusd_epi32(acc, u, s)
#define MAC_BLOCK 8
#define MAC_BY_HALVES
#include "kernels_mac.h"
#include "kernels_int8.h"
#include "kernels_ternary.h"
#define KERNELS_NAME "avx512bf16fma"
#include "kernels_body.h"

const struct rdu_kernels *rdu_kernels_avx512bf16fma(void)
{
	return &kernels;
}
#else
const struct rdu_kernels *rdu_kernels_avx512bf16fma(void)
{
	return NULL;
}
#endif
