// SPDX-License-Identifier: MIT
/* Operators that are whole formulas: quantized numbers, attention, losses, spectra. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "diff.h"

#define MAX_NUMBERS 96

static bool exact_floats(const struct val *v)
{
	return is_float(v) && is_exact(v) && v->ndim > 0 && count_of(v) <= 16384;
}

static bool floats(const struct val *v)
{
	return is_float(v) && v->ndim > 0 && count_of(v) <= 16384;
}

static bool bytes(const struct val *v)
{
	return (v->type == RDU_DT_U8 || v->type == RDU_DT_I8) && count_of(v) <= 16384;
}

static int floats_in(struct model *m, int nd, const int64_t *dim)
{
	return value_source(m, RDU_DT_F32, nd, dim, chance(4));
}

/* ---- quantized numbers -------------------------------------------------------------------- */

/* A byte of any size: all of the type's. */
static int bytes_in(struct model *m, enum rdu_dtype type, int nd, const int64_t *dim, bool init)
{
	int v = value_source(m, type, nd, dim, init);

	m->val[v].below = type == RDU_DT_U8 ? 256 : 128;
	m->val[v].negative = type == RDU_DT_I8;
	m->val[v].mag = 256;
	return v;
}

/* Scales are powers of two, by which products and quotients are exact. */
static int scales(struct model *m, int nd, int64_t num)
{
	double x[MAX_NUMBERS];

	for (int64_t i = 0; i < num; i++)
		x[i] = ldexp(1, (int)pick(5) - 3);
	return value_numbers(m, RDU_DT_F32, nd, &num, x);
}

static int zero_points(struct model *m, enum rdu_dtype type, int nd, int64_t num)
{
	double x[MAX_NUMBERS];

	for (int64_t i = 0; i < num; i++)
		x[i] = (double)pick(type == RDU_DT_U8 ? 256 : 128);
	return value_numbers(m, type, nd, &num, x);
}

static enum rdu_dtype byte_type(void)
{
	return chance(2) ? RDU_DT_I8 : RDU_DT_U8;
}

static bool make_quantize(struct model *m)
{
	bool back = chance(2), each;
	int a = some_value(m, back ? bytes : exact_floats), axis = 0, scale, zero = -1, out, nd;
	enum rdu_dtype type = byte_type();
	int64_t num = 1;
	struct op_node *n;

	if (a < 0 || m->data == DATA_LIMITS)
		return false;
	nd = m->val[a].ndim;
	each = nd && chance(2);
	if (each)
		num = m->val[a].dim[axis = (int)pick((uint32_t)nd)];
	if (num > MAX_NUMBERS)
		return false;
	scale = scales(m, each, num);
	if (back)
		type = m->val[a].type;
	if (!chance(3))
		zero = zero_points(m, type, each, num);
	else if (!back)
		type = RDU_DT_U8;
	out = value_new(m, back ? RDU_DT_F32 : type, nd, m->val[a].dim);
	m->val[out].mag = back ? 1024 : 256;
	m->val[out].unit = back ? 1.0 / 8 : 1;
	n = node_simple(m, back ? "DequantizeLinear" : "QuantizeLinear", a, scale, out);
	if (zero >= 0)
		op_in(n, zero);
	if (each && (axis != 1 || chance(2)))
		set_int(n, "axis", chance(3) ? axis - nd : axis);
	return true;
}

static bool make_dynamic_quantize(struct model *m)
{
	int a = some_value(m, exact_floats), y, scale, zero;
	struct op_node *n;

	if (a < 0 || m->data == DATA_LIMITS)
		return false;
	y = value_new(m, RDU_DT_U8, m->val[a].ndim, m->val[a].dim);
	m->val[y].mag = 255;
	scale = value_new(m, RDU_DT_F32, 0, NULL);
	inexact(&m->val[scale], m->val[a].mag);
	zero = value_new(m, RDU_DT_U8, 0, NULL);
	m->val[zero].mag = 255;
	n = node_simple(m, "DynamicQuantizeLinear", a, -1, y);
	op_out(m, n, scale);
	op_out(m, n, zero);
	return true;
}

