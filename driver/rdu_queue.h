/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RDU_QUEUE_H
#define RDU_QUEUE_H

#include <linux/dma-fence.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "rdu_device.h"

/*
 * A SUBMIT on its way: what syncobjs get. Not the scheduler's own fence, since
 * that needs the scheduler, which goes with the context, to tell its name.
 */
struct rdu_fence {
	struct dma_fence base;
	spinlock_t lock;	/* of base; in here since it must live as long */
	struct list_head link;	/* rdu_queue.fences */
	u64 submit;		/* the SUBMIT's number in its context */
	u64 first_cmd, last_cmd; /* numbers of its commands in the queue */
};

/* A command as the card reads it: struct rdu_cmd in little endian. */
struct rdu_ring_cmd {
	__le64 word[sizeof(struct rdu_cmd) / sizeof(__le64)];
};

struct rdu_queue {
	struct rdu_device *rdev;
	u32 id;
	u32 depth;		/* entries, a power of two */
	int irq;

	void *mem;		/* ring, then completion word */
	size_t mem_size;
	dma_addr_t dma;
	struct rdu_ring_cmd *ring;
	__le64 *cpl;

	spinlock_t lock;	/* Protects: all below */
	u32 tail;
	bool stopped;		/* takes nothing more */
	u64 emitted;		/* number of the last command in the ring */
	u64 done;		/* number of the last command known done */
	u64 submit_done;	/* the last SUBMIT known done */
	unsigned long since;	/* jiffies: done moved, or the ring was empty before */
	struct list_head fences;
	wait_queue_head_t wait;	/* done has moved, or stopped is set */
};

struct rdu_queue *rdu_queue_create(struct rdu_device *rdev, u32 id, u32 depth);
void rdu_queue_destroy(struct rdu_queue *q);
int rdu_queue_start(struct rdu_queue *q);
int rdu_queue_reset(struct rdu_queue *q);
void rdu_queue_rewind(struct rdu_queue *q);
bool rdu_queue_idle(struct rdu_queue *q);
bool rdu_queue_late(struct rdu_queue *q, unsigned long timeout);
bool rdu_queue_poll(struct rdu_queue *q);
int rdu_queue_emit(struct rdu_queue *q, const struct rdu_cmd *cmds, u32 count,
		   struct rdu_fence *fence);
void rdu_queue_stop(struct rdu_queue *q);
void rdu_queue_cancel(struct rdu_queue *q, u64 guilty_cmd, int guilty_error);
struct dma_fence *rdu_queue_last_fence(struct rdu_queue *q);
void rdu_queue_read_busy(struct rdu_queue *q, struct rdu_busy *busy);

struct rdu_fence *rdu_fence_alloc(void);
/* From here on it is a dma_fence, and must be signalled. */
void rdu_fence_init(struct rdu_fence *fence, u64 context, u64 submit);
/* A fence that was never initialised. */
void rdu_fence_free(struct rdu_fence *fence);
bool rdu_fence_is(const struct dma_fence *fence);
/* Signals with an error, unless it is signalled already. */
void rdu_fence_cancel(struct rdu_fence *fence, int error);

#endif
