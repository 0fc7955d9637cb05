// SPDX-License-Identifier: MIT
/* Kernels for x86-64 with AVX-512, its dot product of bytes, and that of bf16, which
 * is the systolic cell (numerics.md): odd element, then even, flushing denormals. */
#include "kernels.h"

#if defined(__AVX512F__) && defined(__AVX512VNNI__) && defined(__AVX512BF16__)
#include <immintrin.h>
#include "kernels_avx512.h"
#define VDOT(acc, col, row) \
	_mm512_dpbf16_ps(acc, (__m512bh)(col), (__m512bh)_mm512_set1_epi32((int)(row)))
#define VDOT8(acc, u, s) _mm512_dpbusd_epi32(acc, u, s)
#define MAC_BLOCK 8
#include "kernels_mac.h"
#include "kernels_int8.h"
#include "kernels_ternary.h"
#define KERNELS_NAME "avx512bf16"
#include "kernels_body.h"

const struct rdu_kernels *rdu_kernels_avx512bf16(void)
{
	return &kernels;
}
#else
const struct rdu_kernels *rdu_kernels_avx512bf16(void)
{
	return NULL;
}
#endif
