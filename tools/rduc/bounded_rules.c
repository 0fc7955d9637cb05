// SPDX-License-Identifier: MIT
/* What each operator makes of bounded values (bounded.c): rules that move elements or work on each alone. */
#include <limits.h>
#include <string.h>
#include "bounded.h"

/* ---- elementwise ------------------------------------------------------------------------- */

/* Sizes of what inputs from `first` on are broadcast to. */
static int broadcast_sizes(struct graph *g, struct node *n, int first, struct value **size)
{
	int ndim = 0;

	for (int i = first; i < n->num_in; i++)
		ndim = n->in[i] && n->in[i]->ndim > ndim ? n->in[i]->ndim : ndim;
	for (int i = first; i < n->num_in; i++) {
		const struct value *v = n->in[i];

		for (int d = 0; v && d < v->ndim; d++) {
			struct value **to = &size[d + ndim - v->ndim];

			if (*to && v->size[d] && *to != v->size[d])
				return bounded_refuse(
					g, n, v, "together with another size that depends on data");
			*to = v->size[d] ? v->size[d] : *to;
		}
	}
	for (int i = first; i < n->num_in; i++) {
		const struct value *v = n->in[i];

		for (int d = 0; v && d < v->ndim; d++)
			if (size[d + ndim - v->ndim] && !v->size[d] && v->dim[d] != 1)
				return bounded_refuse(
					g, n, v,
					"together with a dimension that is always as large");
	}
	return 0;
}

/* Of what does not count, integers that stop no run. */
static int fill_divisor(struct graph *g, struct node *n)
{
	bool divides = !strcmp(n->op->name, "Div") || !strcmp(n->op->name, "Mod");

	if (divides && dtype_is_int(n->in[1]->dtype))
		n->in[1] = bounded_filled(g, n->name, n->in[1], FILL_ONE);
	if (!strcmp(n->op->name, "Pow") && dtype_is_int(n->in[1]->dtype))
		n->in[1] = bounded_filled(g, n->name, n->in[1], FILL_ZERO);
	if (!strcmp(n->op->name, "Cast") && !dtype_is_int(n->in[0]->dtype))
		n->in[0] = bounded_filled(g, n->name, n->in[0], FILL_ZERO);
	return n->in[0] && (n->num_in < 2 || !divides || n->in[1]) ? 0 : -1;
}

static int elementwise(struct graph *g, struct node *n)
{
	struct value *size[RDU_MAX_DIMS] = { NULL };

	if (g->opset < 7 && n->num_in > 1)
		return bounded_refuse(g, n, n->in[0], "before opset 7");
	if (broadcast_sizes(g, n, 0, size) || fill_divisor(g, n) || graph_process(g, n))
		return -1;
	return bounded_give(g, n, 0, size);
}

/* As the first input, whatever there is besides. */
static int as_first(struct graph *g, struct node *n)
{
	struct value *size[RDU_MAX_DIMS];

	memcpy(size, n->in[0]->size, sizeof(size));
	for (int i = 1; i < n->num_in; i++)
		if (value_is_bounded(n->in[i]))
			return bounded_refuse(g, n, n->in[i], "as this input");
	return bounded_process(g, n, size);
}

static int norm_rule(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	int64_t axis = attr_i(n, "axis", -1);

	if (node_axis(g, n, &axis, x->ndim))
		return -1;
	for (int64_t d = axis; d < x->ndim; d++)
		if (x->size[d])
			return bounded_refuse(g, n, x, "along what is normalized");
	return as_first(g, n);
}

/* Each along its axis alone; Hardmax before opset 13 of all that is there from it on. */
static int axis_rule(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	bool flat = g->opset < 13 && !strcmp(n->op->name, "Hardmax");
	int64_t axis = attr_i(n, "axis", flat ? 1 : -1);

	if (node_axis(g, n, &axis, x->ndim))
		return -1;
	for (int d = (int)axis; d < x->ndim; d++)
		if (x->size[d] && (d == axis || flat))
			return bounded_refuse(g, n, x, "along its axis");
	return as_first(g, n);
}

