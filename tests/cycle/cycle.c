// SPDX-License-Identifier: MIT
/* Control: activations, tokens, streams, and the loop over cycles. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cycle_priv.h"

#define STUCK 200000 /* cycles without any progress: more than a refresh, any latency */

void cycle_fail(struct cycle_sim *m, const char *fmt, ...)
{
	va_list ap;

	if (*m->error)
		return;
	va_start(ap, fmt);
	vsnprintf(m->error, m->error_size, fmt, ap);
	va_end(ap);
}

/* ---- counters ---------------------------------------------------------------- */

bool cycle_at_first(const struct unit_program *u, uint32_t mask)
{
	for (unsigned int c = 0; c < u->p->cfg->num_counters; c++)
		if (mask >> c & 1 && u->at[c])
			return false;
	return true;
}

bool cycle_at_last(const struct unit_program *u, uint32_t mask)
{
	for (unsigned int c = 0; c < u->p->cfg->num_counters; c++)
		if (mask >> c & 1 && u->at[c] + 1 != u->p->trip[c])
			return false;
	return true;
}

int64_t cycle_counter(const struct unit_program *u, unsigned int c)
{
	return u->p->cfg->counter[c].start + (int64_t)u->at[c] * u->p->cfg->counter[c].step;
}

static void step_counters(struct unit_program *u)
{
	for (int c = u->p->cfg->num_counters - 1; c >= 0; c--) {
		if (++u->at[c] < u->p->trip[c])
			return;
		u->at[c] = 0;
	}
}

/* ---- tokens and activations ------------------------------------------------------ */

static uint64_t distance(const struct rdu_section *s, const struct rdu_cfg_program *a,
			 const struct rdu_cfg_program *b)
{
	unsigned int x0, y0, x1, y1;

	rdu_chip_unit_xy(&s->chip, rdu_kind_unit(a->kind), a->unit, &x0, &y0);
	rdu_chip_unit_xy(&s->chip, rdu_kind_unit(b->kind), b->unit, &x1, &y1);
	y0 += a->tile * s->chip.tile_rows;
	y1 += b->tile * s->chip.tile_rows;
	return (x0 > x1 ? x0 - x1 : x1 - x0) + (y0 > y1 ? y0 - y1 : y1 - y0) + 1;
}

bool cycle_may_start(struct cycle_sim *m, struct unit_program *u)
{
	const struct rdu_section *s = m->s;

	if (u->started)
		return true;
	if (u->activation == u->p->activations || u->num_open == OPEN_ACTIVATIONS)
		return false;
	for (uint32_t e = 0; e < s->hdr->tokens.count; e++)
		if (s->tokens[e].dst == u->index && cycle_at_first(u, s->tokens[e].dst_mask) &&
		    !m->tokens[e])
			return false;
	for (uint32_t e = 0; e < s->hdr->tokens.count; e++)
		if (s->tokens[e].dst == u->index && cycle_at_first(u, s->tokens[e].dst_mask))
			m->tokens[e]--;
	u->started = true;
	u->open[(u->first_open + u->num_open++) % OPEN_ACTIVATIONS] =
		(struct open_activation){ .number = u->activation };
	return true;
}

static struct open_activation *newest(struct unit_program *u)
{
	return &u->open[(u->first_open + u->num_open - 1) % OPEN_ACTIVATIONS];
}

void cycle_advance(struct cycle_sim *m, struct unit_program *u, uint64_t end)
{
	struct open_activation *o = newest(u);
	const struct rdu_cfg_access *a = u->p->body;
	unsigned int kind = u->p->cfg->kind;

	m->progress = true;
	u->fired++;
	if (end > o->end)
		o->end = end;
	if (++u->iteration == u->p->iterations) {
		o->issued = true;
		if ((kind == RDU_KIND_READ || kind == RDU_KIND_WRITE) &&
		    cycle_at_last(u, a->flip_mask))
			u->flips++;
		u->iteration = 0;
		u->activation++;
		u->started = false;
		u->num_lines = u->next_line = 0;
	}
	step_counters(u);
}

