// SPDX-License-Identifier: MIT
/*
 * Reductions over axes, and softmax.
 */
#include <math.h>
#include <string.h>
#include "graph.h"

enum reduce_kind { RED_SUM, RED_MEAN, RED_MAX, RED_MIN, RED_SQUARE, RED_L1, RED_L2, RED_LOGSUM };

static enum reduce_kind reduce_kind(const struct node *n)
{
	static const char *const names[] = { "ReduceSum", "ReduceMean",	     "ReduceMax",
					     "ReduceMin", "ReduceSumSquare", "ReduceL1",
					     "ReduceL2",  "ReduceLogSum" };

	for (int i = 0; i < 8; i++)
		if (!strcmp(n->op->name, names[i]))
			return (enum reduce_kind)i;
	return RED_SUM;
}

/* mask bit i: axis i is reduced. */
static int reduce_axes(struct graph *g, struct node *n, unsigned int *mask)
{
	int num, ndim = n->in[0]->ndim;
	const int64_t *axes = attr_ints(n, "axes", &num);

	if (!axes && node_in(n, 1)) {
		axes = node_const_ints(g, n, 1, &num);
		if (!axes)
			return -1;
	}
	*mask = 0;
	for (int i = 0; i < num; i++) {
		int64_t a = axes[i] < 0 ? axes[i] + ndim : axes[i];

		if (a < 0 || a >= ndim)
			return node_error(g, n, "axis %lld of %d dimensions", (long long)axes[i],
					  ndim);
		*mask |= 1u << a;
	}
	if (!num && !attr_i(n, "noop_with_empty_axes", 0))
		*mask = (1u << ndim) - 1;
	return 0;
}

/* Nest dimensions of x: kept ones first, then those reduced. */
static int reduce_dims(struct nest *nest, const struct value *x, unsigned int mask, int *dim)
{
	bool reduces = false;

	for (int i = 0; i < x->ndim; i++)
		if (!(mask >> i & 1))
			dim[i] = nest_dim(nest, axis_name(x->ndim, i), x->dim[i], false);
	if (!nest->ndim && x->ndim < NEST_MAX_DIMS)
		nest_dim(nest, "one", 1, false);
	for (int i = 0; i < x->ndim; i++)
		if (mask >> i & 1) {
			dim[i] = nest_dim(nest, axis_name(x->ndim, i), x->dim[i], true);
			reduces = true;
		}
	return reduces;
}

static void access_all(struct access *a, int ndim, const int *dim)
{
	for (int i = 0; i < ndim; i++)
		a->coef[i][dim[i]] = 1;
}

/* Of the reduced tensor, with or without the dimensions of extent 1. */
static void access_kept(struct access *a, int ndim, const int *dim, unsigned int mask)
{
	bool keep = a->tensor->ndim == ndim;
	int t = 0;

	for (int i = 0; i < ndim; i++) {
		if (!(mask >> i & 1))
			a->coef[t][dim[i]] = 1;
		if (keep || !(mask >> i & 1))
			t++;
	}
}

static int reduced_shape(const struct value *x, unsigned int mask, bool keep, int64_t *dim)
{
	int n = 0;

	for (int i = 0; i < x->ndim; i++)
		if (!(mask >> i & 1))
			dim[n++] = x->dim[i];
		else if (keep)
			dim[n++] = 1;
	return n;
}

static int64_t reduced_count(const struct value *x, unsigned int mask)
{
	int64_t n = 1;

	for (int i = 0; i < x->ndim; i++)
		if (mask >> i & 1)
			n *= x->dim[i];
	return n;
}

int node_float_only(struct graph *g, struct node *n)
{
	if (dtype_is_int(n->in[0]->dtype))
		return node_error(g, n, "not supported for %s", dtype_name(n->in[0]->dtype));
	return 0;
}

static int reduce_infer(struct graph *g, struct node *n)
{
	int64_t dim[RDU_MAX_DIMS];
	unsigned int mask;
	int ndim;

	if (node_float_only(g, n) || reduce_axes(g, n, &mask))
		return -1;
	ndim = reduced_shape(n->in[0], mask, attr_i(n, "keepdims", 1), dim);
	return node_shape(g, n, 0, n->in[0]->dtype, ndim, dim);
}

