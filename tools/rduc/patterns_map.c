// SPDX-License-Identifier: MIT
/*
 * Operators that compute each element from the elements at the same place
 * (with broadcasting): the expression, and the expression of the gradient.
 *
 * Division is multiplication with the reciprocal (functions.c scales both where that
 * would not be a normal number): up to two roundings, where IEEE division has one. Pow is
 * exact for exponents 1, 2, 3, 0.5 and -1, else exp(b * log|a|).
 */
#include <float.h>
#include <math.h>
#include <string.h>
#include "graph.h"
#include "map.h"

struct map_ctx {
	struct lower *l;
	struct node *n; /* the operator, for its attributes */
	struct nest *nest;
	struct value **in;
	int num_in;
	struct value *y, *g;
	bool integer;
	int ndim, dims[RDU_MAX_DIMS];
	int expr[NEST_MAX_IN + 2]; /* -1: not made yet */
	bool full; /* an input too many */
};

/* ---- words for writing expressions ---------------------------------------- */

static int access_value(struct map_ctx *c, struct value *v)
{
	bool folds = values_constant(c->num_in, c->in);
	struct value *bytes = folds ? NULL : value_as_bytes(c->l->graph, v);
	int k;

	if (bytes && lower_bytes(c->l, v))
		return nest_op(c->nest, RDU_SIMD_I2F, access_value(c, bytes), -1, -1);
	/* One that is another as a word stays a tensor: folding computes with it, the card
	 * is not given what does not fit (graph_patterns). */
	if (v->constant && v->data && value_count(v) == 1 && value_fits_word(v, 0) &&
	    v->dtype != RDU_DT_U32 &&
	    (v->dtype != RDU_DT_F64 || (float)value_real(v, 0) == value_real(v, 0)))
		return nest_imm_i(c->nest, (int32_t)value_word(v, 0));
	for (k = 0; k < c->nest->num_in; k++) /* x * x reads x once */
		if (c->nest->in[k].tensor == v->tensor && v->tensor)
			return nest_in(c->nest, k);
	k = nest_input(c->nest, lower_value(c->l, v));
	if (k < 0) {
		c->full = true;
		return -1;
	}
	access_broadcast(&c->nest->in[k], c->ndim, c->dims);
	return nest_in(c->nest, k);
}

static int A(struct map_ctx *c, int k)
{
	if (c->expr[k] < 0)
		c->expr[k] = access_value(c, c->in[k]);
	return c->expr[k];
}

static int Y(struct map_ctx *c)
{
	return access_value(c, c->y);
}

static int G(struct map_ctx *c)
{
	return access_value(c, c->g);
}

static int F(struct map_ctx *c, float v)
{
	return nest_imm_f(c->nest, v);
}

static int I(struct map_ctx *c, int32_t v)
{
	return nest_imm_i(c->nest, v);
}

#define OP1(op, a) nest_op(c->nest, RDU_SIMD_##op, a, -1, -1)
#define OP2(op, a, b) nest_op(c->nest, RDU_SIMD_##op, a, b, -1)
#define OP3(op, a, b, d) nest_op(c->nest, RDU_SIMD_##op, a, b, d)
#define ADD(a, b) OP2(FADD, a, b)
#define SUB(a, b) OP2(FSUB, a, b)
#define MUL(a, b) OP2(FMUL, a, b)
#define LT(a, b) OP2(FLT, a, b)
#define LE(a, b) OP2(FLE, a, b)
#define SELECT(p, a, b) OP3(SELECT, p, a, b)
#define ALPHA(d) attr_f(c->n, "alpha", d)
#define BETA(d) attr_f(c->n, "beta", d)
#define GAMMA(d) attr_f(c->n, "gamma", d)

/* EXPR(name) { return expression; } and GRAD(name) { ... } */
#define EXPR(name) static int name##_expr(struct map_ctx *c)
#define GRAD(name) static int name##_grad(struct map_ctx *c, __attribute__((unused)) int which)

static int negative(struct map_ctx *c, int x)
{
	return LT(x, F(c, 0));
}

/* Integers, as their type has them (integers.c). */
static int int_less(struct map_ctx *c, enum rdu_simd_op op, int a, int b)
{
	enum rdu_dtype t = c->in[0]->dtype;

	return nest_op(c->nest, op, expr_ordered(c->nest, t, a), expr_ordered(c->nest, t, b), -1);
}

/* The greater or smaller of two integers. */
static int int_extreme(struct map_ctx *c, enum rdu_simd_op op, int a, int b)
{
	return expr_ordered(c->nest, c->in[0]->dtype, int_less(c, op, a, b));
}

static int wrap(struct map_ctx *c, enum rdu_dtype t, int x)
{
	return expr_wrap(c->nest, t, x);
}

static int arithmetic(struct map_ctx *c, enum rdu_dtype t, enum rdu_simd_op op, int a, int b)
{
	return expr_arithmetic(c->nest, t, op, a, b);
}

static int truth(struct map_ctx *c, int e) /* a float comparison as bool */
{
	return SELECT(e, I(c, 1), I(c, 0));
}

static int truncate(struct map_ctx *c, int x)
{
	return SELECT(negative(c, x), OP1(CEIL, x), OP1(FLOOR, x));
}

/* An expression a line. */
/* clang-format off */

/* ---- one argument ---------------------------------------------------------- */

