// SPDX-License-Identifier: MIT
/* Products that are summed, windows, and changes of size. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "diff.h"
#include "graph.h"

static bool operand(const struct val *v)
{
	return is_float(v) && v->ndim >= 1 && v->ndim <= 4 && count_of(v) <= 16384;
}

static bool matrix(const struct val *v)
{
	return is_float(v) && v->ndim == 2 && count_of(v) <= 16384;
}

static bool image(const struct val *v)
{
	return is_float(v) && v->ndim >= 3 && v->ndim <= 5 && count_of(v) <= 16384;
}

static int new_float(struct model *m, int ndim, const int64_t *dim)
{
	return value_source(m, RDU_DT_F32, ndim, dim, !chance(3));
}

/* Bounds of sums of k products of a and b; then what is added. */
static void sum_bounds(struct model *m, int out, int a, int b, double k, int c)
{
	const struct val *x = &m->val[a], *y = &m->val[b];
	struct val *o = &m->val[out];

	o->unit = x->unit * y->unit;
	o->mag = x->mag * y->mag * k;
	/* In bf16, an operand has eight bits. */
	if (m->bf16 && (x->mag > 256 * x->unit || y->mag > 256 * y->unit))
		o->unit = 0;
	if (c >= 0) {
		o->unit = finer(o->unit, m->val[c].unit);
		o->mag += m->val[c].mag;
	}
	if (!is_exact(o))
		o->unit = 0;
}

static bool make_matmul(struct model *m)
{
	int a = some_value(m, operand), b, out, nd, bn;
	int64_t dim[RDU_MAX_DIMS], bd[RDU_MAX_DIMS], k, n;
	bool vector;

	if (a < 0)
		return false;
	a = tamed(m, a, 64);
	nd = m->val[a].ndim;
	k = m->val[a].dim[nd - 1];
	vector = chance(6);
	n = random_extent();
	/* The other one's batch: none, the same, or broadcast. */
	bn = 0;
	if (!vector && nd > 2 && chance(2))
		for (int d = (int)pick((uint32_t)nd - 1); d < nd - 2; d++)
			bd[bn++] = chance(2) ? 1 : m->val[a].dim[d];
	else if (!vector && nd == 2 && chance(4))
		bd[bn++] = 1 + pick(4);
	bd[bn++] = k;
	if (!vector)
		bd[bn++] = n;
	b = new_float(m, bn, bd);
	if (nd == 1) {
		int od = 0;

		for (int d = 0; d < bn - 2; d++)
			dim[od++] = bd[d];
		if (!vector)
			dim[od++] = n;
		nd = od;
	} else if (vector) {
		memcpy(dim, m->val[a].dim, sizeof(dim));
		nd--;
	} else {
		int od;

		broadcast_dims(nd - 2, m->val[a].dim, bn - 2, bd, &od, dim);
		dim[od] = m->val[a].dim[nd - 2];
		dim[od + 1] = n;
		nd = od + 2;
	}
	out = value_new(m, RDU_DT_F32, nd, dim);
	if (count_of(&m->val[out]) * k > 400000)
		return false;
	sum_bounds(m, out, a, b, (double)k, -1);
	node_simple(m, "MatMul", a, b, out);
	return true;
}

static bool make_gemm(struct model *m)
{
	int a = some_value(m, matrix), b, c = -1, out;
	bool ta = chance(3), tb = chance(2);
	int64_t dim[2], bd[2], k, n = random_extent();
	struct op_node *node;

	if (a < 0)
		return false;
	a = tamed(m, a, 64);
	k = m->val[a].dim[ta ? 0 : 1];
	dim[0] = m->val[a].dim[ta ? 1 : 0];
	dim[1] = n;
	bd[tb ? 1 : 0] = k;
	bd[tb ? 0 : 1] = n;
	b = new_float(m, 2, bd);
	if (dim[0] * n * k > 400000)
		return false;
	if (chance(2)) {
		int64_t cd[2] = { chance(3) ? 1 : dim[0], chance(3) ? 1 : n };
		int from = (int)pick(3);

		c = new_float(m, 2 - from, cd + from);
	}
	out = value_new(m, RDU_DT_F32, 2, dim);
	sum_bounds(m, out, a, b, (double)k, c);
	node = node_simple(m, "Gemm", a, b, out);
	if (c >= 0)
		op_in(node, c);
	if (ta)
		set_int(node, "transA", 1);
	if (tb)
		set_int(node, "transB", 1);
	if (chance(3)) {
		set_float(node, "alpha", 0.5f);
		m->val[out].unit /= 2;
	}
	if (chance(3)) {
		set_float(node, "beta", 2);
		m->val[out].mag *= 2;
	}
	if (!is_exact(&m->val[out]))
		m->val[out].unit = 0;
	return true;
}

