// SPDX-License-Identifier: MIT
/*
 * Concatenations: a temporary that several nests make parts of, side by side along an axis, gets a dimension for
 * them, which is its first: [4, 512, 2304] of three becomes [3, 4, 512, 768]. So each part of it that stays in a
 * scratchpad (resident.c) has one writer. Likewise one that one nest makes and others take a part each of: who reads
 * one of them asks the scratchpads of the others for nothing.
 */
#include <stdlib.h>
#include <string.h>
#include "mem.h"
#include "pipe.h"

#define MOST_PARTS 63
#define LONG_ROW 16 /* vectors: of what one nest makes, so much lies together in memory at least */

/* What writes and reads a storage. */
struct use {
	int entry, writers, readers;
	struct tensor *shape; /* under which all do */
	bool unfit;
};

/* Does an access go along axis k as a window does, by several dimensions none of which is inside another? */
static bool reads_windows(const struct nest *n, const struct access *a, int k)
{
	for (int d = 0; d < n->ndim; d++) {
		int64_t c = llabs(a->coef[k][d]), inside = 0;

		if (!c || n->dim[d].extent < 2)
			continue;
		for (int q = 0; q < n->ndim; q++) {
			int64_t other = llabs(a->coef[k][q]);

			if (q != d && n->dim[q].extent > 1 && other <= c)
				inside += other * (n->dim[q].extent - 1);
		}
		if (inside >= c)
			return true;
	}
	return false;
}

static void look_at(struct use *use, int entry, const struct nest *n, const struct access *a,
		    bool write)
{
	const struct tensor *t = a->tensor, *root = tensor_storage(a->tensor);
	struct use *u = &use[root->id];

	if (!u->shape) {
		u->shape = a->tensor;
		u->entry = entry;
	}
	*(write ? &u->writers : &u->readers) += 1;
	u->unfit |= u->entry != entry || n->loop || a->guarded || a->gather_in >= 0 ||
		    t->kind != TENSOR_TEMP || root->kind != TENSOR_TEMP || t->update_of ||
		    t->row_of || t->data || t->packed.table || t->dtype != root->dtype ||
		    t->ndim != u->shape->ndim || t->ndim == RDU_MAX_DIMS ||
		    memcmp(t->dim, u->shape->dim, sizeof(t->dim[0]) * (size_t)t->ndim) != 0;
	for (int k = 0; k < t->ndim && !write; k++) /* windows go from part to part */
		u->unfit |= reads_windows(n, a, k);
}

static struct use *find_uses(const struct backend *be)
{
	struct use *use = xcalloc((size_t)be->m->num_tensors + 1, sizeof(*use));

	for (int e = 0; e < be->m->num_entries; e++)
		for (int k = 0; k < be->m->entries[e].num_nests; k++) {
			const struct nest *n = be->m->entries[e].nests[k];

			for (int i = 0; i < n->num_in; i++)
				look_at(use, e, n, &n->in[i], false);
			for (int i = 0; i < n->num_out; i++) {
				look_at(use, e, n, &n->out[i].access, true);
				use[tensor_storage(n->out[i].access.tensor)->id].unfit |=
					n->out[i].add;
			}
		}
	return use;
}

/* A new dimension, in front of all, says which part along dimension k an access is in. */
struct split {
	int k;
	struct tensor *there, *first; /* with the new dimension in front of k, and of all */
};

/* Does an access stay in one part of so many positions along axis k? Then *lo and *hi: from where to where. */
static bool stays_in_part(const struct nest *n, const struct access *a, int k, int64_t part,
			  int64_t *lo, int64_t *hi)
{
	pipe_range_of(n, a, k, lo, hi);
	return *lo >= 0 && *lo / part == *hi / part;
}

/* False: the access does not stay in a part, or go through all of them. */
static bool split_access(struct nest *n, int i, const struct split *s)
{
	struct access *a = i < n->num_in ? &n->in[i] : &n->out[i - n->num_in].access, r = *a;
	int64_t part = s->there->dim[s->k + 1], lo, hi;
	int rest = a->tensor->ndim - s->k;

	if (!stays_in_part(n, a, s->k, part, &lo, &hi)) {
		if (!be_refine(n, i, s->there))
			return false;
		r = *a;
	} else {
		memmove(&r.coef[s->k + 1], &a->coef[s->k], sizeof(r.coef[0]) * (size_t)rest);
		memmove(&r.offset[s->k + 1], &a->offset[s->k], sizeof(r.offset[0]) * (size_t)rest);
		memset(r.coef[s->k], 0, sizeof(r.coef[0]));
		r.offset[s->k] = (int32_t)(lo / part);
		r.offset[s->k + 1] -= (int32_t)(lo / part * part);
	}
	*a = r;
	memmove(&a->coef[1], &r.coef[0], sizeof(r.coef[0]) * (size_t)s->k);
	memmove(&a->offset[1], &r.offset[0], sizeof(r.offset[0]) * (size_t)s->k);
	memcpy(a->coef[0], r.coef[s->k], sizeof(r.coef[0]));
	a->offset[0] = r.offset[s->k];
	a->tensor = s->first;
	return true;
}