GRAD(identity) { return G(c); }
static int minus(struct map_ctx *c)
{
	return arithmetic(c, c->in[0]->dtype, RDU_SIMD_ISUB, I(c, 0), A(c, 0));
}
EXPR(neg) { return c->integer ? minus(c) : OP1(FNEG, A(c, 0)); }
GRAD(neg) { return OP1(FNEG, G(c)); }
EXPR(abs)
{
	if (dtype_is_unsigned(c->in[0]->dtype))
		return A(c, 0);
	return c->integer ? SELECT(OP2(ILT, A(c, 0), I(c, 0)), minus(c), A(c, 0))
			  : OP1(FABS, A(c, 0));
}
GRAD(abs)
{
	return SELECT(negative(c, A(c, 0)), OP1(FNEG, G(c)),
		      SELECT(LT(F(c, 0), A(c, 0)), G(c), F(c, 0)));
}
EXPR(sqrt) { return OP1(SQRT, A(c, 0)); }
GRAD(sqrt) { return MUL(G(c), MUL(F(c, 0.5f), OP1(RECIP, Y(c)))); }
EXPR(exp) { return OP1(EXP, A(c, 0)); }
GRAD(exp) { return MUL(G(c), Y(c)); }
EXPR(log) { return OP1(LOG, A(c, 0)); }
GRAD(log) { return expr_divide(c->nest, G(c), A(c, 0)); }
EXPR(tanh) { return OP1(TANH, A(c, 0)); }
GRAD(tanh) { return MUL(G(c), SUB(F(c, 1), MUL(Y(c), Y(c)))); }
EXPR(sigmoid) { return OP1(SIGMOID, A(c, 0)); }
GRAD(sigmoid) { return MUL(G(c), MUL(Y(c), SUB(F(c, 1), Y(c)))); }
EXPR(erf) { return OP1(ERF, A(c, 0)); }
GRAD(erf)
{
	return MUL(G(c), MUL(F(c, 1.1283791671f), OP1(EXP, OP1(FNEG, MUL(A(c, 0), A(c, 0))))));
}
EXPR(reciprocal) { return OP1(RECIP, A(c, 0)); }
GRAD(reciprocal) { return MUL(G(c), OP1(FNEG, MUL(Y(c), Y(c)))); }
EXPR(relu)
{
	if (dtype_is_unsigned(c->in[0]->dtype))
		return A(c, 0);
	return c->integer ? OP2(IMAX, A(c, 0), I(c, 0)) : OP2(FMAX, A(c, 0), F(c, 0));
}
/* From the result, not the argument: the argument need not be kept. */
GRAD(relu) { return SELECT(LE(Y(c), F(c, 0)), F(c, 0), G(c)); }
EXPR(leaky_relu)
{
	return SELECT(negative(c, A(c, 0)), MUL(F(c, ALPHA(0.01f)), A(c, 0)), A(c, 0));
}
GRAD(leaky_relu)
{
	return SELECT(LT(F(c, 0), A(c, 0)), G(c), MUL(F(c, ALPHA(0.01f)), G(c)));
}
EXPR(elu)
{
	return SELECT(negative(c, A(c, 0)),
		      MUL(F(c, ALPHA(1)), expr_expm1(c->nest, A(c, 0))), A(c, 0));
}
GRAD(elu)
{
	return SELECT(LE(A(c, 0), F(c, 0)), MUL(G(c), MUL(F(c, ALPHA(1)), OP1(EXP, A(c, 0)))),
		      G(c));
}
EXPR(celu)
{
	float a = ALPHA(1);
	int z = MUL(A(c, 0), F(c, 1 / a)), e;

	if (a >= 0)
		e = expr_expm1(c->nest, z);
	else /* e^z - 1 = (1 - e^-z) e^z */
		e = MUL(OP1(FNEG, expr_expm1(c->nest, OP1(FNEG, z))), OP1(EXP, z));
	return SELECT(negative(c, A(c, 0)), MUL(F(c, a), e), A(c, 0));
}
GRAD(celu)
{
	return SELECT(negative(c, A(c, 0)),
		      MUL(G(c), OP1(EXP, MUL(A(c, 0), F(c, 1 / ALPHA(1))))), G(c));
}
#define SELU_ALPHA ALPHA(1.67326319217681884765625f)
#define SELU_GAMMA GAMMA(1.05070102214813232421875f)
EXPR(selu)
{
	return MUL(F(c, SELU_GAMMA),
		   SELECT(LE(A(c, 0), F(c, 0)),
			  MUL(F(c, SELU_ALPHA), expr_expm1(c->nest, A(c, 0))), A(c, 0)));
}
GRAD(selu)
{
	return MUL(G(c), SELECT(LE(A(c, 0), F(c, 0)),
				MUL(F(c, SELU_GAMMA * SELU_ALPHA), OP1(EXP, A(c, 0))),
				F(c, SELU_GAMMA)));
}
EXPR(softplus) { return expr_softplus(c->nest, A(c, 0)); }
GRAD(softplus) { return MUL(G(c), OP1(SIGMOID, A(c, 0))); }
EXPR(softsign) { return expr_softsign(c->nest, A(c, 0)); }
GRAD(softsign)
{
	int r = OP1(RECIP, ADD(F(c, 1), OP1(FABS, A(c, 0))));

	return MUL(G(c), MUL(r, r));
}
static int unit_clip(struct map_ctx *c, int x)
{
	return OP2(FMAX, F(c, 0), OP2(FMIN, F(c, 1), x));
}
EXPR(hard_sigmoid)
{
	return unit_clip(c, ADD(MUL(F(c, ALPHA(0.2f)), A(c, 0)), F(c, BETA(0.5f))));
}
GRAD(hard_sigmoid)
{
	int inside = LT(F(c, 0), Y(c));

	return SELECT(inside, SELECT(LT(Y(c), F(c, 1)), MUL(F(c, ALPHA(0.2f)), G(c)), F(c, 0)),
		      F(c, 0));
}
EXPR(hard_swish)
{
	return MUL(A(c, 0), unit_clip(c, ADD(MUL(F(c, 1.0f / 6), A(c, 0)), F(c, 0.5f))));
}
GRAD(hard_swish)
{
	int x = A(c, 0), d = ADD(MUL(F(c, 1.0f / 3), x), F(c, 0.5f));

	return MUL(G(c), SELECT(LE(x, F(c, -3)), F(c, 0), SELECT(LE(F(c, 3), x), F(c, 1), d)));
}
EXPR(thresholded_relu)
{
	return SELECT(LT(F(c, ALPHA(1)), A(c, 0)), A(c, 0), F(c, 0));
}
GRAD(thresholded_relu) { return SELECT(LT(F(c, ALPHA(1)), A(c, 0)), G(c), F(c, 0)); }
static int normal_cdf(struct map_ctx *c)
{
	return MUL(F(c, 0.5f), ADD(F(c, 1), OP1(ERF, MUL(A(c, 0), F(c, 0.70710678f)))));
}
/* 0.5 x (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3) */
static int gelu_tanh(struct map_ctx *c)
{
	int x = A(c, 0), x2 = MUL(x, x);

	return OP1(SIGMOID, MUL(MUL(F(c, 1.5957691216f), x),
				ADD(F(c, 1), MUL(F(c, 0.044715f), x2))));
}
static bool gelu_approximate(struct map_ctx *c)
{
	return !strcmp(attr_s(c->n, "approximate", "none"), "tanh");
}
EXPR(gelu) { return MUL(A(c, 0), gelu_approximate(c) ? gelu_tanh(c) : normal_cdf(c)); }
GRAD(gelu)
{
	int x = A(c, 0), x2 = MUL(x, x), s, du, pdf;

	if (gelu_approximate(c)) {
		s = gelu_tanh(c);
		du = MUL(F(c, 1.5957691216f), ADD(F(c, 1), MUL(F(c, 3 * 0.044715f), x2)));
		return MUL(G(c), ADD(s, MUL(MUL(x, du), MUL(s, SUB(F(c, 1), s)))));
	}
	pdf = MUL(F(c, 0.39894228f), OP1(EXP, MUL(F(c, -0.5f), x2)));
	return MUL(G(c), ADD(normal_cdf(c), MUL(x, pdf)));
}
EXPR(mish) { return MUL(A(c, 0), OP1(TANH, expr_softplus(c->nest, A(c, 0)))); }
GRAD(mish)
{
	int x = A(c, 0), t = OP1(TANH, expr_softplus(c->nest, x));

	return MUL(G(c), ADD(t, MUL(MUL(x, OP1(SIGMOID, x)), SUB(F(c, 1), MUL(t, t)))));
}
EXPR(sin) { return OP1(SIN, A(c, 0)); }
GRAD(sin) { return MUL(G(c), OP1(COS, A(c, 0))); }
EXPR(cos) { return OP1(COS, A(c, 0)); }
GRAD(cos) { return MUL(G(c), OP1(FNEG, OP1(SIN, A(c, 0)))); }
EXPR(tan) { return MUL(OP1(SIN, A(c, 0)), OP1(RECIP, OP1(COS, A(c, 0)))); }
GRAD(tan) { return MUL(G(c), ADD(F(c, 1), MUL(Y(c), Y(c)))); }
EXPR(sinh) { return expr_sinh(c->nest, A(c, 0)); }
GRAD(sinh) { return MUL(G(c), expr_cosh(c->nest, A(c, 0))); }
EXPR(cosh) { return expr_cosh(c->nest, A(c, 0)); }
GRAD(cosh) { return MUL(G(c), expr_sinh(c->nest, A(c, 0))); }
EXPR(asinh) { return expr_asinh(c->nest, A(c, 0)); }
GRAD(asinh) { return MUL(G(c), expr_asinh_slope(c->nest, A(c, 0))); }
EXPR(acosh) { return expr_acosh(c->nest, A(c, 0)); }
GRAD(acosh)
{
	int x = A(c, 0);

	return MUL(G(c), MUL(OP1(RSQRT, SUB(x, F(c, 1))), OP1(RSQRT, ADD(x, F(c, 1)))));
}
EXPR(atanh) { return expr_atanh(c->nest, A(c, 0)); }
GRAD(atanh)
{
	int x = A(c, 0);

	return MUL(G(c), MUL(OP1(RECIP, SUB(F(c, 1), x)), OP1(RECIP, ADD(F(c, 1), x))));
}
EXPR(atan) { return expr_atan(c->nest, A(c, 0)); }
GRAD(atan) { return MUL(G(c), expr_atan_slope(c->nest, A(c, 0))); }
EXPR(asin) { return expr_asin(c->nest, A(c, 0)); }
GRAD(asin) { return MUL(G(c), expr_asin_slope(c->nest, A(c, 0))); }
EXPR(acos) { return expr_acos(c->nest, A(c, 0)); }
GRAD(acos) { return OP1(FNEG, MUL(G(c), expr_asin_slope(c->nest, A(c, 0)))); }
EXPR(shrink)
{
	int x = A(c, 0), limit = F(c, attr_f(c->n, "lambd", 0.5f)), bias = F(c, attr_f(c->n, "bias", 0));

	return SELECT(LT(x, OP1(FNEG, limit)), ADD(x, bias),
		      SELECT(LT(limit, x), SUB(x, bias), F(c, 0)));
}
GRAD(shrink)
{
	return SELECT(LT(F(c, attr_f(c->n, "lambd", 0.5f)), OP1(FABS, A(c, 0))), G(c), F(c, 0));
}
EXPR(is_inf)
{
	int x = A(c, 0), inf = F(c, INFINITY), down = F(c, -INFINITY), r = I(c, 0);

	if (attr_i(c->n, "detect_positive", 1))
		r = SELECT(OP2(FEQ, x, inf), I(c, 1), r);
	if (attr_i(c->n, "detect_negative", 1))
		r = SELECT(OP2(FEQ, x, down), I(c, 1), r);
	return r;
}
EXPR(floor) { return OP1(FLOOR, A(c, 0)); }
EXPR(ceil) { return OP1(CEIL, A(c, 0)); }
EXPR(round) { return OP1(ROUND, A(c, 0)); }
EXPR(sign)
{
	if (dtype_is_unsigned(c->in[0]->dtype))
		return SELECT(A(c, 0), I(c, 1), I(c, 0));
	if (c->integer)
		return OP2(IMAX, I(c, -1), OP2(IMIN, I(c, 1), A(c, 0)));
	return SELECT(OP2(FEQ, A(c, 0), A(c, 0)),
		      SELECT(negative(c, A(c, 0)), F(c, -1), LT(F(c, 0), A(c, 0))), A(c, 0));
}
EXPR(is_nan) { return SELECT(OP2(FEQ, A(c, 0), A(c, 0)), I(c, 0), I(c, 1)); }
EXPR(not) { return OP2(IEQ, A(c, 0), I(c, 0)); }

