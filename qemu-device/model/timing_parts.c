// SPDX-License-Identifier: MIT
/*
 * Leaving out whole activations. Stages that run together are cut into equal parts: as
 * many activations of each as keep the tokens between them in balance. Where loops nest,
 * a section can be cut in several ways, from parts of a few activations of the innermost
 * loop to parts that hold many of them; each way is a level. When two stretches of parts
 * have taken the same time, and every stage has done its share in both, the next parts
 * are left out, up to where a token's loop ends that the stretches did not hold.
 *
 * A part takes at least what its slowest stage has to do in it: stretches that were faster are of
 * stages that run ahead of that one, and tell nothing.
 *
 * Each part left out counts as the mean of those of its level that were seen. How many are
 * left out at once depends on how far the newest stretches were apart: FARTHER times what
 * was seen if within SAME, less in proportion if not. So a wrong mean is looked at again
 * before it weighs much, and the number of looks grows with the logarithm of the section.
 */
#include <stdlib.h>
#include <string.h>
#include "timing_flow.h"

#define LEVELS 6
#define RECORDS 33 /* of a level: stretches of up to 16 records */
#define SHORT 512 /* cycles: records nearer to each other say nothing */
#define WAITING 4 /* parts that others have done */
#define FARTHER 2 /* times what was seen is left out, at most, when stretches agree within SAME */

struct level {
	uint64_t parts; /* of the stages that run */
	uint32_t base; /* program that tells how far they are, of the stage with most to do */
	uint64_t every; /* parts between records */
	double seen, seen_parts; /* cycles and parts by which some were left out */
	uint64_t from; /* cycle of the first record there was, dropped since or not */
	unsigned int num;
	uint64_t done[RECORDS], at[RECORDS]; /* parts, cycle; the newest last */
	uint64_t *ended; /* by record and stage: activations */
	double *units; /* the same: done of activations (rdu_skip_units) */
	uint64_t *spent; /* by program, 4 each: at the first record */
};

