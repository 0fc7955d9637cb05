// SPDX-License-Identifier: MIT
/*
 * Carry: what the iterations of a loop change in place, one after the other (trained weights,
 * moments, a sum), stays in scratchpads over the whole loop. Nests in front of the loop bring it
 * there, and nests behind the loop store it; in between nobody touches it in memory.
 *
 * A buffer has one writer, and what reads it is ordered against that. So the nest that makes the
 * new value from the old one writes it elsewhere, and a nest right behind it copies it over the
 * old one. All these are nests as any; what they touch is resident (resident.c). What finds no
 * room there is loaded and stored in each iteration, as before.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

#define SMALLEST_CARRIED 1024 /* words; less is not worth a scratchpad */

/* What a loop, with those in it, does to a storage. */
struct change {
	int update, out; /* the nest that writes it, and which of its results; -1: none */
	bool unfit; /* written otherwise, or in a loop within, or read where data decides */
};

bool be_same_shape(const struct tensor *a, const struct tensor *b)
{
	return a->ndim == b->ndim && !memcmp(a->dim, b->dim, sizeof(a->dim[0]) * (size_t)a->ndim);
}

static struct change look_at(const struct module_entry *e, int loop, struct tensor *t)
{
	struct change c = { .update = -1 };

	for (int k = 0; k < e->num_nests; k++) {
		const struct nest *n = e->nests[k];

		if (!loop_within(e, n->loop, loop))
			continue;
		for (int i = 0; i < n->num_in; i++)
			c.unfit |= tensor_storage(n->in[i].tensor) == t && n->in[i].gather_in >= 0;
		for (int i = 0; i < n->num_out; i++) {
			const struct access *a = &n->out[i].access;

			if (tensor_storage(a->tensor) != t)
				continue;
			c.unfit |= n->loop != loop || c.update >= 0 || n->out[i].add ||
				   !be_covers(n, a) || !be_same_shape(a->tensor, t);
			c.update = k;
			c.out = i;
		}
	}
	return c;
}

/* Loads and stores of all iterations, but for one, against a section's program load. Without a loop, what memory takes
 * longer for: that can then be loaded and stored while others work. */
static bool worth_it(const struct backend *be, const struct tensor *t, int64_t trip)
{
	double once = (double)tensor_size(t) * be->chip.clock_khz / (be->chip.dram_mbps * 1000.0);

	if (!trip)
		return once > be->chip.pload_latency;
	return be_words(t) >= SMALLEST_CARRIED &&
	       2 * once * (double)(trip - 1) > be->chip.pload_latency;
}

/* Is storage t something that the loop, which is in none, carries? Then c says how it is changed. */
static bool is_carried(const struct backend *be, const struct module_entry *e, int loop,
		       struct tensor *t, struct change *c)
{
	if ((loop && e->loop[loop - 1].parent) || tensor_whole(t) != t || dtype_is_int(t->dtype) ||
	    t->constant || (t->kind != TENSOR_WEIGHT && t->kind != TENSOR_STATE) ||
	    !worth_it(be, t, loop ? e->loop[loop - 1].trip : 0))
		return false;
	*c = look_at(e, loop, t);
	for (int k = c->update + 1; !loop && k < e->num_nests; k++)
		c->unfit |= nest_reads(e->nests[k], t); /* it wants the new value */
	return c->update >= 0 && !c->unfit;
}

/* An entry without loops is one of one iteration, number 0. */
static int first_loop(const struct module_entry *e)
{
	return e->num_loops ? 1 : 0;
}

bool be_can_carry(const struct backend *be, const struct module_entry *e, const bool * not )
{
	struct change c;

	int64_t words = 0;

	for (int loop = first_loop(e); loop <= e->num_loops; loop++)
		for (int i = 0; i < be->m->num_tensors; i++)
			if (is_carried(be, e, loop, be->m->tensors[i], &c) && !(not &&not [i]))
				words += be_words(be->m->tensors[i]);
	/* Without a loop all of it comes and goes at once: old values and new. */
	return words && (e->num_loops || words * 4 <= be_room_words(be));
}

