// SPDX-License-Identifier: MIT
/*
 * LSTM, GRU and RNN, as a Recurrence (loop.c). What does not depend on the state, the products with
 * the inputs, is one contraction in front of the loop; the loop does the products with the state and
 * what follows.
 */
#include <string.h>
#include <strings.h>
#include "graph.h"

enum cell_kind { CELL_RNN, CELL_GRU, CELL_LSTM };

enum { IN_X, IN_W, IN_R, IN_B, IN_LENGTHS, IN_H, IN_C, IN_P };

/* One of the three, and what it is in the direction being made. */
struct cell {
	struct graph *g;
	struct node *n;
	enum cell_kind kind;
	int gates; /* of W and R */
	int64_t steps, batch, width, hidden;
	int directions;
	bool batch_first;
	bool backwards; /* the direction */
	float clip; /* 0: none */
	struct value *r, *rb, *p; /* of the direction; rb: what is added to the state's product */
	struct value *mask; /* [T, N, 1]: the step is one of its sequence; NULL: they all are */
	int first_function; /* of the direction */
	int num_alpha, num_beta; /* used up so far */
};

/* What activations are called, and their defaults. */
static const struct function {
	const char *name, *op;
	bool has_alpha, has_beta;
	float alpha, beta;
} functions[] = {
	{ "Relu", "Relu", false, false, 0, 0 },
	{ "Tanh", "Tanh", false, false, 0, 0 },
	{ "Sigmoid", "Sigmoid", false, false, 0, 0 },
	{ "Affine", NULL, true, true, 1, 0 },
	{ "LeakyRelu", "LeakyRelu", true, false, 0.01f, 0 },
	{ "ThresholdedRelu", "ThresholdedRelu", true, false, 1, 0 },
	{ "ScaledTanh", NULL, true, true, 1, 1 },
	{ "HardSigmoid", "HardSigmoid", true, true, 0.2f, 0.5f },
	{ "Elu", "Elu", true, false, 1, 0 },
	{ "Softsign", "Softsign", false, false, 0, 0 },
	{ "Softplus", "Softplus", false, false, 0, 0 },
};

#define MAX_FUNCTIONS 3

/* An activation of a direction, with its numbers. */
struct activation {
	const struct function *f;
	float alpha, beta;
};

static const struct function *function_find(const char *name)
{
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		if (!strcasecmp(functions[i].name, name)) /* in any case, ONNX says */
			return &functions[i];
	return NULL;
}

static int cell_functions(const struct cell *c)
{
	static const int functions_of[] = { [CELL_RNN] = 1, [CELL_GRU] = 2, [CELL_LSTM] = 3 };

	return functions_of[c->kind];
}

/* Numbers that activations take are listed one after another, for those that take some. */
static float next_number(const struct node *n, const char *list, int *used, float otherwise)
{
	const struct attr *a = node_attr(n, list);

	return a && a->kind == ATTR_FLOATS && *used < a->num ? a->floats[(*used)++] : otherwise;
}

static int cell_activations(struct cell *c, struct activation *to)
{
	static const char *const usual[3][3] = { [CELL_RNN] = { "Tanh" },
						 [CELL_GRU] = { "Sigmoid", "Tanh" },
						 [CELL_LSTM] = { "Sigmoid", "Tanh", "Tanh" } };
	const struct attr *names = node_attr(c->n, "activations");
	int num = cell_functions(c);

	if (names && names->num != num * c->directions)
		return node_error(c->g, c->n, "attribute 'activations' has %d names, not %d",
				  names->num, num * c->directions);
	for (int i = 0; i < num; i++) {
		const char *name =
			names ? names->strings[c->first_function + i] : usual[c->kind][i];
		struct activation *a = &to[i];

		a->f = function_find(name);
		if (!a->f)
			return node_error(c->g, c->n, "attribute 'activations': '%.40s' is unknown",
					  name);
		a->alpha = a->f->has_alpha ? next_number(c->n, "activation_alpha", &c->num_alpha,
							 a->f->alpha)
					   : 0;
		a->beta = a->f->has_beta
				  ? next_number(c->n, "activation_beta", &c->num_beta, a->f->beta)
				  : 0;
	}
	return 0;
}

