// SPDX-License-Identifier: MIT
/*
 * One activation of an island: its nodes pass chunks of vectors along FIFOs. A
 * node runs when a chunk of its input is there and its output is wanted; when
 * nobody can, the first that has any input runs with what there is, and when
 * FIFOs are in the way they grow (Parks, 1995), so that a graph without a cycle
 * always comes to its end.
 */
#include <stdlib.h>
#include <string.h>
#include "execute.h"

/* ---- arena ----------------------------------------------------------------- */

#define ALIGN_UP(n) (((n) + 63) & ~(size_t)63)

/* A stage whose paths differ too much in length would fill the host: it gets so
 * much for one activation of an island, and a fault beyond. */
#define ARENA_MAX ((size_t)512 << 20)

void *rdu_arena_get(struct arena *a, size_t size)
{
	void **block;

	if (a->wanted > ARENA_MAX || size > ARENA_MAX - a->wanted)
		return NULL;
	size = ALIGN_UP(size ? size : 1); /* never NULL for nothing */
	a->wanted += size;
	if (a->size - a->used >= size) {
		a->used += size;
		return a->base + a->used - size;
	}
	block = aligned_alloc(64, size + 64);
	if (!block)
		return NULL;
	*block = a->more;
	a->more = block;
	return (unsigned char *)block + 64;
}

void rdu_arena_reset(struct arena *a)
{
	while (a->more) {
		void **block = a->more;

		a->more = *block;
		free(block);
	}
	if (a->wanted > a->size && a->wanted <= ARENA_MAX / 8) {
		free(a->base);
		a->size = ALIGN_UP(a->wanted + a->wanted / 4);
		a->base = aligned_alloc(64, a->size);
		if (!a->base)
			a->size = 0;
	}
	a->used = 0;
	a->wanted = 0;
}

void rdu_arena_free(struct arena *a)
{
	rdu_arena_reset(a);
	free(a->base);
	memset(a, 0, sizeof(*a));
}

/* ---- masks --------------------------------------------------------------------- */

bool rdu_mask_at(const struct firing_mask *m, uint64_t firing, bool last)
{
	for (uint32_t g = 0; m && g < m->num; g++)
		if (firing / m->period[g] % m->trip[g] != (last ? m->trip[g] - 1 : 0))
			return false;
	return true;
}

void rdu_mask_flags(const struct firing_mask *m, uint64_t firing, size_t n, bool last,
		    uint8_t *flags)
{
	memset(flags, 1, n);
	for (uint32_t g = 0; m && g < m->num; g++) {
		uint64_t in = firing % m->period[g], at = firing / m->period[g] % m->trip[g];
		uint64_t want = last ? m->trip[g] - 1 : 0;

		for (size_t i = 0; i < n;) {
			uint64_t left = m->period[g] - in;
			size_t k = left < n - i ? left : n - i;

			if (at != want)
				memset(flags + i, 0, k);
			i += k;
			in = 0;
			if (++at == m->trip[g])
				at = 0;
		}
	}
}

/* ---- FIFOs and ports ------------------------------------------------------------- */

uint32_t *rdu_fifo_space(struct island_run *ir, struct fifo *f, size_t n)
{
	uint32_t lanes = ir->plan->lanes;
	size_t have = f->end - f->start;
	uint64_t low = f->end;

	if (have + n <= f->room)
		return f->data + have * lanes;
	for (uint32_t i = 0; i < f->readers; i++)
		low = f->rd[i] < low ? f->rd[i] : low;
	have = f->end - low;
	if (have + n > f->room) {
		size_t room = (have + n) * 2;
		uint32_t *data;

		/* Vectors are counted in 40 bits at most, but memory ends before. */
		if (room > SIZE_MAX / 4 / lanes)
			return NULL;
		data = rdu_arena_get(ir->arena, room * lanes * 4);
		if (!data)
			return NULL;
		if (have)
			memcpy(data, f->data + (low - f->start) * lanes, have * lanes * 4);
		f->data = data;
		f->room = room;
	} else if (have) {
		memmove(f->data, f->data + (low - f->start) * lanes, have * lanes * 4);
	}
	f->start = low;
	return f->data + have * lanes;
}

