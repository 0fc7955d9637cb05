// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device page tables: four levels in card memory, leaves of 4 KiB, 2 MiB and
 * 1 GiB. The driver keeps its own copy of every entry and never believes what
 * it could read back from the card.
 *
 * Changing a mapping has two halves. prepare allocates the tables and splits
 * large entries, which can fail and changes nothing the card could notice.
 * map and unmap can't fail; their caller is in rdu_card_enter(). Tables that
 * fell out are freed by rdu_mmu_reap(), after the caller has flushed the card's
 * translations.
 */
#include <linux/slab.h>

#include "rdu_gem.h"
#include "rdu_mmu.h"

#define RDU_PT_ENTRIES		BIT(RDU_PT_BITS)

struct rdu_pt {
	u64 addr;			/* card address */
	__le64 *card;			/* the same, for the CPU */
	struct rdu_charge charge;
	struct rdu_vram_piece vram;
	struct list_head dead;		/* rdu_mmu.dead */
	u32 level;			/* 0: entries are 4 KiB pages */
	u32 used;			/* entries that are not zero */
	u64 entry[RDU_PT_ENTRIES];
	struct rdu_pt *child[];		/* level > 0: tables below */
};

static u64 rdu_pt_span(u32 level)
{
	return 1ULL << (RDU_PT_SHIFT + RDU_PT_BITS * level);
}

static u32 rdu_pt_index(u32 level, u64 va)
{
	return va >> (RDU_PT_SHIFT + RDU_PT_BITS * level) & (RDU_PT_ENTRIES - 1);
}

static void rdu_pt_set(struct rdu_pt *pt, u32 index, u64 entry)
{
	pt->used += !!entry - !!pt->entry[index];
	pt->entry[index] = entry;
	WRITE_ONCE(pt->card[index], cpu_to_le64(entry));
}

static struct rdu_pt *rdu_pt_alloc(struct rdu_mmu *mmu, u32 level)
{
	struct rdu_vram *vram = &mmu->rdev->vram;
	struct rdu_pt *pt;
	int ret, idx;

	pt = kvzalloc(struct_size(pt, child, level ? RDU_PT_ENTRIES : 0), GFP_KERNEL_ACCOUNT);
	if (!pt)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&pt->vram.blocks);
	INIT_LIST_HEAD(&pt->dead);
	pt->level = level;
	ret = rdu_charge(&pt->charge, mmu->user, RDU_LIMIT_MEMORY, RDU_PAGE_SIZE);
	if (ret)
		goto err_free_pt;
	ret = rdu_vram_alloc(mmu->rdev, RDU_PAGE_SIZE, true, &pt->vram);
	if (ret)
		goto err_uncharge;
	pt->addr = rdu_vram_addr(&pt->vram);
	pt->card = vram->cpu + pt->addr;
	ret = rdu_card_enter(mmu->rdev, &idx);
	if (ret)
		goto err_free_vram;
	memset(pt->card, 0, RDU_PAGE_SIZE);
	rdu_card_exit(mmu->rdev, idx);
	return pt;

err_free_vram:
	rdu_vram_free(mmu->rdev, &pt->vram);
err_uncharge:
	rdu_uncharge(&pt->charge);
err_free_pt:
	kvfree(pt);
	return ERR_PTR(ret);
}

static void rdu_pt_free(struct rdu_mmu *mmu, struct rdu_pt *pt)
{
	u32 i;

	if (pt->level)
		for (i = 0; i < RDU_PT_ENTRIES; i++)
			if (pt->child[i])
				rdu_pt_free(mmu, pt->child[i]);
	rdu_vram_free(mmu->rdev, &pt->vram);
	rdu_uncharge(&pt->charge);
	kvfree(pt);
}

int rdu_mmu_init(struct rdu_mmu *mmu, struct rdu_device *rdev, struct rdu_user *user)
{
	mmu->rdev = rdev;
	mmu->user = user;
	INIT_LIST_HEAD(&mmu->dead);
	mmu->root = rdu_pt_alloc(mmu, RDU_PT_LEVELS - 1);
	if (IS_ERR(mmu->root))
		return PTR_ERR(mmu->root);
	mutex_init(&mmu->lock);
	mutex_lock(&rdev->mmus_lock);
	list_add_tail(&mmu->link, &rdev->mmus);
	mutex_unlock(&rdev->mmus_lock);
	return 0;
}

/* Nothing on the card uses the tables any more. Does not touch the card. */
void rdu_mmu_fini(struct rdu_mmu *mmu)
{
	mutex_lock(&mmu->rdev->mmus_lock);
	list_del(&mmu->link);
	mutex_unlock(&mmu->rdev->mmus_lock);
	rdu_mmu_reap(mmu);
	rdu_pt_free(mmu, mmu->root);
	mutex_destroy(&mmu->lock);
}

