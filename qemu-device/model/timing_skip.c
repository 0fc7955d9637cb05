// SPDX-License-Identifier: MIT
/*
 * Leaving out what repeats. Between two events (an activation that starts or ends) every
 * stage goes on at its own steady pace. When that has been seen for long enough, all
 * running stages are moved on at once, each by whole periods of its streams, so that what
 * is on the wires stays as it is; the cycles this would have taken are added up.
 *
 * A pace is steady if two stretches agree within SAME; the more steps were taken, the
 * more they may differ, up to LOOSE. Where memory is busy they are multiples of the time
 * from one channel's refresh to the next one's, so that each has its share of them.
 * Whole activations are left out in timing_parts.c.
 */
#include <stdlib.h>
#include <string.h>
#include "timing_flow.h"

#define ALWAYS 16384 /* cycles in which nothing is left out */
#define STRETCH 512 /* cycles of the first one, where memory is not busy */
#define BUSY 0.25 /* of memory's bandwidth */

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t rdu_skip_gcd(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t r = a % b;

		a = b;
		b = r;
	}
	return a;
}

/* ---- periods ------------------------------------------------------------------- */

static unsigned int num_outer(const struct flow_prog *p)
{
	return p->p->cfg->num_outer;
}

/* Iterations after which what a mask selects comes again. */
static uint64_t mask_period(const struct flow_prog *p, uint32_t mask)
{
	uint64_t period = 1, inner = 1;

	for (unsigned int c = p->num_counters; c-- > num_outer(p);) {
		inner *= p->trip[c];
		if (mask >> c & 1)
			period = inner;
	}
	return period;
}

/* Iterations that are whole periods of all ports, but of those used once an activation. */
static uint64_t period(const struct flow_prog *p)
{
	uint64_t all = 1, one;

	for (unsigned int k = 0; k < p->num_in + p->num_out; k++) {
		one = mask_period(p, k < p->num_in ? p->in[k].mask : p->out[k - p->num_in].mask);
		if (one < p->p->iterations)
			all = all / rdu_skip_gcd(all, one) * one;
	}
	return all;
}

uint64_t rdu_skip_times(const struct flow_prog *p, unsigned int from, unsigned int to,
			uint32_t mask, bool last, uint64_t n)
{
	uint64_t inner = 1, rest = 1, sum = 0;
	unsigned int c;

	for (c = from; c < to; c++) {
		inner *= p->trip[c];
		rest *= mask >> c & 1 ? 1 : p->trip[c];
	}
	if (n >= inner)
		return rest;
	for (c = from; c < to; c++) {
		uint64_t digit, target = last ? p->trip[c] - 1 : 0;
		bool selected = mask >> c & 1;

		inner /= p->trip[c];
		rest /= selected ? 1 : p->trip[c];
		digit = n / inner;
		n %= inner;
		sum += (selected ? digit > target : digit) * rest;
		if (selected && digit != target)
			break;
	}
	return sum;
}

/* Of a mask's inner counters, in iterations 0 .. n - 1. */
static uint64_t times(const struct flow_prog *p, uint32_t mask, bool last, uint64_t n)
{
	return rdu_skip_times(p, num_outer(p), p->num_counters, mask, last, n);
}

static uint64_t times_in(const struct flow_prog *p, const struct flow_port *port, bool last,
			 uint64_t more)
{
	return (times(p, port->mask, last, p->iteration + more) -
		times(p, port->mask, last, p->iteration)) *
	       port->count;
}

/* ---- stages -------------------------------------------------------------------- */

struct skip_stage {
	uint32_t base; /* program whose iterations tell how far it is */
	uint64_t units; /* equal parts an activation can be moved on by */
	uint64_t seen[3]; /* base's firings at the marks, the newest last */
	uint64_t count; /* units to move on by */
	uint64_t alone_seen[3];
	double bursts; /* of an activation */
	bool running;
	/* of a stage without AGCUs, which is looked at alone */
	bool alone;
	uint64_t events, next, mark[3]; /* cycles */
	unsigned int marks;
};

