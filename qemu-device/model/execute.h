/* SPDX-License-Identifier: MIT */
/*
 * How a section runs.
 *
 * Plan (translate.c), made once. A stage's graph is cut at the output of its
 * *sources* (source.c: READ and LOAD programs without an index stream, and what
 * only brings READ programs together; they depend on nothing but memory), so that
 * every consumer makes the vectors it needs by itself. What stays joined is an
 * *island*: in one activation it reads memory nobody writes meanwhile and is a
 * task for any thread.
 *
 * Run (execute.c). A stage starts its next activation as soon as its tokens are
 * there, and any thread takes its islands. In an island (island.c) nodes pass
 * chunks of vectors through FIFOs that stay in the cache and belong to the thread;
 * one that only copies words needs none of that (transfer.c).
 * access.c reads and writes memory by affine patterns, simd.c and systolic.c are
 * the bodies.
 */
#ifndef RDU_EXECUTE_H
#define RDU_EXECUTE_H

#include <stdatomic.h>
#include "fabric_priv.h"
#include "kernels.h"

#define CHUNK_WORDS 2048 /* words of an operand in one kernel call */
#define NO_FIFO 0xffffffffu
#define RDU_OFFSET_BUCKETS 64
#define RDU_MAX_BESIDE 4 /* drains that are one call of a kernel */

/* ---- plan ------------------------------------------------------------- */

/* When, in firings G = activation * iterations + iteration, a mask holds; NULL: at each. */
struct firing_mask {
	uint32_t num;
	/* counters of the mask; those next to each other are one */
	uint64_t period[(RDU_MAX_COUNTERS + 1) / 2], trip[(RDU_MAX_COUNTERS + 1) / 2];
};

struct access_loop {
	uint64_t trip;
	int64_t stride; /* elements an iteration moves on */
};

/* An access. What each activation looks at comes first, in one line of the caches and the loops in the next: thousands
 * of programs run once each, and the plan of none is in the caches. */
struct access_plan {
	struct rdu_vector_plan *vectors; /* NULL: it goes by its loops */
	int64_t base, lane_stride;
	uint64_t limit; /* PMU: words of the buffer; segment: elements that hold the access */
	uint32_t memory, start; /* scratchpad and the buffer's first word in it; or segment */
	uint32_t pad, program;
	uint8_t flags, pack, copies, copy_start; /* as in the image */
	bool pmu : 1, store : 1, inside : 1; /* inside: the buffer always holds it */
	uint8_t format; /* of an element there */
	uint8_t elem; /* bytes of it */
	uint8_t words; /* elements of a vector */
	uint8_t num_preds, num_outer;
	uint8_t num; /* inner loops, merged; at least one */
	struct access_loop loop[RDU_MAX_COUNTERS + 1]; /* the inner ones, then num_outer others */
	const struct rdu_cfg_access *cfg;
	int64_t min, max; /* affine range over the whole section, from the base */
	struct rdu_pattern flips; /* PMU: when the copy changes */
	struct {
		int64_t base, lo, hi, lane_stride;
	} pred[RDU_MAX_PREDS];
	int64_t outer_pred[RDU_MAX_PREDS][RDU_MAX_COUNTERS];
	int64_t pred_stride[RDU_MAX_PREDS][RDU_MAX_COUNTERS];
} __attribute__((aligned(64)));
_Static_assert(offsetof(struct access_plan, loop) == 64, "the loops begin a line");
_Static_assert(RDU_MAX_COPIES <= UINT8_MAX, "copies are bytes");

static inline const struct access_loop *rdu_outer_loops(const struct access_plan *a)
{
	return a->loop + a->num;
}

enum source_kind { SRC_NONE, SRC_REG, SRC_IN, SRC_IN_LANE, SRC_COUNTER, SRC_CONST, SRC_ACC };

struct op_source {
	uint8_t kind, index, lane;
	uint32_t slot; /* CONST: which; IN_LANE, COUNTER: which expansion */
};

struct op_plan {
	const struct firing_mask *mask; /* when the accumulator restarts */
	uint32_t acc_slot; /* vector in the program's state */
	uint32_t init;
	struct op_source src[3];
	int32_t shift;
	uint8_t op, dst, acc; /* acc: 0 none, 1 by kernel, 2 vector by vector */
};

struct simd_const {
	uint8_t kind; /* RDU_OPD_IMM, ARG or LANE */
	uint32_t value;
};

