// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device address spaces: drm_gpuvm keeps what is mapped where, rdu_mmu tells
 * the card. Binding is synchronous.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "rdu_ctx.h"
#include "rdu_gem.h"
#include "rdu_vm.h"

#define RDU_VA_READONLY DRM_GPUVA_USERBITS
/* Page tables out of use that may wait for the card to be quiet. */
#define RDU_MAX_DEAD_TABLES 64

static void rdu_gpuvm_free(struct drm_gpuvm *gpuvm)
{
	kfree(container_of(gpuvm, struct rdu_vm, base));
}

static const struct drm_gpuvm_ops rdu_gpuvm_ops;

/* The reservation of a buffer protects its list of mappings. */
static struct drm_gpuvm_bo *rdu_vm_bo_get(struct rdu_vm *vm, struct drm_gem_object *obj)
{
	struct drm_gpuvm_bo *vm_bo;

	dma_resv_lock(obj->resv, NULL);
	vm_bo = rdu_gpuvm_bo_obtain(&vm->base, obj);
	dma_resv_unlock(obj->resv);
	return vm_bo;
}

static void rdu_vm_bo_put(struct drm_gpuvm_bo *vm_bo)
{
	struct drm_gem_object *obj = vm_bo->obj;

	drm_gem_object_get(obj); /* vm_bo may hold the last reference */
	dma_resv_lock(obj->resv, NULL);
	drm_gpuvm_bo_put(vm_bo);
	dma_resv_unlock(obj->resv);
	drm_gem_object_put(obj);
}

/* Bytes that jobs can reach, for fdinfo. */
static u64 *rdu_va_counter(struct drm_gpuva *va)
{
	struct rdu_vm *vm = container_of(va->vm, struct rdu_vm, base);

	return &vm->mapped[rdu_bo_is_host(to_rdu_bo(va->gem.obj))];
}

static void rdu_va_link(struct drm_gpuva *va, struct drm_gpuvm_bo *vm_bo)
{
	u64 *mapped = rdu_va_counter(va);

	WRITE_ONCE(*mapped, *mapped + va->va.range);
	dma_resv_lock(vm_bo->obj->resv, NULL);
	drm_gpuva_link(va, vm_bo);
	dma_resv_unlock(vm_bo->obj->resv);
}

/*
 * The card may be in the middle of an access that it began before the flush:
 * the buffer is not freed before what is in flight now is done.
 */
static void rdu_vm_hold(struct rdu_vm *vm, struct drm_gem_object *obj)
{
	struct dma_fence *fence;
	struct rdu_ctx *ctx;

	lockdep_assert_held(&vm->lock);
	dma_resv_assert_held(obj->resv);
	list_for_each_entry(ctx, &vm->ctxs, vm_link) {
		fence = rdu_ctx_last_fence(ctx);
		if (!fence)
			continue;
		if (!dma_resv_reserve_fences(obj->resv, 1))
			dma_resv_add_fence(obj->resv, fence, DMA_RESV_USAGE_BOOKKEEP);
		else
			dma_fence_wait(fence, false);
		dma_fence_put(fence);
	}
}

/*
 * The same for tables that fell out. They wait for a quiet moment; when there are many
 * it is waited for, unless a signal comes. They count as the user's until then.
 */
static void rdu_vm_reap(struct rdu_vm *vm)
{
	bool many = rdu_mmu_num_dead(&vm->mmu) > RDU_MAX_DEAD_TABLES;
	struct dma_fence *fence;
	struct rdu_ctx *ctx;
	long ret;

	lockdep_assert_held(&vm->lock);
	if (!rdu_mmu_num_dead(&vm->mmu))
		return;
	list_for_each_entry(ctx, &vm->ctxs, vm_link) {
		fence = rdu_ctx_last_fence(ctx);
		if (!fence)
			continue;
		ret = many ? dma_fence_wait(fence, true) : -EBUSY;
		dma_fence_put(fence);
		if (ret)
			return;
	}
	rdu_mmu_reap(&vm->mmu);
}

static void rdu_va_unlink(struct rdu_vm *vm, struct drm_gpuva *va, bool hold)
{
	struct drm_gem_object *obj = va->gem.obj;
	u64 *mapped = rdu_va_counter(va);

	WRITE_ONCE(*mapped, *mapped - va->va.range);
	drm_gem_object_get(obj); /* the last link may hold the last reference */
	dma_resv_lock(obj->resv, NULL);
	if (hold)
		rdu_vm_hold(vm, obj);
	drm_gpuva_unlink(va);
	dma_resv_unlock(obj->resv);
	drm_gem_object_put(obj);
}

