// SPDX-License-Identifier: MIT
/*
 * Gradients through the card. For a small network around each operator, one
 * train_step with SGD and a learning rate of 1 moves the weights by minus the
 * gradient that the card computed; the card's own loss, at weights moved a
 * little to both sides along random directions (with a learning rate of 0),
 * gives the derivative to compare it with. All in fp32.
 */
#include <math.h>
#include "e2e.h"
#include "onnx_build.h"

#define BATCH 4
#define CLASSES 5
#define DIRECTIONS 6

#define D(...) ((int64_t[]){ __VA_ARGS__, 0 })

/* Each net makes "h" from "x" and leaves its shape without the batch. */
static int64_t net_gemm(struct build *b)
{
	build_input(b, "x", D(BATCH, 12));
	build_weight(b, "w", D(12, 9), 1, 0.5f);
	build_weight(b, "c", D(9), 2, 0.5f);
	build_node(b, "Gemm", "x w c", "h");
	return 9;
}

static int64_t net_matmul_add(struct build *b)
{
	build_input(b, "x", D(BATCH, 12));
	build_weight(b, "w", D(12, 7), 3, 0.5f);
	build_weight(b, "c", D(7), 4, 0.5f);
	build_node(b, "MatMul", "x w", "m");
	build_node(b, "Add", "m c", "h");
	return 7;
}

static int64_t net_conv(struct build *b)
{
	Onnx__NodeProto *n;

	build_input(b, "x", D(BATCH, 2, 6, 6));
	build_weight(b, "w", D(3, 2, 3, 3), 5, 0.4f);
	build_weight(b, "c", D(3), 6, 0.3f);
	n = build_node(b, "Conv", "x w c", "m");
	attr_add_ints(n, "kernel_shape", 2, D(3, 3));
	attr_add_ints(n, "pads", 4, D(1, 1, 1, 1));
	build_node(b, "Flatten", "m", "h");
	return 108;
}

/* The second convolution needs the gradient of the first one's output. */
static int64_t net_conv_stride(struct build *b)
{
	Onnx__NodeProto *n;

	build_input(b, "x", D(BATCH, 1, 8, 8));
	build_weight(b, "w", D(2, 1, 3, 3), 7, 0.5f);
	build_weight(b, "v", D(3, 2, 3, 3), 8, 0.4f);
	n = build_node(b, "Conv", "x w", "m");
	attr_add_ints(n, "kernel_shape", 2, D(3, 3));
	attr_add_ints(n, "pads", 4, D(1, 1, 1, 1));
	n = build_node(b, "Conv", "m v", "k");
	attr_add_ints(n, "kernel_shape", 2, D(3, 3));
	attr_add_ints(n, "strides", 2, D(2, 2));
	build_node(b, "Flatten", "k", "h");
	return 27;
}

static int64_t net_conv_pool(struct build *b, const char *pool)
{
	Onnx__NodeProto *n;

	build_input(b, "x", D(BATCH, 1, 6, 6));
	build_weight(b, "w", D(2, 1, 3, 3), 9, 0.6f);
	build_weight(b, "c", D(2), 10, 0.3f);
	n = build_node(b, "Conv", "x w c", "m");
	attr_add_ints(n, "kernel_shape", 2, D(3, 3));
	attr_add_ints(n, "pads", 4, D(1, 1, 1, 1));
	n = build_node(b, pool, "m", "k");
	attr_add_ints(n, "kernel_shape", 2, D(2, 2));
	attr_add_ints(n, "strides", 2, D(2, 2));
	build_node(b, "Flatten", "k", "h");
	return 18;
}

static int64_t net_maxpool(struct build *b)
{
	return net_conv_pool(b, "MaxPool");
}

static int64_t net_averagepool(struct build *b)
{
	return net_conv_pool(b, "AveragePool");
}

static int64_t net_map(struct build *b, const char *op)
{
	build_input(b, "x", D(BATCH, 10));
	build_weight(b, "w", D(10, 8), 11, 0.7f);
	build_node(b, "MatMul", "x w", "m");
	build_node(b, op, "m", "h");
	return 8;
}

/* Operators of one input, by name; a '+' before it: of positive numbers. */
static const char *const unary[] = {
	"Relu",	      "Tanh",	   "Sigmoid", "Exp",	     "Abs",	    "Erf",	"Softmax",
	"LogSoftmax", "Neg",	   "+Sqrt",   "+Log",	     "+Reciprocal", "Softplus", "Softsign",
	"Elu",	      "LeakyRelu", "Selu",    "HardSigmoid", "Sin",	    "Cos",	"Identity",
};

