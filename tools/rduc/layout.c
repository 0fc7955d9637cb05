// SPDX-License-Identifier: MIT
/*
 * Layout: between nests, the batch becomes the fastest dimension, so that the
 * lanes of a vector are samples and nothing has to be shuffled. A tensor that is
 * seen under several shapes moves only if all of them start with the batch. In front of windows the
 * rows of all channels lie together. What nests of no contraction read across may be turned later, when it is
 * known what stays in scratchpads (variants.c).
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"
#include "pipe.h"

#define LONG_ROW 4 /* vectors */

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
	for (int i = 0; i < be->num_batches; i++)
		if (be->batch[i] == extent)
			return true;
	return false;
}

void be_find_batches(struct backend *be)
{
	for (int i = 0; i < be->m->num_tensors; i++) {
		const struct tensor *t = be->m->tensors[i];

		if (t->kind != TENSOR_INPUT || !t->ndim || t->dim[0] < be->chip.lanes / 2 ||
		    is_batch(be, t->dim[0]) || has_inputs(be, t))
			continue;
		be->batch = xrealloc(be->batch, sizeof(*be->batch) * (size_t)(be->num_batches + 1));
		be->batch[be->num_batches++] = t->dim[0];
	}
}

int be_batch_dims(const struct backend *be, const struct tensor *t)
{
	if (is_batch(be, t->dim[0]))
		return 1;
	return t->ndim > 1 && t->dim[1] == be->chip.lanes && is_batch(be, t->dim[0] * t->dim[1])
		       ? 2
		       : 0;
}

/* The first dimension that a nest reads the input in windows along, but for the last one of more than
 * one element: that stays innermost. -1: none. */
static int window_dim(const struct nest *n, const struct access *a)
{
	int last = a->tensor->ndim - 1;

	while (last > 0 && a->tensor->dim[last] == 1)
		last--;
	for (int t = 0; t < last; t++) {
		int num = 0;

		for (int d = 0; d < n->ndim; d++)
			num += a->coef[t][d] && n->dim[d].extent > 1;
		if (num > 1)
			return t;
	}
	return -1;
}

/* Which dimension of a storage windows go along first; 0: it stays as it is. */
static int *find_windows(const struct backend *be, const bool *stay)
{
	int *first = xcalloc((size_t)be->m->num_tensors + 1, sizeof(int));

	for (int e = 0; e < be->m->num_entries; e++)
		for (int k = 0; k < be->m->entries[e].num_nests; k++) {
			const struct nest *n = be->m->entries[e].nests[k];

			for (int i = 0; i < n->num_in; i++) {
				const struct tensor *t = tensor_storage(n->in[i].tensor);
				int d = window_dim(n, &n->in[i]);

				if (!stay[t->id] && d > 0)
					first[t->id] = d;
			}
		}
	return first;
}

/* Which dimension of its nest alone an access runs over along dimension t of its tensor; -1: none. */
static int alone_along(const struct nest *n, const struct access *a, int t)
{
	int at = -1;

	for (int d = 0; d < n->ndim; d++)
		if (a->coef[t][d] && n->dim[d].extent > 1) {
			if (at >= 0 || n->dim[d].reduce)
				return -1;
			at = d;
		}
	return at;
}

/* What is made of such rows, row by row, lies so too, if its rows are long: one can be made, and
 * handed on, when the rows that it is made of are there. */
static void pass_on(const struct backend *be, const bool *stay, int *first)
{
	for (int e = 0; e < be->m->num_entries; e++)
		for (int k = 0; k < be->m->entries[e].num_nests; k++) {
			const struct nest *n = be->m->entries[e].nests[k];

			for (int i = 0; i < n->num_in * n->num_out; i++) {
				const struct access *in = &n->in[i % n->num_in];
				const struct access *out = &n->out[i / n->num_in].access;
				const struct tensor *t = tensor_storage(out->tensor);
				int d = first[tensor_storage(in->tensor)->id];

				if (!d || first[t->id] || stay[t->id] ||
				    t->ndim != in->tensor->ndim ||
				    t->dim[t->ndim - 1] < LONG_ROW * be->chip.lanes)
					continue;
				for (int q = 0; q < n->ndim; q++)
					if (in->coef[d][q] && alone_along(n, out, d) == q)
						first[t->id] = d;
			}
		}
}

