// SPDX-License-Identifier: MIT
/*
 * Sizes and places of Resize, for all pairs of sizes: what was computed in floating
 * point is held against the rule in integers. The input is a constant that counts up,
 * so that the result, folded while compiling, is the row of places itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "graph.h"
#include "tap.h"

#define MAX_IN 64
#define MAX_OUT 128

enum by { BY_SIZES, BY_SCALES };

static char error[1024];

/* Resizes 0, 1, ... in - 1; the folded result, of *out elements, or NULL. */
static const float *resize(struct graph *g, enum by by, const char *where, const char *round,
			   int64_t in, int64_t to, float scale, int64_t *out)
{
	struct node *n = node_new(g, "Resize", "resize");
	const char *const name[] = { "coordinate_transformation_mode", "nearest_mode", "mode" };
	const char *const text[] = { where, round, "nearest" };
	int64_t one = 1;
	struct value *x = graph_const(g, RDU_DT_F32, 1, &in, NULL), *y;

	for (int64_t i = 0; i < in; i++)
		((float *)x->data)[i] = (float)i;
	for (int i = 0; i < 3; i++) {
		struct attr *a = graph_alloc(g, sizeof(*a));

		*a = (struct attr){ .name = name[i], .kind = ATTR_STRING, .s = text[i] };
		a->next = n->attrs;
		n->attrs = a;
	}
	node_input(g, n, x);
	node_input(g, n, NULL);
	node_input(g, n, by == BY_SCALES ? graph_const(g, RDU_DT_F32, 1, &one, &scale) : NULL);
	if (by == BY_SIZES)
		node_input(g, n, graph_const(g, RDU_DT_I64, 1, &one, &to));
	y = graph_finish(g, n);
	if (!y || !y->data || y->ndim != 1)
		return NULL;
	*out = y->dim[0];
	return y->data;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* The place p / q of result i as ONNX says it, to the nearest element. */
static int64_t expected(const char *where, const char *round, int64_t in, int64_t out, int64_t i)
{
	int64_t p, q, y;

	if (!strcmp(where, "asymmetric")) {
		p = i * in;
		q = out;
	} else if (!strcmp(where, "align_corners")) {
		p = i * (in - 1);
		q = out - 1;
		if (!q)
			q = 1;
	} else { /* (i + 1/2) in / out - 1/2 */
		p = (2 * i + 1) * in - out;
		q = 2 * out;
	}
	if (!strcmp(round, "floor"))
		y = floor_div(p, q);
	else if (!strcmp(round, "ceil"))
		y = -floor_div(-p, q);
	else if (!strcmp(round, "round_prefer_ceil"))
		y = floor_div(2 * p + q, 2 * q);
	else
		y = -floor_div(-2 * p + q, 2 * q);
	return y < 0 ? 0 : y > in - 1 ? in - 1 : y;
}

/* All pairs of sizes, by sizes: every place. */
static void places(const char *where, const char *round)
{
	int wrong = 0, pairs = 0;
	char first[200] = "";

	for (int64_t in = 1; in <= MAX_IN; in++) {
		struct graph *g = graph_new(error, sizeof(error));

		for (int64_t to = 1; to <= MAX_OUT; to++) {
			int64_t out = 0, i = 0;
			const float *y = resize(g, BY_SIZES, where, round, in, to, 0, &out);

			pairs++;
			while (y && out == to && i < to &&
			       y[i] == expected(where, round, in, to, i))
				i++;
			if (i == to)
				continue;
			if (!wrong++)
				snprintf(first, sizeof(first),
					 "%lld to %lld: [%lld] is %g, not %lld", (long long)in,
					 (long long)to, (long long)i, y ? y[i] : -1.0,
					 (long long)expected(where, round, in, to, i));
		}
		graph_free(g);
	}
	ok(!wrong && pairs == MAX_IN * MAX_OUT, "%s, %s: %d of %d pairs of sizes are wrong; %s",
	   where, round, wrong, pairs, *first ? first : "none");
}

/*
 * Exporters write (float)out / in, or a short decimal: the result has the size that
 * the product in fp32 has (PyTorch, ONNX Runtime and ONNX's shape inference).
 */
static void sizes(void)
{
	int wrong = 0, pairs = 0;
	char first[200] = "";

	for (int64_t in = 1; in <= MAX_IN; in++) {
		struct graph *g = graph_new(error, sizeof(error));

		for (int tenth = 1; tenth <= MAX_OUT; tenth++) {
			float scale = (float)tenth / 10;
			volatile float product = scale * (float)in; /* rounded to fp32 */
			int64_t want = (int64_t)product, out = -1;

			pairs++;
			resize(g, BY_SCALES, "half_pixel", "floor", in, 0, scale, &out);
			/* Nothing is made of nothing, and it is folded too. */
			if (out == want)
				continue;
			if (!wrong++)
				snprintf(first, sizeof(first), "%lld by %.9g: %lld, not %lld",
					 (long long)in, scale, (long long)out, (long long)want);
		}
		graph_free(g);
	}
	ok(!wrong && pairs == MAX_IN * MAX_OUT, "%d of %d sizes by fp32 scales are wrong; %s",
	   wrong, pairs, *first ? first : "none");
}

int main(void)
{
	static const char *const where[] = { "half_pixel", "asymmetric", "align_corners" };
	static const char *const round[] = { "round_prefer_floor", "round_prefer_ceil", "floor",
					     "ceil" };

	for (int w = 0; w < 3; w++)
		for (int r = 0; r < 4; r++)
			places(where[w], round[r]);
	sizes();
	return tap_done();
}
