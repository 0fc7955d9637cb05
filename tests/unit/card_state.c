// SPDX-License-Identifier: MIT
/*
 * Saving a card in the middle of its work, and going on with it in another: the
 * same bits, registers and cycles in the end. Streams that are none are refused.
 */
#include "card_program.h"
#include "card_priv.h"

#define USED (56 * MB) /* of card memory, by the tests */
#define VA_HOST (VA + 128 * MB)
#define UNITS 5

/* ---- cards that come and go around the same memory --------------------------- */

/* So many reports of written memory until the card is paused; 0: never. */
static _Atomic int countdown;
static unsigned char *stream;
static size_t stream_len, stream_room, stream_at, stream_end;

static void bed_dirty(void *opaque, uint64_t offset, uint64_t len)
{
	struct bed *b = opaque;

	if (offset > CARD_MEM || len > CARD_MEM - offset)
		abort();
	if (countdown && !--countdown)
		b->card->paused = true;
}

static int put(void *opaque, const void *buf, size_t len)
{
	(void)opaque;
	if (stream_len + len > stream_room) {
		stream_room = 2 * (stream_len + len);
		stream = realloc(stream, stream_room);
		if (!stream)
			abort();
	}
	memcpy(stream + stream_len, buf, len);
	stream_len += len;
	return 0;
}

static int get(void *opaque, void *buf, size_t len)
{
	(void)opaque;
	if (len > stream_end - stream_at)
		return -1;
	memcpy(buf, stream + stream_at, len);
	stream_at += len;
	return 0;
}

/* Room for so many more bytes; then the stream's other end is gone. */
static int put_some(void *opaque, const void *buf, size_t len)
{
	size_t *left = opaque;

	(void)buf;
	if (len > *left)
		return -1;
	*left -= len;
	return 0;
}

static struct rdu_card *card_new(struct bed *b, const struct rdu_card_config *other)
{
	struct rdu_host_ops ops = bed_ops;
	struct rdu_card_config config = { .chip = &chip,
					  .mem = b->mem,
					  .mem_size = CARD_MEM,
					  .threads = 2,
					  .serial = "TEST0001" };
	struct rdu_card *card;
	const char *why;

	ops.dirty = bed_dirty;
	card = rdu_card_new(other ? other : &config, &ops, b, &why);
	if (!card) {
		printf("Bail out! %s\n", why);
		exit(1);
	}
	rdu_card_pause(card);
	return card;
}

static bool save(struct bed *b)
{
	char error[300] = "";

	stream_len = 0;
	return !rdu_card_save(b->card, put, NULL, error, sizeof(error)) ||
	       !printf("# saving: %s\n", error);
}

static bool load_into(struct rdu_card *card, size_t n, char *error, size_t error_size)
{
	stream_at = 0;
	stream_end = n;
	*error = 0;
	return !rdu_card_load(card, get, NULL, error, error_size);
}

/* The card goes; another one, which is paused, takes its place. */
static bool moved(struct bed *b)
{
	char error[300];
	bool good;

	rdu_card_pause(b->card);
	good = save(b);
	rdu_card_free(b->card);
	b->card = card_new(b, NULL);
	if (good && !load_into(b->card, stream_len, error, sizeof(error))) {
		printf("# loading: %s\n", error);
		good = false;
	}
	return good && stream_at == stream_len;
}

static bool move(struct bed *b)
{
	bool good = moved(b);

	rdu_card_resume(b->card);
	return good;
}

/* All registers but the two that only time moves. */
struct dump {
	uint32_t word[RDU_BAR0_SIZE / 8];
};

static void dump(struct bed *b, struct dump *d)
{
	uint32_t i;

	for (i = 0; i < RDU_BAR0_SIZE / 8; i++)
		d->word[i] = i * 4 == RDU_REG_TEMP || i * 4 == RDU_REG_POWER ? 0 : rd(b, i * 4);
}

static bool same(const struct dump *a, const struct dump *b)
{
	uint32_t i;

	for (i = 0; i < RDU_BAR0_SIZE / 8; i++)
		if (a->word[i] != b->word[i])
			printf("# register 0x%x: 0x%x, and then 0x%x\n", i * 4, a->word[i],
			       b->word[i]);
	return !memcmp(a, b, sizeof(*a));
}

/* ---- a bit of everything ------------------------------------------------------ */

