// SPDX-License-Identifier: MIT
/* Configuration records in readable form. Names come from the tables of config.h. */
#include <string.h>
#include "dump.h"

static const void *table(const struct config *c, const struct rdu_cfg_table *t, size_t record)
{
	if (t->offset % 8 || t->offset > c->size || (c->size - t->offset) / record < t->count)
		return NULL;
	return c->image + t->offset;
}

int config_open(struct config *c, const struct rdu_file *file, unsigned int section)
{
	const unsigned char *image = rdu_file_image(file, NULL);
	const struct rdu_prog_header *h = rdu_file_header(file);

	memset(c, 0, sizeof(*c));
	c->file = file;
	c->index = section;
	c->section = (const struct rdu_prog_section *)(image + h->sections_off) + section;
	c->image = image + c->section->offset;
	c->size = c->section->size;
	c->h = (const struct rdu_cfg_header *)c->image;
	if (c->size < sizeof(*c->h) || c->h->magic != RDU_CFG_MAGIC)
		return fail("section %u \"%s\" holds no configuration", section, c->section->name);
	c->programs = table(c, &c->h->programs, sizeof(*c->programs));
	c->bodies = table(c, &c->h->bodies, 1);
	c->streams = table(c, &c->h->streams, sizeof(*c->streams));
	c->dests = table(c, &c->h->dests, sizeof(*c->dests));
	c->links = table(c, &c->h->links, sizeof(*c->links));
	c->tokens = table(c, &c->h->tokens, sizeof(*c->tokens));
	c->buffers = table(c, &c->h->buffers, sizeof(*c->buffers));
	if (!c->programs || !c->bodies || !c->streams || !c->dests || !c->links || !c->tokens ||
	    !c->buffers)
		return fail(
			"section %u \"%s\": a table lies outside its image; `rdu validate` tells "
			"more",
			section, c->section->name);
	return 0;
}

/* ---- names ----------------------------------------------------------------------------- */

static const char *kind_name(unsigned int kind)
{
	switch (kind) {
#define KIND(n, v, u, d) \
	case v:          \
		return #n;
		RDU_KINDS(KIND)
#undef KIND
	}
	return "?";
}

unsigned int unit_of_kind(unsigned int kind)
{
	switch (kind) {
#define KIND(n, v, u, d) \
	case v:          \
		return RDU_UNIT_##u;
		RDU_KINDS(KIND)
#undef KIND
	}
	return ~0u;
}

const char *unit_kind_name(unsigned int kind)
{
	switch (kind) {
#define KIND(n, v, u, d) \
	case v:          \
		return #u;
		RDU_KINDS(KIND)
#undef KIND
	}
	return "?";
}

static const char *op_name(unsigned int op, unsigned int *operands)
{
	switch (op) {
#define OP(n, v, o, t, d)      \
	case v:                \
		*operands = o; \
		return #n;
		RDU_SIMD_OPS(OP)
#undef OP
	}
	*operands = 3;
	return "?";
}

static void put_mask(unsigned int mask)
{
	unsigned int i;
	bool more = false;

	printf("{");
	for (i = 0; mask >> i; i++)
		if (mask >> i & 1) {
			printf("%sc%u", more ? "," : "", i);
			more = true;
		}
	printf("}");
}

static void put_word(uint32_t word)
{
	float f;

	memcpy(&f, &word, sizeof(f));
	printf("0x%08x (%d, %.9g)", word, (int)word, f);
}

/* ---- bodies ------------------------------------------------------------------------------ */

static void put_operand(const struct rdu_cfg_operand *o)
{
	switch (o->kind) {
	case RDU_OPD_NONE:
		printf("-");
		break;
	case RDU_OPD_REG:
		printf("r%u", o->index);
		break;
	case RDU_OPD_IN:
		printf("in%u", o->index);
		break;
	case RDU_OPD_IN_LANE:
		printf("in%u[%u]", o->index, o->lane);
		break;
	case RDU_OPD_COUNTER:
		printf("c%u", o->index);
		break;
	case RDU_OPD_LANE:
		printf("lane");
		break;
	case RDU_OPD_IMM:
		printf("#");
		put_word(o->imm);
		break;
	case RDU_OPD_ACC:
		printf("acc");
		break;
	case RDU_OPD_ARG:
		printf("arg%u", o->index);
		break;
	default:
		printf("?%u", o->kind);
	}
}

