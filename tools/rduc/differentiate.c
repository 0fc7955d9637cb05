// SPDX-License-Identifier: MIT
/*
 * Pass 3: loss, backward graph and optimizer. Appended behind the forward graph,
 * in this order, with all updates of weights last: whoever reads a weight has
 * read it by then.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "graph.h"

/* Is it a weight, or made of weights and constants alone? */
static bool is_of_weights(const struct value *v)
{
	return v->kind == TENSOR_WEIGHT || v->of_weights;
}

/* A bf16 value's gradient is bf16. Of weights, and within loops, gradients are fp32. */
static enum rdu_dtype grad_type(const struct graph *g, const struct value *v)
{
	return v->dtype == RDU_DT_BF16 && !is_of_weights(v) && !g->in_body ? RDU_DT_BF16
									   : RDU_DT_F32;
}

/* A gradient in the type that v's has. A product that nobody has read yet is made in it. */
static struct value *typed(struct graph *g, const struct value *v, struct value *grad)
{
	enum rdu_dtype type = grad_type(g, v);
	const struct node *n = grad ? grad->producer : NULL;

	if (n && n == g->nodes[g->num_nodes - 1] && !strcmp(n->op->name, "Contract"))
		grad->dtype = type;
	return graph_cast(g, graph_format(g, "%.200s.grad", v->name), grad, type);
}

int graph_add_grad(struct graph *g, struct value *v, struct value *grad)
{
	v = value_resolve(v);
	if (!v->needs_grad)
		return 0;
	grad = typed(g, v, grad);
	if (!grad)
		return -1;
	if (v->grad)
		grad = graph_op2(g, "Add", graph_format(g, "%.200s.grad_sum", v->name), v->grad,
				 grad);
	v->grad = grad;
	return grad ? 0 : -1;
}

struct node *grad_node(struct graph *g, struct node *n, const char *op)
{
	struct node *m = node_new(g, op, graph_format(g, "%.200s.grad", n->name));

	m->of = n->op;
	m->of_node = n;
	return m;
}

int grad_finish(struct graph *g, struct node *m, struct value *v)
{
	struct value *d = graph_finish(g, m);

	return d ? graph_add_grad(g, v, d) : -1;
}

/* Nodes on the way to a weight whose operators have no gradient. */
struct without {
	int num, at;
	char text[2000];
};

/* Can a gradient reach what a node makes? */
static void find_needs_of(void *arg, struct node *n)
{
	struct without *w = arg;
	bool needs = false, of_weights = true;

	for (int k = 0; k < n->num_in; k++) {
		needs |= n->in[k] && n->in[k]->needs_grad;
		of_weights &= !n->in[k] || is_of_weights(n->in[k]);
	}
	for (int k = 0; k < n->num_out; k++)
		if (n->out[k])
			n->out[k]->of_weights = of_weights;
	if (!needs || n->op->stop_gradient)
		return;
	if (n->loop) {
		loop_needs(n, find_needs_of, w);
		return;
	}
	for (int k = 0; k < n->num_out; k++)
		if (n->out[k])
			n->out[k]->needs_grad = !dtype_is_int(n->out[k]->dtype);
	if (n->op->gradient || !n->live)
		return;
	if (w->at < (int)sizeof(w->text) - 160)
		w->at += snprintf(w->text + w->at, sizeof(w->text) - w->at, "\n  node '%.80s' (%s)",
				  n->name, n->op->name);
	w->num++;
}

/* Which values a gradient can reach; and all operators that have none, at once. */
static int find_needs(struct graph *g)
{
	struct without w = { 0 };

	for (int i = 0; i < g->num_forward; i++)
		find_needs_of(&w, g->nodes[i]);
	if (!w.num)
		return 0;
	return graph_error(g, "no gradient for %d node%s:%s", w.num, w.num > 1 ? "s" : "", w.text);
}

int node_gradient(struct graph *g, struct node *n)
{
	struct value *y, *x = graph_straight_through(n, &y);

	if (x && value_same_shape(x, n->out[0]))
		return graph_add_grad(g, x, n->out[0]->grad);
	return n->op->gradient(g, n);
}

