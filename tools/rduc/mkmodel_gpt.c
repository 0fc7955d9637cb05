// SPDX-License-Identifier: MIT
/*
 * rdu-mkmodel: transformers. `gpt` and its block are written as PyTorch exports GPT-2 of the
 * transformers library: products of [in, out] weights on rows, one product for query, key and
 * value, a mask of bool, GELU by tanh, the embedding's weights again before the logits.
 * `attention` is written as it exports torch's scaled_dot_product_attention.
 */
#include <math.h>
#include <stdlib.h>
#include "graph.h"
#include "mem.h"
#include "mkmodel.h"

#define STDDEV 0.02 /* of GPT-2's weights before training */
#define UNSEEN -3.3895313892515355e38 /* the lowest number of bf16 */

struct sizes {
	int64_t batch, length, width, heads;
	/* Masks over weights, in blocks; block 0: none. Of pixelated butterflies, with a product of
	 * low rank beside each; butterfly 0: so many thousandths of a column's blocks, or two of each
	 * four numbers of it. */
	int64_t block, butterfly, factors, rank, kept;
	bool two_of_four;
	struct mk_cache cache;
};

static int check_heads(struct mk *m, const struct sizes *s)
{
	if (s->width % s->heads)
		return mk_refuse(m, "--d %lld is not a multiple of --heads %lld",
				 (long long)s->width, (long long)s->heads);
	return 0;
}

static const char *weight(struct mk *m, const char *path, int ndim, const int64_t *dim,
			  double stddev)
{
	return mk_weight(m, mk_text("%s.weight", path), ndim, dim, stddev * sqrt(3));
}

/*
 * The mask of a product [in, out]: blocks i and k of a grid of `butterfly` blocks are there if k is
 * i, or i with one of the lowest `factors` bits turned over; the grid is stretched to the weight's
 * own blocks.
 */
static const char *butterfly_mask(struct mk *m, const char *path, const struct sizes *s, int64_t in,
				  int64_t out, double *share)
{
	int64_t grid = s->butterfly, rows = in / s->block, cols = out / s->block, num = 0;
	double *v = xcalloc((size_t)(in * out), sizeof(*v));
	const char *mask;

	for (int64_t r = 0; r < in; r++)
		for (int64_t c = 0; c < out; c++) {
			int64_t i = r / s->block * grid / rows, k = c / s->block * grid / cols;
			int64_t differ = i ^ k;
			bool there = differ < 1ll << s->factors && !(differ & (differ - 1));

			v[r * out + c] = there;
			num += there;
		}
	*share = (double)num / (double)(in * out);
	mask = mk_table(m, mk_text("%s.mask", path), DIMS(in, out), v);
	free(v);
	return mask;
}

/* Draws `some` of all: sets there[] of them. */
static void draw(struct mk *m, int64_t some, int64_t all, bool *there)
{
	for (int64_t i = 0; i < all; i++) {
		there[i] = mk_uniform(m) * (double)(all - i) < (double)some;
		some -= there[i];
	}
}

/* The mask of a product [in, out]: as many of each column's blocks, or numbers. */
static const char *drawn_mask(struct mk *m, const char *path, const struct sizes *s, int64_t in,
			      int64_t out, double *share)
{
	int64_t size = s->block, rows = in / size, part = s->two_of_four ? 4 : rows;
	int64_t some = s->two_of_four ? 2 : (rows * s->kept + 500) / 1000;
	double *v = xcalloc((size_t)(in * out), sizeof(*v));
	bool *there = xcalloc((size_t)rows, sizeof(*there));
	const char *mask;

	some = some ? some : 1;
	for (int64_t c = 0; c < out; c++) {
		for (int64_t k = 0; c % size == 0 && k < rows; k += part)
			draw(m, some, part, there + k);
		for (int64_t r = 0; r < in; r++)
			v[r * out + c] = there[r / size];
	}
	*share = (double)some / (double)part;
	mask = mk_table(m, mk_text("%s.mask", path), DIMS(in, out), v);
	free(there);
	free(v);
	return mask;
}