static int reduce_pattern(struct lower *l, struct node *n)
{
	enum reduce_kind kind = reduce_kind(n);
	struct nest *nest = lower_nest(l, n, NULL);
	struct value *x = n->in[0];
	int dim[RDU_MAX_DIMS], e;
	unsigned int mask;

	if (reduce_axes(l->graph, n, &mask))
		return -1;
	nest_input(nest, lower_value(l, x));
	e = nest_in(nest, 0);
	if (kind == RED_SQUARE || kind == RED_L2)
		e = nest_op(nest, RDU_SIMD_FMUL, e, e, -1);
	else if (kind == RED_L1)
		e = nest_op(nest, RDU_SIMD_FABS, e, -1, -1);
	if (reduce_dims(nest, x, mask, dim)) {
		nest->reduce = kind == RED_MAX	 ? REDUCE_MAX
			       : kind == RED_MIN ? REDUCE_MIN
						 : REDUCE_ADD;
		nest->body = e;
		e = nest_red(nest);
	}
	access_all(&nest->in[0], x->ndim, dim);
	if (kind == RED_MEAN)
		e = nest_op(nest, RDU_SIMD_FMUL, e,
			    nest_imm_f(nest, (float)(1.0 / reduced_count(x, mask))), -1);
	else if (kind == RED_L2)
		e = nest_op(nest, RDU_SIMD_SQRT, e, -1, -1);
	else if (kind == RED_LOGSUM)
		e = nest_op(nest, RDU_SIMD_LOG, e, -1, -1);
	nest_output(nest, lower_value(l, n->out[0]), e);
	access_kept(&nest->out[0].access, x->ndim, dim, mask);
	return lower_done(l, n, nest);
}

static int reduce_gradient(struct graph *g, struct node *n)
{
	struct node *m = grad_node(g, n, "ReduceGrad");

	if (!n->in[0]->needs_grad)
		return 0;
	node_input(g, m, n->in[0]);
	node_input(g, m, n->out[0]);
	node_input(g, m, n->out[0]->grad);
	return grad_finish(g, m, n->in[0]);
}

static int like_first_infer(struct graph *g, struct node *n)
{
	return node_shape(g, n, 0, RDU_DT_F32, n->in[0]->ndim, n->in[0]->dim);
}

/* An input made when first used: a tensor nobody reads is not kept. */
static int kept(struct lower *l, struct nest *nest, struct value *v, int ndim, const int *dim,
		unsigned int mask)
{
	int k = nest_input(nest, lower_value(l, v));

	access_kept(&nest->in[k], ndim, dim, mask);
	return nest_in(nest, k);
}

#define OP(op, a, b, c) nest_op(nest, RDU_SIMD_##op, a, b, c)

/* What each of the elements that equal the extreme value gets: gradient / their number. */
static struct tensor *reduce_shares(struct lower *l, struct node *n, unsigned int mask)
{
	struct value *x = n->in[0], *y = n->in[1];
	struct nest *nest = lower_nest(l, n, "share");
	struct tensor *t = lower_temp(l, n, "share", RDU_DT_F32, y->ndim, y->dim);
	int dim[RDU_MAX_DIMS], ye, gy, e;
	bool reduces = reduce_dims(nest, x, mask, dim);

	e = kept(l, nest, x, x->ndim, dim, 0);
	ye = kept(l, nest, y, x->ndim, dim, mask);
	gy = kept(l, nest, n->in[2], x->ndim, dim, mask);
	e = OP(SELECT, OP(FEQ, e, ye, -1), nest_imm_f(nest, 1), nest_imm_f(nest, 0));
	if (reduces) {
		nest->reduce = REDUCE_ADD;
		nest->body = e;
		e = nest_red(nest);
	}
	nest_output(nest, t, OP(FMUL, gy, OP(RECIP, e, -1, -1), -1));
	access_kept(&nest->out[0].access, x->ndim, dim, mask);
	return lower_done(l, n, nest) ? NULL : t;
}

