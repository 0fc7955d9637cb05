// SPDX-License-Identifier: MIT
/*
 * The weights of a model: which are trained, and that they go from any program file of the
 * model to any other, all or none: from a training one to one that only infers and back.
 * The network has what exporters write beside parameters (a causal mask of -inf, anchors,
 * statistics of a normalization), a weight in a Constant node, and weights behind operators
 * that could be computed while compiling (Transpose, Reshape, Mul).
 */
#include <math.h>
#include "e2e.h"
#include "onnx_build.h"

#define T 6 /* tokens */
#define C 8 /* channels */
#define CLASSES 5
#define D(...) ((int64_t[]){ __VA_ARGS__, 0 })

static Onnx__TensorProto *pop_weight(struct build *b)
{
	return b->graph.initializer[--b->graph.n_initializer];
}

/* The initializer made last as a Constant node. */
static void to_constant_node(struct build *b)
{
	Onnx__TensorProto *t = pop_weight(b);
	Onnx__NodeProto *n = build_node(b, "Constant", "", t->name);
	Onnx__AttributeProto *a = calloc(1, sizeof(*a));

	onnx__attribute_proto__init(a);
	a->name = (char *)"value";
	a->has_type = 1;
	a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
	a->t = t;
	n->n_input = 0;
	n->n_attribute = 1;
	n->attribute = calloc(1, sizeof(*n->attribute));
	n->attribute[0] = a;
}

/* What another seed makes other numbers in; extra: one weight more. */
static struct build *network(uint32_t seed, bool extra)
{
	struct build *b = build_new();
	Onnx__TensorProto *t;
	Onnx__NodeProto *n;

	build_input(b, "x", D(T, C));
	build_weight(b, "wq", D(C, C), seed + 1, 0.5f);
	build_weight(b, "wk", D(C, C), seed + 2, 0.5f);
	build_weight(b, "attn.mask_bias", D(T, T), 3, 0);
	t = b->graph.initializer[b->graph.n_initializer - 1];
	for (int i = 0; i < T; i++)
		for (int k = i + 1; k < T; k++) {
			float inf = -INFINITY;

			memcpy(t->raw_data.data + 4 * (i * T + k), &inf, 4);
		}
	build_weight(b, "onnx::Add_77", D(T, T), 4, 0.1f);
	build_weight(b, "model.24.anchors", D(T, C), 5, 0.5f);
	build_weight(b, "bn.weight", D(C), seed + 6, 0.5f);
	build_weight(b, "bn.bias", D(C), seed + 7, 0.5f);
	build_weight(b, "bn.running_mean", D(C), seed + 8, 0.5f);
	build_weight(b, "bn.running_var", D(C), seed + 9, 0.5f);
	t = b->graph.initializer[b->graph.n_initializer - 1];
	for (int i = 0; i < C; i++) {
		float v;

		memcpy(&v, t->raw_data.data + 4 * i, 4);
		v = fabsf(v) + 1;
		memcpy(t->raw_data.data + 4 * i, &v, 4);
	}
	build_weight(b, "g", D(C, 1), seed + 10, 0.5f);
	build_weight(b, "linear_0.w_0", D(C, CLASSES), seed + 11, 0.5f);
	to_constant_node(b);
	build_weight(b, "linear_0.b_0", D(CLASSES), seed + 12, 0.5f);
	to_constant_node(b);
	build_ints(b, "flat", 1, D(CLASSES));
	n = build_node(b, "Transpose", "wq", "wqt");
	attr_add_ints(n, "perm", 2, D(1, 0));
	build_node(b, "Mul", "wk g", "wkg");
	build_node(b, "MatMul", "x wqt", "q");
	build_node(b, "MatMul", "x wkg", "k");
	n = build_node(b, "Transpose", "k", "kt");
	attr_add_ints(n, "perm", 2, D(1, 0));
	build_node(b, "MatMul", "q kt", "s");
	build_node(b, "Add", "s attn.mask_bias", "s1");
	build_node(b, "Add", "s1 onnx::Add_77", "s2");
	build_node(b, "Softmax", "s2", "p");
	build_node(b, "MatMul", "p x", "v");
	build_node(b, "Mul", "v model.24.anchors", "a");
	build_node(b, "BatchNormalization", "a bn.weight bn.bias bn.running_mean bn.running_var",
		   "n");
	build_node(b, "MatMul", "n linear_0.w_0", "l");
	build_node(b, "Reshape", "linear_0.b_0 flat", "b0");
	build_node(b, "Add", "l b0", extra ? "y0" : "y");
	if (extra) {
		build_weight(b, "head", D(CLASSES, CLASSES), 20, 0.5f);
		build_node(b, "MatMul", "y0 head", "y");
	}
	build_output(b, "y", D(T, CLASSES));
	return b;
}

