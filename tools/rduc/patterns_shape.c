// SPDX-License-Identifier: MIT
/*
 * Operators that move elements: views, permutations, parts, gathers; and those
 * that exist while compiling only (shapes, constants).
 */
#include <stdlib.h>
#include <string.h>
#include "graph.h"

static int replace(struct node *n, struct value *v)
{
	if (!v)
		return -1;
	graph_replace(n, 0, v);
	return 0;
}

static int check_axis(struct graph *g, struct node *n, int64_t *axis, int ndim)
{
	if (*axis < 0)
		*axis += ndim;
	if (*axis < 0 || *axis >= ndim)
		return node_error(g, n, "axis is out of range");
	return 0;
}

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
	const int64_t *shape = node_const_ints(g, n, 1, &num);

	if (!shape)
		return -1;
	if (num > RDU_MAX_DIMS)
		return node_error(g, n, "more than %d dimensions", RDU_MAX_DIMS);
	for (int i = 0; i < num; i++) {
		dim[i] = shape[i];
		if (!dim[i] && !attr_i(n, "allowzero", 0)) {
			if (i >= x->ndim)
				return node_error(g, n, "shape copies dimension %d, which is not there", i);
			dim[i] = x->dim[i];
		}
		if (dim[i] == -1 && open < 0)
			open = i;
		else if (dim[i] < 0 || dim[i] > INT32_MAX)
			return node_error(g, n, "shape has dimension %lld", (long long)dim[i]);
		else if (__builtin_mul_overflow(known, dim[i], &known))
			return node_error(g, n, "shape is too large");
	}
	if (open >= 0)
		dim[open] = known ? value_count(x) / known : 0;
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

		if (check_axis(g, n, &a, x->ndim))
			return -1;
		if (x->dim[a] != 1)
			return node_error(g, n, "dimension %d is %lld", (int)a, (long long)x->dim[a]);
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

		if (check_axis(g, n, &a, x->ndim + num))
			return -1;
		if (mask >> a & 1)
			return node_error(g, n, "an axis is given twice");
		mask |= 1u << a;
	}
	for (int i = 0; i < x->ndim + num; i++)
		dim[i] = mask >> i & 1 ? 1 : x->dim[from++];
	return node_shape(g, n, 0, x->dtype, x->ndim + num, dim);
}

static int identity_expand(struct graph *g, struct node *n)
{
	struct value *training = node_in(n, 2);

	if (training && !(training->constant && training->data && !*(char *)training->data))
		return node_error(g, n, "training_mode is not supported");
	for (int i = 1; i < n->num_out; i++)
		if (n->out[i])
			return node_error(g, n, "output %d (the mask) is not supported", i);
	return replace(n, n->in[0]);
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

/* A nest over out's elements that copies from in; the caller sets in's access. */
static struct nest *copy_nest(struct lower *l, struct node *n, struct value *in, struct tensor *out)
{
	struct nest *nest = lower_nest(l, n, NULL);

	for (int i = 0; i < out->ndim; i++)
		nest_dim(nest, axis_name(out->ndim, i), out->dim[i], false);
	if (!out->ndim)
		nest_dim(nest, "i", 1, false);
	nest_input(nest, lower_value(l, in));
	nest_output(nest, out, nest_in(nest, 0));
	access_identity(&nest->out[0].access);
	return nest;
}

static int transpose_pattern(struct lower *l, struct node *n)
{
	int perm[RDU_MAX_DIMS];
	struct nest *nest;

	if (transpose_perm(l->graph, n, perm))
		return -1;
	nest = copy_nest(l, n, n->in[0], lower_value(l, n->out[0]));
	for (int i = 0; i < n->in[0]->ndim; i++)
		nest->in[0].coef[perm[i]][i] = 1;
	return lower_done(l, n, nest);
}

static int transpose_gradient(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "Transpose", graph_format(g, "%.200s.grad", n->name));
	int64_t inverse[RDU_MAX_DIMS];
	int perm[RDU_MAX_DIMS];
	struct value *d;

	if (!n->in[0]->needs_grad)
		return 0;
	if (transpose_perm(g, n, perm))
		return -1;
	for (int i = 0; i < n->in[0]->ndim; i++)
		inverse[perm[i]] = i;
	node_input(g, m, n->out[0]->grad);
	node_attr_ints(g, m, "perm", n->in[0]->ndim, inverse);
	d = graph_finish(g, m);
	return d ? graph_add_grad(g, n->in[0], d) : -1;
}

