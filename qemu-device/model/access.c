// SPDX-License-Identifier: MIT
/*
 * Reading and writing scratchpads and segments by affine patterns. Work is done
 * for runs of the innermost loop: one copy for all of it where that is
 * contiguous, one range of lanes a vector where there are predicates.
 */
#include <math.h>
#include <string.h>
#include "execute.h"
#include "numerics.h"

#define RUN_MAX 32 /* vectors looked at together where predicates may cut a run */

bool rdu_trouble(struct fab_fault *fault, enum rdu_fault code, uint32_t program, uint64_t addr)
{
	fault->code = code;
	fault->info = 0;
	fault->addr = addr;
	fault->program = program;
	return false;
}

void rdu_access_place(struct access_run *r, const struct access_plan *plan, uint64_t activation)
{
	const struct access_loop *outer = rdu_outer_loops(plan);
	uint64_t a = activation;

	r->plan = plan;
	r->addr = plan->base;
	for (uint32_t i = 0; i < plan->num_preds; i++)
		r->pred[i] = plan->pred[i].base;
	for (int i = (int)plan->num_outer - 1; a && i >= 0; i--) {
		int64_t at = (int64_t)(a % outer[i].trip);

		a /= outer[i].trip;
		r->addr += at * outer[i].stride;
		for (uint32_t p = 0; p < plan->num_preds; p++)
			r->pred[p] += at * plan->outer_pred[p][i];
	}
	memset(r->at, 0, sizeof(r->at));
}

bool rdu_access_bind(struct access_run *r, const struct access_plan *plan,
		     const struct fab_run *run, uint64_t activation, uint32_t copy,
		     struct fab_fault *fault)
{
	rdu_access_place(r, plan, activation);
	r->fault = fault;
	if (plan->pmu) {
		uint32_t *scratch = run->scratch[plan->memory];

		if (!scratch)
			return rdu_trouble(fault, RDU_FAULT_INTERNAL, plan->program, 0);
		if (plan->copies > 1)
			scratch += (plan->copy_start + copy) % plan->copies * plan->limit;
		r->ptr = (unsigned char *)(scratch + plan->start);
		r->limit = plan->limit;
		r->check = !plan->inside;
	} else {
		const struct rdu_segment *g = &run->segments[plan->memory];

		if (plan->store && !g->write)
			return rdu_trouble(fault, RDU_FAULT_PROTECTION, plan->program, 0);
		r->ptr = g->ptr;
		r->limit = g->size / plan->elem;
		r->check = plan->limit > r->limit;
	}
	r->word = plan->format == RDU_FMT_WORD && !((uintptr_t)r->ptr & 3);
	return true;
}

bool rdu_access_start(struct access_run *r, const struct access_plan *plan,
		      const struct fab_run *run, uint64_t activation, uint32_t copy,
		      struct fab_fault *fault)
{
	if (!rdu_access_bind(r, plan, run, activation, copy, fault))
		return false;
	r->vectors.table = NULL;
	if (plan->vectors && (r->word || plan->format != RDU_FMT_WORD)) {
		bool from_base = rdu_vectors_start(&r->vectors, plan->vectors, activation);
		int64_t start = from_base ? plan->base : r->addr;

		r->start = (void *)((uintptr_t)r->ptr + (uintptr_t)start * plan->elem);
		if (r->vectors.table && !rdu_vectors_inside(&r->vectors, 0, start, r->limit))
			r->vectors.table = NULL;
	}
	return true;
}

void rdu_access_seek(struct access_run *r, uint64_t n)
{
	const struct access_plan *p = r->plan;

	if (r->vectors.table) {
		r->vectors.pos = n % r->vectors.num;
		return;
	}
	for (int i = (int)p->num - 1; i >= 0; i--) {
		uint64_t at = n % p->loop[i].trip;
		int64_t d = (int64_t)(at - r->at[i]);

		n /= p->loop[i].trip;
		r->addr += d * p->loop[i].stride;
		for (uint32_t k = 0; k < p->num_preds; k++)
			r->pred[k] += d * p->pred_stride[k][i];
		r->at[i] = at;
	}
}

