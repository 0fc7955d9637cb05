// SPDX-License-Identifier: GPL-2.0-only
/*
 * When nothing has been asked of the card for a while it goes to D3hot, where it
 * keeps all it has (its PM capability says so) but does not answer. A SUBMIT
 * keeps it awake until its jobs are done, and so does whoever is in
 * rdu_card_enter(): page faults in mappings of card memory, too.
 *
 * When the system sleeps the card is drained and may lose its power. What is
 * in use of card memory is kept in the kernel's, and the card is reset and given
 * it all again, as after any reset.
 */
#include <linux/mm.h>
#include <linux/pm_runtime.h>
#include <linux/string.h>

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

	/* Asleep at runtime it does not lose power, and is awake before the system sleeps. */
	pci_d3cold_disable(rdu_pdev(rdev));
	dev_pm_set_driver_flags(dev, DPM_FLAG_NO_DIRECT_COMPLETE);
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

/* ---- the system -------------------------------------------------------------- */

static void rdu_forget_saved(struct rdu_device *rdev)
{
	unsigned long index;
	struct page *page;

	xa_for_each(&rdev->saved, index, page)
		__free_page(page);
	xa_destroy(&rdev->saved);
}

/* Pages of zeros need no copy. */
static int rdu_save_block(struct rdu_device *rdev, u64 addr, u64 size)
{
	struct page *page;
	u64 end;
	int ret;

	for (end = addr + size; addr < end; addr += PAGE_SIZE) {
		void *from = rdev->vram.cpu + addr;

		if (!memchr_inv(from, 0, PAGE_SIZE))
			continue;
		page = alloc_page(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
		if (!page)
			return -ENOMEM;
		memcpy(page_address(page), from, PAGE_SIZE);
		ret = xa_err(xa_store(&rdev->saved, addr >> PAGE_SHIFT, page, GFP_KERNEL));
		if (ret) {
			__free_page(page);
			return ret;
		}
	}
	return 0;
}

static int rdu_load_block(struct rdu_device *rdev, u64 addr, u64 size)
{
	struct page *page;
	u64 end;

	for (end = addr + size; addr < end; addr += PAGE_SIZE) {
		void *to = rdev->vram.cpu + addr;

		page = xa_load(&rdev->saved, addr >> PAGE_SHIFT);
		if (page)
			memcpy(to, page_address(page), PAGE_SIZE);
		else if (memchr_inv(to, 0, PAGE_SIZE))
			memset(to, 0, PAGE_SIZE);
	}
	return 0;
}

static int rdu_suspend(struct device *dev)
{
	struct rdu_device *rdev = dev_get_drvdata(dev);
	int ret = 0;

	rdu_card_hold(rdev);
	rdu_card_drain(rdev);
	rdu_card_take(rdev);
	if (!rdev->wedged)
		ret = rdu_vram_for_each(rdev, rdu_save_block);
	if (ret) {
		drm_warn(&rdev->drm, "no room for what is in card memory: no sleep\n");
		rdu_forget_saved(rdev);
		rdu_card_release(rdev);
	}
	return ret;
}

static int rdu_resume(struct device *dev)
{
	struct rdu_device *rdev = dev_get_drvdata(dev);

	if (!rdev->wedged) {
		if (rdu_device_answers(rdev))
			rdu_vram_for_each(rdev, rdu_load_block);
		rdu_card_reload(rdev);
	}
	rdu_forget_saved(rdev);
	rdu_card_release(rdev);
	return 0;
}

const struct dev_pm_ops rdu_pm_ops = {
	SYSTEM_SLEEP_PM_OPS(rdu_suspend, rdu_resume)
	RUNTIME_PM_OPS(rdu_runtime_suspend, rdu_runtime_resume, NULL)
};
