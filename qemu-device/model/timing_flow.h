/* SPDX-License-Identifier: MIT */
/*
 * A section in modelled time, as a network of unit programs (timing_flow.c) whose
 * vectors, room and tokens carry the cycle in which they are there. A program goes on
 * as far as what it knows of its neighbours allows, so a firing costs a few comparisons
 * and no event. Only what is shared is kept in step, by going from window to window:
 * off-chip memory, and the turns that programs of one AGCU or one PMU side take.
 */
#ifndef RDU_TIMING_FLOW_H
#define RDU_TIMING_FLOW_H

#include "timing_priv.h"

#define OPEN_ACTIVATIONS 64 /* of one program, begun and not ended: assumed */
#define SLOTS 1024 /* cycles of a shared unit that are kept account of */
#define FLOW_NEVER UINT64_MAX
#define SAME 0.015 /* paces that differ by less are the same; */
#define LOOSE 0.05 /* these are, when LOOSE_STEPS were taken */
#define LOOSE_STEPS 5e5

/* What a program waits for, and so what a cycle it stands still counts as. */
enum flow_wait { WAIT_NONE, WAIT_IN, WAIT_OUT, WAIT_MEM };

/* What it can't know yet: when one of these moves, it is looked at again. */
enum flow_block { BLOCK_NOT, BLOCK_TOKEN, BLOCK_INPUT, BLOCK_ROOM, BLOCK_MEMORY };

/* An affine function of the counters, kept as they step. */
struct flow_affine {
	int64_t value, step[RDU_MAX_COUNTERS], back[RDU_MAX_COUNTERS];
};

struct flow_stream {
	uint64_t pushed; /* vectors */
	uint64_t *at; /* ring: cycle in which vector i leaves the producer */
	uint32_t mask; /* of the ring */
	uint32_t producer;
	uint32_t first_dest, num_dests;
};

struct flow_dest {
	struct flow_stream *stream;
	uint64_t popped;
	uint64_t *at; /* ring: cycle in which vector i was popped */
	uint32_t mask, room; /* vectors on the way and in the FIFO */
	uint32_t delay; /* cycles on the wires */
	uint32_t program, port;
};

/* Tokens of an edge, in the order they come. */
struct flow_tokens {
	uint64_t initial; /* of them left: there from the start */
	uint64_t *at; /* ring */
	uint32_t first, num, size;
	uint32_t src, dst, src_mask, dst_mask, delay;
};

struct flow_open {
	uint64_t end; /* no sooner */
	uint32_t pending; /* LOAD: vectors to deliver; STORE: bursts to be read */
	uint32_t last_bits; /* outer counters at their last value */
	uint64_t number; /* of the activation */
	bool issued;
	uint64_t start; /* if traced */
};

/* A vector of a LOAD that waits. */
struct flow_vector {
	uint64_t ready; /* no sooner */
	uint32_t pending; /* bursts that nobody knows the time of */
	bool push, memory; /* goes out; waits for memory */
};

struct flow_line {
	uint64_t burst;
	uint32_t request, generation; /* LOAD: that brings it */
	uint32_t bytes; /* STORE: written in it */
};

/* What only programs of AGCUs have. */
struct flow_access {
	struct flow_line line[RDU_MAX_AGCU_LINES];
	unsigned int num_lines, next_line;
	uint8_t count[256], last[256]; /* lines of a bucket, and the newest of them */
	uint64_t todo[4 * RDU_MAX_LANES + 64];
	unsigned int num_todo, at_todo;
	bool under_way; /* a vector whose bursts are not all asked for */
	struct flow_vector *vector; /* ring of agcu_vectors */
	uint64_t *delivered_at; /* the same */
	uint64_t issued, delivered; /* vectors */
	unsigned int issue_place, deliver_place; /* of the next of them in both rings */
	uint64_t deliver_free;
	bool delivered_late; /* the last one waited for memory */
	struct flow_open open[OPEN_ACTIVATIONS];
	uint64_t ended_at[OPEN_ACTIVATIONS]; /* of activation i % OPEN_ACTIVATIONS */
	uint64_t base; /* bytes: of the segment */
	bool in_host; /* the segment lies in host memory */
	unsigned int element;
};

struct flow_port {
	uint32_t mask, count, reg, index; /* index: destination (in) or stream (out) */
	uint64_t free; /* out: the port pushes again */
};

