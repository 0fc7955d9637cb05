// SPDX-License-Identifier: MIT
/*
 * What a contraction takes with given dimensions, tiles and replicas: how its operands lie in scratchpads, and the
 * expected cycles. tile_search.c looks for those that take least.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tile.h"
#include "mem.h"

bool contract_needs(const struct contract *c, int o, int d)
{
	return lacc_needs(&c->l->in[c->op[o].in], d);
}

/* What a PCU needs to multiply and add, and to take partial results up again. */
static bool has_units(const struct contract *c)
{
	const struct rdu_chip *chip = c->chip;

	if (chip->pcu_vec_in < (c->systolic && c->chunked ? 3 : 2))
		return false;
	if (!c->chunked)
		return true;
	if (!c->systolic && (chip->simd_stages < 2 || chip->simd_regs < 2))
		return false;
	return chip->pmu_reads >= 2 && chip->pmu_writes >= 2;
}

/* Indices of dimension d that an operand has in a scratchpad at a time. */
static int64_t extent_there(const struct contract *c, int o, int d)
{
	return c->tile[d] * (contract_holds(c, o) ? c->trip[d] : 1);
}

/* Beside ternary weights: words of them, and their places in one, are one axis of the other operand,
 * where its elements lie side by side. */
static void join_places(const struct contract *c, struct operand *op)
{
	struct oaxis *place = NULL;

	for (int i = 0; i < op->num_axes; i++)
		if (op->axis[i].coef[c->place])
			place = &op->axis[i];
	for (int i = 0; place && i < op->num_axes; i++) {
		struct oaxis *x = &op->axis[i];
		int words = -1, n = 0;

		for (int d = 0; d < c->l->num_dims; d++)
			if (x->coef[d]) {
				words = d;
				n++;
			}
		if (x == place || n != 1 || x->coef[words] != 1 || !c->l->reduce[words] ||
		    x->guard || place->guard || x->off || place->off || place->dim != 16 ||
		    x->ms != place->ms * 16)
			continue;
		place->coef[words] = 16;
		place->dim *= x->dim;
		memmove(x, x + 1, sizeof(*x) * (size_t)(op->num_axes - i - 1));
		op->num_axes--;
		return;
	}
}

/* Do pairs lie along an axis: a word for so many of its positions, wherever other dimensions are? */
static bool pairs_fit(const struct contract *c, const struct oaxis *x)
{
	for (int d = 0; d < c->l->num_dims; d++)
		if (d == c->pair ? x->coef[d] != 1
				 : x->coef[d] && (c->weights < 0 || x->coef[d] % c->elements))
			return false;
	return true;
}

/* The axis that a table picks positions of. */
static void add_picked(const struct contract *c, struct operand *op)
{
	const struct access *s = &c->l->n->in[op->in];

	if (s->gather_in < 0)
		return;
	op->picked_axis = op->num_axes;
	op->axis[op->num_axes++] = (struct oaxis){ .ms = c->l->in[op->in].gather_stride,
						   .dim = c->l->in[op->in].gather_extent };
}

/* Rows of a tile along axis v, in all tiles, begin at places of a burst that are so many bytes apart. */
static int64_t row_places(const struct contract *c, const struct operand *op, const struct oaxis *v,
			  int esz)
{
	int64_t apart = c->chip->dram_burst;

	for (int i = 0; i < op->num_axes; i++) {
		const struct oaxis *x = &op->axis[i];

		if (x != v && x->room > 1)
			apart = gcd64(apart, x->ms * esz);
		for (int d = 0; d < c->l->num_dims; d++)
			if (c->tile[d] * (c->trip[d] * c->unroll[d]) > c->tile[d])
				apart = gcd64(apart, x->coef[d] * c->tile[d] * x->ms * esz);
	}
	return apart;
}

/* Bytes of the bursts that one load of a tile touches: of each of its rows, which begin and end somewhere in
 * a burst. */
static double load_bytes(const struct contract *c, const struct operand *op, int64_t base, int esz)
{
	const struct oaxis *v = op->vec_axis < 0 ? NULL : &op->axis[op->vec_axis];
	int64_t step = v ? llabs(v->ms) * esz : 0, burst = c->chip->dram_burst, apart, row, first;
	int64_t bursts = 0;

	if (!v)
		return (double)op->loads * (double)burst;
	if (step >= burst)
		return (double)op->loads * op->vl * (double)burst;
	row = v->len * step;
	if (v->len == v->dim) /* rows lie behind each other */
		return (double)op->loads * op->vl / (double)v->room * (double)row;
	apart = row_places(c, op, v, esz);
	first = ((base * esz + (v->off - v->neg) * step) % burst + burst) % burst;
	for (int64_t at = first; at < first + burst; at += apart) {
		int64_t end = (at < burst ? at : at - burst) + row % burst;

		bursts += row / burst + (end > 0) + (end > burst);
	}
	return (double)op->loads * op->vl / (double)v->room * (double)(bursts * burst) *
	       (double)apart / (double)burst;
}

