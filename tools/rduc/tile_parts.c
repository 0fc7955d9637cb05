// SPDX-License-Identifier: MIT
/*
 * Which parts of what is resident replicas access (lower_resident.c), as a search asks it: few questions, each
 * again and again.
 */
#include "tile.h"
#include "mem.h"

struct question {
	const struct lacc *a; /* of the nest; NULL: an empty place */
	bool joins; /* resident_joins(), else resident_crowd() */
	struct spread spread;
	int answer;
};

static uint64_t hash_of(const struct question *q)
{
	uint64_t h = (uint64_t)(uintptr_t)q->a + (uint64_t)q->spread.num * 2 + q->joins;

	for (int i = 0; i < q->spread.num; i++) {
		h = h * 0x9e3779b97f4a7c15u + (uint64_t)q->spread.block[i] * RDU_MAX_DIMS +
		    (uint64_t)q->spread.dim[i];
		h = (h ^ h >> 29) * 0x9e3779b97f4a7c15u + (uint64_t)q->spread.blocks[i];
	}
	return (h ^ h >> 32) * 0x9e3779b97f4a7c15u >> 32;
}

static bool is_same(const struct question *a, const struct question *b)
{
	const struct spread *s = &a->spread, *t = &b->spread;
	bool same = a->a == b->a && a->joins == b->joins && s->num == t->num;

	for (int i = 0; i < s->num && same; i++)
		same = s->dim[i] == t->dim[i] && s->block[i] == t->block[i] &&
		       s->blocks[i] == t->blocks[i];
	return same;
}

/* Where a question is, or goes: open addressing. */
static struct question *place_of(struct parts_asked *asked, const struct question *q)
{
	for (uint64_t i = hash_of(q);; i++) {
		struct question *at = &asked->question[i & (uint64_t)(asked->room - 1)];

		if (!at->a || is_same(at, q))
			return at;
	}
}

static void more_room(struct parts_asked *asked)
{
	struct parts_asked old = *asked;

	asked->room = old.room ? 2 * old.room : 256;
	asked->question = xcalloc((size_t)asked->room, sizeof(*asked->question));
	for (int i = 0; i < old.room; i++)
		if (old.question[i].a)
			*place_of(asked, &old.question[i]) = old.question[i];
	free(old.question);
}

int parts_ask(const struct contract *c, const struct lacc *a, const struct residence *r, bool joins,
	      const struct spread *s)
{
	struct question q = { a, joins, *s, 0 }, *at;

	if (2 * c->asked->num >= c->asked->room)
		more_room(c->asked);
	at = place_of(c->asked, &q);
	if (!at->a) {
		q.answer = joins ? resident_joins(c->chip, r, c->l, a, s)
				 : resident_crowd(r, c->l, a, s);
		c->asked->num++;
		*at = q;
	}
	return at->answer;
}

void parts_end(struct parts_asked *asked)
{
	free(asked->question);
}
