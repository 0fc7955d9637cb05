// SPDX-License-Identifier: MIT
/*
 * Chips: what can be built, and the numbers that follow from a description.
 * Descriptions as text are chip_text.c's.
 */
#include <stdarg.h>
#include <stdio.h>
#include "chip_priv.h"

/* Over what the card is, not over what is known of it: `assumed` is left out. */
uint64_t rdu_chip_hash(const struct rdu_chip *chip)
{
	uint64_t h = rdu_fnv1a(RDU_FNV1A_INIT, chip->name, sizeof(chip->name));

#define FIELD_HASH(i, f, u, d)                                                           \
	{                                                                                \
		uint8_t b[4] = { chip->f & 255, chip->f >> 8 & 255, chip->f >> 16 & 255, \
				 chip->f >> 24 };                                        \
		h = rdu_fnv1a(h, b, 4);                                                  \
	}
	RDU_CHIP_FIELDS(FIELD_HASH)
#undef FIELD_HASH
	return h;
}

/* ---- what can be built ------------------------------------------------------ */

/* X(field, least, most): what the model and the formats can hold. */
#define CHIP_RANGES(X)                       \
	X(tiles, 1, 32)                      \
	X(tile_cols, 1, 256)                 \
	X(tile_rows, 1, 256)                 \
	X(agcus_per_tile, 1, 1024)           \
	X(lanes, 2, 64)                      \
	X(simd_stages, 1, RDU_MAX_STAGES)    \
	X(simd_regs, 1, 16)                  \
	X(tail_stages, 0, RDU_MAX_TAIL)      \
	X(pcu_vec_in, 1, RDU_MAX_PORTS)      \
	X(pcu_vec_out, 1, RDU_MAX_PORTS)     \
	X(systolic_cols, 0, 64)              \
	X(clock_khz, 1000, 100000000)        \
	X(pmu_bytes, 4096, 64u << 20)        \
	X(pmu_banks, 1, 1024)                \
	X(pmu_writes, 1, 64)                 \
	X(pmu_reads, 1, 64)                  \
	X(agcu_programs, 1, 1024)            \
	X(vec_links, 1, 1024)                \
	X(hop_cycles, 0, 1000)               \
	X(pmu_cycles, 0, 1000)               \
	X(stage_cycles, 0, 1000)             \
	X(dram_mbps, 1, 100000000)           \
	X(dram_channels, 1, 1024)            \
	X(dram_burst, 4, 65536)              \
	X(dram_latency, 0, 1000000)          \
	X(host_mbps, 1, 100000000)           \
	X(host_latency, 0, 1000000)          \
	X(pload_bytes, 1, 1000000)           \
	X(pload_latency, 0, 100000000)       \
	X(aload_cycles, 0, 100000000)        \
	X(aload_per_segment, 0, 1000000)     \
	X(process_nm, 0, 65)                 \
	X(dram_groups, 1, 16)                \
	X(dram_banks, 1, 64)                 \
	X(dram_row, 4, 1u << 20)             \
	X(dram_tck, 10, 1000000)             \
	X(dram_cl, 1, 1000)                  \
	X(dram_cwl, 1, 1000)                 \
	X(dram_tccd_s, 1, 1000)              \
	X(dram_tccd_l, 1, 1000)              \
	X(dram_trcd, 0, 10000000)            \
	X(dram_trp, 0, 10000000)             \
	X(dram_tras, 0, 10000000)            \
	X(dram_trc, 0, 10000000)             \
	X(dram_trrd_s, 0, 10000000)          \
	X(dram_trrd_l, 0, 10000000)          \
	X(dram_tfaw, 0, 10000000)            \
	X(dram_twtr_s, 0, 10000000)          \
	X(dram_twtr_l, 0, 10000000)          \
	X(dram_trtp, 0, 10000000)            \
	X(dram_trtw, 1, 1000)                \
	X(dram_twr, 0, 10000000)             \
	X(dram_trfc, 0, 100000000)           \
	X(dram_trefi, 1, 1000000000)         \
	X(dram_queue, 1, 4096)               \
	X(dram_drain_high, 1, 4096)          \
	X(dram_drain_low, 0, 4095)           \
	X(dram_drain_idle, 0, 1000000)       \
	X(agcu_requests, 1, 4096)            \
	X(agcu_vectors, 1, 1024)             \
	X(agcu_lines, 1, RDU_MAX_AGCU_LINES) \
	X(fifo_vectors, 1, 4096)             \
	X(config_planes, 1, 2)               \
	X(config_switch, 0, 1000000)

struct checker {
	const struct rdu_chip *chip;
	uint64_t good; /* fields that are known, and within their range */
	rdu_chip_found found;
	void *opaque;
};

