// SPDX-License-Identifier: MIT
/*
 * rdu-mkmodel: language models of rows that RMSNorm scales and a gated layer follows: `llama`
 * (rotated positions, query heads that share keys), `bitnet` (the same with ternary weights),
 * `matmulfree` (ternary weights, and a recurrence in the place of attention). Weights have the
 * names and shapes that nn.Linear gives them, [out, in].
 */
#include <math.h>
#include <stdlib.h>
#include "graph.h"
#include "mem.h"
#include "mkmodel.h"

#define STDDEV 0.02 /* of all weights before training */

struct sizes {
	int64_t batch, length, width, heads, kv_heads, inner;
	bool ternary; /* products by BitLinear */
	struct mk_cache cache;
	bool stateful; /* the recurrence goes on where the last run ended */
};

/* Places of keys: those of the cache, or the run's own. */
static int64_t num_keys(const struct sizes *s)
{
	return s->cache.places ? s->cache.places : s->length;
}

/* "model.layers.0.mlp" names weights, "model/layers.0/mlp" nodes: here "layers.0.mlp" both. */
static const char *weight(struct mk *m, const char *path, int ndim, const int64_t *dim)
{
	return mk_weight(m, mk_text("%s.weight", path), ndim, dim, STDDEV * sqrt(3));
}

static const char *reduced(struct mk *m, const char *scope, const char *op, const char *x)
{
	Onnx__NodeProto *n = MK_SCOPED(m, scope, op, x);

	mk_attr_ints(n, "axes", DIMS(-1));
	mk_attr_int(n, "keepdims", 1);
	return n->output[0];
}

/* x / sqrt(mean(x^2) + epsilon) times a weight, over the last axis */
static const char *rms_norm(struct mk *m, const char *path, const char *x, int64_t width,
			    double epsilon)
{
	const char *gain = mk_filled(m, mk_text("%s.weight", path), DIMS(width), 1), *y;

	y = MK_OP(m, path, "Pow", x, mk_scalar(m, path, 2));
	y = reduced(m, path, "ReduceMean", y);
	y = MK_OP(m, path, "Sqrt", MK_OP(m, path, "Add", y, mk_scalar(m, path, epsilon)));
	y = MK_OP(m, path, "Mul", x, MK_OP(m, path, "Div", mk_scalar(m, path, 1), y));
	return MK_OP(m, path, "Mul", gain, y);
}

/* ---- products ------------------------------------------------------------------------ */

/* x + (q - x): what PyTorch's exporter writes for x + (q - x).detach(). The value is q's, the
 * gradient goes to x as if it were x. */
static const char *straight_through(struct mk *m, const char *scope, const char *x, const char *q)
{
	return MK_OP(m, scope, "Add", x, MK_OP(m, scope, "Sub", q, x));
}

/* Round(x s) within bounds, over s */
static const char *quantized(struct mk *m, const char *scope, const char *x, const char *s,
			     double least, double most)
{
	const char *q = MK_OP(m, scope, "Round", MK_OP(m, scope, "Mul", x, s));

	q = MK_OP(m, scope, "Clip", q, mk_scalar(m, scope, least), mk_scalar(m, scope, most));
	return straight_through(m, scope, x, MK_OP(m, scope, "Div", q, s));
}

/* `most` over a size that is at least 1e-5 */
static const char *scale(struct mk *m, const char *scope, const char *size, double most)
{
	size = MK_OP(m, scope, "Clip", size, mk_scalar(m, scope, 1e-5));
	return MK_OP(m, scope, "Div", mk_scalar(m, scope, most), size);
}

/* BitNet b1.58: rows of 8 bits by their largest number, weights of -1, 0 and 1 by their mean. */
static const char *bit_linear(struct mk *m, const char *path, const char *x, int64_t in,
			      int64_t out)
{
	const char *w = weight(m, path, DIMS(out, in)), *s;
	Onnx__NodeProto *mean;

	x = rms_norm(m, mk_text("%s.norm", path), x, in, 1e-8);
	s = scale(m, path, reduced(m, path, "ReduceMax", MK_OP(m, path, "Abs", x)), 127);
	x = quantized(m, path, x, s, -128, 127);
	mean = MK_SCOPED(m, path, "ReduceMean", MK_OP(m, path, "Abs", w));
	mk_attr_int(mean, "keepdims", 0);
	w = quantized(m, path, w, scale(m, path, mean->output[0], 1), -1, 1);
	return MK_OP(m, path, "MatMul", x, mk_transpose(m, path, w, DIMS(1, 0)));
}

