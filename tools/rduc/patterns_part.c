// SPDX-License-Identifier: MIT
/* Operators that take tensors apart, put them together and repeat them. */
#include <stdlib.h>
#include <string.h>
#include "graph.h"

/* ---- parts ------------------------------------------------------------------------- */

/* Of the inputs' dimensions; from the front or the back. */
static int64_t concat_axis(const struct graph *g, const struct node *n)
{
	return attr_i(n, "axis", g->opset < 4 ? 1 : 0);
}

static int concat_infer(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	int64_t axis = concat_axis(g, n), dim[RDU_MAX_DIMS];

	for (int k = 0; k < n->num_in; k++)
		if (!n->in[k])
			return node_error(g, n, "input %d is missing", k);
	if (node_axis(g, n, &axis, x->ndim))
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
	int64_t axis = concat_axis(l->graph, n), at = 0;
	struct tensor *out = lower_value(l, n->out[0]);

	axis += axis < 0 ? out->ndim : 0;
	for (int k = 0; k < n->num_in; k++) {
		struct value *v = n->in[k];
		struct nest *nest;

		if (!value_count(v))
			continue;
		nest = lower_copy(l, n, v, out);
		nest->dim[axis].extent = v->dim[axis];
		access_identity(&nest->in[0]);
		nest->out[0].access.offset[axis] = (int32_t)at;
		at += v->dim[axis];
		if (lower_done(l, n, nest))
			return -1;
	}
	return 0;
}

struct value *graph_slice(struct graph *g, const char *name, struct value *v, int64_t axis,
			  int64_t from, int64_t count, bool backwards)
{
	int64_t one = 1, step = backwards ? -1 : 1;
	int64_t to = backwards ? from - count : from + count;
	struct node *n = node_new(g, "Slice", name);

	if (!v)
		return NULL;
	if (backwards && to < 0)
		to = -INT32_MAX; /* -1 would be the last */
	node_input(g, n, v);
	node_input(g, n, graph_const(g, RDU_DT_I64, 1, &one, &from));
	node_input(g, n, graph_const(g, RDU_DT_I64, 1, &one, &to));
	node_input(g, n, graph_const(g, RDU_DT_I64, 1, &one, &axis));
	node_input(g, n, graph_const(g, RDU_DT_I64, 1, &one, &step));
	return graph_finish(g, n);
}

