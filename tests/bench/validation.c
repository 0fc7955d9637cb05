// SPDX-License-Identifier: MIT
/*
 * rdu-validation [--part N] [--chip FILE] [-o PAGE]: the programs of the literature on
 * this card and cycle by cycle, beside the published times. --part N: an Nth of the rows,
 * and of the published time; FILE: another chip than the publication's; PAGE:
 * Documentation/validation.md. Exit code 1 if a result is wrong, or the simulator is too
 * far off.
 */
#include <getopt.h>
#include <math.h>
#include "literature.h"

static const struct literature *const all[] = { &literature_q6, &literature_black_scholes };

#define NUM (sizeof(all) / sizeof(all[0]))

/* PLDI'18's setting: Plasticine with one channel of its DDR3-1600. */
static void setting(struct rdu_chip *chip, const char *file)
{
	char error[RDU_CHIP_ERRORS];

	if (rdu_chip_find(file ? file : "plasticine", chip, error, sizeof(error))) {
		fprintf(stderr, "rdu-validation: %s\n", error);
		exit(1);
	}
	if (file)
		return;
	memcpy(chip->name, "plasticine-1ch", 15);
	chip->dram_channels = 1;
	chip->dram_mbps = (uint32_t)rdu_chip_dram_mbps(chip);
}

struct row {
	const struct literature *l;
	double published, card, cycles, rate; /* ms; share of the memory's rate */
	double least, most; /* percent off, at other places in memory */
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

	if (literature_run(l, chip, rows, 0, &r->time, text, sizeof(text))) {
		fprintf(stderr, "rdu-validation: %s: %s\n", l->name, text);
		return -1;
	}
	r->published = l->ms * rows / l->rows;
	r->card = (double)r->time.card / khz;
	r->cycles = (double)r->time.cycles / khz;
	r->rate = (double)r->time.bytes / (r->cycles * 1e-3) / (chip->dram_mbps * 1e6);
	return 0;
}

/* A quarter of the rows, the columns further apart: other banks meet. */
static int run_elsewhere(struct row *r, const struct rdu_chip *chip, uint32_t part)
{
	static const uint64_t gap[] = { 0, 8192, 16384, 32768, 49152 };
	const struct literature *l = r->l;
	uint32_t rows = l->rows / 4 / part / 16 * 16;
	struct literature_time time;
	char text[300];

	r->least = INFINITY;
	r->most = -INFINITY;
	for (size_t i = 0; i < sizeof(gap) / sizeof(gap[0]); i++) {
		double percent;

		if (literature_run(l, chip, rows, gap[i], &time, text, sizeof(text))) {
			fprintf(stderr, "rdu-validation: %s: %s\n", l->name, text);
			return -1;
		}
		percent = off((double)time.cycles / chip->clock_khz, l->ms * rows / l->rows);
		r->least = fmin(r->least, percent);
		r->most = fmax(r->most, percent);
	}
	if (r->least < -LIMIT || r->most > LIMIT) {
		fprintf(stderr, "rdu-validation: %s: elsewhere it is %+.1f to %+.1f %% off\n",
			l->name, r->least, r->most);
		return -1;
	}
	return 0;
}

/* False: the simulator is too far off. */
static bool print(const struct row *r)
{
	bool far = fabs(off(r->cycles, r->published)) > LIMIT;

	printf("%-14s %10.5f ms %+6.1f %% %10.5f ms %+6.1f %% %9.3f ms %6.1f %%  %.1e\n",
	       r->l->name, r->card, off(r->card, r->published), r->cycles,
	       off(r->cycles, r->published), r->published, 100 * r->rate, r->time.worst);
	if (far)
		fprintf(stderr, "rdu-validation: %s: cycle by cycle it is more than %g %% off\n",
			r->l->name, LIMIT);
	return !far;
}

