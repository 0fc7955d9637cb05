// SPDX-License-Identifier: MIT
/* Operators of one element at a time, with all the broadcasting there is. */
#include <math.h>
#include <string.h>
#include "diff.h"
#include "graph.h"

static bool any_float(const struct val *v)
{
	return is_float(v);
}

static bool exact_float(const struct val *v)
{
	return is_float(v) && is_exact(v);
}

static bool numeric(const struct val *v)
{
	return v->type != RDU_DT_BOOL && v->type != RDU_DT_BF16;
}

static bool small_int(const struct val *v)
{
	return !is_float(v) && numeric(v);
}

static bool boolean(const struct val *v)
{
	return v->type == RDU_DT_BOOL;
}

static bool anything(const struct val *v)
{
	(void)v;
	return true;
}

/* A float for operators that jump. */
static int jumping(struct model *m)
{
	return some_value(m, exact_float);
}

static int same_shape(struct model *m, int v, enum rdu_dtype type)
{
	int o = value_new(m, type, m->val[v].ndim, m->val[v].dim);

	if (type == m->val[v].type) {
		m->val[o].unit = m->val[v].unit;
		m->val[o].mag = m->val[v].mag;
	}
	return o;
}

/* ---- one operand ------------------------------------------------------------------ */

/* Exact ones: multiples of the same unit come out, no larger than what went in. */
static bool make_plain(struct model *m)
{
	static const char *const ops[] = { "Relu", "Abs", "Neg", "Identity" };
	uint32_t k = pick(4);
	int a = some_value(m, k == 3 ? anything : any_float);

	if (a < 0)
		return false;
	node_simple(m, ops[k], a, -1, same_shape(m, a, m->val[a].type));
	return true;
}

static bool make_round(struct model *m)
{
	static const char *const ops[] = { "Floor", "Ceil", "Round", "Sign" };
	uint32_t k = pick(4);
	int a = jumping(m), o;

	if (a < 0)
		return false;
	o = same_shape(m, a, RDU_DT_F32);
	if (m->val[o].unit > 0) {
		m->val[o].unit = 1;
		m->val[o].mag = k == 3 ? 1 : ceil(m->val[a].mag);
	}
	node_simple(m, ops[k], a, -1, o);
	return true;
}

static bool make_clip(struct model *m)
{
	int a = some_value(m, any_float), o, which = (int)pick(4);
	float lo = -(float)pick(3), hi = (float)pick(4);
	struct op_node *n;

	if (a < 0)
		return false;
	o = same_shape(m, a, RDU_DT_F32);
	if (!which && hi > -lo && m->val[o].mag > hi)
		m->val[o].mag = hi;
	m->val[o].mag = fmax(m->val[o].mag, 3);
	n = node_simple(m, "Clip", a, -1, o);
	if (which == 3)
		return true;
	op_in(n, which == 1 ? -1 : value_float(m, lo));
	if (which != 2)
		op_in(n, value_float(m, hi));
	return true;
}

