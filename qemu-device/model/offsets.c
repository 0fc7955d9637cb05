// SPDX-License-Identifier: MIT
/*
 * Where the steps of an array's operands are: offsets in words, one a step. Most of a section's arrays have the same
 * few tables; each is kept once with the plan, so that those in use stay in the caches.
 */
#include <stdlib.h>
#include <string.h>
#include "execute.h"

struct offset_table {
	struct offset_table *next;
	uint64_t num, hash;
	ptrdiff_t at[];
};

static uint64_t hash_of(const ptrdiff_t *at, uint64_t num)
{
	uint64_t h = num;

	for (uint64_t i = 0; i < num; i++)
		h = (h ^ (uint64_t)at[i]) * 0x9e3779b97f4a7c15u, h ^= h >> 29;
	return h;
}

const ptrdiff_t *rdu_plan_offsets(struct rdu_plan *plan, const ptrdiff_t *at, uint64_t num)
{
	uint64_t hash = hash_of(at, num);
	struct offset_table **bucket = &plan->offsets[hash % RDU_OFFSET_BUCKETS], *t;

	for (t = *bucket; t; t = t->next)
		if (t->hash == hash && t->num == num && !memcmp(t->at, at, num * sizeof(*at)))
			return t->at;
	t = malloc(sizeof(*t) + num * sizeof(*at));
	if (!t)
		return NULL;
	t->next = *bucket;
	t->num = num;
	t->hash = hash;
	memcpy(t->at, at, num * sizeof(*at));
	*bucket = t;
	return t->at;
}

void rdu_plan_offsets_free(struct rdu_plan *plan)
{
	for (uint32_t i = 0; i < RDU_OFFSET_BUCKETS; i++)
		while (plan->offsets[i]) {
			struct offset_table *t = plan->offsets[i];

			plan->offsets[i] = t->next;
			free(t);
		}
}
