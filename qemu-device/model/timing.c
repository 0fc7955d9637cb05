// SPDX-License-Identifier: MIT
/*
 * Modelled time of a section: an event simulation of its stages' activations.
 *
 * A stage starts an activation when its tokens are there and it has issued the
 * one before. Issuing takes `issue` cycles alone; longer while off-chip memory
 * is oversubscribed (shared max-min fairly among the activations that use it) or
 * while a PMU side or AGCU it shares with other stages is backlogged. `fill`
 * cycles after its last issue the activation ends and gives its tokens; by then
 * the next may be under way. Time depends on the image, the chip and the
 * argument registers only: no clock, no thread, no data.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "timing_priv.h"

#define TIME_MAX 4.0e18 /* cycles; keeps every sum within 64 bits */

struct rdu_time_cache {
	struct rdu_section_time time;
	struct rdu_unit_time *programs;
	struct rdu_stage_time *stages;
	uint32_t *stage_of;
	struct rdu_costs costs;
};

uint64_t rdu_pload_cycles(const struct rdu_chip *chip, uint64_t image_size)
{
	return chip->pload_latency + (image_size + chip->pload_bytes - 1) / chip->pload_bytes;
}

uint64_t rdu_aload_cycles(const struct rdu_chip *chip, uint32_t segments)
{
	return chip->aload_cycles + (uint64_t)chip->aload_per_segment * segments;
}

/* ---- events ------------------------------------------------------------------ */

enum { EVENT_END, EVENT_ISSUED }; /* in this order at equal times */

struct event {
	double at;
	uint64_t key; /* kind, stage, activation: makes the order total */
};

struct heap {
	struct event *e;
	size_t n, room;
};

static bool before(const struct event *a, const struct event *b)
{
	return a->at < b->at || (a->at == b->at && a->key < b->key);
}

static int heap_push(struct heap *h, double at, unsigned int kind, uint32_t stage,
		     uint32_t activation)
{
	struct event e = { at, (uint64_t)kind << 63 | (uint64_t)stage << 32 | activation };
	size_t i;

	if (h->n == h->room) {
		size_t room = h->room ? h->room * 2 : 1024;
		struct event *p = realloc(h->e, room * sizeof(*p));

		if (!p)
			return -1;
		h->e = p;
		h->room = room;
	}
	for (i = h->n++; i && before(&e, &h->e[(i - 1) / 2]); i = (i - 1) / 2)
		h->e[i] = h->e[(i - 1) / 2];
	h->e[i] = e;
	return 0;
}

static struct event heap_pop(struct heap *h)
{
	struct event top = h->e[0], e = h->e[--h->n];
	size_t i = 0, k;

	while ((k = 2 * i + 1) < h->n) {
		if (k + 1 < h->n && before(&h->e[k + 1], &h->e[k]))
			k++;
		if (!before(&h->e[k], &e))
			break;
		h->e[i] = h->e[k];
		i = k;
	}
	h->e[i] = e;
	return top;
}

/* ---- the simulation ---------------------------------------------------------- */

enum wait { WAIT_NONE, WAIT_IN, WAIT_OUT };

struct stage_state {
	uint64_t started, ended;
	bool issuing;
	double issue_start, ready; /* `ready`: since when it could start but for tokens */
	enum wait wait;
	/* totals, in cycles */
	double busy, wait_in, wait_out, slowed;
};

struct sim {
	const struct rdu_section *s;
	const struct rdu_costs *c;
	struct stage_state *st;
	uint64_t *tokens;
	enum wait *edge_wait; /* what waiting for this edge means */
	struct heap heap;
	double now;
	/* Stages now issuing with off-chip traffic, by ascending need: column by
	 * column, as all of them are gone through at every event. */
	struct dram {
		uint32_t num, *stage;
		double *left; /* cycles of work left at full speed */
		double *need; /* bytes per such cycle */
		double *speed; /* share of full speed it gets now */
		double *slow; /* 1 / speed */
	} dram;
	double *unit_until; /* shared resources: when their backlog is gone */
	uint32_t *unit_users; /* activations using them now */
	void (*trace)(void *opaque, uint32_t stage, uint32_t activation, uint64_t start,
		      uint64_t end);
	void *opaque;
	/* Starts of activations that issued but have not ended, if traced. */
	double *start_of;
	size_t *start_first;
	const struct rdu_patience *patience;
	bool failed;
};

