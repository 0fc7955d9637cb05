// SPDX-License-Identifier: GPL-2.0-only
/*
 * Bringing the card up: registers, identity, memory, interrupts.
 */
#include <linux/cc_platform.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/iopoll.h>
#include <linux/log2.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>
#include <drm/drm_managed.h>

#include "rdu_compat.h"
#include "rdu_ctx.h"
#include "rdu_device.h"
#include "rdu_gem.h"
#include "rdu_queue.h"
#include "rdu_reset.h"

#define RDU_READY_TIMEOUT_US	(10 * USEC_PER_SEC)

u64 rdu_read64(struct rdu_device *rdev, u32 reg_lo)
{
	unsigned long flags;
	u32 lo, hi;

	spin_lock_irqsave(&rdev->latch_lock, flags);
	lo = rdu_read(rdev, reg_lo);
	hi = rdu_read(rdev, reg_lo + 4);
	spin_unlock_irqrestore(&rdev->latch_lock, flags);
	return (u64)hi << 32 | lo;
}

int rdu_copy_array(void *dst, size_t size, u64 src, u32 count, u32 stride)
{
	u32 i;
	int ret;

	if (stride < size || stride > PAGE_SIZE || stride % 8)
		return -EINVAL;
	for (i = 0; i < count; i++) {
		ret = copy_struct_from_user(dst + (size_t)i * size, size,
					    u64_to_user_ptr(src + (u64)i * stride), stride);
		if (ret)
			return ret == -E2BIG ? -EINVAL : ret;
	}
	return 0;
}

static void rdu_read_string(struct rdu_device *rdev, u32 reg, char text[16])
{
	int i;

	for (i = 0; i < 4; i++) {
		u32 word = rdu_read(rdev, reg + 4 * i);

		text[4 * i] = word & 0xff;
		text[4 * i + 1] = word >> 8 & 0xff;
		text[4 * i + 2] = word >> 16 & 0xff;
		text[4 * i + 3] = word >> 24;
	}
}

/* What the card says about itself, with bounds on what we rely on. */
static int rdu_device_identify(struct rdu_device *rdev)
{
	struct drm_device *drm = &rdev->drm;
	u32 *fields = &rdev->chip.tiles;
	int i;

	BUILD_BUG_ON(sizeof(struct rdu_chip) != sizeof(struct drm_rdu_query_chip));
	BUILD_BUG_ON(RDU_CHIP_NUM_FIELDS != DRM_RDU_CHIP_FIELDS + DRM_RDU_CHIP_MORE_FIELDS);

	if (rdu_read(rdev, RDU_REG_MAGIC) != RDU_MAGIC) {
		drm_err(drm, "no rdu card behind BAR0\n");
		return -ENODEV;
	}
	rdev->interface_version = rdu_read(rdev, RDU_REG_VERSION);
	if (rdev->interface_version >> 16 != RDU_INTERFACE_VERSION >> 16) {
		drm_err(drm, "card interface %u.%u is not known\n",
			rdev->interface_version >> 16, rdev->interface_version & 0xffff);
		return -ENODEV;
	}

	rdev->chip_hash = rdu_read64(rdev, RDU_REG_CHIP_HASH_LO);
	rdev->mem_size = rdu_read64(rdev, RDU_REG_MEM_SIZE_LO);
	rdev->num_queues = min_t(u32, rdu_read(rdev, RDU_REG_NUM_QUEUES), RDU_MAX_QUEUES);
	rdu_read_string(rdev, RDU_REG_CHIP_NAME, rdev->chip.name);
	rdu_read_string(rdev, RDU_REG_SERIAL, rdev->serial);
	rdev->chip.assumed = rdu_read64(rdev, RDU_REG_CHIP_ASSUMED_LO);
	for (i = 0; i < RDU_CHIP_NUM_FIELDS; i++)
		fields[i] = rdu_read(rdev, RDU_REG_CHIP + 4 * i);
	rdev->num_tiles = min_t(u32, rdev->chip.tiles, RDU_MAX_TILES);
	if (rdev->num_queues < 2 || !rdev->num_tiles) {
		drm_err(drm, "card has %u queues and %u tiles\n", rdev->num_queues,
			rdev->num_tiles);
		return -ENODEV;
	}
	return 0;
}

