// SPDX-License-Identifier: MIT
/*
 * Division, and the functions that the compiler makes of several operations, with their
 * gradients: swept over numbers of every size, denormals, infinities and NaN, on the card
 * model, of chips with many input ports and with two, against fp64. The bounds are those of Documentation/numerics.md.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include "graph.h"
#include "rduc_back_run.h"
#include "tap.h"

#define NONE 1e30f

/* ---- what is right ---------------------------------------------------------------- */

#define UNUSED __attribute__((unused))
#define FUNC(name) static double name(UNUSED double x, UNUSED double b)
/* clang-format off */
FUNC(divide) { return x / b; }
FUNC(divide_a) { return 1 / b; }
FUNC(divide_b) { return -(double)(float)(x / b) / b; }
FUNC(reciprocal_sqr) { return 1 / (x * x); }
FUNC(power) { return pow(x, b); }
FUNC(power_17) { return pow(x, 1.7f); }
FUNC(log_d) { return 1 / x; }
FUNC(expm1_of) { return x < 0 ? expm1(x) : x; }
FUNC(elu_d) { return x <= 0 ? exp(x) : 1; }
FUNC(celu) { return x < 0 ? 2 * expm1(x / 2) : x; }
FUNC(celu_under) { return x < 0 ? -2 * expm1(x / -2) : x; }
FUNC(celu_flat) { return x < 0 ? 0 : x; }
FUNC(celu_d) { return x < 0 ? exp(x / 2) : 1; }
FUNC(selu) { return (double)1.05070102214813232f * (x > 0 ? x : (double)1.67326319217681885f * expm1(x)); }
FUNC(selu_d) { return (double)1.05070102214813232f * (x <= 0 ? (double)1.67326319217681885f * exp(x) : 1); }
FUNC(softplus) { return isnan(x) ? x : fmax(x, 0) + log1p(exp(-fabs(x))); }
FUNC(sigmoid) { return x > 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
FUNC(softsign) { return x / (1 + fabs(x)); }
FUNC(softsign_d) { return 1 / ((1 + fabs(x)) * (1 + fabs(x))); }
FUNC(mish) { return x * tanh(softplus(x, 0)); }
FUNC(sinh_of) { return sinh(x); }
FUNC(cosh_of) { return cosh(x); }
FUNC(tanh_of) { return tanh(x); }
FUNC(asinh_of) { return asinh(x); }
FUNC(atan_of) { return atan(x); }
FUNC(atan_d) { return 1 / (1 + x * x); }
FUNC(asin_of) { return asin(x); }
FUNC(asin_d) { return 1 / sqrt((1 - x) * (1 + x)); }
FUNC(acos_of) { return acos(x); }
FUNC(acos_d) { return -1 / sqrt((1 - x) * (1 + x)); }
FUNC(asinh_d) { return 1 / sqrt(x * x + 1); }
FUNC(acosh_of) { return acosh(x); }
FUNC(acosh_d) { return x < 1 ? NAN : 1 / sqrt(x * x - 1); }
FUNC(atanh_of) { return atanh(x); }
FUNC(atanh_d) { return 1 / ((1 - x) * (1 + x)); }
FUNC(gelu) { return x * erfc(-x / sqrt(2)) / 2; }
FUNC(tan_of) { return tan(x); }
/* clang-format on */

static const struct sweep {
	const char *op;
	int which; /* -1: the function; else its gradient with regard to that input */
	double (*right)(double x, double b);
	/* Most that it may be off by: ulps of the right result (at least 2^-149), and a
	 * part of x. */
	double ulps, part;
	float number; /* attribute alpha, the exponent of Pow; NONE: not given */
	bool constant; /* Div: b is a constant */
} sweeps[] = {
	{ "Div", -1, divide, 1.5, 0, NONE, false },
	{ "Div", -1, divide, 1.5, 0, NONE, true },
	{ "Div", 0, divide_a, 1.5, 0, NONE, false },
	{ "Div", 1, divide_b, 3, 0, NONE, false },
	{ "Pow", -1, reciprocal_sqr, 2.5, 0, -2, false },
	{ "Pow", -1, power, 2, 0, NONE, false },
	{ "Pow", -1, power_17, 2, 0, 1.7f, false },
	{ "Log", 0, log_d, 1.5, 0, NONE, false },
	{ "Elu", -1, expm1_of, 4, 0, NONE, false },
	{ "Elu", 0, elu_d, 1, 0, NONE, false },
	{ "Celu", -1, celu, 4, 0, 2, false },
	{ "Celu", -1, celu_under, 4, 0, -2, false },
	{ "Celu", -1, celu_flat, 0, 0, 0, false },
	{ "Celu", 0, celu_d, 1, 0, 2, false },
	{ "Selu", -1, selu, 5, 0, NONE, false },
	{ "Selu", 0, selu_d, 3, 0, NONE, false },
	{ "Softplus", -1, softplus, 3, 0, NONE, false },
	{ "Softplus", 0, sigmoid, 2, 0, NONE, false },
	{ "Softsign", -1, softsign, 2, 0, NONE, false },
	{ "Softsign", 0, softsign_d, 4, 0, NONE, false },
	{ "Mish", -1, mish, 4, 0x1p-149, NONE, false },
	{ "Sinh", -1, sinh_of, 4, 0, NONE, false },
	{ "Sinh", 0, cosh_of, 4, 0, NONE, false },
	{ "Cosh", -1, cosh_of, 4, 0, NONE, false },
	{ "Cosh", 0, sinh_of, 4, 0, NONE, false },
	{ "Tanh", -1, tanh_of, 1.3, 0, NONE, false },
	{ "Asinh", -1, asinh_of, 4, 0, NONE, false },
	{ "Asinh", 0, asinh_d, 3, 0, NONE, false },
	{ "Atan", -1, atan_of, 4, 0, NONE, false },
	{ "Atan", 0, atan_d, 4, 0, NONE, false },
	{ "Asin", -1, asin_of, 4, 0, NONE, false },
	{ "Asin", 0, asin_d, 4, 0, NONE, false },
	{ "Acos", -1, acos_of, 4, 0, NONE, false },
	{ "Acos", 0, acos_d, 4, 0, NONE, false },
	{ "Acosh", -1, acosh_of, 4, 0, NONE, false },
	{ "Acosh", 0, acosh_d, 4, 0, NONE, false },
	{ "Atanh", -1, atanh_of, 4, 0, NONE, false },
	{ "Atanh", 0, atanh_d, 4, 0, NONE, false },
	{ "Gelu", -1, gelu, 2, 0x1p-23, NONE, false },
	{ "Tan", -1, tan_of, 4, 0, NONE, false },
};

/* ---- numbers ------------------------------------------------------------------------ */

#define SIDE 96
#define SIZES (SIDE * SIDE) /* quotients: all of SIDE numbers by all of them */

static float of_bits(uint32_t u)
{
	float f;

	memcpy(&f, &u, 4);
	return f;
}

/* The k-th of num: special ones, then all sizes evenly, with odd mantissas. */
static float number(int k, int num)
{
	static const float special[] = {
		0,	     -0.0f,	 INFINITY,    -INFINITY,     NAN,
		1,	     -1,	 FLT_MAX,     -FLT_MAX,	     FLT_MIN,
		-FLT_MIN,    0x1p-149f,	 -0x1p-149f,  0x1.8p-149f,   0x1p-126f,
		0x1p126f,    0x1.2p126f, 0x1.fp-127f, 0x1.fffffep0f, 0x1.fffffep-1f,
		0x1.0002p0f, 0x1p127f,	 0x1p-127f,   -0.00020775f,  3,
		-3,
	};
	int n = (int)(sizeof(special) / sizeof(special[0])), half = (num - n) / 2;
	uint32_t u;

	if (k < n)
		return special[k];
	u = (uint32_t)((double)((k - n) % half) * (0x7f7fffffu / (double)half));
	u ^= (u * 2654435761u) >> 12 & 0xffff;
	return of_bits(((k - n) / half ? 0x80000000u : 0) | (u < 0x7f800000 ? u : 0x7f7fffff));
}

/* Of two operands: all of SIDE numbers with all of them. */
static bool is_square(const struct sweep *s)
{
	return !strcmp(s->op, "Div") || (!strcmp(s->op, "Pow") && s->number == NONE);
}

/* Pow: e^z is off by as much as z is, which grows with z. */
static double grows(const struct sweep *s, double right)
{
	bool general = !strcmp(s->op, "Pow") && s->number != -2;

	return general && isfinite(right) && right != 0 ? 1 + fabs(log(fabs(right))) : 1;
}

/* The inputs' i-th elements; the gradient that comes from above is 1. */
static float element(const struct sweep *s, char name, int i)
{
	if (name == 'g')
		return 1;
	if (!is_square(s))
		return number(i, SIZES);
	return number(name == 'x' ? i / SIDE : i % SIDE, SIDE);
}

/* ---- running it ------------------------------------------------------------------------ */

static struct value *input(struct graph *g, const struct sweep *s, const char *name, bool constant)
{
	const int64_t dim = SIZES;
	struct value *v = graph_const(g, RDU_DT_F32, 1, &dim, NULL);

	v->name = graph_strdup(g, name);
	for (int i = 0; i < SIZES; i++)
		((float *)v->data)[i] = element(s, *name, i);
	if (!constant) {
		v->kind = TENSOR_INPUT;
		v->constant = false;
		v->data = NULL;
	}
	return v;
}

static struct graph *make(const struct sweep *s, char *error, int size)
{
	struct graph *g = graph_new(error, size);
	struct node *n = node_new(g, s->op, "tested"), *gn;
	struct value *y;

	g->name = graph_strdup(g, "functions");
	g->opset = 20;
	node_input(g, n, input(g, s, "x", false));
	if (is_square(s))
		node_input(g, n, input(g, s, "b", s->constant));
	else if (!strcmp(s->op, "Pow"))
		node_input(g, n, graph_const_f(g, s->number));
	else if (s->number != NONE)
		node_attr_f(g, n, "alpha", s->number);
	y = graph_finish(g, n);
	if (y && s->which >= 0) {
		gn = node_new(g, "MapGrad", "tested.grad");
		gn->of = n->op;
		gn->of_node = n;
		node_attr_i(g, gn, "which", s->which);
		for (int i = 0; i < n->num_in; i++)
			node_input(g, gn, n->in[i]);
		node_input(g, gn, y);
		node_input(g, gn, input(g, s, "g", false));
		y = graph_finish(g, gn);
	}
	if (!y)
		return NULL;
	g->outputs = graph_alloc(g, sizeof(*g->outputs));
	g->outputs[0].name = graph_strdup(g, "y");
	g->outputs[0].value = y;
	g->num_outputs = 1;
	return g;
}

/* How many ulps of the right result, which fp32 would round to `right`, y is off. */
static double ulps_off(float y, double right, double allowed)
{
	double least = nextafterf(INFINITY, 0), off = fabs((double)y - right) - allowed;
	int e;

	if (isnan(right) || isnan(y))
		return isnan(right) && isnan(y) ? 0 : INFINITY;
	if (isinf(right) && isinf(y))
		return (right > 0) == (y > 0) ? 0 : INFINITY;
	/* On the way to an infinity, within an ulp of it either may come. */
	if (isinf((float)right) && isinf(y))
		return (right > 0) == (y > 0) ? 0 : INFINITY;
	if (isinf(y))
		off = least * (1 + 0x1p-24) * (y > 0 ? 1 : -1) - right, off = fabs(off) + 0x1p103;
	if (isinf(right))
		return INFINITY;
	frexp(right, &e);
	return off <= 0 ? 0 : off / ldexp(1, e - 24 < -149 ? -149 : e - 24);
}

static bool judge(const struct sweep *s, const float *y, double *worst)
{
	int wrong = 0;

	*worst = 0;
	for (int i = 0; i < SIZES; i++) {
		float x = element(s, 'x', i), b = element(s, 'b', i);
		double right = s->right(x, b), off;

		/* A zero's sign, where a quotient is one. */
		off = ulps_off(y[i], right, s->part * fabs((double)x)) / grows(s, right);
		if (is_square(s) && s->which < 0 && right == 0 && !signbit(right) != !signbit(y[i]))
			off = INFINITY;
		*worst = fmax(*worst, off);
		if (off > s->ulps && wrong++ < 5)
			printf("# element %d: of %a (and %a): %a, not %a: %.2f ulps\n", i,
			       (double)x, (double)b, (double)y[i], right, off);
	}
	return !wrong;
}

static bool on_card(const struct sweep *s, const char *chip_name, uint32_t ports, int level,
		    double *worst)
{
	char path[] = "/tmp/rduc-functions-XXXXXX", error[2048] = "";
	struct rduc_options opt = { .opt = level, .model = "functions", .fp32 = true };
	struct graph *g = make(s, error, sizeof(error));
	struct module *m = g ? graph_patterns(g) : NULL;
	struct rdu_chip chip;
	bool good = false;
	struct ran r;

	close(mkstemp(path));
	rdu_chip_find(chip_name, &chip, error, sizeof(error));
	chip.pmu_bytes = 16384; /* quick to clear */
	if (ports)
		chip.pcu_vec_in = ports;
	opt.chip = &chip;
	if (!m || rduc_backend(m, &opt, path, error, sizeof(error)) || ran_open(&r, path)) {
		printf("# %s -O%d: %s\n", chip_name, level, error);
	} else {
		for (int i = 0; i < m->num_tensors; i++) {
			const struct tensor *t = m->tensors[i];

			for (int k = 0; t->kind == TENSOR_INPUT && k < SIZES; k++)
				((float *)ran_symbol(&r, t->name))[k] = element(s, *t->name, k);
		}
		if (ran_entry(&r, 0, NULL, true, error, sizeof(error)))
			printf("# %s -O%d: %s\n", chip_name, level, error);
		else
			good = judge(s, ran_symbol(&r, "y"), worst);
		ran_close(&r);
	}
	module_free(m);
	graph_free(g);
	unlink(path);
	return good;
}

int main(void)
{
	for (size_t i = 0; i < sizeof(sweeps) / sizeof(sweeps[0]); i++) {
		const struct sweep *s = &sweeps[i];
		double worst[3] = { 0 };
		bool good = on_card(s, "sn10", 0, 1, &worst[0]);

		good = on_card(s, "plasticine", 0, 3, &worst[1]) && good;
		good = on_card(s, "sn10", 2, 0, &worst[2]) && good;
		ok(good, "%s%s%s: off by %.2f ulps, at most %.2f%s", s->op,
		   s->which < 0 ? ""
		   : s->which	? "'s second gradient"
				: "'s gradient",
		   s->constant ? " by a constant" : "", fmax(worst[0], fmax(worst[1], worst[2])),
		   s->ulps, s->part != 0 ? " beyond its part of the argument" : "");
	}
	return tap_done();
}
