// SPDX-License-Identifier: MIT
/*
 * Off-chip memory in modelled time: each channel goes from event to event (a burst
 * asked for, a column command, a row command, a refresh), never clock by clock. All
 * requests up to a cycle are known before it is asked to go there, as the fabric learns
 * of a burst no sooner than the memory's latency after it asked.
 *
 * Per bank and direction the requests stand in line by age; a bank remembers the oldest
 * one that its open row serves. So a step looks at banks, not at requests.
 */
#include <stdlib.h>
#include <string.h>
#include "timing_priv.h"

#define BANKS 64
#define GROUPS 16
#define NEVER INT64_MAX
#define SPAN 4096

enum { READ, WRITE };

struct node {
	int64_t row, there; /* since which tick it is held */
	uint32_t order, who;
	int32_t next;
	uint8_t bank, dir;
};

struct bank {
	int64_t row; /* -1: none is open */
	int64_t activate_at, precharge_at, column_at; /* ticks, no sooner */
	int32_t head[2], tail[2], hit[2]; /* by direction; -1: none */
	uint32_t head_order[2], hit_order[2], group;
};

/* A command that a bank could have, and the age of the request that wants it. */
struct next {
	int64_t at;
	uint32_t order;
	unsigned int bank;
};

struct channel {
	struct bank bank[BANKS];
	uint64_t want[2], hits[2]; /* bit b: bank b has requests; its open row serves one */
	uint64_t open; /* a row of it is */
	uint32_t held[2], coming[2]; /* requests there, and on their way */
	int64_t now, next_at; /* nothing happens before next_at, unless somebody asks */
	uint32_t owed; /* RDU_PARTS-ths of ticks that others have still to be given */
	int64_t column_at, row_at, turn_at[2], activate_at, activated[4], refresh_at;
	struct {
		int64_t column_at, read_at, activate_at;
	} group[GROUPS];
	int64_t last_read;
	unsigned int newest; /* in activated[] */
	bool draining;
	/* The next commands, as long as nothing changes that could bring others. */
	struct next next_row, next_column;
	bool row_known, column_known;
	uint32_t order;
	int32_t *arrival; /* by the tick they arrive at */
	uint32_t num_arrivals, first_arrival;
	int32_t unused; /* list of free nodes */
	struct node *node;
};

struct rdu_memory {
	struct rdu_chip chip;
	uint32_t columns, nodes; /* nodes: requests of a channel, held or not yet there */
	uint32_t span; /* a power of the number of channels */
	uint16_t digits[SPAN]; /* of a number below it: the sum of its digits in that base */
	double tick; /* in cycles */
	double read_cycles; /* from the column command until the fabric has the burst */
	double write_cycles; /* from its clock until a write is in order with all that follows */
	/* the chip's times in ticks */
	int64_t cwl, burst, ccd_l, rcd, rp, ras, rc, rrd_s, rrd_l, faw, wtr_s, wtr_l, rtp, rtw, wr,
		rfc, refi, idle;
	uint32_t others; /* RDU_PARTS-ths of each channel's time that are not this section's */
	double link_burst; /* cycles that the host link takes for a burst, each way */
	double link_free[2], link_end; /* when it is free again; when all is written */
	bool flush; /* nothing more will come: held writes go at once */
	void (*done)(void *opaque, uint32_t who, uint64_t cycle);
	void *opaque;
	struct channel *channel;
};

static int64_t ticks(const struct rdu_chip *chip, uint64_t ps)
{
	return (int64_t)((ps + chip->dram_tck - 1) / chip->dram_tck);
}

/* The memory's clock that a cycle begins in. */
static int64_t clock_of(const struct rdu_memory *m, uint64_t cycle)
{
	return (int64_t)((double)cycle / m->tick);
}

/* The first cycle that begins no sooner than `at`, which is in cycles, to the picosecond. */
static uint64_t cycle_from(double at)
{
	return (uint64_t)(at + 1 - 1e-6);
}

