// SPDX-License-Identifier: MIT
/*
 * Operators that compute with indices, and ONNX's losses.
 */
#include <string.h>
#include "graph.h"

#define OP(op, a, b, c) nest_op(nest, RDU_SIMD_##op, a, b, c)

static int like_first_infer(struct graph *g, struct node *n)
{
	return node_shape(g, n, 0, n->in[0]->dtype, n->in[0]->ndim, n->in[0]->dim);
}

static int one_int(struct graph *g, struct node *n, int in, int64_t otherwise, int64_t *v)
{
	const int64_t *p;
	int num;

	*v = otherwise;
	if (!node_in(n, in))
		return 0;
	p = node_const_ints(g, n, in, &num);
	if (!p || num != 1)
		return node_error(g, n, "input %d must be one constant integer", in);
	*v = p[0] < -INT32_MAX / 2 ? -INT32_MAX / 2 : p[0] > INT32_MAX / 2 ? INT32_MAX / 2 : p[0];
	return 0;
}

/* A node of the same kind for the gradient; attributes are shared. */
static int same_gradient(struct graph *g, struct node *n, const char *op)
{
	struct node *m = grad_node(g, n, op);

	if (!n->in[0]->needs_grad)
		return 0;
	m->attrs = n->attrs;
	node_input(g, m, n->out[0]->grad);
	for (int i = 1; i < n->num_in; i++)
		node_input(g, m, n->in[i]);
	return grad_finish(g, m, n->in[0]);
}

/* ---- one triangle of a matrix -------------------------------------------------- */

static int trilu_infer(struct graph *g, struct node *n)
{
	struct value *k = node_in(n, 1);

	if (n->in[0]->ndim < 2)
		return node_error(g, n, "its input is not a matrix");
	if (k && (k->dtype != RDU_DT_I64 || value_count(k) != 1))
		return node_error(g, n, "input 1 is %s %s, not one int64", dtype_name(k->dtype),
				  value_shape_text(g, k));
	return like_first_infer(g, n);
}

static int trilu_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = lower_nest(l, n, NULL);
	struct value *x = n->in[0], *v = node_in(n, 1);
	int row, col = x->ndim - 1, k;
	int64_t known;

	for (int i = 0; i < x->ndim; i++)
		nest_dim(nest, axis_name(x->ndim, i), x->dim[i], false);
	nest_input(nest, lower_value(l, x));
	access_identity(&nest->in[0]);
	if (!v || v->constant) {
		if (one_int(l->graph, n, 1, 0, &known))
			return -1;
		k = nest_imm_i(nest, (int32_t)known);
	} else { /* held to where sums of indices stay within 32 bits */
		k = nest_in(nest, nest_input(nest, lower_value(l, v)));
		k = OP(IMAX, nest_imm_i(nest, -INT32_MAX / 2),
		       OP(IMIN, nest_imm_i(nest, INT32_MAX / 2), k, -1), -1);
	}
	row = OP(IADD, nest_index(nest, col - 1), k, -1);
	col = nest_index(nest, col);
	nest_output(nest, lower_value(l, n->out[0]),
		    OP(SELECT,
		       attr_i(n, "upper", 1) ? OP(ILE, row, col, -1) : OP(ILE, col, row, -1),
		       nest_in(nest, 0), nest_imm_i(nest, 0)));
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

static int trilu_gradient(struct graph *g, struct node *n)
{
	return same_gradient(g, n, "Trilu");
}

/* ---- running sums ----------------------------------------------------------------- */

static int cumsum_infer(struct graph *g, struct node *n)
{
	int64_t axis;

	if (one_int(g, n, 1, 0, &axis))
		return -1;
	if (axis < -n->in[0]->ndim || axis >= n->in[0]->ndim)
		return node_error(g, n, "axis is out of range");
	return like_first_infer(g, n);
}