EXPR(clip)
{
	struct attr *lo = node_attr(c->n, "min"), *hi = node_attr(c->n, "max"); /* opset < 11 */
	/* A limit that is not given is the type's largest finite number, not an infinity. */
	float most = c->in[0]->dtype == RDU_DT_BF16  ? 0x1.fep127f
		     : c->in[0]->dtype == RDU_DT_F16 ? 65504
		     : c->in[0]->dtype == RDU_DT_F64 ? INFINITY /* beyond fp32's numbers */
						     : FLT_MAX;
	int x = A(c, 0);

	if (c->integer) {
		if (c->num_in > 1 && c->in[1])
			x = int_extreme(c, RDU_SIMD_IMAX, x, A(c, 1));
		if (c->num_in > 2 && c->in[2])
			x = int_extreme(c, RDU_SIMD_IMIN, x, A(c, 2));
		return x;
	}
	if (c->num_in > 1 && c->in[1])
		x = OP2(FMAX, x, A(c, 1));
	else
		x = OP2(FMAX, x, F(c, lo ? lo->f : -most));
	if (c->num_in > 2 && c->in[2])
		x = OP2(FMIN, x, A(c, 2));
	else
		x = OP2(FMIN, x, F(c, hi ? hi->f : most));
	return x;
}
/*
 * The argument from the lower to the upper limit, ends included; a limit beyond it,
 * of two that contradict each other the upper one.
 */
