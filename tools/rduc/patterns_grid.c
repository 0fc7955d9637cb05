// SPDX-License-Identifier: MIT
/*
 * Operators of computed places and of small matrices, made of others: GridSample,
 * DeformConv, AffineGrid, Det.
 */
#include <string.h>
#include "graph.h"

#define OP1(op, a) graph_op1(g, op, n->name, a)
#define OP2(op, a, b) graph_op2(g, op, n->name, a, b)
#define F(v) graph_const_f(g, v)

static struct value *choose(struct graph *g, struct node *n, struct value *c, struct value *a,
			    struct value *b)
{
	return c && a && b ? graph_op3(g, "Where", n->name, c, a, b) : NULL;
}

/* ---- GridSample ----------------------------------------------------------------------------- */

#define MAX_TAPS 4

/* Along one axis: which places are read, and with which weights; [batch, 1, points]. */
struct taps {
	int num;
	struct value *at[MAX_TAPS]; /* fp32, whole numbers inside the tensor */
	struct value *weight[MAX_TAPS]; /* NULL: 1 */
	struct value *inside[MAX_TAPS]; /* NULL: always */
};

struct sampling {
	bool corners, zeros, reflect;
	int num; /* taps an axis: 1, 2 or 4 */
};

/* A triangle wave between the ends: what lies outside is turned back at each of them. */
static struct value *reflected(struct graph *g, struct node *n, struct value *v, float low,
			       float high)
{
	float range = high - low;
	struct value *turns;

	if (range <= 0)
		return OP2("Mul", v, F(0));
	v = OP2("Sub", v, F(low));
	turns = OP1("Floor", OP2("Mul", v, F(0.5f / range)));
	v = OP2("Sub", v, OP2("Mul", turns, F(2 * range)));
	v = OP1("Abs", OP2("Sub", v, F(range)));
	v = v ? OP2("Sub", F(range), v) : NULL;
	return OP2("Add", v, F(low));
}

static struct value *clipped(struct graph *g, struct node *n, struct value *v, float low,
			     float high)
{
	return v ? graph_op3(g, "Clip", n->name, v, F(low), F(high)) : NULL;
}

/* Where v is outside of the ends, what it is reflected to; elsewhere v, to the bit. */
static struct value *reflected_outside(struct graph *g, struct node *n, struct value *v, float low,
				       float high)
{
	struct value *in = OP2("Equal", clipped(g, n, v, low, high), v);

	return choose(g, n, in, v, reflected(g, n, v, low, high));
}

/* Of -1 ... 1 the place among `size` elements; then what is done outside of them. */
static struct value *grid_place(struct graph *g, struct node *n, const struct sampling *s,
				struct value *v, int64_t size)
{
	float low = s->corners ? 0 : -0.5f, high = (float)(size - 1) - low;

	v = OP2("Add", v, F(1));
	v = OP2("Mul", v, F((s->corners ? (float)(size - 1) : (float)size) / 2));
	if (!s->corners)
		v = OP2("Sub", v, F(0.5f));
	if (s->num == 1)
		v = OP1("Round", v);
	if (s->zeros || (s->num == 4 && !s->reflect))
		return v; /* what lies outside is seen to tap by tap */
	return s->reflect ? reflected_outside(g, n, v, low, high)
			  : clipped(g, n, v, 0, (float)(size - 1));
}

/* The weight of tap k of four around a place, `f` behind the second one. */
static struct value *cubic_weight(struct graph *g, struct node *n, struct value *f, int k)
{
	const float a = -0.75f;
	bool near = k == 1 || k == 2;
	struct value *x = k == 1   ? f
			  : k == 0 ? OP2("Add", f, F(1))
				   : graph_op2(g, "Sub", n->name, F((float)(k - 1)), f);
	/* near: ((a + 2) x - (a + 3)) x x + 1; far: ((a x - 5 a) x + 8 a) x - 4 a */
	struct value *v = OP2("Mul", x, F(near ? a + 2 : a));

