// SPDX-License-Identifier: MIT
/* Fourier transforms, as products with matrices of sines and cosines, and mel filters. */
#include <math.h>
#include <string.h>
#include "graph.h"

#define MAX_MATRIX (1 << 22)

struct transform {
	int64_t length; /* numbers that a sum is over, of which `have` are there, the rest 0 */
	int64_t have, bins;
	bool inverse;
};

/* [bins * 2, have * parts]: real and imaginary part of each bin, of those of each number. */
static struct value *fourier_matrix(struct graph *g, struct node *n, const struct transform *t,
				    int64_t parts)
{
	int64_t dim[2] = { t->bins * 2, t->have * parts };
	double scale = t->inverse ? 1.0 / (double)t->length : 1;
	float *p;

	if (dims_count(2, dim) > MAX_MATRIX) {
		node_error(g, n,
			   "a transform of %lld numbers is not supported: its matrix has "
			   "more than %d elements",
			   (long long)t->length, MAX_MATRIX);
		return NULL;
	}
	p = graph_alloc(g, (size_t)(dims_count(2, dim) + 1) * sizeof(*p));
	for (int64_t k = 0; k < t->bins; k++)
		for (int64_t i = 0; i < t->have; i++) {
			double a = 2 * M_PI * (double)(k * i % t->length) / (double)t->length;
			double c = scale * cos(a), s = scale * (t->inverse ? sin(a) : -sin(a));
			float *re = p + 2 * k * dim[1] + i * parts, *im = re + dim[1];

			re[0] = (float)c;
			im[0] = (float)s;
			if (parts == 2) {
				re[1] = (float)-s;
				im[1] = (float)c;
			}
		}
	return graph_const(g, RDU_DT_F32, 2, dim, p);
}

static struct value *swapped(struct graph *g, struct node *n, struct value *v)
{
	static const int64_t perm[] = { 0, 1, 3, 2 };
	struct node *m = node_new(g, "Transpose", n->name);

	if (!v)
		return NULL;
	node_input(g, m, v);
	node_attr_ints(g, m, "perm", 4, perm);
	return graph_finish(g, m);
}

/* The transform of x along an axis; its last dimension is 1 (real) or 2 (complex). */
static struct value *fourier(struct graph *g, struct node *n, struct value *x, int64_t axis,
			     struct transform *t)
{
	int64_t parts = x->dim[x->ndim - 1], before, behind, dim[RDU_MAX_DIMS];
	struct value *w, *v = x;

	t->have = x->dim[axis] < t->length ? x->dim[axis] : t->length;
	w = fourier_matrix(g, n, t, parts);
	if (!w)
		return NULL;
	if (x->dim[axis] > t->length)
		v = graph_slice(g, n->name, v, axis, 0, t->length, false);
	before = dims_count((int)axis, x->dim);
	behind = dims_count(x->ndim - 2 - (int)axis, x->dim + axis + 1);
	v = graph_reshape(g, n->name, v, 4, (int64_t[]){ before, t->have, behind, parts });
	v = graph_reshape(g, n->name, swapped(g, n, v), 3,
			  (int64_t[]){ before, t->have * parts, behind });
	v = v ? graph_op2(g, "MatMul", n->name, graph_cast(g, n->name, w, x->dtype), v) : NULL;
	v = graph_reshape(g, n->name, v, 4, (int64_t[]){ before, t->bins, 2, behind });
	memcpy(dim, x->dim, sizeof(dim));
	dim[axis] = t->bins;
	dim[x->ndim - 1] = 2;
	return graph_reshape(g, n->name, swapped(g, n, v), x->ndim, dim);
}

static int check_signal(struct graph *g, struct node *n, const struct value *x, int least)
{
	if (dtype_is_int(x->dtype) || x->ndim < least || x->dim[x->ndim - 1] < 1 ||
	    x->dim[x->ndim - 1] > 2 || !value_count(x))
		return node_error(g, n, "not supported for %s %s", dtype_name(x->dtype),
				  value_shape_text(g, x));
	return 0;
}

/* One constant integer; `otherwise` where it is not given. */
static int one_number(struct graph *g, struct node *n, int in, int64_t otherwise, int64_t *v)
{
	const int64_t *p;
	int num;

	*v = otherwise;
	if (!node_in(n, in))
		return 0;
	p = node_const_ints(g, n, in, &num);
	if (!p)
		return -1;
	if (num != 1)
		return node_error(g, n, "input %d must be one number, it is %d", in, num);
	*v = p[0];
	return 0;
}

static int dft_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0];
	bool onesided = attr_i(n, "onesided", 0);
	struct transform t = { .inverse = attr_i(n, "inverse", 0) };
	int64_t axis = attr_i(n, "axis", g->opset < 20 ? 1 : -2);

	if (check_signal(g, n, x, 2) || one_number(g, n, 2, axis, &axis) ||
	    node_axis(g, n, &axis, x->ndim))
		return -1;
	if (axis == x->ndim - 1)
		return node_error(g, n, "axis is that of real and imaginary parts");
	if (onesided && (t.inverse || x->dim[x->ndim - 1] == 2))
		return node_error(g, n, "onesided is only supported forward, of real numbers");
	if (one_number(g, n, 1, x->dim[axis], &t.length))
		return -1;
	if (t.length < 1 || t.length > 1 << 20)
		return node_error(g, n, "a length of %lld is not supported", (long long)t.length);
	t.bins = onesided ? t.length / 2 + 1 : t.length;
	return graph_replace_first(n, fourier(g, n, x, axis, &t));
}

