// SPDX-License-Identifier: MIT
/*
 * Long sums: one fp32 accumulator that takes N terms may be off by N * 2^-24 of the
 * sum of their magnitudes (Higham, Accuracy and Stability of Numerical Algorithms,
 * 4.2), and it is serial. A nest that adds up more than SUM_TERMS terms becomes two:
 * one that sums blocks, each into an element of its own, and one that sums those.
 * A sum of N terms is then off by at most about
 *     (SUM_TERMS + N / SUM_TERMS) * 2^-24
 * and blocks are parallel: they spread over lanes and units like any dimension.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "nest.h"

/* What a nest over some of another's dimensions takes over from it. */
struct part {
	const struct nest *from;
	struct nest *to;
	int dim[NEST_MAX_DIMS]; /* in `to`; -1: not there */
	int in[NEST_MAX_IN]; /* likewise */
	int expr[NEST_MAX_EXPR];
	/* Dimension `cut` of `from` is first + block * size + dim[cut]; -1: none is cut. */
	int cut, block; /* block: dimension of `to`; -1: always 0 */
	int64_t first, size;
};

static struct part part_of(const struct nest *from, struct nest *to)
{
	struct part p = { .from = from, .to = to, .cut = -1, .block = -1 };

	memset(p.dim, -1, sizeof(p.dim));
	memset(p.in, -1, sizeof(p.in));
	memset(p.expr, -1, sizeof(p.expr));
	return p;
}

static void part_access(const struct part *p, const struct access *from, struct access *to)
{
	*to = *from;
	memset(to->coef, 0, sizeof(to->coef));
	for (int t = 0; t < from->tensor->ndim; t++)
		for (int d = 0; d < p->from->ndim; d++) {
			int32_t c = from->coef[t][d];

			if (p->dim[d] >= 0)
				to->coef[t][p->dim[d]] = c;
			if (d != p->cut)
				continue;
			to->offset[t] += c * (int32_t)p->first;
			if (p->block >= 0)
				to->coef[t][p->block] = c * (int32_t)p->size;
		}
}

/* These give what nest_input() and its like give: a number, or -1 when `to` is full. */
static int part_in(struct part *p, int k)
{
	const struct access *a = &p->from->in[k];
	int gather = -1;

	if (p->in[k] >= 0)
		return p->in[k];
	if (a->gather_in >= 0) {
		gather = part_in(p, a->gather_in);
		if (gather < 0)
			return -1;
	}
	p->in[k] = nest_input(p->to, a->tensor);
	if (p->in[k] >= 0) {
		part_access(p, a, &p->to->in[p->in[k]]);
		p->to->in[p->in[k]].gather_in = gather;
	}
	return p->in[k];
}

static int part_index(struct part *p, int d)
{
	int index, start;

	if (d != p->cut)
		return nest_index(p->to, p->dim[d]);
	index = nest_index(p->to, p->dim[d]);
	start = nest_imm_i(p->to, (int32_t)p->first);
	if (p->block >= 0)
		start = nest_op(p->to, RDU_SIMD_IMUL, nest_index(p->to, p->block),
				nest_imm_i(p->to, (int32_t)p->size), -1);
	return nest_op(p->to, RDU_SIMD_IADD, index, start, -1);
}

static int part_expr(struct part *p, int i)
{
	const struct expr *e = &p->from->expr[i];
	int in, arg[3] = { -1, -1, -1 };

	if (p->expr[i] >= 0)
		return p->expr[i];
	switch (e->kind) {
	case EXPR_IN:
		in = part_in(p, e->arg[0]);
		p->expr[i] = in < 0 ? -1 : nest_in(p->to, in);
		break;
	case EXPR_IMM:
		p->expr[i] = nest_imm_i(p->to, (int32_t)e->imm);
		break;
	case EXPR_INDEX:
		p->expr[i] = part_index(p, e->arg[0]);
		break;
	case EXPR_RED:
		p->expr[i] = nest_red(p->to);
		break;
	case EXPR_LIVE:
		p->expr[i] = nest_live(p->to);
		break;
	case EXPR_CARRY: /* in no sum */
		break;
	case EXPR_OP:
		for (int k = 0; k < 3; k++) {
			if (e->arg[k] < 0)
				continue;
			arg[k] = part_expr(p, e->arg[k]);
			if (arg[k] < 0)
				return -1;
		}
		p->expr[i] = nest_op(p->to, e->op, arg[0], arg[1], arg[2]);
		break;
	}
	return p->expr[i];
}

