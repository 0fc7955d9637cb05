// SPDX-License-Identifier: MIT
/*
 * The contraction form. Operand tiles are loaded into scratchpads (packed in
 * bf16 pairs, or four int8, for the systolic array), streamed to all the compute units that
 * share them, multiplied and accumulated there; results go through the epilogue
 * to memory. When the reduction is cut, partial results stay in a scratchpad
 * beside the compute unit and come back as starting values.
 */
#include <stdlib.h>
#include <string.h>
#include "tile.h"
#include "mem.h"

struct emit {
	struct backend *be;
	struct uimage *im;
	struct contract *c;
	int op_id;
	int64_t rep[NEST_MAX_DIMS]; /* which replica */
	double hx, hy;
	int read[3]; /* programs that stream the operands */
	int *start; /* and what sums begin with, by its replicas; -1: none yet */
};

static int counter(struct uprog *p, int64_t start, int64_t step, int64_t trip)
{
	return trip == 1 ? -1 : image_counter(p, start, step, trip);
}

static void stride(struct uprog *p, int c, int64_t s)
{
	if (c >= 0)
		p->acc.stride[c] = s;
}

/* The first `prefix` of the outer loops: those of the parallel dimensions, then those of the
 * reduction. Counters by dimension in at[]. Index units when `index`, else plain counts. */
static void outer(const struct emit *e, struct uprog *p, int prefix, bool index, int *at)
{
	const struct contract *c = e->c;
	const struct lnest *l = c->l;
	int i = 0;

	for (int d = 0; d < l->num_dims; d++)
		at[d] = -1;
	p->num_shared = 0;
	for (int q = 0; q < c->num_order && i < prefix; q++, i++) {
		int d = c->order[q];

		at[d] = counter(p, 0, index ? contract_tile_step(c, d) : 1, c->trip[d]);
		p->num_shared += at[d] >= 0 && l->shared[d];
	}
	for (int d = 0; d < l->num_dims && i < prefix; d++) {
		if (!l->reduce[d])
			continue;
		at[d] = counter(p, 0, index ? contract_tile_step(c, d) : 1, c->trip[d]);
		i++;
	}
	p->num_outer = p->num_counters;
}

static int all_outer(const struct contract *c)
{
	return c->l->num_dims;
}

static uint32_t mask_after(const struct contract *c, const struct uprog *p, int prefix)
{
	uint32_t m = 0;
	int i = 0, at = 0;

	for (int q = 0; q < c->num_order; q++, i++)
		if (c->trip[c->order[q]] > 1) {
			if (i >= prefix)
				m |= 1u << at;
			at++;
		}
	for (int d = 0; d < c->l->num_dims; d++)
		if (c->l->reduce[d]) {
			if (c->trip[d] > 1) {
				if (i >= prefix)
					m |= 1u << at;
				at++;
			}
			i++;
		}
	return m & ((1u << p->num_outer) - 1);
}

