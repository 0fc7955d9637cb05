// SPDX-License-Identifier: MIT
/* Chip descriptions: published totals, parser, derived numbers. */
#include "card_test.h"

static int parse(const char *text, size_t n, struct rdu_chip *chip, char *error, size_t size)
{
	char path[] = "chip-test-XXXXXX";
	int fd = mkstemp(path), ret;
	FILE *f = fdopen(fd, "w");

	fwrite(text, 1, n, f);
	fclose(f);
	ret = rdu_chip_find(path, chip, error, size);
	unlink(path);
	return ret;
}

static void totals(void)
{
	struct rdu_chip c;
	char e[200];

	ok(!rdu_chip_find("sn10", &c, e, sizeof(e)), "sn10 is built in");
	is(c.tiles * rdu_chip_pcus_per_tile(&c), 640, "sn10: 640 PCUs");
	is(c.tiles * rdu_chip_pmus_per_tile(&c), 640, "sn10: 640 PMUs");
	is((uint64_t)c.tiles * rdu_chip_pmus_per_tile(&c) * c.pmu_bytes, 320ull << 20,
	   "sn10: 320 MB of scratchpads");
	ok(rdu_chip_peak_bf16_flops(&c) > 320e12 && rdu_chip_peak_bf16_flops(&c) < 340e12,
	   "sn10: %.1f TFLOPS bf16, published: more than 320", rdu_chip_peak_bf16_flops(&c) / 1e12);
	ok(rdu_chip_peak_int8_ops(&c) == 2 * rdu_chip_peak_bf16_flops(&c),
	   "sn10: %.1f TOPS int8, twice bf16", rdu_chip_peak_int8_ops(&c) / 1e12);
	ok(c.assumed >> 4 & 1 && c.assumed >> 10 & 1 && !(c.assumed & 1) && !(c.assumed >> 21 & 1),
	   "sn10: lanes and array assumed, tiles and memory bandwidth not");

	ok(!rdu_chip_find("plasticine", &c, e, sizeof(e)), "plasticine is built in");
	is(c.tiles * rdu_chip_pcus_per_tile(&c), 64, "plasticine: 64 PCUs");
	is((uint64_t)c.tiles * rdu_chip_pmus_per_tile(&c) * c.pmu_bytes, 16ull << 20,
	   "plasticine: 16 MB of scratchpads");
	is((uint64_t)(rdu_chip_peak_fp32_flops(&c) / 1e11 + 0.5), 123,
	   "plasticine: 12.3 TFLOPS fp32");
	ok(rdu_chip_peak_bf16_flops(&c) == 0, "plasticine: no systolic array");
	is(c.dram_mbps, 51200, "plasticine: 51.2 GB/s, of four DDR3-1600 channels");
	ok(!(c.assumed >> 4 & 1) && !(c.assumed >> 21 & 1),
	   "plasticine: published ones not marked");
}

static void places(unsigned int cols, unsigned int rows)
{
	unsigned int kind, u, x, y, n, bad = 0;
	struct rdu_chip c;
	unsigned char *seen;
	char e[200];

	rdu_chip_find("sn10", &c, e, sizeof(e));
	c.tile_cols = cols;
	c.tile_rows = rows;
	seen = calloc(cols * rows, 1);
	for (kind = RDU_UNIT_PCU; kind <= RDU_UNIT_PMU; kind++) {
		n = kind == RDU_UNIT_PCU ? rdu_chip_pcus_per_tile(&c) : rdu_chip_pmus_per_tile(&c);
		for (u = 0; u < n; u++) {
			rdu_chip_unit_xy(&c, kind, u, &x, &y);
			if (x >= cols || y >= rows || (x + y) % 2 != (kind == RDU_UNIT_PMU) ||
			    seen[y * cols + x]++)
				bad++;
		}
	}
	for (u = 0; u < cols * rows; u++)
		bad += !seen[u];
	for (u = 0; u < c.agcus_per_tile; u++) {
		rdu_chip_unit_xy(&c, RDU_UNIT_AGCU, u, &x, &y);
		bad += y >= rows || (x && x != cols - 1);
	}
	is(bad, 0, "every switch has one unit, PCUs where x + y is even");
	free(seen);
}

/* A good text, to be spoiled: what `rdu chip plasticine` prints. */
static char *good_text(void)
{
	struct rdu_chip c;
	char e[200];

	rdu_chip_find("plasticine", &c, e, sizeof(e));
	return rdu_chip_text(&c);
}

