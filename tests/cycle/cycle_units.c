// SPDX-License-Identifier: MIT
/* PCUs and PMUs: one iteration of a unit program, its values and its cycles. */
#include <string.h>
#include "cycle_priv.h"
#include "numerics.h"

/* ---- addresses ------------------------------------------------------------------ */

uint32_t cycle_addresses(const struct cycle_sim *m, const struct unit_program *u, uint32_t lanes,
			 const uint32_t *index, int64_t *address, uint32_t *lane)
{
	const struct rdu_cfg_access *a = u->p->body;
	uint32_t n = 0;

	(void)m;
	for (uint32_t l = 0; l < lanes && l < a->lanes; l++) {
		int64_t at = a->base + a->lane_stride * l;
		bool live = true;

		for (unsigned int c = 0; c < u->p->cfg->num_counters; c++)
			at += a->stride[c] * cycle_counter(u, c);
		for (unsigned int k = 0; k < a->num_preds && live; k++) {
			int64_t e = a->pred[k].base + (int64_t)a->pred[k].lane_stride * l;

			for (unsigned int c = 0; c < u->p->cfg->num_counters; c++)
				e += a->pred[k].stride[c] * cycle_counter(u, c);
			live = e >= a->pred[k].lo && e < a->pred[k].hi;
		}
		if (!live)
			continue;
		if (index)
			at += (int64_t)(int32_t)index[a->flags & RDU_ACCESS_ONE_INDEX ? 0 : l] *
			      a->index_stride;
		address[n] = at;
		lane[n++] = l;
	}
	return n;
}

/* Cycles a vector takes: the most different words on one bank. */
static uint32_t bank_cycles(const struct cycle_sim *m, const int64_t *address, uint32_t n)
{
	uint32_t most = 1, banks = m->s->chip.pmu_banks;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t same = 0;

		for (uint32_t k = 0; k < n; k++) {
			bool seen = address[k] % banks != address[i] % banks;

			for (uint32_t j = 0; j < k && !seen; j++)
				seen = address[j] == address[k];
			same += !seen;
		}
		most = same > most ? same : most;
	}
	return most;
}

/* ---- PCUs ----------------------------------------------------------------------- */

static uint32_t operand(const struct cycle_sim *m, const struct unit_program *u,
			const struct rdu_cfg_operand *o, uint32_t stage, uint32_t l)
{
	switch (o->kind) {
	case RDU_OPD_REG:
		return u->reg[o->index * m->lanes + l];
	case RDU_OPD_IN:
		return u->held[o->index][l];
	case RDU_OPD_IN_LANE:
		return u->held[o->index][o->lane];
	case RDU_OPD_COUNTER:
		return (uint32_t)cycle_counter(u, o->index);
	case RDU_OPD_LANE:
		return l;
	case RDU_OPD_IMM:
		return o->imm;
	case RDU_OPD_ACC:
		return u->acc[stage * m->lanes + l];
	case RDU_OPD_ARG:
		return m->setup->scalars[o->index];
	}
	return 0;
}

static uint32_t combine(unsigned int op, uint32_t a, uint32_t b)
{
	switch (op) {
	case RDU_SIMD_RED_FADD:
		return rdu_simd_scalar(RDU_SIMD_FADD, a, b, 0);
	case RDU_SIMD_RED_FMAX:
		return rdu_simd_scalar(RDU_SIMD_FMAX, a, b, 0);
	case RDU_SIMD_RED_FMIN:
		return rdu_simd_scalar(RDU_SIMD_FMIN, a, b, 0);
	}
	return a + b;
}

static void run_stage(struct cycle_sim *m, struct unit_program *u, const struct rdu_cfg_stage *st,
		      uint32_t i, bool accumulates)
{
	uint32_t v[RDU_MAX_LANES], lanes = m->lanes;
	bool tree = st->op >= RDU_SIMD_RED_FADD && st->op <= RDU_SIMD_RED_IADD;

	if (accumulates && cycle_at_first(u, st->acc_mask))
		for (uint32_t l = 0; l < lanes; l++)
			u->acc[i * lanes + l] = st->init;
	for (uint32_t l = 0; l < lanes; l++) {
		int64_t from = (int64_t)l + (int32_t)st->b.imm;

		if (tree)
			v[l] = operand(m, u, &st->a, i, l);
		else if (st->op == RDU_SIMD_SHIFT)
			v[l] = from >= 0 && from < lanes ? operand(m, u, &st->a, i, (uint32_t)from)
							 : 0;
		else
			v[l] = rdu_simd_scalar(st->op, operand(m, u, &st->a, i, l),
					       operand(m, u, &st->b, i, l),
					       operand(m, u, &st->c, i, l));
	}
	for (uint32_t l = 0; st->op == RDU_SIMD_TRAP && l < lanes; l++)
		if (operand(m, u, &st->b, i, l))
			cycle_fail(m, "unit program %u: trap %u in lane %u", u->index,
				   operand(m, u, &st->b, i, l), l);
	for (uint32_t half = lanes / 2; tree && half; half /= 2)
		for (uint32_t l = 0; l < half; l++)
			v[l] = combine(st->op, v[l], v[l + half]);
	for (uint32_t l = 0; l < lanes; l++) {
		uint32_t x = v[tree ? 0 : l];

		u->reg[st->dst * lanes + l] = x;
		if (accumulates)
			u->acc[i * lanes + l] = x;
	}
}

