// SPDX-License-Identifier: MIT
/*
 * Fusion: a map that reads the result of an earlier nest at the very point where
 * that one writes it becomes part of the earlier one's epilogue. What comes out
 * are nests again, so every later pass and the interpreter work on them.
 *
 * The points need not be the same indices: a nest that writes 2 * y + ky for all
 * y and ky covers its tensor just once, and the map follows it there.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

bool be_covers(const struct nest *n, const struct access *a)
{
	const struct tensor *t = a->tensor;
	bool used[NEST_MAX_DIMS] = { 0 };

	if (a->gather_in >= 0)
		return false;
	for (int k = 0; k < t->ndim; k++) {
		int64_t next = 1;

		if (a->offset[k])
			return false;
		for (;;) { /* mixed radix: the dimension with coefficient `next` */
			int at = -1;

			for (int d = 0; d < n->ndim; d++)
				if (!used[d] && a->coef[k][d] == next && n->dim[d].extent > 1 &&
				    !n->dim[d].reduce)
					at = d;
			if (at < 0)
				break;
			used[at] = true;
			next *= n->dim[at].extent;
		}
		if (next != t->dim[k])
			return false;
		for (int d = 0; d < n->ndim; d++)
			if (a->coef[k][d] && !used[d] && n->dim[d].extent > 1)
				return false;
	}
	for (int d = 0; d < n->ndim; d++) {
		int times = 0;

		for (int k = 0; k < t->ndim; k++)
			times += a->coef[k][d] != 0;
		if (n->dim[d].extent > 1 && !n->dim[d].reduce && (!used[d] || times != 1))
			return false;
	}
	return true;
}

bool be_one_to_one(const struct nest *c, const struct access *a, int *dim_of)
{
	for (int d = 0; d < c->ndim; d++)
		dim_of[d] = -1;
	if (a->gather_in >= 0)
		return false;
	for (int k = 0; k < a->tensor->ndim; k++) {
		int n = 0;

		if (a->offset[k])
			return false;
		for (int d = 0; d < c->ndim; d++) {
			if (!a->coef[k][d] || c->dim[d].extent == 1)
				continue;
			if (a->coef[k][d] != 1 || dim_of[d] >= 0 ||
			    c->dim[d].extent != a->tensor->dim[k])
				return false;
			dim_of[d] = k;
			n++;
		}
		if (n != (a->tensor->dim[k] > 1))
			return false;
	}
	for (int d = 0; d < c->ndim; d++)
		if (c->dim[d].extent > 1 && dim_of[d] < 0)
			return false;
	return true;
}

bool be_independent(const struct nest *a, const struct nest *b)
{
	for (int i = 0; i < a->num_out; i++) {
		const struct tensor *t = tensor_storage(a->out[i].access.tensor);

		if (nest_writes(b, t) || nest_reads(b, t))
			return false;
	}
	for (int i = 0; i < b->num_out; i++)
		if (nest_reads(a, tensor_storage(b->out[i].access.tensor)))
			return false;
	return true;
}

bool be_same_access(const struct access *a, const struct access *b)
{
	return a->tensor == b->tensor && !memcmp(a->coef, b->coef, sizeof(a->coef)) &&
	       !memcmp(a->offset, b->offset, sizeof(a->offset)) && a->guarded == b->guarded &&
	       (!a->guarded || a->pad == b->pad) && a->gather_in == b->gather_in &&
	       (a->gather_in < 0 || a->gather_dim == b->gather_dim);
}

void be_compose(struct access *to, const struct access *from, const struct nest *c,
		const int *dim_of, const struct access *at, int dims)
{
	*to = *from;
	memset(to->coef, 0, sizeof(to->coef));
	for (int k = 0; k < from->tensor->ndim; k++)
		for (int d = 0; d < c->ndim; d++) {
			if (dim_of[d] < 0)
				continue;
			to->offset[k] += from->coef[k][d] * at->offset[dim_of[d]];
			for (int e = 0; e < dims; e++)
				to->coef[k][e] += from->coef[k][d] * at->coef[dim_of[d]][e];
		}
}

static bool covered_index(const struct nest *p, const struct nest *c, const struct access *w,
			  const int *dim_of, int expr, int *dim)
{
	int n = 0;

	*dim = -1;
	if (dim_of[c->expr[expr].arg[0]] < 0)
		return true; /* always 0 */
	for (int e = 0; e < p->ndim; e++)
		if (w->coef[dim_of[c->expr[expr].arg[0]]][e] && p->dim[e].extent > 1) {
			if (w->coef[dim_of[c->expr[expr].arg[0]]][e] != 1)
				return false;
			*dim = e;
			n++;
		}
	return n <= 1;
}