/* What computes in floating point and is smooth enough to compare with a tolerance. */
static bool make_smooth(struct model *m)
{
	static const struct {
		const char *op, *attr[2];
		float most; /* of the operand */
		double mag; /* of the result; 0: as the operand */
		int opset;
	} ops[] = {
		{ "Tanh", { 0 }, 1e3, 1, 1 },
		{ "Sigmoid", { 0 }, 1e3, 1, 1 },
		{ "Exp", { 0 }, 4, 60, 1 },
		{ "Erf", { 0 }, 1e3, 1, 9 },
		{ "Sin", { 0 }, 1e3, 1, 7 },
		{ "Cos", { 0 }, 1e3, 1, 7 },
		{ "Softplus", { 0 }, 30, 0, 1 },
		{ "Softsign", { 0 }, 1e3, 1, 1 },
		{ "Elu", { "alpha" }, 30, 0, 6 },
		{ "Selu", { "alpha", "gamma" }, 30, 0, 6 },
		{ "Celu", { 0 }, 30, 0, 12 },
		{ "LeakyRelu", { "alpha" }, 1e6, 0, 6 },
		{ "HardSwish", { 0 }, 1e3, 0, 14 },
		{ "HardSigmoid", { "alpha", "beta" }, 1e3, 1, 6 },
		{ "Sinh", { 0 }, 4, 30, 9 },
		{ "Cosh", { 0 }, 4, 30, 9 },
		{ "Asinh", { 0 }, 1e3, 10, 9 },
		{ "Mish", { 0 }, 30, 0, 18 },
		{ "Gelu", { 0 }, 1e3, 0, 20 },
	};
	uint32_t k = pick(sizeof(ops) / sizeof(ops[0]));
	int a = some_value(m, any_float), o;
	struct op_node *n;

	if (a < 0 || m->opset < ops[k].opset)
		return false;
	a = tamed(m, a, ops[k].most);
	o = same_shape(m, a, RDU_DT_F32);
	inexact(&m->val[o], ops[k].mag ? ops[k].mag : m->val[a].mag * 2 + 1);
	n = node_simple(m, ops[k].op, a, -1, o);
	for (int i = 0; i < 2 && ops[k].attr[i]; i++)
		if (chance(2))
			set_float(n, ops[k].attr[i], 0.25f + 0.25f * (float)pick(4));
	if (!strcmp(ops[k].op, "Gelu") && chance(2))
		set_text(n, "approximate", "tanh");
	return true;
}

/* Those that have a domain: |a| + 1/2 goes in. */
static bool make_domain(struct model *m)
{
	static const char *const ops[] = { "Sqrt", "Log", "Reciprocal" };
	int a = some_value(m, any_float), b, c, o;

	if (a < 0)
		return false;
	b = same_shape(m, a, RDU_DT_F32);
	node_simple(m, "Abs", a, -1, b);
	c = same_shape(m, a, RDU_DT_F32);
	inexact(&m->val[c], m->val[a].mag + 0.5);
	node_simple(m, "Add", b, value_float(m, 0.5f), c);
	o = same_shape(m, c, RDU_DT_F32);
	inexact(&m->val[o], m->val[c].mag + 1);
	node_simple(m, ops[pick(3)], c, -1, o);
	return true;
}

static bool make_threshold(struct model *m)
{
	int a = jumping(m), o;
	struct op_node *n;

	if (a < 0)
		return false;
	o = same_shape(m, a, RDU_DT_F32);
	if (chance(2)) {
		n = node_simple(m, "ThresholdedRelu", a, -1, o);
		set_float(n, "alpha", 0.5f * (float)pick(4));
	} else {
		inexact(&m->val[o], m->val[a].mag + 1);
		n = node_simple(m, "Shrink", a, -1, o);
		set_float(n, "lambd", 0.5f * (float)(1 + pick(3)));
		if (chance(2))
			set_float(n, "bias", 0.5f);
	}
	return true;
}

/* ---- several operands ----------------------------------------------------------------- */

/* A shape that broadcasts with v's: dimensions left out or 1, or one more. */
static int partner_shape(const struct val *v, int64_t *dim)
{
	int from = chance(3) ? (int)pick((uint32_t)v->ndim + 1) : 0, nd = 0;

	for (int d = from; d < v->ndim; d++)
		dim[nd++] = chance(3) ? 1 : v->dim[d];
	if (chance(8) && nd == v->ndim && nd < 5 && count_of(v) < 2048) {
		memmove(dim + 1, dim, (size_t)nd * sizeof(*dim));
		dim[0] = 1 + pick(3);
		nd++;
	}
	return nd;
}

static const struct val *like;

static bool broadcasts(const struct val *v)
{
	int64_t dim[RDU_MAX_DIMS], n = 1;
	int nd;

	if (v->type != like->type ||
	    !broadcast_dims(v->ndim, v->dim, like->ndim, like->dim, &nd, dim))
		return false;
	for (int d = 0; d < nd; d++)
		n *= dim[d];
	return n <= 65536;
}

