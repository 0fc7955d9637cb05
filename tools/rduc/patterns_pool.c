// SPDX-License-Identifier: MIT
/* Pooling, and its gradients. */
#include <math.h>
#include <string.h>
#include "window.h"

/* A NaN that no operation makes: what lies outside of the tensor. */
#define OUTSIDE 0x7fedcba9

static bool is_max(const struct node *n)
{
	return n->op->name[0] == 'M';
}

/* Of 8 bits in fp32, which holds them; padding is less than any. Where the maxima are is looked for
 * when they are known. */
static int max_pool_rewrite(struct graph *g, struct node *n)
{
	enum rdu_dtype t = n->in[0]->dtype;
	bool bytes = t == RDU_DT_U8 || t == RDU_DT_I8, places = n->num_out > 1 && n->out[1];
	struct value *x = n->in[0], *y;
	struct node *m;

	if (!bytes && !places)
		return 0;
	if (bytes)
		x = graph_cast(g, graph_format(g, "%.200s.wide", n->name), x, RDU_DT_F32);
	if (!x)
		return -1;
	m = node_new(g, "MaxPool", graph_format(g, "%.200s.max", n->name));
	node_input(g, m, x);
	m->attrs = n->attrs;
	y = graph_finish(g, m);
	if (y && places) {
		m = node_new(g, "MaxPoolIndices", graph_format(g, "%.200s.where", n->name));
		node_input(g, m, x);
		node_input(g, m, y);
		m->attrs = n->attrs;
		m->of_node = n;
		x = graph_finish(g, m);
		if (!x)
			return -1;
		graph_replace(n, 1, x);
	}
	return graph_replace_first(n, graph_cast(g, n->name, y, t)) ? -1 : 1;
}

static int pool_infer(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	int64_t dim[RDU_MAX_DIMS];
	struct window w;

	if (window_get(g, n, x, NULL, &w))
		return -1;
	for (int i = 0; i < w.space; i++)
		if (w.pad[i] >= w.kernel[i] * w.dilation[i] ||
		    w.pad_end[i] >= w.kernel[i] * w.dilation[i])
			return node_error(g, n, "padding is as large as the window");
	dim[0] = x->dim[0];
	dim[1] = x->dim[1];
	memcpy(dim + 2, w.out, w.space * sizeof(*dim));
	return node_shape(g, n, 0, x->dtype, x->ndim, dim);
}

/* Elements under the window at output position y along an axis; with_pad: padding counts, too;
 * POOL_WHOLE: all of the window, also where it reaches beyond the padding. */
static int64_t window_count(const struct window *w, int i, int with_pad, int64_t y)
{
	int64_t d = w->dilation[i], lo = y * w->stride[i] - w->pad[i];
	int64_t end = w->in[i] + (with_pad ? w->pad_end[i] : 0);
	int64_t first = with_pad || lo >= 0 ? 0 : (-lo + d - 1) / d;
	int64_t last = lo >= end ? -1 : (end - 1 - lo) / d;

	if (with_pad == POOL_WHOLE)
		return w->kernel[i];
	if (last > w->kernel[i] - 1)
		last = w->kernel[i] - 1;
	return last < first ? 0 : last - first + 1;
}

/* Is it the same everywhere? Windows are whole in the middle, cut at the ends. */
static bool window_same(const struct window *w, int i, int with_pad)
{
	int64_t count = window_count(w, i, with_pad, 0), last = w->out[i] - 1;

	if (w->dilation[i] != 1 && !with_pad && (w->pad[i] || w->pad_end[i]))
		return false;
	return window_count(w, i, with_pad, last) == count &&
	       window_count(w, i, with_pad, last / 2) == count;
}

static int op2(struct nest *n, enum rdu_simd_op op, int a, int b)
{
	return nest_op(n, op, a, b, -1);
}

