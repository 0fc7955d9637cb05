// SPDX-License-Identifier: MIT
/* Queues without a fabric: order, completion, faults, page tables, copies. */
#include <sys/wait.h>
#include "card_priv.h"
#include "card_test.h"

#define MB (1ull << 20)
#define VA 0x7000000000ULL

static uint64_t root;

static struct rdu_cmd copy(uint64_t dst, uint64_t src, uint64_t len)
{
	struct rdu_cmd c = { .op = RDU_OP_COPY };

	c.copy.src = src;
	c.copy.dst = dst;
	c.copy.len = len;
	return c;
}

static struct rdu_cmd fill(uint64_t dst, uint64_t len, uint32_t value)
{
	struct rdu_cmd c = { .op = RDU_OP_FILL };

	c.fill.dst = dst;
	c.fill.len = len;
	c.fill.value = value;
	return c;
}

/* The command faults so; the queue is reset and enabled again. */
static void faults(struct bed *b, unsigned int q, struct rdu_cmd c, uint32_t code, uint64_t addr,
		   const char *what)
{
	unsigned int irqs = b->irqs[RDU_VECTOR_FAULT], i;
	uint64_t before = bed_done(b, q), seq;

	seq = bed_put(b, q, c);
	bed_ring(b, q);
	bed_wait(b, q, seq);
	ok(qrd(b, q, RDU_REG_Q_STATUS) == RDU_QUEUE_FAULTED &&
		   qrd(b, q, RDU_REG_Q_FAULT_CODE) == code && bed_done(b, q) == before &&
		   qrd(b, q, RDU_REG_Q_FAULT_SEQ_LO) == (uint32_t)seq,
	   "%s: fault %u (got %u)", what, code, qrd(b, q, RDU_REG_Q_FAULT_CODE));
	if (addr)
		is(rdu_card_mmio_read(b->card, RDU_REG_QUEUE(q) + RDU_REG_Q_FAULT_ADDR_LO, 8), addr,
		   "... at that address");
	for (i = 0; i < 20000 && b->irqs[RDU_VECTOR_FAULT] == irqs; i++)
		usleep(50);
	ok(b->irqs[RDU_VECTOR_FAULT] == irqs + 1, "... fault vector raised once");
	bed_reset(b, q);
	bed_enable(b, q, q ? root : 0, 0, q == 1);
}

static void life(struct bed *b)
{
	struct rdu_cmd nop = { .op = RDU_OP_NOP, .flags = RDU_CMD_IRQ };
	unsigned int i;
	uint64_t seq = 0;

	ok(bed_do(b, 1, nop), "NOP completes");
	for (i = 0; i < 1000 && !b->irqs[1]; i++)
		usleep(100);
	is(b->irqs[1], 1, "and interrupts");
	is(qrd(b, 1, RDU_REG_Q_HEAD), 1, "HEAD counts it");
	for (i = 0; i < 200; i++) {
		seq = bed_put(b, 1, (struct rdu_cmd){ .op = RDU_OP_NOP });
		bed_ring(b, 1);
		if (i % 16 == 15)
			bed_wait(b, 1, seq);
	}
	ok(bed_wait(b, 1, seq), "200 more, round the ring many times");
	is(qrd(b, 1, RDU_REG_Q_HEAD), 201, "HEAD is free running");
	for (i = 0; i < 1000 && qrd(b, 1, RDU_REG_Q_STATUS) != RDU_QUEUE_IDLE; i++)
		usleep(100);
	is(qrd(b, 1, RDU_REG_Q_STATUS), RDU_QUEUE_IDLE, "idle again");
	is(b->irqs[1], 1, "no interrupt was asked for");
	wr(b, RDU_REG_CTRL, 0);
	seq = bed_put(b, 1, (struct rdu_cmd){ .op = RDU_OP_NOP });
	bed_ring(b, 1);
	usleep(20000);
	ok(bed_done(b, 1) < seq, "card not enabled: nothing is fetched");
	wr(b, RDU_REG_CTRL, 1);
	ok(bed_wait(b, 1, seq), "enabled: it is");
	rdu_card_pause(b->card);
	seq = bed_put(b, 1, (struct rdu_cmd){ .op = RDU_OP_NOP });
	bed_ring(b, 1);
	usleep(20000);
	ok(bed_done(b, 1) < seq, "paused: nothing is fetched");
	rdu_card_resume(b->card);
	ok(bed_wait(b, 1, seq), "resumed: it is");
}

