// SPDX-License-Identifier: MIT
/*
 * Pass 2: shapes and types in order, constants folded as they become known,
 * composite operators expanded, identities, dead code and what is computed twice removed.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "graph.h"
#include "mem.h"

static void *root_data(struct tensor *t)
{
	while (t->view_of)
		t = t->view_of;
	return t->data;
}

#define MAX_FOLD_POINTS (1 << 27) /* some seconds */

static int64_t points(const struct nest *n)
{
	int64_t num = 1;

	for (int d = 0; d < n->ndim; d++)
		if (__builtin_mul_overflow(num, n->dim[d].extent, &num))
			return INT64_MAX;
	return num;
}

/* Run the node's own nests on its constants. 1: too much work, -1: error. */
static int fold_nests(struct graph *g, struct node *n)
{
	struct module *m = module_new("fold");
	struct module_entry *e = module_entry(m, "fold");
	struct lower l = { m, e, g, "fold/", "fold/", 0, false };
	struct tensor *out = NULL;
	void **data = NULL;
	int ret, why;

	for (int i = 0; i < n->num_in; i++)
		if (n->in[i])
			n->in[i]->tensor = NULL;
	n->out[0]->tensor = NULL;
	ret = n->op->view ? 0 : n->op->pattern(&l, n);
	e = &m->entries[0];
	for (int i = 0; i < e->num_nests && !ret; i++)
		if (points(e->nests[i]) > MAX_FOLD_POINTS)
			ret = 1;
	if (!ret) {
		if (n->op->view) {
			n->out[0]->data = n->in[0]->data;
			n->out[0]->shared = n->in[0]->shared;
		} else {
			graph_contents(g, n->out[0]);
			data = xcalloc(m->num_tensors, sizeof(*data));
			out = n->out[0]->tensor;
			for (int i = 0; i < m->num_tensors; i++) {
				struct tensor *t = m->tensors[i];

				if (t->view_of || t->update_of)
					continue;
				if (t == out)
					data[i] = n->out[0]->data;
				else if (root_data(t))
					data[i] = root_data(t);
				else
					data[i] = t->data = shared_new(
						(size_t)(dims_count(t->ndim, t->dim) + 1) *
						(size_t)dtype_bytes(t->dtype));
			}
			for (int i = 0; i < e->num_nests && !ret; i++)
				if ((why = nest_eval_fold(e->nests[i], data)))
					ret = node_error(g, n,
							 "its constant result is not defined: %s",
							 nest_trap_text(why));
			free(data);
		}
	}
	for (int i = 0; i < n->num_in; i++)
		if (n->in[i])
			n->in[i]->tensor = NULL;
	n->out[0]->tensor = NULL;
	module_free(m);
	return ret;
}

static int64_t bytes_of(const struct value *v)
{
	return value_count(v) * dtype_bytes(v->dtype);
}

/* Does it show or turn a tensor, which costs a run nothing? */
static bool shows(const struct node *n)
{
	return n && (n->op->view || !strcmp(n->op->name, "Transpose"));
}

/* What a value is another view of. */
static const struct value *shown(const struct value *v)
{
	while (!v->constant && shows(v->producer))
		v = v->producer->in[0];
	return v;
}

/* Is it computed of constants, and small, or no larger than those of them that nobody else reads? */
static bool worth_folding(const struct node *n)
{
	int64_t own = 0;
	bool small = true;

	for (int i = 0; i < n->num_in; i++) {
		const struct value *in = n->in[i] ? shown(n->in[i]) : NULL;

		if (!in)
			continue;
		if (!in->constant || !in->data)
			return false;
		small &= in == n->in[i] && value_count(in) <= GRAPH_MAX_FOLD;
		own += n->in[i]->uses <= 1 && in->uses <= 1 ? bytes_of(in) : 0;
	}
	if (!small && shows(n))
		return false;
	return value_count(n->out[0]) <= GRAPH_MAX_FOLD || bytes_of(n->out[0]) <= own;
}

static void is_constant(struct value *v)
{
	v->constant = true;
	v->kind = TENSOR_WEIGHT;
	v->producer = NULL;
}

/* A view of a constant becomes one. As fold_nests(). */
static int fold_shown(struct graph *g, struct value *v)
{
	struct node *n = v->producer;
	int ret = n->in[0]->constant ? 0 : fold_shown(g, n->in[0]);

	ret = ret ? ret : fold_nests(g, n);
	if (!ret)
		is_constant(v);
	return ret;
}

