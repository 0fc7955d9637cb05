// SPDX-License-Identifier: MIT
/*
 * Regions: one for each tensor that outlives a run, and one arena for all that
 * do not, in which storage is reused as soon as its last reader is done.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

struct life {
	struct tensor *t;
	int first, last; /* sections, counted over all entries */
	uint64_t size, offset;
};

uint64_t tensor_size(const struct tensor *t)
{
	uint64_t n = (uint64_t)dtype_size(t->dtype);

	for (int d = 0; d < t->ndim; d++)
		n *= (uint64_t)t->dim[d];
	return n;
}

static int by_size(const void *a, const void *b)
{
	const struct life *x = a, *y = b;

	if (x->size != y->size)
		return x->size < y->size ? 1 : -1;
	return x->t->id - y->t->id;
}

/* Tensor t is used by sections from first to last. */
static void alive(struct life *life, struct tensor *t, int first, int last)
{
	struct life *l = &life[tensor_whole(t)->id];

	if (l->first < 0 || first < l->first)
		l->first = first;
	if (last > l->last)
		l->last = last;
}

/* Lifetimes within an entry point whose sections are numbered from `at` + 1 on; the number of its
 * last one. What a loop uses, and anything outside of it, or rows of it, is alive in all of the
 * loop: an iteration finds what the one before it left. */
static int entry_lives(struct backend *be, const struct module_entry *e, struct life *life, int at)
{
	int *section = xmalloc(sizeof(int) * (size_t)(e->num_nests + 1));
	/* The innermost loop that all uses are in, + 1; 0: there is none yet. Rows are of what is outside their loop. */
	int *loop_of = xcalloc((size_t)be->m->num_tensors + 1, sizeof(int));

	for (int k = 0, left = 0; k < e->num_nests; k++, left--) {
		if (!left)
			left = be->section[at++].num_nests;
		section[k] = at;
	}
	for (int k = 0; k < e->num_nests; k++) {
		const struct nest *n = e->nests[k];

		for (int i = 0; i < n->num_in + n->num_out; i++) {
			struct tensor *t = i < n->num_in ? n->in[i].tensor
							 : n->out[i - n->num_in].access.tensor;
			int *of = &loop_of[tensor_whole(t)->id], loop = n->loop;

			if (loop && tensor_whole(t) != tensor_storage(t))
				loop = e->loop[loop - 1].parent;
			*of = *of ? loop_around(e, *of - 1, loop) + 1 : loop + 1;
		}
	}
	for (int k = 0; k < e->num_nests; k++) {
		const struct nest *n = e->nests[k];

		for (int i = 0; i < n->num_in + n->num_out; i++) {
			struct tensor *t = i < n->num_in ? n->in[i].tensor
							 : n->out[i - n->num_in].access.tensor;
			int loop = loop_of[tensor_whole(t)->id] - 1, first = k, last = k;
			const struct nest *maker = be_maker(be, t);

			if (n->loop != loop)
				loop_nests(e, loop_below(e, n->loop, loop), k, &first, &last);
			if (!maker)
				alive(life, t, section[first], section[last]);
			for (int w = 0; maker && w < maker->num_in; w++) /* weights */
				alive(life, maker->in[w].tensor, section[k], section[k]);
		}
	}
	free(section);
	free(loop_of);
	return at;
}

static void put_in_arena(struct life *temp, int n, uint64_t *arena)
{
	*arena = 0;
	for (int i = 0; i < n; i++) { /* the largest first, at the lowest place that is free */
		uint64_t at = 0;
		bool moved = true;

		while (moved) {
			moved = false;
			for (int k = 0; k < i; k++) {
				if (temp[k].last < temp[i].first || temp[i].last < temp[k].first)
					continue;
				if (at < temp[k].offset + temp[k].size &&
				    temp[k].offset < at + temp[i].size) {
					at = temp[k].offset + temp[k].size;
					moved = true;
				}
			}
		}
		temp[i].offset = at;
		if (at + temp[i].size > *arena)
			*arena = at + temp[i].size;
	}
}

static int region_new(struct backend *be, const char *name, enum rdu_region_kind kind,
		      uint64_t size)
{
	struct rdu_file_region *r = &be->region[be->num_regions];

	snprintf(r->name, sizeof(r->name), "%.63s", name);
	r->kind = kind;
	r->size = size;
	r->align = 64;
	r->data = RDU_NO_DATA;
	return be->num_regions++;
}