static void commands(struct bed *b)
{
	struct rdu_cmd c;
	unsigned int i, op;
	char what[64];

	for (op = 8; op < 64; op += 11)
		faults(b, 1, (struct rdu_cmd){ .op = (uint8_t)op }, RDU_FAULT_BAD_COMMAND, 0,
		       "unknown operation");
	faults(b, 1, (struct rdu_cmd){ .op = RDU_OP_PROG_LOAD }, RDU_FAULT_BAD_COMMAND, 0,
	       "PROG_LOAD on a context's queue");
	faults(b, 1, (struct rdu_cmd){ .op = RDU_OP_PROG_UNLOAD }, RDU_FAULT_BAD_COMMAND, 0,
	       "PROG_UNLOAD on a context's queue");
	faults(b, 1, (struct rdu_cmd){ .op = RDU_OP_NOP, .flags = 0x80 }, RDU_FAULT_BAD_COMMAND, 0,
	       "unknown flag");
	faults(b, 1, (struct rdu_cmd){ .op = RDU_OP_NOP, .zero = 1 }, RDU_FAULT_BAD_COMMAND, 0,
	       "reserved field");
	for (i = 0; i < 6; i++) {
		c = (struct rdu_cmd){ .op = RDU_OP_NOP };
		c.raw[i] = 1ull << (i * 9);
		snprintf(what, sizeof(what), "NOP with word %u set", i);
		faults(b, 1, c, RDU_FAULT_BAD_COMMAND, 0, what);
	}
	c = copy(VA, VA + MB, 0);
	c.copy.zero[2] = 1;
	faults(b, 1, c, RDU_FAULT_BAD_COMMAND, 0, "COPY, reserved field");
	faults(b, 1, fill(VA + 2, 4, 0), RDU_FAULT_BAD_COMMAND, 0, "FILL, unaligned");
	faults(b, 1, (struct rdu_cmd){ .op = RDU_OP_RUN, .slot = 7 }, RDU_FAULT_BAD_SLOT, 0,
	       "RUN of an empty slot");
	faults(b, 1, (struct rdu_cmd){ .op = RDU_OP_PLOAD, .slot = 70000 }, RDU_FAULT_BAD_SLOT, 0,
	       "PLOAD of no slot at all");
	faults(b, 1, (struct rdu_cmd){ .op = RDU_OP_EXEC }, RDU_FAULT_NOT_LOADED, 0,
	       "EXEC of nothing");
	faults(b, 1, (struct rdu_cmd){ .op = RDU_OP_ALOAD }, RDU_FAULT_NOT_LOADED, 0,
	       "ALOAD for nothing");
	faults(b, 0, (struct rdu_cmd){ .op = RDU_OP_PROG_UNLOAD, .slot = 3 }, RDU_FAULT_BAD_SLOT, 0,
	       "PROG_UNLOAD of an empty slot");
	c = (struct rdu_cmd){ .op = RDU_OP_PROG_LOAD, .slot = 3 };
	c.prog.addr = CARD_MEM - 100;
	c.prog.size = 200;
	faults(b, 0, c, RDU_FAULT_PAGE, CARD_MEM - 100, "PROG_LOAD from beyond card memory");
	c.prog.addr = 0;
	c.prog.result = 0x10;
	faults(b, 0, c, RDU_FAULT_HOST_BUS, 0x10, "PROG_LOAD, nowhere to answer");
	c.prog.result = HOST_FREE;
	memset(host_ptr(b, HOST_FREE), 0xee, sizeof(struct rdu_prog_result));
	ok(bed_do(b, 0, c), "PROG_LOAD of rubbish completes");
	is(((struct rdu_prog_result *)host_ptr(b, HOST_FREE))->error, RDU_CFG_E_MAGIC,
	   "... and says what is wrong");
}

