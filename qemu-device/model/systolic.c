// SPDX-License-Identifier: MIT
/*
 * The systolic body: drains computed by a contraction kernel, K steps in one
 * call. Operands come from FIFOs or, when both are made by READ programs in the
 * order the array wants, straight from the scratchpad: used in place, or copied
 * once where lanes are apart or predicates leave holes.
 */
#include <string.h>
#include "execute.h"

#define COPY_ROOM (1u << 18) /* words of copies of one operand that are kept */

static bool start_operand(struct island_run *ir, struct node *node, unsigned int i,
			  uint64_t activation)
{
	const struct direct_operand *d = &node->plan->sys->operand[i];
	uint64_t words = node->plan->sys->steps * ir->plan->lanes, slots = d->slots;

	if (d->in_place)
		return rdu_access_start(&node->tile[i].one, &d->tile, ir->st->run, activation,
					ir->st->copy[d->source], ir->fault);
	if (!rdu_source_start(&node->tile[i], ir, d->source, activation))
		return false;
	if (slots > COPY_ROOM / words)
		slots = 1;
	if (words * slots > SIZE_MAX / 8)
		return rdu_trouble(ir->fault, RDU_FAULT_INTERNAL, d->source, 0);
	node->slots[i] = slots;
	node->packed[i] = rdu_arena_get(ir->arena, words * slots * 4);
	node->packed_at[i] =
		rdu_arena_get(ir->arena, node->plan->sys->steps * slots * sizeof(ptrdiff_t));
	node->packed_ok[i] = rdu_arena_get(ir->arena, slots * sizeof(uint64_t));
	if (!node->packed[i] || !node->packed_at[i] || !node->packed_ok[i])
		return rdu_trouble(ir->fault, RDU_FAULT_INTERNAL, d->source, 0);
	memset(node->packed_ok[i], 0, slots * sizeof(uint64_t));
	return true;
}

bool rdu_systolic_start(struct island_run *ir, struct node *node, uint64_t activation)
{
	const struct systolic_plan *sys = node->plan->sys;

	node->acc = rdu_arena_get(ir->arena, (size_t)sys->cols * (sys->direct ? sys->beside : 1) *
						     ir->plan->lanes * 4);
	if (!node->acc)
		return rdu_trouble(ir->fault, RDU_FAULT_INTERNAL, node->plan->index, 0);
	if (!sys->direct)
		return true;
	return start_operand(ir, node, 0, activation) && start_operand(ir, node, 1, activation);
}

/* Sets acc to its starting values; false if they are not there yet. */
static bool start_drain(struct island_run *ir, struct node *node, uint64_t firing, uint32_t *acc)
{
	const struct systolic_plan *b = node->plan->sys;
	size_t words = (size_t)b->cols * ir->plan->lanes;
	const uint32_t *in;
	struct fifo *f;

	if (b->fp32) {
		for (uint32_t j = 0; j < b->cols; j++)
			for (uint32_t l = 0; l < ir->plan->lanes; l++)
				acc[j * ir->plan->lanes + l] = b->restart[j];
		return true;
	}
	if (!(b->flags & RDU_SYS_INIT)) {
		memset(acc, 0, words * 4);
		return true;
	}
	f = &ir->fifos[node->in->in[2]];
	if (rdu_fifo_avail(f, node->in->reader[2]) < b->cols)
		return false;
	in = rdu_fifo_read(f, node->in->reader[2], ir->plan->lanes);
	if ((b->flags & RDU_SYS_INIT_ALWAYS) || !rdu_mask_at(node->plan->sys->init, firing, false))
		memcpy(acc, in, words * 4);
	else
		memset(acc, 0, words * 4);
	rdu_fifo_pop(f, node->in->reader[2], b->cols);
	return true;
}