/* With dilation: 1 / (elements along axis i) from a table, times `so_far` (-1: 1). */
static int count_table(struct lower *l, struct nest *nest, const struct window *w, int i,
		       int with_pad, int dim, int so_far)
{
	struct value *v = graph_const(l->graph, RDU_DT_F32, 1, &w->out[i], NULL);
	int in;

	for (int64_t y = 0; y < w->out[i]; y++)
		((float *)v->data)[y] = 1 / (float)window_count(w, i, with_pad, y);
	in = nest_input(nest, lower_value(l, v));
	nest->in[in].coef[0][dim] = 1;
	return so_far < 0 ? nest_in(nest, in) : op2(nest, RDU_SIMD_FMUL, so_far, nest_in(nest, in));
}

/* 1 / (elements under the window): a constant, or from the indices. */
static int average_scale(struct lower *l, struct nest *nest, const struct window *w, int with_pad,
			 const int *dim)
{
	double scale = 1;
	int e = -1, table = -1;

	for (int i = 0; i < w->space; i++) {
		int lo, hi, c;

		if (window_same(w, i, with_pad)) {
			scale *= window_count(w, i, with_pad, 0);
			continue;
		}
		if (w->dilation[i] != 1) {
			table = count_table(l, nest, w, i, with_pad, dim[i], table);
			continue;
		}
		lo = op2(nest, RDU_SIMD_ISUB,
			 op2(nest, RDU_SIMD_IMUL, nest_index(nest, dim[i]),
			     nest_imm_i(nest, (int32_t)w->stride[i])),
			 nest_imm_i(nest, (int32_t)w->pad[i]));
		hi = op2(nest, RDU_SIMD_IMIN,
			 op2(nest, RDU_SIMD_IADD, lo, nest_imm_i(nest, (int32_t)w->kernel[i])),
			 nest_imm_i(nest, (int32_t)(w->in[i] + (with_pad ? w->pad_end[i] : 0))));
		if (!with_pad)
			lo = op2(nest, RDU_SIMD_IMAX, lo, nest_imm_i(nest, 0));
		c = op2(nest, RDU_SIMD_ISUB, hi, lo);
		e = e < 0 ? c : op2(nest, RDU_SIMD_IMUL, e, c);
	}
	if (e < 0 && table < 0)
		return nest_imm_f(nest, (float)(1 / scale));
	if (e >= 0)
		e = nest_op(nest, RDU_SIMD_RECIP, nest_op(nest, RDU_SIMD_I2F, e, -1, -1), -1, -1);
	if (table >= 0)
		e = e < 0 ? table : op2(nest, RDU_SIMD_FMUL, e, table);
	return scale == 1 ? e : op2(nest, RDU_SIMD_FMUL, e, nest_imm_f(nest, (float)(1 / scale)));
}

/* Elements under the window: s y + d k - pad along each axis. */
static void window_access(struct access *a, const struct window *w, const int *dim, const int *k)
{
	a->coef[0][dim[0]] = a->coef[1][dim[1]] = 1;
	for (int i = 0; i < w->space; i++) {
		a->coef[2 + i][dim[2 + i]] = (int32_t)w->stride[i];
		a->coef[2 + i][k[i]] = (int32_t)w->dilation[i];
		a->offset[2 + i] = (int32_t)-w->pad[i];
	}
	a->guarded = true;
}

/* Dimensions of results and of a window, and x, read by windows, as input 0. */
static void read_windows(struct lower *l, struct nest *nest, struct value *x,
			 const struct window *w, int *dim, int *k)
{
	dim[0] = nest_dim(nest, "n", x->dim[0], false);
	dim[1] = nest_dim(nest, "c", x->dim[1], false);
	for (int i = 0; i < w->space; i++)
		dim[2 + i] = nest_dim(nest, space_name(w, i), w->out[i], false);
	for (int i = 0; i < w->space; i++)
		k[i] = nest_dim(nest, kernel_name(w, i), w->kernel[i], true);
	nest_input(nest, lower_value(l, x));
	window_access(&nest->in[0], w, dim, k);
}

