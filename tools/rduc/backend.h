/* SPDX-License-Identifier: MIT */
/*
 * What the passes after patterns share: the linear form of a nest, the section
 * under construction, and the passes themselves.
 */
#ifndef RDUC_BACKEND_H
#define RDUC_BACKEND_H

#include <stdio.h>
#include "fabric.h"
#include "nest.h"
#include "outfile.h"

/* ---- the linear form of a nest ------------------------------------------- */

/* Position along one axis of a tensor: off + sum(coef[d] * i[d]). */
struct laxis {
	int64_t ms; /* memory stride in elements */
	int64_t off; /* 0 unless guarded or a coefficient is negative */
	int64_t dim; /* extent of the tensor along it */
	int64_t coef[NEST_MAX_DIMS];
	bool guard; /* the position may be outside [0, dim): reads as pad */
};

struct lacc {
	struct tensor *t;
	int64_t base; /* elements */
	int num_axes;
	struct laxis axis[RDU_MAX_DIMS];
	uint32_t needs; /* bit d: an axis depends on dimension d */
	uint32_t pad;
	int gather_in; /* -1: none */
	int64_t gather_stride, gather_extent;
};

/* A nest without dimensions of extent 1, jointly contiguous ones merged. */
struct lnest {
	const struct nest *n;
	int num_dims;
	int64_t extent[NEST_MAX_DIMS];
	bool reduce[NEST_MAX_DIMS];
	int shared[NEST_MAX_DIMS]; /* as in nest_dim */
	int index_dim[NEST_MAX_DIMS]; /* nest dimension -> this one's; -1: always 0 */
	int carried; /* dimension that a number is carried along, -1: none */
	char name[NEST_MAX_DIMS][8];
	struct lacc in[NEST_MAX_IN];
	struct lacc out[NEST_MAX_OUT];
};

int64_t lacc_coef(const struct lacc *a, int dim); /* elements per step of dim */
static inline bool lacc_needs(const struct lacc *a, int dim)
{
	return a->needs >> dim & 1;
}

/* Is it by an index that changes along a dimension (-1: none)? */
bool lacc_gathers(const struct lnest *l, const struct lacc *a, int dim);
/* Does an access read the same in several iterations of the loops that nests share? */
bool lacc_repeats(const struct lnest *l, const struct lacc *a);
void lnest_from(struct lnest *l, const struct nest *n);
/* Do the accesses stay in their tensors, and is the index space the nest's? 0, or -1 and what
 * is wrong. */
int lnest_check(const struct lnest *l, char *error, int error_size);

/* ---- a section under construction ------------------------------------------ */

#define UC_MAX 16 /* counters of a unit program before they are packed */

struct ucounter {
	int64_t start, step, trip;
};

struct upred {
	int64_t base, lo, hi, lane_stride, stride[UC_MAX];
};

struct uaccess {
	int target, format, pack, lanes, flags, copy_start;
	uint32_t flip_mask, pad;
	int64_t base, lane_stride, index_stride, stride[UC_MAX];
	int num_preds;
	struct upred *pred;
};

struct uport {
	int stream;
	uint32_t mask;
	int reg, count;
};

#define MOST_STAGES (RDU_MAX_STAGES + RDU_MAX_TAIL)

struct uprog {
	enum rdu_kind kind;
	int op_id;
	int unit; /* in image->unit */
	int num_counters, num_outer;
	int num_shared; /* until packed: of the outer ones, those of loops that nests share */
	bool looped; /* its buffer turns over in each iteration of the shared loops */
	int asked_counters; /* more than num_counters: there was no room */
	struct ucounter c[UC_MAX];
	int num_in, num_out;
	struct uport in[RDU_MAX_PORTS], out[RDU_MAX_PORTS];
	struct uaccess acc;
	int num_stages, num_tail;
	/* Of a PCU's program there is room for MOST_STAGES until the section is finished; others: NULL. */
	struct rdu_cfg_stage *stage;
	int cols, mode, flags;
	uint32_t k_mask, init_mask;
};

struct udest {
	int prog, port;
};

struct ustream {
	int prog, port;
	int num_dests, room;
	struct udest *dest;
	int num_links;
	struct rdu_cfg_link *link;
};

struct utoken {
	int src, dst;
	uint32_t src_mask, dst_mask, initial;
};

struct ubuffer {
	int unit;
	uint32_t copies, words;
	int64_t base; /* word in the scratchpad; -1: behind those of its unit that come before it */
};

struct uunit {
	enum rdu_unit kind;
	double hx, hy; /* where it would like to be, 0..1; negative: anywhere */
	int pin; /* PMU: its number over all virtual tiles, -1: wherever there is room */
	int filled; /* PMU: the unit of im->fill that fills it; it gets one of im->held's. -1: none */
	int x, y; /* switch, y over all virtual tiles */
	int tile, phys; /* unit number within the tile */
};

struct usegment {
	struct tensor *t; /* storage */
	uint32_t access;
};

/* What is asked of a unit program when its section is made. */
struct uwho {
	enum rdu_kind kind;
	int op_id;
	int unit; /* in image->unit */
};

/* What a nest has of a section that it shares with others. */
struct ushare {
	int op; /* op_id of its programs */
	int used[3]; /* physical units by enum rdu_unit */
	uint64_t busy; /* cycles that the busiest of its stages works */
	int bound, bound_prog; /* of that stage */
};