/* Faulted, a queue stays so until it is reset. */
static void not_disabled(struct bed *b)
{
	volatile unsigned char *begun = b->mem + 65 * MB;
	uint64_t seq;

	bed_do(b, 1, (struct rdu_cmd){ .op = 200 });
	qwr(b, 1, RDU_REG_Q_CTRL, 0);
	qwr(b, 1, RDU_REG_Q_CTRL, 1);
	is(qrd(b, 1, RDU_REG_Q_STATUS), RDU_QUEUE_FAULTED, "a faulted queue is not disabled");
	is(qrd(b, 1, RDU_REG_Q_FAULT_CODE), RDU_FAULT_BAD_COMMAND, "... and keeps its record");
	bed_reset(b, 1);
	is(qrd(b, 1, RDU_REG_Q_STATUS), RDU_QUEUE_DISABLED, "... but reset");
	bed_enable(b, 1, root, 0, 1);
	/* Sixteen gigabytes onto one large page, and no time: the disable waits. */
	for (unsigned int i = 0; i < 8192; i++)
		bed_map(b, root, 0x200000000000ULL + i * 2 * MB, 64 * MB, 2 * MB, RDU_PTE_WRITE, 1);
	b->mem[64 * MB] = 1;
	*begun = 0;
	qwr(b, 1, RDU_REG_Q_WATCHDOG_MS, 100);
	seq = bed_put(b, 1, copy(0x200000000000ULL + MB, 0x200000000000ULL, 16000 * MB));
	bed_ring(b, 1);
	while (!*begun)
		usleep(10);
	qwr(b, 1, RDU_REG_Q_CTRL, 0);
	qwr(b, 1, RDU_REG_Q_CTRL, 1);
	bed_wait(b, 1, seq);
	usleep(1000);
	is(qrd(b, 1, RDU_REG_Q_STATUS), RDU_QUEUE_FAULTED, "a fault ends a disable that waits");
	is(qrd(b, 1, RDU_REG_Q_FAULT_CODE), RDU_FAULT_WATCHDOG, "... and is told");
	qwr(b, 1, RDU_REG_Q_WATCHDOG_MS, 0);
	bed_reset(b, 1);
	is(qrd(b, 1, RDU_REG_Q_STATUS), RDU_QUEUE_DISABLED, "... and nothing is left of it");
	bed_enable(b, 1, root, 0, 1);
}

static void bad_ring(struct bed *b)
{
	b->tail[1] += 1000;
	bed_ring(b, 1);
	bed_wait(b, 1, ~0ull >> 1);
	is(qrd(b, 1, RDU_REG_Q_FAULT_CODE), RDU_FAULT_BAD_RING, "a tail beyond the ring");
	bed_reset(b, 1);
	bed_set_queue(b, 1, root, 0, 1);
	qwr(b, 1, RDU_REG_Q_RING_HI, 0x77);
	qwr(b, 1, RDU_REG_Q_CTRL, 1);
	b->tail[1] = 1;
	bed_ring(b, 1);
	bed_wait(b, 1, ~0ull >> 1);
	is(qrd(b, 1, RDU_REG_Q_FAULT_CODE), RDU_FAULT_BAD_RING, "a ring outside host memory");
	bed_reset(b, 1);
	bed_set_queue(b, 1, root, 0, 1);
	qwr(b, 1, RDU_REG_Q_CPL_HI, 0x77);
	qwr(b, 1, RDU_REG_Q_CTRL, 1);
	bed_do(b, 1, (struct rdu_cmd){ .op = RDU_OP_NOP });
	is(qrd(b, 1, RDU_REG_Q_FAULT_CODE), RDU_FAULT_HOST_BUS, "a completion word outside it");
	bed_reset(b, 1);
	bed_enable(b, 1, root, 0, 1);
}

static void pattern(unsigned char *p, size_t n, unsigned int seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)((i * 2654435761u + seed) >> 13);
}

