// SPDX-License-Identifier: MIT
/*
 * About how long a section takes, for who has many of them to choose from, without what timing_flow.c does for
 * each firing. It goes from activation to activation of the section's stages, each as long as
 * timing_cost.c says that it takes alone, when its tokens are there. What stages share (off-chip memory,
 * AGCUs, sides of scratchpads) serves them in the order in which they begin.
 */
#include <stdlib.h>
#include <string.h>
#include "timing_priv.h"

#define MEMORY_SHARE 0.8 /* of its rate that memory gives many streams together, about */
#define AGCU_SHARE 0.9 /* the same of what an AGCU's requests can have on their way */
#define MOST_STEPS \
	(1u << 17) /* activations that are looked at: the rest is taken to go on like these */
#define NEVER UINT64_MAX

/* Tokens of an edge, by the cycles in which they are there. */
struct tokens {
	uint64_t initial; /* of them left: there from the start */
	uint64_t *at; /* ring */
	uint32_t first, num, size;
};

struct stage {
	uint64_t
		look; /* cycle in which it may begin its next activation; NEVER: it waits for a token */
	uint64_t free, begun; /* cycle; activations */
	uint64_t least; /* cycles of an activation */
	double bytes; /* to and from memory, of one in the mean */
};

struct estimate {
	const struct rdu_section *s;
	const struct rdu_costs *c;
	struct stage *stage;
	struct tokens *tokens;
	uint64_t *unit_free; /* by shared resource: cycle */
	double memory_free, memory_rate;
	uint64_t last;
};

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static int estimate_new(struct estimate *e, const struct rdu_section *s, const struct rdu_costs *c)
{
	double agcu = AGCU_SHARE * s->chip.agcu_requests * s->chip.dram_burst /
		      (s->chip.dram_latency ? s->chip.dram_latency : 1);

	*e = (struct estimate){ .s = s, .c = c, .memory_rate = MEMORY_SHARE * c->dram_rate };
	e->stage = calloc(s->num_stages + 1, sizeof(*e->stage));
	e->tokens = calloc(s->num_edges + 1, sizeof(*e->tokens));
	e->unit_free = calloc(c->num_units + 1, sizeof(*e->unit_free));
	if (!e->stage || !e->tokens || !e->unit_free)
		return -1;
	for (uint32_t i = 0; i < s->num_edges; i++)
		e->tokens[i].initial = s->edges[i].initial;
	for (uint32_t i = 0; i < s->num_stages; i++) {
		const struct rdu_stage *cfg = &s->stages[i];

		e->stage[i].least = c->stage[i].issue;
		for (uint32_t k = 0; k < cfg->num; k++) {
			double bytes = (double)c->prog[s->order[cfg->first + k]].all_bytes /
				       (double)cfg->activations;

			e->stage[i].least = max_u64(e->stage[i].least, (uint64_t)(bytes / agcu));
			e->stage[i].bytes += bytes;
		}
	}
	return 0;
}

static void estimate_free(struct estimate *e)
{
	for (uint32_t i = 0; e->tokens && i < e->s->num_edges; i++)
		free(e->tokens[i].at);
	free(e->tokens);
	free(e->stage);
	free(e->unit_free);
}

/* When the stage's next activation can begin; NEVER: it waits for a token. */
static uint64_t begins(const struct estimate *e, uint32_t stage)
{
	const struct rdu_stage *cfg = &e->s->stages[stage];
	const struct stage *st = &e->stage[stage];
	uint64_t at = st->free;

	for (uint32_t k = 0; k < cfg->num_in; k++) {
		uint32_t i = e->s->edge_in[cfg->first_in + k];
		const struct tokens *t = &e->tokens[i];

		if (t->initial || !rdu_pattern_at_first(&e->s->edges[i].dst_at, st->begun))
			continue;
		if (!t->num)
			return NEVER;
		at = max_u64(at, t->at[t->first]);
	}
	return at;
}

static void take_tokens(struct estimate *e, uint32_t stage)
{
	const struct rdu_stage *cfg = &e->s->stages[stage];

	for (uint32_t k = 0; k < cfg->num_in; k++) {
		uint32_t i = e->s->edge_in[cfg->first_in + k];
		struct tokens *t = &e->tokens[i];

		if (!rdu_pattern_at_first(&e->s->edges[i].dst_at, e->stage[stage].begun))
			continue;
		if (t->initial) {
			t->initial--;
			continue;
		}
		t->first = (t->first + 1) & (t->size - 1);
		t->num--;
	}
}

