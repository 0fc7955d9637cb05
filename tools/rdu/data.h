/* SPDX-License-Identifier: MIT */
/*
 * What is trained with: examples, each with its share of every input of an entry point. Where
 * they come from is in data_read.c and data_table.c, how they become batches in data.c.
 */
#ifndef RDU_DATA_H
#define RDU_DATA_H

#include "rdu_tool.h"

#define MAX_FIELDS 16
#define NO_CLASS -100 /* a label that takes no part in the loss: PyTorch's ignore_index */

/* How the data was asked for: data_option(). */
struct data_options {
	unsigned int num_sources, num_columns, num_axes;
	const char *source[MAX_FIELDS]; /* FILE, FOLDER or NAME=FILE */
	const char *columns[MAX_FIELDS]; /* NAME=COLUMN,... */
	const char *axis[MAX_FIELDS]; /* NAME=AXIS */
	uint32_t tokens; /* the file is numbers of this type (enum rdu_dtype); 0: not said */
	bool ignores; /* labels that are `ignore` take no part in the loss */
	double ignore;
};

/*
 * An input, and what it is filled with: number `first + e stride + o outer + i` is element
 * [o, e, i] of example e, with o before the axis of examples and i behind it.
 */
struct field {
	const struct rdu_file_symbol *sym;
	unsigned int axis;
	bool labels; /* of a cross entropy */
	bool pixels; /* bytes, divided by 255 */
	double ignore; /* of labels: this one has no class */
	double below; /* whole numbers from 0 on, and below this; 0: not known */
	const char *path; /* where the data comes from */
	const void *data;
	uint32_t dtype; /* of the data */
	size_t first, stride, outer;
	void *batch; /* what the card reads */
};

/* Some of the examples: to train with, or held out. */
struct part {
	unsigned int first, count; /* examples; of a stream from `token` on */
	size_t token, tokens; /* of a stream */
};

struct dataset {
	const char *unit; /* what an example is made of: images, tokens, rows */
	unsigned int units; /* so many in an example */
	unsigned int batch; /* examples that the program takes at once */
	unsigned int count; /* examples that there are */
	size_t stream; /* a row of tokens, each example the next `units` of them; else 0 */
	unsigned int num_fields;
	struct field field[MAX_FIELDS];
	unsigned int num_owned;
	struct tensor owned[MAX_FIELDS + 1];
};

/* One of the options DATA_OPTIONS; false after a message. */
bool data_option(struct data_options *o, const char *option, const char *text);
#define DATA_OPTIONS                                                 \
	{ "data", required_argument, NULL, DATA_OPTION },            \
		{ "tokens", required_argument, NULL, DATA_OPTION },  \
		{ "columns", required_argument, NULL, DATA_OPTION }, \
		{ "axis", required_argument, NULL, DATA_OPTION },    \
	{                                                            \
		"ignore-index", required_argument, NULL, DATA_OPTION \
	}
#define DATA_OPTION 1000
#define DATA_HELP                                                                                \
	"      --data DATA        what to train with:\n"                                         \
	"                         FOLDER with train-images-idx3-ubyte(.gz) and labels: images\n" \
	"                         FILE or FOLDER of text: each byte a token\n"                   \
	"                         FILE.npy of one dimension: tokens\n"                           \
	"                         FILE.csv, or FILE.npy of two: a table, a row an example\n"     \
	"                         NAME=FILE.npy, for each input\n"                               \
	"      --tokens TYPE      DATA is raw token numbers: uint8, uint16, uint32, int32, "     \
	"int64\n"                                                                                \
	"      --columns NAME=COLUMN,...  of a table for an input: 7, 2-5 or a column's name\n"  \
	"      --axis NAME=AXIS   where in an input examples lie (0)\n"                          \
	"      --ignore-index N   labels that take no part in the loss (-100)\n"

/*
 * The inputs of an entry point but for the learning rate, and where in them examples lie.
 * 0 or EXIT_FAIL after a message. Free with data_free() in any case.
 */
int data_fields(struct dataset *d, const struct session *s, const char *entry,
		const struct data_options *o);
/* Reads the data; split: of IDX files, "train" or "t10k". 0 or EXIT_FAIL after a message. */
int data_read(struct dataset *d, const struct data_options *o, const char *split);
void data_free(struct dataset *d);

/*
 * All examples, and the two parts when a share of them, from the end, is held out. whole: also
 * the tokens at the end of a stream that are too few for an example.
 */
struct part data_all(const struct dataset *d, bool whole);
int data_hold_out(const struct dataset *d, double share, struct part *train, struct part *held);
uint64_t data_hash(const struct dataset *d, const struct part *p);
/*
 * Fills the fields' batches with examples pick[0..n) of a part; behind them come zeros, and
 * labels without a class. shift: tokens that a stream begins later. Returns how many labels have
 * a class; of data without such labels, n.
 */
size_t data_batch(struct dataset *d, const struct part *p, size_t shift, const unsigned int *pick,
		  unsigned int n);

/* ---- between the files that read --------------------------------------------- */

/* The data set frees it. */
const struct tensor *data_own(struct dataset *d, const struct tensor *t);
double data_element(const void *data, uint32_t dtype, size_t i);
/* Elements of a field that an example has, and those of them before the axis. */
size_t field_width(const struct field *f, size_t *outer);
/* A table: each row an example, each input some of the columns. names: NULL or the columns'. */
int data_table(struct dataset *d, const struct data_options *o, const char *path,
	       const struct tensor *t, char *const *names);
/* Numbers with commas between them, perhaps with names in the first line. */
int data_csv(struct dataset *d, const struct data_options *o, const char *path);

#endif