static void region_data(struct backend *be, int region, const void *data, uint64_t bytes)
{
	uint64_t align = bytes >= 4096 ? 4096 : 64;
	uint64_t at = (be->data_size + align - 1) / align * align;
	uint64_t size = be->region[region].size; /* a little more than the tensor */

	be->piece = xroom(be->piece, be->num_pieces, &be->room_pieces, sizeof(*be->piece));
	be->piece[be->num_pieces++] = (struct lr_piece){ at, data, bytes };
	be->data_size = at + size;
	be->region[region].data = at;
}

int be_regions(struct backend *be)
{
	struct module *m = be->m;
	size_t n = (size_t)m->num_tensors + 1;
	struct life *life = xcalloc(n, sizeof(*life)), *temp = xcalloc(n, sizeof(*temp));
	int *kind = xmalloc(n * sizeof(int)), at = 0, num_temp = 0, r = 0;
	uint64_t arena;

	be->where = xcalloc(n, sizeof(*be->where));
	be->region = xcalloc(n + 1, sizeof(*be->region));
	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *t = m->tensors[i];

		life[i] = (struct life){ .t = t, .first = -1, .last = -1 };
		life[i].size = (tensor_size(t) + 63) / 64 * 64;
		if (!life[i].size)
			life[i].size = 64;
		kind[i] = t->kind;
		be->where[i].region = -1;
	}
	for (int i = 0; i < m->num_tensors; i++) { /* a result may be a view of a temporary */
		struct tensor *root = tensor_storage(m->tensors[i]);

		if (kind[root->id] == TENSOR_TEMP && m->tensors[i]->kind != TENSOR_TEMP)
			kind[root->id] = m->tensors[i]->kind;
	}
	for (int e = 0; e < m->num_entries; e++)
		at = entry_lives(be, &m->entries[e], life, at);
	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *t = m->tensors[i];
		static const enum rdu_region_kind of[] = {
			[TENSOR_INPUT] = RDU_REGION_INPUT,
			[TENSOR_OUTPUT] = RDU_REGION_OUTPUT,
			[TENSOR_WEIGHT] = RDU_REGION_WEIGHT,
			[TENSOR_STATE] = RDU_REGION_STATE,
		};
		int region;

		if (tensor_whole(t) != t)
			continue;
		if (kind[i] == TENSOR_TEMP) {
			bool kept = be->residence[i].resident && !be->residence[i].memory;

			if (life[i].first >= 0 && !kept)
				temp[num_temp++] = life[i];
			continue;
		}
		if (be->num_regions + 2 > RDU_MAX_REGIONS) {
			r = be_error(be,
				     "%s: more than %d tensors outlive a run, a program has at "
				     "most %d regions",
				     m->name, RDU_MAX_REGIONS - 2, RDU_MAX_REGIONS);
			break;
		}
		region = region_new(be, t->name, of[kind[i]], life[i].size);
		be->where[i] = (struct region_of){ region, 0, life[i].size, 0 };
		/* A region without contents begins as zeros. */
		if (t->data && (t->constant || !is_zeros(t->data, tensor_size(t))))
			region_data(be, region, t->data, tensor_size(t));
	}
	qsort(temp, (size_t)num_temp, sizeof(*temp), by_size);
	put_in_arena(temp, num_temp, &arena);
	if (num_temp) {
		int region = region_new(be, "temporaries", RDU_REGION_TEMP, arena);

		for (int i = 0; i < num_temp; i++)
			be->where[temp[i].t->id] =
				(struct region_of){ region, temp[i].offset, temp[i].size, 0 };
	}
	for (int i = 0; i < m->num_tensors; i++)
		if (m->tensors[i]->row_of) {
			struct tensor *t = m->tensors[i];

			be->where[i] = be->where[tensor_whole(t)->id];
			be->where[i].row = tensor_size(t);
			be->where[i].offset += (uint64_t)t->row * tensor_size(t);
		}
	if (be_prints(be, "regions"))
		for (int i = 0; i < m->num_tensors; i++) {
			const struct region_of *w = &be->where[tensor_storage(m->tensors[i])->id];

			if (w->region >= 0)
				fprintf(be_log(be), "regions: %-32s %s + %llu\n",
					m->tensors[i]->name, be->region[w->region].name,
					(unsigned long long)w->offset);
		}
	free(life);
	free(temp);
	free(kind);
	return r;
}
