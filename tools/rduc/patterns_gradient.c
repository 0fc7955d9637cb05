// SPDX-License-Identifier: MIT
/*
 * Gradient (ai.onnx.preview.training): the derivatives of one number that the model computes, by some of its
 * tensors, as nodes behind those that compute it.
 */
#include <string.h>
#include "graph.h"

/* The tensors of an attribute, of which the node's inputs from `first` on have to be the values. */
static int named_values(struct graph *g, struct node *n, const char *name, int first, int *num,
			struct value ***v)
{
	const struct attr *a = node_attr(n, name);

	*num = a ? a->num : 0;
	*v = graph_alloc(g, ((size_t)*num + 1) * sizeof(**v));
	if (first + *num > n->num_in)
		return node_error(g, n, "it has %d inputs, fewer than xs and zs name", n->num_in);
	for (int i = 0; i < *num; i++) {
		struct value *of = graph_find(g, a->strings[i]);

		(*v)[i] = of ? value_resolve(of) : NULL;
		if (!of || (*v)[i] != n->in[first + i])
			return node_error(g, n,
					  "input %d is not '%.60s': derivatives at another place "
					  "are not supported",
					  first + i, a->strings[i]);
	}
	return 0;
}

static bool is_one_of(const struct value *v, int num, struct value *const *list)
{
	for (int i = 0; i < num; i++)
		if (v == list[i])
			return true;
	return false;
}

/* Which values between the tensors and y have a gradient; y's nodes are live. */
static int find_between(struct graph *g, struct node *n, const struct value *y, int num,
			struct value *const *ends)
{
	for (int i = 0; i < g->num_nodes; i++) {
		struct node *m = g->nodes[i];
		bool needs = false;

		for (int k = 0; k < m->num_in; k++)
			needs |= m->in[k] && m->in[k]->needs_grad;
		if (!m->live || !needs || m->op->stop_gradient)
			continue;
		if (m->loop || !m->op->gradient)
			return node_error(g, n,
					  "no gradient through node '%.60s' (%.40s) to '%.60s'",
					  m->name, m->op->name, y->name);
		for (int k = 0; k < m->num_out; k++)
			if (m->out[k] && !is_one_of(m->out[k], num, ends))
				m->out[k]->needs_grad = !dtype_is_int(m->out[k]->dtype);
	}
	return 0;
}

static int go_back(struct graph *g, int num_nodes, int num, struct value *const *ends)
{
	for (int i = num_nodes - 1; i >= 0; i--) {
		struct node *m = g->nodes[i];
		bool reached = false;

		for (int k = 0; k < m->num_out; k++)
			reached |= m->out[k] && m->out[k]->grad && m->out[k]->needs_grad &&
				   !is_one_of(m->out[k], num, ends);
		if (reached && m->live && !m->op->stop_gradient && m->op->gradient(g, m))
			return -1;
	}
	return 0;
}

static struct value *zeros_like(struct graph *g, struct node *n, const struct value *x)
{
	int64_t count = x->ndim;
	struct value *zero = graph_cast(g, n->name, graph_const_f(g, 0), x->dtype);

	return zero ? graph_op2(g, "Expand", n->name, zero,
				graph_const(g, RDU_DT_I64, 1, &count, x->dim))
		    : NULL;
}

static int gradient_expand(struct graph *g, struct node *n)
{
	const char *of = attr_s(n, "y", "");
	struct value *y = graph_find(g, of), **xs, **zs, **result;
	int num, fixed, num_nodes = g->num_nodes;
	struct node *ones = node_new(g, "Ones", n->name);

	if (named_values(g, n, "xs", 0, &num, &xs) || named_values(g, n, "zs", num, &fixed, &zs))
		return -1;
	if (num + fixed != n->num_in || n->num_out > num)
		return node_error(g, n, "it has %d inputs and %d outputs, xs and zs name %d and %d",
				  n->num_in, n->num_out, num, fixed);
	y = y ? value_resolve(y) : NULL;
	if (!y || y->ndim < 0 || g->in_body)
		return node_error(g, n, "'%.60s' is not made before it, in the same graph", of);
	if (y->dtype != RDU_DT_F32 || value_count(y) != 1)
		return node_error(g, n, "'%.60s' is %s%s, not one float", of, dtype_name(y->dtype),
				  value_shape_text(g, y));
	graph_mark(g, &y, 1);
	for (int i = 0; i < num; i++) {
		if (dtype_is_int(xs[i]->dtype))
			return node_error(g, n, "'%.60s' is %s", xs[i]->name,
					  dtype_name(xs[i]->dtype));
		xs[i]->needs_grad = true;
	}
	/* What an x or a z is made of is nothing that y depends on. */
	result = graph_alloc(g, ((size_t)(num + fixed) + 1) * sizeof(*result));
	memcpy(result, xs, (size_t)num * sizeof(*xs));
	memcpy(result + num, zs, (size_t)fixed * sizeof(*zs));
	if (find_between(g, n, y, num + fixed, result))
		return -1;
	node_input(g, ones, y);
	y->grad = graph_finish(g, ones);
	g->num_forward = num_nodes; /* of which the gradients are */
	if (!y->grad || go_back(g, num_nodes, num + fixed, result))
		return -1;
	g->num_forward = 0;
	for (int i = 0; i < num; i++) {
		result[i] = xs[i]->grad ? graph_cast(g, n->name, xs[i]->grad, xs[i]->dtype)
					: zeros_like(g, n, xs[i]);
		if (!result[i])
			return -1;
	}
	for (int i = 0; i < g->num_values; i++) {
		g->values[i]->needs_grad = false;
		g->values[i]->grad = NULL;
	}
	for (int i = 0; i < n->num_out; i++)
		graph_replace(n, i, result[i]);
	return 0;
}

const struct op ops_gradient[] = {
	{ .name = "Gradient",
	  .domain = "ai.onnx.preview.training",
	  .min_in = 1,
	  .max_in = -1,
	  .expand = gradient_expand,
	  .optional_first = true },
	{ 0 },
};