static int concat_gradient(struct graph *g, struct node *n)
{
	int64_t axis = concat_axis(g, n), at = 0;

	axis += axis < 0 ? n->out[0]->ndim : 0;
	for (int k = 0; k < n->num_in; k++) {
		struct value *v = n->in[k], *d;

		at += v->dim[axis];
		if (!v->needs_grad)
			continue;
		d = graph_slice(g, graph_format(g, "%.200s.grad%d", n->name, k), n->out[0]->grad,
				axis, at - v->dim[axis], v->dim[axis], false);
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

		if (node_axis(g, n, &a, x->ndim))
			return -1;
		if (!by)
			return node_error(g, n, "step 0");
		by = clamp(by, -INT32_MAX, INT32_MAX); /* beyond any dimension */
		size = x->dim[a];
		from = clamp(start[k], -size - 1, size);
		to = clamp(end[k], -size - 1, size);
		from += from < 0 ? size : 0;
		to += to < 0 ? size : 0;
		/* Backwards, what is before the front is the front: unlike NumPy. */
		from = by > 0 ? clamp(from, 0, size) : clamp(from, size ? 0 : -1, size - 1);
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
	nest = lower_copy(l, n, n->in[0], lower_value(l, n->out[0]));
	for (int i = 0; i < n->in[0]->ndim; i++) {
		nest->in[0].coef[i][i] = s.count[i] == 1 ? 0 : (int32_t)s.step[i];
		nest->in[0].offset[i] = (int32_t)s.start[i];
	}
	return lower_done(l, n, nest);
}

/* The only axis along which a slice, of steps of 1, leaves something out: -1: there is none such. */
static int sliced_axis(const struct slice *s, const struct value *x)
{
	int axis = -1;

	for (int i = 0; i < x->ndim; i++) {
		if (s->step[i] != 1 || (s->count[i] != x->dim[i] && axis >= 0))
			return -1;
		if (s->count[i] != x->dim[i])
			axis = i;
	}
	return axis;
}

static bool reads(const struct node *n, const struct value *x)
{
	for (int k = 0; k < n->num_in; k++)
		if (n->in[k] == x)
			return true;
	return false;
}

/* Slices that lie side by side make up x, n is the first node of them, and no node behind it reads x
 * in another way: their gradients side by side are x's. NULL: it is not so. */
static struct node *side_by_side(struct graph *g, struct node *n, struct value *x)
{
	struct node *m = node_new(g, "Concat", graph_format(g, "%.200s.grads", n->name));
	struct node *next = n;
	int axis = -1, first = g->num_forward - 1, parts = 0;
	int64_t sum = 0;
	struct slice s;

	for (int i = 0; i < g->num_outputs; i++)
		if (value_resolve(g->outputs[i].value) == x)
			return NULL;
	while (g->nodes[first] != n)
		first--;
	for (int i = first; i < g->num_forward; i++) {
		struct node *o = g->nodes[i];

		if (!reads(o, x))
			continue;
		if (strcmp(o->op->name, "Slice") || !o->out[0]->grad || slice_get(g, o, x, &s))
			return NULL;
		axis = i == first ? sliced_axis(&s, x) : axis;
		if (axis < 0 || sliced_axis(&s, x) != axis)
			return NULL;
		sum += s.count[axis];
		parts++;
	}
	if (sum != x->dim[axis])
		return NULL;
	for (int64_t at = 0; next && m->num_in < parts; at += s.count[axis]) {
		next = NULL;
		for (int i = first; i < g->num_forward && !next; i++)
			if (reads(g->nodes[i], x) && !slice_get(g, g->nodes[i], x, &s) &&
			    s.start[axis] == at)
				next = g->nodes[i];
		if (next)
			node_input(g, m, next->out[0]->grad);
	}
	node_attr_i(g, m, "axis", axis);
	return next ? m : NULL;
}

static int slice_gradient(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	struct node *m = x->needs_grad && !g->in_body ? side_by_side(g, n, x) : NULL;

	if (m) { /* instead of a sum of theirs, each with zeros around it */
		x->grad = NULL;
		return grad_finish(g, m, x);
	}
	m = grad_node(g, n, "SliceGrad");
	if (!n->in[0]->needs_grad)
		return 0;
	node_input(g, m, n->out[0]->grad);
	node_attr_ints(g, m, "shape", n->in[0]->ndim, n->in[0]->dim);
	return grad_finish(g, m, n->in[0]);
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
	nest = lower_copy(l, n, n->in[0], out);
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

	if (node_axis(g, n, &axis, x->ndim))
		return -1;
	if (!sizes && node_in(n, 1)) {
		sizes = node_const_ints(g, n, 1, &num);
		if (!sizes)
			return -1;
	}
	if (node_attr(n, "num_outputs") && attr_i(n, "num_outputs", 0) != n->num_out)
		return node_error(g, n, "num_outputs is %lld, there are %d",
				  (long long)attr_i(n, "num_outputs", 0), n->num_out);
	if (!sizes && g->opset < 18 && x->dim[axis] % n->num_out)
		return node_error(g, n, "dimension %lld has no %d equal parts",
				  (long long)x->dim[axis], n->num_out);
	if (sizes && num != n->num_out)
		return node_error(g, n, "%d sizes for %d outputs", num, n->num_out);
	part = (x->dim[axis] + n->num_out - 1) / n->num_out;
	for (int k = 0; k < n->num_out; k++) {
		int64_t size = sizes ? sizes[k] : part;
		struct value *v;

		if (!sizes && at + size > x->dim[axis])
			size = x->dim[axis] - at;
		if (size < 0 || (!size && !sizes && x->dim[axis]) || size > x->dim[axis] - at)
			return node_error(g, n, "sizes do not fit dimension %lld",
					  (long long)x->dim[axis]);
		if (n->out[k]) {
			v = graph_slice(g, graph_format(g, "%.200s.%d", n->name, k), x, axis, at,
					size, false);
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

#define PAD_AXES 3 /* that one Pad has at most */

static int pad_get(struct graph *g, struct node *n, const struct value *x, int64_t *before,
		   int64_t *dim)
{
	int num, num_axes = x->ndim;
	const int64_t *pads, *axes = NULL;

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

		if (node_axis(g, n, &a, x->ndim))
			return -1;
		if (b < -INT32_MAX || b > INT32_MAX || e < -INT32_MAX || e > INT32_MAX)
			return node_error(g, n, "pads are too large");
		before[a] = b;
		dim[a] = x->dim[a] + b + e;
	}
	return 0;
}

/* Which element of n padding at position p repeats. */
static int64_t padded_from(const char *mode, int64_t p, int64_t n)
{
	int64_t period = *mode == 'r' ? 2 * n - 2 : n;

	if (*mode == 'e')
		return clamp(p, 0, n - 1);
	p = period ? (p % period + period) % period : 0;
	return p < n ? p : period - p;
}

/* With a value that is computed: it goes where a tensor of ones gets zeros. */
static int pad_with(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *with = n->in[2], *inside, *padded;
	struct value *one = graph_cast(g, n->name, graph_const_i(g, 1), RDU_DT_BOOL);
	const int64_t count = x->ndim;
	struct node *m;

	if (value_count(with) != 1 || with->dtype != x->dtype)
		return node_error(g, n, "the value to pad %s with is %s%s", dtype_name(x->dtype),
				  dtype_name(with->dtype), value_shape_text(g, with));
	inside = graph_op2(g, "Expand", graph_format(g, "%.200s.ones", n->name), one,
			   graph_const(g, RDU_DT_I64, 1, &count, x->dim));
	for (int k = 0; k < 2; k++) {
		m = node_new(g, "Pad",
			     graph_format(g, "%.200s.%s", n->name, k ? "zeros" : "inside"));
		node_input(g, m, k ? x : inside);
		node_input(g, m, n->in[1]);
		node_input(g, m, NULL);
		node_input(g, m, node_in(n, 3));
		if (k)
			padded = graph_finish(g, m);
		else
			inside = inside ? graph_finish(g, m) : NULL;
	}
	with = graph_reshape(g, n->name, with, 0, NULL);
	if (!inside || !padded || !with)
		return -1;
	return graph_replace_first(n, graph_op3(g, "Where", n->name, inside, padded, with)) ? -1
											    : 1;
}

/* A part of the padding: that of the first axes, or of all behind them. */
static struct value *pad_part(struct graph *g, const struct node *n, struct value *x,
			      const int64_t *pads)
{
	struct node *m = node_new(g, "Pad", n->name);
	const int64_t num = 2 * x->ndim;

	node_input(g, m, x);
	node_input(g, m, graph_const(g, RDU_DT_I64, 1, &num, pads));
	node_input(g, m, node_in(n, 2));
	node_attr_f(g, m, "value", attr_f(n, "value", 0));
	return graph_finish(g, m);
}

/* With a number: of many axes, as an access has predicates for a few only, in two steps. */
static int pad_many(struct graph *g, struct node *n)
{
	int64_t before[RDU_MAX_DIMS], dim[RDU_MAX_DIMS], pads[2][2 * RDU_MAX_DIMS] = { { 0 } };
	struct value *x = n->in[0], *y;
	int num = 0;

	if (pad_get(g, n, x, before, dim))
		return -1;
	for (int i = 0; i < x->ndim; i++) {
		int64_t end = dim[i] - x->dim[i] - before[i], *to;

		if (!before[i] && !end)
			continue;
		to = pads[num++ >= PAD_AXES];
		to[i] = before[i];
		to[x->ndim + i] = end;
	}
	if (num <= PAD_AXES)
		return 0;
	y = pad_part(g, n, x, pads[0]);
	y = y ? pad_part(g, n, y, pads[1]) : NULL;
	return graph_replace_first(n, y) ? -1 : 1;
}

/* reflect, edge and wrap: picks, axis by axis, of what is left where padding below 0 cuts. */
static int pad_rewrite(struct graph *g, struct node *n)
{
	const char *mode = attr_s(n, "mode", "constant");
	int64_t before[RDU_MAX_DIMS], dim[RDU_MAX_DIMS];
	struct value *x = n->in[0];

	if (!strcmp(mode, "constant"))
		return node_in(n, 2) && !(n->in[2]->constant && n->in[2]->data) ? pad_with(g, n)
										: pad_many(g, n);
	if (pad_get(g, n, x, before, dim))
		return -1;
	for (int i = 0; i < n->in[0]->ndim; i++) {
		struct node *m = node_new(g, "Gather", n->name);
		int64_t *at, size = x->dim[i], from = before[i] < 0 ? -before[i] : 0;
		int64_t end = before[i] + size < dim[i] ? size : dim[i] - before[i];

		if (dim[i] == size && !before[i])
			continue;
		if (from >= end)
			return node_error(g, n, "mode %.20s of nothing is not supported", mode);
		if (dim[i] > GRAPH_MAX_FOLD)
			return node_error(g, n, "more than %d along an axis", GRAPH_MAX_FOLD);
		at = graph_alloc(g, dim[i] * sizeof(*at));
		for (int64_t p = 0; p < dim[i]; p++)
			at[p] = from + padded_from(mode, p - before[i] - from, end - from);
		node_input(g, m, x);
		node_input(g, m, graph_const(g, RDU_DT_I64, 1, &dim[i], at));
		node_attr_i(g, m, "axis", i);
		x = graph_finish(g, m);
		if (!x)
			return -1;
	}
	graph_replace(n, 0, x);
	return 1;
}

static int pad_infer(struct graph *g, struct node *n)
{
	int64_t before[RDU_MAX_DIMS], dim[RDU_MAX_DIMS];

	if (node_in(n, 2) && value_count(n->in[2]) != 1)
		return node_error(g, n, "the value to pad with has shape %s",
				  value_shape_text(g, n->in[2]));
	if (node_in(n, 2) && !value_fits_word(n->in[2], 0))
		return node_error(g, n, "the value to pad with, %.17g, does not fit 32 bits",
				  value_real(n->in[2], 0));
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
	nest = lower_copy(l, n, n->in[0], lower_value(l, n->out[0]));
	for (int i = 0; i < n->in[0]->ndim; i++) {
		nest->in[0].coef[i][i] = 1;
		nest->in[0].offset[i] = (int32_t)-before[i];
	}
	nest->in[0].guarded = true;
	f = attr_f(n, "value", 0);
	memcpy(&nest->in[0].pad, &f, 4);
	if (with)
		nest->in[0].pad = value_word(with, 0);
	return lower_done(l, n, nest);
}

/* What was moved by the padding is moved back; what was cut off gets none. */
static int pad_gradient(struct graph *g, struct node *n)
{
	struct node *m = grad_node(g, n, "PadGrad");

	if (!n->in[0]->needs_grad)
		return 0;
	node_input(g, m, n->out[0]->grad);
	node_attr_ints(g, m, "shape", n->in[0]->ndim, n->in[0]->dim);
	return grad_finish(g, m, n->in[0]);
}

static int pad_grad_pattern(struct lower *l, struct node *n)
{
	int64_t before[RDU_MAX_DIMS], dim[RDU_MAX_DIMS];
	struct nest *nest;

	if (pad_get(l->graph, n->of_node, n->out[0], before, dim))
		return -1;
	nest = lower_copy(l, n, n->in[0], lower_value(l, n->out[0]));
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
	struct nest *nest = lower_copy(l, n, n->in[0], lower_value(l, n->out[0]));

	access_broadcast(&nest->in[0], n->out[0]->ndim, dims);
	return lower_done(l, n, nest);
}

static int expand_gradient(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "SumTo", graph_format(g, "%.200s.grad", n->name));

	if (!n->in[0]->needs_grad)
		return 0;
	m->of = n->op;
	node_input(g, m, n->out[0]->grad);
	node_attr_ints(g, m, "shape", n->in[0]->ndim, n->in[0]->dim);
	return grad_finish(g, m, n->in[0]);
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
		if (rep[i] < 0 || rep[i] > INT32_MAX)
			return node_error(g, n, "repeats has %lld", (long long)rep[i]);
		out[i] = x->dim[i] * rep[i];
		if (k + 1 + (rep[i] != 1) > RDU_MAX_DIMS)
			return node_error(g, n, "too many dimensions are repeated");
		if (rep[i] != 1) {
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
	return graph_replace_first(n, graph_reshape(g, n->name, graph_finish(g, m), num, out));
}

/* ---- gather -------------------------------------------------------------------------- */

/* Constant indices lie in their dimension, counted from its start or its end. */
static int check_indices(struct graph *g, struct node *n, const struct value *idx, int64_t size)
{
	int64_t count = idx->constant && idx->data ? value_count(idx) : 0;

	for (int64_t i = 0; i < count; i++)
		if (value_int(idx, i) < -size || value_int(idx, i) >= size)
			return node_error(g, n,
					  "index %lld of '%s' is %lld, of a dimension of %lld",
					  (long long)i, idx->name, (long long)value_int(idx, i),
					  (long long)size);
	return 0;
}

static int gather_infer(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *idx = n->in[1];
	int64_t axis = attr_i(n, "axis", 0), dim[2 * RDU_MAX_DIMS];
	int ndim = 0;

	if (node_axis(g, n, &axis, x->ndim))
		return -1;
	if (idx->dtype != RDU_DT_I64 && idx->dtype != RDU_DT_I32)
		return node_error(g, n, "indices are %s", dtype_name(idx->dtype));
	if (!x->dim[axis] && value_count(idx))
		return node_error(g, n, "axis %lld, which it picks from, is empty",
				  (long long)axis);
	if (check_indices(g, n, idx, x->dim[axis]))
		return -1;
	for (int i = 0; i < axis; i++)
		dim[ndim++] = x->dim[i];
	for (int i = 0; i < idx->ndim; i++)
		dim[ndim++] = idx->dim[i];
	for (int i = (int)axis + 1; i < x->ndim; i++)
		dim[ndim++] = x->dim[i];
	return node_shape(g, n, 0, x->dtype, ndim, dim);
}

int expr_index(struct nest *n, int index, int64_t size, bool check)
{
	int end = nest_imm_i(n, (int32_t)size), zero = nest_imm_i(n, 0), e, in;

	e = nest_op(n, RDU_SIMD_ILT, index, zero, -1);
	e = nest_op(n, RDU_SIMD_SELECT, e, nest_op(n, RDU_SIMD_IADD, index, end, -1), index);
	if (!check)
		return e;
	in = nest_op(n, RDU_SIMD_AND, nest_op(n, RDU_SIMD_ILT, e, end, -1),
		     nest_op(n, RDU_SIMD_ILE, zero, e, -1), -1);
	return nest_trap(n, e, nest_op(n, RDU_SIMD_IEQ, in, zero, -1), RDU_TRAP_INDEX);
}

/*
 * Indices as they are, or with negative ones counted from the end. Along the first
 * axis of a tensor laid out as it is written, one that is out of range is outside of
 * the tensor, which the card sees (`seen`); elsewhere it would be in another row:
 * looked for here.
 */
static struct tensor *gather_indices(struct lower *l, struct node *n, struct value *idx, bool seen,
				     int64_t size)
{
	struct nest *nest;
	struct tensor *t;
	int e;

	if (idx->constant && idx->data) {
		bool negative = false;

		for (int64_t k = 0; k < value_count(idx); k++)
			negative |= value_int(idx, k) < 0;
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
	e = expr_index(nest, nest_in(nest, 0), size, !seen && !(idx->constant && idx->data));
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
	t = gather_indices(l, n, idx, !axis && x->kind != TENSOR_TEMP, x->dim[axis]);
	if (!t)
		return -1;
	return gather_nest(l, n, idx, t, axis, n->out[0], lower_value(l, x), false);
}

/* Indices have the result's shape; along the other axes each element its own. */
static int gather_elements_infer(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *idx = n->in[1];
	int64_t axis = attr_i(n, "axis", 0);

	if (node_axis(g, n, &axis, x->ndim))
		return -1;
	if ((idx->dtype != RDU_DT_I64 && idx->dtype != RDU_DT_I32) || idx->ndim != x->ndim)
		return node_error(g, n, "indices are %s %s", dtype_name(idx->dtype),
				  value_shape_text(g, idx));
	for (int i = 0; i < x->ndim; i++)
		if (i != axis && idx->dim[i] > x->dim[i])
			return node_error(g, n, "indices have shape %s", value_shape_text(g, idx));
	if (check_indices(g, n, idx, x->dim[axis]))
		return -1;
	return node_shape(g, n, 0, x->dtype, idx->ndim, idx->dim);
}

static int gather_elements(struct lower *l, struct node *n, struct value *part,
			   struct tensor *whole, int64_t axis, bool scatter)
{
	struct tensor *t = gather_indices(l, n, n->in[1], !axis && whole->kind != TENSOR_TEMP,
					  whole->dim[axis]);
	struct nest *nest;
	struct access *a;

	if (!t || (scatter && lower_fill(l, n, whole, 0, 0, whole->dim[0], 0)))
		return -1;
	nest = lower_nest(l, n, NULL);
	for (int i = 0; i < part->ndim; i++)
		nest_dim(nest, axis_name(part->ndim, i), part->dim[i], false);
	nest_input(nest, t);
	nest_input(nest, scatter ? lower_value(l, part) : whole);
	nest_output(nest, scatter ? whole : lower_value(l, part), nest_in(nest, 1));
	access_identity(&nest->in[0]);
	access_identity(&nest->in[1]);
	access_identity(&nest->out[0].access);
	nest->out[0].add = scatter;
	a = scatter ? &nest->out[0].access : &nest->in[1];
	a->coef[axis][axis] = 0;
	a->gather_in = 0;
	a->gather_dim = (int)axis;
	return lower_done(l, n, nest);
}

static int gather_elements_pattern(struct lower *l, struct node *n)
{
	int64_t axis = attr_i(n, "axis", 0);

	axis += axis < 0 ? n->in[0]->ndim : 0;
	return gather_elements(l, n, n->out[0], lower_value(l, n->in[0]), axis, false);
}

static int gather_elements_grad_pattern(struct lower *l, struct node *n)
{
	int64_t axis = attr_i(n->of_node, "axis", 0);

	axis += axis < 0 ? n->out[0]->ndim : 0;
	return gather_elements(l, n, n->in[0], lower_value(l, n->out[0]), axis, true);
}

static int gather_gradient(struct graph *g, struct node *n)
{
	bool slices = n->op->pattern == gather_pattern;
	struct node *m = grad_node(g, n, slices ? "GatherGrad" : "GatherElementsGrad");

	if (!n->in[0]->needs_grad)
		return 0;
	node_input(g, m, n->out[0]->grad);
	node_input(g, m, n->in[1]);
	node_attr_ints(g, m, "shape", n->in[0]->ndim, n->in[0]->dim);
	return grad_finish(g, m, n->in[0]);
}

static int gather_grad_pattern(struct lower *l, struct node *n)
{
	struct tensor *out = lower_value(l, n->out[0]), *t;
	int64_t axis = attr_i(n->of_node, "axis", 0);

	axis += axis < 0 ? out->ndim : 0;
	/* Along the first axis the forward pass has seen them. */
	t = gather_indices(l, n, n->in[1], !axis, out->dim[axis]);
	if (!t || lower_fill(l, n, out, 0, 0, out->dim[0], 0))
		return -1;
	return gather_nest(l, n, n->in[1], t, axis, n->in[0], out, true);
}

#define EXPAND(onnx, lo, hi, outs, fn)                                                  \
	{                                                                               \
		.name = onnx, .min_in = lo, .max_in = hi, .max_out = outs, .expand = fn \
	}
#define MOVE(onnx, lo, hi, fn)                                                               \
	{                                                                                    \
		.name = onnx, .min_in = lo, .max_in = hi, .max_out = 1, .infer = fn##_infer, \
		.gradient = fn##_gradient, .pattern = fn##_pattern                           \
	}
#define GRAD(onnx, ins, fn)                                                                 \
	{                                                                                   \
		.name = onnx, .min_in = ins, .max_in = ins, .max_out = 1, .internal = true, \
		.infer = shape_infer, .pattern = fn                                         \
	}

const struct op ops_part[] = {
	MOVE("Concat", 1, -1, concat),
	{ .name = "Slice",
	  .min_in = 1,
	  .max_in = 5,
	  .max_out = 1,
	  .rewrite = graph_counted_slice,
	  .infer = slice_infer,
	  .gradient = slice_gradient,
	  .pattern = slice_pattern },
	EXPAND("Split", 1, 2, -1, split_expand),
	{ .name = "Pad",
	  .min_in = 1,
	  .max_in = 4,
	  .max_out = 1,
	  .rewrite = pad_rewrite,
	  .infer = pad_infer,
	  .gradient = pad_gradient,
	  .pattern = pad_pattern },
	MOVE("Expand", 2, 2, expand),
	EXPAND("Tile", 2, 2, 1, tile_expand),
	MOVE("Gather", 2, 2, gather),
	{ .name = "GatherElements",
	  .min_in = 2,
	  .max_in = 2,
	  .max_out = 1,
	  .infer = gather_elements_infer,
	  .gradient = gather_gradient,
	  .pattern = gather_elements_pattern },
	GRAD("GatherElementsGrad", 2, gather_elements_grad_pattern),
	GRAD("SliceGrad", 1, slice_grad_pattern),
	GRAD("PadGrad", 1, pad_grad_pattern),
	GRAD("GatherGrad", 2, gather_grad_pattern),
	{ 0 },
};