/* LOAD and WRITE of an operand's tile, for replica e->rep. */
static int emit_operand(struct emit *e, int o)
{
	const struct contract *c = e->c;
	const struct operand *op = &c->op[o];
	const struct lacc *a = &c->l->in[op->in];
	struct uimage *im = e->im;
	int pmu = image_unit(im, RDU_UNIT_PMU, e->hx, e->hy);
	const struct nest *maker = op->in == c->made ? be_maker(e->be, a->t) : NULL;
	int ld = maker ? -1
		       : image_prog(im, RDU_KIND_LOAD, image_unit(im, RDU_UNIT_AGCU, -1, -1),
				    e->op_id);
	int wr = image_prog(im, RDU_KIND_WRITE, pmu, e->op_id);
	int buf = image_buffer(im, pmu, (uint32_t)c->copies[o], (uint32_t)op->words);
	struct uprog made = { .kind = RDU_KIND_LOAD }; /* in its place there is what makes it */
	struct uprog *L = maker ? &made : &im->prog[ld], *W = &im->prog[wr];
	struct xsrc from = { .prog = ld };
	int at[NEST_MAX_DIMS], wat[NEST_MAX_DIMS], pos[NEST_MAX_DIMS], bit = -1;
	int64_t first[NEST_MAX_DIMS], last[NEST_MAX_DIMS];

	outer(e, L, c->prefix[o], true, at);
	outer(e, W, c->prefix[o], false, wat);
	for (int d = 0; d < c->l->num_dims; d++) {
		first[d] = e->rep[d] * contract_replica_step(c, d);
		last[d] = first[d];
		if (!contract_holds(c, o))
			last[d] += (c->trip[d] - 1) * contract_tile_step(c, d);
	}
	L->acc.base = a->base;
	for (int d = 0; d < c->l->num_dims; d++) {
		L->acc.base += lacc_coef(a, d) * first[d];
		stride(L, at[d], lacc_coef(a, d));
	}
	for (int i = 0; i < a->num_axes; i++)
		L->acc.base += a->axis[i].off * a->axis[i].ms;
	/* inner loops: the axes; the vector's blocks last, the pair's bit innermost */
	for (int k = 0; k < 2; k++)
		for (int i = 0; i < op->num_axes; i++) {
			const struct oaxis *x = &op->axis[i];
			int64_t unit = 1, n = x->room;
			int cl, cw;

			if ((i == op->vec_axis) != (k == 1))
				continue;
			if (i == op->vec_axis)
				unit = op->vl;
			else if (i == op->pair_axis)
				unit = c->elements;
			n /= unit;
			cl = counter(L, 0, unit, n);
			cw = counter(W, 0, unit, n);
			stride(L, cl, x->ms);
			stride(W, cw, x->stride);
			L->acc.base -= x->neg * x->ms;
			pos[i] = cl;
			if (i == op->pair_axis && cw >= 0) { /* count words, not positions */
				W->c[cw].step = unit / c->elements;
			}
		}
	if (op->pack == RDU_PACK_VEC) {
		bit = image_counter(L, 0, 1, c->elements);
		image_counter(W, 0, 1, c->elements);
		L->acc.stride[bit] = op->axis[op->pair_axis].ms;
	}
	L->acc.format = dtype_format(a->t->dtype);
	L->acc.lanes = op->vl;
	L->acc.lane_stride = op->vec_axis >= 0 ? op->axis[op->vec_axis].ms : 0;
	L->acc.pad = contraction_pad(a);
	if (!maker)
		L->acc.target = image_segment(im, a->t, RDU_SEG_READ);
	for (int i = 0; i < op->num_axes; i++) {
		const struct oaxis *x = &op->axis[i];
		int64_t lo = x->off - x->neg, hi = x->off - x->neg + x->room - 1, top = x->dim;
		struct upred *p;

		for (int d = 0; d < c->l->num_dims; d++) {
			lo += x->coef[d] * (x->coef[d] > 0 ? first[d] : last[d]);
			hi += x->coef[d] * (x->coef[d] > 0 ? last[d] : first[d]);
		}
		/* past the end of a reduction: zeros */
		if (x->only >= 0 && x->coef[x->only] > 0)
			top = min64(top,
				    x->off + x->coef[x->only] * (c->l->extent[x->only] - 1) + 1);
		if (lo >= 0 && hi < top)
			continue;
		p = access_pred(&L->acc);
		p->base = x->off - x->neg;
		p->lo = 0;
		p->hi = top;
		for (int d = 0; d < c->l->num_dims; d++) {
			p->base += x->coef[d] * first[d];
			if (at[d] >= 0)
				p->stride[at[d]] = x->coef[d];
		}
		if (pos[i] >= 0)
			p->stride[pos[i]] = 1;
		if (i == op->vec_axis)
			p->lane_stride = 1;
		if (i == op->pair_axis && bit >= 0)
			p->stride[bit] = 1;
	}
	for (int i = 0; op->by_index && i < a->num_axes; i++) { /* the tensor's bounds */
		const struct laxis *x = &a->axis[i];
		struct upred *p;

		if (!x->guard)
			continue;
		p = access_pred(&L->acc);
		p->base = x->off;
		p->hi = x->dim;
		for (int d = 0; d < c->l->num_dims; d++) {
			p->base += x->coef[d] * first[d];
			if (at[d] >= 0)
				p->stride[at[d]] = x->coef[d];
		}
		for (int k = 0; k < op->num_axes; k++) {
			int64_t s = x->coef[op->axis[k].only];

			if (pos[k] >= 0)
				p->stride[pos[k]] = s;
			if (k == op->vec_axis)
				p->lane_stride = s;
			if (k == op->pair_axis && bit >= 0)
				p->stride[bit] = s;
		}
	}
	W = &im->prog[wr];
	W->acc.target = buf;
	W->acc.pack = op->pack;
	W->acc.format = op->pack && c->bytes ? dtype_format(a->t->dtype) : RDU_FMT_WORD;
	W->acc.lanes = op->vl;
	W->acc.lane_stride = op->vec_axis >= 0 ? op->axis[op->vec_axis].stride : 0;
	if (!maker)
		image_out(im, ld, 0, 0, 1);
	else if (be_make_stream(e->be, im, maker, L, e->op_id, &from))
		return wr; /* im->error says why */
	image_join(im, from.prog, from.port, wr, image_in(im, wr, 0));
	return wr;
}