static void written_and_read(void)
{
	const char *name;

	for (unsigned int i = 0; (name = rdu_chip_builtin(i)); i++) {
		struct rdu_chip c, d;
		char e[RDU_CHIP_ERRORS];
		char *text;

		rdu_chip_find(name, &c, e, sizeof(e));
		text = rdu_chip_text(&c);
		memset(&d, 0xff, sizeof(d));
		ok(text && !parse(text, strlen(text), &d, e, sizeof(e)) &&
			   !memcmp(&c, &d, sizeof(c)),
		   "%s written out and read back is the same", name);
		is(rdu_chip_hash(&c), rdu_chip_hash(&d), "and has the same hash");
		d.assumed = ~0ull;
		is(rdu_chip_hash(&c), rdu_chip_hash(&d), "the hash leaves out what is assumed");
		d.dram_trefi++;
		ok(rdu_chip_hash(&c) != rdu_chip_hash(&d), "the hash changes with a field");
		free(text);
	}
}

/* The sample that is installed is what `rdu chip plasticine` prints, and is read as that. */
static void sample(void)
{
	FILE *f = fopen("Documentation/sample.chip", "r");
	char have[16384], e[RDU_CHIP_ERRORS], *text = good_text();
	struct rdu_chip c, d;
	size_t n;

	ok(f != NULL, "Documentation/sample.chip is there, from the project's top");
	if (!f) {
		free(text);
		return;
	}
	n = fread(have, 1, sizeof(have) - 1, f);
	have[n] = 0;
	fclose(f);
	ok(!strcmp(have, text), "Documentation/sample.chip is what `rdu chip plasticine` prints");
	rdu_chip_find("plasticine", &c, e, sizeof(e));
	ok(!rdu_chip_find("Documentation/sample.chip", &d, e, sizeof(e)) &&
		   !memcmp(&c, &d, sizeof(c)),
	   "... and is read as plasticine");
	free(text);
}

static void spoiled(void)
{
	char *text = good_text(), e[RDU_CHIP_ERRORS], bad[16384];
	size_t n = strlen(text), i, accepted = 0;
	struct rdu_chip d;

	for (i = 0; i < n - 1; i++)
		accepted += !parse(text, i, &d, e, sizeof(e));
	is(accepted, strlen(strstr(text, "0    # cycles: from one configuration")) - 2,
	   "truncated anywhere: refused, but after the last value");
	for (i = 0; i < n; i++) {
		memcpy(bad, text, n);
		bad[i] ^= (char)(1 << i % 7);
		parse(bad, n, &d, e, sizeof(e)); /* must only not crash */
	}
	ok(true, "flipped bits anywhere: an answer");
	free(text);
}

static size_t lines_of(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* A line before a good text, what is said of it. */
static void one_line(void)
{
	static const struct {
		const char *line, *said;
	} cases[] = {
		{ "lanes", ":1: lanes: has no value" },
		{ "lanes many", ":1: lanes many: must be a number" },
		{ "lanes 16 x", ":1: lanes 16 x: must end after the number" },
		{ "lanes 99999999999", ":1: lanes 99999999999: must be below 2^32" },
		{ "lanes -1", ":1: lanes -1: must be a number" },
		{ "wheels 4", ":1: wheels 4: no such field" },
		{ "name a_name_that_is_too_long",
		  ":1: name a_name_that_is_too_long: must have 15" },
		{ "name a b", ":1: name: must not have a blank" },
		{ "lanes 16", ": given on line 1 already" },
		{ "dram DDR7", ":1: dram DDR7: must be one of DDR3-1600, DDR4-2667, HBM2" },
		{ "dram DDR3-1600\ndram HBM2", ":2: dram HBM2: given on line 1 already" },
	};
	char *text = good_text(), e[RDU_CHIP_ERRORS], bad[16384];
	struct rdu_chip d;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t n = (size_t)snprintf(bad, sizeof(bad), "%s\n%s", cases[i].line, text);

		ok(parse(bad, n, &d, e, sizeof(e)) && strstr(e, cases[i].said), "refused: %s (%s)",
		   cases[i].line, e);
	}
	free(text);
}

