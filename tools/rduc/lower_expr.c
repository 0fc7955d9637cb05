// SPDX-License-Identifier: MIT
/*
 * Straight-line operations on vectors become PCU programs: as many operations
 * to a PCU as its stages, tail, registers and ports allow, joined by streams.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

int simd_operands(enum rdu_simd_op op)
{
	switch (op) {
#define OPERANDS(n, v, o, t, d) \
	case RDU_SIMD_##n:      \
		return o;
		RDU_SIMD_OPS(OPERANDS)
#undef OPERANDS
	}
	return 0;
}

bool simd_tail_only(enum rdu_simd_op op)
{
	switch (op) {
#define TAIL(n, v, o, t, d) \
	case RDU_SIMD_##n:  \
		return t;
		RDU_SIMD_OPS(TAIL)
#undef TAIL
	}
	return false;
}

struct xarg xval(int op)
{
	return (struct xarg){ .kind = XA_VAL, .index = op };
}

struct xarg xsrc_arg(int src)
{
	return (struct xarg){ .kind = XA_SRC, .index = src };
}

struct xarg ximm(uint32_t imm)
{
	return (struct xarg){ .kind = XA_IMM, .imm = imm };
}

struct xarg xctr(int c)
{
	return (struct xarg){ .kind = XA_CTR, .index = c };
}

static void room_for_ops(struct xprog *x, int num)
{
	if (x->num_ops + num <= x->room_ops)
		return;
	x->room_ops = (x->num_ops + num) * 2 + 16;
	x->op = xrealloc(x->op, (size_t)x->room_ops * sizeof(*x->op));
}

int xprog_op(struct xprog *x, enum rdu_simd_op op, struct xarg a, struct xarg b, struct xarg c)
{
	room_for_ops(x, 1);
	x->op[x->num_ops] = (struct xop){ .op = op, .arg = { a, b, c } };
	return x->num_ops++;
}

void xprog_free(struct xprog *x)
{
	free(x->op);
	x->op = NULL;
	x->num_ops = x->room_ops = 0;
}

/* Makes room for `num` operations before operation `at`, and counts the others anew. */
static void insert_ops(struct xprog *x, int at, int num)
{
	room_for_ops(x, num);
	memmove(&x->op[at + num], &x->op[at], (size_t)(x->num_ops - at) * sizeof(*x->op));
	x->num_ops += num;
	for (int i = at + num; i < x->num_ops; i++)
		for (int k = 0; k < 3; k++)
			if (x->op[i].arg[k].kind == XA_VAL && x->op[i].arg[k].index >= at)
				x->op[i].arg[k].index += num;
	for (int i = 0; i < x->num_out; i++)
		if (x->out[i] >= at)
			x->out[i] += num;
}

/* a ? b : c from operations of two operands that vary, for PCUs with two input
 * ports: (a ? b : 0) | (a ? 0 : c), the same bits. */
static void split_select(struct xprog *x, int at)
{
	struct xarg a, b, c, none = { 0 };

	insert_ops(x, at, 2);
	a = x->op[at + 2].arg[0];
	b = x->op[at + 2].arg[1];
	c = x->op[at + 2].arg[2];
	x->op[at] = (struct xop){ .op = RDU_SIMD_SELECT, .arg = { a, b, ximm(0) } };
	x->op[at + 1] = (struct xop){ .op = RDU_SIMD_SELECT, .arg = { a, ximm(0), c } };
	x->op[at + 2] = (struct xop){ .op = RDU_SIMD_OR, .arg = { xval(at), xval(at + 1), none } };
}

/* ---- one PCU's worth of operations ------------------------------------------ */

#define PCU_OPS (RDU_MAX_STAGES + RDU_MAX_TAIL)

struct pcu_ops {
	int num;
	int op[PCU_OPS];
	/* made by pack_pcu */
	bool tail[PCU_OPS]; /* op[i] runs in the tail */
	int num_stages, num_tail;
	struct {
		int op; /* operation, or -1: a move */
		struct xarg moved;
		int reg;
	} slot[PCU_OPS];
	int num_src;
	struct xarg src[RDU_MAX_PORTS]; /* XA_SRC, or XA_VAL of another PCU */
	int num_out;
	int out[RDU_MAX_PORTS];
};