int graph_fold(struct graph *g, struct node *n)
{
	struct value *v = n->out[0];
	int ret = 0;

	if (!v || n->loop || n->num_out > 1)
		return 0;
	if (v->ndim >= 0 && !value_count(v) && !n->op->expand) {
		v->data = graph_alloc(g, 1);
		ret = 1; /* there is nothing to compute */
	} else if (n->op->fold && worth_folding(n)) {
		ret = n->op->fold(g, n);
		if (ret < 0)
			return -1;
	}
	if (!ret) {
		if (v->ndim < 0 || n->op->expand || !(n->op->view || n->op->pattern) || !n->num_in)
			return 0;
		if (!worth_folding(n))
			return 0;
		for (int i = 0; i < n->num_in && !ret; i++)
			ret = n->in[i] && !n->in[i]->constant ? fold_shown(g, n->in[i]) : 0;
		ret = ret ? ret : fold_nests(g, n);
		if (ret)
			return ret < 0 ? -1 : 0;
	}
	for (int i = 0; i < n->num_in; i++)
		if (n->in[i])
			n->in[i]->uses--;
	is_constant(v);
	return 1;
}

void graph_mark(struct graph *g, struct value *const *roots, int num_roots)
{
	for (int i = 0; i < g->num_values; i++)
		g->values[i]->wanted = false;
	for (int i = 0; i < g->num_nodes; i++)
		g->nodes[i]->live = false;
	for (int i = 0; i < num_roots; i++) {
		struct value *v = value_resolve(roots[i]);

		v->wanted = true;
		if (v->producer)
			v->producer->live = true;
	}
	for (int i = g->num_nodes - 1; i >= 0; i--) {
		struct node *n = g->nodes[i];

		for (int k = 0; n->live && k < n->num_in; k++) {
			struct value *v = value_resolve(n->in[k]);

			if (v)
				v->wanted = true;
			if (v && v->producer)
				v->producer->live = true;
		}
	}
}

static void remove_dead(struct graph *g)
{
	struct value **roots = graph_alloc(g, (g->num_outputs + 1) * sizeof(*roots));
	int kept = 0;

	for (int i = 0; i < g->num_outputs; i++)
		roots[i] = g->outputs[i].value;
	graph_mark(g, roots, g->num_outputs);
	for (int i = 0; i < g->num_nodes; i++)
		if (g->nodes[i]->live)
			g->nodes[kept++] = g->nodes[i];
	g->num_nodes = kept;
}

int graph_uses(const struct graph *g, const struct value *v)
{
	int num = 0;

	for (int i = 0; i < g->num_nodes; i++)
		for (int k = 0; k < g->nodes[i]->num_in; k++)
			num += g->nodes[i]->in[k] == v;
	for (int i = 0; i < g->num_outputs; i++)
		num += g->outputs[i].value == v;
	return num;
}

/*
 * MaxPool(Relu(x)) is Relu(MaxPool(x)), to the bit, with fewer elements to
 * clip. With overlapping windows too: all that equal the maximum get the
 * gradient.
 */
static void pool_first(struct graph *g)
{
	for (int i = 0; i < g->num_nodes; i++) {
		struct node *pool = g->nodes[i], *relu = pool->in ? pool->in[0]->producer : NULL;
		struct value *between = relu ? pool->in[0] : NULL;
		int at = 0;

		if (!relu || strcmp(pool->op->name, "MaxPool") || strcmp(relu->op->name, "Relu") ||
		    graph_uses(g, between) != 1)
			continue;
		while (g->nodes[at] != relu)
			at++;
		pool->in[0] = relu->in[0];
		relu->in[0] = between;
		relu->out[0] = pool->out[0];
		relu->out[0]->producer = relu;
		pool->out[0] = between;
		between->producer = pool;
		between->name = graph_format(g, "%.200s.max", pool->name);
		between->ndim = relu->out[0]->ndim;
		memcpy(between->dim, relu->out[0]->dim, sizeof(between->dim));
		g->nodes[at] = pool;
		g->nodes[i] = relu;
	}
}

static bool reads_unknown(const struct node *n)
{
	for (int i = 0; i < n->num_in; i++)
		if (n->in[i] && value_resolve(n->in[i])->unknown)
			return true;
	return false;
}

