// SPDX-License-Identifier: GPL-2.0-only
/*
 * Buffers shared with other drivers, as dma-bufs.
 *
 * System memory goes to anyone. Card memory goes to devices that can reach the
 * card's window: peer to peer. It is taken back when the card goes, and what is
 * imported here can be taken from us: the importer's half of both is
 * rdu_bo_revoke(). Importing back into the card that exported gives the buffer
 * itself.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/moduleparam.h>
#include <linux/pci-p2pdma.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_prime.h>

#include "rdu_ctx.h"
#include "rdu_gem.h"
#include "rdu_vm.h"

/* What a command may take that is at work in memory that is taken back. */
#define RDU_REVOKE_TIMEOUT	(5 * HZ)

static bool rdu_peer_to_peer;
module_param_named(peer_to_peer, rdu_peer_to_peer, bool, 0644);
MODULE_PARM_DESC(peer_to_peer,
		 "Believe that any device reaches card memory; otherwise ask the kernel's list of host bridges (N)");

/* ---- export ------------------------------------------------------------ */

static int rdu_dmabuf_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct drm_gem_object *obj = dmabuf->priv;
	struct rdu_device *rdev = to_rdu_device(obj->dev);

	if (rdu_bo_is_host(to_rdu_bo(obj)))
		return 0;
	if (!attach->peer2peer) {
		drm_dbg_prime(&rdev->drm, "%s can't import card memory\n", dev_name(attach->dev));
		return -EOPNOTSUPP;
	}
	if (!READ_ONCE(rdu_peer_to_peer) &&
	    pci_p2pdma_distance(rdu_pdev(rdev), attach->dev, false) < 0) {
		drm_dbg_prime(&rdev->drm, "no known way from %s to card memory\n",
			      dev_name(attach->dev));
		return -EOPNOTSUPP;
	}
	return 0;
}

/* Nothing ever moves. */
static int rdu_dmabuf_pin(struct dma_buf_attachment *attach)
{
	return 0;
}

static void rdu_dmabuf_unpin(struct dma_buf_attachment *attach)
{
}

/* Longest segment that another device takes: whole pages. */
static u32 rdu_max_segment(struct device *dev)
{
	return max_t(u32, min_t(u32, dma_get_max_seg_size(dev), SZ_2G) & PAGE_MASK, PAGE_SIZE);
}

static void rdu_peer_unmap(struct sg_table *sgt, struct device *dev,
			   enum dma_data_direction dir)
{
	struct scatterlist *sg;
	int i;

	for_each_sgtable_sg(sgt, sg, i)
		if (sg_dma_len(sg))
			dma_unmap_resource(dev, sg_dma_address(sg), sg_dma_len(sg), dir,
					   DMA_ATTR_SKIP_CPU_SYNC);
}

/* Bus addresses of card memory for another device. There are no pages. */
static int rdu_peer_map(struct rdu_bo *bo, struct sg_table *sgt, struct device *dev,
			enum dma_data_direction dir)
{
	struct rdu_device *rdev = to_rdu_device(bo->base.dev);
	u64 offset, run, step, count = 0, max = rdu_max_segment(dev);
	struct scatterlist *sg;
	dma_addr_t addr;
	int ret;

	for (offset = 0; offset < bo->base.size; offset += min(run, max)) {
		rdu_bo_addr(bo, offset, &run);
		count++;
	}
	ret = sg_alloc_table(sgt, count, GFP_KERNEL);
	if (ret)
		return ret;
	sg = sgt->sgl;
	for (offset = 0; offset < bo->base.size; offset += step) {
		u64 card = rdu_bo_addr(bo, offset, &run);

		step = min(run, max);
		addr = dma_map_resource(dev, rdev->vram.phys + card, step, dir,
					DMA_ATTR_SKIP_CPU_SYNC);
		if (dma_mapping_error(dev, addr)) {
			rdu_peer_unmap(sgt, dev, dir);
			sg_free_table(sgt);
			return -EIO;
		}
		sg_set_page(sg, NULL, step, 0);
		sg_dma_address(sg) = addr;
		sg_dma_len(sg) = step;
		sg = sg_next(sg);
	}
	return 0;
}

