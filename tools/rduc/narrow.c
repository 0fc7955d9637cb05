// SPDX-License-Identifier: MIT
/*
 * Temporaries and constants that memory may hold as bf16: the arrays round what they multiply to
 * bf16, so an fp32 that only they read may be rounded when it is stored already, a constant while
 * compiling. The same bits come out, of half the bytes. What a nest merely chooses from (the largest
 * of a window, what is above 0) may be rounded before, too, if its result is. Scratchpads hold words,
 * and nothing is rounded there.
 */
#include <stdlib.h>
#include "backend.h"
#include "mem.h"

/* What a tensor is where it is not kept as bf16. */
static enum rdu_dtype own_dtype(const struct tensor *t)
{
	return t->narrow ? RDU_DT_F32 : t->dtype;
}

/* Does it follow from the nest's indices, numbers, and inputs that stay as they are? */
static bool stays_same(const struct nest *n, int e)
{
	bool same[NEST_MAX_EXPR];

	for (int i = 0; i <= e; i++) { /* an expression comes behind those that it is of */
		const struct expr *x = &n->expr[i];

		same[i] = x->kind == EXPR_IMM || x->kind == EXPR_INDEX || x->kind == EXPR_OP ||
			  (x->kind == EXPR_IN && own_dtype(n->in[x->arg[0]].tensor) != RDU_DT_F32);
		for (int k = 0; k < 3 && x->kind == EXPR_OP; k++)
			same[i] = same[i] && (x->arg[k] < 0 || same[x->arg[k]]);
	}
	return same[e];
}

/* Is expression e one of the inputs, the largest or smallest of several, or one of two by something
 * else? Then rounding it is rounding what it is chosen from: that keeps their order. */
static bool chooses(const struct nest *n, int e)
{
	const struct expr *x = &n->expr[e];

	switch (x->kind) {
	case EXPR_IN:
		return true;
	case EXPR_IMM:
		return !(x->imm & 0xffff); /* a bf16 itself */
	case EXPR_RED:
		return (n->reduce == REDUCE_MAX || n->reduce == REDUCE_MIN) && chooses(n, n->body);
	case EXPR_OP:
		if (x->op == RDU_SIMD_SELECT)
			return stays_same(n, x->arg[0]) && chooses(n, x->arg[1]) &&
			       chooses(n, x->arg[2]);
		return (x->op == RDU_SIMD_FMAX || x->op == RDU_SIMD_FMIN) &&
		       chooses(n, x->arg[0]) && chooses(n, x->arg[1]);
	default:
		return false;
	}
}

/* Does a nest make of its inputs what is as good of rounded ones, all of it rounded when it is stored? */
static bool passes_on(const struct nest *n, const bool *stays)
{
	for (int i = 0; i < n->num_out; i++) {
		const struct tensor *t = n->out[i].access.tensor;

		if (!chooses(n, n->out[i].expr) ||
		    (own_dtype(t) != RDU_DT_BF16 && stays[tensor_storage((struct tensor *)t)->id]))
			return false;
	}
	return true;
}

/* Is an input read by the product of its nest's body alone? */
static bool only_factor(const struct nest *n, int in)
{
	for (int i = 0; i < n->num_expr; i++)
		for (int k = 0; k < 3 && i != n->body && n->expr[i].kind == EXPR_OP; k++) {
			int a = n->expr[i].arg[k];

			if (a >= 0 && n->expr[a].kind == EXPR_IN && n->expr[a].arg[0] == in)
				return false;
		}
	for (int i = 0; i < n->num_out; i++) {
		const struct expr *x = &n->expr[n->out[i].expr];

		if (x->kind == EXPR_IN && x->arg[0] == in)
			return false;
	}
	return true;
}

/* What others than arrays read of a nest's inputs stays as it is. */
static void mark_inputs(struct backend *be, const struct nest *n, bool *stays)
{
	int in[2];
	bool any = false;

	for (int i = 0; i < n->num_in; i++)
		any |= !stays[tensor_storage(n->in[i].tensor)->id];
	if (!any || passes_on(n, stays))
		return;
	any = be_on_arrays(be, n, in);
	for (int i = 0; i < n->num_in; i++)
		if (!any || (i != in[0] && i != in[1]) || !only_factor(n, i))
			stays[tensor_storage(n->in[i].tensor)->id] = true;
}