/* All nests of an entry use the new tensors instead of a storage; do_it false: could they? */
static bool split_all(struct module_entry *e, const struct tensor *storage, const struct split *s,
		      bool do_it)
{
	uint64_t written = 0;

	for (int k = 0; k < e->num_nests; k++) {
		struct nest copy = *e->nests[k], *n = do_it ? e->nests[k] : &copy;

		for (int i = 0; i < n->num_in + n->num_out; i++) {
			const struct access *a =
				i < n->num_in ? &n->in[i] : &n->out[i - n->num_in].access;

			if (tensor_storage(a->tensor) != storage)
				continue;
			if (!split_access(n, i, s))
				return false;
			if (i < n->num_in)
				continue;
			if (written >> a->offset[0] & 1) /* two nests make this part together */
				return false;
			written |= 1ull << a->offset[0];
		}
	}
	return true;
}

/* A tensor of the shape of t with dimension k in so many parts, which are counted by a dimension in front of
 * number `at`. */
static struct tensor *with_parts(struct backend *be, const struct tensor *t, int k, int parts,
				 int at)
{
	int64_t dim[RDU_MAX_DIMS];
	char name[80];

	memcpy(dim, t->dim, sizeof(dim));
	dim[k] /= parts;
	memmove(&dim[at + 1], &dim[at], sizeof(*dim) * (size_t)(t->ndim - at));
	dim[at] = parts;
	snprintf(name, sizeof(name), "%.60s.parts%d", t->name, be->m->num_tensors);
	return module_tensor(be->m, name, TENSOR_TEMP, t->dtype, t->ndim + 1, dim);
}

/* Do all that read a storage each stay in one of so many parts along axis k? */
static bool readers_stay(const struct module_entry *e, const struct tensor *storage, int k,
			 int64_t parts)
{
	int64_t lo, hi;

	for (int q = 0; q < e->num_nests; q++)
		for (int i = 0; i < e->nests[q]->num_in; i++) {
			const struct access *a = &e->nests[q]->in[i];

			if (tensor_storage(a->tensor) == storage &&
			    !stays_in_part(e->nests[q], a, k, a->tensor->dim[k] / parts, &lo, &hi))
				return false;
		}
	return true;
}

/* How many parts a tensor has along axis k: as many as nests make, or, if one makes all of it, as its readers each
 * take one of. 1: it has none. */
static int count_parts(const struct module_entry *e, const struct tensor *storage,
		       const struct use *u, int k)
{
	int parts = u->writers;

	if (parts > 1)
		return u->shape->dim[k] % parts ? 1 : parts;
	for (parts = u->readers < MOST_PARTS ? u->readers : MOST_PARTS; parts > 1; parts--)
		if (u->shape->dim[k] % parts == 0 && readers_stay(e, storage, k, parts))
			break;
	return parts;
}

static void split(struct backend *be, const struct tensor *storage, const struct use *u)
{
	struct module_entry *e = &be->m->entries[u->entry];
	const struct tensor *t = u->shape;
	int64_t row = 1;

	for (int k = t->ndim - 1; k >= 0; k--) {
		struct split s = { .k = k };
		int parts = count_parts(e, storage, u, k);

		row *= t->dim[k];
		if (parts < 2 || row / parts < LONG_ROW * be->chip.lanes)
			continue;
		s.there = with_parts(be, t, k, parts, k);
		s.first = with_parts(be, t, k, parts, 0);
		if (!split_all(e, storage, &s, false))
			continue;
		split_all(e, storage, &s, true);
		if (be_prints(be, "shapes"))
			fprintf(be_log(be), "shapes: %s: %d parts\n", s.first->name, parts);
		return;
	}
}

void be_split_concatenations(struct backend *be)
{
	struct use *use = find_uses(be);
	int num = be->m->num_tensors;

	for (int i = 0; i < num; i++)
		if (use[i].writers > 0 && use[i].writers <= MOST_PARTS && !use[i].unfit)
			split(be, be->m->tensors[i], &use[i]);
	free(use);
}
