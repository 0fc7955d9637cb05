// SPDX-License-Identifier: MIT
/*
 * Graphs of nests: convolutions, pooling, sums over an image and what is made of them, transposes
 * and maps, with tensors that have several readers, near and far. Most of what lies between two
 * nests stays in scratchpads, cut into parts in every way, so that readers find theirs in one
 * part or have to bring several together. Half of them are a training step for the compiler: their
 * last nests are the backward half, for which some of what the others made is made again. A few
 * are windows over windows of high images, to be handed on in slices with halos, some of them of
 * two images' channels. Each graph is compiled at every level for both built-in chips and two odd
 * ones, and compared with the plain interpreter. The seed is fixed; arguments:
 * [first case [number of cases [chip]]].
 */
#include "rduc_back_judge.h"

static uint64_t rng_state;

static uint32_t rnd(uint32_t n)
{
	rng_state = rng_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(rng_state >> 33) % n;
}

#define MAX_IMAGES 16

struct graph_case {
	struct module *m;
	struct module_entry *e;
	int num_names, num, num_convs;
	struct tensor *image[MAX_IMAGES]; /* [N, C, Y, X] */
	bool read[MAX_IMAGES];
};

static struct tensor *named(struct graph_case *g, const char *stem, enum tensor_kind kind, int ndim,
			    const int64_t *dim)
{
	char name[32];

	snprintf(name, sizeof(name), "%s%d", stem, g->num_names++);
	return module_tensor(g->m, name, kind, RDU_DT_F32, ndim, dim);
}

/* One of the images, rather a late one. */
static struct tensor *some(struct graph_case *g)
{
	int i = g->num - 1 - (int)rnd(rnd(2) ? 2 : (uint32_t)g->num);

	if (i < 0)
		i = 0;
	g->read[i] = true;
	return g->image[i];
}

static struct tensor *add_image(struct graph_case *g, const int64_t *dim)
{
	struct tensor *t = named(g, "t", TENSOR_TEMP, 4, dim);

	g->image[g->num++] = t;
	return t;
}

/* A nest over the four dimensions of `dim`. */
static struct nest *over(struct graph_case *g, const char *name, const int64_t *dim)
{
	struct nest *n = module_nest(g->m, g->e, name, "test");

	for (int d = 0; d < 4; d++)
		nest_dim(n, "ncyx" + d, dim[d], false);
	return n;
}

static int reads(struct nest *n, struct tensor *t)
{
	int in = nest_input(n, t);

	for (int d = 0; d < t->ndim; d++)
		n->in[in].coef[d][d] = 1;
	return in;
}

static void writes_all(struct nest *n, struct tensor *t, int expr)
{
	int out = nest_output(n, t, expr);

	for (int d = 0; d < t->ndim; d++)
		n->out[out].access.coef[d][d] = 1;
}

/* Windows of k x k, `stride` apart, with a border of p: maximum, sum, or a convolution. */
static void window_of(struct graph_case *g, bool conv, int k, int stride, int p)
{
	struct tensor *x = some(g), *y;
	int in, iw;
	int64_t dim[4] = { x->dim[0], conv ? 1 + rnd(20) : x->dim[1] };
	struct nest *n;

	for (int d = 2; d < 4; d++) {
		if (x->dim[d] + 2 * p < k)
			k = (int)x->dim[d];
		dim[d] = (x->dim[d] + 2 * p - k) / stride + 1;
	}
	y = add_image(g, dim);
	n = over(g, conv ? "conv" : "pool", dim);
	nest_dim(n, "ky", k, true);
	nest_dim(n, "kx", k, true);
	if (conv)
		nest_dim(n, "ci", x->dim[1], true);
	in = nest_input(n, x);
	n->in[in].coef[0][0] = n->in[in].coef[1][conv ? 6 : 1] = 1;
	for (int d = 2; d < 4; d++) {
		n->in[in].coef[d][d] = stride;
		n->in[in].coef[d][d + 2] = 1;
		n->in[in].offset[d] = -p;
	}
	n->in[in].guarded = true;
	n->reduce = conv || rnd(2) ? REDUCE_ADD : REDUCE_MAX;
	n->in[in].pad = n->reduce == REDUCE_MAX ? 0xff800000u : 0;
	n->body = nest_in(n, in);
	g->num_convs += conv;
	if (conv) {
		int64_t wd[4] = { dim[1], x->dim[1], k, k };

		iw = nest_input(n, named(g, "w", TENSOR_INPUT, 4, wd));
		n->in[iw].coef[0][1] = n->in[iw].coef[1][6] = 1;
		n->in[iw].coef[2][4] = n->in[iw].coef[3][5] = 1;
		n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, in), nest_in(n, iw), -1);
	}
	writes_all(n, y,
		   rnd(2) ? nest_red(n)
			  : nest_op(n, RDU_SIMD_FMUL, nest_red(n), nest_imm_f(n, 0.25f), -1));
}