static const char *const trained[] = { "wq",	  "wk",		  "g",		 "bn.weight",
				       "bn.bias", "linear_0.w_0", "linear_0.b_0" };
static const char *const fixed[] = { "attn.mask_bias", "onnx::Add_77", "model.24.anchors",
				     "bn.running_mean", "bn.running_var" };
#define NUM(a) (sizeof(a) / sizeof((a)[0]))

/* Each on a card of its own: two are looked at side by side. */
struct program {
	struct rdu_device *dev;
	struct rdu_file *file;
	struct card card;
};

static int load(struct program *p, const char *path)
{
	char error[512] = "";

	memset(p, 0, sizeof(*p));
	if (rdu_open("model:sn10", &p->dev))
		return tap(0, "%s", rdu_error_text(p->dev)) - 1;
	if (rdu_file_open(path, &p->file))
		return tap(0, "%s", rdu_error_text(p->file)) - 1;
	if (card_load(&p->card, p->dev, p->file, error, sizeof(error)))
		return tap(0, "%s", error) - 1;
	return 0;
}

static void unload(struct program *p)
{
	card_unload(&p->card);
	rdu_file_close(p->file);
	rdu_close(p->dev);
}

static int says(const char *pattern, const char *name)
{
	char cmd[300];

	snprintf(cmd, sizeof(cmd), "grep -Fq -- '%s %s [' build/e2e/log", pattern, name);
	return !system(cmd);
}

/* n steps; the last loss, or NaN. */
static float train(struct program *p, int n)
{
	float x[T * C], lr = 0.05f, loss = NAN;
	int64_t labels[T];

	fill(x, T * C, 3);
	for (int i = 0; i < T; i++)
		labels[i] = i % CLASSES;
	if (rdu_program_write(p->card.prog, "x", x, sizeof(x)) ||
	    rdu_program_write(p->card.prog, "labels", labels, sizeof(labels)) ||
	    rdu_program_write(p->card.prog, "lr", &lr, 4))
		return NAN;
	for (int i = 0; i < n; i++)
		if (rdu_program_run(p->card.prog, "train_step", NULL))
			return NAN;
	return rdu_program_read(p->card.prog, "loss", &loss, 4) ? NAN : loss;
}

static int infer(struct program *p, float *y)
{
	float x[T * C];

	fill(x, T * C, 3);
	return rdu_program_write(p->card.prog, "x", x, sizeof(x)) ||
	       rdu_program_run(p->card.prog, "forward", NULL) ||
	       rdu_program_read(p->card.prog, "y", y, T * CLASSES * 4);
}

static int near(const float *a, const float *b)
{
	for (int i = 0; i < T * CLASSES; i++)
		if (!(fabsf(a[i] - b[i]) <= 1e-5f))
			return 0;
	return 1;
}

static int same_weight(struct program *a, struct program *b, const char *name)
{
	int i = rdu_file_find_symbol(a->file, name), same;
	size_t size = i < 0 ? 0 : rdu_symbol_size(rdu_file_get_symbol(a->file, i));
	char *p = calloc(1, size + 1), *q = calloc(1, size + 1);

	same = i >= 0 && !rdu_program_read(a->card.prog, name, p, size) &&
	       !rdu_program_read(b->card.prog, name, q, size) && !memcmp(p, q, size);
	free(p);
	free(q);
	return same;
}

