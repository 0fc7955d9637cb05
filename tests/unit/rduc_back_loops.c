// SPDX-License-Identifier: MIT
/*
 * Loops of nests, of random size: what a plain C loop gives, the interpreter gives, and so does
 * the card at every level. Another number of iterations or another row is another result, or is
 * refused. Arguments: the first case, how many.
 */
#include <math.h>
#include "rduc_back_judge.h"
#include "rduc_back_seed.h"
#include "tap.h"

#define CASES 24

static char path[] = "/tmp/rduc-loops-XXXXXX";

static float value(void)
{
	return (float)number(2001) / 1000 - 1;
}

/* s[0] = h; s[t + 1] = tanh(s[t] w + x[t] g) with g = a + a made in front of the loop;
 * y[t] = s[t + 1] * x[t]; sum += y[t]; z = s[trip] + sum. */
struct recurrence {
	int64_t trip, rows, width;
	struct module *m;
	struct tensor *x, *h, *w, *a, *s, *y, *sum, *z;
	struct tensor *before, *after; /* rows of s */
};

static struct nest *map(struct module *m, int loop, const char *name, int64_t rows, int64_t width)
{
	struct nest *n = module_nest(m, &m->entries[0], name, "test");

	n->loop = loop;
	nest_dim(n, "i", rows, false);
	nest_dim(n, "j", width, false);
	return n;
}

/* An access to a tensor [rows, width], or to its row 0 where it has one dimension more. */
static int at(struct nest *n, int k, bool out, int64_t row)
{
	struct access *a = out ? &n->out[k].access : &n->in[k];
	int first = a->tensor->ndim - 2;

	a->coef[first][0] = a->coef[first + 1][1] = 1;
	if (first)
		a->offset[0] = (int32_t)row;
	return k;
}

static int input(struct nest *n, struct tensor *t, int64_t row)
{
	return nest_in(n, at(n, nest_input(n, t), false, row));
}

static void output(struct nest *n, struct tensor *t, int expr, int64_t row)
{
	at(n, nest_output(n, t, expr), true, row);
}

static void body(struct recurrence *r, int loop, struct tensor *g)
{
	struct tensor *xt = module_row(r->m, r->x, 0), *yt = module_row(r->m, r->y, 0), *t, *more;
	int64_t dim[2] = { r->rows, r->width };
	struct nest *n = map(r->m, loop, "product", r->rows, r->width);
	int k = nest_dim(n, "k", r->width, true), a, b;

	t = module_tensor(r->m, "product", TENSOR_TEMP, RDU_DT_F32, 2, dim);
	a = nest_input(n, r->before);
	b = nest_input(n, r->w);
	n->in[a].coef[0][0] = n->in[a].coef[1][k] = 1;
	n->in[b].coef[0][k] = n->in[b].coef[1][1] = 1;
	n->reduce = REDUCE_ADD;
	n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, a), nest_in(n, b), -1);
	output(n, t, nest_red(n), 0);
	n = map(r->m, loop, "state", r->rows, r->width);
	a = nest_op(n, RDU_SIMD_FMUL, input(n, xt, 0), input(n, g, 0), -1);
	a = nest_op(n, RDU_SIMD_FADD, input(n, t, 0), a, -1);
	output(n, r->after, nest_op(n, RDU_SIMD_TANH, a, -1, -1), 0);
	n = map(r->m, loop, "result", r->rows, r->width);
	output(n, yt, nest_op(n, RDU_SIMD_FMUL, input(n, r->after, 0), input(n, xt, 0), -1), 0);
	more = module_tensor(r->m, "more", TENSOR_TEMP, RDU_DT_F32, 2, dim);
	more->update_of = r->sum;
	n = map(r->m, loop, "sum", r->rows, r->width);
	output(n, more, nest_op(n, RDU_SIMD_FADD, input(n, r->sum, 0), input(n, yt, 0), -1), 0);
}