static void set_times(struct rdu_memory *m, const struct rdu_chip *c)
{
	double ps = (double)c->clock_khz / 1e9, extra; /* cycles in a picosecond */

	m->tick = c->dram_tck * ps;
	/* Controller and wires: what dram_latency has beyond the device's. */
	extra = c->dram_latency - c->dram_trcd * ps - (c->dram_cl + c->dram_tccd_s) * m->tick;
	if (extra < 0)
		extra = 0;
	m->read_cycles = (c->dram_cl + c->dram_tccd_s) * m->tick + extra;
	m->write_cycles = extra;
	m->cwl = c->dram_cwl;
	m->burst = c->dram_tccd_s;
	m->ccd_l = c->dram_tccd_l;
	m->rtw = c->dram_trtw;
	m->rcd = ticks(c, c->dram_trcd);
	m->rp = ticks(c, c->dram_trp);
	m->ras = ticks(c, c->dram_tras);
	m->rc = ticks(c, c->dram_trc);
	m->rrd_s = ticks(c, c->dram_trrd_s);
	m->rrd_l = ticks(c, c->dram_trrd_l);
	m->faw = ticks(c, c->dram_tfaw);
	m->wtr_s = ticks(c, c->dram_twtr_s);
	m->wtr_l = ticks(c, c->dram_twtr_l);
	m->rtp = ticks(c, c->dram_trtp);
	m->wr = ticks(c, c->dram_twr);
	m->rfc = ticks(c, c->dram_trfc);
	m->refi = ticks(c, c->dram_trefi);
	m->idle = (int64_t)(c->dram_drain_idle / m->tick);
}

/* So that few divisions say where a burst lies. */
static void set_digits(struct rdu_memory *m)
{
	uint32_t base = m->chip.dram_channels;

	if (base == 1) {
		m->span = SPAN; /* all are 0 */
		return;
	}
	for (m->span = base; m->span * base <= SPAN;)
		m->span *= base;
	for (uint32_t i = 1; i < m->span; i++)
		m->digits[i] = (uint16_t)(m->digits[i / base] + i % base);
}

static int channel_new(struct rdu_memory *m, uint32_t c)
{
	struct channel *ch = &m->channel[c];

	ch->node = calloc(m->nodes, sizeof(*ch->node));
	ch->arrival = calloc(m->nodes, sizeof(*ch->arrival));
	if (!ch->node || !ch->arrival)
		return -1;
	for (uint32_t b = 0; b < BANKS; b++)
		ch->bank[b] = (struct bank){ .row = -1,
					     .head = { -1, -1 },
					     .tail = { -1, -1 },
					     .hit = { -1, -1 },
					     .group = b % m->chip.dram_groups };
	for (int i = 0; i < 4; i++)
		ch->activated[i] = -m->faw;
	/* One after another, not all channels at once. */
	ch->refresh_at = m->refi * (c + 1) / m->chip.dram_channels;
	for (uint32_t i = 0; i < m->nodes; i++)
		ch->node[i].next = (int32_t)(i + 1);
	ch->node[m->nodes - 1].next = -1;
	return 0;
}

struct rdu_memory *rdu_memory_new(const struct rdu_chip *chip, uint32_t others,
				  void (*done)(void *opaque, uint32_t who, uint64_t cycle),
				  void *opaque)
{
	struct rdu_memory *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->chip = *chip;
	m->columns = chip->dram_row / chip->dram_burst;
	m->nodes = 4 * chip->dram_queue + 256;
	m->others = others;
	m->link_burst = chip->dram_burst * (double)chip->clock_khz / (chip->host_mbps * 1e3) *
			RDU_PARTS / (RDU_PARTS - others);
	m->done = done;
	m->opaque = opaque;
	set_times(m, chip);
	set_digits(m);
	m->channel = calloc(chip->dram_channels, sizeof(*m->channel));
	for (uint32_t c = 0; m->channel && c < chip->dram_channels; c++) {
		if (channel_new(m, c)) {
			rdu_memory_free(m);
			return NULL;
		}
	}
	if (m->channel)
		return m;
	free(m);
	return NULL;
}

void rdu_memory_free(struct rdu_memory *m)
{
	if (!m)
		return;
	for (uint32_t c = 0; c < m->chip.dram_channels; c++) {
		free(m->channel[c].node);
		free(m->channel[c].arrival);
	}
	free(m->channel);
	free(m);
}