GRAD(clip)
{
	struct attr *min = node_attr(c->n, "min"), *max = node_attr(c->n, "max");
	int x = A(c, 0), g = G(c), zero = F(c, 0), lo = -1, hi = -1;

	if (c->num_in > 1 && c->in[1])
		lo = A(c, 1);
	else if (min)
		lo = F(c, min->f);
	if (c->num_in > 2 && c->in[2])
		hi = A(c, 2);
	else if (max)
		hi = F(c, max->f);
	if (which == 1) {
		g = SELECT(LT(x, lo), g, zero);
		return hi < 0 ? g : SELECT(LT(lo, hi), g, zero);
	}
	if (which == 2) {
		zero = lo < 0 ? zero : SELECT(LT(hi, lo), g, zero);
		return SELECT(LT(hi, x), g, zero);
	}
	if (lo >= 0)
		g = SELECT(LE(lo, x), g, zero);
	return hi < 0 ? g : SELECT(LE(x, hi), g, zero);
}

static enum power_rounding power_rounding(const struct node *n)
{
	const char *mode = attr_s(n, "round_mode", "up");

	return *mode == 'u' ? POWER_UP : *mode == 'd' ? POWER_DOWN : POWER_NEAREST;
}
EXPR(cast)
{
	enum rdu_dtype from = c->in[0]->dtype, to = c->y->dtype;
	int x = A(c, 0);

	if (dtype_is_code(from)) {
		x = expr_of_small_float(c->nest, from, x);
		from = RDU_DT_F32;
	} else if (dtype_is_small(from)) {
		x = expr_in_range(c->nest, from, x);
	}
	if (dtype_is_code(to))
		return expr_to_small_float(c->nest, to, dtype_is_int(from) ? expr_to_float(c->nest, from, x) : x,
					   attr_i(c->n, "saturate", 1), power_rounding(c->n));
	if (!dtype_is_int(from)) {
		if (!dtype_is_int(to))
			return x;
		if (to == RDU_DT_BOOL)
			return SELECT(OP2(FEQ, x, F(c, 0)), I(c, 0), I(c, 1));
		return expr_to_integer(c->nest, to, truncate(c, x));
	}
	if (!dtype_is_int(to))
		return expr_to_float(c->nest, from, x);
	if (to == RDU_DT_BOOL)
		return OP2(IEQ, OP2(IEQ, x, I(c, 0)), I(c, 0));
	return expr_to_other(c->nest, from, to, x);
}
GRAD(cast) { return G(c); }
/* Of whole numbers that the type holds, or NaN. */
EXPR(cast_whole)
{
	int unequal = OP2(IEQ, OP2(FEQ, A(c, 0), A(c, 0)), I(c, 0));

	return nest_trap(c->nest, OP1(F2I, A(c, 0)), unequal, RDU_TRAP_STORE);
}

/* ---- several ---------------------------------------------------------------- */

static int fold_args(struct map_ctx *c, enum rdu_simd_op fop, enum rdu_simd_op iop)
{
	int x = A(c, 0);

	for (int k = 1; k < c->num_in; k++) {
		if (!c->integer)
			x = nest_op(c->nest, fop, x, A(c, k), -1);
		else if (iop == RDU_SIMD_IMAX || iop == RDU_SIMD_IMIN)
			x = int_extreme(c, iop, x, A(c, k));
		else
			x = arithmetic(c, c->in[0]->dtype, iop, x, A(c, k));
	}
	return x;
}

EXPR(add) { return fold_args(c, RDU_SIMD_FADD, RDU_SIMD_IADD); }
GRAD(add) { return G(c); }
EXPR(sub) { return fold_args(c, RDU_SIMD_FSUB, RDU_SIMD_ISUB); }
GRAD(sub) { return which ? OP1(FNEG, G(c)) : G(c); }
EXPR(mul) { return fold_args(c, RDU_SIMD_FMUL, RDU_SIMD_IMUL); }
GRAD(mul) { return MUL(G(c), A(c, !which)); }
/* Has every element of b a reciprocal that is normal, as far as can be told? */
static bool easy_divisor(const struct value *b)
{
	const struct node *p = b->producer;

	if (b->constant && b->data) {
		for (int64_t i = 0; i < value_count(b); i++)
			if (!reciprocal_is_normal((float)value_real(b, i)))
				return false;
		return true;
	}
	if (!p)
		return false;
	return !strcmp(p->op->name, "Sqrt") || !strcmp(p->op->name, "ReduceL2") ||
	       (!strcmp(p->op->name, "Cast") && dtype_is_int(p->in[0]->dtype));
}
static int quotient(struct map_ctx *c, int a, int k)
{
	struct value *b = c->in[k];

	if (!easy_divisor(b))
		return expr_divide(c->nest, a, A(c, k));
	if (b->constant && b->data && value_count(b) == 1)
		return MUL(a, F(c, 1 / (float)value_real(b, 0))); /* a power of two's is exact */
	return MUL(a, OP1(RECIP, A(c, k)));
}
/* r, unless the divisor is 0: that stops the card. */
static int unless_zero(struct map_ctx *c, int r)
{
	return nest_trap(c->nest, r, OP2(IEQ, A(c, 1), I(c, 0)), RDU_TRAP_DIVIDE);
}
EXPR(div)
{
	enum rdu_dtype t = c->in[0]->dtype;
	int q, r, bad;

	if (!c->integer)
		return quotient(c, A(c, 0), 1);
	if (t == RDU_DT_U32)
		return unless_zero(c, expr_uint_divide(c->nest, A(c, 0), A(c, 1), &r));
	q = expr_int_divide(c->nest, A(c, 0), A(c, 1), &r);
	if (t == RDU_DT_I64) { /* the only quotient beyond 32 bits: -2^31 / -1 */
		bad = OP2(AND, OP2(IEQ, A(c, 0), I(c, INT32_MIN)), OP2(IEQ, A(c, 1), I(c, -1)));
		q = nest_trap(c->nest, q, bad, RDU_TRAP_INT64);
	}
	return unless_zero(c, wrap(c, t, q));
}
/* The rest has the divisor's sign, as Python's; with fmod the dividend's, as C's. */
EXPR(mod)
{
	int r, b = A(c, 1), other;

	if (!c->integer)
		return expr_remainder(c->nest, A(c, 0), b);
	if (c->in[0]->dtype == RDU_DT_U32) {
		expr_uint_divide(c->nest, A(c, 0), b, &r);
		return unless_zero(c, r);
	}
	expr_int_divide(c->nest, A(c, 0), b, &r);
	if (!attr_i(c->n, "fmod", 0)) {
		other = SELECT(r, OP2(ILT, OP2(XOR, r, b), I(c, 0)), I(c, 0));
		r = SELECT(other, OP2(IADD, r, b), r);
	}
	return unless_zero(c, r);
}
GRAD(div)
{
	return which ? MUL(G(c), OP1(FNEG, quotient(c, Y(c), 1))) : quotient(c, G(c), 1);
}
/* What is left of the first argument is off from it by whole numbers of the second. */
GRAD(mod)
{
	return which ? MUL(G(c), OP1(ROUND, quotient(c, SUB(Y(c), A(c, 0)), 1))) : G(c);
}
EXPR(round_quotient)
{
	return expr_round_quotient(c->nest, A(c, 0), A(c, 1), attr_i(c->n, "bits", 8) > 8);
}
/* A 255th, as fp32 division rounds it: what a first quotient lacks is exact, 255 being 256 - 1. Of 0 it is 1. */
EXPR(byte_scale)
{
	float part = 1 / 255.0f;
	int x = A(c, 0), q = MUL(x, F(c, part));
	int rest = ADD(OP2(FSUB, x, MUL(q, F(c, 256))), q);

	q = SELECT(OP2(FLT, q, F(c, 0x1p100f)), ADD(q, MUL(rest, F(c, part))), q);
	return SELECT(x, q, F(c, 1));
}
EXPR(short_quotient) { return expr_short_quotient(c->nest, A(c, 0), A(c, 1)); }
EXPR(max) { return fold_args(c, RDU_SIMD_FMAX, RDU_SIMD_IMAX); }
EXPR(min) { return fold_args(c, RDU_SIMD_FMIN, RDU_SIMD_IMIN); }
/*
 * Of two the greater (of Min the smaller) gets the gradient, each half of it where they
 * are equal; more than two are taken as Max(Max(a, b), c).
 */
