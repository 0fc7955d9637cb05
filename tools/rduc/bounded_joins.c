// SPDX-License-Identifier: MIT
/* Rules of bounded values (bounded.c) of operators that join or part elements along a dimension, or scatter them. */
#include <limits.h>
#include <string.h>
#include "bounded.h"

static struct value *op2(struct graph *g, struct node *n, const char *op, struct value *a,
			 struct value *b)
{
	return bounded_op2(g, n->name, op, a, b);
}

/* How many of dimension d there are: int64 scalar. */
static struct value *size_of(struct graph *g, const struct value *v, int d)
{
	return v->size[d] ? v->size[d] : graph_const_i(g, v->dim[d]);
}

/* Counts along dimension d: `num`, int64, as a row. */
static struct value *counted(struct graph *g, int64_t num)
{
	return loop_count(g, RDU_DT_I64, num);
}

/* Elements of x along an axis at places `at`, of which `size` count. */
static struct value *taken(struct graph *g, struct node *n, struct value *x, int axis,
			   struct value *at, struct value *size)
{
	struct node *m = node_new(g, "Gather", n->name);
	struct value *there = at ? op2(g, n, "Less", counted(g, at->dim[0]), size) : NULL, *v;

	at = there ? graph_op3(g, "Where", n->name, there, at, graph_const_i(g, 0)) : NULL;
	if (!at)
		return NULL;
	node_input(g, m, x);
	node_input(g, m, at);
	node_attr_i(g, m, "axis", axis);
	v = graph_finish(g, m);
	if (!v)
		return NULL;
	memcpy(v->size, x->size, sizeof(v->size));
	v->size[axis] = NULL;
	return bounded_sized(g, n->name, v, axis, size);
}

/* ---- dimensions that are none of the node's ------------------------------------------------ */

/* Each part along an axis is as large as the input is elsewhere. */
static int beside_axis(struct graph *g, struct node *n, int64_t axis)
{
	struct value *x = n->in[0], *size[RDU_MAX_DIMS];

	if (node_axis(g, n, &axis, x->ndim))
		return -1;
	if (x->size[axis])
		return bounded_refuse(g, n, x, "along this axis");
	memcpy(size, x->size, sizeof(size));
	return bounded_process(g, n, size);
}

int bounded_split(struct graph *g, struct node *n)
{
	return beside_axis(g, n, attr_i(n, "axis", 0));
}

/* What works on each batch alone, if that is the first dimension. */
int bounded_batches(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *size[RDU_MAX_DIMS] = { x->size[0] };

	for (int i = 0; i < n->num_in; i++)
		for (int d = 0; n->in[i] && d < n->in[i]->ndim; d++)
			if (n->in[i]->size[d] && (i || d))
				return bounded_refuse(g, n, n->in[i],
						      "but along the first dimension");
	if (attr_i(n, "training_mode", 0))
		return bounded_refuse(g, n, x, "in training mode");
	return bounded_process(g, n, size);
}

/* Regions may be bounded: of those that do not count, the first pixels. */
int bounded_roi_align(struct graph *g, struct node *n)
{
	struct value *size[RDU_MAX_DIMS] = { n->in[1]->size[0] };

	if (value_is_bounded(n->in[0]) || n->in[1]->size[1] || n->in[2]->size[0] != size[0])
		return bounded_refuse(g, n, value_is_bounded(n->in[0]) ? n->in[0] : n->in[1],
				      "as this input");
	for (int i = 1; i < 3; i++) {
		n->in[i] = bounded_filled(g, n->name, n->in[i], FILL_ZERO);
		if (!n->in[i])
			return -1;
	}
	if (graph_process(g, n))
		return -1;
	return bounded_give(g, n, 0, size);
}

/* ---- Concat --------------------------------------------------------------------------------- */

static int concat_extents(struct graph *g, struct node *n)
{
	struct extent *e = graph_alloc(g, MAX_EXTENTS * sizeof(*e));
	int num = 0;

	for (int i = 0; i < n->num_in; i++) {
		int k;
		const struct extent *v = bounded_extents(g, n->in[i], &k);

		if (!v || num + k > MAX_EXTENTS)
			return graph_process(g, n);
		memcpy(e + num, v, (size_t)k * sizeof(*e));
		num += k;
	}
	return graph_process(g, n) ? -1 : bounded_set_extents(g, n, e, false);
}