bool be_can_carry_once(const struct backend *be, const struct module_entry *e, int first)
{
	return !e->num_loops && be_beside_pays(be, first) && be_can_carry(be, e, NULL);
}

struct access *be_access_of(const struct nest_access *a)
{
	return a->at < a->nest->num_in ? &a->nest->in[a->at]
				       : &a->nest->out[a->at - a->nest->num_in].access;
}

void be_add_access(struct accesses *all, struct nest *n, int at)
{
	all->list = xroom(all->list, all->num, &all->room, sizeof(*all->list));
	all->list[all->num++] = (struct nest_access){ n, at };
}

/* All that the loop, with those in it, does with storage t. */
static struct accesses accesses_of(const struct module_entry *e, int loop, const struct tensor *t)
{
	struct accesses all = { 0 };

	for (int k = 0; k < e->num_nests; k++) {
		struct nest *n = e->nests[k];

		for (int i = 0; loop_within(e, n->loop, loop) && i < n->num_in + n->num_out; i++)
			if (tensor_storage(be_access_of(&(struct nest_access){ n, i })->tensor) ==
			    t)
				be_add_access(&all, n, i);
	}
	return all;
}

/* Can all of it be said of the finer shape `to`? */
static bool all_refine(const struct accesses *all, struct tensor *to)
{
	for (int k = 0; k < all->num; k++) {
		struct nest n = *all->list[k].nest;

		if (!be_refine(&n, all->list[k].at, to))
			return false;
	}
	return true;
}

/* The dimension that vectors go along: the innermost, or where that is much shorter than a vector the outermost, if
 * that is not. */
static int vector_dim(const struct backend *be, const struct tensor *t)
{
	int inner = t->ndim - 1;

	while (inner > 0 && t->dim[inner] == 1)
		inner--;
	return t->dim[inner] < be->chip.lanes / 2 && t->dim[0] % be->chip.lanes == 0 ? 0
										     : t->ndim - 1;
}

/* In order, but that one is innermost. */
static void set_strides(struct tensor *t, int inner)
{
	int64_t step = t->dim[inner];

	t->stride[inner] = 1;
	for (int d = t->ndim - 1; d >= 0; d--) {
		if (d == inner)
			continue;
		t->stride[d] = step;
		step *= t->dim[d];
	}
}

struct tensor *be_temp_for(struct backend *be, const struct accesses *all, const struct tensor *t,
			   const char *what)
{
	struct tensor *to = be_temp_like(be, t, what), fine = *to;

	for (int k = 0; k < all->num; k++) {
		int64_t dim[RDU_MAX_DIMS];
		int num = be_shape_of(all->list[k].nest, be_access_of(&all->list[k]), dim);

		if (num > fine.ndim) {
			fine.ndim = num;
			memcpy(fine.dim, dim, sizeof(dim));
		}
	}
	set_strides(&fine, vector_dim(be, &fine));
	if (all_refine(all, &fine))
		*to = fine;
	return to;
}

void be_redirect(struct backend *be, const struct nest_access *at, struct tensor *to,
		 struct tensor **seen)
{
	struct access *a = be_access_of(at);
	struct tensor *t = a->tensor;

	if (be_refine(at->nest, at->at, to))
		return;
	if (!seen[t->id]) {
		seen[t->id] = to;
		if (!be_same_shape(t, to)) {
			seen[t->id] = be_temp_like(be, t, "carried");
			seen[t->id]->view_of = to;
		}
	}
	a->tensor = seen[t->id];
}

/* What is carried, and the nests of the entry as they were. */
struct carried {
	int num, room;
	struct place {
		struct tensor *from, *there, *next; /* next: the new value, until it is copied */
	} * place;
	int num_nests;
	struct nest **nests, *copy;
};

