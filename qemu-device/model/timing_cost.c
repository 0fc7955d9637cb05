// SPDX-License-Identifier: MIT
/*
 * What one activation of a stage costs when it is alone on the chip
 * (Documentation/timing.md gives the formulas with their reasons).
 *
 * Bursts are counted iteration by iteration; activations that differ by whole bursts
 * only are counted once. Bank conflicts are sampled, at places chosen by position only,
 * so equal programs cost the same.
 */
#include <stdlib.h>
#include <string.h>
#include "timing_priv.h"

#define WINDOWS 4 /* places in a program that are sampled for bank conflicts */
#define GATHER_SEED 0x9e3779b97f4a7c15ULL

/* Counter values at iteration `it` of activation `act`. */
static void counters_at(const struct rdu_unit_prog *p, uint64_t act, uint64_t it, int64_t *value)
{
	unsigned int i = p->cfg->num_counters;

	while (i--) {
		uint64_t *n = i < p->cfg->num_outer ? &act : &it;
		uint64_t k = *n % p->trip[i];

		*n /= p->trip[i];
		value[i] = p->cfg->counter[i].start + (int64_t)k * p->cfg->counter[i].step;
	}
}

int64_t rdu_gather_guess(const struct rdu_cfg_access *a, uint64_t *random)
{
	*random = *random * 6364136223846793005ULL + 1442695040888963407ULL;
	return (int64_t)((*random >> 40) * (uint64_t)(a->index_stride ? a->index_stride : 1));
}

/* Addresses of the active lanes at one iteration; returns how many. */
static unsigned int lane_addresses(const struct rdu_unit_prog *p, const int64_t *value,
				   unsigned int lanes, uint64_t random, int64_t *addr)
{
	const struct rdu_cfg_access *a = p->body;
	bool each = a->flags & RDU_ACCESS_GATHER && !(a->flags & RDU_ACCESS_ONE_INDEX);
	int64_t base = a->base, pred[RDU_MAX_PREDS] = { 0 };
	unsigned int l, i, k, n = 0;

	for (i = 0; i < p->cfg->num_counters; i++) {
		base = (int64_t)((uint64_t)base + (uint64_t)a->stride[i] * (uint64_t)value[i]);
		for (k = 0; k < a->num_preds; k++)
			pred[k] += a->pred[k].stride[i] * value[i];
	}
	if (a->flags & RDU_ACCESS_ONE_INDEX)
		base = (int64_t)((uint64_t)base + (uint64_t)rdu_gather_guess(a, &random));
	if (lanes > a->lanes)
		lanes = a->lanes;
	for (l = 0; l < lanes; l++) {
		for (k = 0; k < a->num_preds; k++) {
			int64_t e = a->pred[k].base + pred[k] + (int64_t)a->pred[k].lane_stride * l;

			if (e < a->pred[k].lo || e >= a->pred[k].hi)
				break;
		}
		if (k < a->num_preds)
			continue;
		addr[n] = (int64_t)((uint64_t)base + (uint64_t)a->lane_stride * l);
		if (each) {
			addr[n] = (int64_t)((uint64_t)addr[n] +
					    (uint64_t)rdu_gather_guess(a, &random));
		}
		n++;
	}
	return n;
}

static uint64_t window_start(uint64_t n, unsigned int w, uint64_t len)
{
	return n <= len ? 0 : (n - len) / (WINDOWS - 1) * w;
}

/* Most words that fall on one bank; lanes on one word share it. */
static unsigned int worst_bank(int64_t *addr, unsigned int n, unsigned int banks)
{
	unsigned int i, k, m, most = 1, bank[RDU_MAX_LANES];

	for (i = 0; i < n; i++) {
		bank[i] = (unsigned int)((uint64_t)addr[i] % banks);
		for (k = 0, m = 1; k < i; k++) {
			if (addr[k] == addr[i])
				break;
			m += bank[k] == bank[i];
		}
		if (k < i)
			continue;
		/* Earlier lanes may hold the same word as one another: they were
		 * counted once each. Only a gather can do that. */
		if (m > most)
			most = m;
	}
	return most;
}

