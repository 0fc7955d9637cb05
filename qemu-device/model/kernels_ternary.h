/* SPDX-License-Identifier: MIT */
/*
 * The contraction of bytes and ternary weights, as one of bytes: the weights of some
 * steps are unpacked, four of them to a word of int8, and MAC_INT8 does the rest.
 */
#define TERNARY_STEPS 64 /* that are unpacked at a time */
#define TERNARY_WIDTH 64 /* words of a vector, at most */

/* The weights in the lowest byte, as four int8. */
static inline uint32_t ternary_bytes(uint32_t weights)
{
	uint32_t w = weights & 0xff, low;

	low = (w | w << 6 | w << 12 | w << 18) & 0x03030303;
	return low | (low & 0x02020202) * 126; /* 3 becomes -1 */
}

/* `width` words of weights, `lane` words apart. Returns bits of those that are 10. */
static inline uint32_t ternary_unpack(uint32_t *out, const uint32_t *in, size_t width,
				      ptrdiff_t lane, unsigned int shift)
{
	uint32_t bad = 0;

	if (lane == 1)
		for (size_t i = 0; i < width; i++) {
			bad |= in[i] >> 1 & ~in[i];
			out[i] = ternary_bytes(in[i] >> shift);
		}
	else
		for (size_t i = 0; i < width; i++) {
			uint32_t w = in[(ptrdiff_t)i * lane];

			bad |= w >> 1 & ~w;
			out[i] = ternary_bytes(w >> shift);
		}
	return bad & 0x55555555;
}

static bool mac_ternary_unpacked(const struct rdu_mac *m)
{
	uint32_t wide[TERNARY_STEPS * TERNARY_WIDTH], bad = 0;
	bool in_cols = m->flags & RDU_SYS_COLS_TERNARY;
	size_t width = in_cols ? m->lanes : m->cols, n;
	const uint32_t *from = in_cols ? m->col : m->row;
	const ptrdiff_t *at = in_cols ? m->col_at : m->row_at;
	ptrdiff_t step = in_cols ? m->col_step : m->row_step;
	ptrdiff_t lane = in_cols ? 1 : m->row_lane;
	ptrdiff_t wide_at[TERNARY_STEPS];
	struct rdu_mac part = *m;

	for (int i = 0; i < TERNARY_STEPS; i++)
		wide_at[i] = i * (ptrdiff_t)width;
	for (size_t i = 0; i < m->steps; i += n) {
		n = m->steps - i < TERNARY_STEPS ? m->steps - i : TERNARY_STEPS;
		for (size_t k = 0; k < n; k++)
			bad |= ternary_unpack(wide + k * width,
					      from + (at ? at[i + k] : (ptrdiff_t)(i + k) * step),
					      width, lane,
					      (m->quarter + (unsigned int)(i + k)) % 4 * 8);
		part.steps = n;
		part.col_at = at ? m->col_at + i : NULL;
		part.row_at = at ? m->row_at + i : NULL;
		part.col = m->col + (at ? 0 : (ptrdiff_t)i * m->col_step);
		part.row = m->row + (at ? 0 : (ptrdiff_t)i * m->row_step);
		if (in_cols) {
			part.col = wide;
			part.col_step = (ptrdiff_t)width;
			part.col_at = at ? wide_at : NULL;
		} else {
			part.row = wide;
			part.row_step = (ptrdiff_t)width;
			part.row_lane = 1;
			part.row_at = at ? wide_at : NULL;
		}
		MAC_INT8(&part);
	}
	return !bad;
}
#define MAC_TERNARY mac_ternary_unpacked
