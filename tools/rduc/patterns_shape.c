// SPDX-License-Identifier: MIT
/*
 * Operators that move elements: views, permutations, parts, gathers; and those
 * that exist while compiling only (shapes, constants).
 */
#include <stdlib.h>
#include <math.h>
#include <string.h>
#include "graph.h"

__extension__ typedef __int128 wide;

/* ---- views ---------------------------------------------------------------------- */

static int view_gradient(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *d;

	if (!x->needs_grad)
		return 0;
	d = graph_reshape(g, graph_format(g, "%.200s.grad", n->name), n->out[0]->grad, x->ndim,
			  x->dim);
	return d ? graph_add_grad(g, x, d) : -1;
}

static int reshape_infer(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	int64_t dim[RDU_MAX_DIMS], known = 1;
	int num, open = -1;
	const int64_t *shape = attr_ints(n, "shape", &num); /* before opset 5 */

	if (!shape && !node_in(n, 1))
		return node_error(g, n, "it says no shape");
	shape = shape ? shape : node_const_ints(g, n, 1, &num);
	if (!shape)
		return -1;
	if (num > RDU_MAX_DIMS)
		return node_error(g, n, "more than %d dimensions", RDU_MAX_DIMS);
	for (int i = 0; i < num; i++) {
		dim[i] = shape[i];
		if (!dim[i] && !attr_i(n, "allowzero", 0)) {
			if (i >= x->ndim)
				return node_error(
					g, n, "shape copies dimension %d, which is not there", i);
			dim[i] = x->dim[i];
		}
		if (dim[i] == -1 && open < 0)
			open = i;
		else if (dim[i] < 0 || dim[i] > INT32_MAX)
			return node_error(g, n, "shape has dimension %lld", (long long)dim[i]);
		else if (__builtin_mul_overflow(known, dim[i], &known))
			return node_error(g, n, "shape is too large");
	}
	if (open >= 0 && !known)
		return node_error(g, n, "shape leaves a dimension of nothing open");
	if (open >= 0)
		dim[open] = value_count(x) / known;
	if (dims_count(num, dim) != value_count(x))
		return node_error(g, n, "shape does not hold the %lld elements of %s",
				  (long long)value_count(x), value_shape_text(g, x));
	return node_shape(g, n, 0, x->dtype, num, dim);
}

static int flatten_infer(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	int64_t axis = attr_i(n, "axis", 1), dim[2] = { 1, 1 };

	if (axis < 0)
		axis += x->ndim;
	if (axis < 0 || axis > x->ndim)
		return node_error(g, n, "axis is out of range");
	for (int i = 0; i < x->ndim; i++)
		dim[i >= axis] *= x->dim[i];
	return node_shape(g, n, 0, x->dtype, 2, dim);
}

/* Axes from the attribute (before opset 13) or the second input. */
static const int64_t *axes_of(struct graph *g, struct node *n, int *num)
{
	const int64_t *axes = attr_ints(n, "axes", num);

	if (!axes && node_in(n, 1))
		axes = node_const_ints(g, n, 1, num);
	return axes;
}

static int squeeze_infer(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	int64_t dim[RDU_MAX_DIMS];
	unsigned int mask = 0;
	int num, ndim = 0;
	const int64_t *axes = axes_of(g, n, &num);

	if (!axes && node_in(n, 1))
		return -1;
	for (int i = 0; i < num; i++) {
		int64_t a = axes[i];

		if (node_axis(g, n, &a, x->ndim))
			return -1;
		if (x->dim[a] != 1)
			return node_error(g, n, "dimension %d is %lld", (int)a,
					  (long long)x->dim[a]);
		mask |= 1u << a;
	}
	for (int i = 0; i < x->ndim; i++)
		if (!(axes ? mask >> i & 1 : x->dim[i] == 1))
			dim[ndim++] = x->dim[i];
	return node_shape(g, n, 0, x->dtype, ndim, dim);
}