static const char intro[] =
	"# Modelled time beside published time\n\n"
	"Written by `make validation`. Programs of the literature, written by hand as "
	"configurations\n"
	"([`tests/bench`](../tests/bench)), on the chip that the publication assumes: by the "
	"card's\n"
	"clock, cycle by cycle ([timing](timing.md#how-it-is-checked)), and as published. "
	"Memory's\n"
	"times are its data sheet's, the assumed numbers those of `rdu chip plasticine`; which of\n"
	"them matter is in [sensitivities](sensitivities.md). Results are compared bit by bit "
	"between\n"
	"card and simulator, and with a plain computation in double precision: *error* is the "
	"largest\n"
	"relative one. *Elsewhere*: cycle by cycle, a quarter of the rows, with the columns at "
	"five\n"
	"distances from each other, so that other banks of the memory meet.\n\n"
	"| program | card's clock | | cycle by cycle | | elsewhere | published | rate used | error "
	"|\n"
	"|---|---|---|---|---|---|---|---|---|\n";

static const char notes[] =
	"\nPublished: Koeplinger and others, *Spatial: A Language and Compiler for Application\n"
	"Accelerators*, PLDI 2018, Table 4: Plasticine (16 x 8 units, 1 GHz) with one channel of\n"
	"DDR3-1600, 12.8 GB/s; data are in off-chip memory before and after. Here: `plasticine` "
	"with\n"
	"`dram_channels 1`.\n\n"
	"- **TPC-H Query 6** ([`q6.c`](../tests/bench/q6.c)) reads four columns of 32-bit words, "
	"and\n"
	"  writes a sum: 16 bytes a row, which alone take 8.000 ms.\n"
	"- **Black-Scholes** ([`black_scholes.c`](../tests/bench/black_scholes.c)) reads six "
	"columns\n"
	"  and writes one: 28 bytes an option, which alone take 2.100 ms. The normal distribution "
	"is\n"
	"  the tail's error function; PLDI'18's program, after PARSEC, has a polynomial. Nothing\n"
	"  between goes to memory.\n";

static int write_page(const char *path, const struct row *row)
{
	FILE *f = fopen(path, "w");

	if (!f) {
		perror(path);
		return -1;
	}
	fputs(intro, f);
	for (const struct row *r = row; r < row + NUM; r++)
		fprintf(f,
			"| %s, %s | %.3f ms | %+.1f %% | %.3f ms | %+.1f %% | %+.1f to %+.1f %% | "
			"%.2f ms | %.1f %% | %.0e |\n",
			r->l->name, r->l->size, r->card, off(r->card, r->published), r->cycles,
			off(r->cycles, r->published), r->least, r->most, r->published,
			100 * r->rate, r->time.worst);
	fputs(notes, f);
	if (ferror(f) | fclose(f)) {
		perror(path);
		return -1;
	}
	return 0;
}

/* All programs; what is wrong is told on stderr. */
static int run_all(struct row *row, const struct rdu_chip *chip, uint32_t part, bool elsewhere)
{
	int ret = 0;

	printf("%-14s %23s %23s %12s %8s  %s\n", "program", "card's clock", "cycle by cycle",
	       "published", "rate", "error");
	for (size_t i = 0; i < NUM; i++) {
		struct row *r = &row[i];

		r->l = all[i];
		if (run(r, chip, part) || !print(r) || (elsewhere && run_elsewhere(r, chip, part)))
			ret = -1;
	}
	return ret;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "part", required_argument, NULL, 'p' },
						 { "chip", required_argument, NULL, 'c' },
						 { 0 } };
	const char *page = NULL, *chip_file = NULL;
	struct row row[NUM];
	struct rdu_chip chip;
	uint32_t part = 1;
	int c;

	while ((c = getopt_long(argc, argv, "o:", options, NULL)) >= 0) {
		if (c == 'o')
			page = optarg;
		if (c == 'c')
			chip_file = optarg;
		if (c == 'p')
			part = (uint32_t)strtoul(optarg, NULL, 10);
		if (c == '?' || !part || part > 1000) {
			fprintf(stderr,
				"rdu-validation [--part 1..1000] [--chip FILE] [-o PAGE]\n");
			return 2;
		}
	}
	setting(&chip, chip_file);
	if (run_all(row, &chip, part, page))
		return 1;
	return page && write_page(page, row) ? 1 : 0;
}
