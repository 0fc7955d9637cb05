/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The card as the driver sees it.
 *
 * Locks, outermost first:
 *   rdu_ctx.submit_lock, rdu_vm.lock, mm_struct.mmap_lock
 *   drm_device.object_name_lock, rdu_device.borrow_lock
 *   dma_resv of a buffer
 *   rdu_device.mmus_lock, rdu_mmu.lock
 *   rdu_device.gate_lock, which is what rdu_card_enter() takes
 *   rdu_admin.lock, rdu_device.progs_lock
 *   rdu_vram.lock, rdu_device.bo_lock, rdu_device.grant_lock, rdu_ctx.lock
 *   rdu_device.users_lock
 *   rdu_queue.lock, rdu_device.latch_lock, rdu_user.lock (spin locks)
 * gate_lock and what comes after it, but for rdu_vram.lock and bo_lock, are taken
 * on the way to signalling fences: memory is not waited for under them.
 */
#ifndef RDU_DEVICE_H
#define RDU_DEVICE_H

#include <linux/bits.h>
#include <linux/idr.h>
#include <linux/io.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <drm/drm_device.h>
#include <drm/drm_file.h>
#include <drm/drm_print.h>
#include <drm/rdu_accel.h>

#include "rdu/chip.h"
#include "rdu/cmd.h"
#include "rdu/regs.h"

#include "rdu_compat.h"
#include "rdu_user.h"

#define RDU_MAX_TILES		32
#define RDU_PAGE_SIZE		SZ_4K
/* The first 2 MiB of device addresses stay unmapped: zero means "none". */
#define RDU_VA_START		((u64)SZ_2M)
#define RDU_VA_END		BIT_ULL(RDU_VA_BITS)
#define RDU_MAX_JOBS		1024
#define RDU_MAX_SYNCS		256
#define RDU_MAX_BIND_OPS	4096
#define RDU_MAX_TIMEOUT_MS	(3600u * 1000)
/* Bound on what a user can make the kernel keep: ids per file of each kind. */
#define RDU_MAX_IDS		4096

struct rdu_bo;
struct rdu_ctx;
struct rdu_queue;

/* Cycles that a queue spent, by kind. */
struct rdu_busy {
	u64 exec, pload, aload, copy;
};

/* A piece of card memory: what rdu_vram_alloc() gives. */
struct rdu_vram_piece {
	struct list_head blocks; /* the buddy allocator's; empty: none is allocated */
	struct list_head link;	/* rdu_vram.pieces */
};

struct rdu_vram {
	struct mutex lock;	/* Protects: mm, pieces */
	struct rdu_buddy mm;
	struct list_head pieces; /* all that is allocated */
	void *cpu;		/* the whole of it, write-back */
	phys_addr_t phys;
	u64 size;
	struct list_head reserved;
};

/* struct rdu_prog_result as the card writes it. */
struct rdu_admin_result {
	__le32 error, section;
	__le64 offset;
};

/* One command at a time on queue 0, waited for. */
struct rdu_admin {
	struct mutex lock;	/* Protects: queue's tail, result */
	struct rdu_queue *queue;
	struct rdu_admin_result *result;
	dma_addr_t result_dma;
	bool broken;
};

/* Who may touch the card, see rdu_reset.c. */
enum rdu_gate {
	RDU_GATE_OPEN,
	RDU_GATE_HELD,		/* it gets no jobs */
	RDU_GATE_TAKEN,		/* nobody touches it but the one who took it */
};

struct rdu_tile {
	struct rdu_ctx *owner;
	struct rdu_busy past;	/* of former owners */
};

struct rdu_device {
	struct drm_device drm;

	void __iomem *regs;
	void __iomem *doorbells;
	spinlock_t latch_lock;	/* Protects: pairs of LO/HI counter registers */

	u32 interface_version;
	u32 num_queues;
	u32 num_tiles;
	u64 mem_size;
	u64 chip_hash;
	struct rdu_chip chip;
	char serial[16];

	struct rdu_vram vram;
	struct rdu_admin admin;

	struct mutex grant_lock; /* Protects: tiles, queues, ctxs */
	struct rdu_tile tiles[RDU_MAX_TILES];
	struct rdu_ctx *queues[RDU_MAX_QUEUES];
	struct list_head ctxs;

	struct mutex bo_lock;	/* Protects: bos, lent, borrowed, rdu_bo.mapped */
	struct list_head bos;	/* buffers mapped for DMA */
	struct list_head lent;	/* buffers in card memory that peers have mapped */
	struct list_head borrowed; /* buffers imported */
	struct mutex borrow_lock; /* Protects: attachments of what is imported */

	struct mutex mmus_lock;	/* Protects: mmus, rdu_mmu.hit */
	struct list_head mmus;

	struct ida slots;	/* program slots */
	struct mutex progs_lock; /* Protects: progs */
	struct list_head progs;	/* that the card has */

	struct mutex users_lock; /* Protects: users */
	struct list_head users;	/* accounts of those who have something open */
	u32 user_percent[RDU_NUM_LIMITS]; /* of what there is, that one user may have */

	struct workqueue_struct *submit_wq; /* of all schedulers */
	struct workqueue_struct *timeout_wq; /* ordered: one reset at a time */
	struct work_struct fault_work;

	struct rw_semaphore gate_lock; /* Protects: gate; held for reading by its users */
	enum rdu_gate gate;
	wait_queue_head_t gate_wait; /* gate has moved, or a context was lost */
	struct work_struct reset_work;
	bool need_reset;	/* a queue is stuck, or a slot in doubt */
	bool wedged;		/* cut off; set by whoever has taken the card */
	bool pci_error;		/* the card is held for recovery from one */
	struct delayed_work error_work;
	struct xarray saved;	/* pages of card memory while the system sleeps */
	u64 clock_seen;		/* the card's clock, when it was read last */

