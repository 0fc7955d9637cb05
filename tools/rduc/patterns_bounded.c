// SPDX-License-Identifier: MIT
/*
 * Operators of which data say how large their results are: NonZero, Compress. Results have room for all
 * that there can be, and a size beside it (bounded.c).
 */
#include <string.h>
#include "graph.h"

/* ---- places ---------------------------------------------------------------------------- */

/*
 * Running sums of the mask say where each place goes that is true; all others go behind the last one, which
 * is thrown away.
 */
struct value *bounded_places(struct graph *g, const char *name, struct value *mask,
			     struct value **size)
{
	int64_t num = mask->dim[0], column[] = { num, 1 }, room[] = { num + 1, 1 };
	struct value *before, *to, *v;
	struct node *m;

	name = graph_format(g, "%.200s.place", name);
	v = graph_cast(g, name, mask, RDU_DT_I32);
	before = v ? graph_op2(g, "CumSum", name, v, graph_const_i(g, 0)) : NULL;
	*size = before ? graph_cast(g, name, graph_pick(g, name, before, 0, num - 1), RDU_DT_I64)
		       : NULL;
	to = before ? graph_op2(g, "Sub", name, before,
				graph_cast(g, name, graph_const_i(g, 1), RDU_DT_I32))
		    : NULL;
	to = to ? graph_op3(g, "Where", name, mask, to,
			    graph_cast(g, name, graph_const_i(g, num), RDU_DT_I32))
		: NULL;
	if (!*size || !to)
		return NULL;
	to = graph_reshape(g, name, to, 2, column);
	v = graph_reshape(g, name, loop_count(g, RDU_DT_I32, num), 2, column);
	if (!to || !v)
		return NULL;
	m = node_new(g, "ScatterElements", name);
	node_input(g, m, graph_const(g, RDU_DT_I32, 2, room, NULL));
	node_input(g, m, to);
	node_input(g, m, v);
	node_attr_i(g, m, "axis", 0);
	v = graph_finish(g, m);
	v = v ? graph_slice(g, name, v, 0, 0, num, false) : NULL;
	return graph_reshape(g, name, v, 1, &num);
}

static bool is_known(const struct value *v)
{
	return (v->constant && v->data) || !value_count(v);
}

/* ---- Compress ---------------------------------------------------------------------------- */

/* The slices along an axis (elements of the flat tensor) where the condition is true. */
static int compress_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *c = n->in[1], *at, *size = NULL, *y;
	int64_t axis = attr_i(n, "axis", 0), num = 0, count = value_count(x), most, *p;
	struct node *m;

	if (c->ndim != 1 || c->dtype != RDU_DT_BOOL)
		return node_error(g, n, "its condition is %s %s", dtype_name(c->dtype),
				  value_shape_text(g, c));
	if (!node_attr(n, "axis"))
		x = graph_reshape(g, n->name, x, 1, &count);
	if (!x || node_axis(g, n, &axis, x->ndim))
		return -1;
	most = c->dim[0] < x->dim[axis] ? c->dim[0] : x->dim[axis];
	if (is_known(c)) {
		p = graph_alloc(g, (size_t)(c->dim[0] + 1) * sizeof(*p));
		for (int64_t i = 0; i < c->dim[0]; i++)
			if (value_int(c, i))
				p[num++] = i;
		if (num && p[num - 1] >= x->dim[axis])
			return node_error(g, n, "its condition chooses number %lld of %lld",
					  (long long)p[num - 1], (long long)x->dim[axis]);
		at = graph_const(g, RDU_DT_I64, 1, &num, p);
	} else if (c->dim[0] > most) {
		return node_error(
			g, n,
			"its condition %s is not a constant, and longer than %lld: not supported",
			value_shape_text(g, c), (long long)most);
	} else {
		at = bounded_places(g, n->name, c, &size);
	}
	if (!at)
		return -1;
	m = node_new(g, "Gather", n->name);
	node_input(g, m, x);
	node_input(g, m, at);
	node_attr_i(g, m, "axis", axis);
	y = graph_finish(g, m);
	return graph_replace_first(n, size ? bounded_sized(g, n->name, y, (int)axis, size) : y);
}

/* ---- NonZero -------------------------------------------------------------------------------- */

/* Of a constant: a column for each element that is not zero. A scalar has one index. */
static int non_zero_known(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	int64_t total = value_count(x), dim[2] = { x->ndim ? x->ndim : 1, 0 }, *p, k = 0;

	for (int64_t i = 0; i < total; i++)
		dim[1] += value_real(x, i) != 0;
	p = graph_alloc(g, (size_t)(dim[0] * dim[1] + 1) * sizeof(*p));
	for (int64_t i = 0; i < total; i++) {
		int64_t rest = i;

		if (value_real(x, i) == 0)
			continue;
		for (int d = x->ndim - 1; d >= 0; rest /= x->dim[d--])
			p[d * dim[1] + k] = rest % x->dim[d];
		k++;
	}
	return graph_replace_first(n, graph_const(g, RDU_DT_I64, 2, dim, p));
}

