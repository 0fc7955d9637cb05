/* SPDX-License-Identifier: MIT */
/*
 * The middle of the compiler: what operators become (pass 4, patterns) and what
 * is fused, tiled, lowered and placed (passes 5 to 9). Nothing here, and nothing
 * after it, knows an operator.
 *
 * A *nest* is one parallel pattern over an index space: for every point of its
 * parallel dimensions,
 *     r      = reduce over the reduction dimensions of body(inputs, indices)
 *     out[i] = epilogue_i(r, inputs without reduction dimensions, indices)
 * map: no reduction; contraction: body is a product, reduce is ADD, or IADD of bytes;
 * window: accesses with several coefficients in one tensor dimension; gather: an access
 * whose index comes from another input.
 */
#ifndef RDUC_NEST_H
#define RDUC_NEST_H

#include <stdio.h>
#include <stdbool.h>
#include <stdint.h>
#include "rdu/cmd.h"
#include "rdu/config.h"
#include "rdu/program.h"

#define NEST_MAX_DIMS 10
#define NEST_MAX_IN 12
#define NEST_MAX_OUT 8
#define NEST_MAX_EXPR 64

enum tensor_kind {
	TENSOR_INPUT, /* bound at run time */
	TENSOR_OUTPUT, /* result of an entry point */
	TENSOR_WEIGHT, /* ONNX initializer that training may change, or a constant */
	TENSOR_STATE, /* kept from run to run: the optimizer's, or the model's; starts from data or zero */
	TENSOR_TEMP, /* everything between */
};

bool dtype_is_int(enum rdu_dtype dtype); /* codes are integers, too */
/* How elements lie in memory: as those of which type. */
enum rdu_dtype dtype_stored(enum rdu_dtype dtype);

struct tensor {
	char *name; /* unique in the module */
	enum tensor_kind kind;
	enum rdu_dtype dtype;
	int ndim; /* 0: scalar */
	int64_t dim[RDU_MAX_DIMS];
	/* Physical strides in elements. Row-major unless the layout pass changed
	 * them, which it may for TEMP only. */
	int64_t stride[RDU_MAX_DIMS];
	/* Same elements in the same row-major order as another tensor, under
	 * another shape (reshape, flatten, squeeze); no copy. NULL: own storage. */
	struct tensor *view_of;
	/* New value of a weight or state, to be stored over the old one (same
	 * shape). The nest that writes this one may read the old one only at the
	 * point it writes. NULL: own storage. */
	struct tensor *update_of;
	/* Row `row` + i of another tensor along its first dimension, in iteration i of the loop
	 * whose nests use this one; the tensor has one dimension more, and its rows are
	 * row-major. An input or output may be used outside of loops, too: it is row `row` then.
	 * NULL: own storage. */
	struct tensor *row_of;
	int64_t row;
	/* TEMP: what is copied to it in scratchpads, once for several nests (once.c), seen under the same shape; a
	 * nest may read that instead. NULL: nothing is. */
	struct tensor *copied;
	struct { /* of a matrix, the blocks that are there: RDU_SYM_BLOCKS */
		struct tensor *table; /* NULL: it is no such tensor */
		int64_t dim[2]; /* the matrix's */
		bool transposed;
	} packed;
	struct tensor *
		sizes; /* OUTPUT: what says how large it is in a run; NULL: as large as its shape */
	unsigned int sized; /* bit d: that has an element for dimension d */
	bool model_state; /* STATE: the model's, not the optimizer's */
	bool narrow; /* narrow.c: BF16 in memory, of an fp32 that whoever reads it rounds to that */
	void *unrounded; /* the fp32 that `data` was before; NULL: it was none, or is not narrow */
	bool constant; /* WEIGHT: part of the program, not one of the model's weights */
	uint32_t rows; /* RDU_SYM_ROWS() of its dimensions */
	int place; /* of an input or output among the models', from 1 on; 0: of none, or a loop's */
	void *data; /* shared_new(): initial contents, row-major, dtype; NULL: zeros or not known */
	int id; /* index in module->tensors */
};