GRAD(minmax)
{
	bool max = c->n->op->name[1] == 'a';
	int so_far = A(c, 0), g = G(c), half = F(c, 0.5f), zero = F(c, 0), factor = -1;

	for (int k = 1; k < c->num_in; k++) {
		int a = A(c, k), left = so_far;
		int mine = k == which ? a : left, other = k == which ? left : a, f;

		so_far = max ? OP2(FMAX, left, a) : OP2(FMIN, left, a);
		if (k < which)
			continue;
		f = SELECT(OP2(FEQ, mine, other), half,
			   SELECT(max ? LT(mine, other) : LT(other, mine), zero, F(c, 1)));
		factor = factor < 0 ? f : MUL(factor, f);
	}
	return factor < 0 ? g : MUL(g, factor);
}
EXPR(mean) { return MUL(F(c, 1.0f / c->num_in), fold_args(c, RDU_SIMD_FADD, RDU_SIMD_IADD)); }
GRAD(mean) { return MUL(F(c, 1.0f / c->num_in), G(c)); }

static bool exponent(struct map_ctx *c, float *e)
{
	struct value *b = c->in[1];

	if (!b->constant || !b->data || value_count(b) != 1)
		return false;
	*e = (float)value_real(b, 0);
	return true;
}

static int as_float(struct map_ctx *c, int k)
{
	return dtype_is_int(c->in[k]->dtype) ? expr_to_float(c->nest, c->in[k]->dtype, A(c, k)) : A(c, k);
}

/* An integer to a constant power: by squaring, as its type multiplies. */
static int integer_power_const(struct map_ctx *c, uint32_t e)
{
	enum rdu_dtype t = c->in[0]->dtype;
	int p = A(c, 0), r = -1;

	for (; e; e >>= 1) {
		if (e & 1)
			r = r < 0 ? p : arithmetic(c, t, RDU_SIMD_IMUL, r, p);
		if (e > 1)
			p = arithmetic(c, t, RDU_SIMD_IMUL, p, p);
	}
	return r < 0 ? I(c, 1) : r;
}

/*
 * An integer to an integer power: by squaring too, for the six lowest bits. From
 * 2^32 on, even bases give 0 modulo 2^32, and -1, 0 and 1 only look at the lowest
 * bit: a power above 33 may be 32 or 33. Other odd bases stop there.
 */
static int integer_power(struct map_ctx *c)
{
	int a = A(c, 0), b = A(c, 1), odd = OP2(AND, b, I(c, 1)), p = a, r = I(c, 1), bad, size;
	int few = OP2(IMIN, b, OP2(IADD, I(c, 32), odd));

	for (int i = 0; i < 6; i++) {
		r = SELECT(OP2(AND, few, I(c, 1 << i)), OP2(IMUL, r, p), r);
		if (i < 5)
			p = OP2(IMUL, p, p);
	}
	size = OP2(IMAX, a, OP2(ISUB, I(c, 0), a));
	if (c->in[0]->dtype == RDU_DT_I64 || c->in[0]->dtype == RDU_DT_U64) {
		/* No power of two or more lies near the limit: 46340^2 is below, and
		 * 46341^2 above, by more than the functions' error. */
		size = OP1(EXP, MUL(OP1(I2F, b), OP1(LOG, OP1(I2F, size))));
		bad = OP2(AND, OP2(ILT, I(c, 1), b), truth(c, LT(F(c, 2147440000.0f), size)));
		r = nest_trap(c->nest, r, bad, RDU_TRAP_INT64);
		return nest_trap(c->nest, r, OP2(ILT, b, I(c, 0)), RDU_TRAP_POWER);
	}
	bad = OP2(AND, OP2(AND, a, OP2(ILT, I(c, 33), b)), OP2(ILT, I(c, 1), size));
	bad = OP2(OR, bad, OP2(ILT, b, I(c, 0)));
	return wrap(c, c->in[0]->dtype, nest_trap(c->nest, r, bad, RDU_TRAP_POWER));
}

