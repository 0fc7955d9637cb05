// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who may touch the card, and how it is reset without harm to the innocent.
 *
 * Whoever touches registers or card memory is in rdu_card_enter(). Whoever
 * resets the card
 *
 *   holds it    no more jobs go to the card, all else goes on
 *   drains it   jobs that are in the rings end, or their contexts die
 *   takes it    nobody touches it, CPU mappings of card memory are gone
 *   reloads it  the card is reset; programs and queues are given to it again
 *   releases it
 *
 * A reset leaves card memory as it was: buffers, page tables and the images of
 * programs are there. The rings are empty, so that there is nothing to repeat.
 * A context that could not be drained is lost: the fences of its jobs signal
 * when the card has been reset, since until then it may reach their memory.
 *
 * A card that can't be reset is wedged: cut off from memory, every context lost,
 * and nothing is asked of it until it is bound again.
 */
#include <linux/delay.h>
#include <linux/kobject.h>
#include <linux/mm.h>
#include <linux/pm_runtime.h>

#include <drm/drm_drv.h>

#include "rdu_ctx.h"
#include "rdu_prog.h"
#include "rdu_queue.h"
#include "rdu_reset.h"
#include "rdu_trace.h"

/* The kernel waits 60 s for a card after a reset of its link. */
#define RDU_ERROR_TIMEOUT	(90 * HZ)

/* ---- who may touch the card ---------------------------------------------- */

static int rdu_gate_enter(struct rdu_device *rdev, int *idx, enum rdu_gate limit)
{
	if (!drm_dev_enter(&rdev->drm, idx))
		return -ENODEV;
	if (rdu_pm_get(rdev) < 0) {
		drm_dev_exit(*idx);
		return -EIO;
	}
	for (;;) {
		wait_event_idle(rdev->gate_wait, READ_ONCE(rdev->gate) <= limit);
		down_read(&rdev->gate_lock);
		if (rdev->gate <= limit)
			return 0;
		up_read(&rdev->gate_lock);
	}
}

/**
 * rdu_card_enter() - Begin to touch the card's registers, or its memory by the CPU
 * @rdev: device
 * @idx: for rdu_card_exit()
 *
 * Wakes it up, and waits while it is being reset. A reset waits for rdu_card_exit(), and
 * fences may wait for the reset: until then no user memory is touched, no fence
 * is waited for, and no memory either (memalloc_noreclaim_save() where a page may
 * be needed). Does not nest.
 *
 * Return: 0, -ENODEV if the device is gone, -EIO if it is cut off.
 */
int rdu_card_enter(struct rdu_device *rdev, int *idx)
{
	int ret = rdu_gate_enter(rdev, idx, RDU_GATE_HELD);

	if (!ret && READ_ONCE(rdev->wedged)) {
		rdu_card_exit(rdev, *idx);
		ret = -EIO;
	}
	return ret;
}

/* The same, also if the card is cut off: to let go of what the driver keeps. */
int rdu_card_enter_wedged(struct rdu_device *rdev, int *idx)
{
	return rdu_gate_enter(rdev, idx, RDU_GATE_HELD);
}

/* The same, to give the card a job: waits from the moment the card is held. */
int rdu_card_enter_job(struct rdu_device *rdev, int *idx)
{
	int ret = rdu_gate_enter(rdev, idx, RDU_GATE_OPEN);

	if (!ret && READ_ONCE(rdev->wedged)) {
		rdu_card_exit(rdev, *idx);
		ret = -EIO;
	}
	return ret;
}

void rdu_card_exit(struct rdu_device *rdev, int idx)
{
	up_read(&rdev->gate_lock);
	rdu_pm_put(rdev);
	drm_dev_exit(idx);
}

/**
 * rdu_card_peek() - As rdu_card_enter(), for those who can do without
 * @rdev: device
 * @idx: for rdu_card_unpeek()
 *
 * Does not wait, and does not wake it up.
 *
 * Return: false if the card sleeps, is being reset, cut off or gone.
 */