/* ---- parts ------------------------------------------------------------------------- */

static int concat_infer(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	int64_t axis = attr_i(n, "axis", 0), dim[RDU_MAX_DIMS];

	for (int k = 0; k < n->num_in; k++)
		if (!n->in[k])
			return node_error(g, n, "input %d is missing", k);
	if (check_axis(g, n, &axis, x->ndim))
		return -1;
	memcpy(dim, x->dim, sizeof(dim));
	for (int k = 1; k < n->num_in; k++) {
		struct value *v = n->in[k];

		for (int i = 0; i < x->ndim; i++)
			if (v->ndim != x->ndim || v->dtype != x->dtype ||
			    (i != axis && v->dim[i] != x->dim[i]))
				return node_error(g, n, "'%s' (%s %s) does not fit '%s' (%s %s)",
						  v->name, dtype_name(v->dtype),
						  value_shape_text(g, v), x->name,
						  dtype_name(x->dtype), value_shape_text(g, x));
		dim[axis] += v->dim[axis];
	}
	return node_shape(g, n, 0, x->dtype, x->ndim, dim);
}

/* One nest per part. */
static int concat_pattern(struct lower *l, struct node *n)
{
	int64_t axis = attr_i(n, "axis", 0), at = 0;
	struct tensor *out = lower_value(l, n->out[0]);

	axis += axis < 0 ? out->ndim : 0;
	for (int k = 0; k < n->num_in; k++) {
		struct value *v = n->in[k];
		struct nest *nest;

		if (!value_count(v))
			continue;
		nest = copy_nest(l, n, v, out);
		nest->dim[axis].extent = v->dim[axis];
		access_identity(&nest->in[0]);
		nest->out[0].access.offset[axis] = (int32_t)at;
		at += v->dim[axis];
		if (lower_done(l, n, nest))
			return -1;
	}
	return 0;
}

static struct value *slice_node(struct graph *g, const char *name, struct value *x, int64_t axis,
				int64_t from, int64_t to)
{
	struct node *m = node_new(g, "Slice", name);
	int64_t one = 1;

	node_input(g, m, x);
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &one, &from));
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &one, &to));
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &one, &axis));
	return graph_finish(g, m);
}

static int concat_gradient(struct graph *g, struct node *n)
{
	int64_t axis = attr_i(n, "axis", 0), at = 0;

	axis += axis < 0 ? n->out[0]->ndim : 0;
	for (int k = 0; k < n->num_in; k++) {
		struct value *v = n->in[k], *d;

		at += v->dim[axis];
		if (!v->needs_grad)
			continue;
		d = slice_node(g, graph_format(g, "%.200s.grad%d", n->name, k), n->out[0]->grad,
			       axis, at - v->dim[axis], at);
		if (!d || graph_add_grad(g, v, d))
			return -1;
	}
	return 0;
}

struct slice {
	int64_t start[RDU_MAX_DIMS], step[RDU_MAX_DIMS], count[RDU_MAX_DIMS];
};