/* Index in tensor dimension t: sum(coef[t][d] * i[d]) + offset[t] */
struct access {
	struct tensor *tensor;
	int32_t coef[RDU_MAX_DIMS][NEST_MAX_DIMS];
	int32_t offset[RDU_MAX_DIMS];
	bool guarded; /* the index may leave the tensor: then the value is `pad` */
	uint32_t pad; /* word */
	int gather_in; /* input whose int32 value is added to dimension gather_dim; -1: none */
	int gather_dim;
};

enum expr_kind {
	EXPR_IN, /* arg[0]: input */
	EXPR_IMM, /* imm */
	EXPR_INDEX, /* arg[0]: dimension; int32 */
	EXPR_RED, /* the reduction's result (epilogue only) */
	EXPR_LIVE, /* 1 at the nest's points; 0 in lanes and iterations that only fill up
		     * vectors and tiles: what they compute must not trap */
	EXPR_OP, /* op(arg[0], arg[1], arg[2]): expr numbers, smaller than its own */
	EXPR_CARRY, /* arg[0] * what it was one step before along dimension arg[2] + arg[1], rounded
		     * once; in front of the first step it was 0. One of a nest, which reduces nothing */
};

struct expr {
	enum expr_kind kind;
	enum rdu_simd_op op; /* any but MOV, RED_*, SHIFT */
	int arg[3];
	uint32_t imm;
};

/* IADD: int32, modulo 2^32; the others are of fp32. */
enum reduce_op { REDUCE_NONE, REDUCE_ADD, REDUCE_MAX, REDUCE_MIN, REDUCE_IADD };

struct nest_dim {
	int64_t extent;
	bool reduce;
	int shared; /* pipe.c: the nests of its group run it together, as loop number 1 (the
		     * outermost), 2, ...; 0: its own */
	char name[8]; /* for people: n, c, y, x, k, ... */
};

struct nest {
	char *name; /* ONNX node name(s) */
	char *op_type; /* for people only: "Conv", "grad of Conv" */
	char *remark; /* for the report; NULL: none */
	int ndim;
	struct nest_dim dim[NEST_MAX_DIMS];
	int num_in;
	struct access in[NEST_MAX_IN];
	int num_expr; /* one array; the body's and the epilogue's expressions */
	struct expr expr[NEST_MAX_EXPR];
	enum reduce_op reduce;
	int body; /* expr that is reduced; -1 when reduce is NONE */
	int num_out;
	struct {
		struct access access; /* reduction dimensions have coefficient 0 */
		int expr;
		bool add; /* add to what is there (scatter-add) instead of storing */
	} out[NEST_MAX_OUT];
	/* What the builders were asked for beyond the tables above: nest_check() refuses a
	 * nest that misses anything. */
	struct {
		int dims, in, out, expr;
	} missing;
	/* fuse.c: the two nests that this one was made of, NULL: none. Owned. */
	struct nest *fused[2];
	bool closed; /* fuse.c: is not fused (any further) */
	int group; /* pipe.c: the group that it is of, 0: none */
	/* lower.c: tiles of the linear form's dimensions that the section made of it sums over, 0: it
	 * is no contraction's */
	int64_t chunk[NEST_MAX_DIMS];
	int64_t split[NEST_MAX_DIMS]; /* and in how many parts, by replicas; likewise */
	int loop; /* number of the entry's innermost loop it is in, from 1 on; 0: in none */
	bool backward; /* of a training step: it is behind the model's own nests */
	bool again; /* recompute.c: it makes what an earlier nest made, and does not join that one */
	/* beside.c: what its section takes if it has one of its own; zeros: not known */
	struct nest_cost {
		uint64_t cycles, bytes, load_bytes; /* bytes over memory, and of its image */
		int units[3]; /* by enum rdu_unit, without those that hold what is resident */
	} cost;
	int run; /* beside.c: nests with the same number are to be a section, if they can be; 0: no matter */
};

/* Nests that run several times, in their order: those of one loop stand side by side, with those of
 * the loops in it. */
struct nest_loop {
	char *name; /* ONNX node */
	int parent; /* number of the loop that it is in, a lower one; 0: in none */
	int64_t trip; /* iterations, at least one */
};

struct module_entry {
	char name[32]; /* forward, train_step, ... */
	int num_nests;
	struct nest **nests; /* in order of execution */
	int num_loops;
	struct nest_loop *loop; /* loop k of a nest is loop[k - 1] */
	int once_of; /* entry of this number + 1, the iterations but the first left out of loops that
		      * are in none: it has no nests of its own; 0: of none */
};

