// SPDX-License-Identifier: MIT
/* rdu-mkmodel: the demonstration's network, and single operators. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "graph.h"
#include "mkmodel.h"

/* Convolution 3x3, Relu, pooling 2x2: out of `x` into "poolI". */
static const char *conv_block(struct mk *m, int i, const char *x, int64_t ci, int64_t co)
{
	const char *conv = mk_text("conv%d", i), *relu = mk_text("relu%d", i);
	const char *pool = mk_text("pool%d", i);
	double bound = 1 / sqrt((double)ci * 9);
	const char *w = mk_weight(m, mk_text("%s.weight", conv), DIMS(co, ci, 3, 3), bound);
	const char *b = mk_weight(m, mk_text("%s.bias", conv), DIMS(co), bound);
	Onnx__NodeProto *n = MK_NODE(m, "Conv", conv, conv, x, w, b);

	mk_attr_ints(n, "kernel_shape", DIMS(3, 3));
	mk_attr_ints(n, "pads", DIMS(1, 1, 1, 1));
	mk_attr_ints(n, "strides", DIMS(1, 1));
	MK_NODE(m, "Relu", relu, relu, conv);
	n = MK_NODE(m, "MaxPool", pool, pool, relu);
	mk_attr_ints(n, "kernel_shape", DIMS(2, 2));
	mk_attr_ints(n, "strides", DIMS(2, 2));
	return pool;
}

static const char *dense(struct mk *m, const char *name, const char *x, int64_t in, int64_t out,
			 const char *y)
{
	double bound = 1 / sqrt((double)in);
	const char *w = mk_weight(m, mk_text("%s.weight", name), DIMS(out, in), bound);
	const char *b = mk_weight(m, mk_text("%s.bias", name), DIMS(out), bound);

	mk_attr_int(MK_NODE(m, "Gemm", name, y, x, w, b), "transB", 1);
	return y;
}

static int make_cnn(struct mk *m)
{
	int64_t batch = mk_size(m, "batch");
	const char *x = mk_input(m, "x", 0, DIMS(batch, 1, 28, 28));

	x = conv_block(m, 1, x, 1, 16);
	x = conv_block(m, 2, x, 16, 32);
	mk_attr_int(MK_NODE(m, "Flatten", "flatten", "flatten", x), "axis", 1);
	dense(m, "fc1", "flatten", 1568, 128, "fc1");
	MK_NODE(m, "Relu", "relu3", "relu3", "fc1");
	dense(m, "fc2", "relu3", 128, 10, "logits");
	mk_output(m, "logits", "logits", DIMS(batch, 10));
	return 0;
}

static int make_mlp(struct mk *m)
{
	int64_t batch = mk_size(m, "batch"), width = mk_size(m, "k"), classes = mk_size(m, "m");
	int64_t hidden[MK_MAX_LIST];
	const char *x = mk_input(m, "x", 0, DIMS(batch, width));
	int num = mk_list(m, "hidden", hidden);

	if (num < 0)
		return -1;
	for (int i = 0; i < num; i++) {
		const char *fc = mk_text("fc%d", i + 1), *relu = mk_text("relu%d", i + 1);

		dense(m, fc, x, width, hidden[i], fc);
		MK_NODE(m, "Relu", relu, relu, fc);
		x = relu;
		width = hidden[i];
	}
	dense(m, mk_text("fc%d", num + 1), x, width, classes, "logits");
	mk_output(m, "logits", "logits", DIMS(batch, classes));
	return 0;
}

static int make_gemm(struct mk *m)
{
	int64_t rows = mk_size(m, "m"), cols = mk_size(m, "n"), k = mk_size(m, "k");
	bool bias = mk_size(m, "bias"), relu = mk_size(m, "relu");
	const char *y = bias || relu ? "matmul" : "y";

	mk_input(m, "a", 0, DIMS(rows, k));
	if (mk_size(m, "weights"))
		mk_weight(m, "b", DIMS(k, cols), 1 / sqrt((double)k));
	else
		mk_input(m, "b", 0, DIMS(k, cols));
	MK_NODE(m, "MatMul", "matmul", y, "a", "b");
	if (bias) {
		mk_weight(m, "bias", DIMS(cols), 1);
		y = relu ? "add" : "y";
		MK_NODE(m, "Add", "add", y, "matmul", "bias");
	}
	if (relu)
		MK_NODE(m, "Relu", "relu", "y", y);
	mk_output(m, "y", "y", DIMS(rows, cols));
	return 0;
}

static int make_map(struct mk *m, const char *op)
{
	int64_t rows = mk_size(m, "m"), cols = mk_size(m, "n");

	mk_input(m, "x", 0, DIMS(rows, cols));
	MK_NODE(m, op, "y", "y", "x");
	mk_output(m, "y", "y", DIMS(rows, cols));
	return 0;
}

static int make_relu(struct mk *m)
{
	return make_map(m, "Relu");
}

static int make_softmax(struct mk *m)
{
	return make_map(m, "Softmax");
}

#define SIZE(name, about, value)                              \
	{                                                     \
		name, MK_SIZE, about, value, 1, 1 << 24, NULL \
	}
#define FLAG(name, about)                           \
	{                                           \
		name, MK_FLAG, about, 0, 0, 1, NULL \
	}

const struct mk_family mk_basic[] = {
	{ .name = "cnn",
	  .about = "images [N,1,28,28]: two convolutions with pooling, two dense layers",
	  .opset = 13,
	  .make = make_cnn,
	  .option = { SIZE("batch", "images at once", 64) } },
	{ .name = "mlp",
	  .about = "rows [N,K] through dense layers to M classes",
	  .opset = 13,
	  .make = make_mlp,
	  .option = { SIZE("batch", "rows at once", 64),
		      SIZE("k", "numbers in a row", 784),
		      SIZE("m", "classes", 10),
		      { "hidden", MK_LIST, "widths of the hidden layers", 0, 1, 1 << 20,
			"128" } } },
	{ .name = "gemm",
	  .about = "a matrix product [M,K] x [K,N]",
	  .opset = 13,
	  .make = make_gemm,
	  .option = { SIZE("m", "rows of the first matrix", 1024),
		      SIZE("n", "columns of the second", 1024),
		      SIZE("k", "what is summed over", 1024),
		      FLAG("weights", "the second matrix is a weight"),
		      FLAG("bias", "add a row to every row"), FLAG("relu", "then Relu") } },
	{ .name = "relu",
	  .about = "one Relu of [M,N]",
	  .no_weights = true,
	  .opset = 13,
	  .make = make_relu,
	  .option = { SIZE("m", "rows", 1024), SIZE("n", "columns", 1024) } },
	{ .name = "softmax",
	  .about = "one Softmax of the rows of [M,N]",
	  .no_weights = true,
	  .opset = 13,
	  .make = make_softmax,
	  .option = { SIZE("m", "rows", 1024), SIZE("n", "columns", 1024) } },
	{ 0 },
};
