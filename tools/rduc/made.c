// SPDX-License-Identifier: MIT
/*
 * Made operands: what a map makes of weights, for products alone, is made while these load it. Its tensor is
 * nowhere; where a product's plan has a LOAD of it, there are LOADs of what it is made of, and PCUs.
 *
 * The map's dimensions are the digits of an element's place in that tensor. The counters of the LOAD that is
 * replaced step through these places, so each becomes loops over the map's dimensions.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

const struct made *be_made(const struct backend *be, struct tensor *t)
{
	for (int i = 0; i < be->num_made; i++)
		if (tensor_storage(be->made[i].maker->out[0].access.tensor) == tensor_storage(t))
			return &be->made[i];
	return NULL;
}

const struct nest *be_maker(const struct backend *be, struct tensor *t)
{
	const struct made *m = be_made(be, t);

	return m ? m->maker : NULL;
}

#define MOST_SLOWER 3
#define SMALL_PART 64 /* what is not weights is a part in so many of the result */

/* ---- what is made so ------------------------------------------------------------------------- */

#define MOST_READERS 4

/* Is it a map, element by element, of weights, and of what is small beside its result? */
static bool is_maker(const struct nest *n)
{
	const struct access *out = &n->out[0].access;
	bool weights = false;

	if (n->reduce != REDUCE_NONE || n->num_out != 1 || n->out[0].add || out->guarded ||
	    out->gather_in >= 0 || out->tensor->kind != TENSOR_TEMP || !n->num_in ||
	    tensor_storage(out->tensor)->row_of || !be_covers(n, out))
		return false;
	for (int i = 0; i < n->num_in; i++) {
		const struct tensor *t = tensor_storage(n->in[i].tensor);
		bool weight = t->kind == TENSOR_WEIGHT;

		if (n->in[i].gather_in >= 0 || n->in[i].guarded || t->row_of ||
		    (!weight && (t->kind != TENSOR_TEMP || n->loop ||
				 SMALL_PART * be_words(t) > be_words(out->tensor))))
			return false;
		weights |= weight;
	}
	for (int i = 0; i < n->num_expr; i++) /* none may trap: a tile may be loaded twice */
		if (n->expr[i].kind == EXPR_LIVE || n->expr[i].kind == EXPR_CARRY)
			return false;
	return weights;
}

/* The first of nests [from, to) that writes something that a maker reads; to: none does. */
static int first_change(const struct module_entry *e, int from, int to, const struct nest *maker)
{
	while (from < to) {
		for (int i = 0; i < maker->num_in; i++)
			if (nest_writes(e->nests[from], tensor_storage(maker->in[i].tensor)))
				return from;
		from++;
	}
	return to;
}

/* May nest q be in front of nest `to`, which comes before it? */
static bool may_pass(const struct module_entry *e, int q, int to)
{
	const struct nest *n = e->nests[q];

	for (int k = to; k < q; k++)
		if (e->nests[k]->loop != n->loop || !be_independent(e->nests[k], n))
			return false;
	return true;
}

/* May nest `from`, which comes before nest q, be behind it? */
static bool may_wait(const struct module_entry *e, int from, int q)
{
	const struct nest *n = e->nests[from];

	for (int k = from + 1; k <= q; k++)
		if (e->nests[k]->loop != n->loop || !be_independent(e->nests[k], n))
			return false;
	return true;
}

static void pass(struct module_entry *e, int q, int to)
{
	struct nest *n = e->nests[q];

	memmove(&e->nests[to + 1], &e->nests[to], sizeof(n) * (size_t)(q - to));
	e->nests[to] = n;
}

static void wait(struct module_entry *e, int from, int q)
{
	struct nest *n = e->nests[from];

	memmove(&e->nests[from], &e->nests[from + 1], sizeof(n) * (size_t)(q - from));
	e->nests[q] = n;
}