/* What of a PCU ran out. */
struct misfit {
	const char *what;
	int need, have;
};

static bool misfit(struct misfit *m, const char *what, int need, int have)
{
	*m = (struct misfit){ what, need, have };
	return false;
}

/* Place of an operation in a PCU's list, -1: in another PCU. */
static int place_in_pcu(const struct pcu_ops *p, int op)
{
	for (int i = 0; i < p->num; i++)
		if (p->op[i] == op)
			return i;
	return -1;
}

static bool in_pcu(const struct pcu_ops *p, int op)
{
	return place_in_pcu(p, op) >= 0;
}

static int reg_of(const struct pcu_ops *p, int op)
{
	int s = 0;

	while (p->slot[s].op != op)
		s++;
	return p->slot[s].reg;
}

static bool used_outside(const struct xprog *x, const struct pcu_ops *p, int v)
{
	for (int i = 0; i < x->num_out; i++)
		if (x->out[i] == v)
			return true;
	for (int i = v + 1; i < x->num_ops; i++)
		for (int k = 0; k < 3; k++)
			if (x->op[i].arg[k].kind == XA_VAL && x->op[i].arg[k].index == v &&
			    !in_pcu(p, i))
				return true;
	return false;
}

static bool same_arg(const struct xarg *a, const struct xarg *b)
{
	return a->kind == b->kind && a->index == b->index && a->imm == b->imm;
}

static int port_of(const struct pcu_ops *p, const struct xarg *a)
{
	for (int i = 0; i < p->num_src; i++)
		if (p->src[i].index == a->index &&
		    (p->src[i].kind == XA_VAL) == (a->kind == XA_VAL))
			return i;
	return -1;
}

/* A tail operation reads registers (and immediates): anything else is moved
 * there by a stage first. */
static int moved_slot(const struct pcu_ops *p, const struct xarg *a)
{
	for (int i = 0; i < p->num_stages; i++)
		if (p->slot[i].op < 0 && same_arg(&p->slot[i].moved, a))
			return i;
	return -1;
}

static bool plain_tail(enum rdu_simd_op op)
{
	return op == RDU_SIMD_FADD || op == RDU_SIMD_FMUL || op == RDU_SIMD_FMAX ||
	       op == RDU_SIMD_FMIN || op == RDU_SIMD_MOV;
}

/* Is operand k of a tail operation, an immediate, moved to a register too? */
static bool moves_imm(const struct xop *o, int k)
{
	return k == 0 && !plain_tail(o->op);
}

static bool pack_ports(const struct xprog *x, const struct rdu_chip *chip, struct pcu_ops *p,
		       struct misfit *why)
{
	int n_in = (int)min64(chip->pcu_vec_in, RDU_MAX_PORTS);
	int n_out = (int)min64(chip->pcu_vec_out, RDU_MAX_PORTS);

	p->num_src = p->num_out = 0;
	for (int i = 0; i < p->num; i++) {
		const struct xop *o = &x->op[p->op[i]];

		for (int k = 0; k < 3; k++) {
			const struct xarg *a = &o->arg[k];

			if (a->kind != XA_SRC && a->kind != XA_SRC_LANE &&
			    !(a->kind == XA_VAL && !in_pcu(p, a->index)))
				continue;
			if (port_of(p, a) >= 0)
				continue;
			if (p->num_src == RDU_MAX_PORTS)
				return misfit(why, "input ports", p->num_src + 1, n_in);
			p->src[p->num_src] = *a;
			if (a->kind == XA_SRC_LANE)
				p->src[p->num_src].kind = XA_SRC;
			p->num_src++;
		}
		if (used_outside(x, p, p->op[i])) {
			if (p->num_out == n_out)
				return misfit(why, "output ports", n_out + 1, n_out);
			p->out[p->num_out++] = p->op[i];
		}
	}
	return p->num_src <= n_in || misfit(why, "input ports", p->num_src, n_in);
}

