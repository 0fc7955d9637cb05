// SPDX-License-Identifier: GPL-2.0-only
/*
 * The administrator's queue: commands that only the kernel may give, one at a
 * time, waited for.
 */
#include <linux/dma-mapping.h>

#include <drm/drm_managed.h>

#include "rdu_queue.h"

#define RDU_ADMIN_DEPTH		64
#define RDU_ADMIN_TIMEOUT	(60 * HZ)

int rdu_admin_init(struct rdu_device *rdev)
{
	struct rdu_admin *admin = &rdev->admin;
	int ret;

	ret = drmm_mutex_init(&rdev->drm, &admin->lock);
	if (ret)
		return ret;
	admin->result = dma_alloc_coherent(rdev->drm.dev, sizeof(*admin->result),
					   &admin->result_dma, GFP_KERNEL);
	if (!admin->result)
		return -ENOMEM;
	admin->queue = rdu_queue_create(rdev, RDU_ADMIN_QUEUE, RDU_ADMIN_DEPTH);
	if (IS_ERR(admin->queue)) {
		ret = PTR_ERR(admin->queue);
		goto err_free_result;
	}
	ret = rdu_queue_start(admin->queue);
	if (ret)
		goto err_destroy_queue;
	return 0;

err_destroy_queue:
	rdu_queue_destroy(admin->queue);
err_free_result:
	dma_free_coherent(rdev->drm.dev, sizeof(*admin->result), admin->result,
			  admin->result_dma);
	return ret;
}

void rdu_admin_fini(struct rdu_device *rdev)
{
	struct rdu_admin *admin = &rdev->admin;

	rdu_queue_stop(admin->queue);
	mutex_lock(&admin->lock);
	admin->broken = true;
	rdu_queue_reset(admin->queue);
	rdu_queue_destroy(admin->queue);
	admin->queue = NULL;
	dma_free_coherent(rdev->drm.dev, sizeof(*admin->result), admin->result,
			  admin->result_dma);
	mutex_unlock(&admin->lock);
}

/* After a fault: the queue gets a new life. */
static int rdu_admin_restart(struct rdu_admin *admin)
{
	struct rdu_queue *q = admin->queue;
	int ret;

	ret = rdu_queue_reset(q);
	if (ret)
		return ret;
	spin_lock_irq(&q->lock);
	q->tail = 0;
	q->emitted = 0;
	q->done = 0;
	q->stopped = false;
	spin_unlock_irq(&q->lock);
	return rdu_queue_start(q);
}

/* After a reset of the card, which is let in again with this. */
int rdu_admin_revive(struct rdu_device *rdev)
{
	struct rdu_admin *admin = &rdev->admin;
	int ret;

	/* Whoever waits for an answer gives up. */
	rdu_queue_stop(admin->queue);
	mutex_lock(&admin->lock);
	WRITE_ONCE(rdev->wedged, false);
	ret = rdu_admin_restart(admin);
	admin->broken = ret;
	if (ret)
		WRITE_ONCE(rdev->wedged, true);
	mutex_unlock(&admin->lock);
	return ret;
}

/**
 * rdu_admin_exec() - Give a command to the administrator's queue and wait
 * @rdev: device; the caller is in drm_dev_enter()
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
	if (admin->broken || READ_ONCE(rdev->wedged)) {
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
					  READ_ONCE(q->stopped), RDU_ADMIN_TIMEOUT);
		/* A lost interrupt must not cost more than the wait. */
		rdu_queue_poll(q);
		if (READ_ONCE(q->done) >= number) {
			if (result)
				*result = *admin->result;
			goto out_unlock;
		}
		drm_err_ratelimited(&rdev->drm, "command %u %s: fault %u, info %#x\n", cmd->op,
				    left ? "was refused" : "was not answered",
				    rdu_qread(rdev, q->id, RDU_REG_Q_FAULT_CODE),
				    rdu_qread(rdev, q->id, RDU_REG_Q_FAULT_INFO));
	}
	ret = -EIO;
	/* While the card is being reset, rdu_admin_revive() does it. */
	if (!READ_ONCE(rdev->wedged) && rdu_admin_restart(admin))
		admin->broken = true;

out_unlock:
	mutex_unlock(&admin->lock);
	return ret;
}