/* Inner loops of a program in the order all units of the stage agree on. */
static void inner_loops(const struct emit *e, struct uprog *p, int *at)
{
	const struct contract *c = e->c;
	const struct lnest *l = c->l;

	for (int d = 0; d < l->num_dims; d++)
		at[d] = -1;
	for (int q = 0; q < c->num_order; q++) {
		int d = c->order[q];

		if (d != c->lane && d != c->col)
			at[d] = counter(p, 0, 1, c->tile[d]);
	}
	at[c->lane] = counter(p, 0, 1, c->tile[c->lane] / c->gl);
	if (c->col >= 0)
		at[c->col] = counter(p, 0, 1, c->tile[c->col] / c->gc);
}

/* Those of the reduction's dimensions [from, to). */
static uint32_t sum_loops(const struct emit *e, struct uprog *p, int *at, int from, int to)
{
	const struct contract *c = e->c;
	uint32_t mask = 0;

	for (int d = from; d < to; d++) {
		if (!c->l->reduce[d])
			continue;
		at[d] = counter(p, 0, 1,
				d == c->pair ? ceil_div(c->tile[d], c->elements) : c->tile[d]);
		if (at[d] >= 0)
			mask |= 1u << at[d];
	}
	return mask;
}

static uint32_t reduction_loops(const struct emit *e, struct uprog *p, int *at)
{
	return sum_loops(e, p, at, 0, e->c->l->num_dims);
}

static int emit_read(struct emit *e, int o, int wr)
{
	const struct contract *c = e->c;
	const struct operand *op = &c->op[o];
	struct uimage *im = e->im;
	int rd = image_prog(im, RDU_KIND_READ, im->prog[wr].unit, e->op_id);
	struct uprog *R = &im->prog[rd];
	int at[NEST_MAX_DIMS], out[NEST_MAX_DIMS], lane = o == 2 ? -1 : o ? c->col : c->lane;
	int table = contract_table_dims(c), all = c->l->num_dims;
	uint32_t flip, held;

	outer(e, R, all_outer(c), false, out);
	flip = mask_after(c, R, c->prefix[o]);
	inner_loops(e, R, at);
	sum_loops(e, R, at, 0, table);
	held = o == 2 ? 0 : sum_loops(e, R, at, table, all);
	R->acc.target = im->prog[wr].acc.target;
	R->acc.flip_mask = flip;
	R->acc.lanes = o == 2 ? (int)c->chip->lanes : o ? c->gc : c->gl;
	for (int i = 0; i < op->num_axes; i++) {
		const struct oaxis *x = &op->axis[i];

		R->acc.base += x->neg * x->stride;
		for (int d = 0; d < c->l->num_dims; d++) {
			int64_t per = x->coef[d] * x->stride;

			if (!x->coef[d])
				continue;
			if (i == op->pair_axis && d != c->pair)
				per /= c->elements;
			if (contract_holds(c, o) && out[d] >= 0) /* tile by tile of what is there */
				R->acc.stride[out[d]] +=
					per *
					(d == c->pair ? c->tile[d] / c->elements : c->tile[d]);
			if (d == lane) {
				R->acc.lane_stride += per;
				per *= o ? c->gc : c->gl;
			}
			if (at[d] >= 0)
				R->acc.stride[at[d]] += per;
		}
	}
	if (op->picked_axis >= 0) {
		R->acc.flags = RDU_ACCESS_GATHER | RDU_ACCESS_ONE_INDEX;
		R->acc.index_stride = op->axis[op->picked_axis].stride;
		image_join(im, e->read[2], 0, rd, image_in(im, rd, held));
	}
	image_out(im, rd, 0, 0, 1);
	image_token(im, wr, 0, rd, flip, 0);
	image_token(im, rd, flip, wr, 0, (uint32_t)c->copies[o]);
	return rd;
}

/* Loops that produce results: outer ones of the parallel dimensions, then those
 * within a tile, then the columns. */
