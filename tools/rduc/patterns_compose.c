// SPDX-License-Identifier: MIT
/*
 * Operators that are made of others altogether: what they compute, and their gradients,
 * are those of the others.
 */
#include <math.h>
#include <string.h>
#include "window.h"

/* ---- LRN ------------------------------------------------------------------------------- */

/* x / (bias + alpha / size * sum of x^2 over size channels)^beta: the mean of a pool. */
static int lrn_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *v;
	int64_t size = attr_i(n, "size", 0), dim[4], kernel[2], pads[4] = { 0 };
	struct node *pool;

	if (dtype_is_int(x->dtype) || x->ndim < 2)
		return node_error(g, n, "not supported for %s of %d dimensions",
				  dtype_name(x->dtype), x->ndim);
	if (size < 1 || size > 1 << 16)
		return node_error(g, n, "size %lld is out of range", (long long)size);
	v = graph_op2(g, "Mul", graph_format(g, "%.200s.square", n->name), x, x);
	dim[0] = x->dim[0];
	dim[1] = 1;
	dim[2] = x->dim[1];
	dim[3] = dims_count(x->ndim - 2, x->dim + 2);
	v = graph_reshape(g, n->name, v, 4, dim);
	if (!v)
		return -1;
	kernel[0] = size;
	kernel[1] = 1;
	pads[0] = (size - 1) / 2;
	pads[2] = size - 1 - pads[0];
	pool = node_new(g, "AveragePool", graph_format(g, "%.200s.mean", n->name));
	node_input(g, pool, v);
	node_attr_ints(g, pool, "kernel_shape", 2, kernel);
	node_attr_ints(g, pool, "pads", 4, pads);
	node_attr_i(g, pool, "count_include_pad", 1);
	v = graph_reshape(g, n->name, graph_finish(g, pool), x->ndim, x->dim);
	if (!v)
		return -1;
	v = graph_op2(g, "Mul", graph_format(g, "%.200s.alpha", n->name), v,
		      graph_const_f(g, attr_f(n, "alpha", 1e-4f)));
	v = v ? graph_op2(g, "Add", graph_format(g, "%.200s.bias", n->name), v,
			  graph_const_f(g, attr_f(n, "bias", 1)))
	      : NULL;
	v = v ? graph_op2(g, "Pow", graph_format(g, "%.200s.beta", n->name), v,
			  graph_const_f(g, -attr_f(n, "beta", 0.75f)))
	      : NULL;
	return graph_replace_first(n, v ? graph_op2(g, "Mul", n->name, x, v) : NULL);
}

/* ---- Hardmax ---------------------------------------------------------------------------- */

/* One where the first largest element is. Before opset 13 of a matrix, cut at the axis. */
static int hardmax_expand(struct graph *g, struct node *n)
{
	static const float off_on[] = { 0, 1 };
	struct value *x = n->in[0], *v = x;
	int64_t axis = attr_i(n, "axis", g->opset < 13 ? 1 : -1), two = 2, dim[2] = { 1, 1 };
	struct node *m;

	if (dtype_is_int(x->dtype))
		return node_error(g, n, "not supported for %s", dtype_name(x->dtype));
	if (node_axis(g, n, &axis, x->ndim))
		return -1;
	if (g->opset < 13) {
		dim[0] = dims_count((int)axis, x->dim);
		dim[1] = dims_count(x->ndim - (int)axis, x->dim + axis);
		axis = 1;
		v = graph_reshape(g, n->name, x, 2, dim);
		if (!v)
			return -1;
	}
	m = node_new(g, "ArgMax", graph_format(g, "%.200s.where", n->name));
	node_input(g, m, v);
	node_attr_i(g, m, "axis", axis);
	node_attr_i(g, m, "keepdims", 0);
	two = v->dim[axis];
	v = graph_finish(g, m);
	if (!v)
		return -1;
	m = node_new(g, "OneHot", n->name);
	node_input(g, m, v);
	node_input(g, m, graph_const_i(g, two));
	two = 2;
	node_input(g, m, graph_const(g, RDU_DT_F32, 1, &two, off_on));
	node_attr_i(g, m, "axis", axis);
	v = graph_cast(g, n->name, graph_finish(g, m), x->dtype);
	return graph_replace_first(n, graph_reshape(g, n->name, v, x->ndim, x->dim));
}