/* Scale and zero point of an operand, or of each of num. */
static void quantized_operand(struct model *m, struct op_node *n, int v, int64_t num)
{
	int s = scales(m, num > 1, num), z = zero_points(m, m->val[v].type, num > 1, num);

	op_in(n, v);
	op_in(n, s);
	op_in(n, z);
}

static int byte_operand(struct model *m, bool (*ok)(const struct val *v), int nd,
			const int64_t *dim)
{
	int v = chance(2) ? some_value(m, ok) : -1;

	return v >= 0 ? v : bytes_in(m, byte_type(), nd, dim, false);
}

static bool byte_matrices(const struct val *v)
{
	return bytes(v) && v->ndim >= 2 && v->ndim <= 4;
}

static bool make_integer_matmul(struct model *m)
{
	int64_t some[3] = { 1 + pick(3), 1 + pick(20), 1 + pick(40) }, dim[RDU_MAX_DIMS], bd[2];
	int from = (int)pick(2), a = byte_operand(m, byte_matrices, 3 - from, some + from), b, out,
	    nd;
	bool linear = chance(2);
	struct op_node *n;

	nd = m->val[a].ndim;
	memcpy(dim, m->val[a].dim, sizeof(dim));
	bd[0] = dim[nd - 1];
	bd[1] = dim[nd - 1] = 1 + pick(20);
	if (count_of(&m->val[a]) * bd[1] > 400000)
		return false;
	b = bytes_in(m, byte_type(), 2, bd, chance(2));
	out = value_new(m, linear ? byte_type() : RDU_DT_I32, nd, dim);
	m->val[out].mag = linear ? 256 : 65536.0 * (double)bd[0];
	n = node_add(m, linear ? "QLinearMatMul" : "MatMulInteger");
	if (linear) {
		int s, z;

		quantized_operand(m, n, a, 1);
		quantized_operand(m, n, b, chance(3) ? bd[1] : 1);
		s = scales(m, 0, 1);
		z = zero_points(m, m->val[out].type, 0, 1);
		op_in(n, s);
		op_in(n, z);
	} else {
		op_in(n, a);
		op_in(n, b);
		if (chance(2)) {
			int za = zero_points(m, m->val[a].type, 0, 1), zb = -1;

			op_in(n, za);
			if (chance(2))
				op_in(n, zb = zero_points(m, m->val[b].type, 0, 1));
		}
	}
	op_out(m, n, out);
	return true;
}

static bool byte_images(const struct val *v)
{
	return bytes(v) && v->ndim == 4;
}

static bool make_integer_conv(struct model *m)
{
	int64_t some[4] = { 1 + pick(2), 1 + pick(6), 1 + pick(9), 1 + pick(9) }, dim[4], wd[4],
		pads[4], strides[2];
	int x = byte_operand(m, byte_images, 4, some), w, out;
	bool linear = chance(2), padded = chance(2);
	enum rdu_dtype type = m->val[x].type;
	struct op_node *n;
	int64_t group;

	memcpy(some, m->val[x].dim, sizeof(some));
	group = chance(3) ? some[1] : 1;
	dim[0] = some[0];
	dim[1] = wd[0] = group * (1 + pick(4));
	wd[1] = some[1] / group;
	for (int d = 0; d < 2; d++) {
		wd[d + 2] = 1 + pick(some[d + 2] < 3 ? (uint32_t)some[d + 2] : 3);
		strides[d] = 1 + pick(2);
		pads[d] = padded ? pick(2) : 0;
		pads[d + 2] = padded ? pick(2) : 0;
		dim[d + 2] = (some[d + 2] + pads[d] + pads[d + 2] - wd[d + 2]) / strides[d] + 1;
	}
	if (dim[0] * dim[1] * dim[2] * dim[3] * wd[1] * wd[2] * wd[3] > 200000 ||
	    wd[0] > MAX_NUMBERS)
		return false;
	w = bytes_in(m, type == RDU_DT_U8 ? byte_type() : RDU_DT_I8, 4, wd, true);
	out = value_new(m, linear ? type : RDU_DT_I32, 4, dim);
	m->val[out].mag = linear ? 256 : 65536.0 * (double)(wd[1] * wd[2] * wd[3]);
	n = node_add(m, linear ? "QLinearConv" : "ConvInteger");
	if (linear) {
		int s, z;

		quantized_operand(m, n, x, 1);
		quantized_operand(m, n, w, chance(2) ? wd[0] : 1);
		s = scales(m, 0, 1);
		z = zero_points(m, type, 0, 1);
		op_in(n, s);
		op_in(n, z);
		if (chance(2)) {
			double b[MAX_NUMBERS];

			for (int64_t i = 0; i < wd[0]; i++)
				b[i] = (double)pick(2000) - 1000;
			op_in(n, value_numbers(m, RDU_DT_I32, 1, wd, b));
		}
	} else {
		op_in(n, x);
		op_in(n, w);
		if (chance(2))
			op_in(n, zero_points(m, type, 0, 1));
	}
	op_out(m, n, out);
	if (padded)
		set_list(n, "pads", 4, pads);
	if (strides[0] * strides[1] > 1 || chance(2))
		set_list(n, "strides", 2, strides);
	if (group > 1)
		set_int(n, "group", group);
	return true;
}