/* n steps of the innermost loop, no further than its end. */
static void advance(struct access_run *r, uint64_t n)
{
	const struct access_plan *p = r->plan;
	uint32_t i = p->num - 1;

	r->at[i] += n;
	r->addr += (int64_t)n * p->loop[i].stride;
	for (uint32_t k = 0; k < p->num_preds; k++)
		r->pred[k] += (int64_t)n * p->pred_stride[k][i];
	while (r->at[i] == p->loop[i].trip) {
		int64_t back = (int64_t)p->loop[i].trip;

		r->at[i] = 0;
		r->addr -= back * p->loop[i].stride;
		for (uint32_t k = 0; k < p->num_preds; k++)
			r->pred[k] -= back * p->pred_stride[k][i];
		if (!i)
			return;
		i--;
		r->at[i]++;
		r->addr += p->loop[i].stride;
		for (uint32_t k = 0; k < p->num_preds; k++)
			r->pred[k] += p->pred_stride[k][i];
	}
}

/* n vectors on, over any loops; wraps after the last. */
static void skip(struct access_run *r, uint64_t n)
{
	const struct access_plan *p = r->plan;

	for (int i = (int)p->num - 1; n && i >= 0; i--) {
		uint64_t at = r->at[i] + n;
		int64_t d;

		n = 0;
		if (at >= p->loop[i].trip) {
			n = at / p->loop[i].trip;
			at -= n * p->loop[i].trip;
		}
		d = (int64_t)(at - r->at[i]);
		r->addr += d * p->loop[i].stride;
		for (uint32_t k = 0; k < p->num_preds; k++)
			r->pred[k] += d * p->pred_stride[k][i];
		r->at[i] = at;
	}
}

/* How many of the next n vectors have, for sure, no lane where all predicates hold. */
static uint64_t dead_ahead(const struct access_run *r, uint64_t n)
{
	const struct access_plan *p = r->plan;
	uint64_t most = 0;

	for (uint32_t k = 0; k < p->num_preds; k++) {
		int64_t lo = r->pred[k], hi = lo, across = p->pred[k].lane_stride * (p->words - 1);
		uint64_t dead = 0, block = 1; /* vectors: found, of an iteration of loop i */

		if (across < 0)
			lo += across;
		else
			hi += across;
		for (int i = (int)p->num - 1; i >= 0; i--) {
			uint64_t left = p->loop[i].trip - r->at[i], want = (n + block - 1) / block;
			int64_t move;

			left = left < want ? left : want;
			move = (int64_t)(left - 1) * p->pred_stride[k][i];
			if (move < 0)
				lo += move;
			else
				hi += move;
			if (hi >= p->pred[k].lo && lo < p->pred[k].hi)
				break;
			dead = left * block;
			if (dead >= n)
				return n;
			if (r->at[i]) /* the next outer iteration has all of this loop */
				break;
			block = dead;
		}
		most = dead > most ? dead : most;
	}
	return most;
}

static int64_t ceil_div(int64_t a, int64_t b) /* a > 0, b > 0 */
{
	return (a + b - 1) / b;
}

/* The lanes [*from, *to) for which all predicates hold, `ahead` steps of the
 * innermost loop from here. */
static void live_lanes(const struct access_run *r, int64_t ahead, int64_t *from, int64_t *to)
{
	const struct access_plan *p = r->plan;
	int64_t lo = 0, hi = p->words;

	for (uint32_t k = 0; k < p->num_preds; k++) {
		int64_t e = r->pred[k] + ahead * p->pred_stride[k][p->num - 1],
			a = p->pred[k].lo - e, b = p->pred[k].hi - e;
		int64_t s = p->pred[k].lane_stride;

		/* a <= s * lane < b */
		if (s == 0) {
			if (a > 0 || b <= 0)
				hi = 0;
		} else if (s > 0) {
			if (a > 0) {
				a = s == 1 ? a : ceil_div(a, s);
				lo = lo > a ? lo : a;
			}
			b = b <= 0 ? 0 : s == 1 ? b : ceil_div(b, s);
			hi = hi < b ? hi : b;
		} else {
			/* -b < -s * lane <= -a */
			if (b <= 0) {
				b = -b / -s + 1;
				lo = lo > b ? lo : b;
			}
			a = a > 0 ? 0 : -a / -s + 1;
			hi = hi < a ? hi : a;
		}
	}
	*from = lo;
	*to = hi < lo ? lo : hi;
}

