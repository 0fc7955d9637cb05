/* SPDX-License-Identifier: MIT */
/*
 * Graph IR: what import makes of an ONNX file and what simplify and
 * differentiate work on (passes 1 to 3); patterns (pass 4) turns it into nests.
 *
 * All of a graph lives in one arena: graph_free() frees everything. Functions
 * that can fail return -1 or NULL after writing a text with graph_error().
 */
#ifndef RDUC_GRAPH_H
#define RDUC_GRAPH_H

#include <stdarg.h>
#include <stddef.h>
#include "nest.h"

#define GRAPH_MAX_ELEMENTS (1ll << 36)
#define GRAPH_MAX_FOLD 65536 /* elements of a constant that folding may make */

struct graph;
struct node;

/* A matrix of which a value has the blocks that are there (program.h, RDU_SYM_BLOCKS). */
struct block_packing {
	int64_t dim[2];
	bool transposed;
	struct value *table;
};

/* A number that is made of the sizes of dimensions: an element of a Shape, and what is computed of it. */
struct extent {
	int64_t most; /* what it is, or at most */
	struct value *size; /* int64 scalar: what it is in a run; NULL: `most` */
	int64_t least; /* what it is at least, if a run says: below 0, it may be no size */
};

/* An operator of two sizes, that has been made. */
struct size_op {
	const char *op;
	struct value *in[2], *out;
	struct size_op *next;
};

struct value {
	char *name;
	enum rdu_dtype dtype;
	int ndim; /* -1: not inferred yet */
	int64_t dim[RDU_MAX_DIMS];
	/* bounded.c: how many of a dimension a run has, int64 scalars; NULL: all. What lies behind
	 * them has no meaning. */
	struct value *size[RDU_MAX_DIMS];
	struct value *places; /* what NonZero made of it: one size, for all that ask */
	const struct sequence
		*sequence; /* patterns_sequence.c: it is one, and no tensor; NULL: it is none */
	const struct extent *extents; /* of its elements, in order; NULL: it is not made of sizes */
	struct value
		*in_range; /* of an input of sizes: 0, or the run stops: one is out of its range */
	enum tensor_kind kind;
	bool constant; /* data never changes: may be folded */
	bool unknown; /* what makes it was refused: nothing can be said of it */
	const struct declared *declared; /* by the file; NULL: nothing */
	bool trainable;
	const char *why; /* a weight: is it trained, or why not (parameters.c) */
	unsigned int roles; /* parameters.c */
	void *data; /* row-major; WEIGHT, STATE or folded */
	void *shared; /* the same, if tensors may own it as well; else NULL, or what it was before */
	struct node *producer;
	const struct node
		*dequantized; /* the DequantizeLinear that it is the result of; NULL: of none */
	struct value *alias; /* is the same value as this one (identity removed) */
	struct value *update_of;
	struct value *grad; /* differentiate: sum so far; NULL: none */
	bool needs_grad;
	bool given; /* an input whose value is an option's: it is a constant */
	bool of_weights; /* differentiate: made of weights and constants alone */
	bool initializer; /* of the file, not the contents of an attribute */
	bool sparse; /* one that the file has as a sparse tensor */
	int uses; /* simplify: by nodes of the file, and as results */
	struct node *reader; /* simplify: the node of a single use; NULL: there is none */
	const struct block_packing
		*packing; /* sparse.c: of the weight's blocks, or its state's; NULL: it is whole */
	bool model_state; /* a STATE that was an input, not one of the optimizer's */
	bool no_decay; /* a weight: as it is, without weight decay */
	const struct loop
		*varies; /* is another one in each iteration of this loop; NULL: of none */
	int64_t counts; /* a Loop's iterations, of which it is the number; 0: it is none such */
	bool wanted; /* graph_mark: a live node reads it, or it is a root */
	unsigned char sized[RDU_MAX_DIMS]; /* an input: import_options' dim of this number + 1 says
					    * the dimension; 0: none does */
	bool tells; /* rows.c: its elements tell the dim's size */
	bool shaped; /* rows.c: its shape does, and it is a constant */
	bool depends; /* rows.c: it is made of inputs that have the dim */
	struct value *bytes; /* value_as_bytes(); itself: it is none. NULL: not looked at */
	struct tensor *tensor; /* patterns: in the current entry point */
};

/* The tensors that are in a sequence, all of one type. */
struct sequence {
	enum rdu_dtype dtype;
	int num;
	struct value **item;
};

/* What a file says of a value that a node makes. */
struct declared {
	const char *name;
	enum rdu_dtype dtype; /* 0: not said */
	int ndim; /* -1: not said */
	int64_t dim[RDU_MAX_DIMS]; /* -1: open */
};

enum attr_kind {
	ATTR_INT,
	ATTR_FLOAT,
	ATTR_STRING,
	ATTR_INTS,
	ATTR_FLOATS,
	ATTR_TENSOR,
	ATTR_STRINGS,
	ATTR_GRAPH
};

/* A graph that is an attribute: the body of ONNX's Scan and Loop. */
struct subgraph {
	int num_in, num_out, num_nodes;
	struct value **in, **out;
	struct node **nodes; /* topological order */
	int num_captured; /* values of the graph around it that nodes of it read */
	struct value **captured;
};

/*
 * What runs `trip` times, on the card: the body of a Recurrence node. The node's inputs are the
 * first values of what is carried, the tensors that are read row by row, and all else that the
 * body reads. Its outputs are what was carried, [trip + 1, ...], row 0 being the first value and
 * row t + 1 that after iteration t; results of the iterations, [trip, ...]; sums over them.
 */
