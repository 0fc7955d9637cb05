// SPDX-License-Identifier: MIT
/*
 * What training adds to a graph: losses and optimizers' updates. Rows whose label
 * is no class (PyTorch's ignore_index) take no part in the loss.
 */
#include <math.h>
#include <string.h>
#include "graph.h"

#define OP(op, a, b, c) nest_op(nest, RDU_SIMD_##op, a, b, c)

static int scalar_infer(struct graph *g, struct node *n)
{
	int64_t one = 1;

	return node_shape(g, n, 0, RDU_DT_F32, 1, &one);
}

/* ---- softmax and cross entropy in one: log(sum(e^x)) - x[label] ---------------------- */

/*
 * Parts of a softmax over the last axis: in x [..., C]; out the maximum and the
 * logarithm of sum(e^(x - max)), both [...]. Kept apart: added, a large maximum
 * would swallow the digits of the other.
 */
static int lse_infer(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];

	if (x->ndim < 2 || dtype_is_int(x->dtype))
		return node_error(g, n, "logits have shape %s", value_shape_text(g, x));
	return node_shape(g, n, 0, RDU_DT_F32, x->ndim - 1, x->dim) ||
			       node_shape(g, n, 1, RDU_DT_F32, x->ndim - 1, x->dim)
		       ? -1
		       : 0;
}

static int rows(struct nest *nest, const struct value *x, bool reduce_rows, bool reduce_classes)
{
	int last = x->ndim - 1;

	for (int i = 0; i < last; i++)
		nest_dim(nest, i ? axis_name(x->ndim, i) : "n", x->dim[i], reduce_rows);
	return nest_dim(nest, "c", x->dim[last], reduce_classes);
}