static void page_tables(struct bed *b)
{
	unsigned char *want = malloc(4 * MB);
	uint64_t before;

	pattern(want, 4 * MB, 1);
	/* VA: 4 MiB of small pages onto card 16M, backwards page by page. */
	for (unsigned int i = 0; i < 1024; i++)
		bed_map(b, root, VA + i * 4096ull, 16 * MB + (1023 - i) * 4096ull, 4096,
			RDU_PTE_WRITE, 0);
	/* + 16M: large pages onto card 32M; + 32M: the same, read only. */
	bed_map(b, root, VA + 16 * MB, 32 * MB, 8 * MB, RDU_PTE_WRITE, 1);
	bed_map(b, root, VA + 32 * MB, 32 * MB, 8 * MB, 0, 1);
	/* + 64M: host memory, every second page elsewhere. */
	for (unsigned int i = 0; i < 1024; i++)
		bed_map(b, root, VA + 64 * MB + i * 4096ull,
			HOST_BASE + MB + (i ^ (i >> 3 & 1)) * 4096ull, 4096,
			RDU_PTE_WRITE | RDU_PTE_HOST, 0);
	memcpy(b->mem + 32 * MB, want, 4 * MB);
	ok(bed_do(b, 1, copy(VA, VA + 32 * MB, 4 * MB)), "large pages to scattered small ones");
	ok(bed_do(b, 1, copy(VA + 64 * MB + 3, VA + 5, 4 * MB - 4096)), "card to host, unaligned");
	ok(bed_do(b, 1, copy(VA + 20 * MB, VA + 64 * MB + 3, 4 * MB - 4096)), "host to card");
	ok(!memcmp(b->mem + 36 * MB, want + 5, 4 * MB - 4096), "the bytes are the same");
	ok(bed_do(b, 1, copy(VA + 64 * MB, VA + 65 * MB, MB)), "host to host");
	ok(bed_do(b, 1, fill(VA + 16 * MB, 8 * MB - 4, 0x01020304)), "FILL");
	is(*(uint32_t *)(void *)(b->mem + 40 * MB - 8), 0x01020304, "... to its end");
	ok(*(uint32_t *)(void *)(b->mem + 40 * MB - 4) != 0x01020304, "... and no further");
	ok(bed_do(b, 1, fill(VA, 8192, 0)), "FILL with zeros");
	ok(!b->mem[16 * MB + 1023 * 4096] && !b->mem[16 * MB + 1022 * 4096 + 4095],
	   "... are zeros");

	faults(b, 1, fill(VA + 32 * MB, 4096, 1), RDU_FAULT_PROTECTION, VA + 32 * MB,
	       "a write to a read-only page");
	faults(b, 1, copy(VA, VA + 8 * MB, 64), RDU_FAULT_PAGE, VA + 8 * MB, "an unmapped page");
	faults(b, 1, copy(VA + 4 * MB - 32, VA + 32 * MB, 64), RDU_FAULT_PAGE, VA + 4 * MB,
	       "the first one after mapped ones");
	faults(b, 1, copy(1ull << 48 | VA, VA, 64), RDU_FAULT_PAGE, 1ull << 48 | VA,
	       "more than 48 bits");
	faults(b, 0, copy(CARD_MEM - 32, 0, 64), RDU_FAULT_PAGE, CARD_MEM,
	       "queue 0: beyond card memory");
	ok(bed_do(b, 0, copy(50 * MB, 32 * MB, 4096)), "queue 0 uses card addresses");

	bed_map(b, root, VA + 128 * MB, CARD_MEM, 4096, RDU_PTE_WRITE, 0);
	faults(b, 1, fill(VA + 128 * MB, 4096, 1), RDU_FAULT_PAGE, VA + 128 * MB,
	       "an entry that points beyond card memory");
	bed_map(b, root, VA + 132 * MB, 4096, 2 * MB, RDU_PTE_WRITE, 1);
	faults(b, 1, fill(VA + 132 * MB, 4096, 1), RDU_FAULT_PAGE, VA + 132 * MB,
	       "a large page that is not aligned");
	bed_map(b, root, VA + 136 * MB, 0, 4096, 0x10, 0);
	faults(b, 1, fill(VA + 136 * MB, 4096, 1), RDU_FAULT_PAGE, VA + 136 * MB,
	       "a reserved bit in an entry");
	bed_map(b, root, VA + 140 * MB, 0x10, 4096, RDU_PTE_HOST, 0);
	bed_map(b, root, VA + 144 * MB, 0, 4096, RDU_PTE_HOST, 0);
	faults(b, 1, copy(VA, VA + 144 * MB, 64), RDU_FAULT_HOST_BUS, 0,
	       "host memory that is not there");

	/* The TLB keeps a translation until it is flushed. */
	bed_map(b, root, VA + 256 * MB, 60 * MB, 4096, RDU_PTE_WRITE, 0);
	ok(bed_do(b, 1, fill(VA + 256 * MB, 4096, 0x11)), "a page is used");
	bed_map(b, root, VA + 256 * MB, 61 * MB, 4096, RDU_PTE_WRITE, 0);
	qwr(b, 1, RDU_REG_Q_TLB_FLUSH, 1);
	ok(bed_do(b, 1, fill(VA + 256 * MB, 4096, 0x22)), "mapped elsewhere, flushed, used");
	is(b->mem[61 * MB], 0x22, "the new place has it");
	is(b->mem[60 * MB], 0x11, "the old one keeps what it had");

	before = rdu_card_mmio_read(b->card, RDU_REG_QUEUE(1) + RDU_REG_Q_COPY_LO, 8);
	bed_do(b, 1, copy(VA + 16 * MB, VA, 4 * MB));
	is(rdu_card_mmio_read(b->card, RDU_REG_QUEUE(1) + RDU_REG_Q_COPY_LO, 8) - before,
	   b->chip.dram_latency + 8 * MB * b->chip.clock_khz / (b->chip.dram_mbps * 1000ull),
	   "a copy's cycles: read and written at memory's rate");
	free(want);
}

