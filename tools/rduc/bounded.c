// SPDX-License-Identifier: MIT
/*
 * Bounded values: tensors of which data say how large they are (NonZero's result, for example). The shape
 * that a value has here, its room, is the largest; value->size[d] is computed on the card and says how many of
 * dimension d a run has. They are the first ones, and what lies behind them has no meaning: it may not get
 * into anything that has one, nor stop a run.
 *
 * A node of the model that reads such a value is processed by its operator's rule, which says what the node's
 * outputs are bounded by, and keeps away what has no meaning: where the operator joins elements along a bounded
 * dimension, it is replaced by what changes nothing. An operator without a rule is refused. Rules are for the
 * nodes of the model alone: what these are made of works on whole rooms.
 *
 * What is computed of a bounded value's Shape is followed (value->extents), for the operators that take shapes.
 */
#include <limits.h>
#include <math.h>
#include <string.h>
#include "bounded.h"

bool value_is_bounded(const struct value *v)
{
	for (int d = 0; v && d < v->ndim; d++)
		if (v->size[d])
			return true;
	return false;
}

/* ---- values -------------------------------------------------------------------------- */

/* Counts along dimension d of v, in a shape that broadcasts to v's. */
static struct value *counts_along(struct graph *g, const char *name, const struct value *v, int d)
{
	int64_t dim[RDU_MAX_DIMS];

	for (int i = 0; i < v->ndim; i++)
		dim[i] = i == d ? v->dim[d] : 1;
	return graph_reshape(g, name, loop_count(g, RDU_DT_I64, v->dim[d]), v->ndim, dim);
}

struct value *bounded_valid(struct graph *g, const char *name, const struct value *v)
{
	struct value *valid = NULL, *one;

	name = graph_format(g, "%.200s.counts", name);
	for (int d = 0; d < v->ndim; d++) {
		if (!v->size[d])
			continue;
		one = counts_along(g, name, v, d);
		one = one ? graph_op2(g, "Less", name, one, v->size[d]) : NULL;
		valid = valid && one ? graph_op2(g, "And", name, valid, one) : one;
		if (!valid)
			return NULL;
	}
	return valid;
}

/* The least or greatest number of a type, as far as the card computes with it. */
static struct value *extreme(struct graph *g, enum rdu_dtype t, bool highest)
{
	int bits = dtype_bytes(t) < 4 ? 8 * dtype_bytes(t) : 32;

	if (!dtype_is_int(t))
		return graph_cast(g, "extreme", graph_const_f(g, highest ? INFINITY : -INFINITY),
				  t);
	if (t == RDU_DT_BOOL)
		bits = 1;
	if (t == RDU_DT_BOOL || dtype_is_unsigned(t))
		return graph_cast(g, "extreme", graph_const_i(g, highest ? (1ll << bits) - 1 : 0),
				  t);
	return graph_cast(
		g, "extreme",
		graph_const_i(g, highest ? (1ll << (bits - 1)) - 1 : -(1ll << (bits - 1))), t);
}

struct value *bounded_fill_value(struct graph *g, const char *name, enum rdu_dtype t,
				 enum bounded_fill fill)
{
	if (fill < FILL_LOWEST)
		return graph_cast(g, name, graph_const_i(g, fill == FILL_ONE), t);
	if (fill == FILL_LAST && !dtype_is_int(t))
		return graph_cast(g, name, graph_const_f(g, NAN), t);
	return extreme(g, t, fill != FILL_LOWEST);
}

struct value *bounded_filled(struct graph *g, const char *name, struct value *v,
			     enum bounded_fill fill)
{
	struct value *valid, *other;

	if (!value_is_bounded(v))
		return v;
	valid = bounded_valid(g, name, v);
	other = bounded_fill_value(g, name, v->dtype, fill);
	return valid && other ? graph_op3(g, "Where", graph_format(g, "%.200s.filled", name), valid,
					  v, other)
			      : NULL;
}

struct value *bounded_sized(struct graph *g, const char *name, struct value *v, int d,
			    struct value *size)
{
	if (!v || !size)
		return NULL;
	if (size->constant && size->data) {
		struct value *whole = v;

		v = graph_slice(g, name, v, d, 0, value_int(size, 0), false);
		if (v)
			memcpy(v->size, whole->size, sizeof(v->size));
		size = NULL;
	}
	if (v)
		v->size[d] = size;
	return v;
}

/* Is it one value, or one number? */
static bool same_number(const struct value *a, const struct value *b)
{
	return a == b || (a->constant && b->constant && a->data && b->data &&
			  a->dtype == b->dtype && !a->ndim && !b->ndim && dtype_is_int(a->dtype) &&
			  value_int(a, 0) == value_int(b, 0));
}

