// SPDX-License-Identifier: MIT
/* Attention (opset 23 on): made of products, sums and a softmax. */
#include <float.h>
#include <math.h>
#include <string.h>
#include "graph.h"

struct attention {
	int64_t batch, heads, kv_heads, length, keys, past;
	struct value *q, *k, *v; /* [batch, heads, length, size] */
};

static struct value *transposed(struct graph *g, struct node *n, struct value *v, int a, int b)
{
	struct node *m = node_new(g, "Transpose", graph_format(g, "%.200s.t", n->name));
	int64_t perm[RDU_MAX_DIMS];

	if (!v)
		return NULL;
	for (int i = 0; i < v->ndim; i++)
		perm[i] = i == a ? b : i == b ? a : i;
	node_input(g, m, v);
	node_attr_ints(g, m, "perm", v->ndim, perm);
	return graph_finish(g, m);
}

/* Input `in` as [batch, heads, length, size], whichever of its two forms it has. */
static struct value *in_heads(struct graph *g, struct node *n, int in, const char *attr)
{
	struct value *x = n->in[in];
	int64_t heads = attr_i(n, attr, 0), dim[4];

	if (x->ndim == 4)
		return x;
	if (x->ndim != 3 || heads < 1 || x->dim[2] % heads) {
		node_error(g, n, "'%s' has shape %s, %s is %lld", x->name, value_shape_text(g, x),
			   attr, (long long)heads);
		return NULL;
	}
	dim[0] = x->dim[0];
	dim[1] = x->dim[1];
	dim[2] = heads;
	dim[3] = x->dim[2] / heads;
	return transposed(g, n, graph_reshape(g, n->name, x, 4, dim), 1, 2);
}

/* Behind the keys or values of before. */
static struct value *with_past(struct graph *g, struct node *n, int in, struct value *v)
{
	struct value *past = node_in(n, in);
	struct node *m;

	if (!past || !v)
		return v;
	m = node_new(g, "Concat", graph_format(g, "%.200s.present%d", n->name, in));
	node_input(g, m, past);
	node_input(g, m, v);
	node_attr_i(g, m, "axis", 2);
	return graph_finish(g, m);
}

static int attention_get(struct graph *g, struct node *n, struct attention *a)
{
	const struct value *q, *k, *v;

	a->past = node_in(n, 4) && n->in[4]->ndim == 4 ? n->in[4]->dim[2] : 0;
	a->q = in_heads(g, n, 0, "q_num_heads");
	a->k = a->q ? with_past(g, n, 4, in_heads(g, n, 1, "kv_num_heads")) : NULL;
	a->v = a->k ? with_past(g, n, 5, in_heads(g, n, 2, "kv_num_heads")) : NULL;
	if (!a->v)
		return -1;
	q = a->q;
	k = a->k;
	v = a->v;
	if (q->dim[0] != k->dim[0] || v->dim[0] != k->dim[0] || v->dim[1] != k->dim[1] ||
	    v->dim[2] != k->dim[2] || q->dim[3] != k->dim[3] || !k->dim[1] || q->dim[1] % k->dim[1])
		return node_error(g, n, "queries %s, keys %s and values %s do not fit",
				  value_shape_text(g, q), value_shape_text(g, k),
				  value_shape_text(g, v));
	a->batch = q->dim[0];
	a->heads = q->dim[1];
	a->kv_heads = k->dim[1];
	a->length = q->dim[2];
	a->keys = k->dim[2];
	return 0;
}

/* a * b, where `heads` of a share one of b. */
static struct value *grouped(struct graph *g, struct node *n, const struct attention *a,
			     struct value *x, struct value *y)
{
	int64_t xd[] = { a->batch, a->kv_heads, a->heads / a->kv_heads, 0, 0 };
	int64_t yd[] = { a->batch, a->kv_heads, 1, 0, 0 }, out[4];

	if (!x || !y)
		return NULL;
	memcpy(xd + 3, x->dim + 2, 2 * sizeof(*xd));
	memcpy(yd + 3, y->dim + 2, 2 * sizeof(*yd));
	out[0] = a->batch;
	out[1] = a->heads;
	out[2] = x->dim[2];
	out[3] = y->dim[3];
	if (a->heads != a->kv_heads) {
		x = graph_reshape(g, n->name, x, 5, xd);
		y = graph_reshape(g, n->name, y, 5, yd);
	}
	x = x ? graph_op2(g, "MatMul", graph_format(g, "%.200s.dot", n->name), x, y) : NULL;
	return graph_reshape(g, n->name, x, 4, out);
}