static bool uses_acc(const struct rdu_cfg_stage *st)
{
	return st->a.kind == RDU_OPD_ACC || st->b.kind == RDU_OPD_ACC || st->c.kind == RDU_OPD_ACC;
}

static bool fire_simd(struct cycle_sim *m, struct unit_program *u)
{
	const struct rdu_cfg_simd *b = u->p->body;
	const struct rdu_cfg_program *c = u->p->cfg;
	uint64_t end = m->now + u->latency;

	for (unsigned int k = 0; k < c->num_out; k++)
		if (cycle_at_last(u, c->out[k].mask) &&
		    (u->out_free[k] > m->now || !cycle_room(m, u, k, c->out[k].count)))
			return false;
	cycle_pop_inputs(m, u);
	for (uint32_t i = 0; i < (uint32_t)b->num_stages + b->num_tail; i++)
		run_stage(m, u, &b->stage[i], i, uses_acc(&b->stage[i]));
	for (unsigned int k = 0; k < c->num_out; k++) {
		if (!cycle_at_last(u, c->out[k].mask))
			continue;
		for (uint32_t r = 0; r < c->out[k].count; r++)
			cycle_push(m, u, k, m->now + u->latency + r,
				   u->reg + (c->out[k].reg + r) * m->lanes);
		u->out_free[k] = m->now + c->out[k].count;
		if (m->now + u->latency + c->out[k].count > end)
			end = m->now + u->latency + c->out[k].count;
	}
	u->busy_until = m->now + 1;
	cycle_advance(m, u, end);
	return true;
}

static void start_contraction(const struct cycle_sim *m, struct unit_program *u,
			      const struct rdu_cfg_systolic *b)
{
	bool given = b->flags & RDU_SYS_INIT &&
		     (b->flags & RDU_SYS_INIT_ALWAYS || !cycle_at_first(u, b->init_mask));

	for (uint32_t w = 0; w < b->cols * m->lanes; w++)
		u->acc[w] = given ? u->held[2][w] : 0;
}

static void drain(struct cycle_sim *m, struct unit_program *u, const struct rdu_cfg_systolic *b)
{
	const struct rdu_cfg_program *c = u->p->cfg;
	uint32_t lanes = m->lanes;

	for (uint32_t j = 0; j < b->cols; j++) {
		for (uint32_t l = 0; l < lanes; l++)
			u->reg[l] = b->mode == RDU_SYS_BF16
					    ? rdu_canon(rdu_f(u->acc[j * lanes + l]))
					    : u->acc[j * lanes + l];
		for (uint32_t i = 0; i < b->num_tail; i++)
			run_stage(m, u, &b->tail[i], i, false);
		for (unsigned int k = 0; k < c->num_out; k++)
			if (cycle_at_last(u, c->out[k].mask) && j >= c->out[k].reg &&
			    j < (uint32_t)c->out[k].reg + c->out[k].count)
				cycle_push(m, u, k, m->now + u->latency + j, u->reg);
	}
	for (unsigned int k = 0; k < c->num_out; k++)
		if (cycle_at_last(u, c->out[k].mask))
			u->out_free[k] = m->now + u->latency + c->out[k].count;
}

/* Weights of two bits: 0, 1, none, -1. */
static uint32_t multiply_ternary(struct cycle_sim *m, struct unit_program *u, uint32_t acc,
				 uint32_t bytes, uint32_t weights, bool is_unsigned)
{
	uint32_t quarter = weights >> 8 * u->at[u->p->cfg->num_counters - 1];

	for (int i = 0; i < 16; i++)
		if ((weights >> 2 * i & 3) == 2)
			cycle_fail(m, "unit program %u: weight %d of a word is 10", u->index, i);
	for (int i = 0; i < 4; i++) {
		int32_t x = (int32_t)(bytes >> 8 * i & 0xff);
		int32_t w = (int32_t)(quarter >> 2 * i & 3);

		if (!is_unsigned && x > 127)
			x -= 256;
		acc += (uint32_t)(x * (w == 3 ? -1 : w));
	}
	return acc;
}

