// SPDX-License-Identifier: MIT
/*
 * Linear recurrences: h[t] = f[t] h[t - 1] + i[t], element by element. One nest carries h along t in the accumulator
 * of a stage, so it is no loop of the card's: all steps are one section, of as many firings. (Sums of products, h is
 * rounded once a step, to fp32; it becomes bf16 where it is stored.)
 */
#include <string.h>
#include "graph.h"

/* LinearRecurrence: f and i [T, ...], and the first h [...], 0 if it is not given. */
static int linear_infer(struct graph *g, struct node *n)
{
	return node_shape(g, n, 0, n->in[1]->dtype, n->in[1]->ndim, n->in[1]->dim);
}

static int linear_pattern(struct lower *l, struct node *n)
{
	struct value *v = n->in[1];
	struct nest *nest = lower_nest(l, n, "");
	int f, i;

	for (int d = 0; d < v->ndim; d++)
		nest_dim(nest, d ? axis_name(v->ndim, d) : "t", v->dim[d], false);
	for (int k = 0; k < n->num_in; k++) {
		nest_input(nest, lower_value(l, n->in[k]));
		for (int d = k == 2; d < v->ndim; d++)
			nest->in[k].coef[d - (k == 2)][d] = 1;
	}
	f = nest_in(nest, 0);
	i = nest_in(nest, 1);
	if (n->num_in > 2) { /* of zeros, nothing is added */
		int t = nest_index(nest, 0);

		i = nest_op(nest, RDU_SIMD_SELECT, t, i,
			    nest_op(nest, RDU_SIMD_FMA, f, nest_in(nest, 2), i));
		/* what is carried in is 0, and 0 times an infinite f no 0 */
		f = nest_op(nest, RDU_SIMD_SELECT, t, f, nest_imm_f(nest, 0));
	}
	nest_output(nest, lower_value(l, n->out[0]), nest_carry(nest, f, i, 0));
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

static struct value *recurrence(struct graph *g, const char *name, struct value *f, struct value *i,
				struct value *first)
{
	struct node *n = node_new(g, "LinearRecurrence", name);

	if (!f || !i)
		return NULL;
	node_input(g, n, f);
	node_input(g, n, i);
	if (first)
		node_input(g, n, first);
	return graph_finish(g, n);
}

static struct value *backwards(struct graph *g, const char *name, struct value *v, int64_t count)
{
	return graph_slice(g, name, v, 0, v->dim[0] - 1, count, true);
}

/* v with a row in front: `first`, or zeros. */
static struct value *row_before(struct graph *g, const char *name, struct value *v,
				struct value *first)
{
	int64_t pads[2 * RDU_MAX_DIMS] = { 1 }, dim[RDU_MAX_DIMS] = { 1 }, num;
	struct node *n = node_new(g, first ? "Concat" : "Pad", name);

	if (!v)
		return NULL;
	num = 2 * v->ndim;
	if (first) {
		memcpy(dim + 1, v->dim + 1, sizeof(*dim) * (size_t)(v->ndim - 1));
		first = graph_reshape(g, name, first, v->ndim, dim);
		if (!first)
			return NULL;
		node_input(g, n, first);
		node_attr_i(g, n, "axis", 0);
	}
	node_input(g, n, v);
	if (!first)
		node_input(g, n, graph_const(g, RDU_DT_I64, 1, &num, pads));
	return graph_finish(g, n);
}

/*
 * With g[t] the gradient of h[t], all that comes to it is a[t] = g[t] + f[t + 1] a[t + 1]: the same from the end. It is
 * i's gradient; f's is a[t] h[t - 1], and that of the first h a[0] f[0].
 */
static int linear_gradient(struct graph *g, struct node *n)
{
	struct value *f = n->in[0], *y = n->out[0], *first = node_in(n, 2), *a, *d;
	const char *name = graph_format(g, "%.200s.back", n->name);
	int64_t steps = y->dim[0];

	f = row_before(g, name, backwards(g, name, f, steps - 1), NULL);
	a = recurrence(g, name, f, backwards(g, name, y->grad, steps), NULL);
	a = a ? backwards(g, name, a, steps) : NULL;
	if (!a || graph_add_grad(g, n->in[1], a))
		return -1;
	if (n->in[0]->needs_grad) {
		y = graph_slice(g, name, y, 0, 0, steps - 1, false);
		y = row_before(g, name, y, first);
		d = y ? graph_op2(g, "Mul", name, a, y) : NULL;
		if (!d || graph_add_grad(g, n->in[0], d))
			return -1;
	}
	if (!first || !first->needs_grad)
		return 0;
	a = graph_pick(g, name, a, 0, 0);
	f = graph_pick(g, name, n->in[0], 0, 0);
	d = a && f ? graph_op2(g, "Mul", name, a, f) : NULL;
	return d ? graph_add_grad(g, first, d) : -1;
}

/* ---- which loops are such ------------------------------------------------------------------- */

static const struct node *made_by(struct value *v, const char *op)
{
	const struct node *n = value_resolve(v)->producer;

	return n && !strcmp(n->op->name, op) ? n : NULL;
}

/* Which of the rows that a loop reads a value is, of the shape of what it carries; -1: none. */
static int row_number(const struct loop *l, struct value *v)
{
	v = value_resolve(v);
	for (int k = 0; k < l->num_rows; k++)
		if (value_resolve(l->row[k]) == v && v->dtype == l->carried[0]->dtype &&
		    value_same_shape(v, l->carried[0]))
			return k;
	return -1;
}

/* Is the next state factor * state + addend, of these rows? */
static bool is_linear(const struct loop *l, int *factor, int *addend)
{
	const struct node *add, *mul;

	if (l->num_carried != 1 || l->num_summed || l->trip < 2 ||
	    dtype_is_int(l->carried[0]->dtype) || l->carried[0]->ndim >= RDU_MAX_DIMS)
		return false;
	for (int k = 0; k < l->num_stacked; k++)
		if (value_resolve(l->stacked[k]) != value_resolve(l->next[0]))
			return false;
	add = made_by(l->next[0], "Add");
	for (int k = 0; add && k < 2; k++) {
		mul = made_by(add->in[k], "Mul");
		*addend = row_number(l, add->in[!k]);
		for (int i = 0; mul && *addend >= 0 && i < 2; i++) {
			*factor = row_number(l, mul->in[!i]);
			if (*factor >= 0 &&
			    value_resolve(mul->in[i]) == value_resolve(l->carried[0]))
				return true;
		}
	}
	return false;
}

static bool all_zeros(const struct value *v)
{
	if (!v->constant || !v->data)
		return false;
	for (int64_t i = 0; i < value_count(v); i++)
		if (value_real(v, i) != 0)
			return false;
	return true;
}

int graph_linear(struct graph *g, struct node *n)
{
	struct loop *l = n->loop;
	int factor, addend;

	if (!is_linear(l, &factor, &addend) || !value_count(n->in[0]))
		return 0;
	l->linear = recurrence(g, n->name, n->in[1 + factor], n->in[1 + addend],
			       all_zeros(n->in[0]) ? NULL : n->in[0]);
	if (!l->linear)
		return -1;
	for (int k = 0; k < l->num_stacked; k++)
		graph_replace(n, 1 + k, l->linear);
	return 0;
}

const struct op ops_linear[] = {
	{ .name = "LinearRecurrence",
	  .min_in = 2,
	  .max_in = 3,
	  .max_out = 1,
	  .infer = linear_infer,
	  .gradient = linear_gradient,
	  .pattern = linear_pattern,
	  .internal = true },
	{ 0 },
};