/* The rows of all channels lie together: what a window reads next is near. */
static void gather_rows(struct backend *be)
{
	struct module *m = be->m;
	bool *stay = xcalloc((size_t)m->num_tensors + 1, sizeof(bool));
	int *first;

	for (int i = 0; i < m->num_tensors; i++) {
		const struct tensor *t = m->tensors[i], *root = tensor_storage(m->tensors[i]);

		if (t->kind != TENSOR_TEMP || t->update_of || t->data || t->row_of ||
		    t->ndim != root->ndim ||
		    memcmp(t->dim, root->dim, sizeof(t->dim[0]) * (size_t)t->ndim) ||
		    (t->ndim > 1 && t->dim[0] > 1 && t->stride[0] == 1) ||
		    be_batch_dims(be, t) == 2)
			stay[root->id] = true;
		if (t->row_of)
			stay[tensor_storage(t->row_of)->id] = true;
	}
	first = find_windows(be, stay);
	pass_on(be, stay, first);
	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *t = m->tensors[i];
		int d = first[tensor_storage(t)->id];
		int64_t behind;

		if (!d)
			continue;
		/* from [.., channels, rows, ..] to [.., rows, channels, ..] */
		behind = t->stride[d];
		t->stride[d - 1] = behind;
		t->stride[d] = behind * t->dim[d - 1];
		if (be_prints(be, "layout"))
			fprintf(be_log(be), "layout: %s: rows of all %lld channels together\n",
				t->name, (long long)t->dim[d - 1]);
	}
	free(stay);
	free(first);
}

void be_layout(struct backend *be)
{
	struct module *m = be->m;
	bool *stay = xcalloc((size_t)m->num_tensors + 1, sizeof(bool));

	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *t = m->tensors[i], *root = tensor_storage(t);

		if (t->kind != TENSOR_TEMP || root->kind != TENSOR_TEMP || t->update_of ||
		    t->data || t->row_of || t->ndim < 1 || !be_batch_dims(be, t) ||
		    be_batch_dims(be, t) != be_batch_dims(be, root) || t->dim[0] != root->dim[0])
			stay[root->id] = true;
		if (t->row_of) /* rows are row-major */
			stay[tensor_storage(t->row_of)->id] = true;
	}
	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *t = m->tensors[i];
		int64_t s = 1;
		bool move = !stay[tensor_storage(t)->id];

		int inner = move ? be_batch_dims(be, t) - 1
				 : -1; /* the samples of a vector, or of the batch */

		if (move) {
			t->stride[inner] = 1;
			s = t->dim[inner];
		}
		for (int d = t->ndim - 1; d >= 0; d--) {
			if (d == inner)
				continue;
			t->stride[d] = s;
			s *= t->dim[d];
		}
		if (move && t->ndim > 1 && be_prints(be, "layout"))
			fprintf(be_log(be), "layout: %s: batch of %lld innermost\n", t->name,
				(long long)t->dim[0]);
	}
	free(stay);
	if (be->level > 0)
		gather_rows(be);
}

/* ---- what is read across --------------------------------------------------------------------- */

/* The dimension that a nest goes along in the largest of what else it uses, if that is no smaller than half of what it
 * accesses there; of a contraction, which loads tiles along any, -1, as where there is none. */
static int goes_along(const struct backend *be, struct nest *n, const struct access *but)
{
	int64_t most = be_words(but->tensor) / 2;
	int in[2] = { -1, -1 }, at = -1;

	be_contraction(be, n, in);
	for (int i = 0; i < n->num_in + n->num_out; i++) {
		const struct access *a = be_access_of(&(struct nest_access){ n, i });
		int d = slice_along(n, a);

		if (i < n->num_in && (i == in[0] || i == in[1])) {
			if (a == but)
				return -1;
			continue;
		}
		if (d < 0 || a->tensor == but->tensor || be_words(a->tensor) < most)
			continue;
		most = be_words(a->tensor);
		at = d;
	}
	return at;
}