static struct value *scalar(struct graph *g, struct node *n, float f, enum rdu_dtype t)
{
	return graph_cast(g, graph_format(g, "%.200s.number", n->name), graph_const_f(g, f), t);
}

/* 0 where `keep` is, else minus infinity, added to the scores. */
static struct value *hide(struct graph *g, struct node *n, struct value *s, struct value *keep)
{
	struct value *bias;

	if (!s || !keep)
		return NULL;
	bias = graph_op3(g, "Where", graph_format(g, "%.200s.mask", n->name), keep,
			 scalar(g, n, 0, s->dtype), scalar(g, n, -INFINITY, s->dtype));
	return graph_op2(g, "Add", graph_format(g, "%.200s.masked", n->name), s, bias);
}

/* Keys that a query may see are those up to its own place: minus infinity right of it. */
static struct value *hide_later(struct graph *g, struct node *n, const struct attention *a,
				struct value *s, struct value *place)
{
	int64_t *at = graph_alloc(g, (size_t)(a->keys + a->length + 1) * sizeof(*at));
	int64_t rows[] = { a->length, 1 }, *own = at + a->keys;

	for (int64_t i = 0; i < a->keys; i++)
		at[i] = i;
	for (int64_t i = 0; i < a->length; i++)
		own[i] = i + (place ? 0 : a->past);
	if (place) /* the queries are the last of the keys that count */
		place = graph_op2(g, "Add", graph_format(g, "%.200s.place", n->name), place,
				  graph_const(g, RDU_DT_I64, 2, rows, own));
	else
		place = graph_const(g, RDU_DT_I64, 2, rows, own);
	return hide(g, n, s,
		    place ? graph_op2(g, "LessOrEqual", graph_format(g, "%.200s.seen", n->name),
				      graph_const(g, RDU_DT_I64, 1, &a->keys, at), place)
			  : NULL);
}

/* The mask input, as long as the keys: those beyond its end are not seen. */
static struct value *mask_of(struct graph *g, struct node *n, const struct attention *a)
{
	struct value *mask = node_in(n, 3), *beyond;
	int64_t pads[2 * RDU_MAX_DIMS] = { 0 }, num;
	struct node *m;

	if (!mask || mask->ndim < 1 || mask->dim[mask->ndim - 1] == 1 ||
	    mask->dim[mask->ndim - 1] >= a->keys)
		return mask;
	m = node_new(g, "Pad", graph_format(g, "%.200s.longer", n->name));
	num = 2 * mask->ndim;
	pads[num - 1] = a->keys - mask->dim[mask->ndim - 1];
	beyond = graph_const(g, RDU_DT_BOOL, 0, NULL, NULL);
	if (mask->dtype != RDU_DT_BOOL)
		beyond = scalar(g, n, -INFINITY, mask->dtype);
	node_input(g, m, mask);
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &num, pads));
	node_input(g, m, beyond);
	return graph_finish(g, m);
}

/* Scores of keys that a query may see: by a mask of truths, or of minus infinity that a cap would make
 * a number of, by their number, by its own place. */
static struct value *hide_some(struct graph *g, struct node *n, const struct attention *a,
			       struct value *s, struct value *mask)
{
	struct value *used = node_in(n, 6), *first = NULL;
	int64_t dim[] = { a->batch, 1, 1, 1 }, *at;

	if (mask && mask->dtype != RDU_DT_BOOL && attr_f(n, "softcap", 0) != 0)
		mask = graph_op2(g, "Greater", graph_format(g, "%.200s.seen", n->name), mask,
				 scalar(g, n, -INFINITY, mask->dtype));
	if (s && mask && mask->dtype == RDU_DT_BOOL)
		s = hide(g, n, s, mask);
	if (used && s) {
		if (used->ndim != 1 || used->dim[0] != a->batch || used->dtype != RDU_DT_I64) {
			node_error(g, n, "nonpad_kv_seqlen is %s %s", dtype_name(used->dtype),
				   value_shape_text(g, used));
			return NULL;
		}
		used = graph_reshape(g, n->name, used, 4, dim);
		at = graph_alloc(g, (size_t)(a->keys + 1) * sizeof(*at));
		for (int64_t i = 0; i < a->keys; i++)
			at[i] = i;
		s = hide(g, n, s,
			 graph_op2(g, "Less", graph_format(g, "%.200s.used", n->name),
				   graph_const(g, RDU_DT_I64, 1, &a->keys, at), used));
		first = graph_op2(g, "Sub", graph_format(g, "%.200s.first", n->name), used,
				  graph_const_i(g, a->length));
	}
	return attr_i(n, "is_causal", 0) ? hide_later(g, n, a, s, first) : s;
}

