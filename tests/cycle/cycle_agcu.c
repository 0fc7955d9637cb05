// SPDX-License-Identifier: MIT
/*
 * AGCUs. A cycle of one: a vector whose bursts have come leaves; one of its programs,
 * in turn, works on its next vector: addresses, which bursts they touch, requests for
 * those that are not among the last agcu_lines it touched in this activation. A STORE
 * writes a burst out when it is full, when its place is needed, and when the
 * activation ends.
 */
#include <math.h>
#include <string.h>
#include "cycle_priv.h"
#include "numerics.h"

static uint32_t load_element(const unsigned char *at, unsigned int format)
{
	uint32_t word = 0;
	double d;

	memcpy(&word, at, rdu_format_bytes(format) < 4 ? rdu_format_bytes(format) : 4);
	switch (format) {
	case RDU_FMT_BF16:
		return word << 16;
	case RDU_FMT_I8:
		return (uint32_t)(int32_t)(int8_t)word;
	case RDU_FMT_I16:
		return (uint32_t)(int32_t)(int16_t)word;
	case RDU_FMT_F16:
		return rdu_f16_wide(word);
	case RDU_FMT_F64:
		memcpy(&d, at, 8);
		return rdu_canon((float)d);
	}
	return word;
}

/* Does an element of 64 bits fit the 32 bits of a lane? */
static bool fits(const unsigned char *at, unsigned int format)
{
	int64_t v;
	double d;

	if (rdu_format_bytes(format) != 8)
		return true;
	memcpy(&v, at, 8);
	memcpy(&d, at, 8);
	if (format == RDU_FMT_F64)
		return !isfinite(d) || isfinite((float)d);
	return format == RDU_FMT_I64 ? v == (int32_t)v : v >= 0 && v <= INT32_MAX;
}

/* Can the format hold the int32? No format changes a value on its own. */
static bool holds(unsigned int format, uint32_t v)
{
	int32_t x = (int32_t)v;

	switch (format) {
	case RDU_FMT_I8:
		return x == (int8_t)x;
	case RDU_FMT_U8:
		return x == (uint8_t)x;
	case RDU_FMT_I16:
		return x == (int16_t)x;
	case RDU_FMT_U16:
		return x == (uint16_t)x;
	case RDU_FMT_U64:
		return x >= 0;
	}
	return true;
}

static void store_element(unsigned char *at, unsigned int format, uint32_t v)
{
	int64_t wide = (int32_t)v;
	double d = rdu_f(rdu_canon(rdu_f(v)));

	if (rdu_format_bytes(format) == 8) {
		memcpy(at, format == RDU_FMT_F64 ? (void *)&d : (void *)&wide, 8);
		return;
	}
	if (format == RDU_FMT_BF16)
		v = rdu_bf16(v);
	if (format == RDU_FMT_F16)
		v = rdu_f16(v);
	memcpy(at, &v, rdu_format_bytes(format));
}

static struct open_activation *activation_of(struct unit_program *u, uint64_t number)
{
	for (uint32_t i = 0; i < u->num_open; i++) {
		struct open_activation *o = &u->open[(u->first_open + i) % OPEN_ACTIVATIONS];

		if (o->number == number)
			return o;
	}
	return NULL;
}

/* ---- requests ---------------------------------------------------------------------- */

static void request_done(void *who, uint64_t tag)
{
	struct agcu *a = who;
	struct burst_request *r = &a->request[tag];
	struct unit_program *u = r->who;

	a->outstanding--;
	r->used = false;
	if (u->p->cfg->kind == RDU_KIND_STORE) {
		activation_of(u, r->activation)->pending--;
		return;
	}
	for (uint32_t i = 0; i < u->room_waiting; i++)
		if (r->waiting[i / 64] >> i % 64 & 1)
			u->waiting[i].pending--;
	for (uint32_t i = 0; i < u->num_lines; i++)
		if (u->line_state[i] == tag)
			u->line_state[i] = NO_REQUEST;
}

static size_t waiting_words(const struct cycle_sim *m)
{
	return (m->s->chip.agcu_vectors + 63) / 64;
}