static int pool_pattern(struct lower *l, struct node *n)
{
	struct value *x = n->in[0], *y = n->out[0];
	struct nest *nest = lower_nest(l, n, NULL);
	int with_pad = (int)attr_i(n, "count_include_pad", 0);
	int dim[2 + MAX_SPACE], k[MAX_SPACE], e;
	struct window w;
	float pad = is_max(n) ? -INFINITY : 0;

	if (window_get(l->graph, n, x, NULL, &w))
		return -1;
	read_windows(l, nest, x, &w, dim, k);
	memcpy(&nest->in[0].pad, &pad, 4);
	nest->reduce = is_max(n) ? REDUCE_MAX : REDUCE_ADD;
	nest->body = nest_in(nest, 0);
	e = nest_red(nest);
	if (!is_max(n)) {
		int scale = average_scale(l, nest, &w, with_pad, dim + 2);

		if (scale < 0)
			return -1;
		e = nest_op(nest, RDU_SIMD_FMUL, e, scale, -1);
	}
	nest_output(nest, lower_value(l, y), e);
	for (int i = 0; i < 2 + w.space; i++)
		nest->out[0].access.coef[i][dim[i]] = 1;
	return lower_done(l, n, nest);
}

/*
 * MaxPoolIndices(x, maxima): the number of the first element of each window that is its maximum
 * (or NaN), of all of x. storage_order 1 counts the spatial axes with the first one fastest.
 */
static int pool_indices_infer(struct graph *g, struct node *n)
{
	const struct value *x = n->in[0], *y = n->in[1];
	int64_t space = dims_count(x->ndim - 2, x->dim + 2);

	if (attr_i(n, "storage_order", 0) && x->ndim > 4)
		return node_error(g, n->of_node,
				  "storage_order 1 of %d dimensions is not supported", x->ndim);
	if (space > 1 << 24 || value_count(x) > INT32_MAX)
		return node_error(g, n->of_node, "indices of %s are not supported",
				  value_shape_text(g, x));
	return node_shape(g, n, 0, RDU_DT_I64, y->ndim, y->dim);
}

static int times(struct nest *nest, int e, int64_t by)
{
	return by == 1 ? e : op2(nest, RDU_SIMD_IMUL, e, nest_imm_i(nest, (int32_t)by));
}

static int pool_indices_pattern(struct lower *l, struct node *n)
{
	struct value *x = n->in[0], *y = n->in[1];
	struct nest *nest = lower_nest(l, n, NULL);
	int dim[2 + MAX_SPACE], k[MAX_SPACE], place = -1, hit, nan, e, outer, column;
	int64_t space = 1;
	struct window w;

	if (window_get(l->graph, n, x, NULL, &w))
		return -1;
	read_windows(l, nest, x, &w, dim, k);
	nest->in[0].pad = OUTSIDE;
	nest_input(nest, lower_value(l, y));
	nest_output(nest, lower_value(l, n->out[0]), 0);
	for (int i = 0; i < 2 + w.space; i++)
		nest->in[1].coef[i][dim[i]] = nest->out[0].access.coef[i][dim[i]] = 1;
	for (int i = 0; i < w.space; i++) {
		int at = times(nest, nest_index(nest, dim[2 + i]), w.stride[i]);

		at = op2(nest, RDU_SIMD_IADD, at,
			 times(nest, nest_index(nest, k[i]), w.dilation[i]));
		if (w.pad[i])
			at = op2(nest, RDU_SIMD_IADD, at, nest_imm_i(nest, (int32_t)-w.pad[i]));
		if (place >= 0)
			at = op2(nest, RDU_SIMD_IADD, at, times(nest, place, w.in[i]));
		place = at;
		space *= w.in[i];
	}
	/* Of row-major places the least one is the first. */
	nan = op2(nest, RDU_SIMD_FEQ, nest_in(nest, 0), nest_in(nest, 0));
	nan = nest_op(nest, RDU_SIMD_SELECT, nan, nest_imm_i(nest, 0),
		      op2(nest, RDU_SIMD_XOR, nest_in(nest, 0), nest_imm_i(nest, OUTSIDE)));
	hit = op2(nest, RDU_SIMD_FEQ, nest_in(nest, 0), nest_in(nest, 1));
	hit = op2(nest, RDU_SIMD_OR, hit, nan);
	nest->reduce = REDUCE_MIN;
	nest->body = nest_op(nest, RDU_SIMD_SELECT, hit, nest_op(nest, RDU_SIMD_I2F, place, -1, -1),
			     nest_imm_f(nest, (float)space));
	e = nest_op(nest, RDU_SIMD_F2I, nest_red(nest), -1, -1);
	if (attr_i(n, "storage_order", 0) && w.space == 2) {
		int rows = expr_int_divide(nest, e, nest_imm_i(nest, (int32_t)w.in[1]), &column);

		e = op2(nest, RDU_SIMD_IADD, rows, times(nest, column, w.in[0]));
	}
	outer = op2(nest, RDU_SIMD_IADD, nest_index(nest, dim[1]),
		    times(nest, nest_index(nest, dim[0]), x->dim[1]));
	nest->out[0].expr = op2(nest, RDU_SIMD_IADD, e, times(nest, outer, space));
	return lower_done(l, n, nest);
}