static void window(struct graph_case *g, bool conv)
{
	int k = 1 + (int)rnd(3), stride = 1 + (int)rnd(2);

	window_of(g, conv, k, stride, (int)rnd((uint32_t)k));
}

/* A map of two images of one shape, or of one. */
static void map(struct graph_case *g)
{
	struct tensor *a = some(g), *b = NULL, *y;
	struct nest *n;
	int v;

	for (int i = 0; i < g->num; i++)
		if (g->image[i] != a && !memcmp(g->image[i]->dim, a->dim, 4 * sizeof(*a->dim)) &&
		    (!b || rnd(2))) {
			b = g->image[i];
			g->read[i] = true;
		}
	y = add_image(g, a->dim);
	n = over(g, "map", a->dim);
	v = nest_in(n, reads(n, a));
	v = b ? nest_op(n, RDU_SIMD_FSUB, v, nest_in(n, reads(n, b)), -1)
	      : nest_op(n, RDU_SIMD_FMAX, v, nest_imm_f(n, -0.25f), -1);
	writes_all(n, y, v);
}

/* y and x change places. */
static void transpose(struct graph_case *g)
{
	struct tensor *x = some(g);
	int64_t dim[4] = { x->dim[0], x->dim[1], x->dim[3], x->dim[2] };
	struct tensor *y = add_image(g, dim);
	struct nest *n = over(g, "transpose", dim);
	int in = nest_input(n, x);

	n->in[in].coef[0][0] = n->in[in].coef[1][1] = 1;
	n->in[in].coef[2][3] = n->in[in].coef[3][2] = 1;
	writes_all(n, y, nest_in(n, in));
}

/* Some of the channels, some of the rows. */
static void slice(struct graph_case *g)
{
	struct tensor *x = some(g);
	int64_t dim[4] = { x->dim[0], 1 + rnd((uint32_t)x->dim[1]), 1 + rnd((uint32_t)x->dim[2]),
			   x->dim[3] };
	struct tensor *y = add_image(g, dim);
	struct nest *n = over(g, "slice", dim);
	int in = reads(n, x);

	for (int d = 1; d < 3; d++)
		n->in[in].offset[d] = (int32_t)rnd((uint32_t)(x->dim[d] - dim[d] + 1));
	writes_all(n, y, nest_in(n, in));
}

/* Images and their channels seen as one dimension, or rows and columns, and so written. */
static void merge(struct graph_case *g)
{
	struct tensor *x = some(g), *v, *y;
	bool rows = rnd(2);
	int64_t dim[3] = { rows ? x->dim[0] : x->dim[0] * x->dim[1], rows ? x->dim[1] : x->dim[2],
			   rows ? x->dim[2] * x->dim[3] : x->dim[3] };
	struct nest *n;

	v = named(g, "v", TENSOR_TEMP, 3, dim);
	v->view_of = x;
	v->dtype = x->dtype;
	y = named(g, "m", TENSOR_TEMP, 3, dim);
	n = module_nest(g->m, g->e, "merged", "test");
	for (int d = 0; d < 3; d++)
		nest_dim(n, "abc" + d, dim[d], false);
	writes_all(n, y,
		   nest_op(n, RDU_SIMD_FMUL, nest_in(n, reads(n, v)), nest_imm_f(n, 0.5f), -1));
	v = add_image(g, x->dim);
	v->view_of = y;
}

/* The input as bf16: rounded wherever it is kept. */
static void narrow(struct graph_case *g)
{
	struct tensor *x = g->image[0], *y = add_image(g, x->dim);
	struct nest *n = over(g, "narrow", x->dim);

	g->read[0] = true;
	y->dtype = RDU_DT_BF16;
	writes_all(n, y, nest_in(n, reads(n, x)));
}