static void clocks(struct bed *b)
{
	struct rdu_cmd c = { .op = RDU_OP_TIMESTAMP };
	uint64_t first, second;

	c.copy.dst = VA + 16 * MB;
	ok(bed_do(b, 1, c), "TIMESTAMP");
	memcpy(&first, b->mem + 32 * MB, 8);
	bed_do(b, 1, fill(VA + 20 * MB, MB, 7));
	bed_do(b, 1, c);
	memcpy(&second, b->mem + 32 * MB, 8);
	is(second - first,
	   b->chip.dram_latency + (MB * b->chip.clock_khz + b->chip.dram_mbps * 1000ull - 1) /
					  (b->chip.dram_mbps * 1000ull),
	   "the clock moved by the cycles of what lay between");
	is(rdu_card_mmio_read(b->card, RDU_REG_CYCLES_LO, 8), second, "CYCLES shows it");
	c.copy.dst += 4;
	faults(b, 1, c, RDU_FAULT_BAD_COMMAND, 0, "TIMESTAMP, unaligned");
	qwr(b, 1, RDU_REG_Q_WATCHDOG_LO, 5000);
	faults(b, 1, fill(VA + 16 * MB, 8 * MB, 7), RDU_FAULT_WATCHDOG, 0, "watchdog in cycles");
	qwr(b, 1, RDU_REG_Q_WATCHDOG_LO, 0);
	qwr(b, 1, RDU_REG_Q_WATCHDOG_MS, 100);
	/* Sixteen gigabytes, all onto one large page. */
	for (unsigned int i = 0; i < 8192; i++)
		bed_map(b, root, 0x200000000000ULL + i * 2 * MB, 64 * MB, 2 * MB, RDU_PTE_WRITE, 1);
	faults(b, 1, copy(0x200000000000ULL + MB, 0x200000000000ULL, 16000 * MB),
	       RDU_FAULT_WATCHDOG, 0, "watchdog in host time");
	qwr(b, 1, RDU_REG_Q_WATCHDOG_MS, 0);
}

static uint64_t card_clock(struct bed *b)
{
	return rdu_card_mmio_read(b->card, RDU_REG_CYCLES_LO, 8);
}

