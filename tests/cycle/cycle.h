/* SPDX-License-Identifier: MIT */
/*
 * A cycle-by-cycle simulation of one section: the judge of the card's modelled time,
 * and a second opinion on its bits. It takes the parsed section from the model and
 * shares nothing of the model's timing and nothing of its kernels.
 *
 * Every cycle each unit program tries to fire: its activation's tokens taken, vectors
 * at its inputs, room behind its outputs, its unit free. What it pushes arrives after
 * the unit's latency and a cycle for each switch; a stream holds what its consumer's
 * FIFO and the registers on the way hold, no more. AGCUs turn vectors into bursts, a
 * bounded number at a time, for a memory of channels, banks and rows (cycle_memory.c).
 * Documentation/timing.md says what is published of this and what is assumed.
 */
#ifndef CYCLE_H
#define CYCLE_H

#include "fabric_priv.h"

/* ---- off-chip memory ------------------------------------------------------ */

struct cycle_memory;

/* Channels, banks and times are the chip's; others: 16ths of each channel's and the host
 * link's time that other queues take; NULL: out of memory. */
struct cycle_memory *cycle_memory_new(const struct rdu_chip *chip, unsigned int others);
void cycle_memory_free(struct cycle_memory *m);
/* Asks for a burst; false: the channel's queue is full. `done` is called in the cycle
 * in which the data is there, or the controller has taken it. */
bool cycle_memory_request(struct cycle_memory *m, uint64_t address, bool write,
			  void (*done)(void *who, uint64_t tag), void *who, uint64_t tag);
/* The same of a burst of host memory, which the link carries. */
void cycle_memory_link(struct cycle_memory *m, bool write, void (*done)(void *who, uint64_t tag),
		       void *who, uint64_t tag);
void cycle_memory_step(struct cycle_memory *m, uint64_t cycle);
/* Is everything written? It hurries from the first time on that this is asked. */
bool cycle_memory_drained(struct cycle_memory *m);

struct cycle_memory_counts {
	uint64_t reads, writes; /* bursts */
	uint64_t linked; /* bursts from and to the host */
	uint64_t activates; /* rows opened */
	uint64_t refreshes, turnarounds;
};

const struct cycle_memory_counts *cycle_memory_counts(const struct cycle_memory *m);

/* ---- a section -------------------------------------------------------------- */

struct cycle_segment {
	unsigned char *data; /* NULL: time only, where no index depends on it */
	uint64_t size; /* bytes */
	uint64_t address; /* where it lies in card memory */
	bool in_host; /* it lies in host memory instead */
};

struct cycle_setup {
	struct rdu_section *section;
	const struct cycle_segment *segments; /* as many as the image says */
	const uint32_t *scalars;
	uint32_t **scratch; /* scratch[virtual tile * pmus + pmu], as for rdu_run */
	unsigned int others; /* 16ths of memory's time that are others' */
	uint64_t limit; /* cycles after which it gives up */
};

struct cycle_result {
	uint64_t cycles;
	uint64_t dram_bytes; /* of card and host memory */
	struct cycle_memory_counts memory;
	/* of each unit program, if asked for: cycles in which it fired */
	uint64_t *fired;
};

/* Runs the section to its end. 0, or -1 and what went wrong: an access outside its
 * segment or buffer, no progress, the limit. */
int cycle_run(const struct cycle_setup *setup, struct cycle_result *result, char *error,
	      size_t error_size);

#endif
