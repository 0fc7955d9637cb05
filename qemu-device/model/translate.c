// SPDX-License-Identifier: MIT
/* The plan of a section: accesses, bodies and islands, found once (execute.h). */
#include <stdlib.h>
#include <string.h>
#include "execute.h"

const struct firing_mask *rdu_plan_mask(struct rdu_plan *plan, const struct rdu_unit_prog *p,
					uint32_t mask)
{
	struct firing_mask *m = &plan->masks[plan->num_masks];
	uint64_t period = 1;
	bool joined = false;

	for (int i = p->cfg->num_counters - 1; i >= 0; i--) {
		if (p->trip[i] == 1)
			continue;
		if (!(mask >> i & 1)) {
			joined = false;
		} else if (joined) {
			m->trip[m->num - 1] *= p->trip[i];
		} else {
			m->period[m->num] = period;
			m->trip[m->num++] = p->trip[i];
			joined = true;
		}
		period *= p->trip[i];
	}
	if (!m->num)
		return NULL;
	plan->num_masks++;
	return m;
}

/* Room for all masks of the section. */
static int get_masks(struct rdu_plan *plan, const struct rdu_section *s)
{
	size_t num = 1;

	for (uint32_t i = 0; i < plan->num_programs; i++) {
		const struct rdu_cfg_program *c = &s->programs[i];

		num += (size_t)c->num_in + c->num_out;
		if (c->kind == RDU_KIND_SYSTOLIC)
			num += 2u + RDU_MAX_TAIL;
		else if (c->kind == RDU_KIND_SIMD)
			num += 1u + RDU_MAX_STAGES + RDU_MAX_TAIL;
	}
	plan->masks = calloc(num, sizeof(*plan->masks));
	return plan->masks ? 0 : -1;
}

/* ---- accesses ------------------------------------------------------------ */

/* Appends an inner loop inside of those there. */
static void add_loop(struct access_plan *a, uint64_t trip, int64_t stride,
		     const int64_t *pred_stride)
{
	uint32_t i = a->num;

	if (trip == 1)
		return;
	if (i) {
		/* Two loops that go on evenly are one. */
		bool even = a->loop[i - 1].stride == stride * (int64_t)trip;

		for (uint32_t k = 0; k < a->num_preds; k++)
			even = even && a->pred_stride[k][i - 1] == pred_stride[k] * (int64_t)trip;
		if (even) {
			a->loop[i - 1].trip *= trip;
			a->loop[i - 1].stride = stride;
			for (uint32_t k = 0; k < a->num_preds; k++)
				a->pred_stride[k][i - 1] = pred_stride[k];
			return;
		}
	}
	a->loop[i].trip = trip;
	a->loop[i].stride = stride;
	for (uint32_t k = 0; k < a->num_preds; k++)
		a->pred_stride[k][i] = pred_stride[k];
	a->num++;
}

/* After the inner loops: one, if there is none, and the outer ones. */
static void end_loops(struct access_plan *a, const struct rdu_unit_prog *p)
{
	if (!a->num) {
		memset(a->loop, 0, sizeof(a->loop));
		memset(a->pred_stride, 0, sizeof(a->pred_stride));
		a->loop[0].trip = 1;
		a->num = 1;
	}
	for (uint32_t i = 0; i < a->num_outer; i++) {
		struct access_loop *l = &a->loop[a->num + i];

		l->trip = p->trip[i];
		l->stride = p->trip[i] == 1 ? 0 : a->cfg->stride[i] * p->cfg->counter[i].step;
	}
}

/* Counter i of the program, `part` iterations of it at a time. */
static void add_counter(struct access_plan *a, const struct rdu_unit_prog *p, uint32_t i,
			uint64_t part)
{
	int64_t step = p->cfg->counter[i].step * (int64_t)part, pred[RDU_MAX_PREDS];

	if (p->trip[i] == 1)
		return;
	for (uint32_t k = 0; k < a->num_preds; k++)
		pred[k] = (int64_t)a->cfg->pred[k].stride[i] * step;
	add_loop(a, p->trip[i] / part, a->cfg->stride[i] * step, pred);
}

