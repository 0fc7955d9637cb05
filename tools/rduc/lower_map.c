// SPDX-License-Identifier: MIT
/*
 * The streaming form: LOAD -> PCUs -> STORE, a vector of the lane dimension at a
 * time, reductions in the accumulator of a stage (and across lanes when the lane
 * dimension is reduced). Any nest can be lowered so.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"

/* Does the nest bring, or store, what is carried? */
static bool moves_carried(const struct backend *be, const struct lnest *l)
{
	bool carried = false;

	for (int i = 0; i < l->n->num_in + l->n->num_out; i++) {
		const struct lacc *a = i < l->n->num_in ? &l->in[i] : &l->out[i - l->n->num_in];
		const struct residence *r = residence_of(be, l->n, a->t);

		carried |= r && r->carried;
	}
	return carried && !l->n->loop;
}

/* Do the lanes of vectors lie in more bursts than an AGCU remembers, one each, so that it had better go on along
 * another dimension, which is in the same bursts, before it turns to the next lanes? */
static const struct lacc *lanes_apart(const struct backend *be, const struct lnest *l, int lane_dim)
{
	const struct rdu_chip *chip = &be->chip;

	if (lane_dim < 0 || l->reduce[lane_dim] || !moves_carried(be, l) ||
	    l->extent[lane_dim] * 2 <= chip->agcu_lines)
		return NULL;
	for (int i = 0; i < l->n->num_in + l->n->num_out; i++) {
		const struct lacc *a = i < l->n->num_in ? &l->in[i] : &l->out[i - l->n->num_in];
		int64_t size = dtype_size(a->t->dtype);

		if (residence_of(be, l->n, a->t) ||
		    llabs(lacc_coef(a, lane_dim)) * size < chip->dram_burst)
			continue;
		for (int d = 0; d < l->num_dims; d++)
			if (lacc_coef(a, d) && llabs(lacc_coef(a, d)) * size < chip->dram_burst)
				return a;
	}
	return NULL;
}

#define FIRING_COST 16 /* of a unit, in bytes off-chip */

/* Off-chip cost in bytes of one vector. */
static double vector_cost(const struct rdu_chip *chip, const struct lnest *l, const struct lacc *a,
			  int d, int64_t lanes)
{
	double size = dtype_size(a->t->dtype), span;
	int64_t stride = lacc_coef(a, d);

	if (lacc_gathers(l, a, d))
		return (double)lanes * chip->dram_burst;
	if (!stride)
		return size;
	span = (double)lanes * (double)(stride < 0 ? -stride : stride) * size;
	return span < (double)lanes * chip->dram_burst ? span : (double)lanes * chip->dram_burst;
}

/* What a vector of an access costs, in scratchpads or memory. */
static double access_cost(const struct backend *be, const struct rdu_chip *chip,
			  const struct lnest *l, const struct lacc *a, int d, int64_t lanes,
			  bool made)
{
	const struct residence *r = residence_of(be, l->n, a->t);
	double cost = 0;

	if (r)
		cost += FIRING_COST * (double)be_bank_cycles(chip, lacc_coef(a, d), lanes);
	if (!r ||
	    (made && r->memory)) /* of a burst for each lane, the next vectors take the rest */
		cost += lanes_apart(be, l, d) == a ? (double)lanes * dtype_size(a->t->dtype)
						   : vector_cost(chip, l, a, d, lanes);
	return cost;
}

static double lane_cost(const struct backend *be, const struct rdu_chip *chip,
			const struct lnest *l, int d)
{
	int64_t lanes = min64(chip->lanes, l->extent[d]);
	double par = 1, red = 1, cost = 0;

	for (int i = 0; i < l->num_dims; i++) {
		double n = (double)(i == d ? ceil_div(l->extent[i], lanes) : l->extent[i]);

		*(l->reduce[i] ? &red : &par) *= n;
	}
	for (int i = 0; i < l->n->num_in; i++) {
		bool any = false;

		for (int k = 0; k < l->num_dims; k++)
			any |= lacc_needs(&l->in[i], k);
		if (any)
			cost += par * red * access_cost(be, chip, l, &l->in[i], d, lanes, false);
	}
	for (int i = 0; i < l->n->num_out; i++)
		cost += par * access_cost(be, chip, l, &l->out[i], d, lanes, true);
	cost += par * red * FIRING_COST;
	if (l->reduce[d])
		cost += par * 64;
	return cost;
}

