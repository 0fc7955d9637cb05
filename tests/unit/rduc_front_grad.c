// SPDX-License-Identifier: MIT
/*
 * Gradients of every differentiable operator against finite differences, all in
 * double precision by the plain interpreter of nests. A case is a graph around
 * one operator; the loss is the mean squared error (or cross entropy); the
 * training step with SGD and a learning rate of 1 moves each weight by minus its
 * gradient.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "graph.h"

#define D(...) (sizeof((int64_t[]){ __VA_ARGS__ }) / 8), ((int64_t[]){ __VA_ARGS__ })

static int num, bad;
static uint32_t seed = 1;

static double uniform(double lo, double hi)
{
	seed = seed * 1664525 + 1013904223;
	return lo + (hi - lo) * (seed >> 8) / 16777216.0;
}

struct net {
	struct graph *g;
	char error[2048];
	const char *loss;
};

static struct value *weight(struct net *k, const char *name, int ndim, const int64_t *dim,
			    double lo, double hi)
{
	struct value *v = graph_const(k->g, RDU_DT_F32, ndim, dim, NULL);

	v->name = graph_strdup(k->g, name);
	v->trainable = true;
	v->constant = false;
	for (int64_t i = 0; i < value_count(v); i++)
		((float *)v->data)[i] = (float)uniform(lo, hi);
	return v;
}

static struct node *node(struct net *k, const char *op, struct value *a, struct value *b,
			 struct value *c)
{
	struct node *n = node_new(k->g, op, "tested");

	node_input(k->g, n, a);
	if (b || c)
		node_input(k->g, n, b);
	if (c)
		node_input(k->g, n, c);
	return n;
}

static struct value *ints(struct net *k, int count, const int64_t *v)
{
	int64_t n = count;

	return graph_const(k->g, RDU_DT_I64, 1, &n, v);
}

/* ---- evaluation --------------------------------------------------------------- */

static double *evaluate(struct module *m, double **data, double lr, double *loss)
{
	struct module_entry *e = &m->entries[1];

	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *t = m->tensors[i];

		if (!strcmp(t->name, "lr"))
			data[i][0] = lr;
	}
	for (int i = 0; i < e->num_nests; i++)
		nest_eval_wide(e->nests[i], (void **)data);
	for (int i = 0; i < m->num_tensors; i++)
		if (!strcmp(m->tensors[i]->name, "loss"))
			*loss = data[i][0];
	return NULL;
}

static double **storage(struct module *m)
{
	double **data = calloc(m->num_tensors, sizeof(*data));

	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *t = m->tensors[i];
		int64_t n = dims_count(t->ndim, t->dim);

		data[i] = calloc(n + 1, sizeof(double));
		for (int64_t j = 0; j < n; j++) {
			if (t->dtype == RDU_DT_F32 && t->data)
				data[i][j] = ((float *)t->data)[j];
			else if (t->dtype == RDU_DT_F32 && t->kind == TENSOR_INPUT)
				data[i][j] = uniform(-1, 1);
			else if (t->dtype == RDU_DT_I64 && t->data)
				((int64_t *)data[i])[j] = ((int64_t *)t->data)[j];
			else if (t->dtype == RDU_DT_I64 && !strcmp(t->name, "labels"))
				((int64_t *)data[i])[j] = j % 3;
			else if (t->data)
				memcpy((char *)data[i] + j * dtype_bytes(t->dtype),
				       (char *)t->data + j * dtype_bytes(t->dtype),
				       dtype_bytes(t->dtype));
		}
	}
	return data;
}

