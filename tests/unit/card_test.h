/* SPDX-License-Identifier: MIT */
/*
 * A card with a host around it, for tests: host memory is an array, interrupts
 * are counted, and every queue has its ring and completion word in it.
 */
#ifndef CARD_TEST_H
#define CARD_TEST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "rdu_card.h"
#include "tap.h"

#define is(got, want, what)                                                                        \
	do {                                                                                       \
		unsigned long long g_ = (got), w_ = (want);                                        \
		if (!ok(g_ == w_, "%s", what))                                                     \
			printf("# %s:%d: got %llu (0x%llx), want %llu (0x%llx)\n", __FILE__,       \
			       __LINE__, g_, g_, w_, w_);                                          \
	} while (0)

#define HOST_SIZE (16u << 20)
#define HOST_BASE 0x100000000ULL /* host addresses start here */
#define CARD_MEM (256u << 20)
#define RING_LOG2 4

struct bed {
	struct rdu_chip chip;
	struct rdu_card *card;
	unsigned char *mem, *host;
	_Atomic unsigned int irqs[RDU_NUM_VECTORS];
	_Atomic bool bad_bus; /* host memory refuses */
	_Atomic unsigned int errors;
	_Atomic unsigned int maps, unmaps;
	uint32_t tail[RDU_MAX_QUEUES];
	uint64_t seq[RDU_MAX_QUEUES];
	uint64_t pt_next; /* page tables are allocated from here up */
};

static int bed_read(void *opaque, uint64_t addr, void *buf, uint64_t len)
{
	struct bed *b = opaque;

	if (b->bad_bus || addr < HOST_BASE || addr - HOST_BASE > HOST_SIZE ||
	    len > HOST_SIZE - (addr - HOST_BASE))
		return -1;
	memcpy(buf, b->host + (addr - HOST_BASE), len);
	return 0;
}

static int bed_write(void *opaque, uint64_t addr, const void *buf, uint64_t len)
{
	struct bed *b = opaque;

	if (b->bad_bus || addr < HOST_BASE || addr - HOST_BASE > HOST_SIZE ||
	    len > HOST_SIZE - (addr - HOST_BASE))
		return -1;
	if (len == 8 && !(addr & 7)) {
		uint64_t v;

		memcpy(&v, buf, 8);
		__atomic_store_n((uint64_t *)(void *)(b->host + (addr - HOST_BASE)), v,
				 __ATOMIC_RELEASE);
		return 0;
	}
	memcpy(b->host + (addr - HOST_BASE), buf, len);
	return 0;
}

static void bed_irq(void *opaque, unsigned int vector)
{
	struct bed *b = opaque;

	b->irqs[vector]++;
}

