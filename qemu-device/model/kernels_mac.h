/* SPDX-License-Identifier: MIT */
/*
 * Register-blocked contraction kernels over the vector macros of the including
 * file: MAC_BLOCK columns by two vectors of lanes stay in registers, a step is
 * two loads, MAC_BLOCK broadcasts and 2 * MAC_BLOCK multiply-adds. One column alone
 * takes four vectors: two would wait for each other's last step.
 * Operands are read where they are: column vectors of lanes contiguous words,
 * row words any distance apart.
 */
#include <xmmintrin.h>
#include "numerics.h"
#include "rdu/config.h"

#define MAC_INLINE static inline __attribute__((always_inline))

/* What lanes l on of columns j on have come to: from and to m->acc. */
MAC_INLINE void mac_acc_load(VEC acc[][4], const struct rdu_mac *m, size_t l, size_t j,
			     const size_t cols, const size_t vecs)
{
	const float *from = m->acc;

#pragma GCC unroll 8
	for (size_t c = 0; c < cols; c++)
#pragma GCC unroll 4
		for (size_t v = 0; v < vecs; v++)
			acc[c][v] = VLOAD(from + (j + c) * m->lanes + l + v * VW);
}

MAC_INLINE void mac_acc_store(VEC acc[][4], const struct rdu_mac *m, size_t l, size_t j,
			      const size_t cols, const size_t vecs, const bool canon)
{
	float *to = m->acc;

#pragma GCC unroll 8
	for (size_t c = 0; c < cols; c++)
#pragma GCC unroll 4
		for (size_t v = 0; v < vecs; v++)
			VSTORE(to + (j + c) * m->lanes + l + v * VW,
			       canon ? VCANON(acc[c][v]) : acc[c][v]);
}

/* One block: cols <= MAC_BLOCK columns, `vecs` (1, 2 or 4) vectors of lanes from
 * lane l on. cols, vecs, the kinds of address and `bf16` are constants where
 * this is inlined. */
MAC_INLINE void mac_block(const struct rdu_mac *m, size_t l, size_t j, const size_t cols,
			  const size_t vecs, const bool table, const bool bf16)
{
	const uint32_t *col = m->col + l, *row = m->row + (ptrdiff_t)j * m->row_lane;
	ptrdiff_t lane = m->row_lane;
	VEC acc[MAC_BLOCK][4];

	mac_acc_load(acc, m, l, j, cols, vecs);
	for (size_t i = 0; i < m->steps; i++) {
		const uint32_t *pc = col, *pr = row;
		VECI x[4];

		if (table) {
			pc += m->col_at[i];
			pr += m->row_at[i];
		} else {
			col += m->col_step;
			row += m->row_step;
		}
#pragma GCC unroll 4
		for (size_t v = 0; v < vecs; v++)
			x[v] = VLOADI(pc + v * VW);
#pragma GCC unroll 8
		for (size_t c = 0; c < cols; c++) {
			uint32_t r = pr[(ptrdiff_t)c * lane];

#pragma GCC unroll 4
			for (size_t v = 0; v < vecs; v++) {
				if (!bf16) {
					acc[c][v] = VFMA((VEC)x[v], VSET(rdu_f(r)), acc[c][v]);
					continue;
				}
#ifdef VDOT
				acc[c][v] = VDOT(acc[c][v], x[v], r);
#else
				acc[c][v] = VFMA(VODD(x[v]), VSET(rdu_f(r & 0xffff0000)), acc[c][v]);
				acc[c][v] = VFMA(VEVEN(x[v]), VSET(rdu_f(r << 16)), acc[c][v]);
#endif
			}
		}
	}
	mac_acc_store(acc, m, l, j, cols, vecs, !bf16);
}

#ifdef MAC_BY_HALVES
#define MAC_STEPS 64 /* whose row words are made fp32 at a time */

/* A block of all MAC_BLOCK columns in bf16 by fused multiply-adds: a step's row words are made fp32
 * once, each one's lower half and then its upper, and go from memory to whole vectors, which is
 * no work for the units that multiply. */
MAC_INLINE void mac_block_halves(const struct rdu_mac *m, size_t l, size_t j, const size_t vecs,
				 const bool table)
{
	const uint32_t *col = m->col + l, *row = m->row + (ptrdiff_t)j * m->row_lane;
	float half[MAC_STEPS * 2 * MAC_BLOCK];
	VEC acc[MAC_BLOCK][4];
	size_t n;

	mac_acc_load(acc, m, l, j, MAC_BLOCK, vecs);
	for (size_t i = 0; i < m->steps; i += n) {
		const float *r = half;

		n = m->steps - i < MAC_STEPS ? m->steps - i : MAC_STEPS;
		for (size_t k = 0; k < n; k++) {
			const uint32_t *pr = row + (table ? m->row_at[i + k]
							  : (ptrdiff_t)(i + k) * m->row_step);
			uint32_t word[MAC_BLOCK];

#pragma GCC unroll 8
			for (ptrdiff_t c = 0; c < MAC_BLOCK; c++)
				word[c] = pr[c * m->row_lane];
			VSTOREI(half + k * 2 * MAC_BLOCK, VHALVES(word));
		}
		for (size_t k = 0; k < n; k++, r += 2 * MAC_BLOCK) {
			const uint32_t *pc = col + (table ? m->col_at[i + k]
							  : (ptrdiff_t)(i + k) * m->col_step);
			VEC odd[4], even[4];

#pragma GCC unroll 4
			for (size_t v = 0; v < vecs; v++) {
				odd[v] = VODD(VLOADI(pc + v * VW));
				even[v] = VEVEN(VLOADI(pc + v * VW));
			}
#pragma GCC unroll 8
			for (size_t c = 0; c < MAC_BLOCK; c++) {
				VEC low = VSET(r[2 * c]), high = VSET(r[2 * c + 1]);

#pragma GCC unroll 4
				for (size_t v = 0; v < vecs; v++) {
					acc[c][v] = VFMA(odd[v], high, acc[c][v]);
					acc[c][v] = VFMA(even[v], low, acc[c][v]);
				}
			}
		}
	}
	mac_acc_store(acc, m, l, j, MAC_BLOCK, vecs, false);
}
#endif

