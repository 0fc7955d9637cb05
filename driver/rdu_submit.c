// SPDX-License-Identifier: GPL-2.0-only
/*
 * SUBMIT: everything that can fail comes first; then the job is armed, its
 * fences are published, and it is pushed.
 */
#include <linux/dma-fence-chain.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_syncobj.h>

#include "rdu_ctx.h"
#include "rdu_submit.h"
#include "rdu_prog.h"
#include "rdu_queue.h"
#include "rdu_trace.h"

/* A syncobj to be signalled, with what timeline points need. */
struct rdu_signal {
	struct drm_syncobj *syncobj;
	struct dma_fence_chain *chain;
	u64 point;
};

/* Also takes jobs that were made in part. */
void rdu_submit_free(struct rdu_submit *submit)
{
	u32 i;

	if (submit->inited)
		drm_sched_job_cleanup(&submit->base);
	for (i = 0; i < submit->num_signals; i++) {
		dma_fence_chain_free(submit->signals[i].chain);
		drm_syncobj_put(submit->signals[i].syncobj);
	}
	for (i = 0; i < submit->num_progs; i++)
		rdu_prog_put(submit->progs[i]);
	if (submit->armed) {
		/* Dropped before it got to the card? Nobody waits in vain. */
		rdu_fence_cancel(submit->fence, -ECANCELED);
		dma_fence_put(&submit->fence->base);
	} else if (submit->fence) {
		rdu_fence_free(submit->fence);
	}
	if (submit->awake)
		rdu_pm_put(submit->ctx->rdev);
	if (submit->ctx)
		rdu_ctx_put(submit->ctx);
	kvfree(submit);
}

static bool rdu_raw_zero(const struct drm_rdu_job *job, u32 used)
{
	u32 i;

	for (i = used; i < ARRAY_SIZE(job->raw); i++)
		if (job->raw[i])
			return false;
	return true;
}

static bool rdu_va_ok(u64 va, u64 size)
{
	u64 end;

	return va >= RDU_VA_START && !check_add_overflow(va, size, &end) && end <= RDU_VA_END;
}

static int rdu_job_run(struct rdu_file *rfile, struct rdu_submit *submit,
		       const struct drm_rdu_job *args, struct rdu_cmd *cmd)
{
	const struct drm_rdu_job_run *run = &args->run;
	struct rdu_prog *prog;

	if (!rdu_va_ok(run->args_va, run->args_size) ||
	    run->args_size < sizeof(struct rdu_args) || run->args_va & 7)
		return -EINVAL;
	if (run->stats_va &&
	    (run->stats_va & 7 || !rdu_va_ok(run->stats_va, sizeof(struct rdu_stats))))
		return -EINVAL;
	if (!run->trace_va != !run->trace_size)
		return -EINVAL;
	if (run->trace_va &&
	    (run->trace_va & 7 || run->trace_size < sizeof(struct rdu_trace) ||
	     !rdu_va_ok(run->trace_va, run->trace_size)))
		return -EINVAL;

	prog = rdu_prog_lookup(rfile, run->prog_id);
	if (!prog)
		return -ENOENT;
	submit->progs[submit->num_progs++] = prog;
	if (run->entry >= prog->num_entries || prog->num_tiles > submit->ctx->num_tiles)
		return -EINVAL;
	cmd->op = RDU_OP_RUN;
	cmd->slot = prog->slot;
	cmd->run.index = run->entry;
	cmd->run.args = run->args_va;
	cmd->run.args_size = run->args_size;
	cmd->run.stats = run->stats_va;
	cmd->run.trace = run->trace_va;
	cmd->run.trace_size = run->trace_size;
	if (submit->ctx->rdev->interface_version >= RDU_INTERFACE_KEEPS)
		cmd->run.epoch = run->epoch;
	return 0;
}

