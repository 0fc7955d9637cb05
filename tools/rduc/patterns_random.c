// SPDX-License-Identifier: MIT
/*
 * Random numbers: RandomUniform, RandomNormal, what is like them, Bernoulli, Multinomial, Dropout in
 * training mode. Nothing but a count of runs is kept, as a state: element i of a node is made of
 * RNG(RNG(seed, runs), i). Documentation/numerics.md has the rule as formulas.
 */
#include <math.h>
#include <string.h>
#include "graph.h"

#define OP1(op, a) nest_op(nest, RDU_SIMD_##op, a, -1, -1)
#define OP2(op, a, b) nest_op(nest, RDU_SIMD_##op, a, b, -1)
#define F(v) nest_imm_f(nest, v)
#define I(v) nest_imm_i(nest, v)
#define RUNS "random_runs"

enum random_kind { UNIFORM, NORMAL, GUMBEL };

/* How many runs there were; one more is what it is after this one. In a program that is trained it is
 * how many steps there were. */
static struct value *count_of_runs(struct graph *g, struct node *n)
{
	const int64_t one = 1;
	const uint32_t step = 1;
	struct value *v = graph_find(g, RUNS), *next;

	if (g->in_body) {
		node_error(g, n, "random numbers in a loop are not supported");
		return NULL;
	}
	if (v && v->kind == TENSOR_STATE && g->counts_runs)
		return v;
	if (v) {
		node_error(g, n,
			   "the model has a tensor '" RUNS "', which is to be its count of runs");
		return NULL;
	}
	v = graph_value(g, RUNS);
	v->dtype = RDU_DT_U32;
	v->ndim = 1;
	v->dim[0] = 1;
	v->kind = TENSOR_STATE;
	v->model_state = !g->trained;
	g->counts_runs = true;
	next = graph_op2(g, "Add", RUNS, v, graph_const(g, RDU_DT_U32, 1, &one, &step));
	if (!next)
		return NULL;
	graph_keep(g, v, next);
	return v;
}

static bool seed_is_taken(const struct graph *g, uint32_t seed)
{
	for (int i = 0; i < g->num_nodes; i++)
		if (!strcmp(g->nodes[i]->op->name, "Random") &&
		    (uint32_t)attr_i(g->nodes[i], "seed", 0) == seed)
			return true;
	return false;
}

/* Without a seed the node's name makes one, and nodes of one name have different ones. */
static uint32_t seed_of(const struct graph *g, const struct node *n)
{
	const struct attr *a = node_attr(n, "seed");
	uint32_t seed;

	if (!a) {
		seed = (uint32_t)rdu_fnv1a(RDU_FNV1A_INIT, n->name, strlen(n->name));
		while (seed_is_taken(g, seed))
			seed++;
		return seed;
	}
	if (a->kind == ATTR_INT)
		return (uint32_t)a->i;
	memcpy(&seed, &a->f, 4);
	return seed;
}

/* float of a shape. */
static struct value *random_values(struct graph *g, struct node *n, enum random_kind kind, int ndim,
				   const int64_t *dim)
{
	struct value *runs = count_of_runs(g, n);
	struct node *m = node_new(g, "Random", graph_format(g, "%.200s.random", n->name));
	int64_t count = dims_count(ndim, dim);

	if (!runs)
		return NULL;
	if (count < 0 || count > INT32_MAX) {
		node_error(g, n, "more than 2^31 random numbers are not supported");
		return NULL;
	}
	node_input(g, m, runs);
	node_attr_i(g, m, "seed", seed_of(g, n));
	node_attr_i(g, m, "kind", kind);
	node_attr_i(g, m, "count", count);
	return graph_reshape(g, n->name, graph_finish(g, m), ndim, dim);
}

/* ---- Random (internal) ---------------------------------------------------------------------- */

static int random_infer(struct graph *g, struct node *n)
{
	int64_t count = attr_i(n, "count", 0);

	return node_shape(g, n, 0, RDU_DT_F32, 1, &count);
}

/* In [0, 1), a multiple of 2^-24. */
static int uniform(struct nest *nest, int bits)
{
	return OP2(FMUL, OP1(I2F, OP2(SHR, bits, I(8))), F(0x1p-24f));
}

/* Of two random words, as Box and Muller: the first one's number is in (0, 1]. */
static int normal(struct nest *nest, int a, int b)
{
	int far = OP2(FSUB, F(1), uniform(nest, a));

	far = OP1(SQRT, OP2(FMUL, F(-2), OP1(LOG, far)));
	return OP2(FMUL, far, OP1(COS, OP2(FMUL, F(6.28318531f), uniform(nest, b))));
}