/* A stage for every operation that is not for the tail. */
static bool pack_stages(const struct xprog *x, int stages, struct pcu_ops *p, struct misfit *why)
{
	p->num_stages = 0;
	for (int i = 0; i < p->num; i++) {
		const struct xop *o = &x->op[p->op[i]];

		p->tail[i] = simd_tail_only(o->op);
		for (int k = 0; k < 3; k++) {
			int at = o->arg[k].kind == XA_VAL ? place_in_pcu(p, o->arg[k].index) : -1;

			if (at >= 0 && p->tail[at])
				p->tail[i] = true;
		}
		if (!p->tail[i])
			p->slot[p->num_stages++].op = p->op[i];
	}
	return p->num_stages <= stages || misfit(why, "stages", p->num_stages, stages);
}

/* Stages that move to registers what the tail reads, and the tail. */
static bool pack_tail(const struct xprog *x, const struct rdu_chip *chip, int stages,
		      struct pcu_ops *p, struct misfit *why)
{
	int tails = (int)min64(chip->tail_stages, RDU_MAX_TAIL);

	p->num_tail = 0;
	for (int i = 0; i < p->num; i++) {
		const struct xop *o = &x->op[p->op[i]];
		int values = 0;

		if (!p->tail[i])
			continue;
		for (int k = 0; k < 3; k++) {
			const struct xarg *a = &o->arg[k];

			if (a->kind == XA_NONE)
				continue;
			if (a->kind == XA_IMM && !moves_imm(o, k))
				continue;
			values++;
			if (a->kind == XA_VAL && in_pcu(p, a->index))
				continue;
			if (moved_slot(p, a) >= 0)
				continue;
			if (p->num_stages == RDU_MAX_STAGES)
				return misfit(why, "stages", p->num_stages + 1, stages);
			p->slot[p->num_stages].op = -1;
			p->slot[p->num_stages++].moved = *a;
		}
		if (!simd_tail_only(o->op) && (!plain_tail(o->op) || values > 1))
			return misfit(why, "stages behind the tail", 1, 0);
		p->num_tail++;
	}
	if (p->num_stages > stages)
		return misfit(why, "stages", p->num_stages, stages);
	if (p->num_tail > tails)
		return misfit(why, "tail stages", p->num_tail, tails);
	for (int i = 0, at = p->num_stages; i < p->num; i++)
		if (p->tail[i])
			p->slot[at++].op = p->op[i];
	return true;
}

/* A value keeps its register until its last reader, or to the end. */
static bool pack_registers(const struct xprog *x, const struct rdu_chip *chip, struct pcu_ops *p,
			   struct misfit *why)
{
	int last_use[PCU_OPS], reg_until[PCU_OPS], num = p->num_stages + p->num_tail;
	int regs = (int)min64(chip->simd_regs, PCU_OPS);

	for (int s = 0; s < num; s++) {
		last_use[s] = s;
		for (int u = s + 1; u < num; u++) {
			if (p->slot[u].op < 0)
				continue;
			for (int k = 0; k < 3; k++) {
				const struct xarg *a = &x->op[p->slot[u].op].arg[k];

				if (p->slot[s].op >= 0
					    ? a->kind == XA_VAL && a->index == p->slot[s].op
					    : u >= p->num_stages && same_arg(a, &p->slot[s].moved))
					last_use[s] = u;
			}
		}
		if (p->slot[s].op >= 0 && used_outside(x, p, p->slot[s].op))
			last_use[s] = 1000;
	}
	for (int r = 0; r < regs; r++)
		reg_until[r] = -1;
	for (int s = 0; s < num; s++) {
		int r = 0;

		while (r < regs && reg_until[r] > s)
			r++;
		if (r == regs)
			return misfit(why, "registers", regs + 1, regs);
		reg_until[r] = last_use[s] > s ? last_use[s] : s + 1;
		p->slot[s].reg = r;
	}
	return true;
}

static bool pack_pcu(const struct xprog *x, const struct rdu_chip *chip, struct pcu_ops *p,
		     struct misfit *why)
{
	int stages = (int)min64(chip->simd_stages, RDU_MAX_STAGES);

	return pack_ports(x, chip, p, why) && pack_stages(x, stages, p, why) &&
	       pack_tail(x, chip, stages, p, why) && pack_registers(x, chip, p, why);
}

/* moved: an immediate is read from the register it was moved to. (Another operation may
 * have moved the same number, where this one must not read a register.) */
