// SPDX-License-Identifier: MIT
/*
 * States: inputs that are kept from run to run. An entry point reads what the run before left
 * there, and at its end stores the next value over it. What only changes some places of a state
 * (a row of a cache) is stored in place, as long as nobody else reads the old one.
 */
#include <stdio.h>
#include "graph.h"

/* The tensor of a state's next value: it lies over the old one. */
static struct tensor *next_tensor(struct lower *l, const struct graph_output *o)
{
	struct tensor *old = lower_value(l, o->state), *t;
	char name[64];

	snprintf(name, sizeof(name), "%.58s.next", old->name);
	t = module_tensor(l->module, name, TENSOR_TEMP, old->dtype, old->ndim, old->dim);
	t->update_of = old;
	return t;
}

/* What a value is another shape of. */
static struct value *without_views(struct value *v)
{
	v = value_resolve(v);
	while (v->producer && v->producer->op->view)
		v = value_resolve(v->producer->in[0]);
	return v;
}

/* Does a state become nothing but what the node reads first, through nodes that are views? */
static bool only_reader(const struct graph *g, const struct node *n, const struct value *state)
{
	struct value *v = value_resolve(n->in[0]);

	for (;; v = value_resolve(v->producer->in[0])) {
		if (graph_uses(g, v) != 1)
			return false;
		if (v == state)
			return true;
		if (!v->producer || !v->producer->op->view)
			return false;
	}
}

void lower_states_in_place(struct lower *l)
{
	struct graph *g = l->graph;

	for (int i = 0; i < g->num_outputs; i++) {
		struct graph_output *o = &g->outputs[i];
		struct value *v = o->state ? without_views(o->value) : NULL;

		if (v && v->producer && v->producer->op->in_place && !v->tensor &&
		    only_reader(g, v->producer, o->state))
			v->tensor = lower_view_of(l, next_tensor(l, o), v->ndim, v->dim);
	}
}

/* All of a state's next value is stored at once. */
static int store(struct lower *l, struct graph_output *o, struct tensor *from)
{
	struct node fake = { .name = o->name, .op = op_find("Identity") };
	struct nest *n = lower_nest(l, &fake, "state");

	for (int i = 0; i < from->ndim; i++)
		nest_dim(n, axis_name(from->ndim, i), from->dim[i], false);
	if (!from->ndim)
		nest_dim(n, "i", 1, false);
	nest_input(n, from);
	access_identity(&n->in[0]);
	nest_output(n, next_tensor(l, o), nest_in(n, 0));
	access_identity(&n->out[0].access);
	return lower_done(l, &fake, n);
}

/* A state that becomes what another one was: that is put aside before it is stored over. */
static int put_aside(struct lower *l, struct graph_output *o, struct value *v, struct tensor **to)
{
	struct node fake = { .name = o->name, .op = op_find("Identity"), .out = &v, .num_out = 1 };
	struct nest *n;

	*to = lower_temp(l, &fake, "old", v->dtype, v->ndim, v->dim);
	n = lower_copy(l, &fake, v, *to);
	access_identity(&n->in[0]);
	return lower_done(l, &fake, n);
}

int lower_next_states(struct lower *l)
{
	struct graph *g = l->graph;
	struct tensor **from = graph_alloc(g, ((size_t)g->num_outputs + 1) * sizeof(*from));

	for (int i = 0; i < g->num_outputs; i++) {
		struct graph_output *o = &g->outputs[i];
		struct value *v = value_resolve(o->value), *root = without_views(v);

		if (!o->state || root == o->state || !value_count(v))
			continue;
		from[i] = lower_value(l, v);
		if (root->kind == TENSOR_STATE && put_aside(l, o, v, &from[i]))
			return -1;
	}
	for (int i = 0; i < g->num_outputs; i++)
		if (from[i] &&
		    tensor_whole(from[i]) != tensor_whole(lower_value(l, g->outputs[i].state)) &&
		    store(l, &g->outputs[i], from[i]))
			return -1;
	return 0;
}
