// SPDX-License-Identifier: GPL-2.0-only
/*
 * One DRM scheduler and one entity per context: the card schedules queues, the
 * scheduler only waits for dependencies, keeps the ring from overflowing and
 * watches the time.
 */
#include <drm/drm_drv.h>

#include "rdu_ctx.h"
#include "rdu_job.h"
#include "rdu_queue.h"
#include "rdu_trace.h"

/* The card's own watchdog should bark first. */
#define RDU_TIMEOUT_SLACK_MS	2000

static int rdu_sched_emit(struct rdu_job *job)
{
	struct rdu_ctx *ctx = job->ctx;
	int ret, idx;

	/* A killed entity gives its jobs an error before they come here. */
	if (job->base.s_fence->finished.error || READ_ONCE(ctx->dead))
		return -ECANCELED;
	if (!drm_dev_enter(&ctx->rdev->drm, &idx))
		return -ENODEV;
	/*
	 * The queue is there: it goes in rdu_ctx_close() after the entity was
	 * emptied, or after unplug, which waits for this section.
	 */
	trace_rdu_run(ctx->rdev, ctx->queue_id, ctx->fence_context, job->submit, job->num_cmds);
	ret = rdu_queue_emit(ctx->queue, job->cmds, job->num_cmds, job->fence);
	drm_dev_exit(idx);
	return ret;
}

static struct dma_fence *rdu_sched_run_job(struct drm_sched_job *sched_job)
{
	struct rdu_job *job = to_rdu_job(sched_job);
	int ret = rdu_sched_emit(job);

	if (ret) {
		rdu_fence_cancel(job->fence, ret);
		return ERR_PTR(ret);
	}
	return dma_fence_get(&job->fence->base);
}

static enum drm_gpu_sched_stat rdu_sched_timedout_job(struct drm_sched_job *sched_job)
{
	struct rdu_job *job = to_rdu_job(sched_job);
	struct drm_gpu_scheduler *sched = sched_job->sched;
	struct rdu_ctx *ctx = job->ctx;
	u64 done = 0;
	int idx;

	mutex_lock(&ctx->lock);
	if (ctx->queue) {
		rdu_queue_poll(ctx->queue);
		done = READ_ONCE(ctx->queue->done);
	}
	mutex_unlock(&ctx->lock);
	if (done != ctx->done_seen) {
		ctx->done_seen = done;
		return rdu_sched_no_hang(sched_job);
	}

	mutex_lock(&ctx->sched_lock);
	drm_sched_stop(sched, sched_job);
	if (drm_dev_enter(&ctx->rdev->drm, &idx)) {
		rdu_ctx_kill(ctx, DRM_RDU_CTX_STATE_HUNG);
		drm_dev_exit(idx);
	}
	rdu_sched_start(sched);
	mutex_unlock(&ctx->sched_lock);
	return RDU_SCHED_STAT_RESET;
}

static void rdu_sched_free_job(struct drm_sched_job *sched_job)
{
	drm_sched_job_cleanup(sched_job);
	rdu_job_free(to_rdu_job(sched_job));
}

static const struct drm_sched_backend_ops rdu_sched_ops = {
	.run_job = rdu_sched_run_job,
	.timedout_job = rdu_sched_timedout_job,
	.free_job = rdu_sched_free_job,
};

int rdu_sched_ctx_init(struct rdu_ctx *ctx)
{
	struct drm_gpu_scheduler *sched = &ctx->sched;
	long timeout = msecs_to_jiffies(ctx->timeout_ms + RDU_TIMEOUT_SLACK_MS);
	int ret;

	ret = rdu_sched_init(sched, &rdu_sched_ops, ctx->depth, timeout,
			     ctx->rdev->submit_wq, ctx->rdev->timeout_wq, ctx->rdev->drm.dev);
	if (ret)
		return ret;
	ret = drm_sched_entity_init(&ctx->entity, DRM_SCHED_PRIORITY_NORMAL, &sched, 1, NULL);
	if (ret)
		drm_sched_fini(sched);
	return ret;
}

/*
 * Drops the jobs that have not been run. The scheduler's worker is held still
 * meanwhile: as it takes a job it puts the entity back into the run queue for
 * the next one (drm_sched_entity_pop_job()), also when the entity was just
 * removed to be killed, and would then take a job that is being dropped.
 */
void rdu_sched_ctx_empty(struct rdu_ctx *ctx)
{
	mutex_lock(&ctx->sched_lock);
	drm_sched_wqueue_stop(&ctx->sched);
	drm_sched_entity_fini(&ctx->entity);
	drm_sched_wqueue_start(&ctx->sched);
	mutex_unlock(&ctx->sched_lock);
}

/* The entity is gone, and every job has been freed: each held the context. */
void rdu_sched_ctx_fini(struct rdu_ctx *ctx)
{
	drm_sched_fini(&ctx->sched);
}
