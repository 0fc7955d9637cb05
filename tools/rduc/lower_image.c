// SPDX-License-Identifier: MIT
/*
 * The section under construction: unit programs on logical units, streams,
 * tokens and buffers, with as many counters as the lowering found handy; and
 * packing, which brings the counters down to what a unit program has.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "tile.h"
#include "mem.h"

struct uimage *image_new(const struct rdu_chip *chip, int tiles, const char *name)
{
	struct uimage *im = xcalloc(1, sizeof(*im));

	im->chip = chip;
	im->tiles = tiles;
	snprintf(im->name, sizeof(im->name), "%.47s", name ? name : "");
	return im;
}

void image_drop_bytes(struct uimage *im)
{
	be_time_drop(im); /* of these bytes */
	if (!im->in_program)
		free(im->bytes);
	im->bytes = NULL;
}

void image_shrink(struct uimage *im)
{
	for (int i = 0; i < im->num_progs; i++) {
		struct uprog *p = &im->prog[i];

		if (p->stage)
			p->stage =
				xrealloc(p->stage, sizeof(*p->stage) * (size_t)(p->num_stages +
										p->num_tail + 1));
	}
	im->prog = xrealloc(im->prog, sizeof(*im->prog) * (size_t)im->num_progs);
	im->room_progs = im->num_progs;
}

void image_close(struct uimage *im)
{
	for (int i = 0; im->prog && i < im->num_progs; i++) {
		free(im->prog[i].acc.pred);
		free(im->prog[i].stage);
	}
	free(im->prog);
	free(im->token);
	im->prog = NULL;
	im->token = NULL;
}

void image_free(struct uimage *im)
{
	if (!im)
		return;
	image_close(im);
	for (int i = 0; i < im->num_streams; i++) {
		free(im->stream[i].dest);
		free(im->stream[i].link);
	}
	image_free(im->fill);
	free(im->who);
	free(im->stream);
	free(im->buffer);
	free(im->unit);
	free(im->segment);
	free(im->share);
	image_drop_bytes(im);
	free(im);
}

void image_fail(struct uimage *im, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (im->error[0])
		return;
	n = snprintf(im->error, sizeof(im->error), "%s: ", im->name);
	va_start(ap, fmt);
	vsnprintf(im->error + n, sizeof(im->error) - (size_t)n, fmt, ap);
	va_end(ap);
}

static const char *kind_name(enum rdu_kind kind)
{
	static const char *const name[] = {
#define KIND_NAME(n, v, u, d) [v] = #n,
		RDU_KINDS(KIND_NAME)
#undef KIND_NAME
	};

	return name[kind];
}

int image_unit(struct uimage *im, enum rdu_unit kind, double hx, double hy)
{
	im->unit = xroom(im->unit, im->num_units, &im->room_units, sizeof(*im->unit));
	im->unit[im->num_units] = (struct uunit){
		.kind = kind, .hx = hx, .hy = hy, .pin = -1, .filled = -1, .x = -1
	};
	return im->num_units++;
}

int image_prog(struct uimage *im, enum rdu_kind kind, int unit, int op_id)
{
	struct uprog *p;

	im->prog = xroom(im->prog, im->num_progs, &im->room_progs, sizeof(*im->prog));
	p = &im->prog[im->num_progs];
	memset(p, 0, sizeof(*p));
	p->kind = kind;
	p->unit = unit;
	p->op_id = op_id;
	p->acc.target = -1;
	if (kind == RDU_KIND_SIMD || kind == RDU_KIND_SYSTOLIC)
		p->stage = xcalloc(MOST_STAGES, sizeof(*p->stage));
	return im->num_progs++;
}