/* A good text with one field's value replaced, what is said of it. */
static void impossible(void)
{
	static const struct {
		const char *field;
		unsigned int value;
		const char *said;
	} cases[] = {
		{ "dram_channels", 0, "dram_channels 0: must be 1 to 1024" },
		{ "dram_row", 32,
		  "dram_row 32: must be as long as a burst at least, dram_burst 64" },
		{ "dram_row", 3000, "dram_row 3000: must be a power of two" },
		{ "dram_burst", 48, "dram_burst 48: must be a power of two" },
		{ "dram_groups", 16, "dram_banks 8: must be as many as there are groups" },
		{ "dram_banks", 12, "dram_banks 12: must be a power of two" },
		{ "dram_banks", 128, "dram_banks 128: must be 1 to 64" },
		{ "dram_mbps", 60000, "dram_mbps 60000: must be 51200: 4 channels" },
		{ "dram_tck", 0, "dram_tck 0: must be 10 to 1000000" },
		{ "dram_tccd_l", 2, "dram_tccd_l 2: must be dram_tccd_s, 4, at least" },
		{ "dram_trrd_l", 2, "dram_trrd_l 2: must be dram_trrd_s, 6000, at least" },
		{ "dram_twtr_l", 2, "dram_twtr_l 2: must be dram_twtr_s, 7500, at least" },
		{ "dram_tfaw", 2, "dram_tfaw 2: must be dram_trrd_s, 6000, at least" },
		{ "dram_tras", 2, "dram_tras 2: must be dram_trcd, 13750, at least" },
		{ "dram_trc", 2, "dram_trc 2: must be dram_tras, 35000, at least" },
		{ "dram_trtw", 6, "dram_trtw 6: must be 7 at least, CL + tCCD_S - CWL" },
		{ "dram_trefi", 270000, "dram_trefi 270000: must be over tRFC + tRP, 273750" },
		{ "dram_latency", 32,
		  "dram_latency 32: must be 33 at least: tRCD, CL and a burst" },
		{ "dram_drain_high", 65, "dram_drain_high 65: must be dram_queue, 32, at most" },
		{ "dram_drain_low", 26, "dram_drain_low 26: must be below dram_drain_high, 26" },
		{ "agcu_requests", 0, "agcu_requests 0: must be 1 to 4096" },
		{ "agcu_vectors", 0, "agcu_vectors 0: must be 1 to 1024" },
		{ "agcu_lines", 129, "agcu_lines 129: must be 1 to 128" },
		{ "fifo_vectors", 0, "fifo_vectors 0: must be 1 to 4096" },
		{ "config_planes", 3, "config_planes 3: must be 1 to 2" },
		{ "lanes", 24, "lanes 24: must be a power of two" },
		{ "tiles", 0, "tiles 0: must be 1 to 32" },
		{ "pmu_bytes", 5000, "pmu_bytes 5000: must be a multiple of 4096" },
	};
	char *text = good_text(), e[RDU_CHIP_ERRORS], bad[16384], key[32];
	struct rdu_chip d;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *at, *end;
		int n;

		snprintf(key, sizeof(key), "\n%s ", cases[i].field);
		at = strstr(text, key);
		end = strchr(at + 1, '\n');
		n = snprintf(bad, sizeof(bad), "%.*s\n%s %u%s", (int)(at - text), text,
			     cases[i].field, cases[i].value, end);
		ok(parse(bad, (size_t)n, &d, e, sizeof(e)) && strstr(e, cases[i].said),
		   "refused: %s %u (%s)", cases[i].field, cases[i].value, e);
		/* the rate is what its burst makes it */
		is(lines_of(e), !strcmp(cases[i].field, "dram_burst"), "... and nothing else");
	}
	free(text);
}

/* Everything that is wrong with a text is said, in the order of its lines. */
static void all_at_once(void)
{
	static const char text[] = "name everything\n"
				   "lanes 24\n"
				   "dram DDR3-1600\n"
				   "dram_channels 0\n"
				   "dram_row 32\n"
				   "wheels 4\n"
				   "dram_latency soon\n"
				   "dram_trfc 9000000\n";
	static const char *const want[] = {
		":2: lanes 24: must be a power of two\n",
		":4: dram_channels 0: must be 1 to 1024\n",
		":5: dram_row 32: must be as long as a burst",
		":6: wheels 4: no such field\n",
		":7: dram_latency soon: must be a number\n",
		":3: dram_trefi 7800000: must be over tRFC + tRP",
		":8: tiles: missing\n",
		":8: agcu_lines: missing\n",
		":8: fifo_vectors: missing",
	};
	char e[RDU_CHIP_ERRORS], small[300];
	unsigned int last = 0;
	bool ordered = true;
	struct rdu_chip c;

	ok(parse(text, strlen(text), &c, e, sizeof(e)), "many errors in one text");
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		ok(strstr(e, want[i]) != NULL, "... says %s", want[i]);
	ok(!strstr(e, "dram_burst") || strstr(e, "dram_burst 64,") == NULL,
	   "... the family's own fields are not missing");
	/* 6 on their lines, and all fields but lanes, those of the family, the three that are
	 * given and wrong, the rate, which follows, and the process, which may be left out, are
	 * missing */
	is(lines_of(e) + 1, 6 + RDU_CHIP_NUM_FIELDS - 1 - 23 - 2 - 2, "... each once");
	for (const char *line = e; line; line = strchr(line, '\n')) {
		unsigned int at = 0;

		line += *line == '\n';
		sscanf(line, "%*[^:]:%u:", &at);
		ordered &= at >= last;
		last = at;
	}
	ok(ordered, "... line after line");
	ok(parse(text, strlen(text), &c, small, sizeof(small)) && strstr(small, "\nand ") &&
		   strstr(small, " more"),
	   "what finds no room is counted: %s", strstr(small, "\nand "));
	ok(parse("", 0, &c, e, sizeof(e)) && strstr(e, ":1: name: missing\n") &&
		   strstr(e, "dram_row: missing, and so is a family of memory"),
	   "an empty text");
}

