// SPDX-License-Identifier: MIT
/*
 * What a contraction's plan takes: units and programs, ports and banks of the scratchpads that hold
 * something resident; and how many arrays share a way out. An array gives results away in few of its
 * cycles, so one epilogue and one program that stores do for several: their vectors are brought
 * together in turn, by a tree of PCUs.
 */
#include <math.h>
#include <stdlib.h>
#include "tile.h"

/* ---- replicas ---------------------------------------------------------------------- */

bool contract_reads(const struct contract *c, int o, int d)
{
	const struct lacc *a = &c->l->in[c->op[o].in];

	return lacc_needs(a, d) || (a->gather_in >= 0 && lacc_needs(&c->l->in[a->gather_in], d));
}

int64_t contract_replicas(const struct contract *c, int o)
{
	int64_t n = 1;

	for (int d = 0; d < c->l->num_dims; d++)
		if (o < 0 || contract_reads(c, o, d))
			n *= c->unroll[d];
	return n;
}

int64_t contract_splits(const struct contract *c)
{
	int64_t n = 1;

	for (int d = 0; d < c->l->num_dims; d++)
		if (c->l->reduce[d])
			n *= c->unroll[d];
	return n;
}

bool contract_tail_fits(const struct contract *c)
{
	const struct lacc *a = c->start < 0 ? NULL : &c->l->in[c->start];

	return c->can_tail && !c->chunked && contract_splits(c) == 1 &&
	       (!a ||
		(c->col >= 0 && c->gc > 1 && lacc_needs(a, c->col) && !lacc_needs(a, c->lane)));
}

int64_t contract_starts(const struct contract *c)
{
	int64_t n = c->tail && c->start >= 0;

	for (int d = 0; d < c->l->num_dims && n; d++)
		if (lacc_needs(&c->l->in[c->start], d))
			n *= c->unroll[d];
	return n;
}

/* Ways that results leave by. */
static int64_t count_ways(const struct contract *c)
{
	return contract_replicas(c, -1) / contract_splits(c) / c->merge;
}

int64_t contract_replica_step(const struct contract *c, int d)
{
	return c->tile[d] * (c->blocks[d] ? c->trip[d] : 1);
}

int64_t contract_tile_step(const struct contract *c, int d)
{
	return c->tile[d] * (c->blocks[d] ? 1 : c->unroll[d]);
}

int64_t contract_loads(const struct contract *c, int o)
{
	int64_t n = 1;

	for (int d = 0; d < c->l->num_dims; d++)
		if (lacc_needs(&c->l->in[c->op[o].in], d))
			n *= c->unroll[d];
	return n;
}

int64_t contract_chunks(const struct contract *c)
{
	int64_t n = 1;

	for (int d = 0; d < c->l->num_dims; d++)
		if (c->l->reduce[d])
			n *= c->trip[d];
	return n;
}

bool contract_holds(const struct contract *c, int o)
{
	const struct residence *r = c->op[o].in < 0 ? NULL : c->kept_in[c->op[o].in];

	return r && r->held;
}

int64_t contract_loaded(const struct contract *c)
{
	int64_t n = 0;

	for (int o = 0; o < 3; o++)
		if (c->op[o].in >= 0 && !contract_holds(c, o))
			n += contract_replicas(c, o);
	return n;
}

/* Replicas along dimension d that are told apart where results leave: those that share a way out
 * are one. */
static int64_t ways_out(const struct contract *c, int d)
{
	return d == c->merge_dim ? c->unroll[d] / c->merge : c->unroll[d];
}

/* How the replicas lie in an access to something that is resident. */
struct layout {
	/* along the dimension with the longest steps, one that goes along the same axis, a window's, and the vectors
	 * of a batch that have parts of their own */
	struct spread spread;
	int64_t others; /* replicas along the rest */
};

static void add_spread(const struct contract *c, struct layout *y, int d, int64_t replicas)
{
	struct spread *s = &y->spread;

	s->dim[s->num] = d;
	s->blocks[s->num] = replicas;
	s->block[s->num++] = c->tile[d] * c->trip[d] * c->unroll[d] / replicas;
	y->others /= replicas;
}