struct loop {
	int64_t trip;
	int num_carried, num_rows, num_stacked, num_summed;
	struct value **carried; /* in the body: from the iteration before */
	struct value **next; /* and for the one after it */
	struct value **row; /* in the body: row t of a tensor, in iteration t */
	struct value **stacked; /* in the body: becomes row t */
	struct value **summed; /* in the body: what is added */
	int num_nodes;
	struct node **nodes; /* topological order */
	struct value *
		linear; /* patterns_linear.c: what is carried after each iteration; NULL: it is a loop */
};

struct attr {
	const char *name;
	enum attr_kind kind;
	int64_t i;
	float f;
	const char *s;
	int num;
	int64_t *ints;
	float *floats;
	struct value *tensor;
	const char **strings;
	struct subgraph *graph;
	struct attr *next;
};

struct node {
	char *name;
	const struct op *op;
	int num_in, num_out;
	struct value **in; /* NULL: optional input not given */
	struct value **out; /* NULL: optional output not wanted */
	struct attr *attrs;
	/* Internal operators that are the gradient of a map. */
	const struct op *of;
	struct node *of_node;
	struct loop *loop; /* Recurrence */
	int depth; /* import: of the graph around it, 0 for the model's */
	int num_real; /* inputs without those that a subgraph captures; of nodes that have one */
	bool live, visiting, sorted;
};

struct lower {
	struct module *module;
	struct module_entry *entry;
	struct graph *graph;
	const char *prefix; /* of temporary tensors' names */
	const char *scope; /* of the names of inputs, outputs and constants; "": the model's own */
	int loop; /* of the entry, that nests are made for; 0: none */
	bool backward; /* nests are made for nodes behind the model's own */
};

/*
 * An operator: defined here once, with its gradient. One of expand, pattern or
 * view says what it is.
 */
struct op {
	const char *name;
	const char *domain; /* ONNX's; NULL: the default one */
	int min_in, max_in, max_out; /* max_in < 0: any number */
	/* Shapes and types of n->out. */
	int (*infer)(struct graph *g, struct node *n);
	/* As expand, for some nodes only: 1 if this is one, 0, or -1. */
	int (*rewrite)(struct graph *g, struct node *n);
	/* Replace by other nodes: calls graph_replace() for the outputs. */
	int (*expand)(struct graph *g, struct node *n);
	/* n->out[0]->grad is there: call graph_add_grad() for inputs that need it. */
	int (*gradient)(struct graph *g, struct node *n);
	/* Append nests. */
	int (*pattern)(struct lower *l, struct node *n);
	/* out[0] is in[0] under another shape. */
	bool view;
	bool stop_gradient; /* derivative is zero (or not defined): not an error */
	const struct map *map;
	bool optional_first; /* a node need not name its first output */
	bool internal; /* not an ONNX operator: made by passes */
	bool in_place; /* out[0] may lie over in[0], of which the rest stays as it is */
	bool sequences; /* its inputs may be sequences */
	bool missing; /* named in a file, and nothing that is known here */
	/* Fold constants on the host (integers the fabric would not compute). */
	int (*fold)(struct graph *g, struct node *n);
};

struct graph_output {
	char *name;
	struct value *value;
	struct value *state; /* what it is the next value of; NULL: it is a result */
	const char *
		sizes; /* the output that says how large it is in a run; NULL: as large as its shape */
	unsigned int sized; /* bit d: that has an element for dimension d */
};

struct arena_block;

/* Why a model is refused: what was said of `count` nodes, inputs, ... */
struct reason {
	const char *first; /* "node 'a' (Conv)"; "": the text is of the model as a whole */
	const char *kind, *text;
	int count;
	const char *more[3]; /* names of the next ones */
	struct reason *next;
};

struct graph {
	struct arena_block *arena;
	int num_shared, room_shared;
	void **shared; /* contents of values that it owns, perhaps with others */
	char *name;
	int opset;
	int num_values, cap_values;
	struct value **values;
	int num_nodes, cap_nodes;
	struct node **nodes; /* topological order */
	int num_outputs;
	struct graph_output *outputs;
	/* differentiate: nodes[0 .. num_forward) are the forward graph */
	int num_forward;
	struct value *loss;
	int64_t num_classes; /* that labels can be of; 0: there are no labels */
	int num_updates;
	struct value **updates;
	int num_accumulations; /* new values of the sums of gradients: accumulate_step */
	struct value **accumulations;
	int64_t steps; /* as in struct train_options */
	bool in_body; /* between body_begin() and body_end() */
	struct value *counts; /* whether what is being made counts, a bool; NULL: it does */
	bool in_branch; /* of an If whose condition is computed on the card: both branches are */
	int counter; /* for unique names */
	int error_size;
	char *error; /* the caller's */
	int num_reasons;
	struct reason *reasons, **last_reason;
	int num_defaults; /* inputs with a value in the file, which is used */
	const char *default_input; /* the first of them */
	const char *path; /* of the model's file; NULL: it has none */
	bool own_shapes; /* inputs have the shapes that the file gives them */
	const char *first_beyond; /* a pool's result that the file has a window more of, or NULL */
	uint64_t dims_used; /* bit d: an input has import_options' dim number d */
	bool batch_used; /* an input has import_options' batch */
	bool arrays; /* the chip has systolic arrays */
	enum rduc_when
		sparse; /* zeros of weights are left out: of sparse initializers, of all, never */
	/* For products that leave zeros out: terms that a sum has at most, by blocks; words that there are, in
	 * two copies, for the terms of single numbers, and lanes of their vectors. */
	int64_t most_terms, most_words, lanes;
	int64_t most_unpacked; /* numbers of a matrix that scratchpads have room for beside others */
	/* Weights that would leave some out, but aren't to, or have more terms, or are kept whole: in training,
	 * or by their names. */
	int num_blank, num_long, num_kept;
	const char *first_blank, *first_long, *first_kept;
	double macs_per_byte; /* products that arrays do while memory moves a byte */
	int num_bound; /* weights of two of four that are dense, since arrays bound their products */
	const char *first_bound;
	int64_t first_most; /* terms, for the first long one */
	bool counts_runs; /* patterns_random.c: it has a state that does */
	struct size_op *size_ops; /* bounded.c */
	bool trained; /* gradients will be wanted: nothing becomes an operator that has none */
	bool unbiased; /* as in struct train_options */
};

