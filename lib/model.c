/* SPDX-License-Identifier: MIT */
/*
 * "model:CHIP": a small driver in this process, for a card in this process. Host
 * addresses are the process's own pointers, so rings, argument blocks and host
 * buffers need no copies; everything else is as on a real card: queues, device
 * page tables in card memory, program slots, faults.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <sys/mman.h>
#include <unistd.h>
#include "model.h"

#define ADMIN_LOG2 4

/* ---- what the card calls ---------------------------------------------------------- */

static int host_read(void *opaque, uint64_t addr, void *buf, uint64_t len)
{
	(void)opaque;
	memcpy(buf, (const void *)(uintptr_t)addr, len);
	return 0;
}

static int host_write(void *opaque, uint64_t addr, const void *buf, uint64_t len)
{
	(void)opaque;
	if (len == 8 && addr % 8 == 0) { /* completion words are read while written */
		uint64_t value;

		memcpy(&value, buf, sizeof(value));
		__atomic_store_n((uint64_t *)(uintptr_t)addr, value, __ATOMIC_RELEASE);
		return 0;
	}
	memcpy((void *)(uintptr_t)addr, buf, len);
	return 0;
}

static void host_irq(void *opaque, unsigned int vector)
{
	struct model *m = opaque;

	(void)vector;
	pthread_mutex_lock(&m->lock);
	pthread_cond_broadcast(&m->done);
	pthread_mutex_unlock(&m->lock);
}

static uint64_t host_now(void *opaque)
{
	struct timespec t;

	(void)opaque;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *host_map(void *opaque, uint64_t addr, uint64_t len, bool write)
{
	(void)opaque, (void)len, (void)write;
	return (void *)(uintptr_t)addr;
}

static void host_unmap(void *opaque, void *ptr, uint64_t len, bool write)
{
	(void)opaque, (void)ptr, (void)len, (void)write;
}

static const struct rdu_host_ops host_ops = {
	.read = host_read,
	.write = host_write,
	.irq = host_irq,
	.now_ns = host_now,
	.map = host_map,
	.unmap = host_unmap,
};

/* ---- registers ---------------------------------------------------------------------- */

uint32_t lr_model_get(struct model *m, unsigned int reg)
{
	return rdu_card_mmio_read(m->card, reg, 4);
}

uint64_t lr_model_get64(struct model *m, unsigned int reg)
{
	uint32_t lo = lr_model_get(m, reg);

	return lo | (uint64_t)lr_model_get(m, reg + 4) << 32;
}

static void set(struct model *m, unsigned int reg, uint32_t value)
{
	rdu_card_mmio_write(m->card, reg, value, 4);
}

static void set64(struct model *m, unsigned int reg, uint64_t value)
{
	set(m, reg, value);
	set(m, reg + 4, value >> 32);
}

/* ---- queues ---------------------------------------------------------------------------- */

static void start_queue(struct model *m, struct model_queue *q, unsigned int id)
{
	unsigned int r = RDU_REG_QUEUE(id);

	q->id = id;
	q->sent = 0;
	*q->done = 0;
	set64(m, r + RDU_REG_Q_RING_LO, (uintptr_t)q->ring);
	set(m, r + RDU_REG_Q_RING_LOG2, q->log2);
	set64(m, r + RDU_REG_Q_CPL_LO, (uintptr_t)q->done);
	set64(m, r + RDU_REG_Q_PT_LO, q->root);
	set(m, r + RDU_REG_Q_TILE_FIRST, q->first_tile);
	set(m, r + RDU_REG_Q_TILE_COUNT, q->num_tiles);
	set64(m, r + RDU_REG_Q_WATCHDOG_LO, q->watchdog_cycles);
	set(m, r + RDU_REG_Q_WATCHDOG_MS, q->watchdog_ms);
	set(m, r + RDU_REG_Q_CTRL, 1);
}

static void stop_queue(struct model *m, struct model_queue *q)
{
	const struct timespec moment = { 0, 50000 };
	unsigned int r = RDU_REG_QUEUE(q->id);

	set(m, r + RDU_REG_Q_CTRL, 2);
	while (lr_model_get(m, r + RDU_REG_Q_CTRL) & 2)
		nanosleep(&moment, NULL);
}

static int alloc_queue(struct model_queue *q, unsigned int log2)
{
	q->log2 = log2;
	q->ring = aligned_alloc(64, sizeof(*q->ring) << log2);
	q->done = aligned_alloc(64, 64);
	return q->ring && q->done ? 0 : -ENOMEM;
}

static void free_queue(struct model_queue *q)
{
	free(q->ring);
	free(q->done);
	q->ring = NULL;
	q->done = NULL;
}

static void ring_doorbell(struct model *m, struct model_queue *q)
{
	rdu_card_doorbell(m->card, (uint64_t)q->id * RDU_DOORBELL_STRIDE, (uint32_t)q->sent, 4);
}

/* 0, -ETIME or -EIO. */
static int wait_for(struct model *m, struct model_queue *q, uint64_t seqno, int64_t timeout_ms)
{
	struct timespec until;
	int ret = 0;

	if (__atomic_load_n(q->done, __ATOMIC_ACQUIRE) >= seqno)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&m->lock);
	while (__atomic_load_n(q->done, __ATOMIC_ACQUIRE) < seqno) {
		uint32_t status = lr_model_get(m, RDU_REG_QUEUE(q->id) + RDU_REG_Q_STATUS);

		if (status == RDU_QUEUE_FAULTED || status == RDU_QUEUE_DISABLED) {
			if (__atomic_load_n(q->done, __ATOMIC_ACQUIRE) < seqno)
				ret = -EIO;
			break;
		}
		if (timeout_ms < 0) {
			pthread_cond_wait(&m->done, &m->lock);
		} else if (ret) {
			ret = -ETIME;
			break;
		} else {
			/* On ETIMEDOUT look once more, then give up. */
			ret = pthread_cond_timedwait(&m->done, &m->lock, &until) ? -ETIME : 0;
		}
	}
	if (__atomic_load_n(q->done, __ATOMIC_ACQUIRE) >= seqno)
		ret = 0;
	pthread_mutex_unlock(&m->lock);
	return ret;
}