struct flow_prog {
	const struct rdu_unit_prog *p;
	uint32_t index, actor;
	uint8_t kind, num_counters, num_outer, num_in, num_out;
	uint8_t k_mask; /* systolic: counters that go through the terms of a sum */
	bool started;
	bool banks_vary; /* with the lanes that are active */
	struct flow_member *member;
	enum flow_block block;
	uint32_t wait_input, wait_room; /* destinations: for their vectors, for room in them */
	uint32_t first_bits, last_bits; /* counters at their first, last value */
	uint64_t activations; /* to be run through: without those left out */
	uint64_t activation, iteration, iterations;
	uint64_t free; /* the unit is */
	enum flow_wait why;
	uint64_t end; /* of the activation under way, no sooner */
	uint64_t number; /* of the activation under way, those left out counted */
	uint64_t ended, last_end;
	uint32_t latency, bank;
	uint64_t skipped; /* cycles left out that are in spent[] */
	uint64_t spent[4]; /* cycles by enum flow_wait; WAIT_NONE: busy */
	struct flow_access *access;
	uint32_t trip[RDU_MAX_COUNTERS], at[RDU_MAX_COUNTERS];
	struct flow_port in[RDU_MAX_PORTS], out[RDU_MAX_PORTS];
	uint32_t first_in_edge, num_in_edges, first_out_edge, num_out_edges;
	uint64_t start; /* of the activation under way */
	uint64_t spent_at_mark[4], spent_alone[4];
	uint64_t fired[2], fired_alone; /* at the marks before the newest, at that; alone */
	struct flow_affine base, pred[RDU_MAX_PREDS];
};

struct flow_request {
	uint32_t program, generation;
	uint64_t at; /* FLOW_NEVER: not known yet */
	uint32_t activation; /* STORE: in open[] */
	uint64_t *waiting; /* LOAD: bit i: vector i of the ring waits for it */
	bool used;
};

/* What an actor looks at, of each of its programs, to see who is next. */
struct flow_member {
	uint64_t ready; /* it can fire, unless blocked or dirty */
	uint64_t deliver; /* LOAD: when to look at the oldest vector again */
	uint32_t program;
	bool dirty; /* something that it waited for has come */
	bool deliver_room; /* LOAD: the oldest vector waits for room */
};

/* A PCU program, a PMU's read or write side, or an AGCU, with its programs. */
struct flow_actor {
	struct flow_member *member;
	const struct flow_prog *first; /* of its programs */
	uint32_t num;
	uint32_t turn;
	uint64_t *slot; /* shared: slot[t % SLOTS] == t + 1: taken */
	bool agcu, queued;
	uint64_t wake;
	/* AGCU */
	struct flow_request *request;
	uint32_t outstanding;
	uint64_t *waiting; /* of all its requests */
	uint32_t *coming, num_coming; /* requests whose time is known, soonest first */
	uint32_t spare; /* where to look for an unused request */
};

struct flow {
	const struct rdu_section *s;
	const struct rdu_costs *costs;
	const struct rdu_offchip *off;
	struct rdu_memory *memory;
	struct flow_prog *prog;
	struct flow_access *access;
	struct flow_stream *stream;
	struct flow_dest *dest;
	struct flow_tokens *edge;
	uint32_t *in_edge, *out_edge; /* by program */
	struct flow_actor *actor;
	struct flow_member *member;
	uint32_t num_actors, *queue, first_queued, num_queued;
	uint64_t *timed; /* bit by actor: it wakes up in cycle `wake` */
	uint64_t *ring; /* all streams' cycles */
	struct flow_vector *vectors; /* all LOADs' */
	uint64_t *delivered;
	uint32_t agcu_turn; /* AGCU that finds room in a channel's queue first */
	uint32_t first_agcu, num_agcus; /* of the actors */
	uint64_t now, limit; /* the window */
	uint64_t last; /* the latest end of an activation */
	uint32_t left; /* programs that have not ended */
	unsigned int window, burst_shift, agcu_rate; /* bursts an AGCU asks for in a cycle */
	uint64_t work; /* steps taken */
	uint32_t begun; /* programs that have */
	double same; /* by now, paces that differ by less are the same */
	uint64_t events, *stage_events; /* activations begun and ended: all, by stage */
	uint64_t alone_until; /* a stage was moved on to this cycle, alone */
	uint64_t bursts; /* asked for */
	uint64_t skipped; /* cycles left out: add by rdu_flow_skip() */
	struct flow_skip *skip;
	struct flow_parts *parts;
	struct flow_trend *trend;
	bool failed, too_long;
	bool too_slow; /* it cannot end within the cycles it may take */
	void (*activation)(void *opaque, uint32_t program, uint64_t activation, uint64_t start,
			   uint64_t end);
	void *opaque;
};

/* 0, or -1: no memory. */
int rdu_flow_new(struct flow *f, const struct rdu_section *s, const struct rdu_costs *costs,
		 const struct rdu_offchip *off);
void rdu_flow_free(struct flow *f);
/* Goes to the end; cycles. */
void rdu_flow_run(struct flow *f, const struct rdu_patience *patience);

