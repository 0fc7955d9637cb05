// SPDX-License-Identifier: MIT
/*
 * PCUs that a copy can do without: one that only passes on what comes, and one that brings together what
 * several programs read of the parts of something resident, for one other PCU with ports, stages and a
 * register to spare.
 */
#include <string.h>
#include "backend.h"

/* Is it a chain of operations, each on the result of the one before and on what comes in this iteration? */
static bool is_chain(const struct uprog *p)
{
	if (p->kind != RDU_KIND_SIMD || p->num_out != 1 || p->out[0].mask || p->num_tail ||
	    p->num_stages < 1 || p->out[0].count != 1 || p->out[0].stream < 0 ||
	    p->out[0].reg != p->stage[p->num_stages - 1].dst)
		return false;
	for (int i = 0; i < p->num_in; i++)
		if (p->in[i].mask)
			return false;
	for (int i = 0; i < p->num_stages; i++) {
		const struct rdu_cfg_operand *o[] = { &p->stage[i].a, &p->stage[i].b,
						      &p->stage[i].c };

		for (int k = 0; k < 3; k++)
			if (o[k]->kind == RDU_OPD_REG
				    ? !i || o[k]->index != p->stage[i - 1].dst
				    : o[k]->kind != RDU_OPD_NONE && o[k]->kind != RDU_OPD_IN &&
					      o[k]->kind != RDU_OPD_IMM)
				return false;
	}
	return true;
}

/* A register that a program leaves alone; -1: there is none. */
static int free_register(const struct rdu_chip *chip, const struct uprog *p)
{
	uint32_t used = 0;

	for (int i = 0; i < p->num_stages + p->num_tail; i++)
		used |= 1u << p->stage[i].dst;
	for (int r = 0; r < (int)chip->simd_regs; r++)
		if (!(used >> r & 1))
			return r;
	return -1;
}

/* Does a program use single lanes of what comes at a port? */
static bool takes_lanes(const struct uprog *p, int port)
{
	for (int i = 0; i < p->num_stages; i++) {
		const struct rdu_cfg_operand *o[] = { &p->stage[i].a, &p->stage[i].b,
						      &p->stage[i].c };

		for (int k = 0; k < 3; k++)
			if (o[k]->kind == RDU_OPD_IN_LANE && o[k]->index == port)
				return true;
	}
	return false;
}

/* May program p, which takes what chain j gives at a port, do the work of that? */
static bool has_room(const struct rdu_chip *chip, const struct uprog *j, const struct uprog *p,
		     int port)
{
	return p->kind == RDU_KIND_SIMD && !takes_lanes(p, port) &&
	       p->num_in - 1 + j->num_in <= (int)min64(chip->pcu_vec_in, RDU_MAX_PORTS) &&
	       p->num_stages + j->num_stages <= (int)min64(chip->simd_stages, RDU_MAX_STAGES) &&
	       free_register(chip, p) >= 0;
}

/* Program p takes from a register what it took from a port. */
static void take_from_register(struct uprog *p, int port, int reg)
{
	for (int i = 0; i < p->num_stages; i++) {
		struct rdu_cfg_operand *o[] = { &p->stage[i].a, &p->stage[i].b, &p->stage[i].c };

		for (int k = 0; k < 3; k++)
			if (o[k]->kind == RDU_OPD_IN && o[k]->index == port)
				*o[k] = (struct rdu_cfg_operand){ .kind = RDU_OPD_REG,
								  .index = (uint8_t)reg };
	}
}

/* A stage of a chain, with its ports and its register elsewhere. */
static struct rdu_cfg_stage moved(struct rdu_cfg_stage st, const int *port, int reg)
{
	struct rdu_cfg_operand *o[] = { &st.a, &st.b, &st.c };

	st.dst = (uint8_t)reg;
	for (int k = 0; k < 3; k++)
		if (o[k]->kind == RDU_OPD_REG)
			o[k]->index = (uint8_t)reg;
		else if (o[k]->kind == RDU_OPD_IN)
			o[k]->index = (uint8_t)port[o[k]->index];
	return st;
}

/* Program number `by`, which takes what chain number `join` gives at a port, does the work of that. */
static void absorb(struct uimage *im, int join, int by, int port)
{
	struct uprog *j = &im->prog[join], *p = &im->prog[by];
	int reg = free_register(im->chip, p), to[RDU_MAX_PORTS];
	struct ustream *gone = &im->stream[j->out[0].stream];

	take_from_register(p, port, reg);
	for (int i = 0; i < j->num_in; i++) {
		struct ustream *s = &im->stream[j->in[i].stream];

		to[i] = i ? p->num_in++ : port;
		p->in[to[i]] = (struct uport){ j->in[i].stream, p->in[port].mask, 0, 1 };
		for (int k = 0; k < s->num_dests; k++)
			if (s->dest[k].prog == join && s->dest[k].port == i)
				s->dest[k] = (struct udest){ by, to[i] };
	}
	memmove(&p->stage[j->num_stages], p->stage,
		sizeof(*p->stage) * (size_t)(p->num_stages + p->num_tail));
	for (int i = 0; i < j->num_stages; i++)
		p->stage[i] = moved(j->stage[i], to, reg);
	p->num_stages += j->num_stages;
	gone->prog = -1;
	gone->num_dests = 0;
	j->kind = KIND_GONE;
}

/* Does a chain give what comes? */
static bool passes_on(const struct uprog *p)
{
	for (int i = 0; i < p->num_stages; i++)
		if (p->stage[i].op != RDU_SIMD_MOV || p->stage[i].a.kind == RDU_OPD_IMM)
			return false;
	return p->num_in == 1;
}

/* Who takes from chain number `pr` takes what that passes on where it comes from. */
static void bypass(struct uimage *im, int pr)
{
	struct uprog *p = &im->prog[pr];
	struct ustream *from = &im->stream[p->in[0].stream], *gone = &im->stream[p->out[0].stream];
	int last = --from->num_dests;

	for (int i = 0; i < last; i++)
		if (from->dest[i].prog == pr)
			from->dest[i] = from->dest[last];
	for (int i = 0; i < gone->num_dests; i++)
		image_join(im, from->prog, from->port, gone->dest[i].prog, gone->dest[i].port);
	gone->prog = -1;
	gone->num_dests = 0;
	p->kind = KIND_GONE;
}

bool nest_only_copies(const struct nest *n)
{
	for (int i = 0; i < n->num_expr; i++)
		if (n->expr[i].kind != EXPR_IN &&
		    (n->expr[i].kind != EXPR_OP || n->expr[i].op != RDU_SIMD_OR))
			return false;
	return n->reduce == REDUCE_NONE;
}

void image_spare_pcus(struct uimage *im, const struct nest *n)
{
	for (int i = 0; i < im->num_progs && nest_only_copies(n); i++) {
		const struct ustream *s;

		if (!is_chain(&im->prog[i]))
			continue;
		s = &im->stream[im->prog[i].out[0].stream];
		if (passes_on(&im->prog[i]))
			bypass(im, i);
		else if (s->num_dests == 1 && has_room(im->chip, &im->prog[i],
						       &im->prog[s->dest[0].prog], s->dest[0].port))
			absorb(im, i, s->dest[0].prog, s->dest[0].port);
	}
}