static int64_t terms(const struct nest *n)
{
	int64_t count = 1;

	for (int d = 0; d < n->ndim; d++)
		if (n->dim[d].reduce)
			count *= n->dim[d].extent;
	return count;
}

/* How a sum is cut: `blocks` blocks of `size` along dimension `dim`, and what is left
 * over, less than a block, behind them. */
struct cut {
	int dim;
	int64_t size, blocks, rest;
};

static struct cut choose_cut(const struct nest *n)
{
	int64_t least = (terms(n) + SUM_TERMS - 1) / SUM_TERMS, extent;
	struct cut c = { .dim = -1 };

	/* The outermost that is long enough: the innermost are the lanes of vectors. */
	for (int d = 0; d < n->ndim; d++) {
		if (!n->dim[d].reduce)
			continue;
		if (c.dim < 0 ||
		    (n->dim[c.dim].extent < least && n->dim[d].extent > n->dim[c.dim].extent))
			c.dim = d;
	}
	extent = n->dim[c.dim].extent;
	if (least > extent)
		least = extent; /* and the blocks are cut once more */
	c.size = extent / least;
	for (int64_t blocks = least; blocks <= 2 * least && blocks <= extent; blocks++)
		if (extent % blocks == 0) {
			c.size = extent / blocks;
			break;
		}
	c.blocks = extent / c.size;
	c.rest = extent % c.size;
	return c;
}

static struct nest *insert_nest(struct module *m, struct module_entry *e, int at, const char *name,
				const char *op_type)
{
	struct nest *n = module_nest(m, e, name, op_type);

	n->loop = e->nests[at]->loop; /* of the nest that is cut */
	n->backward = e->nests[at]->backward;
	memmove(&e->nests[at + 1], &e->nests[at],
		(size_t)(e->num_nests - 1 - at) * sizeof(struct nest *));
	e->nests[at] = n;
	return n;
}

/* Sums `blocks` blocks that start at `first` into elements slot, slot + 1, ... of
 * partial[slot][parallel dimensions]. */
static int sum_blocks(struct nest *to, const struct nest *n, const struct cut *c, int64_t blocks,
		      int64_t size, int64_t first, struct tensor *partial, int64_t slot)
{
	struct part p = part_of(n, to);
	struct access *out;
	int axis = 1, o;

	p.cut = c->dim;
	p.first = first;
	p.size = size;
	if (blocks > 1)
		p.block = nest_dim(to, "block", blocks, false);
	for (int d = 0; d < n->ndim; d++) {
		p.dim[d] = nest_dim(to, n->dim[d].name, d == c->dim ? size : n->dim[d].extent,
				    n->dim[d].reduce);
		if (p.dim[d] < 0)
			return -1;
	}
	to->reduce = REDUCE_ADD;
	to->body = part_expr(&p, n->body);
	o = nest_output(to, partial, nest_red(to));
	if (to->body < 0 || o < 0 || to->out[o].expr < 0)
		return -1;
	out = &to->out[o].access;
	out->offset[0] = (int32_t)slot;
	if (p.block >= 0)
		out->coef[0][p.block] = 1;
	for (int d = 0; d < n->ndim; d++)
		if (!n->dim[d].reduce)
			out->coef[axis++][p.dim[d]] = 1;
	return 0;
}

