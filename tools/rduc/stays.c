// SPDX-License-Identifier: MIT
/*
 * Stays: which scratchpads a tensor has from the nest that makes it to its last reader.
 */
#include <stdlib.h>
#include <string.h>
#include "mem.h"
#include "stays.h"

#define LONG_FREE 6 /* nests; free for longer is as good, if a tensor is not small */

/* From one PMU that is taken to the next: so that they lie all over the tiles, each once. */
static int pmu_step(const struct backend *be)
{
	int all = (int)rdu_chip_pmus_per_tile(&be->chip) * be->tiles, step = 7;

	while (gcd64(all, step) != 1)
		step++;
	return step;
}

static void add_user(struct stays *p, struct tensor *t, int nest)
{
	struct users *u = &p->users[tensor_storage(t)->id];

	if (u->num && u->nest[u->num - 1] == nest)
		return;
	u->nest = xroom(u->nest, u->num, &u->room, sizeof(int));
	u->nest[u->num++] = nest;
}

void stays_init(const struct backend *be, const struct module_entry *e, bool share, struct stays *p)
{
	int all = (int)rdu_chip_pmus_per_tile(&be->chip) * be->tiles;

	*p = (struct stays){ .be = be, .num = all, .step = pmu_step(be), .share = share };
	p->stay = xcalloc((size_t)p->num + 1, sizeof(*p->stay));
	p->num_stays = xcalloc((size_t)p->num + 1, sizeof(int));
	p->room = xcalloc((size_t)p->num + 1, sizeof(int));
	p->ever = xcalloc((size_t)p->num + 1, sizeof(*p->ever));
	p->num_ever = xcalloc((size_t)p->num + 1, sizeof(int));
	p->room_ever = xcalloc((size_t)p->num + 1, sizeof(int));
	p->users = xcalloc((size_t)be->m->num_tensors + 1, sizeof(*p->users));
	for (int k = 0; k < e->num_nests; k++) {
		const struct nest *n = e->nests[k];
		int at =
			n->run ? n->run * LONG_FREE : k; /* those of one section are in one place */
		for (int i = 0; i < n->num_in; i++)
			add_user(p, n->in[i].tensor, at);
		for (int i = 0; i < n->num_out; i++)
			add_user(p, n->out[i].access.tensor, at);
	}
}

void stays_end(struct stays *p)
{
	for (int i = 0; i < p->num; i++) {
		free(p->stay[i]);
		free(p->ever[i]);
	}
	for (int i = 0; i < p->be->m->num_tensors; i++)
		free(p->users[i].nest);
	free(p->stay);
	free(p->num_stays);
	free(p->room);
	free(p->ever);
	free(p->num_ever);
	free(p->room_ever);
	free(p->users);
}

/* How far the nests that use one tensor are from those that use the other, at least; 0: one uses both. */
static int user_gap(struct stays *p, int tensor, int other)
{
	const struct users *a = &p->users[tensor];
	struct users *b = &p->users[other];

	if (b->gap_of == p->found)
		return b->gap;
	b->gap_of = p->found;
	b->gap = INT32_MAX;
	for (int i = 0, k = 0; i < a->num && k < b->num;) {
		int d = a->nest[i] - b->nest[k];

		b->gap = (int)min64(b->gap, abs(d));
		*(d < 0 ? &i : &k) += 1;
	}
	return b->gap;
}

/* A scratchpad, for a tensor. */
struct offer {
	int far; /* nests between those that use what else lies there, and the tensor's; -1: there is no room */
	bool shared; /* something else lies there at the time */
	int64_t base;
};

static int64_t part_room(const struct stays *p, const struct residence *r)
{
	int64_t banks = p->be->chip.pmu_banks;

	return ceil_div(r->part, banks) * banks;
}

static bool at_the_time(const struct stay *s, const struct residence *r)
{
	return s->first <= r->last && r->first <= s->last;
}