static int check(struct net *k, struct value *y, double *worst)
{
	struct graph_output out = { .name = (char *)"y", .value = y };
	struct train_options opt = { .loss = k->loss ? k->loss : "mse", .optimizer = OPT_SGD };
	struct module *m;
	double **data, loss = 0;
	int ret = 0;

	*worst = 0;
	if (!y)
		return -1;
	k->g->outputs = &out;
	k->g->num_outputs = 1;
	if (graph_differentiate(k->g, &opt))
		return -1;
	m = graph_patterns(k->g);
	if (!m)
		return -1;
	data = storage(m);
	for (int w = 0; w < m->num_tensors && !ret; w++) {
		struct tensor *t = m->tensors[w];
		int64_t n = dims_count(t->ndim, t->dim);
		double *before, norm = 1e-6;
		bool weight = false;

		for (int i = 0; i < k->g->num_values; i++)
			weight |= k->g->values[i]->tensor == t && k->g->values[i]->trainable &&
				  k->g->values[i]->needs_grad;
		if (t->kind != TENSOR_WEIGHT || !weight)
			continue;
		/* All weights move: put them all back. */
		double **copy = calloc(m->num_tensors, sizeof(*copy));

		for (int i = 0; i < m->num_tensors; i++) {
			int64_t bytes =
				(dims_count(m->tensors[i]->ndim, m->tensors[i]->dim) + 1) * 8;

			copy[i] = malloc(bytes);
			memcpy(copy[i], data[i], bytes);
		}
		before = copy[w];
		evaluate(m, data, 1, &loss);
		double *grad = malloc((n + 1) * sizeof(*grad));

		for (int64_t i = 0; i < n; i++) {
			grad[i] = before[i] - data[w][i];
			norm = fmax(norm, fabs(grad[i]));
		}
		for (int i = 0; i < m->num_tensors; i++) {
			int64_t bytes =
				(dims_count(m->tensors[i]->ndim, m->tensors[i]->dim) + 1) * 8;

			memcpy(data[i], copy[i], bytes);
			free(copy[i]);
		}
		free(copy);
		for (int64_t i = 0; i < n && !ret; i++) {
			double at = data[w][i], up, down, eps = 1e-5, want;

			data[w][i] = at + eps;
			evaluate(m, data, 0, &up);
			data[w][i] = at - eps;
			evaluate(m, data, 0, &down);
			data[w][i] = at;
			want = (up - down) / (2 * eps);
			*worst = fmax(*worst, fabs(want - grad[i]) / norm);
			if (!(fabs(want - grad[i]) <= 2e-5 * norm)) {
				snprintf(k->error, sizeof(k->error), "%s[%d]: %.9g, should be %.9g",
					 t->name, (int)i, grad[i], want);
				ret = -1;
			}
		}
		free(grad);
	}
	for (int i = 0; i < m->num_tensors; i++)
		free(data[i]);
	free(data);
	module_free(m);
	return ret;
}

static struct net *begin(void)
{
	static struct net k;

	memset(&k, 0, sizeof(k));
	k.g = graph_new(k.error, sizeof(k.error));
	return &k;
}

static void end(struct net *k, struct node *n, const char *what)
{
	struct value *y = n ? graph_finish(k->g, n) : NULL;
	double worst;
	int ret = check(k, y, &worst);

	printf("%sok %d - gradient of %s\n", ret ? "not " : "", ++num, what);
	if (ret)
		printf("# %s\n", k->error);
	bad += ret != 0;
	graph_free(k->g);
}

/* ---- cases -------------------------------------------------------------------------- */