	v = OP2("Sub", v, F(near ? a + 3 : 5 * a));
	v = OP2("Mul", v, x);
	if (!near)
		v = OP2("Add", v, F(8 * a));
	v = OP2("Mul", v, x);
	return OP2("Add", v, F(near ? 1 : -4 * a));
}

static int taps_of(struct graph *g, struct node *n, const struct sampling *s, struct value *v,
		   int64_t size, struct taps *t)
{
	struct value *base = s->num == 1 ? v : OP1("Floor", v);
	struct value *f = s->num == 1 ? NULL : OP2("Sub", v, base);
	float last = (float)(size - 1), low = s->corners ? 0 : -0.5f;

	t->num = s->num;
	for (int k = 0; k < s->num; k++) {
		struct value *at = OP2("Add", base, F((float)(s->num == 4 ? k - 1 : k))), *in;

		t->weight[k] = NULL;
		if (s->num == 2)
			t->weight[k] = k ? f : (f ? OP2("Sub", F(1), f) : NULL);
		if (s->num == 4)
			t->weight[k] = f ? cubic_weight(g, n, f, k) : NULL;
		if (s->reflect)
			at = OP1("Round", reflected_outside(g, n, at, low, last - low));
		in = clipped(g, n, at, 0, last);
		t->inside[k] = s->zeros ? OP2("Equal", in, at) : NULL;
		t->at[k] = in ? graph_cast(g, n->name, in, RDU_DT_I32) : NULL;
		if (!t->at[k] || (s->zeros && !t->inside[k]) || (s->num > 1 && !t->weight[k]))
			return -1;
	}
	return 0;
}

/* What one combination of the axes' taps reads, weighted: [batch, channels, points]. */
static struct value *sample(struct graph *g, struct node *n, struct value *flat,
			    const struct taps *t, const int64_t *size, int axes, int which,
			    int64_t points)
{
	struct value *at = NULL, *weight = NULL, *inside = NULL, *v;
	int64_t dim[3] = { flat->dim[0], flat->dim[1], points }, three = 3;
	struct node *m = node_new(g, "GatherElements", n->name);

	for (int a = 0; a < axes; which /= t[a++].num) {
		int k = which % t[a].num;

		at = at ? OP2("Add",
			      OP2("Mul", at,
				  graph_const(g, RDU_DT_I32, 0, NULL,
					      &(int32_t){ (int32_t)size[a] })),
			      t[a].at[k])
			: t[a].at[k];
		if (t[a].weight[k])
			weight = weight ? OP2("Mul", weight, t[a].weight[k]) : t[a].weight[k];
		if (t[a].inside[k])
			inside = inside ? OP2("And", inside, t[a].inside[k]) : t[a].inside[k];
	}
	at = at ? OP2("Expand", at, graph_const(g, RDU_DT_I64, 1, &three, dim)) : NULL;
	if (!at)
		return NULL;
	node_input(g, m, flat);
	node_input(g, m, at);
	node_attr_i(g, m, "axis", 2);
	v = graph_finish(g, m);
	v = inside ? choose(g, n, inside, v, F(0)) : v;
	return weight ? OP2("Mul", v, weight) : v;
}

/* All of them together, for each place. */
static struct value *sampled(struct graph *g, struct node *n, struct value *flat,
			     const struct taps *t, const int64_t *size, int axes, int64_t points)
{
	struct value *sum = NULL;
	int num = 1;

	for (int a = 0; a < axes; a++)
		num *= t[a].num;
	for (int i = 0; i < num; i++) {
		struct value *v = flat ? sample(g, n, flat, t, size, axes, i, points) : NULL;

		sum = sum && v ? OP2("Add", sum, v) : v;
		if (!sum)
			return NULL;
	}
	return sum;
}

