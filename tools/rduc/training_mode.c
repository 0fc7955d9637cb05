// SPDX-License-Identifier: MIT
/*
 * What a step of training does otherwise than the entry points beside it: Dropout drops, BatchNormalization
 * takes the batch's own statistics and keeps what becomes of the stored ones. One graph has both ways.
 * A ByMode node stands where they meet, and gives its value away, in each entry point to another.
 */
#include <string.h>
#include "graph.h"

struct value *graph_by_mode(struct graph *g, const char *name, struct value *step,
			    struct value *otherwise)
{
	return step && otherwise ? graph_op2(g, "ByMode", name, step, otherwise) : NULL;
}

void graph_choose_mode(struct graph *g, bool step)
{
	for (int i = 0; i < g->num_nodes; i++) {
		const struct node *n = g->nodes[i];

		if (!strcmp(n->op->name, "ByMode"))
			n->out[0]->alias = value_resolve(n->in[!step]);
	}
}

/* ---- what is kept from run to run ------------------------------------------------------------ */

static struct graph_output *kept_as(const struct graph *g, const struct value *state)
{
	for (int i = 0; i < g->num_outputs; i++)
		if (g->outputs[i].state == state)
			return &g->outputs[i];
	return NULL;
}

struct value *graph_kept(const struct graph *g, struct value *state)
{
	const struct graph_output *o = kept_as(g, state);

	return o ? o->value : state;
}

void graph_keep(struct graph *g, struct value *state, struct value *next)
{
	struct graph_output *o = kept_as(g, state), *outputs;

	if (!o) {
		outputs = graph_alloc(g, (size_t)(g->num_outputs + 1) * sizeof(*outputs));
		memcpy(outputs, g->outputs, (size_t)g->num_outputs * sizeof(*outputs));
		g->outputs = outputs;
		o = &outputs[g->num_outputs++];
		o->name = graph_format(g, "%.200s.next", state->name);
		o->state = state;
	}
	o->value = next;
}

/* ---- operators (internal) ---------------------------------------------------------------------- */

static int first_infer(struct graph *g, struct node *n)
{
	const struct value *v = n->in[0];

	return node_shape(g, n, 0, v->dtype, v->ndim, v->dim);
}

/* Gradients are those of a step. */
static int by_mode_gradient(struct graph *g, struct node *n)
{
	return graph_add_grad(g, n->in[0], n->out[0]->grad);
}

/* in next; out, the tensor of which it is a new value */
static int keep_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = lower_nest(l, n, NULL);
	const struct value *v = n->in[0];

	for (int i = 0; i < v->ndim; i++)
		nest_dim(nest, axis_name(v->ndim, i), v->dim[i], false);
	if (!v->ndim)
		nest_dim(nest, "i", 1, false);
	nest_input(nest, lower_value(l, n->in[0]));
	access_identity(&nest->in[0]);
	nest_output(nest, lower_value(l, n->out[0]), nest_in(nest, 0));
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

const struct op ops_training_mode[] = {
	{ .name = "ByMode",
	  .min_in = 2,
	  .max_in = 2,
	  .max_out = 1,
	  .internal = true,
	  .infer = first_infer,
	  .gradient = by_mode_gradient },
	{ .name = "Keep",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .internal = true,
	  .infer = first_infer,
	  .pattern = keep_pattern },
	{ 0 },
};
