// SPDX-License-Identifier: MIT
/*
 * Emission: a section becomes a configuration image (config.h), sections and
 * schedule become a program image (program.h).
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

struct bytes {
	unsigned char *p;
	size_t size, room;
};

static size_t put(struct bytes *b, const void *data, size_t size)
{
	size_t at = b->size;

	if (b->size + size + 8 > b->room) {
		b->room = (b->size + size) * 2 + 4096;
		b->p = xrealloc(b->p, b->room);
	}
	if (size && data)
		memcpy(b->p + at, data, size);
	else if (size)
		memset(b->p + at, 0, size);
	b->size += size;
	return at;
}

static void align8(struct bytes *b)
{
	put(b, NULL, (8 - b->size % 8) % 8);
}

/* A number as a field of 32 bits; one that has no room there is never cut. */
static int32_t s32(struct uimage *im, int64_t v, const char *what)
{
	if (v != (int32_t)v)
		image_fail(im, "%s of %lld: at most 32 bits", what, (long long)v);
	return (int32_t)v;
}

static void put_access(struct bytes *b, struct uimage *im, const struct uprog *p)
{
	struct rdu_cfg_access a = {
		.target = (uint32_t)p->acc.target,
		.format = (uint8_t)p->acc.format,
		.pack = (uint8_t)p->acc.pack,
		.lanes = (uint8_t)p->acc.lanes,
		.num_preds = (uint8_t)p->acc.num_preds,
		.flip_mask = (uint16_t)p->acc.flip_mask,
		.copy_start = (uint8_t)p->acc.copy_start,
		.flags = (uint8_t)p->acc.flags,
		.pad = p->acc.pad,
		.base = p->acc.base,
		.lane_stride = p->acc.lane_stride,
		.index_stride = p->acc.index_stride,
	};

	for (int i = 0; i < p->num_counters; i++)
		a.stride[i] = p->acc.stride[i];
	put(b, &a, sizeof(a));
	for (int q = 0; q < p->acc.num_preds; q++) {
		const struct upred *u = &p->acc.pred[q];
		struct rdu_cfg_pred c = { .base = s32(im, u->base, "a predicate's base"),
					  .lo = s32(im, u->lo, "a predicate's bound"),
					  .hi = s32(im, u->hi, "a predicate's bound"),
					  .lane_stride =
						  s32(im, u->lane_stride, "a predicate's stride") };

		for (int i = 0; i < p->num_counters; i++)
			c.stride[i] = s32(im, u->stride[i], "a predicate's stride");
		put(b, &c, sizeof(c));
	}
}

static uint32_t put_body(struct bytes *b, struct uimage *im, const struct uprog *p)
{
	size_t at;

	align8(b);
	at = b->size;
	if (p->kind == RDU_KIND_SIMD) {
		struct rdu_cfg_simd s = { .num_stages = (uint8_t)p->num_stages,
					  .num_tail = (uint8_t)p->num_tail };

		put(b, &s, sizeof(s));
		put(b, p->stage, sizeof(p->stage[0]) * (size_t)(p->num_stages + p->num_tail));
	} else if (p->kind == RDU_KIND_SYSTOLIC) {
		struct rdu_cfg_systolic s = {
			.mode = (uint8_t)p->mode,
			.cols = (uint8_t)p->cols,
			.flags = (uint8_t)p->flags,
			.num_tail = (uint8_t)p->num_tail,
			.k_mask = (uint16_t)p->k_mask,
			.init_mask = (uint16_t)p->init_mask,
		};

		put(b, &s, sizeof(s));
		put(b, p->stage, sizeof(p->stage[0]) * (size_t)p->num_tail);
	} else {
		put_access(b, im, p);
	}
	return (uint32_t)at;
}

static void put_program(struct bytes *b, struct uimage *im, const struct uprog *p, uint32_t body)
{
	const struct uunit *u = &im->unit[p->unit];
	struct rdu_cfg_program c = {
		.kind = (uint8_t)p->kind,
		.num_counters = (uint8_t)p->num_counters,
		.num_outer = (uint8_t)p->num_outer,
		.num_in = (uint8_t)p->num_in,
		.num_out = (uint8_t)p->num_out,
		.tile = (uint16_t)u->tile,
		.unit = (uint16_t)u->phys,
		.op_id = (uint16_t)p->op_id,
		.body = body,
	};

	for (int i = 0; i < p->num_counters; i++) {
		c.counter[i].start = s32(im, p->c[i].start, "a counter's start");
		c.counter[i].step = s32(im, p->c[i].step, "a counter's step");
		c.counter[i].limit = s32(im, p->c[i].start + p->c[i].step * (p->c[i].trip - 1) + 1,
					 "a counter's limit");
		c.counter[i].limit_kind = RDU_LIMIT_IMM;
	}
	for (int i = 0; i < RDU_MAX_PORTS; i++) {
		if (i < p->num_in)
			c.in[i] = (struct rdu_cfg_port){ (uint32_t)p->in[i].stream,
							 (uint16_t)p->in[i].mask, 0,
							 (uint8_t)p->in[i].count };
		if (i < p->num_out)
			c.out[i] = (struct rdu_cfg_port){ (uint32_t)p->out[i].stream,
							  (uint16_t)p->out[i].mask,
							  (uint8_t)p->out[i].reg,
							  (uint8_t)p->out[i].count };
	}
	put(b, &c, sizeof(c));
}

