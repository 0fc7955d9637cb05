// SPDX-License-Identifier: MIT
/*
 * rdu-mkmodel: transformers. `gpt` and its block are written as PyTorch exports GPT-2 of the
 * transformers library: products of [in, out] weights on rows, one product for query, key and
 * value, a mask of bool, GELU by tanh, the embedding's weights again before the logits.
 * `attention` is written as it exports torch's scaled_dot_product_attention. `vit` has gpt's blocks
 * without a mask, of patches of an image.
 */
#include <math.h>
#include <stdlib.h>
#include "graph.h"
#include "mem.h"
#include "mkmodel.h"

#define UNSEEN -3.3895313892515355e38 /* the lowest number of bf16 */

struct sizes {
	int64_t batch, length, width, heads;
	struct mk_masks masks;
	struct mk_cache cache;
};

static int check_heads(struct mk *m, const struct sizes *s)
{
	if (s->width % s->heads)
		return mk_refuse(m, "--d %lld is not a multiple of --heads %lld",
				 (long long)s->width, (long long)s->heads);
	return 0;
}

/* Of [B,T,in]: [B,T,out] */
static const char *product(struct mk *m, const char *scope, const char *path, const char *x,
			   const struct sizes *s, int64_t in, int64_t out, double stddev)
{
	return mk_product(m, scope, path, x, &s->masks, (int64_t[]){ s->batch, s->length, in }, out,
			  stddev);
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
				  d, 3 * d, MK_STDDEV);
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
	if (mask)
		y = MK_OP(m, scope, "Where", mask, y, mk_scalar(m, scope, UNSEEN));
	y = MK_OP(m, scope, "MatMul", softmax(m, scope, y), v);
	y = merge_heads(m, scope, y, s);
	return product(m, mk_text("%s/c_proj", scope), mk_text("%s.c_proj", path), y, s, d, d,
		       MK_STDDEV / sqrt(2 * (double)layers));
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
		    MK_STDDEV);
	y = mk_gelu(m, mk_text("%s/act", mlp), y);
	y = product(m, mk_text("%s/c_proj", mlp), mk_text("%s.mlp.c_proj", path), y, s, 4 * d, d,
		    MK_STDDEV / sqrt(2 * (double)layers));
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
	words = mk_normal(m, "wte", DIMS(vocab, s.width), MK_STDDEV);
	places = mk_normal(m, "wpe", DIMS(length, s.width), MK_STDDEV);
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

	return mk_butterflies(m, s.width, &s.masks) ? -1 : gpt_of(m, s);
}

static int make_sparse_gpt(struct mk *m)
{
	struct sizes s = sizes(m);
	struct mk_masks *k = &s.masks;

	k->two_of_four = mk_size(m, "two-of-four");
	k->block = k->two_of_four ? 1 : mk_size(m, "block");
	k->kept = mk_size(m, "kept");
	if (k->two_of_four && (mk_given(m, "block") || mk_given(m, "kept")))
		return mk_refuse(m, "--two-of-four has no --block and no --kept");
	if (s.width % (k->two_of_four ? 4 : k->block))
		return mk_refuse(m, "--d %lld is no whole number of %s %lld", (long long)s.width,
				 k->two_of_four ? "parts of" : "--block",
				 (long long)(k->two_of_four ? 4 : k->block));
	return gpt_of(m, s);
}

/* ---- vision ------------------------------------------------------------------------------------ */

static int vit_of(struct mk *m, struct sizes s)
{
	int64_t layers = mk_size(m, "layers");
	const char *x;

	if (check_heads(m, &s))
		return -1;
	x = mk_patches(m, s.batch, s.width, &s.length);
	if (!x)
		return -1;
	x = MK_OP(m, "", "Add", x, mk_normal(m, "wpe", DIMS(s.length, s.width), MK_STDDEV));
	for (int64_t i = 0; i < layers; i++)
		x = block(m, i, x, &s, NULL, layers);
	mk_classes(m, x, s.batch, s.width);
	return 0;
}

static struct sizes vit_sizes(const struct mk *m)
{
	return (struct sizes){ .batch = mk_size(m, "batch"),
			       .width = mk_size(m, "d"),
			       .heads = mk_size(m, "heads") };
}

static int make_vit(struct mk *m)
{
	return vit_of(m, vit_sizes(m));
}

static int make_pixelfly_vit(struct mk *m)
{
	struct sizes s = vit_sizes(m);

	return mk_butterflies(m, s.width, &s.masks) ? -1 : vit_of(m, s);
}

/* ---- attention alone --------------------------------------------------------------------------- */

/* A product of rows with [in, out] weights: nn.Linear without a bias on [B,T,d]. */
static const char *project(struct mk *m, const char *name, const char *x, int64_t d)
{
	return MK_OP(m, name, "MatMul", x, mk_normal(m, name, DIMS(d, d), 1 / sqrt(3 * (double)d)));
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

#define VIT_SIZES                                                                         \
	MK_PATCHES(8, 224), { "d", MK_SIZE, "width of a patch", 768, 1, 1 << 16, NULL },  \
		{ "heads", MK_SIZE, "heads, each D / heads wide", 12, 1, 1 << 12, NULL }, \
	{                                                                                 \
		"layers", MK_SIZE, "blocks", 12, 1, 256, NULL                             \
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
		      MK_BUTTERFLIES(16) } },
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
	{ .name = "vit",
	  .about = "images [N,3,IMAGE,IMAGE] to CLASSES: a transformer of patches",
	  .make = make_vit,
	  .option = { VIT_SIZES } },
	{ .name = "pixelfly-vit",
	  .about = "a vit with pixelated butterflies for weights: some blocks, and a low rank",
	  .make = make_pixelfly_vit,
	  .option = { VIT_SIZES, MK_BUTTERFLIES(16) } },
	{ .name = "attention",
	  .about = "[N,T,D]: self-attention with its four products",
	  .make = make_attention,
	  .option = { SIZES(1, 2048, 64, 1),
		      { "causal", MK_FLAG, "a token sees those before it, and itself", 0, 0, 1,
			NULL } } },
	{ 0 },
};
