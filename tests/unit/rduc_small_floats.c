// SPDX-License-Identifier: MIT
/*
 * Floating-point types of 4 and 8 bits: every code's number, and every number halfway between two
 * of them, one fp32 to each side of it, and far ones, as codes. All on the card, against a table of
 * the numbers that is made here. QuantizeLinear's quotients, where IEEE's rounds to a halfway number.
 */
#include <math.h>
#include <stdlib.h>
#include "graph.h"
#include "rduc_back_run.h"
#include "tap.h"

#define MOST 2048

struct type {
	enum rdu_dtype dtype;
	int bits, mantissa, bias;
	int nan, inf; /* codes without a sign; -1: none */
};

static const struct type types[] = {
	{ RDU_DT_F8E4M3FN, 8, 3, 7, 0x7f, -1 },	 { RDU_DT_F8E4M3FNUZ, 8, 3, 8, 0x80, -1 },
	{ RDU_DT_F8E5M2, 8, 2, 15, 0x7d, 0x7c }, { RDU_DT_F8E5M2FNUZ, 8, 2, 16, 0x80, -1 },
	{ RDU_DT_F4E2M1, 4, 1, 1, -1, -1 },
};

/* Of codes of one sign; NaN above the last finite one. */
static double number(const struct type *t, int code)
{
	int m = 1 << t->mantissa, e = code / m;

	if (t->inf == code)
		return INFINITY;
	if (t->nan > 0 && t->nan < 0x80 && code >= t->nan)
		return NAN;
	return e ? ldexp(code % m + m, e - t->bias - t->mantissa)
		 : ldexp(code, 1 - t->bias - t->mantissa);
}

static int last_finite(const struct type *t)
{
	int code = (1 << (t->bits - 1)) - 1;

	while (!isfinite(number(t, code)))
		code--;
	return code;
}

/* By looking: the nearest finite one, of two the even one. */
static double right(const struct type *t, float x, bool saturate)
{
	int last = last_finite(t), best = 0;
	double most = number(t, last), step = most - number(t, last - 1), size = fabs((double)x), v;

	if (isnan(x))
		return t->nan < 0 ? -0.0 : NAN;
	/* From half a step beyond the last one on, which is rounded to the even one of both. */
	if (size > most + step / 2 || (size == most + step / 2 && last % 2)) {
		if (saturate || t->nan < 0)
			return copysign(most, x);
		return t->inf < 0 ? NAN : copysign(INFINITY, x);
	}
	for (int c = 1; c <= last; c++) {
		double off = fabs(number(t, c) - size), before = fabs(number(t, best) - size);

		if (off < before || (off == before && c % 2 == 0))
			best = c;
	}
	v = number(t, best);
	return v == 0 && t->nan == 0x80 ? 0 : copysign(v, x);
}

static int make_numbers(const struct type *t, float *x)
{
	static const float special[] = { 0,    -0.0f,	  INFINITY,   -INFINITY,
					 NAN,  0x1p-149f, -0x1p-126f, 0x1.fffffep127f,
					 1e6f, -1e6f,	  17.3f,      -0.0171f };
	int num = 0, last = last_finite(t);

	for (size_t k = 0; k < sizeof(special) / sizeof(special[0]); k++)
		x[num++] = special[k];
	for (int c = 0; c <= last; c++) {
		double step = c < last ? number(t, c + 1) - number(t, c)
				       : number(t, c) - number(t, c - 1);
		float half = (float)(number(t, c) + step / 2);

		x[num++] = (float)number(t, c);
		x[num++] = half;
		x[num++] = nextafterf(half, 0);
		x[num++] = -nextafterf(half, INFINITY);
	}
	return num;
}

/* ---- on the card ------------------------------------------------------------------------ */

static const char *rounding; /* attribute round_mode of what runs next; NULL: not given */

/* One node of one or two inputs of num elements; NULL and a remark, if it fails. */
static void *on_card(const char *op, const char *attribute, int64_t to, bool saturate,
		     enum rdu_dtype in, enum rdu_dtype out, int num, const void *x, const void *s)
{
	char path[] = "/tmp/rduc-small-XXXXXX", error[2048] = "";
	struct rduc_options opt = { .opt = 1, .model = "small", .fp32 = true };
	struct graph *g = graph_new(error, sizeof(error));
	struct node *n = node_new(g, op, "tested");
	const int64_t dim = num;
	struct module *m = NULL;
	struct rdu_chip chip;
	void *y = NULL;
	struct ran r;

