/* SPDX-License-Identifier: MIT */
/* What kernels_mac.h needs, in AVX-512. */
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
#define VCANON(r) _mm512_mask_mov_ps(r, _mm512_cmp_ps_mask(r, r, _CMP_UNORD_Q), \
				     _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000)))