/* Advances the off-chip work to `to`. */
static void dram_advance(struct sim *m, double to)
{
	double dt = to - m->now, *left = m->dram.left;
	const double *speed = m->dram.speed;
	uint32_t i;

	m->now = to;
	if (dt > 0)
		for (i = 0; i < m->dram.num; i++)
			left[i] -= dt * speed[i];
}

/* Max-min fair: those that need less than an equal share get what they need. */
static void dram_share(struct sim *m)
{
	struct dram *d = &m->dram;
	double left = m->c->dram_rate, fair = 0;
	uint32_t i;

	for (i = 0; i < d->num; i++) {
		fair = left / (d->num - i);
		if (d->need[i] > fair)
			break;
		d->speed[i] = d->slow[i] = 1;
		left -= d->need[i];
	}
	for (; i < d->num; i++) {
		d->slow[i] = d->need[i] / fair;
		d->speed[i] = fair / d->need[i];
	}
}

static void dram_add(struct sim *m, uint32_t stage, double cycles)
{
	struct dram *d = &m->dram;
	double need = (double)m->c->stage[stage].bytes / cycles;
	uint32_t i = d->num, n;

	while (i && d->need[i - 1] > need)
		i--;
	n = d->num++ - i;
	memmove(&d->stage[i + 1], &d->stage[i], n * sizeof(*d->stage));
	memmove(&d->left[i + 1], &d->left[i], n * sizeof(*d->left));
	memmove(&d->need[i + 1], &d->need[i], n * sizeof(*d->need));
	d->stage[i] = stage;
	d->left[i] = cycles;
	d->need[i] = need;
	dram_share(m);
}

static uint32_t dram_remove(struct sim *m, uint32_t i)
{
	struct dram *d = &m->dram;
	uint32_t stage = d->stage[i], n = --d->num - i;

	memmove(&d->stage[i], &d->stage[i + 1], n * sizeof(*d->stage));
	memmove(&d->left[i], &d->left[i + 1], n * sizeof(*d->left));
	memmove(&d->need[i], &d->need[i + 1], n * sizeof(*d->need));
	dram_share(m);
	return stage;
}

/* How long until the next of them is through, and which. */
static double dram_next(const struct sim *m, uint32_t *index)
{
	const double *left = m->dram.left, *slow = m->dram.slow;
	double least = INFINITY;
	uint32_t i;

	for (i = 0; i < m->dram.num; i++) {
		double t = left[i] * slow[i];

		if (t < least) {
			least = t;
			*index = i;
		}
	}
	return least > 0 ? least : 0;
}

/* The blocking edge, ~0: none. */
static uint32_t blocked_by(const struct sim *m, uint32_t stage)
{
	const struct rdu_stage *st = &m->s->stages[stage];
	uint64_t a = m->st[stage].started;
	uint32_t k;

	for (k = 0; k < st->num_in; k++) {
		uint32_t e = m->s->edge_in[st->first_in + k];

		if (!m->tokens[e] && rdu_pattern_at_first(&m->s->edges[e].dst_at, a))
			return e;
	}
	return ~0u;
}

/* Cycles an activation takes to issue, given the backlog of what it shares. */
static double issue_cycles(struct sim *m, uint32_t stage)
{
	const struct rdu_stage_cost *sc = &m->c->stage[stage];
	double cycles = (double)sc->issue;
	uint32_t k;

	for (k = 0; k < sc->num_uses; k++) {
		const struct rdu_unit_use *u = &m->c->uses[sc->first_use + k];
		double work = (double)u->vectors, *until = &m->unit_until[u->unit], backlog;

		/* Fair: each of the others delays this one by no more than its
		 * own work; what is left over stays for those that follow. */
		backlog = *until > m->now ? *until - m->now : 0;
		*until = m->now + backlog + work;
		if (backlog > work * m->unit_users[u->unit])
			backlog = work * m->unit_users[u->unit];
		if (backlog + work > cycles)
			cycles = backlog + work;
		m->unit_users[u->unit]++;
	}
	return cycles;
}

