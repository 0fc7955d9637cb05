// SPDX-License-Identifier: MIT
/*
 * Beside: which nests run side by side. A section takes what its longest chain of nests does, or memory; what
 * neither of these needs may run beside them, though its place in the entry is elsewhere: an update beside
 * the gradients that come after it. So when an entry has been cut into sections, nests are moved to others, as far
 * as what they touch lets them, one after the other or all of a section, while the time of all sections, estimated
 * by what their nests took alone, becomes less. The entry is then made again in that order. Only where sections
 * are short, so that program loads weigh: long ones have less to gain by it, and take long to make again.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

#define WINDOW 8 /* sections to either side that a nest is moved to */
#define MEMORY_SHARE 0.76 /* of memory's rate, what sections that read and write much reach */
#define FEWER 3 /* times fewer units than a nest takes alone it may find beside others, */
#define FEWER_NEIGHBOURS 2 /* and beside those that come before it anyway */
#define LONGER 1.25 /* than in proportion, with fewer units */
#define LEAST_GAIN 32 /* one part in so many is worth to make the entry again */
#define SHORT_LOADS \
	24 /* times what the shortest program load takes is a short section, in the mean */

struct run {
	int num, room, *nest; /* numbers in the entry, in their order */
	double cycles,
		load; /* estimated: of all nests as one section, and of its program load by itself */
};

struct plan_of_runs {
	const struct backend *be;
	const struct module_entry *e;
	int num;
	struct run *run;
	int have[3]; /* units, by enum rdu_unit */
	double pmus; /* share of them that is counted on: not all that is resident finds others to share one with */
};

static const struct nest *nest_of(const struct plan_of_runs *p, int k)
{
	return p->e->nests[k];
}

/* Do more nests read something resident than a scratchpad has programs for? */
static bool crowded(const struct plan_of_runs *p, const struct run *r)
{
	for (int i = 0; i < r->num; i++) {
		const struct nest *n = nest_of(p, r->nest[i]);

		for (int k = 0; k < n->num_in; k++) {
			struct tensor *t = tensor_storage(n->in[k].tensor);
			int readers = 0;

			for (int q = 0; q < r->num && residence_of(p->be, n, t); q++)
				readers += nest_reads(nest_of(p, r->nest[q]), t);
			if (readers > (int)p->be->chip.pmu_reads)
				return true;
		}
	}
	return false;
}

/* Scratchpads of what is resident and the nests of a run use; all else can share them. */
static double resident_parts(const struct plan_of_runs *p, const struct run *r)
{
	bool *seen = xcalloc((size_t)p->be->m->num_tensors + 1, sizeof(bool));
	double parts = 0;

	for (int i = 0; i < r->num; i++) {
		const struct nest *n = nest_of(p, r->nest[i]);

		for (int k = 0; k < n->num_in + n->num_out; k++) {
			struct tensor *t =
				tensor_storage(k < n->num_in ? n->in[k].tensor
							     : n->out[k - n->num_in].access.tensor);
			const struct residence *w = residence_of(p->be, n, t);

			parts += w && !seen[t->id] ? w->num_parts : 0;
			seen[t->id] |= w != NULL;
		}
	}
	free(seen);
	return parts;
}

/* What nests take as one section, in this order; one that finds fewer units than it takes alone takes as much
 * longer. False: they have no place. */
static bool estimate(const struct plan_of_runs *p, struct run *r)
{
	double *end = xcalloc((size_t)r->num + 1, sizeof(*end)), bytes = 0, load = 0;
	double left[3] = { p->have[0], p->have[1], p->have[2] };
	bool fits = !crowded(p, r);

	left[RDU_UNIT_PMU] *= p->pmus;
	left[RDU_UNIT_PMU] -= resident_parts(p, r);
	r->cycles = 0;
	for (int i = 0; i < r->num; i++) {
		const struct nest *n = nest_of(p, r->nest[i]);
		const struct nest_cost *c = &n->cost;
		double fewer = 1;

		for (int k = 0; k < 3; k++)
			if (c->units[k] > left[k])
				fewer = fmax(fewer,
					     left[k] < 1 ? FEWER + 1 : c->units[k] / left[k]);
		fits &= fewer <= FEWER;
		for (int k = 0; k < i; k++)
			if (end[k] > end[i] && !be_may_swap(p->be, nest_of(p, r->nest[k]), n))
				end[i] = end[k];
		end[i] += (double)c->cycles * fewer;
		r->cycles = fmax(r->cycles, end[i]);
		for (int k = 0; k < 3; k++)
			left[k] -= c->units[k] / fewer;
		bytes += (double)c->bytes;
		load += (double)c->load_bytes / fewer;
	}
	free(end);
	r->cycles = fmax(r->cycles, bytes / be_bytes_per_cycle(&p->be->chip) / MEMORY_SHARE);
	r->load = p->be->chip.pload_latency + load / p->be->chip.pload_bytes;
	return fits;
}

