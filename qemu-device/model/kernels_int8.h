/* SPDX-License-Identifier: MIT */
/*
 * The register-blocked contraction of bytes, over the vector macros of the including
 * file, blocked as in kernels_mac.h. VDOT8(acc, u, s) adds to each word of acc the
 * four products of the unsigned bytes of u and the signed ones of s, mod 2^32.
 *
 * One operand is taken as unsigned, the other as signed. Where both are the same,
 * the rows are flipped by 128 into the other kind, and 128 times the sum of the
 * columns puts that right: the same for all columns of a block.
 */
#ifndef VDOT8
static inline VECI dot8_by_words(VECI acc, VECI u, VECI s)
{
	VECI low = VMADD16(VLOW_U8(u), VLOW_S8(s)), high = VMADD16(VHIGH_U8(u), VHIGH_S8(s));

	return VADDI(acc, VADDI(low, high));
}
#define VDOT8(acc, u, s) dot8_by_words(acc, u, s)
#endif

struct mac8 {
	const struct rdu_mac *m;
	uint32_t flip; /* of row words */
	int32_t times; /* the sum of a lane's column bytes */
};

/* One block: cols <= MAC_BLOCK columns, `vecs` (1 or 2) vectors of lanes from lane l on.
 * cols, vecs and `cols_unsigned` are constants where this is inlined. */
MAC_INLINE void mac8_block(const struct mac8 *m8, size_t l, size_t j, const size_t cols,
			   const size_t vecs, const bool cols_unsigned)
{
	const struct rdu_mac *m = m8->m;
	const uint32_t *col = m->col + l, *row = m->row + (ptrdiff_t)j * m->row_lane;
	ptrdiff_t lane = m->row_lane;
	uint32_t *to = m->acc;
	VECI acc[MAC_BLOCK][2], sum[2] = { VSETI(0), VSETI(0) }, ones = VSETI(0x01010101);

#pragma GCC unroll 8
	for (size_t c = 0; c < cols; c++)
#pragma GCC unroll 2
		for (size_t v = 0; v < vecs; v++)
			acc[c][v] = VLOADI(to + (j + c) * m->lanes + l + v * VW);
	for (size_t i = 0; i < m->steps; i++) {
		const uint32_t *pc = col, *pr = row;
		VECI x[2];

		if (m->col_at) {
			pc += m->col_at[i];
			pr += m->row_at[i];
		} else {
			col += m->col_step;
			row += m->row_step;
		}
#pragma GCC unroll 2
		for (size_t v = 0; v < vecs; v++) {
			x[v] = VLOADI(pc + v * VW);
			sum[v] = cols_unsigned ? VDOT8(sum[v], x[v], ones)
					       : VDOT8(sum[v], ones, x[v]);
		}
#pragma GCC unroll 8
		for (size_t c = 0; c < cols; c++) {
			VECI r = VSETI(pr[(ptrdiff_t)c * lane] ^ m8->flip);

#pragma GCC unroll 2
			for (size_t v = 0; v < vecs; v++)
				acc[c][v] = cols_unsigned ? VDOT8(acc[c][v], x[v], r)
							  : VDOT8(acc[c][v], r, x[v]);
		}
	}
#pragma GCC unroll 2
	for (size_t v = 0; v < vecs; v++)
		sum[v] = VMULI(sum[v], VSETI(m8->times));
#pragma GCC unroll 8
	for (size_t c = 0; c < cols; c++)
#pragma GCC unroll 2
		for (size_t v = 0; v < vecs; v++)
			VSTOREI(to + (j + c) * m->lanes + l + v * VW, VADDI(acc[c][v], sum[v]));
}

MAC_INLINE void mac8_columns(const struct mac8 *m8, size_t l, const size_t vecs,
			     const bool cols_unsigned)
{
	size_t j = 0;

	for (; j + MAC_BLOCK <= m8->m->cols; j += MAC_BLOCK)
		mac8_block(m8, l, j, MAC_BLOCK, vecs, cols_unsigned);
	for (; j < m8->m->cols; j++)
		mac8_block(m8, l, j, 1, vecs, cols_unsigned);
}

static void mac8_lanes(const struct rdu_mac *m, size_t l)
{
	uint32_t *acc = m->acc;

	for (; l < m->lanes; l++)
		for (size_t j = 0; j < m->cols; j++)
			for (size_t i = 0; i < m->steps; i++) {
				ptrdiff_t c = m->col_at ? m->col_at[i] : (ptrdiff_t)i * m->col_step;
				ptrdiff_t r = m->row_at ? m->row_at[i] : (ptrdiff_t)i * m->row_step;
				uint32_t *to = &acc[j * m->lanes + l];

				*to = rdu_mac_int8(*to, m->col[c + (ptrdiff_t)l],
						   m->row[r + (ptrdiff_t)j * m->row_lane],
						   m->flags);
			}
}

static __attribute__((noinline)) void mac8_signed(const struct mac8 *m8)
{
	size_t l = 0;

	for (; l + 2 * VW <= m8->m->lanes; l += 2 * VW)
		mac8_columns(m8, l, 2, false);
	for (; l + VW <= m8->m->lanes; l += VW)
		mac8_columns(m8, l, 1, false);
	mac8_lanes(m8->m, l);
}

static __attribute__((noinline)) void mac8_unsigned(const struct mac8 *m8)
{
	size_t l = 0;

	for (; l + 2 * VW <= m8->m->lanes; l += 2 * VW)
		mac8_columns(m8, l, 2, true);
	for (; l + VW <= m8->m->lanes; l += VW)
		mac8_columns(m8, l, 1, true);
	mac8_lanes(m8->m, l);
}

static void mac_int8_blocked(const struct rdu_mac *m)
{
	bool cols = m->flags & RDU_SYS_COLS_UNSIGNED, rows = m->flags & RDU_SYS_ROWS_UNSIGNED;
	struct mac8 m8 = { .m = m,
			   .flip = cols == rows ? 0x80808080 : 0,
			   .times = cols != rows ? 0
				    : cols	 ? 128
						 : -128 };

	if (cols)
		mac8_unsigned(&m8);
	else
		mac8_signed(&m8);
}
#define MAC_INT8 mac_int8_blocked
