// SPDX-License-Identifier: MIT
/*
 * The linear form of a nest: accesses as positions along memory axes, without
 * dimensions of extent 1 and with jointly contiguous dimensions merged; and the
 * AGCU programs that read or write along loops over it.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"

int64_t lacc_coef(const struct lacc *a, int dim)
{
	int64_t s = 0;

	for (int i = 0; i < a->num_axes; i++)
		s += a->axis[i].ms * a->axis[i].coef[dim];
	return s;
}

static void find_needs(struct lacc *a)
{
	a->needs = 0;
	for (int i = 0; i < a->num_axes; i++)
		for (int d = 0; d < NEST_MAX_DIMS; d++)
			if (a->axis[i].coef[d])
				a->needs |= 1u << d;
}

/* The next dimension along an axis by its steps, from `coef` elements on; -1: none. */
static int next_dim(const struct laxis *x, int64_t coef, int num_dims)
{
	int at = -1;

	for (int d = 0; d < num_dims; d++)
		if (x->coef[d] >= coef && (at < 0 || x->coef[d] < x->coef[at]))
			at = d;
	return at;
}

/* Do the dimensions along an axis go through it like the digits of a number: no position twice,
 * the steps of each beyond all of those with smaller ones? */
static bool has_digits(const struct laxis *x, const struct lnest *l)
{
	int64_t beyond = 1;
	int num = 0, digits = 0;

	for (int d = 0; d < l->num_dims; d++)
		num += x->coef[d] != 0;
	for (int d; (d = next_dim(x, beyond, l->num_dims)) >= 0; digits++)
		beyond = x->coef[d] * l->extent[d];
	return num > 1 && digits == num;
}

/* Adds an axis; one with digits becomes an axis for each, which may then be merged with others. */
static void add_axis(struct lacc *a, const struct laxis *x, const struct lnest *l)
{
	int num = 0;

	for (int d = 0; d < l->num_dims; d++)
		num += x->coef[d] != 0;
	if (x->guard || x->off || !has_digits(x, l) || a->num_axes + num > RDU_MAX_DIMS) {
		a->axis[a->num_axes++] = *x;
		return;
	}
	for (int d = 0; d < l->num_dims; d++)
		if (x->coef[d]) {
			struct laxis *y = &a->axis[a->num_axes++];

			*y = (struct laxis){ .ms = x->ms * x->coef[d], .dim = l->extent[d] };
			y->coef[d] = 1;
		}
}

static void lacc_from(struct lacc *a, const struct nest *n, const struct access *s, const int *map,
		      const struct lnest *l)
{
	const struct tensor *t = s->tensor;

	memset(a, 0, sizeof(*a));
	a->t = s->tensor;
	a->pad = s->pad;
	a->gather_in = s->gather_in;
	if (s->gather_in >= 0) {
		a->gather_stride = t->stride[s->gather_dim];
		a->gather_extent = t->dim[s->gather_dim];
	}
	for (int d = 0; d < t->ndim; d++) {
		struct laxis x = { .ms = t->stride[d], .dim = t->dim[d] };
		int64_t lo = s->offset[d], hi = s->offset[d];
		bool any = false;

		for (int i = 0; i < n->ndim; i++) {
			int64_t c = s->coef[d][i];

			if (map[i] < 0 || !c)
				continue;
			any = true;
			x.coef[map[i]] = c;
			*(c > 0 ? &hi : &lo) += c * (l->extent[map[i]] - 1);
		}
		if (s->guarded && (lo < 0 || hi >= t->dim[d]) &&
		    !(s->gather_in >= 0 && s->gather_dim == d)) {
			x.guard = true;
			x.off = s->offset[d];
		} else if (lo <
			   s->offset[d]) { /* counts down: what is on chip starts at off - ... */
			x.off = s->offset[d];
		} else {
			a->base += s->offset[d] * t->stride[d];
		}
		if (any || x.guard)
			add_axis(a, &x, l);
	}
}

/* Axis that alone carries dim in an access, or -1; *ok false when merging is
 * out of the question. */
static int only_axis(const struct lacc *a, int dim, int num_dims, bool *ok)
{
	int at = -1;

	for (int i = 0; i < a->num_axes; i++) {
		if (!a->axis[i].coef[dim])
			continue;
		if (at >= 0 || a->axis[i].guard || a->axis[i].off)
			*ok = false;
		for (int d = 0; d < num_dims; d++)
			if (d != dim && a->axis[i].coef[d])
				*ok = false;
		at = i;
	}
	return at;
}

