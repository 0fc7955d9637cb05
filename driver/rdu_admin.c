// SPDX-License-Identifier: GPL-2.0-only
/*
 * The administrator's queue: commands that only the kernel may give, one at a
 * time, waited for.
 */
#include <linux/dma-mapping.h>
#include <linux/moduleparam.h>

#include <drm/drm_managed.h>

#include "rdu_queue.h"

#define RDU_ADMIN_DEPTH		64

static uint rdu_admin_timeout_ms = 60 * 1000;
module_param_named(admin_timeout_ms, rdu_admin_timeout_ms, uint, 0644);
MODULE_PARM_DESC(admin_timeout_ms,
		 "Milliseconds a command of the kernel's own may take: clearing, loading (60000)");

int rdu_admin_init(struct rdu_device *rdev)
{
	struct rdu_admin *admin = &rdev->admin;
	struct rdu_queue *q;
	int ret;

	ret = drmm_mutex_init(&rdev->drm, &admin->lock);
	if (ret)
		return ret;
	BUILD_BUG_ON(sizeof(*admin->result) != sizeof(struct rdu_prog_result));
	admin->result = dma_alloc_coherent(rdev->drm.dev, sizeof(*admin->result),
					   &admin->result_dma, GFP_KERNEL);
	if (!admin->result)
		return -ENOMEM;
	q = rdu_queue_create(rdev, RDU_ADMIN_QUEUE, RDU_ADMIN_DEPTH);
	if (IS_ERR(q)) {
		ret = PTR_ERR(q);
		goto err_free_result;
	}
	ret = rdu_queue_start(q);
	if (ret)
		goto err_destroy_queue;
	WRITE_ONCE(admin->queue, q);
	return 0;

err_destroy_queue:
	rdu_queue_destroy(q);
err_free_result:
	dma_free_coherent(rdev->drm.dev, sizeof(*admin->result), admin->result,
			  admin->result_dma);
	return ret;
}

void rdu_admin_fini(struct rdu_device *rdev)
{
	struct rdu_admin *admin = &rdev->admin;

	/* The card has been reset, or is cut off. */
	mutex_lock(&admin->lock);
	admin->broken = true;
	rdu_queue_destroy(admin->queue);
	admin->queue = NULL;
	dma_free_coherent(rdev->drm.dev, sizeof(*admin->result), admin->result,
			  admin->result_dma);
	mutex_unlock(&admin->lock);
}

/*
 * Wakes whoever waits for a command that the card has refused. Called from the
 * interrupt, too: the workqueue of faults may be busy with a reset that waits for
 * just that one.
 */
void rdu_admin_take_fault(struct rdu_device *rdev)
{
	struct rdu_queue *q = READ_ONCE(rdev->admin.queue);

	if (q && rdu_qread(rdev, RDU_ADMIN_QUEUE, RDU_REG_Q_STATUS) == RDU_QUEUE_FAULTED)
		rdu_queue_stop(q);
}

/* After a reset of the queue, or of the card. */
static int rdu_admin_start(struct rdu_admin *admin)
{
	struct rdu_queue *q = admin->queue;

	spin_lock_irq(&q->lock);
	q->tail = 0;
	q->emitted = 0;
	q->done = 0;
	q->stopped = false;
	spin_unlock_irq(&q->lock);
	return rdu_queue_start(q);
}

/* The card was reset; it is the caller's. */
int rdu_admin_restart(struct rdu_device *rdev)
{
	struct rdu_admin *admin = &rdev->admin;
	int ret;

	mutex_lock(&admin->lock);
	ret = rdu_admin_start(admin);
	admin->broken = ret;
	mutex_unlock(&admin->lock);
	return ret;
}

/**
 * rdu_admin_exec() - Give a command to the administrator's queue and wait
 * @rdev: device; the caller is in the card, or it is the caller's
 * @cmd: command; for PROG_LOAD, the address of the answer is set here
 * @result: the answer to PROG_LOAD, else NULL
 *
 * Return: 0, -EIO if the card refused the command or did not answer.
 */
int rdu_admin_exec(struct rdu_device *rdev, struct rdu_cmd *cmd,
		   struct rdu_prog_result *result)
{
	struct rdu_admin *admin = &rdev->admin;
	struct rdu_queue *q;
	u64 number;
	long left;
	int ret;

	mutex_lock(&admin->lock);
	if (admin->broken) {
		ret = -EIO;
		goto out_unlock;
	}
	q = admin->queue;
	if (result) {
		memset(admin->result, 0, sizeof(*admin->result));
		cmd->prog.result = admin->result_dma;
	}
	ret = rdu_queue_emit(q, cmd, 1, NULL);
	number = q->emitted;
	if (!ret) {
		left = wait_event_timeout(q->wait, READ_ONCE(q->done) >= number ||
					  READ_ONCE(q->stopped),
					  msecs_to_jiffies(READ_ONCE(rdu_admin_timeout_ms)));
		/* A lost interrupt must not cost more than the wait. */
		rdu_queue_poll(q);
		if (READ_ONCE(q->done) >= number) {
			if (result)
				*result = (struct rdu_prog_result) {
					.error = le32_to_cpu(admin->result->error),
					.section = le32_to_cpu(admin->result->section),
					.offset = le64_to_cpu(admin->result->offset),
				};
			goto out_unlock;
		}
		drm_err_ratelimited(&rdev->drm, "command %u %s: fault %u, info %#x\n", cmd->op,
				    left ? "was refused" : "was not answered",
				    rdu_qread(rdev, q->id, RDU_REG_Q_FAULT_CODE),
				    rdu_qread(rdev, q->id, RDU_REG_Q_FAULT_INFO));
	}
	ret = -EIO;
	/* The queue gets a new life; if it does not stop, with the whole card. */
	if (rdu_queue_reset(q) || rdu_admin_start(admin)) {
		admin->broken = true;
		rdu_reset_request(rdev);
	}

out_unlock:
	mutex_unlock(&admin->lock);
	return ret;
}
