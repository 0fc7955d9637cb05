// SPDX-License-Identifier: MIT
/*
 * Loops of the graph: a Recurrence node, whose body runs many times on the card. ONNX's LSTM, GRU,
 * RNN, Scan and Loop become one (patterns_recurrent.c, patterns_scan.c), and so does the gradient
 * of one (loop_gradient.c).
 */
#include <stdlib.h>
#include <string.h>
#include "loop.h"

/* ---- building ------------------------------------------------------------------ */

void body_begin(struct graph *g, struct graph_body *b)
{
	*b = (struct graph_body){ g->nodes, g->num_nodes, g->cap_nodes, g->in_body };
	g->nodes = NULL;
	g->num_nodes = g->cap_nodes = 0;
	g->in_body = true;
}

static void take_back(struct graph *g, struct graph_body *b)
{
	free(g->nodes);
	g->nodes = b->nodes;
	g->num_nodes = b->num_nodes;
	g->cap_nodes = b->cap_nodes;
	g->in_body = b->in_body;
}

void body_end(struct graph *g, struct graph_body *b, struct loop *l)
{
	l->num_nodes = g->num_nodes;
	l->nodes = graph_alloc(g, ((size_t)g->num_nodes + 1) * sizeof(*l->nodes));
	if (g->num_nodes)
		memcpy(l->nodes, g->nodes, (size_t)g->num_nodes * sizeof(*l->nodes));
	take_back(g, b);
}

int body_drop(struct graph *g, struct graph_body *b)
{
	take_back(g, b);
	return -1;
}

struct value **loop_values(struct graph *g, int num)
{
	return graph_alloc(g, ((size_t)num + 1) * sizeof(struct value *));
}

struct loop *loop_new(struct graph *g, int64_t trip, int num_carried, int num_rows, int num_stacked,
		      int num_summed)
{
	struct loop *l = graph_alloc(g, sizeof(*l));

	l->trip = trip;
	l->num_carried = num_carried;
	l->num_rows = num_rows;
	l->num_stacked = num_stacked;
	l->num_summed = num_summed;
	l->carried = loop_values(g, num_carried);
	l->next = loop_values(g, num_carried);
	l->row = loop_values(g, num_rows);
	l->stacked = loop_values(g, num_stacked);
	l->summed = loop_values(g, num_summed);
	return l;
}

struct value *loop_value(struct graph *g, const char *name, const struct value *v, int skip)
{
	struct value *r = graph_value(g, graph_format(g, "%.200s_%d", name, g->counter++));

	r->dtype = v->dtype;
	r->ndim = v->ndim - skip;
	memcpy(r->dim, v->dim + skip, (size_t)r->ndim * sizeof(*r->dim));
	return r;
}

/* What depends on nothing that varies goes in front of the loop. */
static void hoist(struct graph *g, struct loop *l)
{
	int kept = 0;

	for (int k = 0; k < l->num_carried; k++)
		l->carried[k]->varies = l;
	for (int k = 0; k < l->num_rows; k++)
		l->row[k]->varies = l;
	for (int i = 0; i < l->num_nodes; i++) {
		struct node *n = l->nodes[i];
		bool varies = false;

		for (int k = 0; k < n->num_in; k++)
			varies |= n->in[k] && n->in[k]->varies == l;
		for (int k = 0; k < n->num_out; k++)
			if (n->out[k] && varies)
				n->out[k]->varies = l;
		if (varies)
			l->nodes[kept++] = n;
		else
			graph_append(g, n);
	}
	l->num_nodes = kept;
}

/* Calls fn for all that a node reads, and all that a loop's body reads and hands on. 0, or -1 as soon as
 * fn returns it. */
int loop_each_read(struct node *n, int (*fn)(void *arg, struct value **v), void *arg)
{
	struct loop *l = n->loop;

	for (int k = 0; k < n->num_in; k++)
		if (n->in[k] && fn(arg, &n->in[k]))
			return -1;
	for (int i = 0; l && i < l->num_nodes; i++)
		if (loop_each_read(l->nodes[i], fn, arg))
			return -1;
	for (int k = 0; l && k < l->num_carried; k++)
		if (fn(arg, &l->next[k]))
			return -1;
	for (int k = 0; l && k < l->num_stacked; k++)
		if (fn(arg, &l->stacked[k]))
			return -1;
	for (int k = 0; l && k < l->num_summed; k++)
		if (fn(arg, &l->summed[k]))
			return -1;
	return 0;
}

