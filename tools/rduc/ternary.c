// SPDX-License-Identifier: MIT
/*
 * Ternary weights: constants that are 0, 1 or -1 wherever they are used, as words of 16 in two bits
 * each (config.h, TERNARY), which an array takes as they are.
 */
#include <string.h>
#include "graph.h"

#define FEWEST 16 /* terms of a sum; with fewer most of each word would be nothing */

static void set_weight(uint32_t *words, int64_t along, int64_t inner, int value)
{
	words[along / 16 * inner] |= ((uint32_t)value & 3) << along % 16 * 2;
}

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