static int64_t clamp(int64_t v, int64_t lo, int64_t hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

static int slice_get(struct graph *g, struct node *n, const struct value *x, struct slice *s)
{
	const int64_t *start, *end, *axes = NULL, *step = NULL;
	int num, num_end, num_axes = 0, num_step = 0;

	for (int i = 0; i < x->ndim; i++) {
		s->start[i] = 0;
		s->step[i] = 1;
		s->count[i] = x->dim[i];
	}
	if (n->num_in > 1) {
		start = node_const_ints(g, n, 1, &num);
		end = start ? node_const_ints(g, n, 2, &num_end) : NULL;
		if (!end)
			return -1;
		if (node_in(n, 3) && !(axes = node_const_ints(g, n, 3, &num_axes)))
			return -1;
		if (node_in(n, 4) && !(step = node_const_ints(g, n, 4, &num_step)))
			return -1;
	} else {
		start = attr_ints(n, "starts", &num);
		end = attr_ints(n, "ends", &num_end);
		axes = attr_ints(n, "axes", &num_axes);
	}
	if (num != num_end || (axes && num_axes != num) || (step && num_step != num) ||
	    (!axes && num > x->ndim))
		return node_error(g, n, "starts, ends, axes and steps do not fit");
	for (int k = 0; k < num; k++) {
		int64_t a = axes ? axes[k] : k, by = step ? step[k] : 1, size, from, to;

		if (check_axis(g, n, &a, x->ndim))
			return -1;
		if (!by || by > INT32_MAX || by < -INT32_MAX)
			return node_error(g, n, "step %lld", (long long)by);
		size = x->dim[a];
		from = clamp(start[k], -size - 1, size);
		to = clamp(end[k], -size - 1, size);
		from += from < 0 ? size : 0;
		to += to < 0 ? size : 0;
		from = clamp(from, by > 0 ? 0 : -1, by > 0 ? size : size - 1);
		to = clamp(to, by > 0 ? 0 : -1, size);
		if (by > 0)
			s->count[a] = to > from ? (to - from + by - 1) / by : 0;
		else
			s->count[a] = from > to ? (from - to - by - 1) / -by : 0;
		s->start[a] = from;
		s->step[a] = by;
	}
	return 0;
}

static int slice_infer(struct graph *g, struct node *n)
{
	struct slice s;

	if (slice_get(g, n, n->in[0], &s))
		return -1;
	return node_shape(g, n, 0, n->in[0]->dtype, n->in[0]->ndim, s.count);
}

static int slice_pattern(struct lower *l, struct node *n)
{
	struct nest *nest;
	struct slice s;

	if (slice_get(l->graph, n, n->in[0], &s))
		return -1;
	nest = copy_nest(l, n, n->in[0], lower_value(l, n->out[0]));
	for (int i = 0; i < n->in[0]->ndim; i++) {
		nest->in[0].coef[i][i] = s.count[i] == 1 ? 0 : (int32_t)s.step[i];
		nest->in[0].offset[i] = (int32_t)s.start[i];
	}
	return lower_done(l, n, nest);
}

static int slice_gradient(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "SliceGrad", graph_format(g, "%.200s.grad", n->name));
	struct value *d;

	if (!n->in[0]->needs_grad)
		return 0;
	m->of = n->op;
	m->of_node = n;
	node_input(g, m, n->out[0]->grad);
	node_attr_ints(g, m, "shape", n->in[0]->ndim, n->in[0]->dim);
	d = graph_finish(g, m);
	return d ? graph_add_grad(g, n->in[0], d) : -1;
}

static int shape_infer(struct graph *g, struct node *n)
{
	int ndim;
	const int64_t *dim = attr_ints(n, "shape", &ndim);

	return node_shape(g, n, 0, RDU_DT_F32, ndim, dim);
}

/* Steps of 1 and -1: read the gradient where there is one. Others: fill, then
 * write every step-th. */
static int slice_grad_pattern(struct lower *l, struct node *n)
{
	struct tensor *out = lower_value(l, n->out[0]);
	bool unit = true;
	struct nest *nest;
	struct slice s;

	if (slice_get(l->graph, n->of_node, n->out[0], &s))
		return -1;
	for (int i = 0; i < out->ndim; i++)
		unit &= s.count[i] == 1 || s.step[i] == 1 || s.step[i] == -1;
	if (!unit && lower_fill(l, n, out, 0, 0, out->dim[0], 0))
		return -1;
	nest = copy_nest(l, n, n->in[0], out);
	for (int i = 0; i < out->ndim; i++) {
		int64_t step = s.count[i] == 1 ? 1 : s.step[i];

		if (unit) {
			nest->in[0].coef[i][i] = (int32_t)step;
			nest->in[0].offset[i] = (int32_t)(-step * s.start[i]);
			nest->in[0].guarded = true;
		} else {
			nest->dim[i].extent = s.count[i];
			nest->in[0].coef[i][i] = 1;
			nest->out[0].access.coef[i][i] = s.count[i] == 1 ? 0 : (int32_t)s.step[i];
			nest->out[0].access.offset[i] = (int32_t)s.start[i];
		}
	}
	return lower_done(l, n, nest);
}