struct uimage {
	char name[48];
	const struct rdu_chip *chip;
	int tiles;
	int num_progs, room_progs;
	struct uprog *prog;
	int num_streams, room_streams;
	struct ustream *stream;
	int num_tokens, room_tokens;
	struct utoken *token;
	int num_buffers, room_buffers;
	struct ubuffer *buffer;
	int num_units, room_units;
	struct uunit *unit;
	int num_segments, room_segments;
	struct usegment *segment;
	char error[256]; /* why there can be no such section; empty: nothing yet */
	bool clash; /* because its nests want one place of a scratchpad, whatever units they have */
	struct tensor *crowded; /* resident, and its scratchpads take no more programs */
	int64_t chunk[NEST_MAX_DIMS], split[NEST_MAX_DIMS]; /* as in struct nest */
	int replicas; /* of a nest; 0: not known */
	const struct residence *held; /* what it finds in its held PMUs; NULL: nothing */
	struct uimage *fill; /* fills these, in front of the loop; its section takes it */
	/* after emit */
	void *bytes;
	size_t size;
	bool in_program; /* the bytes are there */
	struct uwho *who; /* by program */
	uint64_t wide_macs; /* that arrays do of words of four, beyond two of each */
	struct asked_time *asked_time; /* time.c: another thread finds it out; NULL: none does */
	/* after be_time_about() */
	uint64_t cycles, dram_bytes, macs, flops;
	struct rdu_energy energy; /* of one execution */
	int used[3]; /* physical units by enum rdu_unit */
	int bound, bound_prog;
	int num_shares;
	struct ushare *share;
	bool systolic;
};

struct backend;

struct uimage *image_new(const struct rdu_chip *chip, int tiles, const char *name);
void image_free(struct uimage *im);
/* The bytes go, if they are its own. */
void image_drop_bytes(struct uimage *im);
/* It is finished: its tables are as large as what they have. */
void image_shrink(struct uimage *im);
/* No other section is made of it: what its unit programs do is left to the bytes. */
void image_close(struct uimage *im);
int image_unit(struct uimage *im, enum rdu_unit kind, double hx, double hy);
int image_prog(struct uimage *im, enum rdu_kind kind, int unit, int op_id);
/* One program becomes as another of its kind is, with predicates and stages of its own. */
void image_copy_prog(struct uprog *to, const struct uprog *from);
int image_buffer(struct uimage *im, int unit, uint32_t copies, uint32_t words); /* its base is -1 */
void image_token(struct uimage *im, int src, uint32_t src_mask, int dst, uint32_t dst_mask,
		 uint32_t initial);
int image_segment(struct uimage *im, struct tensor *t, uint32_t access);
/* Joins an output port to an input port; the port numbers are counted up by the
 * caller through the return value of image_in/image_out. */
int image_in(struct uimage *im, int prog, uint32_t mask);
int image_out(struct uimage *im, int prog, uint32_t mask, int reg, int count);
void image_join(struct uimage *im, int src, int port, int dst, int dst_port);
int image_counter(struct uprog *p, int64_t start, int64_t step, int64_t trip);
int image_pmus(const struct uimage *im); /* how many it uses */
struct upred *access_pred(struct uaccess *a); /* one more, all zero */
/* Says why the section cannot be: what is needed and what there is. The nest's name is put
 * before it. The first reason stays; what is built after it is never used. */
__attribute__((format(printf, 2, 3))) void image_fail(struct uimage *im, const char *fmt, ...);
/* Drops and merges counters, and holds what is left to the limits of an image. 0, or -1
 * with the reason in im->error. */
int image_pack(struct uimage *im);
/* Unit programs, their counters and what they access; to the log. */
void image_print(const struct backend *be, const struct uimage *im);

int64_t be_words(const struct tensor *t); /* elements: a word each in a scratchpad */
/* Words of scratchpads that residents may have, about. */
int64_t be_room_words(const struct backend *be);
bool nest_reads(const struct nest *n, const struct tensor *storage); /* or adds to it */
bool nest_writes(const struct nest *n, const struct tensor *storage);
uint64_t tensor_size(const struct tensor *t); /* bytes; regions.c */
int dtype_format(enum rdu_dtype dtype);
int dtype_size(enum rdu_dtype dtype);
/* What makes of a word what storing it as that type and reading it again would; MOV: nothing. */
enum rdu_simd_op dtype_rounding(enum rdu_dtype dtype);

/* ---- the passes ------------------------------------------------------------ */

struct region_of { /* by tensor id of the storage */
	int region; /* -1: none */
	uint64_t offset, size;
	uint64_t row; /* added in each iteration of a loop; 0: none */
};

/* resident.c: a temporary that stays in scratchpads between sections; by tensor id of the
 * storage. Part k holds the words part * k to part * (k + 1) of it. */
struct residence {
	bool resident;
	bool memory; /* a copy is written to memory, for the nests that read that */
	int first, last; /* nests of the entry: from the one that makes it to its last reader */
	int group; /* whose nests hand it on slice by slice; 0: all of it is there, for anyone */
	int copies; /* of a slice */
	int64_t words, part; /* of the tensor, or a slice */
	int64_t lag; /* a slice begins so many words before a multiple of its words */
	int64_t before; /* words of the slice before that are read, too: the last ones of that copy */
	int num_parts;
	struct spot { /* of a part */
		int pmu; /* its number, counted over all tiles */
		int64_t base; /* word in it */
	} * spot;
	bool by_group; /* a group makes it, and none uses it: all its readers find it there, or none */
	int num_readers; /* nests */
	int num_copy_readers;
	const struct nest **copy_reader;
	/* Held for the nests of a loop: it lies as the operand tiles of its one reader do, in as
	 * many of the num_parts PMUs as that has replicas. */
	bool held;
	bool kept; /* held from the entry's start to its end, and on to the next run */
	bool vectors; /* its batch lies as vectors, along which it may be cut (batch.c) */
	bool whole; /* groups, too, may find it: all iterations' parts count for their nests */
	bool carried; /* the iterations of a loop change it, and nests in front of it and behind bring and store it */
};