static int sampling_of(struct graph *g, struct node *n, struct sampling *s)
{
	const char *mode = attr_s(n, "mode", "linear"),
		   *padding = attr_s(n, "padding_mode", "zeros");

	s->corners = attr_i(n, "align_corners", 0);
	s->zeros = !strcmp(padding, "zeros");
	s->reflect = !strcmp(padding, "reflection");
	s->num = strstr(mode, "linear") ? 2 : strstr(mode, "cubic") ? 4 : 1;
	if (n->in[0]->dtype != RDU_DT_F32 || n->in[1]->dtype != RDU_DT_F32)
		return node_error(g, n, "not supported for %s at %s", dtype_name(n->in[0]->dtype),
				  dtype_name(n->in[1]->dtype));
	return 0;
}

static int grid_sample_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *grid = n->in[1], *sum;
	int axes = x->ndim - 2;
	int64_t dim[RDU_MAX_DIMS], points;
	struct taps t[3];
	struct sampling s;

	if (sampling_of(g, n, &s))
		return -1;
	if (axes < 1 || axes > 3 || grid->ndim != x->ndim || grid->dim[axes + 1] != axes ||
	    grid->dim[0] != x->dim[0])
		return node_error(g, n, "a grid of shape %s for %s is not supported",
				  value_shape_text(g, grid), value_shape_text(g, x));
	if (!value_count(x) || !value_count(grid) || dims_count(axes, x->dim + 2) > INT32_MAX)
		return node_error(g, n, "not supported for %s at %s", value_shape_text(g, x),
				  value_shape_text(g, grid));
	points = dims_count(axes, grid->dim + 1);
	for (int a = 0; a < axes; a++) { /* the grid's last number is the first axis' */
		struct value *v = graph_slice(g, n->name, grid, axes + 1, axes - 1 - a, 1, false);
		const int64_t row[] = { x->dim[0], 1, points };

		v = graph_reshape(g, n->name, v, 3, row);
		v = grid_place(g, n, &s, v, x->dim[2 + a]);
		if (!v || taps_of(g, n, &s, v, x->dim[2 + a], &t[a]))
			return -1;
	}
	dim[0] = x->dim[0];
	dim[1] = x->dim[1];
	dim[2] = dims_count(axes, x->dim + 2);
	sum = sampled(g, n, graph_reshape(g, n->name, x, 3, dim), t, x->dim + 2, axes, points);
	memcpy(dim + 2, grid->dim + 1, (size_t)axes * sizeof(*dim));
	return graph_replace_first(n, graph_reshape(g, n->name, sum, x->ndim, dim));
}

/* ---- DeformConv ------------------------------------------------------------------------------ */

struct deform {
	int64_t kernel[2], stride[2], dilation[2], pad[4], out[2];
	int64_t group, offset_group, cells,
		points; /* points: of the result, for each cell of a kernel */
};

static int deform_ints(struct graph *g, struct node *n, const char *name, int num, int64_t *to)
{
	int have;
	const int64_t *p = attr_ints(n, name, &have);

	if (p && have != num)
		return node_error(g, n, "%s has %d numbers, not %d", name, have, num);
	for (int i = 0; i < num; i++) {
		to[i] = p ? p[i] : to[i];
		if (to[i] < (num > 2 ? 0 : 1) || to[i] > 1 << 16)
			return node_error(g, n, "%s has %lld", name, (long long)to[i]);
	}
	return 0;
}

