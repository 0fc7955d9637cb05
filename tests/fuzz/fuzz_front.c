// SPDX-License-Identifier: MIT
/*
 * A hostile guest against the card's QEMU device, through the qtest protocol:
 * registers, doorbells and the MSI-X table at any offset and size, configuration
 * space, rings and page tables of any content (at random they lead to the card's
 * own BARs, to another card's, to registers, ROM and holes), changed by a second
 * thread meanwhile; faults, resets, power states, a stopped machine, a card that
 * is plugged in and out.
 *
 *   fuzz_front [-max_total_time=SECONDS] [-seed=N] [-runs=N] [-verbose=1]
 *
 * QEMU ($QEMU) should be one with ASan and UBSan (`make qemu-asan`). A round is made from its seed;
 * QEMU lives for ROUNDS_PER_QEMU of them. After each, whatever it did, the card
 * must come back by a reset and copy rightly. Half of the rounds are *strict*:
 * nothing given to the card leads to guest RAM from GUARD on, or to where its own
 * page tables lie; at their end GUARD must be as it was, and nothing of it may be
 * found elsewhere. In the others everything goes.
 */
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

#include "../qtest/card.h"
#include "doubler.h"

#define ROUNDS_PER_QEMU 64
#define ACTIONS 400
#define PATIENCE 120 /* seconds that one step may take */
#define QUEUES 5 /* that get work; the others get pokes */

/* Guest RAM. */
#define RAM (16u << 20)
#define RING(q) (0x100000u + (q)*0x1000u)
#define CPL(q) (0x140000u + (q)*8u)
#define RESULTS 0x141000u
#define MSI(v) (0x142000u + (v)*4u)
#define VISITOR_RING 0x143000u
#define GRANTED 0x200000u
#define GUARD 0x400000u
#define ENTRIES_LOG2 6

/* Card memory. */
#define MEM (16u << 20)
#define TABLES 0x0u /* 32 pages: two roots, then levels 2, 1 and 0 */
#define IMAGE 0x100000u
#define DATA 0x200000u
#define ARGS 0x8000u /* device address: the DATA pages come first */

#define SLOT 4
#define PEER_SLOT 5
#define PORT_SLOT 6 /* a root port, in which a third card comes and goes */
#define ECAM 0xb0000000ULL

static struct rdu_chip chip;
static struct qtest *q;
static struct card card, peer, visitor;
static unsigned int pcie, pm, port;
static unsigned char *ram, *mem, *guard;
static void *image;
static size_t image_size;
static int monitor[2] = { -1, -1 };
static FILE *answers;
static bool wild, verbose, stopped, plugged;
static uint64_t seed, first_seed;
static uint32_t tail[QUEUES];
static const char *step = "start";
static uint64_t fetched, faults[16]; /* how deep it gets */

/* ---- saying, and failing -------------------------------------------------- */