static int pool_gradient(struct graph *g, struct node *n)
{
	struct node *m = same_window(g, n, "PoolGrad", "grad");
	struct value *x = n->in[0];

	if (!x->needs_grad)
		return 0;
	node_input(g, m, n->out[0]->grad);
	if (is_max(n)) {
		node_input(g, m, x);
		node_input(g, m, n->of_node ? n->of_node->out[0] : n->out[0]);
		node_attr_i(g, m, "relu", n->of_node != NULL);
	}
	node_attr_ints(g, m, "shape", x->ndim, x->dim);
	return grad_finish(g, m, x);
}

struct pool_grad {
	struct tensor *gy, *gx;
	struct tensor *choice; /* maximum: which element of its window each result is */
	float scale; /* average */
};

/* A kernel position's number: positions are counted with the last axis fastest. */
static int kernel_number(struct nest *nest, const struct window *w, const int *k)
{
	int e = k[0];

	for (int i = 1; i < w->space; i++)
		e = op2(nest, RDU_SIMD_IADD,
			op2(nest, RDU_SIMD_IMUL, e, nest_imm_i(nest, (int32_t)w->kernel[i])), k[i]);
	return e;
}

static bool hangs_over(const struct window *w)
{
	for (int i = 0; i < w->space; i++)
		if (w->pad[i] ||
		    (w->out[i] - 1) * w->stride[i] + (w->kernel[i] - 1) * w->dilation[i] >=
			    w->in[i])
			return true;
	return false;
}

/*
 * The number of the element that the gradient of a maximum goes to, as PyTorch
 * chooses: the first that equals it, or the last NaN. With a Relu behind it
 * (differentiate.c) y is Relu's result; where that is 0 no element is chosen.
 */
static struct tensor *pool_choice(struct lower *l, struct node *n, const struct window *w)
{
	struct value *x = n->in[1], *y = n->in[2];
	struct nest *nest = lower_nest(l, n, "choice");
	int dim[2 + MAX_SPACE], k[MAX_SPACE], number, nan, none, e;
	int64_t count = 1;
	struct tensor *t;