static void carry(struct backend *be, struct module_entry *e, int loop, struct tensor *t,
		  const struct change *c, struct carried *to)
{
	struct nest *update = e->nests[c->update], *load, *store, *copy;
	struct accesses all = accesses_of(e, loop, t);
	struct tensor *there = be_temp_for(be, &all, t, "carried"), *next, **seen;
	int first, last, at;

	loop_nests(e, loop, c->update, &first, &last);
	next = be_temp_like(be, there, "next");
	seen = xcalloc((size_t)be->m->num_tensors + 1, sizeof(struct tensor *));
	for (int k = 0; k < all.num;
	     k++) /* the one that changes it leaves the new value at `next` */
		be_redirect(be, &all.list[k],
			    all.list[k].at < all.list[k].nest->num_in ? there : next, seen);
	free(all.list);
	load = be_copy_nest(update, t, t);
	load->name = there->name;
	be_redirect(be, &(struct nest_access){ load, 1 }, there, seen);
	store = be_copy_nest(update, t, t);
	if (!loop)
		seen[t->id] = NULL; /* that is another place */
	be_redirect(be, &(struct nest_access){ store, 0 }, loop ? there : next, seen);
	free(seen);
	for (at = first; e->nests[at] != update; at++)
		;
	be_insert_nest(e, loop ? last + 1 : at + 1, store);
	if (loop) {
		copy = be_copy_nest(update, next, there);
		copy->loop = loop;
		be_insert_nest(e, at + 1, copy);
	}
	while (!loop && first < at && !nest_reads(e->nests[first], there))
		first++;
	be_insert_nest(e, first, load);
	to->place = xroom(to->place, to->num, &to->room, sizeof(*to->place));
	to->place[to->num++] = (struct place){ t, there, next };
}

struct carried *be_remember_nests(const struct module_entry *e)
{
	struct carried *was = xcalloc(1, sizeof(*was));
	size_t num = (size_t)e->num_nests;

	was->num_nests = e->num_nests;
	was->nests = xmalloc(sizeof(struct nest *) * (num + 1));
	was->copy = xmalloc(sizeof(struct nest) * (num + 1));
	memcpy(was->nests, e->nests, sizeof(struct nest *) * num);
	for (size_t k = 0; k < num; k++)
		was->copy[k] = *e->nests[k];
	return was;
}

struct carried *be_carry(struct backend *be, struct module_entry *e, const bool * not )
{
	struct carried *was = be_remember_nests(e);
	int num = be->m->num_tensors;

	for (int loop = first_loop(e); loop <= e->num_loops; loop++)
		for (int i = 0; i < num; i++) {
			struct tensor *t = be->m->tensors[i];
			struct change c;
			const char *by;

			if (!is_carried(be, e, loop, t, &c) || not [i])
				continue;
			by = e->nests[c.update]->name;
			if (be->num_ops + e->num_nests + 3 > RDU_MAX_SECTIONS) {
				be_note(be,
					"%s: loaded and stored in each iteration: a program has "
					"at most %d sections",
					t->name, RDU_MAX_SECTIONS);
				return was;
			}
			carry(be, e, loop, t, &c, was);
			if (be_prints(be, "carry"))
				fprintf(be_log(be), "carry: %s: changed by %s\n", t->name, by);
		}
	return was;
}

bool be_carry_fits(const struct backend *be, const struct carried *c, bool * not )
{
	bool all = true;

	for (int i = 0; i < c->num; i++) {
		const struct place *p = &c->place[i];

		if (be->residence[p->there->id].resident && be->residence[p->next->id].resident)
			continue;
		not [p->from->id] = true;
		all = false;
	}
	return all;
}

void be_carry_mark(const struct carried *c, struct residence *residence)
{
	for (int i = 0; i < c->num; i++)
		residence[c->place[i].there->id].carried = residence[c->place[i].next->id].carried =
			true;
}

void be_carry_undo(struct module_entry *e, struct carried *was)
{
	for (int k = 0; k < e->num_nests; k++) { /* in whatever order they are now */
		bool old = false;

		for (int i = 0; i < was->num_nests && !old; i++)
			old = e->nests[k] == was->nests[i];
		if (!old)
			free(e->nests[k]);
	}
	e->num_nests = was->num_nests;
	for (int k = 0; k < e->num_nests; k++) {
		e->nests[k] = was->nests[k];
		*e->nests[k] = was->copy[k];
	}
}

void be_carry_end(struct carried *was)
{
	free(was->place);
	free(was->nests);
	free(was->copy);
	free(was);
}