bool rdu_card_peek(struct rdu_device *rdev, int *idx)
{
	if (!drm_dev_enter(&rdev->drm, idx))
		return false;
	if (!rdu_pm_get_awake(rdev))
		goto out_dev_exit;
	if (down_read_trylock(&rdev->gate_lock)) {
		if (rdev->gate <= RDU_GATE_HELD && !READ_ONCE(rdev->wedged))
			return true;
		up_read(&rdev->gate_lock);
	}
	rdu_pm_put_awake(rdev);
out_dev_exit:
	drm_dev_exit(*idx);
	return false;
}

void rdu_card_unpeek(struct rdu_device *rdev, int idx)
{
	up_read(&rdev->gate_lock);
	rdu_pm_put_awake(rdev);
	drm_dev_exit(idx);
}

static void rdu_gate_set(struct rdu_device *rdev, enum rdu_gate gate)
{
	down_write(&rdev->gate_lock);
	WRITE_ONCE(rdev->gate, gate);
	up_write(&rdev->gate_lock);
}

/* ---- hold, drain, take, reload, release ----------------------------------- */

/* Waits for others who reset it. Until its release the card is awake. */
void rdu_card_hold(struct rdu_device *rdev)
{
	pm_runtime_get_sync(rdev->drm.dev);
	for (;;) {
		wait_event_idle(rdev->gate_wait, READ_ONCE(rdev->gate) == RDU_GATE_OPEN);
		down_write(&rdev->gate_lock);
		if (rdev->gate == RDU_GATE_OPEN)
			break;
		up_write(&rdev->gate_lock);
	}
	WRITE_ONCE(rdev->gate, RDU_GATE_HELD);
	up_write(&rdev->gate_lock);
}

void rdu_card_release(struct rdu_device *rdev)
{
	rdu_gate_set(rdev, RDU_GATE_OPEN);
	wake_up_all(&rdev->gate_wait);
	rdu_pm_put(rdev);
}

/* Whether the card has taken note of everything; who is too late dies. */
static bool rdu_drained(struct rdu_device *rdev)
{
	struct rdu_ctx *ctx;
	bool busy = false;
	u32 q;

	for (q = 1; q < rdev->num_queues; q++) {
		ctx = rdu_ctx_on_queue(rdev, q);
		if (!ctx)
			continue;
		busy |= rdu_ctx_drain(ctx);
		rdu_ctx_put(ctx);
	}
	return !busy;
}

/**
 * rdu_card_drain() - Wait for the jobs that the card has
 * @rdev: device, held
 *
 * Takes as long as the slowest job may; a context that takes longer dies.
 *
 * Return: whether the card answers. If not, jobs may be left.
 */
bool rdu_card_drain(struct rdu_device *rdev)
{
	bool cookie = dma_fence_begin_signalling();
	bool answers;

	for (;;) {
		answers = !READ_ONCE(rdev->wedged) && rdu_device_answers(rdev);
		if (!answers) {
			rdu_queue_stop(rdev->admin.queue); /* whoever waits for it */
			break;
		}
		if (rdu_read(rdev, RDU_REG_STATUS) & RDU_STATUS_FAULT)
			rdu_device_take_faults(rdev);
		if (rdu_drained(rdev))
			break;
		usleep_range(100, 1000);
	}
	dma_fence_end_signalling(cookie);
	return answers;
}

/* Before it can't be reached, or forgets what it counted; nobody is in it. */
void rdu_card_close(struct rdu_device *rdev)
{
	/* Faults wait in rdu_card_enter(). */
	unmap_mapping_range(rdev->drm.anon_inode->i_mapping, 0, 0, 1);
	rdu_device_note_clock(rdev);
	rdu_ctx_for_all(rdev, rdu_ctx_note_busy);
}

/* From here to its release the card is the holder's alone. */
void rdu_card_take(struct rdu_device *rdev)
{
	rdu_gate_set(rdev, RDU_GATE_TAKEN);
	rdu_card_close(rdev);
}

