// SPDX-License-Identifier: GPL-2.0-only
/*
 * One DRM scheduler and one entity per context: the card schedules queues, the
 * scheduler only waits for dependencies, keeps the ring from overflowing and
 * watches the time.
 */
#include "rdu_ctx.h"
#include "rdu_submit.h"
#include "rdu_queue.h"
#include "rdu_trace.h"

/* The card's own watchdog should bark first. */
#define RDU_TIMEOUT_SLACK_MS	2000

static int rdu_sched_emit(struct rdu_submit *submit)
{
	struct rdu_ctx *ctx = submit->ctx;
	int ret, idx;

	/* Here the scheduler stands still while the card is drained and reset. */
	ret = rdu_card_enter_job(ctx->rdev, &idx);
	if (ret)
		return ret;
	/* A killed entity gives its jobs an error before they come here. */
	if (submit->base.s_fence->finished.error || READ_ONCE(ctx->dead)) {
		ret = -ECANCELED;
	} else {
		/*
		 * The queue is there: it goes in rdu_ctx_close() after the
		 * entity was emptied, or after unplug, which waits for this.
		 */
		trace_rdu_run(ctx->rdev, ctx->queue_id, ctx->fence_context, submit->number,
			      submit->num_cmds);
		ret = rdu_queue_emit(ctx->queue, submit->cmds, submit->num_cmds, submit->fence);
		/* What is brief may be done before its interrupt gets anywhere. */
		if (!ret)
			rdu_queue_poll(ctx->queue);
	}
	rdu_card_exit(ctx->rdev, idx);
	return ret;
}

static struct dma_fence *rdu_sched_run_job(struct drm_sched_job *sched_job)
{
	struct rdu_submit *submit = to_rdu_submit(sched_job);
	/* Lockdep: nothing here may wait for memory, which may wait for fences. */
	bool cookie = dma_fence_begin_signalling();
	int ret = rdu_sched_emit(submit);

	dma_fence_end_signalling(cookie);
	if (ret) {
		rdu_fence_cancel(submit->fence, ret);
		return ERR_PTR(ret);
	}
	return dma_fence_get(&submit->fence->base);
}

/* A job may wait for a reset of the card with nothing in the ring: it is not late. */
static bool rdu_sched_late(struct rdu_ctx *ctx)
{
	bool late = false;

	mutex_lock(&ctx->lock);
	if (ctx->queue && !ctx->dead) {
		rdu_queue_poll(ctx->queue);
		/* Without the slack: the timer has waited for that, too. */
		late = rdu_queue_late(ctx->queue, msecs_to_jiffies(ctx->timeout_ms));
	}
	mutex_unlock(&ctx->lock);
	return late;
}

/*
 * The scheduler is not stopped: of a context that is killed it has nothing to
 * give any more, and others have schedulers of their own. The job's fence tells
 * the scheduler when all is over.
 */
static enum drm_gpu_sched_stat rdu_sched_timedout_job(struct drm_sched_job *sched_job)
{
	struct rdu_ctx *ctx = to_rdu_submit(sched_job)->ctx;
	struct rdu_device *rdev = ctx->rdev;
	bool cookie = dma_fence_begin_signalling();
	int idx;

	/* Once more: it may have been drained while we waited to get in. */
	if (rdu_sched_late(ctx) && !rdu_card_enter(rdev, &idx)) {
		if (rdu_sched_late(ctx))
			rdu_ctx_kill(ctx, DRM_RDU_CTX_STATE_HUNG);
		rdu_card_exit(rdev, idx);
	}
	dma_fence_end_signalling(cookie);
	return rdu_sched_no_hang(sched_job);
}

static void rdu_sched_free_job(struct drm_sched_job *sched_job)
{
	rdu_submit_free(to_rdu_submit(sched_job));
}

static const struct drm_sched_backend_ops rdu_sched_ops = {
	.run_job = rdu_sched_run_job,
	.timedout_job = rdu_sched_timedout_job,
	.free_job = rdu_sched_free_job,
};

/* What a job may take, in jiffies. */
unsigned long rdu_sched_timeout(const struct rdu_ctx *ctx)
{
	return msecs_to_jiffies(ctx->timeout_ms + RDU_TIMEOUT_SLACK_MS);
}

int rdu_sched_ctx_init(struct rdu_ctx *ctx)
{
	struct drm_gpu_scheduler *sched = &ctx->sched;
	int ret;

	ret = rdu_sched_init(sched, &rdu_sched_ops, ctx->depth, rdu_sched_timeout(ctx),
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
	drm_sched_wqueue_stop(&ctx->sched);
	drm_sched_entity_fini(&ctx->entity);
	drm_sched_wqueue_start(&ctx->sched);
}

/* The entity is gone, and every job has been freed: each held the context. */
void rdu_sched_ctx_fini(struct rdu_ctx *ctx)
{
	drm_sched_fini(&ctx->sched);
}
