// SPDX-License-Identifier: MIT
/*
 * The card as a guest's processor sees it: configuration space, registers,
 * doorbells, DMA, interrupts, resets, and whatever a hostile guest may write.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "card.h"
#include "expect.h"
#include "rdu/chip.h"

char why[256];

/* ---- PCI ------------------------------------------------------------------ */

static void test_pci_identity(struct card *c)
{
	EXPECT_EQ(qtest_cfg_read(c->q, c->slot, 0x00, 2), RDU_PCI_VENDOR);
	EXPECT_EQ(qtest_cfg_read(c->q, c->slot, 0x02, 2), RDU_PCI_DEVICE);
	EXPECT_EQ(qtest_cfg_read(c->q, c->slot, 0x0a, 2), RDU_PCI_CLASS);
}

static void test_pci_bars(struct card *c)
{
	EXPECT_EQ(card_bar_size(c, RDU_BAR_REGS), RDU_BAR0_SIZE);
	EXPECT_EQ(card_bar_size(c, RDU_BAR_DOORBELL), RDU_MAX_QUEUES * RDU_DOORBELL_STRIDE);
	EXPECT_EQ(card_bar_size(c, RDU_BAR_MEM), CARD_MEM);
	/* 64 bits, prefetchable */
	EXPECT_EQ(qtest_cfg_read(c->q, c->slot, 0x10 + 4 * RDU_BAR_MEM, 1) & 0xf, 0xc);
}

static void test_pci_capabilities(struct card *c)
{
	uint64_t ecam = 0xb0000000ULL;
	unsigned int pcie = card_find_cap(c, 0x10), at = 0x100, found = 0;

	EXPECT(pcie);
	EXPECT(card_find_cap(c, 0x01)); /* power management */
	EXPECT_EQ((qtest_cfg_read(c->q, c->slot, c->msix + 2, 2) & 0x7ff) + 1, RDU_NUM_VECTORS);
	EXPECT(qtest_cfg_read(c->q, c->slot, pcie + 4, 4) & 1u << 28); /* FLR */
	qtest_cfg_write(c->q, 0, 0x60, ecam | 1, 4); /* q35's PCIEXBAR */
	for (unsigned int n = 0; at && n < 16; n++) {
		uint32_t header = qtest_read(c->q, ecam + (c->slot << 15) + at, 4);

		found |= (header & 0xffff) == 0x0001; /* advanced error reporting */
		at = header >> 20;
	}
	EXPECT(found);
}

/* ---- registers ------------------------------------------------------------ */

static void test_identity_registers(struct card *c)
{
	char serial[17] = "";

	EXPECT_EQ(card_read(c, RDU_REG_MAGIC), RDU_MAGIC);
	EXPECT_EQ(card_read(c, RDU_REG_VERSION), RDU_INTERFACE_VERSION);
	EXPECT_EQ(card_read64(c, RDU_REG_MEM_SIZE_LO), CARD_MEM);
	EXPECT(card_read64(c, RDU_REG_CHIP_HASH_LO) != 0);
	EXPECT(card_read(c, RDU_REG_NUM_QUEUES) >= 2);
	EXPECT(card_read(c, RDU_REG_NUM_QUEUES) <= RDU_MAX_QUEUES);
	EXPECT_EQ(card_read(c, RDU_REG_CHIP_NAME), 0x30316e73); /* "sn10" */
	for (unsigned int i = 0; i < 16; i++)
		serial[i] = qtest_read(c->q, c->regs + RDU_REG_SERIAL + i / 4 * 4, 4) >> i % 4 * 8;
	EXPECT(!strcmp(serial, "QTEST"));
	EXPECT_EQ(card_read(c, RDU_REG_CHIP), 4); /* tiles of sn10 */
	EXPECT(card_read(c, RDU_REG_STATUS) & RDU_STATUS_READY);
}

static void test_read_only_registers(struct card *c)
{
	uint64_t hash = card_read64(c, RDU_REG_CHIP_HASH_LO);

	card_write(c, RDU_REG_MAGIC, 0);
	card_write64(c, RDU_REG_CHIP_HASH_LO, 0);
	card_write(c, RDU_REG_CHIP, 99);
	card_write(c, RDU_REG_QUEUE(1) + RDU_REG_Q_HEAD, 7);
	EXPECT_EQ(card_read(c, RDU_REG_MAGIC), RDU_MAGIC);
	EXPECT_EQ(card_read64(c, RDU_REG_CHIP_HASH_LO), hash);
	EXPECT_EQ(card_read(c, RDU_REG_CHIP), 4);
	EXPECT_EQ(card_read(c, RDU_REG_QUEUE(1) + RDU_REG_Q_HEAD), 0);
}

