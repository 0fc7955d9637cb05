// SPDX-License-Identifier: MIT
/*
 * Queues: one worker thread each, started when the queue is first enabled. It
 * fetches commands from the ring, checks them field by field, carries them out
 * in order, and reports completion or fault. While it sleeps, the thread that
 * rings the doorbell does so itself for commands that take less time than
 * waking the worker.
 */
#include <string.h>
#include "card_priv.h"

#define SPIN_NS 20000 /* polling for the next doorbell before going to sleep */
#define BRIEF 4096 /* bytes that are copied or filled in the doorbell's thread */

int rdu_fail(struct rdu_failure *f, enum rdu_fault code, uint32_t info, uint64_t addr)
{
	f->code = code;
	f->info = info;
	f->addr = addr;
	return -1;
}

uint64_t rdu_queue_clock(const struct card_queue *q)
{
	return q->time + q->spent.exec + q->spent.pload + q->spent.aload + q->spent.copy;
}

bool rdu_queue_spend(struct card_queue *q, uint64_t *purpose, uint64_t cycles,
		     struct rdu_failure *f)
{
	*purpose += cycles;
	if (rdu_queue_clock(q) - q->time <= q->watchdog_end)
		return true;
	rdu_fail(f, RDU_FAULT_WATCHDOG, 0, 0);
	return false;
}

bool rdu_queue_continue(struct card_queue *q, struct rdu_failure *f)
{
	if (rdu_give_up(&q->stop, q->deadline_ns)) {
		rdu_fail(f, RDU_FAULT_WATCHDOG, 1, 0);
		return false;
	}
	return true;
}

/* ---- the decoder ----------------------------------------------------------- */

static bool all_zero(const __u64 *p, unsigned int n)
{
	uint64_t any = 0;

	while (n--)
		any |= *p++;
	return !any;
}

/* Every field an operation doesn't use must be zero. */
static bool well_formed(const struct rdu_cmd *c, bool admin)
{
	if (c->flags & ~RDU_CMD_ALL_FLAGS || c->zero)
		return false;
	switch (c->op) {
	case RDU_OP_NOP:
		return !c->slot && all_zero(c->raw, 6);
	case RDU_OP_COPY:
		return !c->slot && all_zero(c->copy.zero, 3);
	case RDU_OP_FILL:
		return !c->slot && !c->fill.zero32 && all_zero(c->fill.zero, 3) &&
		       !(c->fill.dst & 3) && !(c->fill.len & 3);
	case RDU_OP_TIMESTAMP:
		return !c->slot && !c->copy.src && !c->copy.len && all_zero(c->copy.zero, 3) &&
		       !(c->copy.dst & 7);
	case RDU_OP_RUN:
		return !c->run.zero && !c->run.trace == !c->run.trace_size;
	case RDU_OP_PLOAD:
		return !c->run.zero && !c->run.epoch && !c->run.trace == !c->run.trace_size &&
		       !c->run.args && !c->run.args_size;
	case RDU_OP_ALOAD:
	case RDU_OP_EXEC:
		if (c->slot || c->run.index || c->run.zero || c->run.epoch ||
		    !c->run.trace != !c->run.trace_size)
			return false;
		return c->op == RDU_OP_ALOAD || (!c->run.args && !c->run.args_size);
	case RDU_OP_PROG_LOAD:
		return admin && !c->prog.zero32 && all_zero(c->prog.zero, 2);
	case RDU_OP_PROG_UNLOAD:
		return admin && all_zero(c->raw, 6);
	}
	return false;
}

