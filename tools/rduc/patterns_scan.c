// SPDX-License-Identifier: MIT
/* Scan and Loop, as a Recurrence (loop.c). */
#include <string.h>
#include "bounded.h"

/* The most iterations of a Loop: its body may count them, from a table. */
#define MAX_COUNTED (1 << 24)

static const struct subgraph *body_of(const struct node *n)
{
	return node_attr(n, "body")->graph;
}

/* The nodes of a body or branch, in order. Its inputs have their shapes. */
static int branch_nodes(struct graph *g, struct node *n, const struct subgraph *s)
{
	for (int i = 0; i < s->num_nodes; i++) {
		if (s->nodes[i]->op->missing)
			return node_error(g, n, "node '%.60s' (%.40s) of its body is not supported",
					  s->nodes[i]->name, s->nodes[i]->op->name);
		if (graph_process_bounded(g, s->nodes[i]))
			return -1;
	}
	return 0;
}

/* What an iteration makes is as large in all of them. */
static int body_nodes(struct graph *g, struct node *n, const struct subgraph *s)
{
	if (branch_nodes(g, n, s))
		return -1;
	for (int i = 0; i < s->num_out; i++)
		if (value_resolve(s->out[i])->sequence)
			return node_error(g, n, "'%.60s' of its body is a sequence: not supported",
					  s->out[i]->name);
	for (int i = 0; i < s->num_out; i++)
		if (value_is_bounded(value_resolve(s->out[i])))
			return node_error(
				g, n,
				"how large '%.60s' of its body is depends on data: not supported",
				s->out[i]->name);
	return 0;
}

static int make_body(struct graph *g, struct node *n, const struct subgraph *s, struct loop *l)
{
	struct graph_body b;

	body_begin(g, &b);
	if (body_nodes(g, n, s))
		return body_drop(g, &b);
	body_end(g, &b, l);
	return 0;
}

/* A value of the body is as v, without its first dimensions `skip`. */
static struct value *take_shape(struct value *in, const struct value *v, int skip)
{
	in->dtype = v->dtype;
	in->ndim = v->ndim - skip;
	memcpy(in->dim, v->dim + skip, (size_t)in->ndim * sizeof(*in->dim));
	return in;
}

/* v with axis `from` at place `to`. */
static struct value *move_axis(struct graph *g, struct node *n, struct value *v, int64_t from,
			       int64_t to)
{
	int64_t perm[RDU_MAX_DIMS];
	struct node *m;
	int num = 0;

	if (!v || from == to)
		return v;
	for (int i = 0; i < v->ndim; i++) {
		if (num == to)
			num++;
		if (i != from)
			perm[num++] = i;
	}
	perm[to] = from;
	m = node_new(g, "Transpose", graph_format(g, "%.200s.axis", n->name));
	node_input(g, m, v);
	node_attr_ints(g, m, "perm", v->ndim, perm);
	return graph_finish(g, m);
}

static struct value *turned(struct graph *g, struct node *n, struct value *v)
{
	return v ? graph_slice(g, graph_format(g, "%.200s.reverse", n->name), v, 0, v->dim[0] - 1,
			       v->dim[0], true)
		 : NULL;
}

/* Number k of a list of an attribute that may be left out. */
static int scan_option(struct graph *g, struct node *n, const char *name, int k, int num,
		       int64_t *to)
{
	int given;
	const int64_t *v = attr_ints(n, name, &given);

	*to = v && k < given ? v[k] : 0;
	if (v && given && given != num)
		return node_error(g, n, "attribute '%s' has %d numbers, not %d", name, given, num);
	return 0;
}

static int scan_direction(struct graph *g, struct node *n, const char *name, int k, int num,
			  int64_t *to)
{
	if (scan_option(g, n, name, k, num, to))
		return -1;
	return *to == 0 || *to == 1 ? 0
				    : node_error(g, n, "attribute '%s' has a %lld, not 0 or 1",
						 name, (long long)*to);
}

/* An input that is read by rows: its axis in front, and turned if it is read from its end. */
static struct value *scan_input(struct graph *g, struct node *n, struct value *v, int k, int num)
{
	int64_t axis, backwards;