static void programs(struct bed *b)
{
	static const struct rdu_prog_step nested[] = {
		{ RDU_STEP_RUN, 0 },  { RDU_STEP_LOOP, 2 }, { RDU_STEP_LOOP, UNITS },
		{ RDU_STEP_RUN, 0 },  { RDU_STEP_END, 0 },  { RDU_STEP_RUN, 0 },
		{ RDU_STEP_LOOP, 3 }, { RDU_STEP_RUN, 0 },  { RDU_STEP_END, 0 },
		{ RDU_STEP_END, 0 },
	};
	uint32_t refused = 0;
	size_t size;
	void *section;

	section = scale(3, 2, 1, &size);
	refused |= load(b, 0, section, size, 0);
	section = scale(5, 1, 1, &size);
	refused |= load_schedule(b, 3, section, size, UNITS, nested,
				 sizeof(nested) / sizeof(nested[0]));
	section = scratch(true, &size);
	refused |= load(b, 4, section, size, 0);
	section = scratch(false, &size);
	refused |= load(b, RDU_MAX_SLOTS - 1, section, size, 0);
	section = scale(7, 1, 1, &size);
	refused |= load(b, 6, section, size, 200);
	if (refused)
		ok(false, "programs for the test are refused");
}

static struct rdu_cmd copy(uint64_t dst, uint64_t src, uint64_t len)
{
	return (struct rdu_cmd){ .op = RDU_OP_COPY,
				 .flags = RDU_CMD_IRQ,
				 .copy = { .src = src, .dst = dst, .len = len } };
}

/* Memory, programs and registers as they are before the work. */
static void ready(struct bed *b)
{
	unsigned int i;

	countdown = 0;
	rdu_card_resume(b->card);
	memset(b->mem, 0, USED);
	memset(b->host, 0, HOST_SIZE);
	memset(b->seq, 0, sizeof(b->seq));
	for (i = 0; i < RDU_NUM_VECTORS; i++)
		b->irqs[i] = 0;
	for (i = 0; i < 200 * N * 32; i++)
		floats(b, MB)[i] = (float)(i % 1000) - 100;
	for (i = 0; i < 9 * MB / 4; i++)
		((uint32_t *)(void *)(b->mem + 12 * MB))[i] = i * 2654435761u;
	args(b, 8 * MB, 2, VA + MB, VA + 3 * MB, UNITS * BYTES);
	args(b, 8 * MB + 4096, 1, VA + 12 * MB, 0, BYTES);
	args(b, 8 * MB + 8192, 1, VA + 5 * MB, 0, BYTES);
	args(b, 8 * MB + 12288, 2, VA_HOST, VA_HOST + BYTES, BYTES);
	args(b, 8 * MB + 16384, 2, VA + MB, VA + 3 * MB, 200 * BYTES);
	rdu_card_mmio_write(b->card, RDU_REG_CYCLES_LO, 0, 8); /* outlives resets */
	bed_enable(b, 0, 0, 0, 0);
	bed_enable(b, 1, root, 0, 1);
	bed_enable(b, 2, root, 1, 2);
	programs(b);
}

/* On queue 1: every command, and a fault at the end. Returns what to wait for. */
static uint64_t work(struct bed *b)
{
	struct rdu_cmd c;

	bed_put(b, 1, run(4, VA + 8 * MB + 4096, false, false));
	c = (struct rdu_cmd){ .op = RDU_OP_FILL };
	c.fill.dst = VA + 36 * MB;
	c.fill.len = 9 * MB;
	c.fill.value = 0x01020304;
	bed_put(b, 1, c);
	bed_put(b, 1, copy(VA + 37 * MB + 12, VA + 12 * MB + 4, 8 * MB + 100));
	bed_put(b, 1, run(3, VA + 8 * MB, true, true));
	c = (struct rdu_cmd){ .op = RDU_OP_PLOAD };
	bed_put(b, 1, c);
	c = (struct rdu_cmd){ .op = RDU_OP_ALOAD };
	c.run.args = VA + 8 * MB + 12288;
	c.run.args_size = 40;
	bed_put(b, 1, c);
	c = (struct rdu_cmd){ .op = RDU_OP_EXEC };
	c.run.stats = VA + 9 * MB + 4096;
	bed_put(b, 1, c);
	bed_put(b, 1, copy(VA_HOST + 2 * BYTES, VA + 12 * MB, 65536));
	c = (struct rdu_cmd){ .op = RDU_OP_TIMESTAMP };
	c.copy.dst = VA + 9 * MB + 8192;
	bed_put(b, 1, c);
	bed_put(b, 1, run(RDU_MAX_SLOTS - 1, VA + 8 * MB + 8192, false, false));
	bed_put(b, 1, run(3, VA + 8 * MB, true, false));
	c = (struct rdu_cmd){ .op = RDU_OP_NOP, .flags = RDU_CMD_IRQ };
	bed_put(b, 1, c);
	return bed_put(b, 1, copy(VA + 512 * MB, VA, 64));
}