static int check_name(struct graph *g, const char *name)
{
	if (graph_find(g, name))
		return graph_error(g, "training needs the name '%s', which the model uses already",
				   name);
	return 0;
}

static struct value *new_input(struct graph *g, const char *name, enum rdu_dtype dtype, int ndim,
			       const int64_t *dim)
{
	struct value *v;

	if (check_name(g, name))
		return NULL;
	v = graph_value(g, name);
	v->kind = TENSOR_INPUT;
	v->dtype = dtype;
	v->ndim = ndim;
	memcpy(v->dim, dim, ndim * sizeof(*dim));
	return v;
}

static int cross_entropy(struct graph *g, struct value *x, struct value *labels)
{
	struct node *parts = node_new(g, "LogSumExpRows", "loss.parts");
	const char *const ops[] = { "CrossEntropy", "CrossEntropyGrad" };
	const char *const names[] = { "loss", "loss.grad" };
	struct value *share = graph_op2(g, "RowShare", "loss.rows", x, labels), *out[2];

	if (!share)
		return -1;
	node_input(g, parts, x);
	parts->num_out = 2;
	parts->out = graph_alloc(g, 2 * sizeof(*parts->out));
	for (int k = 0; k < 2; k++) {
		parts->out[k] = graph_value(g, k ? "loss.log" : "loss.max");
		parts->out[k]->producer = parts;
	}
	if (graph_process(g, parts))
		return -1;
	for (int k = 0; k < 2; k++) {
		struct node *n = node_new(g, ops[k], names[k]);

		node_input(g, n, x);
		node_input(g, n, parts->out[0]);
		node_input(g, n, parts->out[1]);
		node_input(g, n, labels);
		node_input(g, n, share);
		out[k] = graph_finish(g, n);
		if (!out[k])
			return -1;
	}
	g->loss = out[0];
	return graph_add_grad(g, x, out[1]);
}

/* A loss of the first result and of what it should be, and its gradient: internal operators. */
static int loss_of_target(struct graph *g, struct value *x, const char *op)
{
	struct value *target = new_input(g, "target", RDU_DT_F32, x->ndim, x->dim), *grad;

	if (!target)
		return -1;
	g->loss = graph_op2(g, op, "loss", x, target);
	grad = g->loss ? graph_op2(g, graph_format(g, "%sGrad", op), "loss.grad", x, target) : NULL;
	return grad ? graph_add_grad(g, x, grad) : -1;
}

static int loss_of_labels(struct graph *g, struct value *x)
{
	struct value *labels;

	if (x->ndim < 2)
		return graph_error(g,
				   "softmax_cross_entropy needs logits [N, ..., C], '%s' has "
				   "shape %s",
				   x->name, value_shape_text(g, x));
	labels = new_input(g, "labels", RDU_DT_I64, x->ndim - 1, x->dim);
	g->num_classes = x->dim[x->ndim - 1];
	return labels ? cross_entropy(g, x, labels) : -1;
}

/* The loss is a result of the model: the one called loss, or the only one. */
static int loss_of_model(struct graph *g)
{
	struct graph_output *o = NULL;
	struct node *n;

	for (int i = 0; i < g->num_outputs; i++)
		if (!strcmp(g->outputs[i].name, "loss") || g->num_outputs == 1)
			o = &g->outputs[i];
	if (!o)
		return graph_error(g, "the model has %d outputs, and none is called 'loss'",
				   g->num_outputs);
	if (value_is_bounded(o->value))
		return graph_error(g, "output '%s' is no loss: how large it is depends on data",
				   o->name);
	if (value_count(o->value) != 1 || o->value->dtype != RDU_DT_F32)
		return graph_error(g, "output '%s' is no loss: it is %s%s, not one float", o->name,
				   dtype_name(o->value->dtype), value_shape_text(g, o->value));
	if (!o->value->needs_grad)
		return graph_error(g, "no weight has influence on '%s'", o->name);
	if (strcmp(o->name, "loss") && check_name(g, "loss"))
		return -1;
	n = node_new(g, "Ones", "loss.grad");
	node_input(g, n, o->value);
	o->value->grad = graph_finish(g, n);
	n = node_new(g, "Loss", "loss");
	node_input(g, n, o->value);
	if (!strcmp(o->name, "loss")) /* the name is that of the loss of all entry points */
		o->value->name = graph_strdup(g, "loss.value");
	g->loss = graph_finish(g, n);
	if (g->loss && !strcmp(o->name, "loss"))
		o->value = g->loss;
	return g->loss ? 0 : -1;
}

