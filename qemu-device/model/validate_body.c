// SPDX-License-Identifier: MIT
/* Validation of bodies: SIMD stages and tails, systolic arrays, accesses. */
#include <string.h>
#include "fabric_priv.h"

struct op_info {
	const char *name;
	uint8_t operands, tail_only;
};

static const struct op_info op_info[] = {
#define OP_INFO(n, v, o, t, d) [v] = { #n, o, t },
	RDU_SIMD_OPS(OP_INFO)
#undef OP_INFO
};

#define NUM_OPS (sizeof(op_info) / sizeof(op_info[0]))

static bool tail_may(unsigned int op)
{
	switch (op) {
	case RDU_SIMD_MOV:
	case RDU_SIMD_FADD:
	case RDU_SIMD_FMUL:
	case RDU_SIMD_FMAX:
	case RDU_SIMD_FMIN:
		return true;
	default:
		return op_info[op].tail_only;
	}
}

static int check_operand(struct rdu_section *s, const struct rdu_cfg_program *c,
			 const struct rdu_cfg_operand *o, uint32_t written, bool tail,
			 struct rdu_cfg_diag *diag)
{
	if (o->zero)
		return RDU_REFUSE(s, diag, RESERVED, o, "operand: reserved field is %u", o->zero);
	if (tail && o->kind != RDU_OPD_REG && o->kind != RDU_OPD_IMM && o->kind != RDU_OPD_ARG)
		return RDU_REFUSE(s, diag, OPERAND, o, "operand kind %u in a tail", o->kind);
	switch (o->kind) {
	case RDU_OPD_REG:
		if (o->index >= s->chip.simd_regs || !(written >> o->index & 1))
			return RDU_REFUSE(s, diag, OPERAND, o,
					  "register %u is not written before it is read", o->index);
		return 0;
	case RDU_OPD_IN_LANE:
		if (o->lane >= s->chip.lanes)
			return RDU_REFUSE(s, diag, OPERAND, o, "lane %u of %u", o->lane,
					  s->chip.lanes);
		/* fall through */
	case RDU_OPD_IN:
		if (o->index >= c->num_in)
			return RDU_REFUSE(s, diag, OPERAND, o, "input port %u of %u", o->index,
					  c->num_in);
		return 0;
	case RDU_OPD_COUNTER:
		if (o->index >= c->num_counters)
			return RDU_REFUSE(s, diag, OPERAND, o, "counter %u of %u", o->index,
					  c->num_counters);
		return 0;
	case RDU_OPD_ARG:
		if (o->index >= s->hdr->num_scalars)
			return RDU_REFUSE(s, diag, SCALAR, o, "argument register %u of %u",
					  o->index, s->hdr->num_scalars);
		return 0;
	case RDU_OPD_LANE:
	case RDU_OPD_IMM:
	case RDU_OPD_ACC:
		return 0;
	default:
		return RDU_REFUSE(s, diag, OPERAND, o, "operand kind %u", o->kind);
	}
}

static int check_stage(struct rdu_section *s, const struct rdu_cfg_program *c,
		       const struct rdu_cfg_stage *st, uint32_t *written, bool tail,
		       struct rdu_cfg_diag *diag)
{
	const struct rdu_cfg_operand *o[3] = { &st->a, &st->b, &st->c };
	unsigned int i;

	if (st->op >= NUM_OPS || !op_info[st->op].name)
		return RDU_REFUSE(s, diag, OPCODE, &st->op, "operation %u", st->op);
	if (tail ? !tail_may(st->op) : op_info[st->op].tail_only)
		return RDU_REFUSE(s, diag, OPCODE, &st->op, "%s in a %s", op_info[st->op].name,
				  tail ? "tail" : "stage");
	if (st->dst >= s->chip.simd_regs)
		return RDU_REFUSE(s, diag, STAGES, &st->dst, "register %u of %u", st->dst,
				  s->chip.simd_regs);
	if (st->acc_mask >> c->num_counters)
		return RDU_REFUSE(s, diag, MASK, &st->acc_mask, "mask 0x%x of %u counters",
				  st->acc_mask, c->num_counters);
	for (i = 0; i < 3; i++) {
		if (i >= op_info[st->op].operands) {
			if (o[i]->kind != RDU_OPD_NONE)
				return RDU_REFUSE(s, diag, OPERAND, o[i], "%s takes %u operands",
						  op_info[st->op].name, op_info[st->op].operands);
			continue;
		}
		if (check_operand(s, c, o[i], *written, tail, diag))
			return -1;
	}
	if (st->op == RDU_SIMD_TRAP && (st->a.kind == RDU_OPD_ACC || st->b.kind == RDU_OPD_ACC))
		return RDU_REFUSE(s, diag, OPERAND, &st->a, "a trap does not accumulate");
	if (st->op == RDU_SIMD_SHIFT && st->b.kind != RDU_OPD_IMM)
		return RDU_REFUSE(s, diag, OPERAND, &st->b, "the shift's distance must be an IMM");
	if (tail && !op_info[st->op].tail_only && op_info[st->op].operands == 2 &&
	    (st->a.kind == RDU_OPD_REG) == (st->b.kind == RDU_OPD_REG))
		return RDU_REFUSE(s, diag, OPERAND, &st->a,
				  "%s in a tail takes one register and one IMM or ARG",
				  op_info[st->op].name);
	*written |= 1u << st->dst;
	return 0;
}

