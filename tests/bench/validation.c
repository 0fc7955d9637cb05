// SPDX-License-Identifier: MIT
/*
 * rdu-validation [--part N] [-o PAGE]: the programs of the literature on this card and
 * cycle by cycle, beside the published times. --part N: an Nth of the rows, and of the
 * published time; PAGE: Documentation/validation.md. Exit code 1 if a result is wrong, or
 * the simulator is too far off.
 */
#include <getopt.h>
#include <math.h>
#include "literature.h"

static const struct literature *const all[] = { &literature_q6, &literature_black_scholes };

#define NUM (sizeof(all) / sizeof(all[0]))

/* PLDI'18's setting: Plasticine with one channel of its DDR3-1600. */
static void setting(struct rdu_chip *chip)
{
	char error[RDU_CHIP_ERRORS];

	if (rdu_chip_find("plasticine", chip, error, sizeof(error))) {
		fprintf(stderr, "rdu-validation: %s\n", error);
		exit(1);
	}
	memcpy(chip->name, "plasticine-1ch", 15);
	chip->dram_channels = 1;
	chip->dram_mbps = (uint32_t)rdu_chip_dram_mbps(chip);
}

struct row {
	const struct literature *l;
	double published, card, cycles, rate; /* ms; share of the memory's rate */
	struct literature_time time;
};

#define LIMIT 3.0 /* percent that the simulator may be off */

static double off(double ms, double published)
{
	return 100 * (ms - published) / published;
}

static int run(struct row *r, const struct rdu_chip *chip, uint32_t part)
{
	const struct literature *l = r->l;
	uint32_t rows = l->rows / part / 16 * 16;
	double khz = chip->clock_khz;
	char text[300];

	if (literature_run(l, chip, rows, &r->time, text, sizeof(text))) {
		fprintf(stderr, "rdu-validation: %s: %s\n", l->name, text);
		return -1;
	}
	r->published = l->ms * rows / l->rows;
	r->card = (double)r->time.card / khz;
	r->cycles = (double)r->time.cycles / khz;
	r->rate = (double)r->time.bytes / (r->cycles * 1e-3) / (chip->dram_mbps * 1e6);
	return 0;
}

/* False: the simulator is too far off. */
static bool print(const struct row *r)
{
	bool far = fabs(off(r->cycles, r->published)) > LIMIT;

	printf("%-14s %9.3f ms %+6.1f %% %9.3f ms %+6.1f %% %9.3f ms %6.1f %%  %.1e\n", r->l->name,
	       r->card, off(r->card, r->published), r->cycles, off(r->cycles, r->published),
	       r->published, 100 * r->rate, r->time.worst);
	if (far)
		fprintf(stderr, "rdu-validation: %s: cycle by cycle it is more than %g %% off\n",
			r->l->name, LIMIT);
	return !far;
}

static int write_page(const char *path, const struct row *row, uint32_t part)
{
	FILE *f = fopen(path, "w");

	if (!f) {
		perror(path);
		return -1;
	}
	fprintf(f,
		"# Modelled time beside published time\n\n"
		"Written by `make validation`.%s Programs of the literature, written by hand as\n"
		"configurations ([`tests/bench`](../tests/bench)), on the chip that the "
		"publication "
		"assumes: by the card's clock, cycle\nby cycle "
		"([timing](timing.md#how-it-is-checked)), "
		"and as published. Nothing in the chip's description is fitted to\nthem: memory's "
		"times are its data sheet's, the assumed numbers those of `rdu chip plasticine`. "
		"Each "
		"result is\ncompared bit by bit between the two, and with a plain computation in "
		"double precision; *error* is the largest\nrelative one.\n\n",
		part > 1 ? " (Of a part of the rows only: this is a trial.)" : "");
	fprintf(f, "| program | card's clock | | cycle by cycle | | published | memory's rate used "
		   "| error |\n"
		   "|---|---|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < NUM; i++)
		fprintf(f,
			"| %s, %s | %.3f ms | %+.1f %% | %.3f ms | %+.1f %% | %.2f ms | %.1f %% | "
			"%.0e |\n",
			row[i].l->name, row[i].l->size, row[i].card,
			off(row[i].card, row[i].published), row[i].cycles,
			off(row[i].cycles, row[i].published), row[i].published, 100 * row[i].rate,
			row[i].time.worst);
	fprintf(f,
		"\nBoth: Koeplinger and others, *Spatial: A Language and Compiler for Application "
		"Accelerators*, PLDI 2018, Table 4:\nPlasticine (16 x 8 units, 1 GHz) with one "
		"channel of DDR3-1600, 12.8 GB/s, data in off-chip memory before and after.\nHere: "
		"`plasticine` with `dram_channels 1`.\n\n"
		"- **TPC-H Query 6** ([`q6.c`](../tests/bench/q6.c)) reads four columns of 32-bit "
		"words, and writes a sum: 16 bytes a\n  row, which alone take 8.000 ms.\n"
		"- **Black-Scholes** ([`black_scholes.c`](../tests/bench/black_scholes.c)) reads "
		"six "
		"columns and writes one: 28 bytes an\n  option, which alone take 2.100 ms. The "
		"normal distribution is the tail's error function; PLDI'18's program, after\n  "
		"PARSEC, has a polynomial of the same accuracy. Nothing between goes to memory.\n");
	if (fclose(f)) {
		perror(path);
		return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "part", required_argument, NULL, 'p' }, { 0 } };
	struct row row[NUM];
	const char *page = NULL;
	struct rdu_chip chip;
	uint32_t part = 1;
	bool near = true;
	int c;

	while ((c = getopt_long(argc, argv, "o:", options, NULL)) >= 0) {
		if (c == 'o')
			page = optarg;
		if (c == 'p')
			part = (uint32_t)strtoul(optarg, NULL, 10);
		if (c == '?' || !part || part > 1000) {
			fprintf(stderr, "rdu-validation [--part 1..1000] [-o PAGE]\n");
			return 2;
		}
	}
	setting(&chip);
	printf("%-14s %22s %22s %12s %8s  %s\n", "program", "card's clock", "cycle by cycle",
	       "published", "rate", "error");
	for (size_t i = 0; i < NUM; i++) {
		row[i].l = all[i];
		if (run(&row[i], &chip, part))
			return 1;
		near &= print(&row[i]);
	}
	return !near || (page && write_page(page, row, part)) ? 1 : 0;
}
