// SPDX-License-Identifier: MIT
/*
 * Quantization, and contractions of quantized numbers, which are contractions of bytes.
 */
#include <string.h>
#include "graph.h"

/* ---- quantization ------------------------------------------------------------------------ */

/* Of blocks along an axis: one for each element. */
static struct value *along_blocks(struct graph *g, struct node *n, struct value *v, int64_t axis,
				  int64_t block)
{
	struct value *x = n->in[0];
	int64_t *at, count = x->dim[axis];
	bool fits = v->ndim == x->ndim;
	struct node *m = node_new(g, "Gather", graph_format(g, "%.200s.blocks", n->name));

	for (int i = 0; fits && i < x->ndim; i++)
		fits = v->dim[i] == (i == axis ? (count + block - 1) / block : x->dim[i]);
	if (!fits) {
		node_error(g, n, "'%s' has shape %s, not one element to a block of %lld", v->name,
			   value_shape_text(g, v), (long long)block);
		return NULL;
	}
	at = graph_alloc(g, (size_t)(count + 1) * sizeof(*at));
	for (int64_t i = 0; i < count; i++)
		at[i] = i / block;
	node_input(g, m, v);
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &count, at));
	node_attr_i(g, m, "axis", axis);
	return graph_finish(g, m);
}

/* A scale or zero point an element of the axis or a block of it, or one of all, to multiply x with. */
static struct value *along_axis(struct graph *g, struct node *n, struct value *v)
{
	int64_t axis = attr_i(n, "axis", 1), block = attr_i(n, "block_size", 0), dim[RDU_MAX_DIMS];
	struct value *x = n->in[0];

	if (!v)
		return NULL;
	if (value_count(v) == 1 && !block)
		return graph_reshape(g, n->name, v, 0, dim);
	if (block < 0 || block > INT32_MAX || node_axis(g, n, &axis, x->ndim)) {
		if (block < 0 || block > INT32_MAX)
			node_error(g, n, "block_size is %lld", (long long)block);
		return NULL;
	}
	if (block)
		return along_blocks(g, n, v, axis, block);
	if (v->ndim != 1 || v->dim[0] != x->dim[axis]) {
		node_error(g, n, "'%s' has shape %s, the axis %lld elements", v->name,
			   value_shape_text(g, v), (long long)x->dim[axis]);
		return NULL;
	}
	for (int i = 0; i < x->ndim; i++)
		dim[i] = i == axis ? x->dim[axis] : 1;
	return graph_reshape(g, n->name, v, x->ndim, dim);
}

/* Scale and zero point are of one shape; one element is one, whatever its shape. */
static int zero_fits_scale(struct graph *g, struct node *n)
{
	struct value *zero = node_in(n, 2), *scale = n->in[1];

	if (zero && (value_count(zero) != value_count(scale) ||
		     (value_count(zero) != 1 && !value_same_shape(zero, scale))))
		return node_error(g, n, "its scale has shape %s, its zero point %s",
				  value_shape_text(g, scale), value_shape_text(g, zero));
	return 0;
}

static bool quantized_type(enum rdu_dtype t)
{
	return t == RDU_DT_U8 || t == RDU_DT_I8 || t == RDU_DT_U16 || t == RDU_DT_I16 ||
	       (dtype_is_small(t) && t != RDU_DT_F8E8M0);
}

/* The quotient, and the zero point if there is one, as a code: rounded once. */
static struct value *quantized_code(struct graph *g, struct node *n, struct value *x,
				    struct value *s, struct value *zero, enum rdu_dtype type)
{
	struct value *v =
		graph_op2(g, "ShortQuotient", graph_format(g, "%.200s.quotient", n->name), x, s);
	struct node *m = node_new(g, "Cast", n->name);