/* A card that is dead, or off the bus, reads all ones. */
bool rdu_device_answers(struct rdu_device *rdev)
{
	return rdu_read(rdev, RDU_REG_MAGIC) == RDU_MAGIC;
}

/* Resets the card and lets its queues fetch. */
int rdu_device_reset(struct rdu_device *rdev)
{
	u32 status;
	int ret;

	rdu_write(rdev, RDU_REG_CTRL, RDU_CTRL_RESET);
	ret = read_poll_timeout(rdu_read, status,
				(status & (RDU_STATUS_READY | RDU_STATUS_RESET)) ==
				RDU_STATUS_READY || status == U32_MAX,
				100, RDU_READY_TIMEOUT_US, false, rdev, RDU_REG_STATUS);
	if (status == U32_MAX)
		ret = -ENODEV;
	if (ret) {
		drm_err(&rdev->drm, "card does not get ready: status %#x\n", status);
		return ret;
	}
	rdu_write(rdev, RDU_REG_CTRL, RDU_CTRL_ENABLE);
	return 0;
}

/* The caller is in the card, or it is the caller's. */
void rdu_device_note_clock(struct rdu_device *rdev)
{
	u64 clock = rdu_read64(rdev, RDU_REG_CYCLES_LO), seen = READ_ONCE(rdev->clock_seen);

	/* Others read it, too, and are told what was seen: it does not go back. */
	if (rdu_device_answers(rdev))
		while (seen < clock && !try_cmpxchg64(&rdev->clock_seen, &seen, clock))
			;
}

static void rdu_device_set_clock(struct rdu_device *rdev, u64 clock)
{
	rdu_write(rdev, RDU_REG_CYCLES_LO, lower_32_bits(clock));
	rdu_write(rdev, RDU_REG_CYCLES_HI, upper_32_bits(clock));
}

/*
 * The card was reset, and no queue is enabled. The clock goes on; only where
 * power was lost it has to be told where it was.
 */
void rdu_device_restore_clock(struct rdu_device *rdev)
{
	if (rdu_read64(rdev, RDU_REG_CYCLES_LO) < rdev->clock_seen)
		rdu_device_set_clock(rdev, rdev->clock_seen);
}

/*
 * Cycles of the card clock since the driver was bound; where it can't be read
 * now, as it was last seen.
 */
u64 rdu_device_clock(struct rdu_device *rdev)
{
	int idx;

	if (rdu_card_peek(rdev, &idx)) {
		rdu_device_note_clock(rdev);
		rdu_card_unpeek(rdev, idx);
	}
	return READ_ONCE(rdev->clock_seen);
}

/* Contexts whose queues have faulted die. The caller is in the card, or holds it. */
void rdu_device_take_faults(struct rdu_device *rdev)
{
	u64 faulted;
	u32 lo, hi;

	lo = rdu_read(rdev, RDU_REG_FAULT_QUEUES_LO);
	hi = rdu_read(rdev, RDU_REG_FAULT_QUEUES_HI);
	rdu_write(rdev, RDU_REG_FAULT_QUEUES_LO, lo);
	rdu_write(rdev, RDU_REG_FAULT_QUEUES_HI, hi);
	faulted = (u64)hi << 32 | lo;

	rdu_admin_take_fault(rdev);
	faulted &= GENMASK_ULL(rdev->num_queues - 1, 1);
	while (faulted) {
		u32 queue = __ffs64(faulted);
		struct rdu_ctx *ctx;

		faulted &= ~BIT_ULL(queue);
		ctx = rdu_ctx_on_queue(rdev, queue);
		if (!ctx)
			continue;
		if (rdu_qread(rdev, queue, RDU_REG_Q_STATUS) == RDU_QUEUE_FAULTED)
			rdu_ctx_kill(ctx, DRM_RDU_CTX_STATE_FAULTED);
		rdu_ctx_put(ctx);
	}
}

