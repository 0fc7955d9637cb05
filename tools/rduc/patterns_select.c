// SPDX-License-Identifier: MIT
/*
 * Operators that choose elements, or the places where they go, made of Gather and
 * Scatter: ReverseSequence, MaxUnpool, Col2Im; and TfIdfVectorizer, which counts
 * them.
 */
#include <string.h>
#include "graph.h"

#define MOST_GRAMS (1ll << 26) /* n-grams times places where they may be */

static struct value *expanded(struct graph *g, struct node *n, struct value *v, int ndim,
			      const int64_t *dim)
{
	int64_t count = ndim;

	return v ? graph_op2(g, "Expand", n->name, v, graph_const(g, RDU_DT_I64, 1, &count, dim))
		 : NULL;
}

static struct value *on_axis(struct graph *g, const char *op, struct node *n, struct value *v,
			     struct value *at, int64_t axis)
{
	struct node *m = node_new(g, op, n->name);

	if (!v || !at)
		return NULL;
	node_input(g, m, v);
	node_input(g, m, at);
	node_attr_i(g, m, "axis", axis);
	return graph_finish(g, m);
}

/* ---- ReverseSequence ---------------------------------------------------------------------- */

/* Of each batch the first len steps, the last one first: place t reads len - 1 - t. */
static int reverse_sequence_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *len = n->in[1], *t, *at, *inside;
	int64_t time = attr_i(n, "time_axis", 0), batch = attr_i(n, "batch_axis", 1);
	int64_t dim[RDU_MAX_DIMS];

	if (x->ndim < 2 || time < 0 || time > 1 || batch != 1 - time)
		return node_error(g, n, "time_axis %lld and batch_axis %lld of %s", (long long)time,
				  (long long)batch, value_shape_text(g, x));
	if (len->dtype != RDU_DT_I64 || len->ndim != 1 || len->dim[0] != x->dim[batch])
		return node_error(g, n, "its lengths are %s %s", dtype_name(len->dtype),
				  value_shape_text(g, len));
	for (int i = 0; i < x->ndim; i++)
		dim[i] = 1;
	dim[batch] = x->dim[batch];
	len = graph_reshape(g, n->name, len, x->ndim, dim);
	dim[batch] = 1;
	dim[time] = x->dim[time];
	t = graph_reshape(g, n->name, loop_count(g, RDU_DT_I64, x->dim[time]), x->ndim, dim);
	inside = t ? graph_op2(g, "Less", n->name, t, len) : NULL;
	at = graph_op2(g, "Sub", n->name, len, graph_const_i(g, 1));
	at = graph_op2(g, "Sub", n->name, at, t);
	at = inside && at ? graph_op3(g, "Where", n->name, inside, at, t) : NULL;
	at = expanded(g, n, at, x->ndim, x->dim);
	return graph_replace_first(n, on_axis(g, "GatherElements", n, x, at, time));
}

/* ---- MaxUnpool ----------------------------------------------------------------------------- */

/*
 * Zeros, but for the maxima, which go where the indices say. These count the elements of the
 * tensor that was pooled; output_shape only puts zeros behind it.
 */
static int max_unpool_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *at = n->in[1], *v;
	int num, num_strides = 0, num_pads = 0, num_shape;
	const int64_t *kernel = attr_ints(n, "kernel_shape", &num),
		      *strides = attr_ints(n, "strides", &num_strides),
		      *pads = attr_ints(n, "pads", &num_pads), *shape = NULL;
	int64_t dim[RDU_MAX_DIMS], pad[2 * RDU_MAX_DIMS] = { 0 }, total, count, both;
	struct node *m;

	if (!kernel || num != x->ndim - 2 || (strides && num_strides != num) ||
	    (pads && num_pads != 2 * num) || !value_same_shape(x, at))
		return node_error(g, n, "kernel_shape, strides, pads and indices %s do not fit %s",
				  value_shape_text(g, at), value_shape_text(g, x));
	memcpy(dim, x->dim, sizeof(dim));
	for (int i = 0; i < num; i++)
		dim[2 + i] = (x->dim[2 + i] - 1) * (strides ? strides[i] : 1) + kernel[i] -
			     (pads ? pads[i] + pads[num + i] : 0);
	if (node_in(n, 2)) {
		shape = node_const_ints(g, n, 2, &num_shape);
		if (!shape)
			return -1;
		if (num_shape != x->ndim)
			return node_error(g, n, "output_shape has %d numbers", num_shape);
		for (int i = 0; i < num_shape; i++) {
			if (shape[i] < dim[i] || (i < 2 && shape[i] != dim[i]))
				return node_error(g, n,
						  "output_shape has %lld, the windows need %lld",
						  (long long)shape[i], (long long)dim[i]);
			pad[x->ndim + i] = shape[i] - dim[i];
		}
	}
	if (node_shape(g, n, 0, x->dtype, x->ndim, dim))
		return -1;
	n->out[0]->ndim = -1; /* it is an expansion */
	total = dims_count(x->ndim, dim);
	count = value_count(x);
	v = graph_cast(g, n->name, graph_const_f(g, 0), x->dtype);
	m = node_new(g, "ScatterElements", n->name);
	v = expanded(g, n, v, 1, &total);
	at = graph_reshape(g, n->name, at, 1, &count);
	x = graph_reshape(g, n->name, x, 1, &count);
	if (!v || !at || !x)
		return -1;
	node_input(g, m, v);
	node_input(g, m, at);
	node_input(g, m, x);
	v = graph_reshape(g, n->name, graph_finish(g, m), n->in[0]->ndim, dim);
	both = 2 * n->in[0]->ndim;
	return graph_replace_first(n, v && shape
					      ? graph_op2(g, "Pad", n->name, v,
							  graph_const(g, RDU_DT_I64, 1, &both, pad))
					      : v);
}

