// SPDX-License-Identifier: MIT
/* What a section's network of unit programs is made of (timing_flow.h). */
#include <stdlib.h>
#include <string.h>
#include "timing_flow.h"

#define PAGE 4096 /* segments are taken to lie one after another, on pages */

/* ---- distances ----------------------------------------------------------------- */

static uint32_t switch_of(const struct rdu_section *s, const struct rdu_cfg_program *c)
{
	unsigned int x, y;

	rdu_chip_unit_xy(&s->chip, rdu_kind_unit(c->kind), c->unit, &x, &y);
	return (y + c->tile * s->chip.tile_rows) * s->chip.tile_cols + x;
}

static uint32_t apart(const struct rdu_section *s, uint32_t a, uint32_t b)
{
	uint32_t cols = s->chip.tile_cols, x0 = a % cols, y0 = a / cols, x1 = b % cols,
		 y1 = b / cols;

	return (x0 > x1 ? x0 - x1 : x1 - x0) + (y0 > y1 ? y0 - y1 : y1 - y0) + 1;
}

static uint32_t link_end(const struct rdu_section *s, const struct rdu_cfg_link *l)
{
	switch (l->dir) {
	case RDU_DIR_N:
		return l->sw - s->chip.tile_cols;
	case RDU_DIR_E:
		return l->sw + 1;
	case RDU_DIR_S:
		return l->sw + s->chip.tile_cols;
	}
	return l->sw - 1;
}

/* Switches from the producer's to `to`, both counted, along the stream's tree; `far`: a
 * word for each switch, for whoever calls. */
static uint32_t route_hops(const struct rdu_section *s, const struct rdu_cfg_stream *st,
			   uint32_t *far, uint32_t to)
{
	const struct rdu_cfg_link *l = s->links + st->first_link;
	uint32_t root = switch_of(s, &s->programs[st->program]), i, hops;
	bool more = true;

	if (to == root)
		return 1;
	for (i = 0; i < st->num_links; i++)
		far[link_end(s, &l[i])] = 0;
	far[root] = 1;
	while (more) {
		more = false;
		for (i = 0; i < st->num_links; i++) {
			uint32_t end = link_end(s, &l[i]);

			if (far[l[i].sw] && !far[end]) {
				far[end] = far[l[i].sw] + 1;
				more = true;
			}
		}
	}
	hops = far[to];
	return hops ? hops : apart(s, root, to);
}

/* ---- streams ------------------------------------------------------------------- */

static uint32_t power_of_two(uint32_t n)
{
	uint32_t p = 1;

	while (p < n)
		p *= 2;
	return p;
}

static void set_streams(struct flow *f, uint32_t *far)
{
	const struct rdu_section *s = f->s;

	for (uint32_t i = 0; i < s->hdr->streams.count; i++) {
		const struct rdu_cfg_stream *cfg = &s->streams[i];
		struct flow_stream *st = &f->stream[i];
		uint32_t most = 0;

		*st = (struct flow_stream){ .producer = cfg->program,
					    .first_dest = cfg->first_dest,
					    .num_dests = cfg->num_dests };
		for (uint32_t k = 0; k < cfg->num_dests; k++) {
			const struct rdu_cfg_dest *to = &s->dests[cfg->first_dest + k];
			struct flow_dest *d = &f->dest[cfg->first_dest + k];

			d->stream = st;
			d->program = to->program;
			d->port = to->port;
			d->delay =
				route_hops(s, cfg, far, switch_of(s, &s->programs[to->program])) *
				s->chip.hop_cycles;
			/* The FIFO, the wires' registers, the producer's pipeline. */
			d->room = s->chip.fifo_vectors + d->delay + f->prog[cfg->program].latency;
			d->mask = power_of_two(d->room + 1) - 1;
			if (d->room > most)
				most = d->room;
			f->prog[to->program].in[to->port].index = cfg->first_dest + k;
		}
		st->mask = power_of_two(most + 1) - 1;
		f->prog[cfg->program].out[cfg->port].index = i;
	}
}

/* All rings in one piece of memory. */
static int set_rings(struct flow *f)
{
	const struct rdu_section *s = f->s;
	uint64_t *at;
	size_t n = 0;
	uint32_t i;

	for (i = 0; i < s->hdr->streams.count; i++)
		n += f->stream[i].mask + 1;
	for (i = 0; i < s->hdr->dests.count; i++)
		n += f->dest[i].mask + 1;
	at = f->ring = calloc(n + 1, sizeof(*at));
	if (!at)
		return -1;
	for (i = 0; i < s->hdr->streams.count; i++) {
		f->stream[i].at = at;
		at += f->stream[i].mask + 1;
	}
	for (i = 0; i < s->hdr->dests.count; i++) {
		f->dest[i].at = at;
		at += f->dest[i].mask + 1;
	}
	return 0;
}

