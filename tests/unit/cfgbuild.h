/* SPDX-License-Identifier: MIT */
/*
 * A small builder of configuration images and one-section program images, for
 * tests. Header only; needs chip.c of librdumodel (unit places, chip hash).
 *
 *	struct cfgb *b = cfgb_new(&chip, 1);
 *	uint32_t ld = cfgb_program(b, RDU_KIND_LOAD, 0, 0);
 *	cfgb_loop(b, ld, 64);
 *	cfgb_access(b, ld, &(struct rdu_cfg_access){ .target = 0, .lanes = 32,
 *			.lane_stride = 1, .stride = { 32 } }, NULL);
 *	uint32_t pcu = cfgb_program(b, RDU_KIND_SIMD, 0, 0);
 *	cfgb_loop(b, pcu, 64);
 *	cfgb_stage(b, pcu, RDU_SIMD_FMUL, 0, cfgb_in(0), cfgb_immf(2), cfgb_none());
 *	cfgb_connect(b, ld, 0, pcu, 0);
 *	...
 *	void *image = cfgb_finish(b, &size);      frees b; caller frees image
 *
 * Routes are made by cfgb_finish: along x, then along y. Errors (out of memory,
 * a table too small) end the program: it is for tests.
 */
#ifndef CFGBUILD_H
#define CFGBUILD_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "rdu_card.h"

struct cfgb_table {
	unsigned char *data;
	size_t size, room;
};

struct cfgb_body {
	unsigned char bytes[sizeof(struct rdu_cfg_access) +
			    RDU_MAX_PREDS * sizeof(struct rdu_cfg_pred) +
			    (RDU_MAX_STAGES + RDU_MAX_TAIL + 8) * sizeof(struct rdu_cfg_stage)];
	size_t size;
};

struct cfgb_edge {
	uint32_t src, src_port, dst, dst_port;
};

struct cfgb {
	struct rdu_chip chip;
	uint32_t tiles, num_segments, num_scalars;
	struct cfgb_table programs, bodies, streams, dests, links, tokens, buffers, edges;
};

static inline void *cfgb_add(struct cfgb_table *t, const void *data, size_t size)
{
	if (t->size + size > t->room) {
		t->room = (t->size + size) * 2 + 256;
		t->data = realloc(t->data, t->room);
		if (!t->data)
			abort();
	}
	if (data)
		memcpy(t->data + t->size, data, size);
	else
		memset(t->data + t->size, 0, size);
	t->size += size;
	return t->data + t->size - size;
}

static inline struct cfgb *cfgb_new(const struct rdu_chip *chip, uint32_t tiles)
{
	struct cfgb *b = calloc(1, sizeof(*b));

	if (!b)
		abort();
	b->chip = *chip;
	b->tiles = tiles;
	return b;
}

static inline struct rdu_cfg_program *cfgb_prog(struct cfgb *b, uint32_t p)
{
	return (struct rdu_cfg_program *)b->programs.data + p;
}

static inline struct cfgb_body *cfgb_body(struct cfgb *b, uint32_t p)
{
	return (struct cfgb_body *)b->bodies.data + p;
}

/* Adds a unit program; returns its index. It starts with no counters and, for
 * PCUs, an empty body. */
static inline uint32_t cfgb_program(struct cfgb *b, enum rdu_kind kind, uint32_t tile,
				    uint32_t unit)
{
	struct rdu_cfg_program p = { .kind = kind, .tile = tile, .unit = unit };
	struct cfgb_body body = { .size = 0 };

	if (kind == RDU_KIND_SIMD)
		body.size = sizeof(struct rdu_cfg_simd);
	cfgb_add(&b->programs, &p, sizeof(p));
	cfgb_add(&b->bodies, &body, sizeof(body));
	return b->programs.size / sizeof(p) - 1;
}

