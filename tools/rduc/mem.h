/* SPDX-License-Identifier: MIT */
/*
 * Memory that is there: a pass cannot go on without it, so these functions return it or do not
 * return at all.
 *
 * A compile runs inside heap_run(). What it takes is noted there, and when there is no more, when
 * the limit is reached, or when someone has cancelled it, the next call that wants memory leaves
 * all passes at once, and what they had is freed. So no pass needs a way out of its own. Outside
 * of heap_run(), in programs that are not the library (rdu-mkmodel, tests), the process ends with
 * a text and exit code 1.
 *
 * This file is included in front of every source of tools/rduc (rduc.mk): free() there has to be
 * xfree(), which also takes what others allocated.
 */
#ifndef RDUC_MEM_H
#define RDUC_MEM_H

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

void *xmalloc(size_t size);
void *xcalloc(size_t num, size_t size); /* zeros */
void *xrealloc(void *old, size_t size);
/* A copy into zeros of xcalloc() or shared_new(): pages of zeros are not touched, and take no memory. */
void copy_to_zeros(void *to, const void *from, size_t size);
bool is_zeros(const void *p, size_t size);
char *xstrdup(const char *s);
void xfree(void *p);
#define free(p) xfree(p)
/* Memory that has several owners, zeros at first: it is freed when the last one drops it. */
void *shared_new(size_t size);
void *shared_use(void *p); /* by one more owner */
void shared_drop(void *p);
/* A table of num elements, of which there is room for *room, with room for one more. */
void *xroom(void *old, int num, int *room, size_t size);
/* The same without a note of the room: it is doubled at each power of two. */
void *xgrow(void *old, int num, size_t size);
/* What a library could not get memory for. */
_Noreturn void out_of_memory(const char *what);

/* An object of a library, to be released if the compile is left; xdisown(): not any more. */
void xown(void *object, void (*release)(void *object));
void xdisown(void *object);

enum heap_end { HEAP_DONE, HEAP_NO_MEMORY, HEAP_CANCELLED };

struct heap_slot {
	void *p;
	size_t size;
	void (*release)(void *p); /* NULL: free() */
};

struct heap {
	size_t limit; /* bytes; 0: none */
	const atomic_bool *cancelled; /* NULL: cannot be */
	/* Made by heap_run(). */
	void (*on_leave)(void *arg); /* NULL: nothing */
	void *leave_arg;
	size_t used;
	struct heap_slot *slot; /* open addressing */
	size_t num, room;
	char why[64]; /* what there was no memory for */
	enum heap_end end;
	jmp_buf out;
};

/* Runs work(arg) with the heap for all that the calling thread allocates, and frees what is left
 * of it. */
enum heap_end heap_run(struct heap *h, void (*work)(void *arg), void *arg);
/* What is to be done if the compile is left, before anything is freed; NULL: nothing, any more. */
void heap_on_leave(void (*on_leave)(void *arg), void *arg);
/* Leaves the compile if it has been cancelled. */
void heap_check(void);

#endif
