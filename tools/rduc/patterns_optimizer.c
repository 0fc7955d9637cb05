// SPDX-License-Identifier: MIT
/*
 * Optimizers as operators (ONNX's domain ai.onnx.preview.training): Adagrad, Adam, Momentum. Inputs
 * are the rate, how many steps there were, then all tensors, all their gradients, all of each state;
 * outputs are all new tensors, then all new states.
 */
#include <math.h>
#include <string.h>
#include "graph.h"

#define OP1(op, a) graph_op1(g, op, n->name, a)
#define OP2(op, a, b) graph_op2(g, op, n->name, a, b)

/* One tensor and what belongs to it. */
struct step {
	struct value *rate, *steps; /* steps: float */
	struct value *x, *gradient;
	struct value *state[2], *new_state[2];
};

static struct value *number(struct graph *g, struct node *n, double v, const struct value *like)
{
	return graph_cast(g, n->name, graph_const(g, RDU_DT_F64, 0, NULL, &v), like->dtype);
}

static struct value *times(struct graph *g, struct node *n, double a, struct value *v)
{
	return v ? OP2("Mul", v, number(g, n, a, v)) : NULL;
}

/* a x + b y */
static struct value *blend(struct graph *g, struct node *n, double a, struct value *x, double b,
			   struct value *y)
{
	return OP2("Add", times(g, n, a, x), times(g, n, b, y));
}

/* 1 - base^steps = -tanh(y / 2) (1 + e^y), y = steps log(base): exact where base is near 1. */
static struct value *one_less_power(struct graph *g, struct node *n, double base,
				    const struct step *s)
{
	struct value *half, *e;

	if (base == 0)
		return number(g, n, 1, s->rate);
	half = times(g, n, log(base) / 2, s->steps);
	e = half ? OP1("Exp", times(g, n, 2, half)) : NULL;
	e = e ? OP2("Add", e, number(g, n, 1, e)) : NULL;
	return e ? OP2("Mul", times(g, n, -1, OP1("Tanh", half)), e) : NULL;
}

static struct value *if_stepped(struct graph *g, struct node *n, const struct step *s,
				struct value *yes, struct value *no)
{
	struct value *any = OP2("Greater", s->steps, number(g, n, 0, s->steps));

	return any && yes && no ? graph_op3(g, "Where", n->name, any, yes, no) : NULL;
}

/* The gradient of the decay too. */
static struct value *regularized(struct graph *g, struct node *n, const struct step *s)
{
	return blend(g, n, attr_f(n, "norm_coefficient", 0), s->x, 1, s->gradient);
}

static struct value *moved(struct graph *g, struct node *n, const struct step *s,
			   struct value *rate, struct value *by)
{
	return rate && by ? OP2("Sub", s->x, OP2("Mul", rate, by)) : NULL;
}

static struct value *root(struct graph *g, struct node *n, struct value *v)
{
	v = v ? OP1("Sqrt", v) : NULL;
	return v ? OP2("Add", v, number(g, n, attr_f(n, "epsilon", 1e-6f), v)) : NULL;
}

static struct value *adagrad(struct graph *g, struct node *n, struct step *s)
{
	struct value *grad = regularized(g, n, s), *rate;

	rate = times(g, n, attr_f(n, "decay_factor", 0), s->steps);
	rate = rate ? OP2("Add", rate, number(g, n, 1, rate)) : NULL;
	rate = rate ? OP2("Div", s->rate, rate) : NULL;
	s->new_state[0] = grad ? OP2("Add", s->state[0], OP2("Mul", grad, grad)) : NULL;
	return moved(g, n, s, rate, grad ? OP2("Div", grad, root(g, n, s->new_state[0])) : NULL);
}

static struct value *adam(struct graph *g, struct node *n, struct step *s)
{
	double alpha = attr_f(n, "alpha", 0.9f), beta = attr_f(n, "beta", 0.999f);
	struct value *grad = regularized(g, n, s), *rate, *x, *square;

	square = grad ? OP2("Mul", grad, grad) : NULL;
	s->new_state[0] = blend(g, n, alpha, s->state[0], 1 - alpha, grad);
	s->new_state[1] = blend(g, n, beta, s->state[1], 1 - beta, square);
	rate = one_less_power(g, n, beta, s);
	rate = rate ? OP2("Mul", s->rate, OP1("Sqrt", rate)) : NULL;
	rate = rate ? OP2("Div", rate, one_less_power(g, n, alpha, s)) : NULL;
	rate = if_stepped(g, n, s, rate, s->rate);
	x = s->new_state[0] ? OP2("Div", s->new_state[0], root(g, n, s->new_state[1])) : NULL;
	x = moved(g, n, s, rate, x);
	return times(g, n, 1 - attr_f(n, "norm_coefficient_post", 0), x);
}