static bool is_row_major(const struct tensor *t)
{
	int64_t step = 1;

	for (int d = t->ndim - 1; d >= 0; d--) {
		if (t->dim[d] > 1 && t->stride[d] != step)
			return false;
		step *= t->dim[d];
	}
	return true;
}

/* How the nests of an entry use a storage. */
struct use {
	struct tensor *t; /* as all of them see it */
	int axis; /* that those which are no contraction go along; -1: there are none */
	bool stay; /* they go along different ones, or something else is in the way */
	double bytes; /* of bursts that are loaded or stored for one element each */
};

static void note_use(const struct backend *be, struct nest *n, const struct access *a, bool own,
		     struct use *u)
{
	int along = goes_along(be, n, a), axis = -1, size = dtype_size(a->tensor->dtype);

	u->stay |= !own || (u->t && u->t != a->tensor) || a->guarded || a->gather_in >= 0 ||
		   n->loop || n->group;
	u->t = a->tensor;
	if (along < 0)
		return;
	for (int k = 0; k < a->tensor->ndim; k++)
		if (a->coef[k][along] == 1)
			axis = k;
	u->stay |= axis < 0 || (u->axis >= 0 && u->axis != axis);
	u->axis = axis;
	if (own && slice_along(n, a) >= 0 && slice_along(n, a) != along &&
	    !residence_of(be, n, tensor_storage(a->tensor)))
		u->bytes += (double)be_words(a->tensor) * (be->chip.dram_burst - size);
}

/* May a temporary lie with this axis innermost? */
static bool may_turn(const struct backend *be, const struct tensor *storage, const struct use *u)
{
	const struct tensor *t = u->t;

	return t && !u->stay && u->axis >= 0 && u->bytes > 0 && storage->kind == TENSOR_TEMP &&
	       t->kind == TENSOR_TEMP && !storage->data && !t->data && !t->update_of &&
	       !t->row_of && is_row_major(t) && t->stride[u->axis] != 1 &&
	       t->dim[u->axis] * dtype_size(t->dtype) >= be->chip.dram_burst;
}

int *be_across(const struct backend *be, int entry, double least)
{
	struct module *m = be->m;
	struct use *u = xcalloc((size_t)m->num_tensors + 1, sizeof(*u));
	int *axis = xcalloc((size_t)m->num_tensors + 1, sizeof(*axis));
	double bytes = 0;

	for (int i = 0; i < m->num_tensors; i++)
		u[i].axis = -1;
	for (int e = 0; e < m->num_entries; e++)
		for (int k = 0; k < m->entries[e].num_nests; k++) {
			struct nest *n = m->entries[e].nests[k];

			for (int i = 0; i < n->num_in + n->num_out; i++) {
				const struct access *a =
					be_access_of(&(struct nest_access){ n, i });

				note_use(be, n, a, e == entry, &u[tensor_whole(a->tensor)->id]);
			}
		}
	for (int i = 0; i < m->num_tensors; i++)
		if (may_turn(be, m->tensors[i], &u[i])) {
			axis[u[i].t->id] = u[i].axis + 1;
			bytes += u[i].bytes;
		}
	free(u);
	if (bytes >= least * be_bytes_per_cycle(&be->chip))
		return axis;
	free(axis);
	return NULL;
}

void be_turn(struct backend *be, const int *axis, int num)
{
	for (int i = 0; i < num; i++) {
		struct tensor *t = be->m->tensors[i];
		int in = axis[i] - 1;
		int64_t step;

		if (in < 0)
			continue;
		t->stride[in] = 1;
		step = t->dim[in];
		for (int d = t->ndim - 1; d >= 0; d--)
			if (d != in) {
				t->stride[d] = step;
				step *= t->dim[d];
			}
		if (be_prints(be, "layout"))
			fprintf(be_log(be), "layout: %s: dimension %d innermost\n", t->name, in);
	}
}
