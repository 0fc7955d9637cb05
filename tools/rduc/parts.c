// SPDX-License-Identifier: MIT
/*
 * Parts: how what is resident (resident.c) is cut, along its outermost dimension and those behind it.
 */
#include <stdlib.h>
#include "mem.h"
#include "parts.h"

#define CARRIED_PART 2048 /* words */
#define SMALLEST_PART 256 /* words; less is not cut */

int parts_outermost(const struct tensor *t)
{
	int at = -1;

	for (int d = 0; d < t->ndim; d++)
		if (t->dim[d] > 1 && (at < 0 || t->stride[d] > t->stride[at]))
			at = d;
	return at;
}

int parts_next_axis(const struct tensor *t, int64_t step)
{
	int at = -1;

	for (int d = 0; d < t->ndim; d++)
		if (t->dim[d] > 1 && t->stride[d] < step &&
		    (at < 0 || t->stride[d] > t->stride[at]))
			at = d;
	return at;
}

int parts_vectors_dim(const struct backend *be, const struct tensor *t, int axis)
{
	if (axis < 2 || be_batch_dims(be, t) != 2 || t->dim[0] < 2 || t->stride[1] != 1)
		return -1;
	for (int d = 2; d < t->ndim; d++)
		if (d != axis && t->dim[d] > 1 && t->stride[d] > t->stride[0])
			return -1;
	return 0;
}

void parts_make_outermost(struct tensor *t, int axis)
{
	int order[RDU_MAX_DIMS], n = 0;
	int64_t s = 1;

	for (int d = 0; d < t->ndim; d++) { /* innermost first, as it was */
		int at = n++;

		for (; at > 0 && t->stride[order[at - 1]] > t->stride[d]; at--)
			order[at] = order[at - 1];
		order[at] = d;
	}
	for (int i = 0; i < n; i++) {
		if (order[i] == axis)
			continue;
		t->stride[order[i]] = s;
		s *= t->dim[order[i]];
	}
	t->stride[axis] = s;
}

/* The number of parts nearest to `want`, from `least` to twice that, of which each has as many positions, in whole
 * vectors of them: lanes and columns of products lie in one part then. 0: there is none. */
static int count_vectors(const struct rdu_chip *chip, int64_t extent, int64_t want, int64_t least)
{
	int64_t best = 0;

	for (int64_t k = least; k <= 2 * want && k <= extent; k++)
		if (extent % k == 0 && extent / k % chip->lanes == 0 &&
		    (!best || llabs(k - want) < llabs(best - want)))
			best = k;
	return (int)(2 * best >= want ? best : 0);
}

/* Number of parts: what a scratchpad holds, and as many as may work at a time, up to `parts`. 0: a
 * single position along the axis is too large for one. vectors: best of whole vectors. */
static int count_parts(const struct rdu_chip *chip, int64_t words, int64_t extent, int parts,
		       bool vectors)
{
	int64_t step = words / extent, most = (int64_t)chip->pmu_bytes / 4 / step, least;
	int64_t want = min64(min64(parts, extent), words / SMALLEST_PART);

	if (!most)
		return 0;
	least = ceil_div(extent, most);
	if (vectors && count_vectors(chip, extent, max64(want, least), least))
		return count_vectors(chip, extent, max64(want, least), least);
	for (int64_t k = max64(want, least); k >= max64(least, want / 2); k--)
		if (extent % k == 0)
			return (int)k;
	want = max64(max64(want, least), 1);
	/* or a few more that are alike */
	for (int64_t k = want; k <= min64(want * 4 / 3, extent); k++)
		if (extent % k == 0)
			return (int)k;
	return (int)ceil_div(extent, ceil_div(extent, want));
}

bool parts_cut(struct backend *be, const struct tensor *t, int axis, int parts)
{
	struct residence *r = &be->residence[t->id];
	int64_t extent = axis < 0 ? 1 : t->dim[axis], step = r->words / extent;
	struct tensor x = *t;

	if (axis >= 0)
		parts_make_outermost(&x, axis);
	r->num_parts = count_parts(&be->chip, r->words, extent, parts, t->copied);
	while (axis >= 0 && r->num_parts < parts / 2) {
		int d = parts_next_axis(&x, step), n;

		if (d < 0 || x.stride[d] * x.dim[d] != step)
			break;
		n = count_parts(&be->chip, r->words, extent * x.dim[d], parts, t->copied);
		if (n && r->num_parts && (n <= r->num_parts || n % r->num_parts))
			break;
		extent *= x.dim[d];
		step = x.stride[d];
		r->num_parts = n;
	}
	if (r->num_parts)
		r->part = ceil_div(extent, r->num_parts) * step;
	return r->num_parts;
}

bool parts_cut_vectors(const struct backend *be, const struct tensor *t, int axis,
		       struct residence *r)
{
	int d = axis < 0 ? -1 : parts_vectors_dim(be, t, axis);
	int64_t n = d < 0 ? 1 : t->dim[d];

	if (d < 0 || t->dim[axis] % r->num_parts)
		return false;
	while (t->dim[d] % n || r->num_parts * n > MOST_PARTS || r->part / n < SMALLEST_PART ||
	       (t->dim[axis] > r->num_parts && t->dim[axis] / r->num_parts % n))
		if (!--n)
			return false;
	r->num_parts *= (int)n;
	r->part /= n;
	return n > 1;
}

int parts_carried(int64_t words)
{
	return (int)min64(max64(words / CARRIED_PART, 1), CARRIED_PARTS);
}

bool parts_cut_finer(const struct backend *be, const struct tensor *t, struct residence *r,
		     int times)
{
	int64_t step = 0;

	if (r->part % times || r->num_parts * times > WANTED_PARTS * be->tiles)
		return false;
	for (int d = 0; d < t->ndim; d++)
		if (t->dim[d] > 1 && t->stride[d] <= r->part / times && t->stride[d] > step)
			step = t->stride[d];
	if (!step || r->part / times % (step * be->chip.lanes))
		return false;
	r->num_parts *= times;
	r->part /= times;
	return true;
}
