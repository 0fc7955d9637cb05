// SPDX-License-Identifier: MIT
/*
 * Recompute: values of the forward half of a training step that the backward half reads are made
 * again there, of what is stored anyway, where that moves fewer bytes than storing them. Which ones
 * are stored is a smallest cut: of a graph of the values, each as wide as its bytes, between what
 * there is and what the backward half reads (rematerialization as in Jain et al., MLSys'20, and
 * PyTorch's partitioner).
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

#define FEWEST_SLICES 4 /* of a value that a contraction reads: then the two can be one group */
#define CHEAP 8 /* a product is made again where memory would take this many times as long */
#define SMALL 8 /* what is less than this part of the scratchpads may stay there, and is kept */
#define ALL (INT64_MAX / 4) /* bytes: not to be cut */

struct edge {
	int to, next; /* next of its node, -1: none */
	int64_t room;
};

/* A storage, in the graph: its nodes are 2 id (it can be had) and 2 id + 1 (it is there). */
struct stored {
	int writer; /* nest of the entry, forward; -1: none, -2: several, or otherwise unfit */
	int first_writer; /* of all nests, -1: none */
	bool again; /* it is made again */
};

struct recompute {
	struct backend *be;
	struct module_entry *e;
	struct stored *s; /* by storage */
	int num_nodes, *first; /* edge of a node, -1: none */
	int num_edges, room_edges;
	struct edge *edge; /* edge k ^ 1 is edge k's other direction */
	int last; /* nest that reads what may be made again */
};

/* ---- a smallest cut ------------------------------------------------------------- */

static void connect(struct recompute *x, int from, int to, int64_t bytes)
{
	for (int k = 0; k < 2; k++) {
		x->edge = xroom(x->edge, x->num_edges, &x->room_edges, sizeof(*x->edge));
		x->edge[x->num_edges] =
			(struct edge){ k ? from : to, x->first[k ? to : from], k ? 0 : bytes };
		x->first[k ? to : from] = x->num_edges++;
	}
}

/* A way from `source` to `sink` that has room: by[node] is the edge to it. False: there is none. */
static bool find_way(const struct recompute *x, int source, int sink, int *by, int *queue)
{
	int head = 0, tail = 0;

	for (int i = 0; i < x->num_nodes; i++)
		by[i] = -1;
	queue[tail++] = source;
	while (head < tail && by[sink] < 0) {
		int at = queue[head++];

		for (int k = x->first[at]; k >= 0; k = x->edge[k].next)
			if (x->edge[k].room && by[x->edge[k].to] < 0 && x->edge[k].to != source) {
				by[x->edge[k].to] = k;
				queue[tail++] = x->edge[k].to;
			}
	}
	return by[sink] >= 0;
}

/* Marks the nodes behind the smallest cut that is nearest to the sink. False: there is no cut. */
static bool cut(struct recompute *x, int source, int sink, bool *behind)
{
	int *by = xmalloc(sizeof(int) * (size_t)x->num_nodes), tail = 0;
	int *queue = xmalloc(sizeof(int) * (size_t)x->num_nodes);
	bool found = true;

	while (found && find_way(x, source, sink, by, queue)) {
		int64_t least = ALL;

		for (int at = sink; at != source; at = x->edge[by[at] ^ 1].to)
			least = min64(least, x->edge[by[at]].room);
		for (int at = sink; at != source; at = x->edge[by[at] ^ 1].to) {
			x->edge[by[at]].room -= least;
			x->edge[by[at] ^ 1].room += least;
		}
		found = least < ALL / 2;
	}
	queue[tail++] = sink;
	behind[sink] = true;
	for (int head = 0; head < tail; head++)
		for (int k = x->first[queue[head]]; k >= 0; k = x->edge[k].next)
			if (x->edge[k ^ 1].room && !behind[x->edge[k].to]) {
				behind[x->edge[k].to] = true;
				queue[tail++] = x->edge[k].to;
			}
	free(by);
	free(queue);
	return found;
}

/* ---- what can be made again -------------------------------------------------------- */

static int64_t points_of(const struct nest *n)
{
	int64_t points = 1;

	for (int d = 0; d < n->ndim; d++)
		points *= n->dim[d].extent;
	return points;
}

