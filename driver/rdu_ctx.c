// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contexts: a grant of consecutive tiles and a queue, used by one VM.
 *
 * A context dies once (fault, hang, unplug, destroy): its queue is reset on the
 * card, which clears the tiles, and what was in flight is cancelled. Others are
 * not touched. Tiles and queue go back when the handle is closed.
 */
#include <linux/log2.h>
#include <linux/moduleparam.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>

#include "rdu_ctx.h"
#include "rdu_queue.h"
#include "rdu_trace.h"
#include "rdu_vm.h"

#define RDU_DEFAULT_DEPTH	256

static uint rdu_timeout_ms = 120 * 1000;
module_param_named(timeout_ms, rdu_timeout_ms, uint, 0644);
MODULE_PARM_DESC(timeout_ms, "Milliseconds a job may take if its context does not say (120000)");

/* ---- references -------------------------------------------------------- */

static void rdu_ctx_release_work(struct work_struct *work)
{
	struct rdu_ctx *ctx = container_of(work, struct rdu_ctx, release_work);
	struct drm_device *drm = &ctx->rdev->drm;

	rdu_sched_ctx_fini(ctx);
	rdu_vm_put(ctx->vm);
	put_pid(ctx->pid);
	mutex_destroy(&ctx->lock);
	mutex_destroy(&ctx->submit_lock);
	mutex_destroy(&ctx->sched_lock);
	kfree(ctx);
	drm_dev_put(drm);
	rdu_cleanup_done();
}

static void rdu_ctx_release(struct kref *ref)
{
	struct rdu_ctx *ctx = container_of(ref, struct rdu_ctx, ref);

	/* The last reference may be that of a job, given up by the scheduler. */
	rdu_cleanup_queue(&ctx->release_work);
}

struct rdu_ctx *rdu_ctx_get_unless_zero(struct rdu_ctx *ctx)
{
	return kref_get_unless_zero(&ctx->ref) ? ctx : NULL;
}

void rdu_ctx_put(struct rdu_ctx *ctx)
{
	kref_put(&ctx->ref, rdu_ctx_release);
}

struct rdu_ctx *rdu_ctx_lookup(struct rdu_file *rfile, u32 id)
{
	struct rdu_ctx *ctx;

	xa_lock(&rfile->ctxs);
	ctx = xa_load(&rfile->ctxs, id);
	if (ctx)
		kref_get(&ctx->ref);
	xa_unlock(&rfile->ctxs);
	return ctx;
}

/* ---- tiles and queues -------------------------------------------------- */

/* First of `count` consecutive free tiles: in the smallest gap that has them. */
static int rdu_find_tiles(struct rdu_device *rdev, u32 count)
{
	u32 best = U32_MAX, best_len = U32_MAX, i = 0;

	lockdep_assert_held(&rdev->grant_lock);
	while (i < rdev->num_tiles) {
		u32 first = i;

		while (i < rdev->num_tiles && !rdev->tiles[i].owner)
			i++;
		if (i - first >= count && i - first < best_len) {
			best = first;
			best_len = i - first;
		}
		if (i == first)
			i++;
	}
	return best == U32_MAX ? -ENOSPC : best;
}

static int rdu_ctx_grant(struct rdu_ctx *ctx)
{
	struct rdu_device *rdev = ctx->rdev;
	int first = 0;
	u32 q, i;

	mutex_lock(&rdev->grant_lock);
	for (q = 1; q < rdev->num_queues; q++)
		if (!rdev->queues[q])
			break;
	if (ctx->num_tiles)
		first = rdu_find_tiles(rdev, ctx->num_tiles);
	if (q == rdev->num_queues || first < 0) {
		mutex_unlock(&rdev->grant_lock);
		return -ENOSPC;
	}
	ctx->queue_id = q;
	ctx->tile_first = first;
	ctx->granted = true;
	rdev->queues[q] = ctx;
	for (i = 0; i < ctx->num_tiles; i++)
		rdev->tiles[first + i].owner = ctx;
	list_add_tail(&ctx->dev_link, &rdev->ctxs);
	/* Until it is given back: rdu_ctx_unplug_all() must find its queue. */
	kref_get(&ctx->ref);
	mutex_unlock(&rdev->grant_lock);
	return 0;
}

