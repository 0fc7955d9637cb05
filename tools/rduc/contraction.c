// SPDX-License-Identifier: MIT
/*
 * What is a contraction, and about how long it takes: before there is a plan.
 */
#include <math.h>
#include <string.h>
#include "tile.h"

uint32_t contraction_pad(const struct lacc *a)
{
	for (int i = 0; i < a->num_axes; i++)
		if (a->axis[i].guard)
			return a->pad;
	return 0;
}

bool contraction_is_plain(const struct lnest *l, const struct residence *const *kept)
{
	const struct nest *n = l->n;

	return n->num_out == 1 && n->expr[n->out[0].expr].kind == EXPR_RED &&
	       residence_rounds(kept[0], l->out[0].t) == RDU_SIMD_MOV;
}

/* Does a table say which positions of an axis are read, in dimensions that the input itself does not
 * depend on, and nothing else? */
static bool is_picked(const struct lnest *l, int in)
{
	const struct access *s = &l->n->in[in];
	const struct lacc *a = &l->in[in], *table = &l->in[s->gather_in];

	if (table->gather_in >= 0 || !dtype_is_int(table->t->dtype) || a->needs & table->needs ||
	    !table->needs || s->guarded || l->n->in[s->gather_in].guarded ||
	    s->offset[s->gather_dim])
		return false;
	for (int d = 0; d < l->n->ndim; d++)
		if (s->coef[s->gather_dim][d])
			return false;
	return true;
}

/* May the body's factor k be operand of a contraction: a plain access, whose type fits, or one of
 * ternary weights? */
static bool is_operand(const struct lnest *l, int k, bool bytes, struct factors *f)
{
	const struct lacc *a;
	int d;

	f->in[k] = nest_factor(l->n, k);
	if (f->in[k] < 0)
		return false;
	a = &l->in[f->in[k]];
	if (a->gather_in >= 0)
		return !bytes && !dtype_is_int(a->t->dtype) && is_picked(l, f->in[k]);
	if (nest_is_ternary(l->n, l->n->expr[l->n->body].arg[k], &f->in[k], &d)) {
		f->place = l->index_dim[d];
		if (!bytes || f->weights >= 0 || f->place < 0 || !l->reduce[f->place] ||
		    lacc_needs(a, f->place))
			return false;
		f->weights = f->in[k];
		return true;
	}
	return bytes ? a->t->dtype == RDU_DT_I8 || a->t->dtype == RDU_DT_U8
		     : !dtype_is_int(a->t->dtype);
}

/* Is what an operand reads beside its tensor, or past the end of a reduction, nothing in the sum:
 * 0, or multiplied by 0? */
static bool pads_to_nothing(const struct lnest *l, const struct factors *f, bool bytes)
{
	for (int k = 0; k < 2; k++) {
		int other = f->in[!k];

		if (!contraction_pad(&l->in[f->in[k]]))
			continue;
		if (!bytes || contraction_pad(&l->in[other]))
			return false;
		for (int d = 0; d < l->num_dims; d++)
			if (l->reduce[d] && !lacc_needs(&l->in[other], d) &&
			    !(other == f->weights && d == f->place))
				return false;
	}
	return true;
}

bool contraction_find(const struct lnest *l, struct factors *f)
{
	const struct nest *n = l->n;
	bool bytes = n->reduce == REDUCE_IADD;

	f->weights = f->place = -1;
	if (!nest_sums_products(n))
		return false;
	for (int k = 0; k < 2; k++)
		if (!is_operand(l, k, bytes, f))
			return false;
	if (l->in[f->in[0]].gather_in >= 0 && l->in[f->in[1]].gather_in >= 0)
		return false;
	f->table = (int)max64(l->in[f->in[0]].gather_in, l->in[f->in[1]].gather_in);
	return f->in[0] != f->in[1] && pads_to_nothing(l, f, bytes);
}

/* Does a table pick for each number of one factor what it meets? Then an array would have one column,
 * and half of its pairs: stages take half the time. */
static bool is_by_numbers(const struct nest *n)
{
	bool gathers = false;
	struct factors f;
	struct lnest l;
	int k;

	for (int i = 0; i < n->num_in; i++)
		gathers |= n->in[i].gather_in >= 0;
	if (!gathers)
		return false;
	lnest_from(&l, n);
	if (!contraction_find(&l, &f) || f.table < 0)
		return false;
	k = l.in[f.in[0]].gather_in >= 0; /* the one that is not picked */
	for (int d = 0; d < l.num_dims; d++)
		if (!lacc_needs(&l.in[f.table], d) &&
		    (l.reduce[d] || lacc_needs(&l.in[f.in[k]], d)))
			return false;
	return true;
}

bool contraction_on_arrays(const struct backend *be, const struct nest *n)
{
	return be->chip.systolic_cols &&
	       (n->reduce == REDUCE_IADD || (!be->opt->fp32 && !is_by_numbers(n)));
}

