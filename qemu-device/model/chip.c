// SPDX-License-Identifier: MIT
/*
 * Chip descriptions: the two that are built in, the parser of description
 * files, and the numbers that follow from a description.
 *
 * The built-in ones are written in the file format and go through the parser,
 * so a user's file can do all that they can. A '*' marks a number that is not
 * published: it was chosen so that the published totals come out.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "rdu_card.h"

/* SambaNova SN10: 640 PCUs + 640 PMUs in 4 tiles, > 320 TFLOPS bf16, 320 MB,
 * six DDR4-2667 channels, PCIe 4.0 x16 (Hot Chips 33). The inner sizes of its
 * units are not published. */
static const char chip_sn10[] = "name sn10\n"
				"tiles 4\n"
				"tile_cols 20\n"
				"tile_rows 16\n"
				"agcus_per_tile 32 *\n"
				"lanes 32 *\n"
				"simd_stages 6 *\n"
				"simd_regs 6 *\n"
				"tail_stages 3 *\n"
				"pcu_vec_in 4 *\n"
				"pcu_vec_out 4 *\n"
				"systolic_cols 8 *\n"
				"clock_khz 1000000 *\n"
				"pmu_bytes 524288\n"
				"pmu_banks 32 *\n"
				"pmu_writes 2 *\n"
				"pmu_reads 3 *\n"
				"agcu_programs 16 *\n"
				"vec_links 8 *\n"
				"hop_cycles 1 *\n"
				"pmu_cycles 4 *\n"
				"stage_cycles 1 *\n"
				"dram_mbps 128000\n"
				"dram_channels 6\n"
				"dram_burst 64\n"
				"dram_latency 120 *\n"
				"host_mbps 31500\n"
				"host_latency 700 *\n"
				"pload_bytes 64 *\n"
				"pload_latency 1000 *\n"
				"aload_cycles 200 *\n"
				"aload_per_segment 8 *\n"
				"tlb_cycles 0 *\n";

/* Plasticine (ISCA'17, Table 3 and 4.2): 64 PCUs + 64 PMUs, 12.3 TFLOPS fp32,
 * 16 MB, four DDR3-1600 channels, 34 AGs. The paper models no host link, and
 * gives no latencies but those of its pipelines. */
static const char chip_plasticine[] = "name plasticine\n"
				      "tiles 1\n"
				      "tile_cols 16\n"
				      "tile_rows 8\n"
				      "agcus_per_tile 34\n"
				      "lanes 16\n"
				      "simd_stages 6\n"
				      "simd_regs 6\n"
				      "tail_stages 3 *\n"
				      "pcu_vec_in 3\n"
				      "pcu_vec_out 3\n"
				      "systolic_cols 0\n"
				      "clock_khz 1000000\n"
				      "pmu_bytes 262144\n"
				      "pmu_banks 16\n"
				      "pmu_writes 2 *\n"
				      "pmu_reads 3 *\n"
				      "agcu_programs 16 *\n"
				      "vec_links 8 *\n"
				      "hop_cycles 1 *\n"
				      "pmu_cycles 4 *\n"
				      "stage_cycles 1\n"
				      "dram_mbps 51200\n"
				      "dram_channels 4\n"
				      "dram_burst 64\n"
				      "dram_latency 60 *\n"
				      "host_mbps 15750 *\n"
				      "host_latency 700 *\n"
				      "pload_bytes 64 *\n"
				      "pload_latency 1000 *\n"
				      "aload_cycles 200 *\n"
				      "aload_per_segment 8 *\n"
				      "tlb_cycles 0 *\n";

static const struct {
	const char *name, *text;
} builtin[] = {
	{ "sn10", chip_sn10 },
	{ "plasticine", chip_plasticine },
};

static const char *const field_name[RDU_CHIP_NUM_FIELDS] = {
#define FIELD_NAME(i, f, u, d) [i] = #f,
	RDU_CHIP_FIELDS(FIELD_NAME)
#undef FIELD_NAME
};

static void fields_of(struct rdu_chip *chip, uint32_t *field[RDU_CHIP_NUM_FIELDS])
{
#define FIELD_PTR(i, f, u, d) field[i] = &chip->f;
	RDU_CHIP_FIELDS(FIELD_PTR)
#undef FIELD_PTR
}

