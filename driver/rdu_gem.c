// SPDX-License-Identifier: GPL-2.0-only
/*
 * Buffers. A buffer lives in card memory or in system memory for all its life:
 * its pages are there from the start, so that binding and faulting never wait.
 */
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include <drm/drm_drv.h>
#include <drm/drm_prime.h>
#include <drm/drm_vma_manager.h>

#include "rdu_gem.h"
#include "rdu_queue.h"
#include "rdu_vm.h"

/* Pages mapped by one CPU fault: a fault costs more than filling some entries. */
#define RDU_FAULT_AROUND	512

/**
 * rdu_bo_addr() - Where a byte of a buffer is for the card
 * @bo: buffer
 * @offset: less than its size
 * @run: gets the bytes that follow without a gap
 *
 * Return: card or DMA address.
 */
u64 rdu_bo_addr(const struct rdu_bo *bo, u64 offset, u64 *run)
{
	u32 lo = 0, hi = bo->num_extents;

	while (hi - lo > 1) {
		u32 mid = lo + (hi - lo) / 2;

		if (bo->extents[mid].offset <= offset)
			lo = mid;
		else
			hi = mid;
	}
	offset -= bo->extents[lo].offset;
	*run = bo->extents[lo].size - offset;
	return bo->extents[lo].addr + offset;
}

/* Whether an address is in the buffer. */
bool rdu_bo_has_addr(const struct rdu_bo *bo, u64 addr)
{
	u32 i;

	for (i = 0; i < bo->num_extents; i++)
		if (addr >= bo->extents[i].addr &&
		    addr - bo->extents[i].addr < bo->extents[i].size)
			return true;
	return false;
}