	if (zero) {
		zero = graph_cast(g, graph_format(g, "%.200s.zero", n->name), zero, RDU_DT_F32);
		zero = along_axis(g, n, zero);
		v = v && zero ? graph_op2(g, "Add", graph_format(g, "%.200s.add", n->name), v, zero)
			      : NULL;
	}
	if (!v)
		return NULL;
	node_input(g, m, v);
	node_attr_i(g, m, "to", type);
	node_attr_i(g, m, "saturate", attr_i(n, "saturate", 1));
	return graph_finish(g, m);
}

/* The quotient as a whole number, and the zero point if there is one, held to the type's limits. */
static struct value *quantized_integer(struct graph *g, struct node *n, struct value *x,
				       struct value *s, struct value *zero, enum rdu_dtype type)
{
	int bits = dtype_bits(type);
	int32_t least = dtype_is_unsigned(type) ? 0 : -(1 << (bits - 1));
	int32_t most = least + (int32_t)((1u << bits) - 1);
	struct node *m = node_new(g, "RoundQuotient", graph_format(g, "%.200s.round", n->name));
	struct value *v;

	node_input(g, m, x);
	node_input(g, m, s);
	node_attr_i(g, m, "bits", bits);
	v = graph_finish(g, m);
	if (v && zero) {
		zero = graph_cast(g, graph_format(g, "%.200s.zero", n->name), zero, RDU_DT_I32);
		zero = along_axis(g, n, zero);
		v = zero ? graph_op2(g, "Add", graph_format(g, "%.200s.add", n->name), v, zero)
			 : NULL;
	}
	v = v ? graph_op2(g, "Min", graph_format(g, "%.200s.min", n->name), v,
			  graph_const(g, RDU_DT_I32, 0, NULL, &most))
	      : NULL;
	v = v ? graph_op2(g, "Max", graph_format(g, "%.200s.max", n->name), v,
			  graph_const(g, RDU_DT_I32, 0, NULL, &least))
	      : NULL;
	return graph_cast(g, n->name, v, type);
}

static bool is_short_float(const struct value *v)
{
	return v->dtype == RDU_DT_F16 || v->dtype == RDU_DT_BF16;
}

/* Of a short type and a scale of it. Since opset 23 the quotient is of this type, too. */
static int quantize_short(struct graph *g, struct node *n, struct value **x, struct value **s)
{
	if (g->opset >= 23) {
		*x = *s = along_axis(g, n, *s);
		*x = *s ? graph_op2(g, "Div", graph_format(g, "%.200s.quotient", n->name), n->in[0],
				    *s)
			: NULL;
		*s = graph_const_f(g, 1);
	}
	*x = graph_cast(g, graph_format(g, "%.200s.float", n->name), *x, RDU_DT_F32);
	*s = graph_cast(g, graph_format(g, "%.200s.scale", n->name), *s, RDU_DT_F32);
	return *x && *s ? 0 : -1;
}

static int quantize_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *zero = node_in(n, 2), *s = n->in[1];
	int64_t type = attr_i(n, "output_dtype", 0);

	if (dtype_is_small(x->dtype))
		return node_error(g, n, "not supported for %s", dtype_name(x->dtype));
	if (dtype_is_int(x->dtype))
		x = graph_cast(g, graph_format(g, "%.200s.float", n->name), x, RDU_DT_F32);
	if (!x || zero_fits_scale(g, n))
		return -1;
	if (is_short_float(x) && s->dtype == x->dtype && quantize_short(g, n, &x, &s))
		return -1;
	if (x->dtype != RDU_DT_F32 || s->dtype != RDU_DT_F32)
		return node_error(g, n, "of %s with a scale of %s is not supported",
				  dtype_name(x->dtype), dtype_name(s->dtype));
	if (attr_i(n, "precision", RDU_DT_F32) != RDU_DT_F32 && attr_i(n, "precision", 0))
		return node_error(g, n, "a precision other than float is not supported");
	if (zero && type && type != zero->dtype)
		return node_error(g, n, "output_dtype is not the zero point's");
	type = zero ? zero->dtype : type ? type : RDU_DT_U8;
	if (!quantized_type((enum rdu_dtype)type))
		return node_error(g, n, "to %s not supported", onnx_type_name((int)type));
	s = along_axis(g, n, s);
	if (!s)
		return -1;
	return graph_replace_first(
		n, (dtype_is_code((enum rdu_dtype)type) ? quantized_code : quantized_integer)(
			   g, n, x, s, zero, (enum rdu_dtype)type));
}