uint64_t rdu_access_skip_dead(struct access_run *r, uint64_t n)
{
	uint64_t dead = n && r->plan->num_preds ? dead_ahead(r, n) : 0;

	skip(r, dead);
	return dead;
}

void rdu_access_live(const struct access_run *r, int64_t *from, int64_t *to)
{
	live_lanes(r, 0, from, to);
}

void rdu_access_next(struct access_run *r)
{
	advance(r, 1);
}

static bool outside(struct access_run *r, int64_t element)
{
	const struct access_plan *p = r->plan;

	return rdu_trouble(r->fault,
			   p->pmu || (p->flags & RDU_ACCESS_GATHER) ? RDU_FAULT_BOUNDS
								    : RDU_FAULT_SEGMENT,
			   p->program, (uint64_t)element * p->elem);
}

static bool misfit(struct access_run *r, enum rdu_trap what, const unsigned char *at)
{
	rdu_trouble(r->fault, RDU_FAULT_VALUE, r->plan->program, (uint64_t)(at - r->ptr));
	r->fault->info = what;
	return false;
}

/* Does an element of 64 bits fit the word it is read as? */
static inline bool fits_word(unsigned int format, uint64_t e)
{
	double d;

	switch (format) {
	case RDU_FMT_I64:
		return !((e + 0x80000000u) >> 32);
	case RDU_FMT_U64:
		return !(e >> 31);
	case RDU_FMT_F64: /* what has no infinity may not become one */
		memcpy(&d, &e, 8);
		return !isfinite(d) || isfinite((float)d);
	}
	return true;
}

/* n elements at `at` to words: those of 64 bits must fit. */
static bool get(struct access_run *r, const struct rdu_kernels *k, size_t n, uint32_t *out,
		const unsigned char *at)
{
	unsigned int format = r->plan->format;
	bool fit = true;
	uint64_t e;
	size_t i;

	k->load[format](n, out, at);
	if (r->plan->elem != 8)
		return true;
	for (i = 0; i < n; i++) {
		memcpy(&e, at + i * 8, 8);
		fit &= fits_word(format, e);
	}
	if (fit)
		return true;
	for (i = 0; memcpy(&e, at + i * 8, 8), fits_word(format, e); i++)
		;
	return misfit(r, RDU_TRAP_LOAD, at + i * 8);
}

bool rdu_format_holds_all(unsigned int format)
{
	return format == RDU_FMT_WORD || format == RDU_FMT_BF16 || format == RDU_FMT_F16;
}

size_t rdu_first_misfit(unsigned int format, size_t n, const uint32_t *in)
{
	static const struct {
		uint32_t low, bits; /* lowest value, negated; bits of an element */
	} range[] = {
		[RDU_FMT_I8] = { 0x80, 8 },	[RDU_FMT_U8] = { 0, 8 },
		[RDU_FMT_I16] = { 0x8000, 16 }, [RDU_FMT_U16] = { 0, 16 },
		[RDU_FMT_U64] = { 0, 31 },
	};
	uint32_t low, bits, out = 0;
	size_t i;

	if (format >= sizeof(range) / sizeof(range[0]) || !range[format].bits)
		return n;
	low = range[format].low;
	bits = range[format].bits;
	for (i = 0; i < n; i++)
		out |= (in[i] + low) >> bits;
	for (i = 0; out && !((in[i] + low) >> bits); i++)
		;
	return out ? i : n;
}

/* n words to elements at `at`, which must be able to hold them. */
static bool put(struct access_run *r, const struct rdu_kernels *k, size_t n, unsigned char *at,
		const uint32_t *in)
{
	unsigned int format = r->plan->format;
	size_t bad = rdu_first_misfit(format, n, in);

	if (bad < n)
		return misfit(r, RDU_TRAP_STORE, at + bad * r->plan->elem);
	k->store[format](n, at, in);
	return true;
}