struct value *bounded_op2(struct graph *g, const char *name, const char *op, struct value *a,
			  struct value *b)
{
	struct size_op *o;

	if (!a || !b)
		return NULL;
	a = value_resolve(a);
	b = value_resolve(b);
	for (o = g->size_ops; o; o = o->next)
		if (!strcmp(o->op, op) && same_number(o->in[0], a) && same_number(o->in[1], b))
			return o->out;
	o = graph_alloc(g, sizeof(*o));
	*o = (struct size_op){ op, { a, b }, NULL, g->size_ops };
	o->out = graph_op2(g, op, graph_format(g, "%.200s.size", name), a, b);
	if (o->out && !g->in_body) /* what a body makes is there alone */
		g->size_ops = o;
	return o->out;
}

static bool same_sizes(const struct value *v, struct value *const *size)
{
	for (int d = 0; d < v->ndim; d++)
		if (v->size[d] != size[d])
			return false;
	return true;
}

/* Output k of a node, which has been processed, is as large as these sizes say. What it is another name of
 * stays as it is. */
int bounded_give(struct graph *g, struct node *n, int k, struct value *const *size)
{
	struct value *v = k < n->num_out && n->out[k] ? value_resolve(n->out[k]) : NULL, *own;
	struct node *m;

	if (!v || same_sizes(v, size))
		return 0;
	if (v == n->out[k]) {
		memcpy(v->size, size, (size_t)v->ndim * sizeof(*size));
		return 0;
	}
	m = node_new(g, "Bounded", n->name);
	node_input(g, m, v);
	own = graph_finish(g, m);
	if (!own)
		return -1;
	memcpy(own->size, size, (size_t)own->ndim * sizeof(*size));
	graph_replace(n, k, own);
	return 0;
}

int bounded_process(struct graph *g, struct node *n, struct value *const *size)
{
	if (graph_process(g, n))
		return -1;
	for (int k = 0; k < n->num_out; k++)
		if (bounded_give(g, n, k, size))
			return -1;
	return 0;
}

/* What the model calls it. */
static const char *name_of(const struct graph *g, const struct value *v)
{
	for (int i = 0; i < g->num_values; i++)
		if (g->values[i]->alias && value_resolve(g->values[i]) == v)
			return g->values[i]->name;
	return v->name;
}

int bounded_refuse(struct graph *g, struct node *n, const struct value *v, const char *why)
{
	const char *dims = "";

	for (int d = 0; d < v->ndim; d++)
		dims = graph_format(g, "%s%s%s%lld", dims, d ? "," : "", v->size[d] ? ".." : "",
				    (long long)v->dim[d]);
	return node_error(g, n, "how large '%.60s' [%s] is depends on data: not supported %s",
			  name_of(g, v), dims, why);
}

/* ---- extents --------------------------------------------------------------------------- */

const struct extent *bounded_extents(struct graph *g, const struct value *v, int *num)
{
	struct extent *e;
	int64_t count = v ? value_count(v) : 0;

	*num = (int)count;
	if (!v || v->extents)
		return v ? v->extents : NULL;
	if (!v->constant || !v->data || !dtype_is_int(v->dtype) || count > MAX_EXTENTS)
		return NULL;
	e = graph_alloc(g, ((size_t)count + 1) * sizeof(*e));
	for (int i = 0; i < count; i++)
		e[i].most = value_int(v, i);
	return e;
}