/* Numbers that stop no run; of several scales, each dimension that they are along has one size. */
static int quantize_rule(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *size[RDU_MAX_DIMS];

	for (int i = 1; i < n->num_in; i++)
		if (n->in[i] && (value_is_bounded(n->in[i]) || value_count(n->in[i]) != 1))
			return bounded_refuse(g, n, x, "with several scales");
	memcpy(size, x->size, sizeof(size));
	n->in[0] = bounded_filled(g, n->name, x, FILL_ZERO);
	return n->in[0] ? bounded_process(g, n, size) : -1;
}

static int pad_rule(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	int num, num_axes;
	const int64_t *pads = node_const_ints(g, n, 1, &num);
	const int64_t *axes = node_in(n, 3) ? node_const_ints(g, n, 3, &num_axes) : NULL;

	if (!pads || (node_in(n, 3) && !axes))
		return -1;
	for (int i = 0; i < num / 2; i++) {
		int64_t d = axes && i < num_axes ? axes[i] : i;

		if (node_axis(g, n, &d, x->ndim))
			return -1;
		if (x->size[d] && (pads[i] || pads[i + num / 2]))
			return bounded_refuse(g, n, x, "along what is padded");
	}
	return as_first(g, n);
}

static int one_hot_rule(struct graph *g, struct node *n)
{
	struct value *index = n->in[0], *size[RDU_MAX_DIMS] = { NULL };
	int64_t axis = attr_i(n, "axis", -1);

	for (int i = 1; i < n->num_in; i++)
		if (value_is_bounded(n->in[i]))
			return bounded_refuse(g, n, n->in[i], "as this input");
	if (node_axis(g, n, &axis, index->ndim + 1))
		return -1;
	for (int d = 0; d < index->ndim; d++)
		size[d + (d >= axis)] = index->size[d];
	return bounded_process(g, n, size);
}

/* ---- numbers made of sizes ------------------------------------------------------------------ */

/* Equal of numbers made of sizes with numbers below all that these may be: all false. */
static int equal_sizes(struct graph *g, struct node *n, const struct extent *a, int na,
		       const struct extent *b, int nb)
{
	struct value *y;
	unsigned char *to;
	int num = na > nb ? na : nb;

	if (graph_process(g, n))
		return -1;
	for (int i = 0; i < num; i++) {
		const struct extent *x = &a[na == 1 ? 0 : i], *z = &b[nb == 1 ? 0 : i];

		if (x->size ? z->size || z->most >= x->least : z->size && x->most >= z->least)
			return 0;
	}
	y = value_resolve(n->out[0]);
	to = graph_alloc(g, (size_t)num + 1);
	for (int i = 0; i < num; i++) {
		const struct extent *x = &a[na == 1 ? 0 : i], *z = &b[nb == 1 ? 0 : i];

		to[i] = !x->size && !z->size && x->most == z->most;
	}
	graph_replace(n, 0, graph_const(g, RDU_DT_BOOL, y->ndim, y->dim, to));
	return 0;
}

static int sizes_elementwise(struct graph *g, struct node *n)
{
	const struct extent *a, *b;
	struct extent *e;
	int na, nb = 0, num;

	a = bounded_extents(g, n->in[0], &na);
	b = n->num_in == 2 ? bounded_extents(g, n->in[1], &nb) : NULL;
	if (!strcmp(n->op->name, "Cast") && a) {
		if (graph_process(g, n))
			return -1;
		e = graph_alloc(g, (size_t)(na + 1) * sizeof(*e));
		memcpy(e, a, (size_t)na * sizeof(*e));
		return dtype_is_int(value_resolve(n->out[0])->dtype)
			       ? bounded_set_extents(g, n, e, false)
			       : 0;
	}
	if (!a || !b || (na != nb && na != 1 && nb != 1))
		return graph_process(g, n);
	if (!strcmp(n->op->name, "Equal"))
		return equal_sizes(g, n, a, na, b, nb);
	num = na > nb ? na : nb;
	e = graph_alloc(g, (size_t)(num + 1) * sizeof(*e));
	if (graph_process(g, n))
		return -1;
	for (int i = 0; i < num; i++)
		if (!bounded_combine(n->op->name, &a[na == 1 ? 0 : i], &b[nb == 1 ? 0 : i], &e[i]))
			return 0;
	return bounded_set_extents(g, n, e, true);
}