static inline bool holds(const struct access_run *r, int64_t element)
{
	return (uint64_t)element < r->limit;
}

/* Do all predicates hold and all addresses lie inside for all lanes of the next n
 * vectors? Both are affine: what is true at the corners is true between. */
static bool all_live(const struct access_run *r, size_t n)
{
	const struct access_plan *p = r->plan;
	int64_t from, to, last = (int64_t)n - 1;

	if (p->num_preds) {
		live_lanes(r, 0, &from, &to);
		if (from > 0 || to < p->words)
			return false;
		live_lanes(r, last, &from, &to);
		if (from > 0 || to < p->words)
			return false;
	}
	if (r->check) {
		int64_t a = r->addr, b = a + last * p->loop[p->num - 1].stride;
		int64_t across = p->lane_stride * (p->words - 1);

		return holds(r, a) && holds(r, b) && holds(r, a + across) && holds(r, b + across);
	}
	return true;
}

/* ---- reading ------------------------------------------------------------- */

static void fill(uint32_t *out, uint32_t value, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = value;
}

static bool read_indexed(struct access_run *r, const struct rdu_kernels *k, uint32_t *out,
			 const uint32_t *index, int64_t from, int64_t to)
{
	const struct access_plan *p = r->plan;

	for (int64_t l = from; l < to; l++) {
		int64_t e = r->addr + l * p->lane_stride +
			    (int64_t)(int32_t)index[l] * p->cfg->index_stride;

		if (!holds(r, e))
			return outside(r, e);
		if (!get(r, k, 1, &out[l], r->ptr + (size_t)e * p->elem))
			return false;
	}
	return true;
}

/* The lanes [from, to) of a vector. */
static bool read_lanes(struct access_run *r, const struct rdu_kernels *k, size_t lanes,
		       uint32_t *out, int64_t from, int64_t to)
{
	const struct access_plan *p = r->plan;
	int64_t step = p->lane_stride, a;

	a = r->addr + from * step;
	if (r->check && !holds(r, a))
		return outside(r, a);
	if (r->check && !holds(r, a + (to - from - 1) * step))
		return outside(r, a + (to - from - 1) * step);
	if (step == 1 && r->word) {
		k->part(lanes, out,
			(const uint32_t *)(uintptr_t)((uintptr_t)r->ptr + (uintptr_t)r->addr * 4),
			(size_t)from, (size_t)to, p->pad);
	} else if (step == 1) {
		return get(r, k, (size_t)(to - from), out + from, r->ptr + (size_t)a * p->elem);
	} else if (r->word) {
		for (int64_t l = from; l < to; l++, a += step)
			memcpy(&out[l], r->ptr + a * 4, 4);
	} else {
		for (int64_t l = from; l < to; l++, a += step)
			if (!get(r, k, 1, &out[l], r->ptr + (size_t)a * p->elem))
				return false;
	}
	return true;
}

/* From where the one index of a vector says. */
static void move_by(struct access_run *r, const uint32_t *index, int sign)
{
	r->addr += sign * (int64_t)(int32_t)index[0] * r->plan->cfg->index_stride;
}

static bool read_vector(struct access_run *r, const struct rdu_kernels *k, size_t lanes,
			uint32_t *out, const uint32_t *index)
{
	const struct access_plan *p = r->plan;
	int64_t from, to, step = p->lane_stride;

	live_lanes(r, 0, &from, &to);
	if (from >= to || index || step != 1 || !r->word)
		if (from > 0 || (size_t)to < lanes)
			fill(out, p->pad, lanes);
	if (from >= to)
		return true;
	if (index && (p->flags & RDU_ACCESS_ONE_INDEX)) {
		bool good;

		move_by(r, index, 1);
		good = read_lanes(r, k, lanes, out, from, to);
		move_by(r, index, -1);
		return good;
	}
	return index ? read_indexed(r, k, out, index, from, to)
		     : read_lanes(r, k, lanes, out, from, to);
}

