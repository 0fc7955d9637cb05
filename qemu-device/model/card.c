// SPDX-License-Identifier: MIT
/*
 * The card's life: made, reset, paused, freed; queues enabled, disabled and
 * reset; tiles granted and cleared.
 *
 * A reset or disable asked for through a register is a request: it is carried
 * out at once if the queue's worker is quiet, else by the worker as soon as it
 * is. So no register access ever waits for a worker, which may itself wait for
 * the front end in a callback.
 */
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include "card_priv.h"

/* How long a pause waits for an execution to end before it is stopped. */
#define PAUSE_PATIENCE_MS 30000

uint64_t rdu_card_now(struct rdu_card *card)
{
	return card->ops.now_ns ? card->ops.now_ns(card->opaque) : rdu_monotonic_ns();
}

void rdu_guest_error(struct rdu_card *card, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	if (!card->ops.guest_error)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	card->ops.guest_error(card->opaque, text);
}

struct timespec rdu_in_ms(unsigned int ms)
{
	uint64_t ns = rdu_monotonic_ns() + ms * 1000000ULL;

	return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000),
				  .tv_nsec = (long)(ns % 1000000000) };
}

/* ---- tiles ----------------------------------------------------------------- */

/* Gives the pages back: they read as zeros when next touched. */
static void clear_tiles(struct rdu_card *card, uint32_t first, uint32_t count)
{
	size_t tile = (size_t)card->pmus_per_tile * card->chip.pmu_bytes;
	unsigned char *p = card->scratch + first * tile;

	if (madvise(p, count * tile, MADV_DONTNEED))
		memset(p, 0, count * tile);
}

static void release_tiles(struct card_queue *q)
{
	struct rdu_card *card = q->card;
	bool owned = false;
	uint32_t t;

	for (t = 0; t < card->chip.tiles; t++) {
		if (card->tile_owner[t] == q->id + 1) {
			card->tile_owner[t] = 0;
			owned = true;
		}
	}
	if (owned)
		clear_tiles(card, q->live.tile_first, q->live.tile_count);
}

/* ---- queues (card->lock held) ---------------------------------------------- */

void card_queue_move(struct card_queue *q, enum card_work work)
{
	static const unsigned int may_follow[] = {
#define W(name) (1u << CARD_WORK_##name)
#define CARD_WORK_NEXT(name, next, meaning) [CARD_WORK_##name] = (next),
		CARD_WORKS(CARD_WORK_NEXT)
#undef CARD_WORK_NEXT
#undef W
	};

	assert(may_follow[q->work] & 1u << work);
	q->work = work;
}

void card_event(struct rdu_card *card, enum rdu_event event, unsigned int queue, uint64_t a,
		uint64_t b, uint64_t c, uint64_t d)
{
	if (card->ops.trace)
		card->ops.trace(card->opaque, event, queue, (const uint64_t[]){ a, b, c, d });
}

void rdu_queue_wake(struct card_queue *q)
{
	if (q->started)
		pthread_cond_signal(&q->wake);
}

/* Busy tile-nanoseconds of a stretch of work under way. */
static uint64_t busy_until(const struct card_queue *q, uint64_t now)
{
	if (!q->busy_since || now < q->busy_since)
		return 0;
	return (now - q->busy_since) * (q->live.tile_count ? q->live.tile_count : 1);
}

void rdu_queue_rest(struct card_queue *q)
{
	q->card->busy_ns += busy_until(q, rdu_card_now(q->card));
	q->busy_since = 0;
}

void rdu_queue_settle(struct card_queue *q)
{
	bool again = q->requests & CARD_REQ_ENABLE, reset = q->requests & CARD_REQ_RESET;

	if (!(q->requests & (CARD_REQ_RESET | CARD_REQ_DISABLE)) || card_queue_at_work(q))
		return;
	/* A disable waits for the command's end, a reset for no ordinary one. */
	if (q->work == CARD_WORK_STUCK ||
	    (!reset && (q->work == CARD_WORK_HUNG || q->work == CARD_WORK_SUSPENDED)))
		return;
	rdu_queue_unload(q);
	card_kept_drop(q);
	release_tiles(q);
	rdu_queue_rest(q);
	if (reset) {
		memset(&q->fault, 0, sizeof(q->fault));
		q->fault.section = q->fault.program = RDU_NONE;
		q->fault_seq = 0;
		q->requests &= ~CARD_REQ_FAULT_IRQ;
		q->exec_cycles = q->pload_cycles = q->aload_cycles = q->copy_cycles = 0;
		memset(q->latch, 0, sizeof(q->latch));
	}
	memset(&q->live, 0, sizeof(q->live));
	q->batch_pos = q->batch_len = 0;
	q->head = 0;
	q->tail = 0;
	atomic_fetch_add(&q->tlb_generation, 1);
	q->status = RDU_QUEUE_DISABLED;
	q->requests &= CARD_REQ_FAULT_IRQ;
	q->stop = false;
	if (q->work == CARD_WORK_HUNG)
		card_queue_move(q, CARD_WORK_QUIET);
	if (reset && !q->card->reset_req)
		card_event(q->card, RDU_EVENT_RESET, q->id, 0, 0, 0, 0);
	if (again)
		rdu_queue_enable(q);
	pthread_cond_broadcast(&q->card->quiet);
}