struct flow_parts {
	unsigned int num_levels;
	struct level level[LEVELS];
	uint32_t left, begun; /* programs, stages: for which the levels are */
	bool *runs; /* by stage: begun and not finished */
	uint64_t *share; /* by stage: activations in a part */
	double *units; /* by stage: of an activation longer than a part, those done in one */
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static const struct flow_prog *first_of(const struct flow *f, uint32_t stage)
{
	return &f->prog[f->s->order[f->s->stages[stage].first]];
}

/* Activations that have ended, those left out counted. */
static uint64_t ended(const struct flow_prog *p)
{
	return p->number - (p->activation - p->ended);
}

/* Activations of a stage in one of `parts`, 0: it does not move; false: can't be. */
static bool find_share(const struct flow *f, uint32_t stage, uint64_t parts, uint64_t *share)
{
	uint64_t all = f->s->stages[stage].activations;

	*share = 0;
	if (!f->parts->runs[stage] || all < parts)
		return true;
	*share = all / parts;
	return all % parts == 0;
}

/* ---- levels -------------------------------------------------------------------- */

/* Has a stage ended nothing, while others did some of the parts? Then it waits for them. */
static bool waits(const struct flow *f, uint32_t stage, uint64_t parts)
{
	uint64_t share;

	if (ended(first_of(f, stage)))
		return false;
	for (uint32_t i = 0; i < f->s->num_stages; i++)
		if (find_share(f, i, parts, &share) && share &&
		    ended(first_of(f, i)) >= WAITING * share)
			return true;
	return false;
}

static void add_level(struct flow *f, uint64_t parts)
{
	struct flow_parts *k = f->parts;
	struct level *l = &k->level[k->num_levels];
	double longest = -1;
	uint32_t base = 0;
	uint64_t share;

	if (parts < 6 || k->num_levels == LEVELS)
		return;
	for (unsigned int i = 0; i < k->num_levels; i++)
		if (k->level[i].parts == parts)
			return;
	for (uint32_t i = 0; i < f->s->num_stages; i++) {
		if (!find_share(f, i, parts, &share))
			return;
		if (share && (double)share * (double)f->costs->stage[i].issue > longest &&
		    !waits(f, i, parts)) {
			longest = (double)share * (double)f->costs->stage[i].issue;
			base = first_of(f, i)->index;
		}
	}
	if (longest < 0)
		return; /* nobody who runs has so many activations */
	/* If stages have only begun, what was seen before stands. */
	for (unsigned int i = k->num_levels; i < LEVELS; i++) {
		struct level was = k->level[i];

		if (was.parts != parts || was.base != base)
			continue;
		k->level[i] = *l;
		*l = was;
		k->num_levels++;
		return;
	}
	k->num_levels++;
	l->parts = parts;
	l->base = base;
	l->every = 1;
	l->num = 0;
	l->seen = l->seen_parts = 0;
	l->from = UINT64_MAX;
}

/* By the largest common divisor of the running stages' activations, and by each of their
 * numbers, as far as the others are multiples of it or have fewer. */
static void set_levels(struct flow *f)
{
	const struct rdu_section *s = f->s;
	struct flow_parts *k = f->parts;
	uint64_t all = 0;
	uint32_t i, j;

	for (i = 0; i < s->num_stages; i++) {
		const struct rdu_stage *cfg = &s->stages[i];
		bool begun = false, left = false;

		for (j = 0; j < cfg->num; j++) {
			const struct flow_prog *p = &f->prog[s->order[cfg->first + j]];

			begun |= p->number || p->started;
			left |= p->ended < p->activations;
		}
		k->runs[i] = begun && left;
		if (k->runs[i])
			all = rdu_skip_gcd(cfg->activations, all);
	}
	for (i = 0; i < LEVELS && k->left != f->left; i++)
		k->level[i].parts = 0; /* what ended is missing in what was seen */
	k->num_levels = 0;
	add_level(f, all);
	for (i = 0; i < s->num_stages; i++)
		if (k->runs[i])
			add_level(f, s->stages[i].activations);
	for (i = 0; i < s->num_stages; i++) /* not begun */
		if (!f->stage_events[i])
			add_level(f, s->stages[i].activations);
	k->left = f->left;
	k->begun = f->begun;
}

int rdu_parts_new(struct flow *f)
{
	const struct rdu_section *s = f->s;
	struct flow_parts *k = calloc(1, sizeof(*k));

	f->parts = k;
	if (!k)
		return -1;
	k->runs = calloc(s->num_stages + 1, sizeof(*k->runs));
	k->share = calloc(s->num_stages + 1, sizeof(*k->share));
	k->units = calloc(s->num_stages + 1, sizeof(*k->units));
	if (!k->runs || !k->share || !k->units)
		return -1;
	for (unsigned int i = 0; i < LEVELS; i++) {
		struct level *l = &k->level[i];

		l->ended = calloc(RECORDS * (size_t)s->num_stages + 1, sizeof(*l->ended));
		l->units = calloc(RECORDS * (size_t)s->num_stages + 1, sizeof(*l->units));
		l->spent = calloc(4 * (size_t)s->hdr->programs.count + 1, sizeof(*l->spent));
		if (!l->ended || !l->units || !l->spent)
			return -1;
	}
	return 0;
}

void rdu_parts_free(struct flow *f)
{
	struct flow_parts *k = f->parts;

	if (!k)
		return;
	for (unsigned int i = 0; i < LEVELS; i++) {
		free(k->level[i].ended);
		free(k->level[i].units);
		free(k->level[i].spent);
	}
	free(k->runs);
	free(k->share);
	free(k->units);
	free(k);
	f->parts = NULL;
}

/* ---- records ------------------------------------------------------------------- */

static void drop_oldest(const struct flow *f, struct level *l, unsigned int n)
{
	size_t stages = f->s->num_stages;

	l->num -= n;
	memmove(l->done, l->done + n, l->num * sizeof(*l->done));
	memmove(l->at, l->at + n, l->num * sizeof(*l->at));
	memmove(l->ended, l->ended + n * stages, l->num * stages * sizeof(*l->ended));
	memmove(l->units, l->units + n * stages, l->num * stages * sizeof(*l->units));
}

static void begin(const struct flow *f, struct level *l)
{
	l->num = 0;
	for (uint32_t i = 0; i < f->s->hdr->programs.count; i++)
		memcpy(&l->spent[4 * i], f->prog[i].spent, sizeof(f->prog[i].spent));
}

/* The section's start: nobody had done anything. */
static void record_start(const struct flow *f, struct level *l)
{
	size_t stages = f->s->num_stages;

	memset(l->spent, 0, 4 * (size_t)f->s->hdr->programs.count * sizeof(*l->spent));
	memset(l->ended, 0, stages * sizeof(*l->ended));
	memset(l->units, 0, stages * sizeof(*l->units));
	l->done[0] = l->at[0] = l->from = 0;
	l->num = 1;
}

/* True: there is a new one. */
static bool record(const struct flow *f, struct level *l)
{
	uint64_t now = f->now + f->skipped,
		 one = f->s->stages[f->prog[l->base].p->stage].activations;
	uint64_t done = ended(&f->prog[l->base]) / (one / l->parts);

	if (!l->num && !done && !f->skipped)
		record_start(f, l);
	if (l->num && done < l->done[l->num - 1] + l->every)
		return false;
	if (l->num && done == l->done[l->num - 1] + l->every && now - l->at[l->num - 1] < SHORT) {
		l->every *= 2;
		begin(f, l);
	}
	if (!l->num)
		begin(f, l);
	l->from = min_u64(l->from, now);
	if (l->num == RECORDS)
		drop_oldest(f, l, 1);
	l->done[l->num] = done;
	l->at[l->num] = now;
	for (uint32_t i = 0; i < f->s->num_stages; i++) {
		l->ended[l->num * (size_t)f->s->num_stages + i] = ended(first_of(f, i));
		l->units[l->num * (size_t)f->s->num_stages + i] = rdu_skip_units(f, i);
	}
	l->num++;
	return true;
}

/* ---- leaving out ---------------------------------------------------------------- */

/* Has p, which ran ahead of its stage, done all it ever does? What it gave lies in FIFOs. */
static bool is_through(const struct flow_prog *p)
{
	return p->activation >= p->activations;
}

/* Activations that p is moved on by with `count` parts. */
static uint64_t moves(const struct flow *f, const struct flow_prog *p, uint64_t count)
{
	return is_through(p) ? 0 : f->parts->share[p->p->stage] * count;
}

/* Vectors that p then takes at a port from who is through. */
static uint64_t takes_behind(const struct flow *f, const struct flow_prog *p, unsigned int port,
			     uint64_t count)
{
	uint64_t from = p->number * p->p->iterations + p->iteration;
	uint64_t to = from + moves(f, p, count) * p->p->iterations;
	uint32_t mask = p->in[port].mask;

	if (!is_through(&f->prog[f->dest[p->in[port].index].stream->producer]))
		return 0;
	return (rdu_skip_times(p, 0, p->num_counters, mask, false, to) -
		rdu_skip_times(p, 0, p->num_counters, mask, false, from)) *
	       p->in[port].count;
}

/* Of a mask's outer counters, in activations 0 .. n - 1. */
static uint64_t times(const struct flow_prog *p, uint32_t mask, bool last, uint64_t n)
{
	return rdu_skip_times(p, 0, p->p->cfg->num_outer, mask, last, n);
}

static uint64_t given(const struct flow *f, const struct flow_tokens *e, uint64_t count)
{
	const struct flow_prog *p = &f->prog[e->src];
	uint64_t from = ended(p), n = moves(f, p, count);

	return times(p, e->src_mask, true, from + n) - times(p, e->src_mask, true, from);
}

static uint64_t taken(const struct flow *f, const struct flow_tokens *e, uint64_t count)
{
	const struct flow_prog *p = &f->prog[e->dst];
	uint64_t from = p->number + p->started, n = moves(f, p, count);

	return times(p, e->dst_mask, false, from + n) - times(p, e->dst_mask, false, from);
}

/* What tokens allow, of loops that a stretch of parts does not hold in whole. */
struct loops {
	uint64_t since, until; /* parts since one of them ended last, and until one ends next */
	uint64_t whole; /* a multiple of what it takes to hold the others in whole */
};

/* The loop that a program's mask tells the end of; the program has done `at` activations, and
 * does `share` in a part. */
static void add_loop(struct loops *l, const struct flow_prog *p, uint32_t mask, uint64_t at,
		     uint64_t share, uint64_t stretch)
{
	uint64_t period = 1, inner = 1, parts;

	for (unsigned int c = p->p->cfg->num_outer; c--;) {
		inner *= p->trip[c];
		if (mask >> c & 1)
			period = inner;
	}
	if (!share || share % period == 0)
		return;
	parts = period / rdu_skip_gcd(period, share); /* until both are whole */
	if (stretch % parts == 0) {
		l->whole = l->whole / rdu_skip_gcd(l->whole, parts) * parts;
		return;
	}
	l->since = min_u64(l->since, at % period / share);
	l->until = min_u64(l->until, (period - 1 - at % period) / share);
}

static struct loops find_loops(const struct flow *f, uint64_t stretch)
{
	struct loops l = { UINT64_MAX, UINT64_MAX, 1 };

