// SPDX-License-Identifier: MIT
/*
 * What a hostile guest can do to the card: registers and doorbells at any
 * offset and size, commands of any content, page tables and program images
 * changed under its hands, faults, resets, pauses, its own state saved, damaged
 * and loaded, at any moment. Input is a list of actions; whatever they do, the
 * card must survive and come back from a reset, and touch no host memory but what
 * rings, completion words, commands and page tables have led it to.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "doubler.h"

#define MEM (4u << 20)
#define HOST (1u << 20)
#define RING(q) ((q)*0x1000u)
#define CPL(q) (0x40000u + (q)*8u)
#define ROOT 0x100000u /* card: page tables from here */
#define IMAGE 0x180000u /* card: a valid program image */
#define DATA 0x200000u /* card: mapped at VA */
#define ARGS (DATA + 0x8000u)
#define VA 0x40000000ULL /* + 0: 64 card pages; + 1M: 16 host; + 2M: read only */

static struct rdu_chip chip;
static struct rdu_card *card;
static unsigned char *mem, *host, *clean;
static size_t image_size;
static uint32_t tail[4];
static _Atomic unsigned int irqs;

/* ---- what the card was given of the host ---------------------------------- */

struct grant {
	uint64_t first, size;
	bool ring, write;
};

static struct grant granted[512];
static unsigned int num_granted;
/* The tables may have become anything: nothing is known any more. */
static bool all_granted;
static pthread_mutex_t grant_lock = PTHREAD_MUTEX_INITIALIZER;

static void grant_locked(uint64_t first, uint64_t size, bool ring, bool write)
{
	const struct grant g = { first, size, ring, write };

	for (unsigned int i = 0; i < num_granted; i++)
		if (!memcmp(&granted[i].first, &g.first, 16) && granted[i].ring == ring &&
		    granted[i].write == write)
			return;
	if (num_granted == sizeof(granted) / sizeof(*granted))
		all_granted = true;
	else
		granted[num_granted++] = g;
}

static void grant(uint64_t first, uint64_t size, bool ring, bool write)
{
	pthread_mutex_lock(&grant_lock);
	grant_locked(first, size, ring, write);
	pthread_mutex_unlock(&grant_lock);
}

static void grant_all(void)
{
	pthread_mutex_lock(&grant_lock);
	all_granted = true;
	pthread_mutex_unlock(&grant_lock);
}

static const struct grant *grant_of(uint64_t addr, uint64_t len, bool write)
{
	for (unsigned int i = 0; i < num_granted; i++) {
		const struct grant *g = &granted[i];

		if (addr - g->first < g->size && len <= g->size - (addr - g->first) &&
		    (!write || g->write))
			return g;
	}
	return NULL;
}

/* Page by page: neighbours may have been granted one by one. */
static void check_grant(uint64_t addr, uint64_t len, bool write)
{
	pthread_mutex_lock(&grant_lock);
	while (len && !all_granted) {
		uint64_t n = 4096 - (addr & 4095);

		if (n > len)
			n = len;
		if (!grant_of(addr, n, write)) {
			fprintf(stderr, "ERROR: host memory at %#llx is %s, which nothing led to\n",
				(unsigned long long)addr, write ? "written" : "read");
			abort();
		}
		addr += n;
		len -= n;
	}
	pthread_mutex_unlock(&grant_lock);
}

/* Commands that were fetched may say where an answer goes. */
static void grant_answers(uint64_t addr, const void *buf, uint64_t len)
{
	const struct grant *g;
	struct rdu_cmd c;

	pthread_mutex_lock(&grant_lock);
	g = grant_of(addr, len, false);
	for (uint64_t i = 0; g && g->ring && i + sizeof(c) <= len; i += sizeof(c)) {
		memcpy(&c, (const char *)buf + i, sizeof(c));
		if (c.op == RDU_OP_PROG_LOAD)
			grant_locked(c.prog.result, sizeof(struct rdu_prog_result), false, true);
	}
	pthread_mutex_unlock(&grant_lock);
}