static int unsqueeze_infer(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	int64_t dim[RDU_MAX_DIMS];
	unsigned int mask = 0;
	int num, from = 0;
	const int64_t *axes = axes_of(g, n, &num);

	if (!axes)
		return node_error(g, n, "axes are missing");
	if (x->ndim + num > RDU_MAX_DIMS)
		return node_error(g, n, "more than %d dimensions", RDU_MAX_DIMS);
	for (int i = 0; i < num; i++) {
		int64_t a = axes[i];

		if (node_axis(g, n, &a, x->ndim + num))
			return -1;
		if (mask >> a & 1)
			return node_error(g, n, "an axis is given twice");
		mask |= 1u << a;
	}
	for (int i = 0; i < x->ndim + num; i++)
		dim[i] = mask >> i & 1 ? 1 : x->dim[from++];
	return node_shape(g, n, 0, x->dtype, x->ndim + num, dim);
}

/* Inference drops nothing: the mask is all ones. It was a float before opset 10. */
static struct value *keep_all(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *one = graph_const_i(g, 1);
	struct node *m = node_new(g, "Cast", graph_format(g, "%.200s.one", n->name));
	int64_t ndim = x->ndim;

	node_input(g, m, one);
	node_attr_i(g, m, "to", g->opset < 10 ? x->dtype : RDU_DT_BOOL);
	one = graph_finish(g, m);
	return graph_op2(g, "Expand", graph_format(g, "%.200s.mask", n->name), one,
			 graph_const(g, RDU_DT_I64, 1, &ndim, x->dim));
}

/* A step of training drops, other entry points do not. */
static int dropout_training(struct graph *g, struct node *n, struct value *training)
{
	struct value *y, *kept;

	if (random_dropout(g, n, training, &y, &kept))
		return -1;
	if (g->trained)
		y = graph_by_mode(g, n->name, y, n->in[0]);
	if (g->trained && n->num_out > 1 && n->out[1])
		kept = graph_by_mode(g, n->name, kept, keep_all(g, n));
	if (!kept)
		return -1;
	graph_replace(n, 1, kept);
	return graph_replace_first(n, y);
}

static int identity_expand(struct graph *g, struct node *n)
{
	struct value *training = node_in(n, 2), *ratio = node_in(n, 1), *all;
	bool none = ratio && ratio->constant && ratio->data && value_real(ratio, 0) == 0;

	if (training && !none &&
	    !(training->constant && training->data && !*(char *)training->data))
		return dropout_training(g, n, training);
	if (n->num_out > 1 && n->out[1]) {
		all = keep_all(g, n);
		if (!all)
			return -1;
		graph_replace(n, 1, all);
	}
	return graph_replace_first(n, n->in[0]);
}

/* ---- permutation ----------------------------------------------------------------- */

static int transpose_perm(struct graph *g, struct node *n, int *perm)
{
	int ndim = n->in[0]->ndim, num;
	const int64_t *p = attr_ints(n, "perm", &num);
	unsigned int seen = 0;

	if (p && num != ndim)
		return node_error(g, n, "perm has %d numbers for %d dimensions", num, ndim);
	for (int i = 0; i < ndim; i++) {
		int64_t a = p ? p[i] : ndim - 1 - i;

		if (a < 0 || a >= ndim || (seen >> a & 1))
			return node_error(g, n, "perm is not a permutation");
		seen |= 1u << a;
		perm[i] = (int)a;
	}
	return 0;
}

static int stop_infer(struct graph *g, struct node *n)
{
	return node_shape(g, n, 0, n->in[0]->dtype, n->in[0]->ndim, n->in[0]->dim);
}

static int transpose_infer(struct graph *g, struct node *n)
{
	int64_t dim[RDU_MAX_DIMS];
	int perm[RDU_MAX_DIMS];

	if (transpose_perm(g, n, perm))
		return -1;
	for (int i = 0; i < n->in[0]->ndim; i++)
		dim[i] = n->in[0]->dim[perm[i]];
	return node_shape(g, n, 0, n->in[0]->dtype, n->in[0]->ndim, dim);
}

