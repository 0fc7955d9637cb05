/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Registers of the card. All are 32 bits wide and little-endian; a 64-bit
 * value is a _LO/_HI pair. Reserved addresses read as zero and ignore writes.
 *
 * BAR0: registers (RDU_BAR0_SIZE bytes)
 * BAR2: doorbells, one 4 KiB page per queue; a 32-bit write to offset 0 of page
 *       q tells the new tail of queue q (a free-running count of commands)
 * BAR4: window on card memory (RAM backed)
 */
#ifndef RDU_REGS_H
#define RDU_REGS_H

#define RDU_PCI_VENDOR 0x1234
#define RDU_PCI_DEVICE 0x5244
#define RDU_PCI_CLASS 0x1200

#define RDU_BAR_REGS 0
#define RDU_BAR_DOORBELL 2
#define RDU_BAR_MEM 4
#define RDU_BAR0_SIZE 0x10000
#define RDU_DOORBELL_STRIDE 0x1000

#define RDU_MAGIC 0x31554452 /* "RDU1" */
/*
 * Major << 16 | minor. 1.0: first. 1.1: CYCLES outlives resets, and can be set.
 * 1.2: chip fields 32 to 61. 1.3: KEEP steps, and RUN's epoch.
 * 1.4: chip fields 62 and 63.
 */
#define RDU_INTERFACE_VERSION 0x00010004
#define RDU_INTERFACE_KEEPS 0x00010003

#define RDU_MAX_QUEUES 64 /* queue 0 is the administrator's */
#define RDU_ADMIN_QUEUE 0
#define RDU_MAX_SLOTS 1024 /* program slots */
/* MSI-X vector of queue q is q; the last one reports faults and housekeeping. */
#define RDU_NUM_VECTORS (RDU_MAX_QUEUES + 1)
#define RDU_VECTOR_FAULT RDU_MAX_QUEUES

/* Card-wide registers: X(name, offset, access, meaning) */
#define RDU_REGS(X) \
	X(MAGIC, 0x000, "ro", "RDU_MAGIC") \
	X(VERSION, 0x004, "ro", "RDU_INTERFACE_VERSION") \
	X(CHIP_HASH_LO, 0x008, "ro", "hash of the chip description") \
	X(CHIP_HASH_HI, 0x00c, "ro", "") \
	X(NUM_QUEUES, 0x010, "ro", "queues, the administrator's included") \
	X(MEM_SIZE_LO, 0x014, "ro", "card memory in bytes") \
	X(MEM_SIZE_HI, 0x018, "ro", "") \
	X(CTRL, 0x01c, "rw", "bit 0: enable; bit 1: reset the card (self-clearing)") \
	X(STATUS, 0x020, "ro", "bit 0: ready; bit 1: a queue is faulted; bit 2: reset in progress") \
	X(FAULT_QUEUES_LO, 0x024, "w1c", "bit q: queue q faulted since last cleared") \
	X(FAULT_QUEUES_HI, 0x028, "w1c", "") \
	X(CYCLES_LO, 0x030, "rw", "card clock in fabric cycles; reading LO latches HI; set while no queue is enabled") \
	X(CYCLES_HI, 0x034, "rw", "") \
	X(TEMP, 0x040, "ro", "temperature in millidegrees Celsius (modelled)") \
	X(POWER, 0x044, "ro", "power in milliwatts (modelled)") \
	X(ECC_CE, 0x048, "ro", "corrected memory errors since power-on") \
	X(ECC_UE, 0x04c, "ro", "uncorrected memory errors since power-on") \
	X(CHIP_NAME, 0x050, "ro", "16 bytes: chip name") \
	X(SERIAL, 0x060, "ro", "16 bytes: serial number") \
	X(CHIP_ASSUMED_LO, 0x070, "ro", "bit i: chip field i is assumed") \
	X(CHIP_ASSUMED_HI, 0x074, "ro", "") \
	X(TILE_OWNER, 0x080, "ro", "4 bytes per tile: queue that owns it, 0: free, or queue 0 (32 tiles at most)") \
	X(CHIP, 0x100, "ro", "chip description, RDU_CHIP_NUM_FIELDS words (chip.h)")

/* Registers of queue q, at RDU_REG_QUEUE(q) + offset */
#define RDU_QUEUE_BASE 0x1000
#define RDU_QUEUE_STRIDE 0x100
#define RDU_REG_QUEUE(q) (RDU_QUEUE_BASE + (q) * RDU_QUEUE_STRIDE)

