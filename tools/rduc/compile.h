/* SPDX-License-Identifier: MIT */
/* A compiler object: see rduc.h, which is what others see of it. */
#ifndef RDUC_COMPILE_H
#define RDUC_COMPILE_H

#include <stdio.h>
#include <rdu/chip.h>
#include "graph.h"
#include "mem.h"
#include "progress.h"
#include "rduc.h"

/* A text of a few kilobytes at most is in `text`; of the model's reasons, there can be many. */
#define ERROR_SIZE (1 << 20)

/* Sizes that a dimension can have, from the least to the largest. */
struct sizes {
	char *name; /* NAME of --dim, or INPUT[d]: dimension d of that --shape */
	int num;
	int64_t size[RDU_MAX_ENTRIES];
};

/* What rduc_set() sets. */
struct settings {
	char *chip, *name, *print_after; /* NULL: not set */
	struct rduc_options opt;
	struct import_options import;
	struct train_options training;
	bool train, decay_given;
	unsigned int training_given; /* bit i: option i of those that are for training alone */
	enum rduc_when sparse; /* zeros of weights are left out */
	size_t memory;
	int64_t tokens; /* of a run of generate; 0: there is no such entry point */
	bool greedy; /* which takes the likeliest token always */
	int num_entries;
	struct entry_file {
		char *name, *path;
	} * entries;
	int num_sizes;
	struct sizes *sizes;
	/* What import points to. */
	struct import_shape *shapes;
	struct import_value *values;
	struct import_state *states;
	char **freeze, **train_only, **no_decay;
};

struct text {
	char *data;
	size_t size, room;
	FILE *f; /* while it is written */
	/* rduc_set_output(); NULL: it is kept here. */
	int (*write)(void *arg, const void *data, size_t size);
	void *write_arg;
	int ret; /* what that said */
};

struct diagnostic {
	enum rduc_severity severity;
	char *text;
};

struct rduc {
	struct settings set;
	bool want[RDUC_OUTPUTS];
	struct progress progress;
	void (*log)(void *arg, const char *text, size_t size);
	void *log_arg;
	atomic_bool cancelled, running;
	char *error; /* of ERROR_SIZE */
	struct text out[RDUC_OUTPUTS];
	struct diagnostic *diagnostic;
	unsigned int num_diagnostics;
};

/* A compile that runs. */
struct run {
	struct rduc *c;
	const void *model;
	size_t size;
	void *file; /* its bytes, if they were read; NULL: not any more */
	const char *path; /* of the model's file; NULL: it has none */
	const char *name; /* NULL: the graph's */
	struct model_file {
		void *data;
		size_t size;
	} * entry; /* of settings' further entry points */
	FILE *log; /* NULL: nothing is printed */
	struct import_dim *dim; /* the settings' sizes; at first the largest of each */
	uint64_t dims_used; /* by inputs of any model */
	bool batch_used; /* likewise */
	struct rdu_chip chip;
	int ret;
};

/* Of a model: what it is imported with, and its dims of several sizes. */
struct shapes {
	const char *name; /* of its entry point with the largest shape */
	const void *model;
	size_t size;
	struct import_options *opt;
	const struct graph *first; /* whose weights it has */
	int num; /* of the settings' sizes that have several */
	struct shapes_dim {
		int size; /* its number */
		bool padded; /* it may be */
		signed char *output; /* then: of each output, the dimension that has it; -1: none */
	} dim[7]; /* more would be more than 64 shapes */
};

/* compile.c */
__attribute__((format(printf, 3, 4))) int compile_fail(struct rduc *c, int ret, const char *fmt,
						       ...);
void compile_note(struct rduc *c, const char *text);
bool compile_prints(const struct rduc *c, const char *pass);
/* The passes on any graph. */
int compile_simplify(struct run *r, struct graph *g);

/* entry_shapes.c */
void largest_sizes(struct run *r);
/* A model whose largest shape is the entry point made last, and called SCOPE...: all other shapes.
 * g: its graph. 0, or -1 and a text. */
int shape_entries(struct run *r, struct shapes *s, struct graph *g, struct module *m,
		  const char *scope);
/* Every --dim is one of some input's, and so is --batch. */
int check_dims(struct run *r);

/* options.c */
void settings_init(struct settings *s);
void settings_free(struct settings *s);
/* 0, or a negative errno number and a text. */
int settings_set(struct settings *s, const char *name, const char *value, char *error,
		 size_t error_size);
/* sizes.c: the text of --shape and --dim. 0, or a negative errno number and a text; nothing is changed
 * then. */
int settings_shape(struct settings *s, const char *value, char *error, size_t error_size);
void shape_free(struct import_shape *shape);
int settings_dim(struct settings *s, const char *value, char *error, size_t error_size);
/* Name of an optimizer. */
const char *settings_optimizer(const struct settings *s);
/* An option that was set and would be passed over (or NULL), and which one it is for. */
const char *settings_unused(const struct settings *s, const char **needs);

#endif