/* ---- Col2Im --------------------------------------------------------------------------------- */

struct windows {
	int ndim;
	const int64_t *image, *block, *dilations, *strides, *pads;
	int64_t num[RDU_MAX_DIMS], positions, cells, pixels;
};

static int windows_get(struct graph *g, struct node *n, struct windows *w)
{
	int nb, nd = 0, ns = 0, np = 0;

	w->image = node_const_ints(g, n, 1, &w->ndim);
	w->block = w->image ? node_const_ints(g, n, 2, &nb) : NULL;
	if (!w->block)
		return -1;
	w->dilations = attr_ints(n, "dilations", &nd);
	w->strides = attr_ints(n, "strides", &ns);
	w->pads = attr_ints(n, "pads", &np);
	if (w->ndim != nb || w->ndim > RDU_MAX_DIMS - 2 || (w->dilations && nd != nb) ||
	    (w->strides && ns != nb) || (w->pads && np != 2 * nb))
		return node_error(g, n, "image_shape, block_shape and attributes do not fit");
	w->positions = 1;
	for (int i = 0; i < w->ndim; i++) {
		int64_t wide = (w->dilations ? w->dilations[i] : 1) * (w->block[i] - 1) + 1;
		int64_t all = w->image[i] + (w->pads ? w->pads[i] + w->pads[nb + i] : 0);

		if (w->image[i] < 1 || w->block[i] < 1 || all < wide || w->image[i] > 1 << 20 ||
		    (w->strides && w->strides[i] < 1))
			return node_error(g, n, "a block of %lld in an image of %lld",
					  (long long)w->block[i], (long long)w->image[i]);
		w->num[i] = (all - wide) / (w->strides ? w->strides[i] : 1) + 1;
		w->positions *= w->num[i];
	}
	w->cells = dims_count(w->ndim, w->block);
	w->pixels = dims_count(w->ndim, w->image);
	if (w->cells * w->positions > GRAPH_MAX_FOLD * 16)
		return node_error(g, n, "more than %d elements of windows are not supported",
				  GRAPH_MAX_FOLD * 16);
	return 0;
}

/* The pixel where a cell of a window lies; behind all pixels, if it is outside. */
static int64_t pixel(const struct windows *w, int64_t cell, int64_t position)
{
	int64_t at = 0, stride = 1;
	bool inside = true;

	for (int i = w->ndim - 1; i >= 0; i--) {
		int64_t p = position % w->num[i] * (w->strides ? w->strides[i] : 1) +
			    cell % w->block[i] * (w->dilations ? w->dilations[i] : 1) -
			    (w->pads ? w->pads[i] : 0);

		inside = inside && p >= 0 && p < w->image[i];
		at += p * stride;
		stride *= w->image[i];
		position /= w->num[i];
		cell /= w->block[i];
	}
	return inside ? at : w->pixels;
}