static int choose_lane(const struct backend *be, const struct rdu_chip *chip, const struct lnest *l)
{
	double best = 0;
	int at = -1;

	for (int d = 0; d < l->num_dims; d++) {
		double c = lane_cost(be, chip, l, d);

		if (l->shared[d] || d == l->carried)
			continue;
		if (at < 0 || c < best) {
			at = d;
			best = c;
		}
	}
	return at;
}

/* Largest block <= want that a trip count is cut into, without a tail if one at
 * least half as large divides it. */
static int64_t good_block(int64_t trip, int64_t want)
{
	if (want < 1)
		want = 1;
	if (want >= trip)
		return trip;
	for (int64_t b = want; b * 2 > want; b--)
		if (trip % b == 0)
			return b;
	return ceil_div(trip, ceil_div(trip, want));
}

/* Outer loops count activations of about `chunk` firings. */
static void cut_activations(struct loops *lp, int64_t chunk)
{
	int64_t inner = 1;
	int cut = lp->num;

	while (cut > lp->num_shared &&
	       (lp->l[cut - 1].reduce || inner * lp->l[cut - 1].trip <= chunk))
		inner *= lp->l[--cut].trip;
	lp->num_outer = cut;
	if (cut == lp->num_shared || lp->num >= UC_MAX - 2)
		return;
	/* Loop cut - 1 is an outer one: cut it in two when too little is left inside. */
	if (inner * 2 <= chunk) {
		int i = cut - 1;
		int64_t b = good_block(lp->l[i].trip, chunk / inner);

		if (b < 2)
			return;
		for (int k = lp->num; k > cut; k--)
			lp->l[k] = lp->l[k - 1];
		lp->num++;
		lp->l[cut] = lp->l[i];
		lp->l[cut].start = 0;
		lp->l[cut].trip = b;
		lp->l[i].trip = ceil_div(lp->l[i].trip, b);
		lp->l[i].step *= b;
	}
}

static void find_reach(struct loops *lp, const struct lnest *l)
{
	for (int d = 0; d < l->num_dims; d++) {
		lp->reach[d] = d == lp->lane_dim ? lp->lanes : 1;
		for (int i = 0; i < lp->num; i++)
			if (lp->l[i].dim == d)
				lp->reach[d] +=
					lp->l[i].start + lp->l[i].step * (lp->l[i].trip - 1);
	}
}

static uint32_t identity(enum reduce_op r)
{
	return r == REDUCE_MAX ? 0xff800000u : r == REDUCE_MIN ? 0x7f800000u : 0;
}

static enum rdu_simd_op reduce_simd(enum reduce_op r, bool lanes)
{
	switch (r) {
	case REDUCE_MAX:
		return lanes ? RDU_SIMD_RED_FMAX : RDU_SIMD_FMAX;
	case REDUCE_MIN:
		return lanes ? RDU_SIMD_RED_FMIN : RDU_SIMD_FMIN;
	case REDUCE_IADD:
		return lanes ? RDU_SIMD_RED_IADD : RDU_SIMD_IADD;
	default:
		return lanes ? RDU_SIMD_RED_FADD : RDU_SIMD_FADD;
	}
}

struct map {
	struct backend *be;
	struct uimage *im;
	const struct lnest *l;
	int op_id;
	double hx, hy;
};

static void shape_of(struct uprog *s, const struct loops *lp)
{
	memset(s, 0, sizeof(*s));
	for (int i = 0; i < lp->num; i++)
		image_counter(s, lp->l[i].start, lp->l[i].step, lp->l[i].trip);
	s->num_outer = lp->num_outer;
}