/* After a write to BAR0: what the queue's registers say now. */
static void grant_registers(uint64_t at)
{
	uint64_t q = (at - RDU_QUEUE_BASE) / RDU_QUEUE_STRIDE, r = RDU_REG_QUEUE(q);
	uint64_t ring, log2, root;

	if (at < RDU_QUEUE_BASE || q >= RDU_MAX_QUEUES)
		return;
	ring = rdu_card_mmio_read(card, r + RDU_REG_Q_RING_LO, 8);
	log2 = rdu_card_mmio_read(card, r + RDU_REG_Q_RING_LOG2, 4);
	grant(ring, (uint64_t)sizeof(struct rdu_cmd) << (log2 > 16 ? 16 : log2), true, false);
	grant(rdu_card_mmio_read(card, r + RDU_REG_Q_CPL_LO, 8), 8, false, true);
	root = rdu_card_mmio_read(card, r + RDU_REG_Q_PT_LO, 8);
	if ((root && root != ROOT) || (!q && log2 && (ring != RING(0) || log2 != 4)))
		grant_all();
}

/* The tables' pages: one each of levels 3, 2 and 1, then level 0. */
static unsigned int level_of(uint64_t at)
{
	return at - ROOT < 3 * 4096 ? 3 - (at - ROOT) / 4096 : 0;
}

/* Before it is written to the tables at `at`. */
static void grant_entry(uint64_t at, uint64_t e)
{
	uint64_t addr = e & RDU_PTE_ADDR, size = e & RDU_PTE_LARGE ? 1ULL << 30 : 4096;
	unsigned int level = level_of(at);
	bool tables = addr < ROOT + 0x8000; /* or zeros, which are tables too */

	if (!(e & RDU_PTE_VALID))
		return;
	if (e & RDU_PTE_HOST) {
		grant(addr, size, false, e & RDU_PTE_WRITE);
		if (addr < 0x1000) /* where the administrator's commands are */
			grant_all();
	} else if (e & RDU_PTE_LARGE || !level) {
		if (tables && e & RDU_PTE_WRITE)
			grant_all();
	} else if (!tables || level_of(addr) != level - 1) {
		grant_all(); /* data as a table */
	}
}

static int do_read(void *opaque, uint64_t addr, void *buf, uint64_t len)
{
	(void)opaque;
	check_grant(addr, len, false);
	if (addr > HOST || len > HOST - addr)
		return -1;
	memcpy(buf, host + addr, len);
	grant_answers(addr, buf, len);
	return 0;
}

static int do_write(void *opaque, uint64_t addr, const void *buf, uint64_t len)
{
	(void)opaque;
	check_grant(addr, len, true);
	if (addr > HOST || len > HOST - addr)
		return -1;
	memcpy(host + addr, buf, len);
	return 0;
}

static void *do_map(void *opaque, uint64_t addr, uint64_t len, bool write)
{
	(void)opaque;
	check_grant(addr, len, write);
	return addr > HOST || len > HOST - addr || addr & 0x1000 ? NULL : host + addr;
}

static void do_unmap(void *opaque, void *ptr, uint64_t len, bool write)
{
	(void)opaque;
	(void)ptr;
	(void)len;
	(void)write;
}

static void do_irq(void *opaque, unsigned int vector)
{
	(void)opaque;
	if (vector >= RDU_NUM_VECTORS)
		abort();
	irqs++;
}

static const struct rdu_host_ops ops = {
	.read = do_read,
	.write = do_write,
	.irq = do_irq,
	.map = do_map,
	.unmap = do_unmap,
	.brief_in_doorbell = true,
};

static uint64_t *pte(unsigned int table, uint64_t va, unsigned int level)
{
	return (uint64_t *)(void *)(clean + ROOT + table * 4096u) +
	       (va >> (RDU_PT_SHIFT + RDU_PT_BITS * level) & 511);
}

