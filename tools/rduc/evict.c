// SPDX-License-Identifier: MIT
/*
 * What was to stay in scratchpads (resident.c) and is in memory after all: a nest does not fit with it, or is
 * faster without.
 */
#include "backend.h"
#include "stays.h"

/* Does a section use t, or, `write`, make it? With several tiles, who reads it in memory stays as it is: it may be a
 * group, which takes long to make. */
static bool section_uses(const struct backend *be, const struct be_section *s,
			 const struct tensor *t, bool write)
{
	for (int i = 0; i < s->num_nests; i++) {
		const struct nest *n = be->m->entries[s->entry].nests[s->first_nest + i];

		if (nest_writes(n, t) ||
		    (!write && nest_reads(n, t) && !(be->tiles > 1 && be_reads_copy(be, n, t))))
			return true;
	}
	return false;
}

void be_leave(struct backend *be, struct be_section *first, struct nest *n, struct tensor *t,
	      const char *why)
{
	const struct residence *r = &be->residence[t->id];

	be_evict(be, n, t, why);
	if (t->copied) /* the others find it as before */
		return;
	for (struct be_section *s = first; s < be->section + be->num_sections; s++)
		if (s->im && s->nest != n && section_uses(be, s, t, r->resident)) {
			image_free(s->im);
			s->im = NULL;
		}
}

/* Could nest n use t, which it has in scratchpads, in memory instead? What the iterations of a loop change there
 * is not theirs to leave that bring it there or store it, once. What is copied there is so for somebody. */
static bool may_evict(const struct backend *be, const struct nest *n, struct tensor *t)
{
	const struct residence *r = residence_of(be, n, t);

	return r && !r->held && !(r->carried && !n->loop) &&
	       !(t->copied && (nest_writes(n, t) || r->num_readers < 2));
}

/* Cycles that memory takes for what others write and read there when nest n uses t in memory. */
static double copy_cycles(const struct backend *be, const struct nest *n, struct tensor *t)
{
	const struct residence *r = &be->residence[t->id];
	double once = (double)tensor_size(t) / be_bytes_per_cycle(&be->chip);

	if (t->copied) /* memory is not for others then */
		return once;
	if (r->by_group) /* then all nests do */
		return once * (r->num_readers + 1);
	if (nest_writes(n, t)) /* then all its readers do */
		return once * (r->num_readers - r->num_copy_readers);
	return r->memory ? 0 : once;
}

/* What a nest finds or leaves in scratchpads, and may have in memory: how many tensors. */
static int list_evictable(const struct backend *be, const struct nest *n, struct tensor **list)
{
	int num = 0;

	for (int i = 0; i < n->num_in + n->num_out; i++) {
		struct tensor *t = tensor_storage(
			i < n->num_in ? n->in[i].tensor : n->out[i - n->num_in].access.tensor);
		bool again = false;

		for (int k = 0; k < num; k++)
			again |= list[k] == t;
		if (!again && may_evict(be, n, t))
			list[num++] = t;
	}
	return num;
}

/* What is spread over several tiles runs out of links, and one tensor less may do: that which costs least in
 * memory. */
bool be_evict_some(struct backend *be, struct be_section *first, struct nest *n)
{
	struct tensor *blame = be->crowded, *list[NEST_MAX_IN + NEST_MAX_OUT], *cheapest = NULL;
	int num = list_evictable(be, n, list);
	double least = 0;
	bool any = false;

	for (int i = 0; i < num; i++) {
		double cycles = copy_cycles(be, n, list[i]);

		if (cheapest && cycles >= least)
			continue;
		cheapest = list[i];
		least = cycles;
	}
	if (!blame && be->tiles > 1)
		blame = cheapest;
	for (int i = 0; i < num; i++) {
		if (blame && list[i] != blame)
			continue;
		be_leave(be, first, n, list[i], be->error);
		any = true;
	}
	return any;
}

/* A nest made with some of its tensors in memory instead. */
struct without {
	struct tensor **list;
	int num;
	double copies; /* cycles that it costs others */
	struct uimage *im; /* NULL: it is not made */
};

/* The nest reads what is in memory, for now: what it read. */
static void leave_for_now(struct backend *be, struct nest *n, const struct without *w,
			  struct tensor **was)
{
	be->without = w->list;
	be->num_without = w->num;
	for (int i = 0; i < n->num_in; i++) {
		was[i] = n->in[i].tensor;
		for (int k = 0; k < w->num; k++)
			if (tensor_storage(was[i]) == w->list[k] && was[i]->copied)
				n->in[i].tensor = was[i]->copied;
	}
}