static void rdu_vm_release(struct kref *ref)
{
	struct rdu_vm *vm = container_of(ref, struct rdu_vm, ref);
	struct drm_gpuva *va, *next;

	drm_gpuvm_for_each_va_safe(va, next, &vm->base) {
		if (va == &vm->base.kernel_alloc_node)
			continue;
		drm_gpuva_remove(va);
		rdu_va_unlink(vm, va, false); /* no context, nothing in flight */
		kfree(va);
	}
	rdu_mmu_fini(&vm->mmu);
	mutex_destroy(&vm->lock);
	drm_gpuvm_put(&vm->base);
}

void rdu_vm_put(struct rdu_vm *vm)
{
	kref_put(&vm->ref, rdu_vm_release);
}

struct rdu_vm *rdu_vm_lookup(struct rdu_file *rfile, u32 id)
{
	struct rdu_vm *vm;

	xa_lock(&rfile->vms);
	vm = xa_load(&rfile->vms, id);
	if (vm)
		kref_get(&vm->ref);
	xa_unlock(&rfile->vms);
	return vm;
}

int rdu_ioctl_vm_create(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_rdu_vm_create *args = data;
	struct rdu_device *rdev = to_rdu_device(drm);
	struct rdu_file *rfile = file->driver_priv;
	struct drm_gem_object *resv_obj;
	struct rdu_vm *vm;
	int ret;

	if (args->flags)
		return -EINVAL;

	vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	if (!vm)
		return -ENOMEM;
	ret = rdu_mmu_init(&vm->mmu, rdev, rfile->user);
	if (ret)
		goto err_free_vm;
	resv_obj = drm_gpuvm_resv_object_alloc(drm);
	if (!resv_obj) {
		ret = -ENOMEM;
		goto err_fini_mmu;
	}
	vm->rdev = rdev;
	kref_init(&vm->ref);
	mutex_init(&vm->lock);
	INIT_LIST_HEAD(&vm->ctxs);
	drm_gpuvm_init(&vm->base, "rdu-vm", 0, drm, resv_obj, RDU_VA_START,
		       RDU_VA_END - RDU_VA_START, 0, 0, &rdu_gpuvm_ops);
	drm_gem_object_put(resv_obj); /* the gpuvm holds one */

	ret = xa_alloc(&rfile->vms, &args->vm_id, vm, XA_LIMIT(1, RDU_MAX_IDS),
		       GFP_KERNEL_ACCOUNT);
	if (ret) {
		args->vm_id = 0;
		rdu_vm_put(vm);
		ret = ret == -EBUSY ? -ENOSPC : ret;
	}
	return ret;

err_fini_mmu:
	rdu_mmu_fini(&vm->mmu);
err_free_vm:
	kfree(vm);
	return ret;
}

int rdu_ioctl_vm_destroy(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_rdu_vm_destroy *args = data;
	struct rdu_file *rfile = file->driver_priv;
	struct rdu_vm *vm;

	if (args->pad)
		return -EINVAL;
	vm = xa_erase(&rfile->vms, args->vm_id);
	if (!vm)
		return -ENOENT;
	rdu_vm_put(vm);
	return 0;
}

/* Old translations are gone from the card when this returns. The caller is in it. */
static void rdu_vm_flush(struct rdu_vm *vm)
{
	struct rdu_ctx *ctx;

	lockdep_assert_held(&vm->lock);
	list_for_each_entry(ctx, &vm->ctxs, vm_link)
		rdu_qwrite(vm->rdev, ctx->queue_id, RDU_REG_Q_TLB_FLUSH, 1);
}

/* Everything one operation may need, allocated before anything changes. */
struct rdu_bind {
	struct rdu_vm *vm;
	struct drm_gpuva *map, *prev, *next;
	struct drm_gpuvm_bo *vm_bo;
};

static void rdu_bind_fini(struct rdu_bind *bind)
{
	if (!IS_ERR_OR_NULL(bind->vm_bo))
		rdu_vm_bo_put(bind->vm_bo);
	kfree(bind->map);
	kfree(bind->prev);
	kfree(bind->next);
}

