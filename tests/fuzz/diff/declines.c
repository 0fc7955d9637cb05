// SPDX-License-Identifier: MIT
/*
 * Where ONNX Runtime is known to differ from ONNX's specification (or, of NaN, from
 * NumPy), and the compiler follows the latter. What it computed there, and from that, is
 * not compared. Each row looks at the very node and its data: only where these have the
 * property, ONNX Runtime's word does not count.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "diff.h"

/* A node, and what ONNX Runtime computed. */
struct seen {
	const struct model *m;
	const struct op_node *n;
	const char *dir;
};

static const struct node_attr *attr_of(const struct op_node *n, const char *name)
{
	for (int i = 0; i < n->num_attrs; i++)
		if (!strcmp(n->attr[i].name, name))
			return &n->attr[i];
	return NULL;
}

static int64_t int_of(const struct op_node *n, const char *name, int64_t otherwise)
{
	const struct node_attr *a = attr_of(n, name);

	return a ? a->i : otherwise;
}

static double float_of(const struct op_node *n, const char *name, double otherwise)
{
	const struct node_attr *a = attr_of(n, name);

	return a ? (double)a->f : otherwise;
}

static const char *text_of(const struct op_node *n, const char *name, const char *otherwise)
{
	const struct node_attr *a = attr_of(n, name);

	return a ? a->s : otherwise;
}

static int64_t list_of(const struct op_node *n, const char *name, int at, int64_t otherwise)
{
	const struct node_attr *a = attr_of(n, name);

	return a && at < a->num ? a->ints[at] : otherwise;
}

static const struct val *input_of(const struct seen *s, int k)
{
	return k < s->n->num_in && s->n->in[k] >= 0 ? &s->m->val[s->n->in[k]] : NULL;
}

/* The contents of a float tensor as double, malloc'ed. */
static double *contents(const struct seen *s, const struct val *v)
{
	size_t n = (size_t)count_of(v);
	void *data = v->data ? v->data : read_bytes(s->dir, "ort", v->name, 4 * n);
	double *x = malloc((n + 1) * sizeof(*x));

	if (!data) {
		fprintf(stderr, "%s is not among ONNX Runtime's results\n", v->name);
		abort();
	}
	for (size_t i = 0; i < n; i++)
		x[i] = ((const float *)data)[i];
	if (data != v->data)
		free(data);
	return x;
}

/* Is there an element of input k that is() likes? */
static bool any(const struct seen *s, int k, bool (*is)(double x))
{
	const struct val *v = input_of(s, k);
	bool found = false;
	double *x;

	if (!v || v->type != RDU_DT_F32)
		return false;
	x = contents(s, v);
	for (int64_t i = 0; i < count_of(v) && !found; i++)
		found = is(x[i]);
	free(x);
	return found;
}

static bool is_nan(double x)
{
	return isnan(x);
}

static bool is_lowest(double x)
{
	return isnan(x) || (isinf(x) && x < 0);
}

static bool is_not_finite(double x)
{
	return !isfinite(x);
}

static bool has_nan(const struct seen *s)
{
	for (int k = 0; k < s->n->num_in; k++)
		if (any(s, k, is_nan))
			return true;
	return false;
}

static bool has_lowest(const struct seen *s)
{
	return any(s, 0, is_lowest);
}

static bool not_finite(const struct seen *s)
{
	return any(s, 0, is_not_finite) || any(s, 1, is_not_finite);
}

/* What Sigmoid, Tanh, Elu, Celu or Selu of x is. */
static double exact(const struct op_node *n, double x)
{
	bool selu = !strcmp(n->op, "Selu"), celu = !strcmp(n->op, "Celu");
	double alpha = float_of(n, "alpha", selu ? 1.67326319217681884765625 : 1);
	double gamma = float_of(n, "gamma", selu ? 1.05070102214813232421875 : 1);

	if (!strcmp(n->op, "Sigmoid"))
		return 1 / (1 + exp(-x));
	if (!strcmp(n->op, "Tanh"))
		return tanh(x);
	return gamma * (x >= 0 ? x : alpha * expm1(celu ? x / alpha : x));
}

/* A result that is right to a part of 1 only, and not to 1e-4 of itself: 0, say. */
static bool digits_lost(const struct seen *s)
{
	const struct val *v = input_of(s, 0), *w = &s->m->val[s->n->out[0]];
	double *x = contents(s, v), *y = contents(s, w);
	bool found = false;

	for (int64_t i = 0; i < count_of(v) && !found; i++) {
		double right = exact(s->n, x[i]), off = fabs(y[i] - right);

		found = off > 1e-4 * fabs(right) && off < 1e-6;
	}
	free(x);
	free(y);
	return found;
}