static const char *declared_text(struct graph *g, const struct declared *d)
{
	const char *text = "";

	for (int i = 0; i < d->ndim; i++)
		text = d->dim[i] < 0
			       ? graph_format(g, "%s%s?", text, i ? "," : "")
			       : graph_format(g, "%s%s%" PRId64, text, i ? "," : "", d->dim[i]);
	return graph_format(g, "%s[%s]", d->dtype ? dtype_name(d->dtype) : "", text);
}

/* ONNX's shape inference counts a ceil_mode's window that starts behind the input and its padding; no runtime does. */
static bool counts_beyond(const struct node *n, const struct declared *d, const struct value *v)
{
	if (!attr_i(n, "ceil_mode", 0) || (d->dtype && d->dtype != v->dtype) || d->ndim != v->ndim)
		return false;
	for (int k = 0; k < d->ndim; k++)
		if (d->dim[k] >= 0 && d->dim[k] != v->dim[k] && d->dim[k] != v->dim[k] + 1)
			return false;
	return true;
}

/*
 * Is what came out what the file says of it? A file whose inputs were given other
 * shapes than it declares speaks of those: then only ranks and types count.
 */
static int check_declared(struct graph *g, const struct node *n)
{
	for (int i = 0; i < n->num_out; i++) {
		const struct declared *d = n->out[i] ? n->out[i]->declared : NULL;
		const struct value *v = value_resolve(n->out[i]);
		bool same;

		if (!d || v->ndim < 0)
			continue;
		same = !d->dtype || d->dtype == v->dtype;
		same &= d->ndim < 0 || d->ndim == v->ndim;
		for (int k = 0; same && g->own_shapes && k < d->ndim; k++)
			same = d->dim[k] < 0 || d->dim[k] == v->dim[k] ||
			       (v->size[k] && d->dim[k] < v->dim[k]);
		if (!same && counts_beyond(n, d, v)) {
			g->own_shapes = false;
			g->first_beyond = d->name;
		} else if (!same) {
			return node_error(g, n, "'%.60s' is %s%s, but the file declares %s",
					  d->name, dtype_name(v->dtype), value_shape_text(g, v),
					  declared_text(g, d));
		}
	}
	return 0;
}

/* A state's next value is of its type and shape. */
static int check_states(struct graph *g)
{
	for (int i = 0; i < g->num_outputs; i++) {
		const struct value *v = g->outputs[i].value, *s = g->outputs[i].state;

		if (s && (v->dtype != s->dtype || !value_same_shape(v, s)))
			return graph_error(g, "state '%s' is %s%s, its next value '%s' is %s%s",
					   s->name, dtype_name(s->dtype), value_shape_text(g, s),
					   g->outputs[i].name, dtype_name(v->dtype),
					   value_shape_text(g, v));
	}
	return 0;
}

/* Who reads what alone. */
static void find_readers(struct graph *g)
{
	for (int i = 0; i < g->num_nodes; i++)
		for (int k = 0; k < g->nodes[i]->num_in; k++) {
			struct value *v = g->nodes[i]->in[k];

			if (v)
				v->reader = v->uses++ ? NULL : g->nodes[i];
		}
	for (int i = 0; i < g->num_outputs; i++) {
		g->outputs[i].value->reader = NULL;
		g->outputs[i].value->uses++;
	}
}

int graph_simplify(struct graph *g)
{
	struct node **old = g->nodes;
	int num = g->num_nodes;

	find_readers(g);
	g->nodes = NULL;
	g->num_nodes = g->cap_nodes = 0;
	if (bounded_inputs(g)) {
		free(old);
		return -1;
	}
	/* What was refused makes unknown values: the reasons of all others come too. */
	for (int i = 0; i < num; i++) {
		struct node *n = old[i];
		bool blind = reads_unknown(n);

		if (!blind && !n->op->missing && !graph_process_bounded(g, n) &&
		    !check_declared(g, n))
			continue;
		if (!blind && !n->op->missing)
			graph_collect(g, "node", n->name, n->op->name);
		for (int k = 0; k < n->num_out; k++)
			if (n->out[k])
				n->out[k]->unknown = true;
	}
	free(old);
	if (graph_report(g))
		return -1;
	for (int i = 0; i < g->num_outputs; i++) {
		g->outputs[i].value = value_resolve(g->outputs[i].value);
		if (g->outputs[i].value->sequence)
			return graph_error(g, "output '%s' is a sequence: not supported",
					   g->outputs[i].name);
	}
	if (check_states(g) || bounded_outputs(g))
		return -1;
	remove_dead(g);
	if (bounded_inputs_checked(g))
		return -1;
	graph_join_common(g);
	pool_first(g);
	return 0;
}