/* Index d of elements at flat places. */
static struct value *index_of(struct graph *g, const char *name, const struct value *x, int d,
			      struct value *at)
{
	int64_t inner = 1;

	for (int i = d + 1; i < x->ndim; i++)
		inner *= x->dim[i];
	if (inner > 1)
		at = graph_op2(g, "Div", name, at,
			       graph_cast(g, name, graph_const_i(g, inner), RDU_DT_I32));
	if (d && at)
		at = graph_op2(g, "Mod", name, at,
			       graph_cast(g, name, graph_const_i(g, x->dim[d]), RDU_DT_I32));
	return at;
}

static int non_zero_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *v, *at, *size;
	int64_t count = value_count(x), row[] = { 1, count };
	struct node *m;

	if (is_known(x))
		return non_zero_known(g, n);
	if (x->places)
		return graph_replace_first(n, x->places);
	if (count > INT32_MAX)
		return node_error(g, n, "more than 2^31 elements are not supported");
	v = graph_reshape(g, n->name, x, 1, &count);
	v = v ? graph_op2(g, "Equal", n->name, v,
			  graph_cast(g, n->name, graph_const_i(g, 0), v->dtype))
	      : NULL;
	v = v ? graph_op1(g, "Not", n->name, v) : NULL;
	at = v ? bounded_places(g, n->name, v, &size) : NULL;
	if (!at)
		return -1;
	m = node_new(g, "Concat", n->name);
	for (int d = 0; d < (x->ndim ? x->ndim : 1); d++) {
		v = index_of(g, n->name, x, d, at);
		v = v ? graph_reshape(g, n->name, graph_cast(g, n->name, v, RDU_DT_I64), 2, row)
		      : NULL;
		if (!v)
			return -1;
		node_input(g, m, v);
	}
	node_attr_i(g, m, "axis", 0);
	v = graph_finish(g, m);
	v = bounded_sized(g, n->name, v, 1, size);
	if (!g->in_body)
		x->places = v;
	return graph_replace_first(n, v);
}

/* ---- internal ---------------------------------------------------------------------------------- */

/* Bounded: the same elements, of which others count. */
static int bounded_infer(struct graph *g, struct node *n)
{
	return node_shape(g, n, 0, n->in[0]->dtype, n->in[0]->ndim, n->in[0]->dim);
}

static int bounded_gradient(struct graph *g, struct node *n)
{
	return n->in[0]->needs_grad ? graph_add_grad(g, n->in[0], n->out[0]->grad) : 0;
}

/* IndexBelow: indices below a size, or counted from there; one that is elsewhere stops the run. A third input
 * says which ones count: the others are 0. */
static int index_below_pattern(struct lower *l, struct node *n)
{
	struct value *y = n->out[0];
	struct nest *nest = lower_nest(l, n, NULL);
	int dim[RDU_MAX_DIMS], zero = nest_imm_i(nest, 0), e, size, bad;

	for (int d = 0; d < y->ndim; d++)
		dim[d] = nest_dim(nest, axis_name(y->ndim, d), y->dim[d], false);
	if (!y->ndim)
		nest_dim(nest, "i", 1, false);
	for (int i = 0; i < n->num_in; i++) {
		nest_input(nest, lower_value(l, n->in[i]));
		access_broadcast(&nest->in[i], y->ndim, dim);
	}
	e = nest_in(nest, 0);
	size = nest_in(nest, 1);
	e = nest_op(nest, RDU_SIMD_SELECT, nest_op(nest, RDU_SIMD_ILT, e, zero, -1),
		    nest_op(nest, RDU_SIMD_IADD, e, size, -1), e);
	bad = nest_op(nest, RDU_SIMD_OR, nest_op(nest, RDU_SIMD_ILT, e, zero, -1),
		      nest_op(nest, RDU_SIMD_ILE, size, e, -1), -1);
	if (n->num_in > 2) {
		e = nest_op(nest, RDU_SIMD_SELECT, nest_in(nest, 2), e, zero);
		bad = nest_op(nest, RDU_SIMD_SELECT, nest_in(nest, 2), bad, zero);
	}
	e = nest_trap(nest, e, bad, RDU_TRAP_INDEX);
	nest_output(nest, lower_value(l, y), e);
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

#define EXPAND(onnx, lo, hi, fn)                                                     \
	{                                                                            \
		.name = onnx, .min_in = lo, .max_in = hi, .max_out = 1, .expand = fn \
	}

const struct op ops_bounded[] = {
	EXPAND("Compress", 2, 2, compress_expand),
	EXPAND("NonZero", 1, 1, non_zero_expand),
	{ .name = "Bounded",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .infer = bounded_infer,
	  .view = true,
	  .gradient = bounded_gradient,
	  .internal = true },
	{ .name = "IndexBelow",
	  .min_in = 2,
	  .max_in = 3,
	  .max_out = 1,
	  .infer = bounded_infer,
	  .pattern = index_below_pattern,
	  .stop_gradient = true,
	  .internal = true },
	{ 0 },
};
