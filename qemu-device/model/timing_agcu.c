// SPDX-License-Identifier: MIT
/*
 * AGCUs in modelled time: vectors into bursts. A LOAD asks for bursts ahead of what its
 * consumer takes, bounded by the vectors it waits for and the bursts its AGCU has asked
 * for; vectors leave in order. A STORE writes a burst when it is full, when its line is
 * needed, and when the activation ends.
 */
#include <string.h>
#include "timing_flow.h"

#define WRITTEN (1ull << 63) /* in todo[]: the burst is written */

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Behind a place of the rings of vectors. */
static unsigned int next_place(const struct flow *f, unsigned int place)
{
	return place + 1 < f->s->chip.agcu_vectors ? place + 1 : 0;
}

/* ---- lines --------------------------------------------------------------------- */

/* Rows of a matrix are apart by powers of two, so all digits of the number count. */
static unsigned int bucket_of(uint64_t burst)
{
	return (unsigned int)(burst * 0x9e3779b97f4a7c15ULL >> 56);
}

static struct flow_line *find_line(struct flow_access *x, uint64_t burst)
{
	unsigned int bucket = bucket_of(burst), i;

	if (!x->count[bucket])
		return NULL;
	if (x->line[x->last[bucket]].burst == burst)
		return &x->line[x->last[bucket]];
	for (i = 0; x->count[bucket] > 1 && i < x->num_lines; i++)
		if (x->line[i].burst == burst)
			return &x->line[i];
	return NULL;
}

/* A line for one more burst; *old: what it held, if *evicted. */
static struct flow_line *new_line(const struct flow *f, struct flow_access *x, uint64_t burst,
				  struct flow_line *old, bool *evicted)
{
	unsigned int place = x->num_lines;
	struct flow_line *l;

	*evicted = x->num_lines == f->s->chip.agcu_lines;
	if (*evicted) {
		place = x->next_line;
		x->next_line = (place + 1) % f->s->chip.agcu_lines;
		*old = x->line[place];
		x->count[bucket_of(old->burst)]--;
	} else {
		x->num_lines++;
	}
	l = &x->line[place];
	*l = (struct flow_line){ .burst = burst };
	x->count[bucket_of(burst)]++;
	x->last[bucket_of(burst)] = (uint8_t)place;
	return l;
}

static void clear_lines(struct flow_access *x)
{
	if (!x->num_lines)
		return;
	x->num_lines = x->next_line = 0;
	memset(x->count, 0, sizeof(x->count));
}

/* ---- requests ------------------------------------------------------------------ */

/* Takes note of the bursts that have come by cycle `at`. */
static void settle(struct flow_actor *a, uint64_t at)
{
	uint32_t n = 0;

	while (n < a->num_coming && a->request[a->coming[n]].at <= at) {
		a->request[a->coming[n]].used = false;
		a->outstanding--;
		n++;
	}
	if (!n)
		return;
	a->num_coming -= n;
	memmove(a->coming, a->coming + n, a->num_coming * sizeof(*a->coming));
}

static void expect(struct flow_actor *a, uint32_t request, uint64_t at)
{
	uint32_t i = a->num_coming++;

	a->request[request].at = at;
	while (i && a->request[a->coming[i - 1]].at > at) {
		a->coming[i] = a->coming[i - 1];
		i--;
	}
	a->coming[i] = request;
}

/* Looks whether activations of a STORE have ended. */
static void end_stores(struct flow *f, struct flow_prog *p)
{
	struct flow_access *x = p->access;

	while (p->ended < p->activation || (p->ended == p->activation && p->started)) {
		struct flow_open *o = &x->open[p->ended % OPEN_ACTIVATIONS];
		uint64_t a = p->ended;

		if (!o->issued || o->pending)
			return;
		rdu_flow_give(f, p, o->end, o->last_bits);
		x->ended_at[a % OPEN_ACTIVATIONS] = p->last_end;
		if (f->activation)
			f->activation(f->opaque, p->index, o->number, o->start,
				      p->last_end + f->skipped);
		if (p->block == BLOCK_MEMORY)
			p->member->dirty = true;
	}
}

