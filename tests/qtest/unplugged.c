// SPDX-License-Identifier: MIT
/*
 * An interrupt is a write to an address of the guest's choice. Here it is that of
 * the slot's registers: the card's own interrupt takes the card out, while the card
 * is about to go on.
 */
#include <unistd.h>

#include "card.h"
#include "expect.h"

#define ECAM 0xb0000000ULL
#define PORT 5
#define BEHIND 32 /* bus 1, device 0 */
#define SLTCTL 0x18
#define POWERED_OFF 0x0700 /* power and its lamp: off */

/* What the card was doing. */
enum moment { RUNG, AT_WORK };

/* Buses, windows: the card behind the port can be reached. */
static void open_port(struct qtest *q)
{
	qtest_cfg_write(q, 0, 0x60, ECAM | 1, 4); /* q35's PCIEXBAR */
	qtest_cfg_write(q, PORT, 0x18, 0x010100, 4);
	qtest_cfg_write(q, PORT, 0x20, 0xe0f0e000, 4);
	qtest_cfg_write(q, PORT, 0x24, 0x00010001, 4); /* from 32 GiB on */
	qtest_cfg_write(q, PORT, 0x28, 0x8, 4);
	qtest_cfg_write(q, PORT, 0x2c, 0x8, 4);
	qtest_cfg_write(q, PORT, 0x04, 0x6, 2);
}

static void unplug(struct card *c, enum moment when)
{
	struct card port = { .q = c->q, .slot = PORT };
	uint64_t sltctl = ECAM + (PORT << 15) + card_find_cap(&port, 0x10) + SLTCTL;
	struct rdu_cmd cmd = { .op = RDU_OP_NOP, .seqno = 1 };
	uint64_t table;

	open_port(c->q);
	card_setup(c, c->q, BEHIND);
	EXPECT_EQ(card_read(c, RDU_REG_MAGIC), RDU_MAGIC);
	EXPECT(!(qtest_read(c->q, sltctl, 2) & 0x400));
	table = c->regs + (qtest_cfg_read(c->q, BEHIND, c->msix + 4, 4) & ~7u);
	card_enable(c);
	card_queue_setup(c, 0);
	card_submit(c, 0, &cmd);
	EXPECT(card_wait_seqno(c, 0, 1));
	usleep(20000); /* its thread sleeps again */

	qtest_write(c->q, table, sltctl, 4);
	qtest_write(c->q, table + 8, POWERED_OFF, 4);
	cmd.seqno = 2;
	cmd.flags = RDU_CMD_IRQ;
	if (when == AT_WORK) {
		cmd.op = RDU_OP_FILL;
		cmd.fill.len = 32 << 20;
	}
	card_submit(c, 0, &cmd);
	for (unsigned int n = 0; n < 10000 && qtest_alive(c->q); n++) {
		if (card_read(c, RDU_REG_MAGIC) != RDU_MAGIC)
			break;
		usleep(1000);
	}
	EXPECT(card_read(c, RDU_REG_MAGIC) != RDU_MAGIC);
	EXPECT_EQ(qtest_cfg_read(c->q, BEHIND, 0, 4), ~0u);
	EXPECT_EQ(qtest_read(c->q, GUEST_CPL(0), 8), 2);
}

void test_unplugged_by_interrupt(struct card *c)
{
	static const char *const args[] = {
		"-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
		"-device", "pcie-root-port,id=p,addr=5",
		"-device", "rdu,bus=p,mem-size=64M,threads=2",
		NULL,
	};

	(void)c;
	for (unsigned int when = RUNG; when <= AT_WORK && !*why; when++) {
		struct card own = { .q = card_machine(args) };

		unplug(&own, when);
		if (qtest_stop(own.q) && !*why)
			snprintf(why, sizeof(why), "QEMU did not outlive way %u", when);
	}
}
