// SPDX-License-Identifier: MIT
/*
 * A plain interpreter of nests: what the fabric must compute. Floating point
 * is computed in double and rounded to fp32 after each operation (which gives
 * the correctly rounded fp32 result for + - * / sqrt), or left in double
 * (nest_eval_wide: for gradient checks). Reductions run in row-major order.
 * Integers have 32 bits, as on the card, or 64 (nest_eval_fold: what an int64
 * operator gives, for constants; it computes in double where a tensor is one). nest_eval_noisy rounds at random.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "graph.h"
#include "mem.h"
#include "numerics.h"

/* A value as a floating-point number and as an integer: operations use theirs. */
struct word {
	double f;
	int64_t i;
};

struct cursor {
	const struct access *a;
	char *base;
	enum rdu_dtype dtype;
	int64_t offset; /* element at the origin */
	int64_t step[NEST_MAX_DIMS]; /* elements per nest dimension */
	int64_t stride[RDU_MAX_DIMS];
	struct word pad;
};

struct eval {
	const struct nest *n;
	bool wide, bf16, int64;
	bool fp64; /* computes in double, whatever tensors hold */
	uint64_t *noise; /* state of the random numbers that rounding takes; NULL: nearest */
	int trap; /* enum rdu_trap: why the card would have stopped first */
	int64_t idx[NEST_MAX_DIMS];
	struct cursor in[NEST_MAX_IN];
	struct cursor out[NEST_MAX_OUT];
	bool round_bf16[NEST_MAX_IN];
	bool in_body[NEST_MAX_EXPR], in_epilogue[NEST_MAX_EXPR];
	struct word v[NEST_MAX_EXPR];
	struct word
		*carried; /* by the place in all dimensions but the one that it is carried along */
};

static uint32_t f_bits(float f)
{
	uint32_t i;

	memcpy(&i, &f, 4);
	return i;
}

static float bits_f(uint32_t i)
{
	float f;

	memcpy(&f, &i, 4);
	return f;
}

uint16_t bf16_of(uint32_t word)
{
	if ((word & 0x7fffffff) > 0x7f800000)
		return 0x7fc0;
	return (uint16_t)((word + 0x7fff + ((word >> 16) & 1)) >> 16);
}

static float bf16_round(float f)
{
	uint32_t u = (uint32_t)bf16_of(f_bits(f)) << 16;

	if (!(u & 0x7f800000)) /* denormal: zero, as the array takes it */
		u &= 0x80000000;
	return bits_f(u);
}

/* f in fp32: itself if it is a number of fp32, else one within NEST_NOISE_ULPS. */
static float rounded_at_random(uint64_t *state, double f)
{
	float g = (float)f, size = fabsf(g);
	int by;

	if ((double)g == f || !isfinite(g))
		return g;
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	by = (int)(*state >> 33) % (2 * NEST_NOISE_ULPS + 1) - NEST_NOISE_ULPS;
	return g + (float)by * (nextafterf(size, INFINITY) - size);
}

/* A NaN has one form, as on the card (numerics.md): its bits, too, may be computed with. */
static struct word word_f(const struct eval *e, double f)
{
	float single;

	if (isnan(f))
		return (struct word){ NAN, 0x7fc00000 };
	single = e->noise ? rounded_at_random(e->noise, f) : (float)f;

	return (struct word){ e->fp64 ? f : (double)single, (int32_t)f_bits(single) };
}

static struct word word_i(int64_t i)
{
	return (struct word){ bits_f((uint32_t)i), i };
}

/* The result of integer arithmetic: modulo 2^32, or 2^64. */
static struct word word_n(const struct eval *e, uint64_t i)
{
	return word_i(e->int64 ? (int64_t)i : (int32_t)(uint32_t)i);
}

static void trap(struct eval *e, int why)
{
	if (!e->trap)
		e->trap = why;
}