static void make(struct recurrence *r)
{
	struct module *m = r->m = module_new("loops");
	int64_t all[3] = { r->trip, r->rows, r->width }, *dim = all + 1;
	int64_t states[3] = { r->trip + 1, r->rows, r->width }, square[2] = { r->width, r->width };
	struct tensor *g;
	struct nest *n;

	module_entry(m, "forward");
	r->x = module_tensor(m, "x", TENSOR_INPUT, RDU_DT_F32, 3, all);
	r->h = module_tensor(m, "h", TENSOR_INPUT, RDU_DT_F32, 2, dim);
	r->a = module_tensor(m, "a", TENSOR_INPUT, RDU_DT_F32, 2, dim);
	r->w = module_tensor(m, "w", TENSOR_INPUT, RDU_DT_F32, 2, square);
	r->y = module_tensor(m, "y", TENSOR_OUTPUT, RDU_DT_F32, 3, all);
	r->z = module_tensor(m, "z", TENSOR_OUTPUT, RDU_DT_F32, 2, dim);
	r->s = module_tensor(m, "s", TENSOR_TEMP, RDU_DT_F32, 3, states);
	r->sum = module_tensor(m, "sum", TENSOR_TEMP, RDU_DT_F32, 2, dim);
	g = module_tensor(m, "g", TENSOR_TEMP, RDU_DT_F32, 2, dim);
	n = map(m, 0, "first", r->rows, r->width);
	output(n, r->s, input(n, r->h, 0), 0);
	n = map(m, 0, "zero", r->rows, r->width);
	output(n, r->sum, nest_imm_f(n, 0), 0);
	n = map(m, 0, "twice", r->rows, r->width);
	output(n, g, nest_op(n, RDU_SIMD_FADD, input(n, r->a, 0), input(n, r->a, 0), -1), 0);
	r->before = module_row(m, r->s, 0);
	r->after = module_row(m, r->s, 1);
	body(r, module_loop(&m->entries[0], "time", 0, r->trip), g);
	n = map(m, 0, "last", r->rows, r->width);
	output(n, r->z, nest_op(n, RDU_SIMD_FADD, input(n, r->s, r->trip), input(n, r->sum, 0), -1),
	       0);
}

static void start(struct recurrence *r, uint64_t from)
{
	seed = from * 7919 + 17;
	*r = (struct recurrence){ .trip = 1 + number(9),
				  .rows = 1 + number(20),
				  .width = 1 + number(40) };
	make(r);
}

/* ---- the interpreter against plain C --------------------------------------------- */

/* What the loop computes, in C. y and z are r->y's and r->z's. */
static void plain(const struct recurrence *r, float *const *data, float *y, float *z)
{
	int64_t size = r->rows * r->width;
	const float *x = data[r->x->id], *w = data[r->w->id];
	float *s = calloc((size_t)size, 4), *t = calloc((size_t)size, 4);
	float *sum = calloc((size_t)size, 4);

	memcpy(s, data[r->h->id], (size_t)size * 4);
	for (int64_t step = 0; step < r->trip; step++) {
		for (int64_t k = 0; k < size; k++) {
			double p = 0;

			for (int64_t j = 0; j < r->width; j++)
				p += (double)s[k / r->width * r->width + j] *
				     w[j * r->width + k % r->width];
			t[k] = (float)tanh(p + x[step * size + k] * 2.0 * data[r->a->id][k]);
			y[step * size + k] = t[k] * x[step * size + k];
			sum[k] += y[step * size + k];
		}
		memcpy(s, t, (size_t)size * 4);
	}
	for (int64_t k = 0; k < size; k++)
		z[k] = s[k] + sum[k];
	free(s);
	free(t);
	free(sum);
}

static float **numbers(const struct module *m)
{
	float **data = calloc((size_t)m->num_tensors, sizeof(*data));

	for (int i = 0; i < m->num_tensors; i++) {
		int64_t n = elements(m->tensors[i]);

		data[i] = calloc((size_t)n + 1, sizeof(float));
		for (int64_t k = 0; k < n; k++)
			data[i][k] = value();
	}
	return data;
}

static void free_numbers(const struct module *m, float **data)
{
	for (int i = 0; i < m->num_tensors; i++)
		free(data[i]);
	free(data);
}

static void test_plain(int from, int num)
{
	double w = 0;

	for (int c = from; c < from + num; c++) {
		struct recurrence r;
		float **data, *y, *z;
		char error[400] = "";

		start(&r, (uint64_t)c);
		data = numbers(r.m);
		y = calloc((size_t)elements(r.y), 4);
		z = calloc((size_t)elements(r.z), 4);
		plain(&r, data, y, z);
		if (module_check_loops(&r.m->entries[0], error, sizeof(error)))
			w = 1e9;
		module_entry_eval(&r.m->entries[0], (void **)data, false);
		w = fmax(w, worst(data[r.y->id], y, elements(r.y), 1));
		w = fmax(w, worst(data[r.z->id], z, elements(r.z), 1));
		free(y);
		free(z);
		free_numbers(r.m, data);
		module_free(r.m);
	}
	ok(w < 1e-5, "%d loops: the interpreter gives what a loop in C does (%g)", num, w);
}