size_t rdu_port_ready(struct island_run *ir, struct node *node, uint32_t port, size_t n)
{
	const struct firing_mask *m = rdu_in_mask(node, port);
	size_t avail = rdu_fifo_avail(&ir->fifos[node->in->in[port]], node->in->reader[port]);
	size_t i;

	if (!m)
		return avail < n ? avail : n;
	rdu_mask_flags(m, node->first + node->pos, n, false, ir->flags[0]);
	for (i = 0; i < n; i++) {
		if (!ir->flags[0][i])
			continue;
		if (!avail--)
			break;
	}
	return i;
}

const uint32_t *rdu_port_take(struct island_run *ir, struct node *node, uint32_t port, size_t n,
			      uint32_t *buf)
{
	const struct firing_mask *m = rdu_in_mask(node, port);
	struct fifo *f = &ir->fifos[node->in->in[port]];
	uint32_t reader = node->in->reader[port], lanes = ir->plan->lanes;
	const uint32_t *in = rdu_fifo_read(f, reader, lanes), *held = node->held[port];
	size_t pops = 0;

	if (!m) {
		rdu_fifo_pop(f, reader, n);
		return in;
	}
	rdu_mask_flags(m, node->first + node->pos, n, false, ir->flags[0]);
	for (size_t i = 0; i < n; i++) {
		if (ir->flags[0][i])
			held = in + pops++ * lanes;
		memcpy(buf + i * lanes, held, lanes * 4);
	}
	if (held != node->held[port])
		memcpy(node->held[port], held, lanes * 4);
	rdu_fifo_pop(f, reader, pops);
	return buf;
}

/* ---- memory nodes ----------------------------------------------------------------- */

static int64_t run_read(struct island_run *ir, struct node *node, size_t n)
{
	const struct rdu_plan *plan = ir->plan;
	struct fifo *f = &ir->fifos[node->in->out[0]];
	const struct firing_mask *m = rdu_out_mask(node, 0);
	const uint32_t *index = NULL;
	uint32_t *out;

	if (node->in->num_in) {
		n = rdu_port_ready(ir, node, 0, n);
		if (!n)
			return 0;
		index = rdu_port_take(ir, node, 0, n, ir->port[0]);
	}
	out = rdu_fifo_space(ir, f, n);
	if (!out)
		return rdu_trouble(ir->fault, RDU_FAULT_INTERNAL, node->plan->index, 0) - 1;
	if (!rdu_access_read(&node->access, plan->kernels, plan->lanes, n, out, index))
		return -1;
	if (m) {
		size_t keep = 0;

		rdu_mask_flags(m, node->first + node->pos, n, true, ir->flags[0]);
		for (size_t i = 0; i < n; i++)
			if (ir->flags[0][i])
				memmove(out + keep++ * plan->lanes, out + i * plan->lanes,
					plan->lanes * 4);
		rdu_fifo_push(f, keep);
	} else {
		rdu_fifo_push(f, n);
	}
	return (int64_t)n;
}

static int64_t run_merge(struct island_run *ir, struct node *node, size_t n)
{
	struct fifo *f = &ir->fifos[node->in->out[0]];
	uint32_t *out = rdu_fifo_space(ir, f, n);

	if (!out)
		return rdu_trouble(ir->fault, RDU_FAULT_INTERNAL, node->plan->index, 0) - 1;
	if (!rdu_source_read(&node->source, ir->plan->kernels, ir->plan->lanes, n, out))
		return -1;
	rdu_fifo_push(f, n);
	return (int64_t)n;
}

/* Do the int32 of n vectors fit the bytes that they go to? */
static bool fit_bytes(struct island_run *ir, const struct access_plan *a, size_t n,
		      const uint32_t *in)
{
	size_t lanes = ir->plan->lanes, live = a->cfg->lanes;

	for (size_t i = 0; i < n; i++)
		if (rdu_first_misfit(a->cfg->format, live, in + i * lanes) < live) {
			rdu_trouble(ir->fault, RDU_FAULT_VALUE, a->program, 0);
			ir->fault->info = RDU_TRAP_STORE;
			return false;
		}
	return true;
}