/* Where each place of the result is in the rooms beside each other; *size: how many there are. */
static struct value *concat_places(struct graph *g, struct node *n, int axis, struct value **size)
{
	int64_t room = 0;
	struct value *at, *end = NULL, *none = graph_const_i(g, 0);

	for (int i = 0; i < n->num_in; i++)
		room += n->in[i]->dim[axis];
	at = counted(g, room);
	for (int i = 0; i < n->num_in && at; i++) {
		const struct value *v = n->in[i];
		struct value *behind, *gap;

		end = i ? op2(g, n, "Add", end, size_of(g, v, axis)) : size_of(g, v, axis);
		if (!v->size[axis] || i + 1 == n->num_in)
			continue;
		behind = op2(g, n, "GreaterOrEqual", counted(g, room), end);
		gap = op2(g, n, "Sub", graph_const_i(g, v->dim[axis]), v->size[axis]);
		gap = behind && gap ? graph_op3(g, "Where", n->name, behind, gap, none) : NULL;
		at = op2(g, n, "Add", at, gap);
	}
	*size = end;
	return end ? at : NULL;
}

int bounded_concat(struct graph *g, struct node *n)
{
	struct value *size[RDU_MAX_DIMS] = { NULL }, *all, *v, *at;
	int64_t axis = attr_i(n, "axis", g->opset < 4 ? 1 : 0);
	struct node *m = node_new(g, "Concat", n->name);
	bool gaps = false;

	if (node_axis(g, n, &axis, n->in[0]->ndim))
		return -1;
	if (n->in[0]->ndim == 1 && !bounded_any(n))
		return concat_extents(g, n);
	for (int i = 0; i < n->num_in; i++) {
		v = n->in[i];
		if (v->ndim != n->in[0]->ndim)
			return graph_process(g, n);
		gaps |= v->size[axis] && i + 1 < n->num_in;
		for (int d = 0; d < v->ndim; d++)
			if (d != axis && v->size[d] != n->in[0]->size[d])
				return bounded_refuse(g, n, v->size[d] ? v : n->in[0],
						      "together with another size");
		node_input(g, m, v);
	}
	node_attr_i(g, m, "axis", axis);
	memcpy(size, n->in[0]->size, sizeof(size));
	at = concat_places(g, n, (int)axis, &all);
	v = at ? graph_finish(g, m) : NULL;
	if (!v)
		return -1;
	memcpy(v->size, size, sizeof(size));
	v->size[axis] = NULL;
	if (gaps)
		v = taken(g, n, v, (int)axis, at, all);
	else if (n->in[n->num_in - 1]->size[axis])
		v->size[axis] = all;
	return graph_replace_first(n, v);
}

/* ---- Slice ------------------------------------------------------------------------------------ */

/* A place that starts or ends say, of which those below 0 count from the end, from 0 to the size. */
static struct value *slice_place(struct graph *g, struct node *n, const struct extent *e,
				 struct value *size)
{
	struct value *v = e->size ? e->size : graph_const_i(g, e->most);

	if (e->size ? e->least >= 0 : e->most >= 0)
		return op2(g, n, "Min", v, size);
	if (e->size)
		v = op2(g, n, "Min",
			op2(g, n, "Sub", v, op2(g, n, "Mul", size, bounded_sign(g, n->name, v))),
			size);
	else
		v = op2(g, n, "Add", size,
			graph_const_i(g, e->most > -INT_MAX ? e->most : -INT_MAX));
	return op2(g, n, "Max", v, graph_const_i(g, 0));
}

/* One axis, which is always as large. */
static struct value *slice_known(struct graph *g, struct node *n, struct value *x, int axis,
				 int64_t from, int64_t to, int64_t step)
{
	const int64_t numbers[] = { from, to, axis, step }, one = 1;
	struct node *m = node_new(g, "Slice", n->name);
	struct value *v;

	node_input(g, m, x);
	for (int i = 0; i < 4; i++)
		node_input(g, m, graph_const(g, RDU_DT_I64, 1, &one, &numbers[i]));
	v = graph_finish(g, m);
	if (v)
		memcpy(v->size, x->size, sizeof(v->size));
	return v;
}