void rdu_queue_request_reset(struct card_queue *q, bool enable_after)
{
	q->requests &= ~CARD_REQ_ENABLE;
	q->requests |= CARD_REQ_RESET | (enable_after ? CARD_REQ_ENABLE : 0);
	q->stop = true;
	rdu_queue_settle(q);
	rdu_queue_wake(q);
}

void rdu_queue_request_disable(struct card_queue *q)
{
	q->requests &= ~CARD_REQ_ENABLE;
	/* Only a reset brings a faulted queue back. */
	if (q->status == RDU_QUEUE_DISABLED || q->status == RDU_QUEUE_FAULTED ||
	    q->requests & CARD_REQ_RESET)
		return;
	q->requests |= CARD_REQ_DISABLE;
	rdu_queue_settle(q);
	rdu_queue_wake(q);
}

static void refuse(struct card_queue *q, enum rdu_fault code, uint32_t info, uint64_t addr)
{
	q->fault = (struct rdu_failure){
		.code = code, .info = info, .addr = addr, .section = RDU_NONE, .program = RDU_NONE
	};
	q->fault_seq = 0;
	q->status = RDU_QUEUE_FAULTED;
	q->card->fault_queues |= 1ULL << q->id;
	q->requests |= CARD_REQ_FAULT_IRQ;
	card_event(q->card, RDU_EVENT_FAULT, q->id, 0, code, info, addr);
	rdu_queue_wake(q);
}

int rdu_queue_start(struct card_queue *q)
{
	int error;

	if (q->started)
		return 0;
	error = rdu_thread_start(&q->thread, rdu_queue_worker, q);
	q->started = !error;
	return error;
}

void rdu_queue_enable(struct card_queue *q)
{
	struct rdu_card *card = q->card;
	uint32_t t, first = q->reg.tile_first, count = q->reg.tile_count;

	if (q->requests & (CARD_REQ_RESET | CARD_REQ_DISABLE)) {
		q->requests |= CARD_REQ_ENABLE;
		return;
	}
	if (card->reset_req || q->status != RDU_QUEUE_DISABLED)
		return;
	if (rdu_queue_start(q)) {
		refuse(q, RDU_FAULT_INTERNAL, 0, 0);
		return;
	}
	if (q->reg.log2 < 1 || q->reg.log2 > 16) {
		refuse(q, RDU_FAULT_BAD_RING, 0, q->reg.log2);
		return;
	}
	if (count && (first >= card->chip.tiles || count > card->chip.tiles - first)) {
		refuse(q, RDU_FAULT_NO_TILES, RDU_NONE, first);
		return;
	}
	for (t = first; t < first + count && count; t++) {
		if (card->tile_owner[t]) {
			refuse(q, RDU_FAULT_NO_TILES, card->tile_owner[t] - 1, t);
			return;
		}
	}
	for (t = first; t < first + count && count; t++)
		card->tile_owner[t] = q->id + 1;
	q->live = q->reg;
	q->head = 0;
	q->tail = 0;
	q->time = 0;
	q->status = RDU_QUEUE_IDLE;
	rdu_queue_wake(q);
}

/* ---- the card --------------------------------------------------------------- */

void rdu_card_request_reset(struct rdu_card *card)
{
	unsigned int i;

	card->reset_req = true;
	for (i = 0; i < RDU_MAX_QUEUES; i++) {
		if (card->queue[i].work == CARD_WORK_STUCK)
			card_queue_move(&card->queue[i], CARD_WORK_HUNG);
		rdu_queue_request_reset(&card->queue[i], false);
	}
	rdu_card_settle(card);
}

void rdu_card_settle(struct rdu_card *card)
{
	unsigned int i;

	if (!card->reset_req)
		return;
	for (i = 0; i < RDU_MAX_QUEUES; i++)
		if (card->queue[i].requests & CARD_REQ_RESET)
			return;
	for (i = 0; i < RDU_MAX_QUEUES; i++) {
		struct card_queue *q = &card->queue[i];

		memset(&q->reg, 0, sizeof(q->reg));
		q->watchdog = 0;
		q->watchdog_ms = 0;
		q->time = 0;
	}
	for (i = 0; i < RDU_MAX_SLOTS; i++) {
		if (card->slot[i])
			rdu_program_put(card->slot[i]);
		card->slot[i] = NULL;
	}
	card->fault_queues = 0;
	card->latch_hi = 0;
	card->enabled = false;
	card->reset_req = false;
	card_event(card, RDU_EVENT_CARD_RESET, 0, 0, 0, 0, 0);
	pthread_cond_broadcast(&card->quiet);
}