/* Where the memory is, and how much of it there is, or has to be. */
static void plan_memory(struct access_plan *a, const struct rdu_section *s)
{
	const struct rdu_cfg_buffer *b = &s->buffers[a->cfg->target];

	if (!a->pmu) {
		a->memory = a->cfg->target;
		a->limit = a->min < 0 || a->flags & RDU_ACCESS_GATHER ? UINT64_MAX
								      : (uint64_t)a->max + 1;
		return;
	}
	a->memory = b->tile * rdu_chip_pmus_per_tile(&s->chip) + b->unit;
	a->start = b->base;
	a->limit = b->words;
	a->copies = (uint8_t)b->copies;
	a->copy_start = a->cfg->copy_start;
	a->inside = a->min >= 0 && a->max < b->words && !(a->flags & RDU_ACCESS_GATHER);
}

static void plan_access_base(struct access_plan *a, const struct rdu_section *s, uint32_t index)
{
	const struct rdu_unit_prog *p = &s->progs[index];
	const struct rdu_cfg_access *c = p->body;

	memset(a, 0, sizeof(*a));
	a->cfg = c;
	a->program = index;
	a->pmu = rdu_kind_unit(p->cfg->kind) == RDU_UNIT_PMU;
	a->store = p->cfg->kind == RDU_KIND_STORE;
	a->flags = c->flags;
	a->pack = c->pack;
	a->pad = c->pad;
	a->format = a->pmu ? RDU_FMT_WORD : c->format;
	a->elem = rdu_format_bytes(a->format);
	a->words = rdu_pack_words(c, c->lanes);
	a->lane_stride = a->words == 1 ? 1 : c->lane_stride;
	a->base = c->base;
	a->num_preds = c->num_preds;
	a->num_outer = p->cfg->num_outer;
	a->min = a->max = c->base;
	if (a->lane_stride < 0)
		a->min += a->lane_stride * (a->words - 1);
	else
		a->max += a->lane_stride * (a->words - 1);
	for (uint32_t k = 0; k < c->num_preds; k++) {
		a->pred[k].base = c->pred[k].base;
		a->pred[k].lo = c->pred[k].lo;
		a->pred[k].hi = c->pred[k].hi;
		a->pred[k].lane_stride = c->pred[k].lane_stride;
	}
	for (uint32_t i = 0; i < p->cfg->num_counters; i++) {
		const struct rdu_cfg_counter *n = &p->cfg->counter[i];
		int64_t trip = (int64_t)p->trip[i], first, span;

		/* A counter that runs once has whatever step: it is not used. */
		first = c->stride[i] * n->start;
		span = trip == 1 ? 0 : c->stride[i] * n->step * (trip - 1);
		a->base += first;
		a->min += first + (span < 0 ? span : 0);
		a->max += first + (span > 0 ? span : 0);
		for (uint32_t k = 0; k < c->num_preds; k++)
			a->pred[k].base += (int64_t)c->pred[k].stride[i] * n->start;
		if (i >= p->cfg->num_outer)
			continue;
		for (uint32_t k = 0; k < c->num_preds; k++)
			a->outer_pred[k][i] =
				trip == 1 ? 0 : (int64_t)c->pred[k].stride[i] * n->step;
	}
	plan_memory(a, s);
}

static void plan_access(struct program_plan *pp, const struct rdu_section *s)
{
	const struct rdu_cfg_program *c = pp->prog->cfg;
	struct access_plan *a = &pp->access;

	plan_access_base(a, s, pp->index);
	for (uint32_t i = c->num_outer; i < c->num_counters; i++)
		add_counter(a, pp->prog, i,
			    i + 1u == c->num_counters ? rdu_pack_vectors(a->cfg) : 1);
	end_loops(a, pp->prog);
	if (a->pmu)
		rdu_pattern_of(&a->flips, pp->prog, a->cfg->flip_mask);
}

/* ---- SIMD ---------------------------------------------------------------- */

static uint32_t const_slot(struct simd_plan *sp, uint8_t kind, uint32_t value)
{
	for (uint32_t i = 0; i < sp->num_consts; i++)
		if (sp->konst[i].kind == kind && sp->konst[i].value == value)
			return i;
	sp->konst[sp->num_consts] = (struct simd_const){ kind, value };
	return sp->num_consts++;
}

static void plan_source(struct simd_plan *sp, struct op_source *src,
			const struct rdu_cfg_operand *o)
{
	src->index = o->index;
	src->lane = o->lane;
	switch (o->kind) {
	case RDU_OPD_REG:
		src->kind = SRC_REG;
		break;
	case RDU_OPD_IN:
		src->kind = SRC_IN;
		break;
	case RDU_OPD_IN_LANE:
		src->kind = SRC_IN_LANE;
		break;
	case RDU_OPD_COUNTER:
		src->kind = SRC_COUNTER;
		break;
	case RDU_OPD_ACC:
		src->kind = SRC_ACC;
		break;
	case RDU_OPD_NONE:
		src->kind = SRC_NONE;
		break;
	default:
		src->kind = SRC_CONST;
		src->slot = const_slot(sp, o->kind,
				       o->kind == RDU_OPD_IMM	? o->imm
				       : o->kind == RDU_OPD_ARG ? o->index
								: 0);
		break;
	}
}

