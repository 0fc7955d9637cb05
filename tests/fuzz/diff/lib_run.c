// SPDX-License-Identifier: MIT
/* A compiled case through librdu, on the card in this process. */
#include <stdio.h>
#include <string.h>
#include "diff.h"
#include "rdu.h"

int lib_run(const char *path, const char *device, const char *entry, const struct symbol_data *in,
	    int num_in, const struct symbol_data *out, int num_out, uint64_t *cycles, char *text,
	    size_t size)
{
	struct rdu_device *dev = NULL;
	struct rdu_context *ctx = NULL;
	struct rdu_program *prog = NULL;
	struct rdu_file *file = NULL;
	struct rdu_stats stats;
	const void *guilty = NULL;
	int ret = -1;

	if (rdu_file_open(path, &file))
		guilty = file;
	else if (rdu_open(device, &dev))
		guilty = dev;
	else if (rdu_context_new(dev, NULL, &ctx))
		guilty = ctx;
	else if (rdu_program_load(ctx, file, &prog))
		guilty = prog;
	for (int i = 0; i < num_in && !guilty; i++)
		if (rdu_program_write(prog, in[i].name, in[i].data, in[i].size))
			guilty = prog;
	if (!guilty && rdu_program_run(prog, entry, &stats))
		guilty = prog;
	for (int i = 0; i < num_out && !guilty; i++)
		if (rdu_program_read(prog, out[i].name, out[i].data, out[i].size))
			guilty = prog;
	if (guilty) {
		snprintf(text, size, "%s: %s", device, rdu_error_text(guilty));
	} else {
		*cycles = stats.end_cycle - stats.start_cycle;
		ret = 0;
	}
	rdu_program_free(prog);
	rdu_context_free(ctx);
	rdu_close(dev);
	rdu_file_close(file);
	return ret;
}
