/* SPDX-License-Identifier: MIT */
/*
 * Threads that find out beforehand what the compile is about to ask. What they do depends on what it is given
 * alone, and the compile takes it as if it had done it itself: what comes out is the same for any number.
 */
#ifndef RDUC_WORKERS_H
#define RDUC_WORKERS_H

struct work {
	void (*run)(struct work *w); /* by some thread, outside of the compile's heap */
	enum { WORK_NEW, WORK_WAITS, WORK_RUNS, WORK_DONE } state; /* the workers' */
	struct work *next;
};

struct workers;

/* So many threads; NULL: none. They end when the compile is left. */
struct workers *workers_new(int threads);
/* Takes NULL. What runs is waited for. */
void workers_free(struct workers *ws);
/* How many there are; NULL: none. */
int workers_num(const struct workers *ws);
/* To be done behind all that was given before. It stays where it is until workers_take() or _drop(). */
void workers_give(struct workers *ws, struct work *w);
/* Comes back when it is done: by this thread, if nobody had begun; if somebody has, this thread does what else
 * waits meanwhile. */
void workers_take(struct workers *ws, struct work *w);
/* Nobody wants it any more: if it runs, comes back when it has ended. */
void workers_drop(struct workers *ws, struct work *w);

#endif