static int64_t lesser(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t greater(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

bool bounded_combine(const char *op, const struct extent *a, const struct extent *b,
		     struct extent *e)
{
	const int64_t a0 = a->size ? a->least : a->most, a1 = a->most;
	const int64_t b0 = b->size ? b->least : b->most, b1 = b->most;
	int64_t p[4];

	e->size = a->size ? a->size : b->size;
	if (a1 < 0 || b1 < 0)
		return false;
	if (!strcmp(op, "Add"))
		return !__builtin_add_overflow(a0, b0, &e->least) &&
		       !__builtin_add_overflow(a1, b1, &e->most);
	if (!strcmp(op, "Sub"))
		return !__builtin_sub_overflow(a0, b1, &e->least) &&
		       !__builtin_sub_overflow(a1, b0, &e->most) && e->most >= 0;
	if (!strcmp(op, "Mul")) {
		for (int i = 0; i < 4; i++)
			if (__builtin_mul_overflow(i & 1 ? a1 : a0, i & 2 ? b1 : b0, &p[i]))
				return false;
		e->least = lesser(lesser(p[0], p[1]), lesser(p[2], p[3]));
		e->most = greater(greater(p[0], p[1]), greater(p[2], p[3]));
	} else if (!strcmp(op, "Div")) {
		if (b0 < 1 && (a0 < 0 || b0 < 0)) {
			e->most = a0 == INT64_MIN ? INT64_MAX : greater(a1, -a0);
			e->least = -e->most;
		} else {
			e->most = a1 / greater(b0, 1);
			e->least = a0 / (a0 < 0 ? b0 : greater(b1, 1));
		}
	} else if (!strcmp(op, "Min")) {
		e->least = lesser(a0, b0);
		e->most = lesser(a1, b1);
	} else if (!strcmp(op, "Max")) {
		e->least = greater(a0, b0);
		e->most = greater(a1, b1);
	} else {
		return false;
	}
	return true;
}

struct value *bounded_sign(struct graph *g, const char *name, struct value *v)
{
	v = bounded_op2(g, name, "Min", v, graph_const_i(g, 0));
	return bounded_op2(g, name, "Max", v, graph_const_i(g, -1));
}

struct value *bounded_whole(struct graph *g, const char *name, const struct extent *e)
{
	const int64_t end = lesser(e->most, INT_MAX - 1) + 1;
	struct value *v;

	if (!e->size || e->least >= 0)
		return e->size;
	v = bounded_op2(g, name, "Mul", bounded_sign(g, name, e->size), graph_const_i(g, -end));
	return bounded_op2(g, name, "IndexBelow", bounded_op2(g, name, "Max", e->size, v),
			   graph_const_i(g, end));
}

/* The elements of v, int64, as one tensor. */
static struct value *join(struct graph *g, const char *name, const struct extent *e, int num)
{
	struct node *m = node_new(g, "Concat", name);
	int64_t one = 1;

	for (int i = 0; i < num; i++)
		node_input(g, m,
			   graph_reshape(g, name,
					 e[i].size ? e[i].size : graph_const_i(g, e[i].most), 1,
					 &one));
	node_attr_i(g, m, "axis", 0);
	return graph_finish(g, m);
}

/* How far the elements of an input are outside their ranges, the worst; int64 scalar. */
static struct value *outside(struct graph *g, const char *name, struct value *v, int num)
{
	int64_t *p = graph_alloc(g, 2 * (size_t)num * sizeof(*p)), count = num, axis = 0;
	struct value *hi, *lo;

	for (int i = 0; i < num; i++) {
		p[i] = v->extents[i].least;
		p[num + i] = v->extents[i].most;
	}
	v = graph_reshape(g, name, v, 1, &count);
	v = v ? graph_cast(g, name, v, RDU_DT_I64) : NULL;
	lo = graph_const(g, RDU_DT_I64, 1, &count, p);
	hi = graph_const(g, RDU_DT_I64, 1, &count, p + num);
	v = bounded_op2(g, name, "Max", bounded_op2(g, name, "Sub", v, hi),
			bounded_op2(g, name, "Sub", lo, v));
	v = bounded_op2(g, name, "Max", v, graph_const_i(g, 0));
	return v ? graph_reduce(g, "ReduceMax", name, v, 1, &axis, 0) : NULL;
}

int bounded_inputs(struct graph *g)
{
	int num = g->num_values;

	for (int k = 0; k < num; k++) {
		struct value *v = g->values[k], *bad;
		struct extent *e;
		int64_t count = value_count(v);

		if (v->kind != TENSOR_INPUT || !v->extents)
			continue;
		e = graph_alloc(g, (size_t)count * sizeof(*e));
		memcpy(e, v->extents, (size_t)count * sizeof(*e));
		bad = outside(g, graph_format(g, "%.200s.range", v->name), v, (int)count);
		bad = bounded_op2(g, graph_format(g, "%.200s.range", v->name), "IndexBelow", bad,
				  graph_const_i(g, 1));
		if (!bad)
			return -1;
		v->extents = e;
		v->in_range = bad;
		for (int64_t i = 0; i < count; i++) {
			struct value *one = graph_reshape(g, v->name, v, 1, &count);

			if (e[i].least == e[i].most)
				continue;
			one = one ? graph_pick(g, v->name, one, 0, i) : NULL;
			one = one ? graph_cast(g, v->name, one, RDU_DT_I64) : NULL;
			e[i].size = bounded_op2(g, graph_format(g, "%.200s.size", v->name), "Add",
						one, bad);
			if (!e[i].size)
				return -1;
		}
	}
	return 0;
}

int bounded_inputs_checked(struct graph *g)
{
	for (int k = 0; k < g->num_values; k++) {
		const struct value *v = g->values[k];

		for (int64_t i = 0; v->in_range && i < value_count(v); i++)
			if (!v->extents[i].size && !v->in_range->producer->live)
				return graph_error(
					g,
					"--value %s: no element that it has a range for says how "
					"large anything is",
					v->name);
	}
	return 0;
}

/* The product of extents: a size, or NULL if all are known; *most: what it is at most. */
struct value *bounded_product(struct graph *g, const char *name, const struct extent *e, int num,
			      int64_t *most)
{
	struct value *size = NULL;
	int64_t known = 1;

	*most = 1;
	for (int i = 0; i < num; i++) {
		*most *= e[i].most;
		if (!e[i].size)
			known *= e[i].most;
		else
			size = size ? bounded_op2(g, name, "Mul", size, e[i].size) : e[i].size;
	}
	if (size && known != 1)
		size = bounded_op2(g, name, "Mul", size, graph_const_i(g, known));
	return size;
}

/* ---- nodes ------------------------------------------------------------------------------- */

static bool takes_part(const struct node *n)
{
	for (int i = 0; i < n->num_in; i++)
		if (n->in[i] && (value_is_bounded(n->in[i]) || n->in[i]->extents))
			return true;
	return false;
}

const struct value *first_bounded(const struct node *n)
{
	for (int i = 0; i < n->num_in; i++)
		if (value_is_bounded(n->in[i]))
			return n->in[i];
	return NULL;
}

bool bounded_any(const struct node *n)
{
	return first_bounded(n);
}

int graph_process_bounded(struct graph *g, struct node *n)
{
	const struct value *v;
	bounded_rule rule;

	for (int i = 0; i < n->num_in; i++)
		n->in[i] = value_resolve(n->in[i]);
	if (counting_guard(g, n))
		return -1;
	if (!takes_part(n))
		return graph_process(g, n);
	rule = bounded_rule_of(n);
	v = first_bounded(n);
	if (!rule && v)
		return bounded_refuse(g, n, v, "by this operator");
	return rule ? rule(g, n) : graph_process(g, n);
}

/* v with zeros behind it, up to the extents dim[]. */
static struct value *longer(struct graph *g, const char *name, struct value *v, const int64_t *dim)
{
	struct node *m = node_new(g, "Pad", name);
	int64_t pads[2 * RDU_MAX_DIMS] = { 0 }, num = 2 * v->ndim;

	if (!memcmp(v->dim, dim, (size_t)v->ndim * sizeof(*dim)))
		return v;
	for (int d = 0; d < v->ndim; d++)
		pads[v->ndim + d] = dim[d] - v->dim[d];
	node_input(g, m, v);
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &num, pads));
	return graph_finish(g, m);
}