/* Another operand for a: an existing value, or one that is made for it. */
static int partner(struct model *m, int a)
{
	int64_t dim[RDU_MAX_DIMS];
	int nd, b;

	if (chance(3)) {
		nd = partner_shape(&m->val[a], dim);
		return value_source(m, m->val[a].type, nd, dim, chance(2));
	}
	like = &m->val[a];
	b = some_value(m, broadcasts);
	return b;
}

static int broadcast_out(struct model *m, int a, int b, enum rdu_dtype type)
{
	int64_t dim[RDU_MAX_DIMS];
	int nd;

	if (!broadcast_dims(m->val[a].ndim, m->val[a].dim, m->val[b].ndim, m->val[b].dim, &nd, dim))
		return -1;
	return value_new(m, type, nd, dim);
}

static void bounds(struct model *m, int o, double unit, double mag)
{
	m->val[o].unit = unit;
	m->val[o].mag = mag;
	if (is_float(&m->val[o]) && !is_exact(&m->val[o]))
		m->val[o].unit = 0;
}

static bool make_binary(struct model *m)
{
	static const char *const ops[] = { "Add", "Mul", "Sub", "Div" };
	uint32_t k = pick(4);
	int a = some_value(m, k == 3 ? any_float : numeric), b, o;
	double mag, unit;

	if (a < 0)
		return false;
	if (k == 3) { /* by something away from zero */
		b = partner(m, a);
		if (b < 0)
			return false;
		if (m->data != DATA_LIMITS) {
			int c = same_shape(m, b, RDU_DT_F32), d = same_shape(m, b, RDU_DT_F32);

			node_simple(m, "Abs", b, -1, c);
			inexact(&m->val[d], m->val[b].mag + 0.5);
			node_simple(m, "Add", c, value_float(m, 0.5f), d);
			b = d;
		}
		o = broadcast_out(m, a, b, RDU_DT_F32);
		inexact(&m->val[o], m->val[a].mag * 2);
		node_simple(m, "Div", a, b, o);
		return true;
	}
	b = partner(m, a);
	if (b < 0)
		return false;
	if (chance(2)) {
		int t = a;

		a = b;
		b = t;
	}
	mag = k == 1 ? m->val[a].mag * m->val[b].mag : m->val[a].mag + m->val[b].mag;
	unit = k == 1 ? m->val[a].unit * m->val[b].unit : finer(m->val[a].unit, m->val[b].unit);
	if (mag > (is_float(&m->val[a]) ? 1e6 : 100) && m->data != DATA_LIMITS)
		return false;
	o = broadcast_out(m, a, b, m->val[a].type);
	bounds(m, o, unit, mag);
	node_simple(m, ops[k], a, b, o);
	return true;
}

static bool make_variadic(struct model *m)
{
	static const char *const ops[] = { "Max", "Min", "Sum", "Mean" };
	uint32_t k = pick(m->data == DATA_LIMITS ? 2 : 4), num = 1 + pick(4);
	int a = some_value(m, k < 2 ? numeric : any_float), o = a;
	struct op_node *n;
	int in[5] = { a };

	if (a < 0)
		return false;
	for (uint32_t i = 1; i < num; i++) {
		in[i] = chance(4) ? in[i - 1] : partner(m, o);
		if (in[i] < 0)
			return false;
		o = broadcast_out(m, o, in[i], m->val[a].type);
		if (o < 0)
			return false;
		bounds(m, o, m->val[a].unit, m->val[a].mag);
	}
	o = value_like(m, a, m->val[o].ndim, m->val[o].dim);
	for (uint32_t i = 1; i < num; i++) {
		const struct val *v = &m->val[in[i]];

		bounds(m, o, finer(m->val[o].unit, v->unit),
		       k < 2 ? fmax(m->val[o].mag, v->mag) : m->val[o].mag + v->mag);
	}
	if (k == 3)
		bounds(m, o, num & (num - 1) ? 0 : m->val[o].unit / num, m->val[o].mag);
	n = node_add(m, ops[k]);
	for (uint32_t i = 0; i < num; i++)
		op_in(n, in[i]);
	op_out(m, n, o);
	return true;
}