static int reduce_grad_pattern(struct lower *l, struct node *n)
{
	struct value *x = n->in[0], *y = n->in[1];
	int dim[RDU_MAX_DIMS], gy, k, e = -1, xe = -1;
	enum reduce_kind kind = reduce_kind(n->of_node);
	struct tensor *g = lower_value(l, n->in[2]);
	unsigned int mask;
	struct nest *nest;

	if (reduce_axes(l->graph, n->of_node, &mask))
		return -1;
	if (kind == RED_MAX || kind == RED_MIN)
		g = reduce_shares(l, n, mask);
	if (!g)
		return -1;
	nest = lower_nest(l, n, NULL);
	for (int i = 0; i < x->ndim; i++)
		dim[i] = nest_dim(nest, axis_name(x->ndim, i), x->dim[i], false);
	k = nest_input(nest, g);
	access_kept(&nest->in[k], x->ndim, dim, mask);
	gy = nest_in(nest, k);
	if (kind != RED_SUM && kind != RED_MEAN && kind != RED_LOGSUM)
		xe = kept(l, nest, x, x->ndim, dim, 0);
#define KEPT kept(l, nest, y, x->ndim, dim, mask)
	switch (kind) {
	case RED_SUM:
		e = gy;
		break;
	case RED_MEAN:
		e = OP(FMUL, gy, nest_imm_f(nest, (float)(1.0 / reduced_count(x, mask))), -1);
		break;
	case RED_MAX:
	case RED_MIN:
		/* A NaN equals nothing: then the share is infinite and the others get NaN. */
		e = OP(SELECT, OP(FEQ, xe, KEPT, -1), gy, OP(FMUL, gy, nest_imm_f(nest, 0), -1));
		break;
	case RED_SQUARE:
		e = OP(FMUL, gy, OP(FMUL, nest_imm_f(nest, 2), xe, -1), -1);
		break;
	case RED_L1:
		e = OP(SELECT, OP(FLT, xe, nest_imm_f(nest, 0), -1), OP(FNEG, gy, -1, -1),
		       OP(SELECT, OP(FLT, nest_imm_f(nest, 0), xe, -1), gy, nest_imm_f(nest, 0)));
		break;
	case RED_L2:
		k = KEPT;
		e = OP(FMUL, gy, OP(FMUL, xe, OP(RECIP, k, -1, -1), -1), -1);
		e = OP(SELECT, OP(FEQ, k, nest_imm_f(nest, 0), -1), nest_imm_f(nest, 0), e);
		break;
	case RED_LOGSUM:
		e = OP(FMUL, gy, OP(EXP, OP(FNEG, KEPT, -1, -1), -1, -1), -1);
		break;
	}
	nest_output(nest, lower_value(l, n->out[0]), e);
	access_all(&nest->out[0].access, x->ndim, dim);
	return lower_done(l, n, nest);
}

/* Sum of a tensor over what a smaller one was broadcast to, times scale. */
static int sum_to_infer(struct graph *g, struct node *n)
{
	int ndim;
	const int64_t *dim = attr_ints(n, "shape", &ndim);

	return node_shape(g, n, 0, RDU_DT_F32, ndim, dim);
}

static int sum_to_pattern(struct lower *l, struct node *n)
{
	struct value *x = n->in[0], *y = n->out[0];
	struct nest *nest = lower_nest(l, n, NULL);
	float scale = attr_f(n, "scale", 1);
	unsigned int mask = 0;
	int dim[RDU_MAX_DIMS], e;

	for (int i = 0; i < x->ndim; i++) {
		int t = i - (x->ndim - y->ndim);

		if (x->dim[i] != 1 && (t < 0 || y->dim[t] == 1))
			mask |= 1u << i;
	}
	nest_input(nest, lower_value(l, x));
	e = nest_in(nest, 0);
	if (reduce_dims(nest, x, mask, dim)) {
		nest->reduce = REDUCE_ADD;
		nest->body = e;
		e = nest_red(nest);
	}
	access_all(&nest->in[0], x->ndim, dim);
	if (scale != 1)
		e = nest_op(nest, RDU_SIMD_FMUL, e, nest_imm_f(nest, scale), -1);
	nest_output(nest, lower_value(l, y), e);
	access_broadcast(&nest->out[0].access, x->ndim, dim);
	return lower_done(l, n, nest);
}

/* ---- softmax ---------------------------------------------------------------------------- */

static int softmax_axes(struct graph *g, struct node *n, const struct value *x, unsigned int *mask)
{
	bool matrix = g->opset < 13 && !node_attr(n, "one_axis");
	int64_t axis = attr_i(n, "axis", g->opset < 13 ? 1 : -1);

	if (axis < 0)
		axis += x->ndim;
	if (axis < 0 || axis >= x->ndim)
		return node_error(g, n, "axis is out of range");
	/* Before opset 13 the input was taken as a matrix, cut at the axis. */
	*mask = matrix ? ((1u << x->ndim) - 1) & ~((1u << axis) - 1) : 1u << axis;
	return 0;
}

