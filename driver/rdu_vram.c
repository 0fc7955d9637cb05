// SPDX-License-Identifier: GPL-2.0-only
/*
 * Card memory: the kernel's buddy allocator over what BAR4 shows.
 *
 * The BAR is RAM: a write-back mapping is coherent with the card, and it is
 * what makes CPU access as fast as to ordinary memory. Nothing is ever moved
 * or evicted; when it is full, it is full.
 */
#include <linux/io.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include <drm/drm_managed.h>

#include "rdu_device.h"

/* Cleared by one command: others' commands on the administrator's queue wait for it. */
#define RDU_CLEAR_STEP		((u64)SZ_16M)

static void rdu_vram_fini(struct drm_device *drm, void *data)
{
	struct rdu_vram *vram = data;

	rdu_buddy_free_list(&vram->mm, &vram->reserved, 0);
	rdu_buddy_fini(&vram->mm);
}

int rdu_vram_init(struct rdu_device *rdev)
{
	struct pci_dev *pdev = rdu_pdev(rdev);
	struct rdu_vram *vram = &rdev->vram;
	u64 size;
	int ret;

	size = min_t(u64, rdev->mem_size, pci_resource_len(pdev, RDU_BAR_MEM));
	size = round_down(size, RDU_PAGE_SIZE);
	if (size < SZ_1M) {
		drm_err(&rdev->drm, "card memory of %llu KiB: 1024 are the least\n", size >> 10);
		return -ENODEV;
	}
	if (size < rdev->mem_size)
		drm_info(&rdev->drm, "BAR4 shows %llu of %llu MiB, the rest is not used\n",
			 size >> 20, rdev->mem_size >> 20);

	INIT_LIST_HEAD(&vram->reserved);
	INIT_LIST_HEAD(&vram->pieces);
	vram->size = size;
	vram->phys = pci_resource_start(pdev, RDU_BAR_MEM);
	vram->cpu = devm_memremap(&pdev->dev, vram->phys, size, MEMREMAP_WB);
	if (IS_ERR(vram->cpu)) {
		drm_err(&rdev->drm, "no addresses for the kernel's mapping of %llu MiB of card memory: %pe\n",
			size >> 20, vram->cpu);
		return PTR_ERR(vram->cpu);
	}

	ret = drmm_mutex_init(&rdev->drm, &vram->lock);
	if (ret)
		return ret;
	ret = rdu_buddy_init(&vram->mm, size, RDU_PAGE_SIZE);
	if (ret)
		return ret;
	ret = drmm_add_action_or_reset(&rdev->drm, rdu_vram_fini, vram);
	if (ret)
		return ret;

	/* Address zero stays free of anything: it is where stray pointers go. */
	return rdu_buddy_alloc_blocks(&vram->mm, 0, RDU_PAGE_SIZE, RDU_PAGE_SIZE,
				      RDU_PAGE_SIZE, &vram->reserved, RDU_BUDDY_RANGE);
}

/**
 * rdu_vram_alloc() - Allocate card memory; what is in it is left as it was
 * @rdev: device
 * @size: bytes, a multiple of RDU_PAGE_SIZE
 * @contiguous: one block only
 * @piece: with an empty list of blocks, which it gets
 *
 * Return: 0, -ENOSPC if card memory is used up, -ENOMEM.
 */
int rdu_vram_alloc(struct rdu_device *rdev, u64 size, bool contiguous,
		   struct rdu_vram_piece *piece)
{
	struct rdu_vram *vram = &rdev->vram;
	int ret;

	if (size > vram->size)
		return -ENOSPC;
	mutex_lock(&vram->lock);
	if (size > vram->mm.avail)
		ret = -ENOSPC;
	else
		ret = rdu_buddy_alloc_blocks(&vram->mm, 0, vram->size, size, RDU_PAGE_SIZE,
					     &piece->blocks, contiguous ? RDU_BUDDY_CONTIGUOUS : 0);
	if (!ret)
		list_add_tail(&piece->link, &vram->pieces);
	mutex_unlock(&vram->lock);
	return ret;
}

/* Where it begins in card memory; all of it follows if it is contiguous. */
u64 rdu_vram_addr(const struct rdu_vram_piece *piece)
{
	return rdu_buddy_block_offset(list_first_entry(&piece->blocks, struct rdu_buddy_block,
						       link));
}

static int rdu_vram_fill(struct rdu_device *rdev, u64 addr, u64 size)
{
	struct rdu_cmd cmd = { .op = RDU_OP_FILL, .fill.dst = addr, .fill.len = size };
	int ret, idx;

	ret = rdu_card_enter(rdev, &idx);
	if (ret)
		return ret;
	if (size <= SZ_64K)
		memset(rdev->vram.cpu + addr, 0, size);
	else
		ret = rdu_admin_exec(rdev, &cmd, NULL);
	rdu_card_exit(rdev, idx);
	return ret;
}

/**
 * rdu_vram_clear() - Overwrite with zeros, by the card
 * @rdev: device; the caller is not in rdu_card_enter()
 * @piece: what rdu_vram_alloc() gave
 *
 * Return: 0, -EINTR if the caller is being killed, or what rdu_card_enter() and
 * rdu_admin_exec() return.
 */
int rdu_vram_clear(struct rdu_device *rdev, struct rdu_vram_piece *piece)
{
	struct rdu_buddy_block *block;
	int ret;

	list_for_each_entry(block, &piece->blocks, link) {
		u64 addr = rdu_buddy_block_offset(block);
		u64 end = addr + rdu_buddy_block_size(&rdev->vram.mm, block);

		for (; addr < end; addr += RDU_CLEAR_STEP) {
			if (fatal_signal_pending(current))
				return -EINTR;
			ret = rdu_vram_fill(rdev, addr, min(end - addr, RDU_CLEAR_STEP));
			if (ret)
				return ret;
		}
	}
	return 0;
}

void rdu_vram_free(struct rdu_device *rdev, struct rdu_vram_piece *piece)
{
	struct rdu_vram *vram = &rdev->vram;

	mutex_lock(&vram->lock);
	list_del(&piece->link);
	rdu_buddy_free_list(&vram->mm, &piece->blocks, 0);
	mutex_unlock(&vram->lock);
}

/* All that is allocated, block by block, until a call returns an error. */
int rdu_vram_for_each(struct rdu_device *rdev,
		      int (*call)(struct rdu_device *rdev, u64 addr, u64 size))
{
	struct rdu_vram *vram = &rdev->vram;
	struct rdu_buddy_block *block;
	struct rdu_vram_piece *piece;
	int ret = 0;

	mutex_lock(&vram->lock);
	list_for_each_entry(piece, &vram->pieces, link) {
		list_for_each_entry(block, &piece->blocks, link) {
			ret = call(rdev, rdu_buddy_block_offset(block),
				   rdu_buddy_block_size(&vram->mm, block));
			if (ret)
				goto out_unlock;
		}
	}
out_unlock:
	mutex_unlock(&vram->lock);
	return ret;
}
