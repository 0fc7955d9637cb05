/* SPDX-License-Identifier: MIT */
/* rdu train: the loop (train.c), what it was asked for (train_plan.c), and what outlives it:
 * checkpoints and the log (train_state.c). */
#ifndef RDU_TRAIN_H
#define RDU_TRAIN_H

#include "rdu_tool.h"

#define AHEAD 4 /* steps in flight */

enum schedule { COSINE, CONSTANT };

/* Options. Those that were not given: NULL, or below zero. */
struct plan {
	const char *device, *path, *data, *save, *curve, *log, *results, *entry, *resume;
	double epochs, lr, seed, max_steps, save_every;
	int schedule; /* enum schedule */
	int progress; /* 1: always, 0: never, -1: when it is a terminal */
	bool json, wait;
};

struct names { /* symbols of the entry point */
	const struct rdu_file_symbol *x, *labels, *lr, *loss;
};

struct trainer {
	struct session s;
	struct plan plan;
	struct names names;
	struct images images;
	uint64_t data_hash; /* of images and labels */
	unsigned int *order;
	/* Steps are counted from the very first one, also after --resume. */
	unsigned int batch, steps_per_epoch, steps, first, done;
	unsigned int saved; /* the step that --save has the weights of, 0: none yet */
	float *x, lr;
	int64_t *labels;
	float loss[AHEAD];
	struct rdu_job *jobs[AHEAD];
	struct loss_point *curve; /* of steps first and on */
	struct rdu_stats sum;
	FILE *log, *out; /* out: standard output, or standard error if a file goes there */
	bool log_broken;
	double start, last_line;
};

/* 0 or an exit code after a message. */
int plan_parse(int argc, char **argv, struct plan *p);

/* Weights, optimizer state, the step and what decides on the steps to come: into --save. */
int checkpoint_save(struct trainer *t);
/* From the file that --resume named; options that were given have the last word. */
int checkpoint_read(struct trainer *t);
/* The program given beside --resume is the one in that file. */
int checkpoint_compare(struct trainer *t);
/* Is there room for it, and may it be written? */
int checkpoint_check(const struct trainer *t);

/* After --resume the log goes on behind the lines of the steps before. */
int log_open(struct trainer *t);
int log_step(struct trainer *t, const struct loss_point *p, const struct rdu_stats *st);
int log_close(struct trainer *t);

#endif
