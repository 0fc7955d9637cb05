// SPDX-License-Identifier: MIT
/*
 * Order: what nobody reads, a weight's update for one, is made as soon as that frees more room than
 * the next nest does. Lowering of a training step leaves all updates at its end, and what they are
 * made of, activations and gradients, would have to be somewhere until then.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

#define SMALL_RESULT 16

struct order {
	const struct module_entry *e;
	int first, end; /* nests that stay together: of one loop, or of none */
	int *uses; /* by storage: nests from `first` on that use it and have no place yet */
	bool *made, *temp; /* by storage */
	int *waits_for; /* by nest: earlier ones of these that have no place yet and must come first */
	bool *sink, *placed; /* by nest */
};

static struct tensor *storage_of(const struct nest *n, int i)
{
	return tensor_storage(i < n->num_in ? n->in[i].tensor
					    : n->out[i - n->num_in].access.tensor);
}

/* Is it the first access of its nest to that storage? */
static bool is_first(const struct nest *n, int i)
{
	for (int k = 0; k < i; k++)
		if (storage_of(n, k) == storage_of(n, i))
			return false;
	return true;
}

/* Words that are there in addition after a nest, those that are no longer wanted taken off. */
static int64_t growth(const struct order *o, const struct nest *n)
{
	int64_t words = 0;

	for (int i = 0; i < n->num_in + n->num_out; i++) {
		const struct tensor *t = storage_of(n, i);

		if (!o->temp[t->id] || !is_first(n, i))
			continue;
		words += o->made[t->id] ? 0 : be_words(t);
		words -= o->uses[t->id] == 1 ? be_words(t) : 0;
	}
	return words;
}

/* Does a nest make little of much: is what it makes no more than a SMALL_RESULT-th of what it uses of
 * temporaries, or made of none? */
static bool makes_little(const struct order *o, const struct nest *n)
{
	int64_t made = 0, used = 0;

	for (int i = 0; i < n->num_in; i++)
		used += o->temp[storage_of(n, i)->id] ? be_words(storage_of(n, i)) : 0;
	for (int i = 0; i < n->num_out; i++)
		made += be_words(n->out[i].access.tensor);
	return !used || made <= used / SMALL_RESULT;
}

/* Is what nest number k makes read by sinks only? */
static bool feeds_sinks(const struct order *o, int k)
{
	const struct nest *n = o->e->nests[k];

	for (int i = 0; i < n->num_out; i++)
		for (int q = 0; q < o->e->num_nests; q++)
			if (q != k && !o->sink[q] &&
			    nest_reads(o->e->nests[q], tensor_storage(n->out[i].access.tensor)))
				return false;
	return true;
}

/* Those whose results nobody reads behind them; then those that only these read, if they make little. */
static void find_sinks(const struct order *o)
{
	for (int k = o->first; k < o->end; k++) {
		const struct nest *n = o->e->nests[k];

		o->sink[k] = true;
		for (int i = 0; i < n->num_out; i++)
			for (int q = k + 1; q < o->e->num_nests; q++)
				o->sink[k] &= !nest_reads(o->e->nests[q],
							  tensor_storage(n->out[i].access.tensor));
	}
	for (int k = o->first; k < o->end; k++)
		o->sink[k] |= makes_little(o, o->e->nests[k]) && feeds_sinks(o, k);
}

/* A nest of the backward half that only wants what is there, and leaves less behind; -1: none. */
static int frees_early(const struct order *o)
{
	for (int k = o->first; k < o->end; k++)
		if (!o->placed[k] && !o->sink[k] && !o->waits_for[k] && o->e->nests[k]->backward &&
		    growth(o, o->e->nests[k]) < 0)
			return k;
	return -1;
}

/* The first that has no place, or one that frees room early. */
static int choose_early(const struct order *o)
{
	int best = frees_early(o), k = o->first;

	while (o->placed[k])
		k++;
	return best >= 0 ? best : k;
}

/* The next: of those that are no sinks the first, or a sink that leaves less behind. */
static int choose_next(const struct order *o)
{
	int64_t least = INT64_MAX;
	int best = -1;

	for (int k = o->first; k < o->end; k++) {
		if (o->placed[k] || o->sink[k])
			continue;
		if (!o->waits_for[k]) {
			best = k;
			least = growth(o, o->e->nests[k]);
		}
		break;
	}
	for (int k = o->first; k < o->end; k++) {
		int64_t words;

		if (o->placed[k] || !o->sink[k] || o->waits_for[k])
			continue;
		words = growth(o, o->e->nests[k]);
		if (words < least) {
			least = words;
			best = k;
		}
	}
	return best;
}