static void maps(void)
{
	static const struct {
		const char *op;
		double lo, hi;
	} unary[] = {
		{ "Neg", -2, 2 },
		{ "Abs", -2, 2 },
		{ "Sqrt", 0.5, 2 },
		{ "Exp", -2, 2 },
		{ "Log", 0.5, 2 },
		{ "Tanh", -2, 2 },
		{ "Sigmoid", -3, 3 },
		{ "Erf", -2, 2 },
		{ "Reciprocal", 0.5, 2 },
		{ "Relu", -2, 2 },
		{ "LeakyRelu", -2, 2 },
		{ "Elu", -2, 2 },
		{ "Celu", -2, 2 },
		{ "Selu", -2, 2 },
		{ "Softplus", -3, 3 },
		{ "Softsign", -2, 2 },
		{ "HardSigmoid", -4, 4 },
		{ "HardSwish", -4, 4 },
		{ "ThresholdedRelu", -2, 3 },
		{ "Gelu", -3, 3 },
		{ "Mish", -3, 3 },
		{ "Sin", -3, 3 },
		{ "Cos", -3, 3 },
		{ "Tan", -1, 1 },
		{ "Sinh", -2, 2 },
		{ "Cosh", -2, 2 },
		{ "Asinh", -2, 2 },
		{ "Acosh", 1.2, 3 },
		{ "Atanh", -0.8, 0.8 },
		{ "Shrink", -2, 2 },
	};
	static const char *const binary[] = { "Add", "Sub", "Mul", "Div",  "Pow",
					      "Min", "Max", "Sum", "Mean", "PRelu" };
	char name[100];

	for (size_t i = 0; i < sizeof(unary) / sizeof(unary[0]); i++) {
		struct net *k = begin();

		if (!op_find(unary[i].op)) {
			graph_free(k->g);
			continue;
		}
		end(k,
		    node(k, unary[i].op, weight(k, "a", D(3, 5), unary[i].lo, unary[i].hi), NULL,
			 NULL),
		    unary[i].op);
	}
	for (size_t i = 0; i < sizeof(binary) / sizeof(binary[0]); i++) {
		bool positive = !strcmp(binary[i], "Pow") || !strcmp(binary[i], "Div");
		double lo = positive ? 0.5 : -2;
		struct net *k = begin();

		end(k,
		    node(k, binary[i], weight(k, "a", D(2, 3, 4), lo, 2),
			 weight(k, "b", D(2, 3, 4), lo, 2), NULL),
		    binary[i]);
		k = begin();
		snprintf(name, sizeof(name), "%s, broadcast", binary[i]);
		end(k,
		    node(k, binary[i], weight(k, "a", D(2, 3, 4), lo, 2),
			 weight(k, "b", D(3, 1), lo, 2), NULL),
		    name);
		if (!strcmp(binary[i], "PRelu"))
			continue;
		k = begin();
		snprintf(name, sizeof(name), "%s, both broadcast", binary[i]);
		end(k,
		    node(k, binary[i], weight(k, "a", D(3, 1), lo, 2),
			 weight(k, "b", D(2, 1, 4), lo, 2), NULL),
		    name);
	}
	for (float e = -2; e <= 4; e += 0.5f) {
		struct net *k = begin();

		snprintf(name, sizeof(name), "Pow, exponent %g", e);
		end(k, node(k, "Pow", weight(k, "a", D(7), 0.5, 2), graph_const_f(k->g, e), NULL),
		    name);
	}
	struct net *k = begin();
	struct node *n = node(k, "Gelu", weight(k, "a", D(9), -3, 3), NULL, NULL);
	struct value *c;

	n->attrs = graph_alloc(k->g, sizeof(*n->attrs));
	*n->attrs = (struct attr){ .name = "approximate", .kind = ATTR_STRING, .s = "tanh" };
	end(k, n, "Gelu, tanh");
	k = begin();
	end(k,
	    node(k, "Clip", weight(k, "a", D(12), -2, 2), graph_const_f(k->g, -1),
		 graph_const_f(k->g, 0.7f)),
	    "Clip");
	k = begin();
	c = graph_const(k->g, RDU_DT_BOOL, D(4), (uint8_t[]){ 1, 0, 0, 1 });
	end(k, node(k, "Where", c, weight(k, "a", D(3, 4), -1, 1), weight(k, "b", D(3, 1), -1, 1)),
	    "Where");
	k = begin();
	c = weight(k, "a", D(3, 4), -1, 1);
	c = graph_op2(k->g, "Mul", "square", c, c);
	end(k, node(k, "Add", c, weight(k, "b", D(4), -1, 1), NULL), "a value used twice");
}

static struct node *gemm(struct net *k, int ta, int tb, bool bias, float alpha, float beta)
{
	struct value *a = ta ? weight(k, "a", D(5, 3), -1, 1) : weight(k, "a", D(3, 5), -1, 1);
	struct value *b = tb ? weight(k, "b", D(4, 5), -1, 1) : weight(k, "b", D(5, 4), -1, 1);
	struct node *n = node(k, "Gemm", a, b, bias ? weight(k, "c", D(4), -1, 1) : NULL);

	node_attr_i(k->g, n, "transA", ta);
	node_attr_i(k->g, n, "transB", tb);
	node_attr_f(k->g, n, "alpha", alpha);
	node_attr_f(k->g, n, "beta", beta);
	return n;
}