static inline void cfgb_counter(struct cfgb *b, uint32_t p, int32_t start, int32_t step,
				int32_t limit, enum rdu_limit_kind kind)
{
	struct rdu_cfg_program *prog = cfgb_prog(b, p);

	prog->counter[prog->num_counters++] = (struct rdu_cfg_counter){ start, step, limit, kind };
}

/* Next inner counter: 0 .. trip - 1. */
static inline void cfgb_loop(struct cfgb *b, uint32_t p, int32_t trip)
{
	cfgb_counter(b, p, 0, 1, trip, RDU_LIMIT_IMM);
}

/* Next outer counter (before any cfgb_loop). */
static inline void cfgb_outer(struct cfgb *b, uint32_t p, int32_t trip)
{
	cfgb_loop(b, p, trip);
	cfgb_prog(b, p)->num_outer++;
}

/* ---- bodies ---------------------------------------------------------- */

static inline struct rdu_cfg_operand cfgb_none(void)
{
	return (struct rdu_cfg_operand){ 0 };
}

static inline struct rdu_cfg_operand cfgb_opd(enum rdu_operand_kind kind, uint8_t index)
{
	return (struct rdu_cfg_operand){ .kind = kind, .index = index };
}

static inline struct rdu_cfg_operand cfgb_reg(uint8_t reg)
{
	return cfgb_opd(RDU_OPD_REG, reg);
}

static inline struct rdu_cfg_operand cfgb_in(uint8_t port)
{
	return cfgb_opd(RDU_OPD_IN, port);
}

static inline struct rdu_cfg_operand cfgb_in_lane(uint8_t port, uint8_t lane)
{
	return (struct rdu_cfg_operand){ .kind = RDU_OPD_IN_LANE, .index = port, .lane = lane };
}

static inline struct rdu_cfg_operand cfgb_acc(void)
{
	return cfgb_opd(RDU_OPD_ACC, 0);
}

static inline struct rdu_cfg_operand cfgb_arg(uint8_t index)
{
	return cfgb_opd(RDU_OPD_ARG, index);
}

static inline struct rdu_cfg_operand cfgb_imm(uint32_t imm)
{
	return (struct rdu_cfg_operand){ .kind = RDU_OPD_IMM, .imm = imm };
}

static inline uint32_t cfgb_bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	return u;
}

static inline struct rdu_cfg_operand cfgb_immf(float f)
{
	return cfgb_imm(cfgb_bits(f));
}

static inline void cfgb_put(struct cfgb *b, uint32_t p, const void *data, size_t size)
{
	struct cfgb_body *body = cfgb_body(b, p);

	if (body->size + size > sizeof(body->bytes))
		abort();
	memcpy(body->bytes + body->size, data, size);
	body->size += size;
}

/* Appends a stage with an accumulator: restarts with `init` where acc_mask is
 * at first. */
static inline void cfgb_stage_acc(struct cfgb *b, uint32_t p, enum rdu_simd_op op, uint8_t dst,
				  struct rdu_cfg_operand x, struct rdu_cfg_operand y,
				  struct rdu_cfg_operand z, uint16_t acc_mask, uint32_t init)
{
	struct rdu_cfg_stage st = { .op = op, .dst = dst, .acc_mask = acc_mask, .init = init,
				    .a = x, .b = y, .c = z };

	cfgb_put(b, p, &st, sizeof(st));
	((struct rdu_cfg_simd *)cfgb_body(b, p)->bytes)->num_stages++;
}

static inline void cfgb_stage(struct cfgb *b, uint32_t p, enum rdu_simd_op op, uint8_t dst,
			      struct rdu_cfg_operand x, struct rdu_cfg_operand y,
			      struct rdu_cfg_operand z)
{
	cfgb_stage_acc(b, p, op, dst, x, y, z, 0, 0);
}

/* Appends a tail operation, to a SIMD body (after its stages) or a systolic one. */
static inline void cfgb_tail(struct cfgb *b, uint32_t p, enum rdu_simd_op op, uint8_t dst,
			     struct rdu_cfg_operand x, struct rdu_cfg_operand y,
			     struct rdu_cfg_operand z)
{
	struct rdu_cfg_stage st = { .op = op, .dst = dst, .a = x, .b = y, .c = z };