static void result_loops(const struct emit *e, struct loops *lp)
{
	const struct contract *c = e->c;
	const struct lnest *l = c->l;

	memset(lp, 0, sizeof(*lp));
	lp->lane_dim = c->lane;
	lp->lanes = c->gl;
	for (int q = 0; q < c->num_order; q++) {
		int d = c->order[q];

		if (c->trip[d] > 1 || e->rep[d])
			loops_add(e->im, lp, d, e->rep[d] * contract_replica_step(c, d),
				  contract_tile_step(c, d), c->trip[d], false);
		lp->num_shared += c->trip[d] > 1 && l->shared[d];
	}
	lp->num_outer = lp->num;
	for (int q = 0; q < c->num_order; q++) {
		int d = c->order[q];

		if (d != c->lane && d != c->col && c->tile[d] > 1)
			loops_add(e->im, lp, d, 0, 1, c->tile[d], false);
	}
	if (c->tile[c->lane] > c->gl)
		loops_add(e->im, lp, c->lane, 0, c->gl, c->tile[c->lane] / c->gl, false);
	if (c->col >= 0) {
		if (c->tile[c->col] > c->gc)
			loops_add(e->im, lp, c->col, 0, c->gc, c->tile[c->col] / c->gc, false);
		if (c->gc > 1)
			loops_add(e->im, lp, c->col, 0, 1, c->gc, false);
	}
	for (int d = 0; d < l->num_dims; d++) {
		lp->limit[d] = l->extent[d];
		lp->reach[d] = c->tile[d] * c->unroll[d] * c->trip[d];
	}
}

/* What the replicas that share a way out with e->rep, the first of them, give. */
static int emit_results(struct emit *e, struct xsrc *replica)
{
	const struct lnest *l = e->c->l;
	const struct nest *n = l->n;
	struct xsrc src[NEST_MAX_IN + 2], out[NEST_MAX_OUT];
	struct uprog shape;
	struct loops lp;
	struct xbuild b;
	struct xsrc from = { 0 };
	bool two = contract_takes_turns(e->c);
	int r = 0;

	result_loops(e, &lp);
	if (!two)
		from = image_merge(e->im, replica, e->c->merge, &lp, e->hx, e->hy, e->op_id);
	if (e->c->merge > 1)
		loops_add(e->im, &lp, e->c->merge_dim, 0,
			  contract_replica_step(e->c, e->c->merge_dim), e->c->merge, false);
	if (e->c->tail || contraction_is_plain(l, e->c->kept_out)) {
		for (int i = 0; i < n->num_out; i++)
			out[i] = from;
	} else {
		contraction_results(&b, l, &lp, e->c->kept_out, two);
		for (int i = 0; i < b.num_src; i++) {
			int in = b.src_in[i];

			if (in < 0) {
				src[i] = two ? replica[i] : from;
				src[i].mask = two ? 1u << (lp.num - 1) : 0;
				continue;
			}
			src[i].prog = once_load(e->im, l, &l->in[in], &lp, e->op_id, l->in[in].pad,
						-1, -1, &src[i].mask);
			src[i].port = 0;
		}
		memset(&shape, 0, sizeof(shape));
		for (int i = 0; i < lp.num; i++)
			image_counter(&shape, lp.l[i].start, lp.l[i].step, lp.l[i].trip);
		shape.num_outer = lp.num_outer;
		r = xprog_emit(e->im, &b.x, src, &shape, 0, e->c->tiles > 1 ? e->hx : -1,
			       e->c->tiles > 1 ? e->hy : -1, e->op_id, out);
		xprog_free(&b.x);
	}
	for (int i = 0; i < n->num_out && !r; i++) {
		int st = agcu_store(e->im, l, &l->out[i], &lp, n->out[i].add, e->op_id, -1, -1);

		image_join(e->im, out[i].prog, out[i].port, st, 0);
	}
	return r;
}

/* A PMU program that goes through all results of a tile, in order. */
static int result_walker(struct emit *e, enum rdu_kind kind, int pmu, int buffer, bool chunks)
{
	const struct contract *c = e->c;
	int pr = image_prog(e->im, kind, pmu, e->op_id), at[NEST_MAX_DIMS], v;
	struct uprog *p = &e->im->prog[pr];

	outer(e, p, chunks ? all_outer(c) : c->num_order, false, at);
	inner_loops(e, p, at);
	if (c->gc > 1)
		image_counter(p, 0, 1, c->gc);
	v = c->gl;
	for (int i = p->num_counters - 1; i >= p->num_outer; i--) {
		p->acc.stride[i] = v;
		v *= (int)p->c[i].trip;
	}
	p->acc.target = buffer;
	p->acc.lanes = c->gl;
	p->acc.lane_stride = 1;
	return pr;
}

