// SPDX-License-Identifier: MIT
/* Unit programs in modelled time: what they wait for, and what a firing does. */
#include <stdlib.h>
#include <string.h>
#include "timing_flow.h"

#define FETCH_LINE 64 /* of a host's cache, as most have it */
#define FETCHED 320 /* bytes of a program that a firing looks at */

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void rdu_flow_queue(struct flow *f, uint32_t actor)
{
	struct flow_actor *a = &f->actor[actor];
	uint32_t at = f->first_queued + f->num_queued;

	if (a->queued)
		return;
	a->queued = true;
	f->queue[at < f->num_actors ? at : at - f->num_actors] = actor;
	f->num_queued++;
}

/* ---- counters ------------------------------------------------------------------ */

static void affine_step(struct flow_affine *x, unsigned int c, bool back)
{
	x->value += back ? -x->back[c] : x->step[c];
}

void rdu_flow_step(struct flow_prog *p)
{
	unsigned int c = p->num_counters, k, preds = 0;
	const struct rdu_cfg_access *a = p->p->body;
	bool access = p->kind >= RDU_KIND_READ && (p->access || p->banks_vary);

	if (access)
		preds = a->num_preds;
	if (++p->iteration == p->iterations) {
		p->iteration = 0;
		p->activation++;
		p->number++;
		p->started = false;
	}
	while (c--) {
		bool back = ++p->at[c] == p->trip[c];

		if (back)
			p->at[c] = 0;
		p->first_bits = (p->first_bits & ~(1u << c)) | (uint32_t)back << c;
		p->last_bits = (p->last_bits & ~(1u << c)) | (uint32_t)(p->at[c] + 1 == p->trip[c])
								     << c;
		if (access) {
			affine_step(&p->base, c, back);
			for (k = 0; k < preds; k++)
				affine_step(&p->pred[k], c, back);
		}
		if (!back)
			return;
	}
}

/* ---- streams and tokens -------------------------------------------------------- */

bool rdu_flow_tokens_ready(const struct flow *f, const struct flow_prog *p, uint64_t *at,
			   enum flow_wait *why)
{
	for (uint32_t k = 0; k < p->num_in_edges; k++) {
		uint32_t i = f->in_edge[p->first_in_edge + k];
		const struct flow_tokens *e = &f->edge[i];

		if ((e->dst_mask & ~p->first_bits) || e->initial)
			continue;
		if (!e->num)
			return false;
		if (e->at[e->first] > *at) {
			*at = e->at[e->first];
			*why = p->kind == RDU_KIND_WRITE && f->prog[e->src].kind == RDU_KIND_READ
				       ? WAIT_OUT
				       : WAIT_IN;
		}
	}
	return true;
}

bool rdu_flow_inputs_ready(const struct flow *f, struct flow_prog *p, uint64_t *at,
			   enum flow_wait *why)
{
	for (unsigned int k = 0; k < p->num_in; k++) {
		const struct flow_port *port = &p->in[k];
		const struct flow_dest *d = &f->dest[port->index];
		const struct flow_stream *st = d->stream;
		uint64_t there, last;

		if (port->mask & ~p->first_bits)
			continue;
		last = d->popped + port->count - 1;
		if (st->pushed <= last) {
			p->wait_input = port->index;
			return false;
		}
		there = st->at[last & st->mask] + d->delay;
		if (there > *at) {
			*at = there;
			*why = WAIT_IN;
		}
	}
	return true;
}

bool rdu_flow_room(const struct flow *f, struct flow_prog *p, uint32_t stream, uint32_t vectors,
		   uint64_t *at)
{
	const struct flow_stream *st = &f->stream[stream];

	for (uint32_t k = 0; k < st->num_dests; k++) {
		const struct flow_dest *d = &f->dest[st->first_dest + k];
		uint64_t end = st->pushed + vectors;

		if (end <= d->room)
			continue;
		end -= d->room;
		if (d->popped < end) {
			p->wait_room = st->first_dest + k;
			return false;
		}
		*at = max_u64(*at, d->at[(end - 1) & d->mask] + 1);
	}
	return true;
}

