// SPDX-License-Identifier: MIT
/* Outputs of which data say how large they are. */
#include <errno.h>
#include <stdlib.h>
#include "lib_test.h"

/* y's dimension is bounded, and its own first elements are its size. */
enum { Y = 1, SIZES = 3 };

static void sizes_make(struct sample *s, struct rdu_file_symbol *symbols)
{
	sample_make(s, "sn10", false);
	memcpy(symbols, s->symbols, sizeof(s->symbols));
	symbols[Y].table = SIZES;
	symbols[Y].block = 1;
	symbols[SIZES] = (struct rdu_file_symbol){ .name = "y.sizes",
						   .region = symbols[Y].region,
						   .dtype = RDU_DT_I64,
						   .flags = RDU_SYM_OUTPUT,
						   .ndim = 1,
						   .dims = { 1 },
						   .entries = 1 };
	s->parts.symbols = symbols;
	s->parts.num_symbols = 4;
}

static int write_and_open(const struct sample *s, struct rdu_file **f)
{
	const char *path = temp_path("sizes.rdu");
	char error[256];
	int ret;

	if (rdu_file_write(path, &s->parts, error, sizeof(error)))
		abort();
	ret = rdu_file_open(path, f);
	unlink(path);
	return ret;
}

#define BAD(change, words)                                                      \
	do {                                                                    \
		struct rdu_file *f_;                                            \
		sizes_make(&s, symbols);                                        \
		change;                                                         \
		refused(write_and_open(&s, &f_), -ENOEXEC, f_, words, #change); \
		rdu_file_close(f_);                                             \
		sample_free(&s);                                                \
	} while (0)

static void test_files(void)
{
	struct rdu_file_symbol symbols[4];
	struct rdu_file *f;
	struct sample s;

	sizes_make(&s, symbols);
	ok(!write_and_open(&s, &f), "a file with an output of which data say the size");
	ok(rdu_file_symbol_sizes(f, Y) == SIZES && rdu_file_symbol_sizes(f, 0) == -ENOENT &&
		   rdu_file_symbol_sizes(f, 99) == -ENOENT,
	   "which symbol has its sizes");
	ok(rdu_file_symbol_is_sizes(f, SIZES) && !rdu_file_symbol_is_sizes(f, Y),
	   "what has sizes is known");
	rdu_file_close(f);
	sample_free(&s);

	BAD(symbols[Y].block = 0, "names sizes of no dimension");
	BAD(symbols[Y].block = 2, "has sizes of dimensions that are not there");
	BAD(symbols[Y].block = ~0u, "has sizes of dimensions that are not there");
	BAD(symbols[Y].table = 4, "has sizes that are nowhere");
	BAD(symbols[Y].table = ~0u, "has sizes that are nowhere");
	BAD(symbols[Y].table = 0, "has sizes that are none of its dimensions");
	BAD(symbols[Y].table = Y, "has sizes that are none of its dimensions");
	BAD(symbols[Y].flags = RDU_SYM_INPUT, "is not kept in blocks, but says which");
	BAD(symbols[SIZES].dtype = RDU_DT_I32, "has sizes that are none of its dimensions");
	BAD(symbols[SIZES].dims[0] = 2, "has sizes that are none of its dimensions");
	BAD(symbols[SIZES].ndim = 0;
	    symbols[SIZES].dims[0] = 0, "has sizes that are none of its dimensions");
	BAD(symbols[SIZES].entries = 0, "has sizes of other entry points");
}

static void test_shapes(void)
{
	struct rdu_file_symbol y = { .ndim = 2,
				     .dtype = RDU_DT_I32,
				     .dims = { 2, 4 },
				     .flags = RDU_SYM_OUTPUT,
				     .block = 2 };
	struct rdu_shape shape = { .ndim = 2, .dims = { 2, 4 } };
	int32_t whole[8] = { 0, 1, 2, 3, 4, 5, 6, 7 }, part[8] = { 0 };

	ok(!rdu_symbol_set_sizes(&y, (int64_t[]){ 3 }, &shape) && shape.dims[0] == 2 &&
		   shape.dims[1] == 3,
	   "the shape that a run has made");
	ok(!rdu_symbol_cut(&y, &shape, whole, part) && part[2] == 2 && part[3] == 4 && part[5] == 6,
	   "what counts of it");
	ok(!rdu_symbol_set_sizes(&y, (int64_t[]){ 0 }, &shape) &&
		   !rdu_symbol_cut(&y, &shape, whole, part) && part[0] == 0,
	   "nothing");
	ok(rdu_symbol_set_sizes(&y, (int64_t[]){ 5 }, &shape) == -EINVAL &&
		   rdu_symbol_set_sizes(&y, (int64_t[]){ -1 }, &shape) == -EINVAL,
	   "more than there is room for, and less than nothing");
	shape.dims[0] = 0;
	ok(rdu_symbol_cut(&y, &shape, whole, part) == -EINVAL, "nothing of another dimension");
}

static void test_runs(void)
{
	struct rdu_file_symbol symbols[4];
	struct rdu_device *dev;
	struct rdu_context *ctx;
	struct rdu_program *prog;
	struct rdu_file *f;
	struct rdu_shape shape;
	struct sample s;
	const int64_t three = 3;
	unsigned int n;
	float *x, *y;

	sizes_make(&s, symbols);
	n = (unsigned int)symbols[0].dims[0];
	x = calloc(n, sizeof(*x));
	y = calloc(n, sizeof(*y));
	memcpy(s.data, &three, sizeof(three)); /* y is 2 x + w */
	s.data[2] = 7;
	if (write_and_open(&s, &f) || rdu_open("model:sn10", &dev) ||
	    rdu_context_new(dev, NULL, &ctx) || rdu_program_load(ctx, f, &prog))
		abort();

	struct rdu_tensor in = { { .name = "x", .ndim = 1, .dims = { n } }, x, n * sizeof(*x) };
	struct rdu_tensor out[2] = { { { .name = "y" }, y, n * sizeof(*y) } };
	int64_t sizes[1] = { 0 };

	ok(!rdu_program_run_tensors(prog, NULL, &in, 1, out, 1, NULL) &&
		   out[0].shape.dims[0] == 3 && y[2] == 7,
	   "a run says how large its output is");
	out[1] = (struct rdu_tensor){ { .name = "y.sizes" }, sizes, sizeof(sizes) };
	ok(!rdu_program_run_tensors(prog, NULL, &in, 1, out, 2, NULL) &&
		   out[0].shape.dims[0] == 3 && sizes[0] == 3,
	   "and its sizes, if they are wanted");
	ok(!rdu_program_output_shape(prog, "y", &shape) && shape.ndim == 1 && shape.dims[0] == 3,
	   "the shape is there after the run");
	refused(rdu_program_output_shape(prog, "z", &shape), -ENOENT, prog, "z",
		"of a tensor that is there");
	out[0].size -= 1;
	refused(rdu_program_run_tensors(prog, NULL, &in, 1, out, 1, NULL), -EINVAL, prog,
		"were given", "room for less than the largest");
	rdu_program_bind(prog, "y", y, n * sizeof(*y));
	refused(rdu_program_run(prog, NULL, NULL), -EINVAL, prog, "bind \"y.sizes\" as well",
		"an output without its sizes");
	rdu_program_bind(prog, "y.sizes", sizes, sizeof(sizes));
	sizes[0] = 0;
	ok(!rdu_program_run(prog, NULL, NULL) && sizes[0] == 3, "both are bound");
	rdu_program_bind(prog, "y", NULL, 0);
	rdu_program_bind(prog, "y.sizes", NULL, 0);
	s.data[0] = -1; /* a size beyond all */
	rdu_program_write(prog, "w", s.data, n * sizeof(*s.data));
	out[0].size += 1;
	refused(rdu_program_run_tensors(prog, NULL, &in, 1, out, 1, NULL), -EFAULT, prog,
		"impossible sizes", "more than there is room for");
	rdu_program_free(prog);
	rdu_context_free(ctx);
	rdu_close(dev);
	rdu_file_close(f);
	sample_free(&s);
	free(x);
	free(y);
}

int main(void)
{
	test_files();
	test_shapes();
	test_runs();
	return tap_done();
}
