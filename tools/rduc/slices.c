// SPDX-License-Identifier: MIT
/*
 * Slices: what an iteration of a group's loops reads and writes of a tensor. A nest that reads a
 * window at the border of its slice wants elements of the neighbouring ones. It lags behind who makes
 * them, so that those behind its slice are there; those in front of it still are where that slice is, or are
 * made again.
 */
#include "pipe.h"

/* Of a slice, at most one part in so many is what neighbours want, too. */
#define LEAST_HALO_SHARE 4

int64_t slice_step(const struct access *a, int d)
{
	int64_t s = 0;

	for (int k = 0; k < a->tensor->ndim; k++)
		s += a->coef[k][d] * a->tensor->stride[k];
	return s;
}

int slice_along(const struct nest *n, const struct access *a)
{
	for (int d = 0; d < n->ndim; d++)
		if (slice_step(a, d) == 1 && n->dim[d].extent > 1)
			return d;
	return -1;
}

static bool is_last(const struct slicing *s, int i)
{
	return i + 1 == s->num;
}

/* The indices of dimension d in iteration 0. False: it is none of the loops'. */
static bool first_steps(const struct nest *n, const struct slicing *s, int d, int64_t *from,
			int64_t *to)
{
	*from = 0;
	*to = n->dim[d].extent - 1;
	for (int i = 0; i < s->num; i++)
		if (s->dim[i] == d) {
			*from = is_last(s, i) ? -s->again : 0;
			*to = is_last(s, i) ? s->inner - 1 : 0;
			return true;
		}
	return false;
}

/* Positions along axis k of a tensor that an access touches in iteration 0: all of them where an index picks them. */
static void axis_reach(const struct nest *n, const struct access *a, int k, const struct slicing *s,
		       int64_t *lo, int64_t *hi)
{
	bool moves = false;

	if (a->gather_in >= 0 && a->gather_dim == k) {
		*lo = 0;
		*hi = a->tensor->dim[k] - 1;
		return;
	}
	*lo = *hi = a->offset[k];
	for (int d = 0; d < n->ndim; d++) {
		int64_t from, to, c = a->coef[k][d];

		if (!c)
			continue;
		moves |= first_steps(n, s, d, &from, &to);
		*lo += c * (c < 0 ? to : from);
		*hi += c * (c < 0 ? from : to);
	}
	if (a->guarded && !moves) {
		*lo = max64(*lo, 0);
		*hi = min64(*hi, a->tensor->dim[k] - 1);
	}
}

bool slice_reach(const struct nest *n, const struct access *a, int64_t slice,
		 const struct slicing *s, int64_t *before, int64_t *after)
{
	int64_t lo = 0, hi = 0, expected = slice;

	for (int d = 0; d < n->ndim && a->gather_in >= 0; d++)
		if (a->coef[a->gather_dim][d]) /* it goes on by more than an index */
			return false;
	for (int i = s->num - 1; i >= 0; i--) {
		int64_t inner = is_last(s, i) ? s->inner : 1;

		if (slice_step(a, s->dim[i]) * inner != expected)
			return false;
		expected *= n->dim[s->dim[i]].extent / inner;
	}
	for (int k = 0; k < a->tensor->ndim; k++) {
		int64_t from, to;

		axis_reach(n, a, k, s, &from, &to);
		lo += from * a->tensor->stride[k];
		hi += to * a->tensor->stride[k];
	}
	*before = max64(-lo, 0);
	*after = max64(hi + 1 - slice, 0);
	return expected == be_words(a->tensor);
}

bool slice_only(const struct nest *n, const struct access *a, int64_t slice,
		const struct slicing *s)
{
	int64_t before, after;

	return !a->guarded && slice_reach(n, a, slice, s, &before, &after) && !before && !after;
}

/* Do the outer loops leave alone the axis that the last of them steps along? Else what is beyond its first and last
 * step is another row's, which is not made then. */
static bool ends_at_border(const struct access *a, const struct slicing *s)
{
	for (int k = 0; k < a->tensor->ndim; k++)
		for (int i = 0; i + 1 < s->num && a->coef[k][s->dim[s->num - 1]]; i++)
			if (a->coef[k][s->dim[i]])
				return false;
	return true;
}

