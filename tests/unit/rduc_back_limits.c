// SPDX-License-Identifier: MIT
/*
 * The back half at its limits: what is too large for a table, a unit, a chip or a card grows,
 * is made another way, or is refused with the name of what ran out; never cut.
 */
#include "../../tools/rduc/backend.h" /* not lib/backend.h */
#include <sys/wait.h>
#include "mem.h"
#include "rduc_back_judge.h"
#include "tap.h"

static char path[] = "/tmp/rduc-limits-XXXXXX", text[700];
static struct rdu_pool *pool;

static struct rdu_chip chip_of(const char *name)
{
	struct rdu_chip chip;

	if (rdu_chip_find(name, &chip, text, sizeof(text))) {
		printf("Bail out! %s: %s\n", name, text);
		exit(1);
	}
	return chip;
}

static struct tensor *floats(struct module *m, const char *name, enum tensor_kind kind, int ndim,
			     const int64_t *dim)
{
	return module_tensor(m, name, kind, RDU_DT_F32, ndim, dim);
}

static float bit(void)
{
	static uint32_t s = 1;

	s = s * 1664525u + 1013904223u;
	return (float)(s >> 31);
}

/* Does the error of a compilation hold these words? */
static void refused(struct module *m, struct rduc_options opt, const char *words, const char *what)
{
	text[0] = 0;
	if (!ok(rduc_backend(m, &opt, path, text, sizeof(text)) && strstr(text, words), "%s", what))
		printf("# wanted \"%s\", got \"%s\"\n", words, text);
}

/* Right at every level: exactly. */
static void right(struct module *m, struct rduc_options opt, const char *what)
{
	text[0] = 0;
	if (!ok(judge(m, opt, bit, true, path, pool, text, sizeof(text)), "%s", what))
		printf("# %s\n", text);
}

/* y[i, j] = sum over a, b, c, d of x[i, a, b, c, d] w[j, d, c, b, a]: of zeros and ones, so
 * that every sum is exact. */
static void cut_reductions(int64_t K, int64_t I, int64_t J, struct rduc_options opt,
			   const char *what)
{
	struct module *m = module_new("cut");
	struct nest *n = module_nest(m, module_entry(m, "forward"), "einsum", "Einsum");
	int64_t extent[2] = { I, J };

	nest_dim(n, "i", I, false);
	nest_dim(n, "j", J, false);
	for (int d = 0; d < 4; d++)
		nest_dim(n, (char[]){ (char)('a' + d), 0 }, K, true);
	for (int o = 0; o < 2; o++) {
		int64_t dim[5] = { extent[o], K, K, K, K };

		nest_input(n, floats(m, o ? "w" : "x", TENSOR_INPUT, 5, dim));
		n->in[o].coef[0][o] = 1;
		for (int d = 0; d < 4; d++)
			n->in[o].coef[1 + d][o ? 5 - d : 2 + d] = 1;
	}
	n->reduce = REDUCE_ADD;
	n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, 0), nest_in(n, 1), -1);
	nest_output(n, floats(m, "y", TENSOR_OUTPUT, 2, extent), nest_red(n));
	n->out[0].access.coef[0][0] = n->out[0].access.coef[1][1] = 1;
	right(m, opt, what);
	module_free(m);
}

/* A map over len elements of num inputs; the caller makes the expression and the output. */
static struct nest *map(struct module *m, struct module_entry *e, const char *name, int num,
			struct tensor **in, int64_t len)
{
	struct nest *n = module_nest(m, e, name, "test");

	nest_dim(n, "i", len, false);
	for (int k = 0; k < num; k++)
		n->in[nest_input(n, in[k])].coef[0][0] = 1;
	return n;
}

static void result(struct nest *n, struct tensor *t, int expr)
{
	n->out[nest_output(n, t, expr)].access.coef[0][0] = 1;
}

/* A nest that reads nothing, in a section with a convolution whose units say where they want to
 * be: its own units have no neighbours that have places. */
