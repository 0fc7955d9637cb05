/* SPDX-License-Identifier: MIT */
/* A compiler object: see rduc.h, which is what others see of it. */
#ifndef RDUC_COMPILE_H
#define RDUC_COMPILE_H

#include <stdio.h>
#include "graph.h"
#include "mem.h"
#include "progress.h"
#include "rduc.h"

/* A text of a few kilobytes at most is in `text`; of the model's reasons, there can be many. */
#define ERROR_SIZE (1 << 20)

/* What rduc_set() sets. */
struct settings {
	char *chip, *name, *print_after; /* NULL: not set */
	struct rduc_options opt;
	struct import_options import;
	struct train_options training;
	bool train, decay_given;
	size_t memory;
	int num_entries;
	struct entry_file {
		char *name, *path;
	} * entries;
	/* What import points to. */
	struct import_shape *shapes;
	struct import_state *states;
	char **freeze, **train_only, **no_decay;
};

struct text {
	char *data;
	size_t size;
	FILE *f; /* while it is written */
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

/* options.c */
void settings_init(struct settings *s);
void settings_free(struct settings *s);
/* 0, or a negative errno number and a text. */
int settings_set(struct settings *s, const char *name, const char *value, char *error,
		 size_t error_size);
/* Name of an optimizer. */
const char *settings_optimizer(const struct settings *s);

#endif
