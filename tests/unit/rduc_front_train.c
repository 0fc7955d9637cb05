// SPDX-License-Identifier: MIT
/*
 * Training by the plain interpreter of nests: a small network learns, with every
 * optimizer; its weights and states change, frozen ones do not; the entry points
 * share weights; two compilations give the same bits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "graph.h"

#define D(...) (sizeof((int64_t[]){ __VA_ARGS__ }) / 8), ((int64_t[]){ __VA_ARGS__ })
#define BATCH 12
#define CLASSES 3

static int num, bad;

static void tap(bool good, const char *what, const char *with)
{
	printf("%sok %d - %s%s%s\n", good ? "" : "not ", ++num, what, *with ? ", " : "", with);
	bad += !good;
}

static struct value *weight(struct graph *g, const char *name, int ndim, const int64_t *dim)
{
	struct value *v = graph_const(g, RDU_DT_F32, ndim, dim, NULL);
	uint32_t seed = (uint32_t)rdu_fnv1a(RDU_FNV1A_INIT, name, strlen(name));

	v->name = graph_strdup(g, name);
	v->trainable = true;
	v->constant = false;
	for (int64_t i = 0; i < value_count(v); i++) {
		seed = seed * 1664525 + 1013904223;
		((float *)v->data)[i] = 0.3f * (float)((int32_t)seed / 2147483648.0);
	}
	return v;
}

/* Images [N,1,8,8] through convolution, pooling and a dense layer. */
static struct graph *network(char *error, int size)
{
	struct graph *g = graph_new(error, size);
	struct value *x = graph_value(g, "x"), *v;
	struct node *n = node_new(g, "Conv", "conv");
	static struct graph_output out = { .name = (char *)"logits" };

	x->kind = TENSOR_INPUT;
	x->ndim = 4;
	memcpy(x->dim, (int64_t[]){ BATCH, 1, 8, 8 }, 32);
	node_input(g, n, x);
	node_input(g, n, weight(g, "w1", D(4, 1, 3, 3)));
	node_input(g, n, weight(g, "b1", D(4)));
	node_attr_ints(g, n, "pads", D(1, 1, 1, 1));
	v = graph_op1(g, "Relu", "relu", graph_finish(g, n));
	n = node_new(g, "MaxPool", "pool");
	node_input(g, n, v);
	node_attr_ints(g, n, "kernel_shape", D(2, 2));
	node_attr_ints(g, n, "strides", D(2, 2));
	v = graph_op1(g, "Flatten", "flatten", graph_finish(g, n));
	out.value = graph_op3(g, "Gemm", "fc", v, weight(g, "w2", D(64, CLASSES)),
			      weight(g, "b2", D(CLASSES)));
	g->outputs = &out;
	g->num_outputs = 1;
	return g;
}

static int tensor_find(const struct module *m, const char *name)
{
	for (int i = 0; i < m->num_tensors; i++)
		if (!strcmp(m->tensors[i]->name, name))
			return i;
	return -1;
}

static uint64_t hash_weights(const struct module *m, void **data)
{
	uint64_t h = RDU_FNV1A_INIT;

	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *t = m->tensors[i];

		if (t->kind == TENSOR_WEIGHT || t->kind == TENSOR_STATE)
			h = rdu_fnv1a(h, data[i],
				      dims_count(t->ndim, t->dim) * dtype_bytes(t->dtype));
	}
	return h;
}