static void alone(void)
{
	struct rdu_chip chip = chip_of("sn10");
	const int64_t len = 300000, xd[3] = { 3, 64, 64 }, wd[4] = { 96, 3, 11, 11 },
		      yd[3] = { 96, 14, 14 };
	static const char *const dims[] = { "o", "y", "x", "c", "ky", "kx" };
	static const int64_t extent[] = { 96, 14, 14, 3, 11, 11 };
	struct module *m = module_new("alone");
	struct module_entry *e = module_entry(m, "forward");
	struct nest *n = map(m, e, "fill", 0, NULL, len);

	result(n, floats(m, "f", TENSOR_OUTPUT, 1, &len), nest_imm_f(n, 0.25f));
	n = module_nest(m, e, "conv", "test");
	for (int d = 0; d < 6; d++)
		nest_dim(n, dims[d], extent[d], d > 2);
	nest_input(n, floats(m, "x", TENSOR_INPUT, 3, xd));
	nest_input(n, floats(m, "w", TENSOR_INPUT, 4, wd));
	n->in[0].coef[0][3] = n->in[0].coef[1][4] = n->in[0].coef[2][5] = 1;
	n->in[0].coef[1][1] = n->in[0].coef[2][2] = 4;
	n->in[1].coef[0][0] = 1;
	for (int d = 1; d < 4; d++)
		n->in[1].coef[d][d + 2] = 1;
	n->reduce = REDUCE_ADD;
	n->body = nest_op(n, RDU_SIMD_FMUL, nest_in(n, 0), nest_in(n, 1), -1);
	nest_output(n, floats(m, "y", TENSOR_OUTPUT, 3, yd), nest_red(n));
	for (int d = 0; d < 3; d++)
		n->out[0].access.coef[d][d] = 1;
	right(m, (struct rduc_options){ .chip = &chip },
	      "a nest without inputs beside a convolution");
	module_free(m);
}

/* s = tanh(s) - s, eight times: sixteen maps that fuse into one nest. */
static struct module *chain16(void)
{
	struct module *m = module_new("chain16");
	struct module_entry *e = module_entry(m, "forward");
	int64_t len = 128;
	struct tensor *s = floats(m, "x", TENSOR_INPUT, 1, &len);

	for (int i = 0; i < 8; i++) {
		char a[8], b[8];
		struct tensor *t;
		struct nest *n;

		snprintf(a, sizeof(a), "a%d", i);
		snprintf(b, sizeof(b), "b%d", i);
		t = floats(m, a, TENSOR_TEMP, 1, &len);
		n = map(m, e, a, 1, &s, len);
		result(n, t, nest_op(n, RDU_SIMD_TANH, nest_in(n, 0), -1, -1));
		n = map(m, e, b, 2, (struct tensor *[]){ t, s }, len);
		s = floats(m, i < 7 ? b : "y", i < 7 ? TENSOR_TEMP : TENSOR_OUTPUT, 1, &len);
		result(n, s, nest_op(n, RDU_SIMD_FSUB, nest_in(n, 0), nest_in(n, 1), -1));
	}
	return m;
}

static float quarter(void)
{
	return bit() * 0.5f + bit() * 0.25f;
}

static bool file_has(const char *file, const char *words)
{
	FILE *f = fopen(file, "r");
	char buffer[8192];
	size_t n = f ? fread(buffer, 1, sizeof(buffer) - 1, f) : 0;

	buffer[n] = 0;
	if (f)
		fclose(f);
	return strstr(buffer, words) != NULL;
}

/* What a lower level takes, a higher one takes. */
static void levels(void)
{
	struct rdu_chip few = chip_of("tests/chips/few.chip");
	struct rdu_chip tiny = chip_of("tests/chips/tiny8.chip");
	struct module *m = chain16();
	struct rduc_options opt = { .chip = &few };
	char report[] = "/tmp/rduc-report-XXXXXX";

	text[0] = 0;
	ok(judge(m, opt, quarter, false, path, pool, text, sizeof(text)),
	   "sixteen fused maps, more than few.chip has PCUs, at every level %s", text);
	opt.opt = 3;
	opt.report = fdopen(mkstemp(report), "w");
	ok(opt.report && !rduc_backend(m, &opt, path, text, sizeof(text)) && !fclose(opt.report) &&
		   file_has(report, "needs 9 PCUs, 1 tile of few has 8"),
	   "the report says why they are not one section");
	unlink(report);
	opt = (struct rduc_options){ .chip = &tiny };
	text[0] = 0;
	ok(judge(m, opt, quarter, false, path, pool, text, sizeof(text)), "... on tiny8.chip %s",
	   text);
	module_free(m);
}

/* A border on all sides of a tensor that stays in scratchpads: as it lies there, more predicates
 * than an access has. */