/* One line, without comment and surrounding blanks: "key value[ *]". */
static const char *parse_line(char *line, struct rdu_chip *chip, uint32_t **field, uint64_t *seen,
			      bool *named)
{
	char *key = line, *value, *end;
	unsigned long v;
	unsigned int i;

	while (*line && !isspace((unsigned char)*line))
		line++;
	if (!*line)
		return "a name without a value";
	*line++ = 0;
	while (isspace((unsigned char)*line))
		line++;
	value = line;

	if (!strcmp(key, "name")) {
		size_t n = strlen(value);

		if (*named)
			return "name given twice";
		if (n >= RDU_CHIP_NAME_LEN)
			return "name longer than 15 characters";
		for (i = 0; i < n; i++)
			if (!isgraph((unsigned char)value[i]))
				return "a blank or unprintable character in the name";
		memcpy(chip->name, value, n);
		*named = true;
		return NULL;
	}

	for (i = 0; i < RDU_CHIP_NUM_FIELDS; i++)
		if (field_name[i] && !strcmp(key, field_name[i]))
			break;
	if (i == RDU_CHIP_NUM_FIELDS)
		return "no such field";
	if (*seen >> i & 1)
		return "field given twice";
	if (!isdigit((unsigned char)*value))
		return "value is not a number";
	errno = 0;
	v = strtoul(value, &end, 0);
	if (errno || v > UINT32_MAX)
		return "value does not fit 32 bits";
	while (isspace((unsigned char)*end))
		end++;
	if (*end == '*') {
		chip->assumed |= 1ULL << i;
		end++;
	}
	if (*end)
		return "text after the value";
	*field[i] = (uint32_t)v;
	*seen |= 1ULL << i;
	return NULL;
}

static int parse_text(const char *text, size_t size, const char *file, struct rdu_chip *chip,
		      char *error, size_t error_size)
{
	uint32_t *field[RDU_CHIP_NUM_FIELDS];
	char line[256], check[160];
	unsigned int number = 0, i;
	uint64_t seen = 0;
	bool named = false;
	size_t pos = 0;

	memset(chip, 0, sizeof(*chip));
	fields_of(chip, field);
	while (pos < size) {
		const char *nl = memchr(text + pos, '\n', size - pos), *what;
		size_t n = nl ? (size_t)(nl - text) - pos : size - pos, used = n;
		char *s = line, *hash;

		number++;
		if (n >= sizeof(line)) {
			snprintf(error, error_size, "%s:%u: line too long", file, number);
			return -1;
		}
		if (memchr(text + pos, 0, n)) {
			snprintf(error, error_size, "%s:%u: not a text file", file, number);
			return -1;
		}
		memcpy(line, text + pos, n);
		line[n] = 0;
		pos += n + 1;
		hash = strchr(line, '#');
		if (hash)
			used = (size_t)(hash - line);
		while (used && isspace((unsigned char)line[used - 1]))
			used--;
		line[used] = 0;
		while (isspace((unsigned char)*s))
			s++;
		if (!*s)
			continue;
		what = parse_line(s, chip, field, &seen, &named);
		if (what) {
			snprintf(error, error_size, "%s:%u: %s: %.64s", file, number, what, s);
			return -1;
		}
	}
	if (!named) {
		snprintf(error, error_size, "%s:%u: the chip has no name", file, number);
		return -1;
	}
	for (i = 0; i < RDU_CHIP_NUM_FIELDS; i++) {
		if (!(seen >> i & 1)) {
			snprintf(error, error_size, "%s:%u: field missing: %s", file, number,
				 field_name[i]);
			return -1;
		}
	}
	if (rdu_chip_check(chip, check, sizeof(check))) {
		snprintf(error, error_size, "%s:%u: %s", file, number, check);
		return -1;
	}
	return 0;
}