/* A weight of which only the mask's blocks count; as large as if they were all there. */
static const char *masked(struct mk *m, const char *scope, const char *path, const struct sizes *s,
			  int64_t in, int64_t out, double stddev)
{
	double share;
	const char *mask = s->butterfly ? butterfly_mask(m, path, s, in, out, &share)
					: drawn_mask(m, path, s, in, out, &share);
	const char *w = weight(m, path, DIMS(in, out), stddev / sqrt(share));

	return MK_OP(m, scope, "Mul", w, mask);
}

/* What a product through few numbers adds to it. */
static const char *low_rank(struct mk *m, const char *scope, const char *path, const char *rows,
			    const struct sizes *s, int64_t in, int64_t out)
{
	const char *u =
		mk_weight(m, mk_text("%s.lr.u", path), DIMS(in, s->rank), 1 / sqrt((double)in));
	const char *v = mk_weight(m, mk_text("%s.lr.v", path), DIMS(s->rank, out), STDDEV);

	return MK_OP(m, scope, "MatMul", MK_OP(m, scope, "MatMul", rows, u), v);
}

/* The transformers library's Conv1D: rows times [in, out], and a bias. */
static const char *product(struct mk *m, const char *scope, const char *path, const char *x,
			   const struct sizes *s, int64_t in, int64_t out, double stddev)
{
	const char *w = s->block ? masked(m, scope, path, s, in, out, stddev)
				 : weight(m, path, DIMS(in, out), stddev);
	const char *b = mk_filled(m, mk_text("%s.bias", path), DIMS(out), 0);
	const char *rows = mk_reshape(m, scope, x, DIMS(-1, in));
	Onnx__NodeProto *n = MK_SCOPED(m, scope, "Gemm", rows, w, b);

	mk_attr_float(n, "alpha", 1);
	mk_attr_float(n, "beta", 1);
	x = n->output[0];
	if (s->rank)
		x = MK_OP(m, scope, "Add", x, low_rank(m, scope, path, rows, s, in, out));
	return mk_reshape(m, scope, x, DIMS(s->batch, s->length, out));
}

/* [B,T,d] as [B,heads,T,d/heads], or for keys as [B,heads,d/heads,T] */
static const char *split_heads(struct mk *m, const char *scope, const char *x,
			       const struct sizes *s, bool keys)
{
	x = mk_reshape(m, scope, x, DIMS(s->batch, s->length, s->heads, s->width / s->heads));
	return keys ? mk_transpose(m, scope, x, DIMS(0, 2, 3, 1))
		    : mk_transpose(m, scope, x, DIMS(0, 2, 1, 3));
}

static const char *merge_heads(struct mk *m, const char *scope, const char *x,
			       const struct sizes *s)
{
	x = mk_transpose(m, scope, x, DIMS(0, 2, 1, 3));
	return mk_reshape(m, scope, x, DIMS(s->batch, s->length, s->width));
}

static const char *softmax(struct mk *m, const char *scope, const char *x)
{
	Onnx__NodeProto *n = MK_SCOPED(m, scope, "Softmax", x);

	mk_attr_int(n, "axis", -1);
	return n->output[0];
}

/* number: of the block; layers: of the whole model, which start residual paths smaller. */
static const char *attend(struct mk *m, const char *path, const char *scope, const char *x,
			  const struct sizes *s, const char *mask, int64_t number, int64_t layers)
{
	int64_t d = s->width, thirds[] = { d, d, d };
	const char *qkv = product(m, mk_text("%s/c_attn", scope), mk_text("%s.c_attn", path), x, s,
				  d, 3 * d, STDDEV);
	Onnx__NodeProto *split = MK_SCOPED(m, scope, "Split", qkv, mk_ints(m, scope, 1, thirds, 3));
	const char *k = mk_more_output(split), *v = mk_more_output(split);
	const char *q = split_heads(m, scope, split->output[0], s, false), *y;

	mk_attr_int(split, "axis", 2);
	k = split_heads(m, scope, k, s, !s->cache.places);
	v = split_heads(m, scope, v, s, false);
	if (s->cache.places) {
		k = mk_cached(m, scope, &s->cache, number, "key", k, d / s->heads);
		k = mk_transpose(m, scope, k, DIMS(0, 1, 3, 2));
		v = mk_cached(m, scope, &s->cache, number, "value", v, d / s->heads);
	}
	y = MK_OP(m, scope, "MatMul", q, k);
	y = MK_OP(m, scope, "Div", y, mk_scalar(m, scope, sqrt((double)(d / s->heads))));
	y = MK_OP(m, scope, "Where", mask, y, mk_scalar(m, scope, UNSEEN));
	y = MK_OP(m, scope, "MatMul", softmax(m, scope, y), v);
	y = merge_heads(m, scope, y, s);
	return product(m, mk_text("%s/c_proj", scope), mk_text("%s.c_proj", path), y, s, d, d,
		       STDDEV / sqrt(2 * (double)layers));
}

/* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
static const char *gelu(struct mk *m, const char *scope, const char *x)
{
	const char *half = MK_OP(m, scope, "Mul", x, mk_scalar(m, scope, 0.5));
	const char *y = MK_OP(m, scope, "Pow", x, mk_scalar(m, scope, 3));

	y = MK_OP(m, scope, "Mul", y, mk_scalar(m, scope, 0.044715));
	y = MK_OP(m, scope, "Add", x, y);
	y = MK_OP(m, scope, "Mul", y, mk_scalar(m, scope, sqrt(2 / M_PI)));
	y = MK_OP(m, scope, "Tanh", y);
	y = MK_OP(m, scope, "Add", y, mk_scalar(m, scope, 1));
	return MK_OP(m, scope, "Mul", half, y);
}

static const char *block(struct mk *m, int64_t number, const char *x, const struct sizes *s,
			 const char *mask, int64_t layers)
{
	const char *path = mk_text("h.%lld", (long long)number);
	const char *scope = mk_text("h.%lld", (long long)number);
	const char *mlp = mk_text("%s/mlp", scope), *y;
	int64_t d = s->width;

	y = mk_layer_norm(m, mk_text("%s/ln_1", scope), mk_text("%s.ln_1", path), x, d);
	y = attend(m, mk_text("%s.attn", path), mk_text("%s/attn", scope), y, s, mask, number,
		   layers);
	x = MK_OP(m, scope, "Add", y, x);
	y = mk_layer_norm(m, mk_text("%s/ln_2", scope), mk_text("%s.ln_2", path), x, d);
	y = product(m, mk_text("%s/c_fc", mlp), mk_text("%s.mlp.c_fc", path), y, s, d, 4 * d,
		    STDDEV);
	y = gelu(m, mk_text("%s/act", mlp), y);
	y = product(m, mk_text("%s/c_proj", mlp), mk_text("%s.mlp.c_proj", path), y, s, 4 * d, d,
		    STDDEV / sqrt(2 * (double)layers));
	return MK_OP(m, scope, "Add", x, y);
}

static struct sizes sizes(const struct mk *m)
{
	return (struct sizes){ .batch = mk_size(m, "batch"),
			       .length = mk_size(m, "t"),
			       .width = mk_size(m, "d"),
			       .heads = mk_size(m, "heads") };
}

static int make_gpt_block(struct mk *m)
{
	struct sizes s = sizes(m);
	const char *x, *mask;

	if (check_heads(m, &s))
		return -1;
	x = mk_input(m, "x", 0, DIMS(s.batch, s.length, s.width));
	mask = mk_causal_mask(m, "mask", s.length);
	x = block(m, 0, x, &s, mask, 1);
	mk_output(m, "y", x, DIMS(s.batch, s.length, s.width));
	return 0;
}

static int gpt_of(struct mk *m, struct sizes s)
{
	int64_t layers = mk_size(m, "layers"), vocab = mk_size(m, "vocab");
	int64_t cache = mk_size(m, "cache"), length = cache ? cache : s.length;
	const char *ids, *mask, *words, *places, *x;
	int64_t *position;

	if (check_heads(m, &s) || mk_check_cache(m, cache, s.length))
		return -1;
	ids = mk_input(m, "input_ids", RDU_DT_I64, DIMS(s.batch, s.length));
	if (cache)
		s.cache = mk_cache(m, cache, s.length, s.batch, s.heads);
	mask = cache ? s.cache.mask : mk_causal_mask(m, "mask", s.length);
	words = weight(m, "wte", DIMS(vocab, s.width), STDDEV);
	places = weight(m, "wpe", DIMS(length, s.width), STDDEV);
	position = xcalloc((size_t)s.length, sizeof(*position));
	for (int64_t i = 0; i < s.length; i++)
		position[i] = i;
	x = MK_OP(m, "wpe", "Gather", places,
		  cache ? s.cache.at : mk_ints(m, "wpe", 1, position, s.length));
	x = MK_OP(m, "", "Add", MK_OP(m, "wte", "Gather", words, ids), x);
	for (int64_t i = 0; i < layers; i++)
		x = block(m, i, x, &s, mask, layers);
	x = mk_layer_norm(m, "ln_f", "ln_f", x, s.width);
	x = MK_OP(m, "lm_head", "MatMul", x, mk_transpose(m, "lm_head", words, DIMS(1, 0)));
	mk_output(m, "logits", x, DIMS(s.batch, s.length, vocab));
	return 0;
}

static int make_gpt(struct mk *m)
{
	return gpt_of(m, sizes(m));
}

static int make_pixelfly(struct mk *m)
{
	struct sizes s = sizes(m);

	s.block = mk_size(m, "block");
	s.butterfly = mk_size(m, "butterfly");
	s.factors = mk_size(m, "factors");
	s.rank = mk_size(m, "rank");
	if (s.butterfly & (s.butterfly - 1) || 1ll << s.factors > s.butterfly)
		return mk_refuse(m,
				 "--butterfly %lld is no power of two from 2^%lld on (--factors)",
				 (long long)s.butterfly, (long long)s.factors);
	if (s.width % s.block || s.width / s.block < s.butterfly)
		return mk_refuse(
			m,
			"--d %lld is no whole number, at least --butterfly %lld, of --block %lld",
			(long long)s.width, (long long)s.butterfly, (long long)s.block);
	return gpt_of(m, s);
}

static int make_sparse_gpt(struct mk *m)
{
	struct sizes s = sizes(m);

	s.two_of_four = mk_size(m, "two-of-four");
	s.block = s.two_of_four ? 1 : mk_size(m, "block");
	s.kept = mk_size(m, "kept");
	if (s.two_of_four && (mk_given(m, "block") || mk_given(m, "kept")))
		return mk_refuse(m, "--two-of-four has no --block and no --kept");
	if (s.width % (s.two_of_four ? 4 : s.block))
		return mk_refuse(m, "--d %lld is no whole number of %s %lld", (long long)s.width,
				 s.two_of_four ? "parts of" : "--block",
				 (long long)(s.two_of_four ? 4 : s.block));
	return gpt_of(m, s);
}

/* A product of rows with [in, out] weights: nn.Linear without a bias on [B,T,d]. */
static const char *project(struct mk *m, const char *name, const char *x, int64_t d)
{
	return MK_OP(m, name, "MatMul", x, weight(m, name, DIMS(d, d), 1 / sqrt(3 * (double)d)));
}

