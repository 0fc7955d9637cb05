// SPDX-License-Identifier: MIT
/*
 * Ternary weights: constants that are 0, 1 or -1 wherever they are used, as words of 16 in two bits
 * each (config.h, TERNARY), which an array takes as they are; and products of what only looks like
 * fp32: integers of eight bits over a scale, and weights of which each result's are 0 or plus or minus
 * one number (quantization-aware training leaves both).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "constant_rows.h"
#include "mem.h"
#include "scaled.h"

#define FEWEST 16 /* terms of a sum; with fewer most of each word would be nothing */

static void set_weight(uint32_t *words, int64_t along, int64_t inner, int value)
{
	words[along / 16 * inner] |= ((uint32_t)value & 3) << along % 16 * 2;
}

/* ---- of integers --------------------------------------------------------------------------- */

/* Of `zero`, the one for element k of v: it is one, or has extent 1 where it is the same. */
static int64_t zero_at(const struct value *v, const struct value *zero, int64_t k)
{
	int64_t at = 0, step = 1;

	if (!zero || value_count(zero) == 1)
		return zero ? value_int(zero, 0) : 0;
	for (int i = v->ndim - 1; i >= 0; i--) {
		at += zero->dim[i] == 1 ? 0 : k % v->dim[i] * step;
		step *= zero->dim[i];
		k /= v->dim[i];
	}
	return value_int(zero, at);
}

/* Named after the node that they are for. */
static struct value *new_words(struct graph *g, const struct node *n, int ndim, const int64_t *dim)
{
	struct value *w = graph_const(g, RDU_DT_I32, ndim, dim, NULL);

	w->name = graph_format(g, "%.200s.ternary", n->name);
	return w;
}

struct value *graph_ternary(struct graph *g, const struct node *n, const struct value *v,
			    const struct value *zero, int axis)
{
	int64_t dim[RDU_MAX_DIMS], inner = 1, num = value_count(v), terms = v->dim[axis];
	struct value *w;

	if (!g->arrays || !v->constant || !v->data || terms < FEWEST ||
	    (zero && (!zero->constant || !zero->data)))
		return NULL;
	for (int64_t k = 0; k < num; k++) {
		int64_t x = value_int(v, k) - zero_at(v, zero, k);

		if (x < -1 || x > 1)
			return NULL;
	}
	memcpy(dim, v->dim, sizeof(dim));
	dim[axis] = (terms + 15) / 16;
	for (int i = axis + 1; i < v->ndim; i++)
		inner *= v->dim[i];
	w = new_words(g, n, v->ndim, dim);
	for (int64_t k = 0; k < num; k++) {
		uint32_t *words = w->data;

		words += k / inner / terms * dim[axis] * inner + k % inner;
		set_weight(words, k / inner % terms, inner,
			   (int)(value_int(v, k) - zero_at(v, zero, k)));
	}
	return w;
}

/* ---- of fp32 and bf16 ------------------------------------------------------------------------- */

/* What rounding may do to one number: w + (q - w), where only its value is left. */
#define NEAR 0x1p-18

/* Weights of `results` results, `terms` each. */
struct weights {
	struct rows *rows;
	enum rdu_dtype dtype; /* that they are in where they are multiplied */
	bool by_result; /* a row is a result's weights, else a term's */
	int64_t terms, results;
	float *size; /* of each result, but where it is 0; all the same if `one` */
	bool one;
};

static bool is_near(double a, double b)
{
	return fabs(a - b) <= NEAR * fabs(b);
}

/* Calls `see` with each weight until it says false. */
static bool each_weight(struct weights *w,
			bool (*see)(void *arg, int64_t term, int64_t result, float v), void *arg)
{
	int64_t num = w->by_result ? w->results : w->terms,
		width = w->by_result ? w->terms : w->results;
	float *row = xmalloc((size_t)width * sizeof(*row));
	bool good = true;

	for (int64_t k = 0; k < num && good; k++) {
		rows_get(w->rows, k, row);
		for (int64_t i = 0; i < width && good; i++)
			good = see(arg, w->by_result ? i : k, w->by_result ? k : i,
				   rows_rounded(w->dtype, row[i]));
	}
	free(row);
	return good;
}

/* Sizes of what is not 0. */
struct sizes {
	double *sum;
	int64_t *num;
};

static bool add_size(void *arg, int64_t term, int64_t result, float v)
{
	struct sizes *s = arg;

	(void)term;
	if (!isfinite(v))
		return false;
	s->sum[result] += fabs((double)v);
	s->num[result] += v != 0;
	return true;
}

