// SPDX-License-Identifier: MIT
/*
 * Sources: programs whose vectors depend on nothing but memory, so that whoever
 * takes them can make them by itself, in any order. A source is a READ or LOAD
 * program without an index stream, or a *merge*: SIMD stages that do nothing but
 * XOR what READ programs push (directly or by other merges). That is how a tensor
 * that lies in several scratchpads is brought together: each READ has a predicate
 * for its part, and gives the pad elsewhere. Here only what is there is touched:
 * the result is the XOR of all pads, changed where a predicate holds.
 */
#include <stdlib.h>
#include <string.h>
#include "execute.h"

/* What an XOR of input ports and constants comes to: ports that count, and the constants. */
struct parity {
	uint32_t ports, value;
};

static bool operand_parity(const struct rdu_cfg_operand *o, const struct parity *reg,
			   struct parity *v)
{
	switch (o->kind) {
	case RDU_OPD_REG:
		*v = reg[o->index];
		return true;
	case RDU_OPD_IN:
		*v = (struct parity){ .ports = 1u << o->index };
		return true;
	case RDU_OPD_IMM:
		*v = (struct parity){ .value = o->imm };
		return true;
	default:
		return false;
	}
}

/* Does the program push one vector a firing, the XOR of all its ports and *value? */
static bool is_xor(const struct rdu_unit_prog *p, uint32_t *value)
{
	const struct rdu_cfg_program *c = p->cfg;
	const struct rdu_cfg_simd *b = p->body;
	struct parity reg[16] = { 0 }, x, y;

	if (c->kind != RDU_KIND_SIMD || b->num_tail || c->num_out != 1 || c->out[0].count != 1 ||
	    c->out[0].mask)
		return false;
	for (uint32_t i = 0; i < c->num_in; i++)
		if (c->in[i].mask)
			return false;
	for (uint32_t i = 0; i < b->num_stages; i++) {
		const struct rdu_cfg_stage *st = &b->stage[i];

		if (st->op != RDU_SIMD_XOR || !operand_parity(&st->a, reg, &x) ||
		    !operand_parity(&st->b, reg, &y))
			return false;
		reg[st->dst] = (struct parity){ x.ports ^ y.ports, x.value ^ y.value };
	}
	*value = reg[c->out[0].reg].value;
	return reg[c->out[0].reg].ports == (1u << c->num_in) - 1;
}

static bool same_loops(const struct rdu_unit_prog *a, const struct rdu_unit_prog *b)
{
	return a->cfg->num_counters == b->cfg->num_counters &&
	       a->cfg->num_outer == b->cfg->num_outer &&
	       !memcmp(a->trip, b->trip, a->cfg->num_counters * sizeof(a->trip[0]));
}

/* The READ programs that `program` brings in, into leaf[] unless NULL; 0: it is no such thing. */
static uint32_t leaves_of(const struct rdu_plan *plan, const struct rdu_section *s,
			  uint32_t program, uint32_t *leaf)
{
	const struct merge_plan *m = plan->programs[program].merge;
	const struct rdu_cfg_program *c = &s->programs[program];

	if (m) {
		if (leaf)
			memcpy(leaf, m->leaf, m->num * sizeof(*leaf));
		return m->num;
	}
	if (c->kind != RDU_KIND_READ || c->num_in || c->out[0].mask)
		return 0;
	if (leaf)
		*leaf = program;
	return 1;
}

/* Its own constants, and the pads of READ programs or what merges come to. */
static uint32_t value_of(const struct rdu_plan *plan, const struct rdu_section *s, uint32_t program)
{
	const struct rdu_cfg_access *a = s->progs[program].body;

	return plan->programs[program].merge ? plan->programs[program].merge->value : a->pad;
}

int rdu_plan_merge(struct rdu_plan *plan, const struct rdu_section *s, uint32_t program)
{
	const struct rdu_unit_prog *p = &s->progs[program];
	const struct rdu_cfg_port *in = p->cfg->in;
	uint32_t value, num = 0, n, i;
	struct merge_plan *m;

	if (!is_xor(p, &value))
		return 0;
	for (i = 0; i < p->cfg->num_in; i++) {
		n = leaves_of(plan, s, s->streams[in[i].stream].program, NULL);
		if (!n)
			return 0;
		num += n;
	}
	m = malloc(sizeof(*m) + num * sizeof(m->leaf[0]));
	if (!m)
		return -1;
	m->num = 0;
	m->vectors = NULL;
	m->value = value;
	for (i = 0; i < p->cfg->num_in; i++) {
		m->num += leaves_of(plan, s, s->streams[in[i].stream].program, m->leaf + m->num);
		m->value ^= value_of(plan, s, s->streams[in[i].stream].program);
	}
	for (i = 1; i < num; i++)
		if (!same_loops(&s->progs[m->leaf[i]], &s->progs[m->leaf[0]])) {
			free(m);
			return 0;
		}
	plan->programs[program].merge = m;
	return 0;
}

