// SPDX-License-Identifier: MIT
/*
 * Validation of a configuration image: header, tables, programs, counters and
 * units. Bodies are in validate_body.c, streams and stages in validate_graph.c,
 * tokens and buffers in validate_tokens.c, routes in validate_route.c.
 *
 * Works on a private copy of the image, so that nobody can change it between
 * check and use, in time linear in the image and the activations simulated.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fabric_priv.h"

int rdu_refuse(struct rdu_cfg_diag *diag, enum rdu_cfg_error error, uint64_t offset,
	       const char *fmt, ...)
{
	va_list ap;

	diag->error = error;
	diag->offset = offset;
	diag->section = ~0u;
	va_start(ap, fmt);
	vsnprintf(diag->text, sizeof(diag->text), fmt, ap);
	va_end(ap);
	return -1;
}

static int check_table(struct rdu_section *s, const struct rdu_cfg_table *t, size_t record,
		       uint64_t max, const char *name, struct rdu_cfg_diag *diag)
{
	if (t->count > max)
		return RDU_REFUSE(s, diag, TOO_LARGE, t, "%u %s: at most %llu", t->count, name,
				  (unsigned long long)max);
	if (t->offset & 7)
		return RDU_REFUSE(s, diag, ALIGN, t, "table of %s at %u: not a multiple of 8", name,
				  t->offset);
	if (t->count && (t->offset < sizeof(struct rdu_cfg_header) ||
			 (uint64_t)t->offset + (uint64_t)t->count * record > s->size))
		return RDU_REFUSE(s, diag, TRUNCATED, t,
				  "table of %u %s at %u: outside the image of %zu bytes", t->count,
				  name, t->offset, s->size);
	return 0;
}

static int check_header(struct rdu_section *s, struct rdu_cfg_diag *diag)
{
	const struct rdu_cfg_header *h = s->hdr;

	if (h->magic != RDU_CFG_MAGIC)
		return RDU_REFUSE(s, diag, MAGIC, &h->magic, "magic 0x%08x: not a configuration",
				  h->magic);
	if (h->version != RDU_CFG_VERSION || h->header_size != sizeof(*h))
		return RDU_REFUSE(s, diag, VERSION, &h->version,
				  "version %u, header of %u bytes: expected %u and %zu", h->version,
				  h->header_size, RDU_CFG_VERSION, sizeof(*h));
	if (h->size > s->size || h->size < sizeof(*h))
		return RDU_REFUSE(s, diag, TRUNCATED, &h->size, "image of %u bytes, %zu are there",
				  h->size, s->size);
	s->size = h->size;
	if (h->zero)
		return RDU_REFUSE(s, diag, RESERVED, &h->zero, "reserved field is 0x%llx",
				  (unsigned long long)h->zero);
	if (h->chip_hash != rdu_chip_hash(&s->chip))
		return RDU_REFUSE(s, diag, CHIP, &h->chip_hash,
				  "compiled for chip %016llx, this is %.15s, %016llx",
				  (unsigned long long)h->chip_hash, s->chip.name,
				  (unsigned long long)rdu_chip_hash(&s->chip));
	if (!h->num_tiles || h->num_tiles > s->tiles || h->num_tiles > s->chip.tiles)
		return RDU_REFUSE(s, diag, UNIT, &h->num_tiles, "needs %u tiles, may use %u",
				  h->num_tiles, s->tiles);
	if (h->num_segments > RDU_MAX_SEGMENTS)
		return RDU_REFUSE(s, diag, TOO_LARGE, &h->num_segments, "%u segments: at most %u",
				  h->num_segments, RDU_MAX_SEGMENTS);
	if (h->num_scalars > RDU_MAX_SCALARS)
		return RDU_REFUSE(s, diag, TOO_LARGE, &h->num_scalars,
				  "%u argument registers: at most %u", h->num_scalars,
				  RDU_MAX_SCALARS);
	if (check_table(s, &h->programs, sizeof(struct rdu_cfg_program), RDU_MAX_PROGRAMS,
			"programs", diag) ||
	    check_table(s, &h->bodies, 1, RDU_MAX_SECTION_IMAGE, "bytes of bodies", diag) ||
	    check_table(s, &h->streams, sizeof(struct rdu_cfg_stream), RDU_MAX_STREAMS, "streams",
			diag) ||
	    check_table(s, &h->dests, sizeof(struct rdu_cfg_dest), RDU_MAX_SECTION_IMAGE,
			"consumers", diag) ||
	    check_table(s, &h->links, sizeof(struct rdu_cfg_link), RDU_MAX_SECTION_IMAGE, "links",
			diag) ||
	    check_table(s, &h->tokens, sizeof(struct rdu_cfg_token), RDU_MAX_TOKENS, "token edges",
			diag) ||
	    check_table(s, &h->buffers, sizeof(struct rdu_cfg_buffer), RDU_MAX_BUFFERS, "buffers",
			diag))
		return -1;
	s->programs = (const void *)(s->image + h->programs.offset);
	s->bodies = s->image + h->bodies.offset;
	s->streams = (const void *)(s->image + h->streams.offset);
	s->dests = (const void *)(s->image + h->dests.offset);
	s->links = (const void *)(s->image + h->links.offset);
	s->tokens = (const void *)(s->image + h->tokens.offset);
	s->buffers = (const void *)(s->image + h->buffers.offset);
	return 0;
}

/* ---- counters ---------------------------------------------------------- */

