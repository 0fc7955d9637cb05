/* SPDX-License-Identifier: MIT */
/* Training steps on the card model against the same ones in PyTorch, in the same run. */
#ifndef TESTS_BENCH_TRAIN_STEP_H
#define TESTS_BENCH_TRAIN_STEP_H

struct training {
	const char *name; /* of the benchmark; its files are build/bench/NAME.* */
	const char *model; /* what rdu-mkmodel is asked for: cross entropy, plain SGD */
	int steps; /* timed, in each of the rounds */
	double macs; /* multiply-adds of a step, as a contraction does them; 0: not said */
};

/* Prints the benchmark's line: processor time of a step, both sides with as many threads as there
 * are processors, the least of all rounds. PyTorch and the card take turns. */
void train_step_bench(const struct training *t);

#endif