static void products(void)
{
	char name[100];
	struct net *k;
	struct node *n;

	for (int i = 0; i < 8; i++) {
		k = begin();
		snprintf(name, sizeof(name), "Gemm, transA %d transB %d%s", i & 1, i >> 1 & 1,
			 i & 4 ? ", scaled, bias" : "");
		end(k, gemm(k, i & 1, i >> 1 & 1, i & 4, i & 4 ? 0.5f : 1, i & 4 ? 2 : 1), name);
	}
#define MATMUL(what, a, b)                                                                  \
	k = begin();                                                                        \
	end(k, node(k, "MatMul", weight(k, "a", a, -1, 1), weight(k, "b", b, -1, 1), NULL), \
	    "MatMul, " what)
	MATMUL("matrices", D(3, 4), D(4, 2));
	MATMUL("batches", D(2, 3, 4), D(2, 4, 2));
	MATMUL("batch by matrix", D(2, 3, 4), D(4, 2));
	MATMUL("broadcast batches", D(2, 1, 3, 4), D(3, 4, 2));
	MATMUL("vector by matrix", D(4), D(4, 2));
	MATMUL("matrix by vector", D(3, 4), D(4));
	MATMUL("batch of one", D(1, 3, 4), D(5, 4, 2));
	k = begin();
	n = node(k, "Einsum", weight(k, "a", D(2, 3, 4), -1, 1), weight(k, "b", D(4, 5, 2), -1, 1),
		 NULL);
	n->attrs = graph_alloc(k->g, sizeof(*n->attrs));
	*n->attrs = (struct attr){ .name = "equation", .kind = ATTR_STRING, .s = "bij,jkb->kbi" };
	end(k, n, "Einsum");
}

struct window_case {
	const char *what;
	int64_t in[2], kernel[2], stride[2], dilation[2], pads[4];
	int64_t ci, co, group;
	int space, ceil;
};

static void conv(const struct window_case *c, const char *op)
{
	bool transposed = op[4] == 'T';
	struct net *k = begin();
	int64_t x[4] = { 2, c->ci, c->in[0], c->in[1] };
	int64_t w[4] = { c->co, c->ci / c->group, c->kernel[0], c->kernel[1] };
	int64_t pads[4] = { c->pads[0], c->pads[1], c->pads[2], c->pads[3] };
	int64_t co = c->co;
	struct node *n;
	char name[200];

	if (c->space == 1)
		pads[1] = c->pads[2];
	if (transposed) {
		w[0] = c->ci;
		w[1] = c->co / c->group;
	}
	n = node(k, op, weight(k, "x", 2 + c->space, x, -1, 1),
		 weight(k, "w", 2 + c->space, w, -1, 1), weight(k, "b", 1, &co, -1, 1));
	node_attr_ints(k->g, n, "strides", c->space, c->stride);
	node_attr_ints(k->g, n, "dilations", c->space, c->dilation);
	node_attr_ints(k->g, n, "pads", 2 * c->space, pads);
	node_attr_i(k->g, n, "group", c->group);
	snprintf(name, sizeof(name), "%s, %s", op, c->what);
	end(k, n, name);
}

/* Relu, then MaxPool: the other way round after simplify, one gradient for both. */
static void relu_pool(const struct window_case *c)
{
	struct net *k = begin();
	int64_t x[4] = { 2, 2, c->in[0], c->in[1] };
	struct value *v = graph_op1(k->g, "Relu", "relu", weight(k, "x", 4, x, -1, 1));
	struct graph_output out = { .name = (char *)"y" };
	struct node *n = node(k, "MaxPool", v, NULL, NULL);
	char name[200];

	node_attr_ints(k->g, n, "kernel_shape", 2, c->kernel);
	node_attr_ints(k->g, n, "strides", 2, c->stride);
	node_attr_ints(k->g, n, "pads", 4, c->pads);
	node_attr_i(k->g, n, "ceil_mode", c->ceil);
	out.value = graph_finish(k->g, n);
	k->g->outputs = &out;
	k->g->num_outputs = 1;
	if (graph_simplify(k->g) || strcmp(k->g->nodes[0]->op->name, "MaxPool"))
		snprintf(k->error, sizeof(k->error), "they do not change places");
	snprintf(name, sizeof(name), "Relu and MaxPool, %s", c->what);
	n = node_new(k->g, "Neg", "neg");
	node_input(k->g, n, out.value);
	end(k, n, name);
}