/* Axes of an operand's tile and how they lie in the scratchpad. */
static bool solve_operand(struct contract *c, int o)
{
	struct operand *op = &c->op[o];
	const struct lacc *a = &c->l->in[op->in];
	int lane = o == 2 ? -1 : o ? c->col : c->lane, esz = dtype_size(a->t->dtype);
	bool weights = op->in == c->weights, made = op->in == c->made;
	int64_t words = 1;
	int unit;

	op->num_axes = 0;
	op->lane_axis = op->pair_axis = op->vec_axis = op->picked_axis = -1;
	if (op->by_index) {
		for (int d = 0; d < c->l->num_dims; d++) {
			struct oaxis *x = &op->axis[op->num_axes];

			if (!lacc_needs(a, d))
				continue;
			memset(x, 0, sizeof(*x));
			x->coef[d] = 1;
			x->ms = lacc_coef(a, d);
			x->dim = c->l->extent[d];
			op->num_axes++;
		}
	} else {
		for (int i = 0; i < a->num_axes; i++) {
			struct oaxis *x = &op->axis[op->num_axes++];

			x->neg = 0;
			memcpy(x->coef, a->axis[i].coef, sizeof(x->coef));
			x->ms = a->axis[i].ms;
			x->off = a->axis[i].off;
			x->dim = a->axis[i].dim;
			x->guard = a->axis[i].guard;
		}
		if (c->weights >= 0 && !weights)
			join_places(c, op);
	}
	add_picked(c, op);
	for (int i = 0; i < op->num_axes; i++) {
		struct oaxis *x = &op->axis[i];
		int n = 0;

		x->len = i == op->picked_axis ? x->dim : 1;
		x->only = -1;
		for (int d = 0; d < c->l->num_dims; d++) {
			if (!x->coef[d])
				continue;
			n++;
			x->only = d;
			x->len += llabs(x->coef[d]) * (extent_there(c, o, d) - 1);
			if (x->coef[d] < 0)
				x->neg -= x->coef[d] * (extent_there(c, o, d) - 1);
			if (d == lane)
				op->lane_axis = i;
			if (d == c->pair)
				op->pair_axis = i;
		}
		if (n != 1)
			x->only = -1;
		if (op->pair_axis == i && !pairs_fit(c, x))
			return false;
		/* a reduction that overshoots must read zeros: only where it is alone */
		if (n > 1)
			for (int d = 0; d < c->l->num_dims; d++)
				if (x->coef[d] && c->l->reduce[d] && c->l->extent[d] % c->tile[d])
					return false;
	}
	if (c->pair >= 0 &&
	    ((op->pair_axis < 0 && !weights && o < 2) || (int)c->chip->lanes < c->elements))
		return false;
	/* Vectors are loaded along the axis that is contiguous in memory. */
	for (int i = 0; i < op->num_axes; i++) {
		const struct oaxis *x = &op->axis[i], *v;
		bool better;

		if (op->vec_axis < 0) {
			op->vec_axis = i;
			continue;
		}
		v = &op->axis[op->vec_axis];
		better = llabs(x->ms) == 1 ? x->len > 1 || llabs(v->ms) != 1 || v->len == 1
					   : (llabs(v->ms) != 1 || v->len == 1) && x->len > v->len;
		if (llabs(v->ms) == 1 && v->len > 1)
			better = false;
		if (better)
			op->vec_axis = i;
	}
	op->pack = !c->systolic || weights || o == 2 ? RDU_PACK_NONE
		   : c->pair < 0		     ? RDU_PACK_LOW
		   : op->vec_axis == op->pair_axis   ? RDU_PACK_LANE
						     : RDU_PACK_VEC;
	unit = op->pack == RDU_PACK_LANE ? c->elements : 1;
	op->loads = 1;
	op->vl = 1;
	for (int i = 0; i < op->num_axes; i++) {
		struct oaxis *x = &op->axis[i];

		x->room = x->len;
		if (i == op->pair_axis)
			x->room = ceil_div(x->room, c->elements) * c->elements;
		if (i == op->vec_axis) {
			int64_t n = ceil_div(x->room, c->chip->lanes);

			while (made && n < x->room &&
			       x->room % (n * unit)) /* no vector goes beyond the end */
				n++;
			op->vl = (int)ceil_div(x->room, n);
			op->vl = (int)ceil_div(op->vl, unit) * unit;
			x->room = op->vl * n;
			op->loads *= n;
		} else {
			op->loads *= x->room;
		}
		if (made && x->room != x->len)
			return false;
	}
	op->bytes = load_bytes(c, op, a->base, esz) * (made ? c->made_share : 1);
	/* Innermost in the scratchpad: the lanes that are read together; then the
	 * ones that are written together, an odd number of words apart. */
	for (int k = 0; k < 3; k++)
		for (int i = 0; i < op->num_axes; i++) {
			struct oaxis *x = &op->axis[i];
			int64_t n = i == op->pair_axis ? x->room / c->elements : x->room;
			int rank = i == op->lane_axis ? 0 : i == op->vec_axis ? 1 : 2;

			if (rank != k)
				continue;
			x->stride = words;
			if (rank == 0 && op->vec_axis != i && op->vec_axis >= 0)
				n |= 1;
			words *= n;
			if (words > 1 << 24)
				return false;
		}
	op->words = words;
	return true;
}

