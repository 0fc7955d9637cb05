// SPDX-License-Identifier: MIT
/*
 * What a run of a section looks at of its plan. Programs of an image with many sections run once
 * each, and what is known of them was in the caches long ago: it is asked for at once before the
 * section runs. Where it is, is found once: a list of lines, each once, in their order in memory.
 */
#include <stdlib.h>
#include "execute.h"

#define LINE 64

struct lines {
	uintptr_t *at;
	size_t num, room;
	bool failed;
};

static void add(struct lines *l, const void *p, size_t size)
{
	uintptr_t at = (uintptr_t)p & ~(uintptr_t)(LINE - 1), end = (uintptr_t)p + size;

	for (; size && at < end && !l->failed; at += LINE) {
		if (l->num == l->room) {
			size_t room = l->room ? 2 * l->room : 1024;
			uintptr_t *more = realloc(l->at, room * sizeof(*more));

			l->failed = !more;
			if (!more)
				return;
			l->at = more;
			l->room = room;
		}
		l->at[l->num++] = at;
	}
}

static int by_address(const void *pa, const void *pb)
{
	uintptr_t a = *(const uintptr_t *)pa, b = *(const uintptr_t *)pb;

	return a < b ? -1 : a > b;
}

/* Header and loops of an access, and what the image says of packs and indices. */
static void add_access(struct lines *l, const struct access_plan *a)
{
	add(l, a,
	    offsetof(struct access_plan, loop) + (a->num + a->num_outer) * sizeof(a->loop[0]));
	if (a->pack || a->flags & RDU_ACCESS_GATHER)
		add(l, a->cfg, sizeof(*a->cfg));
}

static void add_program(struct lines *l, const struct program_plan *pp)
{
	const struct systolic_plan *sys = pp->sys;

	if (pp->access.cfg) {
		add_access(l, &pp->access);
		return;
	}
	add(l, pp, offsetof(struct program_plan, in_mask));
	if (pp->simd)
		add(l, pp->simd,
		    sizeof(*pp->simd) + pp->simd->num_ops * sizeof(pp->simd->op[0]) +
			    pp->simd->num_consts * sizeof(pp->simd->konst[0]));
	if (!sys)
		return;
	add(l, sys, offsetof(struct systolic_plan, operand));
	for (uint32_t i = 0; i < 2; i++) {
		add(l, &sys->operand[i], offsetof(struct direct_operand, tile));
		if (sys->operand[i].in_place)
			add_access(l, &sys->operand[i].tile);
	}
}

static void add_island(struct lines *l, const struct rdu_plan *plan, const struct island *il)
{
	add(l, il->nodes, il->num_nodes * sizeof(*il->nodes) + il->num_fifos * sizeof(*il->fifos));
	if (il->transfer)
		add(l, il->transfer, rdu_transfer_size(il->transfer));
	for (uint32_t i = 0; i < il->num_nodes; i++)
		add_program(l, &plan->programs[il->nodes[i].program]);
}

int rdu_plan_find_lines(struct rdu_plan *plan, const struct rdu_section *s)
{
	struct lines l = { 0 };

	add(&l, plan->islands, plan->num_islands * sizeof(*plan->islands));
	for (uint32_t i = 0; i < plan->num_islands; i++)
		add_island(&l, plan, &plan->islands[i]);
	for (uint32_t i = 0; i < plan->first_turning[s->num_stages]; i++)
		add(&l, &plan->programs[plan->turning[i]].access.flips,
		    sizeof(plan->programs[0].access.flips));
	if (l.failed) {
		free(l.at);
		return -1;
	}
	if (l.num) /* a section of no programs has none */
		qsort(l.at, l.num, sizeof(*l.at), by_address);
	plan->lines = l.at;
	for (size_t i = 0; i < l.num; i++)
		if (!i || l.at[i] != plan->lines[plan->num_lines - 1])
			plan->lines[plan->num_lines++] = l.at[i];
	return 0;
}

void rdu_plan_fetch(const struct rdu_plan *plan)
{
	for (size_t i = 0; i < plan->num_lines; i++)
		__builtin_prefetch((const void *)plan->lines[i], 0, 2);
}
