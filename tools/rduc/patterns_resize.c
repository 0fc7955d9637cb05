// SPDX-License-Identifier: MIT
/*
 * Resize and Upsample, axis by axis. Where each result lies in the input is known
 * while compiling: nearest neighbours are a gather with constant indices (or, by
 * a whole factor, a broadcast), linear and cubic interpolation a product with a
 * constant matrix, computed in fp32.
 */
#include <math.h>
#include <string.h>
#include "bounded.h"

/* Exact, since a nearest neighbour hangs on it: num / den, den > 0. */
__extension__ typedef __int128 wide;

struct ratio {
	wide num, den;
};

struct resize {
	const char *mode, *where, *round;
	float cubic;
	bool exclude, antialias;
	bool crop; /* tf_crop_and_resize: */
	double from[RDU_MAX_DIMS], to[RDU_MAX_DIMS]; /* parts of the axes, 0 to 1 */
	int64_t out[RDU_MAX_DIMS];
	struct ratio scale[RDU_MAX_DIMS];
	float by[RDU_MAX_DIMS]; /* the scale as it is given; 0: sizes are */
};

static struct ratio ratio_of(float f)
{
	int exponent;
	int64_t mantissa = (int64_t)ldexpf(frexpf(f, &exponent), 24);

	exponent -= 24;
	return exponent < 0 ? (struct ratio){ mantissa, (wide)1 << -exponent }
			    : (struct ratio){ (wide)mantissa << exponent, 1 };
}

/* A place that is computed in double. */
static struct ratio ratio_of_double(double f)
{
	int exponent;
	int64_t mantissa = (int64_t)ldexp(frexp(f, &exponent), 53);

	exponent -= 53;
	if (exponent < -100) /* beside 0 */
		return (struct ratio){ f < 0 ? -1 : f > 0, (wide)1 << 60 };
	return exponent < 0 ? (struct ratio){ mantissa, (wide)1 << -exponent }
			    : (struct ratio){ (wide)mantissa << exponent, 1 };
}

static bool is_one(struct ratio r)
{
	return r.num == r.den;
}

static int64_t floor_of(struct ratio r)
{
	wide q = r.num / r.den;

	return (int64_t)(q - (r.num % r.den < 0));
}

/* Sizes by hand may be of some axes only, and only a wish for the aspect ratio. */
static int axes_get(struct graph *g, struct node *n, int64_t *axis, int *num)
{
	int ndim = n->in[0]->ndim;
	const int64_t *axes = attr_ints(n, "axes", num);
	unsigned int seen = 0;

	if (!axes)
		*num = ndim;
	for (int i = 0; i < *num; i++) {
		axis[i] = axes ? axes[i] : i;
		if (node_axis(g, n, &axis[i], ndim))
			return -1;
		if (seen >> axis[i] & 1)
			return node_error(g, n, "an axis is given twice");
		seen |= 1u << axis[i];
	}
	return 0;
}

/* The part of each axis that tf_crop_and_resize shows. */
static int crop_get(struct graph *g, struct node *n, struct resize *r, const int64_t *axis, int num)
{
	struct value *roi = node_in(n, 1);

	if (!roi || !roi->constant || !roi->data || dtype_is_int(roi->dtype) ||
	    value_count(roi) != 2 * num)
		return node_error(g, n, "roi must be a constant, two numbers for each dimension");
	for (int i = 0; i < n->in[0]->ndim; i++) {
		r->from[i] = 0;
		r->to[i] = 1;
	}
	for (int i = 0; i < num; i++) {
		r->from[axis[i]] = value_real(roi, i);
		r->to[axis[i]] = value_real(roi, num + i);
		if (!(fabs(r->from[axis[i]]) < 65536 && fabs(r->to[axis[i]]) < 65536))
			return node_error(g, n, "roi has %g and %g", r->from[axis[i]],
					  r->to[axis[i]]);
	}
	return 0;
}