/* hold.c: what all iterations of a loop read, or all runs, copied for one nest. */
struct hold {
	bool kept; /* from run to run: a weight that the entry does not change */
	int loop; /* that it is held in all of: the outermost that does not change it; 0: in none */
	struct nest *fill; /* the copy, in front of the loop */
	struct nest *reader;
	int in; /* input of the reader */
	struct tensor *from, *to;
	int pmus; /* that the reader's plan uses, once it has one; 0: not known */
};

struct be_section {
	struct uimage *im;
	int entry; /* first entry that uses it */
	int first_nest, num_nests; /* of the entry's, in their order */
	struct nest *nest; /* the first */
};

/* A part of the tiles' height: its ends, 0..1. */
struct band {
	double from, to;
};

struct share { /* of the tiles' units; 0: all */
	double pcus, pmus, agcus;
	struct band band; /* where they would like to be; to 0: anywhere */
};

/* A map whose result is made while it is loaded. */
struct made {
	struct nest *maker;
	int slower; /* than a LOAD, for the search of a plan: its streams wait for each other */
};

/* What the program's file says of its times. */
struct be_outlook {
	uint64_t cycles[RDU_MAX_ENTRIES]; /* of executions in a first run */
	int longest, bound; /* a section; what it waits for */
};

struct backend {
	struct module *m;
	const struct rduc_options *opt;
	struct rdu_chip chip;
	int tiles;
	int level; /* of optimisation: 0, 1, 3 */
	bool estimated; /* what is known of the sections' times is estimates */
	struct be_outlook outlook;
	bool wide; /* temporaries are in memory what they are */
	char *error;
	int error_size;
	int num_notes;
	char **note; /* for the report: what was not done as asked, and why */
	/* resident.c; NULL: nothing stays */
	struct residence *residence;
	int at, until; /* nests of the entry that are being made a section, first and last */
	struct tensor *crowded; /* resident, and why the last attempt did not fit; NULL: none */
	struct share share; /* that the nest being lowered may take */
	int num_batches;
	int64_t *batch; /* layout.c: of the inputs' first dimensions, half a vector at least */
	struct group *group; /* pipe.c */
	int num_groups;
	bool fixed; /* the entry has groups, or holds: its nests must stay as they are */
	bool pmus_shared; /* by what is resident */
	int num_made; /* made.c */
	struct made *made;
	int num_holds; /* hold.c */
	struct hold *hold;
	int held_tenths; /* of the PMUs that what a loop holds may have; its nests load more */
	int first_own; /* tensors from this one on were made by the back half */
	struct tensor **without; /* num_without of them: taken as if they were in memory, to see
				  * what that gives */
	int num_without;
	unsigned int
		moves; /* how often it changed what the nests being lowered find in scratchpads */
	struct lowered *lowered; /* ahead.c */
	struct workers *workers; /* NULL: there are none */
	struct asked_time *asked_times; /* time.c: of all images */
	struct timed *timed; /* time.c: sections that were timed */
	int num_timed, room_timed;
	struct known_plan *plan; /* tile_known.c: of contractions */
	int num_plans, room_plans;
	/* regions.c */
	int num_regions;
	struct rdu_file_region *region;
	struct region_of *where;
	int num_pieces, room_pieces;
	struct lr_piece *piece; /* of the file's data: tensors' own */
	size_t data_size;
	/* sections: one per nest kept, in order of entries */
	int num_sections;
	struct be_section *section;
	int num_steps;
	struct rdu_prog_step *step;
	struct rdu_prog_entry entry[RDU_MAX_ENTRIES];
	int num_ops;
	struct rdu_file_op *op;
	int num_names;
	char **names; /* of fused nests */
	/* emit.c */
	unsigned char *program;
	size_t program_size;
};

__attribute__((format(printf, 2, 3))) int be_error(struct backend *be, const char *fmt,
						   ...); /* -1 */
__attribute__((format(printf, 2, 3))) void be_note(struct backend *be, const char *fmt, ...);
bool be_prints(const struct backend *be, const char *pass);
/* Where it is printed. */
FILE *be_log(const struct backend *be);
/* nest_check() on all nests. 0, or -1 with a text that names the pass and the nest. */
int be_check(struct backend *be, const char *pass);

void be_find_batches(struct backend *be); /* layout.c: of be_batch_dims() */
void be_split_batch(struct backend *be); /* batch.c */
/* layout.c: how many dimensions of a tensor are the batch: the first, or the first two (batch.c). 0: it has none. */
int be_batch_dims(const struct backend *be, const struct tensor *t);
/* shapes.c */
void be_shapes(struct backend *be);
/* Where access number i of a nest (inputs, then outputs) goes in the finer shape `to`. False: it cannot be
 * said so, and nothing has changed. */
bool be_refine(struct nest *n, int i, struct tensor *to);
/* The shape under which an access would go through its tensor with one dimension of the nest along each of
 * the tensor's, as far as it can be said so; how many dimensions, 0: more than there may be. */
int be_shape_of(const struct nest *n, const struct access *a, int64_t *dim);
void be_copies(struct backend *be); /* copies.c */
void be_split_concatenations(struct backend *be); /* concat.c */
void be_recompute(struct backend *be); /* recompute.c */
void be_fuse(struct backend *be); /* fuse.c */
/* Nest number k of an entry becomes the two it was made of; what follows may be fused anew,
 * the first of the two not. False: it was not fused. */
bool be_unfuse(struct backend *be, struct module_entry *e, int k);
void nest_free_fused(struct nest *n); /* a nest of the back half, with what it was made of */
/* fuse.c: does the access reach every element of its tensor, each once, with all of the nest's
 * parallel dimensions? */
