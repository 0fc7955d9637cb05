// SPDX-License-Identifier: MIT
/*
 * Device page tables: four levels in card memory (regs.h), walked through a
 * software TLB per queue. The tables belong to the guest, which may change them
 * at any time: every value read from them is bounded before use.
 */
#include <string.h>
#include "card_priv.h"

#define LOOK 4096 /* pages walked between looks at the clock and at `stop` */
#define PTE_RESERVED \
	(~(RDU_PTE_VALID | RDU_PTE_WRITE | RDU_PTE_HOST | RDU_PTE_LARGE | RDU_PTE_ADDR))

static unsigned int level_shift(unsigned int level)
{
	return RDU_PT_SHIFT + RDU_PT_BITS * level;
}

/* A valid leaf of that level? */
static bool good_leaf(const struct rdu_card *card, uint64_t e, unsigned int level)
{
	uint64_t size = 1ULL << level_shift(level);

	if (!(e & RDU_PTE_VALID) || e & PTE_RESERVED || level == RDU_PT_LEVELS - 1 ||
	    !(e & RDU_PTE_LARGE) != !level || (e & RDU_PTE_ADDR) & (size - 1))
		return false;
	/* A large page that sticks out of card memory counts as not mapped. */
	return e & RDU_PTE_HOST || (e & RDU_PTE_ADDR) + size <= card->mem_size;
}

static bool entry(const struct rdu_card *card, uint64_t table, uint64_t va, unsigned int level,
		  uint64_t *e)
{
	uint64_t at = table + (va >> level_shift(level) & ((1u << RDU_PT_BITS) - 1)) * 8;

	if (at % 8 || at > card->mem_size - 8)
		return false;
	*e = __atomic_load_n((const uint64_t *)(const void *)(card->mem + at), __ATOMIC_RELAXED);
	return true;
}

/* Walks to the leaf. 0 with *pte and *level, or -1 with *level where it ended. */
static int walk(struct card_queue *q, uint64_t va, uint64_t *pte, unsigned int *level)
{
	const struct rdu_card *card = q->card;
	uint64_t table = q->live.pt, e;
	unsigned int l = RDU_PT_LEVELS;

	while (l--) {
		*level = l;
		if (!entry(card, table, va, l, &e))
			return -1;
		if (!l || e & RDU_PTE_LARGE) {
			if (!good_leaf(card, e, l))
				return -1;
			if (!l) {
				q->tlb.leaf_tag = (va >> level_shift(1)) + 1;
				q->tlb.leaf_table = table;
			}
			*pte = e;
			return 0;
		}
		if (!(e & RDU_PTE_VALID) || e & (PTE_RESERVED | RDU_PTE_HOST))
			return -1;
		table = e & RDU_PTE_ADDR;
	}
	return -1;
}

static int lookup(struct card_queue *q, uint64_t va, uint64_t *pte, unsigned int *level)
{
	struct rdu_tlb *tlb = &q->tlb;
	uint32_t generation = atomic_load_explicit(&q->tlb_generation, memory_order_acquire);
	struct rdu_tlb_entry *e;
	uint64_t tag;
	unsigned int l;

	if (tlb->generation != generation) {
		memset(tlb->page, 0, sizeof(tlb->page));
		tlb->leaf_tag = 0;
		tlb->generation = generation;
	}
	if (tlb->leaf_tag == (va >> level_shift(1)) + 1) {
		*level = 0;
		return entry(q->card, tlb->leaf_table, va, 0, pte) && good_leaf(q->card, *pte, 0)
			       ? 0
			       : -1;
	}
	for (l = 0; l < 3; l++) {
		tag = (va >> level_shift(l)) + 1;
		e = &tlb->page[l][tag & ((1u << RDU_TLB_BITS) - 1)];
		if (e->tag == tag) {
			*pte = e->pte;
			*level = l;
			return 0;
		}
	}
	if (walk(q, va, pte, level))
		return -1;
	tag = (va >> level_shift(*level)) + 1;
	e = &tlb->page[*level][tag & ((1u << RDU_TLB_BITS) - 1)];
	e->tag = tag;
	e->pte = *pte;
	return 0;
}

static int page(struct card_queue *q, uint64_t va, bool write, struct rdu_stretch *s,
		struct rdu_failure *f)
{
	unsigned int level = RDU_PT_LEVELS - 1;
	uint64_t pte, offset;

	if (va >> RDU_VA_BITS || lookup(q, va, &pte, &level))
		return rdu_fail(f, RDU_FAULT_PAGE, (write ? RDU_FAULT_INFO_WRITE : 0) | level << 4,
				va);
	if (write && !(pte & RDU_PTE_WRITE))
		return rdu_fail(f, RDU_FAULT_PROTECTION, RDU_FAULT_INFO_WRITE | level << 4, va);
	offset = va & ((1ULL << level_shift(level)) - 1);
	s->host = pte & RDU_PTE_HOST;
	s->addr = (pte & RDU_PTE_ADDR) + offset;
	s->len = (1ULL << level_shift(level)) - offset;
	return 0;
}

int rdu_mmu_stretch(struct card_queue *q, uint64_t va, uint64_t len, bool write,
		    struct rdu_stretch *s, struct rdu_failure *f)
{
	struct rdu_stretch next;
	struct rdu_failure ignored;
	unsigned int pages = 0;

	if (q->id == RDU_ADMIN_QUEUE) {
		uint64_t size = q->card->mem_size;

		if (va >= size)
			return rdu_fail(f, RDU_FAULT_PAGE, write ? RDU_FAULT_INFO_WRITE : 0, va);
		s->host = false;
		s->addr = va;
		s->len = len < size - va ? len : size - va;
		return 0;
	}
	if (page(q, va, write, s, f))
		return -1;
	while (s->len < len) {
		if (++pages % LOOK == 0 && !rdu_queue_continue(q, f))
			return -1;
		/* A fault in a later page belongs to the stretch after this one. */
		if (page(q, va + s->len, write, &next, &ignored) || next.host != s->host ||
		    next.addr != s->addr + s->len)
			break;
		s->len += next.len;
	}
	if (s->len > len)
		s->len = len;
	return 0;
}

int rdu_mmu_check(struct card_queue *q, uint64_t va, uint64_t len, bool write,
		  struct rdu_failure *f)
{
	struct rdu_stretch s;

	if (va + len < va)
		return rdu_fail(f, RDU_FAULT_PAGE, write ? RDU_FAULT_INFO_WRITE : 0, va);
	while (len) {
		if (!rdu_queue_continue(q, f))
			return -1;
		if (rdu_mmu_stretch(q, va, len < (64u << 20) ? len : 64u << 20, write, &s, f))
			return -1;
		va += s.len;
		len -= s.len;
	}
	return 0;
}