/* ---- the card ---------------------------------------------------------------------- */

static void test_card(const char *chip_name, int from, int num, struct rdu_pool *pool)
{
	char text[700] = "", error[300];
	struct rdu_chip chip;
	int bad = -1;

	if (rdu_chip_find(chip_name, &chip, error, sizeof(error))) {
		ok(false, "%s: %s", chip_name, error);
		return;
	}
	for (int c = from; c < from + num && bad < 0; c++) {
		struct rduc_options opt = { .chip = &chip, .fp32 = c & 1, .hold = WHEN_POSSIBLE };
		struct recurrence r;

		start(&r, (uint64_t)c);
		if (!judge(r.m, opt, value, false, path, pool, text, sizeof(text)))
			bad = c;
		module_free(r.m);
	}
	ok(bad < 0, "%s: %d loops are right at every level", chip_name, num);
	if (bad >= 0)
		printf("# case %d: %s\n", bad, text);
}

/* ---- what is changed is seen --------------------------------------------------------- */

enum change { NOTHING, FEWER_STEPS, OTHER_ROW, MORE_STEPS, TWO_PIECES, OUTSIDE, NUM_CHANGES };

static void change_it(struct recurrence *r, enum change c)
{
	struct module_entry *e = &r->m->entries[0];

	if (c == FEWER_STEPS)
		e->loop[0].trip--;
	else if (c == OTHER_ROW)
		r->before->row = 1; /* what this iteration makes: not there yet */
	else if (c == MORE_STEPS)
		e->loop[0].trip++;
	else if (c == TWO_PIECES)
		e->nests[4]->loop = 0;
	else if (c == OUTSIDE)
		e->nests[6]->loop = 0;
}

static void test_changes(struct rdu_pool *pool)
{
	static const char *const words[] = {
		"nothing",	     "an iteration less",	  "another distance",
		"an iteration more", "a nest less in the middle", "a nest less at the end"
	};
	float want[800] = { 0 };
	struct rdu_chip chip;
	char error[512];

	rdu_chip_find("sn10", &chip, error, sizeof(error));
	for (int c = 0; c < NUM_CHANGES; c++) {
		struct rduc_options opt = { .chip = &chip, .opt = 1, .fp32 = true };
		struct recurrence r;
		struct ran ran;
		bool refused, same;

		start(&r, 3); /* several iterations */
		change_it(&r, (enum change)c);
		*error = 0;
		refused = rduc_backend(r.m, &opt, path, error, sizeof(error)) != 0;
		if (refused) {
			ok(c >= MORE_STEPS && *error, "%s: refused: %s", words[c], error);
			module_free(r.m);
			continue;
		}
		ran_open(&ran, path);
		seed = 99;
		for (int i = 0; i < r.m->num_tensors; i++) {
			const struct tensor *t = r.m->tensors[i];

			for (int64_t k = 0; t->kind == TENSOR_INPUT && k < elements(t); k++)
				((float *)ran_symbol(&ran, t->name))[k] = value();
		}
		memset(ran_symbol(&ran, "y"), 0, (size_t)elements(r.y) * 4);
		if (ran_entry(&ran, 0, pool, true, error, sizeof(error)))
			ok(false, "%s: %s", words[c], error);
		if (!c)
			memcpy(want, ran_symbol(&ran, "z"), (size_t)elements(r.z) * 4);
		same = !memcmp(want, ran_symbol(&ran, "z"), (size_t)elements(r.z) * 4);
		ok(c < MORE_STEPS && same == !c, "%s: %s result", words[c],
		   c ? "another" : "the same");
		ran_close(&ran);
		module_free(r.m);
	}
}

/* ---- what loops read is held -------------------------------------------------------- */