/* What timing_flow.c and timing_agcu.c share. */
void rdu_flow_queue(struct flow *f, uint32_t actor);
void rdu_flow_wake(struct flow *f, uint32_t actor, uint64_t at);
void rdu_flow_step(struct flow_prog *p);
bool rdu_flow_tokens_ready(const struct flow *f, const struct flow_prog *p, uint64_t *at,
			   enum flow_wait *why);
bool rdu_flow_inputs_ready(const struct flow *f, struct flow_prog *p, uint64_t *at,
			   enum flow_wait *why);
bool rdu_flow_room(const struct flow *f, struct flow_prog *p, uint32_t stream, uint32_t vectors,
		   uint64_t *at);
void rdu_flow_start(struct flow *f, struct flow_prog *p, uint64_t at);
void rdu_flow_pop(struct flow *f, struct flow_prog *p, uint64_t at);
/* Vectors taken now, by firings that are left out. */
void rdu_flow_take(struct flow *f, struct flow_dest *d, uint64_t vectors);
void rdu_flow_push(struct flow *f, struct flow_prog *p, uint32_t stream, uint64_t at, uint32_t n);
/* Cycles until `at` that p stood still, for `why`; then it works for `cycles`. */
void rdu_flow_account(const struct flow *f, struct flow_prog *p, uint64_t from, uint64_t at,
		      uint32_t cycles);
void rdu_flow_give(struct flow *f, struct flow_prog *p, uint64_t end, uint32_t last_bits);
uint64_t rdu_flow_slot(struct flow_actor *a, uint64_t at, uint32_t cycles);
/* Lanes [*from, *to) for which all predicates hold. */
void rdu_flow_lanes(const struct flow_prog *p, unsigned int lanes, unsigned int *from,
		    unsigned int *to);
void rdu_agcu_ready(struct flow *f, struct flow_actor *a, struct flow_prog *p);
void rdu_agcu_fire(struct flow *f, struct flow_actor *a, struct flow_prog *p);
void rdu_agcu_deliver(struct flow *f, struct flow_prog *p);
void rdu_agcu_got(void *flow, uint32_t who, uint64_t cycle);

/* The oldest token is taken. */
static inline void rdu_flow_token_take(struct flow_tokens *e)
{
	if (e->initial) {
		e->initial--;
		return;
	}
	e->first = (e->first + 1) & (e->size - 1);
	e->num--;
}

/* One comes, there from cycle `at` on; -1: no memory. */
int rdu_flow_token_put(struct flow_tokens *e, uint64_t at);
/* So many tokens more of an edge, or fewer, now; false: no memory. */
bool rdu_flow_settle(struct flow *f, struct flow_tokens *e, int64_t more);
/* Leaves out so many cycles; false: the clock does not have them. */
bool rdu_flow_skip(struct flow *f, double cycles);

/* timing_skip.c: to be called when a window has ended. */
int rdu_skip_new(struct flow *f);
void rdu_skip_free(struct flow *f);
void rdu_skip_look(struct flow *f);
uint64_t rdu_skip_gcd(uint64_t a, uint64_t b);
/* How often what a mask selects of counters [from, to) is at its first (or last) values, in the
 * first n of their steps. */
uint64_t rdu_skip_times(const struct flow_prog *p, unsigned int from, unsigned int to,
			uint32_t mask, bool last, uint64_t n);
/* Moves p on; `spent` as if it had taken `cycles`, waiting as it has since `since`. */
void rdu_skip_move(struct flow_prog *p, uint64_t activations, uint64_t iterations);
void rdu_skip_spend(struct flow_prog *p, uint64_t more, uint64_t cycles, const uint64_t *since);
/* A stage's activation consists of units, equal parts by which it can be moved on: how many it
 * has done so far, all activations played together; how many one has; how many the one under way can still go;
 * whether its streams stay as they are if it does so many. */
double rdu_skip_units(const struct flow *f, uint32_t stage);
double rdu_skip_units_of_one(const struct flow *f, uint32_t stage);
uint64_t rdu_skip_units_left(const struct flow *f, uint32_t stage);
bool rdu_skip_fits(struct flow *f, uint32_t stage, uint64_t units);
/* Moves it on, as rdu_skip_fits() allows; cycles, spent: as of rdu_skip_spend(), by program. */
void rdu_skip_stage(struct flow *f, uint32_t stage, uint64_t units, uint64_t cycles,
		    const uint64_t *spent);

/* timing_parts.c: when an activation has begun or ended; true: left something out. */
int rdu_parts_new(struct flow *f);
void rdu_parts_free(struct flow *f);
bool rdu_parts_look(struct flow *f);

/* timing_trend.c, called by timing_skip.c. True: enough was seen, the section has ended. */
int rdu_trend_new(struct flow *f);
void rdu_trend_free(struct flow *f);
bool rdu_trend_look(struct flow *f);

#endif