static bool can_merge(const struct lacc *a, int d, int e, int64_t extent_e, int num_dims)
{
	bool ok = true;
	int x = only_axis(a, d, num_dims, &ok), y = only_axis(a, e, num_dims, &ok);

	if (!ok)
		return false;
	if (x < 0 && y < 0)
		return true;
	if (x < 0 || y < 0)
		return false;
	return a->axis[x].ms * a->axis[x].coef[d] == a->axis[y].ms * a->axis[y].coef[e] * extent_e;
}

static void merge(struct lacc *a, int d, int e, int64_t extent)
{
	bool ok;
	int x = only_axis(a, d, NEST_MAX_DIMS, &ok), y = only_axis(a, e, NEST_MAX_DIMS, &ok);

	if (x < 0)
		return;
	a->axis[y].ms *= a->axis[y].coef[e];
	a->axis[y].coef[e] = 1;
	a->axis[y].dim = extent;
	for (int i = x; i + 1 < a->num_axes; i++)
		a->axis[i] = a->axis[i + 1];
	a->num_axes--;
}

static void drop_dim(struct lacc *a, int d, int num_dims)
{
	for (int i = 0; i < a->num_axes; i++) {
		for (int k = d; k + 1 < num_dims; k++)
			a->axis[i].coef[k] = a->axis[i].coef[k + 1];
		a->axis[i].coef[num_dims - 1] = 0;
	}
}

static bool merge_pair(struct lnest *l, const bool *indexed, int d, int e)
{
	const struct nest *n = l->n;

	if (l->shared[d] || l->shared[e] || l->reduce[d] != l->reduce[e] || indexed[d] ||
	    indexed[e] || l->extent[d] * l->extent[e] > 0x3fffffff)
		return false;
	for (int i = 0; i < n->num_in; i++)
		if (!can_merge(&l->in[i], d, e, l->extent[e], l->num_dims))
			return false;
	for (int i = 0; i < n->num_out; i++)
		if (!can_merge(&l->out[i], d, e, l->extent[e], l->num_dims))
			return false;
	l->extent[e] *= l->extent[d];
	for (int i = 0; i < n->num_in; i++) {
		merge(&l->in[i], d, e, l->extent[e]);
		drop_dim(&l->in[i], d, l->num_dims);
	}
	for (int i = 0; i < n->num_out; i++) {
		merge(&l->out[i], d, e, l->extent[e]);
		drop_dim(&l->out[i], d, l->num_dims);
	}
	return true;
}

void lnest_from(struct lnest *l, const struct nest *n)
{
	bool indexed[NEST_MAX_DIMS] = { 0 };
	bool again = true;

	memset(l, 0, sizeof(*l));
	l->n = n;
	for (int i = 0; i < n->ndim; i++) {
		l->index_dim[i] = -1;
		if (n->dim[i].extent == 1)
			continue;
		l->index_dim[i] = l->num_dims;
		l->extent[l->num_dims] = n->dim[i].extent;
		l->reduce[l->num_dims] = n->dim[i].reduce;
		l->shared[l->num_dims] = n->dim[i].shared;
		memcpy(l->name[l->num_dims++], n->dim[i].name, 8);
	}
	for (int i = 0; i < n->num_expr; i++)
		if (n->expr[i].kind == EXPR_INDEX && l->index_dim[n->expr[i].arg[0]] >= 0)
			indexed[l->index_dim[n->expr[i].arg[0]]] = true;
	l->carried = nest_carried(n) < 0 ? -1 : l->index_dim[nest_carried(n)];
	if (l->carried >= 0)
		indexed[l->carried] = true;
	for (int i = 0; i < n->num_in; i++)
		lacc_from(&l->in[i], n, &n->in[i], l->index_dim, l);
	for (int i = 0; i < n->num_out; i++)
		lacc_from(&l->out[i], n, &n->out[i].access, l->index_dim, l);
	while (again) {
		again = false;
		for (int d = 0; d < l->num_dims && !again; d++)
			for (int e = 0; e < l->num_dims && !again; e++) {
				if (d == e || !merge_pair(l, indexed, d, e))
					continue;
				again = true;
				for (int i = 0; i < n->ndim; i++)
					if (l->index_dim[i] == d)
						l->index_dim[i] = -1;
					else if (l->index_dim[i] > d)
						l->index_dim[i]--;
				for (int k = d; k + 1 < l->num_dims; k++) {
					l->extent[k] = l->extent[k + 1];
					l->reduce[k] = l->reduce[k + 1];
					l->shared[k] = l->shared[k + 1];
					indexed[k] = indexed[k + 1];
					memcpy(l->name[k], l->name[k + 1], 8);
				}
				l->carried -= l->carried > d;
				l->num_dims--;
			}
	}
	for (int i = 0; i < n->num_in; i++)
		find_needs(&l->in[i]);
	for (int i = 0; i < n->num_out; i++)
		find_needs(&l->out[i]);
}