/* Do two dimensions move an access along one axis? */
static bool share_axis(const struct lacc *a, int d, int e)
{
	for (int i = 0; i < a->num_axes; i++)
		if (a->axis[i].coef[d] && a->axis[i].coef[e])
			return true;
	return false;
}

/* With several tiles: are there several parts between two steps of a dimension, which replicas along others may
 * tell apart? */
static bool several(const struct contract *c, const struct lacc *a, const struct residence *r,
		    int d)
{
	return c->tiles > 1 && llabs(lacc_coef(a, d)) >= 2 * r->part;
}

/* out: it is read or written where results leave. */
static struct layout replicas_of(const struct contract *c, const struct lacc *a,
				 const struct residence *r, bool out)
{
	struct layout y = { .others = 1 };
	int64_t u[NEST_MAX_DIMS];
	int longest = -1;

	for (int d = 0; d < c->l->num_dims; d++) {
		u[d] = lacc_needs(a, d) ? (out ? ways_out(c, d) : c->unroll[d]) : 1;
		y.others *= u[d];
		if (u[d] > 1 &&
		    (longest < 0 || llabs(lacc_coef(a, d)) > llabs(lacc_coef(a, longest))))
			longest = d;
	}
	if (longest < 0)
		return y;
	add_spread(c, &y, longest, u[longest]);
	for (int d = 0; d < c->l->num_dims && y.spread.num < 2; d++)
		if (d != longest && u[d] > 1 && share_axis(a, d, longest))
			add_spread(c, &y, d, u[d]);
	for (int d = 0; d < c->l->num_dims && y.spread.num < MAX_SPREAD; d++)
		if (d != longest && u[d] > 1 && !share_axis(a, d, longest) &&
		    (r->vectors ? llabs(lacc_coef(a, d)) >= r->part
				: out && several(c, a, r, longest)))
			add_spread(c, &y, d, u[d]);
	return y;
}

int contract_columns(const struct rdu_chip *chip, bool systolic, bool bytes)
{
	int stages = (int)min64(chip->simd_stages, RDU_MAX_STAGES);

	if (systolic)
		return (int)chip->systolic_cols;
	return bytes ? (int)min64(stages / 2, chip->simd_regs - 1)
		     : (int)min64(stages, chip->simd_regs);
}

/* ---- what is resident ---------------------------------------------------------------- */

int contract_crowd(const struct contract *c, const struct lacc *a, const struct residence *r,
		   bool out)
{
	struct layout y = replicas_of(c, a, r, out);

	if (!y.spread.num)
		return 1;
	y.others *= parts_ask(c, a, r, false, &y.spread);
	return (int)min64(y.others, INT16_MAX);
}

bool contract_operand(const struct contract *c, int in)
{
	return in == c->op[0].in || in == c->op[1].in || in == c->op[2].in;
}

/* PCUs that bring together what is read of several parts: by operands, or where results leave. */
static int64_t joining_pcus(const struct contract *c, bool out)
{
	int64_t pcus = 0;

	for (int i = 0; i < c->l->n->num_in; i++) {
		const struct residence *r = c->kept_in[i];
		struct layout y;

		if (!r || r->held || contract_operand(c, i) == out)
			continue;
		y = replicas_of(c, &c->l->in[i], r, out);
		pcus += y.others * parts_ask(c, &c->l->in[i], r, true, &y.spread);
	}
	return pcus;
}

/* Is there a replica whose tiles all lie beyond the end of a dimension that an access needs? */
static bool has_idle(const struct contract *c, const struct lacc *a)
{
	for (int d = 0; d < c->l->num_dims; d++)
		if (!c->l->reduce[d] && lacc_needs(a, d) &&
		    (c->unroll[d] - 1) * c->tile[d] * c->trip[d] >= c->l->extent[d])
			return true;
	return false;
}

/* Is each part of the outputs written by one program? */
static bool writers_fit(const struct contract *c)
{
	for (int i = 0; i < c->l->n->num_out; i++)
		if (c->kept_out[i] && (has_idle(c, &c->l->out[i]) ||
				       contract_crowd(c, &c->l->out[i], c->kept_out[i], true) > 1))
			return false;
	return true;
}

