// SPDX-License-Identifier: MIT
/* Elementwise operators on the graph: shapes and types, and what is done while compiling. */
#include <string.h>
#include "map.h"

/* Before opset 7 an axis said where the second shape lies in the first. */
static int legacy_broadcast(struct graph *g, struct node *n)
{
	struct value *a = n->in[0], *b = node_in(n, 1);
	int64_t axis = attr_i(n, "axis", -1), dim[RDU_MAX_DIMS];

	if (g->opset < 7 && !strcmp(n->op->name, "PRelu") && b && b->ndim == 1)
		axis = b->dim[0] == 1 ? a->ndim - 1 : 1; /* a slope a channel */
	else if (g->opset >= 7 || n->num_in != 2 || axis < 0 || !attr_i(n, "broadcast", 0))
		return 0;
	if (axis + b->ndim > a->ndim)
		return node_error(g, n, "axis is out of range");
	memcpy(dim, b->dim, sizeof(dim));
	for (int i = b->ndim; i < a->ndim - axis; i++)
		dim[i] = 1;
	n->in[1] = graph_reshape(g, n->name, b, (int)(a->ndim - axis), dim);
	return n->in[1] ? 0 : -1;
}

int map_infer(struct graph *g, struct node *n)
{
	enum map_type type = n->op->map->type;
	enum rdu_dtype in = n->in[type == MAP_WHERE ? 1 : 0]->dtype, out = in;
	int64_t dim[RDU_MAX_DIMS] = { 0 };
	int ndim = 0;

	if (legacy_broadcast(g, n))
		return -1;
	for (int k = 0; k < n->num_in; k++) {
		struct value *v = n->in[k];

		if (!v && strcmp(n->op->name, "Clip"))
			return node_error(g, n, "input %d is missing", k);
		if (!v)
			continue;
		if (!broadcast_dims(ndim, dim, v->ndim, v->dim, &ndim, dim))
			return node_error(g, n,
					  "shape %s of '%s' does not broadcast with the others",
					  value_shape_text(g, v), v->name);
		if (type == MAP_WHERE && !k) {
			if (v->dtype != RDU_DT_BOOL)
				return node_error(g, n, "the condition must be bool");
			continue;
		}
		if (dtype_is_int(v->dtype) != dtype_is_int(in) && strcmp(n->op->name, "Pow"))
			return node_error(g, n, "'%s' is %s, another input is %s", v->name,
					  dtype_name(v->dtype), dtype_name(in));
	}
	if (type == MAP_FLOAT && dtype_is_int(in))
		return node_error(g, n, "not supported for %s", dtype_name(in));
	if (type == MAP_BOOL && in != RDU_DT_BOOL)
		return node_error(g, n, "not supported for %s", dtype_name(in));
	if (type == MAP_INT && (!dtype_is_int(in) || in == RDU_DT_BOOL))
		return node_error(g, n, "not supported for %s", dtype_name(in));
	if (type == MAP_COMPARE)
		out = RDU_DT_BOOL;
	if (type == MAP_CAST) {
		out = (enum rdu_dtype)attr_i(n, "to", 0);
		if (!dtype_bytes(out))
			return node_error(g, n, "casts to %s are not supported",
					  onnx_type_name((int)out));
		if (out == RDU_DT_F8E8M0 && dtype_is_int(in) && !dtype_is_code(in))
			return node_error(g, n, "casts from %s to %s are not supported",
					  dtype_name(in), dtype_name(out));
	}
	return node_shape(g, n, 0, out, ndim, dim);
}

int map_infer_mod(struct graph *g, struct node *n)
{
	if (!n->in[0] || !n->in[1] || map_infer(g, n))
		return -1;
	if (!dtype_is_int(n->in[0]->dtype) && !attr_i(n, "fmod", 0))
		return node_error(g, n, "of %s it needs fmod 1", dtype_name(n->in[0]->dtype));
	return 0;
}

int map_infer_round_quotient(struct graph *g, struct node *n)
{
	if (map_infer(g, n))
		return -1;
	n->out[0]->dtype = RDU_DT_I32;
	return 0;
}

/* The element of v that is broadcast to element i of y. */
static int64_t broadcast_int(const struct value *v, const struct value *y, int64_t i)
{
	int64_t at = 0, step = 1;

	for (int d = y->ndim - 1, t = v->ndim - 1; t >= 0; d--, t--) {
		if (v->dim[t] != 1)
			at += i % y->dim[d] * step;
		i /= y->dim[d];
		step *= v->dim[t];
	}
	return value_int(v, at);
}