static void put_stage(const char *what, unsigned int i, const struct rdu_cfg_stage *s)
{
	const struct rdu_cfg_operand *opd[] = { &s->a, &s->b, &s->c };
	unsigned int n, k;
	const char *name = op_name(s->op, &n);
	bool acc = false;

	printf("    %s %u: r%u = %s", what, i, s->dst, name);
	for (k = 0; k < 3; k++) {
		acc |= opd[k]->kind == RDU_OPD_ACC;
		if (k < n || opd[k]->kind != RDU_OPD_NONE) {
			printf(k ? ", " : " ");
			put_operand(opd[k]);
		}
	}
	if (acc || s->acc_mask) {
		printf("  acc restarts at first ");
		put_mask(s->acc_mask);
		printf(" with ");
		put_word(s->init);
	}
	printf("\n");
}

/* Bytes that a body may use; NULL: outside. */
static const void *body_of(const struct config *c, const struct rdu_cfg_program *p, size_t least,
			   size_t *room)
{
	if (p->body % 8 || p->body > c->h->bodies.count || c->h->bodies.count - p->body < least) {
		printf("    the body (at %u) lies outside the image\n", p->body);
		return NULL;
	}
	*room = c->h->bodies.count - p->body;
	return c->bodies + p->body;
}

static void put_simd(const struct config *c, const struct rdu_cfg_program *p)
{
	size_t room;
	const struct rdu_cfg_simd *b = body_of(c, p, sizeof(*b), &room);
	unsigned int i;

	if (!b)
		return;
	for (i = 0; i < b->num_stages + b->num_tail; i++) {
		if (room < sizeof(*b) + (i + 1) * sizeof(b->stage[0])) {
			printf("    the body ends before stage %u\n", i);
			return;
		}
		put_stage(i < b->num_stages ? "stage" : "tail",
			  i < b->num_stages ? i : i - b->num_stages, &b->stage[i]);
	}
}

/* What an operand is that is no pair of bf16 and no int8. */
static const char *operand_kind(const struct rdu_cfg_systolic *b, bool rows)
{
	bool cols_ternary = b->flags & RDU_SYS_COLS_TERNARY;

	if (b->mode == RDU_SYS_TERNARY && rows != cols_ternary)
		return rows ? ", rows of weights" : ", columns of weights";
	if (!(b->flags & (rows ? RDU_SYS_ROWS_UNSIGNED : RDU_SYS_COLS_UNSIGNED)))
		return "";
	return rows ? ", rows uint8" : ", columns uint8";
}

static void put_systolic(const struct config *c, const struct rdu_cfg_program *p)
{
	static const char *const modes[] = { "bf16", "int8", "ternary" };
	size_t room;
	const struct rdu_cfg_systolic *b = body_of(c, p, sizeof(*b), &room);
	unsigned int i;

	if (!b)
		return;
	printf("    systolic %s%s%s, %u columns, contraction over ",
	       b->mode < 3 ? modes[b->mode] : "?", operand_kind(b, false), operand_kind(b, true),
	       b->cols);
	put_mask(b->k_mask);
	if (b->flags & RDU_SYS_INIT_ALWAYS) {
		printf(", starts from in2 always");
	} else if (b->flags & RDU_SYS_INIT) {
		printf(", starts from in2 where not at first ");
		put_mask(b->init_mask);
	}
	printf("\n");
	for (i = 0; i < b->num_tail; i++) {
		if (room < sizeof(*b) + (i + 1) * sizeof(b->tail[0])) {
			printf("    the body ends before tail %u\n", i);
			return;
		}
		put_stage("tail", i, &b->tail[i]);
	}
}

