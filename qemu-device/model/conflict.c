// SPDX-License-Identifier: MIT
/*
 * Which islands may not run beside each other, because one stores to memory that
 * the other loads or stores. Tokens order them on a real card or else the
 * configuration has a race; here they then run in one fixed order, so that the
 * result is the same every time. Where the tokens let one stage start only when
 * the other has ended, there is nothing to mark.
 *
 * Two affine patterns on one segment are apart if their ranges are, or if modulo
 * some stride the parts that are no multiple of it are: columns of one matrix.
 */
#include <stdlib.h>
#include "execute.h"

struct toucher {
	uint32_t program, island, segment;
	bool store;
};

struct pattern {
	uint32_t num;
	int64_t base, stride[RDU_MAX_COUNTERS + 1];
	uint64_t trip[RDU_MAX_COUNTERS + 1];
};

static void add_stride(struct pattern *p, int64_t stride, uint64_t trip)
{
	if (trip == 1 || !stride)
		return;
	if (stride < 0) { /* from the other end */
		p->base += stride * (int64_t)(trip - 1);
		stride = -stride;
	}
	p->stride[p->num] = stride;
	p->trip[p->num++] = trip;
}

static void pattern_of(struct pattern *p, const struct rdu_section *s, uint32_t program)
{
	const struct rdu_unit_prog *u = &s->progs[program];
	const struct rdu_cfg_access *a = u->body;

	p->num = 0;
	p->base = a->base;
	add_stride(p, a->lane_stride, a->lanes);
	for (uint32_t i = 0; i < u->cfg->num_counters; i++) {
		const struct rdu_cfg_counter *c = &u->cfg->counter[i];

		p->base += a->stride[i] * c->start;
		if (u->trip[i] > 1)
			add_stride(p, a->stride[i] * c->step, u->trip[i]);
	}
}

/* The part of p that is no multiple of g: *lo, with 0 <= *lo < g, and its span. */
static uint64_t remainder_of(const struct pattern *p, int64_t g, int64_t *lo)
{
	uint64_t span = 0;

	*lo = p->base % g;
	if (*lo < 0)
		*lo += g;
	for (uint32_t i = 0; i < p->num; i++)
		if (p->stride[i] % g)
			span += (uint64_t)p->stride[i] * (p->trip[i] - 1);
	return span;
}

static bool apart_modulo(const struct pattern *a, const struct pattern *b, int64_t g)
{
	int64_t la, lb, d;
	uint64_t sa = remainder_of(a, g, &la), sb = remainder_of(b, g, &lb);

	if (sa >= (uint64_t)g || sb >= (uint64_t)g)
		return false;
	d = lb - la; /* how far b starts after a, around the circle */
	if (d < 0)
		d += g;
	return (uint64_t)d > sa && (uint64_t)d + sb < (uint64_t)g;
}

static bool apart(const struct rdu_plan *plan, const struct rdu_section *s, uint32_t x, uint32_t y)
{
	const struct access_plan *ax = &plan->programs[x].access, *ay = &plan->programs[y].access;
	struct pattern px, py;

	if ((ax->cfg->flags | ay->cfg->flags) & RDU_ACCESS_GATHER)
		return false;
	if ((ax->max + 1) * ax->elem <= ay->min * ay->elem ||
	    (ay->max + 1) * ay->elem <= ax->min * ax->elem)
		return true;
	if (ax->elem != ay->elem)
		return false;
	pattern_of(&px, s, x);
	pattern_of(&py, s, y);
	for (uint32_t i = 0; i < px.num; i++)
		if (apart_modulo(&px, &py, px.stride[i]))
			return true;
	for (uint32_t i = 0; i < py.num; i++)
		if (apart_modulo(&px, &py, py.stride[i]))
			return true;
	return false;
}

/* ---- stages that end before others start ----------------------------------- */

enum { LAST_ENDS = 1, ALL_ENDS = 2 }; /* `from`, before the last / before any activation starts */

struct ends {
	const struct rdu_section *section;
	uint8_t **before; /* [from][stage]; NULL: not looked for yet */
	uint32_t *queue;
};

static uint64_t groups(const struct rdu_pattern *p, uint64_t activations)
{
	for (uint32_t i = 0; i < p->num; i++)
		activations /= p->group[i].trip;
	return activations;
}

/* What is known of the edge's end, when `known` is of its start: a token that only the last
 * activation of a stage gives orders whole stages; as many tokens given as taken, the last ones. */