/* One of two sources in turn, as the innermost loop goes on. */
static struct xarg in_turn(struct xbuild *b, const struct loops *lp)
{
	b->src_in[b->num_src++] = -1;
	b->src_in[b->num_src++] = -1;
	return xval(xprog_op(&b->x, RDU_SIMD_SELECT, xctr(lp->num - 1), xsrc_arg(1), xsrc_arg(0)));
}

void contraction_results(struct xbuild *b, const struct lnest *l, const struct loops *lp,
			 const struct residence *const *kept, bool two)
{
	xbuild_init(b, l, lp);
	if (two)
		xbuild_result(b, in_turn(b, lp));
	for (int i = 0; i < l->n->num_out; i++)
		xbuild_output(b, l->n->out[i].expr, residence_rounds(kept[i], l->out[i].t));
}

int contraction_epilogue(const struct rdu_chip *chip, const struct lnest *l,
			 const struct residence *const *kept, bool two, int *inputs)
{
	struct loops lp = { .num = 1, .l = { { .dim = -1 } }, .lanes = 1 };
	struct xbuild b;
	int pcus;

	*inputs = 0;
	if (contraction_is_plain(l, kept))
		return 0;
	contraction_results(&b, l, &lp, kept, two);
	pcus = xprog_pcus(chip, &b.x);
	*inputs = b.num_src - 1 - two;
	xprog_free(&b.x);
	return pcus;
}

/* One more operation of an array's tail, on register 0 and a number; false: there is no room for it. */
static bool add_to_tail(const struct rdu_chip *chip, struct rdu_cfg_stage *tail, int *num,
			enum rdu_simd_op op, const uint32_t *imm)
{
	if (*num == (int)min64(chip->tail_stages, RDU_MAX_TAIL))
		return false;
	memmove(tail + 1, tail, sizeof(*tail) * (size_t)*num); /* what comes last is found first */
	tail[0] = (struct rdu_cfg_stage){ .op = (uint8_t)op, .a = { .kind = RDU_OPD_REG } };
	if (imm)
		tail[0].b = (struct rdu_cfg_operand){ .kind = RDU_OPD_IMM, .imm = *imm };
	++*num;
	return true;
}

static bool tail_takes_imm(enum rdu_simd_op op)
{
	return op == RDU_SIMD_FADD || op == RDU_SIMD_FMUL || op == RDU_SIMD_FMAX ||
	       op == RDU_SIMD_FMIN;
}

/* The operand of a stage's operation that is no number, with the number in *imm; -1: both are none. */
static int varying(const struct nest *n, const struct expr *e, uint32_t *imm)
{
	for (int k = 0; k < 2; k++)
		if (n->expr[e->arg[k]].kind == EXPR_IMM) {
			*imm = n->expr[e->arg[k]].imm;
			return e->arg[!k];
		}
	return -1;
}

/* An input that is added to the sum as it is: what the sum may begin with. -1: it is none. */
static int added(const struct lnest *l, const struct expr *e)
{
	const struct nest *n = l->n;

	for (int k = 0; k < 2 && e->op == RDU_SIMD_FADD; k++) {
		const struct expr *in = &n->expr[e->arg[k]];

		if (in->kind == EXPR_IN && n->expr[e->arg[!k]].kind == EXPR_RED &&
		    l->in[in->arg[0]].gather_in < 0 && !n->in[in->arg[0]].guarded)
			return in->arg[0];
	}
	return -1;
}

/* How all results are rounded where they are kept; false: in several ways. One that is stored is rounded there, which
 * may be done before. */
static bool same_rounding(const struct lnest *l, const struct residence *const *kept,
			  enum rdu_simd_op *rounding)
{
	*rounding = RDU_SIMD_MOV;
	for (int i = 0; i < l->n->num_out; i++)
		if (residence_rounds(kept[i], l->out[i].t) != RDU_SIMD_MOV)
			*rounding = residence_rounds(kept[i], l->out[i].t);
	for (int i = 0; i < l->n->num_out && *rounding != RDU_SIMD_MOV; i++)
		if (dtype_rounding(l->out[i].t->dtype) != *rounding)
			return false;
	return true;
}

int contraction_tail(const struct rdu_chip *chip, const struct lnest *l,
		     const struct residence *const *kept, struct rdu_cfg_stage *tail, int *start)
{
	const struct nest *n = l->n;
	const struct expr *e = &n->expr[n->out[0].expr];
	enum rdu_simd_op rounding;
	int num = 0, in;

	*start = -1;
	for (int i = 1; i < n->num_out; i++)
		if (n->out[i].expr != n->out[0].expr)
			return -1;
	if (n->reduce != REDUCE_ADD || !same_rounding(l, kept, &rounding) ||
	    (rounding != RDU_SIMD_MOV && !(e->kind == EXPR_OP && e->op == rounding) &&
	     !add_to_tail(chip, tail, &num, rounding, NULL)))
		return -1;
	for (; e->kind == EXPR_OP && (in = added(l, e)) < 0;) {
		uint32_t imm = 0;
		int next = -1;

		if (simd_tail_only(e->op) && simd_operands(e->op) == 1)
			next = e->arg[0];
		else if (tail_takes_imm(e->op))
			next = varying(n, e, &imm);
		if (next < 0 ||
		    !add_to_tail(chip, tail, &num, e->op, simd_tail_only(e->op) ? NULL : &imm))
			return -1;
		e = &n->expr[next];
	}
	if (e->kind == EXPR_OP)
		*start = added(l, e);
	else if (e->kind != EXPR_RED)
		return -1;
	return *start >= 0 && chip->pcu_vec_in < 3 ? -1 : num;
}