/* Where, by a condition that is known. */
static int sizes_where(struct graph *g, struct node *n)
{
	const struct extent *c, *a, *b;
	struct extent *e;
	int nc, na, nb, num;

	c = bounded_extents(g, n->in[0], &nc);
	a = bounded_extents(g, n->in[1], &na);
	b = bounded_extents(g, n->in[2], &nb);
	if (graph_process(g, n))
		return -1;
	num = (int)value_count(value_resolve(n->out[0]));
	if (!c || !a || !b || n->in[0]->extents || num > MAX_EXTENTS)
		return 0;
	e = graph_alloc(g, (size_t)(num + 1) * sizeof(*e));
	for (int i = 0; i < num; i++)
		e[i] = c[nc == 1 ? 0 : i].most ? a[na == 1 ? 0 : i] : b[nb == 1 ? 0 : i];
	return bounded_set_extents(g, n, e, false);
}

static int map_rule(struct graph *g, struct node *n)
{
	bool bounded = false;

	for (int i = 0; i < n->num_in; i++)
		bounded |= value_is_bounded(n->in[i]);
	if (bounded)
		return elementwise(g, n);
	return strcmp(n->op->name, "Where") ? sizes_elementwise(g, n) : sizes_where(g, n);
}

/* ---- views ------------------------------------------------------------------------------------ */

static int64_t product(const int64_t *dim, int from, int to)
{
	int64_t p = 1;

	for (int d = from; d < to; d++)
		p *= dim[d];
	return p;
}

/* size times a / b, which is a whole number. */
static struct value *scaled(struct graph *g, struct node *n, struct value *size, int64_t a,
			    int64_t b)
{
	struct node *by = size->producer;

	if (a % b == 0)
		return a == b ? size
			      : bounded_op2(g, n->name, "Mul", size, graph_const_i(g, a / b));
	if (b % a)
		return NULL;
	if (by && !strcmp(by->op->name, "Mul") && by->in[1]->constant && by->in[1]->data &&
	    value_count(by->in[1]) == 1 && value_int(by->in[1], 0) == b / a)
		return value_resolve(by->in[0]);
	return bounded_op2(g, n->name, "Div", size, graph_const_i(g, b / a));
}

/*
 * x under the shape of y, dimensions [from, to) of the one being [as, end) of the other: at most one of x's is
 * bounded. It has to stay one, or be in front of the others: elements that count are in front then, too.
 */
static int view_part(struct graph *g, struct node *n, const struct value *x, int from, int to,
		     const struct value *y, int as, int end, struct value **size)
{
	int k = -1, m;
	int64_t outer, inner;

	for (int d = from; d < to; d++) {
		if (x->size[d] && k >= 0)
			return bounded_refuse(g, n, x, "where such dimensions become one");
		k = x->size[d] ? d : k;
	}
	if (k < 0)
		return 0;
	outer = product(x->dim, from, k);
	inner = product(x->dim, k + 1, to);
	for (m = as; m < end; m++)
		if (product(y->dim, as, m) == outer &&
		    (y->dim[m] == x->dim[k] || (outer == 1 && y->dim[m] > 1)))
			break;
	if (m < end && y->dim[m] == x->dim[k] && product(y->dim, m + 1, end) == inner)
		size[m] = x->size[k];
	else if (m < end && outer == 1)
		size[m] = scaled(g, n, x->size[k], inner, product(y->dim, m + 1, end));
	return m < end && size[m] ? 0 : bounded_refuse(g, n, x, "in this shape");
}