static int send(struct model *m, struct model_queue *q, struct rdu_cmd *cmd, bool irq)
{
	uint64_t room = 1ull << q->log2;

	if (q->sent >= room && q->sent - __atomic_load_n(q->done, __ATOMIC_ACQUIRE) >= room) {
		/* Have the oldest raise no interrupt? Then the last before us does. */
		ring_doorbell(m, q);
		if (wait_for(m, q, q->last_irq, -1))
			return -EIO;
	}
	cmd->seqno = q->sent + 1;
	/* Every half ring at least, so that a full queue always has one to wait for. */
	if (irq || cmd->seqno - q->last_irq >= room / 2) {
		cmd->flags |= RDU_CMD_IRQ;
		q->last_irq = cmd->seqno;
	}
	q->ring[q->sent & (room - 1)] = *cmd;
	q->sent++;
	return 0;
}

/* One command to the administrator's queue. */
static int admin(struct model *m, struct rdu_cmd *cmd)
{
	int ret;

	pthread_mutex_lock(&m->admin_lock);
	ret = send(m, &m->admin, cmd, true);
	if (!ret) {
		ring_doorbell(m, &m->admin);
		ret = wait_for(m, &m->admin, m->admin.sent, -1);
	}
	pthread_mutex_unlock(&m->admin_lock);
	return ret;
}

/* ---- the device --------------------------------------------------------------------------- */

struct model_options {
	char chip[256];
	uint64_t mem;
	unsigned int threads;
	bool timing_only;
};

