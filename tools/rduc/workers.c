// SPDX-License-Identifier: MIT
#include <fenv.h>
#include <pthread.h>
#include "fabric.h"
#include "mem.h"
#include "workers.h"

struct workers {
	pthread_mutex_t lock;
	pthread_cond_t given, done;
	struct work *first; /* of those that wait */
	bool quit;
	int num;
	pthread_t thread[];
};

/* Takes it out of those that wait. */
static void take_out(struct workers *ws, struct work *w)
{
	struct work **at = &ws->first;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
}

/* The caller holds the lock. */
static void run(struct workers *ws, struct work *w)
{
	take_out(ws, w);
	w->state = WORK_RUNS;
	pthread_mutex_unlock(&ws->lock);
	w->run(w);
	pthread_mutex_lock(&ws->lock);
	w->state = WORK_DONE;
	pthread_cond_broadcast(&ws->done);
}

static void *work(void *arg)
{
	struct workers *ws = arg;

	fesetenv(FE_DFL_ENV);
	pthread_mutex_lock(&ws->lock);
	while (!ws->quit) {
		if (ws->first)
			run(ws, ws->first);
		else
			pthread_cond_wait(&ws->given, &ws->lock);
	}
	pthread_mutex_unlock(&ws->lock);
	return NULL;
}

static void stop(void *arg)
{
	struct workers *ws = arg;

	pthread_mutex_lock(&ws->lock);
	ws->quit = true;
	pthread_cond_broadcast(&ws->given);
	pthread_mutex_unlock(&ws->lock);
	for (int i = 0; i < ws->num; i++)
		pthread_join(ws->thread[i], NULL);
	pthread_cond_destroy(&ws->done);
	pthread_cond_destroy(&ws->given);
	pthread_mutex_destroy(&ws->lock);
}

struct workers *workers_new(int threads)
{
	struct workers *ws;

	if (threads < 1)
		return NULL;
	ws = xcalloc(1, sizeof(*ws) + (size_t)threads * sizeof(ws->thread[0]));
	pthread_mutex_init(&ws->lock, NULL);
	pthread_cond_init(&ws->given, NULL);
	pthread_cond_init(&ws->done, NULL);
	heap_on_leave(stop, ws);
	while (ws->num < threads && !rdu_thread_start(&ws->thread[ws->num], work, ws))
		ws->num++;
	return ws;
}

void workers_free(struct workers *ws)
{
	if (!ws)
		return;
	heap_on_leave(NULL, NULL);
	stop(ws);
	free(ws);
}

int workers_num(const struct workers *ws)
{
	return ws ? ws->num : 0;
}

void workers_give(struct workers *ws, struct work *w)
{
	struct work **at = &ws->first;

	pthread_mutex_lock(&ws->lock);
	while (*at)
		at = &(*at)->next;
	w->next = NULL;
	w->state = WORK_WAITS;
	*at = w;
	pthread_cond_signal(&ws->given);
	pthread_mutex_unlock(&ws->lock);
}

static void wait_for(struct workers *ws, struct work *w)
{
	while (w->state == WORK_RUNS)
		pthread_cond_wait(&ws->done, &ws->lock);
}

void workers_take(struct workers *ws, struct work *w)
{
	pthread_mutex_lock(&ws->lock);
	if (w->state == WORK_WAITS)
		run(ws, w);
	while (w->state == WORK_RUNS && ws->first)
		run(ws, ws->first);
	wait_for(ws, w);
	pthread_mutex_unlock(&ws->lock);
}

void workers_drop(struct workers *ws, struct work *w)
{
	pthread_mutex_lock(&ws->lock);
	if (w->state == WORK_WAITS)
		take_out(ws, w);
	wait_for(ws, w);
	w->state = WORK_NEW;
	pthread_mutex_unlock(&ws->lock);
}
