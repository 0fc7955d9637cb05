// SPDX-License-Identifier: MIT
/*
 * Functions that the fabric has no operation for, as expressions of a nest: division,
 * and those that lose their digits near a zero, or overflow before their result does, if
 * they are written down as in a textbook. Documentation/numerics.md has their errors. There
 * is no FMA in them: its three operands need three ports, and a chip may have two.
 */
#include <math.h>
#include "graph.h"

#define OP(op, a, b, c) nest_op(n, RDU_SIMD_##op, a, b, c)
#define ADD(a, b) OP(FADD, a, b, -1)
#define SUB(a, b) OP(FSUB, a, b, -1)
#define MUL(a, b) OP(FMUL, a, b, -1)
#define LT(a, b) OP(FLT, a, b, -1)
#define SELECT(p, a, b) OP(SELECT, p, a, b)
#define F(v) nest_imm_f(n, v)
#define I(v) nest_imm_i(n, v)

bool reciprocal_is_normal(float x)
{
	return !isfinite(x) || x == 0 || (fabsf(x) >= 0x1p-126f && fabsf(x) <= 0x1p126f);
}

int expr_divide(struct nest *n, int a, int b)
{
	/* 1 / sqrt(|b|), as a power of two: s * b and its reciprocal are normal, and s
	 * gives the other half of the distance to a. Where a * s overflows the quotient
	 * does; where it becomes denormal, s and 1 / (s b) are at most 1. */
	int half = OP(SHR, OP(AND, b, I(0x7f000000), -1), I(1), -1);
	int s = OP(ISUB, I(0x5f000000), half, -1);

	return MUL(MUL(a, s), OP(RECIP, MUL(b, s), -1, -1));
}

int expr_expm1(struct nest *n, int x)
{
	/* (1 + t) / (1 - t) = e^x, t = tanh(x / 2) */
	int t = OP(TANH, MUL(x, F(0.5f)), -1, -1);

	return MUL(ADD(t, t), OP(RECIP, SUB(F(1), t), -1, -1));
}

/* What log(w) lacks of log(1 + y), w being 1 + y rounded. */
static int log_rest(struct nest *n, int y, int w)
{
	return MUL(SUB(y, SUB(w, F(1))), OP(RECIP, w, -1, -1));
}

/* For -1 < y < infinity. */
static int log1p_of(struct nest *n, int y)
{
	int w = ADD(F(1), y);

	return ADD(OP(LOG, w, -1, -1), log_rest(n, y, w));
}

/* log(1 + y), or, from a = 4096 on, log(2 a). */
static int log1p_or_far(struct nest *n, int y, int a)
{
	int near = LT(a, F(4096)), w = ADD(F(1), y);
	int rest = SELECT(near, log_rest(n, y, w), F(0.693147182f));

	return ADD(OP(LOG, SELECT(near, w, a), -1, -1), rest);
}

static int sign_of(struct nest *n, int x, float size)
{
	return SELECT(LT(x, F(0)), F(-size), F(size));
}

/* e^|x| * half, half being 1/2 with any sign; it overflows where that does. */
static int half_exp(struct nest *n, int x, int half)
{
	int e = OP(EXP, MUL(OP(FABS, x, -1, -1), F(0.5f)), -1, -1);

	return MUL(MUL(half, e), e);
}

int expr_sinh(struct nest *n, int x)
{
	int x2 = MUL(x, x), p = ADD(MUL(x2, F(1.0f / 362880)), F(1.0f / 5040)), e;

	p = ADD(MUL(x2, ADD(MUL(x2, p), F(1.0f / 120))), F(1.0f / 6));
	p = ADD(MUL(MUL(x, x2), p), x); /* the series, below 1 */
	e = half_exp(n, x, sign_of(n, x, 0.5f));
	e = SUB(e, MUL(F(0.25f), OP(RECIP, e, -1, -1)));
	return SELECT(LT(OP(FABS, x, -1, -1), F(1)), p, e);
}

int expr_cosh(struct nest *n, int x)
{
	int e = half_exp(n, x, F(0.5f));

	return ADD(e, MUL(F(0.25f), OP(RECIP, e, -1, -1)));
}

int expr_asinh(struct nest *n, int x)
{
	/* log(a + root), with a + root = 1 + y, a = |x|, root = sqrt(1 + a^2) */
	int a = OP(FABS, x, -1, -1), a2 = MUL(a, a);
	int root = OP(SQRT, ADD(F(1), a2), -1, -1);
	int y = ADD(MUL(a2, OP(RECIP, ADD(F(1), root), -1, -1)), a);

	return MUL(sign_of(n, x, 1), log1p_or_far(n, y, a));
}

