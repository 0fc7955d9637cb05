// SPDX-License-Identifier: MIT
/* How fast the way to the card is. */
#include <stdlib.h>
#include <string.h>
#include "measure.h"
#include "rdu_tool.h"

#define ROUNDS 15

static int by_time(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double measure_median(double *seconds, unsigned int count)
{
	qsort(seconds, count, sizeof(*seconds), by_time);
	return count % 2 ? seconds[count / 2] : (seconds[count / 2 - 1] + seconds[count / 2]) / 2;
}

/* Of so many bytes each, in the shortest time: other work only takes more. */
static double speed(size_t bytes, const double *seconds)
{
	double best = seconds[0];

	for (unsigned int i = 1; i < ROUNDS; i++)
		if (seconds[i] < best)
			best = seconds[i];
	return bytes / best;
}

double measure_memcpy(size_t bytes)
{
	unsigned char *from = xmalloc(bytes), *to = xmalloc(bytes);
	double t[ROUNDS];

	memset(from, 1, bytes);
	memset(to, 2, bytes);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		t[i] = now_seconds();
		memcpy(to, from, bytes);
		t[i] = now_seconds() - t[i];
		/* Read, or it need not be written. */
		from[i] = to[bytes - 1 - i];
	}
	free(from);
	free(to);
	return speed(bytes, t);
}

static int copy_once(struct rdu_context *ctx, struct rdu_buffer *to, struct rdu_buffer *from,
		     double *seconds)
{
	uint64_t ticket;
	int ret;

	*seconds = now_seconds();
	ret = rdu_context_copy(ctx, rdu_buffer_address(to), rdu_buffer_address(from),
			       rdu_buffer_size(from), &ticket);
	if (!ret)
		ret = rdu_context_wait(ctx, ticket, -1);
	*seconds = now_seconds() - *seconds;
	return ret;
}

int measure_copy(struct rdu_context *ctx, size_t bytes, double *to_card, double *from_card)
{
	struct rdu_buffer *host = NULL, *card = NULL;
	double to[ROUNDS], from[ROUNDS];
	int ret;

	ret = rdu_buffer_new(ctx, bytes, RDU_BUFFER_HOST, &host);
	if (!ret)
		ret = rdu_buffer_new(ctx, bytes, RDU_BUFFER_CARD, &card);
	if (!ret) {
		/* Once before: pages that nobody has touched take longer. */
		ret = copy_once(ctx, card, host, &to[0]);
		for (unsigned int i = 0; i < ROUNDS && !ret; i++) {
			ret = copy_once(ctx, card, host, &to[i]);
			if (!ret)
				ret = copy_once(ctx, host, card, &from[i]);
		}
	}
	if (!ret) {
		*to_card = speed(bytes, to);
		*from_card = speed(bytes, from);
	}
	rdu_buffer_free(card);
	rdu_buffer_free(host);
	return ret;
}

int measure_latency(struct rdu_context *ctx, unsigned int jobs, double *seconds)
{
	double *t = xcalloc(jobs, sizeof(*t));
	uint64_t ticket;
	int ret = 0;

	for (unsigned int i = 0; i < jobs && !ret; i++) {
		t[i] = now_seconds();
		ret = rdu_context_barrier(ctx, &ticket);
		if (!ret)
			ret = rdu_context_wait(ctx, ticket, -1);
		t[i] = now_seconds() - t[i];
	}
	*seconds = measure_median(t, jobs);
	free(t);
	return ret;
}

void measure_touch(void *memory, size_t bytes, double *write, double *read)
{
	volatile uint64_t *word = memory;
	size_t count = bytes / sizeof(*word);
	double w[ROUNDS], r[ROUNDS];

	memset(memory, 1, bytes); /* the faults come first */
	for (unsigned int i = 0; i < ROUNDS; i++) {
		uint64_t sum = 0;

		w[i] = now_seconds();
		for (size_t k = 0; k < count; k++)
			word[k] = k;
		w[i] = now_seconds() - w[i];
		r[i] = now_seconds();
		for (size_t k = 0; k < count; k++)
			sum += word[k];
		r[i] = now_seconds() - r[i];
		word[0] = sum;
	}
	*write = speed(bytes, w);
	*read = speed(bytes, r);
}