/* What is left of it. */
struct result {
	unsigned char *mem, *host;
	struct dump regs;
	unsigned int irqs[RDU_NUM_VECTORS];
};

static void result(struct bed *b, struct result *r)
{
	unsigned int i;

	/* Host time is another one each time. */
	for (i = 0; i < 2; i++)
		((struct rdu_stats *)(void *)(b->mem + 9 * MB + i * 4096))->wall_ns = 0;
	r->mem = malloc(USED);
	r->host = malloc(HOST_SIZE);
	if (!r->mem || !r->host)
		abort();
	memcpy(r->mem, b->mem, USED);
	memcpy(r->host, b->host, HOST_SIZE);
	dump(b, &r->regs);
	for (i = 0; i < RDU_NUM_VECTORS; i++)
		r->irqs[i] = b->irqs[i];
}

static bool as_before(struct bed *b, const struct result *want)
{
	struct result r;
	bool good;

	result(b, &r);
	good = !memcmp(r.mem, want->mem, USED) && !memcmp(r.host, want->host, HOST_SIZE);
	if (!good)
		printf("# other bits in memory\n");
	if (memcmp(r.irqs, want->irqs, sizeof(r.irqs)))
		good = !printf("# other interrupts\n");
	good &= same(&want->regs, &r.regs);
	free(r.mem);
	free(r.host);
	return good;
}

/* Until the fault at the end and its interrupt, or a pause. True: the end. */
static bool ended(struct bed *b)
{
	while (!b->card->paused && !b->irqs[RDU_VECTOR_FAULT])
		usleep(50);
	return b->irqs[RDU_VECTOR_FAULT];
}

/* Stops it after `first` writes, then after every `every` more. */
static unsigned int disturbed(struct bed *b, int first, int every, const struct result *want)
{
	unsigned int stops = 0;
	bool good = true;

	ready(b);
	work(b);
	countdown = first;
	bed_ring(b, 1);
	while (!ended(b)) {
		good &= moved(b);
		stops++;
		countdown = every;
		rdu_card_resume(b->card);
	}
	countdown = 0;
	if (stops && !(good && as_before(b, want)))
		ok(false, "stopped after %d writes, and then every %d", first, every);
	rdu_card_reset(b->card);
	return stops;
}

static void in_the_middle(struct bed *b)
{
	struct result want;
	int first, failed = tap_failed;

	ready(b);
	work(b);
	bed_ring(b, 1);
	ended(b);
	result(b, &want);
	is(qrd(b, 1, RDU_REG_Q_FAULT_CODE), RDU_FAULT_PAGE, "undisturbed: all but the last");
	is(bed_done(b, 1), b->seq[1] - 1, "... is completed");
	ok(!memcmp(b->mem + 12 * MB, b->mem + 5 * MB, BYTES), "... through the scratchpad, too");
	ok(((struct rdu_stats *)(void *)(b->mem + 9 * MB))->sections == 19,
	   "... nineteen sections");
	rdu_card_reset(b->card);
	for (first = 1; disturbed(b, first, 0, &want); first += 2)
		;
	ok(first > 40 && tap_failed == failed, "moved once, at %d places: the same in the end",
	   first / 2);
	ok(disturbed(b, 1, 1, &want) > 30 && tap_failed == failed,
	   "moved at all of them: the same in the end");
	free(want.mem);
	free(want.host);
}