/* A power computed by exp and log, without its fraction; what is within their
 * error of a whole number is that number. */
static int whole(struct map_ctx *c, int x)
{
	int near = OP1(ROUND, x), error = OP1(FABS, SUB(x, near));

	return SELECT(LE(error, MUL(F(c, 4e-6f), OP1(FABS, x))), near, truncate(c, x));
}

EXPR(pow)
{
	bool constant;
	float e;
	int r;

	constant = exponent(c, &e);
	if (!c->integer)
		return constant ? expr_power_const(c->nest, A(c, 0), e) : expr_power(c->nest, A(c, 0), as_float(c, 1));
	if (constant && e >= 0 && e < 0x1p31f && e == floorf(e))
		return integer_power_const(c, (uint32_t)e);
	if (dtype_is_int(c->in[1]->dtype))
		return integer_power(c);
	r = constant ? expr_power_const(c->nest, as_float(c, 0), e) : expr_power(c->nest, as_float(c, 0), A(c, 1));
	r = constant && (e == 0.5f || e == -0.5f) ? truncate(c, r) : whole(c, r);
	return expr_to_integer(c->nest, c->in[0]->dtype, r);
}
GRAD(pow)
{
	float e;
	int zero = F(c, 0), b, r;

	if (!which && exponent(c, &e))
		return e == 0 ? zero : MUL(G(c), MUL(F(c, e), expr_power_const(c->nest, A(c, 0), e - 1)));
	b = as_float(c, 1);
	if (which) { /* 0^b stays 0 */
		r = MUL(G(c), MUL(Y(c), OP1(LOG, A(c, 0))));
		return SELECT(OP2(FEQ, A(c, 0), zero), SELECT(LE(zero, b), zero, r), r);
	}
	r = MUL(G(c), MUL(b, expr_power(c->nest, A(c, 0), SUB(b, F(c, 1)))));
	return SELECT(OP2(FEQ, b, zero), zero, r);
}
EXPR(prelu)
{
	int x = A(c, 0), below;

	if (dtype_is_unsigned(c->in[0]->dtype))
		return x;
	if (!c->integer)
		return SELECT(negative(c, x), MUL(x, A(c, 1)), x);
	below = OP2(IMIN, x, I(c, 0)); /* what is not chosen may not be out of range either */
	return SELECT(below, arithmetic(c, c->in[0]->dtype, RDU_SIMD_IMUL, below, A(c, 1)), x);
}
GRAD(prelu)
{
	int above = LT(F(c, 0), A(c, 0));

	return which ? SELECT(above, F(c, 0), MUL(G(c), A(c, 0)))
		     : SELECT(above, G(c), MUL(G(c), A(c, 1)));
}

EXPR(less)
{
	return c->integer ? int_less(c, RDU_SIMD_ILT, A(c, 0), A(c, 1)) : truth(c, LT(A(c, 0), A(c, 1)));
}
EXPR(less_equal)
{
	return c->integer ? int_less(c, RDU_SIMD_ILE, A(c, 0), A(c, 1)) : truth(c, LE(A(c, 0), A(c, 1)));
}
EXPR(greater)
{
	return c->integer ? int_less(c, RDU_SIMD_ILT, A(c, 1), A(c, 0)) : truth(c, LT(A(c, 1), A(c, 0)));
}
EXPR(greater_equal)
{
	return c->integer ? int_less(c, RDU_SIMD_ILE, A(c, 1), A(c, 0)) : truth(c, LE(A(c, 1), A(c, 0)));
}
EXPR(equal)
{
	return c->integer ? OP2(IEQ, A(c, 0), A(c, 1)) : truth(c, OP2(FEQ, A(c, 0), A(c, 1)));
}
EXPR(and) { return OP2(AND, A(c, 0), A(c, 1)); }
EXPR(or) { return OP2(OR, A(c, 0), A(c, 1)); }
EXPR(xor) { return OP2(XOR, A(c, 0), A(c, 1)); }
EXPR(bit_not) { return wrap(c, c->in[0]->dtype, OP2(XOR, A(c, 0), I(c, -1))); }
/* A distance of as many bits as there are, or more, leaves nothing. */
EXPR(bit_shift)
{
	bool right = !strcmp(attr_s(c->n, "direction", ""), "RIGHT");
	enum rdu_dtype t = c->in[0]->dtype;
	int x = A(c, 0), by = A(c, 1), bits, r, fits;

	if (t == RDU_DT_U64 && !right) { /* 31 bits are here */
		r = OP2(SHL, x, by);
		fits = SELECT(OP2(ILT, by, I(c, 31)), OP2(IEQ, OP2(SHR, r, by), x), I(c, 0));
		fits = OP2(OR, SELECT(OP2(ILT, r, I(c, 0)), I(c, 0), fits), OP2(IEQ, x, I(c, 0)));
		return nest_trap(c->nest, SELECT(x, r, x), OP2(IEQ, fits, I(c, 0)), RDU_TRAP_INT64);
	}
	bits = t == RDU_DT_U64 ? 32 : 8 * dtype_bytes(t);
	r = right ? OP2(SHR, x, by) : wrap(c, t, OP2(SHL, x, by));
	/* Halves, since a uint32 may look negative. */
	return SELECT(OP2(ILT, OP2(SHR, by, I(c, 1)), I(c, bits / 2)), r, I(c, 0));
}
EXPR(where) { return SELECT(A(c, 0), A(c, 1), A(c, 2)); }
GRAD(where)
{
	return which == 1 ? SELECT(A(c, 0), G(c), F(c, 0)) : SELECT(A(c, 0), F(c, 0), G(c));
}

/* clang-format on */

/* ---- nests, gradients ------------------------------------------------ */

static void ctx_init(struct map_ctx *c, struct lower *l, struct node *n, struct value **in,
		     int num_in, struct nest *nest, struct value *y)
{
	memset(c, 0, sizeof(*c));
	c->l = l;
	c->n = n;
	c->in = in;
	c->num_in = num_in;
	c->nest = nest;
	c->y = y;
	c->integer = dtype_is_int(in[n->op->map->type == MAP_WHERE ? 1 : 0]->dtype);
	c->ndim = y->ndim;
	memset(c->expr, -1, sizeof(c->expr));
}

