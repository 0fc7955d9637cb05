/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RDU_CTX_H
#define RDU_CTX_H

#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/workqueue.h>

#include <drm/gpu_scheduler.h>

#include "rdu_device.h"

struct rdu_vm;

/* What the card said when the context died. */
struct rdu_ctx_fault {
	u32 code, info, section, program;
	u64 va;
	u64 submit;
	u32 job;
};

/* Tiles, a queue, an address space, and the scheduler that feeds the queue. */
struct rdu_ctx {
	struct rdu_device *rdev;
	struct kref ref;		/* handle, jobs, ioctls under way */
	struct work_struct release_work;
	struct rdu_vm *vm;
	struct list_head vm_link;	/* rdu_vm.ctxs, under rdu_vm.lock */
	struct list_head dev_link;	/* rdu_device.ctxs, under rdu_device.grant_lock */

	u32 queue_id;
	u32 tile_first, num_tiles;
	struct rdu_charge queue_charge, tiles_charge; /* as long as they are granted */
	u32 depth;
	u32 timeout_ms;
	u64 watchdog_cycles;
	struct rdu_busy busy_start;	/* counters when the queue was given to the card */

	struct drm_gpu_scheduler sched;
	struct drm_sched_entity entity;

	struct mutex submit_lock;	/* Protects: submitted, closed, the order of pushes */
	u64 submitted;
	u64 fence_context;
	bool closed;

	struct mutex lock;		/* Protects: queue, state, fault, granted */
	struct rdu_queue *queue;	/* NULL once the card was taken away */
	bool granted;
	u32 state;			/* DRM_RDU_CTX_STATE_*, 0: well */
	bool dead;			/* takes no more work */
	bool stuck;			/* may still be at work: until the card is reset */
	u64 guilty;			/* number of the command to blame, 0: none */
	int error;			/* of its fence */
	u64 done_last;			/* SUBMIT done when the queue went */
	struct rdu_busy busy_last;	/* used, when that was seen last */
	struct rdu_ctx_fault fault;

	/* For those who may see it. */
	kuid_t uid;
	struct pid *pid;
	char comm[TASK_COMM_LEN];
};

struct rdu_ctx *rdu_ctx_get_unless_zero(struct rdu_ctx *ctx);
void rdu_ctx_put(struct rdu_ctx *ctx);
struct rdu_ctx *rdu_ctx_lookup(struct rdu_file *rfile, u32 id);
struct rdu_ctx *rdu_ctx_on_queue(struct rdu_device *rdev, u32 queue);
void rdu_ctx_for_all(struct rdu_device *rdev, void (*call)(struct rdu_ctx *ctx));
void rdu_ctx_kill(struct rdu_ctx *ctx, u32 state);
void rdu_ctx_lose(struct rdu_ctx *ctx, u32 state);
bool rdu_ctx_drain(struct rdu_ctx *ctx);
void rdu_ctx_note_busy(struct rdu_ctx *ctx);
void rdu_ctx_reload(struct rdu_ctx *ctx);
void rdu_ctx_close(struct rdu_ctx *ctx);
void rdu_ctx_unplug_all(struct rdu_device *rdev);
void rdu_ctx_busy(struct rdu_ctx *ctx, struct rdu_busy *busy);
u64 rdu_ctx_completed(struct rdu_ctx *ctx);
struct dma_fence *rdu_ctx_last_fence(struct rdu_ctx *ctx);
u64 rdu_ctx_tile_mask(const struct rdu_ctx *ctx);

static inline void rdu_busy_add(struct rdu_busy *sum, const struct rdu_busy *add)
{
	sum->exec += add->exec;
	sum->pload += add->pload;
	sum->aload += add->aload;
	sum->copy += add->copy;
}

/* As time of tiles: a context without any counts as one. */
static inline void rdu_busy_add_tiles(struct rdu_busy *sum, const struct rdu_busy *add,
				      const struct rdu_ctx *ctx)
{
	u32 tiles = max(ctx->num_tiles, 1u);

	sum->exec += add->exec * tiles;
	sum->pload += add->pload * tiles;
	sum->aload += add->aload * tiles;
	sum->copy += add->copy * tiles;
}

int rdu_ioctl_ctx_create(struct drm_device *drm, void *data, struct drm_file *file);
int rdu_ioctl_ctx_destroy(struct drm_device *drm, void *data, struct drm_file *file);
int rdu_ioctl_ctx_get_state(struct drm_device *drm, void *data, struct drm_file *file);

/* rdu_coredump.c */
void rdu_coredump(struct rdu_ctx *ctx, u64 guilty);

/* rdu_sched.c */
unsigned long rdu_sched_timeout(const struct rdu_ctx *ctx);
int rdu_sched_ctx_init(struct rdu_ctx *ctx);
void rdu_sched_ctx_empty(struct rdu_ctx *ctx);
void rdu_sched_ctx_fini(struct rdu_ctx *ctx);

#endif
