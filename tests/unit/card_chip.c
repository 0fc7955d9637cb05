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

static size_t write_text(const struct rdu_chip *chip, char *text, size_t room)
{
	size_t n = (size_t)snprintf(text, room, "# a comment\n\n  name  %s # and another\n",
				    chip->name);

#define LINE(i, f, u, d)                                                     \
	n += (size_t)snprintf(text + n, room - n, "%s\t%u%s\n", #f, chip->f, \
			      chip->assumed >> i & 1 ? " *" : "");
	RDU_CHIP_FIELDS(LINE)
#undef LINE
	return n;
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
	ok(c.assumed >> 4 & 1 && c.assumed >> 10 & 1 && !(c.assumed & 1) && !(c.assumed >> 21 & 1),
	   "sn10: lanes and array assumed, tiles and memory bandwidth not");

	ok(!rdu_chip_find("plasticine", &c, e, sizeof(e)), "plasticine is built in");
	is(c.tiles * rdu_chip_pcus_per_tile(&c), 64, "plasticine: 64 PCUs");
	is((uint64_t)c.tiles * rdu_chip_pmus_per_tile(&c) * c.pmu_bytes, 16ull << 20,
	   "plasticine: 16 MB of scratchpads");
	is((uint64_t)(rdu_chip_peak_fp32_flops(&c) / 1e11 + 0.5), 123,
	   "plasticine: 12.3 TFLOPS fp32");
	ok(rdu_chip_peak_bf16_flops(&c) == 0, "plasticine: no systolic array");
	is(c.dram_mbps, 51200, "plasticine: 51.2 GB/s");
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

static void parser(void)
{
	struct rdu_chip c, d;
	char text[4096], e[200], bad[4200];
	size_t n, i, accepted = 0;

	rdu_chip_find("plasticine", &c, e, sizeof(e));
	n = write_text(&c, text, sizeof(text));
	ok(!parse(text, n, &d, e, sizeof(e)) && !memcmp(&c, &d, sizeof(c)),
	   "a description written out and read back is the same");
	is(rdu_chip_hash(&c), rdu_chip_hash(&d), "and has the same hash");
	d.assumed = ~0ull;
	is(rdu_chip_hash(&c), rdu_chip_hash(&d), "the hash leaves out what is assumed");
	d.lanes = 8;
	ok(rdu_chip_hash(&c) != rdu_chip_hash(&d), "the hash changes with a field");

	for (i = 0; i < n - 1; i++)
		accepted += !parse(text, i, &d, e, sizeof(e));
	ok(accepted <= 3, "truncated anywhere: refused (the last line's marks may go)");
	for (i = 0; i < n; i++) {
		memcpy(bad, text, n);
		bad[i] ^= (char)(1 << i % 7);
		parse(bad, n, &d, e, sizeof(e)); /* must only not crash */
	}
	ok(true, "flipped bits anywhere: an answer");

#define REFUSED(line, at)                                                                        \
	do {                                                                                     \
		char want[64];                                                                   \
		n = (size_t)snprintf(bad, sizeof(bad), "%s\n%s", line, text);                    \
		snprintf(want, sizeof(want), ":%d: ", at);                                       \
		ok(parse(bad, n, &d, e, sizeof(e)) && strstr(e, want), "refused: %s (%s)", line, \
		   e);                                                                           \
	} while (0)
	REFUSED("lanes", 1);
	REFUSED("lanes many", 1);
	REFUSED("lanes 16 x", 1);
	REFUSED("lanes 99999999999", 1);
	REFUSED("lanes -1", 1);
	REFUSED("wheels 4", 1);
	REFUSED("name a_name_that_is_too_long", 1);
	REFUSED("lanes 16", 9); /* given again on line 9 */
#undef REFUSED
	ok(rdu_chip_find("/no/such/file", &d, e, sizeof(e)) && *e, "missing file: %s", e);
	rdu_chip_find("sn10", &c, e, sizeof(e));
	c.lanes = 24;
	ok(rdu_chip_check(&c, e, sizeof(e)) && strstr(e, "lanes"), "24 lanes: %s", e);
	c.lanes = 32;
	c.tiles = 0;
	ok(rdu_chip_check(&c, e, sizeof(e)) && strstr(e, "tiles"), "no tiles: %s", e);
}

int main(void)
{
	totals();
	places(16, 8);
	places(20, 16);
	places(5, 3);
	parser();
	return tap_done();
}