static struct sg_table *rdu_dmabuf_map_peer(struct rdu_bo *bo, struct dma_buf_attachment *attach,
					    enum dma_data_direction dir)
{
	struct rdu_device *rdev = to_rdu_device(bo->base.dev);
	struct sg_table *sgt;
	int ret, idx;

	if (!drm_dev_enter(&rdev->drm, &idx))
		return ERR_PTR(-ENODEV);
	sgt = kzalloc(sizeof(*sgt), GFP_KERNEL);
	if (!sgt) {
		ret = -ENOMEM;
		goto out_dev_exit;
	}
	ret = rdu_peer_map(bo, sgt, attach->dev, dir);
	if (ret) {
		kfree(sgt);
		goto out_dev_exit;
	}
	/* As long as peers reach it the card stays awake. */
	ret = rdu_pm_get(rdev);
	if (ret < 0) {
		rdu_peer_unmap(sgt, attach->dev, dir);
		sg_free_table(sgt);
		kfree(sgt);
		goto out_dev_exit;
	}
	ret = 0;
	mutex_lock(&rdev->bo_lock);
	if (!bo->peers++)
		list_add_tail(&bo->dev_link, &rdev->lent);
	mutex_unlock(&rdev->bo_lock);
	bo->dmabuf = attach->dmabuf;
out_dev_exit:
	drm_dev_exit(idx);
	return ret ? ERR_PTR(ret) : sgt;
}

static struct sg_table *rdu_dmabuf_map(struct dma_buf_attachment *attach,
				       enum dma_data_direction dir)
{
	struct drm_gem_object *obj = attach->dmabuf->priv;
	struct rdu_bo *bo = to_rdu_bo(obj);
	struct sg_table *sgt;
	int ret;

	if (!rdu_bo_is_host(bo))
		return rdu_dmabuf_map_peer(bo, attach, dir);

	/* drm_prime_pages_to_sg() asks what the exporting device takes. */
	sgt = kzalloc(sizeof(*sgt), GFP_KERNEL);
	if (!sgt)
		return ERR_PTR(-ENOMEM);
	ret = sg_alloc_table_from_pages_segment(sgt, bo->pages, obj->size >> PAGE_SHIFT, 0,
						obj->size, rdu_max_segment(attach->dev),
						GFP_KERNEL);
	if (ret)
		goto err_free;
	ret = dma_map_sgtable(attach->dev, sgt, dir, DMA_ATTR_SKIP_CPU_SYNC);
	if (ret)
		goto err_free_table;
	if (rdu_sgt_is_copy(attach->dev, sgt)) {
		ret = -EOPNOTSUPP;
		goto err_unmap;
	}
	return sgt;

err_unmap:
	dma_unmap_sgtable(attach->dev, sgt, dir, DMA_ATTR_SKIP_CPU_SYNC);
err_free_table:
	sg_free_table(sgt);
err_free:
	kfree(sgt);
	return ERR_PTR(ret);
}

static void rdu_dmabuf_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
			     enum dma_data_direction dir)
{
	struct drm_gem_object *obj = attach->dmabuf->priv;
	struct rdu_device *rdev = to_rdu_device(obj->dev);
	struct rdu_bo *bo = to_rdu_bo(obj);

	if (rdu_bo_is_host(bo)) {
		dma_unmap_sgtable(attach->dev, sgt, dir, DMA_ATTR_SKIP_CPU_SYNC);
	} else {
		rdu_peer_unmap(sgt, attach->dev, dir);
		mutex_lock(&rdev->bo_lock);
		if (!--bo->peers)
			list_del_init(&bo->dev_link);
		mutex_unlock(&rdev->bo_lock);
		rdu_pm_put(rdev);
	}
	sg_free_table(sgt);
	kfree(sgt);
}