/* 0 where a query sees a key, -inf where it does not; [T,T] */
static const char *causal(struct mk *m, int64_t length)
{
	const char *ones = MK_OP(m, "", "Expand", mk_scalar(m, "", 1),
				 mk_ints(m, "", 1, (int64_t[]){ length, length }, 2));
	Onnx__NodeProto *lower = MK_SCOPED(m, "", "Trilu", ones);
	const char *zero = mk_scalar(m, "", 0);

	mk_attr_int(lower, "upper", 0);
	return MK_OP(m, "", "Where", MK_OP(m, "", "Equal", lower->output[0], zero),
		     mk_scalar(m, "", -INFINITY), zero);
}

static int make_attention(struct mk *m)
{
	struct sizes s = sizes(m);
	/* The exporter gives both factors the root of the scale. */
	double scale = sqrt(1 / sqrt((double)s.width / (double)s.heads));
	const char *x, *q, *k, *v, *y;

	if (check_heads(m, &s))
		return -1;
	x = mk_input(m, "x", 0, DIMS(s.batch, s.length, s.width));
	q = split_heads(m, "", project(m, "q_proj", x, s.width), &s, false);
	k = split_heads(m, "", project(m, "k_proj", x, s.width), &s, true);
	v = split_heads(m, "", project(m, "v_proj", x, s.width), &s, false);
	q = MK_OP(m, "", "Mul", q, mk_scalar(m, "", scale));
	k = MK_OP(m, "", "Mul", k, mk_scalar(m, "", scale));
	y = MK_OP(m, "", "MatMul", q, k);
	if (mk_size(m, "causal"))
		y = MK_OP(m, "", "Add", y, causal(m, s.length));
	y = MK_OP(m, "", "MatMul", softmax(m, "", y), v);
	y = project(m, "out_proj", merge_heads(m, "", y, &s), s.width);
	mk_output(m, "y", y, DIMS(s.batch, s.length, s.width));
	return 0;
}

