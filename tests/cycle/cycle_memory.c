// SPDX-License-Identifier: MIT
/*
 * Off-chip memory, command by command: every memory clock a channel issues at most one
 * column command (a burst from or to an open row) and one row command (activate,
 * precharge), first those whose row is open, then the oldest. Reads go first; writes
 * are drained in groups, so that the bus turns seldom. All banks are refreshed
 * together.
 *
 * An address is, from its lowest bits: byte of the burst, channel, bank group, burst of
 * the row, bank of the group, row; the bank is exclusive-ored with the row's low bits.
 */
#include <stdlib.h>
#include <string.h>
#include "cycle.h"

#define QUEUE 64 /* reads that a channel's controller holds; and writes */
#define DRAIN_FROM 48 /* writes waiting that make it turn the bus */
#define DRAIN_TO 16
#define DRAIN_IDLE 200000 /* picoseconds without a read after which it does so anyway */

/*
 * JEDEC's data-sheet values, JESD79-3F (DDR3-1600K, 4 Gb x8) and JESD79-4 (DDR4-2666V,
 * 8 Gb x8); HBM2 of JESD235 as two pseudo channels of 64 bits see it.
 */
static const struct cycle_dram families[] = {
	{ "DDR3-1600", 8, 1, 8192, 13750, 13750, 13750, 10000, 35000, 15000, 7500, 7500, 6000,
	  30000, 5000, 260000, 7800000 },
	{ "DDR4-2667", 16, 4, 8192, 14250, 14250, 14250, 10500, 32000, 15000, 7500, 7500, 4900,
	  21000, 5000, 350000, 7800000 },
	{ "HBM2", 16, 4, 1024, 14000, 14000, 14000, 7000, 33000, 15000, 7500, 7500, 4000, 16000,
	  4000, 350000, 3900000 },
};

struct request {
	uint64_t row;
	uint32_t bank, order;
	bool write;
	void (*done)(void *who, uint64_t tag);
	void *who;
	uint64_t tag;
};

struct bank {
	int64_t row; /* -1: none is open */
	int64_t activate_at, precharge_at, column_at; /* no sooner */
};

struct channel {
	struct request queue[2 * QUEUE];
	uint32_t num, writes;
	struct bank bank[32];
	int64_t column_at; /* of any bank */
	int64_t column_in[4]; /* of a bank group */
	int64_t read_at, write_at; /* the bus turned */
	int64_t activated[4]; /* the last four: newest first */
	int64_t refresh_at, last_read;
	bool draining, last_write;
};

/* What a channel has done and nobody was told yet. */
struct finish {
	int64_t at;
	void (*done)(void *who, uint64_t tag);
	void *who;
	uint64_t tag;
};

struct cycle_memory {
	const struct cycle_dram *dram;
	uint32_t channels, burst;
	int64_t cycle_ps, clock_ps, burst_ps;
	int64_t extra_ps; /* controller and wires: what dram_latency has beyond the device's */
	int64_t now;
	bool flush; /* nothing more will come */
	uint32_t order;
	struct channel *channel;
	struct finish *finish; /* unsorted */
	uint32_t num_finish, room_finish;
	struct cycle_memory_counts counts;
};

const struct cycle_dram *cycle_dram_for(const struct rdu_chip *chip)
{
	uint32_t rate = chip->dram_mbps / chip->dram_channels;

	return &families[rate <= 14000 ? 0 : rate <= 25600 ? 1 : 2];
}

struct cycle_memory *cycle_memory_new(const struct rdu_chip *chip, const struct cycle_dram *dram)
{
	struct cycle_memory *m = calloc(1, sizeof(*m));
	int64_t device;