static void rdu_ctx_ungrant(struct rdu_ctx *ctx, const struct rdu_busy *busy)
{
	struct rdu_device *rdev = ctx->rdev;
	bool granted;
	u32 i;

	mutex_lock(&rdev->grant_lock);
	granted = ctx->granted;
	if (granted) {
		ctx->granted = false;
		rdev->queues[ctx->queue_id] = NULL;
		for (i = 0; i < ctx->num_tiles; i++) {
			struct rdu_tile *tile = &rdev->tiles[ctx->tile_first + i];

			rdu_busy_add(&tile->past, busy);
			tile->owner = NULL;
		}
		list_del_init(&ctx->dev_link);
	}
	mutex_unlock(&rdev->grant_lock);
	if (granted)
		rdu_ctx_put(ctx);
}

u64 rdu_ctx_tile_mask(const struct rdu_ctx *ctx)
{
	if (!ctx->num_tiles)
		return 0;
	return GENMASK_ULL(ctx->tile_first + ctx->num_tiles - 1, ctx->tile_first);
}

static int rdu_ctx_start(struct rdu_ctx *ctx, u64 watchdog_cycles)
{
	struct rdu_device *rdev = ctx->rdev;
	u32 id = ctx->queue_id;
	int ret;

	ctx->queue = rdu_queue_create(rdev, id, ctx->depth);
	if (IS_ERR(ctx->queue)) {
		ret = PTR_ERR(ctx->queue);
		ctx->queue = NULL;
		return ret;
	}
	ret = rdu_queue_reset(ctx->queue);
	if (ret) {
		ret = -EIO;
		goto err_destroy_queue;
	}
	rdu_qwrite64(rdev, id, RDU_REG_Q_PT_LO, rdu_mmu_root(&ctx->vm->mmu));
	rdu_qwrite(rdev, id, RDU_REG_Q_TILE_FIRST, ctx->tile_first);
	rdu_qwrite(rdev, id, RDU_REG_Q_TILE_COUNT, ctx->num_tiles);
	rdu_qwrite64(rdev, id, RDU_REG_Q_WATCHDOG_LO, watchdog_cycles);
	rdu_qwrite(rdev, id, RDU_REG_Q_WATCHDOG_MS, ctx->timeout_ms);
	rdu_queue_read_busy(ctx->queue, &ctx->busy_start);
	ret = rdu_queue_start(ctx->queue);
	if (ret)
		goto err_reset_queue;
	return 0;

err_reset_queue:
	rdu_queue_reset(ctx->queue);
err_destroy_queue:
	rdu_queue_destroy(ctx->queue);
	ctx->queue = NULL;
	return ret;
}

/* ---- life and death ---------------------------------------------------- */

static u64 rdu_since(u64 now, u64 start)
{
	return now >= start ? now - start : now; /* the card counted from zero again */
}

static void rdu_ctx_busy_locked(struct rdu_ctx *ctx, struct rdu_busy *busy)
{
	struct rdu_busy now;

	lockdep_assert_held(&ctx->lock);
	if (!ctx->queue || ctx->dead) {
		*busy = ctx->busy_last;
		return;
	}
	rdu_queue_read_busy(ctx->queue, &now);
	busy->exec = rdu_since(now.exec, ctx->busy_start.exec);
	busy->pload = rdu_since(now.pload, ctx->busy_start.pload);
	busy->aload = rdu_since(now.aload, ctx->busy_start.aload);
	busy->copy = rdu_since(now.copy, ctx->busy_start.copy);
}

/* Cycles the context has used. The caller is in drm_dev_enter(). */
void rdu_ctx_busy(struct rdu_ctx *ctx, struct rdu_busy *busy)
{
	mutex_lock(&ctx->lock);
	rdu_ctx_busy_locked(ctx, busy);
	mutex_unlock(&ctx->lock);
}

u64 rdu_ctx_completed(struct rdu_ctx *ctx)
{
	u64 done;

	mutex_lock(&ctx->lock);
	if (ctx->queue)
		rdu_queue_poll(ctx->queue);
	done = ctx->queue ? READ_ONCE(ctx->queue->submit_done) : ctx->done_last;
	mutex_unlock(&ctx->lock);
	return done;
}

/* What the card is working on, or the last of it; NULL: nothing. */
struct dma_fence *rdu_ctx_last_fence(struct rdu_ctx *ctx)
{
	struct dma_fence *fence;

	mutex_lock(&ctx->lock);
	fence = ctx->queue ? rdu_queue_last_fence(ctx->queue) : NULL;
	mutex_unlock(&ctx->lock);
	return fence;
}