/* All that was given must have been for some activation. */
static int check_used(const struct cell *c, const char *list, int used)
{
	const struct attr *a = node_attr(c->n, list);

	if (!a || a->num <= used)
		return 0;
	return node_error(c->g, c->n, "attribute '%s' has %d numbers, its activations take %d",
			  list, a->num, used);
}

static const char *part(const struct cell *c, const char *what)
{
	return graph_format(c->g, "%.150s.%s%s", c->n->name, c->backwards ? "back." : "", what);
}

static struct value *op2(const struct cell *c, const char *op, struct value *a, struct value *b)
{
	return a && b ? graph_op2(c->g, op, part(c, op), a, b) : NULL;
}

static struct value *scaled(const struct cell *c, struct value *v, float by)
{
	return v && by != 1 ? op2(c, "Mul", v, graph_const_f(c->g, by)) : v;
}

static struct value *apply(const struct cell *c, const struct activation *a, struct value *v)
{
	struct node *n;

	if (!v)
		return NULL;
	if (!strcmp(a->f->name, "Affine"))
		return op2(c, "Add", scaled(c, v, a->alpha), graph_const_f(c->g, a->beta));
	if (!strcmp(a->f->name, "ScaledTanh")) {
		v = scaled(c, v, a->beta);
		return scaled(c, v ? graph_op1(c->g, "Tanh", part(c, "Tanh"), v) : NULL, a->alpha);
	}
	n = node_new(c->g, a->f->op, part(c, a->f->op));
	node_input(c->g, n, v);
	if (a->f->has_alpha)
		node_attr_f(c->g, n, "alpha", a->alpha);
	if (a->f->has_beta)
		node_attr_f(c->g, n, "beta", a->beta);
	return graph_finish(c->g, n);
}

/* A gate's or a candidate's activation, with the clip in front of it. */
static struct value *activate(const struct cell *c, const struct activation *a, struct value *v)
{
	if (v && c->clip > 0)
		v = graph_op3(c->g, "Clip", part(c, "Clip"), v, graph_const_f(c->g, -c->clip),
			      graph_const_f(c->g, c->clip));
	return apply(c, a, v);
}

static struct value *product(const struct cell *c, struct value *a, struct value *w,
			     struct value *add)
{
	struct node *n = node_new(c->g, "Gemm", part(c, "Gemm"));

	if (!a || !w)
		return NULL;
	node_input(c->g, n, a);
	node_input(c->g, n, w);
	if (add)
		node_input(c->g, n, add);
	node_attr_i(c->g, n, "transB", 1);
	return graph_finish(c->g, n);
}

/* Gate number k of what lies side by side along the last axis. */
static struct value *gate(const struct cell *c, struct value *v, int k, int num)
{
	return v ? graph_slice(c->g, part(c, "gate"), v, v->ndim - 1, k * c->hidden,
			       num * c->hidden, false)
		 : NULL;
}

/* 1 - v */
static struct value *rest(const struct cell *c, struct value *v)
{
	return v ? op2(c, "Sub", graph_const_f(c->g, 1), v) : NULL;
}

static struct value *rnn_step(const struct cell *c, const struct activation *f, struct value *x,
			      struct value *const *state, struct value **next)
{
	next[0] = activate(c, &f[0], product(c, state[0], c->r, x));
	return next[0];
}

static struct value *gru_step(const struct cell *c, const struct activation *f, struct value *x,
			      struct value *const *state, struct value **next)
{
	struct value *h = state[0], *z, *r, *hidden, *keep;

