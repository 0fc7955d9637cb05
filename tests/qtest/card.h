/* SPDX-License-Identifier: MIT */
/* A card on a qtest machine: BARs placed, bus mastering and MSI-X on. */
#ifndef CARD_H
#define CARD_H

#include "qtest.h"
#include "rdu/cmd.h"
#include "rdu/regs.h"

#define RING_LOG2 4
#define CARD_MEM (64ULL << 20)

/* Guest memory of queue q: its ring, completion word and MSI message. */
#define GUEST_RING(q) (0x100000ULL + (q) * 0x10000ULL)
#define GUEST_CPL(q) (GUEST_RING(q) + 0x8000)
#define GUEST_MSI(v) (0x40000ULL + (v) * 4)
#define MSI_DATA(v) (0x5a000000u + (v))

struct card {
	struct qtest *q;
	unsigned int slot;
	uint64_t regs, doorbells, mem;
	uint16_t msix; /* offset of the MSI-X capability */
	uint32_t tail[RDU_MAX_QUEUES];
};

/* QEMU with one card of CARD_MEM bytes (args: more arguments, or NULL). */
struct qtest *card_machine(const char *const *args);
/* slot: 32 * bus + device. */
void card_setup(struct card *c, struct qtest *q, unsigned int slot);

uint32_t card_read(struct card *c, uint32_t reg);
void card_write(struct card *c, uint32_t reg, uint32_t value);
uint64_t card_read64(struct card *c, uint32_t reg);
void card_write64(struct card *c, uint32_t reg, uint64_t value);

/* Bytes of a BAR, 64 bits wide or not. */
uint64_t card_bar_size(struct card *c, unsigned int bar);

/* Offset of a capability, an extended one; 0: none. (No ECAM here: the chain
 * of extended capabilities is read through MMCONFIG.) */
unsigned int card_find_cap(struct card *c, unsigned int id);

void card_enable(struct card *c);
void card_queue_setup(struct card *c, unsigned int queue);
/* Rings the doorbell after writing the command. */
void card_submit(struct card *c, unsigned int queue, const struct rdu_cmd *cmd);
/* Wait for up to 10 s; false: it did not come. */
bool card_wait_seqno(struct card *c, unsigned int queue, uint64_t seqno);
bool card_wait_status(struct card *c, unsigned int queue, uint32_t status);
bool card_wait_msi(struct card *c, unsigned int vector);

/* Page tables of a queue, in card memory from `root` on (64 KiB each).
 * Maps one 4 KiB page. */
struct page_table {
	struct card *c;
	uint64_t root, next;
};
void pt_init(struct page_table *pt, struct card *c, uint64_t root);
void pt_map(struct page_table *pt, uint64_t va, uint64_t target, uint64_t flags);

#endif