/* ---- EyeLike ---------------------------------------------------------------------------- */

static int eye_like_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *v;
	int64_t k = attr_i(n, "k", 0), type = attr_i(n, "dtype", x->dtype), num;
	struct value *wide;
	float *p;

	if (x->ndim != 2)
		return node_error(g, n, "its input has %d dimensions, not 2", x->ndim);
	num = value_count(x);
	if (num > GRAPH_MAX_FOLD)
		return node_error(g, n, "only up to %d elements are supported", GRAPH_MAX_FOLD);
	p = graph_alloc(g, (size_t)(num + 1) * sizeof(*p));
	for (int64_t i = 0; i < x->dim[0]; i++)
		if (k >= -i && k < x->dim[1] - i)
			p[i * x->dim[1] + i + k] = 1;
	wide = graph_const(g, RDU_DT_F32, 2, x->dim, p);
	v = graph_cast(g, n->name, wide, (enum rdu_dtype)type);
	return graph_replace_first(n, v);
}

/* ---- small ones ------------------------------------------------------------------------- */

/* x / (1 + e^(-alpha x)) */
static int swish_expand(struct graph *g, struct node *n)
{
	float alpha = attr_f(n, "alpha", 1);
	struct value *x = n->in[0], *v = x;

	if (alpha != 1)
		v = graph_op2(g, "Mul", graph_format(g, "%.200s.alpha", n->name), x,
			      graph_const_f(g, alpha));
	v = graph_op1(g, "Sigmoid", graph_format(g, "%.200s.gate", n->name), v);
	return graph_replace_first(n, graph_op2(g, "Mul", n->name, x, v));
}

/* x over its norm along an axis; zeros stay zeros. */
static int lp_norm_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *norm, *none;
	int64_t axis = attr_i(n, "axis", -1), p = attr_i(n, "p", 2);
	struct node *m;

	if (p != 1 && p != 2)
		return node_error(g, n, "p %lld is not 1 or 2", (long long)p);
	if (node_axis(g, n, &axis, x->ndim))
		return -1;
	m = node_new(g, p == 1 ? "ReduceL1" : "ReduceL2", graph_format(g, "%.200s.norm", n->name));
	node_input(g, m, x);
	node_attr_ints(g, m, "axes", 1, &axis);
	norm = graph_finish(g, m);
	none = graph_cast(g, n->name, graph_const_f(g, 0), x->dtype);
	none = norm && none
		       ? graph_op2(g, "Equal", graph_format(g, "%.200s.none", n->name), norm, none)
		       : NULL;
	norm = none ? graph_op3(g, "Where", graph_format(g, "%.200s.divisor", n->name), none,
				graph_cast(g, n->name, graph_const_f(g, 1), x->dtype), norm)
		    : NULL;
	return graph_replace_first(n, norm ? graph_op2(g, "Div", n->name, x, norm) : NULL);
}