int expr_acosh(struct nest *n, int x)
{
	/* Two roots: below 1 one of them is of a negative number. */
	int u = SUB(x, F(1));
	int root = MUL(OP(SQRT, u, -1, -1), OP(SQRT, ADD(x, F(1)), -1, -1));

	return log1p_or_far(n, ADD(u, root), x);
}

int expr_atanh(struct nest *n, int x)
{
	/* log((1 + a) / (1 - a)) / 2, with (1 + a) / (1 - a) = 1 + y, a = |x| */
	int a = OP(FABS, x, -1, -1);
	int y = MUL(ADD(a, a), OP(RECIP, SUB(F(1), a), -1, -1)), w = ADD(F(1), y);
	int rest = SELECT(LT(a, F(0.5f)), log_rest(n, y, w), F(0));

	return MUL(sign_of(n, x, 0.5f), ADD(OP(LOG, w, -1, -1), rest));
}

int expr_asinh_slope(struct nest *n, int x)
{
	int a = OP(FABS, x, -1, -1), near = OP(RSQRT, ADD(MUL(x, x), F(1)), -1, -1);

	return SELECT(LT(a, F(0x1p40f)), near, OP(RECIP, a, -1, -1));
}

int expr_softplus(struct nest *n, int x)
{
	int e = OP(EXP, OP(FNEG, OP(FABS, x, -1, -1), -1, -1), -1, -1);

	return ADD(OP(FMAX, x, F(0), -1), log1p_of(n, e));
}

int expr_softsign(struct nest *n, int x)
{
	/* 1 / (1 + |x|) may be a denormal: four times that is not. */
	int d = MUL(F(0.25f), ADD(F(1), OP(FABS, x, -1, -1)));

	return MUL(F(0.25f), MUL(x, OP(RECIP, d, -1, -1)));
}

int expr_int_divide(struct nest *n, int a, int b, int *rest)
{
	int inverse = OP(RECIP, OP(I2F, b, -1, -1), -1, -1), q, r = a, more, wrong, one, size;

	/* The quotient in fp32 is less than 2^10 from the right one, that of the rest less
	 * than one; a quotient of 2^31 stops at 2^31 - 1, and the second step adds the one. */
	q = OP(F2I, MUL(OP(I2F, a, -1, -1), inverse), -1, -1);
	r = OP(ISUB, a, OP(IMUL, q, b, -1), -1);
	more = OP(F2I, MUL(OP(I2F, r, -1, -1), inverse), -1, -1);
	q = OP(IADD, q, more, -1);
	r = OP(ISUB, r, OP(IMUL, more, b, -1), -1);
	/* It is the nearest one now: truncated, where the rest has a's sign or is 0. */
	wrong = OP(ILT, OP(XOR, r, a, -1), I(0), -1);
	wrong = SELECT(r, wrong, I(0));
	one = SELECT(OP(ILT, OP(XOR, a, b, -1), I(0), -1), I(-1), I(1));
	size = OP(IMUL, one, b, -1); /* |b| with a's sign */
	*rest = SELECT(wrong, OP(IADD, r, size, -1), r);
	return SELECT(wrong, OP(ISUB, q, one, -1), q);
}

int expr_uint_divide(struct nest *n, int a, int b, int *rest)
{
	int far = OP(ILT, b, I(0), -1), half, q, r, more, enough;

	/* Half of a, which is no negative number, goes in twice: then one more may. A divisor
	 * of 2^31 and more goes in once or not at all. */
	half = expr_int_divide(n, OP(SHR, a, I(1), -1), b, &r);
	q = SELECT(far, I(0), OP(SHL, half, I(1), -1));
	r = OP(ISUB, a, OP(IMUL, q, b, -1), -1);
	more = OP(ILE, OP(XOR, b, I(INT32_MIN), -1), OP(XOR, r, I(INT32_MIN), -1), -1);
	enough = SELECT(more, b, I(0));
	*rest = OP(ISUB, r, enough, -1);
	return OP(IADD, q, more, -1);
}

/* Sizes of both by a power of two: what follows neither overflows nor becomes denormal. */
static void scale_both(struct nest *n, int *a, int *b)
{
	int by;

	*a = OP(FABS, *a, -1, -1);
	*b = OP(FABS, *b, -1, -1);
	by = SELECT(LT(*b, F(0x1p100f)), F(1), F(0x1p-20f));
	by = SELECT(LT(*b, F(0x1p-60f)), F(0x1p60f), by);
	*a = MUL(*a, by);
	*b = MUL(*b, by);
}