static int rdu_bind_init(struct rdu_bind *bind, const struct drm_rdu_bind_op *op,
			 struct drm_gem_object *obj)
{
	bind->map = kzalloc(sizeof(*bind->map), GFP_KERNEL_ACCOUNT);
	bind->prev = kzalloc(sizeof(*bind->prev), GFP_KERNEL_ACCOUNT);
	bind->next = kzalloc(sizeof(*bind->next), GFP_KERNEL_ACCOUNT);
	if (!bind->map || !bind->prev || !bind->next)
		return -ENOMEM;
	if (op->flags & DRM_RDU_BIND_READONLY)
		bind->map->flags = RDU_VA_READONLY;
	if (obj)
		bind->vm_bo = rdu_vm_bo_get(bind->vm, obj);
	return PTR_ERR_OR_ZERO(bind->vm_bo);
}

/* ---- what drm_gpuvm calls: the steps of an operation. None of them fails. ---- */

static int rdu_bind_map(struct drm_gpuva_op *op, void *priv)
{
	struct rdu_bind *bind = priv;
	struct drm_gpuva *va = bind->map;

	bind->map = NULL;
	drm_gpuva_init_from_op(va, &op->map);
	WARN_ON_ONCE(drm_gpuva_insert(&bind->vm->base, va));
	rdu_va_link(va, bind->vm_bo);
	return 0;
}

/* A remainder of a mapping that was cut: a mapping of its own, as it was. */
static void rdu_bind_keep(struct rdu_vm *vm, struct drm_gpuva **spare,
			  struct drm_gpuva_op_map *map, const struct drm_gpuva *old)
{
	struct drm_gpuva *va = *spare;

	*spare = NULL;
	drm_gpuva_init_from_op(va, map);
	va->flags = old->flags;
	WARN_ON_ONCE(drm_gpuva_insert(&vm->base, va));
	rdu_va_link(va, old->vm_bo);
}

static int rdu_bind_remap(struct drm_gpuva_op *op, void *priv)
{
	struct drm_gpuva *old = op->remap.unmap->va;
	struct rdu_bind *bind = priv;

	drm_gpuva_remove(old);
	if (op->remap.prev)
		rdu_bind_keep(bind->vm, &bind->prev, op->remap.prev, old);
	if (op->remap.next)
		rdu_bind_keep(bind->vm, &bind->next, op->remap.next, old);
	rdu_va_unlink(bind->vm, old, true);
	kfree(old);
	return 0;
}

static int rdu_bind_unmap(struct drm_gpuva_op *op, void *priv)
{
	struct drm_gpuva *old = op->unmap.va;
	struct rdu_bind *bind = priv;

	drm_gpuva_remove(old);
	rdu_va_unlink(bind->vm, old, true);
	kfree(old);
	return 0;
}

static const struct drm_gpuvm_ops rdu_gpuvm_ops = {
	.vm_free = rdu_gpuvm_free,
	.sm_step_map = rdu_bind_map,
	.sm_step_remap = rdu_bind_remap,
	.sm_step_unmap = rdu_bind_unmap,
};

static int rdu_vm_do_bind(struct rdu_vm *vm, const struct drm_rdu_bind_op *args,
			  struct drm_gem_object *obj)
{
	struct rdu_bo *bo = obj ? to_rdu_bo(obj) : NULL;
	struct rdu_bind bind = { .vm = vm };
	int ret, idx;

	lockdep_assert_held(&vm->lock);

	ret = rdu_bind_init(&bind, args, obj);
	if (ret)
		goto out;
	mutex_lock(&vm->mmu.lock);
	if (bo && READ_ONCE(bo->revoked))
		ret = -ENODEV; /* its exporter is gone */
	else if (bo)
		ret = rdu_mmu_prepare_map(&vm->mmu, args->va, args->size, bo, args->offset);
	else
		ret = rdu_mmu_prepare_unmap(&vm->mmu, args->va, args->size);
	if (!ret)
		ret = rdu_card_enter(vm->rdev, &idx);
	if (ret)
		goto out_prune;
	if (bo) {
		rdu_mmu_map(&vm->mmu, args->va, args->size, bo, args->offset,
			    !(args->flags & DRM_RDU_BIND_READONLY));
	} else {
		rdu_mmu_unmap(&vm->mmu, args->va, args->size);
	}
	rdu_vm_flush(vm);
	rdu_card_exit(vm->rdev, idx);
	mutex_unlock(&vm->mmu.lock);