static int lse_pattern(struct lower *l, struct node *n)
{
	struct value *x = n->in[0];
	struct nest *nest = lower_nest(l, n, "max");
	struct tensor *m = lower_value(l, n->out[0]);

	rows(nest, x, false, true);
	nest_input(nest, lower_value(l, x));
	access_identity(&nest->in[0]);
	nest->reduce = REDUCE_MAX;
	nest->body = nest_in(nest, 0);
	nest_output(nest, m, nest_red(nest));
	access_identity(&nest->out[0].access);
	if (lower_done(l, n, nest))
		return -1;
	nest = lower_nest(l, n, NULL);
	rows(nest, x, false, true);
	nest_input(nest, lower_value(l, x));
	access_identity(&nest->in[0]);
	nest_input(nest, m);
	access_identity(&nest->in[1]);
	nest->reduce = REDUCE_ADD;
	nest->body = OP(EXP, OP(FSUB, nest_in(nest, 0), nest_in(nest, 1), -1), -1, -1);
	nest_output(nest, lower_value(l, n->out[1]), OP(LOG, nest_red(nest), -1, -1));
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

/* 1 where a label is a class, else 0. */
static int is_class(struct nest *nest, int label, int64_t classes)
{
	int zero = nest_imm_f(nest, 0);
	int below = OP(SELECT, OP(ILT, label, nest_imm_i(nest, (int32_t)classes), -1),
		       nest_imm_f(nest, 1), zero);

	return OP(SELECT, OP(ILT, label, nest_imm_i(nest, 0), -1), zero, below);
}

/* in x, labels; out 1 / (rows that have a class) [1] */
static int row_share_pattern(struct lower *l, struct node *n)
{
	struct value *x = n->in[0], *labels = n->in[1];
	struct nest *nest = lower_nest(l, n, NULL);

	for (int i = 0; i < labels->ndim; i++)
		nest_dim(nest, axis_name(labels->ndim, i), labels->dim[i], true);
	nest_dim(nest, "one", 1, false);
	nest_input(nest, lower_value(l, labels));
	access_identity(&nest->in[0]);
	nest->reduce = REDUCE_ADD;
	nest->body = is_class(nest, nest_in(nest, 0), x->dim[x->ndim - 1]);
	nest_output(nest, lower_value(l, n->out[0]), OP(RECIP, nest_red(nest), -1, -1));
	return lower_done(l, n, nest);
}

/* in x, max, log, labels, share of a row; out loss [1]. No gather: every class compares itself. */
static int xent_pattern(struct lower *l, struct node *n)
{
	struct value *x = n->in[0];
	struct nest *nest = lower_nest(l, n, NULL);
	int c, one, e;

	c = rows(nest, x, true, true);
	one = nest_dim(nest, "one", 1, false);
	if (one < 0)
		return node_error(l->graph, n, "too many dimensions");
	for (int k = 0; k < 4; k++) {
		nest_input(nest, lower_value(l, n->in[k]));
		access_identity(&nest->in[k]);
	}
	nest_input(nest, lower_value(l, n->in[4]));
	nest->reduce = REDUCE_ADD;
	e = OP(FSUB, nest_in(nest, 2), OP(FSUB, nest_in(nest, 0), nest_in(nest, 1), -1), -1);
	nest->body = OP(SELECT, OP(IEQ, nest_index(nest, c), nest_in(nest, 3), -1), e,
			nest_imm_f(nest, 0));
	nest_output(nest, lower_value(l, n->out[0]),
		    OP(FMUL, nest_red(nest), nest_in(nest, 4), -1));
	return lower_done(l, n, nest);
}

static int like_infer(struct graph *g, struct node *n)
{
	return node_shape(g, n, 0, RDU_DT_F32, n->in[0]->ndim, n->in[0]->dim);
}

/* in x, max, log, labels, share; out (softmax(x) - onehot(label)) share, 0 without a class */
static int xent_grad_pattern(struct lower *l, struct node *n)
{
	struct value *x = n->in[0];
	struct nest *nest = lower_nest(l, n, NULL);
	int c, p;

	c = rows(nest, x, false, false);
	for (int k = 0; k < 4; k++) {
		nest_input(nest, lower_value(l, n->in[k]));
		access_identity(&nest->in[k]);
	}
	nest_input(nest, lower_value(l, n->in[4]));
	p = OP(FSUB, OP(FSUB, nest_in(nest, 0), nest_in(nest, 1), -1), nest_in(nest, 2), -1);
	p = OP(FSUB, OP(EXP, p, -1, -1),
	       OP(SELECT, OP(IEQ, nest_index(nest, c), nest_in(nest, 3), -1), nest_imm_f(nest, 1),
		  nest_imm_f(nest, 0)),
	       -1);
	p = OP(FMUL, p,
	       OP(FMUL, is_class(nest, nest_in(nest, 3), x->dim[x->ndim - 1]), nest_in(nest, 4),
		  -1),
	       -1);
	nest_output(nest, lower_value(l, n->out[0]), p);
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

/* ---- losses of a target, element by element: in x, target ------------------------------- */

struct element_loss {
	int (*loss)(struct nest *nest, int x, int target); /* of an element; the loss is the mean */
	int (*slope)(struct nest *nest, int x, int target); /* its derivative by x */
};

static int squared(struct nest *nest, int x, int t)
{
	int e = OP(FSUB, x, t, -1);

	return OP(FMUL, e, e, -1);
}

static int squared_slope(struct nest *nest, int x, int t)
{
	return OP(FMUL, OP(FSUB, x, t, -1), nest_imm_f(nest, 2), -1);
}

/* log p, at least -100, as PyTorch has it. */
static int bounded_log(struct nest *nest, int p)
{
	return OP(FMAX, OP(LOG, p, -1, -1), nest_imm_f(nest, -100), -1);
}

/* -(t log x + (1 - t) log(1 - x)) */
static int binary(struct nest *nest, int x, int t)
{
	int one = nest_imm_f(nest, 1);
	int no = OP(FMUL, OP(FSUB, one, t, -1), bounded_log(nest, OP(FSUB, one, x, -1)), -1);

	return OP(FNEG, OP(FMA, t, bounded_log(nest, x), no), -1, -1);
}

static int binary_slope(struct nest *nest, int x, int t)
{
	int d = OP(FMUL, OP(FSUB, nest_imm_f(nest, 1), x, -1), x, -1);

	return expr_divide(nest, OP(FSUB, x, t, -1), OP(FMAX, d, nest_imm_f(nest, 1e-12f), -1));
}

/* The same of x = sigmoid(y): log(1 + e^y) - t y */
static int binary_logits(struct nest *nest, int y, int t)
{
	return OP(FSUB, expr_softplus(nest, y), OP(FMUL, t, y, -1), -1);
}

static int binary_logits_slope(struct nest *nest, int y, int t)
{
	int e = OP(EXP, OP(FNEG, y, -1, -1), -1, -1);

	return OP(FSUB, OP(RECIP, OP(FADD, nest_imm_f(nest, 1), e, -1), -1, -1), t, -1);
}

static const struct element_loss mse = { squared, squared_slope };
static const struct element_loss bce = { binary, binary_slope };
static const struct element_loss bce_logits = { binary_logits, binary_logits_slope };

static struct nest *element_nest(struct lower *l, struct node *n, bool reduce)
{
	struct value *x = n->in[0];
	struct nest *nest = lower_nest(l, n, NULL);

	for (int i = 0; i < x->ndim; i++)
		nest_dim(nest, axis_name(x->ndim, i), x->dim[i], reduce);
	if (!x->ndim)
		nest_dim(nest, "i", 1, reduce);
	for (int k = 0; k < 2; k++) {
		nest_input(nest, lower_value(l, n->in[k]));
		access_identity(&nest->in[k]);
	}
	return nest;
}

static int element_pattern(struct lower *l, struct node *n, const struct element_loss *e)
{
	struct nest *nest = element_nest(l, n, true);
	float share = (float)(1.0 / value_count(n->in[0]));

	if (nest_dim(nest, "one", 1, false) < 0)
		return node_error(l->graph, n, "too many dimensions");
	nest->reduce = REDUCE_ADD;
	nest->body = e->loss(nest, nest_in(nest, 0), nest_in(nest, 1));
	nest_output(nest, lower_value(l, n->out[0]),
		    OP(FMUL, nest_red(nest), nest_imm_f(nest, share), -1));
	return lower_done(l, n, nest);
}

static int element_grad_pattern(struct lower *l, struct node *n, const struct element_loss *e)
{
	struct nest *nest = element_nest(l, n, false);
	float share = (float)(1.0 / value_count(n->in[0]));

	nest_output(nest, lower_value(l, n->out[0]),
		    OP(FMUL, e->slope(nest, nest_in(nest, 0), nest_in(nest, 1)),
		       nest_imm_f(nest, share), -1));
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

#define ELEMENT_LOSS(name)                                              \
	static int name##_pattern(struct lower *l, struct node *n)      \
	{                                                               \
		return element_pattern(l, n, &name);                    \
	}                                                               \
	static int name##_grad_pattern(struct lower *l, struct node *n) \
	{                                                               \
		return element_grad_pattern(l, n, &name);               \
	}

ELEMENT_LOSS(mse)
ELEMENT_LOSS(bce)
ELEMENT_LOSS(bce_logits)

/* ---- a loss that is part of the model: in any one number; out [1] ------------------------ */

static int loss_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = lower_nest(l, n, NULL);

	nest_dim(nest, "one", 1, false);
	nest_input(nest, lower_value(l, n->in[0]));
	nest_output(nest, lower_value(l, n->out[0]), nest_in(nest, 0));
	return lower_done(l, n, nest);
}

/* ---- gradients of several batches, and their norm --------------------------------------- */

/* in gradient, sum; a nest over both. */
static struct nest *gradient_nest(struct lower *l, struct node *n)
{
	struct value *x = n->in[0];
	struct nest *nest = lower_nest(l, n, NULL);

	for (int i = 0; i < x->ndim; i++)
		nest_dim(nest, axis_name(x->ndim, i), x->dim[i], false);
	if (!x->ndim)
		nest_dim(nest, "i", 1, false);
	for (int k = 0; k < n->num_in; k++) {
		nest_input(nest, lower_value(l, n->in[k]));
		if (value_same_shape(n->in[k], x))
			access_identity(&nest->in[k]);
	}
	return nest;
}

static int gradient_out(struct lower *l, struct node *n, struct nest *nest, const int *e)
{
	for (int k = 0; k < n->num_out; k++) {
		nest_output(nest, lower_value(l, n->out[k]), e[k]);
		access_identity(&nest->out[k].access);
	}
	return lower_done(l, n, nest);
}

/* out sum + gradient */
static int gradient_sum_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = gradient_nest(l, n);
	int e = OP(FADD, nest_in(nest, 1), nest_in(nest, 0), -1);

	return gradient_out(l, n, nest, &e);
}

/* out (sum + gradient) share, 0 */
static int gradient_mean_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = gradient_nest(l, n);
	int e[2] = { OP(FADD, nest_in(nest, 1), nest_in(nest, 0), -1), nest_imm_f(nest, 0) };

	e[0] = OP(FMUL, e[0], nest_imm_f(nest, attr_f(n, "share", 1)), -1);
	return gradient_out(l, n, nest, e);
}