/* The tail, then the output ports. */
static bool end_drain(struct island_run *ir, struct node *node, uint64_t firing, uint32_t *acc)
{
	const struct program_plan *pp = node->plan;
	const struct systolic_plan *b = pp->sys;
	uint32_t lanes = ir->plan->lanes;
	size_t words = (size_t)b->cols * lanes;
	const uint32_t *port[RDU_MAX_PORTS] = { NULL }, *result = acc;

	if (!b->fp32 && b->mode == RDU_SYS_BF16)
		ir->plan->kernels->canon(words, acc);
	if (!b->fp32 && pp->simd->num_ops) {
		memcpy(ir->reg[0], acc, words * 4);
		rdu_simd_ops(ir, node, 0, pp->simd->num_ops, b->cols, firing, port);
		result = ir->reg[0];
	}
	for (uint32_t k = 0; k < node->in->num_out; k++) {
		uint32_t count = node->in->count[k];
		struct fifo *f = &ir->fifos[node->in->out[k]];
		uint32_t *out;

		if (!rdu_mask_at(rdu_out_mask(node, k), firing, true))
			continue;
		out = rdu_fifo_space(ir, f, count);
		if (!out)
			return rdu_trouble(ir->fault, RDU_FAULT_INTERNAL, pp->index, 0);
		memcpy(out, result + node->in->reg[k] * lanes, count * lanes * 4);
		rdu_fifo_push(f, count);
	}
	return true;
}

/* Operand i of drain `tile`: where its vectors are, from *at on if not evenly spaced. NULL on a
 * fault. */
static const uint32_t *get_operand(struct island_run *ir, struct node *node, unsigned int i,
				   uint64_t tile, const ptrdiff_t **at)
{
	const struct direct_operand *d = &node->plan->sys->operand[i];
	uint64_t steps = node->plan->sys->steps, slot = 0, left = tile, copy;
	uint32_t lanes = ir->plan->lanes, *out;

	*at = d->at;
	if (d->in_place) {
		struct access_run *r = &node->tile[i].one;

		rdu_access_seek(r, tile);
		return (const uint32_t *)r->ptr + r->addr;
	}
	for (uint32_t l = 0; l < d->num_loops; l++) {
		slot += left % d->loop[l].trip * d->loop[l].slots;
		left /= d->loop[l].trip;
	}
	copy = node->slots[i] > 1 ? slot : 0;
	out = node->packed[i] + copy * steps * lanes;
	*at = node->packed_at[i] + copy * steps;
	if (node->packed_ok[i][copy] == slot + 1)
		return out;
	node->packed_ok[i][copy] = 0;
	rdu_source_seek(&node->tile[i], tile * steps);
	if (!rdu_source_find(&node->tile[i], ir->plan->kernels, lanes, d->words, steps, out,
			     node->packed_at[i] + copy * steps))
		return NULL;
	node->packed_ok[i][copy] = slot + 1;
	return out;
}

/* The steps of m. False: a fault. */
static bool multiply(struct island_run *ir, const struct node *node, const struct rdu_mac *m)
{
	const struct rdu_kernels *k = ir->plan->kernels;
	const struct systolic_plan *sys = node->plan->sys;

	if (sys->fp32) {
		k->mac_fp32(m);
	} else if (sys->mode == RDU_SYS_INT8) {
		k->mac_int8(m);
	} else if (sys->mode == RDU_SYS_BF16) {
		k->mac_bf16(m);
	} else if (!k->mac_ternary(m)) {
		rdu_trouble(ir->fault, RDU_FAULT_VALUE, node->plan->index, 0);
		ir->fault->info = RDU_TRAP_TERNARY;
		return false;
	}
	return true;
}

/* How many drains from this one on are one call of a kernel: of wider vectors. */
static uint32_t drains_beside(const struct systolic_plan *sys, uint64_t tile)
{
	const struct access_plan *col = &sys->operand[0].tile;
	uint64_t left;

	if (sys->beside == 1)
		return 1;
	left = col->loop[col->num - 1].trip - tile % col->loop[col->num - 1].trip;
	return left < sys->beside ? (uint32_t)left : sys->beside;
}

