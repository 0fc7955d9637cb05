// SPDX-License-Identifier: MIT
/*
 * Products of two tensors: Gemm, MatMul, Einsum, and Contract, which is what
 * they and their gradients are. A contraction labels each dimension of both
 * operands and the result; labels that the result lacks are summed over; label
 * -1 is a dimension of extent 1 that is broadcast. The gradient of a contraction
 * to one operand is the contraction of the result's gradient with the other.
 */
#include <ctype.h>
#include <string.h>
#include "graph.h"

#define MAX_LABELS NEST_MAX_DIMS
_Static_assert(MAX_LABELS <= 10, "label_name() has as many names");

struct contraction {
	int na, nb, ny;
	int64_t a[RDU_MAX_DIMS], b[RDU_MAX_DIMS], y[RDU_MAX_DIMS];
	float scale, beta;
	struct value *bias; /* broadcast over the result; NULL: none */
};

static const char *label_name(const struct contraction *t, int num, int label)
{
	static const char *const many[] = { "i0", "i1", "i2", "i3", "i4",
					    "i5", "i6", "i7", "i8", "i9" };

	/* The usual matrix product: m and n last in the result, k reduced. */
	if (t->ny >= 2 && label == t->y[t->ny - 2])
		return "m";
	if (t->ny >= 1 && label == t->y[t->ny - 1])
		return "n";
	for (int i = 0; i < t->ny; i++)
		if (t->y[i] == label)
			return many[label];
	return label == num - 1 ? "k" : many[label];
}

static bool has_label(int num, const int64_t *labels, int label)
{
	for (int i = 0; i < num; i++)
		if (labels[i] == label)
			return true;
	return false;
}

/* Are the elements of b words of ternary weights, 16 along k in each, where those of a are bytes? */
static bool is_ternary(const struct value *a, const struct value *b)
{
	return (a->dtype == RDU_DT_I8 || a->dtype == RDU_DT_U8) && b->dtype == RDU_DT_I32;
}

static int contract_pattern(struct lower *l, struct node *n, const struct contraction *t)
{
	struct nest *nest = lower_nest(l, n, NULL);
	struct value *a = n->in[0], *b = n->in[1];
	bool bytes = dtype_is_int(a->dtype), ternary = is_ternary(a, b);
	int64_t extent[MAX_LABELS]; /* -1: no such label */
	int dim[MAX_LABELS], in, e, num = 0, place = -1;

	memset(extent, -1, sizeof(extent));
	for (int i = 0; i < t->na; i++)
		if (t->a[i] >= 0)
			extent[t->a[i]] = a->dim[i];
	for (int i = 0; i < t->nb; i++)
		if (t->b[i] >= 0)
			extent[t->b[i]] = b->dim[i];
	for (int i = 0; i < MAX_LABELS; i++)
		if (extent[i] >= 0)
			num = i + 1;
	for (int i = 0; i < t->ny; i++)
		if (t->y[i] >= 0)
			dim[t->y[i]] = nest_dim(nest, label_name(t, num, (int)t->y[i]),
						extent[t->y[i]], false);
	if (!nest->ndim)
		nest_dim(nest, "one", 1, false);
	for (int i = 0; i < num; i++)
		if (extent[i] >= 0 && !has_label(t->ny, t->y, i)) {
			dim[i] = nest_dim(nest, label_name(t, num, i), extent[i], true);
			if (dim[i] < 0)
				return node_error(l->graph, n, "too many dimensions");
			nest->reduce = bytes ? REDUCE_IADD : REDUCE_ADD;
		}
	nest_input(nest, lower_value(l, a));
	for (int i = 0; i < t->na; i++)
		if (t->a[i] >= 0)
			nest->in[0].coef[i][dim[t->a[i]]] = 1;
	if (ternary) { /* along k, the last of a */
		place = nest_dim(nest, "place", 16, true);
		nest->in[0].coef[t->na - 1][dim[t->a[t->na - 1]]] = 16;
		nest->in[0].coef[t->na - 1][place] = 1;
		nest->in[0].guarded = a->dim[t->na - 1] % 16;
	}
	nest_input(nest, lower_value(l, b));
	for (int i = 0; i < t->nb; i++)
		if (t->b[i] >= 0)
			nest->in[1].coef[i][dim[t->b[i]]] = 1;
	e = ternary ? nest_ternary(nest, 1, place) : nest_in(nest, 1);
	e = nest_op(nest, bytes ? RDU_SIMD_IMUL : RDU_SIMD_FMUL, nest_in(nest, 0), e, -1);
	if (nest->reduce) {
		nest->body = e;
		e = nest_red(nest);
	}
	if (t->scale != 1)
		e = nest_op(nest, RDU_SIMD_FMUL, e, nest_imm_f(nest, t->scale), -1);
	if (t->bias && t->beta != 0) {
		int d[RDU_MAX_DIMS], c;

		in = nest_input(nest, lower_value(l, t->bias));
		for (int i = 0; i < t->ny; i++)
			d[i] = dim[t->y[i]];
		access_broadcast(&nest->in[in], t->ny, d);
		c = nest_in(nest, in);
		if (t->beta != 1)
			c = nest_op(nest, RDU_SIMD_FMUL, c, nest_imm_f(nest, t->beta), -1);
		e = nest_op(nest, RDU_SIMD_FADD, e, c, -1);
	}
	nest_output(nest, lower_value(l, n->out[0]), e);
	for (int i = 0; i < t->ny; i++)
		if (t->y[i] >= 0)
			nest->out[0].access.coef[i][dim[t->y[i]]] = 1;
	return lower_done(l, n, nest);
}