uint64_t rdu_memory_written(const struct rdu_memory *m, uint64_t cycle)
{
	return cycle_from((double)clock_of(m, cycle) * m->tick + m->write_cycles);
}

uint32_t rdu_memory_read_cycles(const struct rdu_memory *m)
{
	return (uint32_t)m->read_cycles;
}

uint32_t rdu_memory_refresh_cycles(const struct rdu_memory *m)
{
	return (uint32_t)((double)m->refi * m->tick / m->chip.dram_channels) + 1;
}

/* ---- requests ------------------------------------------------------------------ */

/*
 * Of a burst's number, from its lowest digit: channel, bank group, burst of the row,
 * bank of the group, row. The bank is exclusive-ored with the row, so that rows that
 * are a power of two apart do not all meet in one bank. So it is with channels: the digits
 * of the number in base `channels`, added up, say which of them it is, so that a column of a
 * matrix is spread over all channels whatever a row's length.
 */
static struct channel *place(const struct rdu_memory *m, uint64_t burst, int64_t *row,
			     uint32_t *bank)
{
	uint32_t each = m->chip.dram_banks / m->chip.dram_groups, group, in_group;
	uint32_t channels = m->chip.dram_channels;
	uint64_t sum = 0;
	struct channel *ch;

	for (uint64_t left = burst; left; left /= m->span)
		sum += m->digits[left % m->span];
	ch = &m->channel[sum % channels];
	burst /= channels;
	group = burst % m->chip.dram_groups;
	burst /= m->chip.dram_groups;
	burst /= m->columns;
	in_group = burst % each;
	burst /= each;
	*row = (int64_t)burst;
	*bank = (uint32_t)((in_group ^ burst) % each) * m->chip.dram_groups + group;
	return ch;
}

bool rdu_memory_ask(struct rdu_memory *m, uint64_t burst, bool write, uint64_t cycle,
		    uint64_t until, uint32_t who)
{
	uint32_t bank, place_in, room;
	int64_t row, at;
	struct channel *ch = place(m, burst, &row, &bank);
	struct node *n;
	int32_t i;

	/* What it can serve until then makes room. */
	room = m->chip.dram_queue;
	if (until > cycle)
		room += (uint32_t)((double)(until - cycle) / ((double)m->burst * m->tick));
	if (ch->held[write] + ch->coming[write] >= room || ch->unused < 0)
		return false;
	i = ch->unused;
	n = &ch->node[i];
	ch->unused = n->next;
	at = clock_of(m, cycle);
	*n = (struct node){ .row = row,
			    .there = at > ch->now ? at : ch->now,
			    .who = who,
			    .next = -1,
			    .bank = (uint8_t)bank,
			    .dir = write };
	ch->coming[write]++;
	ch->next_at = n->there < ch->next_at ? n->there : ch->next_at;
	if (ch->first_arrival == ch->num_arrivals)
		ch->first_arrival = ch->num_arrivals = 0;
	if (ch->num_arrivals == m->nodes) {
		ch->num_arrivals -= ch->first_arrival;
		memmove(ch->arrival, ch->arrival + ch->first_arrival,
			ch->num_arrivals * sizeof(*ch->arrival));
		ch->first_arrival = 0;
	}
	place_in = ch->num_arrivals++;
	while (place_in > ch->first_arrival &&
	       ch->node[ch->arrival[place_in - 1]].there > n->there) {
		ch->arrival[place_in] = ch->arrival[place_in - 1];
		place_in--;
	}
	ch->arrival[place_in] = i;
	return true;
}

uint64_t rdu_memory_link(struct rdu_memory *m, bool write, uint64_t cycle)
{
	double *free = &m->link_free[write], start = (double)cycle > *free ? (double)cycle : *free;

	*free = start + m->link_burst;
	if (!write)
		return (uint64_t)(*free + m->chip.host_latency) + 1;
	if (*free + m->chip.host_latency > m->link_end)
		m->link_end = *free + m->chip.host_latency;
	return (uint64_t)*free + 1;
}

