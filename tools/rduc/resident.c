// SPDX-License-Identifier: MIT
/*
 * Residence: which temporaries stay in scratchpads from the section that makes them to the
 * last one that reads them, so that they never cross off-chip memory. Such a tensor is cut
 * into parts along its outermost axis, each in a scratchpad of its own. A nest that cannot
 * read its parts reads a copy in memory instead; a tensor that no nest can read there is no
 * longer resident.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"
#include "parts.h"
#include "stays.h"

#define FEWEST_PARTS \
	4 /* of what shares scratchpads, and finds no more: still more than memory's rate */
#define MUCH_SLOWER 1.5 /* than memory: what one port does, others may do as well meanwhile */

/* One access to a tensor's storage. */
struct use {
	int nest;
	bool write, add;
	const struct access *access;
};

struct uses {
	int num, room;
	struct use *u;
	bool elsewhere; /* in another entry point, or as something that outlives a run */
	bool other_shape; /* used as a view of another shape */
};

static void add_use(struct uses *all, const struct access *a, int nest, bool write, bool add)
{
	const struct tensor *v = a->tensor, *t = tensor_storage(a->tensor);
	struct uses *s = &all[t->id];

	s->other_shape |=
		v->ndim != t->ndim || memcmp(v->dim, t->dim, sizeof(t->dim[0]) * (size_t)t->ndim);
	s->u = xroom(s->u, s->num, &s->room, sizeof(*s->u));
	s->u[s->num++] = (struct use){ nest, write, add, a };
}

static void mark_elsewhere(struct uses *all, const struct module_entry *e)
{
	for (int k = 0; k < e->num_nests; k++) {
		const struct nest *n = e->nests[k];

		for (int i = 0; i < n->num_in; i++)
			all[tensor_storage(n->in[i].tensor)->id].elsewhere = true;
		for (int i = 0; i < n->num_out; i++)
			all[tensor_storage(n->out[i].access.tensor)->id].elsewhere = true;
	}
}

static struct uses *find_uses(const struct backend *be, const struct module_entry *e)
{
	struct uses *all = xcalloc((size_t)be->m->num_tensors + 1, sizeof(*all));

	for (int k = 0; k < e->num_nests; k++) {
		const struct nest *n = e->nests[k];

		for (int i = 0; i < n->num_in; i++)
			add_use(all, &n->in[i], k, false, false);
		for (int i = 0; i < n->num_out; i++)
			add_use(all, &n->out[i].access, k, true, n->out[i].add);
	}
	for (int k = 0; k < be->m->num_entries; k++)
		if (&be->m->entries[k] != e)
			mark_elsewhere(all, &be->m->entries[k]);
	for (int i = 0; i < be->num_holds; i++) { /* fetched from memory, by their readers' will */
		all[be->hold[i].to->id].elsewhere = true;
		all[tensor_storage(be->hold[i].from)->id].elsewhere = true;
	}
	for (int i = 0; i < be->num_made; i++) /* LOADs of what operands are made of */
		for (int k = 0; k < be->made[i].maker->num_in; k++)
			all[tensor_storage(be->made[i].maker->in[k].tensor)->id].elsewhere = true;
	for (int i = 0; i < be->m->num_tensors; i++) {
		const struct tensor *v = be->m->tensors[i], *t = tensor_storage(be->m->tensors[i]);
		struct uses *s = &all[t->id];

		if (v->kind != TENSOR_TEMP || v->update_of || v->data || v->dtype != t->dtype ||
		    v->row_of)
			s->elsewhere = true;
		if (v->row_of)
			all[tensor_whole(be->m->tensors[i])->id].elsewhere = true;
	}
	return all;
}

/* The nest until which that stays which nest `first` makes and nest k uses. What comes into a loop
 * from outside is wanted again in its last iteration. */
static int stays_until(const struct module_entry *e, int first, int k)
{
	int loop = e->nests[k]->loop, both = loop_around(e, e->nests[first]->loop, loop), start;

	if (loop != both)
		loop_nests(e, loop_below(e, loop, both), k, &start, &k);
	return k;
}

/* Is it made and used up within this entry point, written before it is read, and not read by
 * a nest that writes it? */
