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

#define MAX_BANKS 64
#define MAX_GROUPS 16

struct request {
	uint64_t row;
	uint32_t bank, order;
	bool write;
	void (*done)(void *who, uint64_t tag);
	void *who;
	uint64_t tag;
};

/* Times before which a command may not be given, in picoseconds. */
struct bank {
	int64_t row; /* -1: none is open */
	int64_t activate_at, precharge_at, column_at;
};

struct group {
	int64_t activate_at, column_at, read_at;
};

struct channel {
	struct request *queue; /* dram_queue reads, and as many writes */
	uint32_t num, writes;
	struct bank bank[MAX_BANKS];
	struct group group[MAX_GROUPS];
	int64_t activate_at, column_at; /* of any bank */
	int64_t read_at, write_at; /* the bus turned */
	int64_t activated[4]; /* the last four: newest first */
	int64_t refresh_at, last_read;
	int64_t owed_ps; /* of the bus' time, to others */
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
	struct rdu_chip chip;
	int64_t clock_ps, burst_ps, cl_ps, cwl_ps;
	int64_t extra_ps; /* controller and wires: what dram_latency has beyond the device's */
	int64_t slot_ps; /* of the bus, for a burst and what others move meanwhile */
	int64_t link_ps, link_free[2], link_end; /* a burst's time on the host link, each way */
	int64_t now;
	bool flush; /* nothing more will come */
	uint32_t order;
	struct channel *channel;
	struct finish *finish; /* unsorted */
	uint32_t num_finish, room_finish;
	struct cycle_memory_counts counts;
};

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* The picosecond in which a cycle of the fabric begins. */
static int64_t cycle_at(const struct cycle_memory *m, uint64_t cycle)
{
	return (int64_t)(cycle * 1000000000ull / m->chip.clock_khz);
}

struct cycle_memory *cycle_memory_new(const struct rdu_chip *chip, unsigned int others)
{
	struct cycle_memory *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->chip = *chip;
	m->clock_ps = chip->dram_tck;
	m->burst_ps = chip->dram_tccd_s * m->clock_ps;
	m->slot_ps = m->burst_ps * 16 / (16 - others);
	m->link_ps = (int64_t)chip->dram_burst * 1000000 / chip->host_mbps * 16 / (16 - others);
	m->cl_ps = chip->dram_cl * m->clock_ps;
	m->cwl_ps = chip->dram_cwl * m->clock_ps;
	m->extra_ps = cycle_at(m, chip->dram_latency) - chip->dram_trcd - m->cl_ps - m->burst_ps;
	m->channel = calloc(chip->dram_channels, sizeof(*m->channel));
	for (uint32_t c = 0; m->channel && c < chip->dram_channels; c++) {
		struct channel *ch = &m->channel[c];

		ch->queue = calloc(2 * chip->dram_queue, sizeof(*ch->queue));
		if (!ch->queue) {
			cycle_memory_free(m);
			return NULL;
		}
		for (uint32_t b = 0; b < chip->dram_banks; b++)
			ch->bank[b].row = -1;
		for (int i = 0; i < 4; i++)
			ch->activated[i] = -(int64_t)chip->dram_tfaw;
		/* Channels are refreshed one after another, not together. */
		ch->refresh_at = (int64_t)chip->dram_trefi * (c + 1) / chip->dram_channels;
	}
	if (m->channel)
		return m;
	free(m);
	return NULL;
}