void rdu_agcu_got(void *flow, uint32_t who, uint64_t cycle)
{
	struct flow *f = flow;
	struct flow_actor *a = &f->actor[who / f->s->chip.agcu_requests];
	struct flow_request *r = &a->request[who % f->s->chip.agcu_requests];
	struct flow_prog *p = &f->prog[r->program];
	struct flow_access *x = p->access;
	uint32_t i;

	expect(a, who % f->s->chip.agcu_requests, cycle);
	if (p->kind == RDU_KIND_STORE) {
		x->open[r->activation].pending--;
		x->open[r->activation].end = max_u64(x->open[r->activation].end, cycle);
		end_stores(f, p);
	}
	for (i = 0; i < (f->s->chip.agcu_vectors + 63) / 64; i++) {
		uint64_t left = r->waiting[i];

		for (; left; left &= left - 1) {
			struct flow_vector *v =
				&x->vector[i * 64 + (unsigned int)__builtin_ctzll(left)];

			v->pending--;
			v->memory = true;
			v->ready = max_u64(v->ready, cycle);
		}
	}
	if (p->member->deliver == FLOW_NEVER)
		p->member->deliver = 0;
	for (i = 0; i < a->num; i++)
		if (f->prog[a->member[i].program].block == BLOCK_MEMORY)
			a->member[i].dirty = true;
	rdu_flow_wake(f, p->actor, cycle);
}

/* ---- what a vector touches ------------------------------------------------------ */

static void touch_load(struct flow *f, struct flow_prog *p, uint64_t burst)
{
	struct flow_access *x = p->access;
	struct flow_actor *a = &f->actor[p->actor];
	unsigned int place = x->issue_place;
	struct flow_line *l = find_line(x, burst), old;
	struct flow_request *r;
	bool evicted;

	if (!l) {
		l = new_line(f, x, burst, &old, &evicted);
		l->request = f->s->chip.agcu_requests; /* about to be asked for, by this vector */
		x->todo[x->num_todo++] = burst;
		x->vector[place].pending++;
		return;
	}
	if (l->request == f->s->chip.agcu_requests)
		return;
	r = &a->request[l->request];
	if (r->generation != l->generation || !r->used)
		return; /* it has come */
	if (r->at != FLOW_NEVER) {
		x->vector[place].ready = max_u64(x->vector[place].ready, r->at);
		x->vector[place].memory = true;
		return;
	}
	x->vector[place].pending += !(r->waiting[place / 64] >> place % 64 & 1);
	r->waiting[place / 64] |= 1ull << place % 64;
}

static void touch_store(struct flow *f, struct flow_prog *p, uint64_t burst, unsigned int bytes)
{
	const struct rdu_cfg_access *a = p->p->body;
	struct flow_access *x = p->access;
	struct flow_line *l = find_line(x, burst), old;
	uint32_t whole = f->s->chip.dram_burst;
	bool evicted;

	if (!l) {
		l = new_line(f, x, burst, &old, &evicted);
		if (evicted && old.bytes < whole)
			x->todo[x->num_todo++] = old.burst | WRITTEN;
		if (a->flags & RDU_ACCESS_ADD)
			x->todo[x->num_todo++] = burst;
	}
	if (l->bytes >= whole)
		return; /* written once more in place: it left already */
	l->bytes += bytes;
	if (l->bytes >= whole)
		x->todo[x->num_todo++] = burst | WRITTEN;
}

static void touch(struct flow *f, struct flow_prog *p, uint64_t from, unsigned int bytes)
{
	uint64_t b = from >> f->burst_shift, last = (from + bytes - 1) >> f->burst_shift;

	for (; b <= last; b++) {
		uint64_t start = b << f->burst_shift, end = start + f->s->chip.dram_burst;

		if (p->kind == RDU_KIND_LOAD) {
			touch_load(f, p, b);
			continue;
		}
		/* of this burst only, but each element of those that span two counts whole */
		start = start > from ? start : from;
		end = end < from + bytes ? end : from + bytes;
		touch_store(f, p, b, (unsigned int)(end - start));
	}
}

/* Bursts of the vector at this iteration. */
static void touch_vector(struct flow *f, struct flow_prog *p)
{
	const struct rdu_cfg_access *a = p->p->body;
	struct flow_access *x = p->access;
	unsigned int from, to, l;
	int64_t one;
	uint64_t random = 0x9e3779b97f4a7c15ULL * (p->number * p->iterations + p->iteration + 1);

	rdu_flow_lanes(p, f->s->chip.lanes, &from, &to);
	if (from == to)
		return;
	if (a->lane_stride == 1 && !(a->flags & RDU_ACCESS_GATHER)) {
		touch(f, p, x->base + (uint64_t)(p->base.value + from) * x->element,
		      (to - from) * x->element);
		return;
	}
	one = a->flags & RDU_ACCESS_ONE_INDEX ? rdu_gather_guess(a, &random) : 0;
	for (l = from; l < to; l++) {
		int64_t at = p->base.value + a->lane_stride * l + one;

		if (a->flags & RDU_ACCESS_GATHER && !(a->flags & RDU_ACCESS_ONE_INDEX))
			at += rdu_gather_guess(a, &random);
		touch(f, p, x->base + (uint64_t)at * x->element, x->element);
	}
}

