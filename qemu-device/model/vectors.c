// SPDX-License-Identifier: MIT
/*
 * Tables of where the vectors of an access are. Many windows, rows cut short by predicates and
 * merges of such reads go by a few vectors between two turns of their loops: to find each turn
 * anew costs more than to move the words. What does not depend on the activation is found once,
 * by the second one that asks for it, and kept with the plan.
 */
#include <stdlib.h>
#include <string.h>
#include "execute.h"

#define MOST_VECTORS (1u << 15) /* of a table */
#define MOST_ROOM (1u << 20) /* vectors of a section's tables: about 12 MiB */
#define LONG_RUN 16 /* vectors on one stride without predicates: these need no table */

struct rdu_vector_plan {
	atomic_uint uses;
	_Atomic(struct vector_table *) table;
	uint32_t num, num_leaves; /* vectors of an activation */
	uint32_t activations; /* 1: they are all alike */
	const struct access_plan *leaf[];
};

/* Do the predicates differ between activations? */
static bool differs(const struct access_plan *a)
{
	for (uint32_t k = 0; k < a->num_preds; k++)
		for (uint32_t i = 0; i < a->num_outer; i++)
			if (a->outer_pred[k][i])
				return true;
	return false;
}

static bool add_reach(int64_t *reach, uint64_t *n, int64_t stride, uint64_t trip)
{
	*n *= trip;
	if (*n > MOST_VECTORS)
		return false;
	*reach += llabs(stride) * (int64_t)(trip - 1);
	return *reach <= INT32_MAX;
}

/* Vectors of an activation, or of all of them; 0: a table cannot tell where they are. */
static uint64_t vectors_of(const struct access_plan *a, bool all)
{
	const struct access_loop *outer = rdu_outer_loops(a);
	int64_t reach = 0;
	uint64_t n = 1;

	if (!rdu_format_holds_all(a->format) || a->lane_stride != 1 ||
	    a->flags & (RDU_ACCESS_GATHER | RDU_ACCESS_ADD))
		return 0;
	for (uint32_t i = 0; i < a->num; i++)
		if (!add_reach(&reach, &n, a->loop[i].stride, a->loop[i].trip))
			return 0;
	for (uint32_t i = 0; all && i < a->num_outer; i++)
		if (!add_reach(&reach, &n, outer[i].stride, outer[i].trip))
			return 0;
	return n;
}

static int plan_vectors(struct rdu_plan *plan, uint32_t program, uint64_t *room)
{
	struct program_plan *pp = &plan->programs[program];
	struct merge_plan *m = pp->merge;
	uint32_t leaves = m ? m->num : 1;
	struct rdu_vector_plan *v;
	bool all = false, worth = m || pp->access.num_preds;
	uint64_t n = 0, inner = 1;

	if (!m && !pp->access.cfg)
		return 0;
	v = calloc(1, sizeof(*v) + leaves * sizeof(v->leaf[0]));
	if (!v)
		return -1;
	for (uint32_t i = 0; i < leaves; i++) {
		v->leaf[i] = m ? &plan->programs[m->leaf[i]].access : &pp->access;
		all |= differs(v->leaf[i]);
	}
	for (uint32_t i = 0; i < leaves; i++) {
		n = vectors_of(v->leaf[i], all);
		/* What XOR of one vector and the others' pads comes to must be the vector. */
		if (!n || n > *room || i > UINT16_MAX || (m && m->value != v->leaf[i]->pad))
			goto without;
	}
	for (uint32_t i = 0; i < v->leaf[0]->num; i++)
		inner *= v->leaf[0]->loop[i].trip;
	if (!worth &&
	    (v->leaf[0]->num == 1 || v->leaf[0]->loop[v->leaf[0]->num - 1].trip >= LONG_RUN))
		goto without;
	v->num = (uint32_t)inner;
	v->activations = (uint32_t)(n / inner);
	v->num_leaves = leaves;
	*room -= n;
	*(m ? &m->vectors : &pp->access.vectors) = v;
	return 0;
without:
	free(v);
	return 0;
}

