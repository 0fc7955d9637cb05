// SPDX-License-Identifier: MIT
/* Faults on demand: each one strikes as often as was asked for, and ends. */
#include "card_test.h"
#include "card_priv.h"

#define MB (1ull << 20)
#define VA 0x7000000000ULL /* card memory from 16 MiB on */
#define VA_HOST (VA + 4 * MB) /* host memory */

static uint64_t root;

static struct rdu_cmd nop(unsigned int flags)
{
	return (struct rdu_cmd){ .op = RDU_OP_NOP, .flags = (uint8_t)flags };
}

static struct rdu_cmd copy(uint64_t dst, uint64_t src, uint64_t len)
{
	return (struct rdu_cmd){ .op = RDU_OP_COPY,
				 .copy = { .src = src, .dst = dst, .len = len } };
}

static void on(struct bed *b)
{
	bed_enable(b, 0, 0, 0, 0);
	bed_enable(b, 1, root, 0, 1);
	bed_enable(b, 2, root, 1, 1);
}

static void again(struct bed *b, unsigned int q)
{
	bed_reset(b, q);
	bed_enable(b, q, root, q - 1, 1);
}

/* The command fails on queue 1, which is then made ready again. */
static void faults(struct bed *b, struct rdu_cmd c, uint32_t code, uint64_t addr, const char *what)
{
	ok(!bed_do(b, 1, c), "%s: no completion", what);
	is(qrd(b, 1, RDU_REG_Q_FAULT_CODE), code, "... that fault");
	is(rdu_card_mmio_read(b->card, RDU_REG_QUEUE(1) + RDU_REG_Q_FAULT_ADDR_LO, 8), addr,
	   "... at that address");
	again(b, 1);
}

static bool answers(struct bed *b, unsigned int q)
{
	return bed_do(b, q, nop(0));
}

static void values(struct bed *b)
{
	ok(rdu_card_inject(b->card, RDU_INJECT_HANG, 64) &&
		   rdu_card_inject(b->card, RDU_INJECT_STUCK, -2) &&
		   rdu_card_inject(b->card, RDU_INJECT_DMA, -1) &&
		   rdu_card_inject(b->card, RDU_INJECT_DMA, 1LL << 32) &&
		   rdu_card_inject(b->card, RDU_INJECT_DEAD, 2),
	   "values that mean nothing are refused");
	is((uint64_t)rdu_card_injected(b->card, RDU_INJECT_HANG), ~0ull, "no queue is to hang");
	is((uint64_t)rdu_card_injected(b->card, RDU_INJECT_DMA), 0, "no transfer is to fail");
}

/* Waits until the fault armed for a queue has struck. */
static void struck(struct bed *b, enum rdu_inject what)
{
	while (rdu_card_injected(b->card, what) >= 0)
		usleep(100);
}

static void hang(struct bed *b)
{
	unsigned int n;

	rdu_card_inject(b->card, RDU_INJECT_HANG, 1);
	qwr(b, 1, RDU_REG_Q_WATCHDOG_LO, 1000);
	qwr(b, 1, RDU_REG_Q_WATCHDOG_MS, 10);
	ok(answers(b, 2), "another queue goes on");
	is((uint64_t)rdu_card_injected(b->card, RDU_INJECT_HANG), 1, "it is not meant");
	bed_put(b, 1, nop(0));
	bed_ring(b, 1);
	struck(b, RDU_INJECT_HANG);
	usleep(100000);
	is(qrd(b, 1, RDU_REG_Q_STATUS), RDU_QUEUE_RUNNING,
	   "it runs on, whatever the watchdogs say");
	ok(answers(b, 2), "another queue goes on meanwhile");
	rdu_card_pause(b->card);
	rdu_card_resume(b->card);
	ok(true, "the card can be paused and resumed");
	is(qrd(b, 1, RDU_REG_Q_STATUS), RDU_QUEUE_RUNNING, "... it hangs on");
	qwr(b, 1, RDU_REG_Q_CTRL, 0);
	usleep(20000);
	is(qrd(b, 1, RDU_REG_Q_CTRL), 1, "a disable never ends");
	n = b->irqs[RDU_VECTOR_FAULT];
	again(b, 1);
	is(b->irqs[RDU_VECTOR_FAULT], n, "a reset of the queue ends it, without a fault");
	ok(answers(b, 1), "... and it works again");
}