void image_copy_prog(struct uprog *to, const struct uprog *from)
{
	struct rdu_cfg_stage *stage = to->stage;

	*to = *from;
	to->stage = stage;
	if (stage)
		memcpy(stage, from->stage,
		       sizeof(*stage) * (size_t)(from->num_stages + from->num_tail));
	to->acc.pred = NULL;
	to->acc.num_preds = 0;
	for (int q = 0; q < from->acc.num_preds; q++)
		*access_pred(&to->acc) = from->acc.pred[q];
}

int image_buffer(struct uimage *im, int unit, uint32_t copies, uint32_t words)
{
	im->buffer = xroom(im->buffer, im->num_buffers, &im->room_buffers, sizeof(*im->buffer));
	im->buffer[im->num_buffers] = (struct ubuffer){ unit, copies, words, -1 };
	return im->num_buffers++;
}

void image_token(struct uimage *im, int src, uint32_t src_mask, int dst, uint32_t dst_mask,
		 uint32_t initial)
{
	im->token = xroom(im->token, im->num_tokens, &im->room_tokens, sizeof(*im->token));
	im->token[im->num_tokens++] = (struct utoken){ src, dst, src_mask, dst_mask, initial };
}

int image_segment(struct uimage *im, struct tensor *t, uint32_t access)
{
	t = tensor_storage(t);
	for (int i = 0; i < im->num_segments; i++)
		if (im->segment[i].t == t) {
			im->segment[i].access |= access;
			return i;
		}
	im->segment =
		xroom(im->segment, im->num_segments, &im->room_segments, sizeof(*im->segment));
	im->segment[im->num_segments] = (struct usegment){ t, access };
	return im->num_segments++;
}

int image_in(struct uimage *im, int prog, uint32_t mask)
{
	struct uprog *p = &im->prog[prog];

	if (p->num_in == RDU_MAX_PORTS) {
		image_fail(im, "a %s program needs more than %d input ports", kind_name(p->kind),
			   RDU_MAX_PORTS);
		return RDU_MAX_PORTS - 1;
	}
	p->in[p->num_in] = (struct uport){ -1, mask, 0, 1 };
	return p->num_in++;
}

int image_out(struct uimage *im, int prog, uint32_t mask, int reg, int count)
{
	struct uprog *p = &im->prog[prog];

	if (p->num_out == RDU_MAX_PORTS) {
		image_fail(im, "a %s program needs more than %d output ports", kind_name(p->kind),
			   RDU_MAX_PORTS);
		return RDU_MAX_PORTS - 1;
	}
	p->out[p->num_out] = (struct uport){ -1, mask, reg, count };
	return p->num_out++;
}

void image_join(struct uimage *im, int src, int port, int dst, int dst_port)
{
	struct uport *o = &im->prog[src].out[port];
	struct ustream *s;

	if (o->stream < 0) {
		im->stream =
			xroom(im->stream, im->num_streams, &im->room_streams, sizeof(*im->stream));
		o->stream = im->num_streams++;
		im->stream[o->stream] = (struct ustream){ .prog = src, .port = port };
	}
	s = &im->stream[o->stream];
	s->dest = xroom(s->dest, s->num_dests, &s->room, sizeof(*s->dest));
	s->dest[s->num_dests++] = (struct udest){ dst, dst_port };
	im->prog[dst].in[dst_port].stream = o->stream;
}

/* What one PCU takes, 1: it can combine nothing. */
static int combine_width(const struct rdu_chip *chip)
{
	int width = (int)min64(chip->pcu_vec_in, chip->simd_stages);

	return width < 2 || (width > 2 && chip->simd_regs < 2) ? 1 : width;
}

int combining_pcus(const struct rdu_chip *chip, int64_t num)
{
	int64_t width = combine_width(chip), pcus = 0;

	while (num > 1 && width > 1) {
		int64_t left = ceil_div(num, width);

		pcus += num % width == 1 ? left - 1 : left;
		num = left;
	}
	return (int)pcus;
}

