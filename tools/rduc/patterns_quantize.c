// SPDX-License-Identifier: MIT
/*
 * Quantization, and contractions of quantized numbers. These are products and sums of whole
 * numbers in fp32 (or bf16, which holds 8 bits and a sign), exact since a sum has so few terms;
 * sums of more are added up as int32.
 */
#include <string.h>
#include "graph.h"

#define EXACT_TERMS 256 /* of 255 * 255 each, below 2^24 */

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
		x = graph_cast(g, graph_format(g, "%.200s.float", n->name), x, RDU_DT_F32);
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
		zero = graph_cast(g, graph_format(g, "%.200s.zero", n->name), zero, RDU_DT_I32);
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
	return graph_replace_first(n, graph_cast(g, n->name, v, (enum rdu_dtype)type));
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
	v = graph_cast(g, graph_format(g, "%.200s.wide", n->name), x, RDU_DT_I32);
	if (!s || !v)
		return -1;
	if (zero) {
		zero = along_axis(g, n, zero);
		zero = graph_cast(g, graph_format(g, "%.200s.zero", n->name), zero, RDU_DT_I32);
		v = zero ? graph_op2(g, "Sub", graph_format(g, "%.200s.sub", n->name), v, zero)
			 : NULL;
	}
	v = graph_cast(g, graph_format(g, "%.200s.float", n->name), v, RDU_DT_F32);
	return graph_replace_first(n, v ? graph_op2(g, "Mul", n->name, v, s) : NULL);
}

/* Scale and zero point of all of x, to uint8: of its range with 0 in it. */
static int dynamic_quantize_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *lo, *hi, *s, *z, *zero = graph_const_f(g, 0);
	struct node *m;
	int64_t none = 0;

	if (x->dtype != RDU_DT_F32)
		return node_error(g, n, "only of float supported");
	for (int k = 0; k < 2; k++) {
		m = node_new(g, k ? "ReduceMax" : "ReduceMin",
			     graph_format(g, "%.200s.%s", n->name, k ? "max" : "min"));
		node_input(g, m, x);
		node_attr_i(g, m, "keepdims", 0);
		s = graph_op2(g, k ? "Max" : "Min", graph_format(g, "%.200s.end", n->name),
			      graph_finish(g, m), zero);
		*(k ? &hi : &lo) = s;
		if (!s)
			return -1;
	}
	s = graph_op2(g, "Sub", graph_format(g, "%.200s.range", n->name), hi, lo);
	s = s ? graph_op2(g, "Div", graph_format(g, "%.200s.scale", n->name), s,
			  graph_const_f(g, 255))
	      : NULL;
	/* 0 - min / scale, held to uint8: min quantized without a zero point, from 255 down. */
	z = graph_op1(g, "Neg", graph_format(g, "%.200s.low", n->name), lo);
	z = z ? graph_op3(g, "QuantizeLinear", graph_format(g, "%.200s.zero", n->name), z, s,
			  graph_const(g, RDU_DT_U8, 0, &none, NULL))
	      : NULL;
	if (!z)
		return -1;
	graph_replace(n, 1, s);
	graph_replace(n, 2, z);
	return graph_replace_first(n, graph_op3(g, "QuantizeLinear", n->name, x, s, z));
}

/* ---- contractions --------------------------------------------------------------------------- */

/* Whole numbers x - zero in fp32; zero: one, or one for each element along an axis. */
static struct value *centered(struct graph *g, struct node *n, int in, int zero_in, int axis)
{
	struct value *x = n->in[in], *zero = node_in(n, zero_in);
	int64_t dim[RDU_MAX_DIMS];