static int check_counter(struct rdu_section *s, struct rdu_unit_prog *p, unsigned int i,
			 struct rdu_cfg_diag *diag)
{
	const struct rdu_cfg_counter *c = &p->cfg->counter[i];

	p->trip[i] = 1;
	if (c->step <= 0)
		return RDU_REFUSE(s, diag, COUNTER, c, "counter %u: step %d", i, c->step);
	switch (c->limit_kind) {
	case RDU_LIMIT_IMM:
		if (c->limit <= c->start)
			return RDU_REFUSE(s, diag, COUNTER, c,
					  "counter %u: never runs, from %d to %d", i, c->start,
					  c->limit);
		p->trip[i] = ((int64_t)c->limit - c->start + c->step - 1) / c->step;
		return 0;
	case RDU_LIMIT_ARG:
		if (c->limit < 0 || (uint32_t)c->limit >= s->hdr->num_scalars)
			return RDU_REFUSE(s, diag, SCALAR, c,
					  "counter %u: argument register %d of %u", i, c->limit,
					  s->hdr->num_scalars);
		s->has_arg_limits = true;
		return 0;
	case RDU_LIMIT_STREAM:
		return RDU_REFUSE(s, diag, UNSUPPORTED, c, "counter %u: limit from a stream", i);
	default:
		return RDU_REFUSE(s, diag, COUNTER, c, "counter %u: limit kind %u", i,
				  c->limit_kind);
	}
}

static int check_counters(struct rdu_section *s, struct rdu_unit_prog *p, struct rdu_cfg_diag *diag)
{
	const struct rdu_cfg_program *c = p->cfg;
	unsigned int i;

	if (c->num_counters < 1 || c->num_counters > RDU_MAX_COUNTERS ||
	    c->num_outer > c->num_counters)
		return RDU_REFUSE(s, diag, COUNTER, &c->num_counters, "%u counters, %u outer",
				  c->num_counters, c->num_outer);
	p->activations = 1;
	p->iterations = 1;
	for (i = 0; i < c->num_counters; i++) {
		uint64_t *n = i < c->num_outer ? &p->activations : &p->iterations;

		if (check_counter(s, p, i, diag))
			return -1;
		/* Both factors are below 2^41 and 2^32: no need of 128 bits. */
		if (__builtin_mul_overflow(*n, p->trip[i], n) || *n > RDU_MAX_ITERATIONS)
			return RDU_REFUSE(s, diag, TOO_LARGE, &c->counter[i],
					  "counter %u: too many iterations", i);
	}
	if (p->activations > RDU_MAX_ACTIVATIONS ||
	    p->activations * p->iterations > RDU_MAX_FIRINGS)
		return RDU_REFUSE(
			s, diag, TOO_LARGE, &c->num_outer, "%llu activations of %llu iterations",
			(unsigned long long)p->activations, (unsigned long long)p->iterations);
	return 0;
}