/* (x - zero) * scale: the difference in int32, so exact; of codes in fp32. */
static int dequantize_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *zero = node_in(n, 2), *s = n->in[1], *v;
	enum rdu_dtype wide = dtype_is_code(x->dtype) ? RDU_DT_F32 : RDU_DT_I32;
	int64_t type = attr_i(n, "output_dtype", 0);

	if (!quantized_type(x->dtype) && x->dtype != RDU_DT_I32)
		return node_error(g, n, "not supported of %s", dtype_name(x->dtype));
	if (zero_fits_scale(g, n))
		return -1;
	if (zero && zero->dtype != x->dtype)
		return node_error(g, n, "its input is %s, the zero point %s", dtype_name(x->dtype),
				  dtype_name(zero->dtype));
	type = type ? type : s->dtype;
	if (type != RDU_DT_F32 && type != RDU_DT_F16 && type != RDU_DT_BF16)
		return node_error(g, n, "to %s not supported", onnx_type_name((int)type));
	if (dtype_is_int(s->dtype) && s->dtype != RDU_DT_F8E8M0)
		return node_error(g, n, "its scale is %s", dtype_name(s->dtype));
	s = graph_cast(g, graph_format(g, "%.200s.scale", n->name), s, RDU_DT_F32);
	s = along_axis(g, n, s);
	v = graph_cast(g, graph_format(g, "%.200s.wide", n->name), x, wide);
	if (!s || !v)
		return -1;
	if (zero) {
		zero = graph_cast(g, graph_format(g, "%.200s.zero", n->name), zero, wide);
		zero = along_axis(g, n, zero);
		v = zero ? graph_op2(g, "Sub", graph_format(g, "%.200s.sub", n->name), v, zero)
			 : NULL;
	}
	v = graph_cast(g, graph_format(g, "%.200s.float", n->name), v, RDU_DT_F32);
	v = v ? graph_op2(g, "Mul", graph_format(g, "%.200s.product", n->name), v, s) : NULL;
	v = graph_cast(g, n->name, v, (enum rdu_dtype)type);
	if (v)
		v->dequantized = n;
	return graph_replace_first(n, v);
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
	s = s ? graph_op1(g, "ByteScale", graph_format(g, "%.200s.scale", n->name), s) : NULL;
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

/*
 * Sums of (a - a0) (b - b0) over K terms, as int32, modulo 2^32 as all of these: sum(a b), a
 * contraction of bytes, less b0 sum(a) and a0 (sum(b) - K b0). What is known when the graph is
 * compiled is computed then, sums over constants too.
 */

/* One operand and its zero point, as int32; NULL: 0. */
struct bytes {
	struct value *x, *zero;
};

static bool all_zero(const struct value *v)
{
	if (!v->constant || !v->data)
		return false;
	for (int64_t i = 0; i < value_count(v); i++)
		if (value_int(v, i))
			return false;
	return true;
}

/* Does it say one for each element along the axis, and perhaps for each of a stack of matrices? */
static bool zero_fits(const struct value *x, const struct value *zero, int axis)
{
	if (axis < 0 || zero->ndim != x->ndim || zero->dim[axis] != x->dim[axis])
		return false;
	for (int i = 0; i < x->ndim; i++) {
		bool stack = i < axis && i < x->ndim - 2 && zero->dim[i] == x->dim[i];

		if (i != axis && zero->dim[i] != 1 && !stack)
			return false;
	}
	return true;
}

/* The zero point: one, or one for each element along an axis (-1: one only). */
static int get_bytes(struct graph *g, struct node *n, int in, int zero_in, int axis,
		     struct bytes *b)
{
	struct value *x = n->in[in], *zero = node_in(n, zero_in);
	int64_t dim[RDU_MAX_DIMS];