static void send_tokens(struct cycle_sim *m, struct unit_program *u, uint64_t activation)
{
	const struct rdu_section *s = m->s;

	for (uint32_t e = 0; e < s->hdr->tokens.count; e++) {
		const struct rdu_cfg_token *t = &s->tokens[e];
		uint64_t left = activation;
		bool last = true;

		if (t->src != u->index)
			continue;
		for (int c = u->p->cfg->num_outer - 1; c >= 0; c--) {
			if (t->src_mask >> c & 1 && left % u->p->trip[c] + 1 != u->p->trip[c])
				last = false;
			left /= u->p->trip[c];
		}
		if (!last)
			continue;
		if (m->num_flying == m->room_flying) {
			m->room_flying = m->room_flying ? 2 * m->room_flying : 64;
			m->flying = realloc(m->flying, m->room_flying * sizeof(*m->flying));
			if (!m->flying)
				abort();
		}
		m->flying[m->num_flying].at =
			m->now + distance(s, &s->programs[t->src], &s->programs[t->dst]) *
					 s->chip.hop_cycles;
		m->flying[m->num_flying++].edge = e;
	}
}

static void end_activations(struct cycle_sim *m, struct unit_program *u)
{
	while (u->num_open) {
		struct open_activation *o = &u->open[u->first_open];

		if (!o->issued || o->pending || o->end > m->now)
			return;
		send_tokens(m, u, o->number);
		u->first_open = (u->first_open + 1) % OPEN_ACTIVATIONS;
		u->num_open--;
		u->ended++;
		m->progress = true;
	}
}

static void land_tokens(struct cycle_sim *m)
{
	for (uint32_t i = 0; i < m->num_flying;) {
		if (m->flying[i].at > m->now) {
			i++;
			continue;
		}
		m->tokens[m->flying[i].edge]++;
		m->flying[i] = m->flying[--m->num_flying];
		m->progress = true;
	}
}

/* ---- streams ----------------------------------------------------------------------- */

static bool pops(const struct unit_program *u, unsigned int port)
{
	return cycle_at_first(u, u->p->cfg->in[port].mask);
}

static bool systolic_init(const struct unit_program *u, unsigned int port)
{
	return u->p->cfg->kind == RDU_KIND_SYSTOLIC && port == 2;
}

static uint32_t popped(const struct unit_program *u, unsigned int port)
{
	return systolic_init(u, port) ? u->p->cfg->in[port].count : 1;
}

static bool there(const struct cycle_sim *m, const struct stream_end *e, uint32_t n)
{
	return e->num >= n && e->arrival[(e->head + n - 1) % e->room] <= m->now;
}

bool cycle_inputs_there(const struct cycle_sim *m, const struct unit_program *u)
{
	for (unsigned int i = 0; i < u->p->cfg->num_in; i++)
		if (pops(u, i) && !there(m, u->in[i], popped(u, i)))
			return false;
	return true;
}

void cycle_pop_inputs(struct cycle_sim *m, struct unit_program *u)
{
	for (unsigned int i = 0; i < u->p->cfg->num_in; i++) {
		struct stream_end *e = u->in[i];

		if (!pops(u, i))
			continue;
		for (uint32_t k = 0; k < popped(u, i); k++) {
			memcpy(u->held[i] + k * m->lanes, e->data + (size_t)e->head * m->lanes,
			       m->lanes * 4);
			e->head = (e->head + 1) % e->room;
			e->num--;
		}
	}
}

bool cycle_room(const struct cycle_sim *m, const struct unit_program *u, unsigned int port,
		uint32_t vectors)
{
	const struct rdu_cfg_stream *st = &m->s->streams[u->p->cfg->out[port].stream];

	for (uint32_t i = 0; i < st->num_dests; i++) {
		const struct stream_end *e = &m->ends[st->first_dest + i];

		if (e->room - e->num < vectors)
			return false;
	}
	return true;
}

void cycle_push(struct cycle_sim *m, struct unit_program *u, unsigned int port, uint64_t at,
		const uint32_t *data)
{
	const struct rdu_cfg_stream *st = &m->s->streams[u->p->cfg->out[port].stream];

	for (uint32_t i = 0; i < st->num_dests; i++) {
		struct stream_end *e = &m->ends[st->first_dest + i];
		uint32_t slot = (e->head + e->num++) % e->room;

		e->arrival[slot] = at + e->delay;
		memcpy(e->data + (size_t)slot * m->lanes, data, m->lanes * 4);
	}
}