static uint8_t across(const struct rdu_section *s, const struct rdu_edge *e, uint8_t known)
{
	uint64_t given = groups(&e->src_at, s->stages[e->src].activations);
	uint64_t taken = groups(&e->dst_at, s->stages[e->dst].activations);

	if (e->initial)
		return 0;
	if (known & ALL_ENDS || given == 1)
		return LAST_ENDS | ALL_ENDS;
	return given == taken ? LAST_ENDS : 0;
}

/* Do all activations of stage `from` end before one of `to` starts? -1: no memory. */
static int ends_before(struct ends *o, uint32_t from, uint32_t to)
{
	const struct rdu_section *s = o->section;
	uint8_t *known = o->before[from];
	uint32_t head = 0, tail = 0;

	if (known)
		return (known[to] & ALL_ENDS) != 0;
	known = o->before[from] = calloc(s->num_stages, 1);
	if (!known)
		return -1;
	known[from] = LAST_ENDS;
	o->queue[tail++] = from;
	while (head < tail) {
		const struct rdu_stage *st = &s->stages[o->queue[head]];
		uint32_t at = o->queue[head++];

		for (uint32_t i = 0; i < st->num_out; i++) {
			const struct rdu_edge *e = &s->edges[s->edge_out[st->first_out + i]];
			uint8_t more = across(s, e, known[at]) & ~known[e->dst];

			if (!more)
				continue;
			known[e->dst] |= more;
			o->queue[tail++] = e->dst;
		}
	}
	return (known[to] & ALL_ENDS) != 0;
}

static bool start_ends(struct ends *o, const struct rdu_section *s)
{
	o->section = s;
	o->before = calloc((size_t)s->num_stages + 1, sizeof(*o->before));
	o->queue = calloc(2 * (size_t)s->num_stages + 1, sizeof(*o->queue));
	return o->before && o->queue;
}

static void free_ends(struct ends *o)
{
	for (uint32_t i = 0; o->before && i < o->section->num_stages; i++)
		free(o->before[i]);
	free(o->before);
	free(o->queue);
}

static int by_segment(const void *pa, const void *pb)
{
	const struct toucher *a = pa, *b = pb;

	if (a->segment != b->segment)
		return a->segment < b->segment ? -1 : 1;
	if (a->store != b->store)
		return a->store ? -1 : 1;
	if (a->program != b->program)
		return a->program < b->program ? -1 : 1;
	return a->island < b->island ? -1 : a->island > b->island;
}

int rdu_plan_conflicts(struct rdu_plan *plan, const struct rdu_section *s)
{
	size_t n = 0, i, k, tests = 0;
	struct ends ends;
	struct toucher *t;
	int ret = -1;

	for (i = 0; i < plan->num_islands; i++)
		n += plan->islands[i].num_nodes + 2 * plan->islands[i].num_nodes;
	t = calloc(n + 1, sizeof(*t));
	if (!start_ends(&ends, s) || !t)
		goto out;
	n = 0;
	for (i = 0; i < plan->num_islands; i++) {
		const struct island *il = &plan->islands[i];

		for (k = 0; k < il->num_nodes; k++) {
			uint32_t p = il->nodes[k].program;
			const struct program_plan *pp = &plan->programs[p];
			unsigned int kind = s->programs[p].kind;

			if (kind == RDU_KIND_LOAD || kind == RDU_KIND_STORE)
				t[n++] = (struct toucher){ p, i, pp->access.cfg->target,
							   kind == RDU_KIND_STORE };
			for (uint32_t o = 0; pp->sys && pp->sys->direct && o < 2; o++) {
				uint32_t src = pp->sys->operand[o].source;

				if (s->programs[src].kind == RDU_KIND_LOAD)
					t[n++] = (struct toucher){
						src, i, plan->programs[src].access.cfg->target,
						false
					};
			}
		}
	}
	qsort(t, n, sizeof(*t), by_segment);
	for (i = 0; i < n; i++) {
		if (!t[i].store)
			continue;
		for (k = i + 1; k < n && t[k].segment == t[i].segment; k++) {
			struct island *a = &plan->islands[t[i].island];
			struct island *b = &plan->islands[t[k].island];
			int first, second;

			if (a == b || (a->serial && b->serial))
				continue;
			if (++tests <= 1u << 22) {
				if (apart(plan, s, t[i].program, t[k].program))
					continue;
				first = ends_before(&ends, a->stage, b->stage);
				second = first ? 0 : ends_before(&ends, b->stage, a->stage);
				if (first < 0 || second < 0)
					goto out;
				if (first || second)
					continue;
			}
			a->serial = b->serial = true;
		}
	}
	ret = 0;
out:
	free_ends(&ends);
	free(t);
	return ret;
}