	atomic64_t faults;
	atomic64_t resets;
};

/* What belongs to an open file. */
struct rdu_file {
	struct rdu_device *rdev;
	struct drm_file *drm_file;
	struct rdu_user *user;	/* who opened it */
	struct xarray vms;
	struct xarray ctxs;
	struct xarray progs;
	spinlock_t busy_lock;	/* Protects: past, told */
	struct rdu_busy past;	/* tiles' cycles, of contexts that are gone */
	struct rdu_busy told;	/* by fdinfo, which never says less */
};

static inline struct rdu_device *to_rdu_device(struct drm_device *drm)
{
	return container_of(drm, struct rdu_device, drm);
}

static inline struct pci_dev *rdu_pdev(struct rdu_device *rdev)
{
	return to_pci_dev(rdev->drm.dev);
}

static inline u32 rdu_read(struct rdu_device *rdev, u32 reg)
{
	return readl(rdev->regs + reg);
}

static inline void rdu_write(struct rdu_device *rdev, u32 reg, u32 value)
{
	writel(value, rdev->regs + reg);
}

static inline u32 rdu_qread(struct rdu_device *rdev, u32 queue, u32 reg)
{
	return rdu_read(rdev, RDU_REG_QUEUE(queue) + reg);
}

static inline void rdu_qwrite(struct rdu_device *rdev, u32 queue, u32 reg, u32 value)
{
	rdu_write(rdev, RDU_REG_QUEUE(queue) + reg, value);
}

/* LO/HI pair; reading LO latches HI where the value moves. */
u64 rdu_read64(struct rdu_device *rdev, u32 reg_lo);

static inline u64 rdu_qread64(struct rdu_device *rdev, u32 queue, u32 reg_lo)
{
	return rdu_read64(rdev, RDU_REG_QUEUE(queue) + reg_lo);
}

static inline void rdu_qwrite64(struct rdu_device *rdev, u32 queue, u32 reg_lo, u64 value)
{
	rdu_qwrite(rdev, queue, reg_lo, lower_32_bits(value));
	rdu_qwrite(rdev, queue, reg_lo + 4, upper_32_bits(value));
}

/*
 * Last references are given up in fence paths too: what they hold is released
 * here. The queue is the module's, as the device may go with the last of them;
 * the module stays until rdu_cleanup_done() was called for each rdu_cleanup_get().
 */
void rdu_cleanup_get(void);
void rdu_cleanup_queue(struct work_struct *work);
void rdu_cleanup_done(void);

/* rdu_reset.c */
int rdu_card_enter(struct rdu_device *rdev, int *idx);
int rdu_card_enter_wedged(struct rdu_device *rdev, int *idx);
int rdu_card_enter_job(struct rdu_device *rdev, int *idx);
void rdu_card_exit(struct rdu_device *rdev, int idx);
bool rdu_card_peek(struct rdu_device *rdev, int *idx);
void rdu_card_unpeek(struct rdu_device *rdev, int idx);
void rdu_reset_request(struct rdu_device *rdev);

/* rdu_pm.c: nobody finds the card asleep in between */
int rdu_pm_get(struct rdu_device *rdev);
void rdu_pm_put(struct rdu_device *rdev);

/* rdu_device.c */
bool rdu_device_answers(struct rdu_device *rdev);
int rdu_device_reset(struct rdu_device *rdev);
void rdu_device_take_faults(struct rdu_device *rdev);
void rdu_device_note_clock(struct rdu_device *rdev);
void rdu_device_restore_clock(struct rdu_device *rdev);
u64 rdu_device_clock(struct rdu_device *rdev);
int rdu_device_init(struct rdu_device *rdev);
void rdu_device_fini(struct rdu_device *rdev);

/* rdu_admin.c */
int rdu_admin_init(struct rdu_device *rdev);
void rdu_admin_fini(struct rdu_device *rdev);
void rdu_admin_take_fault(struct rdu_device *rdev);
int rdu_admin_restart(struct rdu_device *rdev);
int rdu_admin_exec(struct rdu_device *rdev, struct rdu_cmd *cmd,
		   struct rdu_prog_result *result);

/* rdu_vram.c */
int rdu_vram_init(struct rdu_device *rdev);
int rdu_vram_alloc(struct rdu_device *rdev, u64 size, bool contiguous,
		   struct rdu_vram_piece *piece);
u64 rdu_vram_addr(const struct rdu_vram_piece *piece);
int rdu_vram_for_each(struct rdu_device *rdev,
		      int (*call)(struct rdu_device *rdev, u64 addr, u64 size));
int rdu_vram_clear(struct rdu_device *rdev, struct rdu_vram_piece *piece);
void rdu_vram_free(struct rdu_device *rdev, struct rdu_vram_piece *piece);

/* rdu_query.c */
int rdu_ioctl_dev_query(struct drm_device *drm, void *data, struct drm_file *file);

/* rdu_perf.c */
int rdu_ioctl_perf_open(struct drm_device *drm, void *data, struct drm_file *file);

/* rdu_hwmon.c, rdu_debugfs.c, rdu_fdinfo.c */
int rdu_hwmon_init(struct rdu_device *rdev);
void rdu_debugfs_init(struct rdu_device *rdev);
void rdu_show_fdinfo(struct drm_printer *p, struct drm_file *file);

/* Copies an array of structures whose size user space knows otherwise. */
int rdu_copy_array(void *dst, size_t size, u64 src, u32 count, u32 stride);

#endif
