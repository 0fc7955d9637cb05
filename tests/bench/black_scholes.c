// SPDX-License-Identifier: MIT
/*
 * Black-Scholes: the price of European options. Six columns are read once, the prices
 * are written; nothing between goes to memory.
 *
 *	w = v sqrt(T)                          d1 = (log(S / K) + (r + v^2 / 2) T) / w
 *	N(x) = (1 + erf(x / sqrt(2))) / 2      d2 = d1 - w
 *	call = S N(d1) - K e^-rT N(d2)         put = call + K e^-rT - S
 */
#include <math.h>
#include "literature.h"

enum { PUT, SPOT, STRIKE, RATE, VOLATILITY, TIME, PRICE, COLUMNS };

/* N of register 0, which holds x / sqrt(2), into register 0. */
static void normal(struct cfgb *b, uint32_t p)
{
	cfgb_tail(b, p, RDU_SIMD_ERF, 0, cfgb_reg(0), cfgb_none(), cfgb_none());
	cfgb_tail(b, p, RDU_SIMD_FMUL, 0, cfgb_reg(0), cfgb_immf(0.5f), cfgb_none());
	cfgb_tail(b, p, RDU_SIMD_FADD, 0, cfgb_reg(0), cfgb_immf(0.5f), cfgb_none());
}

/* One operation of the tail on an input. */
static uint32_t tail_of(struct cfgb *b, uint32_t unit, uint32_t n, enum rdu_simd_op op)
{
	uint32_t p = literature_pcu(b, unit, n);

	cfgb_stage(b, p, RDU_SIMD_MOV, 0, cfgb_in(0), cfgb_none(), cfgb_none());
	cfgb_tail(b, p, op, 0, cfgb_reg(0), cfgb_none(), cfgb_none());
	return p;
}

/* log(S / K), from S and 1 / K. */
static uint32_t moneyness(struct cfgb *b, uint32_t unit, uint32_t n)
{
	uint32_t p = literature_pcu(b, unit, n);

	cfgb_stage(b, p, RDU_SIMD_FMUL, 0, cfgb_in(0), cfgb_in(1), cfgb_none());
	cfgb_tail(b, p, RDU_SIMD_LOG, 0, cfgb_reg(0), cfgb_none(), cfgb_none());
	return p;
}

/* 1 / w and w, from v and sqrt(T). */
static uint32_t spread(struct cfgb *b, uint32_t unit, uint32_t n)
{
	uint32_t p = literature_pcu(b, unit, n);

	cfgb_stage(b, p, RDU_SIMD_FMUL, 0, cfgb_in(0), cfgb_in(1), cfgb_none());
	cfgb_stage(b, p, RDU_SIMD_MOV, 1, cfgb_reg(0), cfgb_none(), cfgb_none());
	cfgb_tail(b, p, RDU_SIMD_RECIP, 0, cfgb_reg(0), cfgb_none(), cfgb_none());
	return p;
}

/* e^-rT and (r + v^2 / 2) T, from r, v, T. */
static uint32_t drift(struct cfgb *b, uint32_t unit, uint32_t n)
{
	uint32_t p = literature_pcu(b, unit, n);

	cfgb_stage(b, p, RDU_SIMD_FMUL, 1, cfgb_in(1), cfgb_in(1), cfgb_none());
	cfgb_stage(b, p, RDU_SIMD_FMA, 1, cfgb_reg(1), cfgb_immf(0.5f), cfgb_in(0));
	cfgb_stage(b, p, RDU_SIMD_FMUL, 1, cfgb_reg(1), cfgb_in(2), cfgb_none());
	cfgb_stage(b, p, RDU_SIMD_FMUL, 0, cfgb_in(0), cfgb_in(2), cfgb_none());
	cfgb_stage(b, p, RDU_SIMD_FNEG, 0, cfgb_reg(0), cfgb_none(), cfgb_none());
	cfgb_tail(b, p, RDU_SIMD_EXP, 0, cfgb_reg(0), cfgb_none(), cfgb_none());
	return p;
}

