// SPDX-License-Identifier: MIT
/*
 * Chip descriptions as text: the chips that are built in, the families of off-chip
 * memory, the parser, and the writer.
 *
 * The built-in chips are written in the file format and go through the parser, so a
 * user's file can do all that they can. A '*' marks a number that is not published: it
 * was chosen so that the published totals come out.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "chip_priv.h"

/* What nobody publishes: how much an AGCU and a port hold. */
#define ASSUMED_HELD            \
	"agcu_requests 128 *\n" \
	"agcu_vectors 128 *\n"  \
	"agcu_lines 64 *\n"     \
	"fifo_vectors 16 *\n"

/* SambaNova SN10: 640 PCUs + 640 PMUs in 4 tiles, > 320 TFLOPS bf16, 320 MB,
 * six DDR4-2667 channels, PCIe 4.0 x16, 7 nm (Hot Chips 33). The inner sizes of its
 * units are not published, nor is the density of its memory's devices (tRFC). */
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
				"dram DDR4-2667\n"
				"dram_trfc 350000 *\n"
				"dram_channels 6\n"
				"dram_latency 120 *\n"
				"host_mbps 31500\n"
				"host_latency 700 *\n"
				"pload_bytes 64 *\n"
				"pload_latency 1000 *\n"
				"aload_cycles 200 *\n"
				"aload_per_segment 8 *\n"
				"config_planes 2 *\n"
				"config_switch 16 *\n"
				"dram_queue 64 *\n"
				"dram_drain_high 48 *\n"
				"dram_drain_low 16 *\n"
				"dram_drain_idle 200 *\n"
				"process_nm 7\n" ASSUMED_HELD;

/* Plasticine (ISCA'17, Table 3 and 4.2): 64 PCUs + 64 PMUs, 12.3 TFLOPS fp32,
 * 16 MB, four DDR3-1600 channels, 34 AGs, 28 nm. The paper models no host link, and
 * gives no latencies but those of its pipelines, and nothing of the memory's
 * controller: it is Ramulator's, queues of 32 and watermarks of 0.8 and 0.2. */
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
				      "dram DDR3-1600\n"
				      "dram_trfc 260000 *\n"
				      "dram_channels 4\n"
				      "dram_latency 60 *\n"
				      "host_mbps 15750 *\n"
				      "host_latency 700 *\n"
				      "pload_bytes 64 *\n"
				      "pload_latency 1000 *\n"
				      "aload_cycles 200 *\n"
				      "aload_per_segment 8 *\n"
				      "config_planes 1\n"
				      "config_switch 0\n"
				      "dram_queue 32 *\n"
				      "dram_drain_high 26 *\n"
				      "dram_drain_low 6 *\n"
				      "dram_drain_idle 200 *\n"
				      "process_nm 28\n" ASSUMED_HELD;

static const struct {
	const char *name, *text;
} builtin[] = {
	{ "sn10", chip_sn10 },
	{ "plasticine", chip_plasticine },
};

const char *rdu_chip_builtin(unsigned int i)
{
	return i < sizeof(builtin) / sizeof(builtin[0]) ? builtin[i].name : NULL;
}

/* ---- families of off-chip memory ---------------------------------------------- */

/* The fields that a family sets, in the order of `families`. */
#define FAMILY_FIELDS(X) \
	X(dram_burst)    \
	X(dram_groups)   \
	X(dram_banks)    \
	X(dram_row)      \
	X(dram_tck)      \
	X(dram_cl)       \
	X(dram_cwl)      \
	X(dram_tccd_s)   \
	X(dram_tccd_l)   \
	X(dram_trcd)     \
	X(dram_trp)      \
	X(dram_tras)     \
	X(dram_trc)      \
	X(dram_trrd_s)   \
	X(dram_trrd_l)   \
	X(dram_tfaw)     \
	X(dram_twtr_s)   \
	X(dram_twtr_l)   \
	X(dram_trtp)     \
	X(dram_trtw)     \
	X(dram_twr)      \
	X(dram_trfc)     \
	X(dram_trefi)