static int split_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	int64_t axis = attr_i(n, "axis", 0), at = 0, part;
	int num;
	const int64_t *sizes = attr_ints(n, "split", &num);

	if (check_axis(g, n, &axis, x->ndim))
		return -1;
	if (!sizes && node_in(n, 1)) {
		sizes = node_const_ints(g, n, 1, &num);
		if (!sizes)
			return -1;
	}
	if (sizes && num != n->num_out)
		return node_error(g, n, "%d sizes for %d outputs", num, n->num_out);
	part = (x->dim[axis] + n->num_out - 1) / n->num_out;
	for (int k = 0; k < n->num_out; k++) {
		int64_t size = sizes ? sizes[k] : part;
		struct value *v;

		if (!sizes && at + size > x->dim[axis])
			size = x->dim[axis] - at;
		if (size <= 0 || size > x->dim[axis] - at)
			return node_error(g, n, "sizes do not fit dimension %lld",
					  (long long)x->dim[axis]);
		if (n->out[k]) {
			v = slice_node(g, graph_format(g, "%.200s.%d", n->name, k), x, axis, at,
				       at + size);
			if (!v)
				return -1;
			graph_replace(n, k, v);
		}
		at += size;
	}
	if (at != x->dim[axis])
		return node_error(g, n, "sizes do not add up to %lld", (long long)x->dim[axis]);
	return 0;
}

static int pad_get(struct graph *g, struct node *n, const struct value *x, int64_t *before,
		   int64_t *dim)
{
	int num, num_axes = x->ndim;
	const int64_t *pads, *axes = NULL;

	if (strcmp(attr_s(n, "mode", "constant"), "constant"))
		return node_error(g, n, "mode %.20s is not supported", attr_s(n, "mode", ""));
	if (n->num_in > 1)
		pads = node_const_ints(g, n, 1, &num);
	else
		pads = attr_ints(n, "pads", &num);
	if (node_in(n, 3)) {
		axes = node_const_ints(g, n, 3, &num_axes);
		if (!axes)
			return -1;
	}
	if (!pads || num != 2 * num_axes)
		return node_error(g, n, "pads do not fit %d dimensions", x->ndim);
	for (int i = 0; i < x->ndim; i++) {
		before[i] = 0;
		dim[i] = x->dim[i];
	}
	for (int i = 0; i < num_axes; i++) {
		int64_t a = axes ? axes[i] : i, b = pads[i], e = pads[i + num_axes];

		if (check_axis(g, n, &a, x->ndim))
			return -1;
		if (b < -INT32_MAX || b > INT32_MAX || e < -INT32_MAX || e > INT32_MAX)
			return node_error(g, n, "pads are too large");
		before[a] = b;
		dim[a] = x->dim[a] + b + e;
	}
	return 0;
}

static int pad_infer(struct graph *g, struct node *n)
{
	int64_t before[RDU_MAX_DIMS], dim[RDU_MAX_DIMS];

	if (node_in(n, 2) && (!n->in[2]->constant || value_count(n->in[2]) != 1))
		return node_error(g, n, "the value to pad with must be a constant");
	if (pad_get(g, n, n->in[0], before, dim))
		return -1;
	return node_shape(g, n, 0, n->in[0]->dtype, n->in[0]->ndim, dim);
}

static int pad_pattern(struct lower *l, struct node *n)
{
	int64_t before[RDU_MAX_DIMS], dim[RDU_MAX_DIMS];
	struct value *with = node_in(n, 2);
	struct nest *nest;
	float f;

	if (pad_get(l->graph, n, n->in[0], before, dim))
		return -1;
	nest = copy_nest(l, n, n->in[0], lower_value(l, n->out[0]));
	for (int i = 0; i < n->in[0]->ndim; i++) {
		nest->in[0].coef[i][i] = 1;
		nest->in[0].offset[i] = (int32_t)-before[i];
	}
	nest->in[0].guarded = true;
	f = attr_f(n, "value", 0);
	memcpy(&nest->in[0].pad, &f, 4);
	if (with && dtype_bytes(with->dtype) == 4)
		memcpy(&nest->in[0].pad, with->data, 4);
	else if (with && with->dtype == RDU_DT_I64)
		nest->in[0].pad = (uint32_t) * (int64_t *)with->data;
	else if (with && dtype_bytes(with->dtype) == 1)
		nest->in[0].pad = *(uint8_t *)with->data;
	else if (with)
		nest->in[0].pad = (uint32_t) * (uint16_t *)with->data << 16;
	return lower_done(l, n, nest);
}

