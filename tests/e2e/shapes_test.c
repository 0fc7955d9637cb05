// SPDX-License-Identifier: MIT
/*
 * Programs for several shapes through librdu: the entry point that is chosen, rows that are padded and
 * cut, and whatever can be wrong with what is asked for. Compiler, library and card in one process, with
 * the sanitizers; tests/e2e/shapes-test has the models.
 */
#include <errno.h>
#include <math.h>
#include "e2e.h"
#include "onnx_build.h"
#include "rduc.h"

#define D(...) ((int64_t[]){ __VA_ARGS__, 0 })
#define IN 6
#define HIDDEN 9
#define OUT 3
#define MOST 8

static float w1[IN * HIDDEN], w2[HIDDEN * OUT];

/* y = relu(x w1) w2, z = x - 1, and t, which is x transposed: rows in its second dimension. */
static void *network(size_t *size)
{
	static const float one = 1;
	struct build *b = build_new();
	Onnx__NodeProto *n;

	build_input(b, "x", D(4, IN));
	memcpy(w1, build_weight(b, "w1", D(IN, HIDDEN), 1, 0.5f)->raw_data.data, sizeof(w1));
	memcpy(w2, build_weight(b, "w2", D(HIDDEN, OUT), 2, 0.5f)->raw_data.data, sizeof(w2));
	build_tensor(b, "one", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 0, D(0), &one, sizeof(one));
	build_node(b, "MatMul", "x w1", "h");
	build_node(b, "Relu", "h", "r");
	build_node(b, "MatMul", "r w2", "y");
	build_node(b, "Sub", "x one", "z");
	n = build_node(b, "Transpose", "x", "t");
	attr_add_ints(n, "perm", 2, D(1, 0));
	build_output(b, "y", D(4, OUT));
	build_output(b, "z", D(4, IN));
	build_output(b, "t", D(IN, 4));
	return build_pack(b, size);
}

static struct rdu_file *compile(const char *shape)
{
	struct rdu_file *file = NULL;
	struct rduc *c;
	const void *bytes;
	size_t size;
	void *model = network(&size);

	if (rduc_new(&c))
		exit(1);
	if (rduc_set(c, "precision", "fp32") || (shape && rduc_set(c, "shape", shape)) ||
	    rduc_compile(c, model, size)) {
		tap(0, "%s", rduc_error_text(c));
	} else {
		bytes = rduc_output(c, RDUC_PROGRAM, &size);
		if (rdu_file_parse(bytes, size, &file))
			tap(0, "%s", rdu_error_text(file));
	}
	rduc_free(c);
	free(model);
	return file;
}

static float result(const float *x, int out)
{
	float y = 0;

	for (int h = 0; h < HIDDEN; h++) {
		float sum = 0;

		for (int i = 0; i < IN; i++)
			sum += x[i] * w1[i * HIDDEN + h];
		y += fmaxf(sum, 0) * w2[h * OUT + out];
	}
	return y;
}

static struct rdu_tensor tensor(const char *name, void *data, size_t size, int64_t rows,
				int64_t cols)
{
	struct rdu_tensor t = { { name, 2, 0, { rows, cols } }, data, size };

	return t;
}

/* ---- runs ------------------------------------------------------------------------------------ */

/* One run of n rows is right, and what lies behind its results is as it was. */
static void run_rows(struct rdu_program *prog, int n)
{
	float x[MOST * IN], y[MOST * OUT + 1], z[MOST * IN + 1], t[MOST * IN + 1];
	struct rdu_tensor in = tensor("x", x, sizeof(float) * (size_t)(n * IN), n, IN);
	struct rdu_tensor out[3] = { tensor("y", y, sizeof(y), 0, 0),
				     tensor("z", z, sizeof(z), 0, 0),
				     tensor("t", t, sizeof(t), 0, 0) };
	struct rdu_stats stats = { 0 };
	int wrong = 0;

	for (int i = 0; i < n * IN; i++)
		x[i] = sinf((float)(i + n));
	y[n * OUT] = z[n * IN] = t[n * IN] = 77;
	if (rdu_program_run_tensors(prog, NULL, &in, 1, out, 3, &stats)) {
		tap(0, "%d rows: %s", n, rdu_error_text(prog));
		return;
	}
	for (int i = 0; i < n; i++) {
		for (int k = 0; k < OUT; k++)
			wrong += fabsf(y[i * OUT + k] - result(x + i * IN, k)) > 1e-5f;
		for (int k = 0; k < IN; k++)
			wrong +=
				z[i * IN + k] != x[i * IN + k] - 1 || t[k * n + i] != x[i * IN + k];
	}
	tap(!wrong && stats.end_cycle > stats.start_cycle, "%d rows: %d results are wrong", n,
	    wrong);
	tap(out[0].shape.ndim == 2 && out[0].shape.dims[0] == n && out[0].shape.dims[1] == OUT &&
		    out[2].shape.dims[0] == IN && out[2].shape.dims[1] == n,
	    "  with the shapes of so many");
	tap(y[n * OUT] == 77 && z[n * IN] == 77 && t[n * IN] == 77, "  and nothing behind them");
}

