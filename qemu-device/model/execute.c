// SPDX-License-Identifier: MIT
/*
 * Running a section: a stage starts its next activation as soon as its tokens are there, and
 * the islands of all activations that run are tasks of one stack, for any thread.
 *
 * What is seen of a run must not depend on the threads. Buffers are ordered by tokens (the
 * validator sees to it). For the rest there is one *fixed order* of activations, which the
 * tokens alone give: in rounds, every stage that is ready once, by number. Islands that share
 * memory run in that order, and of several faults the first in it is the section's.
 *
 * A task is islands of one activation, as many as are worth being handed out.
 */
#include <fenv.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "execute.h"

#define SMALL_WORK 1500 /* vectors: less is not worth waking a thread for */
#define LOOK_WORK 10000 /* vectors, about 100 microseconds: until the clock is looked at */
#define SPINS 600 /* about 10 microseconds before a thread sleeps */
#define LOCK_SPINS 50
#define TASK_WORK 500 /* vectors, about 5 microseconds: more islands are another task */
#define ISLAND_WORK 50 /* vectors: what it costs to begin one */
/* As an island: those of the stage that are serial, in the plan's order. */
#define SERIAL 0xffffffffu

struct task {
	uint32_t stage, island, end; /* islands, up to before the end */
};

/* The fixed order: at its next activation, or at its end. */
struct order {
	const struct rdu_section *section;
	uint64_t *count, *done; /* tokens, before the round */
	uint32_t *round, num, at; /* stages of the round; the next of them */
};

struct section_run {
	struct run_state *st;
	bool all_serial;
	pthread_mutex_t lock; /* for all that follows, and tokens and copies of *st */
	pthread_cond_t posted_more;
	atomic_uint posted; /* tasks so far: changes tell threads that wait */
	/* The last one in is the first one out: who takes what has just been written finds it in the caches. No
	 * island is in it twice. */
	struct task *queue;
	uint32_t room, num;
	uint64_t queued_cost;
	uint32_t *left; /* tasks of each stage's activation that runs; 0: none runs */
	uint64_t *limit; /* activations each stage may start: fewer after a fault */
	uint32_t running, waiting; /* tasks; threads */
	struct order order; /* at the next activation that has serial islands */
	bool serial_turn; /* there is one */
	struct fab_fault fault; /* the first in the fixed order, so far ... */
	struct task fault_at; /* ... of this stage's next activation */
};

static bool order_start(struct order *o, const struct rdu_section *s)
{
	o->section = s;
	o->num = o->at = 0;
	o->count = calloc((size_t)s->num_edges + s->num_stages + 1, sizeof(*o->count));
	o->round = calloc((size_t)s->num_stages + 1, sizeof(*o->round));
	if (!o->count || !o->round)
		return false;
	o->done = o->count + s->num_edges;
	rdu_tokens_start(s, o->count, o->done);
	return true;
}

static void order_free(struct order *o)
{
	free(o->count);
	free(o->round);
}

/* The stage whose next activation (its `done`) is the next one, NULL at the end. */
static const uint32_t *order_next(struct order *o)
{
	const struct rdu_section *s = o->section;
	uint32_t i;

	if (o->at == o->num) {
		for (i = 0; i < o->num; i++)
			rdu_tokens_give(s, o->count, o->done, o->round[i]);
		o->num = o->at = 0;
		for (i = 0; i < s->num_stages; i++)
			if (rdu_tokens_ready(s, o->count, o->done, i))
				o->round[o->num++] = i;
		for (i = 0; i < o->num; i++)
			rdu_tokens_take(s, o->count, o->done, o->round[i]);
	}
	return o->num ? &o->round[o->at++] : NULL;
}

/* Segments bound to memory that overlaps, one of them stored to: their programs'
 * islands run one after another. The plan knows only of those on one segment. */
static bool segments_overlap(const struct rdu_section *s, const struct fab_run *run)
{
	uint32_t n = s->hdr->num_segments;

	for (uint32_t i = 0; i < n; i++) {
		const struct rdu_segment *a = &run->segments[i];

		if (!a->write)
			continue;
		for (uint32_t k = 0; k < n; k++) {
			const struct rdu_segment *b = &run->segments[k];

			if (i != k && (unsigned char *)a->ptr < (unsigned char *)b->ptr + b->size &&
			    (unsigned char *)b->ptr < (unsigned char *)a->ptr + a->size)
				return true;
		}
	}
	return false;
}

