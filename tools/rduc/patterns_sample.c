// SPDX-License-Identifier: MIT
/*
 * Choosing a token by its logits, as nests: what the entry point `generate` adds to `decode`
 * (tokens.c). Documentation/compiler.md has the rule as formulas.
 *
 * Nothing is sorted. Which tokens can be chosen at all is a threshold of their *keys*, integers in
 * the order of the logits: the greatest one that tokens of at least so much weight reach, found
 * four bits at a time. A token's weight is 1 for top-k, and for top-p its probability as an
 * integer, so that sums are the same in any order. By chance is the greatest sum of a logit and
 * noise (Gumbel's distribution, times the temperature): token i is it with probability
 * e^(logit i / temperature) over the sum of these.
 */
#include <math.h>
#include <float.h>
#include "graph.h"

#define OP1(op, a) nest_op(nest, RDU_SIMD_##op, a, -1, -1)
#define OP2(op, a, b) nest_op(nest, RDU_SIMD_##op, a, b, -1)
#define OP3(op, a, b, c) nest_op(nest, RDU_SIMD_##op, a, b, c)
#define F(v) nest_imm_f(nest, v)
#define I(v) nest_imm_i(nest, v)

#define SEARCH_BITS 4 /* of a key, found at once */
#define COARSE 4096.0f /* weights of 1 are this, where their sum is bounded first */

/* ---- nests ---------------------------------------------------------------------------- */

static int vector(struct graph *g, struct node *n, enum rdu_dtype dtype, int64_t num)
{
	return node_shape(g, n, 0, dtype, 1, &num);
}

/* An input of the nest, along its dimension d; -1: it is one number. */
static int operand(struct lower *l, struct nest *nest, struct value *v, int d)
{
	int in = nest_input(nest, lower_value(l, v));

	if (d >= 0)
		nest->in[in].coef[0][d] = 1;
	return nest_in(nest, in);
}

/* A nest over the result's elements; if they are one, a sum over those of the first input. */
static struct nest *begin(struct lower *l, struct node *n, bool sums)
{
	struct nest *nest = lower_nest(l, n, NULL);

	nest_dim(nest, "i", n->out[0]->dim[0], false);
	if (sums) {
		nest_dim(nest, "v", n->in[0]->dim[0], true);
		nest->reduce = REDUCE_IADD;
	}
	return nest;
}

static int finish(struct lower *l, struct node *n, struct nest *nest, int e)
{
	nest_output(nest, lower_value(l, n->out[0]), e);
	nest->out[0].access.coef[0][0] = 1;
	return lower_done(l, n, nest);
}

/* SampleKey: integers in the order of logits. One that is not finite stops the run. */
static int key_infer(struct graph *g, struct node *n)
{
	return vector(g, n, RDU_DT_I32, n->in[0]->dim[0]);
}

static int key_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = begin(l, n, false);
	int x = operand(l, nest, n->in[0], 0), bad;

	bad = OP2(IEQ, OP2(FEQ, OP2(FSUB, x, x), F(0)), I(0));
	return finish(l, n, nest,
		      nest_trap(nest, expr_order_key(nest, RDU_DT_F32, x), bad, RDU_TRAP_FINITE));
}

/* SampleCopy: the same numbers, elsewhere. (As an operation: what only moves numbers, passes after
 * this one take out.) */
static int copy_infer(struct graph *g, struct node *n)
{
	return vector(g, n, n->in[0]->dtype, n->in[0]->dim[0]);
}

static int copy_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = begin(l, n, false);

	return finish(l, n, nest, OP2(OR, operand(l, nest, n->in[0], 0), I(0)));
}

/* SampleReach(key, from[, weight]): the weight of the keys that reach from + (i + 1) 2^shift. */
static int reach_infer(struct graph *g, struct node *n)
{
	return vector(g, n, RDU_DT_I32, (1 << SEARCH_BITS) - 1);
}

static int reach_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = begin(l, n, true);
	int key = operand(l, nest, n->in[0], 1), from = operand(l, nest, n->in[1], -1), weight, at;

	weight = n->num_in > 2 ? operand(l, nest, n->in[2], 1) : I(1);
	at = OP2(SHL, OP2(IADD, nest_index(nest, 0), I(1)), I((int32_t)attr_i(n, "shift", 0)));
	nest->body = OP3(SELECT, OP2(ILE, OP2(IADD, from, at), key), weight, I(0));
	return finish(l, n, nest, nest_red(nest));
}

/* SampleNext(reach, from, least): from, plus 2^shift for each place that reaches `least`; a least of
 * 0, or from 2^31 on, is one that none does. */
static int one_int_infer(struct graph *g, struct node *n)
{
	return vector(g, n, RDU_DT_I32, 1);
}

