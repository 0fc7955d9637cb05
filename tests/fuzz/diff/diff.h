/* SPDX-License-Identifier: MIT */
/*
 * The differential fuzzer: random ONNX models, compiled in every way, run on the
 * card model, and compared with judges that know nothing of the card.
 *
 * A *case* is made from a sequence of *choices*, numbers below a bound. A seed gives
 * the choices of a new case; the same choices give the same case, and smaller ones a
 * plainer case (0 is always the plainest), which is what shrinking uses. What choices
 * cannot say is an *edit*: an output that is dropped, or a node that is cut out, its
 * results being inputs of the graph from then on.
 *
 * Each case runs in a process of its own, which leaves its verdict in memory that it
 * shares with the one that started it: a crash is a verdict like any other.
 *
 * Files: fuzz_diff.c (main, processes, the report), shrink.c, make.c (choices, values,
 * data), ops_*.c (operators), net.c (networks to train), model.c (ONNX and text files),
 * run.c (compiles, runs, compares), noise.c (how far off a right result may be), judge.c
 * (judges in other processes), declines.c (where ONNX Runtime's word does not count), stops.c
 * and plants.c (tests of the fuzzer itself).
 */
#ifndef DIFF_H
#define DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "nest.h"
#include "rdu/chip.h"

#define MAX_CHOICES 8192
#define MAX_VALUES 160
#define MAX_NODES 64
#define MAX_ATTRS 10
#define MAX_IO 9 /* inputs or outputs of a node, outputs of a graph */

/* What data the inputs hold. */
enum data_kind {
	DATA_SMALL, /* small integers, with ties and zeros: most sums are exact */
	DATA_REAL, /* between -2 and 2 */
	DATA_LIMITS, /* infinities, NaN, denormals, -0, large numbers; ends of integers */
};

/*
 * A tensor. Its elements are multiples of `unit` (a power of two; 0: nothing is known)
 * and at most `mag` in size: while mag / unit stays below 2^24, every order of adding
 * gives the same bits, and judges must agree exactly. A unit of -1: any number, but
 * nothing was rounded that could be rounded in another way.
 */
struct val {
	char name[16];
	enum rdu_dtype type;
	int ndim;
	int64_t dim[RDU_MAX_DIMS];
	bool input; /* of the graph */
	bool init; /* initializer: data is its contents */
	bool weight; /* to be trained: among the initializers */
	int64_t below; /* integers only: 0 <= element < below, or -below <= if negative */
	bool negative;
	double unit, mag;
	void *data;
	int producer; /* node, -1 */
};

struct node_attr {
	const char *name;
	char kind; /* 'i', 'f', 's', 'I': integers */
	int64_t i;
	float f;
	const char *s;
	int num;
	int64_t ints[16];
};

struct op_node {
	const char *op;
	int num_in, in[MAX_IO]; /* values, -1: not given */
	int num_out, out[MAX_IO];
	int num_attrs;
	struct node_attr attr[MAX_ATTRS];
};

struct model {
	int opset;
	int num_vals, num_nodes, num_outputs;
	struct val val[MAX_VALUES];
	struct op_node node[MAX_NODES];
	int output[MAX_IO];
	enum data_kind data;
	bool no_limits;
	uint32_t data_seed;
	bool train, mse;
	int optimizer; /* enum optimizer */
	int classes; /* train: of softmax_cross_entropy */
	bool decay;
	bool bf16; /* contractions in bf16: bounds of what is exact */
};

/* How a case is compiled and run. */
struct config {
	struct rdu_chip chip;
	bool bf16;
	int tiles;
	int threads;
	int wrong_stops; /* enum wrong_stops: of check_stops() */
	int plant; /* enum plant: of check_plants() */
};

/* What is compiled with its stops turned round: nothing, a level, or what librdu runs. */
enum wrong_stops { WRONG_NONE, WRONG_O0, WRONG_O1, WRONG_O3, WRONG_LIBRARY, WRONG_STOPS };

/* What is compiled with a defect in it: nothing, 0.5 % more than a constant, no bias. */
enum plant { PLANT_NONE, PLANT_COEFFICIENT, PLANT_BIAS, PLANTS };