/* Whenever it happens to be stopped, with two queues at work. */
static void at_any_time(struct bed *b)
{
	unsigned int i, moves;
	uint64_t last = 0, last2 = 0;
	bool good = true;

	ready(b);
	qwr(b, 1, RDU_REG_Q_WATCHDOG_MS, 60000);
	for (i = 0; i < 10; i++) {
		last = bed_put(b, 1, run(6, VA + 8 * MB + 16384, false, false));
		last2 = bed_put(b, 2, copy(VA + 37 * MB + 12, VA + 12 * MB, 8 * MB));
	}
	bed_ring(b, 1);
	bed_ring(b, 2);
	for (moves = 0; bed_done(b, 1) < last || bed_done(b, 2) < last2; moves++) {
		usleep(moves * 7919 % 5000);
		/* A busy host does little between two moves: in the end it is left alone. */
		if (moves < 20)
			good &= move(b);
	}
	ok(good && !memcmp(b->mem + 37 * MB + 12, b->mem + 12 * MB, 8 * MB) &&
		   scaled(floats(b, MB), floats(b, 3 * MB), 7, 200 * N * 32),
	   "moved %s times at any moment, two queues end well", moves > 3 ? "several" : "few");
	printf("# %u moves\n", moves < 20 ? moves : 20);
	rdu_card_reset(b->card);
}

/* ---- registers, and what else is kept ----------------------------------------- */

static void registers(struct bed *b)
{
	struct dump before, after;
	uint32_t temp, power;
	unsigned int q, r;

	ready(b);
	for (q = 3; q < RDU_MAX_QUEUES; q++) {
		for (r = RDU_REG_Q_RING_LO; r <= RDU_REG_Q_WATCHDOG_MS; r += 4)
			qwr(b, q, r, q * 1000 + r);
		qwr(b, q, RDU_REG_Q_RING_LOG2, q % 18);
		qwr(b, q, RDU_REG_Q_TILE_COUNT, q > 9);
		qwr(b, q, RDU_REG_Q_TILE_FIRST, q - 5);
		if (q % 3)
			qwr(b, q, RDU_REG_Q_CTRL, 1); /* some are refused: faults */
	}
	rd(b, RDU_REG_TEMP);
	b->card->load = 0.5;
	b->card->heat = 0.25;
	rdu_card_inject(b->card, RDU_INJECT_ECC_CE, 11);
	rdu_card_inject(b->card, RDU_INJECT_ECC_UE, 1);
	bed_do(b, 1, copy(VA + MB, VA, 64));
	bed_reset(b, 1);
	bed_enable(b, 1, root, 0, 1);
	ok(bed_do(b, 1, run(0, VA + 8 * MB, false, false)), "a card that has worked");
	rdu_card_pause(b->card);
	dump(b, &before);
	rd(b, RDU_REG_TEMP);
	temp = (uint32_t)(b->card->heat * 1000);
	power = (uint32_t)(b->card->load * 1000);
	ok(before.word[RDU_REG_ECC_UE / 4] == 1 && before.word[RDU_REG_FAULT_QUEUES_LO / 4] &&
		   before.word[(RDU_REG_QUEUE(1) + RDU_REG_Q_EXEC_LO) / 4],
	   "... has something to tell");
	ok(moved(b), "moved");
	is((uint64_t)(b->card->heat * 1000), temp, "it is as warm as it was");
	is((uint64_t)(b->card->load * 1000), power, "... takes as much power");
	dump(b, &after);
	ok(same(&before, &after), "every register is as before");
	rdu_card_resume(b->card);
	ok(bed_do(b, 1, run(RDU_MAX_SLOTS - 1, VA + 8 * MB + 8192, false, false)) &&
		   bed_do(b, 1, run(3, VA + 8 * MB, false, false)),
	   "every program is in its slot");
	rdu_card_reset(b->card);
	is(rd(b, RDU_REG_TILE_OWNER) | rd(b, RDU_REG_TILE_OWNER + 4), 0, "a reset frees all");
	rdu_card_power_on(b->card);
}

static void slots(struct bed *b)
{
	struct rdu_cmd c = { .op = RDU_OP_PROG_UNLOAD };

	ready(b);
	c.slot = 6;
	ok(move(b) && bed_do(b, 0, c), "a slot is emptied after a move");
	c.slot = 0;
	bed_do(b, 1, (struct rdu_cmd){ .op = RDU_OP_PLOAD });
	ok(bed_do(b, 0, c) && move(b), "a program on the tiles that is in no slot any more");
	c = (struct rdu_cmd){ .op = RDU_OP_ALOAD };
	c.run.args = VA + 8 * MB;
	c.run.args_size = 40;
	bed_do(b, 1, c);
	c = (struct rdu_cmd){ .op = RDU_OP_EXEC };
	ok(bed_do(b, 1, c) && scaled(floats(b, MB), floats(b, 3 * MB), 3, N * 32),
	   "... is there to be executed");
	rdu_card_reset(b->card);
}