/* Can a contraction take an input slice by slice, each in iterations of its own? */
static bool takes_slices(const struct nest *n, const struct access *a)
{
	int64_t slices = 1;

	for (int k = 0; k < a->tensor->ndim; k++) {
		int at = -1;

		for (int d = 0; d < n->ndim; d++)
			if (a->coef[k][d] && n->dim[d].extent > 1)
				at = at < 0 && a->coef[k][d] == 1 && !n->dim[d].reduce
					     ? d
					     : NEST_MAX_DIMS;
		if (at == NEST_MAX_DIMS || (at < 0 && a->tensor->dim[k] > 1))
			break;
		slices *= a->tensor->dim[k];
	}
	return slices >= FEWEST_SLICES;
}

/* Groups keep what goes from one nest to the next in scratchpads. */
static bool has_groups(const struct recompute *x)
{
	return x->be->level >= 3 && x->be->opt->pipe != WHEN_NEVER;
}

/* Can a backward nest do with its input made again? */
static bool takes_again(const struct recompute *x, const struct nest *n, int in)
{
	const struct access *a = &n->in[in];

	if (a->guarded || a->gather_in >= 0 || nest_carried(n) >= 0)
		return false;
	for (int i = 0; i < n->num_in; i++)
		if (n->in[i].gather_in == in)
			return false;
	if (be_reuses(x->be, n, in))
		return has_groups(x) && takes_slices(n, a);
	return points_of(n) == be_words(a->tensor);
}

static double scratchpad_bytes(const struct backend *be)
{
	return (double)rdu_chip_pmus_per_tile(&be->chip) * be->tiles * be->chip.pmu_bytes;
}

/* Would a nest make the same again, at each point for itself, in little time? */
static bool can_repeat(const struct recompute *x, const struct nest *n)
{
	const struct access *w = &n->out[0].access;
	int in[2], dim_of[NEST_MAX_DIMS];

	if (n->num_out != 1 || n->out[0].add || w->tensor->kind != TENSOR_TEMP ||
	    w->tensor->view_of || w->tensor->update_of || w->tensor->row_of || w->tensor->data)
		return false;
	for (int i = 0; i < n->num_in; i++)
		if (n->in[i].gather_in >= 0)
			return false;
	for (int i = 0; i < n->num_expr; i++)
		if (n->expr[i].kind == EXPR_INDEX || n->expr[i].kind == EXPR_LIVE ||
		    n->expr[i].kind == EXPR_CARRY)
			return false;
	if (n->reduce == REDUCE_NONE)
		return be_one_to_one(n, w, dim_of);
	return has_groups(x) && be_contraction(x->be, n, in) &&
	       (double)be_words(w->tensor) * 4 * SMALL > scratchpad_bytes(x->be) &&
	       be_contract_cycles(x->be, n) * CHEAP < be_hand_on_cycles(x->be, w->tensor, false);
}

/* Does what a nest reads stay as it is until the last nest that may want it? */
static bool stays(const struct recompute *x, const struct tensor *t)
{
	const struct stored *s = &x->s[tensor_storage((struct tensor *)t)->id];

	if (t->kind == TENSOR_TEMP)
		return s->writer >= 0 && !t->row_of;
	return t->kind == TENSOR_INPUT || s->first_writer < 0 || s->first_writer > x->last;
}

static void note_write(struct stored *s, int nest, bool fit)
{
	s->writer = s->first_writer < 0 && fit ? nest : -2;
	if (s->first_writer < 0)
		s->first_writer = nest;
}

static void find_writers(struct recompute *x)
{
	for (int i = 0; i < x->be->m->num_tensors; i++)
		x->s[i] = (struct stored){ .writer = -1, .first_writer = -1 };
	for (int k = 0; k < x->e->num_nests; k++) {
		const struct nest *n = x->e->nests[k];

		for (int i = 0; i < n->num_out; i++) {
			const int of = tensor_storage(n->out[i].access.tensor)->id;
			const int all = tensor_storage(tensor_whole(n->out[i].access.tensor))->id;

			note_write(&x->s[of], k, !n->backward);
			if (all != of) /* a loop writes a row of it */
				note_write(&x->s[all], k, false);
		}
		for (int i = 0; n->backward && i < n->num_in; i++)
			if (x->s[tensor_storage(n->in[i].tensor)->id].writer >= 0)
				x->last = k;
	}
}

