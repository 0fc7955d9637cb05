// SPDX-License-Identifier: MIT
/*
 * rdu-mkmodel: products whose weights have masks that are not trained, and pixelated butterflies: a
 * masked product with one of low rank beside it.
 */
#include <math.h>
#include <stdlib.h>
#include "mem.h"
#include "mkmodel.h"

const char *mk_normal(struct mk *m, const char *path, int ndim, const int64_t *dim, double stddev)
{
	return mk_weight(m, mk_text("%s.weight", path), ndim, dim, stddev * sqrt(3));
}

/* Is a side of a weight of whole blocks, and of as many as a butterfly has? */
static bool fits(const struct mk_masks *s, int64_t width)
{
	return s->block && width % s->block == 0 && width / s->block >= s->butterfly;
}

/*
 * The mask of a product [in, out]: blocks i and k of a grid of `butterfly` blocks are there if k is
 * i, or i with one of the lowest `factors` bits turned over; the grid is stretched to the weight's
 * own blocks.
 */
static const char *butterfly_mask(struct mk *m, const char *path, const struct mk_masks *s,
				  int64_t in, int64_t out, double *share)
{
	int64_t grid = s->butterfly, rows = in / s->block, cols = out / s->block, num = 0;
	double *v = xcalloc((size_t)(in * out), sizeof(*v));
	const char *mask;

	for (int64_t r = 0; r < in; r++)
		for (int64_t c = 0; c < out; c++) {
			int64_t i = r / s->block * grid / rows, k = c / s->block * grid / cols;
			int64_t differ = i ^ k;
			bool there = differ < 1ll << s->factors && !(differ & (differ - 1));

			v[r * out + c] = there;
			num += there;
		}
	*share = (double)num / (double)(in * out);
	mask = mk_table(m, mk_text("%s.mask", path), DIMS(in, out), v);
	free(v);
	return mask;
}

/* Draws `some` of all: sets there[] of them. */
static void draw(struct mk *m, int64_t some, int64_t all, bool *there)
{
	for (int64_t i = 0; i < all; i++) {
		there[i] = mk_uniform(m) * (double)(all - i) < (double)some;
		some -= there[i];
	}
}

/* The mask of a product [in, out]: as many of each column's blocks, or numbers. */
static const char *drawn_mask(struct mk *m, const char *path, const struct mk_masks *s, int64_t in,
			      int64_t out, double *share)
{
	int64_t size = s->block, rows = in / size, part = s->two_of_four ? 4 : rows;
	int64_t some = s->two_of_four ? 2 : (rows * s->kept + 500) / 1000;
	double *v = xcalloc((size_t)(in * out), sizeof(*v));
	bool *there = xcalloc((size_t)rows, sizeof(*there));
	const char *mask;

	some = some ? some : 1;
	for (int64_t c = 0; c < out; c++) {
		for (int64_t k = 0; c % size == 0 && k < rows; k += part)
			draw(m, some, part, there + k);
		for (int64_t r = 0; r < in; r++)
			v[r * out + c] = there[r / size];
	}
	*share = (double)some / (double)part;
	mask = mk_table(m, mk_text("%s.mask", path), DIMS(in, out), v);
	free(there);
	free(v);
	return mask;
}

/* A weight of which only the mask's blocks count; as large as if they were all there. */
static const char *masked(struct mk *m, const char *scope, const char *path,
			  const struct mk_masks *s, int64_t in, int64_t out, double stddev)
{
	double share = 1;
	const char *mask = m->measured ? mk_table(m, mk_text("%s.mask", path), DIMS(in, out), NULL)
			   : s->butterfly ? butterfly_mask(m, path, s, in, out, &share)
					  : drawn_mask(m, path, s, in, out, &share);
	const char *w = mk_normal(m, path, DIMS(in, out), stddev / sqrt(share));

	return MK_OP(m, scope, "Mul", w, mask);
}

/* What a product through few numbers adds to it. */
static const char *low_rank(struct mk *m, const char *scope, const char *path, const char *rows,
			    const struct mk_masks *s, int64_t in, int64_t out)
{
	const char *u =
		mk_weight(m, mk_text("%s.lr.u", path), DIMS(in, s->rank), 1 / sqrt((double)in));
	const char *v = mk_weight(m, mk_text("%s.lr.v", path), DIMS(s->rank, out), MK_STDDEV);

	return MK_OP(m, scope, "MatMul", MK_OP(m, scope, "MatMul", rows, u), v);
}

const char *mk_product(struct mk *m, const char *scope, const char *path, const char *x,
		       const struct mk_masks *s, const int64_t dim[3], int64_t out, double stddev)
{
	int64_t in = dim[2];
	bool dense = !fits(s, in) || !fits(s, out);
	const char *w = dense ? mk_normal(m, path, DIMS(in, out), stddev)
			      : masked(m, scope, path, s, in, out, stddev);
	const char *b = mk_filled(m, mk_text("%s.bias", path), DIMS(out), 0);
	const char *rows = mk_reshape(m, scope, x, DIMS(-1, in));
	Onnx__NodeProto *n = MK_SCOPED(m, scope, "Gemm", rows, w, b);

	mk_attr_float(n, "alpha", 1);
	mk_attr_float(n, "beta", 1);
	x = n->output[0];
	if (s->rank && !dense)
		x = MK_OP(m, scope, "Add", x, low_rank(m, scope, path, rows, s, in, out));
	return mk_reshape(m, scope, x, DIMS(dim[0], dim[1], out));
}

int mk_butterflies(struct mk *m, int64_t width, struct mk_masks *s)
{
	*s = (struct mk_masks){ .block = mk_size(m, "block"),
				.butterfly = mk_size(m, "butterfly"),
				.factors = mk_size(m, "factors"),
				.rank = mk_size(m, "rank") };
	if (s->butterfly & (s->butterfly - 1) || 1ll << s->factors > s->butterfly)
		return mk_refuse(m,
				 "--butterfly %lld is no power of two from 2^%lld on (--factors)",
				 (long long)s->butterfly, (long long)s->factors);
	if (!fits(s, width))
		return mk_refuse(
			m,
			"--d %lld is no whole number, at least --butterfly %lld, of --block %lld",
			(long long)width, (long long)s->butterfly, (long long)s->block);
	return 0;
}