/* What a reader of output o of p finds there: the expression itself, or as it is after
 * having been stored, where the tensor holds less than a word. */
static int stored(struct nest *to, const struct nest *p, int o)
{
	enum rdu_simd_op rounding = dtype_rounding(p->out[o].access.tensor->dtype);

	if (rounding == RDU_SIMD_MOV)
		return p->out[o].expr;
	return nest_op(to, rounding, p->out[o].expr, -1, -1);
}

/* Results of a nest: what several nests make finds scratchpads more easily than what one does. In a loop the way through
 * memory, or through another section, costs more, each time anew. */
#define MOST_OUT 4

static int most_outputs(const struct nest *n)
{
	return n->loop ? NEST_MAX_OUT : MOST_OUT;
}

/* Puts map c behind output `o` of p, which it reads as its input `in`. keep: the
 * result is needed elsewhere too. False: it cannot be; *full: only because a nest has no more
 * room for that (NULL: it has). */
static bool append(struct nest *to, const struct nest *p, int o, const struct nest *c, int in,
		   bool keep, const char **full)
{
	const struct access *w = &p->out[o].access;
	int dim_of[NEST_MAX_DIMS], input[NEST_MAX_IN], result[NEST_MAX_IN];
	int read[NEST_MAX_IN];
	int value[NEST_MAX_EXPR], dim;

	*full = NULL;
	*to = *p;
	if (p->out[o].add || !be_covers(p, w) || !be_one_to_one(c, &c->in[in], dim_of))
		return false;
	for (int i = 0; i < c->num_in; i++) {
		struct access a;
		int dup[NEST_MAX_DIMS];

		input[i] = -1;
		result[i] = -1;
		if (c->in[i].tensor == w->tensor) {
			/* every reading of it must be at the point */
			if (!be_one_to_one(c, &c->in[i], dup) ||
			    memcmp(dup, dim_of, sizeof(int) * (size_t)c->ndim))
				return false;
			result[i] = o;
			continue;
		}
		if (c->in[i].gather_in >= 0)
			return false;
		be_compose(&a, &c->in[i], c, dim_of, w, p->ndim);
		for (int k = 0; k < p->num_out; k++) /* another result of p, at the point? */
			if (be_same_access(&a, &p->out[k].access) && !p->out[k].add)
				result[i] = k;
		if (result[i] >= 0)
			continue;
		if (nest_writes(p, tensor_storage(a.tensor)))
			return false;
		for (int k = 0; k < to->num_in && input[i] < 0; k++)
			if (be_same_access(&a, &to->in[k]))
				input[i] = k;
		if (input[i] >= 0)
			continue;
		if (to->num_in == NEST_MAX_IN) {
			*full = "inputs (at most " TEXT(NEST_MAX_IN) ")";
			return false;
		}
		to->in[to->num_in] = a;
		input[i] = to->num_in++;
	}
	for (int i = 0; i < c->num_in; i++) {
		if (result[i] < 0)
			continue;
		read[i] = stored(to, p, result[i]);
	}
	for (int i = 0; i < c->num_expr; i++) {
		struct expr e = c->expr[i];

		if (e.kind == EXPR_IN && input[e.arg[0]] < 0) {
			value[i] = read[e.arg[0]];
			continue;
		}
		if (e.kind == EXPR_IN)
			e.arg[0] = input[e.arg[0]];
		if (e.kind == EXPR_INDEX) {
			if (!covered_index(p, c, w, dim_of, i, &dim))
				return false;
			e.arg[0] = dim;
			if (dim < 0)
				e = (struct expr){ .kind = EXPR_IMM };
		}
		for (int k = 0; k < 3 && e.kind == EXPR_OP; k++)
			if (e.arg[k] >= 0)
				e.arg[k] = value[e.arg[k]];
		value[i] = nest_expr(to, &e);
	}
	if (to->missing.expr) {
		*full = "expressions (at most " TEXT(NEST_MAX_EXPR) ")";
		return false;
	}
	if (!keep) {
		for (int i = o; i + 1 < to->num_out; i++)
			to->out[i] = to->out[i + 1];
		to->num_out--;
	}
	for (int i = 0; i < c->num_out; i++) {
		if (c->out[i].access.gather_in >= 0)
			return false;
		if (to->num_out >= most_outputs(to)) {
			*full = "outputs (at most " TEXT(MOST_OUT) ", in a loop " TEXT(
				NEST_MAX_OUT) ")";
			return false;
		}
		be_compose(&to->out[to->num_out].access, &c->out[i].access, c, dim_of, w, p->ndim);
		to->out[to->num_out].expr = value[c->out[i].expr];
		to->out[to->num_out++].add = c->out[i].add;
	}
	return true;
}

