/* SPDX-License-Identifier: MIT */
/*
 * Memory that is there: the compiler cannot go on without it, so where there is none it says
 * how much was asked for and ends (exit code 1).
 */
#ifndef RDUC_MEM_H
#define RDUC_MEM_H

#include <stddef.h>

void *xmalloc(size_t size);
void *xcalloc(size_t num, size_t size); /* zeros */
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *s);
/* A table of num elements, of which there is room for *room, with room for one more. */
void *xroom(void *old, int num, int *room, size_t size);
/* The same without a note of the room: it is doubled at each power of two. */
void *xgrow(void *old, int num, size_t size);
/* What a library could not get memory for. */
_Noreturn void out_of_memory(const char *what);

#endif