static void set_bit(uint64_t *mask, unsigned int bit, bool to)
{
	*mask = (*mask & ~(1ull << bit)) | (uint64_t)to << bit;
}

/* Finds the oldest request of the open row, from node i on. */
static void find_hit(struct channel *ch, unsigned int b, int dir, int32_t i)
{
	struct bank *bank = &ch->bank[b];

	ch->row_known = ch->column_known = false;
	while (i >= 0 && ch->node[i].row != bank->row)
		i = ch->node[i].next;
	bank->hit[dir] = i;
	bank->hit_order[dir] = i >= 0 ? ch->node[i].order : 0;
	set_bit(&ch->hits[dir], b, i >= 0);
}

static void admit(struct channel *ch)
{
	while (ch->first_arrival < ch->num_arrivals) {
		int32_t i = ch->arrival[ch->first_arrival];
		struct node *n = &ch->node[i];
		struct bank *bank = &ch->bank[n->bank];
		unsigned int dir = n->dir;

		if (n->there > ch->now)
			return;
		ch->first_arrival++;
		ch->coming[dir]--;
		ch->held[dir]++;
		n->order = ch->order++;
		if (bank->tail[dir] >= 0) {
			ch->node[bank->tail[dir]].next = i;
		} else {
			bank->head[dir] = i;
			bank->head_order[dir] = n->order;
		}
		bank->tail[dir] = i;
		ch->want[dir] |= 1ull << n->bank;
		if (bank->hit[dir] < 0 && bank->row == n->row) {
			bank->hit[dir] = i;
			bank->hit_order[dir] = n->order;
			ch->hits[dir] |= 1ull << n->bank;
			ch->column_known = false;
		}
		ch->row_known &= ch->hits[dir] >> n->bank & 1;
		if (dir == READ)
			ch->last_read = ch->now;
	}
}

static void take_out(struct channel *ch, unsigned int b, int dir, int32_t i)
{
	struct bank *bank = &ch->bank[b];
	int32_t before = -1, k;

	for (k = bank->head[dir]; k != i; k = ch->node[k].next)
		before = k;
	k = ch->node[i].next;
	if (before < 0) {
		bank->head[dir] = k;
		bank->head_order[dir] = k < 0 ? 0 : ch->node[k].order;
	} else {
		ch->node[before].next = k;
	}
	if (k < 0)
		bank->tail[dir] = before;
	set_bit(&ch->want[dir], b, bank->head[dir] >= 0);
	ch->held[dir]--;
	ch->node[i].next = ch->unused;
	ch->unused = i;
	if (k >= 0 && ch->node[k].row == bank->row) { /* as most often */
		bank->hit[dir] = k;
		bank->hit_order[dir] = ch->node[k].order;
	} else {
		find_hit(ch, b, dir, k);
	}
}

/* ---- commands ------------------------------------------------------------------ */

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Of those that can go first, the oldest. Which one that is follows no pattern: no branch foresees it. */
static inline void take_sooner(struct next *best, int64_t at, uint32_t order, unsigned int bank)
{
	bool better = (at < best->at) | ((at == best->at) & ((int32_t)(order - best->order) < 0));

	best->at = better ? at : best->at;
	best->order = better ? order : best->order;
	best->bank = better ? bank : best->bank;
}

/* The next column command. */
static struct next next_column(const struct rdu_memory *m, const struct channel *ch, int dir)
{
	int64_t from = later(later(ch->column_at, ch->turn_at[dir]), ch->now), group_at[GROUPS];
	struct next best = { NEVER, 0, 0 };

	for (uint32_t g = 0; g < m->chip.dram_groups; g++) {
		group_at[g] = later(from, ch->group[g].column_at);
		if (dir == READ)
			group_at[g] = later(group_at[g], ch->group[g].read_at);
	}
	for (uint64_t left = ch->hits[dir]; left; left &= left - 1) {
		unsigned int b = (unsigned int)__builtin_ctzll(left);
		const struct bank *bank = &ch->bank[b];

		take_sooner(&best, later(group_at[bank->group], bank->column_at),
			    bank->hit_order[dir], b);
	}
	return best;
}