/* One axis, by sizes that are not known; step > 0. */
static struct value *slice_sized(struct graph *g, struct node *n, struct value *x, int axis,
				 const struct extent *from, const struct extent *to, int64_t step)
{
	struct extent first = *from, last = *to;
	struct value *size = size_of(g, x, axis), *start, *end, *num, *at;
	int64_t most = x->dim[axis], num_most;

	/* Beyond any dimension is its end. */
	first.most = first.most > most ? most : first.most;
	last.most = last.most > most ? most : last.most;
	start = slice_place(g, n, &first, size);
	end = slice_place(g, n, &last, size);
	num = op2(g, n, "Max", op2(g, n, "Sub", end, start), graph_const_i(g, 0));
	if (num && step > 1)
		num = op2(g, n, "Div", op2(g, n, "Add", num, graph_const_i(g, step - 1)),
			  graph_const_i(g, step));
	if (!num)
		return NULL;
	if (!last.size && last.most >= 0)
		most = last.most;
	if (!first.size)
		most = first.most >= 0	    ? most - first.most
		       : most < -first.most ? most
					    : -first.most;
	num_most = most > 0 ? (most + step - 1) / step : 0;
	if (!num_most) {
		struct value *v = graph_slice(g, n->name, x, axis, 0, 0, false);

		for (int d = 0; v && d < x->ndim; d++)
			v->size[d] = d == axis ? NULL : x->size[d];
		return v;
	}
	if (!first.size && !first.most && step == 1) { /* the first ones stay where they are */
		struct value *v = x->dim[axis] == num_most
					  ? graph_op1(g, "Bounded", n->name, x)
					  : graph_slice(g, n->name, x, axis, 0, num_most, false);

		for (int d = 0; v && d < x->ndim; d++)
			v->size[d] = d == axis ? NULL : x->size[d];
		return bounded_sized(g, n->name, v, axis, num);
	}
	at = counted(g, num_most);
	at = step > 1 ? op2(g, n, "Mul", at, graph_const_i(g, step)) : at;
	return taken(g, n, x, axis, op2(g, n, "Add", at, start), num);
}

/* Input or, before opset 10, attribute. */
static const struct extent *slice_numbers(struct graph *g, struct node *n, int in, const char *name,
					  int *num)
{
	const int64_t *p;
	struct extent *e;

	if (n->num_in > 1)
		return node_in(n, in) ? bounded_extents(g, n->in[in], num) : NULL;
	p = attr_ints(n, name, num);
	e = p ? graph_alloc(g, (size_t)(*num + 1) * sizeof(*e)) : NULL;
	for (int i = 0; e && i < *num; i++)
		e[i].most = p[i];
	return e;
}

/* Of what is computed of sizes. */
static int slice_extents(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *y;
	struct extent *e;
	int num, step_num;
	const struct extent *from = slice_numbers(g, n, 1, "starts", &num);
	const struct extent *step = slice_numbers(g, n, 4, "steps", &step_num);

	if (graph_process(g, n))
		return -1;
	y = value_resolve(n->out[0]);
	if (!from || num != 1 || from->size || (step && (step->size || step->most != 1)))
		return 0;
	e = graph_alloc(g, (size_t)(value_count(y) + 1) * sizeof(*e));
	for (int64_t i = 0; i < value_count(y); i++) {
		int64_t first = from->most < -x->dim[0] ? 0
				: from->most < 0	? from->most + x->dim[0]
							: from->most;

		e[i] = x->extents[first + i];
	}
	return bounded_set_extents(g, n, e, false);
}

int bounded_slice(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	int num, num_to, num_axes = 0, num_steps = 0;
	const struct extent *from, *to, *axes, *steps;

	if (x->extents && x->ndim == 1)
		return slice_extents(g, n);
	from = slice_numbers(g, n, 1, "starts", &num);
	to = slice_numbers(g, n, 2, "ends", &num_to);
	axes = slice_numbers(g, n, 3, "axes", &num_axes);
	steps = slice_numbers(g, n, 4, "steps", &num_steps);
	if (!from || !to || num != num_to || (axes && num_axes != num) ||
	    (steps && num_steps != num) || (!axes && num > x->ndim) || (!axes && node_in(n, 3)) ||
	    (!steps && node_in(n, 4)))
		return value_is_bounded(x)
			       ? bounded_refuse(g, n, x, "with starts and ends that are data")
			       : graph_process(g, n);
	for (int k = 0; k < num; k++) {
		int64_t axis = axes ? axes[k].most : k, step = steps ? steps[k].most : 1;

		if (node_axis(g, n, &axis, x->ndim))
			return -1;
		if ((steps && steps[k].size) || (axes && axes[k].size) ||
		    ((x->size[axis] || from[k].size || to[k].size) && step < 1))
			return bounded_refuse(g, n, x, "with this step");
		x = x->size[axis] || from[k].size || to[k].size
			    ? slice_sized(g, n, x, (int)axis, &from[k], &to[k], step)
			    : slice_known(g, n, x, (int)axis, from[k].most, to[k].most, step);
		if (!x)
			return -1;
	}
	return graph_replace_first(n, x);
}

