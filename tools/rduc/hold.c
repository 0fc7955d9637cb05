// SPDX-License-Identifier: MIT
/*
 * Hold: what a contraction reads in each iteration of a loop, and nothing in the loop writes, is
 * brought into scratchpads once, in front of the loop, and stays there to its end. A weight that
 * nothing in its entry point writes is *kept*: it is brought in front of all, and stays from run to
 * run, as long as the card finds it there. A nest in front
 * of the loop copies it into a temporary, which the contraction reads; that temporary is resident
 * (resident.c), and lies as the contraction's operand tiles do: packed, and spread over as many
 * scratchpads as it has replicas along it. So lowering the contraction makes both sections, the one
 * that fills them too (lower_resident.c).
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

#define SMALLEST_KEPT 16 /* cycles of memory; less is not worth a scratchpad */

/* Does a nest of the loop (0: any nest), or of one in it, write any of what t is part of? */
static bool changes(const struct module_entry *e, int loop, struct tensor *t)
{
	for (int k = 0; k < e->num_nests; k++) {
		const struct nest *n = e->nests[k];

		for (int i = 0; loop_within(e, n->loop, loop) && i < n->num_out; i++)
			if (tensor_whole(n->out[i].access.tensor) == tensor_whole(t))
				return true;
	}
	return false;
}

/* Is it the same in all runs, unless somebody else writes it? So is what is made of constants. */
static bool is_kept(const struct backend *be, const struct module_entry *e, struct tensor *t)
{
	const struct nest *maker = be_maker(be, t);

	for (int i = 0; maker && i < maker->num_in; i++)
		if (!tensor_storage(maker->in[i].tensor)->constant)
			return false;
	return maker || (tensor_whole(t)->kind == TENSOR_WEIGHT && !changes(e, 0, t));
}

static bool is_row(const struct tensor *t)
{
	while (t && !t->row_of)
		t = t->view_of ? t->view_of : t->update_of;
	return t;
}

/* Is loading it in each iteration, rather than once, worse than a section more? What is kept costs
 * that in the first run alone. */
static bool worth_it(const struct backend *be, const struct tensor *t, int64_t trip, bool kept)
{
	double once = (double)tensor_size(t) * be->chip.clock_khz / (be->chip.dram_mbps * 1000.0);

	return kept ? once * (double)trip > SMALLEST_KEPT
		    : once * (double)(trip - 1) > be->chip.pload_latency;
}

/* The outermost loop around a nest that writes none of what t is part of; 0: there is none. */
static int holding_loop(const struct module_entry *e, const struct nest *n, struct tensor *t)
{
	int loop = 0;

	for (int in = n->loop; in && !changes(e, in, t); in = e->loop[in - 1].parent)
		loop = in;
	return loop;
}

/* How often a nest runs in an iteration of what is around `loop`; 0: in all. */
static int64_t runs_in(const struct module_entry *e, const struct nest *n, int loop)
{
	int64_t times = 1;

	for (int in = n->loop; in && loop_within(e, in, loop); in = e->loop[in - 1].parent)
		times *= e->loop[in - 1].trip;
	return times;
}

/* The input of a nest that may be held; -1: none. Of the two it is the larger. */
static int find_input(const struct backend *be, const struct module_entry *e, const struct nest *n)
{
	int in[2], best = -1;

	if (!be_contraction(be, n, in))
		return -1;
	for (int k = 0; k < 2; k++) {
		struct tensor *t = n->in[in[k]].tensor;
		bool kept = is_kept(be, e, t);
		int loop = kept ? 0 : holding_loop(e, n, t);

		if (n->in[in[k]].gather_in >= 0 || is_row(t) || (!kept && !loop) ||
		    (be->opt->hold != WHEN_POSSIBLE && !worth_it(be, t, runs_in(e, n, loop), kept)))
			continue;
		if (best < 0 || tensor_size(t) > tensor_size(n->in[best].tensor))
			best = in[k];
	}
	return best;
}

struct nest *be_copy_nest(const struct nest *of, struct tensor *from, struct tensor *to)
{
	struct nest *n = xcalloc(1, sizeof(*n));

	n->name = to->name;
	n->op_type = of->op_type;
	n->body = -1;
	for (int d = 0; d < from->ndim; d++)
		nest_dim(n, "i", from->dim[d], false);
	if (!from->ndim)
		nest_dim(n, "i", 1, false);
	nest_input(n, from);
	nest_output(n, to, nest_in(n, 0));
	for (int d = 0; d < from->ndim; d++)
		n->in[0].coef[d][d] = n->out[0].access.coef[d][d] = 1;
	return n;
}

struct tensor *be_temp_like(struct backend *be, const struct tensor *t, const char *what)
{
	struct tensor *c;
	char name[80];

	snprintf(name, sizeof(name), "%.60s.%s%d", t->name, what, be->m->num_tensors);
	c = module_tensor(be->m, name, TENSOR_TEMP, t->dtype, t->ndim, t->dim);
	memcpy(c->stride, t->stride, sizeof(c->stride));
	c->narrow = t->narrow;
	return c;
}

void be_insert_nest(struct module_entry *e, int at, struct nest *n)
{
	e->nests = xrealloc(e->nests, sizeof(*e->nests) * (size_t)(e->num_nests + 1));
	memmove(&e->nests[at + 1], &e->nests[at], sizeof(*e->nests) * (size_t)(e->num_nests - at));
	e->nests[at] = n;
	e->num_nests++;
}

