// SPDX-License-Identifier: MIT
/*
 * What a graph computes of constants alone, element by element or as sums and maxima, as rows along
 * its last axis: for constants that are too large to be folded (GRAPH_MAX_FOLD). In fp32, operator by
 * operator, as the graph says, each result rounded to bf16 where it is of that type; sums in double,
 * rounded once. Nothing of what lies between is kept but the results of reductions.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "constant_rows.h"
#include "mem.h"

#define MOST_VALUES 256 /* computed for a row, each as often as it is read */

enum row_op {
	ABS,
	NEG,
	SIGN,
	ROUND,
	ADD,
	SUB,
	MUL,
	DIV,
	MAX,
	MIN,
	CLIP,
	MEAN,
	SUM,
	GREATEST,
	CAST,
	VIEW,
	NONE
};

static enum row_op op_of(const struct node *n)
{
	static const char *const names[] = {
		[ABS] = "Abs",	     [NEG] = "Neg",
		[SIGN] = "Sign",     [ROUND] = "Round",
		[ADD] = "Add",	     [SUB] = "Sub",
		[MUL] = "Mul",	     [DIV] = "Div",
		[MAX] = "Max",	     [MIN] = "Min",
		[CLIP] = "Clip",     [MEAN] = "ReduceMean",
		[SUM] = "ReduceSum", [GREATEST] = "ReduceMax",
		[CAST] = "Cast",
	};

	for (int i = 0; i < VIEW; i++)
		if (!strcmp(n->op->name, names[i]))
			return (enum row_op)i;
	return n->op->view ? VIEW : NONE;
}

static int64_t width(const struct value *v)
{
	return v->ndim ? v->dim[v->ndim - 1] : 1;
}

/* Does a reduction go over all of its input, or each of its rows? */
static bool whole(const struct node *n)
{
	return value_count(n->out[0]) == 1;
}

static bool each_row(const struct node *n)
{
	const struct value *x = n->in[0], *axes = node_in(n, 1);
	const int64_t *axis;
	int num = 0;

	if (axes)
		return axes->constant && axes->data && value_count(axes) == 1 &&
		       (value_int(axes, 0) == -1 || value_int(axes, 0) == x->ndim - 1);
	axis = attr_ints(n, "axes", &num);
	return axis && num == 1 && (axis[0] == -1 || axis[0] == x->ndim - 1);
}

/* The constant of bytes that a Cast is of, perhaps by way of wider integers; NULL: another Cast. */
static const struct value *bytes_of(const struct node *n)
{
	const struct value *x = n->in[0];

	while (!x->constant && x->producer && op_of(x->producer) == CAST &&
	       dtype_is_int(x->dtype) && dtype_bytes(x->dtype) == 4)
		x = x->producer->in[0];
	return x->constant && x->data && (x->dtype == RDU_DT_I8 || x->dtype == RDU_DT_U8) ? x
											  : NULL;
}

static bool is_float(const struct value *v)
{
	return v->dtype == RDU_DT_F32 || v->dtype == RDU_DT_BF16;
}

static bool known(const struct value *v, int *left)
{
	const struct node *n = v->producer;
	enum row_op op;

	if (!is_float(v) || !value_count(v) || !*left)
		return false;
	--*left;
	if (v->constant || !n)
		return v->constant && v->data;
	op = op_of(n);
	if (op == NONE || ((op == MAX || op == MIN) && n->num_in != 2) ||
	    (op == VIEW && width(v) != width(n->in[0])))
		return false;
	if (op >= MEAN && op <= GREATEST)
		return (whole(n) || each_row(n)) && known(n->in[0], left);
	if (op == CAST && !is_float(n->in[0]))
		return bytes_of(n);
	if (op == CLIP && (node_attr(n, "min") || node_attr(n, "max")))
		return false;
	for (int i = 0; i < (op == VIEW ? 1 : n->num_in); i++)
		if (n->in[i] && !known(n->in[i], left))
			return false;
	return true;
}

struct rows {
	const struct value *v;
	int num_kept;
	struct {
		const struct value *v;
		float *data;
	} * kept;
};

/* The row of u that row `row` of v reads. */
static int64_t row_of(const struct value *v, const struct value *u, int64_t row)
{
	int64_t at = 0, step = 1;

	for (int i = v->ndim - 2, k = u->ndim - 2; i >= 0 && k >= 0; i--, k--) {
		at += u->dim[k] == 1 ? 0 : row % v->dim[i] * step;
		step *= u->dim[k];
		row /= v->dim[i];
	}
	return at;
}

/* The greater, as the card has it: NaN of a NaN. */
static float greater(float a, float b)
{
	return isnan(a) || isnan(b) ? NAN : fmaxf(a, b);
}

static float apply(enum row_op op, float a, float b)
{
	switch (op) {
	case ABS:
		return fabsf(a);
	case NEG:
		return -a;
	case SIGN:
		return (float)(a > 0) - (float)(a < 0);
	case ROUND:
		return nearbyintf(a);
	case ADD:
		return a + b;
	case SUB:
		return a - b;
	case MUL:
		return a * b;
	case DIV:
		return a / b;
	case MAX:
		return greater(a, b);
	default:
		return -greater(-a, -b);
	}
}