static int rdu_bo_alloc_extents(struct rdu_bo *bo, size_t count)
{
	/* No warning: where there is memory enough, users can ask for too many. */
	bo->extents = kvmalloc_array(count, sizeof(*bo->extents),
				     GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	return bo->extents ? 0 : -ENOMEM;
}

static void rdu_bo_add_extent(struct rdu_bo *bo, u64 addr, u64 size)
{
	struct rdu_extent *last = bo->num_extents ? &bo->extents[bo->num_extents - 1] : NULL;

	if (last && last->addr + last->size == addr) {
		last->size += size;
		return;
	}
	bo->extents[bo->num_extents++] = (struct rdu_extent) {
		.offset = last ? last->offset + last->size : 0,
		.addr = addr,
		.size = size,
	};
}

static int rdu_bo_init_device(struct rdu_device *rdev, struct rdu_bo *bo,
			      struct rdu_user *user)
{
	struct rdu_buddy_block *block;
	size_t count = 0;
	int ret;

	if (bo->base.size > rdev->vram.size)
		return -ENOSPC;
	ret = rdu_charge(&bo->charge, user, RDU_LIMIT_MEMORY, bo->base.size);
	if (ret)
		return ret;
	ret = rdu_vram_alloc(rdev, bo->base.size, false, &bo->vram);
	if (ret)
		return ret;
	list_for_each_entry(block, &bo->vram.blocks, link)
		count++;
	ret = rdu_bo_alloc_extents(bo, count);
	if (ret)
		return ret;
	list_for_each_entry(block, &bo->vram.blocks, link)
		rdu_bo_add_extent(bo, rdu_buddy_block_offset(block),
				  rdu_buddy_block_size(&rdev->vram.mm, block));
	return rdu_vram_clear(rdev, &bo->vram);
}

/*
 * Does the device see a copy of what was mapped for it (swiotlb), to be brought up to
 * date each time? Jobs do not say when that would be.
 */
bool rdu_sgt_is_copy(struct device *dev, struct sg_table *sgt)
{
	struct scatterlist *sg;
	int i;

	for_each_sgtable_dma_sg(sgt, sg, i)
		if (dma_need_sync(dev, sg_dma_address(sg)))
			return true;
	return false;
}

int rdu_bo_init_extents_sgt(struct rdu_bo *bo)
{
	struct drm_device *drm = bo->base.dev;
	struct scatterlist *sg;
	int ret, i;

	if (rdu_sgt_is_copy(drm->dev, bo->sgt)) {
		drm_err_once(drm, "the kernel copies memory that the card is to reach (swiotlb): only buffers in card memory work\n");
		return -EOPNOTSUPP;
	}
	ret = rdu_bo_alloc_extents(bo, bo->sgt->nents);
	if (ret)
		return ret;
	for_each_sgtable_dma_sg(bo->sgt, sg, i) {
		u64 addr = sg_dma_address(sg);
		u64 size = sg_dma_len(sg);

		if ((addr | size) & (RDU_PAGE_SIZE - 1) || addr & ~RDU_PTE_ADDR || !size)
			return -EINVAL;
		rdu_bo_add_extent(bo, addr, size);
	}
	if (!bo->num_extents || bo->extents[bo->num_extents - 1].offset +
	    bo->extents[bo->num_extents - 1].size < bo->base.size)
		return -EINVAL;
	return 0;
}

/*
 * The CPU and the card see the same memory: there is nothing to synchronise. And
 * two buffers may be the same pages of a process, mapped twice.
 */
#define RDU_DMA_ATTRS	DMA_ATTR_SKIP_CPU_SYNC

/* Makes bo->pages reachable for the card. */
static int rdu_bo_map_pages(struct rdu_device *rdev, struct rdu_bo *bo)
{
	struct sg_table *sgt;
	int ret;

	sgt = drm_prime_pages_to_sg(&rdev->drm, bo->pages, bo->base.size >> PAGE_SHIFT);
	if (IS_ERR(sgt))
		return PTR_ERR(sgt);
	ret = dma_map_sgtable(rdev->drm.dev, sgt, rdu_bo_direction(bo), RDU_DMA_ATTRS);
	if (ret) {
		sg_free_table(sgt);
		kfree(sgt);
		return ret;
	}
	bo->sgt = sgt;
	mutex_lock(&rdev->bo_lock);
	bo->mapped = true;
	list_add_tail(&bo->dev_link, &rdev->bos);
	mutex_unlock(&rdev->bo_lock);
	return rdu_bo_init_extents_sgt(bo);
}

static int rdu_bo_init_system(struct rdu_device *rdev, struct rdu_bo *bo,
			      struct rdu_user *user)
{
	struct page **pages;
	int ret;

	ret = rdu_charge(&bo->charge, user, RDU_LIMIT_SYSTEM, bo->base.size);
	if (ret)
		return ret;
	pages = drm_gem_get_pages(&bo->base);
	if (IS_ERR(pages))
		return PTR_ERR(pages);
	bo->pages = pages;
	return rdu_bo_map_pages(rdev, bo);
}

/* Pages stay where they are as long as the buffer lives; they count as locked. */
static int rdu_bo_pin_userptr(struct rdu_bo *bo, u64 addr)
{
	unsigned long num = bo->base.size >> PAGE_SHIFT, got = 0;
	unsigned int flags = FOLL_LONGTERM | (bo->readonly ? 0 : FOLL_WRITE);
	struct page **pages;
	int ret;

	pages = kvmalloc_array(num, sizeof(*pages), GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!pages)
		return -ENOMEM;
	ret = account_locked_vm(current->mm, num, true);
	if (ret)
		goto err_free_pages;
	while (got < num) {
		ret = pin_user_pages_fast(addr + got * PAGE_SIZE,
					  min_t(unsigned long, num - got, 1024), flags,
					  pages + got);
		if (ret > 0 && !fatal_signal_pending(current)) {
			got += ret;
			continue;
		}
		if (ret > 0)
			got += ret;
		ret = ret < 0 ? ret : -EFAULT;
		goto err_unpin;
	}
	bo->pages = pages;
	bo->mm = current->mm;
	mmgrab(bo->mm);
	return 0;

err_unpin:
	unpin_user_pages(pages, got);
	account_locked_vm(current->mm, num, false);
err_free_pages:
	kvfree(pages);
	return ret;
}

static void rdu_bo_put_userptr(struct rdu_bo *bo)
{
	unsigned long num = bo->base.size >> PAGE_SHIFT;

	unpin_user_pages_dirty_lock(bo->pages, num, !bo->readonly);
	account_locked_vm(bo->mm, num, false);
	mmdrop(bo->mm);
	kvfree(bo->pages);
}

static void rdu_bo_unmap_locked(struct rdu_device *rdev, struct rdu_bo *bo)
{
	lockdep_assert_held(&rdev->bo_lock);
	if (!bo->mapped)
		return;
	bo->mapped = false;
	list_del(&bo->dev_link);
	dma_unmap_sgtable(rdev->drm.dev, bo->sgt, rdu_bo_direction(bo), RDU_DMA_ATTRS);
}

static void rdu_bo_unmap(struct rdu_device *rdev, struct rdu_bo *bo)
{
	mutex_lock(&rdev->bo_lock);
	rdu_bo_unmap_locked(rdev, bo);
	mutex_unlock(&rdev->bo_lock);
}

/* The device goes, buffers may stay a little: the card reaches none of them. */
void rdu_gem_unmap_all(struct rdu_device *rdev)
{
	struct rdu_bo *bo, *next;

	mutex_lock(&rdev->bo_lock);
	list_for_each_entry_safe(bo, next, &rdev->bos, dev_link)
		rdu_bo_unmap_locked(rdev, bo);
	mutex_unlock(&rdev->bo_lock);
}

static void rdu_bo_free(struct rdu_bo *bo)
{
	struct drm_gem_object *obj = &bo->base;
	struct rdu_device *rdev = to_rdu_device(obj->dev);

	if (bo->imported) {
		rdu_prime_release(bo);
	} else {
		if (bo->sgt) {
			rdu_bo_unmap(rdev, bo);
			sg_free_table(bo->sgt);
			kfree(bo->sgt);
		}
		if (bo->pages && bo->userptr)
			rdu_bo_put_userptr(bo);
		else if (bo->pages)
			drm_gem_put_pages(obj, bo->pages, true, true);
		if (!list_empty(&bo->vram.blocks))
			rdu_vram_free(rdev, &bo->vram);
	}
	rdu_uncharge(&bo->charge);
	if (bo->dummy)
		__free_page(bo->dummy);
	kvfree(bo->extents);
	drm_gem_object_release(obj);
	if (bo->private_vm)
		drm_gpuvm_put(bo->private_vm);
	kfree(bo);
}

static void rdu_bo_fence_cb(struct dma_fence *fence, struct dma_fence_cb *cb)
{
	rdu_cleanup_queue(&container_of(cb, struct rdu_bo, free_cb)->free_work);
}

/* Our jobs' only: what others do with a buffer they have lent is their affair. */
static struct dma_fence *rdu_bo_job_fence(struct rdu_bo *bo)
{
	struct dma_resv_iter cursor;
	struct dma_fence *fence;

	dma_resv_iter_begin(&cursor, bo->base.resv, DMA_RESV_USAGE_BOOKKEEP);
	dma_resv_for_each_fence_unlocked(&cursor, fence)
		if (rdu_fence_is(fence))
			break;
	fence = dma_fence_get(fence);
	dma_resv_iter_end(&cursor);
	return fence;
}

/* Frees it, or is called again when the next job is done. */
static void rdu_bo_free_work(struct work_struct *work)
{
	struct rdu_bo *bo = container_of(work, struct rdu_bo, free_work);
	struct drm_device *drm = bo->base.dev;
	struct dma_fence *fence;
	int ret;

	while ((fence = rdu_bo_job_fence(bo))) {
		ret = dma_fence_add_callback(fence, &bo->free_cb, rdu_bo_fence_cb);
		dma_fence_put(fence);
		if (!ret)
			return;
	}
	rdu_bo_free(bo);
	drm_dev_put(drm);
	rdu_cleanup_done();
}

/*
 * Also takes buffers that were made in part. One may have been taken out of a VM
 * while the card was at work: see rdu_vm_hold().
 */
static void rdu_gem_free(struct drm_gem_object *obj)
{
	struct rdu_bo *bo = to_rdu_bo(obj);

	drm_dev_get(obj->dev);
	rdu_cleanup_get();
	INIT_WORK(&bo->free_work, rdu_bo_free_work);
	rdu_bo_free_work(&bo->free_work);
}

/* The card is gone: let the process have a page of zeros, not die. */
static vm_fault_t rdu_gem_fault_gone(struct vm_area_struct *vma, struct rdu_bo *bo,
				     unsigned long addr)
{
	struct page *page = READ_ONCE(bo->dummy);

	if (!page) {
		page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!page)
			return VM_FAULT_OOM;
		if (cmpxchg(&bo->dummy, NULL, page)) {
			__free_page(page);
			page = READ_ONCE(bo->dummy);
		}
	}
	return vmf_insert_pfn(vma, addr, page_to_pfn(page));
}

