// SPDX-License-Identifier: MIT
/*
 * A failing case made smaller: first its choices (fewer and smaller ones), then what
 * choices cannot say: outputs dropped, nodes cut out and made inputs of the graph.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "diff.h"

struct shrinker {
	struct case_id best;
	char what[40];
	struct verdict *v;
	const char *dir;
	double until;
	int tries;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Does it still fail in the same way? Then it is the best so far. */
static bool try_one(struct shrinker *s, const struct case_id *id)
{
	if (now() > s->until)
		return false;
	s->tries++;
	run_in_child(id, s->what, s->dir, s->v);
	if (s->v->kind != VERDICT_BAD || strcmp(s->v->what, s->what))
		return false;
	s->best = *id;
	s->best.seeded = false;
	/* What was not read, or is out of range, needs no choice. */
	s->best.num = s->v->num_choices;
	memcpy(s->best.choice, s->v->choice, (size_t)s->best.num * sizeof(s->best.choice[0]));
	return true;
}

static bool fewer_choices(struct shrinker *s)
{
	static struct case_id id;
	bool better = false;

	for (int size = 64; size; size /= 2)
		for (int at = s->best.num - size; at >= 0; at -= size) {
			if (at + size > s->best.num)
				continue;
			id = s->best;
			memmove(id.choice + at, id.choice + at + size,
				(size_t)(id.num - at - size) * sizeof(id.choice[0]));
			id.num -= size;
			better |= try_one(s, &id);
		}
	return better;
}

static bool smaller_choices(struct shrinker *s)
{
	static struct case_id id;
	bool better = false;

	for (int at = 0; at < s->best.num; at++) {
		uint32_t v = s->best.choice[at];

		for (uint32_t less = 0; less < v; less = less + (v - less + 1) / 2) {
			id = s->best;
			id.choice[at] = less;
			if (try_one(s, &id)) {
				better = true;
				break;
			}
			if (v - less <= 1)
				break;
		}
	}
	return better;
}

static bool fewer_nodes(struct shrinker *s)
{
	static struct case_id id;
	bool better = false;

	for (int k = 0; k < MAX_IO; k++) {
		id = s->best;
		id.edits.dropped |= 1u << k;
		if (id.edits.dropped != s->best.edits.dropped)
			better |= try_one(s, &id);
	}
	for (int k = 0; k < MAX_NODES; k++) {
		id = s->best;
		id.edits.cut |= 1ull << k;
		if (id.edits.cut != s->best.edits.cut)
			better |= try_one(s, &id);
	}
	return better;
}

int shrink(struct case_id *id, struct verdict *v, const char *dir, double seconds)
{
	static struct shrinker s;

	s = (struct shrinker){ .best = *id, .v = v, .dir = dir, .until = now() + seconds };
	memcpy(s.what, v->what, sizeof(s.what));
	if (id->seeded && !try_one(&s, id))
		return s.tries;
	while (fewer_choices(&s) || smaller_choices(&s))
		;
	/* Edits name nodes by number: choices stay as they are from here on. */
	fewer_nodes(&s);
	*id = s.best;
	run_in_child(id, s.what, dir, v);
	return s.tries;
}