/* Letters with extents; which operand has which is free. */
static bool make_einsum(struct model *m)
{
	static char text[16][40];
	static int used;
	int letters = 2 + (int)pick(6), nd[3] = { 0 }, terms = chance(5) ? 1 : 2;
	int64_t extent[8], dim[3][8], work = 1;
	double k = 1;
	char in[3][9] = { "", "", "" };
	struct op_node *n;
	int v[2], out;

	if (used == 16)
		return false;
	for (int l = 0; l < letters; l++) {
		/* 1: first operand, 2: second, 4: result */
		static const int roles[] = { 3, 5, 6, 3, 7, 3, 5 };
		int role = terms == 1 ? (chance(2) ? 1 : 5) : roles[pick(7)];

		extent[l] = chance(3) ? random_extent() : 1 + pick(12);
		work *= extent[l];
		if (!(role & 4))
			k *= (double)extent[l];
		for (int o = 0; o < 3; o++) {
			int at;

			if (!(role >> o & 1))
				continue;
			at = (int)pick((uint32_t)nd[o] + 1);
			/* Plainest: at the end. */
			at = nd[o] - at;
			memmove(in[o] + at + 1, in[o] + at, (size_t)(nd[o] - at) + 1);
			memmove(dim[o] + at + 1, dim[o] + at, (size_t)(nd[o] - at) * 8);
			in[o][at] = (char)('a' + l);
			dim[o][at] = extent[l];
			nd[o]++;
		}
	}
	if (work > 400000 || !nd[0] || (terms == 2 && !nd[1]) || nd[0] > 5 || nd[1] > 5 ||
	    nd[2] > 5)
		return false;
	for (int o = 0; o < terms; o++)
		v[o] = value_source(m, RDU_DT_F32, nd[o], dim[o], o && chance(2));
	out = value_new(m, RDU_DT_F32, nd[2], dim[2]);
	if (terms == 2)
		sum_bounds(m, out, v[0], v[1], k, -1);
	else
		m->val[out].unit = m->val[v[0]].unit, m->val[out].mag = m->val[v[0]].mag * k;
	snprintf(text[used], sizeof(text[0]), terms == 2 ? "%s,%s->%s" : "%s%s->%s", in[0],
		 terms == 2 ? in[1] : "", in[2]);
	n = node_simple(m, "Einsum", v[0], terms == 2 ? v[1] : -1, out);
	set_text(n, "equation", text[used++]);
	return true;
}

/* ---- windows -------------------------------------------------------------------------- */

struct window {
	int nd; /* spatial dimensions */
	int64_t kernel[3], stride[3], dilation[3], pads[6], out[3];
	const char *auto_pad;
	bool ceil;
};

/* A window over the spatial dimensions of v; false: it does not fit. */
static bool make_window(const struct val *v, struct window *w, bool pool, bool dilated)
{
	static const char *const pads[] = { "VALID", "SAME_UPPER", "SAME_LOWER" };

	memset(w, 0, sizeof(*w));
	w->nd = v->ndim - 2;
	w->auto_pad = chance(6) ? pads[pick(3)] : NULL;
	w->ceil = pool && chance(4);
	for (int d = 0; d < w->nd; d++) {
		int64_t size = v->dim[d + 2], reach, room;

		w->kernel[d] = 1 + pick(4);
		w->stride[d] = chance(2) ? 1 + pick(3) : 1;
		/* SAME and dilations: no two agree on what that is. */
		w->dilation[d] = dilated && chance(4) && !w->auto_pad ? 1 + pick(3) : 1;
		reach = (w->kernel[d] - 1) * w->dilation[d] + 1;
		if (!w->auto_pad && chance(2)) {
			/* A pool's padding is smaller than its window. */
			w->pads[d] = pick((uint32_t)(pool ? w->kernel[d] : 4));
			w->pads[d + w->nd] = pick((uint32_t)(pool ? w->kernel[d] : 4));
		}
		if (w->auto_pad && *w->auto_pad == 'S') {
			w->out[d] = (size + w->stride[d] - 1) / w->stride[d];
			continue;
		}
		room = size + w->pads[d] + w->pads[d + w->nd] - reach;
		if (room < 0)
			return false;
		w->out[d] = room / w->stride[d] + 1;
		if (w->ceil && room % w->stride[d]) {
			/* A window that starts behind the data is left out. */
			if (w->out[d] * w->stride[d] < size + w->pads[d])
				w->out[d]++;
		}
	}
	return true;
}

