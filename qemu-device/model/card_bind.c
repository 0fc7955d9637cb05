// SPDX-License-Identifier: MIT
/*
 * Argument load: segments become pointers. A region that is contiguous in card
 * memory is used in place. What is scattered, or lies in host memory, is used
 * through *extents*: the union of overlapping segments, mapped where the front
 * end can map it, else copied to a buffer and stores copied back afterwards.
 * Overlapping segments share an extent, so they see each other's stores.
 */
#include <stdlib.h>
#include <string.h>
#include "card_priv.h"

/* A buffer that counts. NULL: too many of them, or no memory. */
static void *get_buffer(struct rdu_card *card, uint64_t len)
{
	uint64_t used = card->bounce_bytes;
	void *p;

	do {
		if (len > RDU_BOUNCE_MAX - used)
			return NULL;
	} while (!atomic_compare_exchange_weak(&card->bounce_bytes, &used, used + len));
	if (!posix_memalign(&p, 64, len))
		return p;
	atomic_fetch_sub(&card->bounce_bytes, len);
	return NULL;
}

static void put_buffer(struct rdu_card *card, void *p, uint64_t len)
{
	free(p);
	atomic_fetch_sub(&card->bounce_bytes, len);
}

/* Is the whole region contiguous in card memory, and writable if asked? (Cut
 * short by a stop, it says no; the caller finds out.) */
static bool direct(struct card_queue *q, uint64_t addr, uint64_t size, bool write,
		   struct rdu_region_view *view)
{
	struct rdu_failure ignored;
	struct rdu_stretch s;

	if (view->state[write] == RDU_VIEW_NEW) {
		view->state[write] = RDU_VIEW_SPLIT;
		if (size && !rdu_mmu_stretch(q, addr, size, write, &s, &ignored) && !s.host &&
		    s.len == size) {
			view->state[write] = RDU_VIEW_DIRECT;
			view->ptr = q->card->mem + s.addr;
		}
	}
	return view->state[write] == RDU_VIEW_DIRECT;
}

static int by_address(const void *a, const void *b)
{
	const struct card_extent *x = a, *y = b;

	return x->va < y->va ? -1 : x->va > y->va;
}

/* Sorted, then overlapping ones joined. */
static uint32_t join(struct card_extent *e, uint32_t n)
{
	uint32_t i, last = 0;

	if (!n)
		return 0;
	qsort(e, n, sizeof(*e), by_address);
	for (i = 1; i < n; i++) {
		if (e[i].va < e[last].va + e[last].len) {
			uint64_t end = e[i].va + e[i].len;

			if (end > e[last].va + e[last].len)
				e[last].len = end - e[last].va;
			e[last].write |= e[i].write;
		} else {
			e[++last] = e[i];
		}
	}
	return last + 1;
}

static int open_extent(struct card_queue *q, struct card_extent *e, struct rdu_failure *f)
{
	struct rdu_card *card = q->card;
	struct rdu_failure ignored;
	struct rdu_stretch s;
	void *p;

	/* Read permission of all of it is checked by the copy, or here; writes
	 * are checked segment by segment before. */
	if (!rdu_queue_continue(q, f) || rdu_mmu_stretch(q, e->va, e->len, false, &s, f))
		return -1;
	e->in_host = s.host;
	if (s.len == e->len && !s.host) {
		if (rdu_inject_ecc(q, e->va, f))
			return -1;
		e->how = RDU_EXT_DIRECT;
		e->ptr = card->mem + s.addr;
		return 0;
	}
	if (s.len == e->len && card->ops.map && card->ops.unmap &&
	    (!e->write || !rdu_mmu_stretch(q, e->va, e->len, true, &s, &ignored)) && s.host &&
	    s.len == e->len) { /* the tables may have changed between the two looks */
		if (rdu_inject_take(card, RDU_INJECT_DMA))
			return rdu_fail(f, RDU_FAULT_HOST_BUS, e->write ? RDU_FAULT_INFO_WRITE : 0,
					s.addr);
		p = card->ops.map(card->opaque, s.addr, s.len, e->write);
		if (p && !((uintptr_t)p & 7)) {
			e->how = RDU_EXT_MAPPED;
			e->ptr = p;
			return 0;
		}
		if (p)
			card->ops.unmap(card->opaque, p, s.len, e->write);
	}
	p = get_buffer(card, e->len);
	if (!p)
		return rdu_fail(f, RDU_FAULT_INTERNAL, 1, e->va);
	e->how = RDU_EXT_BOUNCE;
	e->ptr = p;
	return rdu_mem_read(q, e->va, p, e->len, f);
}

static struct card_extent *extent_of(struct card_binding *b, uint64_t va)
{
	uint32_t lo = 0, hi = b->num_extents;

	while (hi - lo > 1) {
		uint32_t mid = (lo + hi) / 2;

		if (b->extent[mid].va <= va)
			lo = mid;
		else
			hi = mid;
	}
	return &b->extent[lo];
}