/* All the weights in memory are something else from now on. */
static void spoil(struct ran *r)
{
	for (size_t i = 0; i < r->num_symbols; i++)
		if (!strcmp(r->symbol[i].name, "w"))
			memset(ran_symbol(r, "w"), 0x40,
			       (size_t)(r->symbol[i].dims[0] * r->symbol[i].dims[1]) * 4);
}

/* A run of a loop: its y, then what another tensor became, and the bytes that crossed memory. */
struct result {
	float *v;
	int64_t num;
	uint64_t bytes;
};

/* Inputs, and weights and states without values of their own, are drawn. */
static struct result run_loop(struct module *m, const struct tensor *y, const struct tensor *other,
			      struct rduc_options opt, bool at_start,
			      void (*at_loop)(struct ran *r), struct rdu_pool *pool, char *error,
			      size_t error_size)
{
	int64_t ny = elements(y), no = elements(other);
	struct result to = { .v = calloc((size_t)(ny + no), 4), .num = ny + no };
	struct ran ran;

	if (rduc_backend(m, &opt, path, error, (int)error_size) || ran_open(&ran, path))
		return to;
	*error = 0; /* the back half tries things out */
	seed = 41;
	for (int i = 0; i < m->num_tensors; i++) {
		const struct tensor *t = m->tensors[i];
		bool drawn = t->kind < TENSOR_TEMP && t->kind != TENSOR_OUTPUT && !t->data;

		for (int64_t k = 0; drawn && k < elements(t); k++)
			((float *)ran_symbol(&ran, t->name))[k] = value() / 8;
	}
	if (at_start)
		spoil(&ran);
	ran.at_loop = at_loop;
	if (!ran_entry(&ran, 0, pool, true, error, error_size)) {
		memcpy(to.v, ran_symbol(&ran, y->name), (size_t)ny * 4);
		memcpy(to.v + ny, ran_symbol(&ran, other->name), (size_t)no * 4);
	}
	to.bytes = ran.dram_bytes;
	ran_close(&ran);
	return to;
}

/* Same bits as from memory, but fewer bytes of it: the loop finds the weights in scratchpads, and
 * they are those that were in memory when it began. */
static void test_held(const struct rdu_chip *chip, int level, bool fp32, int64_t rows,
		      int64_t width, struct rdu_pool *pool)
{
	struct rduc_options plain = {
		.chip = chip, .opt = level, .fp32 = fp32, .hold = WHEN_NEVER
	};
	struct rduc_options held = plain;
	struct recurrence r = { .trip = 9, .rows = rows, .width = width };
	struct result want, got, spoilt_plain, spoilt_held, spoilt_first;
	char error[512] = "";
	size_t size;

	held.hold = WHEN_POSSIBLE;
	make(&r);
	want = run_loop(r.m, r.y, r.z, plain, false, NULL, pool, error, sizeof(error));
	got = run_loop(r.m, r.y, r.z, held, false, NULL, pool, error, sizeof(error));
	spoilt_plain = run_loop(r.m, r.y, r.z, plain, false, spoil, pool, error, sizeof(error));
	spoilt_held = run_loop(r.m, r.y, r.z, held, false, spoil, pool, error, sizeof(error));
	spoilt_first = run_loop(r.m, r.y, r.z, held, true, NULL, pool, error, sizeof(error));
	size = (size_t)want.num * 4;
	ok(!*error && !memcmp(want.v, got.v, size), "%s, -O%d, %s, %lld x %lld: the same bits %s",
	   chip->name, level, fp32 ? "fp32" : "bf16", (long long)rows, (long long)width, error);
	ok(got.bytes + (uint64_t)(7 * width * width) * 4 < want.bytes,
	   "  weights are loaded once: %llu bytes over memory instead of %llu",
	   (unsigned long long)got.bytes, (unsigned long long)want.bytes);
	ok(memcmp(want.v, spoilt_plain.v, size), "  other weights in memory: another result");
	ok(!memcmp(want.v, spoilt_held.v, size), "  while they are held: the same");
	ok(memcmp(want.v, spoilt_first.v, size), "  when they are fetched: another");
	free(want.v);
	free(got.v);
	free(spoilt_plain.v);
	free(spoilt_held.v);
	free(spoilt_first.v);
	module_free(r.m);
}