static void put_access(const struct config *c, const struct rdu_cfg_program *p)
{
	static const char *const formats[] = { "word", "bf16", "i8", "u8", "i64", "i16" };
	static const char *const packs[] = { "none", "vec", "lane", "low" };
	bool memory = p->kind == RDU_KIND_LOAD || p->kind == RDU_KIND_STORE;
	size_t room;
	const struct rdu_cfg_access *b = body_of(c, p, sizeof(*b), &room);
	unsigned int i, k;

	if (!b)
		return;
	printf("    %s %u", memory ? "segment" : "buffer", b->target);
	if (memory && b->target < c->section->num_segments) {
		const struct rdu_prog_header *h = rdu_file_header(c->file);
		const struct rdu_prog_segment *s =
			(const struct rdu_prog_segment *)((const char *)rdu_file_image(c->file,
										       NULL) +
							  h->segments_off) +
			c->section->first_segment + b->target;
		const struct rdu_file_region *r = rdu_file_get_region(c->file, s->region);

		printf(" = region %u \"%s\" + %llu, %llu bytes", s->region, r ? r->name : "?",
		       (unsigned long long)s->offset, (unsigned long long)s->size);
		if (s->loop_stride)
			printf(", + %llu an iteration", (unsigned long long)s->loop_stride);
	}
	printf(", %u lanes, format %s", b->lanes, b->format < 6 ? formats[b->format] : "?");
	if (b->pack)
		printf(", pack %s", b->pack < 4 ? packs[b->pack] : "?");
	if (b->flags & RDU_ACCESS_GATHER)
		printf(", %s by %s times %lld",
		       p->kind == RDU_KIND_READ || p->kind == RDU_KIND_LOAD ? "gathers"
									    : "scatters",
		       b->flags & RDU_ACCESS_ONE_INDEX ? "the index stream's lane 0"
						       : "the index stream",
		       (long long)b->index_stride);
	if (b->flags & RDU_ACCESS_ADD)
		printf(", adds");
	if (!memory) {
		printf(", copy %u flips at last ", b->copy_start);
		put_mask(b->flip_mask);
	}
	printf("\n    element = %lld + %lld*lane", (long long)b->base, (long long)b->lane_stride);
	for (i = 0; i < RDU_MAX_COUNTERS; i++)
		if (b->stride[i])
			printf(" + %lld*c%u", (long long)b->stride[i], i);
	printf("\n");
	for (k = 0; k < b->num_preds; k++) {
		const struct rdu_cfg_pred *q = &b->pred[k];

		if (room < sizeof(*b) + (k + 1) * sizeof(*q)) {
			printf("    the body ends before condition %u\n", k);
			return;
		}
		printf("    where %d <= %d + %d*lane", q->lo, q->base, q->lane_stride);
		for (i = 0; i < RDU_MAX_COUNTERS; i++)
			if (q->stride[i])
				printf(" + %d*c%u", q->stride[i], i);
		printf(" < %d, else ", q->hi);
		put_word(b->pad);
		printf("\n");
	}
}

/* ---- programs ------------------------------------------------------------------------------ */

static void put_counters(const struct rdu_cfg_program *p)
{
	unsigned int i;

	for (i = 0; i < p->num_counters && i < RDU_MAX_COUNTERS; i++) {
		const struct rdu_cfg_counter *k = &p->counter[i];

		printf("    c%u%s: %d, +%d, < ", i, i < p->num_outer ? " (outer)" : "", k->start,
		       k->step);
		if (k->limit_kind == RDU_LIMIT_IMM)
			printf("%d\n", k->limit);
		else
			printf("%s%d%s\n", k->limit_kind == RDU_LIMIT_ARG ? "arg" : "in", k->limit,
			       k->limit_kind == RDU_LIMIT_STREAM ? "[0]" : "");
	}
}

static void put_ports(const struct config *c, unsigned int program)
{
	const struct rdu_cfg_program *p = &c->programs[program];
	unsigned int i, d;

	for (i = 0; i < p->num_in && i < RDU_MAX_PORTS; i++) {
		printf("    in%u: stream %u", i, p->in[i].stream);
		if (p->in[i].stream < c->h->streams.count)
			printf(" from program %u", c->streams[p->in[i].stream].program);
		printf(", pops at first ");
		put_mask(p->in[i].mask);
		if (p->in[i].count > 1)
			printf(" %u vectors", p->in[i].count);
		printf("\n");
	}
	for (i = 0; i < p->num_out && i < RDU_MAX_PORTS; i++) {
		printf("    out%u: stream %u", i, p->out[i].stream);
		if (p->out[i].stream < c->h->streams.count) {
			const struct rdu_cfg_stream *s = &c->streams[p->out[i].stream];

			printf(" to");
			for (d = 0; d < s->num_dests && s->first_dest + d < c->h->dests.count; d++)
				printf(" %u.in%u", c->dests[s->first_dest + d].program,
				       c->dests[s->first_dest + d].port);
		}
		printf(", pushes r%u", p->out[i].reg);
		if (p->out[i].count > 1)
			printf("..+%u", p->out[i].count - 1);
		printf(" at last ");
		put_mask(p->out[i].mask);
		printf("\n");
	}
	for (i = 0; i < c->h->tokens.count; i++) {
		const struct rdu_cfg_token *t = &c->tokens[i];

		if (t->dst == program) {
			printf("    waits for token %u from program %u at first ", i, t->src);
			put_mask(t->dst_mask);
			printf(" (%u at the start)\n", t->initial);
		}
		if (t->src == program) {
			printf("    gives token %u to program %u at last ", i, t->dst);
			put_mask(t->src_mask);
			printf("\n");
		}
	}
}