/* Which way an accumulating operation goes: 1 if acc[] kernels do it. */
static uint8_t acc_way(struct op_plan *op)
{
	bool a = op->src[0].kind == SRC_ACC, b = op->src[1].kind == SRC_ACC;
	bool c = op->src[2].kind == SRC_ACC;

	if (!a && !b && !c)
		return 0;
	switch (op->op) {
	case RDU_SIMD_FADD:
	case RDU_SIMD_FMAX:
	case RDU_SIMD_FMIN:
	case RDU_SIMD_IADD:
		/* acc op x, or x op acc, which is the same. */
		if (a && b)
			return 2;
		if (a)
			op->src[0] = op->src[1];
		return 1;
	case RDU_SIMD_FMA:
		return a || b ? 2 : 1;
	default:
		return 2;
	}
}

/* Operations after the last accumulator only matter where something is pushed:
 * they run on the vectors pushed, if all ports push at the same firings. */
static void plan_sparse(struct simd_plan *sp, const struct rdu_cfg_program *c)
{
	uint32_t i;

	sp->num_dense = sp->num_ops;
	if (!c->out[0].mask)
		return;
	for (i = 1; i < c->num_out; i++)
		if (c->out[i].mask != c->out[0].mask)
			return;
	sp->sparse = true;
	while (sp->num_dense && !sp->op[sp->num_dense - 1].acc)
		sp->num_dense--;
	for (i = 0; i < c->num_out; i++)
		sp->kept |= ((1u << c->out[i].count) - 1) << c->out[i].reg;
	for (i = sp->num_dense; i < sp->num_ops; i++)
		for (uint32_t k = 0; k < 3; k++)
			if (sp->op[i].src[k].kind == SRC_REG)
				sp->kept |= 1u << sp->op[i].src[k].index;
}

int rdu_plan_simd(struct rdu_plan *plan, struct program_plan *pp)
{
	const struct rdu_cfg_program *c = pp->prog->cfg;
	const struct rdu_cfg_stage *st;
	struct simd_plan *sp;
	uint32_t num_ops;

	if (c->kind == RDU_KIND_SIMD) {
		const struct rdu_cfg_simd *b = pp->prog->body;

		st = b->stage;
		num_ops = b->num_stages + b->num_tail;
	} else {
		const struct rdu_cfg_systolic *b = pp->prog->body;

		st = b->tail;
		num_ops = b->num_tail;
	}
	sp = calloc(1, sizeof(*sp) + num_ops * (sizeof(sp->op[0]) + 3 * sizeof(sp->konst[0])));
	if (!sp)
		return -1;
	pp->simd = sp;
	sp->num_ops = num_ops;
	sp->konst = (struct simd_const *)(sp->op + num_ops);
	for (uint32_t i = 0; i < sp->num_ops; i++) {
		struct op_plan *op = &sp->op[i];

		op->op = st[i].op;
		op->dst = st[i].dst;
		op->init = st[i].init;
		plan_source(sp, &op->src[0], &st[i].a);
		plan_source(sp, &op->src[1], &st[i].b);
		plan_source(sp, &op->src[2], &st[i].c);
		op->acc = acc_way(op);
		if (op->acc) {
			op->acc_slot = sp->num_accs++;
			op->mask = rdu_plan_mask(plan, pp->prog, st[i].acc_mask);
		}
		if (op->op == RDU_SIMD_SHIFT)
			op->shift = (int32_t)st[i].b.imm;
	}
	plan_sparse(sp, c);
	pp->state = plan->state_words;
	plan->state_words += sp->num_accs * plan->lanes;
	return 0;
}

#define COPY_MAX (1u << 22) /* words of an operand's tile that may be copied */

/* ---- the array's operands ---------------------------------------------------- */

static struct systolic_plan *new_array(void)
{
	struct systolic_plan *sys = aligned_alloc(64, sizeof(*sys));

	if (sys)
		memset(sys, 0, sizeof(*sys));
	return sys;
}