struct flow_skip {
	struct skip_stage *stage;
	uint64_t events; /* at the start of this stretch */
	uint64_t from, mark[3]; /* cycles */
	uint64_t next; /* when to look again */
	unsigned int marks;
	uint64_t quantum; /* cycles */
	bool busy; /* memory was, when that was looked at */
	uint64_t bursts[3];
	uint64_t *spent; /* by program, 4 each: at mark[1] */
	double burst_rate; /* bursts in a cycle at full speed */
};

static uint64_t firings(const struct flow_prog *p)
{
	return p->activation * p->p->iterations + p->iteration;
}

int rdu_skip_new(struct flow *f)
{
	const struct rdu_section *s = f->s;
	struct flow_skip *k = calloc(1, sizeof(*k));

	f->skip = k;
	if (!k)
		return -1;
	k->stage = calloc(s->num_stages + 1, sizeof(*k->stage));
	k->spent = calloc(4 * (size_t)s->hdr->programs.count + 1, sizeof(*k->spent));
	if (!k->stage || !k->spent)
		return -1;
	k->burst_rate = f->costs->dram_rate / s->chip.dram_burst;
	k->events = UINT64_MAX;
	for (uint32_t i = 0; i < s->num_stages; i++) {
		const struct rdu_stage *cfg = &s->stages[i];
		struct skip_stage *st = &k->stage[i];

		st->base = s->order[cfg->first];
		st->alone = true;
		for (uint32_t j = 0; j < cfg->num; j++) {
			const struct flow_prog *p = &f->prog[s->order[cfg->first + j]];

			st->units = rdu_skip_gcd(p->p->iterations /
							 rdu_skip_gcd(p->p->iterations, period(p)),
						 st->units);
			st->alone = st->alone && !p->access;
			st->bursts += (double)f->costs->prog[p->index].bytes / s->chip.dram_burst;
			if (p->p->iterations > f->prog[st->base].p->iterations)
				st->base = p->index;
		}
	}
	return 0;
}

void rdu_skip_free(struct flow *f)
{
	if (!f->skip)
		return;
	free(f->skip->stage);
	free(f->skip->spent);
	free(f->skip);
	f->skip = NULL;
}

static uint64_t unit_of(const struct flow *f, uint32_t stage, const struct flow_prog *p)
{
	return p->p->iterations / f->skip->stage[stage].units;
}

/* Has p, which runs ahead of its stage, done all of the activation that this one is at? */
static bool is_done(const struct flow_prog *p, uint64_t activation)
{
	return p->activation > activation;
}

/* The activation that the stage is at. */
static uint64_t at_activation(const struct flow *f, uint32_t stage)
{
	const struct rdu_stage *cfg = &f->s->stages[stage];
	uint64_t at = UINT64_MAX;

	for (uint32_t j = 0; j < cfg->num; j++)
		at = min_u64(at, f->prog[f->s->order[cfg->first + j]].activation);
	return at;
}

/* Has each of the stage's programs gone as many units since a mark as its base? One that
 * lags fills what is before it, and will hold it up. `alone`: the stage's own mark. */
static bool in_step(const struct flow *f, uint32_t stage, bool alone)
{
	const struct rdu_stage *cfg = &f->s->stages[stage];
	const struct flow_prog *base = &f->prog[f->skip->stage[stage].base];
	double whole = (double)(firings(base) - (alone ? base->fired_alone : base->fired[0])) /
		       (double)unit_of(f, stage, base);
	uint64_t activation = at_activation(f, stage);

	for (uint32_t j = 0; j < cfg->num; j++) {
		const struct flow_prog *p = &f->prog[f->s->order[cfg->first + j]];
		double own = (double)(firings(p) - (alone ? p->fired_alone : p->fired[0])) /
			     (double)unit_of(f, stage, p);
		double off = own > whole ? own - whole : whole - own;

		if (!is_done(p, activation) && off > (0.1 + f->same) * whole + 0.25)
			return false;
	}
	return true;
}