struct simd_plan {
	uint32_t num_ops, num_consts;
	uint32_t num_dense; /* operations before the first that may run on pushes only */
	bool sparse; /* the rest does */
	uint32_t kept; /* registers that the rest and the pushes read: a bit each */
	uint32_t num_accs;
	struct simd_const *konst; /* after the operations */
	struct op_plan op[];
};

/* One operand of an array, made by the array itself instead of a FIFO. */
struct direct_operand {
	uint32_t source; /* program */
	bool in_place; /* used where it is; else K steps are brought together at a time */
	uint32_t words; /* of its vectors, that the array looks at */
	const ptrdiff_t *at; /* K offsets, if not both operands are in place and evenly spaced */
	int64_t step;
	struct access_plan tile; /* in place: loops of the source that are not the contraction */
	uint64_t slots; /* copies kept: one for each distinct tile, or 1 */
	uint32_t num_loops; /* of the source that are not the contraction, innermost first: */
	struct {
		uint64_t trip, slots; /* and the copies an iteration is on */
	} loop[RDU_MAX_COUNTERS];
};

struct systolic_plan {
	uint64_t steps; /* of a drain, if k is the innermost counters; else 0 */
	bool direct; /* both operands */
	bool fp32; /* SIMD stages that do what an array does, in fp32 */
	uint32_t mode, cols, flags; /* as in the body */
	uint32_t beside; /* drains after one another, of one row and columns next to each other */
	const struct firing_mask *k, *init;
	struct direct_operand operand[2];
	/* fp32: register j restarts at restart[j]; row word j is in lane row_lane + j * row_step. */
	uint32_t row_lane, row_step, restart[RDU_MAX_STAGES];
};

/* XOR of what READ programs push: source.c. */
struct merge_plan {
	uint32_t num;
	uint32_t value; /* where no predicate holds */
	struct rdu_vector_plan *vectors; /* NULL: by XOR */
	uint32_t leaf[]; /* the READ programs */
};

struct program_plan {
	const struct rdu_unit_prog *prog;
	struct simd_plan *simd; /* SIMD, and the tail of a systolic body */
	struct systolic_plan *sys;
	struct merge_plan *merge; /* a SIMD program that is a source; it has no other plan */
	uint32_t index;
	uint32_t state; /* first word of what it keeps between activations */
	const struct firing_mask *in_mask[RDU_MAX_PORTS], *out_mask[RDU_MAX_PORTS];
	struct access_plan access;
};

/* A program in its island, with all of it that is looked at to start and to pass vectors on. */
struct island_node {
	const struct program_plan *plan;
	uint64_t iterations;
	uint32_t program;
	uint8_t kind, num_in, num_out;
	bool masked, merge; /* some port is; see program_plan */
	uint8_t reader[RDU_MAX_PORTS]; /* of FIFO in[] */
	uint8_t reg[RDU_MAX_PORTS], count[RDU_MAX_PORTS]; /* PCU: registers that go out */
	uint32_t in[RDU_MAX_PORTS], out[RDU_MAX_PORTS]; /* FIFOs of the island */
};

struct island_fifo {
	uint32_t room; /* vectors: no more than an activation's */
	uint8_t readers;
};

struct island {
	uint32_t stage;
	uint32_t num_nodes, num_fifos;
	uint32_t num_readers; /* of all FIFOs */
	uint32_t most; /* firings of a node that are run at a time */
	struct island_node *nodes; /* producers first */
	struct island_fifo *fifos; /* behind the nodes, in the same block */
	uint64_t cost; /* vectors moved, about */
	bool serial; /* shares memory with another island: not beside it */
	struct transfer_plan *transfer; /* it only copies words; NULL: it does more */
};

struct run_state;

struct rdu_plan {
	const struct rdu_kernels *kernels;
	uint32_t lanes, chunk; /* vectors of CHUNK_WORDS */
	struct program_plan *programs;
	uint32_t num_programs;
	struct firing_mask *masks;
	uint32_t num_masks;
	struct island *islands; /* by stage */
	uint32_t num_islands;
	uint32_t *first_island; /* of each stage, and the end */
	uint32_t *turning, *first_turning; /* programs whose copy changes, likewise */
	uint32_t state_words;
	struct offset_table *offsets[RDU_OFFSET_BUCKETS];
	uintptr_t *lines; /* of the caches, that a run looks at: fetch.c */
	size_t num_lines;
};