static void try_start(struct sim *m, uint32_t stage)
{
	struct stage_state *st = &m->st[stage];
	const struct rdu_stage *cfg = &m->s->stages[stage];
	const struct rdu_stage_cost *sc = &m->c->stage[stage];
	uint32_t k, e;
	double cycles;

	if (st->issuing || st->started == cfg->activations)
		return;
	e = blocked_by(m, stage);
	if (e != ~0u) {
		st->wait = m->edge_wait[e];
		return;
	}
	for (k = 0; k < cfg->num_in; k++) {
		e = m->s->edge_in[cfg->first_in + k];
		if (rdu_pattern_at_first(&m->s->edges[e].dst_at, st->started))
			m->tokens[e]--;
	}
	*(st->wait == WAIT_OUT ? &st->wait_out : &st->wait_in) += m->now - st->ready;
	st->wait = WAIT_NONE;
	st->issuing = true;
	st->issue_start = m->now;
	if (m->start_of)
		m->start_of[m->start_first[stage] + st->started] = m->now;
	cycles = issue_cycles(m, stage);
	if (sc->bytes) {
		dram_add(m, stage, cycles);
	} else if (heap_push(&m->heap, m->now + cycles, EVENT_ISSUED, stage,
			     (uint32_t)st->started)) {
		m->failed = true;
	}
}

static void issued(struct sim *m, uint32_t stage)
{
	struct stage_state *st = &m->st[stage];
	const struct rdu_stage_cost *sc = &m->c->stage[stage];
	double took = m->now - st->issue_start;
	uint32_t k;

	for (k = 0; k < sc->num_uses; k++)
		m->unit_users[m->c->uses[sc->first_use + k].unit]--;
	st->busy += took;
	if (took > (double)sc->issue)
		st->slowed += took - (double)sc->issue;
	st->issuing = false;
	st->ready = m->now;
	if (heap_push(&m->heap, m->now + (double)sc->fill, EVENT_END, stage, (uint32_t)st->started))
		m->failed = true;
	st->started++;
	try_start(m, stage);
}

static void ended(struct sim *m, uint32_t stage, uint32_t activation)
{
	const struct rdu_stage *cfg = &m->s->stages[stage];
	uint32_t k;

	m->st[stage].ended++;
	if (m->trace)
		m->trace(m->opaque, stage, activation,
			 (uint64_t)m->start_of[m->start_first[stage] + activation],
			 (uint64_t)ceil(m->now));
	for (k = 0; k < cfg->num_out; k++) {
		uint32_t e = m->s->edge_out[cfg->first_out + k];

		if (!rdu_pattern_at_last(&m->s->edges[e].src_at, activation))
			continue;
		m->tokens[e]++;
		try_start(m, m->s->edges[e].dst);
	}
}

static bool out_of_patience(const struct rdu_patience *p)
{
	return p && rdu_give_up(p->stop, p->deadline_ns);
}

static void simulate(struct sim *m)
{
	uint32_t i, next = 0, events = 0;

	for (i = 0; i < m->s->num_stages; i++)
		try_start(m, i);
	while ((m->heap.n || m->dram.num) && !m->failed && m->now < TIME_MAX) {
		double at = m->dram.num ? m->now + dram_next(m, &next) : INFINITY;

		if (!(++events & 255) && out_of_patience(m->patience)) {
			m->failed = true;
			return;
		}
		if (m->heap.n && m->heap.e[0].at <= at) {
			struct event e = heap_pop(&m->heap);

			dram_advance(m, e.at);
			if (e.key >> 63 == EVENT_ISSUED)
				issued(m, e.key >> 32 & 0x7fffffff);
			else
				ended(m, e.key >> 32 & 0x7fffffff, (uint32_t)e.key);
		} else {
			dram_advance(m, at);
			issued(m, dram_remove(m, next));
		}
	}
}

/* Waiting for what a writer fills is waiting for input; for what a reader sets
 * free, for output. */
static enum wait wait_of(const struct rdu_section *s, const struct rdu_edge *e)
{
	const struct rdu_cfg_token *t = &s->tokens[e->token];

	return s->programs[t->src].kind == RDU_KIND_READ &&
			       s->programs[t->dst].kind == RDU_KIND_WRITE
		       ? WAIT_OUT
		       : WAIT_IN;
}

