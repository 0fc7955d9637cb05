/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between kernels, told by the headers (see Kbuild), never by
 * version numbers: distributions move interfaces between versions.
 */
#ifndef RDU_COMPAT_H
#define RDU_COMPAT_H

#include <drm/drm_gpuvm.h>
#include <drm/gpu_scheduler.h>

#ifdef RDU_HAVE_GPU_BUDDY
#include <linux/gpu_buddy.h>
#define rdu_buddy gpu_buddy
#define rdu_buddy_block gpu_buddy_block
#define rdu_buddy_init gpu_buddy_init
#define rdu_buddy_fini gpu_buddy_fini
#define rdu_buddy_alloc_blocks gpu_buddy_alloc_blocks
#define rdu_buddy_free_list gpu_buddy_free_list
#define rdu_buddy_block_offset gpu_buddy_block_offset
#define rdu_buddy_block_size gpu_buddy_block_size
#define RDU_BUDDY_CONTIGUOUS GPU_BUDDY_CONTIGUOUS_ALLOCATION
#define RDU_BUDDY_RANGE GPU_BUDDY_RANGE_ALLOCATION
#else
#include <drm/drm_buddy.h>
#define rdu_buddy drm_buddy
#define rdu_buddy_block drm_buddy_block
#define rdu_buddy_init drm_buddy_init
#define rdu_buddy_fini drm_buddy_fini
#define rdu_buddy_alloc_blocks drm_buddy_alloc_blocks
#define rdu_buddy_free_list drm_buddy_free_list
#define rdu_buddy_block_offset drm_buddy_block_offset
#define rdu_buddy_block_size drm_buddy_block_size
#define RDU_BUDDY_CONTIGUOUS DRM_BUDDY_CONTIGUOUS_ALLOCATION
#define RDU_BUDDY_RANGE DRM_BUDDY_RANGE_ALLOCATION
#endif

/* Scheduler: one run queue, one entity. */
static inline int rdu_sched_init(struct drm_gpu_scheduler *sched,
				 const struct drm_sched_backend_ops *ops,
				 u32 credits, long timeout,
				 struct workqueue_struct *submit_wq,
				 struct workqueue_struct *timeout_wq, struct device *dev)
{
#ifdef RDU_HAVE_SCHED_INIT_ARGS
	const struct drm_sched_init_args args = {
		.ops = ops,
		.submit_wq = submit_wq,
		.num_rqs = DRM_SCHED_PRIORITY_COUNT,
		.credit_limit = credits,
		.timeout = timeout,
		.timeout_wq = timeout_wq,
		.name = "rdu",
		.dev = dev,
	};

	return drm_sched_init(sched, &args);
#else
	return drm_sched_init(sched, ops, submit_wq, DRM_SCHED_PRIORITY_COUNT, credits, 0,
			      timeout, timeout_wq, NULL, "rdu", dev);
#endif
}

static inline int rdu_sched_job_init(struct drm_sched_job *job,
				     struct drm_sched_entity *entity, u32 credits,
				     void *owner, u64 client_id)
{
#ifdef RDU_HAVE_SCHED_JOB_CLIENT_ID
	return drm_sched_job_init(job, entity, credits, owner, client_id);
#else
	return drm_sched_job_init(job, entity, credits, owner);
#endif
}

/* What timedout_job returns when the job stays with the scheduler. */
static inline enum drm_gpu_sched_stat rdu_sched_no_hang(struct drm_sched_job *job)
{
#ifdef RDU_HAVE_SCHED_STAT_NO_HANG
	return DRM_GPU_SCHED_STAT_NO_HANG;
#else
	struct drm_gpu_scheduler *sched = job->sched;

	spin_lock(&sched->job_list_lock);
	list_add(&job->list, &sched->pending_list);
	spin_unlock(&sched->job_list_lock);
	/* If it ended while it was not in the list, nobody has seen that. */
	if (!READ_ONCE(sched->pause_submit))
		queue_work(sched->submit_wq, &sched->work_free_job);
	return DRM_GPU_SCHED_STAT_NOMINAL;
#endif
}

/* Address spaces. Called with the buffer's reservation held. */
static inline struct drm_gpuvm_bo *rdu_gpuvm_bo_obtain(struct drm_gpuvm *gpuvm,
						       struct drm_gem_object *obj)
{
#ifdef RDU_HAVE_GPUVM_BO_OBTAIN_LOCKED
	return drm_gpuvm_bo_obtain_locked(gpuvm, obj);
#else
	return drm_gpuvm_bo_obtain(gpuvm, obj);
#endif
}

static inline int rdu_gpuvm_map(struct drm_gpuvm *gpuvm, void *priv, u64 va, u64 range,
				struct drm_gem_object *obj, u64 offset)
{
#ifdef RDU_HAVE_GPUVM_MAP_REQ
	const struct drm_gpuvm_map_req req = {
		.map.va.addr = va,
		.map.va.range = range,
		.map.gem.obj = obj,
		.map.gem.offset = offset,
	};

	return drm_gpuvm_sm_map(gpuvm, priv, &req);
#else
	return drm_gpuvm_sm_map(gpuvm, priv, va, range, obj, offset);
#endif
}

/* Taking shared memory back. */
#ifdef RDU_HAVE_DMA_BUF_INVALIDATE
#define rdu_dma_buf_invalidate dma_buf_invalidate_mappings
#define RDU_DMA_BUF_INVALIDATE invalidate_mappings
#else
#define rdu_dma_buf_invalidate dma_buf_move_notify
#define RDU_DMA_BUF_INVALIDATE move_notify
#endif

/* What a workqueue is without WQ_UNBOUND, said aloud. */
#ifdef RDU_HAVE_WQ_PERCPU
#define RDU_WQ_PERCPU WQ_PERCPU
#else
#define RDU_WQ_PERCPU 0
#endif

#ifdef RDU_HAVE_DRIVER_GEM_GPUVA
#define RDU_DRIVER_GEM_GPUVA DRIVER_GEM_GPUVA
#else
#define RDU_DRIVER_GEM_GPUVA 0
#endif

#endif