static void test_register_access_sizes(struct card *c)
{
	uint32_t base = RDU_REG_QUEUE(1) + RDU_REG_Q_RING_LO;

	EXPECT_EQ(qtest_read(c->q, c->regs + RDU_REG_MEM_SIZE_LO - 4, 8) & 0xffffffff,
		  card_read(c, RDU_REG_NUM_QUEUES));
	qtest_write(c->q, c->regs + base, 0x123456789a000ULL, 8);
	EXPECT_EQ(card_read64(c, base), 0x123456789a000ULL);
	EXPECT_EQ(qtest_read(c->q, c->regs + base, 8), 0x123456789a000ULL);
	/* Reserved: reads as zero, ignores writes. */
	card_write(c, RDU_BAR0_SIZE / 2 - 4, ~0u);
	EXPECT_EQ(card_read(c, RDU_BAR0_SIZE / 2 - 4), 0);
	qtest_write(c->q, c->regs + RDU_REG_CTRL + 1, 0xff, 2);
	EXPECT_EQ(card_read(c, RDU_REG_MAGIC), RDU_MAGIC);
}

static void test_card_memory_window(struct card *c)
{
	uint8_t out[256], in[256];

	for (unsigned int i = 0; i < sizeof(out); i++)
		out[i] = i * 7;
	qtest_memwrite(c->q, c->mem + CARD_MEM - sizeof(out), out, sizeof(out));
	qtest_memread(c->q, c->mem + CARD_MEM - sizeof(in), in, sizeof(in));
	EXPECT(!memcmp(in, out, sizeof(in)));
}

/* ---- queues --------------------------------------------------------------- */

static struct rdu_cmd nop(uint64_t seqno)
{
	return (struct rdu_cmd){ .op = RDU_OP_NOP, .flags = RDU_CMD_IRQ, .seqno = seqno };
}

static void test_nop_completes(struct card *c)
{
	struct rdu_cmd cmd = nop(41);

	card_enable(c);
	card_queue_setup(c, 1);
	card_submit(c, 1, &cmd);
	EXPECT(card_wait_seqno(c, 1, 41));
	EXPECT(card_wait_msi(c, 1));
	EXPECT(card_wait_status(c, 1, RDU_QUEUE_IDLE));
	EXPECT_EQ(card_read(c, RDU_REG_QUEUE(1) + RDU_REG_Q_HEAD), 1);
}

static void test_no_interrupt_unasked(struct card *c)
{
	struct rdu_cmd cmd = nop(1);

	cmd.flags = 0;
	card_enable(c);
	card_queue_setup(c, 1);
	card_submit(c, 1, &cmd);
	EXPECT(card_wait_seqno(c, 1, 1));
	cmd = nop(2);
	card_queue_setup(c, 2);
	card_submit(c, 2, &cmd);
	EXPECT(card_wait_msi(c, 2));
	EXPECT_EQ(qtest_read(c->q, GUEST_MSI(1), 4), 0);
}

static void test_ring_wraps(struct card *c)
{
	card_enable(c);
	card_queue_setup(c, 1);
	for (unsigned int i = 1; i <= 5u << RING_LOG2; i++) {
		struct rdu_cmd cmd = nop(i);

		card_submit(c, 1, &cmd);
		if (i % ((1u << RING_LOG2) - 1) == 0)
			EXPECT(card_wait_seqno(c, 1, i));
	}
	EXPECT(card_wait_seqno(c, 1, 5u << RING_LOG2));
}

static void test_all_queues(struct card *c)
{
	unsigned int queues = card_read(c, RDU_REG_NUM_QUEUES);

	card_enable(c);
	for (unsigned int i = 0; i < queues; i++) {
		struct rdu_cmd cmd = nop(100 + i);

		card_queue_setup(c, i);
		card_submit(c, i, &cmd);
	}
	for (unsigned int i = 0; i < queues; i++) {
		EXPECT(card_wait_seqno(c, i, 100 + i));
		EXPECT(card_wait_msi(c, i));
	}
}

/* ---- DMA ------------------------------------------------------------------ */

#define VA_HOST_IN 0x10000000ULL
#define VA_CARD 0x20000000ULL
#define VA_HOST_OUT 0x7f0000000000ULL
#define GUEST_IN 0x2000000ULL
#define GUEST_OUT 0x2100000ULL
#define CARD_BUF 0x200000ULL
#define PAGES 3

