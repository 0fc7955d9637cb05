// SPDX-License-Identifier: MIT
/*
 * Floating-point types of 4 and 8 bits, as expressions of a nest. The card has their codes only,
 * as integers: they become fp32 to be computed with, and are made of fp32 again.
 */
#include <math.h>
#include "graph.h"

#define OP1(op, a) nest_op(n, RDU_SIMD_##op, a, -1, -1)
#define OP2(op, a, b) nest_op(n, RDU_SIMD_##op, a, b, -1)
#define OP3(op, a, b, d) nest_op(n, RDU_SIMD_##op, a, b, d)
#define SELECT(p, a, b) OP3(SELECT, p, a, b)
#define F(v) nest_imm_f(n, v)
#define I(v) nest_imm_i(n, v)

#define NONE (-1) /* the type has no such code */
#define SIZE_BITS 0x7fffffff /* of an fp32: all but the sign */
#define INFINITY_BITS 0x7f800000

/* Sign, exponent, mantissa. Codes without the sign, in the order of their sizes. */
static const struct small_float {
	enum rdu_dtype dtype;
	int bits, mantissa, bias;
	int most; /* the largest finite one */
	int inf, nan;
	bool one_zero; /* where -0 would be is the only NaN */
} types[] = {
	{ RDU_DT_F8E4M3FN, 8, 3, 7, 0x7e, NONE, 0x7f, false },
	{ RDU_DT_F8E4M3FNUZ, 8, 3, 8, 0x7f, NONE, 0x80, true },
	{ RDU_DT_F8E5M2, 8, 2, 15, 0x7b, 0x7c, 0x7e, false },
	{ RDU_DT_F8E5M2FNUZ, 8, 2, 16, 0x7f, NONE, 0x80, true },
	{ RDU_DT_F4E2M1, 4, 1, 1, 0x7, NONE, NONE, false },
};

static const struct small_float *find(enum rdu_dtype t)
{
	const struct small_float *s = types;

	while (s->dtype != t)
		s++;
	return s;
}

/* A power of two: code c is 2^(c - 127), 255 is NaN. */
static int of_power(struct nest *n, int code)
{
	int f = SELECT(code, OP2(SHL, code, I(23)), F(0x1p-127f));

	return SELECT(OP2(IEQ, code, I(255)), F(NAN), f);
}

/* A negative number has none: NaN. One beyond the ends is an end, or NaN if it does not saturate. */
static int to_power(struct nest *n, int x, enum power_rounding rounding, bool saturate)
{
	int size = OP2(AND, x, I(SIZE_BITS)), code = OP2(SHR, size, I(23)), limit;
	int bad = SELECT(size, OP2(ILT, x, I(0)), I(0));

	/* Up from here: of the mantissa; below 2^-126 the smallest number is in it. */
	if (rounding != POWER_DOWN) {
		limit = rounding == POWER_UP ? SELECT(code, I(0), I(0x400000))
					     : SELECT(code, I(0x3fffff), I(0x5fffff));
		code = OP2(IADD, code, OP2(ILT, limit, OP2(AND, size, I(0x7fffff))));
	}
	if (saturate)
		code = OP2(IMIN, code, I(254));
	else
		bad = OP2(OR, bad, OP2(ILT, size, I(0x400000)));
	return SELECT(OP2(FEQ, x, x), SELECT(bad, I(255), code), I(255));
}

int expr_of_small_float(struct nest *n, enum rdu_dtype t, int code)
{
	const struct small_float *s;
	int size, f, sign;

	if (t == RDU_DT_F8E8M0)
		return of_power(n, code);
	s = find(t);
	if (s->bits < 8)
		code = expr_in_range(n, t, code);
	size = OP2(AND, code, I((1 << (s->bits - 1)) - 1));
	/* With the wrong bias first: so denormals become what they are. */
	f = OP2(FMUL, OP2(SHL, size, I(23 - s->mantissa)), F(ldexpf(1, 127 - s->bias)));
	if (s->inf != NONE)
		f = SELECT(OP2(ILT, I(s->most), size), F(INFINITY), f);
	sign = OP2(SHL, OP2(AND, code, I(1 << (s->bits - 1))), I(32 - s->bits));
	f = OP2(OR, f, sign);
	if (s->nan == NONE)
		return f;
	if (s->one_zero)
		return SELECT(OP2(IEQ, code, I(s->nan)), F(NAN), f);
	return SELECT(OP2(ILT, I(s->inf != NONE ? s->inf : s->most), size), F(NAN), f);
}

int expr_to_small_float(struct nest *n, enum rdu_dtype t, int x, bool saturate,
			enum power_rounding rounding)
{
	const struct small_float *s;
	int size, code, tiny, drop, over, sign;
	float grain; /* an fp32 whose last place is the smallest number's */

	if (t == RDU_DT_F8E8M0)
		return to_power(n, x, rounding, saturate);
	s = find(t);
	size = OP2(AND, x, I(SIZE_BITS));
	drop = 23 - s->mantissa;
	grain = ldexpf(1, 23 + 1 - s->bias - s->mantissa);
	tiny = OP2(ISUB, OP2(FADD, size, F(grain)), F(grain));
	code = OP2(IADD, I((1 << (drop - 1)) - 1), OP2(AND, OP2(SHR, size, I(drop)), I(1)));
	code = OP2(SHR, OP2(IADD, size, code), I(drop));
	code = OP2(ISUB, code, I((127 - s->bias) << s->mantissa));
	code = SELECT(OP2(FLT, size, F(ldexpf(1, 1 - s->bias))), tiny, code);
	over = saturate || s->nan == NONE ? s->most : s->inf != NONE ? s->inf : s->nan;
	code = SELECT(OP2(ILT, I(s->most), code), I(over), code);
	sign = OP2(SHL, OP2(AND, OP2(SHR, x, I(31)), I(1)), I(s->bits - 1));
	sign = OP2(OR, code, sign);
	code = s->one_zero ? SELECT(code, sign, code) : sign;
	/* A type without NaN: 0, below zero (ONNX leaves it open). */
	return SELECT(OP2(FEQ, x, x), code, I(s->nan == NONE ? 1 << (s->bits - 1) : s->nan));
}
