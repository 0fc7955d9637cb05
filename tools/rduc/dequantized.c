// SPDX-License-Identifier: MIT
/*
 * Products of what DequantizeLinear gives, as most tools write a quantized model: of both operands'
 * bytes, and scaled afterwards. What is transposed in between is bytes, too.
 */
#include <string.h>
#include "graph.h"

/* Products of two numbers of at most 255 that int32 holds the sum of. */
#define MOST_TERMS 33025

/* Bytes, their scale and zero point: of each element along `axis`, or one of all (-1). */
struct dequantized {
	struct value *bytes, *scale, *zero;
	int axis;
};

static bool find(const struct value *v, struct dequantized *d)
{
	const struct node *n = v->dequantized;
	int64_t axis = n ? attr_i(n, "axis", 1) : 0;

	if (!n || v->dtype != RDU_DT_F32 || n->in[1]->dtype != RDU_DT_F32 ||
	    attr_i(n, "block_size", 0))
		return false;
	*d = (struct dequantized){ n->in[0], n->in[1], node_in(n, 2), -1 };
	if (value_count(d->scale) != 1)
		d->axis = (int)(axis < 0 ? axis + v->ndim : axis);
	return d->bytes->dtype == RDU_DT_I8 || d->bytes->dtype == RDU_DT_U8;
}

/* Both operands, of which the first has one scale, and the second one or as many as results. */
static bool find_both(const struct graph *g, const struct node *n, int axis, struct dequantized *a,
		      struct dequantized *b)
{
	return g->arrays && !g->trained && find(n->in[0], a) && find(n->in[1], b) && a->axis < 0 &&
	       (b->axis < 0 || b->axis == axis);
}

/* Of a matrix of constants, whatever its size: rows become columns. */
static struct value *turned(struct graph *g, const struct value *v)
{
	int64_t dim[] = { v->dim[1], v->dim[0] };
	struct value *t = graph_const(g, v->dtype, 2, dim, NULL);

	for (int64_t i = 0; i < dim[0]; i++)
		for (int64_t k = 0; k < dim[1]; k++)
			((uint8_t *)t->data)[i * dim[1] + k] = ((uint8_t *)v->data)[k * dim[0] + i];
	return t;
}

/* Sums of products as fp32, times both scales, plus a bias. The result's elements along `axis` have
 * scales of their own, or one. 1, or -1. */
static int scaled(struct graph *g, struct node *n, struct node *products, int axis,
		  const struct dequantized *a, const struct dequantized *b, struct value *bias)
{
	struct value *v = graph_finish(g, products), *s;
	int64_t dim[RDU_MAX_DIMS];

	v = graph_cast(g, graph_format(g, "%.200s.real", n->name), v, RDU_DT_F32);
	if (!v)
		return -1;
	for (int i = 0; i < v->ndim; i++)
		dim[i] = i == axis ? v->dim[i] : 1;
	s = graph_reshape(g, n->name, b->scale, b->axis < 0 ? 0 : v->ndim, dim);
	s = graph_op2(g, "Mul", graph_format(g, "%.200s.scales", n->name), s,
		      graph_reshape(g, n->name, a->scale, 0, dim));
	v = s ? graph_op2(g, "Mul", graph_format(g, "%.200s.scaled", n->name), v, s) : NULL;
	if (bias)
		v = graph_op2(g, "Add", graph_format(g, "%.200s.bias", n->name), v, bias);
	return graph_replace_first(n, v) ? -1 : 1;
}

static struct node *products_of(struct graph *g, const struct node *n, const char *op,
				const struct dequantized *a, const struct dequantized *b)
{
	struct node *m = node_new(g, op, graph_format(g, "%.200s.sums", n->name));

	node_input(g, m, a->bytes);
	node_input(g, m, b->bytes);
	node_input(g, m, a->zero);
	node_input(g, m, b->zero);
	return m;
}

int graph_dequantized_matmul(struct graph *g, struct node *n)
{
	struct dequantized a, b;

	if (!find_both(g, n, n->in[1]->ndim - 1, &a, &b) || a.bytes->ndim < 2 ||
	    b.bytes->ndim < 2 || (b.axis >= 0 && b.bytes->ndim != 2) ||
	    b.bytes->dim[b.bytes->ndim - 2] > MOST_TERMS)
		return 0;
	return scaled(g, n, products_of(g, n, "MatMulInteger", &a, &b), a.bytes->ndim - 1, &a, &b,
		      NULL);
}

int graph_dequantized_gemm(struct graph *g, struct node *n)
{
	bool turn = attr_i(n, "transB", 0);
	struct dequantized a, b;

	if (attr_i(n, "transA", 0) || attr_f(n, "alpha", 1) != 1 || attr_f(n, "beta", 1) != 1 ||
	    n->in[0]->ndim != 2 || n->in[1]->ndim != 2 || !find_both(g, n, !turn, &a, &b) ||
	    n->in[1]->dim[turn] > MOST_TERMS || (turn && (!b.bytes->constant || !b.bytes->data)))
		return 0;
	if (turn)
		b.bytes = turned(g, b.bytes);
	return scaled(g, n, products_of(g, n, "MatMulInteger", &a, &b), 1, &a, &b, node_in(n, 2));
}

int graph_dequantized_conv(struct graph *g, struct node *n)
{
	struct value *bias = node_in(n, 2);
	int64_t dim[RDU_MAX_DIMS];
	struct dequantized a, b;
	struct node *m;

	if (!find_both(g, n, 0, &a, &b) || a.bytes->ndim < 3 ||
	    value_count(b.bytes) > MOST_TERMS * b.bytes->dim[0])
		return 0;
	for (int i = 0; bias && i < a.bytes->ndim; i++)
		dim[i] = i == 1 ? value_count(bias) : 1;
	if (bias)
		bias = graph_reshape(g, n->name, bias, a.bytes->ndim, dim);
	m = products_of(g, n, "ConvInteger", &a, &b);
	m->attrs = n->attrs;
	return scaled(g, n, m, 1, &a, &b, bias);
}

int graph_dequantized_transpose(struct graph *g, struct node *n)
{
	struct dequantized d;
	const int64_t *perm;
	struct node *m;
	int num;

	if (!find(n->in[0], &d) || d.bytes->ndim != 2 || !d.bytes->constant || !d.bytes->data)
		return 0;
	perm = attr_ints(n, "perm", &num);
	if (perm && (num != 2 || perm[0] != 1 || perm[1] != 0))
		return 0;
	m = node_new(g, "DequantizeLinear", n->name);
	node_input(g, m, turned(g, d.bytes));
	node_input(g, m, d.scale);
	node_input(g, m, d.zero);
	node_attr_i(g, m, "axis", d.axis == 0);
	return graph_replace_first(n, graph_finish(g, m)) ? -1 : 1;
}
