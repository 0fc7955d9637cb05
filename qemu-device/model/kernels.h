/* SPDX-License-Identifier: MIT */
/*
 * Inner loops of the fabric, one table for each instruction set. All tables
 * give the same bits. kernels_body.h is the text; kernels_*.c compile it.
 *
 * Vectors are `lanes` 32-bit words; arrays of n vectors are contiguous.
 */
#ifndef RDU_KERNELS_H
#define RDU_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RDU_NUM_OPS 83 /* highest operation + 1 */
#define RDU_NUM_FORMATS 10

/* out[i] = op(a[i], b[i], c[i]) for i < n; out may be one of the inputs. */
typedef void rdu_map_fn(size_t n, uint32_t *out, const uint32_t *a, const uint32_t *b,
			const uint32_t *c);
/* The accumulating form: for each of n vectors, acc = op(acc, x[i]) or, FMA,
 * acc = x[i] * y[i] + acc; out[i] = acc. */
typedef void rdu_acc_fn(size_t n, size_t lanes, uint32_t *out, const uint32_t *x, const uint32_t *y,
			uint32_t *acc);
/* n rows of words, `*_step` words apart. */
typedef void rdu_rows_fn(size_t n, size_t words, uint32_t *out, ptrdiff_t out_step,
			 const uint32_t *in, ptrdiff_t in_step);
/* out[i * out_step + k] = in[k * in_step + i], i < n, k < m */
typedef void rdu_transpose_fn(size_t n, size_t m, uint32_t *out, ptrdiff_t out_step,
			      const uint32_t *in, ptrdiff_t in_step);
/* Cross-lane: out[i] = op over the lanes of a[i], in all lanes. */
typedef void rdu_red_fn(size_t n, size_t lanes, uint32_t *out, const uint32_t *a);

/*
 * Systolic: acc[j][l] (cols vectors) over k steps. Column vector of step i is at
 * col + i * col_step words, or col + col_at[i] when col_at is given; row word j
 * of step i at row + i * row_step + j * row_lane (or row + row_at[i] + ...). What col_at and
 * row_at lead to may be any memory.
 */
struct rdu_mac {
	size_t steps, lanes, cols;
	const uint32_t *col, *row;
	ptrdiff_t col_step, row_step, row_lane;
	const ptrdiff_t *col_at, *row_at;
	unsigned int flags; /* mac_int8, mac_ternary: RDU_SYS_*_UNSIGNED, RDU_SYS_COLS_TERNARY */
	unsigned int quarter; /* mac_ternary: of a word of weights, that the first step takes */
	void *acc; /* float; int32_t for mac_int8 and mac_ternary */
};

/* Words of a vector: lanes from <= l < to are at base[leaf][at + l]. */
struct vector_part {
	int32_t at;
	uint16_t leaf;
	uint8_t from, to;
};

