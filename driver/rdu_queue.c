// SPDX-License-Identifier: GPL-2.0-only
/*
 * Queues: a ring of commands in coherent memory, a doorbell, a completion word
 * and an MSI-X vector each. Many batches are in flight; they are done in order.
 */
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/iopoll.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "rdu_queue.h"
#include "rdu_trace.h"

#define RDU_RESET_TIMEOUT_US	(5 * USEC_PER_SEC)

static const char *rdu_fence_driver_name(struct dma_fence *fence)
{
	return "rdu";
}

static const char *rdu_fence_timeline_name(struct dma_fence *fence)
{
	return "queue";
}

/* A sync_file may hold a fence longer than anything else holds the module. */
static void rdu_fence_release(struct dma_fence *fence)
{
	dma_fence_free(fence);
	module_put(THIS_MODULE);
}

static const struct dma_fence_ops rdu_fence_ops = {
	.get_driver_name = rdu_fence_driver_name,
	.get_timeline_name = rdu_fence_timeline_name,
	.release = rdu_fence_release,
};

struct rdu_fence *rdu_fence_alloc(void)
{
	struct rdu_fence *fence = kzalloc(sizeof(*fence), GFP_KERNEL_ACCOUNT);

	if (!fence)
		return NULL;
	__module_get(THIS_MODULE); /* the caller's open file holds one */
	spin_lock_init(&fence->lock);
	INIT_LIST_HEAD(&fence->link);
	return fence;
}

void rdu_fence_init(struct rdu_fence *fence, u64 context, u64 submit)
{
	fence->submit = submit;
	dma_fence_init(&fence->base, &rdu_fence_ops, &fence->lock, context, submit);
}

void rdu_fence_free(struct rdu_fence *fence)
{
	kfree(fence);
	module_put(THIS_MODULE);
}

bool rdu_fence_is(const struct dma_fence *fence)
{
	return fence->ops == &rdu_fence_ops;
}

void rdu_fence_cancel(struct rdu_fence *fence, int error)
{
	if (dma_fence_is_signaled(&fence->base))
		return;
	dma_fence_set_error(&fence->base, error);
	dma_fence_signal(&fence->base);
}

/* Takes in what the card says is done; true if that is more than before. */
static bool rdu_queue_update(struct rdu_queue *q, struct list_head *finished)
{
	u64 done = le64_to_cpu(READ_ONCE(*q->cpl));
	struct rdu_fence *fence, *next;

	lockdep_assert_held(&q->lock);

	/* The card may be mad: only numbers of commands it was given count. */
	if (done <= q->done || done > q->emitted)
		return false;
	dma_rmb();
	q->done = done;
	q->since = jiffies;
	list_for_each_entry_safe(fence, next, &q->fences, link) {
		if (fence->last_cmd > done)
			break;
		q->submit_done = fence->submit;
		trace_rdu_done(q->rdev, q->id, fence->base.context, fence->submit,
			       fence->last_cmd - fence->first_cmd + 1);
		list_move_tail(&fence->link, finished);
	}
	return true;
}

static void rdu_fences_signal(struct list_head *finished)
{
	struct rdu_fence *fence, *next;

	list_for_each_entry_safe(fence, next, finished, link) {
		list_del_init(&fence->link);
		dma_fence_signal(&fence->base);
		dma_fence_put(&fence->base);
	}
}

/**
 * rdu_queue_poll() - Look at the completion word now
 * @q: queue
 *
 * Return: true if there was progress since the last look.
 */
bool rdu_queue_poll(struct rdu_queue *q)
{
	LIST_HEAD(finished);
	unsigned long flags;
	bool moved;

	spin_lock_irqsave(&q->lock, flags);
	moved = rdu_queue_update(q, &finished);
	spin_unlock_irqrestore(&q->lock, flags);

	rdu_fences_signal(&finished);
	if (moved)
		wake_up_all(&q->wait);
	return moved;
}

static irqreturn_t rdu_queue_irq(int irq, void *data)
{
	bool cookie = dma_fence_begin_signalling();

	rdu_queue_poll(data);
	dma_fence_end_signalling(cookie);
	return IRQ_HANDLED;
}

/**
 * rdu_queue_create() - Make a queue; the card does not know it yet
 * @rdev: device
 * @id: which of the card's queues
 * @depth: entries of the ring, a power of two
 *
 * Return: the queue or an ERR_PTR.
 */
struct rdu_queue *rdu_queue_create(struct rdu_device *rdev, u32 id, u32 depth)
{
	size_t ring_size = (size_t)depth * sizeof(struct rdu_ring_cmd);
	struct rdu_queue *q;
	int ret;

	q = kzalloc(sizeof(*q), GFP_KERNEL_ACCOUNT);
	if (!q)
		return ERR_PTR(-ENOMEM);
	q->rdev = rdev;
	q->id = id;
	q->depth = depth;
	spin_lock_init(&q->lock);
	INIT_LIST_HEAD(&q->fences);
	init_waitqueue_head(&q->wait);