/* ---- programs ------------------------------------------------------------------ */

static void affine(const struct flow_prog *p, struct flow_affine *x, int64_t base,
		   const __s64 *stride)
{
	x->value = base;
	for (unsigned int c = 0; c < p->num_counters; c++) {
		const struct rdu_cfg_counter *k = &p->p->cfg->counter[c];

		x->value += stride[c] * k->start;
		x->step[c] = stride[c] * k->step;
		x->back[c] = x->step[c] * (int64_t)(p->trip[c] - 1);
	}
}

static void set_affine(struct flow_prog *p)
{
	const struct rdu_cfg_access *a = p->p->body;

	affine(p, &p->base, a->base, a->stride);
	for (unsigned int k = 0; k < a->num_preds; k++) {
		__s64 stride[RDU_MAX_COUNTERS];

		for (unsigned int c = 0; c < RDU_MAX_COUNTERS; c++)
			stride[c] = a->pred[k].stride[c];
		affine(p, &p->pred[k], a->pred[k].base, stride);
	}
}

static void set_program(struct flow *f, uint32_t i)
{
	const struct rdu_section *s = f->s;
	struct flow_prog *p = &f->prog[i];
	const struct rdu_cfg_program *cfg = s->progs[i].cfg;
	const struct rdu_cfg_access *a = s->progs[i].body;
	unsigned int c, lanes = s->chip.lanes;

	p->p = &s->progs[i];
	p->index = i;
	p->kind = cfg->kind;
	p->activations = p->p->activations;
	p->iterations = p->p->iterations;
	p->num_counters = cfg->num_counters;
	p->num_outer = cfg->num_outer;
	p->num_in = cfg->num_in;
	p->num_out = cfg->num_out;
	for (c = 0; c < cfg->num_counters; c++) {
		p->trip[c] = (uint32_t)p->p->trip[c];
		p->first_bits |= 1u << c;
		p->last_bits |= (uint32_t)(p->trip[c] == 1) << c;
	}
	for (c = 0; c < cfg->num_in; c++)
		p->in[c] = (struct flow_port){ .mask = cfg->in[c].mask,
					       .count = cfg->kind == RDU_KIND_SYSTOLIC && c == 2
								? cfg->in[c].count
								: 1 };
	for (c = 0; c < cfg->num_out; c++)
		p->out[c] = (struct flow_port){ .mask = cfg->out[c].mask,
						.count = cfg->out[c].count,
						.reg = cfg->out[c].reg };
	/* What memory's latency holds up waits in the AGCU, not on the way to the consumers. */
	if (cfg->kind < RDU_KIND_LOAD)
		p->latency = f->costs->prog[i].latency;
	if (cfg->kind == RDU_KIND_SYSTOLIC)
		p->k_mask = (uint8_t)((const struct rdu_cfg_systolic *)p->p->body)->k_mask;
	if (cfg->kind < RDU_KIND_READ)
		return;
	set_affine(p);
	if (cfg->kind == RDU_KIND_LOAD || cfg->kind == RDU_KIND_STORE)
		return;
	lanes = rdu_pack_words(a, lanes < a->lanes ? lanes : a->lanes);
	p->bank = rdu_bank_lanes(s, a, lanes < a->lanes ? lanes : a->lanes);
	p->banks_vary = a->num_preds && p->bank > (a->flags & RDU_ACCESS_ADD ? 2 : 1);
}

/* Where segments lie: one after another, each as long as what is accessed of it. */
static int set_segments(struct flow *f)
{
	const struct rdu_section *s = f->s;
	uint64_t *size = calloc(s->hdr->num_segments + 1, sizeof(*size)), at = 0;
	uint32_t i, n = 0;

	if (!size)
		return -1;
	for (i = 0; i < s->hdr->programs.count; i++) {
		struct flow_prog *p = &f->prog[i];
		const struct rdu_cfg_access *a = p->p->body;
		int64_t hi;

		if (p->kind != RDU_KIND_LOAD && p->kind != RDU_KIND_STORE)
			continue;
		hi = p->base.value;
		for (unsigned int c = 0; c < p->num_counters; c++)
			hi += p->base.back[c] > 0 ? p->base.back[c] : 0;
		hi += a->lane_stride > 0 ? a->lane_stride * a->lanes : 1;
		p->access = &f->access[n];
		p->access->vector = f->vectors + (size_t)n * s->chip.agcu_vectors;
		p->access->delivered_at = f->delivered + (size_t)n++ * s->chip.agcu_vectors;
		p->access->element = rdu_format_bytes(a->format);
		if (hi > 0 && (uint64_t)hi * p->access->element > size[a->target])
			size[a->target] = (uint64_t)hi * p->access->element;
	}
	for (i = 0; i < s->hdr->num_segments; i++) {
		uint64_t bytes = size[i];

		size[i] = at;
		at += (bytes + PAGE - 1) / PAGE * PAGE;
	}
	for (i = 0; i < s->hdr->programs.count; i++)
		if (f->prog[i].access) {
			uint32_t to = ((const struct rdu_cfg_access *)f->prog[i].p->body)->target;

			f->prog[i].access->base = size[to];
			f->prog[i].access->in_host = rdu_in_host(f->off, to);
		}
	free(size);
	return 0;
}