/* Sums the blocks' sums, and does what followed the sum. */
static int sum_partial(struct nest *to, const struct nest *n, struct tensor *partial)
{
	struct part p = part_of(n, to);
	int axis = 1, block, in;

	for (int d = 0; d < n->ndim; d++)
		if (!n->dim[d].reduce)
			p.dim[d] = nest_dim(to, n->dim[d].name, n->dim[d].extent, false);
	block = nest_dim(to, "block", partial->dim[0], true);
	in = nest_input(to, partial);
	to->in[in].coef[0][block] = 1;
	for (int d = 0; d < n->ndim; d++)
		if (!n->dim[d].reduce)
			to->in[in].coef[axis++][p.dim[d]] = 1;
	to->reduce = REDUCE_ADD;
	to->body = nest_in(to, in);
	for (int i = 0; i < n->num_out; i++) {
		int expr = part_expr(&p, n->out[i].expr), gather = n->out[i].access.gather_in, o;

		if (gather >= 0)
			gather = part_in(&p, gather);
		if (expr < 0 || (n->out[i].access.gather_in >= 0 && gather < 0))
			return -1;
		o = nest_output(to, n->out[i].access.tensor, expr);
		part_access(&p, &n->out[i].access, &to->out[o].access);
		to->out[o].access.gather_in = gather;
		to->out[o].add = n->out[i].add;
	}
	return 0;
}

/* Nest number k of the entry becomes the sums of its blocks, in one nest or two, and
 * the sum of those. */
static int split(struct module *m, struct module_entry *e, int k, char *error, int size)
{
	struct nest *n = e->nests[k], *to;
	struct cut c = choose_cut(n);
	struct tensor *partial;
	int64_t dim[RDU_MAX_DIMS] = { c.blocks + !!c.rest };
	char name[64];
	int ndim = 1;

	for (int d = 0; d < n->ndim; d++) {
		if (n->dim[d].reduce)
			continue;
		if (ndim == RDU_MAX_DIMS)
			goto full;
		dim[ndim++] = n->dim[d].extent;
	}
	snprintf(name, sizeof(name), "%.40s.sums%d", n->name, m->num_tensors);
	partial = module_tensor(m, name, TENSOR_TEMP, RDU_DT_F32, ndim, dim);
	to = insert_nest(m, e, k, n->name, n->op_type);
	if (sum_blocks(to, n, &c, c.blocks, c.size, 0, partial, 0) || nest_check(to, error, size))
		goto full;
	if (c.rest) {
		to = insert_nest(m, e, ++k, n->name, n->op_type);
		if (sum_blocks(to, n, &c, 1, c.rest, c.blocks * c.size, partial, c.blocks) ||
		    nest_check(to, error, size))
			goto full;
	}
	to = insert_nest(m, e, ++k, n->name, n->op_type);
	if (sum_partial(to, n, partial) || nest_check(to, error, size))
		goto full;
	memmove(&e->nests[k + 1], &e->nests[k + 2],
		(size_t)(e->num_nests - k - 2) * sizeof(struct nest *));
	e->num_nests--;
	free(n->name);
	free(n->op_type);
	free(n);
	return 0;
full:
	if (!*error)
		snprintf(error, (size_t)size,
			 "nest '%s' (%s): a sum of %" PRId64
			 " terms, more than %d, has no room to be cut into blocks",
			 n->name, n->op_type, terms(n), SUM_TERMS);
	return -1;
}

int module_split_sums(struct module *m, char *error, int error_size)
{
	*error = 0;
	for (int i = 0; i < m->num_entries; i++)
		for (int k = 0; k < m->entries[i].num_nests; k++)
			while (m->entries[i].nests[k]->reduce == REDUCE_ADD &&
			       terms(m->entries[i].nests[k]) > SUM_TERMS)
				if (split(m, &m->entries[i], k, error, error_size))
					return -1;
	return 0;
}