bool be_covers(const struct nest *n, const struct access *a);
/* fuse.c: the tensor's dimension that each of a nest's runs over in an access, -1 where that has one
 * step; false if it is not one to one. */
bool be_one_to_one(const struct nest *n, const struct access *a, int *dim_of);
/* fuse.c: may nests a (earlier) and b be exchanged, as far as they themselves say what they touch? */
bool be_independent(const struct nest *a, const struct nest *b);
bool be_same_access(const struct access *a, const struct access *b);
/* fuse.c: access of nest c, whose dimension d goes along dim_of[d] of a tensor, at the point of that
 * tensor that access `at` of another nest, of so many dimensions, is at. */
void be_compose(struct access *to, const struct access *from, const struct nest *c,
		const int *dim_of, const struct access *at, int dims);
/* fuse.c: cycles that memory takes with a result that is handed on: to be read, and, unless it is kept,
 * to be written for that. */
double be_hand_on_cycles(const struct backend *be, const struct tensor *t, bool keep);
/* order.c: what nobody reads is made as early as that saves room. */
void be_order(struct backend *be);
void be_layout(struct backend *be); /* layout.c */
/* Temporaries in memory that an entry's nests, as they have been made, read across: by tensor, the axis along which
 * they read it, + 1. NULL: memory takes less than `least` cycles for that. */
int *be_across(const struct backend *be, int entry, double least);
/* These axes of the first `num` tensors become innermost. */
void be_turn(struct backend *be, const int *axis, int num);
/* narrow.c: which temporaries are bf16 in memory, although what makes them is fp32. */
void be_narrow(struct backend *be);
/* One of them that is read, in the nests as they are now, by what needs all of it; NULL: none is. */
const struct tensor *be_narrow_wrong(struct backend *be);
/* They are fp32 again. False: there were none. */
bool be_narrow_undo(struct backend *be);
/* pipe.c: groups of nests of an entry that run iteration by iteration, one behind the other, each
 * as a section that is complete, where that is faster than cycles[nest number] of its nests, with
 * the residences that these had, and what others lose by it. */
void be_pipe(struct backend *be, struct module_entry *e, int entry, const double *cycles,
	     const struct residence *plain);
/* group.c: cycles that groups from number `first` on save. */
double be_pipe_saved(const struct backend *be, int first);
/* The nests of groups from number `first` on are what they were. */
void be_pipe_undo(struct backend *be, struct module_entry *e, int first);
/* What a nest of a group uses in scratchpads as a whole; t NULL: all that it leaves there. */
struct group_use {
	struct nest *nest;
	struct tensor *t;
};

/* group.c: the section of the group that begins with nest number k of the entry, and how many nests it has;
 * NULL: with what it finds and leaves in scratchpads it cannot be made, or takes more cycles than memory takes for
 * what others write and read of that; *without: had better not be there. The caller has the section then. */
struct uimage *be_group_image(struct backend *be, struct module_entry *e, int k, int *num_nests,
			      struct group_use *without);
/* The scratchpads of a group, by its number from 1 on, with nothing found or left there as a whole: their numbers over
 * all tiles. */
const int *be_group_pmus(const struct backend *be, int group, int *num);
/* What a nest of a group leaves in scratchpads as a whole: one such tensor. NULL: nothing. */
struct tensor *be_group_leaves(const struct backend *be, const struct nest *n);
void be_pipe_end(struct backend *be);
/* The groups that there are now are not made again. */
void be_pipe_close(struct backend *be);
/* resident.c: which temporaries of an entry stay in scratchpads. 0, -1, or 1: what is held has no
 * room; be->at is the nest that reads it. */
int be_resident(struct backend *be, const struct module_entry *e);
/* hold.c: is there something in an entry that all iterations of a loop, or all runs, read, and that
 * may be held? */
bool be_can_hold(const struct backend *be, const struct module_entry *e);
/* Cycles that memory takes for what would not be loaded then, or in later runs, as far as scratchpads
 * have room: about. */
double be_hold_saves(const struct backend *be, const struct module_entry *e);
/* Nests in front of the loops, or of all, copy it; be->hold[] says which. */
void be_hold(struct backend *be, struct module_entry *e);
/* What a nest of the entry holds is no longer held. */
void be_hold_undo(struct backend *be, struct module_entry *e, const struct nest *reader);
/* The hold that makes tensor t; NULL: none. */
const struct hold *be_hold_of(const struct backend *be, const struct tensor *t);
/* What a nest copies lies in so many scratchpads. */
void be_hold_uses(struct backend *be, const struct nest *fill, int pmus);
/* Does nest n copy what is kept from run to run? The card leaves its section out while it is there. */
bool be_fills_kept(const struct backend *be, const struct nest *n);
/* Is it one of entry e, and in use? */
bool hold_in(const struct module_entry *e, const struct hold *h);
/* False, with the reason: there are no scratchpads for what h holds. be->at becomes its reader. */
bool be_hold_no_room(struct backend *be, const struct module_entry *e, const struct hold *h);
/* Is what the first of the entry's readers finds held no larger than the scratchpads that it was given? Else, as
 * of be_hold_no_room(), there is no plan for it, and nests before it need not be made to see that. */
bool be_hold_has_room(struct backend *be, const struct module_entry *e);
/* A nest that copies `from` to `to`, of the same shape; named after that, and of an operator's type. */
struct nest *be_copy_nest(const struct nest *of, struct tensor *from, struct tensor *to);
/* A temporary of the same shape, named after t and what it is. */
struct tensor *be_temp_like(struct backend *be, const struct tensor *t, const char *what);
void be_insert_nest(struct module_entry *e, int at, struct nest *n);
void be_remove_nest(struct module_entry *e, struct nest *n); /* and free it */
/* carry.c: is there something that iterations of a loop hand on in place, and that may stay in
 * scratchpads, but for not[tensor id] (NULL: for nothing)? */