static uint32_t multiply(struct cycle_sim *m, struct unit_program *u, uint32_t acc, uint32_t col,
			 uint32_t row)
{
	const struct rdu_cfg_systolic *b = u->p->body;

	switch (b->mode) {
	case RDU_SYS_INT8:
		return rdu_mac_int8(acc, col, row, b->flags);
	case RDU_SYS_TERNARY:
		if (b->flags & RDU_SYS_COLS_TERNARY)
			return multiply_ternary(m, u, acc, row, col,
						b->flags & RDU_SYS_ROWS_UNSIGNED);
		return multiply_ternary(m, u, acc, col, row, b->flags & RDU_SYS_COLS_UNSIGNED);
	default:
		return rdu_u(rdu_mac_bf16(rdu_f(acc), col, row));
	}
}

static bool fire_systolic(struct cycle_sim *m, struct unit_program *u)
{
	const struct rdu_cfg_systolic *b = u->p->body;
	const struct rdu_cfg_program *c = u->p->cfg;
	bool last = cycle_at_last(u, b->k_mask);
	uint32_t lanes = m->lanes;

	/* What drained before must have left the array when these results come. */
	for (unsigned int k = 0; last && k < c->num_out; k++)
		if (cycle_at_last(u, c->out[k].mask) &&
		    (u->out_free[k] > m->now + u->latency || !cycle_room(m, u, k, c->out[k].count)))
			return false;
	cycle_pop_inputs(m, u);
	if (cycle_at_first(u, b->k_mask))
		start_contraction(m, u, b);
	for (uint32_t j = 0; j < b->cols; j++)
		for (uint32_t l = 0; l < lanes; l++)
			u->acc[j * lanes + l] =
				multiply(m, u, u->acc[j * lanes + l], u->held[0][l], u->held[1][j]);
	if (last)
		drain(m, u, b);
	u->busy_until = m->now + 2;
	cycle_advance(m, u, m->now + 2 + (last ? u->latency + b->cols : 0));
	return true;
}

bool cycle_fire_pcu(struct cycle_sim *m, struct unit_program *u)
{
	if (u->busy_until > m->now || !cycle_may_start(m, u) || !cycle_inputs_there(m, u))
		return false;
	return u->p->cfg->kind == RDU_KIND_SIMD ? fire_simd(m, u) : fire_systolic(m, u);
}

/* ---- PMUs ------------------------------------------------------------------------ */

static uint32_t *copy_of(struct cycle_sim *m, const struct unit_program *u, uint32_t *words)
{
	const struct rdu_cfg_access *a = u->p->body;
	const struct rdu_cfg_buffer *b = &m->s->buffers[a->target];
	uint32_t pmus = rdu_chip_pmus_per_tile(&m->s->chip);

	*words = b->words;
	return m->setup->scratch[b->tile * pmus + b->unit] + b->base +
	       (a->copy_start + u->flips) % b->copies * b->words;
}

static bool inside(struct cycle_sim *m, const struct unit_program *u, const int64_t *address,
		   uint32_t n, uint32_t words)
{
	for (uint32_t i = 0; i < n; i++)
		if (address[i] < 0 || address[i] >= words) {
			cycle_fail(m, "unit program %u: word %lld of a buffer of %u", u->index,
				   (long long)address[i], words);
			return false;
		}
	return true;
}

static bool fire_read(struct cycle_sim *m, struct unit_program *u, struct pmu_side *side)
{
	const struct rdu_cfg_access *a = u->p->body;
	const uint32_t *index = NULL;
	uint32_t lane[RDU_MAX_LANES], out[RDU_MAX_LANES], n, words, cycles;
	int64_t address[RDU_MAX_LANES];
	bool push = cycle_at_last(u, u->p->cfg->out[0].mask);
	uint32_t *copy;

	if (push && !cycle_room(m, u, 0, 1))
		return false;
	cycle_pop_inputs(m, u);
	if (a->flags & RDU_ACCESS_GATHER)
		index = u->held[0];
	n = cycle_addresses(m, u, m->lanes, index, address, lane);
	copy = copy_of(m, u, &words);
	if (!inside(m, u, address, n, words))
		return false;
	for (uint32_t l = 0; l < m->lanes; l++)
		out[l] = a->pad;
	for (uint32_t i = 0; i < n; i++)
		out[lane[i]] = copy[address[i]];
	cycles = bank_cycles(m, address, n);
	if (push)
		cycle_push(m, u, 0, m->now + u->latency + cycles - 1, out);
	side->busy_until = u->busy_until = m->now + cycles;
	cycle_advance(m, u, m->now + cycles);
	return true;
}

/* Elements that a program packs in a word: of 32 bits, 16 or 8. */
static uint32_t elements(const struct rdu_cfg_access *a)
{
	return a->format == RDU_FMT_I8 || a->format == RDU_FMT_U8 ? 4 : 2;
}