/* ---- tokens -------------------------------------------------------------------- */

static void set_tokens(struct flow *f)
{
	const struct rdu_section *s = f->s;
	uint32_t n = s->hdr->tokens.count, i, in = 0, out = 0;

	for (i = 0; i < n; i++) {
		const struct rdu_cfg_token *t = &s->tokens[i];

		f->edge[i] =
			(struct flow_tokens){ .initial = t->initial,
					      .src = t->src,
					      .dst = t->dst,
					      .src_mask = t->src_mask,
					      .dst_mask = t->dst_mask,
					      .delay = apart(s, switch_of(s, &s->programs[t->src]),
							     switch_of(s, &s->programs[t->dst])) *
						       s->chip.hop_cycles };
		f->prog[t->src].num_out_edges++;
		f->prog[t->dst].num_in_edges++;
	}
	for (i = 0; i < s->hdr->programs.count; i++) {
		f->prog[i].first_in_edge = in;
		f->prog[i].first_out_edge = out;
		in += f->prog[i].num_in_edges;
		out += f->prog[i].num_out_edges;
		f->prog[i].num_in_edges = f->prog[i].num_out_edges = 0;
	}
	for (i = 0; i < n; i++) {
		struct flow_prog *src = &f->prog[f->edge[i].src], *dst = &f->prog[f->edge[i].dst];

		f->out_edge[src->first_out_edge + src->num_out_edges++] = i;
		f->in_edge[dst->first_in_edge + dst->num_in_edges++] = i;
	}
}

/* ---- actors -------------------------------------------------------------------- */

struct member {
	uint32_t unit, program;
};

static int by_unit(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	if (x->unit != y->unit)
		return x->unit < y->unit ? -1 : 1;
	return x->program < y->program ? -1 : 1;
}

static int set_requests(struct flow_actor *a, const struct rdu_chip *chip)
{
	uint32_t words = (chip->agcu_vectors + 63) / 64;

	a->request = calloc(chip->agcu_requests, sizeof(*a->request));
	a->coming = calloc(chip->agcu_requests, sizeof(*a->coming));
	a->waiting = calloc((size_t)chip->agcu_requests * words, sizeof(*a->waiting));
	if (!a->request || !a->coming || !a->waiting)
		return -1;
	for (uint32_t i = 0; i < chip->agcu_requests; i++)
		a->request[i].waiting = a->waiting + (size_t)i * words;
	return 0;
}

/* Programs that share a unit's turns are one actor; each PCU program is its own. */
static int set_actors(struct flow *f)
{
	uint32_t n = f->s->hdr->programs.count, i, k;
	struct member *m = calloc(n + 1, sizeof(*m));

	if (!m)
		return -1;
	for (i = 0; i < n; i++) {
		uint32_t unit = f->costs->prog[i].unit;

		m[i] = (struct member){ unit == ~0u ? f->costs->num_units + i : unit, i };
	}
	qsort(m, n, sizeof(*m), by_unit);
	for (i = 0; i < n; i = k) {
		struct flow_actor *a = &f->actor[f->num_actors];

		a->member = &f->member[i];
		a->first = &f->prog[m[i].program];
		for (k = i; k < n && m[k].unit == m[i].unit; k++) {
			f->member[k] = (struct flow_member){ .ready = FLOW_NEVER,
							     .deliver = FLOW_NEVER,
							     .program = m[k].program,
							     .dirty = true };
			f->prog[m[k].program].member = &f->member[k];
			f->prog[m[k].program].actor = f->num_actors;
		}
		a->num = k - i;
		a->agcu = f->prog[m[i].program].access;
		f->num_actors++;
		if (a->agcu && !f->num_agcus++)
			f->first_agcu = f->num_actors - 1;
		if (a->agcu && set_requests(a, &f->s->chip)) {
			free(m);
			return -1;
		}
		if (a->num > 1)
			a->slot = calloc(SLOTS, sizeof(*a->slot));
		if (a->num > 1 && !a->slot) {
			free(m);
			return -1;
		}
	}
	free(m);
	return 0;
}