/* ---- reductions --------------------------------------------------------------------------------- */

/* Which dimensions a reduction is over, from its second input or its attribute. -1 and an error. */
static int reduced(struct graph *g, struct node *n, bool *over)
{
	int num = 0, ndim = n->in[0]->ndim;
	const int64_t *axes = attr_ints(n, "axes", &num);

	if (!axes && node_in(n, 1) && !(axes = node_const_ints(g, n, 1, &num)))
		return -1;
	for (int d = 0; d < ndim; d++)
		over[d] = !num && !attr_i(n, "noop_with_empty_axes", 0);
	for (int i = 0; i < num; i++) {
		int64_t a = axes[i];

		if (node_axis(g, n, &a, ndim))
			return -1;
		over[a] = true;
	}
	return 0;
}

static void kept_sizes(const struct value *x, const bool *over, bool keep, struct value **size)
{
	int at = 0;

	for (int d = 0; d < x->ndim; d++)
		if (!over[d])
			size[at++] = x->size[d];
		else if (keep)
			size[at++] = NULL;
}

static const struct {
	const char *op;
	enum bounded_fill fill; /* what changes nothing */
} neutral[] = {
	{ "ReduceSum", FILL_ZERO },	    { "ReduceMax", FILL_LOWEST },
	{ "ReduceMin", FILL_HIGHEST },	    { "ReduceProd", FILL_ONE },
	{ "ReduceL1", FILL_ZERO },	    { "ReduceL2", FILL_ZERO },
	{ "ReduceSumSquare", FILL_ZERO },   { "ReduceLogSum", FILL_ZERO },
	{ "ReduceLogSumExp", FILL_LOWEST }, { "ReduceMean", FILL_ZERO },
};

/* A sum over all, divided by how many they are. */
static int mean(struct graph *g, struct node *n, const bool *over, struct value **size)
{
	struct value *x = n->in[0], *num = NULL, *v;
	int64_t axes[RDU_MAX_DIMS], known = 1;
	int num_axes = 0;

	for (int d = 0; d < x->ndim; d++) {
		if (!over[d])
			continue;
		axes[num_axes++] = d;
		known *= x->size[d] ? 1 : x->dim[d];
		if (x->size[d])
			num = num ? op2(g, n, "Mul", num, x->size[d]) : x->size[d];
	}
	num = op2(g, n, "Mul", num, graph_const_i(g, known));
	x = bounded_filled(g, n->name, x, FILL_ZERO);
	v = x && num ? graph_reduce(g, "ReduceSum", n->name, x, num_axes, axes,
				    (int)attr_i(n, "keepdims", 1))
		     : NULL;
	v = v ? op2(g, n, "Div", v, graph_cast(g, n->name, num, x->dtype)) : NULL;
	return graph_replace_first(n, v) ? -1 : bounded_give(g, n, 0, size);
}

/* The least, greatest, sum or product of numbers that are made of sizes. */
static int reduced_extents(struct graph *g, struct node *n)
{
	static const char *const ops[][2] = { { "ReduceMin", "Min" },
					      { "ReduceMax", "Max" },
					      { "ReduceSum", "Add" },
					      { "ReduceProd", "Mul" } };
	const struct value *x = n->in[0];
	struct extent *e = graph_alloc(g, sizeof(*e));
	int64_t num = value_count(x);
	const char *op = NULL;

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		op = strcmp(n->op->name, ops[i][0]) ? op : ops[i][1];
	if (graph_process(g, n))
		return -1;
	if (!op || x->ndim != 1 || value_count(value_resolve(n->out[0])) != 1 || num < 1)
		return 0;
	*e = x->extents[0];
	for (int64_t i = 1; i < num; i++)
		if (!bounded_combine(op, e, &x->extents[i], e))
			return 0;
	return bounded_set_extents(g, n, e, true);
}