	g->name = graph_strdup(g, "small");
	g->opset = 24;
	for (int k = 0; k < (s ? 2 : 1); k++) {
		struct value *v = graph_const(g, in, 1, &dim, NULL);

		v->name = graph_strdup(g, k ? "s" : "x");
		v->kind = TENSOR_INPUT;
		v->constant = false;
		v->data = NULL;
		node_input(g, n, v);
	}
	node_attr_i(g, n, attribute, to);
	node_attr_i(g, n, "saturate", saturate);
	if (rounding)
		node_attr_s(g, n, "round_mode", rounding);
	if (s)
		node_attr_i(g, n, "axis", 0);
	g->outputs = graph_alloc(g, sizeof(*g->outputs));
	g->outputs[0].name = graph_strdup(g, "y");
	g->outputs[0].value = graph_finish(g, n);
	g->num_outputs = 1;
	if (g->outputs[0].value)
		m = graph_patterns(g);
	close(mkstemp(path));
	rdu_chip_find("sn10", &chip, error, sizeof(error));
	chip.pmu_bytes = 16384; /* quick to clear */
	opt.chip = &chip;
	if (!m || rduc_backend(m, &opt, path, error, sizeof(error)) || ran_open(&r, path)) {
		printf("# %s\n", error);
	} else {
		memcpy(ran_symbol(&r, "x"), x, (size_t)(num * dtype_bytes(in)));
		if (s)
			memcpy(ran_symbol(&r, "s"), s, (size_t)(num * dtype_bytes(in)));
		if (ran_entry(&r, 0, NULL, true, error, sizeof(error))) {
			printf("# %s\n", error);
		} else {
			y = malloc((size_t)(num * dtype_bytes(out)));
			memcpy(y, ran_symbol(&r, "y"), (size_t)(num * dtype_bytes(out)));
		}
		ran_close(&r);
	}
	module_free(m);
	graph_free(g);
	unlink(path);
	return y;
}

static double of_code(const struct type *t, int code)
{
	int sign = 1 << (t->bits - 1);

	if (t->nan == 0x80 && code == 0x80)
		return NAN;
	return code & sign ? -number(t, code & (sign - 1)) : number(t, code);
}

static bool equal(double a, double b)
{
	return (isnan(a) && isnan(b)) || (a == b && !signbit(a) == !signbit(b));
}

static void test_decode(const struct type *t)
{
	unsigned char code[256];
	int num = 1 << t->bits;
	bool good;
	float *y;

	for (int c = 0; c < num; c++)
		code[c] = (unsigned char)c;
	y = on_card("Cast", "to", RDU_DT_F32, true, t->dtype, RDU_DT_F32, num, code, NULL);
	good = y;
	for (int c = 0; y && c < num; c++)
		if (!equal(y[c], of_code(t, c))) {
			printf("# code %#x is %g, not %g\n", c, (double)y[c], of_code(t, c));
			good = false;
		}
	free(y);
	ok(good, "every code of %s has its number", dtype_name(t->dtype));
}

static void test_encode(const struct type *t, bool saturate)
{
	static float x[MOST];
	int num = make_numbers(t, x);
	unsigned char *y =
		on_card("Cast", "to", t->dtype, saturate, RDU_DT_F32, t->dtype, num, x, NULL);
	bool good = y;

	for (int i = 0; y && i < num; i++) {
		double want = right(t, x[i], saturate), have = of_code(t, y[i]);

		if (!equal(have, want)) {
			printf("# %a is %g (%#x), not %g\n", (double)x[i], have, y[i], want);
			good = false;
		}
	}
	free(y);
	ok(good, "numbers as %s%s", dtype_name(t->dtype), saturate ? "" : ", not saturated");
}

/* Products that round to numbers halfway between codes, or beside them. */
static void test_quotients(const struct type *t)
{
	static float half[MOST], x[MOST], s[MOST];
	int num = make_numbers(t, half);
	unsigned char *y;
	bool good;

	srand(1);
	for (int i = 0; i < num; i++) {
		s[i] = ldexpf((float)(rand() % (1 << 23) + (1 << 23)), rand() % 80 - 60);
		x[i] = (float)((double)half[i] * s[i]);
	}
	y = on_card("QuantizeLinear", "output_dtype", t->dtype, true, RDU_DT_F32, t->dtype, num, x,
		    s);
	good = y;
	for (int i = 0; y && i < num; i++) {
		volatile float q = x[i] / s[i];
		double want = right(t, q, true), have = of_code(t, y[i]);

		if (!equal(have, want)) {
			printf("# %a / %a is %g, not %g\n", (double)x[i], (double)s[i], have, want);
			good = false;
		}
	}
	free(y);
	ok(good, "quotients quantized to %s", dtype_name(t->dtype));
}