static int64_t net_unary(struct build *b, const char *op)
{
	if (*op != '+')
		return net_map(b, op);
	build_input(b, "x", D(BATCH, 10));
	build_weight(b, "w", D(10, 8), 16, 0.5f);
	build_node(b, "MatMul", "x w", "m");
	build_node(b, "Exp", "m", "e");
	build_node(b, op + 1, "e", "h");
	return 8;
}

static int64_t net_two(struct build *b, const char *op)
{
	build_input(b, "x", D(BATCH, 10));
	build_weight(b, "w", D(10, 6), 12, 0.7f);
	build_weight(b, "v", D(10, 6), 13, 0.7f);
	build_node(b, "MatMul", "x w", "m");
	build_node(b, "MatMul", "x v", "k");
	if (!strcmp(op, "Div")) {
		build_node(b, "Exp", "k", "e");
		build_node(b, op, "m e", "h");
	} else {
		build_node(b, op, "m k", "h");
	}
	return 6;
}

static int64_t net_mul(struct build *b)
{
	return net_two(b, "Mul");
}
static int64_t net_sub(struct build *b)
{
	return net_two(b, "Sub");
}
static int64_t net_div(struct build *b)
{
	return net_two(b, "Div");
}

static int64_t net_max(struct build *b)
{
	return net_two(b, "Max");
}
static int64_t net_min(struct build *b)
{
	return net_two(b, "Min");
}

static int64_t net_concat_slice(struct build *b)
{
	Onnx__NodeProto *n;

	build_input(b, "x", D(BATCH, 10));
	build_weight(b, "w", D(10, 6), 17, 0.7f);
	build_weight(b, "v", D(10, 5), 18, 0.7f);
	build_ints(b, "from", 1, D(2));
	build_ints(b, "to", 1, D(9));
	build_ints(b, "axis", 1, D(1));
	build_node(b, "MatMul", "x w", "m");
	build_node(b, "MatMul", "x v", "k");
	n = build_node(b, "Concat", "m k", "c");
	attr_add_int(n, "axis", 1);
	build_node(b, "Tanh", "c", "t");
	build_node(b, "Slice", "t from to axis", "h");
	return 7;
}

static int64_t net_reduce(struct build *b, const char *op)
{
	Onnx__NodeProto *n;

	build_input(b, "x", D(BATCH, 12));
	build_weight(b, "w", D(12, 20), 19, 0.5f);
	build_ints(b, "s", 3, D(BATCH, 4, 5));
	build_node(b, "MatMul", "x w", "m");
	build_node(b, "Reshape", "m s", "r");
	n = build_node(b, op, "r", "h");
	attr_add_ints(n, "axes", 1, D(2));
	attr_add_int(n, "keepdims", 0);
	return 4;
}

static int64_t net_reduce_mean(struct build *b)
{
	return net_reduce(b, "ReduceMean");
}
static int64_t net_reduce_max(struct build *b)
{
	return net_reduce(b, "ReduceMax");
}

static int64_t net_global_pool(struct build *b)
{
	Onnx__NodeProto *n;

	build_input(b, "x", D(BATCH, 1, 5, 5));
	build_weight(b, "w", D(6, 1, 3, 3), 20, 0.6f);
	n = build_node(b, "Conv", "x w", "m");
	attr_add_ints(n, "kernel_shape", 2, D(3, 3));
	build_node(b, "GlobalAveragePool", "m", "k");
	build_node(b, "Flatten", "k", "h");
	return 6;
}

static int64_t net_transpose(struct build *b)
{
	Onnx__NodeProto *n;

	build_input(b, "x", D(BATCH, 12));
	build_weight(b, "w", D(12, 12), 14, 0.5f);
	build_weight(b, "v", D(3, 4), 15, 0.5f);
	build_ints(b, "s", 3, D(BATCH, 3, 4));
	build_node(b, "MatMul", "x w", "m");
	build_node(b, "Reshape", "m s", "r");
	build_node(b, "Add", "r v", "a");
	n = build_node(b, "Transpose", "a", "t");
	attr_add_ints(n, "perm", 3, (int64_t[]){ 0, 2, 1 });
	build_node(b, "Tanh", "t", "u");
	build_node(b, "Flatten", "u", "h");
	return 12;
}

