// SPDX-License-Identifier: MIT
/*
 * Layout: between nests, the batch becomes the fastest dimension, so that the
 * lanes of a vector are samples and nothing has to be shuffled. A tensor that is
 * seen under several shapes moves only if all of them start with the batch.
 */
#include <stdlib.h>
#include "backend.h"
#include "mem.h"

/* Is it what several runs' inputs are the rows of? */
static bool has_inputs(const struct backend *be, const struct tensor *t)
{
	for (int i = 0; i < be->m->num_tensors; i++)
		if (be->m->tensors[i]->kind == TENSOR_INPUT && be->m->tensors[i]->row_of == t)
			return true;
	return false;
}

static bool is_batch(const struct backend *be, int64_t extent)
{
	if (extent < be->chip.lanes / 2)
		return false;
	for (int i = 0; i < be->m->num_tensors; i++) {
		const struct tensor *t = be->m->tensors[i];

		if (t->kind == TENSOR_INPUT && t->ndim && t->dim[0] == extent && !has_inputs(be, t))
			return true;
	}
	return false;
}

void be_layout(struct backend *be)
{
	struct module *m = be->m;
	bool *stay = xcalloc((size_t)m->num_tensors + 1, sizeof(bool));

	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *t = m->tensors[i], *root = tensor_storage(t);

		if (t->kind != TENSOR_TEMP || root->kind != TENSOR_TEMP || t->update_of ||
		    t->data || t->row_of || t->ndim < 1 || !is_batch(be, t->dim[0]) ||
		    t->dim[0] != root->dim[0])
			stay[root->id] = true;
		if (t->row_of) /* rows are row-major */
			stay[tensor_storage(t->row_of)->id] = true;
	}
	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *t = m->tensors[i];
		int64_t s = 1;
		bool move = !stay[tensor_storage(t)->id];

		if (move) {
			t->stride[0] = 1;
			s = t->dim[0];
		}
		for (int d = t->ndim - 1; d >= (move ? 1 : 0); d--) {
			t->stride[d] = s;
			s *= t->dim[d];
		}
		if (move && t->ndim > 1 && be_prints(be, "layout"))
			fprintf(be_log(be), "layout: %s: batch of %lld innermost\n", t->name,
				(long long)t->dim[0]);
	}
	free(stay);
}