void rdu_card_reset(struct rdu_card *card)
{
	pthread_mutex_lock(&card->lock);
	rdu_card_request_reset(card);
	while (card->reset_req)
		pthread_cond_wait(&card->quiet, &card->lock);
	pthread_mutex_unlock(&card->lock);
}

void rdu_card_power_on(struct rdu_card *card)
{
	rdu_card_reset(card);
	pthread_mutex_lock(&card->lock);
	card->ecc_ce = card->ecc_ue = 0;
	card->clock = 0;
	pthread_mutex_unlock(&card->lock);
}

/*
 * Health. Load is the share of tiles that were busy, smoothed over about a
 * second; power follows it, temperature follows power with a longer delay. The
 * figures are of the size of one such chip on a card; none is published.
 */
#define POWER_IDLE_MW 75000.0
#define POWER_SPAN_MW 275000.0
#define TEMP_IDLE_MC 35000.0
#define TEMP_SPAN_MC 45000.0

/* card->lock held. */
static void sample(struct rdu_card *card)
{
	uint64_t now = rdu_card_now(card), busy = card->busy_ns;
	double dt, load;
	unsigned int i;

	if (now <= card->sample_ns)
		return;
	for (i = 0; i < RDU_MAX_QUEUES; i++)
		busy += busy_until(&card->queue[i], now);
	dt = (double)(now - card->sample_ns);
	load = busy > card->sample_busy ? (double)(busy - card->sample_busy) : 0;
	load /= dt * card->chip.tiles;
	if (load > 1)
		load = 1;
	dt *= 1e-9;
	card->load += (load - card->load) * (1 - exp(-dt / 1.0));
	card->heat += (card->load - card->heat) * (1 - exp(-dt / 8.0));
	card->sample_ns = now;
	card->sample_busy = busy;
}

void rdu_card_health(struct rdu_card *card, uint32_t *millidegrees, uint32_t *milliwatts)
{
	if (!card->paused)
		sample(card);
	*milliwatts = (uint32_t)(POWER_IDLE_MW + POWER_SPAN_MW * card->load);
	*millidegrees = (uint32_t)(TEMP_IDLE_MC + TEMP_SPAN_MC * card->heat);
}

/* Interrupts are out, too: what is saved now has them all. */
bool rdu_card_quiet(const struct rdu_card *card)
{
	unsigned int i;

	for (i = 0; i < RDU_MAX_QUEUES; i++)
		if (card_queue_at_work(&card->queue[i]) || card->queue[i].work == CARD_WORK_IRQ)
			return false;
	return true;
}

void rdu_card_pause(struct rdu_card *card)
{
	struct timespec limit = rdu_in_ms(PAUSE_PATIENCE_MS);
	unsigned int i;
	bool already;

	pthread_mutex_lock(&card->lock);
	already = card->paused;
	card->paused = true;
	while (!rdu_card_quiet(card)) {
		if (pthread_cond_timedwait(&card->quiet, &card->lock, &limit) != ETIMEDOUT)
			continue;
		/* An endless execution must not keep a VM from stopping. */
		for (i = 0; i < RDU_MAX_QUEUES; i++) {
			struct card_queue *q = &card->queue[i];

			if (q->work == CARD_WORK_BUSY && !q->stop) {
				q->requests |= CARD_REQ_OVERTIME;
				q->stop = true;
			}
		}
		limit = rdu_in_ms(1000);
	}
	/* What was in progress then is faulted; what comes may run. */
	for (i = 0; i < RDU_MAX_QUEUES; i++) {
		struct card_queue *q = &card->queue[i];

		if (q->requests & CARD_REQ_OVERTIME) {
			q->requests &= ~CARD_REQ_OVERTIME;
			q->stop = false;
		}
		rdu_queue_rest(q);
	}
	if (!already)
		sample(card);
	pthread_mutex_unlock(&card->lock);
}

void rdu_card_resume(struct rdu_card *card)
{
	unsigned int i;

	pthread_mutex_lock(&card->lock);
	if (card->paused) {
		card->paused = false;
		card->sample_ns = rdu_card_now(card); /* the time stopped is nobody's */
		for (i = 0; i < RDU_MAX_QUEUES; i++) {
			struct card_queue *q = &card->queue[i];

			if (q->status == RDU_QUEUE_RUNNING)
				q->busy_since = card->sample_ns;
			rdu_queue_wake(q);
		}
	}
	pthread_mutex_unlock(&card->lock);
}

