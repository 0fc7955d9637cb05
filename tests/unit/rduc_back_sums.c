// SPDX-License-Identifier: MIT
/*
 * Sums of more terms than one accumulator takes: cut into blocks, run on the fabric
 * and held against fp64. All terms have one sign, so that what an accumulator loses
 * adds up; the bound is the one that Documentation/numerics.md gives.
 */
#include <math.h>
#include "graph.h"
#include "rduc_back_run.h"
#include "tap.h"

static struct tensor *tensor(struct module *m, const char *name, enum tensor_kind kind,
			     enum rdu_dtype dtype, int ndim, const int64_t *dim)
{
	return module_tensor(m, name, kind, dtype, ndim, dim);
}

/* c[i, j] = sum over k of a[i, k] * b[k, j]; the terms have no divisor in common. */
static void make_contraction(struct module *m, struct nest *n)
{
	const int64_t K = 300007;
	int a, b, c;

	nest_dim(n, "i", 3, false);
	nest_dim(n, "j", 5, false);
	nest_dim(n, "k", K, true);
	a = nest_input(n, tensor(m, "a", TENSOR_INPUT, RDU_DT_F32, 2, (int64_t[]){ 3, K }));
	b = nest_input(n, tensor(m, "b", TENSOR_INPUT, RDU_DT_F32, 2, (int64_t[]){ K, 5 }));
	n->in[a].coef[0][0] = n->in[a].coef[1][2] = 1;
	n->in[b].coef[0][2] = n->in[b].coef[1][1] = 1;
	n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, a), nest_in(n, b), -1);
	c = nest_output(n, tensor(m, "y", TENSOR_OUTPUT, RDU_DT_F32, 2, (int64_t[]){ 3, 5 }),
			nest_red(n));
	n->out[c].access.coef[0][0] = n->out[c].access.coef[1][1] = 1;
}

/* y[c] = s[c] * (sum over n, x of a[n, x, c]) + c: lanes are not what is summed. */
static void make_columns(struct module *m, struct nest *n)
{
	int a, s, c, v;

	nest_dim(n, "c", 32, false);
	nest_dim(n, "n", 7, true);
	nest_dim(n, "x", 20011, true);
	a = nest_input(n, tensor(m, "a", TENSOR_INPUT, RDU_DT_F32, 3, (int64_t[]){ 7, 20011, 32 }));
	s = nest_input(n, tensor(m, "b", TENSOR_INPUT, RDU_DT_F32, 1, (int64_t[]){ 32 }));
	n->in[a].coef[0][1] = n->in[a].coef[1][2] = n->in[a].coef[2][0] = 1;
	n->in[s].coef[0][0] = 1;
	n->body = nest_in(n, a);
	v = nest_op(n, RDU_SIMD_FMUL, nest_red(n), nest_in(n, s), -1);
	v = nest_op(n, RDU_SIMD_FADD, v, nest_op(n, RDU_SIMD_I2F, nest_index(n, 0), -1, -1), -1);
	c = nest_output(n, tensor(m, "y", TENSOR_OUTPUT, RDU_DT_F32, 1, (int64_t[]){ 32 }), v);
	n->out[c].access.coef[0][0] = 1;
}

/* y = sum over i of a[i] * i: each block, and what is left over, knows where it is. */
static void make_index(struct module *m, struct nest *n)
{
	const int64_t I = 100003;
	int a, v;

	nest_dim(n, "o", 1, false);
	nest_dim(n, "i", I, true);
	a = nest_input(n, tensor(m, "a", TENSOR_INPUT, RDU_DT_F32, 1, &I));
	n->in[a].coef[0][1] = 1;
	v = nest_op(n, RDU_SIMD_I2F, nest_index(n, 1), -1, -1);
	n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, a), v, -1);
	nest_output(n, tensor(m, "y", TENSOR_OUTPUT, RDU_DT_F32, 0, NULL), nest_red(n));
}

/* A convolution's weight gradient: y[k] = sum over x of a[x] * b[x + k - 1], padded. */
static void make_window(struct module *m, struct nest *n)
{
	const int64_t X = 70001;
	int a, b, c;

	nest_dim(n, "k", 3, false);
	nest_dim(n, "x", X, true);
	a = nest_input(n, tensor(m, "a", TENSOR_INPUT, RDU_DT_F32, 1, &X));
	b = nest_input(n, tensor(m, "b", TENSOR_INPUT, RDU_DT_F32, 1, &X));
	n->in[a].coef[0][1] = 1;
	n->in[b].coef[0][0] = n->in[b].coef[0][1] = 1;
	n->in[b].offset[0] = -1;
	n->in[b].guarded = true;
	n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, a), nest_in(n, b), -1);
	c = nest_output(n, tensor(m, "y", TENSOR_OUTPUT, RDU_DT_F32, 1, (int64_t[]){ 3 }),
			nest_red(n));
	n->out[c].access.coef[0][0] = 1;
}

static int64_t elements(const struct tensor *t)
{
	int64_t n = 1;

	for (int i = 0; i < t->ndim; i++)
		n *= t->dim[i];
	return n;
}

static struct tensor *named(const struct module *m, const char *name)
{
	for (int i = 0; i < m->num_tensors; i++)
		if (!strcmp(m->tensors[i]->name, name))
			return m->tensors[i];
	return NULL;
}