/* Does counter i of READ or LOAD program p move its address or a predicate? */
static bool counter_moves(const struct rdu_unit_prog *p, uint32_t i)
{
	const struct rdu_cfg_access *c = p->body;
	bool moves = c->stride[i] != 0;

	for (uint32_t k = 0; k < c->num_preds; k++)
		moves = moves || c->pred[k].stride[i];
	return moves && p->cfg->counter[i].step;
}

/* Which iterations of an operand's READ program are a drain: all of the counters after `first`,
 * and `part` of counter `first`. */
struct drain_loops {
	uint32_t first;
	uint64_t part;
};

/* False if they are not the innermost ones. */
static bool find_drain(struct drain_loops *d, const struct rdu_unit_prog *p, uint64_t steps)
{
	uint32_t i = p->cfg->num_counters - 1u;

	for (; i > p->cfg->num_outer && steps % p->trip[i] == 0; i--)
		steps /= p->trip[i];
	d->first = i;
	d->part = steps;
	return i >= p->cfg->num_outer && p->trip[i] % steps == 0;
}

/* Copies of an operand's tiles: one for each that differs. False if there are too many. */
static bool plan_slots(struct direct_operand *d, const struct rdu_plan *plan,
		       const struct rdu_section *s, const struct drain_loops *drain)
{
	const struct merge_plan *m = plan->programs[d->source].merge;
	const struct rdu_unit_prog *p = &s->progs[m ? m->leaf[0] : d->source];

	d->slots = 1;
	for (int i = (int)drain->first; i >= (int)p->cfg->num_outer; i--) {
		uint64_t trip = i == (int)drain->first ? p->trip[i] / drain->part : p->trip[i];
		bool moves = false;

		if (trip == 1)
			continue;
		for (uint32_t k = 0; k < (m ? m->num : 1); k++)
			moves = moves || counter_moves(m ? &s->progs[m->leaf[k]] : p, (uint32_t)i);
		d->loop[d->num_loops].trip = trip;
		d->loop[d->num_loops++].slots = moves ? d->slots : 0;
		if (moves && __builtin_mul_overflow(d->slots, trip, &d->slots))
			return false;
	}
	return true;
}

/* 1: the array makes the operand itself; 0: it takes it from its FIFO; -1: no memory. */
static int plan_operand(struct direct_operand *d, struct rdu_plan *plan,
			const struct rdu_section *s, const struct rdu_unit_prog *array,
			uint32_t port, uint64_t steps, uint32_t words)
{
	uint32_t stream = array->cfg->in[port].stream, src = s->streams[stream].program;
	const struct merge_plan *m = plan->programs[src].merge;
	const struct rdu_unit_prog *p = &s->progs[m ? m->leaf[0] : src];
	const struct rdu_cfg_access *c = p->body;
	struct drain_loops drain;
	uint64_t n = 1;
	ptrdiff_t *at;

	if (!rdu_is_source(plan, s, src) || array->cfg->in[port].mask || p->cfg->out[0].mask ||
	    !find_drain(&drain, p, steps))
		return 0;
	d->source = src;
	d->words = port == 0 ? plan->lanes : words;
	if (!plan_slots(d, plan, s, &drain))
		return 0;
	if (m)
		return steps * plan->lanes <= COPY_MAX;
	plan_access_base(&d->tile, s, src);
	for (uint32_t i = p->cfg->num_outer; i < drain.first; i++)
		add_counter(&d->tile, p, i, 1);
	add_counter(&d->tile, p, drain.first, drain.part);
	end_loops(&d->tile, p);
	d->in_place = !c->num_preds && d->tile.inside && c->lanes >= words &&
		      (port == 1 || c->lane_stride == 1) && steps <= 1u << 15;
	if (!d->in_place) /* too long to copy: through FIFOs */
		return steps * plan->lanes <= COPY_MAX;
	at = malloc(steps * sizeof(*at));
	if (!at)
		return -1;
	at[0] = 0;
	for (uint32_t i = p->cfg->num_counters - 1u; n < steps; i--) {
		int64_t stride = p->trip[i] == 1 ? 0 : c->stride[i] * p->cfg->counter[i].step;
		uint64_t trip = i == drain.first ? drain.part : p->trip[i];

		for (uint64_t t = 1; t < trip; t++)
			for (uint64_t m = 0; m < n; m++)
				at[t * n + m] = at[m] + (int64_t)t * stride;
		n *= trip;
	}
	d->step = steps > 1 ? at[1] : 0;
	for (n = 0; n < steps && at[n] == (ptrdiff_t)n * d->step; n++)
		;
	if (n < steps)
		d->at = rdu_plan_offsets(plan, at, steps);
	free(at);
	return n == steps || d->at ? 1 : -1;
}

