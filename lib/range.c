/* SPDX-License-Identifier: MIT */
/* Free parts of an address range: device addresses, and the model's card memory. */
#include <stdlib.h>
#include <string.h>
#include "internal.h"

int lr_ranges_init(struct lr_ranges *r, uint64_t start, uint64_t size)
{
	r->room = 16;
	r->free = calloc(r->room, sizeof(*r->free));
	if (!r->free)
		return -ENOMEM;
	r->free[0] = (struct lr_range){ start, size };
	r->count = 1;
	r->available = size;
	return 0;
}

void lr_ranges_fini(struct lr_ranges *r)
{
	free(r->free);
	memset(r, 0, sizeof(*r));
}

/* Taking and giving back split a range at most once each: with one element of
 * room kept for every range taken, giving back can't fail. */
static int room_for_one_more(struct lr_ranges *r)
{
	struct lr_range *bigger;

	if (r->count + 2 <= r->room)
		return 0;
	bigger = realloc(r->free, 2 * r->room * sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	r->free = bigger;
	r->room *= 2;
	return 0;
}

static void insert(struct lr_ranges *r, unsigned int at, uint64_t start, uint64_t size)
{
	memmove(r->free + at + 1, r->free + at, (r->count - at) * sizeof(*r->free));
	r->free[at] = (struct lr_range){ start, size };
	r->count++;
}

static void erase(struct lr_ranges *r, unsigned int at)
{
	r->count--;
	memmove(r->free + at, r->free + at + 1, (r->count - at) * sizeof(*r->free));
}

int lr_ranges_take(struct lr_ranges *r, uint64_t size, uint64_t align, uint64_t *start)
{
	unsigned int i;

	if (!size || room_for_one_more(r))
		return size ? -ENOMEM : -EINVAL;
	for (i = 0; i < r->count; i++) {
		struct lr_range *f = &r->free[i];
		uint64_t at = (f->start + align - 1) & ~(align - 1);
		uint64_t before = at - f->start, after;

		if (at < f->start || before > f->size || f->size - before < size)
			continue;
		after = f->size - before - size;
		if (before && after) {
			f->size = before;
			insert(r, i + 1, at + size, after);
		} else if (before) {
			f->size = before;
		} else if (after) {
			*f = (struct lr_range){ at + size, after };
		} else {
			erase(r, i);
		}
		r->available -= size;
		*start = at;
		return 0;
	}
	return -ENOSPC;
}

void lr_ranges_give(struct lr_ranges *r, uint64_t start, uint64_t size)
{
	unsigned int i = 0;
	bool left, right;

	while (i < r->count && r->free[i].start < start)
		i++;
	left = i && r->free[i - 1].start + r->free[i - 1].size == start;
	right = i < r->count && start + size == r->free[i].start;
	if (left && right) {
		r->free[i - 1].size += size + r->free[i].size;
		erase(r, i);
	} else if (left) {
		r->free[i - 1].size += size;
	} else if (right) {
		r->free[i].start = start;
		r->free[i].size += size;
	} else if (r->count < r->room || !room_for_one_more(r)) {
		insert(r, i, start, size);
	} else {
		return; /* out of memory: the range is lost until the object goes */
	}
	r->available += size;
}