MAC_INLINE void mac_block_by(const struct rdu_mac *m, size_t l, size_t j, const size_t cols,
			     const size_t vecs, const bool table, const bool bf16)
{
#ifdef MAC_BY_HALVES
	if (bf16 && cols == MAC_BLOCK) {
		mac_block_halves(m, l, j, vecs, table);
		return;
	}
#endif
	mac_block(m, l, j, cols, vecs, table, bf16);
}

/* Row words next to each other are the usual case, worth constants in the
 * addresses. */
MAC_INLINE void mac_block_of(const struct rdu_mac *m, size_t l, size_t j, const size_t cols,
			     const size_t vecs, const bool bf16)
{
	struct rdu_mac t = *m;

	if (m->row_lane == 1) {
		t.row_lane = 1;
		if (m->col_at)
			mac_block_by(&t, l, j, cols, vecs, true, bf16);
		else
			mac_block_by(&t, l, j, cols, vecs, false, bf16);
	} else if (m->col_at) {
		mac_block_by(&t, l, j, cols, vecs, true, bf16);
	} else {
		mac_block_by(&t, l, j, cols, vecs, false, bf16);
	}
}

static void mac_bf16_lanes(const struct rdu_mac *m, size_t l)
{
	float *acc = m->acc;

	for (; l < m->lanes; l++)
		for (size_t j = 0; j < m->cols; j++) {
			float a = acc[j * m->lanes + l];

			for (size_t i = 0; i < m->steps; i++) {
				ptrdiff_t c = m->col_at ? m->col_at[i] : (ptrdiff_t)i * m->col_step;
				ptrdiff_t r = m->row_at ? m->row_at[i] : (ptrdiff_t)i * m->row_step;

				a = rdu_mac_bf16(a, m->col[c + (ptrdiff_t)l],
						 m->row[r + (ptrdiff_t)j * m->row_lane]);
			}
			acc[j * m->lanes + l] = a;
		}
}

static void mac_fp32_lanes(const struct rdu_mac *m, size_t l)
{
	float *acc = m->acc;

	for (; l < m->lanes; l++)
		for (size_t j = 0; j < m->cols; j++) {
			float a = acc[j * m->lanes + l];

			for (size_t i = 0; i < m->steps; i++) {
				ptrdiff_t c = m->col_at ? m->col_at[i] : (ptrdiff_t)i * m->col_step;
				ptrdiff_t r = m->row_at ? m->row_at[i] : (ptrdiff_t)i * m->row_step;

				a = rdu_fma(rdu_f(m->col[c + (ptrdiff_t)l]),
					    rdu_f(m->row[r + (ptrdiff_t)j * m->row_lane]), a);
			}
			acc[j * m->lanes + l] = rdu_f(rdu_canon(a));
		}
}

#define MAC_CASE(N, BF16, VECS) \
	case N: \
		if (N <= MAC_BLOCK) \
			mac_block_of(m, l, j, N <= MAC_BLOCK ? N : 1, VECS, BF16); \
		break;

#define MAC_COLUMNS(BF16, VECS) \
	for (; j + MAC_BLOCK <= m->cols; j += MAC_BLOCK) \
		mac_block_of(m, l, j, MAC_BLOCK, VECS, BF16); \
	switch (m->cols - j) { \
		MAC_CASE(1, BF16, VECS) \
		MAC_CASE(2, BF16, VECS) \
		MAC_CASE(3, BF16, VECS) \
		MAC_CASE(4, BF16, VECS) \
		MAC_CASE(5, BF16, VECS) \
		MAC_CASE(6, BF16, VECS) \
		MAC_CASE(7, BF16, VECS) \
	default: \
		break; \
	}

#define MAC_KERNEL(NAME, BF16, REST) \
	static __attribute__((noinline)) void NAME(const struct rdu_mac *m) \
	{ \
		size_t l = 0; \
		\
		for (; m->cols == 1 && l + 4 * VW <= m->lanes; l += 4 * VW) \
			mac_block_of(m, l, 0, 1, 4, BF16); \
		for (; l + 2 * VW <= m->lanes; l += 2 * VW) { \
			size_t j = 0; \
			\
			MAC_COLUMNS(BF16, 2) \
		} \
		for (; l + VW <= m->lanes; l += VW) { \
			size_t j = 0; \
			\
			MAC_COLUMNS(BF16, 1) \
		} \
		REST(m, l); \
	}
MAC_KERNEL(mac_fp32_blocked, false, mac_fp32_lanes)
MAC_KERNEL(mac_bf16_flushed, true, mac_bf16_lanes)

/* Fused multiply-adds flush as the cell does when told to; VDOT always does. */
static void mac_bf16_blocked(const struct rdu_mac *m)
{
#ifndef MAC_BY_HALVES
	mac_bf16_flushed(m);
#else
	unsigned int csr = _mm_getcsr();

	_mm_setcsr(csr | 0x8040); /* flush to zero, denormals are zero */
	mac_bf16_flushed(m);
	_mm_setcsr(csr);
#endif
}
#define MAC_BF16 mac_bf16_blocked
#define MAC_FP32 mac_fp32_blocked