/* ---- moving on ------------------------------------------------------------------ */

static void move_affine(const struct flow_prog *p, struct flow_affine *x, const uint32_t *before)
{
	for (unsigned int c = 0; c < p->num_counters; c++)
		x->value += x->step[c] * ((int64_t)p->at[c] - (int64_t)before[c]);
}

/* Sets counters [from, to) to what they are after `n` of their steps. */
static void set_counters(struct flow_prog *p, unsigned int from, unsigned int to, uint64_t n)
{
	for (unsigned int c = to; c-- > from;) {
		p->at[c] = (uint32_t)(n % p->trip[c]);
		n /= p->trip[c];
		p->first_bits = (p->first_bits & ~(1u << c)) | (uint32_t)!p->at[c] << c;
		p->last_bits = (p->last_bits & ~(1u << c)) | (uint32_t)(p->at[c] + 1 == p->trip[c])
								     << c;
	}
}

/* Bits of the outer counters that are at their last value in an activation. */
static uint32_t last_bits(const struct flow_prog *p, uint64_t number)
{
	uint32_t bits = 0;

	for (unsigned int c = num_outer(p); c--;) {
		bits |= (uint32_t)(number % p->trip[c] + 1 == p->trip[c]) << c;
		number /= p->trip[c];
	}
	return bits;
}

void rdu_skip_move(struct flow_prog *p, uint64_t activations, uint64_t iterations)
{
	const struct rdu_cfg_access *a = p->p->body;
	uint32_t before[RDU_MAX_COUNTERS];

	memcpy(before, p->at, sizeof(before));
	p->iteration += iterations;
	p->number += activations;
	p->activations -= activations;
	set_counters(p, num_outer(p), p->num_counters, p->iteration);
	set_counters(p, 0, num_outer(p), p->number);
	p->member->dirty = true;
	if (p->kind < RDU_KIND_READ)
		return;
	move_affine(p, &p->base, before);
	for (unsigned int i = 0; i < a->num_preds; i++)
		move_affine(p, &p->pred[i], before);
	if (!p->access || !activations)
		return;
	for (uint64_t i = p->ended; i < p->activation + p->started; i++) {
		struct flow_open *o = &p->access->open[i % OPEN_ACTIVATIONS];

		o->number += activations;
		o->last_bits =
			last_bits(p, o->number) | (o->last_bits & ~((1u << num_outer(p)) - 1));
	}
}

/* Units that all of the stage's programs can still go in this activation, less one. */
static uint64_t units_left(const struct flow *f, uint32_t stage)
{
	const struct rdu_stage *cfg = &f->s->stages[stage];
	uint64_t left = UINT64_MAX, activation = at_activation(f, stage);

	for (uint32_t j = 0; j < cfg->num; j++) {
		const struct flow_prog *p = &f->prog[f->s->order[cfg->first + j]];

		if (is_done(p, activation))
			continue;
		if (!p->started)
			return 0;
		left = min_u64(left, (p->p->iterations - 1 - p->iteration) / unit_of(f, stage, p));
	}
	return left ? left - 1 : 0;
}

/* Does each of its streams give as many vectors as it takes? From who is done there must
 * be enough under way. */