int rdu_plan_vectors(struct rdu_plan *plan)
{
	uint64_t room = MOST_ROOM;
	uint8_t *in_merge = calloc(plan->num_programs + 1, 1);
	int ret = in_merge ? 0 : -1;

	for (uint32_t i = 0; i < plan->num_programs && !ret; i++) {
		const struct merge_plan *m = plan->programs[i].merge;

		for (uint32_t k = 0; m && k < m->num; k++)
			in_merge[m->leaf[k]] = 1;
		if (m)
			ret = plan_vectors(plan, i, &room);
	}
	for (uint32_t i = 0; i < plan->num_programs && !ret; i++)
		if (!plan->programs[i].merge && !in_merge[i])
			ret = plan_vectors(plan, i, &room);
	free(in_merge);
	return ret;
}

/* Counts the parts of each vector in table->first[vector + 1], or puts them in place there. */
static void add_parts(const struct rdu_vector_plan *v, struct vector_table *table, uint32_t leaf,
		      uint32_t activation, bool count)
{
	struct access_run r;
	uint32_t *first = table->first + (size_t)activation * v->num;
	uint64_t at = 0;

	rdu_access_place(&r, v->leaf[leaf], activation);
	if (v->activations == 1)
		r.addr = 0;
	else
		r.addr -= v->leaf[leaf]->base;
	for (;;) {
		int64_t from, to;

		at += rdu_access_skip_dead(&r, v->num - at);
		if (at == v->num)
			break;
		rdu_access_live(&r, &from, &to);
		if (from < to && count) {
			first[at + 1]++;
		} else if (from < to) {
			table->part[first[at]++] =
				(struct vector_part){ (int32_t)r.addr, (uint16_t)leaf,
						      (uint8_t)from, (uint8_t)to };
			if (r.addr + from < table->reach[leaf].lo)
				table->reach[leaf].lo = r.addr + from;
			if (r.addr + to > table->reach[leaf].hi)
				table->reach[leaf].hi = r.addr + to;
		}
		at++;
		rdu_access_next(&r);
	}
}

static void add_all_parts(const struct rdu_vector_plan *v, struct vector_table *table, bool count)
{
	for (uint32_t i = 0; i < v->num_leaves; i++) {
		table->reach[i].lo = INT64_MAX;
		table->reach[i].hi = INT64_MIN;
	}
	for (uint32_t a = 0; a < v->activations; a++)
		for (uint32_t i = 0; i < v->num_leaves; i++)
			add_parts(v, table, i, a, count);
}

static bool parts_overlap(const struct vector_table *t, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = t->first[i]; k < t->first[i + 1]; k++)
			for (uint32_t o = t->first[i]; o < k; o++)
				if (t->part[k].from < t->part[o].to &&
				    t->part[o].from < t->part[k].to)
					return true;
	return false;
}

static void free_table(struct vector_table *t)
{
	if (!t)
		return;
	free(t->first);
	free(t->part);
	free(t->reach);
	free(t);
}

static struct vector_table *make_table(const struct rdu_vector_plan *v)
{
	struct vector_table *t = calloc(1, sizeof(*t));
	uint32_t n = v->num * v->activations;

	if (!t)
		return NULL;
	t->first = calloc((size_t)n + 1, sizeof(*t->first));
	t->reach = malloc(v->num_leaves * sizeof(*t->reach));
	if (!t->first || !t->reach)
		goto fail;
	add_all_parts(v, t, true);
	for (uint32_t i = 0; i < n; i++)
		t->first[i + 1] += t->first[i];
	t->part = malloc(((size_t)t->first[n] + 1) * sizeof(*t->part));
	if (!t->part)
		goto fail;
	add_all_parts(v, t, false);
	memmove(t->first + 1, t->first, n * sizeof(*t->first));
	t->first[0] = 0;
	if (!parts_overlap(t, n))
		return t;
fail:
	free_table(t);
	return NULL;
}

bool rdu_vectors_start(struct vectors_run *r, struct rdu_vector_plan *v, uint64_t activation)
{
	r->table = NULL;
	if (!v)
		return false;
	r->table = atomic_load(&v->table);
	if (!r->table && atomic_fetch_add(&v->uses, 1) == 1) {
		struct vector_table *t = make_table(v);

		atomic_store(&v->table, t);
		r->table = t;
	}
	r->num = v->num;
	r->pos = 0;
	r->first = v->activations == 1 ? 0 : activation % v->activations * v->num;
	return r->table && v->activations > 1;
}