static int both_like_infer(struct graph *g, struct node *n)
{
	for (int k = 0; k < n->num_out; k++)
		if (node_shape(g, n, k, RDU_DT_F32, n->in[0]->ndim, n->in[0]->dim))
			return -1;
	return 0;
}

/* in gradient, [1]; out their product */
static int scaled_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = gradient_nest(l, n);
	int e = OP(FMUL, nest_in(nest, 0), nest_in(nest, 1), -1);

	return gradient_out(l, n, nest, &e);
}

/* in x, perhaps a sum so far [1]; out sum of x^2, and of that */
static int square_sum_pattern(struct lower *l, struct node *n)
{
	struct value *x = n->in[0];
	struct nest *nest = lower_nest(l, n, NULL);
	int e;

	for (int i = 0; i < x->ndim; i++)
		nest_dim(nest, axis_name(x->ndim, i), x->dim[i], true);
	if (!x->ndim)
		nest_dim(nest, "i", 1, true);
	if (nest_dim(nest, "one", 1, false) < 0)
		return node_error(l->graph, n, "too many dimensions");
	nest_input(nest, lower_value(l, x));
	access_identity(&nest->in[0]);
	nest->reduce = REDUCE_ADD;
	nest->body = OP(FMUL, nest_in(nest, 0), nest_in(nest, 0), -1);
	e = nest_red(nest);
	if (n->num_in > 1) {
		nest_input(nest, lower_value(l, n->in[1]));
		e = OP(FADD, e, nest_in(nest, 1), -1);
	}
	nest_output(nest, lower_value(l, n->out[0]), e);
	return lower_done(l, n, nest);
}

