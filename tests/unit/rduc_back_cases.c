// SPDX-License-Identifier: MIT
/*
 * Small nests that once came out wrong, or were refused: compiled at every level for
 * some chips, run, and compared with the plain interpreter.
 */
#include "nest.h"
#include "rduc_back_run.h"

static int num_tests, num_bad;

static void result(bool good, const char *what, const char *chip, int level, const char *text)
{
	printf("%sok %d - %s, %s, -O%d%s%s\n", good ? "" : "not ", ++num_tests, what, chip, level,
	       *text ? ": " : "", text);
	fflush(stdout);
	num_bad += !good;
}

/* A map of x [n] to y [n]; the caller adds what is computed between the two calls. */
static struct nest *map_begin(struct module *m, int64_t n, int *x)
{
	struct nest *nest = module_nest(m, module_entry(m, "forward"), "map", "test");
	int in;

	nest_dim(nest, "i", n, false);
	in = nest_input(nest, module_tensor(m, "x", TENSOR_INPUT, RDU_DT_F32, 1, &n));
	nest->in[in].coef[0][0] = 1;
	*x = nest_in(nest, in);
	return nest;
}

static void map_end(struct module *m, struct nest *nest, int expr)
{
	int64_t n = nest->dim[0].extent;
	int out = nest_output(nest, module_tensor(m, "y", TENSOR_OUTPUT, RDU_DT_F32, 1, &n), expr);

	nest->out[out].access.coef[0][0] = 1;
}

/* 1.5 is an operand of FLOOR, which only a tail has and which takes it from a register,
 * and of FMUL behind LOG, which must take it as a number. */
static void imm_twice(struct module *m)
{
	int x, y, z;
	struct nest *n = map_begin(m, 48, &x);

	y = nest_op(n, RDU_SIMD_FLOOR, nest_imm_f(n, 1.5f), -1, -1);
	z = nest_op(n, RDU_SIMD_FMUL, nest_imm_f(n, 1.5f),
		    nest_op(n, RDU_SIMD_LOG, nest_op(n, RDU_SIMD_FABS, x, -1, -1), -1, -1), -1);
	map_end(m, n, nest_op(n, RDU_SIMD_FADD, y, z, -1));
}

/* y = 256 t of t = x + 1/10, which is stored in bf16: t is rounded, also if it is never
 * stored because the two became one. */
static void bf16_between(struct module *m)
{
	int64_t dim = 48;
	struct tensor *t;
	struct nest *n;
	int x, in, out;

	n = map_begin(m, dim, &x);
	t = module_tensor(m, "t", TENSOR_TEMP, RDU_DT_BF16, 1, &dim);
	out = nest_output(n, t, nest_op(n, RDU_SIMD_FADD, x, nest_imm_f(n, 0.1f), -1));
	n->out[out].access.coef[0][0] = 1;
	n = module_nest(m, &m->entries[0], "second", "test");
	nest_dim(n, "i", dim, false);
	in = nest_input(n, t);
	n->in[in].coef[0][0] = 1;
	map_end(m, n, nest_op(n, RDU_SIMD_FMUL, nest_in(n, in), nest_imm_f(n, 256), -1));
}

/* x times 200 as bytes: element i of t is that of x[i]. */
static struct tensor *to_bytes(struct module *m, struct tensor *x, enum rdu_dtype type, int64_t num)
{
	struct tensor *t =
		module_tensor(m, type == RDU_DT_U8 ? "u8" : "i8", TENSOR_TEMP, type, 1, &num);
	struct module_entry *entry = m->num_entries ? &m->entries[0] : module_entry(m, "forward");
	struct nest *n = module_nest(m, entry, t->name, "test");
	int in, out, e, low = type == RDU_DT_U8 ? 0 : -128;

	nest_dim(n, "i", num, false);
	in = nest_input(n, x);
	n->in[in].coef[0][0] = 1;
	e = nest_op(n, RDU_SIMD_FMUL, nest_in(n, in), nest_imm_f(n, 200), -1);
	e = nest_op(n, RDU_SIMD_F2I, e, -1, -1);
	e = nest_op(n, RDU_SIMD_IMAX, e, nest_imm_i(n, low), -1);
	e = nest_op(n, RDU_SIMD_IMIN, e, nest_imm_i(n, low + 255), -1);
	out = nest_output(n, t, e);
	n->out[out].access.coef[0][0] = 1;
	return t;
}