static struct value *contract_node(struct graph *g, const char *name, const struct op *of,
				   struct value *a, int na, const int64_t *la, struct value *b,
				   int nb, const int64_t *lb, struct value *like, int ny,
				   const int64_t *ly, float scale)
{
	struct node *n = node_new(g, "Contract", name);

	n->of = of;
	node_input(g, n, a);
	node_input(g, n, b);
	node_attr_ints(g, n, "a", na, la);
	node_attr_ints(g, n, "b", nb, lb);
	node_attr_ints(g, n, "y", ny, ly);
	node_attr_ints(g, n, "shape", like->ndim, like->dim);
	node_attr_f(g, n, "scale", scale);
	return graph_finish(g, n);
}

static int contract_gradient(struct graph *g, struct node *n, const struct contraction *t)
{
	struct value *a = n->in[0], *b = n->in[1], *gy = n->out[0]->grad, *d;

	if (a->needs_grad) {
		d = contract_node(g, graph_format(g, "%.200s.grad0", n->name), n->op, gy, t->ny,
				  t->y, b, t->nb, t->b, a, t->na, t->a, t->scale);
		if (!d || graph_add_grad(g, a, d))
			return -1;
	}
	if (b->needs_grad) {
		d = contract_node(g, graph_format(g, "%.200s.grad1", n->name), n->op, a, t->na,
				  t->a, gy, t->ny, t->y, b, t->nb, t->b, t->scale);
		if (!d || graph_add_grad(g, b, d))
			return -1;
	}
	if (t->bias && t->bias->needs_grad) {
		struct node *s = node_new(g, "SumTo", graph_format(g, "%.200s.grad2", n->name));

		s->of = n->op;
		node_input(g, s, gy);
		node_attr_ints(g, s, "shape", t->bias->ndim, t->bias->dim);
		node_attr_f(g, s, "scale", t->beta);
		if (grad_finish(g, s, t->bias))
			return -1;
	}
	return 0;
}

static int check_floats(struct graph *g, struct node *n)
{
	for (int i = 0; i < n->num_in; i++)
		if (n->in[i] && dtype_is_int(n->in[i]->dtype))
			return node_error(g, n, "not supported for %s",
					  dtype_name(n->in[i]->dtype));
	return 0;
}

/* ---- Gemm --------------------------------------------------------------------- */

static void gemm_contraction(const struct node *n, struct contraction *t)
{
	bool ta = attr_i(n, "transA", 0), tb = attr_i(n, "transB", 0);

	*t = (struct contraction){
		.na = 2,
		.nb = 2,
		.ny = 2,
		.a = { ta ? 2 : 0, ta ? 0 : 2 },
		.b = { tb ? 1 : 2, tb ? 2 : 1 },
		.y = { 0, 1 },
		.scale = attr_f(n, "alpha", 1),
		.beta = attr_f(n, "beta", 1),
		.bias = node_in(n, 2),
	};
}