struct rdu_kernels {
	const char *name;
	rdu_map_fn *map[RDU_NUM_OPS];
	rdu_acc_fn *acc[RDU_NUM_OPS];
	rdu_red_fn *red[RDU_NUM_OPS];
	void (*mac_bf16)(const struct rdu_mac *m);
	void (*mac_int8)(const struct rdu_mac *m);
	/* Step i takes quarter (quarter + i) % 4 of its word of weights. False: a weight is 10, and
	 * acc is of no use. */
	bool (*mac_ternary)(const struct rdu_mac *m);
	/* Contraction by SIMD stages: acc[j][l] = fma(col[l], row[j], acc[j][l]), in
	 * fp32 as the FMA operation; same addressing. */
	void (*mac_fp32)(const struct rdu_mac *m);
	/* Makes every NaN of n words the one NaN. */
	void (*canon)(size_t n, uint32_t *v);
	/* bf16 pairs, nearest even: out[i] = bf(lo[i]) | bf(hi[i]) << 16 */
	void (*pack)(size_t n, uint32_t *out, const uint32_t *lo, const uint32_t *hi);
	/* out[i] = bf(in[2i]) | bf(in[2i + 1]) << 16 */
	void (*pack_lane)(size_t n, uint32_t *out, const uint32_t *in);
	void (*pack_low)(size_t n, uint32_t *out, const uint32_t *in);
	/* Low bytes, four to a word, the first lowest: of in[i] .. in[i + 3 * step], and of
	 * in[4i] .. in[4i + 3] */
	void (*pack_bytes)(size_t n, uint32_t *out, const uint32_t *in, size_t step);
	void (*pack_lane_bytes)(size_t n, uint32_t *out, const uint32_t *in);
	/* Segment formats: n elements to words and back. */
	void (*load[RDU_NUM_FORMATS])(size_t n, uint32_t *out, const void *in);
	void (*store[RDU_NUM_FORMATS])(size_t n, void *out, const uint32_t *in);
	/* Words as they are; two bf16, of which a NaN becomes the one NaN; two bf16 of words in[2i]
	 * and in[2i + 1], nearest even; the bf16 of one word, and 0 above it */
	rdu_rows_fn *rows, *rows_bf16, *rows_fp32, *rows_low;
	rdu_transpose_fn *transpose, *transpose_bf16, *transpose_fp32, *transpose_low;
	/* out[i * out_step + l] ^= in[i * step + l * lane_step] ^ value, i < n, l < words */
	void (*xor_rows)(size_t n, size_t words, uint32_t *out, ptrdiff_t out_step,
			 const uint32_t *in, ptrdiff_t step, ptrdiff_t lane_step, uint32_t value);
	/* Words from..to - 1 of in, the others of `words` are pad. */
	void (*part)(size_t words, uint32_t *out, const uint32_t *in, size_t from, size_t to,
		     uint32_t pad);
	/* Words from..to - 1 of in to out; the others are not touched. */
	void (*part_store)(uint32_t *out, const uint32_t *in, size_t from, size_t to);
	/* out[i * lanes + l] = in[i * step + l * lane_step], i < n, l < lanes */
	void (*gather)(size_t n, size_t lanes, uint32_t *out, const uint32_t *in, ptrdiff_t step,
		       ptrdiff_t lane_step);
	/* out[i * step + l * lane_step] = in[i * pitch + l], i < n, l < words, in that order */
	void (*scatter)(size_t n, size_t words, uint32_t *out, ptrdiff_t step, ptrdiff_t lane_step,
			const uint32_t *in, ptrdiff_t pitch);
	/* out[i * lanes + l] = in[i * step], i < n, l < lanes */
	void (*spread)(size_t n, size_t lanes, uint32_t *out, const uint32_t *in, size_t step);
	/* n vectors: parts first[i] to first[i + 1] of vector i, `value` in its other lanes */
	void (*take_parts)(size_t n, size_t lanes, uint32_t *out, const uint32_t *first,
			   const struct vector_part *part, const void *const *base, uint32_t value);
	/* The way back, from vectors `pitch` words apart; leaves are not told apart */
	void (*put_parts)(size_t n, size_t pitch, void *base, const uint32_t *first,
			  const struct vector_part *part, const uint32_t *in);
};

/* The best table for this CPU; environment RDU_KERNELS=NAME asks for another. */
const struct rdu_kernels *rdu_kernels_get(void);
/* Tables this CPU can run, portable first; NULL after the last. */
const struct rdu_kernels *rdu_kernels_nth(unsigned int n);

/* NULL where the compiler was not told of the instruction set. */
const struct rdu_kernels *rdu_kernels_avx2(void);
const struct rdu_kernels *rdu_kernels_avx512(void);
const struct rdu_kernels *rdu_kernels_avx512vnni(void);
const struct rdu_kernels *rdu_kernels_avx512bf16(void);
const struct rdu_kernels *rdu_kernels_avx512bf16fma(void);

#endif