static bool lives_here(const struct uses *s)
{
	int last = -1;
	bool written = false, read = false;

	if (s->elsewhere || !s->num || !s->u[0].write)
		return false;
	for (int i = 0; i < s->num; i++) { /* in order of nests, inputs first */
		if (s->u[i].add || (s->u[i].write && s->u[i].access->gather_in >= 0))
			return false;
		if (s->u[i].nest != last)
			written = read = false;
		last = s->u[i].nest;
		*(s->u[i].write ? &written : &read) = true;
		if (written && read)
			return false;
	}
	return last > s->u[0].nest;
}

/* Is a nest a sum of products in which dimension d alone tells one operand's results apart? It
 * will be the lanes or columns of an array, and cannot be cut finely. */
static bool coarse(const struct nest *n, int d)
{
	int in[2], only = 0;

	if (!nest_sums_products(n))
		return false;
	for (int k = 0; k < 2; k++) {
		in[k] = nest_factor(n, k);
		if (in[k] < 0)
			return false;
	}
	for (int k = 0; k < 2; k++) {
		int own = 0;
		bool has = false;

		for (int i = 0; i < n->ndim; i++) {
			bool a = false, b = false;

			for (int t = 0; t < RDU_MAX_DIMS; t++) {
				a |= n->in[in[k]].coef[t][i] != 0;
				b |= n->in[in[!k]].coef[t][i] != 0;
			}
			if (n->dim[i].reduce || n->dim[i].extent < 2 || !a || b)
				continue;
			own++;
			has |= i == d;
		}
		only |= has && own == 1;
	}
	return only;
}

/* Do replicas of a nest along dimension i find parts of their own in what else is resident that they use? All
 * of them would want all parts of what is cut along other dimensions, whose ports are then what they wait for. */
static bool finds_parts(const struct nest *n, const struct access *a, int i,
			const uint32_t *cut_along)
{
	for (int k = 0; k < n->num_in + n->num_out; k++) {
		bool out = k >= n->num_in;
		const struct access *b = out ? &n->out[k - n->num_in].access : &n->in[k];
		const struct tensor *t = tensor_storage(b->tensor);
		bool moves = false, own = false;

		for (int d = 0; d < b->tensor->ndim; d++)
			if (b->coef[d][i]) {
				moves = true;
				own |= cut_along[t->id] >> d & 1;
			}
		if (moves && !own && t != tensor_storage(a->tensor) && cut_along[t->id])
			return false;
	}
	return true;
}

/* Into how many pieces along axis d an access can be cut, so that each replica of its nest
 * stays in a part of its own. cut_along[]: by tensor, the dimensions that what is resident is cut along. */
static int64_t pieces(const struct backend *be, const struct nest *n, const struct access *a, int d,
		      const uint32_t *cut_along)
{
	bool may_split = be_may_split(be, n);
	int64_t most = 1;

	for (int i = 0; i < n->ndim; i++) {
		int64_t k = n->dim[i].extent;

		if (!a->coef[d][i] || (n->dim[i].reduce && !may_split) || i == nest_carried(n) ||
		    !finds_parts(n, a, i, cut_along))
			continue;
		if (coarse(n, i))
			k = ceil_div(k, max64(be->chip.systolic_cols, 8));
		most = max64(most, k);
	}
	return min64(most, WANTED_PARTS);
}

/* Is there something else of the nest's, resident, whose parts replicas along axis d of an access tell apart as
 * well? */
static bool lies_alike(const struct nest *n, const struct access *a, int d,
		       const uint32_t *cut_along)
{
	for (int k = 0; k < n->num_in + n->num_out; k++) {
		const struct access *b = k < n->num_in ? &n->in[k] : &n->out[k - n->num_in].access;
		const struct tensor *t = tensor_storage(b->tensor);

		for (int x = 0; x < b->tensor->ndim && t != tensor_storage(a->tensor); x++)
			for (int i = 0; i < n->ndim && cut_along[t->id] >> x & 1; i++)
				if (a->coef[d][i] && b->coef[x][i] && n->dim[i].extent > 1)
					return true;
	}
	return false;
}