/* Can nest q be in front of all nests from number k on that change what a maker reads: it goes up, or they down? */
static bool comes_first(const struct module_entry *e, int k, int q, const struct nest *maker)
{
	int change = first_change(e, k, q, maker);

	if (change == q || may_pass(e, q, change))
		return true;
	for (; change < q; change = first_change(e, change + 1, q, maker))
		if (!may_wait(e, change, q))
			return false;
	return true;
}

/* Puts it there. */
static void put_first(struct module_entry *e, int k, int q, const struct nest *maker)
{
	for (int change; (change = first_change(e, k, q, maker)) < q; q--) {
		if (may_pass(e, q, change)) {
			pass(e, q, change);
			return;
		}
		wait(e, change, q);
	}
}

/* The nests that read what nest k makes, each as one operand of a product that has no other such; they are in front
 * of whatever changes what that is made of, or may be. How many; 0: there are others. */
static int find_readers(const struct backend *be, const struct module_entry *e, int k,
			struct nest **readers)
{
	const struct nest *maker = e->nests[k];
	const struct tensor *t = tensor_storage(maker->out[0].access.tensor);
	int in[2], num = 0;

	for (int q = 0; q < e->num_nests; q++) {
		struct nest *n = e->nests[q];
		int times = 0;

		if (q != k && nest_writes(n, t)) /* it is not as the maker makes it then */
			return 0;
		for (int i = 0; i < n->num_in; i++)
			times += tensor_storage(n->in[i].tensor) == t;
		if (!times)
			continue;
		if (times > 1 || first_change(e, q, q + 1, maker) == q || num == MOST_READERS ||
		    q < k || n->loop != maker->loop || !be_contraction(be, n, in) ||
		    be_maker(be, n->in[in[0]].tensor) || be_maker(be, n->in[in[1]].tensor) ||
		    (tensor_storage(n->in[in[0]].tensor) != t &&
		     tensor_storage(n->in[in[1]].tensor) != t) ||
		    !comes_first(e, k, q, maker))
			return 0;
		readers[num++] = n;
	}
	return maker->loop && first_change(e, 0, e->num_nests, maker) < e->num_nests ? 0 : num;
}

/* Cycles of a nest alone behind what there was before; UINT64_MAX: there is no section of it. */
static uint64_t time_alone(struct backend *be, struct be_loads *l, struct nest *n)
{
	struct uimage *im;
	uint64_t cycles;

	if (be_lower(be, n, be->level, 0, &im) || be_time_about(be, im, UINT64_MAX))
		return UINT64_MAX;
	cycles = be_load(be, l, im).cycles + im->cycles;
	l->planes = (struct rdu_planes){ 0 }; /* another image may be where this one was */
	image_free(im);
	return cycles;
}

/* Of several nests. */
static uint64_t time_of_all(struct backend *be, struct be_loads *l, struct nest **nest, int num)
{
	uint64_t sum = 0;

	for (int i = 0; i < num && sum != UINT64_MAX; i++) {
		uint64_t cycles = time_alone(be, l, nest[i]);

		sum = cycles == UINT64_MAX ? cycles : sum + cycles;
	}
	return sum;
}

/* Does what was added last take less time than all these nests by way of memory? Of the plans there are that is
 * the fastest. */
static bool is_faster(struct backend *be, struct nest *maker, struct nest **readers, int num)
{
	struct made *m = &be->made[be->num_made - 1];
	struct be_loads loads = { 0 };
	uint64_t apart, now = UINT64_MAX;
	int best = MOST_SLOWER;

	for (m->slower = 2; m->slower <= MOST_SLOWER; m->slower++) {
		struct be_loads none = { 0 };
		uint64_t cycles = time_of_all(be, &none, readers, num);

		best = cycles < now ? m->slower : best;
		now = cycles < now ? cycles : now;
	}
	m->slower = best;
	be->num_made--;
	apart = time_of_all(be, &loads, &maker, 1);
	apart = apart == UINT64_MAX ? apart : apart + time_of_all(be, &loads, readers, num);
	be->num_made++;
	if (be_prints(be, "made"))
		fprintf(be_log(be), "made: %s%s: %lld cycles, %lld by way of memory\n",
			readers[0]->name, num > 1 ? " and others" : "", (long long)now,
			(long long)apart);
	/* What several read might stay in scratchpads. */
	return num > 1 ? now + now / 8 < apart : now < apart;
}