/* Switches that a stream passes to a destination, by its own route. */
static uint64_t hops(const struct rdu_section *s, const struct rdu_cfg_stream *st,
		     const struct rdu_cfg_program *dst)
{
	static const int dx[] = { 0, 1, 0, -1 }, dy[] = { -1, 0, 1, 0 };
	const struct rdu_cfg_program *src = &s->programs[st->program];
	uint32_t cols = s->chip.tile_cols, at;
	unsigned int x, y, sx, sy;
	uint64_t n = 0;

	rdu_chip_unit_xy(&s->chip, rdu_kind_unit(dst->kind), dst->unit, &x, &y);
	rdu_chip_unit_xy(&s->chip, rdu_kind_unit(src->kind), src->unit, &sx, &sy);
	y += dst->tile * s->chip.tile_rows;
	sy += src->tile * s->chip.tile_rows;
	at = y * cols + x;
	while (at != sy * cols + sx && n <= st->num_links) {
		for (uint32_t i = 0; i < st->num_links; i++) {
			const struct rdu_cfg_link *l = &s->links[st->first_link + i];
			int to = (int)l->sw + dy[l->dir] * (int)cols + dx[l->dir];

			if (to == (int)at) {
				at = l->sw;
				break;
			}
		}
		n++;
	}
	return n + 1; /* the switch it starts at */
}

/* ---- setting up ----------------------------------------------------------------------- */

static void *get(size_t n, size_t size)
{
	void *p = calloc(n + 1, size);

	if (!p)
		abort();
	return p;
}

static uint64_t stages_latency(const struct rdu_chip *chip, const struct rdu_cfg_stage *st,
			       unsigned int n)
{
	uint64_t cycles = 0;

	for (unsigned int i = 0; i < n; i++) {
		uint64_t steps = 1;

		if (st[i].op >= RDU_SIMD_RED_FADD && st[i].op <= RDU_SIMD_RED_IADD)
			for (steps = 0; 1u << steps < chip->lanes; steps++)
				;
		cycles += steps * chip->stage_cycles;
	}
	return cycles;
}

static void set_up_program(struct cycle_sim *m, uint32_t i)
{
	struct unit_program *u = &m->prog[i];
	const struct rdu_chip *chip = &m->s->chip;
	const struct rdu_cfg_simd *simd;
	const struct rdu_cfg_systolic *sys;

	u->p = &m->s->progs[i];
	u->index = i;
	for (unsigned int k = 0; k < u->p->cfg->num_in; k++)
		u->held[k] = get((size_t)popped(u, k) * m->lanes, 4);
	switch (u->p->cfg->kind) {
	case RDU_KIND_SIMD:
		simd = u->p->body;
		u->latency =
			stages_latency(chip, simd->stage, simd->num_stages + simd->num_tail) + 1;
		u->reg = get((size_t)16 * m->lanes, 4);
		u->acc = get((size_t)(simd->num_stages + simd->num_tail) * m->lanes, 4);
		break;
	case RDU_KIND_SYSTOLIC:
		sys = u->p->body;
		/* the wave crosses lanes and columns, then the results */
		u->latency =
			chip->lanes + sys->cols + stages_latency(chip, sys->tail, sys->num_tail);
		u->reg = get((size_t)16 * m->lanes, 4);
		u->acc = get((size_t)sys->cols * m->lanes, 4);
		break;
	case RDU_KIND_READ:
	case RDU_KIND_WRITE:
		u->latency = chip->pmu_cycles;
		u->kept = get(m->lanes, 4);
		u->index_kept = get(m->lanes, 4);
		break;
	default:
		u->room_lines = chip->agcu_lines;
		u->line = get(u->room_lines, sizeof(*u->line));
		u->line_state = get(u->room_lines, sizeof(*u->line_state));
		u->room_waiting = chip->agcu_vectors;
		u->waiting = get(u->room_waiting, sizeof(*u->waiting));
		for (uint32_t k = 0; k < u->room_waiting; k++)
			u->waiting[k].data = get(m->lanes, 4);
	}
}