/* append(), where c goes through rows of the result in more loops than p, which nobody else needs: 256 times i and j
 * more, where p goes from 0 to 2047. Then p goes through them as c does. */
static bool append_cut(struct nest *to, const struct nest *p, int o, const struct nest *c, int in,
		       const char **full)
{
	struct tensor *t = p->out[o].access.tensor, fine = *t;
	struct nest cut = *p, reader = *c;

	*full = NULL;
	fine.view_of = t;
	fine.ndim = be_shape_of(c, &c->in[in], fine.dim);
	if (fine.ndim <= t->ndim || !be_refine(&cut, p->num_in + o, &fine))
		return false;
	for (int i = 0; i < c->num_in; i++)
		if (c->in[i].tensor == t && !be_refine(&reader, i, &fine))
			return false;
	return append(to, &cut, o, &reader, in, false, full);
}

/* ---- which pairs to try ------------------------------------------------------- */

struct list {
	int num, room;
	int *slot;
};

/*
 * Fusion of one entry. Its nests keep their places (slots) while it goes on; a nest that joined
 * another leaves an empty one. The pair that is fused next is always the first that can be, by
 * slots. So that not all pairs are tried again after each, a nest is tried once, and again when
 * something has changed that may have been in its way.
 */
struct fuser {
	struct backend *be;
	struct module_entry *e;
	struct list *readers, *writers; /* by storage: slots; some of them did so before */
	struct list *waiting; /* by slot: slots that could not pass it */
	struct list *full; /* by storage: slots that had no room to keep it for others */
	int *num_readers; /* by storage: nests of all entries */
	bool *stays; /* by storage: it outlives the run */
	bool *untried; /* by slot */
	int first; /* of those that are to be tried again */
	struct list candidates;
};

static void list_add(struct list *l, int slot)
{
	if (l->num && l->slot[l->num - 1] == slot)
		return;
	l->slot = xroom(l->slot, l->num, &l->room, sizeof(*l->slot));
	l->slot[l->num++] = slot;
}

/* Counts a nest, or takes it out again (by: -1), as a reader of the storage it reads. */
static void count_reader(struct fuser *f, const struct nest *n, int by)
{
	int seen[NEST_MAX_IN + NEST_MAX_OUT], num = 0;

	for (int i = 0; i < n->num_in + n->num_out; i++) {
		bool in = i < n->num_in, again = false;
		int o = i - n->num_in, root;

		if (!in && !n->out[o].add)
			continue;
		root = tensor_storage(in ? n->in[i].tensor : n->out[o].access.tensor)->id;
		for (int k = 0; k < num; k++)
			again |= seen[k] == root;
		if (!again)
			f->num_readers[seen[num++] = root] += by;
	}
}

static void note_accesses(struct fuser *f, int slot)
{
	const struct nest *n = f->e->nests[slot];

	for (int i = 0; i < n->num_in; i++)
		list_add(&f->readers[tensor_storage(n->in[i].tensor)->id], slot);
	for (int o = 0; o < n->num_out; o++) {
		int root = tensor_storage(n->out[o].access.tensor)->id;

		list_add(&f->writers[root], slot);
		if (n->out[o].add)
			list_add(&f->readers[root], slot);
	}
}

static void try_again(struct fuser *f, int slot)
{
	f->untried[slot] = true;
	if (slot < f->first)
		f->first = slot;
}

static void try_all_again(struct fuser *f, struct list *l)
{
	for (int i = 0; i < l->num; i++)
		try_again(f, l->slot[i]);
	l->num = 0;
}