static void watchdogs(struct bed *b)
{
	uint64_t cycles, seq;
	struct dump before, after;

	ready(b);
	qwr(b, 1, RDU_REG_Q_WATCHDOG_LO, 60000);
	bed_do(b, 1, run(6, VA + 8 * MB + 16384, false, false));
	is(qrd(b, 1, RDU_REG_Q_FAULT_CODE), RDU_FAULT_WATCHDOG, "a watchdog in cycles");
	dump(b, &before);
	cycles = rdu_card_mmio_read(b->card, RDU_REG_QUEUE(1) + RDU_REG_Q_EXEC_LO, 8);
	ok(cycles > 0, "... after some");
	rdu_card_reset(b->card);

	ready(b);
	qwr(b, 1, RDU_REG_Q_WATCHDOG_LO, 60000);
	bed_put(b, 1, run(6, VA + 8 * MB + 16384, false, false));
	countdown = 3;
	bed_ring(b, 1);
	while (!ended(b))
		move(b);
	dump(b, &after);
	ok(same(&before, &after), "... and after as many on a card that was moved");
	rdu_card_reset(b->card);

	ready(b);
	qwr(b, 1, RDU_REG_Q_WATCHDOG_MS, 3600000);
	seq = bed_put(b, 1, run(6, VA + 8 * MB + 16384, false, false));
	countdown = 5;
	bed_ring(b, 1);
	while (!b->card->paused)
		usleep(50);
	moved(b);
	ok(b->card->queue[1].work == CARD_WORK_SUSPENDED &&
		   b->card->queue[1].patience_ns > 3000000000000 &&
		   b->card->queue[1].patience_ns <= 3600000000000,
	   "the host time that a command has left is kept");
	b->card->queue[1].patience_ns = 1000000000000;
	move(b);
	ok(bed_wait(b, 1, seq), "... and is counted from the move on");
	rdu_card_reset(b->card);

	ready(b);
	qwr(b, 1, RDU_REG_Q_WATCHDOG_MS, 3600000);
	bed_put(b, 1, run(6, VA + 8 * MB + 16384, false, false));
	countdown = 5;
	bed_ring(b, 1);
	while (!b->card->paused)
		usleep(50);
	moved(b);
	b->card->queue[1].patience_ns = 1;
	rdu_card_resume(b->card);
	while (qrd(b, 1, RDU_REG_Q_STATUS) != RDU_QUEUE_FAULTED)
		usleep(50);
	is(qrd(b, 1, RDU_REG_Q_FAULT_CODE), RDU_FAULT_WATCHDOG, "... to its end");
	rdu_card_reset(b->card);
}

/* Asked for while a command waits for the pause's end. */
static void requests(struct bed *b)
{
	uint64_t seq;

	ready(b);
	seq = bed_put(b, 1, run(3, VA + 8 * MB, false, false));
	bed_put(b, 1, copy(VA, VA + MB, 64));
	countdown = 3;
	bed_ring(b, 1);
	while (!b->card->paused)
		usleep(50);
	rdu_card_pause(b->card);
	qwr(b, 1, RDU_REG_Q_CTRL, 0);
	wr(b, RDU_REG_CTRL, 0);
	is(qrd(b, 1, RDU_REG_Q_CTRL), 1, "a disable waits for the command's end");
	ok(moved(b), "... through a move");
	rdu_card_resume(b->card);
	while (qrd(b, 1, RDU_REG_Q_CTRL))
		usleep(50);
	is(bed_done(b, 1), seq, "the command ended, the next one did not begin");
	rdu_card_reset(b->card);

	ready(b);
	bed_put(b, 1, run(3, VA + 8 * MB, false, false));
	countdown = 3;
	bed_ring(b, 1);
	while (!b->card->paused)
		usleep(50);
	rdu_card_pause(b->card);
	qwr(b, 1, RDU_REG_Q_CTRL, 3);
	is(qrd(b, 1, RDU_REG_Q_STATUS), RDU_QUEUE_IDLE, "a reset cuts it off");
	ok(move(b), "moved");
	bed_set_queue(b, 1, root, 0, 1);
	ok(bed_do(b, 1, copy(VA, VA + MB, 64)), "... and the queue works");
	rdu_card_reset(b->card);
}