/* Who the programs are, and what of their work is not bf16's. */
static void find_who(struct uimage *im)
{
	im->who = xrealloc(im->who, sizeof(*im->who) * ((size_t)im->num_progs + 1));
	im->wide_macs = 0;
	for (int i = 0; i < im->num_progs; i++) {
		const struct uprog *p = &im->prog[i];
		uint64_t macs = 2 * (uint64_t)p->cols;

		im->who[i] = (struct uwho){ p->kind, p->op_id, p->unit };
		if (p->kind != RDU_KIND_SYSTOLIC || p->mode == RDU_SYS_BF16)
			continue;
		for (int c = 0; c < p->num_counters; c++)
			macs *= (uint64_t)p->c[c].trip;
		im->wide_macs += macs;
	}
}

static void put_buffers(struct bytes *b, const struct uimage *im)
{
	uint32_t *top = xcalloc((size_t)im->num_units + 1, sizeof(uint32_t));

	for (int i = 0; i < im->num_buffers; i++) {
		const struct ubuffer *u = &im->buffer[i];
		struct rdu_cfg_buffer c = {
			.tile = (uint16_t)im->unit[u->unit].tile,
			.unit = (uint16_t)im->unit[u->unit].phys,
			.copies = u->copies,
			.base = u->base < 0 ? top[u->unit] : (uint32_t)u->base,
			.words = u->words,
		};

		top[u->unit] += u->copies * u->words;
		put(b, &c, sizeof(c));
	}
	free(top);
}

static void put_table(struct bytes *to, struct rdu_cfg_table *t, struct bytes *from, size_t count)
{
	align8(to);
	t->offset = (uint32_t)to->size;
	t->count = (uint32_t)count;
	put(to, from->p, from->size);
	free(from->p);
}

int be_image(struct backend *be, struct uimage *im)
{
	struct bytes bodies = { 0 }, programs = { 0 }, streams = { 0 }, dests = { 0 };
	struct bytes links = { 0 }, tokens = { 0 }, buffers = { 0 }, out = { 0 };
	uint32_t num_dests = 0, num_links = 0;
	struct rdu_cfg_header h = {
		.magic = RDU_CFG_MAGIC,
		.version = RDU_CFG_VERSION,
		.header_size = sizeof(h),
		.num_tiles = (uint32_t)im->tiles,
		.chip_hash = rdu_chip_hash(&be->chip),
		.num_segments = (uint32_t)im->num_segments,
	};

	for (int i = 0; i < im->num_progs; i++)
		put_program(&programs, im, &im->prog[i], put_body(&bodies, im, &im->prog[i]));
	for (int i = 0; i < im->num_streams; i++) {
		const struct ustream *s = &im->stream[i];
		struct rdu_cfg_stream c = {
			.program = (uint32_t)s->prog,
			.port = (uint8_t)s->port,
			.net = RDU_NET_VECTOR,
			.first_dest = num_dests,
			.num_dests = (uint32_t)s->num_dests,
			.first_link = num_links,
			.num_links = (uint32_t)s->num_links,
		};

		put(&streams, &c, sizeof(c));
		for (int d = 0; d < s->num_dests; d++) {
			struct rdu_cfg_dest dd = { (uint32_t)s->dest[d].prog,
						   (uint32_t)s->dest[d].port };

			put(&dests, &dd, sizeof(dd));
		}
		put(&links, s->link, sizeof(*s->link) * (size_t)s->num_links);
		num_dests += (uint32_t)s->num_dests;
		num_links += (uint32_t)s->num_links;
	}
	for (int i = 0; i < im->num_tokens; i++) {
		const struct utoken *t = &im->token[i];
		struct rdu_cfg_token c = { (uint32_t)t->src, (uint32_t)t->dst,
					   (uint16_t)t->src_mask, (uint16_t)t->dst_mask,
					   t->initial };

		put(&tokens, &c, sizeof(c));
	}
	put_buffers(&buffers, im);
	align8(&bodies);
	put(&out, &h, sizeof(h));
	put_table(&out, &h.programs, &programs, (size_t)im->num_progs);
	h.bodies.count = (uint32_t)bodies.size;
	put_table(&out, &h.bodies, &bodies, bodies.size);
	put_table(&out, &h.streams, &streams, (size_t)im->num_streams);
	put_table(&out, &h.dests, &dests, num_dests);
	put_table(&out, &h.links, &links, num_links);
	put_table(&out, &h.tokens, &tokens, (size_t)im->num_tokens);
	put_table(&out, &h.buffers, &buffers, (size_t)im->num_buffers);
	align8(&out);
	h.size = (uint32_t)out.size;
	memcpy(out.p, &h, sizeof(h));
	image_drop_bytes(im);
	im->bytes = xrealloc(out.p, out.size);
	im->size = out.size;
	find_who(im);
	if (out.size > RDU_MAX_SECTION_IMAGE)
		image_fail(im, "a configuration image of %zu bytes, a section has at most %u",
			   out.size, RDU_MAX_SECTION_IMAGE);
	return im->error[0] ? be_error(be, "%s", im->error) : 0;
}