void dump_program_line(const struct config *c, unsigned int program)
{
	const struct rdu_cfg_program *p = &c->programs[program];
	const struct rdu_file_op *op = rdu_file_get_op(c->file, p->op_id);

	printf("%5u %-8s tile %u %-4s %-3u", program, kind_name(p->kind), p->tile,
	       unit_kind_name(p->kind), p->unit);
	if (op)
		printf("  %s \"%s\"", op->type, op->name);
	printf("\n");
}

void dump_program(const struct config *c, unsigned int program)
{
	const struct rdu_cfg_program *p = &c->programs[program];

	printf("section %u program ", c->index);
	dump_program_line(c, program);
	put_counters(p);
	put_ports(c, program);
	switch (p->kind) {
	case RDU_KIND_SIMD:
		put_simd(c, p);
		break;
	case RDU_KIND_SYSTOLIC:
		put_systolic(c, p);
		break;
	default:
		put_access(c, p);
	}
}

/* ---- sections --------------------------------------------------------------------------------- */

static void put_route(const struct config *c, const struct rdu_cfg_stream *s)
{
	static const char dirs[] = "NESW";
	unsigned int cols = rdu_file_chip(c->file)->tile_cols, i;

	for (i = 0; i < s->num_links; i++) {
		const struct rdu_cfg_link *l;

		if (s->first_link + i >= c->h->links.count)
			return;
		l = &c->links[s->first_link + i];
		printf(" %u,%u%c", l->sw % cols, l->sw / cols, l->dir < 4 ? dirs[l->dir] : '?');
	}
}

static void put_streams(const struct config *c)
{
	unsigned int i, d;

	printf("  streams (route: x,y of the switch and the way out of it)\n");
	for (i = 0; i < c->h->streams.count; i++) {
		const struct rdu_cfg_stream *s = &c->streams[i];

		printf("  %5u %s %u.out%u ->", i, s->net == RDU_NET_SCALAR ? "scalar" : "vector",
		       s->program, s->port);
		for (d = 0; d < s->num_dests && s->first_dest + d < c->h->dests.count; d++)
			printf(" %u.in%u", c->dests[s->first_dest + d].program,
			       c->dests[s->first_dest + d].port);
		printf("  route");
		put_route(c, s);
		printf("\n");
	}
}

void dump_section(const struct config *c)
{
	const struct rdu_cfg_header *h = c->h;
	const struct rdu_prog_header *ph = rdu_file_header(c->file);
	const struct rdu_prog_segment *seg =
		(const struct rdu_prog_segment *)((const char *)rdu_file_image(c->file, NULL) +
						  ph->segments_off) +
		c->section->first_segment;
	unsigned int i;

	printf("\nsection %u \"%s\": %u tiles, image %u bytes\n", c->index, c->section->name,
	       h->num_tiles, h->size);
	printf("  segments\n");
	for (i = 0; i < c->section->num_segments; i++) {
		const struct rdu_file_region *r = rdu_file_get_region(c->file, seg[i].region);

		printf("  %5u %s%s region %u \"%s\" + %llu, %llu bytes", i,
		       seg[i].access & RDU_SEG_READ ? "r" : "-",
		       seg[i].access & RDU_SEG_WRITE ? "w" : "-", seg[i].region, r ? r->name : "?",
		       (unsigned long long)seg[i].offset, (unsigned long long)seg[i].size);
		if (seg[i].loop_stride)
			printf(", + %llu an iteration", (unsigned long long)seg[i].loop_stride);
		printf("\n");
	}
	printf("  programs\n");
	for (i = 0; i < h->programs.count; i++)
		dump_program_line(c, i);
	put_streams(c);
	printf("  tokens\n");
	for (i = 0; i < h->tokens.count; i++) {
		printf("  %5u %u ", i, c->tokens[i].src);
		put_mask(c->tokens[i].src_mask);
		printf(" -> %u ", c->tokens[i].dst);
		put_mask(c->tokens[i].dst_mask);
		printf(", %u at the start\n", c->tokens[i].initial);
	}
	printf("  buffers\n");
	for (i = 0; i < h->buffers.count; i++)
		printf("  %5u tile %u PMU %u, %u copies of %u words from word %u\n", i,
		       c->buffers[i].tile, c->buffers[i].unit, c->buffers[i].copies,
		       c->buffers[i].words, c->buffers[i].base);
}
