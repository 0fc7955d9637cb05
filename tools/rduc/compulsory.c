// SPDX-License-Identifier: MIT
/*
 * What a run of an entry point must at least move over card memory: of each tensor that is there
 * before the run, or after it, what is read and what is written of it, each byte once.
 *
 *   read     of inputs, weights, constants and states, unless a nest of the same run wrote them
 *            before
 *   written  of results, weights and states
 *
 * Temporaries count nothing. Of a tensor no more counts than its nests can reach: an access
 * reaches at most as many elements as there are points in the dimensions that it depends on (of a
 * table that rows are looked up in: the rows).
 */
#include <stdlib.h>
#include "backend.h"
#include "mem.h"

struct traffic { /* elements; of a tensor's storage */
	int64_t read, written;
	bool stays; /* it is there before or after the run */
	bool made; /* a nest of this run has written to it */
	int64_t rows; /* of an input or output of several runs: elements of those of this one */
};

static bool depends(const struct access *a, int dim)
{
	for (int k = 0; k < a->tensor->ndim; k++)
		if (a->coef[k][dim])
			return true;
	return false;
}

/* Elements that access number `a` of the nest can reach. */
static int64_t reach(const struct nest *n, const struct access *a)
{
	const struct access *index = a->gather_in >= 0 ? &n->in[a->gather_in] : NULL;
	int64_t num = 1;

	for (int d = 0; d < n->ndim; d++)
		if ((depends(a, d) || (index && depends(index, d))) &&
		    __builtin_mul_overflow(num, n->dim[d].extent, &num))
			return INT64_MAX;
	return num;
}

static int64_t times(int64_t a, int64_t b)
{
	return __builtin_mul_overflow(a, b, &a) ? INT64_MAX : a;
}

static void add(int64_t *sum, int64_t num)
{
	if (__builtin_add_overflow(*sum, num, sum))
		*sum = INT64_MAX;
}

/* Rows of inputs and outputs that this run uses, of all that there are for a run of more steps. */
static void count_rows(struct traffic *traffic, struct tensor *t, int64_t trip)
{
	const struct tensor *row = tensor_storage(t);

	if (row->row_of && row->kind != TENSOR_TEMP)
		traffic[tensor_whole(t)->id].rows =
			times(trip, (int64_t)tensor_size(row) / dtype_size(row->dtype));
}

/* trip: of the loop that the nest is in; 1: of none. */
static void count_nest(struct traffic *traffic, const struct nest *n, int64_t trip)
{
	for (int i = 0; i < n->num_in + n->num_out; i++)
		count_rows(traffic,
			   i < n->num_in ? n->in[i].tensor : n->out[i - n->num_in].access.tensor,
			   trip);
	for (int i = 0; i < n->num_in; i++) {
		struct traffic *t = &traffic[tensor_whole(n->in[i].tensor)->id];

		if (!t->made)
			add(&t->read, times(trip, reach(n, &n->in[i])));
	}
	for (int i = 0; i < n->num_out; i++) {
		struct traffic *t = &traffic[tensor_whole(n->out[i].access.tensor)->id];

		if (n->out[i].add && !t->made)
			add(&t->read, times(trip, reach(n, &n->out[i].access)));
		add(&t->written, times(trip, reach(n, &n->out[i].access)));
	}
	for (int i = 0; i < n->num_out; i++)
		traffic[tensor_whole(n->out[i].access.tensor)->id].made = true;
}

uint64_t be_compulsory(const struct backend *be, int entry)
{
	const struct module_entry *e = module_entry_nests(be->m, entry);
	struct traffic *traffic = xcalloc((size_t)be->m->num_tensors + 1, sizeof(*traffic));
	uint64_t bytes = 0;

	for (int i = 0; i < be->m->num_tensors; i++) /* a result may be a view of a temporary */
		traffic[tensor_whole(be->m->tensors[i])->id].stays |=
			be->m->tensors[i]->kind != TENSOR_TEMP;
	for (int k = 0; k < e->num_nests; k++) {
		const struct nest *n = e->nests[k], *maker;

		for (int i = 0; i < n->num_in; i++)
			if ((maker = be_maker(be, n->in[i].tensor)))
				count_nest(traffic, maker, module_trip(be->m, entry, n));
		count_nest(traffic, n, module_trip(be->m, entry, n));
	}
	for (int i = 0; i < be->m->num_tensors; i++) {
		const struct tensor *t = be->m->tensors[i];
		int64_t size = traffic[i].rows ? traffic[i].rows
					       : (int64_t)tensor_size(t) / dtype_size(t->dtype);

		if (tensor_whole(be->m->tensors[i]) == t && traffic[i].stays)
			bytes += (uint64_t)(min64(traffic[i].read, size) +
					    min64(traffic[i].written, size)) *
				 (uint64_t)dtype_size(t->dtype);
	}
	free(traffic);
	return bytes;
}