static int view_sizes(struct graph *g, struct node *n, const struct value *x, const struct value *y,
		      struct value **size)
{
	int i = 0, k = 0;

	while (i < x->ndim && k < y->ndim) {
		int from = i, as = k;
		int64_t p = x->dim[i++], q = y->dim[k++];

		while (p != q)
			if (p < q ? i == x->ndim : k == y->ndim)
				return bounded_refuse(g, n, x, "in this shape");
			else if (p < q)
				p *= x->dim[i++];
			else
				q *= y->dim[k++];
		if (view_part(g, n, x, from, i, y, as, k, size))
			return -1;
	}
	for (; i < x->ndim; i++)
		if (x->size[i])
			return bounded_refuse(g, n, x, "in this shape");
	return 0;
}

/* The shape in numbers: -1 for the only dimension of a size that is not known, if none is left open. */
static struct value *shape_in_numbers(struct graph *g, const struct extent *e, int num)
{
	int64_t dim[MAX_EXTENTS], count = num;
	int sized = 0, open = 0;

	for (int i = 0; i < num; i++) {
		sized += e[i].size != NULL;
		open += !e[i].size && e[i].most == -1;
	}
	for (int i = 0; i < num; i++)
		dim[i] = e[i].size && sized == 1 && !open ? -1 : e[i].most;
	return graph_const(g, RDU_DT_I64, 1, &count, dim);
}

struct value *bounded_as_said(struct graph *g, const char *name, struct value *size,
			      struct value *said)
{
	struct value *off, *more;

	if (value_resolve(size) == value_resolve(said))
		return size;
	more = bounded_op2(g, name, "Sub", said, size);
	off = bounded_op2(g, name, "Max", more, bounded_op2(g, name, "Sub", size, said));
	off = bounded_op2(g, name, "IndexBelow", off, graph_const_i(g, 1));
	return bounded_op2(g, name, "Add", size, off);
}

static int reshape_rule(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *y, *size[RDU_MAX_DIMS] = { NULL };
	const struct extent *e;
	struct extent *to;
	int num;

	e = bounded_extents(g, node_in(n, 1), &num);
	if (!e)
		return graph_process(g, n);
	if (num > RDU_MAX_DIMS)
		return node_error(g, n, "more than %d dimensions", RDU_MAX_DIMS);
	n->in[1] = shape_in_numbers(g, e, num);
	if (graph_process(g, n))
		return -1;
	y = value_resolve(n->out[0]);
	if (x->extents) {
		to = graph_alloc(g, (size_t)(value_count(x) + 1) * sizeof(*to));
		memcpy(to, x->extents, (size_t)value_count(x) * sizeof(*to));
		return bounded_set_extents(g, n, to, false);
	}
	if (view_sizes(g, n, x, y, size))
		return -1;
	for (int d = 0; d < num; d++) {
		if (size[d] ? !e[d].size && e[d].most > 0 : e[d].size != NULL)
			return bounded_refuse(g, n, x,
					      size[d] ? "where the shape says a number"
						      : "where the shape says a size");
		if (size[d] && e[d].size)
			size[d] = bounded_as_said(g, n->name, size[d], e[d].size);
		if (e[d].size && !size[d])
			return -1;
	}
	return bounded_give(g, n, 0, size);
}

/* Flatten, Squeeze, Unsqueeze. */
static int view_rule(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *size[RDU_MAX_DIMS] = { NULL };
	struct extent *to;

	if (graph_process(g, n))
		return -1;
	if (x->extents) {
		to = graph_alloc(g, (size_t)(value_count(x) + 1) * sizeof(*to));
		memcpy(to, x->extents, (size_t)value_count(x) * sizeof(*to));
		return bounded_set_extents(g, n, to, false);
	}
	if (view_sizes(g, n, x, value_resolve(n->out[0]), size))
		return -1;
	return bounded_give(g, n, 0, size);
}

