// SPDX-License-Identifier: MIT
/*
 * Unique: elements, or slices along an axis, in their order; where one differs from the one before, a new one
 * begins. How many those are is computed (bounded.c).
 */
#include <string.h>
#include "graph.h"

#define MOST_COMPARED (1 << 26) /* elements, of all pairs of slices */

struct unique {
	struct graph *g;
	struct node *n;
	const char *name;
	struct value *x; /* flat, if there is no axis */
	int axis;
	int64_t num, width; /* slices, and elements of one */
	struct value *there; /* int64 scalar: how many slices there are; NULL: num */
	struct value *key; /* int32 [num, width]: in the order of the elements */
	struct value *rank,
		*at; /* [num]: the place of each slice in order; the slice at each place */
};

static struct value *op2(const struct unique *u, const char *op, struct value *a, struct value *b)
{
	return a && b ? graph_op2(u->g, op, u->name, a, b) : NULL;
}

static struct value *int32(const struct unique *u, int64_t v)
{
	return graph_cast(u->g, u->name, graph_const_i(u->g, v), RDU_DT_I32);
}

static struct value *cast(const struct unique *u, struct value *v, enum rdu_dtype to)
{
	return v ? graph_cast(u->g, u->name, v, to) : NULL;
}

static struct value *inverted(const struct unique *u, struct value *v)
{
	return v ? graph_op1(u->g, "Not", u->name, v) : NULL;
}

/* Of mask [num], how many before and with each are true, less one. */
static struct value *numbers(const struct unique *u, struct value *mask)
{
	struct value *v = op2(u, "CumSum", cast(u, mask, RDU_DT_I32), graph_const_i(u->g, 0));

	return op2(u, "Sub", v, int32(u, 1));
}

/* ---- order ------------------------------------------------------------------------------- */

/* How many slices come before each: where two differ first, decides; of equal ones the first. */
static struct value *rank_of_slices(const struct unique *u)
{
	int64_t w = u->width, column[] = { u->num, 1, w }, row[] = { 1, u->num, w },
		line[] = { 1, 1, w };
	int64_t down[] = { u->num, 1 }, across[] = { 1, u->num }, axis = 2, last = 1;
	struct value *same, *where, *mine, *theirs, *before, *count;
	struct node *n;

	if (u->num > MOST_COMPARED / u->num / w) {
		node_error(u->g, u->n,
			   "more than %d elements of %lld slices and each other: not supported",
			   MOST_COMPARED, (long long)u->num);
		return NULL;
	}
	same = op2(u, "Equal", graph_reshape(u->g, u->name, u->key, 3, column),
		   graph_reshape(u->g, u->name, u->key, 3, row));
	where = same ? graph_op3(u->g, "Where", u->name, same, int32(u, w - 1),
				 graph_reshape(u->g, u->name, loop_count(u->g, RDU_DT_I32, w), 3,
					       line))
		     : NULL;
	where = where ? graph_reduce(u->g, "ReduceMin", u->name, where, 1, &axis, 0) : NULL;
	if (!where)
		return NULL;
	n = node_new(u->g, "GatherElements", u->name);
	node_input(u->g, n, u->key);
	node_input(u->g, n, where);
	node_attr_i(u->g, n, "axis", 1);
	mine = graph_finish(u->g, n);
	theirs = mine ? graph_op1(u->g, "Transpose", u->name, mine) : NULL;
	count = loop_count(u->g, RDU_DT_I32, u->num);
	before = op2(u, "Less", graph_reshape(u->g, u->name, count, 2, across),
		     graph_reshape(u->g, u->name, count, 2, down));
	before = op2(u, "And", op2(u, "Equal", theirs, mine), before);
	before = op2(u, "Or", op2(u, "Less", theirs, mine), before);
	before = cast(u, before, RDU_DT_I32);
	return before ? graph_reduce(u->g, "ReduceSum", u->name, before, 1, &last, 0) : NULL;
}

