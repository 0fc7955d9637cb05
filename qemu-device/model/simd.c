// SPDX-License-Identifier: MIT
/* The SIMD body: operations one after another, each over a chunk of vectors. */
#include <string.h>
#include "execute.h"
#include "numerics.h"

#define EXPANSIONS 8 /* extra[2 ...]: lanes broadcast and counters of a chunk */

bool rdu_simd_start(struct island_run *ir, struct node *node)
{
	const struct simd_plan *sp = node->plan->simd;
	uint32_t lanes = ir->plan->lanes, words = ir->reg_words, i, k;

	if (node->plan->sys == NULL && node->total * lanes < words)
		words = node->total * lanes;
	node->state = ir->st->words + node->plan->state;
	node->consts = rdu_arena_get(ir->arena, sp->num_consts * sizeof(*node->consts));
	if (!node->consts)
		return rdu_trouble(ir->fault, RDU_FAULT_INTERNAL, node->plan->index, 0);
	for (i = 0; i < sp->num_consts; i++) {
		uint32_t value = sp->konst[i].value, *p = rdu_arena_get(ir->arena, words * 4);

		if (!p)
			return rdu_trouble(ir->fault, RDU_FAULT_INTERNAL, node->plan->index, 0);
		node->consts[i] = p;
		if (sp->konst[i].kind == RDU_OPD_ARG)
			value = ir->st->run->scalars[value];
		if (sp->konst[i].kind == RDU_OPD_LANE)
			for (k = 0; k < words; k++)
				p[k] = k & (lanes - 1);
		else
			for (k = 0; k < words; k++)
				p[k] = value;
	}
	return true;
}

/* Value of counter c at firings from `firing` on; flags: only at those set. */
static void expand_counter(uint32_t *out, const struct rdu_kernels *k,
			   const struct program_plan *pp, uint32_t c, uint64_t firing, size_t n,
			   uint32_t lanes, const uint8_t *flags)
{
	const struct rdu_cfg_counter *cfg = &pp->prog->cfg->counter[c];
	uint64_t period = 1, in, at;
	uint32_t value[64];
	size_t num = 0;

	for (uint32_t i = c + 1; i < pp->prog->cfg->num_counters; i++)
		period *= pp->prog->trip[i];
	in = firing % period;
	at = firing / period % pp->prog->trip[c];
	for (size_t i = 0; i < n; i++) {
		if (!flags || flags[i])
			value[num++] = (uint32_t)cfg->start + (uint32_t)at * (uint32_t)cfg->step;
		if (num == 64 || (num && i + 1 == n)) {
			k->spread(num, lanes, out, value, 1);
			out += num * lanes;
			num = 0;
		}
		if (++in == period) {
			in = 0;
			if (++at == pp->prog->trip[c])
				at = 0;
		}
	}
}

struct chunk {
	struct island_run *ir;
	struct node *node;
	const uint32_t *const *port;
	uint64_t firing;
	size_t firings; /* of the whole chunk */
	const uint8_t *flags; /* those that are in it; NULL: all */
	size_t n;
	uint32_t *last; /* where the last operation writes; NULL: its register */
	struct op_source done[EXPANSIONS];
	uint32_t num_done;
};

static const uint32_t *source(struct chunk *ch, const struct op_source *src, uint32_t temp)
{
	struct island_run *ir = ch->ir;
	const struct rdu_kernels *k = ir->plan->kernels;
	uint32_t lanes = ir->plan->lanes, i, *buf;

	switch (src->kind) {
	case SRC_REG:
		return ir->reg[src->index];
	case SRC_IN:
		return ch->port[src->index];
	case SRC_CONST:
		return ch->node->consts[src->slot];
	case SRC_IN_LANE:
	case SRC_COUNTER:
		break;
	default:
		return ir->reg[0];
	}
	for (i = 0; i < ch->num_done; i++)
		if (ch->done[i].kind == src->kind && ch->done[i].index == src->index &&
		    ch->done[i].lane == src->lane)
			return ir->extra[2 + i];
	/* The last places are for one operation only: three operands. */
	if (ch->num_done < EXPANSIONS - 1)
		i = ch->num_done++;
	else
		i = EXPANSIONS - 1 + temp;
	if (i < EXPANSIONS)
		ch->done[i] = *src;
	buf = ir->extra[2 + i];
	if (src->kind == SRC_IN_LANE)
		k->spread(ch->n, lanes, buf, ch->port[src->index] + src->lane, lanes);
	else
		expand_counter(buf, k, ch->node->plan, src->index, ch->firing, ch->firings, lanes,
			       ch->flags);
	return buf;
}