static int transpose_rule(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *size[RDU_MAX_DIMS] = { NULL };
	int num;
	const int64_t *p = attr_ints(n, "perm", &num);

	if (graph_process(g, n))
		return -1;
	for (int d = 0; d < x->ndim; d++)
		size[d] = x->size[p ? p[d] : x->ndim - 1 - d];
	return bounded_give(g, n, 0, size);
}

/* ---- gathers ----------------------------------------------------------------------------------- */

/* Indices along dimension d of x: those that count are in x, as far as it goes, others are 0. */
static struct value *indices_in(struct graph *g, struct node *n, const struct value *x, int d,
				struct value *idx)
{
	struct node *m;
	struct value *valid = NULL;

	if (value_is_bounded(idx)) {
		valid = bounded_valid(g, n->name, idx);
		idx = bounded_filled(g, n->name, idx, FILL_ZERO);
		if (!valid || !idx)
			return NULL;
	}
	if (!x->size[d])
		return idx;
	if (g->counts && !(valid = counting_and(g, n->name, valid)))
		return NULL;
	m = node_new(g, "IndexBelow", graph_format(g, "%.200s.index", n->name));
	node_input(g, m, idx);
	node_input(g, m, x->size[d]);
	if (valid)
		node_input(g, m, valid);
	return graph_finish(g, m);
}

static int gather_rule(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *idx = n->in[1], *size[RDU_MAX_DIMS] = { NULL };
	int64_t axis = attr_i(n, "axis", 0);
	int num, at = 0;

	if (node_axis(g, n, &axis, x->ndim))
		return -1;
	if (x->extents && x->ndim == 1) {
		const struct extent *i = bounded_extents(g, idx, &num);
		struct extent *e = graph_alloc(g, (size_t)(num + 1) * sizeof(*e));

		if (graph_process(g, n))
			return -1;
		for (int k = 0; i && k < num; k++) {
			int64_t from = i[k].most + (i[k].most < 0 ? x->dim[0] : 0);

			if (i[k].size || from < 0 || from >= x->dim[0])
				return 0;
			e[k] = x->extents[from];
		}
		return i ? bounded_set_extents(g, n, e, false) : 0;
	}
	n->in[1] = indices_in(g, n, x, (int)axis, idx);
	if (!n->in[1] || graph_process(g, n))
		return -1;
	for (int d = 0; d < axis; d++)
		size[at++] = x->size[d];
	for (int d = 0; d < idx->ndim; d++)
		size[at++] = idx->size[d];
	for (int d = (int)axis + 1; d < x->ndim; d++)
		size[at++] = x->size[d];
	return bounded_give(g, n, 0, size);
}

static int gather_elements_rule(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *idx = n->in[1], *size[RDU_MAX_DIMS];
	int64_t axis = attr_i(n, "axis", 0);

	if (node_axis(g, n, &axis, x->ndim))
		return -1;
	for (int d = 0; d < x->ndim && d < idx->ndim; d++)
		if (d != axis && x->size[d] && x->size[d] != idx->size[d])
			return bounded_refuse(g, n, x, "with indices of another size");
	memcpy(size, idx->size, sizeof(size));
	n->in[1] = indices_in(g, n, x, (int)axis, idx);
	if (!n->in[1] || graph_process(g, n))
		return -1;
	return bounded_give(g, n, 0, size);
}

/* Tuples of indices, of which each counts in its own dimension. */
static struct value *tuples_in(struct graph *g, struct node *n, const struct value *x,
			       struct value *idx, int k)
{
	struct node *m = node_new(g, "Concat", graph_format(g, "%.200s.index", n->name));
	int last = idx->ndim - 1;