static int rdu_job_cmd(struct rdu_file *rfile, struct rdu_submit *submit,
		       const struct drm_rdu_job *args, struct rdu_cmd *cmd)
{
	if (args->flags)
		return -EINVAL;

	switch (args->type) {
	case DRM_RDU_JOB_RUN:
		return rdu_job_run(rfile, submit, args, cmd);
	case DRM_RDU_JOB_COPY:
		if (!rdu_raw_zero(args, 3) || !args->copy.len ||
		    !rdu_va_ok(args->copy.src_va, args->copy.len) ||
		    !rdu_va_ok(args->copy.dst_va, args->copy.len))
			return -EINVAL;
		if (args->copy.src_va < args->copy.dst_va + args->copy.len &&
		    args->copy.dst_va < args->copy.src_va + args->copy.len)
			return -EINVAL;
		cmd->op = RDU_OP_COPY;
		cmd->copy.src = args->copy.src_va;
		cmd->copy.dst = args->copy.dst_va;
		cmd->copy.len = args->copy.len;
		return 0;
	case DRM_RDU_JOB_FILL:
		if (args->fill.pad || !rdu_raw_zero(args, 3) || !args->fill.len ||
		    (args->fill.va | args->fill.len) & 3 ||
		    !rdu_va_ok(args->fill.va, args->fill.len))
			return -EINVAL;
		cmd->op = RDU_OP_FILL;
		cmd->fill.dst = args->fill.va;
		cmd->fill.len = args->fill.len;
		cmd->fill.value = args->fill.value;
		return 0;
	case DRM_RDU_JOB_BARRIER:
		if (!rdu_raw_zero(args, 0))
			return -EINVAL;
		cmd->op = RDU_OP_NOP; /* the card keeps the order */
		return 0;
	case DRM_RDU_JOB_TIMESTAMP:
		if (!rdu_raw_zero(args, 1) || args->timestamp.va & 7 ||
		    !rdu_va_ok(args->timestamp.va, sizeof(u64)))
			return -EINVAL;
		cmd->op = RDU_OP_TIMESTAMP;
		cmd->copy.dst = args->timestamp.va;
		return 0;
	default:
		return -EINVAL;
	}
}

/* One piece of memory for all: the scheduler's work is short for short jobs. */
static struct rdu_submit *rdu_submit_alloc(u32 num_cmds, u32 num_syncs)
{
	struct rdu_submit *submit;
	size_t size, progs, signals;

	size = struct_size(submit, cmds, num_cmds);
	progs = array_size(num_cmds, sizeof(*submit->progs));
	signals = array_size(num_syncs, sizeof(*submit->signals));
	submit = kvzalloc(size_add(size, size_add(progs, signals)), GFP_KERNEL_ACCOUNT);
	if (!submit)
		return NULL;
	submit->num_cmds = num_cmds;
	submit->progs = (void *)submit + size;
	submit->signals = (void *)submit->progs + progs;
	return submit;
}

/* The job with its commands. Takes over the caller's reference to the context. */
static struct rdu_submit *rdu_submit_create(struct rdu_file *rfile, struct rdu_ctx *ctx,
				      const struct drm_rdu_submit *args)
{
	struct drm_rdu_job arg;
	struct rdu_submit *submit;
	int ret;
	u32 i;

	submit = rdu_submit_alloc(args->num_jobs, args->num_syncs);
	if (!submit) {
		rdu_ctx_put(ctx);
		return ERR_PTR(-ENOMEM);
	}
	submit->ctx = ctx;
	if (rdu_pm_get(ctx->rdev) < 0) {
		ret = -EIO;
		goto err_free_submit;
	}
	submit->awake = true;
	if (args->num_jobs > ctx->depth) {
		ret = -EINVAL;
		goto err_free_submit;
	}
	submit->fence = rdu_fence_alloc();
	if (!submit->fence) {
		ret = -ENOMEM;
		goto err_free_submit;
	}
	for (i = 0; i < args->num_jobs; i++) {
		ret = rdu_copy_array(&arg, sizeof(arg), args->jobs + (u64)i * args->job_stride,
				     1, args->job_stride);
		if (!ret)
			ret = rdu_job_cmd(rfile, submit, &arg, &submit->cmds[i]);
		if (ret)
			goto err_free_submit;
	}
	return submit;

err_free_submit:
	rdu_submit_free(submit);
	return ERR_PTR(ret);
}

static int rdu_submit_wait(struct rdu_submit *submit, struct drm_file *file,
			   const struct drm_rdu_sync *sync)
{
	struct dma_fence *fence;
	int ret;

	/* The core's helper for jobs takes points of 32 bits only. */
	ret = drm_syncobj_find_fence(file, sync->handle, sync->point, 0, &fence);
	if (ret)
		return ret;
	/* What this context was given before is done before, by the ring's order. */
	if (fence->context == submit->ctx->fence_context) {
		dma_fence_put(fence);
		return 0;
	}
	return drm_sched_job_add_dependency(&submit->base, fence);
}

static int rdu_submit_signal(struct rdu_submit *submit, struct drm_file *file,
			     const struct drm_rdu_sync *sync)
{
	struct rdu_signal *signal = &submit->signals[submit->num_signals];

	signal->syncobj = drm_syncobj_find(file, sync->handle);
	if (!signal->syncobj)
		return -ENOENT;
	submit->num_signals++;
	if (sync->flags & DRM_RDU_SYNC_TIMELINE) {
		signal->point = sync->point;
		signal->chain = dma_fence_chain_alloc();
		if (!signal->chain)
			return -ENOMEM;
	}
	return 0;
}