/* The graph: what forward nests make of what, and what backward ones read. */
static void build(struct recompute *x, int source, int sink)
{
	for (int i = 0; i < x->be->m->num_tensors; i++) {
		const struct tensor *t = x->be->m->tensors[i];
		const struct stored *s = &x->s[i];
		const struct nest *w = s->writer >= 0 ? x->e->nests[s->writer] : NULL;
		int64_t bytes = (int64_t)tensor_size(t);
		bool again = w && can_repeat(x, w);

		for (int k = 0; again && k < w->num_in; k++)
			again = stays(x, w->in[k].tensor);
		for (int k = 0; again && k < w->num_in; k++)
			connect(x, 2 * tensor_storage(w->in[k].tensor)->id + 1, 2 * i, ALL);
		if (!again)
			connect(x, source, 2 * i, ALL);
		connect(x, 2 * i, 2 * i + 1, t->kind == TENSOR_TEMP ? 2 * bytes : bytes);
	}
	for (int k = 0; k < x->e->num_nests; k++) {
		const struct nest *n = x->e->nests[k];

		for (int i = 0; n->backward && i < n->num_in; i++) {
			const struct tensor *t = n->in[i].tensor;
			int id = tensor_storage(n->in[i].tensor)->id;
			const struct stored *s = &x->s[id];

			if (s->writer < 0)
				continue;
			connect(x, 2 * id + 1, sink, ALL);
			if (t->id != id || n->loop != x->e->nests[s->writer]->loop ||
			    !takes_again(x, n, i))
				connect(x, source, 2 * id, ALL);
		}
	}
}

/* ---- making it again --------------------------------------------------------------- */

/* Expression `of` of a nest, in nest `to`, which has its inputs under these numbers; input `in` is
 * expression `made` there (in -1: none is). value: of each expression, of those that it needs. */
static int copy_expr(struct nest *to, const struct nest *n, int of, const int *input, int in,
		     int made, int *value)
{
	struct expr e = n->expr[of];

	if (value[of] >= 0)
		return value[of];
	for (int k = 0; k < 3 && e.kind == EXPR_OP; k++)
		if (e.arg[k] >= 0)
			e.arg[k] = copy_expr(to, n, e.arg[k], input, in, made, value);
	if (e.kind == EXPR_IN && e.arg[0] == in)
		return value[of] = made;
	if (e.kind == EXPR_IN)
		e.arg[0] = input[e.arg[0]];
	return value[of] = nest_expr(to, &e);
}

static int add_input(struct nest *to, const struct access *a)
{
	int k = 0;

	while (k < to->num_in && !be_same_access(a, &to->in[k]))
		k++;
	if (k == to->num_in) {
		k = nest_input(to, a->tensor);
		to->in[k] = *a;
	}
	return k;
}

/* Nest n with its input `in`, which map w makes, made by itself. False: there is no room. */
static bool absorb(struct nest *n, int in, const struct nest *w)
{
	enum rdu_simd_op rounding = dtype_rounding(w->out[0].access.tensor->dtype);
	int dim_of[NEST_MAX_DIMS], own[NEST_MAX_IN], of_w[NEST_MAX_IN], value[NEST_MAX_EXPR];
	struct nest to = *n;
	int made;

	be_one_to_one(w, &w->out[0].access, dim_of);
	to.num_in = to.num_expr = 0;
	for (int i = 0; i < n->num_in; i++)
		own[i] = i == in ? -1 : add_input(&to, &n->in[i]);
	for (int i = 0; i < to.num_in; i++)
		if (to.in[i].gather_in >= 0)
			to.in[i].gather_in = own[to.in[i].gather_in];
	for (int i = 0; i < w->num_in; i++) {
		struct access a;

		be_compose(&a, &w->in[i], w, dim_of, &n->in[in], n->ndim);
		of_w[i] = add_input(&to, &a);
	}
	memset(value, -1, sizeof(value));
	made = copy_expr(&to, w, w->out[0].expr, of_w, -1, -1, value);
	if (rounding != RDU_SIMD_MOV)
		made = nest_op(&to, rounding, made, -1, -1);
	memset(value, -1, sizeof(value));
	if (n->body >= 0)
		to.body = copy_expr(&to, n, n->body, own, in, made, value);
	for (int i = 0; i < n->num_out; i++)
		to.out[i].expr = copy_expr(&to, n, n->out[i].expr, own, in, made, value);
	if (to.missing.in || to.missing.expr)
		return false;
	*n = to;
	return true;
}