/* What replicas of a nest share of what it does with a tensor: points of its index space; of a sum of products,
 * which has dimensions enough for replicas, bringing the tensor to the arrays or from there. */
static double work(const struct nest *n, const struct tensor *t)
{
	double w = 1;

	if (nest_sums_products(n))
		return (double)be_words(t);
	for (int i = 0; i < n->ndim; i++)
		w *= (double)n->dim[i].extent;
	return w;
}

/* Does an access go through a dimension of its nest that moves axis d of another one, and through others, along
 * one axis? */
static bool goes_as_one(const struct nest *n, const struct access *a, const struct access *other,
			int d)
{
	for (int x = 0; x < a->tensor->ndim; x++) {
		int dims = 0;
		bool has = false;

		for (int q = 0; q < n->ndim; q++) {
			dims += a->coef[x][q] != 0;
			has |= a->coef[x][q] && other->coef[d][q];
		}
		if (has && dims > 1 && !a->guarded)
			return true;
	}
	return false;
}

/* Do nests go through axis d and others as one in a tensor that comes from memory? With d outermost they no
 * longer could. */
static bool goes_with_others(const struct backend *be, const struct uses *s,
			     const struct module_entry *e, int d)
{
	for (int i = 0; i < s->num; i++) {
		const struct nest *n = e->nests[s->u[i].nest];

		for (int k = 0; k < n->num_in; k++) {
			const struct tensor *t = n->in[k].tensor;

			if ((t->kind != TENSOR_TEMP || be_hold_of(be, t)) &&
			    goes_as_one(n, &n->in[k], s->u[i].access, d))
				return true;
		}
	}
	return false;
}

struct candidate {
	int tensor, axis; /* that it is cut along, -1: it is not */
	int64_t saved; /* words that do not cross memory */
	enum turn {
		FIRST,
		CARRIED,
		COPIED_TO_CARRIED,
		COPIED /* of what is in memory: once.c */
	} turn; /* CARRIED: made in front of a loop, and changed in it */
};

/* The axis that a tensor is cut along, which becomes the outermost: the one with which the nests
 * that use the tensor take least, as far as this tensor keeps them from working in parallel. (A short one that
 * is outermost is cut with the next.) *least: so many
 * vectors, one after another. */
static int choose_axis(const struct backend *be, const struct tensor *t, const struct uses *s,
		       const struct module_entry *e, const uint32_t *cut_along, enum turn turn,
		       double *least)
{
	int best = parts_outermost(t), innermost = -1;

	*least = 0;
	if (best < 0 || s->other_shape)
		return best;
	for (int d = 0; d < t->ndim; d++)
		if (t->dim[d] > 1 && (innermost < 0 || t->stride[d] < t->stride[innermost]))
			innermost = d;
	for (int k = -1; k < t->ndim; k++) { /* the one that is outermost now has a start */
		int d = k < 0 ? parts_outermost(t) : k, vectors = parts_vectors_dim(be, t, d);
		int next = vectors >= 0 ? vectors
			   : k < 0 && t->dim[d] < WANTED_PARTS / 2
				   ? parts_next_axis(t, t->stride[d])
				   : -1;
		int most = vectors >= 0	     ? MOST_PARTS
			   : turn == CARRIED ? CARRIED_PARTS
					     : WANTED_PARTS;
		double cost = 0;

		if (t->dim[d] < 2 || (d == innermost && d != best) ||
		    (k >= 0 && turn == FIRST && goes_with_others(be, s, e, d)))
			continue;
		for (int i = 0; i < s->num; i++) {
			const struct nest *n = e->nests[s->u[i].nest];
			const struct access *a = s->u[i].access;
			int64_t p = pieces(be, n, a, d, cut_along);

			if (next >= 0)
				p *= pieces(be, n, a, next, cut_along);
			cost += work(n, t) / be->chip.lanes / (double)min64(p, most) *
				(turn != FIRST && !lies_alike(n, a, d, cut_along) ? 2 : 1);
		}
		if (k < 0 || cost < *least) {
			*least = cost;
			best = d;
		}
	}
	return best;
}

