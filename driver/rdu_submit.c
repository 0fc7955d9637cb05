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
#include "rdu_job.h"
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
void rdu_job_free(struct rdu_job *job)
{
	u32 i;

	if (job->inited)
		drm_sched_job_cleanup(&job->base);
	for (i = 0; i < job->num_signals; i++) {
		dma_fence_chain_free(job->signals[i].chain);
		drm_syncobj_put(job->signals[i].syncobj);
	}
	for (i = 0; i < job->num_progs; i++)
		rdu_prog_put(job->progs[i]);
	if (job->armed) {
		/* Dropped before it got to the card? Nobody waits in vain. */
		rdu_fence_cancel(job->fence, -ECANCELED);
		dma_fence_put(&job->fence->base);
	} else if (job->fence) {
		rdu_fence_free(job->fence);
	}
	if (job->awake)
		rdu_pm_put(job->ctx->rdev);
	if (job->ctx)
		rdu_ctx_put(job->ctx);
	kvfree(job);
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

static int rdu_job_run(struct rdu_file *rfile, struct rdu_job *job,
		       const struct drm_rdu_job *args, struct rdu_cmd *cmd)
{
	const struct drm_rdu_job_run *run = &args->run;
	struct rdu_prog *prog;

	if (run->pad || !rdu_va_ok(run->args_va, run->args_size) ||
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
	job->progs[job->num_progs++] = prog;
	if (run->entry >= prog->num_entries || prog->num_tiles > job->ctx->num_tiles)
		return -EINVAL;
	cmd->op = RDU_OP_RUN;
	cmd->slot = prog->slot;
	cmd->run.index = run->entry;
	cmd->run.args = run->args_va;
	cmd->run.args_size = run->args_size;
	cmd->run.stats = run->stats_va;
	cmd->run.trace = run->trace_va;
	cmd->run.trace_size = run->trace_size;
	return 0;
}

static int rdu_job_cmd(struct rdu_file *rfile, struct rdu_job *job,
		       const struct drm_rdu_job *args, struct rdu_cmd *cmd)
{
	if (args->flags)
		return -EINVAL;

	switch (args->type) {
	case DRM_RDU_JOB_RUN:
		return rdu_job_run(rfile, job, args, cmd);
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
static struct rdu_job *rdu_job_alloc(u32 num_cmds, u32 num_syncs)
{
	struct rdu_job *job;
	size_t size, progs, signals;

	size = struct_size(job, cmds, num_cmds);
	progs = array_size(num_cmds, sizeof(*job->progs));
	signals = array_size(num_syncs, sizeof(*job->signals));
	job = kvzalloc(size_add(size, size_add(progs, signals)), GFP_KERNEL_ACCOUNT);
	if (!job)
		return NULL;
	job->num_cmds = num_cmds;
	job->progs = (void *)job + size;
	job->signals = (void *)job->progs + progs;
	return job;
}

/* The job with its commands. Takes over the caller's reference to the context. */
static struct rdu_job *rdu_job_create(struct rdu_file *rfile, struct rdu_ctx *ctx,
				      const struct drm_rdu_submit *args)
{
	struct drm_rdu_job arg;
	struct rdu_job *job;
	int ret;
	u32 i;

	job = rdu_job_alloc(args->num_jobs, args->num_syncs);
	if (!job) {
		rdu_ctx_put(ctx);
		return ERR_PTR(-ENOMEM);
	}
	job->ctx = ctx;
	if (rdu_pm_get(ctx->rdev) < 0) {
		ret = -EIO;
		goto err_free_job;
	}
	job->awake = true;
	if (args->num_jobs > ctx->depth) {
		ret = -EINVAL;
		goto err_free_job;
	}
	job->fence = rdu_fence_alloc();
	if (!job->fence) {
		ret = -ENOMEM;
		goto err_free_job;
	}
	for (i = 0; i < args->num_jobs; i++) {
		ret = rdu_copy_array(&arg, sizeof(arg), args->jobs + (u64)i * args->job_stride,
				     1, args->job_stride);
		if (!ret)
			ret = rdu_job_cmd(rfile, job, &arg, &job->cmds[i]);
		if (ret)
			goto err_free_job;
	}
	return job;

err_free_job:
	rdu_job_free(job);
	return ERR_PTR(ret);
}

static int rdu_submit_wait(struct rdu_job *job, struct drm_file *file,
			   const struct drm_rdu_sync *sync)
{
	struct dma_fence *fence;
	int ret;

	/* The core's helper for jobs takes points of 32 bits only. */
	ret = drm_syncobj_find_fence(file, sync->handle, sync->point, 0, &fence);
	if (ret)
		return ret;
	/* What this context was given before is done before, by the ring's order. */
	if (fence->context == job->ctx->fence_context) {
		dma_fence_put(fence);
		return 0;
	}
	return drm_sched_job_add_dependency(&job->base, fence);
}

static int rdu_submit_signal(struct rdu_job *job, struct drm_file *file,
			     const struct drm_rdu_sync *sync)
{
	struct rdu_signal *signal = &job->signals[job->num_signals];

	signal->syncobj = drm_syncobj_find(file, sync->handle);
	if (!signal->syncobj)
		return -ENOENT;
	job->num_signals++;
	if (sync->flags & DRM_RDU_SYNC_TIMELINE) {
		signal->point = sync->point;
		signal->chain = dma_fence_chain_alloc();
		if (!signal->chain)
			return -ENOMEM;
	}
	return 0;
}

static int rdu_submit_syncs(struct rdu_job *job, struct drm_file *file,
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
			ret = rdu_submit_signal(job, file, &sync);
		else
			ret = rdu_submit_wait(job, file, &sync);
	}
	return ret;
}

/* Uses the syncobjs up: what follows may free the job. */
static void rdu_submit_publish(struct rdu_job *job)
{
	struct dma_fence *fence = &job->fence->base;
	u32 i;

	for (i = 0; i < job->num_signals; i++) {
		struct rdu_signal *signal = &job->signals[i];

		if (signal->chain)
			drm_syncobj_add_point(signal->syncobj, signal->chain, fence,
					      signal->point);
		else
			drm_syncobj_replace_fence(signal->syncobj, fence);
		drm_syncobj_put(signal->syncobj);
	}
	job->num_signals = 0;
}

/* Nothing fails after arm. */
static int rdu_submit_push(struct rdu_job *job, u64 *seqno)
{
	struct rdu_ctx *ctx = job->ctx;
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
		drm_sched_job_arm(&job->base);
		job->submit = ++ctx->submitted;
		rdu_fence_init(job->fence, ctx->fence_context, job->submit);
		job->armed = true;
		*seqno = job->submit;
		trace_rdu_submit(ctx->rdev, ctx->queue_id, ctx->fence_context, job->submit,
				 job->num_cmds);
		rdu_submit_publish(job);
		drm_sched_entity_push_job(&job->base); /* it is the scheduler's */
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
	struct rdu_job *job;
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
	job = rdu_job_create(rfile, ctx, args);
	if (IS_ERR(job))
		return PTR_ERR(job);
	ret = rdu_sched_job_init(&job->base, &ctx->entity, args->num_jobs, rfile,
				 file->client_id);
	if (ret)
		goto err_free_job;
	job->inited = true;
	ret = rdu_submit_syncs(job, file, args);
	if (ret)
		goto err_free_job;
	ret = rdu_submit_push(job, &args->seqno);
	if (ret)
		goto err_free_job;
	return 0;

err_free_job:
	rdu_job_free(job);
	return ret;
}

#if IS_ENABLED(CONFIG_DRM_ACCEL_RDU_KUNIT_TEST)
#include "rdu_submit_test.c"
#endif