static void set_up_streams(struct cycle_sim *m)
{
	const struct rdu_section *s = m->s;

	for (uint32_t i = 0; i < s->hdr->streams.count; i++) {
		const struct rdu_cfg_stream *st = &s->streams[i];

		for (uint32_t k = 0; k < st->num_dests; k++) {
			const struct rdu_cfg_dest *d = &s->dests[st->first_dest + k];
			struct stream_end *e = &m->ends[st->first_dest + k];
			struct unit_program *to = &m->prog[d->program];

			e->delay = hops(s, st, to->p->cfg) * s->chip.hop_cycles;
			/* the FIFO, the wires' registers, the producer's pipeline */
			e->room = s->chip.fifo_vectors + (uint32_t)e->delay +
				  (uint32_t)m->prog[st->program].latency;
			e->arrival = get(e->room, sizeof(*e->arrival));
			e->data = get((size_t)e->room * m->lanes, 4);
			to->in[d->port] = e;
		}
	}
}

static void add_program(uint32_t **list, uint32_t *num, uint32_t i)
{
	*list = realloc(*list, (*num + 1) * sizeof(**list));
	if (!*list)
		abort();
	(*list)[(*num)++] = i;
}

static void set_up_agcu(struct agcu *a, const struct rdu_chip *chip)
{
	a->request = get(chip->agcu_requests, sizeof(*a->request));
	for (uint32_t k = 0; k < chip->agcu_requests; k++)
		a->request[k].waiting = get((chip->agcu_vectors + 63) / 64, sizeof(uint64_t));
}

static void set_up(struct cycle_sim *m)
{
	const struct rdu_section *s = m->s;
	const struct rdu_chip *chip = &s->chip;
	uint32_t pmus = rdu_chip_pmus_per_tile(chip);

	m->lanes = chip->lanes;
	m->num_progs = s->hdr->programs.count;
	m->prog = get(m->num_progs, sizeof(*m->prog));
	m->ends = get(s->hdr->dests.count, sizeof(*m->ends));
	m->tokens = get(s->hdr->tokens.count, sizeof(*m->tokens));
	m->num_sides = 2 * pmus * s->hdr->num_tiles;
	m->side = get(m->num_sides, sizeof(*m->side));
	m->num_agcus = chip->agcus_per_tile * s->hdr->num_tiles;
	m->agcu = get(m->num_agcus, sizeof(*m->agcu));
	for (uint32_t e = 0; e < s->hdr->tokens.count; e++)
		m->tokens[e] = s->tokens[e].initial;
	for (uint32_t i = 0; i < m->num_progs; i++) {
		const struct rdu_cfg_program *c = s->progs[i].cfg;

		set_up_program(m, i);
		if (c->kind == RDU_KIND_READ || c->kind == RDU_KIND_WRITE) {
			struct pmu_side *side = &m->side[2 * (c->tile * pmus + c->unit) +
							 (c->kind == RDU_KIND_WRITE)];

			add_program(&side->program, &side->num, i);
		} else if (c->kind == RDU_KIND_LOAD || c->kind == RDU_KIND_STORE) {
			struct agcu *a = &m->agcu[c->tile * chip->agcus_per_tile + c->unit];

			if (!a->num)
				set_up_agcu(a, chip);
			add_program(&a->program, &a->num, i);
		}
	}
	set_up_streams(m);
}

static void free_agcu(struct agcu *a, const struct rdu_chip *chip)
{
	for (uint32_t k = 0; a->request && k < chip->agcu_requests; k++)
		free(a->request[k].waiting);
	free(a->request);
	free(a->program);
}

static void tear_down(struct cycle_sim *m)
{
	for (uint32_t i = 0; i < m->num_progs; i++) {
		struct unit_program *u = &m->prog[i];

		for (unsigned int k = 0; k < RDU_MAX_PORTS; k++)
			free(u->held[k]);
		for (uint32_t k = 0; k < u->room_waiting; k++)
			free(u->waiting[k].data);
		free(u->waiting);
		free(u->line);
		free(u->line_state);
		free(u->reg);
		free(u->acc);
		free(u->kept);
		free(u->index_kept);
	}
	for (uint32_t i = 0; i < m->s->hdr->dests.count; i++) {
		free(m->ends[i].arrival);
		free(m->ends[i].data);
	}
	for (uint32_t i = 0; i < m->num_sides; i++)
		free(m->side[i].program);
	for (uint32_t i = 0; i < m->num_agcus; i++)
		free_agcu(&m->agcu[i], &m->s->chip);
	free(m->prog);
	free(m->ends);
	free(m->tokens);
	free(m->flying);
	free(m->side);
	free(m->agcu);
	cycle_memory_free(m->memory);
}