	if (!m)
		return NULL;
	m->dram = dram;
	m->channels = chip->dram_channels;
	m->burst = chip->dram_burst;
	m->cycle_ps = 1000000000ll / chip->clock_khz;
	m->burst_ps = (int64_t)m->burst * 1000000 * m->channels / chip->dram_mbps;
	m->clock_ps = m->burst_ps / 4; /* a burst of eight, two in a clock */
	device = dram->rcd + dram->cl + m->burst_ps;
	m->extra_ps = (int64_t)chip->dram_latency * m->cycle_ps - device;
	if (m->extra_ps < 0)
		m->extra_ps = 0;
	m->channel = calloc(m->channels, sizeof(*m->channel));
	if (!m->channel) {
		free(m);
		return NULL;
	}
	for (uint32_t c = 0; c < m->channels; c++) {
		struct channel *ch = &m->channel[c];

		for (uint32_t b = 0; b < dram->banks; b++)
			ch->bank[b].row = -1;
		for (int i = 0; i < 4; i++)
			ch->activated[i] = -dram->faw;
		/* Channels are refreshed one after another, not together. */
		ch->refresh_at = (int64_t)dram->refi * (c + 1) / m->channels;
	}
	return m;
}

void cycle_memory_free(struct cycle_memory *m)
{
	if (!m)
		return;
	free(m->channel);
	free(m->finish);
	free(m);
}

static void finish_at(struct cycle_memory *m, int64_t at, const struct request *r)
{
	if (m->num_finish == m->room_finish) {
		m->room_finish = m->room_finish ? 2 * m->room_finish : 256;
		m->finish = realloc(m->finish, m->room_finish * sizeof(*m->finish));
		if (!m->finish)
			abort();
	}
	m->finish[m->num_finish++] = (struct finish){ at, r->done, r->who, r->tag };
}