static void prepare(void)
{
	struct rdu_card_config config = { .chip = &chip, .mem_size = MEM, .threads = 2 };
	const char *why;
	char error[200];
	unsigned int i;
	void *image;

	if (rdu_chip_find("sn10", &chip, error, sizeof(error)))
		abort();
	chip.pmu_bytes = 8192; /* all of it goes by when the card is saved */
	clean = calloc(1, MEM);
	mem = aligned_alloc(4096, MEM);
	host = calloc(1, HOST);
	if (!clean || !mem || !host)
		abort();
	*pte(0, VA, 3) = (ROOT + 4096) | RDU_PTE_VALID;
	*pte(1, VA, 2) = (ROOT + 8192) | RDU_PTE_VALID;
	for (i = 0; i < 3; i++)
		*pte(2, VA + ((uint64_t)i << 21), 1) = (ROOT + 12288 + i * 4096) | RDU_PTE_VALID;
	for (i = 0; i < 64; i++)
		*pte(3, VA + i * 4096, 0) = (DATA + i * 4096) | RDU_PTE_VALID | RDU_PTE_WRITE;
	for (i = 0; i < 16; i++)
		*pte(3, VA + (1 << 20) + i * 4096, 0) =
			(0x80000 + i * 4096) | RDU_PTE_VALID | RDU_PTE_WRITE | RDU_PTE_HOST;
	*pte(4, VA + (2 << 20), 1) = 0;
	for (i = 0; i < 64; i++)
		*pte(4, VA + (2 << 20) + i * 4096, 0) = (DATA + i * 4096) | RDU_PTE_VALID;
	*pte(2, VA + (4 << 20), 1) = 0x200000 | RDU_PTE_VALID | RDU_PTE_LARGE | RDU_PTE_WRITE;
	image = doubler_image(&chip, &image_size);
	memcpy(clean + IMAGE, image, image_size);
	free(image);
	doubler_args(clean + ARGS, VA, VA + (1 << 20));
	memcpy(mem, clean, MEM);
	config.mem = mem;
	card = rdu_card_new(&config, &ops, NULL, &why);
	if (!card)
		abort();
}

static void enable(unsigned int q, unsigned int tile)
{
	uint64_t r = RDU_REG_QUEUE(q);

	rdu_card_mmio_write(card, RDU_REG_CTRL, 1, 4);
	rdu_card_mmio_write(card, r + RDU_REG_Q_RING_LO, RING(q), 8);
	rdu_card_mmio_write(card, r + RDU_REG_Q_RING_LOG2, 4, 4);
	rdu_card_mmio_write(card, r + RDU_REG_Q_CPL_LO, CPL(q), 8);
	rdu_card_mmio_write(card, r + RDU_REG_Q_PT_LO, ROOT, 8);
	rdu_card_mmio_write(card, r + RDU_REG_Q_TILE_FIRST, tile, 4);
	rdu_card_mmio_write(card, r + RDU_REG_Q_TILE_COUNT, q ? 1 : 0, 4);
	rdu_card_mmio_write(card, r + RDU_REG_Q_WATCHDOG_MS, 200, 4);
	grant_registers(r);
	rdu_card_mmio_write(card, r + RDU_REG_Q_CTRL, 1, 4);
	tail[q] = 0;
}

static void submit(unsigned int q, const struct rdu_cmd *c)
{
	memcpy(host + RING(q) + (tail[q]++ & 15) * sizeof(*c), c, sizeof(*c));
	rdu_card_doorbell(card, q * RDU_DOORBELL_STRIDE, tail[q], 4);
}

static void settle(void)
{
	unsigned int i, q;

	for (i = 0; i < 200; i++) {
		for (q = 0; q < 4; q++)
			if (rdu_card_mmio_read(card, RDU_REG_QUEUE(q) + RDU_REG_Q_STATUS, 4) ==
			    RDU_QUEUE_RUNNING)
				break;
		if (q == 4)
			return;
		usleep(20);
	}
}

struct input {
	const uint8_t *p;
	size_t n;
};

static uint64_t take(struct input *in, unsigned int bytes)
{
	uint64_t v = 0;

	while (bytes--) {
		v = v << 8 | (in->n ? *in->p : 0);
		if (in->n) {
			in->p++;
			in->n--;
		}
	}
	return v;
}