double rdu_bank_cycles(const struct rdu_section *s, uint32_t program)
{
	const struct rdu_unit_prog *p = &s->progs[program];
	const struct rdu_cfg_access *a = p->body;
	uint64_t samples = 0, sum = 0, it;
	int64_t value[RDU_MAX_COUNTERS], addr[RDU_MAX_LANES];
	unsigned int w, k, n, lanes = s->chip.lanes;

	lanes = rdu_pack_words(a, lanes);
	for (w = 0; w < WINDOWS; w++) {
		uint64_t act = window_start(p->activations, w, 1);

		it = window_start(p->iterations, w, 4);
		for (k = 0; k < 4 && it + k < p->iterations; k++) {
			counters_at(p, act, it + k, value);
			n = lane_addresses(p, value, lanes, GATHER_SEED * (w * 4 + k + 1), addr);
			sum += worst_bank(addr, n, s->chip.pmu_banks);
			samples++;
		}
	}
	if (!samples)
		return 1;
	/* An add reads the word before it writes it. */
	return (double)sum / (double)samples * (a->flags & RDU_ACCESS_ADD ? 2 : 1);
}

uint32_t rdu_bank_lanes(const struct rdu_section *s, const struct rdu_cfg_access *a, unsigned int n)
{
	uint64_t stride = (uint64_t)(a->lane_stride < 0 ? -a->lane_stride : a->lane_stride);
	uint64_t common = s->chip.pmu_banks, t = stride, r, places, cycles = 1;

	while (t) {
		r = common % t;
		common = t;
		t = r;
	}
	places = s->chip.pmu_banks / common; /* banks that lanes fall on, one after another */
	if (stride && n > places) /* no two lanes hold the same word */
		cycles = (n + places - 1) / places;
	return (uint32_t)(a->flags & RDU_ACCESS_ADD ? 2 * cycles : cycles);
}

/* ---- bursts ------------------------------------------------------------------ */

#define BUCKETS 256

/* The bursts an AGCU holds, any address in any place, the oldest leaving first. */
struct burst_buffer {
	uint64_t line[RDU_MAX_AGCU_LINES];
	unsigned int room, num, next; /* room: the chip's agcu_lines */
	uint8_t count[BUCKETS], last[BUCKETS]; /* lines of a bucket, and the newest of them */
};

static void burst_clear(struct burst_buffer *bb)
{
	bb->num = bb->next = 0;
	memset(bb->count, 0, sizeof(bb->count));
}

static bool burst_held(const struct burst_buffer *bb, uint64_t burst)
{
	unsigned int bucket = burst % BUCKETS, i;

	if (!bb->count[bucket])
		return false;
	if (bb->line[bb->last[bucket]] == burst)
		return true;
	for (i = 0; bb->count[bucket] > 1 && i < bb->num; i++)
		if (bb->line[i] == burst)
			return true;
	return false;
}

/* 1 if the burst is not among the last agcu_lines. */
static unsigned int burst_touch(struct burst_buffer *bb, uint64_t burst)
{
	unsigned int bucket = burst % BUCKETS;

	if (burst_held(bb, burst))
		return 0;
	if (bb->num == bb->room)
		bb->count[bb->line[bb->next] % BUCKETS]--;
	else
		bb->num++;
	bb->line[bb->next] = burst;
	bb->count[bucket]++;
	bb->last[bucket] = (uint8_t)bb->next;
	bb->next = (bb->next + 1) % bb->room;
	return 1;
}