static void cursor_init(struct cursor *c, const struct nest *n, const struct access *a, void **data)
{
	int64_t stride = 1;

	c->a = a;
	c->base = data[tensor_storage(a->tensor)->id];
	c->dtype = dtype_stored(a->tensor->dtype);
	c->pad = word_i((int32_t)a->pad);
	c->offset = 0;
	memset(c->step, 0, sizeof(c->step));
	for (int t = a->tensor->ndim - 1; t >= 0; t--) {
		c->stride[t] = stride;
		c->offset += a->offset[t] * stride;
		for (int d = 0; d < n->ndim; d++)
			c->step[d] += a->coef[t][d] * stride;
		stride *= a->tensor->dim[t];
	}
}

static struct word load(struct eval *e, const struct cursor *c, int64_t at)
{
	switch (c->dtype) {
	case RDU_DT_F32:
		if (e->wide)
			return word_f(e, ((double *)c->base)[at]);
		return word_i(((int32_t *)c->base)[at]);
	case RDU_DT_U8:
	case RDU_DT_BOOL:
		return word_i(((uint8_t *)c->base)[at]);
	case RDU_DT_I8:
		return word_i(((int8_t *)c->base)[at]);
	case RDU_DT_U16:
		return word_i(((uint16_t *)c->base)[at]);
	case RDU_DT_I16:
		return word_i(((int16_t *)c->base)[at]);
	case RDU_DT_I32:
		return word_i(((int32_t *)c->base)[at]);
	case RDU_DT_U32:
		return word_n(e, ((uint32_t *)c->base)[at]);
	case RDU_DT_F64: {
		double v = ((double *)c->base)[at];

		if (!e->fp64 && isfinite(v) && !isfinite((float)v))
			trap(e, RDU_TRAP_LOAD);
		return word_f(e, v);
	}
	case RDU_DT_F16:
		return word_f(e, half_value(((uint16_t *)c->base)[at]));
	case RDU_DT_U64:
	case RDU_DT_I64: {
		int64_t v = ((int64_t *)c->base)[at];

		if ((!e->int64 && v != (int32_t)v) || (c->dtype == RDU_DT_U64 && v < 0))
			trap(e, RDU_TRAP_LOAD);
		return word_n(e, (uint64_t)v);
	}
	case RDU_DT_BF16:
		return word_i((int32_t)((uint32_t)((uint16_t *)c->base)[at] << 16));
	default:
		return word_i(0);
	}
}

static void store(struct eval *e, const struct cursor *c, int64_t at, struct word w, bool add)
{
	if (add)
		w = word_f(e, load(e, c, at).f + w.f);
	switch (c->dtype) {
	case RDU_DT_F32:
		if (e->wide)
			((double *)c->base)[at] = w.f;
		else
			((uint32_t *)c->base)[at] = (uint32_t)w.i;
		break;
	case RDU_DT_U8:
	case RDU_DT_BOOL:
		if (!e->int64 && w.i != (uint8_t)w.i)
			trap(e, RDU_TRAP_STORE);
		((uint8_t *)c->base)[at] = (uint8_t)w.i;
		break;
	case RDU_DT_I8:
		if (!e->int64 && w.i != (int8_t)w.i)
			trap(e, RDU_TRAP_STORE);
		((int8_t *)c->base)[at] = (int8_t)w.i;
		break;
	case RDU_DT_I16:
		if (!e->int64 && w.i != (int16_t)w.i)
			trap(e, RDU_TRAP_STORE);
		((int16_t *)c->base)[at] = (int16_t)w.i;
		break;
	case RDU_DT_U16:
		if (!e->int64 && w.i != (uint16_t)w.i)
			trap(e, RDU_TRAP_STORE);
		((uint16_t *)c->base)[at] = (uint16_t)w.i;
		break;
	case RDU_DT_I32:
	case RDU_DT_U32:
		((int32_t *)c->base)[at] = (int32_t)w.i;
		break;
	case RDU_DT_F64:
		((double *)c->base)[at] = w.f;
		break;
	case RDU_DT_F16:
		((uint16_t *)c->base)[at] = half_bits(w.f);
		break;
	case RDU_DT_U64:
		if (w.i < 0)
			trap(e, RDU_TRAP_STORE);
		((int64_t *)c->base)[at] = w.i;
		break;
	case RDU_DT_I64:
		((int64_t *)c->base)[at] = w.i;
		break;
	case RDU_DT_BF16:
		((uint16_t *)c->base)[at] = bf16_of((uint32_t)w.i);
		break;
	default:
		break;
	}
}