static uint64_t bed_now(void *opaque)
{
	struct timespec t;

	(void)opaque;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void bed_error(void *opaque, const char *text)
{
	struct bed *b = opaque;

	(void)text;
	b->errors++;
}

static void *bed_map_host(void *opaque, uint64_t addr, uint64_t len, bool write)
{
	struct bed *b = opaque;

	(void)write;
	if (b->bad_bus || addr < HOST_BASE || addr - HOST_BASE > HOST_SIZE ||
	    len > HOST_SIZE - (addr - HOST_BASE))
		return NULL;
	b->maps++;
	return b->host + (addr - HOST_BASE);
}

static void bed_unmap_host(void *opaque, void *ptr, uint64_t len, bool write)
{
	struct bed *b = opaque;

	(void)ptr;
	(void)len;
	(void)write;
	b->unmaps++;
}

static struct rdu_host_ops bed_ops = {
	.map = bed_map_host,
	.unmap = bed_unmap_host,
	.read = bed_read,
	.write = bed_write,
	.irq = bed_irq,
	.now_ns = bed_now,
	.guest_error = bed_error,
};

__attribute__((unused)) static struct bed *bed_new(const char *chip, unsigned int threads,
						   bool timing_only)
{
	struct bed *b = calloc(1, sizeof(*b));
	struct rdu_card_config config;
	const char *why;
	char error[200];

	if (!b || rdu_chip_find(chip, &b->chip, error, sizeof(error)))
		abort();
	b->host = calloc(1, HOST_SIZE);
	b->mem = aligned_alloc(4096, CARD_MEM);
	if (!b->host || !b->mem)
		abort();
	memset(b->mem, 0, CARD_MEM);
	b->pt_next = CARD_MEM - (8u << 20);
	config = (struct rdu_card_config){ .chip = &b->chip,
					   .mem = b->mem,
					   .mem_size = CARD_MEM,
					   .threads = threads,
					   .serial = "TEST0001",
					   .timing_only = timing_only };
	b->card = rdu_card_new(&config, &bed_ops, b, &why);
	if (!b->card) {
		printf("Bail out! %s\n", why);
		exit(1);
	}
	return b;
}

__attribute__((unused)) static void bed_free(struct bed *b)
{
	rdu_card_free(b->card);
	free(b->mem);
	free(b->host);
	free(b);
}

static inline uint32_t rd(struct bed *b, uint64_t reg)
{
	return (uint32_t)rdu_card_mmio_read(b->card, reg, 4);
}

static inline void wr(struct bed *b, uint64_t reg, uint32_t v)
{
	rdu_card_mmio_write(b->card, reg, v, 4);
}

static inline uint32_t qrd(struct bed *b, unsigned int q, uint32_t reg)
{
	return rd(b, RDU_REG_QUEUE(q) + reg);
}

static inline void qwr(struct bed *b, unsigned int q, uint32_t reg, uint32_t v)
{
	wr(b, RDU_REG_QUEUE(q) + reg, v);
}

/* Host memory: 1 KiB ring and a completion word per queue, free from 256 KiB. */
static inline uint64_t ring_addr(unsigned int q)
{
	return HOST_BASE + q * 1024;
}

static inline uint64_t cpl_addr(unsigned int q)
{
	return HOST_BASE + 0x20000 + q * 8;
}

#define HOST_FREE (HOST_BASE + 0x40000)

static inline void *host_ptr(struct bed *b, uint64_t addr)
{
	return b->host + (addr - HOST_BASE);
}

/* Maps [va, va + len) at card or host address pa. level: 0, 1 (2 MiB), 2 (1 GiB). */
__attribute__((unused)) static void bed_map(struct bed *b, uint64_t root, uint64_t va,
					    uint64_t pa, uint64_t len, uint64_t flags,
					    unsigned int level)
{
	uint64_t size = 1ULL << (RDU_PT_SHIFT + RDU_PT_BITS * level);

	for (; len; len -= len < size ? len : size, va += size, pa += size) {
		uint64_t table = root, *e;
		unsigned int l;

		for (l = RDU_PT_LEVELS - 1; l > level; l--) {
			e = (uint64_t *)(void *)(b->mem + table) +
			    (va >> (RDU_PT_SHIFT + RDU_PT_BITS * l) & 511);
			if (!*e) {
				*e = b->pt_next | RDU_PTE_VALID;
				b->pt_next += 4096;
			}
			table = *e & RDU_PTE_ADDR;
		}
		e = (uint64_t *)(void *)(b->mem + table) +
		    (va >> (RDU_PT_SHIFT + RDU_PT_BITS * level) & 511);
		*e = pa | flags | RDU_PTE_VALID | (level ? RDU_PTE_LARGE : 0);
	}
}

__attribute__((unused)) static uint64_t bed_root(struct bed *b)
{
	b->pt_next += 4096;
	return b->pt_next - 4096;
}

__attribute__((unused)) static void bed_set_queue(struct bed *b, unsigned int q, uint64_t root,
						  uint32_t first, uint32_t count)
{
	qwr(b, q, RDU_REG_Q_RING_LO, (uint32_t)ring_addr(q));
	qwr(b, q, RDU_REG_Q_RING_HI, (uint32_t)(ring_addr(q) >> 32));
	qwr(b, q, RDU_REG_Q_RING_LOG2, RING_LOG2);
	qwr(b, q, RDU_REG_Q_CPL_LO, (uint32_t)cpl_addr(q));
	qwr(b, q, RDU_REG_Q_CPL_HI, (uint32_t)(cpl_addr(q) >> 32));
	qwr(b, q, RDU_REG_Q_PT_LO, (uint32_t)root);
	qwr(b, q, RDU_REG_Q_PT_HI, (uint32_t)(root >> 32));
	qwr(b, q, RDU_REG_Q_TILE_FIRST, first);
	qwr(b, q, RDU_REG_Q_TILE_COUNT, count);
	b->tail[q] = 0;
}

__attribute__((unused)) static void bed_enable(struct bed *b, unsigned int q, uint64_t root,
					       uint32_t first, uint32_t count)
{
	bed_set_queue(b, q, root, first, count);
	wr(b, RDU_REG_CTRL, RDU_CTRL_ENABLE);
	qwr(b, q, RDU_REG_Q_CTRL, 1);
}

/* Puts a command into the ring (its sequence number is set); no doorbell. */
__attribute__((unused)) static uint64_t bed_put(struct bed *b, unsigned int q, struct rdu_cmd c)
{
	struct rdu_cmd *ring = host_ptr(b, ring_addr(q));

	c.seqno = ++b->seq[q];
	ring[b->tail[q]++ & ((1u << RING_LOG2) - 1)] = c;
	return c.seqno;
}

__attribute__((unused)) static void bed_ring(struct bed *b, unsigned int q)
{
	rdu_card_doorbell(b->card, q * RDU_DOORBELL_STRIDE, b->tail[q], 4);
}

static inline uint64_t bed_done(struct bed *b, unsigned int q)
{
	return __atomic_load_n((uint64_t *)host_ptr(b, cpl_addr(q)), __ATOMIC_ACQUIRE);
}

/* Waits for completion or fault, 20 s at most. True: completed. */
__attribute__((unused)) static bool bed_wait(struct bed *b, unsigned int q, uint64_t seq)
{
	uint64_t end = bed_now(NULL) + 20000000000ULL;

	while (bed_now(NULL) < end) {
		if (bed_done(b, q) >= seq)
			return true;
		if (qrd(b, q, RDU_REG_Q_STATUS) == RDU_QUEUE_FAULTED)
			return bed_done(b, q) >= seq;
		usleep(20);
	}
	printf("# queue %u: no answer to %llu\n", q, (unsigned long long)seq);
	return false;
}

__attribute__((unused)) static bool bed_do(struct bed *b, unsigned int q, struct rdu_cmd c)
{
	uint64_t seq = bed_put(b, q, c);

	bed_ring(b, q);
	return bed_wait(b, q, seq);
}

__attribute__((unused)) static void bed_reset(struct bed *b, unsigned int q)
{
	qwr(b, q, RDU_REG_Q_CTRL, 2);
	while (qrd(b, q, RDU_REG_Q_CTRL) & 2)
		usleep(20);
}

#endif