static bool keeps_streams(const struct flow *f, uint32_t stage)
{
	const struct rdu_stage *cfg = &f->s->stages[stage];
	uint64_t count = f->skip->stage[stage].count, activation = at_activation(f, stage);

	for (uint32_t j = 0; j < cfg->num; j++) {
		const struct flow_prog *p = &f->prog[f->s->order[cfg->first + j]];

		for (unsigned int k = 0; k < p->num_out; k++) {
			const struct flow_stream *st = &f->stream[p->out[k].index];
			bool done = is_done(p, activation);
			uint64_t given =
				done ? 0
				     : times_in(p, &p->out[k], true, count * unit_of(f, stage, p));

			for (uint32_t i = 0; i < st->num_dests; i++) {
				const struct flow_dest *d = &f->dest[st->first_dest + i];
				const struct flow_prog *to = &f->prog[d->program];
				uint64_t taken = is_done(to, activation)
							 ? 0
							 : times_in(to, &to->in[d->port], false,
								    count * unit_of(f, stage, to));

				if (done ? taken > st->pushed - d->popped : taken != given)
					return false;
			}
		}
	}
	return true;
}

/* Moves the stage's programs on by its count of units: what `spent` says they waited for
 * before, by program, goes on. */
static void move_stage(struct flow *f, uint32_t stage, uint64_t cycles, const uint64_t *spent)
{
	const struct rdu_stage *cfg = &f->s->stages[stage];
	uint64_t activation = at_activation(f, stage), more;
	unsigned int k;

	for (uint32_t j = 0; j < cfg->num; j++) {
		struct flow_prog *p = &f->prog[f->s->order[cfg->first + j]];

		if (is_done(p, activation))
			continue;
		more = f->skip->stage[stage].count * unit_of(f, stage, p);
		for (k = 0; k < p->num_in; k++) {
			struct flow_dest *d = &f->dest[p->in[k].index];
			uint64_t taken = 0;

			if (is_done(&f->prog[d->stream->producer], activation))
				taken = times_in(p, &p->in[k], false, more);
			rdu_flow_take(f, d, taken);
		}
	}
	for (uint32_t j = 0; j < cfg->num; j++) {
		struct flow_prog *p = &f->prog[f->s->order[cfg->first + j]];

		if (is_done(p, activation))
			continue;
		more = f->skip->stage[stage].count * unit_of(f, stage, p);
		rdu_skip_spend(p, more, cycles, spent ? &spent[4 * p->index] : p->spent_alone);
		rdu_skip_move(p, 0, more);
		if (spent)
			p->skipped = f->skipped;
	}
	for (uint32_t j = 0; j < cfg->num; j++)
		rdu_flow_queue(f, f->prog[f->s->order[cfg->first + j]].actor);
}

double rdu_skip_units(const struct flow *f, uint32_t stage)
{
	const struct flow_prog *base = &f->prog[f->skip->stage[stage].base];

	return (double)firings(base) / (double)unit_of(f, stage, base);
}

double rdu_skip_units_of_one(const struct flow *f, uint32_t stage)
{
	return (double)f->skip->stage[stage].units;
}

uint64_t rdu_skip_units_left(const struct flow *f, uint32_t stage)
{
	return units_left(f, stage);
}

bool rdu_skip_fits(struct flow *f, uint32_t stage, uint64_t units)
{
	f->skip->stage[stage].count = units;
	return units <= units_left(f, stage) && keeps_streams(f, stage);
}

void rdu_skip_stage(struct flow *f, uint32_t stage, uint64_t units, uint64_t cycles,
		    const uint64_t *spent)
{
	f->skip->stage[stage].count = units;
	move_stage(f, stage, cycles, spent);
}

static double pace(const struct flow *f, uint32_t stage)
{
	const struct skip_stage *st = &f->skip->stage[stage];

	return (double)(st->seen[2] - st->seen[1]) / (double)(f->skip->mark[2] - f->skip->mark[1]) /
	       (double)unit_of(f, stage, &f->prog[st->base]);
}