bool rdu_vectors_inside(const struct vectors_run *r, uint32_t leaf, int64_t start, uint64_t limit)
{
	int64_t lo = r->table->reach[leaf].lo, hi = r->table->reach[leaf].hi;

	return lo >= hi || (start + lo >= 0 && (uint64_t)(start + hi) <= limit);
}

/* How many of n vectors come before the activation's end; *first: their places in the table. */
static size_t next_parts(struct vectors_run *r, size_t n, const uint32_t **first)
{
	size_t left = r->num - r->pos;

	n = n < left ? n : left;
	*first = r->table->first + r->first + r->pos;
	r->pos = (r->pos + n) % r->num;
	return n;
}

/* n vectors of elements that are no words. */
static void load_parts(const struct vector_table *t, const struct rdu_kernels *k,
		       unsigned int format, size_t elem, size_t lanes, size_t n, uint32_t *out,
		       const uint32_t *first, const unsigned char *start, uint32_t value)
{
	for (; n; n--, out += lanes, first++) {
		const struct vector_part *p = t->part + first[0];

		if (first[0] == first[1] || (size_t)p->to - p->from < lanes)
			for (size_t l = 0; l < lanes; l++)
				out[l] = value;
		if (first[0] < first[1])
			k->load[format]((size_t)p->to - p->from, out + p->from,
					start + (p->at + p->from) * (ptrdiff_t)elem);
	}
}

void rdu_vectors_read(struct vectors_run *r, const struct access_plan *a,
		      const struct rdu_kernels *k, size_t lanes, size_t n, uint32_t *out,
		      const void *const *start, uint32_t value)
{
	while (n) {
		const uint32_t *first;
		size_t m = next_parts(r, n, &first);

		if (a->format == RDU_FMT_WORD)
			k->take_parts(m, lanes, out, first, r->table->part, start, value);
		else
			load_parts(r->table, k, a->format, a->elem, lanes, m, out, first, start[0],
				   value);
		out += m * lanes;
		n -= m;
	}
}

/* Are the first `words` lanes of a vector together? */
static bool is_together(const struct vector_table *t, const uint32_t *first, size_t words)
{
	const struct vector_part *p = t->part + first[0];

	return first[1] - first[0] == 1 && !p->from && p->to >= words;
}

void rdu_vectors_find(struct vectors_run *r, const struct rdu_kernels *k, size_t lanes,
		      size_t words, size_t n, uint32_t *copy, ptrdiff_t *at,
		      const void *const *start, uint32_t value)
{
	const struct vector_table *t = r->table;
	const uint32_t *first, *end;
	size_t m, i = 0;

	for (; n; n -= m) {
		m = next_parts(r, n, &first);
		for (end = first + m; first < end;) {
			const struct vector_part *p = t->part + first[0];
			size_t apart = 0;

			if (is_together(t, first, words)) {
				at[i++] = ((intptr_t)start[p->leaf] - (intptr_t)copy) / 4 + p->at;
				first++;
				continue;
			}
			do {
				at[i + apart] = (ptrdiff_t)((i + apart) * lanes);
				apart++;
			} while (first + apart < end && !is_together(t, first + apart, words));
			k->take_parts(apart, lanes, copy + i * lanes, first, t->part, start, value);
			i += apart;
			first += apart;
		}
	}
}

void rdu_vectors_write(struct vectors_run *r, const struct access_plan *a,
		       const struct rdu_kernels *k, size_t pitch, size_t n, unsigned char *start,
		       const uint32_t *in)
{
	const struct vector_part *part = r->table->part;
	const uint32_t *first;
	size_t m;

	for (; n; n -= m, in += m * pitch) {
		m = next_parts(r, n, &first);
		if (first[0] == first[m]) /* another scratchpad's share */
			continue;
		if (a->format == RDU_FMT_WORD) {
			k->put_parts(m, pitch, start, first, part, in);
			continue;
		}
		for (size_t i = 0; i < m; i++) {
			const struct vector_part *p = part + first[i];

			if (first[i] < first[i + 1])
				k->store[a->format]((size_t)p->to - p->from,
						    start + (p->at + p->from) * (ptrdiff_t)a->elem,
						    in + i * pitch + p->from);
		}
	}
}

void rdu_vectors_free(struct rdu_vector_plan *v)
{
	if (v)
		free_table(atomic_load(&v->table));
	free(v);
}