static int rdu_reload(struct rdu_device *rdev)
{
	int ret;

	ret = rdu_device_reset(rdev);
	if (ret)
		return ret;
	/* From here on it reaches no memory but what it is told of anew. */
	rdu_device_restore_clock(rdev);
	ret = rdu_admin_restart(rdev);
	if (ret)
		return ret;
	return rdu_prog_reload_all(rdev);
}

/**
 * rdu_card_reload() - Reset the card and give it all back
 * @rdev: device, taken
 *
 * Contexts with jobs that were not done are lost. A card that does not get well
 * is wedged.
 */
void rdu_card_reload(struct rdu_device *rdev)
{
	bool cookie;
	int ret;

	if (rdev->wedged)
		return;
	cookie = dma_fence_begin_signalling();
	ret = rdu_reload(rdev);
	trace_rdu_reset(rdev, RDU_ADMIN_QUEUE, ret);
	if (!ret) {
		atomic64_inc(&rdev->resets); /* whoever hears of it by a fence finds it */
		rdu_ctx_for_all(rdev, rdu_ctx_reload);
	}
	dma_fence_end_signalling(cookie);
	if (ret) {
		rdu_card_wedge(rdev, "the card can't be reset");
		return;
	}
	pci_save_state(rdu_pdev(rdev)); /* for rdu_slot_reset() */
	rdev->need_reset = false;
	wake_up_all(&rdev->gate_wait);
}

/* Tells whoever looks after the machine. */
static void rdu_wedged_event(struct rdu_device *rdev)
{
	/* As drm_dev_wedged_event() does, which knows of no accel nodes. */
	char wedged[] = "WEDGED=rebind";
	char *event[2] = { wedged, NULL };

	kobject_uevent_env(&rdev->drm.accel->kdev->kobj, KOBJ_CHANGE, event);
}

static void rdu_ctx_lose_innocent(struct rdu_ctx *ctx)
{
	rdu_ctx_lose(ctx, DRM_RDU_CTX_STATE_INNOCENT);
}

/**
 * rdu_card_wedge() - Cut the card off, for good
 * @rdev: device, taken
 * @why: for the log
 */
void rdu_card_wedge(struct rdu_device *rdev, const char *why)
{
	if (rdev->wedged)
		return;
	WRITE_ONCE(rdev->wedged, true);
	pci_clear_master(rdu_pdev(rdev));
	drm_err(&rdev->drm, "%s; it is cut off until it is bound again\n", why);
	rdu_ctx_for_all(rdev, rdu_ctx_lose_innocent);
	wake_up_all(&rdev->gate_wait);
	rdu_wedged_event(rdev);
}

/* ---- a queue that is stuck, an answer that was lost ------------------------- */

static void rdu_reset_work(struct work_struct *work)
{
	struct rdu_device *rdev = container_of(work, struct rdu_device, reset_work);

	rdu_card_hold(rdev);
	/* Somebody else's reset may have been quicker. */
	if (rdev->need_reset && !rdev->wedged) {
		if (rdu_card_drain(rdev))
			drm_warn(&rdev->drm, "the card is reset: a queue is stuck, or an answer was lost\n");
		rdu_card_take(rdev);
		rdu_card_reload(rdev);
	}
	rdu_card_release(rdev);
}

/* The card is to be reset soon. Those who need it wait for their contexts. */
void rdu_reset_request(struct rdu_device *rdev)
{
	WRITE_ONCE(rdev->need_reset, true);
	queue_work(rdev->timeout_wq, &rdev->reset_work);
}

/* ---- PCI: resets from outside (sysfs, VFIO, another driver), and errors ------ */

static void rdu_reset_prepare(struct pci_dev *pdev)
{
	struct rdu_device *rdev = pci_get_drvdata(pdev);

	rdu_card_hold(rdev);
	rdu_card_drain(rdev);
	rdu_card_take(rdev);
}