/* Cycles that all can go on for; 0: not enough to be worth it. */
static double cycles_left(struct flow *f)
{
	double left = 1e18, longest = 0;
	uint32_t i;

	for (i = 0; i < f->s->num_stages; i++) {
		const struct skip_stage *st = &f->skip->stage[i];
		uint64_t units;

		if (!st->running)
			continue;
		units = units_left(f, i);
		if (!units)
			return 0;
		left = (double)units / pace(f, i) < left ? (double)units / pace(f, i) : left;
		longest = 1 / pace(f, i) > longest ? 1 / pace(f, i) : longest;
	}
	if (!longest)
		return 0;
	/* Whole units of the stage that has the longest. */
	left = (double)(uint64_t)(left / longest * (1 + 1e-9)) * longest;
	return left < 2 * (double)f->skip->quantum ? 0 : left;
}

/* Accounts for `cycles` in which p fires `more` times: as busy as it was all the time for
 * as many, and waiting as it has since `since` was taken. */
void rdu_skip_spend(struct flow_prog *p, uint64_t more, uint64_t cycles, const uint64_t *since)
{
	uint64_t fired = p->number * p->p->iterations + p->iteration, busy = 0, waited[4];
	double all = 0;
	int w;

	if (fired)
		busy = (uint64_t)((unsigned __int128)p->spent[WAIT_NONE] * more / fired);
	busy = min_u64(busy, cycles);
	p->spent[WAIT_NONE] += busy;
	for (w = WAIT_IN; w <= WAIT_MEM; w++) {
		waited[w] = p->spent[w] - since[w];
		all += (double)waited[w];
	}
	for (w = WAIT_IN; w <= WAIT_MEM && all > 0; w++)
		p->spent[w] += (uint64_t)((double)(cycles - busy) * (double)waited[w] / all);
}

static void move(struct flow *f, double cycles)
{
	const struct rdu_section *s = f->s;
	struct flow_skip *k = f->skip;

	if (!rdu_flow_skip(f, cycles))
		return;
	for (uint32_t i = 0; i < s->num_stages; i++)
		if (k->stage[i].running)
			move_stage(f, i, (uint64_t)cycles, k->spent);
}

static bool try_move(struct flow *f)
{
	struct flow_skip *k = f->skip;
	double cycles = cycles_left(f);

	for (int tries = 0; tries < 6 && cycles >= 2 * (double)k->quantum; tries++, cycles /= 2) {
		bool kept = true;

		for (uint32_t i = 0; i < f->s->num_stages && kept; i++) {
			struct skip_stage *st = &k->stage[i];

			if (!st->running)
				continue;
			st->count = (uint64_t)(cycles * pace(f, i) * (1 + 1e-9));
			kept = st->count && st->count <= units_left(f, i) && keeps_streams(f, i);
		}
		if (!kept)
			continue;
		move(f, cycles);
		return true;
	}
	return false;
}

/*
 * Memory decides, and which stage it favours changes: what all of them get together is
 * steady. Moves each on by the same part of what it has left, three quarters at most, so
 * that those that would end first still do.
 */
static bool move_together(struct flow *f)
{
	struct flow_skip *k = f->skip;
	double stretch = (double)(k->mark[2] - k->mark[1]), bursts = 0;
	double cycles;

	for (uint32_t i = 0; i < f->s->num_stages; i++) {
		struct skip_stage *st = &k->stage[i];
		uint64_t left;

		if (!st->running)
			continue;
		if (!in_step(f, i, false))
			return false;
		left = units_left(f, i);
		for (st->count = left * 3 / 4; st->count && !keeps_streams(f, i);)
			st->count /= 2;
		if (st->count < left / 2 || !st->count || !st->bursts)
			return false;
		bursts += (double)st->count * st->bursts / (double)st->units;
	}
	cycles = bursts * stretch / (double)(k->bursts[2] - k->bursts[1]);
	if (cycles < stretch)
		return false;
	move(f, cycles);
	return true;
}

/* Did all stages together get as many bursts, and does everyone who runs wait for some? */
static bool steady_together(const struct flow *f)
{
	const struct flow_skip *k = f->skip;
	double first = (double)(k->bursts[1] - k->bursts[0]) / (double)(k->mark[1] - k->mark[0]);
	double second = (double)(k->bursts[2] - k->bursts[1]) / (double)(k->mark[2] - k->mark[1]);

	return first > second * (1 - f->same) && first < second * (1 + f->same);
}