/* The kernels take both offsets from tables, or none. */
static int plan_tables(struct rdu_plan *plan, struct systolic_plan *sys)
{
	struct direct_operand *d = sys->operand;
	ptrdiff_t *at;

	if (!sys->direct || (d[0].in_place && !d[0].at && d[1].in_place && !d[1].at))
		return 0;
	for (; d < sys->operand + 2; d++) {
		if (!d->in_place || d->at)
			continue;
		at = malloc(sys->steps * sizeof(*at));
		if (!at)
			return -1;
		for (uint64_t i = 0; i < sys->steps; i++)
			at[i] = (ptrdiff_t)i * d->step;
		d->at = rdu_plan_offsets(plan, at, sys->steps);
		free(at);
		if (!d->at)
			return -1;
	}
	return 0;
}

/* Arrays of one column, whose lanes the next drains go on with. */
static void plan_beside(const struct rdu_plan *plan, struct systolic_plan *sys)
{
	const struct access_plan *col = &sys->operand[0].tile, *row = &sys->operand[1].tile;
	const struct access_loop *c, *r;

	sys->beside = 1;
	if (!sys->direct || !sys->operand[0].in_place || !sys->operand[1].in_place ||
	    sys->cols > 1 ||
	    !(sys->fp32 || (sys->mode == RDU_SYS_BF16 && !(sys->flags & RDU_SYS_INIT))))
		return;
	c = &col->loop[col->num - 1];
	r = &row->loop[row->num - 1];
	if (c->stride == plan->lanes && !r->stride && c->trip == r->trip)
		sys->beside = c->trip < RDU_MAX_BESIDE ? (uint32_t)c->trip : RDU_MAX_BESIDE;
}

/* Steps of a drain if k_mask is the innermost counters, else 0. */
static uint64_t inner_steps(const struct rdu_unit_prog *p, uint32_t k_mask)
{
	uint64_t steps = 1;
	uint32_t i = p->cfg->num_counters;

	while (i > p->cfg->num_outer && (k_mask >> (i - 1) & 1 || p->trip[i - 1] == 1))
		steps *= p->trip[--i];
	for (; i > p->cfg->num_outer; i--)
		if (k_mask >> (i - 1) & 1 && p->trip[i - 1] > 1)
			return 0;
	return steps;
}

int rdu_plan_systolic(struct rdu_plan *plan, const struct rdu_section *s, struct program_plan *pp)
{
	const struct rdu_unit_prog *p = pp->prog;
	const struct rdu_cfg_systolic *b = p->body;
	struct systolic_plan *sys = new_array();
	int col, row;

	if (!sys)
		return -1;
	pp->sys = sys;
	sys->k = rdu_plan_mask(plan, p, b->k_mask);
	sys->init = rdu_plan_mask(plan, p, b->init_mask);
	sys->steps = inner_steps(p, b->k_mask);
	sys->mode = b->mode;
	sys->cols = b->cols;
	sys->flags = b->flags;
	if (!sys->steps)
		return 0;
	col = plan_operand(&sys->operand[0], plan, s, p, 0, sys->steps, plan->lanes);
	row = plan_operand(&sys->operand[1], plan, s, p, 1, sys->steps, b->cols);
	if (col < 0 || row < 0)
		return -1;
	sys->direct = col && row;
	plan_beside(plan, sys);
	return plan_tables(plan, sys);
}

/* Does stage j multiply port 0 with a lane of port 1 and add to register j? */
static bool is_mac(const struct rdu_cfg_stage *st, uint32_t j, uint32_t acc_mask, uint32_t *lane)
{
	if (st->op != RDU_SIMD_FMA || st->dst != j || st->acc_mask != acc_mask ||
	    st->a.kind != RDU_OPD_IN || st->a.index != 0 || st->b.kind != RDU_OPD_IN_LANE ||
	    st->b.index != 1 || st->c.kind != RDU_OPD_ACC)
		return false;
	*lane = st->b.lane;
	return true;
}

int rdu_plan_contraction(struct rdu_plan *plan, const struct rdu_section *s,
			 struct program_plan *pp)
{
	const struct rdu_unit_prog *p = pp->prog;
	const struct rdu_cfg_simd *b = p->body;
	uint32_t mask, lane[RDU_MAX_STAGES], j, words = 0;
	struct systolic_plan *sys;
	int col, row = 0;