	if (attr_i(c->n, "linear_before_reset", 0)) {
		struct value *all = product(c, h, c->r, c->rb);
		struct value *zr = op2(c, "Add", gate(c, x, 0, 2), gate(c, all, 0, 2));

		zr = activate(c, &f[0], zr);
		z = gate(c, zr, 0, 1);
		r = gate(c, zr, 1, 1);
		hidden = op2(c, "Add", gate(c, x, 2, 1), op2(c, "Mul", r, gate(c, all, 2, 1)));
	} else {
		struct value *first =
			graph_slice(c->g, part(c, "Rzr"), c->r, 0, 0, 2 * c->hidden, false);
		struct value *last =
			graph_slice(c->g, part(c, "Rh"), c->r, 0, 2 * c->hidden, c->hidden, false);
		struct value *zr = activate(c, &f[0], product(c, h, first, gate(c, x, 0, 2)));

		z = gate(c, zr, 0, 1);
		r = gate(c, zr, 1, 1);
		hidden = product(c, op2(c, "Mul", r, h), last, gate(c, x, 2, 1));
	}
	hidden = activate(c, &f[1], hidden);
	keep = op2(c, "Mul", z, h);
	next[0] = op2(c, "Add", op2(c, "Mul", rest(c, z), hidden), keep);
	return next[0];
}

/* A gate with its peephole to the cell's state. */
static struct value *peep(const struct cell *c, struct value *v, int k, struct value *state)
{
	return c->p ? op2(c, "Add", v, op2(c, "Mul", gate(c, c->p, k, 1), state)) : v;
}

static struct value *lstm_step(const struct cell *c, const struct activation *f, struct value *x,
			       struct value *const *state, struct value **next)
{
	struct value *all = product(c, state[0], c->r, x), *i, *forget, *o, *cell;

	i = activate(c, &f[0], peep(c, gate(c, all, 0, 1), 0, state[1]));
	forget = attr_i(c->n, "input_forget", 0)
			 ? rest(c, i)
			 : activate(c, &f[0], peep(c, gate(c, all, 2, 1), 2, state[1]));
	cell = activate(c, &f[1], gate(c, all, 3, 1));
	next[1] = op2(c, "Add", op2(c, "Mul", forget, state[1]), op2(c, "Mul", i, cell));
	if (!next[1])
		return NULL;
	o = activate(c, &f[0], peep(c, gate(c, all, 1, 1), 1, next[1]));
	next[0] = op2(c, "Mul", o, apply(c, &f[2], next[1])); /* not clipped: as ONNX Runtime */
	return next[0];
}

/* Behind a sequence's end its state stays. */
static struct value *hold(const struct cell *c, struct value *mask, struct value *next,
			  struct value *state)
{
	return next && mask ? graph_op3(c->g, "Where", part(c, "Where"), mask, next, state) : next;
}

static int cell_body(struct cell *c, const struct activation *f, struct loop *l)
{
	static struct value *(*const step[])(const struct cell *, const struct activation *,
					     struct value *, struct value *const *,
					     struct value **) = {
		[CELL_RNN] = rnn_step, [CELL_GRU] = gru_step, [CELL_LSTM] = lstm_step
	};
	struct value *mask = c->mask ? l->row[1] : NULL, *zero = NULL;

	if (!step[c->kind](c, f, l->row[0], l->carried, l->next))
		return -1;
	if (mask) { /* a result behind the end is 0 */
		zero = graph_const(c->g, RDU_DT_F32, 0, NULL, NULL);
		l->stacked[0] = graph_op3(c->g, "Where", part(c, "Where"), mask, l->next[0], zero);
		if (!l->stacked[0])
			return -1;
	}
	for (int k = 0; k < l->num_carried; k++) {
		l->next[k] = hold(c, mask, l->next[k], l->carried[k]);
		if (!l->next[k])
			return -1;
	}
	return 0;
}

/* The first state [N, H] of a direction. */
static struct value *first_state(const struct cell *c, int in, int d)
{
	struct value *v = node_in(c->n, in);
	int64_t dim[2] = { c->batch, c->hidden };