static int softmax_infer(struct graph *g, struct node *n)
{
	unsigned int mask;

	if (node_float_only(g, n) || softmax_axes(g, n, n->in[0], &mask))
		return -1;
	return node_shape(g, n, 0, n->in[0]->dtype, n->in[0]->ndim, n->in[0]->dim);
}

/* One nest: reduce over mask of x alone, or of e^(x - m); into a new tensor. */
static struct tensor *softmax_reduce(struct lower *l, struct node *n, struct tensor *x,
				     const struct value *shape, unsigned int mask, struct tensor *m,
				     bool log)
{
	struct nest *nest = lower_nest(l, n, m ? (log ? "log" : "sum") : "max");
	int64_t out[RDU_MAX_DIMS];
	int ndim = reduced_shape(shape, mask, true, out), dim[RDU_MAX_DIMS], e;
	struct tensor *t =
		lower_temp(l, n, m ? (log ? "log" : "sum") : "max", RDU_DT_F32, ndim, out);

	reduce_dims(nest, shape, mask, dim);
	nest_input(nest, x);
	access_all(&nest->in[0], ndim, dim);
	e = nest_in(nest, 0);
	nest->reduce = REDUCE_MAX;
	if (m) {
		nest->reduce = REDUCE_ADD;
		nest_input(nest, m);
		access_kept(&nest->in[1], ndim, dim, mask);
		e = OP(EXP, OP(FSUB, e, nest_in(nest, 1), -1), -1, -1);
	}
	nest->body = e;
	e = nest_red(nest);
	if (log)
		e = OP(LOG, e, -1, -1);
	nest_output(nest, t, e);
	access_kept(&nest->out[0].access, ndim, dim, mask);
	return lower_done(l, n, nest) ? NULL : t;
}

static int softmax_pattern(struct lower *l, struct node *n)
{
	bool log = n->op->name[0] == 'L';
	struct value *x = n->in[0];
	struct tensor *t = lower_value(l, x), *m, *s;
	int dim[RDU_MAX_DIMS], e;
	unsigned int mask;
	struct nest *nest;

	if (softmax_axes(l->graph, n, x, &mask))
		return -1;
	m = softmax_reduce(l, n, t, x, mask, NULL, false);
	s = m ? softmax_reduce(l, n, t, x, mask, m, log) : NULL;
	if (!s)
		return -1;
	nest = lower_nest(l, n, NULL);
	for (int i = 0; i < x->ndim; i++)
		dim[i] = nest_dim(nest, axis_name(x->ndim, i), x->dim[i], false);
	nest_input(nest, t);
	access_all(&nest->in[0], x->ndim, dim);
	nest_input(nest, s);
	access_kept(&nest->in[1], x->ndim, dim, mask);
	nest_input(nest, m);
	access_kept(&nest->in[2], x->ndim, dim, mask);
	e = OP(FSUB, nest_in(nest, 0), nest_in(nest, 2), -1);
	if (log)
		e = OP(FSUB, e, nest_in(nest, 1), -1);
	else
		e = OP(FMUL, OP(EXP, e, -1, -1), OP(RECIP, nest_in(nest, 1), -1, -1), -1);
	nest_output(nest, lower_value(l, n->out[0]), e);
	access_all(&nest->out[0].access, x->ndim, dim);
	return lower_done(l, n, nest);
}

static int softmax_gradient(struct graph *g, struct node *n)
{
	struct node *m = grad_node(g, n, "SoftmaxGrad");

	if (!n->in[0]->needs_grad)
		return 0;
	node_input(g, m, n->out[0]);
	node_input(g, m, n->out[0]->grad);
	return grad_finish(g, m, n->in[0]);
}