/* Bursts of n addresses of elements, those of one vector. */
static unsigned int bursts_of(struct burst_buffer *bb, const int64_t *addr, unsigned int n,
			      unsigned int bytes, unsigned int shift)
{
	unsigned int l, num = 0;
	uint64_t before = UINT64_MAX;

	for (l = 0; l < n; l++) {
		uint64_t at = (uint64_t)addr[l] * bytes;
		uint64_t b = at >> shift, last = (at + bytes - 1) >> shift;

		for (; b <= last; b++) {
			if (b != before)
				num += burst_touch(bb, b);
			before = b;
		}
	}
	return num;
}

/*
 * Bursts of an activation, iteration by iteration. It starts with an empty buffer, as
 * what it reads may have been stored meanwhile. Indices of a gather: see lane_addresses().
 */
static uint64_t activation_bursts(const struct rdu_section *s, const struct rdu_unit_prog *p,
				  uint64_t activation, uint64_t from, uint64_t to,
				  unsigned int shift)
{
	const struct rdu_cfg_access *a = p->body;
	unsigned int bytes = rdu_format_bytes(a->format), lanes = s->chip.lanes;
	int64_t value[RDU_MAX_COUNTERS], addr[RDU_MAX_LANES];
	bool whole = !a->num_preds && !(a->flags & RDU_ACCESS_GATHER) && a->lane_stride == 1;
	struct burst_buffer bb;
	uint64_t it, bursts = 0;

	if (lanes > a->lanes)
		lanes = a->lanes;
	bb.room = s->chip.agcu_lines;
	burst_clear(&bb);
	for (it = from; it < to; it++) {
		uint64_t seed = GATHER_SEED * (activation * p->iterations + it + 1), b, last;

		counters_at(p, activation, it, value);
		if (!whole) {
			unsigned int n = lane_addresses(p, value, lanes, seed, addr);

			bursts += bursts_of(&bb, addr, n, bytes, shift);
			continue;
		}
		lane_addresses(p, value, 1, 0, addr);
		b = (uint64_t)addr[0] * bytes;
		last = (b + (uint64_t)lanes * bytes - 1) >> shift;
		for (b >>= shift; b <= last; b++)
			bursts += burst_touch(&bb, b);
	}
	return bursts;
}

/* What bursts of an activation depend on: where its first element lies in a burst, and
 * where its predicates start. */
struct burst_key {
	uint64_t offset;
	int64_t pred[RDU_MAX_PREDS];
};

/* False: a predicate never holds, nothing is touched. */
static bool burst_key_of(const struct rdu_unit_prog *p, uint64_t activation, uint64_t burst,
			 struct burst_key *key)
{
	const struct rdu_cfg_access *a = p->body;
	int64_t value[RDU_MAX_COUNTERS];
	uint64_t at = (uint64_t)a->base;
	unsigned int i, k;

	memset(key, 0, sizeof(*key));
	counters_at(p, activation, 0, value);
	for (i = 0; i < p->cfg->num_counters; i++)
		at += (uint64_t)a->stride[i] * (uint64_t)value[i];
	key->offset = at * rdu_format_bytes(a->format) % burst;
	for (k = 0; k < a->num_preds; k++) {
		int64_t first = a->pred[k].base, lo, hi, far;

		for (i = 0; i < p->cfg->num_counters; i++)
			first += a->pred[k].stride[i] * value[i];
		lo = hi = first;
		for (i = p->cfg->num_outer; i < p->cfg->num_counters; i++) {
			far = (int64_t)(p->trip[i] - 1) * p->cfg->counter[i].step *
			      a->pred[k].stride[i];
			*(far < 0 ? &lo : &hi) += far;
		}
		far = (int64_t)a->pred[k].lane_stride * (a->lanes - 1);
		*(far < 0 ? &lo : &hi) += far;
		if (hi < a->pred[k].lo || lo >= a->pred[k].hi)
			return false;
		/* One that always holds starts anywhere. */
		key->pred[k] = lo >= a->pred[k].lo && hi < a->pred[k].hi ? INT64_MIN : first;
	}
	return true;
}

#define KEYS 1024 /* kept of one program; a power of two */
#define BURST_VECTORS (1u << 22) /* vectors of one program that are looked at, */
#define ALL_VECTORS (1u << 26) /* and of all of them */