/* What was moved by the padding is moved back; what was cut off gets none. */
static int pad_gradient(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "PadGrad", graph_format(g, "%.200s.grad", n->name));
	struct value *d;

	if (!n->in[0]->needs_grad)
		return 0;
	m->of = n->op;
	m->of_node = n;
	node_input(g, m, n->out[0]->grad);
	node_attr_ints(g, m, "shape", n->in[0]->ndim, n->in[0]->dim);
	d = graph_finish(g, m);
	return d ? graph_add_grad(g, n->in[0], d) : -1;
}

static int pad_grad_pattern(struct lower *l, struct node *n)
{
	int64_t before[RDU_MAX_DIMS], dim[RDU_MAX_DIMS];
	struct nest *nest;

	if (pad_get(l->graph, n->of_node, n->out[0], before, dim))
		return -1;
	nest = copy_nest(l, n, n->in[0], lower_value(l, n->out[0]));
	for (int i = 0; i < n->out[0]->ndim; i++) {
		nest->in[0].coef[i][i] = 1;
		nest->in[0].offset[i] = (int32_t)before[i];
	}
	nest->in[0].guarded = true;
	return lower_done(l, n, nest);
}

/* ---- repetition -------------------------------------------------------------------- */

static int expand_infer(struct graph *g, struct node *n)
{
	int64_t dim[RDU_MAX_DIMS];
	int num, ndim;
	const int64_t *shape = node_const_ints(g, n, 1, &num);

	if (!shape)
		return -1;
	if (num > RDU_MAX_DIMS ||
	    !broadcast_dims(n->in[0]->ndim, n->in[0]->dim, num, shape, &ndim, dim))
		return node_error(g, n, "shape %s does not broadcast to what is asked",
				  value_shape_text(g, n->in[0]));
	return node_shape(g, n, 0, n->in[0]->dtype, ndim, dim);
}

static int expand_pattern(struct lower *l, struct node *n)
{
	static const int dims[] = { 0, 1, 2, 3, 4, 5, 6, 7 };
	struct nest *nest = copy_nest(l, n, n->in[0], lower_value(l, n->out[0]));

	access_broadcast(&nest->in[0], n->out[0]->ndim, dims);
	return lower_done(l, n, nest);
}

static int expand_gradient(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "SumTo", graph_format(g, "%.200s.grad", n->name));
	struct value *d;

	if (!n->in[0]->needs_grad)
		return 0;
	m->of = n->op;
	node_input(g, m, n->out[0]->grad);
	node_attr_ints(g, m, "shape", n->in[0]->ndim, n->in[0]->dim);
	d = graph_finish(g, m);
	return d ? graph_add_grad(g, n->in[0], d) : -1;
}

/* Tile: [r0, d0, r1, d1, ...] by Expand, then Reshape. */
static int tile_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *v;
	int64_t thin[RDU_MAX_DIMS], wide[RDU_MAX_DIMS], out[RDU_MAX_DIMS], ndim;
	struct node *m;
	int num, k = 0;
	const int64_t *rep = node_const_ints(g, n, 1, &num);

	if (!rep)
		return -1;
	if (num != x->ndim)
		return node_error(g, n, "%d repeats for %d dimensions", num, x->ndim);
	for (int i = 0; i < num; i++) {
		if (rep[i] < 1 || rep[i] > INT32_MAX)
			return node_error(g, n, "repeats has %lld", (long long)rep[i]);
		out[i] = x->dim[i] * rep[i];
		if (k + 1 + (rep[i] > 1) > RDU_MAX_DIMS)
			return node_error(g, n, "too many dimensions are repeated");
		if (rep[i] > 1) {
			thin[k] = 1;
			wide[k++] = rep[i];
		}
		thin[k] = wide[k] = x->dim[i];
		k++;
	}
	ndim = k;
	v = graph_reshape(g, n->name, x, k, thin);
	m = node_new(g, "Expand", n->name);
	if (!v)
		return -1;
	node_input(g, m, v);
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &ndim, wide));
	return replace(n, graph_reshape(g, n->name, graph_finish(g, m), num, out));
}