/* y (g - sum(g y)), or g - e^y sum(g) for the logarithm. */
static int softmax_grad_pattern(struct lower *l, struct node *n)
{
	bool log = n->of->name[0] == 'L';
	struct value *y = n->in[0];
	struct nest *nest = lower_nest(l, n, "sum");
	int64_t shape[RDU_MAX_DIMS];
	int dim[RDU_MAX_DIMS], e;
	struct tensor *s;
	unsigned int mask;

	if (softmax_axes(l->graph, n->of_node, y, &mask))
		return -1;
	reduced_shape(y, mask, true, shape);
	s = lower_temp(l, n, "sum", RDU_DT_F32, y->ndim, shape);
	reduce_dims(nest, y, mask, dim);
	nest_input(nest, lower_value(l, n->in[1]));
	access_all(&nest->in[0], y->ndim, dim);
	nest->body = nest_in(nest, 0);
	if (!log) {
		nest_input(nest, lower_value(l, y));
		access_all(&nest->in[1], y->ndim, dim);
		nest->body = OP(FMUL, nest->body, nest_in(nest, 1), -1);
	}
	nest->reduce = REDUCE_ADD;
	nest_output(nest, s, nest_red(nest));
	access_kept(&nest->out[0].access, y->ndim, dim, mask);
	if (lower_done(l, n, nest))
		return -1;
	nest = lower_nest(l, n, NULL);
	for (int i = 0; i < y->ndim; i++)
		dim[i] = nest_dim(nest, axis_name(y->ndim, i), y->dim[i], false);
	nest_input(nest, lower_value(l, n->in[1]));
	access_all(&nest->in[0], y->ndim, dim);
	nest_input(nest, lower_value(l, y));
	access_all(&nest->in[1], y->ndim, dim);
	nest_input(nest, s);
	access_kept(&nest->in[2], y->ndim, dim, mask);
	if (log)
		e = OP(FSUB, nest_in(nest, 0),
		       OP(FMUL, OP(EXP, nest_in(nest, 1), -1, -1), nest_in(nest, 2), -1), -1);
	else
		e = OP(FMUL, nest_in(nest, 1), OP(FSUB, nest_in(nest, 0), nest_in(nest, 2), -1),
		       -1);
	nest_output(nest, lower_value(l, n->out[0]), e);
	access_all(&nest->out[0].access, y->ndim, dim);
	return lower_done(l, n, nest);
}

/* ---- where the maximum is ------------------------------------------------------------------ */

static int arg_infer(struct graph *g, struct node *n)
{
	int64_t axis = attr_i(n, "axis", 0), dim[RDU_MAX_DIMS];
	struct value *x = n->in[0];
	int ndim;

	if (x->dtype == RDU_DT_BOOL)
		return node_error(g, n, "not supported for bool");
	if (axis < 0)
		axis += x->ndim;
	if (axis < 0 || axis >= x->ndim)
		return node_error(g, n, "axis is out of range");
	if (!x->dim[axis])
		return node_error(g, n, "of no elements there is none");
	if (x->dim[axis] > 1 << 24)
		return node_error(g, n, "axis of more than 2^24 elements");
	ndim = reduced_shape(x, 1u << axis, attr_i(n, "keepdims", 1), dim);
	return node_shape(g, n, 0, RDU_DT_I64, ndim, dim);
}

/* Pieces of 16 bits that an integer has; 0: it is none. */
static int arg_pieces(enum rdu_dtype t)
{
	return dtype_is_int(t) ? (dtype_bytes(t) + 1) / 2 : 0;
}

/* Piece i of an integer, the uppermost, which has the sign, first: fp32 holds each exactly. */
static int arg_piece(struct nest *nest, const struct value *x, int i)
{
	int v = nest_in(nest, 0), num = arg_pieces(x->dtype);

	if (!num)
		return v;
	v = expr_order_key(nest, x->dtype, v);
	for (int k = i + 1; k < num; k++) /* the card has no shift by 32 */
		v = OP(SAR, v, nest_imm_i(nest, 16), -1);
	if (i)
		v = OP(AND, v, nest_imm_i(nest, 0xffff), -1);
	return OP(I2F, v, -1, -1);
}

/*
 * The extreme value, then the first (last) index that has it, found as fp32. Of integers the
 * uppermost pieces' extreme, then that of the next ones where those above are it, and so on.
 */