/*
 * size - t s, exactly, where size / s is about t, of at most 24 - `bits` bits: t s is exact in
 * parts of s of so many bits. *near: is the quotient within half a unit in t's last place, so that
 * fp32 rounds it to t?
 */
static int quotient_rest(struct nest *n, int size, int s, int t, int bits, int *near)
{
	int rest = size, left = s, upper = I(-(1 << (24 - bits))), unit;

	for (int k = bits; k < 24; k += bits) {
		int part = OP(AND, left, upper, -1);

		rest = SUB(rest, MUL(t, part));
		left = SUB(left, part);
	}
	rest = SUB(rest, MUL(t, left));
	unit = MUL(OP(AND, t, I(0x7f800000), -1), F(0x1p-24f));
	*near = OP(FLE, OP(FABS, rest, -1, -1), MUL(unit, s), -1);
	return rest;
}

int expr_round_quotient(struct nest *n, int a, int b, bool wide)
{
	int size = a, s = b, t, rest, near, r;

	/* t lies halfway between the two whole numbers; what rounds to t itself goes to the
	 * even one. */
	scale_both(n, &size, &s);
	t = OP(FMIN, expr_divide(n, size, s), F(wide ? 0x1p17f : 1024), -1);
	t = ADD(OP(FLOOR, t, -1, -1), F(0.5f));
	rest = quotient_rest(n, size, s, t, wide ? 6 : 12, &near);
	r = SELECT(LT(F(0), rest), ADD(t, F(0.5f)), SUB(t, F(0.5f)));
	r = SELECT(near, OP(ROUND, t, -1, -1), r);
	return OP(F2I, OP(OR, r, OP(AND, OP(XOR, a, b, -1), I(INT32_MIN), -1), -1), -1, -1);
}

int expr_short_quotient(struct nest *n, int a, int b)
{
	int size = a, s = b, q, t, rest, near, close;

	/* t, of 6 bits, is the number that the quotient may be on the wrong side of. */
	scale_both(n, &size, &s);
	q = expr_divide(n, size, s);
	t = OP(AND, OP(IADD, q, I(8), -1), I(-(1 << 18)), -1);
	close = OP(ILT, OP(ISUB, q, t, -1), I(9), -1);
	rest = quotient_rest(n, size, s, t, 12, &near);
	t = OP(IADD, t, SELECT(LT(F(0), rest), I(1), I(-1)), -1);
	t = SELECT(near, OP(AND, OP(IADD, q, I(8), -1), I(-(1 << 18)), -1), t);
	return OP(OR, SELECT(close, t, q), OP(AND, OP(XOR, a, b, -1), I(INT32_MIN), -1), -1);
}

int expr_remainder(struct nest *n, int a, int b)
{
	int size = OP(FABS, a, -1, -1), s = OP(FABS, b, -1, -1), by, back, far, left, high, low;
	int inverse, r;

	/* As scale_both(), but undone at the end: every number here has at most 24 bits. */
	by = SELECT(LT(s, F(0x1p-60f)), F(0x1p60f), F(1));
	back = SELECT(LT(s, F(0x1p-60f)), F(0x1p-60f), F(1));
	far = SELECT(LT(s, F(INFINITY)), LT(size, F(INFINITY)), I(0));
	r = MUL(size, by);
	left = MUL(s, by);
	far = SELECT(far, OP(FLE, MUL(left, F(0x1p24f)), r, -1), F(0));
	far = SELECT(left, far, F(0));
	high = OP(AND, left, I(-4096), -1);
	inverse = OP(RECIP, left, -1, -1);
	low = SUB(left, high);
	/* Twelve bits of the quotient at a time, and now and then one too many, but never one too
	 * few: then the rest is a small negative number, which has no more bits than left has. */
	for (int k = 0; k < 2; k++) {
		int part = k ? r : MUL(r, F(0x1p-12f)), digit;

		digit = OP(FLOOR, ADD(MUL(part, inverse), F(0x1p-8f)), -1, -1);
		digit = k ? digit : MUL(digit, F(0x1p12f));
		r = SUB(SUB(r, MUL(digit, high)), MUL(digit, low));
	}
	r = SELECT(LT(r, F(0)), ADD(r, left), r);
	r = SELECT(LT(size, s), size, MUL(r, back)); /* of an infinite divisor, too */
	r = OP(OR, r, OP(AND, a, I(INT32_MIN), -1), -1);
	return nest_trap(n, r, far, RDU_TRAP_QUOTIENT);
}