static int transpose_pattern(struct lower *l, struct node *n)
{
	int perm[RDU_MAX_DIMS];
	struct nest *nest;

	if (transpose_perm(l->graph, n, perm))
		return -1;
	nest = lower_copy(l, n, n->in[0], lower_value(l, n->out[0]));
	for (int i = 0; i < n->in[0]->ndim; i++)
		nest->in[0].coef[perm[i]][i] = 1;
	return lower_done(l, n, nest);
}

static int transpose_gradient(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "Transpose", graph_format(g, "%.200s.grad", n->name));
	int64_t inverse[RDU_MAX_DIMS];
	int perm[RDU_MAX_DIMS];

	if (!n->in[0]->needs_grad)
		return 0;
	if (transpose_perm(g, n, perm))
		return -1;
	for (int i = 0; i < n->in[0]->ndim; i++)
		inverse[perm[i]] = i;
	node_input(g, m, n->out[0]->grad);
	node_attr_ints(g, m, "perm", n->in[0]->ndim, inverse);
	return grad_finish(g, m, n->in[0]);
}

static int64_t clamp(int64_t v, int64_t lo, int64_t hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

/* ---- while compiling ------------------------------------------------------------------- */

static int shape_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	int64_t from = attr_i(n, "start", 0), to = attr_i(n, "end", x->ndim), num;

	from = clamp(from < 0 ? from + x->ndim : from, 0, x->ndim);
	to = clamp(to < 0 ? to + x->ndim : to, 0, x->ndim);
	num = to > from ? to - from : 0;
	return graph_replace_first(n, graph_const(g, RDU_DT_I64, 1, &num, x->dim + from));
}

static int size_expand(struct graph *g, struct node *n)
{
	int64_t num = value_count(n->in[0]);

	return graph_replace_first(n, graph_const(g, RDU_DT_I64, 0, NULL, &num));
}

static int constant_expand(struct graph *g, struct node *n)
{
	struct attr *a = n->attrs;
	int64_t num;

	if (!a || a->next)
		return node_error(g, n, "one attribute says its value");
	num = a->num;
	if (!strcmp(a->name, "value") && a->kind == ATTR_TENSOR)
		return graph_replace_first(n, a->tensor);
	if (!strcmp(a->name, "value_float") && a->kind == ATTR_FLOAT)
		return graph_replace_first(n, graph_const_f(g, a->f));
	if (!strcmp(a->name, "value_int") && a->kind == ATTR_INT)
		return graph_replace_first(n, graph_const(g, RDU_DT_I64, 0, NULL, &a->i));
	if (!strcmp(a->name, "value_floats") && a->kind == ATTR_FLOATS)
		return graph_replace_first(n, graph_const(g, RDU_DT_F32, 1, &num, a->floats));
	if (!strcmp(a->name, "value_ints") && a->kind == ATTR_INTS)
		return graph_replace_first(n, graph_const(g, RDU_DT_I64, 1, &num, a->ints));
	return node_error(g, n, "attribute '%s' is not supported", a->name);
}

static struct value *fill_value(const struct node *n)
{
	struct attr *a = node_attr(n, "value");

	return a && a->kind == ATTR_TENSOR ? a->tensor : NULL;
}

static int fill_infer(struct graph *g, struct node *n)
{
	struct value *v = fill_value(n);
	int num;
	const int64_t *dim = node_const_ints(g, n, 0, &num);

	if (!dim)
		return -1;
	if (num > RDU_MAX_DIMS)
		return node_error(g, n, "more than %d dimensions", RDU_MAX_DIMS);
	if (v && value_count(v) != 1)
		return node_error(g, n, "value is not one element");
	if (v && !value_fits_word(v, 0))
		return node_error(g, n, "its value %.17g does not fit 32 bits", value_real(v, 0));
	return node_shape(g, n, 0, v ? v->dtype : RDU_DT_F32, num, dim);
}