static void rdu_fault_work(struct work_struct *work)
{
	struct rdu_device *rdev = container_of(work, struct rdu_device, fault_work);
	bool cookie = dma_fence_begin_signalling();
	int idx;

	if (!rdu_card_enter(rdev, &idx)) {
		rdu_device_take_faults(rdev);
		rdu_card_exit(rdev, idx);
	}
	dma_fence_end_signalling(cookie);
}

static irqreturn_t rdu_fault_irq(int irq, void *data)
{
	struct rdu_device *rdev = data;

	rdu_admin_take_fault(rdev);
	queue_work(rdev->timeout_wq, &rdev->fault_work);
	return IRQ_HANDLED;
}

static void rdu_destroy_workqueue(struct drm_device *drm, void *data)
{
	destroy_workqueue(data);
}

static int rdu_device_init_sw(struct rdu_device *rdev)
{
	struct drm_device *drm = &rdev->drm;
	int ret;

	spin_lock_init(&rdev->latch_lock);
	INIT_LIST_HEAD(&rdev->ctxs);
	INIT_LIST_HEAD(&rdev->bos);
	INIT_LIST_HEAD(&rdev->lent);
	INIT_LIST_HEAD(&rdev->borrowed);
	INIT_LIST_HEAD(&rdev->mmus);
	INIT_LIST_HEAD(&rdev->users);
	rdu_limits_init(rdev);
	ida_init(&rdev->slots);
	INIT_WORK(&rdev->fault_work, rdu_fault_work);
	INIT_LIST_HEAD(&rdev->progs);
	rdu_reset_init(rdev);
	ret = drmm_mutex_init(drm, &rdev->grant_lock);
	if (ret)
		return ret;
	ret = drmm_mutex_init(drm, &rdev->bo_lock);
	if (ret)
		return ret;
	ret = drmm_mutex_init(drm, &rdev->borrow_lock);
	if (ret)
		return ret;
	ret = drmm_mutex_init(drm, &rdev->mmus_lock);
	if (ret)
		return ret;
	ret = drmm_mutex_init(drm, &rdev->progs_lock);
	if (ret)
		return ret;
	ret = drmm_mutex_init(drm, &rdev->users_lock);
	if (ret)
		return ret;

	/*
	 * One for all: a queue per context would need a thread of its own, and
	 * a process killed as that is created leaves an error in the log. The
	 * work is a doorbell: done at once, on the processor that submits, it
	 * waits for no other to wake up.
	 */
	rdev->submit_wq = alloc_workqueue("rdu-submit",
					  WQ_MEM_RECLAIM | WQ_HIGHPRI | RDU_WQ_PERCPU, 0);
	if (!rdev->submit_wq)
		return -ENOMEM;
	ret = drmm_add_action_or_reset(drm, rdu_destroy_workqueue, rdev->submit_wq);
	if (ret)
		return ret;
	rdev->timeout_wq = alloc_ordered_workqueue("rdu-reset", WQ_MEM_RECLAIM);
	if (!rdev->timeout_wq)
		return -ENOMEM;
	return drmm_add_action_or_reset(drm, rdu_destroy_workqueue, rdev->timeout_wq);
}

static const struct {
	int bar;
	const char *what;
} rdu_bars[] = {
	{ RDU_BAR_REGS, "registers" },
	{ RDU_BAR_DOORBELL, "doorbells" },
	{ RDU_BAR_MEM, "card memory" },
};

/*
 * Asks the card: the PCI core forgets the size of what it found no place for. Its
 * BARs are off meanwhile.
 */