/* ---- a cycle of an AGCU --------------------------------------------------------- */

void rdu_agcu_ready(struct flow *f, struct flow_actor *a, struct flow_prog *p)
{
	struct flow_access *x = p->access;
	uint64_t at = p->free;

	(void)a;
	p->member->ready = FLOW_NEVER;
	if (x->under_way) { /* the bursts left of its vector */
		p->why = WAIT_MEM;
		p->block = BLOCK_NOT;
		p->member->ready = at;
		return;
	}
	p->why = WAIT_NONE;
	if (!p->started) {
		p->block = BLOCK_MEMORY;
		if (p->activation >= OPEN_ACTIVATIONS) {
			if (p->ended <= p->activation - OPEN_ACTIVATIONS)
				return;
			at = max_u64(at, x->ended_at[p->activation % OPEN_ACTIVATIONS]);
		}
		p->block = BLOCK_TOKEN;
		if (!rdu_flow_tokens_ready(f, p, &at, &p->why))
			return;
	}
	p->block = BLOCK_INPUT;
	if (!rdu_flow_inputs_ready(f, p, &at, &p->why))
		return;
	if (p->kind == RDU_KIND_LOAD && x->issued >= f->s->chip.agcu_vectors) {
		uint64_t freed;

		p->block = BLOCK_MEMORY;
		if (x->delivered <= x->issued - f->s->chip.agcu_vectors)
			return;
		freed = x->delivered_at[x->issue_place];
		if (freed > at) {
			at = freed;
			p->why = x->delivered_late ? WAIT_MEM : WAIT_OUT;
		}
	}
	p->block = BLOCK_NOT;
	p->member->ready = at;
}

static void begin_vector(struct flow *f, struct flow_prog *p, uint64_t at)
{
	struct flow_access *x = p->access;
	bool last = p->iteration + 1 == p->iterations;
	struct flow_open *o;

	if (!p->started) {
		rdu_flow_start(f, p, at);
		clear_lines(x);
		x->open[p->activation % OPEN_ACTIVATIONS] =
			(struct flow_open){ .start = p->start, .number = p->number };
	}
	o = &x->open[p->activation % OPEN_ACTIVATIONS];
	rdu_flow_pop(f, p, at);
	x->num_todo = x->at_todo = 0;
	x->under_way = true;
	if (p->kind == RDU_KIND_LOAD) {
		x->vector[x->issue_place] =
			(struct flow_vector){ .ready = at + 1,
					      .push = !(p->out[0].mask & ~p->last_bits) };
		o->pending++;
	}
	touch_vector(f, p);
	if (last)
		o->last_bits = p->last_bits;
	for (unsigned int i = 0; last && p->kind == RDU_KIND_STORE && i < x->num_lines; i++)
		if (x->line[i].bytes < f->s->chip.dram_burst)
			x->todo[x->num_todo++] = x->line[i].burst | WRITTEN;
}

/* Asks for the vector's next burst at cycle `at`; false: it can't. */
static bool ask(struct flow *f, struct flow_actor *a, struct flow_prog *p, uint64_t at)
{
	struct flow_access *x = p->access;
	uint64_t todo = x->todo[x->at_todo], burst = todo & ~WRITTEN;
	struct flow_open *o = &x->open[p->activation % OPEN_ACTIVATIONS];
	bool write = todo & WRITTEN;
	struct flow_request *r;
	struct flow_line *l;
	uint32_t i, place, who;

	settle(a, at);
	if (a->outstanding == f->s->chip.agcu_requests) {
		p->block = BLOCK_MEMORY;
		p->free = a->num_coming ? a->request[a->coming[0]].at : FLOW_NEVER;
		return false;
	}
	for (i = a->spare; a->request[i].used; i = (i + 1) % f->s->chip.agcu_requests)
		;
	who = (uint32_t)(a - f->actor) * f->s->chip.agcu_requests + i;
	if (!x->in_host && !rdu_memory_ask(f->memory, burst, write, at, f->limit, who)) {
		p->free = f->limit;
		return false;
	}
	a->spare = (i + 1) % f->s->chip.agcu_requests;
	r = &a->request[i];
	r->program = p->index;
	r->generation++;
	r->at = FLOW_NEVER;
	r->activation = (uint32_t)(p->activation % OPEN_ACTIVATIONS);
	r->used = true;
	for (uint32_t w = 0; w < (f->s->chip.agcu_vectors + 63) / 64; w++)
		r->waiting[w] = 0;
	f->agcu_turn = (uint32_t)(a - f->actor) + 1 - f->first_agcu;
	a->outstanding++;
	f->bursts++;
	x->at_todo++;
	if (write) {
		uint64_t end = x->in_host ? rdu_memory_link(f->memory, true, at)
					  : rdu_memory_written(f->memory, at);

		expect(a, i, end);
		o->end = max_u64(o->end, end);
		return true;
	}
	if (p->kind == RDU_KIND_STORE) {
		o->pending++;
	} else {
		place = x->issue_place;
		r->waiting[place / 64] |= 1ull << place % 64;
		l = find_line(x, burst);
		if (l) {
			l->request = i;
			l->generation = r->generation;
		}
	}
	if (x->in_host)
		rdu_agcu_got(f, who, rdu_memory_link(f->memory, false, at));
	return true;
}