static int next_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = begin(l, n, true);
	int reach = operand(l, nest, n->in[0], 1), from, least;

	from = operand(l, nest, n->in[1], -1);
	least = operand(l, nest, n->in[2], -1);
	least = OP3(SELECT, OP2(ILE, least, I(0)), I(INT32_MAX), least);
	nest->body = OP3(SELECT, OP2(ILE, least, reach), I(1), I(0));
	return finish(l, n, nest,
		      OP2(IADD, from, OP2(SHL, nest_red(nest), I((int32_t)attr_i(n, "shift", 0)))));
}

/* SampleWeight(logit, key, threshold, most, temperature): e^((logit - most) / temperature) of keys
 * that reach the threshold, 0 of the others. */
static int weight_infer(struct graph *g, struct node *n)
{
	return vector(g, n, RDU_DT_F32, n->in[0]->dim[0]);
}

static int weight_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = begin(l, n, false);
	int x = operand(l, nest, n->in[0], 0), key = operand(l, nest, n->in[1], 0);
	int from = operand(l, nest, n->in[2], -1), most = operand(l, nest, n->in[3], -1), t;

	t = operand(l, nest, n->in[4], -1);
	t = OP3(SELECT, OP2(FLT, F(0), t), OP1(RECIP, t), F(0));
	x = OP1(EXP, OP2(FMUL, OP2(FSUB, x, most), t));
	return finish(l, n, nest, OP3(SELECT, OP2(ILE, from, key), x, F(0)));
}

/* SampleScale(weight): the greatest power of two, but for a factor of two, by which the sum of all
 * weights is not above 2^30. With A that of weights times COARSE, each rounded: at most A + V / 2 of
 * V weights, so A + V, with exponent e, bounds it, and 2^(41 - e) does. */
static int scale_infer(struct graph *g, struct node *n)
{
	return vector(g, n, RDU_DT_F32, 1);
}

static int scale_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = begin(l, n, true);
	int weight = operand(l, nest, n->in[0], 1), sum;

	nest->body = OP1(F2I, OP2(FMUL, weight, F(COARSE)));
	sum = OP2(IADD, nest_red(nest), I((int32_t)n->in[0]->dim[0]));
	return finish(l, n, nest,
		      OP2(ISUB, I((int32_t)(295u << 23)), OP2(AND, OP1(I2F, sum), I(0x7f800000))));
}

/* SampleWhole(weight, scale): weights as integers. */
static int whole_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = begin(l, n, false);
	int weight = operand(l, nest, n->in[0], 0), scale = operand(l, nest, n->in[1], -1);

	return finish(l, n, nest, OP1(F2I, OP2(FMUL, weight, scale)));
}

/* SamplePart(weight, part): how much `part` of all weights is, at least 1; 0, which is no bound, of
 * a part that is not between 0 and 1. */
static int part_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = begin(l, n, true);
	int part, all, least;

	nest->body = operand(l, nest, n->in[0], 1);
	part = operand(l, nest, n->in[1], -1);
	all = OP3(SELECT, OP2(FLT, F(0), part), OP2(FLE, F(1), part), I(1));
	least = OP2(IMAX, I(1), OP1(F2I, OP2(FMUL, OP1(I2F, nest_red(nest)), part)));
	return finish(l, n, nest, OP3(SELECT, all, I(0), least));
}

/* v is uniform, of 31 of the bits; where it is small, -log(1 - v) is a series, or 1 - v would round. */
int expr_gumbel(struct nest *nest, int bits)
{
	int v = OP2(FMUL, OP2(FADD, OP1(I2F, OP2(SHR, bits, I(1))), F(0.5f)), F(0x1p-31f)), few;

	v = OP2(FMIN, v, F(1 - 0x1p-24f));
	few = OP3(FMA, v, F(0.25f), F(1 / 3.0f));
	few = OP3(FMA, v, few, F(0.5f));
	few = OP3(FMA, v, few, F(1));
	few = OP2(FMUL, v, few);
	v = OP3(SELECT, OP2(FLT, v, F(0x1p-6f)), few, OP1(FNEG, OP1(LOG, OP2(FSUB, F(1), v))));
	return OP1(FNEG, OP1(LOG, v));
}

/* SampleNoise(logit, seed, number): Gumbel's, for token `number` of a seed, and candidate i. */
static int noise_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = begin(l, n, false);
	int seed = operand(l, nest, n->in[1], -1), number = operand(l, nest, n->in[2], -1);

	return finish(l, n, nest,
		      expr_gumbel(nest, OP2(RNG, OP2(RNG, seed, number), nest_index(nest, 0))));
}

