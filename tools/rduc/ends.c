// SPDX-License-Identifier: MIT
/*
 * Where groups end. What the last nest of one hands to the first of the next crosses memory, so it is
 * worth a look which of them a nest is better in.
 */
#include <math.h>
#include <stdlib.h>
#include "mem.h"
#include "pipe.h"

/* What sections reach, about: of memory's rate; and of the compute units, for these bring together what
 * others read in slices. A nest more, and they are shared less evenly, as replicas come in steps. */
#define OF_MEMORY 0.85
#define OF_UNITS 0.75
#define UNEVEN 0.02

/* The words that a group from number `first` on, of `most` nests at most, keeps out of memory. */
static double saved_from(struct trial *g, int first, int most)
{
	const struct access *made;
	double saved = 0;

	if (first < g->e->num_nests && most > 1)
		pipe_choose(g, first, most, &made, &saved);
	return saved;
}

/* The last nest leaves the group where one that begins with it saves more by that. */
static void leave_last(struct trial *g, const struct access *made)
{
	int first = g->first, num = g->num;
	int64_t iterations = g->iterations;
	double here = g->saved, there;

	pipe_grow(g, first, num - 1, made, iterations);
	here -= g->saved;
	there = stage_part_saves(g, first + num - 1);
	if (!there)
		there = saved_from(g, first + num - 1, MOST_NESTS) -
			saved_from(g, first + num, MOST_NESTS);
	pipe_grow(g, first, there > here ? num - 1 : num, made, iterations);
}

/* Cycles of all compute units that nests from number `first` on are worth. */
static double work_of(const struct trial *g, int first, int num)
{
	double work = 0;

	for (int k = first; k < first + num; k++)
		work += be_work(g->be, g->e->nests[k]);
	return work / (rdu_chip_pcus_per_tile(&g->be->chip) * (double)g->be->tiles);
}

double ends_about(const struct trial *g)
{
	double rate = be_bytes_per_cycle(&g->be->chip) * OF_MEMORY, n = (double)g->iterations;
	double work = work_of(g, g->first, g->num) / OF_UNITS;

	return fmax(stage_least_bytes(g, g->first, true) / rate, work) *
	       (n + (double)g->more + g->num - 1) / n * (1 + g->num * UNEVEN);
}

/* Cycles that nests from number `first` on take, about, as one group, or one of them alone. HUGE_VAL: they cannot
 * be a group. */
static double cycles_of(struct trial *g, int first, int num)
{
	const struct access *made;
	double rate = be_bytes_per_cycle(&g->be->chip) * OF_MEMORY, saved;
	int64_t n;

	if (num == 1)
		return fmax(stage_least_bytes(g, first, false) / rate, work_of(g, first, 1));
	n = pipe_choose(g, first, num, &made, &saved);
	if (!n)
		return HUGE_VAL;
	pipe_grow(g, first, num, made, n);
	if (g->num < num)
		return HUGE_VAL;
	return ends_about(g);
}

/* Ways to cut nests into groups: those from number `first` on, up to number `end`. */
struct cuts {
	struct trial *g;
	int first, end;
	double *cycles; /* by nest, from there on; below 0: not known */
};

/* The fewest cycles that the nests from number k on take, cut into groups. */
static double fewest_cycles(struct cuts *c, int k)
{
	double *best = &c->cycles[k - c->first];

	if (k >= c->end)
		return 0;
	if (*best < 0) {
		*best = HUGE_VAL;
		for (int num = 1; num <= c->end - k; num++)
			*best = fmin(*best, cycles_of(c->g, k, num) + fewest_cycles(c, k + num));
	}
	return *best;
}

/* How many nests a group of windows should have: so that it and those behind it, up to where the next one
 * ends as it is now, take fewest cycles. *about: those of the group. */
static int best_number(struct trial *g, double *about)
{
	struct cuts c = { .g = g, .first = g->first };
	int num = g->num, best = num;
	const struct access *made;
	double least = HUGE_VAL, saved;
	int64_t next = 0;

	c.end = c.first + num;
	if (c.end < g->e->num_nests)
		next = pipe_choose(g, c.end, MOST_NESTS, &made, &saved);
	if (next) {
		pipe_grow(g, c.end, MOST_NESTS, made, next);
		c.end += g->num;
	}
	c.cycles = xmalloc(sizeof(*c.cycles) * (size_t)(c.end - c.first + 1));
	for (int k = c.first; k <= c.end; k++)
		c.cycles[k - c.first] = -1;
	for (int k = num; k > 1; k--) {
		double own = cycles_of(g, c.first, k);
		double cycles = own + fewest_cycles(&c, c.first + k);

		if (cycles < least) {
			least = cycles;
			best = k;
			*about = own;
		}
	}
	free(c.cycles);
	return best;
}

double ends_find(struct trial *g, const struct access **made)
{
	int first = g->first, num, best;
	int64_t iterations = g->iterations;
	double saved, about = HUGE_VAL;

	leave_last(g, *made);
	num = g->num;
	if (num < 3 || !pipe_reads_before(g))
		return about;
	best = best_number(g, &about);
	if (best < num)
		iterations = pipe_choose(g, first, best, made, &saved);
	pipe_grow(g, first, best, *made, iterations);
	return about;
}
