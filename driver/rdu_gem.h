/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RDU_GEM_H
#define RDU_GEM_H

#include <linux/dma-direction.h>
#include <linux/list.h>

#include <drm/drm_gem.h>

#include "rdu_device.h"

/* A run of device-contiguous bytes of a buffer. */
struct rdu_extent {
	u64 offset;	/* in the buffer */
	u64 addr;	/* card address, or DMA address of host memory */
	u64 size;
};

struct rdu_bo {
	struct drm_gem_object base;
	u32 placement;			/* enum drm_rdu_placement */
	struct drm_gpuvm *private_vm;	/* only ever bound here; NULL: anywhere */

	struct rdu_extent *extents;	/* sorted by offset, no gaps */
	u32 num_extents;

	struct rdu_charge charge;	/* its creator's */
	struct rdu_vram_piece vram;	/* DEVICE: card memory */
	struct page **pages;		/* SYSTEM: shmem pages */
	struct sg_table *sgt;		/* SYSTEM and imported: mapped for the card */
	bool userptr;			/* pages are the process's, pinned */
	bool imported;			/* another driver's: dmabuf's */
	bool readonly;			/* the card must not write */
	struct mm_struct *mm;		/* userptr: whose locked memory it counts as */

	bool mapped;			/* SYSTEM: sgt is mapped, dev_link in rdu_device.bos */
	struct list_head dev_link;	/* or in lent, or in borrowed */

	/* Under the reservation. */
	struct dma_buf *dmabuf;		/* DEVICE: what peers have attached to; imported */
	u32 peers;			/* DEVICE: their mappings */
	bool pinned;			/* imported */
	bool revoked;			/* imported: the exporter took it back */

	struct work_struct free_work;	/* frees it when the card has let go */
	struct dma_fence_cb free_cb;
	struct page *dummy;		/* what the CPU sees when the card is gone */
};

static inline struct rdu_bo *to_rdu_bo(struct drm_gem_object *obj)
{
	return container_of(obj, struct rdu_bo, base);
}

/* Memory of the host, as the page tables must say. */
static inline bool rdu_bo_is_host(const struct rdu_bo *bo)
{
	return bo->placement == DRM_RDU_PLACEMENT_SYSTEM;
}

/* What the card may do with it, for the DMA API. */
static inline enum dma_data_direction rdu_bo_direction(const struct rdu_bo *bo)
{
	return bo->readonly ? DMA_TO_DEVICE : DMA_BIDIRECTIONAL;
}

struct rdu_bo *rdu_bo_alloc(u32 placement);
bool rdu_sgt_is_copy(struct device *dev, struct sg_table *sgt);
int rdu_bo_init_extents_sgt(struct rdu_bo *bo);
void rdu_gem_unmap_all(struct rdu_device *rdev);
bool rdu_bo_has_addr(const struct rdu_bo *bo, u64 addr);
u64 rdu_bo_addr(const struct rdu_bo *bo, u64 offset, u64 *run);

int rdu_ioctl_bo_create(struct drm_device *drm, void *data, struct drm_file *file);
int rdu_ioctl_bo_create_userptr(struct drm_device *drm, void *data, struct drm_file *file);
int rdu_ioctl_bo_info(struct drm_device *drm, void *data, struct drm_file *file);

/* rdu_prime.c */
struct dma_buf *rdu_gem_export(struct drm_gem_object *obj, int flags);
struct drm_gem_object *rdu_gem_import(struct drm_device *drm, struct dma_buf *dmabuf);
void rdu_prime_release(struct rdu_bo *bo);
void rdu_prime_unplug(struct rdu_device *rdev);

#endif