	for (int i = 0; i < w->space; i++)
		count *= w->kernel[i];
	if (count > 1 << 24) {
		node_error(l->graph, n, "a window of more than 2^24 elements has no gradient");
		return NULL;
	}
	t = lower_temp(l, n, "choice", count < 256 ? RDU_DT_U8 : RDU_DT_I32, y->ndim, y->dim);
	read_windows(l, nest, x, w, dim, k);
	nest->in[0].pad = OUTSIDE;
	nest_input(nest, lower_value(l, y));
	for (int i = 0; i < 2 + w->space; i++)
		nest->in[1].coef[i][dim[i]] = 1;
	for (int i = 0; i < w->space; i++)
		k[i] = nest_index(nest, k[i]);
	number = nest_op(nest, RDU_SIMD_I2F, kernel_number(nest, w, k), -1, -1);
	none = nest_imm_f(nest, (float)count);
	/* The minimum of these is the last NaN, if there is one. */
	nan = op2(nest, RDU_SIMD_FSUB, nest_imm_f(nest, -1), number);
	if (hangs_over(w))
		nan = nest_op(nest, RDU_SIMD_SELECT,
			      op2(nest, RDU_SIMD_IEQ, nest_in(nest, 0), nest_imm_i(nest, OUTSIDE)),
			      none, nan);
	nan = nest_op(nest, RDU_SIMD_SELECT,
		      op2(nest, RDU_SIMD_FEQ, nest_in(nest, 0), nest_in(nest, 0)), none, nan);
	nest->body =
		nest_op(nest, RDU_SIMD_SELECT,
			op2(nest, RDU_SIMD_FEQ, nest_in(nest, 0), nest_in(nest, 1)), number, nan);
	nest->reduce = REDUCE_MIN;
	e = nest_red(nest);
	e = nest_op(nest, RDU_SIMD_SELECT, op2(nest, RDU_SIMD_FLT, e, nest_imm_f(nest, 0)),
		    op2(nest, RDU_SIMD_FSUB, nest_imm_f(nest, -1), e), e);
	if (attr_i(n, "relu", 0))
		e = nest_op(nest, RDU_SIMD_SELECT,
			    op2(nest, RDU_SIMD_FLE, nest_in(nest, 1), nest_imm_f(nest, 0)), none,
			    e);
	nest_output(nest, t, nest_op(nest, RDU_SIMD_F2I, e, -1, -1));
	for (int i = 0; i < 2 + w->space; i++)
		nest->out[0].access.coef[i][dim[i]] = 1;
	return lower_done(l, n, nest) ? NULL : t;
}

/* What one window gives to its element at kernel position k; in[1]: the choice. */
static int pool_share(struct nest *nest, const struct window *w, const struct pool_grad *t,
		      const int *k)
{
	int g = nest_in(nest, 0);

	if (!t->choice)
		return g;
	return nest_op(nest, RDU_SIMD_SELECT,
		       op2(nest, RDU_SIMD_IEQ, nest_in(nest, 1), kernel_number(nest, w, k)), g,
		       nest_imm_f(nest, 0));
}