struct value *bounded_choose(struct graph *g, const char *name, struct value *cond, struct value *a,
			     struct value *b)
{
	struct value *size[RDU_MAX_DIMS] = { NULL }, *v;
	int64_t dim[RDU_MAX_DIMS];

	for (int d = 0; d < a->ndim; d++) {
		dim[d] = a->dim[d] > b->dim[d] ? a->dim[d] : b->dim[d];
		size[d] = a->size[d];
		if (a->size[d] == b->size[d] && a->dim[d] == b->dim[d])
			continue;
		size[d] = graph_op3(g, "Where", name, cond,
				    a->size[d] ? a->size[d] : graph_const_i(g, a->dim[d]),
				    b->size[d] ? b->size[d] : graph_const_i(g, b->dim[d]));
		if (!size[d])
			return NULL;
	}
	a = longer(g, name, a, dim);
	b = a ? longer(g, name, b, dim) : NULL;
	v = b ? graph_op3(g, "Where", name, cond, a, b) : NULL;
	if (v)
		memcpy(v->size, size, sizeof(size));
	return v;
}

/* ---- outputs ------------------------------------------------------------------------------- */

static bool has_output(const struct graph *g, const char *name)
{
	for (int i = 0; i < g->num_outputs; i++)
		if (!strcmp(g->outputs[i].name, name))
			return true;
	return graph_find((struct graph *)g, name);
}

