// SPDX-License-Identifier: MIT
/*
 * Ending early. In a long section whose paces never settle (timing_skip.c) nor come again
 * (timing_parts.c), what all programs get done together grows evenly all the same. When all have begun,
 * it is looked at over two halves of the newest ENOUGH steps. If these agree, the rest is taken to go on
 * so; they may differ the more, the more steps were taken. What is looked at is bytes where memory is
 * BUSY, as it decides then, else firings.
 */
#include <stdlib.h>
#include <string.h>
#include "timing_flow.h"

#define ENOUGH 3e6 /* steps: some tenths of a second of a host */
#define BUSY 0.5 /* of memory's rate */
#define MARKS 5 /* in these, the first and the last counted */

/* What all programs have got done together. */
struct trend_mark {
	double at, firings, bytes; /* cycles; bytes: to and from card memory, about */
};

struct flow_trend {
	unsigned int num;
	double next; /* steps */
	struct trend_mark mark[MARKS]; /* the newest last */
	uint64_t *spent; /* by program, 4 each: at the first mark */
};

int rdu_trend_new(struct flow *f)
{
	struct flow_trend *k = calloc(1, sizeof(*k));

	f->trend = k;
	if (!k)
		return -1;
	k->spent = calloc(4 * (size_t)f->s->hdr->programs.count + 1, sizeof(*k->spent));
	return k->spent ? 0 : -1;
}

void rdu_trend_free(struct flow *f)
{
	if (!f->trend)
		return;
	free(f->trend->spent);
	free(f->trend);
	f->trend = NULL;
}

static uint64_t fired(const struct flow_prog *p)
{
	return p->number * p->p->iterations + p->iteration;
}

static uint64_t all_firings(const struct flow_prog *p)
{
	return p->p->activations * p->p->iterations;
}

/* Bytes to or from card memory of one firing, in the mean. */
static double bytes_of_one(const struct flow *f, const struct flow_prog *p)
{
	return (double)f->costs->prog[p->index].all_bytes / (double)all_firings(p);
}

static void mark(struct flow *f)
{
	struct flow_trend *k = f->trend;
	struct trend_mark *m = &k->mark[k->num++];

	*m = (struct trend_mark){ .at = (double)(f->now + f->skipped) };
	for (uint32_t i = 0; i < f->s->hdr->programs.count; i++) {
		const struct flow_prog *p = &f->prog[i];

		if (k->num == 1)
			memcpy(&k->spent[4 * i], p->spent, sizeof(p->spent));
		m->firings += (double)fired(p);
		m->bytes += (double)fired(p) * bytes_of_one(f, p);
	}
	k->next = (double)f->work + ENOUGH / (MARKS - 1);
}

/* Firings, or bytes, in a cycle between two marks. */
static double pace(const struct flow_trend *k, bool by_bytes, unsigned int from, unsigned int to)
{
	const struct trend_mark *a = &k->mark[from], *b = &k->mark[to];

	return (by_bytes ? b->bytes - a->bytes : b->firings - a->firings) / (b->at - a->at);
}

/* What is left, at this pace; but the stage with most to do sets the pace once others have ended. */
static void end(struct flow *f, double rate, bool by_bytes)
{
	double left = 0, cycles = 0;

	for (uint32_t i = 0; i < f->s->hdr->programs.count; i++) {
		const struct flow_prog *p = &f->prog[i];
		double firings = (double)(all_firings(p) - fired(p));
		double alone = firings / (double)p->p->iterations *
			       (double)f->costs->stage[p->p->stage].issue;

		left += firings * (by_bytes ? bytes_of_one(f, p) : 1);
		cycles = alone > cycles ? alone : cycles;
	}
	cycles = left / rate > cycles ? left / rate : cycles;
	if (!rdu_flow_skip(f, cycles))
		return;
	for (uint32_t i = 0; i < f->s->hdr->programs.count; i++) {
		struct flow_prog *p = &f->prog[i];

		rdu_skip_spend(p, all_firings(p) - fired(p), (uint64_t)cycles,
			       &f->trend->spent[4 * i]);
	}
	f->last = f->now;
	f->left = 0;
}

bool rdu_trend_look(struct flow *f)
{
	struct flow_trend *k = f->trend;
	double first, second, same = LOOSE * (double)f->work / (4 * ENOUGH);
	bool by_bytes;

	if (f->begun < f->s->hdr->programs.count || (double)f->work < k->next)
		return false;
	if (k->num == MARKS) {
		memmove(k->mark, k->mark + 1, sizeof(k->mark) - sizeof(k->mark[0]));
		k->num--;
	}
	mark(f);
	if (k->num < MARKS)
		return false;
	by_bytes = pace(k, true, 0, MARKS - 1) > BUSY * f->costs->dram_rate;
	first = pace(k, by_bytes, 0, MARKS / 2);
	second = pace(k, by_bytes, MARKS / 2, MARKS - 1);
	same = same < LOOSE ? same : LOOSE;
	if (second <= 0 || first > second * (1 + same) || second > first * (1 + same))
		return false;
	end(f, pace(k, by_bytes, 0, MARKS - 1), by_bytes);
	return true;
}