static int64_t run_direct(struct island_run *ir, struct node *node, size_t n)
{
	const struct systolic_plan *sys = node->plan->sys;
	const struct direct_operand *col = &sys->operand[0], *row = &sys->operand[1];
	struct rdu_mac m = {
		.steps = sys->steps, .cols = sys->cols, .flags = sys->flags, .acc = node->acc
	};
	uint32_t lanes = ir->plan->lanes;
	uint64_t tile = node->pos / sys->steps, ran = 0;
	int64_t row_lane = 0;

	m.col_step = col->step;
	m.row_step = row->step;
	m.row_lane = row->in_place ? row->tile.lane_stride : 1;
	if (sys->fp32) {
		row_lane = sys->row_lane * m.row_lane;
		m.row_lane *= sys->row_step;
	}

	/* At least a chunk of results, or of steps. */
	do {
		uint64_t firing = node->first + node->pos + ran;
		uint32_t beside = drains_beside(sys, tile), d;

		for (d = 0; d < beside; d++)
			if (!start_drain(ir, node, firing + d * sys->steps, node->acc + d * lanes))
				break;
		if (d < beside) /* only one alone may lack its start */
			break;
		m.lanes = (size_t)beside * lanes;
		/* Both are evenly spaced, or none. */
		m.col = get_operand(ir, node, 0, tile, &m.col_at);
		m.row = m.col ? get_operand(ir, node, 1, tile, &m.row_at) : NULL;
		if (!m.row)
			return -1;
		m.row += row_lane;
		if (!multiply(ir, node, &m))
			return -1;
		for (d = 0; d < beside; d++, ran += sys->steps, tile++)
			if (!end_drain(ir, node, firing + (d + 1) * sys->steps - 1,
				       node->acc + d * lanes))
				return -1;
	} while (node->pos + ran < node->total && ran < n * 8 &&
		 ran / sys->steps * sys->cols < ir->plan->chunk);
	return (int64_t)ran;
}

/* Steps from `firing` on to the end of the drain, n at most: *first, *last: does it begin with a
 * drain's first step, end with its last? */
static size_t drain_part(struct island_run *ir, const struct systolic_plan *sys, uint64_t firing,
			 size_t n, bool *first, bool *last)
{
	uint64_t at = sys->steps ? firing % sys->steps : 0;
	size_t k = 1;

	if (sys->steps) {
		*first = !at;
		*last = n >= sys->steps - at;
		return *last ? (size_t)(sys->steps - at) : n;
	}
	rdu_mask_flags(sys->k, firing, n, false, ir->flags[0]);
	rdu_mask_flags(sys->k, firing, n, true, ir->flags[1]);
	while (k < n && !ir->flags[1][k - 1] && !ir->flags[0][k])
		k++;
	*first = ir->flags[0][0];
	*last = ir->flags[1][k - 1];
	return k;
}

int64_t rdu_systolic_run(struct island_run *ir, struct node *node, size_t n)
{
	const struct systolic_plan *sys = node->plan->sys;
	const struct systolic_plan *b = sys;
	struct rdu_mac m = { .lanes = ir->plan->lanes,
			     .cols = b->cols,
			     .flags = b->flags,
			     .acc = node->acc,
			     .row_lane = 1 };
	const uint32_t *col, *row;
	uint64_t firing = node->first + node->pos;
	bool first, last;
	size_t i, k;

	if (sys->direct)
		return run_direct(ir, node, n);
	n = rdu_port_ready(ir, node, 0, n);
	n = n ? rdu_port_ready(ir, node, 1, n) : 0;
	if (b->flags & RDU_SYS_INIT) {
		struct fifo *f = &ir->fifos[node->in->in[2]];
		size_t starts = rdu_fifo_avail(f, node->in->reader[2]) / b->cols;

		for (i = 0; i < n; i += k) {
			k = drain_part(ir, sys, firing + i, n - i, &first, &last);
			if (first && !starts--)
				break;
		}
		n = i < n ? i : n;
	}
	if (!n)
		return 0;
	col = rdu_port_take(ir, node, 0, n, ir->port[0]);
	row = rdu_port_take(ir, node, 1, n, ir->port[1]);
	m.col_step = m.row_step = (ptrdiff_t)m.lanes;
	for (i = 0; i < n; i += k) {
		k = drain_part(ir, sys, firing + i, n - i, &first, &last);
		if (first)
			start_drain(ir, node, firing + i, node->acc);
		m.steps = k;
		m.col = col + i * m.lanes;
		m.row = row + i * m.lanes;
		m.quarter = (firing + i) % 4;
		if (!multiply(ir, node, &m))
			return -1;
		if (last && !end_drain(ir, node, firing + i + k - 1, node->acc))
			return -1;
	}
	return (int64_t)n;
}