void be_make_operands(struct backend *be)
{
	for (int i = 0; i < be->m->num_entries; i++) {
		struct module_entry *e = &be->m->entries[i];

		for (int k = 0; k < e->num_nests; k++) {
			struct nest *n = e->nests[k], *readers[MOST_READERS];
			int num = is_maker(n) ? find_readers(be, e, k, readers) : 0;

			if (!num)
				continue;
			be->made = xgrow(be->made, be->num_made, sizeof(*be->made));
			be->made[be->num_made++] = (struct made){ .maker = n };
			if (!is_faster(be, n, readers, num)) {
				be->num_made--;
				continue;
			}
			if (!readers[0]->remark && n->remark)
				readers[0]->remark = xstrdup(n->remark);
			for (int q = k; q < e->num_nests; q++)
				if (nest_reads(e->nests[q],
					       tensor_storage(n->out[0].access.tensor)))
					put_first(e, k, q, n);
			memmove(&e->nests[k], &e->nests[k + 1],
				sizeof(struct nest *) * (size_t)(--e->num_nests - k));
			k--;
		}
	}
}

bool be_makes_of_changing(const struct backend *be, const struct module_entry *e,
			  const struct nest *n)
{
	for (int i = 0; i < n->num_in; i++) {
		const struct nest *maker = be_maker(be, n->in[i].tensor);

		if (maker && first_change(e, 0, e->num_nests, maker) < e->num_nests)
			return true;
	}
	return false;
}

/* Does nest `by` write what an operand of nest n is made of? */
static bool changes_operand(const struct backend *be, const struct nest *by, const struct nest *n)
{
	for (int i = 0; i < n->num_in; i++) {
		const struct nest *maker = be_maker(be, n->in[i].tensor);

		for (int k = 0; maker && k < maker->num_in; k++)
			if (nest_writes(by, tensor_storage(maker->in[k].tensor)))
				return true;
	}
	return false;
}

bool be_may_swap(const struct backend *be, const struct nest *a, const struct nest *b)
{
	return be_independent(a, b) && !changes_operand(be, a, b) && !changes_operand(be, b, a);
}

/* ---- what takes a LOAD's place ----------------------------------------------------------------- */

/* Loops of one counter, the innermost first. */
struct part {
	int dim;
	int64_t step, trip;
};

/* Cuts a counter that goes on by `step` elements of the made tensor into loops over the map's dimensions;
 * most[]: the highest index of each so far. How many; 0: it cannot be done. */
static int cut_counter(const struct lnest *l, int64_t *most, int64_t step, int64_t trip,
		       struct part *part)
{
	int num = 0;

	if (!step) {
		part[0] = (struct part){ -1, 0, trip };
		return 1;
	}
	while (trip > 1) {
		int64_t by, there;
		int d = -1;

		for (int i = 0; i < l->num_dims; i++) {
			int64_t c = lacc_coef(&l->out[0], i);

			if (step >= c && step % c == 0 && l->extent[i] > 1 &&
			    (d < 0 || c > lacc_coef(&l->out[0], d)))
				d = i;
		}
		if (d < 0 || num == UC_MAX)
			return 0;
		by = step / lacc_coef(&l->out[0], d);
		there = trip;
		if (most[d] + by * (trip - 1) >= l->extent[d]) { /* it goes on in the next digit */
			there = l->extent[d] / by;
			if (there < 2 || l->extent[d] % by || trip % there ||
			    most[d] + by * (there - 1) >= l->extent[d])
				return 0;
		}
		most[d] += by * (there - 1);
		part[num++] = (struct part){ d, by, there };
		trip /= there;
		step *= there;
	}
	return num;
}