/* nn.Linear without a bias, of the last axis */
static const char *linear(struct mk *m, const char *path, const char *x, int64_t in, int64_t out,
			  bool ternary)
{
	return ternary ? bit_linear(m, path, x, in, out) : mk_rows(m, path, x, in, out, STDDEV);
}

/* ---- attention ------------------------------------------------------------------------- */

/* Angles t / 10000^(2i/d) of the two halves of a head, at every place of the run: [T,d] */
static const char *angles(struct mk *m, const char *name, const struct sizes *s,
			  double (*of)(double))
{
	int64_t d = s->width / s->heads;
	double *v = xcalloc((size_t)(num_keys(s) * d), sizeof(*v));
	const char *table;

	for (int64_t t = 0; t < num_keys(s); t++)
		for (int64_t i = 0; i < d; i++)
			v[t * d + i] = of((double)t *
					  pow(10000, -2.0 * (double)(i % (d / 2)) / (double)d));
	table = mk_table(m, name, DIMS(num_keys(s), d), v);
	free(v);
	return s->cache.places ? MK_OP(m, name, "Gather", table, s->cache.at) : table;
}

/* The two halves of the last axis, turned by the angles of their places. */
static const char *rotated(struct mk *m, const char *scope, const char *x, const char *cos_table,
			   const char *sin_table, const struct sizes *s)
{
	int64_t half = s->width / s->heads / 2;
	Onnx__NodeProto *split =
		MK_SCOPED(m, scope, "Split", x, mk_ints(m, scope, 1, (int64_t[]){ half, half }, 2));
	const char *second = mk_more_output(split);
	Onnx__NodeProto *turned =
		MK_SCOPED(m, scope, "Concat", MK_OP(m, scope, "Neg", second), split->output[0]);

	mk_attr_int(split, "axis", -1);
	mk_attr_int(turned, "axis", -1);
	x = MK_OP(m, scope, "Mul", x, cos_table);
	return MK_OP(m, scope, "Add", x, MK_OP(m, scope, "Mul", turned->output[0], sin_table));
}

/* [B,T,n d] as [B,n,T,d] */
static const char *split_heads(struct mk *m, const char *scope, const char *x,
			       const struct sizes *s, int64_t n)
{
	int64_t d = s->width / s->heads;

	x = mk_reshape(m, scope, x, DIMS(s->batch, s->length, n, d));
	return mk_transpose(m, scope, x, DIMS(0, 2, 1, 3));
}

/* Each of the heads of keys and values as often as query heads share it. */
static const char *repeated(struct mk *m, const char *scope, const char *x, const struct sizes *s)
{
	int64_t d = s->width / s->heads, times = s->heads / s->kv_heads, two = 2;
	int64_t dim[] = { s->batch, s->kv_heads, times, num_keys(s), d };

	if (times == 1)
		return x;
	x = MK_OP(m, scope, "Unsqueeze", x, mk_ints(m, scope, 1, &two, 1));
	x = MK_OP(m, scope, "Expand", x, mk_ints(m, scope, 1, dim, 5));
	return mk_reshape(m, scope, x, DIMS(s->batch, s->heads, num_keys(s), d));
}

struct tables {
	const char *mask, *cos_table, *sin_table;
};

static const char *attend(struct mk *m, const char *path, const char *x, const struct sizes *s,
			  const struct tables *t, int64_t layer)
{
	int64_t d = s->width / s->heads, kv = d * s->kv_heads;
	const char *q = linear(m, mk_text("%s.q_proj", path), x, s->width, s->width, s->ternary);
	const char *k = linear(m, mk_text("%s.k_proj", path), x, s->width, kv, s->ternary);
	const char *v = linear(m, mk_text("%s.v_proj", path), x, s->width, kv, s->ternary);
	Onnx__NodeProto *softmax;

	q = rotated(m, path, split_heads(m, path, q, s, s->heads), t->cos_table, t->sin_table, s);
	k = rotated(m, path, split_heads(m, path, k, s, s->kv_heads), t->cos_table, t->sin_table,
		    s);
	if (s->cache.places)
		k = mk_cached(m, path, &s->cache, layer, "key", k, d);
	k = mk_transpose(m, path, repeated(m, path, k, s), DIMS(0, 1, 3, 2));
	v = split_heads(m, path, v, s, s->kv_heads);
	if (s->cache.places)
		v = mk_cached(m, path, &s->cache, layer, "value", v, d);
	v = repeated(m, path, v, s);
	x = MK_OP(m, path, "Div", MK_OP(m, path, "MatMul", q, k),
		  mk_scalar(m, path, sqrt((double)d)));
	x = MK_OP(m, path, "Where", t->mask, x, mk_scalar(m, path, -3.3895313892515355e38));
	softmax = MK_SCOPED(m, path, "Softmax", x);
	mk_attr_int(softmax, "axis", -1);
	x = MK_OP(m, path, "MatMul", softmax->output[0], v);
	x = mk_transpose(m, path, x, DIMS(0, 2, 1, 3));
	x = mk_reshape(m, path, x, DIMS(s->batch, s->length, s->width));
	return linear(m, mk_text("%s.o_proj", path), x, s->width, s->width, s->ternary);
}

