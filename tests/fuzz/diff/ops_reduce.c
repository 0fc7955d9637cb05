// SPDX-License-Identifier: MIT
/* Reductions, normalizations, running sums, and index searches. */
#include <math.h>
#include <string.h>
#include "diff.h"

static bool has_dims(const struct val *v)
{
	return is_float(v) && v->ndim > 0 && count_of(v) <= 65536;
}

static bool exact_dims(const struct val *v)
{
	return has_dims(v) && is_exact(v);
}

static bool integer_dims(const struct val *v)
{
	return (v->type == RDU_DT_I64 || v->type == RDU_DT_I32) && v->ndim > 0;
}

static int64_t named_axis(int axis, int ndim)
{
	return chance(3) ? axis - ndim : axis;
}

static void bounds(struct val *v, double unit, double mag)
{
	v->unit = unit;
	v->mag = mag;
	if (!is_exact(v))
		v->unit = 0;
}

/* Axes to reduce; returns the extent of all of them. */
static int64_t choose_axes(const struct val *v, bool *reduced, int64_t *axes, int *num)
{
	int64_t n = 1;
	bool all = chance(4);

	*num = 0;
	for (int d = 0; d < v->ndim; d++) {
		reduced[d] = all || (chance(2) ? !*num : (d == v->ndim - 1 && !*num));
		if (reduced[d]) {
			axes[(*num)++] = named_axis(d, v->ndim);
			n *= v->dim[d];
		}
	}
	return n;
}

static int reduced_out(struct model *m, int a, const bool *reduced, bool keep, enum rdu_dtype type)
{
	int64_t dim[RDU_MAX_DIMS];
	int nd = 0;

	for (int d = 0; d < m->val[a].ndim; d++)
		if (!reduced[d])
			dim[nd++] = m->val[a].dim[d];
		else if (keep)
			dim[nd++] = 1;
	return value_new(m, type, nd, dim);
}

static bool make_reduce(struct model *m)
{
	static const char *const ops[] = { "ReduceSum", "ReduceMax",	   "ReduceMean",
					   "ReduceMin", "ReduceSumSquare", "ReduceL1",
					   "ReduceL2",	"ReduceLogSumExp", "ReduceLogSum" };
	uint32_t k = pick(m->data == DATA_LIMITS ? 4 : 9);
	int a = some_value(m, (k == 0 || k == 1 || k == 3) && chance(4) ? integer_dims : has_dims);
	bool reduced[RDU_MAX_DIMS], keep = !chance(2), by_input;
	int64_t axes[RDU_MAX_DIMS], n;
	double mag, unit;
	struct op_node *node;
	int num, out;

	if (a < 0)
		return false;
	if (m->data == DATA_LIMITS) /* of a sum, the order would matter */
		k |= 1;
	if (k >= 4)
		a = tamed(m, a, 16);
	mag = m->val[a].mag;
	unit = m->val[a].unit;
	n = choose_axes(&m->val[a], reduced, axes, &num);
	if (k == 8) { /* the logarithm of something above zero */
		int b = value_like(m, a, m->val[a].ndim, m->val[a].dim);
		int c = value_like(m, a, m->val[a].ndim, m->val[a].dim);

		node_simple(m, "Abs", a, -1, b);
		inexact(&m->val[c], mag + 0.5);
		node_simple(m, "Add", b, value_float(m, 0.5f), c);
		a = c;
	}
	if (m->val[a].type != RDU_DT_F32 && mag * (double)n > 1e9 && m->data != DATA_LIMITS)
		return false;
	out = reduced_out(m, a, reduced, keep, m->val[a].type);
	switch (k) {
	case 0:
	case 5:
		bounds(&m->val[out], unit, mag * (double)n);
		break;
	case 2:
		bounds(&m->val[out], n & (n - 1) ? 0 : unit / (double)n, mag);
		break;
	case 4:
		bounds(&m->val[out], unit * unit, mag * mag * (double)n);
		break;
	case 1:
	case 3:
		bounds(&m->val[out], unit, mag);
		break;
	default:
		inexact(&m->val[out], mag * (double)n + 1);
	}
	node = node_simple(m, ops[k], a, -1, out);
	by_input = k == 0 || m->opset >= 18;
	if (num < m->val[a].ndim || chance(2)) {
		if (by_input)
			op_in(node, value_ints(m, num, axes));
		else
			set_list(node, "axes", num, axes);
	}
	if (!keep || chance(3))
		set_int(node, "keepdims", keep);
	return true;
}