/* Queue 1 with pages that are not neighbours in host memory. */
static void map_buffers(struct card *c)
{
	struct page_table pt;

	pt_init(&pt, c, 0x10000);
	for (unsigned int i = 0; i < PAGES; i++) {
		pt_map(&pt, VA_HOST_IN + i * 4096, GUEST_IN + (PAGES - i) * 8192, RDU_PTE_HOST);
		pt_map(&pt, VA_CARD + i * 4096, CARD_BUF + i * 4096, RDU_PTE_WRITE);
		pt_map(&pt, VA_HOST_OUT + i * 4096, GUEST_OUT + i * 8192,
		       RDU_PTE_HOST | RDU_PTE_WRITE);
	}
	card_enable(c);
	card_write64(c, RDU_REG_QUEUE(1) + RDU_REG_Q_PT_LO, 0x10000);
	card_queue_setup(c, 1);
}

static struct rdu_cmd copy(uint64_t seqno, uint64_t dst, uint64_t src, uint64_t len)
{
	return (struct rdu_cmd){ .op = RDU_OP_COPY,
				 .flags = RDU_CMD_IRQ,
				 .seqno = seqno,
				 .copy = { .src = src, .dst = dst, .len = len } };
}

static void test_copy_there_and_back(struct card *c)
{
	uint8_t out[PAGES][4096], in[PAGES][4096];
	struct rdu_cmd cmd;

	map_buffers(c);
	for (unsigned int i = 0; i < sizeof(out); i++)
		out[i / 4096][i % 4096] = i * 31 + i / 256;
	for (unsigned int i = 0; i < PAGES; i++)
		qtest_memwrite(c->q, GUEST_IN + (PAGES - i) * 8192, out[i], 4096);

	cmd = copy(1, VA_CARD, VA_HOST_IN, sizeof(out));
	card_submit(c, 1, &cmd);
	cmd = copy(2, VA_HOST_OUT + 5, VA_CARD + 5, sizeof(out) - 9);
	card_submit(c, 1, &cmd);
	EXPECT(card_wait_seqno(c, 1, 2));
	qtest_memread(c->q, c->mem + CARD_BUF, in, sizeof(in));
	EXPECT(!memcmp(in, out, sizeof(in)));
	for (unsigned int i = 0; i < PAGES; i++)
		qtest_memread(c->q, GUEST_OUT + i * 8192, in[i], 4096);
	EXPECT(!memcmp((uint8_t *)in + 5, (uint8_t *)out + 5, sizeof(in) - 9));
	for (unsigned int i = 0; i < 5; i++)
		EXPECT_EQ(in[0][i], 0); /* not asked for */
	EXPECT_EQ(in[PAGES - 1][4095], 0);
}

static void test_fill_and_timestamp(struct card *c)
{
	struct rdu_cmd cmd = { .op = RDU_OP_FILL,
			       .seqno = 1,
			       .fill = { .dst = VA_CARD + 8, .len = 64, .value = 0xdeadbeef } };

	map_buffers(c);
	card_submit(c, 1, &cmd);
	cmd = (struct rdu_cmd){ .op = RDU_OP_TIMESTAMP, .seqno = 2, .copy.dst = VA_HOST_OUT };
	card_submit(c, 1, &cmd);
	EXPECT(card_wait_seqno(c, 1, 2));
	EXPECT_EQ(qtest_read(c->q, c->mem + CARD_BUF + 4, 4), 0);
	EXPECT_EQ(qtest_read(c->q, c->mem + CARD_BUF + 8, 4), 0xdeadbeef);
	EXPECT_EQ(qtest_read(c->q, c->mem + CARD_BUF + 68, 4), 0xdeadbeef);
	EXPECT_EQ(qtest_read(c->q, c->mem + CARD_BUF + 72, 4), 0);
	EXPECT(qtest_read(c->q, GUEST_OUT, 8) != 0);
}