/* (sum of |x|^p over a window)^(1/p): its mean, times how many there are. */
static int lp_pool_expand(struct graph *g, struct node *n)
{
	const struct attr *a = node_attr(n, "p");
	float p = a ? (a->kind == ATTR_FLOAT ? a->f : (float)a->i) : 2;
	int num;
	const int64_t *kernel = attr_ints(n, "kernel_shape", &num);
	struct node *pool = node_new(g, "AveragePool", graph_format(g, "%.200s.mean", n->name));
	struct value *v;

	if (p < 1)
		return node_error(g, n, "p is %g", (double)p);
	v = graph_op1(g, "Abs", graph_format(g, "%.200s.abs", n->name), n->in[0]);
	v = v ? graph_op2(g, "Pow", graph_format(g, "%.200s.pow", n->name), v, graph_const_f(g, p))
	      : NULL;
	if (!v)
		return -1;
	node_input(g, pool, v);
	pool->attrs = n->attrs;
	node_attr_i(g, pool, "count_include_pad", POOL_WHOLE);
	v = graph_finish(g, pool);
	v = v ? graph_op2(g, "Mul", graph_format(g, "%.200s.sum", n->name), v,
			  graph_const_f(g, (float)dims_count(num, kernel)))
	      : NULL;
	v = v ? graph_op2(g, "Pow", n->name, v, graph_const_f(g, 1 / p)) : NULL;
	return graph_replace_first(n, v);
}

/* The same over all places of a channel. */
static int global_lp_pool_expand(struct graph *g, struct node *n)
{
	const struct attr *a = node_attr(n, "p");
	float p = a ? (a->kind == ATTR_FLOAT ? a->f : (float)a->i) : 2;
	int64_t axes[RDU_MAX_DIMS];
	struct value *v;
	int num = n->in[0]->ndim - 2;

	if (num < 1 || p < 1)
		return node_error(g, n, "of %s, with p %g", value_shape_text(g, n->in[0]),
				  (double)p);
	for (int i = 0; i < num; i++)
		axes[i] = i + 2;
	v = graph_op1(g, "Abs", graph_format(g, "%.200s.abs", n->name), n->in[0]);
	v = v ? graph_op2(g, "Pow", graph_format(g, "%.200s.pow", n->name), v, graph_const_f(g, p))
	      : NULL;
	v = v ? graph_reduce(g, "ReduceSum", graph_format(g, "%.200s.sum", n->name), v, num, axes,
			     1)
	      : NULL;
	v = v ? graph_op2(g, "Pow", n->name, v, graph_const_f(g, 1 / p)) : NULL;
	return graph_replace_first(n, v);
}

/* ---- windows ------------------------------------------------------------------------------ */

/* a0 - a1 cos(2 pi i / n) + a2 cos(4 pi i / n) */
static int window_expand(struct graph *g, struct node *n)
{
	static const struct {
		const char *op;
		double a[3];
	} windows[] = { { "HannWindow", { 0.5, 0.5, 0 } },
			{ "HammingWindow", { 25.0 / 46, 21.0 / 46, 0 } },
			{ "BlackmanWindow", { 0.42, 0.5, 0.08 } } };
	int num, k = 0;
	const int64_t *size = node_const_ints(g, n, 0, &num);
	int64_t type = attr_i(n, "output_datatype", RDU_DT_F32), count;
	struct value *v;
	double *p, period;

	if (!size)
		return -1;
	period = (double)(num == 1 ? size[0] : 0) - (attr_i(n, "periodic", 1) ? 0 : 1);
	if (num != 1 || period < 1 || size[0] > GRAPH_MAX_FOLD)
		return node_error(g, n, "a window of %lld elements is not supported",
				  num == 1 ? (long long)size[0] : 0);
	while (strcmp(windows[k].op, n->op->name))
		k++;
	count = size[0];
	p = graph_alloc(g, (size_t)count * sizeof(*p));
	for (int64_t i = 0; i < count; i++)
		p[i] = windows[k].a[0] - windows[k].a[1] * cos(2 * M_PI * (double)i / period) +
		       windows[k].a[2] * cos(4 * M_PI * (double)i / period);
	v = graph_const(g, RDU_DT_F64, 1, &count, p);
	if (dtype_is_int((enum rdu_dtype)type)) /* 1 may be a little less as a double */
		v = graph_cast(g, n->name, v, RDU_DT_F32);
	return graph_replace_first(n, graph_cast(g, n->name, v, (enum rdu_dtype)type));
}