static void get_row(struct rows *r, const struct value *v, int64_t row, float *out);

float rows_rounded(enum rdu_dtype dtype, float f)
{
	uint32_t word;

	if (dtype != RDU_DT_BF16)
		return f;
	memcpy(&word, &f, sizeof(word));
	word = (uint32_t)bf16_of(word) << 16;
	memcpy(&f, &word, sizeof(f));
	return f;
}

static void round_row(const struct value *v, float *row, int64_t num)
{
	for (int64_t i = 0; i < num; i++)
		row[i] = rows_rounded(v->dtype, row[i]);
}

/* Operand i of v's operator, in that row of v; as many as v has. */
static bool get_operand(struct rows *r, const struct value *v, int i, int64_t row, float *out)
{
	const struct value *u = node_in(v->producer, i);

	if (!u)
		return false;
	get_row(r, u, row_of(v, u, row), out);
	for (int64_t k = 1; width(u) == 1 && k < width(v); k++)
		out[k] = out[0];
	return true;
}

static float *reduce(struct rows *r, const struct value *v)
{
	const struct value *x = v->producer->in[0];
	enum row_op op = op_of(v->producer);
	int64_t w = width(x), rows = value_count(x) / w, num = value_count(v);
	int64_t terms = value_count(x) / num;
	float *data = xmalloc((size_t)num * sizeof(*data)), *in = xmalloc((size_t)w * sizeof(*in));

	for (int64_t at = 0; at < num; at++) {
		double sum = 0;
		float most = -INFINITY;

		for (int64_t k = 0; k < rows / num; k++) {
			get_row(r, x, at * (rows / num) + k, in);
			for (int64_t i = 0; i < w; i++) {
				sum += in[i];
				most = greater(most, in[i]);
			}
		}
		data[at] = op == GREATEST ? most
			   : op == MEAN	  ? (float)(sum / (double)terms)
					  : (float)sum;
	}
	free(in);
	round_row(v, data, num);
	r->kept = xgrow(r->kept, r->num_kept, sizeof(*r->kept));
	r->kept[r->num_kept].v = v;
	r->kept[r->num_kept++].data = data;
	return data;
}

/* A reduction's results lie one after the other, whatever axes are kept. */
static void get_reduced(struct rows *r, const struct value *v, int64_t row, float *out)
{
	const float *data = NULL;

	for (int i = 0; i < r->num_kept; i++)
		if (r->kept[i].v == v)
			data = r->kept[i].data;
	if (!data)
		data = reduce(r, v);
	memcpy(out, data + row * width(v), (size_t)width(v) * sizeof(*out));
}

static void clip(struct rows *r, const struct value *v, int64_t row, float *out)
{
	float *end = xmalloc((size_t)width(v) * sizeof(*end));

	for (int k = 1; k < 3; k++)
		if (get_operand(r, v, k, row, end))
			for (int64_t i = 0; i < width(v); i++)
				out[i] = apply(k == 1 ? MAX : MIN, out[i], end[i]);
	free(end);
}

static void get_row(struct rows *r, const struct value *v, int64_t row, float *out)
{
	enum row_op op = v->constant ? NONE : op_of(v->producer);
	int64_t w = width(v);
	float *b;

	if (op == NONE) {
		for (int64_t i = 0; i < w; i++)
			out[i] = (float)value_real(v, row * w + i);
		return;
	}
	if (op == VIEW) {
		get_row(r, v->producer->in[0], row, out);
		return;
	}
	if (op == CAST && !is_float(v->producer->in[0])) {
		for (int64_t i = 0; i < w; i++)
			out[i] = (float)value_real(bytes_of(v->producer), row * w + i);
		return;
	}
	if (op >= MEAN && op <= GREATEST) {
		get_reduced(r, v, row, out);
		return;
	}
	get_operand(r, v, 0, row, out);
	if (op == CLIP)
		clip(r, v, row, out);
	if (op == CLIP || op == CAST) {
		round_row(v, out, w);
		return;
	}
	b = xcalloc((size_t)w, sizeof(*b));
	if (v->producer->num_in > 1)
		get_operand(r, v, 1, row, b);
	for (int64_t i = 0; i < w; i++)
		out[i] = apply(op, out[i], b[i]);
	free(b);
	round_row(v, out, w);
}

struct rows *rows_new(const struct value *v)
{
	int left = MOST_VALUES;
	struct rows *r;

	if (!known(v, &left))
		return NULL;
	r = xcalloc(1, sizeof(*r));
	r->v = v;
	return r;
}

void rows_get(struct rows *r, int64_t row, float *out)
{
	get_row(r, r->v, row, out);
}

void rows_free(struct rows *r)
{
	for (int i = 0; i < r->num_kept; i++)
		free(r->kept[i].data);
	free(r->kept);
	free(r);
}
