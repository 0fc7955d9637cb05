// SPDX-License-Identifier: MIT
/*
 * Copies: a nest that only brings elements to other places (transpose, split, slice, expand)
 * goes; those that read its result read what it read, where it read it.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

/* A copy, and which of its dimensions each dimension of its result runs over (-1: none). */
struct copy {
	const struct nest *n;
	const struct access *from;
	struct tensor *to; /* as the copy sees it */
	int dim_of[RDU_MAX_DIMS];
	bool whole[RDU_MAX_DIMS]; /* guards of the result's dimension are those of the source's */
};

/* Does a nest only copy, into all of its result, each dimension of it along one of its own? */
static bool is_copy(const struct nest *n, struct copy *c)
{
	const struct access *a = n->in, *w = &n->out[0].access;
	const struct tensor *t = w->tensor;
	bool used[NEST_MAX_DIMS] = { 0 };

	if (n->num_in != 1 || n->num_out != 1 || n->reduce != REDUCE_NONE || n->out[0].add ||
	    n->expr[n->out[0].expr].kind != EXPR_IN || a->guarded || a->gather_in >= 0 ||
	    w->guarded || w->gather_in >= 0 || t->kind != TENSOR_TEMP || t->update_of ||
	    t->row_of || t->data)
		return false;
	if (a->tensor->dtype != t->dtype &&
	    !(!dtype_is_int(a->tensor->dtype) && t->dtype == RDU_DT_F32))
		return false; /* storing it changes it */
	*c = (struct copy){ .n = n, .from = a, .to = w->tensor };
	for (int k = 0; k < t->ndim; k++) {
		int at = -1;

		for (int d = 0; d < n->ndim; d++) {
			if (!w->coef[k][d] || n->dim[d].extent == 1)
				continue;
			if (at >= 0 || used[d] || w->coef[k][d] != 1)
				return false;
			at = d;
		}
		if (w->offset[k] || t->dim[k] != (at < 0 ? 1 : n->dim[at].extent))
			return false;
		if (at >= 0)
			used[at] = true;
		c->dim_of[k] = at;
	}
	for (int d = 0; d < n->ndim; d++)
		if (n->dim[d].extent > 1 && !used[d])
			return false;
	/* Guards: where a dimension of the result is one of the source, and just as long. */
	for (int k = 0; k < t->ndim; k++) {
		int times = 0;

		for (int j = 0; j < a->tensor->ndim && c->dim_of[k] >= 0; j++) {
			int others = 0;

			if (!a->coef[j][c->dim_of[k]])
				continue;
			times++;
			for (int d = 0; d < n->ndim; d++)
				others += a->coef[j][d] && n->dim[d].extent > 1;
			c->whole[k] = a->coef[j][c->dim_of[k]] == 1 && !a->offset[j] &&
				      others == 1 && a->tensor->dim[j] == t->dim[k];
		}
		c->whole[k] = c->whole[k] && times == 1;
	}
	return true;
}

/* Off-chip memory gives bursts: elements that lie side by side in the source must still be wanted
 * together, for as long as a vector. */
static bool keeps_bursts(const struct copy *c, int lanes)
{
	const struct access *a = c->from;
	int last = a->tensor->ndim - 1;

	while (last > 0 && a->tensor->dim[last] == 1)
		last--;
	if (last < 0 || a->tensor->dim[last] < 2)
		return true;
	for (int d = 0; d < c->n->ndim; d++)
		if (a->coef[last][d] == 1 &&
		    (c->n->dim[d].extent >= lanes || c->n->dim[d].extent == a->tensor->dim[last]))
			return true;
	return false;
}

/* The result's index along its dimension k, as sums over the dimensions of the nest that reads it:
 * the reader may see it in another shape, whose dimensions make up those of the result one by
 * one. */
struct position {
	int64_t coef[NEST_MAX_DIMS], off;
	bool guarded; /* it may leave the dimension */
};

static bool positions(const struct copy *c, const struct nest *n, const struct access *a,
		      struct position *at)
{
	const struct tensor *t = c->to, *v = a->tensor;
	int k = 0;

	memset(at, 0, sizeof(*at) * RDU_MAX_DIMS);
	for (int d = 0; d < t->ndim; d++) {
		int64_t left = t->dim[d];
		int parts = 0;

		while (left > 1) { /* dimensions of the view, the outermost first */
			if (k == v->ndim || left % v->dim[k])
				return false;
			left /= v->dim[k];
			for (int i = 0; i < n->ndim; i++)
				at[d].coef[i] += left * a->coef[k][i];
			at[d].off += left * a->offset[k];
			parts += v->dim[k++] > 1;
		}
		if (a->guarded && (parts > 1 || (parts && !c->whole[d])))
			return false;
		at[d].guarded = parts;
	}
	while (k < v->ndim && v->dim[k] == 1)
		k++;
	/* a guard of a dimension of 1 is not of the source's */
	for (int i = 0; a->guarded && i < v->ndim; i++)
		for (int d = 0; d < n->ndim && v->dim[i] == 1; d++)
			if (a->coef[i][d] || a->offset[i])
				return false;
	return k == v->ndim;
}

static bool fits32(int64_t v)
{
	return v >= INT32_MIN && v <= INT32_MAX;
}

/* Access of nest n to the copy's result, brought to the source. */
static bool redirect(const struct copy *c, const struct nest *n, const struct access *a,
		     struct access *to)
{
	const struct access *from = c->from;
	struct position at[RDU_MAX_DIMS];