static int gemm_infer(struct graph *g, struct node *n)
{
	struct value *a = n->in[0], *b = n->in[1], *c = node_in(n, 2);
	bool ta = attr_i(n, "transA", 0), tb = attr_i(n, "transB", 0);
	int64_t dim[RDU_MAX_DIMS];
	int ndim;

	if (check_floats(g, n))
		return -1;
	if (a->ndim != 2 || b->ndim != 2)
		return node_error(g, n, "its operands are not matrices");
	if (a->dim[!ta] != b->dim[tb])
		return node_error(g, n, "shapes %s%s and %s%s do not fit", value_shape_text(g, a),
				  ta ? "^T" : "", value_shape_text(g, b), tb ? "^T" : "");
	dim[0] = a->dim[ta];
	dim[1] = b->dim[!tb];
	if (c && (!broadcast_dims(2, dim, c->ndim, c->dim, &ndim, dim) || ndim != 2 ||
		  dim[0] != a->dim[ta] || dim[1] != b->dim[!tb]))
		return node_error(g, n, "C has shape %s", value_shape_text(g, c));
	return node_shape(g, n, 0, a->dtype, 2, dim);
}

static int gemm_pattern(struct lower *l, struct node *n)
{
	struct contraction t;

	gemm_contraction(n, &t);
	return contract_pattern(l, n, &t);
}

static int gemm_gradient(struct graph *g, struct node *n)
{
	struct contraction t;

	gemm_contraction(n, &t);
	return contract_gradient(g, n, &t);
}

/* ---- MatMul -------------------------------------------------------------------- */

static int matmul_contraction(struct graph *g, const struct node *n, struct contraction *t,
			      int64_t *dim)
{
	struct value *a = n->in[0], *b = n->in[1];
	int na = a->ndim > 2 ? a->ndim - 2 : 0, nb = b->ndim > 2 ? b->ndim - 2 : 0, batch, k;
	int64_t terms;

	*t = (struct contraction){ .na = a->ndim, .nb = b->ndim, .scale = 1 };
	if (!a->ndim || !b->ndim)
		return node_error(g, n, "an operand is a scalar");
	if (!broadcast_dims(na, a->dim, nb, b->dim, &batch, dim) || batch + 3 > MAX_LABELS)
		return node_error(g, n, "shapes %s and %s do not fit", value_shape_text(g, a),
				  value_shape_text(g, b));
	k = batch + 2;
	for (int i = 0; i < batch; i++)
		t->y[t->ny++] = i;
	for (int i = 0; i < na; i++)
		t->a[i] = a->dim[i] == 1 ? -1 : batch - na + i;
	for (int i = 0; i < nb; i++)
		t->b[i] = b->dim[i] == 1 ? -1 : batch - nb + i;
	for (int i = 0; i < batch; i++)
		if (dim[i] == 1)
			t->y[i] = -1;
	t->a[a->ndim - 1] = k;
	t->b[b->ndim > 1 ? b->ndim - 2 : 0] = k;
	terms = a->dim[a->ndim - 1];
	if (is_ternary(a, b))
		terms = (terms + 15) / 16;
	if (terms != b->dim[b->ndim > 1 ? b->ndim - 2 : 0])
		return node_error(g, n, "shapes %s and %s do not fit", value_shape_text(g, a),
				  value_shape_text(g, b));
	if (a->ndim > 1) {
		t->a[a->ndim - 2] = batch;
		dim[t->ny] = a->dim[a->ndim - 2];
		t->y[t->ny++] = batch;
	}
	if (b->ndim > 1) {
		t->b[b->ndim - 1] = batch + 1;
		dim[t->ny] = b->dim[b->ndim - 1];
		t->y[t->ny++] = batch + 1;
	}
	return 0;
}

static int matmul_infer(struct graph *g, struct node *n)
{
	int64_t dim[RDU_MAX_DIMS + 2];
	struct contraction t;

	if (check_floats(g, n) || matmul_contraction(g, n, &t, dim))
		return -1;
	return node_shape(g, n, 0, n->in[0]->dtype, t.ny, dim);
}

