/* SPDX-License-Identifier: MIT */
/*
 * ONNX's test cases whose stored results are not what ONNX's text says. Our own cases
 * (tests/conformance/cases) have the right ones.
 */
#ifndef TESTS_MISTAKEN_H
#define TESTS_MISTAKEN_H

#include <string.h>

/* Why the stored results of the case don't count; NULL: they do. */
static inline const char *mistaken(const char *name)
{
	static const char wraps[] = "the stored result wraps where ONNX's text says that it "
				    "saturates (onnx/onnx issue 7835)";
	static const struct {
		const char *name, *why;
	} cases[] = {
		{ "test_adam_multiple", "the stored result is of another epsilon than the node's" },
		{ "test_qlinearmatmul_2D_int8_float16", wraps },
		{ "test_qlinearmatmul_2D_int8_float32", wraps },
		{ "test_qlinearmatmul_3D_int8_float16", wraps },
		{ "test_qlinearmatmul_3D_int8_float32", wraps },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (!strcmp(name, cases[i].name))
			return cases[i].why;
	return NULL;
}

#endif
