// SPDX-License-Identifier: MIT
/*
 * Temporaries and constants that memory holds as bf16: those that only arrays read, at last; with the
 * same bits as without, in fewer bytes, and the caller's tensors are what they were.
 */
#include "mem.h"
#include "nest.h"
#include "rduc_back_run.h"

#define ROWS 16
#define COLS 4096

struct wish {
	const char *what, *narrow; /* names of those that are to be bf16, in order */
	const char *chip;
	bool fp32; /* of contractions */
	float least; /* the largest of two neighbours, and of this */
	bool differ; /* neighbours are subtracted, too */
	bool adds; /* the first product is added to what is there */
	bool constant; /* the first factor is part of the program */
	bool apart; /* sums(), in place of all that */
	enum {
		BY_NOTHING,
		BY_INDEX,
		BY_SIGN
	} picks; /* one of two neighbours, in place of the largest */
};

static const struct wish wishes[] = {
	{ .what = "what arrays read, and what that is chosen from",
	  .narrow = "tu",
	  .chip = "wide64" },
	{ .what = "the same on a chip that keeps it in scratchpads",
	  .narrow = "tu",
	  .chip = "sn10" },
	{ .what = "chosen from a number that is no bf16",
	  .narrow = "u",
	  .chip = "wide64",
	  .least = 0.1f },
	{ .what = "one more reader", .narrow = "u", .chip = "wide64", .differ = true },
	{ .what = "sums that are added to", .narrow = "u", .chip = "wide64", .adds = true },
	{ .what = "a constant", .narrow = "tua", .chip = "wide64", .constant = true },
	{ .what = "a constant in fp32",
	  .narrow = "",
	  .chip = "wide64",
	  .fp32 = true,
	  .constant = true },
	{ .what = "one of two, by an index", .narrow = "tu", .chip = "wide64", .picks = BY_INDEX },
	{ .what = "one of two, by its own sign",
	  .narrow = "u",
	  .chip = "wide64",
	  .picks = BY_SIGN },
	{ .what = "what the nest that makes it reads, too, when it is taken apart",
	  .narrow = "v",
	  .chip = "sn10",
	  .apart = true },
	{ .what = "contractions in fp32", .narrow = "", .chip = "wide64", .fp32 = true },
	{ .what = "a chip without arrays", .narrow = "", .chip = "tests/chips/cut4k.chip" },
};

static struct tensor *matrix(struct module *m, const char *name, enum tensor_kind kind,
			     int64_t rows, int64_t cols)
{
	int64_t dim[] = { rows, cols };

	return module_tensor(m, name, kind, RDU_DT_F32, 2, dim);
}

/* y = a x */
static struct nest *product(struct module *m, struct tensor *a, struct tensor *x, struct tensor *y)
{
	struct nest *n = module_nest(m, &m->entries[0], y->name, "product");
	int i = nest_dim(n, "i", y->dim[0], false), j = nest_dim(n, "j", y->dim[1], false);
	int k = nest_dim(n, "k", x->dim[0], true), in[2] = { nest_input(n, a), nest_input(n, x) },
	    out;

	n->in[in[0]].coef[0][i] = n->in[in[0]].coef[1][k] = 1;
	n->in[in[1]].coef[0][k] = n->in[in[1]].coef[1][j] = 1;
	n->reduce = REDUCE_ADD;
	n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, in[0]), nest_in(n, in[1]), -1);
	out = nest_output(n, y, nest_red(n));
	n->out[out].access.coef[0][i] = n->out[out].access.coef[1][j] = 1;
	return n;
}

/* Neighbours in a row of t, joined. */
static void pairs(struct module *m, struct tensor *t, struct tensor *y, enum rdu_simd_op op,
		  const struct wish *w)
{
	struct nest *n = module_nest(m, &m->entries[0], y->name, "pairs");
	int i = nest_dim(n, "i", y->dim[0], false), j = nest_dim(n, "j", y->dim[1], false), in[2],
	    out, e;

	for (int k = 0; k < 2; k++) {
		in[k] = nest_input(n, t);
		n->in[in[k]].coef[0][i] = 1;
		n->in[in[k]].coef[1][j] = 2;
		n->in[in[k]].offset[1] = k;
	}
	e = nest_op(n, op, nest_in(n, in[0]), nest_in(n, in[1]), -1);
	if (op == RDU_SIMD_FMAX && w->picks) {
		e = w->picks == BY_INDEX
			    ? nest_op(n, RDU_SIMD_AND, nest_index(n, j), nest_imm_i(n, 1), -1)
			    : nest_op(n, RDU_SIMD_FLT, nest_in(n, in[0]), nest_imm_f(n, 0), -1);
		e = nest_op(n, RDU_SIMD_SELECT, e, nest_in(n, in[0]), nest_in(n, in[1]));
	} else if (op == RDU_SIMD_FMAX) {
		e = nest_op(n, op, e, nest_imm_f(n, w->least), -1);
	}
	out = nest_output(n, y, e);
	n->out[out].access.coef[0][i] = n->out[out].access.coef[1][j] = 1;
}