static int arg_pattern(struct lower *l, struct node *n)
{
	bool max = n->op->name[3] == 'M' && n->op->name[4] == 'a';
	bool last = attr_i(n, "select_last_index", 0);
	struct value *x = n->in[0];
	int pieces = arg_pieces(x->dtype), num = pieces ? pieces : 1, dim[RDU_MAX_DIMS];
	int64_t axis = attr_i(n, "axis", 0), shape[RDU_MAX_DIMS];
	static const char *const nth[] = { "", "2", "3", "4", "" };
	struct tensor *found[4], *result;
	unsigned int mask;
	char what[16];

	axis += axis < 0 ? x->ndim : 0;
	mask = 1u << axis;
	reduced_shape(x, mask, true, shape);
	for (int i = 0; i <= num; i++) { /* the last one finds the index */
		bool index = i == num, most = index ? last : max;
		struct nest *nest;
		int e, none;

		snprintf(what, sizeof(what), "%s%s", max ? "max" : "min", nth[i]);
		nest = lower_nest(l, n, index ? NULL : what);
		reduce_dims(nest, x, mask, dim);
		nest_input(nest, lower_value(l, x));
		access_all(&nest->in[0], x->ndim, dim);
		nest->reduce = most ? REDUCE_MAX : REDUCE_MIN;
		e = index ? OP(I2F, nest_index(nest, dim[axis]), -1, -1) : arg_piece(nest, x, i);
		none = nest_imm_f(nest, most ? -1.0f : 0x1p24f);
		for (int k = 0; k < i; k++) {
			int in = nest_input(nest, found[k]), mine = arg_piece(nest, x, k),
			    other = none;

			access_kept(&nest->in[in], x->ndim, dim, mask);
			if (!pieces) /* If one is NaN, so is the extreme, and NaN is where it is. */
				other = OP(SELECT, OP(FEQ, mine, mine, -1), none, e);
			e = OP(SELECT, OP(FEQ, mine, nest_in(nest, in), -1), e, other);
		}
		nest->body = e;
		e = nest_red(nest);
		result = index ? lower_value(l, n->out[0])
			       : lower_temp(l, n, what, RDU_DT_F32, x->ndim, shape);
		nest_output(nest, result, index ? OP(F2I, e, -1, -1) : e);
		access_kept(&nest->out[0].access, x->ndim, dim, mask);
		if (lower_done(l, n, nest))
			return -1;
		if (!index)
			found[i] = result;
	}
	return 0;
}

/* ---- made of others --------------------------------------------------------------------------- */

struct value *graph_reduce(struct graph *g, const char *op, const char *name, struct value *x,
			   int num_axes, const int64_t *axes, int keep)
{
	struct node *m;

	if (!x)
		return NULL;
	m = node_new(g, op, name);
	node_input(g, m, x);
	node_attr_ints(g, m, "axes", num_axes, axes);
	node_attr_i(g, m, "keepdims", keep);
	return graph_finish(g, m);
}

/* log(sum(e^(x - max))) + max; an infinite maximum is not taken off: x - max would be NaN. */
static int log_sum_exp_expand(struct graph *g, struct node *n)
{
	int64_t axes[RDU_MAX_DIMS], dim[RDU_MAX_DIMS];
	struct value *x = n->in[0], *m, *s, *finite;
	unsigned int mask;
	int num = 0, ndim;

	if (x->dtype == RDU_DT_BOOL)
		return node_error(g, n, "not supported for bool");
	if (reduce_axes(g, n, &mask))
		return -1;
	for (int i = 0; i < x->ndim; i++)
		if (mask >> i & 1)
			axes[num++] = i;
	if (!num)
		return graph_replace_first(n, x);
	if (dtype_is_int(x->dtype)) /* in fp32, and cut off */
		x = graph_cast(g, n->name, x, RDU_DT_F32);
	if (!x)
		return -1;
	m = graph_reduce(g, "ReduceMax", graph_format(g, "%.200s.max", n->name), x, num, axes, 1);
	if (!m)
		return -1;
	finite = graph_op1(g, "Abs", graph_format(g, "%.200s.size", n->name), m);
	finite = graph_op2(g, "Less", graph_format(g, "%.200s.finite", n->name), finite,
			   graph_cast(g, n->name, graph_const_f(g, INFINITY), m->dtype));
	m = finite ? graph_op3(g, "Where", graph_format(g, "%.200s.shift", n->name), finite, m,
			       graph_cast(g, n->name, graph_const_f(g, 0), m->dtype))
		   : NULL;
	m = graph_op1(g, "StopGradient", graph_format(g, "%.200s.stop", n->name), m);
	s = graph_op2(g, "Sub", graph_format(g, "%.200s.sub", n->name), x, m);
	s = graph_op1(g, "Exp", graph_format(g, "%.200s.exp", n->name), s);
	s = graph_reduce(g, "ReduceLogSum", n->name, s, num, axes, 1);
	s = s ? graph_op2(g, "Add", graph_format(g, "%.200s.add", n->name), s, m) : NULL;
	s = s ? graph_cast(g, n->name, s, n->in[0]->dtype) : NULL;
	ndim = reduced_shape(x, mask, attr_i(n, "keepdims", 1), dim);
	return graph_replace_first(n, s ? graph_reshape(g, n->name, s, ndim, dim) : NULL);
}

