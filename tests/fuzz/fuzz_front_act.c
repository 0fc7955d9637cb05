// SPDX-License-Identifier: MIT
/* What is done to the card, by two threads. */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fuzz_front.h"

/* ---- the second thread ---------------------------------------------------- */

atomic_bool racing;
struct rnd racer_rnd;

void *racer(void *unused)
{
	struct rnd *r = &racer_rnd;

	while (racing) {
		struct rdu_cmd c;
		unsigned int queue = 1 + below(r, QUEUES - 1);

		switch (below(r, 4)) {
		case 0:
			c = command(r, queue);
			memcpy(ram + RING(queue) + below(r, 64) * 64, &c, sizeof(c));
			break;
		case 1:
			change_image(r);
			break;
		default:
			change_tables(r);
		}
		if (one_in(r, 8))
			usleep(below(r, 100));
	}
	return unused;
}

/* ---- what is done to the card --------------------------------------------- */

void poke(uint64_t at, uint64_t value, unsigned int size)
{
	say("write%u %#" PRIx64 " %#" PRIx64, 8 * size, at, value);
	qtest_write(q, at, value, size);
}

static void peek(uint64_t at, unsigned int size)
{
	say("read%u %#" PRIx64, 8 * size, at);
	qtest_read(q, at, size);
}

static unsigned int any_size(struct rnd *r)
{
	return one_in(r, 3) ? 1u << below(r, 4) : 4;
}

/* An offset below `end`, aligned most of the time, not beyond the end. */
static uint64_t any_offset(struct rnd *r, uint32_t end, unsigned int size)
{
	uint64_t at = below(r, end - size + 1);

	return one_in(r, 6) ? at : at & ~(uint64_t)(size - 1);
}

/* Registers that would lead the card elsewhere: ring, completion, tables. */
static bool leads_away(uint64_t at, unsigned int size)
{
	uint64_t in = at % RDU_QUEUE_STRIDE;

	return at + size > RDU_QUEUE_BASE && in + size > RDU_REG_Q_RING_LO &&
	       in <= RDU_REG_Q_PT_HI + 3;
}

static void act_register(struct rnd *r)
{
	unsigned int size = any_size(r);
	uint64_t at = any_offset(r, one_in(r, 8) ? 0x8000 : RDU_REG_QUEUE(QUEUES), size);

	if (one_in(r, 4))
		peek(card.regs + at, size);
	else if (wild || !leads_away(at, size))
		poke(card.regs + at, number(r), size);
}

static void act_doorbell(struct rnd *r)
{
	unsigned int size = any_size(r);
	uint64_t at = any_offset(r, RDU_MAX_QUEUES * RDU_DOORBELL_STRIDE, size);

	if (one_in(r, 2))
		at = (1 + below(r, QUEUES - 1)) * RDU_DOORBELL_STRIDE;
	if (one_in(r, 8))
		peek(card.doorbells + at, size);
	else if (wild || at >= RDU_DOORBELL_STRIDE)
		poke(card.doorbells + at, one_in(r, 2) ? below(r, 80) : number(r), size);
}

/* Messages may go anywhere that a guest may point them to. */
static void act_msix(struct rnd *r)
{
	unsigned int size = any_size(r), vector = below(r, RDU_NUM_VECTORS);
	uint64_t at = card.regs + 0x8000, to = MSI(vector);

	if (wild || one_in(r, 4)) {
		at += any_offset(r, 0x8000, size);
		if (wild)
			poke(at, number(r), size);
		else
			peek(at, size);
		return;
	}
	switch (below(r, 4)) {
	case 0:
		to = 0xfee00000 | below(r, 0x100000);
		break;
	case 1: /* its own doorbells, by way of the interrupt */
		to = card.doorbells + (1 + below(r, 63)) * 4096;
		break;
	case 2: /* and registers */
		to = card.regs + below(r, 0x1000);
		break;
	}
	poke(at + 16 * vector, to, 4);
	poke(at + 16 * vector + 4, 0, 4);
	poke(at + 16 * vector + 8, number(r), 4);
	poke(at + 16 * vector + 12, below(r, 2), 4);
	if (one_in(r, 4)) /* function mask */
		qtest_cfg_write(q, SLOT, card.msix + 2, 0x8000 | below(r, 2) << 14, 2);
}

