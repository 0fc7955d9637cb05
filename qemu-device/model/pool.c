// SPDX-License-Identifier: MIT
/* Threads for islands: one job at a time, its tasks taken by whoever is free. */
#include <fenv.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "execute.h"

#define SPINS 600 /* about 10 microseconds before a thread sleeps */

struct worker {
	struct rdu_pool *pool;
	pthread_t thread;
	struct arena arena;
};

struct kept {
	struct arena arena;
	struct kept *next;
};

struct rdu_pool {
	pthread_mutex_t owner; /* held by who has a job running */
	pthread_mutex_t lock;
	pthread_cond_t work;
	atomic_uint job; /* number of the job: changes wake the threads */
	atomic_uint next; /* next task */
	atomic_bool open; /* there may be tasks left: threads may come in */
	atomic_uint inside; /* threads in the job, its owner not counted */
	atomic_bool quit;
	uint32_t num_tasks;
	void (*fn)(void *arg, uint32_t task, struct arena *arena);
	void *arg;
	struct kept *kept; /* arenas of callers, between their runs */
	unsigned int num_workers;
	struct worker workers[];
};

static void do_tasks(struct rdu_pool *pool, struct arena *arena)
{
	uint32_t i;

	while ((i = atomic_fetch_add(&pool->next, 1)) < pool->num_tasks)
		pool->fn(pool->arg, i, arena);
}

int rdu_thread_start(pthread_t *thread, void *(*fn)(void *arg), void *arg)
{
	sigset_t all, old;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(thread, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return error;
}

static void *worker_main(void *opaque)
{
	struct worker *w = opaque;
	struct rdu_pool *pool = w->pool;
	unsigned int seen = 0;

	fesetenv(FE_DFL_ENV);
	for (;;) {
		for (int i = 0; i < SPINS && atomic_load(&pool->job) == seen; i++)
			rdu_relax();
		if (atomic_load(&pool->job) == seen) {
			pthread_mutex_lock(&pool->lock);
			while (atomic_load(&pool->job) == seen)
				pthread_cond_wait(&pool->work, &pool->lock);
			pthread_mutex_unlock(&pool->lock);
		}
		seen = atomic_load(&pool->job);
		if (atomic_load(&pool->quit))
			return NULL;
		/* Who comes after the owner has closed touches nothing; who comes before is
		 * waited for. (A late one may be let into the next job: that is as good.) */
		atomic_fetch_add(&pool->inside, 1);
		if (atomic_load(&pool->open))
			do_tasks(pool, &w->arena);
		atomic_fetch_sub(&pool->inside, 1);
	}
}

static void wake(struct rdu_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	atomic_fetch_add(&pool->job, 1);
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
}

struct rdu_pool *rdu_pool_new(unsigned int threads)
{
	struct rdu_pool *pool;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (!threads)
		threads = cpus > 0 ? (unsigned int)cpus : 1;
	if (threads > RDU_POOL_MAX)
		threads = RDU_POOL_MAX;
	pool = calloc(1, sizeof(*pool) + threads * sizeof(pool->workers[0]));
	if (!pool)
		return NULL;
	pthread_mutex_init(&pool->owner, NULL);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	/* The caller of a job is one of them. */
	for (unsigned int i = 0; i + 1 < threads; i++) {
		struct worker *w = &pool->workers[i];

		w->pool = pool;
		if (rdu_thread_start(&w->thread, worker_main, w))
			break;
		pool->num_workers++;
	}
	return pool;
}

struct arena *rdu_pool_arena(struct rdu_pool *pool)
{
	struct kept *k = NULL;

	if (pool) {
		pthread_mutex_lock(&pool->lock);
		k = pool->kept;
		if (k)
			pool->kept = k->next;
		pthread_mutex_unlock(&pool->lock);
	}
	if (!k)
		k = calloc(1, sizeof(*k));
	return k ? &k->arena : NULL;
}

void rdu_pool_arena_back(struct rdu_pool *pool, struct arena *arena)
{
	struct kept *k = (struct kept *)arena; /* its first member */

	if (!pool) {
		rdu_arena_free(arena);
		free(k);
		return;
	}
	pthread_mutex_lock(&pool->lock);
	k->next = pool->kept;
	pool->kept = k;
	pthread_mutex_unlock(&pool->lock);
}

void rdu_pool_free(struct rdu_pool *pool)
{
	if (!pool)
		return;
	atomic_store(&pool->quit, true);
	wake(pool);
	for (unsigned int i = 0; i < pool->num_workers; i++) {
		pthread_join(pool->workers[i].thread, NULL);
		rdu_arena_free(&pool->workers[i].arena);
	}
	while (pool->kept) {
		struct kept *k = pool->kept;

		pool->kept = k->next;
		rdu_pool_arena_back(NULL, &k->arena);
	}
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	pthread_mutex_destroy(&pool->owner);
	free(pool);
}

uint32_t rdu_pool_threads(const struct rdu_pool *pool)
{
	return pool ? pool->num_workers + 1 : 1;
}

void rdu_pool_run(struct rdu_pool *pool, uint32_t n,
		  void (*fn)(void *arg, uint32_t task, struct arena *arena), void *arg,
		  struct arena *own)
{
	if (n < 2 || !pool || !pool->num_workers || pthread_mutex_trylock(&pool->owner)) {
		for (uint32_t i = 0; i < n; i++)
			fn(arg, i, own);
		return;
	}
	pool->num_tasks = n;
	pool->fn = fn;
	pool->arg = arg;
	atomic_store(&pool->next, 0);
	atomic_store(&pool->open, true);
	wake(pool);
	do_tasks(pool, own);
	atomic_store(&pool->open, false);
	/* Tasks are long next to a switch of threads: yield when it takes long. */
	for (int i = 0; atomic_load(&pool->inside); i++) {
		rdu_relax();
		if (i > SPINS)
			sched_yield();
	}
	pthread_mutex_unlock(&pool->owner);
}