static float number(int64_t i)
{
	return (float)(i * 7919 % 4001 - 2000) / 1000;
}

static void at_row(struct access *a, int i, int j)
{
	a->coef[0][i] = a->coef[1][j] = 1;
}

/* v = the sum of three rows of x, y = tanh(h + tanh(h) + v), q = v w. The first two become one nest, which no section
 * can be made of: it is taken apart again, when v is bf16 already. */
static void sums(struct module *m)
{
	struct tensor *x = matrix(m, "x", TENSOR_INPUT, 3 * ROWS, COLS / 2);
	struct tensor *h = matrix(m, "h", TENSOR_INPUT, ROWS, COLS / 2);
	struct tensor *v = matrix(m, "v", TENSOR_TEMP, ROWS, COLS / 2);
	struct nest *n = module_nest(m, &m->entries[0], "v", "sum");
	int i = nest_dim(n, "i", ROWS, false), j = nest_dim(n, "j", COLS / 2, false);
	int k = nest_dim(n, "k", 3, true), in = nest_input(n, x), e;

	at_row(&n->in[in], i, j);
	n->in[in].coef[0][k] = ROWS;
	n->reduce = REDUCE_ADD;
	n->body = nest_in(n, in);
	at_row(&n->out[nest_output(n, v, nest_red(n))].access, i, j);
	n = module_nest(m, &m->entries[0], "y", "map");
	i = nest_dim(n, "i", ROWS, false);
	j = nest_dim(n, "j", COLS / 2, false);
	at_row(&n->in[nest_input(n, h)], i, j);
	at_row(&n->in[nest_input(n, v)], i, j);
	e = nest_op(n, RDU_SIMD_TANH, nest_in(n, 0), -1, -1);
	e = nest_op(n, RDU_SIMD_FADD, nest_in(n, 0), e, -1);
	e = nest_op(n, RDU_SIMD_FADD, e, nest_in(n, 1), -1);
	e = nest_op(n, RDU_SIMD_TANH, e, -1, -1);
	at_row(&n->out[nest_output(n, matrix(m, "y", TENSOR_OUTPUT, ROWS, COLS / 2), e)].access, i,
	       j);
	product(m, v, matrix(m, "w", TENSOR_INPUT, COLS / 2, ROWS),
		matrix(m, "q", TENSOR_OUTPUT, ROWS, ROWS));
}

static struct module *make(const struct wish *w)
{
	struct module *m = module_new("test");
	struct tensor *t, *u, *a;

	module_entry(m, "forward");
	if (w->apart) {
		sums(m);
		return m;
	}
	t = matrix(m, "t", TENSOR_TEMP, ROWS, COLS);
	u = matrix(m, "u", TENSOR_TEMP, ROWS, COLS / 2);
	if (w->adds) {
		struct nest *n = module_nest(m, &m->entries[0], "zero", "zero");
		int i = nest_dim(n, "i", ROWS, false), j = nest_dim(n, "j", COLS, false);
		int out = nest_output(n, t, nest_imm_f(n, 0.0625f));

		n->out[out].access.coef[0][i] = n->out[out].access.coef[1][j] = 1;
	}
	a = matrix(m, "a", w->constant ? TENSOR_WEIGHT : TENSOR_INPUT, ROWS, ROWS);
	a->constant = w->constant;
	if (w->constant)
		a->data = shared_new(ROWS * ROWS * sizeof(float));
	for (int64_t i = 0; i < ROWS * ROWS && a->data; i++)
		((float *)a->data)[i] = number(i);
	product(m, a, matrix(m, "x", TENSOR_INPUT, ROWS, COLS), t)->out[0].add = w->adds;
	pairs(m, t, u, RDU_SIMD_FMAX, w);
	if (w->differ)
		pairs(m, t, matrix(m, "z", TENSOR_OUTPUT, ROWS, COLS / 2), RDU_SIMD_FSUB, w);
	product(m, matrix(m, "b", TENSOR_INPUT, ROWS, ROWS), u,
		matrix(m, "y", TENSOR_OUTPUT, ROWS, COLS / 2));
	return m;
}