static void end_vector(struct flow *f, struct flow_prog *p, uint64_t at)
{
	struct flow_access *x = p->access;
	struct flow_open *o = &x->open[p->activation % OPEN_ACTIVATIONS];

	o->end = max_u64(o->end, at + 1);
	x->under_way = false;
	if (p->kind == RDU_KIND_LOAD) {
		if (x->delivered == x->issued++)
			p->member->deliver = 0;
		x->issue_place = next_place(f, x->issue_place);
	}
	o->issued = p->iteration + 1 == p->iterations;
	rdu_flow_step(p);
	if (p->kind == RDU_KIND_STORE)
		end_stores(f, p);
}

void rdu_agcu_fire(struct flow *f, struct flow_actor *a, struct flow_prog *p)
{
	struct flow_access *x = p->access;
	uint64_t from = p->free, at = rdu_flow_slot(a, p->member->ready, 1);
	unsigned int before = x->at_todo;
	bool under_way = x->under_way;

	p->member->dirty = true;
	rdu_flow_account(f, p, from, at, 1);
	p->free = at + 1;
	if (!x->under_way)
		begin_vector(f, p, at);
	for (;;) {
		for (unsigned int n = f->agcu_rate; n && x->at_todo < x->num_todo; n--)
			if (!ask(f, a, p, at))
				break;
		/* Alone, it need not let others look whether they are first. */
		if (x->at_todo == x->num_todo || a->num > 1 || p->free >= f->limit)
			break;
		p->why = WAIT_MEM;
		rdu_flow_account(f, p, at + 1, p->free, 1);
		at = p->free;
		p->free = at + 1;
	}
	if (a->slot && under_way && x->at_todo == before) /* it could do nothing: another may */
		a->slot[at % SLOTS] = 0;
	if (p->free == FLOW_NEVER) { /* until a burst comes */
		p->free = at + 1;
		p->member->ready = FLOW_NEVER;
		p->member->dirty = false;
	}
	if (x->at_todo == x->num_todo)
		end_vector(f, p, at);
}

void rdu_agcu_deliver(struct flow *f, struct flow_prog *p)
{
	struct flow_access *x = p->access;

	p->member->deliver = FLOW_NEVER;
	p->member->deliver_room = false;
	while (x->delivered < x->issued) {
		struct flow_vector *v = &x->vector[x->deliver_place];
		uint64_t at = max_u64(v->ready, x->deliver_free);
		uint64_t a_now = p->ended;
		struct flow_open *o = &x->open[a_now % OPEN_ACTIVATIONS];

		if (v->pending)
			return;
		if (v->push) {
			p->member->deliver_room = true;
			if (!rdu_flow_room(f, p, p->out[0].index, 1, &at))
				return;
			p->member->deliver_room = false;
		}
		if (at >= f->limit) {
			p->member->deliver = at;
			return;
		}
		if (v->push)
			rdu_flow_push(f, p, p->out[0].index, at + 1, 1);
		x->delivered_late = v->memory && at == v->ready;
		x->deliver_free = at + 1;
		x->delivered_at[x->deliver_place] = at;
		x->deliver_place = next_place(f, x->deliver_place);
		x->delivered++;
		o->end = max_u64(o->end, at);
		if (!--o->pending && o->issued) {
			rdu_flow_give(f, p, o->end, o->last_bits);
			x->ended_at[a_now % OPEN_ACTIVATIONS] = p->last_end;
			if (f->activation)
				f->activation(f->opaque, p->index, o->number, o->start,
					      p->last_end + f->skipped);
		}
		if (p->block == BLOCK_MEMORY)
			p->member->dirty = true;
	}
}
