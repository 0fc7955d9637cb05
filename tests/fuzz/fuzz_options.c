// SPDX-License-Identifier: MIT
/* Options of the compiler: the first byte chooses one, the rest is its value; several, a line each. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "rduc.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static const char *const names[] = { "shape",  "dim",	   "state",  "entry",
					     "batch",  "tiles",	   "freeze", "optimize",
					     "memory", "momentum", "value" };
	char *text = malloc(size + 1), *line, *next;
	struct rduc *c;

	if (!text || rduc_new(&c))
		abort();
	memcpy(text, data, size);
	text[size] = 0;
	for (line = text; *line; line = next) {
		const char *name = names[(unsigned char)*line % (sizeof(names) / sizeof(names[0]))];
		int ret;

		next = line + strcspn(line, "\n");
		if (*next)
			*next++ = 0;
		ret = rduc_set(c, name, *line ? line + 1 : line);
		if (ret && (ret != -EINVAL || !*rduc_error_text(c)))
			abort(); /* refused without a word */
	}
	rduc_free(c);
	free(text);
	return 0;
}