/* N(d1) and d1, from log(S / K), the drift and 1 / w. */
static uint32_t first(struct cfgb *b, uint32_t unit, uint32_t n)
{
	uint32_t p = literature_pcu(b, unit, n);

	cfgb_stage(b, p, RDU_SIMD_FADD, 0, cfgb_in(0), cfgb_in(1), cfgb_none());
	cfgb_stage(b, p, RDU_SIMD_FMUL, 1, cfgb_reg(0), cfgb_in(2), cfgb_none());
	cfgb_stage(b, p, RDU_SIMD_FMUL, 0, cfgb_reg(1), cfgb_immf((float)M_SQRT1_2), cfgb_none());
	normal(b, p);
	return p;
}

/* N(d2), from d1 and w. */
static uint32_t second(struct cfgb *b, uint32_t unit, uint32_t n)
{
	uint32_t p = literature_pcu(b, unit, n);

	cfgb_stage(b, p, RDU_SIMD_FSUB, 0, cfgb_in(0), cfgb_in(1), cfgb_none());
	cfgb_stage(b, p, RDU_SIMD_FMUL, 0, cfgb_reg(0), cfgb_immf((float)M_SQRT1_2), cfgb_none());
	normal(b, p);
	return p;
}

static struct cfgb *build(const struct rdu_chip *chip, uint32_t rows)
{
	struct cfgb *b = cfgb_new(chip, 1);
	uint32_t n = rows / chip->lanes, load[6], store, recip, logs, root, w, rates, d1, d2, paid,
		 call, put, price;

	b->num_segments = COLUMNS;
	for (uint32_t c = 0; c < 6; c++)
		load[c] = literature_agcu(b, RDU_KIND_LOAD, 2 * c, c, n);
	recip = tail_of(b, 18, n, RDU_SIMD_RECIP);
	logs = moneyness(b, 9, n);
	root = tail_of(b, 40, n, RDU_SIMD_SQRT);
	w = spread(b, 41, n);
	rates = drift(b, 33, n);
	d1 = first(b, 26, n);
	d2 = second(b, 35, n);
	cfgb_connect(b, load[STRIKE], 0, recip, 0);
	cfgb_connect(b, load[SPOT], 0, logs, 0);
	cfgb_connect(b, recip, 0, logs, 1);
	cfgb_connect(b, load[TIME], 0, root, 0);
	cfgb_connect(b, load[VOLATILITY], 0, w, 0);
	cfgb_connect(b, root, 0, w, 1);
	cfgb_connect(b, load[RATE], 0, rates, 0);
	cfgb_connect(b, load[VOLATILITY], 0, rates, 1);
	cfgb_connect(b, load[TIME], 0, rates, 2);
	cfgb_connect(b, logs, 0, d1, 0);
	cfgb_connect(b, rates, 1, d1, 1);
	cfgb_connect(b, w, 0, d1, 2);
	cfgb_connect(b, d1, 1, d2, 0);
	cfgb_connect(b, w, 1, d2, 1);
	cfgb_out_port(b, rates, 1, 0, 1, 1);
	cfgb_out_port(b, w, 1, 0, 1, 1);
	cfgb_out_port(b, d1, 1, 0, 1, 1);