static void find_again(struct backend *be, struct nest *n, struct tensor *const *was)
{
	be->num_without = 0;
	for (int i = 0; i < n->num_in; i++)
		n->in[i].tensor = was[i];
}

/* Other threads look for its plan. */
static void plan_without(struct backend *be, struct nest *n, const struct without *w, double most)
{
	struct tensor *was[NEST_MAX_IN];

	if (w->copies + 1 >= most)
		return;
	leave_for_now(be, n, w, was);
	be_plan_ahead(be, n);
	find_again(be, n, was);
}

/* Makes it, if what it costs others takes less than `most` cycles. 0, 1: it does not, or it cannot be made,
 * or -1. */
static int lower_without(struct backend *be, struct nest *n, int op, struct without *w, double most)
{
	struct tensor *was[NEST_MAX_IN];
	int r;

	if (w->copies + 1 >= most)
		return 1;
	leave_for_now(be, n, w, was);
	r = be_lower(be, n, be->level, op, &w->im);
	find_again(be, n, was);
	return r;
}

/* Does it take less than `most` cycles, what it costs others included: *cycles? 0, -1, or 1: it does not. */
static int time_without(struct backend *be, const struct without *w, double most, double *cycles)
{
	int r = w->copies + 1 >= most ? 1 : be_time_about(be, w->im, (uint64_t)(most - w->copies));

	*cycles = w->copies + (double)w->im->cycles;
	return !r && *cycles >= most ? 1 : r;
}

/* All that other threads are to find out about. 0 or -1. */
static int lower_ahead(struct backend *be, struct nest *n, int op, struct without *w, int num,
		       double most)
{
	for (int i = 1; be->workers && i < num; i++)
		plan_without(be, n, &w[i], most);
	for (int i = 0; be->workers && i < num; i++) {
		int r = lower_without(be, n, op, &w[i], most);

		if (r < 0)
			return -1;
		if (!r)
			be_time_ahead(be, w[i].im, (uint64_t)(most - w[i].copies));
	}
	return 0;
}

/* The fastest of them, if it takes less than *least cycles: its number, -2: none does, or -1. */
static int fastest(struct backend *be, struct nest *n, int op, struct without *w, int num,
		   double *least)
{
	int best = -2;

	for (int i = 0; i < num; i++) {
		double cycles;
		int r = 0;

		if (!be->workers)
			r = lower_without(be, n, op, &w[i], *least);
		if (r < 0)
			return -1;
		if (!w[i].im)
			continue;
		r = time_without(be, &w[i], *least, &cycles);
		if (r < 0)
			return -1;
		if (!r) {
			best = i;
			*least = cycles;
		}
	}
	return best;
}

/* Brings small tensors to the front of a list: how many. They cost memory next to nothing, but have few parts: as long
 * as one of them stays, a nest may have fewer replicas than a large tensor has parts. */
static int small_first(struct tensor **list, int num)
{
	int small = 0;

	for (int i = 0; i < num; i++) {
		struct tensor *t = list[i];

		if (be_words(t) >= SMALL_TENSOR)
			continue;
		list[i] = list[small];
		list[small++] = t;
	}
	return small;
}

int be_improve(struct backend *be, struct be_section *first, struct be_section *s)
{
	struct nest *n = s->nest;
	int op = be->num_ops + s->first_nest, best;

	if (be_time_about(be, s->im, UINT64_MAX))
		return -1;
	do {
		struct tensor *list[NEST_MAX_IN + NEST_MAX_OUT];
		struct without w[NEST_MAX_IN + NEST_MAX_OUT + 2] = { 0 };
		int num = list_evictable(be, n, list), small = small_first(list, num);
		int tries = num + (num > 1) + (small > 1 && small < num);
		double least = (double)s->im->cycles * 0.97;

		for (int i = 0; i < tries; i++) { /* each, all, the small ones */
			w[i] = (struct without){ .list = i < num ? &list[i] : list,
						 .num = i < num	   ? 1
							: i == num ? num
								   : small };
			for (int k = 0; k < w[i].num; k++)
				w[i].copies += copy_cycles(be, n, w[i].list[k]);
		}
		best = lower_ahead(be, n, op, w, tries, least);
		if (!best)
			best = fastest(be, n, op, w, tries, &least);
		for (int i = 0; i < tries; i++)
			if (i != best)
				image_free(w[i].im);
		if (best < 0)
			break;
		be_error(be, "%s: %.0f cycles instead of %llu", n->name, least,
			 (unsigned long long)s->im->cycles);
		image_free(s->im);
		s->im = w[best].im;
		for (int i = 0; i < w[best].num; i++)
			be_leave(be, first, n, w[best].list[i], be->error);
	} while (best >= 0);
	return best == -1 ? -1 : 0;
}
