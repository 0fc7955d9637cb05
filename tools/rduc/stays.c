// SPDX-License-Identifier: MIT
/*
 * Stays: which scratchpads a tensor has from the nest that makes it to its last reader.
 */
#include <stdlib.h>
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

void stays_init(const struct backend *be, struct stays *p)
{
	int all = (int)rdu_chip_pmus_per_tile(&be->chip) * be->tiles;

	*p = (struct stays){ .num = all, .step = pmu_step(be) };
	p->stay = xcalloc((size_t)p->num + 1, sizeof(*p->stay));
	p->num_stays = xcalloc((size_t)p->num + 1, sizeof(int));
	p->room = xcalloc((size_t)p->num + 1, sizeof(int));
}

void stays_end(struct stays *p)
{
	for (int i = 0; i < p->num; i++)
		free(p->stay[i]);
	free(p->stay);
	free(p->num_stays);
	free(p->room);
}

/* How many nests lie between its stays and one from first to last; -1: it is taken then. */
static int distance(const struct stays *p, int i, int first, int last)
{
	int least = INT32_MAX;

	for (int k = 0; k < p->num_stays[i]; k++) {
		int before = first - p->stay[i][k].last, after = p->stay[i][k].first - last;
		int d = before > after ? before : after;

		if (d <= 0)
			return -1;
		if (d < least)
			least = d;
	}
	return least;
}

int stays_pmu(const struct stays *p, int i)
{
	return (int)((int64_t)i * p->step % p->num);
}

/* Is scratchpad i better than k for a part that is wanted near PMU `want`, -1: anywhere? */
static bool is_better(const struct stays *p, const int *far, int i, int k, int want)
{
	int a = far[i], b = far[k];

	if (want < 0)
		return a > b;
	a = a < LONG_FREE ? a : LONG_FREE;
	b = b < LONG_FREE ? b : LONG_FREE;
	return a != b ? a > b : abs(stays_pmu(p, i) - want) < abs(stays_pmu(p, k) - want);
}

void stays_add(struct stays *p, int i, int first, int last)
{
	p->stay[i] = xroom(p->stay[i], p->num_stays[i], &p->room[i], sizeof(struct stay));
	p->stay[i][p->num_stays[i]++] = (struct stay){ first, last };
}

bool stays_find(struct stays *p, struct residence *r, int from, int to)
{
	int found;
	int *at = xmalloc(sizeof(int) * (size_t)r->num_parts);
	int *far = xmalloc(sizeof(int) * (size_t)(p->num + 1));

	for (int i = from; i < to; i++)
		far[i] = distance(p, i, r->first, r->last);
	for (found = 0; found < r->num_parts; found++) {
		int best = -1, want = r->words < SMALL_TENSOR
					      ? -1
					      : (2 * found + 1) * p->num / (2 * r->num_parts);

		for (int i = from; i < to; i++)
			if (far[i] >= 0 && (best < 0 || is_better(p, far, i, best, want)))
				best = i;
		if (best < 0)
			break;
		far[best] = -1;
		at[found] = best;
	}
	free(far);
	if (found < r->num_parts) {
		free(at);
		return false;
	}
	for (int k = 0; k < found; k++) {
		stays_add(p, at[k], r->first, r->last);
		at[k] = stays_pmu(p, at[k]);
	}
	r->pmu = at;
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
	int per_tile = (int)rdu_chip_pmus_per_tile(&be->chip);
	int *at = xmalloc(sizeof(int) * (size_t)(p->num + 1));

	for (int i = 0; i < p->num; i++)
		at[stays_pmu(p, i)] = i;
	for (int k = 0; k < e->num_nests; k++) {
		int last = k;
		const struct uimage *im =
			e->nests[k]->group ? be_group_plain(be, e->nests[k]->group) : NULL;

		while (im && last + 1 < e->num_nests && stays_group_start(e, last + 1) == k)
			last++;
		for (int u = 0; im && u < im->num_units; u++)
			if (im->unit[u].kind == RDU_UNIT_PMU)
				stays_add(p, at[im->unit[u].tile * per_tile + im->unit[u].phys], k,
					  last);
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
				if (r->pmu[q] == stays_pmu(pmus, k))
					stays_add(pmus, k, r->first, r->last);
	}
}

bool stays_place_again(const struct placing *p)
{
	int **was = xmalloc(sizeof(*was) * (size_t)(p->num + 1)), num = 0;
	struct stays pmus;

	qsort(p->r, (size_t)p->num, sizeof(*p->r), by_first);
	stays_init(p->be, &pmus);
	stays_add_groups(p->be, p->e, &pmus);
	add_held(p, &pmus);
	for (; num < p->num; num++) {
		was[num] = p->r[num]->pmu;
		if (!stays_find(&pmus, p->r[num], 0, pmus.num * 7 / 8))
			break;
	}
	for (int i = 0; i < num; i++) {
		free(num < p->num ? p->r[i]->pmu : was[i]);
		if (num < p->num)
			p->r[i]->pmu = was[i];
	}
	free(was);
	stays_end(&pmus);
	return num == p->num;
}