/* What the body reads from outside becomes an input of the node, once. */
static void capture(struct graph *g, struct node *n, int first, struct value *v)
{
	if (!v || v->varies == n->loop)
		return;
	for (int i = first; i < n->num_in; i++)
		if (n->in[i] == v)
			return;
	node_input(g, n, v);
}

static void capture_all(struct graph *g, struct node *n)
{
	const struct loop *l = n->loop;
	int first = n->num_in;

	for (int i = 0; i < l->num_nodes; i++)
		for (int k = 0; k < l->nodes[i]->num_in; k++)
			capture(g, n, first, l->nodes[i]->in[k]);
	for (int k = 0; k < l->num_carried; k++)
		capture(g, n, first, l->next[k]);
	for (int k = 0; k < l->num_stacked; k++)
		capture(g, n, first, l->stacked[k]);
	for (int k = 0; k < l->num_summed; k++)
		capture(g, n, first, l->summed[k]);
}

static int check_carried(struct graph *g, const struct node *n, int k, const struct value *first)
{
	const struct loop *l = n->loop;
	const struct value *next = l->next[k];

	if (first->dtype == next->dtype && value_same_shape(first, next))
		return 0;
	return node_error(g, n,
			  "what it carries as '%s' is %s%s at first and %s%s after an iteration",
			  l->carried[k]->name, dtype_name(first->dtype), value_shape_text(g, first),
			  dtype_name(next->dtype), value_shape_text(g, next));
}

/* A loop of one iteration: what is carried at first, and the rows. */
struct once {
	const struct loop *l;
	struct value *const *first, *const *row;
};

/* *v, of the body, becomes what it is outside of it. */
static int of_once(void *arg, struct value **v)
{
	const struct once *o = arg;

	for (int k = 0; k < o->l->num_carried; k++)
		if (*v == o->l->carried[k]) {
			*v = value_resolve(o->first[k]);
			return 0;
		}
	for (int k = 0; k < o->l->num_rows; k++)
		if (*v == o->l->row[k])
			*v = value_resolve(o->row[k]);
	return 0;
}

/* A result of the only iteration: a row of one. */
static struct value *row_of_once(struct graph *g, const char *name, struct value *v)
{
	int64_t dim[RDU_MAX_DIMS + 1] = { 1 };

	memcpy(dim + 1, v->dim, (size_t)v->ndim * sizeof(*dim));
	return graph_reshape(g, name, v, v->ndim + 1, dim);
}

/* A loop of one iteration is none: its body's nodes are the graph's own. Those of a gradient's
 * (summed) have more. */
static struct node *make_once(struct graph *g, struct node *n, struct value *const *first,
			      struct value *const *rows)
{
	struct loop *l = n->loop;
	struct value **row = loop_values(g, l->num_rows);
	struct once o = { l, first, row };

	for (int k = 0; k < l->num_rows; k++) {
		row[k] = graph_pick(g, n->name, rows[k], 0, 0);
		if (!row[k])
			return NULL;
	}
	for (int i = 0; i < l->num_nodes; i++) {
		loop_each_read(l->nodes[i], of_once, &o);
		graph_append(g, l->nodes[i]);
	}
	n->num_out = l->num_carried + l->num_stacked;
	n->out = loop_values(g, n->num_out);
	for (int k = 0; k < l->num_carried; k++) {
		of_once(&o, &l->next[k]);
		if (check_carried(g, n, k, first[k]))
			return NULL;
		n->out[k] = row_of_once(g, n->name, l->next[k]);
	}
	for (int k = 0; k < l->num_stacked; k++) {
		struct value *v = l->stacked[k];

		of_once(&o, &v);
		n->out[l->num_carried + k] = row_of_once(g, n->name, v);
	}
	for (int k = 0; k < n->num_out; k++)
		if (!n->out[k])
			return NULL;
	return n;
}