static int check_access(const struct lnest *l, const struct lacc *a, const char *what, int k,
			char *error, int error_size)
{
	int64_t lo = a->base, hi = a->base, last = 0;

	if (a->gather_in >= 0) /* only the card knows where it goes */
		return 0;
	for (int d = 0; d < a->t->ndim; d++)
		last += (a->t->dim[d] - 1) * a->t->stride[d];
	for (int i = 0; i < a->num_axes; i++) {
		const struct laxis *x = &a->axis[i];
		int64_t from = x->off, to = x->off;

		for (int d = 0; d < l->num_dims; d++)
			*(x->coef[d] > 0 ? &to : &from) += x->coef[d] * (l->extent[d] - 1);
		if (x->guard) {
			from = max64(from, 0);
			to = min64(to, x->dim - 1);
			if (from > to) /* always outside */
				return 0;
		}
		lo += x->ms * (x->ms > 0 ? from : to);
		hi += x->ms * (x->ms > 0 ? to : from);
	}
	if (lo >= 0 && hi <= last)
		return 0;
	snprintf(error, (size_t)error_size,
		 "%s %d reaches elements %lld to %lld of '%s', 0 to %lld are there", what, k,
		 (long long)lo, (long long)hi, a->t->name, (long long)last);
	return -1;
}

int lnest_check(const struct lnest *l, char *error, int error_size)
{
	const struct nest *n = l->n;
	double points = 1, left = 1;

	for (int d = 0; d < n->ndim; d++)
		points *= (double)n->dim[d].extent;
	for (int d = 0; d < l->num_dims; d++)
		left *= (double)l->extent[d];
	if (points != left) {
		snprintf(error, (size_t)error_size, "%g points of %g are left", left, points);
		return -1;
	}
	for (int i = 0; i < n->num_in; i++)
		if (check_access(l, &l->in[i], "input", i, error, error_size))
			return -1;
	for (int i = 0; i < n->num_out; i++)
		if (check_access(l, &l->out[i], "output", i, error, error_size))
			return -1;
	return 0;
}

/* ---- AGCU programs ------------------------------------------------------------- */

void loops_add(struct uimage *im, struct loops *lp, int dim, int64_t start, int64_t step,
	       int64_t trip, bool reduce)
{
	if (lp->num == UC_MAX) {
		image_fail(im, "needs more than %d loops", UC_MAX);
		return;
	}
	lp->l[lp->num].dim = dim;
	lp->l[lp->num].start = start;
	lp->l[lp->num].step = step;
	lp->l[lp->num].trip = trip;
	lp->l[lp->num++].reduce = reduce;
}

/* Is it a store whose place depends on dimension d by its index alone? */
static bool scatters(const struct lnest *l, const struct lacc *a, int d)
{
	bool store = a >= l->out && a < l->out + l->n->num_out;

	return store && a->gather_in >= 0 && lacc_needs(&l->in[a->gather_in], d);
}

/* Address and predicates of an access at the loops listed in at[] (loop -> counter
 * of the program, -1: it has none, index start there). */
