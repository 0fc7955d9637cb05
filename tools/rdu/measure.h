/* SPDX-License-Identifier: MIT */
/*
 * How fast the way to the card is: `rdu bench` and the benchmarks of tests/bench
 * measure by the same code. Time is the host's; of several rounds a speed is
 * the best, as the host may be busy, and a latency the median. A failure is 0, or
 * -1 with rdu_error_text() of the context.
 */
#ifndef MEASURE_H
#define MEASURE_H

#include "rdu.h"

/* Sorts times. */
double measure_median(double *seconds, unsigned int count);

/* Plain memcpy() of so many bytes, in this process: bytes a second. */
double measure_memcpy(size_t bytes);

/* The card copies so many bytes from system to card memory, and back: bytes a second. */
int measure_copy(struct rdu_context *ctx, size_t bytes, double *to_card, double *from_card);

/* An empty job: from submitting it to knowing that it is done, seconds. */
int measure_latency(struct rdu_context *ctx, unsigned int jobs, double *seconds);

/* The CPU writes and reads that memory, word by word: bytes a second. */
void measure_touch(void *memory, size_t bytes, double *write, double *read);

#endif