/* The nest of slot `at` is another now: b is in it. Slot `gone` is empty. */
static void changed(struct fuser *f, int at, int gone, const struct nest *b)
{
	const struct nest *n = f->e->nests[at];

	note_accesses(f, at);
	for (int i = 0; i < n->num_in; i++) {
		const struct list *l = &f->writers[tensor_storage(n->in[i].tensor)->id];

		for (int k = 0; k < l->num; k++)
			try_again(f, l->slot[k]);
	}
	try_again(f, at);
	try_all_again(f, &f->waiting[at]);
	try_all_again(f, &f->waiting[gone]);
	/* The storage that b read has fewer readers now. */
	for (int i = 0; i < b->num_in; i++)
		try_all_again(f, &f->full[tensor_storage(b->in[i].tensor)->id]);
	for (int o = 0; o < b->num_out; o++)
		try_all_again(f, &f->full[tensor_storage(b->out[o].access.tensor)->id]);
}

static void fuser_init(struct fuser *f, struct backend *be, struct module_entry *e)
{
	const struct module *m = be->m;
	size_t tensors = (size_t)m->num_tensors + 1, slots = (size_t)e->num_nests + 1;

	*f = (struct fuser){ .be = be,
			     .e = e,
			     .readers = xcalloc(tensors, sizeof(*f->readers)),
			     .writers = xcalloc(tensors, sizeof(*f->writers)),
			     .full = xcalloc(tensors, sizeof(*f->full)),
			     .waiting = xcalloc(slots, sizeof(*f->waiting)),
			     .num_readers = xcalloc(tensors, sizeof(*f->num_readers)),
			     .stays = xcalloc(tensors, sizeof(*f->stays)),
			     .untried = xcalloc(slots, sizeof(*f->untried)) };
	for (int i = 0; i < m->num_tensors; i++)
		if (m->tensors[i]->kind != TENSOR_TEMP || m->tensors[i]->row_of) {
			f->stays[tensor_storage(m->tensors[i])->id] = true;
			f->stays[tensor_whole(m->tensors[i])->id] = true;
		}
	for (int i = 0; i < m->num_entries; i++)
		for (int k = 0; k < m->entries[i].num_nests; k++)
			count_reader(f, m->entries[i].nests[k], 1);
	for (int k = 0; k < e->num_nests; k++)
		note_accesses(f, k);
}

static void fuser_free(struct fuser *f)
{
	for (int i = 0; i < f->be->m->num_tensors; i++) {
		free(f->readers[i].slot);
		free(f->writers[i].slot);
		free(f->full[i].slot);
	}
	for (int k = 0; k < f->e->num_nests; k++)
		free(f->waiting[k].slot);
	free(f->readers);
	free(f->writers);
	free(f->waiting);
	free(f->full);
	free(f->candidates.slot);
	free(f->num_readers);
	free(f->stays);
	free(f->untried);
}

/* Is tensor t, which nest a writes, needed by anyone but nest b? */
static bool needed(const struct fuser *f, struct tensor *t, const struct nest *a,
		   const struct nest *b)
{
	const struct tensor *root = tensor_storage(t);

	if (t->kind != TENSOR_TEMP || t->update_of || f->stays[root->id])
		return true;
	return f->num_readers[root->id] > nest_reads(a, root) + nest_reads(b, root);
}

/* ---- fusing ------------------------------------------------------------------- */

/* Too much for one section: many replicas must still fit beside one another. */
static bool too_large(const struct backend *be, const struct nest *n)
{
	int ops = 0;

	for (int i = 0; i < n->num_expr; i++)
		ops += n->expr[i].kind == EXPR_OP;
	return ops > 8 * (int)be->chip.simd_stages;
}

double be_hand_on_cycles(const struct backend *be, const struct tensor *t, bool keep)
{
	double bytes = dtype_size(t->dtype) * (keep ? 1.0 : 2.0);

	for (int d = 0; d < t->ndim; d++)
		bytes *= (double)t->dim[d];
	return bytes * be->chip.clock_khz / ((double)be->chip.dram_mbps * 1000.0);
}

/* What follows a contraction takes units that could be arrays, though several arrays share them. Where
 * that leaves room for so few arrays that the contraction takes longer than memory would with what it
 * hands over, the two stay apart. */
static bool too_slow(const struct backend *be, const struct nest *a, const struct nest *to,
		     const struct tensor *between, bool keep)
{
	if (be->level < 3) /* then there are few replicas */
		return false;
	return be_contract_cycles(be, to) - be_contract_cycles(be, a) >
	       be_hand_on_cycles(be, between, keep);
}

static char *join_names(struct backend *be, const char *a, const char *b)
{
	char *name = xmalloc(strlen(a) + strlen(b) + 2);

	be->names = xrealloc(be->names, sizeof(char *) * (size_t)(be->num_names + 1));
	sprintf(name, "%s+%s", a, b);
	be->names[be->num_names++] = name;
	return name;
}