/* The output before number k that the same sizes are said of; NULL: there is none. */
static const struct graph_output *same_output(const struct graph *g, int k)
{
	const struct value *v = g->outputs[k].value;

	for (int i = 0; i < k; i++) {
		const struct value *w = g->outputs[i].value;
		bool same = g->outputs[i].sizes;
		int at = 0;

		for (int d = 0; d < v->ndim && same; d++) {
			if (!v->size[d])
				continue;
			while (at < w->ndim && !w->size[at])
				at++;
			same = at < w->ndim && w->size[at++] == v->size[d];
		}
		while (at < w->ndim && !w->size[at])
			at++;
		if (same && at == w->ndim)
			return &g->outputs[i];
	}
	return NULL;
}

int bounded_outputs(struct graph *g)
{
	struct graph_output *more =
		graph_alloc(g, (2 * (size_t)g->num_outputs + 1) * sizeof(*more));
	int num = g->num_outputs;

	memcpy(more, g->outputs, (size_t)num * sizeof(*more));
	g->outputs = more;
	for (int k = 0; k < num; k++) {
		struct graph_output *o = &g->outputs[k];
		const struct graph_output *before = same_output(g, k);
		struct extent e[RDU_MAX_DIMS];
		char *name = graph_format(g, "%s.sizes", o->name);
		struct value *v;
		int used = 0;

		if (!value_is_bounded(o->value))
			continue;
		if (o->state)
			return graph_error(
				g, "state '%s': how large its next value '%s' is depends on data",
				o->state->name, o->name);
		for (int d = 0; d < o->value->ndim; d++)
			if (o->value->size[d]) {
				o->sized |= 1u << d;
				e[used++] =
					(struct extent){ o->value->dim[d], o->value->size[d], 0 };
			}
		o->sizes = before ? before->sizes : name;
		if (before)
			continue;
		while (has_output(g, name))
			name = graph_format(g, "%s_", name);
		o->sizes = name;
		v = join(g, name, e, used);
		if (!v)
			return -1;
		g->outputs[g->num_outputs++] = (struct graph_output){ .name = name, .value = v };
	}
	return 0;
}

/* ---- Shape ----------------------------------------------------------------------------------- */

/* Extents of an output that has been computed; elements that are no others' are picked from it. */
int bounded_set_extents(struct graph *g, struct node *n, struct extent *e, bool pick)
{
	struct value *v = value_resolve(n->out[0]);
	int64_t count = value_count(v);
	bool sized = false;

	for (int64_t i = 0; i < count; i++)
		sized |= e[i].size != NULL;
	if (v->constant && v->data)
		return 0;
	if (!sized) { /* all are known */
		int64_t *p = graph_alloc(g, ((size_t)count + 1) * sizeof(*p));

		for (int64_t i = 0; i < count; i++)
			p[i] = e[i].most;
		return graph_replace_first(
			n, graph_cast(g, n->name, graph_const(g, RDU_DT_I64, v->ndim, v->dim, p),
				      v->dtype));
	}
	for (int64_t i = 0; i < count && pick; i++) {
		struct value *flat;

		if (!e[i].size)
			continue;
		flat = graph_reshape(g, n->name, v, 1, &count);
		e[i].size = flat ? graph_cast(g, n->name, graph_pick(g, n->name, flat, 0, i),
					      RDU_DT_I64)
				 : NULL;
		if (!e[i].size)
			return -1;
	}
	v->extents = e;
	return 0;
}

static int64_t clamp(int64_t v, int64_t lo, int64_t hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

int bounded_shape(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	int64_t from = attr_i(n, "start", 0), to = attr_i(n, "end", x->ndim);
	struct extent *e = graph_alloc(g, RDU_MAX_DIMS * sizeof(*e));
	bool sized = false;
	int num = 0;

	from = clamp(from < 0 ? from + x->ndim : from, 0, x->ndim);
	to = clamp(to < 0 ? to + x->ndim : to, 0, x->ndim);
	for (int64_t d = from; d < to; d++) {
		sized |= x->size[d] != NULL;
		e[num++] = (struct extent){ x->dim[d], x->size[d], 0 };
	}
	if (!sized)
		return graph_process(g, n);
	if (graph_replace_first(n, join(g, n->name, e, num)))
		return -1;
	return bounded_set_extents(g, n, e, false);
}

int bounded_size(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	struct extent e[RDU_MAX_DIMS], *all = graph_alloc(g, sizeof(*all));

	if (!value_is_bounded(x))
		return graph_process(g, n);
	for (int d = 0; d < x->ndim; d++)
		e[d] = (struct extent){ x->dim[d], x->size[d], 0 };
	all->size = bounded_product(g, n->name, e, x->ndim, &all->most);
	if (graph_replace_first(n, all->size))
		return -1;
	return bounded_set_extents(g, n, all, false);
}