int bounded_reduce(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *size[RDU_MAX_DIMS] = { NULL };
	bool over[RDU_MAX_DIMS], joins = false;
	size_t k = 0;

	if (x->extents)
		return reduced_extents(g, n);
	if (!value_is_bounded(x))
		return graph_process(g, n);
	if (reduced(g, n, over))
		return -1;
	for (int d = 0; d < x->ndim; d++)
		joins |= over[d] && x->size[d];
	kept_sizes(x, over, attr_i(n, "keepdims", 1), size);
	while (strcmp(neutral[k].op, n->op->name))
		k++;
	if (joins && !strcmp(n->op->name, "ReduceMean"))
		return mean(g, n, over, size);
	n->in[0] = joins ? bounded_filled(g, n->name, x, neutral[k].fill) : x;
	if (!n->in[0] || graph_process(g, n))
		return -1;
	return bounded_give(g, n, 0, size);
}

/* ArgMax, ArgMin: what does not count comes behind what is equal. */
int bounded_arg(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *size[RDU_MAX_DIMS] = { NULL };
	int64_t axis = attr_i(n, "axis", 0);
	bool over[RDU_MAX_DIMS] = { false };

	if (node_axis(g, n, &axis, x->ndim))
		return -1;
	if (x->size[axis] && attr_i(n, "select_last_index", 0))
		return bounded_refuse(g, n, x, "with the last index of equal ones");
	over[axis] = true;
	kept_sizes(x, over, attr_i(n, "keepdims", 1), size);
	if (x->size[axis])
		n->in[0] = bounded_filled(
			g, n->name, x, !strcmp(n->op->name, "ArgMax") ? FILL_LOWEST : FILL_HIGHEST);
	if (!n->in[0] || graph_process(g, n))
		return -1;
	return bounded_give(g, n, 0, size);
}

/* Softmax and LogSoftmax. */
int bounded_softmax(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *size[RDU_MAX_DIMS];
	int64_t axis = attr_i(n, "axis", g->opset < 13 ? 1 : -1);

	if (node_axis(g, n, &axis, x->ndim))
		return -1;
	for (int d = (int)axis; g->opset < 13 && d < x->ndim; d++)
		if (x->size[d])
			return bounded_refuse(g, n, x, "from this axis on");
	memcpy(size, x->size, sizeof(size));
	if (x->size[axis])
		n->in[0] = bounded_filled(g, n->name, x, FILL_LOWEST);
	if (!n->in[0] || graph_process(g, n))
		return -1;
	return bounded_give(g, n, 0, size);
}

int bounded_cumsum(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *size[RDU_MAX_DIMS];

	if (value_is_bounded(n->in[1]))
		return bounded_refuse(g, n, n->in[1], "as an axis");
	memcpy(size, x->size, sizeof(size));
	if (attr_i(n, "reverse", 0))
		n->in[0] = bounded_filled(g, n->name, x, FILL_ZERO);
	if (!n->in[0] || graph_process(g, n))
		return -1;
	return bounded_give(g, n, 0, size);
}

/* ---- TopK ----------------------------------------------------------------------------------------- */

int bounded_top_k(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *size[RDU_MAX_DIMS], *k;
	int64_t axis = attr_i(n, "axis", -1), most, one = 1;
	const struct extent *e;
	struct node *m;
	int num;

	if (node_axis(g, n, &axis, x->ndim))
		return -1;
	if (n->num_in < 2)
		return beside_axis(g, n, axis);
	e = bounded_extents(g, n->in[1], &num);
	if (!e || num != 1 || e->most < 0)
		return graph_process(g, n);
	if (!x->size[axis] && !e->size)
		return beside_axis(g, n, axis);
	memcpy(size, x->size, sizeof(size));
	most = e->most < x->dim[axis] ? e->most : x->dim[axis];
	/* More than there are stop the run. */
	k = e->size ? bounded_whole(g, n->name, e) : graph_const_i(g, e->most);
	if (!k)
		return -1;
	m = node_new(g, "IndexBelow", graph_format(g, "%.200s.k", n->name));
	node_input(g, m, k);
	node_input(g, m, op2(g, n, "Add", size_of(g, x, (int)axis), graph_const_i(g, 1)));
	size[axis] = m->in[1] ? graph_finish(g, m) : NULL;
	if (!size[axis])
		return -1;
	if (x->size[axis])
		n->in[0] = bounded_filled(g, n->name, x,
					  attr_i(n, "largest", 1) ? FILL_LOWEST : FILL_LAST);
	n->in[1] = graph_const(g, RDU_DT_I64, 1, &one, &most);
	if (!n->in[0] || graph_process(g, n))
		return -1;
	for (int i = 0; i < 2; i++)
		if (bounded_give(g, n, i, size))
			return -1;
	return 0;
}

