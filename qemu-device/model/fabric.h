/* SPDX-License-Identifier: MIT */
/*
 * The fabric: validates a section's configuration image, translates it once,
 * keeps its time, and runs it. Used by the card (card.c ...) and by tests; rduc
 * uses validation and timing for its estimates.
 *
 * Files: validate.c (image -> errors), translate.c (stages, islands, kernels),
 * execute.c, kernels*.c (portable reference beside each fast one), numerics.c
 * (bit-exact scalar definitions), timing.c (modelled cycles), pool.c (threads).
 */
#ifndef RDU_FABRIC_H
#define RDU_FABRIC_H

#include <pthread.h>
#include "rdu_card.h"

struct rdu_cfg_diag {
	enum rdu_cfg_error error;
	uint64_t offset;  /* byte offset of the offender in the image */
	uint32_t section; /* program images: which section, ~0: none */
	char text[160];   /* in words, with the values seen */
};

/* Everything that can be known of an image without running it (card.md 4).
 * tiles: how many the program may use. Returns 0, or -1 and *diag. Never reads
 * outside [image, image + size). */
int rdu_config_validate(const void *image, size_t size, const struct rdu_chip *chip,
			uint32_t tiles, struct rdu_cfg_diag *diag);
/* The same for a whole program image: header, schedule, regions, all sections. */
int rdu_program_validate(const void *image, size_t size, const struct rdu_chip *chip,
			 uint32_t tiles, struct rdu_cfg_diag *diag);

/* ---- the host: time, threads --------------------------------------------- */

/* CLOCK_MONOTONIC. */
uint64_t rdu_monotonic_ns(void);
/* Is work to be given up? stop: set by another thread, NULL: none; deadline_ns: 0: none. */
bool rdu_give_up(const _Atomic bool *stop, uint64_t deadline_ns);
/* A thread that takes no signals: those are the front end's. 0, or an error number. */
int rdu_thread_start(pthread_t *thread, void *(*fn)(void *arg), void *arg);

/* ---- a translated section ------------------------------------------------ */

struct rdu_section;

/* Validates, then translates a copy of the image. NULL and *diag on refusal.
 * Argument-register limits are taken at execute. */
struct rdu_section *rdu_section_new(const void *image, size_t size,
				    const struct rdu_chip *chip, uint32_t tiles,
				    struct rdu_cfg_diag *diag);
void rdu_section_free(struct rdu_section *section);

/* Bound segment: contiguous host memory. write: stores allowed. */
struct rdu_segment {
	void *ptr;
	uint64_t size; /* bytes */
	bool write;
};

/* Where a run stopped. */
struct fab_fault {
	enum rdu_fault code;
	uint32_t info;
	uint64_t addr;    /* SEGMENT, BOUNDS: byte offset in the segment */
	uint32_t program; /* unit program */
};

/* Threads that fabric work is spread over; results never depend on how many. */
struct rdu_pool;
#define RDU_POOL_MAX 256 /* threads */
/* threads: RDU_POOL_MAX at most; 0: one per CPU, as far as there is room. NULL: no memory. */
struct rdu_pool *rdu_pool_new(unsigned int threads);
void rdu_pool_free(struct rdu_pool *pool);

struct fab_run {
	const struct rdu_segment *segments; /* as many as the image says */
	const uint32_t *scalars;
	uint32_t **scratch;   /* scratch[virtual tile * pmus + pmu]: pmu_bytes each,
			       * 64-byte aligned, allocated on first touch by the owner */
	struct rdu_pool *pool; /* NULL: the caller's thread only */
	const _Atomic bool *stop; /* set by another thread: give up soon, fault WATCHDOG */
	uint64_t deadline_ns;      /* host CLOCK_MONOTONIC; 0: none */
};

/* Runs all activations. 0, or -1 and *fault; memory then holds what was stored
 * before the fault. */
int rdu_section_execute(struct rdu_section *section, const struct fab_run *run,
			struct fab_fault *fault);

/* ---- time --------------------------------------------------------------- */

struct rdu_unit_time { /* of one unit program; the four add up to the section's cycles
			 with idle = cycles - sum */
	uint64_t busy, stall_in, stall_out, stall_mem;
};

enum rdu_bound { RDU_BOUND_NONE, RDU_BOUND_COMPUTE, RDU_BOUND_PORT, RDU_BOUND_BANK,
		 RDU_BOUND_DRAM, RDU_BOUND_HOST, RDU_BOUND_TOKEN };

struct rdu_stage_time {
	uint64_t activations;
	uint64_t cycles;      /* of one activation, alone on the chip */
	uint64_t busy;        /* over the section */
	enum rdu_bound bound; /* what II is set by */
	uint32_t program;     /* the program that sets it */
};

struct rdu_section_time {
	uint64_t cycles; /* start to end */
	uint64_t dram_bytes, macs, flops;
	struct rdu_energy energy; /* but `idle`, which is of the tiles that a program holds */
	uint32_t num_programs, num_stages;
	const struct rdu_unit_time *programs;
	const struct rdu_stage_time *stages;
	const uint32_t *stage_of; /* program -> stage */
};

/* Modelled time of a section that runs alone, all its segments in card memory
 * (Documentation/timing.md). Depends on the image, the chip and the scalars only;
 * computed once and kept. The pointer lives as long as the section, or until called
 * with other scalars. trace: optional, called for every activation. */
const struct rdu_section_time *
rdu_section_time(struct rdu_section *section, const uint32_t *scalars,
		 void (*trace)(void *opaque, uint32_t stage, uint32_t activation,
			       uint64_t start, uint64_t end),
		 void *opaque);
/* As rdu_section_time(), for who has no use for a time of more than `cycles`, not 0: NULL then,
 * and *longer is true. That is found out before the section was simulated to its end. */
const struct rdu_section_time *rdu_section_time_below(struct rdu_section *section, uint64_t cycles,
						      bool *longer);
/* As rdu_section_time(), and for other processes of this user, too (Documentation/timing.md). */
const struct rdu_section_time *rdu_section_time_stored(struct rdu_section *section);

/* ---- time of loads (timing_load.c) ---------------------------------------- */

/* The section that runs while the next one's program is loaded into the other configuration
 * plane. cycles 0: none does. */
struct rdu_load_under {
	uint64_t cycles, dram_bytes;
};
/* Cycles by which loading an image makes a run longer. All of it if nothing runs (under NULL) or
 * there is one plane; else what of it shows behind the section, and the switch. */
uint64_t rdu_pload_cycles(const struct rdu_chip *chip, uint64_t image_size,
			  const struct rdu_load_under *under);
uint64_t rdu_aload_cycles(const struct rdu_chip *chip, uint32_t segments);

/* What is in the configuration planes of tiles that are used together. */
struct rdu_planes {
	struct rdu_plane {
		void *program; /* whatever tells programs apart; NULL: nothing is there */
		uint32_t section;
	} used, other; /* other: empty if the chip has one plane */
};
struct rdu_load {
	uint64_t cycles; /* as rdu_pload_cycles() counts them */
	uint64_t bytes;  /* of the image, 0: it was in a plane already */
};
/* Makes a section the one in use: it is loaded, if no plane has it. */
struct rdu_load rdu_planes_load(const struct rdu_chip *chip, struct rdu_planes *planes,
				void *program, uint32_t section, uint64_t image_size,
				const struct rdu_load_under *under);

#endif