/* The command fails: queue 1 stops, says so, and another queue goes on. */
static void faults_with(struct card *c, struct rdu_cmd cmd, uint32_t code)
{
	uint32_t base = RDU_REG_QUEUE(1);
	struct rdu_cmd other = nop(9);

	card_submit(c, 1, &cmd);
	EXPECT(card_wait_status(c, 1, RDU_QUEUE_FAULTED));
	EXPECT_EQ(card_read(c, base + RDU_REG_Q_FAULT_CODE), code);
	EXPECT_EQ(card_read64(c, base + RDU_REG_Q_FAULT_SEQ_LO), cmd.seqno);
	EXPECT(card_wait_msi(c, RDU_VECTOR_FAULT));
	EXPECT(card_read64(c, RDU_REG_FAULT_QUEUES_LO) & 2);
	EXPECT(card_read(c, RDU_REG_STATUS) & RDU_STATUS_FAULT);
	EXPECT_EQ(qtest_read(c->q, GUEST_CPL(1), 8), 0);

	card_queue_setup(c, 2);
	card_submit(c, 2, &other);
	EXPECT(card_wait_seqno(c, 2, 9));

	/* A queue reset brings it back. */
	card_write(c, base + RDU_REG_Q_CTRL, 2);
	EXPECT(card_wait_status(c, 1, RDU_QUEUE_DISABLED));
	EXPECT_EQ(card_read(c, base + RDU_REG_Q_FAULT_CODE), 0);
	card_queue_setup(c, 1);
	other = nop(10);
	card_submit(c, 1, &other);
	EXPECT(card_wait_seqno(c, 1, 10));
}

static void test_fault_unmapped(struct card *c)
{
	map_buffers(c);
	faults_with(c, copy(3, VA_CARD + PAGES * 4096, VA_HOST_IN, 64), RDU_FAULT_PAGE);
}

static void test_fault_read_only(struct card *c)
{
	map_buffers(c);
	faults_with(c, copy(4, VA_HOST_IN, VA_CARD, 64), RDU_FAULT_PROTECTION);
}

static void test_fault_bad_command(struct card *c)
{
	struct rdu_cmd cmd = nop(5);

	cmd.op = 200;
	map_buffers(c);
	faults_with(c, cmd, RDU_FAULT_BAD_COMMAND);
}

static void test_fault_reserved_field(struct card *c)
{
	struct rdu_cmd cmd = nop(6);

	cmd.zero = 1;
	map_buffers(c);
	faults_with(c, cmd, RDU_FAULT_BAD_COMMAND);
}

static void test_fault_admin_command(struct card *c)
{
	struct rdu_cmd cmd = nop(7);

	cmd.op = RDU_OP_PROG_UNLOAD;
	map_buffers(c);
	faults_with(c, cmd, RDU_FAULT_BAD_COMMAND);
}

static void test_fault_no_memory_there(struct card *c)
{
	struct page_table pt;

	map_buffers(c);
	pt_init(&pt, c, 0x40000);
	pt_map(&pt, VA_HOST_IN, 0x4000000000ULL, RDU_PTE_HOST);
	pt_map(&pt, VA_CARD, CARD_BUF, RDU_PTE_WRITE);
	card_write(c, RDU_REG_QUEUE(1) + RDU_REG_Q_CTRL, 0);
	card_write64(c, RDU_REG_QUEUE(1) + RDU_REG_Q_PT_LO, 0x40000);
	card_queue_setup(c, 1);
	faults_with(c, copy(8, VA_CARD, VA_HOST_IN, 64), RDU_FAULT_HOST_BUS);
}

/* DMA to registers, its own and the interrupt controller's, is refused. */
static void test_fault_dma_to_registers(struct card *c)
{
	struct page_table pt;

	map_buffers(c);
	pt_init(&pt, c, 0x40000);
	pt_map(&pt, VA_HOST_OUT, c->regs, RDU_PTE_HOST | RDU_PTE_WRITE);
	pt_map(&pt, VA_CARD, CARD_BUF, RDU_PTE_WRITE);
	card_write(c, RDU_REG_QUEUE(1) + RDU_REG_Q_CTRL, 0);
	card_write64(c, RDU_REG_QUEUE(1) + RDU_REG_Q_PT_LO, 0x40000);
	card_queue_setup(c, 1);
	faults_with(c, copy(8, VA_HOST_OUT, VA_CARD, 64), RDU_FAULT_HOST_BUS);
}