/* ---- products --------------------------------------------------------------------------------------- */

/* Rows of a, columns of b, and terms of both. */
static int product(struct graph *g, struct node *n, int row, int term, int other_term, int column,
		   struct value **size, int ndim)
{
	struct value *a = n->in[0], *b = n->in[1];

	if (a->size[term] != b->size[other_term])
		return bounded_refuse(g, n, a->size[term] ? a : b,
				      "in a sum with terms of another size");
	if (a->size[term])
		for (int i = 0; i < 2; i++) {
			n->in[i] = bounded_filled(g, n->name, n->in[i], FILL_ZERO);
			if (!n->in[i])
				return -1;
		}
	size[ndim - 2] = a->size[row];
	size[ndim - 1] = b->size[column];
	if (graph_process(g, n))
		return -1;
	return bounded_give(g, n, 0, size);
}

int bounded_matmul(struct graph *g, struct node *n)
{
	struct value *a = n->in[0], *b = n->in[1], *size[RDU_MAX_DIMS] = { NULL };
	int ndim = a->ndim > b->ndim ? a->ndim : b->ndim;

	if (a->ndim < 2 || b->ndim < 2)
		return bounded_refuse(g, n, value_is_bounded(a) ? a : b,
				      "in a product with a vector");
	for (int d = 0; d < ndim - 2; d++) {
		int i = d - (ndim - a->ndim), k = d - (ndim - b->ndim);
		struct value *s = i < 0 ? NULL : a->size[i], *t = k < 0 ? NULL : b->size[k];

		if ((s && k >= 0 && b->dim[k] != 1 && s != t) ||
		    (t && i >= 0 && a->dim[i] != 1 && s != t))
			return bounded_refuse(g, n, s ? a : b, "together with another size");
		size[d] = s ? s : t;
	}
	return product(g, n, a->ndim - 2, a->ndim - 1, b->ndim - 2, b->ndim - 1, size, ndim);
}

int bounded_gemm(struct graph *g, struct node *n)
{
	struct value *size[RDU_MAX_DIMS] = { NULL }, *c = node_in(n, 2);
	int a = (int)attr_i(n, "transA", 0), b = (int)attr_i(n, "transB", 0);

	if (c && value_is_bounded(c))
		return bounded_refuse(g, n, c, "as this input");
	if (c && c->ndim == 2 &&
	    ((n->in[0]->size[a] && c->dim[0] != 1) || (n->in[1]->size[!b] && c->dim[1] != 1)))
		return bounded_refuse(g, n, n->in[n->in[0]->size[a] ? 0 : 1],
				      "together with an input of one size");
	return product(g, n, a, !a, b, !b, size, 2);
}

/* ---- scatters --------------------------------------------------------------------------------------- */

/* Indices along an axis of x, of which those that count have to be there; `beyond` for the others. */
static struct value *places_along(struct graph *g, struct node *n, const struct value *x, int axis,
				  struct value *idx, struct value *valid, int64_t beyond)
{
	struct node *m = node_new(g, "IndexBelow", graph_format(g, "%.200s.index", n->name));
	struct value *v;

	node_input(g, m, idx);
	node_input(g, m, size_of(g, x, axis));
	if (valid)
		node_input(g, m, valid);
	v = graph_finish(g, m);
	if (!v || !valid || !beyond)
		return v;
	return graph_op3(g, "Where", n->name, valid, v,
			 graph_cast(g, n->name, graph_const_i(g, beyond), v->dtype));
}

/* Tuples of k indices into x as one each, into its first k dimensions as if they were one. */
static struct value *tuple_places(struct graph *g, struct node *n, const struct value *x,
				  struct value *idx, int k, struct value *valid)
{
	struct value *v = NULL, *one;
	int last = idx->ndim - 1;

	for (int d = 0; d < k; d++) {
		one = graph_slice(g, n->name, idx, last, d, 1, false);
		one = one ? places_along(g, n, x, d, one, valid, 0) : NULL;
		if (v && one)
			v = graph_op2(
				g, "Mul", n->name, v,
				graph_cast(g, n->name, graph_const_i(g, x->dim[d]), v->dtype));
		v = d && one ? graph_op2(g, "Add", n->name, v, one) : one;
		if (!v)
			return NULL;
	}
	return valid ? graph_op3(g, "Where", n->name, valid, v,
				 graph_cast(g, n->name, graph_const_i(g, dims_count(k, x->dim)),
					    v->dtype))
		     : v;
}

