/* SPDX-License-Identifier: MIT */
/*
 * What every fabric operation gives, bit for bit, as scalar C. The kernels are
 * loops over these functions, so a vectoriser and any host give the same bits:
 * only IEEE 754 binary32 add, multiply, fused multiply-add, divide and square
 * root, integer operations and selections are used (and binary64 for the
 * argument reduction of sine and cosine). Compile with -ffp-contract=off.
 * Worst errors are measured by tests/unit/fabric_numerics.c; see
 * Documentation/numerics.md.
 */
#ifndef RDU_NUMERICS_H
#define RDU_NUMERICS_H

#include <stdbool.h>
#include <stdint.h>
#include "rdu/config.h"
#include <string.h>

#define RDU_NAN_BITS 0x7fc00000u

static inline float rdu_f(uint32_t u)
{
	float f;

	memcpy(&f, &u, 4);
	return f;
}

static inline uint32_t rdu_u(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	return u;
}

/* Bits of a result: every NaN is the same NaN. */
static inline uint32_t rdu_canon(float f)
{
	return f != f ? RDU_NAN_BITS : rdu_u(f);
}

static inline float rdu_fabs(float x)
{
	return rdu_f(rdu_u(x) & 0x7fffffff);
}

static inline float rdu_copysign(float x, float s)
{
	return rdu_f((rdu_u(x) & 0x7fffffff) | (rdu_u(s) & 0x80000000));
}

static inline float rdu_fma(float a, float b, float c)
{
	return __builtin_fmaf(a, b, c);
}

static inline uint32_t rdu_fmax(uint32_t a, uint32_t b)
{
	float x = rdu_f(a), y = rdu_f(b);
	uint32_t r = x > y ? a : b;

	r = x == y ? a & b : r; /* +0 > -0; equal values are equal bits otherwise */
	return ((x != x) | (y != y)) ? RDU_NAN_BITS : r;
}

static inline uint32_t rdu_fmin(uint32_t a, uint32_t b)
{
	float x = rdu_f(a), y = rdu_f(b);
	uint32_t r = x < y ? a : b;

	r = x == y ? a | b : r;
	return ((x != x) | (y != y)) ? RDU_NAN_BITS : r;
}

/* ---- tail functions ------------------------------------------------------ */

/* 2^n for -126 <= n <= 127. */
static inline float rdu_exp2i(int32_t n)
{
	return rdu_f((uint32_t)(n + 127) << 23);
}

static inline float rdu_exp(float x)
{
	/* Beyond these the result is 0 or infinity; a NaN passes. */
	float c = x > 89.0f ? 89.0f : x;
	float n, r, p;
	int32_t i, h;

	c = c < -104.0f ? -104.0f : c;
	c = c != c ? 0.0f : c;
	n = rdu_fma(c, 1.442695041f, 12582912.0f) - 12582912.0f;
	r = rdu_fma(n, -6.93145752e-1f, c); /* ln 2, high part: n times it is exact */
	r = rdu_fma(n, -1.42860677e-6f, r);
	p = 1.37805939e-3f;
	p = rdu_fma(p, r, 8.37312452e-3f);
	p = rdu_fma(p, r, 4.16695364e-2f);
	p = rdu_fma(p, r, 1.66664720e-1f);
	p = rdu_fma(p, r, 4.99999851e-1f);
	p = rdu_fma(p, r, 1.0f);
	p = rdu_fma(p, r, 1.0f);
	i = (int32_t)n;
	h = i >> 1; /* in two steps, so that denormal results are rounded once */
	p = p * rdu_exp2i(h) * rdu_exp2i(i - h);
	return x != x ? x : p;
}

static inline float rdu_log(float x)
{
	int32_t small = x < 1.17549435e-38f, u, e;
	float a = small ? x * 8388608.0f : x;
	float i = small ? -23.0f : 0.0f, m, f, s, r, t;

	u = (int32_t)rdu_u(a);
	e = (int32_t)((uint32_t)u - 0x3f2aaaab) & (int32_t)0xff800000;
	m = rdu_f((uint32_t)u - (uint32_t)e); /* 2/3 .. 4/3 */
	i = rdu_fma((float)e, 1.19209290e-7f, i);
	f = m - 1.0f;
	s = f * f;
	r = -0.130310059f;
	t = 0.140869141f;
	r = rdu_fma(r, s, -0.121483944f);
	t = rdu_fma(t, s, 0.139814854f);
	r = rdu_fma(r, s, -0.166846126f);
	t = rdu_fma(t, s, 0.200120345f);
	r = rdu_fma(r, s, -0.249996200f);
	r = rdu_fma(t, f, r);
	r = rdu_fma(r, f, 0.333331972f);
	r = rdu_fma(r, f, -0.5f);
	r = rdu_fma(r, s, f);
	r = rdu_fma(i, 0.693147182f, r);
	r = rdu_u(x) == 0x7f800000 ? x : r;
	r = x == 0.0f ? rdu_f(0xff800000) : r;
	return x >= 0.0f ? r : rdu_f(RDU_NAN_BITS);
}