#define SIZES(batch, t, d, heads)                                                       \
	{ "batch", MK_SIZE, "sequences at once", batch, 1, 1 << 16, NULL },             \
		{ "t", MK_SIZE, "tokens of a sequence", t, 1, 1 << 16, NULL },          \
		{ "d", MK_SIZE, "width of a token", d, 1, 1 << 16, NULL },              \
	{                                                                               \
		"heads", MK_SIZE, "heads, each D / heads wide", heads, 1, 1 << 12, NULL \
	}

const struct mk_family mk_gpt[] = {
	{ .name = "gpt-block",
	  .about = "[N,T,D]: a block of GPT-2 (small): attention, then a layer of 4 D, each added",
	  .make = make_gpt_block,
	  .option = { SIZES(4, 512, 768, 12) } },
	{ .name = "gpt",
	  .about = "input_ids [N,T] to logits [N,T,VOCAB]: a GPT-2, which --train makes learn",
	  .make = make_gpt,
	  .option = { SIZES(8, 128, 256, 8),
		      { "layers", MK_SIZE, "blocks", 4, 1, 256, NULL },
		      { "vocab", MK_SIZE, "tokens that there are", 1024, 2, 1 << 20, NULL },
		      MK_CACHE } },
	{ .name = "pixelfly",
	  .about = "a gpt with pixelated butterflies for weights: some blocks, and a low rank",
	  .make = make_pixelfly,
	  .option = { SIZES(8, 128, 512, 8),
		      { "layers", MK_SIZE, "blocks", 4, 1, 256, NULL },
		      { "vocab", MK_SIZE, "tokens that there are", 1024, 2, 1 << 20, NULL },
		      MK_CACHE,
		      { "block", MK_SIZE, "height and width of a block of a weight", 32, 1, 1 << 10,
			NULL },
		      { "butterfly", MK_SIZE, "blocks that the mask is drawn in, each way", 16, 2,
			1 << 10, NULL },
		      { "factors", MK_SIZE, "factors of the butterfly: a block has one more", 2, 1,
			10, NULL },
		      { "rank", MK_SIZE, "of what is added to each product", 32, 1, 1 << 14,
			NULL } } },
	{ .name = "sparse-gpt",
	  .about = "a gpt with masks over its weights: of blocks, of numbers, or two of four",
	  .make = make_sparse_gpt,
	  .option = { SIZES(8, 128, 512, 8),
		      { "layers", MK_SIZE, "blocks", 4, 1, 256, NULL },
		      { "vocab", MK_SIZE, "tokens that there are", 1024, 2, 1 << 20, NULL },
		      MK_CACHE,
		      { "block", MK_SIZE, "height and width of a block of a weight; 1: numbers", 32,
			1, 1 << 10, NULL },
		      { "kept", MK_SIZE, "thousandths of a column's blocks that are there", 125, 1,
			1000, NULL },
		      { "two-of-four", MK_FLAG, "two of each four numbers of a column instead", 0,
			0, 1, NULL } } },
	{ .name = "attention",
	  .about = "[N,T,D]: self-attention with its four products",
	  .make = make_attention,
	  .option = { SIZES(1, 2048, 64, 1),
		      { "causal", MK_FLAG, "a token sees those before it, and itself", 0, 0, 1,
			NULL } } },
	{ 0 },
};