/* Times given as the larger of some clocks and some nanoseconds are worked out for the
 * family's clock; tRTW is CL + tCCD_S + 2 - CWL. Energy: Jouppi et al., ISCA 2021, table 2. */
static const struct family {
	const char *name, *source;
	uint32_t access_pj; /* 64 bits, device and interface */
#define FAMILY_MEMBER(f) uint32_t f;
	FAMILY_FIELDS(FAMILY_MEMBER)
#undef FAMILY_MEMBER
} families[] = {
	{ "DDR3-1600", "JESD79-3F, speed bin 1600K (11-11-11), 64 bits of 4 Gb x8 devices",
	  1300,	       64,
	  1,	       8,
	  8192,	       1250,
	  11,	       8,
	  4,	       4,
	  13750,       13750,
	  35000,       48750,
	  6000,	       6000,
	  30000,       7500,
	  7500,	       7500,
	  9,	       15000,
	  260000,      7800000 },
	{ "DDR4-2667", "JESD79-4B, speed bin 2666V (19-19-19), 64 bits of 8 Gb x8 devices",
	  1300,	       64,
	  4,	       16,
	  8192,	       750,
	  19,	       14,
	  4,	       7,
	  14250,       14250,
	  32000,       46250,
	  3000,	       4900,
	  21000,       2500,
	  7500,	       7500,
	  11,	       15000,
	  350000,      7800000 },
	{ "HBM2",
	  "JESD235A, a pseudo channel of 64 bits at 2 Gb/s a pin; core times, which it leaves to "
	  "the vendor, as DRAMsim3 has them for 8 Gb",
	  350,
	  32,
	  4,
	  16,
	  1024,
	  1000,
	  14,
	  4,
	  2,
	  4,
	  14000,
	  14000,
	  34000,
	  48000,
	  4000,
	  6000,
	  30000,
	  6000,
	  8000,
	  6000,
	  14,
	  16000,
	  260000,
	  3900000 },
};

#define NUM_FAMILIES (sizeof(families) / sizeof(families[0]))

const char *rdu_chip_memory(unsigned int i, const char **source)
{
	if (i >= NUM_FAMILIES)
		return NULL;
	*source = families[i].source;
	return families[i].name;
}

/* The family whose fields these are, NULL: none. */
static const struct family *family_of(const struct rdu_chip *chip)
{
	for (size_t i = 0; i < NUM_FAMILIES; i++) {
		const struct family *m = &families[i];
		bool same = true;

#define FAMILY_SAME(f) same &= chip->f == m->f;
		FAMILY_FIELDS(FAMILY_SAME)
#undef FAMILY_SAME
		if (same)
			return m;
	}
	return NULL;
}

/* By how its devices are organized, at whatever speed; what is like none counts as DDR. */
double rdu_chip_dram_fj(const struct rdu_chip *chip)
{
	const struct family *m = families;

	for (size_t i = 1; i < NUM_FAMILIES; i++)
		if (chip->dram_burst == families[i].dram_burst &&
		    chip->dram_groups == families[i].dram_groups &&
		    chip->dram_row == families[i].dram_row)
			m = &families[i];
	return 1000.0 / 8 * m->access_pj;
}

/* ---- the parser ------------------------------------------------------------------ */

#define MAX_PROBLEMS 200

struct problem {
	unsigned int line;
	char text[CHIP_PROBLEM_SIZE];
};

struct parser {
	const char *file;
	struct rdu_chip *chip;
	uint32_t *field[RDU_CHIP_NUM_FIELDS];
	unsigned int line; /* it is at */
	unsigned int line_of[RDU_CHIP_NUM_FIELDS]; /* where a field is given, 0: nowhere */
	uint64_t known; /* fields with a value */
	unsigned int name_line, family_line;
	const struct family *family;
	struct problem *problem;
	unsigned int num, left_out; /* problems told; those there was no room for */
};

static const char *const field_name[RDU_CHIP_NUM_FIELDS] = {
#define FIELD_NAME(i, f, u, d) [i] = #f,
	RDU_CHIP_FIELDS(FIELD_NAME)
#undef FIELD_NAME
};

