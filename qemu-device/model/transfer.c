// SPDX-License-Identifier: MIT
/*
 * Transfers: islands of a source and a memory program that does nothing but write what the source
 * reads, word for word: weights on their way into a scratchpad, tensors from one scratchpad to
 * another or back to memory. No vector need exist for that. The words are those of two nests of
 * loops, one over where they lie and one over where they go, which are the same after loops are
 * cut where the other nest's end and joined where both go on evenly; then the loop that reads
 * words next to each other and the one that writes them so are the inner ones of a copy (if they
 * are one) or of a transposition.
 */
#include <stdlib.h>
#include "execute.h"

#define MAX_DIMS (2 * RDU_MAX_COUNTERS + 1)

struct transfer_plan {
	enum transfer_kind {
		WORDS,
		BF16_PAIRS,
		FP32_PAIRS,
		FP32_LOW
	} kind; /* what a word is made of */
	uint32_t per; /* elements of the source in a word that is written */
	uint32_t unit; /* words of the source in it */
	uint32_t num; /* loops; the inner one reads words next to each other */
	bool transposed; /* the second one writes such words; else the inner one does, too */
	struct transfer_dim {
		uint64_t trip;
		int64_t from, to; /* words an iteration moves on, there and here */
	} dim[MAX_DIMS];
};

/* What a word is made of, on its way from `from` to `to`. False: of something else. */
static bool plan_words(struct transfer_plan *t, const struct access_plan *from,
		       const struct access_plan *to)
{
	t->per = t->unit = 1;
	if (to->format != RDU_FMT_WORD || to->cfg->pack == RDU_PACK_VEC)
		return false;
	if (to->cfg->pack == RDU_PACK_LOW)
		t->kind = FP32_LOW;
	if (to->cfg->pack != RDU_PACK_LANE)
		return from->format == RDU_FMT_WORD && to->cfg->format == RDU_FMT_WORD;
	t->per = 4 / (to->cfg->format == RDU_FMT_WORD ? 2 : 1);
	if (to->cfg->format != RDU_FMT_WORD)
		return from->format == to->cfg->format && from->elem == 1;
	t->kind = from->format == RDU_FMT_BF16 ? BF16_PAIRS : FP32_PAIRS;
	t->unit = t->kind == FP32_PAIRS ? 2 : 1;
	return from->format == RDU_FMT_BF16 || from->format == RDU_FMT_WORD;
}

/* Can neither program's memory be the other's, and is each word of a vector one that was read? */
static bool is_copy(const struct rdu_section *s, const struct program_plan *from,
		    const struct program_plan *to)
{
	const struct access_plan *a = &from->access, *b = &to->access;
	const struct rdu_cfg_buffer *x = &s->buffers[a->cfg->target];
	const struct rdu_cfg_buffer *y = &s->buffers[b->cfg->target];

	if (from->merge || from->prog->cfg->num_in || to->prog->cfg->num_in != 1 ||
	    from->out_mask[0] || to->in_mask[0] || a->num_preds || b->num_preds ||
	    b->cfg->flags & RDU_ACCESS_ADD)
		return false;
	return a->pmu ? !b->pmu || x->tile != y->tile || x->unit != y->unit : b->pmu;
}

/* A loop inside of those there; one with the loop around it if both sides go on evenly. */
static void add_dim(struct transfer_plan *t, uint64_t trip, int64_t from, int64_t to)
{
	struct transfer_dim *d = &t->dim[t->num];

	if (trip == 1)
		return;
	if (t->num && d[-1].from == from * (int64_t)trip && d[-1].to == to * (int64_t)trip) {
		d[-1] = (struct transfer_dim){ d[-1].trip * trip, from, to };
		return;
	}
	*d = (struct transfer_dim){ trip, from, to };
	t->num++;
}

/* The loops of both programs, outermost first. False if they do not end together. */
static bool add_loops(struct transfer_plan *t, const struct access_plan *a,
		      const struct access_plan *b)
{
	struct transfer_dim dim[MAX_DIMS];
	uint64_t done_a = 1, done_b = 1; /* iterations of loops i and k that are in dim[] */
	uint32_t i = a->num, k = b->num, n = 0;

	while (i && k) {
		int64_t elements = t->per / t->unit; /* of a word of the source */
		uint64_t left_a = a->loop[i - 1].trip / done_a,
			 left_b = b->loop[k - 1].trip / done_b;
		uint64_t trip = left_a < left_b ? left_a : left_b;
		int64_t from = a->loop[i - 1].stride * (int64_t)done_a;

		if (left_a % trip || left_b % trip || from % elements)
			return false;
		if (trip > 1)
			dim[n++] = (struct transfer_dim){ trip, from / elements,
							  b->loop[k - 1].stride * (int64_t)done_b };
		done_a *= trip;
		done_b *= trip;
		if (done_a == a->loop[i - 1].trip) {
			done_a = 1;
			i--;
		}
		if (done_b == b->loop[k - 1].trip) {
			done_b = 1;
			k--;
		}
	}
	while (n)
		n--, add_dim(t, dim[n].trip, dim[n].from, dim[n].to);
	return !i && !k;
}