static void act_config(struct rnd *r)
{
	unsigned int size = 1u << below(r, 3);
	uint64_t at = any_offset(r, one_in(r, 3) ? 0x1000 : 0x100, size);
	bool bars = at + size > 0x10 && at < 0x34;

	if (at + size > 0x100 || one_in(r, 4)) {
		if (wild || !bars)
			one_in(r, 3) ? peek(ECAM + (SLOT << 15) + at, size)
				     : poke(ECAM + (SLOT << 15) + at, number(r), size);
	} else if (one_in(r, 3)) {
		qtest_cfg_read(q, SLOT, at, size);
	} else if (wild || !bars) {
		uint32_t v = number(r);

		say("config %#" PRIx64 " %#x", at, v);
		qtest_cfg_write(q, SLOT, at, v, size);
	}
}

static void act_memory(struct rnd *r)
{
	unsigned int size = any_size(r);
	uint64_t at = one_in(r, 8) ? MEM - below(r, 16) : DATA + below(r, MEM - DATA);

	one_in(r, 2) ? peek(card.mem + at, size) : poke(card.mem + at, bits(r), size);
}

static void act_submit(struct rnd *r)
{
	unsigned int queue = below(r, QUEUES), n = 1 + below(r, 6);

	while (n--) {
		struct rdu_cmd c = command(r, queue);

		say("queue %u: op %u slot %u %#llx %#llx %#llx %#llx %#llx", queue, c.op, c.slot,
		    c.raw[0], c.raw[1], c.raw[2], c.raw[3], c.raw[4]);
		memcpy(ram + RING(queue) + (tail[queue]++ & 63) * sizeof(c), &c, sizeof(c));
	}
	poke(card.doorbells + queue * RDU_DOORBELL_STRIDE, tail[queue], 4);
}

void enable(struct rnd *r, unsigned int queue)
{
	uint64_t base = card.regs + RDU_REG_QUEUE(queue);
	bool odd = queue && one_in(r, 8);

	poke(base + RDU_REG_Q_RING_LO, odd ? host_page(r) + near_page(r) : RING(queue), 8);
	poke(base + RDU_REG_Q_RING_LOG2, odd ? below(r, 18) : ENTRIES_LOG2, 4);
	odd = queue && one_in(r, 8);
	poke(base + RDU_REG_Q_CPL_LO, odd ? host_page(r) + near_page(r) : CPL(queue), 8);
	poke(base + RDU_REG_Q_PT_LO,
	     one_in(r, 12) ? MEM + near_page(r) : TABLES + below(r, 2) * 4096, 8);
	odd = one_in(r, 12);
	poke(base + RDU_REG_Q_TILE_FIRST, odd ? number(r) : queue ? queue - 1 : 0, 4);
	poke(base + RDU_REG_Q_TILE_COUNT, odd ? number(r) : queue ? 1 : 0, 4);
	if (one_in(r, 4))
		poke(base + RDU_REG_Q_WATCHDOG_MS, below(r, 20), 4);
	if (one_in(r, 8))
		poke(base + RDU_REG_Q_WATCHDOG_LO, number(r), 8);
	poke(base + RDU_REG_Q_CTRL, one_in(r, 3) ? 3 : 1, 4);
	tail[queue] = 0;
}

void setup(void)
{
	/* Where q35's configuration space is (PCIEXBAR). */
	qtest_cfg_write(q, 0, 0x60, (uint32_t)ECAM | 1, 4);
	card_setup(&peer, q, PEER_SLOT);
	card_setup(&card, q, SLOT);
	for (unsigned int v = 0; v < RDU_NUM_VECTORS; v += 4)
		qtest_write(q, card.regs + 0x8000 + 16 * v, MSI(v), 4);
	memset(tail, 0, sizeof(tail));
}

/* From what keeps it from answering. */
void revive(void)
{
	set_property("fault-dead", "false");
	set_property("fault-gone", "false");
	qtest_cfg_write(q, SLOT, pm + 4, 0, 2);
	setup();
}