/* ---- one stage alone -------------------------------------------------------------- */

/* Cycles that are written down in a stage's programs and streams. */
static void shift_stage(struct flow *f, uint32_t stage, uint64_t cycles)
{
	const struct rdu_stage *cfg = &f->s->stages[stage];

	for (uint32_t j = 0; j < cfg->num; j++) {
		struct flow_prog *p = &f->prog[f->s->order[cfg->first + j]];

		p->free += cycles;
		p->end += p->end ? cycles : 0;
		for (unsigned int k = 0; k < p->num_out; k++) {
			struct flow_stream *st = &f->stream[p->out[k].index];

			p->out[k].free += cycles;
			for (uint32_t i = 0; i <= st->mask; i++)
				st->at[i] += st->at[i] ? cycles : 0;
			for (uint32_t d = 0; d < st->num_dests; d++) {
				struct flow_dest *to = &f->dest[st->first_dest + d];

				for (uint32_t i = 0; i <= to->mask; i++)
					to->at[i] += to->at[i] ? cycles : 0;
			}
		}
	}
}

/* Moves a stage that nothing outside holds up to near the end of its activation. */
static void move_alone(struct flow *f, uint32_t stage)
{
	struct skip_stage *st = &f->skip->stage[stage];
	double stretch = (double)(st->mark[2] - st->mark[1]);
	double pace = (double)(st->alone_seen[2] - st->alone_seen[1]) / stretch /
		      (double)unit_of(f, stage, &f->prog[st->base]);
	uint64_t cycles;

	st->count = units_left(f, stage);
	while (st->count && !keeps_streams(f, stage))
		st->count /= 2;
	if ((double)st->count < 2 * stretch * pace)
		return;
	if ((double)st->count / pace > RDU_TIMING_CYCLES) {
		f->failed = f->too_long = true;
		return;
	}
	cycles = (uint64_t)((double)st->count / pace + 0.5);
	move_stage(f, stage, cycles, NULL);
	shift_stage(f, stage, cycles);
	f->alone_until = f->now + cycles > f->alone_until ? f->now + cycles : f->alone_until;
}

static void mark_alone(struct flow *f, uint32_t stage)
{
	struct skip_stage *st = &f->skip->stage[stage];
	const struct rdu_stage *cfg = &f->s->stages[stage];

	if (!st->marks)
		for (uint32_t j = 0; j < cfg->num; j++) {
			struct flow_prog *p = &f->prog[f->s->order[cfg->first + j]];

			memcpy(p->spent_alone, p->spent, sizeof(p->spent));
			p->fired_alone = firings(p);
		}
	st->mark[st->marks] = f->now;
	st->alone_seen[st->marks++] = firings(&f->prog[st->base]);
	st->next = f->now + STRETCH;
}

/* Three stretches: the first to settle, two that have to agree. */
static void look_alone(struct flow *f, uint32_t stage)
{
	struct skip_stage *st = &f->skip->stage[stage];
	double first, second;

	if (f->stage_events[stage] != st->events) {
		st->events = f->stage_events[stage];
		st->marks = 0;
		st->next = f->now + STRETCH;
		return;
	}
	if (f->now < st->next)
		return;
	mark_alone(f, stage);
	if (st->marks < 3)
		return;
	first = (double)(st->alone_seen[1] - st->alone_seen[0]) /
		(double)(st->mark[1] - st->mark[0]);
	second = (double)(st->alone_seen[2] - st->alone_seen[1]) /
		 (double)(st->mark[2] - st->mark[1]);
	st->marks = 0;
	if (second > 0 && first < second * (1 + f->same) && second < first * (1 + f->same) &&
	    in_step(f, stage, true))
		move_alone(f, stage);
}