struct module {
	char *name;
	int num_tensors;
	struct tensor **tensors;
	int num_places; /* of inputs and outputs: struct tensor, place */
	int num_entries;
	struct module_entry *entries;
};

/* nest.c: builders, checks, printing. When a table of a nest is full, nest_dim() ... nest_op()
 * return its last place, and nest_check() says what is missing. */
struct module *module_new(const char *name);
void module_free(struct module *m);
struct tensor *module_tensor(struct module *m, const char *name, enum tensor_kind kind,
			     enum rdu_dtype dtype, int ndim, const int64_t *dim);
void tensor_free(struct tensor *t);
struct module_entry *module_entry(struct module *m, const char *name);
struct nest *module_nest(struct module *m, struct module_entry *e, const char *name,
			 const char *op_type);
/* One more loop of the entry, in loop `parent` or (0) in none: its number. Nests of it are made
 * next, with module_nest(). */
int module_loop(struct module_entry *e, const char *name, int parent, int64_t trip);
/* Is loop number `loop`, 0 for none, loop `outer`, or within it? All are within 0. */
bool loop_within(const struct module_entry *e, int loop, int outer);
/* The innermost loop that both are within; 0: none. */
int loop_around(const struct module_entry *e, int a, int b);
/* Of the loops that `loop` is within, the outermost that is within `outer` and not `outer` itself. */
int loop_below(const struct module_entry *e, int loop, int outer);
/* How many loops `loop` is within, with itself. */
int loop_depth(const struct module_entry *e, int loop);
/* The nests around number k that are within that loop, which it is: from *first to *last. */
void loop_nests(const struct module_entry *e, int loop, int k, int *first, int *last);
/* Row `row` + i of t in iteration i of a loop: a temporary of t's other dimensions, for nests that
 * are in that loop and in no loop within it. */
struct tensor *module_row(struct module *m, struct tensor *t, int64_t row);
/* The entry that the nests of entry number `entry` are in. */
const struct module_entry *module_entry_nests(const struct module *m, int entry);
/* How often they run there. */
int64_t module_trip(const struct module *m, int entry, const struct nest *n);
/* What a view or a new value of a tensor lies in; t itself, if it is none. */
struct tensor *tensor_storage(struct tensor *t);
/* What a view, a new value or a row of a tensor is part of; t itself, if it is none. */
struct tensor *tensor_whole(struct tensor *t);
/* Does a loop begin or end between nests `first` and `last` of an entry? Such nests are never
 * joined or exchanged. Places without a nest (NULL) don't count. */
bool nests_apart(const struct module_entry *e, int first, int last);
/* Take a nest out again, and free it. */
void module_drop(struct module_entry *e, struct nest *n);
int nest_dim(struct nest *n, const char *name, int64_t extent, bool reduce);
/* Is the body a product, and summed, in fp32 or as int32? */
bool nest_sums_products(const struct nest *n);
/* The input that factor k, 0 or 1, of such a product reads, as it is or by ternary weights; -1: it is
 * another expression. */
int nest_factor(const struct nest *n, int k);
/* Is an access one of two inputs whose product is summed along an axis of its tensor? */
bool nest_sums_along(const struct nest *n, const struct access *a, int axis);
/* Sixteen weights to a word, each 0, 1 or -1 in two bits (config.h, TERNARY): that of the word that
 * an input gives, at the place that is the index along dimension d, of extent 16. */
int nest_ternary(struct nest *n, int input, int d);
/* Is an expression such a weight? */
bool nest_is_ternary(const struct nest *n, int expr, int *input, int *d);
/* Does an expression use the index along dimension d itself, or what it was one step before? */
bool nest_counts(const struct nest *n, int d);
/* The dimension that a nest carries a number along, whose steps come one after another; -1: none. */
int nest_carried(const struct nest *n);
/* Cuts dimension d: it keeps the steps of `inner`; a new one, the last, has those within. */
void nest_cut_dim(struct nest *n, int d, int64_t inner);
int nest_input(struct nest *n, struct tensor *t); /* all coefficients 0 */
int nest_output(struct nest *n, struct tensor *t, int expr);
int nest_in(struct nest *n, int input);
int nest_imm_f(struct nest *n, float v);
int nest_imm_i(struct nest *n, int32_t v);
int nest_index(struct nest *n, int dim);
int nest_red(struct nest *n);
int nest_live(struct nest *n);
/* value, or the run stops (fault VALUE) where `bad`, an int, is not 0. */
int nest_trap(struct nest *n, int value, int bad, enum rdu_trap why);
int nest_op(struct nest *n, enum rdu_simd_op op, int a, int b, int c); /* -1: unused */
int nest_carry(struct nest *n, int factor, int addend, int dim);
int nest_expr(struct nest *n, const struct expr *e); /* equal ones are made once */
/* 0, or -1 and what is wrong. The back half runs it on every nest after each pass that makes
 * or changes nests. */