static vm_fault_t rdu_gem_insert(struct vm_area_struct *vma, struct rdu_bo *bo,
				 unsigned long addr)
{
	struct rdu_device *rdev = to_rdu_device(bo->base.dev);
	u64 offset, run;

	/* vm_pgoff is that of the buffer's node, moved when a mapping was split. */
	offset = (u64)(vma->vm_pgoff - drm_vma_node_start(&bo->base.vma_node)) << PAGE_SHIFT;
	offset += addr - vma->vm_start;
	if (offset >= bo->base.size)
		return VM_FAULT_SIGBUS;
	if (rdu_bo_is_host(bo))
		return vmf_insert_pfn(vma, addr, page_to_pfn(bo->pages[offset >> PAGE_SHIFT]));
	return vmf_insert_pfn(vma, addr,
			      (rdev->vram.phys + rdu_bo_addr(bo, offset, &run)) >> PAGE_SHIFT);
}

static vm_fault_t rdu_gem_fill(struct vm_fault *vmf, struct rdu_bo *bo)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long addr = vmf->address & PAGE_MASK;
	unsigned long window = round_down(addr, RDU_FAULT_AROUND * PAGE_SIZE);
	unsigned long end = min(vma->vm_end, window + RDU_FAULT_AROUND * PAGE_SIZE);
	vm_fault_t ret;

	ret = rdu_gem_insert(vma, bo, addr);
	/* Neighbours are a favour: their trouble is not this access's. */
	if (ret == VM_FAULT_NOPAGE)
		for (addr = max(vma->vm_start, window); addr < end; addr += PAGE_SIZE)
			if (rdu_gem_insert(vma, bo, addr) != VM_FAULT_NOPAGE)
				break;
	return ret;
}