/* Where segment i lies now, checked against its region. */
static int place(const struct rdu_prog_segment *s, uint64_t region_addr, uint64_t region_size,
		 uint64_t iteration, uint64_t *va, struct rdu_failure *f)
{
	unsigned __int128 end = (unsigned __int128)s->loop_stride * iteration + s->offset;

	if (end + s->size > region_size)
		return rdu_fail(f, RDU_FAULT_SEGMENT, 0, region_addr + (uint64_t)end);
	*va = region_addr + (uint64_t)end;
	return 0;
}

int rdu_bind(struct card_queue *q, const struct card_program *p, uint32_t section,
	     const struct rdu_bound_args *args, struct rdu_region_view *views, uint64_t iteration,
	     struct card_binding *b, struct rdu_failure *f)
{
	static uint64_t nothing[8];
	const struct rdu_prog_section *ps = &p->sections[section];
	uint32_t i, n = ps->num_segments, opened = 0;

	memset(b, 0, sizeof(*b));
	b->segment = calloc(n + 1, sizeof(*b->segment));
	b->va = calloc(n + 1, sizeof(*b->va));
	b->bounced = calloc(n + 1, sizeof(*b->bounced));
	b->in_host = calloc(n / 64 + 1, sizeof(*b->in_host));
	b->extent = calloc(n + 1, sizeof(*b->extent));
	if (!b->segment || !b->va || !b->bounced || !b->in_host || !b->extent) {
		rdu_fail(f, RDU_FAULT_INTERNAL, 0, 0);
		goto fail;
	}
	b->num = n;
	for (i = 0; i < n; i++) {
		const struct rdu_prog_segment *s = &p->segments[ps->first_segment + i];
		uint64_t addr = args->block->regions[s->region].addr;
		uint64_t size = p->region_size[s->region];
		struct rdu_region_view *view = &views[s->region];
		bool write = s->access & RDU_SEG_WRITE;

		if (!rdu_queue_continue(q, f) || place(s, addr, size, iteration, &b->va[i], f))
			goto fail;
		b->segment[i].size = s->size;
		b->segment[i].write = write;
		b->segment[i].ptr = nothing;
		if (!s->size)
			continue;
		if (direct(q, addr, size, write, view)) {
			if (s->access & RDU_SEG_READ && rdu_inject_ecc(q, b->va[i], f))
				goto fail;
			b->segment[i].ptr = view->ptr + (b->va[i] - addr);
			continue;
		}
		if (rdu_mmu_check(q, b->va[i], s->size, write, f))
			goto fail;
		b->segment[i].ptr = NULL;
		b->extent[b->num_extents++] =
			(struct card_extent){ .va = b->va[i], .len = s->size, .write = write };
	}
	b->num_extents = join(b->extent, b->num_extents);
	for (opened = 0; opened < b->num_extents; opened++) {
		if (open_extent(q, &b->extent[opened], f)) {
			/* It may hold a buffer already. */
			b->num_extents = opened + 1;
			goto fail;
		}
	}
	for (i = 0; i < n; i++) {
		if (!b->segment[i].ptr) {
			struct card_extent *e = extent_of(b, b->va[i]);

			b->segment[i].ptr = e->ptr + (b->va[i] - e->va);
			b->bounced[i] = e->how == RDU_EXT_BOUNCE;
			b->in_host[i / 64] |= (uint64_t)e->in_host << i % 64;
			b->any_in_host |= e->in_host;
		}
	}
	return 0;
fail:
	if (!opened && b->num_extents && !b->extent[0].ptr)
		b->num_extents = 0; /* none was opened */
	rdu_unbind(q, b, false, f);
	return -1;
}

int rdu_unbind(struct card_queue *q, struct card_binding *b, bool out, struct rdu_failure *f)
{
	struct rdu_card *card = q->card;
	int result = 0;
	uint32_t i;

	for (i = 0; i < b->num && out && !result; i++)
		if (b->bounced[i] && b->segment[i].write)
			result = rdu_mem_write(q, b->va[i], b->segment[i].ptr, b->segment[i].size,
					       f);
	for (i = 0; i < b->num; i++) {
		const unsigned char *p = b->segment[i].ptr;

		if (b->segment[i].write && p >= card->mem && p < card->mem + card->mem_size)
			rdu_mem_dirty(card, (uint64_t)(p - card->mem), b->segment[i].size);
	}
	for (i = 0; i < b->num_extents; i++) {
		struct card_extent *e = &b->extent[i];

		if (!e->ptr)
			continue;
		if (e->how == RDU_EXT_MAPPED)
			card->ops.unmap(card->opaque, e->ptr, e->len, e->write);
		else if (e->how == RDU_EXT_BOUNCE)
			put_buffer(card, e->ptr, e->len);
	}
	free(b->segment);
	free(b->va);
	free(b->bounced);
	free(b->in_host);
	free(b->extent);
	memset(b, 0, sizeof(*b));
	return result;
}