/* Its own window is RAM like any other: the card may reach its memory that way. */
static void test_own_window(struct card *c)
{
	struct page_table pt;
	uint8_t out[4000], in[4000];
	struct rdu_cmd cmd;

	for (unsigned int i = 0; i < sizeof(out); i++)
		out[i] = i * 31 + i / 256;
	map_buffers(c);
	pt_init(&pt, c, 0x40000);
	pt_map(&pt, VA_HOST_OUT, c->mem + CARD_BUF, RDU_PTE_HOST | RDU_PTE_WRITE);
	pt_map(&pt, VA_CARD, CARD_BUF, RDU_PTE_WRITE);
	card_write(c, RDU_REG_QUEUE(1) + RDU_REG_Q_CTRL, 0);
	card_write64(c, RDU_REG_QUEUE(1) + RDU_REG_Q_PT_LO, 0x40000);
	card_queue_setup(c, 1);
	for (unsigned int i = 0; i < 2; i++) { /* out of the window, then into it */
		qtest_memwrite(c->q, c->mem + CARD_BUF, out, sizeof(out));
		cmd = i ? copy(i + 1, VA_HOST_OUT + 64, VA_CARD, sizeof(out))
			: copy(i + 1, VA_CARD + 64, VA_HOST_OUT, sizeof(out));
		card_submit(c, 1, &cmd);
		EXPECT(card_wait_seqno(c, 1, i + 1));
		qtest_memread(c->q, c->mem + CARD_BUF + 64, in, sizeof(in));
		EXPECT(!memcmp(in, out, sizeof(in)));
	}
}

static void test_bus_master_off(struct card *c)
{
	struct rdu_cmd cmd = nop(1);

	card_enable(c);
	card_queue_setup(c, 1);
	qtest_cfg_write(c->q, c->slot, 0x04, 0x2, 2);
	qtest_memwrite(c->q, GUEST_RING(1), &cmd, sizeof(cmd));
	qtest_write(c->q, c->doorbells + RDU_DOORBELL_STRIDE, 1, 4);
	EXPECT(card_wait_status(c, 1, RDU_QUEUE_FAULTED));
	EXPECT_EQ(card_read(c, RDU_REG_QUEUE(1) + RDU_REG_Q_FAULT_CODE), RDU_FAULT_BAD_RING);
	EXPECT_EQ(qtest_read(c->q, GUEST_CPL(1), 8), 0);
}

/* ---- resets --------------------------------------------------------------- */

static void is_as_new(struct card *c)
{
	uint32_t base = RDU_REG_QUEUE(1);

	EXPECT_EQ(card_read(c, RDU_REG_MAGIC), RDU_MAGIC);
	EXPECT_EQ(card_read(c, RDU_REG_CTRL), 0);
	EXPECT(card_read(c, RDU_REG_STATUS) & RDU_STATUS_READY);
	EXPECT_EQ(card_read(c, base + RDU_REG_Q_CTRL), 0);
	EXPECT_EQ(card_read(c, base + RDU_REG_Q_STATUS), RDU_QUEUE_DISABLED);
	EXPECT_EQ(card_read64(c, base + RDU_REG_Q_RING_LO), 0);
	EXPECT_EQ(card_read64(c, base + RDU_REG_Q_CPL_LO), 0);
	EXPECT_EQ(card_read(c, base + RDU_REG_Q_HEAD), 0);
	EXPECT_EQ(card_read64(c, base + RDU_REG_Q_PT_LO), 0);
	EXPECT_EQ(card_read64(c, RDU_REG_FAULT_QUEUES_LO), 0);
}

static void work_then(struct card *c)
{
	struct rdu_cmd cmd = copy(1, VA_CARD, VA_HOST_IN, PAGES * 4096);

	map_buffers(c);
	qtest_write(c->q, GUEST_IN + PAGES * 8192, 0x1122334455667788ULL, 8);
	card_submit(c, 1, &cmd);
	EXPECT(card_wait_seqno(c, 1, 1));
	cmd.op = 200;
	card_submit(c, 1, &cmd);
	EXPECT(card_wait_status(c, 1, RDU_QUEUE_FAULTED));
}

static void works_again(struct card *c)
{
	EXPECT_EQ(qtest_read(c->q, c->mem + CARD_BUF, 8), 0x1122334455667788ULL);
	test_copy_there_and_back(c);
}

static void test_register_reset(struct card *c)
{
	work_then(c);
	if (*why)
		return;
	card_write(c, RDU_REG_CTRL, RDU_CTRL_RESET);
	for (unsigned int n = 0; n < 100000 && card_read(c, RDU_REG_STATUS) & RDU_STATUS_RESET;)
		n++;
	is_as_new(c);
	if (!*why)
		works_again(c);
}

static void test_function_level_reset(struct card *c)
{
	unsigned int pcie = card_find_cap(c, 0x10);

	work_then(c);
	if (*why)
		return;
	qtest_cfg_write(c->q, c->slot, pcie + 8, 0x8000, 2);
	EXPECT_EQ(qtest_cfg_read(c->q, c->slot, 0x04, 2) & 7, 0);
	EXPECT_EQ(qtest_cfg_read(c->q, c->slot, c->msix + 2, 2) & 0x8000, 0);
	card_setup(c, c->q, c->slot);
	is_as_new(c);
	if (!*why)
		works_again(c);
}