const char *const train_losses[] = { "softmax_cross_entropy",
				     "mse",
				     "binary_cross_entropy",
				     "binary_cross_entropy_with_logits",
				     "graph",
				     NULL };

static int make_loss(struct graph *g, const char *loss)
{
	struct value *x = g->outputs[0].value;
	int ret;

	/* Of several outputs the one called logits; else the first. */
	for (int i = 0; i < g->num_outputs; i++)
		if (!strcmp(g->outputs[i].name, "logits"))
			x = g->outputs[i].value;
	if (strcmp(loss, "graph") && value_is_bounded(x))
		return graph_error(g, "how large '%s' is depends on data: no loss %s", x->name,
				   loss);
	if (!strcmp(loss, "graph"))
		ret = loss_of_model(g);
	else if (check_name(g, "loss"))
		ret = -1;
	else if (!x->needs_grad)
		ret = graph_error(g, "no weight has influence on '%s'", g->outputs[0].name);
	else if (!strcmp(loss, "softmax_cross_entropy"))
		ret = loss_of_labels(g, x);
	else if (!strcmp(loss, "mse"))
		ret = loss_of_target(g, x, "MeanSquaredError");
	else if (!strcmp(loss, "binary_cross_entropy"))
		ret = loss_of_target(g, x, "BinaryCrossEntropy");
	else if (!strcmp(loss, "binary_cross_entropy_with_logits"))
		ret = loss_of_target(g, x, "BinaryCrossEntropyLogits");
	else
		ret = graph_error(g, "internal: there is no loss '%s'", loss);
	if (ret)
		return -1;
	g->loss->name = graph_strdup(g, "loss");
	return 0;
}

static struct value *new_state(struct graph *g, const char *name, int ndim, const int64_t *dim)
{
	struct value *v = graph_value(g, name);

	v->kind = TENSOR_STATE;
	v->ndim = ndim;
	memcpy(v->dim, dim, ndim * sizeof(*dim));
	return v;
}

/* One for each element of a weight, in blocks where it is. */
static struct value *state_of(struct graph *g, const struct value *w, const char *what)
{
	struct value *v =
		new_state(g, graph_format(g, "%.200s.%s", w->name, what), w->ndim, w->dim);

	v->packing = w->packing;
	return v;
}

/* The outputs of a node are new values of those given. */
static int finish_update(struct graph *g, struct node *n, int num, struct value *const *of)
{
	n->num_out = num;
	n->out = graph_alloc(g, num * sizeof(*n->out));
	for (int k = 0; k < num; k++) {
		n->out[k] = graph_value(g, of[k] ? graph_format(g, "%.200s.new", of[k]->name)
						 : graph_format(g, "%.200s.%d", n->name, k));
		n->out[k]->producer = n;
		n->out[k]->update_of = of[k];
		if (of[k])
			g->updates[g->num_updates++] = n->out[k];
	}
	return graph_process(g, n);
}

/*
 * A step is of several batches: accumulate_step adds a batch's gradient to a state W.gradient;
 * train_step, the last one, takes the mean of that and of its own, and makes it 0 again.
 */