	if (!b->num_stages || b->num_tail || p->cfg->num_in != 2)
		return 0;
	mask = b->stage[0].acc_mask;
	if (mask & ((1u << p->cfg->num_outer) - 1))
		return 0;
	for (j = 0; j < p->cfg->num_out; j++)
		if (p->cfg->out[j].mask != mask)
			return 0;
	for (j = 0; j < b->num_stages; j++) {
		if (!is_mac(&b->stage[j], j, mask, &lane[j]) ||
		    (j > 1 && lane[j] - lane[j - 1] != lane[1] - lane[0]) || lane[j] < lane[0])
			return 0;
		words = lane[j] + 1u > words ? lane[j] + 1u : words;
	}
	sys = new_array();
	if (!sys)
		return -1;
	sys->fp32 = true;
	sys->cols = b->num_stages;
	sys->row_lane = lane[0];
	sys->row_step = b->num_stages > 1 ? lane[1] - lane[0] : 1;
	for (j = 0; j < b->num_stages; j++)
		sys->restart[j] = b->stage[j].init;
	sys->steps = inner_steps(p, mask);
	sys->k = rdu_plan_mask(plan, p, mask);
	pp->sys = sys;
	if (!sys->steps)
		goto no;
	col = plan_operand(&sys->operand[0], plan, s, p, 0, sys->steps, plan->lanes);
	if (col > 0)
		row = plan_operand(&sys->operand[1], plan, s, p, 1, sys->steps, words);
	if (col < 0 || row < 0)
		return -1;
	if (!col || !row)
		goto no;
	sys->direct = true;
	plan_beside(plan, sys);
	return plan_tables(plan, sys);
no: /* stage by stage, then */
	free(sys);
	pp->sys = NULL;
	return 0;
}

/* ---- islands ------------------------------------------------------------------ */

static uint32_t find(uint32_t *parent, uint32_t i)
{
	while (parent[i] != i)
		i = parent[i] = parent[parent[i]];
	return i;
}

/* Does a consumer make this stream itself? */
static bool direct_port(const struct rdu_plan *plan, uint32_t program, uint32_t port)
{
	const struct program_plan *pp = &plan->programs[program];

	return pp->sys && pp->sys->direct && port < 2;
}

/* Work of a program in an activation, in vectors. */
static uint64_t cost_of(const struct rdu_unit_prog *p)
{
	return p->iterations * (p->cfg->kind == RDU_KIND_SYSTOLIC ? 4 : 1);
}

/* What a node, whose FIFOs are known, needs of its program; and the FIFOs' room. */
static void fill_node(const struct rdu_plan *plan, struct island *il, struct island_node *node)
{
	const struct program_plan *pp = &plan->programs[node->program];
	const struct rdu_cfg_program *c = pp->prog->cfg;

	node->plan = pp;
	node->iterations = pp->prog->iterations;
	node->kind = c->kind;
	node->num_in = c->num_in;
	node->num_out = c->num_out;
	node->merge = pp->merge;
	for (uint32_t k = 0; k < RDU_MAX_PORTS; k++)
		node->masked |= pp->in_mask[k] || pp->out_mask[k];
	for (uint32_t k = 0; k < c->num_out; k++) {
		uint64_t most = node->iterations * c->out[k].count;

		node->reg[k] = c->out[k].reg;
		node->count[k] = c->out[k].count;
		il->fifos[node->out[k]].room =
			most < 3 * plan->chunk ? (uint32_t)most : 3 * plan->chunk;
	}
	if (node->iterations > il->most)
		il->most =
			node->iterations < plan->chunk ? (uint32_t)node->iterations : plan->chunk;
}