	cfgb_put(b, p, &st, sizeof(st));
	if (cfgb_prog(b, p)->kind == RDU_KIND_SIMD)
		((struct rdu_cfg_simd *)cfgb_body(b, p)->bytes)->num_tail++;
	else
		((struct rdu_cfg_systolic *)cfgb_body(b, p)->bytes)->num_tail++;
}

/* k_mask etc. as in *body; num_tail must be 0 (use cfgb_tail). */
static inline void cfgb_systolic(struct cfgb *b, uint32_t p, const struct rdu_cfg_systolic *body)
{
	cfgb_put(b, p, body, sizeof(*body));
}

/* preds: access->num_preds of them. */
static inline void cfgb_access(struct cfgb *b, uint32_t p, const struct rdu_cfg_access *access,
			       const struct rdu_cfg_pred *preds)
{
	cfgb_put(b, p, access, sizeof(*access));
	if (preds && access->num_preds)
		cfgb_put(b, p, preds, access->num_preds * sizeof(*preds));
}

/* ---- ports, streams, tokens, buffers ------------------------------------ */

/* Masks, and for outputs the registers pushed; ports not named here pop and
 * push at every iteration, one vector, register 0. */
static inline void cfgb_in_port(struct cfgb *b, uint32_t p, uint32_t port, uint16_t mask,
				uint8_t count)
{
	cfgb_prog(b, p)->in[port].mask = mask;
	cfgb_prog(b, p)->in[port].count = count;
}

static inline void cfgb_out_port(struct cfgb *b, uint32_t p, uint32_t port, uint16_t mask,
				 uint8_t reg, uint8_t count)
{
	cfgb_prog(b, p)->out[port].mask = mask;
	cfgb_prog(b, p)->out[port].reg = reg;
	cfgb_prog(b, p)->out[port].count = count;
}

/* Joins an output to an input. The same output again: multicast. */
static inline void cfgb_connect(struct cfgb *b, uint32_t src, uint32_t src_port, uint32_t dst,
				uint32_t dst_port)
{
	struct cfgb_edge e = { src, src_port, dst, dst_port };
	struct rdu_cfg_program *s = cfgb_prog(b, src), *d = cfgb_prog(b, dst);

	cfgb_add(&b->edges, &e, sizeof(e));
	if (s->num_out <= src_port)
		s->num_out = src_port + 1;
	if (d->num_in <= dst_port)
		d->num_in = dst_port + 1;
	if (!s->out[src_port].count)
		s->out[src_port].count = 1;
	if (!d->in[dst_port].count)
		d->in[dst_port].count = 1;
}

static inline void cfgb_token(struct cfgb *b, uint32_t src, uint32_t dst, uint16_t src_mask,
			      uint16_t dst_mask, uint32_t initial)
{
	struct rdu_cfg_token t = { src, dst, src_mask, dst_mask, initial };

	cfgb_add(&b->tokens, &t, sizeof(t));
}

/* The two edges the rules ask for between the writer and a reader of a buffer. */
static inline void cfgb_order(struct cfgb *b, uint32_t w, uint32_t r, uint16_t w_flip,
			      uint16_t r_flip, uint32_t copies, uint32_t d)
{
	cfgb_token(b, w, r, w_flip, r_flip, d);
	cfgb_token(b, r, w, r_flip, w_flip, copies - d);
}

static inline uint32_t cfgb_buffer(struct cfgb *b, uint32_t tile, uint32_t unit, uint32_t copies,
				   uint32_t base, uint32_t words)
{
	struct rdu_cfg_buffer buf = { tile, unit, copies, base, words };

	cfgb_add(&b->buffers, &buf, sizeof(buf));
	return b->buffers.size / sizeof(buf) - 1;
}

/* ---- the image -------------------------------------------------------- */

