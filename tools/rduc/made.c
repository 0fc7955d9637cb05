// SPDX-License-Identifier: MIT
/*
 * Made operands: what a map makes of weights, for one product alone, is made while that loads it. Its tensor is
 * nowhere; where the product's plan has a LOAD of it, there are LOADs of what it is made of, and PCUs.
 *
 * The map's dimensions are the digits of an element's place in that tensor. The counters of the LOAD that is
 * replaced step through these places, so each becomes loops over the map's dimensions.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

const struct made *be_made(const struct backend *be, struct tensor *t)
{
	for (int i = 0; i < be->num_made; i++)
		if (tensor_storage(be->made[i].maker->out[0].access.tensor) == tensor_storage(t))
			return &be->made[i];
	return NULL;
}

const struct nest *be_maker(const struct backend *be, struct tensor *t)
{
	const struct made *m = be_made(be, t);

	return m ? m->maker : NULL;
}

#define MOST_SLOWER 3

/* ---- what is made so ------------------------------------------------------------------------- */

static bool is_written(const struct module_entry *e, const struct tensor *t)
{
	for (int k = 0; k < e->num_nests; k++)
		if (nest_writes(e->nests[k], t))
			return true;
	return false;
}

/* Is it a map, element by element, of weights that the entry does not change? */
static bool is_maker(const struct module_entry *e, const struct nest *n)
{
	const struct access *out = &n->out[0].access;

	if (n->reduce != REDUCE_NONE || n->num_out != 1 || n->out[0].add || out->guarded ||
	    out->gather_in >= 0 || out->tensor->kind != TENSOR_TEMP || !n->num_in ||
	    tensor_storage(out->tensor)->row_of || !be_covers(n, out))
		return false;
	for (int i = 0; i < n->num_in; i++) {
		const struct tensor *t = tensor_storage(n->in[i].tensor);

		if (n->in[i].gather_in >= 0 || n->in[i].guarded || t->kind != TENSOR_WEIGHT ||
		    t->row_of || is_written(e, t))
			return false;
	}
	for (int i = 0; i < n->num_expr; i++) /* none may trap: a tile may be loaded twice */
		if (n->expr[i].kind == EXPR_LIVE || n->expr[i].kind == EXPR_CARRY)
			return false;
	return true;
}

/* The one nest that reads a storage, as operand of a product; NULL: there is none, or are others. */
static struct nest *find_reader(const struct backend *be, const struct module_entry *e,
				const struct tensor *t)
{
	struct nest *reader = NULL;
	int in[2], num = 0;

	for (int k = 0; k < e->num_nests; k++)
		for (int i = 0; i < e->nests[k]->num_in; i++)
			if (tensor_storage(e->nests[k]->in[i].tensor) == t) {
				reader = e->nests[k];
				num++;
			}
	if (num != 1 || !be_contraction(be, reader, in))
		return NULL;
	for (int k = 0; k < 2; k++)
		if (be_maker(be, reader->in[in[k]].tensor))
			return NULL;
	return tensor_storage(reader->in[in[0]].tensor) == t ||
			       tensor_storage(reader->in[in[1]].tensor) == t
		       ? reader
		       : NULL;
}

/* Cycles of a nest alone behind what there was before; UINT64_MAX: there is no section of it. */
static uint64_t time_alone(struct backend *be, struct be_loads *l, struct nest *n)
{
	struct uimage *im;
	uint64_t cycles;

	if (be_lower(be, n, be->level, 0, &im) || be_time_about(be, im, UINT64_MAX))
		return UINT64_MAX;
	cycles = be_load(be, l, im).cycles + im->cycles;
	l->planes = (struct rdu_planes){ 0 }; /* another image may be where this one was */
	image_free(im);
	return cycles;
}

/* Does what was added last take less time than both nests by way of memory? Of the plans there are that is
 * the fastest. */
static bool is_faster(struct backend *be, struct nest *maker, struct nest *reader)
{
	struct made *m = &be->made[be->num_made - 1];
	struct be_loads loads = { 0 };
	uint64_t apart, now = UINT64_MAX;
	int best = MOST_SLOWER;

	for (m->slower = 2; m->slower <= MOST_SLOWER; m->slower++) {
		struct be_loads none = { 0 };
		uint64_t cycles = time_alone(be, &none, reader);

		best = cycles < now ? m->slower : best;
		now = cycles < now ? cycles : now;
	}
	m->slower = best;
	be->num_made--;
	apart = time_alone(be, &loads, maker);
	apart = apart == UINT64_MAX ? apart : apart + time_alone(be, &loads, reader);
	be->num_made++;
	if (be_prints(be, "made"))
		fprintf(be_log(be), "made: %s: %lld cycles, %lld by way of memory\n", reader->name,
			(long long)now, (long long)apart);
	return now < apart;
}

void be_make_operands(struct backend *be)
{
	for (int i = 0; i < be->m->num_entries; i++) {
		struct module_entry *e = &be->m->entries[i];

		for (int k = 0; k < e->num_nests; k++) {
			struct nest *n = e->nests[k], *reader;

			if (!is_maker(e, n))
				continue;
			reader = find_reader(be, e, tensor_storage(n->out[0].access.tensor));
			if (!reader || reader->loop != n->loop)
				continue;
			be->made = xgrow(be->made, be->num_made, sizeof(*be->made));
			be->made[be->num_made++] = (struct made){ .maker = n };
			if (!is_faster(be, n, reader)) {
				be->num_made--;
				continue;
			}
			if (!reader->remark && n->remark)
				reader->remark = xstrdup(n->remark);
			memmove(&e->nests[k], &e->nests[k + 1],
				sizeof(struct nest *) * (size_t)(--e->num_nests - k));
			k--;
		}
	}
}

