// SPDX-License-Identifier: MIT
/*
 * TPC-H Query 6: the sum of price x discount over the rows of a year, a range of
 * discounts and small quantities. Four columns of 32-bit words are read once, nothing
 * is written but the sum: it lives on the memory's rate.
 *
 *	date -> within the year? \
 *	quantity -> small?       -> and -> select price x discount -> sum -> result
 *	discount -> in range?    /
 *	price
 */
#include <math.h>
#include "literature.h"

enum { DATE, QUANTITY, DISCOUNT, PRICE, REVENUE, COLUMNS };

#define FIRST_DAY 19940101
#define END_DAY 19950101
#define LEAST_DISCOUNT 0.05f
#define MOST_DISCOUNT 0.07f
#define QUANTITIES 24

static struct cfgb *build(const struct rdu_chip *chip, uint32_t rows)
{
	struct cfgb *b = cfgb_new(chip, 1);
	uint32_t n = rows / chip->lanes, load[4], when, what, sum, store;

	b->num_segments = COLUMNS;
	for (uint32_t c = 0; c < 4; c++)
		load[c] = literature_agcu(b, RDU_KIND_LOAD, 2 * c, c, n);
	when = literature_pcu(b, 0, n);
	cfgb_stage(b, when, RDU_SIMD_ILE, 0, cfgb_imm(FIRST_DAY), cfgb_in(0), cfgb_none());
	cfgb_stage(b, when, RDU_SIMD_ILT, 1, cfgb_in(0), cfgb_imm(END_DAY), cfgb_none());
	cfgb_stage(b, when, RDU_SIMD_ILT, 2, cfgb_in(1), cfgb_imm(QUANTITIES), cfgb_none());
	cfgb_stage(b, when, RDU_SIMD_AND, 0, cfgb_reg(0), cfgb_reg(1), cfgb_none());
	cfgb_stage(b, when, RDU_SIMD_AND, 0, cfgb_reg(0), cfgb_reg(2), cfgb_none());
	cfgb_connect(b, load[DATE], 0, when, 0);
	cfgb_connect(b, load[QUANTITY], 0, when, 1);

	what = literature_pcu(b, 8, n);
	cfgb_stage(b, what, RDU_SIMD_FMUL, 0, cfgb_in(0), cfgb_in(1), cfgb_none());
	cfgb_stage(b, what, RDU_SIMD_FLE, 1, cfgb_immf(LEAST_DISCOUNT), cfgb_in(1), cfgb_none());
	cfgb_stage(b, what, RDU_SIMD_FLE, 2, cfgb_in(1), cfgb_immf(MOST_DISCOUNT), cfgb_none());
	cfgb_stage(b, what, RDU_SIMD_AND, 1, cfgb_reg(1), cfgb_reg(2), cfgb_none());
	cfgb_stage(b, what, RDU_SIMD_SELECT, 0, cfgb_reg(1), cfgb_reg(0), cfgb_immf(0));
	cfgb_stage(b, what, RDU_SIMD_SELECT, 0, cfgb_in(2), cfgb_reg(0), cfgb_immf(0));
	cfgb_connect(b, load[PRICE], 0, what, 0);
	cfgb_connect(b, load[DISCOUNT], 0, what, 1);
	cfgb_connect(b, when, 0, what, 2);

	sum = literature_pcu(b, 16, n);
	cfgb_stage_acc(b, sum, RDU_SIMD_FADD, 0, cfgb_acc(), cfgb_in(0), cfgb_none(), 1, 0);
	cfgb_stage(b, sum, RDU_SIMD_RED_FADD, 0, cfgb_reg(0), cfgb_none(), cfgb_none());
	cfgb_connect(b, what, 0, sum, 0);

	store = literature_agcu(b, RDU_KIND_STORE, 8, REVENUE, 1);
	cfgb_connect(b, sum, 0, store, 0);
	cfgb_out_port(b, sum, 0, 1, 0, 1);
	return b;
}

static uint32_t result_rows(uint32_t rows)
{
	(void)rows;
	return 16;
}

/* Seven years, discounts of 0 to 10 %, quantities of 1 to 50, as TPC-H has them. */
static void fill(uint32_t **column, uint32_t rows)
{
	uint64_t seed = 6;

	for (uint32_t i = 0; i < rows; i++) {
		uint32_t year = 1992 + (uint32_t)(7 * literature_random(&seed));
		uint32_t month = 1 + (uint32_t)(12 * literature_random(&seed));
		uint32_t day = 1 + (uint32_t)(28 * literature_random(&seed));

		column[DATE][i] = year * 10000 + month * 100 + day;
		column[QUANTITY][i] = 1 + (uint32_t)(50 * literature_random(&seed));
		column[DISCOUNT][i] =
			cfgb_bits((float)(int)(11 * literature_random(&seed)) / 100.0f);
		column[PRICE][i] = cfgb_bits((float)(900 + 104000 * literature_random(&seed)));
	}
}

static float as_float(uint32_t word)
{
	float f;

	memcpy(&f, &word, 4);
	return f;
}

static int check(uint32_t *const *column, uint32_t rows, double *worst, char *text, size_t size)
{
	double sum = 0, got = as_float(column[REVENUE][0]);

	for (uint32_t i = 0; i < rows; i++) {
		double discount = as_float(column[DISCOUNT][i]);

		if (column[DATE][i] >= FIRST_DAY && column[DATE][i] < END_DAY &&
		    discount >= LEAST_DISCOUNT && discount <= MOST_DISCOUNT &&
		    column[QUANTITY][i] < QUANTITIES)
			sum += as_float(column[PRICE][i]) * discount;
	}
	*worst = fabs(got - sum) / sum;
	/* a lane's sum of `rows` / 16 products, rounded each time, and the tree */
	if (sum > 0 && *worst < 1e-4)
		return 0;
	snprintf(text, size, "the sum is %.9g, not %.9g", got, sum);
	return -1;
}

const struct literature literature_q6 = {
	.name = "TPC-H Query 6",
	.size = "6,400,000 rows",
	.published = "PLDI'18, Table 4",
	.ms = 8.60,
	.rows = 6400000,
	.num_segments = COLUMNS,
	.build = build,
	.result_rows = result_rows,
	.fill = fill,
	.check = check,
};
