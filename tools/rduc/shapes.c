// SPDX-License-Identifier: MIT
/*
 * Shapes: a storage that is seen under several shapes is used under one, the finest of them:
 * 2048 x 768 and 4 x 512 x 768 become 4 x 512 x 768, and a nest that runs over the 2048 runs over
 * 4 and 512. Passes that compare accesses (copies, fuse, resident) then see that they are the same.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

/* Where the dimensions of a shape begin in a finer one of the same elements: first[k] to
 * first[k + 1]. False: it is not finer. */
static bool refines(const struct tensor *fine, const struct tensor *t, int *first)
{
	int f = 0;

	for (int k = 0; k < t->ndim; k++) {
		int64_t left = t->dim[k];

		first[k] = f;
		f += left == 1 && f < fine->ndim && fine->dim[f] == 1; /* its place */
		while (left > 1) {
			if (f == fine->ndim || left % fine->dim[f])
				return false;
			left /= fine->dim[f++];
		}
	}
	first[t->ndim] = f;
	while (f < fine->ndim && fine->dim[f] == 1)
		f++;
	return f == fine->ndim;
}

static bool same_shape(const struct tensor *a, const struct tensor *b)
{
	return a->ndim == b->ndim && !memcmp(a->dim, b->dim, sizeof(a->dim[0]) * (size_t)a->ndim);
}

/* Dimensions that tell elements apart. */
static int real_dims(const struct tensor *t)
{
	int n = 0;

	for (int k = 0; k < t->ndim; k++)
		n += t->dim[k] > 1;
	return n;
}

/* The finest shape of each storage, by id; NULL where there is none, or only one. */
static struct tensor **find_finest(const struct module *m)
{
	struct tensor **finest = xcalloc((size_t)m->num_tensors + 1, sizeof(*finest));
	bool *several = xcalloc((size_t)m->num_tensors + 1, sizeof(bool));
	int first[RDU_MAX_DIMS + 1];

	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *v = m->tensors[i], *t = tensor_storage(v);

		several[t->id] |= !same_shape(v, t);
		if (v->update_of || v->kind != TENSOR_TEMP || v->dtype != t->dtype)
			continue;
		if (!finest[t->id] || real_dims(v) > real_dims(finest[t->id]))
			finest[t->id] = v;
	}
	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *v = m->tensors[i], *t = tensor_storage(v);

		if (finest[t->id] && (!several[t->id] || t->kind != TENSOR_TEMP || t->update_of ||
				      !refines(finest[t->id], v, first)))
			finest[t->id] = NULL;
	}
	free(several);
	return finest;
}

/* The dimension of a nest whose steps are `coef` elements of tensor dimension k; -1: none. */
static int with_coef(const struct nest *n, const struct access *a, int k, int64_t coef)
{
	for (int d = 0; d < n->ndim; d++)
		if (a->coef[k][d] == coef && n->dim[d].extent > 1)
			return d;
	return -1;
}

/* Dimension k of an access, spread over dimensions first to last - 1 of a finer shape, with the
 * nest's dimensions cut where that needs it. The nest's must run over all of k, step by step, and no other moves
 * along it: a window's would go on from one row of the finer shape to the next. */
static bool spread(struct nest *n, const struct access *a, int k, const struct tensor *to,
		   int first, int last, struct access *r)
{
	int64_t coef = 1; /* of the next dimension of the nest, in elements of k */
	bool spread_out[NEST_MAX_DIMS] = { false };

	if (a->offset[k])
		return false;
	for (int f = last - 1; f >= first; f--) {
		int64_t done = 1;

		while (done < to->dim[f]) {
			int64_t left = to->dim[f] / done;
			int d = with_coef(n, a, k, coef);

			if (d < 0)
				return false;
			if (n->dim[d].extent > left) {
				if (n->dim[d].extent % left || nest_counts(n, d) ||
				    n->ndim == NEST_MAX_DIMS)
					return false;
				nest_cut_dim(n, d, left);
				d = n->ndim - 1;
			} else if (left % n->dim[d].extent) {
				return false;
			}
			for (int i = 0; i < a->tensor->ndim; i++)
				if (i != k && a->coef[i][d])
					return false;
			r->coef[f][d] = (int32_t)done;
			spread_out[d] = true;
			done *= n->dim[d].extent;
			coef *= n->dim[d].extent;
		}
	}
	for (int d = 0; d < n->ndim; d++)
		if (a->coef[k][d] && n->dim[d].extent > 1 && !spread_out[d])
			return false;
	return coef == a->tensor->dim[k];
}