int64_t be_bank_cycles(const struct rdu_chip *chip, int64_t stride, int64_t lanes)
{
	if (!stride)
		return 1;
	return ceil_div(lanes, chip->pmu_banks / gcd64(chip->pmu_banks, stride));
}

int64_t contract_load_cycles(const struct contract *c, const struct operand *op)
{
	return op->vec_axis < 0 ? 1 : be_bank_cycles(c->chip, op->axis[op->vec_axis].ms, op->vl);
}

int64_t contract_drain_cycles(const struct contract *c)
{
	const struct lnest *l = c->l;
	int64_t most = 1;

	for (int i = 0; i < l->n->num_out; i++)
		if (c->kept_out[i])
			most = max64(most, be_bank_cycles(c->chip, lacc_coef(&l->out[i], c->lane),
							  c->gl));
	for (int i = 0; i < l->n->num_in; i++)
		if (c->kept_in[i] && !contract_operand(c, i))
			most = max64(most,
				     be_bank_cycles(c->chip, lacc_coef(&l->in[i], c->lane), c->gl));
	return c->gc * most;
}

bool contract_parts_by_terms(const struct contract *c)
{
	for (int o = 0; o < 2; o++) {
		const struct lacc *a = &c->l->in[c->op[o].in];
		const struct residence *r = c->kept_in[c->op[o].in];

		for (int d = 0; d < c->l->num_dims && r && !r->held; d++)
			if (c->l->reduce[d] &&
			    llabs(lacc_coef(a, d)) * (c->l->extent[d] - 1) >= r->part)
				return true;
	}
	return false;
}

/* ---- ways out ------------------------------------------------------------------------ */

/* Is an input that is read where results leave there once for all iterations: does it repeat, and has a
 * scratchpad room for what a way out reads of it? */
static bool loaded_once(const struct contract *c, const struct lacc *a)
{
	int64_t words = lacc_needs(a, c->lane) ? 1 : c->gl;

	for (int d = 0; d < c->l->num_dims; d++)
		if (!c->l->reduce[d] && lacc_needs(a, d))
			words *= c->tile[d] * c->trip[d] * (d == c->merge_dim ? c->merge : 1);
	return lacc_repeats(c->l, a) && words * 4 <= c->chip->pmu_bytes;
}

double contract_input_bytes(const struct contract *c, const struct lacc *a)
{
	const struct lnest *l = c->l;
	int64_t esz = dtype_size(a->t->dtype), step = llabs(lacc_coef(a, c->lane));
	double bytes = (double)(step ? min64(step * esz, c->chip->dram_burst) : esz);
	double tile = bytes, again = 1;
	bool once = loaded_once(c, a);

	for (int d = 0; d < l->num_dims; d++) {
		if (l->reduce[d] || (once && l->shared[d] && !lacc_needs(a, d)))
			continue;
		if (lacc_needs(a, d)) {
			bytes *= (double)l->extent[d];
			tile *= (double)c->tile[d];
		} else {
			bytes *= (double)(c->trip[d] * ways_out(c, d));
			again *= (double)(d == c->col ? c->tile[d] / c->gc : c->tile[d]);
		}
	}
	return tile > (double)c->chip->agcu_lines * c->chip->dram_burst ? bytes * again : bytes;
}

/* One more loop around stores that touch `lines` bursts, by `step` bytes: it goes over the same ones again,
 * which costs nothing as long as the AGCU remembers them, or over others. */
static void store_loop(const struct rdu_chip *chip, int64_t trip, int64_t step, double *lines,
		       double *bytes)
{
	double same =
		step < chip->dram_burst
			? fmin((double)trip, (double)chip->dram_burst / (double)max64(step, 1))
			: 1;

	if (*lines <= (double)chip->agcu_lines)
		*bytes /= same;
	*lines *= (double)trip / same;
}