/* Takes the activation's tokens. */
void rdu_flow_start(struct flow *f, struct flow_prog *p, uint64_t at)
{
	for (uint32_t k = 0; k < p->num_in_edges; k++) {
		struct flow_tokens *e = &f->edge[f->in_edge[p->first_in_edge + k]];

		if (e->dst_mask & ~p->first_bits)
			continue;
		rdu_flow_token_take(e);
	}
	f->begun += !p->number;
	p->started = true;
	p->end = 0;
	p->start = at + f->skipped;
	f->events++;
	f->stage_events[p->p->stage]++;
}

static void wake_producer(struct flow *f, const struct flow_dest *d)
{
	struct flow_prog *from = &f->prog[d->stream->producer];

	if ((from->block != BLOCK_ROOM && !from->member->deliver_room) ||
	    &f->dest[from->wait_room] != d)
		return;
	from->member->dirty = true;
	if (from->member->deliver_room)
		from->member->deliver = 0;
	rdu_flow_queue(f, from->actor);
}

void rdu_flow_take(struct flow *f, struct flow_dest *d, uint64_t vectors)
{
	if (!vectors)
		return;
	while (vectors--)
		d->at[d->popped++ & d->mask] = f->now;
	wake_producer(f, d);
}

static void wake_consumers(struct flow *f, const struct flow_stream *st)
{
	for (uint32_t k = 0; k < st->num_dests; k++) {
		struct flow_prog *to = &f->prog[f->dest[st->first_dest + k].program];

		if (to->block == BLOCK_INPUT && to->wait_input == st->first_dest + k) {
			to->member->dirty = true;
			rdu_flow_queue(f, to->actor);
		}
	}
}

void rdu_flow_pop(struct flow *f, struct flow_prog *p, uint64_t at)
{
	for (unsigned int k = 0; k < p->num_in; k++) {
		const struct flow_port *port = &p->in[k];
		struct flow_dest *d = &f->dest[port->index];

		if (port->mask & ~p->first_bits)
			continue;
		for (uint32_t i = 0; i < port->count; i++)
			d->at[d->popped++ & d->mask] = at;
		wake_producer(f, d);
	}
}

void rdu_flow_push(struct flow *f, struct flow_prog *p, uint32_t stream, uint64_t at, uint32_t n)
{
	struct flow_stream *st = &f->stream[stream];

	(void)p;
	while (n--)
		st->at[st->pushed++ & st->mask] = at++;
	wake_consumers(f, st);
}

static int token_room(struct flow_tokens *e)
{
	uint32_t size = e->size ? 2 * e->size : 4, i;
	uint64_t *at;

	if (e->num < e->size)
		return 0;
	at = malloc(size * sizeof(*at));
	if (!at)
		return -1;
	for (i = 0; i < e->num; i++)
		at[i] = e->at[(e->first + i) & (e->size - 1)];
	free(e->at);
	e->at = at;
	e->first = 0;
	e->size = size;
	return 0;
}

int rdu_flow_token_put(struct flow_tokens *e, uint64_t at)
{
	if (token_room(e))
		return -1;
	e->at[(e->first + e->num++) & (e->size - 1)] = at;
	return 0;
}

static void wake_for_token(struct flow *f, const struct flow_prog *p)
{
	if (p->block != BLOCK_TOKEN)
		return;
	p->member->dirty = true;
	rdu_flow_queue(f, p->actor);
}

bool rdu_flow_settle(struct flow *f, struct flow_tokens *e, int64_t more)
{
	for (; more < 0; more++)
		rdu_flow_token_take(e);
	for (; more > 0; more--) {
		if (rdu_flow_token_put(e, f->now)) {
			f->failed = true;
			return false;
		}
		wake_for_token(f, &f->prog[e->dst]);
	}
	return true;
}

/* An activation of p ends; activations end in order. */
void rdu_flow_give(struct flow *f, struct flow_prog *p, uint64_t end, uint32_t last_bits)
{
	end = p->last_end = max_u64(p->last_end, end);
	p->ended++;
	f->events++;
	f->stage_events[p->p->stage]++;
	f->last = max_u64(f->last, end);
	if (p->ended == p->activations)
		f->left--;
	for (uint32_t k = 0; k < p->num_out_edges; k++) {
		struct flow_tokens *e = &f->edge[f->out_edge[p->first_out_edge + k]];

		if (e->src_mask & ~last_bits)
			continue;
		if (rdu_flow_token_put(e, end + e->delay)) {
			f->failed = true;
			return;
		}
		wake_for_token(f, &f->prog[e->dst]);
	}
}