static void rdu_reset_done(struct pci_dev *pdev)
{
	struct rdu_device *rdev = pci_get_drvdata(pdev);

	rdu_card_reload(rdev);
	rdu_card_release(rdev);
}

/* Recovery from an error ends, well or not. */
static void rdu_error_end(struct rdu_device *rdev)
{
	cancel_delayed_work(&rdev->error_work);
	rdev->pci_error = false;
	rdu_card_release(rdev);
}

/* It will not come to its end: the driver is unbound, or there is no hope. */
void rdu_error_abandon(struct rdu_device *rdev)
{
	if (!rdev->pci_error)
		return;
	rdu_card_wedge(rdev, "no recovery from a PCI error");
	rdu_error_end(rdev);
}

/* Some kernels do not tell when they have failed to reset the link. */
static void rdu_error_work(struct work_struct *work)
{
	struct rdu_device *rdev = container_of(work, struct rdu_device, error_work.work);
	struct device *dev = rdev->drm.dev;

	/* Held while we are called back, and by remove, which waits for this. */
	if (!device_trylock(dev)) {
		schedule_delayed_work(&rdev->error_work, HZ);
		return;
	}
	rdu_error_abandon(rdev);
	device_unlock(dev);
}

/*
 * From here to resume the card is ours. As long as it can be reached its jobs
 * are drained, as it may be reset together with others on the bus; if the link
 * is down, what it was at work on is lost.
 */
static pci_ers_result_t rdu_error_detected(struct pci_dev *pdev, pci_channel_state_t state)
{
	struct rdu_device *rdev = pci_get_drvdata(pdev);
	bool answers = false;

	if (!rdev->pci_error) {
		rdu_card_hold(rdev);
		rdev->pci_error = true;
		schedule_delayed_work(&rdev->error_work, RDU_ERROR_TIMEOUT);
		if (state == pci_channel_io_normal)
			answers = rdu_card_drain(rdev);
		else
			rdu_queue_stop(rdev->admin.queue); /* whoever waits for it */
		rdu_card_take(rdev);
	}
	if (state == pci_channel_io_perm_failure || rdev->wedged) {
		rdu_error_abandon(rdev);
		return PCI_ERS_RESULT_DISCONNECT;
	}
	return answers ? PCI_ERS_RESULT_CAN_RECOVER : PCI_ERS_RESULT_NEED_RESET;
}

/* The link has been up all the time. */
static pci_ers_result_t rdu_mmio_enabled(struct pci_dev *pdev)
{
	struct rdu_device *rdev = pci_get_drvdata(pdev);

	return rdu_device_answers(rdev) ? PCI_ERS_RESULT_RECOVERED : PCI_ERS_RESULT_NEED_RESET;
}

static pci_ers_result_t rdu_slot_reset(struct pci_dev *pdev)
{
	struct rdu_device *rdev = pci_get_drvdata(pdev);

	pci_restore_state(pdev);
	rdu_card_reload(rdev);
	if (!rdev->wedged)
		return PCI_ERS_RESULT_RECOVERED;
	rdu_error_end(rdev);
	return PCI_ERS_RESULT_DISCONNECT;
}

static void rdu_error_resume(struct pci_dev *pdev)
{
	struct rdu_device *rdev = pci_get_drvdata(pdev);

	if (rdev->pci_error)
		rdu_error_end(rdev);
}

const struct pci_error_handlers rdu_err_handlers = {
	.error_detected = rdu_error_detected,
	.mmio_enabled = rdu_mmio_enabled,
	.slot_reset = rdu_slot_reset,
	.resume = rdu_error_resume,
	.reset_prepare = rdu_reset_prepare,
	.reset_done = rdu_reset_done,
};

void rdu_reset_init(struct rdu_device *rdev)
{
	init_rwsem(&rdev->gate_lock);
	init_waitqueue_head(&rdev->gate_wait);
	xa_init(&rdev->saved);
	INIT_WORK(&rdev->reset_work, rdu_reset_work);
	INIT_DELAYED_WORK(&rdev->error_work, rdu_error_work);
}