static int fill_pattern(struct lower *l, struct node *n)
{
	struct value *v = fill_value(n);
	struct tensor *out = lower_value(l, n->out[0]);
	return lower_fill(l, n, out, 0, 0, out->ndim ? out->dim[0] : 1, v ? value_word(v, 0) : 0);
}

/* start + i * delta, each rounded once; fp32 as fp32 has it, others as double. */
static int range_of_floats(struct graph *g, struct node *n)
{
	enum rdu_dtype t = n->in[0]->dtype;
	double v[3], *p, count;
	int64_t num;

	for (int i = 0; i < 3; i++) {
		struct value *in = n->in[i];

		if (!in->constant || !in->data || in->dtype != t || value_count(in) != 1)
			return node_error(g, n, "input %d ('%s') must be a constant %s", i,
					  in->name, dtype_name(t));
		v[i] = value_real(in, 0);
	}
	count = ceil((t == RDU_DT_F32 ? (double)((float)v[1] - (float)v[0]) : v[1] - v[0]) / v[2]);
	if (v[2] == 0 || isnan(count) || count > GRAPH_MAX_FOLD)
		return node_error(g, n,
				  "delta %g from %g to %g: only up to %d elements are supported",
				  v[2], v[0], v[1], GRAPH_MAX_FOLD);
	num = count > 0 ? (int64_t)count : 0;
	p = graph_alloc(g, (size_t)(num + 1) * sizeof(*p));
	for (int64_t i = 0; i < num; i++)
		p[i] = v[0] + (double)i * v[2];
	return graph_replace_first(
		n, graph_cast(g, n->name, graph_const(g, RDU_DT_F64, 1, &num, p), t));
}

static int range_expand(struct graph *g, struct node *n)
{
	enum rdu_dtype t = n->in[0]->dtype;
	int64_t v[3], count, *p, num;
	wide way, step, steps;
	int k;

	if (!dtype_is_int(n->in[0]->dtype))
		return range_of_floats(g, n);
	for (int i = 0; i < 3; i++) {
		const int64_t *c = node_const_ints(g, n, i, &k);

		if (!c || k != 1)
			return node_error(g, n, "not constant integers");
		v[i] = c[0];
	}
	if (!v[2])
		return node_error(g, n, "delta is zero");
	/* Steps until the limit is met or passed; differences may need 65 bits. */
	way = (wide)v[1] - v[0];
	if (v[2] < 0)
		way = -way;
	step = v[2] < 0 ? -(wide)v[2] : v[2];
	steps = way <= 0 ? 0 : (way + step - 1) / step;
	count = steps > GRAPH_MAX_FOLD ? GRAPH_MAX_FOLD + 1 : (int64_t)steps;
	if (count > GRAPH_MAX_FOLD || (t != RDU_DT_I64 && t != RDU_DT_I32 && t != RDU_DT_I16))
		return node_error(
			g, n,
			"only up to %d numbers, of a type that ONNX has for it, are supported",
			GRAPH_MAX_FOLD);
	p = graph_alloc(g, (count + 1) * sizeof(*p));
	for (int64_t i = 0; i < count; i++)
		p[i] = v[0] + i * v[2];
	num = count;
	return graph_replace_first(
		n, graph_cast(g, n->name, graph_const(g, RDU_DT_I64, 1, &num, p), t));
}

/* ---- blocks of space and depth: reshape, transpose, reshape ----------------------------- */