static int check_out_regs(struct rdu_section *s, const struct rdu_cfg_program *c, uint32_t written,
			  struct rdu_cfg_diag *diag)
{
	for (unsigned int i = 0; i < c->num_out; i++) {
		const struct rdu_cfg_port *port = &c->out[i];

		for (unsigned int r = port->reg; r < (unsigned int)port->reg + port->count; r++)
			if (r >= s->chip.simd_regs || !(written >> r & 1))
				return RDU_REFUSE(s, diag, PORT, &port->reg,
						  "output port %u: register %u is not written", i,
						  r);
	}
	return 0;
}

static int check_simd(struct rdu_section *s, struct rdu_unit_prog *p, uint64_t room,
		      struct rdu_cfg_diag *diag)
{
	const struct rdu_cfg_simd *b = p->body;
	uint32_t written = 0;
	unsigned int i, n;

	if (p->cfg->num_out < 1)
		return RDU_REFUSE(s, diag, PORT, &p->cfg->num_out, "a PCU without an output");
	if (room < sizeof(*b))
		return RDU_REFUSE(s, diag, BODY, &p->cfg->body, "body outside the image");
	if (b->num_stages > s->chip.simd_stages || b->num_stages > RDU_MAX_STAGES ||
	    b->num_tail > s->chip.tail_stages || b->num_tail > RDU_MAX_TAIL)
		return RDU_REFUSE(s, diag, STAGES, b,
				  "%u stages and %u tail operations of %u and %u", b->num_stages,
				  b->num_tail, s->chip.simd_stages, s->chip.tail_stages);
	for (i = 0; i < sizeof(b->zero); i++)
		if (b->zero[i])
			return RDU_REFUSE(s, diag, RESERVED, &b->zero[i], "reserved field is %u",
					  b->zero[i]);
	n = b->num_stages + b->num_tail;
	p->body_size = sizeof(*b) + n * sizeof(b->stage[0]);
	if (room < p->body_size)
		return RDU_REFUSE(s, diag, BODY, &p->cfg->body, "body of %u bytes, %llu are there",
				  p->body_size, (unsigned long long)room);
	for (i = 0; i < n; i++)
		if (check_stage(s, p->cfg, &b->stage[i], &written, i >= b->num_stages, diag))
			return -1;
	return check_out_regs(s, p->cfg, written, diag);
}

/* Starting values, and the kinds of operands that the mode knows. */
static bool flags_fit(const struct rdu_cfg_systolic *b)
{
	unsigned int starts = b->flags & (RDU_SYS_INIT | RDU_SYS_INIT_ALWAYS), kinds;

	kinds = b->flags & ~starts;
	if (starts == RDU_SYS_INIT_ALWAYS)
		return false;
	switch (b->mode) {
	case RDU_SYS_INT8:
		return !(kinds & ~(RDU_SYS_COLS_UNSIGNED | RDU_SYS_ROWS_UNSIGNED));
	case RDU_SYS_TERNARY: /* weights have a sign */
		return kinds & RDU_SYS_COLS_TERNARY
			       ? !(kinds & ~(RDU_SYS_COLS_TERNARY | RDU_SYS_ROWS_UNSIGNED))
			       : !(kinds & ~RDU_SYS_COLS_UNSIGNED);
	default:
		return !kinds;
	}
}

/* TERNARY: the innermost counter goes through the quarters of a word of weights. */
static int check_quarters(struct rdu_section *s, const struct rdu_unit_prog *p,
			  struct rdu_cfg_diag *diag)
{
	const struct rdu_cfg_systolic *b = p->body;
	unsigned int last = p->cfg->num_counters - 1u;