void cycle_memory_free(struct cycle_memory *m)
{
	if (!m)
		return;
	for (uint32_t c = 0; c < m->chip.dram_channels; c++)
		free(m->channel[c].queue);
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

/* Digits of the burst's number to the base of the channels' number, added up. */
static uint64_t channel_of(const struct rdu_chip *d, uint64_t burst)
{
	uint64_t rest = burst / d->dram_channels, low = burst % d->dram_channels;

	return d->dram_channels == 1 || !rest ? low
					      : (low + channel_of(d, rest)) % d->dram_channels;
}

bool cycle_memory_request(struct cycle_memory *m, uint64_t address, bool write,
			  void (*done)(void *who, uint64_t tag), void *who, uint64_t tag)
{
	const struct rdu_chip *d = &m->chip;
	uint64_t at = address / d->dram_burst, group, in_group;
	struct channel *ch = &m->channel[channel_of(d, at)];
	uint32_t columns = d->dram_row / d->dram_burst, each = d->dram_banks / d->dram_groups;
	struct request *r;

	if ((write ? ch->writes : ch->num - ch->writes) == d->dram_queue)
		return false;
	at /= d->dram_channels;
	group = at % d->dram_groups;
	at /= d->dram_groups;
	at /= columns;
	in_group = at % each;
	at /= each;
	r = &ch->queue[ch->num++];
	r->row = at;
	r->bank = (uint32_t)(((in_group ^ at) % each) * d->dram_groups + group);
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

void cycle_memory_link(struct cycle_memory *m, bool write, void (*done)(void *who, uint64_t tag),
		       void *who, uint64_t tag)
{
	struct request r = { .done = done, .who = who, .tag = tag };
	int64_t *free = &m->link_free[write], away = cycle_at(m, m->chip.host_latency);

	*free = later(*free, m->now) + m->link_ps;
	m->link_end = later(m->link_end, *free + away);
	finish_at(m, write ? *free : *free + away, &r);
	m->counts.linked++;
}

/* Is it `write`s' turn? */
static bool wanted(const struct channel *ch, const struct request *r)
{
	return r->write == ch->draining;
}

static const struct group *group_of(const struct cycle_memory *m, const struct channel *ch,
				    const struct request *r)
{
	return &ch->group[r->bank % m->chip.dram_groups];
}

/* May its read or write command be given now? */
static bool column_ready(const struct cycle_memory *m, const struct channel *ch,
			 const struct request *r)
{
	const struct bank *b = &ch->bank[r->bank];
	const struct group *g = group_of(m, ch, r);

	return b->row == (int64_t)r->row && m->now >= b->column_at && m->now >= ch->column_at &&
	       m->now >= g->column_at &&
	       (r->write ? m->now >= ch->write_at : m->now >= ch->read_at && m->now >= g->read_at);
}

static void column(struct cycle_memory *m, struct channel *ch)
{
	const struct rdu_chip *d = &m->chip;
	const struct request *best = NULL;
	struct request r;
	struct group *g;
	struct bank *b;

	for (uint32_t i = 0; i < ch->num; i++) {
		const struct request *q = &ch->queue[i];

		if (wanted(ch, q) && column_ready(m, ch, q) &&
		    (!best || (int32_t)(q->order - best->order) < 0))
			best = q;
	}
	if (!best)
		return;
	r = *best;
	ch->queue[best - ch->queue] = ch->queue[--ch->num];
	ch->writes -= r.write;
	b = &ch->bank[r.bank];
	g = &ch->group[r.bank % d->dram_groups];
	/* What others move before the next: whole clocks, the rest is kept. */
	ch->owed_ps += m->slot_ps - m->burst_ps;
	ch->column_at = m->now + m->burst_ps + ch->owed_ps / m->clock_ps * m->clock_ps;
	ch->owed_ps %= m->clock_ps;
	g->column_at = m->now + d->dram_tccd_l * m->clock_ps;
	if (r.write) {
		int64_t end = m->now + m->cwl_ps + m->burst_ps;

		b->precharge_at = later(b->precharge_at, end + d->dram_twr);
		ch->read_at = end + d->dram_twtr_s;
		g->read_at = end + d->dram_twtr_l;
		m->counts.writes++;
	} else {
		b->precharge_at = later(b->precharge_at, m->now + d->dram_trtp);
		ch->write_at = m->now + d->dram_trtw * m->clock_ps;
		finish_at(m, m->now + m->cl_ps + m->burst_ps + m->extra_ps, &r);
		m->counts.reads++;
	}
	m->counts.turnarounds += r.write != ch->last_write;
	ch->last_write = r.write;
}

/* May the row it wants be opened, or the one in its way be closed, now? */
static bool row_ready(const struct cycle_memory *m, const struct channel *ch,
		      const struct request *r)
{
	const struct bank *b = &ch->bank[r->bank];

	if (b->row >= 0)
		return m->now >= b->precharge_at;
	return m->now >= b->activate_at && m->now >= ch->activate_at &&
	       m->now >= group_of(m, ch, r)->activate_at &&
	       m->now >= ch->activated[3] + m->chip.dram_tfaw;
}

static void row(struct cycle_memory *m, struct channel *ch)
{
	const struct rdu_chip *d = &m->chip;
	const struct request *best = NULL;
	bool hit[MAX_BANKS] = { false };
	struct bank *b;

	/* A row that somebody still wants stays open. */
	for (uint32_t i = 0; i < ch->num; i++) {
		const struct request *q = &ch->queue[i];

		if (wanted(ch, q) && ch->bank[q->bank].row == (int64_t)q->row)
			hit[q->bank] = true;
	}
	for (uint32_t i = 0; i < ch->num; i++) {
		const struct request *q = &ch->queue[i];

		if (wanted(ch, q) && !hit[q->bank] && row_ready(m, ch, q) &&
		    (!best || (int32_t)(q->order - best->order) < 0))
			best = q;
	}
	if (!best)
		return;
	b = &ch->bank[best->bank];
	if (b->row >= 0) {
		b->row = -1;
		b->activate_at = later(b->activate_at, m->now + d->dram_trp);
		return;
	}
	b->row = (int64_t)best->row;
	b->column_at = m->now + d->dram_trcd;
	b->precharge_at = m->now + d->dram_tras;
	b->activate_at = m->now + d->dram_trc;
	ch->activate_at = m->now + d->dram_trrd_s;
	ch->group[best->bank % d->dram_groups].activate_at = m->now + d->dram_trrd_l;
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
	for (uint32_t b = 0; b < m->chip.dram_banks; b++)
		if (ch->bank[b].row >= 0)
			ready = later(ready, ch->bank[b].precharge_at);
	if (m->now < ready)
		return true;
	for (uint32_t b = 0; b < m->chip.dram_banks; b++) {
		bool open = ch->bank[b].row >= 0;

		ch->bank[b].row = -1;
		ch->bank[b].activate_at =
			later(ch->bank[b].activate_at,
			      m->now + (open ? m->chip.dram_trp : 0) + m->chip.dram_trfc);
	}
	ch->refresh_at += m->chip.dram_trefi;
	m->counts.refreshes++;
	return true;
}

void cycle_memory_step(struct cycle_memory *m, uint64_t cycle)
{
	const struct rdu_chip *d = &m->chip;
	int64_t to = cycle_at(m, cycle), idle = cycle_at(m, d->dram_drain_idle);

	for (; m->now + m->clock_ps <= to; m->now += m->clock_ps)
		for (uint32_t c = 0; c < m->chip.dram_channels; c++) {
			struct channel *ch = &m->channel[c];
			uint32_t reads = ch->num - ch->writes;

			if (refresh(m, ch) || !ch->num)
				continue;
			if (ch->draining)
				ch->draining = ch->writes > (reads ? d->dram_drain_low : 0);
			else
				ch->draining =
					ch->writes >= d->dram_drain_high ||
					(!reads && (m->flush || m->now > ch->last_read + idle));
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
	for (uint32_t c = 0; c < m->chip.dram_channels; c++)
		if (m->channel[c].num)
			return false;
	return m->now >= m->link_end;
}

const struct cycle_memory_counts *cycle_memory_counts(const struct cycle_memory *m)
{
	return &m->counts;
}