static const struct {
	const char *name;
	int64_t (*make)(struct build *b);
} nets[] = {
	{ "Gemm", net_gemm },
	{ "MatMul and Add", net_matmul_add },
	{ "Conv", net_conv },
	{ "Conv of Conv, stride 2", net_conv_stride },
	{ "MaxPool", net_maxpool },
	{ "AveragePool", net_averagepool },
	{ "GlobalAveragePool", net_global_pool },
	{ "Mul", net_mul },
	{ "Sub", net_sub },
	{ "Div", net_div },
	{ "Max", net_max },
	{ "Min", net_min },
	{ "Concat and Slice", net_concat_slice },
	{ "ReduceMean", net_reduce_mean },
	{ "ReduceMax", net_reduce_max },
	{ "Reshape and Transpose", net_transpose },
};

#define NETS (sizeof(nets) / sizeof(nets[0]))
#define UNARIES (sizeof(unary) / sizeof(unary[0]))

struct weight {
	char name[64];
	size_t n;
	float *start, *grad, *dir, *now;
};

struct net {
	struct rdu_file *file;
	struct card card;
	struct weight w[8];
	int num;
	char error[300];
};

static int failed(struct net *k, const char *what)
{
	snprintf(k->error, sizeof(k->error), "%s: %s", what,
		 k->card.prog ? rdu_error_text(k->card.prog) : "");
	return -1;
}

/* Loss at weights `start + by * dir`, or -1e9; the weights then are `now`. */
static double step(struct net *k, float by, float rate)
{
	float loss;

	for (int i = 0; i < k->num; i++) {
		struct weight *w = &k->w[i];

		for (size_t j = 0; j < w->n; j++)
			w->now[j] = w->start[j] + by * w->dir[j];
		if (rdu_program_write(k->card.prog, w->name, w->now, w->n * 4))
			return failed(k, w->name) * 1e9;
	}
	if (rdu_program_write(k->card.prog, "lr", &rate, 4))
		return failed(k, "lr") * 1e9;
	if (rdu_program_run(k->card.prog, "train_step", NULL))
		return failed(k, "run") * 1e9;
	if (rdu_program_read(k->card.prog, "loss", &loss, 4))
		return failed(k, "loss") * 1e9;
	return loss;
}

/* Inputs of the batch: noise and classes. */
static int feed(struct net *k)
{
	unsigned int n = rdu_file_num_symbols(k->file);

	for (unsigned int i = 0; i < n; i++) {
		const struct rdu_file_symbol *s = rdu_file_get_symbol(k->file, i);
		size_t bytes = rdu_symbol_size(s);
		void *d = calloc(1, bytes + 8);
		int ret = 0;

		if ((s->flags & RDU_SYM_INPUT) && strcmp(s->name, "lr")) {
			if (s->dtype == RDU_DT_F32)
				fill(d, bytes / 4, 21 + i);
			for (size_t j = 0; s->dtype == RDU_DT_I32 && j < bytes / 4; j++)
				((int32_t *)d)[j] = (j * 3 + 1) % CLASSES;
			for (size_t j = 0; s->dtype == RDU_DT_I64 && j < bytes / 8; j++)
				((int64_t *)d)[j] = (j * 3 + 1) % CLASSES;
			ret = rdu_program_write(k->card.prog, s->name, d, bytes);
		}
		free(d);
		if (ret)
			return failed(k, s->name);
		if ((s->flags & RDU_SYM_WEIGHT) && s->dtype == RDU_DT_F32 && k->num < 8 &&
		    !strchr(s->name, '/')) {
			struct weight *w = &k->w[k->num++];

			snprintf(w->name, sizeof(w->name), "%s", s->name);
			w->n = bytes / 4;
			w->start = calloc(w->n, 4);
			w->grad = calloc(w->n, 4);
			w->dir = calloc(w->n, 4);
			w->now = calloc(w->n, 4);
			if (rdu_program_read(k->card.prog, w->name, w->start, bytes))
				return failed(k, w->name);
		}
	}
	return 0;
}