static bool make_arg(struct model *m)
{
	int a = some_value(m, exact_dims), axis, out;
	bool reduced[RDU_MAX_DIMS] = { false }, keep = !chance(2);
	struct op_node *n;

	if (a < 0)
		return false;
	axis = (int)pick((uint32_t)m->val[a].ndim);
	reduced[axis] = true;
	out = reduced_out(m, a, reduced, keep, RDU_DT_I64);
	m->val[out].mag = (double)m->val[a].dim[axis];
	n = node_simple(m, chance(2) ? "ArgMin" : "ArgMax", a, -1, out);
	if (axis || chance(2))
		set_int(n, "axis", named_axis(axis, m->val[a].ndim));
	if (!keep)
		set_int(n, "keepdims", 0);
	if (chance(2))
		set_int(n, "select_last_index", 1);
	return true;
}

static bool make_softmax(struct model *m)
{
	int a = some_value(m, has_dims), out, axis;
	bool log = chance(3);
	struct op_node *n;

	if (a < 0 || m->data == DATA_LIMITS)
		return false;
	a = tamed(m, a, 20);
	axis = (int)pick((uint32_t)m->val[a].ndim);
	out = value_like(m, a, m->val[a].ndim, m->val[a].dim);
	inexact(&m->val[out], log ? 50 : 1);
	n = node_simple(m, log ? "LogSoftmax" : "Softmax", a, -1, out);
	if (axis != m->val[a].ndim - 1 || chance(2))
		set_int(n, "axis", named_axis(axis, m->val[a].ndim));
	return true;
}

static bool make_layer_norm(struct model *m)
{
	int a = some_value(m, has_dims), out, axis, scale, bias = -1, nd;
	struct op_node *n;

	if (a < 0 || m->data == DATA_LIMITS || m->opset < 17)
		return false;
	a = tamed(m, a, 100);
	nd = m->val[a].ndim;
	axis = nd - 1 - (int)pick((uint32_t)nd);
	/* One element is its own mean: what is left is nothing but rounding. */
	scale = value_source(m, RDU_DT_F32, nd - axis, m->val[a].dim + axis, true);
	if (count_of(&m->val[scale]) < 3)
		return false;
	if (chance(2))
		bias = value_source(m, RDU_DT_F32, nd - axis, m->val[a].dim + axis, true);
	out = value_like(m, a, nd, m->val[a].dim);
	inexact(&m->val[out], 100);
	n = node_simple(m, "LayerNormalization", a, scale, out);
	if (bias >= 0)
		op_in(n, bias);
	if (axis != nd - 1 || chance(2))
		set_int(n, "axis", named_axis(axis, nd));
	if (!chance(3))
		set_float(n, "epsilon", 0.125f);
	return true;
}

static bool channels(const struct val *v)
{
	return is_float(v) && v->ndim >= 3 && v->ndim <= 5 && count_of(v) <= 16384;
}

static bool make_norm(struct model *m)
{
	int a = some_value(m, channels), out, scale, bias, mean = -1, var = -1;
	bool batch = !chance(2);
	struct op_node *n;

	if (a < 0 || m->data == DATA_LIMITS)
		return false;
	a = tamed(m, a, 100);
	scale = value_source(m, RDU_DT_F32, 1, &m->val[a].dim[1], true);
	bias = value_source(m, RDU_DT_F32, 1, &m->val[a].dim[1], true);
	if (batch) { /* a variance is not negative: |raw| + 1/2 */
		int raw = value_source(m, RDU_DT_F32, 1, &m->val[a].dim[1], true);
		int pos = value_like(m, raw, 1, &m->val[a].dim[1]);

		mean = value_source(m, RDU_DT_F32, 1, &m->val[a].dim[1], true);
		var = value_like(m, raw, 1, &m->val[a].dim[1]);
		inexact(&m->val[var], m->val[raw].mag + 0.5);
		node_simple(m, "Abs", raw, -1, pos);
		node_simple(m, "Add", pos, value_float(m, 0.5f), var);
	}
	out = value_like(m, a, m->val[a].ndim, m->val[a].dim);
	inexact(&m->val[out], 1000);
	n = node_simple(m, batch ? "BatchNormalization" : "InstanceNormalization", a, scale, out);
	op_in(n, bias);
	if (batch) {
		op_in(n, mean);
		op_in(n, var);
	}
	if (chance(2))
		set_float(n, "epsilon", 0.25f);
	return true;
}