/*
 * Card memory: waits while the card is being reset. rdu_card_take() takes all
 * mappings away, since it can't be reached then.
 */
static vm_fault_t rdu_gem_fault(struct vm_fault *vmf)
{
	struct rdu_bo *bo = to_rdu_bo(vmf->vma->vm_private_data);
	struct rdu_device *rdev = to_rdu_device(bo->base.dev);
	unsigned int flags;
	vm_fault_t ret;
	int idx;

	if (rdu_bo_is_host(bo)) {
		if (!drm_dev_enter(&rdev->drm, &idx))
			return rdu_gem_fault_gone(vmf->vma, bo, vmf->address & PAGE_MASK);
		ret = rdu_gem_fill(vmf, bo);
		drm_dev_exit(idx);
		return ret;
	}
	if (rdu_card_enter(rdev, &idx))
		return rdu_gem_fault_gone(vmf->vma, bo, vmf->address & PAGE_MASK);
	/* A page table may be needed: it is not waited for, the card might be. */
	flags = memalloc_noreclaim_save();
	ret = rdu_gem_fill(vmf, bo);
	memalloc_noreclaim_restore(flags);
	rdu_card_exit(rdev, idx);
	return ret;
}

static const struct vm_operations_struct rdu_gem_vm_ops = {
	.fault = rdu_gem_fault,
	.open = drm_gem_vm_open,
	.close = drm_gem_vm_close,
};