/* The same, if it isn't known: it follows from the tiles alone, unless the operand is held. */
static bool find_operand(struct contract *c, int o)
{
	if (c->found[o] && !contract_holds(c, o))
		return c->found[o] == OPERAND_FITS;
	c->found[o] = solve_operand(c, o) ? OPERAND_FITS : OPERAND_DOES_NOT_FIT;
	return c->found[o] == OPERAND_FITS;
}

/* Bytes that memory could move while it opens a row: a channel opens four in tFAW at most. */
static double row_bytes(const struct rdu_chip *chip)
{
	double ps = fmax((double)chip->dram_tfaw / 4, (double)chip->dram_trrd_s);

	return ps * 1e-9 * chip->clock_khz / chip->dram_channels * be_bytes_per_cycle(chip);
}

/* Beyond the end of a table there is no term: it would not be nothing, as beyond the end of a tensor. */
static bool table_fits(const struct contract *c)
{
	for (int d = 0; c->op[2].in >= 0 && d < c->l->num_dims; d++)
		if (c->l->reduce[d] && contract_needs(c, 2, d) && c->l->extent[d] % c->tile[d])
			return false;
	return true;
}

/* Replicas that have a part each of a sum's terms have as many, and all. */
static bool splits_fit(const struct contract *c)
{
	for (int d = 0; d < c->l->num_dims; d++)
		if (c->l->reduce[d] && c->unroll[d] > 1 &&
		    c->l->extent[d] % (c->tile[d] * c->unroll[d]))
			return false;
	return true;
}

bool contract_in_group(const struct contract *c)
{
	for (int d = 0; d < c->l->num_dims; d++)
		if (c->l->shared[d])
			return true;
	return false;
}

/* Of memory's rate, what results reach that leave while nothing else is moved: loads wait for stores. */
#define LEAVING_ALONE 0.7

/* What a plan has to do, as far as it is known. */
struct work {
	double acts, compute, worst_load;
	double dram, first; /* bytes, and those of the first tiles among them */
	double fill; /* cycles until the first tiles of what is resident are read */
	double last; /* bytes that leave when all is computed */
	struct loading load[3];
	int num_loads;
};

/* Cycles that it takes with so many unit programs: no fewer, if there is more of anything. */
static double cycles_of(const struct contract *c, const struct work *w, int64_t progs)
{
	double rate = be_bytes_per_cycle(c->chip), part = 1 / w->acts, time;

	if (w->acts == 1) /* load, then compute while storing */
		time = fmax(loading_first(c->chip, w->load, w->num_loads), w->worst_load) +
		       fmax(w->compute, (w->dram - w->first) / rate);
	else
		time = fmax(fmax(w->compute, w->dram / rate), w->worst_load) * (1 - part) +
		       fmax(w->first / rate, w->fill) +
		       fmax(w->compute, (w->dram - w->first) / rate) * part;
	time += w->last / (rate * LEAVING_ALONE);
	if (contract_in_group(c)) /* what it moves, others wait for */
		time += (w->dram + w->last) / rate / 2;
	time += c->chip->dram_latency * 2 + c->chip->lanes * 2 + (double)progs * 8;
	return time + w->acts * 20;
}

/* What an iteration loads may be held later (hold.c), and then sums stay cut as they are, though nothing waits for
 * loads any more: in a loop, parts are to save more than this. */