/* Twice as large, each element four times. */
static void enlarge(struct graph_case *g)
{
	struct tensor *x = some(g), *y;
	int64_t dim[4] = { x->dim[0], x->dim[1], 2 * x->dim[2], 2 * x->dim[3] };
	struct nest *n;
	int out;

	if (dim[2] > 40 || dim[3] > 40)
		return;
	y = add_image(g, dim);
	n = over(g, "enlarge", x->dim);
	nest_dim(n, "ky", 2, false);
	nest_dim(n, "kx", 2, false);
	out = nest_output(n, y, nest_in(n, reads(n, x)));
	n->out[out].access.coef[0][0] = n->out[out].access.coef[1][1] = 1;
	for (int d = 2; d < 4; d++) {
		n->out[out].access.coef[d][d] = 2;
		n->out[out].access.coef[d][d + 2] = 1;
	}
}

/* The sum of every image is taken off each of its elements. */
static void center(struct graph_case *g)
{
	struct tensor *x = some(g), *s = named(g, "s", TENSOR_TEMP, 2, x->dim), *y;
	struct nest *n = over(g, "sum", x->dim);
	int a, b;

	n->dim[2].reduce = n->dim[3].reduce = true;
	n->reduce = REDUCE_ADD;
	n->body = nest_in(n, reads(n, x));
	writes_all(n, s, nest_op(n, RDU_SIMD_FMUL, nest_red(n), nest_imm_f(n, 0.0625f), -1));
	y = add_image(g, x->dim);
	n = over(g, "center", x->dim);
	a = nest_in(n, reads(n, x));
	b = nest_in(n, reads(n, s));
	writes_all(n, y, nest_op(n, RDU_SIMD_FSUB, a, b, -1));
}

/* What nobody reads is a result. */
static void add_results(struct graph_case *g)
{
	for (int i = 0; i < g->num; i++) {
		struct nest *n;

		if (g->read[i])
			continue;
		n = over(g, "result", g->image[i]->dim);
		writes_all(n, named(g, "y", TENSOR_OUTPUT, 4, g->image[i]->dim),
			   nest_op(n, RDU_SIMD_FADD, nest_in(n, reads(n, g->image[i])),
				   nest_imm_f(n, 1), -1));
	}
}

static void make(struct graph_case *g)
{
	int64_t dim[4] = { rnd(3) ? 16u << rnd(3) : 1 + rnd(20), 1 + rnd(12), 1 + rnd(20),
			   1 + rnd(20) };
	int steps = 2 + (int)rnd(6);

	g->image[g->num++] = named(g, "x", TENSOR_INPUT, 4, dim);
	for (int i = 0; i < steps; i++)
		switch (rnd(10)) {
		case 7:
			slice(g);
			break;
		case 8:
			merge(g);
			break;
		case 9:
			narrow(g);
			break;
		case 0:
			transpose(g);
			break;
		case 1:
			enlarge(g);
			break;
		case 2:
			center(g);
			break;
		case 3:
			map(g);
			break;
		default:
			window(g, rnd(2));
		}
	add_results(g);
}

/* An image whose channels are those of two: two nests make a part each. */
static void join_channels(struct graph_case *g)
{
	struct tensor *from[2] = { some(g), some(g) }, *t;
	int64_t dim[4], at = 0;

	if (from[0]->dim[2] != from[1]->dim[2] || from[0]->dim[3] != from[1]->dim[3])
		from[1] = from[0];
	memcpy(dim, from[0]->dim, sizeof(dim));
	dim[1] += from[1]->dim[1];
	t = add_image(g, dim);
	for (int k = 0; k < 2; k++) {
		struct nest *n = over(g, k ? "behind" : "before", from[k]->dim);
		int v = nest_in(n, reads(n, from[k]));

		writes_all(n, t, nest_op(n, RDU_SIMD_FMAX, v, nest_imm_f(n, -0.25f * k), -1));
		n->out[0].access.offset[1] = (int32_t)at;
		at += from[k]->dim[1];
	}
}