/* A PCU that combines up to `num` streams, and `pad`. */
static struct xsrc combine_some(struct uimage *im, enum rdu_simd_op op, const struct xsrc *from,
				int num, uint32_t pad, const struct uprog *shape, double hx,
				double hy)
{
	int pcu = image_unit(im, RDU_UNIT_PCU, hx, hy);
	int pr = image_prog(im, RDU_KIND_SIMD, pcu, shape->op_id);
	struct uprog *p = &im->prog[pr];

	p->num_counters = shape->num_counters;
	p->asked_counters = shape->asked_counters;
	p->num_outer = shape->num_outer;
	memcpy(p->c, shape->c, sizeof(p->c));
	p->num_stages = num - 1;
	for (int i = 0; i + 1 < num; i++) {
		struct rdu_cfg_stage *st = &p->stage[i];

		st->op = (uint8_t)op;
		st->dst = (uint8_t)(i & 1);
		st->a.kind = i ? RDU_OPD_REG : RDU_OPD_IN;
		st->a.index = i ? (uint8_t)(~i & 1) : 0;
		st->b.kind = RDU_OPD_IN;
		st->b.index = (uint8_t)(i + 1);
	}
	if (pad)
		p->stage[p->num_stages++] = (struct rdu_cfg_stage){
			.op = (uint8_t)op,
			.dst = (uint8_t)(num & 1),
			.a = { .kind = RDU_OPD_REG, .index = (uint8_t)(num & 1) },
			.b = { .kind = RDU_OPD_IMM, .imm = pad },
		};
	for (int i = 0; i < num; i++)
		image_join(im, from[i].prog, from[i].port, pr, image_in(im, pr, 0));
	return (struct xsrc){ .prog = pr, .port = image_out(im, pr, 0, num & 1, 1) };
}

struct xsrc image_combine(struct uimage *im, enum rdu_simd_op op, struct xsrc *from, int num,
			  uint32_t pad, const struct uprog *shape, double hx, double hy)
{
	int width = combine_width(im->chip);

	while (num > 1 && width > 1 && !im->error[0]) {
		int n = 0;

		for (int k = 0; k < num; k += width)
			from[n++] =
				k + 1 == num
					? from[k]
					: combine_some(im, op, &from[k], (int)min64(width, num - k),
						       num > width ? 0 : pad, shape, hx, hy);
		num = n;
	}
	return from[0];
}

/* A PCU that passes on a vector of each of f streams in turn: of from[0], from[step] and so on. lp: the
 * loops of what comes, with `inner` vectors in each iteration. */
static struct xsrc merge_some(struct uimage *im, const struct xsrc *from, int step, int f,
			      int inner, const struct loops *lp, double hx, double hy, int op_id)
{
	int pr = image_prog(im, RDU_KIND_SIMD, image_unit(im, RDU_UNIT_PCU, hx, hy), op_id);
	struct uprog *p = &im->prog[pr];

	for (int i = 0; i < lp->num; i++)
		image_counter(p, lp->l[i].start, lp->l[i].step, lp->l[i].trip);
	p->num_outer = lp->num_outer;
	p->num_shared = lp->num_shared;
	image_counter(p, 0, 1, inner);
	p->num_stages = f;
	for (int i = 0; i < f; i++) {
		p->stage[i] =
			(struct rdu_cfg_stage){ .op = RDU_SIMD_MOV,
						.dst = (uint8_t)i,
						.a = { .kind = RDU_OPD_IN, .index = (uint8_t)i } };
		image_join(im, from[i * step].prog, from[i * step].port, pr, image_in(im, pr, 0));
	}
	return (struct xsrc){ .prog = pr, .port = image_out(im, pr, 0, 0, f) };
}

struct xsrc image_merge(struct uimage *im, struct xsrc *from, int n, const struct loops *lp,
			double hx, double hy, int op_id)
{
	for (int left = n; left > 1;) {
		int f = contract_fan_in(im->chip, left), inner = n / left;

		left /= f;
		/* number i of each of f parts: the next level puts what lies between them there */
		for (int i = 0; i < left; i++)
			from[i] = merge_some(im, &from[i], left, f, inner, lp, hx, hy, op_id);
	}
	return from[0];
}

