// SPDX-License-Identifier: MIT
/*
 * About how long a section takes, for who has many of them to choose from, without what timing_flow.c does for
 * each firing. It goes from activation to activation of the section's stages, each as long as
 * timing_cost.c says that it takes alone, when its tokens are there. What stages share (off-chip memory,
 * AGCUs, sides of scratchpads) serves them in the order in which they begin.
 */
#include <stdlib.h>
#include <string.h>
#include "timing_flow.h"

#define MEMORY_SHARE 0.8 /* of its rate that memory gives many streams together, about */
#define AGCU_SHARE 0.9 /* the same of what an AGCU's requests can have on their way */
#define LOOKED_AT (1u << 17) /* activations: the rest is taken to go on like these */

struct stage {
	uint64_t look; /* cycle in which it may begin again; FLOW_NEVER: it waits for a token */
	uint64_t free, begun; /* cycle; activations */
	uint64_t least; /* cycles of an activation */
	double bytes; /* to and from memory, of one in the mean */
};

struct estimate {
	const struct rdu_section *s;
	const struct rdu_costs *c;
	struct stage *stage;
	struct flow_tokens *tokens; /* by edge */
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

/* When the stage's next activation can begin; FLOW_NEVER: it waits for a token. */
static uint64_t begins(const struct estimate *e, uint32_t stage)
{
	const struct rdu_stage *cfg = &e->s->stages[stage];
	const struct stage *st = &e->stage[stage];
	uint64_t at = st->free;

	for (uint32_t k = 0; k < cfg->num_in; k++) {
		uint32_t i = e->s->edge_in[cfg->first_in + k];
		const struct flow_tokens *t = &e->tokens[i];

		if (t->initial || !rdu_pattern_at_first(&e->s->edges[i].dst_at, st->begun))
			continue;
		if (!t->num)
			return FLOW_NEVER;
		at = max_u64(at, t->at[t->first]);
	}
	return at;
}

static void take_tokens(struct estimate *e, uint32_t stage)
{
	const struct rdu_stage *cfg = &e->s->stages[stage];

	for (uint32_t k = 0; k < cfg->num_in; k++) {
		uint32_t i = e->s->edge_in[cfg->first_in + k];

		if (rdu_pattern_at_first(&e->s->edges[i].dst_at, e->stage[stage].begun))
			rdu_flow_token_take(&e->tokens[i]);
	}
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
		if (rdu_flow_token_put(&e->tokens[i], end))
			return -1;
		if (to->look == FLOW_NEVER && to->begun < e->s->stages[edge->dst].activations)
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

	if (at > RDU_TIMING_CYCLES)
		return -1;
	take_tokens(e, stage);
	if (st->bytes > 0) {
		double from = e->memory_free > (double)at ? e->memory_free : (double)at;

		e->memory_free = from + st->bytes / e->memory_rate;
		if (e->memory_free > RDU_TIMING_CYCLES)
			return -1;
		/* Of a large number a double has fewer digits: it may be less than `at`. */
		end = max_u64((uint64_t)e->memory_free, at);
		takes = max_u64(takes, end - at);
	}
	for (uint32_t k = 0; k < c->num_uses; k++) {
		const struct rdu_unit_use *u = &e->c->uses[c->first_use + k];

		e->unit_free[u->unit] = max_u64(e->unit_free[u->unit], at) + u->vectors;
		takes = max_u64(takes, e->unit_free[u->unit] - at);
	}
	if (takes > RDU_TIMING_CYCLES || c->fill > RDU_TIMING_CYCLES)
		return -1;
	end = at + takes + c->fill;
	st->free = at + takes;
	e->last = max_u64(e->last, end);
	if (give_tokens(e, stage, end))
		return -1;
	st->begun++;
	st->look = st->begun < e->s->stages[stage].activations ? begins(e, stage) : FLOW_NEVER;
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
	uint32_t begun = 0;
	double all;

	while (begun < LOOKED_AT) {
		uint32_t next = 0;
		uint64_t at;

		for (uint32_t i = 1; i < e->s->num_stages; i++)
			if (e->stage[i].look < e->stage[next].look)
				next = i;
		if (e->stage[next].look == FLOW_NEVER)
			return is_done(e) ? 0 : -1;
		/* A token may be there later than the one that woke it. */
		at = begins(e, next);
		if (at > e->stage[next].look) {
			e->stage[next].look = at;
			continue;
		}
		if (begin(e, next, at))
			return -1;
		begun++;
	}
	all = (double)e->last / part_done(e);
	if (all > RDU_TIMING_CYCLES)
		return -1;
	e->last = (uint64_t)all;
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