struct value *loop_after(struct graph *g, const char *name, const struct node *n, int k)
{
	return n->loop->trip == 1 ? n->out[k]
				  : graph_slice(g, name, n->out[k], 0, 1, n->loop->trip, false);
}

struct value *loop_last(struct graph *g, const char *name, const struct node *n, int k)
{
	if (n->loop->linear)
		return graph_pick(g, name, n->loop->linear, 0, n->loop->trip - 1);
	return n->loop->trip == 1 ? n->loop->next[k]
				  : graph_pick(g, name, n->out[k], 0, n->loop->trip);
}

struct node *loop_finish(struct graph *g, const char *name, struct loop *l,
			 struct value *const *first, struct value *const *rows)
{
	struct node *n = node_new(g, "Recurrence", name);

	n->loop = l;
	for (int k = 0; k < l->num_carried; k++)
		l->next[k] = value_resolve(l->next[k]);
	for (int k = 0; k < l->num_stacked; k++)
		l->stacked[k] = value_resolve(l->stacked[k]);
	for (int k = 0; k < l->num_summed; k++)
		l->summed[k] = value_resolve(l->summed[k]);
	if (l->trip == 1)
		return make_once(g, n, first, rows);
	for (int k = 0; k < l->num_carried; k++)
		node_input(g, n, first[k]);
	for (int k = 0; k < l->num_rows; k++)
		node_input(g, n, rows[k]);
	hoist(g, l);
	capture_all(g, n);
	n->num_out = l->num_carried + l->num_stacked + l->num_summed;
	n->out = graph_alloc(g, ((size_t)n->num_out + 1) * sizeof(*n->out));
	for (int k = 0; k < n->num_out; k++) {
		n->out[k] = graph_value(g, graph_format(g, "%.200s_%d", name, g->counter++));
		n->out[k]->producer = n;
	}
	return graph_process(g, n) || graph_linear(g, n) ? NULL : n;
}

struct value *loop_count(struct graph *g, enum rdu_dtype dtype, int64_t trip)
{
	struct value *v = graph_const(g, dtype, 1, &trip, NULL);

	for (int64_t i = 0; i < trip; i++) {
		if (dtype == RDU_DT_I64)
			((int64_t *)v->data)[i] = i;
		else
			((int32_t *)v->data)[i] = (int32_t)i;
	}
	return v;
}

struct value *graph_pick(struct graph *g, const char *name, struct value *v, int64_t axis,
			 int64_t at)
{
	int64_t dim[RDU_MAX_DIMS];
	int ndim = 0;

	v = v->dim[axis] == 1 ? v : graph_slice(g, name, v, axis, at, 1, false);
	if (!v)
		return NULL;
	for (int i = 0; i < v->ndim; i++)
		if (i != axis)
			dim[ndim++] = v->dim[i];
	return graph_reshape(g, name, v, ndim, dim);
}

/* ---- the operator --------------------------------------------------------------- */

int loop_result(struct graph *g, struct node *n, int out, const struct value *v, int64_t rows)
{
	int64_t dim[RDU_MAX_DIMS + 1] = { rows };

	memcpy(dim + 1, v->dim, (size_t)v->ndim * sizeof(*dim));
	return node_shape(g, n, out, v->dtype, v->ndim + 1, dim);
}

static int loop_infer(struct graph *g, struct node *n)
{
	const struct loop *l = n->loop;
	int out = 0;

	for (int k = 0; k < l->num_carried; k++) {
		if (check_carried(g, n, k, n->in[k]) ||
		    loop_result(g, n, out++, n->in[k], l->trip + 1))
			return -1;
	}
	for (int k = 0; k < l->num_stacked; k++)
		if (loop_result(g, n, out++, l->stacked[k], l->trip))
			return -1;
	for (int k = 0; k < l->num_summed; k++)
		if (node_shape(g, n, out++, l->summed[k]->dtype, l->summed[k]->ndim,
			       l->summed[k]->dim))
			return -1;
	return 0;
}

bool loop_makes(const struct loop *l, const struct value *v)
{
	for (int i = 0; v->producer && i < l->num_nodes; i++)
		if (l->nodes[i] == v->producer)
			return true;
	return false;
}