int image_counter(struct uprog *p, int64_t start, int64_t step, int64_t trip)
{
	p->asked_counters++;
	if (p->num_counters == UC_MAX) /* image_pack refuses it */
		return UC_MAX - 1;
	p->c[p->num_counters] = (struct ucounter){ start, step, trip };
	return p->num_counters++;
}

int image_pmus(const struct uimage *im)
{
	int num = 0;

	for (int u = 0; u < im->num_units; u++)
		num += im->unit[u].kind == RDU_UNIT_PMU;
	return num;
}

struct upred *access_pred(struct uaccess *a)
{
	a->pred = xgrow(a->pred, a->num_preds, sizeof(*a->pred));
	a->pred[a->num_preds] = (struct upred){ 0 };
	return &a->pred[a->num_preds++];
}

int64_t be_words(const struct tensor *t)
{
	int64_t n = 1;

	for (int d = 0; d < t->ndim; d++)
		n *= t->dim[d];
	return n;
}

int64_t be_room_words(const struct backend *be)
{
	return (int64_t)rdu_chip_pmus_per_tile(&be->chip) * be->tiles *
	       (int64_t)be->chip.pmu_bytes / 4 / 2;
}

bool nest_reads(const struct nest *n, const struct tensor *storage)
{
	for (int i = 0; i < n->num_in; i++)
		if (tensor_storage(n->in[i].tensor) == storage)
			return true;
	for (int i = 0; i < n->num_out; i++)
		if (n->out[i].add && tensor_storage(n->out[i].access.tensor) == storage)
			return true;
	return false;
}

bool nest_writes(const struct nest *n, const struct tensor *storage)
{
	for (int i = 0; i < n->num_out; i++)
		if (tensor_storage(n->out[i].access.tensor) == storage)
			return true;
	return false;
}

int dtype_format(enum rdu_dtype dtype)
{
	switch (dtype_stored(dtype)) {
	case RDU_DT_BF16:
		return RDU_FMT_BF16;
	case RDU_DT_F16:
		return RDU_FMT_F16;
	case RDU_DT_F64:
		return RDU_FMT_F64;
	case RDU_DT_I8:
		return RDU_FMT_I8;
	case RDU_DT_U8:
	case RDU_DT_BOOL:
		return RDU_FMT_U8;
	case RDU_DT_I16:
		return RDU_FMT_I16;
	case RDU_DT_U16:
		return RDU_FMT_U16;
	case RDU_DT_I64:
		return RDU_FMT_I64;
	case RDU_DT_U64:
		return RDU_FMT_U64;
	default:
		return RDU_FMT_WORD;
	}
}

int dtype_size(enum rdu_dtype dtype)
{
	return (int)rdu_format_bytes(dtype_format(dtype));
}

enum rdu_simd_op dtype_rounding(enum rdu_dtype dtype)
{
	return dtype == RDU_DT_BF16  ? RDU_SIMD_F2BF
	       : dtype == RDU_DT_F16 ? RDU_SIMD_F2H
				     : RDU_SIMD_MOV;
}

/* ---- packing of counters --------------------------------------------------- */

static uint32_t drop_bit(uint32_t mask, int bit)
{
	uint32_t low = mask & ((1u << bit) - 1);

	return low | ((mask >> (bit + 1)) << bit);
}