static bool make_compare(struct model *m)
{
	static const char *const ops[] = { "Less", "Greater", "Equal", "LessOrEqual",
					   "GreaterOrEqual" };
	int a = chance(3) ? some_value(m, small_int) : jumping(m), b, o;

	if (a < 0)
		return false;
	b = partner(m, a);
	if (b < 0 || !is_exact(&m->val[b]))
		return false;
	o = broadcast_out(m, a, b, RDU_DT_BOOL);
	node_simple(m, ops[pick(5)], a, b, o);
	m->val[o].mag = 1;
	return true;
}

static bool make_logic(struct model *m)
{
	static const char *const ops[] = { "And", "Or", "Xor" };
	int a = some_value(m, boolean), b, o;

	if (a < 0)
		return false;
	if (chance(4)) {
		node_simple(m, "Not", a, -1, same_shape(m, a, RDU_DT_BOOL));
		return true;
	}
	b = partner(m, a);
	if (b < 0)
		return false;
	o = broadcast_out(m, a, b, RDU_DT_BOOL);
	m->val[o].mag = 1;
	node_simple(m, ops[pick(3)], a, b, o);
	return true;
}

static bool make_where(struct model *m)
{
	int a = some_value(m, anything), b, c, o, o2;
	int64_t dim[RDU_MAX_DIMS];
	struct op_node *n;

	if (a < 0)
		return false;
	b = partner(m, a);
	if (b < 0)
		return false;
	o = broadcast_out(m, a, b, m->val[a].type);
	if (chance(2)) {
		int nd = partner_shape(&m->val[o], dim);

		c = value_source(m, RDU_DT_BOOL, nd, dim, chance(3));
	} else {
		c = some_value(m, boolean);
	}
	if (c < 0)
		return false;
	o2 = broadcast_out(m, o, c, m->val[a].type);
	if (o2 < 0 || count_of(&m->val[o2]) > 65536)
		return false;
	bounds(m, o2, finer(m->val[a].unit, m->val[b].unit), fmax(m->val[a].mag, m->val[b].mag));
	n = node_simple(m, "Where", c, a, o2);
	op_in(n, b);
	return true;
}

static bool make_cast(struct model *m)
{
	static const enum rdu_dtype types[] = { RDU_DT_F32,  RDU_DT_I32, RDU_DT_I64,
						RDU_DT_BOOL, RDU_DT_I8,	 RDU_DT_U8 };
	enum rdu_dtype to = types[pick(6)];
	int a = to == RDU_DT_F32 ? some_value(m, anything)
		: chance(2)	 ? some_value(m, small_int)
				 : jumping(m);
	struct op_node *n;
	int o;

	if (a < 0)
		return false;
	/* A float that an integer cannot hold: any result is right. */
	if (is_float(&m->val[a]) && to != RDU_DT_BOOL && to != RDU_DT_F32 &&
	    (m->data == DATA_LIMITS || m->val[a].mag > 100 || to == RDU_DT_U8))
		return false;
	o = value_new(m, to, m->val[a].ndim, m->val[a].dim);
	bounds(m, o, is_float(&m->val[a]) && to != RDU_DT_F32 ? 1 : m->val[a].unit, m->val[a].mag);
	if (to == RDU_DT_BOOL)
		bounds(m, o, 1, 1);
	if (to == RDU_DT_F32 && m->data == DATA_LIMITS)
		inexact(&m->val[o], INFINITY);
	n = node_simple(m, "Cast", a, -1, o);
	set_int(n, "to", to);
	return true;
}

