// SPDX-License-Identifier: MIT
/*
 * Batch: temporaries of a batch of several vectors' length lie as so many tensors of a vector's length each: 64
 * samples as 2 x 32. Lanes are samples then (layout.c), and what stays in scratchpads can be cut along the vectors
 * as along any dimension, so that replicas with samples of their own have parts of their own.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

/* What a storage is used as: the finest shape, whether it may have another one, and by whom. */
struct use {
	struct tensor *finest;
	bool unfit;
	struct nest **nest;
	int num, room;
};

static void look_at(struct use *use, struct nest *n, const struct access *a)
{
	struct use *u = &use[tensor_storage(a->tensor)->id];

	if (!u->finest || a->tensor->ndim > u->finest->ndim)
		u->finest = a->tensor;
	if (u->num && u->nest[u->num - 1] == n)
		return;
	u->nest = xroom(u->nest, u->num, &u->room, sizeof(*u->nest));
	u->nest[u->num++] = n;
}

static struct use *find_uses(const struct backend *be)
{
	struct use *use = xcalloc((size_t)be->m->num_tensors + 1, sizeof(*use));

	for (int i = 0; i < be->m->num_tensors; i++) {
		struct tensor *t = be->m->tensors[i], *root = tensor_storage(t);

		if (t->kind != TENSOR_TEMP || t->update_of || t->data || t->row_of || t->rows ||
		    t->dtype != root->dtype || t->packed.table)
			use[root->id].unfit = true;
		if (t->row_of)
			use[tensor_storage(t->row_of)->id].unfit = true;
	}
	for (int e = 0; e < be->m->num_entries; e++)
		for (int k = 0; k < be->m->entries[e].num_nests; k++) {
			struct nest *n = be->m->entries[e].nests[k];

			for (int i = 0; i < n->num_in; i++)
				look_at(use, n, &n->in[i]);
			for (int i = 0; i < n->num_out; i++)
				look_at(use, n, &n->out[i].access);
		}
	return use;
}

/* Can all that is done with a storage be said of the finer shape `to`? It is, if so. */
static bool refine_all(const struct use *use, const struct tensor *storage, struct tensor *to)
{
	bool ok = true;

	for (int again = 0; again < 2 && ok; again++) /* to see whether it can be, then to do it */
		for (int k = 0; k < use->num && ok; k++) {
			struct nest *n = use->nest[k], copy = *n;

			for (int i = 0; i < n->num_in + n->num_out && ok; i++) {
				const struct access *a =
					i < n->num_in ? &n->in[i] : &n->out[i - n->num_in].access;

				if (tensor_storage(a->tensor) == storage)
					ok = be_refine(again ? n : &copy, i, to);
			}
		}
	return ok;
}

void be_split_batch(struct backend *be)
{
	struct use *use = find_uses(be);
	int num = be->m->num_tensors, lanes = (int)be->chip.lanes;

	for (int i = 0; i < num; i++) {
		struct tensor *t = use[i].finest, *to;
		int64_t dim[RDU_MAX_DIMS];
		char name[80];

		if (!t || use[i].unfit || be_batch_dims(be, t) != 1 || t->dim[0] <= lanes ||
		    t->dim[0] % lanes || t->ndim == RDU_MAX_DIMS)
			continue;
		dim[0] = t->dim[0] / lanes;
		dim[1] = lanes;
		memcpy(dim + 2, t->dim + 1, sizeof(*dim) * (size_t)(t->ndim - 1));
		snprintf(name, sizeof(name), "%.60s.vectors%d", tensor_storage(t)->name,
			 be->m->num_tensors);
		to = module_tensor(be->m, name, TENSOR_TEMP, t->dtype, t->ndim + 1, dim);
		if (refine_all(&use[i], be->m->tensors[i], to) && be_prints(be, "batch"))
			fprintf(be_log(be), "batch: %s: %lld x %d\n", to->name, (long long)dim[0],
				lanes);
	}
	for (int i = 0; i < num; i++)
		free(use[i].nest);
	free(use);
}