bool rdu_access_read(struct access_run *r, const struct rdu_kernels *k, size_t lanes, size_t n,
		     uint32_t *out, const uint32_t *index)
{
	const struct access_plan *p = r->plan;
	uint32_t in = p->num - 1;
	bool sure = !p->num_preds && !r->check;
	bool narrow = !index && r->word && p->lane_stride == 1;

	if (r->vectors.table) {
		const void *start = r->start;

		rdu_vectors_read(&r->vectors, p, k, lanes, n, out, &start, p->pad);
		return true;
	}
	while (n) {
		uint64_t dead = p->num_preds ? dead_ahead(r, n) : 0,
			 left = p->loop[in].trip - r->at[in];
		size_t m = n < left ? n : left;
		int64_t step = p->loop[in].stride;
		bool plain =
			(p->words == lanes ? !index : narrow) && !dead && (sure || all_live(r, m));
		unsigned char *at = plain ? r->ptr + r->addr * (int64_t)p->elem : NULL;

		if (dead) {
			m = dead;
			fill(out, p->pad, m * lanes);
			skip(r, m);
		} else if (plain && p->words < lanes) {
			fill(out, p->pad, m * lanes);
			k->rows(m, p->words, out, (ptrdiff_t)lanes, (const void *)at, step);
			advance(r, m);
		} else if (plain && p->lane_stride == 1 && step == (int64_t)lanes) {
			if (!get(r, k, m * lanes, out, at))
				return false;
			advance(r, m);
		} else if (plain && p->lane_stride == 1 && r->word) {
			k->rows(m, lanes, out, (ptrdiff_t)lanes, (const void *)at, step);
			advance(r, m);
		} else if (plain && p->lane_stride == 1) {
			for (size_t i = 0; i < m; i++, at += step * (int64_t)p->elem)
				if (!get(r, k, lanes, out + i * lanes, at))
					return false;
			advance(r, m);
		} else if (plain && r->word) {
			k->gather(m, lanes, out, (const void *)at, step, p->lane_stride);
			advance(r, m);
		} else {
			m = 1;
			if (!read_vector(r, k, lanes, out, index))
				return false;
			advance(r, 1);
		}
		if (index)
			index += m * lanes;
		out += m * lanes;
		n -= m;
	}
	return true;
}

/* XORs the live lanes of the next vector with out, and with the pad. */
static bool xor_vector(struct access_run *r, const struct rdu_kernels *k, uint32_t *out)
{
	const struct access_plan *p = r->plan;
	int64_t from, to, a;

	live_lanes(r, 0, &from, &to);
	if (from >= to)
		return true;
	a = r->addr + from * p->lane_stride;
	if (r->check && !holds(r, a))
		return outside(r, a);
	if (r->check && !holds(r, a + (to - from - 1) * p->lane_stride))
		return outside(r, a + (to - from - 1) * p->lane_stride);
	k->xor_rows(1, (size_t)(to - from), out + from, 0, (const uint32_t *)(void *)r->ptr + a, 0,
		    p->lane_stride, p->pad);
	return true;
}

bool rdu_access_xor(struct access_run *r, const struct rdu_kernels *k, size_t lanes, size_t n,
		    uint32_t *out)
{
	const struct access_plan *p = r->plan;
	uint32_t in = p->num - 1;

	while (n) {
		uint64_t m = dead_ahead(r, n), left = p->loop[in].trip - r->at[in];

		if (m) {
			skip(r, m);
		} else {
			m = n < left ? n : left;
			m = m < RUN_MAX ? m : RUN_MAX;
			if (all_live(r, m)) {
				k->xor_rows(m, p->words, out, (ptrdiff_t)lanes,
					    (const uint32_t *)(void *)r->ptr + r->addr,
					    p->loop[in].stride, p->lane_stride, p->pad);
			} else {
				m = 1;
				if (!xor_vector(r, k, out))
					return false;
			}
			advance(r, m);
		}
		out += m * lanes;
		n -= m;
	}
	return true;
}

/* ---- writing --------------------------------------------------------------- */

static void add_word(unsigned char *at, uint32_t value)
{
	uint32_t old;

	memcpy(&old, at, 4);
	old = rdu_canon(rdu_f(old) + rdu_f(value));
	memcpy(at, &old, 4);
}