/* in square of the norm [1]; out what gradients are multiplied by: as PyTorch's clip_grad_norm_ */
static int clip_scale_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = lower_nest(l, n, NULL);
	int norm, scale;

	nest_dim(nest, "one", 1, false);
	nest_input(nest, lower_value(l, n->in[0]));
	norm = OP(SQRT, nest_in(nest, 0), -1, -1);
	scale = expr_divide(nest, nest_imm_f(nest, attr_f(n, "norm", 1)),
			    OP(FADD, norm, nest_imm_f(nest, 1e-6f), -1));
	nest_output(nest, lower_value(l, n->out[0]), OP(FMIN, scale, nest_imm_f(nest, 1), -1));
	return lower_done(l, n, nest);
}

/* ---- optimizers --------------------------------------------------------------------------- */

/*
 * One nest over the weight: in0 gradient, in1 weight, in2 learning rate, then
 * states and scalars. Each output goes over the tensor it is a new value of.
 */
static struct nest *update_nest(struct lower *l, struct node *n)
{
	struct nest *nest = lower_nest(l, n, NULL);
	struct value *w = n->in[1];

	for (int i = 0; i < w->ndim; i++)
		nest_dim(nest, axis_name(w->ndim, i), w->dim[i], false);
	if (!w->ndim)
		nest_dim(nest, "i", 1, false);
	for (int k = 0; k < n->num_in; k++) {
		nest_input(nest, lower_value(l, n->in[k]));
		if (value_same_shape(n->in[k], w))
			access_identity(&nest->in[k]);
	}
	return nest;
}