/* ---- CenterCropPad ------------------------------------------------------------------------- */

/* Cut, or filled with zeros, on both sides alike; the odd one behind. */
static int crop_pad_expand(struct graph *g, struct node *n)
{
	struct value *v = n->in[0];
	int num, num_axes = v->ndim;
	const int64_t *size = node_const_ints(g, n, 1, &num),
		      *axes = attr_ints(n, "axes", &num_axes);
	int64_t pads[2 * RDU_MAX_DIMS] = { 0 }, both;
	struct node *m;

	if (!size)
		return -1;
	if (num != (axes ? num_axes : v->ndim))
		return node_error(g, n, "its shape has %d numbers", num);
	for (int i = 0; i < num && v; i++) {
		int64_t axis = axes ? axes[i] : i, have;

		if (node_axis(g, n, &axis, v->ndim))
			return -1;
		have = v->dim[axis];
		if (size[i] < 0 || size[i] > INT32_MAX)
			return node_error(g, n, "its shape has %lld", (long long)size[i]);
		if (size[i] < have) {
			v = graph_slice(g, n->name, v, axis, (have - size[i]) / 2, size[i], false);
			continue;
		}
		pads[axis] = (size[i] - have) / 2;
		pads[v->ndim + axis] = size[i] - have - pads[axis];
	}
	if (!v)
		return -1;
	both = 2 * v->ndim;
	m = node_new(g, "Pad", n->name);
	node_input(g, m, v);
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &both, pads));
	return graph_replace_first(n, graph_finish(g, m));
}

/* ---- RotaryEmbedding --------------------------------------------------------------------- */

/* The cosines or sines of the positions, [batch, 1, length, half]. */
static struct value *rotary_table(struct graph *g, struct node *n, struct value *table,
				  const int64_t *dim, int64_t half)
{
	struct value *at = node_in(n, 3);
	int64_t shape[4] = { dim[0], 1, dim[2], half };

	if (at)
		table = graph_op2(g, "Gather", graph_format(g, "%.200s.rows", n->name), table, at);
	if (!table)
		return NULL;
	if (table->ndim != 3 || table->dim[0] != dim[0] || table->dim[1] != dim[2] ||
	    table->dim[2] != half) {
		node_error(g, n, "its cosines or sines have shape %s", value_shape_text(g, table));
		return NULL;
	}
	return graph_reshape(g, n->name, table, 4, shape);
}

/* Part of the last of four dimensions. */
static struct value *last_part(struct graph *g, struct node *n, struct value *v, int64_t from,
			       int64_t count, int64_t step)
{
	struct node *m = node_new(g, "Slice", n->name);
	int64_t one = 1, to = from + count * step, axis = 3;

	node_input(g, m, v);
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &one, &from));
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &one, &to));
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &one, &axis));
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &one, &step));
	return graph_finish(g, m);
}

static struct value *join_last(struct graph *g, struct node *n, struct value *a, struct value *b)
{
	struct node *m = node_new(g, "Concat", n->name);

	if (!a || !b)
		return NULL;
	node_input(g, m, a);
	node_input(g, m, b);
	node_attr_i(g, m, "axis", a->ndim - 1);
	return graph_finish(g, m);
}

/* Pairs (a, b) turned: (a cos - b sin, a sin + b cos). */
static struct value *rotated(struct graph *g, struct node *n, struct value *a, struct value *b,
			     struct value *cosine, struct value *sine, bool second)
{
	struct value *p = graph_op2(g, "Mul", n->name, a, second ? sine : cosine);
	struct value *q = graph_op2(g, "Mul", n->name, b, second ? cosine : sine);

	return p ? graph_op2(g, second ? "Add" : "Sub", n->name, p, q) : NULL;
}