	for (int d = 0; d < k; d++) {
		struct value *v = graph_slice(g, n->name, idx, last, d, 1, false);

		if (!v)
			return NULL;
		memcpy(v->size, idx->size, sizeof(v->size));
		v = indices_in(g, n, x, d, v);
		if (!v)
			return NULL;
		node_input(g, m, v);
	}
	node_attr_i(g, m, "axis", last);
	return graph_finish(g, m);
}

static int gather_nd_rule(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *idx = n->in[1], *size[RDU_MAX_DIMS] = { NULL };
	int64_t k = idx->ndim ? idx->dim[idx->ndim - 1] : 0;
	int at = 0;

	if (attr_i(n, "batch_dims", 0) || !k || idx->size[idx->ndim - 1])
		return bounded_refuse(g, n, value_is_bounded(x) ? x : idx,
				      "with batches or such tuples");
	if (k > x->ndim)
		return graph_process(g, n);
	n->in[1] = tuples_in(g, n, x, idx, (int)k);
	if (!n->in[1] || graph_process(g, n))
		return -1;
	for (int d = 0; d < idx->ndim - 1; d++)
		size[at++] = idx->size[d];
	for (int d = (int)k; d < x->ndim && at < RDU_MAX_DIMS; d++)
		size[at++] = x->size[d];
	return bounded_give(g, n, 0, size);
}

/* ---- NonZero and Compress of what is bounded ------------------------------------------------------ */

static int non_zero_rule(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];

	if (x->places)
		return graph_replace_first(n, x->places);
	n->in[0] = bounded_filled(g, n->name, x, FILL_ZERO);
	if (!n->in[0] || graph_process(g, n))
		return -1;
	x->places = n->in[0]->places;
	return 0;
}

static int unique_rule(struct graph *g, struct node *n)
{
	const struct value *x = n->in[0];
	int64_t axis = attr_i(n, "axis", 0);

	if (node_axis(g, n, &axis, x->ndim ? x->ndim : 1))
		return -1;
	for (int d = 0; d < x->ndim; d++)
		if (x->size[d] && (node_attr(n, "axis") ? d != axis : x->ndim > 1))
			return bounded_refuse(g, n, x, "but along its axis");
	return graph_process(g, n);
}

static int suppression_rule(struct graph *g, struct node *n)
{
	const struct value *boxes = n->in[0], *scores = n->in[1];

	for (int i = 2; i < n->num_in; i++)
		if (value_is_bounded(n->in[i]))
			return bounded_refuse(g, n, n->in[i], "as this input");
	if (boxes->ndim != 3 || scores->ndim != 3)
		return graph_process(g, n);
	if (boxes->size[0] || boxes->size[2] || scores->size[0] || scores->size[1])
		return bounded_refuse(g, n, value_is_bounded(boxes) ? boxes : scores,
				      "but in the number of boxes");
	if (boxes->size[1] != scores->size[2])
		return bounded_refuse(g, n, boxes->size[1] ? boxes : scores,
				      "beside another number of boxes");
	return graph_process(g, n);
}

static int compress_rule(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *y, *size[RDU_MAX_DIMS];
	int64_t axis = attr_i(n, "axis", 0);

	if (node_axis(g, n, &axis, x->ndim ? x->ndim : 1))
		return -1;
	if (!node_attr(n, "axis") && value_is_bounded(x) && x->ndim > 1)
		return bounded_refuse(g, n, x, "without an axis");
	if (x->size[axis] && x->size[axis] != n->in[1]->size[0])
		return bounded_refuse(g, n, x, "with a condition of another size");
	n->in[1] = bounded_filled(g, n->name, n->in[1], FILL_ZERO);
	if (!n->in[1] || graph_process(g, n))
		return -1;
	y = value_resolve(n->out[0]);
	memcpy(size, x->size, sizeof(size));
	size[axis] = y->size[axis];
	return bounded_give(g, n, 0, size);
}

/* Its branches' nodes have rules of their own. */
static int if_rule(struct graph *g, struct node *n)
{
	return value_is_bounded(n->in[0]) ? bounded_refuse(g, n, n->in[0], "as a condition")
					  : graph_process(g, n);
}