/* Compiles, runs, and leaves y's bits, the bytes of memory, and who was said to be narrow. */
static bool compiled(const struct wish *w, int level, const char *path, uint32_t *y,
		     uint64_t *bytes, char *narrow, char *text, size_t size)
{
	struct module *m = make(w);
	struct rdu_chip chip;
	char file[64], *log = NULL;
	struct rduc_options opt = { .chip = &chip,
				    .opt = level,
				    .fp32 = w->fp32,
				    .pipe = WHEN_NEVER,
				    .print_after = "narrow" };
	size_t logged;
	struct ran r;
	bool good;

	snprintf(file, sizeof(file), strcmp(w->chip, "wide64") ? "%s" : "tests/chips/%s.chip",
		 w->chip);
	good = !rdu_chip_find(file, &chip, text, size);
	opt.log = open_memstream(&log, &logged);
	good = good && !rduc_backend(m, &opt, path, text, (int)size) && !ran_open(&r, path);
	fclose(opt.log);
	*narrow = 0;
	for (const char *p = log; (p = strstr(p, "narrow: ")); p += 8)
		strncat(narrow, p + 8, 1);
	for (int i = 0; good && i < m->num_tensors; i++) {
		struct tensor *t = m->tensors[i];
		float *in = t->kind == TENSOR_INPUT ? ran_symbol(&r, t->name) : NULL;

		good = t->dtype == RDU_DT_F32 && !t->narrow && !t->unrounded;
		for (int64_t k = 0; t->data && k < t->dim[0] * t->dim[1]; k++)
			good = good && ((float *)t->data)[k] == number(k);
		for (int64_t k = 0; in && k < t->dim[0] * t->dim[1]; k++)
			in[k] = number(k);
	}
	if (good) {
		good = !ran_entry(&r, 0, NULL, true, text, size);
		*bytes = r.dram_bytes;
		memcpy(y, ran_symbol(&r, "y"), sizeof(*y) * ROWS * COLS / 2);
		ran_close(&r);
	}
	if (good)
		*text = 0; /* what was tried in vain */
	free(log);
	module_free(m);
	return good;
}

int main(void)
{
	static uint32_t want[ROWS * COLS / 2], got[ROWS * COLS / 2];
	static const int levels[] = { 1, 3 };
	char path[] = "/tmp/rduc-narrow-XXXXXX";
	int fd = mkstemp(path), num = 0, bad = 0;

	if (fd < 0)
		return 1;
	close(fd);
	for (size_t c = 0; c < sizeof(wishes) / sizeof(wishes[0]); c++) {
		const struct wish *w = &wishes[c];
		char text[400] = "", narrow[16];
		uint64_t plain, bytes;
		bool good =
			compiled(w, 0, path, want, &plain, narrow, text, sizeof(text)) && !*narrow;

		for (int l = 0; l < 2; l++) {
			if (good &&
			    !compiled(w, levels[l], path, got, &bytes, narrow, text, sizeof(text)))
				good = false;
			if (good && strcmp(narrow, w->narrow)) {
				snprintf(text, sizeof(text), "'%s', not '%s'", narrow, w->narrow);
				good = false;
			} else if (good && memcmp(got, want, sizeof(got))) {
				snprintf(text, sizeof(text), "other bits than at -O0");
				good = false;
			} else if (good && !strcmp(narrow, "tu") && bytes * 10 > plain * 7) {
				snprintf(text, sizeof(text), "%llu bytes, %llu at -O0",
					 (unsigned long long)bytes, (unsigned long long)plain);
				good = false;
			}
			printf("%sok %d - %s, -O%d%s%s\n", good ? "" : "not ", ++num, w->what,
			       levels[l], *text ? ": " : "", text);
			bad += !good;
		}
	}
	unlink(path);
	printf("1..%d\n", num);
	return bad != 0;
}
