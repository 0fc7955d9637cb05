// SPDX-License-Identifier: MIT
/*
 * Steps of a search that were taken before: descents from many starts come to the same plans, and go on
 * from there in the same way.
 */
#include <string.h>
#include "tile.h"
#include "mem.h"
#include "rdu/program.h"

static bool is_same(const struct step *a, const struct step *b, int dims)
{
	size_t size = (size_t)dims * sizeof(a->tile[0]);

	return a->dim == b->dim && a->cost == b->cost && !memcmp(a->tile, b->tile, size) &&
	       !memcmp(a->unroll, b->unroll, size);
}

static uint64_t hash_of(const struct step *s, int dims)
{
	size_t size = (size_t)dims * sizeof(s->tile[0]);
	uint64_t h = rdu_fnv1a(RDU_FNV1A_INIT, s->tile, size);

	h = rdu_fnv1a(h, s->unroll, size);
	return rdu_fnv1a(rdu_fnv1a(h, &s->cost, sizeof(s->cost)), &s->dim, sizeof(s->dim));
}

/* Where a step is, or goes: open addressing, number + 1; 0: nothing is there. */
static int *place_of(struct steps *known, const struct step *s)
{
	uint64_t i = hash_of(s, known->dims);

	for (;; i++) {
		int *place = &known->place[i & (uint64_t)(known->room_places - 1)];

		if (!*place || is_same(&known->step[*place - 1], s, known->dims))
			return place;
	}
}

static void more_places(struct steps *known)
{
	known->room_places = known->room_places ? 2 * known->room_places : 1024;
	free(known->place);
	known->place = xcalloc((size_t)known->room_places, sizeof(*known->place));
	for (int i = 0; i < known->num; i++)
		*place_of(known, &known->step[i]) = i + 1;
}

struct step *steps_find(struct steps *known, const struct contract *c, int d)
{
	size_t size = (size_t)known->dims * sizeof(c->tile[0]);
	struct step s = { .dim = d, .cost = c->cost };
	int *place;

	memcpy(s.tile, c->tile, size);
	memcpy(s.unroll, c->unroll, size);
	if (2 * known->num >= known->room_places)
		more_places(known);
	place = place_of(known, &s);
	if (!*place) {
		known->step = xroom(known->step, known->num, &known->room, sizeof(s));
		known->step[known->num++] = s;
		*place = known->num;
	}
	return &known->step[*place - 1];
}

void steps_end(struct steps *known)
{
	free(known->step);
	free(known->place);
}