/* Reset in the middle of a long run of work. */
static void test_reset_while_busy(struct card *c)
{
	for (unsigned int round = 0; round < 20; round++) {
		map_buffers(c);
		for (unsigned int i = 0; i < (1u << RING_LOG2) - 1; i++) {
			struct rdu_cmd cmd = copy(i + 1, VA_CARD, VA_HOST_IN, PAGES * 4096);

			card_submit(c, 1, &cmd);
		}
		card_write(c, RDU_REG_CTRL, RDU_CTRL_RESET);
		for (unsigned int n = 0;
		     n < 100000 && card_read(c, RDU_REG_STATUS) & RDU_STATUS_RESET;)
			n++;
		is_as_new(c);
		if (*why)
			return;
	}
	test_copy_there_and_back(c);
}

/* ---- a card that does not answer ------------------------------------------ */

#define SILENT 5 /* where a second card is put */

static void is_silent(struct card *c)
{
	EXPECT_EQ(card_read(c, RDU_REG_MAGIC), ~0u);
	EXPECT_EQ(qtest_read(c->q, c->regs + 0x8000, 4), ~0u); /* MSI-X table */
	EXPECT_EQ(qtest_read(c->q, c->doorbells, 4), ~0u);
	qtest_write(c->q, c->mem, 0x1234, 8);
	EXPECT_EQ(qtest_read(c->q, c->mem, 8), ~0ULL);
}

static void test_fault_dead(struct card *c)
{
	struct card dead;

	card_setup(&dead, c->q, SILENT);
	test_pci_identity(&dead);
	is_silent(&dead);
	if (!*why)
		test_nop_completes(c);
}

static void test_fault_gone(struct card *c)
{
	EXPECT_EQ(qtest_cfg_read(c->q, SILENT, 0, 4), ~0u);
	EXPECT_EQ(qtest_cfg_read(c->q, SILENT, 0x0a, 2), 0xffff);
	test_nop_completes(c);
}

/* A reset of the queue does not help; one of the function does. */
static void test_fault_stuck(struct card *c)
{
	uint32_t base = RDU_REG_QUEUE(1);
	unsigned int pcie = card_find_cap(c, 0x10);
	struct card stuck;
	struct rdu_cmd cmd = nop(1);

	card_setup(&stuck, c->q, SILENT);
	card_enable(&stuck);
	card_queue_setup(&stuck, 1);
	card_submit(&stuck, 1, &cmd);
	EXPECT(card_wait_status(&stuck, 1, RDU_QUEUE_RUNNING));
	card_write(&stuck, base + RDU_REG_Q_CTRL, 2);
	for (unsigned int n = 0; n < 100; n++)
		EXPECT(card_read(&stuck, base + RDU_REG_Q_CTRL) & 2);
	EXPECT_EQ(qtest_read(c->q, GUEST_CPL(1), 8), 0);
	qtest_cfg_write(c->q, SILENT, pcie + 8, 0x8000, 2);
	card_setup(&stuck, c->q, SILENT);
	is_as_new(&stuck);
	if (!*why)
		test_nop_completes(&stuck);
}

static void set_power(struct card *c, unsigned int state)
{
	qtest_cfg_write(c->q, c->slot, card_find_cap(c, 0x01) + 4, state, 2);
}

static void test_d3hot(struct card *c)
{
	unsigned int pm = card_find_cap(c, 0x01), pcie = card_find_cap(c, 0x10);

	work_then(c);
	if (*why)
		return;
	set_power(c, 1); /* there is no D1 */
	EXPECT_EQ(qtest_cfg_read(c->q, c->slot, pm + 4, 2) & 3, 0);
	set_power(c, 3);
	is_silent(c);
	set_power(c, 2); /* nor D2 */
	EXPECT_EQ(qtest_cfg_read(c->q, c->slot, pm + 4, 2) & 3, 3);
	if (*why)
		return;
	set_power(c, 0);
	EXPECT_EQ(card_read(c, RDU_REG_QUEUE(1) + RDU_REG_Q_STATUS), RDU_QUEUE_FAULTED);
	EXPECT_EQ(qtest_read(c->q, c->mem + CARD_BUF, 8), 0x1122334455667788ULL);
	set_power(c, 3);
	qtest_cfg_write(c->q, c->slot, pcie + 8, 0x8000, 2);
	EXPECT_EQ(qtest_cfg_read(c->q, c->slot, pm + 4, 2) & 3, 0);
	card_setup(c, c->q, c->slot);
	is_as_new(c);
	if (!*why)
		works_again(c);
}