/* Nest a becomes `to`, which was made of it and b. */
static void replace(struct nest *a, struct nest *to, struct nest *b)
{
	struct nest *was = xmalloc(sizeof(*was));

	*was = *a;
	*a = *to;
	a->fused[0] = was;
	a->fused[1] = b;
}

/* The first of these slots between p and c whose nest may not be exchanged with n, or `first`. */
static int in_way(const struct fuser *f, const struct list *l, const struct nest *n, int p, int c,
		  int first)
{
	for (int i = 0; i < l->num; i++) {
		int k = l->slot[i];

		if (k > p && k < c && (first < 0 || k < first) && f->e->nests[k] &&
		    !be_independent(f->e->nests[k], n))
			first = k;
	}
	return first;
}

/* The first slot between p and c whose nest may not be exchanged with n; -1: none. */
static int first_in_way(const struct fuser *f, const struct nest *n, int p, int c)
{
	int first = -1;

	for (int i = 0; i < n->num_in; i++)
		first = in_way(f, &f->writers[tensor_storage(n->in[i].tensor)->id], n, p, c, first);
	for (int o = 0; o < n->num_out; o++) {
		int root = tensor_storage(n->out[o].access.tensor)->id;

		first = in_way(f, &f->writers[root], n, p, c, first);
		first = in_way(f, &f->readers[root], n, p, c, first);
	}
	return first;
}

/* What was read by nobody but the map that joined it is not stored any more: append() looks at
 * one result only, and the map may have read others. */
static void drop_unread(const struct fuser *f, struct nest *n)
{
	int num = 0;

	for (int o = 0; o < n->num_out; o++)
		if (needed(f, n->out[o].access.tensor, n, n) ||
		    nest_reads(n, tensor_storage(n->out[o].access.tensor)))
			n->out[num++] = n->out[o];
	if (num) /* or all of it is dead; then it stays as it is */
		n->num_out = num;
}

static void fuse(struct fuser *f, int p, int c, struct nest *to, bool up)
{
	struct nest *a = f->e->nests[p], *b = f->e->nests[c];
	int at = up ? p : c, gone = up ? c : p; /* b joins a, or a goes down to where b is */

	to->name = join_names(f->be, a->name, b->name);
	if (be_prints(f->be, "fuse"))
		fprintf(be_log(f->be), "fuse: %s\n", to->name);
	count_reader(f, a, -1);
	count_reader(f, b, -1);
	replace(a, to, b);
	count_reader(f, a, 1);
	drop_unread(f, a);
	f->e->nests[gone] = NULL;
	f->e->nests[at] = a;
	changed(f, at, gone, b);
}

/* explain: fuse nothing, print what is kept apart by a limit only. */
static bool fuse_pair(struct fuser *f, int p, int c, bool explain)
{
	struct nest *a = f->e->nests[p], *b = f->e->nests[c], to;
	const char *full;
	int up, down;
	bool fits, keep;

	if (b->reduce != REDUCE_NONE || nest_carried(b) >= 0 || a->closed || b->closed ||
	    nests_apart(f->e, p, c) || (b->again && !a->again))
		return false;
	for (int o = 0; o < a->num_out; o++)
		for (int i = 0; i < b->num_in; i++) {
			struct tensor *t = a->out[o].access.tensor;

			if (b->in[i].tensor != t)
				continue;
			/* what b stores must not be read by a elsewhere */
			for (int k = 0; k < b->num_out; k++)
				if (nest_reads(a, tensor_storage(b->out[k].access.tensor)) ||
				    nest_writes(a, tensor_storage(b->out[k].access.tensor)))
					return false;
			/* b goes up to a, or a down to b */
			up = first_in_way(f, b, p, c);
			down = up < 0 ? -1 : first_in_way(f, a, p, c);
			if (up >= 0 && down >= 0) {
				list_add(&f->waiting[up], p);
				list_add(&f->waiting[down], p);
				return false;
			}
			keep = needed(f, t, a, b);
			fits = append(&to, a, o, b, i, keep, &full) ||
			       (!full && !keep && append_cut(&to, a, o, b, i, &full));
			if (!fits && keep && to.num_out >= most_outputs(&to))
				list_add(&f->full[tensor_storage(t)->id], p);
			if (fits && too_large(f->be, &to)) {
				full = "operations (at most 8 times the stages of a PCU)";
				fits = false;
			}
			if (fits && too_slow(f->be, a, &to, t, keep)) {
				full = "units for each array";
				fits = false;
			}
			if (explain && full)
				fprintf(be_log(f->be),
					"fuse: %s is not joined by %s: too many %s\n", a->name,
					b->name, full);
			if (explain || !fits)
				return false;
			fuse(f, p, c, &to, up < 0);
			return true;
		}
	return false;
}