static int map_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = lower_nest(l, n, NULL);
	struct value *y = n->out[0];
	struct map_ctx c;
	int e;

	if (n->num_in > NEST_MAX_IN)
		return node_error(l->graph, n, "more than %d inputs", NEST_MAX_IN);
	ctx_init(&c, l, n, n->in, n->num_in, nest, y);
	for (int i = 0; i < y->ndim; i++)
		c.dims[i] = nest_dim(nest, axis_name(y->ndim, i), y->dim[i], false);
	if (!y->ndim)
		nest_dim(nest, "i", 1, false);
	e = n->op->map->expr(&c);
	if (e < 0)
		return node_error(l->graph, n, "more than %d operations", NEST_MAX_EXPR);
	nest_output(nest, lower_value(l, y), e);
	access_identity(&nest->out[0].access);
	return lower_done(l, n, nest);
}

static int map_gradient(struct graph *g, struct node *n)
{
	const struct map *map = n->op->map;
	bool plus = map->grad == add_grad || map->grad == identity_grad || (map->grad == sub_grad);

	for (int k = 0; k < n->num_in; k++) {
		struct value *v = n->in[k];
		struct node *gn;

		if (!v || !v->needs_grad)
			continue;
		if (plus && value_same_shape(v, n->out[0]) && !(k && map->grad == sub_grad)) {
			if (graph_add_grad(g, v, n->out[0]->grad))
				return -1;
			continue;
		}
		gn = node_new(g, "MapGrad", graph_format(g, "%.200s.grad%d", n->name, k));
		gn->of = n->op;
		gn->of_node = n;
		node_attr_i(g, gn, "which", k);
		for (int i = 0; i < n->num_in; i++)
			node_input(g, gn, n->in[i]);
		node_input(g, gn, n->out[0]);
		node_input(g, gn, n->out[0]->grad);
		if (grad_finish(g, gn, v))
			return -1;
	}
	return 0;
}

static int map_grad_infer(struct graph *g, struct node *n)
{
	struct value *v = n->in[attr_i(n, "which", 0)];

	return node_shape(g, n, 0, RDU_DT_F32, v->ndim, v->dim);
}

/* One nest: the expression over the result's shape, summed over what was
 * broadcast. */
static int map_grad_pattern(struct lower *l, struct node *n)
{
	int which = (int)attr_i(n, "which", 0), e;
	struct value *y = n->in[n->num_in - 2], *x = n->in[which];
	struct nest *nest = lower_nest(l, n, NULL);
	struct access *out;
	struct map_ctx c;

	ctx_init(&c, l, n->of_node, n->in, n->num_in - 2, nest, y);
	c.g = n->in[n->num_in - 1];
	for (int i = 0; i < y->ndim; i++) {
		int t = i - (y->ndim - x->ndim);
		bool reduce = y->dim[i] != 1 && (t < 0 || x->dim[t] == 1);

		c.dims[i] = nest_dim(nest, axis_name(y->ndim, i), y->dim[i], reduce);
		if (reduce)
			nest->reduce = REDUCE_ADD;
	}
	if (nest->reduce && value_count(x) == 1 && nest->ndim < NEST_MAX_DIMS)
		nest_dim(nest, "one", 1, false);
	if (!y->ndim)
		nest_dim(nest, "i", 1, false);
	e = n->of->map->grad(&c, which);
	if (nest->reduce) {
		nest->body = e;
		e = nest_red(nest);
	}
	nest_output(nest, lower_value(l, n->out[0]), e);
	out = &nest->out[0].access;
	access_broadcast(out, y->ndim, c.dims);
	return lower_done(l, n, nest);
}

/* clang-format off */
#define MAP_WITH(onnx, lo, hi, type, expr, grad, ...)                                              \
	{ .name = onnx, .min_in = lo, .max_in = hi, .max_out = 1, .infer = map_infer,              \
	  .gradient = map_gradient, .pattern = map_pattern, __VA_ARGS__,                           \
	  .map = &(const struct map){ type, expr, grad } }
#define MAP(onnx, lo, hi, type, expr, grad)                                                        \
	MAP_WITH(onnx, lo, hi, type, expr, grad, .rewrite = NULL)
#define FLAT(onnx, lo, hi, type, expr, ...)                                                        \
	{ .name = onnx, .min_in = lo, .max_in = hi, .max_out = 1, .infer = map_infer,              \
	  .stop_gradient = true, .pattern = map_pattern,                                           \
	  .map = &(const struct map){ type, expr, NULL }, __VA_ARGS__ }