static int carry_out(struct card_queue *q, const struct rdu_cmd *c, struct rdu_failure *f)
{
	uint64_t now;

	if (!well_formed(c, q->id == RDU_ADMIN_QUEUE))
		return rdu_fail(f, RDU_FAULT_BAD_COMMAND, c->op, 0);
	switch (c->op) {
	case RDU_OP_NOP:
		return 0;
	case RDU_OP_COPY:
		return rdu_mem_copy(q, c->copy.dst, c->copy.src, c->copy.len, f);
	case RDU_OP_FILL:
		return rdu_mem_fill(q, c->fill.dst, c->fill.len, c->fill.value, f);
	case RDU_OP_TIMESTAMP:
		now = rdu_queue_clock(q);
		return rdu_mem_write(q, c->copy.dst, &now, sizeof(now), f);
	case RDU_OP_RUN:
		return rdu_cmd_run(q, c, f);
	case RDU_OP_PLOAD:
		return rdu_cmd_pload(q, c, f);
	case RDU_OP_ALOAD:
		return rdu_cmd_aload(q, c, f);
	case RDU_OP_EXEC:
		return rdu_cmd_exec(q, c, f);
	case RDU_OP_PROG_LOAD:
		return rdu_prog_load(q, c, f);
	case RDU_OP_PROG_UNLOAD:
		return rdu_prog_unload(q, c, f);
	}
	return rdu_fail(f, RDU_FAULT_BAD_COMMAND, c->op, 0);
}

/* Takes so little time that it can be done in the doorbell's thread. */
static bool brief(const struct rdu_cmd *c)
{
	switch (c->op) {
	case RDU_OP_NOP:
	case RDU_OP_TIMESTAMP:
		return true;
	case RDU_OP_COPY:
		return c->copy.len <= BRIEF;
	case RDU_OP_FILL:
		return c->fill.len <= BRIEF;
	}
	return false;
}

/* ---- the worker ------------------------------------------------------------ */

/* Raises a vector, without the lock. The queue counts as quiet meanwhile: the
 * front end may block here until whoever waits for the card has let go. */
static void raise_irq(struct card_queue *q, unsigned int vector)
{
	struct rdu_card *card = q->card;
	enum card_work before = q->work;

	if (rdu_inject_take(card, RDU_INJECT_DROP_IRQ))
		return;
	card_queue_move(q, CARD_WORK_IRQ);
	if (card->paused || q->requests & (CARD_REQ_RESET | CARD_REQ_DISABLE))
		pthread_cond_broadcast(&card->quiet);
	pthread_mutex_unlock(&card->lock);
	card->ops.irq(card->opaque, vector);
	pthread_mutex_lock(&card->lock);
	card_queue_move(q, before);
}

/* card->lock held. */
static void fault(struct card_queue *q, const struct rdu_failure *f, uint64_t seq)
{
	q->fault = *f;
	q->fault_seq = seq;
	q->status = RDU_QUEUE_FAULTED;
	q->batch_pos = q->batch_len = 0;
	q->card->fault_queues |= 1ULL << q->id;
	/* Too late for a disable: the queue waits for a reset. */
	q->requests &= ~CARD_REQ_DISABLE;
	if (!(q->requests & CARD_REQ_RESET))
		q->requests &= ~CARD_REQ_ENABLE;
	q->requests |= CARD_REQ_FAULT_IRQ;
	card_event(q->card, RDU_EVENT_FAULT, q->id, seq, f->code, f->info, f->addr);
}

/* Fetches what the doorbell announced, up to a batch. card->lock not held. */
static int fetch(struct card_queue *q, struct rdu_failure *f)
{
	struct rdu_card *card = q->card;
	uint32_t entries = 1u << q->live.log2, head = q->head, n = q->tail - head, first;
	uint64_t at;

	if (n > entries)
		return rdu_fail(f, RDU_FAULT_BAD_RING, 2, n);
	first = head & (entries - 1);
	if (n > RDU_BATCH)
		n = RDU_BATCH;
	if (n > entries - first)
		n = entries - first;
	at = q->live.ring + (uint64_t)first * sizeof(struct rdu_cmd);
	if (rdu_bus_read(card, at, q->batch, n * sizeof(struct rdu_cmd)))
		return rdu_fail(f, RDU_FAULT_BAD_RING, 1, at);
	q->batch_pos = 0;
	q->batch_len = n;
	q->head = head + n;
	return 0;
}

/* card->lock held. From idle to running: the queue's clock catches up with the
 * card's, or with the queues that are at work now. */
static void start_running(struct card_queue *q)
{
	struct rdu_card *card = q->card;
	uint64_t base = UINT64_MAX;
	unsigned int i;

	for (i = 0; i < RDU_MAX_QUEUES; i++)
		if (card->queue[i].status == RDU_QUEUE_RUNNING && card->queue[i].time < base)
			base = card->queue[i].time;
	if (base == UINT64_MAX)
		base = card->clock;
	if (q->time < base)
		q->time = base;
	q->busy_since = rdu_card_now(card);
	q->status = RDU_QUEUE_RUNNING;
}