/* By which one scale the sizes are met, none being exceeded (not_larger) or missed. */
static int keep_aspect(struct graph *g, struct node *n, struct resize *r, const int64_t *axis,
		       int num)
{
	const char *policy = attr_s(n, "keep_aspect_ratio_policy", "stretch");
	bool smaller = !strcmp(policy, "not_larger");
	struct ratio best;

	if (!num || !strcmp(policy, "stretch"))
		return 0;
	best = r->scale[axis[0]];
	for (int i = 0; i < num; i++) {
		struct ratio s = r->scale[axis[i]];

		if (!n->in[0]->dim[axis[i]])
			return node_error(g, n, "%.20s of nothing is not supported", policy);
		if ((s.num * best.den < best.num * s.den) == smaller)
			best = s;
	}
	for (int i = 0; i < num; i++) {
		wide in = n->in[0]->dim[axis[i]];

		r->scale[axis[i]] = best;
		r->out[axis[i]] =
			floor_of((struct ratio){ 2 * best.num * in + best.den, 2 * best.den });
	}
	return 0;
}

static int resize_get(struct graph *g, struct node *n, struct resize *r)
{
	bool upsample = !strcmp(n->op->name, "Upsample") || g->opset < 11;
	struct value *x = n->in[0], *s = node_in(n, upsample ? 1 : 2), *sizes = node_in(n, 3);
	struct attr *a = node_attr(n, "scales");
	int64_t axis[RDU_MAX_DIMS];
	const int64_t *p;
	int num, num_axes;

	r->mode = attr_s(n, "mode", "nearest");
	r->where =
		attr_s(n, "coordinate_transformation_mode", upsample ? "asymmetric" : "half_pixel");
	r->round = attr_s(n, "nearest_mode",
			  !upsample		? "round_prefer_floor"
			  : s && g->opset == 10 ? "outwards"
						: "floor");
	r->cubic = attr_f(n, "cubic_coeff_a", -0.75f);
	r->exclude = attr_i(n, "exclude_outside", 0);
	if (dtype_is_int(x->dtype) && strcmp(r->mode, "nearest"))
		return node_error(g, n,
				  "mode %.20s is not supported for %s: ONNX leaves open how it "
				  "rounds",
				  r->mode, dtype_name(x->dtype));
	if (strcmp(r->mode, "nearest") && strcmp(r->mode, "linear") && strcmp(r->mode, "cubic"))
		return node_error(g, n, "mode %.20s is not supported", r->mode);
	r->crop = !strcmp(r->where, "tf_crop_and_resize");
	r->antialias = attr_i(n, "antialias", 0);
	if (r->antialias && !strcmp(r->mode, "nearest"))
		return node_error(g, n, "antialias of nearest neighbours is not supported");
	if (axes_get(g, n, axis, &num_axes))
		return -1;
	if (r->crop && crop_get(g, n, r, axis, num_axes))
		return -1;
	for (int i = 0; i < x->ndim; i++) {
		r->out[i] = x->dim[i];
		r->scale[i] = (struct ratio){ 1, 1 };
		r->by[i] = 0;
	}
	if (sizes && (!s || !value_count(s))) {
		p = node_const_ints(g, n, 3, &num);
		if (!p)
			return -1;
		if (num != num_axes)
			return node_error(g, n, "%d sizes for %d dimensions", num, num_axes);
		for (int i = 0; i < num; i++) {
			if (p[i] < 0 || p[i] > INT32_MAX)
				return node_error(g, n, "a size is %lld", (long long)p[i]);
			if (p[i] && !x->dim[axis[i]])
				return node_error(g, n, "nothing can't be made %lld elements",
						  (long long)p[i]);
			r->out[axis[i]] = p[i];
			r->scale[axis[i]] = (struct ratio){ p[i], x->dim[axis[i]] };
		}
		return keep_aspect(g, n, r, axis, num_axes);
	}
	for (int i = 0; i < num_axes; i++) {
		int64_t in = x->dim[axis[i]];
		float f = 0;

		if (s && s->constant && s->data && s->dtype == RDU_DT_F32 &&
		    value_count(s) == num_axes)
			f = ((float *)s->data)[i];
		else if (!s && a && a->kind == ATTR_FLOATS && a->num == num_axes)
			f = a->floats[i];
		if (!(f > 0 && f < 65536))
			return node_error(g, n,
					  "scales or sizes must be constants, one for each "
					  "dimension");
		r->scale[axis[i]] = ratio_of(f);
		r->by[axis[i]] = f;
		/* In fp32, as exporters and ONNX's own shape inference have it. */
		r->out[axis[i]] = (int64_t)floorf(f * (float)in);
	}
	return 0;
}

