// SPDX-License-Identifier: MIT
/*
 * The data mover: copies and fills between device addresses, in chunks of
 * contiguous memory. Card memory is touched directly; host memory through the
 * front end's callbacks, straight to or from card memory where one side is.
 */
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#include "card_priv.h"

#define CHUNK (4ULL << 20) /* between looks at the clock and at `stop` */
#define BOUNCE 16384
#define STREAM (1u << 20) /* copies of so much go past the host's caches */

uint64_t rdu_transfer_cycles(const struct rdu_chip *chip, uint64_t bytes, uint32_t mbps)
{
	unsigned __int128 n = (unsigned __int128)bytes * chip->clock_khz;

	return (uint64_t)((n + mbps * 1000ULL - 1) / (mbps * 1000ULL));
}

int rdu_bus_read(struct rdu_card *card, uint64_t addr, void *buf, uint64_t len)
{
	if (rdu_inject_take(card, RDU_INJECT_DMA))
		return -1;
	return card->ops.read(card->opaque, addr, buf, len);
}

int rdu_bus_write(struct rdu_card *card, uint64_t addr, const void *buf, uint64_t len)
{
	if (rdu_inject_take(card, RDU_INJECT_DMA))
		return -1;
	return card->ops.write(card->opaque, addr, buf, len);
}

void rdu_mem_dirty(struct rdu_card *card, uint64_t offset, uint64_t len)
{
	if (card->ops.dirty && len)
		card->ops.dirty(card->opaque, offset, len);
}

static int host_read(struct card_queue *q, uint64_t addr, void *buf, uint64_t len,
		     struct rdu_failure *f)
{
	if (rdu_bus_read(q->card, addr, buf, len))
		return rdu_fail(f, RDU_FAULT_HOST_BUS, 0, addr);
	return 0;
}

static int host_write(struct card_queue *q, uint64_t addr, const void *buf, uint64_t len,
		      struct rdu_failure *f)
{
	if (rdu_bus_write(q->card, addr, buf, len))
		return rdu_fail(f, RDU_FAULT_HOST_BUS, RDU_FAULT_INFO_WRITE, addr);
	return 0;
}

/* memcpy(), but what is written does not get into the caches, nor is it read
 * before: memcpy() itself does so only if all is in one piece. */
static void stream(void *to, const void *from, uint64_t len)
{
	uint64_t at = 0;

#if defined(__SSE2__)
	char *dst = to;
	const char *src = from;

	if (len >= 256) {
		at = -(uintptr_t)dst & 15;
		memcpy(dst, src, at);
		for (; len - at >= 64; at += 64) {
			const __m128i *s = (const __m128i *)(const void *)(src + at);
			__m128i *d = (__m128i *)(void *)(dst + at);
			__m128i w[4];

			for (unsigned int i = 0; i < 4; i++)
				w[i] = _mm_loadu_si128(s + i);
			for (unsigned int i = 0; i < 4; i++)
				_mm_stream_si128(d + i, w[i]);
		}
		_mm_sfence(); /* before the completion is */
	}
#endif
	memcpy((char *)to + at, (const char *)from + at, len - at);
}

/* Between host memory and card memory, as a part of a large copy. */
static int host_stream(struct card_queue *q, uint64_t addr, void *mem, uint64_t len, bool write,
		       struct rdu_failure *f)
{
	struct rdu_card *card = q->card;
	void *host = card->ops.map ? card->ops.map(card->opaque, addr, len, write) : NULL;
	int failed;

	if (!host)
		return write ? host_write(q, addr, mem, len, f) : host_read(q, addr, mem, len, f);
	failed = rdu_inject_take(card, RDU_INJECT_DMA);
	if (!failed && write)
		stream(host, mem, len);
	else if (!failed)
		stream(mem, host, len);
	card->ops.unmap(card->opaque, host, len, write);
	return failed ? rdu_fail(f, RDU_FAULT_HOST_BUS, write ? RDU_FAULT_INFO_WRITE : 0, addr) : 0;
}

int rdu_mem_read(struct card_queue *q, uint64_t va, void *buf, uint64_t len, struct rdu_failure *f)
{
	struct rdu_stretch s;

	while (len) {
		if (!rdu_queue_continue(q, f))
			return -1;
		if (rdu_mmu_stretch(q, va, len < CHUNK ? len : CHUNK, false, &s, f))
			return -1;
		if (s.host ? host_read(q, s.addr, buf, s.len, f) : rdu_inject_ecc(q, va, f))
			return -1;
		if (!s.host)
			memcpy(buf, q->card->mem + s.addr, s.len);
		va += s.len;
		buf = (char *)buf + s.len;
		len -= s.len;
	}
	return 0;
}

int rdu_mem_write(struct card_queue *q, uint64_t va, const void *buf, uint64_t len,
		  struct rdu_failure *f)
{
	struct rdu_stretch s;

	card_kept_written(q, va, len);
	while (len) {
		if (!rdu_queue_continue(q, f))
			return -1;
		if (rdu_mmu_stretch(q, va, len < CHUNK ? len : CHUNK, true, &s, f))
			return -1;
		if (!s.host) {
			memcpy(q->card->mem + s.addr, buf, s.len);
			rdu_mem_dirty(q->card, s.addr, s.len);
		} else if (host_write(q, s.addr, buf, s.len, f)) {
			return -1;
		}
		va += s.len;
		buf = (const char *)buf + s.len;
		len -= s.len;
	}
	return 0;
}