static void families(void)
{
	const char *name, *source;

	for (unsigned int i = 0; (name = rdu_chip_memory(i, &source)); i++) {
		char text[16384], e[RDU_CHIP_ERRORS], want[64];
		char *written, *good = good_text(), *from = strstr(good, "\ndram_groups");
		char *to = strstr(good, "\ndram_queue"), *mbps = strstr(good, "\ndram_mbps");
		char *burst = strstr(good, "\ndram_burst");
		struct rdu_chip c;

		/* The good text without what a family says. */
		memset(mbps + 1, '#', 1);
		memset(burst + 1, '#', 1);
		snprintf(text, sizeof(text), "%.*s\ndram %s\ndram_tcl 1%s", (int)(from - good),
			 good, name, to);
		ok(parse(text, strlen(text), &c, e, sizeof(e)) && strstr(e, "dram_tcl"),
		   "%s: an unknown field of it: %s", name, e);
		snprintf(text, sizeof(text), "%.*s\ndram %s\ndram_trfc 99000%s", (int)(from - good),
			 good, name, to);
		ok(!parse(text, strlen(text), &c, e, sizeof(e)), "%s: %s", name, source);
		is(c.dram_trfc, 99000, "a field given besides counts");
		is(c.dram_mbps, rdu_chip_dram_mbps(&c), "and the rate follows");
		snprintf(text, sizeof(text), "%.*s\ndram %s%s", (int)(from - good), good, name, to);
		ok(!parse(text, strlen(text), &c, e, sizeof(e)), "%s by itself", name);
		written = rdu_chip_text(&c);
		snprintf(want, sizeof(want), "as `dram %s` has it", name);
		ok(strstr(written, want) != NULL, "written out, it is named");
		free(written);
		free(good);
	}
}

static void checked(void)
{
	struct rdu_chip c, d;
	char e[300], small[64];

	ok(rdu_chip_find("/no/such/file", &d, e, sizeof(e)) && *e, "missing file: %s", e);
	rdu_chip_find("sn10", &c, e, sizeof(e));
	c.lanes = 24;
	c.tiles = 0;
	ok(rdu_chip_check(&c, e, sizeof(e)) &&
		   !strcmp(e, "tiles 0: must be 1 to 32; lanes 24: must be a power of two"),
	   "a check says all of it: %s", e);
	c.tiles = 4;
	c.lanes = 32;
	c.tile_cols = c.tile_rows = 256;
	ok(rdu_chip_check(&c, e, sizeof(e)) && strstr(e, "tile_rows 256: must be such that 256"),
	   "65536 units: %s", e);
	c.dram_row = c.dram_tck = c.tiles = c.lanes = 0;
	ok(rdu_chip_check(&c, small, sizeof(small)) && strstr(small, "; and 3 more"),
	   "and counts what finds no room: %s", small);
	memset(&c, 0, sizeof(c));
	ok(rdu_chip_check(&c, e, sizeof(e)) && strstr(e, "name: empty"), "nothing but zeros: %s",
	   e);
	memset(&c, 0xff, sizeof(c));
	ok(rdu_chip_check(&c, e, sizeof(e)), "nothing but ones: %s", e);
}

int main(void)
{
	totals();
	places(16, 8);
	places(20, 16);
	places(5, 3);
	written_and_read();
	sample();
	spoiled();
	one_line();
	impossible();
	all_at_once();
	families();
	checked();
	return tap_done();
}