/* All elements along an axis by an operator of two: the two halves, until one element is left. */
static struct value *folded(struct graph *g, struct node *n, const char *op, struct value *x,
			    int axis)
{
	while (x && x->dim[axis] > 1) {
		int64_t half = x->dim[axis] / 2, all = x->dim[axis];
		struct value *a = graph_slice(g, n->name, x, axis, 0, half, false);
		struct value *b = a ? graph_slice(g, n->name, x, axis, half, half, false) : NULL;
		struct value *rest = NULL;
		struct node *m;

		if (!b)
			return NULL;
		if (all % 2)
			rest = graph_slice(g, n->name, x, axis, all - 1, 1, false);
		x = graph_op2(g, op, graph_format(g, "%.200s.half", n->name), a, b);
		if (!rest || !x)
			continue;
		/* An odd one goes into the first. */
		a = graph_slice(g, n->name, x, axis, 0, 1, false);
		a = a ? graph_op2(g, op, graph_format(g, "%.200s.odd", n->name), a, rest) : NULL;
		if (half == 1 || !a) {
			x = a;
			continue;
		}
		b = graph_slice(g, n->name, x, axis, 1, half - 1, false);
		if (!b)
			return NULL;
		m = node_new(g, "Concat", n->name);
		node_input(g, m, a);
		node_input(g, m, b);
		node_attr_i(g, m, "axis", axis);
		x = graph_finish(g, m);
	}
	return x;
}

/* What no elements give. */
static struct value *folded_nothing(struct graph *g, struct node *n, const char *op,
				    struct value *x, int ndim, const int64_t *dim)
{
	bool least = !strcmp(op, "Max"), most = !strcmp(op, "Min");
	int bits = dtype_bits(x->dtype);
	int64_t count = ndim, v = !strcmp(op, "Mul");

	if (least)
		v = dtype_is_unsigned(x->dtype) ? 0 : INT64_MIN >> (64 - bits);
	if (most)
		v = (int64_t)(UINT64_MAX >> (64 - bits + !dtype_is_unsigned(x->dtype)));
	if ((least || most) && bits == 64) {
		node_error(g, n, "the %s of no elements of %s is not supported",
			   least ? "maximum" : "minimum", dtype_name(x->dtype));
		return NULL;
	}
	return graph_op2(g, "Expand", n->name,
			 graph_cast(g, n->name, graph_const_i(g, v), x->dtype),
			 graph_const(g, RDU_DT_I64, 1, &count, dim));
}

/* The same over axes, and the shape that the reduction gives. */
static struct value *folded_axes(struct graph *g, struct node *n, const char *op, struct value *x,
				 unsigned int mask)
{
	int64_t dim[RDU_MAX_DIMS];
	int ndim = reduced_shape(x, mask, attr_i(n, "keepdims", 1), dim);
	struct value *v = x;

	for (int i = 0; i < x->ndim && v; i++) {
		if (!(mask >> i & 1))
			continue;
		if (!x->dim[i])
			return folded_nothing(g, n, op, x, ndim, dim);
		v = folded(g, n, op, v, i);
	}
	return graph_reshape(g, n->name, v, ndim, dim);
}

static int product_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	unsigned int mask;

	if (x->dtype == RDU_DT_BOOL)
		return node_error(g, n, "not supported for bool");
	if (reduce_axes(g, n, &mask))
		return -1;
	return graph_replace_first(n, folded_axes(g, n, "Mul", x, mask));
}