/* Windows over windows of high images: what is handed on in slices of their rows has halos. */
static void make_bands(struct graph_case *g)
{
	int64_t dim[4] = { 1 + rnd(2), 1 + rnd(4), 32 << rnd(2), 8 + rnd(40) };
	int steps = 2 + (int)rnd(4);

	g->image[g->num++] = named(g, "x", TENSOR_INPUT, 4, dim);
	for (int i = 0; i < steps; i++)
		switch (rnd(7)) {
		case 0:
			map(g);
			break;
		case 6:
			join_channels(g);
			window_of(g, true, 3, 1, 1);
			break;
		case 1:
			window_of(g, rnd(2), 2, 2, 0);
			break;
		case 2:
			window_of(g, rnd(2), 3, 2, 1);
			break;
		case 3:
			window_of(g, rnd(2), 5, 1, 2);
			break;
		default:
			window_of(g, rnd(2), 3, 1, 1);
		}
	add_results(g);
}
/*
 * Two groups that share no loops, and a result that reads a slice of the first one when the second
 * one runs: by then it has to be in memory only.
 */
static void make_far_reader(struct graph_case *g)
{
	const int64_t dim[4] = { 32, 32, 5, 7 };
	struct tensor *x = named(g, "x", TENSOR_INPUT, 4, dim), *sums, *t;
	struct nest *n;
	int in;

	g->image[g->num++] = x;
	center(g);
	sums = g->e->nests[0]->out[0].access.tensor;
	n = over(g, "swapped", dim); /* channels, images */
	in = nest_input(n, g->image[g->num - 1]);
	n->in[in].coef[0][1] = n->in[in].coef[1][0] = 1;
	n->in[in].coef[2][2] = n->in[in].coef[3][3] = 1;
	t = add_image(g, dim);
	writes_all(n, t, nest_op(n, RDU_SIMD_FMAX, nest_in(n, in), nest_imm_f(n, -0.25f), -1));
	g->image[0] = t;
	g->num = 1;
	center(g);
	n = over(g, "result", dim);
	in = nest_in(n, reads(n, g->image[g->num - 1]));
	writes_all(n, named(g, "y", TENSOR_OUTPUT, 4, dim),
		   nest_op(n, RDU_SIMD_FADD, in, nest_in(n, reads(n, sums)), -1));
}

/* An image that two nests make, a half of each row by each; the second one and who reads the image
 * could share loops, but a slice of it is not all there is to read. */
static void make_halves(struct graph_case *g)
{
	const int64_t half[4] = { 32, 8, 5, 8 }, dim[4] = { 32, 8, 5, 16 };
	struct tensor *x = named(g, "x", TENSOR_INPUT, 4, half), *t = add_image(g, dim);
	struct nest *n;
	int a;

	for (int k = 0; k < 2; k++) {
		n = over(g, k ? "right" : "left", half);
		a = nest_in(n, reads(n, x));
		writes_all(n, t, nest_op(n, RDU_SIMD_FADD, a, nest_imm_f(n, 1.0f + k), -1));
		n->out[0].access.offset[3] = 8 * k;
	}
	center(g);
	n = over(g, "result", dim);
	a = nest_in(n, reads(n, g->image[g->num - 1]));
	writes_all(n, named(g, "y", TENSOR_OUTPUT, 4, dim),
		   nest_op(n, RDU_SIMD_FADD, a, nest_imm_f(n, 1), -1));
}

/* Products of a and b, summed over that dimension of both; the results go along their other ones. */
static struct nest *product(struct graph_case *g, const char *name, struct tensor *a,
			    struct tensor *b, int summed)
{
	struct nest *n = module_nest(g->m, g->e, name, "test");

	nest_dim(n, "m", a->dim[!summed], false);
	nest_dim(n, "n", b->dim[!summed], false);
	nest_dim(n, "k", a->dim[summed], true);
	nest_input(n, a);
	nest_input(n, b);
	for (int i = 0; i < 2; i++)
		n->in[i].coef[!summed][i] = n->in[i].coef[summed][2] = 1;
	n->reduce = REDUCE_ADD;
	n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, 0), nest_in(n, 1), -1);
	return n;
}

/* A weight that two products read, one that changes it, and one that wants the new value: copies of the old one are
 * stale by then. */
static void make_changed(struct graph_case *g)
{
	const int64_t rows[2] = { 32, 40 }, dim[2] = { 24, 40 }, result[2] = { 32, 24 };
	struct tensor *w = named(g, "w", TENSOR_WEIGHT, 2, dim), *next;
	struct tensor *x = named(g, "x", TENSOR_INPUT, 2, rows),
		      *d = named(g, "d", TENSOR_INPUT, 2, result);
	struct nest *n;

	for (int k = 0; k < 2; k++) {
		n = product(g, k ? "second" : "first", k ? named(g, "z", TENSOR_INPUT, 2, rows) : x,
			    w, 1);
		writes_all(n, named(g, "y", TENSOR_OUTPUT, 2, result), nest_red(n));
	}
	n = product(g, "update", d, x, 0);
	next = named(g, "next", TENSOR_WEIGHT, 2, dim);
	next->update_of = w;
	writes_all(n, next, nest_op(n, RDU_SIMD_FSUB, nest_in(n, reads(n, w)), nest_red(n), -1));
	n = product(g, "third", x, w, 1);
	writes_all(n, named(g, "y", TENSOR_OUTPUT, 2, result), nest_red(n));
}