static void refused(struct rdu_program *prog, const char *what, const char *words,
		    const struct rdu_tensor *in, struct rdu_tensor *out, int code)
{
	int ret = rdu_program_run_tensors(prog, NULL, in, 1, out, 1, NULL);

	tap(ret == code && strstr(rdu_error_text(prog), words), "%s is refused: %s", what,
	    ret ? rdu_error_text(prog) : "it is not");
}

static void runs(struct rdu_program *prog)
{
	float x[20 * IN] = { 0 }, y[20 * OUT];
	struct rdu_tensor out = tensor("y", y, sizeof(y), 0, 0), small = tensor("y", y, 5, 0, 0);
	struct rdu_tensor none = tensor("nonsuch", y, sizeof(y), 0, 0);
	struct rdu_tensor in = tensor("x", x, sizeof(x), 9, IN),
			  good = tensor("x", x, sizeof(x), 3, IN);

	for (int n = 1; n <= MOST; n++)
		run_rows(prog, n);
	refused(prog, "more rows than there are",
		"forward does not take x [9,6]; it takes x [1..8,6]; "
		"x [1..2,6]; x [1..4,6]",
		&in, &out, -EINVAL);
	in = tensor("x", x, sizeof(x), 0, IN);
	refused(prog, "no row", "does not take x [0,6]", &in, &out, -EINVAL);
	in = tensor("x", x, sizeof(x), -1, IN);
	refused(prog, "less than no row", "does not take x [-1,6]", &in, &out, -EINVAL);
	in = tensor("x", x, sizeof(x), INT64_MAX, INT64_MAX);
	refused(prog, "a shape of any size", "does not take x [92", &in, &out, -EINVAL);
	in = tensor("x", x, sizeof(x), 3, IN - 1);
	refused(prog, "a shorter row", "does not take x [3,5]", &in, &out, -EINVAL);
	in = tensor("x", x, sizeof(x), 3, IN);
	in.shape.ndim = 1;
	refused(prog, "another rank", "does not take x [3]", &in, &out, -EINVAL);
	in.shape.ndim = 9;
	refused(prog, "more dimensions than there are", "9 dimensions", &in, &out, -EINVAL);
	in = tensor(NULL, x, sizeof(x), 3, IN);
	refused(prog, "no name", "has no name", &in, &out, -EINVAL);
	in = tensor("nonsuch", x, sizeof(x), 3, IN);
	refused(prog, "an input that there is not", "forward has no \"nonsuch\"", &in, &out,
		-ENOENT);
	in = tensor("w1", x, sizeof(x), IN, HIDDEN);
	refused(prog, "a weight for an input", "\"w1\" is not an input", &in, &out, -EINVAL);
	in = tensor("x", x, 3 * IN * sizeof(float) - 1, 3, IN);
	refused(prog, "too few bytes", "\"x\" has 72 bytes, 71 were given", &in, &out, -EINVAL);
	refused(prog, "too little room", "\"y\" has 36 bytes, 5 were given", &good, &small,
		-EINVAL);
	refused(prog, "an output that there is not", "has no \"nonsuch\"", &good, &none, -ENOENT);
	tap(rdu_program_run_tensors(prog, "nonsuch", &good, 1, &out, 1, NULL) == -ENOENT,
	    "an entry point that there is not: %s", rdu_error_text(prog));
	run_rows(prog, 5);
}

/* ---- what a file says ---------------------------------------------------------------------------- */