/* ---- attention ---------------------------------------------------------------------------- */

/* Heads apart, or side by side in each row. */
static int heads_in(struct model *m, bool apart, int64_t batch, int64_t heads, int64_t rows,
		    int64_t size)
{
	const int64_t dim[4] = { batch, heads, rows, size },
		      flat[3] = { batch, rows, heads * size };

	return apart ? value_source(m, RDU_DT_F32, 4, dim, false)
		     : value_source(m, RDU_DT_F32, 3, flat, false);
}

static bool make_attention(struct model *m)
{
	int64_t batch = 1 + pick(2), kv_heads = 1 + pick(2), heads = kv_heads * (1 + pick(2));
	int64_t rows = 1 + pick(9), keys = 1 + pick(9), size = 1 + pick(9),
		vsize = chance(2) ? 1 + pick(9) : size;
	int64_t past = chance(3) ? 1 + pick(4) : 0, all = keys + past;
	bool apart = !chance(2), shown = chance(3);
	int q, k, v, mask = -1, past_k = -1, past_v = -1, out;
	const int64_t present[2][4] = { { batch, kv_heads, all, size },
					{ batch, kv_heads, all, vsize } };
	const int64_t odim[4] = { batch, heads, rows, vsize },
		      oflat[3] = { batch, rows, heads * vsize };
	const int64_t scores[4] = { batch, heads, rows, all };
	struct op_node *n;

	if (m->data == DATA_LIMITS || m->opset < 23)
		return false;
	q = heads_in(m, apart, batch, heads, rows, size);
	k = heads_in(m, apart, batch, kv_heads, keys, size);
	v = heads_in(m, apart, batch, kv_heads, keys, vsize);
	if (chance(2)) {
		int64_t mdim[4] = { chance(2) ? 1 : batch, chance(2) ? 1 : heads, rows, all };
		int from = (int)pick(3);

		mask = value_source(m, chance(2) ? RDU_DT_BOOL : RDU_DT_F32, 4 - from, mdim + from,
				    false);
	}
	if (past) {
		const int64_t pd[2][4] = { { batch, kv_heads, past, size },
					   { batch, kv_heads, past, vsize } };

		past_k = value_source(m, RDU_DT_F32, 4, pd[0], false);
		past_v = value_source(m, RDU_DT_F32, 4, pd[1], false);
	}
	out = apart ? value_new(m, RDU_DT_F32, 4, odim) : value_new(m, RDU_DT_F32, 3, oflat);
	inexact(&m->val[out], 3);
	n = node_simple(m, "Attention", q, k, out);
	op_in(n, v);
	if (mask >= 0 || past)
		op_in(n, mask);
	if (past) {
		op_in(n, past_k);
		op_in(n, past_v);
		for (int i = 0; i < 2; i++) {
			int p = value_like(m, i ? v : k, 4, present[i]);

			op_out(m, n, p);
		}
	}
	if (shown) {
		int s = value_new(m, RDU_DT_F32, 4, scores);

		inexact(&m->val[s], 100);
		while (n->num_out < 3)
			op_out(m, n, -1);
		op_out(m, n, s);
		set_int(n, "qk_matmul_output_mode", pick(4));
	}
	if (!apart) {
		set_int(n, "q_num_heads", heads);
		set_int(n, "kv_num_heads", kv_heads);
	}
	if (chance(2))
		set_int(n, "is_causal", 1);
	if (chance(3))
		set_float(n, "scale", 0.25f);
	if (chance(3))
		set_float(n, "softcap", 2);
	return true;
}