/* The next activate or precharge, of the banks whose open row nobody wants. */
static struct next next_row(const struct rdu_memory *m, const struct channel *ch, int dir)
{
	uint64_t wanted = ch->want[dir] & ~ch->hits[dir];
	int64_t from = later(ch->now, ch->row_at), group_at[GROUPS], activate;
	struct next best = { NEVER, 0, 0 };

	activate =
		later(from, later(ch->activate_at, ch->activated[(ch->newest + 3) & 3] + m->faw));
	for (uint32_t g = 0; g < m->chip.dram_groups; g++)
		group_at[g] = later(activate, ch->group[g].activate_at);
	for (uint64_t left = wanted & ~ch->open; left; left &= left - 1) {
		unsigned int b = (unsigned int)__builtin_ctzll(left);
		const struct bank *bank = &ch->bank[b];

		take_sooner(&best, later(group_at[bank->group], bank->activate_at),
			    bank->head_order[dir], b);
	}
	for (uint64_t left = wanted & ch->open; left; left &= left - 1) {
		unsigned int b = (unsigned int)__builtin_ctzll(left);
		const struct bank *bank = &ch->bank[b];

		take_sooner(&best, later(from, bank->precharge_at), bank->head_order[dir], b);
	}
	return best;
}

static void column(struct rdu_memory *m, struct channel *ch, int dir, unsigned int b)
{
	struct bank *bank = &ch->bank[b];
	int32_t i = bank->hit[dir];
	uint32_t who = ch->node[i].who;

	take_out(ch, b, dir, i);
	/* Of the bus' time others take their part, burst by burst. */
	ch->owed += (uint32_t)m->burst * m->others;
	ch->column_at = ch->now + m->burst + ch->owed / (RDU_PARTS - m->others);
	ch->owed %= RDU_PARTS - m->others;
	ch->column_known = false;
	ch->group[bank->group].column_at = ch->now + m->ccd_l;
	if (dir == WRITE) {
		int64_t end = ch->now + m->cwl + m->burst;

		bank->precharge_at = later(bank->precharge_at, end + m->wr);
		ch->turn_at[READ] = end + m->wtr_s;
		ch->group[bank->group].read_at = end + m->wtr_l;
		return;
	}
	bank->precharge_at = later(bank->precharge_at, ch->now + m->rtp);
	ch->turn_at[WRITE] = ch->now + m->rtw;
	m->done(m->opaque, who, cycle_from((double)ch->now * m->tick + m->read_cycles));
}

static void open_row(struct channel *ch, unsigned int b, int64_t row)
{
	ch->bank[b].row = row;
	set_bit(&ch->open, b, row >= 0);
	for (int dir = 0; dir < 2; dir++)
		find_hit(ch, b, dir, row < 0 ? -1 : ch->bank[b].head[dir]);
}

static void row_command(struct rdu_memory *m, struct channel *ch, int dir, unsigned int b)
{
	struct bank *bank = &ch->bank[b];

	ch->row_at = ch->now + 1;
	if (bank->row >= 0) {
		open_row(ch, b, -1);
		bank->activate_at = later(bank->activate_at, ch->now + m->rp);
		return;
	}
	open_row(ch, b, ch->node[bank->head[dir]].row);
	bank->column_at = ch->now + m->rcd;
	bank->precharge_at = ch->now + m->ras;
	bank->activate_at = ch->now + m->rc;
	ch->activate_at = ch->now + m->rrd_s;
	ch->group[bank->group].activate_at = ch->now + m->rrd_l;
	ch->newest = (ch->newest + 3) & 3;
	ch->activated[ch->newest] = ch->now;
}

/* All banks at once, when each may be closed. False: not before `until`. */
static bool refresh(struct rdu_memory *m, struct channel *ch, int64_t until)
{
	int64_t at = later(ch->now, ch->refresh_at);

	for (uint32_t b = 0; b < m->chip.dram_banks; b++)
		if (ch->bank[b].row >= 0)
			at = later(at, ch->bank[b].precharge_at);
	if (at >= until) {
		ch->next_at = at;
		return false;
	}
	for (uint32_t b = 0; b < m->chip.dram_banks; b++) {
		bool open = ch->bank[b].row >= 0;

		if (open)
			open_row(ch, b, -1);
		ch->bank[b].activate_at =
			later(ch->bank[b].activate_at, at + (open ? m->rp : 0) + m->rfc);
	}
	ch->row_known = false;
	ch->now = at + 1;
	ch->refresh_at += m->refi;
	return true;
}