/* ---- gather -------------------------------------------------------------------------- */

static int gather_infer(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *idx = n->in[1];
	int64_t axis = attr_i(n, "axis", 0), dim[2 * RDU_MAX_DIMS];
	int ndim = 0;

	if (check_axis(g, n, &axis, x->ndim))
		return -1;
	if (idx->dtype != RDU_DT_I64 && idx->dtype != RDU_DT_I32)
		return node_error(g, n, "indices are %s", dtype_name(idx->dtype));
	for (int i = 0; i < axis; i++)
		dim[ndim++] = x->dim[i];
	for (int i = 0; i < idx->ndim; i++)
		dim[ndim++] = idx->dim[i];
	for (int i = (int)axis + 1; i < x->ndim; i++)
		dim[ndim++] = x->dim[i];
	return node_shape(g, n, 0, x->dtype, ndim, dim);
}

/* Indices as they are, or with negative ones counted from the end. */
static struct tensor *gather_indices(struct lower *l, struct node *n, struct value *idx,
				     int64_t size)
{
	struct nest *nest;
	struct tensor *t;
	int i, e;

	if (idx->constant && idx->data) {
		bool negative = false;

		for (int64_t k = 0; k < value_count(idx); k++)
			negative |= (idx->dtype == RDU_DT_I64 ? ((int64_t *)idx->data)[k]
							      : ((int32_t *)idx->data)[k]) < 0;
		if (!negative)
			return lower_value(l, idx);
	}
	nest = lower_nest(l, n, "index");
	t = lower_temp(l, n, "index", RDU_DT_I32, idx->ndim, idx->dim);
	for (int d = 0; d < idx->ndim; d++)
		nest_dim(nest, axis_name(idx->ndim, d), idx->dim[d], false);
	if (!idx->ndim)
		nest_dim(nest, "i", 1, false);
	nest_input(nest, lower_value(l, idx));
	access_identity(&nest->in[0]);
	i = nest_in(nest, 0);
	e = nest_op(nest, RDU_SIMD_ILT, i, nest_imm_i(nest, 0), -1);
	e = nest_op(nest, RDU_SIMD_SELECT, e,
		    nest_op(nest, RDU_SIMD_IADD, i, nest_imm_i(nest, (int32_t)size), -1), i);
	nest_output(nest, t, e);
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest) ? NULL : t;
}

/* Nest dimensions are those of the gathered side; `whole` is indexed through. */
static int gather_nest(struct lower *l, struct node *n, struct value *idx, struct tensor *t,
		       int64_t axis, struct value *part, struct tensor *whole, bool scatter)
{
	struct nest *nest = lower_nest(l, n, NULL);
	struct access *a;
	int at = 0;

	for (int i = 0; i < part->ndim; i++)
		nest_dim(nest, axis_name(part->ndim, i), part->dim[i], false);
	if (!part->ndim)
		nest_dim(nest, "i", 1, false);
	nest_input(nest, t);
	for (int i = 0; i < idx->ndim; i++)
		nest->in[0].coef[i][axis + i] = 1;
	nest_input(nest, scatter ? lower_value(l, part) : whole);
	nest_output(nest, scatter ? whole : lower_value(l, part), nest_in(nest, 1));
	access_identity(scatter ? &nest->in[1] : &nest->out[0].access);
	nest->out[0].add = scatter;
	a = scatter ? &nest->out[0].access : &nest->in[1];
	for (int i = 0; i < whole->ndim; i++) {
		if (i == axis) {
			at += idx->ndim;
			continue;
		}
		a->coef[i][at++] = 1;
	}
	a->gather_in = 0;
	a->gather_dim = (int)axis;
	return lower_done(l, n, nest);
}

static int gather_pattern(struct lower *l, struct node *n)
{
	struct value *x = n->in[0], *idx = n->in[1];
	int64_t axis = attr_i(n, "axis", 0);
	struct tensor *t;

	axis += axis < 0 ? x->ndim : 0;
	t = gather_indices(l, n, idx, x->dim[axis]);
	if (!t)
		return -1;
	return gather_nest(l, n, idx, t, axis, n->out[0], lower_value(l, x), false);
}

