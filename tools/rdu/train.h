/* SPDX-License-Identifier: MIT */
/* rdu train: the loop (train.c), what it was asked for (train_plan.c), what outlives it:
 * checkpoints and the log (train_state.c), and what it says (train_say.c) and how good the weights are (train_evaluate.c). */
#ifndef RDU_TRAIN_H
#define RDU_TRAIN_H

#include "data.h"

#define AHEAD 4 /* jobs in flight */

/* A job of the card: a batch, or all steps of a run. */
struct flight {
	struct rdu_job *job;
	unsigned int steps; /* 0: a batch of a step */
	float *loss; /* of each */
};

/* What a run of several steps reads: a row of data for each. */
struct rows {
	const struct rdu_file_symbol *sym;
	const void *row; /* where a step's data is made */
	char *data;
};

enum schedule { COSINE, CONSTANT, TWO_STAGE };
extern const char *const schedules[]; /* their names, up to NULL */

/* Options. Those that were not given: NULL, or below zero. */
struct plan {
	const char *device, *path, *save, *curve, *log, *results, *entry, *resume;
	struct data_options data;
	struct data_options
		held; /* its sources: other data to evaluate on; else of `data`'s kind */
	double epochs, lr, seed, max_steps, save_every;
	double warm_up, second_lr, hold_out, eval_every;
	int schedule; /* enum schedule */
	int progress; /* 1: always, 0: never, -1: when it is a terminal */
	bool json, wait;
};

struct trainer {
	struct session s;
	struct plan plan;
	struct dataset data, held_data; /* held_data: of another file than data */
	struct dataset *held; /* what is held out is part of; NULL: nothing is */
	struct part part, held_part;
	uint64_t data_hash;
	unsigned int *order, *pick;
	size_t shift; /* of a stream of tokens, in this epoch */
	const char *loss_name;
	bool masked; /* a label can have no class */
	unsigned int micro; /* batches of a step: their gradients are added up */
	/* Steps are counted from the very first one, also after --resume; batches from there on. */
	unsigned int batch, steps_per_epoch, steps, first, done;
	unsigned int run; /* steps that train_steps does in one run; 0: there is no such entry */
	struct rows rows[MAX_FIELDS +
			 2]; /* those of the data, then of lr; up to one without a symbol */
	const char *rows_loss; /* the losses of such a run */
	unsigned int submitted, collected; /* jobs */
	unsigned int batches; /* of a step, that were collected */
	double step_loss; /* of the batches of this step, added up */
	struct rdu_stats step_stats;
	unsigned int saved; /* the step that --save has the weights of, 0: none yet */
	float lr;
	struct flight flight[AHEAD];
	struct loss_point *curve; /* of steps first and on */
	struct rdu_stats sum;
	double held_loss; /* the last one, NAN: none yet */
	uint64_t held_cycles; /* of all evaluations */
	bool *finite; /* symbols that must stay so */
	FILE *log, *out; /* out: standard output, or standard error if a file goes there */
	bool log_broken;
	double start, last_line;
};

/* 0 or an exit code after a message. */
int plan_parse(int argc, char **argv, struct plan *p);

float lr_at(const struct trainer *t, unsigned int step);

/* Inputs are read from this data from now on. */
int bind_data(struct trainer *t, const struct dataset *d);
/* The loss of what is held out, into p. */
int evaluate(struct trainer *t, struct loss_point *p);
/* Are all weights and states finite that were so at the first call? 0, or EXIT_FAIL after a
 * message. */
int check_finite(struct trainer *t);

/* Weights, optimizer state, the step and what decides on the steps to come: into --save. */
int checkpoint_save(struct trainer *t);
/* From the file that --resume named; options that were given have the last word. */
int checkpoint_read(struct trainer *t);
/* Is it of the same data, and is there something left to do? */
int checkpoint_goes_on(struct trainer *t);
/* The program given beside --resume is the one in that file. */
int checkpoint_compare(struct trainer *t);
/* Is there room for it, and may it be written? */
int checkpoint_check(const struct trainer *t);

/* What is seen while it runs, and at the end. */
void progress(struct trainer *t, bool last);
int write_curve(struct trainer *t);
int report(struct trainer *t, double wall);

/* After --resume the log goes on behind the lines of the steps before. */
int log_open(struct trainer *t);
int log_step(struct trainer *t, const struct loss_point *p, const struct rdu_stats *st);
int log_close(struct trainer *t);

#endif
