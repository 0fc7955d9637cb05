/* SPDX-License-Identifier: MIT */
/*
 * rdu-mkmodel: what its families of models share. A family is a name, the sizes that it takes,
 * and a function that writes the graph with the calls below, node by node, as PyTorch's exporter
 * does. Weights are drawn from the seed in the order of the calls: the same options give the
 * same file.
 */
#ifndef RDUC_MKMODEL_H
#define RDUC_MKMODEL_H

#include <stdbool.h>
#include <stdint.h>
#include "onnx.pb-c.h"

enum mk_kind {
	MK_SIZE, /* a whole number */
	MK_FLAG,
	MK_LIST, /* whole numbers from 1 with commas between */
};

struct mk_option {
	const char *name; /* without the dashes */
	enum mk_kind kind;
	const char *about;
	int64_t value, lo, hi; /* MK_SIZE: default, bounds */
	const char *list; /* MK_LIST: default */
};

#define MK_MAX_OPTIONS 12
#define MK_MAX_LIST 16

struct mk {
	Onnx__GraphProto graph;
	int opset;
	int dtype; /* of tensors: RDU_DT_F32 or RDU_DT_BF16 */
	uint64_t seed;
	bool no_values; /* weights are zeros */
	bool measured; /* tensors have no contents: their bytes are counted */
	uint64_t weight_bytes, drawn_bytes;
	const struct mk_family *family;
	struct {
		bool given;
		int64_t value;
		const char *list;
	} option[MK_MAX_OPTIONS];
};

struct mk_family {
	const char *name;
	const char *about; /* a line */
	int opset; /* 0: 17 */
	bool no_weights; /* there is nothing to draw: no --seed */
	/* 0, or -1 after mk_refuse(). */
	int (*make)(struct mk *m);
	struct mk_option option[MK_MAX_OPTIONS]; /* up to one without a name */
};

/* The families, by file; each array ends with one without a name. */
extern const struct mk_family mk_basic[], mk_gpt[], mk_vision[], mk_dlrm[], mk_lstm[], mk_llama[],
	mk_rwkv[], mk_uno[], mk_gnn[], mk_mixer[];

/* ---- options: the family's own only ---------------------------------------- */

int64_t mk_size(const struct mk *m, const char *option); /* MK_FLAG: 0 or 1 */
bool mk_given(const struct mk *m, const char *option); /* not by default */
/* Numbers of a list; -1 after mk_refuse(). */
int mk_list(const struct mk *m, const char *option, int64_t out[MK_MAX_LIST]);
/* Says on stderr why these sizes make no model. -1 */
__attribute__((format(printf, 2, 3))) int mk_refuse(const struct mk *m, const char *fmt, ...);

/* ---- building -------------------------------------------------------------- */

/* Number of dimensions, and the dimensions. */
#define DIMS(...) \
	((int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t))), ((int64_t[]){ __VA_ARGS__ })

__attribute__((format(printf, 1, 2))) char *mk_text(const char *fmt, ...);
/* Inputs and weights; they return the name. dtype 0: the model's. */
const char *mk_input(struct mk *m, const char *name, int dtype, int ndim, const int64_t *dim);
/* Drawn from the seed: in [0, 1). */
double mk_uniform(struct mk *m);
/* Uniform in [-bound, bound]. */
const char *mk_weight(struct mk *m, const char *name, int ndim, const int64_t *dim, double bound);
/* Every element the same: scales and shifts before training. */
const char *mk_filled(struct mk *m, const char *name, int ndim, const int64_t *dim, double value);
/* These numbers. */
const char *mk_table(struct mk *m, const char *name, int ndim, const int64_t *dim, const double *v);
/* Zeros that are not trained: a Constant node's. */
const char *mk_zeros(struct mk *m, const char *scope, int ndim, const int64_t *dim);
/* An initializer of bool that says which keys a query sees: [1, 1, T, T], lower triangle. */
const char *mk_causal_mask(struct mk *m, const char *name, int64_t length);

/* A node of this type, with inputs up to a NULL ("": an optional one that is not given). */
Onnx__NodeProto *mk_node(struct mk *m, const char *type, const char *name, const char *const *in,
			 const char *out);