/* The map's indices where the LOAD begins. */
static bool find_start(const struct lnest *l, int64_t at, int64_t *start)
{
	for (int d = 0; d < l->num_dims; d++) {
		int64_t c = lacc_coef(&l->out[0], d), next = 0;

		for (int i = 0; i < l->num_dims; i++) { /* the next digit's place */
			int64_t up = lacc_coef(&l->out[0], i);

			if (up > c && (!next || up < next))
				next = up;
		}
		if (c <= 0)
			return false;
		start[d] = (next ? at % next : at) / c;
		if (start[d] < 0 || start[d] >= l->extent[d])
			return false;
	}
	return true;
}

/* The loops of a LOAD of the made tensor. False: they cannot be told. */
static bool find_loops(struct uimage *im, const struct lnest *l, const struct uprog *load,
		       struct loops *lp)
{
	int64_t at = load->acc.base - l->out[0].base, most[NEST_MAX_DIMS];
	int64_t start[NEST_MAX_DIMS] = { 0 };

	*lp = (struct loops){ .lane_dim = -1, .lanes = load->acc.lanes };
	if (load->acc.num_preds || at < 0)
		return false;
	for (int i = 0; i < load->num_counters; i++)
		at += load->c[i].start * load->acc.stride[i];
	if (!find_start(l, at, start))
		return false;
	memcpy(most, start, sizeof(most));
	for (int d = 0; d < l->num_dims && load->acc.lanes > 1; d++)
		if (lacc_coef(&l->out[0], d) == load->acc.lane_stride) {
			lp->lane_dim = d;
			most[d] += load->acc.lanes - 1;
		}
	if ((load->acc.lanes > 1 && lp->lane_dim < 0) ||
	    (lp->lane_dim >= 0 && most[lp->lane_dim] >= l->extent[lp->lane_dim]))
		return false;
	for (int d = 0; d < l->num_dims; d++) /* a loop of one iteration, where it begins */
		if (start[d])
			loops_add(im, lp, d, start[d], 1, 1, false);
	lp->num_outer = lp->num_shared = lp->num;
	for (int i = 0; i < load->num_counters; i++) {
		struct part part[UC_MAX];
		int num = cut_counter(l, most, load->c[i].step * load->acc.stride[i],
				      load->c[i].trip, part);

		if (!num && load->c[i].trip > 1)
			return false;
		while (num--)
			loops_add(im, lp, part[num].dim, 0, part[num].step, part[num].trip, false);
		if (i < load->num_outer)
			lp->num_outer = lp->num;
		if (i < load->num_shared)
			lp->num_shared = lp->num;
	}
	for (int d = 0; d < l->num_dims; d++)
		lp->limit[d] = l->extent[d];
	return true;
}

int be_make_stream(struct backend *be, struct uimage *im, const struct nest *maker,
		   const struct uprog *load, int op_id, struct xsrc *from)
{
	struct loops lp;
	struct lnest l;

	lnest_from(&l, maker);
	if (find_loops(im, &l, load, &lp))
		return map_stream(be, im, &l, &lp, op_id, from);
	image_fail(im, "'%s' cannot be made in the order that it is loaded in", maker->name);
	return -1;
}

int be_maker_pcus(const struct backend *be, const struct nest *maker)
{
	struct loops lp = { .lane_dim = 0, .lanes = 1 };
	struct xbuild b;
	struct lnest l;
	int pcus;

	lnest_from(&l, maker);
	xbuild_init(&b, &l, &lp);
	xbuild_output(&b, maker->out[0].expr, RDU_SIMD_MOV);
	pcus = xprog_pcus(&be->chip, &b.x);
	xprog_free(&b.x);
	return pcus;
}