/* What is made in front of a loop and read in it need not be in memory: only states are, and sums. */
static void test_made_in_front(const struct rdu_chip *chip)
{
	struct rduc_options opt = { .chip = chip, .opt = 1, .hold = WHEN_NEVER };
	struct recurrence r = { .trip = 9, .rows = 20, .width = 96 };
	uint64_t size = 0, want;
	char error[512] = "";
	struct ran ran;

	make(&r);
	want = (uint64_t)(elements(r.s) + elements(r.sum)) * 4;
	if (rduc_backend(r.m, &opt, path, error, sizeof(error)) || ran_open(&ran, path)) {
		ok(false, "%s", error);
		return;
	}
	for (size_t i = 0; i < ran.num_regions; i++)
		if (ran.region[i].kind == RDU_REGION_TEMP)
			size = ran.region[i].size;
	ok(size == want, "temporaries take %llu bytes of memory (%llu without what is resident)",
	   (unsigned long long)size, (unsigned long long)want);
	ran_close(&ran);
	module_free(r.m);
}

/* ---- what loops change in place is carried -------------------------------------------- */

/* y[t] = x[t] w, and then w = w / 2 + a, `trip` times. */
struct carrying {
	int64_t trip, rows, width;
	struct module *m;
	struct tensor *x, *a, *w, *y;
};

static void make_carrying(struct carrying *r)
{
	struct module *m = r->m = module_new("carry");
	int64_t all[3] = { r->trip, r->rows, r->width }, square[2] = { r->width, r->width };
	struct tensor *xt, *yt, *more;
	struct nest *n;
	int loop, k, a, b;

	module_entry(m, "forward");
	r->x = module_tensor(m, "x", TENSOR_INPUT, RDU_DT_F32, 3, all);
	r->a = module_tensor(m, "a", TENSOR_INPUT, RDU_DT_F32, 2, square);
	r->w = module_tensor(m, "w", TENSOR_STATE, RDU_DT_F32, 2, square);
	r->y = module_tensor(m, "y", TENSOR_OUTPUT, RDU_DT_F32, 3, all);
	xt = module_row(m, r->x, 0);
	yt = module_row(m, r->y, 0);
	loop = module_loop(&m->entries[0], "steps", 0, r->trip);
	n = map(m, loop, "product", r->rows, r->width);
	k = nest_dim(n, "k", r->width, true);
	a = nest_input(n, xt);
	b = nest_input(n, r->w);
	n->in[a].coef[0][0] = n->in[a].coef[1][k] = 1;
	n->in[b].coef[0][k] = n->in[b].coef[1][1] = 1;
	n->reduce = REDUCE_ADD;
	n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, a), nest_in(n, b), -1);
	output(n, yt, nest_red(n), 0);
	more = module_tensor(m, "more", TENSOR_TEMP, RDU_DT_F32, 2, square);
	more->update_of = r->w;
	n = map(m, loop, "update", r->width, r->width);
	a = nest_op(n, RDU_SIMD_FMUL, input(n, r->w, 0), nest_imm_f(n, 0.5f), -1);
	output(n, more, nest_op(n, RDU_SIMD_FADD, a, input(n, r->a, 0), -1), 0);
}

/* The same as from memory, in the results and in what is there afterwards; in the loop, memory is
 * neither read nor written. */
static void test_carried(const struct rdu_chip *chip, int level, bool fp32, int64_t rows,
			 int64_t width, struct rdu_pool *pool)
{
	struct rduc_options plain = {
		.chip = chip, .opt = level, .fp32 = fp32, .hold = WHEN_NEVER
	};
	struct rduc_options carried = plain;
	struct carrying r = { .trip = 9, .rows = rows, .width = width };
	struct result want, got, spoilt_plain, spoilt_carried;
	char error[512] = "";
	size_t size;

	carried.hold = WHEN_POSSIBLE;
	make_carrying(&r);
	want = run_loop(r.m, r.y, r.w, plain, false, NULL, pool, error, sizeof(error));
	got = run_loop(r.m, r.y, r.w, carried, false, NULL, pool, error, sizeof(error));
	spoilt_plain = run_loop(r.m, r.y, r.w, plain, false, spoil, pool, error, sizeof(error));
	spoilt_carried = run_loop(r.m, r.y, r.w, carried, false, spoil, pool, error, sizeof(error));
	size = (size_t)want.num * 4;
	ok(!*error && worst(want.v, got.v, want.num, 1) < 1e-5,
	   "%s, -O%d, %s, %lld x %lld: carried: the same results %s", chip->name, level,
	   fp32 ? "fp32" : "bf16", (long long)rows, (long long)width, error);
	ok(got.bytes + (uint64_t)(2 * 8 * width * width) * 4 <= want.bytes,
	   "  loaded and stored once: %llu bytes over memory instead of %llu",
	   (unsigned long long)got.bytes, (unsigned long long)want.bytes);
	ok(memcmp(want.v, spoilt_plain.v, size), "  other numbers in memory: another result");
	ok(!memcmp(got.v, spoilt_carried.v, size),
	   "  while they are carried: the same bits, and stored in the end");
	free(want.v);
	free(got.v);
	free(spoilt_plain.v);
	free(spoilt_carried.v);
	module_free(r.m);
}