static int fill_island(struct rdu_plan *plan, const struct rdu_section *s, struct island *il,
		       const uint32_t *member, uint32_t num, uint32_t *fifo_of, uint32_t *mark,
		       uint32_t stamp)
{
	uint32_t n = num, outs = 0, i, k, at = 0;

	/* Sources come first: they depend on nothing. */
	for (i = 0; i < num; i++) {
		const struct rdu_cfg_program *c = &s->programs[member[i]];

		il->cost += cost_of(&s->progs[member[i]]);
		for (k = 0; k < c->num_in; k++) {
			uint32_t src = s->streams[c->in[k].stream].program;

			if (rdu_is_source(plan, s, src) && !direct_port(plan, member[i], k) &&
			    mark[src] != stamp) {
				mark[src] = stamp;
				il->cost += s->progs[src].iterations;
				n++;
			}
		}
	}
	for (i = 0; i < num; i++)
		outs += s->programs[member[i]].num_out;
	il->nodes = calloc(1, n * sizeof(*il->nodes) + (outs + n - num) * sizeof(*il->fifos));
	if (!il->nodes)
		return -1;
	il->fifos = (struct island_fifo *)(il->nodes + n);
	il->num_nodes = n;
	for (i = 0; i < n; i++)
		for (k = 0; k < RDU_MAX_PORTS; k++)
			il->nodes[i].in[k] = il->nodes[i].out[k] = NO_FIFO;
	for (i = 0; i < num; i++) {
		const struct rdu_cfg_program *c = &s->programs[member[i]];

		for (k = 0; k < c->num_in; k++) {
			uint32_t st = c->in[k].stream, src = s->streams[st].program;

			if (mark[src] != stamp || !rdu_is_source(plan, s, src) ||
			    direct_port(plan, member[i], k))
				continue;
			mark[src] = stamp + 1;
			il->nodes[at].program = src;
			il->nodes[at].out[0] = fifo_of[st] = il->num_fifos++;
			at++;
		}
	}
	for (i = 0; i < num; i++) {
		const struct rdu_cfg_program *c = &s->programs[member[i]];
		struct island_node *node = &il->nodes[at++];

		node->program = member[i];
		for (k = 0; k < c->num_out; k++)
			node->out[k] = fifo_of[c->out[k].stream] = il->num_fifos++;
	}
	for (i = 0; i < n; i++)
		fill_node(plan, il, &il->nodes[i]);
	for (i = n - num; i < n; i++) {
		struct island_node *node = &il->nodes[i];
		const struct rdu_cfg_program *c = &s->programs[node->program];

		for (k = 0; k < c->num_in; k++) {
			uint32_t f;

			if (direct_port(plan, node->program, k))
				continue;
			f = fifo_of[c->in[k].stream];
			node->in[k] = f;
			if (il->fifos[f].readers == UINT8_MAX)
				return -1;
			node->reader[k] = il->fifos[f].readers++;
			il->num_readers++;
		}
	}
	return 0;
}

static int plan_islands(struct rdu_plan *plan, const struct rdu_section *s)
{
	uint32_t n = s->hdr->programs.count, streams = s->hdr->streams.count, i, k, stamp = 1;
	uint32_t *parent = calloc((size_t)n * 4 + streams + 4, sizeof(*parent));
	uint32_t *mark, *member, *start, *fifo_of, *sorted, num = 0;
	int ret = -1;

	if (!parent)
		return -1;
	mark = parent + n;
	member = mark + n;
	start = member + n;
	fifo_of = start + n + 1;
	for (i = 0; i < n; i++)
		parent[i] = i;
	for (i = 0; i < streams; i++) {
		const struct rdu_cfg_stream *st = &s->streams[i];

		if (rdu_is_source(plan, s, st->program))
			continue;
		for (k = 0; k < st->num_dests; k++) {
			uint32_t a = find(parent, st->program);
			uint32_t b = find(parent, s->dests[st->first_dest + k].program);

			if (a < b)
				parent[b] = a;
			else
				parent[a] = b;
		}
	}
	/* Members of an island in the section's order: by counting. */
	for (i = 0; i < n; i++)
		if (!rdu_is_source(plan, s, i))
			start[find(parent, i)]++;
	for (i = 0, k = 0; i < n; i++) {
		uint32_t c = start[i];

		start[i] = k;
		k += c;
		if (c)
			num++;
	}
	start[n] = k;
	sorted = calloc((size_t)n + 1, sizeof(*sorted));
	plan->islands = calloc((size_t)num + 1, sizeof(*plan->islands));
	plan->first_island = calloc((size_t)s->num_stages + 1, sizeof(uint32_t));
	if (!sorted || !plan->islands || !plan->first_island)
		goto out;
	for (i = 0; i < n; i++) {
		uint32_t p = s->order[i], root;

		if (rdu_is_source(plan, s, p))
			continue;
		root = find(parent, p);
		sorted[start[root] + member[root]++] = p;
	}
	for (i = 0; i < s->num_stages; i++) {
		const struct rdu_stage *st = &s->stages[i];

		plan->first_island[i] = plan->num_islands;
		for (k = 0; k < st->num; k++) {
			uint32_t p = s->order[st->first + k], root = find(parent, p);
			struct island *il = &plan->islands[plan->num_islands];

			if (rdu_is_source(plan, s, p) || !member[root])
				continue;
			il->stage = i;
			plan->num_islands++;
			if (fill_island(plan, s, il, sorted + start[root], member[root], fifo_of,
					mark, stamp))
				goto out;
			member[root] = 0;
			stamp += 2;
		}
	}
	plan->first_island[s->num_stages] = plan->num_islands;
	ret = 0;
out:
	free(sorted);
	free(parent);
	return ret;
}

