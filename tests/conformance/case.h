/* SPDX-License-Identifier: MIT */
/* One ONNX test case: compile it, run it on a card, judge the result. */
#ifndef TESTS_CASE_H
#define TESTS_CASE_H

#include "onnx_file.h"

enum verdict { CASE_PASS, CASE_SKIP, CASE_FAIL };

struct result {
	int verdict; /* enum verdict */
	char ops[160]; /* operators of the graph, comma separated */
	char why[320]; /* of a skip or a failure */
	double worst;  /* largest |error| / tolerance seen */
};

struct options {
	const char *rduc;   /* program */
	const char *device; /* as rdu_open() takes it */
	const char *chip;
	const char *opt;    /* "-O1" */
	const char *precision;
	const char *work;   /* folder for what is compiled */
	double rtol, atol;
	bool atol_is_relative; /* to the largest value of the output (bf16) */
	/* NULL: one of ONNX's cases, what says a shape is made a constant. Else the
	 * model is compiled as it is: it has to be right (""), or to be refused with
	 * a reason that begins like this. */
	const char *expect;
};

/* dir holds model.onnx and test_data_set_N. */
void case_run(const char *dir, const struct options *opt, struct result *res);

#endif