/* Does no word go where another one goes? Loops by how far they go, each past all of the last. */
static bool writes_once(const struct transfer_plan *t)
{
	int64_t reach = 0;

	for (uint32_t seen = 0, n = 0; n < t->num; n++) {
		uint32_t least = MAX_DIMS;

		for (uint32_t i = 0; i < t->num; i++)
			if (!(seen >> i & 1) &&
			    (least == MAX_DIMS || llabs(t->dim[i].to) < llabs(t->dim[least].to)))
				least = i;
		if (llabs(t->dim[least].to) <= reach)
			return false;
		reach += llabs(t->dim[least].to) * (int64_t)(t->dim[least].trip - 1);
		seen |= 1u << least;
	}
	return true;
}

/* Brings a loop that reads, or writes, words next to each other to place `at` from the end. */
static bool bring(struct transfer_plan *t, uint32_t at, bool reads)
{
	struct transfer_dim *last = &t->dim[t->num - at];

	for (struct transfer_dim *d = last; d >= t->dim; d--) {
		if (reads ? d->from == t->unit : d->to == 1) {
			struct transfer_dim found = *d;

			for (; d < last; d++)
				d[0] = d[1];
			*last = found;
			return true;
		}
	}
	return false;
}

int rdu_plan_transfer(struct rdu_plan *plan, const struct rdu_section *s, struct island *il)
{
	const struct program_plan *from, *to;
	const struct access_plan *a, *b;
	struct transfer_plan *t;

	if (il->num_nodes != 2)
		return 0;
	from = &plan->programs[il->nodes[0].program];
	to = &plan->programs[il->nodes[1].program];
	a = &from->access;
	b = &to->access;
	if (!a->cfg || !b->cfg || !is_copy(s, from, to))
		return 0;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -1;
	if (!plan_words(t, a, b) || a->words < b->words * t->per ||
	    (t->per > 1 && a->lane_stride != 1) || !add_loops(t, a, b))
		goto no;
	add_dim(t, b->words, t->per > 1 ? t->unit : a->lane_stride, b->lane_stride);
	if (!t->num)
		t->dim[t->num++] = (struct transfer_dim){ 1, t->unit, 1 };
	if (!writes_once(t) || !bring(t, 1, true))
		goto no;
	t->transposed = t->dim[t->num - 1].to != 1;
	if (t->transposed && (t->num < 2 || !bring(t, 2, false)))
		goto no;
	il->transfer = t;
	return 0;
no:
	free(t);
	return 0;
}

size_t rdu_transfer_size(const struct transfer_plan *t)
{
	return offsetof(struct transfer_plan, dim) + t->num * sizeof(t->dim[0]);
}

bool rdu_transfer_run(struct run_state *st, const struct island *il, uint64_t activation,
		      struct fab_fault *fault)
{
	const struct transfer_plan *t = il->transfer;
	const struct rdu_kernels *k = st->plan->kernels;
	rdu_rows_fn *const rows[] = { k->rows, k->rows_bf16, k->rows_fp32, k->rows_low };
	rdu_transpose_fn *const transpose[] = { k->transpose, k->transpose_bf16, k->transpose_fp32,
						k->transpose_low };
	const struct transfer_dim *x = &t->dim[t->num - 1], *y = x - 1;
	uint64_t at[MAX_DIMS] = { 0 };
	uint32_t inner = t->num > 1 ? 2 : 1, i;
	struct access_run r[2];
	const uint32_t *from;
	uint32_t *to;

	for (i = 0; i < 2; i++) {
		uint32_t p = il->nodes[i].program;

		if (!rdu_access_bind(&r[i], &st->plan->programs[p].access, st->run, activation,
				     st->copy[p], fault) ||
		    r[i].check)
			return false;
	}
	from = (const uint32_t *)((uintptr_t)r[0].ptr + (uintptr_t)r[0].addr * r[0].plan->elem);
	to = (uint32_t *)((uintptr_t)r[1].ptr + (uintptr_t)r[1].addr * 4);
	if (((uintptr_t)from | (uintptr_t)to) & 3)
		return false;
	for (;;) {
		if (t->transposed)
			transpose[t->kind](x->trip, y->trip, to, x->to, from, y->from);
		else
			rows[t->kind](inner > 1 ? y->trip : 1, x->trip, to, inner > 1 ? y->to : 0,
				      from, inner > 1 ? y->from : 0);
		for (i = t->num - inner; i; i--) {
			const struct transfer_dim *d = &t->dim[i - 1];

			from += d->from;
			to += d->to;
			if (++at[i - 1] < d->trip)
				break;
			from -= d->from * (int64_t)d->trip;
			to -= d->to * (int64_t)d->trip;
			at[i - 1] = 0;
		}
		if (!i)
			return true;
	}
}