/* ---- a layer of gates: down(silu(gate(x)) up(x)) -------------------------------------- */

static const char *silu(struct mk *m, const char *scope, const char *x)
{
	return MK_OP(m, scope, "Mul", x, MK_OP(m, scope, "Sigmoid", x));
}

static const char *gated(struct mk *m, const char *path, const char *x, const struct sizes *s)
{
	int64_t d = s->width, inner = s->inner;
	const char *gate = linear(m, mk_text("%s.gate_proj", path), x, d, inner, s->ternary);
	const char *up = linear(m, mk_text("%s.up_proj", path), x, d, inner, s->ternary);

	x = MK_OP(m, path, "Mul", silu(m, path, gate), up);
	return linear(m, mk_text("%s.down_proj", path), x, inner, d, s->ternary);
}

/* The same with gate and up in one product, as MatMul-free models have it. */
static const char *gated_together(struct mk *m, const char *path, const char *x,
				  const struct sizes *s)
{
	int64_t d = s->width, inner = s->inner, halves[] = { inner, inner };
	const char *both = linear(m, mk_text("%s.gate_proj", path), x, d, 2 * inner, s->ternary);
	Onnx__NodeProto *split = MK_SCOPED(m, path, "Split", both, mk_ints(m, path, 1, halves, 2));
	const char *up = mk_more_output(split);

	mk_attr_int(split, "axis", -1);
	x = MK_OP(m, path, "Mul", silu(m, path, split->output[0]), up);
	return linear(m, mk_text("%s.down_proj", path), x, inner, d, s->ternary);
}

/* ---- the recurrence of MatMul-free models ----------------------------------------------- */

/* h' = f h + i over the steps of [B,T,d], from a state of zeros or the last run's */
static const char *recurrence(struct mk *m, const char *scope, const char *f, const char *i,
			      const struct sizes *s, int64_t layer)
{
	const char *first =
		s->stateful ? mk_past(m, layer, "h", s->batch, s->width)
			    : mk_zeros(m, mk_text("%s.state", scope), DIMS(s->batch, s->width));
	Onnx__NodeProto *n = MK_SCOPED(m, scope, "Scan", first, f, i);
	const char *all = mk_more_output(n), *state, *f_row, *i_row, *next;
	Onnx__GraphProto around;

	mk_body_begin(m, &around);
	state = mk_input(m, mk_text("%s.h", scope), 0, DIMS(s->batch, s->width));
	f_row = mk_input(m, mk_text("%s.f", scope), 0, DIMS(s->batch, s->width));
	i_row = mk_input(m, mk_text("%s.i", scope), 0, DIMS(s->batch, s->width));
	scope = mk_text("%s.body", scope);
	next = MK_OP(m, scope, "Add", MK_OP(m, scope, "Mul", f_row, state), i_row);
	mk_output(m, mk_text("%s.next", scope), next, DIMS(s->batch, s->width));
	next = MK_OP(m, scope, "Identity", mk_text("%s.next", scope));
	mk_output(m, mk_text("%s.all", scope), next, DIMS(s->batch, s->width));
	mk_body_end(m, &around, n);
	mk_attr_int(n, "num_scan_inputs", 2);
	mk_attr_ints(n, "scan_input_axes", DIMS(1, 1));
	mk_attr_ints(n, "scan_output_axes", DIMS(1));
	if (s->stateful)
		mk_present(m, layer, "h", n->output[0], s->batch, s->width);
	return all;
}