static int by_saving(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->turn != y->turn) /* what it is to lie like is known then */
		return x->turn > y->turn ? 1 : -1;
	if (x->saved != y->saved)
		return x->saved < y->saved ? 1 : -1;
	return x->tensor - y->tensor;
}

/* Is it made in front of a loop, and changed in it? */
static bool is_carried(const struct module_entry *e, const struct uses *s)
{
	for (int i = 0; i < s->num; i++)
		if (s->u[i].write && e->nests[s->u[i].nest]->loop != e->nests[s->u[0].nest]->loop)
			return true;
	return false;
}

static enum turn turn_of(const struct backend *be, const struct module_entry *e,
			 const struct uses *all, const struct uses *s)
{
	const struct nest *last = e->nests[s->u[s->num - 1].nest];

	if (tensor_storage(s->u[0].access->tensor)->copied)
		return COPIED;
	if (is_carried(e, s) || be->residence[tensor_storage(s->u[0].access->tensor)->id].carried)
		return CARRIED;
	return last->num_in == 1 && last->num_out == 1 && last->loop &&
			       is_carried(e, &all[tensor_storage(last->out[0].access.tensor)->id])
		       ? COPIED_TO_CARRIED
		       : FIRST;
}

static int count_nests(const struct uses *s, bool write)
{
	int num = 0, last = -1;

	for (int i = 0; i < s->num; i++)
		if (s->u[i].write == write && s->u[i].nest != last) {
			last = s->u[i].nest;
			num++;
		}
	return num;
}

/* May a storage stay as a whole? What a group hands on is there in slices. What nests of one group make, and no
 * nest of it reads, may; what others make for a group only with several tiles: the scratchpads of one are its own. */
static bool is_whole(const struct backend *be, const struct module_entry *e, const struct uses *s)
{
	int maker = e->nests[s->u[0].nest]->group;

	for (int i = 0; i < s->num; i++) {
		const struct tensor *t = tensor_storage(s->u[i].access->tensor);
		int group = e->nests[s->u[i].nest]->group;

		if (group && (be->residence[t->id].group ||
			      (s->u[i].write ? group != maker : group == maker || be->tiles == 1)))
			return false;
	}
	return true;
}

/* Does a group use it? */
static bool in_group(const struct module_entry *e, const struct uses *s)
{
	for (int i = 0; i < s->num; i++)
		if (e->nests[s->u[i].nest]->group)
			return true;
	return false;
}

/* How a candidate is cut. False: it cannot be, or had better not. */
static bool consider(struct backend *be, const struct module_entry *e, const struct tensor *t,
		     const struct uses *s, const uint32_t *cut_along, struct candidate *c)
{
	struct residence *r = &be->residence[t->id];
	bool by_group = e->nests[s->u[0].nest]->group;
	double least = 0;

	/* The section of a group was made with the tensor as it lies; and products that would want all parts of a copy
	 * that lies as it does in memory do not read it. */
	c->axis = in_group(e, s) || c->turn == COPIED
			  ? parts_outermost(t)
			  : choose_axis(be, t, s, e, cut_along, c->turn, &least);
	r->words = be_words(t);
	if (r->words > INT32_MAX)
		return false;
	if (r->words >= SMALL_TENSOR &&
	    least > (double)(r->words * s->num) * 4 / be_bytes_per_cycle(&be->chip) * MUCH_SLOWER)
		return false;
	/* A buffer has one writer: nests that make a small tensor together had better be one
	 * section. */
	if (r->words < SMALL_TENSOR && count_nests(s, true) > 1 && c->turn != CARRIED)
		return false;
	if (!parts_cut(be, t, c->axis, c->turn == CARRIED ? parts_carried(r->words) : WANTED_PARTS))
		return false;
	for (int i = 0; i < s->num && r->num_parts > 1; i++)
		if (s->u[i].access->gather_in >= 0 &&
		    !be_reads_tiles(be, e->nests[s->u[i].nest], s->u[i].access))
			return false; /* only the card knows which part an index is in */
	r->by_group = by_group;
	r->whole = be->tiles > 1;
	r->carried = c->turn == CARRIED;
	r->vectors = be_batch_dims(be, t) == 2;
	r->first = stays_group_start(e, s->u[0].nest);
	r->last = stays_until(e, r->first, s->u[s->num - 1].nest);
	r->num_readers = count_nests(s, false);
	return true;
}