static inline float rdu_tanh(float x)
{
	float a = rdu_fabs(x), z = x * x, p, q;

	p = -5.70498872745e-3f;
	p = rdu_fma(p, z, 2.06390887954e-2f);
	p = rdu_fma(p, z, -5.37397155531e-2f);
	p = rdu_fma(p, z, 1.33314422036e-1f);
	p = rdu_fma(p, z, -3.33332819422e-1f);
	p = rdu_fma(p * z, x, x);
	q = 1.0f - 2.0f / (rdu_exp(2.0f * a) + 1.0f);
	q = rdu_copysign(q, x);
	return a < 0.625f ? p : x != x ? x : q;
}

static inline float rdu_sigmoid(float x)
{
	float e = rdu_exp(-rdu_fabs(x)), n = x < 0.0f ? e : 1.0f;

	return n / (1.0f + e);
}

static inline float rdu_erf(float x)
{
	float t = rdu_fabs(x), s = x * x, r, u, v;

	t = t > 4.0f ? 4.0f : t; /* erf(4) rounds to 1 */
	r = rdu_fma(-1.72853470e-5f, t, 3.83197126e-4f);
	u = rdu_fma(-3.88396438e-3f, t, 2.42546219e-2f);
	r = rdu_fma(r, t * t, u);
	r = rdu_fma(r, t, -1.06777877e-1f);
	r = rdu_fma(r, t, -6.34846687e-1f);
	r = rdu_fma(r, t, -1.28717512e-1f);
	r = rdu_fma(r, t, -t);
	r = rdu_copysign(1.0f - rdu_exp(r), x);
	v = -5.96761703e-4f;
	v = rdu_fma(v, s, 4.99119423e-3f);
	v = rdu_fma(v, s, -2.67681349e-2f);
	v = rdu_fma(v, s, 1.12819925e-1f);
	v = rdu_fma(v, s, -3.76125336e-1f);
	v = rdu_fma(v, s, 1.28379166e-1f);
	v = rdu_fma(v, x, x);
	return x != x ? x : t > 0.927734375f ? r : v;
}

static inline float rdu_sqrt(float x)
{
	return __builtin_sqrtf(x);
}

/* sine (phase 0) and cosine (phase 1) */
float rdu_sincos(float x, unsigned int phase);

static inline float rdu_round(float x)
{
	float a = rdu_fabs(x), r = (a + 8388608.0f) - 8388608.0f;

	return rdu_copysign(a < 8388608.0f ? r : a, x);
}

static inline float rdu_floor(float x)
{
	float r = rdu_round(x);

	return rdu_copysign(r > x ? r - 1.0f : r, x);
}

static inline float rdu_ceil(float x)
{
	float r = rdu_round(x);

	return rdu_copysign(r < x ? r + 1.0f : r, x);
}

static inline uint32_t rdu_f2i(float x)
{
	float r = rdu_round(x), in = rdu_fabs(r) < 2147483648.0f ? r : 0.0f;
	int32_t i = (int32_t)in;

	i = r >= 2147483648.0f ? INT32_MAX : i;
	return (uint32_t)(r <= -2147483648.0f ? INT32_MIN : i);
}

/* fp32 bits to bf16 (the upper half of fp32), nearest even. */
static inline uint32_t rdu_bf16(uint32_t u)
{
	uint32_t r = (u + 0x7fff + (u >> 16 & 1)) >> 16;

	return (u & 0x7fffffff) > 0x7f800000 ? RDU_NAN_BITS >> 16 : r;
}