static void mark_producer(const struct loop *l, struct value *v)
{
	v->wanted = true;
	if (loop_makes(l, v))
		v->producer->live = true;
}

/* Which nodes of the body are needed in this entry point, and of which loops in it what. */
void loop_mark(const struct node *n)
{
	const struct loop *l = n->loop;

	for (int i = 0; i < l->num_nodes; i++)
		l->nodes[i]->live = false;
	for (int k = 0; k < l->num_carried; k++)
		mark_producer(l, l->next[k]);
	for (int k = 0; k < l->num_stacked; k++)
		if (n->out[l->num_carried + k]->wanted)
			mark_producer(l, l->stacked[k]);
	for (int k = 0; k < l->num_summed; k++)
		if (n->out[l->num_carried + l->num_stacked + k]->wanted)
			mark_producer(l, l->summed[k]);
	for (int i = l->num_nodes - 1; i >= 0; i--)
		for (int k = 0; l->nodes[i]->live && k < l->nodes[i]->num_in; k++)
			if (l->nodes[i]->in[k] && l->nodes[i]->in[k]->varies == l) {
				l->nodes[i]->in[k]->wanted = true;
				if (l->nodes[i]->in[k]->producer)
					l->nodes[i]->in[k]->producer->live = true;
			}
}

/* Copies v into `to`, into its row 0 if it has one dimension more. */
static int copy_value(struct lower *l, struct node *n, struct value *v, struct tensor *to)
{
	struct tensor *from = lower_value(l, v);
	struct nest *nest = lower_nest(l, n, v->name);
	struct access *out;

	for (int i = 0; i < from->ndim; i++)
		nest_dim(nest, axis_name(from->ndim, i), from->dim[i], false);
	if (!from->ndim)
		nest_dim(nest, "i", 1, false);
	nest_input(nest, from);
	access_identity(&nest->in[0]);
	nest_output(nest, to, nest_in(nest, 0));
	out = &nest->out[0].access;
	for (int i = 0; i < from->ndim; i++)
		out->coef[i + to->ndim - from->ndim][i] = 1;
	return lower_done(l, n, nest);
}