bool slice_nearly(const struct nest *n, const struct access *a, int64_t slice,
		  const struct slicing *s)
{
	int64_t before, after;

	return slice_reach(n, a, slice, s, &before, &after) &&
	       ((!before && !after) || ends_at_border(a, s)) &&
	       (before + after) * LEAST_HALO_SHARE <= slice;
}

bool slice_loops(const struct nest *n, const struct access *a, int64_t slice, struct slicing *s)
{
	int64_t left = be_words(a->tensor);

	*s = (struct slicing){ .inner = 1 };
	while (left > slice) {
		int at = -1;

		for (int d = 0; d < n->ndim; d++)
			if (!n->dim[d].reduce && n->dim[d].extent > 1 && d != nest_carried(n) &&
			    slice_step(a, d) * n->dim[d].extent == left)
				at = d;
		if (at < 0)
			return false;
		left = slice_step(a, at);
		if (left < slice) {
			if (slice % left || n->dim[at].extent % (slice / left))
				return false;
			s->inner = slice / left;
			left = slice;
		}
		s->dim[s->num++] = at;
	}
	return s->num && slice_nearly(n, a, slice, s);
}

int64_t slice_axis_step(const struct tensor *t, int64_t slice)
{
	int64_t step = 1;

	for (int d = 0; d < t->ndim; d++)
		if (t->dim[d] > 1 && t->stride[d] < slice && t->stride[d] > step)
			step = t->stride[d];
	return step;
}

/* Is all that an access touches in front of the first step of dimension d, and behind its last one, beyond
 * its tensor? */
static bool ends_with(const struct nest *n, const struct access *a, int d)
{
	for (int k = 0; k < a->tensor->ndim; k++) {
		int64_t c = a->coef[k][d], lo, hi;

		pipe_range_of(n, a, k, &lo, &hi);
		if (c > 0 && hi - c * n->dim[d].extent < 0 &&
		    lo + c * n->dim[d].extent >= a->tensor->dim[k])
			return true;
	}
	return false;
}

bool slice_can_lag(const struct nest *n, const struct slicing *s)
{
	int last = s->dim[s->num - 1];

	if (nest_counts(n, last) || n->ndim == NEST_MAX_DIMS)
		return false;
	for (int i = 0; i < n->num_expr; i++) /* it may trap beyond its own points */
		if (n->expr[i].kind == EXPR_LIVE)
			return false;
	for (int i = 0; i < n->num_out; i++)
		if (!ends_with(n, &n->out[i].access, last))
			return false;
	return true;
}

/* A value for elements beyond a tensor, of which nobody reads what is made: one that its nest's sum,
 * or maximum, may have. */
static uint32_t pad_beyond(const struct nest *n)
{
	return n->reduce == REDUCE_MAX ? 0xff800000u : n->reduce == REDUCE_MIN ? 0x7f800000u : 0;
}

/* Steps d, of slices, and `inner`, within one, go on before the first and behind the last. */
static void lag_behind(struct nest *n, int d, int inner, const struct slicing *s, int64_t more)
{
	n->dim[d].extent += more;
	n->dim[inner].extent += s->again;
	for (int i = 0; i < n->num_in + n->num_out; i++) {
		struct access *a = i < n->num_in ? &n->in[i] : &n->out[i - n->num_in].access;
		bool moves = false;

		for (int k = 0; k < a->tensor->ndim; k++) {
			moves |= a->coef[k][d];
			a->offset[k] -= (int32_t)(a->coef[k][inner] * (s->lag + s->again));
		}
		if (moves && !a->guarded) {
			a->guarded = true;
			a->pad = pad_beyond(n);
		}
	}
}

void slice_share(struct nest *n, const struct slicing *s, int group, int64_t more)
{
	int last = s->dim[s->num - 1];

	n->group = group;
	if (s->inner > 1 || more || s->again)
		nest_cut_dim(n, last, s->inner);
	for (int i = 0; i < s->num; i++)
		n->dim[s->dim[i]].shared = i + 1;
	if (more || s->again)
		lag_behind(n, last, n->ndim - 1, s, more);
}