static void until_hung(struct bed *b, unsigned int q)
{
	bool hangs;

	do {
		usleep(50);
		pthread_mutex_lock(&b->card->lock);
		hangs = b->card->queue[q].work == CARD_WORK_HUNG ||
			b->card->queue[q].work == CARD_WORK_STUCK;
		pthread_mutex_unlock(&b->card->lock);
	} while (!hangs);
}

static void faults(struct bed *b)
{
	unsigned int i;

	ready(b);
	for (i = 0; i < RDU_NUM_INJECTS; i++)
		if (rdu_inject_kind(i) != RDU_INJECT_FLAG && i != RDU_INJECT_ECC_CE)
			rdu_card_inject(b->card, i, 20 + i);
	ok(move(b), "a card that will misbehave");
	for (i = 0; i < RDU_NUM_INJECTS; i++) {
		if (rdu_inject_kind(i) == RDU_INJECT_FLAG || i == RDU_INJECT_ECC_CE)
			continue;
		is((uint64_t)rdu_card_injected(b->card, i), 20 + i, "... will, as often");
		rdu_card_inject(b->card, i, rdu_inject_kind(i) == RDU_INJECT_QUEUE ? -1 : 0);
	}

	rdu_card_inject(b->card, RDU_INJECT_HANG, 1);
	rdu_card_inject(b->card, RDU_INJECT_STUCK, 2);
	for (i = 1; i < 3; i++) {
		bed_put(b, i, (struct rdu_cmd){ .op = RDU_OP_NOP });
		bed_ring(b, i);
		until_hung(b, i);
	}
	qwr(b, 2, RDU_REG_Q_CTRL, 2);
	ok(move(b), "queues that hang");
	usleep(20000);
	is(qrd(b, 1, RDU_REG_Q_STATUS), RDU_QUEUE_RUNNING, "... hang on");
	is(qrd(b, 2, RDU_REG_Q_CTRL), 3, "... the stuck one is still being reset");
	qwr(b, 1, RDU_REG_Q_CTRL, 0);
	ok(move(b) && qrd(b, 1, RDU_REG_Q_CTRL) == 1, "... is disabled and hangs on");
	bed_reset(b, 1);
	bed_enable(b, 1, root, 0, 1);
	ok(bed_do(b, 1, (struct rdu_cmd){ .op = RDU_OP_NOP }), "a reset recovers the one");
	rdu_card_reset(b->card);
	bed_enable(b, 2, root, 0, 1);
	ok(bed_do(b, 2, (struct rdu_cmd){ .op = RDU_OP_NOP }), "... and the card's the other");

	rdu_card_inject(b->card, RDU_INJECT_DEAD, 1);
	ok(move(b) && rd(b, RDU_REG_MAGIC) == ~0u, "a dead card stays dead");
	rdu_card_inject(b->card, RDU_INJECT_DEAD, 0);
	is(rd(b, RDU_REG_MAGIC), RDU_MAGIC, "... until it is no more");
	rdu_card_pause(b->card);
	save(b);
	rdu_card_inject(b->card, RDU_INJECT_GONE, 1);
	ok(load_into(b->card, stream_len, (char[300]){ 0 }, 300) &&
		   rd(b, RDU_REG_MAGIC) == RDU_MAGIC,
	   "a living one is loaded into a dead one");
	rdu_card_resume(b->card);
}

/* A fault whose interrupt a pause kept back. */
static void late_interrupt(struct bed *b)
{
	ready(b);
	rdu_card_pause(b->card);
	qwr(b, 3, RDU_REG_Q_RING_LOG2, 60);
	qwr(b, 3, RDU_REG_Q_CTRL, 1);
	usleep(20000);
	is(b->irqs[RDU_VECTOR_FAULT], 0, "a paused card raises nothing");
	ok(move(b), "moved");
	while (!b->irqs[RDU_VECTOR_FAULT])
		usleep(50);
	is(b->irqs[RDU_VECTOR_FAULT], 1, "... and then it does");
	rdu_card_reset(b->card);
}

/* ---- refusals ------------------------------------------------------------------ */