static int accumulate(struct graph *g, const struct train_options *opt, struct value *w)
{
	struct value *sum = state_of(g, w, "gradient");
	struct node *add = node_new(g, "GradientSum", graph_format(g, "%.200s.sum", w->name));
	struct node *mean = node_new(g, "GradientMean", graph_format(g, "%.200s.mean", w->name));

	node_input(g, add, w->grad);
	node_input(g, add, sum);
	if (finish_update(g, add, 1, &sum))
		return -1;
	g->accumulations[g->num_accumulations++] = g->updates[--g->num_updates];
	node_input(g, mean, w->grad);
	node_input(g, mean, sum);
	node_attr_f(g, mean, "share", (float)(1.0 / (double)opt->accumulate));
	if (finish_update(g, mean, 2, (struct value *[]){ NULL, sum }))
		return -1;
	w->grad = mean->out[0];
	return 0;
}

/* All gradients, times the same number, so that their norm is at most clip_norm. */
static int clip(struct graph *g, const struct train_options *opt, int num, struct value *const *w)
{
	struct value *sum = NULL, *scale;
	struct node *n;

	for (int i = 0; i < num; i++) {
		n = node_new(g, "SquareSum", graph_format(g, "%.200s.squares", w[i]->name));
		node_input(g, n, w[i]->grad);
		if (sum)
			node_input(g, n, sum);
		sum = graph_finish(g, n);
		if (!sum)
			return -1;
	}
	n = node_new(g, "ClipScale", "clip");
	node_input(g, n, sum);
	node_attr_f(g, n, "norm", opt->clip_norm);
	scale = graph_finish(g, n);
	for (int i = 0; scale && i < num; i++) {
		w[i]->grad =
			graph_op2(g, "ScaledGradient",
				  graph_format(g, "%.200s.clipped", w[i]->name), w[i]->grad, scale);
		if (!w[i]->grad)
			return -1;
	}
	return scale ? 0 : -1;
}

static int make_update(struct graph *g, const struct train_options *opt, struct value *w,
		       struct value *lr, struct value *const *correction)
{
	static const char *const ops[] = { "Sgd", "Momentum", "Adam", "Adam" };
	struct node *n =
		node_new(g, ops[opt->optimizer], graph_format(g, "%.200s.update", w->name));
	struct value *of[3] = { w };
	int num = 1;

	node_input(g, n, w->grad);
	node_input(g, n, w);
	node_input(g, n, lr);
	node_attr_f(g, n, "weight_decay", w->no_decay ? 0 : opt->weight_decay);
	if (opt->optimizer == OPT_MOMENTUM) {
		of[num++] = state_of(g, w, "velocity");
		node_input(g, n, of[1]);
		node_attr_f(g, n, "momentum", opt->momentum);
	} else if (opt->optimizer != OPT_SGD) {
		of[num++] = state_of(g, w, "m");
		of[num++] = state_of(g, w, "v");
		node_input(g, n, of[1]);
		node_input(g, n, of[2]);
		node_input(g, n, correction[0]);
		node_input(g, n, correction[1]);
		node_attr_f(g, n, "beta1", opt->beta1);
		node_attr_f(g, n, "beta2", opt->beta2);
		node_attr_f(g, n, "epsilon", opt->epsilon);
		node_attr_i(g, n, "decoupled", opt->optimizer == OPT_ADAMW);
	}
	return finish_update(g, n, num, of);
}

/* States are kept by steps of training (training_mode.c), not by forward: they are no outputs of it. */
static int take_states(struct graph *g, const struct graph_output **states)
{
	struct graph_output *taken = graph_alloc(g, ((size_t)g->num_outputs + 1) * sizeof(*taken));
	int num = 0, left = 0;

	for (int i = 0; i < g->num_outputs; i++)
		if (g->outputs[i].state)
			taken[num++] = g->outputs[i];
		else
			g->outputs[left++] = g->outputs[i];
	g->num_outputs = left;
	*states = taken;
	return num;
}

/* Each batch of a step changes them, as each run of a step of one batch does. */
static int keep_states(struct graph *g, const struct graph_output *states, int num, bool batches)
{
	for (int i = 0; i < num; i++) {
		struct value *state = states[i].state;
		struct node *n = node_new(g, "Keep", states[i].name);

		if (state->trainable && state->grad)
			return graph_error(g,
					   "weight '%s' is also a statistic that a "
					   "BatchNormalization keeps: it cannot be trained",
					   state->name);
		node_input(g, n, states[i].value);
		if (finish_update(g, n, 1, &state))
			return -1;
		if (batches)
			g->accumulations[g->num_accumulations++] = n->out[0];
	}
	return 0;
}

