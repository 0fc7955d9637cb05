/* SPDX-License-Identifier: MIT */
/*
 * The card's inside: shared by card.c (life), card_regs.c (BAR0, BAR2), queue.c
 * (workers, command decoder), mmu.c, card_mem.c (copies and fills), program.c
 * (slots, RUN), card_bind.c (segments), card_keep.c (what stays in scratchpads
 * from RUN to RUN), card_inject.c (faults on demand), card_trace.c and
 * card_state.c (saving).
 *
 * Locks. card->lock guards registers, queue states, slots and the clock; it is
 * never held while host memory is reached, an interrupt raised, a copy or an
 * execution runs. A queue's worker, or
 * the doorbell's thread in its place, is alone in touching that queue's `batch`,
 * `tlb`, `planes`, `kept`, `args`, `progress` and `run` while the queue is busy; when it
 * is quiet (not busy, or in_irq) the lock's holder may. Of a paused card all is
 * the lock's holder's: saving and loading keep the lock.
 */
#ifndef RDU_CARD_PRIV_H
#define RDU_CARD_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include "fabric.h"

#define RDU_BATCH 16 /* commands fetched at once */
#define RDU_TLB_BITS 8
#define RDU_NONE 0xffffffffu
#define RDU_SERIAL_MAX 16
/* Neither done nor failed: stopped halfway by a pause, to be carried on. */
#define RDU_SUSPENDED 1

/*
 * What a queue is doing. X(name, what may follow, meaning).
 * The move to HUNG or STUCK ends the work on the command. From QUIET straight to
 * SUSPENDED, HUNG or STUCK goes only a state that is loaded.
 */
#define CARD_WORKS(X) \
	X(QUIET, W(BUSY) | W(IRQ) | W(SUSPENDED) | W(HUNG) | W(STUCK), "no command in progress") \
	X(BUSY, W(QUIET) | W(STORING) | W(IRQ) | W(SUSPENDED) | W(HUNG) | W(STUCK), \
	  "a command is fetched or carried out, without the lock") \
	X(STORING, W(BUSY), "as BUSY, and writes back what a section stored: no pause stops it") \
	X(IRQ, W(QUIET) | W(BUSY), "raises an interrupt, without the lock, and then goes on as before") \
	X(SUSPENDED, W(BUSY) | W(QUIET), "the command in progress waits for the end of a pause") \
	X(HUNG, W(QUIET), "the command in progress never ends; the queue's reset gets rid of it") \
	X(STUCK, W(HUNG), "as HUNG, but only the card's reset gets rid of it: the queue's does not end")

enum card_work {
#define CARD_WORK_ENUM(name, next, meaning) CARD_WORK_##name,
	CARD_WORKS(CARD_WORK_ENUM)
#undef CARD_WORK_ENUM
};

/* What is asked of a queue; several at a time may be. */
enum card_request {
	CARD_REQ_RESET = 1,      /* when nobody is at work */
	CARD_REQ_DISABLE = 2,    /* when no command is in progress */
	CARD_REQ_ENABLE = 4,     /* after either of them */
	CARD_REQ_FAULT_IRQ = 8,  /* the fault's vector is still to be raised */
	CARD_REQ_OVERTIME = 16,  /* give up: a pause has waited too long */
};

/* Why a command failed. */
struct rdu_failure {
	enum rdu_fault code;
	uint32_t info;
	uint64_t addr;
	uint32_t section, program;
};

/* For PAGE and PROTECTION, `info` is RDU_FAULT_INFO_WRITE or 0, plus the level
 * of the page table where the walk ended. */

struct rdu_tlb_entry {
	uint64_t tag; /* (va >> shift) + 1; 0: empty */
	uint64_t pte;
};

struct rdu_tlb {
	uint32_t generation; /* what queue->tlb_generation was when it was filled */
	struct rdu_tlb_entry page[3][1 << RDU_TLB_BITS]; /* 4 KiB, 2 MiB, 1 GiB */
	/* The leaf table walked last: neighbouring pages need one load each. */
	uint64_t leaf_tag, leaf_table;
};

/* A stretch of device addresses that is contiguous behind the page tables. */
struct rdu_stretch {
	bool host;
	uint64_t addr; /* card memory or host address */
	uint64_t len;
};

struct card_program; /* in a slot */
struct rdu_schedule; /* a RUN in progress */

/* Argument block, checked against the program it is for. */
struct rdu_bound_args {
	struct rdu_args *block; /* NULL: none */
	uint32_t *scalars;      /* in block */
};

