// SPDX-License-Identifier: MIT
/*
 * RoiAlign: each region of interest is cut into bins, and a bin is the mean or the maximum of samples,
 * each between four elements. Made of Gather and elementwise operators; as ONNX's reference, the
 * maximum is that of the elements by their weights. MaxRoiPool: a bin is the maximum of whole elements.
 */
#include <math.h>
#include <string.h>
#include "graph.h"

#define OP1(op, a) graph_op1(g, op, n->name, a)
#define OP2(op, a, b) graph_op2(g, op, n->name, a, b)
#define F(v) graph_const_f(g, v)

#define MOST_SAMPLES (1ll << 26) /* of all bins and channels */
#define MOST_RATIO 4096 /* bins, or samples of one, along an axis */

/* Along one axis, [regions, bins, samples] each. */
struct samples {
	int64_t bins, most; /* samples of a bin, of any region */
	struct value *counts; /* [regions, 1, 1]: how many there are; NULL: `most` */
	struct value *share; /* 1 / counts, [regions, 1, 1] */
	struct value *there; /* is it one of the region's; NULL: always */
	struct value *at[2], *weight[2]; /* of two elements beside it */
};

static struct value *choose(struct graph *g, struct node *n, struct value *c, struct value *a,
			    struct value *b)
{
	return c && a && b ? graph_op3(g, "Where", n->name, c, a, b) : NULL;
}

/* 0, 1, ... as floats, plus `add`, along a dimension of three. */
static struct value *count_along(struct graph *g, int64_t num, int d, float add)
{
	int64_t dim[3] = { 1, 1, 1 };
	struct value *v;

	dim[d] = num;
	v = graph_const(g, RDU_DT_F32, 3, dim, NULL);
	for (int64_t i = 0; i < num; i++)
		((float *)v->data)[i] = (float)i + add;
	return v;
}

/* Do elements lie around whole places, and not behind them? */
static bool half_pixel(const struct graph *g, const struct node *n)
{
	return g->opset >= 16 &&
	       !strcmp(attr_s(n, "coordinate_transformation_mode", "half_pixel"), "half_pixel");
}

/* Column k of the regions, scaled, [regions, 1, 1]. */
static struct value *edge(struct graph *g, struct node *n, struct value *rois, int k)
{
	int64_t dim[3] = { rois->dim[0], 1, 1 };
	struct value *v = graph_slice(g, n->name, rois, 1, k, 1, false);

	v = v ? OP2("Mul", v, F(attr_f(n, "spatial_scale", 1))) : NULL;
	v = v && half_pixel(g, n) ? OP2("Sub", v, F(0.5f)) : v;
	return graph_reshape(g, n->name, v, 3, dim);
}

/* How many samples a bin has, if the region's size says it: as many as it has elements, rounded up. */
static int count_samples(struct graph *g, struct node *n, struct value *bin, int64_t in,
			 struct samples *s)
{
	struct value *table, *whole;
	int64_t num;

	s->counts = OP2("Max", OP1("Ceil", bin), F(0));
	if (!s->counts)
		return -1;
	s->most = (2 * in + s->bins - 1) / s->bins; /* of a region twice as large as the input */
	if (s->counts->constant && s->counts->data) {
		s->most = 1;
		for (int64_t i = 0; i < value_count(s->counts); i++) {
			double v = value_real(s->counts, i);

			if (!(v <= MOST_RATIO))
				return node_error(g, n, "a region has %g samples to a bin", v);
			s->most = v > (double)s->most ? (int64_t)v : s->most;
		}
	}
	if (s->most > MOST_RATIO)
		return node_error(g, n,
				  "%lld samples to a bin are not supported: set sampling_ratio",
				  (long long)s->most);
	num = s->most + 1;
	table = graph_const(g, RDU_DT_F32, 1, &num, NULL);
	for (int64_t i = 0; i < num; i++)
		((float *)table->data)[i] = i ? 1 / (float)i : 0;
	/* One that has more stops the run: it is no place of the table. */
	whole = graph_cast(g, n->name, s->counts, RDU_DT_I64);
	s->share = whole ? OP2("Gather", table, whole) : NULL;
	s->there = OP2("Less", count_along(g, s->most, 2, 0), s->counts);
	return s->share && s->there ? 0 : -1;
}