static void shift(uint32_t *out, const uint32_t *in, size_t n, uint32_t lanes, int32_t by)
{
	uint32_t t[RDU_MAX_LANES];

	for (size_t i = 0; i < n; i++) {
		for (uint32_t l = 0; l < lanes; l++) {
			int64_t from = (int64_t)l + by;

			t[l] = from >= 0 && from < lanes ? in[i * lanes + (size_t)from] : 0;
		}
		memcpy(out + i * lanes, t, lanes * 4);
	}
}

static void plain_op(const struct rdu_kernels *k, const struct op_plan *op, size_t n,
		     uint32_t lanes, uint32_t *out, const uint32_t *a, const uint32_t *b,
		     const uint32_t *c)
{
	if (op->op == RDU_SIMD_SHIFT)
		shift(out, a, n, lanes, op->shift);
	else if (k->red[op->op])
		k->red[op->op](n, lanes, out, a);
	else
		k->map[op->op](n * lanes, out, a, b, c);
}

static void acc_op(struct chunk *ch, const struct op_plan *op, uint32_t *out, const uint32_t *a,
		   const uint32_t *b, const uint32_t *c)
{
	const struct rdu_kernels *k = ch->ir->plan->kernels;
	uint32_t lanes = ch->ir->plan->lanes, *acc = ch->node->state + op->acc_slot * lanes;
	uint8_t *restart = ch->ir->flags[1];
	size_t i = 0, m;

	rdu_mask_flags(op->mask, ch->firing, ch->n, false, restart);
	while (i < ch->n) {
		size_t at = i * lanes;

		if (restart[i])
			for (uint32_t l = 0; l < lanes; l++)
				acc[l] = op->init;
		for (m = 1; i + m < ch->n && !restart[i + m]; m++)
			;
		if (op->acc == 1) {
			k->acc[op->op](m, lanes, out + at, a + at, b + at, acc);
			i += m;
			continue;
		}
		for (; m; m--, i++, at += lanes) {
			plain_op(k, op, 1, lanes, acc, op->src[0].kind == SRC_ACC ? acc : a + at,
				 op->src[1].kind == SRC_ACC ? acc : b + at,
				 op->src[2].kind == SRC_ACC ? acc : c + at);
			memcpy(out + at, acc, lanes * 4);
		}
	}
}

/* The first lane where a trap's condition holds stops the section. */
static bool trap(const struct chunk *ch, const uint32_t *b)
{
	struct fab_fault *fault = ch->ir->fault;
	uint32_t lanes = ch->ir->plan->lanes, any = 0;
	size_t i, n = ch->n * lanes, at;

	for (i = 0; i < n; i++)
		any |= b[i];
	if (!any)
		return true;
	for (i = 0; !b[i]; i++)
		;
	at = i / lanes; /* vector of the chunk; its firing: */
	for (size_t f = 0; ch->flags && f <= at; f++)
		at += !ch->flags[f];
	rdu_trouble(fault, RDU_FAULT_VALUE, ch->node->plan->index,
		    (ch->firing + at) * lanes + i % lanes);
	fault->info = b[i];
	return false;
}

static bool run_ops(struct chunk *ch, uint32_t from, uint32_t to)
{
	const struct simd_plan *sp = ch->node->plan->simd;
	struct island_run *ir = ch->ir;

	for (uint32_t i = from; i < to; i++) {
		const struct op_plan *op = &sp->op[i];
		const uint32_t *a = source(ch, &op->src[0], 0), *b = source(ch, &op->src[1], 1);
		const uint32_t *c = source(ch, &op->src[2], 2);
		uint32_t *out = ir->reg[op->dst];

		if (ch->last && i + 1 == sp->num_ops)
			out = ch->last;
		if (op->op == RDU_SIMD_TRAP && !trap(ch, b))
			return false;
		if (op->acc)
			acc_op(ch, op, out, a, b, c);
		else
			plain_op(ir->plan->kernels, op, ch->n, ir->plan->lanes, out, a, b, c);
	}
	return true;
}

void rdu_simd_ops(struct island_run *ir, struct node *node, uint32_t from, uint32_t to, size_t n,
		  uint64_t firing, const uint32_t *const *port)
{
	struct chunk ch = {
		.ir = ir, .node = node, .port = port, .firing = firing, .firings = n, .n = n
	};

	run_ops(&ch, from, to); /* a tail has no trap */
}