void be_remove_nest(struct module_entry *e, struct nest *n)
{
	int at = 0;

	while (e->nests[at] != n)
		at++;
	memmove(&e->nests[at], &e->nests[at + 1],
		sizeof(*e->nests) * (size_t)(--e->num_nests - at));
	free(n);
}

bool be_can_hold(const struct backend *be, const struct module_entry *e)
{
	for (int k = 0; k < e->num_nests; k++)
		if (find_input(be, e, e->nests[k]) >= 0)
			return true;
	return false;
}

double be_hold_saves(const struct backend *be, const struct module_entry *e)
{
	double room = (double)rdu_chip_pmus_per_tile(&be->chip) * be->tiles * be->chip.pmu_bytes;
	double size = 0, loaded = 0;

	for (int k = 0; k < e->num_nests; k++) {
		const struct nest *n = e->nests[k];
		int in = find_input(be, e, n);
		double bytes = in < 0 ? 0 : (double)tensor_size(n->in[in].tensor);

		size += bytes;
		loaded += bytes * (double)runs_in(e, n, 0);
	}
	if (size > room)
		loaded *= room / size;
	return loaded * be->chip.clock_khz / (be->chip.dram_mbps * 1000.0);
}

void be_hold(struct backend *be, struct module_entry *e)
{
	for (int k = 0; k < e->num_nests; k++) {
		struct nest *n = e->nests[k];
		int in = find_input(be, e, n), at = 0, last;
		struct hold *h;

		if (in < 0)
			continue;
		if (be->num_ops + e->num_nests == RDU_MAX_SECTIONS) {
			be_note(be,
				"%s: loaded whenever it is read: a program has at most %d sections",
				n->in[in].tensor->name, RDU_MAX_SECTIONS);
			break;
		}
		be->hold = xgrow(be->hold, be->num_holds, sizeof(*be->hold));
		h = &be->hold[be->num_holds++];
		*h = (struct hold){ .kept = is_kept(be, e, n->in[in].tensor),
				    .reader = n,
				    .in = in,
				    .from = n->in[in].tensor };
		h->loop = h->kept ? 0 : holding_loop(e, n, h->from);
		h->to = be_temp_like(be, h->from, "held");
		h->fill = be_copy_nest(n, h->from, h->to);
		n->in[in].tensor = h->to;
		if (h->loop) {
			h->fill->loop = e->loop[h->loop - 1].parent;
			loop_nests(e, h->loop, k, &at, &last);
		}
		be_insert_nest(e, at, h->fill);
		k++;
	}
}

void be_hold_undo(struct backend *be, struct module_entry *e, const struct nest *reader)
{
	struct hold *h = be->hold;

	while (h->reader != reader)
		h++;
	h->reader->in[h->in].tensor = h->from;
	be_remove_nest(e, h->fill);
	*h = be->hold[--be->num_holds];
}

void be_hold_uses(struct backend *be, const struct nest *fill, int pmus)
{
	be->moves++;
	for (int i = 0; i < be->num_holds; i++)
		if (be->hold[i].fill == fill)
			be->hold[i].pmus = pmus;
}

const struct hold *be_hold_of(const struct backend *be, const struct tensor *t)
{
	for (int i = 0; i < be->num_holds; i++)
		if (be->hold[i].to == t)
			return &be->hold[i];
	return NULL;
}

bool be_fills_kept(const struct backend *be, const struct nest *n)
{
	for (int i = 0; i < be->num_holds; i++)
		if (be->hold[i].fill == n)
			return be->hold[i].kept;
	return false;
}

bool hold_in(const struct module_entry *e, const struct hold *h)
{
	for (int k = 0; k < e->num_nests; k++)
		if (e->nests[k] == h->fill)
			return true;
	return false;
}

/* Bytes that a nest reads by an access, as arrays take them, at least: pairs of bf16, or bytes. */
static double least_bytes(const struct nest *n, const struct access *a)
{
	double bytes = dtype_size(a->tensor->dtype) == 1 ? 1 : 2;

	for (int x = 0; x < a->tensor->ndim; x++) {
		int64_t most = 1; /* positions along the axis */

		for (int d = 0; d < n->ndim; d++)
			if (a->coef[x][d])
				most = max64(most, n->dim[d].extent);
		bytes *= (double)most;
	}
	for (int d = 0; d < n->ndim; d++) { /* a diagonal is less */
		int axes = 0;

		for (int x = 0; x < a->tensor->ndim; x++)
			axes += a->coef[x][d] != 0;
		if (axes > 1)
			return 0;
	}
	return bytes;
}

bool be_hold_no_room(struct backend *be, const struct module_entry *e, const struct hold *h)
{
	for (be->at = 0; e->nests[be->at] != h->reader; be->at++)
		;
	be_error(be, "%s: no scratchpads for %s, which it reads again and again", h->reader->name,
		 h->from->name);
	return false;
}

bool be_hold_has_room(struct backend *be, const struct module_entry *e)
{
	const struct hold *h = NULL;
	double room;

	for (int k = 0; k < e->num_nests && !h; k++)
		for (int i = 0; i < be->num_holds && !h; i++)
			if (be->hold[i].reader == e->nests[k])
				h = &be->hold[i];
	if (!h)
		return true;
	room = (double)be->residence[h->to->id].num_parts * (double)be->chip.pmu_bytes;
	return least_bytes(h->reader, &h->reader->in[h->in]) <= room || be_hold_no_room(be, e, h);
}