/* Whether everything fits, and the size of the result. */
static int deform_get(struct graph *g, struct node *n, struct deform *d)
{
	struct value *x = n->in[0], *w = n->in[1], *offset = n->in[2], *bias = node_in(n, 3);
	struct value *mask = node_in(n, 4);
	bool fits = x->ndim == 4 && w->ndim == 4 && offset->ndim == 4;

	if (!fits)
		return node_error(g, n,
				  "input %s and weights %s: only 2-dimensional ones are supported",
				  value_shape_text(g, x), value_shape_text(g, w));
	for (int k = 0; k < n->num_in; k++)
		if (n->in[k] && n->in[k]->dtype != RDU_DT_F32)
			return node_error(g, n, "not supported for %s",
					  dtype_name(n->in[k]->dtype));
	*d = (struct deform){ { w->dim[2], w->dim[3] },
			      { 1, 1 },
			      { 1, 1 },
			      { 0 },
			      { 0 },
			      attr_i(n, "group", 1),
			      attr_i(n, "offset_group", 1),
			      0,
			      0 };
	if (deform_ints(g, n, "kernel_shape", 2, d->kernel) ||
	    deform_ints(g, n, "strides", 2, d->stride) ||
	    deform_ints(g, n, "dilations", 2, d->dilation) || deform_ints(g, n, "pads", 4, d->pad))
		return -1;
	fits = d->kernel[0] == w->dim[2] && d->kernel[1] == w->dim[3] && d->group > 0 &&
	       d->group <= x->dim[1] && d->offset_group > 0 && x->dim[1] == w->dim[1] * d->group &&
	       w->dim[0] % d->group == 0 && x->dim[1] % d->offset_group == 0;
	for (int i = 0; i < 2; i++) {
		int64_t span = (d->kernel[i] - 1) * d->dilation[i] + 1;
		int64_t slack = x->dim[2 + i] + d->pad[i] + d->pad[2 + i] - span;

		d->out[i] = slack < 0 ? 0 : slack / d->stride[i] + 1;
		fits = fits && slack >= 0 && offset->dim[2 + i] == d->out[i] &&
		       (!mask || (mask->ndim == 4 && mask->dim[2 + i] == d->out[i]));
	}
	d->cells = d->kernel[0] * d->kernel[1];
	fits = fits && offset->dim[0] == x->dim[0] && offset->dim[1] % (2 * d->cells) == 0 &&
	       offset->dim[1] / (2 * d->cells) == d->offset_group &&
	       (!bias || (bias->ndim == 1 && bias->dim[0] == w->dim[0])) &&
	       (!mask || (mask->dim[0] == x->dim[0] && mask->dim[1] == offset->dim[1] / 2));
	d->points = fits ? d->cells * d->out[0] * d->out[1] : 0;
	if (!fits || !value_count(x) || d->points > INT32_MAX)
		return node_error(
			g, n, "input %s, weights %s, offsets %s%s%s and attributes do not fit",
			value_shape_text(g, x), value_shape_text(g, w), value_shape_text(g, offset),
			mask ? ", mask " : "", mask ? value_shape_text(g, mask) : "");
	return 0;
}

/* Where the cells of all windows lie along an axis, moved by the offsets: [batch, 1, points]. */
static struct value *deform_places(struct graph *g, struct node *n, const struct deform *d,
				   int axis)
{
	int64_t batch = n->in[0]->dim[0] * d->offset_group, area = d->out[0] * d->out[1];
	const int64_t split[] = { batch, d->cells, 2, area }, row[] = { batch, 1, d->points };
	const int64_t one[] = { 1, 1, d->points };
	struct value *v = graph_const(g, RDU_DT_F32, 3, one, NULL);
	struct value *by = graph_reshape(g, n->name, n->in[2], 4, split);

	for (int64_t i = 0; i < d->points; i++) {
		int64_t cell = i / area, at = i % area;
		int64_t k = axis ? cell % d->kernel[1] : cell / d->kernel[1];
		int64_t y = axis ? at % d->out[1] : at / d->out[1];

		((float *)v->data)[i] =
			(float)(y * d->stride[axis] + k * d->dilation[axis] - d->pad[axis]);
	}
	by = by ? graph_slice(g, n->name, by, 2, axis, 1, false) : NULL;
	by = graph_reshape(g, n->name, by, 3, row);
	return by ? OP2("Add", by, v) : NULL;
}