static void load_sources(struct map *m, const struct xbuild *b, struct xsrc *src,
			 const struct xsrc *red, const uint32_t *pad)
{
	for (int i = 0; i < b->num_src; i++) {
		int in = b->src_in[i];

		if (in < 0) {
			src[i] = *red;
			continue;
		}
		src[i].prog =
			once_load(m->im, m->l, &m->l->in[in], b->lp, m->op_id,
				  pad ? pad[in] : m->l->in[in].pad, m->hx, m->hy, &src[i].mask);
		src[i].port = 0;
	}
}

/* Its loops: a sum begins where all of them do, and is complete where all end. */
static uint32_t sum_mask(const struct loops *lp)
{
	uint32_t mask = 0;

	for (int i = 0; i < lp->num; i++)
		if (lp->l[i].reduce)
			mask |= 1u << i;
	return mask;
}

/* Body and accumulator: the operation whose value is the sum so far. pad: what inputs read beside their
 * tensors. */
static int build_reduction(struct map *m, const struct loops *lp, struct xbuild *b, uint32_t *pad)
{
	const struct lnest *l = m->l;
	const struct nest *n = l->n;
	const struct expr *e = &n->expr[n->body];
	bool over_lanes = lp->lane_dim >= 0 && l->reduce[lp->lane_dim], masked = false;
	struct xarg body, acc = { .kind = XA_ACC }, none = { 0 };
	int op;

	for (int i = 0; i < n->num_in; i++)
		pad[i] = l->in[i].pad;
	xbuild_init(b, l, lp);
	if (over_lanes) /* lanes past the end must not count */
		masked = lp->lanes < (int)m->be->chip.lanes ||
			 lp->reach[lp->lane_dim] > l->extent[lp->lane_dim];
	if (masked && e->kind == EXPR_IN && lacc_needs(&l->in[e->arg[0]], lp->lane_dim)) {
		bool guarded = false;

		for (int x = 0; x < l->in[e->arg[0]].num_axes; x++)
			guarded |= l->in[e->arg[0]].axis[x].guard;
		if (!guarded || pad[e->arg[0]] == identity(n->reduce)) {
			pad[e->arg[0]] = identity(n->reduce);
			masked = false;
		}
	}
	if (n->reduce == REDUCE_ADD && e->kind == EXPR_OP && e->op == RDU_SIMD_FMUL && !masked) {
		struct xarg p = xbuild_expr(b, e->arg[0]), q = xbuild_expr(b, e->arg[1]);

		op = xprog_op(&b->x, RDU_SIMD_FMA, p, q, acc);
	} else {
		body = xbuild_expr(b, n->body);
		if (masked) {
			bool one = lp->lanes < (int)m->be->chip.lanes; /* vector covers it */
			struct xarg lane = { .kind = XA_LANE }, in;

			in = xval(xprog_op(
				&b->x, RDU_SIMD_ILT, one ? lane : xbuild_index(b, lp->lane_dim),
				ximm((uint32_t)(one ? lp->lanes : l->extent[lp->lane_dim])), none));
			body = xval(xprog_op(&b->x, RDU_SIMD_SELECT, in, body,
					     ximm(identity(n->reduce))));
		}
		op = xprog_op(&b->x, reduce_simd(n->reduce, false), acc, body, none);
	}
	b->x.op[op].acc_mask = sum_mask(lp);
	b->x.op[op].init = identity(n->reduce);
	return op;
}

/* Body and accumulator by themselves. */
static int emit_reduction(struct map *m, const struct loops *lp, struct xsrc *red)
{
	struct xsrc src[NEST_MAX_IN + 2], out[NEST_MAX_OUT] = { { 0 } };
	uint32_t pad[NEST_MAX_IN];
	struct uprog shape;
	struct xbuild b;
	int op, r;

	op = build_reduction(m, lp, &b, pad);
	b.x.out[b.x.num_out++] = op;
	load_sources(m, &b, src, NULL, pad);
	shape_of(&shape, lp);
	r = xprog_emit(m->im, &b.x, src, &shape, sum_mask(lp), m->hx, m->hy, m->op_id, out);
	xprog_free(&b.x);
	*red = out[0];
	red->mask = 0;
	return r;
}

/* Loops behind a reduction. */
static struct loops without_sums(const struct lnest *l, const struct loops *lp)
{
	struct loops post = *lp;