/* n vectors of narrow elements to words (enum rdu_pack). */
static bool pack(struct island_run *ir, const struct node *node, size_t n, uint32_t *out,
		 const uint32_t *in)
{
	const struct rdu_kernels *k = ir->plan->kernels;
	const struct access_plan *a = &node->plan->access;
	size_t lanes = ir->plan->lanes, group = rdu_pack_vectors(a->cfg);
	bool bytes = a->cfg->format != RDU_FMT_WORD;

	if (bytes && !fit_bytes(ir, a, n, in))
		return false;
	switch (a->pack) {
	case RDU_PACK_VEC:
		for (; n; n -= group, in += group * lanes, out += lanes) {
			if (bytes)
				k->pack_bytes(lanes, out, in, lanes);
			else
				k->pack(lanes, out, in, in + lanes);
		}
		break;
	case RDU_PACK_LANE:
		if (bytes)
			k->pack_lane_bytes(n * (lanes / 4), out, in);
		else
			k->pack_lane(n * (lanes / 2), out, in);
		break;
	case RDU_PACK_LOW:
		if (!bytes)
			k->pack_low(n * lanes, out, in);
		for (size_t i = 0; bytes && i < n * lanes; i++)
			out[i] = in[i] & 0xff;
		break;
	}
	return true;
}

static int64_t run_write(struct island_run *ir, struct node *node, size_t n)
{
	const struct rdu_plan *plan = ir->plan;
	const struct rdu_kernels *k = plan->kernels;
	const struct access_plan *a = &node->plan->access;
	const uint32_t *in, *index = NULL;
	size_t lanes = plan->lanes, pitch = lanes, group = a->pack ? rdu_pack_vectors(a->cfg) : 1,
	       m, i;
	uint32_t *buf = ir->extra[0];

	for (i = 0; i < node->in->num_in && n; i++)
		n = rdu_port_ready(ir, node, i, n);
	n -= n % group;
	if (!n)
		return 0;
	in = rdu_port_take(ir, node, 0, n, ir->port[0]);
	if (node->in->num_in > 1)
		index = rdu_port_take(ir, node, 1, n, ir->port[1]);
	m = n / group;
	if (a->pack) {
		pitch = rdu_pack_words(a->cfg, (unsigned int)lanes);
		if (!pack(ir, node, n, buf, in))
			return -1;
		in = buf;
	}
	if (index && m < n) { /* the index of the first vector of each group */
		for (i = 0; i < m; i++)
			memcpy(ir->extra[1] + i * lanes, index + n / m * i * lanes, lanes * 4);
		index = ir->extra[1];
	}
	if (!rdu_access_write(&node->access, k, pitch, lanes, m, in, index))
		return -1;
	return (int64_t)n;
}

/* ---- nodes -------------------------------------------------------------------------- */

/* A READ program of an activation's words one after another: they are in its FIFO where they lie, as
 * nobody writes them meanwhile. Then it has nothing to do. */
static void read_in_place(struct island_run *ir, struct node *node)
{
	const struct access_plan *a = &node->plan->access;
	const struct access_run *r = &node->access;
	struct fifo *f = &ir->fifos[node->in->out[0]];
	uint32_t lanes = ir->plan->lanes;

	if (a->num_preds || a->words != lanes || a->lane_stride != 1 || a->num != 1 ||
	    a->loop[0].stride != lanes || r->check || !r->word || rdu_out_mask(node, 0))
		return;
	f->data = (uint32_t *)(uintptr_t)((uintptr_t)r->ptr + (uintptr_t)r->addr * 4);
	f->room = f->end = node->total;
	node->pos = node->total;
}