static int unique_order(struct unique *u)
{
	struct value *v = u->axis ? NULL : u->x, *valid;
	int64_t table[] = { u->num, u->width }, perm[RDU_MAX_DIMS], num = 0,
		column[] = { u->num, 1 };
	struct node *n;

	if (u->axis) {
		perm[num++] = u->axis;
		for (int d = 0; d < u->x->ndim; d++)
			if (d != u->axis)
				perm[num++] = d;
		n = node_new(u->g, "Transpose", u->name);
		node_input(u->g, n, u->x);
		node_attr_ints(u->g, n, "perm", (int)num, perm);
		v = graph_finish(u->g, n);
	}
	v = graph_reshape(u->g, u->name, v, 2, table);
	u->key = v ? graph_op1(u->g, "OrderKey", u->name, v) : NULL;
	if (u->key && u->there) { /* the others are the last ones */
		valid = graph_reshape(u->g, u->name, loop_count(u->g, RDU_DT_I64, u->num), 2,
				      column);
		valid = op2(u, "Less", valid, u->there);
		u->key = valid ? graph_op3(u->g, "Where", u->name, valid, u->key,
					   int32(u, INT32_MAX))
			       : NULL;
	}
	if (!u->key)
		return -1;
	u->rank = u->width > 1
			  ? rank_of_slices(u)
			  : graph_rank(u->g, u->n, graph_reshape(u->g, u->name, u->key, 1, &u->num),
				       0, false, false);
	u->at = u->rank ? graph_rank_places(u->g, u->n, u->rank, 0, u->num) : NULL;
	return u->at ? 0 : -1;
}

/* Does a new one begin at each place? bool [num] */
static struct value *unique_begins(const struct unique *u)
{
	struct value *key = op2(u, "Gather", u->key, u->at), *here, *before, *v;
	int64_t one = 1, rest = u->num - 1;
	struct node *n = node_new(u->g, "Concat", u->name);

	v = cast(u, graph_const(u->g, RDU_DT_I32, 1, &one, (int32_t[]){ 1 }), RDU_DT_BOOL);
	if (rest && key) {
		here = graph_slice(u->g, u->name, key, 0, 1, rest, false);
		before = graph_slice(u->g, u->name, key, 0, 0, rest, false);
		here = cast(u, inverted(u, op2(u, "Equal", here, before)), RDU_DT_F32);
		here = here ? graph_reduce(u->g, "ReduceMax", u->name, here, 1, &one, 0) : NULL;
		here = cast(u, here, RDU_DT_BOOL);
		if (!here)
			return NULL;
		node_input(u->g, n, v);
		node_input(u->g, n, here);
		node_attr_i(u->g, n, "axis", 0);
		v = graph_finish(u->g, n);
	}
	if (!u->there)
		return key ? v : NULL;
	return op2(u, "And", v, op2(u, "Less", loop_count(u->g, RDU_DT_I64, u->num), u->there));
}

/* ---- results -------------------------------------------------------------------------------- */

/* Of `size` groups, which begin at these places, how many slices each has. */
static struct value *unique_counts(const struct unique *u, struct value *first, struct value *size)
{
	int64_t one = 1;
	struct value *end = u->there ? cast(u, u->there, RDU_DT_I32) : int32(u, u->num),
		     *next = NULL, *more;
	struct node *n = node_new(u->g, "Concat", u->name);

	if (u->num > 1)
		next = graph_slice(u->g, u->name, first, 0, 1, u->num - 1, false);
	end = end ? graph_reshape(u->g, u->name, end, 1, &one) : NULL;
	if (!end || (u->num > 1 && !next))
		return NULL;
	if (next)
		node_input(u->g, n, next);
	node_input(u->g, n, end);
	node_attr_i(u->g, n, "axis", 0);
	next = graph_finish(u->g, n);
	more = op2(u, "Add", loop_count(u->g, RDU_DT_I32, u->num), int32(u, 1));
	more = op2(u, "Less", more, cast(u, size, RDU_DT_I32));
	next = more && next ? graph_op3(u->g, "Where", u->name, more, next, end) : NULL;
	return op2(u, "Sub", next, first);
}

