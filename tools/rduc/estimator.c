// SPDX-License-Identifier: MIT
/*
 * Straight-through estimators: x + (y - x), of which the value is y's and the gradient x's. So PyTorch's exporter
 * writes x + (y - x).detach(): it drops detach(), which would change nothing in a graph that is not trained. Where y
 * comes out of rounding, it is taken for the value as it is, not as sum and difference round it; so what
 * quantization-aware training leaves is whole numbers over a scale, and constants stay what they were rounded to.
 */
#include <string.h>
#include "bounded.h"
#include "graph.h"

static struct value *past_identities(struct value *v)
{
	while (v && v->producer && !strcmp(v->producer->op->name, "Identity"))
		v = v->producer->in[0];
	return v;
}

struct value *graph_straight_through(const struct node *n, struct value **value)
{
	for (int k = 0; k < 2 && !strcmp(n->op->name, "Add"); k++) {
		const struct node *less = past_identities(n->in[k])->producer;

		if (less && !strcmp(less->op->name, "Sub") &&
		    past_identities(less->in[1]) == past_identities(n->in[!k])) {
			*value = less->in[0];
			return n->in[!k];
		}
	}
	return NULL;
}

#define MOST_OPERATORS 64 /* of a quantizer */

/* Is it made of rounded numbers, by scales, limits and casts? Looks at *left operators, at most. */
static bool is_rounded(struct value *v, int *left)
{
	static const char *const rounds[] = { "Round", "Floor", "Ceil", "Sign" };
	static const char *const scales[] = { "Div", "Mul", "Clip", "Cast" };

	for (const struct node *n; (n = (v = past_identities(v))->producer); v = n->in[0]) {
		bool passes = false;

		if (!*left)
			return false;
		--*left;
		for (size_t i = 0; i < sizeof(rounds) / sizeof(rounds[0]); i++)
			if (!strcmp(n->op->name, rounds[i]))
				return true;
		for (size_t i = 0; i < sizeof(scales) / sizeof(scales[0]); i++)
			passes |= !strcmp(n->op->name, scales[i]);
		if (!passes)
			return false;
		if (!strcmp(n->op->name, "Mul") && is_rounded(n->in[1], left))
			return true;
	}
	return false;
}

void graph_find_estimators(struct graph *g)
{
	for (int i = 0; i < g->num_nodes; i++) {
		struct node *n = g->nodes[i];
		struct value *q, *x = graph_straight_through(n, &q);
		int left = MOST_OPERATORS;

		/* Before opset 7 broadcast says that one lies along an axis of the other. */
		if (!x || node_attr(n, "broadcast") || !is_rounded(q, &left))
			continue;
		n->op = op_find("StraightThrough");
		n->in[0] = q;
		n->in[1] = x;
	}
}

int graph_through_as_sum(struct graph *g, struct node *n)
{
	struct value *less = bounded_op2(g, n->name, "Sub", n->in[0], n->in[1]);

	return graph_replace_first(n, less ? bounded_op2(g, n->name, "Add", n->in[1], less) : NULL);
}

/* In training the gradient needs both; else it is q. */
static int through_rewrite(struct graph *g, struct node *n)
{
	struct value *q = n->in[0], *x = n->in[1];

	if (q->dtype != x->dtype || dtype_is_int(q->dtype) || !value_same_shape(q, x))
		return graph_through_as_sum(g, n) ? -1 : 1;
	if (g->trained)
		return 0;
	return graph_replace_first(n, q) ? -1 : 1;
}

static int through_infer(struct graph *g, struct node *n)
{
	return node_shape(g, n, 0, n->in[0]->dtype, n->in[0]->ndim, n->in[0]->dim);
}

static int through_gradient(struct graph *g, struct node *n)
{
	struct value *d = n->out[0]->grad;

	if (n->num_in > 2)
		d = graph_op2(g, "Mul", graph_format(g, "%.200s.grad", n->name), d, n->in[2]);
	return d ? graph_add_grad(g, n->in[1], d) : -1;
}

void graph_forget_estimated(struct graph *g)
{
	for (int i = 0; i < g->num_nodes; i++)
		if (g->nodes[i]->op->gradient == through_gradient)
			g->nodes[i]->num_in = 1;
}

const struct op ops_estimator[] = {
	{ .name = "StraightThrough",
	  .min_in = 2,
	  .max_in = 2,
	  .max_out = 1,
	  .internal = true,
	  .rewrite = through_rewrite,
	  .infer = through_infer,
	  .view = true,
	  .gradient = through_gradient },
	/* The same, made by passes, of any types; its gradient is multiplied by a third input, if there is one. */
	{ .name = "GradientThrough",
	  .min_in = 2,
	  .max_in = 3,
	  .max_out = 1,
	  .internal = true,
	  .infer = through_infer,
	  .view = true,
	  .gradient = through_gradient },
	{ 0 },
};