static int rotary_expand(struct graph *g, struct node *n)
{
	static const int64_t heads_out[] = { 0, 2, 1, 3 };
	struct value *x = n->in[0], *v = x, *a, *b, *re, *im, *c, *s;
	int64_t heads = attr_i(n, "num_heads", 0), part = attr_i(n, "rotary_embedding_dim", 0);
	bool pairs = attr_i(n, "interleaved", 0), flat = x->ndim == 3;
	int64_t dim[4], half, step = pairs ? 2 : 1, thin[5];
	struct node *m;

	if (flat && (heads < 1 || x->dim[2] % heads))
		return node_error(g, n, "num_heads %lld does not fit %s", (long long)heads,
				  value_shape_text(g, x));
	if (flat) {
		const int64_t wide[] = { x->dim[0], x->dim[1], heads, x->dim[2] / heads };

		v = graph_reshape(g, n->name, x, 4, wide);
		m = node_new(g, "Transpose", graph_format(g, "%.200s.heads", n->name));
		node_input(g, m, v);
		node_attr_ints(g, m, "perm", 4, heads_out);
		v = graph_finish(g, m);
	}
	if (!v || v->ndim != 4)
		return node_error(g, n, "its input has shape %s", value_shape_text(g, x));
	memcpy(dim, v->dim, sizeof(dim));
	part = part ? part : dim[3];
	half = part / 2;
	if (part < 2 || part % 2 || part > dim[3])
		return node_error(g, n, "it turns %lld of %lld elements", (long long)part,
				  (long long)dim[3]);
	c = rotary_table(g, n, n->in[1], dim, half);
	s = c ? rotary_table(g, n, n->in[2], dim, half) : NULL;
	a = s ? last_part(g, n, v, 0, half, step) : NULL;
	b = a ? last_part(g, n, v, pairs ? 1 : half, half, step) : NULL;
	re = b ? rotated(g, n, a, b, c, s, false) : NULL;
	im = re ? rotated(g, n, a, b, c, s, true) : NULL;
	if (im && pairs) { /* side by side again */
		memcpy(thin, dim, sizeof(dim));
		thin[3] = half;
		thin[4] = 1;
		re = graph_reshape(g, n->name, re, 5, thin);
		im = graph_reshape(g, n->name, im, 5, thin);
		thin[3] = part;
		a = graph_reshape(g, n->name, join_last(g, n, re, im), 4, thin);
	} else {
		a = join_last(g, n, re, im);
	}
	if (a && part < dim[3])
		a = join_last(g, n, a, last_part(g, n, v, part, dim[3] - part, 1));
	if (a && flat) {
		m = node_new(g, "Transpose", n->name);
		node_input(g, m, a);
		node_attr_ints(g, m, "perm", 4, heads_out);
		a = graph_reshape(g, n->name, graph_finish(g, m), 3, x->dim);
	}
	return graph_replace_first(n, a);
}

#define EXPAND(onnx, lo, hi, fn)                                                     \
	{                                                                            \
		.name = onnx, .min_in = lo, .max_in = hi, .max_out = 1, .expand = fn \
	}

const struct op ops_compose[] = {
	EXPAND("LRN", 1, 1, lrn_expand),
	EXPAND("Hardmax", 1, 1, hardmax_expand),
	EXPAND("EyeLike", 1, 1, eye_like_expand),
	EXPAND("Swish", 1, 1, swish_expand),
	EXPAND("HannWindow", 1, 1, window_expand),
	EXPAND("HammingWindow", 1, 1, window_expand),
	EXPAND("BlackmanWindow", 1, 1, window_expand),
	EXPAND("CenterCropPad", 2, 2, crop_pad_expand),
	EXPAND("LpPool", 1, 1, lp_pool_expand),
	EXPAND("GlobalLpPool", 1, 1, global_lp_pool_expand),
	EXPAND("LpNormalization", 1, 1, lp_norm_expand),
	EXPAND("RotaryEmbedding", 3, 4, rotary_expand),
	{ 0 },
};