	q->mem_size = ring_size + sizeof(u64);
	q->mem = dma_alloc_coherent(rdev->drm.dev, q->mem_size, &q->dma, GFP_KERNEL);
	if (!q->mem) {
		ret = -ENOMEM;
		goto err_free_queue;
	}
	q->ring = q->mem;
	q->cpl = q->mem + ring_size;

	q->irq = pci_irq_vector(rdu_pdev(rdev), id);
	ret = request_irq(q->irq, rdu_queue_irq, 0, "rdu-queue", q);
	if (ret)
		goto err_free_ring;
	return q;

err_free_ring:
	dma_free_coherent(rdev->drm.dev, q->mem_size, q->mem, q->dma);
err_free_queue:
	kfree(q);
	return ERR_PTR(ret);
}

/* The card must have stopped using it: rdu_queue_reset(), or it is gone. */
void rdu_queue_destroy(struct rdu_queue *q)
{
	free_irq(q->irq, q);
	WARN_ON_ONCE(!list_empty(&q->fences));
	dma_free_coherent(q->rdev->drm.dev, q->mem_size, q->mem, q->dma);
	kfree(q);
}

/**
 * rdu_queue_start() - Tell the card where ring and completion are; enable
 * @q: queue; its other registers (page table, tiles, watchdog) are set already
 *
 * Return: 0, or -EIO if the card does not take it.
 */
int rdu_queue_start(struct rdu_queue *q)
{
	struct rdu_device *rdev = q->rdev;
	u32 status;

	*q->cpl = cpu_to_le64(READ_ONCE(q->done));
	rdu_qwrite64(rdev, q->id, RDU_REG_Q_RING_LO, q->dma);
	rdu_qwrite(rdev, q->id, RDU_REG_Q_RING_LOG2, ilog2(q->depth));
	rdu_qwrite64(rdev, q->id, RDU_REG_Q_CPL_LO, q->dma + ((void *)q->cpl - q->mem));
	rdu_qwrite(rdev, q->id, RDU_REG_Q_CTRL, RDU_CTRL_ENABLE);

	status = rdu_qread(rdev, q->id, RDU_REG_Q_STATUS);
	if (status != RDU_QUEUE_IDLE) {
		drm_err_ratelimited(&rdev->drm, "queue %u did not start: status %u\n",
				    q->id, status);
		return -EIO;
	}
	return 0;
}

/**
 * rdu_queue_reset() - Stop the queue on the card, clear its tiles
 * @q: queue
 *
 * Return: 0, -ETIMEDOUT if it does not stop, -ENODEV if the card does not answer.
 * Then only a reset of the card keeps it from what it has been given.
 */
int rdu_queue_reset(struct rdu_queue *q)
{
	struct rdu_device *rdev = q->rdev;
	u32 ctrl;
	int ret;

	rdu_qwrite(rdev, q->id, RDU_REG_Q_CTRL, RDU_CTRL_RESET);
	ret = read_poll_timeout(rdu_qread, ctrl,
				!(ctrl & RDU_CTRL_RESET) || ctrl == U32_MAX, 50,
				RDU_RESET_TIMEOUT_US, false, rdev, q->id, RDU_REG_Q_CTRL);
	if (ctrl == U32_MAX)
		ret = -ENODEV;
	trace_rdu_reset(rdev, q->id, ret);
	return ret;
}

/* The card has forgotten the ring: the next command is the first in it. */
void rdu_queue_rewind(struct rdu_queue *q)
{
	unsigned long flags;

	spin_lock_irqsave(&q->lock, flags);
	q->tail = 0;
	spin_unlock_irqrestore(&q->lock, flags);
}

/* Whether all that was put into the ring is known done. */
bool rdu_queue_idle(struct rdu_queue *q)
{
	unsigned long flags;
	bool idle;

	spin_lock_irqsave(&q->lock, flags);
	idle = q->done == q->emitted;
	spin_unlock_irqrestore(&q->lock, flags);
	return idle;
}

/* Whether the oldest command in the ring has taken longer, in jiffies. */
bool rdu_queue_late(struct rdu_queue *q, unsigned long timeout)
{
	unsigned long flags;
	bool late;

	spin_lock_irqsave(&q->lock, flags);
	late = q->done != q->emitted && time_after(jiffies, q->since + timeout);
	spin_unlock_irqrestore(&q->lock, flags);
	return late;
}

