// SPDX-License-Identifier: MIT
/*
 * Integers over a scale, as quantization-aware training leaves them, and products of two such matrices in programs
 * that are trained: of the integers, by the scales. The arrays' bf16 has these integers, and sums are exact, so the
 * forward product has the bits of what serves the model (ternary.c).
 */
#include <math.h>
#include <string.h>
#include "scaled.h"

const struct node *value_made_by(const struct value *v, const char *op)
{
	return v && !v->constant && v->producer && !strcmp(v->producer->op->name, op) ? v->producer
										      : NULL;
}

static bool is_float(const struct value *v)
{
	return v->dtype == RDU_DT_F32 || v->dtype == RDU_DT_BF16;
}

struct value *value_past_casts(struct value *v)
{
	const struct node *cast;

	while (is_float(v) && (cast = value_made_by(v, "Cast")) && is_float(cast->in[0]))
		v = cast->in[0];
	return v;
}

/* Before casts and estimators. */
static struct value *past_estimator(struct value *v)
{
	const struct node *through = value_made_by(v = value_past_casts(v), "StraightThrough");

	return through ? value_past_casts(through->in[0]) : v;
}

/* An end of a Clip: an integer that int8 or uint8 holds. */
static bool get_end(const struct node *n, int in, int *end)
{
	const struct value *v = node_in(n, in);
	double x;

	if (!v || !v->constant || !v->data || value_count(v) != 1)
		return false;
	x = value_real(v, 0);
	if (!(x >= -128 && x <= 255))
		return false;
	*end = (int)x;
	return x == *end;
}

/* Integers that int8 holds, or uint8: Clip(Round(x)), or Round(Clip(x)), between integers. */
static bool is_whole(const struct value *v, struct scaled *s)
{
	const struct node *clip = value_made_by(v, "Clip"), *round = value_made_by(v, "Round");

	if (clip)
		round = value_made_by(clip->in[0], "Round");
	else if (round)
		clip = value_made_by(round->in[0], "Clip");
	return clip && round && get_end(clip, 1, &s->least) && get_end(clip, 2, &s->most) &&
	       s->least <= s->most && (s->least >= 0 || s->most <= 127);
}

/* Is it the same along the last axis of what it is multiplied with? */
static bool same_in_row(const struct value *s)
{
	return s && is_float(s) && (!s->ndim || s->dim[s->ndim - 1] == 1);
}

bool value_is_scaled(struct value *v, struct scaled *s)
{
	const struct node *n;

	v = past_estimator(v);
	n = value_made_by(v, "Div");
	s->divided = n;
	if (!n)
		n = value_made_by(v, "Mul");
	for (int k = 0; n && k < (s->divided ? 1 : 2); k++) {
		s->whole = value_past_casts(n->in[k]);
		s->scale = n->in[!k];
		if (is_whole(s->whole, s) && same_in_row(s->scale) && value_same_shape(s->whole, v))
			return true;
	}
	return false;
}

/* ---- products in training ----------------------------------------------------------------------- */

static struct value *op2(struct graph *g, const struct node *n, const char *op, const char *what,
			 struct value *a, struct value *b)
{
	return a && b ? graph_op2(g, op, graph_format(g, "%.200s.%s", n->name, what), a, b) : NULL;
}

/* The second operand: whole numbers by one scale, perhaps transposed. */
static bool is_scaled_matrix(struct value *v, struct scaled *s, const struct node **turn)
{
	const int64_t *perm;
	int num = 0;

	*turn = value_made_by(value_past_casts(v), "Transpose");
	if (*turn) {
		perm = attr_ints(*turn, "perm", &num);
		if (perm && perm[0] == 0)
			return false;
		v = (*turn)->in[0];
	}
	return value_is_scaled(v, s) && value_count(s->scale) == 1;
}

/* Of fewer weights memory moves less than what the scales' own nests take. */
#define FEWEST_WEIGHTS (1 << 18)

static double largest(const struct scaled *s)
{
	return fmax(-s->least, s->most);
}

/* A value whose gradient goes to `to`, times a factor if there is one. */
static struct value *gradient_through(struct graph *g, const struct node *n, struct value *v,
				      struct value *to, struct value *factor)
{
	struct node *m = node_new(g, "GradientThrough", graph_format(g, "%.200s.through", n->name));

	node_input(g, m, v);
	node_input(g, m, to);
	if (factor)
		node_input(g, m, factor);
	return graph_finish(g, m);
}

/*
 * With whole numbers q and p over scales s and t, the product is (q p) * ((1 / t) / s). Its gradient g is divided by s
 * first: then that of q / s is (g / s) p, times s / t, and that of p / t is q (g / s).
 */
int graph_scaled_matmul(struct graph *g, struct node *n)
{
	struct value *scale, *size, *one = graph_const_f(g, 1), *a, *b, *sum, *y;
	const struct node *turn;
	struct scaled x, w;

	if (!g->trained || n->in[1]->ndim != 2 || value_count(n->in[1]) < FEWEST_WEIGHTS ||
	    n->in[0]->ndim < 2 || n->loop || !value_is_scaled(n->in[0], &x) ||
	    !is_scaled_matrix(n->in[1], &w, &turn) ||
	    (double)n->in[1]->dim[0] * largest(&x) * largest(&w) >= 0x1p24)
		return 0;
	size = w.divided ? op2(g, n, "Div", "size", graph_cast(g, n->name, one, w.scale->dtype),
			       w.scale)
			 : w.scale;
	size = size ? graph_cast(g, graph_format(g, "%.200s.size", n->name), size, RDU_DT_F32)
		    : NULL;
	scale = graph_cast(g, graph_format(g, "%.200s.scale", n->name), x.scale, RDU_DT_F32);
	a = op2(g, n, x.divided ? "Mul" : "Div", "factor", size, scale);
	a = a ? gradient_through(g, n, x.whole, n->in[0], a) : NULL;
	b = turn ? graph_op1(g, "Transpose", graph_format(g, "%.200s.turned", n->name), w.whole)
		 : w.whole;
	b = b ? gradient_through(g, n, b, n->in[1], NULL) : NULL;
	sum = op2(g, n, "WholeMatMul", "products", a, b);
	y = op2(g, n, x.divided ? "Div" : "Mul", "row", size, scale);
	y = op2(g, n, "Mul", "scaled", sum, y);
	y = y ? graph_cast(g, graph_format(g, "%.200s.rounded", n->name), y, n->in[0]->dtype)
	      : NULL;
	scale = x.divided ? op2(g, n, "Div", "inverse", one, scale) : scale;
	y = y && scale ? gradient_through(g, n, y, sum, scale) : NULL;
	return graph_replace_first(n, y) ? -1 : 1;
}