/* In fp64, by hand: what element i of y should be. */
static double exact(char what, const float *a, const float *b, int64_t i)
{
	double s = 0;

	switch (what) {
	case 'c':
		for (int64_t k = 0; k < 300007; k++)
			s += (double)a[i / 5 * 300007 + k] * b[k * 5 + i % 5];
		return s;
	case 's':
		for (int64_t k = 0; k < 7 * 20011; k++)
			s += a[k * 32 + i];
		return s * b[i] + (double)i;
	case 'i':
		for (int64_t k = 0; k < 100003; k++)
			s += (double)a[k] * (double)k;
		return s;
	default:
		for (int64_t x = 0; x < 70001; x++)
			if (x + i - 1 >= 0 && x + i - 1 < 70001)
				s += (double)a[x] * b[x + i - 1];
		return s;
	}
}

static double nest_terms(const struct nest *n)
{
	double t = 1;

	for (int d = 0; d < n->ndim; d++)
		t *= n->dim[d].reduce ? (double)n->dim[d].extent : 1;
	return t;
}

static void try(const char *name, void (*make)(struct module *, struct nest *),
		const struct rdu_chip *chip, const char *path)
{
	struct rduc_options opt = { .chip = chip, .opt = 1 };
	struct module *m = module_new("sums");
	struct module_entry *e = module_entry(m, "forward");
	struct nest *n = module_nest(m, e, name, "test");
	struct tensor *a, *b, *y;
	double terms, bound, worst = 0;
	char error[400];
	struct ran r;
	float *in[2];

	n->reduce = REDUCE_ADD;
	make(m, n);
	terms = nest_terms(n);
	bound = (SUM_TERMS + terms / SUM_TERMS + chip->lanes) * 0x1p-24;
	if (!ok(!module_split_sums(m, error, sizeof(error)), "%s: cut into blocks", name)) {
		printf("# %s\n", error);
		module_free(m);
		return;
	}
	for (int k = 0; k < e->num_nests; k++) {
		double t = nest_terms(e->nests[k]);

		ok(t <= SUM_TERMS, "%s: nest %d of %d adds up %.0f terms", name, k, e->num_nests,
		   t);
	}
	a = named(m, "a");
	b = named(m, "b");
	y = named(m, "y");
	if (!ok(!rduc_backend(m, &opt, path, error, sizeof(error)) && !ran_open(&r, path),
		"%s: compiles for %s", name, chip->name)) {
		printf("# %s\n", error);
		module_free(m);
		return;
	}
	/* Each addition to a large sum rounds it. Arrays take bf16: a product of two is
	 * exact then. */
	for (int k = 0; k < 2; k++) {
		struct tensor *t = k ? b : a;

		in[k] = t ? ran_symbol(&r, t->name) : NULL;
		for (int64_t i = 0; t && i < elements(t); i++)
			in[k][i] = strchr("cw", name[0]) ? 0.10009765625f : 0.1f;
	}
	if (ok(!ran_entry(&r, 0, NULL, true, error, sizeof(error)), "%s: runs", name)) {
		const float *got = ran_symbol(&r, y->name);

		for (int64_t i = 0; i < elements(y); i++) {
			double want = exact(name[0], in[0], in[1], i);

			worst = fmax(worst, fabs(got[i] - want) / want);
			if (!(fabs(got[i] - want) <= bound * want))
				printf("# [%lld] got %.9g, wanted %.9g\n", (long long)i, got[i],
				       want);
		}
		ok(worst <= bound, "%s on %s: within %.3g of fp64 (%.3g)", name, chip->name, bound,
		   worst);
	}
	ran_close(&r);
	module_free(m);
}

/* What a graph sums is cut before anything after the patterns sees it. */
static void graph(void)
{
	char error[400] = "";
	struct graph *g = graph_new(error, sizeof(error));
	struct value *x = graph_value(g, "x");
	struct module *m;
	bool good = true;

	x->kind = TENSOR_INPUT;
	x->dtype = RDU_DT_F32;
	x->ndim = 2;
	x->dim[0] = x->dim[1] = 2048;
	g->name = graph_strdup(g, "mean");
	g->opset = 13;
	g->outputs = graph_alloc(g, sizeof(*g->outputs));
	g->num_outputs = 1;
	g->outputs[0].name = graph_strdup(g, "y");
	g->outputs[0].value = graph_op1(g, "ReduceMean", "mean", x);
	m = g->outputs[0].value ? graph_patterns(g) : NULL;
	for (int k = 0; m && k < m->entries[0].num_nests; k++) {
		double t = nest_terms(m->entries[0].nests[k]);

		if (t > SUM_TERMS)
			printf("# nest %d adds up %.0f terms\n", k, t);
		good &= t <= SUM_TERMS;
	}
	ok(m && good, "the mean of 2048 x 2048 elements is cut %s", error);
	module_free(m);
	graph_free(g);
}

int main(void)
{
	static const char *const chips[] = { "sn10", "plasticine" };
	char path[] = "/tmp/rduc-sums-XXXXXX", error[256];
	int fd = mkstemp(path);
	struct rdu_chip chip;

	if (fd < 0)
		return 1;
	close(fd);
	for (int i = 0; i < 2; i++) {
		if (rdu_chip_find(chips[i], &chip, error, sizeof(error)))
			return 1;
		try("contraction", make_contraction, &chip, path);
		try("sums of columns", make_columns, &chip, path);
		try("index", make_index, &chip, path);
		try("window", make_window, &chip, path);
	}
	graph();
	unlink(path);
	return tap_done();
}