	if (!p->cfg->num_counters || !(b->k_mask >> last & 1))
		return RDU_REFUSE(s, diag, SYSTOLIC, &b->k_mask,
				  "ternary: the innermost counter is not in k_mask 0x%x",
				  b->k_mask);
	if (p->trip[last] != 4)
		return RDU_REFUSE(s, diag, SYSTOLIC, &p->cfg->counter[last],
				  "ternary: the innermost counter has %llu iterations, not 4",
				  (unsigned long long)p->trip[last]);
	return 0;
}

static int check_systolic(struct rdu_section *s, struct rdu_unit_prog *p, uint64_t room,
			  struct rdu_cfg_diag *diag)
{
	const struct rdu_cfg_systolic *b = p->body;
	const struct rdu_cfg_program *c = p->cfg;
	uint32_t written = 1, all = (1u << c->num_counters) - 1;
	uint32_t inner = all & ~((1u << c->num_outer) - 1);
	unsigned int i;
	bool init;

	if (room < sizeof(*b))
		return RDU_REFUSE(s, diag, BODY, &c->body, "body outside the image");
	p->body_size = sizeof(*b) + b->num_tail * sizeof(b->tail[0]);
	if (b->num_tail > s->chip.tail_stages || b->num_tail > RDU_MAX_TAIL)
		return RDU_REFUSE(s, diag, STAGES, &b->num_tail, "%u tail operations of %u",
				  b->num_tail, s->chip.tail_stages);
	if (room < p->body_size)
		return RDU_REFUSE(s, diag, BODY, &c->body, "body of %u bytes, %llu are there",
				  p->body_size, (unsigned long long)room);
	if (b->mode > RDU_SYS_TERNARY)
		return RDU_REFUSE(s, diag, SYSTOLIC, &b->mode, "systolic mode %u", b->mode);
	if (b->cols < 1 || b->cols > s->chip.systolic_cols || b->cols > s->chip.lanes)
		return RDU_REFUSE(s, diag, SYSTOLIC, &b->cols, "%u columns: the chip has %u",
				  b->cols, s->chip.systolic_cols);
	if (!flags_fit(b))
		return RDU_REFUSE(s, diag, SYSTOLIC, &b->flags, "flags 0x%x", b->flags);
	if (b->k_mask & ~inner)
		return RDU_REFUSE(s, diag, MASK, &b->k_mask, "k_mask 0x%x, inner counters are 0x%x",
				  b->k_mask, inner);
	if (b->mode == RDU_SYS_TERNARY && check_quarters(s, p, diag))
		return -1;
	if (b->init_mask & ~all)
		return RDU_REFUSE(s, diag, MASK, &b->init_mask, "init_mask 0x%x of counters 0x%x",
				  b->init_mask, all);
	init = b->flags & RDU_SYS_INIT;
	if (c->num_in != 2u + init || c->num_out < 1)
		return RDU_REFUSE(s, diag, PORT, &c->num_in, "%u input and %u output ports",
				  c->num_in, c->num_out);
	if (init && (c->in[2].mask != b->k_mask || c->in[2].count != b->cols))
		return RDU_REFUSE(s, diag, PORT, &c->in[2].mask,
				  "init port: mask 0x%x, count %u; must be 0x%x and %u",
				  c->in[2].mask, c->in[2].count, b->k_mask, b->cols);
	for (i = 0; i < c->num_out; i++)
		if ((c->out[i].mask & b->k_mask) != b->k_mask || c->out[i].count != b->cols ||
		    c->out[i].reg)
			return RDU_REFUSE(
				s, diag, PORT, &c->out[i].mask,
				"output port %u: mask 0x%x, register %u, count %u; k_mask "
				"is 0x%x, columns %u",
				i, c->out[i].mask, c->out[i].reg, c->out[i].count, b->k_mask,
				b->cols);
	for (i = 0; i < b->num_tail; i++)
		if (check_stage(s, c, &b->tail[i], &written, true, diag))
			return -1;
	p->drains = 1;
	for (i = c->num_outer; i < c->num_counters; i++)
		if (!(b->k_mask >> i & 1))
			p->drains *= p->trip[i];
	return 0;
}

/* ---- accesses ---------------------------------------------------------- */

#define ADDRESS_LIMIT (1ll << 60)

/* Adds stride * [lo, hi] to the range [*min, *max]; false beyond the limit. */
static bool widen(int64_t *min, int64_t *max, int64_t stride, int64_t lo, int64_t hi)
{
	int64_t a, b;

	if (__builtin_mul_overflow(stride, lo, &a) || __builtin_mul_overflow(stride, hi, &b))
		return false;
	if (__builtin_add_overflow(*min, a < b ? a : b, min) ||
	    __builtin_add_overflow(*max, a < b ? b : a, max))
		return false;
	return *min > -ADDRESS_LIMIT && *max < ADDRESS_LIMIT;
}

