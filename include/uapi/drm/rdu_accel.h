/* SPDX-License-Identifier: (GPL-2.0-only WITH Linux-syscall-note) OR MIT */
/*
 * User space interface of the rdu driver: /dev/accel/accelN of a
 * reconfigurable dataflow card. Documentation/ioctl.md tells how to use it.
 * drm.h is that of libdrm (pkg-config --cflags libdrm).
 *
 * Rules that hold for every structure here:
 * - Sizes are multiples of 8 bytes, the same for 32 and 64 bit user space, and
 *   there are no holes.
 * - Fields called pad must be zero, flag bits that are not named must be zero:
 *   anything else is refused with EINVAL, so that both can get a meaning later.
 * - New fields are added at the end only; zero in them means what was before.
 * - Device addresses (va) are addresses in a VM. They have nothing to do with
 *   addresses of the process.
 */
#ifndef _UAPI_RDU_ACCEL_H_
#define _UAPI_RDU_ACCEL_H_

#include "drm.h"

#if defined(__cplusplus)
extern "C" {
#endif

/** DRM_RDU_DRIVER_NAME - Name that DRM_IOCTL_VERSION gives. */
#define DRM_RDU_DRIVER_NAME "rdu"

/**
 * enum drm_rdu_ioctl_id - Numbers of the ioctls
 *
 * Place new ones at the end, never re-order.
 */
enum drm_rdu_ioctl_id {
	/** @DRM_RDU_DEV_QUERY: Ask about the card. */
	DRM_RDU_DEV_QUERY = 0,
	/** @DRM_RDU_VM_CREATE: Create an address space of the device. */
	DRM_RDU_VM_CREATE,
	/** @DRM_RDU_VM_DESTROY: Destroy an address space. */
	DRM_RDU_VM_DESTROY,
	/** @DRM_RDU_VM_BIND: Map buffers into an address space, or unmap. */
	DRM_RDU_VM_BIND,
	/** @DRM_RDU_BO_CREATE: Create a buffer. */
	DRM_RDU_BO_CREATE,
	/** @DRM_RDU_BO_CREATE_USERPTR: Create a buffer from memory of the process. */
	DRM_RDU_BO_CREATE_USERPTR,
	/** @DRM_RDU_BO_INFO: Ask about a buffer, and where to mmap() it. */
	DRM_RDU_BO_INFO,
	/** @DRM_RDU_CTX_CREATE: Create a context: tiles, a queue and a VM. */
	DRM_RDU_CTX_CREATE,
	/** @DRM_RDU_CTX_DESTROY: Destroy a context. */
	DRM_RDU_CTX_DESTROY,
	/** @DRM_RDU_CTX_GET_STATE: Ask how a context is, and why it died. */
	DRM_RDU_CTX_GET_STATE,
	/** @DRM_RDU_PROG_LOAD: Give the card a program image. */
	DRM_RDU_PROG_LOAD,
	/** @DRM_RDU_PROG_UNLOAD: Forget a program. */
	DRM_RDU_PROG_UNLOAD,
	/** @DRM_RDU_SUBMIT: Queue work. */
	DRM_RDU_SUBMIT,
	/** @DRM_RDU_PERF_OPEN: Open a stream of counters. */
	DRM_RDU_PERF_OPEN,
};

/* ---- DEV_QUERY --------------------------------------------------------- */

/**
 * enum drm_rdu_query_type - What DRM_IOCTL_RDU_DEV_QUERY can tell
 *
 * Place new ones at the end, never re-order.
 */
enum drm_rdu_query_type {
	/** @DRM_RDU_QUERY_INFO: &struct drm_rdu_query_info. */
	DRM_RDU_QUERY_INFO = 0,
	/** @DRM_RDU_QUERY_CHIP: &struct drm_rdu_query_chip. */
	DRM_RDU_QUERY_CHIP,
	/** @DRM_RDU_QUERY_MEMORY: &struct drm_rdu_query_memory. */
	DRM_RDU_QUERY_MEMORY,
	/** @DRM_RDU_QUERY_CLOCK: &struct drm_rdu_query_clock. */
	DRM_RDU_QUERY_CLOCK,
	/** @DRM_RDU_QUERY_TILES: Array of &struct drm_rdu_query_tile, one per tile. */
	DRM_RDU_QUERY_TILES,
	/** @DRM_RDU_QUERY_CONTEXTS: Array of &struct drm_rdu_query_context: those of this file. */
	DRM_RDU_QUERY_CONTEXTS,
	/** @DRM_RDU_QUERY_HEALTH: &struct drm_rdu_query_health. */
	DRM_RDU_QUERY_HEALTH,
	/** @DRM_RDU_QUERY_USER: &struct drm_rdu_query_user; from driver 1.1 on. */
	DRM_RDU_QUERY_USER,
};

/**
 * struct drm_rdu_dev_query - Argument of DRM_IOCTL_RDU_DEV_QUERY
 *
 * The size is negotiated: the kernel fills min(@size, what it knows) bytes,
 * zeroes the rest of what was given, and sets @size to what it knows. With
 * @pointer zero it only sets @size. The length of an array is @size divided by
 * the element's size.
 */
struct drm_rdu_dev_query {
	/** @type: enum drm_rdu_query_type. */
	__u32 type;
	/** @size: In: bytes at @pointer. Out: bytes the kernel has. */
	__u32 size;
	/** @pointer: User pointer to the structure, or zero. */
	__u64 pointer;
};

/** DRM_RDU_FEATURE_USERPTR - BO_CREATE_USERPTR works. */
#define DRM_RDU_FEATURE_USERPTR (1ULL << 0)
/** DRM_RDU_FEATURE_PERF - PERF_OPEN works. */
#define DRM_RDU_FEATURE_PERF (1ULL << 1)

/** struct drm_rdu_query_info - Identity and limits */
struct drm_rdu_query_info {
	/** @features: Mask of DRM_RDU_FEATURE_*. */
	__u64 features;
	/** @interface_version: Of the card: major << 16 | minor. */
	__u32 interface_version;
	/** @pci_vendor: PCI vendor id. */
	__u16 pci_vendor;
	/** @pci_device: PCI device id. */
	__u16 pci_device;
	/** @pci_subvendor: PCI subsystem vendor id. */
	__u16 pci_subvendor;
	/** @pci_subdevice: PCI subsystem id. */
	__u16 pci_subdevice;
	/** @pci_revision: PCI revision. */
	__u16 pci_revision;
	/** @pci_bdf: bus << 8 | device << 3 | function. */
	__u16 pci_bdf;
	/** @pci_domain: PCI domain. */
	__u32 pci_domain;
	/** @num_tiles: Tiles on the card. */
	__u32 num_tiles;
	/** @chip_hash: Hash of the chip description; programs carry the same. */
	__u64 chip_hash;
	/** @chip_name: Zero padded; not terminated if all 16 are used. */
	char chip_name[16];
	/** @serial: Serial number, zero padded like @chip_name. */
	char serial[16];
	/** @mem_size: Card memory in bytes. */
	__u64 mem_size;
	/** @va_start: First device address a VM may use. */
	__u64 va_start;
	/** @va_end: First device address beyond. */
	__u64 va_end;
	/** @page_size: Bytes; addresses and sizes in VM_BIND are multiples. */
	__u32 page_size;
	/** @max_contexts: Contexts on the card, of all users. */
	__u32 max_contexts;
	/** @max_programs: Programs loaded on the card, of all users. */
	__u32 max_programs;
	/** @max_prog_size: Bytes of a program image. */
	__u32 max_prog_size;
	/** @max_jobs: Jobs in one SUBMIT, also the largest queue depth. */
	__u32 max_jobs;
	/** @max_syncs: Syncs in one SUBMIT. */
	__u32 max_syncs;
	/** @max_bind_ops: Operations in one VM_BIND. */
	__u32 max_bind_ops;
	/** @max_timeout_ms: Largest timeout of a context. */
	__u32 max_timeout_ms;
};

/** DRM_RDU_CHIP_FIELDS - Words of a chip description, those of driver 1.0. */
#define DRM_RDU_CHIP_FIELDS 32
/** DRM_RDU_CHIP_MORE_FIELDS - Words that follow them: 30 from driver 1.2 on, all from 1.4 on. */
#define DRM_RDU_CHIP_MORE_FIELDS 32

/** struct drm_rdu_query_chip - Chip description: struct rdu_chip of rdu/chip.h */
struct drm_rdu_query_chip {
	/** @name: Zero padded. */
	char name[16];
	/** @assumed: Bit i: field i is assumed, not published. */
	__u64 assumed;
	/** @fields: In the order of RDU_CHIP_FIELDS. */
	__u32 fields[DRM_RDU_CHIP_FIELDS];
	/**
	 * @more_fields: The next ones in that order. Zero from a driver, and from a card
	 * with an interface, older than 1.2; the last two from one older than 1.4.
	 */
	__u32 more_fields[DRM_RDU_CHIP_MORE_FIELDS];
};

/** struct drm_rdu_query_memory - Card memory */
struct drm_rdu_query_memory {
	/** @size: Bytes that buffers can use. */
	__u64 size;
	/** @free: Bytes not in use; another process may be quicker. */
	__u64 free;
	/** @cpu_visible: Bytes that can be mapped by the CPU. */
	__u64 cpu_visible;
	/** @used_by_file: Bytes of card memory in buffers created by this file. */
	__u64 used_by_file;
};

/** struct drm_rdu_query_clock - The card's clock and the CPU's, read together */
struct drm_rdu_query_clock {
	/**
	 * @cycles: Card clock in fabric cycles since the driver was bound, as
	 * timestamps and &struct rdu_stats have it. Stands still while nothing
	 * runs, and does not go back, over resets and sleep either.
	 */
	__u64 cycles;
	/** @cpu_before: CLOCK_MONOTONIC in nanoseconds just before @cycles was read. */
	__u64 cpu_before;
	/** @cpu_after: CLOCK_MONOTONIC in nanoseconds just after. */
	__u64 cpu_after;
	/** @clock_khz: Fabric clock. */
	__u32 clock_khz;
	/** @pad: Zero. */
	__u32 pad;
};

/** DRM_RDU_TILE_OWNED - A context owns the tile. */
#define DRM_RDU_TILE_OWNED (1U << 0)
/** DRM_RDU_TILE_MINE - The context belongs to this file: @ctx_id is valid. */
#define DRM_RDU_TILE_MINE (1U << 1)
/** DRM_RDU_TILE_NAMED - @pid, @uid and @comm are valid: same user, or CAP_PERFMON. */
#define DRM_RDU_TILE_NAMED (1U << 2)

/**
 * struct drm_rdu_query_tile - Who owns a tile and what it did
 *
 * The cycles count since the driver was bound and never go back, whoever owned
 * the tile; sample twice and subtract. Idle is what is left of the card clock.
 */
struct drm_rdu_query_tile {
	/** @tile: Physical number. */
	__u32 tile;
	/** @flags: Mask of DRM_RDU_TILE_*. */
	__u32 flags;
	/** @ctx_id: Context in this file, or zero. */
	__u32 ctx_id;
	/** @pid: Process that created the context. */
	__u32 pid;
	/** @uid: User that created the context. */
	__u32 uid;
	/** @pad: Zero. */
	__u32 pad;
	/** @comm: Name of the process, zero terminated. */
	char comm[16];
	/** @exec_cycles: Cycles spent executing. */
	__u64 exec_cycles;
	/** @pload_cycles: Cycles that program loads have added. */
	__u64 pload_cycles;
	/** @aload_cycles: Cycles spent on argument load. */
	__u64 aload_cycles;
	/** @copy_cycles: Cycles spent on copies and fills. */
	__u64 copy_cycles;
	/** @clock: Cycles of the card clock since the driver was bound. */
	__u64 clock;
};

/** struct drm_rdu_query_context - One context of this file */
struct drm_rdu_query_context {
	/** @ctx_id: Context. */
	__u32 ctx_id;
	/** @state: Mask of DRM_RDU_CTX_STATE_*. */
	__u32 state;
	/** @vm_id: Its VM, zero if that was destroyed already. */
	__u32 vm_id;
	/** @num_tiles: Tiles it owns. */
	__u32 num_tiles;
	/** @tile_mask: Bit i: owns physical tile i. */
	__u64 tile_mask;
	/** @submitted: Sequence number of the last SUBMIT. */
	__u64 submitted;
	/** @completed: Sequence number of the last SUBMIT that is done. */
	__u64 completed;
	/** @exec_cycles: Cycles spent executing. */
	__u64 exec_cycles;
	/** @pload_cycles: Cycles that program loads have added. */
	__u64 pload_cycles;
	/** @aload_cycles: Cycles spent on argument load. */
	__u64 aload_cycles;
	/** @copy_cycles: Cycles spent on copies and fills. */
	__u64 copy_cycles;
};

/** struct drm_rdu_query_health - Sensors and error counts (modelled) */
struct drm_rdu_query_health {
	/** @temp_mc: Temperature in millidegrees Celsius. */
	__s32 temp_mc;
	/** @power_mw: Power in milliwatts. */
	__u32 power_mw;
	/** @ecc_ce: Corrected memory errors. */
	__u32 ecc_ce;
	/** @ecc_ue: Uncorrected memory errors. */
	__u32 ecc_ue;
	/** @faults: Contexts that faulted since the driver was bound. */
	__u64 faults;
	/** @resets: Resets of hung queues and of the card since the driver was bound. */
	__u64 resets;
};

/** struct drm_rdu_query_limit - How much there is of something for one user */
struct drm_rdu_query_limit {
	/** @used: Used now. */
	__u64 used;
	/** @max: What makes more than this gives EDQUOT, but for CAP_SYS_RESOURCE. */
	__u64 max;
};

/**
 * struct drm_rdu_query_user - The account of the user who opened this file
 *
 * All files that he opened count together, and buffers, also after they were
 * given away as a dma-buf.
 */
struct drm_rdu_query_user {
	/** @tiles: Tiles. */
	struct drm_rdu_query_limit tiles;
	/** @contexts: Contexts. */
	struct drm_rdu_query_limit contexts;
	/** @programs: Programs loaded. */
	struct drm_rdu_query_limit programs;
	/** @memory: Bytes of card memory: buffers, programs, page tables. */
	struct drm_rdu_query_limit memory;
	/** @system: Bytes of the computer's memory in buffers of BO_CREATE. */
	struct drm_rdu_query_limit system;
};

/* ---- Address spaces ---------------------------------------------------- */

/** struct drm_rdu_vm_create - Argument of DRM_IOCTL_RDU_VM_CREATE */
struct drm_rdu_vm_create {
	/** @flags: Must be zero. */
	__u32 flags;
	/** @vm_id: Out: the address space. Never zero. */
	__u32 vm_id;
};

/**
 * struct drm_rdu_vm_destroy - Argument of DRM_IOCTL_RDU_VM_DESTROY
 *
 * The handle is gone at once. Contexts that use the VM keep it, with its
 * mappings, until they are destroyed.
 */
struct drm_rdu_vm_destroy {
	/** @vm_id: Address space. */
	__u32 vm_id;
	/** @pad: Must be zero. */
	__u32 pad;
};

/** enum drm_rdu_bind_op_type - What an operation of VM_BIND does */
enum drm_rdu_bind_op_type {
	/** @DRM_RDU_BIND_MAP: Map; what was mapped there before is replaced. */
	DRM_RDU_BIND_MAP = 0,
	/** @DRM_RDU_BIND_UNMAP: Unmap what is mapped in the range. */
	DRM_RDU_BIND_UNMAP,
};

/** DRM_RDU_BIND_READONLY - The device must not write through this mapping. */
#define DRM_RDU_BIND_READONLY (1U << 0)

/** struct drm_rdu_bind_op - One operation of VM_BIND */
struct drm_rdu_bind_op {
	/** @type: enum drm_rdu_bind_op_type. */
	__u32 type;
	/** @flags: Mask of DRM_RDU_BIND_*; UNMAP: zero. */
	__u32 flags;
	/** @handle: Buffer; UNMAP: zero. */
	__u32 handle;
	/** @pad: Must be zero. */
	__u32 pad;
	/** @offset: Bytes into the buffer, a multiple of the page size; UNMAP: zero. */
	__u64 offset;
	/** @va: Device address, a multiple of the page size. */
	__u64 va;
	/** @size: Bytes, a multiple of the page size, not zero. */
	__u64 size;
};

/**
 * struct drm_rdu_vm_bind - Argument of DRM_IOCTL_RDU_VM_BIND
 *
 * Synchronous: when the call returns the mappings are as asked, also for jobs
 * that are queued or running. The operations are done in order. All of them are
 * checked before the first is done; one that fails later (no memory) leaves
 * those before it done, and is named in @failed_op.
 */
struct drm_rdu_vm_bind {
	/** @vm_id: Address space. */
	__u32 vm_id;
	/** @flags: Must be zero. */
	__u32 flags;
	/** @ops: User pointer to an array of &struct drm_rdu_bind_op. */
	__u64 ops;
	/** @num_ops: Elements at @ops. */
	__u32 num_ops;
	/** @op_stride: Bytes from one element to the next. */
	__u32 op_stride;
	/** @failed_op: Out, on error: index of the operation that failed. */
	__u32 failed_op;
	/** @pad: Must be zero. */
	__u32 pad;
};

/* ---- Buffers ----------------------------------------------------------- */

/** enum drm_rdu_placement - Where a buffer lives; it never moves */
enum drm_rdu_placement {
	/** @DRM_RDU_PLACEMENT_DEVICE: Card memory. */
	DRM_RDU_PLACEMENT_DEVICE = 0,
	/** @DRM_RDU_PLACEMENT_SYSTEM: Memory of the computer. */
	DRM_RDU_PLACEMENT_SYSTEM,
};

/** struct drm_rdu_bo_create - Argument of DRM_IOCTL_RDU_BO_CREATE: a zeroed buffer */
struct drm_rdu_bo_create {
	/** @size: In: bytes. Out: rounded up to pages. */
	__u64 size;
	/** @placement: enum drm_rdu_placement. */
	__u32 placement;
	/** @flags: Must be zero. */
	__u32 flags;
	/**
	 * @vm_id: Not zero: the buffer is only ever bound in this VM and can't
	 * be exported. Cheaper. Zero: any VM.
	 */
	__u32 vm_id;
	/** @handle: Out: GEM handle. */
	__u32 handle;
};

/** DRM_RDU_USERPTR_READONLY - The device must not write. */
#define DRM_RDU_USERPTR_READONLY (1U << 0)

/** struct drm_rdu_bo_create_userptr - Argument of DRM_IOCTL_RDU_BO_CREATE_USERPTR */
struct drm_rdu_bo_create_userptr {
	/** @user_ptr: Page aligned address in the process. */
	__u64 user_ptr;
	/** @size: Bytes, a multiple of the page size. */
	__u64 size;
	/** @flags: Mask of DRM_RDU_USERPTR_*. */
	__u32 flags;
	/** @handle: Out: GEM handle. Not mappable, not exportable. */
	__u32 handle;
};

/** DRM_RDU_BO_IMPORTED - The buffer came from another driver (PRIME). */
#define DRM_RDU_BO_IMPORTED (1U << 0)
/** DRM_RDU_BO_PRIVATE - The buffer belongs to one VM. */
#define DRM_RDU_BO_PRIVATE (1U << 1)
/** DRM_RDU_BO_USERPTR - The buffer is memory of a process. */
#define DRM_RDU_BO_USERPTR (1U << 2)

/** struct drm_rdu_bo_info - Argument of DRM_IOCTL_RDU_BO_INFO */
struct drm_rdu_bo_info {
	/** @handle: GEM handle. */
	__u32 handle;
	/** @pad: Must be zero. */
	__u32 pad;
	/** @size: Out: bytes. */
	__u64 size;
	/** @mmap_offset: Out: offset for mmap() on the device node; zero: not mappable. */
	__u64 mmap_offset;
	/** @placement: Out: enum drm_rdu_placement. */
	__u32 placement;
	/** @flags: Out: mask of DRM_RDU_BO_*. */
	__u32 flags;
};

/* ---- Contexts ---------------------------------------------------------- */

/**
 * struct drm_rdu_ctx_create - Argument of DRM_IOCTL_RDU_CTX_CREATE
 *
 * The card runs all contexts at once, each on tiles of its own: there is no
 * order among them, and so no priority.
 */
struct drm_rdu_ctx_create {
	/** @vm_id: Address space its commands and programs see. */
	__u32 vm_id;
	/** @flags: Must be zero. */
	__u32 flags;
	/**
	 * @num_tiles: Tiles, granted consecutively and for this context alone;
	 * which ones is the kernel's choice. Zero: copies and fills only.
	 */
	__u32 num_tiles;
	/** @queue_depth: Jobs in flight on the card, a power of two; zero: the default. */
	__u32 queue_depth;
	/** @timeout_ms: Milliseconds one job may take; zero: the default. */
	__u32 timeout_ms;
	/** @ctx_id: Out: the context. Never zero. */
	__u32 ctx_id;
	/** @watchdog_cycles: Fabric cycles one job may take; zero: no limit. */
	__u64 watchdog_cycles;
	/** @tile_mask: Out: bit i: physical tile i was granted. */
	__u64 tile_mask;
};

/**
 * struct drm_rdu_ctx_destroy - Argument of DRM_IOCTL_RDU_CTX_DESTROY
 *
 * Work that is not done is cancelled: its fences signal with an error.
 */
struct drm_rdu_ctx_destroy {
	/** @ctx_id: Context. */
	__u32 ctx_id;
	/** @pad: Must be zero. */
	__u32 pad;
};

/** DRM_RDU_CTX_STATE_FAULTED - A job of this context faulted. */
#define DRM_RDU_CTX_STATE_FAULTED (1U << 0)
/** DRM_RDU_CTX_STATE_HUNG - A job of this context took too long. */
#define DRM_RDU_CTX_STATE_HUNG (1U << 1)
/** DRM_RDU_CTX_STATE_INNOCENT - Lost in a reset of the card that another caused. */
#define DRM_RDU_CTX_STATE_INNOCENT (1U << 2)
/** DRM_RDU_CTX_STATE_LOST - The card is gone. */
#define DRM_RDU_CTX_STATE_LOST (1U << 3)

/** DRM_RDU_NO_JOB - No job of a SUBMIT is meant. */
#define DRM_RDU_NO_JOB 0xffffffffU

/**
 * struct drm_rdu_ctx_get_state - Argument of DRM_IOCTL_RDU_CTX_GET_STATE
 *
 * With any bit of @state set the context is dead: SUBMIT gives EIO, what was
 * queued has been cancelled. All that is left is to destroy it.
 */
struct drm_rdu_ctx_get_state {
	/** @ctx_id: Context. */
	__u32 ctx_id;
	/** @state: Out: mask of DRM_RDU_CTX_STATE_*; zero: well. */
	__u32 state;
	/** @fault_code: Out: enum rdu_fault of rdu/cmd.h. */
	__u32 fault_code;
	/** @fault_info: Out: what it means depends on @fault_code. */
	__u32 fault_info;
	/** @section: Out: section of the program that ran, ~0: none. */
	__u32 section;
	/** @unit_program: Out: unit program of that section, ~0: none. */
	__u32 unit_program;
	/** @va: Out: device address, or byte offset in a program image. */
	__u64 va;
	/** @fault_seqno: Out: SUBMIT that holds the guilty job. */
	__u64 fault_seqno;
	/** @fault_job: Out: index of the guilty job in that SUBMIT, or DRM_RDU_NO_JOB. */
	__u32 fault_job;
	/** @pad: Must be zero. */
	__u32 pad;
	/** @submitted: Out: sequence number of the last SUBMIT. */
	__u64 submitted;
	/** @completed: Out: sequence number of the last SUBMIT that is done. */
	__u64 completed;
};

/* ---- Programs ---------------------------------------------------------- */

/**
 * struct drm_rdu_prog_load - Argument of DRM_IOCTL_RDU_PROG_LOAD
 *
 * The image (rdu/program.h) is copied once to memory that user space never
 * sees, and is checked there. A refused image gives EBADMSG, and the outputs
 * say what is wrong where. Programs belong to the file; any of its contexts
 * with enough tiles can run them.
 */
struct drm_rdu_prog_load {
	/** @data: User pointer to the program image. */
	__u64 data;
	/** @size: Bytes at @data. */
	__u64 size;
	/** @flags: Must be zero. */
	__u32 flags;
	/** @prog_id: Out: the program. Never zero. */
	__u32 prog_id;
	/** @error: Out, with EBADMSG: enum rdu_cfg_error of rdu/config.h. */
	__u32 error;
	/** @error_section: Out, with EBADMSG: section at fault, ~0: the image itself. */
	__u32 error_section;
	/** @error_offset: Out, with EBADMSG: byte offset of the offender in the image. */
	__u64 error_offset;
};

/**
 * struct drm_rdu_prog_unload - Argument of DRM_IOCTL_RDU_PROG_UNLOAD
 *
 * The handle is gone at once; jobs that are queued already still run.
 */
struct drm_rdu_prog_unload {
	/** @prog_id: Program. */
	__u32 prog_id;
	/** @pad: Must be zero. */
	__u32 pad;
};

/* ---- Work -------------------------------------------------------------- */

/**
 * enum drm_rdu_job_type - Kinds of job
 *
 * Place new ones at the end, never re-order.
 */
enum drm_rdu_job_type {
	/** @DRM_RDU_JOB_RUN: Run an entry point of a program. */
	DRM_RDU_JOB_RUN = 0,
	/** @DRM_RDU_JOB_COPY: Copy between device addresses; must not overlap. */
	DRM_RDU_JOB_COPY,
	/** @DRM_RDU_JOB_FILL: Fill with a 32-bit value. */
	DRM_RDU_JOB_FILL,
	/** @DRM_RDU_JOB_BARRIER: Done when all jobs before it are. */
	DRM_RDU_JOB_BARRIER,
	/** @DRM_RDU_JOB_TIMESTAMP: Write the card clock (64 bits), as DRM_RDU_QUERY_CLOCK. */
	DRM_RDU_JOB_TIMESTAMP,
};

/** struct drm_rdu_job_run - DRM_RDU_JOB_RUN */
struct drm_rdu_job_run {
	/** @prog_id: Program. */
	__u32 prog_id;
	/** @entry: Index of the entry point. */
	__u32 entry;
	/** @args_va: Device address of struct rdu_args. */
	__u64 args_va;
	/** @args_size: Bytes at @args_va. */
	__u64 args_size;
	/** @stats_va: Device address of struct rdu_stats to be written; zero: none. */
	__u64 stats_va;
	/** @trace_va: Device address of struct rdu_trace to be written; zero: none. */
	__u64 trace_va;
	/** @trace_size: Bytes at @trace_va; zero: no trace. */
	__u32 trace_size;
	/**
	 * @epoch: What the program keeps on the tiles from run to run (KEEP steps
	 * in its schedule) may be used by a later run of it, in this context and
	 * with the same epoch, if in between nothing but this context's jobs, at
	 * the addresses they name, changes the memory that it came from, and no
	 * other memory is mapped there. Zero: nothing is kept. Since driver 1.3; a
	 * card older than interface 1.3 keeps nothing.
	 */
	__u32 epoch;
};

/** struct drm_rdu_job_copy - DRM_RDU_JOB_COPY */
struct drm_rdu_job_copy {
	/** @src_va: Device address to read. */
	__u64 src_va;
	/** @dst_va: Device address to write. */
	__u64 dst_va;
	/** @len: Bytes. */
	__u64 len;
};

/** struct drm_rdu_job_fill - DRM_RDU_JOB_FILL */
struct drm_rdu_job_fill {
	/** @va: Device address, a multiple of 4. */
	__u64 va;
	/** @len: Bytes, a multiple of 4. */
	__u64 len;
	/** @value: What to fill with. */
	__u32 value;
	/** @pad: Must be zero. */
	__u32 pad;
};

/** struct drm_rdu_job_timestamp - DRM_RDU_JOB_TIMESTAMP */
struct drm_rdu_job_timestamp {
	/** @va: Device address to write, a multiple of 8. */
	__u64 va;
};

/** struct drm_rdu_job - One job of SUBMIT; what its type doesn't use must be zero */
struct drm_rdu_job {
	/** @type: enum drm_rdu_job_type. */
	__u32 type;
	/** @flags: Must be zero. */
	__u32 flags;
	union {
		/** @run: DRM_RDU_JOB_RUN. */
		struct drm_rdu_job_run run;
		/** @copy: DRM_RDU_JOB_COPY. */
		struct drm_rdu_job_copy copy;
		/** @fill: DRM_RDU_JOB_FILL. */
		struct drm_rdu_job_fill fill;
		/** @timestamp: DRM_RDU_JOB_TIMESTAMP. */
		struct drm_rdu_job_timestamp timestamp;
		/** @raw: All of it. */
		__u64 raw[6];
	};
};

/** DRM_RDU_SYNC_SIGNAL - Signal when the last job is done; otherwise wait before the first. */
#define DRM_RDU_SYNC_SIGNAL (1U << 0)
/** DRM_RDU_SYNC_TIMELINE - A timeline syncobj; otherwise a binary one. */
#define DRM_RDU_SYNC_TIMELINE (1U << 1)

/** struct drm_rdu_sync - A syncobj to wait for or to signal */
struct drm_rdu_sync {
	/** @flags: Mask of DRM_RDU_SYNC_*. */
	__u32 flags;
	/** @handle: syncobj handle. */
	__u32 handle;
	/** @point: Timeline point, not zero; binary: must be zero. */
	__u64 point;
};

/**
 * struct drm_rdu_submit - Argument of DRM_IOCTL_RDU_SUBMIT
 *
 * Jobs of a context run one after another in the order they were submitted.
 * EIO: the context is dead; ask DRM_IOCTL_RDU_CTX_GET_STATE.
 */
struct drm_rdu_submit {
	/** @ctx_id: Context. */
	__u32 ctx_id;
	/** @flags: Must be zero. */
	__u32 flags;
	/** @jobs: User pointer to an array of &struct drm_rdu_job. */
	__u64 jobs;
	/** @num_jobs: Elements at @jobs, at least 1, at most the context's queue depth. */
	__u32 num_jobs;
	/** @job_stride: Bytes from one element to the next. */
	__u32 job_stride;
	/** @syncs: User pointer to an array of &struct drm_rdu_sync. */
	__u64 syncs;
	/** @num_syncs: Elements at @syncs. */
	__u32 num_syncs;
	/** @sync_stride: Bytes from one element to the next; zero if there are none. */
	__u32 sync_stride;
	/** @seqno: Out: number of this SUBMIT in its context, 1, 2, ... */
	__u64 seqno;
};

/* ---- Counters ---------------------------------------------------------- */

/**
 * struct drm_rdu_perf_open - Argument of DRM_IOCTL_RDU_PERF_OPEN
 *
 * The stream is a file: read() gives &struct drm_rdu_perf_sample, whole ones
 * only, and waits for the first unless O_NONBLOCK; poll() tells when there is
 * one. It ends (read() gives 0) when the context is destroyed or the card goes.
 */
struct drm_rdu_perf_open {
	/** @ctx_id: Context of this file; zero: the whole card, needs CAP_PERFMON. */
	__u32 ctx_id;
	/** @flags: Must be zero. */
	__u32 flags;
	/** @period_ns: Nanoseconds between samples, 1,000,000 to 10,000,000,000. */
	__u64 period_ns;
	/** @fd: Out: the stream, O_CLOEXEC. */
	__s32 fd;
	/** @pad: Must be zero. */
	__u32 pad;
};

/** struct drm_rdu_perf_sample - One sample; counters never go back */
struct drm_rdu_perf_sample {
	/** @time: CLOCK_MONOTONIC in nanoseconds. */
	__u64 time;
	/** @clock: Cycles of the card clock since the driver was bound. */
	__u64 clock;
	/** @exec_cycles: Cycles spent executing; the card: sum over its tiles. */
	__u64 exec_cycles;
	/** @pload_cycles: Cycles that program loads have added. */
	__u64 pload_cycles;
	/** @aload_cycles: Cycles spent on argument load. */
	__u64 aload_cycles;
	/** @copy_cycles: Cycles spent on copies and fills. */
	__u64 copy_cycles;
	/** @completed: SUBMITs of the context that are done; the card: zero. */
	__u64 completed;
	/** @lost: Samples dropped so far because nobody read. */
	__u64 lost;
};

/* ---- Numbers ----------------------------------------------------------- */

#define DRM_IOCTL_RDU_DEV_QUERY \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_RDU_DEV_QUERY, struct drm_rdu_dev_query)
#define DRM_IOCTL_RDU_VM_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_RDU_VM_CREATE, struct drm_rdu_vm_create)
#define DRM_IOCTL_RDU_VM_DESTROY \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_RDU_VM_DESTROY, struct drm_rdu_vm_destroy)
#define DRM_IOCTL_RDU_VM_BIND \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_RDU_VM_BIND, struct drm_rdu_vm_bind)
#define DRM_IOCTL_RDU_BO_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_RDU_BO_CREATE, struct drm_rdu_bo_create)
#define DRM_IOCTL_RDU_BO_CREATE_USERPTR \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_RDU_BO_CREATE_USERPTR, struct drm_rdu_bo_create_userptr)
#define DRM_IOCTL_RDU_BO_INFO \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_RDU_BO_INFO, struct drm_rdu_bo_info)
#define DRM_IOCTL_RDU_CTX_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_RDU_CTX_CREATE, struct drm_rdu_ctx_create)
#define DRM_IOCTL_RDU_CTX_DESTROY \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_RDU_CTX_DESTROY, struct drm_rdu_ctx_destroy)
#define DRM_IOCTL_RDU_CTX_GET_STATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_RDU_CTX_GET_STATE, struct drm_rdu_ctx_get_state)
#define DRM_IOCTL_RDU_PROG_LOAD \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_RDU_PROG_LOAD, struct drm_rdu_prog_load)
#define DRM_IOCTL_RDU_PROG_UNLOAD \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_RDU_PROG_UNLOAD, struct drm_rdu_prog_unload)
#define DRM_IOCTL_RDU_SUBMIT \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_RDU_SUBMIT, struct drm_rdu_submit)
#define DRM_IOCTL_RDU_PERF_OPEN \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_RDU_PERF_OPEN, struct drm_rdu_perf_open)

#if defined(__cplusplus)
}
#endif

#endif /* _UAPI_RDU_ACCEL_H_ */