static void pool(const struct window_case *c, const char *op, bool include)
{
	struct net *k = begin();
	int64_t x[4] = { 2, 2, c->in[0], c->in[1] };
	struct node *n = node(k, op, weight(k, "x", 4, x, -1, 1), NULL, NULL);
	char name[200];

	node_attr_ints(k->g, n, "kernel_shape", 2, c->kernel);
	node_attr_ints(k->g, n, "strides", 2, c->stride);
	node_attr_ints(k->g, n, "pads", 4, c->pads);
	node_attr_i(k->g, n, "ceil_mode", c->ceil);
	node_attr_i(k->g, n, "count_include_pad", include);
	snprintf(name, sizeof(name), "%s, %s%s", op, c->what, include ? ", padding counted" : "");
	end(k, n, name);
}

static void windows(void)
{
	static const struct window_case convs[] = {
		{ "3x3", { 5, 4 }, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 0 }, 2, 3, 1, 2, 0 },
		{ "padded", { 4, 5 }, { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1, 1, 1 }, 2, 3, 1, 2, 0 },
		{ "stride 2",
		  { 6, 5 },
		  { 3, 3 },
		  { 2, 2 },
		  { 1, 1 },
		  { 1, 1, 1, 1 },
		  2,
		  2,
		  1,
		  2,
		  0 },
		{ "stride is kernel",
		  { 6, 4 },
		  { 2, 2 },
		  { 2, 2 },
		  { 1, 1 },
		  { 0 },
		  2,
		  2,
		  1,
		  2,
		  0 },
		{ "stride beyond kernel",
		  { 7, 7 },
		  { 2, 1 },
		  { 3, 3 },
		  { 1, 1 },
		  { 0 },
		  1,
		  2,
		  1,
		  2,
		  0 },
		{ "dilated",
		  { 6, 7 },
		  { 2, 3 },
		  { 1, 1 },
		  { 2, 2 },
		  { 1, 1, 2, 2 },
		  1,
		  2,
		  1,
		  2,
		  0 },
		{ "dilated, strided",
		  { 9, 8 },
		  { 3, 2 },
		  { 2, 3 },
		  { 2, 2 },
		  { 1, 0, 2, 1 },
		  1,
		  2,
		  1,
		  2,
		  0 },
		{ "two groups",
		  { 4, 4 },
		  { 3, 3 },
		  { 1, 1 },
		  { 1, 1 },
		  { 1, 1, 1, 1 },
		  4,
		  6,
		  2,
		  2,
		  0 },
		{ "depthwise",
		  { 4, 4 },
		  { 3, 3 },
		  { 1, 1 },
		  { 1, 1 },
		  { 1, 1, 1, 1 },
		  3,
		  3,
		  3,
		  2,
		  0 },
		{ "1-D", { 9, 0 }, { 3, 0 }, { 2, 0 }, { 1, 0 }, { 1, 0, 1, 0 }, 2, 3, 1, 1, 0 },
		{ "1x1", { 3, 3 }, { 1, 1 }, { 1, 1 }, { 1, 1 }, { 0 }, 3, 2, 1, 2, 0 },
		{ "phases alike", { 4, 6 }, { 2, 3 }, { 2, 3 }, { 1, 1 }, { 0 }, 3, 2, 1, 2, 0 },
		{ "phases alike, two positions of each",
		  { 4, 6 },
		  { 4, 2 },
		  { 2, 2 },
		  { 1, 1 },
		  { 2, 0, 2, 0 },
		  4,
		  2,
		  2,
		  2,
		  0 },
		{ "phases alike in one dimension",
		  { 6 },
		  { 4 },
		  { 2 },
		  { 1 },
		  { 2, 0, 2 },
		  3,
		  2,
		  1,
		  1,
		  0 },
	};
	static const struct window_case pools[] = {
		{ "2x2", { 6, 4 }, { 2, 2 }, { 2, 2 }, { 1, 1 }, { 0 }, 0, 0, 0, 2, 0 },
		{ "2x2, a rest", { 7, 5 }, { 2, 2 }, { 2, 2 }, { 1, 1 }, { 0 }, 0, 0, 0, 2, 0 },
		{ "overlapping",
		  { 7, 6 },
		  { 3, 3 },
		  { 2, 2 },
		  { 1, 1 },
		  { 1, 1, 1, 1 },
		  0,
		  0,
		  0,
		  2,
		  0 },
		{ "stride 1",
		  { 5, 5 },
		  { 3, 2 },
		  { 1, 1 },
		  { 1, 1 },
		  { 1, 0, 1, 0 },
		  0,
		  0,
		  0,
		  2,
		  0 },
		{ "gaps", { 7, 8 }, { 2, 1 }, { 3, 2 }, { 1, 1 }, { 0 }, 0, 0, 0, 2, 0 },
		{ "ceil", { 5, 6 }, { 2, 3 }, { 2, 2 }, { 1, 1 }, { 0 }, 0, 0, 0, 2, 1 },
	};

	for (size_t i = 0; i < sizeof(convs) / sizeof(convs[0]); i++) {
		conv(&convs[i], "Conv");
		if (op_find("ConvTranspose")->gradient)
			conv(&convs[i], "ConvTranspose");
	}
	for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
		pool(&pools[i], "MaxPool", false);
		relu_pool(&pools[i]);
		pool(&pools[i], "AveragePool", false);
		pool(&pools[i], "AveragePool", true);
	}
	for (int i = 0; i < 2; i++) {
		const char *op = i ? "GlobalMaxPool" : "GlobalAveragePool";
		struct net *k = begin();

		end(k, node(k, op, weight(k, "x", D(2, 3, 4, 2), -1, 1), NULL, NULL), op);
	}
}