void rdu_flow_account(const struct flow *f, struct flow_prog *p, uint64_t from, uint64_t at,
		      uint32_t cycles)
{
	uint64_t still = (at > from ? at - from : 0) + f->skipped - p->skipped;

	p->spent[p->why == WAIT_NONE ? WAIT_MEM : p->why] += still;
	p->spent[WAIT_NONE] += cycles;
	p->skipped = f->skipped;
}

/* ---- shared units -------------------------------------------------------------- */

/* The first `cycles` free ones in a row, from `at` on; takes them. */
uint64_t rdu_flow_slot(struct flow_actor *a, uint64_t at, uint32_t cycles)
{
	uint32_t free = 0;

	if (!a->slot)
		return at;
	while (free < cycles) {
		if (a->slot[(at + free) % SLOTS] == at + free + 1) {
			at += free + 1;
			free = 0;
		} else {
			free++;
		}
	}
	for (uint32_t i = 0; i < cycles; i++)
		a->slot[(at + i) % SLOTS] = at + i + 1;
	return at;
}

/* ---- PCUs and PMUs ------------------------------------------------------------- */

void rdu_flow_lanes(const struct flow_prog *p, unsigned int lanes, unsigned int *from,
		    unsigned int *to)
{
	const struct rdu_cfg_access *a = p->p->body;
	int64_t lo = 0, hi = lanes < a->lanes ? lanes : a->lanes;

	for (unsigned int k = 0; k < a->num_preds; k++) {
		int64_t e = p->pred[k].value, step = a->pred[k].lane_stride;
		int64_t below = a->pred[k].lo - e, above = a->pred[k].hi - e; /* [below, above) */

		if (!step) {
			if (below > 0 || above <= 0)
				hi = lo;
			continue;
		}
		if (step < 0) { /* the same of the negated */
			int64_t t = below;

			step = -step;
			below = 1 - above;
			above = 1 - t;
		}
		below = below > 0 ? (below + step - 1) / step : 0;
		above = above > 0 ? (above + step - 1) / step : 0;
		lo = below > lo ? below : lo;
		hi = above < hi ? above : hi;
	}
	*from = (unsigned int)lo;
	*to = (unsigned int)(hi > lo ? hi : lo);
}

/* Vectors that a WRITE collects for one access. */
static uint32_t group(const struct flow_prog *p)
{
	return p->kind == RDU_KIND_WRITE ? rdu_pack_vectors(p->p->body) : 1;
}

/* Does the firing only take a vector, not the last of its group? */
static bool collects(const struct flow_prog *p)
{
	uint32_t n = group(p);

	return p->at[p->num_counters - 1] % n < n - 1;
}

/* Cycles that the vector holds its side of the scratchpad. */
static uint32_t access_cycles(const struct flow *f, struct flow_prog *p)
{
	const struct rdu_cfg_access *a = p->p->body;
	unsigned int from, to, lanes = f->s->chip.lanes;

	if (collects(p))
		return 1;
	if (!p->banks_vary)
		return p->bank;
	if (a->pack == RDU_PACK_LANE)
		lanes = rdu_pack_words(a, lanes < a->lanes ? lanes : a->lanes);
	rdu_flow_lanes(p, lanes, &from, &to);
	return rdu_bank_lanes(f->s, a, to - from);
}

/* When it can fire, of what is known; false: not yet, and *p says for what. */
static bool find_ready(struct flow *f, struct flow_prog *p)
{
	uint64_t at = p->free, room = 0;
	bool last = !(p->k_mask & ~p->last_bits);

	p->why = WAIT_NONE;
	p->block = BLOCK_TOKEN;
	if (!p->started && !rdu_flow_tokens_ready(f, p, &at, &p->why))
		return false;
	p->block = BLOCK_INPUT;
	if (!rdu_flow_inputs_ready(f, p, &at, &p->why))
		return false;
	p->block = BLOCK_ROOM;
	for (unsigned int k = 0; last && k < p->num_out; k++) {
		const struct flow_port *port = &p->out[k];
		uint64_t free = port->free;

		if (port->mask & ~p->last_bits)
			continue;
		if (!rdu_flow_room(f, p, port->index, port->count, &room))
			return false;
		if (p->kind == RDU_KIND_SYSTOLIC)
			free = free > p->latency ? free - p->latency : 0;
		room = max_u64(room, free);
	}
	if (room > at) {
		at = room;
		p->why = WAIT_OUT;
	}
	p->block = BLOCK_NOT;
	p->member->ready = at;
	return true;
}

