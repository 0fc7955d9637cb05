// SPDX-License-Identifier: MIT
/* Kernels for x86-64 with AVX-512 (F, BW, DQ, VL). */
#include "kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__)
#include <immintrin.h>
#include "kernels_avx512.h"
#define MAC_BLOCK 8 /* columns; times two vectors of lanes */
#define MAC_BY_HALVES
#include "kernels_mac.h"
#include "kernels_int8.h"
#include "kernels_ternary.h"
#define KERNELS_NAME "avx512"
#include "kernels_body.h"

const struct rdu_kernels *rdu_kernels_avx512(void)
{
	return &kernels;
}
#else
const struct rdu_kernels *rdu_kernels_avx512(void)
{
	return NULL;
}
#endif