static bool write_vector(struct access_run *r, const struct rdu_kernels *k, const uint32_t *in,
			 const uint32_t *index)
{
	const struct access_plan *p = r->plan;
	int64_t from, to, step = p->lane_stride, a;
	bool add = p->flags & RDU_ACCESS_ADD, one = p->flags & RDU_ACCESS_ONE_INDEX;

	live_lanes(r, 0, &from, &to);
	if (from >= to)
		return true;
	a = r->addr + from * step;
	if (r->check && !index) {
		if (!holds(r, a))
			return outside(r, a);
		if (!holds(r, a + (to - from - 1) * step))
			return outside(r, a + (to - from - 1) * step);
	}
	if (step == 1 && !add && !index && r->word) {
		k->part_store((uint32_t *)((uintptr_t)r->ptr + (uintptr_t)r->addr * 4), in,
			      (size_t)from, (size_t)to);
		return true;
	}
	if (step == 1 && !add && !index) {
		return put(r, k, (size_t)(to - from), r->ptr + (size_t)a * p->elem, in + from);
	}
	for (int64_t l = from; l < to; l++, a += step) {
		int64_t e = a;

		if (index) {
			e += (int64_t)(int32_t)index[one ? 0 : l] * p->cfg->index_stride;
			if (!holds(r, e))
				return outside(r, e);
		}
		if (add)
			add_word(r->ptr + (size_t)e * 4, in[l]);
		else if (!put(r, k, 1, r->ptr + (size_t)e * p->elem, &in[l]))
			return false;
	}
	return true;
}

/* m vectors that go to neighbouring elements, their lanes farther apart: row by row. */
static void write_columns(const struct access_run *r, const struct rdu_kernels *k, size_t m,
			  unsigned char *at, const uint32_t *in, size_t pitch)
{
	const struct access_plan *p = r->plan;
	uint32_t rows[CHUNK_WORDS];

	k->gather(p->words, m, rows, in, 1, (ptrdiff_t)pitch);
	for (uint32_t l = 0; l < p->words; l++)
		k->store[p->format](m, at + l * p->lane_stride * (int64_t)p->elem, rows + l * m);
}

bool rdu_access_write(struct access_run *r, const struct rdu_kernels *k, size_t pitch, size_t lanes,
		      size_t n, const uint32_t *in, const uint32_t *index)
{
	const struct access_plan *p = r->plan;
	uint32_t last = p->num - 1;
	bool even = !index && !(p->flags & RDU_ACCESS_ADD);
	bool sure = !p->num_preds && !r->check;

	if (r->vectors.table) {
		rdu_vectors_write(&r->vectors, p, k, pitch, n, r->start, in);
		return true;
	}
	while (n) {
		uint64_t dead = p->num_preds ? dead_ahead(r, n) : 0,
			 left = p->loop[last].trip - r->at[last];
		size_t m = n < left ? n : left;
		int64_t step = p->loop[last].stride;
		bool plain = even && !dead && (sure || all_live(r, m));
		unsigned char *at = plain ? r->ptr + r->addr * (int64_t)p->elem : NULL;

		if (dead) {
			m = dead;
			skip(r, m);
		} else if (plain && p->lane_stride == 1 && step == (int64_t)p->words &&
			   pitch == p->words) {
			if (!put(r, k, m * pitch, at, in))
				return false;
			advance(r, m);
		} else if (plain && p->lane_stride == 1 && r->word) {
			k->rows(m, p->words, (void *)at, step, in, (ptrdiff_t)pitch);
			advance(r, m);
		} else if (plain && r->word) {
			k->scatter(m, p->words, (void *)at, step, p->lane_stride, in,
				   (ptrdiff_t)pitch);
			advance(r, m);
		} else if (plain && step == 1 && p->lane_stride >= (int64_t)m &&
			   rdu_format_holds_all(p->format)) {
			write_columns(r, k, m, at, in, pitch);
			advance(r, m);
		} else {
			m = 1;
			if (!write_vector(r, k, in, index))
				return false;
			advance(r, 1);
		}
		if (index)
			index += m * lanes;
		in += m * pitch;
		n -= m;
	}
	return true;
}