#define MK_NODE(m, type, name, out, ...) \
	mk_node(m, type, name, (const char *const[]){ __VA_ARGS__, NULL }, out)
/* The same, named as PyTorch does: "/SCOPE/TYPE", numbered from the second on, with the output
 * "/SCOPE/TYPE_output_0". */
Onnx__NodeProto *mk_scoped(struct mk *m, const char *scope, const char *type,
			   const char *const *in);
#define MK_SCOPED(m, scope, type, ...) \
	mk_scoped(m, scope, type, (const char *const[]){ __VA_ARGS__, NULL })
/* A node without attributes; its output. */
#define MK_OP(m, scope, type, ...) (MK_SCOPED(m, scope, type, __VA_ARGS__)->output[0])
const char *mk_more_output(Onnx__NodeProto *n); /* one more output; its name */
void mk_attr_int(Onnx__NodeProto *n, const char *name, int64_t v);
void mk_attr_ints(Onnx__NodeProto *n, const char *name, int num, const int64_t *v);
void mk_attr_string(Onnx__NodeProto *n, const char *name, const char *v);
void mk_attr_float(Onnx__NodeProto *n, const char *name, float v);
/* Constant nodes: int64 (ndim 0: a scalar), and a scalar of the model's type. */
const char *mk_ints(struct mk *m, const char *scope, int ndim, const int64_t *v, int64_t num);
const char *mk_scalar(struct mk *m, const char *scope, double v);
const char *mk_int_table(struct mk *m, const char *scope, int ndim, const int64_t *dim,
			 const int64_t *v);
/* The graph's output: the value gets this name. */
void mk_output(struct mk *m, const char *name, const char *value, int ndim, const int64_t *dim);

/*
 * What is built between the two calls is the body of a Scan or Loop node: its inputs and outputs
 * are the body's. `around` keeps the graph that it is in.
 */
void mk_body_begin(struct mk *m, Onnx__GraphProto *around);
void mk_body_end(struct mk *m, const Onnx__GraphProto *around, Onnx__NodeProto *n);

/* ---- what several families are made of ---------------------------------------- */

const char *mk_reshape(struct mk *m, const char *scope, const char *x, int ndim,
		       const int64_t *dim);
const char *mk_transpose(struct mk *m, const char *scope, const char *x, int ndim,
			 const int64_t *perm);
/* nn.Linear on rows: Gemm with WEIGHT [out, in] and BIAS [out]. */
const char *mk_linear(struct mk *m, const char *path, const char *x, int64_t in, int64_t out);
/* nn.LayerNorm of the last axis. */
const char *mk_layer_norm(struct mk *m, const char *scope, const char *path, const char *x,
			  int64_t width);
/* nn.Linear without a bias, of the last axis: MatMul with a transposed WEIGHT [out, in]. */
const char *mk_rows(struct mk *m, const char *path, const char *x, int64_t in, int64_t out,
		    double stddev);
/* nn.Conv2d with square kernels and a bias; gain: of its weights, against nn.Conv2d's. */
const char *mk_conv(struct mk *m, const char *path, const char *x, int64_t in, int64_t out,
		    int64_t kernel, int64_t stride, int64_t pad, double gain);
const char *mk_max_pool(struct mk *m, const char *scope, const char *x, int64_t kernel,
			int64_t stride, int64_t pad);

/* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
const char *mk_gelu(struct mk *m, const char *scope, const char *x);

/* ---- images cut into patches (mkmodel_mixer.c) ------------------------------------ */

#define MK_PATCHES(n, size)                                                                \
	{ "batch", MK_SIZE, "images at once", n, 1, 1 << 16, NULL },                       \
		{ "image", MK_SIZE, "height and width", size, 1, 1 << 14, NULL },          \
		{ "patch", MK_SIZE, "height and width of a patch", 16, 1, 1 << 14, NULL }, \
	{                                                                                  \
		"classes", MK_SIZE, "classes", 1000, 1, 1 << 20, NULL                      \
	}