static struct rdu_cfg_operand operand(const struct pcu_ops *p, const struct xarg *a, bool in_tail,
				      bool moved)
{
	struct rdu_cfg_operand o = { 0 };
	int m;

	switch (a->kind) {
	case XA_NONE:
		o.kind = RDU_OPD_NONE;
		break;
	case XA_VAL:
	case XA_SRC:
		if (a->kind == XA_VAL && in_pcu(p, a->index)) {
			o.kind = RDU_OPD_REG;
			o.index = (uint8_t)reg_of(p, a->index);
			break;
		}
		/* fall through */
	case XA_SRC_LANE:
	case XA_CTR:
	case XA_LANE:
		m = in_tail ? moved_slot(p, a) : -1;
		if (m >= 0) {
			o.kind = RDU_OPD_REG;
			o.index = (uint8_t)p->slot[m].reg;
		} else if (a->kind == XA_CTR) {
			o.kind = RDU_OPD_COUNTER;
			o.index = (uint8_t)a->index;
		} else if (a->kind == XA_LANE) {
			o.kind = RDU_OPD_LANE;
		} else {
			o.kind = a->kind == XA_SRC_LANE ? RDU_OPD_IN_LANE : RDU_OPD_IN;
			o.index = (uint8_t)port_of(p, a);
			o.lane = (uint8_t)(a->kind == XA_SRC_LANE ? a->lane : 0);
		}
		break;
	case XA_IMM:
		m = in_tail && moved ? moved_slot(p, a) : -1;
		if (m >= 0) {
			o.kind = RDU_OPD_REG;
			o.index = (uint8_t)p->slot[m].reg;
		} else {
			o.kind = RDU_OPD_IMM;
			o.imm = a->imm;
		}
		break;
	case XA_ACC:
		o.kind = RDU_OPD_ACC;
		break;
	}
	return o;
}

static void fill_stages(const struct xprog *x, const struct pcu_ops *p, struct uprog *u)
{
	u->num_stages = p->num_stages;
	u->num_tail = p->num_tail;
	for (int s = 0; s < p->num_stages + p->num_tail; s++) {
		struct rdu_cfg_stage *st = &u->stage[s];

		memset(st, 0, sizeof(*st));
		st->dst = (uint8_t)p->slot[s].reg;
		if (p->slot[s].op < 0) {
			st->op = RDU_SIMD_MOV;
			st->a = operand(p, &p->slot[s].moved, false, false);
		} else {
			const struct xop *o = &x->op[p->slot[s].op];

			st->op = (uint8_t)o->op;
			st->acc_mask = (uint16_t)o->acc_mask;
			st->init = o->init;
			st->a = operand(p, &o->arg[0], s >= p->num_stages, moves_imm(o, 0));
			st->b = operand(p, &o->arg[1], s >= p->num_stages, moves_imm(o, 1));
			st->c = operand(p, &o->arg[2], s >= p->num_stages, moves_imm(o, 2));
		}
	}
}

/* All PCUs of a straight-line program. */
struct partition {
	int num, room;
	struct pcu_ops *pcu;
	int bad; /* operation that fits no PCU, even alone */
	struct misfit why;
};

/* Adds to p every operation not in a PCU yet that is ready and fits; how many. of:
 * operation -> its PCU, -1: none yet. */
static int fill_pcu(const struct rdu_chip *chip, const struct xprog *x, struct partition *t,
		    int *of)
{
	struct pcu_ops *p = &t->pcu[t->num];

	memset(p, 0, sizeof(*p));
	for (int i = 0; i < x->num_ops; i++) {
		bool ready = of[i] < 0 && p->num < PCU_OPS;
		struct pcu_ops tried;
		struct misfit why;

		for (int k = 0; k < 3 && ready; k++)
			if (x->op[i].arg[k].kind == XA_VAL && of[x->op[i].arg[k].index] < 0)
				ready = false;
		if (!ready)
			continue;
		tried = *p;
		tried.op[tried.num++] = i;
		if (pack_pcu(x, chip, &tried, &why)) {
			*p = tried;
			of[i] = t->num;
		} else if (!p->num) {
			t->bad = i;
			t->why = why;
		}
	}
	return p->num;
}

/* Fills the PCUs one by one with every operation that is ready and fits. False: t->bad
 * fits none. */