void be_find_outside(const struct backend *be, int entry, bool *outside)
{
	struct uses *all = find_uses(be, &be->m->entries[entry]);

	for (int i = 0; i < be->m->num_tensors; i++) {
		outside[i] = all[i].elsewhere;
		free(all[i].u);
	}
	free(all);
}

/* Words that a loop of the entry, or one around it or in it, holds, or those that are kept (0). */
static double words_of(const struct backend *be, const struct module_entry *e, int loop)
{
	double sum = 0;

	for (int i = 0; i < be->num_holds; i++) {
		const struct hold *h = &be->hold[i];

		if (hold_in(e, h) && h->kept == !loop &&
		    (loop_within(e, h->loop, loop) || loop_within(e, loop, h->loop)))
			sum += (double)be_words(h->to);
	}
	return sum;
}

/* Words that lie in scratchpads together with what h holds, at most. */
static double held_words(const struct backend *be, const struct module_entry *e,
			 const struct hold *h)
{
	double most = 0;

	if (!h->kept)
		return words_of(be, e, 0) + words_of(be, e, h->loop);
	for (int loop = 1; loop <= e->num_loops; loop++)
		most = fmax(most, words_of(be, e, loop));
	return words_of(be, e, 0) + most;
}

/* Scratchpads for what is held in loops, shared out by size. How the tiles lie in them is their
 * reader's business. False: there are not enough. */
static bool place_held(struct backend *be, const struct module_entry *e, struct stays *p)
{
	for (int i = 0; i < be->num_holds; i++) {
		const struct hold *h = &be->hold[i];
		struct residence *r = &be->residence[h->to->id];
		int most = p->num * be->held_tenths / 10, first = 0;
		double words = (double)be_words(h->to);

		if (!hold_in(e, h))
			continue;
		while (e->nests[first] != h->fill)
			first++;
		*r = (struct residence){
			.resident = true, .held = true, .kept = h->kept, .first = first
		};
		for (r->last = first; e->nests[r->last] != h->reader; r->last++)
			;
		r->last = h->kept ? e->num_nests - 1 : stays_until(e, first, r->last);
		r->words = (int64_t)words;
		r->num_readers = 1;
		r->num_parts = (int)fmax(1, most * words / held_words(be, e, h));
		if (h->pmus)
			r->num_parts = h->pmus;
		if (!r->num_parts || !stays_find(p, r, p->num - most, p->num))
			return be_hold_no_room(be, e, h);
		if (be_prints(be, "resident"))
			fprintf(be_log(be), "resident: %s: held in up to %d PMUs, nests %d to %d\n",
				h->to->name, r->num_parts, r->first, r->last);
	}
	return be_hold_has_room(be, e);
}

/* Eighths of the scratchpads that tensors may have: what nests need for their own operands stays free. Of several
 * tiles a quarter is enough, for what comes last. */
static int eighths(const struct backend *be, enum turn turn)
{
	return turn == CARRIED ? 7 : turn == COPIED && be->tiles > 1 ? 6 : 5;
}

/* Scratchpads for a tensor: as many as may work at a time; for what a loop carries, or what shares scratchpads, fewer,
 * where there are not so many. */
static bool find_room(struct backend *be, struct stays *pmus, const struct candidate *c)
{
	struct residence *r = &be->residence[c->tensor];
	int parts = c->turn == CARRIED ? parts_carried(r->words) : WANTED_PARTS;
	int fewest = c->turn == CARRIED ? 1 : pmus->share ? FEWEST_PARTS : WANTED_PARTS;

	while (!stays_find(pmus, r, 0, pmus->num * eighths(be, c->turn) / 8)) {
		int was = r->num_parts;

		parts /= 2;
		if (parts < fewest || !parts_cut(be, be->m->tensors[c->tensor], c->axis, parts) ||
		    r->num_parts >= was)
			return false;
	}
	return true;
}

/* Do sums of products use a storage, whose arrays wait for its ports? */
static bool in_products(const struct module_entry *e, const struct uses *s)
{
	for (int i = 0; i < s->num; i++)
		if (nest_sums_products(e->nests[s->u[i].nest]))
			return true;
	return false;
}