u64 rdu_mmu_root(const struct rdu_mmu *mmu)
{
	return mmu->root->addr;
}

/* The table below an entry, made if need be, a large entry split into it. */
static struct rdu_pt *rdu_pt_descend(struct rdu_mmu *mmu, struct rdu_pt *pt, u32 index)
{
	struct rdu_pt *child = pt->child[index];
	u64 entry = pt->entry[index];
	int ret, idx;

	if (child)
		return child;
	child = rdu_pt_alloc(mmu, pt->level - 1);
	if (IS_ERR(child))
		return child;
	ret = rdu_card_enter(mmu->rdev, &idx);
	if (ret) {
		rdu_pt_free(mmu, child);
		return ERR_PTR(ret);
	}
	if (entry) {
		u64 span = rdu_pt_span(child->level);
		u32 i;

		if (!child->level)
			entry &= ~RDU_PTE_LARGE;
		for (i = 0; i < RDU_PT_ENTRIES; i++)
			rdu_pt_set(child, i, entry + i * span);
	}
	pt->child[index] = child;
	wmb(); /* the table's contents before the way to it */
	rdu_pt_set(pt, index, child->addr | RDU_PTE_VALID);
	rdu_card_exit(mmu->rdev, idx);
	return child;
}

/* Takes the table below an entry out of the tree; the entry is not changed. */
static void rdu_pt_detach(struct rdu_mmu *mmu, struct rdu_pt *pt, u32 index)
{
	if (!pt->level || !pt->child[index])
		return;
	list_add(&pt->child[index]->dead, &mmu->dead);
	mmu->num_dead++;
	pt->child[index] = NULL;
}

/* Largest level whose entry can start at va, for addr and what is left. */
static u32 rdu_mmu_leaf_level(u64 va, u64 addr, u64 left)
{
	u32 level = 2;

	while (level && ((va | addr) & (rdu_pt_span(level) - 1) || left < rdu_pt_span(level)))
		level--;
	return level;
}

/* Makes the boundary of a range coincide with one of entries. */
static int rdu_mmu_prepare_edge(struct rdu_mmu *mmu, u64 va)
{
	struct rdu_pt *pt = mmu->root;

	while (pt->level && va & (rdu_pt_span(pt->level) - 1)) {
		u32 index = rdu_pt_index(pt->level, va);

		if (!pt->entry[index])
			return 0;
		pt = rdu_pt_descend(mmu, pt, index);
		if (IS_ERR(pt))
			return PTR_ERR(pt);
	}
	return 0;
}

int rdu_mmu_prepare_unmap(struct rdu_mmu *mmu, u64 va, u64 size)
{
	int ret = rdu_mmu_prepare_edge(mmu, va);

	return ret ?: rdu_mmu_prepare_edge(mmu, va + size);
}

int rdu_mmu_prepare_map(struct rdu_mmu *mmu, u64 va, u64 size, const struct rdu_bo *bo,
			u64 offset)
{
	int ret = rdu_mmu_prepare_unmap(mmu, va, size);

	while (!ret && size) {
		struct rdu_pt *pt = mmu->root;
		u64 run, step, addr;
		u32 level;

		addr = rdu_bo_addr(bo, offset, &run);
		level = rdu_mmu_leaf_level(va, addr, min(run, size));
		while (pt->level > level) {
			pt = rdu_pt_descend(mmu, pt, rdu_pt_index(pt->level, va));
			if (IS_ERR(pt))
				return PTR_ERR(pt);
		}
		/* To the end of this run, or of this table: same tables. */
		step = rdu_pt_span(level + 1) - (va & (rdu_pt_span(level + 1) - 1));
		step = min3(step, run, size);
		step = max(round_down(step, rdu_pt_span(level)), rdu_pt_span(level));
		va += step;
		offset += step;
		size -= step;
	}
	return ret;
}

