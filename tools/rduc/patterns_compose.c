// SPDX-License-Identifier: MIT
/*
 * Operators that are made of others altogether: what they compute, and their gradients,
 * are those of the others.
 */
#include <string.h>
#include "graph.h"

static struct value *scalar_int(struct graph *g, int64_t v)
{
	return graph_const(g, RDU_DT_I64, 0, NULL, &v);
}

static struct value *cast(struct graph *g, const char *name, struct value *v, enum rdu_dtype to)
{
	struct node *m = node_new(g, "Cast", name);

	if (!v)
		return NULL;
	if (v->dtype == to)
		return v;
	node_input(g, m, v);
	node_attr_i(g, m, "to", to);
	return graph_finish(g, m);
}

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
	node_input(g, m, scalar_int(g, two));
	two = 2;
	node_input(g, m, graph_const(g, RDU_DT_F32, 1, &two, off_on));
	node_attr_i(g, m, "axis", axis);
	v = cast(g, n->name, graph_finish(g, m), x->dtype);
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
	v = cast(g, n->name, wide, (enum rdu_dtype)type);
	return graph_replace_first(n, v);
}

/* ---- quantization ------------------------------------------------------------------------ */

/* A scale or zero point an element of the axis, or one of all, to multiply x with. */
static struct value *along_axis(struct graph *g, struct node *n, struct value *v)
{
	int64_t axis = attr_i(n, "axis", 1), dim[RDU_MAX_DIMS];
	struct value *x = n->in[0];

	if (value_count(v) == 1)
		return graph_reshape(g, n->name, v, 0, dim);
	if (attr_i(n, "block_size", 0) || v->ndim != 1) {
		node_error(g, n, "'%s' has shape %s: blocks are not supported", v->name,
			   value_shape_text(g, v));
		return NULL;
	}
	if (node_axis(g, n, &axis, x->ndim))
		return NULL;
	if (v->dim[0] != x->dim[axis]) {
		node_error(g, n, "'%s' has shape %s, the axis %lld elements", v->name,
			   value_shape_text(g, v), (long long)x->dim[axis]);
		return NULL;
	}
	for (int i = 0; i < x->ndim; i++)
		dim[i] = i == axis ? x->dim[axis] : 1;
	return graph_reshape(g, n->name, v, x->ndim, dim);
}

static int quantization_types(struct graph *g, struct node *n, const struct value *real)
{
	struct value *zero = node_in(n, 2);

	if (real->dtype != RDU_DT_F32 || n->in[1]->dtype != RDU_DT_F32)
		return node_error(g, n, "only of float supported");
	if (zero && value_count(zero) != value_count(n->in[1]))
		return node_error(g, n, "its scale has shape %s, its zero point %s",
				  value_shape_text(g, n->in[1]), value_shape_text(g, zero));
	return 0;
}

static int quantize_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *zero = node_in(n, 2), *s, *v, *lo, *hi;
	int64_t type = attr_i(n, "output_dtype", 0);
	int32_t limit[2];

	if (dtype_is_int(x->dtype))
		x = cast(g, graph_format(g, "%.200s.float", n->name), x, RDU_DT_F32);
	if (!x || quantization_types(g, n, x))
		return -1;
	if (attr_i(n, "precision", RDU_DT_F32) != RDU_DT_F32 && attr_i(n, "precision", 0))
		return node_error(g, n, "a precision other than float is not supported");
	if (zero && type && type != zero->dtype)
		return node_error(g, n, "output_dtype is not the zero point's");
	type = zero ? zero->dtype : type ? type : RDU_DT_U8;
	if (type != RDU_DT_U8 && type != RDU_DT_I8)
		return node_error(g, n, "only to uint8 and int8 supported");
	s = along_axis(g, n, n->in[1]);
	v = s ? graph_op2(g, "RoundQuotient", graph_format(g, "%.200s.round", n->name), x, s)
	      : NULL;
	if (v && zero) {
		zero = along_axis(g, n, zero);
		zero = cast(g, graph_format(g, "%.200s.zero", n->name), zero, RDU_DT_I32);
		v = zero ? graph_op2(g, "Add", graph_format(g, "%.200s.add", n->name), v, zero)
			 : NULL;
	}
	if (!v)
		return -1;
	limit[0] = type == RDU_DT_U8 ? 0 : -128;
	limit[1] = type == RDU_DT_U8 ? 255 : 127;
	lo = graph_const(g, RDU_DT_I32, 0, NULL, &limit[0]);
	hi = graph_const(g, RDU_DT_I32, 0, NULL, &limit[1]);
	v = graph_op2(g, "Min", graph_format(g, "%.200s.min", n->name), v, hi);
	v = v ? graph_op2(g, "Max", graph_format(g, "%.200s.max", n->name), v, lo) : NULL;
	return graph_replace_first(n, cast(g, n->name, v, (enum rdu_dtype)type));
}

/* (x - zero) * scale: the difference in int32, so exact. */
static int dequantize_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *zero = node_in(n, 2), *s, *v;

	if (!dtype_is_int(x->dtype) || x->dtype == RDU_DT_BOOL)
		return node_error(g, n, "not supported of %s", dtype_name(x->dtype));
	if (quantization_types(g, n, n->in[1]))
		return -1;
	if (zero && zero->dtype != x->dtype)
		return node_error(g, n, "its input is %s, the zero point %s", dtype_name(x->dtype),
				  dtype_name(zero->dtype));
	if (attr_i(n, "output_dtype", RDU_DT_F32) != RDU_DT_F32)
		return node_error(g, n, "only to float supported");
	s = along_axis(g, n, n->in[1]);
	v = cast(g, graph_format(g, "%.200s.wide", n->name), x, RDU_DT_I32);
	if (!s || !v)
		return -1;
	if (zero) {
		zero = along_axis(g, n, zero);
		zero = cast(g, graph_format(g, "%.200s.zero", n->name), zero, RDU_DT_I32);
		v = zero ? graph_op2(g, "Sub", graph_format(g, "%.200s.sub", n->name), v, zero)
			 : NULL;
	}
	v = cast(g, graph_format(g, "%.200s.float", n->name), v, RDU_DT_F32);
	return graph_replace_first(n, v ? graph_op2(g, "Mul", n->name, v, s) : NULL);
}

#define EXPAND(onnx, lo, hi, fn)                                                     \
	{                                                                            \
		.name = onnx, .min_in = lo, .max_in = hi, .max_out = 1, .expand = fn \
	}

const struct op ops_compose[] = {
	EXPAND("LRN", 1, 1, lrn_expand),
	EXPAND("Hardmax", 1, 1, hardmax_expand),
	EXPAND("EyeLike", 1, 1, eye_like_expand),
	EXPAND("QuantizeLinear", 2, 3, quantize_expand),
	EXPAND("DequantizeLinear", 2, 3, dequantize_expand),
	{ 0 },
};