#define SPLIT_IN_LOOP 0.02

int64_t contract_trips(const struct contract *c, int d)
{
	return ceil_div(c->l->extent[d], c->tile[d] * c->unroll[d]);
}

int64_t contract_steps(const struct contract *c, int d)
{
	if (d == c->pair)
		return ceil_div(c->tile[d], c->elements);
	return d == c->lane ? c->tile[d] / c->gl : d == c->col ? c->tile[d] / c->gc : c->tile[d];
}

/* Bytes that results, and what they meet, take of memory at least: each element once. */
static double least_of_results(const struct contract *c)
{
	const struct lnest *l = c->l;
	double bytes = 0;

	for (int i = 0; i < l->n->num_in + l->n->num_out; i++) {
		bool out = i >= l->n->num_in;
		int k = out ? i - l->n->num_in : i;
		const struct lacc *a = out ? &l->out[k] : &l->in[k];
		double one = dtype_size(a->t->dtype);

		if (out ? c->kept_out[k] && !c->kept_out[k]->memory
			: contract_operand(c, k) || c->kept_in[k])
			continue;
		for (int d = 0; d < l->num_dims; d++)
			if (!l->reduce[d] && lacc_needs(a, d))
				one *= (double)l->extent[d];
		bytes += one;
	}
	return bytes * (1 - 1e-9); /* sums of others may be rounded down */
}