bool be_can_carry(const struct backend *be, const struct module_entry *e, const bool * not );
/* The same of an entry without loops, which runs once, and whose sections begin with number `first`. */
bool be_can_carry_once(const struct backend *be, const struct module_entry *e, int first);
/* It is brought into temporaries in front of the loop, and stored behind it. What the nests were, for
 * be_carry_undo(), and be_carry_end(). */
struct carried *be_carry(struct backend *be, struct module_entry *e, const bool * not );
/* Has be_resident() found room for all of it? What has none is marked. */
bool be_carry_fits(const struct backend *be, const struct carried *c, bool * not );
/* They are carried, without a loop that would say so. */
void be_carry_mark(const struct carried *c, struct residence *residence);
void be_carry_undo(struct module_entry *e, struct carried *was);
void be_carry_end(struct carried *was);
/* The nests as they are, with nothing carried, for be_carry_undo() and be_carry_end(). */
struct carried *be_remember_nests(const struct module_entry *e);
/* What nests do with a storage: their inputs and results. */
struct accesses {
	int num, room;
	struct nest_access {
		struct nest *nest;
		int at; /* of the nest's inputs, then results */
	} * list;
};
struct access *be_access_of(const struct nest_access *a);
void be_add_access(struct accesses *all, struct nest *n, int at);
bool be_same_shape(const struct tensor *a, const struct tensor *b);
/* A temporary for storage t, of the finest shape that nests go through it under: what is a flattened picture can then
 * be cut along its rows. */
struct tensor *be_temp_for(struct backend *be, const struct accesses *all, const struct tensor *t,
			   const char *what);
/* An access to what is seen as a tensor of another storage is one to `to`, or what is seen of that likewise: seen[],
 * by the number of the former. */
void be_redirect(struct backend *be, const struct nest_access *at, struct tensor *to,
		 struct tensor **seen);

/* once.c: nests in front of those of an entry, whose sections are `s`, copy to scratchpads what several of these read
 * before it is changed; way[], by tensor, from 0 on: how. */
struct once *be_once(struct backend *be, struct module_entry *e, const struct be_section *s,
		     int num_sections, const int *way);
/* As be_check(), of the nests that may read copies. */
int be_once_check(struct backend *be, const struct module_entry *e);
/* Bytes that need not be loaded again then. */
double be_once_saves(const struct once *o);
/* Has be_resident() found room for all of it? What has none is to be copied in the next way. */
bool be_once_fits(const struct backend *be, const struct once *o, int *way);
void be_once_undo(struct module_entry *e, struct once *o);
void be_once_end(struct once *o);
/* Which storage is not made and used up within an entry point; by its id. */
void be_find_outside(const struct backend *be, int entry, bool *outside);
/* The nests of the entry have changed. False: what is resident can no longer be. */
bool be_resident_renumber(struct backend *be, const struct module_entry *e);
/* Nothing of the entry is resident; the end. */
void be_resident_drop(struct backend *be, const struct module_entry *e);
void be_resident_end(struct backend *be);
/* Where nest n finds or leaves t: NULL: in memory. */
const struct residence *residence_of(const struct backend *be, const struct nest *n,
				     struct tensor *t);
/* Does a nest read storage t in memory, though it is, or was, in scratchpads, too? */
bool be_reads_copy(const struct backend *be, const struct nest *n, const struct tensor *t);
/* How what a nest writes there is rounded: a scratchpad holds words, memory would round. MOV: it
 * is not, or by being stored. */
enum rdu_simd_op residence_rounds(const struct residence *r, const struct tensor *t);
/* Nest n uses t in memory from now on. All nests of t that were lowered must be lowered anew
 * where that changes what they do. */
void be_evict(struct backend *be, struct nest *n, struct tensor *t, const char *why);
/* evict.c: the same; sections of the entry, from `first` on, that this changes are dropped. */
void be_leave(struct backend *be, struct be_section *first, struct nest *n, struct tensor *t,
	      const char *why);
/* A nest whose section does not fit with what is resident uses less of it. False: nothing of it is. */
bool be_evict_some(struct backend *be, struct be_section *first, struct nest *n);
/* A nest that is faster when it finds or leaves something in memory does so: scratchpads have few ports, and
 * their parts may not be what its replicas want. One tensor at a time is tried, and all. 0 or -1. */
int be_improve(struct backend *be, struct be_section *first, struct be_section *s);
/* PMUs that hold something resident during the section being made; by number, to be freed. */
bool *be_taken_pmus(const struct backend *be);
int be_free_pmus(const struct backend *be); /* how many hold nothing */
/* A place y, 0..1, of a band's height; negative: anywhere. */
double band_place(const struct band *band, double y);
/* tile_units.c: cycles that a scratchpad takes for a vector whose lanes lie `stride` words apart: several may lie in
 * one bank. */
int64_t be_bank_cycles(const struct rdu_chip *chip, int64_t stride, int64_t lanes);
#define MAX_SPREAD 3
/* Replicas along some dimensions: so many blocks along each, and indices of a block. */
struct spread {
	int num, dim[MAX_SPREAD];
	int64_t block[MAX_SPREAD], blocks[MAX_SPREAD];
};

/* lower_resident.c: how many programs of replicas access the busiest part: those that read the same share
 * one. */
int resident_crowd(const struct residence *r, const struct lnest *l, const struct lacc *a,
		   const struct spread *s);
/* PCUs that bring together what replicas read of several parts. */
int resident_joins(const struct rdu_chip *chip, const struct residence *r, const struct lnest *l,
		   const struct lacc *a, const struct spread *s);