static uint32_t put_part(struct bytes *to, struct bytes *from)
{
	uint32_t at;

	align8(to);
	at = (uint32_t)to->size;
	put(to, from->p, from->size);
	free(from->p);
	return at;
}

int be_program(struct backend *be)
{
	struct bytes out = { 0 }, sections = { 0 }, segments = { 0 }, entries = { 0 };
	struct bytes steps = { 0 }, sizes = { 0 };
	struct rdu_prog_section *ps;
	struct rdu_cfg_diag diag;
	struct rdu_prog_header h = {
		.magic = RDU_PROG_MAGIC,
		.version = RDU_PROG_VERSION,
		.header_size = sizeof(h),
		.num_tiles = (uint32_t)be->tiles,
		.chip_hash = rdu_chip_hash(&be->chip),
		.num_regions = (uint32_t)be->num_regions,
		.num_sections = (uint32_t)be->num_sections,
		.num_entries = (uint32_t)be->m->num_entries,
		.num_steps = (uint32_t)be->num_steps,
	};

	for (int i = 0; i < be->num_sections; i++) {
		const struct uimage *im = be->section[i].im;
		struct rdu_prog_section s = {
			.size = (uint32_t)im->size,
			.first_segment = h.num_segments,
			.num_segments = (uint32_t)im->num_segments,
		};

		snprintf(s.name, sizeof(s.name), "%s", im->name);
		put(&sections, &s, sizeof(s));
		for (int k = 0; k < im->num_segments; k++) {
			const struct region_of *w = &be->where[im->segment[k].t->id];
			struct rdu_prog_segment g = {
				.region = (uint32_t)w->region,
				.access = im->segment[k].access,
				.offset = w->offset,
				/* No byte more: an index past the tensor's end must fault. */
				.size = tensor_size(im->segment[k].t),
				.loop_stride = w->row,
			};

			put(&segments, &g, sizeof(g));
			h.num_segments++;
		}
	}
	for (int e = 0; e < be->m->num_entries; e++)
		put(&entries, &be->entry[e], sizeof(be->entry[e]));
	put(&steps, be->step, sizeof(*be->step) * (size_t)be->num_steps);
	for (int i = 0; i < be->num_regions; i++) {
		uint64_t size = be->region[i].size;

		put(&sizes, &size, 8);
	}
	out.room = sizeof(h) + sections.size + segments.size + entries.size + steps.size +
		   sizes.size + 64;
	for (int i = 0; i < be->num_sections; i++)
		out.room += be->section[i].im->size + 16;
	out.p = xmalloc(out.room);
	put(&out, &h, sizeof(h));
	h.sections_off = put_part(&out, &sections);
	h.segments_off = put_part(&out, &segments);
	h.entries_off = put_part(&out, &entries);
	h.steps_off = put_part(&out, &steps);
	h.regions_off = put_part(&out, &sizes);
	for (int i = 0; i < be->num_sections; i++) {
		size_t at;

		align8(&out);
		at = put(&out, be->section[i].im->bytes, be->section[i].im->size);
		ps = (struct rdu_prog_section *)(out.p + h.sections_off) + i;
		ps->offset = (uint32_t)at;
		image_drop_bytes(be->section[i].im);
	}
	align8(&out);
	h.size = (uint32_t)out.size; /* of one that fits: the card's own check is below */
	memcpy(out.p, &h, sizeof(h));
	ps = (struct rdu_prog_section *)(out.p + h.sections_off);
	for (int i = 0; i < be->num_sections; i++) {
		be->section[i].im->bytes = out.p + ps[i].offset;
		be->section[i].im->in_program = true;
	}
	be->program = out.p;
	be->program_size = out.size;
	if (!rdu_program_validate(out.p, out.size, &be->chip, (uint32_t)be->tiles, &diag))
		return 0;
	if (diag.error == RDU_CFG_E_TOO_LARGE) {
		be_error(be, "the program is larger than a card takes: %s", diag.text);
		return 1;
	}
	return be_error(be, "internal: the program image is not valid: %s", diag.text);
}
