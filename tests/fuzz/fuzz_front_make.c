// SPDX-License-Identifier: MIT
/* What the card is given: numbers, addresses, page tables, images and commands. */
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

#include "doubler.h"
#include "fuzz_front.h"

/* ---- random numbers ------------------------------------------------------- */

uint64_t bits(struct rnd *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

uint32_t below(struct rnd *r, uint32_t n)
{
	return bits(r) % n;
}

bool one_in(struct rnd *r, uint32_t n)
{
	return !below(r, n);
}

/* Numbers near which something may change. */
uint64_t number(struct rnd *r)
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

/* ---- addresses ------------------------------------------------------------ */

/* Of card memory; a few of them often, so that things meet; or outside. */
static uint64_t data_page(struct rnd *r)
{
	uint32_t page = below(r, one_in(r, 4) ? ((MEM - DATA) >> 12) + 16 : 16);

	return DATA + page * 4096ULL;
}

/* Where host leaves, completion words and results may lead. */
uint64_t host_page(struct rnd *r)
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

uint64_t near_page(struct rnd *r)
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
void build_tables(struct rnd *r)
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

void change_tables(struct rnd *r)
{
	unsigned int level = one_in(r, 3) ? below(r, RDU_PT_LEVELS) : 0;
	uint64_t page = table_page(r, level);
	uint64_t at = page + 8 * (one_in(r, 4) ? below(r, 512) : below(r, 8));

	store(at, entry(r, level));
}

void change_image(struct rnd *r)
{
	if (one_in(r, 2))
		mem[IMAGE + below(r, image_size)] ^= 1u << below(r, 8);
	else
		mem[DATA + ARGS + below(r, DOUBLER_ARGS)] ^= 1u << below(r, 8);
}

void restore_images(void)
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

struct rdu_cmd command(struct rnd *r, unsigned int queue)
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