/* A node like n that scatters to x, which has one more place along the axis for what does not count. */
static struct value *scattered(struct graph *g, struct node *n, struct value *x, int axis,
			       struct value *idx)
{
	int64_t pads[2 * RDU_MAX_DIMS] = { 0 }, num = 2 * x->ndim, count = x->dim[axis];
	struct node *m = node_new(g, "Pad", n->name);
	struct attr *how = node_attr(n, "reduction");
	struct value *v;

	pads[x->ndim + axis] = 1;
	node_input(g, m, x);
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &num, pads));
	v = idx ? graph_finish(g, m) : NULL;
	if (!v)
		return NULL;
	m = node_new(g, n->op->name, n->name);
	node_input(g, m, v);
	node_input(g, m, idx);
	node_input(g, m, n->in[2]);
	if (strcmp(n->op->name, "ScatterND"))
		node_attr_i(g, m, "axis", axis);
	if (how)
		node_attr_s(g, m, "reduction", how->s);
	v = graph_finish(g, m);
	return v ? graph_slice(g, n->name, v, axis, 0, count, false) : NULL;
}

/* Indices, of which there have to be as many as updates, along their first num dimensions: else the run stops. */
static struct value *as_many(struct graph *g, struct node *n, struct value *idx,
			     const struct value *updates, int num)
{
	struct value *size[RDU_MAX_DIMS];
	struct node *m = node_new(g, "Bounded", n->name);
	bool other = false;

	memcpy(size, idx->size, sizeof(size));
	for (int d = 0; d < num && d < updates->ndim; d++) {
		if (size[d] == updates->size[d])
			continue;
		if (!size[d] || !updates->size[d] || idx->dim[d] != updates->dim[d]) {
			bounded_refuse(g, n, size[d] ? idx : updates, "together with another size");
			return NULL;
		}
		size[d] = bounded_as_said(g, n->name, size[d], updates->size[d]);
		if (!size[d])
			return NULL;
		other = true;
	}
	if (!other)
		return idx;
	node_input(g, m, idx);
	idx = graph_finish(g, m);
	if (idx)
		memcpy(idx->size, size, sizeof(size));
	return idx;
}

/* Updates that do not count go to one more place along an axis, which is cut off again. */
int bounded_scatter(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *idx = n->in[1], *updates = n->in[2], *size[RDU_MAX_DIMS], *v;
	struct value *valid = NULL;
	bool nd = !strcmp(n->op->name, "ScatterND");
	int64_t axis = nd ? 0 : attr_i(n, "axis", 0),
		k = nd && idx->ndim ? idx->dim[idx->ndim - 1] : 1;
	int64_t dim[RDU_MAX_DIMS];

	if (node_axis(g, n, &axis, x->ndim))
		return -1;
	if (nd && (idx->ndim < 1 || k < 1 || k > x->ndim || idx->size[idx->ndim - 1]))
		return bounded_refuse(g, n, value_is_bounded(idx) ? idx : first_bounded(n),
				      "with such tuples");
	for (int d = 0; nd && k > 1 && d < k; d++)
		if (x->size[d])
			return bounded_refuse(g, n, x, "with tuples of indices");
	idx = as_many(g, n, idx, updates, idx->ndim - nd);
	if (!idx)
		return -1;
	for (int d = nd ? 1 : 0; d < x->ndim; d++)
		if (d != axis && x->size[d] && !nd && x->size[d] != idx->size[d])
			return bounded_refuse(g, n, x, "with indices of another size");
	memcpy(size, x->size, sizeof(size));
	if (value_is_bounded(idx) && !(valid = bounded_valid(g, n->name, idx)))
		return -1;
	if (g->counts && !(valid = counting_and(g, n->name, valid)))
		return -1;
	if (k > 1) { /* x as [places, what each has] */
		dim[0] = dims_count((int)k, x->dim);
		memcpy(dim + 1, x->dim + k, (size_t)(x->ndim - k) * sizeof(*dim));
		v = graph_reshape(g, n->name, x, x->ndim - (int)k + 1, dim);
		v = v ? scattered(g, n, v, 0, tuple_places(g, n, x, idx, (int)k, valid)) : NULL;
		v = graph_reshape(g, n->name, v, x->ndim, x->dim);
	} else {
		v = scattered(g, n, x, (int)axis,
			      places_along(g, n, x, (int)axis, idx, valid, x->dim[axis]));
	}
	return graph_replace_first(n, v) ? -1 : bounded_give(g, n, 0, size);
}