/* An address that often leads somewhere; of queue 0 none among the tables. */
static uint64_t address(struct input *in, unsigned int q)
{
	if (!q)
		return DATA + take(in, 3);
	switch (take(in, 1) & 7) {
	case 0:
		return take(in, 8);
	case 1:
		return VA + (1 << 20) + take(in, 2);
	case 2:
		return VA + (2 << 20) + take(in, 2);
	case 3:
		return VA + (4 << 20) + take(in, 3);
	case 4:
		return 0;
	default:
		return VA + (take(in, 2) & ~63ull);
	}
}

static void command(struct input *in)
{
	static const uint8_t op[] = { 0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 64, 65 };
	struct rdu_cmd c = { .op = op[take(in, 1) % sizeof(op)] };
	unsigned int q = take(in, 1) & 3, i;

	if (c.op >= 64)
		q = 0;
	c.flags = take(in, 1) & 1;
	c.seqno = take(in, 1);
	switch (c.op) {
	case RDU_OP_COPY:
		c.copy.src = address(in, q);
		c.copy.dst = address(in, q);
		c.copy.len = take(in, 3);
		break;
	case RDU_OP_FILL:
		c.fill.dst = address(in, q) & ~3ull;
		c.fill.len = take(in, 3) & ~3ull;
		c.fill.value = (uint32_t)take(in, 4);
		break;
	case RDU_OP_TIMESTAMP:
		c.copy.dst = address(in, q) & ~7ull;
		break;
	case RDU_OP_PROG_LOAD:
		c.slot = take(in, 1) & 3;
		c.prog.addr = IMAGE;
		c.prog.size = image_size - (take(in, 1) == 1);
		c.prog.result = take(in, 1) & 1 ? take(in, 3) : 0;
		break;
	case RDU_OP_PROG_UNLOAD:
		c.slot = take(in, 1) & 3;
		break;
	case RDU_OP_RUN:
	case RDU_OP_PLOAD:
		c.slot = take(in, 1) & 3;
		/* fall through */
	case RDU_OP_ALOAD:
	case RDU_OP_EXEC:
		if (c.op == RDU_OP_RUN || c.op == RDU_OP_ALOAD) {
			c.run.args = take(in, 1) & 7 ? VA + (ARGS - DATA) : address(in, q);
			c.run.args_size = take(in, 1) & 7 ? DOUBLER_ARGS : take(in, 2);
		}
		if (take(in, 1) & 1)
			c.run.stats = address(in, q);
		if (take(in, 1) & 1) {
			c.run.trace = address(in, q);
			c.run.trace_size = (uint32_t)take(in, 2);
		}
		break;
	}
	if (take(in, 1) == 255) {
		if (!q)
			grant_all();
		for (i = 0; i < sizeof(c); i++)
			((uint8_t *)&c)[i] ^= (uint8_t)take(in, 1);
	}
	submit(q, &c);
}

/* ---- the card as a stream ---------------------------------------------------- */

#define STATE_MAX (16u << 20)

static unsigned char *state;
static size_t state_size, state_at;

static int put_state(void *opaque, const void *buf, size_t len)
{
	(void)opaque;
	if (len > STATE_MAX - state_size)
		return -1;
	memcpy(state + state_size, buf, len);
	state_size += len;
	return 0;
}

static int get_state(void *opaque, void *buf, size_t len)
{
	(void)opaque;
	if (len > state_size - state_at)
		return -1;
	memcpy(buf, state + state_at, len);
	state_at += len;
	return 0;
}

/* Saved and loaded, the card goes on; with bytes changed, or the end missing,
 * it is refused or is any card that could be. */