static void refused(struct bed *b, size_t n, const char *text)
{
	char error[300];

	ok(!load_into(b->card, n, error, sizeof(error)) && strstr(error, text),
	   "refused: %s (\"%s\")", text, error);
}

static void other_card(struct bed *b, struct rdu_card_config config, const char *text)
{
	struct rdu_card *mine = b->card;

	config.mem = b->mem;
	config.threads = 1;
	b->card = card_new(b, &config);
	refused(b, stream_len, text);
	rdu_card_free(b->card);
	b->card = mine;
}

static void refusals(struct bed *b)
{
	struct rdu_chip plasticine;
	struct dump clean, after;
	char error[300];
	size_t n, step;
	bool good = true;

	rdu_card_power_on(b->card);
	dump(b, &clean);
	ready(b);
	ok(!save(b), "a card at work is not saved");
	refused(b, 0, "not paused");
	work(b);
	countdown = 12;
	bed_ring(b, 1);
	while (!b->card->paused)
		usleep(50);
	rdu_card_pause(b->card);
	ok(save(b) && b->card->queue[1].run, "saved in the middle of a run");

	for (n = 0; n < stream_len; n += step) {
		size_t left = n;

		/* Every length at first, then most of the programs' bytes are skipped. */
		step = n < 2048 || n + 2048 > stream_len ? 7 : 1021;
		good &= rdu_card_save(b->card, put_some, &left, error, sizeof(error)) &&
			strstr(error, "cannot be written");
	}
	ok(good, "saving fails where the stream does");
	good = true;
	for (n = 0; n < stream_len; n += step) {
		step = n < 2048 || n + 2048 > stream_len ? 7 : 1021;
		if (load_into(b->card, n, error, sizeof(error)) || !strstr(error, "too early"))
			good = !printf("# %zu bytes of %zu: %s\n", n, stream_len, error);
	}
	ok(good, "a stream that is cut short is refused, wherever");
	dump(b, &after);
	ok(same(&clean, &after), "... and leaves the card empty");

	stream[0]++;
	refused(b, stream_len, "not the state of a card");
	stream[0]--;
	stream[4] = 99;
	refused(b, stream_len, "version 99");
	stream[4] = 2; /* before there were two configuration planes */
	refused(b, stream_len, "version 2, this card reads version 3");
	stream[4] = 3;
	stream[stream_len - 1]++;
	refused(b, stream_len, "does not end");
	stream[stream_len - 1]--;
	rdu_chip_find("plasticine", &plasticine, error, sizeof(error));
	other_card(b,
		   (struct rdu_card_config){
			   .chip = &plasticine, .mem_size = CARD_MEM, .serial = "TEST0001" },
		   "this one has chip plasticine");
	other_card(b,
		   (struct rdu_card_config){
			   .chip = &chip, .mem_size = CARD_MEM / 2, .serial = "TEST0001" },
		   "131072 KiB");
	other_card(b,
		   (struct rdu_card_config){
			   .chip = &chip, .mem_size = CARD_MEM, .serial = "TEST0002" },
		   "serial \"TEST0002\"");
	other_card(b,
		   (struct rdu_card_config){ .chip = &chip,
					     .mem_size = CARD_MEM,
					     .serial = "TEST0001",
					     .timing_only = true },
		   "timing only");
	ok(load_into(b->card, stream_len, error, sizeof(error)), "the stream itself is accepted");
	countdown = 0;
	rdu_card_resume(b->card);
	ended(b);
	is(bed_done(b, 1), b->seq[1] - 1, "... and the card goes on from there");
}

int main(void)
{
	struct bed *b = bed_new("sn10", 1, false);

	chip = b->chip;
	rdu_card_free(b->card);
	b->card = card_new(b, NULL);
	root = bed_root(b);
	bed_map(b, root, VA, 0, 64 * MB, RDU_PTE_WRITE, 1);
	/* Host memory, every second page elsewhere. */
	for (unsigned int i = 0; i < 32; i++)
		bed_map(b, root, VA_HOST + i * 4096, HOST_BASE + MB + (i ^ 1) * 4096ull, 4096,
			RDU_PTE_WRITE | RDU_PTE_HOST, 0);
	registers(b);
	slots(b);
	in_the_middle(b);
	at_any_time(b);
	watchdogs(b);
	requests(b);
	faults(b);
	late_interrupt(b);
	refusals(b);
	bed_free(b);
	free(stream);
	return tap_done();
}