/* A queue that needs it is reset and enabled. */
static void act_queue(struct rnd *r)
{
	unsigned int queue = below(r, QUEUES);
	uint32_t base = RDU_REG_QUEUE(queue), status;

	if (one_in(r, 6)) {
		poke(card.regs + base + RDU_REG_Q_CTRL, below(r, 4), 4);
		return;
	}
	poke(card.regs + RDU_REG_CTRL, RDU_CTRL_ENABLE, 4);
	status = card_read(&card, base + RDU_REG_Q_STATUS);
	if (status == ~0u && one_in(r, 2)) {
		revive();
	} else if (status != RDU_QUEUE_IDLE && status != ~0u) {
		uint32_t code = card_read(&card, base + RDU_REG_Q_FAULT_CODE);

		fetched += card_read(&card, base + RDU_REG_Q_HEAD);
		if (code < 16)
			faults[code]++;
		poke(card.regs + base + RDU_REG_Q_CTRL, 2, 4);
		enable(r, queue);
	}
}

static void act_tables(struct rnd *r)
{
	unsigned int n = 1 + below(r, 8);

	while (n--)
		change_tables(r);
	if (one_in(r, 2))
		poke(card.regs + RDU_REG_QUEUE(1 + below(r, QUEUES - 1)) + RDU_REG_Q_TLB_FLUSH, 1,
		     4);
	if (one_in(r, 8))
		build_tables(r);
}

static void act_images(struct rnd *r)
{
	if (one_in(r, 2))
		restore_images();
	else
		change_image(r);
}

static void act_fault(struct rnd *r)
{
	static const struct {
		const char *name;
		enum { QUEUE, COUNT, FLAG } kind;
	} fault[] = {
		{ "fault-hang", QUEUE },   { "fault-stuck", QUEUE }, { "fault-drop-irq", COUNT },
		{ "fault-poison", COUNT }, { "fault-dma", COUNT },   { "fault-ecc-ce", COUNT },
		{ "fault-ecc-ue", COUNT }, { "fault-dead", FLAG },   { "fault-gone", FLAG },
	};
	unsigned int i = below(r, sizeof(fault) / sizeof(*fault));
	char value[24];

	if (fault[i].kind == FLAG)
		snprintf(value, sizeof(value), "%s", one_in(r, 2) ? "true" : "false");
	else if (one_in(r, 16))
		snprintf(value, sizeof(value), "%" PRId64, (int64_t)number(r));
	else
		snprintf(value, sizeof(value), "%d",
			 (int)below(r, QUEUES + 1) - (fault[i].kind == QUEUE));
	set_property(fault[i].name, value);
}

/* Root ports: where buses and memory behind them are; power to the slot. */
static void set_port(bool on)
{
	qtest_cfg_write(q, PORT_SLOT, 0x18, 0x00010100, 4);
	qtest_cfg_write(q, PORT_SLOT, 0x20, (visitor.regs + 0x700000) | visitor.regs >> 16, 4);
	qtest_cfg_write(q, PORT_SLOT, 0x04, 0x6, 2);
	qtest_cfg_write(q, PORT_SLOT, port + 0x18, on ? 0x100 : 0x700, 2);
}