/* SIMD stages that do an array's work: register i is column i, of bytes the one behind them is
 * for products. */
static void multiply_by_stages(struct uprog *p, const struct contract *c, uint32_t k)
{
	struct rdu_cfg_operand col = { .kind = RDU_OPD_IN, .index = 0 };
	struct rdu_cfg_operand sum = { .kind = RDU_OPD_ACC };

	for (int i = 0; i < c->gc; i++) {
		struct rdu_cfg_operand row = { .kind = RDU_OPD_IN_LANE,
					       .index = 1,
					       .lane = (uint8_t)i };
		struct rdu_cfg_stage *s = &p->stage[p->num_stages++];

		*s = (struct rdu_cfg_stage){ .op = RDU_SIMD_FMA,
					     .dst = (uint8_t)i,
					     .acc_mask = (uint16_t)k,
					     .a = col,
					     .b = row,
					     .c = sum };
		if (!c->bytes)
			continue;
		*s = (struct rdu_cfg_stage){
			.op = RDU_SIMD_IMUL, .dst = (uint8_t)c->gc, .a = col, .b = row
		};
		p->stage[p->num_stages++] =
			(struct rdu_cfg_stage){ .op = RDU_SIMD_IADD,
						.dst = (uint8_t)i,
						.acc_mask = (uint16_t)k,
						.a = { .kind = RDU_OPD_REG,
						       .index = (uint8_t)c->gc },
						.b = sum };
	}
}

/* Which operands of an array are uint8, which one is ternary weights. */
static int operand_flags(const struct contract *c)
{
	int flags = c->op[0].in == c->weights ? RDU_SYS_COLS_TERNARY : 0;

	if (c->l->in[c->op[0].in].t->dtype == RDU_DT_U8)
		flags |= RDU_SYS_COLS_UNSIGNED;
	if (c->l->in[c->op[1].in].t->dtype == RDU_DT_U8)
		flags |= RDU_SYS_ROWS_UNSIGNED;
	return flags;
}

/* Number of a replica among those that load other parts of what is accessed. */
static int64_t load_number(const struct emit *e, const struct lacc *a)
{
	int64_t n = 0;

	for (int d = 0; d < e->c->l->num_dims; d++)
		if (lacc_needs(a, d))
			n = n * e->c->unroll[d] + e->rep[d];
	return n;
}

/* What sums begin with, vector by vector: for array `pr`, whose counters `k` are the contraction. */
static void emit_start(struct emit *e, int pr, uint32_t k)
{
	const struct contract *c = e->c;
	const struct lacc *a = &c->l->in[c->start];
	int *from = &e->start[load_number(e, a)];
	struct loops lp;
	uint32_t held = 0;

	if (*from < 0) {
		result_loops(e, &lp);
		*from = once_load(e->im, c->l, a, &lp, e->op_id, a->pad, -1, -1, &held);
	}
	if (held)
		image_fail(e->im, "internal: what sums begin with is not there for each column");
	e->im->prog[pr].flags |= RDU_SYS_INIT | RDU_SYS_INIT_ALWAYS;
	image_in(e->im, pr, k);
	e->im->prog[pr].in[2].count = c->gc;
	image_join(e->im, *from, 0, pr, 2);
}