__attribute__((format(printf, 3, 4))) static void problem(struct parser *p, unsigned int line,
							  const char *fmt, ...)
{
	unsigned int at = p->num;
	struct problem new = { .line = line };
	va_list ap;

	if (p->num == MAX_PROBLEMS) {
		p->left_out++;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(new.text, sizeof(new.text), fmt, ap);
	va_end(ap);
	for (; at && p->problem[at - 1].line > line; at--)
		p->problem[at] = p->problem[at - 1];
	p->problem[at] = new;
	p->num++;
}

static void add_problem(void *opaque, int field, const char *text)
{
	struct parser *p = opaque;
	unsigned int line = p->line_of[field];

	problem(p, line ? line : p->family_line, "%s", text);
}

static void parse_name(struct parser *p, const char *value)
{
	size_t n = strlen(value), i;

	if (p->name_line) {
		problem(p, p->line, "name %.64s: given on line %u already", value, p->name_line);
		return;
	}
	p->name_line = p->line;
	if (n >= RDU_CHIP_NAME_LEN)
		problem(p, p->line, "name %.64s: must have %d characters at most", value,
			RDU_CHIP_NAME_LEN - 1);
	for (i = 0; i < n; i++) {
		if (!isgraph((unsigned char)value[i])) {
			problem(p, p->line, "name: must not have a blank or unprintable character");
			return;
		}
	}
	memcpy(p->chip->name, value, n < RDU_CHIP_NAME_LEN ? n : RDU_CHIP_NAME_LEN - 1);
}

static void parse_family(struct parser *p, const char *value)
{
	char names[64] = "";

	if (p->family_line) {
		problem(p, p->line, "dram %.64s: given on line %u already", value, p->family_line);
		return;
	}
	p->family_line = p->line;
	for (size_t i = 0; i < NUM_FAMILIES; i++) {
		if (!strcmp(value, families[i].name))
			p->family = &families[i];
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
			 i ? ", " : "", families[i].name);
	}
	if (!p->family)
		problem(p, p->line, "dram %.64s: must be one of %s, or every field of it given",
			value, names);
}

static void parse_value(struct parser *p, unsigned int i, char *value)
{
	unsigned long v;
	char *end;

	if (p->line_of[i]) {
		problem(p, p->line, "%s %.64s: given on line %u already", field_name[i], value,
			p->line_of[i]);
		return;
	}
	p->line_of[i] = p->line;
	errno = 0;
	v = strtoul(value, &end, 0);
	if (!isdigit((unsigned char)*value)) {
		problem(p, p->line, "%s %.64s: must be a number", field_name[i], value);
		return;
	}
	if (errno || v > UINT32_MAX) {
		problem(p, p->line, "%s %.64s: must be below 2^32", field_name[i], value);
		return;
	}
	while (isspace((unsigned char)*end))
		end++;
	if (*end == '*') {
		p->chip->assumed |= 1ULL << i;
		end++;
	}
	if (*end) {
		problem(p, p->line, "%s %.64s: must end after the number and its mark",
			field_name[i], value);
		return;
	}
	*p->field[i] = (uint32_t)v;
	p->known |= 1ULL << i;
}

/* One line, without comment and surrounding blanks: "key value[ *]". */
static void parse_line(struct parser *p, char *line)
{
	char *value = line;
	unsigned int i;

	while (*value && !isspace((unsigned char)*value))
		value++;
	if (*value)
		*value++ = 0;
	while (isspace((unsigned char)*value))
		value++;
	for (i = 0; i < RDU_CHIP_NUM_FIELDS && strcmp(line, field_name[i]); i++)
		;
	if (!strcmp(line, "name") && *value)
		parse_name(p, value);
	else if (!strcmp(line, "dram") && *value)
		parse_family(p, value);
	else if (i < RDU_CHIP_NUM_FIELDS && *value)
		parse_value(p, i, value);
	else if (*value)
		problem(p, p->line, "%.64s %.64s: no such field", line, value);
	else
		problem(p, p->line, "%.64s: has no value", line);
}