/* An axis of a Resize by scales: is the length of the result not scale * length? */
static bool length_is_rounded(const struct seen *s)
{
	const struct val *x = input_of(s, 0), *scales = input_of(s, 2);

	if (!scales || strcmp(text_of(s->n, "coordinate_transformation_mode", ""), "align_corners"))
		return false;
	for (int d = 0; d < x->ndim; d++) {
		double exact = (double)((const float *)scales->data)[d] * (double)x->dim[d];

		if (exact != floor(exact))
			return true;
	}
	return false;
}

/* The nearest neighbour of a place, by nearest_mode. */
static double neighbour(const char *mode, double x)
{
	if (!strcmp(mode, "floor"))
		return floor(x);
	if (!strcmp(mode, "ceil"))
		return ceil(x);
	if (!strcmp(mode, "round_prefer_ceil"))
		return floor(x + 0.5);
	return ceil(x - 0.5);
}

/*
 * Place i of an axis, in fp32 as ONNX Runtime has it, and as it would be without
 * rounding. Does it lie on the border between two neighbours but for that rounding, and
 * is thereby taken to the other side?
 */
static bool other_side(const struct op_node *n, double scale, int64_t in, int64_t out, int64_t i)
{
	const char *where = text_of(n, "coordinate_transformation_mode", "half_pixel");
	const char *mode = text_of(n, "nearest_mode", "round_prefer_floor");
	double exact, near;
	float f;

	if (!strcmp(where, "align_corners")) {
		f = out == 1 ? 0 : (float)i * (float)(in - 1) / (float)(out - 1);
		exact = out == 1 ? 0 : (double)i * (double)(in - 1) / (double)(out - 1);
	} else if (!strcmp(where, "asymmetric")) {
		f = (float)i / (float)scale;
		exact = (double)i / scale;
	} else if (!strcmp(where, "pytorch_half_pixel") && out == 1) {
		return false;
	} else {
		f = ((float)i + 0.5f) / (float)scale - 0.5f;
		exact = ((double)i + 0.5) / scale - 0.5;
	}
	near = 2 * exact; /* borders of all modes are whole and half numbers */
	return fabs(near - nearbyint(near)) < 1e-4 &&
	       neighbour(mode, (double)f) != neighbour(mode, exact);
}

static bool on_a_border(const struct seen *s)
{
	const struct val *x = input_of(s, 0), *scales = input_of(s, 2);
	const struct val *y = &s->m->val[s->n->out[0]];

	/* By scales, it is rounded here as well, but for aligned corners. */
	if (strcmp(text_of(s->n, "mode", "nearest"), "nearest") ||
	    (scales && strcmp(text_of(s->n, "coordinate_transformation_mode", "half_pixel"),
			      "align_corners")))
		return false;
	for (int d = 0; d < x->ndim; d++) {
		double scale = scales ? (double)((const float *)scales->data)[d]
				      : (double)y->dim[d] / (double)x->dim[d];

		for (int64_t i = 0; i < y->dim[d]; i++)
			if (other_side(s->n, scale, x->dim[d], y->dim[d], i))
				return true;
	}
	return false;
}

/* A plane whose elements are all the same, and not 0. */
static bool flat_plane(const struct seen *s)
{
	const struct val *v = input_of(s, 0);
	int64_t size = count_of(v) / (v->dim[0] * v->dim[1]);
	double *x = contents(s, v);
	bool found = false;

	for (int64_t at = 0; at < count_of(v) && !found; at += size) {
		found = x[at] != 0;
		for (int64_t i = 1; i < size && found; i++)
			found = x[at + i] == x[at];
	}
	free(x);
	return found;
}

/* Of an axis of a pool: where the last window ends, the input's end with and without its
 * padding, the padding before it. */
struct reach {
	int64_t end, padded, size, front;
};

static struct reach reach_of(const struct seen *s, int d)
{
	const struct op_node *n = s->n;
	const struct val *x = input_of(s, 0), *y = &s->m->val[n->out[0]];
	const char *pad = text_of(n, "auto_pad", "NOTSET");
	int64_t kernel = (list_of(n, "kernel_shape", d, 1) - 1) * list_of(n, "dilations", d, 1) + 1;
	int64_t front = list_of(n, "pads", d, 0), back = list_of(n, "pads", d + x->ndim - 2, 0);
	int64_t size = x->dim[d + 2], last = (y->dim[d + 2] - 1) * list_of(n, "strides", d, 1);