/* y[i] = sum of u[i + k - 2] w[k], u being 3 beside its ends: a contraction of bytes between maps. */
static void bytes_between(struct module *m)
{
	int64_t num = 90, taps = 5;
	struct tensor *x = module_tensor(m, "x", TENSOR_INPUT, RDU_DT_F32, 1, &num);
	struct tensor *u = to_bytes(m, x, RDU_DT_U8, num), *w = to_bytes(m, x, RDU_DT_I8, taps);
	struct nest *n = module_nest(m, &m->entries[0], "products", "test");
	int i = nest_dim(n, "i", num, false), k = nest_dim(n, "k", taps, true);

	nest_input(n, u);
	n->in[0].coef[0][i] = n->in[0].coef[0][k] = 1;
	n->in[0].offset[0] = -2;
	n->in[0].guarded = true;
	n->in[0].pad = 3;
	nest_input(n, w);
	n->in[1].coef[0][k] = 1;
	n->reduce = REDUCE_IADD;
	n->body = nest_op(n, RDU_SIMD_IMUL, nest_in(n, 0), nest_in(n, 1), -1);
	map_end(m, n, nest_op(n, RDU_SIMD_I2F, nest_red(n), -1, -1));
}

/* Words of 16 weights of two bits: int8 of t, held to -1 and 1. */
static struct tensor *to_ternary(struct module *m, struct tensor *t, int64_t num)
{
	int64_t words = (num + 15) / 16;
	struct tensor *w = module_tensor(m, "words", TENSOR_TEMP, RDU_DT_I32, 1, &words);
	struct nest *n = module_nest(m, &m->entries[0], "pack", "test");
	int j = nest_dim(n, "j", words, false), i = nest_dim(n, "i", 16, true), e;

	nest_input(n, t);
	n->in[0].coef[0][j] = 16;
	n->in[0].coef[0][i] = 1;
	n->in[0].guarded = true;
	e = nest_op(n, RDU_SIMD_IMIN, nest_in(n, 0), nest_imm_i(n, 1), -1);
	e = nest_op(n, RDU_SIMD_IMAX, e, nest_imm_i(n, -1), -1);
	e = nest_op(n, RDU_SIMD_AND, e, nest_imm_i(n, 3), -1);
	n->reduce = REDUCE_IADD;
	n->body = nest_op(n, RDU_SIMD_SHL, e,
			  nest_op(n, RDU_SIMD_IMUL, nest_index(n, i), nest_imm_i(n, 2), -1), -1);
	nest_output(n, w, nest_red(n));
	n->out[0].access.coef[0][j] = 1;
	return w;
}

/* The same with ternary weights, packed by a nest: 16 to a word, the last of them beyond the end. */
static void ternary_between(struct module *m)
{
	int64_t num = 90, taps = 43;
	struct tensor *x = module_tensor(m, "x", TENSOR_INPUT, RDU_DT_F32, 1, &num);
	struct tensor *u = to_bytes(m, x, RDU_DT_U8, num);
	struct tensor *w = to_ternary(m, to_bytes(m, x, RDU_DT_I8, taps), taps);
	struct nest *n = module_nest(m, &m->entries[0], "products", "test");
	int i = nest_dim(n, "i", num, false), k = nest_dim(n, "k", w->dim[0], true);
	int place = nest_dim(n, "place", 16, true);

	nest_input(n, u);
	n->in[0].coef[0][i] = n->in[0].coef[0][place] = 1;
	n->in[0].coef[0][k] = 16;
	n->in[0].offset[0] = -2;
	n->in[0].guarded = true;
	n->in[0].pad = 3;
	nest_input(n, w);
	n->in[1].coef[0][k] = 1;
	n->reduce = REDUCE_IADD;
	n->body = nest_op(n, RDU_SIMD_IMUL, nest_in(n, 0), nest_ternary(n, 1, place), -1);
	map_end(m, n, nest_op(n, RDU_SIMD_I2F, nest_red(n), -1, -1));
}

/* h[t, j] = f h[t - 1, j] + x[t, j], f = u / 4 of another nest, and y = 2 h of a third one. last: t is what lies side by
 * side in memory; backwards: from the end. */