	if (!v)
		return graph_const(c->g, RDU_DT_F32, 2, dim, NULL);
	return graph_pick(c->g, part(c, in == IN_H ? "initial_h" : "initial_c"), v,
			  c->batch_first ? 1 : 0, d);
}

/* X [T, N, I] times W, and what of the bias does not go with the state's product. */
static struct value *input_products(struct cell *c, struct value *x, int d)
{
	struct value *w = graph_pick(c->g, part(c, "W"), c->n->in[IN_W], 0, d), *b = NULL;
	int64_t flat[2] = { c->steps * c->batch, c->width };
	int64_t dim[3] = { c->steps, c->batch, c->gates * c->hidden };

	c->rb = NULL;
	if (node_in(c->n, IN_B)) {
		struct value *both = graph_pick(c->g, part(c, "B"), c->n->in[IN_B], 0, d);
		struct value *wb = gate(c, both, 0, c->gates);

		c->rb = gate(c, both, c->gates, c->gates);
		b = wb;
		if (!c->rb || !b)
			return NULL;
		if (c->kind != CELL_GRU || !attr_i(c->n, "linear_before_reset", 0))
			b = op2(c, "Add", wb, c->rb);
		if (!b)
			return NULL;
	}
	x = graph_reshape(c->g, part(c, "X"), x, 2, flat);
	return graph_reshape(c->g, part(c, "XW"), product(c, x, w, b), 3, dim);
}

/* Results of one direction: y [T, 1, N, H], and states [1, N, H]. -1: error. */
static int direction(struct cell *c, struct value *x, int d, struct value **y, struct value **last)
{
	struct activation f[MAX_FUNCTIONS] = { 0 };
	int states = c->kind == CELL_LSTM ? 2 : 1, rows = c->mask ? 2 : 1;
	struct loop *l = loop_new(c->g, c->steps, states, rows, c->mask ? 1 : 0, 0);
	int64_t all[4] = { c->steps, 1, c->batch, c->hidden };
	int64_t one[3] = { 1, c->batch, c->hidden };
	struct value *first[2] = { NULL, NULL }, *row[2] = { NULL, c->mask }, *v;
	struct graph_body body;
	struct node *m;

	if (cell_activations(c, f))
		return -1;
	row[0] = input_products(c, x, d);
	c->r = graph_pick(c->g, part(c, "R"), c->n->in[IN_R], 0, d);
	c->p = node_in(c->n, IN_P) ? graph_pick(c->g, part(c, "P"), c->n->in[IN_P], 0, d) : NULL;
	for (int k = 0; k < states; k++)
		first[k] = first_state(c, k ? IN_C : IN_H, d);
	if (!row[0] || !c->r || (node_in(c->n, IN_P) && !c->p) || !first[0] ||
	    (states > 1 && !first[1]))
		return -1;
	for (int k = 0; k < rows && c->backwards; k++) {
		row[k] = graph_slice(c->g, part(c, "reverse"), row[k], 0, c->steps - 1, c->steps,
				     true);
		if (!row[k])
			return -1;
	}
	for (int k = 0; k < states; k++)
		l->carried[k] = loop_value(c->g, part(c, k ? "c" : "h"), first[k], 0);
	for (int k = 0; k < rows; k++)
		l->row[k] = loop_value(c->g, part(c, k ? "mask" : "xw"), row[k], 1);
	body_begin(c->g, &body);
	if (cell_body(c, f, l))
		return body_drop(c->g, &body);
	body_end(c->g, &body, l);
	m = loop_finish(c->g, part(c, "loop"), l, first, row);
	if (!m)
		return -1;
	v = c->mask ? m->out[states] : loop_after(c->g, part(c, "Y"), m, 0);
	if (v && c->backwards)
		v = graph_slice(c->g, part(c, "reverse"), v, 0, c->steps - 1, c->steps, true);
	*y = graph_reshape(c->g, part(c, "Y"), v, 4, all);
	for (int k = 0; k < states; k++) {
		v = loop_last(c->g, part(c, "last"), m, k);
		last[k] = graph_reshape(c->g, part(c, "last"), v, 3, one);
		if (!last[k])
			return -1;
	}
	return *y ? 0 : -1;
}