#define TRAIN "rduc --train --optimizer adamw --precision fp32 "

static void test_selection(void)
{
	struct program p, q;
	float first, last;

	tap(!tool(TRAIN "build/e2e/net.onnx -o build/e2e/net.train.rdu"), "it compiles to train");
	for (size_t i = 0; i < NUM(trained); i++)
		tap(says("trained ", trained[i]), "%s is listed as trained", trained[i]);
	for (size_t i = 0; i < NUM(fixed); i++)
		tap(says("fixed   ", fixed[i]), "%s is listed as fixed", fixed[i]);
	if (load(&p, "build/e2e/net.train.rdu") || load(&q, "build/e2e/net.train.rdu"))
		return;
	first = train(&p, 1);
	last = train(&p, 40);
	tap(last < 0.8f * first, "the loss falls, from %g to %g", first, last);
	for (size_t i = 0; i < NUM(trained); i++)
		tap(!same_weight(&p, &q, trained[i]), "%s changed", trained[i]);
	for (size_t i = 0; i < NUM(fixed); i++)
		tap(same_weight(&p, &q, fixed[i]), "%s did not", fixed[i]);
	tap(!rdu_program_save(p.card.prog, "build/e2e/net.trained.rdu"), "saved");
	unload(&p);
	unload(&q);
}

static void test_patterns(void)
{
	struct program p, q;

	tap(!tool(TRAIN "--freeze 'bn.*,wq' --freeze g build/e2e/net.onnx -o build/e2e/f.rdu") &&
		    says("fixed   ", "wq") && says("fixed   ", "bn.bias") &&
		    says("fixed   ", "g") && says("trained ", "wk"),
	    "--freeze takes patterns");
	tap(!tool(TRAIN
		  "--train-only '*.w_?,model.24.anchors' build/e2e/net.onnx -o build/e2e/o.rdu") &&
		    says("trained ", "linear_0.w_0") && says("trained ", "model.24.anchors") &&
		    says("fixed   ", "wq"),
	    "--train-only takes patterns, and a name of what else would not be trained");
	if (!load(&p, "build/e2e/o.rdu") && !load(&q, "build/e2e/o.rdu")) {
		train(&p, 2);
		tap(!same_weight(&p, &q, "linear_0.w_0") &&
			    !same_weight(&p, &q, "model.24.anchors") && same_weight(&p, &q, "wq") &&
			    same_weight(&p, &q, "bn.bias"),
		    "only these change: not even by decay the others");
		unload(&p);
		unload(&q);
	}
	tap(!tool("! " TRAIN "--freeze 'wx*' build/e2e/net.onnx -o build/e2e/x.rdu && "
		  "! " TRAIN "--train-only wq,wz build/e2e/net.onnx -o build/e2e/x.rdu"),
	    "patterns that match nothing are refused");
}

/* Weights of `from` into the program at `path`: all of them, and it computes the same. */
static void restores(struct program *from, struct rdu_file *file, const char *path, int num)
{
	float want[T * CLASSES], got[T * CLASSES];
	struct program p;
	int ret, same = 0;

	if (load(&p, path))
		return;
	ret = rdu_program_restore(p.card.prog, file);
	tap(ret == num, "%s takes %d weights and states of %d: %s", path, ret, num,
	    ret < 0 ? rdu_error_text(p.card.prog) : "");
	for (size_t i = 0; i < NUM(trained); i++)
		same += same_weight(from, &p, trained[i]);
	for (size_t i = 0; i < NUM(fixed); i++)
		same += same_weight(from, &p, fixed[i]);
	tap(same == NUM(trained) + NUM(fixed), "%d of them have the same bits", same);
	tap(!infer(from, want) && !infer(&p, got) && near(want, got), "and it computes the same");
	unload(&p);
}