static void carried(struct module *m, int64_t steps, int64_t num, bool last, bool backwards)
{
	int64_t dim[] = { last ? num : steps, last ? steps : num };
	struct tensor *u = module_tensor(m, "u", TENSOR_INPUT, RDU_DT_F32, 2, dim);
	struct tensor *x = module_tensor(m, "x", TENSOR_INPUT, RDU_DT_F32, 2, dim);
	struct tensor *f = module_tensor(m, "f", TENSOR_TEMP, RDU_DT_F32, 2, dim);
	struct tensor *h = module_tensor(m, "h", TENSOR_TEMP, RDU_DT_F32, 2, dim);
	struct tensor *y = module_tensor(m, "y", TENSOR_OUTPUT, RDU_DT_F32, 2, dim);
	struct module_entry *e = module_entry(m, "forward");

	for (int k = 0; k < 3; k++) {
		struct nest *n = module_nest(m, e, k == 1 ? "carried" : "map", "test");
		int t, j, r;

		t = nest_dim(n, "t", steps, false);
		j = nest_dim(n, "j", num, false);
		nest_input(n, k == 0 ? u : k == 1 ? f : h);
		if (k == 1)
			nest_input(n, x);
		r = nest_in(n, 0);
		r = k == 1 ? nest_carry(n, r, nest_in(n, 1), t)
			   : nest_op(n, RDU_SIMD_FMUL, r, nest_imm_f(n, k ? 2 : 0.25f), -1);
		nest_output(n, k == 0 ? f : k == 1 ? h : y, r);
		for (int i = 0; i < n->num_in + 1; i++) {
			struct access *a = i < n->num_in ? &n->in[i] : &n->out[0].access;

			a->coef[last][t] = i < n->num_in && k == 1 && backwards ? -1 : 1;
			a->offset[last] = a->coef[last][t] < 0 ? (int32_t)steps - 1 : 0;
			a->coef[!last][j] = 1;
		}
	}
}

static void carried_rows(struct module *m)
{
	carried(m, 37, 70, false, false);
}

static void carried_in_rows(struct module *m)
{
	carried(m, 70, 37, true, false);
}

static void carried_backwards(struct module *m)
{
	carried(m, 37, 70, false, true);
}

static void carried_alone(struct module *m)
{
	carried(m, 100, 1, false, false);
}

static void carried_far(struct module *m)
{
	carried(m, 9000, 18, false, false);
}

/* y = 2 t of t[a, b] = x / 4, and z[i] = the largest of t[i - before] to t[i + after] of t[a * b], -1 beyond its ends; of
 * `side` such tensors side by side. by_rows: i goes over a and b. */
static void seen_as_row(struct module *m, int64_t a, int64_t b, int64_t side, int before, int after,
			bool by_rows)
{
	int64_t dim[] = { a, b, side }, flat[] = { a * b, side };
	struct tensor *x = module_tensor(m, "x", TENSOR_INPUT, RDU_DT_F32, 3, dim);
	struct tensor *t = module_tensor(m, "t", TENSOR_TEMP, RDU_DT_F32, 3, dim);
	struct tensor *row = module_tensor(m, "row", TENSOR_TEMP, RDU_DT_F32, 2, flat);
	struct tensor *y = module_tensor(m, "y", TENSOR_OUTPUT, RDU_DT_F32, 3, dim);
	struct tensor *z = module_tensor(m, "z", TENSOR_OUTPUT, RDU_DT_F32, by_rows ? 3 : 2,
					 by_rows ? dim : flat);
	struct module_entry *e = module_entry(m, "forward");
	struct nest *n;
	int i, k, s;

	row->view_of = t;
	for (int q = 0; q < 2; q++) {
		n = module_nest(m, e, q ? "map of rows" : "map", "test");
		nest_input(n, q ? t : x);
		k = nest_op(n, RDU_SIMD_FMUL, nest_in(n, 0), nest_imm_f(n, q ? 2 : 0.25f), -1);
		nest_output(n, q ? y : t, k);
		for (int d = 0; d < 3; d++) {
			i = nest_dim(n, "i", dim[d], false);
			n->in[0].coef[d][i] = n->out[0].access.coef[d][i] = 1;
		}
	}
	n = module_nest(m, e, "windows", "test");
	i = nest_dim(n, "i", by_rows ? a : flat[0], false);
	s = nest_dim(n, "s", side, false);
	k = nest_dim(n, "k", before + 1 + after, true);
	nest_input(n, row);
	n->in[0].coef[0][i] = by_rows ? (int32_t)b : 1;
	n->in[0].coef[0][k] = n->in[0].coef[1][s] = 1;
	n->in[0].offset[0] = -before;
	n->in[0].guarded = true;
	n->in[0].pad = 0xbf800000u;
	n->reduce = REDUCE_MAX;
	n->body = nest_in(n, 0);
	nest_output(n, z, nest_red(n));
	n->out[0].access.coef[0][i] = n->out[0].access.coef[by_rows + 1][s] = 1;
	if (by_rows) {
		i = nest_dim(n, "i", b, false);
		n->in[0].coef[0][i] = n->out[0].access.coef[1][i] = 1;
	}
}