static uint32_t narrow(const struct rdu_cfg_access *a, uint32_t v)
{
	return elements(a) == 4 ? v & 0xff : rdu_bf16(v);
}

/* Which vector of its group a WRITE takes, and is it the last? */
static bool group_ends(const struct unit_program *u, uint32_t *which)
{
	const struct rdu_cfg_access *a = u->p->body;
	uint32_t n = a->pack == RDU_PACK_VEC ? elements(a) : 1;

	*which = (uint32_t)(u->at[u->p->cfg->num_counters - 1] % n);
	return *which == n - 1;
}

/* The words that the stream's vector becomes, how many; VEC: with those kept before it. */
static uint32_t pack_vector(struct unit_program *u, uint32_t which, const uint32_t *in,
			    uint32_t lanes, uint32_t *v)
{
	const struct rdu_cfg_access *a = u->p->body;
	uint32_t n = elements(a), bits = 32 / n;

	switch (a->pack) {
	case RDU_PACK_VEC:
		for (uint32_t l = 0; l < lanes; l++) {
			u->kept[l] = (which ? u->kept[l] : 0) | narrow(a, in[l]) << which * bits;
			v[l] = u->kept[l];
		}
		return lanes;
	case RDU_PACK_LANE:
		for (uint32_t l = 0; l < lanes / n; l++) {
			v[l] = 0;
			for (uint32_t k = 0; k < n; k++)
				v[l] |= narrow(a, in[n * l + k]) << k * bits;
		}
		return (lanes < a->lanes ? lanes : a->lanes) / n;
	default:
		for (uint32_t l = 0; l < lanes; l++)
			v[l] = a->pack ? narrow(a, in[l]) : in[l];
		return lanes;
	}
}

/* Do the integers of the first `lanes` lanes fit the bytes that they go to? */
static bool fit(struct cycle_sim *m, const struct unit_program *u, const uint32_t *in)
{
	const struct rdu_cfg_access *a = u->p->body;
	int32_t low = a->format == RDU_FMT_I8 ? -128 : 0;

	for (uint32_t l = 0; elements(a) == 4 && l < a->lanes; l++)
		if ((int32_t)in[l] < low || (int32_t)in[l] > low + 255) {
			cycle_fail(m, "unit program %u: %d does not fit a byte", u->index,
				   (int32_t)in[l]);
			return false;
		}
	return true;
}

static void write_words(struct unit_program *u, uint32_t *copy, const int64_t *address,
			const uint32_t *lane, uint32_t n, const uint32_t *v)
{
	const struct rdu_cfg_access *a = u->p->body;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t *to = &copy[address[i]];

		*to = a->flags & RDU_ACCESS_ADD ? rdu_simd_scalar(RDU_SIMD_FADD, *to, v[lane[i]], 0)
						: v[lane[i]];
	}
}

static bool fire_write(struct cycle_sim *m, struct unit_program *u, struct pmu_side *side)
{
	const struct rdu_cfg_access *a = u->p->body;
	const uint32_t *in = u->held[0], *index = NULL;
	uint32_t lane[RDU_MAX_LANES], v[RDU_MAX_LANES], n, words, cycles, lanes = m->lanes;
	unsigned int inner = u->p->cfg->num_counters - 1;
	int64_t address[RDU_MAX_LANES];
	uint32_t *copy = copy_of(m, u, &words), which;
	bool ends = group_ends(u, &which);

	cycle_pop_inputs(m, u);
	if (a->pack && !fit(m, u, in))
		return false;
	lanes = pack_vector(u, which, in, lanes, v);
	if (!which && a->flags & RDU_ACCESS_GATHER)
		memcpy(u->index_kept, u->held[1], m->lanes * 4);
	if (!ends) {
		u->busy_until = m->now + 1;
		cycle_advance(m, u, m->now + 1);
		return true;
	}
	if (a->flags & RDU_ACCESS_GATHER)
		index = u->index_kept;
	u->at[inner] -= which; /* its address is the first iteration's */
	n = cycle_addresses(m, u, lanes, index, address, lane);
	u->at[inner] += which;
	if (!inside(m, u, address, n, words))
		return false;
	write_words(u, copy, address, lane, n, v);
	cycles = bank_cycles(m, address, n) * (a->flags & RDU_ACCESS_ADD ? 2 : 1);
	side->busy_until = u->busy_until = m->now + cycles;
	cycle_advance(m, u, m->now + cycles - 1 + u->latency);
	return true;
}

bool cycle_fire_pmu(struct cycle_sim *m, struct unit_program *u, struct pmu_side *side)
{
	if (u->busy_until > m->now || !cycle_may_start(m, u) || !cycle_inputs_there(m, u))
		return false;
	return u->p->cfg->kind == RDU_KIND_READ ? fire_read(m, u, side) : fire_write(m, u, side);
}
