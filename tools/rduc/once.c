// SPDX-License-Identifier: MIT
/*
 * Once: what several nests of an entry read of an input, a weight or a state is loaded once. A nest in front of the
 * first of them copies it into a temporary, which they all read instead, up to the nest that changes it: that one
 * still reads the old value. All these are nests as any; the temporary is resident (resident.c) to its last reader.
 * A nest may find out that it is better off with memory (evict.c): then it reads that, as it did.
 *
 * The copy is made early, in a section that leaves memory time, if there is one not far in front of the first
 * reader. Where no scratchpads are free for so long, it is made right before the first reader, and where they are not
 * either, that one reads memory, and the copy is for those behind it.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

#define EARLIER 8 /* sections */
#define MEMORY_SHARE 0.76 /* of memory's rate, what sections that read and write much reach */

/* Ways to copy a tensor that are tried, one after another: early or not, for all that read it but for the first so
 * many. */
static bool is_early(int way)
{
	return way % 2 == 0;
}

static int left_out(int way)
{
	return way / 2;
}

/* What is copied, and the nests of the entry as they were. */
struct once {
	struct carried *was;
	int num, room;
	struct once_copy {
		struct tensor *from, *to;
	} * copy;
	double bytes; /* that are not loaded again */
};

static bool writes_any(const struct nest *n, const struct tensor *t)
{
	for (int i = 0; i < n->num_out; i++)
		if (tensor_whole(n->out[i].access.tensor) == t)
			return true;
	return false;
}

/* Is an access a factor of a product, which sums over what the tensor is cut along, its outermost dimension? All of its
 * replicas would want all parts, whose ports they would wait for longer than for memory. */
static bool wants_all_parts(const struct nest *n, const struct access *a)
{
	int x = 0;

	while (x < a->tensor->ndim - 1 && a->tensor->dim[x] == 1)
		x++;
	return a->tensor->ndim && nest_sums_along(n, a, x);
}

/* May a nest read a copy in scratchpads? The section of a group was made with what it reads in memory. */
static bool may_read(const struct backend *be, const struct nest *n, const struct access *a)
{
	return !n->group && !n->loop && a->gather_in < 0 && !wants_all_parts(n, a) &&
	       !be_hold_of(be, n->out[0].access.tensor);
}

/* Does a nest read about all of a tensor by an access? */
static bool reads_all(const struct nest *n, const struct access *a)
{
	int axes[NEST_MAX_DIMS] = { 0 };

	for (int x = 0; x < a->tensor->ndim; x++) {
		int64_t positions = 1;

		for (int d = 0; d < n->ndim; d++) {
			if (!a->coef[x][d])
				continue;
			positions *= n->dim[d].extent;
			axes[d] += n->dim[d].extent > 1;
			if (axes[d] > 1) /* a diagonal */
				return false;
		}
		if (positions < a->tensor->dim[x])
			return false;
	}
	return true;
}

/* What nests read of storage t before it is changed, but for the first `skip` nests. Returned: how many nests read
 * all of it. */
static int find_reads(const struct backend *be, const struct module_entry *e,
		      const struct tensor *t, int skip, struct accesses *reads)
{
	int num = 0;

	for (int k = 0; k < e->num_nests; k++) {
		struct nest *n = e->nests[k];
		bool reads_it = false, all = false;

		for (int i = 0; i < n->num_in; i++) {
			if (tensor_storage(n->in[i].tensor) != t || !may_read(be, n, &n->in[i]))
				continue;
			if (!skip)
				be_add_access(reads, n, i);
			reads_it = true;
			all |= reads_all(n, &n->in[i]);
		}
		num += all && !skip;
		skip -= reads_it && skip;
		if (writes_any(n, t))
			break;
	}
	return num;
}

/* Is it there before the run, and does memory take longer for it than a program load takes? */
static bool may_copy(const struct backend *be, const struct tensor *t)
{
	double cycles = (double)tensor_size(t) / be_bytes_per_cycle(&be->chip);

	return (t->kind == TENSOR_INPUT || t->kind == TENSOR_WEIGHT || t->kind == TENSOR_STATE) &&
	       tensor_whole((struct tensor *)t) == t && !dtype_is_int(t->dtype) && !t->sized &&
	       !t->packed.table &&
	       (be->opt->hold == WHEN_POSSIBLE || cycles > be->chip.pload_latency);
}

/* What sections leave of memory's time. */
struct spare {
	int num, num_nests;
	double *bytes; /* that it could give beside what the section moves */
	bool *open; /* the section is in no loop, and not left out in later runs */
	struct nest **nest; /* of all sections, */
	int *section; /* and which each is of */
};

static struct spare spare_of(const struct backend *be, const struct module_entry *e,
			     const struct be_section *s, int num)
{
	struct spare p = { .num = num };

	p.bytes = xcalloc((size_t)num + 1, sizeof(*p.bytes));
	p.open = xcalloc((size_t)num + 1, sizeof(*p.open));
	p.nest = xcalloc((size_t)e->num_nests + 1, sizeof(struct nest *));
	p.section = xcalloc((size_t)e->num_nests + 1, sizeof(*p.section));
	for (int i = 0; i < num; i++) {
		p.bytes[i] =
			(double)s[i].im->cycles * be_bytes_per_cycle(&be->chip) * MEMORY_SHARE -
			(double)s[i].im->dram_bytes;
		p.open[i] = !s[i].nest->loop && !be_fills_kept(be, s[i].nest);
		for (int k = 0; k < s[i].num_nests; k++) {
			p.section[p.num_nests] = i;
			p.nest[p.num_nests++] = e->nests[s[i].first_nest + k];
		}
	}
	return p;
}