static int blocks_expand(struct graph *g, struct node *n)
{
	bool to_space = n->op->name[0] == 'D';
	bool crd = !strcmp(attr_s(n, "mode", "DCR"), "CRD");
	struct value *x = n->in[0], *v;
	int64_t b = attr_i(n, "blocksize", 0), c, h, w;
	struct node *m;

	if (x->ndim != 4 || b < 1 || b > 1024)
		return node_error(g, n, "4 dimensions and a blocksize are expected");
	c = x->dim[1];
	h = x->dim[2];
	w = x->dim[3];
	if (to_space ? c % (b * b) : h % b || w % b)
		return node_error(g, n, "the blocks do not fit %s", value_shape_text(g, x));
	m = node_new(g, "Transpose", n->name);
	if (to_space) {
		const int64_t perm_dcr[] = { 0, 3, 4, 1, 5, 2 }, perm_crd[] = { 0, 1, 4, 2, 5, 3 };
		const int64_t in_dcr[] = { x->dim[0], b, b, c / (b * b), h, w };
		const int64_t in_crd[] = { x->dim[0], c / (b * b), b, b, h, w };
		const int64_t out[] = { x->dim[0], c / (b * b), h * b, w * b };

		v = graph_reshape(g, n->name, x, 6, crd ? in_crd : in_dcr);
		if (!v)
			return -1;
		node_input(g, m, v);
		node_attr_ints(g, m, "perm", 6, crd ? perm_crd : perm_dcr);
		return graph_replace_first(n,
					   graph_reshape(g, n->name, graph_finish(g, m), 4, out));
	}
	const int64_t perm[] = { 0, 3, 5, 1, 2, 4 };
	const int64_t in[] = { x->dim[0], c, h / b, b, w / b, b };
	const int64_t out[] = { x->dim[0], c * b * b, h / b, w / b };

	v = graph_reshape(g, n->name, x, 6, in);
	if (!v)
		return -1;
	node_input(g, m, v);
	node_attr_ints(g, m, "perm", 6, perm);
	return graph_replace_first(n, graph_reshape(g, n->name, graph_finish(g, m), 4, out));
}

#define VIEW(onnx, hi, inf)                                                                        \
	{                                                                                          \
		.name = onnx, .min_in = 1, .max_in = hi, .max_out = 1, .infer = inf, .view = true, \
		.gradient = view_gradient                                                          \
	}
#define EXPAND(onnx, lo, hi, outs, fn)                                                  \
	{                                                                               \
		.name = onnx, .min_in = lo, .max_in = hi, .max_out = outs, .expand = fn \
	}
const struct op ops_shape[] = {
	{ .name = "Reshape",
	  .min_in = 1,
	  .max_in = 2,
	  .max_out = 1,
	  .infer = reshape_infer,
	  .view = true,
	  .gradient = view_gradient },
	VIEW("Flatten", 1, flatten_infer),
	VIEW("Squeeze", 2, squeeze_infer),
	VIEW("Unsqueeze", 2, unsqueeze_infer),
	{ .name = "Identity",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .expand = identity_expand,
	  .sequences = true },
	/* PyTorch's detach(), for which ONNX has no operator: lib/python writes it. */
	{ .name = "StopGradient",
	  .domain = "rdu",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .infer = stop_infer,
	  .view = true,
	  .stop_gradient = true },
	/* Inference: nothing is dropped. */
	EXPAND("Dropout", 1, 3, 2, identity_expand),
	{ .name = "Transpose",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .rewrite = graph_dequantized_transpose,
	  .infer = transpose_infer,
	  .gradient = transpose_gradient,
	  .pattern = transpose_pattern },
	EXPAND("DepthToSpace", 1, 1, 1, blocks_expand),
	EXPAND("SpaceToDepth", 1, 1, 1, blocks_expand),
	EXPAND("Shape", 1, 1, 1, shape_expand),
	EXPAND("Size", 1, 1, 1, size_expand),
	EXPAND("Constant", 0, 0, 1, constant_expand),
	{ .name = "ConstantOfShape",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .infer = fill_infer,
	  .stop_gradient = true,
	  .pattern = fill_pattern },
	EXPAND("Range", 3, 3, 1, range_expand),
	{ 0 },
};