static int parse_size(const char *text, uint64_t *value)
{
	static const char units[] = "KMGT";
	char *end;
	const char *unit;

	errno = 0;
	*value = strtoull(text, &end, 0);
	if (errno || end == text)
		return -EINVAL;
	unit = *end ? strchr(units, *end & ~0x20) : NULL;
	if (*end && (!unit || end[1]))
		return -EINVAL;
	if (unit && __builtin_mul_overflow(*value, 1ull << 10 * (unit - units + 1), value))
		return -EINVAL;
	return 0;
}

static int parse_options(struct rdu_device *dev, const char *where, struct model_options *o)
{
	const char *p = where[5] ? where + 6 : "";
	size_t n = strcspn(p, ",");

	*o = (struct model_options){ .mem = 4ull << 30 };
	if (n >= sizeof(o->chip))
		return lr_fail(&dev->obj, -EINVAL, "%s: too long", where);
	memcpy(o->chip, n ? p : "sn10", n ? n : 4);
	for (p += n; *p; p += n) {
		char option[64];
		uint64_t value;

		n = strcspn(++p, ",");
		snprintf(option, sizeof(option), "%.*s", (int)(n < 63 ? n : 63), p);
		if (!strcmp(option, "timing-only"))
			o->timing_only = true;
		else if (!strncmp(option, "threads=", 8) && !parse_size(option + 8, &value) &&
			 value <= 1024)
			o->threads = value;
		else if (!strncmp(option, "mem=", 4) && !parse_size(option + 4, &value) &&
			 value >= 1 << 20 && value < 1ull << 46)
			o->mem = value & ~4095ull;
		else
			return lr_fail(&dev->obj, -EINVAL,
				       "%s: option \"%s\": there are threads=N, "
				       "mem=N[KMGT] (1M or more) and timing-only",
				       where, option);
	}
	return 0;
}

static int model_open(struct rdu_device *dev, const char *where)
{
	struct rdu_card_config config = { .serial = "model" };
	struct model_options o;
	pthread_condattr_t attr;
	struct model *m;
	const char *error;
	char text[700];
	int ret = parse_options(dev, where, &o);

	if (ret)
		return ret;
	if (rdu_chip_find(o.chip, &dev->chip, text, sizeof(text)))
		return lr_fail(&dev->obj, -EINVAL, "%s: %s", where, text);
	dev->chip_hash = rdu_chip_hash(&dev->chip);
	m = dev->priv = calloc(1, sizeof(*m));
	if (!m)
		return lr_fail(&dev->obj, -ENOMEM, "%s: out of memory", where);
	pthread_mutex_init(&m->lock, NULL);
	pthread_mutex_init(&m->admin_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m->done, &attr);
	pthread_condattr_destroy(&attr);
	m->mem_size = o.mem;
	m->mem = mmap(NULL, o.mem, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->mem == MAP_FAILED) {
		m->mem = NULL;
		return lr_fail(&dev->obj, -ENOMEM,
			       "%s: no room for %llu bytes of card memory; ask "
			       "for less with mem=",
			       where, (unsigned long long)o.mem);
	}
	if (lr_ranges_init(&m->free, 0, o.mem) || alloc_queue(&m->admin, ADMIN_LOG2))
		return lr_fail(&dev->obj, -ENOMEM, "%s: out of memory", where);
	config.chip = &dev->chip;
	config.mem = m->mem;
	config.mem_size = o.mem;
	config.threads = o.threads;
	config.timing_only = o.timing_only;
	m->card = rdu_card_new(&config, &host_ops, m, &error);
	if (!m->card)
		return lr_fail(&dev->obj, -ENOMEM, "%s: %s", where, error);
	set(m, RDU_REG_CTRL, RDU_CTRL_ENABLE);
	start_queue(m, &m->admin, RDU_ADMIN_QUEUE);
	m->queue_used[RDU_ADMIN_QUEUE] = true;
	return 0;
}