	*b = (struct bytes){ .x = x };
	if (x->dtype != RDU_DT_U8 && x->dtype != RDU_DT_I8)
		return node_error(g, n, "only of uint8 and int8 supported, '%s' is %s", x->name,
				  dtype_name(x->dtype));
	if (zero && zero->dtype != x->dtype)
		return node_error(g, n, "'%s' is %s, its zero point %s", x->name,
				  dtype_name(x->dtype), dtype_name(zero->dtype));
	if (!zero || all_zero(zero))
		return 0;
	zero = graph_cast(g, graph_format(g, "%.200s.zero%d", n->name, in), zero, RDU_DT_I32);
	if (!zero)
		return -1;
	for (int i = 0; i < x->ndim; i++)
		dim[i] = i == axis ? x->dim[i] : 1;
	if (value_count(zero) == 1)
		zero = graph_reshape(g, n->name, zero, 0, dim);
	else if (zero->ndim == 1 && axis >= 0 && zero->dim[0] == x->dim[axis])
		zero = graph_reshape(g, n->name, zero, x->ndim, dim);
	else if (!zero_fits(x, zero, axis))
		return node_error(g, n, "its zero point has shape %s", value_shape_text(g, zero));
	b->zero = zero;
	return zero ? 0 : -1;
}

static struct value *ones(struct graph *g, int ndim, const int64_t *dim)
{
	struct value *v = graph_const(g, RDU_DT_I8, ndim, dim, NULL);

	memset(v->data, 1, (size_t)value_count(v));
	return v;
}

/* Sums of a constant over axes `mask`, which are left with extent 1; NULL: it is none. */
static struct value *constant_sums(struct graph *g, const struct value *v, unsigned int mask)
{
	int64_t dim[RDU_MAX_DIMS];
	struct value *sum;

	if (!v->constant || !v->data)
		return NULL;
	for (int i = 0; i < v->ndim; i++)
		dim[i] = mask >> i & 1 ? 1 : v->dim[i];
	sum = graph_const(g, RDU_DT_I32, v->ndim, dim, NULL);
	for (int64_t k = 0; k < value_count(v); k++) {
		int64_t rest = k, at = 0, step = 1;

		for (int i = v->ndim - 1; i >= 0; i--) {
			at += mask >> i & 1 ? 0 : rest % v->dim[i] * step;
			step *= dim[i];
			rest /= v->dim[i];
		}
		((uint32_t *)sum->data)[at] += (uint32_t)value_int(v, k);
	}
	return sum;
}

static struct value *times(struct graph *g, struct node *n, const char *what, struct value *a,
			   struct value *b)
{
	return a && b ? graph_op2(g, "Mul", graph_format(g, "%.200s.%s", n->name, what), a, b)
		      : NULL;
}

static struct value *less(struct graph *g, struct node *n, const char *what, struct value *a,
			  struct value *b)
{
	return a && b ? graph_op2(g, "Sub", graph_format(g, "%.200s.%s", n->name, what), a, b)
		      : NULL;
}

static struct value *times_count(struct graph *g, struct node *n, struct value *zero, int64_t terms)
{
	uint32_t count = (uint32_t)terms;

	return times(g, n, "zeros", zero, graph_const(g, RDU_DT_I32, 0, NULL, &count));
}

static struct node *byte_node(struct graph *g, struct node *n, const char *op, const char *what,
			      struct value *a, struct value *b)
{
	struct node *m = node_new(g, op, graph_format(g, "%.200s.%s", n->name, what));

	m->of = n->op;
	node_input(g, m, a);
	node_input(g, m, b);
	return m;
}

static struct value *byte_matmul(struct graph *g, struct node *n, const char *what, struct value *a,
				 struct value *b)
{
	return graph_finish(g, byte_node(g, n, "ByteMatMul", what, a, b));
}