/* Adds v to what is in a tensor. */
static int add_value(struct lower *l, struct node *n, struct value *v, struct tensor *sum)
{
	struct tensor *from = lower_value(l, v), *to;
	struct nest *nest = lower_nest(l, n, "sum");

	to = lower_temp(l, n, graph_format(l->graph, "sum%d", l->module->num_tensors), sum->dtype,
			sum->ndim, sum->dim);
	to->update_of = sum;
	for (int i = 0; i < from->ndim; i++)
		nest_dim(nest, axis_name(from->ndim, i), from->dim[i], false);
	if (!from->ndim)
		nest_dim(nest, "i", 1, false);
	nest_input(nest, sum);
	nest_input(nest, from);
	nest_output(nest, to, nest_op(nest, RDU_SIMD_FADD, nest_in(nest, 0), nest_in(nest, 1), -1));
	access_identity(&nest->in[0]);
	access_identity(&nest->in[1]);
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

/* A value of the body that goes to several places is made in the first. */
struct place {
	struct value *v;
	struct tensor *to;
	bool made; /* by the node that makes v */
};

static int lower_body(struct lower *l, struct node *n, struct place *p, int num)
{
	const struct loop *loop = n->loop;
	int outer = l->loop, ret = 0;

	l->loop = module_loop(l->entry, n->name, outer, loop->trip);
	for (int i = 0; i < num; i++) {
		struct value *v = p[i].v;

		p[i].made = loop_makes(loop, v) && !v->producer->op->view && !v->tensor;
		if (p[i].made)
			v->tensor = p[i].to;
	}
	for (int i = 0; i < loop->num_nodes && !ret; i++)
		if (loop->nodes[i]->live)
			ret = graph_lower_node(l, loop->nodes[i]);
	for (int i = 0; i < num && !ret; i++)
		if (!p[i].made)
			ret = copy_value(l, n, p[i].v, p[i].to);
	for (int k = 0; k < loop->num_summed && !ret; k++) {
		struct value *out = n->out[loop->num_carried + loop->num_stacked + k];

		if (out->wanted)
			ret = add_value(l, n, loop->summed[k], lower_value(l, out));
	}
	l->loop = outer;
	return ret;
}

static int lower_loop(struct lower *l, struct node *n)
{
	const struct loop *loop = n->loop;
	struct place *p = graph_alloc(l->graph, ((size_t)n->num_out + 1) * sizeof(*p));
	int num = 0;

	loop_mark(n);
	for (int k = 0; k < loop->num_carried; k++) {
		struct tensor *all = lower_value(l, n->out[k]);

		if (copy_value(l, n, n->in[k], all))
			return -1;
		loop->carried[k]->tensor = module_row(l->module, all, 0);
		p[num++] = (struct place){ loop->next[k], module_row(l->module, all, 1), false };
	}
	for (int k = 0; k < loop->num_rows; k++)
		loop->row[k]->tensor =
			module_row(l->module, lower_value(l, n->in[loop->num_carried + k]), 0);
	for (int k = 0; k < loop->num_stacked; k++) {
		struct value *out = n->out[loop->num_carried + k];

		if (out->wanted)
			p[num++] = (struct place){ loop->stacked[k],
						   module_row(l->module, lower_value(l, out), 0),
						   false };
	}
	for (int k = 0; k < loop->num_summed; k++) {
		struct value *out = n->out[loop->num_carried + loop->num_stacked + k];

		if (out->wanted &&
		    lower_fill(l, n, lower_value(l, out), 0, 0, out->ndim ? out->dim[0] : 1, 0))
			return -1;
	}
	return loop->trip ? lower_body(l, n, p, num) : 0;
}

static bool is_row(struct tensor *t)
{
	return tensor_storage(t)->row_of;
}

/* The rows of a loop around this one are no rows of this one's: they are copied in front of it and behind it. row: by
 * input, then by output. */
static int leave_rows(struct lower *l, struct node *n, struct tensor **row)
{
	for (int k = 0; k < n->num_in; k++) {
		struct value *v = value_resolve(n->in[k]);
		struct tensor *t = v ? v->tensor : NULL, *own;

		if (!t || !is_row(t))
			continue;
		own = lower_temp(l, n, "in", t->dtype, t->ndim, t->dim);
		if (copy_value(l, n, v, own))
			return -1;
		row[k] = t;
		v->tensor = own;
	}
	for (int k = 0; k < n->num_out; k++) {
		struct tensor *t = n->out[k]->tensor;

		if (!t || !is_row(t))
			continue;
		row[n->num_in + k] = t;
		n->out[k]->tensor = lower_temp(l, n, "out", t->dtype, t->ndim, t->dim);
	}
	return 0;
}

static int return_rows(struct lower *l, struct node *n, struct tensor *const *row)
{
	for (int k = 0; k < n->num_in; k++)
		if (row[k])
			value_resolve(n->in[k])->tensor = row[k];
	for (int k = 0; k < n->num_out; k++) {
		struct tensor *t = row[n->num_in + k];

		if (t && copy_value(l, n, n->out[k], t))
			return -1;
		if (t)
			n->out[k]->tensor = t;
	}
	return 0;
}

static int loop_pattern(struct lower *l, struct node *n)
{
	size_t num = (size_t)(n->num_in + n->num_out);
	struct tensor **row = graph_alloc(l->graph, (num + 1) * sizeof(*row));

	if (loop_depth(l->entry, l->loop) == RDU_MAX_LOOP_DEPTH)
		return node_error(l->graph, n,
				  "is in %d loops, those over steps and tokens with them: the card "
				  "has room for %d in each other",
				  RDU_MAX_LOOP_DEPTH, RDU_MAX_LOOP_DEPTH);
	return leave_rows(l, n, row) || lower_loop(l, n) || return_rows(l, n, row) ? -1 : 0;
}

const struct op ops_loop[] = {
	{ .name = "Recurrence",
	  .internal = true,
	  .infer = loop_infer,
	  .gradient = loop_gradient,
	  .pattern = loop_pattern },
	{ 0 },
};