/* What is read there, masked, times the weights. */
static struct value *deform_product(struct graph *g, struct node *n, const struct deform *d,
				    const struct taps *t)
{
	struct value *x = n->in[0], *w = n->in[1], *bias = node_in(n, 3), *mask = node_in(n, 4), *v;
	int64_t batch = x->dim[0] * d->offset_group, area = d->out[0] * d->out[1];
	const int64_t flat[] = { batch, x->dim[1] / d->offset_group, x->dim[2] * x->dim[3] };
	const int64_t row[] = { batch, 1, d->points };
	const int64_t columns[] = { x->dim[0], d->group, w->dim[1] * d->cells, area };
	const int64_t rows[] = { 1, d->group, w->dim[0] / d->group, w->dim[1] * d->cells };
	const int64_t out[] = { x->dim[0], w->dim[0], d->out[0], d->out[1] };
	const int64_t channels[] = { 1, w->dim[0], 1, 1 };

	v = sampled(g, n, graph_reshape(g, n->name, x, 3, flat), t, x->dim + 2, 2, d->points);
	if (v && mask)
		v = OP2("Mul", v, graph_reshape(g, n->name, mask, 3, row));
	v = graph_reshape(g, n->name, v, 4, columns);
	w = graph_reshape(g, n->name, w, 4, rows);
	v = v && w ? OP2("MatMul", w, v) : NULL;
	v = graph_reshape(g, n->name, v, 4, out);
	return v && bias ? OP2("Add", v, graph_reshape(g, n->name, bias, 4, channels)) : v;
}

/* A convolution of what is read at places beside its windows' own. */
static int deform_conv_expand(struct graph *g, struct node *n)
{
	const struct sampling s = { .corners = true, .zeros = true, .num = 2 };
	struct value *x = n->in[0], *v;
	struct taps t[2];
	struct deform d;

	if (deform_get(g, n, &d))
		return -1;
	for (int a = 0; a < 2; a++) {
		v = deform_places(g, n, &d, a);
		if (!v || taps_of(g, n, &s, v, x->dim[2 + a], &t[a]))
			return -1;
	}
	return graph_replace_first(n, deform_product(g, n, &d, t));
}
/* ---- AffineGrid ------------------------------------------------------------------------------ */

/* theta times each place's coordinates, (x, y, 1) or (x, y, z, 1). */
static int affine_grid_expand(struct graph *g, struct node *n)
{
	static const int64_t turned[] = { 0, 2, 1 };
	struct value *theta = n->in[0], *v;
	bool corners = attr_i(n, "align_corners", 0);
	int num, axes;
	const int64_t *size = node_const_ints(g, n, 1, &num);
	int64_t dim[5], points;
	struct node *m;
	float *p;

	if (!size)
		return -1;
	axes = num - 2;
	if (axes < 2 || axes > 3 || theta->ndim != 3 || theta->dim[0] != size[0] ||
	    theta->dim[1] != axes || theta->dim[2] != axes + 1 || dtype_is_int(theta->dtype))
		return node_error(g, n, "theta %s does not fit a size of %d numbers",
				  value_shape_text(g, theta), num);
	points = dims_count(axes, size + 2);
	if (points < 1 || points > GRAPH_MAX_FOLD * 16)
		return node_error(g, n, "a grid of %lld places is not supported",
				  (long long)points);
	for (int a = 0; a < axes && corners; a++)
		if (size[2 + a] == 1)
			return node_error(g, n,
					  "align_corners of one place is not supported: ONNX "
					  "leaves open where it lies");
	p = graph_alloc(g, (size_t)(points * (axes + 1)) * sizeof(*p));
	for (int64_t i = 0; i < points; i++) {
		int64_t rest = i;

		for (int a = axes - 1, c = 0; a >= 0; rest /= size[2 + a--], c++) {
			double at = (double)(rest % size[2 + a]), all = (double)size[2 + a];

			p[i * (axes + 1) + c] =
				(float)(corners ? 2 * at / (all - 1) - 1 : (2 * at + 1) / all - 1);
		}
		p[i * (axes + 1) + axes] = 1;
	}
	dim[0] = points;
	dim[1] = axes + 1;
	v = graph_cast(g, n->name, graph_const(g, RDU_DT_F32, 2, dim, p), theta->dtype);
	m = node_new(g, "Transpose", n->name);
	node_input(g, m, theta);
	node_attr_ints(g, m, "perm", 3, turned);
	v = v ? OP2("MatMul", v, graph_finish(g, m)) : NULL;
	dim[0] = size[0];
	memcpy(dim + 1, size + 2, (size_t)axes * sizeof(*dim));
	dim[axes + 1] = axes;
	return graph_replace_first(n, graph_reshape(g, n->name, v, axes + 2, dim));
}