/* ---- patterns_sequence.c, patterns_unroll.c ------------------------------ */

void sequence_append(struct graph *g, struct sequence *s, struct value *v);
/* Its tensors one behind the other along an axis, or, stacked, along a new one. NULL on error. */
struct value *sequence_joined(struct graph *g, const char *name, const struct sequence *s,
			      int64_t axis, bool stack);
/* Does a Loop read any, or carry any? */
bool loop_has_sequences(const struct node *n);
/* Makes its iterations, at most so many, one by one. */
int loop_unrolled(struct graph *g, struct node *n, const struct subgraph *s, int64_t most);

/* ---- graph.c ------------------------------------------------------------ */

struct graph *graph_new(char *error, int error_size);
void graph_free(struct graph *g);
void *graph_alloc(struct graph *g, size_t size); /* zeroed, never NULL */
char *graph_strdup(struct graph *g, const char *s);
char *graph_format(struct graph *g, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Returns -1. */
int graph_error(struct graph *g, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "node 'conv1' (Conv): ..." Returns -1. */
int node_error(struct graph *g, const struct node *n, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Keep the error as one reason of perhaps many, and go on: it was met at `name`, a
 * node with operator `op`, an input or an initializer (op NULL). graph_report() puts
 * all of them, each once, into the error: 0 if there are none, else -1.
 */
void graph_collect(struct graph *g, const char *kind, const char *name, const char *op);
int graph_report(struct graph *g);

struct value *graph_value(struct graph *g, const char *name);
struct value *graph_find(struct graph *g, const char *name);
/* A value has contents from now on: zeros, which whoever calls fills. */
void *graph_contents(struct graph *g, struct value *v);
/* A constant or a state with data (copied) or zeros. */
struct value *graph_const(struct graph *g, enum rdu_dtype dtype, int ndim, const int64_t *dim,
			  const void *data);
struct value *graph_const_f(struct graph *g, float v);
struct value *graph_const_i(struct graph *g, int64_t v); /* int64 */
void graph_append(struct graph *g, struct node *n);

struct node *node_new(struct graph *g, const char *op, const char *name);
void node_input(struct graph *g, struct node *n, struct value *v);
void node_attr_i(struct graph *g, struct node *n, const char *name, int64_t v);
void node_attr_f(struct graph *g, struct node *n, const char *name, float v);
void node_attr_s(struct graph *g, struct node *n, const char *name, const char *v);
void node_attr_ints(struct graph *g, struct node *n, const char *name, int num, const int64_t *v);
struct attr *node_attr(const struct node *n, const char *name);
int64_t attr_i(const struct node *n, const char *name, int64_t otherwise);
float attr_f(const struct node *n, const char *name, float otherwise);
const char *attr_s(const struct node *n, const char *name, const char *otherwise);
const int64_t *attr_ints(const struct node *n, const char *name, int *num);
struct value *node_in(const struct node *n, int i); /* NULL: not given */

int64_t dims_count(int ndim, const int64_t *dim); /* -1: too many */
int64_t value_count(const struct value *v);
int dtype_bytes(enum rdu_dtype dtype);
/* The types of at most 8 bits that ONNX has besides int8, uint8 and bool: floating-point ones, which
 * the card has as codes, and integers of 2 and 4 bits. Few operators take them. */
bool dtype_is_small(enum rdu_dtype dtype);
bool dtype_is_code(enum rdu_dtype dtype);
int dtype_bits(enum rdu_dtype dtype); /* in a file; in memory an element has whole bytes */
const char *dtype_name(enum rdu_dtype dtype);
bool dtype_is_unsigned(enum rdu_dtype dtype);
/* A float16's value, and the float16 nearest to a number. */
float half_value(uint16_t h);
uint16_t half_bits(double v);
/* Set an output's shape and type; checks limits. */
int node_shape(struct graph *g, struct node *n, int out, enum rdu_dtype dtype, int ndim,
	       const int64_t *dim);
/* Element i of a constant of integers. A uint64 beyond int64 is negative. */
int64_t value_int(const struct value *v, int64_t i);
/* Element i of a constant of any type. */
double value_real(const struct value *v, int64_t i);
/* Is it one that the card's words can hold, and the word that it becomes there. */
bool value_fits_word(const struct value *v, int64_t i);
uint32_t value_word(const struct value *v, int64_t i);
bool values_constant(int num, struct value *const *v); /* all of them */
/* A large constant of whole numbers from 0 to 255, as most masks are, of one byte each, under the same name. NULL:
 * it is another. */
struct value *value_as_bytes(struct graph *g, struct value *v);
/* Integers of a constant of any integer type; NULL and an error if it isn't one. */
const int64_t *node_const_ints(struct graph *g, struct node *n, int in, int *num);
bool value_same_shape(const struct value *a, const struct value *b);
struct value *value_resolve(struct value *v);
const char *value_shape_text(struct graph *g, const struct value *v);
void graph_print(const struct graph *g, void *file);

/* ---- schema.c: what ONNX's operators are ---------------------------------- */

/* Is the node one of g's opset, with attributes and inputs that are known? */
int schema_check(struct graph *g, const struct node *n);
/* Sets g->opset, if it is a version that is known. */
int schema_check_opset(struct graph *g, int64_t version);
int schema_newest_opset(void);

/* ---- estimator.c -------------------------------------------------------- */

/* Is it x + (y - x), whatever the shapes? x, and y in *value; NULL: it is not. */
struct value *graph_straight_through(const struct node *n, struct value **value);
/* Those of rounded values become nodes StraightThrough(y, x). Before anything else. */
void graph_find_estimators(struct graph *g);
/* Such a node as the sum that it was. */
int graph_through_as_sum(struct graph *g, struct node *n);
/* From here on they are their values alone: what gradients went to need not be computed. */
void graph_forget_estimated(struct graph *g);

/* ---- graph_ops.c: the table of operators -------------------------------- */

const struct op *op_find(const char *name); /* in the default domain, or an internal one */
const struct op *op_find_in(const char *domain, const char *name);
void op_list(void *file);
extern const struct op ops_map[], ops_matmul[], ops_conv[], ops_reduce[], ops_shape[], ops_train[],
	ops_index[], ops_pool[], ops_part[], ops_resize[], ops_compose[], ops_loop[],
	ops_recurrent[], ops_scan[], ops_scatter[], ops_quantize[], ops_norm[], ops_attention[],
	ops_sample[], ops_block[], ops_select[], ops_grid[], ops_signal[], ops_optimizer[],
	ops_roi[], ops_random[], ops_training_mode[], ops_contrib[], ops_decoder[], ops_gradient[],
	ops_bounded[], ops_boxes[], ops_unique[], ops_linear[], ops_estimator[], ops_sequence[];
bool broadcast_dims(int na, const int64_t *a, int nb, const int64_t *b, int *nd, int64_t *d);

/* Infer, fold, expand or append. Used for every node once, in order. */
int graph_process(struct graph *g, struct node *n);
/*
 * bounded.c: the same for a node of the model, whose inputs may be bounded: how large they are depends
 * on data. What the node makes of them is bounded, too; an operator that has no rule for that is an
 * error.
 */
int graph_process_bounded(struct graph *g, struct node *n);
/* Inputs of n that stop a run become numbers that stop none where n does not count (g->counts). */
int counting_guard(struct graph *g, struct node *n);
/* Where valid is true and g->counts is; of either alone if the other is NULL. NULL on error, or if both are. */
struct value *counting_and(struct graph *g, const char *name, struct value *valid);
/* Where v has elements that count: bool, of a shape that broadcasts to v's; NULL on error. v is bounded. */
struct value *bounded_valid(struct graph *g, const char *name, const struct value *v);
bool value_is_bounded(const struct value *v);
/* v with `fill` in place of what does not count. NULL on error, or if v is. */
/* LAST: behind all numbers in order; NaN, or an integer's greatest. */
enum bounded_fill { FILL_ZERO, FILL_ONE, FILL_LOWEST, FILL_HIGHEST, FILL_LAST };
struct value *bounded_fill_value(struct graph *g, const char *name, enum rdu_dtype t,
				 enum bounded_fill fill);
struct value *bounded_filled(struct graph *g, const char *name, struct value *v,
			     enum bounded_fill fill);
/* A value that nobody has yet, of which `size` of dimension d count; those alone, if that is known. */
struct value *bounded_sized(struct graph *g, const char *name, struct value *v, int d,
			    struct value *size);
/* a or b, of one type and rank, by a scalar condition; where they differ in size, so does the result. */
struct value *bounded_choose(struct graph *g, const char *name, struct value *cond, struct value *a,
			     struct value *b);
/* Inputs that are sizes, of ranges that are known: their elements may say how large what is. A run's have to be
 * in them. */
int bounded_inputs(struct graph *g);
/* Is that looked at, where the graph was made with a number for an element? */
int bounded_inputs_checked(struct graph *g);
/* The outputs that say how large others are. */
int bounded_outputs(struct graph *g);
/* patterns_bounded.c: the places of mask [n], in order, that are true, int32 [n], and 0 behind them; how many
 * they are, an int64 scalar. NULL on error. */
struct value *bounded_places(struct graph *g, const char *name, struct value *mask,
			     struct value **size);
/* The same, and hand back out[0]; NULL on error. Fills in one output. */
struct value *graph_finish(struct graph *g, struct node *n);
struct value *graph_op1(struct graph *g, const char *op, const char *name, struct value *a);
struct value *graph_op2(struct graph *g, const char *op, const char *name, struct value *a,
			struct value *b);
struct value *graph_op3(struct graph *g, const char *op, const char *name, struct value *a,
			struct value *b, struct value *c);
struct value *graph_reshape(struct graph *g, const char *name, struct value *v, int ndim,
			    const int64_t *dim);
struct value *graph_cast(struct graph *g, const char *name, struct value *v, enum rdu_dtype to);
/* `count` elements of v along an axis, from `from` on, or backwards from there. */
struct value *graph_slice(struct graph *g, const char *name, struct value *v, int64_t axis,
			  int64_t from, int64_t count, bool backwards);
/* patterns_scatter.c: how many elements along an axis come before each, int32; where those with the ranks 0 to
 * k - 1 are, int64. */
struct value *graph_rank(struct graph *g, struct node *n, struct value *x, int64_t axis,
			 bool largest, bool last);
struct value *graph_rank_places(struct graph *g, struct node *n, struct value *rank, int64_t axis,
				int64_t k);
/* Both: where the k largest (smallest) elements along an axis are, in order; of
 * equal ones the first (last) comes first. */
struct value *graph_rank_index(struct graph *g, struct node *n, struct value *x, int64_t axis,
			       int64_t k, bool largest, bool last);
/*
 * patterns_sample.c: one of the tokens that logits [v] are of, int64 [1]; NULL on error. What it
 * reads besides has one element: temperature (float; 0: always the best token), top_k (uint32; 0:
 * of all tokens), top_p (float; not between 0 and 1: of all), seed (uint32), and the number of the
 * token (an integer): the same of all give the same token on each card.
 */
#define SAMPLE_MAX_TOKENS (1 << 18) /* of logits */
struct sample_inputs {
	struct value *temperature, *top_k, *top_p, *seed, *number;
};
struct value *graph_sample(struct graph *g, struct value *logits, const struct sample_inputs *in);
struct value *graph_likeliest(struct graph *g, struct value *logits); /* as at temperature 0 */
/* Gumbel's distribution, of 32 random bits: -log(-log(1 - v)) of v in (0, 1). */
int expr_gumbel(struct nest *nest, int bits);
/* patterns_random.c: Dropout, if `training` (bool) says so; its result, and what is kept. */
int random_dropout(struct graph *g, struct node *n, struct value *training, struct value **y,
		   struct value **kept);

/* patterns_counted.c: as .rewrite of struct op, for Slice. */
int graph_counted_slice(struct graph *g, struct node *n);

/* training_mode.c: of a graph that is trained, a value in steps of training, and in other entry points. */
struct value *graph_by_mode(struct graph *g, const char *name, struct value *step,
			    struct value *otherwise);
/* For the entry point that is lowered next: is it a step of training? */
void graph_choose_mode(struct graph *g, bool step);
/* A tensor that a run leaves another value in: `next`, for which graph_kept() asks, else itself. */
void graph_keep(struct graph *g, struct value *state, struct value *next);
struct value *graph_kept(const struct graph *g, struct value *state);
void graph_replace(struct node *n, int out, struct value *by);
/* The first output by a value; -1 if that is NULL. */
int graph_replace_first(struct node *n, struct value *by);
/* A reduction over axes (operators that had these as an attribute once). */
struct value *graph_reduce(struct graph *g, const char *op, const char *name, struct value *x,
			   int num_axes, const int64_t *axes, int keep);
/* Of MatMul, Gemm and Einsum of integers, which are computed one by one. */
#define MOST_INTEGER_PRODUCTS (1 << 22)
/* patterns_einsum.c: an Einsum of any equation as plain ones, of two operands with every letter
 * once in each. 1, or -1. */
int graph_einsum(struct graph *g, struct node *n);
/* Refuse integers as the first input. */
int node_float_only(struct graph *g, struct node *n);
/* The least number of rows of a table that v's numbers are looked up in; 0: of none. tokens.c */
int64_t graph_rows_of(const struct graph *g, const struct value *v);
/* Make an axis count from the front, or say that it is out of range. */
int node_axis(struct graph *g, struct node *n, int64_t *axis, int ndim);

/* patterns_linear.c: a Recurrence that only multiplies what it carries and adds to it is no loop. 0, or -1. */
int graph_linear(struct graph *g, struct node *n);

/* ---- loop.c: loops of the graph ----------------------------------------------- */

/* Nodes that are appended from here to body_end() are a loop's body. */
struct graph_body {
	struct node **nodes; /* of the graph around it */
	int num_nodes, cap_nodes;
	bool in_body;
};
void body_begin(struct graph *g, struct graph_body *b);
/* Gives the body's nodes to the loop. */
void body_end(struct graph *g, struct graph_body *b, struct loop *l);
/* Undoes body_begin() after an error. -1. */
int body_drop(struct graph *g, struct graph_body *b);
struct loop *loop_new(struct graph *g, int64_t trip, int num_carried, int num_rows, int num_stacked,
		      int num_summed);
/* A value of the body, in place of a carried one or a row: that of v without its first
 * dimensions `skip`. */
struct value *loop_value(struct graph *g, const char *name, const struct value *v, int skip);
/*
 * The node of a loop whose body is complete: first[] are the first values of what is carried,
 * rows[] the tensors read by rows. What is the same in all iterations goes in front of it. NULL
 * on error; its outputs are as struct loop says. Of one iteration no loop is made: the body's nodes
 * become the graph's, and the node is in no list; what is carried lacks the first row then. Read
 * what is carried with loop_after() and loop_last().
 */
struct node *loop_finish(struct graph *g, const char *name, struct loop *l,
			 struct value *const *first, struct value *const *rows);
/* Of what is carried, number k: the values after all iterations, [trip, ...]; after the last one. */
struct value *loop_after(struct graph *g, const char *name, const struct node *n, int k);
struct value *loop_last(struct graph *g, const char *name, const struct node *n, int k);
/* Element number `at` along an axis, without the axis. */
struct value *graph_pick(struct graph *g, const char *name, struct value *v, int64_t axis,
			 int64_t at);
/* 0, 1, ... trip - 1, of an integer type: what the iterations of a loop count. */
struct value *loop_count(struct graph *g, enum rdu_dtype dtype, int64_t trip);
/* Marks what a gradient can reach in a loop, and of its outputs. `visit` is called for each
 * node of the body. */
void loop_needs(struct node *n, void (*visit)(void *arg, struct node *n), void *arg);

/* ---- passes --------------------------------------------------------------- */

struct import_shape {
	const char *name;
	int ndim;
	int64_t dim[RDU_MAX_DIMS];
	const char *named[RDU_MAX_DIMS]; /* of a dim that says it instead; NULL: it is the number */
};

/* The size of a dimension that goes by a name. */
struct import_dim {
	const char *name;
	int64_t size;
};
#define IMPORT_MAX_DIMS 64

/* An input whose elements, or ranges of them, are known while compiling: numbers with commas between
 * them. One number is that of all. */
struct import_value {
	const char *name, *numbers;
};

/* An input that is kept from run to run, and the output that takes its place. A '*' in both stands
 * for the same text. */
struct import_state {
	const char *in, *out;
};

/* Names of weights: as they are, or fnmatch(3) patterns. */
struct name_patterns {
	int num;
	const char *const *pattern;
};

struct import_options {
	struct name_patterns train_only, freeze, no_decay;
	bool any_shape; /* dimensions that are open are 1: shapes don't matter */
	bool constant_weights; /* no weight is a named tensor: all are constants */
	int64_t batch; /* of symbolic first dimensions; 0: not given */
	int num_shapes;
	const struct import_shape *shapes;
	int num_dims; /* up to IMPORT_MAX_DIMS */
	const struct import_dim *dims;
	int num_values;
	const struct import_value *values;
	int num_states;
	const struct import_state *states;
	const struct graph *first; /* whose weights these are; NULL: this is the first graph */
	const char *
		path; /* of the model's file: others that it names are beside it; NULL: it has none */
};

/* input_values.c: what an option says of an input's elements; NULL: nothing. How many numbers that are.
 * The input becomes a constant: 0, or -1 and a text. */
const struct import_value *import_given_value(const struct import_options *opt, const char *name);
int64_t import_count_numbers(const struct import_value *from);
int import_value(struct graph *g, struct value *v, const struct import_value *from);
/* import.c. NULL with a text in error. */
struct graph *graph_import(const void *onnx, size_t size, const struct import_options *opt,
			   char *error, int error_size);
/*
 * parameters.c: decides which constants are trained. Import calls it. -1: a pattern matches
 * nothing, or names what can't be trained.
 */
int graph_parameters(struct graph *g, const struct import_options *opt);
/* A line for each weight: trained or not, name, shape, why. After differentiation. */
void graph_print_parameters(const struct graph *g, void *file);
/* simplify.c: shapes, types, constants, expansion, dead code. */
int graph_simplify(struct graph *g);
int graph_fold(struct graph *g, struct node *n); /* 1: folded, 0: not, -1 */
/* common.c: what several nodes compute alike one computes, the first. */
void graph_join_common(struct graph *g);
/* ternary.c: a constant of int8 or uint8, less its zero points (NULL: 0; one, or extent 1 where it is
 * the same), as int32 words of 16 ternary weights along an axis; NULL: not all are 0, 1 or -1, they are
 * few, or the chip has no arrays. */
struct value *graph_ternary(struct graph *g, const struct node *n, const struct value *v,
			    const struct value *zero, int axis);
/* MatMul of integers of eight bits over a scale, the same for a row, and constants of which each
 * result's are 0 or plus or minus one number: integer products, and a scale. 1, 0: it is not, or -1. */
int graph_ternary_matmul(struct graph *g, struct node *n);
/* scaled.c: MatMul of two such matrices, in training: the product of the integers, and a scale. The same. */
int graph_scaled_matmul(struct graph *g, struct node *n);
/* dequantized.c: products of what DequantizeLinear gives become products of bytes, and a scale; and a
 * matrix of constants that is transposed behind it is so in front of it. 1, 0: it is not, or -1. */
int graph_dequantized_matmul(struct graph *g, struct node *n);
int graph_dequantized_gemm(struct graph *g, struct node *n);
int graph_dequantized_conv(struct graph *g, struct node *n);
int graph_dequantized_transpose(struct graph *g, struct node *n);
/* sparse.c: MatMul and Gemm by a constant of which whole blocks are zero: products by the others. 1, 0:
 * it is not, or -1. */
int graph_sparse_matmul(struct graph *g, struct node *n);
int graph_sparse_gemm(struct graph *g, struct node *n);
/* patterns_block.c: x with zeros behind its last axis, up to `length`. */
struct value *graph_longer(struct graph *g, const struct node *n, struct value *x, int64_t length);
/* How often a value is read, as an input of nodes or an output of the graph. */
int graph_uses(const struct graph *g, const struct value *v);
/* Mark what the values need as live, in nodes. */
void graph_mark(struct graph *g, struct value *const *roots, int num_roots);

enum optimizer { OPT_SGD, OPT_MOMENTUM, OPT_ADAM, OPT_ADAMW };

struct train_options {
	const char *loss; /* of train_losses[] */
	enum optimizer optimizer;
	float momentum, beta1, beta2, epsilon, weight_decay;
	float clip_norm; /* most that the norm of all gradients may be; 0: any */
	int64_t accumulate; /* batches of a step, whose gradients' mean it takes; 0 and 1: one */
	int64_t steps; /* of a run of train_steps; 0: there is no such entry point */
	bool unbiased; /* BatchNormalization keeps the unbiased variance */
};

/* differentiate.c */
extern const char *const train_losses[]; /* up to NULL */
int graph_differentiate(struct graph *g, const struct train_options *opt);
int graph_add_grad(struct graph *g, struct value *v, struct value *grad);
/* Hands the gradient of a node's results on to its inputs. */
int node_gradient(struct graph *g, struct node *n);
/* A node for the gradient of n's first input; inputs and attributes are to come. */
struct node *grad_node(struct graph *g, struct node *n, const char *op);
/* It is complete: what it makes is v's gradient. 0, or -1. */
int grad_finish(struct graph *g, struct node *m, struct value *v);

/* import.c: does the input's name fit, and which output is it then that takes its place? NULL */
char *import_state_output(struct graph *g, const struct import_state *s, const char *in);

/* patterns.c: entry points forward and, if differentiated, train_step, evaluate and, if
 * steps are of several batches, accumulate_step; or, if a run is of several steps, train_steps. */
struct module *graph_patterns(struct graph *g);
/* The tensor of an output of entry point `e`, whose inputs and outputs are called SCOPE... */
struct tensor *module_output(const struct module *m, const char *scope, const char *name);
/* One more entry point, of a graph that was imported with the first one in its options: weights and
 * states are the module's, by name, and must be equal; inputs, outputs and constants are called
 * NAME/... 0, or -1 with a text. */
int graph_patterns_entry(struct graph *g, struct module *m, const char *name);
/* tokens.c: entry point `generate`, n times what the entry point that was just made of this graph
 * does, each with the token that the one before chose, and generate_step, once. 0, or -1 with a
 * text. */
int graph_tokens(struct graph *g, struct module *m, int64_t n, bool greedy);
/* patterns.c: the same, of the graph that tokens.c has changed for it: `token` is what it makes. */
int graph_patterns_tokens(struct graph *g, struct module *m, struct value *token, int64_t n);
int graph_lower_node(struct lower *l, struct node *n);

/*
 * rows.c: may a dim be padded? A model is imported with it at ROWS_WITNESS, and simplified after
 * rows_begin(): then rows_prove() looks whether row i of each output is made of rows i of the inputs
 * along dim, in a way that does not depend on how many rows there are.
 */
#define ROWS_WITNESS 251 /* a prime */
struct rows_proof { /* in the graph's memory */
	const char *against; /* why not; NULL: it is proven */
	signed char *output; /* dimension of each output that has the rows; -1: none */
};
struct rows *rows_begin(struct graph *g);
void rows_prove(struct graph *g, const struct rows *r, const struct module *m, int dim,
		struct rows_proof *proof);

/* Helpers of operators' patterns (patterns.c). */
struct tensor *lower_value(struct lower *l, struct value *v);
/* That of its bytes, value_as_bytes(). */
struct tensor *lower_bytes(struct lower *l, struct value *v);
/* The same elements as tensor t has, in another shape. */
struct tensor *lower_view_of(struct lower *l, struct tensor *t, int ndim, const int64_t *dim);
/* states.c: nodes that change some places of a state are to do so in place. Before nodes are
 * lowered. */
void lower_states_in_place(struct lower *l);
/* The nests, last of all, that store the states' next values. */
int lower_next_states(struct lower *l);
struct tensor *lower_temp(struct lower *l, struct node *n, const char *what, enum rdu_dtype dtype,
			  int ndim, const int64_t *dim);
/* v seen under another shape: a view tensor. */
struct tensor *lower_view(struct lower *l, struct value *v, int ndim, const int64_t *dim);
struct nest *lower_nest(struct lower *l, struct node *n, const char *what);
/* Remove dimensions of extent 1 and check. Called once a nest is complete. */
int lower_done(struct lower *l, struct node *n, struct nest *nest);
/* Input or output access whose last dimensions follow nest dimensions d[0..ndim)
 * with broadcasting (extent 1: coefficient 0). */
void access_broadcast(struct access *a, int ndim, const int *d);
void access_identity(struct access *a);
const char *axis_name(int ndim, int i);
/* A nest over out's elements that copies from in; the caller sets in's access. */
struct nest *lower_copy(struct lower *l, struct node *n, struct value *in, struct tensor *out);
/* An index that counts from the end if it is below 0. check: one out of range stops the run. */
int expr_index(struct nest *n, int index, int64_t size, bool check);
int lower_fill(struct lower *l, struct node *n, struct tensor *t, int axis, int64_t from,
	       int64_t to, uint32_t word);

/*
 * functions.c: functions the fabric has no operation for. All take and return expressions,
 * at special values (zeros, infinities, NaN) what C's functions of these names return.
 */
/* a / b: two roundings, whatever their sizes. */
int expr_divide(struct nest *n, int a, int b);
/* Is the reciprocal of x as good as a division: normal, or exact? */
bool reciprocal_is_normal(float x);
int expr_expm1(struct nest *n, int x); /* for x <= 0: beyond it loses digits */
int expr_sinh(struct nest *n, int x);
int expr_cosh(struct nest *n, int x);
int expr_asinh(struct nest *n, int x);
int expr_acosh(struct nest *n, int x);
int expr_atanh(struct nest *n, int x);
int expr_asinh_slope(struct nest *n, int x); /* 1 / sqrt(1 + x^2) */
int expr_softplus(struct nest *n, int x); /* log(1 + e^x) */
int expr_softsign(struct nest *n, int x); /* x / (1 + |x|), NaN at infinities */
/* int32 a / b as C has it, modulo 2^32, and the rest in *rest; anything where b is 0. */
int expr_int_divide(struct nest *n, int a, int b, int *rest);
/* The same of uint32. */
int expr_uint_divide(struct nest *n, int a, int b, int *rest);
/*
 * The whole number, as int32, nearest to the fp32 quotient a / b as IEEE rounds it, halves to
 * the even one; beyond 1024 (wide: 2^17) some number beyond that with its sign.
 */
int expr_round_quotient(struct nest *n, int a, int b, bool wide);
/* a / b, off by at most 1.5 units in the last place, and on the same side of every number of up to
 * 6 bits as what IEEE rounds it to: rounded to a type of 8 bits both are the same. */
int expr_short_quotient(struct nest *n, int a, int b);
/* a - trunc(a / b) b exactly, with a's sign, as C's fmod; a quotient of 2^24 or more stops the run. */
int expr_remainder(struct nest *n, int a, int b);
/* a^b as C's pow has it, by EXP and LOG; to a constant, by products where it is a small one. */
int expr_power(struct nest *n, int a, int b);
int expr_power_const(struct nest *n, int a, float e);
int expr_atan(struct nest *n, int x);
int expr_asin(struct nest *n, int x);
int expr_acos(struct nest *n, int x);
int expr_atan_slope(struct nest *n, int x); /* 1 / (1 + x^2) */
int expr_asin_slope(struct nest *n, int x); /* 1 / sqrt(1 - x^2) */

/* small_floats.c: a code's number in fp32; the code of an fp32, rounded to the nearest, halves to the
 * even one. One beyond the largest number is that, or an infinity or NaN if it does not saturate.
 * Only float8e8m0, powers of two, looks at `rounding`; NEAREST there: halves up. */
enum power_rounding { POWER_UP, POWER_DOWN, POWER_NEAREST };
int expr_of_small_float(struct nest *n, enum rdu_dtype t, int code);
int expr_to_small_float(struct nest *n, enum rdu_dtype t, int x, bool saturate,
			enum power_rounding rounding);

/* integers.c: a word of a type of 2 or 4 bits; one that its bits don't hold stops the run. */
int expr_in_range(struct nest *n, enum rdu_dtype t, int x);
/* An integer modulo what its type holds; as a signed one in the same order. */
int expr_wrap(struct nest *n, enum rdu_dtype t, int x);
int expr_ordered(struct nest *n, enum rdu_dtype t, int x);
/* A word's place in the order of its type, as an int32: NaN above all numbers, zeros equal.
 * patterns_scatter.c */
int expr_order_key(struct nest *n, enum rdu_dtype t, int x);
/* a + b, a - b or a * b of type t; those of 64 bits stop where the result does not fit. */
int expr_arithmetic(struct nest *n, enum rdu_dtype t, enum rdu_simd_op op, int a, int b);
/* A whole number in fp32 as an integer, an integer in fp32, an integer of another type. */
int expr_to_integer(struct nest *n, enum rdu_dtype t, int x);
int expr_to_float(struct nest *n, enum rdu_dtype t, int x);
int expr_to_other(struct nest *n, enum rdu_dtype from, enum rdu_dtype to, int x);

/* onnx.c: the file itself, through protobuf-c */
struct Onnx__ModelProto;
struct Onnx__AttributeProto;
struct ProtobufCAllocator;
/* onnx_free() takes NULL, too. */
void onnx_free(struct Onnx__ModelProto *m);
struct Onnx__ModelProto *onnx_parse(const void *data, size_t size, char *error, int error_size);
/* What messages of such a model are made and freed with. */
struct ProtobufCAllocator *onnx_allocator(void);
/* A message with its length in front, as a field that the schema doesn't have is kept. NULL: it is broken. */
struct Onnx__AttributeProto *onnx_attribute(const void *data, size_t size);
/* Protobuf strings can hold anything: what we print must be printable. NULL is "". */
const char *onnx_text(struct graph *g, const char *s);
/* Is a domain of operators another one than ONNX's own? */
bool onnx_is_foreign(const char *domain);
/* The version of ONNX's own operators in a list of opsets; 0: it has none. */
struct Onnx__OperatorSetIdProto;
int onnx_opset(struct graph *g, size_t num, struct Onnx__OperatorSetIdProto *const *o,
	       int64_t *version);
/* inline.c: calls of the model's functions become the functions' nodes. g->opset is known. */
int onnx_inline(struct graph *g, struct Onnx__ModelProto *m);
/* Elements of a TensorProto as rdu_dtype, converted and checked. */
struct Onnx__TensorProto;
struct value *onnx_tensor(struct graph *g, const struct Onnx__TensorProto *t, const char *what);
/* It was imported: its raw data is not needed any more. */
void onnx_drop_contents(struct Onnx__TensorProto *t);
/* external.c: does it keep its data in another file? Those `size` bytes, to be freed; NULL and a text. */
bool onnx_is_external(const struct Onnx__TensorProto *t);
uint8_t *onnx_external(struct graph *g, const struct Onnx__TensorProto *t, int64_t size,
		       const char *what);
struct Onnx__SparseTensorProto;
struct value *onnx_sparse_tensor(struct graph *g, const struct Onnx__SparseTensorProto *t,
				 const char *what);
/* The name of one of ONNX's element types. */
const char *onnx_type_name(int type);
/* A tensor's name in a program file: cut to 63 bytes, still unique. */
void rduc_symbol_name(char out[64], const char *name);
/* Weights of a program file into an ONNX model. onnx_weights.c */
int onnx_write_weights(const char *rdu_path, const char *onnx_path, const char *out_path,
		       char *error, int error_size);
void *read_whole_file(const char *path, size_t *size, char *error, int error_size);
int write_whole_file(const char *path, const void *data, size_t size, char *error, int error_size);

/* nest_eval.c: as nest_eval, with fp32 tensors held and computed as double. */
void nest_eval_wide(const struct nest *n, void **data);
/* As nest_eval, but nests of int64 or double tensors compute in 64 bits: for constants. */
int nest_eval_fold(const struct nest *n, void **data);

#endif