static void model_close(struct rdu_device *dev)
{
	struct model *m = dev->priv;

	rdu_card_free(m->card);
	if (m->mem)
		munmap(m->mem, m->mem_size);
	lr_ranges_fini(&m->free);
	free_queue(&m->admin);
	pthread_cond_destroy(&m->done);
	pthread_mutex_destroy(&m->admin_lock);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

/* The card's threads are not in this process: what they work with can only stay. */
static void model_device_forget(struct rdu_device *dev)
{
	struct model *m = dev->priv;

	if (m->mem)
		munmap(m->mem, m->mem_size);
	lr_ranges_fini(&m->free);
	free_queue(&m->admin);
	free(m);
}

static int model_info(struct rdu_device *dev, struct rdu_device_info *info)
{
	struct model *m = dev->priv;
	unsigned int i;

	snprintf(info->serial, sizeof(info->serial), "model");
	snprintf(info->driver, sizeof(info->driver), "model");
	info->interface_version = lr_model_get(m, RDU_REG_VERSION);
	info->num_queues = lr_model_get(m, RDU_REG_NUM_QUEUES) - 1;
	info->mem_total = m->mem_size;
	pthread_mutex_lock(&m->lock);
	info->mem_free = m->free.available;
	pthread_mutex_unlock(&m->lock);
	info->clock_cycles = lr_model_get64(m, RDU_REG_CYCLES_LO);
	info->clock_ns = host_now(m);
	info->temp_millidegree = lr_model_get(m, RDU_REG_TEMP);
	info->power_milliwatt = lr_model_get(m, RDU_REG_POWER);
	info->ecc_corrected = lr_model_get(m, RDU_REG_ECC_CE);
	info->ecc_uncorrected = lr_model_get(m, RDU_REG_ECC_UE);
	info->is_model = 1;
	for (i = 0; i < 16; i += 4) {
		uint32_t word = lr_model_get(m, RDU_REG_SERIAL + i);

		memcpy(info->serial + i, &word, sizeof(word));
	}
	return 0;
}

static void add_cycles(struct model *m, unsigned int queue, struct rdu_tile_usage *u)
{
	unsigned int r = RDU_REG_QUEUE(queue);

	u->exec_cycles += lr_model_get64(m, r + RDU_REG_Q_EXEC_LO);
	u->pload_cycles += lr_model_get64(m, r + RDU_REG_Q_PLOAD_LO);
	u->aload_cycles += lr_model_get64(m, r + RDU_REG_Q_ALOAD_LO);
	u->copy_cycles += lr_model_get64(m, r + RDU_REG_Q_COPY_LO);
}

static int model_usage(struct rdu_device *dev, struct rdu_tile_usage *usage, unsigned int count)
{
	struct model *m = dev->priv;
	unsigned int t;

	pthread_mutex_lock(&m->lock);
	for (t = 0; t < count && t < MODEL_MAX_TILES; t++) {
		struct rdu_tile_usage *u = &usage[t];

		*u = m->past[t];
		u->tile = t;
		u->owned = m->tile_queue[t] != 0;
		u->clock_cycles = lr_model_get64(m, RDU_REG_CYCLES_LO);
		if (u->owned) {
			add_cycles(m, m->tile_queue[t], u);
			u->pid = getpid();
			u->uid = getuid();
			snprintf(u->command, sizeof(u->command), "%.23s",
				 program_invocation_short_name);
		}
	}
	pthread_mutex_unlock(&m->lock);
	return dev->chip.tiles;
}

static int model_reset(struct rdu_device *dev)
{
	struct model *m = dev->priv;

	rdu_card_reset(m->card);
	pthread_mutex_lock(&m->admin_lock);
	m->admin.last_irq = 0;
	set(m, RDU_REG_CTRL, RDU_CTRL_ENABLE);
	start_queue(m, &m->admin, RDU_ADMIN_QUEUE);
	pthread_mutex_unlock(&m->admin_lock);
	host_irq(m, 0); /* those who wait see that their queue is gone */
	return 0;
}

/* ---- contexts ----------------------------------------------------------------------------- */

/* Tiles one after another, and a queue. Device's lock held. */
static int grant(struct rdu_context *ctx, struct model *m, struct model_queue *q)
{
	unsigned int first = 0, run = 0, t, id;

	for (t = 0; t < ctx->dev->chip.tiles && run < ctx->tiles; t++) {
		run = m->tile_queue[t] ? 0 : run + 1;
		first = t + 1 - run;
	}
	if (run < ctx->tiles)
		return -EBUSY;
	for (id = 1; id < RDU_MAX_QUEUES && m->queue_used[id]; id++)
		;
	if (id == RDU_MAX_QUEUES)
		return -EBUSY;
	m->queue_used[id] = true;
	for (t = first; t < first + ctx->tiles; t++)
		m->tile_queue[t] = id;
	q->first_tile = first;
	q->num_tiles = ctx->tiles;
	q->id = id;
	return 0;
}

static int model_context_new(struct rdu_context *ctx)
{
	struct model *m = ctx->dev->priv;
	struct model_queue *q = ctx->priv = calloc(1, sizeof(*q));
	unsigned int log2 = 1;
	int ret;

	while (1u << log2 < ctx->options.queue_depth && log2 < 16)
		log2++;
	if (!q || lr_ranges_init(&ctx->va, 2 << 20, (1ull << 47) - (2 << 20)) ||
	    alloc_queue(q, log2))
		return lr_fail(&ctx->obj, -ENOMEM, "%s: out of memory", ctx->dev->name);
	q->watchdog_cycles = ctx->options.watchdog_cycles;
	q->watchdog_ms = ctx->options.watchdog_ms;
	pthread_mutex_lock(&m->lock);
	ret = lr_model_new_table(m, &q->root);
	if (!ret) {
		q->has_root = true;
		while ((ret = grant(ctx, m, q)) && ctx->options.wait_for_tiles)
			pthread_cond_wait(&m->done, &m->lock);
	}
	pthread_mutex_unlock(&m->lock);
	if (ret == -EBUSY)
		return lr_fail(&ctx->obj, ret,
			       "%s: fewer than %u tiles in a row are free, or all "
			       "queues are taken",
			       ctx->dev->name, ctx->tiles);
	if (ret)
		return lr_fail(&ctx->obj, ret, "%s: no card memory left for page tables",
			       ctx->dev->name);
	start_queue(m, q, q->id);
	return 0;
}

static void model_context_free(struct rdu_context *ctx)
{
	struct model *m = ctx->dev->priv;
	struct model_queue *q = ctx->priv;
	unsigned int t;

	if (!q)
		return;
	if (q->id) {
		struct rdu_tile_usage used = { 0 };

		add_cycles(m, q->id, &used);
		stop_queue(m, q);
		pthread_mutex_lock(&m->lock);
		for (t = q->first_tile; t < q->first_tile + q->num_tiles; t++) {
			m->tile_queue[t] = 0;
			m->past[t].exec_cycles += used.exec_cycles;
			m->past[t].pload_cycles += used.pload_cycles;
			m->past[t].aload_cycles += used.aload_cycles;
			m->past[t].copy_cycles += used.copy_cycles;
		}
		m->queue_used[q->id] = false;
		pthread_cond_broadcast(&m->done);
		pthread_mutex_unlock(&m->lock);
	}
	pthread_mutex_lock(&m->lock);
	if (q->has_root)
		lr_model_free_tables(m, q->root, RDU_PT_LEVELS - 1);
	pthread_mutex_unlock(&m->lock);
	free_queue(q);
	free(q);
}

static void model_context_forget(struct rdu_context *ctx)
{
	free_queue(ctx->priv);
	free(ctx->priv);
}

static int model_fault(struct rdu_context *ctx, struct rdu_fault_info *fault)
{
	struct model *m = ctx->dev->priv;
	struct model_queue *q = ctx->priv;
	unsigned int r = RDU_REG_QUEUE(q->id);

	if (lr_model_get(m, r + RDU_REG_Q_STATUS) != RDU_QUEUE_FAULTED)
		return 0;
	fault->code = lr_model_get(m, r + RDU_REG_Q_FAULT_CODE);
	fault->info = lr_model_get(m, r + RDU_REG_Q_FAULT_INFO);
	fault->address = lr_model_get64(m, r + RDU_REG_Q_FAULT_ADDR_LO);
	fault->seqno = lr_model_get64(m, r + RDU_REG_Q_FAULT_SEQ_LO);
	fault->section = lr_model_get(m, r + RDU_REG_Q_FAULT_SECTION);
	fault->program = lr_model_get(m, r + RDU_REG_Q_FAULT_PROGRAM);
	return 1;
}

/* ---- buffers, programs, work ------------------------------------------------------------- */

static int model_buffer_new(struct rdu_buffer *buf)
{
	struct model *m = buf->ctx->dev->priv;
	struct model_queue *q = buf->ctx->priv;
	bool host = buf->flags & RDU_BUFFER_HOST;
	uint64_t align = buf->room >= MODEL_LARGE ? MODEL_LARGE : MODEL_PAGE;
	int ret;

	if (host) {
		uint64_t room = (buf->room + align - 1) & ~(align - 1);

		buf->map = aligned_alloc(align, room);
		if (!buf->map)
			return lr_fail(&buf->obj, -ENOMEM,
				       "out of memory for a buffer of %llu bytes",
				       (unsigned long long)buf->size);
		memset(buf->map, 0, room);
		buf->handle = (uintptr_t)buf->map;
	}
	pthread_mutex_lock(&m->lock);
	ret = host ? 0 : lr_ranges_take(&m->free, buf->room, align, &buf->handle);
	if (!ret && !host)
		buf->map = m->mem + buf->handle;
	if (!ret) {
		ret = lr_model_map(m, q->root, buf->address, buf->handle, buf->room,
				   RDU_PTE_WRITE | (host ? RDU_PTE_HOST : 0));
		if (ret && !host)
			lr_ranges_give(&m->free, buf->handle, buf->room);
	}
	pthread_mutex_unlock(&m->lock);
	if (ret && host)
		free(buf->map);
	if (ret)
		return lr_fail(&buf->obj, -ENOSPC,
			       "card memory is full: %llu bytes are wanted, "
			       "%llu of %llu are free",
			       (unsigned long long)buf->room, (unsigned long long)m->free.available,
			       (unsigned long long)m->mem_size);
	return 0;
}

static void model_buffer_free(struct rdu_buffer *buf)
{
	struct model *m = buf->ctx->dev->priv;
	struct model_queue *q = buf->ctx->priv;

	pthread_mutex_lock(&m->lock);
	lr_model_unmap(m, q->root, buf->address, buf->room);
	set(m, RDU_REG_QUEUE(q->id) + RDU_REG_Q_TLB_FLUSH, 1);
	if (buf->flags & RDU_BUFFER_HOST) {
		free(buf->map);
	} else {
		/* The next owner sees zeros. */
		if (madvise(m->mem + buf->handle, buf->room, MADV_DONTNEED))
			memset(m->mem + buf->handle, 0, buf->room);
		lr_ranges_give(&m->free, buf->handle, buf->room);
	}
	pthread_mutex_unlock(&m->lock);
}

static void model_buffer_forget(struct rdu_buffer *buf)
{
	if (buf->flags & RDU_BUFFER_HOST)
		free(buf->map);
}

static int model_buffer_map(struct rdu_buffer *buf)
{
	return buf->map ? 0 : -EINVAL;
}

static int model_program_load(struct rdu_program *prog)
{
	struct model *m = prog->ctx->dev->priv;
	size_t size = prog->file->image_size;
	uint64_t at, room = (size + 4095) & ~4095ull;
	struct rdu_prog_result result = { 0 };
	struct rdu_cmd cmd = { .op = RDU_OP_PROG_LOAD };
	unsigned int slot;
	int ret;

	pthread_mutex_lock(&m->lock);
	for (slot = 0; slot < RDU_MAX_SLOTS && m->slot_used[slot]; slot++)
		;
	ret = slot == RDU_MAX_SLOTS ? -ENOSPC : lr_ranges_take(&m->free, room, 4096, &at);
	if (!ret)
		m->slot_used[slot] = true;
	pthread_mutex_unlock(&m->lock);
	if (ret)
		return lr_fail(&prog->obj, ret, "%s: no program slot, or no card memory, left",
			       prog->file->path);
	memcpy(m->mem + at, prog->file->image, size);
	cmd.slot = slot;
	cmd.prog.addr = at;
	cmd.prog.size = size;
	cmd.prog.result = (uintptr_t)&result;
	cmd.prog.tiles = prog->ctx->tiles;
	ret = admin(m, &cmd);
	pthread_mutex_lock(&m->lock);
	if (madvise(m->mem + at, room, MADV_DONTNEED))
		memset(m->mem + at, 0, room);
	lr_ranges_give(&m->free, at, room);
	if (ret || result.error)
		m->slot_used[slot] = false;
	pthread_mutex_unlock(&m->lock);
	if (ret)
		return lr_fail(
			&prog->obj, ret, "%s: the card took no program (fault %s)",
			prog->file->path,
			rdu_fault_name(lr_model_get(m, RDU_REG_QUEUE(0) + RDU_REG_Q_FAULT_CODE)));
	if (result.error)
		return lr_fail_refused(prog, result.error, result.section, result.offset);
	prog->handle = slot;
	return 0;
}

static void model_program_unload(struct rdu_program *prog)
{
	struct model *m = prog->ctx->dev->priv;
	struct rdu_cmd cmd = { .op = RDU_OP_PROG_UNLOAD, .slot = prog->handle };

	admin(m, &cmd);
	pthread_mutex_lock(&m->lock);
	m->slot_used[prog->handle] = false;
	pthread_mutex_unlock(&m->lock);
}

static int model_submit(struct rdu_context *ctx, struct rdu_program *prog, struct rdu_cmd *cmds,
			unsigned int count, uint64_t *token)
{
	struct model *m = ctx->dev->priv;
	struct model_queue *q = ctx->priv;
	uint32_t status = lr_model_get(m, RDU_REG_QUEUE(q->id) + RDU_REG_Q_STATUS);
	unsigned int i;

	if (status == RDU_QUEUE_FAULTED || status == RDU_QUEUE_DISABLED)
		return -EIO;
	for (i = 0; i < count; i++) {
		if (cmds[i].op == RDU_OP_RUN)
			cmds[i].slot = prog->handle;
		if (send(m, q, &cmds[i], i == count - 1))
			return -EIO;
	}
	*token = q->sent;
	ring_doorbell(m, q);
	return 0;
}

static int model_wait(struct rdu_context *ctx, uint64_t token, int64_t timeout_ms)
{
	return wait_for(ctx->dev->priv, ctx->priv, token, timeout_ms);
}

const struct rdu_backend lr_backend_model = {
	.name = "model",
	.open = model_open,
	.close = model_close,
	.device_forget = model_device_forget,
	.context_forget = model_context_forget,
	.buffer_forget = model_buffer_forget,
	.info = model_info,
	.usage = model_usage,
	.reset = model_reset,
	.context_new = model_context_new,
	.context_free = model_context_free,
	.fault = model_fault,
	.buffer_new = model_buffer_new,
	.buffer_free = model_buffer_free,
	.buffer_map = model_buffer_map,
	.program_load = model_program_load,
	.program_unload = model_program_unload,
	.submit = model_submit,
	.wait = model_wait,
};