bool be_contraction(const struct backend *be, const struct nest *n, int *in)
{
	struct factors f;
	struct lnest l;

	lnest_from(&l, n);
	if (!contraction_find(&l, &f) || (f.weights >= 0 && !be->chip.systolic_cols))
		return false;
	memcpy(in, f.in, sizeof(f.in));
	return true;
}

bool be_reads_tiles(const struct backend *be, const struct nest *n, const struct access *a)
{
	int in[2];

	return be_contraction(be, n, in) && (a == &n->in[in[0]] || a == &n->in[in[1]]);
}

bool be_reuses(const struct backend *be, const struct nest *n, int in)
{
	struct lnest l;
	int of[2];

	if (!be_contraction(be, n, of) || (in != of[0] && in != of[1]))
		return false;
	lnest_from(&l, n);
	for (int d = 0; d < l.num_dims; d++)
		if (!l.reduce[d] && !lacc_needs(&l.in[in], d))
			return true;
	return false;
}

/* PCUs that an array takes with its part of an epilogue, which works for as many arrays as give
 * their results in `cycles` (up to 16: with more it hardly counts). */
static double pcus_of_array(const struct rdu_chip *chip, int epilogue, double cycles, int cols)
{
	int arrays = (int)fmax(fmin(cycles / cols, 16), 1);
	double alone = 1.0 + epilogue;

	while (contract_merging_pcus(chip, arrays) < 0)
		arrays--;
	return fmin(alone, 1 + (epilogue + (double)contract_merging_pcus(chip, arrays)) / arrays);
}

double be_contract_cycles(const struct backend *be, const struct nest *n)
{
	int pcus = (int)rdu_chip_pcus_per_tile(&be->chip) * be->tiles, inputs, epilogue;
	bool bytes = n->reduce == REDUCE_IADD, array = contraction_on_arrays(be, n);
	int cols = contract_columns(&be->chip, array, bytes);
	const struct residence *kept[NEST_MAX_OUT] = { NULL };
	double sum = 1, tiles = 1;
	struct factors f;
	struct lnest l;

	lnest_from(&l, n);
	if (!cols || !contraction_find(&l, &f) || (f.weights >= 0 && !array))
		return 0;
	epilogue = contraction_epilogue(&be->chip, &l, kept, false, &inputs);
	if (epilogue < 0)
		return HUGE_VAL;
	for (int d = 0; d < l.num_dims; d++)
		*(l.reduce[d] ? &sum : &tiles) *= (double)l.extent[d];
	if (array && bytes)
		sum /= 2;
	tiles = ceil(tiles / ((double)be->chip.lanes * cols));
	sum = fmax(sum, cols);
	return sum *
	       ceil(tiles / fmax(floor(pcus / pcus_of_array(&be->chip, epilogue, sum, cols)), 1));
}

bool be_may_split(const struct backend *be, const struct nest *n)
{
	bool product = be_contraction(be, n, (int[2]){ 0 });
	double results = 1, vector = be->chip.lanes;

	if (be->level < 3 || n->reduce == REDUCE_NONE || !combining_pcus(&be->chip, 2))
		return false;
	if (product)
		vector *= contract_columns(&be->chip, contraction_on_arrays(be, n),
					   n->reduce == REDUCE_IADD);
	for (int d = 0; d < n->ndim; d++) {
		if (n->dim[d].shared)
			return false;
		if (!n->dim[d].reduce)
			results *= (double)n->dim[d].extent;
	}
	return !product || results * 2 <= vector * rdu_chip_pcus_per_tile(&be->chip) * be->tiles;
}

double be_work(const struct backend *be, const struct nest *n)
{
	int pcus = (int)rdu_chip_pcus_per_tile(&be->chip) * be->tiles, ops = 0;
	double cycles = be_contract_cycles(be, n), points = 1;

	if (cycles > 0)
		return cycles * pcus;
	for (int i = 0; i < n->num_expr; i++)
		ops += n->expr[i].kind == EXPR_OP;
	for (int d = 0; d < n->ndim; d++)
		points *= (double)n->dim[d].extent;
	return ceil(points / be->chip.lanes) * (1 + ops / (double)be->chip.simd_stages);
}