static bool fill_pcus(const struct rdu_chip *chip, const struct xprog *x, struct partition *t)
{
	int *of = xmalloc(((size_t)x->num_ops + 1) * sizeof(*of)), left = x->num_ops;

	for (int i = 0; i < x->num_ops; i++)
		of[i] = -1;
	t->num = 0;
	while (left) {
		int n;

		if (t->num == t->room) {
			t->room = t->room * 2 + 4;
			t->pcu = xrealloc(t->pcu, sizeof(*t->pcu) * (size_t)t->room);
		}
		n = fill_pcu(chip, x, t, of);
		if (!n)
			break;
		left -= n;
		t->num++;
	}
	free(of);
	return !left;
}

/* As above; a SELECT with more operands than input ports is cut in three. */
static bool partition(const struct rdu_chip *chip, struct xprog *x, struct partition *t)
{
	memset(t, 0, sizeof(*t));
	while (!fill_pcus(chip, x, t)) {
		if (x->op[t->bad].op != RDU_SIMD_SELECT || t->why.need != 3 || t->why.have != 2 ||
		    strcmp(t->why.what, "input ports"))
			return false;
		split_select(x, t->bad);
	}
	return true;
}

int xprog_pcus(const struct rdu_chip *chip, struct xprog *x)
{
	struct partition t;
	int n = partition(chip, x, &t) ? t.num : -1;

	free(t.pcu);
	return n;
}

static const char *op_name(enum rdu_simd_op op)
{
	switch (op) {
#define NAME(n, v, o, t, d) \
	case RDU_SIMD_##n:  \
		return #n;
		RDU_SIMD_OPS(NAME)
#undef NAME
	}
	return "?";
}

int xprog_emit(struct uimage *im, struct xprog *x, const struct xsrc *src,
	       const struct uprog *shape, uint32_t out_mask, double hx, double hy, int op_id,
	       struct xsrc *out)
{
	struct partition t;
	struct xsrc *from;

	if (!partition(im->chip, x, &t)) {
		image_fail(im, "operation %s needs %d %s, a PCU of %s has %d",
			   op_name(x->op[t.bad].op), t.why.need, t.why.what, im->chip->name,
			   t.why.have);
		free(t.pcu);
		return -1;
	}
	from = xcalloc((size_t)x->num_ops + 1, sizeof(*from));
	for (int i = 0; i < t.num; i++) {
		struct pcu_ops *p = &t.pcu[i];
		int u = image_unit(im, RDU_UNIT_PCU, hx, hy);
		int pr = image_prog(im, RDU_KIND_SIMD, u, op_id);
		struct uprog *up = &im->prog[pr];

		up->num_counters = shape->num_counters;
		up->asked_counters = shape->asked_counters;
		up->num_outer = shape->num_outer;
		memcpy(up->c, shape->c, sizeof(up->c));
		for (int s = 0; s < p->num_src; s++) {
			const struct xsrc *f = p->src[s].kind == XA_VAL ? &from[p->src[s].index]
									: &src[p->src[s].index];

			image_join(im, f->prog, f->port, pr,
				   image_in(im, pr, p->src[s].kind == XA_VAL ? 0 : f->mask));
		}
		fill_stages(x, p, &im->prog[pr]);
		for (int o = 0; o < p->num_out; o++) {
			uint32_t mask = 0;

			for (int k = 0; k < x->num_out; k++)
				if (x->out[k] == p->out[o])
					mask = out_mask;
			from[p->out[o]].prog = pr;
			from[p->out[o]].port = image_out(im, pr, mask, reg_of(p, p->out[o]), 1);
			from[p->out[o]].mask = 0;
		}
	}
	for (int k = 0; k < x->num_out; k++)
		out[k] = from[x->out[k]];
	free(from);
	free(t.pcu);
	return 0;
}

/* ---- expressions of a nest ---------------------------------------------------- */

void xbuild_init(struct xbuild *b, const struct lnest *l, const struct loops *lp)
{
	memset(b, 0, sizeof(*b));
	b->l = l;
	b->lp = lp;
}

static int source(struct xbuild *b, int input)
{
	for (int i = 0; i < b->num_src; i++)
		if (b->src_in[i] == input)
			return i;
	b->src_in[b->num_src] = input;
	return b->num_src++;
}