/* What a firing at cycle `at` does; when it is complete. */
static uint64_t fire(struct flow *f, struct flow_prog *p, uint64_t at, uint32_t cycles)
{
	bool last = !(p->k_mask & ~p->last_bits);
	uint64_t out = at + p->latency, end = out;

	if (p->kind == RDU_KIND_READ) {
		out += cycles - 1;
		end = at + cycles;
	} else if (p->kind == RDU_KIND_WRITE) {
		end = collects(p) ? at + 1 : at + cycles - 1 + p->latency;
	} else if (p->kind == RDU_KIND_SYSTOLIC) {
		end = at + 2;
		if (last)
			end += p->latency + ((const struct rdu_cfg_systolic *)p->p->body)->cols;
	}
	rdu_flow_pop(f, p, at);
	for (unsigned int k = 0; last && k < p->num_out; k++) {
		struct flow_port *port = &p->out[k];

		if (port->mask & ~p->last_bits)
			continue;
		rdu_flow_push(f, p, port->index,
			      out + (p->kind == RDU_KIND_SYSTOLIC ? port->reg : 0), port->count);
		if (p->kind == RDU_KIND_SIMD) {
			port->free = at + port->count;
			end = max_u64(end, out + port->count);
		} else if (p->kind == RDU_KIND_SYSTOLIC) {
			port->free = out + port->count;
		}
	}
	p->free = at + cycles;
	return end;
}

static void fire_unit(struct flow *f, struct flow_actor *a, struct flow_prog *p)
{
	uint32_t cycles = p->kind == RDU_KIND_SYSTOLIC ? 2 : 1, bits = p->last_bits;
	uint64_t at, from = p->free, end;
	bool last = p->iteration + 1 == p->iterations;

	if (p->kind == RDU_KIND_READ || p->kind == RDU_KIND_WRITE)
		cycles = access_cycles(f, p);
	at = rdu_flow_slot(a, p->member->ready, cycles);
	if (!p->started)
		rdu_flow_start(f, p, at);
	rdu_flow_account(f, p, from, at, cycles);
	end = fire(f, p, at, cycles);
	p->end = max_u64(p->end, end);
	rdu_flow_step(p);
	p->member->dirty = true;
	if (!last)
		return;
	if (f->activation)
		f->activation(f->opaque, p->index, p->number - 1, p->start,
			      max_u64(p->last_end, p->end) + f->skipped);
	rdu_flow_give(f, p, p->end, bits);
}

/* ---- many firings at once ------------------------------------------------------ */

/* A stream's end as a loop over firings sees it. */
struct run_port {
	uint64_t *at; /* ring: cycles */
	uint64_t next; /* vector */
	uint32_t mask, delay;
	struct flow_dest *dest;
};

struct run {
	struct run_port in[RDU_MAX_PORTS], out[RDU_MAX_PORTS]; /* that move at every firing */
	struct run_port back[4 * RDU_MAX_PORTS]; /* where room comes from */
	unsigned int num_in, num_out, num_back;
	uint64_t num; /* firings */
};

/* Ports that move at each of the firings between the first and the last of the innermost
 * counter, and how many firings there are that all is known of. False: too few. */
static bool find_run(const struct flow *f, const struct flow_prog *p, struct run *r)
{
	unsigned int c = p->num_counters - 1;
	uint32_t first = p->first_bits & ~(1u << c), last = p->last_bits & ~(1u << c);

	r->num_in = r->num_out = r->num_back = 0;
	if (c < p->num_outer || !p->at[c] || p->at[c] + 4 > p->trip[c] || p->banks_vary)
		return false;
	r->num = p->trip[c] - 1 - p->at[c];
	for (unsigned int k = 0; k < p->num_in; k++) {
		struct flow_dest *d = &f->dest[p->in[k].index];

		if (p->in[k].mask & ~first)
			continue;
		if (p->in[k].count > 1)
			return false;
		r->in[r->num_in++] =
			(struct run_port){ d->stream->at, d->popped, d->stream->mask, d->delay, d };
		r->num = min_u64(r->num, d->stream->pushed - d->popped);
	}
	if (p->kind == RDU_KIND_SYSTOLIC)
		return p->k_mask >> c & 1 && r->num > 3;
	for (unsigned int k = 0; k < p->num_out; k++) {
		struct flow_stream *st = &f->stream[p->out[k].index];

		if (p->out[k].mask & ~last)
			continue;
		if (p->out[k].count > 1 || r->num_back + st->num_dests > 4 * RDU_MAX_PORTS)
			return false;
		r->out[r->num_out++] = (struct run_port){ st->at, st->pushed, st->mask, 0, NULL };
		for (uint32_t i = 0; i < st->num_dests; i++) {
			struct flow_dest *d = &f->dest[st->first_dest + i];

			/* Vector n needs the room of vector n - room; rings start full of zeros. */
			r->back[r->num_back++] =
				(struct run_port){ d->at, st->pushed - d->room, d->mask, 1, d };
			r->num = min_u64(r->num, d->popped + d->room - st->pushed);
		}
	}
	return r->num > 3;
}