bool cycle_memory_request(struct cycle_memory *m, uint64_t address, bool write,
			  void (*done)(void *who, uint64_t tag), void *who, uint64_t tag)
{
	uint64_t at = address / m->burst, group, in_group;
	struct channel *ch = &m->channel[at % m->channels];
	uint32_t columns = m->dram->row_bytes / m->burst, each = m->dram->banks / m->dram->groups;
	struct request *r;

	if ((write ? ch->writes : ch->num - ch->writes) == QUEUE)
		return false;
	at /= m->channels;
	group = at % m->dram->groups;
	at /= m->dram->groups;
	at /= columns;
	in_group = at % each;
	at /= each;
	r = &ch->queue[ch->num++];
	r->row = at;
	r->bank = (uint32_t)(((in_group ^ at) % each) * m->dram->groups + group);
	r->order = m->order++;
	r->write = write;
	r->done = done;
	r->who = who;
	r->tag = tag;
	ch->writes += write;
	if (write) /* from here on it is in order with all that follows */
		finish_at(m, m->now + m->extra_ps, r);
	else
		ch->last_read = m->now;
	return true;
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Is it `write`s' turn? */
static bool wanted(const struct channel *ch, const struct request *r)
{
	return r->write == ch->draining;
}

static void column(struct cycle_memory *m, struct channel *ch)
{
	const struct cycle_dram *d = m->dram;
	uint32_t best = 2 * QUEUE;
	struct request r;
	struct bank *b;

	for (uint32_t i = 0; i < ch->num; i++) {
		const struct request *q = &ch->queue[i];

		b = &ch->bank[q->bank];
		if (!wanted(ch, q) || b->row != (int64_t)q->row || m->now < b->column_at ||
		    m->now < ch->column_at || m->now < ch->column_in[q->bank % d->groups] ||
		    m->now < (q->write ? ch->write_at : ch->read_at))
			continue;
		if (best == 2 * QUEUE || (int32_t)(q->order - ch->queue[best].order) < 0)
			best = i;
	}
	if (best == 2 * QUEUE)
		return;
	r = ch->queue[best];
	ch->queue[best] = ch->queue[--ch->num];
	ch->writes -= r.write;
	b = &ch->bank[r.bank];
	ch->column_at = m->now + m->burst_ps;
	ch->column_in[r.bank % d->groups] = m->now + later(m->burst_ps, d->ccd_long);
	if (r.write) {
		int64_t end = m->now + d->cwl + m->burst_ps;

		b->precharge_at = later(b->precharge_at, end + d->wr);
		ch->read_at = end + d->wtr;
		m->counts.writes++;
	} else {
		b->precharge_at = later(b->precharge_at, m->now + d->rtp);
		ch->write_at = m->now + d->cl - d->cwl + m->burst_ps + 2 * m->clock_ps;
		finish_at(m, m->now + d->cl + m->burst_ps + m->extra_ps, &r);
		m->counts.reads++;
	}
	m->counts.turnarounds += r.write != ch->last_write;
	ch->last_write = r.write;
}

static void row(struct cycle_memory *m, struct channel *ch)
{
	const struct cycle_dram *d = m->dram;
	const struct request *best = NULL;
	uint32_t hit[32] = { 0 };
	struct bank *b;

	/* A row that somebody still wants stays open. */
	for (uint32_t i = 0; i < ch->num; i++) {
		const struct request *q = &ch->queue[i];

		if (wanted(ch, q) && ch->bank[q->bank].row == (int64_t)q->row)
			hit[q->bank] = 1;
	}
	for (uint32_t i = 0; i < ch->num; i++) {
		const struct request *q = &ch->queue[i];

		b = &ch->bank[q->bank];
		if (!wanted(ch, q) || hit[q->bank] || b->row == (int64_t)q->row)
			continue;
		if (b->row < 0 ? m->now < b->activate_at || m->now < ch->activated[0] + d->rrd ||
					 m->now < ch->activated[3] + d->faw
			       : m->now < b->precharge_at)
			continue;
		if (!best || (int32_t)(q->order - best->order) < 0)
			best = q;
	}
	if (!best)
		return;
	b = &ch->bank[best->bank];
	if (b->row >= 0) {
		b->row = -1;
		b->activate_at = m->now + d->rp;
		return;
	}
	b->row = (int64_t)best->row;
	b->column_at = m->now + d->rcd;
	b->precharge_at = m->now + d->ras;
	memmove(&ch->activated[1], &ch->activated[0], 3 * sizeof(ch->activated[0]));
	ch->activated[0] = m->now;
	m->counts.activates++;
}

/* True while the channel can do nothing else. */
static bool refresh(struct cycle_memory *m, struct channel *ch)
{
	int64_t ready = m->now;

	if (m->now < ch->refresh_at)
		return false;
	for (uint32_t b = 0; b < m->dram->banks; b++)
		if (ch->bank[b].row >= 0)
			ready = later(ready, ch->bank[b].precharge_at);
	if (m->now < ready)
		return true;
	for (uint32_t b = 0; b < m->dram->banks; b++) {
		bool open = ch->bank[b].row >= 0;

		ch->bank[b].row = -1;
		ch->bank[b].activate_at = later(ch->bank[b].activate_at,
						m->now + (open ? m->dram->rp : 0) + m->dram->rfc);
	}
	ch->refresh_at += m->dram->refi;
	m->counts.refreshes++;
	return true;
}

void cycle_memory_step(struct cycle_memory *m, uint64_t cycle)
{
	int64_t to = (int64_t)cycle * m->cycle_ps;

	for (; m->now + m->clock_ps <= to; m->now += m->clock_ps)
		for (uint32_t c = 0; c < m->channels; c++) {
			struct channel *ch = &m->channel[c];
			uint32_t reads = ch->num - ch->writes;

			if (refresh(m, ch) || !ch->num)
				continue;
			if (ch->draining)
				ch->draining = ch->writes > (reads ? DRAIN_TO : 0);
			else
				ch->draining = ch->writes >= DRAIN_FROM ||
					       (!reads &&
						(m->flush || m->now > ch->last_read + DRAIN_IDLE));
			column(m, ch);
			row(m, ch);
		}
	for (uint32_t i = 0; i < m->num_finish;) {
		struct finish f = m->finish[i];

		if (f.at > to) {
			i++;
			continue;
		}
		m->finish[i] = m->finish[--m->num_finish];
		f.done(f.who, f.tag);
	}
}

bool cycle_memory_drained(struct cycle_memory *m)
{
	m->flush = true;
	for (uint32_t c = 0; c < m->channels; c++)
		if (m->channel[c].num)
			return false;
	return true;
}

const struct cycle_memory_counts *cycle_memory_counts(const struct cycle_memory *m)
{
	return &m->counts;
}