/* Nest number k is the next. */
static void place(const struct order *o, int k)
{
	const struct nest *n = o->e->nests[k];

	for (int i = 0; i < n->num_in + n->num_out; i++)
		if (is_first(n, i))
			o->uses[storage_of(n, i)->id]--;
	for (int i = 0; i < n->num_out; i++)
		o->made[tensor_storage(n->out[i].access.tensor)->id] = true;
	for (int q = k + 1; q < o->end; q++)
		o->waits_for[q] -= !be_independent(n, o->e->nests[q]);
	o->placed[k] = true;
}

/* Nothing of the nests from `first` on has been made. */
static void start(const struct order *o, int num_tensors)
{
	memset(o->uses, 0, sizeof(int) * (size_t)num_tensors);
	memset(o->made, 0, sizeof(bool) * (size_t)num_tensors);
	for (int k = 0; k < o->e->num_nests; k++) {
		const struct nest *n = o->e->nests[k];

		o->placed[k] = k < o->first;
		o->waits_for[k] = 0;
		for (int i = o->first; i < k && k < o->end; i++)
			o->waits_for[k] += !be_independent(o->e->nests[i], n);
		for (int i = 0; i < n->num_in + n->num_out; i++)
			if (k < o->first)
				o->made[storage_of(n, i)->id] = true;
			else if (is_first(n, i))
				o->uses[storage_of(n, i)->id]++;
	}
}

enum which { AS_IT_IS, FREES_EARLY, SINKS_MOVE };

/* Their order, to `at`: as it is, or a better one. The most words of temporaries that are there at a
 * time. */
static int64_t find_order(const struct order *o, int num_tensors, enum which which, int *at)
{
	int64_t words = 0, most = 0;

	start(o, num_tensors);
	for (int k = o->first; k < o->end; k++) {
		at[k] = which == AS_IT_IS      ? k
			: which == FREES_EARLY ? choose_early(o)
					       : choose_next(o);
		words += growth(o, o->e->nests[at[k]]);
		most = max64(most, words);
		place(o, at[k]);
	}
	return most;
}

static void order_entry(struct backend *be, struct module_entry *e)
{
	size_t num = (size_t)e->num_nests + 1, tensors = (size_t)be->m->num_tensors + 1;
	struct order o = { .e = e,
			   .uses = xcalloc(tensors, sizeof(int)),
			   .made = xcalloc(tensors, sizeof(bool)),
			   .temp = xcalloc(tensors, sizeof(bool)),
			   .waits_for = xcalloc(num, sizeof(int)),
			   .sink = xcalloc(num, sizeof(bool)),
			   .placed = xcalloc(num, sizeof(bool)) };
	int *at = xcalloc(num, sizeof(int));
	struct nest **nests = xcalloc(num, sizeof(struct nest *));

	for (int i = 0; i < be->m->num_tensors; i++) {
		struct tensor *t = be->m->tensors[i];

		o.temp[i] = t->kind == TENSOR_TEMP && tensor_whole(t) == t && !t->data;
	}
	for (; o.first < e->num_nests; o.first = o.end) {
		int64_t was, now, room = be_room_words(be);

		while (o.end < e->num_nests && !nests_apart(e, o.first, o.end))
			o.end++;
		find_sinks(&o);
		was = find_order(&o, be->m->num_tensors, AS_IT_IS, at);
		now = find_order(&o, be->m->num_tensors, SINKS_MOVE, at);
		if (be_prints(be, "order"))
			fprintf(be_log(be), "order: %s: %lld words at a time, %lld before\n",
				e->name, (long long)now, (long long)was);
		if (now >= was || was <= room)
			find_order(&o, be->m->num_tensors, FREES_EARLY, at);
		for (int k = o.first; k < o.end; k++)
			nests[k] = e->nests[at[k]];
		memcpy(e->nests + o.first, nests + o.first,
		       sizeof(*nests) * (size_t)(o.end - o.first));
	}
	free(o.uses);
	free(o.made);
	free(o.temp);
	free(o.waits_for);
	free(o.sink);
	free(o.placed);
	free(at);
	free(nests);
}

void be_order(struct backend *be)
{
	for (int i = 0; i < be->m->num_entries; i++)
		order_entry(be, &be->m->entries[i]);
}