static int by_slot(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Fuses the nest of slot p with the first that it can be fused with. False: with none. */
static bool fuse_first(struct fuser *f, int p, bool explain)
{
	const struct nest *a = f->e->nests[p];
	struct list *l = &f->candidates;

	l->num = 0;
	for (int o = 0; o < a->num_out; o++) {
		const struct list *r = &f->readers[tensor_storage(a->out[o].access.tensor)->id];

		for (int i = 0; i < r->num; i++)
			if (r->slot[i] > p && f->e->nests[r->slot[i]])
				list_add(l, r->slot[i]);
	}
	if (l->num)
		qsort(l->slot, (size_t)l->num, sizeof(*l->slot), by_slot);
	for (int i = 0; i < l->num; i++)
		if ((!i || l->slot[i] != l->slot[i - 1]) && fuse_pair(f, p, l->slot[i], explain))
			return true;
	return false;
}

/* Fuses what follows nest number `from` of an entry, as far as it goes. */
static void fuse_entry(struct backend *be, struct module_entry *e, int from)
{
	struct fuser f;
	int num = 0;

	fuser_init(&f, be, e);
	for (int p = from; p < e->num_nests; p++)
		f.untried[p] = true;
	for (int p = from; p < e->num_nests; p++) {
		if (!f.untried[p] || !e->nests[p])
			continue;
		f.untried[p] = false;
		f.first = p;
		if (fuse_first(&f, p, false))
			p = (f.first > from ? f.first : from) - 1;
	}
	fuser_free(&f);
	for (int p = 0; p < e->num_nests; p++)
		if (e->nests[p])
			e->nests[num++] = e->nests[p];
	e->num_nests = num;
}

static void print_fused(struct backend *be, struct module_entry *e)
{
	struct fuser f;

	fuser_init(&f, be, e);
	for (int p = 0; p < e->num_nests; p++)
		fuse_first(&f, p, true);
	fuser_free(&f);
	fprintf(be_log(be), "after fusion: ");
	module_entry_print(e, be_log(be));
}

/* What no single map made too slow (too_slow()) may be so with all of them: then they stay apart
 * from the contraction, and are fused with each other only. */
static void take_apart(struct backend *be, struct module_entry *e)
{
	for (int k = 0; k < e->num_nests; k++) {
		const struct nest *n = e->nests[k], *plain = n;
		const struct tensor *t;
		bool keep = false;

		while (plain->fused[0])
			plain = plain->fused[0];
		if (plain == n || !(be_contract_cycles(be, plain) > 0))
			continue;
		t = plain->out[0].access.tensor;
		for (int o = 0; o < n->num_out; o++)
			keep |= n->out[o].access.tensor == t;
		if (be_contract_cycles(be, n) - be_contract_cycles(be, plain) <=
		    be_hand_on_cycles(be, t, keep))
			continue;
		while (be_unfuse(be, e, k))
			;
	}
}

void be_fuse(struct backend *be)
{
	for (int i = 0; i < be->m->num_entries; i++) {
		struct module_entry *e = &be->m->entries[i];

		fuse_entry(be, e, 0);
		if (be->level >= 3)
			take_apart(be, e);
		if (be_prints(be, "fuse"))
			print_fused(be, e);
	}
}

bool be_unfuse(struct backend *be, struct module_entry *e, int k)
{
	struct nest *n = e->nests[k];

	if (!n->fused[0])
		return false;
	/* There is room: there were as many nests before they were fused. */
	for (int i = e->num_nests++; i > k + 1; i--)
		e->nests[i] = e->nests[i - 1];
	e->nests[k] = n->fused[0];
	e->nests[k + 1] = n->fused[1];
	e->nests[k]->closed = true;
	free(n);
	fuse_entry(be, e, k + 1);
	return true;
}

void nest_free_fused(struct nest *n)
{
	if (!n)
		return;
	nest_free_fused(n->fused[0]);
	nest_free_fused(n->fused[1]);
	free(n);
}
