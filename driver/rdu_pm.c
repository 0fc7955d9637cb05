// SPDX-License-Identifier: GPL-2.0-only
/*
 * When nothing has been asked of the card for a while it goes to D3hot, where it
 * keeps all it has (its PM capability says so) but does not answer. A SUBMIT
 * keeps it awake until its jobs are done, and so does whoever is in
 * rdu_card_enter(): page faults in mappings of card memory, too.
 */
#include <linux/pm_runtime.h>

#include "rdu_reset.h"

#define RDU_AUTOSUSPEND_MS	5000

int rdu_pm_get(struct rdu_device *rdev)
{
	return pm_runtime_resume_and_get(rdev->drm.dev);
}

void rdu_pm_put(struct rdu_device *rdev)
{
	pm_runtime_mark_last_busy(rdev->drm.dev);
	pm_runtime_put_autosuspend(rdev->drm.dev);
}

/* As rdu_pm_get(), if the card is awake. */
bool rdu_pm_get_awake(struct rdu_device *rdev)
{
	return !IS_ENABLED(CONFIG_PM) || pm_runtime_get_if_active(rdev->drm.dev) > 0;
}

/* The same, for somebody who does not count as a user. */
void rdu_pm_put_awake(struct rdu_device *rdev)
{
	pm_runtime_put(rdev->drm.dev);
}

/*
 * The card can be used: the PCI core's own hold on it is let go. It sleeps only if
 * power/control says "auto", which is for the machine's owner to decide.
 */
void rdu_pm_init(struct rdu_device *rdev)
{
	struct device *dev = rdev->drm.dev;

	pci_d3cold_disable(rdu_pdev(rdev)); /* without power it loses all */
	pm_runtime_set_autosuspend_delay(dev, RDU_AUTOSUSPEND_MS);
	pm_runtime_use_autosuspend(dev);
	pm_runtime_mark_last_busy(dev);
	pm_runtime_put_autosuspend(dev);
}

void rdu_pm_fini(struct rdu_device *rdev)
{
	struct device *dev = rdev->drm.dev;

	pm_runtime_get_sync(dev);
	pm_runtime_dont_use_autosuspend(dev);
	pci_d3cold_enable(rdu_pdev(rdev));
}

/* Nobody is in the card and it has no job: nothing is to be drained. */
static int rdu_runtime_suspend(struct device *dev)
{
	struct rdu_device *rdev = dev_get_drvdata(dev);

	rdu_card_close(rdev);
	return 0;
}

static int rdu_runtime_resume(struct device *dev)
{
	struct rdu_device *rdev = dev_get_drvdata(dev);

	pci_save_state(rdu_pdev(rdev)); /* for rdu_slot_reset() */
	if (!rdu_device_answers(rdev) || rdu_read(rdev, RDU_REG_CTRL) != RDU_CTRL_ENABLE)
		rdu_card_wedge(rdev, "the card does not wake up as it was");
	return 0;
}

const struct dev_pm_ops rdu_pm_ops = {
	RUNTIME_PM_OPS(rdu_runtime_suspend, rdu_runtime_resume, NULL)
};