/* Cycles that a load shows behind a section that takes so many. */
static double load_shown(const struct plan_of_runs *p, double load, double before)
{
	const struct rdu_chip *chip = &p->be->chip;

	if (chip->config_planes > 1)
		load = load > before ? load - before : 0;
	return load + chip->aload_cycles;
}

/* Of sections from number `from` to `to`, and of the load behind them. */
static double cycles_of(const struct plan_of_runs *p, int from, int to)
{
	const struct run *before = NULL;
	double sum = 0;

	for (int i = from - 1; i >= 0 && !before; i--)
		before = p->run[i].num ? &p->run[i] : NULL;
	for (int i = from, behind = 0; i < p->num && !behind; i++) {
		const struct run *r = &p->run[i];

		if (!r->num)
			continue;
		behind = i > to;
		sum += load_shown(p, r->load, before ? before->cycles : 0) +
		       (behind ? 0 : r->cycles);
		before = r;
	}
	return sum;
}

static bool may_move(const struct plan_of_runs *p, int nest)
{
	const struct nest *n = nest_of(p, nest);

	return n->cost.cycles && !be_hold_of(p->be, n->out[0].access.tensor);
}

static bool alike(const struct plan_of_runs *p, int a, int b)
{
	return nest_of(p, a)->loop == nest_of(p, b)->loop && may_move(p, b);
}

static bool independent_of_all(const struct plan_of_runs *p, int nest, const struct run *r,
			       int from, int to)
{
	for (int i = from; i < to; i++)
		if (!alike(p, nest, r->nest[i]) ||
		    !be_may_swap(p->be, nest_of(p, nest), nest_of(p, r->nest[i])))
			return false;
	return true;
}

/* May the nest at a place of run `from` go to run `to`? Then its place there, else -1. */
static int place_in(const struct plan_of_runs *p, int from, int at, int to)
{
	int nest = p->run[from].nest[at], place = p->run[to].num;

	if (!may_move(p, nest) || !p->run[to].num || !alike(p, nest, p->run[to].nest[0]))
		return -1;
	if (to < from) {
		if (!independent_of_all(p, nest, &p->run[from], 0, at))
			return -1;
		for (int i = to + 1; i < from; i++)
			if (!independent_of_all(p, nest, &p->run[i], 0, p->run[i].num))
				return -1;
		return place;
	}
	if (!independent_of_all(p, nest, &p->run[from], at + 1, p->run[from].num))
		return -1;
	for (int i = from + 1; i < to; i++)
		if (!independent_of_all(p, nest, &p->run[i], 0, p->run[i].num))
			return -1;
	for (int i = place - 1; i >= 0; i--)
		if (!be_may_swap(p->be, nest_of(p, nest), nest_of(p, p->run[to].nest[i])))
			place = i;
	return place;
}

static void take_out(struct run *r, int at)
{
	r->num--;
	memmove(r->nest + at, r->nest + at + 1, sizeof(int) * (size_t)(r->num - at));
}

static void put_in(struct run *r, int at, int nest)
{
	r->nest = xroom(r->nest, r->num, &r->room, sizeof(int));
	memmove(r->nest + at + 1, r->nest + at, sizeof(int) * (size_t)(r->num - at));
	r->nest[at] = nest;
	r->num++;
}

/* The nest at a place of run `from` goes to a place of run `to`. False: that has no units for it. */
static bool move(struct plan_of_runs *p, int from, int at, int to, int place)
{
	bool fits;

	put_in(&p->run[to], place, p->run[from].nest[at]);
	take_out(&p->run[from], at);
	fits = estimate(p, &p->run[to]);
	return estimate(p, &p->run[from]) && fits; /* both are to be known */
}

static void move_back(struct plan_of_runs *p, int from, int at, int to, int place)
{
	put_in(&p->run[from], at, p->run[to].nest[place]);
	take_out(&p->run[to], place);
	estimate(p, &p->run[to]);
	estimate(p, &p->run[from]);
}

struct step {
	int to, place;
};

/* Where to the nest at a place of run `from` goes best: with the least time of all, less than `most`. to -1: nowhere.
 * first, last: the runs that count. */
