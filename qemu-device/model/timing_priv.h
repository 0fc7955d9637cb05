/* SPDX-License-Identifier: MIT */
/*
 * What one activation costs. timing_cost.c derives it from the unit programs,
 * timing.c plays the activations against each other.
 */
#ifndef RDU_TIMING_PRIV_H
#define RDU_TIMING_PRIV_H

#include "fabric_priv.h"

/* One unit program, one activation. */
struct rdu_prog_cost {
	uint64_t busy; /* cycles it works: iterations x its own II */
	uint64_t latency; /* cycles from a vector in to the vector out */
	uint64_t bytes; /* to or from card memory, whole bursts: the mean of all activations */
	uint64_t all_bytes; /* of the section */
	uint64_t macs, flops;
	uint64_t vectors; /* unit's shared resource: vector slots it takes */
	uint32_t unit; /* the shared resource, ~0: none */
	enum rdu_bound bound;
};

/* A shared resource (a PMU's read or write side, an AGCU) that a stage uses. */
struct rdu_unit_use {
	uint32_t unit;
	uint64_t vectors;
};

/* One stage, one activation, alone on the chip. */
struct rdu_stage_cost {
	uint64_t issue; /* cycles before the next activation may start */
	uint64_t fill; /* cycles from the last issue to the last result */
	uint64_t bytes;
	uint32_t first_use, num_uses; /* resources that other stages use too */
	enum rdu_bound bound;
	uint32_t program; /* that sets `issue` */
};

struct rdu_costs {
	struct rdu_prog_cost *prog;
	struct rdu_stage_cost *stage;
	struct rdu_unit_use *uses;
	uint32_t num_units; /* resources */
	double dram_rate; /* bytes per cycle */
};

/* 0, or -1: no memory. */
int rdu_costs_find(const struct rdu_section *s, struct rdu_costs *c);
void rdu_costs_free(struct rdu_costs *c);

/* rdu_section_time() that can be told to give up, for a card whose guest may have
 * made a section that takes long to time. NULL then, too; nothing is kept. */
struct rdu_patience {
	const _Atomic bool *stop; /* NULL: none */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
};

const struct rdu_section_time *
rdu_section_time_within(struct rdu_section *section, const uint32_t *scalars,
			void (*trace)(void *opaque, uint32_t stage, uint32_t activation,
				      uint64_t start, uint64_t end),
			void *opaque, const struct rdu_patience *patience);

/* Cycles of one vector access: the most words that fall on one bank, averaged
 * over a sample of iterations. Exposed for tests. */
double rdu_bank_cycles(const struct rdu_section *s, uint32_t program);

#endif