/* The plan's own copy of a table of offsets, the same for the same offsets; NULL: no memory. */
const ptrdiff_t *rdu_plan_offsets(struct rdu_plan *plan, const ptrdiff_t *at, uint64_t num);
void rdu_plan_offsets_free(struct rdu_plan *plan);
/* Finds the lines that a run looks at, when all else is planned; asks for them. */
int rdu_plan_find_lines(struct rdu_plan *plan, const struct rdu_section *s);
void rdu_plan_fetch(const struct rdu_plan *plan);
/* Plans tables for merges and memory programs that gain by them, as far as there is room. */
int rdu_plan_vectors(struct rdu_plan *plan);
/* Marks islands that may store to what another one loads or stores. */
int rdu_plan_conflicts(struct rdu_plan *plan, const struct rdu_section *s);
struct rdu_plan *rdu_plan_new(const struct rdu_section *section);
const struct firing_mask *rdu_plan_mask(struct rdu_plan *plan, const struct rdu_unit_prog *p,
					uint32_t mask);
/* Plans a SIMD program as a merge, if it is one; those that it takes from come first. */
int rdu_plan_merge(struct rdu_plan *plan, const struct rdu_section *s, uint32_t program);
bool rdu_is_source(const struct rdu_plan *plan, const struct rdu_section *s, uint32_t program);
int rdu_plan_simd(struct rdu_plan *plan, struct program_plan *pp);
/* Plans a SIMD body as a contraction, if it is one. */
int rdu_plan_contraction(struct rdu_plan *plan, const struct rdu_section *s,
			 struct program_plan *pp);
int rdu_plan_systolic(struct rdu_plan *plan, const struct rdu_section *s, struct program_plan *pp);

/* ---- transfers ---------------------------------------------------------- */

/* Plans an island of which all that it does is to copy words (transfer.c). */
int rdu_plan_transfer(struct rdu_plan *plan, const struct rdu_section *s, struct island *il);
/* Bytes of the plan that are in use. */
size_t rdu_transfer_size(const struct transfer_plan *t);
/* One activation of such an island. False: it has to be run as any other. */
bool rdu_transfer_run(struct run_state *st, const struct island *il, uint64_t activation,
		      struct fab_fault *fault);

/* ---- memory access ------------------------------------------------------ */

/* Where vectors are: parts first[i] to first[i + 1] are vector i (vectors.c). */
struct vector_table {
	uint32_t *first;
	struct vector_part *part;
	struct {
		int64_t lo, hi; /* lo <= words < hi, from the start */
	} * reach; /* of each leaf */
};

struct vectors_run {
	const struct vector_table *table; /* NULL: none yet, or none at all; go by loops */
	uint64_t first, num, pos; /* of the activation; next of its vectors */
};

/* True: the table counts from the access's base and not from where the activation starts. */
bool rdu_vectors_start(struct vectors_run *r, struct rdu_vector_plan *v, uint64_t activation);
/* Is all that a leaf touches inside of `limit` words, when it starts at word `start` of them? */
bool rdu_vectors_inside(const struct vectors_run *r, uint32_t leaf, int64_t start, uint64_t limit);
/* The next n vectors; after the last comes the first. start: of each leaf. a: one of them. */
void rdu_vectors_read(struct vectors_run *r, const struct access_plan *a,
		      const struct rdu_kernels *k, size_t lanes, size_t n, uint32_t *out,
		      const void *const *start, uint32_t value);
/* Where the next n vectors are, in words from `copy`; there if their first `words` lanes are not
 * together in memory. */
void rdu_vectors_find(struct vectors_run *r, const struct rdu_kernels *k, size_t lanes,
		      size_t words, size_t n, uint32_t *copy, ptrdiff_t *at,
		      const void *const *start, uint32_t value);
void rdu_vectors_write(struct vectors_run *r, const struct access_plan *a,
		       const struct rdu_kernels *k, size_t pitch, size_t n, unsigned char *start,
		       const uint32_t *in);
void rdu_vectors_free(struct rdu_vector_plan *vectors);

struct access_run {
	const struct access_plan *plan;
	struct vectors_run vectors; /* with a table, it and `start` alone tell where it is */
	void *start;
	unsigned char *ptr;
	uint64_t limit; /* elements */
	bool check;
	bool word; /* elements are words, and aligned */
	int64_t addr, pred[RDU_MAX_PREDS];
	uint64_t at[RDU_MAX_COUNTERS];
	struct fab_fault *fault;
};

/* Where the access begins in an activation, and its memory; false and a fault if that is not there
 * or not writable. copy: of the buffer. */