	if (scan_option(g, n, "scan_input_axes", k, num, &axis) ||
	    scan_direction(g, n, "scan_input_directions", k, num, &backwards))
		return NULL;
	if (!v->ndim) {
		node_error(g, n, "scan input %d is a scalar", k);
		return NULL;
	}
	if (node_axis(g, n, &axis, v->ndim))
		return NULL;
	v = move_axis(g, n, v, axis, 0);
	return backwards ? turned(g, n, v) : v;
}

static struct value *scan_output(struct graph *g, struct node *n, struct value *v, int k, int num)
{
	int64_t axis, backwards;

	if (scan_option(g, n, "scan_output_axes", k, num, &axis) ||
	    scan_direction(g, n, "scan_output_directions", k, num, &backwards) ||
	    node_axis(g, n, &axis, v->ndim))
		return NULL;
	return move_axis(g, n, backwards ? turned(g, n, v) : v, 0, axis);
}

/* The node's outputs: what was carried at the end, then what was stacked. */
static int last_states(struct graph *g, struct node *n, const struct node *m)
{
	const struct loop *l = m->loop;

	for (int k = 0; k < l->num_carried; k++) {
		struct value *v = loop_last(g, graph_format(g, "%.200s.last", n->name), m, k);

		if (!v)
			return -1;
		graph_replace(n, k, v);
	}
	return 0;
}

static int scan_expand(struct graph *g, struct node *n)
{
	const struct subgraph *s = body_of(n);
	int64_t rows = attr_i(n, "num_scan_inputs", 0);
	int num = (int)(n->num_real - rows), stacked = s->num_out - num;
	struct value **row = graph_alloc(g, ((size_t)n->num_real + 1) * sizeof(*row));
	struct node *m;
	struct loop *l;

	if (g->opset < 9)
		return node_error(g, n, "its form of opset 8, with a batch, is not supported");
	if (rows < 1 || num < 0 || s->num_in != n->num_real || stacked < 0 ||
	    n->num_out > s->num_out)
		return node_error(g, n,
				  "it has %d inputs, %d of them states, and %d outputs; its body "
				  "has %d inputs and %d outputs",
				  n->num_real, num, n->num_out, s->num_in, s->num_out);
	for (int k = 0; k < rows; k++) {
		if (!n->in[num + k])
			return node_error(g, n, "scan input %d is not given", k);
		row[k] = scan_input(g, n, n->in[num + k], k, (int)rows);
		if (!row[k])
			return -1;
		if (row[k]->dim[0] != row[0]->dim[0])
			return node_error(g, n, "scan inputs have %lld and %lld rows",
					  (long long)row[0]->dim[0], (long long)row[k]->dim[0]);
	}
	l = loop_new(g, row[0]->dim[0], num, (int)rows, stacked, 0);
	for (int k = 0; k < num; k++) {
		if (!n->in[k])
			return node_error(g, n, "state %d is not given", k);
		l->carried[k] = take_shape(s->in[k], n->in[k], 0);
	}
	for (int k = 0; k < rows; k++)
		l->row[k] = take_shape(s->in[num + k], row[k], 1);
	if (make_body(g, n, s, l))
		return -1;
	for (int k = 0; k < num; k++)
		l->next[k] = s->out[k];
	for (int k = 0; k < stacked; k++)
		l->stacked[k] = s->out[num + k];
	m = loop_finish(g, n->name, l, n->in, row);
	if (!m || last_states(g, n, m))
		return -1;
	for (int k = 0; k < stacked; k++) {
		struct value *v = scan_output(g, n, m->out[num + k], k, stacked);

		if (!v)
			return -1;
		graph_replace(n, num + k, v);
	}
	return 0;
}

static void make_true(struct graph *g, struct value *v)
{
	v->kind = TENSOR_WEIGHT;
	v->dtype = RDU_DT_BOOL;
	v->ndim = 0;
	v->constant = true;
	v->data = graph_alloc(g, 1);
	*(unsigned char *)v->data = 1;
}

/* Is it a constant of one element? */
static bool is_number(const struct value *v)
{
	return v && v->constant && v->data && dtype_is_int(v->dtype) && value_count(v) == 1;
}

/* PyTorch's `while` has such a trip count. */
static bool is_endless(const struct value *most)
{
	return is_number(most) && value_int(most, 0) >= INT32_MAX;
}