static int rdu_gem_mmap(struct drm_gem_object *obj, struct vm_area_struct *vma)
{
	if (to_rdu_bo(obj)->imported || to_rdu_bo(obj)->userptr)
		return -EINVAL;
	if ((vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE)
		return -EINVAL; /* copy on write makes no sense here */
	if (vma->vm_flags & VM_EXEC)
		return -EINVAL;

	vm_flags_mod(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP, VM_MAYEXEC);
	vma->vm_page_prot = vm_get_page_prot(vma->vm_flags);
	return 0;
}

static int rdu_gem_vmap(struct drm_gem_object *obj, struct iosys_map *map)
{
	struct rdu_bo *bo = to_rdu_bo(obj);
	void *addr;

	if (!bo->pages)
		return -EOPNOTSUPP;
	addr = vmap(bo->pages, obj->size >> PAGE_SHIFT, VM_MAP, PAGE_KERNEL);
	if (!addr)
		return -ENOMEM;
	iosys_map_set_vaddr(map, addr);
	return 0;
}

static void rdu_gem_vunmap(struct drm_gem_object *obj, struct iosys_map *map)
{
	vunmap(map->vaddr);
}

static const struct drm_gem_object_funcs rdu_gem_funcs = {
	.free = rdu_gem_free,
	.export = rdu_gem_export,
	.vmap = rdu_gem_vmap,
	.vunmap = rdu_gem_vunmap,
	.mmap = rdu_gem_mmap,
	.vm_ops = &rdu_gem_vm_ops,
};

struct rdu_bo *rdu_bo_alloc(u32 placement)
{
	struct rdu_bo *bo = kzalloc(sizeof(*bo), GFP_KERNEL_ACCOUNT);

	if (!bo)
		return NULL;
	bo->placement = placement;
	bo->base.funcs = &rdu_gem_funcs;
	INIT_LIST_HEAD(&bo->vram.blocks);
	INIT_LIST_HEAD(&bo->dev_link);
	return bo;
}

/* The VM's reservation object is the buffer's: takes a reference on the VM. */
static struct rdu_bo *rdu_bo_create(struct rdu_file *rfile, u64 size, u32 placement,
				    struct rdu_vm *vm)
{
	struct rdu_device *rdev = rfile->rdev;
	struct rdu_bo *bo;
	int ret;

	bo = rdu_bo_alloc(placement);
	if (!bo)
		return ERR_PTR(-ENOMEM);
	if (vm) {
		bo->private_vm = drm_gpuvm_get(&vm->base);
		bo->base.resv = drm_gpuvm_resv(&vm->base);
	}
	if (placement == DRM_RDU_PLACEMENT_SYSTEM) {
		ret = drm_gem_object_init(&rdev->drm, &bo->base, size);
		if (ret) {
			drm_gem_private_object_fini(&bo->base);
			if (bo->private_vm)
				drm_gpuvm_put(bo->private_vm);
			kfree(bo);
			return ERR_PTR(ret);
		}
		/*
		 * Zeroed pages, anywhere: the card reaches all of them. Charged to the
		 * cgroup by shmem: __GFP_ACCOUNT would charge them once more, for good.
		 */
		mapping_set_gfp_mask(bo->base.filp->f_mapping,
				     GFP_HIGHUSER | __GFP_RETRY_MAYFAIL | __GFP_NOWARN);
		ret = rdu_bo_init_system(rdev, bo, rfile->user);
	} else {
		drm_gem_private_object_init(&rdev->drm, &bo->base, size);
		ret = rdu_bo_init_device(rdev, bo, rfile->user);
	}
	if (!ret)
		ret = drm_gem_create_mmap_offset(&bo->base);
	if (ret) {
		drm_gem_object_put(&bo->base);
		return ERR_PTR(ret);
	}
	return bo;
}

int rdu_ioctl_bo_create(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_rdu_bo_create *args = data;
	struct rdu_vm *vm = NULL;
	struct rdu_bo *bo;
	u64 size;
	int ret, idx;

	if (args->flags || !args->size || args->placement > DRM_RDU_PLACEMENT_SYSTEM)
		return -EINVAL;
	/* Bounds the arithmetic and the page array below. */
	if (args->size > 1ULL << (RDU_VA_BITS - 1))
		return -EINVAL;
	size = ALIGN(args->size, PAGE_SIZE);
	if (args->placement == DRM_RDU_PLACEMENT_SYSTEM &&
	    size >> PAGE_SHIFT > totalram_pages())
		return -ENOMEM;

	if (args->vm_id) {
		vm = rdu_vm_lookup(file->driver_priv, args->vm_id);
		if (!vm)
			return -ENOENT;
	}
	if (!drm_dev_enter(drm, &idx)) {
		ret = -ENODEV;
		goto out_put_vm;
	}
	bo = rdu_bo_create(file->driver_priv, size, args->placement, vm);
	if (IS_ERR(bo)) {
		ret = PTR_ERR(bo);
		goto out_dev_exit;
	}
	ret = drm_gem_handle_create(file, &bo->base, &args->handle);
	drm_gem_object_put(&bo->base);
	if (!ret)
		args->size = size;
out_dev_exit:
	drm_dev_exit(idx);
out_put_vm:
	if (vm)
		rdu_vm_put(vm);
	return ret;
}

int rdu_ioctl_bo_create_userptr(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_rdu_bo_create_userptr *args = data;
	struct rdu_device *rdev = to_rdu_device(drm);
	struct rdu_bo *bo;
	int ret, idx;
	u64 end;

	if (args->flags & ~DRM_RDU_USERPTR_READONLY || !args->size ||
	    (args->user_ptr | args->size) & (PAGE_SIZE - 1) ||
	    check_add_overflow(args->user_ptr, args->size, &end))
		return -EINVAL;
	if (!access_ok(u64_to_user_ptr(args->user_ptr), args->size))
		return -EFAULT;
	if (args->size >> PAGE_SHIFT > totalram_pages())
		return -ENOMEM;

	bo = rdu_bo_alloc(DRM_RDU_PLACEMENT_SYSTEM);
	if (!bo)
		return -ENOMEM;
	bo->userptr = true;
	bo->readonly = args->flags & DRM_RDU_USERPTR_READONLY;
	drm_gem_private_object_init(drm, &bo->base, args->size);
	/* Not in drm_dev_enter(): a page of the user's may never come. */
	ret = rdu_bo_pin_userptr(bo, args->user_ptr);
	if (ret)
		goto out_put;
	if (!drm_dev_enter(drm, &idx)) {
		ret = -ENODEV;
		goto out_put;
	}
	ret = rdu_bo_map_pages(rdev, bo);
	if (!ret)
		ret = drm_gem_handle_create(file, &bo->base, &args->handle);
	drm_dev_exit(idx);
out_put:
	drm_gem_object_put(&bo->base);
	return ret;
}

int rdu_ioctl_bo_info(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_rdu_bo_info *args = data;
	struct drm_gem_object *obj;
	struct rdu_bo *bo;

	if (args->pad)
		return -EINVAL;
	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;
	bo = to_rdu_bo(obj);
	args->size = obj->size;
	args->placement = bo->placement;
	args->flags = 0;
	args->mmap_offset = 0;
	if (bo->imported)
		args->flags |= DRM_RDU_BO_IMPORTED;
	else if (bo->userptr)
		args->flags |= DRM_RDU_BO_USERPTR;
	else
		args->mmap_offset = drm_vma_node_offset_addr(&obj->vma_node);
	if (bo->private_vm)
		args->flags |= DRM_RDU_BO_PRIVATE;
	drm_gem_object_put(obj);
	return 0;
}

#if IS_ENABLED(CONFIG_DRM_ACCEL_RDU_KUNIT_TEST)
#include "rdu_gem_test.c"
#endif