static uint64_t inner_count(const struct rdu_unit_prog *p, uint32_t mask)
{
	uint64_t n = 1;

	for (unsigned int i = p->cfg->num_outer; i < p->cfg->num_counters; i++)
		if (!(mask >> i & 1))
			n *= p->trip[i];
	return n;
}

uint64_t rdu_outer_count(const struct rdu_unit_prog *p, uint32_t mask)
{
	uint64_t n = 1;

	for (unsigned int i = 0; i < p->cfg->num_outer; i++)
		if (!(mask >> i & 1))
			n *= p->trip[i];
	return n;
}

/* ---- ports ------------------------------------------------------------- */

static int check_ports(struct rdu_section *s, struct rdu_unit_prog *p, struct rdu_cfg_diag *diag)
{
	const struct rdu_cfg_program *c = p->cfg;
	bool pcu = rdu_kind_unit(c->kind) == RDU_UNIT_PCU;
	unsigned int max_in = pcu ? s->chip.pcu_vec_in : 2;
	unsigned int max_out = pcu ? s->chip.pcu_vec_out : 1;
	uint32_t inner = ((1u << c->num_counters) - 1) & ~((1u << c->num_outer) - 1);
	unsigned int i;

	if (c->num_in > max_in || c->num_in > RDU_MAX_PORTS)
		return RDU_REFUSE(s, diag, PORT, &c->num_in, "%u input ports: the unit has %u",
				  c->num_in, max_in);
	if (c->num_out > max_out || c->num_out > RDU_MAX_PORTS)
		return RDU_REFUSE(s, diag, PORT, &c->num_out, "%u output ports: the unit has %u",
				  c->num_out, max_out);
	for (i = 0; i < c->num_in; i++) {
		if (c->in[i].mask & ~inner)
			return RDU_REFUSE(s, diag, MASK, &c->in[i].mask,
					  "input port %u: mask 0x%x, inner counters are 0x%x", i,
					  c->in[i].mask, inner);
		if (c->in[i].count < 1 ||
		    (c->in[i].count > 1 && !(c->kind == RDU_KIND_SYSTOLIC && i == 2)))
			return RDU_REFUSE(s, diag, PORT, &c->in[i].count, "input port %u: count %u",
					  i, c->in[i].count);
		p->pops[i] = inner_count(p, c->in[i].mask) * c->in[i].count;
	}
	for (i = 0; i < c->num_out; i++) {
		if (c->out[i].mask & ~inner)
			return RDU_REFUSE(s, diag, MASK, &c->out[i].mask,
					  "output port %u: mask 0x%x, inner counters are 0x%x", i,
					  c->out[i].mask, inner);
		if (c->out[i].count < 1 || (c->out[i].count > 1 && !pcu))
			return RDU_REFUSE(s, diag, PORT, &c->out[i].count,
					  "output port %u: count %u", i, c->out[i].count);
		p->pushes[i] = inner_count(p, c->out[i].mask) * c->out[i].count;
	}
	return 0;
}

/* ---- units --------------------------------------------------------------- */

struct occupancy {
	uint16_t *pcu, *reads, *writes, *agcu;
	unsigned int pcus, pmus;
};

static int check_unit(struct rdu_section *s, const struct rdu_cfg_program *c, struct occupancy *o,
		      struct rdu_cfg_diag *diag)
{
	unsigned int units, room;
	uint16_t *slot;
	const char *what;