double contract_output_bytes(const struct contract *c, const struct lacc *a)
{
	const struct lnest *l = c->l;
	int64_t esz = dtype_size(a->t->dtype), burst = c->chip->dram_burst;
	int64_t step[NEST_MAX_DIMS];
	double lines, bytes = 1;

	for (int d = 0; d < l->num_dims; d++) {
		step[d] = llabs(lacc_coef(a, d)) * esz;
		if (!l->reduce[d])
			bytes *= (double)l->extent[d];
	}
	lines = ceil((double)c->gl * (double)min64(step[c->lane], burst) / (double)burst);
	bytes *= lines * (double)burst / c->gl;
	/* from the innermost loop outwards */
	if (c->merge > 1)
		store_loop(c->chip, c->merge,
			   step[c->merge_dim] * contract_replica_step(c, c->merge_dim), &lines,
			   &bytes);
	if (c->col >= 0) {
		store_loop(c->chip, c->gc, step[c->col], &lines, &bytes);
		store_loop(c->chip, c->tile[c->col] / c->gc, step[c->col] * c->gc, &lines, &bytes);
	}
	store_loop(c->chip, c->tile[c->lane] / c->gl, step[c->lane] * c->gl, &lines, &bytes);
	for (int q = c->num_order - 1; q >= 0; q--) {
		int d = c->order[q];

		if (d != c->lane && d != c->col)
			store_loop(c->chip, c->tile[d], step[d], &lines, &bytes);
	}
	return bytes;
}

/* What of a tensor is accessed at about the same time, while requests wait in the memory's queues. */
struct nearby {
	double bursts, most;
	double windows,
		span; /* far apart, and bytes within: a window is a row of each group of all channels */
};

static void nearby_loop(const struct rdu_chip *chip, struct nearby *n, int64_t trip, int64_t step)
{
	double window = (double)chip->dram_channels * chip->dram_groups * chip->dram_row;
	double new = step < chip->dram_burst ? (double)step / chip->dram_burst : 1, times;

	if (!step || trip < 2 || n->bursts >= n->most)
		return;
	times = fmin((double)trip, ceil(n->most / n->bursts / new));
	n->bursts = fmax(n->bursts, n->bursts * times * new);
	if ((double)step < window)
		n->span += (double)step * (times - 1);
	else
		n->windows *= times;
}

double contract_rows_opened(const struct contract *c, const struct lacc *a, double bytes)
{
	const struct rdu_chip *chip = c->chip;
	double rows = (double)chip->dram_channels * chip->dram_groups,
	       window = rows * chip->dram_row;
	struct nearby n = { .bursts = 1,
			    .most = (double)chip->dram_channels * chip->dram_queue /
				    c->result_tensors,
			    .windows = 1 };
	int64_t step[NEST_MAX_DIMS] = { 0 };

	for (int d = 0; d < c->l->num_dims; d++)
		step[d] = llabs(lacc_coef(a, d)) * dtype_size(a->t->dtype);
	nearby_loop(chip, &n, c->gl, step[c->lane]);
	for (int d = 0; d < c->l->num_dims; d++)
		nearby_loop(chip, &n, ways_out(c, d),
			    step[d] * contract_replica_step(c, d) *
				    (d == c->merge_dim ? c->merge : 1));
	if (c->merge > 1)
		nearby_loop(chip, &n, c->merge,
			    step[c->merge_dim] * contract_replica_step(c, c->merge_dim));
	if (c->col >= 0) {
		nearby_loop(chip, &n, c->gc, step[c->col]);
		nearby_loop(chip, &n, c->tile[c->col] / c->gc, step[c->col] * c->gc);
	}
	nearby_loop(chip, &n, c->tile[c->lane] / c->gl, step[c->lane] * c->gl);
	rows *= n.windows * (1 + n.span / window);
	return bytes / chip->dram_burst * fmin(1, rows / n.bursts);
}

int contract_fan_in(const struct rdu_chip *chip, int n)
{
	int f = (int)min64(min64(chip->pcu_vec_in, chip->simd_stages), chip->simd_regs);

	while (f > 1 && n % f)
		f--;
	return f > 1 ? f : 1;
}

int contract_merging_pcus(const struct rdu_chip *chip, int n)
{
	int pcus = 0;

	while (n > 1) {
		int f = contract_fan_in(chip, n);

		if (f < 2)
			return -1;
		n /= f;
		pcus += n;
	}
	return pcus;
}