/* One clock over resets; a driver goes on with it where power was lost. */
static void clock_kept(struct bed *b)
{
	struct rdu_cmd c = { .op = RDU_OP_TIMESTAMP, .copy.dst = VA + 16 * MB };
	uint64_t before = card_clock(b), seen;

	rdu_card_mmio_write(b->card, RDU_REG_CYCLES_LO, 5, 8);
	is(card_clock(b), before, "CYCLES does not take what is written while a queue is enabled");
	rdu_card_reset(b->card);
	ok(before && card_clock(b) == before, "the clock outlives a reset");
	rdu_card_power_on(b->card);
	is(card_clock(b), 0, "power-on clears it");
	rdu_card_mmio_write(b->card, RDU_REG_CYCLES_LO, before + (1ULL << 32), 8);
	is(card_clock(b), before + (1ULL << 32), "set, in one");
	wr(b, RDU_REG_CYCLES_HI, 3);
	wr(b, RDU_REG_CYCLES_LO, 7);
	is(card_clock(b), (3ULL << 32) + 7, "... and in two");
	wr(b, RDU_REG_CTRL, RDU_CTRL_ENABLE);
	bed_enable(b, 0, 0, 0, 0);
	bed_enable(b, 1, root, 0, 1);
	bed_do(b, 1, fill(VA + 20 * MB, MB, 7));
	ok(bed_do(b, 1, c), "TIMESTAMP");
	memcpy(&seen, b->mem + 32 * MB, 8);
	ok(seen > (3ULL << 32) + 7 && seen < (4ULL << 32), "... goes on from there");
}

/* Copies long enough to be met while they run. */
static void reset_running(struct bed *b)
{
	uint64_t seq = 0;
	unsigned int i;

	for (i = 0; i < 256; i++)
		bed_map(b, root, 0x300000000000ULL + i * 2 * MB, 64 * MB, 2 * MB, RDU_PTE_WRITE, 1);
	for (i = 0; i < 15; i++)
		seq = bed_put(b, 1, copy(0x300000000000ULL + MB, 0x300000000000ULL, 500 * MB));
	bed_ring(b, 1);
	while (qrd(b, 1, RDU_REG_Q_STATUS) != RDU_QUEUE_RUNNING)
		usleep(10);
	bed_reset(b, 1);
	ok(bed_done(b, 1) < seq, "reset while copying: what was to come did not");
	is(qrd(b, 1, RDU_REG_Q_STATUS), RDU_QUEUE_DISABLED, "... disabled");
	is(qrd(b, 1, RDU_REG_Q_FAULT_CODE), 0, "... no fault");
	bed_enable(b, 1, root, 0, 1);
	ok(bed_do(b, 1, (struct rdu_cmd){ .op = RDU_OP_NOP }), "... works again");

	for (i = 0; i < 10; i++)
		seq = bed_put(b, 1, copy(0x300000000000ULL + MB, 0x300000000000ULL, 100 * MB));
	bed_ring(b, 1);
	while (qrd(b, 1, RDU_REG_Q_STATUS) != RDU_QUEUE_RUNNING)
		usleep(10);
	rdu_card_pause(b->card);
	ok(bed_done(b, 1) < seq, "pause while copying comes back before the end");
	rdu_card_resume(b->card);
	ok(bed_wait(b, 1, seq), "resumed, they complete");
	for (i = 0; i < 15; i++)
		bed_put(b, 1, copy(0x300000000000ULL + MB, 0x300000000000ULL, 500 * MB));
	bed_ring(b, 1);
	usleep(1000);
	rdu_card_reset(b->card);
	is(qrd(b, 1, RDU_REG_Q_STATUS), RDU_QUEUE_DISABLED, "card reset while copying");
	bed_enable(b, 0, 0, 0, 0);
	bed_enable(b, 1, root, 0, 1);
	ok(bed_do(b, 1, (struct rdu_cmd){ .op = RDU_OP_NOP }), "... works again");
	for (i = 0; i < 15; i++)
		bed_put(b, 1, copy(0x300000000000ULL + MB, 0x300000000000ULL, 500 * MB));
	bed_ring(b, 1);
}