static const struct dma_buf_ops rdu_dmabuf_ops = {
	.attach = rdu_dmabuf_attach,
	.pin = rdu_dmabuf_pin,
	.unpin = rdu_dmabuf_unpin,
	.map_dma_buf = rdu_dmabuf_map,
	.unmap_dma_buf = rdu_dmabuf_unmap,
	.release = drm_gem_dmabuf_release,
	.mmap = drm_gem_dmabuf_mmap,
	.vmap = drm_gem_dmabuf_vmap,
	.vunmap = drm_gem_dmabuf_vunmap,
};

struct dma_buf *rdu_gem_export(struct drm_gem_object *obj, int flags)
{
	struct drm_device *drm = obj->dev;
	struct dma_buf_export_info info = {
		.exp_name = DRM_RDU_DRIVER_NAME,
		.owner = drm->driver->fops->owner,
		.ops = &rdu_dmabuf_ops,
		.size = obj->size,
		.flags = flags,
		.priv = obj,
		.resv = obj->resv,
	};
	struct dma_buf *dmabuf;

	if (to_rdu_bo(obj)->private_vm || to_rdu_bo(obj)->userptr)
		return ERR_PTR(-EPERM);
	dmabuf = drm_gem_dmabuf_export(drm, &info);
	/* So that its mappings go with all others, see rdu_card_take(). */
	if (!IS_ERR(dmabuf))
		dmabuf->file->f_mapping = drm->anon_inode->i_mapping;
	return dmabuf;
}

/* The card goes: whoever reaches its memory stops. After drm_dev_unplug(). */
static void rdu_prime_take_back(struct rdu_device *rdev)
{
	struct rdu_bo *bo;

	for (;;) {
		mutex_lock(&rdev->bo_lock);
		bo = list_first_entry_or_null(&rdev->lent, struct rdu_bo, dev_link);
		if (bo) {
			drm_gem_object_get(&bo->base); /* its dma-buf holds one */
			list_del_init(&bo->dev_link);
		}
		mutex_unlock(&rdev->bo_lock);
		if (!bo)
			return;
		dma_resv_lock(bo->base.resv, NULL);
		if (bo->peers) /* then the importer's attachment holds the dma-buf */
			rdu_dma_buf_invalidate(bo->dmabuf);
		dma_resv_wait_timeout(bo->base.resv, DMA_RESV_USAGE_BOOKKEEP, false,
				      MAX_SCHEDULE_TIMEOUT);
		dma_resv_unlock(bo->base.resv);
		drm_gem_object_put(&bo->base);
	}
}

/* ---- import ------------------------------------------------------------ */

/* The context may be at work in what was just taken out of its VM. */
static void rdu_ctx_let_go(struct rdu_ctx *ctx)
{
	struct dma_fence *fence = rdu_ctx_last_fence(ctx);
	bool cookie;
	int idx;

	if (!fence)
		return;
	if (!dma_fence_wait_timeout(fence, false, RDU_REVOKE_TIMEOUT)) {
		cookie = dma_fence_begin_signalling();
		if (!rdu_card_enter(ctx->rdev, &idx)) {
			rdu_ctx_kill(ctx, DRM_RDU_CTX_STATE_INNOCENT);
			rdu_card_exit(ctx->rdev, idx);
		}
		dma_fence_end_signalling(cookie);
		/* If the queue does not stop: until the card has been reset. */
		dma_fence_wait(fence, false);
	}
	dma_fence_put(fence);
}

/* The context on a queue, if its VM lost something just now. */
static struct rdu_ctx *rdu_ctx_hit(struct rdu_device *rdev, u32 queue)
{
	struct rdu_ctx *ctx;

	mutex_lock(&rdev->grant_lock);
	ctx = rdev->queues[queue];
	if (ctx)
		ctx = ctx->vm->mmu.hit ? rdu_ctx_get_unless_zero(ctx) : NULL;
	mutex_unlock(&rdev->grant_lock);
	return ctx;
}