uint64_t rdu_monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

bool rdu_give_up(const _Atomic bool *stop, uint64_t deadline_ns)
{
	return (stop && *stop) || (deadline_ns && rdu_monotonic_ns() > deadline_ns);
}

/* ---- tasks ------------------------------------------------------------------ */

static bool is_serial(const struct section_run *r, uint32_t island)
{
	return r->all_serial || r->st->plan->islands[island].serial;
}

static uint64_t cost_of(const struct section_run *r, struct task t)
{
	const struct rdu_plan *plan = r->st->plan;
	uint64_t cost = 0;

	if (t.island != SERIAL) {
		for (uint32_t k = t.island; k < t.end; k++)
			cost += plan->islands[k].cost;
		return cost;
	}
	for (uint32_t k = plan->first_island[t.stage]; k < plan->first_island[t.stage + 1]; k++)
		cost += is_serial(r, k) ? plan->islands[k].cost : 0;
	return cost;
}

static void post(struct section_run *r, uint32_t stage, uint32_t island, uint32_t end)
{
	struct task t = { stage, island, end };

	r->queue[r->num++] = t;
	r->queued_cost += cost_of(r, t);
	atomic_fetch_add(&r->posted, 1);
}

/* Is it the turn of the serial islands of the stage's activation? */
static bool has_turn(const struct section_run *r, uint32_t stage)
{
	const struct order *o = &r->order;

	return r->serial_turn && o->round[o->at - 1] == stage &&
	       o->done[stage] == r->st->done[stage];
}

/* Gives the turn to the next activation with serial islands; they are posted if it runs. */
static void pass_turn(struct section_run *r)
{
	const struct rdu_plan *plan = r->st->plan;
	const uint32_t *next = NULL;

	r->serial_turn = false;
	while (!r->serial_turn && (next = order_next(&r->order)))
		for (uint32_t k = plan->first_island[*next]; k < plan->first_island[*next + 1]; k++)
			r->serial_turn |= is_serial(r, k);
	if (r->serial_turn && r->left[*next] && has_turn(r, *next))
		post(r, *next, SERIAL, SERIAL);
}

/* Starts the stage's next activation if its tokens are there. */
static void start_if_ready(struct section_run *r, uint32_t stage)
{
	struct run_state *st = r->st;
	const struct rdu_plan *plan = st->plan;
	uint32_t from = plan->first_island[stage], k;
	uint64_t work = 0; /* of islands from there */
	bool serial = false;

	if (r->left[stage] || st->done[stage] >= r->limit[stage] ||
	    !rdu_tokens_ready(st->section, st->count, st->done, stage))
		return;
	rdu_tokens_take(st->section, st->count, st->done, stage);
	for (k = from; k <= plan->first_island[stage + 1]; k++) {
		bool more = k < plan->first_island[stage + 1] && !is_serial(r, k);

		if (from < k && (!more || work >= TASK_WORK)) {
			r->left[stage]++;
			post(r, stage, from, k);
			from = k;
			work = 0;
		}
		if (more) {
			work += plan->islands[k].cost + ISLAND_WORK;
		} else if (k < plan->first_island[stage + 1]) {
			serial = true;
			from = k + 1;
		}
	}
	if (serial || !r->left[stage]) {
		r->left[stage]++;
		if (!serial || has_turn(r, stage))
			post(r, stage, SERIAL, SERIAL);
	}
}

static void end_activation(struct section_run *r, uint32_t stage)
{
	struct run_state *st = r->st;
	const struct rdu_plan *plan = st->plan;
	const struct rdu_section *s = st->section;
	const struct rdu_stage *g = &s->stages[stage];

	for (uint32_t k = plan->first_turning[stage]; k < plan->first_turning[stage + 1]; k++) {
		uint32_t p = plan->turning[k];

		if (rdu_pattern_at_last(&plan->programs[p].access.flips, st->done[stage]))
			st->copy[p]++;
	}
	rdu_tokens_give(s, st->count, st->done, stage);
	start_if_ready(r, stage);
	for (uint32_t i = 0; i < g->num_out; i++)
		start_if_ready(r, s->edges[s->edge_out[g->first_out + i]].dst);
}