struct burst_memo {
	struct burst_key key[KEYS];
	uint64_t bursts[KEYS];
	bool used[KEYS];
};

static unsigned int memo_place(const struct burst_memo *m, const struct burst_key *key)
{
	uint64_t hash = key->offset * GATHER_SEED;
	unsigned int i, k;

	for (k = 0; k < RDU_MAX_PREDS; k++)
		hash = (hash ^ (uint64_t)key->pred[k]) * GATHER_SEED;
	i = (unsigned int)(hash >> 40) % KEYS;
	for (k = 0; k < 8 && m->used[i]; k++, i = (i + 1) % KEYS)
		if (!memcmp(&m->key[i], key, sizeof(*key)))
			return i;
	return i;
}

/*
 * Bursts of all activations: every iteration of those that differ. What would take too
 * long to look at, more than BURST_VECTORS vectors, is taken to go on as it began; so
 * are the vectors of a gather, whose indices are data.
 */
static int count_bursts(const struct rdu_section *s, const struct rdu_unit_prog *p, uint64_t budget,
			double *bursts)
{
	const struct rdu_cfg_access *a = p->body;
	bool gather = a->flags & RDU_ACCESS_GATHER;
	uint64_t act, sum = 0;
	struct burst_memo *memo = calloc(1, sizeof(*memo));
	unsigned int shift = 0;

	if (!memo)
		return -1;
	budget = gather ? 256 : budget;
	while (1u << shift < s->chip.dram_burst)
		shift++;
	if (p->iterations > budget) {
		sum = activation_bursts(s, p, 0, 0, budget, shift);
		*bursts = (double)sum * (double)p->iterations / (double)budget *
			  (double)p->activations;
		free(memo);
		return 0;
	}
	for (act = 0; act < p->activations && budget; act++) {
		struct burst_key key;
		unsigned int i;

		budget--;
		if (!burst_key_of(p, act, s->chip.dram_burst, &key))
			continue;
		i = memo_place(memo, &key);
		if (gather || !memo->used[i] || memcmp(&memo->key[i], &key, sizeof(key))) {
			if (budget < p->iterations)
				break;
			budget -= p->iterations;
			memo->bursts[i] = activation_bursts(s, p, act, 0, p->iterations, shift);
			memo->key[i] = key;
			memo->used[i] = true;
		}
		sum += memo->bursts[i];
	}
	*bursts = act ? (double)sum * (double)p->activations / (double)act : 0;
	free(memo);
	return 0;
}