	if (!strncmp(pad, "SAME", 4)) {
		int64_t total = last + kernel - size > 0 ? last + kernel - size : 0;

		front = !strcmp(pad, "SAME_UPPER") ? total / 2 : total - total / 2;
		back = total - front;
	} else if (!strcmp(pad, "VALID")) {
		front = back = 0;
	}
	return (struct reach){ last + kernel - front, size + back, size, front };
}

/* Window i of an axis has elements of the input. */
static bool sees_input(const struct op_node *n, int d, const struct reach *r, int64_t i)
{
	for (int64_t k = 0; k < list_of(n, "kernel_shape", d, 1); k++) {
		int64_t at = i * list_of(n, "strides", d, 1) - r->front +
			     k * list_of(n, "dilations", d, 1);

		if (at >= 0 && at < r->size)
			return true;
	}
	return false;
}

/* With dilations a window may step over all of the input, from padding to padding. */
static bool padding_only(const struct seen *s)
{
	for (int d = 0; d < input_of(s, 0)->ndim - 2; d++) {
		struct reach r = reach_of(s, d);

		for (int64_t i = 0; i < s->m->val[s->n->out[0]].dim[d + 2]; i++)
			if (!sees_input(s->n, d, &r, i))
				return true;
	}
	return false;
}

/* SAME, and the strides leave out so much that windows need less than there is: ONNX Runtime then
 * begins within the input, TensorFlow, whose rule it is, at its first element. */
static bool begins_within(const struct seen *s)
{
	if (strncmp(text_of(s->n, "auto_pad", "NOTSET"), "SAME", 4))
		return false;
	for (int d = 0; d < input_of(s, 0)->ndim - 2; d++)
		if (reach_of(s, d).end < reach_of(s, d).size)
			return true;
	return false;
}

/* Before opset 19 it divides by the whole window, also where that ends beyond the padding. */
static bool beyond_padding(const struct seen *s)
{
	if (!int_of(s->n, "count_include_pad", 0) || s->m->opset >= 19)
		return false;
	for (int d = 0; d < input_of(s, 0)->ndim - 2; d++)
		if (reach_of(s, d).end > reach_of(s, d).padded)
			return true;
	return false;
}

/* From opset 19 on it cuts windows off at pads[2 d + 1], which is another axis' padding. */
static bool cut_by_other_padding(const struct seen *s)
{
	int nd = input_of(s, 0)->ndim - 2;

	if (!int_of(s->n, "count_include_pad", 0) || s->m->opset < 19)
		return false;
	for (int d = 0; d < nd; d++) {
		struct reach r = reach_of(s, d);
		int64_t pad = list_of(s->n, "pads", 2 * d + 1, 0), end = r.size + pad;

		if (end != r.padded && (r.end > end || r.end > r.padded))
			return true;
	}
	return false;
}

/* ONNX wants an output_padding smaller than the stride or the dilation. */
static bool padded_by_a_stride(const struct seen *s)
{
	for (int d = 0; d < input_of(s, 0)->ndim - 2; d++) {
		int64_t extra = list_of(s->n, "output_padding", d, 0);

		if (extra && extra >= list_of(s->n, "strides", d, 1))
			return true;
	}
	return false;
}

/* ONNX 1.20 adds a mask of numbers, then caps; later versions the other way round. */
static bool capped_with_mask(const struct seen *s)
{
	const struct val *mask = input_of(s, 3);

	return mask && mask->type == RDU_DT_F32 && float_of(s->n, "softcap", 0) != 0;
}

/* One query behind a past, but before some of the keys: it takes it for the last one. */
static bool before_keys(const struct seen *s)
{
	const struct val *q = input_of(s, 0), *k = input_of(s, 1);

	return input_of(s, 4) && int_of(s->n, "is_causal", 0) && q->dim[q->ndim - 2] == 1 &&
	       k->dim[k->ndim - 2] > 1;
}

/* What the modes of its fourth output are, too, is in this order, and was in the other one. */
static bool shows_between(const struct seen *s)
{
	int64_t mode = int_of(s->n, "qk_matmul_output_mode", 0);

	return s->n->num_out > 3 && (mode == 1 || mode == 2);
}