static int infer_as(struct graph *g, struct node *n, enum rdu_dtype dtype)
{
	int64_t dim[RDU_MAX_DIMS + 2];
	struct contraction t;

	if (matmul_contraction(g, n, &t, dim))
		return -1;
	return node_shape(g, n, 0, dtype, t.ny, dim);
}

/* Of int8 and uint8, in any mixture, to int32. */
static int byte_matmul_infer(struct graph *g, struct node *n)
{
	return infer_as(g, n, RDU_DT_I32);
}

/* Of whole numbers that bf16 and fp32 hold, to fp32. */
static int whole_matmul_infer(struct graph *g, struct node *n)
{
	return infer_as(g, n, RDU_DT_F32);
}

static int matmul_pattern(struct lower *l, struct node *n)
{
	int64_t dim[RDU_MAX_DIMS + 2];
	struct contraction t;

	if (matmul_contraction(l->graph, n, &t, dim))
		return -1;
	return contract_pattern(l, n, &t);
}

static int matmul_gradient(struct graph *g, struct node *n)
{
	int64_t dim[RDU_MAX_DIMS + 2];
	struct contraction t;

	if (matmul_contraction(g, n, &t, dim))
		return -1;
	return contract_gradient(g, n, &t);
}

/* ---- Einsum -------------------------------------------------------------------- */

/* Two operands, every letter at most once in each, an explicit result. */
static int einsum_contraction(struct graph *g, const struct node *n, struct contraction *t,
			      int64_t *extent)
{
	const char *s = attr_s(n, "equation", "");
	int label[256], num = 0, part = 0;
	int64_t *labels[3] = { t->a, t->b, t->y };
	int *count[3] = { &t->na, &t->nb, &t->ny };

	*t = (struct contraction){ .scale = 1 };
	memset(label, -1, sizeof(label));
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == ' ')
			continue;
		if (c == ',' && part == 0) {
			part = 1;
		} else if (c == '-' && s[1] == '>' && part == 1) {
			part = 2;
			s++;
		} else if (isalpha(c) && *count[part] < RDU_MAX_DIMS) {
			if (label[c] < 0 && (part == 2 || num == MAX_LABELS))
				goto bad;
			if (label[c] < 0)
				label[c] = num++;
			if (has_label(*count[part], labels[part], label[c]))
				goto bad;
			labels[part][(*count[part])++] = label[c];
		} else {
			goto bad;
		}
	}
	if (part != 2 || t->na != n->in[0]->ndim || t->nb != n->in[1]->ndim)
		goto bad;
	memset(extent, -1, MAX_LABELS * sizeof(*extent));
	for (int i = 0; i < t->na; i++)
		extent[t->a[i]] = n->in[0]->dim[i];
	for (int i = 0; i < t->nb; i++) {
		if (extent[t->b[i]] >= 0 && extent[t->b[i]] != n->in[1]->dim[i])
			goto bad;
		extent[t->b[i]] = n->in[1]->dim[i];
	}
	return 0;
bad:
	return node_error(g, n, "equation '%.60s' with shapes %s and %s is not supported",
			  attr_s(n, "equation", ""), value_shape_text(g, n->in[0]),
			  value_shape_text(g, n->in[1]));
}

/* What is not plain becomes what is. */
static int einsum_rewrite(struct graph *g, struct node *n)
{
	int64_t extent[MAX_LABELS];
	struct contraction t;

	if (attr_i(n, "plain", 0) || (n->num_in == 2 && !dtype_is_int(n->in[0]->dtype) &&
				      !einsum_contraction(g, n, &t, extent)))
		return 0;
	return graph_einsum(g, n);
}

static int einsum_infer(struct graph *g, struct node *n)
{
	int64_t extent[MAX_LABELS], dim[RDU_MAX_DIMS];
	struct contraction t;

	if (check_floats(g, n) || einsum_contraction(g, n, &t, extent))
		return -1;
	for (int i = 0; i < t.ny; i++)
		dim[i] = extent[t.y[i]];
	return node_shape(g, n, 0, n->in[0]->dtype, t.ny, dim);
}

static int einsum_pattern(struct lower *l, struct node *n)
{
	int64_t extent[MAX_LABELS];
	struct contraction t;

	if (einsum_contraction(l->graph, n, &t, extent))
		return -1;
	return contract_pattern(l, n, &t);
}