static bool start_node(struct island_run *ir, struct node *node, uint64_t activation)
{
	const struct program_plan *pp = node->plan;
	uint32_t lanes = ir->plan->lanes;

	node->pos = 0;
	node->total = node->in->iterations;
	node->first = activation * node->total;
	for (uint32_t i = 0; node->in->masked && i < node->in->num_in; i++) {
		if (!pp->in_mask[i] || node->in->in[i] == NO_FIFO)
			continue;
		node->held[i] = rdu_arena_get(ir->arena, lanes * 4);
		if (!node->held[i])
			return rdu_trouble(ir->fault, RDU_FAULT_INTERNAL, pp->index, 0);
	}
	if (node->in->merge)
		return rdu_source_start(&node->source, ir, node->in->program, activation);
	switch (node->in->kind) {
	case RDU_KIND_SIMD:
	case RDU_KIND_SYSTOLIC:
		return rdu_simd_start(ir, node) &&
		       (!pp->sys || rdu_systolic_start(ir, node, activation));
	default:
		if (!rdu_access_start(&node->access, &pp->access, ir->st->run, activation,
				      ir->st->copy[node->in->program], ir->fault))
			return false;
		if (node->in->kind == RDU_KIND_READ && !node->in->num_in)
			read_in_place(ir, node);
		return true;
	}
}

/* Is there a use for more of this node's output now? */
static bool wanted(const struct island_run *ir, const struct node *node, size_t limit)
{
	for (uint32_t k = 0; k < node->in->num_out; k++) {
		const struct fifo *f = &ir->fifos[node->in->out[k]];
		uint64_t low = f->end;

		for (uint32_t i = 0; i < f->readers; i++)
			low = f->rd[i] < low ? f->rd[i] : low;
		if (f->end - low >= limit)
			return false;
	}
	return true;
}

/* Is a whole chunk of input there, or all that will come? */
static bool worthwhile(struct island_run *ir, struct node *node, size_t n)
{
	for (uint32_t k = 0; k < node->in->num_in; k++) {
		const struct firing_mask *m = rdu_in_mask(node, k);
		const struct fifo *f;

		if (node->in->in[k] == NO_FIFO)
			continue;
		f = &ir->fifos[node->in->in[k]];
		if (!m && rdu_fifo_avail(f, node->in->reader[k]) < n)
			return false;
		if (m && !rdu_fifo_avail(f, node->in->reader[k]) &&
		    rdu_port_ready(ir, node, k, n) < n)
			return false;
	}
	return true;
}

static int64_t run_node(struct island_run *ir, struct node *node)
{
	uint64_t left = node->total - node->pos;
	size_t n = left < ir->plan->chunk ? left : ir->plan->chunk;
	int64_t ran;

	if (!ir->flush && !worthwhile(ir, node, n))
		return 0;
	switch (node->in->kind) {
	case RDU_KIND_SIMD:
	case RDU_KIND_SYSTOLIC:
		if (node->in->merge)
			ran = run_merge(ir, node, n);
		else if (node->plan->sys)
			ran = rdu_systolic_run(ir, node, n);
		else
			ran = rdu_simd_run(ir, node, n);
		break;
	case RDU_KIND_READ:
	case RDU_KIND_LOAD:
		ran = run_read(ir, node, n);
		break;
	default:
		ran = run_write(ir, node, n);
		break;
	}
	if (ran > 0)
		node->pos += ran;
	return ran;
}

static bool stopped(struct island_run *ir)
{
	const struct fab_run *run = ir->st->run;

	/* The clock is looked at less often. */
	return rdu_give_up(run->stop, ++ir->polls % 64 ? 0 : run->deadline_ns);
}