/* A nest in front of number `at` that makes storage t again, for all that read it from there on. */
static void repeat(struct recompute *x, int at, struct tensor *t)
{
	struct nest *n = xmalloc(sizeof(*n));

	*n = *x->e->nests[x->s[t->id].writer];
	n->backward = n->again = true;
	n->out[0].access.tensor = be_temp_like(x->be, t, "again");
	be_insert_nest(x->e, at, n);
	for (int k = at + 1; k < x->e->num_nests; k++)
		for (int i = 0; i < x->e->nests[k]->num_in; i++)
			if (x->e->nests[k]->in[i].tensor == t)
				x->e->nests[k]->in[i].tensor = n->out[0].access.tensor;
}

/* Does any nest from number `at` on need storage t from a nest of its own? */
static bool wants_repeat(const struct recompute *x, int at, const struct tensor *t)
{
	if (x->e->nests[x->s[t->id].writer]->reduce != REDUCE_NONE)
		return true;
	for (int k = at; k < x->e->num_nests; k++)
		for (int i = 0; i < x->e->nests[k]->num_in; i++)
			if (x->e->nests[k]->in[i].tensor == t &&
			    be_reuses(x->be, x->e->nests[k], i))
				return true;
	return false;
}

/* Makes again what nest number `at` reads. False: it reads nothing of that. */
static bool make_again(struct recompute *x, int at, int num_tensors)
{
	struct nest *n = x->e->nests[at];

	for (int i = 0; i < n->num_in; i++) {
		struct tensor *t = n->in[i].tensor;

		if (t->id >= num_tensors || tensor_storage(t) != t || !x->s[t->id].again)
			continue;
		if (be_prints(x->be, "recompute"))
			fprintf(be_log(x->be), "recompute: %s, for %s\n", t->name, n->name);
		/* What lies beyond a border is not what the map would make there. */
		if (wants_repeat(x, at, t) || n->in[i].guarded ||
		    !absorb(n, i, x->e->nests[x->s[t->id].writer]))
			repeat(x, at, t);
		return true;
	}
	return false;
}

/* What was only made to be kept is not made. */
static void drop_unread(struct recompute *x, int num_tensors)
{
	bool *read = xcalloc((size_t)x->be->m->num_tensors + 1, sizeof(bool));

	for (int k = x->e->num_nests - 1; k >= 0; k--) {
		struct nest *n = x->e->nests[k];
		int to = tensor_storage(n->out[0].access.tensor)->id;

		if (to < num_tensors && x->s[to].again && !read[to]) {
			be_remove_nest(x->e, n);
			continue;
		}
		for (int i = 0; i < n->num_in; i++) { /* of a loop's row: all of the tensor */
			read[tensor_storage(n->in[i].tensor)->id] = true;
			read[tensor_storage(tensor_whole(n->in[i].tensor))->id] = true;
		}
	}
	free(read);
}

static void recompute_entry(struct backend *be, struct module_entry *e)
{
	const int num = be->m->num_tensors, source = 2 * num, sink = source + 1;
	struct recompute x = { .be = be, .e = e, .num_nodes = 2 * num + 2 };
	bool *behind = xcalloc((size_t)x.num_nodes, sizeof(bool)), any = false;

	x.s = xmalloc(sizeof(*x.s) * ((size_t)num + 1));
	x.first = xmalloc(sizeof(int) * (size_t)x.num_nodes);
	for (int i = 0; i < x.num_nodes; i++)
		x.first[i] = -1;
	find_writers(&x);
	build(&x, source, sink);
	if (cut(&x, source, sink, behind))
		for (int i = 0; i < num; i++) {
			x.s[i].again = behind[2 * i] && x.s[i].writer >= 0;
			any |= x.s[i].again;
		}
	for (int k = 0; any && k < e->num_nests; k++)
		while (e->nests[k]->backward && make_again(&x, k, num))
			;
	if (any)
		drop_unread(&x, num);
	free(x.s);
	free(x.first);
	free(x.edge);
	free(behind);
}

void be_recompute(struct backend *be)
{
	for (int i = 0; i < be->m->num_entries; i++) {
		struct module_entry *e = &be->m->entries[i];
		bool backward = false;

		for (int k = 0; k < e->num_nests; k++)
			backward |= e->nests[k]->backward;
		if (backward)
			recompute_entry(be, e);
	}
}