static void border(const struct rdu_chip *chip)
{
	static const int64_t dim[4] = { 3, 32, 27, 1 }, wide[4] = { 6, 33, 28, 4 };
	struct rduc_options opt = { .chip = chip };
	struct module *m = module_new("border");
	struct module_entry *e = module_entry(m, "forward");
	struct tensor *x = floats(m, "x", TENSOR_INPUT, 4, dim);
	struct tensor *t = floats(m, "t", TENSOR_TEMP, 4, dim);
	struct tensor *y = floats(m, "y", TENSOR_OUTPUT, 4, wide);
	static const int32_t before[4] = { 0, 1, 0, 3 };

	for (int k = 0; k < 2; k++) {
		struct nest *n = module_nest(m, e, k ? "pad" : "abs", "test");
		int in = nest_input(n, k ? t : x), out, v = nest_in(n, in);

		if (!k)
			v = nest_op(n, RDU_SIMD_FABS, v, -1, -1);
		out = nest_output(n, k ? y : t, v);
		for (int d = 0; d < 4; d++) {
			nest_dim(n, "ncyx" + d, k ? wide[d] : dim[d], false);
			n->in[in].coef[d][d] = n->out[out].access.coef[d][d] = 1;
			n->in[in].offset[d] = k ? -before[d] : 0;
		}
		n->in[in].guarded = k;
	}
	right(m, opt, "a border on all sides of what stays in scratchpads");
	module_free(m);
}

/* Three inputs of one operation, two ports a PCU. */
static void ports(void)
{
	struct rdu_chip tiny = chip_of("tests/chips/tiny8.chip");
	struct rduc_options opt = { .chip = &tiny };
	static const enum rdu_simd_op op[] = { RDU_SIMD_SELECT, RDU_SIMD_FMA };
	int64_t len = 37;

	for (int k = 0; k < 2; k++) {
		struct module *m = module_new("three");
		struct tensor *in[3];
		struct nest *n;

		for (int i = 0; i < 3; i++)
			in[i] = floats(m, (char[]){ (char)('a' + i), 0 }, TENSOR_INPUT, 1, &len);
		n = map(m, module_entry(m, "forward"), "three", 3, in, len);
		result(n, floats(m, "y", TENSOR_OUTPUT, 1, &len),
		       nest_op(n, op[k], nest_in(n, 0), nest_in(n, 1), nest_in(n, 2)));
		if (k == 0)
			right(m, opt, "Where on PCUs with two input ports");
		else
			refused(m, opt, "operation FMA needs 3 input ports, a PCU of tiny8 has 2",
				"a fused multiply-add of three tensors there: the reason is the "
				"ports");
		module_free(m);
	}
}

/* A nest alone that no level can place. */
static void units(void)
{
	struct rdu_chip few = chip_of("tests/chips/few.chip");
	struct rduc_options opt = { .chip = &few, .opt = 3 };
	struct module *m = module_new("long");
	int64_t len = 64;
	struct tensor *x = floats(m, "x", TENSOR_INPUT, 1, &len);
	struct nest *n = map(m, module_entry(m, "forward"), "long", 1, &x, len);
	int v = nest_in(n, 0);

	for (int i = 0; i < 60; i++)
		v = nest_op(n, i & 1 ? RDU_SIMD_TANH : RDU_SIMD_FSUB, v, i & 1 ? -1 : nest_in(n, 0),
			    -1);
	result(n, floats(m, "y", TENSOR_OUTPUT, 1, &len), v);
	refused(m, opt, "long: needs 30 PCUs, 1 tile of few has 8",
		"too many operations: how many PCUs");
	module_free(m);
}

static void builders(void)
{
	static const char *const want[] = { "needs 12 dimensions, a nest has at most 10",
					    "needs 15 inputs, a nest has at most 12",
					    "needs 9 outputs, a nest has at most 8",
					    "needs 70 expressions, a nest has at most 64" };
	int64_t len = 4;

	for (int k = 0; k < 4; k++) {
		struct module *m = module_new("full");
		struct tensor *x = floats(m, "x", TENSOR_INPUT, 1, &len);
		struct tensor *y = floats(m, "y", TENSOR_OUTPUT, 1, &len);
		struct nest *n = map(m, module_entry(m, "forward"), "full", 1, &x, len);
		int v = nest_in(n, 0);

		for (int i = 1; i < 12 && k == 0; i++)
			n->in[0].coef[0][nest_dim(n, "d", 1, false)] = 0;
		for (int i = 1; i < 15 && k == 1; i++)
			n->in[nest_input(n, x)].coef[0][0] = 1;
		for (int i = 1; i < 9 && k == 2; i++)
			result(n, y, v);
		for (int i = 1; i < 70 && k == 3; i++)
			v = nest_op(n, RDU_SIMD_FNEG, v, -1, -1);
		result(n, y, v);
		if (!ok(nest_check(n, text, sizeof(text)) && strstr(text, want[k]) &&
				strstr(text, "full"),
			"%s", want[k]))
			printf("# %s\n", text);
		module_free(m);
	}
}