static int gather_gradient(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "GatherGrad", graph_format(g, "%.200s.grad", n->name));
	struct value *d;

	if (!n->in[0]->needs_grad)
		return 0;
	m->of = n->op;
	m->of_node = n;
	node_input(g, m, n->out[0]->grad);
	node_input(g, m, n->in[1]);
	node_attr_ints(g, m, "shape", n->in[0]->ndim, n->in[0]->dim);
	d = graph_finish(g, m);
	return d ? graph_add_grad(g, n->in[0], d) : -1;
}

static int gather_grad_pattern(struct lower *l, struct node *n)
{
	struct tensor *out = lower_value(l, n->out[0]), *t;
	int64_t axis = attr_i(n->of_node, "axis", 0);

	axis += axis < 0 ? out->ndim : 0;
	t = gather_indices(l, n, n->in[1], out->dim[axis]);
	if (!t || lower_fill(l, n, out, 0, 0, out->dim[0], 0))
		return -1;
	return gather_nest(l, n, n->in[1], t, axis, n->in[0], out, true);
}

/* ---- while compiling ------------------------------------------------------------------- */

static int shape_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	int64_t from = attr_i(n, "start", 0), to = attr_i(n, "end", x->ndim), num;

	from = clamp(from < 0 ? from + x->ndim : from, 0, x->ndim);
	to = clamp(to < 0 ? to + x->ndim : to, 0, x->ndim);
	num = to > from ? to - from : 0;
	return replace(n, graph_const(g, RDU_DT_I64, 1, &num, x->dim + from));
}

static int size_expand(struct graph *g, struct node *n)
{
	int64_t num = value_count(n->in[0]);

	return replace(n, graph_const(g, RDU_DT_I64, 0, NULL, &num));
}

static int constant_expand(struct graph *g, struct node *n)
{
	struct attr *a = n->attrs;
	int64_t num;

	if (!a || a->next)
		return node_error(g, n, "one attribute says its value");
	num = a->num;
	if (!strcmp(a->name, "value") && a->kind == ATTR_TENSOR)
		return replace(n, a->tensor);
	if (!strcmp(a->name, "value_float") && a->kind == ATTR_FLOAT)
		return replace(n, graph_const_f(g, a->f));
	if (!strcmp(a->name, "value_int") && a->kind == ATTR_INT)
		return replace(n, graph_const(g, RDU_DT_I64, 0, NULL, &a->i));
	if (!strcmp(a->name, "value_floats") && a->kind == ATTR_FLOATS)
		return replace(n, graph_const(g, RDU_DT_F32, 1, &num, a->floats));
	if (!strcmp(a->name, "value_ints") && a->kind == ATTR_INTS)
		return replace(n, graph_const(g, RDU_DT_I64, 1, &num, a->ints));
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
	return node_shape(g, n, 0, v ? v->dtype : RDU_DT_F32, num, dim);
}

static int fill_pattern(struct lower *l, struct node *n)
{
	struct value *v = fill_value(n);
	struct tensor *out = lower_value(l, n->out[0]);
	uint32_t word = 0;

	if (v)
		switch (v->dtype) {
		case RDU_DT_I64:
			word = (uint32_t) * (int64_t *)v->data;
			break;
		case RDU_DT_F32:
		case RDU_DT_I32:
			word = *(uint32_t *)v->data;
			break;
		case RDU_DT_BF16:
			word = (uint32_t) * (uint16_t *)v->data << 16;
			break;
		case RDU_DT_I8:
			word = (uint32_t) * (int8_t *)v->data;
			break;
		default:
			word = *(uint8_t *)v->data;
			break;
		}
	return lower_fill(l, n, out, 0, 0, out->ndim ? out->dim[0] : 1, word);
}