static void refused(const char *path, const char *program, const char *name)
{
	struct rdu_file *file;
	struct program p, before;
	int ret;

	if (load(&p, program) || load(&before, program) || rdu_file_open(path, &file)) {
		tap(0, "loading %s and %s", path, program);
		return;
	}
	ret = rdu_program_restore(p.card.prog, file);
	tap(ret == -22 && strstr(rdu_error_text(p.card.prog), name), "%s is refused by %s: %s",
	    path, program, rdu_error_text(p.card.prog));
	tap(same_weight(&p, &before, "wq") && same_weight(&p, &before, "bn.bias"),
	    "and nothing was changed");
	rdu_file_close(file);
	unload(&p);
	unload(&before);
}

static void test_restore(void)
{
	int weights = NUM(trained) + NUM(fixed), states = 2 * NUM(trained) + 1;
	static const char *const levels[] = { "-O0", "-O1", "-O3" };
	struct program p;

	if (load(&p, "build/e2e/net.trained.rdu"))
		return;
	for (int i = 0; i < 3; i++)
		if (!tool("rduc --precision fp32 %s build/e2e/net.onnx -o "
			  "build/e2e/net.forward.rdu",
			  levels[i]))
			restores(&p, p.file, "build/e2e/net.forward.rdu", weights);
	restores(&p, p.file, "build/e2e/net.train.rdu", weights + states);
	unload(&p);
	/* The other way: other numbers into a program that trains. */
	build_write(network(100, false), "build/e2e/other.onnx");
	build_write(network(0, true), "build/e2e/more.onnx");
	if (tool("rduc --precision fp32 build/e2e/other.onnx -o build/e2e/other.rdu && "
		 "rduc --precision fp32 build/e2e/more.onnx -o build/e2e/more.rdu && " TRAIN
		 "--optimizer momentum build/e2e/net.onnx -o build/e2e/momentum.rdu") ||
	    load(&p, "build/e2e/other.rdu"))
		return;
	restores(&p, p.file, "build/e2e/net.train.rdu", weights);
	unload(&p);
	refused("build/e2e/more.rdu", "build/e2e/net.train.rdu", "the program has no \"head\"");
	refused("build/e2e/net.trained.rdu", "build/e2e/more.rdu", "the file has no \"head\"");
	refused("build/e2e/net.trained.rdu", "build/e2e/momentum.rdu", "velocity\"");
}

/* Back into the model: parameters in Constant nodes too; all, or an error. */
static void test_onnx(void)
{
	struct program p;

	tap(!tool("rduc --weights build/e2e/net.trained.rdu build/e2e/net.onnx -o "
		  "build/e2e/back.onnx && "
		  "rduc --precision fp32 build/e2e/back.onnx -o build/e2e/back.rdu"),
	    "weights go back into the model");
	if (!load(&p, "build/e2e/net.trained.rdu")) {
		struct program q;
		int same = 0;

		if (!load(&q, "build/e2e/back.rdu")) {
			for (size_t i = 0; i < NUM(trained); i++)
				same += same_weight(&p, &q, trained[i]);
			tap(same == NUM(trained), "%d of %d have the trained bits", same,
			    (int)NUM(trained));
			unload(&q);
		}
		unload(&p);
	}
	tap(!tool("! rduc --weights build/e2e/net.trained.rdu build/e2e/more.onnx -o "
		  "build/e2e/x.onnx") &&
		    !system("grep -q head build/e2e/log"),
	    "a model with a weight more is refused, by its name");
	tap(!tool("! rduc --weights build/e2e/more.rdu build/e2e/net.onnx -o build/e2e/x.onnx") &&
		    !system("grep -q head build/e2e/log"),
	    "a program with a weight more is refused, by its name");
}

int main(void)
{
	tool("true");
	if (!tap(!build_write(network(0, false), "build/e2e/net.onnx"), "the model is written"))
		return tap_end();
	test_selection();
	test_patterns();
	test_restore();
	test_onnx();
	return tap_end();
}