struct card_queue {
	struct rdu_card *card;
	unsigned int id;

	/* Registers as written; latched into `live` when the queue is enabled. */
	struct rdu_queue_config {
		uint64_t ring, cpl, pt;
		uint32_t log2, tile_first, tile_count;
	} reg, live;
	_Atomic uint64_t watchdog;
	_Atomic uint32_t watchdog_ms;

	_Atomic uint32_t status; /* enum rdu_queue_status */
	_Atomic uint32_t head, tail;
	_Atomic bool sleeping; /* the worker waits for `wake` */
	_Atomic uint32_t memory_parts; /* RDU_PARTS-ths of memory's time that its section takes */
	_Atomic uint32_t tlb_generation;

	/* card->lock */
	enum card_work work; /* changed by card_queue_move() only */
	unsigned int requests; /* enum card_request, or'ed */
	bool started; /* it has a worker */
	bool lent; /* the doorbell's thread is at work in the worker's place */
	_Atomic bool stop; /* work in progress gives up; read without the lock */
	struct rdu_failure fault;
	uint64_t fault_seq;
	uint64_t exec_cycles, pload_cycles, aload_cycles, copy_cycles;
	uint32_t latch[RDU_QUEUE_STRIDE / 4]; /* HI words, latched by reading LO */
	uint64_t time;       /* card clock at the end of this queue's last command */
	uint64_t busy_since; /* host ns; 0: idle */
	pthread_t thread;
	pthread_cond_t wake;

	/* Worker */
	struct rdu_cmd batch[RDU_BATCH];
	unsigned int batch_pos, batch_len;
	struct rdu_tlb tlb;
	struct rdu_planes planes; /* of card programs; each holds a reference */
	/* What KEEP steps brought into the scratchpads, of one program. */
	struct card_kept {
		struct card_program *program; /* holds a reference; NULL: nothing */
		uint32_t epoch;
		bool *there;      /* of each section: what it brought still is */
		uint64_t *region; /* where each region was */
	} kept;
	struct rdu_bound_args args; /* of the last ALOAD */
	uint64_t deadline_ns;       /* of the command in progress; 0: none */
	uint64_t watchdog_end;      /* command's limit in cycles; ~0: none */
	/* Cycles of the command in progress, by purpose. */
	struct rdu_spent {
		uint64_t exec, pload, aload, copy;
	} spent;
	uint64_t patience_ns; /* SUSPENDED: left until the command's deadline; 0: none */
	/* COPY and FILL: how far they are; zeros when a command begins. */
	struct rdu_progress {
		uint64_t done, dram, host; /* bytes: in all, of either memory */
		struct rdu_stretch dst, src; /* what is left of them */
	} progress;
	struct rdu_schedule *run; /* NULL: none in progress */
};

struct rdu_card {
	struct rdu_chip chip;
	unsigned char *mem;
	uint64_t mem_size;
	struct rdu_host_ops ops;
	void *opaque;
	char serial[RDU_SERIAL_MAX]; /* padded with zeros */
	bool timing_only;
	uint64_t chip_hash;
	unsigned int pmus_per_tile;
	struct rdu_pool *pool;

	unsigned char *scratch; /* all scratchpads; pages come on first touch */
	size_t scratch_size;
	uint32_t **scratch_ptr; /* [tile * pmus_per_tile + pmu] */

	pthread_mutex_t lock;
	pthread_cond_t quiet; /* a worker became quiet, a reset ended */
	_Atomic bool enabled, paused, closing;
	_Atomic bool dead; /* RDU_INJECT_DEAD or _GONE */
	_Atomic int64_t inject[RDU_NUM_INJECTS];
	bool reset_req;
	uint64_t fault_queues;
	uint64_t clock; /* cycles */
	uint32_t latch_hi;
	uint32_t ecc_ce, ecc_ue;
	uint32_t tile_owner[32]; /* queue + 1; 0: free */
	struct card_program *slot[RDU_MAX_SLOTS];
	/* What guests make the host hold: images (in a slot, on tiles, running), and
	 * buffers for segments under way. */
	_Atomic uint64_t image_bytes, bounce_bytes;

	/* Health: busy tile-nanoseconds, and what was derived from them. */
	uint64_t busy_ns, sample_ns, sample_busy;
	double load, heat;

	struct card_queue queue[RDU_MAX_QUEUES];
};

/* ---- card.c ---------------------------------------------------------------- */