static int emit_compute(struct emit *e, struct xsrc *result)
{
	struct contract *c = e->c;
	struct uimage *im = e->im;
	int unit = image_unit(im, RDU_UNIT_PCU, e->hx, e->hy), at[NEST_MAX_DIMS];
	int pr = image_prog(im, c->systolic ? RDU_KIND_SYSTOLIC : RDU_KIND_SIMD, unit, e->op_id);
	struct uprog *p = &im->prog[pr];
	uint32_t chunks, k;

	outer(e, p, all_outer(c), false, at);
	chunks = mask_after(c, p, c->num_order);
	inner_loops(e, p, at);
	k = reduction_loops(e, p, at);
	if (c->systolic) {
		p->mode = c->weights >= 0 ? RDU_SYS_TERNARY
			  : c->bytes	  ? RDU_SYS_INT8
					  : RDU_SYS_BF16;
		p->flags = operand_flags(c);
		p->cols = c->gc;
		p->k_mask = k;
	} else {
		multiply_by_stages(p, c, k);
	}
	for (int o = 0; o < 2; o++)
		image_join(im, e->read[o], 0, pr, image_in(im, pr, 0));
	*result = (struct xsrc){ .prog = pr, .port = image_out(im, pr, k, 0, c->gc) };
	if (c->tail) {
		int in;

		p->num_tail = contraction_tail(c->chip, c->l, c->kept_out, p->stage, &in);
		if (in >= 0)
			emit_start(e, pr, k);
	}
	if (c->chunked) {
		int pmu = image_unit(im, RDU_UNIT_PMU, -1, -1);
		uint32_t words = (uint32_t)(c->tile[c->lane] / c->gl * c->gl * c->gc);
		int acc, done, ra, wa, wo, ro;
		struct xsrc sum = *result;

		for (int q = 0; q < c->num_order; q++)
			if (c->order[q] != c->lane && c->order[q] != c->col)
				words *= (uint32_t)c->tile[c->order[q]];
		if (c->col >= 0)
			words *= (uint32_t)(c->tile[c->col] / c->gc);
		acc = image_buffer(im, pmu, 2, words);
		done = image_buffer(im, pmu, (uint32_t)c->out_copies, words);
		ra = result_walker(e, RDU_KIND_READ, pmu, acc, true);
		image_out(im, ra, 0, 0, 1);
		wa = result_walker(e, RDU_KIND_WRITE, pmu, acc, true);
		im->prog[ra].acc.copy_start = 1;
		image_token(im, wa, 0, ra, 0, 1);
		image_token(im, ra, 0, wa, 0, 1);
		if (c->systolic) {
			p = &im->prog[pr];
			p->flags |= RDU_SYS_INIT;
			p->init_mask = chunks;
			image_in(im, pr, k);
			im->prog[pr].in[2].count = c->gc;
			image_join(im, ra, 0, pr, 2);
		} else { /* another PCU adds what came before */
			int u2 = image_unit(im, RDU_UNIT_PCU, -1, -1), add;
			struct uprog *a;

			add = image_prog(im, RDU_KIND_SIMD, u2, e->op_id);
			a = &im->prog[add];
			/* One counter for all chunks, however many dimensions are cut: it is 0
			 * at the first, and only there. */
			outer(e, a, c->num_order, false, at);
			image_counter(a, 0, 1, contract_chunks(c));
			a->num_outer = a->num_counters;
			inner_loops(e, a, at);
			if (c->gc > 1)
				image_counter(a, 0, 1, c->gc);
			a->stage[0] = (struct rdu_cfg_stage){
				.op = RDU_SIMD_SELECT,
				.dst = 0,
				.a = { .kind = RDU_OPD_COUNTER,
				       .index = (uint8_t)(a->num_outer - 1) },
				.b = { .kind = RDU_OPD_IN, .index = 1 },
				.c = { .kind = RDU_OPD_IMM, .imm = 0 }
			};
			a->stage[1] =
				(struct rdu_cfg_stage){ .op = c->bytes ? RDU_SIMD_IADD
								       : RDU_SIMD_FADD,
							.dst = 1,
							.a = { .kind = RDU_OPD_REG, .index = 0 },
							.b = { .kind = RDU_OPD_IN, .index = 0 } };
			a->num_stages = 2;
			image_join(im, pr, 0, add, image_in(im, add, 0));
			image_join(im, ra, 0, add, image_in(im, add, 0));
			sum = (struct xsrc){ .prog = add, .port = image_out(im, add, 0, 1, 1) };
		}
		image_join(im, sum.prog, sum.port, wa, image_in(im, wa, 0));
		wo = result_walker(e, RDU_KIND_WRITE, pmu, done, true);
		im->prog[wo].acc.flip_mask = chunks;
		image_join(im, sum.prog, sum.port, wo, image_in(im, wo, 0));
		ro = result_walker(e, RDU_KIND_READ, pmu, done, false);
		image_out(im, ro, 0, 0, 1);
		image_token(im, wo, chunks, ro, 0, 0);
		image_token(im, ro, 0, wo, chunks, (uint32_t)c->out_copies);
		*result = (struct xsrc){ .prog = ro, .port = 0 };
	}
	return 0;
}