/* Of regions from `low` to `high` along an axis of `in` elements. */
static int sample_axis(struct graph *g, struct node *n, struct value *low, struct value *high,
		       int64_t in, int64_t bins, struct samples *s)
{
	int64_t ratio = attr_i(n, "sampling_ratio", 0);
	struct value *size = OP2("Sub", high, low), *bin, *at, *step, *valid, *first, *part;
	float last = (float)(in - 1);

	memset(s, 0, sizeof(*s));
	s->bins = bins;
	s->most = ratio;
	s->share = F(ratio ? 1 / (float)ratio : 0);
	size = size && !half_pixel(g, n) ? OP2("Max", size, F(1)) : size;
	bin = size ? OP2("Mul", size, F(1 / (float)bins)) : NULL;
	if (!bin || (!ratio && count_samples(g, n, bin, in, s)))
		return -1;
	step = OP2("Mul", bin, s->share);
	at = step ? OP2("Mul", step, count_along(g, s->most, 2, 0.5f)) : NULL;
	part = OP2("Mul", bin, count_along(g, bins, 1, 0));
	at = at && part ? OP2("Add", OP2("Add", low, part), at) : NULL;
	/* Farther outside than one element there is nothing. */
	valid = at ? OP2("LessOrEqual", at, F((float)in)) : NULL;
	valid = valid ? OP2("And", valid, OP2("GreaterOrEqual", at, F(-1))) : NULL;
	if (valid && s->there)
		valid = OP2("And", valid, s->there);
	at = choose(g, n, valid, at, F(0));
	at = at ? graph_op3(g, "Clip", n->name, at, F(0), F(last)) : NULL;
	first = at ? OP1("Floor", at) : NULL;
	part = first ? OP2("Sub", at, first) : NULL;
	valid = graph_cast(g, n->name, valid, RDU_DT_F32);
	if (!part || !valid)
		return -1;
	s->at[0] = first;
	s->at[1] = OP2("Min", OP2("Add", first, F(1)), F(last));
	s->weight[0] = OP2("Mul", OP2("Sub", F(1), part), valid);
	s->weight[1] = OP2("Mul", part, valid);
	return s->at[1] && s->weight[0] && s->weight[1] ? 0 : -1;
}

/* [regions, bins, samples] beside those of the other axis: [regions, by, sy, bx, sx, 1]. */
static struct value *spread(struct graph *g, struct node *n, struct value *v, bool x)
{
	int64_t dim[6] = { 0, 1, 1, 1, 1, 1 };

	if (!v)
		return NULL;
	if (!v->ndim) /* one number for all */
		return v;
	dim[0] = v->dim[0];
	dim[x ? 3 : 1] = v->dim[1];
	dim[x ? 4 : 2] = v->dim[2];
	return graph_reshape(g, n->name, v, 6, dim);
}

static struct value *both(struct graph *g, struct node *n, const char *op, struct value *y,
			  struct value *x)
{
	y = spread(g, n, y, false);
	x = spread(g, n, x, true);
	return y && x ? OP2(op, y, x) : NULL;
}

/* The elements beside each sample, by their weights, and the four of them together. */
static struct value *interpolated(struct graph *g, struct node *n, struct value *rows,
				  struct value *first, const struct samples *y,
				  const struct samples *x, bool max)
{
	struct value *all = NULL;
	int64_t dim[6];

	for (int k = 0; k < 4; k++) {
		struct value *row = graph_cast(g, n->name, y->at[k / 2], RDU_DT_I64), *at, *v;

		row = row ? OP2("Mul", row, graph_const_i(g, n->in[0]->dim[3])) : NULL;
		at = both(g, n, "Add", row, graph_cast(g, n->name, x->at[k % 2], RDU_DT_I64));
		at = at ? OP2("Add", at, first) : NULL;
		if (!at)
			return NULL;
		memcpy(dim, at->dim, sizeof(dim));
		v = OP2("Gather", rows, graph_reshape(g, n->name, at, 5, dim));
		v = v ? OP2("Mul", v, both(g, n, "Mul", y->weight[k / 2], x->weight[k % 2])) : NULL;
		all = all && v ? OP2(max ? "Max" : "Add", all, v) : v;
		if (!all)
			return NULL;
	}
	return all;
}