static uint64_t ceil_u64(double x)
{
	uint64_t n = (uint64_t)x;

	return n + ((double)n < x);
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* ---- bodies ------------------------------------------------------------------ */

static unsigned int log2_up(unsigned int n)
{
	unsigned int k = 0;

	while (1u << k < n)
		k++;
	return k;
}

static unsigned int op_flops(unsigned int op)
{
	switch (op) {
	case RDU_SIMD_FMA:
		return 2;
	case RDU_SIMD_FADD:
	case RDU_SIMD_FSUB:
	case RDU_SIMD_FMUL:
	case RDU_SIMD_FMAX:
	case RDU_SIMD_FMIN:
	case RDU_SIMD_RED_FADD:
	case RDU_SIMD_RED_FMAX:
	case RDU_SIMD_RED_FMIN:
		return 1;
	}
	return op >= RDU_SIMD_EXP && op <= RDU_SIMD_COS;
}

static uint64_t stages_latency(const struct rdu_chip *chip, const struct rdu_cfg_stage *st,
			       unsigned int n)
{
	uint64_t cycles = 0;
	unsigned int i;

	for (i = 0; i < n; i++) {
		bool tree = st[i].op >= RDU_SIMD_RED_FADD && st[i].op <= RDU_SIMD_RED_IADD;

		cycles += (uint64_t)chip->stage_cycles * (tree ? log2_up(chip->lanes) : 1);
	}
	return cycles;
}

static void cost_simd(const struct rdu_chip *chip, const struct rdu_unit_prog *p,
		      struct rdu_prog_cost *c)
{
	const struct rdu_cfg_simd *b = p->body;
	unsigned int i, n = b->num_stages + b->num_tail;
	uint64_t flops = 0;

	for (i = 0; i < n; i++)
		flops += op_flops(b->stage[i].op);
	c->busy = p->iterations;
	c->bound = RDU_BOUND_COMPUTE;
	for (i = 0; i < p->cfg->num_out; i++) {
		if (p->pushes[i] > c->busy) {
			c->busy = p->pushes[i];
			c->bound = RDU_BOUND_PORT;
		}
	}
	c->latency = stages_latency(chip, b->stage, n) + 1;
	c->flops = flops * p->iterations * chip->lanes;
}

static void cost_systolic(const struct rdu_chip *chip, const struct rdu_unit_prog *p,
			  struct rdu_prog_cost *c)
{
	const struct rdu_cfg_systolic *b = p->body;
	uint64_t drain = p->drains * b->cols, i;

	/* Two cycles a step; draining, and taking starting values, overlap the
	 * steps of the next contraction unless that is shorter. */
	c->busy = 2 * p->iterations;
	c->bound = RDU_BOUND_COMPUTE;
	for (i = 0; i < p->cfg->num_in; i++)
		drain = max_u64(drain, p->pops[i]);
	if (drain > c->busy) {
		c->busy = drain;
		c->bound = RDU_BOUND_PORT;
	}
	/* The wave crosses the array, the last result drains. */
	c->latency = chip->lanes + b->cols + stages_latency(chip, b->tail, b->num_tail);
	c->macs = p->iterations * chip->lanes * b->cols * (b->mode == RDU_SYS_BF16 ? 2 : 4);
	c->flops = 0;
}

static void cost_pmu(const struct rdu_section *s, uint32_t i, const struct rdu_unit_prog *p,
		     struct rdu_prog_cost *c)
{
	const struct rdu_cfg_access *a = p->body;
	double factor = rdu_bank_cycles(s, i);
	uint64_t accesses = p->iterations;

	if (p->cfg->kind == RDU_KIND_WRITE)
		accesses = (accesses + rdu_pack_vectors(a) - 1) / rdu_pack_vectors(a);
	c->vectors = ceil_u64((double)accesses * factor);
	c->busy = max_u64(p->iterations, c->vectors);
	c->bound = c->vectors > p->iterations ? RDU_BOUND_BANK : RDU_BOUND_PORT;
	c->latency = s->chip.pmu_cycles;
}

static int cost_agcu(const struct rdu_section *s, const struct rdu_unit_prog *p, uint64_t vectors,
		     struct rdu_prog_cost *c)
{
	const struct rdu_cfg_access *a = p->body;
	double all, each;
	uint64_t bursts;

	if (count_bursts(s, p, vectors, &all))
		return -1;
	if (a->flags & RDU_ACCESS_ADD)
		all *= 2; /* read, then written */
	c->all_bytes = ceil_u64(all) * s->chip.dram_burst;
	bursts = ceil_u64(all / (double)p->activations);
	c->bytes = bursts * s->chip.dram_burst;
	/* A vector a cycle; what touches several bursts takes one a cycle, unless
	 * the vector itself spans them. */
	c->vectors = p->iterations;
	each = (double)s->chip.lanes * 4 / s->chip.dram_burst;
	if (each < 1)
		each = 1;
	c->busy = max_u64(p->iterations, ceil_u64((double)bursts / each));
	c->bound = c->busy > p->iterations ? RDU_BOUND_DRAM : RDU_BOUND_PORT;
	c->vectors = c->busy;
	c->latency = s->chip.dram_latency;
	return 0;
}

static uint32_t shared_unit(const struct rdu_chip *chip, const struct rdu_cfg_program *c)
{
	unsigned int pmus = rdu_chip_pmus_per_tile(chip), per = 2 * pmus + chip->agcus_per_tile;

	switch (c->kind) {
	case RDU_KIND_READ:
		return c->tile * per + c->unit;
	case RDU_KIND_WRITE:
		return c->tile * per + pmus + c->unit;
	case RDU_KIND_LOAD:
	case RDU_KIND_STORE:
		return c->tile * per + 2 * pmus + c->unit;
	}
	return ~0u;
}

/* ---- stages ------------------------------------------------------------------ */

static uint64_t hops(const struct rdu_section *s, const struct rdu_cfg_program *a,
		     const struct rdu_cfg_program *b)
{
	unsigned int x0, y0, x1, y1;

	rdu_chip_unit_xy(&s->chip, rdu_kind_unit(a->kind), a->unit, &x0, &y0);
	rdu_chip_unit_xy(&s->chip, rdu_kind_unit(b->kind), b->unit, &x1, &y1);
	y0 += a->tile * s->chip.tile_rows;
	y1 += b->tile * s->chip.tile_rows;
	return (uint64_t)(x0 > x1 ? x0 - x1 : x1 - x0) + (y0 > y1 ? y0 - y1 : y1 - y0) + 1;
}

/* Iterations up to and with the first one where `mask` is at last. */
static uint64_t until_push(const struct rdu_unit_prog *p, uint32_t mask)
{
	uint64_t n = 1, inner = 1;
	unsigned int i = p->cfg->num_counters;

	while (i-- > p->cfg->num_outer) {
		if (mask >> i & 1)
			n += (p->trip[i] - 1) * inner;
		inner *= p->trip[i];
	}
	return n;
}

/* Iterations from the last one where `mask` is at first to the end. */
static uint64_t after_pop(const struct rdu_unit_prog *p, uint32_t mask)
{
	uint64_t index = 0, inner = 1;
	unsigned int i = p->cfg->num_counters;

	while (i-- > p->cfg->num_outer) {
		if (!(mask >> i & 1))
			index += (p->trip[i] - 1) * inner;
		inner *= p->trip[i];
	}
	return p->iterations - index;
}

static uint64_t share(uint64_t busy, uint64_t part, uint64_t whole)
{
	return whole ? (uint64_t)((unsigned __int128)busy * part / whole) : 0;
}

/*
 * From the start of an activation to its last result: the longest way through
 * the stage's programs, producers first. A program can't end before its work is
 * done, nor before it has worked off the last vector it was given.
 */
static uint64_t stage_span(const struct rdu_section *s, const struct rdu_costs *c,
			   const struct rdu_stage *st, uint64_t *first, uint64_t *end)
{
	uint64_t span = 0;
	uint32_t k;

	for (k = 0; k < st->num; k++) {
		uint32_t i = s->order[st->first + k];
		const struct rdu_unit_prog *p = &s->progs[i];
		const struct rdu_prog_cost *pc = &c->prog[i];
		uint64_t start = 0, last = 0;
		unsigned int port;

		for (port = 0; port < p->cfg->num_in; port++) {
			const struct rdu_cfg_stream *from = &s->streams[p->cfg->in[port].stream];
			const struct rdu_unit_prog *q = &s->progs[from->program];
			const struct rdu_prog_cost *qc = &c->prog[from->program];
			uint64_t hop = hops(s, q->cfg, p->cfg) * s->chip.hop_cycles;
			uint64_t at = first[from->program] + hop +
				      share(qc->busy, until_push(q, q->cfg->out[from->port].mask),
					    q->iterations) +
				      qc->latency;

			start = max_u64(start, at);
			last = max_u64(last,
				       end[from->program] + hop + pc->latency +
					       share(pc->busy, after_pop(p, p->cfg->in[port].mask),
						     p->iterations));
		}
		first[i] = start;
		end[i] = max_u64(start + pc->busy + pc->latency, last);
		span = max_u64(span, end[i]);
	}
	return span;
}

static int by_unit(const void *a, const void *b)
{
	const struct rdu_unit_use *x = a, *y = b;

	return x->unit < y->unit ? -1 : x->unit > y->unit;
}

/* Resources this stage uses, summed; those it alone uses bound it at once. */
static void stage_uses(const struct rdu_section *s, struct rdu_costs *c, const struct rdu_stage *st,
		       struct rdu_stage_cost *sc, struct rdu_unit_use *use)
{
	uint32_t k, n = 0, m = 0;

	for (k = 0; k < st->num; k++) {
		uint32_t i = s->order[st->first + k];

		if (c->prog[i].unit != ~0u)
			use[n++] = (struct rdu_unit_use){ c->prog[i].unit, c->prog[i].vectors };
	}
	qsort(use, n, sizeof(*use), by_unit);
	for (k = 0; k < n; k++) {
		if (m && use[m - 1].unit == use[k].unit)
			use[m - 1].vectors += use[k].vectors;
		else
			use[m++] = use[k];
	}
	sc->num_uses = m;
	for (k = 0; k < m; k++) {
		if (use[k].vectors > sc->issue) {
			sc->issue = use[k].vectors;
			sc->bound = RDU_BOUND_PORT;
		}
	}
}

/* Cycles that card memory or the host link, whichever has more to do, takes for the stage. */
static uint64_t stage_off_chip(const struct rdu_section *s, const struct rdu_costs *c,
			       const struct rdu_offchip *off, const struct rdu_stage *st,
			       enum rdu_bound *bound)
{
	uint64_t bytes = 0, linked[2] = { 0 }, dram, link;

	for (uint32_t k = 0; k < st->num; k++) {
		uint32_t i = s->order[st->first + k];
		const struct rdu_cfg_access *a = s->progs[i].body;
		uint8_t kind = s->progs[i].cfg->kind;

		if (kind >= RDU_KIND_LOAD && rdu_in_host(off, a->target))
			linked[kind == RDU_KIND_STORE] += c->prog[i].bytes;
		else
			bytes += c->prog[i].bytes;
	}
	link = linked[0] > linked[1] ? linked[0] : linked[1];
	dram = ceil_u64((double)bytes / c->dram_rate);
	link = ceil_u64((double)link / c->host_rate);
	*bound = link > dram ? RDU_BOUND_HOST : RDU_BOUND_DRAM;
	return link > dram ? link : dram;
}

static void cost_stage(const struct rdu_section *s, struct rdu_costs *c,
		       const struct rdu_offchip *off, uint32_t index, uint64_t *first,
		       uint64_t *end)
{
	const struct rdu_stage *st = &s->stages[index];
	struct rdu_stage_cost *sc = &c->stage[index];
	enum rdu_bound bound;
	uint64_t span, off_chip;
	uint32_t k;

	sc->program = s->order[st->first];
	for (k = 0; k < st->num; k++) {
		uint32_t i = s->order[st->first + k];

		if (c->prog[i].busy > sc->issue) {
			sc->issue = c->prog[i].busy;
			sc->bound = c->prog[i].bound;
			sc->program = i;
		}
		sc->bytes += c->prog[i].bytes;
	}
	/* At equal pace a PCU is what one would name. */
	for (k = 0; k < st->num; k++) {
		uint32_t i = s->order[st->first + k];

		if (c->prog[i].busy == sc->issue && c->prog[i].bound == RDU_BOUND_COMPUTE &&
		    sc->bound == RDU_BOUND_PORT) {
			sc->bound = RDU_BOUND_COMPUTE;
			sc->program = i;
		}
	}
	sc->first_use = st->first;
	span = stage_span(s, c, st, first, end);
	sc->fill = span > sc->issue ? span - sc->issue : 0;
	stage_uses(s, c, st, sc, c->uses + st->first);
	off_chip = stage_off_chip(s, c, off, st, &bound);
	if (off_chip > sc->issue) {
		sc->issue = off_chip;
		sc->bound = bound;
		for (k = 0; k < st->num; k++) {
			uint32_t i = s->order[st->first + k];

			if (c->prog[i].bytes > c->prog[sc->program].bytes)
				sc->program = i;
		}
	}
	if (!sc->issue)
		sc->issue = 1;
}

/* Drops uses of resources that only one stage has: they are in `issue`. */
static int drop_private_uses(const struct rdu_section *s, struct rdu_costs *c)
{
	uint32_t *users = calloc(c->num_units + 1, sizeof(*users)), i, k, m;

	if (!users)
		return -1;
	for (i = 0; i < s->num_stages; i++)
		for (k = 0; k < c->stage[i].num_uses; k++)
			users[c->uses[c->stage[i].first_use + k].unit]++;
	for (i = 0; i < s->num_stages; i++) {
		struct rdu_unit_use *use = c->uses + c->stage[i].first_use;

		for (k = m = 0; k < c->stage[i].num_uses; k++)
			if (users[use[k].unit] > 1)
				use[m++] = use[k];
		c->stage[i].num_uses = m;
	}
	free(users);
	return 0;
}

int rdu_costs_find(const struct rdu_section *s, const struct rdu_offchip *off, struct rdu_costs *c)
{
	uint32_t n = s->hdr->programs.count, agcus = 0, i;
	uint64_t vectors;
	double part; /* of the off-chip memory, by kHz */
	unsigned int pmus = rdu_chip_pmus_per_tile(&s->chip);
	uint64_t *first = calloc(n + 1, sizeof(*first)), *end = calloc(n + 1, sizeof(*end));

	memset(c, 0, sizeof(*c));
	c->prog = calloc(n + 1, sizeof(*c->prog));
	c->stage = calloc(s->num_stages + 1, sizeof(*c->stage));
	c->uses = calloc(n + 1, sizeof(*c->uses));
	c->num_units = s->hdr->num_tiles * (2 * pmus + s->chip.agcus_per_tile);
	part = (double)(RDU_PARTS - off->others) / RDU_PARTS / (double)s->chip.clock_khz;
	c->dram_rate = s->chip.dram_mbps * 1e3 * part;
	c->host_rate = s->chip.host_mbps * 1e3 * part;
	if (!first || !end || !c->prog || !c->stage || !c->uses)
		goto fail;
	for (i = 0; i < n; i++)
		agcus += s->progs[i].cfg->kind >= RDU_KIND_LOAD;
	vectors = ALL_VECTORS / (agcus ? agcus : 1);
	vectors = vectors < BURST_VECTORS ? vectors : BURST_VECTORS;
	for (i = 0; i < n; i++) {
		const struct rdu_unit_prog *p = &s->progs[i];
		struct rdu_prog_cost *pc = &c->prog[i];

		pc->unit = shared_unit(&s->chip, p->cfg);
		switch (p->cfg->kind) {
		case RDU_KIND_SIMD:
			cost_simd(&s->chip, p, pc);
			break;
		case RDU_KIND_SYSTOLIC:
			cost_systolic(&s->chip, p, pc);
			break;
		case RDU_KIND_READ:
		case RDU_KIND_WRITE:
			cost_pmu(s, i, p, pc);
			break;
		default:
			if (cost_agcu(s, p, vectors, pc))
				goto fail;
			break;
		}
	}
	for (i = 0; i < s->num_stages; i++)
		cost_stage(s, c, off, i, first, end);
	if (drop_private_uses(s, c))
		goto fail;
	free(first);
	free(end);
	return 0;
fail:
	free(first);
	free(end);
	rdu_costs_free(c);
	return -1;
}

void rdu_costs_free(struct rdu_costs *c)
{
	free(c->prog);
	free(c->stage);
	free(c->uses);
	memset(c, 0, sizeof(*c));
}