bool be_refine(struct nest *nest, int i, struct tensor *to)
{
	struct nest n = *nest;
	struct access *a = i < n.num_in ? &n.in[i] : &n.out[i - n.num_in].access, r = *a;
	int first[RDU_MAX_DIMS + 1];
	bool whole[RDU_MAX_DIMS];

	if (a->gather_in >= 0 || !refines(to, a->tensor, first))
		return false;
	memset(r.coef, 0, sizeof(r.coef));
	memset(r.offset, 0, sizeof(r.offset));
	r.tensor = to;
	for (int k = 0; k < a->tensor->ndim; k++) {
		int parts = 0;

		for (int f = first[k]; f < first[k + 1]; f++)
			parts += to->dim[f] > 1;
		whole[k] = parts < 2;
		if (a->guarded && a->tensor->dim[k] == 1 && first[k] == first[k + 1])
			return false; /* it may lie beside the only place there is */
		if (!whole[k] && !spread(&n, a, k, to, first[k], first[k + 1], &r))
			return false;
	}
	for (int k = 0; k < a->tensor->ndim; k++)
		for (int f = first[k]; f < first[k + 1] && whole[k]; f++)
			if (to->dim[f] > 1 || a->tensor->dim[k] == 1) {
				memcpy(r.coef[f], a->coef[k], sizeof(r.coef[f]));
				r.offset[f] = a->offset[k];
			}
	*a = r;
	*nest = n;
	return true;
}

/* How many of a nest's dimensions make up dimension k of an access, one inside the other; their extents,
 * innermost first. 0: they do not. */
static int made_of(const struct nest *n, const struct access *a, int k, int64_t *extent)
{
	int64_t coef = 1;
	int num = 0;

	while (coef < a->tensor->dim[k]) {
		int d = with_coef(n, a, k, coef);

		if (d < 0 || num == NEST_MAX_DIMS)
			return 0;
		extent[num++] = n->dim[d].extent;
		coef *= n->dim[d].extent;
	}
	return coef == a->tensor->dim[k] ? num : 0;
}

int be_shape_of(const struct nest *n, const struct access *a, int64_t *dim)
{
	int num = 0;

	for (int k = 0; k < a->tensor->ndim; k++) {
		int64_t extent[NEST_MAX_DIMS];
		int parts = made_of(n, a, k, extent);

		if (num + (parts ? parts : 1) + a->tensor->ndim - k - 1 > RDU_MAX_DIMS)
			return 0;
		for (int i = parts - 1; i >= 0; i--)
			dim[num++] = extent[i];
		if (!parts)
			dim[num++] = a->tensor->dim[k];
	}
	return num;
}

void be_shapes(struct backend *be)
{
	struct tensor **finest = find_finest(be->m);

	for (int e = 0; e < be->m->num_entries; e++)
		for (int k = 0; k < be->m->entries[e].num_nests; k++) {
			struct nest *n = be->m->entries[e].nests[k];

			for (int i = 0; i < n->num_in + n->num_out; i++) {
				struct tensor *t = i < n->num_in
							   ? n->in[i].tensor
							   : n->out[i - n->num_in].access.tensor;
				struct tensor *to = finest[tensor_storage(t)->id];

				if (to && to != t && be_refine(n, i, to) && be_prints(be, "shapes"))
					fprintf(be_log(be), "shapes: %s: %s\n", n->name, to->name);
			}
		}
	free(finest);
}