/* fp32 bits to fp16, nearest even. */
static inline uint32_t rdu_f16(uint32_t u)
{
	uint32_t a = u & 0x7fffffff, r;
	uint32_t normal = (a + 0xfff + (a >> 13 & 1) - (112u << 23)) >> 13;
	/* Below 2^-14: beside 0.5 a unit in the last place is 2^-24, as it is there. */
	uint32_t tiny = rdu_u(rdu_f(a) + 0.5f) - 0x3f000000;

	r = a < 0x38800000 ? tiny : normal;
	r = a >= 0x47800000 ? 0x7c00 : r;
	r = a > 0x7f800000 ? 0x7e00 : r;
	return r | (a > 0x7f800000 ? 0 : u >> 16 & 0x8000);
}

/* fp16 to fp32 bits: exact. */
static inline uint32_t rdu_f16_wide(uint32_t h)
{
	uint32_t a = h & 0x7fff, normal = (a << 13) + (112u << 23);
	uint32_t r = a < 0x0400 ? rdu_u((float)(int32_t)a * 0x1p-24f) : normal;

	r = a >= 0x7c00 ? normal + (112u << 23) : r;
	return r | (h & 0x8000) << 16;
}

/* Philox 2x32-10 (Salmon et al., SC'11): counter {index, 0}, key seed; word 0. */
static inline uint32_t rdu_rng(uint32_t seed, uint32_t index)
{
	uint32_t c0 = index, c1 = 0, k = seed;

	for (int i = 0; i < 10; i++) {
		uint64_t p = (uint64_t)c0 * 0xd256d193u;

		c0 = (uint32_t)(p >> 32) ^ k ^ c1;
		c1 = (uint32_t)p;
		k += 0x9e3779b9u;
	}
	return c0;
}

static inline uint32_t rdu_f2bf_sr(uint32_t u, uint32_t seed, uint32_t index)
{
	uint32_t r = (u + (rdu_rng(seed, index) & 0xffff)) & 0xffff0000;

	return (u & 0x7fffffff) > 0x7f800000 ? RDU_NAN_BITS : r;
}

/* ---- the systolic cell ----------------------------------------------------- */

static inline float rdu_daz(float x)
{
	return (rdu_u(x) & 0x7f800000) ? x : rdu_f(rdu_u(x) & 0x80000000);
}

/* fma(a, b, c) with denormal inputs and results taken as zero. A result is
 * denormal if it is below 2^-126 when rounded to 24 bits without a bound on the
 * exponent (what x86 and this card call tiny). */
float rdu_fma_flush(float a, float b, float c);

/* acc += col * row for one word of two bf16: odd (high) element first. */
static inline float rdu_mac_bf16(float acc, uint32_t col, uint32_t row)
{
	acc = rdu_fma_flush(rdu_f(col & 0xffff0000), rdu_f(row & 0xffff0000), acc);
	return rdu_fma_flush(rdu_f(col << 16), rdu_f(row << 16), acc);
}

/* acc += col * row, mod 2^32, for one word of four bytes; flags: RDU_SYS_*_UNSIGNED. */
static inline uint32_t rdu_mac_int8(uint32_t acc, uint32_t col, uint32_t row, unsigned int flags)
{
	for (int shift = 0; shift < 32; shift += 8) {
		uint8_t c = (uint8_t)(col >> shift), r = (uint8_t)(row >> shift);
		int32_t a = flags & RDU_SYS_COLS_UNSIGNED ? c : (int8_t)c;
		int32_t b = flags & RDU_SYS_ROWS_UNSIGNED ? r : (int8_t)r;

		acc += (uint32_t)(a * b);
	}
	return acc;
}

/* Is there no weight 10 among the 16 of a word? */
static inline bool rdu_ternary_valid(uint32_t weights)
{
	return !(weights >> 1 & ~weights & 0x55555555);
}

/* Adds the four bytes of a word to acc, or subtracts them, as the lowest four weights say, mod
 * 2^32; weight i in bits 2 i and 2 i + 1: 01 adds, 11 subtracts. */
static inline uint32_t rdu_mac_ternary(uint32_t acc, uint32_t bytes, uint32_t weights,
				       bool is_unsigned)
{
	for (int i = 0; i < 4; i++) {
		uint8_t b = (uint8_t)(bytes >> 8 * i);
		uint32_t x = is_unsigned ? b : (uint32_t)(int8_t)b;

		if ((weights >> 2 * i & 3) == 1)
			acc += x;
		else if ((weights >> 2 * i & 3) == 3)
			acc -= x;
	}
	return acc;
}

/* One lane-wise operation (not the cross-lane ones): the definition. */
uint32_t rdu_simd_scalar(unsigned int op, uint32_t a, uint32_t b, uint32_t c);

#endif