/* Asks the card who did it; returns the number of the guilty command, or 0. */
static u64 rdu_ctx_read_fault(struct rdu_ctx *ctx, u32 state)
{
	struct rdu_fault_record *fault = &ctx->fault;
	struct rdu_device *rdev = ctx->rdev;
	struct rdu_queue *q = ctx->queue;
	u32 id = ctx->queue_id;
	struct rdu_fence *fence;
	u64 guilty = 0;

	fault->section = U32_MAX;
	fault->program = U32_MAX;
	fault->job = DRM_RDU_NO_JOB;
	if (state & DRM_RDU_CTX_STATE_FAULTED) {
		fault->code = rdu_qread(rdev, id, RDU_REG_Q_FAULT_CODE);
		fault->info = rdu_qread(rdev, id, RDU_REG_Q_FAULT_INFO);
		fault->section = rdu_qread(rdev, id, RDU_REG_Q_FAULT_SECTION);
		fault->program = rdu_qread(rdev, id, RDU_REG_Q_FAULT_PROGRAM);
		fault->va = rdu_qread64(rdev, id, RDU_REG_Q_FAULT_ADDR_LO);
		guilty = rdu_qread64(rdev, id, RDU_REG_Q_FAULT_SEQ_LO);
	} else if (state & DRM_RDU_CTX_STATE_HUNG) {
		fault->code = RDU_FAULT_WATCHDOG;
		guilty = READ_ONCE(q->done) + 1;
	}

	spin_lock_irq(&q->lock);
	list_for_each_entry(fence, &q->fences, link) {
		if (guilty < fence->first_cmd || guilty > fence->last_cmd)
			continue;
		fault->submit = fence->submit;
		fault->job = guilty - fence->first_cmd;
	}
	spin_unlock_irq(&q->lock);
	return guilty;
}

/**
 * rdu_ctx_kill() - Stop a context's queue and cancel what is in flight
 * @ctx: context
 * @state: DRM_RDU_CTX_STATE_* that says why; 0: its owner wants it so
 *
 * Only the first call does something. The caller is in drm_dev_enter(), or has
 * unplugged the device and state is LOST.
 */
void rdu_ctx_kill(struct rdu_ctx *ctx, u32 state)
{
	struct rdu_queue *q;
	u64 guilty = 0;
	int error = -ECANCELED;

	mutex_lock(&ctx->lock);
	q = ctx->queue;
	if (ctx->dead || !q)
		goto out_unlock;

	rdu_queue_stop(q);
	rdu_queue_poll(q);
	rdu_ctx_busy_locked(ctx, &ctx->busy_last);
	WRITE_ONCE(ctx->dead, true);
	ctx->state = state;
	if (state & (DRM_RDU_CTX_STATE_FAULTED | DRM_RDU_CTX_STATE_HUNG)) {
		guilty = rdu_ctx_read_fault(ctx, state);
		error = state & DRM_RDU_CTX_STATE_HUNG ||
			ctx->fault.code == RDU_FAULT_WATCHDOG ? -ETIME : -EIO;
		atomic64_inc(&ctx->rdev->faults);
		trace_rdu_fault(ctx->rdev, ctx->queue_id, ctx->fence_context, state,
				ctx->fault.code, ctx->fault.va, ctx->fault.submit, ctx->fault.job);
		rdu_coredump(ctx, guilty);
		drm_dbg(&ctx->rdev->drm, "context on queue %u: state %#x, fault %u, va %#llx\n",
			ctx->queue_id, state, ctx->fault.code, ctx->fault.va);
	}
	if (state & DRM_RDU_CTX_STATE_HUNG)
		atomic64_inc(&ctx->rdev->resets);

	rdu_queue_reset(q);
	rdu_qwrite(ctx->rdev, ctx->queue_id, RDU_REG_Q_CTRL, 0);
	rdu_queue_cancel(q, guilty, error);
	ctx->done_last = q->submit_done;
out_unlock:
	mutex_unlock(&ctx->lock);
}

/* Takes the card away from a context that has been killed. */
static void rdu_ctx_detach(struct rdu_ctx *ctx)
{
	struct rdu_queue *q;

	mutex_lock(&ctx->vm->lock);
	list_del_init(&ctx->vm_link);
	mutex_unlock(&ctx->vm->lock);

	mutex_lock(&ctx->lock);
	q = ctx->queue;
	if (q) {
		rdu_qwrite(ctx->rdev, ctx->queue_id, RDU_REG_Q_TILE_COUNT, 0);
		rdu_qwrite64(ctx->rdev, ctx->queue_id, RDU_REG_Q_PT_LO, 0);
		ctx->queue = NULL;
	}
	mutex_unlock(&ctx->lock);
	if (q)
		rdu_queue_destroy(q);
	rdu_ctx_ungrant(ctx, &ctx->busy_last);
}

