// SPDX-License-Identifier: MIT
/* BAR0 and BAR2: every register at every size, access kinds, reserved space. */
#include "card_test.h"

struct reg {
	const char *name;
	uint32_t offset;
	const char *access;
};

static const struct reg card_reg[] = {
#define R(n, off, acc, doc) { #n, off, acc },
	RDU_REGS(R)
};
static const struct reg queue_reg[] = { RDU_QUEUE_REGS(R)
#undef R
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void identity(struct bed *b)
{
	char name[17] = "", serial[17] = "";
	unsigned int i, bad = 0;

	is(rd(b, RDU_REG_MAGIC), RDU_MAGIC, "MAGIC");
	is(rd(b, RDU_REG_VERSION), RDU_INTERFACE_VERSION, "VERSION");
	is(rdu_card_mmio_read(b->card, RDU_REG_CHIP_HASH_LO, 8), rdu_chip_hash(&b->chip),
	   "CHIP_HASH, read as 64 bits");
	is(rd(b, RDU_REG_NUM_QUEUES), RDU_MAX_QUEUES, "NUM_QUEUES");
	is(rd(b, RDU_REG_MEM_SIZE_LO), CARD_MEM, "MEM_SIZE");
	is(rd(b, RDU_REG_STATUS), RDU_STATUS_READY, "STATUS: ready");
	for (i = 0; i < 16; i += 4) {
		uint32_t v = rd(b, RDU_REG_CHIP_NAME + i);

		memcpy(name + i, &v, 4);
		v = rd(b, RDU_REG_SERIAL + i);
		memcpy(serial + i, &v, 4);
	}
	ok(!strcmp(name, "sn10"), "CHIP_NAME: %s", name);
	ok(!strcmp(serial, "TEST0001"), "SERIAL: %s", serial);
#define FIELD(i, f, u, d) bad += rd(b, RDU_REG_CHIP + 4 * (i)) != b->chip.f;
	RDU_CHIP_FIELDS(FIELD)
#undef FIELD
	is(bad, 0, "CHIP: every field of the description");
	is(rdu_card_mmio_read(b->card, RDU_REG_CHIP_ASSUMED_LO, 8), b->chip.assumed,
	   "CHIP_ASSUMED");
	ok(rd(b, RDU_REG_TEMP) > 20000 && rd(b, RDU_REG_TEMP) < 100000, "TEMP");
	ok(rd(b, RDU_REG_POWER) > 10000 && rd(b, RDU_REG_POWER) < 500000, "POWER");
}

static bool self_acting(uint32_t offset, bool queue)
{
	return queue ? offset == RDU_REG_Q_CTRL : offset == RDU_REG_CTRL;
}

static void kinds(struct bed *b)
{
	unsigned int i, bad_ro = 0, bad_rw = 0, bad_wo = 0;
	uint32_t before;

	for (i = 0; i < COUNT(card_reg); i++) {
		const struct reg *r = &card_reg[i];

		if (self_acting(r->offset, false) || r->offset == RDU_REG_TEMP ||
		    r->offset == RDU_REG_POWER)
			continue;
		before = rd(b, r->offset);
		wr(b, r->offset, ~before);
		rd(b, r->offset & ~7u); /* latches HI */
		if (!strcmp(r->access, "rw"))
			bad_rw += rd(b, r->offset) != ~before;
		else
			bad_ro += rd(b, r->offset) != before;
		wr(b, r->offset, before);
	}
	is(bad_ro, 0, "card registers do not take what is written to them");
	is(bad_rw, 0, "but for the clock");
	bad_ro = bad_rw = 0;
	for (i = 0; i < COUNT(queue_reg); i++) {
		const struct reg *r = &queue_reg[i];

		if (self_acting(r->offset, true))
			continue;
		before = qrd(b, 5, r->offset);
		qwr(b, 5, r->offset, 0x5a5a5a5a);
		if (!strcmp(r->access, "ro"))
			bad_ro += qrd(b, 5, r->offset) != before;
		else if (!strcmp(r->access, "rw"))
			bad_rw += qrd(b, 5, r->offset) != 0x5a5a5a5a;
		else
			bad_wo += qrd(b, 5, r->offset) != 0;
	}
	is(bad_ro, 0, "ro queue registers keep their value");
	is(bad_rw, 0, "rw queue registers read back");
	is(bad_wo, 0, "wo queue registers read as zero");
	rdu_card_mmio_write(b->card, RDU_REG_QUEUE(6) + RDU_REG_Q_RING_LO, 0x1122334455667788, 8);
	is(qrd(b, 6, RDU_REG_Q_RING_HI), 0x11223344, "a pair written as 64 bits");
	is(rdu_card_mmio_read(b->card, RDU_REG_QUEUE(6) + RDU_REG_Q_RING_LO, 8), 0x1122334455667788,
	   "and read");
}

static void odd_sizes(struct bed *b)
{
	unsigned int size, bad = 0, bits = 0;
	uint64_t off;

	for (size = 1; size <= 8; size *= 2) {
		for (off = 0; off < 0x2200; off++) {
			uint64_t v = rdu_card_mmio_read(b->card, off, size);

			if (size < 4 || off % size)
				bad += v != 0;
		}
	}
	is(bad, 0, "unaligned and odd-sized reads give zero");
	qwr(b, 7, RDU_REG_Q_RING_LO, 0);
	rdu_card_mmio_write(b->card, RDU_REG_QUEUE(7) + RDU_REG_Q_RING_LO, 0xff, 1);
	rdu_card_mmio_write(b->card, RDU_REG_QUEUE(7) + RDU_REG_Q_RING_LO, 0xffff, 2);
	rdu_card_mmio_write(b->card, RDU_REG_QUEUE(7) + RDU_REG_Q_RING_LO + 1, 0xffff, 4);
	rdu_card_mmio_write(b->card, RDU_REG_QUEUE(7) + RDU_REG_Q_RING_LO - 4, 0xffffffffff, 8);
	is(qrd(b, 7, RDU_REG_Q_RING_LO), 0, "unaligned and odd-sized writes do nothing");
	for (off = RDU_REG_CHIP + 4 * RDU_CHIP_NUM_FIELDS; off < 0x1000; off += 4)
		bits |= rd(b, off);
	for (off = RDU_REG_QUEUE(RDU_MAX_QUEUES); off < RDU_BAR0_SIZE + 64; off += 4)
		bits |= rd(b, off);
	is(bits, 0, "reserved space reads as zero");
	b->errors = 0;
	wr(b, 0x800, 1);
	is(b->errors, 1, "a write there is reported to the front end");
	rdu_card_doorbell(b->card, 4, 1, 4);
	rdu_card_doorbell(b->card, 0, 1, 8);
	rdu_card_doorbell(b->card, RDU_DOORBELL_STRIDE * RDU_MAX_QUEUES, 1, 4);
	rdu_card_doorbell(b->card, 0, 1, 4);
	is(b->errors, 5, "so are doorbells beside the mark, and of disabled queues");
}

static void enabling(struct bed *b)
{
	bed_set_queue(b, 1, 0, 0, 2);
	qwr(b, 1, RDU_REG_Q_CTRL, 1);
	is(qrd(b, 1, RDU_REG_Q_STATUS), RDU_QUEUE_IDLE, "queue 1 with tiles 0 and 1: enabled");
	is(rd(b, RDU_REG_TILE_OWNER) << 8 | rd(b, RDU_REG_TILE_OWNER + 4), 0x101, "TILE_OWNER");
	bed_set_queue(b, 2, 0, 1, 2);
	qwr(b, 2, RDU_REG_Q_CTRL, 1);
	is(qrd(b, 2, RDU_REG_Q_STATUS), RDU_QUEUE_FAULTED, "queue 2 with tile 1 too: refused");
	is(qrd(b, 2, RDU_REG_Q_FAULT_CODE), RDU_FAULT_NO_TILES, "... NO_TILES");
	is(qrd(b, 2, RDU_REG_Q_FAULT_INFO), 1, "... info: the queue that owns it");
	is(rd(b, RDU_REG_STATUS) & RDU_STATUS_FAULT, RDU_STATUS_FAULT, "STATUS: a queue faulted");
	is(rd(b, RDU_REG_FAULT_QUEUES_LO), 4, "FAULT_QUEUES");
	wr(b, RDU_REG_FAULT_QUEUES_LO, 4);
	is(rd(b, RDU_REG_FAULT_QUEUES_LO), 0, "... write one to clear");
	bed_reset(b, 2);
	is(qrd(b, 2, RDU_REG_Q_STATUS), RDU_QUEUE_DISABLED, "queue reset clears the fault");
	is(qrd(b, 2, RDU_REG_Q_FAULT_CODE), 0, "... and its record");
	qwr(b, 2, RDU_REG_Q_TILE_FIRST, 3);
	qwr(b, 2, RDU_REG_Q_CTRL, 1);
	is(qrd(b, 2, RDU_REG_Q_FAULT_CODE), RDU_FAULT_NO_TILES, "tiles 3 and 4 of 4: refused");
	bed_reset(b, 2);
	qwr(b, 2, RDU_REG_Q_TILE_FIRST, 2);
	qwr(b, 2, RDU_REG_Q_RING_LOG2, 17);
	qwr(b, 2, RDU_REG_Q_CTRL, 1);
	is(qrd(b, 2, RDU_REG_Q_FAULT_CODE), RDU_FAULT_BAD_RING, "a ring of 2^17: refused");
	bed_reset(b, 2);
	qwr(b, 2, RDU_REG_Q_RING_LOG2, 4);
	qwr(b, 2, RDU_REG_Q_CTRL, 3);
	is(qrd(b, 2, RDU_REG_Q_STATUS), RDU_QUEUE_IDLE, "reset and enable in one write");
	qwr(b, 1, RDU_REG_Q_CTRL, 0);
	while (qrd(b, 1, RDU_REG_Q_CTRL))
		usleep(10);
	is(rd(b, RDU_REG_TILE_OWNER), 0, "disabled: its tiles are free");
	is(rd(b, RDU_REG_TILE_OWNER + 8), 2, "the other's are not");
	wr(b, RDU_REG_CTRL, RDU_CTRL_RESET);
	while (rd(b, RDU_REG_STATUS) & RDU_STATUS_RESET)
		usleep(10);
	is(qrd(b, 2, RDU_REG_Q_STATUS) | rd(b, RDU_REG_TILE_OWNER + 8) |
		   qrd(b, 2, RDU_REG_Q_RING_LO) | rd(b, RDU_REG_CTRL),
	   0, "card reset: everything as at first");
}

int main(void)
{
	struct bed *b = bed_new("sn10", 1, false);

	identity(b);
	kinds(b);
	rdu_card_reset(b->card);
	odd_sizes(b);
	enabling(b);
	bed_free(b);
	return tap_done();
}