static void stuck(struct bed *b)
{
	rdu_card_inject(b->card, RDU_INJECT_STUCK, 1);
	bed_put(b, 1, nop(0));
	bed_ring(b, 1);
	struck(b, RDU_INJECT_STUCK);
	qwr(b, 1, RDU_REG_Q_CTRL, 2);
	usleep(50000);
	is(qrd(b, 1, RDU_REG_Q_CTRL), 3, "a reset of a stuck queue does not end");
	ok(answers(b, 2), "another queue goes on");
	rdu_card_pause(b->card);
	rdu_card_resume(b->card);
	wr(b, RDU_REG_CTRL, RDU_CTRL_RESET);
	while (rd(b, RDU_REG_STATUS) & RDU_STATUS_RESET)
		usleep(100);
	is(qrd(b, 1, RDU_REG_Q_CTRL), 0, "the card's reset ends it");
	on(b);
	ok(answers(b, 1), "... and it works again");
	rdu_card_inject(b->card, RDU_INJECT_STUCK, 1);
	rdu_card_reset(b->card);
	is((uint64_t)rdu_card_injected(b->card, RDU_INJECT_STUCK), 1, "armed through a reset");
	on(b);
	bed_put(b, 1, nop(0));
	bed_ring(b, 1);
	struck(b, RDU_INJECT_STUCK);
	rdu_card_reset(b->card);
	on(b);
	ok(answers(b, 1), "the function's reset ends it");
}

static void interrupts(struct bed *b)
{
	unsigned int before = b->irqs[1], i;

	rdu_card_inject(b->card, RDU_INJECT_DROP_IRQ, 2);
	for (i = 0; i < 5; i++)
		ok(bed_do(b, 1, nop(RDU_CMD_IRQ)), "completes");
	for (i = 0; i < 20000 && b->irqs[1] != before + 3; i++)
		usleep(50);
	is(b->irqs[1] - before, 3, "of five interrupts two are lost");
	is((uint64_t)rdu_card_injected(b->card, RDU_INJECT_DROP_IRQ), 0, "none is still to be");
}

static void poison(struct bed *b)
{
	rdu_card_inject(b->card, RDU_INJECT_POISON, 1);
	bed_do(b, 1, nop(0));
	is(bed_done(b, 1), ~0ull, "the completion word is garbage");
	is(qrd(b, 1, RDU_REG_Q_FAULT_CODE), 0, "... the card knows nothing of it");
	bed_put(b, 1, nop(0));
	bed_ring(b, 1);
	while (bed_done(b, 1) == ~0ull)
		usleep(50);
	is(bed_done(b, 1), b->seq[1], "the next one is right");
}

static void dma(struct bed *b)
{
	again(b, 1);
	rdu_card_inject(b->card, RDU_INJECT_DMA, 1);
	faults(b, nop(0), RDU_FAULT_BAD_RING, ring_addr(1), "the ring cannot be read");
	rdu_card_inject(b->card, RDU_INJECT_DMA, 2);
	faults(b, nop(0), RDU_FAULT_BAD_RING, ring_addr(1), "twice asked for, once");
	faults(b, nop(0), RDU_FAULT_BAD_RING, ring_addr(1), "... and twice");
	ok(bed_do(b, 1, copy(VA, VA_HOST, 4096)), "not a third time");
}