static int make_scratch(struct rdu_card *card)
{
	size_t n = (size_t)card->chip.tiles * card->pmus_per_tile, i;

	card->scratch_size = n * card->chip.pmu_bytes;
	card->scratch = mmap(NULL, card->scratch_size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (card->scratch == MAP_FAILED) {
		card->scratch = NULL;
		return -1;
	}
	card->scratch_ptr = calloc(n, sizeof(*card->scratch_ptr));
	if (!card->scratch_ptr)
		return -1;
	for (i = 0; i < n; i++)
		card->scratch_ptr[i] =
			(uint32_t *)(void *)(card->scratch + i * card->chip.pmu_bytes);
	return 0;
}

static void destroy(struct rdu_card *card)
{
	unsigned int i;

	for (i = 0; i < RDU_MAX_QUEUES; i++)
		pthread_cond_destroy(&card->queue[i].wake);
	for (i = 0; i < RDU_MAX_SLOTS; i++)
		if (card->slot[i])
			rdu_program_put(card->slot[i]);
	pthread_cond_destroy(&card->quiet);
	pthread_mutex_destroy(&card->lock);
	if (card->pool)
		rdu_pool_free(card->pool);
	if (card->scratch)
		munmap(card->scratch, card->scratch_size);
	free(card->scratch_ptr);
	free(card);
}

static bool serial_fits(const char *serial)
{
	size_t n = 0;

	while (serial && serial[n] >= ' ' && serial[n] <= '~' && n <= RDU_SERIAL_MAX)
		n++;
	return !serial || (!serial[n] && n <= RDU_SERIAL_MAX);
}

struct rdu_card *rdu_card_new(const struct rdu_card_config *config, const struct rdu_host_ops *ops,
			      void *opaque, const char **error)
{
	struct rdu_card *card;
	pthread_condattr_t attr;
	char text[160];
	unsigned int i;

	*error = NULL;
	if (!config->chip || rdu_chip_check(config->chip, text, sizeof(text))) {
		*error = "the chip description is impossible";
		return NULL;
	}
	if (!config->mem || !config->mem_size || config->mem_size % 4096 ||
	    config->mem_size > 1ULL << 51) {
		*error = "card memory must be a multiple of 4096 bytes, not empty, at most 2 PiB";
		return NULL;
	}
	if (config->threads > RDU_POOL_MAX) {
		*error = "more than 256 threads for the fabric";
		return NULL;
	}
	if (!serial_fits(config->serial)) {
		*error = "a serial number has 16 printable ASCII characters at most";
		return NULL;
	}
	if (!ops || !ops->read || !ops->write || !ops->irq) {
		*error = "host callbacks are missing";
		return NULL;
	}
	card = calloc(1, sizeof(*card));
	if (!card) {
		*error = "out of memory";
		return NULL;
	}
	card->chip = *config->chip;
	card->chip_hash = rdu_chip_hash(config->chip);
	card->pmus_per_tile = rdu_chip_pmus_per_tile(config->chip);
	card->mem = config->mem;
	card->mem_size = config->mem_size;
	card->ops = *ops;
	card->opaque = opaque;
	card->timing_only = config->timing_only;
	rdu_inject_init(card);
	for (i = 0; config->serial && i < sizeof(card->serial) && config->serial[i]; i++)
		card->serial[i] = config->serial[i];
	pthread_mutex_init(&card->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&card->quiet, &attr);
	for (i = 0; i < RDU_MAX_QUEUES; i++) {
		struct card_queue *q = &card->queue[i];

		q->card = card;
		q->id = i;
		q->fault.section = q->fault.program = RDU_NONE;
		pthread_cond_init(&q->wake, &attr);
	}
	pthread_condattr_destroy(&attr);
	card->sample_ns = rdu_card_now(card);
	if (make_scratch(card)) {
		*error = "no memory for the scratchpads";
		destroy(card);
		return NULL;
	}
	card->pool = rdu_pool_new(config->threads);
	if (!card->pool) {
		*error = "no threads for the fabric";
		destroy(card);
		return NULL;
	}
	return card;
}

void rdu_card_free(struct rdu_card *card)
{
	unsigned int i;

	if (!card)
		return;
	pthread_mutex_lock(&card->lock);
	card->closing = true;
	for (i = 0; i < RDU_MAX_QUEUES; i++) {
		card->queue[i].stop = true;
		rdu_queue_wake(&card->queue[i]);
	}
	pthread_mutex_unlock(&card->lock);
	for (i = 0; i < RDU_MAX_QUEUES; i++) {
		if (card->queue[i].started)
			pthread_join(card->queue[i].thread, NULL);
		rdu_queue_unload(&card->queue[i]);
		card_kept_drop(&card->queue[i]);
	}
	destroy(card);
}