/* What firings at cycle `free` at last leave behind, n of them, that waited so many cycles. */
static uint64_t fired_run(struct flow *f, struct flow_prog *p, uint64_t n, uint32_t cycles,
			  uint64_t in, uint64_t out, uint64_t free)
{
	if (!n)
		return 0;
	p->spent[WAIT_NONE] += n * cycles;
	p->spent[WAIT_IN] += in + f->skipped - p->skipped;
	p->spent[WAIT_OUT] += out;
	p->skipped = f->skipped;
	p->free = free;
	return n;
}

/* fire_run() of two inputs and nothing else, as an array's as long as it adds up: most firings of most sections. */
static uint64_t add_up(struct flow *f, struct flow_prog *p, const struct run *r, uint32_t cycles)
{
	const struct run_port x = r->in[0], y = r->in[1];
	uint64_t *x_popped = x.dest->at, *y_popped = y.dest->at;
	const uint32_t x_mask = x.dest->mask, y_mask = y.dest->mask;
	const uint64_t most = r->num, limit = f->limit;
	uint64_t free = p->free, in = 0, n;

	for (n = 0; n < most; n++) {
		uint64_t at = max_u64(free, x.at[(x.next + n) & x.mask] + x.delay);

		at = max_u64(at, y.at[(y.next + n) & y.mask] + y.delay);
		if (at >= limit)
			break;
		in += at - free;
		x_popped[(x.next + n) & x_mask] = at;
		y_popped[(y.next + n) & y_mask] = at;
		free = at + cycles;
	}
	return fired_run(f, p, n, cycles, in, 0, free);
}

/* The firings before the window ends; how many. */
static uint64_t fire_run(struct flow *f, struct flow_prog *p, struct run *r, uint32_t cycles)
{
	uint64_t free = p->free, in = 0, out = 0, n, latency = p->latency;

	if (p->kind == RDU_KIND_READ)
		latency += cycles - 1;
	for (n = 0; n < r->num; n++) {
		uint64_t at = free, room = 0;
		unsigned int k;

		for (k = 0; k < r->num_in; k++)
			at = max_u64(at, r->in[k].at[(r->in[k].next + n) & r->in[k].mask] +
						 r->in[k].delay);
		for (k = 0; k < r->num_back; k++)
			room = max_u64(room,
				       r->back[k].at[(r->back[k].next + n) & r->back[k].mask]);
		if (at >= f->limit || room + 1 >= f->limit)
			break;
		in += at - free;
		if (room + 1 > at && r->num_back) {
			out += room + 1 - at;
			at = room + 1;
		}
		for (k = 0; k < r->num_in; k++)
			r->in[k].dest->at[(r->in[k].next + n) & r->in[k].dest->mask] = at;
		for (k = 0; k < r->num_out; k++)
			r->out[k].at[(r->out[k].next + n) & r->out[k].mask] = at + latency;
		free = at + cycles;
	}
	return fired_run(f, p, n, cycles, in, out, free);
}

static void wake_neighbours(struct flow *f, const struct flow_prog *p)
{
	for (unsigned int k = 0; k < p->num_in; k++)
		wake_producer(f, &f->dest[p->in[k].index]);
	for (unsigned int k = 0; k < p->num_out; k++)
		wake_consumers(f, &f->stream[p->out[k].index]);
}