/* LOADs and STOREs of what is resident become READs and WRITEs. 0, or -1 with
 * the reason in im->error, and the tensor in im->crowded. What is held is found where it is;
 * im->fill is the section that brings it there. */
int image_resident(struct backend *be, struct uimage *im, const struct nest *n);
#define KIND_GONE ((enum rdu_kind)0xff) /* of a program that is dropped in the end */
/* lower_spare.c: where a nest only copies, PCUs that pass on what comes are left out, and those that bring
 * together what one other PCU takes, where that one has room for what they do. */
void image_spare_pcus(struct uimage *im, const struct nest *n);
/* Does a nest only bring elements to other places, each from one of its inputs? */
bool nest_only_copies(const struct nest *n);
int be_regions(struct backend *be); /* regions.c */
/* lower.c: a nest becomes a section, by the plans of an optimisation level. 0, 1: not even the
 * plainest of them fits, with the reason, or -1: the nest is broken. */
int be_lower(struct backend *be, struct nest *n, int level, int op_id, struct uimage **im);
/* The same with all units, or, where what is resident does not fit so with several tiles, with the compute
 * units and AGCUs of one: fewer replicas take fewer links. */
int be_lower_spread(struct backend *be, struct nest *n, int op_id, struct uimage **im);
/* be_lower() with the compute units and AGCUs of one tile; *im becomes that section if it takes less time.
 * 0 or -1. */
int be_lower_fewer(struct backend *be, struct nest *n, int op_id, const struct uimage *before,
		   struct uimage **im);
/* ahead.c: the nests of an entry from number `from` on come next: other threads look for their plans, and time what
 * of them is lowered already. */
void be_ahead(struct backend *be, const struct module_entry *e, int from);
/* be_lower_spread() of a nest, or what that gave beforehand, if nothing has changed. */
int be_lower_next(struct backend *be, struct nest *n, int op, struct uimage **im);
/* What was lowered beforehand is not wanted any more. */
void be_ahead_drop(struct backend *be);
/* lower_contract.c: cycles that a contraction takes at least with all compute units, each array
 * with the units that its results go through; 0: it is none. */
double be_contract_cycles(const struct backend *be, const struct nest *n);
/* Is a nest a sum of products of two of its inputs? Then in[] is which. */
bool be_contraction(const struct backend *be, const struct nest *n, int *in);
/* lower_contract.c: is there a plan for a nest as a product on arrays, of fp32 or bf16? Then in[] is which
 * two of its inputs they round to bf16. */
bool be_on_arrays(struct backend *be, const struct nest *n, int *in);
/* tile_known.c: other threads look for the plan of a nest that is about to be lowered as be->at says, if it is a
 * contraction. */
void be_plan_ahead(struct backend *be, const struct nest *n);
/* Those that are still looked for: no plan is asked for any more. */
void be_plans_drop(struct backend *be);
void be_plans_end(struct backend *be);
/* Is an access an operand's of a contraction? Then whole tiles are read, whatever a table picks of them. */
bool be_reads_tiles(const struct backend *be, const struct nest *n, const struct access *a);
/* Is an input an operand of a contraction that uses its elements more than once? */
bool be_reuses(const struct backend *be, const struct nest *n, int in);
/* May replicas of a nest have a part each of the terms of its sums, which are then added up: because it is in no
 * group and, if it is a product, has few results? */
bool be_may_split(const struct backend *be, const struct nest *n);
/* Cycles of one compute unit that a nest is worth, about. */
double be_work(const struct backend *be, const struct nest *n);
/* lower.c: place, route, serialise and validate. 0, or -1 with the reason in be->error. */
int image_finish(struct backend *be, struct uimage *im);
/* cut.c: one section of those of num nests, from number first_nest of the entry on. NULL: there is none, with the
 * reason in be->error; *hopeless: nor with fewer units. */
struct uimage *be_join(struct backend *be, const struct be_section *s, int num, int first_nest,
		       bool *hopeless);
/* cut.c: joins the sections of an entry, from number `first` on, one for each nest. */
void be_cut(struct backend *be, int first);
/* The section of a nest is made: what was found for its sums is the nest's, and what fills what it holds takes its
 * place in front of the loop. */
void be_settle(struct backend *be, struct be_section *first, struct be_section *s);
/* Notes from number `first` on, so many, are none any more. */
void be_drop_notes(struct backend *be, int first, int num);
/* backend.c: makes the sections of an entry. 0, -1, or 1: with what groups it has, it cannot be. */
int be_make_sections(struct backend *be, int entry);
/* Sections from number `first` on are none any more. */
void be_drop_sections(struct backend *be, int first);
/* The schedule's steps that run the sections of an entry, from number `first` on. */
void be_add_steps(struct backend *be, const struct module_entry *e, int first);
/* The strides of all tensors, and back. */
int64_t *be_copy_strides(const struct module *m);
void be_set_strides(const struct module *m, const int64_t *s);
/* variants.c: makes the sections of an entry in all ways that the level and the options have; the fastest stays.
 * 0 or -1. */
int be_make_entry(struct backend *be, int entry);
/* beside.c: nests that do not go together with those before them for some units are made with those that they leave.
 * 0 or -1. */
int be_fit_beside(struct backend *be, struct be_section *first);
/* Puts the nests of an entry without groups, whose sections begin with number `first`, in an order in which they run
 * side by side, if that promises much. pmus: share of the scratchpads that is counted on. */
