// SPDX-License-Identifier: MIT
/*
 * Loops in loops, of random size: what plain C loops give, the interpreter gives, and so does the
 * card at every level, with what loops read and change in scratchpads as far as there is room.
 * Arguments: the first case, how many.
 */
#include <math.h>
#include "rduc_back_judge.h"
#include "rduc_back_seed.h"
#include "tap.h"

#define CASES 16

static char path[] = "/tmp/rduc-nested-XXXXXX";

static float value(void)
{
	return ((float)number(2001) / 1000 - 1) / 4;
}

/*
 * for i: s[0] = h, sum = 0, g = x[i] a
 *        for t: u = s[t] w + g b[t]
 *               for m: u += k[m] v
 *               s[t + 1] = tanh(u), sum += s[t + 1]
 *        y[i] = sum + s[trip[1]], h = s[trip[1]], w = w / 2 + c
 * k v, s w: products of matrices; the others element by element.
 */
struct nested {
	int64_t trip[3], rows, width;
	struct module *m;
	struct tensor *x, *a, *b, *k, *v, *c, *h, *w, *y;
	struct tensor *s, *sum, *u, *row; /* of x */
};

static struct nest *map(struct nested *r, int loop, const char *name, int64_t rows)
{
	struct nest *n = module_nest(r->m, &r->m->entries[0], name, "test");

	n->loop = loop;
	nest_dim(n, "i", rows, false);
	nest_dim(n, "j", r->width, false);
	return n;
}

/* An access to a tensor [rows, width], or to a row of it where it has one dimension more. */
static void at(struct access *a, int64_t row)
{
	int first = a->tensor->ndim - 2;

	a->coef[first][0] = a->coef[first + 1][1] = 1;
	if (first)
		a->offset[0] = (int32_t)row;
}

static int input(struct nest *n, struct tensor *t, int64_t row)
{
	int k = nest_input(n, t);

	at(&n->in[k], row);
	return nest_in(n, k);
}

static void output(struct nest *n, struct tensor *t, int expr, int64_t row)
{
	at(&n->out[nest_output(n, t, expr)].access, row);
}

static int sum_of(struct nest *n, int a, int b)
{
	return nest_op(n, RDU_SIMD_FADD, a, b, -1);
}

static int product_of(struct nest *n, int a, int b)
{
	return nest_op(n, RDU_SIMD_FMUL, a, b, -1);
}

static struct tensor *temp(struct nested *r, const char *name)
{
	int64_t dim[2] = { r->rows, r->width };

	return module_tensor(r->m, name, TENSOR_TEMP, RDU_DT_F32, 2, dim);
}

static struct tensor *updated(struct nested *r, struct tensor *t)
{
	struct tensor *to = module_tensor(r->m, "new", TENSOR_TEMP, RDU_DT_F32, 2, t->dim);

	to->update_of = t;
	return to;
}

/* A product of matrices: a temporary. */
static struct tensor *product(struct nested *r, int loop, struct tensor *a, struct tensor *b)
{
	struct nest *n = map(r, loop, "product", r->rows);
	struct tensor *to = temp(r, "product");
	int k = nest_dim(n, "k", r->width, true), p = nest_input(n, a), q = nest_input(n, b);

	n->in[p].coef[0][0] = n->in[p].coef[1][k] = 1;
	n->in[q].coef[0][k] = n->in[q].coef[1][1] = 1;
	n->reduce = REDUCE_ADD;
	n->body = product_of(n, nest_in(n, p), nest_in(n, q));
	output(n, to, nest_red(n), 0);
	return to;
}

static void innermost(struct nested *r, int loop)
{
	struct tensor *more = product(r, loop, module_row(r->m, r->k, 0), r->v);
	struct nest *n = map(r, loop, "more", r->rows);

	output(n, updated(r, r->u), sum_of(n, input(n, r->u, 0), input(n, more, 0)), 0);
}

static void inner(struct nested *r, int loop, struct tensor *g)
{
	struct tensor *next = module_row(r->m, r->s, 1);
	struct tensor *t = product(r, loop, module_row(r->m, r->s, 0), r->w);
	struct nest *n = map(r, loop, "gated", r->rows);
	int b;

	r->u = temp(r, "u");
	b = product_of(n, input(n, g, 0), input(n, module_row(r->m, r->b, 0), 0));
	output(n, r->u, sum_of(n, input(n, t, 0), b), 0);
	innermost(r, module_loop(&r->m->entries[0], "innermost", loop, r->trip[2]));
	n = map(r, loop, "state", r->rows);
	output(n, next, nest_op(n, RDU_SIMD_TANH, input(n, r->u, 0), -1, -1), 0);
	n = map(r, loop, "sum", r->rows);
	output(n, updated(r, r->sum), sum_of(n, input(n, r->sum, 0), input(n, next, 0)), 0);
}