static void reductions(void)
{
	static const char *const ops[] = { "ReduceSum", "ReduceMean",	   "ReduceMax",
					   "ReduceMin", "ReduceSumSquare", "ReduceL1",
					   "ReduceL2",	"ReduceLogSum",	   "ReduceLogSumExp" };
	static const int64_t axes[][2] = { { 0, 1 }, { 1, 2 }, { 2, 0 }, { -1, 1 } };
	char name[100];
	struct net *k;
	struct node *n;

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		for (int j = 0; j < 5; j++) {
			double lo = !strcmp(ops[i], "ReduceLogSum") ? 0.5 : -2;

			k = begin();
			n = node(k, ops[i], weight(k, "x", D(2, 3, 4), lo, 2), NULL, NULL);
			if (j < 4)
				node_attr_ints(k->g, n, "axes", 1 + (j & 1), axes[j]);
			node_attr_i(k->g, n, "keepdims", j == 1 || j == 2);
			snprintf(name, sizeof(name), "%s, case %d", ops[i], j);
			end(k, n, name);
		}
	for (int i = 0; i < 8; i++) {
		k = begin();
		k->g->opset = i & 4 ? 11 : 13;
		n = node(k, i & 1 ? "LogSoftmax" : "Softmax", weight(k, "x", D(2, 3, 4), -2, 2),
			 NULL, NULL);
		node_attr_i(k->g, n, "axis", i & 2 ? 1 : -1);
		snprintf(name, sizeof(name), "%s, axis %d, opset %d", n->op->name, i & 2 ? 1 : -1,
			 k->g->opset);
		end(k, n, name);
	}
	k = begin();
	n = node(k, "LayerNormalization", weight(k, "x", D(2, 3, 4), -1, 1),
		 weight(k, "s", D(4), 0.5, 1), weight(k, "b", D(4), -1, 1));
	end(k, n, "LayerNormalization");
	k = begin();
	n = node(k, "InstanceNormalization", weight(k, "x", D(2, 3, 4), -1, 1),
		 weight(k, "s", D(3), 0.5, 1), weight(k, "b", D(3), -1, 1));
	end(k, n, "InstanceNormalization");
	k = begin();
	n = node(k, "BatchNormalization", weight(k, "x", D(2, 3, 4), -1, 1),
		 weight(k, "s", D(3), 0.5, 1), weight(k, "b", D(3), -1, 1));
	node_input(k->g, n, graph_const(k->g, RDU_DT_F32, D(3), (float[]){ 0.1f, -0.2f, 0.3f }));
	node_input(k->g, n, graph_const(k->g, RDU_DT_F32, D(3), (float[]){ 1.1f, 0.7f, 2 }));
	end(k, n, "BatchNormalization");
}