struct edits {
	uint64_t cut; /* nodes */
	uint32_t dropped; /* outputs */
};

enum verdict_kind {
	VERDICT_PASS,
	VERDICT_REFUSED, /* the compiler says why; same at every level */
	VERDICT_BAD, /* something differs */
};

#define JUDGES 5
enum { JUDGE_NEST, JUDGE_ORT, JUDGE_TORCH, JUDGE_LEVELS, JUDGE_THREADS };

struct verdict {
	enum verdict_kind kind;
	char only[40]; /* given: the comparison that matters; "": all */
	char what[40]; /* which comparison failed: "nest -O3", "ort", ... */
	char text[1200]; /* what differs, or why it is refused */
	bool judged[JUDGES];
	char declined[2][160]; /* why ONNX Runtime or PyTorch did not judge; "" */
	int num_nodes, num_choices;
	uint32_t choice[MAX_CHOICES];
	char ops[400]; /* what the case is made of, for the report */
};

/* ---- make.c: choices, values, nodes ---------------------------------------------- */

void choices_seed(uint64_t seed, struct verdict *record);
void choices_replay(const uint32_t *choice, int num, struct verdict *record);
uint32_t pick(uint32_t n); /* 0 .. n - 1; 0 is the plainest */
bool chance(uint32_t n); /* true once in n times; false is plainer */

int64_t count_of(const struct val *v);
bool is_float(const struct val *v);
bool is_exact(const struct val *v);
/* A new value, number of; -1: there is no room. */
int value_new(struct model *m, enum rdu_dtype type, int ndim, const int64_t *dim);
/* A new value that is an input of the graph or an initializer. */
int value_source(struct model *m, enum rdu_dtype type, int ndim, const int64_t *dim, bool init);
/* An initializer of given contents. */
int value_ints(struct model *m, int num, const int64_t *v);
int value_float(struct model *m, float v);
int value_numbers(struct model *m, enum rdu_dtype type, int ndim, const int64_t *dim,
		  const double *x);
/* Result like value v (bounds), under another shape. */
int value_like(struct model *m, int v, int ndim, const int64_t *dim);
/* The unit of what is made of two. */
double finer(double a, double b);
/* Sets bounds of a value that nothing is known of. */
void inexact(struct val *v, double mag);
struct op_node *node_add(struct model *m, const char *op);
void op_in(struct op_node *n, int v);
void op_out(struct model *m, struct op_node *n, int v);
void set_int(struct op_node *n, const char *name, int64_t v);
void set_float(struct op_node *n, const char *name, float v);
void set_text(struct op_node *n, const char *name, const char *v);
void set_list(struct op_node *n, const char *name, int num, const int64_t *v);
/* op with inputs a and b (-1: none) and one result. */
struct op_node *node_simple(struct model *m, const char *op, int a, int b, int out);
int64_t random_extent(void);
int random_shape(int64_t *dim, int max_dims, int64_t max_count);
/* An existing value, or a new one, that ok() likes. */
int some_value(struct model *m, bool (*ok)(const struct val *v));
/* v made into a float of up to `mag` in size: itself or a clipped one. */
int tamed(struct model *m, int v, double mag);
void make_model(struct model *m, const struct config *c);
void edit_model(struct model *m, const struct edits *e);
/* Fills in data of inputs and weights. */
void make_data(struct model *m);
void make_config(struct config *c);
/* From now on it takes the chip of this name; false: there is none. */
bool only_chip(const char *name);

/* ---- ops_*.c, net.c ---------------------------------------------------------------- */

/* Appends nodes to the model; false: not this time (nothing was appended). */
typedef bool (*make_op)(struct model *m);
extern const make_op makers_map[], makers_shape[], makers_reduce[], makers_contract[],
	makers_index[], makers_block[];
extern const int num_makers_map, num_makers_shape, num_makers_reduce, num_makers_contract,
	num_makers_index, num_makers_block;
bool make_pool(struct model *m);
void make_net(struct model *m);

/* ---- model.c ------------------------------------------------------------------------- */