static struct step best_step(struct plan_of_runs *p, int from, int at, int first, int last,
			     double most)
{
	struct step best = { .to = -1 };

	for (int to = first; to <= last; to++) {
		int place = to == from ? -1 : place_in(p, from, at, to);
		double takes;

		if (place < 0)
			continue;
		takes = move(p, from, at, to, place) ? cycles_of(p, first, last) : most;
		move_back(p, from, at, to, place);
		if (takes < most) {
			most = takes;
			best = (struct step){ to, place };
		}
	}
	return best;
}

/* All nests of a run go to others, each to where it costs least, if that takes less time. */
static bool dissolve(struct plan_of_runs *p, int from, int first, int last)
{
	double was = cycles_of(p, first, last);
	struct step *step = xcalloc((size_t)p->run[from].num + 1, sizeof(*step));
	int num = 0;

	while (p->run[from].num) {
		step[num] = best_step(p, from, 0, first, last, was * 2);
		if (step[num].to < 0)
			break;
		move(p, from, 0, step[num].to, step[num].place);
		num++;
	}
	if (!p->run[from].num && cycles_of(p, first, last) < was) {
		free(step);
		return true;
	}
	while (num--)
		move_back(p, from, 0, step[num].to, step[num].place);
	free(step);
	return false;
}

/* One nest, or all of a section, goes elsewhere. False: that takes no less time. */
static bool improve(struct plan_of_runs *p, int from)
{
	int first = (int)max64(from - WINDOW, 0), last = (int)min64(from + WINDOW, p->num - 1);

	if (dissolve(p, from, first, last))
		return true;
	for (int at = 0; at < p->run[from].num && p->run[from].num > 1; at++) {
		struct step s = best_step(p, from, at, first, last, cycles_of(p, first, last) - 1);

		if (s.to < 0)
			continue;
		move(p, from, at, s.to, s.place);
		return true;
	}
	return false;
}

static void make_runs(struct plan_of_runs *p, int first)
{
	const struct backend *be = p->be;

	p->num = be->num_sections - first;
	p->run = xcalloc((size_t)p->num + 1, sizeof(*p->run));
	for (int i = 0; i < p->num; i++) {
		const struct be_section *s = &be->section[first + i];

		for (int k = 0; k < s->num_nests; k++)
			put_in(&p->run[i], k, s->first_nest + k);
	}
	for (int i = 0; i < p->num; i++)
		estimate(p, &p->run[i]);
}

static void print(const struct plan_of_runs *p, double was, double now)
{
	FILE *f = be_log(p->be);

	if (!be_prints(p->be, "beside"))
		return;

	fprintf(f, "beside: %s: %.0f cycles instead of %.0f, about\n", p->e->name, now, was);
	for (int i = 0; i < p->num; i++) {
		fprintf(f, "beside: %6.0f + %5.0f", p->run[i].cycles, p->run[i].load);
		for (int k = 0; k < p->run[i].num; k++)
			fprintf(f, " %s", nest_of(p, p->run[i].nest[k])->name);
		fprintf(f, "\n");
	}
}

bool be_beside_pays(const struct backend *be, int first)
{
	uint64_t sum = 0;

	for (int i = first; i < be->num_sections; i++)
		sum += be->section[i].im->cycles;
	return sum <= (uint64_t)(be->num_sections - first) * be->chip.pload_latency * SHORT_LOADS;
}

bool be_beside(struct backend *be, struct module_entry *e, int first, double pmus)
{
	const struct rdu_chip *chip = &be->chip;
	struct plan_of_runs p = { .be = be, .e = e, .pmus = pmus };
	struct nest **nests;
	double was, now;
	bool better;
	int num = 0;

	if (!be_beside_pays(be, first))
		return false;
	nests = xmalloc(sizeof(*nests) * (size_t)(e->num_nests + 1));
	p.have[RDU_UNIT_PCU] = (int)rdu_chip_pcus_per_tile(chip) * be->tiles;
	p.have[RDU_UNIT_PMU] = (int)rdu_chip_pmus_per_tile(chip) * be->tiles;
	p.have[RDU_UNIT_AGCU] = (int)(chip->agcus_per_tile * chip->agcu_programs) * be->tiles;
	make_runs(&p, first);
	was = cycles_of(&p, 0, p.num - 1);
	print(&p, was, was);
	do {
		better = false;
		for (int i = 0; i < p.num; i++)
			while (p.run[i].num && improve(&p, i))
				better = true;
	} while (better);
	now = cycles_of(&p, 0, p.num - 1);
	print(&p, was, now);
	better = was - now > was / LEAST_GAIN;
	for (int i = 0; i < p.num; i++) {
		for (int k = 0; k < p.run[i].num; k++) {
			nests[num] = e->nests[p.run[i].nest[k]];
			nests[num++]->run = better ? i + 1 : 0;
		}
		free(p.run[i].nest);
	}
	if (better)
		memcpy(e->nests, nests, sizeof(*nests) * (size_t)num);
	free(nests);
	free(p.run);
	return better;
}