/* bound: the least a gate forgets, [d]; NULL: 0 */
static const char *mlgru(struct mk *m, const char *path, const char *x, const struct sizes *s,
			 const char *bound, int64_t layer)
{
	int64_t d = s->width;
	const char *i = linear(m, mk_text("%s.i_proj", path), x, d, d, s->ternary);
	const char *f = linear(m, mk_text("%s.f_proj", path), x, d, d, s->ternary);
	const char *g = linear(m, mk_text("%s.g_proj", path), x, d, d, s->ternary), *h;

	f = MK_OP(m, path, "Sigmoid", f);
	if (bound) {
		const char *rest = MK_OP(m, path, "Sub", mk_scalar(m, path, 1), bound);

		f = MK_OP(m, path, "Add", bound, MK_OP(m, path, "Mul", rest, f));
	}
	i = MK_OP(m, path, "Mul", silu(m, path, i),
		  MK_OP(m, path, "Sub", mk_scalar(m, path, 1), f));
	h = recurrence(m, path, f, i, s, layer);
	g = rms_norm(m, mk_text("%s.g_norm", path), g, d, 1e-5);
	return linear(m, mk_text("%s.o_proj", path), MK_OP(m, path, "Mul", g, silu(m, path, h)), d,
		      d, s->ternary);
}

/* The layers' bounds [LAYERS,d]: sums of a softmax over the layers, from 0 on. */
static const char *lower_bounds(struct mk *m, int64_t layers, int64_t d)
{
	const char *path = "lower_bounds";
	const char *w = mk_weight(m, "lower_bounds", DIMS(layers, d), STDDEV * sqrt(3)), *sums;
	Onnx__NodeProto *n = MK_SCOPED(m, path, "Softmax", w);
	int64_t zero = 0, one = 1;

	mk_attr_int(n, "axis", 0);
	sums = MK_OP(m, path, "CumSum", n->output[0], mk_ints(m, path, 0, &zero, 1));
	return MK_OP(m, path, "Sub", sums,
		     MK_OP(m, path, "Slice", n->output[0], mk_ints(m, path, 1, &zero, 1),
			   mk_ints(m, path, 1, &one, 1), mk_ints(m, path, 1, &zero, 1)));
}

/* ---- models ---------------------------------------------------------------------------- */

static int get_sizes(struct mk *m, struct sizes *s, bool attention)
{
	int64_t inner = mk_size(m, "ff");

	s->batch = mk_size(m, "batch");
	s->length = mk_size(m, "t");
	s->width = mk_size(m, "d");
	/* 8/3 of the width, up to the next 256 */
	s->inner = inner ? inner : (8 * s->width / 3 + 255) / 256 * 256;
	if (!attention) {
		s->stateful = mk_size(m, "state");
		return 0;
	}
	if (mk_check_cache(m, mk_size(m, "cache"), s->length))
		return -1;
	s->heads = mk_size(m, "heads");
	s->kv_heads = mk_size(m, "kv-heads");
	if (s->width % (2 * s->heads))
		return mk_refuse(m, "--d %lld is not a multiple of twice --heads %lld",
				 (long long)s->width, (long long)s->heads);
	if (s->heads % s->kv_heads)
		return mk_refuse(m, "--heads %lld is not a multiple of --kv-heads %lld",
				 (long long)s->heads, (long long)s->kv_heads);
	return 0;
}

/* Token numbers to rows. */
static const char *embedded(struct mk *m, const struct sizes *s)
{
	const char *ids = mk_input(m, "input_ids", RDU_DT_I64, DIMS(s->batch, s->length));
	const char *w = weight(m, "embed_tokens", DIMS(mk_size(m, "vocab"), s->width));

	return MK_OP(m, "embed_tokens", "Gather", w, ids);
}

static void to_logits(struct mk *m, const char *x, const struct sizes *s, bool ternary)
{
	int64_t vocab = mk_size(m, "vocab");

	x = rms_norm(m, "norm", x, s->width, 1e-6);
	x = linear(m, "lm_head", x, s->width, vocab, ternary);
	mk_output(m, "logits", x, DIMS(s->batch, s->length, vocab));
}

