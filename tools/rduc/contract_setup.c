// SPDX-License-Identifier: MIT
/*
 * What is asked of a contraction's plan (tile.c): its operands, what of them is resident or made while it is loaded,
 * its epilogue, the units that it may take, and how its sums may be cut.
 */
#include <string.h>
#include "tile.h"

int contract_table_dims(const struct contract *c)
{
	int d = c->l->num_dims;

	while (c->op[2].in >= 0 && d &&
	       !(c->l->reduce[d - 1] && lacc_needs(&c->l->in[c->op[2].in], d - 1)))
		d--;
	return d;
}

/* What a contraction may take of the units of the tiles. */
static void give_units(const struct backend *be, struct contract *c)
{
	double pcus = be->share.pcus > 0 ? be->share.pcus : 1;
	double pmus = be->share.pmus > 0 ? be->share.pmus : 1;
	double agcus = be->share.agcus > 0 ? be->share.agcus : 1;

	c->pcus = (int)(rdu_chip_pcus_per_tile(c->chip) * (unsigned int)c->tiles * pcus);
	c->pcus = (int)max64(c->pcus, 1 + c->epi_pcus);
	c->pmus = (int)(be_free_pmus(be) * pmus);
	c->pmus = (int)max64(c->pmus, 3);
	c->agcus = (int)(c->chip->agcus_per_tile * c->chip->agcu_programs * (unsigned int)c->tiles *
			 agcus * 7 / 8);
}

/* A held operand changes no sum: the reduction is cut as it was when the operand was loaded. (An
 * array goes on from what it is given, so over one dimension it adds up in order, cut or not.) 0, or
 * 1: then it was no contraction. */
static int same_chunks(struct contract *c)
{
	int reductions = 0, known = 0;

	for (int d = 0; d < c->l->num_dims; d++) {
		c->chunk[d] = c->l->reduce[d] ? c->l->n->chunk[d] : 0;
		c->split[d] = c->l->reduce[d] ? c->l->n->split[d] : 0;
		known += c->chunk[d] > 0;
		reductions += c->l->reduce[d];
	}
	if (known && c->systolic && reductions == 1)
		memset(c->chunk, 0, sizeof(c->chunk));
	return known < reductions;
}

/* Tensors in memory that are read and written where results leave. */
static int count_result_tensors(const struct contract *c)
{
	const struct nest *n = c->l->n;
	int num = 0;

	for (int i = 0; i < n->num_in; i++)
		num += !contract_operand(c, i) && !c->kept_in[i] && be_words(n->in[i].tensor) > 1;
	for (int i = 0; i < n->num_out; i++)
		num += !nest_reads(n, tensor_storage(n->out[i].access.tensor)) &&
		       (!c->kept_out[i] || c->kept_out[i]->memory);
	return num;
}

/* Which operand is made while it is loaded, and what that takes. */
static void find_made(const struct backend *be, struct contract *c)
{
	c->made = -1; /* all of this is part of what is asked for (tile_known.c) */
	for (int o = 0; o < 2; o++) {
		struct tensor *t = c->l->in[c->op[o].in].t;
		const struct made *made = be_made(be, t);
		const struct nest *maker = made ? made->maker : NULL;
		double bytes = 0;

		for (int i = 0; maker && i < maker->num_in; i++) {
			bool again = false;

			for (int k = 0; k < i; k++)
				again |= maker->in[k].tensor == maker->in[i].tensor;
			bytes += again ? 0 : (double)tensor_size(maker->in[i].tensor);
		}
		if (!maker)
			continue;
		c->made = c->op[o].in;
		c->made_pcus = be_maker_pcus(be, maker);
		c->made_loads = maker->num_in;
		c->made_slower = made->slower;
		c->made_share = bytes / (double)tensor_size(t);
	}
}

int contract_set_up(const struct backend *be, const struct lnest *l, const struct plan *pl,
		    struct contract *c)
{
	struct rdu_cfg_stage tail[RDU_MAX_TAIL];
	struct factors f;

	*c = (struct contract){ .l = l,
				.chip = &be->chip,
				.pl = pl,
				.tiles = be->tiles,
				.systolic = contraction_on_arrays(be, l->n),
				.bytes = l->n->reduce == REDUCE_IADD };
	if (!contraction_find(l, &f) || l->num_dims == 0 || (f.weights >= 0 && !c->systolic))
		return 1;
	c->elements = c->bytes ? 4 : 2;
	c->op[0].in = f.in[0];
	c->op[1].in = f.in[1];
	c->op[2].in = f.table;
	c->weights = f.weights;
	c->place = f.place;
	find_made(be, c);
	give_units(be, c);
	for (int i = 0; i < l->n->num_in; i++)
		c->kept_in[i] = residence_of(be, l->n, l->in[i].t);
	for (int i = 0; i < l->n->num_out; i++)
		c->kept_out[i] = residence_of(be, l->n, l->out[i].t);
	for (int d = 0; d < l->num_dims; d++) {
		for (int i = 0; i < l->n->num_in; i++)
			c->blocks[d] |= c->kept_in[i] && lacc_needs(&l->in[i], d);
		for (int i = 0; i < l->n->num_out; i++)
			c->blocks[d] |= c->kept_out[i] && lacc_needs(&l->out[i], d);
		c->blocks[d] |= l->reduce[d];
	}
	c->result_tensors = count_result_tensors(c);
	c->turn_pcus = contraction_epilogue(c->chip, l, c->kept_out, true, &c->epi_in);
	c->epi_pcus = contraction_epilogue(c->chip, l, c->kept_out, false, &c->epi_in);
	if (c->epi_pcus < 0)
		return 1;
	c->can_tail = c->systolic &&
		      contraction_tail(c->chip, l, c->kept_out, tail, &c->start) >= 0 &&
		      (c->start < 0 || (!contract_operand(c, c->start) && !c->kept_in[c->start]));
	for (int i = 0; i < l->n->num_out; i++)
		if (l->n->out[i].add)
			return 1;
	if ((contract_holds(c, 0) || contract_holds(c, 1)) && same_chunks(c))
		return 1;
	if (c->weights >= 0) /* words of weights are never cut */
		c->chunk[c->place] = l->extent[c->place];
	c->may_split = pl->level >= 3 && f.table < 0 && f.weights < 0 &&
		       combining_pcus(c->chip, 2) &&
		       (be_may_split(be, l->n) || (be->tiles > 1 && contract_parts_by_terms(c)));
	/* Nor are blocks that a table picks: so their terms are added up in the order of all terms. */
	for (int d = contract_table_dims(c); d && d < l->num_dims; d++)
		if (l->reduce[d])
			c->chunk[d] = l->extent[d];
	return 0;
}

bool be_on_arrays(struct backend *be, const struct nest *n, int *in)
{
	struct plan pl = plan_of_level(be->level);
	struct contract c;
	struct lnest l;

	lnest_from(&l, n);
	if (contract_set_up(be, &l, &pl, &c) || !c.systolic || c.bytes || !contract_possible(&c))
		return false;
	in[0] = c.op[0].in;
	in[1] = c.op[1].in;
	return true;
}
