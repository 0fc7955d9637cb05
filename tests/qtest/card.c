// SPDX-License-Identifier: MIT
#include "card.h"

#include <string.h>
#include <unistd.h>

#define SLOT 4
#define MSIX_ENABLE 0x8000

struct qtest *card_machine(const char *const *args)
{
	const char *argv[32] = { "-device", "rdu,addr=4,mem-size=64M,threads=2,serial=QTEST" };
	unsigned int n = 2;

	for (; args && *args && n < 31; args++)
		argv[n++] = *args;
	return qtest_start(argv);
}

uint32_t card_read(struct card *c, uint32_t reg)
{
	return qtest_read(c->q, c->regs + reg, 4);
}

void card_write(struct card *c, uint32_t reg, uint32_t value)
{
	qtest_write(c->q, c->regs + reg, value, 4);
}

uint64_t card_read64(struct card *c, uint32_t reg)
{
	uint64_t lo = card_read(c, reg);

	return lo | (uint64_t)card_read(c, reg + 4) << 32;
}

void card_write64(struct card *c, uint32_t reg, uint64_t value)
{
	card_write(c, reg, value);
	card_write(c, reg + 4, value >> 32);
}

uint64_t card_bar_size(struct card *c, unsigned int bar)
{
	unsigned int at = 0x10 + 4 * bar;
	uint32_t low = qtest_cfg_read(c->q, c->slot, at, 4), high;
	bool wide = (low & 6) == 4;
	uint64_t mask;

	qtest_cfg_write(c->q, c->slot, at, ~0u, 4);
	mask = 0xffffffff00000000ULL | (qtest_cfg_read(c->q, c->slot, at, 4) & ~0xfu);
	qtest_cfg_write(c->q, c->slot, at, low, 4);
	if (wide) {
		high = qtest_cfg_read(c->q, c->slot, at + 4, 4);
		qtest_cfg_write(c->q, c->slot, at + 4, ~0u, 4);
		mask &= (uint64_t)qtest_cfg_read(c->q, c->slot, at + 4, 4) << 32 | 0xffffffff;
		qtest_cfg_write(c->q, c->slot, at + 4, high, 4);
	}
	return -mask;
}

unsigned int card_find_cap(struct card *c, unsigned int id)
{
	unsigned int at = qtest_cfg_read(c->q, c->slot, 0x34, 1);

	for (unsigned int n = 0; at && n < 48; n++) {
		if (qtest_cfg_read(c->q, c->slot, at, 1) == id)
			return at;
		at = qtest_cfg_read(c->q, c->slot, at + 1, 1);
	}
	return 0;
}

static void msix_setup(struct card *c)
{
	uint32_t where = qtest_cfg_read(c->q, c->slot, c->msix + 4, 4);
	uint64_t table = c->regs + (where & ~7u);

	for (unsigned int v = 0; v < RDU_NUM_VECTORS; v++) {
		qtest_write(c->q, GUEST_MSI(v), 0, 4);
		qtest_write(c->q, table + 16 * v, GUEST_MSI(v), 4);
		qtest_write(c->q, table + 16 * v + 4, 0, 4);
		qtest_write(c->q, table + 16 * v + 8, MSI_DATA(v), 4);
		qtest_write(c->q, table + 16 * v + 12, 0, 4);
	}
	qtest_cfg_write(c->q, c->slot, c->msix + 2, MSIX_ENABLE, 2);
}

void card_setup(struct card *c, struct qtest *q, unsigned int slot)
{
	memset(c, 0, sizeof(*c));
	c->q = q;
	c->slot = slot;
	c->regs = 0xe0000000ULL + slot % 32 * 0x1000000ULL;
	c->doorbells = c->regs + 0x100000;
	c->mem = 0x800000000ULL + slot % 32 * 0x40000000ULL;
	qtest_cfg_write(q, slot, 0x10, c->regs, 4);
	qtest_cfg_write(q, slot, 0x18, c->doorbells, 4);
	qtest_cfg_write(q, slot, 0x20, c->mem, 4);
	qtest_cfg_write(q, slot, 0x24, c->mem >> 32, 4);
	qtest_cfg_write(q, slot, 0x04, 0x6, 2); /* memory, bus master */
	c->msix = card_find_cap(c, 0x11);
	msix_setup(c);
}