/* ---- losses ------------------------------------------------------------------------------- */

static bool classes(const struct val *v)
{
	return floats(v) && v->ndim >= 2 && v->ndim <= 5;
}

static bool make_loss(struct model *m)
{
	static const char *const ways[] = { "mean", "sum", "none" };
	int a = some_value(m, classes), labels, weights = -1, out, nd = 0;
	bool cross = chance(2), log = cross && chance(2);
	int64_t dim[RDU_MAX_DIMS], num = 1, c, ignored = 0;
	uint32_t way = pick(3);
	double x[MAX_NUMBERS], w[MAX_NUMBERS];
	bool ignores = chance(2);
	struct op_node *n;

	if (a < 0 || m->data == DATA_LIMITS)
		return false;
	a = tamed(m, a, 20);
	c = m->val[a].dim[1];
	for (int d = 0; d < m->val[a].ndim; d++)
		if (d != 1)
			num *= dim[nd++] = m->val[a].dim[d];
	if (num > MAX_NUMBERS || c > MAX_NUMBERS)
		return false;
	if (ignores)
		ignored = chance(2) ? (int64_t)pick((uint32_t)c) : -100;
	for (int64_t i = 0; i < num; i++)
		x[i] = ignores && i && chance(3) ? (double)ignored : (double)pick((uint32_t)c);
	/* Of nothing but what is ignored, there is no mean. */
	if (ignores && x[0] == (double)ignored)
		x[0] = (double)((ignored + 1) % c);
	if (x[0] == (double)ignored && ignores && way == 0)
		return false;
	labels = value_numbers(m, chance(2) ? RDU_DT_I32 : RDU_DT_I64, nd, dim, x);
	m->val[labels].init = false;
	m->val[labels].input = true;
	if (chance(2)) {
		for (int64_t i = 0; i < c; i++)
			w[i] = ldexp(1 + pick(3), -2);
		weights = value_numbers(m, RDU_DT_F32, 1, &c, w);
	}
	out = value_new(m, RDU_DT_F32, way == 2 ? nd : 0, dim);
	inexact(&m->val[out], 50.0 * (double)num);
	n = node_simple(m, cross ? "SoftmaxCrossEntropyLoss" : "NegativeLogLikelihoodLoss", a,
			labels, out);
	if (weights >= 0)
		op_in(n, weights);
	if (log) {
		int p = value_like(m, a, m->val[a].ndim, m->val[a].dim);

		inexact(&m->val[p], 60);
		op_out(m, n, p);
	}
	if (way || chance(2))
		set_text(n, "reduction", ways[way]);
	if (ignores)
		set_int(n, "ignore_index", ignored);
	return true;
}

/* ---- spectra ------------------------------------------------------------------------------ */

static bool make_dft(struct model *m)
{
	int64_t some[3] = { 1 + pick(3), 1 + pick(chance(3) ? 70 : 17), 1 + pick(2) }, dim[3], n,
		of;
	bool inverse = chance(3), onesided = !inverse && some[2] == 1 && chance(2), cut = chance(3);
	struct op_node *node;
	int a, out;

	if (m->data == DATA_LIMITS || m->opset < 17)
		return false;
	a = floats_in(m, 3, some);
	memcpy(dim, some, sizeof(dim));
	n = of = some[1];
	if (cut)
		n = 1 + pick((uint32_t)of + 4);
	dim[1] = onesided ? n / 2 + 1 : n;
	dim[2] = 2;
	out = value_new(m, RDU_DT_F32, 3, dim);
	inexact(&m->val[out], m->val[a].mag * (double)n * 2);
	node = node_simple(m, "DFT", a, -1, out);
	if (cut || m->opset >= 20) {
		int v = cut ? value_ints(m, 1, &n) : -1;

		if (cut)
			m->val[v].ndim = 0;
		op_in(node, v);
	}
	if (m->opset >= 20) {
		const int64_t axis = chance(2) ? 1 : -2;
		int v = value_ints(m, 1, &axis);

		m->val[v].ndim = 0;
		op_in(node, v);
	} else if (chance(2)) {
		set_int(node, "axis", 1);
	}
	if (inverse)
		set_int(node, "inverse", 1);
	if (onesided)
		set_int(node, "onesided", 1);
	return true;
}