/* Where result i of an axis lies in the input. */
static struct ratio place(const struct resize *r, int axis, int64_t in, int64_t i)
{
	struct ratio s = r->scale[axis];

	if (!strcmp(r->where, "align_corners")) {
		/* ONNX's reference does not round the length of the result, in * s. */
		wide last = s.num * in - s.den;

		return r->out[axis] == 1 ? (struct ratio){ 0, 1 }
					 : (struct ratio){ (wide)i * (in - 1) * s.den, last };
	}
	if (!strcmp(r->where, "asymmetric")) /* i / s */
		return (struct ratio){ i * s.den, s.num };
	if (r->crop) {
		/* In fp32, step by step, as others do: a nearest neighbour hangs on it. */
		float length = (float)r->out[axis];
		float from = (float)r->from[axis], to = (float)r->to[axis], last = (float)(in - 1);

		if (length == 1)
			return ratio_of_double(0.5f * (from + to) * last);
		return ratio_of_double(from * last + (float)i * (to - from) * last / (length - 1));
	}
	if (!strcmp(r->where, "half_pixel_symmetric")) /* both centers are one place */
		return (struct ratio){
			in * s.num - r->out[axis] * s.den + (2 * i + 1) * s.den - s.num, 2 * s.num
		};
	if (!strcmp(r->where, "pytorch_half_pixel") && r->out[axis] == 1)
		return (struct ratio){ 0, 1 };
	/* (i + 1/2) / s, and 1/2 less */
	if (!strcmp(r->where, "tf_half_pixel_for_nn"))
		return (struct ratio){ (2 * i + 1) * s.den, 2 * s.num };
	return (struct ratio){ (2 * i + 1) * s.den - s.num, 2 * s.num };
}

/*
 * The same for a nearest neighbour. A scale is an fp32 number, mostly near what was meant, and places on the
 * border of two neighbours are there but for that: rounded to fp32 they are, as ONNX Runtime and PyTorch have them.
 */
static struct ratio nearest_place(const struct resize *r, int axis, int64_t in, int64_t i)
{
	float by = r->by[axis], middle = (float)in / 2, to;

	if (by != 0 && !strcmp(r->where, "half_pixel_symmetric")) {
		to = (float)r->out[axis] / (by * (float)in);
		to = middle * (1 - to); /* each step in fp32 */
		to += ((float)i + 0.5f) / by;
		return ratio_of_double(to - 0.5f);
	}
	if (by != 0 && !strcmp(r->where, "asymmetric"))
		return ratio_of_double((float)i / by);
	if (by != 0 && (!strcmp(r->where, "half_pixel") ||
			(!strcmp(r->where, "pytorch_half_pixel") && r->out[axis] > 1)))
		return ratio_of_double(((float)i + 0.5f) / by - 0.5f);
	if (by != 0 && !strcmp(r->where, "tf_half_pixel_for_nn"))
		return ratio_of_double(((float)i + 0.5f) / by);
	return place(r, axis, in, i);
}