/* ---- faults ----------------------------------------------------------------- */

/* Keeps the fault if it is the first one so far; what comes after it is not started any more. */
static void take_fault(struct section_run *r, struct task t, const struct fab_fault *fault)
{
	struct run_state *st = r->st;
	const uint32_t *next;
	struct order o;

	if (r->fault.code && r->fault_at.stage == t.stage) {
		if (t.island > r->fault_at.island)
			return;
	} else if (st->done[t.stage] >= r->limit[t.stage]) {
		return;
	}
	r->fault = *fault;
	r->fault_at = t;
	memset(r->limit, 0, st->section->num_stages * sizeof(*r->limit));
	if (order_start(&o, st->section)) {
		do {
			next = order_next(&o);
		} while (next && (*next != t.stage || o.done[t.stage] != st->done[t.stage]));
		memcpy(r->limit, o.done, st->section->num_stages * sizeof(*r->limit));
		for (uint32_t i = 0; next && &o.round[i] != next; i++)
			r->limit[o.round[i]]++;
	}
	order_free(&o);
}

/* ---- threads ---------------------------------------------------------------- */

/* cost: what it costs is added, something for each. */
static struct task take_task(struct section_run *r, uint64_t *cost)
{
	struct task t = r->queue[--r->num];
	uint64_t its = cost_of(r, t);

	r->queued_cost -= its;
	*cost += its + 1;
	return t;
}

/* look: at the clock, after it. On a fault the task begins with the island that has it. */
static void run_task(struct section_run *r, struct task *t, struct arena *arena, bool look,
		     struct fab_fault *fault)
{
	struct run_state *st = r->st;
	const struct rdu_plan *plan = st->plan;
	uint64_t activation = st->done[t->stage];

	if (t->island == SERIAL) {
		for (uint32_t k = plan->first_island[t->stage];
		     k < plan->first_island[t->stage + 1]; k++)
			if (is_serial(r, k) &&
			    !rdu_island_run(st, &plan->islands[k], activation, arena, fault))
				return;
	} else {
		for (; t->island < t->end; t->island++)
			if (!rdu_island_run(st, &plan->islands[t->island], activation, arena,
					    fault))
				return;
	}
	if (rdu_give_up(st->run->stop, look ? st->run->deadline_ns : 0))
		rdu_trouble(fault, RDU_FAULT_WATCHDOG, 0, 0);
}

/* It is never held for long, and to sleep takes longer; unless who holds it was sent to sleep. */
static void take_lock(struct section_run *r)
{
	for (int i = 0; i < LOCK_SPINS; i++) {
		if (!pthread_mutex_trylock(&r->lock))
			return;
		rdu_relax();
	}
	pthread_mutex_lock(&r->lock);
}

/* With the lock held, given up meanwhile: until there may be a task, or none comes any more. */
static void wait_for_task(struct section_run *r)
{
	unsigned int seen = atomic_load(&r->posted);

	pthread_mutex_unlock(&r->lock);
	for (int i = 0; i < SPINS && atomic_load(&r->posted) == seen; i++)
		rdu_relax();
	take_lock(r);
	if (r->num || !r->running)
		return;
	r->waiting++;
	pthread_cond_wait(&r->posted_more, &r->lock);
	r->waiting--;
}

/* What each thread does, until all tasks are done. */
static void run_tasks(void *arg, uint32_t thread, struct arena *arena)
{
	struct section_run *r = arg;
	uint64_t cost = 0; /* since the clock was looked at */

	(void)thread;
	take_lock(r);
	while (r->num || r->running) {
		struct fab_fault fault = { 0 };
		struct task t;

		if (!r->num) {
			wait_for_task(r);
			continue;
		}
		t = take_task(r, &cost);
		if (r->fault.code && r->fault_at.stage != t.stage &&
		    r->st->done[t.stage] >= r->limit[t.stage])
			continue;
		if (r->waiting && r->queued_cost >= SMALL_WORK)
			pthread_cond_signal(&r->posted_more);
		r->running++;
		pthread_mutex_unlock(&r->lock);
		run_task(r, &t, arena, cost >= LOOK_WORK, &fault);
		cost = cost >= LOOK_WORK ? 0 : cost;
		take_lock(r);
		r->running--;
		if (fault.code) {
			take_fault(r, t, &fault);
			continue;
		}
		if (t.island == SERIAL && has_turn(r, t.stage))
			pass_turn(r);
		if (!--r->left[t.stage])
			end_activation(r, t.stage);
	}
	/* The last one out tells the others. */
	atomic_fetch_add(&r->posted, 1);
	pthread_cond_broadcast(&r->posted_more);
	pthread_mutex_unlock(&r->lock);
}