/* How often a Loop runs, by what is known before its body is: *trip, or, where *size is not NULL, as often as that says,
 * at most *trip. */
static int loop_trip(struct graph *g, struct node *n, int64_t *trip, struct value **size)
{
	const struct value *most = node_in(n, 0), *cond = node_in(n, 1);
	const struct extent *e;
	int num;

	e = bounded_extents(g, most, &num);
	if (!e || num != 1)
		return node_error(g, n,
				  "its trip count (input 'M', '%.60s') is not a constant, nor made "
				  "of sizes that have a bound: not supported",
				  most->name);
	*trip = e->most;
	*size = e->size;
	if (*trip < 0 || (is_number(cond) && !value_int(cond, 0)))
		*trip = 0;
	if (*trip > MAX_COUNTED)
		return node_error(g, n, "its trip count (input 'M') is %lld, more than %d",
				  (long long)*trip, MAX_COUNTED);
	return 0;
}

/* Does the loop go on behind this iteration, by its condition and (more, NULL: it is a number) its trip count? */
static struct value *goes_on(struct graph *g, struct node *n, struct value *cond,
			     struct value *more)
{
	const char *name = graph_format(g, "%.200s.go_on", n->name);

	if (is_number(cond) && more)
		return more;
	cond = graph_reshape(g, n->name, cond, 0, cond->dim);
	return cond && more ? graph_op2(g, "And", name, cond, more) : cond;
}

/*
 * A condition that is computed is carried, too (going): from where it is false on, all states stay as they are. The
 * card goes on up to the trip count, and nothing stops the run there (counting.c). A trip count that is computed (last:
 * the number of its last iteration) is such a condition. nested: it is in a loop's body.
 */
static int hold_states(struct graph *g, struct node *n, const struct subgraph *s, struct loop *l,
		       struct value *last, struct value *going, bool nested)
{
	int num = l->num_carried;
	struct value *cond = value_resolve(s->out[0]), *more = NULL;

	if (l->num_stacked && nested)
		return node_error(
			g, n,
			"it is computed whether to go on ('%.60s'): how many rows '%.60s' "
			"has is not known",
			last ? n->in[0]->name : cond->name,
			n->num_out > num && n->out[num] ? n->out[num]->name : "");
	if (cond->dtype != RDU_DT_BOOL || value_count(cond) != 1)
		return node_error(g, n, "its condition is %s %s", dtype_name(cond->dtype),
				  value_shape_text(g, cond));
	for (int k = 0; k < num; k++) {
		struct value *next = value_resolve(l->next[k]);

		if (next->dtype != l->carried[k]->dtype || !value_same_shape(next, l->carried[k]))
			return node_error(g, n, "a state is %s%s, and then %s%s",
					  dtype_name(l->carried[k]->dtype),
					  value_shape_text(g, l->carried[k]),
					  dtype_name(next->dtype), value_shape_text(g, next));
		l->next[k] = graph_op3(g, "Where", graph_format(g, "%.200s.hold", n->name), going,
				       next, l->carried[k]);
		if (!l->next[k])
			return -1;
	}
	if (last) {
		more = graph_op2(g, "Less", graph_format(g, "%.200s.more", n->name), l->row[0],
				 last);
		if (!more)
			return -1;
	}
	cond = goes_on(g, n, cond, more);
	l->carried[num] = going;
	l->next[num] =
		cond ? graph_op2(g, "And", graph_format(g, "%.200s.go_on", n->name), going, cond)
		     : NULL;
	l->num_carried++;
	return l->next[num] ? 0 : -1;
}

/* May it end before its trip count? Not if its condition is a number or what it is handed. */
static bool may_end(struct node *n, const struct subgraph *s, const struct value *last)
{
	const struct value *first = node_in(n, 1), *v = value_resolve(s->out[0]);

	while (v->producer && (!strcmp(v->producer->op->name, "Identity") ||
			       !strcmp(v->producer->op->name, "Cast")))
		v = value_resolve(v->producer->in[0]);
	return last || (first && !is_number(first)) ||
	       !(is_number(v) || (v->producer && !strcmp(v->producer->op->name, "Constant")));
}