static int rdu_submit_syncs(struct rdu_submit *submit, struct drm_file *file,
			    const struct drm_rdu_submit *args)
{
	struct drm_rdu_sync sync;
	int ret = 0;
	u32 i;

	if (!args->num_syncs)
		return args->syncs || args->sync_stride ? -EINVAL : 0;

	for (i = 0; !ret && i < args->num_syncs; i++) {
		ret = rdu_copy_array(&sync, sizeof(sync),
				     args->syncs + (u64)i * args->sync_stride, 1,
				     args->sync_stride);
		if (ret)
			break;
		if (sync.flags & ~(DRM_RDU_SYNC_SIGNAL | DRM_RDU_SYNC_TIMELINE) ||
		    !(sync.flags & DRM_RDU_SYNC_TIMELINE) != !sync.point)
			ret = -EINVAL;
		else if (sync.flags & DRM_RDU_SYNC_SIGNAL)
			ret = rdu_submit_signal(submit, file, &sync);
		else
			ret = rdu_submit_wait(submit, file, &sync);
	}
	return ret;
}

/* Uses the syncobjs up: what follows may free the job. */
static void rdu_submit_publish(struct rdu_submit *submit)
{
	struct dma_fence *fence = &submit->fence->base;
	u32 i;

	for (i = 0; i < submit->num_signals; i++) {
		struct rdu_signal *signal = &submit->signals[i];

		if (signal->chain)
			drm_syncobj_add_point(signal->syncobj, signal->chain, fence,
					      signal->point);
		else
			drm_syncobj_replace_fence(signal->syncobj, fence);
		drm_syncobj_put(signal->syncobj);
	}
	submit->num_signals = 0;
}

/* Nothing fails after arm. */
static int rdu_submit_push(struct rdu_submit *submit, u64 *seqno)
{
	struct rdu_ctx *ctx = submit->ctx;
	int ret, idx;

	if (!drm_dev_enter(&ctx->rdev->drm, &idx))
		return -ENODEV;
	kref_get(&ctx->ref); /* the job's may be gone before the lock is let go */
	ret = mutex_lock_interruptible(&ctx->submit_lock);
	if (ret)
		goto out_put_ctx;
	if (ctx->closed) {
		ret = -ENOENT;
	} else if (READ_ONCE(ctx->dead)) {
		ret = -EIO;
	} else {
		drm_sched_job_arm(&submit->base);
		submit->number = ++ctx->submitted;
		rdu_fence_init(submit->fence, ctx->fence_context, submit->number);
		submit->armed = true;
		*seqno = submit->number;
		trace_rdu_submit(ctx->rdev, ctx->queue_id, ctx->fence_context, submit->number,
				 submit->num_cmds);
		rdu_submit_publish(submit);
		drm_sched_entity_push_job(&submit->base); /* it is the scheduler's */
	}
	mutex_unlock(&ctx->submit_lock);
out_put_ctx:
	rdu_ctx_put(ctx);
	drm_dev_exit(idx);
	return ret;
}

int rdu_ioctl_submit(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_rdu_submit *args = data;
	struct rdu_file *rfile = file->driver_priv;
	struct rdu_submit *submit;
	struct rdu_ctx *ctx;
	int ret;

	if (args->flags || !args->num_jobs || args->num_jobs > RDU_MAX_JOBS ||
	    args->num_syncs > RDU_MAX_SYNCS)
		return -EINVAL;
	ctx = rdu_ctx_lookup(rfile, args->ctx_id);
	if (!ctx)
		return -ENOENT;
	if (READ_ONCE(ctx->dead)) {
		rdu_ctx_put(ctx);
		return -EIO;
	}
	/* Not in drm_dev_enter(): a page of the user's may never come. */
	submit = rdu_submit_create(rfile, ctx, args);
	if (IS_ERR(submit))
		return PTR_ERR(submit);
	ret = rdu_sched_job_init(&submit->base, &ctx->entity, args->num_jobs, rfile,
				 file->client_id);
	if (ret)
		goto err_free_submit;
	submit->inited = true;
	ret = rdu_submit_syncs(submit, file, args);
	if (ret)
		goto err_free_submit;
	ret = rdu_submit_push(submit, &args->seqno);
	if (ret)
		goto err_free_submit;
	return 0;

err_free_submit:
	rdu_submit_free(submit);
	return ret;
}

#if IS_ENABLED(CONFIG_DRM_ACCEL_RDU_KUNIT_TEST)
#include "rdu_submit_test.c"
#endif