static bool counter_range(const struct rdu_unit_prog *p, unsigned int i, int64_t *lo, int64_t *hi)
{
	const struct rdu_cfg_counter *c = &p->cfg->counter[i];

	*lo = c->start;
	*hi = c->start + (int64_t)(p->trip[i] - 1) * c->step;
	return true;
}

static bool access_range(const struct rdu_unit_prog *p, const struct rdu_cfg_access *a,
			 unsigned int lanes, int64_t *min, int64_t *max)
{
	int64_t lo, hi;

	*min = *max = a->base;
	if (!widen(min, max, a->lane_stride, 0, lanes - 1))
		return false;
	for (unsigned int i = 0; i < p->cfg->num_counters; i++)
		if (counter_range(p, i, &lo, &hi) && !widen(min, max, a->stride[i], lo, hi))
			return false;
	return true;
}

static int check_pred(struct rdu_section *s, const struct rdu_unit_prog *p,
		      const struct rdu_cfg_pred *pr, struct rdu_cfg_diag *diag)
{
	int64_t min = pr->base, max = pr->base, lo, hi;
	bool fits = widen(&min, &max, pr->lane_stride, 0, s->chip.lanes - 1);

	for (unsigned int i = 0; fits && i < p->cfg->num_counters; i++)
		fits = counter_range(p, i, &lo, &hi) && widen(&min, &max, pr->stride[i], lo, hi);
	if (!fits)
		return RDU_REFUSE(s, diag, ADDRESS, pr, "a predicate is out of range");
	return 0;
}

static int check_access_flags(struct rdu_section *s, struct rdu_unit_prog *p, bool indexed,
			      struct rdu_cfg_diag *diag)
{
	const struct rdu_cfg_access *a = p->body;
	const struct rdu_cfg_program *c = p->cfg;
	bool pmu = rdu_kind_unit(c->kind) == RDU_UNIT_PMU;
	bool in = c->kind == RDU_KIND_WRITE || c->kind == RDU_KIND_STORE;

	if (c->num_in != (unsigned int)in + indexed || c->num_out != !in)
		return RDU_REFUSE(s, diag, PORT, &c->num_in, "%u input and %u output ports",
				  c->num_in, c->num_out);
	if (!in && c->out[0].reg)
		return RDU_REFUSE(s, diag, PORT, &c->out[0].reg, "register %u", c->out[0].reg);
	if (a->lanes < 1 || a->lanes > s->chip.lanes)
		return RDU_REFUSE(s, diag, FORMAT, &a->lanes, "%u lanes of %u", a->lanes,
				  s->chip.lanes);
	if (a->format > RDU_FMT_U64 ||
	    (pmu && a->format != RDU_FMT_WORD &&
	     !(a->pack && (a->format == RDU_FMT_I8 || a->format == RDU_FMT_U8))))
		return RDU_REFUSE(s, diag, FORMAT, &a->format, "format %u", a->format);
	if (a->pack > RDU_PACK_LOW || (a->pack && c->kind != RDU_KIND_WRITE))
		return RDU_REFUSE(s, diag, FORMAT, &a->pack, "packing %u", a->pack);
	if (a->pack == RDU_PACK_VEC &&
	    (c->num_counters == c->num_outer ||
	     p->trip[c->num_counters - 1] % rdu_pack_elements(a)) &&
	    c->counter[c->num_counters - 1].limit_kind == RDU_LIMIT_IMM)
		return RDU_REFUSE(s, diag, FORMAT, &a->pack,
				  "packing of %u vectors, %llu iterations of the innermost counter",
				  rdu_pack_elements(a),
				  (unsigned long long)p->trip[c->num_counters - 1]);
	if (a->pack == RDU_PACK_LANE && a->lanes % rdu_pack_elements(a))
		return RDU_REFUSE(s, diag, FORMAT, &a->lanes, "packing of %u lanes, %u lanes",
				  rdu_pack_elements(a), a->lanes);
	if (a->flags & ~(RDU_ACCESS_GATHER | RDU_ACCESS_ADD | RDU_ACCESS_ONE_INDEX))
		return RDU_REFUSE(s, diag, RESERVED, &a->flags, "flags 0x%x", a->flags);
	if ((a->flags & RDU_ACCESS_ONE_INDEX) && !(a->flags & RDU_ACCESS_GATHER))
		return RDU_REFUSE(s, diag, FORMAT, &a->flags, "ONE_INDEX without GATHER");
	if ((a->flags & RDU_ACCESS_ADD) && (!in || a->format != RDU_FMT_WORD || a->pack))
		return RDU_REFUSE(s, diag, FORMAT, &a->flags, "ADD on a read or another format");
	if (!pmu && (a->flip_mask || a->copy_start))
		return RDU_REFUSE(s, diag, RESERVED, &a->flip_mask, "a segment has no copies");
	if (a->flip_mask >> c->num_outer)
		return RDU_REFUSE(s, diag, MASK, &a->flip_mask,
				  "flip mask 0x%x of %u outer counters", a->flip_mask,
				  c->num_outer);
	return 0;
}