/* Everything that names counter c of program p forgets it. */
static void forget_counter(struct uimage *im, int pi, int c)
{
	struct uprog *p = &im->prog[pi];

	for (int i = 0; i < p->num_in; i++)
		p->in[i].mask = drop_bit(p->in[i].mask, c);
	for (int i = 0; i < p->num_out; i++)
		p->out[i].mask = drop_bit(p->out[i].mask, c);
	p->acc.flip_mask = drop_bit(p->acc.flip_mask, c);
	p->k_mask = drop_bit(p->k_mask, c);
	p->init_mask = drop_bit(p->init_mask, c);
	for (int s = 0; s < p->num_stages + p->num_tail; s++) {
		struct rdu_cfg_operand *o[3] = { &p->stage[s].a, &p->stage[s].b, &p->stage[s].c };

		p->stage[s].acc_mask = (uint16_t)drop_bit(p->stage[s].acc_mask, c);
		for (int k = 0; k < 3; k++)
			if (o[k]->kind == RDU_OPD_COUNTER && o[k]->index > c)
				o[k]->index--;
	}
	for (int i = c; i + 1 < p->num_counters; i++) {
		p->c[i] = p->c[i + 1];
		p->acc.stride[i] = p->acc.stride[i + 1];
		for (int q = 0; q < p->acc.num_preds; q++)
			p->acc.pred[q].stride[i] = p->acc.pred[q].stride[i + 1];
	}
	p->num_counters--;
	p->acc.stride[p->num_counters] = 0;
	for (int q = 0; q < p->acc.num_preds; q++)
		p->acc.pred[q].stride[p->num_counters] = 0;
	if (c < p->num_outer)
		p->num_outer--;
}

static void forget_in_tokens(struct uimage *im, int pi, int c, const int *first, const int *next)
{
	for (int t = first[pi]; t >= 0; t = next[t]) {
		struct utoken *k = &im->token[t / 2];

		if (t & 1)
			k->dst_mask = drop_bit(k->dst_mask, c);
		else
			k->src_mask = drop_bit(k->src_mask, c);
	}
}

static bool is_access(const struct uprog *p)
{
	return p->kind == RDU_KIND_READ || p->kind == RDU_KIND_WRITE || p->kind == RDU_KIND_LOAD ||
	       p->kind == RDU_KIND_STORE;
}

static bool counter_read(const struct uprog *p, int c)
{
	for (int s = 0; s < p->num_stages + p->num_tail; s++) {
		const struct rdu_cfg_operand *o[3] = { &p->stage[s].a, &p->stage[s].b,
						       &p->stage[s].c };

		for (int k = 0; k < 3; k++)
			if (o[k]->kind == RDU_OPD_COUNTER && o[k]->index == c)
				return true;
	}
	return false;
}

/* Takes counter c's start into the bases, so that it runs from 0 in steps of 1. */
static void fold_start(struct uprog *p, int c)
{
	struct ucounter *k = &p->c[c];

	p->acc.base += k->start * p->acc.stride[c];
	p->acc.stride[c] *= k->step;
	for (int q = 0; q < p->acc.num_preds; q++) {
		p->acc.pred[q].base += k->start * p->acc.pred[q].stride[c];
		p->acc.pred[q].stride[c] *= k->step;
	}
	k->start = 0;
	k->step = 1;
}

static bool same_bits(uint32_t mask, int c)
{
	return (mask >> c & 1) == (mask >> (c + 1) & 1);
}