void rdu_mmu_map(struct rdu_mmu *mmu, u64 va, u64 size, const struct rdu_bo *bo,
		 u64 offset, bool write)
{
	u64 flags = RDU_PTE_VALID;

	if (write)
		flags |= RDU_PTE_WRITE;
	if (rdu_bo_is_host(bo))
		flags |= RDU_PTE_HOST;

	while (size) {
		struct rdu_pt *pt = mmu->root;
		u64 run, addr;
		u32 level, index;

		addr = rdu_bo_addr(bo, offset, &run);
		run = min(run, size);
		level = rdu_mmu_leaf_level(va, addr, run);
		while (pt->level > level)
			pt = pt->child[rdu_pt_index(pt->level, va)];
		/* Entries of one table in a row, as long as the level is right. */
		do {
			u64 span = rdu_pt_span(level);

			index = rdu_pt_index(level, va);
			rdu_pt_set(pt, index, addr | flags | (level ? RDU_PTE_LARGE : 0));
			rdu_pt_detach(mmu, pt, index);
			va += span;
			addr += span;
			offset += span;
			size -= span;
			run -= span;
		} while (run && index != RDU_PT_ENTRIES - 1 &&
			 rdu_mmu_leaf_level(va, addr, run) == level);
	}
	wmb(); /* before the flush */
}

static void rdu_pt_clear(struct rdu_mmu *mmu, struct rdu_pt *pt, u64 va, u64 end)
{
	u64 span = rdu_pt_span(pt->level);

	while (va < end) {
		u32 index = rdu_pt_index(pt->level, va);
		u64 next = min((va & ~(span - 1)) + span, end);

		if (pt->entry[index]) {
			if (next - va == span) {
				rdu_pt_set(pt, index, 0);
				rdu_pt_detach(mmu, pt, index);
			} else if (pt->child[index]) {
				rdu_pt_clear(mmu, pt->child[index], va, next);
				if (!pt->child[index]->used) {
					rdu_pt_set(pt, index, 0);
					rdu_pt_detach(mmu, pt, index);
				}
			}
		}
		va = next;
	}
}

static void rdu_pt_prune(struct rdu_mmu *mmu, struct rdu_pt *pt, u64 va, u64 end)
{
	u64 span = rdu_pt_span(pt->level);

	while (pt->level && va < end) {
		u32 index = rdu_pt_index(pt->level, va);
		u64 next = min((va & ~(span - 1)) + span, end);

		if (pt->child[index]) {
			rdu_pt_prune(mmu, pt->child[index], va, next);
			if (!pt->child[index]->used) {
				rdu_pt_set(pt, index, 0);
				rdu_pt_detach(mmu, pt, index);
			}
		}
		va = next;
	}
}

/* Takes out the empty tables that a failed prepare left. */
void rdu_mmu_prune(struct rdu_mmu *mmu, u64 va, u64 size)
{
	rdu_pt_prune(mmu, mmu->root, va, va + size);
	wmb(); /* before the flush */
}

void rdu_mmu_unmap(struct rdu_mmu *mmu, u64 va, u64 size)
{
	rdu_pt_clear(mmu, mmu->root, va, va + size);
	wmb(); /* before the flush */
}

static bool rdu_pt_forget(struct rdu_pt *pt, const struct rdu_bo *bo)
{
	bool hit = false;
	u32 i;

	cond_resched();
	for (i = 0; i < RDU_PT_ENTRIES; i++) {
		if (pt->level && pt->child[i]) {
			hit |= rdu_pt_forget(pt->child[i], bo);
		} else if (pt->entry[i] & RDU_PTE_HOST &&
			   rdu_bo_has_addr(bo, pt->entry[i] & RDU_PTE_ADDR)) {
			rdu_pt_set(pt, i, 0);
			hit = true;
		}
	}
	return hit;
}

/**
 * rdu_mmu_forget() - Clear every entry that leads to a buffer's memory
 * @mmu: page tables, locked
 * @bo: buffer in host memory
 *
 * The VM goes on saying that it is mapped there; the card will fault.
 *
 * Return: whether there was one. Then the card is to be flushed.
 */
bool rdu_mmu_forget(struct rdu_mmu *mmu, const struct rdu_bo *bo)
{
	bool hit;
	int idx;

	lockdep_assert_held(&mmu->lock);
	/* A card that is gone or cut off reaches nothing. */
	if (rdu_card_enter(mmu->rdev, &idx))
		return false;
	hit = rdu_pt_forget(mmu->root, bo);
	wmb(); /* before the flush */
	rdu_card_exit(mmu->rdev, idx);
	return hit;
}

/* Frees tables that are out of use: flushed, and no walk of theirs is going on. */
void rdu_mmu_reap(struct rdu_mmu *mmu)
{
	struct rdu_pt *pt, *next;

	list_for_each_entry_safe(pt, next, &mmu->dead, dead) {
		list_del(&pt->dead);
		rdu_pt_free(mmu, pt);
	}
	mmu->num_dead = 0;
}

#if IS_ENABLED(CONFIG_DRM_ACCEL_RDU_KUNIT_TEST)
#include "rdu_mmu_test.c"
#endif