static int check_access(struct rdu_section *s, struct rdu_unit_prog *p, uint64_t room,
			struct rdu_cfg_diag *diag)
{
	const struct rdu_cfg_access *a = p->body;
	const struct rdu_cfg_program *c = p->cfg;
	const struct rdu_cfg_buffer *buf;
	unsigned int words, i;
	int64_t min, max;

	if (room < sizeof(*a))
		return RDU_REFUSE(s, diag, BODY, &c->body, "body outside the image");
	if (a->num_preds > RDU_MAX_PREDS)
		return RDU_REFUSE(s, diag, TOO_LARGE, &a->num_preds, "%u predicates", a->num_preds);
	p->body_size = sizeof(*a) + a->num_preds * sizeof(a->pred[0]);
	if (room < p->body_size)
		return RDU_REFUSE(s, diag, BODY, &c->body, "body of %u bytes, %llu are there",
				  p->body_size, (unsigned long long)room);
	if (check_access_flags(s, p, a->flags & RDU_ACCESS_GATHER, diag))
		return -1;
	if (a->index_stride <= -(1ll << 28) || a->index_stride >= 1ll << 28)
		return RDU_REFUSE(s, diag, ADDRESS, &a->index_stride, "index stride %lld",
				  (long long)a->index_stride);
	words = rdu_pack_words(a, a->lanes);
	if (!access_range(p, a, words, &min, &max))
		return RDU_REFUSE(s, diag, ADDRESS, &a->base, "addresses beyond 2^60");
	for (i = 0; i < a->num_preds; i++)
		if (check_pred(s, p, &a->pred[i], diag))
			return -1;

	if (rdu_kind_unit(c->kind) == RDU_UNIT_AGCU) {
		if (a->target >= s->hdr->num_segments)
			return RDU_REFUSE(s, diag, SEGMENT, &a->target, "segment %u of %u",
					  a->target, s->hdr->num_segments);
		return 0;
	}
	if (a->target >= s->hdr->buffers.count)
		return RDU_REFUSE(s, diag, BUFFER, &a->target, "buffer %u of %u", a->target,
				  s->hdr->buffers.count);
	buf = &s->buffers[a->target];
	if (buf->tile != c->tile || buf->unit != c->unit)
		return RDU_REFUSE(s, diag, BUFFER, &a->target,
				  "buffer %u is in PMU %u of tile %u, the program in %u of %u",
				  a->target, buf->unit, buf->tile, c->unit, c->tile);
	if (a->copy_start >= buf->copies)
		return RDU_REFUSE(s, diag, BUFFER, &a->copy_start, "copy %u of %u", a->copy_start,
				  buf->copies);
	/* With predicates or an index stream what is touched is checked as it is. */
	if ((min < 0 || max >= buf->words) && !a->num_preds && !(a->flags & RDU_ACCESS_GATHER) &&
	    !s->has_arg_limits)
		return RDU_REFUSE(s, diag, ADDRESS, &a->base,
				  "words %lld to %lld of a buffer of %u", (long long)min,
				  (long long)max, buf->words);
	return 0;
}

int rdu_validate_body(struct rdu_section *s, uint32_t program, struct rdu_cfg_diag *diag)
{
	struct rdu_unit_prog *p = &s->progs[program];
	uint64_t size = s->hdr->bodies.count, room;

	if (p->cfg->body > size)
		return RDU_REFUSE(s, diag, BODY, &p->cfg->body, "body at %u of %llu bytes",
				  p->cfg->body, (unsigned long long)size);
	if (p->cfg->body & 7)
		return RDU_REFUSE(s, diag, ALIGN, &p->cfg->body, "body at %u", p->cfg->body);
	room = size - p->cfg->body;
	p->body = s->bodies + p->cfg->body;
	switch (p->cfg->kind) {
	case RDU_KIND_SIMD:
		return check_simd(s, p, room, diag);
	case RDU_KIND_SYSTOLIC:
		return check_systolic(s, p, room, diag);
	default:
		return check_access(s, p, room, diag);
	}
}