	switch (rdu_kind_unit(c->kind)) {
	case RDU_UNIT_PCU:
		units = o->pcus, room = 1, slot = o->pcu, what = "PCU";
		break;
	case RDU_UNIT_PMU:
		units = o->pmus, what = "PMU";
		room = c->kind == RDU_KIND_READ ? s->chip.pmu_reads : s->chip.pmu_writes;
		slot = c->kind == RDU_KIND_READ ? o->reads : o->writes;
		break;
	default:
		units = s->chip.agcus_per_tile, what = "AGCU";
		room = s->chip.agcu_programs, slot = o->agcu;
		break;
	}
	if (c->tile >= s->hdr->num_tiles || c->unit >= units)
		return RDU_REFUSE(s, diag, UNIT, &c->tile,
				  "%s %u of tile %u: %u tiles with %u each", what, c->unit, c->tile,
				  s->hdr->num_tiles, units);
	slot += (size_t)c->tile * units + c->unit;
	if (*slot >= room)
		return RDU_REFUSE(s, diag, UNIT_BUSY, &c->tile,
				  "%s %u of tile %u holds %u such programs", what, c->unit, c->tile,
				  room);
	(*slot)++;
	return 0;
}

static int check_program(struct rdu_section *s, uint32_t i, struct occupancy *o,
			 struct rdu_cfg_diag *diag)
{
	struct rdu_unit_prog *p = &s->progs[i];
	const struct rdu_cfg_program *c = p->cfg;

	if (c->kind >= RDU_NUM_KINDS)
		return RDU_REFUSE(s, diag, KIND, &c->kind, "program %u: kind %u", i, c->kind);
	if (c->zero8)
		return RDU_REFUSE(s, diag, RESERVED, &c->zero8, "program %u: reserved field is %u",
				  i, c->zero8);
	return check_unit(s, c, o, diag) || check_counters(s, p, diag) || check_ports(s, p, diag) ||
			       rdu_validate_body(s, i, diag)
		       ? -1
		       : 0;
}

static int check_programs(struct rdu_section *s, struct rdu_cfg_diag *diag)
{
	struct occupancy o = { .pcus = rdu_chip_pcus_per_tile(&s->chip),
			       .pmus = rdu_chip_pmus_per_tile(&s->chip) };
	size_t tiles = s->hdr->num_tiles, n = s->hdr->programs.count;
	int ret = 0;

	s->progs = calloc(n + 1, sizeof(*s->progs));
	o.pcu = calloc(tiles * (o.pcus + 2 * o.pmus + s->chip.agcus_per_tile) + 1, sizeof(*o.pcu));
	if (!s->progs || !o.pcu) {
		free(o.pcu);
		return RDU_REFUSE(s, diag, TOO_LARGE, &s->hdr->programs,
				  "no memory for %zu programs", n);
	}
	o.reads = o.pcu + tiles * o.pcus;
	o.writes = o.reads + tiles * o.pmus;
	o.agcu = o.writes + tiles * o.pmus;
	for (uint32_t i = 0; i < n && !ret; i++) {
		s->progs[i].cfg = &s->programs[i];
		ret = check_program(s, i, &o, diag);
	}
	free(o.pcu);
	return ret;
}

/* ---- the whole ----------------------------------------------------------- */

struct rdu_section *rdu_section_analyse(const void *image, size_t size, const struct rdu_chip *chip,
					uint32_t tiles, uint64_t *events, struct rdu_cfg_diag *diag)
{
	struct rdu_section *s;

	memset(diag, 0, sizeof(*diag));
	diag->section = ~0u;
	if (size > RDU_MAX_SECTION_IMAGE) {
		rdu_refuse(diag, RDU_CFG_E_TOO_LARGE, 0, "image of %zu bytes: at most %u", size,
			   RDU_MAX_SECTION_IMAGE);
		return NULL;
	}
	if (size < sizeof(struct rdu_cfg_header)) {
		rdu_refuse(diag, RDU_CFG_E_TRUNCATED, 0, "image of %zu bytes", size);
		return NULL;
	}
	s = calloc(1, sizeof(*s));
	if (s)
		s->image = malloc(size);
	if (!s || !s->image) {
		free(s);
		rdu_refuse(diag, RDU_CFG_E_TOO_LARGE, 0, "no memory for %zu bytes", size);
		return NULL;
	}
	memcpy(s->image, image, size);
	s->size = size;
	s->chip = *chip;
	s->tiles = tiles ? tiles : chip->tiles;
	s->events_left = events;
	s->hdr = (const void *)s->image;
	pthread_mutex_init(&s->lock, NULL);
	if (check_header(s, diag) || check_programs(s, diag) || rdu_validate_streams(s, diag) ||
	    rdu_validate_routes(s, diag) || rdu_validate_tokens(s, diag)) {
		rdu_section_free(s);
		return NULL;
	}
	s->events_left = NULL;
	return s;
}