/* a, b and their zero points are inputs a, b, a_zero, b_zero. */
static struct value *int_matmul(struct graph *g, struct node *n, int a, int b, int a_zero,
				int b_zero)
{
	struct value *x = n->in[a], *y = n->in[b], *sum, *part, *weights;
	struct bytes p, q;
	int64_t dim[2];

	if (x->ndim < 2 || y->ndim < 2 || x->dim[x->ndim - 1] != y->dim[y->ndim - 2]) {
		node_error(g, n, "shapes %s and %s do not fit", value_shape_text(g, x),
			   value_shape_text(g, y));
		return NULL;
	}
	if (get_bytes(g, n, a, a_zero, x->ndim - 2, &p) ||
	    get_bytes(g, n, b, b_zero, y->ndim - 1, &q))
		return NULL;
	weights = graph_ternary(g, n, y, q.zero, y->ndim - 2);
	sum = byte_matmul(g, n, "products", x, weights ? weights : y);
	if (q.zero && !weights) {
		dim[0] = y->dim[y->ndim - 2];
		dim[1] = 1;
		part = constant_sums(g, x, 1u << (x->ndim - 1));
		part = part ? part : byte_matmul(g, n, "sums0", x, ones(g, 2, dim));
		sum = less(g, n, "less0", sum, times(g, n, "part0", part, q.zero));
	}
	if (p.zero) {
		dim[0] = 1;
		dim[1] = y->dim[y->ndim - 2];
		part = constant_sums(g, y, 1u << (y->ndim - 2));
		part = part ? part : byte_matmul(g, n, "sums1", ones(g, 2, dim), y);
		if (q.zero)
			part = less(g, n, "centered", part, times_count(g, n, q.zero, dim[1]));
		sum = less(g, n, "less1", sum, times(g, n, "part1", part, p.zero));
	}
	return sum;
}

/* w may be words of ternary weights, of `channels` channels. */
static struct value *byte_conv(struct graph *g, struct node *n, const char *what, struct value *x,
			       struct value *w, int64_t channels, bool window, int64_t pad_value)
{
	struct node *m = byte_node(g, n, "ByteConv", what, x, w);

	m->attrs = window ? n->attrs : NULL;
	if (channels != w->dim[1])
		node_attr_i(g, m, "channels", channels);
	if (!window)
		node_attr_i(g, m, "group", attr_i(n, "group", 1));
	node_attr_i(g, m, "pad_value", pad_value);
	return graph_finish(g, m);
}

/* Sums of the weights of each filter, less those of as many zero points: over all of a window where
 * what is beside the input is known to count as its zero point, else over what is in it. */
static struct value *filter_sums(struct graph *g, struct node *n, const struct bytes *p,
				 const struct bytes *q, bool all)
{
	struct value *w = q->x, *sum = all ? constant_sums(g, w, ~1u) : NULL, *zeros = q->zero;
	int64_t dim[RDU_MAX_DIMS], taps = dims_count(w->ndim - 1, w->dim + 1);
	struct value *x;

	for (int i = 0; i < w->ndim; i++)
		dim[i] = i == 0 ? 1 : i == 1 ? p->x->dim[1] : all ? w->dim[i] : p->x->dim[i];
	x = ones(g, w->ndim, dim);
	if (sum) { /* a filter is a channel of the result */
		dim[1] = w->dim[0];
		for (int i = 2; i < w->ndim; i++)
			dim[i] = 1;
		sum = graph_reshape(g, n->name, sum, w->ndim, dim);
	} else {
		sum = byte_conv(g, n, "filters", x, w, w->dim[1], !all, 0);
	}
	if (!zeros)
		return sum;
	if (all)
		zeros = times_count(g, n, zeros, taps);
	else
		zeros = times(
			g, n, "zeros",
			byte_conv(g, n, "taps", x, ones(g, w->ndim, w->dim), w->dim[1], true, 0),
			zeros);
	return less(g, n, "centered", sum, zeros);
}