/* Through bfloat16 and back, with something in between at times. */
static bool make_bf16(struct model *m)
{
	static const char *const ops[] = { "Relu", "Neg", "Abs" };
	int a = some_value(m, any_float), b, o;
	struct op_node *n;
	bool exact;

	if (a < 0)
		return false;
	exact = is_exact(&m->val[a]);
	b = value_new(m, RDU_DT_BF16, m->val[a].ndim, m->val[a].dim);
	m->val[b].unit = m->val[a].unit;
	m->val[b].mag = m->val[a].mag;
	/* Numbers of eight bits are what they were; of others only the bits are known. */
	if (m->val[b].mag > 256 * m->val[b].unit)
		m->val[b].unit = exact ? -1 : 0;
	set_int(node_simple(m, "Cast", a, -1, b), "to", RDU_DT_BF16);
	if (chance(2)) {
		o = value_like(m, b, m->val[b].ndim, m->val[b].dim);
		node_simple(m, ops[pick(3)], b, -1, o);
		b = o;
	}
	o = same_shape(m, a, RDU_DT_F32);
	m->val[o].unit = m->val[b].unit;
	n = node_simple(m, "Cast", b, -1, o);
	set_int(n, "to", RDU_DT_F32);
	return true;
}

static bool make_pow(struct model *m)
{
	static const float powers[] = { 2, 3, 0.5f, 1, 0, -1, -2, 4, 1.5f, -0.5f };
	uint32_t k = pick(10);
	int a = some_value(m, any_float), b, c, o;

	if (a < 0 || m->data == DATA_LIMITS)
		return false;
	a = tamed(m, a, 8);
	if (k >= 2) {
		b = same_shape(m, a, RDU_DT_F32);
		node_simple(m, "Abs", a, -1, b);
		c = same_shape(m, a, RDU_DT_F32);
		inexact(&m->val[c], m->val[a].mag + 0.5);
		node_simple(m, "Add", b, value_float(m, 0.5f), c);
		a = c;
	}
	o = same_shape(m, a, RDU_DT_F32);
	inexact(&m->val[o], 4096);
	node_simple(m, "Pow", a, value_float(m, powers[k]), o);
	return true;
}

static bool make_prelu(struct model *m)
{
	int a = some_value(m, any_float), b, o;
	int64_t dim[RDU_MAX_DIMS];
	int nd;

	if (a < 0 || m->val[a].mag > 1e4)
		return false;
	nd = partner_shape(&m->val[a], dim);
	if (nd > m->val[a].ndim)
		return false;
	b = value_source(m, RDU_DT_F32, nd, dim, true);
	o = same_shape(m, a, RDU_DT_F32);
	bounds(m, o, finer(m->val[a].unit, m->val[a].unit * m->val[b].unit),
	       fmax(m->val[a].mag * m->val[b].mag, m->val[a].mag));
	node_simple(m, "PRelu", a, b, o);
	return true;
}

static bool make_is(struct model *m)
{
	int a = some_value(m, any_float), o;
	struct op_node *n;

	if (a < 0)
		return false;
	o = same_shape(m, a, RDU_DT_BOOL);
	m->val[o].unit = m->val[o].mag = 1;
	if (chance(2)) {
		node_simple(m, "IsNaN", a, -1, o);
		return true;
	}
	n = node_simple(m, "IsInf", a, -1, o);
	if (chance(2))
		set_int(n, pick(2) ? "detect_negative" : "detect_positive", 0);
	return true;
}

const make_op makers_map[] = {
	make_binary,  make_plain, make_binary, make_smooth,    make_variadic, make_where, make_clip,
	make_compare, make_round, make_cast,   make_domain,    make_logic,    make_bf16,  make_pow,
	make_prelu,   make_is,	  make_binary, make_threshold, make_smooth,
};
const int num_makers_map = sizeof(makers_map) / sizeof(makers_map[0]);
