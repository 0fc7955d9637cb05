// SPDX-License-Identifier: MIT
/*
 * What is made before it is its turn, so that other threads find its plan and time its section meanwhile: the nests
 * behind the one that is being lowered. It is what would be made in its turn, or it is not taken.
 */
#include <string.h>
#include "backend.h"
#include "mem.h"

/* Nests that are lowered beforehand, and those whose plans are looked for. */
#define LOWERED 4
#define PLANNED 8

/* What be_lower_spread() gave for a nest. */
struct lowered {
	struct lowered *next;
	const struct nest *n;
	unsigned int moves; /* be->moves of then */
	int r;
	struct uimage *im; /* NULL: it was taken, or there is none */
	struct tensor *crowded;
	char *error; /* NULL: none */
};

/* Is a nest's section made by itself, and of nothing that other sections decide? */
static bool is_alone(const struct backend *be, const struct nest *n)
{
	bool alone = !n->group && !be_hold_of(be, n->out[0].access.tensor);

	for (int i = 0; i < n->num_in; i++)
		alone &= !be_hold_of(be, n->in[i].tensor);
	return alone;
}

static struct lowered **find(struct backend *be, const struct nest *n)
{
	struct lowered **at = &be->lowered;

	while (*at && (*at)->n != n)
		at = &(*at)->next;
	return at;
}

static void drop(struct lowered **at)
{
	struct lowered *l = *at;

	*at = l->next;
	image_free(l->im);
	free(l->error);
	free(l);
}

void be_ahead_drop(struct backend *be)
{
	while (be->lowered)
		drop(&be->lowered);
}

static void lower(struct backend *be, struct nest *n, int op)
{
	struct lowered **at = find(be, n), *l;

	if (*at && (*at)->moves == be->moves)
		return;
	if (*at)
		drop(at);
	l = xcalloc(1, sizeof(*l));
	l->next = be->lowered;
	l->n = n;
	l->moves = be->moves;
	be->lowered = l;
	l->r = be_lower_spread(be, n, op, &l->im);
	l->crowded = be->crowded;
	if (l->r)
		l->error = xstrdup(be->error);
	else
		be_time_ahead(be, l->im, UINT64_MAX);
}

void be_ahead(struct backend *be, const struct module_entry *e, int from)
{
	int last = from + PLANNED < e->num_nests ? from + PLANNED : e->num_nests;

	if (!be->workers)
		return;
	for (int k = from; k < last; k++) {
		be->at = be->until = k;
		if (is_alone(be, e->nests[k]))
			be_plan_ahead(be, e->nests[k]);
	}
	for (int k = from; k < last && k < from + LOWERED && !be_prints(be, "lower"); k++) {
		be->at = be->until = k;
		if (is_alone(be, e->nests[k]))
			lower(be, e->nests[k], be->num_ops + k);
	}
}

int be_lower_next(struct backend *be, struct nest *n, int op, struct uimage **im)
{
	struct lowered **at = find(be, n), *l = *at;
	int r;

	if (!l || l->moves != be->moves)
		return be_lower_spread(be, n, op, im);
	r = l->r;
	*im = l->im;
	l->im = NULL;
	be->crowded = l->crowded;
	if (r)
		be_error(be, "%s", l->error);
	drop(at);
	return r;
}