	if (l->n->reduce == REDUCE_NONE)
		return post;
	post.num = 0;
	for (int i = 0; i < lp->num; i++)
		if (!lp->l[i].reduce)
			post.l[post.num++] = lp->l[i];
	if (lp->lane_dim >= 0 && l->reduce[lp->lane_dim]) {
		post.lane_dim = -1;
		post.lanes = 1;
	}
	return post;
}

static void build_outputs(const struct map *m, struct xbuild *b)
{
	const struct lnest *l = m->l;

	for (int i = 0; i < l->n->num_out; i++)
		xbuild_output(
			b, l->n->out[i].expr,
			residence_rounds(residence_of(m->be, l->n, l->out[i].t), l->out[i].t));
}

/* lp: the loops of what is stored. */
static void store_outputs(struct map *m, const struct loops *lp, const struct xsrc *out)
{
	const struct lnest *l = m->l;

	for (int i = 0; i < l->n->num_out; i++) {
		int st = agcu_store(m->im, l, &l->out[i], lp, l->n->out[i].add, m->op_id, m->hx,
				    m->hy);

		image_join(m->im, out[i].prog, out[i].port, st, 0);
	}
}

/* What follows the reduction, if there is one, over its loops; those behind it: post. */
static void build_results(struct map *m, const struct loops *lp, const struct loops *post,
			  struct xbuild *b)
{
	const struct nest *n = m->l->n;

	xbuild_init(b, m->l, post);
	if (n->reduce != REDUCE_NONE && post->lane_dim != lp->lane_dim) {
		/* source 0 is the reduction: across the lanes first */
		b->src_in[b->num_src++] = -1;
		xbuild_result(b, xval(xprog_op(&b->x, reduce_simd(n->reduce, true), xsrc_arg(0),
					       (struct xarg){ 0 }, (struct xarg){ 0 })));
	}
	build_outputs(m, b);
}

/* What follows the reduction, if there is one, which gives red; lp: its loops. */
static int emit_results(struct map *m, const struct loops *lp, struct xsrc red)
{
	struct loops post = without_sums(m->l, lp);
	struct xsrc src[NEST_MAX_IN + 2], out[NEST_MAX_OUT];
	struct uprog shape;
	struct xbuild b;
	int r;

	build_results(m, lp, &post, &b);
	load_sources(m, &b, src, &red, NULL);
	shape_of(&shape, &post);
	r = xprog_emit(m->im, &b.x, src, &shape, 0, m->hx, m->hy, m->op_id, out);
	xprog_free(&b.x);
	if (!r)
		store_outputs(m, &post, out);
	return r;
}

/* Operations of the reduction and of what follows it, as one: its value is there in each firing, and what
 * is made of it leaves with the last. */
static void build_whole(struct map *m, const struct loops *lp, struct xbuild *b, uint32_t *pad)
{
	xbuild_result(b, xval(build_reduction(m, lp, b, pad)));
	build_outputs(m, b);
}

static bool stops_runs(const struct nest *n)
{
	for (int i = 0; i < n->num_expr; i++)
		if (n->expr[i].kind == EXPR_OP && n->expr[i].op == RDU_SIMD_TRAP)
			return true;
	return false;
}

/* Does the reduction take fewer PCUs together with what follows it? Not where that goes across the lanes, or
 * may stop the run, which only a complete sum may. */
static bool fit_together(struct map *m, const struct loops *lp)
{
	struct loops post = without_sums(m->l, lp);
	uint32_t pad[NEST_MAX_IN];
	struct xbuild b;
	int whole, apart, op;

	if (post.lane_dim != lp->lane_dim || stops_runs(m->l->n))
		return false;
	build_whole(m, lp, &b, pad);
	whole = xprog_pcus(&m->be->chip, &b.x);
	xprog_free(&b.x);
	op = build_reduction(m, lp, &b, pad);
	b.x.out[b.x.num_out++] = op;
	apart = xprog_pcus(&m->be->chip, &b.x);
	xprog_free(&b.x);
	build_results(m, lp, &post, &b);
	apart += xprog_pcus(&m->be->chip, &b.x);
	xprog_free(&b.x);
	return whole > 0 && whole < apart;
}