int rdu_flow_new(struct flow *f, const struct rdu_section *s, const struct rdu_costs *costs,
		 const struct rdu_offchip *off)
{
	uint32_t n = s->hdr->programs.count, accesses = 0, i, cycles;
	uint32_t *far =
		calloc((size_t)s->hdr->num_tiles * s->chip.tile_rows * s->chip.tile_cols + 1,
		       sizeof(*far));

	memset(f, 0, sizeof(*f));
	f->s = s;
	f->costs = costs;
	f->off = off;
	f->left = n;
	f->same = SAME;
	while (1u << f->burst_shift < s->chip.dram_burst)
		f->burst_shift++;
	f->agcu_rate = s->chip.lanes * 4 / s->chip.dram_burst;
	f->agcu_rate = f->agcu_rate ? f->agcu_rate : 1;
	for (i = 0; i < n; i++)
		accesses += s->progs[i].cfg->kind >= RDU_KIND_LOAD;
	f->memory = rdu_memory_new(&s->chip, off->others, rdu_agcu_got, f);
	f->prog = calloc(n + 1, sizeof(*f->prog));
	f->access = calloc(accesses + 1, sizeof(*f->access));
	f->vectors = calloc((size_t)accesses * s->chip.agcu_vectors + 1, sizeof(*f->vectors));
	f->delivered = calloc((size_t)accesses * s->chip.agcu_vectors + 1, sizeof(*f->delivered));
	f->stream = calloc(s->hdr->streams.count + 1, sizeof(*f->stream));
	f->dest = calloc(s->hdr->dests.count + 1, sizeof(*f->dest));
	f->edge = calloc(s->hdr->tokens.count + 1, sizeof(*f->edge));
	f->in_edge = calloc(s->hdr->tokens.count + 1, sizeof(*f->in_edge));
	f->out_edge = calloc(s->hdr->tokens.count + 1, sizeof(*f->out_edge));
	f->actor = calloc(n + 1, sizeof(*f->actor));
	f->member = calloc(n + 1, sizeof(*f->member));
	f->queue = calloc(n + 1, sizeof(*f->queue));
	f->stage_events = calloc(s->num_stages + 1, sizeof(*f->stage_events));
	f->timed = calloc(n / 64 + 1, sizeof(*f->timed));
	if (!far || !f->memory || !f->prog || !f->access || !f->vectors || !f->delivered ||
	    !f->stream || !f->dest || !f->edge || !f->in_edge || !f->out_edge || !f->actor ||
	    !f->member || !f->queue || !f->timed || !f->stage_events)
		goto fail;
	/* No longer than it takes until the fabric learns of what it asked for. */
	cycles = rdu_memory_read_cycles(f->memory);
	f->window = cycles < 8 ? 8 : cycles > 24 ? 24 : cycles;
	for (i = 0; i < n; i++)
		set_program(f, i);
	set_streams(f, far);
	set_tokens(f);
	if (set_rings(f) || set_segments(f) || set_actors(f) || rdu_skip_new(f) ||
	    rdu_parts_new(f) || rdu_trend_new(f))
		goto fail;
	for (i = 0; i < f->num_actors; i++)
		rdu_flow_queue(f, i);
	free(far);
	return 0;
fail:
	free(far);
	rdu_flow_free(f);
	return -1;
}

void rdu_flow_free(struct flow *f)
{
	uint32_t i;

	for (i = 0; f->actor && i < f->num_actors; i++) {
		free(f->actor[i].request);
		free(f->actor[i].coming);
		free(f->actor[i].waiting);
		free(f->actor[i].slot);
	}
	for (i = 0; f->edge && i < f->s->hdr->tokens.count; i++)
		free(f->edge[i].at);
	rdu_memory_free(f->memory);
	rdu_skip_free(f);
	rdu_parts_free(f);
	rdu_trend_free(f);
	free(f->prog);
	free(f->access);
	free(f->vectors);
	free(f->delivered);
	free(f->stream);
	free(f->dest);
	free(f->edge);
	free(f->in_edge);
	free(f->out_edge);
	free(f->actor);
	free(f->member);
	free(f->queue);
	free(f->timed);
	free(f->stage_events);
	free(f->ring);
	memset(f, 0, sizeof(*f));
}
