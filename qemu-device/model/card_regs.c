// SPDX-License-Identifier: MIT
/*
 * BAR0 and BAR2. What each register holds is said in regs.h; here is only how
 * it is read and what writing it does. No access waits for a worker.
 */
#include <string.h>
#include "card_priv.h"

#define LO(v) ((uint32_t)(v))
#define HI(v) ((uint32_t)((uint64_t)(v) >> 32))

static void set_lo(uint64_t *v, uint32_t x)
{
	*v = (*v & ~0xffffffffULL) | x;
}

static void set_hi(uint64_t *v, uint32_t x)
{
	*v = (*v & 0xffffffffULL) | (uint64_t)x << 32;
}

static uint32_t word_of(const void *bytes, unsigned int offset)
{
	const unsigned char *p = (const unsigned char *)bytes + offset;

	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

/* ---- queue registers -------------------------------------------------------- */

/* A counter in motion: reading LO keeps HI for the read that follows. */
static uint32_t latch(struct card_queue *q, unsigned int lo_offset, uint64_t value)
{
	q->latch[lo_offset / 4 + 1] = HI(value);
	return LO(value);
}

static uint32_t queue_read(struct card_queue *q, unsigned int offset)
{
	const struct rdu_failure *f = &q->fault;

	switch (offset) {
	case RDU_REG_Q_CTRL:
		return (q->status != RDU_QUEUE_DISABLED || q->requests & CARD_REQ_ENABLE ? 1 : 0) |
		       (q->requests & CARD_REQ_RESET ? 2 : 0);
	case RDU_REG_Q_STATUS:
		return q->status;
	case RDU_REG_Q_RING_LO:
		return LO(q->reg.ring);
	case RDU_REG_Q_RING_HI:
		return HI(q->reg.ring);
	case RDU_REG_Q_RING_LOG2:
		return q->reg.log2;
	case RDU_REG_Q_HEAD:
		return q->head;
	case RDU_REG_Q_CPL_LO:
		return LO(q->reg.cpl);
	case RDU_REG_Q_CPL_HI:
		return HI(q->reg.cpl);
	case RDU_REG_Q_PT_LO:
		return LO(q->reg.pt);
	case RDU_REG_Q_PT_HI:
		return HI(q->reg.pt);
	case RDU_REG_Q_TILE_FIRST:
		return q->reg.tile_first;
	case RDU_REG_Q_TILE_COUNT:
		return q->reg.tile_count;
	case RDU_REG_Q_FAULT_CODE:
		return f->code;
	case RDU_REG_Q_FAULT_INFO:
		return f->info;
	case RDU_REG_Q_FAULT_ADDR_LO:
		return LO(f->addr);
	case RDU_REG_Q_FAULT_ADDR_HI:
		return HI(f->addr);
	case RDU_REG_Q_FAULT_SEQ_LO:
		return LO(q->fault_seq);
	case RDU_REG_Q_FAULT_SEQ_HI:
		return HI(q->fault_seq);
	case RDU_REG_Q_FAULT_SECTION:
		return f->section;
	case RDU_REG_Q_FAULT_PROGRAM:
		return f->program;
	case RDU_REG_Q_EXEC_LO:
		return latch(q, offset, q->exec_cycles);
	case RDU_REG_Q_PLOAD_LO:
		return latch(q, offset, q->pload_cycles);
	case RDU_REG_Q_ALOAD_LO:
		return latch(q, offset, q->aload_cycles);
	case RDU_REG_Q_COPY_LO:
		return latch(q, offset, q->copy_cycles);
	case RDU_REG_Q_EXEC_HI:
	case RDU_REG_Q_PLOAD_HI:
	case RDU_REG_Q_ALOAD_HI:
	case RDU_REG_Q_COPY_HI:
		return q->latch[offset / 4];
	case RDU_REG_Q_WATCHDOG_LO:
		return LO(q->watchdog);
	case RDU_REG_Q_WATCHDOG_HI:
		return HI(q->watchdog);
	case RDU_REG_Q_WATCHDOG_MS:
		return q->watchdog_ms;
	}
	return 0;
}

/* True if the offset names a register that can be written. */
static bool queue_write(struct card_queue *q, unsigned int offset, uint32_t v)
{
	uint64_t watchdog = q->watchdog;

	switch (offset) {
	case RDU_REG_Q_CTRL:
		if (v & 2)
			rdu_queue_request_reset(q, v & 1);
		else if (v & 1)
			rdu_queue_enable(q);
		else
			rdu_queue_request_disable(q);
		return !(v & ~3u);
	case RDU_REG_Q_RING_LO:
		set_lo(&q->reg.ring, v);
		return true;
	case RDU_REG_Q_RING_HI:
		set_hi(&q->reg.ring, v);
		return true;
	case RDU_REG_Q_RING_LOG2:
		q->reg.log2 = v;
		return true;
	case RDU_REG_Q_CPL_LO:
		set_lo(&q->reg.cpl, v);
		return true;
	case RDU_REG_Q_CPL_HI:
		set_hi(&q->reg.cpl, v);
		return true;
	case RDU_REG_Q_PT_LO:
		set_lo(&q->reg.pt, v);
		return true;
	case RDU_REG_Q_PT_HI:
		set_hi(&q->reg.pt, v);
		return true;
	case RDU_REG_Q_TILE_FIRST:
		q->reg.tile_first = v;
		return true;
	case RDU_REG_Q_TILE_COUNT:
		q->reg.tile_count = v;
		return true;
	case RDU_REG_Q_WATCHDOG_LO:
		set_lo(&watchdog, v);
		q->watchdog = watchdog;
		return true;
	case RDU_REG_Q_WATCHDOG_HI:
		set_hi(&watchdog, v);
		q->watchdog = watchdog;
		return true;
	case RDU_REG_Q_TLB_FLUSH:
		atomic_fetch_add(&q->tlb_generation, 1);
		return true;
	case RDU_REG_Q_WATCHDOG_MS:
		q->watchdog_ms = v;
		return true;
	}
	return false;
}

/* ---- card registers --------------------------------------------------------- */

static uint32_t chip_word(const struct rdu_chip *chip, unsigned int index)
{
	switch (index) {
#define CHIP_WORD(i, f, u, d) \
	case i:               \
		return chip->f;
		RDU_CHIP_FIELDS(CHIP_WORD)
#undef CHIP_WORD
	}
	return 0;
}

static uint32_t card_status(const struct rdu_card *card)
{
	uint32_t status = card->reset_req ? RDU_STATUS_RESET : RDU_STATUS_READY;
	unsigned int i;

	for (i = 0; i < RDU_MAX_QUEUES; i++)
		if (card->queue[i].status == RDU_QUEUE_FAULTED)
			status |= RDU_STATUS_FAULT;
	return status;
}

static uint32_t card_read(struct rdu_card *card, unsigned int offset)
{
	uint32_t temp, power;

	switch (offset) {
	case RDU_REG_MAGIC:
		return RDU_MAGIC;
	case RDU_REG_VERSION:
		return RDU_INTERFACE_VERSION;
	case RDU_REG_CHIP_HASH_LO:
		return LO(card->chip_hash);
	case RDU_REG_CHIP_HASH_HI:
		return HI(card->chip_hash);
	case RDU_REG_NUM_QUEUES:
		return RDU_MAX_QUEUES;
	case RDU_REG_MEM_SIZE_LO:
		return LO(card->mem_size);
	case RDU_REG_MEM_SIZE_HI:
		return HI(card->mem_size);
	case RDU_REG_CTRL:
		return (card->enabled ? RDU_CTRL_ENABLE : 0) |
		       (card->reset_req ? RDU_CTRL_RESET : 0);
	case RDU_REG_STATUS:
		return card_status(card);
	case RDU_REG_FAULT_QUEUES_LO:
		return LO(card->fault_queues);
	case RDU_REG_FAULT_QUEUES_HI:
		return HI(card->fault_queues);
	case RDU_REG_CYCLES_LO:
		card->latch_hi = HI(card->clock);
		return LO(card->clock);
	case RDU_REG_CYCLES_HI:
		return card->latch_hi;
	case RDU_REG_TEMP:
		rdu_card_health(card, &temp, &power);
		return temp;
	case RDU_REG_POWER:
		rdu_card_health(card, &temp, &power);
		return power;
	case RDU_REG_ECC_CE:
		return card->ecc_ce;
	case RDU_REG_ECC_UE:
		return card->ecc_ue;
	case RDU_REG_CHIP_ASSUMED_LO:
		return LO(card->chip.assumed);
	case RDU_REG_CHIP_ASSUMED_HI:
		return HI(card->chip.assumed);
	}
	if (offset >= RDU_REG_CHIP_NAME && offset < RDU_REG_CHIP_NAME + RDU_CHIP_NAME_LEN)
		return word_of(card->chip.name, offset - RDU_REG_CHIP_NAME);
	if (offset >= RDU_REG_SERIAL && offset < RDU_REG_SERIAL + sizeof(card->serial))
		return word_of(card->serial, offset - RDU_REG_SERIAL);
	if (offset >= RDU_REG_TILE_OWNER && offset < RDU_REG_TILE_OWNER + 4 * 32) {
		uint32_t owner = card->tile_owner[(offset - RDU_REG_TILE_OWNER) / 4];

		return owner ? owner - 1 : 0;
	}
	if (offset >= RDU_REG_CHIP && offset < RDU_REG_CHIP + 4 * RDU_CHIP_NUM_FIELDS)
		return chip_word(&card->chip, (offset - RDU_REG_CHIP) / 4);
	return 0;
}

/* The clock is set only where it stands still for everybody. */
static bool clock_free(const struct rdu_card *card)
{
	unsigned int i;

	for (i = 0; i < RDU_MAX_QUEUES; i++)
		if (card->queue[i].status != RDU_QUEUE_DISABLED ||
		    card->queue[i].requests & CARD_REQ_ENABLE)
			return false;
	return true;
}

static bool card_write(struct rdu_card *card, unsigned int offset, uint32_t v)
{
	unsigned int i;

	switch (offset) {
	case RDU_REG_CTRL:
		if (v & RDU_CTRL_RESET) {
			rdu_card_request_reset(card);
			return true;
		}
		if (card->reset_req)
			return false;
		card->enabled = v & RDU_CTRL_ENABLE;
		for (i = 0; i < RDU_MAX_QUEUES && card->enabled; i++)
			rdu_queue_wake(&card->queue[i]);
		return !(v & ~(RDU_CTRL_ENABLE | RDU_CTRL_RESET));
	case RDU_REG_FAULT_QUEUES_LO:
		card->fault_queues &= ~(uint64_t)v;
		return true;
	case RDU_REG_FAULT_QUEUES_HI:
		card->fault_queues &= ~((uint64_t)v << 32);
		return true;
	case RDU_REG_CYCLES_LO:
	case RDU_REG_CYCLES_HI:
		if (!clock_free(card))
			return false;
		if (offset == RDU_REG_CYCLES_LO)
			set_lo(&card->clock, v);
		else
			set_hi(&card->clock, v);
		return true;
	}
	return false;
}

/* ---- accesses ---------------------------------------------------------------- */

static struct card_queue *queue_at(struct rdu_card *card, uint64_t offset)
{
	if (offset < RDU_QUEUE_BASE || offset >= RDU_QUEUE_BASE + RDU_MAX_QUEUES * RDU_QUEUE_STRIDE)
		return NULL;
	return &card->queue[(offset - RDU_QUEUE_BASE) / RDU_QUEUE_STRIDE];
}

static uint32_t read_word(struct rdu_card *card, uint64_t offset)
{
	struct card_queue *q = queue_at(card, offset);

	if (q)
		return queue_read(q, (offset - RDU_QUEUE_BASE) % RDU_QUEUE_STRIDE);
	return offset < RDU_QUEUE_BASE ? card_read(card, (unsigned int)offset) : 0;
}

static bool write_word(struct rdu_card *card, uint64_t offset, uint32_t value)
{
	struct card_queue *q = queue_at(card, offset);

	if (q)
		return queue_write(q, (offset - RDU_QUEUE_BASE) % RDU_QUEUE_STRIDE, value);
	return offset < RDU_QUEUE_BASE && card_write(card, (unsigned int)offset, value);
}

static bool proper(uint64_t offset, unsigned int size)
{
	return (size == 4 || size == 8) && !(offset % size) && offset < RDU_BAR0_SIZE &&
	       offset + size <= RDU_BAR0_SIZE;
}

uint64_t rdu_card_mmio_read(struct rdu_card *card, uint64_t offset, unsigned int size)
{
	uint64_t value;

	if (card->dead)
		return ~0ULL;
	if (!proper(offset, size)) {
		rdu_guest_error(card, "read of %u bytes at register 0x%llx", size,
				(unsigned long long)offset);
		return 0;
	}
	pthread_mutex_lock(&card->lock);
	value = read_word(card, offset);
	if (size == 8)
		value |= (uint64_t)read_word(card, offset + 4) << 32;
	pthread_mutex_unlock(&card->lock);
	return value;
}

void rdu_card_mmio_write(struct rdu_card *card, uint64_t offset, uint64_t value, unsigned int size)
{
	bool good = proper(offset, size);

	if (card->dead)
		return;
	if (good) {
		pthread_mutex_lock(&card->lock);
		good = write_word(card, offset, LO(value));
		if (size == 8)
			good &= write_word(card, offset + 4, HI(value));
		pthread_mutex_unlock(&card->lock);
	}
	if (!good)
		rdu_guest_error(card, "write of %u bytes, 0x%llx, to register 0x%llx", size,
				(unsigned long long)value, (unsigned long long)offset);
}

void rdu_card_doorbell(struct rdu_card *card, uint64_t offset, uint64_t value, unsigned int size)
{
	struct card_queue *q;

	if (card->dead)
		return;
	if (size != 4 || offset % RDU_DOORBELL_STRIDE ||
	    offset / RDU_DOORBELL_STRIDE >= RDU_MAX_QUEUES) {
		rdu_guest_error(card, "doorbell: write of %u bytes at 0x%llx", size,
				(unsigned long long)offset);
		return;
	}
	q = &card->queue[offset / RDU_DOORBELL_STRIDE];
	if (q->status == RDU_QUEUE_DISABLED) {
		rdu_guest_error(card, "doorbell of queue %u, which is disabled", q->id);
		return;
	}
	card_event(card, RDU_EVENT_DOORBELL, q->id, value, 0, 0, 0);
	atomic_store(&q->tail, (uint32_t)value);
	if (!atomic_load(&q->sleeping))
		return;
	pthread_mutex_lock(&card->lock);
	rdu_queue_rung(q);
	pthread_mutex_unlock(&card->lock);
}