/* The command's cycles go to the queue's counters and to the card's clock. */
static void account(struct card_queue *q)
{
	struct rdu_card *card = q->card;

	pthread_mutex_lock(&card->lock);
	q->time = rdu_queue_clock(q);
	if (q->time > card->clock)
		card->clock = q->time;
	q->exec_cycles += q->spent.exec;
	q->pload_cycles += q->spent.pload;
	q->aload_cycles += q->spent.aload;
	q->copy_cycles += q->spent.copy;
	memset(&q->spent, 0, sizeof(q->spent));
	pthread_mutex_unlock(&card->lock);
}

/* A command, or the rest of one that a pause cut in two. */
static void begin(struct card_queue *q, bool again)
{
	uint64_t limit = q->watchdog;

	if (!again) {
		memset(&q->spent, 0, sizeof(q->spent));
		memset(&q->progress, 0, sizeof(q->progress));
		q->watchdog_end = limit ? limit : UINT64_MAX;
		q->patience_ns = q->watchdog_ms * 1000000ULL;
	}
	q->deadline_ns = q->patience_ns ? rdu_monotonic_ns() + q->patience_ns : 0;
}

/* card->lock held. */
static void suspend(struct card_queue *q)
{
	uint64_t now = rdu_monotonic_ns();

	if (q->deadline_ns)
		q->patience_ns = q->deadline_ns > now ? q->deadline_ns - now : 1;
	card_queue_move(q, CARD_WORK_SUSPENDED);
}

/* again: it was suspended. card->lock taken. */
static void one_command(struct card_queue *q, bool again)
{
	struct rdu_card *card = q->card;
	struct rdu_cmd *c = &q->batch[q->batch_pos];
	struct rdu_failure f = { .section = RDU_NONE, .program = RDU_NONE };
	uint64_t seq = c->seqno, done, cycles;
	int failed;

	if (!again && rdu_inject_hang(q))
		return;
	card_event(card, RDU_EVENT_COMMAND, q->id, seq, c->op, 0, 0);
	begin(q, again);
	failed = carry_out(q, c, &f);
	if (failed == RDU_SUSPENDED) {
		pthread_mutex_lock(&card->lock);
		suspend(q);
		return;
	}
	/* Whoever sees the completion sees its cycles too. */
	cycles = rdu_queue_clock(q) - q->time;
	account(q);
	done = rdu_inject_take(card, RDU_INJECT_POISON) ? UINT64_MAX : seq;
	if (!failed && rdu_bus_write(card, q->live.cpl, &done, sizeof(done)))
		failed = rdu_fail(&f, RDU_FAULT_HOST_BUS, RDU_FAULT_INFO_WRITE, q->live.cpl);

	pthread_mutex_lock(&card->lock);
	q->batch_pos++;
	if (failed) {
		/* Stopped for a reset: there is nobody to tell. */
		if (!q->stop || q->requests & CARD_REQ_OVERTIME)
			fault(q, &f, seq);
	} else {
		card_event(card, RDU_EVENT_COMPLETION, q->id, seq, cycles, 0, 0);
		if (q->batch_pos == q->batch_len && q->head == q->tail) {
			rdu_queue_rest(q);
			q->status = RDU_QUEUE_IDLE;
		}
		if (c->flags & RDU_CMD_IRQ)
			raise_irq(q, q->id);
	}
}

/* Waits a little for the doorbell without sleeping. */
static void spin(struct card_queue *q)
{
	struct rdu_card *card = q->card;
	uint64_t end = rdu_monotonic_ns() + SPIN_NS;

	while (q->head == q->tail && !q->stop && !card->paused && !card->closing &&
	       rdu_monotonic_ns() < end) {
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#endif
	}
}

static bool hangs(const struct card_queue *q)
{
	return q->work == CARD_WORK_HUNG || q->work == CARD_WORK_STUCK;
}