__attribute__((format(printf, 3, 4))) static void report(struct checker *k, int field,
							 const char *fmt, ...)
{
	char text[CHIP_PROBLEM_SIZE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	k->found(k->opaque, field, text);
}

#define F(f) (1ULL << CHIP_INDEX_##f)
/* What must hold of fields that are good by themselves; said of `field`. */
#define RULE(fields, holds, field, limit, ...)                                              \
	do {                                                                                \
		if ((k->good & (F(field) | (fields))) == (F(field) | (fields)) && !(holds)) \
			report(k, CHIP_INDEX_##field, #field " %u: must be " limit,         \
			       k->chip->field, __VA_ARGS__);                                \
	} while (0)
#define POWER_OF_TWO(field) \
	RULE(0, !(k->chip->field & (k->chip->field - 1)), field, "%s", "a power of two")

static void check_units(struct checker *k)
{
	const struct rdu_chip *c = k->chip;

	POWER_OF_TWO(lanes);
	RULE(0, !c->process_nm || c->process_nm >= 5, process_nm, "%d at least, or 0: not known",
	     5);
	RULE(0, c->pmu_bytes % 4096 == 0, pmu_bytes, "a multiple of %d", 4096);
	RULE(F(tile_cols), c->tile_cols * c->tile_rows >= 2 && c->tile_cols * c->tile_rows <= 8192,
	     tile_rows, "such that %u columns of it are 2 to 8192 units", c->tile_cols);
	RULE(F(systolic_cols), !c->systolic_cols || c->pcu_vec_in >= 2, pcu_vec_in,
	     "2 at least: a systolic array (systolic_cols %u) needs two input ports",
	     c->systolic_cols);
}

/* The device's share of dram_latency, in picoseconds. */
static uint64_t device_ps(const struct rdu_chip *c)
{
	return c->dram_trcd + (uint64_t)(c->dram_cl + c->dram_tccd_s) * c->dram_tck;
}

static void check_memory(struct checker *k)
{
	const struct rdu_chip *c = k->chip;
	uint64_t mbps = rdu_chip_dram_mbps(c), least;

	POWER_OF_TWO(dram_burst);
	POWER_OF_TWO(dram_row);
	POWER_OF_TWO(dram_groups);
	POWER_OF_TWO(dram_banks);
	RULE(F(dram_burst), c->dram_row >= c->dram_burst, dram_row,
	     "as long as a burst at least, dram_burst %u", c->dram_burst);
	RULE(F(dram_groups), c->dram_banks >= c->dram_groups, dram_banks,
	     "as many as there are groups at least, dram_groups %u", c->dram_groups);
	RULE(F(dram_channels) | F(dram_burst) | F(dram_tccd_s) | F(dram_tck), c->dram_mbps == mbps,
	     dram_mbps, "%llu: %u channels, each of %u bytes in tCCD_S, %u clocks of %u ps",
	     (unsigned long long)mbps, c->dram_channels, c->dram_burst, c->dram_tccd_s,
	     c->dram_tck);
	RULE(F(dram_tccd_s), c->dram_tccd_l >= c->dram_tccd_s, dram_tccd_l,
	     "dram_tccd_s, %u, at least", c->dram_tccd_s);
	RULE(F(dram_trrd_s), c->dram_trrd_l >= c->dram_trrd_s, dram_trrd_l,
	     "dram_trrd_s, %u, at least", c->dram_trrd_s);
	RULE(F(dram_twtr_s), c->dram_twtr_l >= c->dram_twtr_s, dram_twtr_l,
	     "dram_twtr_s, %u, at least", c->dram_twtr_s);
	RULE(F(dram_trrd_s), c->dram_tfaw >= c->dram_trrd_s, dram_tfaw, "dram_trrd_s, %u, at least",
	     c->dram_trrd_s);
	RULE(F(dram_trcd), c->dram_tras >= c->dram_trcd, dram_tras, "dram_trcd, %u, at least",
	     c->dram_trcd);
	RULE(F(dram_tras), c->dram_trc >= c->dram_tras, dram_trc, "dram_tras, %u, at least",
	     c->dram_tras);
	RULE(F(dram_cl) | F(dram_cwl) | F(dram_tccd_s),
	     c->dram_trtw + c->dram_cwl >= c->dram_cl + c->dram_tccd_s, dram_trtw,
	     "%u at least, CL + tCCD_S - CWL: data would collide",
	     c->dram_cl + c->dram_tccd_s - c->dram_cwl);
	RULE(F(dram_trfc) | F(dram_trp), c->dram_trefi > c->dram_trfc + c->dram_trp, dram_trefi,
	     "over tRFC + tRP, %u: it would do nothing but refresh", c->dram_trfc + c->dram_trp);
	least = (device_ps(c) * c->clock_khz + 999999999) / 1000000000;
	RULE(F(dram_trcd) | F(dram_cl) | F(dram_tccd_s) | F(dram_tck) | F(clock_khz),
	     c->dram_latency >= least, dram_latency,
	     "%llu at least: tRCD, CL and a burst take %llu ps", (unsigned long long)least,
	     (unsigned long long)device_ps(c));
	RULE(F(dram_queue), c->dram_drain_high <= c->dram_queue, dram_drain_high,
	     "dram_queue, %u, at most", c->dram_queue);
	RULE(F(dram_drain_high), c->dram_drain_low < c->dram_drain_high, dram_drain_low,
	     "below dram_drain_high, %u", c->dram_drain_high);
}

void rdu_chip_problems(const struct rdu_chip *chip, uint64_t known, rdu_chip_found found,
		       void *opaque)
{
	struct checker checker = { .chip = chip, .found = found, .opaque = opaque };
	struct checker *k = &checker;

#define RANGE(f, lo, hi)                                                                       \
	if (!(known & F(f)))                                                                   \
		;                                                                              \
	else if ((int64_t)chip->f < (lo) || (int64_t)chip->f > (hi))                           \
		report(k, CHIP_INDEX_##f, "%s %u: must be %u to %u", #f, chip->f, (lo), (hi)); \
	else                                                                                   \
		k->good |= F(f);
	CHIP_RANGES(RANGE)
#undef RANGE
	check_units(k);
	check_memory(k);
}

/* One line: they are parted by semicolons; what finds no room is counted. */
struct line {
	char *text;
	size_t size, n;
	unsigned int left_out;
};

static void add_to_line(void *opaque, int field, const char *text)
{
	static const char more[] = "; and 00 more";
	struct line *l = opaque;
	size_t length = strlen(text) + 2;

	(void)field;
	if (l->left_out || l->n + length + sizeof(more) > l->size) {
		l->left_out++;
		return;
	}
	l->n += (size_t)snprintf(l->text + l->n, l->size - l->n, "%s%s", l->n ? "; " : "", text);
}

int rdu_chip_check(const struct rdu_chip *chip, char *error, size_t error_size)
{
	struct line l = { .text = error, .size = error_size };

	if (error_size)
		*error = 0;
	if (!chip->name[0] || chip->name[RDU_CHIP_NAME_LEN - 1])
		add_to_line(&l, 0, "name: empty or not terminated");
	rdu_chip_problems(chip, ~0ULL, add_to_line, &l);
	if (l.left_out && l.size > l.n)
		snprintf(l.text + l.n, l.size - l.n, "%s%u more", l.n ? "; and " : "", l.left_out);
	return l.n || l.left_out ? -1 : 0;
}

/* ---- what follows from it ------------------------------------------------------ */

uint64_t rdu_chip_dram_mbps(const struct rdu_chip *chip)
{
	uint64_t ps = (uint64_t)chip->dram_tccd_s * chip->dram_tck;

	return ps ? (uint64_t)chip->dram_channels * chip->dram_burst * 1000000 / ps : 0;
}

unsigned int rdu_chip_pcus_per_tile(const struct rdu_chip *chip)
{
	return (chip->tile_cols * chip->tile_rows + 1) / 2;
}

unsigned int rdu_chip_pmus_per_tile(const struct rdu_chip *chip)
{
	return chip->tile_cols * chip->tile_rows / 2;
}

/* Checkerboard: (x + y) even is a PCU; units are numbered row by row. */
void rdu_chip_unit_xy(const struct rdu_chip *chip, enum rdu_unit kind, unsigned int unit,
		      unsigned int *x, unsigned int *y)
{
	unsigned int cols = chip->tile_cols, even = (cols + 1) / 2, odd = cols / 2, first, row = 0;

	if (kind == RDU_UNIT_AGCU) {
		*x = unit & 1 ? cols - 1 : 0;
		*y = unit / 2 % chip->tile_rows;
		return;
	}
	/* Rows come in pairs; `first` units of this kind sit in the even one. */
	first = kind == RDU_UNIT_PCU ? even : odd;
	row = unit / cols * 2;
	unit %= cols;
	if (unit >= first) {
		row++;
		unit -= first;
	}
	*y = row;
	*x = unit * 2 + ((kind == RDU_UNIT_PMU) ^ (row & 1));
}

double rdu_chip_peak_bf16_flops(const struct rdu_chip *chip)
{
	/* A step is two multiply-adds per cell and takes two cycles. */
	return 2.0 * chip->tiles * rdu_chip_pcus_per_tile(chip) * chip->lanes *
	       chip->systolic_cols * chip->clock_khz * 1e3;
}

double rdu_chip_peak_int8_ops(const struct rdu_chip *chip)
{
	/* Four int8 where there are two bf16. */
	return 2 * rdu_chip_peak_bf16_flops(chip);
}

double rdu_chip_peak_fp32_flops(const struct rdu_chip *chip)
{
	return 2.0 * chip->tiles * rdu_chip_pcus_per_tile(chip) * chip->lanes * chip->simd_stages *
	       chip->clock_khz * 1e3;
}