static struct placing all_placed(struct backend *be, const struct module_entry *e,
				 const struct candidate *c, int num)
{
	struct placing p = { be, e, xmalloc(sizeof(*p.r) * (size_t)(num + 1)), 0 };

	for (int i = 0; i < num; i++)
		if (be->residence[c[i].tensor].resident)
			p.r[p.num++] = &be->residence[c[i].tensor];
	return p;
}

/* Scratchpads for each vector of a batch of its own, for as many tensors as there are: what arrays wait for
 * first. */
static void find_more(struct backend *be, const struct module_entry *e, const struct candidate *c,
		      int num, const struct uses *all)
{
	struct placing p = all_placed(be, e, c, num);

	for (int k = 0; k < 2 * num; k++) {
		const struct uses *s = &all[c[k % num].tensor];
		struct residence *r = &be->residence[c[k % num].tensor];
		int parts = r->num_parts;
		int64_t part = r->part;
		struct stays pmus;
		bool placed;

		if (!r->resident || s->other_shape || in_products(e, s) != (k < num) ||
		    !parts_cut_vectors(be, be->m->tensors[c[k % num].tensor], c[k % num].axis, r))
			continue;
		stays_init(be, e, false, &pmus);
		placed = stays_place_again(&p, &pmus, pmus.num * 7 / 8);
		stays_end(&pmus);
		if (placed)
			continue;
		r->num_parts = parts;
		r->part = part;
	}
	free(p.r);
}

/* Does a product sum along the axis that a tensor is cut along? It brings its parts together, and the fewer the
 * better. */
static bool summed_along(const struct module_entry *e, const struct uses *s, int axis)
{
	for (int i = 0; i < s->num; i++)
		if (!s->u[i].write && nest_sums_along(e->nests[s->u[i].nest], s->u[i].access, axis))
			return true;
	return false;
}

/* Does an entry have a backward half? */
static bool goes_back(const struct module_entry *e)
{
	for (int k = 0; k < e->num_nests; k++)
		if (e->nests[k]->backward)
			return true;
	return false;
}

/* With several tiles there are as many times the arrays, and so many times the parts keep the replicas of products
 * from wanting one: as far as there is room, where tensors share scratchpads. (In a training step: of forward passes
 * some are slower so, as maps that read the parts take longer to load.) */
static void find_finer(struct backend *be, const struct module_entry *e, const struct candidate *c,
		       int num, const struct uses *all)
{
	struct placing p = all_placed(be, e, c, num);

	for (int k = 0; k < num; k++) {
		const struct uses *s = &all[c[k].tensor];
		struct residence *r = &be->residence[c[k].tensor], was = *r;
		bool placed = !r->resident || c[k].turn == CARRIED || s->other_shape ||
			      in_group(e, s) || !in_products(e, s) || c[k].axis < 0 ||
			      summed_along(e, s, c[k].axis);

		for (int times = be->tiles; times > 1 && !placed; times /= 2) {
			struct stays pmus;

			if (!parts_cut_finer(be, be->m->tensors[c[k].tensor], r, times))
				continue;
			stays_init(be, e, true, &pmus);
			placed = stays_place_again(&p, &pmus, pmus.num * eighths(be, COPIED) / 8);
			stays_end(&pmus);
			if (!placed) {
				r->num_parts = was.num_parts;
				r->part = was.part;
			}
		}
	}
	free(p.r);
}

/* Candidate c has scratchpads from now on, if there are some for it. */
static void stay(struct backend *be, struct stays *pmus, const struct candidate *c,
		 const struct uses *s, uint32_t *cut_along)
{
	struct tensor *t = be->m->tensors[c->tensor];

	if (!find_room(be, pmus, c))
		return;
	be->residence[t->id].resident = true;
	if (c->axis < 0 || s->other_shape)
		return;
	parts_make_outermost(t, c->axis);
	cut_along[t->id] = 1u << c->axis;
	if (parts_vectors_dim(be, t, c->axis) >= 0)
		cut_along[t->id] |= 1u << parts_vectors_dim(be, t, c->axis);
}