	for (uint32_t i = 0; i < f->s->hdr->tokens.count; i++) {
		const struct flow_tokens *e = &f->edge[i];
		const struct flow_prog *src = &f->prog[e->src], *dst = &f->prog[e->dst];

		/* Nobody hears of it, but tokens lie there for later. */
		if (!f->parts->runs[dst->p->stage])
			continue;
		add_loop(&l, src, e->src_mask, ended(src), f->parts->share[src->p->stage], stretch);
		add_loop(&l, dst, e->dst_mask, dst->number, f->parts->share[dst->p->stage],
			 stretch);
	}
	return l;
}

/* What a stage goes on by, of an activation longer than a part, in so many of them. */
static uint64_t units_of(const struct flow *f, uint32_t stage, uint64_t count)
{
	return (uint64_t)(f->parts->units[stage] * (double)count + 0.5);
}

/* Is what those who are through have given as much as others then take? */
static bool has_enough(const struct flow *f, uint64_t count)
{
	for (uint32_t i = 0; i < f->s->hdr->programs.count; i++) {
		const struct flow_prog *p = &f->prog[i];

		for (unsigned int k = 0; k < p->num_in; k++) {
			const struct flow_dest *d = &f->dest[p->in[k].index];

			if (takes_behind(f, p, k, count) > d->stream->pushed - d->popped)
				return false;
		}
	}
	return true;
}

/* Parts that can be left out: 0: none. */
static uint64_t find_count(struct flow *f, const struct loops *loops, uint64_t most)
{
	const struct rdu_section *s = f->s;
	uint64_t whole = loops->whole, left = min_u64(most, loops->until);
	uint32_t i, j;

	for (i = 0; i < s->num_stages; i++) {
		const struct rdu_stage *cfg = &s->stages[i];
		uint64_t share = f->parts->share[i];

		for (j = 0; share && j < cfg->num; j++) {
			const struct flow_prog *p = &f->prog[s->order[cfg->first + j]];

			if (is_through(p))
				continue;
			/* The one under way has to be run through. */
			left = min_u64(left, (p->activations - p->activation - 1) / share);
		}
	}
	for (i = 0; i < s->num_stages; i++)
		if (f->parts->units[i] > 0)
			left = min_u64(left, (uint64_t)((double)rdu_skip_units_left(f, i) /
							f->parts->units[i]));
	left -= left % whole;
	for (i = 0; i < s->num_stages && left; i++)
		if (f->parts->units[i] > 0 && !rdu_skip_fits(f, i, units_of(f, i, left)))
			return 0;
	while (left && !has_enough(f, left))
		left = left / 2 - left / 2 % whole;
	for (i = 0; i < s->hdr->tokens.count && left; i++) {
		const struct flow_tokens *e = &f->edge[i];

		if (e->initial + e->num + given(f, e, left) < taken(f, e, left))
			return 0;
	}
	return left;
}

static void leave_out(struct flow *f, const struct level *l, uint64_t count, double cycles)
{
	const struct rdu_section *s = f->s;
	uint32_t i, j;

	if (!rdu_flow_skip(f, cycles))
		return;
	for (i = 0; i < s->hdr->tokens.count; i++) {
		struct flow_tokens *e = &f->edge[i];

		if (!rdu_flow_settle(f, e, (int64_t)(given(f, e, count) - taken(f, e, count))))
			return;
	}
	for (i = 0; i < s->num_stages; i++) {
		const struct rdu_stage *cfg = &s->stages[i];
		uint64_t one = f->parts->share[i] * count;

		if (f->parts->units[i] > 0)
			rdu_skip_stage(f, i, units_of(f, i, count), (uint64_t)cycles, l->spent);
		for (j = 0; one && j < cfg->num; j++) {
			struct flow_prog *p = &f->prog[s->order[cfg->first + j]];

			if (is_through(p))
				continue;
			for (unsigned int k = 0; k < p->num_in; k++)
				rdu_flow_take(f, &f->dest[p->in[k].index],
					      takes_behind(f, p, k, count));
			rdu_skip_spend(p, one * p->p->iterations, (uint64_t)cycles,
				       &l->spent[4 * p->index]);
			rdu_skip_move(p, one, 0);
			p->skipped = f->skipped;
			rdu_flow_queue(f, p->actor);
		}
	}
}

/* Each stage's share of a part, if since record `from` it did that of each; of those whose
 * activation is longer, the units; of those that did nothing, none. False: somebody did
 * something else. */
static bool find_shares(const struct flow *f, const struct level *l, unsigned int from)
{
	size_t stages = f->s->num_stages;
	const uint64_t *now = l->ended + (l->num - 1) * stages, *then = l->ended + from * stages;
	const double *units_now = l->units + (l->num - 1) * stages,
		     *units_then = l->units + from * stages;
	uint64_t parts = l->done[l->num - 1] - l->done[from];

	for (uint32_t i = 0; i < stages; i++) {
		uint64_t *share = &f->parts->share[i], did = now[i] - then[i];

		if (!find_share(f, i, l->parts, share))
			return false;
		f->parts->units[i] = 0;
		if (!did) { /* it is on its way, or waits for something else */
			f->parts->units[i] = (units_now[i] - units_then[i]) / (double)parts;
			*share = 0;
		}
		if (did && !*share) /* it would stand still */
			return false;
		if (*share && (did + *share < parts * *share || did > (parts + 1) * *share))
			return false;
	}
	return true;
}

static bool same(const struct flow *f, double a, double b)
{
	return a > b * (1 - f->same) && b > a * (1 - f->same);
}

/* Cycles that a part takes at least: what each stage has to do in it, what memory has to move.
 * Stages ahead of the slowest go faster than it can, until what is between them is full. */
static double least_of_part(const struct flow *f)
{
	const struct rdu_section *s = f->s;
	double longest = 0, bytes = 0, memory;

	for (uint32_t i = 0; i < s->hdr->programs.count; i++) {
		const struct flow_prog *p = &f->prog[i];
		double share = (double)f->parts->share[p->p->stage];
		double stage = share * (double)f->costs->stage[p->p->stage].issue;

		longest = stage > longest ? stage : longest;
		if (p->access && !p->access->in_host)
			bytes += share * (double)f->costs->prog[i].bytes;
	}
	memory = bytes / f->costs->dram_rate;
	return memory > longest ? memory : longest;
}

static double larger(double a, double b)
{
	a = a < 0 ? -a : a;
	b = b < 0 ? -b : b;
	return a > b ? a : b;
}

/* Leaves out what follows the newest `n` records: they took `second` cycles, and others
 * as many parts `first`. Where times vary two stretches agree by chance: so each part takes the
 * mean of all on record, but for the first since a loop ended, and of those seen before. The
 * less the stretches agree, with each other and with that mean, the less is left out before the
 * next look. */
static bool leave_out_more(struct flow *f, struct level *l, unsigned int n, double first,
			   double second)
{
	unsigned int c = l->num - 1, k = c - n;
	uint64_t parts = l->done[c] - l->done[k], count;
	struct loops loops = find_loops(f, parts);
	double off, most, one, seen, seen_parts, least = least_of_part(f) * (1 - SAME);

	if (first < least * (double)parts || second < least * (double)parts)
		return false;
	while (k && l->done[k - 1] && l->done[c] - l->done[k - 1] < loops.since &&
	       (double)(l->at[k] - l->at[k - 1]) >= least * (double)(l->done[k] - l->done[k - 1]))
		k--;
	seen = (double)(l->at[c] - l->at[k]);
	seen_parts = (double)(l->done[c] - l->done[k]);
	/* Unless those were parts of another kind. */
	if (l->seen_parts && same(f, l->seen / l->seen_parts, second / (double)parts)) {
		seen += l->seen;
		seen_parts += l->seen_parts;
	} else if (k == c - n) {
		seen += first;
		seen_parts += (double)parts;
	}
	one = seen / seen_parts;
	off = larger(first / second - 1, one * (double)parts / second - 1);
	most = FARTHER * (double)(l->at[c] - l->from) * (off > SAME ? SAME / off : 1);
	count = find_count(f, &loops, (uint64_t)(most / one) + 1);
	if (!count)
		return false;
	l->seen = seen;
	l->seen_parts = seen_parts;
	leave_out(f, l, count, one * (double)count);
	return true;
}

/* The newest 2 n records: have those in between come as far as each other, too? */
static bool same_course(const struct flow *f, const struct level *l, unsigned int n)
{
	const uint64_t *at = &l->at[l->num - 1 - 2 * n];
	double most = f->same * (double)(at[2 * n] - at[n]);

	for (unsigned int i = 1; i < n; i++) {
		double off = (double)(at[i] - at[0]) - (double)(at[n + i] - at[n]);

		if (off > most || -off > most)
			return false;
	}
	return true;
}

static bool look_at_level(struct flow *f, struct level *l)
{
	unsigned int c = l->num - 1, n;
	double first, second;

	/* Another part as those that were left out? */
	if (l->seen > 0 && l->num > 1) {
		first = l->seen / l->seen_parts * (double)(l->done[c] - l->done[c - 1]);
		second = (double)(l->at[c] - l->at[c - 1]);
		if (second >= SHORT && same(f, first, second) && find_shares(f, l, c - 1) &&
		    leave_out_more(f, l, 1, first, second))
			return true;
	}
	for (n = 1; 2 * n < l->num; n *= 2) {
		first = (double)(l->at[c - n] - l->at[c - 2 * n]);
		second = (double)(l->at[c] - l->at[c - n]);
		if (l->done[c] - l->done[c - n] == l->done[c - n] - l->done[c - 2 * n] &&
		    second >= 2 * SHORT && same(f, first, second) && same_course(f, l, n) &&
		    find_shares(f, l, c - 2 * n) && leave_out_more(f, l, n, first, second))
			return true;
	}
	return false;
}

static bool base_waits(const struct flow *f)
{
	const struct flow_parts *k = f->parts;

	for (unsigned int i = 0; i < k->num_levels; i++)
		if (waits(f, f->prog[k->level[i].base].p->stage, k->level[i].parts))
			return true;
	return false;
}

bool rdu_parts_look(struct flow *f)
{
	struct flow_parts *k = f->parts;

	if (k->left != f->left || k->begun != f->begun || base_waits(f))
		set_levels(f);
	for (unsigned int i = 0; i < k->num_levels; i++) {
		if (!record(f, &k->level[i]) || !look_at_level(f, &k->level[i]))
			continue;
		/* The others saw something else; those of larger parts go on. */
		for (unsigned int j = 0; j < k->num_levels; j++)
			if (k->level[j].parts >= k->level[i].parts)
				k->level[j].num = 0;
		return true;
	}
	return false;
}