/* Each window's elements are added to the image's pixels they were taken from. */
static int col2im_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *at, *v;
	struct windows w = { 0 };
	int64_t dim[RDU_MAX_DIMS], places, *p;
	struct node *m;

	if (windows_get(g, n, &w))
		return -1;
	if (x->ndim != 3 || x->dim[1] % w.cells || x->dim[2] != w.positions ||
	    dtype_is_int(x->dtype))
		return node_error(g, n, "%s %s is not windows of %lld at %lld positions",
				  dtype_name(x->dtype), value_shape_text(g, x), (long long)w.cells,
				  (long long)w.positions);
	places = w.cells * w.positions;
	p = graph_alloc(g, (size_t)(places + 1) * sizeof(*p));
	for (int64_t i = 0; i < places; i++)
		p[i] = pixel(&w, i / w.positions, i % w.positions);
	dim[0] = 1;
	dim[1] = places;
	at = graph_const(g, RDU_DT_I64, 2, dim, p);
	dim[0] = x->dim[0] * (x->dim[1] / w.cells);
	at = expanded(g, n, at, 2, dim);
	x = graph_reshape(g, n->name, x, 2, dim);
	dim[1] = w.pixels + 1;
	v = expanded(g, n, graph_cast(g, n->name, graph_const_f(g, 0), n->in[0]->dtype), 2, dim);
	m = node_new(g, "ScatterElements", n->name);
	if (!x || !at || !v)
		return -1;
	node_input(g, m, v);
	node_input(g, m, at);
	node_input(g, m, x);
	node_attr_i(g, m, "axis", 1);
	node_attr_s(g, m, "reduction", "add");
	v = graph_finish(g, m);
	v = v ? graph_slice(g, n->name, v, 1, 0, w.pixels, false) : NULL;
	dim[0] = n->in[0]->dim[0];
	dim[1] = n->in[0]->dim[1] / w.cells;
	memcpy(dim + 2, w.image, (size_t)w.ndim * sizeof(*dim));
	return graph_replace_first(n, graph_reshape(g, n->name, v, w.ndim + 2, dim));
}

/* ---- TfIdfVectorizer -------------------------------------------------------------------------- */

struct grams {
	int num_pool, num_starts, num; /* elements of all; sizes; n-grams */
	const int64_t *pool, *starts, *columns; /* of the result, one for each n-gram */
	int64_t min, max, skip, width;
};

static int grams_get(struct graph *g, struct node *n, struct grams *p)
{
	uint8_t *taken = graph_alloc(g, GRAPH_MAX_FOLD + 1);
	int64_t num = 0;

	p->pool = attr_ints(n, "pool_int64s", &p->num_pool);
	p->starts = attr_ints(n, "ngram_counts", &p->num_starts);
	p->columns = attr_ints(n, "ngram_indexes", &p->num);
	p->min = attr_i(n, "min_gram_length", 0);
	p->max = attr_i(n, "max_gram_length", 0);
	p->skip = attr_i(n, "max_skip_count", 0);
	if (!p->pool || node_attr(n, "pool_strings"))
		return node_error(g, n, "a pool of strings is not supported");
	if (p->min < 1 || p->max < p->min || p->max > p->num_starts || p->skip < 0 ||
	    p->skip > INT32_MAX)
		return node_error(g, n, "n-grams of %lld to %lld, skipping %lld, of %d sizes",
				  (long long)p->min, (long long)p->max, (long long)p->skip,
				  p->num_starts);
	for (int k = 0; k < p->num_starts; k++) {
		int64_t end = k + 1 < p->num_starts ? p->starts[k + 1] : p->num_pool;

		if (p->starts[k] < 0 || end < p->starts[k] || end > p->num_pool ||
		    (end - p->starts[k]) % (k + 1))
			return node_error(g, n, "ngram_counts has %lld, the pool %d elements",
					  (long long)p->starts[k], p->num_pool);
		num += (end - p->starts[k]) / (k + 1);
	}
	if (num != p->num)
		return node_error(g, n, "%d ngram_indexes for %lld n-grams", p->num,
				  (long long)num);
	for (int i = 0; i < p->num; i++) {
		if (p->columns[i] < 0 || p->columns[i] > GRAPH_MAX_FOLD)
			return node_error(g, n, "ngram_indexes has %lld", (long long)p->columns[i]);
		p->width = p->columns[i] + 1 > p->width ? p->columns[i] + 1 : p->width;
		if (taken[p->columns[i]]++)
			return node_error(g, n, "ngram_indexes with %lld twice: not supported",
					  (long long)p->columns[i]);
	}
	return 0;
}

/* How often each of `num` n-grams of `size` elements is in a row of x, [rows, num]; with
 * elements `step` apart. NULL and no error: x is too short. */
static struct value *count_grams(struct graph *g, struct node *n, struct value *x,
				 const int64_t *pool, int64_t num, int64_t size, int64_t step)
{
	int64_t places = x->dim[1] - (size - 1) * step, wide[] = { x->dim[0], places, 1 }, axis = 1;
	struct value *all = NULL;

	for (int64_t j = 0; j < size; j++) {
		const int64_t row[] = { 1, 1, num };
		struct value *want = graph_const(g, RDU_DT_I64, 3, row, NULL), *v;

		for (int64_t i = 0; i < num; i++)
			((int64_t *)want->data)[i] = pool[i * size + j];
		v = graph_slice(g, n->name, x, 1, j * step, places, false);
		v = graph_reshape(g, n->name, v, 3, wide);
		v = v ? graph_op2(g, "Equal", n->name, v, want) : NULL;
		all = all && v ? graph_op2(g, "And", n->name, all, v) : v;
		if (!all)
			return NULL;
	}
	all = graph_cast(g, n->name, all, RDU_DT_F32);
	return all ? graph_reduce(g, "ReduceSum", n->name, all, 1, &axis, 0) : NULL;
}

