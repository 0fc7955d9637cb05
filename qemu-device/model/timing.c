// SPDX-License-Identifier: MIT
/*
 * Modelled time of a section: what the network of its unit programs takes
 * (timing_flow.h), and what each of them did meanwhile. It depends on the image, the
 * chip, the argument registers, which segments lie in host memory and how much of memory's
 * time others take: no clock, no thread, no data.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "timing_flow.h"

/* ---- what was done ------------------------------------------------------------- */

static void fill_stage(struct rdu_time_cache *t, const struct rdu_section *s,
		       const struct rdu_costs *costs, uint32_t index)
{
	const struct rdu_stage *cfg = &s->stages[index];
	const struct rdu_stage_cost *sc = &costs->stage[index];
	struct rdu_stage_time *out = &t->stages[index];
	uint64_t memory = 0;

	*out = (struct rdu_stage_time){ .activations = cfg->activations,
					.cycles = sc->issue + sc->fill,
					.bound = sc->bound,
					.program = sc->program };
	for (uint32_t k = 0; k < cfg->num; k++) {
		uint32_t i = s->order[cfg->first + k];
		const struct rdu_unit_time *u = &t->programs[i];

		t->stage_of[i] = index;
		if (u->busy > out->busy)
			out->busy = u->busy;
		if (u->stall_mem > memory)
			memory = u->stall_mem;
	}
	/* Waiting for memory more than working. */
	if (memory > out->busy && out->bound != RDU_BOUND_HOST)
		out->bound = RDU_BOUND_DRAM;
	out->busy = out->busy + memory < t->time.cycles ? out->busy + memory : t->time.cycles;
}

/* What was left out was rounded: the parts must not be more than the whole. */
static struct rdu_unit_time unit_time(const uint64_t *spent, uint64_t left)
{
	static const enum flow_wait order[] = { WAIT_NONE, WAIT_MEM, WAIT_OUT, WAIT_IN };
	uint64_t part[4];

	for (int i = 0; i < 4; i++) {
		part[order[i]] = spent[order[i]] < left ? spent[order[i]] : left;
		left -= part[order[i]];
	}
	return (struct rdu_unit_time){ .busy = part[WAIT_NONE],
				       .stall_in = part[WAIT_IN],
				       .stall_out = part[WAIT_OUT],
				       .stall_mem = part[WAIT_MEM] };
}

/* flow: NULL: of its end only t->time.cycles is known, which is an estimate; each program is then taken to work
 * as long as it has to and to wait for nothing. */
static void fill_in(struct rdu_time_cache *t, const struct rdu_section *s,
		    const struct rdu_costs *costs, const struct flow *flow)
{
	uint32_t i;

	for (i = 0; i < t->time.num_programs; i++) {
		const struct rdu_prog_cost *pc = &costs->prog[i];
		uint64_t works[4] = { [WAIT_NONE] = pc->busy * s->progs[i].activations };

		t->programs[i] = unit_time(flow ? flow->prog[i].spent : works, t->time.cycles);
		t->time.dram_bytes += pc->all_bytes;
		t->time.macs += pc->macs * s->progs[i].activations;
		t->time.flops += pc->flops * s->progs[i].activations;
	}
	rdu_section_energy(s, costs, &t->time.energy);
	for (i = 0; i < s->num_stages; i++)
		fill_stage(t, s, costs, i);
}

/* ---- activations of stages, for a trace ---------------------------------------- */

struct tracer {
	const struct rdu_section *s;
	struct span {
		uint64_t start, end;
		uint32_t ended; /* programs */
	} * span;
	size_t *first; /* of a stage, in span[] */
	void (*trace)(void *opaque, uint32_t stage, uint32_t activation, uint64_t start,
		      uint64_t end);
	void *opaque;
};