/* Mean or maximum of a bin's samples: [regions, by, bx, channels]. */
static struct value *pooled(struct graph *g, struct node *n, struct value *v,
			    const struct samples *y, const struct samples *x, bool max)
{
	static const int64_t axes[] = { 2, 4 };
	struct value *there, *any;
	int64_t dim[4];

	if (!max) {
		v = OP2("Mul", v, both(g, n, "Mul", y->share, x->share));
		return v ? graph_reduce(g, "ReduceSum", n->name, v, 2, axes, 0) : NULL;
	}
	if (!y->there)
		return graph_reduce(g, "ReduceMax", n->name, v, 2, axes, 0);
	there = both(g, n, "And", y->there, x->there);
	v = choose(g, n, there, v, F(-INFINITY));
	v = v ? graph_reduce(g, "ReduceMax", n->name, v, 2, axes, 0) : NULL;
	any = both(g, n, "Min", y->counts, x->counts);
	any = any ? OP2("Less", F(0), any) : NULL;
	if (!v || !any)
		return NULL;
	memcpy(dim, (int64_t[]){ any->dim[0], 1, 1, 1 }, sizeof(dim));
	return choose(g, n, graph_reshape(g, n->name, any, 4, dim), v, F(0));
}

static int roi_align_expand(struct graph *g, struct node *n)
{
	static const int64_t channels_last[] = { 0, 2, 3, 1 }, channels_second[] = { 0, 3, 1, 2 };
	struct value *x = n->in[0], *rois = n->in[1], *batch = n->in[2], *rows, *first, *v;
	bool max = !strcmp(attr_s(n, "mode", "avg"), "max");
	int64_t bins[2] = { attr_i(n, "output_height", 1), attr_i(n, "output_width", 1) };
	int64_t dim[6] = { 0 }, images;
	struct samples ys, xs;
	struct node *m;

	if (x->ndim != 4 || dtype_is_int(x->dtype) || rois->ndim != 2 || rois->dim[1] != 4 ||
	    rois->dtype != x->dtype || batch->ndim != 1 || batch->dim[0] != rois->dim[0] ||
	    !dtype_is_int(batch->dtype))
		return node_error(g, n, "input %s %s, regions %s %s and indices %s %s do not fit",
				  dtype_name(x->dtype), value_shape_text(g, x),
				  dtype_name(rois->dtype), value_shape_text(g, rois),
				  dtype_name(batch->dtype), value_shape_text(g, batch));
	if (bins[0] < 1 || bins[1] < 1 || bins[0] > MOST_RATIO || bins[1] > MOST_RATIO ||
	    attr_i(n, "sampling_ratio", 0) < 0 || attr_i(n, "sampling_ratio", 0) > MOST_RATIO)
		return node_error(g, n, "%lld x %lld bins of %lld samples", (long long)bins[0],
				  (long long)bins[1], (long long)attr_i(n, "sampling_ratio", 0));
	if (!value_count(x) || !value_count(rois))
		return node_error(g, n, "of no elements it is not supported");
	rois = graph_cast(g, n->name, rois, RDU_DT_F32);
	if (!rois ||
	    sample_axis(g, n, edge(g, n, rois, 1), edge(g, n, rois, 3), x->dim[2], bins[0], &ys) ||
	    sample_axis(g, n, edge(g, n, rois, 0), edge(g, n, rois, 2), x->dim[3], bins[1], &xs))
		return -1;
	memcpy(dim, (int64_t[]){ rois->dim[0], bins[0], bins[1], x->dim[1], ys.most, xs.most },
	       sizeof(dim));
	if (dims_count(6, dim) < 0 || dims_count(6, dim) > MOST_SAMPLES)
		return node_error(
			g, n, "%lld x %lld samples to a bin are not supported: set sampling_ratio",
			(long long)ys.most, (long long)xs.most);
	/* A row of channels for each place of all images; where each region's image begins. */
	m = node_new(g, "Transpose", graph_format(g, "%.200s.rows", n->name));
	node_input(g, m, graph_cast(g, n->name, x, RDU_DT_F32));
	node_attr_ints(g, m, "perm", 4, channels_last);
	dim[0] = x->dim[0] * x->dim[2] * x->dim[3];
	dim[1] = x->dim[1];
	rows = graph_reshape(g, n->name, graph_finish(g, m), 2, dim);
	images = x->dim[0];
	first = graph_const(g, RDU_DT_I64, 1, &images, NULL);
	for (int64_t i = 0; i < images; i++)
		((int64_t *)first->data)[i] = i * x->dim[2] * x->dim[3];
	first = OP2("Gather", first, batch);
	for (int i = 0; i < 6; i++)
		dim[i] = i ? 1 : rois->dim[0];
	first = graph_reshape(g, n->name, first, 6, dim);
	if (!rows || !first)
		return -1;
	v = interpolated(g, n, rows, first, &ys, &xs, max);
	v = v ? pooled(g, n, v, &ys, &xs, max) : NULL;
	if (!v)
		return -1;
	m = node_new(g, "Transpose", n->name);
	node_input(g, m, v);
	node_attr_ints(g, m, "perm", 4, channels_second);
	return graph_replace_first(n, graph_cast(g, n->name, graph_finish(g, m), x->dtype));
}