static struct value *softcapped(struct graph *g, struct node *n, struct value *s)
{
	float cap = attr_f(n, "softcap", 0);

	s = graph_op2(g, "Div", graph_format(g, "%.200s.cap", n->name), s,
		      scalar(g, n, cap, s->dtype));
	s = graph_op1(g, "Tanh", graph_format(g, "%.200s.tanh", n->name), s);
	return s ? graph_op2(g, "Mul", graph_format(g, "%.200s.capped", n->name), s,
			     scalar(g, n, cap, s->dtype))
		 : NULL;
}

/*
 * The softmax of scores whose rows may be minus infinity throughout: zeros, not NaN. Minus infinity is
 * the lowest number before it, and 0 after.
 */
static struct value *softmax_of_some(struct graph *g, struct node *n, struct value *s)
{
	const float lowest = s->dtype == RDU_DT_F16    ? -65504
			     : s->dtype == RDU_DT_BF16 ? -0x1.fep127f
						       : -FLT_MAX;
	struct value *none = scalar(g, n, -INFINITY, s->dtype), *y;
	struct value *hidden =
		graph_op2(g, "Equal", graph_format(g, "%.200s.hidden", n->name), s, none);

	s = graph_op2(g, "Max", graph_format(g, "%.200s.finite", n->name), s,
		      scalar(g, n, lowest, s->dtype));
	y = graph_op1(g, "Softmax", graph_format(g, "%.200s.softmax", n->name), s);
	return hidden && y ? graph_op3(g, "Where", graph_format(g, "%.200s.some", n->name), hidden,
				       scalar(g, n, 0, y->dtype), y)
			   : NULL;
}

static int attention_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *stage[4], *y, *root, *mask;
	int64_t mode = attr_i(n, "qk_matmul_output_mode", 0), dim[3];
	struct attention a;

	if (node_float_only(g, n) || attention_get(g, n, &a))
		return -1;
	if (mode < 0 || mode > 3)
		return node_error(g, n, "qk_matmul_output_mode is %lld", (long long)mode);
	root = scalar(g, n, sqrtf(attr_f(n, "scale", 1 / sqrtf((float)a.q->dim[3]))), x->dtype);
	y = graph_op2(g, "Mul", graph_format(g, "%.200s.q", n->name), a.q, root);
	stage[0] = graph_op2(g, "Mul", graph_format(g, "%.200s.k", n->name), a.k, root);
	stage[0] = grouped(g, n, &a, y, transposed(g, n, stage[0], 2, 3));
	mask = mask_of(g, n, &a);
	y = stage[0];
	if (y && mask && mask->dtype != RDU_DT_BOOL)
		y = graph_op2(g, "Add", graph_format(g, "%.200s.bias", n->name), y, mask);
	stage[1] = stage[2] = hide_some(g, n, &a, y, mask);
	/* A number that a mask adds is capped with the score; a key that is not seen stays unseen. */
	if (stage[1] && attr_f(n, "softcap", 0) != 0)
		stage[2] = hide_some(g, n, &a, softcapped(g, n, y), mask);
	if (!stage[2])
		return -1;
	stage[3] = node_in(n, 3) || node_in(n, 6)
			   ? softmax_of_some(g, n, stage[2])
			   : graph_op1(g, "Softmax", graph_format(g, "%.200s.softmax", n->name),
				       stage[2]);
	y = grouped(g, n, &a, stage[3], a.v);
	if (y && x->ndim == 3) {
		dim[0] = a.batch;
		dim[1] = a.length;
		dim[2] = a.heads * y->dim[3];
		y = graph_reshape(g, n->name, transposed(g, n, y, 1, 2), 3, dim);
	}
	if (!y)
		return -1;
	graph_replace(n, 1, a.k);
	graph_replace(n, 2, a.v);
	graph_replace(n, 3, stage[mode]);
	return graph_replace_first(n, y);
}

const struct op ops_attention[] = {
	{ .name = "Attention", .min_in = 3, .max_in = 7, .max_out = 4, .expand = attention_expand },
	{ 0 },
};