/* Asks for todo[at_todo]; false: not in this cycle. */
static bool request(struct cycle_sim *m, struct agcu *a, struct unit_program *u)
{
	uint64_t burst = u->todo[u->at_todo];
	const struct rdu_cfg_access *access = u->p->body;
	bool in_host = m->setup->segments[access->target].in_host;
	uint32_t slot = 0, place;
	struct burst_request *r;

	if (a->outstanding == m->s->chip.agcu_requests)
		return false;
	while (a->request[slot].used)
		slot++;
	if (in_host)
		cycle_memory_link(m->memory, burst & CYCLE_WRITE, request_done, a, slot);
	else if (!cycle_memory_request(m->memory, (burst & ~CYCLE_WRITE) * m->s->chip.dram_burst,
				       burst & CYCLE_WRITE, request_done, a, slot))
		return false;
	r = &a->request[slot];
	r->who = u;
	r->used = true;
	r->activation = u->activation;
	memset(r->waiting, 0, waiting_words(m) * sizeof(*r->waiting));
	a->outstanding++;
	m->agcu_turn = (uint32_t)(a - m->agcu) + 1;
	u->at_todo++;
	m->progress = true;
	if (u->p->cfg->kind == RDU_KIND_STORE) {
		activation_of(u, u->activation)->pending++;
		return true;
	}
	/* the vector that is being issued is the ring's last */
	place = (u->first_waiting + u->num_waiting - 1) % u->room_waiting;
	r->waiting[place / 64] |= 1ull << place % 64;
	for (uint32_t i = 0; i < u->num_lines; i++)
		if (u->line[i] == burst)
			u->line_state[i] = slot;
	return true;
}

/* ---- coalescing ---------------------------------------------------------------------- */

static int find_line(const struct unit_program *u, uint64_t burst)
{
	for (uint32_t i = 0; i < u->num_lines; i++)
		if (u->line[i] == burst)
			return (int)i;
	return -1;
}

/* A place for one more burst; what it held is in *old, false: nothing. */
static bool new_line(struct unit_program *u, uint64_t burst, uint32_t *place, uint64_t *old)
{
	bool full = u->num_lines == u->room_lines;

	*place = full ? u->next_line : u->num_lines;
	if (full)
		u->next_line = (u->next_line + 1) % u->room_lines;
	else
		u->num_lines++;
	*old = u->line[*place];
	u->line[*place] = burst;
	return full;
}

/* ---- LOAD ------------------------------------------------------------------------------ */

static void touch_load(struct agcu *a, struct unit_program *u, struct waiting_vector *w,
		       uint32_t place, uint64_t burst)
{
	int line = find_line(u, burst);
	uint32_t at;
	uint64_t old;

	if (line < 0) {
		new_line(u, burst, &at, &old);
		u->line_state[at] = NO_REQUEST - 1; /* about to be asked for, by this vector */
		u->todo[u->num_todo++] = burst;
		w->pending++;
		return;
	}
	if (u->line_state[line] < NO_REQUEST - 1) {
		uint64_t *who = &a->request[u->line_state[line]].waiting[place / 64];

		w->pending += !(*who >> place % 64 & 1);
		*who |= 1ull << place % 64;
	}
}

static bool outside(struct cycle_sim *m, const struct unit_program *u, int64_t element,
		    uint32_t bytes)
{
	const struct rdu_cfg_access *a = u->p->body;

	if (element >= 0 && (uint64_t)(element + 1) * bytes <= m->setup->segments[a->target].size)
		return false;
	cycle_fail(m, "unit program %u: element %lld of segment %u", u->index, (long long)element,
		   a->target);
	return true;
}

static bool start_load(struct cycle_sim *m, struct agcu *agcu, struct unit_program *u)
{
	const struct rdu_cfg_access *a = u->p->body;
	const struct cycle_segment *g = &m->setup->segments[a->target];
	uint32_t bytes = rdu_format_bytes(a->format), lane[RDU_MAX_LANES], n, place;
	int64_t address[RDU_MAX_LANES];
	struct waiting_vector *w;

	if (u->num_waiting == u->room_waiting)
		return false;
	cycle_pop_inputs(m, u);
	place = (u->first_waiting + u->num_waiting++) % u->room_waiting;
	w = &u->waiting[place];
	w->pending = 0;
	w->activation = u->activation;
	w->push = cycle_at_last(u, u->p->cfg->out[0].mask);
	n = cycle_addresses(m, u, m->lanes, a->flags & RDU_ACCESS_GATHER ? u->held[0] : NULL,
			    address, lane);
	for (uint32_t l = 0; l < m->lanes; l++)
		w->data[l] = a->pad;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t from = g->address + (uint64_t)address[i] * bytes;

		if (outside(m, u, address[i], bytes))
			return false;
		if (g->data)
			w->data[lane[i]] = load_element(g->data + address[i] * bytes, a->format);
		if (g->data && !fits(g->data + address[i] * bytes, a->format)) {
			cycle_fail(
				m,
				"unit program %u: element %lld of segment %u does not fit 32 bits",
				u->index, (long long)address[i], a->target);
			return false;
		}
		for (uint64_t b = from / m->s->chip.dram_burst;
		     b <= (from + bytes - 1) / m->s->chip.dram_burst; b++)
			touch_load(agcu, u, w, place, b);
	}
	activation_of(u, u->activation)->pending++;
	return true;
}