static inline void cfgb_xy(struct cfgb *b, uint32_t p, uint32_t *x, uint32_t *y)
{
	struct rdu_cfg_program *prog = cfgb_prog(b, p);
	enum rdu_unit unit = prog->kind <= RDU_KIND_SYSTOLIC ? RDU_UNIT_PCU :
			     prog->kind <= RDU_KIND_WRITE ? RDU_UNIT_PMU : RDU_UNIT_AGCU;

	rdu_chip_unit_xy(&b->chip, unit, prog->unit, x, y);
	*y += prog->tile * b->chip.tile_rows;
}

/* One hop of a route, unless the stream has it already. */
static inline void cfgb_hop(struct cfgb *b, struct rdu_cfg_stream *st, uint32_t x, uint32_t y,
			    enum rdu_dir dir)
{
	struct rdu_cfg_link link = { y * b->chip.tile_cols + x, dir };
	const struct rdu_cfg_link *all = (const void *)b->links.data;

	for (uint32_t i = 0; i < st->num_links; i++)
		if (all[st->first_link + i].sw == link.sw && all[st->first_link + i].dir == dir)
			return;
	cfgb_add(&b->links, &link, sizeof(link));
	st->num_links++;
}

static inline void cfgb_make_streams(struct cfgb *b)
{
	struct cfgb_edge *e = (struct cfgb_edge *)b->edges.data;
	size_t n = b->edges.size / sizeof(*e);
	unsigned char *done = calloc(1, n + 1);

	for (size_t i = 0; i < n; i++) {
		struct rdu_cfg_stream st = { .program = e[i].src, .port = e[i].src_port };
		uint32_t index = b->streams.size / sizeof(st);

		if (done[i])
			continue;
		st.first_dest = b->dests.size / sizeof(struct rdu_cfg_dest);
		st.first_link = b->links.size / sizeof(struct rdu_cfg_link);
		cfgb_prog(b, e[i].src)->out[e[i].src_port].stream = index;
		for (size_t j = i; j < n; j++) {
			struct rdu_cfg_dest d = { e[j].dst, e[j].dst_port };
			uint32_t x, y, tx, ty;

			if (e[j].src != e[i].src || e[j].src_port != e[i].src_port)
				continue;
			done[j] = 1;
			cfgb_add(&b->dests, &d, sizeof(d));
			st.num_dests++;
			cfgb_prog(b, d.program)->in[d.port].stream = index;
			cfgb_xy(b, st.program, &x, &y);
			cfgb_xy(b, d.program, &tx, &ty);
			for (; x != tx; x += x < tx ? 1 : -1)
				cfgb_hop(b, &st, x, y, x < tx ? RDU_DIR_E : RDU_DIR_W);
			for (; y != ty; y += y < ty ? 1 : -1)
				cfgb_hop(b, &st, x, y, y < ty ? RDU_DIR_S : RDU_DIR_N);
		}
		cfgb_add(&b->streams, &st, sizeof(st));
	}
	free(done);
}

static inline void cfgb_lay(struct cfgb_table *image, struct rdu_cfg_table *table,
			    const struct cfgb_table *t, size_t record)
{
	while (image->size & 7)
		cfgb_add(image, NULL, 1);
	table->offset = image->size;
	table->count = t->size / record;
	if (t->size)
		cfgb_add(image, t->data, t->size);
}