	if (a->gather_in >= 0 || !positions(c, n, a, at))
		return false;
	*to = *from;
	memset(to->coef, 0, sizeof(to->coef));
	to->guarded = a->guarded;
	to->pad = a->pad;
	to->gather_in = -1;
	for (int j = 0; j < from->tensor->ndim; j++) {
		int64_t off = from->offset[j];

		for (int k = 0; k < c->to->ndim; k++) {
			int64_t f = c->dim_of[k] < 0 ? 0 : from->coef[j][c->dim_of[k]];

			if (!f)
				continue;
			off += f * at[k].off;
			for (int i = 0; i < n->ndim; i++) {
				int64_t s = to->coef[j][i] + f * at[k].coef[i];

				if (!fits32(s))
					return false;
				to->coef[j][i] = (int32_t)s;
			}
		}
		if (!fits32(off))
			return false;
		to->offset[j] = (int32_t)off;
	}
	return true;
}

/* Who uses a storage: nests of one entry point, by number. */
struct users {
	int num_readers, room_readers, *reader; /* in no order; some were readers before */
	int num_writers, room_writers, *writer; /* in their order */
	bool fixed; /* outlives the run, or is used by several entry points */
};

static void find_users(struct users *all, const struct module *m, const struct module_entry *e)
{
	for (int i = 0; i < m->num_tensors; i++)
		all[i].num_readers = all[i].num_writers = 0;
	for (int k = 0; k < e->num_nests; k++) {
		const struct nest *n = e->nests[k];

		for (int i = 0; i < n->num_in; i++) {
			struct users *u = &all[tensor_storage(n->in[i].tensor)->id];

			u->reader = xroom(u->reader, u->num_readers, &u->room_readers, sizeof(int));
			u->reader[u->num_readers++] = k;
		}
		for (int i = 0; i < n->num_out; i++) {
			struct users *u = &all[tensor_storage(n->out[i].access.tensor)->id];

			u->writer = xroom(u->writer, u->num_writers, &u->room_writers, sizeof(int));
			u->writer[u->num_writers++] = k;
			u = &all[tensor_whole(n->out[i].access.tensor)->id];
			if (u == &all[tensor_storage(n->out[i].access.tensor)->id])
				continue; /* else a row of it is written */
			u->writer = xroom(u->writer, u->num_writers, &u->room_writers, sizeof(int));
			u->writer[u->num_writers++] = k;
		}
	}
}

static void find_fixed(struct users *all, const struct module *m)
{
	int *entry = xmalloc(sizeof(int) * (size_t)(m->num_tensors + 1));

	for (int i = 0; i < m->num_tensors; i++) {
		const struct tensor *v = m->tensors[i], *t = tensor_storage(m->tensors[i]);

		entry[i] = -1;
		if (v->kind != TENSOR_TEMP || v->update_of || v->row_of || v->dtype != t->dtype)
			all[t->id].fixed = true;
		if (v->row_of) /* who reads its rows would not be found */
			all[tensor_whole(m->tensors[i])->id].fixed = true;
	}
	for (int e = 0; e < m->num_entries; e++)
		for (int k = 0; k < m->entries[e].num_nests; k++) {
			const struct nest *n = m->entries[e].nests[k];

			for (int i = 0; i < n->num_in + n->num_out; i++) {
				int id =
					tensor_storage(
						i < n->num_in ? n->in[i].tensor
							      : n->out[i - n->num_in].access.tensor)
						->id;

				all[id].fixed |= entry[id] >= 0 && entry[id] != e;
				entry[id] = e;
			}
		}
	free(entry);
}

/* Is a storage written by nests from first to last? */
static bool written(const struct users *u, int first, int last)
{
	for (int i = 0; i < u->num_writers; i++)
		if (u->writer[i] >= first && u->writer[i] <= last)
			return true;
	return false;
}

/* Brings all that read the copy of nest number k to its source. False: not all of them can be,
 * and nothing has changed. */
static bool redirect_all(struct module_entry *e, int k, const struct copy *c, struct users *all)
{
	const struct tensor *root = tensor_storage(c->to);
	struct users *to = &all[root->id];
	struct users *source = &all[tensor_storage(c->from->tensor)->id];
	struct access a;

	if (to->fixed || to->num_writers > 1)
		return false;
	for (int change = 0; change < 2; change++)
		for (int i = 0; i < to->num_readers; i++) {
			struct nest *n = e->nests[to->reader[i]];

			if (!change && (to->reader[i] < k || n->loop != e->nests[k]->loop ||
					written(source, k, to->reader[i])))
				return false;
			for (int j = 0; j < n->num_in; j++) {
				if (tensor_storage(n->in[j].tensor) != root)
					continue;
				if (!redirect(c, n, &n->in[j], &a))
					return false;
				if (change)
					n->in[j] = a;
			}
			if (change) {
				source->reader = xroom(source->reader, source->num_readers,
						       &source->room_readers, sizeof(int));
				source->reader[source->num_readers++] = to->reader[i];
			}
		}
	return true;
}

void be_copies(struct backend *be)
{
	struct module *m = be->m;
	struct users *all = xcalloc((size_t)m->num_tensors + 1, sizeof(*all));

	find_fixed(all, m);
	for (int i = 0; i < m->num_entries; i++) {
		struct module_entry *e = &m->entries[i];
		int num = 0;

		find_users(all, m, e);
		for (int k = 0; k < e->num_nests; k++) {
			struct nest *n = e->nests[k];
			struct copy c;

			if (!is_copy(n, &c) || !keeps_bursts(&c, (int)be->chip.lanes) ||
			    !redirect_all(e, k, &c, all)) {
				e->nests[num++] = n;
				continue;
			}
			if (be_prints(be, "copies"))
				fprintf(be_log(be), "copies: %s: its readers read %s\n", n->name,
					c.from->tensor->name);
			free(n);
		}
		e->num_nests = num;
	}
	for (int i = 0; i < m->num_tensors; i++) {
		free(all[i].reader);
		free(all[i].writer);
	}
	free(all);
}