bool be_beside(struct backend *be, struct module_entry *e, int first, double pmus);
/* Is it worth to look for such an order, which takes as long as to make the entry several times? */
bool be_beside_pays(const struct backend *be, int first);
/* They are in the order that they were in. */
void be_beside_undo(struct module_entry *e, struct nest *const *order);
int be_place(struct backend *be, struct uimage *im); /* place.c */
int be_route(struct backend *be, struct uimage *im); /* route.c */
int be_image(struct backend *be, struct uimage *im); /* emit.c: serialise one section */
/* emit.c: the program image. 0, -1, or 1 (with a text too): larger than a card takes. */
int be_program(struct backend *be);
/* emit_elf.c: the program file. Its sections are gone then. */
int be_write(struct backend *be, const char *path);
void be_remarks(struct backend *be); /* report.c: notes of what nests say of themselves */
int be_report(struct backend *be); /* report.c */
/* What an entry point is expected to take, once be_report() has timed the sections. */
struct be_expected {
	/* Of a first run; of a later one, right after it: what is on the tiles already is not
	 * loaded again. */
	struct be_run {
		uint64_t exec; /* cycles of its sections */
		uint64_t load; /* cycles that loading programs and arguments adds */
		uint64_t load_bytes; /* of program images */
		uint64_t dram_bytes;
		uint64_t macs, array_macs; /* array_macs: int8's count half */
		struct rdu_energy energy; /* loads included */
	} first, later;
	uint64_t compulsory_bytes;
	int sections, used[3]; /* units of its largest sections */
};
struct be_expected be_expect(const struct backend *be, int entry); /* expect.c */
/* The same of steps. */
void be_expect_steps(const struct backend *be, const struct rdu_prog_step *step, uint32_t n,
		     struct be_run *first, struct be_run *later);
/* A section's multiply-accumulates, those of int8 counted half: an array does two of them in the
 * time of one of bf16. */
uint64_t be_array_macs(const struct backend *be, const struct uimage *im);
/* These against what all arrays of the tiles used could do in the cycles; 0..1 */
double be_peak_share(const struct backend *be, uint64_t array_macs, uint64_t cycles);
/* What sections find that are loaded one after another. Zeros: nothing is loaded, nothing ran. */
struct be_loads {
	struct rdu_planes planes;
	struct rdu_load_under under;
};
/* Program and argument load of the next section, which then runs. */
struct rdu_load be_load(const struct backend *be, struct be_loads *l, struct uimage *im);
/* Cycles of its load right behind a section, NULL: behind none, if no plane has it. */
uint64_t be_load_after(const struct backend *be, const struct uimage *before, struct uimage *im);
/* What off-chip memory gives at most. */
static inline double be_bytes_per_cycle(const struct rdu_chip *chip)
{
	return (double)chip->dram_mbps * 1000.0 / chip->clock_khz;
}
/* compulsory.c: bytes that must cross memory in a run of an entry point, whatever is made of it. */
uint64_t be_compulsory(const struct backend *be, int entry);
void be_report_json(const struct backend *be, FILE *f); /* report_json.c */
/* Is what it chooses by an estimate, not the card's clock? */
static inline bool be_estimates(const struct backend *be)
{
	return be->level < 3;
}
/* time.c: all sections' own times by the card's clock, stored, or estimates, with their busiest stages. 0, or -1. */
int be_time_all(struct backend *be);
/* emit_elf.c: keeps what the program's file will say of them. */
void be_expect_all(struct backend *be);
/* By the clock, if they are estimates and somebody reads them. */
int be_time_reported(struct backend *be);
/* Other threads begin to find those of the sections from number `first` on, which will not change. */
void be_time_all_ahead(struct backend *be, int first);
/* The same of one, or that of a section that differs by the places of its units only. Or 1: it takes
 * more than `most` cycles, not 0, and nothing is known of it. */
int be_time_about(struct backend *be, struct uimage *im, uint64_t most);
/* Another thread begins to find out what be_time_about() will be asked, if there is one, and nothing is
 * known of it. True: it does. */
bool be_time_ahead(struct backend *be, struct uimage *im, uint64_t most);
/* What was begun for an image is not wanted any more. */
void be_time_drop(struct uimage *im);
void be_time_end(struct backend *be);
void be_summary(const struct backend *be, FILE *f);
const char *be_bound_text(int bound);
void be_floorplan(struct backend *be, FILE *f);
void be_dot(struct backend *be, FILE *f);

/* ---- lowering ---------------------------------------------------------------- */

struct plan { /* how far to go; retried smaller when something does not fit */
	int max_unroll; /* replicas */
	int chunk; /* vectors an activation */
	bool no_contract; /* the streaming form only */
	int level; /* of optimisation: 0, 1, 3 */
};

struct plan plan_of_level(int level); /* lower.c: the one that is tried first */

enum xarg_kind { XA_NONE, XA_VAL, XA_SRC, XA_SRC_LANE, XA_IMM, XA_CTR, XA_LANE, XA_ACC };

struct xarg {
	enum xarg_kind kind;
	int index, lane;
	uint32_t imm;
};

struct xop {
	enum rdu_simd_op op;
	struct xarg arg[3];
	uint32_t acc_mask, init;
};

/* Straight-line operations on vectors, to be cut into PCU programs. */
struct xprog {
	int num_ops, room_ops;
	struct xop *op;
	int num_out;
	int out[NEST_MAX_OUT]; /* operation whose value is pushed */
};

struct xsrc { /* where a source comes from */
	int prog, port;
	uint32_t mask; /* popped where at first */
};

int simd_operands(enum rdu_simd_op op);
bool simd_tail_only(enum rdu_simd_op op);
struct xarg xval(int op);
struct xarg xsrc_arg(int src);
struct xarg ximm(uint32_t imm);
struct xarg xctr(int c);
int xprog_op(struct xprog *x, enum rdu_simd_op op, struct xarg a, struct xarg b, struct xarg c);
void xprog_free(struct xprog *x);
/* Programs for x with the counters of `shape`; out[i]: who pushes output i; hx, hy: hints of
 * the PCUs. Operations too wide for the chip's PCUs are cut in x. 0, or -1 with the reason in
 * im->error. */