static void sim_free(struct sim *m)
{
	free(m->st);
	free(m->tokens);
	free(m->edge_wait);
	free(m->heap.e);
	free(m->dram.stage);
	free(m->dram.left);
	free(m->unit_until);
	free(m->unit_users);
	free(m->start_of);
	free(m->start_first);
}

static int sim_new(struct sim *m, const struct rdu_section *s, const struct rdu_costs *c,
		   bool traced)
{
	size_t total = 0;
	uint32_t i;

	memset(m, 0, sizeof(*m));
	m->s = s;
	m->c = c;
	m->st = calloc(s->num_stages + 1, sizeof(*m->st));
	m->tokens = calloc(s->num_edges + 1, sizeof(*m->tokens));
	m->edge_wait = calloc(s->num_edges + 1, sizeof(*m->edge_wait));
	m->dram.stage = calloc(s->num_stages + 1, sizeof(*m->dram.stage));
	m->dram.left = calloc(4 * (size_t)s->num_stages + 4, sizeof(*m->dram.left));
	m->unit_until = calloc(c->num_units + 1, sizeof(*m->unit_until));
	m->unit_users = calloc(c->num_units + 1, sizeof(*m->unit_users));
	if (!m->st || !m->tokens || !m->edge_wait || !m->dram.stage || !m->dram.left ||
	    !m->unit_until || !m->unit_users)
		return -1;
	m->dram.need = m->dram.left + s->num_stages + 1;
	m->dram.speed = m->dram.need + s->num_stages + 1;
	m->dram.slow = m->dram.speed + s->num_stages + 1;
	for (i = 0; i < s->num_edges; i++) {
		m->tokens[i] = s->edges[i].initial;
		m->edge_wait[i] = wait_of(s, &s->edges[i]);
	}
	if (traced) {
		m->start_first = calloc(s->num_stages + 1, sizeof(*m->start_first));
		for (i = 0; i < s->num_stages && m->start_first; i++) {
			m->start_first[i] = total;
			total += s->stages[i].activations;
		}
		m->start_of = calloc(total + 1, sizeof(*m->start_of));
		if (!m->start_first || !m->start_of)
			return -1;
	}
	return 0;
}

/* ---- counters ---------------------------------------------------------------- */

static void unit_counters(const struct rdu_section *s, const struct rdu_costs *c, uint32_t stage,
			  const struct stage_state *st, uint64_t cycles, struct rdu_unit_time *out)
{
	const struct rdu_stage *cfg = &s->stages[stage];
	const struct rdu_stage_cost *sc = &c->stage[stage];
	bool past = false; /* programs after the one that sets the pace */
	uint32_t k;

	for (k = 0; k < cfg->num; k++) {
		uint32_t i = s->order[cfg->first + k];
		struct rdu_unit_time *u = &out[i];
		bool memory = c->prog[i].bytes || (sc->num_uses && c->prog[i].vectors);
		uint64_t slack, slowed = (uint64_t)st->slowed, room = cycles;

		/* What it could have worked in the time it had, and did not. */
		u->busy = c->prog[i].busy * cfg->activations;
		slack = sc->issue * cfg->activations - u->busy;
		u->stall_in = (uint64_t)st->wait_in;
		u->stall_out = (uint64_t)st->wait_out;
		u->stall_mem = 0;
		if (memory)
			u->stall_mem += slowed;
		else if (past)
			u->stall_in += slowed;
		else
			u->stall_out += slowed;
		if (i == sc->program && sc->bound == RDU_BOUND_DRAM)
			u->stall_mem += slack;
		else if (past || i == sc->program)
			u->stall_in += slack;
		else
			u->stall_out += slack;
		if (i == sc->program)
			past = true;
		/* Rounding must not make the parts more than the whole. */
		u->busy = u->busy < room ? u->busy : room;
		room -= u->busy;
		u->stall_mem = u->stall_mem < room ? u->stall_mem : room;
		room -= u->stall_mem;
		u->stall_out = u->stall_out < room ? u->stall_out : room;
		room -= u->stall_out;
		u->stall_in = u->stall_in < room ? u->stall_in : room;
	}
}