static int random_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = lower_nest(l, n, NULL);
	enum random_kind kind = (enum random_kind)attr_i(n, "kind", 0);
	int key, i, e, bits;

	nest_dim(nest, "i", n->out[0]->dim[0], false);
	nest_input(nest, lower_value(l, n->in[0]));
	key = OP2(RNG, I((int32_t)attr_i(n, "seed", 0)), nest_in(nest, 0));
	i = nest_index(nest, 0);
	if (kind == NORMAL) {
		i = OP2(SHL, i, I(1));
		e = normal(nest, OP2(RNG, key, i), OP2(RNG, key, OP2(OR, i, I(1))));
	} else {
		bits = OP2(RNG, key, i);
		e = kind == UNIFORM ? uniform(nest, bits) : expr_gumbel(nest, bits);
	}
	nest_output(nest, lower_value(l, n->out[0]), e);
	nest->out[0].access.coef[0][0] = 1;
	return lower_done(l, n, nest);
}

/* ---- RandomUniform, RandomNormal ------------------------------------------------------------- */

/* low + u (high - low), below high where fp32 would round up to it; or mean + scale z. */
static struct value *distributed(struct graph *g, struct node *n, bool is_normal, int ndim,
				 const int64_t *dim)
{
	float low = attr_f(n, "low", 0), high = attr_f(n, "high", 1);
	struct value *v = random_values(g, n, is_normal ? NORMAL : UNIFORM, ndim, dim);

	if (is_normal) {
		v = v ? graph_op2(g, "Mul", n->name, v, graph_const_f(g, attr_f(n, "scale", 1)))
		      : v;
		return v ? graph_op2(g, "Add", n->name, v, graph_const_f(g, attr_f(n, "mean", 0)))
			 : NULL;
	}
	v = v ? graph_op2(g, "Mul", n->name, v, graph_const_f(g, high - low)) : NULL;
	v = v ? graph_op2(g, "Add", n->name, v, graph_const_f(g, low)) : NULL;
	return v && high > low
		       ? graph_op2(g, "Min", n->name, v, graph_const_f(g, nextafterf(high, low)))
		       : v;
}

static bool is_float(int64_t t)
{
	return t == RDU_DT_F32 || t == RDU_DT_F16 || t == RDU_DT_BF16 || t == RDU_DT_F64;
}

static int random_expand(struct graph *g, struct node *n)
{
	bool like = n->num_in > 0, is_normal = n->op->name[6] == 'N';
	int64_t type = attr_i(n, "dtype", like ? n->in[0]->dtype : RDU_DT_F32);
	float low = attr_f(n, "low", 0), high = attr_f(n, "high", 1);
	int num = like ? n->in[0]->ndim : 0;
	const int64_t *dim = like ? n->in[0]->dim : attr_ints(n, "shape", &num);

	if (!is_float(type))
		return node_error(g, n, "of %s not supported", onnx_type_name((int)type));
	if (!is_normal && !(low <= high && isfinite(high - low)))
		return node_error(g, n, "low %g, high %g", (double)low, (double)high);
	if (num > RDU_MAX_DIMS)
		return node_error(g, n, "its shape has %d dimensions", num);
	for (int i = 0; i < num; i++)
		if (dim[i] < 0 || dim[i] > INT32_MAX)
			return node_error(g, n, "its shape has %lld", (long long)dim[i]);
	return graph_replace_first(n, graph_cast(g, n->name, distributed(g, n, is_normal, num, dim),
						 (enum rdu_dtype)type));
}

/* ---- Bernoulli, Multinomial, Dropout ------------------------------------------------------------ */

/* 1 with the probability that the input says. */
static int bernoulli_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *v;
	int64_t type = attr_i(n, "dtype", x->dtype);

	if (dtype_is_int(x->dtype))
		return node_error(g, n, "not supported for %s", dtype_name(x->dtype));
	if (!dtype_bytes((enum rdu_dtype)type) || dtype_is_small((enum rdu_dtype)type))
		return node_error(g, n, "to %s not supported", onnx_type_name((int)type));
	v = random_values(g, n, UNIFORM, x->ndim, x->dim);
	x = graph_cast(g, n->name, x, RDU_DT_F32);
	v = v && x ? graph_op2(g, "Less", n->name, v, x) : NULL;
	return graph_replace_first(n, graph_cast(g, n->name, v, (enum rdu_dtype)type));
}