/* The doorbell's own thread does what is brief, as soon as the worker sleeps. */
static void in_doorbell(struct bed *b)
{
	const struct rdu_cmd nop = { .op = RDU_OP_NOP };
	unsigned int i, here = 0;
	uint64_t seq = 0;

	for (i = 0; i < 1000 && here < 10; i++) {
		seq = bed_put(b, 1, nop);
		bed_ring(b, 1);
		here += bed_done(b, 1) == seq;
		bed_wait(b, 1, seq);
		usleep(100);
	}
	is(here, 10, "a NOP is done when the doorbell's write returns");
	for (i = 0; i < 60; i++) {
		bed_put(b, 1, nop);
		seq = bed_put(b, 1, i % 3 ? nop : fill(VA + 20 * MB, MB, i));
		if (i % 4 == 3) {
			bed_ring(b, 1);
			bed_wait(b, 1, seq);
		}
	}
	ok(bed_done(b, 1) == seq && *(uint32_t *)(void *)(b->mem + 36 * MB) == 57,
	   "brief commands and long ones stay in order");
	rdu_card_inject(b->card, RDU_INJECT_HANG, 1);
	seq = bed_put(b, 1, nop);
	bed_ring(b, 1);
	ok(bed_done(b, 1) < seq, "a doorbell does not wait for a command that hangs");
	while (rdu_card_injected(b->card, RDU_INJECT_HANG) >= 0)
		usleep(20);
	bed_reset(b, 1);
	bed_enable(b, 1, root, 0, 1);
}

static void *pause_now_and_then(void *card)
{
	for (unsigned int i = 0; i < 200; i++) {
		rdu_card_pause(card);
		usleep(50);
		rdu_card_resume(card);
		usleep(200);
	}
	return NULL;
}

static void in_doorbell_raced(struct bed *b)
{
	uint64_t seq = 0;
	pthread_t thread;
	bool all = true;

	if (pthread_create(&thread, NULL, pause_now_and_then, b->card))
		abort();
	for (unsigned int i = 0; i < 3000 && all; i++) {
		struct rdu_cmd c = { .op = RDU_OP_NOP };

		if (i % 5 == 0)
			c = fill(VA + 20 * MB, 4096, i);
		else if (i % 7 == 0)
			c = fill(VA + 20 * MB, 8192, i);
		seq = bed_put(b, 1, c);
		bed_ring(b, 1);
		if (i % 8 == 7)
			all = bed_wait(b, 1, seq);
	}
	pthread_join(thread, NULL);
	ok(all && bed_wait(b, 1, seq), "none is lost while the card is paused and resumed");
}

static void all_of(bool brief_in_doorbell)
{
	struct bed *b;

	bed_ops.brief_in_doorbell = brief_in_doorbell;
	b = bed_new("sn10", 1, false);
	root = bed_root(b);
	bed_enable(b, 0, 0, 0, 0);
	bed_enable(b, 1, root, 0, 1);
	life(b);
	page_tables(b);
	if (brief_in_doorbell) {
		in_doorbell(b);
		in_doorbell_raced(b);
	}
	commands(b);
	not_disabled(b);
	bad_ring(b);
	clocks(b);
	clock_kept(b);
	reset_running(b);
	bed_free(b); /* while copies run */
	ok(true, "freed while copying");
}

/* ---- states ----------------------------------------------------------------- */