static int64_t nearest(const struct resize *r, int axis, int64_t in, int64_t i)
{
	struct ratio x = nearest_place(r, axis, in, i);
	int64_t y;

	bool up = !strcmp(r->round, "ceil");

	/* Of opset 10, as ONNX's tests had it then. */
	if (!strcmp(r->round, "outwards"))
		up = r->scale[axis].num < r->scale[axis].den;
	if (!strcmp(r->round, "floor") || (!up && !strcmp(r->round, "outwards")))
		y = floor_of(x);
	else if (up) /* of x is - floor of -x */
		y = -floor_of((struct ratio){ -x.num, x.den });
	else if (!strcmp(r->round, "round_prefer_ceil"))
		y = floor_of((struct ratio){ 2 * x.num + x.den, 2 * x.den });
	else
		y = -floor_of((struct ratio){ x.den - 2 * x.num, 2 * x.den });
	return y < 0 ? 0 : y > in - 1 ? in - 1 : y;
}

static struct value *by_gather(struct graph *g, struct node *n, const struct resize *r, int axis,
			       struct value *x)
{
	int64_t *idx = graph_alloc(g, r->out[axis] * sizeof(*idx));
	struct node *m = node_new(g, "Gather", n->name);

	for (int64_t i = 0; i < r->out[axis]; i++)
		idx[i] = nearest(r, axis, x->dim[axis], i);
	node_input(g, m, x);
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &r->out[axis], idx));
	node_attr_i(g, m, "axis", axis);
	return graph_finish(g, m);
}

/* Is it a repetition of each element? */
static int64_t repeats(const struct resize *r, int axis, int64_t in)
{
	int64_t by = r->out[axis] / in;

	if (r->out[axis] % in)
		return 0;
	for (int64_t i = 0; i < r->out[axis]; i++)
		if (nearest(r, axis, in, i) != i / by)
			return 0;
	return by;
}

static struct value *by_expand(struct graph *g, struct node *n, int axis, int64_t by,
			       struct value *x)
{
	int64_t thin[RDU_MAX_DIMS + 1], wide[RDU_MAX_DIMS + 1], out[RDU_MAX_DIMS], num = 0;
	struct node *m = node_new(g, "Expand", n->name);
	struct value *v;

	for (int i = 0; i < x->ndim; i++) {
		thin[num] = wide[num] = out[i] = x->dim[i];
		num++;
		if (i != axis)
			continue;
		thin[num] = 1;
		wide[num++] = by;
		out[i] *= by;
	}
	v = graph_reshape(g, n->name, x, (int)num, thin);
	if (!v)
		return NULL;
	node_input(g, m, v);
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &num, wide));
	return graph_reshape(g, n->name, graph_finish(g, m), x->ndim, out);
}

static double cubic(double a, double d)
{
	d = fabs(d);
	if (d <= 1)
		return ((a + 2) * d - (a + 3)) * d * d + 1;
	if (d < 2)
		return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
	return 0;
}

/* The weight of an element at a distance. */
static double tap(const struct resize *r, double d)
{
	return strcmp(r->mode, "cubic") ? fmax(0, 1 - fabs(d)) : cubic(r->cubic, d);
}

/* Row i: how much of each input element result i takes. */
static struct value *matrix(struct graph *g, const struct resize *r, int axis, int64_t in)
{
	int64_t dim[2] = { r->out[axis], in };
	struct value *v = graph_const(g, RDU_DT_F32, 2, dim, NULL);
	double scale = (double)r->scale[axis].num / (double)r->scale[axis].den;
	/* Antialiasing makes the filter as much wider as the result is smaller. */
	double narrow = r->antialias && scale < 1 ? scale : 1;
	int64_t reach = (int64_t)ceil((strcmp(r->mode, "cubic") ? 1 : 2) / narrow);

	for (int64_t i = 0; i < dim[0]; i++) {
		float *row = (float *)v->data + i * in;
		struct ratio at_i = place(r, axis, in, i);
		double x = (double)at_i.num / (double)at_i.den, sum = 0;
		int64_t first = floor_of(at_i) - reach + 1;

		for (int64_t at = first; at < first + 2 * reach; at++)
			if (!r->exclude || (at >= 0 && at < in))
				sum += tap(r, (x - (double)at) * narrow);
		for (int64_t at = first; at < first + 2 * reach; at++) {
			int64_t inside = at < 0 ? 0 : at >= in ? in - 1 : at;
			double w = tap(r, (x - (double)at) * narrow);

			if (!r->exclude || at == inside)
				row[inside] += (float)(r->exclude || r->antialias ? w / sum : w);
		}
	}
	return v;
}