static int pool_phase(struct lower *l, struct node *n, const struct window *w,
		      const struct phase *p, void *opaque)
{
	const struct pool_grad *t = opaque;
	struct nest *nest = lower_nest(l, n, NULL);
	int dim[2 + MAX_SPACE], e;
	bool empty = false;

	dim[0] = nest_dim(nest, "n", t->gx->dim[0], false);
	dim[1] = nest_dim(nest, "c", t->gx->dim[1], false);
	for (int i = 0; i < w->space; i++) {
		dim[2 + i] = nest_dim(nest, space_name(w, i), p[i].num_q, false);
		empty |= !p[i].num_k;
	}
	if (!empty) {
		int k[MAX_SPACE];

		for (int i = 0; i < w->space; i++)
			k[i] = nest_dim(nest, kernel_name(w, i), p[i].num_k, true);
		nest->reduce = REDUCE_ADD;
		nest_input(nest, t->gy);
		if (t->choice)
			nest_input(nest, t->choice);
		for (int j = 0; j < nest->num_in; j++) {
			struct access *a = &nest->in[j];

			a->coef[0][dim[0]] = a->coef[1][dim[1]] = 1;
			for (int i = 0; i < w->space; i++) {
				a->coef[2 + i][dim[2 + i]] = 1;
				a->coef[2 + i][k[i]] = (int32_t)-p[i].back;
				a->offset[2 + i] = (int32_t)p[i].y0;
			}
			a->guarded = true;
		}
		for (int i = 0; i < w->space; i++) /* k0 + step j */
			k[i] = op2(nest, RDU_SIMD_IADD,
				   op2(nest, RDU_SIMD_IMUL, nest_index(nest, k[i]),
				       nest_imm_i(nest, (int32_t)p[i].step)),
				   nest_imm_i(nest, (int32_t)p[i].k0));
		nest->body = pool_share(nest, w, t, k);
		e = nest_red(nest);
		if (t->scale != 1)
			e = nest_op(nest, RDU_SIMD_FMUL, e, nest_imm_f(nest, t->scale), -1);
	} else {
		e = nest_imm_f(nest, 0);
	}
	nest_output(nest, t->gx, e);
	for (int i = 0; i < 2 + w->space; i++)
		nest->out[0].access.coef[i][dim[i]] = 1;
	for (int i = 0; i < w->space; i++) {
		nest->out[0].access.coef[2 + i][dim[2 + i]] = (int32_t)w->stride[i];
		nest->out[0].access.offset[2 + i] = (int32_t)p[i].r;
	}
	return lower_done(l, n, nest);
}

/* Windows side by side: each input element is under at most one. */
static int pool_apart(struct lower *l, struct node *n, const struct window *w,
		      const struct pool_grad *t)
{
	struct nest *nest = lower_nest(l, n, NULL);
	int dim[2 + MAX_SPACE], k[MAX_SPACE], index[MAX_SPACE], e;

	dim[0] = nest_dim(nest, "n", t->gx->dim[0], false);
	dim[1] = nest_dim(nest, "c", t->gx->dim[1], false);
	for (int i = 0; i < w->space; i++) {
		dim[2 + i] = nest_dim(nest, space_name(w, i), w->out[i], false);
		k[i] = nest_dim(nest, kernel_name(w, i), w->kernel[i], false);
		index[i] = nest_index(nest, k[i]);
	}
	nest_input(nest, t->gy);
	if (t->choice)
		nest_input(nest, t->choice);
	e = pool_share(nest, w, t, index);
	if (t->scale != 1)
		e = nest_op(nest, RDU_SIMD_FMUL, e, nest_imm_f(nest, t->scale), -1);
	nest_output(nest, t->gx, e);
	for (int j = 0; j < nest->num_in; j++)
		for (int i = 0; i < 2 + w->space; i++)
			nest->in[j].coef[i][dim[i]] = 1;
	window_access(&nest->out[0].access, w, dim, k);
	nest->out[0].access.guarded = false; /* nothing is padded */
	if (lower_done(l, n, nest))
		return -1;
	for (int i = 0; i < w->space; i++)
		if (lower_fill(l, n, t->gx, 2 + i, w->out[i] * w->stride[i], w->in[i], 0))
			return -1;
	return 0;
}