static int check_shape(const struct cell *c, int in, const char *name, int ndim, const int64_t *dim)
{
	const struct value *v = node_in(c->n, in);

	if (!v || (v->ndim == ndim && !memcmp(v->dim, dim, (size_t)ndim * sizeof(*dim))))
		return 0;
	return node_error(
		c->g, c->n, "%s has shape %s, the others want %s", name, value_shape_text(c->g, v),
		value_shape_text(
			c->g, &(struct value){ .ndim = ndim, .dim = { dim[0], dim[1], dim[2] } }));
}

static int check_inputs(struct cell *c)
{
	int64_t d = c->directions, h = c->hidden, g = c->gates;
	int64_t state[3] = { c->batch_first ? c->batch : d, c->batch_first ? d : c->batch, h };

	for (int i = 0; i < c->n->num_in; i++)
		if (c->n->in[i] && i != IN_LENGTHS && c->n->in[i]->dtype != RDU_DT_F32)
			return node_error(c->g, c->n, "input %d is %s: float is supported", i,
					  dtype_name(c->n->in[i]->dtype));
	if (check_shape(c, IN_W, "W", 3, (int64_t[]){ d, g * h, c->width }) ||
	    check_shape(c, IN_R, "R", 3, (int64_t[]){ d, g * h, h }) ||
	    check_shape(c, IN_B, "B", 2, (int64_t[]){ d, 2 * g * h, 0 }) ||
	    check_shape(c, IN_LENGTHS, "sequence_lens", 1, (int64_t[]){ c->batch, 0, 0 }) ||
	    check_shape(c, IN_H, "initial_h", 3, state) ||
	    check_shape(c, IN_C, "initial_c", 3, state))
		return -1;
	return check_shape(c, IN_P, "P", 2, (int64_t[]){ d, 3 * h, 0 });
}

/* Which steps belong to their sequences: [T, N, 1], NULL if all do. -1: error. */
static int make_mask(struct cell *c)
{
	struct value *lengths = node_in(c->n, IN_LENGTHS), *steps;
	int64_t column[2] = { c->steps, 1 }, dim[3] = { c->steps, c->batch, 1 };
	bool all = true;

	if (!lengths)
		return 0;
	for (int64_t i = 0; i < c->batch && lengths->data; i++) {
		int64_t v = value_int(lengths, i);

		if (v < 0 || v > c->steps)
			return node_error(
				c->g, c->n,
				"sequence_lens: %lld is not from 0 to %lld, the number of "
				"steps",
				(long long)v, (long long)c->steps);
		all &= v == c->steps;
	}
	if (lengths->data && lengths->constant && all)
		return 0;
	steps = loop_count(c->g, lengths->dtype, c->steps);
	steps = graph_reshape(c->g, part(c, "steps"), steps, 2, column);
	c->mask = op2(c, "Less", steps, lengths);
	c->mask = graph_reshape(c->g, part(c, "mask"), c->mask, 3, dim);
	return c->mask ? 0 : -1;
}

static struct value *transposed(const struct cell *c, struct value *v, int ndim,
				const int64_t *perm)
{
	struct node *n = node_new(c->g, "Transpose", part(c, "Transpose"));

	if (!v)
		return NULL;
	node_input(c->g, n, v);
	node_attr_ints(c->g, n, "perm", ndim, perm);
	return graph_finish(c->g, n);
}

static struct value *joined(const struct cell *c, struct value *a, struct value *b, int axis)
{
	struct node *n = node_new(c->g, "Concat", part(c, "Concat"));

	if (!b)
		return a;
	node_input(c->g, n, a);
	node_input(c->g, n, b);
	node_attr_i(c->g, n, "axis", axis);
	return graph_finish(c->g, n);
}