static int update_out(struct lower *l, struct node *n, struct nest *nest, const int *e)
{
	for (int k = 0; k < n->num_out; k++) {
		nest_output(nest, lower_value(l, n->out[k]), e[k]);
		access_identity(&nest->out[k].access);
	}
	return lower_done(l, n, nest);
}

static int update_infer(struct graph *g, struct node *n)
{
	for (int k = 0; k < n->num_out; k++)
		if (node_shape(g, n, k, n->out[k]->update_of->dtype, n->in[1]->ndim, n->in[1]->dim))
			return -1;
	return 0;
}

/* g + decay w: weight decay as part of the gradient */
static int decayed(struct nest *nest, const struct node *n)
{
	float decay = attr_f(n, "weight_decay", 0);
	int g = nest_in(nest, 0);

	if (decay == 0)
		return g;
	return OP(FMA, nest_imm_f(nest, decay), nest_in(nest, 1), g);
}

static int sgd_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = update_nest(l, n);
	int e[1];

	e[0] = OP(FSUB, nest_in(nest, 1), OP(FMUL, nest_in(nest, 2), decayed(nest, n), -1), -1);
	return update_out(l, n, nest, e);
}

/* in3: velocity. v' = momentum v + g, w' = w - lr v' */
static int momentum_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = update_nest(l, n);
	int e[2];

	e[1] = OP(FMA, nest_imm_f(nest, attr_f(n, "momentum", 0.9f)), nest_in(nest, 3),
		  decayed(nest, n));
	e[0] = OP(FSUB, nest_in(nest, 1), OP(FMUL, nest_in(nest, 2), e[1], -1), -1);
	return update_out(l, n, nest, e);
}

/*
 * in3: m, in4: v, in5: 1 / (1 - beta1^t), in6: 1 / (1 - beta2^t).
 *     m' = beta1 m + (1 - beta1) g,  v' = beta2 v + (1 - beta2) g^2
 *     w' = w - lr (m' c1 / (sqrt(v' c2) + epsilon) + decay w)
 * AdamW decays the weight, Adam the gradient.
 */
static int adam_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = update_nest(l, n);
	float b1 = attr_f(n, "beta1", 0.9f), b2 = attr_f(n, "beta2", 0.999f);
	float decay = attr_f(n, "weight_decay", 0);
	bool decoupled = attr_i(n, "decoupled", 0);
	int e[3], g = decoupled ? nest_in(nest, 0) : decayed(nest, n), w = nest_in(nest, 1), step;

	e[1] = OP(FADD, OP(FMUL, nest_imm_f(nest, b1), nest_in(nest, 3), -1),
		  OP(FMUL, nest_imm_f(nest, 1 - b1), g, -1), -1);
	e[2] = OP(FADD, OP(FMUL, nest_imm_f(nest, b2), nest_in(nest, 4), -1),
		  OP(FMUL, nest_imm_f(nest, 1 - b2), OP(FMUL, g, g, -1), -1), -1);
	step = OP(FADD, OP(SQRT, OP(FMUL, e[2], nest_in(nest, 6), -1), -1, -1),
		  nest_imm_f(nest, attr_f(n, "epsilon", 1e-8f)), -1);
	step = OP(FMUL, OP(FMUL, e[1], nest_in(nest, 5), -1), OP(RECIP, step, -1, -1), -1);
	if (decoupled && decay != 0)
		step = OP(FMA, nest_imm_f(nest, decay), w, step);
	e[0] = OP(FSUB, w, OP(FMUL, nest_in(nest, 2), step, -1), -1);
	return update_out(l, n, nest, e);
}

/* in t [1]; out t + 1, 1 / (1 - beta1^(t+1)), 1 / (1 - beta2^(t+1)). The step is
 * counted on the card: training goes on where it stopped. */