/* The model as an ONNX file in memory, malloc'ed. */
void *model_onnx(const struct model *m, size_t *size);
/* Writes model.onnx, ort.onnx (the same, with more of its values as outputs: ort_shows),
 * model.txt (for people, and the judge that uses PyTorch) and the inputs as in_NAME.bin
 * into a folder. 0, or -1. */
int model_write(const struct model *m, const char *dir);
size_t type_bytes(enum rdu_dtype t);
const char *type_text(enum rdu_dtype t);
double element(const void *data, enum rdu_dtype type, int64_t i);

/* ---- run.c ----------------------------------------------------------------------------- */

/* Compiles, runs and judges. dir: a folder for files. */
void run_case(struct model *m, const struct config *c, const char *dir, struct verdict *v);

/* ---- noise.c --------------------------------------------------------------------------- */

/* By tensor and element: how far from `center` the noisy interpreter gets at most. It starts from
 * the contents `start` and runs `num` entry points. Malloc'ed; of NaN and infinities 0. */
double **noise_spread(const struct module *m, const int *entry, int num, void *const *start,
		      void *const *center, bool bf16);

/* ---- lib_run.c ------------------------------------------------------------------------- */

/* A tensor of a program: contents of an input, room for what the card writes. */
struct symbol_data {
	const char *name;
	void *data;
	size_t size;
};

/* Runs an entry point through librdu on `device`: binds, runs, reads. 0, or -1. */
int lib_run(const char *path, const char *device, const char *entry, const struct symbol_data *in,
	    int num_in, const struct symbol_data *out, int num_out, uint64_t *cycles, char *text,
	    size_t size);

/* ---- judge.c --------------------------------------------------------------------------- */

enum { SERVER_ORT, SERVER_TORCH, SERVERS };
#define JUDGE_ENDED "the judge ended" /* it, or its answer: to be started anew */
/* Starts a judge; false and why it is not there. */
bool judge_start(int server, char *why, size_t size);
void judge_stop(int server);
bool judge_there(int server);
/* Has the judge read dir/ort.onnx or dir/model.txt and dir/in_NAME.bin, and write dir/ort_NAME.bin or
 * dir/torch_NAME.bin; false: it declined, and why. */
bool judge_ask(int server, const char *dir, char *why, size_t size);

/* What it, or whoever else, left in dir/PREFIX_NAME.bin, malloc'ed; NULL: that is not there,
 * or of another size. */
void *read_bytes(const char *dir, const char *prefix, const char *name, size_t size);

/* ---- declines.c ------------------------------------------------------------------------ */

/* Is v a value that ort_declines() looks at, and ONNX Runtime is to hand out? */
bool ort_shows(const struct model *m, int v);
/* Marks the values of which ONNX Runtime's results are known not to be ONNX's, and says why
 * the last one of these is made. */
void ort_declines(const struct model *m, const char *dir, bool off[MAX_VALUES], char *why,
		  size_t size);

/* ---- stops.c --------------------------------------------------------------------------- */

/* Programs made of it stop where they should not, and nowhere else; twice: as it was. */
void turn_stops(struct module *m);
/* Is it found when they do? v is used. */
bool check_stops(const char *dir, struct verdict *v);

/* ---- plants.c -------------------------------------------------------------------------- */

/* Programs made of it have a defect; with `back`, no longer. False: there is no place for it. */
bool plant_defect(struct module *m, enum plant plant, bool back);
/* Is it found when they do? v is used. */
bool check_plants(const char *dir, struct verdict *v);

/* ---- shrink.c -------------------------------------------------------------------------- */

struct case_id {
	bool seeded; /* from the seed, not from choices */
	uint64_t seed;
	int num;
	uint32_t choice[MAX_CHOICES];
	struct edits edits;
};

/* Runs one case in a process of its own (fuzz_diff.c); v is shared memory. only: the
 * comparison that matters, NULL: all. */
void run_in_child(const struct case_id *id, const char *only, const char *dir, struct verdict *v);
/* Makes a failing case smaller as long as it fails in the same way; returns how many
 * cases it tried. */
int shrink(struct case_id *id, struct verdict *v, const char *dir, double seconds);

#endif
