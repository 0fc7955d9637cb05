// SPDX-License-Identifier: GPL-2.0-only
/*
 * Contexts: a grant of consecutive tiles and a queue, used by one VM.
 *
 * A context dies once (fault, hang, unplug, destroy): its queue is reset on the
 * card, which clears the tiles, and what was in flight is cancelled. Others are
 * not touched. Tiles and queue go back when the handle is closed. If the queue
 * can't be reset, all that waits for the card's reset (rdu_reset.c).
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

/* The context on a queue, with a reference; NULL: none. */
struct rdu_ctx *rdu_ctx_on_queue(struct rdu_device *rdev, u32 queue)
{
	struct rdu_ctx *ctx;

	mutex_lock(&rdev->grant_lock);
	ctx = rdev->queues[queue];
	if (ctx)
		ctx = rdu_ctx_get_unless_zero(ctx);
	mutex_unlock(&rdev->grant_lock);
	return ctx;
}

/* Calls with every context that has a queue. */
void rdu_ctx_for_all(struct rdu_device *rdev, void (*call)(struct rdu_ctx *ctx))
{
	struct rdu_ctx *ctx;
	u32 q;

	for (q = 1; q < rdev->num_queues; q++) {
		ctx = rdu_ctx_on_queue(rdev, q);
		if (!ctx)
			continue;
		call(ctx);
		rdu_ctx_put(ctx);
	}
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

static int rdu_ctx_grant(struct rdu_ctx *ctx, struct rdu_user *user)
{
	struct rdu_device *rdev = ctx->rdev;
	int first = 0, ret;
	u32 q, i;

	ret = rdu_charge(&ctx->queue_charge, user, RDU_LIMIT_CONTEXTS, 1);
	if (ret)
		return ret;
	ret = rdu_charge(&ctx->tiles_charge, user, RDU_LIMIT_TILES, ctx->num_tiles);
	if (ret)
		goto err_uncharge;
	mutex_lock(&rdev->grant_lock);
	for (q = 1; q < rdev->num_queues; q++)
		if (!rdev->queues[q])
			break;
	if (ctx->num_tiles)
		first = rdu_find_tiles(rdev, ctx->num_tiles);
	if (q == rdev->num_queues || first < 0) {
		mutex_unlock(&rdev->grant_lock);
		ret = -ENOSPC;
		goto err_uncharge;
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

err_uncharge:
	rdu_uncharge(&ctx->queue_charge);
	rdu_uncharge(&ctx->tiles_charge);
	return ret;
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
	if (granted) {
		rdu_uncharge(&ctx->queue_charge);
		rdu_uncharge(&ctx->tiles_charge);
		rdu_ctx_put(ctx);
	}
}

u64 rdu_ctx_tile_mask(const struct rdu_ctx *ctx)
{
	if (!ctx->num_tiles)
		return 0;
	return GENMASK_ULL(ctx->tile_first + ctx->num_tiles - 1, ctx->tile_first);
}

/* Gives the queue to the card, which has reset it: the ring is empty. */
static int rdu_ctx_enable(struct rdu_ctx *ctx, struct rdu_queue *q)
{
	struct rdu_device *rdev = ctx->rdev;
	u32 id = ctx->queue_id;

	rdu_qwrite64(rdev, id, RDU_REG_Q_PT_LO, rdu_mmu_root(&ctx->vm->mmu));
	rdu_qwrite(rdev, id, RDU_REG_Q_TILE_FIRST, ctx->tile_first);
	rdu_qwrite(rdev, id, RDU_REG_Q_TILE_COUNT, ctx->num_tiles);
	rdu_qwrite64(rdev, id, RDU_REG_Q_WATCHDOG_LO, ctx->watchdog_cycles);
	rdu_qwrite(rdev, id, RDU_REG_Q_WATCHDOG_MS, ctx->timeout_ms);
	return rdu_queue_start(q);
}

static int rdu_ctx_start(struct rdu_ctx *ctx)
{
	struct rdu_device *rdev = ctx->rdev;
	struct rdu_queue *q;
	int ret, idx;

	q = rdu_queue_create(rdev, ctx->queue_id, ctx->depth);
	if (IS_ERR(q))
		return PTR_ERR(q);
	ret = rdu_card_enter(rdev, &idx);
	if (ret)
		goto err_destroy_queue;
	ret = rdu_queue_reset(q);
	if (ret) {
		ret = -EIO;
		rdu_reset_request(rdev);
		goto err_card_exit;
	}
	rdu_queue_read_busy(q, &ctx->busy_start);
	/* From here on the card knows the ring: rdu_ctx_close() takes it back. */
	mutex_lock(&ctx->lock);
	ctx->queue = q;
	mutex_unlock(&ctx->lock);
	ret = rdu_ctx_enable(ctx, q);
	rdu_card_exit(rdev, idx);
	if (ret)
		return ret;
	/* It could have translated nothing yet: no flush was missed. */
	mutex_lock(&ctx->vm->lock);
	list_add_tail(&ctx->vm_link, &ctx->vm->ctxs);
	mutex_unlock(&ctx->vm->lock);
	return 0;

err_card_exit:
	rdu_card_exit(rdev, idx);
err_destroy_queue:
	rdu_queue_destroy(q);
	return ret;
}

/* ---- life and death ---------------------------------------------------- */

/* The caller is in the card, or holds it. */
static void rdu_ctx_read_busy(struct rdu_ctx *ctx)
{
	struct rdu_busy now;

	lockdep_assert_held(&ctx->lock);
	if (!ctx->queue || ctx->dead || !rdu_device_answers(ctx->rdev))
		return;
	rdu_queue_read_busy(ctx->queue, &now);
	ctx->busy_last.exec = now.exec - ctx->busy_start.exec;
	ctx->busy_last.pload = now.pload - ctx->busy_start.pload;
	ctx->busy_last.aload = now.aload - ctx->busy_start.aload;
	ctx->busy_last.copy = now.copy - ctx->busy_start.copy;
}

/**
 * rdu_ctx_busy() - Cycles a context has used
 * @ctx: context; the caller is not in rdu_card_enter()
 * @busy: gets them: as last seen, if the card can't be asked now
 */
void rdu_ctx_busy(struct rdu_ctx *ctx, struct rdu_busy *busy)
{
	bool peek;
	int idx;

	peek = rdu_card_peek(ctx->rdev, &idx);
	mutex_lock(&ctx->lock);
	if (peek)
		rdu_ctx_read_busy(ctx);
	*busy = ctx->busy_last;
	mutex_unlock(&ctx->lock);
	if (peek)
		rdu_card_unpeek(ctx->rdev, idx);
}

/* Before the card forgets them. It is the caller's. */
void rdu_ctx_note_busy(struct rdu_ctx *ctx)
{
	mutex_lock(&ctx->lock);
	rdu_ctx_read_busy(ctx);
	mutex_unlock(&ctx->lock);
}

u64 rdu_ctx_completed(struct rdu_ctx *ctx)
{
	bool cookie = dma_fence_begin_signalling();
	u64 done;

	mutex_lock(&ctx->lock);
	if (ctx->queue)
		rdu_queue_poll(ctx->queue);
	done = ctx->queue ? READ_ONCE(ctx->queue->submit_done) : ctx->done_last;
	mutex_unlock(&ctx->lock);
	dma_fence_end_signalling(cookie);
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
	struct rdu_ctx_fault *fault = &ctx->fault;
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

/* The card has stopped: signals what was in flight. */
static void rdu_ctx_cancel(struct rdu_ctx *ctx)
{
	struct rdu_queue *q = ctx->queue;

	lockdep_assert_held(&ctx->lock);
	rdu_queue_cancel(q, ctx->guilty, ctx->error);
	ctx->done_last = q->submit_done;
	WRITE_ONCE(ctx->stuck, false);
}

/**
 * rdu_ctx_kill() - Stop a context's queue and cancel what is in flight
 * @ctx: context
 * @state: DRM_RDU_CTX_STATE_* that says why; 0: its owner wants it so
 *
 * Only the first call does something. The caller is in rdu_card_enter(), or
 * holds the card. If the queue does not stop, what is in flight is cancelled
 * after a reset of the card, which is asked for here.
 */
void rdu_ctx_kill(struct rdu_ctx *ctx, u32 state)
{
	struct rdu_queue *q;

	mutex_lock(&ctx->lock);
	q = ctx->queue;
	if (ctx->dead || !q)
		goto out_unlock;

	rdu_queue_stop(q);
	rdu_queue_poll(q);
	rdu_ctx_read_busy(ctx);
	WRITE_ONCE(ctx->dead, true);
	ctx->state = state;
	if (state & (DRM_RDU_CTX_STATE_FAULTED | DRM_RDU_CTX_STATE_HUNG)) {
		ctx->guilty = rdu_ctx_read_fault(ctx, state);
		ctx->error = state & DRM_RDU_CTX_STATE_HUNG ||
			     ctx->fault.code == RDU_FAULT_WATCHDOG ? -ETIME : -EIO;
		atomic64_inc(&ctx->rdev->faults);
		trace_rdu_fault(ctx->rdev, ctx->queue_id, ctx->fence_context, state,
				ctx->fault.code, ctx->fault.va, ctx->fault.submit, ctx->fault.job);
		rdu_coredump(ctx, ctx->guilty);
		drm_dbg(&ctx->rdev->drm, "context on queue %u: state %#x, fault %u, va %#llx\n",
			ctx->queue_id, state, ctx->fault.code, ctx->fault.va);
	}
	if (state & DRM_RDU_CTX_STATE_HUNG)
		atomic64_inc(&ctx->rdev->resets);

	if (rdu_queue_reset(q)) {
		WRITE_ONCE(ctx->stuck, true);
		rdu_reset_request(ctx->rdev);
	} else {
		rdu_ctx_cancel(ctx);
	}
out_unlock:
	mutex_unlock(&ctx->lock);
}

/**
 * rdu_ctx_lose() - The card has stopped, and what it did for the context is lost
 * @ctx: context
 * @state: DRM_RDU_CTX_STATE_* that says why, unless it is dead already
 *
 * Does not touch the card.
 */
void rdu_ctx_lose(struct rdu_ctx *ctx, u32 state)
{
	bool cookie = dma_fence_begin_signalling();

	mutex_lock(&ctx->lock);
	if (ctx->queue) {
		rdu_queue_stop(ctx->queue);
		if (!ctx->dead) {
			WRITE_ONCE(ctx->dead, true);
			ctx->state = state;
			ctx->error = -ECANCELED;
		}
		rdu_ctx_cancel(ctx);
	}
	mutex_unlock(&ctx->lock);
	dma_fence_end_signalling(cookie);
}

/**
 * rdu_ctx_drain() - Is the card at work for a context?
 * @ctx: context; the card is held
 *
 * Kills it if its oldest command has taken as long as a job may.
 */
bool rdu_ctx_drain(struct rdu_ctx *ctx)
{
	bool busy = false, late = false;

	mutex_lock(&ctx->lock);
	if (ctx->queue && !ctx->dead) {
		rdu_queue_poll(ctx->queue);
		busy = !rdu_queue_idle(ctx->queue);
		late = rdu_queue_late(ctx->queue, rdu_sched_timeout(ctx));
	}
	mutex_unlock(&ctx->lock);
	if (late) {
		rdu_ctx_kill(ctx, DRM_RDU_CTX_STATE_HUNG);
		return false;
	}
	return busy;
}

/**
 * rdu_ctx_reload() - The card was reset: give the queue to it again
 * @ctx: context; the card is the caller's
 *
 * With commands that were not done, the context is lost instead.
 */
void rdu_ctx_reload(struct rdu_ctx *ctx)
{
	struct rdu_queue *q;
	bool lost = false;

	mutex_lock(&ctx->lock);
	q = ctx->queue;
	if (q && !ctx->dead) {
		rdu_queue_poll(q);
		rdu_queue_rewind(q);
		/* The counters start at zero again. */
		ctx->busy_start.exec = -ctx->busy_last.exec;
		ctx->busy_start.pload = -ctx->busy_last.pload;
		ctx->busy_start.aload = -ctx->busy_last.aload;
		ctx->busy_start.copy = -ctx->busy_last.copy;
		lost = !rdu_queue_idle(q) || rdu_ctx_enable(ctx, q);
	}
	lost |= ctx->stuck;
	mutex_unlock(&ctx->lock);
	if (lost)
		rdu_ctx_lose(ctx, DRM_RDU_CTX_STATE_INNOCENT);
}

/*
 * Takes the card away from a context that has been killed. The caller is in
 * the card, or the device has been unplugged.
 */
static void rdu_ctx_detach(struct rdu_ctx *ctx)
{
	struct rdu_queue *q;

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

static void rdu_ctx_leave_vm(struct rdu_ctx *ctx)
{
	mutex_lock(&ctx->vm->lock);
	list_del_init(&ctx->vm_link);
	mutex_unlock(&ctx->vm->lock);
}

/**
 * rdu_ctx_close() - The handle is gone: cancel, give tiles and queue back
 * @ctx: context; the handle's reference is given up
 *
 * The caller is neither in rdu_card_enter() nor in drm_dev_enter().
 */
void rdu_ctx_close(struct rdu_ctx *ctx)
{
	struct rdu_device *rdev = ctx->rdev;
	bool cookie;
	int idx;

	/* Nothing is pushed any more; what waits for others is dropped. */
	mutex_lock(&ctx->submit_lock);
	ctx->closed = true;
	mutex_unlock(&ctx->submit_lock);

	cookie = dma_fence_begin_signalling();
	if (!rdu_card_enter(rdev, &idx)) {
		rdu_ctx_kill(ctx, 0);
		rdu_card_exit(rdev, idx);
	}
	dma_fence_end_signalling(cookie);
	rdu_sched_ctx_empty(ctx);
	/* Until then the card may use its ring, and its VM's tables. */
	wait_event(rdev->gate_wait, !READ_ONCE(ctx->stuck));
	rdu_ctx_leave_vm(ctx);
	if (!rdu_card_enter_wedged(rdev, &idx)) {
		rdu_ctx_detach(ctx);
		rdu_card_exit(rdev, idx);
	}
	rdu_ctx_put(ctx);
}

static void rdu_ctx_lose_unplugged(struct rdu_ctx *ctx)
{
	rdu_ctx_lose(ctx, DRM_RDU_CTX_STATE_LOST);
}

/* The device has been unplugged and the card was reset: every context is lost. */
void rdu_ctx_unplug_all(struct rdu_device *rdev)
{
	struct rdu_ctx *ctx;

	/* First all of them: a VM_BIND may wait for one, another's VM locked. */
	rdu_ctx_for_all(rdev, rdu_ctx_lose_unplugged);
	wake_up_all(&rdev->gate_wait);
	for (;;) {
		mutex_lock(&rdev->grant_lock);
		ctx = list_first_entry_or_null(&rdev->ctxs, struct rdu_ctx, dev_link);
		if (ctx)
			kref_get(&ctx->ref);
		mutex_unlock(&rdev->grant_lock);
		if (!ctx)
			break;
		rdu_ctx_leave_vm(ctx);
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

static struct rdu_ctx *rdu_ctx_create(struct rdu_file *rfile, struct rdu_vm *vm,
				      const struct drm_rdu_ctx_create *args)
{
	struct rdu_device *rdev = rfile->rdev;
	struct rdu_ctx *ctx;
	int ret;

	ctx = kzalloc(sizeof(*ctx), GFP_KERNEL_ACCOUNT);
	if (!ctx)
		return ERR_PTR(-ENOMEM);
	ctx->rdev = rdev;
	ctx->vm = vm;
	ctx->num_tiles = args->num_tiles;
	ctx->watchdog_cycles = args->watchdog_cycles;
	ctx->depth = args->queue_depth ?: RDU_DEFAULT_DEPTH;
	ctx->timeout_ms = args->timeout_ms ?:
			  clamp(READ_ONCE(rdu_timeout_ms), 1u, RDU_MAX_TIMEOUT_MS);
	ctx->uid = current_uid();
	ctx->pid = get_pid(task_tgid(current));
	get_task_comm(ctx->comm, current->group_leader);
	ctx->fence_context = dma_fence_context_alloc(1);
	kref_init(&ctx->ref);
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
	/* Once it has a queue others find it, and may keep it when this fails. */
	kref_get(&vm->ref);
	drm_dev_get(&rdev->drm);
	rdu_cleanup_get();
	ret = rdu_ctx_grant(ctx, rfile->user);
	if (ret) {
		drm_sched_entity_fini(&ctx->entity);
		rdu_ctx_put(ctx);
		return ERR_PTR(ret);
	}
	return ctx;

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
	u64 tile_mask;
	int ret, idx;
	u32 id;

	ret = rdu_ctx_check(rdev, args);
	if (ret)
		return ret;
	vm = rdu_vm_lookup(rfile, args->vm_id);
	if (!vm)
		return -ENOENT;
	/* Its interrupt and its ring go before the device does. */
	if (!drm_dev_enter(drm, &idx)) {
		ret = -ENODEV;
		goto out_put_vm;
	}
	ctx = rdu_ctx_create(rfile, vm, args);
	ret = IS_ERR(ctx) ? PTR_ERR(ctx) : rdu_ctx_start(ctx);
	drm_dev_exit(idx);
	if (IS_ERR(ctx))
		goto out_put_vm;
	if (ret)
		goto err_close_ctx;
	/* Once it has a number, another thread may destroy it. */
	tile_mask = rdu_ctx_tile_mask(ctx);
	ret = xa_alloc(&rfile->ctxs, &id, ctx, XA_LIMIT(1, RDU_MAX_IDS), GFP_KERNEL_ACCOUNT);
	if (ret) {
		ret = ret == -EBUSY ? -ENOSPC : ret;
		goto err_close_ctx;
	}
	args->ctx_id = id;
	args->tile_mask = tile_mask;
	goto out_put_vm;

err_close_ctx:
	rdu_ctx_close(ctx);
out_put_vm:
	rdu_vm_put(vm);
	return ret;
}

int rdu_ioctl_ctx_destroy(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_rdu_ctx_destroy *args = data;
	struct rdu_file *rfile = file->driver_priv;
	struct rdu_busy busy;
	struct rdu_ctx *ctx;

	if (args->pad)
		return -EINVAL;
	ctx = xa_erase(&rfile->ctxs, args->ctx_id);
	if (!ctx)
		return -ENOENT;
	kref_get(&ctx->ref);
	rdu_ctx_close(ctx);
	/* To the last cycle; meanwhile fdinfo stays at what it has told. */
	rdu_ctx_busy(ctx, &busy);
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

#if IS_ENABLED(CONFIG_DRM_ACCEL_RDU_KUNIT_TEST)
#include "rdu_ctx_test.c"
#endif
