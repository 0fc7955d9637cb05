/* SPDX-License-Identifier: MIT */
/* What the parts of the cycle-by-cycle simulator share. */
#ifndef CYCLE_PRIV_H
#define CYCLE_PRIV_H

#include "cycle.h"

/* One consumer's end of a stream: vectors on the way and in its FIFO, in order. */
struct stream_end {
	uint32_t room, num, head; /* vectors */
	uint64_t delay; /* cycles on the wires */
	uint64_t *arrival; /* cycle in which one can be popped */
	uint32_t *data; /* room x lanes words */
};

/* An activation that has begun and not ended: what it still waits for. */
struct open_activation {
	uint64_t number;
	uint64_t pending; /* requests not done */
	uint64_t end; /* no sooner than this cycle */
	bool issued; /* all of its iterations have fired */
};

#define OPEN_ACTIVATIONS 64
#define CYCLE_WRITE (1ull << 63)
#define NO_REQUEST 0xffffffffu

/* A vector of a LOAD that waits for its bursts. */
struct waiting_vector {
	uint32_t pending; /* bursts */
	uint64_t activation;
	bool push; /* its output port's mask is at last */
	uint32_t *data;
};

struct unit_program {
	const struct rdu_unit_prog *p;
	uint32_t index;
	/* where it is */
	uint64_t activation, iteration;
	uint64_t at[RDU_MAX_COUNTERS]; /* position of each counter */
	bool started; /* the activation has its tokens */
	uint64_t flips;
	struct open_activation open[OPEN_ACTIVATIONS];
	uint32_t num_open, first_open;
	uint64_t ended;
	/* ports */
	struct stream_end *in[RDU_MAX_PORTS];
	uint32_t *held[RDU_MAX_PORTS];
	uint64_t out_free[RDU_MAX_PORTS]; /* cycle from which the port pushes again */
	uint64_t busy_until;
	uint64_t fired;
	/* bodies */
	uint32_t *reg, *acc; /* SIMD: reg[r][lane], acc[stage][lane]; systolic: acc[col][lane] */
	uint32_t *kept; /* PACK_VEC: what came of the group so far */
	uint32_t *index_kept; /* and its first index vector */
	uint64_t latency;
	/* AGCU */
	uint64_t *line; /* agcu_lines of them */
	uint32_t *line_state; /* LOAD: the request that brings it; STORE: bytes */
	uint32_t room_lines, num_lines, next_line; /* next_line: the oldest, when all are in use */
	/* bursts of the vector that is being issued, CYCLE_WRITE added to those written */
	uint64_t todo[4 * RDU_MAX_LANES];
	uint32_t num_todo, at_todo;
	bool issuing;
	struct waiting_vector *waiting; /* ring of agcu_vectors */
	uint32_t room_waiting, first_waiting, num_waiting;
};

/* A burst that was asked for. */
struct burst_request {
	struct unit_program *who;
	bool used;
	uint64_t activation; /* STORE */
	uint64_t *waiting; /* LOAD: bit i: vector i of the ring waits for it */
};

struct agcu {
	uint32_t outstanding;
	uint32_t turn; /* whose turn it is, by position in `program` */
	uint32_t *program, num;
	struct burst_request *request; /* agcu_requests of them */
};

struct pmu_side {
	uint64_t busy_until;
	uint32_t turn, *program, num;
};

struct cycle_sim {
	const struct rdu_section *s;
	const struct cycle_setup *setup;
	struct cycle_memory *memory;
	uint64_t now;
	uint32_t lanes;
	struct unit_program *prog;
	uint32_t num_progs;
	struct stream_end *ends; /* by destination, as the image's table */
	uint64_t *tokens; /* by edge: those there; */
	struct {
		uint64_t at;
		uint32_t edge;
	} * flying; /* those on their way */
	uint32_t num_flying, room_flying;
	struct pmu_side *side; /* reads and writes of each PMU */
	uint32_t num_sides;
	struct agcu *agcu;
	uint32_t num_agcus, agcu_turn;
	bool progress;
	char *error;
	size_t error_size;
};

/* cycle_units.c: what a program does when it fires; false: it cannot, this cycle. */
bool cycle_fire_pcu(struct cycle_sim *m, struct unit_program *u);
bool cycle_fire_pmu(struct cycle_sim *m, struct unit_program *u, struct pmu_side *side);
/* cycle_agcu.c: a cycle of an AGCU; vectors that have come go out. */
void cycle_step_agcu(struct cycle_sim *m, struct agcu *a);

/* cycle.c */
bool cycle_may_start(struct cycle_sim *m, struct unit_program *u);
bool cycle_inputs_there(const struct cycle_sim *m, const struct unit_program *u);
void cycle_pop_inputs(struct cycle_sim *m, struct unit_program *u);
bool cycle_room(const struct cycle_sim *m, const struct unit_program *u, unsigned int port,
		uint32_t vectors);
void cycle_push(struct cycle_sim *m, struct unit_program *u, unsigned int port, uint64_t at,
		const uint32_t *data);
bool cycle_at_first(const struct unit_program *u, uint32_t mask);
bool cycle_at_last(const struct unit_program *u, uint32_t mask);
/* The iteration has fired; what it does is complete in cycle `end`. */
void cycle_advance(struct cycle_sim *m, struct unit_program *u, uint64_t end);
int64_t cycle_counter(const struct unit_program *u, unsigned int c);
void cycle_fail(struct cycle_sim *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Element addresses of the lanes for which the predicates hold; lane[i]: which. */
uint32_t cycle_addresses(const struct cycle_sim *m, const struct unit_program *u, uint32_t lanes,
			 const uint32_t *index, int64_t *address, uint32_t *lane);

#endif