static void sections(void)
{
	struct rdu_chip chip = chip_of("plasticine");
	struct module *m = module_new("tables");
	struct uimage *im = image_new(&chip, 1, "tables");
	int unit = image_unit(im, RDU_UNIT_PCU, -1, -1), pr;
	struct tensor *first = NULL;
	int64_t len = 1;
	bool own = true;

	for (int i = 0; i < 100; i++) {
		char name[8];
		struct tensor *t;

		snprintf(name, sizeof(name), "t%d", i);
		t = floats(m, name, TENSOR_INPUT, 1, &len);
		first = first ? first : t;
		own = own && image_segment(im, t, RDU_SEG_READ) == i;
	}
	ok(own, "a hundred tensors have a segment each");
	ok(image_segment(im, first, RDU_SEG_WRITE) == 0, "... and keep it");
	pr = image_prog(im, RDU_KIND_SIMD, unit, 0);
	for (int i = 0; i < 5; i++)
		image_in(im, pr, 0);
	ok(image_pack(im) &&
		   strstr(im->error, "tables: a SIMD program needs more than 4 input ports"),
	   "a fifth input port");
	image_free(im);
	im = image_new(&chip, 1, "tables");
	pr = image_prog(im, RDU_KIND_SIMD, image_unit(im, RDU_UNIT_PCU, -1, -1), 0);
	for (int i = 0; i < 5; i++)
		image_out(im, pr, 0, 0, 1);
	ok(image_pack(im) &&
		   strstr(im->error, "tables: a SIMD program needs more than 4 output ports"),
	   "a fifth output port");
	image_free(im);
	im = image_new(&chip, 1, "tables");
	pr = image_prog(im, RDU_KIND_LOAD, image_unit(im, RDU_UNIT_AGCU, -1, -1), 0);
	for (int i = 0; i < 18; i++)
		image_counter(&im->prog[pr], 0, 1, 3);
	ok(image_pack(im) && strstr(im->error, "a LOAD program needs 18 loops, at most 16"),
	   "more loops than can be packed");
	image_free(im);
	module_free(m);
}

static void operations(void)
{
	struct rdu_chip chip = chip_of("plasticine");
	struct xprog x = { 0 };
	bool own = true;

	for (int i = 0; i < 1000; i++)
		own = own && xprog_op(&x, RDU_SIMD_FNEG, i ? xval(i - 1) : xsrc_arg(0),
				      (struct xarg){ 0 }, (struct xarg){ 0 }) == i;
	x.out[x.num_out++] = 999;
	ok(own && xprog_pcus(&chip, &x) == 167, "a thousand operations are 167 PCUs of six stages");
	xprog_free(&x);
}

/* Numbers that a field of the image has no room for. */
static void fields(void)
{
	struct rdu_chip chip = chip_of("sn10");
	struct rduc_options opt = { .chip = &chip };
	struct module *m = module_new("wide");
	int64_t large = 3000000000, len = 100;
	struct tensor *x = module_tensor(m, "x", TENSOR_INPUT, RDU_DT_U8, 1, &large);
	struct nest *n = map(m, module_entry(m, "forward"), "wide", 1, &x, len);

	n->in[0].offset[0] = -1;
	n->in[0].guarded = true;
	result(n, module_tensor(m, "y", TENSOR_OUTPUT, RDU_DT_U8, 1, &len), nest_in(n, 0));
	refused(m, opt, "wide: a predicate's bound of 3000000000: at most 32 bits",
		"a bound of more than 32 bits is not cut");
	module_free(m);
}

/* Names that are the same as far as a program file holds them. */
static void names(void)
{
	struct rdu_chip chip = chip_of("sn10");
	struct rduc_options opt = { .chip = &chip };
	struct module *m = module_new("names");
	char name[2][80] = { { 0 } };
	struct tensor *in[2];
	int64_t len = 8;
	struct nest *n;

	for (int k = 0; k < 2; k++) {
		memset(name[k], 'n', 63);
		name[k][63] = (char)('a' + k);
		in[k] = floats(m, name[k], TENSOR_INPUT, 1, &len);
	}
	n = map(m, module_entry(m, "forward"), "add", 2, in, len);
	result(n, floats(m, "y", TENSOR_OUTPUT, 1, &len),
	       nest_op(n, RDU_SIMD_FADD, nest_in(n, 0), nest_in(n, 1), -1));
	refused(m, opt, "a program file holds the first 63 bytes of a name",
		"names that differ in their 64th byte");
	module_free(m);
}