/* What changes only in part stays in memory. What is also read in front of the loop is there. */
static void test_other_uses(const struct rdu_chip *chip, struct rdu_pool *pool)
{
	static const char *const words[] = { "changed in part", "read in front of the loop" };

	for (int c = 0; c < 2; c++) {
		struct carrying r = { .trip = 4, .rows = 3, .width = 64 };
		struct rduc_options opt = { .chip = chip, .fp32 = true, .hold = WHEN_POSSIBLE };
		struct nest *n, *copy;
		char text[700] = "";

		make_carrying(&r);
		n = r.m->entries[0].nests[1];
		if (c) {
			copy = map(r.m, 0, "copy", r.width, r.width);
			output(copy,
			       module_tensor(r.m, "z", TENSOR_OUTPUT, RDU_DT_F32, 2, r.w->dim),
			       input(copy, r.w, 0), 0);
			memmove(&r.m->entries[0].nests[1], r.m->entries[0].nests, 2 * sizeof(n));
			r.m->entries[0].nests[0] = copy;
		} else {
			n->dim[0].extent = 40;
		}
		ok(judge(r.m, opt, value, false, path, pool, text, sizeof(text)), "%s: right %s",
		   words[c], text);
		module_free(r.m);
	}
}

static void test_all_carried(struct rdu_pool *pool)
{
	static const char *const chips[] = { "sn10", "plasticine", "tests/chips/tiny8.chip",
					     "tests/chips/cut4k.chip" };
	struct rdu_chip chip;
	char error[300];

	for (size_t i = 0; i < sizeof(chips) / sizeof(chips[0]); i++) {
		char text[700] = "";
		bool good = true;

		if (rdu_chip_find(chips[i], &chip, error, sizeof(error))) {
			ok(false, "%s", error);
			continue;
		}
		if (i < 2) {
			test_carried(&chip, 3, false, 20, 96, pool);
			test_carried(&chip, 3, true, 3, 160, pool);
			test_carried(&chip, 1, !!i, 5, 96, pool);
			test_other_uses(&chip, pool);
		}
		for (int c = 0; c < 4 && good; c++) {
			struct rduc_options opt = { .chip = &chip,
						    .fp32 = c & 1,
						    .hold = WHEN_POSSIBLE };
			struct carrying r = { .trip = 2 + number(4),
					      .rows = 1 + number(20),
					      .width = 33 + number(70) };

			make_carrying(&r);
			good = judge(r.m, opt, value, false, path, pool, text, sizeof(text));
			module_free(r.m);
		}
		ok(good, "%s: loops that carry are right at every level %s", chips[i], text);
	}
}

static void test_all_held(struct rdu_pool *pool)
{
	struct rdu_chip chip, small;
	char error[300];

	if (rdu_chip_find("sn10", &chip, error, sizeof(error)) ||
	    rdu_chip_find("plasticine", &small, error, sizeof(error))) {
		ok(false, "%s", error);
		return;
	}
	for (int fp32 = 0; fp32 < 2; fp32++)
		for (int64_t rows = 1; rows < 30; rows += 19)
			test_held(&chip, 3, fp32, rows, 96, pool);
	test_held(&chip, 3, true, 1, 1024, pool); /* sums in several parts */
	test_held(&chip, 1, false, 5, 96, pool);
	test_held(&small, 3, true, 3, 96, pool);
	test_made_in_front(&chip);
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
	test_changes(pool);
	test_all_held(pool);
	test_all_carried(pool);
	rdu_pool_free(pool);
	unlink(path);
	return tap_done();
}