/* One chunk, contiguous on both sides; `large`: of a copy of STREAM or more. */
static int move(struct card_queue *q, const struct rdu_stretch *d, const struct rdu_stretch *s,
		uint64_t len, bool large, struct rdu_failure *f)
{
	unsigned char *mem = q->card->mem;
	char bounce[BOUNCE];
	uint64_t at, n;
	int result = 0;

	if (!d->host) {
		if (s->host && large)
			result = host_stream(q, s->addr, mem + d->addr, len, false, f);
		else if (s->host)
			result = host_read(q, s->addr, mem + d->addr, len, f);
		else
			memmove(mem + d->addr, mem + s->addr, len);
		rdu_mem_dirty(q->card, d->addr, len);
		return result;
	}
	if (!s->host && large)
		return host_stream(q, d->addr, mem + s->addr, len, true, f);
	if (!s->host)
		return host_write(q, d->addr, mem + s->addr, len, f);
	for (at = 0; at < len; at += n) {
		n = len - at < BOUNCE ? len - at : BOUNCE;
		if (host_read(q, s->addr + at, bounce, n, f) ||
		    host_write(q, d->addr + at, bounce, n, f))
			return -1;
	}
	return 0;
}

int rdu_mem_copy(struct card_queue *q, uint64_t dst, uint64_t src, uint64_t len,
		 struct rdu_failure *f)
{
	const struct rdu_chip *chip = &q->card->chip;
	struct rdu_progress *p = &q->progress;
	struct rdu_stretch *d = &p->dst, *s = &p->src;
	uint64_t cycles;

	card_kept_written(q, dst, len);
	while (p->done < len) {
		uint64_t n = len - p->done < CHUNK ? len - p->done : CHUNK;

		if (q->card->paused)
			return RDU_SUSPENDED;
		if (!rdu_queue_continue(q, f))
			return -1;
		if (!s->len && rdu_mmu_stretch(q, src + p->done, n, false, s, f))
			return -1;
		if (!d->len && rdu_mmu_stretch(q, dst + p->done, n, true, d, f))
			return -1;
		n = s->len < d->len ? s->len : d->len;
		if (!s->host && rdu_inject_ecc(q, src + p->done, f))
			return -1;
		if (move(q, d, s, n, len >= STREAM, f))
			return -1;
		p->dram += n * (!d->host + !s->host);
		p->host += n * (d->host > s->host ? d->host : s->host);
		s->addr += n;
		s->len -= n;
		d->addr += n;
		d->len -= n;
		p->done += n;

		/* The slower of the two ways sets the pace. */
		cycles = rdu_transfer_cycles(chip, p->dram, chip->dram_mbps);
		if (p->dram)
			cycles += chip->dram_latency;
		if (p->host) {
			uint64_t h = rdu_transfer_cycles(chip, p->host, chip->host_mbps) +
				     chip->host_latency;

			if (h > cycles)
				cycles = h;
		}
		if (!rdu_queue_spend(q, &q->spent.copy, cycles - q->spent.copy, f))
			return -1;
	}
	return 0;
}

int rdu_mem_fill(struct card_queue *q, uint64_t dst, uint64_t len, uint32_t value,
		 struct rdu_failure *f)
{
	const struct rdu_chip *chip = &q->card->chip;
	struct rdu_progress *p = &q->progress;
	uint32_t pattern[BOUNCE / 4];
	uint64_t cycles, at, n;
	struct rdu_stretch d;
	bool even = value == (value & 255) * 0x01010101u;

	card_kept_written(q, dst, len);
	for (n = 0; n < BOUNCE / 4; n++)
		pattern[n] = value;
	while (p->done < len) {
		n = len - p->done < CHUNK ? len - p->done : CHUNK;
		if (q->card->paused)
			return RDU_SUSPENDED;
		if (!rdu_queue_continue(q, f))
			return -1;
		if (rdu_mmu_stretch(q, dst + p->done, n, true, &d, f))
			return -1;
		if (!d.host && even) {
			memset(q->card->mem + d.addr, (int)(value & 255), d.len);
		} else {
			for (at = 0; at < d.len; at += n) {
				n = d.len - at < BOUNCE ? d.len - at : BOUNCE;
				if (!d.host)
					memcpy(q->card->mem + d.addr + at, pattern, n);
				else if (host_write(q, d.addr + at, pattern, n, f))
					return -1;
			}
		}
		if (!d.host)
			rdu_mem_dirty(q->card, d.addr, d.len);
		*(d.host ? &p->host : &p->dram) += d.len;
		p->done += d.len;
		cycles = rdu_transfer_cycles(chip, p->dram, chip->dram_mbps) +
			 rdu_transfer_cycles(chip, p->host, chip->host_mbps) +
			 (p->dram ? chip->dram_latency : 0) + (p->host ? chip->host_latency : 0);
		if (!rdu_queue_spend(q, &q->spent.copy, cycles - q->spent.copy, f))
			return -1;
	}
	return 0;
}