static int emit_whole(struct map *m, const struct loops *lp)
{
	struct loops post = without_sums(m->l, lp);
	struct xsrc src[NEST_MAX_IN + 2], out[NEST_MAX_OUT];
	uint32_t pad[NEST_MAX_IN];
	struct uprog shape;
	struct xbuild b;
	int r;

	build_whole(m, lp, &b, pad);
	load_sources(m, &b, src, NULL, pad);
	shape_of(&shape, lp);
	r = xprog_emit(m->im, &b.x, src, &shape, sum_mask(lp), m->hx, m->hy, m->op_id, out);
	xprog_free(&b.x);
	if (!r)
		store_outputs(m, &post, out);
	return r;
}

static int emit_replica(struct map *m, const struct loops *lp)
{
	struct xsrc red = { 0 };

	if (m->l->n->reduce == REDUCE_NONE)
		return emit_results(m, lp, red);
	if (fit_together(m, lp))
		return emit_whole(m, lp);
	return emit_reduction(m, lp, &red) || emit_results(m, lp, red) ? -1 : 0;
}

/* Replicas that have a part each of the terms of sums, and what follows these. */
static int emit_sum(struct map *m, const struct loops *lp, struct xsrc *part, int num)
{
	struct loops post = without_sums(m->l, lp);
	struct uprog shape;

	shape_of(&shape, &post);
	shape.op_id = m->op_id;
	return emit_results(m, lp,
			    image_combine(m->im, reduce_simd(m->l->n->reduce, false), part, num, 0,
					  &shape, m->hx, m->hy));
}

int map_stream(struct backend *be, struct uimage *im, const struct lnest *l, struct loops *lp,
	       int op_id, struct xsrc *from)
{
	struct map m = { be, im, l, op_id, -1, -1 };
	const struct tensor *t = l->out[0].t;
	struct xsrc src[NEST_MAX_IN + 2];
	struct uprog shape;
	struct xbuild b;
	int r;

	find_reach(lp, l);
	xbuild_init(&b, l, lp);
	xbuild_output(&b, l->n->out[0].expr, t->narrow ? RDU_SIMD_MOV : dtype_rounding(t->dtype));
	load_sources(&m, &b, src, NULL, NULL);
	shape_of(&shape, lp);
	r = xprog_emit(im, &b.x, src, &shape, 0, -1, -1, op_id, from);
	xprog_free(&b.x);
	return r;
}

/* Replicas of a nest: loops that they share, and how many there are along each. */
struct replicas {
	int num, at[2]; /* loops; the second goes over terms of sums only where the first does */
	int64_t unroll[2];
	bool turns; /* they take the first loop's iterations in turn, not a block each */
};

static int64_t count_replicas(const struct replicas *r)
{
	return (r->num > 0 ? r->unroll[0] : 1) * (r->num > 1 ? r->unroll[1] : 1);
}

/* Can replicas each have the parts of what is resident to themselves, or share those that they read as far as a
 * scratchpad has programs, `readers` at most? *any: something is resident. */
static bool parts_fit(const struct backend *be, const struct lnest *l, const struct loops *lp,
		      const struct replicas *rep, int readers, bool *any)
{
	bool fit = true;

	*any = false;
	for (int i = 0; i < l->n->num_in + l->n->num_out; i++) {
		bool out = i >= l->n->num_in;
		const struct lacc *a = out ? &l->out[i - l->n->num_in] : &l->in[i];
		const struct residence *r = residence_of(be, l->n, a->t);
		struct spread s = { 0 };

		if (!r)
			continue;
		*any = true;
		for (int k = 0; k < rep->num; k++) {
			const int at = rep->at[k], d = lp->l[at].dim;

			if ((!out || lp->l[at].reduce) && !lacc_needs(a, d))
				continue; /* they share what is read, or bring together what is written */
			s.dim[s.num] = d;
			s.block[s.num] = ceil_div(lp->l[at].trip, rep->unroll[k]) * lp->l[at].step;
			s.blocks[s.num++] = rep->unroll[k];
		}
		if (s.num && resident_crowd(r, l, a, &s) > (out ? 1 : readers))
			fit = false;
	}
	return fit;
}