static struct value *by_product(struct graph *g, struct node *n, const struct resize *r, int axis,
				struct value *x)
{
	struct node *m = node_new(g, "Interpolate", n->name);

	if (r->out[axis] * x->dim[axis] > 1 << 24) {
		node_error(g, n, "interpolation of %lld elements to %lld is not supported",
			   (long long)x->dim[axis], (long long)r->out[axis]);
		return NULL;
	}
	node_input(g, m, x);
	node_input(g, m, matrix(g, r, axis, x->dim[axis]));
	node_attr_i(g, m, "axis", axis);
	return graph_finish(g, m);
}

static struct value *empty_axis(struct graph *g, const struct value *x, int axis, int64_t out)
{
	int64_t dim[RDU_MAX_DIMS];

	memcpy(dim, x->dim, sizeof(dim));
	dim[axis] = out;
	return graph_const(g, x->dtype, x->ndim, dim, NULL);
}

/* What lies outside of the input along an axis has a value of its own. */
static struct value *extrapolated(struct graph *g, struct node *n, const struct resize *r, int axis,
				  struct value *x)
{
	int64_t in = n->in[0]->dim[axis], out = r->out[axis], dim[RDU_MAX_DIMS];
	struct value *inside, *other;
	bool all = true;

	if (!out || !in)
		return x;
	for (int i = 0; i < x->ndim; i++)
		dim[i] = i == axis ? out : 1;
	inside = graph_const(g, RDU_DT_BOOL, x->ndim, dim, NULL);
	for (int64_t i = 0; i < out; i++) {
		struct ratio at = place(r, axis, in, i);
		bool in_it = at.num >= 0 && at.num <= (in - 1) * at.den;

		((uint8_t *)inside->data)[i] = in_it;
		all &= in_it;
	}
	if (all)
		return x;
	other = graph_cast(g, n->name, graph_const_f(g, attr_f(n, "extrapolation_value", 0)),
			   x->dtype);
	return other ? graph_op3(g, "Where", n->name, inside, x, other) : NULL;
}

static int resize_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	struct resize r;

	if (resize_get(g, n, &r))
		return -1;
	for (int i = 0; i < n->in[0]->ndim && x; i++) {
		int64_t in = x->dim[i], by;

		if (r.out[i] == in && is_one(r.scale[i]) &&
		    !(r.crop && (r.from[i] != 0 || r.to[i] != 1)))
			continue;
		if (!in || !r.out[i]) { /* of nothing, or to nothing */
			x = empty_axis(g, x, i, r.out[i]);
			continue;
		}
		if (r.out[i] > GRAPH_MAX_FOLD)
			return node_error(g, n, "more than %d along an axis", GRAPH_MAX_FOLD);
		if (strcmp(r.mode, "nearest"))
			x = by_product(g, n, &r, i, x);
		else if ((by = repeats(&r, i, in)) && x->ndim < RDU_MAX_DIMS)
			x = by_expand(g, n, i, by, x);
		else
			x = by_gather(g, n, &r, i, x);
	}
	for (int i = 0; r.crop && i < n->in[0]->ndim && x; i++)
		x = extrapolated(g, n, &r, i, x);
	return graph_replace_first(n, x);
}