static int einsum_gradient(struct graph *g, struct node *n)
{
	int64_t extent[MAX_LABELS];
	struct contraction t;

	if (einsum_contraction(g, n, &t, extent))
		return -1;
	/* A letter of one operand alone: its gradient would be broadcast. */
	for (int i = 0; i < t.na + t.nb; i++) {
		int label = (int)(i < t.na ? t.a[i] : t.b[i - t.na]);

		if (has_label(t.na, t.a, label) + has_label(t.nb, t.b, label) +
			    has_label(t.ny, t.y, label) <
		    2)
			return node_error(g, n, "no gradient: a letter is in one operand only");
	}
	return contract_gradient(g, n, &t);
}

/* ---- Contract (internal) -------------------------------------------------------- */

static void contract_attrs(const struct node *n, struct contraction *t)
{
	const int64_t *p;

	memset(t, 0, sizeof(*t));
	p = attr_ints(n, "a", &t->na);
	memcpy(t->a, p, t->na * sizeof(*p));
	p = attr_ints(n, "b", &t->nb);
	memcpy(t->b, p, t->nb * sizeof(*p));
	p = attr_ints(n, "y", &t->ny);
	memcpy(t->y, p, t->ny * sizeof(*p));
	t->scale = attr_f(n, "scale", 1);
}

static int contract_infer(struct graph *g, struct node *n)
{
	int ndim;
	const int64_t *dim = attr_ints(n, "shape", &ndim);

	return node_shape(g, n, 0, RDU_DT_F32, ndim, dim);
}

static int contract_node_pattern(struct lower *l, struct node *n)
{
	struct contraction t;

	contract_attrs(n, &t);
	return contract_pattern(l, n, &t);
}

/* Of integers of 32 and 64 bits: all products, and their sums, as the type has them. */
static int integer_matmul(struct graph *g, struct node *n)
{
	struct value *a = n->in[0], *b = n->in[1], *v;
	int64_t left[RDU_MAX_DIMS], right[RDU_MAX_DIMS], axis, out[RDU_MAX_DIMS], all[RDU_MAX_DIMS];
	int na = a->ndim + (a->ndim == 1), nb = b->ndim + (b->ndim == 1), ndim;

	if (!a->ndim || !b->ndim || na >= RDU_MAX_DIMS || nb >= RDU_MAX_DIMS)
		return node_error(g, n, "not supported for %s and %s", value_shape_text(g, a),
				  value_shape_text(g, b));
	/* [.., m, k, 1] and [.., 1, k, n]; of a vector m or n is 1, and goes afterwards. */
	memcpy(left + (a->ndim == 1), a->dim, (size_t)a->ndim * sizeof(*left));
	left[0] = a->ndim == 1 ? 1 : left[0];
	left[na] = 1;
	memcpy(right, b->dim, (size_t)b->ndim * sizeof(*right));
	right[nb - 1] = b->ndim == 1 ? 1 : right[nb - 1];
	memmove(right + nb - 1, right + nb - 2, 2 * sizeof(*right));
	right[nb - 2] = 1;
	if (left[na - 1] != right[nb - 1] ||
	    !broadcast_dims(na + 1, left, nb + 1, right, &ndim, all))
		return node_error(g, n, "shapes %s and %s do not fit", value_shape_text(g, a),
				  value_shape_text(g, b));
	if (dims_count(ndim, all) < 0 || dims_count(ndim, all) > MOST_INTEGER_PRODUCTS)
		return node_error(g, n, "more than 2^22 products of %s are not supported",
				  dtype_name(a->dtype));
	a = graph_reshape(g, n->name, a, na + 1, left);
	b = graph_reshape(g, n->name, b, nb + 1, right);
	v = a && b ? graph_op2(g, "Mul", graph_format(g, "%.200s.products", n->name), a, b) : NULL;
	axis = ndim - 2;
	v = v ? graph_reduce(g, "ReduceSum", graph_format(g, "%.200s.sums", n->name), v, 1, &axis,
			     0)
	      : NULL;
	if (!v)
		return -1;
	ndim = v->ndim;
	memcpy(out, v->dim, (size_t)ndim * sizeof(*out));
	if (n->in[0]->ndim == 1) { /* the last but one */
		out[ndim - 2] = out[ndim - 1];
		ndim--;
	}
	ndim -= n->in[1]->ndim == 1;
	return graph_replace_first(n, graph_reshape(g, n->name, v, ndim, out)) ? -1 : 1;
}