/* Number of a replica among those that differ for operand o (-1: all). */
static int64_t replica_number(const struct emit *e, int o)
{
	const struct contract *c = e->c;
	int64_t n = 0;

	for (int d = 0; d < c->l->num_dims; d++)
		if (o < 0 || contract_reads(c, o, d))
			n = n * c->unroll[d] + e->rep[d];
	return n;
}

/* Which replica number r is: e->rep. */
static void set_replica(struct emit *e, int64_t r)
{
	const struct contract *c = e->c;

	for (int d = c->l->num_dims - 1; d >= 0; d--) {
		e->rep[d] = r % c->unroll[d];
		r /= c->unroll[d];
	}
}

/* Where the units of e->rep would like to be. With several tiles, those that share a way out lie side by side: tiles
 * are on top of each other, and so are the parts of what is resident. */
static void set_place(struct emit *e)
{
	const struct contract *c = e->c;
	int down = c->tiles > 1 && c->merge > 1 &&
		   contract_reads(c, 0, c->merge_dim); /* operand that differs from row to row */
	int64_t rows = contract_replicas(c, down), cols = contract_replicas(c, !down);
	bool many = contract_replicas(c, -1) > 16;

	e->hx = cols > 1 && many ? ((double)replica_number(e, !down) + 0.5) / (double)cols : -1;
	e->hy = many ? ((double)replica_number(e, down) + 0.5) / (double)rows : -1;
	e->hy = band_place(&e->be->share.band, e->hy);
}

/* One more scratchpad gets what the WRITE `first` puts into its own. */
static int emit_twin(struct emit *e, int o, int first)
{
	const struct contract *c = e->c;
	struct uimage *im = e->im;
	int pmu = image_unit(im, RDU_UNIT_PMU, e->hx, e->hy);
	int wr = image_prog(im, RDU_KIND_WRITE, pmu, e->op_id);
	int buf = image_buffer(im, pmu, (uint32_t)c->copies[o], (uint32_t)c->op[o].words);
	const struct ustream *s = &im->stream[im->prog[first].in[0].stream];
	int ld = s->prog, port = s->port;

	image_copy_prog(&im->prog[wr], &im->prog[first]);
	im->prog[wr].unit = pmu;
	im->prog[wr].num_in = 0;
	im->prog[wr].acc.target = buf;
	image_join(im, ld, port, wr, image_in(im, wr, 0));
	return wr;
}

/* What streams operands, by replica, and what wrote them, by load. */
struct streams {
	int *read[3], *write[3];
};

static void streams_init(const struct contract *c, struct streams *s)
{
	for (int o = 0; o < 3; o++) {
		int64_t n = c->op[o].in < 0 ? 0 : contract_replicas(c, o);

		s->read[o] = xmalloc(sizeof(int) * (size_t)(n + 1));
		s->write[o] = xmalloc(sizeof(int) * (size_t)(n + 1));
		for (int64_t i = 0; i < n; i++)
			s->read[o][i] = s->write[o][i] = -1;
	}
}

static void streams_free(struct streams *s)
{
	for (int o = 0; o < 3; o++) {
		free(s->read[o]);
		free(s->write[o]);
	}
}

/* What streams operand o to e->rep. */
static int stream_of(struct emit *e, struct streams *s, int o)
{
	int *read = &s->read[o][replica_number(e, o)],
	    *write = &s->write[o][load_number(e, &e->c->l->in[e->c->op[o].in])];

	if (*read >= 0)
		return *read;
	e->hx = e->hy = -1;
	if (*write < 0)
		*read = emit_read(e, o, *write = emit_operand(e, o));
	else
		*read = emit_read(e, o, emit_twin(e, o, *write));
	return *read;
}

/* The arrays, with what they read; result[]: what each gives. */
static int emit_arrays(struct emit *e, struct xsrc *result)
{
	int64_t reps = contract_replicas(e->c, -1), starts = contract_starts(e->c);
	struct streams s;
	int r = 0;

	streams_init(e->c, &s);
	e->start = xmalloc(sizeof(int) * (size_t)(starts + 1));
	for (int64_t i = 0; i < starts; i++)
		e->start[i] = -1;
	for (int64_t i = 0; i < reps && !r; i++) {
		set_replica(e, i);
		for (int o = 2; o >= 0; o--)
			if (e->c->op[o].in >= 0)
				e->read[o] = stream_of(e, &s, o);
		set_place(e);
		r = emit_compute(e, &result[i]);
	}
	streams_free(&s);
	free(e->start);
	return r;
}