/* Can replicas take a loop's iterations in turn: do two of them never touch one burst? What they access
 * at a time lies together then, and memory opens few rows. */
static bool can_take_turns(const struct rdu_chip *chip, const struct lnest *l,
			   const struct loops *lp, int at)
{
	for (int i = 0; i < l->n->num_in + l->n->num_out; i++) {
		const struct lacc *a = i < l->n->num_in ? &l->in[i] : &l->out[i - l->n->num_in];
		int64_t step = llabs(lacc_coef(a, lp->l[at].dim)) * lp->l[at].step;

		if (step * dtype_size(a->t->dtype) % chip->dram_burst)
			return false;
	}
	return true;
}

/* Does the nest use something resident whose batch lies as vectors? */
static bool has_vectors(const struct backend *be, const struct lnest *l)
{
	for (int i = 0; i < l->n->num_in + l->n->num_out; i++) {
		const struct lacc *a = i < l->n->num_in ? &l->in[i] : &l->out[i - l->n->num_in];
		const struct residence *r = residence_of(be, l->n, a->t);

		if (r && r->vectors)
			return true;
	}
	return false;
}

/* Does the nest bring, or store, what a loop carries, and would replicas along one of its loops each access pieces of
 * the same bursts? */
static bool shares_bursts(const struct backend *be, const struct lnest *l, const struct loops *lp,
			  int at)
{
	bool carried = false, shares = false;

	for (int i = 0; i < l->n->num_in + l->n->num_out; i++) {
		const struct lacc *a = i < l->n->num_in ? &l->in[i] : &l->out[i - l->n->num_in];
		const struct residence *r = residence_of(be, l->n, a->t);
		int64_t step = llabs(lacc_coef(a, lp->l[at].dim)) * lp->l[at].step;

		carried |= r && r->carried;
		shares |= !r && step && step * dtype_size(a->t->dtype) < be->chip.dram_burst;
	}
	return carried && shares && !l->n->loop;
}

#define MAX_REPLICAS 32 /* of what is resident; 16 along a loop */
#define MOST_FED 8 /* of what is in memory: more than that can feed */
#define LEAST_SPLIT 64 /* firings of a replica that has a part of the terms of sums */

/* The loop that replicas share, if there is one. False: all that it uses is in memory. */
static bool choose_by_parts(const struct backend *be, const struct lnest *l, const struct loops *lp,
			    int64_t most, struct replicas *best)
{
	bool any = false, may_split = be_may_split(be, l->n);
	int64_t firings = 1;

	for (int i = 0; i < lp->num; i++)
		firings *= lp->l[i].trip;
	for (int i = lp->num_shared; i < lp->num; i++) {
		int64_t u = min64(min64(most, 16), lp->l[i].trip), least = count_replicas(best);
		struct replicas r = { .num = 1, .at = { i } };

		if (shares_bursts(be, l, lp, i))
			continue;
		if (lp->l[i].reduce) { /* what they give is to be brought together */
			if (!may_split)
				continue;
			least *= 2;
			u = min64(u, firings / LEAST_SPLIT);
		}
		for (; u > 1 && u > least; u--) {
			r.unroll[0] = u;
			if ((lp->l[i].reduce
				     ? lp->l[i].trip % u == 0
				     : ceil_div(lp->l[i].trip, ceil_div(lp->l[i].trip, u)) == u) &&
			    parts_fit(be, l, lp, &r, (int)be->chip.pmu_reads, &any))
				break;
		}
		if (any && u > least)
			*best = r;
	}
	return any;
}