static int make_attention_model(struct mk *m, bool ternary)
{
	struct sizes s = { .ternary = ternary };
	struct tables t;
	const char *x, *y;

	if (get_sizes(m, &s, true))
		return -1;
	x = embedded(m, &s);
	if (mk_size(m, "cache"))
		s.cache = mk_cache(m, mk_size(m, "cache"), s.length, s.batch, s.kv_heads);
	t.mask = s.cache.places ? s.cache.mask : mk_causal_mask(m, "mask", s.length);
	t.cos_table = angles(m, "rotary.cos", &s, cos);
	t.sin_table = angles(m, "rotary.sin", &s, sin);
	for (int64_t i = 0; i < mk_size(m, "layers"); i++) {
		const char *path = mk_text("layers.%lld", (long long)i);

		y = rms_norm(m, mk_text("%s.input_layernorm", path), x, s.width, 1e-6);
		y = attend(m, mk_text("%s.self_attn", path), y, &s, &t, i);
		x = MK_OP(m, path, "Add", x, y);
		y = rms_norm(m, mk_text("%s.post_attention_layernorm", path), x, s.width, 1e-6);
		x = MK_OP(m, path, "Add", x, gated(m, mk_text("%s.mlp", path), y, &s));
	}
	to_logits(m, x, &s, false);
	return 0;
}

static int make_llama(struct mk *m)
{
	return make_attention_model(m, false);
}

static int make_bitnet(struct mk *m)
{
	return make_attention_model(m, true);
}

static int make_matmulfree(struct mk *m)
{
	struct sizes s = { .ternary = true };
	int64_t layers = mk_size(m, "layers"), zero = 0;
	const char *x, *y, *bounds;

	if (get_sizes(m, &s, false))
		return -1;
	x = embedded(m, &s);
	bounds = layers > 1 ? lower_bounds(m, layers, s.width) : NULL;
	for (int64_t i = 0; i < layers; i++) {
		const char *path = mk_text("layers.%lld", (long long)i), *bound = NULL;

		if (i) {
			Onnx__NodeProto *n =
				MK_SCOPED(m, path, "Gather", bounds, mk_ints(m, path, 0, &i, 1));

			mk_attr_int(n, "axis", zero);
			bound = n->output[0];
		}
		y = rms_norm(m, mk_text("%s.attn_norm", path), x, s.width, 1e-6);
		y = mlgru(m, mk_text("%s.attn", path), y, &s, bound, i);
		x = MK_OP(m, path, "Add", x, y);
		y = rms_norm(m, mk_text("%s.mlp_norm", path), x, s.width, 1e-6);
		x = MK_OP(m, path, "Add", x, gated_together(m, mk_text("%s.mlp", path), y, &s));
	}
	to_logits(m, x, &s, true);
	return 0;
}

#define SIZES(d)                                                                                    \
	{ "batch", MK_SIZE, "sequences at once", 8, 1, 1 << 16, NULL },                             \
		{ "t", MK_SIZE, "tokens of a sequence", 128, 1, 1 << 16, NULL },                    \
		{ "d", MK_SIZE, "width of a token", d, 1, 1 << 16, NULL },                          \
		{ "ff",	   MK_SIZE, "width of the gated layer; 0: 8/3 D, up to the next 256", 0, 0, \
		  1 << 20, NULL },                                                                  \
		{ "layers", MK_SIZE, "blocks", 4, 1, 256, NULL },                                   \
	{                                                                                           \
		"vocab", MK_SIZE, "tokens that there are", 1024, 2, 1 << 20, NULL                   \
	}
#define HEADS                                                                              \
	{ "heads", MK_SIZE, "heads of queries", 8, 1, 1 << 12, NULL },                     \
		{ "kv-heads", MK_SIZE, "heads of keys and values, which they share", 4, 1, \
		  1 << 12,    NULL },                                                      \
		MK_CACHE

const struct mk_family mk_llama[] = {
	{ .name = "llama",
	  .about = "input_ids [N,T] to logits [N,T,VOCAB]: RMSNorm, RoPE, shared keys, SwiGLU",
	  .make = make_llama,
	  .option = { SIZES(256), HEADS } },
	{ .name = "bitnet",
	  .about = "the same with BitNet b1.58's products: weights of -1, 0 and 1, rows of 8 bits",
	  .make = make_bitnet,
	  .option = { SIZES(256), HEADS } },
	{ .name = "matmulfree",
	  .about = "input_ids [N,T] to logits [N,T,VOCAB]: BitNet's products, MLGRU, GLU",
	  .make = make_matmulfree,
	  .option = { SIZES(256), MK_STATE } },
	{ 0 },
};