/* p / q or its rest, in 64 bits; the one quotient that does not fit wraps. */
static int64_t divide(const struct node *n, int64_t p, int64_t q)
{
	int64_t r;

	if (n->out[0]->dtype == RDU_DT_U64)
		return (int64_t)(strcmp(n->op->name, "Mod") ? (uint64_t)p / (uint64_t)q
							    : (uint64_t)p % (uint64_t)q);
	if (strcmp(n->op->name, "Mod"))
		return q == -1 ? (int64_t)(0 - (uint64_t)p) : p / q;
	r = q == -1 ? 0 : p % q;
	return r && (r < 0) != (q < 0) && !attr_i(n, "fmod", 0) ? r + q : r;
}

/* Div and Mod of integers that are constants: in 64 bits, which shapes may need. */
int map_fold_div(struct graph *g, struct node *n)
{
	struct value *a = n->in[0], *b = n->in[1], *y = n->out[0];
	int64_t num = value_count(y);

	if (!dtype_is_int(a->dtype) || !a->constant || !b->constant || !a->data || !b->data)
		return 0;
	y->data = graph_alloc(g, (num ? num : 1) * dtype_bytes(y->dtype));
	for (int64_t i = 0; i < num; i++) {
		int64_t q = broadcast_int(b, y, i), r;

		if (!q)
			return node_error(g, n, "division by zero");
		r = divide(n, broadcast_int(a, y, i), q);
		memcpy((char *)y->data + i * dtype_bytes(y->dtype), &r, dtype_bytes(y->dtype));
	}
	return 1;
}

int map_expand_cast_like(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "Cast", n->name);
	struct value *v;

	node_input(g, m, n->in[0]);
	m->attrs = n->attrs;
	node_attr_i(g, m, "to", n->in[1]->dtype);
	v = graph_finish(g, m);
	if (!v)
		return -1;
	graph_replace(n, 0, v);
	return 0;
}

/* Of integers: lambd and bias are floats, so it is computed in fp32, and cut off. */
int map_rewrite_shrink(struct graph *g, struct node *n)
{
	enum rdu_dtype t = n->in[0]->dtype;
	struct node *m;

	if (!dtype_is_int(t) || t == RDU_DT_BOOL)
		return 0;
	m = node_new(g, "Shrink", graph_format(g, "%.200s.float", n->name));
	m->attrs = n->attrs;
	node_input(g, m, graph_cast(g, n->name, n->in[0], RDU_DT_F32));
	return graph_replace_first(n, graph_cast(g, n->name, graph_finish(g, m), t)) ? -1 : 1;
}

/*
 * As many at a time as a nest takes where it is a gradient's: two inputs more, and of Max and Min it compares with
 * each. Sums of them are fp32.
 */
int map_rewrite_many(struct graph *g, struct node *n)
{
	bool mean = !strcmp(n->op->name, "Mean"), sum = mean || !strcmp(n->op->name, "Sum");
	const int most = NEST_MAX_IN - (sum ? 2 : 4);
	enum rdu_dtype t = n->in[0]->dtype;
	struct value *v = n->in[0];

	if (n->num_in <= most)
		return 0;
	for (int i = 1; i < n->num_in;) {
		struct node *m = node_new(g, sum ? "Sum" : n->op->name, n->name);

		node_input(g, m, sum ? graph_cast(g, n->name, v, RDU_DT_F32) : v);
		for (; i < n->num_in && m->num_in < most; i++)
			node_input(g, m,
				   sum ? graph_cast(g, n->name, n->in[i], RDU_DT_F32) : n->in[i]);
		v = graph_finish(g, m);
		if (!v)
			return -1;
	}
	if (mean)
		v = graph_op2(g, "Mul", n->name, v, graph_const_f(g, 1.0f / n->num_in));
	return graph_replace_first(n, graph_cast(g, n->name, v, t)) ? -1 : 1;
}

/* Of integers, which PyTorch writes: none is NaN or an infinity. */
int map_rewrite_of_integers(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];

	if (!dtype_is_int(x->dtype))
		return 0;
	return graph_replace_first(n, graph_op2(g, "Less", n->name, x, x)) ? -1 : 1;
}