static void outer(struct nested *r, int loop)
{
	struct tensor *g = temp(r, "g");
	struct nest *n = map(r, loop, "first", r->rows);

	output(n, r->s, input(n, r->h, 0), 0);
	n = map(r, loop, "zero", r->rows);
	output(n, r->sum, nest_imm_f(n, 0), 0);
	n = map(r, loop, "g", r->rows);
	r->row = module_row(r->m, r->x, 0);
	output(n, g, product_of(n, input(n, r->row, 0), input(n, r->a, 0)), 0);
	inner(r, module_loop(&r->m->entries[0], "inner", loop, r->trip[1]), g);
	n = map(r, loop, "result", r->rows);
	output(n, module_row(r->m, r->y, 0),
	       sum_of(n, input(n, r->sum, 0), input(n, r->s, r->trip[1])), 0);
	n = map(r, loop, "last", r->rows);
	output(n, updated(r, r->h), input(n, r->s, r->trip[1]), 0);
	n = map(r, loop, "update", r->width);
	output(n, updated(r, r->w),
	       sum_of(n, product_of(n, input(n, r->w, 0), nest_imm_f(n, 0.5f)), input(n, r->c, 0)),
	       0);
}

static struct tensor *rows_of(struct nested *r, const char *name, enum tensor_kind kind,
			      int64_t num)
{
	int64_t dim[3] = { num, r->rows, r->width };

	return module_tensor(r->m, name, kind, RDU_DT_F32, 3, dim);
}

static void start(struct nested *r, uint64_t from)
{
	seed = from * 7919 + 17;
	*r = (struct nested){ .trip = { 1 + number(4), 1 + number(4), 1 + number(3) },
			      .rows = 1 + number(10),
			      .width = 1 + number(60) };
	int64_t dim[2] = { r->rows, r->width }, square[2] = { r->width, r->width };

	r->m = module_new("nested");
	module_entry(r->m, "forward");
	r->x = rows_of(r, "x", TENSOR_INPUT, r->trip[0]);
	r->b = rows_of(r, "b", TENSOR_INPUT, r->trip[1]);
	r->k = rows_of(r, "k", TENSOR_INPUT, r->trip[2]);
	r->a = module_tensor(r->m, "a", TENSOR_INPUT, RDU_DT_F32, 2, dim);
	r->v = module_tensor(r->m, "v", TENSOR_INPUT, RDU_DT_F32, 2, square);
	r->c = module_tensor(r->m, "c", TENSOR_INPUT, RDU_DT_F32, 2, square);
	r->h = module_tensor(r->m, "h", TENSOR_STATE, RDU_DT_F32, 2, dim);
	r->w = module_tensor(r->m, "w", TENSOR_STATE, RDU_DT_F32, 2, square);
	r->y = rows_of(r, "y", TENSOR_OUTPUT, r->trip[0]);
	r->s = rows_of(r, "s", TENSOR_TEMP, r->trip[1] + 1);
	r->sum = temp(r, "sums");
	outer(r, module_loop(&r->m->entries[0], "outer", 0, r->trip[0]));
}

/* ---- the interpreter against plain C --------------------------------------------- */

static void add_product(float *to, const float *a, const float *b, int64_t rows, int64_t width)
{
	for (int64_t i = 0; i < rows; i++)
		for (int64_t j = 0; j < width; j++)
			for (int64_t k = 0; k < width; k++)
				to[i * width + j] += a[i * width + k] * b[k * width + j];
}

/* What the loops compute, in C: y, and what h and w are then. */
static void plain(const struct nested *r, float *const *data, float *y, float *h, float *w)
{
	int64_t rows = r->rows, width = r->width, size = rows * width;
	float *u = calloc((size_t)size, 4), *sum = calloc((size_t)size, 4);

	for (int64_t i = 0; i < r->trip[0]; i++) {
		memset(sum, 0, (size_t)size * 4);
		for (int64_t t = 0; t < r->trip[1]; t++) {
			for (int64_t e = 0; e < size; e++)
				u[e] = data[r->x->id][i * size + e] * data[r->a->id][e] *
				       data[r->b->id][t * size + e];
			add_product(u, h, w, rows, width);
			for (int64_t m = 0; m < r->trip[2]; m++)
				add_product(u, data[r->k->id] + m * size, data[r->v->id], rows,
					    width);
			for (int64_t e = 0; e < size; e++) {
				h[e] = tanhf(u[e]);
				sum[e] += h[e];
			}
		}
		for (int64_t e = 0; e < size; e++)
			y[i * size + e] = sum[e] + h[e];
		for (int64_t e = 0; e < width * width; e++)
			w[e] = w[e] / 2 + data[r->c->id][e];
	}
	free(u);
	free(sum);
}

static float *copy_of(const float *v, int64_t num)
{
	float *c = calloc((size_t)num, 4);

	memcpy(c, v, (size_t)num * 4);
	return c;
}