/* ---- MaxRoiPool ------------------------------------------------------------------------------ */

/* A whole number of elements over `bins`: what the integer quotient leaves is divided by the compiler. */
static struct value *bin_size(struct graph *g, struct node *n, struct value *size, int64_t bins)
{
	struct value *part = graph_const(g, RDU_DT_F32, 1, &bins, NULL), *by, *whole, *left;

	for (int64_t i = 0; i < bins; i++)
		((float *)part->data)[i] = (float)i / (float)bins;
	by = graph_cast(g, n->name, graph_const_i(g, bins), RDU_DT_I32);
	size = size ? graph_op3(g, "Clip", n->name, size, F(1), F(0x1p30f)) : NULL;
	size = graph_cast(g, n->name, size, RDU_DT_I32);
	whole = size && by ? OP2("Div", size, by) : NULL;
	left = whole ? OP2("Mod", size, by) : NULL;
	whole = graph_cast(g, n->name, whole, RDU_DT_F32);
	return whole && left ? OP2("Add", whole, OP2("Gather", part, left)) : NULL;
}

/*
 * Is an element, of `in` along an axis, in a bin: [regions, bins, in]. A region is whole elements from one to the
 * last, at least one; its bins begin and end at the elements around their part of it.
 */
static struct value *in_bins(struct graph *g, struct node *n, struct value *first,
			     struct value *last, int64_t bins, int64_t in)
{
	struct value *size, *from, *to, *at = count_along(g, in, 2, 0);

	/* Halves away from 0, as C's round(). */
	for (int k = 0; k < 2; k++) {
		struct value **v = k ? &last : &first, *down, *up;

		if (!*v)
			return NULL;
		up = OP1("Floor", OP2("Add", *v, F(0.5f)));
		down = OP1("Ceil", OP2("Sub", *v, F(0.5f)));
		*v = up && down ? choose(g, n, OP2("Less", *v, F(0)), down, up) : NULL;
	}
	size = first && last ? OP2("Add", OP2("Sub", last, first), F(1)) : NULL;
	size = bin_size(g, n, size, bins);
	from = size ? OP1("Floor", OP2("Mul", size, count_along(g, bins, 1, 0))) : NULL;
	to = size ? OP1("Ceil", OP2("Mul", size, count_along(g, bins, 1, 1))) : NULL;
	from = from ? OP2("GreaterOrEqual", at, OP2("Add", from, first)) : NULL;
	to = to ? OP2("Less", at, OP2("Add", to, first)) : NULL;
	return from && to ? OP2("And", from, to) : NULL;
}

/* The maxima of v over its last axis where flags [regions, bins, in] are set: bins in its place. */
static struct value *max_of_bins(struct graph *g, struct node *n, struct value *v,
				 struct value *flags)
{
	int64_t wide[5], flat[5], axis = 4;