static const struct {
	const char *op;
	bool (*differs)(const struct seen *s);
	bool data; /* are the contents of its operands or result looked at? */
	const char *why;
} rows[] = {
	{ "ReduceMax", has_nan, true, "a NaN is lost, or not, by its place" },
	{ "ReduceMin", has_nan, true, "a NaN is lost, or not, by its place" },
	{ "Max", has_nan, true, "a NaN is lost, or not, by its place" },
	{ "Min", has_nan, true, "a NaN is lost, or not, by its place" },
	{ "MaxPool", has_lowest, true, "of NaN and -inf only it is the lowest number" },
	{ "MaxPool", begins_within, false,
	  "SAME with less than no padding begins within the input" },
	{ "AveragePool", begins_within, false,
	  "SAME with less than no padding begins within the input" },
	{ "LpPool", begins_within, false,
	  "SAME with less than no padding begins within the input" },
	{ "MaxPool", padding_only, false, "of padding only it is the lowest number, not -inf" },
	{ "GlobalMaxPool", has_lowest, true, "of NaN and -inf only it is the lowest number" },
	{ "PRelu", not_finite, true,
	  "0 times x, or the slope, is added to x or the slope times x" },
	{ "ArgMax", has_nan, true, "a NaN is not the largest" },
	{ "ArgMin", has_nan, true, "a NaN is not the smallest" },
	{ "TopK", has_nan, true, "a NaN is not the largest" },
	{ "Sigmoid", digits_lost, true, "far below 0 its absolute error is larger than it" },
	{ "Tanh", digits_lost, true, "of numbers near the smallest it has few right digits" },
	{ "Elu", digits_lost, true, "e^x - 1 has no digits left near 0" },
	{ "Celu", digits_lost, true, "e^x - 1 has no digits left near 0" },
	{ "Selu", digits_lost, true, "e^x - 1 has no digits left near 0" },
	{ "Erf", has_nan, true, "of a NaN it is 1" },
	{ "Resize", length_is_rounded, false,
	  "align_corners: ONNX's test data has the result's length unrounded" },
	{ "Resize", on_a_border, false, "a place is rounded to the next neighbour's side" },
	{ "InstanceNormalization", flat_plane, true,
	  "of equal elements: x * a + (b - mean * a) leaves what rounding makes of b" },
	{ "AveragePool", beyond_padding, false, "a window counts what lies beyond the padding" },
	{ "ConvTranspose", padded_by_a_stride, false,
	  "with an output_padding of a stride or more it reads what is not there" },
	{ "Attention", capped_with_mask, false, "it caps scores before it adds a mask to them" },
	{ "Attention", before_keys, false, "of one query is_causal hides nothing" },
	{ "Attention", shows_between, false, "its modes 1 and 2 have changed places" },
	{ "AveragePool", cut_by_other_padding, false,
	  "a window is cut off by another axis' padding" },
};

#define ROWS (int)(sizeof(rows) / sizeof(rows[0]))

static bool has_value(const struct op_node *n, int v)
{
	for (int i = 0; i < n->num_in; i++)
		if (n->in[i] == v)
			return true;
	for (int i = 0; i < n->num_out; i++)
		if (n->out[i] == v)
			return true;
	return false;
}

bool ort_shows(const struct model *m, int v)
{
	if (m->val[v].data || m->val[v].type != RDU_DT_F32)
		return false;
	for (int i = 0; i < m->num_outputs; i++)
		if (m->output[i] == v)
			return false;
	for (int k = 0; k < m->num_nodes; k++)
		for (int r = 0; r < ROWS; r++)
			if (rows[r].data && !strcmp(rows[r].op, m->node[k].op) &&
			    has_value(&m->node[k], v))
				return true;
	return false;
}

void ort_declines(const struct model *m, const char *dir, bool off[MAX_VALUES], char *why,
		  size_t size)
{
	memset(off, 0, MAX_VALUES * sizeof(*off));
	for (int k = 0; k < m->num_nodes; k++) {
		const struct op_node *n = &m->node[k];
		const struct seen s = { m, n, dir };
		bool differs = false;

		for (int i = 0; i < n->num_in; i++)
			differs |= n->in[i] >= 0 && off[n->in[i]];
		for (int r = 0; r < ROWS && !differs; r++) {
			if (strcmp(rows[r].op, n->op) || !rows[r].differs(&s))
				continue;
			differs = true;
			snprintf(why, size, "%s: %s", n->op, rows[r].why);
		}
		for (int i = 0; i < n->num_out && differs; i++)
			if (n->out[i] >= 0)
				off[n->out[i]] = true;
	}
}