/* Reads go first; writes when there are many, or nothing else to do. */
static void choose_direction(const struct rdu_memory *m, struct channel *ch)
{
	bool before = ch->draining;

	if (ch->draining)
		ch->draining = ch->held[WRITE] > (ch->held[READ] ? m->chip.dram_drain_low : 0);
	else
		ch->draining = ch->held[WRITE] >= m->chip.dram_drain_high ||
			       (!ch->held[READ] && ch->held[WRITE] &&
				(m->flush || ch->now > ch->last_read + m->idle));
	ch->row_known &= ch->draining == before;
	ch->column_known &= ch->draining == before;
}

/* One event before `until`; false: there is none. */
static bool channel_step(struct rdu_memory *m, struct channel *ch, int64_t until)
{
	int64_t at_col, at_row, at = ch->refresh_at;

	admit(ch);
	choose_direction(m, ch);
	if (!ch->column_known)
		ch->next_column = next_column(m, ch, ch->draining);
	ch->column_known = true;
	at_col = later(ch->next_column.at, ch->now);
	if (!ch->row_known) {
		ch->next_row = next_row(m, ch, ch->draining);
		ch->row_known = true;
	}
	at_row = later(ch->next_row.at, ch->now);
	if (ch->first_arrival < ch->num_arrivals)
		at = at < ch->node[ch->arrival[ch->first_arrival]].there
			     ? at
			     : ch->node[ch->arrival[ch->first_arrival]].there;
	if (!ch->draining && !ch->held[READ] && ch->held[WRITE] && ch->last_read + m->idle + 1 < at)
		at = ch->last_read + m->idle + 1;
	if (at <= at_col && at <= at_row) {
		if (at >= ch->refresh_at)
			return refresh(m, ch, until);
		if (at >= until) {
			ch->next_at = at;
			return false;
		}
		ch->now = later(ch->now, at);
		return true;
	}
	at = at_col <= at_row ? at_col : at_row;
	if (at >= until) {
		ch->next_at = at;
		return false;
	}
	ch->now = at;
	if (at_col <= at_row)
		column(m, ch, ch->draining, ch->next_column.bank);
	else
		row_command(m, ch, ch->draining, ch->next_row.bank);
	return true;
}

void rdu_memory_run(struct rdu_memory *m, uint64_t cycle)
{
	int64_t until = clock_of(m, cycle);

	for (uint32_t c = 0; c < m->chip.dram_channels; c++) {
		struct channel *ch = &m->channel[c];

		while (ch->next_at < until && channel_step(m, ch, until))
			;
		ch->now = later(ch->now, until);
	}
}

bool rdu_memory_idle(const struct rdu_memory *m)
{
	for (uint32_t c = 0; c < m->chip.dram_channels; c++) {
		const struct channel *ch = &m->channel[c];

		if (ch->held[READ] + ch->coming[READ] + ch->held[WRITE] + ch->coming[WRITE])
			return false;
	}
	return true;
}

uint64_t rdu_memory_drain(struct rdu_memory *m, uint64_t cycle)
{
	int64_t last = 0;

	rdu_memory_run(m, cycle);
	m->flush = true;
	for (uint32_t c = 0; c < m->chip.dram_channels; c++) {
		struct channel *ch = &m->channel[c];

		while (ch->held[READ] + ch->coming[READ] + ch->held[WRITE] + ch->coming[WRITE]) {
			if (!channel_step(m, ch, NEVER))
				break;
			last = later(last, ch->now);
		}
	}
	last = (int64_t)cycle_from((double)(last + 1) * m->tick) + 1;
	last = later(last, (int64_t)m->link_end + 1);
	return (uint64_t)last > cycle ? (uint64_t)last : cycle + 1;
}