int expr_power(struct nest *n, int a, int b)
{
	int m = OP(FABS, a, -1, -1), one = F(1), half = MUL(b, F(0.5f));
	int size = OP(EXP, MUL(b, OP(LOG, m, -1, -1)), -1, -1);
	int even = OP(FEQ, OP(FLOOR, half, -1, -1), half, -1);
	int whole = OP(FEQ, OP(FLOOR, b, -1, -1), b, -1), fraction;

	size = SELECT(OP(FEQ, m, one, -1), one, size);
	size = SELECT(OP(FEQ, b, F(0), -1), one, size);
	/* Not of a finite number below zero. */
	fraction = SELECT(LT(a, F(0)), SELECT(LT(F(-INFINITY), a), F(NAN), size), size);
	return SELECT(OP(AND, a, I(INT32_MIN), -1),
		      SELECT(whole, SELECT(even, size, OP(FNEG, size, -1, -1)), fraction), size);
}

int expr_power_const(struct nest *n, int a, float e)
{
	if (e == 0)
		return F(1);
	if (e == 1)
		return a;
	if (e == 2)
		return MUL(a, a);
	if (e == 3)
		return MUL(MUL(a, a), a);
	if (e == 4)
		return MUL(MUL(a, a), MUL(a, a));
	if (e == 0.5f)
		return OP(SQRT, a, -1, -1);
	if (e == -0.5f)
		return OP(RSQRT, a, -1, -1);
	if (e == -1)
		return OP(RECIP, a, -1, -1);
	if (e == -2) {
		a = OP(RECIP, a, -1,
		       -1); /* the square could overflow where its reciprocal is a number */
		return MUL(a, a);
	}
	return expr_power(n, a, F(e));
}

/* atan(x) of 0 <= x, infinity included. */
static int atan_of(struct nest *n, int x)
{
	/* Beyond 1 of the reciprocal; beyond tan(pi / 8) of (x - 1) / (x + 1), in [-1, 1]. */
	int far = LT(F(1), x), y = SELECT(far, OP(RECIP, x, -1, -1), x);
	int middle = LT(F(0.414213562f), y), z, z2, p;

	z = MUL(SUB(y, F(1)), OP(RECIP, ADD(y, F(1)), -1, -1));
	z = SELECT(middle, z, y);
	z2 = MUL(z, z);
	p = ADD(MUL(z2, F(-0.0645938069f)), F(0.107463002f));
	p = ADD(MUL(z2, p), F(-0.142642334f));
	p = ADD(MUL(z2, p), F(0.199995503f));
	p = ADD(MUL(z2, p), F(-0.333333313f));
	p = ADD(MUL(MUL(z, z2), p), z);
	p = SELECT(middle, ADD(p, F(0.785398163f)), p);
	return SELECT(far, SUB(F(1.57079633f), p), p);
}

static int with_sign_of(struct nest *n, int size, int x)
{
	return OP(OR, size, OP(AND, x, I(INT32_MIN), -1), -1);
}

/* sqrt((1 - x) (1 + x)), NaN beyond 1. */
static int leg(struct nest *n, int x)
{
	return OP(SQRT, MUL(SUB(F(1), x), ADD(F(1), x)), -1, -1);
}

int expr_atan(struct nest *n, int x)
{
	return with_sign_of(n, atan_of(n, OP(FABS, x, -1, -1)), x);
}

int expr_asin(struct nest *n, int x)
{
	int a = OP(FABS, x, -1, -1);

	return with_sign_of(n, atan_of(n, MUL(a, OP(RECIP, leg(n, a), -1, -1))), x);
}

int expr_acos(struct nest *n, int x)
{
	int a = OP(FABS, x, -1, -1), r;

	/* pi - acos(-x) below 0; 2 atan(sqrt((1 - a) / (1 + a))) above. */
	r = OP(SQRT, MUL(SUB(F(1), a), OP(RECIP, ADD(F(1), a), -1, -1)), -1, -1);
	r = atan_of(n, r);
	r = ADD(r, r);
	return SELECT(LT(x, F(0)), SUB(F(3.14159265f), r), r);
}

int expr_atan_slope(struct nest *n, int x)
{
	/* Far out the square could overflow where the slope is a denormal. */
	int far = LT(F(0x1p40f), OP(FABS, x, -1, -1)), r = OP(RECIP, x, -1, -1);

	return SELECT(far, MUL(r, r), OP(RECIP, ADD(F(1), MUL(x, x)), -1, -1));
}

int expr_asin_slope(struct nest *n, int x)
{
	return MUL(OP(RSQRT, SUB(F(1), x), -1, -1), OP(RSQRT, ADD(F(1), x), -1, -1));
}