/* A second loop that they share, over the vectors of a batch for one, where each of them then has parts to itself. */
static void choose_second(const struct backend *be, const struct lnest *l, const struct loops *lp,
			  int64_t most, struct replicas *best)
{
	struct replicas r = *best;
	bool any;

	if (best->num != 1 || !has_vectors(be, l))
		return;
	r.num = 2;
	for (int i = lp->num_shared; i < lp->num; i++) {
		int64_t u = min64(min64(most, MAX_REPLICAS) / r.unroll[0], lp->l[i].trip);

		r.at[1] = i;
		if (i == r.at[0] || (lp->l[i].reduce && !lp->l[r.at[0]].reduce))
			continue;
		for (; u > 1 && u * r.unroll[0] > count_replicas(best); u--) {
			r.unroll[1] = u;
			if (lp->l[i].trip % u == 0 && parts_fit(be, l, lp, &r, 1, &any))
				*best = r;
		}
	}
}

/* The loops that replicas share, and how many there are. */
static struct replicas choose_replicas(const struct backend *be, const struct lnest *l,
				       const struct loops *lp, int64_t most)
{
	struct replicas r = { 0 };
	int at = -1;

	for (int i = 0; i < l->n->num_out; i++)
		if (l->n->out[i].add)
			return r;
	if (choose_by_parts(be, l, lp, most, &r) || most < 2) {
		choose_second(be, l, lp, most, &r);
		return r;
	}
	/* All is in memory: over the outermost loop that has enough trips. */
	r.unroll[0] = min64(most, MOST_FED);
	for (int i = lp->num_shared; i < lp->num; i++)
		if (!lp->l[i].reduce &&
		    (at < 0 || lp->l[i].trip > lp->l[at].trip * 4 ||
		     (lp->l[at].trip < r.unroll[0] && lp->l[i].trip > lp->l[at].trip)))
			at = i;
	if (at < 0)
		return r;
	r.num = 1;
	r.at[0] = at;
	r.unroll[0] = min64(r.unroll[0], lp->l[at].trip);
	while (r.unroll[0] > 1 && lp->l[at].trip % r.unroll[0] && lp->l[at].trip < r.unroll[0] * 8)
		--r.unroll[0];
	r.turns = can_take_turns(&be->chip, l, lp, at);
	return r;
}

/* A replica, the one of this number along a loop, takes its part of the iterations. */
static void take_part(struct loops *k, int at, int64_t number, int64_t unroll, bool turns)
{
	int64_t step = k->l[at].step, block = ceil_div(k->l[at].trip, unroll);
	int d = k->l[at].dim;

	k->l[at].trip = block;
	k->l[at].start = number * step * (turns ? 1 : block);
	k->l[at].step = step * (turns ? unroll : 1);
	if (!turns)
		k->limit[d] = min64(k->limit[d], (number + 1) * block * step);
}

/* Of a copy that takes slices from several tensors, replicas that bring together as many parts as one PCU does: each
 * of fewer would take two. */
static int64_t least_replicas(const struct backend *be, const struct lnest *l)
{
	const struct residence *to = residence_of(be, l->n, l->out[0].t);
	int64_t parts = 0;

	for (int i = 0; i < l->n->num_in && to && to->group; i++)
		parts += residence_of(be, l->n, l->in[i].t) ? to->num_parts : 0;
	return parts && nest_only_copies(l->n)
		       ? ceil_div(parts, min64(be->chip.pcu_vec_in, be->chip.simd_stages))
		       : 1;
}

/* Replicas that a plan and the nest's share of the compute units allow. */
static int64_t most_replicas(struct backend *be, const struct uimage *im, const struct lnest *l,
			     const struct loops *lp, const struct plan *pl)
{
	struct uimage *one;
	struct map m = { be, NULL, l, 0, -1, -1 };
	struct loops k = *lp;
	int pcus = 0, all = (int)rdu_chip_pcus_per_tile(&be->chip) * im->tiles;

	if (be->share.pcus <= 0)
		return pl->max_unroll;
	m.im = one = image_new(&be->chip, im->tiles, "one");
	for (int d = 0; d < l->num_dims; d++)
		k.limit[d] = l->extent[d];
	cut_activations(&k, pl->chunk);
	find_reach(&k, l);
	emit_replica(&m, &k);
	image_spare_pcus(one, l->n);
	for (int i = 0; i < one->num_progs; i++)
		pcus += one->prog[i].kind == RDU_KIND_SIMD;
	image_free(one);
	return pcus ? min64(pl->max_unroll,
			    max64((int64_t)(be->share.pcus * all / pcus), least_replicas(be, l)))
		    : min64(pl->max_unroll, MOST_FED);
}