static u64 rdu_bar_size(struct pci_dev *pdev, int bar)
{
	u32 at = PCI_BASE_ADDRESS_0 + 4 * bar, old[2], ones[2] = { 0, U32_MAX };
	u16 command;
	bool wide;

	if (pci_resource_len(pdev, bar))
		return pci_resource_len(pdev, bar);
	pci_read_config_word(pdev, PCI_COMMAND, &command);
	pci_write_config_word(pdev, PCI_COMMAND, command & ~PCI_COMMAND_MEMORY);
	pci_read_config_dword(pdev, at, &old[0]);
	wide = (old[0] & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64;
	pci_write_config_dword(pdev, at, U32_MAX);
	pci_read_config_dword(pdev, at, &ones[0]);
	pci_write_config_dword(pdev, at, old[0]);
	if (wide) {
		pci_read_config_dword(pdev, at + 4, &old[1]);
		pci_write_config_dword(pdev, at + 4, U32_MAX);
		pci_read_config_dword(pdev, at + 4, &ones[1]);
		pci_write_config_dword(pdev, at + 4, old[1]);
	}
	pci_write_config_word(pdev, PCI_COMMAND, command);
	return -((u64)ones[1] << 32 | (ones[0] & PCI_BASE_ADDRESS_MEM_MASK));
}

static u32 rdu_address_bits(void)
{
#ifdef CONFIG_X86
	return boot_cpu_data.x86_phys_bits;
#else
	return 64;
#endif
}

/* Says which BAR has no place in the computer's addresses, and what would help. */
static int rdu_bars_check(struct rdu_device *rdev)
{
	struct pci_dev *pdev = rdu_pdev(rdev);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rdu_bars); i++) {
		int bar = rdu_bars[i].bar;
		u64 size;

		if (pci_resource_len(pdev, bar) && pci_resource_start(pdev, bar) &&
		    !(pci_resource_flags(pdev, bar) & IORESOURCE_UNSET))
			continue;
		size = rdu_bar_size(pdev, bar);
		/* A quarter of all there is at most: RAM and other devices are there, too. */
		if (rdu_address_bits() < ilog2(size) + 2)
			drm_err(&rdev->drm, "BAR%d (%s, %llu MiB) has no address: the processor has %u address bits, %u are needed (QEMU: -cpu ...,phys-bits=%u)\n",
				bar, rdu_bars[i].what, size >> 20, rdu_address_bits(),
				ilog2(size) + 2, ilog2(size) + 2);
		else
			drm_err(&rdev->drm, "BAR%d (%s, %llu MiB) has no address: the bridge above it has no window of that size (QEMU: pcie-root-port,%s=%lluM)\n",
				bar, rdu_bars[i].what, size >> 20,
				bar == RDU_BAR_MEM ? "pref64-reserve" : "mem-reserve",
				max(size >> 20, 2ULL));
		return -ENXIO;
	}
	return 0;
}

static int rdu_bars_request(struct rdu_device *rdev)
{
	struct pci_dev *pdev = rdu_pdev(rdev);
	size_t i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(rdu_bars); i++) {
		ret = pcim_request_region(pdev, rdu_bars[i].bar, "rdu");
		if (ret) {
			drm_err(&rdev->drm, "BAR%d (%s, %llu MiB), %pR, is in use by others, or its address is not one that devices may have: %pe\n",
				rdu_bars[i].bar, rdu_bars[i].what,
				(u64)pci_resource_len(pdev, rdu_bars[i].bar) >> 20,
				&pdev->resource[rdu_bars[i].bar], ERR_PTR(ret));
			return ret;
		}
	}
	return 0;
}