static struct value *momentum(struct graph *g, struct node *n, struct step *s)
{
	double alpha = attr_f(n, "alpha", 0);
	struct value *grad = regularized(g, n, s), *by;

	by = if_stepped(g, n, s, number(g, n, attr_f(n, "beta", 0), s->rate),
			number(g, n, 1, s->rate));
	by = by && grad ? OP2("Mul", by, grad) : NULL;
	by = by ? OP2("Add", times(g, n, alpha, s->state[0]), by) : NULL;
	s->new_state[0] = by;
	if (!strcmp(attr_s(n, "mode", ""), "nesterov"))
		by = blend(g, n, 1, grad, alpha, by);
	return moved(g, n, s, s->rate, by);
}

/* Everything of a kind, shape and type alike. */
static int check_step(struct graph *g, struct node *n, const struct step *s, int states)
{
	struct value *const all[] = { s->gradient, s->state[0], s->state[1] };

	if (s->x->dtype != s->rate->dtype || dtype_is_int(s->x->dtype))
		return node_error(g, n, "'%s' is %s, the rate %s", s->x->name,
				  dtype_name(s->x->dtype), dtype_name(s->rate->dtype));
	for (int k = 0; k < 1 + states; k++)
		if (all[k]->dtype != s->x->dtype || !value_same_shape(all[k], s->x))
			return node_error(g, n, "'%s' is %s%s, '%s' %s%s", s->x->name,
					  dtype_name(s->x->dtype), value_shape_text(g, s->x),
					  all[k]->name, dtype_name(all[k]->dtype),
					  value_shape_text(g, all[k]));
	return 0;
}

static int optimizer(struct graph *g, struct node *n, int states,
		     struct value *(*one)(struct graph *g, struct node *n, struct step *s))
{
	int num = (n->num_in - 2) / (2 + states);
	struct step s = { .rate = n->in[0] };

	for (int i = 0; i < n->num_in; i++)
		if (!n->in[i])
			return node_error(g, n, "input %d is missing", i);
	if (num < 1 || n->num_in != 2 + num * (2 + states) || n->num_out > num * (1 + states))
		return node_error(g, n,
				  "%d inputs and %d outputs: it takes 2, and %d for each tensor",
				  n->num_in, n->num_out, 2 + states);
	if (value_count(s.rate) != 1 || value_count(n->in[1]) != 1 || n->in[1]->dtype != RDU_DT_I64)
		return node_error(g, n, "its rate and its number of steps are %s%s and %s%s",
				  dtype_name(s.rate->dtype), value_shape_text(g, s.rate),
				  dtype_name(n->in[1]->dtype), value_shape_text(g, n->in[1]));
	s.rate = graph_reshape(g, n->name, s.rate, 0, NULL);
	s.steps = s.rate ? graph_cast(g, n->name, n->in[1], s.rate->dtype) : NULL;
	s.steps = graph_reshape(g, n->name, s.steps, 0, NULL);
	if (!s.steps)
		return -1;
	for (int i = 0; i < num; i++) {
		struct value *x;

		s.x = n->in[2 + i];
		s.gradient = n->in[2 + num + i];
		for (int k = 0; k < states; k++)
			s.state[k] = n->in[2 + (2 + k) * num + i];
		if (check_step(g, n, &s, states))
			return -1;
		x = one(g, n, &s);
		if (!x)
			return -1;
		graph_replace(n, i, x);
		for (int k = 0; k < states; k++) {
			if (!s.new_state[k])
				return -1;
			graph_replace(n, (1 + k) * num + i, s.new_state[k]);
		}
	}
	return 0;
}

static int adagrad_expand(struct graph *g, struct node *n)
{
	return optimizer(g, n, 1, adagrad);
}

static int adam_expand(struct graph *g, struct node *n)
{
	double alpha = attr_f(n, "alpha", 0.9f), beta = attr_f(n, "beta", 0.999f);

	if (!(alpha >= 0 && alpha < 1 && beta >= 0 && beta < 1))
		return node_error(g, n, "alpha %g and beta %g are not between 0 and 1", alpha,
				  beta);
	return optimizer(g, n, 2, adam);
}

static int momentum_expand(struct graph *g, struct node *n)
{
	return optimizer(g, n, 1, momentum);
}

#define OPTIMIZER(onnx, fn)                                                                    \
	{                                                                                      \
		.name = onnx, .domain = "ai.onnx.preview.training", .min_in = 5, .max_in = -1, \
		.expand = fn                                                                   \
	}

const struct op ops_optimizer[] = {
	OPTIMIZER("Adagrad", adagrad_expand),
	OPTIMIZER("Adam", adam_expand),
	OPTIMIZER("Momentum", momentum_expand),
	{ 0 },
};