/* Takes a buffer out of all VMs; when it returns the card does not reach it. */
static void rdu_bo_forget(struct rdu_device *rdev, struct rdu_bo *bo)
{
	struct rdu_mmu *mmu;
	struct rdu_ctx *ctx;
	bool any = false;
	u32 q;
	int idx;

	mutex_lock(&rdev->mmus_lock);
	list_for_each_entry(mmu, &rdev->mmus, link) {
		mutex_lock(&mmu->lock);
		mmu->hit = rdu_mmu_forget(mmu, bo);
		mutex_unlock(&mmu->lock);
		any |= mmu->hit;
	}
	if (any && !rdu_card_enter(rdev, &idx)) {
		for (q = 1; q < rdev->num_queues; q++)
			rdu_qwrite(rdev, q, RDU_REG_Q_TLB_FLUSH, 1);
		rdu_card_exit(rdev, idx);
	}
	for (q = 1; any && q < rdev->num_queues; q++) {
		ctx = rdu_ctx_hit(rdev, q);
		if (!ctx)
			continue;
		rdu_ctx_let_go(ctx);
		rdu_ctx_put(ctx);
	}
	mutex_unlock(&rdev->mmus_lock);
}

/* The exporter wants its memory back, for good. */
static void rdu_bo_revoke(struct rdu_bo *bo)
{
	struct rdu_device *rdev = to_rdu_device(bo->base.dev);

	dma_resv_assert_held(bo->base.resv);
	if (bo->revoked)
		return;
	/* Not mapped yet: the exporter moves it to where it can be pinned. */
	if (!bo->sgt)
		return;
	WRITE_ONCE(bo->revoked, true); /* from here on VM_BIND refuses it */
	rdu_bo_forget(rdev, bo);
	dma_buf_unmap_attachment(bo->base.import_attach, bo->sgt, rdu_bo_direction(bo));
	bo->sgt = NULL;
}

static void rdu_prime_invalidate(struct dma_buf_attachment *attach)
{
	rdu_bo_revoke(attach->importer_priv);
}

static const struct dma_buf_attach_ops rdu_attach_ops = {
	.allow_peer2peer = true,
	.RDU_DMA_BUF_INVALIDATE = rdu_prime_invalidate,
};

/* Takes what rdu_gem_import() made in part, too. */
static void rdu_prime_detach(struct rdu_bo *bo)
{
	struct dma_buf_attachment *attach = bo->base.import_attach;
	struct dma_buf *dmabuf = attach->dmabuf;

	lockdep_assert_held(&to_rdu_device(bo->base.dev)->borrow_lock);
	dma_resv_lock(dmabuf->resv, NULL);
	if (bo->sgt)
		dma_buf_unmap_attachment(attach, bo->sgt, rdu_bo_direction(bo));
	bo->sgt = NULL;
	if (bo->pinned)
		dma_buf_unpin(attach);
	bo->pinned = false;
	dma_resv_unlock(dmabuf->resv);
	bo->base.import_attach = NULL;
	/* Unmaps what the core has kept mapped. */
	dma_buf_detach(dmabuf, attach);
}

void rdu_prime_release(struct rdu_bo *bo)
{
	struct rdu_device *rdev = to_rdu_device(bo->base.dev);

	mutex_lock(&rdev->borrow_lock);
	mutex_lock(&rdev->bo_lock);
	list_del_init(&bo->dev_link);
	mutex_unlock(&rdev->bo_lock);
	if (bo->base.import_attach)
		rdu_prime_detach(bo);
	mutex_unlock(&rdev->borrow_lock);
	dma_buf_put(bo->dmabuf); /* and the reservation with it */
}

