// SPDX-License-Identifier: MIT
/* Elements by computed places, and the largest of them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "diff.h"

#define MAX_PLACES 96

static bool indexed(const struct val *v)
{
	return v->ndim > 0 && v->ndim <= 4 && count_of(v) <= 4096 && v->type != RDU_DT_BF16;
}

static bool numbers(const struct val *v)
{
	return indexed(v) &&
	       (v->type == RDU_DT_F32 || v->type == RDU_DT_I64 || v->type == RDU_DT_I32);
}

static bool exact_numbers(const struct val *v)
{
	return numbers(v) && is_exact(v);
}

/* An input or an initializer of these numbers. */
static int places(struct model *m, enum rdu_dtype type, int nd, const int64_t *dim, const double *x)
{
	int v = value_numbers(m, type, nd, dim, x);

	if (chance(2)) {
		m->val[v].init = false;
		m->val[v].input = true;
	}
	return v;
}

/* A place on an axis, or the same from behind. */
static double named_place(int64_t at, int64_t extent, bool negative)
{
	return (double)(negative && chance(2) ? at - extent : at);
}

static bool make_gather_nd(struct model *m)
{
	int a = some_value(m, indexed), nd, batch, k, inner, in = 0, out = 0, index;
	int64_t idim[RDU_MAX_DIMS], dim[RDU_MAX_DIMS], num = 1;
	bool negative = chance(2);
	double x[MAX_PLACES];

	if (a < 0)
		return false;
	nd = m->val[a].ndim;
	batch = chance(3) ? (int)pick((uint32_t)nd) : 0;
	k = 1 + (int)pick((uint32_t)(nd - batch));
	inner = (int)pick(3);
	for (int d = 0; d < batch; d++)
		idim[in++] = m->val[a].dim[d];
	for (int d = 0; d < inner; d++)
		idim[in++] = 1 + pick(5);
	memcpy(dim, idim, sizeof(dim));
	out = in;
	idim[in++] = k;
	for (int d = batch + k; d < nd; d++)
		dim[out++] = m->val[a].dim[d];
	for (int d = 0; d < in; d++)
		num *= idim[d];
	if (out > 5 || num > MAX_PLACES)
		return false;
	for (int64_t i = 0; i < num; i++) {
		int64_t extent = m->val[a].dim[batch + i % k];

		x[i] = named_place(pick((uint32_t)extent), extent, negative);
	}
	index = places(m, RDU_DT_I64, in, idim, x);
	set_int(node_simple(m, "GatherND", a, index, value_like(m, a, out, dim)), "batch_dims",
		batch);
	return true;
}

enum join { JOIN_NONE, JOIN_ADD, JOIN_MUL, JOIN_MAX, JOIN_MIN };
static const char *const joins[] = { "none", "add", "mul", "max", "min" };

/* With what a scatter joins what it writes: at most `times` of them meet an element of `to`. */
static bool choose_join(struct model *m, int to, int64_t times, enum join *how)
{
	int from = m->opset < 16 ? 1 : m->opset < 18 ? 3 : 5;

	*how = chance(2) ? (enum join)pick((uint32_t)from) : JOIN_NONE;
	if (*how == JOIN_NONE)
		return true;
	if (!numbers(&m->val[to]) || (m->data == DATA_LIMITS && *how != JOIN_NONE))
		return false;
	return *how != JOIN_MUL || times <= 4;
}

static int scattered(struct model *m, int to, int from, int64_t times, enum join how)
{
	int out = value_like(m, to, m->val[to].ndim, m->val[to].dim);
	struct val *v = &m->val[out], *w = &m->val[from];

	v->unit = finer(v->unit, w->unit);
	if (how == JOIN_ADD)
		v->mag += w->mag * (double)times;
	else if (how == JOIN_MUL)
		inexact(v, v->mag * pow(fmax(w->mag, 1), (double)times));
	else
		v->mag = fmax(v->mag, w->mag);
	if (!is_exact(v))
		v->unit = 0;
	return out;
}

static void scatter_node(struct model *m, const char *op, int a, int index, int updates, int out,
			 enum join how)
{
	struct op_node *n = node_simple(m, op, a, index, out);

	op_in(n, updates);
	if (how)
		set_text(n, "reduction", joins[how]);
}