/* Is e->rep one of those that add up terms behind the first of the sums? */
static bool has_later_terms(const struct emit *e)
{
	for (int d = 0; d < e->c->l->num_dims; d++)
		if (e->c->l->reduce[d] && e->rep[d])
			return true;
	return false;
}

/* Replicas with the same results and a part each of the terms become one, in result[] of the first. */
static void add_splits(struct emit *e, struct xsrc *result)
{
	const struct contract *c = e->c;
	int64_t reps = contract_replicas(c, -1), splits = contract_splits(c);
	struct xsrc *part = xcalloc((size_t)splits, sizeof(*part));
	int64_t first[NEST_MAX_DIMS];
	struct uprog shape;
	struct loops lp;

	for (int64_t i = 0; i < reps; i++) {
		int num = 0;

		set_replica(e, i);
		if (has_later_terms(e))
			continue;
		set_place(e);
		result_loops(e, &lp);
		memcpy(first, e->rep, sizeof(first));
		for (int64_t k = i; k < reps; k++) {
			bool same = true;

			set_replica(e, k);
			for (int d = 0; d < c->l->num_dims; d++)
				same &= c->l->reduce[d] || e->rep[d] == first[d];
			if (same)
				part[num++] = result[k];
		}
		shape = (struct uprog){ .op_id = e->op_id };
		for (int q = 0; q < lp.num; q++)
			image_counter(&shape, lp.l[q].start, lp.l[q].step, lp.l[q].trip);
		shape.num_outer = lp.num_outer;
		result[i] = image_combine(e->im, c->bytes ? RDU_SIMD_IADD : RDU_SIMD_FADD, part,
					  num, 0, &shape, e->hx, e->hy);
	}
	free(part);
}

static int emit_all(struct emit *e)
{
	const struct contract *c = e->c;
	int64_t reps = contract_replicas(c, -1), step = 1;
	struct xsrc *result = xcalloc((size_t)reps, sizeof(*result));
	struct xsrc *some = xcalloc((size_t)c->merge, sizeof(*some));
	int r = emit_arrays(e, result);

	if (!r && contract_splits(c) > 1)
		add_splits(e, result);
	for (int d = c->merge_dim + 1; d < c->l->num_dims && c->merge > 1; d++)
		step *= c->unroll[d];
	for (int64_t i = 0; i < reps && !r; i++) {
		set_replica(e, i);
		if ((c->merge > 1 && e->rep[c->merge_dim] % c->merge) || has_later_terms(e))
			continue; /* it shares the way out of one before */
		set_replica(e, c->tiles > 1 ? i + c->merge / 2 * step : i);
		set_place(e);
		set_replica(e, i);
		for (int k = 0; k < c->merge; k++)
			some[k] = result[i + k * step];
		r = emit_results(e, some);
	}
	free(result);
	free(some);
	return r;
}

int lower_contract(struct backend *be, struct uimage *im, const struct lnest *l,
		   const struct plan *pl, int op_id)
{
	struct contract c;
	struct emit e = { .be = be, .im = im, .c = &c, .op_id = op_id };

	if (contract_set_up(be, l, pl, &c) || contract_plan(be, &c))
		return 1;
	if (be_prints(be, "tile")) {
		fprintf(be_log(be), "tile: %s: lanes %s x %d, columns %s x %d, pairs %s;",
			l->n->name, l->name[c.lane], c.gl, c.col < 0 ? "-" : l->name[c.col], c.gc,
			c.pair < 0 ? "-" : l->name[c.pair]);
		for (int d = 0; d < l->num_dims; d++)
			fprintf(be_log(be), " %s%s %lld = %lld x %lld x %lld", l->name[d],
				l->reduce[d] ? "*" : "", (long long)l->extent[d],
				(long long)c.trip[d], (long long)c.unroll[d], (long long)c.tile[d]);
		if (c.merge > 1)
			fprintf(be_log(be), "; %d along %s share a way out", c.merge,
				l->name[c.merge_dim]);
		fprintf(be_log(be), "; %.0f cycles\n", c.cost);
	}
	im->systolic = c.systolic;
	im->replicas = (int)contract_replicas(&c, -1);
	for (int d = 0; d < l->num_dims; d++) {
		im->chunk[d] = l->reduce[d] ? c.tile[d] : 0;
		im->split[d] = l->reduce[d] ? c.unroll[d] : 0;
	}
	return emit_all(&e);
}