#define RDU_QUEUE_REGS(X) \
	X(Q_CTRL, 0x00, "rw", "bit 0: enable; bit 1: reset (stops the queue, clears its tiles; self-clearing)") \
	X(Q_STATUS, 0x04, "ro", "enum rdu_queue_status") \
	X(Q_RING_LO, 0x08, "rw", "host address of the command ring") \
	X(Q_RING_HI, 0x0c, "rw", "") \
	X(Q_RING_LOG2, 0x10, "rw", "log2 of the ring's entries, 1..16") \
	X(Q_HEAD, 0x14, "ro", "commands fetched, free running") \
	X(Q_CPL_LO, 0x18, "rw", "host address of the 64-bit completion word") \
	X(Q_CPL_HI, 0x1c, "rw", "") \
	X(Q_PT_LO, 0x20, "rw", "card address of the root page table; queue 0: unused") \
	X(Q_PT_HI, 0x24, "rw", "") \
	X(Q_TILE_FIRST, 0x28, "rw", "first physical tile granted") \
	X(Q_TILE_COUNT, 0x2c, "rw", "tiles granted, consecutive; 0: none") \
	X(Q_FAULT_CODE, 0x30, "ro", "enum rdu_fault; cleared by queue reset") \
	X(Q_FAULT_INFO, 0x34, "ro", "code specific: configuration error, access kind, ...") \
	X(Q_FAULT_ADDR_LO, 0x38, "ro", "device address, or byte offset in an image") \
	X(Q_FAULT_ADDR_HI, 0x3c, "ro", "") \
	X(Q_FAULT_SEQ_LO, 0x40, "ro", "sequence number of the guilty command") \
	X(Q_FAULT_SEQ_HI, 0x44, "ro", "") \
	X(Q_FAULT_SECTION, 0x48, "ro", "section that ran, ~0: none") \
	X(Q_FAULT_PROGRAM, 0x4c, "ro", "unit program of that section, ~0: none") \
	X(Q_EXEC_LO, 0x50, "ro", "cycles spent executing; reading LO latches HI") \
	X(Q_EXEC_HI, 0x54, "ro", "") \
	X(Q_PLOAD_LO, 0x58, "ro", "cycles that program loads have added") \
	X(Q_PLOAD_HI, 0x5c, "ro", "") \
	X(Q_ALOAD_LO, 0x60, "ro", "cycles spent on argument load") \
	X(Q_ALOAD_HI, 0x64, "ro", "") \
	X(Q_COPY_LO, 0x68, "ro", "cycles spent on copies and fills") \
	X(Q_COPY_HI, 0x6c, "ro", "") \
	X(Q_WATCHDOG_LO, 0x70, "rw", "fabric cycles one command may take; 0: no limit") \
	X(Q_WATCHDOG_HI, 0x74, "rw", "") \
	X(Q_TLB_FLUSH, 0x78, "wo", "any write: forget this queue's translations; work in progress keeps what it has bound") \
	X(Q_WATCHDOG_MS, 0x7c, "rw", "host milliseconds one command may take; 0: no limit")

enum rdu_reg {
#define RDU_REG_ENUM(n, off, acc, doc) RDU_REG_##n = off,
	RDU_REGS(RDU_REG_ENUM) RDU_QUEUE_REGS(RDU_REG_ENUM)
#undef RDU_REG_ENUM
};

#define RDU_CTRL_ENABLE 0x1
#define RDU_CTRL_RESET 0x2
#define RDU_STATUS_READY 0x1
#define RDU_STATUS_FAULT 0x2
#define RDU_STATUS_RESET 0x4

enum rdu_queue_status {
	RDU_QUEUE_DISABLED = 0,
	RDU_QUEUE_IDLE = 1,
	RDU_QUEUE_RUNNING = 2,
	RDU_QUEUE_FAULTED = 3, /* stopped: fetches nothing until reset */
};

/*
 * Device page tables: four levels of 512 eight-byte entries, 4 KiB pages,
 * 48-bit device addresses, all tables in card memory. A LARGE entry maps
 * 2 MiB at level 1 and 1 GiB at level 2 (level 0 is the leaf level).
 */
#define RDU_PTE_VALID 0x1ULL
#define RDU_PTE_WRITE 0x2ULL
#define RDU_PTE_HOST 0x4ULL /* leaf points to host memory, else card memory */
#define RDU_PTE_LARGE 0x8ULL
#define RDU_PTE_ADDR 0x000ffffffffff000ULL
#define RDU_PT_LEVELS 4
#define RDU_PT_SHIFT 12
#define RDU_PT_BITS 9
#define RDU_VA_BITS 48

#endif
