// SPDX-License-Identifier: MIT
/* Running a section: waves of activations, in the order the tokens give. */
#include <fenv.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "execute.h"

#define SMALL_WAVE 1500 /* vectors: less is not worth waking threads for */

struct task {
	uint32_t island;
	uint64_t activation, cost;
};

struct wave {
	struct run_state *st;
	const struct task *tasks;
	uint32_t num, num_serial; /* serial tasks come first and go together */
	struct fab_fault *faults;
};

static int by_cost(const void *pa, const void *pb)
{
	const struct task *a = pa, *b = pb;

	if (a->cost != b->cost)
		return a->cost > b->cost ? -1 : 1;
	return a->island < b->island ? -1 : a->island > b->island;
}

static void run_task(void *arg, uint32_t i, struct arena *arena)
{
	struct wave *w = arg;
	uint32_t from = i, to = i + 1;

	if (w->num_serial) {
		from = i ? i + w->num_serial - 1 : 0;
		to = i ? from + 1 : w->num_serial;
	}
	for (; from < to; from++) {
		const struct task *t = &w->tasks[from];

		if (!rdu_island_run(w->st, &w->st->plan->islands[t->island], t->activation, arena,
				    &w->faults[from]))
			return;
	}
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

static bool run_wave(struct wave *w, struct rdu_pool *pool, struct arena *arena, uint64_t cost)
{
	uint32_t n = w->num - (w->num_serial ? w->num_serial - 1 : 0), i;

	memset(w->faults, 0, w->num * sizeof(*w->faults));
	rdu_pool_run(cost < SMALL_WAVE ? NULL : pool, n, run_task, w, arena);
	for (i = 0; i < w->num; i++)
		if (w->faults[i].code)
			return false;
	return true;
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

static int run_section(struct run_state *st, struct fab_fault *fault)
{
	const struct rdu_section *s = st->section;
	const struct rdu_plan *plan = st->plan;
	bool serial = segments_overlap(s, st->run);
	struct task *tasks = calloc((size_t)plan->num_islands + 1, sizeof(*tasks));
	struct fab_fault *faults = calloc((size_t)plan->num_islands + 1, sizeof(*faults));
	uint32_t *ready = calloc((size_t)s->num_stages + 1, sizeof(*ready)), num, i, k;
	struct arena *arena = rdu_pool_arena(st->run->pool);
	int ret = -1;

	if (!tasks || !faults || !ready || !arena) {
		rdu_trouble(fault, RDU_FAULT_INTERNAL, 0, 0);
		goto out;
	}
	for (;;) {
		struct wave w = { .st = st, .tasks = tasks, .faults = faults };
		uint64_t cost = 0;

		num = 0;
		for (i = 0; i < s->num_stages; i++)
			if (rdu_tokens_ready(s, st->count, st->done, i))
				ready[num++] = i;
		if (!num)
			break;
		/* Serial islands first, both kinds in the plan's order. */
		for (int want = 1; want >= 0; want--) {
			for (i = 0; i < num; i++) {
				for (k = plan->first_island[ready[i]];
				     k < plan->first_island[ready[i] + 1]; k++) {
					const struct island *il = &plan->islands[k];

					if ((il->serial || serial) != (bool)want)
						continue;
					tasks[w.num++] =
						(struct task){ k, st->done[ready[i]], il->cost };
					cost += il->cost;
				}
			}
			if (want)
				w.num_serial = w.num;
		}
		/* The long ones first, so that threads end together. */
		qsort(tasks + w.num_serial, w.num - w.num_serial, sizeof(*tasks), by_cost);
		for (i = 0; i < num; i++)
			rdu_tokens_take(s, st->count, st->done, ready[i]);
		if (!run_wave(&w, st->run->pool, arena, cost)) {
			for (i = 0; !faults[i].code; i++)
				;
			*fault = faults[i];
			goto out;
		}
		for (i = 0; i < num; i++) {
			const struct rdu_stage *stage = &s->stages[ready[i]];

			for (k = 0; k < stage->num; k++) {
				uint32_t p = s->order[stage->first + k];
				const struct access_plan *a = &plan->programs[p].access;

				if (a->pmu && rdu_pattern_at_last(&a->flips, st->done[ready[i]]))
					st->copy[p]++;
			}
			rdu_tokens_give(s, st->count, st->done, ready[i]);
		}
		if (rdu_give_up(st->run->stop, st->run->deadline_ns)) {
			rdu_trouble(fault, RDU_FAULT_WATCHDOG, 0, 0);
			goto out;
		}
	}
	ret = 0;
out:
	free(tasks);
	free(faults);
	free(ready);
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