/* The body, and what it makes of the states. */
static int loop_body(struct graph *g, struct node *n, const struct subgraph *s, struct loop *l,
		     struct value *last)
{
	struct value *first = node_in(n, 1), *cond, *going, *counts = g->counts;
	bool nested = g->in_body, failed;
	struct graph_body b;

	going = graph_value(g, graph_format(g, "%.200s.going", n->name));
	going->dtype = RDU_DT_BOOL;
	going->ndim = 0;
	body_begin(g, &b);
	if (may_end(n, s, last))
		g->counts = counting_and(g, n->name, going);
	failed = (counts && !g->counts) || body_nodes(g, n, s);
	g->counts = counts;
	if (failed)
		return body_drop(g, &b);
	cond = value_resolve(s->out[0]);
	for (int k = 0; k < l->num_carried; k++)
		l->next[k] = s->out[1 + k];
	if (is_number(cond) && !value_int(cond, 0) && l->trip > 1)
		l->trip = 1;
	if (is_number(cond) && (!first || is_number(first)) && !last)
		make_true(g, going);
	else if (hold_states(g, n, s, l, last, going, nested))
		return body_drop(g, &b);
	body_end(g, &b, l);
	return 0;
}

/* How many iterations a condition let be made, int64: one for each that it was true before. It is carried state k, at
 * first `first`. */
static struct value *made(struct graph *g, struct node *n, const struct node *m, int k,
			  struct value *first)
{
	const char *name = graph_format(g, "%.200s.made", n->name);
	int64_t axis = 0, trip = m->loop->trip;
	struct value *v = trip == 1 ? graph_reshape(g, name, first, 1, &trip)
				    : graph_slice(g, name, m->out[k], 0, 0, trip, false);

	v = graph_cast(g, name, v, RDU_DT_I32);
	return graph_cast(g, name, graph_reduce(g, "ReduceSum", name, v, 1, &axis, 0), RDU_DT_I64);
}

static int loop_expand(struct graph *g, struct node *n)
{
	const struct subgraph *s = body_of(n);
	int num = n->num_real - 2, stacked = s->num_out - 1 - num;
	struct value **first = graph_alloc(g, ((size_t)n->num_real + 1) * sizeof(*first)), *row;
	struct value *size = NULL, *count = NULL, *last = NULL, *any = NULL, *cond;
	struct loop *l;
	struct node *m;
	int64_t trip = 0;

	if (num < 0 || s->num_in != num + 2 || stacked < 0 || n->num_out > num + stacked)
		return node_error(g, n,
				  "it has %d inputs and %d outputs; its body has %d inputs and %d "
				  "outputs",
				  n->num_real, n->num_out, s->num_in, s->num_out);
	if (!node_in(n, 0) || is_endless(node_in(n, 0)))
		return loop_unrolled(g, n, s, INT64_MAX);
	if (loop_trip(g, n, &trip, &count))
		return -1;
	if (loop_has_sequences(n))
		return count ? node_error(g, n,
					  "it has sequences, and its trip count (input 'M') is not "
					  "a constant: "
					  "not supported")
			     : loop_unrolled(g, n, s, trip);
	if (count) {
		last = graph_op2(g, "Sub", graph_format(g, "%.200s.last", n->name), count,
				 graph_const_i(g, 1));
		if (!last)
			return -1;
	}
	l = loop_new(g, trip, num, 1, stacked, 0);
	l->row[0] = s->in[0];
	l->row[0]->dtype = RDU_DT_I64;
	l->row[0]->ndim = 0;
	l->row[0]->counts = trip ? trip : 1;
	make_true(g, s->in[1]);
	for (int k = 0; k < num; k++) {
		if (!n->in[2 + k])
			return node_error(g, n, "input %d is not given", 2 + k);
		l->carried[k] = take_shape(s->in[2 + k], n->in[2 + k], 0);
		first[k] = n->in[2 + k];
	}
	if (loop_body(g, n, s, l, last))
		return -1;
	for (int k = 0; k < stacked; k++)
		l->stacked[k] = s->out[1 + num + k];
	if (l->num_carried > num) {
		cond = node_in(n, 1);
		cond = cond ? cond : graph_cast(g, n->name, graph_const_i(g, 1), RDU_DT_BOOL);
		if (last)
			any = graph_op2(g, "Less", graph_format(g, "%.200s.any", n->name),
					graph_const_i(g, 0), count);
		first[num] = cond && (any || !last) ? goes_on(g, n, cond, any) : NULL;
		if (!first[num])
			return -1;
	}
	row = loop_count(g, RDU_DT_I64, l->trip);
	m = loop_finish(g, n->name, l, first, &row);
	if (!m || last_states(g, n, m))
		return -1;
	if (stacked && l->trip && l->num_carried > num) {
		size = made(g, n, m, num, first[num]);
		if (!size)
			return -1;
	}
	for (int k = 0; k < stacked; k++) {
		struct value *v = m->out[l->num_carried + k];

		v = size ? bounded_sized(g, n->name, v, 0, size) : v;
		if (!v)
			return -1;
		graph_replace(n, num + k, v);
	}
	return 0;
}