static int count(const struct module *m, const bool *set)
{
	int num = 0;

	for (int i = 0; i < m->num_tensors; i++)
		num += set[i];
	return num;
}

/* Is it a tensor that memory could hold otherwise, if only arrays read it? */
static bool candidate(const struct tensor *t)
{
	bool constant = t->kind == TENSOR_WEIGHT && t->constant && t->data;

	return own_dtype(t) == RDU_DT_F32 && !t->update_of && !t->row_of && !t->packed.table &&
	       (constant || (t->kind == TENSOR_TEMP && !t->data));
}

static void round_data(struct tensor *t)
{
	size_t num = tensor_size(t) / sizeof(uint32_t);
	uint16_t *to = shared_new(num * sizeof(*to));

	for (size_t i = 0; i < num; i++)
		to[i] = bf16_of(((uint32_t *)t->data)[i]);
	t->unrounded = t->data;
	t->data = to;
}

/* By tensor: what memory has to hold as it is, among others all that is not one of those that `may` be bf16 there.
 * read: what any nest reads. */
static bool *what_stays(struct backend *be, bool (*may)(const struct tensor *t), bool *read)
{
	struct module *m = be->m;
	bool *stays = xcalloc((size_t)m->num_tensors + 1, sizeof(bool));
	int was;

	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *t = m->tensors[i];

		if (!may(t))
			stays[tensor_storage(t)->id] = true;
		if (t->row_of)
			stays[tensor_whole(t)->id] = true;
	}
	for (int e = 0; e < m->num_entries; e++)
		for (int k = 0; k < m->entries[e].num_nests; k++) {
			const struct nest *n = m->entries[e].nests[k];

			for (int i = 0; i < n->num_in; i++)
				read[tensor_storage(n->in[i].tensor)->id] = true;
			for (int i = 0; i < n->num_out; i++)
				if (n->out[i].add)
					stays[tensor_storage(n->out[i].access.tensor)->id] = true;
		}
	do { /* until nothing is passed on any more to what stays */
		was = count(m, stays);
		for (int e = 0; e < m->num_entries; e++)
			for (int k = m->entries[e].num_nests - 1; k >= 0; k--)
				mark_inputs(be, m->entries[e].nests[k], stays);
	} while (count(m, stays) > was);
	return stays;
}

void be_narrow(struct backend *be)
{
	struct module *m = be->m;
	bool *read = xcalloc((size_t)m->num_tensors + 1, sizeof(bool));
	bool *stays = what_stays(be, candidate, read);

	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *t = m->tensors[i];

		if (stays[tensor_storage(t)->id] || !read[tensor_storage(t)->id])
			continue;
		if (t->data)
			round_data(t);
		t->dtype = RDU_DT_BF16;
		t->narrow = true;
		if (be_prints(be, "narrow") && tensor_storage(t) == t)
			fprintf(be_log(be), "narrow: %s: bf16 in memory\n", t->name);
	}
	free(stays);
	free(read);
}

static bool is_narrow(const struct tensor *t)
{
	return t->narrow;
}

const struct tensor *be_narrow_wrong(struct backend *be)
{
	struct module *m = be->m;
	bool *read = xcalloc((size_t)m->num_tensors + 1, sizeof(bool));
	bool *stays = what_stays(be, is_narrow, read);
	const struct tensor *wrong = NULL;

	for (int i = 0; i < m->num_tensors && !wrong; i++)
		if (m->tensors[i]->narrow && stays[tensor_storage(m->tensors[i])->id])
			wrong = m->tensors[i];
	free(stays);
	free(read);
	return wrong;
}

bool be_narrow_undo(struct backend *be)
{
	bool any = false;

	for (int i = 0; i < be->m->num_tensors; i++) {
		struct tensor *t = be->m->tensors[i];

		if (!t->narrow)
			continue;
		t->dtype = RDU_DT_F32;
		t->narrow = false;
		if (t->unrounded) {
			shared_drop(t->data);
			t->data = t->unrounded;
			t->unrounded = NULL;
		}
		any = true;
	}
	return any;
}