bool rdu_access_bind(struct access_run *r, const struct access_plan *plan,
		     const struct fab_run *run, uint64_t activation, uint32_t copy,
		     struct fab_fault *fault);
/* The same, and the table of its vectors. */
bool rdu_access_start(struct access_run *r, const struct access_plan *plan,
		      const struct fab_run *run, uint64_t activation, uint32_t copy,
		      struct fab_fault *fault);
/* To vector `n` of the activation. */
void rdu_access_seek(struct access_run *r, uint64_t n);
/* To the start of an activation, without memory. For tables: skips vectors among the next n that have no live lane for sure, the number of them;
 * the live lanes of the next vector; past it. */
void rdu_access_place(struct access_run *r, const struct access_plan *plan, uint64_t activation);
uint64_t rdu_access_skip_dead(struct access_run *r, uint64_t n);
void rdu_access_live(const struct access_run *r, int64_t *from, int64_t *to);
void rdu_access_next(struct access_run *r);
/* Reads n vectors of `lanes` words; index: n index vectors of a gather. */
bool rdu_access_read(struct access_run *r, const struct rdu_kernels *k, size_t lanes, size_t n,
		     uint32_t *out, const uint32_t *index);
/* XORs the next n vectors, and the pad, with out, in the lanes where the predicates hold.
 * For READ programs without an index. */
bool rdu_access_xor(struct access_run *r, const struct rdu_kernels *k, size_t lanes, size_t n,
		    uint32_t *out);
/* Writes n vectors that are `pitch` words apart. */
bool rdu_access_write(struct access_run *r, const struct rdu_kernels *k, size_t pitch, size_t lanes,
		      size_t n, const uint32_t *in, const uint32_t *index);

/* A source that runs. */
struct source_run {
	struct vectors_run vectors;
	const void **start; /* of each leaf */
	const struct merge_plan *merge; /* NULL: one access */
	struct access_run one, *leaf;
};

/* ---- a run ---------------------------------------------------------------- */

/* Memory of one thread, used again for every island. */
struct arena {
	unsigned char *base;
	size_t size, used;
	void *more; /* blocks that did not fit; freed at reset */
	size_t wanted;
};

void *rdu_arena_get(struct arena *a, size_t size); /* 64-byte aligned, not cleared; NULL */
void rdu_arena_reset(struct arena *a);
void rdu_arena_free(struct arena *a);

struct run_state {
	const struct rdu_section *section;
	const struct rdu_plan *plan;
	const struct fab_run *run;
	uint64_t *count, *done; /* tokens */
	uint32_t *copy; /* program -> copies flipped */
	uint32_t *words; /* programs' own state */
};

struct fifo {
	uint32_t *data;
	uint64_t start, end; /* vectors: those kept are start <= i < end */
	uint64_t *rd; /* next vector of each reader */
	uint32_t readers;
	size_t room; /* vectors */
};

struct node {
	const struct island_node *in;
	const struct program_plan *plan;
	uint64_t pos, total, first; /* firing, firings, number of the activation's first */
	union {
		struct access_run access; /* of a memory program */
		struct source_run source; /* of a merge */
		struct source_run tile[2]; /* of an array */
	};
	uint32_t *held[RDU_MAX_PORTS];
	uint32_t **consts;
	uint32_t *state;
	uint32_t *acc; /* systolic: cols vectors */
	uint32_t *packed[2]; /* copies of operands, by slot ... */
	ptrdiff_t *packed_at[2]; /* ... where each of its vectors is, from the copy */
	uint64_t *packed_ok[2]; /* ... 1 + which tile is in it */
	uint64_t slots[2];
};

struct island_run {
	struct run_state *st;
	const struct rdu_plan *plan;
	const struct island *island;
	struct arena *arena;
	struct node *nodes;
	struct fifo *fifos;
	struct fab_fault *fault;
	/* Work space of the node that runs. */
	uint32_t *reg[16], *port[RDU_MAX_PORTS], *extra[12];
	uint32_t extra_words, reg_words;
	uint8_t *flags[2];
	uint32_t polls;
	bool flush; /* chunks need not be full */
};

/* Sets up a source's vectors for an activation, goes to vector `n`, reads the next n. */
bool rdu_source_start(struct source_run *r, struct island_run *ir, uint32_t program,
		      uint64_t activation);
void rdu_source_seek(struct source_run *r, uint64_t n);
bool rdu_source_read(struct source_run *r, const struct rdu_kernels *k, size_t lanes, size_t n,
		     uint32_t *out);