struct xarg xbuild_index(struct xbuild *b, int dim)
{
	struct xarg sum = { .kind = XA_NONE };

	if (dim < 0)
		return ximm(0);
	for (int i = 0; i < b->lp->num; i++) {
		if (b->lp->l[i].dim != dim)
			continue;
		sum = sum.kind == XA_NONE ? xctr(i)
					  : xval(xprog_op(&b->x, RDU_SIMD_IADD, sum, xctr(i),
							  (struct xarg){ 0 }));
	}
	if (b->lp->lane_dim == dim) {
		struct xarg lane = { .kind = XA_LANE };

		sum = sum.kind == XA_NONE
			      ? lane
			      : xval(xprog_op(&b->x, RDU_SIMD_IADD, sum, lane, (struct xarg){ 0 }));
	}
	return sum.kind == XA_NONE ? ximm(0) : sum;
}

/* 1 in the lanes and iterations that are points of the nest. */
static struct xarg xbuild_live(struct xbuild *b)
{
	const struct loops *lp = b->lp;
	struct xarg lane = { .kind = XA_LANE }, none = { 0 }, live, at;

	live = xval(xprog_op(&b->x, RDU_SIMD_ILT, lane, ximm((uint32_t)lp->lanes), none));
	for (int d = 0; d < b->l->num_dims; d++) {
		if (lp->reach[d] <= lp->limit[d])
			continue;
		at = xbuild_index(b, d);
		if (at.kind == XA_IMM) /* reduced before */
			continue;
		at = xval(xprog_op(&b->x, RDU_SIMD_ILT, at, ximm((uint32_t)lp->limit[d]), none));
		live = xval(xprog_op(&b->x, RDU_SIMD_AND, live, at, none));
	}
	return live;
}

struct xarg xbuild_expr(struct xbuild *b, int expr)
{
	const struct nest *n = b->l->n;
	const struct expr *e = &n->expr[expr];
	struct xarg r = { 0 }, a[3] = { { 0 }, { 0 }, { 0 } };

	if (b->memo[expr])
		return b->val[expr];
	switch (e->kind) {
	case EXPR_IN:
		r = xsrc_arg(source(b, e->arg[0]));
		break;
	case EXPR_IMM:
		r = ximm(e->imm);
		break;
	case EXPR_INDEX:
		r = xbuild_index(b, b->l->index_dim[e->arg[0]]);
		break;
	case EXPR_LIVE:
		r = xbuild_live(b);
		break;
	case EXPR_RED:
		r = xsrc_arg(source(b, -1));
		break;
	case EXPR_OP:
		for (int k = 0; k < simd_operands(e->op) && k < 3; k++)
			if (e->arg[k] >= 0)
				a[k] = xbuild_expr(b, e->arg[k]);
		if (e->op == RDU_SIMD_F2BF_SR)
			for (int k = 1; k < 3; k++)
				if (e->arg[k] >= 0)
					a[k] = xbuild_expr(b, e->arg[k]);
		r = xval(xprog_op(&b->x, e->op, a[0], a[1], a[2]));
		break;
	}
	b->memo[expr] = 1;
	b->val[expr] = r;
	return r;
}

void xbuild_result(struct xbuild *b, struct xarg r)
{
	const struct nest *n = b->l->n;

	for (int i = 0; i < n->num_expr; i++)
		if (n->expr[i].kind == EXPR_RED) {
			b->memo[i] = 1;
			b->val[i] = r;
		}
}

void xbuild_output_arg(struct xbuild *b, struct xarg a)
{
	if (a.kind != XA_VAL)
		a = xval(xprog_op(&b->x, RDU_SIMD_MOV, a, (struct xarg){ 0 }, (struct xarg){ 0 }));
	b->x.out[b->x.num_out++] = a.index;
}

void xbuild_output(struct xbuild *b, int expr, enum rdu_simd_op rounding)
{
	const struct expr *e = &b->l->n->expr[expr];
	struct xarg a = xbuild_expr(b, expr), none = { 0 };

	if (rounding != RDU_SIMD_MOV && !(e->kind == EXPR_OP && e->op == rounding))
		a = xval(xprog_op(&b->x, rounding, a, none, none));
	xbuild_output_arg(b, a);
}