	if (x->dtype != RDU_DT_U8 && x->dtype != RDU_DT_I8) {
		node_error(g, n, "only of uint8 and int8 supported, '%s' is %s", x->name,
			   dtype_name(x->dtype));
		return NULL;
	}
	x = graph_cast(g, graph_format(g, "%.200s.wide%d", n->name, in), x, RDU_DT_F32);
	if (!x || !zero)
		return x;
	if (zero->dtype != n->in[in]->dtype) {
		node_error(g, n, "'%s' is %s, its zero point %s", n->in[in]->name,
			   dtype_name(n->in[in]->dtype), dtype_name(zero->dtype));
		return NULL;
	}
	zero = graph_cast(g, graph_format(g, "%.200s.zero%d", n->name, in), zero, RDU_DT_F32);
	for (int i = 0; i < x->ndim; i++)
		dim[i] = i == axis ? x->dim[i] : 1;
	if (zero && value_count(zero) == 1) {
		zero = graph_reshape(g, n->name, zero, 0, dim);
	} else if (zero && zero->ndim == 1 && axis >= 0 && zero->dim[0] == x->dim[axis]) {
		zero = graph_reshape(g, n->name, zero, x->ndim, dim);
	} else if (zero && (zero->ndim != x->ndim || zero->dim[axis] != x->dim[axis])) {
		node_error(g, n, "its zero point has shape %s", value_shape_text(g, zero));
		return NULL;
	}
	return zero ? graph_op2(g, "Sub", graph_format(g, "%.200s.sub%d", n->name, in), x, zero)
		    : NULL;
}

/* Sums of products of a and b as int32: op of blocks of at most `block` along the axes. */
static struct value *exact_sum(struct graph *g, struct node *n, const char *op, struct value *a,
			       int a_axis, struct value *b, int b_axis, int64_t block)
{
	struct value *sum = NULL;
	int64_t size = a ? a->dim[a_axis] : 0;

	if (!a || !b)
		return NULL;
	if (block < 1 || size > 64 * block) {
		node_error(g, n, "sums of so many terms are not supported");
		return NULL;
	}
	for (int64_t at = 0; at < size; at += block) {
		int64_t part = size - at < block ? size - at : block;
		struct node *m = node_new(g, op, graph_format(g, "%.200s.float", n->name));
		struct value *v;

		node_input(g, m, graph_slice(g, n->name, a, a_axis, at, part, false));
		node_input(g, m, graph_slice(g, n->name, b, b_axis, at, part, false));
		m->attrs = n->attrs;
		v = graph_cast(g, graph_format(g, "%.200s.int", n->name), graph_finish(g, m),
			       RDU_DT_I32);
		sum = !sum ? v
			   : graph_op2(g, "Add", graph_format(g, "%.200s.sum", n->name), sum, v);
		if (!sum)
			return NULL;
	}
	return sum;
}

/* a, b and their zero points are inputs a, b, a_zero, b_zero. */
static struct value *int_matmul(struct graph *g, struct node *n, int a, int b, int a_zero,
				int b_zero)
{
	struct value *x = n->in[a], *y = n->in[b];

	if (x->ndim < 2 || y->ndim < 2 || x->dim[x->ndim - 1] != y->dim[y->ndim - 2]) {
		node_error(g, n, "shapes %s and %s do not fit", value_shape_text(g, x),
			   value_shape_text(g, y));
		return NULL;
	}
	x = centered(g, n, a, a_zero, x->ndim - 2);
	y = x ? centered(g, n, b, b_zero, y->ndim - 1) : NULL;
	return y ? exact_sum(g, n, "MatMul", x, x->ndim - 1, y, y->ndim - 2, EXACT_TERMS) : NULL;
}

static struct value *int_conv(struct graph *g, struct node *n, int x_in, int w_in, int x_zero,
			      int w_zero)
{
	struct value *x = centered(g, n, x_in, x_zero, -1);
	struct value *w = x ? centered(g, n, w_in, w_zero, 0) : NULL;
	int64_t taps, group = attr_i(n, "group", 1);

	if (!w)
		return NULL;
	if (x->ndim < 3 || w->ndim != x->ndim) {
		node_error(g, n, "input %s and weights %s do not fit", value_shape_text(g, x),
			   value_shape_text(g, w));
		return NULL;
	}
	taps = dims_count(w->ndim - 2, w->dim + 2);
	if (group == 1 && x->dim[1] == w->dim[1])
		return exact_sum(g, n, "Conv", x, 1, w, 1, taps ? EXACT_TERMS / taps : 0);
	/* Groups are not cut. */
	return exact_sum(g, n, "Conv", x, 0, w, 0, taps * w->dim[1] <= EXACT_TERMS ? INT32_MAX : 0);
}

