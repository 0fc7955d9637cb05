/* SPDX-License-Identifier: MIT */
/*
 * ONNX's test cases whose stored results are not what ONNX's text says (our own cases, in
 * tests/conformance/cases, have the right ones) or are of random numbers (tests/e2e/operators-test).
 */
#ifndef TESTS_MISTAKEN_H
#define TESTS_MISTAKEN_H

#include <string.h>

/* Why the stored results of the case don't count; NULL: they do. */
static inline const char *mistaken(const char *name)
{
	static const char wraps[] = "the stored result wraps where ONNX's text says that it "
				    "saturates (onnx/onnx issue 7835)";
	static const char nothing[] = "the stored result is NaN where ONNX's text, since made "
				      "clear, says 0 (onnx/onnx pull request 7618)";
	static const char random[] = "the stored result is of other random numbers";
	static const struct {
		const char *name, *why;
	} cases[] = {
		{ "test_adam_multiple", "the stored result is of another epsilon than the node's" },
		{ "test_bernoulli", random },
		{ "test_bernoulli_double", random },
		{ "test_bernoulli_double_expanded", random },
		{ "test_bernoulli_expanded", random },
		{ "test_bernoulli_seed", random },
		{ "test_bernoulli_seed_expanded", random },
		{ "test_l2normalization_axis_0", nothing },
		{ "test_qlinearmatmul_2D_int8_float16", wraps },
		{ "test_qlinearmatmul_2D_int8_float32", wraps },
		{ "test_qlinearmatmul_3D_int8_float16", wraps },
		{ "test_qlinearmatmul_3D_int8_float32", wraps },
		{ "test_training_dropout", random },
		{ "test_training_dropout_default", random },
		{ "test_training_dropout_default_mask", random },
		{ "test_training_dropout_mask", random },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (!strcmp(name, cases[i].name))
			return cases[i].why;
	return NULL;
}

#endif