	/* K e^-rT, and what of it is paid: times N(d2) */
	paid = literature_pcu(b, 27, n);
	cfgb_stage(b, paid, RDU_SIMD_FMUL, 0, cfgb_in(0), cfgb_in(1), cfgb_none());
	cfgb_stage(b, paid, RDU_SIMD_FMUL, 1, cfgb_reg(0), cfgb_in(2), cfgb_none());
	cfgb_connect(b, load[STRIKE], 0, paid, 0);
	cfgb_connect(b, rates, 0, paid, 1);
	cfgb_connect(b, d2, 0, paid, 2);
	/* what a put is worth beyond a call */
	put = literature_pcu(b, 12, n);
	cfgb_stage(b, put, RDU_SIMD_FSUB, 0, cfgb_in(0), cfgb_in(1), cfgb_none());
	cfgb_stage(b, put, RDU_SIMD_SELECT, 0, cfgb_in(2), cfgb_reg(0), cfgb_immf(0));
	cfgb_connect(b, paid, 0, put, 0);
	cfgb_connect(b, load[SPOT], 0, put, 1);
	cfgb_connect(b, load[PUT], 0, put, 2);
	call = literature_pcu(b, 20, n);
	cfgb_stage(b, call, RDU_SIMD_FMUL, 0, cfgb_in(0), cfgb_in(1), cfgb_none());
	cfgb_stage(b, call, RDU_SIMD_FSUB, 0, cfgb_reg(0), cfgb_in(2), cfgb_none());
	cfgb_connect(b, load[SPOT], 0, call, 0);
	cfgb_connect(b, d1, 0, call, 1);
	cfgb_connect(b, paid, 1, call, 2);
	cfgb_out_port(b, paid, 1, 0, 1, 1);
	price = literature_pcu(b, 13, n);
	cfgb_stage(b, price, RDU_SIMD_FADD, 0, cfgb_in(0), cfgb_in(1), cfgb_none());
	cfgb_connect(b, call, 0, price, 0);
	cfgb_connect(b, put, 0, price, 1);
	store = literature_agcu(b, RDU_KIND_STORE, 1, PRICE, n);
	cfgb_connect(b, price, 0, store, 0);
	return b;
}

static uint32_t result_rows(uint32_t rows)
{
	return rows;
}

/* Ranges as in PARSEC's input. */
static void fill(uint32_t **column, uint32_t rows)
{
	uint64_t seed = 1973;

	for (uint32_t i = 0; i < rows; i++) {
		column[PUT][i] = literature_random(&seed) < 0.5;
		column[SPOT][i] = cfgb_bits((float)(25 + 100 * literature_random(&seed)));
		column[STRIKE][i] = cfgb_bits((float)(25 + 100 * literature_random(&seed)));
		column[RATE][i] = cfgb_bits((float)(0.025 + 0.075 * literature_random(&seed)));
		column[VOLATILITY][i] = cfgb_bits((float)(0.05 + 0.6 * literature_random(&seed)));
		column[TIME][i] = cfgb_bits((float)(0.05 + 0.95 * literature_random(&seed)));
	}
}

static double number(uint32_t *const *column, int c, uint32_t i)
{
	float f;

	memcpy(&f, &column[c][i], 4);
	return f;
}

static double normal_distribution(double x)
{
	return 0.5 * erfc(-x * M_SQRT1_2);
}

static double price_of(uint32_t *const *column, uint32_t i)
{
	double s = number(column, SPOT, i), k = number(column, STRIKE, i);
	double r = number(column, RATE, i), v = number(column, VOLATILITY, i);
	double t = number(column, TIME, i), w = v * sqrt(t);
	double d1 = (log(s / k) + (r + v * v / 2) * t) / w, d2 = d1 - w, later = k * exp(-r * t);

	if (column[PUT][i])
		return later * normal_distribution(-d2) - s * normal_distribution(-d1);
	return s * normal_distribution(d1) - later * normal_distribution(d2);
}

/* Relative to the prices that are subtracted: a price itself may be next to nothing. */
static int check(uint32_t *const *column, uint32_t rows, double *worst, char *text, size_t size)
{
	*worst = 0;
	for (uint32_t i = 0; i < rows; i++) {
		double want = price_of(column, i), got = number(column, PRICE, i);
		double error =
			fabs(got - want) / (number(column, SPOT, i) + number(column, STRIKE, i));

		if (!(error < 1e-5)) {
			snprintf(text, size, "option %u costs %.9g, not %.9g", i, got, want);
			return -1;
		}
		*worst = error > *worst ? error : *worst;
	}
	return 0;
}

const struct literature literature_black_scholes = {
	.name = "Black-Scholes",
	.size = "960,000 options",
	.published = "PLDI'18, Table 4",
	.ms = 2.33,
	.rows = 960000,
	.num_segments = COLUMNS,
	.build = build,
	.result_rows = result_rows,
	.fill = fill,
	.check = check,
};