static void address(struct uaccess *u, const struct lnest *l, const struct lacc *a,
		    const struct loops *lp, const int *at)
{
	u->format = dtype_format(a->t->dtype);
	u->lanes = lp->lanes;
	u->base = a->base;
	u->lane_stride = lp->lane_dim >= 0 ? lacc_coef(a, lp->lane_dim) : 0;
	u->index_stride = a->gather_stride;
	for (int x = 0; x < a->num_axes; x++)
		u->base += a->axis[x].off * a->axis[x].ms;
	for (int i = 0; i < lp->num; i++) {
		int64_t c = lp->l[i].dim >= 0 ? lacc_coef(a, lp->l[i].dim) : 0;

		if (at[i] >= 0)
			u->stride[at[i]] = c;
		else
			u->base += c * lp->l[i].start;
	}
	for (int x = 0; x < a->num_axes; x++) { /* the tensor's bounds */
		struct upred *p;

		if (!a->axis[x].guard)
			continue;
		p = access_pred(u);
		p->base = a->axis[x].off;
		p->hi = a->axis[x].dim;
		if (lp->lane_dim >= 0)
			p->lane_stride = a->axis[x].coef[lp->lane_dim];
		for (int i = 0; i < lp->num; i++) {
			int64_t c = lp->l[i].dim >= 0 ? a->axis[x].coef[lp->l[i].dim] : 0;

			if (at[i] >= 0)
				p->stride[at[i]] = c;
			else
				p->base += c * lp->l[i].start;
		}
	}
	for (int d = 0; d < l->num_dims; d++) { /* the loops' overshoot */
		struct upred *p;

		if (lp->reach[d] <= lp->limit[d] || !(lacc_needs(a, d) || scatters(l, a, d)))
			continue;
		p = access_pred(u);
		p->hi = lp->limit[d];
		p->lane_stride = d == lp->lane_dim;
		for (int i = 0; i < lp->num; i++) {
			if (lp->l[i].dim != d)
				continue;
			if (at[i] >= 0)
				p->stride[at[i]] = 1;
			else
				p->base += lp->l[i].start;
		}
	}
}

static bool loop_needed(const struct lnest *l, const struct lacc *a, const struct loops *lp, int i)
{
	int d = lp->l[i].dim;

	if (d < 0)
		return false;
	if (lacc_needs(a, d))
		return true;
	return a->gather_in >= 0 && lacc_needs(&l->in[a->gather_in], d);
}

bool lacc_gathers(const struct lnest *l, const struct lacc *a, int d)
{
	while (a->gather_in >= 0) {
		a = &l->in[a->gather_in];
		if (d >= 0 && lacc_needs(a, d))
			return true;
	}
	return false;
}

static uint32_t gather_flags(const struct lnest *l, const struct lacc *a, const struct loops *lp)
{
	return RDU_ACCESS_GATHER | (lacc_gathers(l, a, lp->lane_dim) ? 0 : RDU_ACCESS_ONE_INDEX);
}

int agcu_load(struct uimage *im, const struct lnest *l, const struct lacc *a,
	      const struct loops *lp, int op_id, uint32_t pad, double hx, double hy, uint32_t *mask)
{
	int u = image_unit(im, RDU_UNIT_AGCU, hx, hy), keep = lp->num, pr, at[UC_MAX];
	struct uprog *p;

	while (keep > lp->num_outer && !loop_needed(l, a, lp, keep - 1))
		keep--;
	*mask = 0;
	for (int i = keep; i < lp->num; i++)
		*mask |= 1u << i;
	pr = image_prog(im, RDU_KIND_LOAD, u, op_id);
	p = &im->prog[pr];
	for (int i = 0; i < lp->num; i++)
		at[i] = i < keep ? image_counter(p, lp->l[i].start, lp->l[i].step, lp->l[i].trip)
				 : -1;
	p->num_outer = lp->num_outer;
	p->num_shared = lp->num_shared;
	address(&p->acc, l, a, lp, at);
	p->acc.pad = pad;
	p->acc.target = image_segment(im, a->t, RDU_SEG_READ);
	image_out(im, pr, 0, 0, 1);
	if (a->gather_in >= 0) {
		uint32_t m;
		int ix;

		p->acc.flags = gather_flags(l, a, lp);
		image_in(im, pr, 0);
		ix = agcu_load(im, l, &l->in[a->gather_in], lp, op_id, 0, hx, hy, &m);
		m &= ~*mask; /* held while the index does not change */
		im->prog[pr].in[0].mask = m;
		image_join(im, ix, 0, pr, 0);
	}
	return pr;
}

bool lacc_repeats(const struct lnest *l, const struct lacc *a)
{
	bool repeats = false;

	for (int d = 0; d < l->num_dims; d++)
		repeats |= l->shared[d] && l->extent[d] > 1 && !lacc_needs(a, d);
	return repeats && a->gather_in < 0;
}

/* Words that an access reads in all of the loops but the innermost ones it does not depend on, from
 * *keep on; stride[]: from one vector to another, where they lie in the order of the loops. */