/* The number of the first stay that begins behind a nest. */
static int begins_behind(const struct stays *p, int i, int nest)
{
	int from = 0, to = p->num_stays[i];

	while (from < to) {
		int middle = (from + to) / 2;

		if (p->stay[i][middle].first <= nest)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static bool has_room(const struct stays *p, int64_t words)
{
	return words * 4 <= (int64_t)p->be->chip.pmu_bytes;
}

/* The first place that nothing is ever in; -1: there is none. */
static int64_t never_taken(const struct stays *p, int i, const struct residence *r)
{
	int64_t base = 0, words = part_room(p, r);

	for (int k = 0; k < p->num_ever[i] && p->ever[i][k].from < base + words; k++)
		base = p->ever[i][k].to;
	return has_room(p, base + words) ? base : -1;
}

/* The first place that nothing else is in at the time; -1: there is none. */
static int64_t free_place(const struct stays *p, int i, const struct residence *r)
{
	int64_t base = 0, words = part_room(p, r);
	int end = begins_behind(p, i, r->last);

	for (int k = end - 1; k >= 0 && p->stay[i][k].latest >= r->first; k--) {
		const struct stay *s = &p->stay[i][k];

		if (at_the_time(s, r) && base < s->base + s->words && s->base < base + words) {
			base = s->base + s->words;
			k = end;
		}
	}
	return has_room(p, base + words) ? base : -1;
}

/* Takes a stay into account. */
static void offer_beside(struct stays *p, const struct stay *s, const struct residence *r,
			 struct offer *o)
{
	int before = r->first - s->last, after = s->first - r->last;
	int d = before > after ? before : after;

	o->shared |= d <= 0;
	if (s->tensor >= 0 && !r->held && p->share)
		d = (int)max64(d, user_gap(p, (int)(r - p->be->residence), s->tensor));
	o->far = d <= 0 ? -1 : (int)min64(o->far, d);
}

static struct offer offer_of(struct stays *p, int i, const struct residence *r)
{
	struct offer o = { .far = INT32_MAX };
	const struct stay *s = p->stay[i];
	int behind = begins_behind(p, i, r->last);

	for (int k = behind; k < p->num_stays[i] && s[k].first - r->last < o.far; k++)
		offer_beside(p, &s[k], r, &o);
	for (int k = behind - 1; k >= 0 && r->first - s[k].latest < o.far; k--)
		offer_beside(p, &s[k], r, &o);
	if (o.far < 0)
		return o;
	o.base = never_taken(p, i, r);
	if (o.base < 0)
		o.base = free_place(p, i, r);
	if (o.base < 0)
		o.far = -1;
	return o;
}

int stays_pmu(const struct stays *p, int i)
{
	return (int)((int64_t)i * p->step % p->num);
}

/* Is scratchpad i better than k for a part that is wanted near PMU `want`, -1: anywhere? One that is taken at the
 * time leaves others to the nests' own operands. */
static bool is_better(const struct stays *p, const struct offer *o, int i, int k, int want)
{
	int a = (int)min64(o[i].far, LONG_FREE), b = (int)min64(o[k].far, LONG_FREE);

	if (a != b)
		return a > b;
	if (o[i].shared != o[k].shared)
		return o[i].shared;
	if (want < 0)
		return o[i].far > o[k].far;
	return abs(stays_pmu(p, i) - want) < abs(stays_pmu(p, k) - want);
}

/* Words are taken at some time. */
static void take_words(struct stays *p, int i, int64_t from, int64_t to)
{
	struct words *w;
	int at = 0, num;

	p->ever[i] = xroom(p->ever[i], p->num_ever[i], &p->room_ever[i], sizeof(*p->ever[i]));
	w = p->ever[i];
	while (at < p->num_ever[i] && w[at].to < from)
		at++;
	for (num = 0; at + num < p->num_ever[i] && w[at + num].from <= to; num++) {
		from = min64(from, w[at + num].from);
		to = max64(to, w[at + num].to);
	}
	memmove(w + at + 1, w + at + num, sizeof(*w) * (size_t)(p->num_ever[i] - at - num));
	w[at] = (struct words){ from, to };
	p->num_ever[i] += 1 - num;
}

static void add_stay(struct stays *p, int i, struct stay s)
{
	int at = begins_behind(p, i, s.first);
	struct stay *all;

	p->stay[i] = xroom(p->stay[i], p->num_stays[i], &p->room[i], sizeof(struct stay));
	all = p->stay[i];
	memmove(all + at + 1, all + at, sizeof(*all) * (size_t)(p->num_stays[i]++ - at));
	all[at] = s;
	for (int k = at; k < p->num_stays[i]; k++)
		all[k].latest = k ? (int)max64(all[k - 1].latest, all[k].last) : all[k].last;
	take_words(p, i, s.base, s.base + s.words);
}

void stays_add(struct stays *p, int i, int first, int last)
{
	add_stay(p, i, (struct stay){ first, last, last, -1, 0, p->be->chip.pmu_bytes / 4 });
}

bool stays_find(struct stays *p, struct residence *r, int from, int to)
{
	int found;
	int *at = xmalloc(sizeof(int) * (size_t)r->num_parts);
	struct offer *o = xmalloc(sizeof(*o) * (size_t)(p->num + 1));

	p->found++;
	for (int i = from; i < to; i++)
		o[i] = offer_of(p, i, r);
	for (found = 0; found < r->num_parts; found++) {
		int best = -1, want = r->words < SMALL_TENSOR
					      ? -1
					      : (2 * found + 1) * p->num / (2 * r->num_parts);

		for (int i = from; i < to; i++)
			if (o[i].far >= 0 && (best < 0 || is_better(p, o, i, best, want)))
				best = i;
		if (best < 0)
			break;
		o[best].far = -1;
		at[found] = best;
	}
	if (found < r->num_parts) {
		free(at);
		free(o);
		return false;
	}
	r->spot = xmalloc(sizeof(*r->spot) * (size_t)found);
	for (int k = 0; k < found; k++) {
		r->spot[k] = (struct spot){ stays_pmu(p, at[k]), o[at[k]].base };
		if (r->held)
			stays_add(p, at[k], r->first, r->last);
		else
			add_stay(p, at[k],
				 (struct stay){ r->first, r->last, r->last,
						(int)(r - p->be->residence), r->spot[k].base,
						part_room(p, r) });
	}
	free(at);
	free(o);
	return true;
}

int stays_group_start(const struct module_entry *e, int k)
{
	while (k && e->nests[k]->group && e->nests[k - 1]->group == e->nests[k]->group)
		k--;
	return k;
}

void stays_add_groups(const struct backend *be, const struct module_entry *e, struct stays *p)
{
	int beside = be->tiles > 1; /* then neighbours may be in a group's section (cut.c) */
	int *at = xmalloc(sizeof(int) * (size_t)(p->num + 1));

	for (int i = 0; i < p->num; i++)
		at[stays_pmu(p, i)] = i;
	for (int k = 0; k < e->num_nests; k++) {
		int last = k, num = 0;
		const int *pmu =
			e->nests[k]->group ? be_group_pmus(be, e->nests[k]->group, &num) : NULL;

		while (pmu && last + 1 < e->num_nests && stays_group_start(e, last + 1) == k)
			last++;
		for (int i = 0; i < num; i++)
			stays_add(p, at[pmu[i]], k - beside, last + beside);
		k = last;
	}
	free(at);
}

static int by_first(const void *a, const void *b)
{
	const struct residence *x = *(struct residence *const *)a,
			       *y = *(struct residence *const *)b;

	if (x->first != y->first)
		return x->first - y->first;
	return x < y ? -1 : x > y;
}

static void add_held(const struct placing *p, struct stays *pmus)
{
	for (int i = 0; i < p->be->num_holds; i++) {
		const struct residence *r = &p->be->residence[p->be->hold[i].to->id];

		for (int k = 0; k < pmus->num && hold_in(p->e, &p->be->hold[i]); k++)
			for (int q = 0; q < r->num_parts; q++)
				if (r->spot[q].pmu == stays_pmu(pmus, k))
					stays_add(pmus, k, r->first, r->last);
	}
}

bool stays_place_again(const struct placing *p, struct stays *pmus, int most)
{
	struct spot **was = xmalloc(sizeof(*was) * (size_t)(p->num + 1));
	int num = 0;

	qsort(p->r, (size_t)p->num, sizeof(*p->r), by_first);
	stays_add_groups(p->be, p->e, pmus);
	add_held(p, pmus);
	for (; num < p->num; num++) {
		was[num] = p->r[num]->spot;
		if (!stays_find(pmus, p->r[num], 0, most))
			break;
	}
	for (int i = 0; i < num; i++) {
		free(num < p->num ? p->r[i]->spot : was[i]);
		if (num < p->num)
			p->r[i]->spot = was[i];
	}
	free(was);
	return num == p->num;
}

bool stays_clash(const struct backend *be, const struct module_entry *e)
{
	bool clash = false;
	struct stays p;

	stays_init(be, e, true, &p);
	for (int i = 0; i < be->m->num_tensors && !clash; i++) {
		const struct residence *r = &be->residence[i];

		for (int k = 0; k < r->num_parts && r->resident && r->first >= 0; k++) {
			int at = r->spot[k].pmu;
			struct stay s = { r->first, r->last,	     r->last,
					  i,	    r->spot[k].base, part_room(&p, r) };

			if (r->held || r->group)
				s.words = be->chip.pmu_bytes / 4;
			for (int q = 0; q < p.num_stays[at]; q++) {
				const struct stay *o = &p.stay[at][q];

				clash |= at_the_time(o, r) && s.base < o->base + o->words &&
					 o->base < s.base + s.words;
			}
			add_stay(&p, at, s);
		}
	}
	stays_end(&p);
	return clash;
}