/* Does a queue go from one state to the other? If not, it ends the process. */
static bool goes(enum card_work from, enum card_work to)
{
	struct card_queue q = { .work = from };
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		card_queue_move(&q, to);
		_exit(q.work != to);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

static void moves(void)
{
	/* Row: from; column: to. */
	static const char *const allowed[] = {
		[CARD_WORK_QUIET] = ".B.ISHX",	   [CARD_WORK_BUSY] = "Q.WISHX",
		[CARD_WORK_STORING] = ".B.....",   [CARD_WORK_IRQ] = "QB.....",
		[CARD_WORK_SUSPENDED] = "QB.....", [CARD_WORK_HUNG] = "Q......",
		[CARD_WORK_STUCK] = ".....H.",
	};
	unsigned int wrong = 0, states = sizeof(allowed) / sizeof(*allowed);

	for (unsigned int from = 0; from < states; from++) {
		for (unsigned int to = 0; to < states; to++) {
			if (goes(from, to) == (allowed[from][to] != '.'))
				continue;
			printf("# from %u to %u\n", from, to);
			wrong++;
		}
	}
	is(wrong, 0, "a queue goes from state to state as it may, and no other way");
}

/* ---- what a card is made with, and what it tells ------------------------------ */

static void refused(void)
{
	static const struct {
		const char *serial;
		unsigned int threads;
		bool good;
	} c[] = {
		{ "1234567890123456", 1, true },
		{ "12345678901234567", 1, false },
		{ "tab\there", 1, false },
		{ "", 256, true },
		{ NULL, 257, false },
	};
	struct bed *b = bed_new("sn10", 1, false);

	for (unsigned int i = 0; i < sizeof(c) / sizeof(*c); i++) {
		struct rdu_card_config config = { .chip = &b->chip,
						  .mem = b->mem,
						  .mem_size = CARD_MEM,
						  .threads = c[i].threads,
						  .serial = c[i].serial };
		const char *why = NULL;
		struct rdu_card *card = rdu_card_new(&config, &bed_ops, b, &why);

		ok(c[i].good == (card != NULL) && c[i].good == !why,
		   "serial number \"%s\", %u threads: %s", c[i].serial ? c[i].serial : "none",
		   c[i].threads, why ? why : "taken");
		rdu_card_free(card);
	}
	bed_free(b);
}

static struct {
	enum rdu_event event;
	unsigned int queue;
	uint64_t arg[4];
} told[64];
static _Atomic unsigned int num_told;

static void tell(void *opaque, enum rdu_event event, unsigned int queue, const uint64_t arg[4])
{
	unsigned int n = num_told++;

	(void)opaque;
	if (n >= sizeof(told) / sizeof(*told))
		return;
	told[n].event = event;
	told[n].queue = queue;
	memcpy(told[n].arg, arg, sizeof(told[n].arg));
}

static void events(void)
{
	static const struct {
		enum rdu_event event;
		unsigned int queue;
		uint64_t a, b;
	} want[] = {
		{ RDU_EVENT_DOORBELL, 1, 1, 0 },   { RDU_EVENT_COMMAND, 1, 1, RDU_OP_NOP },
		{ RDU_EVENT_COMPLETION, 1, 1, 0 }, { RDU_EVENT_DOORBELL, 1, 2, 0 },
		{ RDU_EVENT_COMMAND, 1, 2, 200 },  { RDU_EVENT_FAULT, 1, 2, RDU_FAULT_BAD_COMMAND },
		{ RDU_EVENT_RESET, 1, 0, 0 },	   { RDU_EVENT_CARD_RESET, 0, 0, 0 },
	};
	unsigned int n = sizeof(want) / sizeof(*want), i;
	struct bed *b;
	uint64_t seq;

	bed_ops.trace = tell;
	b = bed_new("sn10", 1, false);
	bed_enable(b, 1, bed_root(b), 0, 1);
	ok(bed_do(b, 1, (struct rdu_cmd){ .op = RDU_OP_NOP }), "one command");
	seq = bed_put(b, 1, (struct rdu_cmd){ .op = 200 });
	bed_ring(b, 1);
	bed_wait(b, 1, seq);
	bed_reset(b, 1);
	rdu_card_reset(b->card);
	bed_ops.trace = NULL;
	bed_free(b);
	for (i = 0; i < n && i < num_told; i++)
		if (told[i].event != want[i].event || told[i].queue != want[i].queue ||
		    told[i].arg[0] != want[i].a ||
		    (want[i].event != RDU_EVENT_COMPLETION && told[i].arg[1] != want[i].b))
			break;
	if (!ok(i == n && num_told == n, "the front end is told of all that happens, in order"))
		printf("# event %u: %u of queue %u, %llu %llu; %u of %u\n", i, told[i].event,
		       told[i].queue, (unsigned long long)told[i].arg[0],
		       (unsigned long long)told[i].arg[1], num_told, n);
}

int main(void)
{
	moves();
	refused();
	events();
	all_of(false);
	all_of(true);
	return tap_done();
}