/* The configuration image, malloc'ed; *size its bytes. Frees the builder. */
static inline void *cfgb_finish(struct cfgb *b, size_t *size)
{
	struct rdu_cfg_header h = { .magic = RDU_CFG_MAGIC, .version = RDU_CFG_VERSION,
				    .header_size = sizeof(h), .num_tiles = b->tiles,
				    .chip_hash = rdu_chip_hash(&b->chip),
				    .num_segments = b->num_segments,
				    .num_scalars = b->num_scalars };
	struct cfgb_table image = { 0 }, bodies = { 0 };
	size_t n = b->programs.size / sizeof(struct rdu_cfg_program);

	cfgb_make_streams(b);
	for (size_t i = 0; i < n; i++) {
		struct cfgb_body *body = cfgb_body(b, i);

		cfgb_prog(b, i)->body = bodies.size;
		cfgb_add(&bodies, body->bytes, body->size);
		while (bodies.size & 7)
			cfgb_add(&bodies, NULL, 1);
	}
	cfgb_add(&image, &h, sizeof(h));
	cfgb_lay(&image, &h.programs, &b->programs, sizeof(struct rdu_cfg_program));
	cfgb_lay(&image, &h.bodies, &bodies, 1);
	cfgb_lay(&image, &h.streams, &b->streams, sizeof(struct rdu_cfg_stream));
	cfgb_lay(&image, &h.dests, &b->dests, sizeof(struct rdu_cfg_dest));
	cfgb_lay(&image, &h.links, &b->links, sizeof(struct rdu_cfg_link));
	cfgb_lay(&image, &h.tokens, &b->tokens, sizeof(struct rdu_cfg_token));
	cfgb_lay(&image, &h.buffers, &b->buffers, sizeof(struct rdu_cfg_buffer));
	h.size = image.size;
	memcpy(image.data, &h, sizeof(h));

	free(bodies.data);
	free(b->programs.data);
	free(b->bodies.data);
	free(b->streams.data);
	free(b->dests.data);
	free(b->links.data);
	free(b->tokens.data);
	free(b->buffers.data);
	free(b->edges.data);
	free(b);
	*size = image.size;
	return image.data;
}

/*
 * A program image with that one section: segment i is all of region i (sizes in
 * bytes), for reading and writing; entry point "main" runs the section once.
 * malloc'ed; *size its bytes.
 */
static inline void *cfgb_program_image(const void *section, size_t section_size,
				       const uint64_t *region_sizes, size_t *size)
{
	const struct rdu_cfg_header *cfg = section;
	struct rdu_prog_header h = { .magic = RDU_PROG_MAGIC, .version = RDU_PROG_VERSION,
				     .header_size = sizeof(h), .num_tiles = cfg->num_tiles,
				     .chip_hash = cfg->chip_hash,
				     .num_regions = cfg->num_segments,
				     .num_scalars = cfg->num_scalars, .num_sections = 1,
				     .num_segments = cfg->num_segments, .num_entries = 1,
				     .num_steps = 1 };
	struct rdu_prog_section sec = { .size = section_size, .num_segments = cfg->num_segments,
					.name = "section" };
	struct rdu_prog_entry entry = { .name = "main", .num_steps = 1 };
	struct rdu_prog_step step = { RDU_STEP_RUN, 0 };
	struct cfgb_table image = { 0 };

	cfgb_add(&image, &h, sizeof(h));
	h.sections_off = image.size;
	cfgb_add(&image, &sec, sizeof(sec));
	h.segments_off = image.size;
	for (uint32_t i = 0; i < cfg->num_segments; i++) {
		struct rdu_prog_segment seg = { .region = i,
						.access = RDU_SEG_READ | RDU_SEG_WRITE,
						.size = region_sizes[i] };

		cfgb_add(&image, &seg, sizeof(seg));
	}
	h.entries_off = image.size;
	cfgb_add(&image, &entry, sizeof(entry));
	h.steps_off = image.size;
	cfgb_add(&image, &step, sizeof(step));
	h.regions_off = image.size;
	if (cfg->num_segments)
		cfgb_add(&image, region_sizes, cfg->num_segments * sizeof(*region_sizes));
	while (image.size & 7)
		cfgb_add(&image, NULL, 1);
	sec.offset = image.size;
	cfgb_add(&image, section, section_size);
	while (image.size & 7)
		cfgb_add(&image, NULL, 1);
	h.size = image.size;
	memcpy(image.data, &h, sizeof(h));
	memcpy(image.data + h.sections_off, &sec, sizeof(sec));
	*size = image.size;
	return image.data;
}

#endif