static int64_t words_read(const struct lnest *l, const struct lacc *a, const struct loops *lp,
			  int *keep, int64_t *stride)
{
	int64_t words = lp->lanes;

	*keep = lp->num;
	while (*keep > lp->num_outer && !loop_needed(l, a, lp, *keep - 1))
		--*keep;
	for (int i = *keep - 1; i >= 0; i--) {
		stride[i] = 0;
		if (!loop_needed(l, a, lp, i))
			continue;
		stride[i] = words;
		words *= lp->l[i].trip;
	}
	return words;
}

/* A program of a buffer that goes through it over the loops; once: over those that change something. */
static int walk(struct uimage *im, enum rdu_kind kind, int buffer, const struct loops *lp, int keep,
		const int64_t *stride, int op_id)
{
	int pr = image_prog(im, kind, im->buffer[buffer].unit, op_id);
	struct uprog *p = &im->prog[pr];
	bool once = kind == RDU_KIND_WRITE;

	for (int i = 0; i < keep; i++)
		if (stride[i] || !once)
			p->acc.stride[image_counter(p, 0, 1, lp->l[i].trip)] = stride[i];
	if (!once) {
		p->num_outer = lp->num_outer;
		p->num_shared = lp->num_shared;
		p->acc.flip_mask = (1u << p->num_outer) - 1;
	}
	p->acc.target = buffer;
	p->acc.format = RDU_FMT_WORD;
	p->acc.lanes = lp->lanes;
	p->acc.lane_stride = 1;
	return pr;
}

int once_load(struct uimage *im, const struct lnest *l, const struct lacc *a,
	      const struct loops *lp, int op_id, uint32_t pad, double hx, double hy, uint32_t *mask)
{
	struct loops once = *lp;
	int64_t stride[UC_MAX], words;
	int keep, ld, wr, rd, buffer;
	uint32_t none, flip;

	words = words_read(l, a, lp, &keep, stride);
	if (!lacc_repeats(l, a) || words * 4 > im->chip->pmu_bytes)
		return agcu_load(im, l, a, lp, op_id, pad, hx, hy, mask);
	once.num = once.num_outer = once.num_shared = 0;
	for (int i = 0; i < keep; i++)
		if (stride[i])
			once.l[once.num++] = lp->l[i];
	*mask = 0;
	for (int i = keep; i < lp->num; i++)
		*mask |= 1u << i;
	ld = agcu_load(im, l, a, &once, op_id, pad, hx, hy, &none);
	buffer = image_buffer(im, image_unit(im, RDU_UNIT_PMU, hx, hy), 1, (uint32_t)words);
	wr = walk(im, RDU_KIND_WRITE, buffer, lp, keep, stride, op_id);
	rd = walk(im, RDU_KIND_READ, buffer, lp, keep, stride, op_id);
	flip = im->prog[rd].acc.flip_mask;
	image_join(im, ld, 0, wr, image_in(im, wr, 0));
	image_out(im, rd, 0, 0, 1);
	image_token(im, wr, 0, rd, flip, 0);
	image_token(im, rd, flip, wr, 0, 1);
	return rd;
}

int agcu_store(struct uimage *im, const struct lnest *l, const struct lacc *a,
	       const struct loops *lp, bool add, int op_id, double hx, double hy)
{
	int u = image_unit(im, RDU_UNIT_AGCU, hx, hy), at[UC_MAX], pr;
	struct uprog *p;

	pr = image_prog(im, RDU_KIND_STORE, u, op_id);
	p = &im->prog[pr];
	for (int i = 0; i < lp->num; i++)
		at[i] = image_counter(p, lp->l[i].start, lp->l[i].step, lp->l[i].trip);
	p->num_outer = lp->num_outer;
	p->num_shared = lp->num_shared;
	address(&p->acc, l, a, lp, at);
	p->acc.flags = add ? RDU_ACCESS_ADD : 0;
	p->acc.target = image_segment(im, a->t, RDU_SEG_WRITE | (add ? RDU_SEG_READ : 0));
	image_in(im, pr, 0);
	if (a->gather_in >= 0) { /* scatter */
		uint32_t m;
		int port, ix;

		im->prog[pr].acc.flags |= gather_flags(l, a, lp);
		port = image_in(im, pr, 0);
		ix = agcu_load(im, l, &l->in[a->gather_in], lp, op_id, 0, hx, hy, &m);
		im->prog[pr].in[port].mask = m;
		image_join(im, ix, 0, pr, port);
	}
	return pr;
}
