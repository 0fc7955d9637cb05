/* SPDX-License-Identifier: MIT */
/*
 * The contraction of bytes and ternary weights, as one of bytes: the weights of some
 * steps are unpacked, four of them to a word of int8, and MAC_INT8 does the rest. For one column
 * of results, where unpacking would be most of the work, weights stay four to a byte: those that
 * are in the same bits of the word's bytes belong to a byte of each of four steps.
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

typedef uint32_t ternary_vec __attribute__((vector_size(VW * 4)));
typedef int32_t ternary_int __attribute__((vector_size(VW * 4)));

/* Does each word of weights serve the four steps after one another that its quarters are for? */
static bool ternary_whole_words(const struct rdu_mac *m)
{
	if (!(m->flags & RDU_SYS_COLS_TERNARY) || m->lanes % VW || m->quarter || m->steps % 4 ||
	    !m->col_at)
		return false;
	for (size_t i = 0; i < m->steps; i += 4)
		if (m->col_at[i] != m->col_at[i + 1] || m->col_at[i] != m->col_at[i + 2] ||
		    m->col_at[i] != m->col_at[i + 3])
			return false;
	return true;
}

/* Byte k of word i of four as byte i of word k. */
static inline void ternary_turn(uint32_t out[4], const uint32_t in[4])
{
	typedef uint8_t bytes __attribute__((vector_size(16)));
	bytes b;

	memcpy(&b, in, 16);
	b = __builtin_shufflevector(b, b, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
	memcpy(out, &b, 16);
}

/* Asks for the weights of some steps from step i on: scratchpads are larger than the caches. */
static inline void ternary_ask(const struct rdu_mac *m, size_t i)
{
	for (size_t k = i; k < i + TERNARY_STEPS && k < m->steps; k += 4)
		for (size_t l = 0; l < m->lanes; l += 16)
			__builtin_prefetch(m->col + m->col_at[k] + l);
}

/* One column. Weights w are taken as 1 - w = 1, 0, 2: the bytes' sum less that times the bytes. The weights of a
 * byte stay where they are in it, so that products are too large by a power of two. */
MAC_INLINE bool ternary_column(const struct rdu_mac *m, const bool is_unsigned)
{
	uint32_t turned[TERNARY_STEPS], bits = 0, *to = m->acc;
	ternary_vec bad = { 0 };
	size_t n;

	ternary_ask(m, 0);
	for (size_t i = 0; i < m->steps; i += n) {
		VECI sums = VSETI(0), ones = VSETI(0x01010101);
		uint32_t sum = 0;

		n = m->steps - i < TERNARY_STEPS ? m->steps - i : TERNARY_STEPS;
		ternary_ask(m, i + n);
		memset(turned, 0, sizeof(turned));
		for (size_t k = 0; k < n; k += 4) {
			uint32_t bytes[4];

			for (size_t q = 0; q < 4; q++)
				bytes[q] = m->row[m->row_at[i + k + q]];
			ternary_turn(turned + k, bytes);
		}
		for (size_t k = 0; k < TERNARY_STEPS; k += VW) {
			VECI b = VLOADI(turned + k);

			sums = is_unsigned ? VDOT8(sums, b, ones) : VDOT8(sums, ones, b);
		}
		for (size_t l = 0; l < VW; l++)
			sum += ((ternary_vec)sums)[l];
		for (size_t l = 0; l < m->lanes; l += VW) {
			VECI acc[4] = { VSETI(0), VSETI(0), VSETI(0), VSETI(0) };
			ternary_vec result = (ternary_vec)VLOADI(to + l) + sum;

			for (size_t k = 0; k < n; k += 4) {
				ternary_vec w = (ternary_vec)VLOADI(m->col + m->col_at[i + k] + l);

				bad |= w >> 1 & ~w;
#pragma GCC unroll 4
				for (int q = 0; q < 4; q++) {
					ternary_vec v = (w ^ 0x55555555) & 0x03030303u << 2 * q;
					VECI b = VSETI(turned[k + (size_t)q]);

					/* 2 << 6 is no signed byte */
					acc[q] = is_unsigned ? VDOT8(acc[q], b, (VECI)(v >> 2 * q))
							     : VDOT8(acc[q], (VECI)v, b);
				}
			}
#pragma GCC unroll 4
			for (int q = 0; q < 4; q++)
				result -= (ternary_vec)((ternary_int)acc[q] >>
							(is_unsigned ? 0 : 2 * q));
			VSTOREI(to + l, (VECI)result);
		}
	}
	for (size_t l = 0; l < VW; l++)
		bits |= bad[l];
	return !(bits & 0x55555555);
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

	if (m->cols == 1 && ternary_whole_words(m))
		return m->flags & RDU_SYS_ROWS_UNSIGNED ? ternary_column(m, true)
							: ternary_column(m, false);
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