/* ---- the table ------------------------------------------------------------------------------------ */

static const struct {
	const char *op;
	bounded_rule rule;
} rules[] = {
	{ "ArgMax", bounded_arg },
	{ "ArgMin", bounded_arg },
	{ "AveragePool", bounded_batches },
	{ "BatchNormalization", bounded_batches },
	{ "Compress", compress_rule },
	{ "Concat", bounded_concat },
	{ "ConstantOfShape", bounded_fill_shape },
	{ "Conv", bounded_batches },
	{ "ConvTranspose", bounded_batches },
	{ "CumSum", bounded_cumsum },
	{ "Dropout", as_first },
	{ "DepthToSpace", bounded_batches },
	{ "DequantizeLinear", quantize_rule },
	{ "Einsum", bounded_einsum },
	{ "Expand", bounded_expand },
	{ "Flatten", view_rule },
	{ "Gather", gather_rule },
	{ "GatherElements", gather_elements_rule },
	{ "GatherND", gather_nd_rule },
	{ "Gelu", as_first },
	{ "Gemm", bounded_gemm },
	{ "GlobalAveragePool", bounded_batches },
	{ "GlobalMaxPool", bounded_batches },
	{ "GroupNormalization", bounded_batches },
	{ "HardSwish", as_first },
	{ "Hardmax", axis_rule },
	{ "Identity", as_first },
	{ "If", if_rule },
	{ "InstanceNormalization", bounded_batches },
	{ "LayerNormalization", norm_rule },
	{ "LogSoftmax", bounded_softmax },
	{ "LpNormalization", axis_rule },
	{ "MatMul", bounded_matmul },
	{ "MaxPool", bounded_batches },
	{ "Mish", as_first },
	{ "NonMaxSuppression", suppression_rule },
	{ "NonZero", non_zero_rule },
	{ "OneHot", one_hot_rule },
	{ "Pad", pad_rule },
	{ "QuantizeLinear", quantize_rule },
	{ "RMSNormalization", norm_rule },
	{ "Range", bounded_range },
	{ "ReduceL1", bounded_reduce },
	{ "ReduceL2", bounded_reduce },
	{ "ReduceLogSum", bounded_reduce },
	{ "ReduceLogSumExp", bounded_reduce },
	{ "ReduceMax", bounded_reduce },
	{ "ReduceMean", bounded_reduce },
	{ "ReduceMin", bounded_reduce },
	{ "ReduceProd", bounded_reduce },
	{ "ReduceSum", bounded_reduce },
	{ "ReduceSumSquare", bounded_reduce },
	{ "Reshape", reshape_rule },
	{ "Resize", bounded_resize },
	{ "RoiAlign", bounded_roi_align },
	{ "Scatter", bounded_scatter },
	{ "ScatterElements", bounded_scatter },
	{ "ScatterND", bounded_scatter },
	{ "Shape", bounded_shape },
	{ "Size", bounded_size },
	{ "SequenceConstruct", graph_process }, /* they make no elements */
	{ "SequenceInsert", graph_process },
	{ "Slice", bounded_slice },
	{ "Softmax", bounded_softmax },
	{ "SpaceToDepth", bounded_batches },
	{ "Split", bounded_split },
	{ "SplitToSequence", graph_process }, /* its Split has a rule */
	{ "Squeeze", view_rule },
	{ "StraightThrough", graph_through_as_sum },
	{ "Tile", bounded_tile },
	{ "TopK", bounded_top_k },
	{ "Transpose", transpose_rule },
	{ "Trilu", as_first },
	{ "Unique", unique_rule },
	{ "Unsqueeze", view_rule },
	{ "Upsample", bounded_resize },
};

bounded_rule bounded_rule_of(const struct node *n)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (!n->op->domain && !strcmp(rules[i].op, n->op->name))
			return rules[i].rule;
	return n->op->map && !n->op->domain ? map_rule : NULL;
}