static void save_and_load(struct input *in)
{
	unsigned int changes = take(in, 1) % 8;
	char error[300] = "";

	if (!state)
		state = malloc(STATE_MAX);
	if (!state)
		abort();
	state_size = state_at = 0;
	rdu_card_pause(card);
	if (rdu_card_save(card, put_state, NULL, error, sizeof(error))) {
		fprintf(stderr, "ERROR: not saved: %s\n", error);
		abort();
	}
	if (changes > 4)
		grant_all();
	for (unsigned int i = 4; i < changes; i++) {
		uint64_t at = take(in, 3);

		/* Most of it is empty slots and queues: the beginning often. */
		at %= at & 1 ? state_size : state_size < 16384 ? state_size : 16384;
		if (i == 7)
			state_size = at;
		else
			state[at] ^= (uint8_t)take(in, 1);
	}
	if (rdu_card_load(card, get_state, NULL, error, sizeof(error)) && changes <= 4) {
		fprintf(stderr, "ERROR: not loaded: %s\n", error);
		abort();
	}
	rdu_card_inject(card, RDU_INJECT_DEAD, 0);
	rdu_card_inject(card, RDU_INJECT_GONE, 0);
	rdu_card_resume(card);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	unsigned int q, actions = 0;
	struct rdu_cmd c = { .op = RDU_OP_PROG_LOAD };
	uint64_t at, value;

	if (!card)
		prepare();
	memcpy(mem, clean, MEM);
	num_granted = 0;
	all_granted = false;
	for (at = 0; at < 0x8000; at += 8)
		grant_entry(ROOT + at, *(uint64_t *)(void *)(mem + ROOT + at));
	for (q = 0; q < 3; q++)
		enable(q, q);
	c.prog.addr = IMAGE;
	c.prog.size = image_size;
	submit(0, &c);
	settle();
	/* Queue 1 starts with a section loaded. */
	c = (struct rdu_cmd){ .op = RDU_OP_RUN };
	c.run.args = VA + (ARGS - DATA);
	c.run.args_size = DOUBLER_ARGS;
	submit(1, &c);
	while (in.n && actions++ < 200) {
		switch (take(&in, 1) % 16) {
		case 0:
			at = take(&in, 2);
			rdu_card_mmio_write(card, at, take(&in, 4), 1u << (take(&in, 1) & 3));
			grant_registers(at);
			break;
		case 1:
			at = take(&in, 1) & 3;
			rdu_card_mmio_write(card, RDU_REG_QUEUE(at) + (take(&in, 1) & 0xfc),
					    take(&in, 2), 4);
			grant_registers(RDU_REG_QUEUE(at));
			break;
		case 2:
			at = take(&in, 2);
			rdu_card_mmio_read(card, at, 1u << (take(&in, 1) & 3));
			break;
		case 3: /* a word of the page tables */
			at = ROOT + (take(&in, 2) & 0x7ff8);
			value = take(&in, 8);
			grant_entry(at, value);
			__atomic_store_n((uint64_t *)(void *)(mem + at), value, __ATOMIC_RELAXED);
			break;
		case 4: /* a word of the argument block or of the image */
			at = (take(&in, 1) & 1 ? ARGS : IMAGE) + (take(&in, 2) & 0xfff);
			mem[at] ^= (uint8_t)take(&in, 1);
			break;
		case 5:
			at = take(&in, 3);
			rdu_card_doorbell(card, at, take(&in, 4), 1u << (take(&in, 1) & 3));
			break;
		case 6:
			rdu_card_pause(card);
			if (take(&in, 1) & 1)
				command(&in);
			rdu_card_resume(card);
			break;
		case 7:
			if (take(&in, 1) & 1)
				rdu_card_reset(card);
			break;
		case 8:
			enable(take(&in, 1) & 3, take(&in, 1) & 7);
			break;
		case 9:
			at = take(&in, 1) & 3;
			rdu_card_mmio_write(card, RDU_REG_QUEUE(at) + RDU_REG_Q_CTRL,
					    take(&in, 1) & 3, 4);
			break;
		case 10:
			settle();
			break;
		case 11: /* not dead for long: nothing would be tried */
			at = take(&in, 1) % RDU_NUM_INJECTS;
			rdu_card_inject(card, at, take(&in, 1) % 4);
			rdu_card_inject(card, RDU_INJECT_DEAD, 0);
			rdu_card_inject(card, RDU_INJECT_GONE, 0);
			break;
		case 12:
			save_and_load(&in);
			break;
		default:
			command(&in);
			break;
		}
	}
	for (q = 0; q < RDU_NUM_INJECTS; q++)
		rdu_card_inject(card, q, rdu_inject_kind(q) == RDU_INJECT_QUEUE ? -1 : 0);
	rdu_card_power_on(card);
	if (rdu_card_mmio_read(card, RDU_REG_STATUS, 4) != RDU_STATUS_READY)
		abort();
	return 0;
}