uint64_t rdu_card_now(struct rdu_card *card);
void rdu_guest_error(struct rdu_card *card, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* card->lock held. */
void card_queue_move(struct card_queue *q, enum card_work work);
/* Is a thread carrying out a command of this queue? */
static inline bool card_queue_at_work(const struct card_queue *q)
{
	return q->work == CARD_WORK_BUSY || q->work == CARD_WORK_STORING;
}
/* Tells the front end, if it wants to know. */
void card_event(struct rdu_card *card, enum rdu_event event, unsigned int queue, uint64_t a,
		uint64_t b, uint64_t c, uint64_t d);
void rdu_queue_request_reset(struct card_queue *q, bool enable_after);
void rdu_queue_request_disable(struct card_queue *q);
void rdu_queue_enable(struct card_queue *q);
/* Starts its worker, unless it has one. 0, or an error number. */
int rdu_queue_start(struct card_queue *q);
void rdu_card_request_reset(struct rdu_card *card);
void rdu_queue_wake(struct card_queue *q);
/* Its tiles are busy no longer. */
void rdu_queue_rest(struct card_queue *q);
/* Carries out what was requested, if the worker is quiet. */
void rdu_queue_settle(struct card_queue *q);
void rdu_card_settle(struct rdu_card *card);
/* No worker is at work, none raises an interrupt. card->lock held. */
bool rdu_card_quiet(const struct rdu_card *card);
void rdu_card_health(struct rdu_card *card, uint32_t *millidegrees, uint32_t *milliwatts);
/* Milliseconds from now on CLOCK_MONOTONIC. */
struct timespec rdu_in_ms(unsigned int ms);

/* ---- queue.c --------------------------------------------------------------- */

void *rdu_queue_worker(void *queue);
/* The doorbell was rung. card->lock held, and let go of while commands run. */
void rdu_queue_rung(struct card_queue *q);
/* To be called now and then by anything long. False: give up (reset, watchdog). */
bool rdu_queue_continue(struct card_queue *q, struct rdu_failure *f);
/* Adds cycles to the command in progress. False and *f: beyond the watchdog. */
bool rdu_queue_spend(struct card_queue *q, uint64_t *purpose, uint64_t cycles,
		     struct rdu_failure *f);
uint64_t rdu_queue_clock(const struct card_queue *q);
/* Sets *f; returns -1. */
int rdu_fail(struct rdu_failure *f, enum rdu_fault code, uint32_t info, uint64_t addr);

/* ---- card_inject.c --------------------------------------------------------- */

void rdu_inject_init(struct rdu_card *card);
bool rdu_inject_valid(enum rdu_inject what, int64_t value);
bool rdu_inject_due(struct rdu_card *card, enum rdu_inject what);
/* Is one of these due? Then it is used up. (The fast path: one load.) */
static inline bool rdu_inject_take(struct rdu_card *card, enum rdu_inject what)
{
	return atomic_load_explicit(&card->inject[what], memory_order_relaxed) &&
	       rdu_inject_due(card, what);
}
/* Shall the queue's next command hang? Then the queue is HUNG or STUCK from now on,
 * and card->lock is taken. */
bool rdu_inject_hang(struct card_queue *q);
/* A command reads card memory: 0, or -1 and *f for an uncorrectable error. */
int rdu_inject_ecc(struct card_queue *q, uint64_t va, struct rdu_failure *f);

/* ---- mmu.c ----------------------------------------------------------------- */

/* The stretch that starts at va, at most len bytes. 0, or -1 and *f. */
int rdu_mmu_stretch(struct card_queue *q, uint64_t va, uint64_t len, bool write,
		    struct rdu_stretch *s, struct rdu_failure *f);
/* Checks all of [va, va + len). */
int rdu_mmu_check(struct card_queue *q, uint64_t va, uint64_t len, bool write,
		  struct rdu_failure *f);

/* ---- card_mem.c ------------------------------------------------------------ */

/* Host memory, as the bus sees it: 0, or -1: refused. */
int rdu_bus_read(struct rdu_card *card, uint64_t addr, void *buf, uint64_t len);
int rdu_bus_write(struct rdu_card *card, uint64_t addr, const void *buf, uint64_t len);
int rdu_mem_read(struct card_queue *q, uint64_t va, void *buf, uint64_t len, struct rdu_failure *f);
int rdu_mem_write(struct card_queue *q, uint64_t va, const void *buf, uint64_t len,
		  struct rdu_failure *f);
/* Commands: go on from q->progress. May return RDU_SUSPENDED. */
int rdu_mem_copy(struct card_queue *q, uint64_t dst, uint64_t src, uint64_t len,
		 struct rdu_failure *f);
int rdu_mem_fill(struct card_queue *q, uint64_t dst, uint64_t len, uint32_t value,
		 struct rdu_failure *f);
/* To be called after writing to card memory other than by these. */
void rdu_mem_dirty(struct rdu_card *card, uint64_t offset, uint64_t len);
/* Cycles that bytes take at a bandwidth in MB/s, rounded up. */
uint64_t rdu_transfer_cycles(const struct rdu_chip *chip, uint64_t bytes, uint32_t mbps);

/* ---- program.c ------------------------------------------------------------- */

#define RDU_MAX_LOADED_IMAGES (4ULL << 30) /* bytes of all programs' images together */

int rdu_prog_load(struct card_queue *q, const struct rdu_cmd *cmd, struct rdu_failure *f);
int rdu_prog_unload(struct card_queue *q, const struct rdu_cmd *cmd, struct rdu_failure *f);
/* May return RDU_SUSPENDED, and then goes on from q->run. */
int rdu_cmd_run(struct card_queue *q, const struct rdu_cmd *cmd, struct rdu_failure *f);
int rdu_cmd_pload(struct card_queue *q, const struct rdu_cmd *cmd, struct rdu_failure *f);
int rdu_cmd_aload(struct card_queue *q, const struct rdu_cmd *cmd, struct rdu_failure *f);
int rdu_cmd_exec(struct card_queue *q, const struct rdu_cmd *cmd, struct rdu_failure *f);
/* A validated image becomes the program's, counted until the last reference goes.
 * NULL: no memory. */
struct card_program *rdu_program_new(struct rdu_card *card, unsigned char *image, size_t size,
				    uint32_t tiles);
void rdu_program_put(struct card_program *p);
/* Can section i be loaded onto that many tiles? */
bool rdu_program_fits(const struct card_program *p, uint32_t i, uint32_t tiles);
/* An argument block for the program: empty, of *size bytes. NULL: no memory. */
struct rdu_args *rdu_args_new(const struct card_program *p, size_t *size);
/* The first region that does not fit the program, RDU_NONE: a wrong number of
 * them or of scalars. False: all is well. */
bool rdu_args_wrong(const struct card_program *p, const struct rdu_args *args, uint32_t *region);
/* The program of the section in use; NULL: none is loaded. */
static inline struct card_program *card_loaded(const struct card_queue *q)
{
	return q->planes.used.program;
}
/* Forgets what is loaded, and the command in progress (the queue is quiet). */
void rdu_queue_unload(struct card_queue *q);

struct card_program {
	_Atomic uint32_t refs;
	struct rdu_card *card;
	size_t size;
	unsigned char *image;
	const struct rdu_prog_header *hdr;
	const struct rdu_prog_section *sections;
	const struct rdu_prog_segment *segments;
	const struct rdu_prog_entry *entries;
	const struct rdu_prog_step *steps;
	const uint64_t *region_size;
	uint32_t tiles;
	struct rdu_chip chip;
	uint64_t *writes; /* card_keep.c: scratchpads written, a bit each; NULL: no KEEP steps */
	/* Translated on first use, used by one queue at a time. */
	pthread_mutex_t lock;
	pthread_cond_t freed;
	struct rdu_slot_section {
		struct rdu_section *section;
		bool in_use;
	} *section;
};

/* ---- card_bind.c ----------------------------------------------------------- */

#define RDU_BOUNCE_MAX (4ULL << 30) /* bytes of buffers for the segments of all queues */

/* Where regions are, found out once a command. */
struct rdu_region_view {
	enum { RDU_VIEW_NEW, RDU_VIEW_DIRECT, RDU_VIEW_SPLIT } state[2]; /* [write] */
	unsigned char *ptr; /* DIRECT: the whole region, in card memory */
};

struct card_extent {
	uint64_t va, len;
	unsigned char *ptr;
	enum { RDU_EXT_DIRECT, RDU_EXT_MAPPED, RDU_EXT_BOUNCE } how;
	bool write, in_host;
};

struct card_binding {
	struct rdu_segment *segment;
	uint64_t *va;         /* of each segment */
	bool *bounced;        /* its stores must be copied out */
	uint64_t *in_host;    /* bit by segment: it begins in host memory */
	bool any_in_host;
	uint32_t num;
	struct card_extent *extent;
	uint32_t num_extents;
};

int rdu_bind(struct card_queue *q, const struct card_program *p, uint32_t section,
	     const struct rdu_bound_args *args, struct rdu_region_view *views, uint64_t iteration,
	     struct card_binding *b, struct rdu_failure *f);
/* Copies bounced stores out (if `out`) and lets go of everything. */
int rdu_unbind(struct card_queue *q, struct card_binding *b, bool out, struct rdu_failure *f);

/* ---- card_keep.c ----------------------------------------------------------- */

/* Notes which scratchpads a new program's sections write. -1: no memory. */
int card_kept_prepare(struct card_program *p);
/* Nothing is there any more (the queue is quiet, or its worker asks). */
void card_kept_drop(struct card_queue *q);
/* What p's will bring, with nothing there yet. -1: no memory. */
int card_kept_new(struct card_queue *q, struct card_program *p, uint32_t epoch);
/* A RUN of p begins: what was brought in another epoch, or from elsewhere, is gone. */
void card_kept_begin(struct card_queue *q, const struct card_program *p,
		     const struct rdu_args *args, uint32_t epoch);
/* Is what that section brings there? */
bool card_kept_there(struct card_queue *q, const struct card_program *p, uint32_t section);
/* It is about to be brought, in a RUN with that epoch; 0: it will not stay. -1: no memory. */
int card_kept_open(struct card_queue *q, struct card_program *p, const struct rdu_args *args,
		   uint32_t epoch);
/* After card_kept_open(): it has been brought. */
void card_kept_add(struct card_queue *q, const struct card_program *p, uint32_t section);
/* A section is about to run: what lies in scratchpads that it writes is gone. */
void card_kept_overwrite(struct card_queue *q, const struct card_program *p, uint32_t section);
/* The queue writes to memory: what came from there is gone. */
void card_kept_written(struct card_queue *q, uint64_t va, uint64_t len);

/* ---- card_trace.c ---------------------------------------------------------- */

struct rdu_tracer {
	struct rdu_trace_event *events;
	uint32_t count, room, dropped;
	uint32_t keep;    /* room kept for PLOAD, ALOAD and EXEC still to come */
	uint32_t section; /* of the STAGE events now coming */
	uint64_t start;
	uint64_t addr;    /* device address of struct rdu_trace */
};

/* addr 0: no trace; then all else does nothing. `sections`: executions to come. */
int rdu_trace_begin(struct rdu_tracer *t, uint64_t addr, uint32_t size, uint64_t sections,
		    struct rdu_failure *f);
void rdu_trace_event(struct rdu_tracer *t, enum rdu_trace_kind kind, uint32_t section,
		     uint64_t start, uint64_t end);
void rdu_trace_units(struct rdu_tracer *t, uint32_t section, const struct rdu_section_time *time);
/* Room for STAGE events of an execution? If not, they are counted as dropped. */
bool rdu_trace_has_room(struct rdu_tracer *t, const struct rdu_section_time *time);
/* Callback for rdu_section_time(); opaque: the tracer. */
void rdu_trace_stage(void *tracer, uint32_t stage, uint32_t activation, uint64_t start,
		     uint64_t end);
/* Writes it out (f != NULL), frees it. */
int rdu_trace_end(struct rdu_tracer *t, struct card_queue *q, struct rdu_failure *f);
#define RDU_TRACE_MAX (64u << 20) /* bytes gathered for one command */

/* ---- a RUN in progress ------------------------------------------------------ */

struct card_job {
	struct card_queue *q;
	struct card_program *p;
	const struct rdu_bound_args *args;
	struct rdu_region_view *views;
	struct rdu_tracer trace;
	struct rdu_stats stats;
	struct rdu_load_under under; /* the section that ran last; cycles 0: none yet */
	uint64_t wall; /* host ns: when it began; while suspended: how long it ran */
};

struct rdu_schedule {
	struct card_job job;
	struct rdu_bound_args args;
	uint32_t entry, epoch;
	uint32_t at; /* step */
	uint32_t depth;
	struct rdu_loop {
		uint32_t body; /* first step in it */
		uint32_t count, done;
	} loop[RDU_MAX_LOOP_DEPTH];
};
/* With a reference to the program, which it takes. NULL: no memory. */
struct rdu_schedule *rdu_schedule_new(struct card_queue *q, struct card_program *p, uint32_t entry);
void rdu_schedule_free(struct rdu_schedule *s);

#endif