/* Whole numbers of 16 bits: quotients near halves. */
static void test_wide_quotients(void)
{
	static float x[MOST], s[MOST];
	uint16_t *y;
	bool good;

	for (int i = 0; i < MOST; i++) {
		float half = (float)(rand() % 65600) + (float)(rand() % 3) * 0.5f;

		s[i] = ldexpf((float)(rand() % (1 << 23) + (1 << 23)), rand() % 60 - 40);
		x[i] = (float)((double)half * s[i]);
		x[i] = i % 3 ? x[i] : nextafterf(x[i], i % 2 ? INFINITY : 0);
	}
	y = on_card("QuantizeLinear", "output_dtype", RDU_DT_U16, true, RDU_DT_F32, RDU_DT_U16,
		    MOST, x, s);
	good = y;
	for (int i = 0; y && i < MOST; i++) {
		volatile float q = x[i] / s[i];

		if (y[i] != fmin(nearbyint(q), 65535)) {
			printf("# %a / %a is %u, not %.0f\n", (double)x[i], (double)s[i], y[i],
			       nearbyint(q));
			good = false;
		}
	}
	free(y);
	ok(good, "quotients quantized to uint16");
}

/* Powers of two: code c is 2^(c - 127), the last one NaN. */
static void test_powers(const char *mode, bool saturate)
{
	static float x[MOST], *back;
	unsigned char *y, code[256];
	int num = 0;
	bool good;

	for (int c = 0; c < 255; c++)
		for (int k = 0; k < 8; k++)
			x[num++] = ldexpf(1 + (float)k / 8 + (k == 4 ? -0x1p-20f : 0), c - 127);
	x[num++] = NAN;
	x[num++] = INFINITY;
	x[num++] = 0x1p-128f;
	x[num++] = -1;
	rounding = mode;
	y = on_card("Cast", "to", RDU_DT_F8E8M0, saturate, RDU_DT_F32, RDU_DT_F8E8M0, num, x, NULL);
	rounding = NULL;
	good = y;
	for (int i = 0; y && i < num; i++) {
		int e = isfinite(x[i]) ? ilogbf(fabsf(x[i])) : 128, most = saturate ? 254 : 255, c;
		double part = isfinite(x[i]) ? ldexp(fabs((double)x[i]), -e) : 1;

		e += *mode == 'u' ? part > 1 : *mode == 'n' ? part >= 1.5 : 0;
		c = e + 127 > most ? most : e + 127 < 0 ? (saturate ? 0 : 255) : e + 127;
		if (isnan(x[i]) || x[i] < 0)
			c = 255;
		if (y[i] != c) {
			printf("# %a is %u, not %d\n", (double)x[i], y[i], c);
			good = false;
		}
	}
	free(y);
	ok(good, "numbers as float8e8m0, %s%s", mode, saturate ? "" : ", not saturated");
	for (int c = 0; c < 256; c++)
		code[c] = (unsigned char)c;
	back = on_card("Cast", "to", RDU_DT_F32, true, RDU_DT_F8E8M0, RDU_DT_F32, 256, code, NULL);
	good = back;
	for (int c = 0; back && c < 256; c++)
		good &= equal(back[c], c == 255 ? NAN : ldexp(1, c - 127));
	free(back);
	ok(good, "every code of float8e8m0 has its number");
}

/* A byte that is no element of the type stops the run. */
static void test_range(void)
{
	static const struct {
		enum rdu_dtype dtype;
		int least, most;
	} small[] = { { RDU_DT_U4, 0, 15 },
		      { RDU_DT_I4, -8, 7 },
		      { RDU_DT_U2, 0, 3 },
		      { RDU_DT_I2, -2, 1 },
		      { RDU_DT_F4E2M1, 0, 15 } };

	for (size_t k = 0; k < sizeof(small) / sizeof(small[0]); k++) {
		signed char ends[2] = { (signed char)small[k].least, (signed char)small[k].most };
		const char *name = dtype_name(small[k].dtype);
		void *y;

		y = on_card("Cast", "to", RDU_DT_F32, true, small[k].dtype, RDU_DT_F32, 2, ends,
			    NULL);
		ok(y, "the ends of %s", name);
		free(y);
		ends[0]--;
		y = on_card("Cast", "to", RDU_DT_F32, true, small[k].dtype, RDU_DT_F32, 2, ends,
			    NULL);
		ok(!y, "what is below %s stops", name);
		free(y);
		ends[0]++;
		ends[1]++;
		y = on_card("Cast", "to", RDU_DT_F32, true, small[k].dtype, RDU_DT_F32, 2, ends,
			    NULL);
		ok(!y, "what is above %s stops", name);
		free(y);
	}
}

int main(void)
{
	for (size_t k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
		test_decode(&types[k]);
		test_encode(&types[k], true);
		test_encode(&types[k], false);
		test_quotients(&types[k]);
	}
	test_wide_quotients();
	test_powers("up", true);
	test_powers("down", true);
	test_powers("nearest", true);
	test_powers("nearest", false);
	test_range();
	return tap_done();
}