	/* From here on nothing fails. Buffers go after the flush. */
	if (bo)
		ret = rdu_gpuvm_map(&vm->base, &bind, args->va, args->size, obj, args->offset);
	else
		ret = drm_gpuvm_sm_unmap(&vm->base, &bind, args->va, args->size);
	WARN_ON_ONCE(ret);
	rdu_vm_reap(vm);
	goto out;

out_prune:
	if (!rdu_card_enter(vm->rdev, &idx)) {
		rdu_mmu_prune(&vm->mmu, args->va, args->size);
		rdu_vm_flush(vm);
		rdu_card_exit(vm->rdev, idx);
	}
	mutex_unlock(&vm->mmu.lock);
	rdu_vm_reap(vm);
out:
	rdu_bind_fini(&bind);
	return ret;
}

static bool rdu_range_ok(u64 start, u64 size, u64 limit)
{
	u64 end;

	return size && !((start | size) & (RDU_PAGE_SIZE - 1)) &&
	       !check_add_overflow(start, size, &end) && end <= limit;
}

/* Looks up the buffer of a MAP. */
static int rdu_bind_check(struct rdu_vm *vm, struct drm_file *file,
			  const struct drm_rdu_bind_op *op, struct drm_gem_object **obj)
{
	if (op->pad || op->va < RDU_VA_START || !rdu_range_ok(op->va, op->size, RDU_VA_END))
		return -EINVAL;
	switch (op->type) {
	case DRM_RDU_BIND_MAP:
		if (op->flags & ~DRM_RDU_BIND_READONLY)
			return -EINVAL;
		*obj = drm_gem_object_lookup(file, op->handle);
		if (!*obj)
			return -ENOENT;
		if (!rdu_range_ok(op->offset, op->size, (*obj)->size))
			return -EINVAL;
		if (to_rdu_bo(*obj)->private_vm && to_rdu_bo(*obj)->private_vm != &vm->base)
			return -EINVAL;
		if (to_rdu_bo(*obj)->readonly && !(op->flags & DRM_RDU_BIND_READONLY))
			return -EACCES;
		return 0;
	case DRM_RDU_BIND_UNMAP:
		return op->flags || op->handle || op->offset ? -EINVAL : 0;
	default:
		return -EINVAL;
	}
}

int rdu_ioctl_vm_bind(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_rdu_vm_bind *args = data;
	struct drm_gem_object **objs;
	struct drm_rdu_bind_op *ops;
	struct rdu_vm *vm;
	u32 i;
	int ret;

	if (args->flags || args->pad || !args->num_ops ||
	    args->num_ops > RDU_MAX_BIND_OPS)
		return -EINVAL;
	vm = rdu_vm_lookup(file->driver_priv, args->vm_id);
	if (!vm)
		return -ENOENT;

	ops = kvcalloc(args->num_ops, sizeof(*ops), GFP_KERNEL_ACCOUNT);
	objs = kvcalloc(args->num_ops, sizeof(*objs), GFP_KERNEL_ACCOUNT);
	if (!ops || !objs) {
		ret = -ENOMEM;
		goto out_free;
	}
	ret = rdu_copy_array(ops, sizeof(*ops), args->ops, args->num_ops, args->op_stride);
	if (ret)
		goto out_free;
	for (i = 0; i < args->num_ops; i++) {
		ret = rdu_bind_check(vm, file, &ops[i], &objs[i]);
		if (ret) {
			args->failed_op = i;
			goto out_put;
		}
	}

	/*
	 * Not in drm_dev_enter(): here fences are waited for, and if the device
	 * goes it is its removal that signals them.
	 */
	ret = mutex_lock_interruptible(&vm->lock);
	if (ret)
		goto out_put;
	for (i = 0; i < args->num_ops; i++) {
		ret = rdu_vm_do_bind(vm, &ops[i], objs[i]);
		if (ret) {
			args->failed_op = i;
			break;
		}
	}
	mutex_unlock(&vm->lock);
out_put:
	for (i = 0; i < args->num_ops; i++)
		if (objs[i])
			drm_gem_object_put(objs[i]);
out_free:
	kvfree(objs);
	kvfree(ops);
	rdu_vm_put(vm);
	return ret;
}

#if IS_ENABLED(CONFIG_DRM_ACCEL_RDU_KUNIT_TEST)
#include "rdu_vm_test.c"
#endif