static void windows_of_rows(struct module *m)
{
	seen_as_row(m, 5, 8, 3, 0, 1, false);
}

static void windows_of_one_row(struct module *m)
{
	seen_as_row(m, 1, 40, 3, 2, 1, false);
}

/* Three slices of t do not fit into a scratchpad of 4 KiB: what windows want of the one before is made again. */
static void windows_of_wide_rows(struct module *m)
{
	seen_as_row(m, 5, 8, 400, 1, 0, false);
}

/* The row behind the last one of twenty is the first of the next twenty. */
static void windows_over_rows(struct module *m)
{
	seen_as_row(m, 4, 20, 300, 1, 1, true);
}

/* t[i, 1024 k + j] = (k + 1) x[i, j], each k a nest; y = 2 t, and the sums z[j] of its rows. */
static void side_by_side(struct module *m)
{
	enum { ROWS = 24, PART = 1024, PARTS = 3 };
	int64_t dim[] = { ROWS, PART }, wide[] = { ROWS, PARTS * PART };
	struct tensor *x = module_tensor(m, "x", TENSOR_INPUT, RDU_DT_F32, 2, dim);
	struct tensor *t = module_tensor(m, "t", TENSOR_TEMP, RDU_DT_F32, 2, wide);
	struct tensor *y = module_tensor(m, "y", TENSOR_OUTPUT, RDU_DT_F32, 2, wide);
	struct tensor *z = module_tensor(m, "z", TENSOR_OUTPUT, RDU_DT_F32, 1, &wide[1]);
	struct module_entry *e = module_entry(m, "forward");

	for (int k = 0; k < PARTS + 2; k++) {
		bool part = k < PARTS;
		bool sum = k == PARTS + 1;
		struct nest *n = module_nest(m, e, part ? "part" : "all", "test");
		int i = nest_dim(n, "i", ROWS, sum);
		int j = nest_dim(n, "j", part ? PART : wide[1], false), r;

		nest_input(n, part ? x : t);
		r = nest_in(n, 0);
		if (!sum)
			r = nest_op(n, RDU_SIMD_FMUL, r, nest_imm_f(n, part ? (float)k + 1 : 2),
				    -1);
		if (sum) {
			n->reduce = REDUCE_ADD;
			n->body = r;
			r = nest_red(n);
		}
		nest_output(n, part ? t : sum ? z : y, r);
		n->in[0].coef[0][i] = n->in[0].coef[1][j] = 1;
		n->out[0].access.coef[!sum][j] = 1;
		if (!sum)
			n->out[0].access.coef[0][i] = 1;
		if (part)
			n->out[0].access.offset[1] = k * PART;
	}
}

static const struct {
	const char *what;
	void (*make)(struct module *m);
	float tolerance; /* of the largest element */
} cases[] = {
	{ "a number that one tail operation has in a register and another has not", imm_twice,
	  1e-6f },
	{ "a result in bf16 that another nest reads", bf16_between, 0 },
	{ "a contraction of bytes that maps made, padded by a number", bytes_between, 0 },
	{ "a contraction of bytes with ternary weights that a nest packed", ternary_between, 0 },
	{ "a number that is carried from row to row", carried_rows, 0 },
	{ "a number that is carried within rows", carried_in_rows, 0 },
	{ "numbers that are carried from the end", carried_backwards, 0 },
	{ "one number that is carried", carried_alone, 0 },
	{ "numbers that are carried over many steps", carried_far, 0 },
	{ "windows of a row that is seen as several", windows_of_rows, 0 },
	{ "windows of a row that is seen as the only one", windows_of_one_row, 0 },
	{ "windows over the ends of wide rows", windows_of_wide_rows, 0 },
	{ "windows over the ends of rows, row by row", windows_over_rows, 0 },
	{ "parts that several nests make side by side", side_by_side, 1e-6f },
};