	if (!v || !flags)
		return NULL;
	memcpy(wide, (int64_t[]){ v->dim[0], v->dim[1], v->dim[2], 1, v->dim[3] }, sizeof(wide));
	memcpy(flat, (int64_t[]){ flags->dim[0], 1, 1, flags->dim[1], flags->dim[2] },
	       sizeof(flat));
	v = choose(g, n, graph_reshape(g, n->name, flags, 5, flat),
		   graph_reshape(g, n->name, v, 5, wide), F(-INFINITY));
	return v ? graph_reduce(g, "ReduceMax", n->name, v, 1, &axis, 0) : NULL;
}

/* 1 where a bin has an element, 0 where it lies beside the input. */
static struct value *not_empty(struct graph *g, struct node *n, struct value *flags, bool column)
{
	int64_t axis = 2, dim[4];

	flags = graph_cast(g, n->name, flags, RDU_DT_F32);
	flags = flags ? graph_reduce(g, "ReduceMax", n->name, flags, 1, &axis, 0) : NULL;
	if (!flags)
		return NULL;
	memcpy(dim, (int64_t[]){ flags->dim[0], 1, 1, 1 }, sizeof(dim));
	dim[column ? 3 : 2] = flags->dim[1];
	return graph_reshape(g, n->name, flags, 4, dim);
}

static int max_roi_expand(struct graph *g, struct node *n)
{
	static const int64_t last_two[] = { 0, 1, 3, 2 };
	struct value *x = n->in[0], *rois = n->in[1], *v, *y[2], *batch, *flags, *any[2];
	int64_t dim[3] = { 0, 1, 1 };
	int num;
	const int64_t *bins = attr_ints(n, "pooled_shape", &num);
	struct node *m;

	if (x->ndim != 4 || x->dtype != RDU_DT_F32 || rois->ndim != 2 || rois->dim[1] != 5 ||
	    rois->dtype != RDU_DT_F32 || !bins || num != 2 || !value_count(x) || !value_count(rois))
		return node_error(g, n, "input %s %s, regions %s %s and pooled_shape do not fit",
				  dtype_name(x->dtype), value_shape_text(g, x),
				  dtype_name(rois->dtype), value_shape_text(g, rois));
	for (int i = 0; i < 2; i++)
		if (bins[i] < 1 || bins[i] > MOST_RATIO)
			return node_error(g, n, "%lld bins", (long long)bins[i]);
	batch = graph_slice(g, n->name, rois, 1, 0, 1, false);
	dim[0] = rois->dim[0];
	batch = graph_cast(g, n->name, graph_reshape(g, n->name, batch, 1, dim), RDU_DT_I64);
	v = batch ? OP2("Gather", x, batch) : NULL;
	for (int i = 0; i < 2 && v; i++) { /* columns, then rows */
		y[0] = y[1] = NULL;
		for (int k = 0; k < 2; k++) {
			y[k] = graph_slice(g, n->name, rois, 1, 1 + i + 2 * k, 1, false);
			y[k] = graph_reshape(g, n->name, y[k], 3, dim);
			y[k] = y[k] ? OP2("Mul", y[k], F(attr_f(n, "spatial_scale", 1))) : NULL;
		}
		flags = in_bins(g, n, y[0], y[1], bins[1 - i], x->dim[3 - i]);
		v = max_of_bins(g, n, v, flags);
		any[i] = not_empty(g, n, flags, !i);
		m = node_new(g, "Transpose", n->name);
		if (!v)
			return -1;
		node_input(g, m, v);
		node_attr_ints(g, m, "perm", 4, last_two);
		v = graph_finish(g, m);
	}
	if (!v || !any[0] || !any[1])
		return -1;
	/* A bin without an element is 0. */
	return graph_replace_first(
		n, choose(g, n, OP2("Less", F(0), OP2("Mul", any[0], any[1])), v, F(0)));
}

const struct op ops_roi[] = {
	{ .name = "MaxRoiPool", .min_in = 2, .max_in = 2, .max_out = 1, .expand = max_roi_expand },
	{ .name = "RoiAlign", .min_in = 3, .max_in = 3, .max_out = 1, .expand = roi_align_expand },
	{ 0 },
};