void card_enable(struct card *c)
{
	card_write(c, RDU_REG_CTRL, RDU_CTRL_ENABLE);
}

void card_queue_setup(struct card *c, unsigned int queue)
{
	uint32_t base = RDU_REG_QUEUE(queue);

	qtest_write(c->q, GUEST_CPL(queue), 0, 8);
	card_write64(c, base + RDU_REG_Q_RING_LO, GUEST_RING(queue));
	card_write(c, base + RDU_REG_Q_RING_LOG2, RING_LOG2);
	card_write64(c, base + RDU_REG_Q_CPL_LO, GUEST_CPL(queue));
	card_write(c, base + RDU_REG_Q_CTRL, 1);
	c->tail[queue] = 0;
}

void card_submit(struct card *c, unsigned int queue, const struct rdu_cmd *cmd)
{
	uint32_t entry = c->tail[queue]++ & ((1u << RING_LOG2) - 1);

	qtest_memwrite(c->q, GUEST_RING(queue) + entry * sizeof(*cmd), cmd, sizeof(*cmd));
	qtest_write(c->q, c->doorbells + queue * RDU_DOORBELL_STRIDE, c->tail[queue], 4);
}

#define WAIT_FOR(condition)                                \
	do {                                               \
		for (unsigned int n = 0; n < 10000; n++) { \
			if (condition)                     \
				return true;               \
			if (!qtest_alive(c->q))            \
				return false;              \
			usleep(1000);                      \
		}                                          \
		return false;                              \
	} while (0)

bool card_wait_seqno(struct card *c, unsigned int queue, uint64_t seqno)
{
	WAIT_FOR(qtest_read(c->q, GUEST_CPL(queue), 8) == seqno);
}

bool card_wait_status(struct card *c, unsigned int queue, uint32_t status)
{
	WAIT_FOR(card_read(c, RDU_REG_QUEUE(queue) + RDU_REG_Q_STATUS) == status);
}

bool card_wait_msi(struct card *c, unsigned int vector)
{
	WAIT_FOR(qtest_read(c->q, GUEST_MSI(vector), 4) == MSI_DATA(vector));
}

void pt_init(struct page_table *pt, struct card *c, uint64_t root)
{
	static const uint8_t zero[4096];

	pt->c = c;
	pt->root = root;
	pt->next = root + 4096;
	qtest_memwrite(c->q, c->mem + root, zero, sizeof(zero));
}

void pt_map(struct page_table *pt, uint64_t va, uint64_t target, uint64_t flags)
{
	static const uint8_t zero[4096];
	struct qtest *q = pt->c->q;
	uint64_t table = pt->root;

	for (int level = RDU_PT_LEVELS - 1; level > 0; level--) {
		uint64_t index = va >> (RDU_PT_SHIFT + level * RDU_PT_BITS) & 511;
		uint64_t at = pt->c->mem + table + 8 * index;
		uint64_t entry = qtest_read(q, at, 8);

		if (!(entry & RDU_PTE_VALID)) {
			qtest_memwrite(q, pt->c->mem + pt->next, zero, sizeof(zero));
			entry = pt->next | RDU_PTE_VALID;
			qtest_write(q, at, entry, 8);
			pt->next += 4096;
		}
		table = entry & RDU_PTE_ADDR;
	}
	qtest_write(q, pt->c->mem + table + 8 * (va >> RDU_PT_SHIFT & 511),
		    target | flags | RDU_PTE_VALID, 8);
}