static void moves(void)
{
	struct net *k;
	struct node *n;
	struct value *v;

	k = begin();
	n = node(k, "Transpose", weight(k, "x", D(2, 3, 4), -1, 1), NULL, NULL);
	node_attr_ints(k->g, n, "perm", D(2, 0, 1));
	end(k, n, "Transpose");
	k = begin();
	v = graph_reshape(k->g, "r", weight(k, "x", D(2, 3, 4), -1, 1), D(4, 6));
	end(k, node(k, "Mul", v, weight(k, "w", D(6), -1, 1), NULL), "Reshape");
	k = begin();
	v = graph_op1(k->g, "Flatten", "f", weight(k, "x", D(2, 3, 4), -1, 1));
	end(k, node(k, "Mul", v, weight(k, "w", D(12), -1, 1), NULL), "Flatten");
	k = begin();
	n = node(k, "Squeeze", weight(k, "x", D(2, 1, 4), -1, 1), ints(k, D(1)), NULL);
	end(k, node(k, "Mul", graph_finish(k->g, n), weight(k, "w", D(4), -1, 1), NULL), "Squeeze");
	k = begin();
	n = node(k, "Unsqueeze", weight(k, "x", D(3), -1, 1), ints(k, D(1)), NULL);
	end(k, node(k, "Mul", graph_finish(k->g, n), weight(k, "w", D(4), -1, 1), NULL),
	    "Unsqueeze");
	k = begin();
	n = node(k, "Concat", weight(k, "a", D(2, 3), -1, 1), weight(k, "b", D(2, 1), -1, 1),
		 weight(k, "c", D(2, 4), -1, 1));
	node_attr_i(k->g, n, "axis", 1);
	end(k, n, "Concat");
	for (int step = -2; step <= 2; step++) {
		char name[50];

		if (!step)
			continue;
		k = begin();
		n = node(k, "Slice", weight(k, "x", D(3, 7), -1, 1), ints(k, D(step > 0 ? 1 : 5)),
			 ints(k, D(step > 0 ? 6 : 0)));
		node_input(k->g, n, ints(k, D(1)));
		node_input(k->g, n, ints(k, D(step)));
		snprintf(name, sizeof(name), "Slice, step %d", step);
		end(k, n, name);
	}
	for (int i = 0; i < 3; i++) { /* side by side, with a gap, and overlapping */
		struct value *part[2];

		k = begin();
		v = graph_op1(k->g, "Neg", "whole", weight(k, "x", D(3, 7), -1, 1));
		part[1] =
			graph_slice(k->g, "right", v, 1, 2 + (i == 1) - (i == 2), i ? 4 : 5, false);
		part[0] = graph_slice(k->g, "left", v, 1, 0, 2, false);
		part[0] = graph_op2(k->g, "Mul", "scaled", part[0], weight(k, "w", D(2), 1, 2));
		n = node(k, "Concat", part[1], part[0], NULL);
		node_attr_i(k->g, n, "axis", 1);
		end(k, n, "Slices of one tensor");
	}
	k = begin();
	n = node(k, "Pad", weight(k, "x", D(2, 3), -1, 1), ints(k, D(1, -1, 0, 2)), NULL);
	end(k, n, "Pad");
	k = begin();
	end(k, node(k, "Expand", weight(k, "x", D(3, 1), -1, 1), ints(k, D(2, 3, 4)), NULL),
	    "Expand");
	k = begin();
	end(k, node(k, "Tile", weight(k, "x", D(2, 3), -1, 1), ints(k, D(3, 2)), NULL), "Tile");
	for (int axis = 0; axis < 3; axis++) {
		char name[50];

		k = begin();
		n = node(k, "Gather", weight(k, "x", D(3, 4, 3), -1, 1),
			 graph_const(k->g, RDU_DT_I64, D(2, 2), (int64_t[]){ 2, 0, -1, 2 }), NULL);
		node_attr_i(k->g, n, "axis", axis);
		snprintf(name, sizeof(name), "Gather, axis %d", axis);
		end(k, n, name);
	}
	k = begin();
	n = node(k, "GatherElements", weight(k, "x", D(3, 4), -1, 1),
		 graph_const(k->g, RDU_DT_I64, D(2, 4), (int64_t[]){ 2, 0, -1, 2, 0, 0, 1, 2 }),
		 NULL);
	end(k, n, "GatherElements");
	k = begin();
	n = node(k, "Trilu", weight(k, "x", D(2, 3, 4), -1, 1), ints(k, D(-1)), NULL);
	node_attr_i(k->g, n, "upper", 0);
	end(k, n, "Trilu");
	for (int i = 0; i < 4; i++) {
		k = begin();
		n = node(k, "CumSum", weight(k, "x", D(2, 5), -1, 1), ints(k, D(1)), NULL);
		node_attr_i(k->g, n, "reverse", i & 1);
		node_attr_i(k->g, n, "exclusive", i >> 1);
		end(k, n, i & 1 ? "CumSum, reverse" : "CumSum");
	}
	for (int i = 0; i < 3; i++) {
		static const char *const modes[] = { "nearest", "linear", "cubic" };

		k = begin();
		n = node(k, "Resize", weight(k, "x", D(2, 5), -1, 1), NULL,
			 graph_const(k->g, RDU_DT_F32, D(2), (float[]){ 2, 1.5f }));
		n->attrs = graph_alloc(k->g, sizeof(*n->attrs));
		*n->attrs = (struct attr){ .name = "mode", .kind = ATTR_STRING, .s = modes[i] };
		end(k, n, i ? i > 1 ? "Resize, cubic" : "Resize, linear" : "Resize, nearest");
	}
	for (int i = 0; i < 2; i++) {
		const char *op = i ? "DepthToSpace" : "SpaceToDepth";

		k = begin();
		n = node(k, op, weight(k, "x", D(1, 4, 2, 4), -1, 1), NULL, NULL);
		node_attr_i(k->g, n, "blocksize", 2);
		end(k, n, op);
	}
}

