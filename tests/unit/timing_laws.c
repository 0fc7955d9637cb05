// SPDX-License-Identifier: MIT
/*
 * What must hold of modelled time whatever is assumed, over sections that the compiler
 * makes of random nests: never faster than memory or arrays can be, the same each time
 * and however it is asked, not faster on a worse chip, and counters that add up.
 */
#include <unistd.h>
#include "rduc_back_nests.h"
#include "rduc_back_run.h"
#include "tap.h"
#include "timing_priv.h"

struct law_case {
	struct rdu_chip chip;
	unsigned char *image;
	size_t size;
	uint32_t tiles;
	char name[128];
};

/* The chip's hash in an image: what tells whether it was compiled for it. */
static void stamp(unsigned char *image, const struct rdu_chip *chip)
{
	struct rdu_cfg_header *h = (void *)image;

	h->chip_hash = rdu_chip_hash(chip);
}

/* Its time on a chip, which may be another than it was compiled for; 0: refused. */
static uint64_t cycles_on(struct law_case *c, const struct rdu_chip *chip)
{
	struct rdu_cfg_diag diag;
	struct rdu_section *s;
	uint64_t cycles = 0;

	stamp(c->image, chip);
	s = rdu_section_new(c->image, c->size, chip, c->tiles, &diag);
	if (s)
		cycles = rdu_section_time(s, NULL, NULL, NULL)->cycles;
	else
		printf("# %s: %s\n", c->name, diag.text);
	rdu_section_free(s);
	stamp(c->image, &c->chip);
	return cycles;
}

static void bounds(struct law_case *c)
{
	struct rdu_cfg_diag diag;
	struct rdu_section *s = rdu_section_new(c->image, c->size, &c->chip, c->tiles, &diag);
	const struct rdu_section_time *t = rdu_section_time(s, NULL, NULL, NULL), *again;
	double memory = (double)t->dram_bytes * c->chip.clock_khz / (c->chip.dram_mbps * 1e3);
	uint64_t cycles = t->cycles;
	bool adds_up = true;

	ok((double)cycles >= memory, "%s: %llu cycles, memory needs %.0f", c->name,
	   (unsigned long long)cycles, memory);
	if (c->chip.systolic_cols && t->macs) {
		double arrays = (double)t->macs / ((double)c->chip.lanes * c->chip.systolic_cols *
						   rdu_chip_pcus_per_tile(&c->chip) * c->tiles);

		ok((double)cycles >= arrays, "%s: all arrays together need %.0f", c->name, arrays);
	}
	for (uint32_t i = 0; i < t->num_programs; i++) {
		const struct rdu_unit_time *u = &t->programs[i];

		if (u->busy + u->stall_in + u->stall_out + u->stall_mem > cycles || !u->busy) {
			printf("# %s: unit program %u: %llu + %llu + %llu + %llu of %llu\n",
			       c->name, i, (unsigned long long)u->busy,
			       (unsigned long long)u->stall_in, (unsigned long long)u->stall_out,
			       (unsigned long long)u->stall_mem, (unsigned long long)cycles);
			adds_up = false;
		}
	}
	ok(adds_up, "%s: what each unit did adds up to no more than the section", c->name);
	again = rdu_section_time(s, NULL, NULL, NULL);
	ok(again->cycles == cycles && cycles_on(c, &c->chip) == cycles,
	   "%s: the same when asked again, and when made again", c->name);
	rdu_section_free(s);
}

/*
 * For this image, less bandwidth, memory that is farther
 * away and slower wires are not faster. Rows that meet at another moment may save some
 * cycles: one in twenty.
 */
static void worse(struct law_case *c)
{
	uint64_t base = cycles_on(c, &c->chip), got;
	struct rdu_chip chip = c->chip;

	chip.dram_latency += 50;
	got = cycles_on(c, &chip);
	ok(1.05 * (double)got + 100 >= (double)base,
	   "%s: memory farther away: %llu cycles after %llu", c->name, (unsigned long long)got,
	   (unsigned long long)base);
	chip = c->chip;
	chip.dram_tck = chip.dram_tck * 10 / 7; /* a slower clock, and what it gives */
	chip.dram_mbps = chip.dram_mbps / 10 * 7;
	chip.dram_latency += chip.dram_tck * (chip.dram_cl + chip.dram_tccd_s) / 1000;
	got = cycles_on(c, &chip);
	ok(1.05 * (double)got + 100 >= (double)base, "%s: less bandwidth: %llu cycles after %llu",
	   c->name, (unsigned long long)got, (unsigned long long)base);
	chip = c->chip;
	chip.hop_cycles++;
	got = cycles_on(c, &chip);
	ok(1.05 * (double)got + 100 >= (double)base, "%s: slower wires: %llu cycles after %llu",
	   c->name, (unsigned long long)got, (unsigned long long)base);
}

static void program(const char *name, const char *path)
{
	const struct rdu_prog_header *h;
	const struct rdu_prog_section *sec;
	uint64_t total = 0;
	struct ran r;
	char error[400];

	if (ran_open(&r, path)) {
		ok(false, "%s: it can't be read", name);
		return;
	}
	h = (const void *)r.program;
	sec = (const void *)(r.program + h->sections_off);
	for (uint32_t i = 0; i < h->num_sections; i++) {
		struct law_case c = { .chip = r.chip, .size = sec[i].size, .tiles = h->num_tiles };

		c.image = malloc(c.size);
		memcpy(c.image, r.program + sec[i].offset, c.size);
		snprintf(c.name, sizeof(c.name), "%s %s", name, sec[i].name);
		bounds(&c);
		worse(&c);
		total += cycles_on(&c, &c.chip);
		free(c.image);
	}
	ran_entry(&r, 0, NULL, false, error, sizeof(error));
	ok(r.cycles == total, "%s: its sections add up to its time", name);
	ran_close(&r);
}

int main(int argc, char **argv)
{
	static const char *const chips[] = { "sn10", "plasticine", "tests/chips/few.chip" };
	int first = argc > 1 ? atoi(argv[1]) : 0, num = argc > 2 ? atoi(argv[2]) : 3 * NUM_KINDS;
	char path[] = "/tmp/timing-laws-XXXXXX", error[400] = "", name[64];
	int fd = mkstemp(path);

	if (fd < 0)
		return 1;
	close(fd);
	for (int c = first; c < first + num; c++) {
		struct module *m = module_new("test");
		struct rdu_chip chip;
		struct rduc_options opt = { .chip = &chip, .opt = 3 };

		make_case(m, c);
		snprintf(name, sizeof(name), "%s %d", kinds[c % NUM_KINDS], c);
		if (rdu_chip_find(chips[c % 3], &chip, error, sizeof(error)) ||
		    rduc_backend(m, &opt, path, error, sizeof(error)))
			ok(false, "%s: %s", name, error);
		else
			program(name, path);
		module_free(m);
	}
	unlink(path);
	return tap_done();
}
