// SPDX-License-Identifier: MIT
/*
 * The line is printed by a thread, so that it comes, and its seconds count, in the middle of a
 * long pass too. Where everything is wanted it is printed at once, and there is no thread.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "mem.h"
#include "display.h"

#define FIRST_MS 2000 /* who is done before says nothing */
#define REWRITE_MS 250 /* on a terminal */
#define LINE_MS 5000 /* elsewhere */
#define WIDTH 78

struct display {
	enum display_when when;
	bool terminal;
	bool shown; /* a terminal's line is there */
	bool done;
	char text[256];
	struct timespec start;
	bool has_thread;
	pthread_t thread;
	pthread_mutex_t lock; /* of all that is above */
	pthread_cond_t wake;
};

static void print(struct display *p)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	fprintf(stderr, p->terminal ? "\r\033[Krduc: %4lld s  %.*s" : "rduc: %4lld s  %.*s\n",
		(long long)(now.tv_sec - p->start.tv_sec), p->terminal ? WIDTH - 14 : 255, p->text);
	fflush(stderr);
	p->shown = p->terminal;
}

static void hide(struct display *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	fflush(stderr);
	p->shown = false;
}

static void add_ms(struct timespec *t, long ms)
{
	t->tv_sec += ms / 1000;
	t->tv_nsec += ms % 1000 * 1000000;
	if (t->tv_nsec >= 1000000000) {
		t->tv_nsec -= 1000000000;
		t->tv_sec++;
	}
}

static void *watch(void *arg)
{
	struct display *p = arg;
	struct timespec next = p->start;

	add_ms(&next, FIRST_MS);
	pthread_mutex_lock(&p->lock);
	while (!p->done) {
		if (!pthread_cond_timedwait(&p->wake, &p->lock, &next))
			continue; /* done, or woken by nothing */
		if (p->text[0])
			print(p);
		add_ms(&next, p->terminal ? REWRITE_MS : LINE_MS);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

struct display *display_new(enum display_when when)
{
	struct display *p;
	pthread_condattr_t attr;

	if (when == DISPLAY_NEVER)
		return NULL;
	p = xcalloc(1, sizeof(*p));
	p->when = when;
	p->terminal = isatty(STDERR_FILENO);
	clock_gettime(CLOCK_MONOTONIC, &p->start);
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wake, &attr);
	pthread_condattr_destroy(&attr);
	/* Without a thread it is silent. */
	if (when == DISPLAY_AUTO)
		p->has_thread = !pthread_create(&p->thread, NULL, watch, p);
	return p;
}

void display_say(struct display *p, const char *what)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	snprintf(p->text, sizeof(p->text), "%s", what);
	if (p->when == DISPLAY_ALWAYS)
		print(p);
	pthread_mutex_unlock(&p->lock);
}

void display_free(struct display *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->done = true;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	if (p->has_thread)
		pthread_join(p->thread, NULL);
	hide(p);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