/* Element the access is at, or -1 when a guarded one is outside. */
static int64_t locate(struct eval *e, const struct cursor *c);

static struct word fetch(struct eval *e, int k)
{
	int64_t at = locate(e, &e->in[k]);

	return at < 0 ? e->in[k].pad : load(e, &e->in[k], at);
}

static int64_t locate(struct eval *e, const struct cursor *c)
{
	const struct access *a = c->a;
	const struct nest *n = e->n;
	int64_t at = c->offset, shift = 0;

	for (int d = 0; d < n->ndim; d++)
		at += c->step[d] * e->idx[d];
	if (a->gather_in >= 0) {
		shift = fetch(e, a->gather_in).i;
		at += shift * c->stride[a->gather_dim];
	}
	if (!a->guarded && a->gather_in < 0)
		return at;
	for (int t = 0; t < a->tensor->ndim; t++) {
		int64_t i = a->offset[t];

		for (int d = 0; d < n->ndim; d++)
			i += a->coef[t][d] * e->idx[d];
		if (a->gather_in >= 0 && a->gather_dim == t)
			i += shift;
		if (i >= 0 && i < a->tensor->dim[t])
			continue;
		if (a->gather_in >= 0 && a->gather_dim == t)
			trap(e, RDU_TRAP_INDEX);
		return -1;
	}
	return at;
}