/* Counts of all n-grams, in the pool's order, and a column of zeros behind them. */
static struct value *all_grams(struct graph *g, struct node *n, struct value *x,
			       const struct grams *p)
{
	struct node *m = node_new(g, "Concat", n->name);

	for (int64_t size = 1; size <= p->num_starts; size++) {
		int64_t from = p->starts[size - 1];
		int64_t end = size < p->num_starts ? p->starts[size] : p->num_pool;
		const int64_t dim[] = { x->dim[0], (end - from) / size };
		struct value *sum = graph_const(g, RDU_DT_F32, 2, dim, NULL), *v;

		if (!dim[1])
			continue;
		/* Of one element there is nothing to skip. */
		for (int64_t s = 1; size >= p->min && size <= p->max && s <= p->skip + 1; s++) {
			if ((size > 1 && (size - 1) * s >= x->dim[1]) || (size == 1 && s > 1))
				break;
			v = count_grams(g, n, x, p->pool + from, dim[1], size, s);
			sum = v ? graph_op2(g, "Add", n->name, sum, v) : NULL;
			if (!sum)
				return NULL;
		}
		node_input(g, m, sum);
	}
	node_input(g, m, graph_const(g, RDU_DT_F32, 2, (int64_t[]){ x->dim[0], 1 }, NULL));
	node_attr_i(g, m, "axis", 1);
	return graph_finish(g, m);
}

static int tf_idf_expand(struct graph *g, struct node *n)
{
	const struct attr *weights = node_attr(n, "weights");
	const char *mode = attr_s(n, "mode", "");
	struct value *x = n->in[0], *v, *factor;
	int64_t dim[2], *from;
	struct grams p = { 0 };

	if ((x->dtype != RDU_DT_I32 && x->dtype != RDU_DT_I64) || x->ndim < 1 || x->ndim > 2)
		return node_error(g, n, "not supported for %s%s", dtype_name(x->dtype),
				  value_shape_text(g, x));
	if (grams_get(g, n, &p))
		return -1;
	if (weights && weights->num != p.num)
		return node_error(g, n, "%d weights for %d n-grams", weights->num, p.num);
	dim[0] = x->ndim > 1 ? x->dim[0] : 1;
	dim[1] = x->dim[x->ndim - 1];
	if (dim[0] * dim[1] > MOST_GRAMS / (p.num + 1))
		return node_error(g, n, "%d n-grams in %s are not supported", p.num,
				  value_shape_text(g, x));
	x = graph_reshape(g, n->name, graph_cast(g, n->name, x, RDU_DT_I64), 2, dim);
	v = x ? all_grams(g, n, x, &p) : NULL;
	if (!v)
		return -1;
	dim[1] = p.width;
	from = graph_alloc(g, (size_t)(p.width + 1) * sizeof(*from));
	factor = graph_const(g, RDU_DT_F32, 1, &p.width, NULL);
	for (int64_t i = 0; i < p.width; i++)
		from[i] = p.num;
	for (int i = 0; i < p.num; i++) {
		from[p.columns[i]] = i;
		((float *)factor->data)[p.columns[i]] = weights ? weights->floats[i] : 1;
	}
	v = on_axis(g, "Gather", n, v, graph_const(g, RDU_DT_I64, 1, &p.width, from), 1);
	if (v && !strcmp(mode, "IDF"))
		v = graph_op2(g, "Min", n->name, v, graph_const_f(g, 1));
	if (v && strcmp(mode, "TF") != 0)
		v = graph_op2(g, "Mul", n->name, v, factor);
	return graph_replace_first(
		n, n->in[0]->ndim > 1 ? v : graph_reshape(g, n->name, v, 1, &p.width));
}

#define EXPAND(onnx, lo, hi, fn)                                                     \
	{                                                                            \
		.name = onnx, .min_in = lo, .max_in = hi, .max_out = 1, .expand = fn \
	}

const struct op ops_select[] = {
	EXPAND("ReverseSequence", 2, 2, reverse_sequence_expand),
	EXPAND("MaxUnpool", 2, 3, max_unpool_expand),
	EXPAND("Col2Im", 3, 3, col2im_expand),
	EXPAND("TfIdfVectorizer", 1, 1, tf_idf_expand),
	{ 0 },
};