/* ---- watching -------------------------------------------------------------------- */

static void mark(struct flow *f)
{
	struct flow_skip *k = f->skip;

	if (k->marks) /* what is at the newest mark now will be the one before */
		for (uint32_t i = 0; i < f->s->hdr->programs.count; i++)
			memcpy(&k->spent[4 * i], f->prog[i].spent_at_mark,
			       sizeof(f->prog[i].spent_at_mark));
	for (uint32_t i = 0; i < f->s->hdr->programs.count; i++) {
		struct flow_prog *p = &f->prog[i];

		memcpy(p->spent_at_mark, p->spent, sizeof(p->spent));
		p->fired[0] = p->fired[1];
		p->fired[1] = firings(p);
	}
	for (uint32_t i = 0; i < f->s->num_stages; i++) {
		struct skip_stage *st = &k->stage[i];

		st->seen[0] = st->seen[1];
		st->seen[1] = st->seen[2];
		st->seen[2] = firings(&f->prog[st->base]);
	}
	k->mark[0] = k->mark[1];
	k->mark[1] = k->mark[2];
	k->mark[2] = f->now;
	k->bursts[0] = k->bursts[1];
	k->bursts[1] = k->bursts[2];
	k->bursts[2] = f->bursts;
	k->marks++;
	k->next = f->now + (k->marks < 3 ? k->quantum : f->now - k->from);
}

static void restart(struct flow *f, bool busy)
{
	struct flow_skip *k = f->skip;

	k->events = f->events;
	k->from = f->now;
	k->marks = 0;
	k->quantum = STRETCH;
	if (busy)
		k->quantum = rdu_memory_refresh_cycles(f->memory);
	k->next = f->now + k->quantum;
}

static bool steady(struct flow *f)
{
	struct flow_skip *k = f->skip;
	double first = (double)(k->mark[1] - k->mark[0]),
	       second = (double)(k->mark[2] - k->mark[1]);
	bool any = false, same = true;

	for (uint32_t i = 0; i < f->s->num_stages; i++) {
		struct skip_stage *st = &k->stage[i];
		double before = (double)(st->seen[1] - st->seen[0]) / first * second;
		double now = (double)(st->seen[2] - st->seen[1]);
		double unit = (double)unit_of(f, i, &f->prog[st->base]);

		st->running = now > 0;
		if (!st->running && before <= 0)
			continue;
		any = true;
		same = same && in_step(f, i, false);
		if (before < now * (1 - f->same) || before > now * (1 + f->same) || now < 2 * unit)
			same = false;
	}
	return any && same;
}

void rdu_skip_look(struct flow *f)
{
	struct flow_skip *k = f->skip;
	double busy;

	if (f->now < ALWAYS || rdu_trend_look(f))
		return;
	f->same = LOOSE;
	if ((double)f->work < LOOSE_STEPS)
		f->same = SAME + (double)f->work / LOOSE_STEPS * (LOOSE - SAME);
	for (uint32_t i = 0; i < f->s->num_stages; i++)
		if (k->stage[i].alone)
			look_alone(f, i);
	if (f->events != k->events && rdu_parts_look(f)) {
		restart(f, k->busy);
		return;
	}
	if (f->events != k->events || f->alone_until > f->now) {
		restart(f, k->busy);
		return;
	}
	if (f->now < k->next)
		return;
	mark(f);
	if (k->marks < 3)
		return;
	busy = (double)(k->bursts[2] - k->bursts[1]) /
	       (k->burst_rate * (double)(k->mark[2] - k->mark[1]));
	k->busy = busy > BUSY;
	if (k->busy && k->quantum == STRETCH) {
		restart(f, true);
		return;
	}
	if ((steady(f) && try_move(f)) ||
	    (busy > 2 * BUSY && steady_together(f) && move_together(f)))
		restart(f, busy > BUSY);
}