/* The input x, its patches: [batch, patches, width]. NULL after mk_refuse(). */
const char *mk_patches(struct mk *m, int64_t batch, int64_t width, int64_t *patches);
/* Their mean, normed, to the output `logits`. */
void mk_classes(struct mk *m, const char *x, int64_t batch, int64_t width);

/* ---- masks over weights (mkmodel_masked.c) ---------------------------------------- */

#define MK_STDDEV 0.02 /* of GPT-2's weights before training */

/* In blocks; block 0: there are none. Of pixelated butterflies, with a product of low rank beside
 * each; butterfly 0: so many thousandths of a column's blocks, or two of each four numbers of it. */
struct mk_masks {
	int64_t block, butterfly, factors, rank, kept;
	bool two_of_four;
};

#define MK_BUTTERFLIES(n)                                                                      \
	{ "block", MK_SIZE, "height and width of a block of a weight", 32, 1, 1 << 10, NULL }, \
		{ "butterfly", MK_SIZE, "blocks that the mask is drawn in, each way", n, 2,    \
		  1 << 10,     NULL },                                                         \
		{ "factors", MK_SIZE, "factors of the butterfly: a block has one more", 2, 1,  \
		  10,	     NULL },                                                           \
	{                                                                                      \
		"rank", MK_SIZE, "of what is added to each product", 32, 1, 1 << 14, NULL      \
	}
/* What those options say, for a model so wide. 0, or -1 after mk_refuse(). */
int mk_butterflies(struct mk *m, int64_t width, struct mk_masks *s);
/* PATH.weight, drawn with this standard deviation. */
const char *mk_normal(struct mk *m, const char *path, int ndim, const int64_t *dim, double stddev);
/* The transformers library's Conv1D: x, [.., .., in], times PATH.weight [in, out], masked where both
 * have whole blocks enough, and a bias. */
const char *mk_product(struct mk *m, const char *scope, const char *path, const char *x,
		       const struct mk_masks *s, const int64_t dim[3], int64_t out, double stddev);

/* ---- models that go on where their last run ended (mkmodel_cache.c) --------------- */

/* Attention over a cache of a sequence's places, of which a run fills the next `length`. */
struct mk_cache {
	int64_t places, length; /* places 0: there is no cache */
	int64_t batch, heads; /* of keys and values */
	const char *position; /* input [1]: the place of the run's first token */
	const char *at; /* [length]: their places */
	const char *mask; /* bool [length, places]: a token sees those before it, and itself */
	const char *rows; /* [batch, heads, length, 3]: where their keys and values lie */
};

/* The option that asks for it. */
#define MK_CACHE                                                                              \
	{                                                                                     \
		"cache", MK_SIZE, "places of keys and values that runs leave; 0: none", 0, 0, \
			1 << 20, NULL                                                         \
	}
/* Is there room for a run's tokens? 0, or -1 after mk_refuse(). */
int mk_check_cache(const struct mk *m, int64_t places, int64_t length);
struct mk_cache mk_cache(struct mk *m, int64_t places, int64_t length, int64_t batch,
			 int64_t heads);
/* A cache past_key_values.LAYER.WHAT [batch, heads, places, width] with these rows of the run's
 * tokens in it, [batch, heads, length, width]: the output present.LAYER.WHAT */
const char *mk_cached(struct mk *m, const char *scope, const struct mk_cache *c, int64_t layer,
		      const char *what, const char *rows, int64_t width);
/* A recurrence's state, [batch, width]: input past.LAYER.WHAT and output present.LAYER.WHAT */
#define MK_STATE                                                                              \
	{                                                                                     \
		"state", MK_FLAG, "recurrences go on where the last run ended", 0, 0, 1, NULL \
	}
const char *mk_past(struct mk *m, int64_t layer, const char *what, int64_t batch, int64_t width);
const char *mk_present(struct mk *m, int64_t layer, const char *what, const char *value,
		       int64_t batch, int64_t width);

/* Are there more weights than may be? Builds it without any. 0, or -1 after a text on stderr. */
int mk_measure(const struct mk *m);
/* Writes the model; weights that are many, or have no values, go to a file of their own, PATH.data. 0, or
 * -1 after a text on stderr. */
int mk_write(struct mk *m, const char *path);

#endif