static struct value *int_conv(struct graph *g, struct node *n, int x_in, int w_in, int x_zero,
			      int w_zero)
{
	struct value *x = n->in[x_in], *w = n->in[w_in], *sum, *weights;
	int64_t dim[RDU_MAX_DIMS], pad = 0;
	struct bytes p, q;
	bool known;

	if (get_bytes(g, n, x_in, x_zero, -1, &p) || get_bytes(g, n, w_in, w_zero, 0, &q))
		return NULL;
	if (x->ndim < 3 || w->ndim != x->ndim) {
		node_error(g, n, "input %s and weights %s do not fit", value_shape_text(g, x),
			   value_shape_text(g, w));
		return NULL;
	}
	known = !p.zero || (p.zero->constant && p.zero->data);
	if (p.zero && known)
		pad = value_int(p.zero, 0);
	weights = graph_ternary(g, n, w, q.zero, 1);
	sum = byte_conv(g, n, "products", x, weights ? weights : w, w->dim[1], true, pad);
	if (!sum)
		return NULL;
	for (int i = 0; i < w->ndim; i++)
		dim[i] = i == 1 ? w->dim[0] : 1;
	if (q.zero && value_count(q.zero) > 1)
		q.zero = graph_reshape(g, n->name, q.zero, w->ndim, dim);
	if (q.zero && !weights) {
		struct value *part;

		memcpy(dim, w->dim, sizeof(dim));
		if (attr_i(n, "group", 1) == 1)
			dim[0] = 1; /* the same for all filters */
		part = byte_conv(g, n, "windows", x, ones(g, w->ndim, dim), w->dim[1], true, pad);
		sum = less(g, n, "less0", sum, times(g, n, "part0", part, q.zero));
	}
	if (p.zero)
		sum = less(g, n, "less1", sum,
			   times(g, n, "part1", filter_sums(g, n, &p, &q, known), p.zero));
	return sum;
}

static int matmul_integer_expand(struct graph *g, struct node *n)
{
	return graph_replace_first(n, int_matmul(g, n, 0, 1, 2, 3));
}

static int conv_integer_expand(struct graph *g, struct node *n)
{
	return graph_replace_first(n, int_conv(g, n, 0, 1, 2, 3));
}

/* a / one number; of constants as fp32 division rounds it. */
static struct value *quotient(struct graph *g, struct node *n, struct value *a, struct value *by)
{
	int64_t num = value_count(a);
	float *q;

	by = graph_reshape(g, n->name, by, 0, NULL);
	if (!by)
		return NULL;
	if (!a->constant || !a->data || !by->constant || !by->data)
		return graph_op2(g, "Div", graph_format(g, "%.200s.scale", n->name), a, by);
	q = graph_alloc(g, (size_t)(num + 1) * sizeof(*q));
	for (int64_t i = 0; i < num; i++)
		q[i] = ((const float *)a->data)[i] / *(const float *)by->data;
	return graph_const(g, RDU_DT_F32, a->ndim, a->dim, q);
}

/* Sums in int32, times what the result's scale makes of the product of both scales, rounded to whole
 * numbers. Inputs: a, its scale and zero point, b, its; the result's. */
static int requantize(struct graph *g, struct node *n, struct value *v, int axis)
{
	struct value *sa = n->in[1], *sb = n->in[4], *ys = n->in[6], *one;
	int64_t dim[RDU_MAX_DIMS];

	v = graph_cast(g, graph_format(g, "%.200s.real", n->name), v, RDU_DT_F32);
	if (!v)
		return -1;
	if (value_count(sa) != 1 || value_count(ys) != 1)
		return node_error(g, n, "scales of shape %s are not supported",
				  value_shape_text(g, value_count(sa) != 1 ? sa : ys));
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
	sa = sa ? quotient(g, n, sa, ys) : NULL;
	v = sa ? graph_op2(g, "Mul", graph_format(g, "%.200s.scaled", n->name), v, sa) : NULL;
	one = graph_const_f(g, 1);
	return graph_replace_first(n, graph_op3(g, "QuantizeLinear", n->name, v, one, n->in[7]));
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