static void note_activation(void *opaque, uint32_t program, uint64_t activation, uint64_t start,
			    uint64_t end)
{
	struct tracer *t = opaque;
	uint32_t stage = t->s->progs[program].stage;
	struct span *span = &t->span[t->first[stage] + activation];

	if (!span->ended || start < span->start)
		span->start = start;
	if (end > span->end)
		span->end = end;
	if (++span->ended == t->s->stages[stage].num)
		t->trace(t->opaque, stage, (uint32_t)activation, span->start, span->end);
}

static int tracer_new(struct tracer *t, const struct rdu_section *s)
{
	size_t total = 0;

	t->s = s;
	t->first = calloc(s->num_stages + 1, sizeof(*t->first));
	for (uint32_t i = 0; i < s->num_stages && t->first; i++) {
		t->first[i] = total;
		total += s->stages[i].activations;
	}
	t->span = t->first ? calloc(total + 1, sizeof(*t->span)) : NULL;
	return t->span ? 0 : -1;
}

/* ---- asking -------------------------------------------------------------------- */

/* Cycles that it takes at least: what each unit program has to do, what memory has to move. */
static uint64_t least_cycles(const struct rdu_section *s, const struct rdu_costs *c,
			     const struct rdu_offchip *off)
{
	uint64_t most = 0, bytes = 0, linked[2] = { 0 }, memory, link;

	for (uint32_t i = 0; i < s->hdr->programs.count; i++) {
		const struct rdu_unit_prog *p = &s->progs[i];
		uint64_t one = p->cfg->kind < RDU_KIND_READ ? c->prog[i].busy : p->iterations;

		if (one > RDU_TIMING_CYCLES / p->activations)
			return RDU_TIMING_CYCLES;
		most = one * p->activations > most ? one * p->activations : most;
		if (p->cfg->kind >= RDU_KIND_LOAD &&
		    rdu_in_host(off, ((const struct rdu_cfg_access *)p->body)->target))
			linked[p->cfg->kind == RDU_KIND_STORE] += c->prog[i].all_bytes;
		else
			bytes += c->prog[i].all_bytes;
	}
	memory = (uint64_t)((double)bytes / c->dram_rate);
	link = linked[0] > linked[1] ? linked[0] : linked[1];
	link = (uint64_t)((double)link / c->host_rate);
	memory = link > memory ? link : memory;
	return memory > most ? memory : most;
}

/* -1: there is no time, and *patience says why. */
static int play(struct rdu_time_cache *t, const struct rdu_section *s,
		const struct rdu_costs *costs, const struct rdu_offchip *off, struct tracer *tracer,
		struct rdu_patience *patience)
{
	struct flow f;
	int r;

	if (rdu_flow_new(&f, s, costs, off))
		return -1;
	if (tracer) {
		f.activation = note_activation;
		f.opaque = tracer;
	}
	rdu_flow_run(&f, patience);
	r = f.failed ? -1 : 0;
	if (r && patience) {
		patience->too_long = f.too_long;
		patience->longer =
			f.too_slow || (patience->cycles && f.now + f.skipped > patience->cycles);
	}
	if (!r) {
		t->time.cycles = f.last;
		/* At the pace that was seen, what was left out may seem faster than it can be. */
		if (t->time.cycles < least_cycles(s, costs, off))
			t->time.cycles = least_cycles(s, costs, off);
		fill_in(t, s, costs, &f);
	}
	rdu_flow_free(&f);
	return r;
}

static int estimate(struct rdu_time_cache *t, const struct rdu_section *s,
		    const struct rdu_costs *costs, const struct rdu_offchip *off)
{
	uint64_t least = least_cycles(s, costs, off);

	if (off->in_host || off->others || least >= RDU_TIMING_CYCLES ||
	    rdu_estimate(s, costs, &t->time.cycles))
		return -1;
	if (t->time.cycles < least)
		t->time.cycles = least;
	fill_in(t, s, costs, NULL);
	return 0;
}

