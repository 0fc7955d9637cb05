// SPDX-License-Identifier: MIT
/* Scalar definitions that are too long to inline, and the table of operations. */
#include "numerics.h"
#include "rdu/config.h"

float rdu_fma_flush(float a, float b, float c)
{
	float r;

	a = rdu_daz(a);
	b = rdu_daz(b);
	c = rdu_daz(c);
	r = rdu_fma(a, b, c);
	if ((rdu_u(r) & 0x7fffffff) == 0x00800000) {
		/* 2^-126 may have been rounded up from what is tiny: look again
		 * with a larger exponent. |a| is below 2^60 here. */
		float s = 0x1p64f;
		float up = rdu_fabs(a) > 1.0f ? rdu_fma(a, b * s, c * s) : rdu_fma(a * s, b, c * s);

		if (rdu_fabs(up) < 0x1p-62f)
			return rdu_copysign(0.0f, r);
	}
	return rdu_daz(r);
}

/* x - q * pi/2 for large |x|, by the product with enough bits of 2/pi (Payne
 * and Hanek, 1983), in fixed point. */
static double reduce_large(float x, int64_t *quadrant)
{
	static const uint32_t two_over_pi[] = { 0x28be60db, 0x9391054a, 0x7f09d5f4, 0x7d4d3770,
						0x36d8a566, 0x4f10e410, 0x7f9458ea };
	uint32_t m = rdu_u(x) << 8 | 0x80000000, hi, mid, lo, next;
	int32_t e = (int32_t)(rdu_u(x) >> 23 & 0xff) - 126, i = e >> 5;
	uint64_t p;
	double r;

	e &= 31;
	hi = i ? two_over_pi[i - 1] : 0;
	mid = two_over_pi[i];
	lo = two_over_pi[i + 1];
	next = two_over_pi[i + 2];
	if (e) {
		hi = hi << e | mid >> (32 - e);
		mid = mid << e | lo >> (32 - e);
		lo = lo << e | next >> (32 - e);
	}
	p = (uint64_t)m * lo;
	p = (uint64_t)m * mid + (p >> 32);
	p = ((uint64_t)(m * hi) << 32) + p;
	*quadrant = (int64_t)(p >> 62);
	p &= 0x3fffffffffffffff;
	if (p & 0x2000000000000000) {
		p -= 0x4000000000000000;
		*quadrant += 1;
	}
	r = (double)(int64_t)p * 0x1.921fb54442d18p-62;
	if (rdu_u(x) >> 31) {
		*quadrant = -*quadrant;
		r = -r;
	}
	return r;
}

float rdu_sincos(float x, unsigned int phase)
{
	float r, s, p;
	int64_t q;

	if ((rdu_u(x) & 0x7f800000) == 0x7f800000)
		return rdu_f(RDU_NAN_BITS);
	if (rdu_fabs(x) < 0x1p20f) {
		double n = ((double)x * 0x1.45f306dc9c883p-1 + 0x1.8p52) - 0x1.8p52;
		double d = __builtin_fma(n, -0x1.921fb54442d18p0, (double)x);

		r = (float)__builtin_fma(n, -0x1.1a62633145c07p-54, d);
		q = (int64_t)n;
	} else {
		r = (float)reduce_large(x, &q);
	}
	q += phase;
	s = r * r;
	if (q & 1) {
		p = 2.44677067e-5f;
		p = rdu_fma(p, s, -1.38877297e-3f);
		p = rdu_fma(p, s, 4.16666567e-2f);
		p = rdu_fma(p, s, -0.5f);
		p = rdu_fma(p, s, 1.0f);
	} else {
		p = 2.86567956e-6f;
		p = rdu_fma(p, s, -1.98559923e-4f);
		p = rdu_fma(p, s, 8.33338592e-3f);
		p = rdu_fma(p, s, -1.66666672e-1f);
		p = rdu_fma(p, r * s, r);
	}
	return q & 2 ? -p : p;
}

uint32_t rdu_simd_scalar(unsigned int op, uint32_t a, uint32_t b, uint32_t c)
{
	float x = rdu_f(a), y = rdu_f(b), z = rdu_f(c);

	switch (op) {
#define RDU_OP(name, expr)    \
	case RDU_SIMD_##name: \
		return expr;
#include "ops.h"
#undef RDU_OP
	default:
		return 0;
	}
	(void)z;
}