static void spare_end(struct spare *p)
{
	free(p->bytes);
	free(p->open);
	free(p->nest);
	free(p->section);
}

static int section_of(const struct spare *p, const struct nest *n)
{
	int i = 0;

	while (p->nest[i] != n)
		i++;
	return p->section[i];
}

/* The section in which a copy of so many bytes is made for a nest of section `reader`: the last one in front of it
 * that leaves memory the time; none: that one. */
static int copying_section(const struct spare *p, int reader, double bytes)
{
	for (int i = reader - 1; i >= 0 && i >= reader - EARLIER && p->open[i]; i--)
		if (p->bytes[i] >= bytes)
			return i;
	return reader;
}

static int number_of(const struct module_entry *e, const struct nest *n)
{
	int k = 0;

	while (e->nests[k] != n)
		k++;
	return k;
}

/* The copying nest becomes part of section i: behind its last nest, or in front of its first, if that is the
 * reader's. */
static void put_in(const struct spare *p, struct module_entry *e, int i, bool front,
		   struct nest *copying)
{
	int k = front ? 0 : p->num_nests - 1;

	while (p->section[k] != i)
		k += front ? 1 : -1;
	copying->run = p->nest[k]->run;
	be_insert_nest(e, number_of(e, p->nest[k]) + !front, copying);
}

/* Nests read `to`, or what is seen of that, instead of what they read in memory: that may be read again. */
static void redirect(struct backend *be, const struct accesses *reads, struct tensor *t,
		     struct tensor *to)
{
	struct tensor **seen = xcalloc((size_t)be->m->num_tensors + 1, sizeof(*seen));

	to->copied = t;
	if (!be_same_shape(t, to)) {
		char name[80];

		snprintf(name, sizeof(name), "%.60s.seen%d", t->name, be->m->num_tensors);
		to->copied = module_tensor(be->m, name, TENSOR_TEMP, t->dtype, to->ndim, to->dim);
		to->copied->view_of = t;
		to->copied->narrow = t->narrow;
	}
	for (int k = 0; k < reads->num; k++) {
		struct nest *n = reads->list[k].nest;
		struct tensor *was = n->in[reads->list[k].at].tensor, *now;

		be_redirect(be, &reads->list[k], to, seen);
		now = n->in[reads->list[k].at].tensor;
		if (now != to)
			now->copied = was;
	}
	free(seen);
}

static void copy(struct backend *be, struct module_entry *e, struct spare *p, struct tensor *t,
		 const struct accesses *reads, bool early, struct once *o)
{
	struct nest *first = reads->list[0].nest, *load;
	struct tensor *to = be_temp_for(be, reads, t, "once"), **seen;
	double bytes = (double)tensor_size(t);
	int reader = section_of(p, first), in = early ? copying_section(p, reader, bytes) : reader;

	load = be_copy_nest(first, t, t);
	load->name = to->name;
	seen = xcalloc((size_t)be->m->num_tensors + 1, sizeof(*seen));
	redirect(be, reads, t, to);
	be_redirect(be, &(struct nest_access){ load, 1 }, to, seen);
	free(seen);
	/* The readers' sections get none: those that only waited for memory are over sooner. */
	p->bytes[in] -= bytes;
	put_in(p, e, in, in == reader, load);
	o->copy = xroom(o->copy, o->num, &o->room, sizeof(*o->copy));
	o->copy[o->num++] = (struct once_copy){ t, to };
}

struct once *be_once(struct backend *be, struct module_entry *e, const struct be_section *s,
		     int num_sections, const int *way)
{
	struct once *o = xcalloc(1, sizeof(*o));
	struct spare p = spare_of(be, e, s, num_sections);
	int num = be->m->num_tensors;

	o->was = be_remember_nests(e);
	for (int i = 0; i < num; i++) {
		struct tensor *t = be->m->tensors[i];
		struct accesses reads = { 0 };
		int readers = may_copy(be, t) ? find_reads(be, e, t, left_out(way[i]), &reads) : 0;

		if (readers > 1 && be->num_ops + e->num_nests < RDU_MAX_SECTIONS) {
			copy(be, e, &p, t, &reads, is_early(way[i]), o);
			o->bytes += (double)tensor_size(t) * (readers - 1);
		}
		free(reads.list);
	}
	spare_end(&p);
	return o;
}

double be_once_saves(const struct once *o)
{
	return o->bytes;
}

bool be_once_fits(const struct backend *be, const struct once *o, int *way)
{
	bool all = true;

	for (int i = 0; i < o->num; i++) {
		const struct residence *r = &be->residence[o->copy[i].to->id];

		if (be_prints(be, "once"))
			fprintf(be_log(be), "once: %s, way %d: %s\n", o->copy[i].from->name,
				way[o->copy[i].from->id], r->resident ? "stays" : "no room");
		way[o->copy[i].from->id] += !r->resident;
		all &= r->resident;
	}
	return all;
}

int be_once_check(struct backend *be, const struct module_entry *e)
{
	char error[400];

	for (int k = 0; k < e->num_nests; k++) /* those of groups are as their sections want them */
		if (!e->nests[k]->group && nest_check(e->nests[k], error, sizeof(error)))
			return be_error(be, "internal: after once: %s", error);
	return 0;
}

void be_once_undo(struct module_entry *e, struct once *o)
{
	be_carry_undo(e, o->was);
}

void be_once_end(struct once *o)
{
	be_carry_end(o->was);
	free(o->copy);
	free(o);
}