int nest_check(const struct nest *n, char *error, int error_size);
/* All storages that an entry's nests use have lower ids. */
int module_entry_ids(const struct module_entry *e);
/* Are the loops of an entry in one piece each, their rows in their tensors, and only theirs? No more
 * lie in each other than the card has room for? */
int module_check_loops(const struct module_entry *e, char *error, int error_size);
/* All nests of an entry, loops as "loop NAME of N:" around theirs. */
void module_entry_print(const struct module_entry *e, void *file);
void nest_print(const struct nest *n, void *file);
/* The nearest bf16 of an fp32's bits, even of two; of a NaN, one NaN. */
uint16_t bf16_of(uint32_t word);
/* Plain interpreter of one nest on row-major host arrays: the oracle of tests.
 * data[tensor->id]. bf16: round contraction inputs as the systolic array does.
 * 0, or why the card would stop (RDU_TRAP_INDEX too where it says BOUNDS). */
int nest_eval(const struct nest *n, void **data, bool bf16);
#define NEST_NOISE_ULPS 64
/* As nest_eval, but every result that fp32 has to round is off by up to NEST_NOISE_ULPS units in
 * the last place, at random (*state: any seed, left for the next nest). What several such runs
 * differ by is how sensitive a result is to the order of sums and the functions' last bits. */
int nest_eval_noisy(const struct nest *n, void **data, bool bf16, uint64_t *state);
/* nest_eval() of all nests of an entry, those of loops as often as they run. */
int module_entry_eval(const struct module_entry *e, void **data, bool bf16);
/* What it returned, in words. */
const char *nest_trap_text(int why);

/* Most terms that one accumulator adds up. */
#define SUM_TERMS 16384
/* sums.c: nests that add up more become sums of blocks, and sums of those. 0, or -1
 * and which nest cannot be cut. */
int module_split_sums(struct module *m, char *error, int error_size);

/* ---- the passes after patterns ------------------------------------------ */

enum rduc_when { WHEN_FASTER, WHEN_POSSIBLE, WHEN_NEVER }; /* auto, always, never */

struct rduc_options {
	const struct rdu_chip *chip;
	int opt; /* 0, 1, 3 */
	int tiles; /* virtual tiles; 0: one */
	int threads; /* that compile; 0: one */
	enum rduc_when pipe; /* groups of nests, at -O3 */
	enum rduc_when hold; /* what loops read stays in scratchpads (not at -O0) */
	bool fp32; /* contractions in fp32 on SIMD units, even if there is an array */
	const char *model; /* for the meta section */
	const char *meta; /* more "key value" lines of it; NULL: none */
	FILE *program; /* the program file; NULL: by the name given to rduc_backend() */
	FILE *report; /* NULL: none */
	FILE *report_json; /* the same for programs; NULL: none */
	FILE *floor_plan; /* SVG; NULL: none */
	FILE *dot; /* graph; NULL: none */
	const char *print_after; /* pass name, comma separated; NULL: none */
	FILE *log; /* where that goes; NULL: standard error */
	const struct progress *progress; /* NULL: nobody wants to know */
	FILE *summary; /* what was made, in a few lines; NULL: not said */
	void (*note)(void *arg, const char *text); /* for each of the report's; NULL: not said */
	void *note_arg;
};

/* backend.c: fuse, layout, tile, lower, place, route, emit. Writes the program
 * file. 0, or -1 with a text. */
int rduc_backend(struct module *m, const struct rduc_options *opt, const char *out_path,
		 char *error, int error_size);

#endif