static void window_attrs(struct op_node *n, const struct window *w, bool kernel)
{
	if (kernel || chance(2))
		set_list(n, "kernel_shape", w->nd, w->kernel);
	set_list(n, "strides", w->nd, w->stride);
	for (int d = 0; d < w->nd; d++)
		if (w->dilation[d] > 1) {
			set_list(n, "dilations", w->nd, w->dilation);
			break;
		}
	if (w->auto_pad)
		set_text(n, "auto_pad", w->auto_pad);
	else
		set_list(n, "pads", 2 * w->nd, w->pads);
	if (w->ceil)
		set_int(n, "ceil_mode", 1);
}

bool make_pool(struct model *m)
{
	int a = some_value(m, image), out;
	bool average = m->data != DATA_LIMITS && chance(2);
	int64_t dim[5];
	struct window w;
	struct op_node *n;

	if (a < 0 || !make_window(&m->val[a], &w, true, !average || m->opset >= 19))
		return false;
	memcpy(dim, m->val[a].dim, sizeof(dim));
	memcpy(dim + 2, w.out, (size_t)w.nd * 8);
	out = value_like(m, a, m->val[a].ndim, dim);
	if (average)
		inexact(&m->val[out], m->val[a].mag);
	n = node_simple(m, average ? "AveragePool" : "MaxPool", a, -1, out);
	window_attrs(n, &w, true);
	if (average && chance(2))
		set_int(n, "count_include_pad", 1);
	return true;
}

static int image_input(struct model *m)
{
	int64_t dim[5];
	int nd = 3 + (int)pick(3);

	if (!chance(2)) {
		int v = some_value(m, image);

		if (v >= 0)
			return v;
	}
	nd = nd == 3 ? 4 : nd == 4 ? 3 : 5;
	dim[0] = chance(2) ? random_extent() : 1 + pick(3);
	dim[1] = 1 + pick(8);
	for (int d = 2; d < nd; d++)
		dim[d] = 1 + pick(nd == 5 ? 5 : 10);
	return value_source(m, RDU_DT_F32, nd, dim, false);
}

static bool make_conv(struct model *m)
{
	int a = image_input(m), b, c = -1, out;
	int64_t dim[5], wd[5], group = 1, work;
	struct window w;
	struct op_node *n;

	a = tamed(m, a, 64);
	if (!make_window(&m->val[a], &w, false, true))
		return false;
	if (chance(3))
		group = m->val[a].dim[1];
	else if (chance(3) && m->val[a].dim[1] % 2 == 0)
		group = 2;
	wd[0] = group * (1 + pick(group > 2 ? 2 : 8));
	wd[1] = m->val[a].dim[1] / group;
	memcpy(wd + 2, w.kernel, (size_t)w.nd * 8);
	memcpy(dim, m->val[a].dim, sizeof(dim));
	dim[1] = wd[0];
	memcpy(dim + 2, w.out, (size_t)w.nd * 8);
	b = new_float(m, w.nd + 2, wd);
	if (chance(2))
		c = new_float(m, 1, wd);
	out = value_new(m, RDU_DT_F32, w.nd + 2, dim);
	work = count_of(&m->val[out]) * (count_of(&m->val[b]) / wd[0]);
	if (work > 400000)
		return false;
	sum_bounds(m, out, a, b, (double)(count_of(&m->val[b]) / wd[0]), c);
	n = node_simple(m, "Conv", a, b, out);
	if (c >= 0)
		op_in(n, c);
	window_attrs(n, &w, false);
	if (group > 1)
		set_int(n, "group", group);
	return true;
}