static int matmul_integer_expand(struct graph *g, struct node *n)
{
	return graph_replace_first(n, int_matmul(g, n, 0, 1, 2, 3));
}

static int conv_integer_expand(struct graph *g, struct node *n)
{
	return graph_replace_first(n, int_conv(g, n, 0, 1, 2, 3));
}

/* Sums in int32, times the product of both scales, quantized. Inputs: a, its scale and zero
 * point, b, its; the result's. */
static int requantize(struct graph *g, struct node *n, struct value *v, int axis)
{
	struct value *sa = n->in[1], *sb = n->in[4], *ys = n->in[6];
	int64_t dim[RDU_MAX_DIMS];

	v = graph_cast(g, graph_format(g, "%.200s.real", n->name), v, RDU_DT_F32);
	if (!v)
		return -1;
	if (value_count(sa) != 1)
		return node_error(g, n, "scales of shape %s are not supported",
				  value_shape_text(g, sa));
	sa = graph_cast(g, graph_format(g, "%.200s.scale0", n->name), sa, RDU_DT_F32);
	sb = sa ? graph_cast(g, graph_format(g, "%.200s.scale1", n->name), sb, RDU_DT_F32) : NULL;
	ys = sb ? graph_cast(g, graph_format(g, "%.200s.scale2", n->name), ys, RDU_DT_F32) : NULL;
	if (!ys)
		return -1;
	for (int i = 0; i < v->ndim; i++)
		dim[i] = i == axis ? v->dim[i] : 1;
	sa = graph_reshape(g, n->name, sa, 0, dim);
	if (value_count(sb) != 1 && (sb->ndim != 1 || sb->dim[0] != v->dim[axis]))
		return node_error(g, n, "scales of shape %s are not supported",
				  value_shape_text(g, sb));
	sb = graph_reshape(g, n->name, sb, value_count(sb) == 1 ? 0 : v->ndim, dim);
	sa = sa ? graph_op2(g, "Mul", graph_format(g, "%.200s.scales", n->name), sa, sb) : NULL;
	v = sa ? graph_op2(g, "Mul", graph_format(g, "%.200s.scaled", n->name), v, sa) : NULL;
	return graph_replace_first(n, graph_op3(g, "QuantizeLinear", n->name, v, ys, n->in[7]));
}

static int qlinear_matmul_expand(struct graph *g, struct node *n)
{
	struct value *v = int_matmul(g, n, 0, 3, 2, 5);

	return v ? requantize(g, n, v, v->ndim - 1) : -1;
}

static int qlinear_conv_expand(struct graph *g, struct node *n)
{
	struct value *v = int_conv(g, n, 0, 3, 2, 5), *bias = node_in(n, 8);
	int64_t dim[RDU_MAX_DIMS];

	if (v && bias) {
		if (bias->ndim != 1 || bias->dim[0] != v->dim[1] || bias->dtype != RDU_DT_I32)
			return node_error(g, n, "its bias is %s %s", dtype_name(bias->dtype),
					  value_shape_text(g, bias));
		for (int i = 0; i < v->ndim; i++)
			dim[i] = i == 1 ? v->dim[1] : 1;
		v = graph_op2(g, "Add", graph_format(g, "%.200s.bias", n->name), v,
			      graph_reshape(g, n->name, bias, v->ndim, dim));
	}
	return v ? requantize(g, n, v, 1) : -1;
}

#define EXPAND(onnx, lo, hi, outs, fn)                                                  \
	{                                                                               \
		.name = onnx, .min_in = lo, .max_in = hi, .max_out = outs, .expand = fn \
	}

const struct op ops_quantize[] = {
	EXPAND("QuantizeLinear", 2, 3, 1, quantize_expand),
	EXPAND("DequantizeLinear", 2, 3, 1, dequantize_expand),
	EXPAND("DynamicQuantizeLinear", 1, 1, 3, dynamic_quantize_expand),
	EXPAND("MatMulInteger", 2, 4, 1, matmul_integer_expand),
	EXPAND("ConvInteger", 2, 4, 1, conv_integer_expand),
	EXPAND("QLinearMatMul", 8, 8, 1, qlinear_matmul_expand),
	EXPAND("QLinearConv", 8, 9, 1, qlinear_conv_expand),
	{ 0 },
};