/* Of integers, as their type computes; bool counts as uint8. */
static int reduce_rewrite(struct graph *g, struct node *n)
{
	enum reduce_kind kind = reduce_kind(n);
	struct value *x = n->in[0], *v = x;
	const char *op = kind == RED_MAX ? "Max" : kind == RED_MIN ? "Min" : "Add";
	bool logical = x->dtype == RDU_DT_BOOL && (kind == RED_MAX || kind == RED_MIN);
	struct node *m;
	unsigned int mask;

	if (!dtype_is_int(x->dtype) || (x->dtype == RDU_DT_BOOL && !logical))
		return 0; /* or refused */
	if (kind == RED_L2) {
		m = node_new(g, "ReduceL2", graph_format(g, "%.200s.float", n->name));
		m->attrs = n->attrs;
		node_input(g, m, graph_cast(g, n->name, x, RDU_DT_F32));
		for (int i = 1; i < n->num_in; i++)
			node_input(g, m, n->in[i]);
		return graph_replace_first(n, graph_cast(g, n->name, graph_finish(g, m), x->dtype))
			       ? -1
			       : 1;
	}
	if (reduce_axes(g, n, &mask))
		return -1;
	if (logical)
		v = graph_cast(g, graph_format(g, "%.200s.bits", n->name), x, RDU_DT_U8);
	if (kind == RED_SQUARE)
		v = graph_op2(g, "Mul", graph_format(g, "%.200s.square", n->name), x, x);
	if (kind == RED_L1)
		v = graph_op1(g, "Abs", graph_format(g, "%.200s.abs", n->name), x);
	v = v ? folded_axes(g, n, op, v, mask) : NULL;
	if (v && kind == RED_MEAN)
		v = graph_op2(
			g, "Div", graph_format(g, "%.200s.mean", n->name), v,
			graph_cast(g, n->name, graph_const_i(g, reduced_count(x, mask)), x->dtype));
	if (v && kind == RED_LOGSUM) /* in fp32, and cut off */
		v = graph_op1(g, "Log", graph_format(g, "%.200s.log", n->name),
			      graph_cast(g, n->name, v, RDU_DT_F32));
	v = v ? graph_cast(g, n->name, v, x->dtype) : NULL;
	return graph_replace_first(n, v) ? -1 : 1;
}

static int stop_infer(struct graph *g, struct node *n)
{
	return node_shape(g, n, 0, n->in[0]->dtype, n->in[0]->ndim, n->in[0]->dim);
}

#define REDUCE(onnx)                                                                             \
	{                                                                                        \
		.name = onnx, .min_in = 1, .max_in = 2, .max_out = 1, .rewrite = reduce_rewrite, \
		.infer = reduce_infer, .gradient = reduce_gradient, .pattern = reduce_pattern    \
	}

const struct op ops_reduce[] = {
	REDUCE("ReduceSum"),
	REDUCE("ReduceMean"),
	REDUCE("ReduceMax"),
	REDUCE("ReduceMin"),
	REDUCE("ReduceSumSquare"),
	REDUCE("ReduceL1"),
	REDUCE("ReduceL2"),
	REDUCE("ReduceLogSum"),
	{ .name = "ReduceProd", .min_in = 1, .max_in = 2, .max_out = 1, .expand = product_expand },
	{ .name = "ReduceLogSumExp",
	  .min_in = 1,
	  .max_in = 2,
	  .max_out = 1,
	  .expand = log_sum_exp_expand },
	{ .name = "Softmax",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .infer = softmax_infer,
	  .gradient = softmax_gradient,
	  .pattern = softmax_pattern },
	{ .name = "LogSoftmax",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .infer = softmax_infer,
	  .gradient = softmax_gradient,
	  .pattern = softmax_pattern },
	{ .name = "ArgMax",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .infer = arg_infer,
	  .stop_gradient = true,
	  .pattern = arg_pattern },
	{ .name = "ArgMin",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .infer = arg_infer,
	  .stop_gradient = true,
	  .pattern = arg_pattern },
	{ .name = "ReduceGrad",
	  .min_in = 3,
	  .max_in = 3,
	  .max_out = 1,
	  .internal = true,
	  .infer = like_first_infer,
	  .pattern = reduce_grad_pattern },
	{ .name = "SoftmaxGrad",
	  .min_in = 2,
	  .max_in = 2,
	  .max_out = 1,
	  .internal = true,
	  .infer = like_first_infer,
	  .pattern = softmax_grad_pattern },
	{ .name = "SumTo",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .internal = true,
	  .infer = sum_to_infer,
	  .pattern = sum_to_pattern },
	{ .name = "StopGradient",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .internal = true,
	  .infer = stop_infer,
	  .view = true,
	  .stop_gradient = true },
	{ 0 },
};