static bool make_stft(struct model *m)
{
	int64_t frame = 2 + pick(15), step = 1 + pick(8), frames = 1 + pick(5);
	int64_t some[3] = { 1 + pick(2), frame + (frames - 1) * step + pick((uint32_t)step), 1 },
		dim[4];
	bool onesided = !chance(2), window = chance(2);
	struct op_node *n;
	int a, out, s;

	if (m->data == DATA_LIMITS || m->opset < 17)
		return false;
	a = floats_in(m, 3, some);
	dim[0] = some[0];
	dim[1] = frames;
	dim[2] = onesided ? frame / 2 + 1 : frame;
	dim[3] = 2;
	out = value_new(m, RDU_DT_F32, 4, dim);
	inexact(&m->val[out], m->val[a].mag * (double)frame * 3);
	s = value_ints(m, 1, &step);
	m->val[s].ndim = 0;
	n = node_simple(m, "STFT", a, s, out);
	op_in(n, window ? value_source(m, RDU_DT_F32, 1, &frame, true) : -1);
	if (!window || chance(2)) {
		int f = value_ints(m, 1, &frame);

		m->val[f].ndim = 0;
		op_in(n, f);
	}
	if (!onesided || chance(2))
		set_int(n, "onesided", onesided);
	return true;
}

/* ---- norms -------------------------------------------------------------------------------- */

static bool planes(const struct val *v)
{
	return floats(v) && v->ndim >= 3 && v->ndim <= 5;
}

static bool make_block_norm(struct model *m)
{
	uint32_t k = pick(4);
	int a = some_value(m, planes), out, nd;
	struct op_node *n;
	int64_t c;

	if (a < 0 || m->data == DATA_LIMITS || (k == 1 && m->opset < 21) ||
	    (k == 2 && m->opset < 23))
		return false;
	a = tamed(m, a, 20);
	/* Of what is 0 but for rounding, a norm makes anything. */
	if (k == 3 && !is_exact(&m->val[a]))
		return false;
	nd = m->val[a].ndim;
	c = m->val[a].dim[1];
	out = value_like(m, a, nd, m->val[a].dim);
	inexact(&m->val[out], 100);
	if (k == 0) {
		n = node_simple(m, "LRN", a, -1, out);
		set_int(n, "size", 1 + pick(4));
		if (chance(2))
			set_float(n, "bias", 2);
		if (chance(2))
			set_float(n, "beta", 0.5f);
	} else if (k == 1) {
		int64_t groups = 1 + pick(4);
		int scale = value_source(m, RDU_DT_F32, 1, &c, true),
		    bias = value_source(m, RDU_DT_F32, 1, &c, true);

		if (c % groups)
			groups = 1;
		n = node_simple(m, "GroupNormalization", a, scale, out);
		op_in(n, bias);
		set_int(n, "num_groups", groups);
		set_float(n, "epsilon", 0.25f);
	} else if (k == 2) {
		int axis = (int)pick((uint32_t)nd);
		int scale = value_source(m, RDU_DT_F32, nd - axis, m->val[a].dim + axis, true);

		n = node_simple(m, "RMSNormalization", a, scale, out);
		set_int(n, "axis", chance(3) ? axis - nd : axis);
		set_float(n, "epsilon", 0.25f);
	} else {
		n = node_simple(m, "LpNormalization", a, -1, out);
		set_int(n, "axis", (int64_t)pick((uint32_t)nd));
		set_int(n, "p", 1 + pick(2));
	}
	return true;
}

const make_op makers_block[] = {
	make_quantize, make_loss,	  make_attention,	 make_integer_matmul,
	make_dft,      make_integer_conv, make_dynamic_quantize, make_quantize,
	make_stft,     make_block_norm,	  make_attention,
};
const int num_makers_block = sizeof(makers_block) / sizeof(makers_block[0]);