/* Caller holds s->lock. */
static struct rdu_time_cache *time_new(const struct rdu_section *s, const struct rdu_offchip *off,
				       struct tracer *tracer, struct rdu_patience *patience)
{
	struct rdu_time_cache *t = rdu_time_new(s);
	struct rdu_costs costs;
	int r = -1;

	if (!t || rdu_costs_find(s, off, &costs)) {
		rdu_time_free(t);
		return NULL;
	}
	if (patience && patience->cycles && least_cycles(s, &costs, off) > patience->cycles)
		patience->longer = true;
	else if (patience && patience->estimate)
		r = estimate(t, s, &costs, off);
	else
		r = play(t, s, &costs, off, tracer, patience);
	rdu_costs_free(&costs);
	if (r) {
		rdu_time_free(t);
		t = NULL;
	}
	return t;
}

/* Time of a section like this one, or found out now; one more user of it. */
static struct rdu_time_cache *time_kept(const struct rdu_section *s, const struct rdu_offchip *off,
					struct rdu_patience *patience)
{
	struct rdu_time_cache *t;
	struct rdu_time_key key;

	if (patience && (patience->whole || patience->estimate))
		return time_new(s, off, NULL, patience);
	if (rdu_time_key(s, off, &key))
		return NULL;
	t = rdu_time_find(s, &key);
	if (!t) {
		t = time_new(s, off, NULL, patience);
		if (t)
			rdu_time_keep(&key, t);
	}
	if (t && patience && patience->store && !off->others)
		rdu_time_store(&key, t);
	free(key.bytes);
	return t;
}

const struct rdu_section_time *
rdu_section_time_within(struct rdu_section *section, const uint32_t *scalars,
			const struct rdu_offchip *off,
			void (*trace)(void *opaque, uint32_t stage, uint32_t activation,
				      uint64_t start, uint64_t end),
			void *opaque, struct rdu_patience *patience)
{
	static const struct rdu_offchip alone;
	struct rdu_cfg_diag diag;
	struct rdu_section *s = rdu_section_resolve(section, scalars, &diag);
	struct tracer tracer = { .trace = trace, .opaque = opaque };
	struct rdu_time_cache *t;

	if (!s || (!off && patience && patience->estimate))
		return NULL;
	pthread_mutex_lock(&s->lock);
	if (off) {
		t = time_kept(s, off, patience);
	} else {
		off = &alone;
		if (!s->time)
			s->time = time_kept(s, off, patience);
		s->time_free = rdu_time_put;
		t = s->time;
	}
	if (t && trace) {
		if (!tracer_new(&tracer, s))
			rdu_time_free(time_new(s, off, &tracer, patience));
		free(tracer.span);
		free(tracer.first);
	}
	pthread_mutex_unlock(&s->lock);
	return t ? &t->time : NULL;
}

void rdu_section_time_put(const struct rdu_section_time *time)
{
	rdu_time_put(
		(struct rdu_time_cache *)((char *)time - offsetof(struct rdu_time_cache, time)));
}

const struct rdu_section_time *
rdu_section_time(struct rdu_section *section, const uint32_t *scalars,
		 void (*trace)(void *opaque, uint32_t stage, uint32_t activation, uint64_t start,
			       uint64_t end),
		 void *opaque)
{
	return rdu_section_time_within(section, scalars, NULL, trace, opaque, NULL);
}

const struct rdu_section_time *rdu_section_time_stored(struct rdu_section *section)
{
	struct rdu_patience patience = { .store = true };

	return rdu_section_time_within(section, NULL, NULL, NULL, NULL, &patience);
}

const struct rdu_section_time *rdu_section_time_below(struct rdu_section *section, uint64_t cycles,
						      bool *longer)
{
	struct rdu_patience patience = { .cycles = cycles };
	const struct rdu_section_time *t =
		rdu_section_time_within(section, NULL, NULL, NULL, NULL, &patience);

	*longer = patience.longer || (t && t->cycles > cycles);
	return *longer ? NULL : t;
}