/* ---- shapes that are made of sizes ------------------------------------------------------------------- */

/* The shape in numbers, each the most that it may be. NULL: it is not one of sizes. */
static const struct extent *shape_of(struct graph *g, struct node *n, int in, int *num)
{
	const struct extent *e = bounded_extents(g, n->in[in], num);
	int64_t dim[RDU_MAX_DIMS], count = *num;
	struct extent *whole;

	if (!e || *num > RDU_MAX_DIMS)
		return NULL;
	whole = graph_alloc(g, (size_t)(count + 1) * sizeof(*whole));
	for (int i = 0; i < *num; i++) {
		dim[i] = e[i].most;
		whole[i] = (struct extent){ e[i].most, bounded_whole(g, n->name, &e[i]), 0 };
		if (e[i].size && !whole[i].size)
			return NULL;
	}
	n->in[in] = graph_const(g, RDU_DT_I64, 1, &count, dim);
	return whole;
}

int bounded_fill_shape(struct graph *g, struct node *n)
{
	struct value *size[RDU_MAX_DIMS] = { NULL };
	const struct extent *e;
	int num;

	e = shape_of(g, n, 0, &num);
	if (graph_process(g, n))
		return -1;
	for (int d = 0; e && d < num; d++)
		size[d] = e[d].size;
	return bounded_give(g, n, 0, size);
}

int bounded_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *size[RDU_MAX_DIMS] = { NULL };
	const struct extent *e;
	int num, ndim;

	e = shape_of(g, n, 1, &num);
	if (!e)
		return graph_process(g, n);
	ndim = num > x->ndim ? num : x->ndim;
	for (int d = 0; d < ndim; d++) {
		int k = d - (ndim - num), i = d - (ndim - x->ndim);
		struct value *to = k < 0 ? NULL : e[k].size, *from = i < 0 ? NULL : x->size[i];

		if (from && k >= 0 && from != to && (to || e[k].most != 1))
			return bounded_refuse(g, n, x, "to another size");
		if (to && !from && i >= 0 && x->dim[i] != 1)
			return node_error(
				g, n,
				"dimension %d is %lld, and is to be a size that depends on data: "
				"not supported",
				i, (long long)x->dim[i]);
		size[d] = to ? to : from;
	}
	if (graph_process(g, n))
		return -1;
	return bounded_give(g, n, 0, size);
}

/* Repeats may be a size; what is bounded itself stays once. */
int bounded_tile(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *size[RDU_MAX_DIMS] = { NULL };
	const struct extent *e;
	int num;

	e = shape_of(g, n, 1, &num);
	if (!e || num != x->ndim)
		return graph_process(g, n);
	for (int d = 0; d < num; d++) {
		if (x->size[d] && (e[d].size || e[d].most != 1))
			return bounded_refuse(g, n, x, "where it is repeated");
		size[d] = x->size[d];
		if (e[d].size)
			size[d] = bounded_op2(g, n->name, "Mul", e[d].size,
					      graph_const_i(g, x->dim[d]));
		if (e[d].size && !size[d])
			return -1;
	}
	if (graph_process(g, n))
		return -1;
	return bounded_give(g, n, 0, size);
}

/* Up to a size, from a number, by steps of one. */
int bounded_range(struct graph *g, struct node *n)
{
	const struct extent *from, *to, *by;
	struct value *v, *num;
	int k;

	from = bounded_extents(g, n->in[0], &k);
	to = bounded_extents(g, n->in[1], &k);
	by = bounded_extents(g, n->in[2], &k);
	if (!from || !to || !by || !to->size || from->size || by->size || by->most != 1 ||
	    from->most < 0)
		return graph_process(g, n);
	num = to->size;
	if (from->most)
		num = op2(g, n, "Sub", num, graph_const_i(g, from->most));
	if (from->most || to->least < 0)
		num = op2(g, n, "Max", num, graph_const_i(g, 0));
	v = counted(g, to->most > from->most ? to->most - from->most : 0);
	if (from->most)
		v = op2(g, n, "Add", v, graph_const_i(g, from->most));
	v = v ? graph_cast(g, n->name, v, n->in[0]->dtype) : NULL;
	return graph_replace_first(n, value_count(v) ? bounded_sized(g, n->name, v, 0, num) : v);
}