static uint64_t train(const struct train_options *opt, float lr, const char *name, bool say)
{
	char error[1024], text[200];
	struct graph *g = network(error, sizeof(error));
	struct module *m;
	int x, labels, rate, loss, w1, w2, logits, right = 0;
	float first = 0, last = 0;
	uint64_t hash;
	void **data;

	if (!strcmp(name, "frozen"))
		graph_find(g, "w1")->trainable = false;
	m = graph_differentiate(g, opt) ? NULL : graph_patterns(g);
	if (!m) {
		tap(false, "it compiles", error);
		graph_free(g);
		return 0;
	}
	data = calloc(m->num_tensors, sizeof(*data));
	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *t = m->tensors[i];
		size_t bytes = (size_t)dims_count(t->ndim, t->dim) * dtype_bytes(t->dtype);

		data[i] = calloc(1, bytes + 8);
		if (t->data)
			memcpy(data[i], t->data, bytes);
	}
	x = tensor_find(m, "x");
	labels = tensor_find(m, "labels");
	rate = tensor_find(m, "lr");
	loss = tensor_find(m, "loss");
	w1 = tensor_find(m, "w1");
	w2 = tensor_find(m, "w2");
	logits = tensor_find(m, "logits");
	for (int i = 0; i < BATCH; i++) { /* a bar in one of three directions */
		((int64_t *)data[labels])[i] = i % CLASSES;
		for (int k = 0; k < 8; k++) {
			int at = (i / CLASSES) + 2, row = i % CLASSES == 0 ? at : k,
			    col = i % CLASSES == 1 ? at : k;

			((float *)data[x])[i * 64 + row * 8 + col] = 1;
		}
	}
	*(float *)data[rate] = lr;
	for (int step = 0; step < 60; step++) {
		for (int i = 0; i < m->entries[1].num_nests; i++)
			nest_eval(m->entries[1].nests[i], data, false);
		last = *(float *)data[loss];
		if (!step)
			first = last;
	}
	for (int i = 0; i < m->entries[0].num_nests; i++)
		nest_eval(m->entries[0].nests[i], data, false);
	for (int i = 0; i < BATCH; i++) {
		const float *p = (const float *)data[logits] + i * CLASSES;
		int best = 0;

		for (int c = 1; c < CLASSES; c++)
			best = p[c] > p[best] ? c : best;
		right += best == i % CLASSES;
	}
	hash = hash_weights(m, data);
	if (say) {
		snprintf(text, sizeof(text), "%s: %.4f to %.4f", name, first, last);
		tap(last < 0.3f * first, "the loss falls", text);
		snprintf(text, sizeof(text), "%s: %d of %d", name, right, BATCH);
		tap(right == BATCH, "forward sees the trained weights", text);
		tap(memcmp(data[w2], m->tensors[w2]->data, 64 * CLASSES * 4) != 0,
		    "a weight changes", name);
		if (!strcmp(name, "frozen"))
			tap(!memcmp(data[w1], m->tensors[w1]->data, 4 * 9 * 4),
			    "a frozen weight does not", name);
		if (opt->optimizer >= OPT_ADAM)
			tap(*(float *)data[tensor_find(m, "step")] == 60, "steps are counted",
			    name);
	}
	for (int i = 0; i < m->num_tensors; i++)
		free(data[i]);
	free(data);
	module_free(m);
	graph_free(g);
	return hash;
}

/* Updates come after everything that reads a weight. */
static void order(void)
{
	struct train_options opt = { .loss = "softmax_cross_entropy",
				     .optimizer = OPT_ADAMW,
				     .beta1 = 0.9f,
				     .beta2 = 0.999f };
	char error[1024];
	struct graph *g = network(error, sizeof(error));
	struct module *m = graph_differentiate(g, &opt) ? NULL : graph_patterns(g);
	bool good = m != NULL;

	for (int i = 0; m && i < m->entries[1].num_nests; i++)
		for (int k = 0; k < m->entries[1].nests[i]->num_out; k++) {
			struct tensor *old =
				m->entries[1].nests[i]->out[k].access.tensor->update_of;

			for (int j = i + 1; old && j < m->entries[1].num_nests; j++)
				for (int q = 0; q < m->entries[1].nests[j]->num_in; q++)
					good &= m->entries[1].nests[j]->in[q].tensor != old;
		}
	tap(good, "nothing reads a weight after its update", "");
	module_free(m);
	graph_free(g);
}

int main(void)
{
	static const char *const names[] = { "sgd", "momentum", "adam", "adamw" };
	static const float lr[] = { 0.5f, 0.1f, 0.02f, 0.02f };
	struct train_options opt = { .loss = "softmax_cross_entropy",
				     .momentum = 0.9f,
				     .beta1 = 0.9f,
				     .beta2 = 0.999f,
				     .epsilon = 1e-8f };

	for (int i = 0; i < 4; i++) {
		uint64_t a, b;

		opt.optimizer = (enum optimizer)i;
		opt.weight_decay = i == 3 ? 0.01f : 0;
		a = train(&opt, lr[i], names[i], true);
		b = train(&opt, lr[i], names[i], false);
		tap(a == b, "twice gives the same bits", names[i]);
	}
	train(&opt, 0.05f, "frozen", true);
	order();
	printf("1..%d\n", num);
	return bad != 0;
}
