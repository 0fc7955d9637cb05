/* SPDX-License-Identifier: MIT */
/*
 * What one activation costs alone (timing_cost.c), and off-chip memory
 * (timing_memory.c). timing_flow.h has unit programs at work, timing.c asks.
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
	double dram_rate, host_rate; /* bytes per cycle; of the host link, each way */
};

/* What a section finds off the chip. */
#define RDU_PARTS 16
struct rdu_offchip {
	const uint64_t *in_host; /* bit by segment: it lies in host memory; NULL: none does */
	uint32_t others; /* RDU_PARTS-ths of memory's and the link's time that other queues take */
};

static inline bool rdu_in_host(const struct rdu_offchip *off, uint32_t segment)
{
	return off->in_host && off->in_host[segment / 64] >> segment % 64 & 1;
}

/* 0, or -1: no memory. */
int rdu_costs_find(const struct rdu_section *s, const struct rdu_offchip *off, struct rdu_costs *c);
void rdu_costs_free(struct rdu_costs *c);

/* What a section's own work takes (energy.c): `idle` is zero. */
void rdu_section_energy(const struct rdu_section *s, const struct rdu_costs *c,
			struct rdu_energy *energy);

/* An access of n lanes of a scratchpad: cycles it holds its side. */
uint32_t rdu_bank_lanes(const struct rdu_section *s, const struct rdu_cfg_access *a,
			unsigned int n);
/* About how many cycles a section takes, all segments in card memory, nobody beside it (timing_estimate.c). -1: no
 * memory, or more cycles than the clock has. */
int rdu_estimate(const struct rdu_section *s, const struct rdu_costs *c, uint64_t *cycles);
/* Elements that an index, which is data, adds: indices are taken as evenly spread. */
int64_t rdu_gather_guess(const struct rdu_cfg_access *a, uint64_t *random);

/* ---- off-chip memory (timing_memory.c) --------------------------------------- */

struct rdu_memory;

/* done: a read burst is back with whoever asked, in that cycle. others: as of struct
 * rdu_offchip. NULL: no memory. */
struct rdu_memory *rdu_memory_new(const struct rdu_chip *chip, uint32_t others,
				  void (*done)(void *opaque, uint32_t who, uint64_t cycle),
				  void *opaque);
void rdu_memory_free(struct rdu_memory *m);
/* From a request until its burst is back, at the least. */
uint32_t rdu_memory_read_cycles(const struct rdu_memory *m);
/* When a write that is asked for in a cycle is accepted. */
uint64_t rdu_memory_written(const struct rdu_memory *m, uint64_t cycle);
/* From the refresh of one channel to that of the next. */
uint32_t rdu_memory_refresh_cycles(const struct rdu_memory *m);
/* Asks for a burst, by its number; false: the channel can't take it before `until`,
 * which is where rdu_memory_run() goes next. */
bool rdu_memory_ask(struct rdu_memory *m, uint64_t burst, bool write, uint64_t cycle,
		    uint64_t until, uint32_t who);
/* A burst from or to host memory, asked for at `cycle`: when it is back, or, of one that
 * is written, when the link has taken it. */
uint64_t rdu_memory_link(struct rdu_memory *m, bool write, uint64_t cycle);
/* All that happens before `cycle`. */
void rdu_memory_run(struct rdu_memory *m, uint64_t cycle);
bool rdu_memory_idle(const struct rdu_memory *m);
/* Nothing more will come after `cycle`; when all is written. */
uint64_t rdu_memory_drain(struct rdu_memory *m, uint64_t cycle);

/* ---- times that are kept (timing_kept.c) --------------------------------------- */

struct rdu_time_cache {
	unsigned int users; /* sections, and the table of those in this process */
	_Atomic bool stored; /* it is in a file */
	struct rdu_section_time time;
	struct rdu_unit_time *programs;
	struct rdu_stage_time *stages;
	uint32_t *stage_of;
};

/* What a time depends on. */
struct rdu_time_key {
	unsigned char *bytes; /* the chip, the image, what is off the chip; free() */
	size_t size;
	uint64_t hash;
};

/* With room for the section's programs and stages, and one user; NULL: no memory. */
struct rdu_time_cache *rdu_time_new(const struct rdu_section *s);
void rdu_time_free(struct rdu_time_cache *t);
/* A user less; of the last one it is freed. */
void rdu_time_put(struct rdu_time_cache *t);
/* -1: no memory. */
int rdu_time_key(const struct rdu_section *s, const struct rdu_offchip *off,
		 struct rdu_time_key *key);
/* One user more of it; NULL: not known. */
struct rdu_time_cache *rdu_time_find(const struct rdu_section *s, const struct rdu_time_key *key);
/* For this process; in a file, if there is a place and no such file. */
void rdu_time_keep(const struct rdu_time_key *key, struct rdu_time_cache *t);
void rdu_time_store(const struct rdu_time_key *key, struct rdu_time_cache *t);

/* ---- */

/* rdu_section_time() that can be told to give up, for a card whose guest may have
 * made a section that takes long to time. NULL then, too; nothing is kept. */
struct rdu_patience {
	const _Atomic bool *stop; /* NULL: none */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
	uint64_t steps; /* of the simulation, at most; 0: RDU_TIMING_STEPS */
	uint64_t cycles; /* that it may take; 0: any number */
	bool store; /* in a file, too, for other processes */
	bool estimate; /* by rdu_estimate(): quick, and not kept; only with `off`, of a section that is alone */
	bool whole; /* leaves nothing out, so it takes as long as it takes: to be compared with */
	bool too_long; /* it would take more steps, or more cycles than the clock has */
	bool longer; /* it takes more than `cycles` */
};

#define RDU_TIMING_STEPS (1ull << 28) /* about a minute of a host */
#define RDU_TIMING_CYCLES 4000000000000000000ull /* no section takes more */

/* off: NULL: alone, all segments in card memory, and the pointer is as rdu_section_time()'s.
 * Else it is the caller's until rdu_section_time_put(). */
const struct rdu_section_time *
rdu_section_time_within(struct rdu_section *section, const uint32_t *scalars,
			const struct rdu_offchip *off,
			void (*trace)(void *opaque, uint32_t stage, uint32_t activation,
				      uint64_t start, uint64_t end),
			void *opaque, struct rdu_patience *patience);
void rdu_section_time_put(const struct rdu_section_time *time);

/* Cycles of one vector access: the most words that fall on one bank, averaged
 * over a sample of iterations. Exposed for tests. */
double rdu_bank_cycles(const struct rdu_section *s, uint32_t program);

#endif