static void deliver(struct cycle_sim *m, struct unit_program *u)
{
	struct waiting_vector *w = &u->waiting[u->first_waiting];
	bool last_is_whole = !u->issuing;

	if (!u->num_waiting || w->pending || (u->num_waiting == 1 && !last_is_whole))
		return;
	if (w->push) {
		if (!cycle_room(m, u, 0, 1))
			return;
		cycle_push(m, u, 0, m->now + 1, w->data);
	}
	activation_of(u, w->activation)->pending--;
	u->first_waiting = (u->first_waiting + 1) % u->room_waiting;
	u->num_waiting--;
	m->progress = true;
}

/* ---- STORE ----------------------------------------------------------------------------- */

static void touch_store(struct cycle_sim *m, struct unit_program *u, uint64_t burst, uint32_t bytes)
{
	const struct rdu_cfg_access *a = u->p->body;
	int line = find_line(u, burst);
	uint64_t old;
	uint32_t at;

	if (line < 0) {
		if (new_line(u, burst, &at, &old) && u->line_state[at] < m->s->chip.dram_burst)
			u->todo[u->num_todo++] = old | CYCLE_WRITE;
		if (a->flags & RDU_ACCESS_ADD)
			u->todo[u->num_todo++] = burst;
		u->line_state[at] = 0;
		line = (int)at;
	}
	if (u->line_state[line] >= m->s->chip.dram_burst)
		return; /* written once more in place: it left already */
	u->line_state[line] += bytes;
	if (u->line_state[line] >= m->s->chip.dram_burst)
		u->todo[u->num_todo++] = burst | CYCLE_WRITE;
}

static bool start_store(struct cycle_sim *m, struct unit_program *u)
{
	const struct rdu_cfg_access *a = u->p->body;
	const struct cycle_segment *g = &m->setup->segments[a->target];
	uint32_t bytes = rdu_format_bytes(a->format), lane[RDU_MAX_LANES], n;
	int64_t address[RDU_MAX_LANES];

	cycle_pop_inputs(m, u);
	n = cycle_addresses(m, u, m->lanes, a->flags & RDU_ACCESS_GATHER ? u->held[1] : NULL,
			    address, lane);
	for (uint32_t i = 0; i < n; i++) {
		uint64_t from = g->address + (uint64_t)address[i] * bytes;
		unsigned char *to = g->data + address[i] * bytes;
		uint32_t v = u->held[0][lane[i]];

		if (outside(m, u, address[i], bytes))
			return false;
		if (g->data && a->flags & RDU_ACCESS_ADD)
			v = rdu_simd_scalar(RDU_SIMD_FADD, load_element(to, a->format), v, 0);
		if (!holds(a->format, v)) {
			cycle_fail(m, "unit program %u: element %lld of segment %u cannot be %d",
				   u->index, (long long)address[i], a->target, (int32_t)v);
			return false;
		}
		if (g->data)
			store_element(to, a->format, v);
		for (uint64_t b = from / m->s->chip.dram_burst;
		     b <= (from + bytes - 1) / m->s->chip.dram_burst; b++)
			touch_store(m, u, b, bytes);
	}
	if (u->iteration + 1 < u->p->iterations)
		return true;
	for (uint32_t i = 0; i < u->num_lines; i++)
		if (u->line_state[i] < m->s->chip.dram_burst)
			u->todo[u->num_todo++] = u->line[i] | CYCLE_WRITE;
	return true;
}

/* ---- a cycle ---------------------------------------------------------------------------- */

/* Works on u's vector; false: there is nothing it can do now. */
static bool work(struct cycle_sim *m, struct agcu *a, struct unit_program *u)
{
	uint32_t budget = m->lanes * 4 / m->s->chip.dram_burst;
	bool did = false;

	if (!u->issuing) {
		if (!cycle_may_start(m, u) || !cycle_inputs_there(m, u))
			return false;
		u->num_todo = u->at_todo = 0;
		if (!(u->p->cfg->kind == RDU_KIND_LOAD ? start_load(m, a, u) : start_store(m, u)))
			return false;
		u->issuing = did = true;
	}
	for (budget = budget ? budget : 1; budget && u->at_todo < u->num_todo; budget--) {
		if (!request(m, a, u))
			break;
		did = true;
	}
	if (u->at_todo == u->num_todo) {
		u->issuing = false;
		cycle_advance(m, u, m->now + 1);
	}
	return did;
}

void cycle_step_agcu(struct cycle_sim *m, struct agcu *a)
{
	for (uint32_t k = 0; k < a->num; k++) {
		struct unit_program *u = &m->prog[a->program[k]];

		if (u->p->cfg->kind == RDU_KIND_LOAD)
			deliver(m, u);
	}
	for (uint32_t k = 0; k < a->num; k++) {
		uint32_t at = (a->turn + k) % a->num;

		if (!work(m, a, &m->prog[a->program[at]]))
			continue;
		a->turn = at + 1;
		return;
	}
}