/* As many firings as can be seen to come; false: none, it has to be done one by one. */
static bool run_on(struct flow *f, struct flow_prog *p)
{
	unsigned int c = p->num_counters - 1, k;
	uint32_t cycles = p->kind == RDU_KIND_SYSTOLIC ? 2 : p->kind >= RDU_KIND_READ ? p->bank : 1;
	struct run r;
	uint64_t n;

	if (!p->started || (cycles > 1 && group(p) > 1) || !find_run(f, p, &r))
		return false;
	n = r.num_in == 2 && !r.num_out ? add_up(f, p, &r, cycles) : fire_run(f, p, &r, cycles);
	if (!n)
		return false;
	for (k = 0; k < r.num_in; k++)
		r.in[k].dest->popped += n;
	for (k = 0; k < p->num_out; k++) {
		struct flow_stream *st = &f->stream[p->out[k].index];

		if (p->kind == RDU_KIND_SYSTOLIC || p->out[k].mask & ~p->last_bits)
			continue;
		st->pushed += n;
		p->out[k].free = p->free;
	}
	p->iteration += n;
	p->at[c] += (uint32_t)n;
	p->last_bits |= (uint32_t)(p->at[c] + 1 == p->trip[c]) << c;
	p->member->dirty = true;
	wake_neighbours(f, p);
	return true;
}

/* ---- actors -------------------------------------------------------------------- */

void rdu_flow_wake(struct flow *f, uint32_t actor, uint64_t at)
{
	struct flow_actor *a = &f->actor[actor];
	uint64_t bit = 1ull << actor % 64;

	a->wake = f->timed[actor / 64] & bit ? min_u64(a->wake, at) : at;
	f->timed[actor / 64] |= bit;
}

static void look_again(struct flow *f, struct flow_actor *a, struct flow_member *m)
{
	struct flow_prog *p = &f->prog[m->program];

	m->dirty = false;
	m->ready = FLOW_NEVER;
	if (p->activation == p->activations) {
		p->block = BLOCK_NOT;
		return;
	}
	if (a->agcu)
		rdu_agcu_ready(f, a, p);
	else if (!find_ready(f, p))
		m->ready = FLOW_NEVER;
}

/* Whoever can go first, in turns, until nobody can before the window ends. */
static void act(struct flow *f, uint32_t actor)
{
	struct flow_actor *a = &f->actor[actor];
	uint32_t k, best = 0;

	for (;;) {
		uint64_t at = FLOW_NEVER;

		for (k = 0; k < a->num; k++) {
			uint32_t i = a->turn + k < a->num ? a->turn + k : a->turn + k - a->num;
			struct flow_member *m = &a->member[i];

			if (m->deliver < f->limit)
				rdu_agcu_deliver(f, &f->prog[m->program]);
			if (m->dirty)
				look_again(f, a, m);
			if (m->ready < at) {
				at = m->ready;
				best = i;
			}
		}
		if (at >= f->limit || f->failed) {
			if (at != FLOW_NEVER)
				rdu_flow_wake(f, actor, at);
			break;
		}
		f->work++;
		a->turn = best + 1 < a->num ? best + 1 : 0;
		if (a->num == 1 && !a->agcu && run_on(f, &f->prog[a->member->program]))
			continue;
		if (!a->agcu) {
			fire_unit(f, a, &f->prog[a->member[best].program]);
			continue;
		}
		/* AGCUs find room in the memory's queues in turns, a vector each. */
		rdu_agcu_fire(f, a, &f->prog[a->member[best].program]);
		rdu_flow_queue(f, actor);
		break;
	}
	for (k = 0; a->agcu && k < a->num; k++)
		if (a->member[k].deliver && a->member[k].deliver != FLOW_NEVER)
			rdu_flow_wake(f, actor, a->member[k].deliver);
}

static void wake_one(struct flow *f, uint32_t i, uint64_t *soonest)
{
	if (f->actor[i].wake >= f->limit) {
		*soonest = min_u64(*soonest, f->actor[i].wake);
		return;
	}
	f->timed[i / 64] &= ~(1ull << i % 64);
	rdu_flow_queue(f, i);
}

/* Those of the actors [from, to) that wake up by themselves. */
static void wake_range(struct flow *f, uint32_t from, uint32_t to, uint64_t *soonest)
{
	for (uint32_t w = from / 64; from < to; w++, from = w * 64) {
		uint64_t left = f->timed[w] >> from % 64 << from % 64;

		if (to - w * 64 < 64)
			left &= (1ull << (to - w * 64)) - 1;
		for (; left; left &= left - 1)
			wake_one(f, w * 64 + (uint32_t)__builtin_ctzll(left), soonest);
	}
}