/* In comes a card; it gets work that has no end, or lasts. */
void plug(struct rnd *r)
{
	const struct rdu_cmd c = { .op = RDU_OP_FILL,
				   .fill = { .dst = 4096, .len = 1 << 20, .value = 1 } };
	uint64_t base = visitor.regs + RDU_REG_QUEUE(0);

	set_port(true);
	plugged = order(
		"{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"rdu\",\"id\":\"visitor\","
		"\"bus\":\"hotport\",\"memdev\":\"guestmem\",\"threads\":1,\"fault-hang\":%d}}",
		(int)below(r, 4) - 1);
	if (!plugged)
		return;
	qtest_cfg_write(q, visitor.slot, 0x10, visitor.regs, 4);
	qtest_cfg_write(q, visitor.slot, 0x18, visitor.doorbells, 4);
	qtest_cfg_write(q, visitor.slot, 0x20, visitor.mem, 4);
	qtest_cfg_write(q, visitor.slot, 0x24, 0, 4);
	qtest_cfg_write(q, visitor.slot, 0x04, 0x6, 2);
	if (!wild && card_read(&visitor, RDU_REG_MAGIC) != RDU_MAGIC)
		fail("the card that was plugged in does not answer");
	for (unsigned int i = 0; i < 64; i++)
		memcpy(ram + VISITOR_RING + i * sizeof(c), &c, sizeof(c));
	qtest_write(q, visitor.regs + RDU_REG_CTRL, 1, 4);
	qtest_write(q, base + RDU_REG_Q_RING_LO, VISITOR_RING, 8);
	qtest_write(q, base + RDU_REG_Q_RING_LOG2, ENTRIES_LOG2, 4);
	qtest_write(q, base + RDU_REG_Q_CPL_LO, RESULTS, 8);
	qtest_write(q, base + RDU_REG_Q_CTRL, 1, 4);
	qtest_write(q, visitor.doorbells, 1 + below(r, 64), 4);
}

/* Out it goes, whatever it or others are doing to it. */
void unplug(void)
{
	if (!plugged)
		return;
	say("unplug");
	set_port(true);
	set_port(false);
	plugged = false;
}

static void act_reset(struct rnd *r)
{
	switch (below(r, 8)) {
	case 0:
		order("{\"execute\":\"system_reset\"}");
		break;
	case 1:
		qtest_cfg_write(q, SLOT, pcie + 8, 0x8000, 2);
		break;
	case 2:
		qtest_cfg_write(q, SLOT, pm + 4, below(r, 4), 2);
		break;
	case 3:
		setup();
		break;
	default:
		poke(card.regs + RDU_REG_CTRL, RDU_CTRL_RESET | below(r, 2), 4);
		break;
	}
	if (one_in(r, 2))
		setup();
}

/* The machine is sent away; nobody takes it, and it goes on here. */
static void migrate(void)
{
	if (!order("{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"exec:cat >/dev/null\"}}"))
		return;
	do {
		usleep(2000);
		order("{\"execute\":\"query-migrate\"}");
	} while (!strstr(answer, "\"completed\"") && !strstr(answer, "\"failed\""));
	if (strstr(answer, "\"failed\""))
		fail("it cannot be migrated: %s", answer);
	stopped = true;
}

static void act_machine(struct rnd *r)
{
	switch (below(r, 8)) {
	case 7:
		if (one_in(r, 4))
			migrate();
		break;
	case 6:
		plugged ? unplug() : plug(r);
		break;
	case 0:
		order("{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":"
		      "\"pcie_aer_inject_error %s %s rdu0 %#x\"}}",
		      one_in(r, 4) ? "-a" : "", one_in(r, 2) ? "-c" : "", 1u << below(r, 26));
		break;
	case 1:
		usleep(below(r, 1000));
		break;
	default:
		order("{\"execute\":\"stop\"}");
		stopped = true;
		break;
	}
}

static const struct {
	const char *name;
	void (*act)(struct rnd *r);
	unsigned int weight;
} actions[] = {
	{ "registers", act_register, 24 }, { "doorbells", act_doorbell, 8 },
	{ "MSI-X", act_msix, 6 },	   { "configuration space", act_config, 4 },
	{ "card memory", act_memory, 3 },  { "commands", act_submit, 30 },
	{ "queues", act_queue, 24 },	   { "page tables", act_tables, 12 },
	{ "images", act_images, 6 },	   { "faults", act_fault, 3 },
	{ "resets", act_reset, 2 },	   { "machine", act_machine, 3 },
};

void resume(void)
{
	if (stopped)
		order("{\"execute\":\"cont\"}");
	stopped = false;
}

void act(struct rnd *r)
{
	unsigned int sum = 0, i, n;

	for (i = 0; i < sizeof(actions) / sizeof(*actions); i++)
		sum += actions[i].weight;
	n = below(r, sum);
	for (i = 0; n >= actions[i].weight; i++)
		n -= actions[i].weight;
	step = actions[i].name;
	alarm(PATIENCE);
	actions[i].act(r);
	if (stopped && one_in(r, 8))
		resume();
}