static bool can_merge(const struct uimage *im, int pi, int c, const int *first, const int *next)
{
	const struct uprog *p = &im->prog[pi];
	int64_t trip = p->c[c + 1].trip;

	if ((c < p->num_outer) != (c + 1 < p->num_outer))
		return false;
	if (p->c[c].trip * trip > 0x3fffffff)
		return false;
	/* the innermost one of an array counts the quarters of a word of weights */
	if (p->kind == RDU_KIND_SYSTOLIC && p->mode == RDU_SYS_TERNARY && c + 2 == p->num_counters)
		return false;
	for (int i = 0; i < p->num_in; i++)
		if (!same_bits(p->in[i].mask, c))
			return false;
	for (int i = 0; i < p->num_out; i++)
		if (!same_bits(p->out[i].mask, c))
			return false;
	if (!same_bits(p->acc.flip_mask, c) || !same_bits(p->k_mask, c) ||
	    !same_bits(p->init_mask, c))
		return false;
	for (int s = 0; s < p->num_stages + p->num_tail; s++)
		if (!same_bits(p->stage[s].acc_mask, c))
			return false;
	for (int t = first[pi]; t >= 0; t = next[t])
		if (!same_bits(t & 1 ? im->token[t / 2].dst_mask : im->token[t / 2].src_mask, c))
			return false;
	if (is_access(p)) {
		if (p->acc.stride[c] != p->acc.stride[c + 1] * trip)
			return false;
		for (int q = 0; q < p->acc.num_preds; q++)
			if (p->acc.pred[q].stride[c] != p->acc.pred[q].stride[c + 1] * trip)
				return false;
		return true;
	}
	return !counter_read(p, c) && !counter_read(p, c + 1);
}

static void pack_prog(struct uimage *im, int pi, const int *first, const int *next)
{
	struct uprog *p = &im->prog[pi];

	if (is_access(p))
		for (int c = 0; c < p->num_counters; c++)
			fold_start(p, c);
	for (int c = p->num_counters - 1; c >= 0; c--) {
		if (p->c[c].trip != 1)
			continue;
		for (int s = 0; s < p->num_stages + p->num_tail; s++) {
			struct rdu_cfg_operand *o[3] = { &p->stage[s].a, &p->stage[s].b,
							 &p->stage[s].c };

			for (int k = 0; k < 3; k++)
				if (o[k]->kind == RDU_OPD_COUNTER && o[k]->index == c)
					*o[k] = (struct rdu_cfg_operand){
						.kind = RDU_OPD_IMM, .imm = (uint32_t)p->c[c].start
					};
		}
		forget_in_tokens(im, pi, c, first, next);
		forget_counter(im, pi, c);
	}
	for (int c = p->num_counters - 2; c >= 0; c--) {
		if (!can_merge(im, pi, c, first, next))
			continue;
		/* c becomes the merged one: (c, c + 1) -> c + 1, then c is dropped. */
		p->c[c + 1] = (struct ucounter){ 0, 1, p->c[c].trip * p->c[c + 1].trip };
		forget_in_tokens(im, pi, c, first, next);
		forget_counter(im, pi, c);
	}
	if (!p->num_counters)
		image_counter(p, 0, 1, 1);
}

/* What a program needs against what a unit program has. */
static void check_prog(struct uimage *im, const struct uprog *p)
{
	if (p->num_counters > RDU_MAX_COUNTERS)
		image_fail(im, "a %s program needs %d counters, a unit program has %d",
			   kind_name(p->kind), p->num_counters, RDU_MAX_COUNTERS);
	if (p->acc.num_preds > RDU_MAX_PREDS)
		image_fail(im, "a %s program needs %d predicates, an access has %d",
			   kind_name(p->kind), p->acc.num_preds, RDU_MAX_PREDS);
}

static void check_ports(struct uimage *im, const struct uprog *p, const struct uport *port, int num,
			const char *what)
{
	for (int i = 0; i < num; i++) {
		if (port[i].stream < 0 || port[i].stream >= im->num_streams)
			image_fail(im, "internal: %s port %d of a %s program has no stream", what,
				   i, kind_name(p->kind));
		if (port[i].mask >> p->num_counters)
			image_fail(im,
				   "internal: %s port %d of a %s program: mask %x of %d counters",
				   what, i, kind_name(p->kind), port[i].mask, p->num_counters);
	}
}