static bool make_cumsum(struct model *m)
{
	int a = some_value(m, has_dims), out, axis, k;
	struct op_node *n;
	int64_t named;

	if (a < 0 || m->data == DATA_LIMITS || m->opset < 14)
		return false;
	axis = (int)pick((uint32_t)m->val[a].ndim);
	out = value_like(m, a, m->val[a].ndim, m->val[a].dim);
	bounds(&m->val[out], m->val[a].unit, m->val[a].mag * (double)m->val[a].dim[axis]);
	if (m->val[out].mag > 1e6)
		return false;
	named = named_axis(axis, m->val[a].ndim);
	k = value_ints(m, 1, &named);
	m->val[k].ndim = 0;
	n = node_simple(m, "CumSum", a, k, out);
	if (chance(2))
		set_int(n, "exclusive", 1);
	if (chance(2))
		set_int(n, "reverse", 1);
	return true;
}

static bool make_global_pool(struct model *m)
{
	static const char *const ops[] = { "GlobalAveragePool", "GlobalMaxPool" };
	int a = some_value(m, channels), out;
	uint32_t k = pick(2);
	int64_t dim[RDU_MAX_DIMS], n = 1;

	if (a < 0)
		return false;
	if (m->data == DATA_LIMITS)
		k = 1;
	for (int d = 0; d < m->val[a].ndim; d++) {
		dim[d] = d < 2 ? m->val[a].dim[d] : 1;
		n *= d < 2 ? 1 : m->val[a].dim[d];
	}
	out = value_like(m, a, m->val[a].ndim, dim);
	if (!k)
		bounds(&m->val[out], n & (n - 1) ? 0 : m->val[a].unit / (double)n, m->val[a].mag);
	node_simple(m, ops[k], a, -1, out);
	return true;
}

static bool make_onehot(struct model *m)
{
	int64_t idim[2], dim[3], depth = 1 + pick(6), pair[2] = { 1, 2 };
	int nd = 1 + (int)pick(2), at = 0, index, values, out, axis, d;
	struct op_node *n;

	for (int i = 0; i < nd; i++)
		idim[i] = 1 + pick(7);
	axis = (int)pick((uint32_t)nd + 1);
	for (int i = 0; i <= nd; i++)
		dim[i] = i == axis ? depth : idim[at++];
	index = value_source(m, RDU_DT_I64, nd, idim, false);
	m->val[index].below = depth;
	m->val[index].negative = chance(2);
	values = value_source(m, RDU_DT_F32, 1, &pair[1], true);
	d = value_ints(m, 1, &depth);
	if (chance(2))
		m->val[d].ndim = 0;
	out = value_new(m, RDU_DT_F32, nd + 1, dim);
	m->val[out].unit = m->val[values].unit;
	m->val[out].mag = m->val[values].mag;
	n = node_simple(m, "OneHot", index, d, out);
	op_in(n, values);
	if (axis != nd || chance(2))
		set_int(n, "axis", named_axis(axis, nd + 1));
	return true;
}

const make_op makers_reduce[] = {
	make_reduce, make_softmax, make_arg,	     make_reduce, make_layer_norm, make_norm,
	make_cumsum, make_reduce,  make_global_pool, make_onehot, make_pool,
};
const int num_makers_reduce = sizeof(makers_reduce) / sizeof(makers_reduce[0]);