/**
 * rdu_ctx_close() - The handle is gone: cancel, give tiles and queue back
 * @ctx: context; the handle's reference is given up
 */
void rdu_ctx_close(struct rdu_ctx *ctx)
{
	int idx;

	/* Nothing is pushed any more; what waits for others is dropped. */
	mutex_lock(&ctx->submit_lock);
	ctx->closed = true;
	mutex_unlock(&ctx->submit_lock);

	if (drm_dev_enter(&ctx->rdev->drm, &idx)) {
		rdu_ctx_kill(ctx, 0);
		drm_dev_exit(idx);
	}
	rdu_sched_ctx_empty(ctx);
	if (drm_dev_enter(&ctx->rdev->drm, &idx)) {
		rdu_ctx_detach(ctx);
		drm_dev_exit(idx);
	}
	rdu_ctx_put(ctx);
}

/* Every context dies, the handles stay. The caller is in drm_dev_enter(). */
void rdu_ctx_kill_all(struct rdu_device *rdev, u32 state)
{
	struct rdu_ctx *ctx;
	u32 q;

	for (q = 1; q < rdev->num_queues; q++) {
		mutex_lock(&rdev->grant_lock);
		ctx = rdev->queues[q];
		if (ctx)
			ctx = rdu_ctx_get_unless_zero(ctx);
		mutex_unlock(&rdev->grant_lock);
		if (!ctx)
			continue;
		rdu_ctx_kill(ctx, state);
		rdu_ctx_put(ctx);
	}
}

/* The device has been unplugged: every context is lost. */
void rdu_ctx_unplug_all(struct rdu_device *rdev)
{
	struct rdu_ctx *ctx;

	for (;;) {
		mutex_lock(&rdev->grant_lock);
		ctx = list_first_entry_or_null(&rdev->ctxs, struct rdu_ctx, dev_link);
		if (ctx)
			kref_get(&ctx->ref);
		mutex_unlock(&rdev->grant_lock);
		if (!ctx)
			break;
		rdu_ctx_kill(ctx, DRM_RDU_CTX_STATE_LOST);
		rdu_ctx_detach(ctx);
		rdu_ctx_put(ctx);
	}
}

/* ---- ioctls ------------------------------------------------------------ */

static int rdu_ctx_check(struct rdu_device *rdev, const struct drm_rdu_ctx_create *args)
{
	if (args->flags || args->num_tiles > rdev->num_tiles ||
	    args->timeout_ms > RDU_MAX_TIMEOUT_MS)
		return -EINVAL;
	if (args->queue_depth &&
	    (!is_power_of_2(args->queue_depth) || args->queue_depth < 2 ||
	     args->queue_depth > RDU_MAX_JOBS))
		return -EINVAL;
	return 0;
}

static struct rdu_ctx *rdu_ctx_create(struct rdu_device *rdev, struct rdu_vm *vm,
				      const struct drm_rdu_ctx_create *args)
{
	struct rdu_ctx *ctx;
	int ret;

	ctx = kzalloc(sizeof(*ctx), GFP_KERNEL_ACCOUNT);
	if (!ctx)
		return ERR_PTR(-ENOMEM);
	ctx->rdev = rdev;
	ctx->vm = vm;
	ctx->num_tiles = args->num_tiles;
	ctx->depth = args->queue_depth ?: RDU_DEFAULT_DEPTH;
	ctx->timeout_ms = args->timeout_ms ?:
			  clamp(READ_ONCE(rdu_timeout_ms), 1u, RDU_MAX_TIMEOUT_MS);
	ctx->uid = current_uid();
	ctx->pid = get_pid(task_tgid(current));
	get_task_comm(ctx->comm, current->group_leader);
	ctx->fence_context = dma_fence_context_alloc(1);
	kref_init(&ctx->ref);
	mutex_init(&ctx->sched_lock);
	mutex_init(&ctx->submit_lock);
	mutex_init(&ctx->lock);
	INIT_LIST_HEAD(&ctx->vm_link);
	INIT_LIST_HEAD(&ctx->dev_link);
	INIT_WORK(&ctx->release_work, rdu_ctx_release_work);
	ctx->fault.section = U32_MAX;
	ctx->fault.program = U32_MAX;
	ctx->fault.job = DRM_RDU_NO_JOB;

	ret = rdu_sched_ctx_init(ctx);
	if (ret)
		goto err_free_ctx;
	ret = rdu_ctx_grant(ctx);
	if (ret)
		goto err_fini_sched;
	ret = rdu_ctx_start(ctx, args->watchdog_cycles);
	if (ret)
		goto err_ungrant;
	kref_get(&vm->ref);
	drm_dev_get(&rdev->drm);
	rdu_cleanup_get();
	mutex_lock(&vm->lock);
	list_add_tail(&ctx->vm_link, &vm->ctxs);
	mutex_unlock(&vm->lock);
	/* It could have translated nothing yet: no flush was missed. */
	return ctx;

err_ungrant:
	rdu_ctx_ungrant(ctx, &ctx->busy_last);
err_fini_sched:
	drm_sched_entity_fini(&ctx->entity);
	rdu_sched_ctx_fini(ctx);
err_free_ctx:
	put_pid(ctx->pid);
	kfree(ctx);
	return ERR_PTR(ret);
}