static bool has_work(const struct card_queue *q)
{
	const struct rdu_card *card = q->card;

	if (card->paused || hangs(q) || q->requests & CARD_REQ_RESET || card->reset_req)
		return false;
	/* What has begun is ended, even if queue or card are to be disabled. */
	if (q->work == CARD_WORK_SUSPENDED)
		return true;
	if (!card->enabled || q->requests & CARD_REQ_DISABLE)
		return false;
	if (q->status != RDU_QUEUE_IDLE && q->status != RDU_QUEUE_RUNNING)
		return false;
	return q->batch_pos < q->batch_len || q->head != q->tail;
}

/* Fetches commands if there are none, and carries out one, of any kind or only
 * a brief one: true if it did. card->lock held, and let go of meanwhile. */
static bool step(struct card_queue *q, bool only_brief)
{
	struct rdu_card *card = q->card;
	struct rdu_failure f = { .section = RDU_NONE, .program = RDU_NONE };
	bool found = false, again = q->work == CARD_WORK_SUSPENDED;
	int failed = 0;

	card_queue_move(q, CARD_WORK_BUSY);
	if (q->status == RDU_QUEUE_IDLE)
		start_running(q);
	pthread_mutex_unlock(&card->lock);
	if (q->batch_pos == q->batch_len)
		failed = fetch(q, &f);
	if (!failed && q->batch_pos < q->batch_len)
		found = !only_brief || brief(&q->batch[q->batch_pos]);
	if (found) {
		one_command(q, again); /* takes the lock */
	} else {
		pthread_mutex_lock(&card->lock);
		if (failed && !q->stop)
			fault(q, &f, 0);
	}
	if (q->work == CARD_WORK_BUSY)
		card_queue_move(q, CARD_WORK_QUIET);
	return found;
}

/*
 * The doorbell was rung; card->lock held. At most a batch of brief commands is
 * carried out here, in the front end's thread: the rest is the worker's, and so
 * is all that follows from faults and resets.
 */
void rdu_queue_rung(struct card_queue *q)
{
	struct rdu_card *card = q->card;
	unsigned int n = 0;

	if (q->lent)
		return;
	if (card->ops.brief_in_doorbell && q->sleeping) {
		q->lent = true;
		while (n < RDU_BATCH && !(q->requests & CARD_REQ_FAULT_IRQ) && has_work(q) &&
		       step(q, true))
			n++;
		q->lent = false;
	}
	/* Awake, it may have looked for work while the queue was lent. */
	if (!q->sleeping || has_work(q) || q->requests || card->paused || card->closing)
		pthread_cond_signal(&q->wake);
}

/* A fault is to be told of; nothing is while the card is paused. */
static bool irq_due(const struct card_queue *q)
{
	return q->requests & CARD_REQ_FAULT_IRQ && !q->card->paused;
}

void *rdu_queue_worker(void *queue)
{
	struct card_queue *q = queue;
	struct rdu_card *card = q->card;
	bool spun = true;

	pthread_mutex_lock(&card->lock);
	while (!card->closing) {
		if (q->lent) {
			pthread_cond_wait(&q->wake, &card->lock);
			continue;
		}
		if (irq_due(q)) {
			q->requests &= ~CARD_REQ_FAULT_IRQ;
			rdu_queue_rest(q);
			raise_irq(q, RDU_VECTOR_FAULT);
			continue;
		}
		if (has_work(q)) {
			spun = false;
			step(q, false);
			continue;
		}
		rdu_queue_settle(q);
		rdu_card_settle(card);
		pthread_cond_broadcast(&card->quiet);
		if (q->status == RDU_QUEUE_RUNNING && !card->paused && !hangs(q)) {
			rdu_queue_rest(q);
			q->status = RDU_QUEUE_IDLE;
		}
		if (!spun && q->status == RDU_QUEUE_IDLE && !card->paused && !card->closing) {
			spun = true;
			pthread_mutex_unlock(&card->lock);
			spin(q);
			pthread_mutex_lock(&card->lock);
			continue;
		}
		atomic_store(&q->sleeping, true);
		if (!has_work(q) && !irq_due(q) && !card->closing)
			pthread_cond_wait(&q->wake, &card->lock);
		atomic_store(&q->sleeping, false);
	}
	pthread_mutex_unlock(&card->lock);
	return NULL;
}