static void losses(void)
{
	struct net *k = begin();

	k->loss = "softmax_cross_entropy";
	end(k, node(k, "Add", weight(k, "x", D(4, 5), -2, 2), weight(k, "b", D(5), -1, 1), NULL),
	    "softmax cross entropy");
	k = begin();
	k->loss = "softmax_cross_entropy";
	end(k, node(k, "Add", weight(k, "x", D(2, 3, 4), -2, 2), weight(k, "b", D(4), -1, 1), NULL),
	    "softmax cross entropy of sequences");
}

/* A gradient is bf16 where its value is, but fp32 of weights and of what is made of them alone. */
static void types(void)
{
	struct net *k = begin();
	int64_t dim[] = { 3, 4 };
	struct value *x = graph_value(k->g, "x"), *w = weight(k, "w", D(4, 5), -1, 1), *of[6];
	static const enum rdu_dtype want[] = { RDU_DT_F32,  RDU_DT_F32,	 RDU_DT_BF16,
					       RDU_DT_BF16, RDU_DT_BF16, RDU_DT_F32 };
	struct graph_output out = { .name = (char *)"y" };
	struct train_options opt = { .loss = "mse", .optimizer = OPT_SGD };
	bool right;

	x->kind = TENSOR_INPUT;
	x->ndim = 2;
	memcpy(x->dim, dim, sizeof(dim));
	of[0] = w;
	of[1] = graph_cast(k->g, "narrow", w, RDU_DT_BF16);
	of[2] = graph_op2(k->g, "MatMul", "product", graph_cast(k->g, "x16", x, RDU_DT_BF16),
			  of[1]);
	of[3] = graph_op1(k->g, "Gelu", "gelu", of[2]);
	of[4] = graph_op2(k->g, "Add", "both", of[3], of[2]);
	of[5] = graph_cast(k->g, "wide", of[4], RDU_DT_F32);
	out.value = of[5];
	k->g->outputs = &out;
	k->g->num_outputs = 1;
	right = !graph_differentiate(k->g, &opt);
	for (int i = 0; i < 6; i++)
		right &= of[i]->grad && of[i]->grad->dtype == want[i];
	printf("%sok %d - gradients have their values' types\n", right ? "" : "not ", ++num);
	bad += !right;
	graph_free(k->g);
}

int main(void)
{
	maps();
	products();
	windows();
	reductions();
	moves();
	losses();
	types();
	printf("1..%d\n", num);
	return bad != 0;
}