/* In little endian; what is smaller than a word lies in it as cmd.h has it. */
static void rdu_ring_put(struct rdu_ring_cmd *to, const struct rdu_cmd *cmd, u64 seqno, u8 flags)
{
	u64 body[ARRAY_SIZE(cmd->raw)];
	u32 i;

	BUILD_BUG_ON(sizeof(*to) != sizeof(*cmd));
	memcpy(body, cmd->raw, sizeof(body));
	switch (cmd->op) {
	case RDU_OP_FILL:
		body[2] = cmd->fill.value;
		break;
	case RDU_OP_RUN:
		body[0] = (u64)cmd->run.trace_size << 32 | cmd->run.index;
		body[5] = cmd->run.epoch;
		break;
	case RDU_OP_PROG_LOAD:
		body[3] = cmd->prog.tiles;
		break;
	}
	to->word[0] = cpu_to_le64((u64)cmd->slot << 32 | (cmd->flags | flags) << 8 | cmd->op);
	to->word[1] = cpu_to_le64(seqno);
	for (i = 0; i < ARRAY_SIZE(body); i++)
		to->word[2 + i] = cpu_to_le64(body[i]);
}

/**
 * rdu_queue_emit() - Put a batch of commands into the ring and ring the bell
 * @q: queue; the caller has made sure that there is room
 * @cmds: commands; their numbers and the interrupt flag are set here
 * @count: how many, at least one
 * @fence: signals when the last command is done. NULL: none.
 *
 * Allocates nothing. The caller is in the card.
 *
 * Return: 0, or -ECANCELED if the queue has been stopped.
 */
int rdu_queue_emit(struct rdu_queue *q, const struct rdu_cmd *cmds, u32 count,
		   struct rdu_fence *fence)
{
	unsigned long flags;
	u32 i;

	spin_lock_irqsave(&q->lock, flags);
	if (q->stopped) {
		spin_unlock_irqrestore(&q->lock, flags);
		return -ECANCELED;
	}

	for (i = 0; i < count; i++)
		rdu_ring_put(&q->ring[(q->tail + i) & (q->depth - 1)], &cmds[i],
			     q->emitted + 1 + i, i == count - 1 ? RDU_CMD_IRQ : 0);
	if (fence) {
		fence->first_cmd = q->emitted + 1;
		fence->last_cmd = q->emitted + count;
		dma_fence_get(&fence->base); /* the list's */
		list_add_tail(&fence->link, &q->fences);
	}
	if (q->done == q->emitted)
		q->since = jiffies;
	q->emitted += count;
	q->tail += count;
	/* writel() orders the ring before the doorbell. */
	writel(q->tail, q->rdev->doorbells + (size_t)q->id * RDU_DOORBELL_STRIDE);
	spin_unlock_irqrestore(&q->lock, flags);
	return 0;
}

/* Nothing goes into the ring from now on. */
void rdu_queue_stop(struct rdu_queue *q)
{
	unsigned long flags;

	spin_lock_irqsave(&q->lock, flags);
	q->stopped = true;
	spin_unlock_irqrestore(&q->lock, flags);
	wake_up_all(&q->wait);
}

/**
 * rdu_queue_cancel() - Signal what is in flight with an error
 * @q: queue, stopped and reset
 * @guilty_cmd: number of the command to blame, 0: none
 * @guilty_error: error for the batch that holds it; others get -ECANCELED
 */
void rdu_queue_cancel(struct rdu_queue *q, u64 guilty_cmd, int guilty_error)
{
	struct rdu_fence *fence;
	LIST_HEAD(finished);
	unsigned long flags;

	rdu_queue_poll(q);

	spin_lock_irqsave(&q->lock, flags);
	list_splice_init(&q->fences, &finished);
	spin_unlock_irqrestore(&q->lock, flags);

	list_for_each_entry(fence, &finished, link) {
		bool guilty = guilty_cmd >= fence->first_cmd && guilty_cmd <= fence->last_cmd;

		dma_fence_set_error(&fence->base, guilty ? guilty_error : -ECANCELED);
	}
	rdu_fences_signal(&finished);
}

/* A reference to the fence of the last batch in flight, or NULL. */
struct dma_fence *rdu_queue_last_fence(struct rdu_queue *q)
{
	struct dma_fence *fence = NULL;

	spin_lock_irq(&q->lock);
	if (!list_empty(&q->fences))
		fence = dma_fence_get(&list_last_entry(&q->fences, struct rdu_fence, link)->base);
	spin_unlock_irq(&q->lock);
	return fence;
}

/* Counters of the queue. The caller is in the card. */
void rdu_queue_read_busy(struct rdu_queue *q, struct rdu_busy *busy)
{
	busy->exec = rdu_qread64(q->rdev, q->id, RDU_REG_Q_EXEC_LO);
	busy->pload = rdu_qread64(q->rdev, q->id, RDU_REG_Q_PLOAD_LO);
	busy->aload = rdu_qread64(q->rdev, q->id, RDU_REG_Q_ALOAD_LO);
	busy->copy = rdu_qread64(q->rdev, q->id, RDU_REG_Q_COPY_LO);
}

#if IS_ENABLED(CONFIG_DRM_ACCEL_RDU_KUNIT_TEST)
#include "rdu_queue_test.c"
#endif