static int rdu_prime_map(struct rdu_bo *bo)
{
	struct rdu_device *rdev = to_rdu_device(bo->base.dev);
	struct dma_buf_attachment *attach = bo->base.import_attach;
	struct sg_table *sgt;
	long left;
	int ret;

	ret = dma_resv_lock_interruptible(bo->base.resv, NULL);
	if (ret)
		return ret;
	/* Where it is, it stays: the card can't wait for it to come back. */
	ret = dma_buf_pin(attach);
	if (ret)
		goto out_unlock;
	bo->pinned = true;
	sgt = dma_buf_map_attachment(attach, rdu_bo_direction(bo));
	if (IS_ERR(sgt)) {
		ret = PTR_ERR(sgt);
		goto out_unlock;
	}
	bo->sgt = sgt;
	/* The exporter may be moving it there still, or clearing it. */
	left = dma_resv_wait_timeout(bo->base.resv, DMA_RESV_USAGE_KERNEL, true,
				     MAX_SCHEDULE_TIMEOUT);
	if (left < 0) {
		ret = left;
		goto out_unlock;
	}
	ret = rdu_bo_init_extents_sgt(bo);
	if (ret)
		goto out_unlock;
	mutex_lock(&rdev->bo_lock);
	list_add_tail(&bo->dev_link, &rdev->borrowed);
	mutex_unlock(&rdev->bo_lock);
out_unlock:
	dma_resv_unlock(bo->base.resv);
	return ret;
}

struct drm_gem_object *rdu_gem_import(struct drm_device *drm, struct dma_buf *dmabuf)
{
	struct dma_buf_attachment *attach;
	struct drm_gem_object *obj;
	struct rdu_bo *bo;
	int ret, idx;

	if (dmabuf->ops == &rdu_dmabuf_ops) {
		obj = dmabuf->priv;
		if (obj->dev == drm) {
			drm_gem_object_get(obj);
			return obj;
		}
	}
	if (!dmabuf->size || dmabuf->size & (PAGE_SIZE - 1))
		return ERR_PTR(-EINVAL);
	if (!drm_dev_enter(drm, &idx))
		return ERR_PTR(-ENODEV);
	bo = rdu_bo_alloc(DRM_RDU_PLACEMENT_SYSTEM);
	if (!bo) {
		ret = -ENOMEM;
		goto err_dev_exit;
	}
	/* A descriptor for reading gives a buffer for reading. */
	bo->readonly = !(dmabuf->file->f_mode & FMODE_WRITE);
	bo->base.resv = dmabuf->resv;
	drm_gem_private_object_init(drm, &bo->base, dmabuf->size);
	get_dma_buf(dmabuf); /* its reservation is the buffer's as long as that lives */
	bo->imported = true;
	bo->dmabuf = dmabuf;

	attach = dma_buf_dynamic_attach(dmabuf, drm->dev, &rdu_attach_ops, bo);
	if (IS_ERR(attach)) {
		ret = PTR_ERR(attach);
		goto err_put;
	}
	bo->base.import_attach = attach;
	ret = rdu_prime_map(bo);
	if (ret)
		goto err_put;
	drm_dev_exit(idx);
	return &bo->base;

err_put:
	drm_gem_object_put(&bo->base);
err_dev_exit:
	drm_dev_exit(idx);
	return ERR_PTR(ret);
}

/*
 * The card goes: it reaches nobody's memory any more, and nothing stays mapped for a
 * device that nobody drives. Buffers may be on the point of being freed: that waits
 * for borrow_lock, as long as they are in the list.
 */
static void rdu_prime_give_back(struct rdu_device *rdev)
{
	struct rdu_bo *bo;

	mutex_lock(&rdev->drm.object_name_lock); /* an export looks at import_attach */
	mutex_lock(&rdev->borrow_lock);
	for (;;) {
		mutex_lock(&rdev->bo_lock);
		bo = list_first_entry_or_null(&rdev->borrowed, struct rdu_bo, dev_link);
		if (bo)
			list_del_init(&bo->dev_link);
		mutex_unlock(&rdev->bo_lock);
		if (!bo)
			break;
		dma_resv_lock(bo->base.resv, NULL);
		rdu_bo_revoke(bo);
		dma_resv_unlock(bo->base.resv);
		rdu_prime_detach(bo);
	}
	mutex_unlock(&rdev->borrow_lock);
	mutex_unlock(&rdev->drm.object_name_lock);
}

/* After drm_dev_unplug(), when the card has been stopped. */
void rdu_prime_unplug(struct rdu_device *rdev)
{
	rdu_prime_give_back(rdev);
	rdu_prime_take_back(rdev);
}