bool contract_solve_below(struct contract *c, double most)
{
	const struct lnest *l = c->l;
	const struct rdu_chip *chip = c->chip;
	int64_t per_sub, subs = 1, acts = 1, k = 1, out_vecs, reps, loaded, pmus, progs;
	double results = 0, opened = 0, operands;
	struct work w = { 0 };
	int loops = 0;

	for (int d = 0; d < l->num_dims; d++) {
		c->trip[d] = contract_trips(c, d);
		/* What is made is there to the end of its tensor, and not beyond. */
		if (c->made >= 0 && lacc_needs(&l->in[c->made], d) &&
		    c->trip[d] * c->tile[d] * c->unroll[d] != l->extent[d])
			return false;
		acts *= c->trip[d];
		*(l->reduce[d] ? &k : &subs) *= contract_steps(c, d);
		loops += (c->trip[d] > 1) + (c->tile[d] > 1);
		if (loops > UC_MAX - 2 || subs > 1 << 28 || k > 1 << 28 || acts > 1ll << 40)
			return false;
	}
	reps = contract_replicas(c, -1);
	if (reps > c->pl->max_unroll || reps > c->pcus)
		return false;
	w.acts = (double)acts;
	/* What the arrays take, if nothing else did. */
	w.compute = (double)acts * (double)(subs * (c->systolic ? 2 : 1) * k);
	if (w.compute >= most)
		return false;
	c->chunked = contract_chunks(c) > 1;
	c->tail = contract_tail_fits(c);
	if (!has_units(c) || !table_fits(c) || !splits_fit(c))
		return false;
	c->num_order = 0;
	for (int s = 1; s <= l->num_dims; s++)
		for (int d = 0; d < l->num_dims; d++)
			if (l->shared[d] == s)
				c->order[c->num_order++] = d;
	for (int pass = 0; pass < 3; pass++)
		for (int d = 0; d < l->num_dims; d++) {
			int a = contract_needs(c, 0, d), b = contract_needs(c, 1, d);
			int rank = a == b ? 0 : a == c->a_first ? 1 : 2;

			if (!l->reduce[d] && !l->shared[d] && rank == pass)
				c->order[c->num_order++] = d;
		}
	loaded = contract_loaded(c) + (c->chunked ? reps : 0);
	if (loaded > c->pmus)
		return false;
	/* At least: arrays, what is loaded, and one way out. */
	progs = reps * (1 + (c->chunked ? 4 + !c->systolic : 0)) + 2 * loaded + l->n->num_out;
	for (int o = 0; o < 3; o++) {
		int64_t n = 1;
		int at = 0, i = 0;

		if (c->op[o].in < 0)
			continue;
		if (!find_operand(c, o))
			return false;
		/* loads run over the outer loops up to the last it depends on */
		for (int q = 0; q < c->num_order; q++, i++)
			if (contract_needs(c, o, c->order[q]) && c->trip[c->order[q]] > 1)
				at = i + 1;
		for (int d = 0; d < l->num_dims; d++) {
			if (!l->reduce[d])
				continue;
			i++;
			if (contract_needs(c, o, d) && c->trip[d] > 1)
				at = i;
		}
		if (contract_holds(c, o))
			at = 0;
		c->prefix[o] = at;
		i = 0;
		for (int q = 0; q < c->num_order && i < at; q++, i++)
			n *= c->trip[c->order[q]];
		for (int d = 0; d < l->num_dims && i < at; d++)
			if (l->reduce[d]) {
				n *= c->trip[d];
				i++;
			}
		c->copies[o] = n > 1 ? 2 : 1;
		if ((int64_t)c->copies[o] * c->op[o].words * 4 > chip->pmu_bytes)
			return false;
		if (contract_holds(c, o)) { /* it is there, and stays */
			int64_t parts = contract_replicas(c, o);

			if (parts > c->kept_in[c->op[o].in]->num_parts || parts > c->agcus)
				return false;
			continue;
		}
		progs += contract_loads(c, o) * (c->op[o].in == c->made ? c->made_loads : 1);
		if (c->kept_in[c->op[o].in]) {
			int in = c->op[o].in,
			    share = contract_crowd(c, &l->in[in], c->kept_in[in], false);
			int64_t tile = c->op[o].loads * share * contract_load_cycles(c, &c->op[o]);

			if (share > (int)chip->pmu_reads)
				return false;
			w.worst_load = fmax(w.worst_load, (double)(n * tile));
			if (!contract_in_group(c)) /* there others work meanwhile */
				w.fill = fmax(w.fill, (double)tile);
		} else {
			struct loading load = { (double)contract_loads(c, o),
						(double)c->op[o].loads, c->op[o].bytes };
			double slower = c->op[o].in == c->made ? c->made_slower : 1;

			w.dram += (double)n * load.programs * load.bytes;
			w.first += load.programs * load.bytes;
			w.load[w.num_loads++] = load;
			w.worst_load =
				fmax(w.worst_load, (double)n * load.vectors *
							   fmax(loading_pace(chip, &load), slower));
		}
	}
	per_sub = max64((c->systolic ? 2 : 1) * k, contract_drain_cycles(c));
	out_vecs = subs * c->gc;
	w.compute = (double)acts * (double)(subs * per_sub);
	/* No way out moves less, or takes fewer programs. */
	operands = w.dram;
	w.dram += least_of_results(c);
	if (cycles_of(c, &w, progs) >= most)
		return false;
	w.dram = operands;
	if (!contract_choose_ways(c, per_sub / contract_drain_cycles(c)))
		return false;
	pmus = contract_pmus(c);
	if (pmus > c->pmus)
		return false;
	progs = contract_agcus(c) + 2 * pmus + contract_pcus(c) + reps * (c->chunked ? 4 : 0);
	if (c->chunked) {
		int64_t words = out_vecs * c->gl * 4;

		c->out_copies = words * 4 <= chip->pmu_bytes ? 2 : 1;
		if (words * (2 + c->out_copies) > chip->pmu_bytes)
			return false;
	}
	for (int i = 0; i < l->n->num_out; i++) {
		double bytes;

		if (c->kept_out[i] && !c->kept_out[i]->memory)
			continue;
		bytes = contract_output_bytes(c, &l->out[i]);
		results += bytes;
		opened += contract_rows_opened(c, &l->out[i], bytes);
	}
	for (int i = 0; i < l->n->num_in; i++) {
		if (!contract_operand(c, i) && c->kept_in[i] &&
		    contract_crowd(c, &l->in[i], c->kept_in[i], true) > (int)chip->pmu_reads)
			return false;
		if (!contract_operand(c, i) && !c->kept_in[i]) {
			double bytes = contract_input_bytes(c, &l->in[i]);

			results += bytes;
			opened += contract_rows_opened(c, &l->in[i], bytes);
		}
	}
	results = fmax(results, opened * row_bytes(chip));
	/* Results of sums that are cut leave all at once, while those of the next tile are added up, if
	 * there is one, and room. */
	if (c->chunked)
		w.last = c->out_copies == 1 ? results
					    : results * (double)contract_chunks(c) / (double)acts;
	w.dram += results - w.last;
	c->cost = cycles_of(c, &w, progs);
	for (int d = 0; d < l->num_dims && l->n->loop; d++)
		if (l->reduce[d] && c->unroll[d] > 1)
			c->cost *= 1 + SPLIT_IN_LOOP;
	return true;
}

void contract_forget(struct contract *c)
{
	memset(c->found, 0, sizeof(c->found));
}

bool contract_solve(struct contract *c)
{
	contract_forget(c);
	return contract_solve_below(c, INFINITY);
}