/* Of each row of logarithms of weights, several classes: the greatest sum with Gumbel's noise. */
static int multinomial_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *v;
	int64_t type = attr_i(n, "dtype", RDU_DT_I32), num = attr_i(n, "sample_size", 1), dim[3];
	struct node *m;

	if (dtype_is_int(x->dtype) || x->ndim != 2 || x->dim[1] < 1)
		return node_error(g, n, "not supported for %s%s", dtype_name(x->dtype),
				  value_shape_text(g, x));
	if ((type != RDU_DT_I32 && type != RDU_DT_I64) || num < 1 || num > INT32_MAX)
		return node_error(g, n, "%lld samples of %s", (long long)num,
				  onnx_type_name((int)type));
	dim[0] = x->dim[0];
	dim[1] = num;
	dim[2] = x->dim[1];
	v = random_values(g, n, GUMBEL, 3, dim);
	dim[1] = 1;
	x = graph_reshape(g, n->name, graph_cast(g, n->name, x, RDU_DT_F32), 3, dim);
	v = v && x ? graph_op2(g, "Add", n->name, v, x) : NULL;
	if (!v)
		return -1;
	m = node_new(g, "ArgMax", n->name);
	node_input(g, m, v);
	node_attr_i(g, m, "axis", 2);
	node_attr_i(g, m, "keepdims", 0);
	return graph_replace_first(
		n, graph_cast(g, n->name, graph_finish(g, m), (enum rdu_dtype)type));
}

/* What is kept, times 1 / (1 - ratio); where `training`, a bool, says so, else all of it. */
int random_dropout(struct graph *g, struct node *n, struct value *training, struct value **y,
		   struct value **kept)
{
	struct value *x = n->in[0], *ratio = node_in(n, 1), *v, *keep, *scale;

	ratio = ratio ? graph_cast(g, n->name, ratio, RDU_DT_F32) : graph_const_f(g, 0.5f);
	if (!ratio || value_count(ratio) != 1 || value_count(training) != 1 ||
	    training->dtype != RDU_DT_BOOL || dtype_is_int(x->dtype))
		return node_error(g, n, "its ratio and its mode have shapes %s and %s",
				  ratio ? value_shape_text(g, ratio) : "?",
				  value_shape_text(g, training));
	if (ratio->constant && ratio->data &&
	    !(value_real(ratio, 0) >= 0 && value_real(ratio, 0) < 1))
		return node_error(g, n, "its ratio is %g", value_real(ratio, 0));
	ratio = graph_reshape(g, n->name, ratio, 0, NULL);
	training = graph_reshape(g, n->name, training, 0, NULL);
	ratio = ratio && training
			? graph_op3(g, "Where", n->name, training, ratio, graph_const_f(g, 0))
			: NULL;
	v = random_values(g, n, UNIFORM, x->ndim, x->dim);
	keep = v && ratio ? graph_op2(g, "GreaterOrEqual", graph_format(g, "%.200s.keep", n->name),
				      v, ratio)
			  : NULL;
	scale = keep ? graph_op2(g, "Sub", n->name, graph_const_f(g, 1), ratio) : NULL;
	v = graph_cast(g, n->name, x, RDU_DT_F32);
	v = scale && v ? graph_op2(g, "Div", n->name, v, scale) : NULL;
	v = v ? graph_op3(g, "Where", n->name, keep, v, graph_const_f(g, 0)) : NULL;
	v = graph_cast(g, n->name, v, x->dtype);
	if (!v)
		return -1;
	*kept = keep;
	*y = v;
	return 0;
}

#define EXPAND(onnx, ins, fn)                                                          \
	{                                                                              \
		.name = onnx, .min_in = ins, .max_in = ins, .max_out = 1, .expand = fn \
	}

const struct op ops_random[] = {
	EXPAND("RandomUniform", 0, random_expand),
	EXPAND("RandomNormal", 0, random_expand),
	EXPAND("RandomUniformLike", 1, random_expand),
	EXPAND("RandomNormalLike", 1, random_expand),
	EXPAND("Bernoulli", 1, bernoulli_expand),
	EXPAND("Multinomial", 1, multinomial_expand),
	{ .name = "Random",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .internal = true,
	  .infer = random_infer,
	  .stop_gradient = true,
	  .pattern = random_pattern },
	{ 0 },
};