/* Programs of scratchpads whose buffers have several copies: these change at the end of activations. */
static int plan_turning(struct rdu_plan *plan, const struct rdu_section *s)
{
	uint32_t num = 0, i, k;

	plan->turning = calloc((size_t)plan->num_programs + 1, sizeof(*plan->turning));
	plan->first_turning = calloc((size_t)s->num_stages + 1, sizeof(*plan->first_turning));
	if (!plan->turning || !plan->first_turning)
		return -1;
	for (i = 0; i < s->num_stages; i++) {
		for (k = 0; k < s->stages[i].num; k++) {
			uint32_t p = s->order[s->stages[i].first + k];

			if (plan->programs[p].access.copies > 1)
				plan->turning[num++] = p;
		}
		plan->first_turning[i + 1] = num;
	}
	return 0;
}

/* ---- the whole -------------------------------------------------------------------- */

struct rdu_plan *rdu_plan_new(const struct rdu_section *s)
{
	uint32_t n = s->hdr->programs.count, i, k;
	struct rdu_plan *plan = calloc(1, sizeof(*plan));

	if (!plan)
		return NULL;
	plan->kernels = rdu_kernels_get();
	plan->lanes = s->chip.lanes;
	plan->chunk = CHUNK_WORDS / plan->lanes;
	plan->num_programs = n;
	plan->programs = aligned_alloc(64, ((size_t)n + 1) * sizeof(*plan->programs));
	if (!plan->programs)
		goto fail;
	memset(plan->programs, 0, ((size_t)n + 1) * sizeof(*plan->programs));
	if (get_masks(plan, s))
		goto fail;
	for (i = 0; i < n; i++)
		if (rdu_plan_merge(plan, s, s->order[i]))
			goto fail;
	for (i = 0; i < n; i++) {
		struct program_plan *pp = &plan->programs[i];
		const struct rdu_cfg_program *c = &s->programs[i];

		pp->index = i;
		pp->prog = &s->progs[i];
		for (k = 0; k < c->num_in; k++)
			pp->in_mask[k] = rdu_plan_mask(plan, pp->prog, c->in[k].mask);
		for (k = 0; k < c->num_out; k++)
			pp->out_mask[k] = rdu_plan_mask(plan, pp->prog, c->out[k].mask);
		if (pp->merge)
			continue;
		if (rdu_kind_unit(c->kind) != RDU_UNIT_PCU)
			plan_access(pp, s);
		else if (rdu_plan_simd(plan, pp) ||
			 (c->kind == RDU_KIND_SYSTOLIC ? rdu_plan_systolic(plan, s, pp)
						       : rdu_plan_contraction(plan, s, pp)))
			goto fail;
	}
	if (rdu_plan_vectors(plan) || plan_islands(plan, s) || plan_turning(plan, s) ||
	    rdu_plan_conflicts(plan, s))
		goto fail;
	for (i = 0; i < plan->num_islands; i++)
		if (rdu_plan_transfer(plan, s, &plan->islands[i]))
			goto fail;
	if (rdu_plan_find_lines(plan, s))
		goto fail;
	return plan;
fail:
	rdu_plan_free(plan);
	return NULL;
}

void rdu_plan_free(struct rdu_plan *plan)
{
	for (uint32_t i = 0; i < plan->num_islands; i++) {
		free(plan->islands[i].nodes);
		free(plan->islands[i].transfer);
	}
	for (uint32_t i = 0; plan->programs && i < plan->num_programs; i++) {
		struct program_plan *pp = &plan->programs[i];

		free(pp->simd);
		free(pp->sys);
		rdu_vectors_free(pp->access.vectors);
		if (pp->merge)
			rdu_vectors_free(pp->merge->vectors);
		free(pp->merge);
	}
	rdu_plan_offsets_free(plan);
	free(plan->programs);
	free(plan->masks);
	free(plan->islands);
	free(plan->first_island);
	free(plan->turning);
	free(plan->first_turning);
	free(plan->lines);
	free(plan);
}