static void test_plain(int from, int num)
{
	double w = 0;

	for (int c = from; c < from + num; c++) {
		struct nested r;
		struct tensor *result[3];
		float **data, *want[3];
		char error[400] = "";

		start(&r, (uint64_t)c);
		data = calloc((size_t)r.m->num_tensors, sizeof(*data));
		for (int i = 0; i < r.m->num_tensors; i++) {
			data[i] = calloc((size_t)elements(r.m->tensors[i]) + 1, 4);
			for (int64_t k = 0; k < elements(r.m->tensors[i]); k++)
				data[i][k] = value();
		}
		memcpy(result, (struct tensor *[]){ r.y, r.h, r.w }, sizeof(result));
		for (int i = 0; i < 3; i++)
			want[i] = copy_of(data[result[i]->id], elements(result[i]));
		plain(&r, data, want[0], want[1], want[2]);
		if (module_check_loops(&r.m->entries[0], error, sizeof(error)))
			w = 1e9;
		module_entry_eval(&r.m->entries[0], (void **)data, false);
		for (int i = 0; i < 3; i++) {
			w = fmax(w, worst(data[result[i]->id], want[i], elements(result[i]), 1));
			free(want[i]);
		}
		for (int i = 0; i < r.m->num_tensors; i++)
			free(data[i]);
		free(data);
		module_free(r.m);
	}
	ok(w < 1e-5, "%d loops in loops: the interpreter gives what loops in C do (%g)", num, w);
}

/* ---- the card ---------------------------------------------------------------------- */

static void test_card(const char *chip_name, int from, int num, struct rdu_pool *pool)
{
	static const enum rduc_when when[] = { WHEN_POSSIBLE, WHEN_NEVER, WHEN_FASTER };
	char text[700] = "", error[300];
	struct rdu_chip chip;
	int bad = -1;

	if (rdu_chip_find(chip_name, &chip, error, sizeof(error))) {
		ok(false, "%s: %s", chip_name, error);
		return;
	}
	for (int c = from; c < from + num && bad < 0; c++) {
		struct rduc_options opt = { .chip = &chip, .fp32 = c & 1, .hold = when[c % 3] };
		struct nested r;

		start(&r, (uint64_t)c);
		if (!judge(r.m, opt, value, false, path, pool, text, sizeof(text)))
			bad = c;
		module_free(r.m);
	}
	ok(bad < 0, "%s: %d loops in loops are right at every level", chip_name, num);
	if (bad >= 0)
		printf("# case %d: %s\n", bad, text);
}

/* ---- what is wrong is refused ---------------------------------------------------------- */

static const struct wrong {
	const char *what, *says;
	int nest, loop; /* this nest is moved to that loop */
} wrongs[] = {
	{ "a nest of the outer loop amid the inner one", "not one piece", 6, 1 },
	{ "a nest of the innermost loop in the inner one", "fewer rows", 5, 2 },
	{ "a row of the outer loop in the inner one", "another loop's", 2, 2 },
	{ "a loop that there is not", "that there is not", 5, 9 },
	{ "a fifth loop", "too many loops", 6, 5 },
};

static void test_wrong(void)
{
	for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		struct nested r;
		struct module_entry *e;
		char error[400] = "";
		struct nest *n;

		start(&r, 3); /* the inner loop has more iterations than the innermost */
		e = &r.m->entries[0];
		module_loop(e, "fourth", 3, 2);
		module_loop(e, "fifth", 4, 2);
		if (wrongs[i].nest == 2) { /* x's row in both */
			n = map(&r, 2, "again", r.rows);
			output(n, temp(&r, "again"), input(n, r.row, 0), 0);
			memmove(&e->nests[4], &e->nests[3], sizeof(n) * (size_t)(e->num_nests - 4));
			e->nests[3] = n;
		} else {
			e->nests[wrongs[i].nest]->loop = wrongs[i].loop;
		}
		ok(module_check_loops(e, error, sizeof(error)) && strstr(error, wrongs[i].says),
		   "%s: refused: %s", wrongs[i].what, error);
		module_free(r.m);
	}
}

int main(int argc, char **argv)
{
	static const char *const chips[] = { "sn10", "plasticine", "tests/chips/tiny8.chip",
					     "tests/chips/cut4k.chip" };
	int from = argc > 1 ? atoi(argv[1]) : 0, num = argc > 2 ? atoi(argv[2]) : CASES;
	struct rdu_pool *pool = rdu_pool_new(2);

	close(mkstemp(path));
	test_plain(from, num);
	for (size_t i = 0; i < sizeof(chips) / sizeof(chips[0]); i++)
		test_card(chips[i], from, i ? num / 3 : num / 2, pool);
	test_wrong();
	rdu_pool_free(pool);
	unlink(path);
	return tap_done();
}