/* ---- a hostile guest ------------------------------------------------------- */

static uint64_t random_state;

static uint32_t random_bits(void)
{
	random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return random_state >> 33;
}

static void random_accesses(struct card *c, uint64_t seed, bool enabled)
{
	static const uint64_t interesting[] = {
		0, 1, ~0ULL, 0x100000, 0xfffffff8ULL, 1ULL << 47, 1ULL << 63, 64
	};
	const uint64_t base[] = { c->regs, c->doorbells, c->mem };
	const uint64_t size[] = { RDU_BAR0_SIZE, RDU_MAX_QUEUES * RDU_DOORBELL_STRIDE, 1 << 20 };

	random_state = seed;
	if (enabled)
		card_enable(c);
	for (unsigned int i = 0; i < 4000; i++) {
		unsigned int what = random_bits() % 8, bytes = 1u << random_bits() % 4;
		unsigned int bar = what < 5 ? 0 : what < 7 ? 1 : 2;
		uint64_t range = bar == 0 && what < 4 ? 0x3000 : size[bar];
		uint64_t at = base[bar] + random_bits() % (range - 8);
		uint64_t value = (uint64_t)random_bits() << 32 | random_bits();

		if (random_bits() % 4)
			at &= ~(uint64_t)(bytes - 1);
		if (random_bits() % 2)
			value = interesting[random_bits() % 8];
		if (bar == 1)
			at &= ~0xff8ULL; /* near the start of its page */
		/* Leave the MSI messages where they are: QEMU delivers them anywhere. */
		if (bar == 0 && at - c->regs >= RDU_BAR0_SIZE / 2 - 8)
			continue;
		if (random_bits() % 3)
			qtest_write(c->q, at, value, bytes);
		else
			qtest_read(c->q, at, bytes);
		if (i % 500 == 0)
			EXPECT_EQ(card_read(c, RDU_REG_MAGIC), RDU_MAGIC);
	}
	card_write(c, RDU_REG_CTRL, RDU_CTRL_RESET);
	for (unsigned int n = 0; n < 100000 && card_read(c, RDU_REG_STATUS) & RDU_STATUS_RESET;)
		n++;
	test_nop_completes(c);
}

static void test_random_accesses(struct card *c)
{
	for (uint64_t seed = 1; seed <= 6 && !*why; seed++)
		random_accesses(c, seed, seed & 1);
}

static void test_random_commands(struct card *c)
{
	unsigned int queues = card_read(c, RDU_REG_NUM_QUEUES);

	random_state = 7;
	map_buffers(c);
	for (unsigned int i = 0; i < 2000; i++) {
		unsigned int queue = random_bits() % 3;
		struct rdu_cmd cmd;
		uint32_t *words = (uint32_t *)&cmd;

		for (unsigned int w = 0; w < sizeof(cmd) / 4; w++)
			words[w] = random_bits() % 3 ? 0 : random_bits();
		cmd.op = random_bits() % 2 ? random_bits() % 8 : 64 + random_bits() % 2;
		cmd.flags &= random_bits() % 4 ? 1 : 0xff;
		cmd.zero = random_bits() % 8 ? 0 : 1;
		if (random_bits() % 2)
			cmd.raw[0] = random_bits() % 2 ? VA_CARD : VA_HOST_IN;
		if (random_bits() % 2)
			cmd.raw[1] = random_bits() % 2 ? VA_CARD : VA_HOST_OUT;
		if (random_bits() % 2)
			cmd.raw[2] = random_bits() % 8192;
		if (queue != 1 && queue < queues)
			card_write64(c, RDU_REG_QUEUE(queue) + RDU_REG_Q_PT_LO, 0x10000);
		if (card_read(c, RDU_REG_QUEUE(queue) + RDU_REG_Q_STATUS) != RDU_QUEUE_IDLE) {
			card_write(c, RDU_REG_QUEUE(queue) + RDU_REG_Q_CTRL, 2);
			EXPECT(card_wait_status(c, queue, RDU_QUEUE_DISABLED));
			card_queue_setup(c, queue);
		}
		card_submit(c, queue, &cmd);
	}
	card_write(c, RDU_REG_CTRL, RDU_CTRL_RESET);
	for (unsigned int n = 0; n < 100000 && card_read(c, RDU_REG_STATUS) & RDU_STATUS_RESET;)
		n++;
	test_copy_there_and_back(c);
}