/* Does a program name only what is there? */
static void check_names(struct uimage *im, const struct uprog *p)
{
	bool agcu = p->kind == RDU_KIND_LOAD || p->kind == RDU_KIND_STORE;
	int targets = agcu ? im->num_segments : im->num_buffers;

	check_ports(im, p, p->in, p->num_in, "input");
	check_ports(im, p, p->out, p->num_out, "output");
	if (is_access(p) && (p->acc.target < 0 || p->acc.target >= targets))
		image_fail(im, "internal: a %s program accesses number %d of %d",
			   kind_name(p->kind), p->acc.target, targets);
	for (int s = 0; s < p->num_stages + p->num_tail; s++)
		if (p->stage[s].acc_mask >> p->num_counters)
			image_fail(im, "internal: stage %d: mask %x of %d counters", s,
				   p->stage[s].acc_mask, p->num_counters);
}

static void check_counts(struct uimage *im)
{
	const struct {
		const char *what;
		int need, most;
	} count[] = {
		{ "unit programs", im->num_progs, RDU_MAX_PROGRAMS },
		{ "streams", im->num_streams, RDU_MAX_STREAMS },
		{ "token edges", im->num_tokens, RDU_MAX_TOKENS },
		{ "buffers", im->num_buffers, RDU_MAX_BUFFERS },
		{ "segments", im->num_segments, RDU_MAX_SEGMENTS },
	};

	for (size_t i = 0; i < sizeof(count) / sizeof(count[0]); i++)
		if (count[i].need > count[i].most)
			image_fail(im, "needs %d %s, a section has at most %d", count[i].need,
				   count[i].what, count[i].most);
}

int image_pack(struct uimage *im)
{
	int *first = xmalloc(sizeof(int) * (size_t)(im->num_progs + 1));
	int *next = xmalloc(sizeof(int) * (size_t)(im->num_tokens * 2 + 1));

	for (int i = 0; i < im->num_progs; i++)
		first[i] = -1;
	for (int t = 0; t < im->num_tokens; t++) {
		next[2 * t] = first[im->token[t].src];
		first[im->token[t].src] = 2 * t;
		next[2 * t + 1] = first[im->token[t].dst];
		first[im->token[t].dst] = 2 * t + 1;
	}
	for (int i = 0; i < im->num_progs; i++)
		if (im->prog[i].asked_counters > UC_MAX)
			image_fail(im, "a %s program needs %d loops, at most %d can be packed",
				   kind_name(im->prog[i].kind), im->prog[i].asked_counters, UC_MAX);
	for (int i = 0; i < im->num_progs && !im->error[0]; i++) {
		pack_prog(im, i, first, next);
		check_prog(im, &im->prog[i]);
		check_names(im, &im->prog[i]);
	}
	check_counts(im);
	free(first);
	free(next);
	return im->error[0] ? -1 : 0;
}

/* ---- for people -------------------------------------------------------------- */

void image_print(const struct backend *be, const struct uimage *im)
{
	static const char *const kind[] = {
#define KIND_NAME(n, v, u, d) #n,
		RDU_KINDS(KIND_NAME)
#undef KIND_NAME
	};

	fprintf(be_log(be),
		"lower: section %s: %d unit programs, %d streams, %d tokens, %d buffers\n",
		im->name, im->num_progs, im->num_streams, im->num_tokens, im->num_buffers);
	for (int i = 0; i < im->num_progs; i++) {
		const struct uprog *p = &im->prog[i];
		const struct uunit *u = &im->unit[p->unit];

		fprintf(be_log(be), "  %4d %-8s at (%d,%d)", i, kind[p->kind], u->x, u->y);
		for (int c = 0; c < p->num_counters; c++)
			fprintf(be_log(be), "%s%lld", c == p->num_outer ? " | " : " ",
				(long long)p->c[c].trip);
		if (p->acc.target >= 0)
			fprintf(be_log(be), "  %s%d, %d lanes, pack %d",
				p->kind == RDU_KIND_LOAD || p->kind == RDU_KIND_STORE ? "segment "
										      : "buffer ",
				p->acc.target, p->acc.lanes, p->acc.pack);
		fprintf(be_log(be), "\n");
	}
}