/* ---- Det ------------------------------------------------------------------------------------- */

#define MAX_DET 64

/* Everything below the first pivot, less what the pivot's row takes away: one smaller. */
static struct value *eliminated(struct graph *g, struct node *n, struct value *a, struct value *hot,
				struct value *row, struct value *pivot)
{
	int64_t size = a->dim[1];
	struct value *first = graph_slice(g, n->name, a, 1, 0, 1, false), *factor, *zero;

	a = choose(g, n, hot, first, a); /* the pivot's row has changed places with the first */
	a = a ? graph_slice(g, n->name, a, 1, 1, size - 1, false) : NULL;
	zero = OP2("Equal", pivot, F(0));
	pivot = choose(g, n, zero, F(1), pivot); /* the column is 0, and so is the result */
	factor = OP2("Div", a ? graph_slice(g, n->name, a, 2, 0, 1, false) : NULL, pivot);
	row = graph_slice(g, n->name, row, 2, 1, size - 1, false);
	a = a ? graph_slice(g, n->name, a, 2, 1, size - 1, false) : NULL;
	return OP2("Sub", a, OP2("Mul", factor, row));
}

/* The product of the pivots of Gauss' elimination, each the largest of its column. */
static int det_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *a, *det = NULL;
	int64_t size, dim[3];

	if (x->ndim < 2 || x->dim[x->ndim - 1] != x->dim[x->ndim - 2] || dtype_is_int(x->dtype) ||
	    !x->dim[x->ndim - 1] || x->dim[x->ndim - 1] > MAX_DET)
		return node_error(g, n, "not supported for %s %s: square matrices of up to %d rows",
				  dtype_name(x->dtype), value_shape_text(g, x), MAX_DET);
	size = x->dim[x->ndim - 1];
	dim[0] = dims_count(x->ndim - 2, x->dim);
	dim[1] = dim[2] = size;
	a = graph_cast(g, n->name, x, RDU_DT_F32);
	a = a ? graph_reshape(g, n->name, a, 3, dim) : NULL;
	for (; a && size; size--) {
		struct node *m = node_new(g, "ArgMax", n->name);
		struct value *at, *hot, *row, *pivot;
		int64_t one = 1;

		node_input(g, m, OP1("Abs", graph_slice(g, n->name, a, 2, 0, 1, false)));
		node_attr_i(g, m, "axis", 1);
		at = graph_finish(g, m);
		dim[0] = 1;
		dim[1] = size;
		dim[2] = 1;
		hot = at ? OP2("Equal",
			       graph_reshape(g, n->name, loop_count(g, RDU_DT_I64, size), 3, dim),
			       at)
			 : NULL;
		row = choose(g, n, hot, a, F(0));
		row = row ? graph_reduce(g, "ReduceSum", n->name, row, 1, &one, 1) : NULL;
		pivot = row ? graph_slice(g, n->name, row, 2, 0, 1, false) : NULL;
		if (!pivot)
			return -1;
		det = det ? OP2("Mul", det, pivot) : pivot;
		if (size > 1) {
			det = choose(g, n, OP2("Equal", at, graph_const_i(g, 0)), det,
				     OP1("Neg", det));
			a = eliminated(g, n, a, hot, row, pivot);
		}
	}
	det = a ? graph_cast(g, n->name, det, x->dtype) : NULL;
	return graph_replace_first(n, det ? graph_reshape(g, n->name, det, x->ndim - 2, x->dim)
					  : NULL);
}

#define EXPAND(onnx, lo, hi, fn)                                                     \
	{                                                                            \
		.name = onnx, .min_in = lo, .max_in = hi, .max_out = 1, .expand = fn \
	}

const struct op ops_grid[] = {
	EXPAND("GridSample", 2, 2, grid_sample_expand),
	EXPAND("DeformConv", 3, 5, deform_conv_expand),
	EXPAND("AffineGrid", 2, 2, affine_grid_expand),
	EXPAND("Det", 1, 1, det_expand),
	{ 0 },
};