/* Loops over parallel dimensions but for the lanes'; apart: in the order in which that access lies, else as they
 * are. */
static void add_loops(struct uimage *im, const struct lnest *l, const struct lacc *apart,
		      struct loops *lp)
{
	bool added[NEST_MAX_DIMS] = { false };

	for (;;) {
		int next = -1;

		for (int d = 0; d < l->num_dims; d++)
			if (!l->reduce[d] && !l->shared[d] && d != lp->lane_dim &&
			    d != l->carried && !added[d] &&
			    (next < 0 ||
			     (apart && llabs(lacc_coef(apart, d)) > llabs(lacc_coef(apart, next)))))
				next = d;
		if (next < 0)
			return;
		added[next] = true;
		loops_add(im, lp, next, 0, 1, l->extent[next], false);
	}
}

int lower_map(struct backend *be, struct uimage *im, const struct lnest *l, const struct plan *pl,
	      int op_id)
{
	struct map m = { be, im, l, op_id, -1, -1 };
	struct loops lp = { .lane_dim = choose_lane(be, im->chip, l) };
	struct replicas rep;
	struct xsrc part[MAX_REPLICAS];
	int64_t num,
		parts; /* parts: replicas, one after another, whose sums are brought together */
	const struct lacc *apart;

	lp.lanes = lp.lane_dim >= 0 ? (int)min64(im->chip->lanes, l->extent[lp.lane_dim]) : 1;
	for (int s = 1; s <= l->num_dims; s++)
		for (int d = 0; d < l->num_dims; d++)
			if (l->shared[d] == s)
				loops_add(im, &lp, d, 0, 1, l->extent[d], false);
	lp.num_shared = lp.num;
	apart = lanes_apart(be, l, lp.lane_dim);
	if (apart)
		loops_add(im, &lp, lp.lane_dim, 0, lp.lanes,
			  ceil_div(l->extent[lp.lane_dim], lp.lanes), false);
	add_loops(im, l, apart, &lp);
	if (lp.lane_dim >= 0 && !l->reduce[lp.lane_dim] && !apart)
		loops_add(im, &lp, lp.lane_dim, 0, lp.lanes,
			  ceil_div(l->extent[lp.lane_dim], lp.lanes), false);
	for (int d = 0; d < l->num_dims; d++) /* no replicas share what is carried either */
		if ((l->reduce[d] && d != lp.lane_dim) || d == l->carried)
			loops_add(im, &lp, d, 0, 1, l->extent[d], true);
	if (lp.lane_dim >= 0 && l->reduce[lp.lane_dim])
		loops_add(im, &lp, lp.lane_dim, 0, lp.lanes,
			  ceil_div(l->extent[lp.lane_dim], lp.lanes), true);
	rep = choose_replicas(be, l, &lp, most_replicas(be, im, l, &lp, pl));
	num = count_replicas(&rep);
	im->replicas = (int)num;
	parts = !rep.num || !lp.l[rep.at[0]].reduce	? 1
		: rep.num > 1 && lp.l[rep.at[1]].reduce ? num
							: rep.unroll[0];
	for (int64_t r = 0; r < num; r++) {
		struct loops k = lp;

		for (int d = 0; d < l->num_dims; d++)
			k.limit[d] = l->extent[d];
		if (rep.num)
			take_part(&k, rep.at[0], r % rep.unroll[0], rep.unroll[0], rep.turns);
		if (rep.num > 1)
			take_part(&k, rep.at[1], r / rep.unroll[0], rep.unroll[1], false);
		cut_activations(&k, pl->chunk);
		find_reach(&k, l);
		m.hx = -1;
		m.hy = band_place(&be->share.band, (double)r / (double)num);
		if (parts > 1 ? emit_reduction(&m, &k, &part[r % parts]) : emit_replica(&m, &k))
			return -1;
		if (parts > 1 && (r + 1) % parts == 0 && emit_sum(&m, &k, part, (int)parts))
			return -1;
	}
	return 0;
}