/* Vectors at[0] to at[m - 1] of `in`, which goes up, to the front of `out`. */
static void keep(uint32_t *out, const uint32_t *in, size_t m, uint32_t lanes, const uint16_t *at)
{
	for (size_t i = 0; i < m; i++)
		memmove(out + i * lanes, in + at[i] * lanes, lanes * 4);
}

static bool push(struct island_run *ir, struct node *node, uint32_t k, size_t n,
		 const uint8_t *flags)
{
	struct fifo *f = &ir->fifos[node->in->out[k]];
	uint32_t lanes = ir->plan->lanes;
	uint32_t count = node->in->count[k], reg = node->in->reg[k];
	uint32_t *out = rdu_fifo_space(ir, f, n * count);
	size_t m = 0;

	if (!out)
		return rdu_trouble(ir->fault, RDU_FAULT_INTERNAL, node->plan->index, 0);
	if (!flags && count == 1) {
		memcpy(out, ir->reg[reg], n * lanes * 4);
		m = n;
	} else {
		for (size_t i = 0; i < n; i++) {
			if (flags && !flags[i])
				continue;
			for (uint32_t r = 0; r < count; r++)
				memcpy(out + m++ * lanes, ir->reg[reg + r] + i * lanes, lanes * 4);
		}
	}
	rdu_fifo_push(f, m);
	return true;
}

int64_t rdu_simd_run(struct island_run *ir, struct node *node, size_t n)
{
	const struct program_plan *pp = node->plan;
	const struct simd_plan *sp = pp->simd;
	const struct island_node *c = node->in;
	const uint32_t *port[RDU_MAX_PORTS] = { NULL };
	uint64_t firing = node->first + node->pos;
	uint32_t lanes = ir->plan->lanes, i;
	struct chunk ch = { .ir = ir, .node = node, .port = port, .firing = firing };
	uint8_t *flags = ir->flags[0];

	for (i = 0; i < c->num_in && n; i++)
		n = rdu_port_ready(ir, node, i, n);
	if (!n)
		return 0;
	for (i = 0; i < c->num_in; i++)
		port[i] = rdu_port_take(ir, node, i, n, ir->port[i]);
	ch.firings = n;
	ch.n = n;
	/* The usual case: what is computed last is what is pushed, each time. */
	if (c->num_out == 1 && !sp->sparse && !rdu_out_mask(node, 0) && c->count[0] == 1 &&
	    sp->op[sp->num_ops - 1].dst == c->reg[0]) {
		ch.last = rdu_fifo_space(ir, &ir->fifos[node->in->out[0]], n);
		if (!ch.last)
			return rdu_trouble(ir->fault, RDU_FAULT_INTERNAL, pp->index, 0) - 1;
		if (!run_ops(&ch, 0, sp->num_ops))
			return -1;
		rdu_fifo_push(&ir->fifos[node->in->out[0]], n);
		return (int64_t)n;
	}
	if (!run_ops(&ch, 0, sp->num_dense))
		return -1;
	if (sp->sparse) {
		uint16_t at[CHUNK_WORDS];
		size_t m = 0;

		rdu_mask_flags(pp->out_mask[0], firing, n, true, flags);
		for (i = 0; i < n; i++) {
			at[m] = (uint16_t)i;
			m += flags[i];
		}
		if (!m)
			return (int64_t)n;
		for (i = 0; sp->kept >> i; i++)
			if (sp->kept >> i & 1)
				keep(ir->reg[i], ir->reg[i], m, lanes, at);
		if (sp->num_dense < sp->num_ops) {
			for (i = 0; i < c->num_in; i++) {
				keep(ir->port[i], port[i], m, lanes, at);
				port[i] = ir->port[i];
			}
			ch.n = m;
			ch.flags = flags;
			ch.num_done = 0;
			if (!run_ops(&ch, sp->num_dense, sp->num_ops))
				return -1;
		}
		for (i = 0; i < c->num_out; i++)
			if (!push(ir, node, i, m, NULL))
				return -1;
		return (int64_t)n;
	}
	for (i = 0; i < c->num_out; i++) {
		const struct firing_mask *m = rdu_out_mask(node, i);

		if (m)
			rdu_mask_flags(m, firing, n, true, flags);
		if (!push(ir, node, i, n, m ? flags : NULL))
			return -1;
	}
	return (int64_t)n;
}