/* Gemm of such integers, whose factors are 1: transposed, multiplied, added. */
static int integer_gemm(struct graph *g, struct node *n)
{
	struct value *c = node_in(n, 2), *v[2], *y;

	if (attr_f(n, "alpha", 1) != 1 || (c && attr_f(n, "beta", 1) != 1))
		return node_error(g, n, "of %s it is supported with alpha and beta 1",
				  dtype_name(n->in[0]->dtype));
	for (int i = 0; i < 2; i++) {
		v[i] = n->in[i];
		if (v[i]->ndim != 2)
			return node_error(g, n, "'%s' has shape %s, not two dimensions", v[i]->name,
					  value_shape_text(g, v[i]));
		if (attr_i(n, i ? "transB" : "transA", 0))
			v[i] = graph_op1(g, "Transpose", graph_format(g, "%.200s.turned", n->name),
					 v[i]);
	}
	y = v[0] && v[1]
		    ? graph_op2(g, "MatMul", graph_format(g, "%.200s.product", n->name), v[0], v[1])
		    : NULL;
	v[0] = y;
	y = y && c ? graph_op2(g, "Add", n->name, y, c) : y;
	if (y && !value_same_shape(y, v[0]))
		return node_error(g, n, "C has shape %s, the product %s", value_shape_text(g, c),
				  value_shape_text(g, v[0]));
	return graph_replace_first(n, y) ? -1 : 1;
}

static bool wide_integers(const struct value *a, const struct value *b)
{
	enum rdu_dtype t = a->dtype;

	return t == b->dtype &&
	       (t == RDU_DT_I32 || t == RDU_DT_U32 || t == RDU_DT_I64 || t == RDU_DT_U64);
}

static int gemm_rewrite(struct graph *g, struct node *n)
{
	int r;

	if (wide_integers(n->in[0], n->in[1]))
		return integer_gemm(g, n);
	r = graph_dequantized_gemm(g, n);
	return r ? r : graph_sparse_gemm(g, n);
}

static int matmul_rewrite(struct graph *g, struct node *n)
{
	int r = graph_dequantized_matmul(g, n);

	r = r ? r : graph_ternary_matmul(g, n);
	r = r ? r : graph_scaled_matmul(g, n);
	if (!r && wide_integers(n->in[0], n->in[1]))
		return integer_matmul(g, n);
	return r ? r : graph_sparse_matmul(g, n);
}

const struct op ops_matmul[] = {
	{ .name = "Gemm",
	  .min_in = 2,
	  .max_in = 3,
	  .max_out = 1,
	  .rewrite = gemm_rewrite,
	  .infer = gemm_infer,
	  .gradient = gemm_gradient,
	  .pattern = gemm_pattern },
	{ .name = "MatMul",
	  .min_in = 2,
	  .max_in = 2,
	  .max_out = 1,
	  .rewrite = matmul_rewrite,
	  .infer = matmul_infer,
	  .gradient = matmul_gradient,
	  .pattern = matmul_pattern },
	{ .name = "WholeMatMul",
	  .min_in = 2,
	  .max_in = 2,
	  .max_out = 1,
	  .internal = true,
	  .infer = whole_matmul_infer,
	  .gradient = matmul_gradient,
	  .pattern = matmul_pattern },
	/* Of int8 and uint8, in any mixture, or of these and words of ternary weights, to int32. */
	{ .name = "ByteMatMul",
	  .min_in = 2,
	  .max_in = 2,
	  .max_out = 1,
	  .internal = true,
	  .infer = byte_matmul_infer,
	  .stop_gradient = true,
	  .pattern = matmul_pattern },
	{ .name = "Einsum",
	  .min_in = 1,
	  .max_in = -1,
	  .max_out = 1,
	  .rewrite = einsum_rewrite,
	  .infer = einsum_infer,
	  .gradient = einsum_gradient,
	  .pattern = einsum_pattern },
	{ .name = "Contract",
	  .min_in = 2,
	  .max_in = 2,
	  .max_out = 1,
	  .internal = true,
	  .infer = contract_infer,
	  .pattern = contract_node_pattern },
	{ 0 },
};