static float value(void)
{
	return (float)((int)rnd(4001) - 2000) / 1000;
}

/* The case in which a weight is changed. */
#define CHANGED (-11)

/* Case c; -1: the one with a far reader, -2: the one in halves; below: with halos. */
static bool run_case(int c, const struct rdu_chip *chip, const char *path, struct rdu_pool *pool,
		     char *text, size_t size)
{
	struct graph_case g = { .m = module_new("test") };
	struct rduc_options opt = { .chip = chip, .print_after = getenv("P") };
	char error[400];
	bool good = true;

	g.e = module_entry(g.m, "forward");
	rng_state = (uint64_t)c * 0x9e3779b97f4a7c15ull + 54321;
	rnd(2);
	if (c == CHANGED)
		make_changed(&g);
	else if (c < -2)
		make_bands(&g);
	else if (c == -2)
		make_halves(&g);
	else if (c == -1)
		make_far_reader(&g);
	else
		make(&g);
	opt.hold = c == CHANGED ? WHEN_POSSIBLE : WHEN_FASTER;
	opt.fp32 = rnd(2) || g.num_convs > 1; /* what is rounded to bf16 twice may differ by more */
	opt.tiles = 1 + (int)rnd(chip->tiles);
	opt.pipe = c < 0 || rnd(2) ? WHEN_POSSIBLE : WHEN_FASTER;
	for (int k = (int)rnd(2 * (uint32_t)g.e->num_nests); c >= 0 && k < g.e->num_nests; k++)
		g.e->nests[k]->backward = true;
	for (int k = 0; k < g.e->num_nests && good; k++)
		if (nest_check(g.e->nests[k], error, sizeof(error))) {
			snprintf(text, size, "the test's nest is wrong: %s", error);
			good = false;
		}
	good = good && judge(g.m, opt, value, false, path, pool, text, size);
	module_free(g.m);
	return good;
}

/* Graphs made by hand run on all four chips, random ones on every other. */
static bool runs_on(int graph, int k)
{
	return graph < 0 || (graph + k) % 2 == 0;
}

int main(int argc, char **argv)
{
	static const char *const built_in[] = { "sn10", "plasticine" };
	static const char *const odd[] = { "tests/chips/tiny8.chip", "tests/chips/wide64.chip",
					   "tests/chips/cut4k.chip", "tests/chips/few.chip" };
	int first = argc > 1 ? atoi(argv[1]) : CHANGED, num = argc > 2 ? atoi(argv[2]) : 41;
	const char *only = argc > 3 ? argv[3] : NULL;
	int each = only ? 1 : 4, fd, bad = 0, n = 0;
	char path[] = "/tmp/rduc-graph-XXXXXX";
	struct rdu_pool *pool = rdu_pool_new(2);

	fd = mkstemp(path);
	if (fd < 0)
		return 1;
	close(fd);
	for (int c = 0; c < num * each; c++)
		n += only || runs_on(first + c / each, c % each);
	printf("1..%d\n", n);
	n = 0;
	for (int c = 0; c < num; c++)
		for (int k = 0; k < each; k++) {
			const char *name = only	   ? only
					   : k < 2 ? built_in[k]
						   : odd[(c + (k - 2) * 2) % 4];
			struct rdu_chip chip;
			char text[700] = "";
			bool good;

			if (!only && !runs_on(first + c, k))
				continue;
			good = !rdu_chip_find(name, &chip, text, sizeof(text)) &&
			       run_case(first + c, &chip, path, pool, text, sizeof(text));
			printf("%sok %d - graph %d on %s%s%s\n", good ? "" : "not ", ++n, first + c,
			       name, good ? "" : ": ", text);
			fflush(stdout);
			bad += !good;
		}
	unlink(path);
	rdu_pool_free(pool);
	return bad ? 1 : 0;
}