/*
 * Relu of a maximum over windows: what equals Relu's result, where that is
 * positive, is what the gradient goes to. So the pooling's gradient does both,
 * and its own result need not be kept.
 */
static bool relu_of_pool(struct graph *g, struct node *n)
{
	struct node *pool = n->in[0] ? n->in[0]->producer : NULL;

	if (strcmp(n->op->name, "Relu") || !pool || strcmp(pool->op->name, "MaxPool") ||
	    n->in[0]->grad || graph_uses(g, n->in[0]) != 1)
		return false;
	pool->of_node = n;
	pool->out[0]->grad = n->out[0]->grad;
	return true;
}

int graph_differentiate(struct graph *g, const struct train_options *opt)
{
	struct value *lr, *correction[2] = { NULL, NULL };
	int num_values = g->num_values, num_weights = 0, num = 0, num_states;
	const struct graph_output *states;
	struct value **weights; /* those that a gradient reaches */
	int64_t one = 1;

	if (opt->steps && opt->accumulate > 1)
		return graph_error(g,
				   "a run of %" PRId64 " steps (--steps-per-run) with steps of "
				   "%" PRId64 " batches (--accumulate) is not supported",
				   opt->steps, opt->accumulate);
	g->steps = opt->steps;
	g->num_forward = g->num_nodes;
	for (int i = 0; i < num_values; i++) {
		struct value *v = g->values[i];

		if (v->kind == TENSOR_WEIGHT && v->trainable) {
			v->needs_grad = true;
			num_weights++;
		}
	}
	if (!num_weights)
		return graph_error(g, "the model has no weights to train");
	num_states = take_states(g, &states);
	g->updates = graph_alloc(g, (4 * num_weights + num_states + 1) * sizeof(*g->updates));
	g->accumulations = graph_alloc(g, (num_weights + num_states) * sizeof(*g->accumulations));
	weights = graph_alloc(g, num_weights * sizeof(*weights));
	if (find_needs(g) || make_loss(g, opt->loss))
		return -1;
	for (int i = g->num_forward - 1; i >= 0; i--) {
		struct node *n = g->nodes[i];
		bool reached = false;

		for (int k = 0; k < n->num_out; k++)
			reached |= n->out[k] && n->out[k]->grad;
		if (!reached || n->op->stop_gradient || relu_of_pool(g, n))
			continue;
		if (node_gradient(g, n))
			return -1;
	}
	for (int i = 0; i < num_values; i++) {
		struct value *v = g->values[i];

		if (v->kind != TENSOR_WEIGHT || !v->trainable || !v->needs_grad || !v->grad)
			continue;
		weights[num++] = v;
		if (opt->accumulate > 1 && accumulate(g, opt, v))
			return -1;
	}
	if (opt->clip_norm > 0 && num && clip(g, opt, num, weights))
		return -1;
	lr = new_input(g, "lr", RDU_DT_F32, 1, &one);
	if (!lr)
		return -1;
	if (opt->optimizer == OPT_ADAM || opt->optimizer == OPT_ADAMW) {
		struct node *n = node_new(g, "AdamStep", "step");
		struct value *of[3] = { new_state(g, "step", 1, &one), NULL, NULL };

		node_input(g, n, of[0]);
		node_attr_f(g, n, "beta1", opt->beta1);
		node_attr_f(g, n, "beta2", opt->beta2);
		if (finish_update(g, n, 3, of))
			return -1;
		correction[0] = n->out[1];
		correction[1] = n->out[2];
	}
	for (int i = 0; i < num; i++)
		if (make_update(g, opt, weights[i], lr, correction))
			return -1;
	return keep_states(g, states, num_states, opt->accumulate > 1);
}