/* Two commands in one batch: the second one's transfer fails, not the ring's. */
static void dma_of_command(struct bed *b, struct rdu_cmd c, uint64_t addr, uint32_t info,
			   const char *what)
{
	uint64_t first;

	/* The first one runs while the fault is armed; on a busy host it may be through, and they are
	 * put once more. */
	do {
		rdu_card_inject(b->card, RDU_INJECT_DMA, 0);
		again(b, 1);
		wr(b, RDU_REG_CTRL, 0);
		first = bed_put(b, 1, copy(VA + 512 * MB, VA + 1024 * MB, 400 * MB));
		bed_put(b, 1, c);
		bed_ring(b, 1);
		wr(b, RDU_REG_CTRL, 1);
		while (!qrd(b, 1, RDU_REG_Q_HEAD))
			usleep(10);
		rdu_card_inject(b->card, RDU_INJECT_DMA, 2);
	} while (bed_done(b, 1) >= first);
	/* The first one's completion is the first transfer. */
	ok(!bed_wait(b, 1, b->seq[1]), "%s", what);
	is(qrd(b, 1, RDU_REG_Q_FAULT_CODE), RDU_FAULT_HOST_BUS, "... host bus");
	is(rdu_card_mmio_read(b->card, RDU_REG_QUEUE(1) + RDU_REG_Q_FAULT_ADDR_LO, 8), addr,
	   "... at that address");
	is(qrd(b, 1, RDU_REG_Q_FAULT_INFO), info, "... read or write");
	rdu_card_inject(b->card, RDU_INJECT_DMA, 0);
	again(b, 1);
}

static void ecc(struct bed *b)
{
	rdu_card_inject(b->card, RDU_INJECT_ECC_CE, 3);
	rdu_card_inject(b->card, RDU_INJECT_ECC_CE, 4);
	is(rd(b, RDU_REG_ECC_CE), 7, "corrected errors are counted");
	is((uint64_t)rdu_card_injected(b->card, RDU_INJECT_ECC_CE), 7, "... and told");
	rdu_card_inject(b->card, RDU_INJECT_ECC_UE, 2);
	ok(bed_do(b, 1, copy(VA, VA_HOST, 4096)), "nothing of the card's memory is read");
	faults(b, copy(VA_HOST, VA + 64, 4096), RDU_FAULT_ECC, VA + 64, "uncorrectable error");
	is(rd(b, RDU_REG_ECC_UE), 1, "... is counted");
	ok(answers(b, 2), "another queue goes on");
	faults(b, copy(VA + MB, VA, 4096), RDU_FAULT_ECC, VA, "another one");
	ok(bed_do(b, 1, copy(VA + MB, VA, 4096)), "not a third time");
	rdu_card_reset(b->card);
	is(rd(b, RDU_REG_ECC_UE), 2, "a reset keeps the counters");
	rdu_card_power_on(b->card);
	is(rd(b, RDU_REG_ECC_UE) | rd(b, RDU_REG_ECC_CE), 0, "power-on clears them");
	on(b);
}

static void dead(struct bed *b)
{
	unsigned int i, irqs = 0, after = 0;
	uint64_t done;

	for (i = 0; i < 12; i++)
		bed_put(b, 1, copy(VA + 512 * MB, VA + 1024 * MB, 100 * MB));
	bed_ring(b, 1);
	while (!qrd(b, 1, RDU_REG_Q_HEAD))
		usleep(10);
	rdu_card_inject(b->card, RDU_INJECT_DEAD, 1);
	done = bed_done(b, 1);
	for (i = 0; i < RDU_NUM_VECTORS; i++)
		irqs += b->irqs[i];
	is(rd(b, RDU_REG_MAGIC), ~0u, "dead: registers read all ones");
	wr(b, RDU_REG_CTRL, RDU_CTRL_RESET);
	bed_set_queue(b, 1, root, 0, 1);
	qwr(b, 1, RDU_REG_Q_CTRL, 1);
	bed_put(b, 1, nop(RDU_CMD_IRQ));
	bed_ring(b, 1);
	rdu_card_reset(b->card);
	is(rd(b, RDU_REG_STATUS), ~0u, "... and a reset does not help");
	usleep(50000);
	for (i = 0; i < RDU_NUM_VECTORS; i++)
		after += b->irqs[i];
	is(bed_done(b, 1), done, "... it completes nothing");
	is(after, irqs, "... and raises nothing");
	rdu_card_inject(b->card, RDU_INJECT_GONE, 1);
	rdu_card_inject(b->card, RDU_INJECT_DEAD, 0);
	is(rd(b, RDU_REG_MAGIC), ~0u, "gone: the same");
	rdu_card_inject(b->card, RDU_INJECT_GONE, 0);
	is(rd(b, RDU_REG_MAGIC), RDU_MAGIC, "back");
	is(rd(b, RDU_REG_CTRL) | qrd(b, 1, RDU_REG_Q_CTRL) | qrd(b, 1, RDU_REG_Q_RING_LO), 0,
	   "... as after power-on");
	on(b);
	ok(answers(b, 1), "... and it works");
}