static bool run_nodes(struct island_run *ir)
{
	uint32_t n = ir->island->num_nodes, i, left = 0;
	size_t limit = 2 * ir->plan->chunk;

	for (i = 0; i < n; i++)
		left += ir->nodes[i].pos < ir->nodes[i].total;
	while (left) {
		bool progress = false;

		if (stopped(ir))
			return rdu_trouble(ir->fault, RDU_FAULT_WATCHDOG, 0, 0);
		for (i = 0; i < n; i++) {
			struct node *node = &ir->nodes[i];
			int64_t ran;

			if (node->pos == node->total || !wanted(ir, node, limit))
				continue;
			ran = run_node(ir, node);
			if (ran < 0)
				return false;
			if (!ran)
				continue;
			progress = true;
			if (node->pos == node->total)
				left--;
			if (ir->flush)
				break;
		}
		if (progress) {
			ir->flush = false;
		} else if (!ir->flush) {
			ir->flush = true;
		} else {
			ir->flush = false;
			if (limit > SIZE_MAX / 4)
				return rdu_trouble(ir->fault, RDU_FAULT_INTERNAL, 0, 0);
			limit *= 2;
		}
	}
	return true;
}

/* FIFOs, and registers of the node that runs: no larger than what goes through them in an
 * activation, so that what is used lies close together. */
static bool get_fifos(struct island_run *ir)
{
	const struct island *il = ir->island;
	uint64_t *readers = rdu_arena_get(ir->arena, il->num_readers * sizeof(*readers));

	ir->fifos = rdu_arena_get(ir->arena, il->num_fifos * sizeof(*ir->fifos));
	if (!ir->fifos || !readers)
		return false;
	memset(readers, 0, il->num_readers * sizeof(*readers));
	for (uint32_t i = 0; i < il->num_fifos; i++) {
		const struct island_fifo *plan = &il->fifos[i];

		ir->fifos[i] = (struct fifo){ .rd = readers,
					      .readers = plan->readers,
					      .room = plan->room };
		ir->fifos[i].data =
			rdu_arena_get(ir->arena, (size_t)plan->room * ir->plan->lanes * 4);
		if (!ir->fifos[i].data)
			return false;
		readers += plan->readers;
	}
	return true;
}

static bool get_work_space(struct island_run *ir)
{
	const struct rdu_plan *plan = ir->plan;
	uint32_t words = ir->island->most * plan->lanes, i;
	unsigned char *p;

	/* A drain may be wider than a chunk. */
	ir->reg_words = words;
	if (ir->st->section->chip.systolic_cols * plan->lanes > words)
		ir->reg_words = ir->st->section->chip.systolic_cols * plan->lanes;
	ir->extra_words = ir->reg_words;
	p = rdu_arena_get(ir->arena, (size_t)(16 + RDU_MAX_PORTS + 12) * ir->reg_words * 4 +
					     2 * (size_t)ir->reg_words);
	if (!p)
		return false;
	for (i = 0; i < 16; i++, p += ir->reg_words * 4)
		ir->reg[i] = (uint32_t *)p;
	for (i = 0; i < RDU_MAX_PORTS; i++, p += ir->reg_words * 4)
		ir->port[i] = (uint32_t *)p;
	for (i = 0; i < 12; i++, p += ir->reg_words * 4)
		ir->extra[i] = (uint32_t *)p;
	for (i = 0; i < 2; i++, p += ir->reg_words)
		ir->flags[i] = p;
	return true;
}

bool rdu_island_run(struct run_state *st, const struct island *il, uint64_t activation,
		    struct arena *arena, struct fab_fault *fault)
{
	const struct rdu_plan *plan = st->plan;
	struct island_run ir = {
		.st = st, .plan = plan, .island = il, .arena = arena, .fault = fault
	};
	uint32_t i;

	if (il->transfer && rdu_transfer_run(st, il, activation, fault))
		return true;
	rdu_arena_reset(arena);
	ir.nodes = rdu_arena_get(arena, il->num_nodes * sizeof(*ir.nodes));
	if (!ir.nodes || !get_fifos(&ir) || !get_work_space(&ir))
		return rdu_trouble(fault, RDU_FAULT_INTERNAL, 0, 0);
	for (i = 0; i < il->num_nodes; i++) {
		ir.nodes[i].in = &il->nodes[i];
		ir.nodes[i].plan = il->nodes[i].plan;
		if (!start_node(&ir, &ir.nodes[i], activation))
			return false;
	}
	return run_nodes(&ir);
}