static int unique_get(struct unique *u, struct graph *g, struct node *n)
{
	int64_t axis = attr_i(n, "axis", 0), count = value_count(n->in[0]);

	*u = (struct unique){ .g = g, .n = n, .name = n->name, .x = n->in[0] };
	if (!node_attr(n, "axis"))
		u->x = graph_reshape(g, n->name, u->x, 1, &count);
	if (!u->x || node_axis(g, n, &axis, u->x->ndim))
		return -1;
	u->axis = (int)axis;
	u->num = u->x->dim[axis];
	u->width = u->num ? count / u->num : 0;
	u->there = n->in[0]->ndim == u->x->ndim ? n->in[0]->size[axis] : NULL;
	if (u->num && !u->width)
		return node_error(g, n, "slices of no elements: not supported");
	if (u->num > 1 << 24)
		return node_error(g, n, "more than 2^24 elements or slices: not supported");
	return 0;
}

/* Of nothing. */
static int unique_none(const struct unique *u)
{
	int64_t none = 0;

	for (int k = 1; k < 4; k++)
		graph_replace(u->n, k, graph_const(u->g, RDU_DT_I64, 1, &none, NULL));
	return graph_replace_first(u->n, u->x);
}

static int unique_expand(struct graph *g, struct node *n)
{
	struct value *begins, *first, *size, *pick, *inverse, *counts, *v;
	struct node *m = node_new(g, "Gather", n->name);
	struct unique u;

	if (unique_get(&u, g, n))
		return -1;
	if (!u.num)
		return unique_none(&u);
	if (unique_order(&u))
		return -1;
	begins = unique_begins(&u);
	first = begins ? bounded_places(g, n->name, begins, &size) : NULL;
	pick = op2(&u, "Gather", u.at, first);
	inverse = first ? op2(&u, "Gather", numbers(&u, begins), u.rank) : NULL;
	counts = first ? unique_counts(&u, first, size) : NULL;
	if (!attr_i(n, "sorted", 1)) { /* in the order in which they come first */
		begins = op2(&u, "Gather", begins, u.rank);
		v = begins ? op2(&u, "Gather", numbers(&u, begins), pick)
			   : NULL; /* by sorted numbers */
		pick = begins ? bounded_places(g, n->name, begins, &size) : NULL;
		counts = op2(&u, "Gather", counts, op2(&u, "Gather", inverse, pick));
		inverse = op2(&u, "Gather", v, inverse);
	}
	counts = cast(&u, counts, RDU_DT_I64);
	inverse = cast(&u, inverse, RDU_DT_I64);
	if (!pick || !counts || !inverse)
		return -1;
	node_input(g, m, u.x);
	node_input(g, m, pick);
	node_attr_i(g, m, "axis", u.axis);
	v = bounded_sized(g, n->name, graph_finish(g, m), u.axis, size);
	pick = bounded_sized(g, n->name, cast(&u, pick, RDU_DT_I64), 0, size);
	counts = bounded_sized(g, n->name, counts, 0, size);
	if (u.there)
		inverse = bounded_sized(g, n->name, inverse, 0, u.there);
	if (!v || !pick || !counts || !inverse)
		return -1;
	graph_replace(n, 1, pick);
	graph_replace(n, 2, inverse);
	graph_replace(n, 3, counts);
	return graph_replace_first(n, v);
}

/* ---- OrderKey ---------------------------------------------------------------------------------- */

static int order_key_infer(struct graph *g, struct node *n)
{
	return node_shape(g, n, 0, RDU_DT_I32, n->in[0]->ndim, n->in[0]->dim);
}

static int order_key_pattern(struct lower *l, struct node *n)
{
	struct value *x = n->in[0];
	struct nest *nest = lower_nest(l, n, NULL);

	for (int d = 0; d < x->ndim; d++)
		nest_dim(nest, axis_name(x->ndim, d), x->dim[d], false);
	nest_input(nest, lower_value(l, x));
	access_identity(&nest->in[0]);
	nest_output(nest, lower_value(l, n->out[0]),
		    expr_order_key(nest, x->dtype, nest_in(nest, 0)));
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

const struct op ops_unique[] = {
	{ .name = "Unique",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 4,
	  .expand = unique_expand,
	  .optional_first = true },
	{ .name = "OrderKey",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .infer = order_key_infer,
	  .pattern = order_key_pattern,
	  .stop_gradient = true,
	  .internal = true },
	{ 0 },
};