static int pool_grad_pattern(struct lower *l, struct node *n)
{
	bool max = is_max(n->of_node), apart = true, constant = true;
	int with_pad = (int)attr_i(n->of_node, "count_include_pad", 0);
	struct pool_grad t = { .gy = lower_value(l, n->in[0]),
			       .gx = lower_value(l, n->out[0]),
			       .scale = 1 };
	struct window w;

	if (window_get(l->graph, n->of_node, n->out[0], NULL, &w))
		return -1;
	if (max) {
		t.choice = pool_choice(l, n, &w);
		if (!t.choice)
			return -1;
	}
	for (int i = 0; i < w.space; i++) {
		int64_t count = window_count(&w, i, with_pad, 0);

		apart &= w.stride[i] == w.kernel[i] && w.dilation[i] == 1 && !w.pad[i] &&
			 w.out[i] * w.stride[i] <= w.in[i];
		constant &= window_same(&w, i, with_pad);
		if (!max)
			t.scale /= (float)count;
	}
	if (!max && !constant) {
		struct nest *nest = lower_nest(l, n, "scale");
		struct value *gy = n->in[0];
		int dim[2 + MAX_SPACE], e;

		for (int i = 0; i < gy->ndim; i++)
			dim[i] = nest_dim(nest, axis_name(gy->ndim, i), gy->dim[i], false);
		nest_input(nest, t.gy);
		access_identity(&nest->in[0]);
		e = average_scale(l, nest, &w, with_pad, dim + 2);
		if (e < 0)
			return -1;
		e = nest_op(nest, RDU_SIMD_FMUL, nest_in(nest, 0), e, -1);
		t.gy = lower_temp(l, n, "scaled", RDU_DT_F32, gy->ndim, gy->dim);
		nest_output(nest, t.gy, e);
		access_identity(&nest->out[0].access);
		if (lower_done(l, n, nest))
			return -1;
		t.scale = 1;
	}
	if (apart)
		return pool_apart(l, n, &w, &t);
	return each_phase(l, n, &w, w.in, pool_phase, &t);
}

/* ---- over all positions: a reduction ------------------------------------------------- */

static int global_average_expand(struct graph *g, struct node *n)
{
	static const int64_t axes[] = { 2, 3, 4, 5, 6, 7 };
	struct node *m = node_new(g, "ReduceMean", n->name);

	if (n->in[0]->ndim < 3)
		return node_error(g, n, "its input has %d dimensions", n->in[0]->ndim);
	node_input(g, m, n->in[0]);
	node_attr_ints(g, m, "axes", n->in[0]->ndim - 2, axes);
	return graph_replace_first(n, graph_finish(g, m));
}

/* One window along all that was in space: unlike ReduceMax's, its gradient goes
 * to one element. */
static int global_max_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *v;
	struct node *m = node_new(g, "MaxPool", n->name);
	int64_t dim[RDU_MAX_DIMS], count = 1;

	if (x->ndim < 3)
		return node_error(g, n, "its input has %d dimensions", x->ndim);
	for (int i = 2; i < x->ndim; i++) {
		count *= x->dim[i];
		dim[i] = 1;
	}
	v = graph_reshape(g, graph_format(g, "%.200s.line", n->name), x, 3,
			  (int64_t[]){ x->dim[0], x->dim[1], count });
	if (!v)
		return -1;
	node_input(g, m, v);
	node_attr_ints(g, m, "kernel_shape", 1, &count);
	node_attr_ints(g, m, "strides", 1, &count);
	dim[0] = x->dim[0];
	dim[1] = x->dim[1];
	return graph_replace_first(n, graph_reshape(g, n->name, graph_finish(g, m), x->ndim, dim));
}

const struct op ops_pool[] = {
	{ .name = "MaxPool",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 2,
	  .rewrite = max_pool_rewrite,
	  .infer = pool_infer,
	  .gradient = pool_gradient,
	  .pattern = pool_pattern },
	{ .name = "AveragePool",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .infer = pool_infer,
	  .gradient = pool_gradient,
	  .pattern = pool_pattern },
	{ .name = "GlobalAveragePool",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .expand = global_average_expand },
	{ .name = "GlobalMaxPool",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .expand = global_max_expand },
	{ .name = "MaxPoolIndices",
	  .min_in = 2,
	  .max_in = 2,
	  .max_out = 1,
	  .internal = true,
	  .infer = pool_indices_infer,
	  .stop_gradient = true,
	  .pattern = pool_indices_pattern },
	{ .name = "PoolGrad",
	  .min_in = 1,
	  .max_in = 3,
	  .max_out = 1,
	  .internal = true,
	  .infer = shape_attr_infer,
	  .pattern = pool_grad_pattern },
	{ 0 },
};