static int put_token(struct tokens *t, uint64_t at)
{
	if (t->num == t->size) {
		uint32_t size = t->size ? 2 * t->size : 4;
		uint64_t *more = malloc(size * sizeof(*more));

		if (!more)
			return -1;
		for (uint32_t i = 0; i < t->num; i++)
			more[i] = t->at[(t->first + i) & (t->size - 1)];
		free(t->at);
		*t = (struct tokens){ t->initial, more, 0, t->num, size };
	}
	t->at[(t->first + t->num++) & (t->size - 1)] = at;
	return 0;
}

/* The activation that has just begun gives its tokens when it ends, at `end`. */
static int give_tokens(struct estimate *e, uint32_t stage, uint64_t end)
{
	const struct rdu_stage *cfg = &e->s->stages[stage];

	for (uint32_t k = 0; k < cfg->num_out; k++) {
		uint32_t i = e->s->edge_out[cfg->first_out + k];
		const struct rdu_edge *edge = &e->s->edges[i];
		struct stage *to = &e->stage[edge->dst];

		if (!rdu_pattern_at_last(&edge->src_at, e->stage[stage].begun))
			continue;
		if (put_token(&e->tokens[i], end))
			return -1;
		if (to->look == NEVER && to->begun < e->s->stages[edge->dst].activations)
			to->look = begins(e, edge->dst);
	}
	return 0;
}

/* One activation that begins at cycle `at`. */
static int begin(struct estimate *e, uint32_t stage, uint64_t at)
{
	const struct rdu_stage_cost *c = &e->c->stage[stage];
	struct stage *st = &e->stage[stage];
	uint64_t takes = st->least, end;

	take_tokens(e, stage);
	if (st->bytes > 0) {
		double from = e->memory_free > (double)at ? e->memory_free : (double)at;

		e->memory_free = from + st->bytes / e->memory_rate;
		takes = max_u64(takes, (uint64_t)e->memory_free - at);
	}
	for (uint32_t k = 0; k < c->num_uses; k++) {
		const struct rdu_unit_use *u = &e->c->uses[c->first_use + k];

		e->unit_free[u->unit] = max_u64(e->unit_free[u->unit], at) + u->vectors;
		takes = max_u64(takes, e->unit_free[u->unit] - at);
	}
	if (at > RDU_TIMING_CYCLES || takes > RDU_TIMING_CYCLES)
		return -1;
	end = at + takes + c->fill;
	st->free = at + takes;
	e->last = max_u64(e->last, end);
	if (give_tokens(e, stage, end))
		return -1;
	st->begun++;
	st->look = st->begun < e->s->stages[stage].activations ? begins(e, stage) : NEVER;
	return 0;
}

/* Have all stages done all they have to? Else they wait for each other for ever. */
static bool is_done(const struct estimate *e)
{
	for (uint32_t i = 0; i < e->s->num_stages; i++)
		if (e->stage[i].begun < e->s->stages[i].activations)
			return false;
	return true;
}

/* Part of the section that has been looked at, by what its stages have to do. */
static double part_done(const struct estimate *e)
{
	double done = 0, all = 0;

	for (uint32_t i = 0; i < e->s->num_stages; i++) {
		done += (double)e->stage[i].least * (double)e->stage[i].begun;
		all += (double)e->stage[i].least * (double)e->s->stages[i].activations;
	}
	return done / all;
}

static int play(struct estimate *e)
{
	uint32_t steps;

	for (steps = 0; steps < MOST_STEPS; steps++) {
		uint32_t next = 0;
		uint64_t at;

		for (uint32_t i = 1; i < e->s->num_stages; i++)
			if (e->stage[i].look < e->stage[next].look)
				next = i;
		if (e->stage[next].look == NEVER)
			return is_done(e) ? 0 : -1;
		/* A token may be there later than the one that woke it. */
		at = begins(e, next);
		if (at > e->stage[next].look)
			e->stage[next].look = at;
		else if (begin(e, next, at))
			return -1;
	}
	e->last = (uint64_t)((double)e->last / part_done(e));
	return 0;
}

int rdu_estimate(const struct rdu_section *s, const struct rdu_costs *c, uint64_t *cycles)
{
	struct estimate e;
	int r = estimate_new(&e, s, c) || play(&e) ? -1 : 0;

	*cycles = e.last;
	estimate_free(&e);
	return r;
}