/* Frames of the signal, [batch, frames, length, parts], times the window. */
static struct value *frames_of(struct graph *g, struct node *n, struct value *x, int64_t step,
			       int64_t length)
{
	int64_t dim[2] = { (x->dim[1] - length) / step + 1, length }, column[2] = { length, 1 };
	int64_t *p = graph_alloc(g, (size_t)(dim[0] * length) * sizeof(*p));
	struct node *m = node_new(g, "Gather", n->name);
	struct value *v, *window = node_in(n, 2);

	for (int64_t i = 0; i < dim[0] * length; i++)
		p[i] = i / length * step + i % length;
	node_input(g, m, x);
	node_input(g, m, graph_const(g, RDU_DT_I64, 2, dim, p));
	node_attr_i(g, m, "axis", 1);
	v = graph_finish(g, m);
	return window ? graph_op2(g, "Mul", n->name, v,
				  graph_reshape(g, n->name, window, 2, column))
		      : v;
}

static int stft_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *window = node_in(n, 2);
	bool onesided = attr_i(n, "onesided", 1);
	struct transform t = { 0 };
	int64_t step;

	if (check_signal(g, n, x, 3) || one_number(g, n, 1, 0, &step) ||
	    one_number(g, n, 3, window && window->ndim == 1 ? window->dim[0] : 0, &t.length))
		return -1;
	if (x->ndim != 3 || step < 1 || t.length < 1 || t.length > x->dim[1] ||
	    (window && (window->ndim != 1 || window->dim[0] != t.length)))
		return node_error(g, n, "frames of %lld every %lld do not fit the signal %s",
				  (long long)t.length, (long long)step, value_shape_text(g, x));
	if (((x->dim[1] - t.length) / step + 1) * t.length > MAX_MATRIX)
		return node_error(g, n, "frames of more than %d numbers are not supported",
				  MAX_MATRIX);
	if (onesided && x->dim[2] == 2)
		return node_error(g, n, "onesided is only supported of real numbers");
	t.bins = onesided ? t.length / 2 + 1 : t.length;
	x = frames_of(g, n, x, step, t.length);
	return graph_replace_first(n, x ? fourier(g, n, x, 2, &t) : NULL);
}

/* ---- MelWeightMatrix ---------------------------------------------------------------------- */

/* Triangles over the bins of a spectrum, between places that are even in mel. */
static void mel_filter(float *p, int64_t num, const int64_t *edge)
{
	int64_t rise = edge[1] - edge[0], fall = edge[2] - edge[1];

	if (!rise)
		p[edge[1] * num] = 1;
	for (int64_t j = edge[0]; rise && j <= edge[1]; j++)
		p[j * num] = (float)((double)(j - edge[0]) / (double)rise);
	for (int64_t j = edge[1]; fall && j < edge[2]; j++)
		p[j * num] = (float)((double)(edge[2] - j) / (double)fall);
}

static int mel_expand(struct graph *g, struct node *n)
{
	int64_t num, length, rate, dim[2], *edge;
	double low, step;
	float *p;

	for (int i = 0; i < 5; i++)
		if (!n->in[i]->constant || !n->in[i]->data || value_count(n->in[i]) != 1)
			return node_error(g, n, "input %d ('%s') must be a constant", i,
					  n->in[i]->name);
	if (one_number(g, n, 0, 0, &num) || one_number(g, n, 1, 0, &length) ||
	    one_number(g, n, 2, 0, &rate))
		return -1;
	if (num < 1 || length < 1 || rate < 1 || num > 1 << 16 || length > 1 << 20)
		return node_error(g, n, "%lld filters of %lld numbers are not supported",
				  (long long)num, (long long)length);
	low = 2595 * log10(1 + value_real(n->in[3], 0) / 700);
	step = (2595 * log10(1 + value_real(n->in[4], 0) / 700) - low) / (double)(num + 2);
	dim[0] = length / 2 + 1;
	dim[1] = num;
	if (dims_count(2, dim) > MAX_MATRIX)
		return node_error(g, n, "more than %d elements are not supported", MAX_MATRIX);
	edge = graph_alloc(g, (size_t)(num + 2) * sizeof(*edge));
	for (int64_t i = 0; i < num + 2; i++) {
		double at = 700 * (pow(10, ((double)i * step + low) / 2595) - 1);

		at = floor((double)(length + 1) * at / (double)rate);
		if (!(at >= 0 && at < (double)dim[0]) || (i && at < (double)edge[i - 1]))
			return node_error(g, n, "filter edge %lld is not in the spectrum",
					  (long long)i);
		edge[i] = (int64_t)at;
	}
	p = graph_alloc(g, (size_t)dims_count(2, dim) * sizeof(*p));
	for (int64_t i = 0; i < num; i++)
		mel_filter(p + i, num, edge + i);
	return graph_replace_first(
		n, graph_cast(g, n->name, graph_const(g, RDU_DT_F32, 2, dim, p),
			      (enum rdu_dtype)attr_i(n, "output_datatype", RDU_DT_F32)));
}

#define EXPAND(onnx, lo, hi, fn)                                                     \
	{                                                                            \
		.name = onnx, .min_in = lo, .max_in = hi, .max_out = 1, .expand = fn \
	}

const struct op ops_signal[] = {
	EXPAND("DFT", 1, 3, dft_expand),
	EXPAND("STFT", 2, 4, stft_expand),
	EXPAND("MelWeightMatrix", 5, 5, mel_expand),
	{ 0 },
};
