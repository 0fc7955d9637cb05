// SPDX-License-Identifier: MIT
/*
 * Common subexpressions: of nodes that compute the same of the same values, the first one does it for all. A model
 * that norms one tensor in front of each of three products norms it once, and its gradient goes back through that
 * norm once.
 */
#include <stdlib.h>
#include <string.h>
#include "graph.h"
#include "mem.h"

#define MOST_BYTES 1024 /* of constants that are compared by contents */

static bool same_value(const struct value *a, const struct value *b)
{
	size_t size;

	if (a == b)
		return true;
	if (!a || !b || !a->constant || !b->constant || !a->data || !b->data ||
	    a->dtype != b->dtype || !value_same_shape(a, b))
		return false;
	size = (size_t)(value_count(a) * dtype_bytes(a->dtype));
	return size <= MOST_BYTES && !memcmp(a->data, b->data, size);
}

static bool same_attr(const struct attr *a, const struct attr *b)
{
	if (!b || a->kind != b->kind)
		return false;
	switch (a->kind) {
	case ATTR_INT:
		return a->i == b->i;
	case ATTR_FLOAT:
		return !memcmp(&a->f, &b->f, sizeof(a->f));
	case ATTR_STRING:
		return !strcmp(a->s, b->s);
	case ATTR_INTS:
		return a->num == b->num &&
		       !memcmp(a->ints, b->ints, sizeof(*a->ints) * (size_t)a->num);
	case ATTR_FLOATS:
		return a->num == b->num &&
		       !memcmp(a->floats, b->floats, sizeof(*a->floats) * (size_t)a->num);
	case ATTR_TENSOR:
		return a->tensor == b->tensor;
	default:
		return false;
	}
}

static int count_attrs(const struct node *n)
{
	int num = 0;

	for (const struct attr *a = n->attrs; a; a = a->next)
		num++;
	return num;
}

static bool same_node(const struct node *a, const struct node *b)
{
	if (a->op != b->op || a->of != b->of || a->of_node != b->of_node ||
	    a->num_in != b->num_in || a->num_out != b->num_out || count_attrs(a) != count_attrs(b))
		return false;
	for (int k = 0; k < a->num_in; k++)
		if (!same_value(a->in[k], b->in[k]))
			return false;
	for (const struct attr *t = a->attrs; t; t = t->next)
		if (!same_attr(t, node_attr(b, t->name)))
			return false;
	for (int k = 0; k < a->num_out; k++) {
		const struct value *u = a->out[k], *v = b->out[k];

		if (!u != !v || (u && (u->dtype != v->dtype || !value_same_shape(u, v))))
			return false;
	}
	return true;
}

/* Is it one whose results may be another's? Results of the model have names of their own. */
static bool may_join(const struct node *n)
{
	for (int k = 0; k < n->num_out; k++)
		if (n->out[k] && (n->out[k]->wanted || value_is_bounded(n->out[k])))
			return false;
	return !n->loop && n->num_in;
}

/* Of what it reads; constants may be equal ones. */
static uint32_t hash(const struct node *n)
{
	uint32_t h = rdu_fnv1a(RDU_FNV1A_INIT, &n->op, sizeof(n->op));

	for (int k = 0; k < n->num_in; k++)
		if (n->in[k] && !n->in[k]->constant)
			h = (uint32_t)rdu_fnv1a(h, &n->in[k], sizeof(n->in[k]));
	return h;
}

/* What is read by loops or leaves the graph stays as it is: it is `wanted` here. */
static void mark_kept(struct graph *g)
{
	for (int i = 0; i < g->num_values; i++)
		g->values[i]->wanted = false;
	for (int i = 0; i < g->num_outputs; i++)
		g->outputs[i].value->wanted = true;
	for (int i = 0; i < g->num_nodes; i++)
		for (int k = 0; g->nodes[i]->loop && k < g->nodes[i]->num_in; k++)
			if (g->nodes[i]->in[k])
				g->nodes[i]->in[k]->wanted = true;
}

void graph_join_common(struct graph *g)
{
	size_t room = 64, num = (size_t)g->num_nodes;
	int *first, *next = xmalloc(sizeof(*next) * (num + 1)), kept = 0;

	while (room < num)
		room *= 2;
	first = xmalloc(sizeof(*first) * room);
	memset(first, -1, sizeof(*first) * room);
	mark_kept(g);
	for (int i = 0; i < g->num_nodes; i++) {
		struct node *n = g->nodes[i];
		int *at, k;

		for (k = 0; k < n->num_in; k++)
			n->in[k] = value_resolve(n->in[k]);
		at = &first[hash(n) & (room - 1)];
		for (k = may_join(n) ? *at : -1; k >= 0 && !same_node(g->nodes[k], n);)
			k = next[k];
		if (k >= 0) {
			for (int o = 0; o < n->num_out; o++)
				if (n->out[o])
					n->out[o]->alias = g->nodes[k]->out[o];
			continue;
		}
		next[kept] = *at;
		*at = kept;
		g->nodes[kept++] = n;
	}
	g->num_nodes = kept;
	free(first);
	free(next);
}