static void checks(void)
{
	struct rdu_chip chip = chip_of("sn10");
	struct rduc_options opt = { .chip = &chip, .opt = 1 };
	struct module *m = module_new("bad");
	int64_t len = 8, more = 9;
	struct tensor *x = floats(m, "x", TENSOR_INPUT, 1, &len);
	struct nest *n = map(m, module_entry(m, "forward"), "past the end", 1, &x, more);

	result(n, floats(m, "y", TENSOR_OUTPUT, 1, &more), nest_in(n, 0));
	refused(m, opt, "after patterns: nest 'past the end'",
		"a nest that leaves its tensor: pass and nest are named");
	module_free(m);
}

/* A reason for everything that fusion leaves apart because of a limit. */
static void fusion(void)
{
	struct rdu_chip chip = chip_of("sn10");
	struct rduc_options opt = { .chip = &chip, .opt = 1, .print_after = "fuse" };
	struct module *m = module_new("inputs");
	struct module_entry *e = module_entry(m, "forward");
	char said[] = "/tmp/rduc-fuse-XXXXXX";
	int64_t len = 64;
	struct tensor *s = floats(m, "x", TENSOR_INPUT, 1, &len);
	int file = mkstemp(said), err = dup(2);

	for (int i = 0; i < 14; i++) {
		char name[8];
		struct tensor *in[2] = { s };
		struct nest *n;

		snprintf(name, sizeof(name), "w%d", i);
		in[1] = floats(m, name, TENSOR_INPUT, 1, &len);
		snprintf(name, sizeof(name), "add%d", i);
		s = floats(m, name, i < 13 ? TENSOR_TEMP : TENSOR_OUTPUT, 1, &len);
		n = map(m, e, name, 2, in, len);
		result(n, s, nest_op(n, RDU_SIMD_FADD, nest_in(n, 0), nest_in(n, 1), -1));
	}
	fflush(stderr);
	dup2(file, 2);
	ok(!rduc_backend(m, &opt, path, text, sizeof(text)), "a sum of fifteen tensors");
	dup2(err, 2);
	ok(file_has(said, "is not joined by") && file_has(said, "too many inputs (at most 12)"),
	   "--print-after fuse says why it is not one nest");
	close(file);
	close(err);
	unlink(said);
	module_free(m);
}

/* So that what is refused is NULL, as without the sanitizer. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

/* Memory that is not there: rduc says how much it asked for, and fails. */
static void memory(void)
{
	char said[] = "/tmp/rduc-memory-XXXXXX";
	int file = mkstemp(said), status = 0;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		dup2(file, 2);
		xcalloc((size_t)1 << 50, 4096);
		_exit(0);
	}
	waitpid(child, &status, 0);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == 1 &&
		   file_has(said, "rduc: out of memory: 1125899906842624 times 4096 bytes"),
	   "out of memory: how much was asked for");
	close(file);
	unlink(said);
}

static void program_image(void)
{
	static const uint64_t image[64];
	struct rdu_chip chip = chip_of("sn10");
	struct rdu_cfg_diag diag;

	ok(rdu_program_validate(image, (size_t)RDU_MAX_PROGRAM_IMAGE + 1, &chip, 1, &diag) &&
		   diag.error == RDU_CFG_E_TOO_LARGE,
	   "a program image of a byte too many");
	ok(rdu_program_validate(image, RDU_MAX_PROGRAM_IMAGE, &chip, 1, &diag) &&
		   diag.error == RDU_CFG_E_MAGIC,
	   "... and one as large as may be: it is looked at");
}

int main(void)
{
	struct rdu_chip plasticine = chip_of("plasticine"),
			cut4k = chip_of("tests/chips/cut4k.chip");
	int fd = mkstemp(path);

	if (fd < 0)
		return 1;
	close(fd);
	pool = rdu_pool_new(2);
	cut_reductions(24, 16, 2, (struct rduc_options){ .chip = &plasticine, .fp32 = true },
		       "four cut reductions in fp32 on plasticine");
	cut_reductions(11, 16, 2, (struct rduc_options){ .chip = &cut4k },
		       "four cut reductions, scratchpads of 4 KiB");
	alone();
	levels();
	border(&plasticine);
	ports();
	units();
	builders();
	sections();
	operations();
	fields();
	names();
	checks();
	fusion();
	program_image();
	memory();
	rdu_pool_free(pool);
	unlink(path);
	return tap_done();
}