/* Those whose time has come, of AGCUs last who got the last place in a channel's queue;
 * the soonest of the others. */
static uint64_t wake_timed(struct flow *f)
{
	uint64_t soonest = FLOW_NEVER;
	uint32_t begin = f->first_agcu, end = begin + f->num_agcus;
	uint32_t first = f->num_agcus ? begin + f->agcu_turn % f->num_agcus : begin;

	wake_range(f, first, end, &soonest);
	wake_range(f, begin, first, &soonest);
	wake_range(f, 0, f->num_actors, &soonest);
	return soonest;
}

/* Who is next in line: what is looked at of it comes from far away. */
static void fetch_ahead(const struct flow *f, uint32_t at)
{
	const struct flow_actor *a =
		&f->actor[f->queue[at < f->num_actors ? at : at - f->num_actors]];

	__builtin_prefetch(a->member);
	for (unsigned int i = 0; i < FETCHED; i += FETCH_LINE)
		__builtin_prefetch((const char *)a->first + i);
}

static void window(struct flow *f)
{
	while (f->num_queued && !f->failed) {
		uint32_t actor = f->queue[f->first_queued];

		if (++f->first_queued == f->num_actors)
			f->first_queued = 0;
		if (--f->num_queued)
			fetch_ahead(f, f->first_queued);
		f->actor[actor].queued = false;
		act(f, actor);
	}
	/* Once all have ended, it hurries. */
	rdu_memory_run(f->memory, f->left ? f->limit : f->last);
}

bool rdu_flow_skip(struct flow *f, double cycles)
{
	if ((double)(f->now + f->skipped) + cycles > RDU_TIMING_CYCLES) {
		f->failed = f->too_long = true;
		return false;
	}
	f->skipped += (uint64_t)(cycles + 0.5);
	return true;
}

/* Cycles that what is left takes at least: each program fires once a cycle, an array every other, and memory moves what
 * has not begun to be. */
static uint64_t least_left(const struct flow *f)
{
	uint64_t most = 0;
	double bytes = 0;

	for (uint32_t i = 0; i < f->s->hdr->programs.count; i++) {
		const struct flow_prog *p = &f->prog[i];
		uint64_t begun = p->activation + p->started;
		uint64_t left = (p->activations - p->activation) * p->iterations - p->iteration;

		most = max_u64(most, left * (p->kind == RDU_KIND_SYSTOLIC ? 2 : 1));
		if (p->access && !p->access->in_host)
			bytes += (double)f->costs->prog[i].all_bytes *
				 (double)(p->activations - begun) / (double)p->p->activations;
	}
	return max_u64(most, (uint64_t)(bytes / f->costs->dram_rate));
}

void rdu_flow_run(struct flow *f, const struct rdu_patience *patience)
{
	uint64_t soonest, steps = RDU_TIMING_STEPS, cycles = RDU_TIMING_CYCLES;
	uint32_t windows = 0;

	if (patience && patience->steps)
		steps = patience->steps;
	if (patience && patience->cycles)
		cycles = patience->cycles;
	while (f->left && !f->failed) {
		f->limit = f->now + f->window;
		soonest = wake_timed(f);
		if (!f->num_queued && rdu_memory_idle(f->memory)) {
			if (soonest == FLOW_NEVER) {
				f->failed = true; /* nobody can go on: not a valid section */
				return;
			}
			f->now = soonest;
			continue;
		}
		window(f);
		f->now = f->limit;
		if (f->left && !(patience && patience->whole))
			rdu_skip_look(f);
		f->work++;
		if (f->work > steps || f->now + f->skipped > RDU_TIMING_CYCLES)
			f->failed = f->too_long = true;
		if (f->now + f->skipped > cycles)
			f->failed = true;
		if (++windows & 63 || !patience)
			continue;
		/* Firings may be known up to the window's end. */
		if (patience->cycles && f->left &&
		    f->now - f->window + f->skipped + least_left(f) > cycles)
			f->failed = f->too_slow = true;
		if (rdu_give_up(patience->stop, patience->deadline_ns))
			f->failed = true;
	}
	if (!f->failed)
		f->last = rdu_memory_drain(f->memory, f->last) + f->skipped;
}
