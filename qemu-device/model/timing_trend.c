// SPDX-License-Identifier: MIT
/*
 * Ending early. In a long section whose paces never settle (timing_skip.c) nor come again
 * (timing_parts.c), what all programs get done together grows evenly all the same. When all have begun,
 * it is looked at over two halves of the newest ENOUGH steps. If these agree, the rest is taken to go on
 * so; they may differ the more, the more steps were taken.
 */
#include <stdlib.h>
#include <string.h>
#include "timing_flow.h"

#define ENOUGH 12e6 /* steps: about a second of a host */
#define MARKS 5 /* in these, the first and the last counted */

struct flow_trend {
	unsigned int num;
	double next; /* steps */
	double at[MARKS], done[MARKS]; /* cycles; firings of all programs */
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

static void mark(struct flow *f)
{
	struct flow_trend *k = f->trend;
	double done = 0;

	if (!k->num)
		for (uint32_t i = 0; i < f->s->hdr->programs.count; i++)
			memcpy(&k->spent[4 * i], f->prog[i].spent, sizeof(f->prog[i].spent));
	for (uint32_t i = 0; i < f->s->hdr->programs.count; i++)
		done += (double)fired(&f->prog[i]);
	k->at[k->num] = (double)(f->now + f->skipped);
	k->done[k->num++] = done;
	k->next = (double)f->work + ENOUGH / (MARKS - 1);
}

static double pace(const struct flow_trend *k, unsigned int from, unsigned int to)
{
	return (k->done[to] - k->done[from]) / (k->at[to] - k->at[from]);
}

static void end(struct flow *f, double rate)
{
	double left = 0;

	for (uint32_t i = 0; i < f->s->hdr->programs.count; i++) {
		const struct flow_prog *p = &f->prog[i];

		left += (double)(all_firings(p) - fired(p));
	}
	if (!rdu_flow_skip(f, left / rate))
		return;
	for (uint32_t i = 0; i < f->s->hdr->programs.count; i++) {
		struct flow_prog *p = &f->prog[i];

		rdu_skip_spend(p, all_firings(p) - fired(p), (uint64_t)(left / rate),
			       &f->trend->spent[4 * i]);
	}
	f->last = f->now;
	f->left = 0;
}

bool rdu_trend_look(struct flow *f)
{
	struct flow_trend *k = f->trend;
	double first, second, same = LOOSE * (double)f->work / (4 * ENOUGH);

	if (f->begun < f->s->hdr->programs.count || (double)f->work < k->next)
		return false;
	if (k->num == MARKS) {
		memmove(k->at, k->at + 1, sizeof(k->at) - sizeof(k->at[0]));
		memmove(k->done, k->done + 1, sizeof(k->done) - sizeof(k->done[0]));
		k->num--;
	}
	mark(f);
	if (k->num < MARKS)
		return false;
	first = pace(k, 0, MARKS / 2);
	second = pace(k, MARKS / 2, MARKS - 1);
	same = same < LOOSE ? same : LOOSE;
	if (second <= 0 || first > second * (1 + same) || second > first * (1 + same))
		return false;
	end(f, pace(k, 0, MARKS - 1));
	return true;
}