static bool make_conv_transpose(struct model *m)
{
	int a = image_input(m), b, c = -1, out;
	int64_t dim[5], wd[5], group = 1, extra[3] = { 0 };
	bool has_extra = false;
	struct window w;
	struct op_node *n;

	a = tamed(m, a, 64);
	if (!make_window(&m->val[a], &w, false, true))
		return false;
	w.auto_pad = NULL;
	if (chance(3))
		group = m->val[a].dim[1];
	wd[0] = m->val[a].dim[1];
	wd[1] = 1 + pick(4);
	memcpy(wd + 2, w.kernel, (size_t)w.nd * 8);
	memcpy(dim, m->val[a].dim, sizeof(dim));
	dim[1] = wd[1] * group;
	for (int d = 0; d < w.nd; d++) {
		if (chance(3) && (w.stride[d] > 1 || w.dilation[d] > 1)) {
			int64_t most = w.stride[d] > w.dilation[d] ? w.stride[d] : w.dilation[d];

			extra[d] = pick((uint32_t)most);
			has_extra |= extra[d] > 0;
		}
		dim[d + 2] = w.stride[d] * (m->val[a].dim[d + 2] - 1) + extra[d] +
			     (w.kernel[d] - 1) * w.dilation[d] + 1 - w.pads[d] - w.pads[d + w.nd];
		if (dim[d + 2] < 1)
			return false;
	}
	b = new_float(m, w.nd + 2, wd);
	if (chance(2))
		c = new_float(m, 1, dim + 1);
	out = value_new(m, RDU_DT_F32, w.nd + 2, dim);
	if (count_of(&m->val[out]) * count_of(&m->val[b]) / wd[1] > 400000)
		return false;
	sum_bounds(m, out, a, b, (double)(count_of(&m->val[b]) / wd[1]), c);
	n = node_simple(m, "ConvTranspose", a, b, out);
	if (c >= 0)
		op_in(n, c);
	window_attrs(n, &w, false);
	if (group > 1)
		set_int(n, "group", group);
	if (has_extra)
		set_list(n, "output_padding", w.nd, extra);
	return true;
}

/* ---- changes of size ------------------------------------------------------------------ */

static bool make_resize(struct model *m)
{
	static const char *const modes[] = { "nearest", "linear", "cubic" };
	static const char *const places[] = { "half_pixel", "asymmetric", "align_corners",
					      "pytorch_half_pixel" };
	static const char *const nearest[] = { "round_prefer_floor", "floor", "ceil",
					       "round_prefer_ceil" };
	int a = image_input(m), out, scales, nd;
	uint32_t mode = pick(3);
	int64_t dim[5], sd;
	struct op_node *n;
	float *s;

	if (m->data == DATA_LIMITS)
		return false;
	nd = m->val[a].ndim;
	memcpy(dim, m->val[a].dim, sizeof(dim));
	if (mode == 2 && nd != 4)
		mode = 0;
	if (mode == 1 && nd == 3)
		mode = 0;
	for (int d = 2; d < nd; d++)
		dim[d] = chance(2) ? dim[d] * (1 + pick(3)) : 1 + pick(12);
	out = value_like(m, a, nd, dim);
	if (count_of(&m->val[out]) > 16384)
		return false;
	if (mode)
		inexact(&m->val[out], m->val[a].mag * 2);
	n = node_simple(m, "Resize", a, -1, out);
	op_in(n, -1);
	if (chance(2)) {
		sd = nd;
		scales = value_new(m, RDU_DT_F32, 1, &sd);
		m->val[scales].init = true;
		s = m->val[scales].data = calloc((size_t)nd, 4);
		for (int d = 0; d < nd; d++) {
			s[d] = (float)dim[d] / (float)m->val[a].dim[d];
			/* Rounded down, it would give one less. */
			if ((int64_t)floorf(s[d] * (float)m->val[a].dim[d]) != dim[d])
				return false;
		}
		op_in(n, scales);
	} else {
		op_in(n, -1);
		op_in(n, value_ints(m, nd, dim));
	}
	set_text(n, "mode", modes[mode]);
	set_text(n, "coordinate_transformation_mode", places[pick(4)]);
	if (mode == 0 && chance(2))
		set_text(n, "nearest_mode", nearest[pick(4)]);
	return true;
}

const make_op makers_contract[] = {
	make_matmul, make_gemm, make_conv,	     make_pool,	  make_einsum, make_matmul,
	make_conv,   make_pool, make_conv_transpose, make_resize, make_einsum,
};
const int num_makers_contract = sizeof(makers_contract) / sizeof(makers_contract[0]);