/* SampleScore(logit, key, threshold, threshold, noise, temperature) */
static int score_pattern(struct lower *l, struct node *n)
{
	struct nest *nest = begin(l, n, false);
	int x = operand(l, nest, n->in[0], 0), key = operand(l, nest, n->in[1], 0), from, noise;

	from = OP2(IMAX, operand(l, nest, n->in[2], -1), operand(l, nest, n->in[3], -1));
	noise = operand(l, nest, n->in[4], 0);
	x = OP2(FADD, x, OP2(FMUL, operand(l, nest, n->in[5], -1), noise));
	return finish(l, n, nest,
		      OP3(SELECT, OP2(ILE, from, key), OP2(FMAX, x, F(-FLT_MAX)), F(-INFINITY)));
}

/* ---- the graph ------------------------------------------------------------------------ */

static struct value *sample_node(struct graph *g, const char *op, int num, struct value **in,
				 int shift)
{
	struct node *n = node_new(g, op, "sample");

	for (int i = 0; i < num; i++) {
		if (!in[i])
			return NULL;
		node_input(g, n, in[i]);
	}
	node_attr_i(g, n, "shift", shift);
	return graph_finish(g, n);
}

#define NODE(op, ...)                                                                  \
	sample_node(g, op, sizeof((struct value *[]){ __VA_ARGS__ }) / sizeof(void *), \
		    (struct value *[]){ __VA_ARGS__ }, 0)

/*
 * A vector that many nests read. A scratchpad has few readers: what has had READS of them is copied
 * to another one, which the next ones read. So all of them can be in one section.
 */
#define READS 2
struct shared {
	struct value *v;
	int reads;
};

static struct value *use(struct graph *g, struct shared *s)
{
	if (s->v && s->reads++ == READS) {
		s->v = NODE("SampleCopy", s->v);
		s->reads = 1;
	}
	return s->v;
}

/* The greatest threshold that keys of weight `least` reach. weight NULL: each weighs 1. */
static struct value *search(struct graph *g, struct shared *key, struct shared *weight,
			    struct shared *least)
{
	const int32_t lowest = INT32_MIN;
	const int64_t one = 1;
	struct value *from = graph_const(g, RDU_DT_I32, 1, &one, &lowest);

	for (int shift = 32 - SEARCH_BITS; from && shift >= 0; shift -= SEARCH_BITS) {
		struct value *reach = sample_node(
			g, "SampleReach", weight ? 3 : 2,
			(struct value *[]){ use(g, key), from, weight ? use(g, weight) : NULL },
			shift);

		from = sample_node(g, "SampleNext", 3,
				   (struct value *[]){ reach, from, use(g, least) }, shift);
	}
	return from;
}

/* The first one of the greatest. */
static struct value *best_of(struct graph *g, struct value *v)
{
	struct node *best = node_new(g, "ArgMax", "sample");

	if (!v)
		return NULL;
	node_input(g, best, v);
	return graph_finish(g, best);
}

struct value *graph_likeliest(struct graph *g, struct value *logits)
{
	return best_of(g, NODE("SampleKey", logits));
}

struct value *graph_sample(struct graph *g, struct value *logits, const struct sample_inputs *in)
{
	const int64_t axis = 0;
	struct shared logit = { .v = logits }, key = { .v = NODE("SampleKey", use(g, &logit)) };
	struct shared whole = { 0 }, k = { .v = in->top_k }, part = { 0 };
	struct value *most, *weight, *first, *second, *noise, *score;

	noise = NODE("SampleNoise", logits, in->seed, in->number);
	most = graph_reduce(g, "ReduceMax", "sample", use(g, &logit), 1, &axis, 1);
	first = search(g, &key, NULL, &k);
	weight = NODE("SampleWeight", use(g, &logit), use(g, &key), first, most, in->temperature);
	whole.v = NODE("SampleWhole", weight, NODE("SampleScale", weight));
	part.v = NODE("SamplePart", use(g, &whole), in->top_p);
	second = search(g, &key, &whole, &part);
	score = NODE("SampleScore", use(g, &logit), use(g, &key), first, second, noise,
		     in->temperature);
	return best_of(g, score);
}

#define SAMPLE(what, ins, infer_fn, pattern_fn)                                                   \
	{                                                                                         \
		.name = "Sample" what, .min_in = ins, .max_in = ins, .max_out = 1,                \
		.internal = true, .infer = infer_fn, .pattern = pattern_fn, .stop_gradient = true \
	}

const struct op ops_sample[] = {
	SAMPLE("Key", 1, key_infer, key_pattern),
	SAMPLE("Copy", 1, copy_infer, copy_pattern),
	SAMPLE("Reach", 3, reach_infer, reach_pattern),
	SAMPLE("Next", 3, one_int_infer, next_pattern),
	SAMPLE("Weight", 5, weight_infer, weight_pattern),
	SAMPLE("Scale", 1, scale_infer, scale_pattern),
	SAMPLE("Whole", 2, key_infer, whole_pattern),
	SAMPLE("Part", 2, one_int_infer, part_pattern),
	SAMPLE("Noise", 3, weight_infer, noise_pattern),
	SAMPLE("Score", 6, weight_infer, score_pattern),
	{ 0 },
};