static size_t elements(const struct tensor *t)
{
	size_t n = 1;

	for (int d = 0; d < t->ndim; d++)
		n *= (size_t)t->dim[d];
	return n;
}

/* Every element of an output; the text says which one is wrong. */
static bool compare(const struct tensor *t, const float *got, const float *want, float tolerance,
		    char *text, size_t size)
{
	float largest = 0;

	for (size_t i = 0; i < elements(t); i++)
		if (want[i] > largest || -want[i] > largest)
			largest = want[i] < 0 ? -want[i] : want[i];
	for (size_t i = 0; i < elements(t); i++) {
		float off = got[i] - want[i];

		if (got[i] == want[i] ||
		    (off <= tolerance * largest && -off <= tolerance * largest))
			continue;
		snprintf(text, size, "%s[%zu] is %.9g, not %.9g", t->name, i, got[i], want[i]);
		return false;
	}
	return true;
}

static void run(int c, const char *chip_name, int level, bool all_tiles, const char *path)
{
	struct module *m = module_new("test");
	struct rdu_chip chip;
	struct rduc_options opt = { .chip = &chip, .opt = level, .pipe = WHEN_POSSIBLE };
	char text[700] = "";
	void **data;
	struct ran r;
	bool good;

	rdu_chip_find(chip_name, &chip, text, sizeof(text));
	cases[c].make(m);
	data = calloc((size_t)m->num_tensors, sizeof(*data));
	for (int i = 0; i < m->num_tensors; i++) {
		const struct tensor *t = m->tensors[i];

		data[i] =
			t->view_of ? data[t->view_of->id] : calloc(elements(t) + 1, sizeof(float));
		for (size_t k = 0; t->kind == TENSOR_INPUT && k < elements(t); k++)
			((float *)data[i])[k] = (float)((int)(k * 7919 % 41) - 20) / 8 + 0.0625f;
	}
	for (int k = 0; k < m->entries[0].num_nests; k++)
		nest_eval(m->entries[0].nests[k], data, false);
	opt.fp32 = true;
	opt.tiles = all_tiles ? (int)chip.tiles : 1;
	good = !rduc_backend(m, &opt, path, text, sizeof(text)) && !ran_open(&r, path);
	for (int i = 0; good && i < m->num_tensors; i++)
		if (m->tensors[i]->kind == TENSOR_INPUT)
			memcpy(ran_symbol(&r, m->tensors[i]->name), data[i],
			       elements(m->tensors[i]) * sizeof(float));
	if (good) {
		good = !ran_entry(&r, 0, NULL, true, text, sizeof(text));
		for (int i = 0; good && i < m->num_tensors; i++)
			if (m->tensors[i]->kind == TENSOR_OUTPUT)
				good = compare(m->tensors[i], ran_symbol(&r, m->tensors[i]->name),
					       data[i], cases[c].tolerance, text, sizeof(text));
		ran_close(&r);
	}
	result(good, cases[c].what, chip_name, level, text);
	for (int i = 0; i < m->num_tensors; i++)
		if (!m->tensors[i]->view_of)
			free(data[i]);
	free(data);
	module_free(m);
}

int main(void)
{
	static const char *const chips[] = { "sn10", "plasticine", "tests/chips/cut4k.chip" };
	static const int levels[] = { 0, 1, 3, 3 }; /* the last one with all tiles */
	char path[] = "/tmp/rduc-back-cases-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0)
		return 1;
	close(fd);
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++)
		for (int k = 0; k < 3; k++)
			for (int l = 0; l < 4; l++)
				run((int)c, chips[k], levels[l], l == 3, path);
	unlink(path);
	printf("1..%d\n", num_tests);
	return num_bad != 0;
}