/* ---- what takes a LOAD's place ----------------------------------------------------------------- */

/* Loops of one counter, the innermost first. */
struct part {
	int dim;
	int64_t step, trip;
};

/* Cuts a counter that goes on by `step` elements of the made tensor into loops over the map's dimensions;
 * most[]: the highest index of each so far. How many; 0: it cannot be done. */
static int cut_counter(const struct lnest *l, int64_t *most, int64_t step, int64_t trip,
		       struct part *part)
{
	int num = 0;

	if (!step) {
		part[0] = (struct part){ -1, 0, trip };
		return 1;
	}
	while (trip > 1) {
		int64_t by, there;
		int d = -1;

		for (int i = 0; i < l->num_dims; i++) {
			int64_t c = lacc_coef(&l->out[0], i);

			if (step >= c && step % c == 0 && l->extent[i] > 1 &&
			    (d < 0 || c > lacc_coef(&l->out[0], d)))
				d = i;
		}
		if (d < 0 || num == UC_MAX)
			return 0;
		by = step / lacc_coef(&l->out[0], d);
		there = trip;
		if (most[d] + by * (trip - 1) >= l->extent[d]) { /* it goes on in the next digit */
			there = l->extent[d] / by;
			if (there < 2 || l->extent[d] % by || trip % there ||
			    most[d] + by * (there - 1) >= l->extent[d])
				return 0;
		}
		most[d] += by * (there - 1);
		part[num++] = (struct part){ d, by, there };
		trip /= there;
		step *= there;
	}
	return num;
}

/* The map's indices where the LOAD begins. */
static bool find_start(const struct lnest *l, int64_t at, int64_t *start)
{
	for (int d = 0; d < l->num_dims; d++) {
		int64_t c = lacc_coef(&l->out[0], d), next = 0;

		for (int i = 0; i < l->num_dims; i++) { /* the next digit's place */
			int64_t up = lacc_coef(&l->out[0], i);

			if (up > c && (!next || up < next))
				next = up;
		}
		if (c <= 0)
			return false;
		start[d] = (next ? at % next : at) / c;
		if (start[d] < 0 || start[d] >= l->extent[d])
			return false;
	}
	return true;
}

/* The loops of a LOAD of the made tensor. False: they cannot be told. */
static bool find_loops(struct uimage *im, const struct lnest *l, const struct uprog *load,
		       struct loops *lp)
{
	int64_t at = load->acc.base - l->out[0].base, most[NEST_MAX_DIMS];
	int64_t start[NEST_MAX_DIMS] = { 0 };

	*lp = (struct loops){ .lane_dim = -1, .lanes = load->acc.lanes };
	if (load->acc.num_preds || at < 0)
		return false;
	for (int i = 0; i < load->num_counters; i++)
		at += load->c[i].start * load->acc.stride[i];
	if (!find_start(l, at, start))
		return false;
	memcpy(most, start, sizeof(most));
	for (int d = 0; d < l->num_dims && load->acc.lanes > 1; d++)
		if (lacc_coef(&l->out[0], d) == load->acc.lane_stride) {
			lp->lane_dim = d;
			most[d] += load->acc.lanes - 1;
		}
	if ((load->acc.lanes > 1 && lp->lane_dim < 0) ||
	    (lp->lane_dim >= 0 && most[lp->lane_dim] >= l->extent[lp->lane_dim]))
		return false;
	for (int d = 0; d < l->num_dims; d++) /* a loop of one iteration, where it begins */
		if (start[d])
			loops_add(im, lp, d, start[d], 1, 1, false);
	lp->num_outer = lp->num_shared = lp->num;
	for (int i = 0; i < load->num_counters; i++) {
		struct part part[UC_MAX];
		int num = cut_counter(l, most, load->c[i].step * load->acc.stride[i],
				      load->c[i].trip, part);

		if (!num && load->c[i].trip > 1)
			return false;
		while (num--)
			loops_add(im, lp, part[num].dim, 0, part[num].step, part[num].trip, false);
		if (i < load->num_outer)
			lp->num_outer = lp->num;
		if (i < load->num_shared)
			lp->num_shared = lp->num;
	}
	for (int d = 0; d < l->num_dims; d++)
		lp->limit[d] = l->extent[d];
	return true;
}

int be_make_stream(struct backend *be, struct uimage *im, const struct nest *maker,
		   const struct uprog *load, int op_id, struct xsrc *from)
{
	struct loops lp;
	struct lnest l;

	lnest_from(&l, maker);
	if (find_loops(im, &l, load, &lp))
		return map_stream(be, im, &l, &lp, op_id, from);
	image_fail(im, "'%s' cannot be made in the order that it is loaded in", maker->name);
	return -1;
}

int be_maker_pcus(const struct backend *be, const struct nest *maker)
{
	struct loops lp = { .lane_dim = 0, .lanes = 1 };
	struct xbuild b;
	struct lnest l;
	int pcus;

	lnest_from(&l, maker);
	xbuild_init(&b, &l, &lp);
	xbuild_output(&b, maker->out[0].expr, RDU_SIMD_MOV);
	pcus = xprog_pcus(&be->chip, &b.x);
	xprog_free(&b.x);
	return pcus;
}