static bool make_scatter_nd(struct model *m)
{
	int a = some_value(m, indexed), nd, k, inner, in = 0, un, index, updates;
	int64_t idim[RDU_MAX_DIMS], udim[RDU_MAX_DIMS], num = 1, room = 1, taken[MAX_PLACES];
	bool negative = chance(2);
	double x[MAX_PLACES];
	enum join how;

	if (a < 0)
		return false;
	nd = m->val[a].ndim;
	k = 1 + (int)pick((uint32_t)nd);
	inner = (int)pick(3);
	for (int d = 0; d < inner; d++)
		num *= idim[in++] = 1 + pick(5);
	memcpy(udim, idim, sizeof(udim));
	un = in;
	for (int d = k; d < nd; d++)
		udim[un++] = m->val[a].dim[d];
	idim[in++] = k;
	for (int d = 0; d < k; d++)
		room *= m->val[a].dim[d];
	if (un > 5 || num * k > MAX_PLACES || !choose_join(m, a, num, &how) || (!how && num > room))
		return false;
	for (int64_t i = 0; i < num; i++) {
		int64_t at = pick((uint32_t)room);

		/* Of two that go to one place, which comes last is open. */
		for (int64_t j = 0; !how && j < i; j++)
			if (taken[j] == at) {
				at = (at + 1) % room;
				j = -1;
			}
		taken[i] = at;
		for (int d = k - 1; d >= 0; d--) {
			int64_t extent = m->val[a].dim[d];

			x[i * k + d] = named_place(at % extent, extent, negative);
			at /= extent;
		}
	}
	index = places(m, RDU_DT_I64, in, idim, x);
	updates = value_source(m, m->val[a].type, un, udim, chance(3));
	scatter_node(m, "ScatterND", a, index, updates, scattered(m, a, updates, num, how), how);
	return true;
}

static bool make_scatter_elements(struct model *m)
{
	int a = some_value(m, indexed), nd, axis, index, updates, out;
	int64_t idim[RDU_MAX_DIMS], num = 1, extent, times, after = 1;
	bool negative = chance(2);
	double x[MAX_PLACES];
	enum join how;
	struct op_node *n;

	if (a < 0)
		return false;
	nd = m->val[a].ndim;
	axis = (int)pick((uint32_t)nd);
	extent = m->val[a].dim[axis];
	times = 1 + pick((uint32_t)extent);
	if (!choose_join(m, a, times, &how))
		return false;
	if (how)
		times = 1 + pick(4);
	for (int d = 0; d < nd; d++) {
		idim[d] = d == axis ? times : 1 + pick((uint32_t)m->val[a].dim[d]);
		num *= idim[d];
		after *= d > axis ? idim[d] : 1;
	}
	if (num > MAX_PLACES)
		return false;
	for (int64_t i = 0; i < num; i++) {
		int64_t row = i / after % times, at = pick((uint32_t)extent);

		if (!how && row) /* beside the one before, so that no two meet */
			at = ((int64_t)x[i - after] + (x[i - after] < 0 ? extent : 0) + 1) % extent;
		x[i] = named_place(at, extent, negative);
	}
	index = places(m, chance(3) ? RDU_DT_I32 : RDU_DT_I64, nd, idim, x);
	updates = value_source(m, m->val[a].type, nd, idim, chance(3));
	out = scattered(m, a, updates, times, how);
	scatter_node(m, "ScatterElements", a, index, updates, out, how);
	n = &m->node[m->num_nodes - 1];
	if (axis || chance(2))
		set_int(n, "axis", chance(3) ? axis - nd : axis);
	return true;
}

static bool make_top_k(struct model *m)
{
	int a = some_value(m, exact_numbers), nd, axis, values, indices = -1;
	int64_t dim[RDU_MAX_DIMS], k;
	struct op_node *n;

	if (a < 0)
		return false;
	nd = m->val[a].ndim;
	axis = chance(2) ? (int)pick((uint32_t)nd) : nd - 1;
	memcpy(dim, m->val[a].dim, sizeof(dim));
	k = dim[axis] = 1 + pick((uint32_t)dim[axis]);
	values = value_like(m, a, nd, dim);
	indices = value_new(m, RDU_DT_I64, nd, dim);
	m->val[indices].mag = (double)m->val[a].dim[axis];
	n = node_simple(m, "TopK", a, value_ints(m, 1, &k), values);
	op_out(m, n, indices);
	if (axis != nd - 1 || chance(2))
		set_int(n, "axis", chance(3) ? axis - nd : axis);
	if (chance(2))
		set_int(n, "largest", 0);
	return true;
}

static bool batched(const struct val *v)
{
	return v->ndim >= 2 && v->ndim <= 4 && count_of(v) <= 4096 && v->type != RDU_DT_BF16;
}

static bool make_reverse_sequence(struct model *m)
{
	int a = some_value(m, batched), lengths;
	bool swapped = chance(2);
	double x[MAX_PLACES];
	int64_t batch, time;
	struct op_node *n;

	if (a < 0)
		return false;
	batch = m->val[a].dim[swapped ? 0 : 1];
	time = m->val[a].dim[swapped ? 1 : 0];
	if (batch > MAX_PLACES)
		return false;
	for (int64_t i = 0; i < batch; i++)
		x[i] = 1 + (double)pick((uint32_t)time);
	lengths = places(m, RDU_DT_I64, 1, &batch, x);
	n = node_simple(m, "ReverseSequence", a, lengths,
			value_like(m, a, m->val[a].ndim, m->val[a].dim));
	set_int(n, "batch_axis", swapped ? 0 : 1);
	set_int(n, "time_axis", swapped ? 1 : 0);
	return true;
}

const make_op makers_index[] = {
	make_gather_nd, make_scatter_nd, make_top_k, make_scatter_elements, make_reverse_sequence,
};
const int num_makers_index = sizeof(makers_index) / sizeof(makers_index[0]);
