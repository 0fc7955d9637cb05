// SPDX-License-Identifier: MIT
/* Kernels for x86-64 with AVX-512 and its dot product of bytes. */
#include "kernels.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VNNI__)
#include <immintrin.h>
#include "kernels_avx512.h"
#define VDOT8(acc, u, s) _mm512_dpbusd_epi32(acc, u, s)
#define MAC_BLOCK 8
#define MAC_BY_HALVES
#include "kernels_mac.h"
#include "kernels_int8.h"
#include "kernels_ternary.h"
#define KERNELS_NAME "avx512vnni"
#include "kernels_body.h"

const struct rdu_kernels *rdu_kernels_avx512vnni(void)
{
	return &kernels;
}
#else
const struct rdu_kernels *rdu_kernels_avx512vnni(void)
{
	return NULL;
}
#endif