int xprog_emit(struct uimage *im, struct xprog *x, const struct xsrc *src,
	       const struct uprog *shape, uint32_t out_mask, double hx, double hy, int op_id,
	       struct xsrc *out);
/* Number of PCUs that takes; -1: an operation fits none. */
int xprog_pcus(const struct rdu_chip *chip, struct xprog *x);
/* One stream of `num` (vector by vector, by an operation of two operands whose order does not matter), by a
 * tree of PCUs with the counters of `shape`; pad, not 0: one more operand. from[] is used up. */
struct xsrc image_combine(struct uimage *im, enum rdu_simd_op op, struct xsrc *from, int num,
			  uint32_t pad, const struct uprog *shape, double hx, double hy);
/* PCUs that takes; 0: there is nothing to combine, or the chip's PCUs cannot. */
int combining_pcus(const struct rdu_chip *chip, int64_t num);

/* Loops of a template: counters by dimension, in index units. */
struct loops {
	int num;
	struct {
		int dim; /* -1: none */
		int64_t start, step, trip;
		bool reduce;
	} l[UC_MAX];
	int num_outer, num_shared;
	int lane_dim; /* -1 */
	int lanes;
	int64_t reach[NEST_MAX_DIMS]; /* highest index + 1 that the loops produce */
	int64_t limit[NEST_MAX_DIMS]; /* and where it must stop */
};

/* Brings n streams together in turn, by a tree of PCUs: a vector of from[0], one of from[1] and so on to
 * from[n - 1], then the next of each. lp: the loops of one of them. from[] is used up. */
struct xsrc image_merge(struct uimage *im, struct xsrc *from, int n, const struct loops *lp,
			double hx, double hy, int op_id);
/* One more loop, innermost. */
void loops_add(struct uimage *im, struct loops *lp, int dim, int64_t start, int64_t step,
	       int64_t trip, bool reduce);

/* Expressions of the nest over the given loops. src_of[input] is filled with
 * source numbers, in order of first use (num_src). */
struct xbuild {
	const struct lnest *l;
	const struct loops *lp;
	struct xprog x;
	int num_src;
	/* source -> input, -1: the reduction's result, or one of two */
	int src_in[NEST_MAX_IN + 2];
	int memo[NEST_MAX_EXPR];
	struct xarg val[NEST_MAX_EXPR];
};

void xbuild_init(struct xbuild *b, const struct lnest *l,
		 const struct loops *lp); /* xprog_free(&b->x) */
struct xarg xbuild_expr(struct xbuild *b, int expr);
struct xarg xbuild_index(struct xbuild *b, int dim);
/* Where expressions have the reduction's result, that is r. */
void xbuild_result(struct xbuild *b, struct xarg r);
/* rounding: MOV, or as storing it to memory would round. */
void xbuild_output(struct xbuild *b, int expr, enum rdu_simd_op rounding);
void xbuild_output_arg(struct xbuild *b, struct xarg a);

/* An AGCU program for an access over loops, without the innermost ones that it does not
 * depend on; mask: those left out. */
int agcu_load(struct uimage *im, const struct lnest *l, const struct lacc *a,
	      const struct loops *lp, int op_id, uint32_t pad, double hx, double hy,
	      uint32_t *mask);
/* The same, once for all iterations of the loops that nests share where it reads the same in
 * several, and a scratchpad has room for it: who pushes. */
int once_load(struct uimage *im, const struct lnest *l, const struct lacc *a,
	      const struct loops *lp, int op_id, uint32_t pad, double hx, double hy,
	      uint32_t *mask);
int agcu_store(struct uimage *im, const struct lnest *l, const struct lacc *a,
	       const struct loops *lp, bool add, int op_id, double hx, double hy);

/* made.c: which operands of products are made, of weights above all, while they are loaded. */
void be_make_operands(struct backend *be);
/* How a storage is made so, and by which map; NULL: it is none of these. */
const struct made *be_made(const struct backend *be, struct tensor *t);
const struct nest *be_maker(const struct backend *be, struct tensor *t);
/* Is an operand of the nest made of something that the entry writes? */
bool be_makes_of_changing(const struct backend *be, const struct module_entry *e,
			  const struct nest *n);
/* be_independent(), once operands are made while they are loaded, by maps that are no nests of the entry any more. */
bool be_may_swap(const struct backend *be, const struct nest *a, const struct nest *b);
/* PCUs that it takes for each stream. */
int be_maker_pcus(const struct backend *be, const struct nest *maker);
/* *from pushes what a LOAD of that storage would, vector by vector. 0, or -1 with the reason in im->error. */
int be_make_stream(struct backend *be, struct uimage *im, const struct nest *maker,
		   const struct uprog *load, int op_id, struct xsrc *from);
int lower_map(struct backend *be, struct uimage *im, const struct lnest *l, const struct plan *pl,
	      int op_id);
/* The streaming form of a map without its STORE; *from: who pushes its one result, over these loops. 0 or
 * -1. */
int map_stream(struct backend *be, struct uimage *im, const struct lnest *l, struct loops *lp,
	       int op_id, struct xsrc *from);
/* 1: not a contraction this can do. */
int lower_contract(struct backend *be, struct uimage *im, const struct lnest *l,
		   const struct plan *pl, int op_id);

static inline int64_t ceil_div(int64_t a, int64_t b)
{
	return (a + b - 1) / b;
}

static inline int64_t min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static inline int64_t max64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* The greatest common divisor. */
static inline int64_t gcd64(int64_t a, int64_t b)
{
	while (b) {
		int64_t r = a % b;

		a = b;
		b = r;
	}
	return a < 0 ? -a : a;
}

#endif