/* Of integers: what is half, a quarter, ... of all places before is added, so log2(n) times. */
static int cumsum_rewrite(struct graph *g, struct node *n)
{
	bool back = attr_i(n, "reverse", 0);
	struct value *v = n->in[0];
	int64_t axis, num = 2 * v->ndim, step = attr_i(n, "exclusive", 0) ? 0 : 1, by;

	if (v->dtype == RDU_DT_BOOL)
		return node_error(g, n, "not supported for bool");
	if (!dtype_is_int(v->dtype))
		return 0;
	if (one_int(g, n, 1, 0, &axis) || node_axis(g, n, &axis, v->ndim))
		return -1;
	for (; v && (step < v->dim[axis] || !step); step = step ? 2 * step : 1) {
		struct node *m = node_new(g, "Pad", graph_format(g, "%.200s.shift", n->name));
		int64_t pads[2 * RDU_MAX_DIMS] = { 0 };
		struct value *moved;

		by = step ? step : 1; /* exclusive: first all move by one */
		by = by < v->dim[axis] ? by : v->dim[axis];
		pads[axis] = back ? -by : by;
		pads[v->ndim + axis] = -pads[axis];
		node_input(g, m, v);
		node_input(g, m, graph_const(g, RDU_DT_I64, 1, &num, pads));
		moved = graph_finish(g, m);
		v = step ? graph_op2(g, "Add", graph_format(g, "%.200s.add", n->name), v, moved)
			 : moved;
	}
	return graph_replace_first(n, v) ? -1 : 1;
}