int64_t contract_agcus(const struct contract *c)
{
	int64_t loads = 0;

	for (int o = 0; o < 3; o++)
		if (c->op[o].in >= 0 && !contract_holds(c, o))
			loads +=
				contract_loads(c, o) * (c->op[o].in == c->made ? c->made_loads : 1);
	return loads + contract_starts(c) +
	       count_ways(c) * (c->l->n->num_out + (c->tail ? 0 : c->epi_in));
}

/* Not where results go to memory: few streams, then, open fewer of its rows at a time than many. */
bool contract_takes_turns(const struct contract *c)
{
	for (int i = 0; i < c->l->n->num_out; i++)
		if (!c->kept_out[i] || c->kept_out[i]->memory)
			return false;
	return c->merge == 2 && !c->tail && c->turn_pcus > 0 && c->turn_pcus <= c->epi_pcus;
}

/* PCUs of a way out. */
static int way_pcus(const struct contract *c)
{
	return contract_takes_turns(c)
		       ? c->turn_pcus
		       : contract_merging_pcus(c->chip, c->merge) + (c->tail ? 0 : c->epi_pcus);
}

int64_t contract_pcus(const struct contract *c)
{
	int64_t reps = contract_replicas(c, -1), splits = contract_splits(c), made = 0;

	for (int o = 0; o < 2; o++)
		made += c->op[o].in == c->made ? contract_loads(c, o) * c->made_pcus : 0;
	return made + reps * (1 + (c->chunked && !c->systolic)) +
	       reps / splits * combining_pcus(c->chip, splits) + count_ways(c) * way_pcus(c) +
	       c->join_pcus;
}

int64_t contract_pmus(const struct contract *c)
{
	int64_t reps = contract_replicas(c, -1), pmus = contract_loaded(c);

	for (int i = 0; i < c->l->n->num_in; i++)
		if (!contract_operand(c, i) && !c->kept_in[i] && loaded_once(c, &c->l->in[i]))
			pmus += c->tail ? contract_starts(c) : count_ways(c);
	return pmus + (c->chunked ? reps : 0);
}

/* Loops of a program that results leave by, but for that over the arrays that share it. */
static int result_loops(const struct contract *c)
{
	int loops = c->gc > 1;

	for (int d = 0; d < c->l->num_dims; d++) {
		int64_t step = d == c->lane ? c->gl : d == c->col ? c->gc : 1;

		if (!c->l->reduce[d])
			loops += (c->trip[d] > 1) + (c->tile[d] > step);
	}
	return loops;
}

/* Are there units for the plan with its way out, and fewer than `least` PCUs? Then that becomes as many
 * as it takes. */
static bool way_fits(struct contract *c, int64_t operands, int64_t *least)
{
	c->join_pcus = operands;
	if (contract_pcus(c) > min64(c->pcus, *least - 1) || contract_agcus(c) > c->agcus)
		return false;
	c->join_pcus += joining_pcus(c, true);
	if (contract_pcus(c) > min64(c->pcus, *least - 1) || !writers_fit(c))
		return false;
	*least = contract_pcus(c);
	return true;
}

bool contract_choose_ways(struct contract *c, int64_t most)
{
	int64_t least = INT64_MAX, operands;
	int merge = 1, dim = -1;

	c->merge = 1;
	c->merge_dim = -1;
	if (contract_replicas(c, -1) > c->pcus)
		return false;
	operands = joining_pcus(c, false);
	if (way_fits(c, operands, &least) && (c->tail || !c->epi_pcus))
		return true;
	for (int d = 0; d < c->l->num_dims && result_loops(c) < RDU_MAX_COUNTERS; d++) {
		if (c->l->reduce[d] || c->l->shared[d])
			continue;
		for (int n = (int)min64(most, c->unroll[d]); n > 1; n--) {
			if (c->unroll[d] % n || contract_merging_pcus(c->chip, n) < 0)
				continue;
			c->merge = n;
			c->merge_dim = d;
			if (way_fits(c, operands, &least)) {
				merge = n;
				dim = d;
			}
		}
	}
	c->merge = merge;
	c->merge_dim = dim;
	c->join_pcus = least < INT64_MAX ? operands + joining_pcus(c, true) : 0;
	return least < INT64_MAX;
}
