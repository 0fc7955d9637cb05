// SPDX-License-Identifier: MIT
/* ONNX files: import, simplify, differentiate, patterns; every nest is checked. */
#include <stdlib.h>
#include <string.h>
#include "graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct train_options train = { .loss = "softmax_cross_entropy",
					     .optimizer = OPT_ADAMW,
					     .beta1 = 0.9f,
					     .beta2 = 0.999f };
	const struct import_options import = { .batch = 2 };
	char error[4096] = "";

	for (int pass = 0; pass < 2; pass++) {
		struct graph *g = graph_import(data, size, &import, error, sizeof(error));
		struct module *m = NULL;

		if (g && !graph_simplify(g) && (!pass || !graph_differentiate(g, &train)))
			m = graph_patterns(g);
		if (!m && !*error)
			abort(); /* refused without a word */
		module_free(m);
		graph_free(g);
	}
	return 0;
}