static int adam_step_infer(struct graph *g, struct node *n)
{
	int64_t one = 1;

	for (int k = 0; k < 3; k++)
		if (node_shape(g, n, k, RDU_DT_F32, 1, &one))
			return -1;
	return 0;
}

static int adam_step_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = lower_nest(l, n, NULL);
	const char *const beta[] = { "beta1", "beta2" };
	int e[3];

	nest_dim(nest, "one", 1, false);
	nest_input(nest, lower_value(l, n->in[0]));
	e[0] = OP(FADD, nest_in(nest, 0), nest_imm_f(nest, 1), -1);
	for (int k = 0; k < 2; k++) {
		float log_beta = (float)log((double)attr_f(n, beta[k], 0.9f));
		int power = OP(EXP, OP(FMUL, e[0], nest_imm_f(nest, log_beta), -1), -1, -1);

		e[k + 1] = OP(RECIP, OP(FSUB, nest_imm_f(nest, 1), power, -1), -1, -1);
	}
	for (int k = 0; k < 3; k++)
		nest_output(nest, lower_value(l, n->out[k]), e[k]);
	return lower_done(l, n, nest);
}

/* A scalar of one as large as a tensor: where differentiation starts in tests. */
static int ones_pattern(struct lower *l, struct node *n)
{
	struct tensor *t = lower_value(l, n->out[0]);

	return lower_fill(l, n, t, 0, 0, t->ndim ? t->dim[0] : 1, 0x3f800000);
}

#define INTERNAL(onnx, ins, outs, inf, pat)                                                    \
	{                                                                                      \
		.name = onnx, .min_in = ins, .max_in = ins, .max_out = outs, .internal = true, \
		.infer = inf, .pattern = pat                                                   \
	}

const struct op ops_train[] = {
	INTERNAL("LogSumExpRows", 1, 2, lse_infer, lse_pattern),
	INTERNAL("RowShare", 2, 1, scalar_infer, row_share_pattern),
	INTERNAL("CrossEntropy", 5, 1, scalar_infer, xent_pattern),
	INTERNAL("CrossEntropyGrad", 5, 1, like_infer, xent_grad_pattern),
	INTERNAL("MeanSquaredError", 2, 1, scalar_infer, mse_pattern),
	INTERNAL("MeanSquaredErrorGrad", 2, 1, like_infer, mse_grad_pattern),
	INTERNAL("BinaryCrossEntropy", 2, 1, scalar_infer, bce_pattern),
	INTERNAL("BinaryCrossEntropyGrad", 2, 1, like_infer, bce_grad_pattern),
	INTERNAL("BinaryCrossEntropyLogits", 2, 1, scalar_infer, bce_logits_pattern),
	INTERNAL("BinaryCrossEntropyLogitsGrad", 2, 1, like_infer, bce_logits_grad_pattern),
	INTERNAL("Loss", 1, 1, like_infer, loss_pattern),
	INTERNAL("GradientSum", 2, 1, both_like_infer, gradient_sum_pattern),
	INTERNAL("GradientMean", 2, 2, both_like_infer, gradient_mean_pattern),
	INTERNAL("ScaledGradient", 2, 1, like_infer, scaled_pattern),
	{ .name = "SquareSum",
	  .min_in = 1,
	  .max_in = 2,
	  .max_out = 1,
	  .internal = true,
	  .infer = scalar_infer,
	  .pattern = square_sum_pattern },
	INTERNAL("ClipScale", 1, 1, scalar_infer, clip_scale_pattern),
	INTERNAL("Sgd", 3, 1, update_infer, sgd_pattern),
	INTERNAL("Momentum", 4, 2, update_infer, momentum_pattern),
	INTERNAL("Adam", 7, 3, update_infer, adam_pattern),
	INTERNAL("AdamStep", 1, 3, adam_step_infer, adam_step_pattern),
	INTERNAL("Ones", 1, 1, like_infer, ones_pattern),
	{ 0 },
};