/* 0, or -1 and k->error. */
static int check(struct net *k, double *worst)
{
	const float eps = 0.01f;
	double loss, norm = 0;

	if (feed(k))
		return -1;
	loss = step(k, 0, 1);
	if (loss < -1e8)
		return -1;
	for (int i = 0; i < k->num; i++) {
		struct weight *w = &k->w[i];

		if (rdu_program_read(k->card.prog, w->name, w->now, w->n * 4))
			return failed(k, w->name);
		for (size_t j = 0; j < w->n; j++) {
			w->grad[j] = w->start[j] - w->now[j];
			norm += (double)w->grad[j] * w->grad[j];
		}
	}
	norm = sqrt(norm);
	if (!(loss > 0.1 && loss < 100 && norm > 1e-3 && norm < 1e3)) {
		snprintf(k->error, sizeof(k->error), "loss %g, length of the gradient %g", loss,
			 norm);
		return -1;
	}
	/* Directions: a random one in each weight by itself, then in all. */
	for (int t = 0; t < DIRECTIONS + k->num; t++) {
		double want = 0, got, plus, minus, len = 0, scale = 0;

		for (int i = 0; i < k->num; i++) {
			struct weight *w = &k->w[i];

			fill(w->dir, w->n, 31 * t + i);
			for (size_t j = 0; j < w->n; j++) {
				if (t < k->num && t != i)
					w->dir[j] = 0;
				len += (double)w->dir[j] * w->dir[j];
				scale += w->dir[j] ? (double)w->grad[j] * w->grad[j] : 0;
			}
		}
		len = sqrt(len);
		for (int i = 0; i < k->num; i++)
			for (size_t j = 0; j < k->w[i].n; j++) {
				k->w[i].dir[j] /= len;
				want += (double)k->w[i].dir[j] * k->w[i].grad[j];
			}
		plus = step(k, eps, 0);
		minus = step(k, -eps, 0);
		if (plus < -1e8 || minus < -1e8)
			return -1;
		got = (plus - minus) / (2 * eps);
		/* Relative to the gradient's length; a loss of about 2 in fp32 gives
		 * the difference an error of 1e-5, a kink or curvature some more. */
		scale = sqrt(scale) + 1e-2;
		if (fabs(got - want) > *worst * scale)
			*worst = fabs(got - want) / scale;
		if (!(fabs(got - want) <= 5e-3 * scale)) {
			snprintf(k->error, sizeof(k->error),
				 "direction %d: the loss moves by %g, the gradient says %g (length "
				 "%g)",
				 t, got, want, scale);
			return -1;
		}
	}
	/* A learning rate of 0 must have left the weights alone. */
	for (int i = 0; i < k->num; i++) {
		struct weight *w = &k->w[i];
		float *after = malloc(w->n * 4);
		int same = !rdu_program_read(k->card.prog, w->name, after, w->n * 4) &&
			   !memcmp(after, w->now, w->n * 4);

		free(after);
		if (!same)
			return failed(k, "a learning rate of 0 changes the weights");
	}
	return 0;
}

int main(void)
{
	struct rdu_device *dev;

	if (!tap(!rdu_open("model:sn10", &dev), "card opens"))
		return tap_end();
	tool("true");
	for (size_t i = 0; i < NETS + UNARIES; i++) {
		struct build *b = build_new();
		struct net k = { 0 };
		double worst = 0;
		const char *name = i < NETS ? nets[i].name : unary[i - NETS];
		int64_t features = i < NETS ? nets[i].make(b) : net_unary(b, unary[i - NETS]);
		int ret = -1;

		build_weight(b, "classes", (int64_t[]){ features, CLASSES, 0 }, 99, 0.5f);
		build_node(b, "MatMul", "h classes", "y");
		build_output(b, "y", D(BATCH, CLASSES));
		if (build_write(b, "build/e2e/grad.onnx") ||
		    tool("rduc -q --train --loss softmax_cross_entropy --optimizer sgd "
			 "--precision fp32 -O1 build/e2e/grad.onnx -o build/e2e/grad.rdu"))
			snprintf(k.error, sizeof(k.error), "does not compile");
		else if (rdu_file_open("build/e2e/grad.rdu", &k.file))
			snprintf(k.error, sizeof(k.error), "%s", rdu_error_text(k.file));
		else if (!card_load(&k.card, dev, k.file, k.error, sizeof(k.error)))
			ret = check(&k, &worst);
		if (tap(!ret, "gradient of %s %s", name, ret ? k.error : ""))
			printf("# off by %.2g of its length at most\n", worst);
		card_unload(&k.card);
		rdu_file_close(k.file);
		for (int j = 0; j < k.num; j++) {
			free(k.w[j].start);
			free(k.w[j].grad);
			free(k.w[j].dir);
			free(k.w[j].now);
		}
	}
	rdu_close(dev);
	return tap_end();
}