static void choices(struct rdu_file *file)
{
	static const struct {
		const char *entry;
		int64_t rows;
		const char *chosen;
	} want[] = { { NULL, 1, "forward[2]" },
		     { "forward", 2, "forward[2]" },
		     { "forward", 3, "forward[4]" },
		     { NULL, 4, "forward[4]" },
		     { NULL, 5, "forward" },
		     { NULL, 8, "forward" },
		     { "forward[4]", 4, "forward[4]" },
		     { "forward[4]", 1, "forward[4]" },
		     { "forward[4]", 5, NULL },
		     { "forward[2", 1, NULL } };
	struct rdu_shape shape = { "x", 2, 0, { 0, IN } }, got;
	const struct rdu_file_symbol *sym;
	float part[3 * IN], whole[4 * IN], back[3 * IN];
	int e, wrong = 0;

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		shape.dims[0] = want[i].rows;
		e = rdu_file_entry_for_shapes(file, want[i].entry, &shape, 1);
		tap(want[i].chosen ? e >= 0 && !strcmp(rdu_file_entry(file, e), want[i].chosen)
				   : e < 0 && *rdu_error_text(file),
		    "%s, %lld rows: %s", want[i].entry ? want[i].entry : "any",
		    (long long)want[i].rows,
		    e < 0 ? rdu_error_text(file) : rdu_file_entry(file, e));
	}
	shape.dims[0] = 3;
	e = rdu_file_entry_for_shapes(file, NULL, &shape, 1);
	tap(rdu_file_entry_shape(file, e, &shape, 1, "y", &got) >= 0 && got.dims[0] == 3,
	    "an output has as many rows as the input");
	tap(rdu_file_entry_symbol(file, 99, "x") == -EINVAL,
	    "an entry point's number that there is not: %s", rdu_error_text(file));
	tap(rdu_file_entry_symbol(file, e, "w1") == rdu_file_find_symbol(file, "w1") &&
		    rdu_file_entry_symbol(file, e, "forward[4]/x") ==
			    rdu_file_entry_symbol(file, e, "x"),
	    "weights are the same everywhere");
	sym = rdu_file_get_symbol(file, rdu_file_entry_symbol(file, e, "x"));
	for (int i = 0; i < 3 * IN; i++)
		part[i] = (float)i;
	tap(!rdu_symbol_pad(sym, &shape, part, whole) && !rdu_symbol_cut(sym, &shape, whole, back),
	    "rows are padded, and cut again");
	for (int i = 0; i < IN; i++)
		wrong += whole[3 * IN + i] != part[2 * IN + i];
	tap(!wrong && !memcmp(part, back, sizeof(part)), "  with the last one");
	shape.dims[0] = 5;
	tap(rdu_symbol_pad(sym, &shape, part, whole) == -EINVAL, "more rows are not padded");
	shape.dims[0] = 0;
	tap(rdu_symbol_cut(sym, &shape, whole, part) == -EINVAL, "no rows are not cut");
	shape.ndim = 1;
	tap(rdu_symbol_pad(sym, &shape, part, whole) == -EINVAL, "nor is another rank");
}

/* A file without any of it, as all were once. */
static void one_shape(struct rdu_device *dev)
{
	struct rdu_shape shape = { "x", 2, 0, { 3, IN } };
	struct rdu_file *file = compile(NULL);
	struct card card;
	char error[512] = "";
	unsigned int rows = 0;

	if (!file)
		return;
	for (unsigned int i = 0; i < rdu_file_num_symbols(file); i++)
		rows |= rdu_file_get_symbol(file, i)->flags & ~0xffu;
	tap(!rows && rdu_file_num_entries(file) == 1,
	    "a program for one shape has nothing new in it");
	tap(rdu_file_entry_for_shapes(file, NULL, &shape, 1) == -EINVAL,
	    "and takes no fewer rows: %s", rdu_error_text(file));
	if (card_load(&card, dev, file, error, sizeof(error)))
		tap(0, "%s", error);
	else
		run_rows(card.prog, 4);
	card_unload(&card);
	rdu_file_close(file);
}

int main(void)
{
	struct rdu_file *file = compile("x=[2,4,8],6");
	struct rdu_device *dev;
	struct card card;
	char error[512] = "";

	if (rdu_open("model:sn10,threads=1", &dev)) {
		tap(0, "%s", rdu_error_text(dev));
		return tap_end();
	}
	if (file && !card_load(&card, dev, file, error, sizeof(error))) {
		runs(card.prog);
		choices(file);
		card_unload(&card);
	} else {
		tap(0, "%s", error);
	}
	rdu_file_close(file);
	one_shape(dev);
	rdu_close(dev);
	return tap_end();
}