static __attribute__((format(printf, 1, 2))) void say(const char *format, ...)
{
	va_list args;

	if (!verbose)
		return;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

static void hint(void)
{
	fprintf(stderr,
		"replay: -seed=%" PRIu64 " -runs=1, or all this QEMU saw: -seed=%" PRIu64
		" -runs=%" PRIu64 "; step: %s\n",
		seed, first_seed, seed - first_seed + 1, step);
}

static __attribute__((format(printf, 1, 2), noreturn)) void fail(const char *format, ...)
{
	va_list args;
	int end;

	fprintf(stderr, "ERROR: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	hint();
	alarm(0);
	end = qtest_stop(q);
	if (end)
		fprintf(stderr, "QEMU ended with %d\n", end);
	exit(1);
}

static void too_long(int signal)
{
	static const char text[] = "ERROR: QEMU does not answer\n";

	(void)signal;
	if (write(2, text, sizeof(text) - 1) < 0)
		_exit(1);
	kill(qtest_pid(q), SIGABRT);
}

/* ---- random numbers ------------------------------------------------------- */

struct rnd {
	uint64_t state;
};

static uint64_t bits(struct rnd *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static uint32_t below(struct rnd *r, uint32_t n)
{
	return bits(r) % n;
}

static bool one_in(struct rnd *r, uint32_t n)
{
	return !below(r, n);
}

/* Numbers near which something may change. */
static uint64_t number(struct rnd *r)
{
	uint64_t v = below(r, 2) ? 1ULL << below(r, 64) : below(r, 70);

	switch (below(r, 4)) {
	case 0:
		return bits(r);
	case 1:
		return v - 1;
	case 2:
		return ~v;
	default:
		return v;
	}
}

/* ---- QMP ------------------------------------------------------------------ */

static char *answer;

static __attribute__((format(printf, 1, 2))) bool order(const char *format, ...)
{
	static size_t room;
	char text[300];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	say("%s", text);
	if (write(monitor[0], text, n) != n)
		return false;
	do {
		if (getline(&answer, &room, answers) <= 0)
			return false;
	} while (strncmp(answer, "{\"return\"", 9) && strncmp(answer, "{\"error\"", 8));
	if (verbose && answer[2] == 'e')
		say("  %s", answer);
	return answer[2] == 'r';
}

static void set_property(const char *name, const char *value)
{
	order("{\"execute\":\"qom-set\",\"arguments\":{\"path\":\"/machine/peripheral/rdu0\","
	      "\"property\":\"%s\",\"value\":%s}}",
	      name, value);
}

/* ---- addresses ------------------------------------------------------------ */

/* Of card memory; a few of them often, so that things meet; or outside. */
static uint64_t data_page(struct rnd *r)
{
	uint32_t page = below(r, one_in(r, 4) ? ((MEM - DATA) >> 12) + 16 : 16);

	return DATA + page * 4096ULL;
}

/* Where host leaves, completion words and results may lead. */
static uint64_t host_page(struct rnd *r)
{
	static const uint64_t other[] = {
		0xfee00000, /* local and I/O interrupt controllers, HPET */
		0xfec00000,
		0xfed00000,
		0xfffff000, /* ROM */
		0xa0000, /* VGA */
		ECAM + (SLOT << 15),
		0x40000000, /* nothing */
		0x4000000000ULL,
		1ULL << 51,
		RDU_PTE_ADDR,
	};

	switch (below(r, wild ? 9 : 8)) {
	case 0:
		return card.mem + data_page(r);
	case 1:
		return (one_in(r, 2) ? visitor.mem : peer.mem) + below(r, 600) * 4096ULL;
	case 2:
		return (one_in(r, 4) ? peer.regs : card.regs) + below(r, 17) * 4096ULL;
	case 3:
		return card.doorbells + below(r, 64) * 4096ULL;
	case 4:
		return other[below(r, sizeof(other) / sizeof(*other))];
	case 8:
		return one_in(r, 2) ? below(r, 2 * RAM) & ~4095u : bits(r) & RDU_PTE_ADDR;
	default:
		return GRANTED + below(r, (GUARD - GRANTED) >> 12) * 4096ULL;
	}
}

/* Pages of the tables for each level: first, how many. */
static const struct {
	unsigned int first, count;
} table_pages[RDU_PT_LEVELS] = { { 8, 24 }, { 4, 4 }, { 2, 2 }, { 0, 2 } };

static uint64_t table_page(struct rnd *r, unsigned int level)
{
	return TABLES + (table_pages[level].first + below(r, table_pages[level].count)) * 4096ULL;
}

static uint64_t large_leaf(struct rnd *r, unsigned int level)
{
	uint64_t at;

	if (level == 2)
		return (one_in(r, 2) ? peer.mem : 0x4000000000ULL) | RDU_PTE_HOST;
	at = (1 + below(r, MEM >> 21)) << 21; /* the last one is outside */
	switch (below(r, 4)) {
	case 0:
		return GRANTED | RDU_PTE_HOST;
	case 1:
		return (card.mem + at) | RDU_PTE_HOST;
	default:
		return at;
	}
}

static uint64_t entry(struct rnd *r, unsigned int level)
{
	uint64_t e = RDU_PTE_VALID | (one_in(r, 3) ? 0 : RDU_PTE_WRITE);

	if (wild && one_in(r, 4))
		return one_in(r, 2) ? bits(r) : number(r);
	if (one_in(r, 16))
		return e & ~RDU_PTE_VALID;
	if (one_in(r, 32))
		e |= one_in(r, 2) ? 1ULL << (4 + below(r, 8)) : 1ULL << (52 + below(r, 12));
	if (level == 0)
		return e | (one_in(r, 2) ? host_page(r) | RDU_PTE_HOST
					 : DATA + below(r, ((MEM - DATA) >> 12) + 16) * 4096ULL);
	if (level < 3 && one_in(r, level == 1 ? 2 : 6))
		return e | large_leaf(r, level) | RDU_PTE_LARGE;
	return (e | table_page(r, level - 1)) & ~RDU_PTE_WRITE;
}

static uint64_t near_page(struct rnd *r)
{
	static const uint16_t at[] = { 0, 0, 8, 64, 128, 2048, 4032, 4088, 4095, 1 };

	return one_in(r, 3) ? below(r, 4096) : at[below(r, sizeof(at) / sizeof(*at))];
}

static uint64_t device_address(struct rnd *r)
{
	uint64_t va = (uint64_t)below(r, 8) << 21 | (uint64_t)below(r, 24) << 12;

	if (one_in(r, 8))
		va |= (uint64_t)below(r, 512) << 12;
	if (one_in(r, 12))
		va |= (uint64_t)below(r, 3) << 30 | (uint64_t)below(r, 2) << 39;
	if (one_in(r, 40))
		return number(r);
	return va + near_page(r);
}

static uint64_t length(struct rnd *r)
{
	static const uint32_t at[] = { 0, 4, 8, 64, 4096, 8192, 4100, 65536, 1 << 20 };

	return one_in(r, 3) ? below(r, 20000) : at[below(r, sizeof(at) / sizeof(*at))];
}

/* ---- page tables, images, commands ---------------------------------------- */

static void store(uint64_t at, uint64_t e)
{
	__atomic_store_n((uint64_t *)(void *)(mem + at), e, __ATOMIC_RELAXED);
}

/* Level 1's first entries: data; host; read only; a mixture; then large ones. */
static void build_tables(struct rnd *r)
{
	const uint64_t l3 = TABLES, l2 = l3 + 0x2000, l1 = l3 + 0x4000, l0 = l3 + 0x8000;

	memset(mem + TABLES, 0, 32 * 4096);
	for (unsigned int i = 0; i < 2; i++) {
		store(l3 + i * 4096, l2 | RDU_PTE_VALID);
		store(l2 + 8 * i, (l1 + i * 4096) | RDU_PTE_VALID);
	}
	for (unsigned int i = 0; i < 6; i++)
		store(l1 + 8 * i, (l0 + i * 4096) | RDU_PTE_VALID);
	store(l1 + 8 * 6, 0x400000 | RDU_PTE_VALID | RDU_PTE_LARGE | RDU_PTE_WRITE);
	store(l1 + 8 * 7, GRANTED | RDU_PTE_VALID | RDU_PTE_LARGE | RDU_PTE_WRITE | RDU_PTE_HOST);
	for (unsigned int i = 0; i < 512; i++) {
		store(l0 + 8 * i, (DATA + i * 4096) | RDU_PTE_VALID | RDU_PTE_WRITE);
		store(l0 + 0x1000 + 8 * i,
		      (GRANTED + i * 4096) | RDU_PTE_VALID | RDU_PTE_WRITE | RDU_PTE_HOST);
		store(l0 + 0x2000 + 8 * i, (DATA + i * 4096) | RDU_PTE_VALID);
		store(l0 + 0x3000 + 8 * i, entry(r, 0));
	}
}

static void change_tables(struct rnd *r)
{
	unsigned int level = one_in(r, 3) ? below(r, RDU_PT_LEVELS) : 0;
	uint64_t page = table_page(r, level);
	uint64_t at = page + 8 * (one_in(r, 4) ? below(r, 512) : below(r, 8));

	store(at, entry(r, level));
}

static void change_image(struct rnd *r)
{
	if (one_in(r, 2))
		mem[IMAGE + below(r, image_size)] ^= 1u << below(r, 8);
	else
		mem[DATA + ARGS + below(r, DOUBLER_ARGS)] ^= 1u << below(r, 8);
}

static void restore_images(void)
{
	memcpy(mem + IMAGE, image, image_size);
	doubler_args(mem + DATA + ARGS, 0x10000, 0x20000);
	doubler_args(mem + DATA + ARGS + 0x100, 0x200000, 0x201000); /* host memory */
	doubler_args(mem + DATA + ARGS + 0x200, 0x601000, 0x600000); /* the mixture */
}

/* Of the administrator's queue: card addresses, none among the tables. */
static uint64_t card_address(struct rnd *r)
{
	return wild && one_in(r, 8) ? number(r) : data_page(r) + near_page(r);
}

static struct rdu_cmd command(struct rnd *r, unsigned int queue)
{
	static const uint8_t op[] = { 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 5, 5, 6, 7, 64, 64, 65 };
	uint64_t (*address)(struct rnd *) = queue ? device_address : card_address;
	struct rdu_cmd c = { .flags = below(r, 2), .seqno = bits(r) };

	c.op = op[below(r, sizeof(op) - (queue ? 3 : 0))];
	switch (c.op) {
	case RDU_OP_COPY:
		c.copy.src = address(r);
		c.copy.dst = address(r);
		c.copy.len = length(r);
		break;
	case RDU_OP_FILL:
		c.fill.dst = address(r) & ~3ULL;
		c.fill.len = length(r) & ~3ULL;
		c.fill.value = below(r, GRANTED);
		break;
	case RDU_OP_TIMESTAMP:
		c.copy.dst = address(r) & ~7ULL;
		break;
	case RDU_OP_RUN:
	case RDU_OP_ALOAD:
		c.run.args = one_in(r, 8) ? address(r) : ARGS + below(r, 3) * 0x100;
		c.run.args_size = one_in(r, 8) ? length(r) : DOUBLER_ARGS;
		/* fall through */
	case RDU_OP_PLOAD:
	case RDU_OP_EXEC:
		if (c.op == RDU_OP_RUN || c.op == RDU_OP_PLOAD)
			c.slot = below(r, 3);
		if (one_in(r, 3))
			c.run.stats = address(r);
		if (one_in(r, 3)) {
			c.run.trace = address(r);
			c.run.trace_size = length(r);
		}
		break;
	case RDU_OP_PROG_LOAD:
		c.slot = below(r, 3);
		c.prog.addr = one_in(r, 8) ? card_address(r) : IMAGE;
		c.prog.size = one_in(r, 8) ? length(r) : image_size;
		c.prog.result = one_in(r, 4)   ? host_page(r) + near_page(r)
				: one_in(r, 2) ? RESULTS + below(r, 4000)
					       : 0;
		c.prog.tiles = below(r, 6);
		break;
	case RDU_OP_PROG_UNLOAD:
		c.slot = below(r, 4);
		break;
	}
	/* Of the administrator's commands only in rounds where all may go wrong. */
	if (one_in(r, 8) && (queue || wild))
		((uint8_t *)&c)[below(r, sizeof(c))] ^= 1u << below(r, 8);
	return c;
}

/* ---- the second thread ---------------------------------------------------- */

static atomic_bool racing;
static struct rnd racer_rnd;

static void *racer(void *unused)
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

static void poke(uint64_t at, uint64_t value, unsigned int size)
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

static void enable(struct rnd *r, unsigned int queue)
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

static void setup(void)
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
static void revive(void)
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
static void plug(struct rnd *r)
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
static void unplug(void)
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

static void resume(void)
{
	if (stopped)
		order("{\"execute\":\"cont\"}");
	stopped = false;
}

static void act(struct rnd *r)
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

/* ---- the end of a round --------------------------------------------------- */

#define CHECK(condition)                                           \
	do {                                                       \
		if (!(condition))                                  \
			fail("line %d: %s", __LINE__, #condition); \
	} while (0)

static void recover(void)
{
	static const char *const counts[] = { "fault-drop-irq", "fault-poison", "fault-dma",
					      "fault-ecc-ue" };

	step = "recover";
	alarm(PATIENCE);
	resume();
	unplug();
	set_property("fault-hang", "-1");
	set_property("fault-stuck", "-1");
	for (unsigned int i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		set_property(counts[i], "0");
	revive();
	qtest_cfg_write(q, SLOT, pcie + 8, 0x8000, 2);
	setup();
}

/* A copy in through the host's pages and out through the large one. */
static void works(struct rnd *r)
{
	uint8_t in[9000];
	struct rdu_cmd c[] = {
		{ .op = RDU_OP_COPY,
		  .seqno = 1,
		  .copy = { .src = 0x200000, .dst = 0x40003, .len = sizeof(in) } },
		{ .op = RDU_OP_COPY,
		  .flags = RDU_CMD_IRQ,
		  .seqno = 2,
		  .copy = { .src = 0x40003, .dst = 0xe00000 + 0x100000, .len = sizeof(in) } },
	};

	step = "work after a reset";
	build_tables(r);
	for (unsigned int i = 0; i < sizeof(in); i++)
		in[i] = bits(r);
	memcpy(ram + GRANTED, in, sizeof(in));
	memset(ram + CPL(1), 0, 8);
	memset(ram + MSI(1), 0, 4);
	qtest_write(q, card.regs + 0x8000 + 16, MSI(1), 4);
	CHECK(card_read(&card, RDU_REG_MAGIC) == RDU_MAGIC);
	CHECK(card_read(&card, RDU_REG_STATUS) == RDU_STATUS_READY);
	card_write(&card, RDU_REG_CTRL, RDU_CTRL_ENABLE);
	card_write64(&card, RDU_REG_QUEUE(1) + RDU_REG_Q_RING_LO, RING(1));
	card_write(&card, RDU_REG_QUEUE(1) + RDU_REG_Q_RING_LOG2, ENTRIES_LOG2);
	card_write64(&card, RDU_REG_QUEUE(1) + RDU_REG_Q_CPL_LO, CPL(1));
	card_write(&card, RDU_REG_QUEUE(1) + RDU_REG_Q_CTRL, 1);
	memcpy(ram + RING(1), c, sizeof(c));
	qtest_write(q, card.doorbells + RDU_DOORBELL_STRIDE, 2, 4);
	for (unsigned int n = 0; n < 20000; n++) {
		if (!memcmp(ram + CPL(1), &c[1].seqno, 8) && ram[MSI(1) + 3])
			break;
		CHECK(card_read(&card, RDU_REG_QUEUE(1) + RDU_REG_Q_STATUS) != RDU_QUEUE_FAULTED);
		usleep(100);
	}
	CHECK(!memcmp(ram + CPL(1), &c[1].seqno, 8));
	CHECK(ram[MSI(1) + 3] == MSI_DATA(1) >> 24);
	CHECK(!memcmp(ram + GRANTED + 0x100000, in, sizeof(in)));
	CHECK(card_read(&peer, RDU_REG_MAGIC) == RDU_MAGIC);
	CHECK(qtest_alive(q));
	alarm(0);
}

#define MARK "do not touch it!"

static void check_guard(void)
{
	for (unsigned int i = GUARD; i < RAM; i += 4096)
		if (memcmp(ram + i, guard + i, 4096))
			fail("host memory at %#x was written, which nobody gave to the card", i);
	if (memmem(mem, MEM, MARK, 16) || memmem(ram, GUARD, MARK, 16))
		fail("host memory was read that nobody gave to the card");
}

static void one_round(void)
{
	struct rnd r = { seed * 0x2545f4914f6cdd1dULL };
	struct rdu_cmd load;
	pthread_t thread;

	say("round %" PRIu64, seed);
	wild = seed & 1;
	racer_rnd.state = ~r.state;
	restore_images();
	build_tables(&r);
	for (unsigned int i = 0; i < QUEUES; i++)
		enable(&r, i);
	poke(card.regs + RDU_REG_CTRL, RDU_CTRL_ENABLE, 4);
	load = (struct rdu_cmd){ .op = RDU_OP_PROG_LOAD,
				 .prog = { .addr = IMAGE, .size = image_size } };
	memcpy(ram + RING(0) + (tail[0]++ & 63) * sizeof(load), &load, sizeof(load));
	poke(card.doorbells, tail[0], 4);
	if (one_in(&r, 2))
		plug(&r);
	racing = below(&r, 2);
	if (racing && pthread_create(&thread, NULL, racer, NULL))
		fail("no thread");
	for (unsigned int i = 0; i < ACTIONS && (i % 50 || qtest_alive(q)); i++)
		act(&r);
	if (racing) {
		racing = false;
		pthread_join(thread, NULL);
	}
	if (!qtest_alive(q))
		fail("QEMU is gone");
	recover();
	if (!wild)
		check_guard();
	else
		memcpy(ram + GUARD, guard + GUARD, RAM - GUARD);
	works(&r);
	if (wild) { /* nothing that it brought here may be found later */
		memset(mem + DATA, 0, MEM - DATA);
		memset(ram + RING(0), 0, GUARD - RING(0));
	}
}

/* ---- QEMU ----------------------------------------------------------------- */

/* A file of so many bytes, gone when everybody has let go of it. */
static void *shared_file(char *path, size_t size)
{
	int fd = mkstemp(path);
	void *p;

	if (fd < 0 || ftruncate(fd, size)) {
		perror(path);
		exit(1);
	}
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p;
}

static void start(void)
{
	char ram_path[] = "/dev/shm/fuzz-ram-XXXXXX", mem_path[] = "/dev/shm/fuzz-mem-XXXXXX";
	char ram_arg[200], mem_arg[200], chardev[60];
	const char *args[] = { "-m",	   "16M",
			       "-object",  ram_arg,
			       "-object",  mem_arg,
			       "-object",  "memory-backend-ram,id=peer,size=2M",
			       "-machine", "memory-backend=ram",
			       "-chardev", chardev,
			       "-mon",	   "chardev=qmp,mode=control",
			       "-device",  "rdu,id=rdu0,addr=4,memdev=mem,threads=2",
			       "-device",  "rdu,id=rdu1,addr=5,memdev=peer,threads=1",
			       "-object",  "memory-backend-ram,id=guestmem,size=2M",
			       "-device",  "pcie-root-port,id=hotport,addr=6,chassis=1,slot=1",
			       "-global",  "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
			       NULL };

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, monitor))
		exit(1);
	fcntl(monitor[0], F_SETFD, FD_CLOEXEC);
	ram = shared_file(ram_path, RAM);
	mem = shared_file(mem_path, MEM);
	snprintf(ram_arg, sizeof(ram_arg),
		 "memory-backend-file,id=ram,size=%u,share=on,mem-path=%s", RAM, ram_path);
	snprintf(mem_arg, sizeof(mem_arg),
		 "memory-backend-file,id=mem,size=%u,share=on,mem-path=%s", MEM, mem_path);
	snprintf(chardev, sizeof(chardev), "socket,id=qmp,fd=%d", monitor[1]);
	first_seed = seed;
	step = "start";
	q = qtest_start(args);
	close(monitor[1]);
	unlink(ram_path);
	unlink(mem_path);
	answers = fdopen(monitor[0], "r");
	order("{\"execute\":\"qmp_capabilities\"}");
	stopped = false;
	setup();
	pcie = card_find_cap(&card, 0x10);
	pm = card_find_cap(&card, 0x01);
	visitor.q = q;
	visitor.slot = 32; /* the first of bus 1 */
	visitor.regs = 0xf0000000;
	visitor.doorbells = 0xf0100000;
	visitor.mem = 0xf0200000;
	port = card_find_cap(&(struct card){ .q = q, .slot = PORT_SLOT }, 0x10);
	plugged = false;
	if (!pcie || !pm || !port)
		fail("no capabilities");
	memcpy(ram + GUARD, guard + GUARD, RAM - GUARD);
}

static void stop(void)
{
	int end;

	step = "the end of QEMU";
	alarm(PATIENCE);
	end = qtest_stop(q);
	alarm(0);
	if (end) {
		fprintf(stderr, "ERROR: QEMU ended with %d\n", end);
		seed--;
		hint();
		exit(1);
	}
	fclose(answers);
	munmap(ram, RAM);
	munmap(mem, MEM);
}

static uint64_t option(int argc, char **argv, const char *name, uint64_t value)
{
	size_t n = strlen(name);

	for (int i = 1; i < argc; i++)
		if (!strncmp(argv[i], name, n) && argv[i][n] == '=')
			value = strtoull(argv[i] + n + 1, NULL, 0);
	return value;
}

int main(int argc, char **argv)
{
	uint64_t runs = option(argc, argv, "-runs", ~0ULL), done = 0;
	time_t begin = time(NULL), end = begin + option(argc, argv, "-max_total_time", 1 << 30);
	char why[200];

	verbose = option(argc, argv, "-verbose", 0);
	seed = option(argc, argv, "-seed", (uint64_t)begin * 1000);
	if (rdu_chip_find("sn10", &chip, why, sizeof(why)))
		return 1;
	image = doubler_image(&chip, &image_size);
	guard = malloc(RAM);
	if (!guard)
		return 1;
	for (unsigned int i = 0; i < RAM; i += 32) {
		memcpy(guard + i, MARK, 16);
		snprintf((char *)guard + i + 16, 16, "%15u", i);
	}
	signal(SIGALRM, too_long);
	if (!getenv("QEMU") || !*getenv("QEMU"))
		setenv("QEMU", "build/qemu/asan/qemu-system-x86_64", 1);
	setenv("ASAN_OPTIONS", "allocator_may_return_null=1:detect_leaks=1", 0);
	setenv("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1", 0);
	for (; done < runs && time(NULL) < end; done++, seed++) {
		if (done % ROUNDS_PER_QEMU == 0) {
			if (done)
				stop();
			start();
		}
		one_round();
	}
	stop();
	printf("%" PRIu64 " commands fetched by queues that were reset then; faults:", fetched);
	for (unsigned int i = 0; i < 16; i++)
		printf(" %" PRIu64, faults[i]);
	printf("\nDone %" PRIu64 " runs in %ld second(s)\n", done, (long)(time(NULL) - begin));
	return 0;
}