/* ---- If ----------------------------------------------------------------------------------- */

/*
 * A condition that is known picks a branch. Else both are computed, and each result picked by it
 * on the card; the other branch stops no run (counting.c).
 */
static int if_expand(struct graph *g, struct node *n)
{
	const struct attr *yes = node_attr(n, "then_branch"), *no = node_attr(n, "else_branch");
	struct value *cond = n->in[0], *v, *counts = g->counts;
	bool known = is_number(cond), in_branch = g->in_branch, failed;
	int64_t none = 0;

	if (cond->dtype != RDU_DT_BOOL || value_count(cond) != 1)
		return node_error(g, n, "its condition is %s %s", dtype_name(cond->dtype),
				  value_shape_text(g, cond));
	if (yes->graph->num_out != n->num_out || no->graph->num_out != n->num_out)
		return node_error(g, n, "it has %d outputs, its branches %d and %d", n->num_out,
				  yes->graph->num_out, no->graph->num_out);
	g->in_branch |= !known;
	if (!known) {
		cond = graph_reshape(g, n->name, cond, 0, &none);
		g->counts = counting_and(g, n->name, cond);
	}
	failed = !cond || ((!known || value_int(cond, 0)) && branch_nodes(g, n, yes->graph));
	g->counts = counts;
	if (!known && !failed) {
		v = graph_op1(g, "Not", graph_format(g, "%.200s.not", n->name), cond);
		g->counts = v ? counting_and(g, n->name, v) : NULL;
	}
	failed = failed || ((!known || !value_int(cond, 0)) && branch_nodes(g, n, no->graph));
	g->in_branch = in_branch;
	g->counts = counts;
	if (failed)
		return -1;
	for (int i = 0; i < n->num_out && cond; i++) {
		struct value *a = value_resolve(yes->graph->out[i]);
		struct value *b = value_resolve(no->graph->out[i]);

		v = value_int(known ? cond : graph_const_i(g, 1), 0) ? a : b;
		if (!known) {
			if (a->sequence || b->sequence)
				return node_error(
					g, n,
					"its condition is not a constant, and output %d is a "
					"sequence: not supported",
					i);
			if (a->dtype != b->dtype || a->ndim != b->ndim)
				return node_error(
					g, n,
					"its condition is not a constant, and output %d is "
					"%s%s or %s%s: not supported",
					i, dtype_name(a->dtype), value_shape_text(g, a),
					dtype_name(b->dtype), value_shape_text(g, b));
			v = bounded_choose(g, graph_format(g, "%.200s.%d", n->name, i), cond, a, b);
		}
		if (!v)
			return -1;
		graph_replace(n, i, v);
	}
	return cond ? 0 : -1;
}

const struct op ops_scan[] = {
	{ .name = "If",
	  .min_in = 1,
	  .max_in = -1,
	  .max_out = 0,
	  .expand = if_expand,
	  .sequences = true,
	  .optional_first = true },
	{ .name = "Scan",
	  .min_in = 0,
	  .max_in = -1,
	  .expand = scan_expand,
	  .optional_first = true },
	{ .name = "Loop",
	  .min_in = 0,
	  .max_in = -1,
	  .expand = loop_expand,
	  .sequences = true,
	  .optional_first = true },
	{ 0 },
};
