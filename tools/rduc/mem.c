// SPDX-License-Identifier: MIT
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mem.h"
#undef free

/* Of the compile that the thread is in; NULL: none. */
static _Thread_local struct heap *heap;

/* ---- what a compile has -------------------------------------------------------------- */

static size_t home(const struct heap *h, const void *p)
{
	return (size_t)((uintptr_t)p * 0x9e3779b97f4a7c15ull >> 20) & (h->room - 1);
}

static struct heap_slot *find(struct heap *h, const void *p)
{
	size_t i;

	if (!h->room)
		return NULL;
	for (i = home(h, p); h->slot[i].p; i = (i + 1) & (h->room - 1))
		if (h->slot[i].p == p)
			return &h->slot[i];
	return NULL;
}

static void insert(struct heap *h, struct heap_slot s)
{
	size_t i = home(h, s.p);

	while (h->slot[i].p)
		i = (i + 1) & (h->room - 1);
	h->slot[i] = s;
	h->num++;
	h->used += s.size;
}

/* Moves up what stood behind it only because it was there. */
static void take_out(struct heap *h, struct heap_slot *s)
{
	size_t hole = (size_t)(s - h->slot), i = hole;

	h->num--;
	h->used -= s->size;
	for (;;) {
		i = (i + 1) & (h->room - 1);
		if (!h->slot[i].p)
			break;
		if (((i - home(h, h->slot[i].p)) & (h->room - 1)) < ((i - hole) & (h->room - 1)))
			continue;
		h->slot[hole] = h->slot[i];
		hole = i;
	}
	h->slot[hole] = (struct heap_slot){ 0 };
}

/* Is there room for one more? */
static bool make_room(struct heap *h)
{
	struct heap old = *h;

	if (2 * h->num < h->room)
		return true;
	h->room = old.room ? 2 * old.room : 4096;
	h->slot = calloc(h->room, sizeof(*h->slot));
	if (!h->slot) {
		h->slot = old.slot;
		h->room = old.room;
		return h->num + 1 < h->room; /* slower, but it works */
	}
	h->num = h->used = 0;
	for (size_t i = 0; i < old.room; i++)
		if (old.slot[i].p)
			insert(h, old.slot[i]);
	free(old.slot);
	return true;
}

_Noreturn static void leave(enum heap_end end)
{
	heap->end = end;
	longjmp(heap->out, 1);
}

void heap_check(void)
{
	if (heap && heap->cancelled && atomic_load_explicit(heap->cancelled, memory_order_relaxed))
		leave(HEAP_CANCELLED);
}

void heap_on_leave(void (*on_leave)(void *arg), void *arg)
{
	if (!heap)
		return;
	heap->on_leave = on_leave;
	heap->leave_arg = arg;
}

enum heap_end heap_run(struct heap *h, void (*work)(void *arg), void *arg)
{
	struct heap *outer = heap;

	h->end = HEAP_DONE;
	h->slot = NULL;
	h->on_leave = NULL;
	h->used = h->num = h->room = 0;
	heap = h;
	if (!setjmp(h->out))
		work(arg);
	heap = outer;
	if (h->on_leave)
		h->on_leave(h->leave_arg);
	for (size_t i = 0; i < h->room; i++) {
		if (!h->slot[i].p)
			continue;
		if (h->slot[i].release)
			h->slot[i].release(h->slot[i].p);
		else
			free(h->slot[i].p);
	}
	free(h->slot);
	h->slot = NULL;
	h->num = h->room = 0;
	return h->end;
}

/* ---- allocation ---------------------------------------------------------------------- */

void out_of_memory(const char *what)
{
	if (heap) {
		snprintf(heap->why, sizeof(heap->why), "%s", what);
		leave(HEAP_NO_MEMORY);
	}
	fprintf(stderr, "rduc: out of memory: %s\n", what);
	exit(1);
}

_Noreturn static void none(size_t num, size_t size)
{
	char text[64];

	if (num == 1)
		snprintf(text, sizeof(text), "%zu bytes", size);
	else
		snprintf(text, sizeof(text), "%zu times %zu bytes", num, size);
	out_of_memory(text);
}

/* May num times size bytes more be taken, in place of `old`? Comes back if so. */
static void may_take(const void *old, size_t num, size_t size)
{
	const struct heap_slot *s;
	size_t less;

	if (!heap)
		return;
	heap_check();
	s = old ? find(heap, old) : NULL;
	less = s ? s->size : 0;
	if (!make_room(heap) ||
	    (heap->limit && size && num > (heap->limit - heap->used + less) / size))
		none(num, size);
}

static void *taken(void *p, size_t num, size_t size)
{
	if (!p && num && size)
		none(num, size);
	if (heap && p)
		insert(heap, (struct heap_slot){ .p = p, .size = num * size });
	return p;
}

void *xmalloc(size_t size)
{
	may_take(NULL, 1, size);
	return taken(malloc(size), 1, size);
}

void *xcalloc(size_t num, size_t size)
{
	may_take(NULL, num, size);
	return taken(calloc(num, size), num, size);
}

void *xrealloc(void *old, size_t size)
{
	struct heap_slot *s;
	void *p;

	may_take(old, 1, size);
	s = heap && old ? find(heap, old) : NULL;
	p = realloc(old, size);
	if (!p && size)
		none(1, size);
	if (s)
		take_out(heap, s);
	return taken(p, 1, size);
}

bool is_zeros(const void *p, size_t size)
{
	const unsigned char *c = p;

	return !size || (!c[0] && !memcmp(c, c + 1, size - 1));
}

void copy_to_zeros(void *to, const void *from, size_t size)
{
	for (size_t at = 0, n; at < size; at += n) {
		n = size - at < 4096 ? size - at : 4096;
		if (!is_zeros((const char *)from + at, n))
			memcpy((char *)to + at, (const char *)from + at, n);
	}
}

char *xstrdup(const char *s)
{
	size_t size = strlen(s) + 1;

	return memcpy(xmalloc(size), s, size);
}

void xfree(void *p)
{
	xdisown(p);
	free(p);
}

/* Stands in front of it. */
struct shared {
	_Alignas(16) size_t owners;
};

void *shared_new(size_t size)
{
	struct shared *s = xcalloc(1, sizeof(*s) + size);

	s->owners = 1;
	return s + 1;
}

void *shared_use(void *p)
{
	((struct shared *)p - 1)->owners++;
	return p;
}

void shared_drop(void *p)
{
	struct shared *s = p ? (struct shared *)p - 1 : NULL;

	if (s && !--s->owners)
		xfree(s);
}

void xown(void *object, void (*release)(void *object))
{
	if (!heap || !object)
		return;
	if (!make_room(heap)) {
		release(object);
		out_of_memory("an object");
	}
	insert(heap, (struct heap_slot){ .p = object, .release = release });
}

void xdisown(void *object)
{
	struct heap_slot *s = heap && object ? find(heap, object) : NULL;

	if (s)
		take_out(heap, s);
}

static void *resize(void *old, size_t num, size_t size)
{
	if (num > SIZE_MAX / size)
		none(num, size);
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