/* ---- more than one card --------------------------------------------------- */

static void test_two_cards(struct card *c)
{
	struct card second;
	struct rdu_cmd cmd = nop(77);

	card_setup(&second, c->q, 5);
	EXPECT_EQ(card_read(&second, RDU_REG_MAGIC), RDU_MAGIC);
	EXPECT_EQ(card_read(&second, RDU_REG_CHIP_NAME), 0x73616c70); /* "plas" */
	EXPECT_EQ(card_read(&second, RDU_REG_CHIP), 1);
	EXPECT(card_read64(&second, RDU_REG_CHIP_HASH_LO) != card_read64(c, RDU_REG_CHIP_HASH_LO));
	card_enable(&second);
	card_queue_setup(&second, 1);
	card_submit(&second, 1, &cmd);
	EXPECT(card_wait_seqno(&second, 1, 77));
	EXPECT_EQ(card_read(c, RDU_REG_CTRL), 0);
}

/* ---- running them --------------------------------------------------------- */

struct test {
	const char *name;
	void (*run)(struct card *c);
	const char *args[5];
};

#define TEST(name, ...)             \
	{                           \
#name, test_##name, \
		{                   \
			__VA_ARGS__ \
		}                   \
	}

static const struct test tests[] = {
	TEST(pci_identity),
	TEST(pci_bars),
	TEST(pci_capabilities),
	TEST(identity_registers),
	TEST(read_only_registers),
	TEST(register_access_sizes),
	TEST(card_memory_window),
	TEST(nop_completes),
	TEST(no_interrupt_unasked),
	TEST(ring_wraps),
	TEST(all_queues),
	TEST(copy_there_and_back),
	TEST(fill_and_timestamp),
	TEST(fault_unmapped),
	TEST(fault_read_only),
	TEST(fault_bad_command),
	TEST(fault_reserved_field),
	TEST(fault_admin_command),
	TEST(fault_no_memory_there),
	TEST(fault_dma_to_registers),
	TEST(own_window),
	TEST(bus_master_off),
	TEST(register_reset),
	TEST(function_level_reset),
	TEST(reset_while_busy),
	TEST(fault_dead, "-device", "rdu,addr=5,mem-size=64M,fault-dead=on"),
	TEST(fault_gone, "-device", "rdu,addr=5,mem-size=64M,fault-gone=on"),
	TEST(fault_stuck, "-device", "rdu,addr=5,mem-size=64M,fault-stuck=1"),
	TEST(d3hot),
	TEST(unplugged_by_interrupt),
	TEST(moved_at_work),
	TEST(moved_in_d3hot),
	TEST(moved_dead),
	TEST(moved_to_another_card),
	TEST(moved_damaged),
	TEST(random_accesses),
	TEST(random_commands),
	TEST(memory_backend, "-object", "memory-backend-memfd,id=m,size=32M,share=on", "-device",
	     "rdu,addr=5,memdev=m"),
	TEST(odd_memory_size, "-device", "rdu,addr=5,mem-size=24M"),
	TEST(huge_memory, "-device", "rdu,addr=5,mem-size=1536G"),
	TEST(bad_properties),
	TEST(file_kept),
	TEST(trace_events),
	TEST(two_cards, "-device", "rdu,addr=5,chip=plasticine,mem-size=16M"),
};

int main(int argc, char **argv)
{
	unsigned int failed = 0, number = 0;

	printf("TAP version 13\n1..%zu\n", sizeof(tests) / sizeof(*tests));
	for (const struct test *t = tests; t < tests + sizeof(tests) / sizeof(*tests); t++) {
		struct card c;
		struct qtest *q;
		int end;

		number++;
		if (argc > 1 && strcmp(argv[1], t->name)) {
			printf("ok %u - qtest.%s # SKIP not asked for\n", number, t->name);
			continue;
		}
		why[0] = 0;
		q = card_machine(t->args);
		card_setup(&c, q, 4);
		t->run(&c);
		if (!*why && !qtest_alive(q))
			snprintf(why, sizeof(why), "QEMU is gone");
		end = qtest_stop(q);
		if (end) {
			size_t used = strlen(why);

			snprintf(why + used, sizeof(why) - used, "%sQEMU ended with %d",
				 used ? "; " : "", end);
		}
		printf("%sok %u - qtest.%s\n", *why ? "not " : "", number, t->name);
		if (*why)
			printf("# %s\n", why);
		fflush(stdout);
		failed += *why != 0;
	}
	return failed ? 1 : 0;
}