void be_beside_undo(struct module_entry *e, struct nest *const *order)
{
	memcpy(e->nests, order, sizeof(*order) * (size_t)e->num_nests);
	for (int k = 0; k < e->num_nests; k++)
		e->nests[k]->run = 0;
}

/* ---- with the units that others leave ------------------------------------------------ */

/* Units of a section that are not those of what is resident. */
static void count_units(const struct uimage *im, int *units)
{
	units[0] = units[1] = units[2] = 0;
	for (int u = 0; u < im->num_units; u++)
		units[im->unit[u].kind] += im->unit[u].pin < 0;
}

/* A nest's section with no more than so many units instead, if it takes no longer than half of a load more: about
 * that is what one section spares; or, where it is to run beside others, as much longer as it has fewer. 1: it is,
 * 0: there is none, or -1. */
static int lower_within(struct backend *be, struct be_section *first, struct be_section *s,
			const int *left, double fewer)
{
	uint64_t most = s->im->cycles + be_load_after(be, NULL, s->im) / 2;
	int all = (int)rdu_chip_pcus_per_tile(&be->chip) * be->tiles, units[3], r;
	struct uimage *im;

	be->at = be->until = s->first_nest;
	if (s->nest->run)
		most = (uint64_t)fmax((double)most, (double)s->im->cycles * fewer * LONGER);
	be->share =
		(struct share){ .pcus = (left[RDU_UNIT_PCU] + 0.5) / all, .pmus = 1, .agcus = 1 };
	if (s->nest->run)
		be->share.pmus = fmin((left[RDU_UNIT_PMU] + 0.5) / be_free_pmus(be), 1);
	r = be_lower(be, s->nest, be->level, be->num_ops + s->first_nest, &im);
	be->share = (struct share){ 0 };
	if (r)
		return r < 0 ? -1 : 0;
	count_units(im, units);
	r = units[RDU_UNIT_PCU] > left[RDU_UNIT_PCU] ? 1 : be_time_about(be, im, most);
	if (r) {
		image_free(im);
		return r < 0 ? -1 : 0;
	}
	image_free(s->im);
	s->im = im;
	be_settle(be, first, s);
	return 1;
}

/* How many times as many units as are left a nest takes. */
static double times_left(const struct be_section *s, const int *left)
{
	int units[3];
	double times = 0;

	count_units(s->im, units);
	for (int k = 0; k < 3; k++)
		if (units[k] && (k == RDU_UNIT_PCU || s->nest->run))
			times = fmax(times, (double)units[k] / fmax(left[k], 0.1));
	return times;
}

int be_fit_beside(struct backend *be, struct be_section *first)
{
	const struct rdu_chip *chip = &be->chip;
	int units[3], left[3] = { 0 };

	for (struct be_section *s = first; s < be->section + be->num_sections; s++) {
		bool apart = s == first || s->nest->group || s[-1].nest->group ||
			     s->nest->loop != s[-1].nest->loop || s->nest->run != s[-1].nest->run;
		double times;

		if (s->num_nests == 1) {
			s->nest->cost = (struct nest_cost){ .cycles = s->im->cycles,
							    .bytes = s->im->dram_bytes,
							    .load_bytes = s->im->size };
			count_units(s->im, s->nest->cost.units);
		}
		times = times_left(s, left);
		/* What fills held scratchpads is made with whoever reads them. */
		if (!apart && times > 1 && times <= (s->nest->run ? FEWER : FEWER_NEIGHBOURS) &&
		    !be_hold_of(be, s->nest->out[0].access.tensor)) {
			if (lower_within(be, first, s, left, times) < 0)
				return -1;
			times = times_left(s, left);
		}
		if (apart || times > 1) {
			be->at = be->until = s->first_nest;
			left[RDU_UNIT_PCU] = (int)rdu_chip_pcus_per_tile(chip) * be->tiles;
			left[RDU_UNIT_PMU] = be_free_pmus(be);
			left[RDU_UNIT_AGCU] =
				(int)(chip->agcus_per_tile * chip->agcu_programs) * be->tiles;
		}
		count_units(s->im, units);
		for (int k = 0; k < 3; k++)
			left[k] -= units[k];
	}
	return 0;
}
