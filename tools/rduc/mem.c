// SPDX-License-Identifier: MIT
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mem.h"

void out_of_memory(const char *what)
{
	fprintf(stderr, "rduc: out of memory: %s\n", what);
	exit(1);
}

static void *found(void *p, size_t num, size_t size)
{
	char text[64];

	if (p || !num || !size)
		return p;
	if (num == 1)
		snprintf(text, sizeof(text), "%zu bytes", size);
	else
		snprintf(text, sizeof(text), "%zu times %zu bytes", num, size);
	out_of_memory(text);
}

void *xmalloc(size_t size)
{
	return found(malloc(size), 1, size);
}

void *xcalloc(size_t num, size_t size)
{
	return found(calloc(num, size), num, size);
}

void *xrealloc(void *old, size_t size)
{
	return found(realloc(old, size), 1, size);
}

char *xstrdup(const char *s)
{
	return found(strdup(s), 1, strlen(s) + 1);
}

static void *resize(void *old, size_t num, size_t size)
{
	if (num > SIZE_MAX / size)
		found(NULL, num, size);
	return xrealloc(old, num * size);
}

void *xroom(void *old, int num, int *room, size_t size)
{
	if (num < *room)
		return old;
	*room = num * 2 + 16;
	return resize(old, (size_t)*room, size);
}

void *xgrow(void *old, int num, size_t size)
{
	return num & (num - 1) ? old : resize(old, num ? 2 * (size_t)num : 1, size);
}