/* out[i] = sum over j of x[i - j]: what is before the start is zero. */
static int cumsum(struct lower *l, struct node *n, bool back)
{
	bool exclusive = attr_i(n, "exclusive", 0);
	struct nest *nest = lower_nest(l, n, NULL);
	struct value *x = n->in[0];
	int64_t axis;
	int j;

	if (one_int(l->graph, n, 1, 0, &axis))
		return -1;
	axis += axis < 0 ? x->ndim : 0;
	for (int i = 0; i < x->ndim; i++)
		nest_dim(nest, axis_name(x->ndim, i), x->dim[i], false);
	j = nest_dim(nest, "back", x->dim[axis], true);
	if (j < 0)
		return node_error(l->graph, n, "too many dimensions");
	nest_input(nest, lower_value(l, x));
	access_identity(&nest->in[0]);
	nest->in[0].coef[axis][j] = back ? 1 : -1;
	nest->in[0].offset[axis] = exclusive ? (back ? 1 : -1) : 0;
	nest->in[0].guarded = true;
	nest->reduce = REDUCE_ADD;
	nest->body = nest_in(nest, 0);
	nest_output(nest, lower_value(l, n->out[0]), nest_red(nest));
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

static int cumsum_pattern(struct lower *l, struct node *n)
{
	return cumsum(l, n, attr_i(n, "reverse", 0));
}

static int cumsum_grad_pattern(struct lower *l, struct node *n)
{
	return cumsum(l, n, !attr_i(n, "reverse", 0));
}

static int cumsum_gradient(struct graph *g, struct node *n)
{
	return same_gradient(g, n, "CumSumGrad");
}

/* ---- class of an index: OneHot -------------------------------------------------------- */

/* Indices and depth may be of any type of numbers: they count as int64. */
static int onehot_integers(struct graph *g, struct node *n)
{
	for (int i = 0; i < 2; i++) {
		struct node *m;

		if (dtype_is_int(n->in[i]->dtype))
			continue;
		m = node_new(g, "Cast", graph_format(g, "%.200s.integer%d", n->name, i));
		node_input(g, m, n->in[i]);
		node_attr_i(g, m, "to", RDU_DT_I64);
		n->in[i] = graph_finish(g, m);
		if (!n->in[i])
			return -1;
	}
	return 0;
}

static int onehot_infer(struct graph *g, struct node *n)
{
	int64_t depth, axis = attr_i(n, "axis", -1), dim[RDU_MAX_DIMS + 1];
	struct value *x;
	int from = 0;

	if (onehot_integers(g, n))
		return -1;
	x = n->in[0];
	if (one_int(g, n, 1, 0, &depth))
		return -1;
	if (!dtype_is_int(x->dtype) || n->in[2]->ndim != 1 || n->in[2]->dim[0] != 2)
		return node_error(g, n, "indices must be integers, values two elements");
	if (axis < 0)
		axis += x->ndim + 1;
	if (axis < 0 || axis > x->ndim || x->ndim >= RDU_MAX_DIMS || depth < 1 ||
	    depth >= INT32_MAX / 2)
		return node_error(g, n, "axis or depth is out of range");
	for (int i = 0; i <= x->ndim; i++)
		dim[i] = i == axis ? depth : x->dim[from++];
	return node_shape(g, n, 0, n->in[2]->dtype, x->ndim + 1, dim);
}

static int onehot_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = lower_nest(l, n, NULL);
	struct value *x = n->in[0], *y = n->out[0];
	int64_t axis = attr_i(n, "axis", -1);
	int i, c, from = 0;

	axis += axis < 0 ? y->ndim : 0;
	for (int d = 0; d < y->ndim; d++)
		nest_dim(nest, axis_name(y->ndim, d), y->dim[d], false);
	nest_input(nest, lower_value(l, x));
	for (int d = 0; d < y->ndim; d++)
		if (d != axis)
			nest->in[0].coef[from++][d] = 1;
	for (int k = 0; k < 2; k++) {
		nest_input(nest, lower_value(l, n->in[2]));
		nest->in[1 + k].offset[0] = k;
	}
	i = nest_in(nest, 0);
	i = OP(SELECT, OP(ILT, i, nest_imm_i(nest, 0), -1),
	       OP(IADD, i, nest_imm_i(nest, (int32_t)y->dim[axis]), -1), i);
	c = nest_index(nest, (int)axis);
	nest_output(nest, lower_value(l, y),
		    OP(SELECT, OP(IEQ, c, i, -1), nest_in(nest, 2), nest_in(nest, 1)));
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

static struct value *onehot_node(struct graph *g, const struct node *n, const char *what,
				 struct value *indices, struct value *depth, struct value *values,
				 int64_t axis)
{
	struct node *m = node_new(g, "OneHot", graph_format(g, "%.200s.%s", n->name, what));

	node_input(g, m, indices);
	node_input(g, m, depth);
	node_input(g, m, values);
	node_attr_i(g, m, "axis", axis);
	return graph_finish(g, m);
}

/* Of the two values: the sums of gy where the other stands, and where this one does. */
static int onehot_gradient(struct graph *g, struct node *n)
{
	static const int64_t two = 2, off_on_i[] = { 0, 1 }, first = 0;
	static const float off_on[] = { 0, 1 };
	struct value *v = n->in[2], *hot, *which, *gy = n->out[0]->grad, *both;
	int64_t dim[2] = { 1, 1 };

	if (!v->needs_grad)
		return 0;
	for (int d = 0; d < gy->ndim; d++)
		dim[0] *= gy->dim[d];
	hot = onehot_node(g, n, "hot", n->in[0], n->in[1],
			  graph_const(g, RDU_DT_I64, 1, &two, off_on_i), attr_i(n, "axis", -1));
	hot = hot ? graph_reshape(g, graph_format(g, "%.200s.row", n->name), hot, 1, dim) : NULL;
	which = hot ? onehot_node(g, n, "which", hot, graph_const_i(g, 2),
				  graph_const(g, RDU_DT_F32, 1, &two, off_on), -1)
		    : NULL;
	gy = which ? graph_reshape(g, graph_format(g, "%.200s.column", n->name), gy, 2, dim) : NULL;
	both = gy ? graph_op2(g, "Mul", graph_format(g, "%.200s.both", n->name), gy, which) : NULL;
	both = both ? graph_reduce(g, "ReduceSum", graph_format(g, "%.200s.grad", n->name), both, 1,
				   &first, 0)
		    : NULL;
	return both ? graph_add_grad(g, v, both) : -1;
}

/* ---- losses of ONNX ------------------------------------------------------------------ */

static const char *loss_reduction(const struct node *n)
{
	return attr_s(n, "reduction", "mean");
}

static int nll_infer(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *t = n->in[1], *w = node_in(n, 2);
	const char *how = loss_reduction(n);

	if (dtype_is_int(x->dtype) || x->ndim < 2 || t->ndim != x->ndim - 1 ||
	    (t->dtype != RDU_DT_I64 && t->dtype != RDU_DT_I32) || t->dim[0] != x->dim[0])
		return node_error(g, n, "input %s and target %s do not fit", value_shape_text(g, x),
				  value_shape_text(g, t));
	for (int i = 1; i < t->ndim; i++)
		if (t->dim[i] != x->dim[i + 1])
			return node_error(g, n, "input %s and target %s do not fit",
					  value_shape_text(g, x), value_shape_text(g, t));
	if (attr_i(n, "ignore_index", 0) != (int32_t)attr_i(n, "ignore_index", 0))
		return node_error(g, n, "ignore_index does not fit 32 bits");
	if (w && (w->ndim != 1 || w->dim[0] != x->dim[1]))
		return node_error(g, n, "weights have shape %s", value_shape_text(g, w));
	if (!strcmp(how, "none"))
		return node_shape(g, n, 0, x->dtype, t->ndim, t->dim);
	if (strcmp(how, "mean") && strcmp(how, "sum"))
		return node_error(g, n, "reduction %.20s is not supported", how);
	return node_shape(g, n, 0, x->dtype, 0, NULL);
}

/*
 * Sum over classes of -x w where the class is the target's (or of w alone, for
 * the mean); over all elements too, unless `each`.
 */
static struct nest *nll_nest(struct lower *l, struct node *n, const char *what, bool each,
			     bool weights_only)
{
	struct value *x = n->in[0], *t = n->in[1], *w = node_in(n, 2);
	struct attr *ignore = node_attr(n, "ignore_index");
	struct nest *nest = lower_nest(l, n, what);
	int dim[RDU_MAX_DIMS], c, target, bad, v = -1, k;

	if (!each)
		nest_dim(nest, "one", 1, false);
	for (int i = 0; i < x->ndim; i++)
		if (i != 1)
			dim[i] = nest_dim(nest, axis_name(x->ndim, i), x->dim[i], !each);
	c = dim[1] = nest_dim(nest, "class", x->dim[1], true);
	if (c < 0)
		return NULL;
	nest_input(nest, lower_value(l, t));
	for (int i = 0; i < t->ndim; i++)
		nest->in[0].coef[i][dim[i ? i + 1 : 0]] = 1;
	if (!weights_only) {
		k = nest_input(nest, lower_value(l, x));
		for (int i = 0; i < x->ndim; i++)
			nest->in[k].coef[i][dim[i]] = 1;
		v = nest_in(nest, k);
	}
	if (w) {
		k = nest_input(nest, lower_value(l, w));
		nest->in[k].coef[0][c] = 1;
		v = v < 0 ? nest_in(nest, k) : OP(FMUL, v, nest_in(nest, k), -1);
	}
	if (v < 0)
		v = nest_imm_f(nest, 1);
	target = nest_in(nest, 0);
	bad = OP(ILT, target, nest_imm_i(nest, 0), -1);
	bad = OP(OR, bad, OP(ILE, nest_imm_i(nest, (int32_t)x->dim[1]), target, -1), -1);
	if (ignore) {
		int ignored = OP(IEQ, target, nest_imm_i(nest, (int32_t)ignore->i), -1);

		v = OP(SELECT, ignored, nest_imm_f(nest, 0), v);
		bad = OP(SELECT, ignored, nest_imm_i(nest, 0), bad);
	}
	target = nest_trap(nest, target, bad, RDU_TRAP_INDEX);
	nest->reduce = REDUCE_ADD;
	nest->body = OP(SELECT, OP(IEQ, nest_index(nest, c), target, -1), v, nest_imm_f(nest, 0));
	return nest;
}

static int nll_pattern(struct lower *l, struct node *n)
{
	bool each = !strcmp(loss_reduction(n), "none"), mean = !strcmp(loss_reduction(n), "mean");
	bool counted = mean && (node_in(n, 2) || node_attr(n, "ignore_index"));
	struct tensor *total = NULL;
	struct nest *nest;
	int e;

	if (counted) {
		nest = nll_nest(l, n, "weight", false, true);
		if (!nest)
			return node_error(l->graph, n, "too many dimensions");
		total = lower_temp(l, n, "weight", RDU_DT_F32, 0, NULL);
		nest_output(nest, total, nest_red(nest));
		if (lower_done(l, n, nest))
			return -1;
	}
	nest = nll_nest(l, n, NULL, each, false);
	if (!nest)
		return node_error(l->graph, n, "too many dimensions");
	e = OP(FNEG, nest_red(nest), -1, -1);
	if (counted) {
		int k = nest_input(nest, total);

		e = expr_divide(nest, e, nest_in(nest, k));
	} else if (mean) {
		e = OP(FMUL, e, nest_imm_f(nest, (float)(1.0 / value_count(n->in[1]))), -1);
	}
	nest_output(nest, lower_value(l, n->out[0]), e);
	if (each)
		access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

/* What the mean is of: the weights of the targets' classes, added up; in x, target, weights */
static int nll_total_infer(struct graph *g, struct node *n)
{
	return node_shape(g, n, 0, RDU_DT_F32, 0, NULL);
}

static int nll_total_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = nll_nest(l, n, NULL, false, true);

	if (!nest)
		return node_error(l->graph, n, "too many dimensions");
	nest_output(nest, lower_value(l, n->out[0]), nest_red(nest));
	return lower_done(l, n, nest);
}

/* in gradient of each loss or of their sum, x, target, weights; out -w gradient of the target's
 * class, 0 of the others and of what is ignored. */
static int nll_grad_infer(struct graph *g, struct node *n)
{
	return node_shape(g, n, 0, n->in[1]->dtype, n->in[1]->ndim, n->in[1]->dim);
}

static int nll_grad_pattern(struct lower *l, struct node *n)
{
	struct value *gy = n->in[0], *x = n->in[1], *t = n->in[2], *w = node_in(n, 3);
	struct attr *ignore = node_attr(n, "ignore_index");
	struct nest *nest = lower_nest(l, n, NULL);
	int e, hit;

	for (int i = 0; i < x->ndim; i++)
		nest_dim(nest, axis_name(x->ndim, i), x->dim[i], false);
	nest_input(nest, lower_value(l, gy));
	nest_input(nest, lower_value(l, t));
	for (int i = 0; i < t->ndim; i++) {
		nest->in[0].coef[i][i ? i + 1 : 0] = gy->ndim != 0;
		nest->in[1].coef[i][i ? i + 1 : 0] = 1;
	}
	e = OP(FNEG, nest_in(nest, 0), -1, -1);
	if (w) {
		nest_input(nest, lower_value(l, w));
		nest->in[2].coef[0][1] = 1;
		e = OP(FMUL, e, nest_in(nest, 2), -1);
	}
	hit = OP(IEQ, nest_index(nest, 1), nest_in(nest, 1), -1);
	e = OP(SELECT, hit, e, nest_imm_f(nest, 0));
	if (ignore) {
		hit = OP(IEQ, nest_in(nest, 1), nest_imm_i(nest, (int32_t)ignore->i), -1);
		e = OP(SELECT, hit, nest_imm_f(nest, 0), e);
	}
	nest_output(nest, lower_value(l, n->out[0]), e);
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

static int nll_gradient(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *w = node_in(n, 2), *gy = n->out[0]->grad, *total;
	struct node *m;

	if (!x->needs_grad)
		return 0;
	if (!strcmp(loss_reduction(n), "mean")) {
		m = grad_node(g, n, "NllTotal");
		node_input(g, m, x);
		node_input(g, m, n->in[1]);
		if (w)
			node_input(g, m, w);
		m->attrs = n->attrs;
		total = graph_finish(g, m);
		gy = total ? graph_op2(g, "Div", graph_format(g, "%.200s.share", n->name), gy,
				       total)
			   : NULL;
		if (!gy)
			return -1;
	}
	m = grad_node(g, n, "NllGrad");
	node_input(g, m, gy);
	node_input(g, m, x);
	node_input(g, m, n->in[1]);
	if (w)
		node_input(g, m, w);
	m->attrs = n->attrs;
	return grad_finish(g, m, x);
}

static int xent_expand(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "LogSoftmax", graph_format(g, "%.200s.log", n->name));
	struct value *v;

	if (n->in[0]->ndim < 2)
		return node_error(g, n, "scores have shape %s", value_shape_text(g, n->in[0]));
	node_input(g, m, n->in[0]);
	node_attr_i(g, m, "axis", 1);
	node_attr_i(g, m, "one_axis", 1); /* in every opset */
	v = graph_finish(g, m);
	if (!v)
		return -1;
	graph_replace(n, 1, v);
	m = node_new(g, "NegativeLogLikelihoodLoss", n->name);
	node_input(g, m, v);
	for (int i = 1; i < n->num_in; i++)
		node_input(g, m, n->in[i]);
	m->attrs = n->attrs;
	return graph_replace_first(n, graph_finish(g, m));
}

#define PLAIN(onnx, lo, hi, fn)                                                      \
	.name = onnx, .min_in = lo, .max_in = hi, .max_out = 1, .infer = fn##_infer, \
	.pattern = fn##_pattern

const struct op ops_index[] = {
	{ PLAIN("Trilu", 1, 2, trilu), .gradient = trilu_gradient },
	{ PLAIN("CumSum", 2, 2, cumsum), .rewrite = cumsum_rewrite, .gradient = cumsum_gradient },
	{ .name = "CumSumGrad",
	  .min_in = 2,
	  .max_in = 2,
	  .max_out = 1,
	  .internal = true,
	  .infer = cumsum_infer,
	  .pattern = cumsum_grad_pattern },
	{ PLAIN("OneHot", 3, 3, onehot), .gradient = onehot_gradient },
	{ PLAIN("NegativeLogLikelihoodLoss", 2, 3, nll), .gradient = nll_gradient },
	{ PLAIN("NllTotal", 2, 3, nll_total), .internal = true },
	{ PLAIN("NllGrad", 3, 4, nll_grad), .internal = true },
	{ .name = "SoftmaxCrossEntropyLoss",
	  .min_in = 2,
	  .max_in = 3,
	  .max_out = 2,
	  .expand = xent_expand },
	{ 0 },
};