int rdu_ioctl_ctx_create(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_rdu_ctx_create *args = data;
	struct rdu_device *rdev = to_rdu_device(drm);
	struct rdu_file *rfile = file->driver_priv;
	struct rdu_ctx *ctx;
	struct rdu_vm *vm;
	int ret, idx;
	u32 id;

	ret = rdu_ctx_check(rdev, args);
	if (ret)
		return ret;
	vm = rdu_vm_lookup(rfile, args->vm_id);
	if (!vm)
		return -ENOENT;
	if (!drm_dev_enter(drm, &idx)) {
		ret = -ENODEV;
		goto out_put_vm;
	}
	ctx = rdu_ctx_create(rdev, vm, args);
	if (IS_ERR(ctx)) {
		ret = PTR_ERR(ctx);
		goto out_dev_exit;
	}
	args->tile_mask = rdu_ctx_tile_mask(ctx);
	/* Once it has a number, another thread may destroy it. */
	ret = xa_alloc(&rfile->ctxs, &id, ctx, XA_LIMIT(1, RDU_MAX_IDS), GFP_KERNEL_ACCOUNT);
	if (ret) {
		rdu_ctx_close(ctx);
		ret = ret == -EBUSY ? -ENOSPC : ret;
		goto out_dev_exit;
	}
	args->ctx_id = id;
out_dev_exit:
	drm_dev_exit(idx);
out_put_vm:
	rdu_vm_put(vm);
	return ret;
}

int rdu_ioctl_ctx_destroy(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_rdu_ctx_destroy *args = data;
	struct rdu_file *rfile = file->driver_priv;
	struct rdu_busy busy = {};
	struct rdu_ctx *ctx;
	int idx;

	if (args->pad)
		return -EINVAL;
	ctx = xa_erase(&rfile->ctxs, args->ctx_id);
	if (!ctx)
		return -ENOENT;
	kref_get(&ctx->ref);
	rdu_ctx_close(ctx);
	/* To the last cycle; meanwhile fdinfo stays at what it has told. */
	if (drm_dev_enter(drm, &idx)) {
		rdu_ctx_busy(ctx, &busy);
		drm_dev_exit(idx);
	}
	spin_lock(&rfile->busy_lock);
	rdu_busy_add_tiles(&rfile->past, &busy, ctx);
	spin_unlock(&rfile->busy_lock);
	rdu_ctx_put(ctx);
	return 0;
}

int rdu_ioctl_ctx_get_state(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_rdu_ctx_get_state *args = data;
	struct rdu_ctx *ctx;
	u32 id = args->ctx_id;

	if (args->pad)
		return -EINVAL;
	ctx = rdu_ctx_lookup(file->driver_priv, id);
	if (!ctx)
		return -ENOENT;
	memset(args, 0, sizeof(*args));
	args->ctx_id = id;
	args->completed = rdu_ctx_completed(ctx);
	mutex_lock(&ctx->lock);
	args->state = ctx->state;
	args->fault_code = ctx->fault.code;
	args->fault_info = ctx->fault.info;
	args->section = ctx->fault.section;
	args->unit_program = ctx->fault.program;
	args->va = ctx->fault.va;
	args->fault_seqno = ctx->fault.submit;
	args->fault_job = ctx->fault.job;
	mutex_unlock(&ctx->lock);
	args->submitted = READ_ONCE(ctx->submitted);
	rdu_ctx_put(ctx);
	return 0;
}