static void parse_lines(struct parser *p, const char *text, size_t size)
{
	char line[256];
	size_t pos = 0;

	while (pos < size) {
		const char *nl = memchr(text + pos, '\n', size - pos), *hash;
		size_t n = nl ? (size_t)(nl - text) - pos : size - pos, used;
		const char *from = text + pos;

		p->line++;
		pos += n + 1;
		if (memchr(from, 0, n)) {
			problem(p, p->line, "not a text file");
			return;
		}
		hash = memchr(from, '#', n);
		used = hash ? (size_t)(hash - from) : n;
		while (used && isspace((unsigned char)from[used - 1]))
			used--;
		while (used && isspace((unsigned char)*from)) {
			from++;
			used--;
		}
		if (used >= sizeof(line)) {
			problem(p, p->line, "%.64s...: too long a line", from);
			continue;
		}
		memcpy(line, from, used);
		line[used] = 0;
		if (used)
			parse_line(p, line);
	}
}

/* What was not given: from the family, from other fields, or missing. */
static void fill_up(struct parser *p)
{
	uint64_t rate = 1ULL << CHIP_INDEX_dram_channels | 1ULL << CHIP_INDEX_dram_burst |
			1ULL << CHIP_INDEX_dram_tccd_s | 1ULL << CHIP_INDEX_dram_tck;

	if (p->family) {
#define FAMILY_SET(f)                               \
	if (!p->line_of[CHIP_INDEX_##f]) {          \
		p->chip->f = p->family->f;          \
		p->known |= 1ULL << CHIP_INDEX_##f; \
	}
		FAMILY_FIELDS(FAMILY_SET)
#undef FAMILY_SET
	}
	if (!p->line_of[CHIP_INDEX_dram_mbps] && (p->known & rate) == rate) {
		uint64_t mbps = rdu_chip_dram_mbps(p->chip);

		/* Zero if one of them is, of which is told. */
		p->chip->dram_mbps = mbps > UINT32_MAX ? UINT32_MAX : (uint32_t)mbps;
		if (mbps)
			p->known |= 1ULL << CHIP_INDEX_dram_mbps;
	}
	p->known |= 1ULL << CHIP_INDEX_process_nm; /* 0, if it is not given */
	if (!p->name_line)
		problem(p, p->line, "name: missing");
	for (unsigned int i = 0; i < RDU_CHIP_NUM_FIELDS; i++)
		if (!(p->known >> i & 1) && !p->line_of[i] && i != CHIP_INDEX_dram_mbps)
			problem(p, p->line, "%s: missing%s", field_name[i],
				!strncmp(field_name[i], "dram_", 5) && !p->family_line
					? ", and so is a family of memory (\"dram\")"
					: "");
}

/* Every problem on a line of its own; those that find no room are counted. */
static void tell(const struct parser *p, char *error, size_t size)
{
	static const char more[] = "\nand 000 more";
	unsigned int i, left = p->left_out;
	size_t n = 0;

	if (size)
		*error = 0;
	for (i = 0; i < p->num; i++) {
		char line[CHIP_PROBLEM_SIZE + 300];
		size_t length =
			(size_t)snprintf(line, sizeof(line), "%s%.256s:%u: %s", n ? "\n" : "",
					 p->file, p->problem[i].line, p->problem[i].text);

		if (n && n + length + sizeof(more) > size)
			break;
		n += (size_t)snprintf(error + n, size - n, "%s", line);
		if (n >= size)
			return; /* not even room for one */
	}
	left += p->num - i;
	if (left)
		snprintf(error + n, size - n, "\nand %u more", left);
}

static int parse_text(const char *text, size_t size, const char *file, struct rdu_chip *chip,
		      char *error, size_t error_size)
{
	struct parser p = { .file = file, .chip = chip };

	p.problem = malloc(MAX_PROBLEMS * sizeof(*p.problem));
	if (!p.problem) {
		snprintf(error, error_size, "%s: out of memory", file);
		return -1;
	}
	memset(chip, 0, sizeof(*chip));
#define FIELD_PTR(i, f, u, d) p.field[i] = &chip->f;
	RDU_CHIP_FIELDS(FIELD_PTR)
#undef FIELD_PTR
	parse_lines(&p, text, size);
	if (!p.line)
		p.line = 1;
	fill_up(&p);
	rdu_chip_problems(chip, p.known, add_problem, &p);
	if (p.num)
		tell(&p, error, error_size);
	free(p.problem);
	return p.num ? -1 : 0;
}

int rdu_chip_find(const char *name_or_path, struct rdu_chip *chip, char *error, size_t error_size)
{
	char text[32768];
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

/* ---- the writer ------------------------------------------------------------------ */

/* What stands before a field, where a group of them begins. */
static const struct {
	int field;
	const char *text;
} headings[] = {
	{ CHIP_INDEX_tiles,
	  "The grid: PCUs and PMUs in turn, like a checkerboard; AGCUs at its sides." },
	{ CHIP_INDEX_lanes, "A PCU." },
	{ CHIP_INDEX_clock_khz, "The fabric's clock: a cycle, wherever one is counted." },
	{ CHIP_INDEX_pmu_bytes, "A PMU, and how many unit programs a PMU and an AGCU hold." },
	{ CHIP_INDEX_vec_links,
	  "The network between units, and what a vector takes through a unit." },
	{ CHIP_INDEX_dram_mbps, "Off-chip memory as a whole. The rate follows from the fields "
				"below and may be left out:\n"
				"# channels x burst / (tCCD_S x tCK)." },
	{ CHIP_INDEX_host_mbps, "The link to the host, and what commands cost." },
	{ CHIP_INDEX_process_nm, "The process it is made in." },
	{ CHIP_INDEX_dram_groups,
	  "A channel of off-chip memory, by its devices' data sheet. `dram FAMILY` sets all of\n"
	  "# these, and dram_burst; a field that is given besides counts instead." },
	{ CHIP_INDEX_dram_queue, "A channel's controller: rows that are open first, then the "
				 "oldest request; reads before\n"
				 "# writes, which are gathered." },
	{ CHIP_INDEX_agcu_requests, "What AGCUs and input ports hold." },
	{ CHIP_INDEX_config_planes, "Configuration planes." },
};

/* "value[ *]" of a field, its unit and its meaning. */
static void write_field(FILE *f, const struct rdu_chip *chip, int index, uint32_t value,
			const char *unit, const char *meaning)
{
	for (size_t i = 0; i < sizeof(headings) / sizeof(headings[0]); i++)
		if (headings[i].field == index)
			fprintf(f, "\n# %s\n", headings[i].text);
	fprintf(f, "%-17s %10u%s  # %s%s%s\n", field_name[index], value,
		chip->assumed >> index & 1 ? " *" : "  ", unit, *unit ? ": " : "", meaning);
}

char *rdu_chip_text(const struct rdu_chip *chip)
{
	const struct family *m = family_of(chip);
	struct rdu_events e;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	fprintf(f,
		"# A chip description: a field and its value a line, each field once. A * after a\n"
		"# value marks it as assumed: not published. What follows a # is a comment.\n"
		"name %.*s\n",
		RDU_CHIP_NAME_LEN, chip->name);
#define WRITE(i, f_, u, d) write_field(f, chip, i, chip->f_, u, d);
	RDU_CHIP_FIELDS(WRITE)
#undef WRITE
	if (m)
		fprintf(f, "\n# Memory as `dram %s` has it: %s.\n", m->name, m->source);
	if (rdu_chip_events(chip, &e)) {
		fprintf(f, "\n# Energy, which follows from process_nm, lanes, pmu_bytes and "
			   "memory:\n");
#define WRITE_EVENT(event, unit, what) \
	fprintf(f, "# %-15s %12.0f    %s: %s\n", #event, e.event, unit, what);
		RDU_EVENTS(WRITE_EVENT)
#undef WRITE_EVENT
	}
	if (ferror(f) | fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}