/* Those that have scratchpads share them, which leaves more to the nests' own operands; and so do others, which
 * found none of their own. */
static void share(struct backend *be, const struct module_entry *e, struct candidate *c, int num,
		  const struct uses *all, uint32_t *cut_along)
{
	struct placing p = all_placed(be, e, c, num);
	struct stays pmus;

	stays_init(be, e, true, &pmus);
	if (stays_place_again(&p, &pmus, pmus.num * 7 / 8))
		for (int i = 0; i < num; i++) {
			const struct tensor *t = be->m->tensors[c[i].tensor];
			const struct uses *s = &all[t->id];

			if (!be->residence[t->id].resident &&
			    consider(be, e, t, s, cut_along, &c[i]))
				stay(be, &pmus, &c[i], s, cut_along);
		}
	stays_end(&pmus);
	free(p.r);
}

int be_resident(struct backend *be, const struct module_entry *e)
{
	struct module *m = be->m;
	struct uses *all = find_uses(be, e);
	struct candidate *c = xcalloc((size_t)m->num_tensors + 1, sizeof(*c));
	uint32_t *cut_along = xcalloc((size_t)m->num_tensors + 1, sizeof(*cut_along));
	int num = 0;
	struct stays pmus;
	bool held;

	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *t = m->tensors[i];

		if (tensor_storage(t) == t && lives_here(&all[i]) && is_whole(be, e, &all[i]))
			c[num++] = (struct candidate){ .tensor = i,
						       .saved = be_words(t) * all[i].num,
						       .turn = turn_of(be, e, all, &all[i]) };
	}
	qsort(c, (size_t)num, sizeof(*c), by_saving);
	stays_init(be, e, false, &pmus);
	stays_add_groups(be, e, &pmus);
	held = place_held(be, e, &pmus);
	for (int i = 0; i < num && held; i++) {
		const struct uses *s = &all[c[i].tensor];

		if (consider(be, e, m->tensors[c[i].tensor], s, cut_along, &c[i]))
			stay(be, &pmus, &c[i], s, cut_along);
	}
	if (held) {
		find_more(be, e, c, num, all);
		if (be->tiles > 1 && goes_back(e))
			find_finer(be, e, c, num, all);
		if (be->pmus_shared)
			share(be, e, c, num, all, cut_along);
	}
	for (int i = 0; i < num && held; i++) {
		const struct residence *r = &be->residence[c[i].tensor];
		const struct tensor *t = m->tensors[c[i].tensor];

		if (r->resident && be_prints(be, "resident"))
			fprintf(be_log(be),
				"resident: %s: %d parts of %lld words, nests %d to %d\n", t->name,
				r->num_parts, (long long)r->part, r->first, r->last);
	}
	for (int i = 0; i < m->num_tensors; i++)
		free(all[i].u);
	free(all);
	free(c);
	free(cut_along);
	stays_end(&pmus);
	if (!held)
		return 1;
	return be_resident_renumber(be, e)
		       ? 0
		       : be_error(be, "internal: after resident: a scratchpad is two tensors'");
}

/* What nests do to resident tensors, as consider() saw it: the first writes, none does both. */
static bool renumber(struct backend *be, const struct module_entry *e)
{
	for (int i = 0; i < be->m->num_tensors; i++)
		be->residence[i].first = be->residence[i].last = -1;
	for (int k = 0; k < e->num_nests; k++) {
		const struct nest *n = e->nests[k];

		for (int i = 0; i < n->num_in; i++) {
			struct residence *r = &be->residence[tensor_storage(n->in[i].tensor)->id];

			if (r->group && r->group != n->group) /* reads it in memory */
				continue;
			if (r->resident &&
			    (r->first < 0 || nest_writes(n, tensor_storage(n->in[i].tensor))))
				return false;
			r->last =
				(int)max64(r->last, stays_until(e, r->first < 0 ? k : r->first, k));
		}
		for (int i = 0; i < n->num_out; i++) {
			struct residence *r =
				&be->residence[tensor_storage(n->out[i].access.tensor)->id];

			if (r->first < 0)
				r->first = r->last = r->group ? k : stays_group_start(e, k);
			r->last = (int)max64(r->last, stays_until(e, r->first, k));
			if (r->kept)
				r->last = e->num_nests - 1;
		}
	}
	return true;
}