int rdu_device_init(struct rdu_device *rdev)
{
	struct pci_dev *pdev = rdu_pdev(rdev);
	int ret;

	/* What user space maps of the card would be read and written encrypted. */
	if (cc_platform_has(CC_ATTR_MEM_ENCRYPT)) {
		drm_err(&rdev->drm, "does not work where memory is encrypted (SME, SEV, TDX)\n");
		return -EOPNOTSUPP;
	}
	ret = rdu_device_init_sw(rdev);
	if (ret)
		return ret;

	ret = rdu_bars_check(rdev);
	if (ret)
		return ret;
	ret = pcim_enable_device(pdev);
	if (ret) {
		drm_err(&rdev->drm, "cannot be enabled: %pe\n", ERR_PTR(ret));
		return ret;
	}
	ret = rdu_bars_request(rdev);
	if (ret)
		return ret;
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(52));
	if (ret) {
		drm_err(&rdev->drm, "no DMA with addresses of 52 bits: %pe\n", ERR_PTR(ret));
		return ret;
	}
	dma_set_max_seg_size(&pdev->dev, UINT_MAX);

	if (pci_resource_len(pdev, RDU_BAR_REGS) < RDU_BAR0_SIZE) {
		drm_err(&rdev->drm, "BAR%d is too small for the registers\n", RDU_BAR_REGS);
		return -ENODEV;
	}
	rdev->regs = pcim_iomap(pdev, RDU_BAR_REGS, 0);
	if (!rdev->regs)
		return -ENOMEM;
	ret = rdu_device_identify(rdev);
	if (ret)
		return ret;

	rdev->num_queues = min_t(u64, rdev->num_queues,
				 pci_resource_len(pdev, RDU_BAR_DOORBELL) /
				 RDU_DOORBELL_STRIDE);
	if (rdev->num_queues < 2) {
		drm_err(&rdev->drm, "BAR%d has no doorbells for two queues\n", RDU_BAR_DOORBELL);
		return -ENODEV;
	}
	rdev->doorbells = pcim_iomap(pdev, RDU_BAR_DOORBELL, 0);
	if (!rdev->doorbells)
		return -ENOMEM;

	pci_set_master(pdev);
	ret = rdu_device_reset(rdev);
	if (ret)
		return ret;
	rdu_device_set_clock(rdev, 0);

	ret = rdu_vram_init(rdev);
	if (ret)
		return ret;

	ret = pci_alloc_irq_vectors(pdev, RDU_NUM_VECTORS, RDU_NUM_VECTORS, PCI_IRQ_MSIX);
	if (ret < 0) {
		drm_err(&rdev->drm, "no %u interrupt vectors: %d\n", RDU_NUM_VECTORS, ret);
		goto err_clear_master;
	}
	ret = request_irq(pci_irq_vector(pdev, RDU_VECTOR_FAULT), rdu_fault_irq, 0,
			  "rdu-fault", rdev);
	if (ret)
		goto err_free_vectors;

	ret = rdu_admin_init(rdev);
	if (ret)
		goto err_free_irq;
	pci_save_state(pdev); /* for rdu_slot_reset() */
	return 0;

err_free_irq:
	free_irq(pci_irq_vector(pdev, RDU_VECTOR_FAULT), rdev);
	cancel_work_sync(&rdev->fault_work);
err_free_vectors:
	pci_free_irq_vectors(pdev);
err_clear_master:
	pci_clear_master(pdev);
	return ret;
}

/* After drm_dev_unplug(): no ioctl and no fault handler touches the card. */
void rdu_device_fini(struct rdu_device *rdev)
{
	struct pci_dev *pdev = rdu_pdev(rdev);

	free_irq(pci_irq_vector(pdev, RDU_VECTOR_FAULT), rdev);
	cancel_work_sync(&rdev->fault_work);
	cancel_work_sync(&rdev->reset_work);
	cancel_delayed_work_sync(&rdev->error_work);
	/* Whatever it does, it stops: all that it reaches is freed after this. */
	if (rdu_device_answers(rdev))
		rdu_device_reset(rdev);
	pci_clear_master(pdev);
	rdu_ctx_unplug_all(rdev);
	rdu_admin_fini(rdev);
	pci_free_irq_vectors(pdev);
	rdu_prime_unplug(rdev);
	rdu_gem_unmap_all(rdev);
}
