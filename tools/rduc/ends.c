// SPDX-License-Identifier: MIT
/*
 * Where groups end. What the last nest of one hands to the first of the next crosses memory, so it is
 * worth a look which of them a nest is better in.
 */
#include <math.h>
#include <stdlib.h>
#include "mem.h"
#include "pipe.h"

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

/* Ways to cut nests into groups: those from number `first` on, up to number `end`. */
struct cuts {
	struct trial *g;
	int first, end;
	double *saved; /* by nest, from there on; below 0: not known */
};

/* The most words that groups of the nests from number k on keep out of memory. */
static double most_saved(struct cuts *c, int k)
{
	double *best = &c->saved[k - c->first];

	if (k >= c->end)
		return 0;
	if (*best < 0) {
		*best = most_saved(c, k + 1);
		for (int num = 2; num <= c->end - k; num++)
			*best = fmax(*best, saved_from(c->g, k, num) + most_saved(c, k + num));
	}
	return *best;
}

/* How many nests a group of windows should have: so that it and those behind it, up to where the next one
 * ends as it is now, keep most out of memory. Such a group loads and makes something twice, the more, the
 * more nests it has. */
static int best_number(struct trial *g)
{
	struct cuts c = { .g = g, .first = g->first };
	int num = g->num, best = num;
	const struct access *made;
	double most = 0, saved;
	int64_t next = 0;

	if (c.first + num < g->e->num_nests)
		next = pipe_choose(g, c.first + num, MOST_NESTS, &made, &saved);
	if (!next)
		return num;
	pipe_grow(g, c.first + num, MOST_NESTS, made, next);
	c.end = c.first + num + g->num;
	c.saved = xmalloc(sizeof(*c.saved) * (size_t)(c.end - c.first + 1));
	for (int k = c.first; k <= c.end; k++)
		c.saved[k - c.first] = -1;
	for (int k = num; k > 1; k--) {
		saved = saved_from(g, c.first, k) + most_saved(&c, c.first + k);
		if (saved > most) {
			most = saved;
			best = k;
		}
	}
	free(c.saved);
	return best;
}

void ends_find(struct trial *g, const struct access **made)
{
	int first = g->first, num = g->num, best;
	int64_t iterations = g->iterations;
	double saved;

	leave_last(g, *made);
	if (g->num < num || num < 3 || !pipe_has_halos(g))
		return;
	best = best_number(g);
	if (best < num)
		iterations = pipe_choose(g, first, best, made, &saved);
	pipe_grow(g, first, best, *made, iterations);
}
