// SPDX-License-Identifier: MIT
/* ONNX files, to librduc: each is compiled with and without training, and for several batches, or refused
 * with a text. */
#include <errno.h>
#include <stdlib.h>
#include "rduc.h"

#define MOST_STEPS 300 /* a compile that goes on after so many is cancelled */

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

struct steps {
	struct rduc *c;
	int num;
};

static void step(void *arg, const char *what)
{
	struct steps *s = arg;

	(void)what;
	if (++s->num == MOST_STEPS)
		rduc_cancel(s->c);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	for (int pass = 0; pass < 3; pass++) {
		struct steps s = { 0 };
		int ret, train = pass == 1;

		if (rduc_new(&s.c))
			abort();
		/* A batch is refused where no input leaves it open. */
		if ((size % 2 && rduc_set(s.c, "batch", "2")) ||
		    (train && rduc_set(s.c, "optimizer", "adamw")) ||
		    rduc_set(s.c, "train", train ? "1" : "0") ||
		    rduc_set(s.c, "memory", "500000000") || rduc_want(s.c, RDUC_REPORT_JSON) ||
		    rduc_want(s.c, RDUC_FLOOR_PLAN))
			abort();
		/* An open dimension of that name is one of the seeds' and of many files. */
		if (pass == 2 && (rduc_set(s.c, "dim", "N=[1,3]") || rduc_set(s.c, "dim", "M=2")))
			abort();
		rduc_set_progress(s.c, step, &s);
		ret = rduc_compile(s.c, data, size);
		if (ret && ret != -EINVAL && ret != -ENOMEM && ret != -ECANCELED)
			abort(); /* an error that rduc.h does not have */
		if (ret ? !*rduc_error_text(s.c) : !rduc_output(s.c, RDUC_PROGRAM, NULL))
			abort(); /* refused without a word, or nothing made */
		rduc_free(s.c);
	}
	return 0;
}