static int cell_init(struct cell *c, struct graph *g, struct node *n, enum cell_kind kind)
{
	static const int gates[] = { [CELL_RNN] = 1, [CELL_GRU] = 3, [CELL_LSTM] = 4 };
	const char *direction = attr_s(n, "direction", "forward");
	const struct value *x = n->in[IN_X], *r = n->in[IN_R];

	*c = (struct cell){ .g = g, .n = n, .kind = kind, .gates = gates[kind] };
	c->directions = !strcmp(direction, "bidirectional") ? 2 : 1;
	c->batch_first = attr_i(n, "layout", 0);
	c->clip = attr_f(n, "clip", 0);
	if (node_attr(n, "clip") && !(c->clip > 0))
		return node_error(g, n, "attribute 'clip' is %g, not above 0", (double)c->clip);
	if (x->ndim != 3 || r->ndim != 3)
		return node_error(g, n, "X and R have shapes %s and %s, not 3 dimensions",
				  value_shape_text(g, x), value_shape_text(g, r));
	c->steps = x->dim[c->batch_first ? 1 : 0];
	c->batch = x->dim[c->batch_first ? 0 : 1];
	c->width = x->dim[2];
	c->hidden = r->dim[2];
	if (attr_i(n, "hidden_size", c->hidden) != c->hidden)
		return node_error(g, n, "attribute 'hidden_size' is %lld, R has %lld columns",
				  (long long)attr_i(n, "hidden_size", 0), (long long)c->hidden);
	return check_inputs(c);
}

static int cell_expand(struct graph *g, struct node *n, enum cell_kind kind)
{
	struct value *y[2] = { NULL, NULL }, *last[2][2] = { { NULL } }, *x = n->in[IN_X], *v;
	bool reverse = !strcmp(attr_s(n, "direction", "forward"), "reverse");
	int states = kind == CELL_LSTM ? 2 : 1;
	struct cell c;

	if (cell_init(&c, g, n, kind) || make_mask(&c))
		return -1;
	if (c.batch_first)
		x = transposed(&c, x, 3, (int64_t[]){ 1, 0, 2 });
	for (int d = 0; d < c.directions; d++) {
		c.backwards = d || reverse;
		c.first_function = d * cell_functions(&c);
		if (!x || direction(&c, x, d, &y[d], last[d]))
			return -1;
	}
	v = joined(&c, y[0], y[1], 1);
	if (c.batch_first) /* [T, D, N, H] to [N, T, D, H] */
		v = transposed(&c, v, 4, (int64_t[]){ 2, 0, 1, 3 });
	if (check_used(&c, "activation_alpha", c.num_alpha) ||
	    check_used(&c, "activation_beta", c.num_beta) || graph_replace_first(n, v))
		return -1;
	for (int k = 0; k < states; k++) {
		v = joined(&c, last[0][k], last[1][k], 0);
		if (c.batch_first)
			v = transposed(&c, v, 3, (int64_t[]){ 1, 0, 2 });
		if (!v)
			return -1;
		graph_replace(n, k + 1, v);
	}
	return 0;
}

static int lstm_expand(struct graph *g, struct node *n)
{
	return cell_expand(g, n, CELL_LSTM);
}

static int gru_expand(struct graph *g, struct node *n)
{
	return cell_expand(g, n, CELL_GRU);
}

static int rnn_expand(struct graph *g, struct node *n)
{
	return cell_expand(g, n, CELL_RNN);
}

const struct op ops_recurrent[] = {
	{ .name = "LSTM",
	  .min_in = 3,
	  .max_in = 8,
	  .max_out = 3,
	  .expand = lstm_expand,
	  .optional_first = true },
	{ .name = "GRU",
	  .min_in = 3,
	  .max_in = 6,
	  .max_out = 2,
	  .expand = gru_expand,
	  .optional_first = true },
	{ .name = "RNN",
	  .min_in = 3,
	  .max_in = 6,
	  .max_out = 2,
	  .expand = rnn_expand,
	  .optional_first = true },
	{ 0 },
};