static _Atomic uint64_t moment = 1000000000;

static uint64_t now(void *opaque)
{
	(void)opaque;
	return moment;
}

/* Load and temperature know nothing of the time that the card was paused. */
static void busy_time(void)
{
	struct bed *b;
	uint32_t power, temp;

	bed_ops.now_ns = now;
	b = bed_new("sn10", 1, false);
	bed_enable(b, 1, bed_root(b), 0, 2);
	rdu_card_inject(b->card, RDU_INJECT_HANG, 1);
	bed_put(b, 1, nop(0));
	bed_ring(b, 1);
	struck(b, RDU_INJECT_HANG);
	moment += 1000000000;
	rdu_card_pause(b->card);
	is(b->card->busy_ns, 2000000000, "two tiles were busy for a second");
	power = rd(b, RDU_REG_POWER);
	temp = rd(b, RDU_REG_TEMP);
	ok(power > 75000 && temp > 35000, "... which POWER and TEMP show (%u, %u)", power, temp);
	moment += 100000000000;
	ok(power == rd(b, RDU_REG_POWER) && temp == rd(b, RDU_REG_TEMP), "paused, they stay");
	rdu_card_resume(b->card);
	ok(power == rd(b, RDU_REG_POWER) && temp == rd(b, RDU_REG_TEMP), "resumed, they go on");
	moment += 1000000000;
	ok(power < rd(b, RDU_REG_POWER), "... from there");
	bed_reset(b, 1);
	is(b->card->busy_ns, 4000000000, "a queue's reset counts by tiles, too");
	bed_free(b);
}

int main(void)
{
	struct bed *b = bed_new("sn10", 1, false);

	root = bed_root(b);
	bed_map(b, root, VA, 16 * MB, 4 * MB, RDU_PTE_WRITE, 0);
	bed_map(b, root, VA_HOST, HOST_FREE, 4 * MB, RDU_PTE_WRITE | RDU_PTE_HOST, 0);
	/* Two gigabytes, all onto one large page. */
	for (unsigned int i = 0; i < 1024; i++)
		bed_map(b, root, VA + 512 * MB + i * 2 * MB, 64 * MB, 2 * MB, RDU_PTE_WRITE, 1);
	on(b);
	values(b);
	hang(b);
	stuck(b);
	interrupts(b);
	poison(b);
	dma(b);
	dma_of_command(b, copy(VA, VA_HOST + 32, 4096), cpl_addr(1), RDU_FAULT_INFO_WRITE,
		       "a completion cannot be written");
	ecc(b);
	dead(b);
	/* Freed while one queue hangs and one is stuck. */
	rdu_card_inject(b->card, RDU_INJECT_HANG, 1);
	rdu_card_inject(b->card, RDU_INJECT_STUCK, 2);
	bed_put(b, 1, nop(0));
	bed_put(b, 2, nop(0));
	bed_ring(b, 1);
	bed_ring(b, 2);
	struck(b, RDU_INJECT_HANG);
	struck(b, RDU_INJECT_STUCK);
	bed_free(b);
	ok(true, "freed while hung and stuck");
	busy_time();
	return tap_done();
}