static int range_expand(struct graph *g, struct node *n)
{
	int64_t v[3], count, *p, num;
	int k;

	for (int i = 0; i < 3; i++) {
		const int64_t *c = node_const_ints(g, n, i, &k);

		if (!c || k != 1)
			return node_error(g, n, "not constant integers");
		v[i] = clamp(c[0], -(1ll << 40), 1ll << 40);
	}
	if (!v[2])
		return node_error(g, n, "delta is zero");
	count = v[2] > 0 ? (v[1] - v[0] + v[2] - 1) / v[2] : (v[0] - v[1] - v[2] - 1) / -v[2];
	if (count < 0)
		count = 0;
	if (count > GRAPH_MAX_FOLD || n->in[0]->dtype != RDU_DT_I64)
		return node_error(g, n, "only up to %d int64 are supported", GRAPH_MAX_FOLD);
	p = graph_alloc(g, (count + 1) * sizeof(*p));
	for (int64_t i = 0; i < count; i++)
		p[i] = v[0] + i * v[2];
	num = count;
	return replace(n, graph_const(g, RDU_DT_I64, 1, &num, p));
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
		return replace(n, graph_reshape(g, n->name, graph_finish(g, m), 4, out));
	}
	const int64_t perm[] = { 0, 3, 5, 1, 2, 4 };
	const int64_t in[] = { x->dim[0], c, h / b, b, w / b, b };
	const int64_t out[] = { x->dim[0], c * b * b, h / b, w / b };

	v = graph_reshape(g, n->name, x, 6, in);
	if (!v)
		return -1;
	node_input(g, m, v);
	node_attr_ints(g, m, "perm", 6, perm);
	return replace(n, graph_reshape(g, n->name, graph_finish(g, m), 4, out));
}

#define VIEW(onnx, hi, inf)                                                                        \
	{ .name = onnx, .min_in = 1, .max_in = hi, .max_out = 1, .infer = inf, .view = true,       \
	  .gradient = view_gradient }
#define EXPAND(onnx, lo, hi, outs, fn)                                                             \
	{ .name = onnx, .min_in = lo, .max_in = hi, .max_out = outs, .expand = fn }
#define MOVE(onnx, lo, hi, fn)                                                                     \
	{ .name = onnx, .min_in = lo, .max_in = hi, .max_out = 1, .infer = fn##_infer,             \
	  .gradient = fn##_gradient, .pattern = fn##_pattern }
#define GRAD(onnx, ins, fn)                                                                        \
	{ .name = onnx, .min_in = ins, .max_in = ins, .max_out = 1, .internal = true,              \
	  .infer = shape_infer, .pattern = fn }

const struct op ops_shape[] = {
	{ .name = "Reshape", .min_in = 2, .max_in = 2, .max_out = 1, .infer = reshape_infer,
	  .view = true, .gradient = view_gradient },
	VIEW("Flatten", 1, flatten_infer),
	VIEW("Squeeze", 2, squeeze_infer),
	VIEW("Unsqueeze", 2, unsqueeze_infer),
	EXPAND("Identity", 1, 1, 1, identity_expand),
	/* Inference: nothing is dropped. */
	EXPAND("Dropout", 1, 3, 2, identity_expand),
	MOVE("Transpose", 1, 1, transpose),
	MOVE("Concat", 1, -1, concat),
	MOVE("Slice", 1, 5, slice),
	EXPAND("Split", 1, 2, -1, split_expand),
	MOVE("Pad", 1, 4, pad),
	MOVE("Expand", 2, 2, expand),
	EXPAND("Tile", 2, 2, 1, tile_expand),
	MOVE("Gather", 2, 2, gather),
	EXPAND("DepthToSpace", 1, 1, 1, blocks_expand),
	EXPAND("SpaceToDepth", 1, 1, 1, blocks_expand),
	EXPAND("Shape", 1, 1, 1, shape_expand),
	EXPAND("Size", 1, 1, 1, size_expand),
	EXPAND("Constant", 0, 0, 1, constant_expand),
	{ .name = "ConstantOfShape", .min_in = 1, .max_in = 1, .max_out = 1, .infer = fill_infer,
	  .stop_gradient = true, .pattern = fill_pattern },
	EXPAND("Range", 3, 3, 1, range_expand),
	GRAD("SliceGrad", 1, slice_grad_pattern),
	GRAD("PadGrad", 1, pad_grad_pattern),
	GRAD("GatherGrad", 2, gather_grad_pattern),
	{ 0 },
};