/* The same, but vectors of which a table says that their first `words` lanes are together in a
 * scratchpad stay where they are: at[i] words from `out` is vector i. */
bool rdu_source_find(struct source_run *r, const struct rdu_kernels *k, size_t lanes, size_t words,
		     size_t n, uint32_t *out, ptrdiff_t *at);

/* Runs one activation of an island. False and *fault on trouble. */
bool rdu_island_run(struct run_state *st, const struct island *island, uint64_t activation,
		    struct arena *arena, struct fab_fault *fault);

/* A node's body: runs up to n firings whose input is there; the number run, or
 * -1 on a fault. */
int64_t rdu_simd_run(struct island_run *ir, struct node *node, size_t n);
int64_t rdu_systolic_run(struct island_run *ir, struct node *node, size_t n);
bool rdu_simd_start(struct island_run *ir, struct node *node);
bool rdu_systolic_start(struct island_run *ir, struct node *node, uint64_t activation);
/* The operations of a SIMD body or tail on n vectors in reg[], port[]. */
void rdu_simd_ops(struct island_run *ir, struct node *node, uint32_t from, uint32_t to, size_t n,
		  uint64_t firing, const uint32_t *const *port);

/* FIFO ends. space: room for n more vectors, NULL without memory; push: n of them
 * are there. */
static inline size_t rdu_fifo_avail(const struct fifo *f, uint32_t reader)
{
	return (size_t)(f->end - f->rd[reader]);
}

static inline const uint32_t *rdu_fifo_read(const struct fifo *f, uint32_t reader, uint32_t lanes)
{
	return f->data + (f->rd[reader] - f->start) * lanes;
}

static inline void rdu_fifo_pop(struct fifo *f, uint32_t reader, size_t n)
{
	f->rd[reader] += n;
}

static inline void rdu_fifo_push(struct fifo *f, size_t n)
{
	f->end += n;
}

uint32_t *rdu_fifo_space(struct island_run *ir, struct fifo *f, size_t n);

/* When a port takes or gives a vector; NULL: each time. */
static inline const struct firing_mask *rdu_in_mask(const struct node *node, uint32_t port)
{
	return node->in->masked ? node->plan->in_mask[port] : NULL;
}

static inline const struct firing_mask *rdu_out_mask(const struct node *node, uint32_t port)
{
	return node->in->masked ? node->plan->out_mask[port] : NULL;
}

/* Input port `port` of a node for its next n firings, held vectors repeated, in
 * the FIFO itself or in buf; taken out of the FIFO. ready: how many of n
 * firings have their input. */
size_t rdu_port_ready(struct island_run *ir, struct node *node, uint32_t port, size_t n);
const uint32_t *rdu_port_take(struct island_run *ir, struct node *node, uint32_t port, size_t n,
			      uint32_t *buf);

/* flags[i] = mask holds at firing first + i. */
void rdu_mask_flags(const struct firing_mask *m, uint64_t firing, size_t n, bool last,
		    uint8_t *flags);
bool rdu_mask_at(const struct firing_mask *m, uint64_t firing, bool last);
bool rdu_trouble(struct fab_fault *fault, enum rdu_fault code, uint32_t program, uint64_t addr);
/* Can any word be an element of the format, and any element a word? */
bool rdu_format_holds_all(unsigned int format);
/* Which of n words is an integer that the format does not hold; n: none. */
size_t rdu_first_misfit(unsigned int format, size_t n, const uint32_t *in);

/* ---- threads ---------------------------------------------------------------- */

/* An arena for a caller of rdu_pool_run(), one that was used before if there is one, NULL: no
 * memory; and back. Pages that are there already are most of what an arena costs. */
struct arena *rdu_pool_arena(struct rdu_pool *pool);
void rdu_pool_arena_back(struct rdu_pool *pool, struct arena *arena);

/* In a loop that waits for another thread. */
static inline void rdu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

/* The caller of rdu_pool_run() among them; 1 if the pool is NULL. */
uint32_t rdu_pool_threads(const struct rdu_pool *pool);
/* Calls fn(arg, task, arena of the thread) for each task < n; returns when all
 * are done. The calling thread works too, with its own arena; alone if the pool
 * is NULL or busy for somebody else. */
void rdu_pool_run(struct rdu_pool *pool, uint32_t n,
		  void (*fn)(void *arg, uint32_t task, struct arena *arena), void *arg,
		  struct arena *own);

#endif