static void fill_in(struct rdu_time_cache *t, const struct rdu_section *s, const struct sim *m)
{
	uint32_t i, k;

	t->time.cycles = (uint64_t)ceil(m->now);
	t->time.num_programs = s->hdr->programs.count;
	t->time.num_stages = s->num_stages;
	t->time.programs = t->programs;
	t->time.stages = t->stages;
	t->time.stage_of = t->stage_of;
	for (i = 0; i < s->num_stages; i++) {
		const struct rdu_stage *cfg = &s->stages[i];
		const struct rdu_stage_cost *sc = &t->costs.stage[i];
		struct rdu_stage_time *out = &t->stages[i];

		out->activations = cfg->activations;
		out->cycles = sc->issue + sc->fill;
		out->busy = (uint64_t)m->st[i].busy;
		out->bound = sc->bound;
		out->program = sc->program;
		/* Slowed down by others more than by itself. */
		if (sc->bytes && m->st[i].slowed * 2 > m->st[i].busy)
			out->bound = RDU_BOUND_DRAM;
		for (k = 0; k < cfg->num; k++)
			t->stage_of[s->order[cfg->first + k]] = i;
		unit_counters(s, &t->costs, i, &m->st[i], t->time.cycles, t->programs);
	}
	for (i = 0; i < t->time.num_programs; i++) {
		const struct rdu_prog_cost *pc = &t->costs.prog[i];
		uint64_t n = s->progs[i].activations;

		t->time.dram_bytes += pc->all_bytes;
		t->time.macs += pc->macs * n;
		t->time.flops += pc->flops * n;
	}
}

static void time_free(struct rdu_time_cache *t)
{
	if (!t)
		return;
	rdu_costs_free(&t->costs);
	free(t->programs);
	free(t->stages);
	free(t->stage_of);
	free(t);
}

/* Caller holds s->lock. */
static struct rdu_time_cache *time_new(const struct rdu_section *s,
				       const struct rdu_patience *patience)
{
	struct rdu_time_cache *t = calloc(1, sizeof(*t));
	uint32_t n = s->hdr->programs.count;
	struct sim m;

	if (!t)
		return NULL;
	t->programs = calloc(n + 1, sizeof(*t->programs));
	t->stages = calloc(s->num_stages + 1, sizeof(*t->stages));
	t->stage_of = calloc(n + 1, sizeof(*t->stage_of));
	if (!t->programs || !t->stages || !t->stage_of || rdu_costs_find(s, &t->costs)) {
		time_free(t);
		return NULL;
	}
	if (sim_new(&m, s, &t->costs, false)) {
		sim_free(&m);
		time_free(t);
		return NULL;
	}
	m.patience = patience;
	simulate(&m);
	if (m.failed) {
		time_free(t);
		t = NULL;
	} else {
		fill_in(t, s, &m);
	}
	sim_free(&m);
	return t;
}

const struct rdu_section_time *
rdu_section_time_within(struct rdu_section *section, const uint32_t *scalars,
			void (*trace)(void *opaque, uint32_t stage, uint32_t activation,
				      uint64_t start, uint64_t end),
			void *opaque, const struct rdu_patience *patience)
{
	const struct rdu_section_time *time = NULL;
	struct rdu_cfg_diag diag;
	struct rdu_section *s = rdu_section_resolve(section, scalars, &diag);
	struct sim m;

	if (!s)
		return NULL;
	pthread_mutex_lock(&s->lock);
	if (!s->time) {
		s->time = time_new(s, patience);
		s->time_free = time_free;
	}
	if (s->time)
		time = &s->time->time;
	if (time && trace) {
		if (!sim_new(&m, s, &s->time->costs, true)) {
			m.trace = trace;
			m.opaque = opaque;
			m.patience = patience;
			simulate(&m);
		}
		sim_free(&m);
	}
	pthread_mutex_unlock(&s->lock);
	return time;
}

const struct rdu_section_time *
rdu_section_time(struct rdu_section *section, const uint32_t *scalars,
		 void (*trace)(void *opaque, uint32_t stage, uint32_t activation, uint64_t start,
			       uint64_t end),
		 void *opaque)
{
	return rdu_section_time_within(section, scalars, trace, opaque, NULL);
}