bool be_resident_renumber(struct backend *be, const struct module_entry *e)
{
	return renumber(be, e) && !stays_clash(be, e);
}

void be_resident_drop(struct backend *be, const struct module_entry *e)
{
	for (int k = 0; k < e->num_nests; k++) {
		const struct nest *n = e->nests[k];

		for (int i = 0; i < n->num_out && !n->group; i++)
			be->residence[tensor_storage(n->out[i].access.tensor)->id].resident = false;
	}
}

void be_resident_end(struct backend *be)
{
	for (int i = 0; be->residence && i < be->m->num_tensors; i++) {
		free(be->residence[i].spot);
		free(be->residence[i].copy_reader);
	}
	free(be->residence);
	be->residence = NULL;
}

bool be_reads_copy(const struct backend *be, const struct nest *n, const struct tensor *t)
{
	const struct residence *r = &be->residence[t->id];

	for (int i = 0; i < r->num_copy_readers; i++)
		if (r->copy_reader[i] == n)
			return true;
	return false;
}

const struct residence *residence_of(const struct backend *be, const struct nest *n,
				     struct tensor *t)
{
	const struct residence *r;

	if (!be->residence)
		return NULL;
	r = &be->residence[tensor_storage(t)->id];
	if (r->group && r->group != n->group)
		return NULL;
	for (int i = 0; i < be->num_without; i++)
		if (be->without[i] == tensor_storage(t))
			return NULL;
	return r->resident && !be_reads_copy(be, n, tensor_storage(t)) ? r : NULL;
}

enum rdu_simd_op residence_rounds(const struct residence *r, const struct tensor *t)
{
	return r && !t->narrow && !t->copied ? dtype_rounding(t->dtype) : RDU_SIMD_MOV;
}

/* A nest reads what is copied to storage t in memory. */
static void read_copied(struct nest *n, const struct tensor *t)
{
	for (int i = 0; i < n->num_in; i++)
		if (tensor_storage(n->in[i].tensor) == t)
			n->in[i].tensor = n->in[i].tensor->copied;
}

void be_evict(struct backend *be, struct nest *n, struct tensor *t, const char *why)
{
	struct residence *r = &be->residence[tensor_storage(t)->id];

	be->moves++;
	if (tensor_storage(t)->copied) {
		r->num_readers--;
		read_copied(n, tensor_storage(t));
		if (be_prints(be, "resident"))
			fprintf(be_log(be), "resident: %s: not for %s: %s\n",
				tensor_storage(t)->name, n->name, why);
		return;
	}
	r->memory = true;
	r->copy_reader = xrealloc(r->copy_reader,
				  sizeof(*r->copy_reader) * (size_t)(r->num_copy_readers + 1));
	r->copy_reader[r->num_copy_readers++] = n;
	if (r->by_group || nest_writes(n, tensor_storage(t)) ||
	    r->num_copy_readers >= r->num_readers)
		r->resident = false;
	if (be_prints(be, "resident"))
		fprintf(be_log(be), "resident: %s: %s memory: %s\n", tensor_storage(t)->name,
			r->resident ? "also in" : "in", why);
}

int be_free_pmus(const struct backend *be)
{
	int all = (int)rdu_chip_pmus_per_tile(&be->chip) * be->tiles, num = 0;
	bool *taken = be_taken_pmus(be);

	for (int i = 0; i < all; i++)
		num += !taken[i];
	free(taken);
	return num;
}

bool *be_taken_pmus(const struct backend *be)
{
	bool *taken = xcalloc((size_t)rdu_chip_pmus_per_tile(&be->chip) * (size_t)be->tiles + 1,
			      sizeof(bool));

	for (int i = 0; be->residence && i < be->m->num_tensors; i++) {
		const struct residence *r = &be->residence[i];

		if (r->resident && r->first <= be->until && be->at <= r->last)
			for (int k = 0; k < r->num_parts; k++)
				taken[r->spot[k].pmu] = true;
	}
	return taken;
}