int rdu_chip_find(const char *name_or_path, struct rdu_chip *chip, char *error, size_t error_size)
{
	char text[16384];
	unsigned int i;
	size_t n;
	FILE *f;

	if (!name_or_path || !*name_or_path) {
		snprintf(error, error_size, "no chip named");
		return -1;
	}
	for (i = 0; i < sizeof(builtin) / sizeof(builtin[0]); i++)
		if (!strcmp(name_or_path, builtin[i].name))
			return parse_text(builtin[i].text, strlen(builtin[i].text), builtin[i].name,
					  chip, error, error_size);
	f = fopen(name_or_path, "rb");
	if (!f) {
		snprintf(error, error_size, "%s: %s, and no built-in chip has that name",
			 name_or_path, strerror(errno));
		return -1;
	}
	n = fread(text, 1, sizeof(text), f);
	if (ferror(f)) {
		snprintf(error, error_size, "%s: %s", name_or_path, strerror(errno));
		fclose(f);
		return -1;
	}
	fclose(f);
	if (n == sizeof(text)) {
		snprintf(error, error_size, "%s:1: too long for a chip description", name_or_path);
		return -1;
	}
	return parse_text(text, n, name_or_path, chip, error, error_size);
}

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

/* X(field, least, most): what the model and the formats can hold. */
#define CHIP_RANGES(X)                    \
	X(tiles, 1, 32)                   \
	X(tile_cols, 1, 256)              \
	X(tile_rows, 1, 256)              \
	X(agcus_per_tile, 1, 1024)        \
	X(lanes, 2, 64)                   \
	X(simd_stages, 1, RDU_MAX_STAGES) \
	X(simd_regs, 1, 16)               \
	X(tail_stages, 0, RDU_MAX_TAIL)   \
	X(pcu_vec_in, 1, RDU_MAX_PORTS)   \
	X(pcu_vec_out, 1, RDU_MAX_PORTS)  \
	X(systolic_cols, 0, 64)           \
	X(clock_khz, 1000, 100000000)     \
	X(pmu_bytes, 4096, 64u << 20)     \
	X(pmu_banks, 1, 1024)             \
	X(pmu_writes, 1, 64)              \
	X(pmu_reads, 1, 64)               \
	X(agcu_programs, 1, 1024)         \
	X(vec_links, 1, 1024)             \
	X(hop_cycles, 0, 1000)            \
	X(pmu_cycles, 0, 1000)            \
	X(stage_cycles, 0, 1000)          \
	X(dram_mbps, 1, 100000000)        \
	X(dram_channels, 1, 1024)         \
	X(dram_burst, 4, 65536)           \
	X(dram_latency, 0, 1000000)       \
	X(host_mbps, 1, 100000000)        \
	X(host_latency, 0, 1000000)       \
	X(pload_bytes, 1, 1000000)        \
	X(pload_latency, 0, 100000000)    \
	X(aload_cycles, 0, 100000000)     \
	X(aload_per_segment, 0, 1000000)

int rdu_chip_check(const struct rdu_chip *chip, char *error, size_t error_size)
{
#define RANGE(f, lo, hi)                                                                         \
	if ((int64_t)chip->f < (lo) || (int64_t)chip->f > (hi)) {                                \
		snprintf(error, error_size, "%s %u: must be %u to %u", #f, chip->f, (lo), (hi)); \
		return -1;                                                                       \
	}
	CHIP_RANGES(RANGE)
#undef RANGE
	if (!chip->name[0] || chip->name[RDU_CHIP_NAME_LEN - 1]) {
		snprintf(error, error_size, "name: empty or not terminated");
		return -1;
	}
	if (chip->lanes & (chip->lanes - 1)) {
		snprintf(error, error_size, "lanes %u: must be a power of two", chip->lanes);
		return -1;
	}
	if (chip->dram_burst & (chip->dram_burst - 1)) {
		snprintf(error, error_size, "dram_burst %u: must be a power of two",
			 chip->dram_burst);
		return -1;
	}
	if (chip->pmu_bytes % 4096) {
		snprintf(error, error_size, "pmu_bytes %u: must be a multiple of 4096",
			 chip->pmu_bytes);
		return -1;
	}
	if (chip->tile_cols * chip->tile_rows < 2 || chip->tile_cols * chip->tile_rows > 8192) {
		snprintf(error, error_size, "tile_cols * tile_rows: must be 2 to 8192");
		return -1;
	}
	if (chip->systolic_cols && chip->pcu_vec_in < 2) {
		snprintf(error, error_size, "systolic_cols: an array needs two input ports");
		return -1;
	}
	return 0;
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

double rdu_chip_peak_fp32_flops(const struct rdu_chip *chip)
{
	return 2.0 * chip->tiles * rdu_chip_pcus_per_tile(chip) * chip->lanes * chip->simd_stages *
	       chip->clock_khz * 1e3;
}