static double sigmoid(double x)
{
	return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

static double fmax_ieee(double a, double b)
{
	if (isnan(a) || isnan(b))
		return NAN;
	if (a == b)
		return signbit(a) ? b : a;
	return a > b ? a : b;
}

/* Nearest even, saturating. */
static int64_t to_int(const struct eval *e, double f)
{
	double end = e->int64 ? 0x1p63 : 0x1p31;

	f = nearbyint(f);
	if (isnan(f))
		return 0;
	if (f >= end)
		return e->int64 ? INT64_MAX : INT32_MAX;
	if (f < -end)
		return e->int64 ? INT64_MIN : INT32_MIN;
	return (int64_t)f;
}

static struct word apply(struct eval *e, enum rdu_simd_op op, struct word a, struct word b,
			 struct word c)
{
	int64_t ia = a.i, ib = b.i;
	uint64_t ua = (uint64_t)ia, ub = (uint64_t)ib;
	unsigned int by = (unsigned int)ib & (e->int64 ? 63 : 31);

	/* clang-format off */
	switch (op) {
	case RDU_SIMD_FADD: return word_f(e, a.f + b.f);
	case RDU_SIMD_FSUB: return word_f(e, a.f - b.f);
	case RDU_SIMD_FMUL: return word_f(e, a.f * b.f);
	case RDU_SIMD_FMA:
		return word_f(e, e->fp64 || e->noise ? fma(a.f, b.f, c.f)
						     : fmaf((float)a.f, (float)b.f, (float)c.f));
	case RDU_SIMD_FMAX: return word_f(e, fmax_ieee(a.f, b.f));
	case RDU_SIMD_FMIN: return word_f(e, -fmax_ieee(-a.f, -b.f));
	case RDU_SIMD_FNEG: return word_f(e, -a.f);
	case RDU_SIMD_FABS: return word_f(e, fabs(a.f));
	case RDU_SIMD_FLT: return word_f(e, a.f < b.f);
	case RDU_SIMD_FLE: return word_f(e, a.f <= b.f);
	case RDU_SIMD_FEQ: return word_f(e, a.f == b.f);
	case RDU_SIMD_SELECT: return a.i ? b : c;
	case RDU_SIMD_IADD: return word_n(e, ua + ub);
	case RDU_SIMD_ISUB: return word_n(e, ua - ub);
	case RDU_SIMD_IMUL: return word_n(e, ua * ub);
	case RDU_SIMD_IMAX: return ia > ib ? a : b;
	case RDU_SIMD_IMIN: return ia < ib ? a : b;
	case RDU_SIMD_ILT: return word_i(ia < ib);
	case RDU_SIMD_ILE: return word_i(ia <= ib);
	case RDU_SIMD_IEQ: return word_i(ia == ib);
	case RDU_SIMD_AND: return word_n(e, ua & ub);
	case RDU_SIMD_OR: return word_n(e, ua | ub);
	case RDU_SIMD_XOR: return word_n(e, ua ^ ub);
	case RDU_SIMD_SHL: return word_n(e, ua << by);
	case RDU_SIMD_SHR: return word_n(e, (e->int64 ? ua : (uint32_t)ua) >> by);
	case RDU_SIMD_SAR: return word_i(ia >> by);
	case RDU_SIMD_IMULH:
		return word_i((int64_t)((__int128)ia * ib >> (e->int64 ? 64 : 32)));
	case RDU_SIMD_TRAP:
		if (ib && !(e->int64 && (ib == RDU_TRAP_INT64 || ib == RDU_TRAP_CONVERT)))
			trap(e, (int)ib);
		return a;
	case RDU_SIMD_EXP: return word_f(e, exp(a.f));
	case RDU_SIMD_LOG: return word_f(e, log(a.f));
	case RDU_SIMD_TANH: return word_f(e, tanh(a.f));
	case RDU_SIMD_SIGMOID: return word_f(e, sigmoid(a.f));
	case RDU_SIMD_ERF: return word_f(e, erf(a.f));
	case RDU_SIMD_RECIP: return word_f(e, 1 / a.f);
	case RDU_SIMD_RSQRT: return word_f(e, 1 / word_f(e, sqrt(a.f)).f);
	case RDU_SIMD_SQRT: return word_f(e, sqrt(a.f));
	case RDU_SIMD_SIN: return word_f(e, sin(a.f));
	case RDU_SIMD_COS: return word_f(e, cos(a.f));
	case RDU_SIMD_F2I:
		return word_i(to_int(e, a.f));
	case RDU_SIMD_I2F: return word_f(e, e->fp64 ? (double)ia : (double)(float)ia);
	case RDU_SIMD_F2BF:
	case RDU_SIMD_F2BF_SR: return word_i((int32_t)((uint32_t)bf16_of((uint32_t)a.i) << 16));
	case RDU_SIMD_F2H: return word_f(e, half_value(half_bits(a.f)));
	case RDU_SIMD_RNG: return word_i((int32_t)rdu_rng((uint32_t)a.i, (uint32_t)b.i));
	case RDU_SIMD_FLOOR: return word_f(e, floor(a.f));
	case RDU_SIMD_CEIL: return word_f(e, ceil(a.f));
	case RDU_SIMD_ROUND: return word_f(e, nearbyint(a.f));
	default:
		return word_i(0);
	}
	/* clang-format on */
}

/* Place in a nest's dimensions, without the one that a number is carried along. */
static int64_t carried_place(const struct eval *e, int along)
{
	int64_t at = 0;

	for (int d = 0; d < e->n->ndim; d++)
		if (d != along)
			at = at * e->n->dim[d].extent + e->idx[d];
	return at;
}

static struct word carry(struct eval *e, const struct expr *x)
{
	struct word *at = &e->carried[carried_place(e, x->arg[2])];

	if (!e->idx[x->arg[2]])
		*at = word_i(0);
	return *at = apply(e, RDU_SIMD_FMA, *at, e->v[x->arg[0]], e->v[x->arg[1]]);
}

static void compute(struct eval *e, const bool *want, struct word red)
{
	const struct nest *n = e->n;
	const struct word none = { 0, 0 };

	for (int i = 0; i < n->num_expr; i++) {
		const struct expr *x = &n->expr[i];

		if (!want[i])
			continue;
		switch (x->kind) {
		case EXPR_IN:
			e->v[i] = fetch(e, x->arg[0]);
			if (e->round_bf16[x->arg[0]] && want == e->in_body)
				e->v[i] = word_f(e, bf16_round((float)e->v[i].f));
			break;
		case EXPR_IMM:
			e->v[i] = word_i((int32_t)x->imm);
			break;
		case EXPR_LIVE:
			e->v[i] = word_i(1);
			break;
		case EXPR_INDEX:
			e->v[i] = word_i(e->idx[x->arg[0]]);
			break;
		case EXPR_RED:
			e->v[i] = red;
			break;
		case EXPR_CARRY:
			e->v[i] = carry(e, x);
			break;
		case EXPR_OP:
			e->v[i] = apply(e, x->op, x->arg[0] < 0 ? none : e->v[x->arg[0]],
					x->arg[1] < 0 ? none : e->v[x->arg[1]],
					x->arg[2] < 0 ? none : e->v[x->arg[2]]);
			break;
		}
	}
}

static void mark(const struct nest *n, int i, bool *seen)
{
	if (i < 0 || seen[i])
		return;
	seen[i] = true;
	for (int k = 0; k < 3 && n->expr[i].kind == EXPR_OP; k++)
		mark(n, n->expr[i].arg[k], seen);
	for (int k = 0; k < 2 && n->expr[i].kind == EXPR_CARRY; k++)
		mark(n, n->expr[i].arg[k], seen);
}

/* Step the dimensions that are (not) reductions; false when all are done. */
static bool step(struct eval *e, bool reduce)
{
	for (int d = e->n->ndim - 1; d >= 0; d--) {
		if (e->n->dim[d].reduce != reduce)
			continue;
		if (++e->idx[d] < e->n->dim[d].extent)
			return true;
		e->idx[d] = 0;
	}
	return false;
}

static bool is_contraction(const struct nest *n)
{
	const struct expr *b = n->body < 0 ? NULL : &n->expr[n->body];

	return b && n->reduce == REDUCE_ADD && b->kind == EXPR_OP && b->op == RDU_SIMD_FMUL &&
	       n->expr[b->arg[0]].kind == EXPR_IN && n->expr[b->arg[1]].kind == EXPR_IN;
}

/*
 * Contraction of two fp32 inputs, each tensor dimension of which follows at most
 * one reduction dimension when guarded: clip each reduction's range, then loop
 * without tests.
 */
struct contraction {
	int num; /* reduction dimensions, outermost first */
	int dim[NEST_MAX_DIMS];
	const struct cursor *c[2];
};

static bool contraction_plan(struct eval *e, struct contraction *p)
{
	const struct nest *n = e->n;
	const struct expr *b = &n->expr[n->body];

	p->num = 0;
	for (int d = 0; d < n->ndim; d++)
		if (n->dim[d].reduce)
			p->dim[p->num++] = d;
	for (int k = 0; k < 2; k++) {
		const struct cursor *c = &e->in[n->expr[b->arg[k]].arg[0]];

		if (c->dtype != RDU_DT_F32 || c->a->gather_in >= 0)
			return false;
		for (int t = 0; t < c->a->tensor->ndim && c->a->guarded; t++) {
			int follows = 0;

			for (int r = 0; r < p->num; r++)
				follows += c->a->coef[t][p->dim[r]] != 0;
			if (follows > 1 || c->a->pad)
				return false;
		}
		p->c[k] = c;
	}
	return true;
}

static float contract(struct eval *e, const struct contraction *p)
{
	const struct nest *n = e->n;
	int64_t lo[NEST_MAX_DIMS], hi[NEST_MAX_DIMS], at[2], idx[NEST_MAX_DIMS];
	const float *a = (const float *)p->c[0]->base, *b = (const float *)p->c[1]->base;
	int last = p->num - 1;
	float sum = 0;

	for (int r = 0; r < p->num; r++) {
		lo[r] = 0;
		hi[r] = n->dim[p->dim[r]].extent;
	}
	for (int k = 0; k < 2; k++) {
		const struct access *x = p->c[k]->a;

		at[k] = p->c[k]->offset;
		for (int d = 0; d < n->ndim; d++)
			if (!n->dim[d].reduce)
				at[k] += p->c[k]->step[d] * e->idx[d];
		for (int t = 0; t < x->tensor->ndim && x->guarded; t++) {
			int64_t base = x->offset[t];
			int64_t size = x->tensor->dim[t];
			int follows = -1;

			for (int d = 0; d < n->ndim; d++)
				if (!n->dim[d].reduce)
					base += x->coef[t][d] * e->idx[d];
			for (int r = 0; r < p->num; r++)
				if (x->coef[t][p->dim[r]])
					follows = r;
			if (follows < 0) {
				if (base < 0 || base >= size)
					return 0;
				continue;
			}
			for (int64_t c = x->coef[t][p->dim[follows]];;) {
				/* 0 <= base + c * i < size */
				while (lo[follows] < hi[follows] &&
				       (base + c * lo[follows] < 0 ||
					base + c * lo[follows] >= size))
					lo[follows]++;
				while (lo[follows] < hi[follows] &&
				       (base + c * (hi[follows] - 1) < 0 ||
					base + c * (hi[follows] - 1) >= size))
					hi[follows]--;
				break;
			}
		}
	}
	for (int r = 0; r < p->num; r++) {
		if (lo[r] >= hi[r])
			return 0;
		idx[r] = lo[r];
		at[0] += p->c[0]->step[p->dim[r]] * lo[r];
		at[1] += p->c[1]->step[p->dim[r]] * lo[r];
	}
	for (;;) {
		int64_t s0 = p->c[0]->step[p->dim[last]], s1 = p->c[1]->step[p->dim[last]];
		int64_t i0 = at[0], i1 = at[1];
		int r;

		if (e->bf16)
			for (int64_t i = lo[last]; i < hi[last]; i++, i0 += s0, i1 += s1)
				sum = fmaf(bf16_round(a[i0]), bf16_round(b[i1]), sum);
		else
			for (int64_t i = lo[last]; i < hi[last]; i++, i0 += s0, i1 += s1)
				sum += a[i0] * b[i1];
		for (r = last - 1; r >= 0; r--) {
			const int64_t *t0 = p->c[0]->step, *t1 = p->c[1]->step;
			int d = p->dim[r];

			at[0] += t0[d];
			at[1] += t1[d];
			if (++idx[r] < hi[r])
				break;
			idx[r] = lo[r];
			at[0] -= t0[d] * (hi[r] - lo[r]);
			at[1] -= t1[d] * (hi[r] - lo[r]);
		}
		if (r < 0)
			return sum;
	}
}

enum eval_kind { EVAL_CARD, EVAL_BF16, EVAL_WIDE, EVAL_FOLD };

static bool has_type(const struct nest *n, enum rdu_dtype t)
{
	for (int k = 0; k < n->num_in; k++)
		if (n->in[k].tensor->dtype == t)
			return true;
	for (int k = 0; k < n->num_out; k++)
		if (n->out[k].access.tensor->dtype == t)
			return true;
	return false;
}

static int eval(const struct nest *n, void **data, enum eval_kind kind, uint64_t *noise)
{
	bool bf16 = kind == EVAL_BF16, wide = kind == EVAL_WIDE;
	struct eval *e = xcalloc(1, sizeof(*e));
	struct contraction plan = { 0 };
	bool fast = false;
	int why;

	e->n = n;
	e->int64 = kind == EVAL_FOLD && (has_type(n, RDU_DT_I64) || has_type(n, RDU_DT_U64));
	e->wide = wide;
	/* A sum of the millions of numbers that a constant may have is not to lose any on the way. */
	e->fp64 = wide || (kind == EVAL_FOLD && (has_type(n, RDU_DT_F64) ||
						 (n->reduce == REDUCE_ADD && !is_contraction(n))));
	e->bf16 = bf16;
	e->noise = noise;
	for (int k = 0; k < n->num_in; k++)
		cursor_init(&e->in[k], n, &n->in[k], data);
	for (int k = 0; k < n->num_out; k++) {
		cursor_init(&e->out[k], n, &n->out[k].access, data);
		mark(n, n->out[k].expr, e->in_epilogue);
	}
	mark(n, n->body, e->in_body);
	if (nest_carried(n) >= 0) {
		for (int d = 0; d < n->ndim; d++)
			e->idx[d] = n->dim[d].extent - 1;
		e->carried =
			xcalloc((size_t)carried_place(e, nest_carried(n)) + 1, sizeof(*e->carried));
		memset(e->idx, 0, sizeof(e->idx));
	}
	if (is_contraction(n)) {
		fast = !e->fp64 && !noise && contraction_plan(e, &plan);
		for (int k = 0; k < 2 && bf16; k++)
			e->round_bf16[n->expr[n->expr[n->body].arg[k]].arg[0]] = true;
	}
	do {
		struct word red = { 0, 0 };
		bool first = true;

		if (fast) {
			red = word_f(e, contract(e, &plan));
		} else if (n->body >= 0) {
			do {
				struct word v;

				compute(e, e->in_body, red);
				v = e->v[n->body];
				if (n->reduce == REDUCE_ADD)
					red = word_f(e, (first ? 0 : red.f) + v.f);
				else if (first)
					red = v;
				else if (n->reduce == REDUCE_IADD)
					red = apply(e, RDU_SIMD_IADD, red, v, v);
				else
					red = apply(e,
						    n->reduce == REDUCE_MAX ? RDU_SIMD_FMAX
									    : RDU_SIMD_FMIN,
						    red, v, v);
				first = false;
			} while (step(e, true));
		}
		compute(e, e->in_epilogue, red);
		for (int k = 0; k < n->num_out; k++) {
			int64_t at = locate(e, &e->out[k]);

			if (at >= 0)
				store(e, &e->out[k], at, e->v[n->out[k].expr], n->out[k].add);
		}
	} while (step(e, false));
	why = e->trap;
	free(e->carried);
	free(e);
	return why;
}

int nest_eval(const struct nest *n, void **data, bool bf16)
{
	return eval(n, data, bf16 ? EVAL_BF16 : EVAL_CARD, NULL);
}

int nest_eval_noisy(const struct nest *n, void **data, bool bf16, uint64_t *state)
{
	return eval(n, data, bf16 ? EVAL_BF16 : EVAL_CARD, state);
}

void nest_eval_wide(const struct nest *n, void **data)
{
	eval(n, data, EVAL_WIDE, NULL);
}

int nest_eval_fold(const struct nest *n, void **data)
{
	return eval(n, data, EVAL_FOLD, NULL);
}

const char *nest_trap_text(int why)
{
	switch (why) {
#define TRAP(n, v, t) \
	case v:       \
		return t;
		RDU_TRAPS(TRAP)
#undef TRAP
	}
	return "?";
}

/* Rows that nests `from` to `to` - 1, as far as they are right in that loop, use in iteration i. */
static void bind_rows(const struct module_entry *e, int loop, int from, int to, int64_t i,
		      void **data)
{
	for (int k = from; k < to; k++) {
		const struct nest *n = e->nests[k];

		for (int a = 0; n->loop == loop && a < n->num_in + n->num_out; a++) {
			struct tensor *t =
				tensor_storage(a < n->num_in ? n->in[a].tensor
							     : n->out[a - n->num_in].access.tensor);
			int64_t bytes = dtype_bytes(t->dtype);

			if (!t->row_of)
				continue;
			for (int d = 0; d < t->ndim; d++)
				bytes *= t->dim[d];
			data[t->id] =
				(char *)data[tensor_storage(t->row_of)->id] + (t->row + i) * bytes;
		}
	}
}

/* An iteration of a loop, the nests `from` to `to` - 1, and of those in it as many as they have. */
static int eval_loop(const struct module_entry *e, int loop, int from, int to, int64_t i,
		     void **data, bool bf16)
{
	int why = 0;

	bind_rows(e, loop, from, to, i, data);
	for (int k = from, last; k < to && !why; k = last + 1) {
		int in = e->nests[k]->loop;

		last = k;
		if (in == loop) {
			why = nest_eval(e->nests[k], data, bf16);
			continue;
		}
		in = loop_below(e, in, loop);
		loop_nests(e, in, k, &k, &last);
		for (int64_t j = 0; j < e->loop[in - 1].trip && !why; j++)
			why = eval_loop(e, in, k, last + 1, j, data, bf16);
	}
	return why;
}

int module_entry_eval(const struct module_entry *e, void **data, bool bf16)
{
	int num = module_entry_ids(e), why;
	void **own = xmalloc(((size_t)num + 1) * sizeof(*own));

	/* Rows have no memory of their own: what the caller gave them is put back. */
	memcpy(own, data, (size_t)num * sizeof(*own));
	why = eval_loop(e, 0, 0, e->num_nests, 0, data, bf16);
	memcpy(data, own, (size_t)num * sizeof(*own));
	free(own);
	return why;
}