/* The size of each result's weights; of those of all results, if they are near each other. */
static bool find_sizes(struct weights *w)
{
	struct sizes s = { xcalloc((size_t)w->results, sizeof(*s.sum)),
			   xcalloc((size_t)w->results, sizeof(*s.num)) };
	bool good = each_weight(w, add_size, &s);
	double sum = 0;
	int64_t num = 0;

	for (int64_t i = 0; i < w->results; i++) {
		sum += s.sum[i];
		num += s.num[i];
	}
	w->one = true;
	for (int64_t i = 0; i < w->results; i++) {
		double size = s.num[i] ? s.sum[i] / (double)s.num[i] : 0;

		w->size[i] = (float)size;
		w->one &= !s.num[i] || is_near(size, sum / (double)num);
	}
	for (int64_t i = 0; w->one && i < w->results; i++)
		w->size[i] = num ? (float)(sum / (double)num) : 0;
	free(s.sum);
	free(s.num);
	return good;
}

/* Words [terms / 16][results]. */
struct packing {
	const struct weights *w;
	uint32_t *words;
};

static bool pack_weight(void *arg, int64_t term, int64_t result, float v)
{
	const struct packing *p = arg;

	if (v == 0)
		return true;
	if (!is_near(fabs((double)v), p->w->size[result]))
		return false;
	set_weight(p->words + result, term, p->w->results, v > 0 ? 1 : -1);
	return true;
}

/* A matrix [terms, results] as words of ternary weights, and their size: one, or one for each result.
 * NULL: they are others, or not known. */
static struct value *ternary_matrix(struct graph *g, const struct node *n, struct value *v,
				    struct value **size)
{
	const struct node *p = value_made_by(value_past_casts(v), "Transpose");
	struct weights w = { .terms = v->dim[0], .results = v->dim[1], .dtype = v->dtype };
	int64_t dim[] = { (w.terms + 15) / 16, w.results };
	struct packing pack = { .w = &w };
	struct value *words = NULL;
	const int64_t *perm;
	int num = 0;

	if (p) {
		perm = attr_ints(p, "perm", &num);
		w.by_result = !perm || (perm[0] == 1 && perm[1] == 0);
		v = p->in[0];
	}
	if (w.terms < FEWEST || !w.results)
		return NULL;
	w.rows = rows_new(v);
	if (!w.rows)
		return NULL;
	w.size = xmalloc((size_t)w.results * sizeof(*w.size));
	pack.words = xcalloc((size_t)(dim[0] * dim[1]), sizeof(*pack.words));
	if (find_sizes(&w) && each_weight(&w, pack_weight, &pack)) {
		words = new_words(g, n, 2, dim);
		memcpy(words->data, pack.words, (size_t)(dim[0] * dim[1]) * sizeof(*pack.words));
		*size = w.one ? graph_const_f(g, w.size[0])
			      : graph_const(g, RDU_DT_F32, 1, &w.results, w.size);
	}
	rows_free(w.rows);
	free(w.size);
	free(pack.words);
	return words;
}

/* ---- products ----------------------------------------------------------------------------------- */

static struct value *scale_with(struct graph *g, struct node *n, const char *what, bool divided,
				struct value *a, struct value *b)
{
	return a && b ? graph_op2(g, divided ? "Div" : "Mul",
				  graph_format(g, "%.200s.%s", n->name, what), a, b)
		      : NULL;
}

int graph_ternary_matmul(struct graph *g, struct node *n)
{
	enum rdu_dtype type = n->in[0]->dtype;
	struct value *words, *size, *v, *s;
	struct scaled x;
	struct node *m;

	if (!g->arrays || g->trained || n->in[1]->ndim != 2 || n->in[0]->ndim < 2 || n->loop ||
	    n->in[0]->dim[n->in[0]->ndim - 1] != n->in[1]->dim[0] || !value_is_scaled(n->in[0], &x))
		return 0;
	words = ternary_matrix(g, n, n->in[1], &size);
	if (!words)
		return 0;
	m = node_new(g, "CastWhole", graph_format(g, "%.200s.bytes", n->name));
	node_input(g, m, x.whole);
	node_attr_i(g, m, "to", x.least < 0 ? RDU_DT_I8 : RDU_DT_U8);
	v = graph_finish(g, m);
	if (!v)
		return -1;
	m = node_new(g, "ByteMatMul", graph_format(g, "%.200s.products", n->name));
	m->of = n->op;
	node_input(g, m, v);
	node_input(g, m, words);
	v = graph_finish(g, m);
	v = v ? graph_cast(g, graph_format(g, "%.200s.real", n->name), v, RDU_DT_F32) : NULL;
	x.scale = graph_cast(g, graph_format(g, "%.200s.scale", n->name), x.scale, RDU_DT_F32);
	if (value_count(size) == 1) { /* once for each row */
		s = scale_with(g, n, "scale", x.divided, size, x.scale);
		v = scale_with(g, n, "scaled", false, v, s);
	} else {
		v = scale_with(g, n, "row", x.divided, v, x.scale);
		v = scale_with(g, n, "scaled", false, v, size);
	}
	v = graph_cast(g, graph_format(g, "%.200s.rounded", n->name), v, type);
	return graph_replace_first(n, v) ? -1 : 1;
}