bool rdu_is_source(const struct rdu_plan *plan, const struct rdu_section *s, uint32_t program)
{
	const struct rdu_cfg_program *c = &s->programs[program];

	return plan->programs[program].merge ||
	       ((c->kind == RDU_KIND_READ || c->kind == RDU_KIND_LOAD) && !c->num_in);
}

/* ---- a run -------------------------------------------------------------------- */

static bool start_leaf(struct access_run *r, struct island_run *ir, uint32_t program,
		       uint64_t activation)
{
	return rdu_access_start(r, &ir->plan->programs[program].access, ir->st->run, activation,
				ir->st->copy[program], ir->fault);
}

bool rdu_source_start(struct source_run *r, struct island_run *ir, uint32_t program,
		      uint64_t activation)
{
	int64_t start;
	bool from_base;

	r->merge = ir->plan->programs[program].merge;
	if (!r->merge)
		return start_leaf(&r->one, ir, program, activation);
	from_base = rdu_vectors_start(&r->vectors, r->merge->vectors, activation);
	r->start = rdu_arena_get(ir->arena, r->merge->num * sizeof(*r->start));
	r->leaf = rdu_arena_get(ir->arena, r->merge->num * sizeof(*r->leaf));
	if (!r->leaf || !r->start)
		return rdu_trouble(ir->fault, RDU_FAULT_INTERNAL, program, 0);
	for (uint32_t i = 0; i < r->merge->num; i++) {
		struct access_run *leaf = &r->leaf[i];

		if (!start_leaf(leaf, ir, r->merge->leaf[i], activation))
			return false;
		leaf->vectors.table = NULL; /* XOR goes by loops */
		if (!r->vectors.table)
			continue;
		start = from_base ? leaf->plan->base : leaf->addr;
		r->start[i] = (const void *)((uintptr_t)leaf->ptr + (uintptr_t)start * 4);
		if (!leaf->word || !rdu_vectors_inside(&r->vectors, i, start, leaf->limit))
			r->vectors.table = NULL;
	}
	return true;
}

void rdu_source_seek(struct source_run *r, uint64_t n)
{
	if (!r->merge)
		rdu_access_seek(&r->one, n);
	else if (r->vectors.table)
		r->vectors.pos = n % r->vectors.num;
	else
		for (uint32_t i = 0; i < r->merge->num; i++)
			rdu_access_seek(&r->leaf[i], n);
}

bool rdu_source_read(struct source_run *r, const struct rdu_kernels *k, size_t lanes, size_t n,
		     uint32_t *out)
{
	if (!r->merge)
		return rdu_access_read(&r->one, k, lanes, n, out, NULL);
	if (r->vectors.table) {
		rdu_vectors_read(&r->vectors, r->leaf[0].plan, k, lanes, n, out, r->start,
				 r->merge->value);
		return true;
	}
	for (size_t i = 0; i < n * lanes; i++)
		out[i] = r->merge->value;
	for (uint32_t i = 0; i < r->merge->num; i++)
		if (!rdu_access_xor(&r->leaf[i], k, lanes, n, out))
			return false;
	return true;
}

bool rdu_source_find(struct source_run *r, const struct rdu_kernels *k, size_t lanes, size_t words,
		     size_t n, uint32_t *out, ptrdiff_t *at)
{
	if (r->merge && r->vectors.table) {
		rdu_vectors_find(&r->vectors, k, lanes, words, n, out, at, r->start,
				 r->merge->value);
		return true;
	}
	if (!r->merge && r->one.vectors.table && r->one.plan->pmu) {
		const void *start = r->one.start;

		rdu_vectors_find(&r->one.vectors, k, lanes, words, n, out, at, &start,
				 r->one.plan->pad);
		return true;
	}
	for (size_t i = 0; i < n; i++)
		at[i] = (ptrdiff_t)(i * lanes);
	return rdu_source_read(r, k, lanes, n, out);
}