/* ---- the loop over cycles ------------------------------------------------------------- */

static void step_side(struct cycle_sim *m, struct pmu_side *side)
{
	if (side->busy_until > m->now)
		return;
	for (uint32_t k = 0; k < side->num; k++) {
		uint32_t at = (side->turn + k) % side->num;

		if (!cycle_fire_pmu(m, &m->prog[side->program[at]], side))
			continue;
		side->turn = at + 1;
		return;
	}
}

static bool all_ended(const struct cycle_sim *m)
{
	for (uint32_t i = 0; i < m->num_progs; i++)
		if (m->prog[i].ended < m->prog[i].p->activations)
			return false;
	return true;
}

static void say_stuck(struct cycle_sim *m)
{
	for (uint32_t i = 0; i < m->num_progs; i++) {
		const struct unit_program *u = &m->prog[i];

		if (u->ended == u->p->activations)
			continue;
		cycle_fail(m,
			   "no progress in cycle %llu: unit program %u (kind %u) is at activation "
			   "%llu, iteration %llu, %s",
			   (unsigned long long)m->now, i, u->p->cfg->kind,
			   (unsigned long long)u->activation, (unsigned long long)u->iteration,
			   !u->started ? "without a token"
			   : u->num_waiting && u->waiting[u->first_waiting].pending
				   ? "waiting for memory"
			   : cycle_inputs_there(m, u) ? "without room behind it"
						      : "without input");
		return;
	}
}

static void run(struct cycle_sim *m)
{
	uint64_t last = 0;

	while (!(all_ended(m) && cycle_memory_drained(m->memory)) && !*m->error) {
		m->progress = false;
		cycle_memory_step(m->memory, m->now);
		land_tokens(m);
		/* Places in the channels' queues go to AGCUs in turn: who got the last one is
		 * asked last. */
		for (uint32_t i = 0, first = m->agcu_turn; i < m->num_agcus; i++) {
			struct agcu *a = &m->agcu[(first + i) % m->num_agcus];

			if (a->num)
				cycle_step_agcu(m, a);
		}
		for (uint32_t i = 0; i < m->num_sides; i++)
			if (m->side[i].num)
				step_side(m, &m->side[i]);
		for (uint32_t i = 0; i < m->num_progs; i++) {
			unsigned int kind = m->prog[i].p->cfg->kind;

			if (kind == RDU_KIND_SIMD || kind == RDU_KIND_SYSTOLIC)
				cycle_fire_pcu(m, &m->prog[i]);
			end_activations(m, &m->prog[i]);
		}
		if (m->progress)
			last = m->now;
		else if (m->now - last > STUCK)
			say_stuck(m);
		if (++m->now > m->setup->limit)
			cycle_fail(m, "more than %llu cycles", (unsigned long long)m->setup->limit);
	}
}

int cycle_run(const struct cycle_setup *setup, struct cycle_result *result, char *error,
	      size_t error_size)
{
	struct rdu_cfg_diag diag;
	struct cycle_sim m = { .setup = setup, .error = error, .error_size = error_size };
	uint64_t *fired = result->fired;

	*error = 0;
	m.s = rdu_section_resolve(setup->section, setup->scalars, &diag);
	if (!m.s) {
		snprintf(error, error_size, "%s", diag.text);
		return -1;
	}
	m.memory = cycle_memory_new(&m.s->chip, setup->others);
	if (!m.memory)
		abort();
	set_up(&m);
	run(&m);
	memset(result, 0, sizeof(*result));
	result->fired = fired;
	result->cycles = m.now;
	result->memory = *cycle_memory_counts(m.memory);
	result->dram_bytes =
		(result->memory.reads + result->memory.writes + result->memory.linked) *
		m.s->chip.dram_burst;
	for (uint32_t i = 0; fired && i < m.num_progs; i++)
		fired[i] = m.prog[i].fired;
	tear_down(&m);
	return *error ? -1 : 0;
}