static int run_section(struct run_state *st, struct fab_fault *fault)
{
	const struct rdu_section *s = st->section;
	const struct rdu_plan *plan = st->plan;
	struct section_run r = { .st = st,
				 .all_serial = segments_overlap(s, st->run),
				 .room = plan->num_islands + s->num_stages + 1 };
	struct rdu_pool *pool = st->run->pool;
	struct arena *arena = rdu_pool_arena(pool);
	bool any_serial = false;
	uint64_t cost = 0;
	uint32_t i;
	int ret = -1;

	pthread_mutex_init(&r.lock, NULL);
	pthread_cond_init(&r.posted_more, NULL);
	r.queue = calloc(r.room, sizeof(*r.queue));
	r.left = calloc((size_t)s->num_stages + 1, sizeof(*r.left));
	r.limit = malloc(((size_t)s->num_stages + 1) * sizeof(*r.limit));
	if (!order_start(&r.order, s) || !r.queue || !r.left || !r.limit || !arena) {
		rdu_trouble(fault, RDU_FAULT_INTERNAL, 0, 0);
		goto out;
	}
	memset(r.limit, 0xff, ((size_t)s->num_stages + 1) * sizeof(*r.limit));
	for (i = 0; i < plan->num_islands; i++) {
		any_serial |= is_serial(&r, i);
		cost += plan->islands[i].cost * s->stages[plan->islands[i].stage].activations;
	}
	rdu_plan_fetch(plan);
	if (any_serial)
		pass_turn(&r);
	for (i = 0; i < s->num_stages; i++)
		start_if_ready(&r, i);
	if (cost < 2 * SMALL_WORK)
		pool = NULL;
	rdu_pool_run(pool, rdu_pool_threads(pool), run_tasks, &r, arena);
	*fault = r.fault;
	ret = r.fault.code ? -1 : 0;
out:
	order_free(&r.order);
	free(r.queue);
	free(r.left);
	free(r.limit);
	pthread_mutex_destroy(&r.lock);
	pthread_cond_destroy(&r.posted_more);
	if (arena)
		rdu_pool_arena_back(st->run->pool, arena);
	return ret;
}

static const struct rdu_plan *get_plan(struct rdu_section *s)
{
	pthread_mutex_lock(&s->lock);
	if (!s->plan)
		s->plan = rdu_plan_new(s);
	pthread_mutex_unlock(&s->lock);
	return s->plan;
}

int rdu_section_execute(struct rdu_section *section, const struct fab_run *run,
			struct fab_fault *fault)
{
	struct run_state st = { .run = run };
	struct rdu_cfg_diag diag;
	struct rdu_section *s = rdu_section_resolve(section, run->scalars, &diag);
	size_t words, n;
	fenv_t env;
	int ret = -1;

	memset(fault, 0, sizeof(*fault));
	if (!s) {
		rdu_trouble(fault, RDU_FAULT_CONFIG, 0, diag.offset);
		fault->info = diag.error;
		return -1;
	}
	st.section = s;
	st.plan = get_plan(s);
	if (!st.plan) {
		rdu_trouble(fault, RDU_FAULT_INTERNAL, 0, 0);
		return -1;
	}
	n = s->hdr->programs.count;
	words = st.plan->state_words;
	st.count = calloc((size_t)s->num_edges + s->num_stages + 1, sizeof(*st.count));
	st.copy = calloc(n + words + 1, sizeof(*st.copy));
	if (st.count && st.copy) {
		st.done = st.count + s->num_edges;
		st.words = st.copy + n;
		rdu_tokens_start(s, st.count, st.done);
		fegetenv(&env);
		fesetenv(FE_DFL_ENV);
		ret = run_section(&st, fault);
		fesetenv(&env);
	} else {
		rdu_trouble(fault, RDU_FAULT_INTERNAL, 0, 0);
	}
	free(st.count);
	free(st.copy);
	return ret;
}