int rdu_config_validate(const void *image, size_t size, const struct rdu_chip *chip, uint32_t tiles,
			struct rdu_cfg_diag *diag)
{
	uint64_t events = RDU_MAX_EVENTS;
	struct rdu_section *s = rdu_section_analyse(image, size, chip, tiles, &events, diag);

	if (!s)
		return -1;
	rdu_section_free(s);
	return 0;
}

struct rdu_section *rdu_section_new(const void *image, size_t size, const struct rdu_chip *chip,
				    uint32_t tiles, struct rdu_cfg_diag *diag)
{
	uint64_t events = RDU_MAX_EVENTS;

	return rdu_section_analyse(image, size, chip, tiles, &events, diag);
}

struct rdu_section *rdu_section_resolve(struct rdu_section *s, const uint32_t *scalars,
					struct rdu_cfg_diag *diag)
{
	uint64_t events = RDU_MAX_EVENTS;
	struct rdu_cfg_program *programs;
	struct rdu_section *r, *old;
	size_t n = s->hdr->num_scalars * sizeof(*scalars);
	unsigned char *image;

	if (!s->has_arg_limits)
		return s;
	pthread_mutex_lock(&s->lock);
	for (r = s->resolved; r; r = r->resolved)
		if (!memcmp(r->resolved_scalars, scalars, n))
			break;
	pthread_mutex_unlock(&s->lock);
	if (r)
		return r;

	image = malloc(s->size);
	if (!image) {
		rdu_refuse(diag, RDU_CFG_E_TOO_LARGE, 0, "no memory for %zu bytes", s->size);
		return NULL;
	}
	memcpy(image, s->image, s->size);
	programs = (void *)(image + s->hdr->programs.offset);
	for (uint32_t i = 0; i < s->hdr->programs.count; i++) {
		for (unsigned int k = 0; k < programs[i].num_counters; k++) {
			struct rdu_cfg_counter *c = &programs[i].counter[k];

			if (c->limit_kind != RDU_LIMIT_ARG)
				continue;
			c->limit = (int32_t)scalars[c->limit];
			c->limit_kind = RDU_LIMIT_IMM;
		}
	}
	r = rdu_section_analyse(image, s->size, &s->chip, s->tiles, &events, diag);
	free(image);
	if (!r)
		return NULL;
	r->resolved_scalars = malloc(n ? n : 1);
	if (!r->resolved_scalars) {
		rdu_section_free(r);
		rdu_refuse(diag, RDU_CFG_E_TOO_LARGE, 0, "no memory");
		return NULL;
	}
	memcpy(r->resolved_scalars, scalars, n);
	pthread_mutex_lock(&s->lock);
	if (s->num_resolved >= RDU_MAX_RESOLVED) {
		pthread_mutex_unlock(&s->lock);
		rdu_section_free(r);
		rdu_refuse(diag, RDU_CFG_E_TOO_LARGE, 0, "more than %u sets of limits",
			   RDU_MAX_RESOLVED);
		return NULL;
	}
	old = s->resolved;
	r->resolved = old;
	s->resolved = r;
	s->num_resolved++;
	pthread_mutex_unlock(&s->lock);
	return r;
}

void rdu_section_free(struct rdu_section *s)
{
	while (s) {
		struct rdu_section *next = s->resolved;

		if (s->plan)
			rdu_plan_free(s->plan);
		if (s->time && s->time_free)
			s->time_free(s->time);
		pthread_mutex_destroy(&s->lock);
		free(s->resolved_scalars);
		free(s->progs);
		free(s->stages);
		free(s->order);
		free(s->edges);
		free(s->edge_in);
		free(s->edge_out);
		free(s->image);
		free(s);
		s = next;
	}
}