/* Along a dimension of a size that depends on data nothing changes. */
int bounded_resize(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *size[RDU_MAX_DIMS] = { NULL };
	int64_t axis[RDU_MAX_DIMS], out[MAX_EXTENTS], count;
	const struct extent *e = NULL;
	struct resize r = { 0 };
	int num = 0, num_axes;

	for (int i = 1; i < n->num_in; i++)
		if (value_is_bounded(n->in[i]))
			return bounded_refuse(g, n, n->in[i], "as this input");
	if (axes_get(g, n, axis, &num_axes))
		return -1;
	memcpy(size, x->size, (size_t)x->ndim * sizeof(*size));
	if (node_in(n, 3) && n->in[3]->extents)
		e = bounded_extents(g, n->in[3], &num);
	for (int i = 0; i < num; i++) {
		out[i] = e[i].most;
		if (!e[i].size)
			continue;
		if (i >= num_axes || !size[axis[i]])
			return bounded_refuse(g, n, x, "where what it becomes depends on data");
		out[i] = x->dim[axis[i]];
		size[axis[i]] = bounded_as_said(g, n->name, size[axis[i]], e[i].size);
		if (!size[axis[i]])
			return -1;
	}
	count = num;
	if (e)
		n->in[3] = graph_const(g, RDU_DT_I64, 1, &count, out);
	if (resize_get(g, n, &r))
		return -1;
	for (int d = 0; d < x->ndim; d++)
		if (x->size[d] && (r.crop || r.out[d] != x->dim[d] || !is_one(r.scale[d])))
			return bounded_refuse(g, n, x, "along what is resized");
	return bounded_process(g, n, size);
}

/* ---- Interpolate (internal): x along an axis by a matrix [out, in] ---------------- */

static int interpolate_infer(struct graph *g, struct node *n)
{
	int64_t dim[RDU_MAX_DIMS];

	memcpy(dim, n->in[0]->dim, sizeof(dim));
	dim[attr_i(n, "axis", 0)] = n->in[1]->dim[attr_i(n, "transposed", 0)];
	return node_shape(g, n, 0, n->in[0]->dtype, n->in[0]->ndim, dim);
}

static int interpolate_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = lower_nest(l, n, NULL);
	bool transposed = attr_i(n, "transposed", 0);
	int axis = (int)attr_i(n, "axis", 0), k;
	struct value *x = n->in[0], *y = n->out[0];

	for (int i = 0; i < y->ndim; i++)
		nest_dim(nest, axis_name(y->ndim, i), y->dim[i], false);
	k = nest_dim(nest, "k", x->dim[axis], true);
	if (k < 0)
		return node_error(l->graph, n, "too many dimensions");
	nest_input(nest, lower_value(l, x));
	access_identity(&nest->in[0]);
	nest->in[0].coef[axis][axis] = 0;
	nest->in[0].coef[axis][k] = 1;
	nest_input(nest, lower_value(l, n->in[1]));
	nest->in[1].coef[transposed][axis] = 1;
	nest->in[1].coef[!transposed][k] = 1;
	nest->reduce = REDUCE_ADD;
	/* FMA, not FMUL: not a contraction for the arrays, whose bf16 would show. */
	nest->body = nest_op(nest, RDU_SIMD_FMA, nest_in(nest, 0), nest_in(nest, 1),
			     nest_imm_f(nest, 0));
	nest_output(nest, lower_value(l, y), nest_red(nest));
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

static int interpolate_gradient(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "Interpolate", graph_format(g, "%.200s.grad", n->name));

	if (!n->in[0]->needs_grad)
		return 0;
	node_input(g, m, n->out[0]->grad);
	node_input(g, m, n->in[1]);
	node_attr_i(g, m, "axis", attr_i(n, "axis", 0));
	node_attr_i(g, m, "transposed", 1);
	return grad_finish(g, m, n->in[0]);
}

const struct op ops_resize[] = {
	{ .name = "Resize", .min_in = 1, .max_in = 4, .max_out = 1, .expand = resize_expand },
	{ .name = "Upsample", .min_in = 1, .max_in = 2, .max_out = 1, .expand = resize_expand },
	{ .name = "Interpolate",
	  .min_in = 2,
	  .max_in = 2,
	  .max_out = 1,
	  .internal = true,
	  .infer = interpolate_infer,
	  .gradient = interpolate_gradient,
	  .pattern = interpolate_pattern },
	{ 0 },
};