const struct op ops_map[] = {
	MAP("Add", 2, 2, MAP_NUMBER, add_expr, add_grad),
	MAP("Sub", 2, 2, MAP_NUMBER, sub_expr, sub_grad),
	MAP("Mul", 2, 2, MAP_NUMBER, mul_expr, mul_grad),
	MAP_WITH("Div", 2, 2, MAP_NUMBER, div_expr, div_grad, .fold = map_fold_div),
	{ .name = "Mod", .min_in = 2, .max_in = 2, .max_out = 1, .infer = map_infer_mod,
	  .gradient = map_gradient, .pattern = map_pattern, .fold = map_fold_div,
	  .map = &(const struct map){ MAP_NUMBER, mod_expr, mod_grad } },
	MAP("Pow", 2, 2, MAP_NUMBER, pow_expr, pow_grad),
	MAP_WITH("Min", 1, -1, MAP_NUMBER, min_expr, minmax_grad, .rewrite = map_rewrite_many),
	MAP_WITH("Max", 1, -1, MAP_NUMBER, max_expr, minmax_grad, .rewrite = map_rewrite_many),
	MAP_WITH("Sum", 1, -1, MAP_FLOAT, add_expr, add_grad, .rewrite = map_rewrite_many),
	MAP_WITH("Mean", 1, -1, MAP_FLOAT, mean_expr, mean_grad, .rewrite = map_rewrite_many),
	MAP("Neg", 1, 1, MAP_NUMBER, neg_expr, neg_grad),
	MAP("Abs", 1, 1, MAP_NUMBER, abs_expr, abs_grad),
	MAP("Sqrt", 1, 1, MAP_FLOAT, sqrt_expr, sqrt_grad),
	MAP("Exp", 1, 1, MAP_FLOAT, exp_expr, exp_grad),
	MAP("Log", 1, 1, MAP_FLOAT, log_expr, log_grad),
	MAP("Tanh", 1, 1, MAP_FLOAT, tanh_expr, tanh_grad),
	MAP("Sigmoid", 1, 1, MAP_FLOAT, sigmoid_expr, sigmoid_grad),
	MAP("Erf", 1, 1, MAP_FLOAT, erf_expr, erf_grad),
	MAP("Reciprocal", 1, 1, MAP_FLOAT, reciprocal_expr, reciprocal_grad),
	MAP("Relu", 1, 1, MAP_NUMBER, relu_expr, relu_grad),
	MAP("LeakyRelu", 1, 1, MAP_FLOAT, leaky_relu_expr, leaky_relu_grad),
	MAP("PRelu", 2, 2, MAP_NUMBER, prelu_expr, prelu_grad),
	MAP("Elu", 1, 1, MAP_FLOAT, elu_expr, elu_grad),
	MAP("Celu", 1, 1, MAP_FLOAT, celu_expr, celu_grad),
	MAP("Selu", 1, 1, MAP_FLOAT, selu_expr, selu_grad),
	MAP("Softplus", 1, 1, MAP_FLOAT, softplus_expr, softplus_grad),
	MAP("Softsign", 1, 1, MAP_FLOAT, softsign_expr, softsign_grad),
	MAP("HardSigmoid", 1, 1, MAP_FLOAT, hard_sigmoid_expr, hard_sigmoid_grad),
	MAP("HardSwish", 1, 1, MAP_FLOAT, hard_swish_expr, hard_swish_grad),
	MAP("ThresholdedRelu", 1, 1, MAP_FLOAT, thresholded_relu_expr, thresholded_relu_grad),
	MAP("Gelu", 1, 1, MAP_FLOAT, gelu_expr, gelu_grad),
	MAP("Mish", 1, 1, MAP_FLOAT, mish_expr, mish_grad),
	MAP("Sin", 1, 1, MAP_FLOAT, sin_expr, sin_grad),
	MAP("Cos", 1, 1, MAP_FLOAT, cos_expr, cos_grad),
	MAP("Tan", 1, 1, MAP_FLOAT, tan_expr, tan_grad),
	MAP("Sinh", 1, 1, MAP_FLOAT, sinh_expr, sinh_grad),
	MAP("Cosh", 1, 1, MAP_FLOAT, cosh_expr, cosh_grad),
	MAP("Asinh", 1, 1, MAP_FLOAT, asinh_expr, asinh_grad),
	MAP("Acosh", 1, 1, MAP_FLOAT, acosh_expr, acosh_grad),
	MAP("Atanh", 1, 1, MAP_FLOAT, atanh_expr, atanh_grad),
	MAP("Atan", 1, 1, MAP_FLOAT, atan_expr, atan_grad),
	MAP("Asin", 1, 1, MAP_FLOAT, asin_expr, asin_grad),
	MAP("Acos", 1, 1, MAP_FLOAT, acos_expr, acos_grad),
	MAP_WITH("Shrink", 1, 1, MAP_FLOAT, shrink_expr, shrink_grad, .rewrite = map_rewrite_shrink),
	MAP("Clip", 1, 3, MAP_NUMBER, clip_expr, clip_grad),
	MAP("Where", 3, 3, MAP_WHERE, where_expr, where_grad),
	MAP("Cast", 1, 1, MAP_CAST, cast_expr, cast_grad),
	{ .name = "CastWhole", .min_in = 1, .max_in = 1, .max_out = 1, .internal = true,
	  .infer = map_infer, .stop_gradient = true, .pattern = map_pattern,
	  .map = &(const struct map){ MAP_CAST, cast_whole_expr, NULL } },
	/* Straight through: rounding is for quantization-aware training. */
	MAP("Round", 1, 1, MAP_FLOAT, round_expr, identity_grad),
	FLAT("Floor", 1, 1, MAP_FLOAT, floor_expr),
	FLAT("Ceil", 1, 1, MAP_FLOAT, ceil_expr),
	FLAT("Sign", 1, 1, MAP_NUMBER, sign_expr),
	FLAT("IsNaN", 1, 1, MAP_COMPARE, is_nan_expr, .rewrite = map_rewrite_of_integers),
	FLAT("IsInf", 1, 1, MAP_COMPARE, is_inf_expr, .rewrite = map_rewrite_of_integers),
	FLAT("Not", 1, 1, MAP_BOOL, not_expr),
	FLAT("Less", 2, 2, MAP_COMPARE, less_expr),
	FLAT("LessOrEqual", 2, 2, MAP_COMPARE, less_equal_expr),
	FLAT("Greater", 2, 2, MAP_COMPARE, greater_expr),
	FLAT("GreaterOrEqual", 2, 2, MAP_COMPARE, greater_equal_expr),
	FLAT("Equal", 2, 2, MAP_COMPARE, equal_expr),
	FLAT("And", 2, 2, MAP_BOOL, and_expr),
	FLAT("Or", 2, 2, MAP_BOOL, or_expr),
	FLAT("Xor", 2, 2, MAP_BOOL, xor_expr),
	FLAT("BitwiseAnd", 2, 2, MAP_INT, and_expr),
	FLAT("BitwiseOr", 2, 2, MAP_INT, or_expr),
	FLAT("BitwiseXor", 2, 2, MAP_INT, xor_expr),
	FLAT("BitwiseNot", 1, 1, MAP_INT, bit_not_expr),
	FLAT("BitShift", 2, 2, MAP_INT, bit_shift_expr),
	{ .name = "CastLike", .min_in = 2, .max_in = 2, .max_out = 1, .expand = map_expand_cast_like },
	/* Of QuantizeLinear; training through it is refused. */
	{ .name = "RoundQuotient", .min_in = 2, .max_in = 2, .max_out = 1, .internal = true,
	  .infer = map_infer_round_quotient, .pattern = map_pattern,
	  .map = &(const struct map){ MAP_FLOAT, round_quotient_expr, NULL } },
	{ .name = "ByteScale", .min_in = 1, .max_in = 1, .max_out = 1, .internal = true,
	  .infer = map_infer, .pattern = map_pattern,
	  .map = &(const struct map){ MAP_FLOAT, byte_scale_expr, NULL } },
	{ .name = "ShortQuotient", .min_in = 2, .max_in = 2, .max_out = 1, .internal = true,
	  .infer = map_infer, .pattern = map_pattern,
	  .map = &(const struct map){ MAP_FLOAT, short_quotient_expr, NULL } },
	{ .name = "MapGrad", .min_in = 1, .max_in = -1, .max_out = 1, .internal = true,
	  .infer = map_grad_infer, .pattern = map_grad_pattern },
	{ 0 },
};
