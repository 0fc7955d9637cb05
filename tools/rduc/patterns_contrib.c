// SPDX-License-Identifier: MIT
/*
 * Operators of ONNX Runtime's own domain, com.microsoft, that its optimizer, Olive and Optimum write: each
 * becomes ONNX's operators. What a node wants beyond that (packed inputs, statistics) is refused by name.
 */
#include <math.h>
#include <string.h>
#include "window.h"

#define OP1(op, a) graph_op1(g, op, n->name, a)
#define OP2(op, a, b) graph_op2(g, op, n->name, a, b)
#define F(v) graph_const_f(g, v)

static struct value *add_if(struct graph *g, struct node *n, struct value *v, struct value *bias)
{
	return v && bias ? OP2("Add", v, bias) : v;
}

/* Optional inputs stand between others. */
static int has_inputs(struct graph *g, struct node *n, int num, const int *required)
{
	for (int i = 0; i < num; i++)
		if (!node_in(n, required[i]))
			return node_error(g, n, "input %d is missing", required[i]);
	return 0;
}

static int without_input(struct graph *g, struct node *n, int i, const char *what)
{
	return node_in(n, i) ? node_error(g, n, "%s is not supported", what) : 0;
}

static int without_output(struct graph *g, struct node *n, int i, const char *what)
{
	return i < n->num_out && n->out[i]
		       ? node_error(g, n, "its result %d, %s, is not supported", i, what)
		       : 0;
}

static void have_results(struct graph *g, struct node *m, int num)
{
	m->num_out = num;
	m->out = graph_alloc(g, (size_t)num * sizeof(*m->out));
	for (int i = 0; i < num; i++) {
		m->out[i] = graph_value(g, graph_format(g, "%.200s_%d", m->name, g->counter++));
		m->out[i]->producer = m;
	}
}

/* ---- activations --------------------------------------------------------------------------- */

static int gelu(struct graph *g, struct node *n, const char *approximate)
{
	struct node *m = node_new(g, "Gelu", n->name);
	struct value *v = add_if(g, n, n->in[0], node_in(n, 1));

	if (!v)
		return -1;
	node_input(g, m, v);
	node_attr_s(g, m, "approximate", approximate);
	return graph_replace_first(n, graph_finish(g, m));
}

static int gelu_expand(struct graph *g, struct node *n)
{
	return gelu(g, n, "none");
}
static int fast_gelu_expand(struct graph *g, struct node *n)
{
	return gelu(g, n, "tanh");
}

static int quick_gelu_expand(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "Swish", n->name);

	node_input(g, m, n->in[0]);
	node_attr_f(g, m, "alpha", attr_f(n, "alpha", 1.702f));
	return graph_replace_first(n, graph_finish(g, m));
}

/* The activation that a fused node names, with up to two parameters. */
static struct value *activated(struct graph *g, struct node *n, struct value *v, int num,
			       const float *by)
{
	const char *name = attr_s(n, "activation", "");
	static const struct {
		const char *name, *parameters[2];
	} known[] = { { "Relu", { 0 } },
		      { "Sigmoid", { 0 } },
		      { "Tanh", { 0 } },
		      { "LeakyRelu", { "alpha" } },
		      { "HardSigmoid", { "alpha", "beta" } } };
	struct node *m;

	if (!v || !*name)
		return v;
	if (!strcmp(name, "Clip") && num == 2)
		return graph_op3(g, "Clip", n->name, v, F(by[0]), F(by[1]));
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(name, known[i].name))
			continue;
		m = node_new(g, name, n->name);
		node_input(g, m, v);
		for (int k = 0; k < 2 && k < num && known[i].parameters[k]; k++)
			node_attr_f(g, m, known[i].parameters[k], by[k]);
		return graph_finish(g, m);
	}
	node_error(g, n, "activation %.40s with %d parameters is not supported", name, num);
	return NULL;
}

static int fused_conv_expand(struct graph *g, struct node *n)
{
	const struct attr *a = node_attr(n, "activation_params");
	struct node *m = node_new(g, "Conv", n->name);
	struct value *v;

	for (int i = 0; i < 3 && i < n->num_in; i++)
		node_input(g, m, n->in[i]);
	m->attrs = n->attrs;
	v = add_if(g, n, graph_finish(g, m), node_in(n, 3));
	return graph_replace_first(n, activated(g, n, v, a ? a->num : 0, a ? a->floats : NULL));
}

static int fused_gemm_expand(struct graph *g, struct node *n)
{
	const float by[] = { attr_f(n, "activation_alpha", 0), attr_f(n, "activation_beta", 0) };
	int num = node_attr(n, "activation_beta") ? 2 : node_attr(n, "activation_alpha") ? 1 : 0;
	struct node *m = node_new(g, "Gemm", n->name);

	if (num == 2 && !node_attr(n, "activation_alpha"))
		return node_error(g, n,
				  "activation_beta without activation_alpha is not supported");
	for (int i = 0; i < n->num_in; i++)
		node_input(g, m, n->in[i]);
	m->attrs = n->attrs;
	return graph_replace_first(n, activated(g, n, graph_finish(g, m), num, by));
}

/* ---- products ------------------------------------------------------------------------------ */

static struct value *swapped(struct graph *g, struct node *n, struct value *v)
{
	struct node *m = node_new(g, "Transpose", n->name);
	int64_t perm[RDU_MAX_DIMS];

	if (v->ndim < 2)
		return v;
	for (int i = 0; i < v->ndim; i++)
		perm[i] = i;
	perm[v->ndim - 1] = v->ndim - 2;
	perm[v->ndim - 2] = v->ndim - 1;
	node_input(g, m, v);
	node_attr_ints(g, m, "perm", v->ndim, perm);
	return graph_finish(g, m);
}

static int fused_matmul_expand(struct graph *g, struct node *n)
{
	struct value *a = n->in[0], *b = n->in[1], *v;
	float alpha = attr_f(n, "alpha", 1);

	if (attr_i(n, "transBatchA", 0) || attr_i(n, "transBatchB", 0))
		return node_error(g, n, "transBatchA and transBatchB are not supported");
	a = attr_i(n, "transA", 0) ? swapped(g, n, a) : a;
	b = attr_i(n, "transB", 0) ? swapped(g, n, b) : b;
	v = a && b ? OP2("MatMul", a, b) : NULL;
	if (v && alpha != 1)
		v = OP2("Mul", v, graph_cast(g, n->name, F(alpha), v->dtype));
	return graph_replace_first(n, v);
}

/* A product of bytes, times both scales. */
static int scaled_product(struct graph *g, struct node *n, struct value *const in[4],
			  struct value *a_scale, struct value *b_scale, struct value *bias)
{
	struct node *m = node_new(g, "MatMulInteger", graph_format(g, "%.200s.int", n->name));
	struct value *v, *scale = OP2("Mul", a_scale, b_scale);

	for (int i = 0; i < 4; i++)
		node_input(g, m, in[i]);
	v = graph_cast(g, n->name, graph_finish(g, m), RDU_DT_F32);
	v = v && scale ? OP2("Mul", v, scale) : NULL;
	return graph_replace_first(n, add_if(g, n, v, bias));
}

static int to_float_expand(struct graph *g, struct node *n)
{
	struct value *in[] = { n->in[0], n->in[1], node_in(n, 4), node_in(n, 5) };

	return scaled_product(g, n, in, n->in[2], n->in[3], node_in(n, 6));
}

static int dynamic_matmul_expand(struct graph *g, struct node *n)
{
	struct node *m =
		node_new(g, "DynamicQuantizeLinear", graph_format(g, "%.200s.bytes", n->name));
	struct value *in[4];

	node_input(g, m, n->in[0]);
	have_results(g, m, 3);
	in[0] = graph_finish(g, m);
	in[1] = n->in[1];
	in[2] = value_resolve(m->out[2]);
	in[3] = node_in(n, 3);
	return in[0] ? scaled_product(g, n, in, value_resolve(m->out[1]), n->in[2], node_in(n, 4))
		     : -1;
}

/* Weights of 4 bits, two to a byte, the lower one first; a scale and a zero point (8) for each block. */
static struct value *nibbles(struct graph *g, const struct value *v, int64_t rows, int64_t num,
			     int64_t row_bytes)
{
	struct value *out = graph_const(g, RDU_DT_U4, 2, (int64_t[]){ rows, num }, NULL);
	const uint8_t *from = v ? v->data : NULL;

	for (int64_t r = 0; r < rows; r++)
		for (int64_t i = 0; i < num; i++)
			((uint8_t *)out->data)[r * num + i] =
				from ? from[r * row_bytes + i / 2] >> (i % 2 * 4) & 15 : 8;
	return out;
}

static bool constant_bytes(const struct value *v, int64_t count)
{
	return v->constant && v->data && v->dtype == RDU_DT_U8 && value_count(v) == count;
}

static int matmul_nbits_expand(struct graph *g, struct node *n)
{
	int64_t depth = attr_i(n, "K", 0), cols = attr_i(n, "N", 0), bits = attr_i(n, "bits", 4);
	int64_t block = attr_i(n, "block_size", 0), blocks, zero_bytes, dim[2];
	struct value *x = n->in[0], *zero = node_in(n, 3), *scale = n->in[2], *w;
	struct node *m = node_new(g, "DequantizeLinear", graph_format(g, "%.200s.weight", n->name));

	if (bits != 4 || depth < 1 || depth > INT32_MAX || cols < 1 || cols > INT32_MAX ||
	    block < 2 || block % 2 || depth % block)
		return node_error(g, n, "%lld bits, K %lld in blocks of %lld: not supported",
				  (long long)bits, (long long)depth, (long long)block);
	if (without_input(g, n, 4, "g_idx"))
		return -1;
	blocks = depth / block;
	zero_bytes = (blocks + 1) / 2;
	if (!constant_bytes(n->in[1], cols * depth / 2) ||
	    (zero && !constant_bytes(zero, cols * zero_bytes)) ||
	    value_count(scale) != cols * blocks)
		return node_error(g, n,
				  "weights %s, scales %s and zero points do not fit K and N, "
				  "or are no constants",
				  value_shape_text(g, n->in[1]), value_shape_text(g, scale));
	dim[0] = cols;
	dim[1] = blocks;
	node_input(g, m, nibbles(g, n->in[1], cols, depth, depth / 2));
	node_input(g, m, graph_reshape(g, n->name, scale, 2, dim));
	node_input(g, m, nibbles(g, zero, cols, blocks, zero_bytes));
	node_attr_i(g, m, "axis", 1);
	node_attr_i(g, m, "block_size", block);
	w = graph_finish(g, m);
	w = w ? swapped(g, n, w) : NULL;
	return graph_replace_first(n, w ? add_if(g, n, OP2("MatMul", x, w), node_in(n, 5)) : NULL);
}

/* ---- normalization ------------------------------------------------------------------------- */

static struct value *normalized(struct graph *g, struct node *n, struct value *x,
				struct value *scale, struct value *bias, bool simple)
{
	struct node *m = node_new(g, simple ? "RMSNormalization" : "LayerNormalization", n->name);

	if (!x)
		return NULL;
	node_input(g, m, x);
	node_input(g, m, scale);
	if (bias)
		node_input(g, m, bias);
	node_attr_i(g, m, "axis", -1);
	node_attr_f(g, m, "epsilon", attr_f(n, "epsilon", 1e-12f));
	return graph_finish(g, m);
}

static int skip_norm(struct graph *g, struct node *n, bool simple)
{
	struct value *sum = OP2("Add", n->in[0], n->in[1]), *y;

	if (without_output(g, n, 1, "the mean") || without_output(g, n, 2, "1 / the deviation"))
		return -1;
	sum = add_if(g, n, sum, node_in(n, simple ? 3 : 4));
	y = normalized(g, n, sum, n->in[2], simple ? NULL : node_in(n, 3), simple);
	if (!y)
		return -1;
	graph_replace(n, 3, sum);
	return graph_replace_first(n, y);
}

static int skip_norm_expand(struct graph *g, struct node *n)
{
	return skip_norm(g, n, false);
}
static int skip_simple_expand(struct graph *g, struct node *n)
{
	return skip_norm(g, n, true);
}

/* ONNX Runtime's optimizer writes it without a domain. */
static int simple_norm_expand(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "RMSNormalization", n->name);

	if (without_output(g, n, 1, "1 / the deviation"))
		return -1;
	node_input(g, m, n->in[0]);
	node_input(g, m, n->in[1]);
	m->attrs = n->attrs;
	return graph_replace_first(n, graph_finish(g, m));
}

static int embed_norm_expand(struct graph *g, struct node *n)
{
	struct value *ids = n->in[0], *segments = node_in(n, 1), *at = node_in(n, 8), *v, *mask;
	int64_t axis = 1;

	if (has_inputs(g, n, 4, (const int[]){ 2, 3, 5, 6 }))
		return -1;
	if (ids->ndim != 2 || n->in[3]->ndim != 2 || n->in[3]->dim[0] < ids->dim[1])
		return node_error(g, n, "tokens %s and positions %s do not fit",
				  value_shape_text(g, ids), value_shape_text(g, n->in[3]));
	v = at ? OP2("Gather", n->in[3], at)
	       : graph_slice(g, n->name, n->in[3], 0, 0, ids->dim[1], false);
	v = v ? OP2("Add", OP2("Gather", n->in[2], ids), v) : NULL;
	if (v && segments && node_in(n, 4))
		v = OP2("Add", v, OP2("Gather", n->in[4], segments));
	if (!v)
		return -1;
	mask = node_in(n, 7);
	if (mask)
		mask = graph_reduce(g, "ReduceSum", n->name, mask, 1, &axis, 0);
	else
		mask = graph_const(g, RDU_DT_I32, 1, ids->dim, NULL);
	if (!mask)
		return -1;
	graph_replace(n, 1, mask);
	graph_replace(n, 2, v);
	return graph_replace_first(n, normalized(g, n, v, n->in[5], n->in[6], false));
}

/* ---- attention ----------------------------------------------------------------------------- */

/* What is added to scores [batch, heads, length, keys] where a key does not count: of its number, or of flags. */
static struct value *hidden_keys(struct graph *g, struct node *n, struct value *mask, int64_t batch,
				 int64_t keys)
{
	int64_t one[] = { batch, 1, 1, 1 }, all[] = { batch, 1, 1, keys };

	if (mask->ndim == 1 && mask->dim[0] == batch && mask->dtype == RDU_DT_I32)
		mask = OP2("Less", loop_count(g, RDU_DT_I32, keys),
			   graph_reshape(g, n->name, mask, 4, one));
	else if (mask->ndim == 2 && mask->dim[0] == batch && mask->dim[1] == keys)
		mask = graph_reshape(g, n->name, graph_cast(g, n->name, mask, RDU_DT_BOOL), 4, all);
	else if (mask->ndim == 3 && mask->dim[0] == batch && mask->dim[2] == keys) {
		all[2] = mask->dim[1]; /* of each query */
		mask = graph_reshape(g, n->name, graph_cast(g, n->name, mask, RDU_DT_BOOL), 4, all);
	} else {
		node_error(g, n, "a mask %s %s is not supported", dtype_name(mask->dtype),
			   value_shape_text(g, mask));
		return NULL;
	}
	return mask ? graph_op3(g, "Where", n->name, mask, F(0),
				F(attr_f(n, "mask_filter_value", -10000)))
		    : NULL;
}

/*
 * Of q, k and v, [batch, length, heads * size] each. past: keys and values of before, [batch, heads, length, size];
 * present, if not NULL: these and the new ones.
 */
static int attention(struct graph *g, struct node *n, struct value *const qkv[3],
		     struct value *mask, struct value *bias, struct value *const past[2],
		     struct value *present[2])
{
	int64_t heads = attr_i(n, "num_heads", 0), keys;
	struct node *m = node_new(g, "Attention", n->name);
	struct value *add = NULL, *v;

	if (!qkv[0] || !qkv[1] || !qkv[2])
		return -1;
	if (!past[0] != !past[1] || (past[0] && past[0]->ndim != 4))
		return node_error(g, n, "keys and values of before do not fit");
	for (int i = 0; i < 3; i++) {
		if (qkv[i]->ndim != 3)
			return node_error(g, n, "input %d of shape %s is not supported", i,
					  value_shape_text(g, qkv[i]));
		node_input(g, m, qkv[i]);
	}
	if (heads < 1)
		return node_error(g, n, "num_heads is %lld", (long long)heads);
	keys = qkv[1]->dim[1] + (past[0] ? past[0]->dim[2] : 0);
	if (mask) {
		add = hidden_keys(g, n, mask, qkv[1]->dim[0], keys);
		add = graph_cast(g, n->name, add, qkv[0]->dtype);
		if (!add)
			return -1;
	}
	if (bias)
		add = add ? OP2("Add", add, bias) : bias;
	if (add || past[0])
		node_input(g, m, add);
	for (int i = 0; i < 2 && past[0]; i++)
		node_input(g, m, past[i]);
	if (present)
		have_results(g, m, 3);
	node_attr_i(g, m, "q_num_heads", heads);
	node_attr_i(g, m, "kv_num_heads", heads);
	node_attr_i(g, m, "is_causal", attr_i(n, "unidirectional", 0));
	if (attr_f(n, "scale", 0) != 0)
		node_attr_f(g, m, "scale", attr_f(n, "scale", 0));
	v = graph_finish(g, m);
	for (int i = 0; v && present && i < 2; i++)
		present[i] = value_resolve(m->out[1 + i]);
	return graph_replace_first(n, v);
}

/* Keys and values one above the other: [2, batch, heads, length, size]. */
static struct value *half_of(struct graph *g, struct node *n, struct value *v, int which)
{
	return v->ndim == 5 && v->dim[0] == 2
		       ? graph_reshape(g, n->name, graph_slice(g, n->name, v, 0, which, 1, false),
				       4, v->dim + 1)
		       : NULL;
}

static struct value *stacked(struct graph *g, struct node *n, struct value *const v[2])
{
	struct node *m = node_new(g, "Concat", n->name);
	int64_t dim[5] = { 1 };

	for (int i = 0; i < 2; i++) {
		memcpy(dim + 1, v[i]->dim, 4 * sizeof(*dim));
		node_input(g, m, graph_reshape(g, n->name, v[i], 5, dim));
	}
	node_attr_i(g, m, "axis", 0);
	return graph_finish(g, m);
}

static int packed_attention_expand(struct graph *g, struct node *n)
{
	struct value *v = OP2("MatMul", n->in[0], n->in[1]), *qkv[3], *past[2] = { 0 }, *present[2];
	bool keeps = n->num_out > 1 && n->out[1];

	if (without_input(g, n, 6, "a past's length"))
		return -1;
	if (node_attr(n, "qkv_hidden_sizes") || attr_i(n, "do_rotary", 0) ||
	    attr_i(n, "past_present_share_buffer", 0))
		return node_error(g, n,
				  "qkv_hidden_sizes, do_rotary and past_present_share_buffer "
				  "are not supported");
	for (int i = 0; i < 2 && node_in(n, 4); i++) {
		past[i] = half_of(g, n, n->in[4], i);
		if (!past[i])
			return node_error(g, n, "its past has shape %s",
					  value_shape_text(g, n->in[4]));
	}
	v = add_if(g, n, v, node_in(n, 2));
	if (!v || v->ndim != 3 || v->dim[2] % 3)
		return node_error(g, n, "its weights have shape %s", value_shape_text(g, n->in[1]));
	for (int i = 0; i < 3; i++)
		qkv[i] = graph_slice(g, n->name, v, 2, i * v->dim[2] / 3, v->dim[2] / 3, false);
	if (attention(g, n, qkv, node_in(n, 3), node_in(n, 5), past, keeps ? present : NULL))
		return -1;
	v = keeps ? stacked(g, n, present) : NULL;
	if (v)
		graph_replace(n, 1, v);
	return keeps && !v ? -1 : 0;
}

static int multi_head_expand(struct graph *g, struct node *n)
{
	struct value *bias = node_in(n, 3), *qkv[3], *past[2] = { node_in(n, 6), node_in(n, 7) },
		     *present[2];
	bool keeps = false;
	int64_t at = 0;

	if (bias && bias->ndim != 1)
		return node_error(g, n, "its bias has shape %s", value_shape_text(g, bias));
	if (without_input(g, n, 8, "a past's length") ||
	    without_input(g, n, 9, "a cache's order") ||
	    without_output(g, n, 3, "the products of queries and keys"))
		return -1;
	for (int i = 1; i < 3 && i < n->num_out; i++)
		keeps = keeps || n->out[i];
	for (int i = 0; i < 3; i++) {
		struct value *v = node_in(n, i);

		if (!v)
			return node_error(g, n, "inputs in one tensor are not supported");
		if (v->ndim == 3 && bias) {
			if (v->dim[2] > bias->dim[0] - at)
				return node_error(g, n, "its bias has only %lld elements",
						  (long long)bias->dim[0]);
			v = OP2("Add", v, graph_slice(g, n->name, bias, 0, at, v->dim[2], false));
			at += v ? v->dim[2] : 0;
		}
		qkv[i] = v;
	}
	if (attention(g, n, qkv, node_in(n, 4), node_in(n, 5), past, keeps ? present : NULL))
		return -1;
	for (int i = 0; keeps && i < 2; i++)
		if (1 + i < n->num_out && n->out[1 + i])
			graph_replace(n, 1 + i, present[i]);
	return 0;
}

/* ---- quantized ----------------------------------------------------------------------------- */

static struct value *linear(struct graph *g, struct node *n, const char *op, struct value *v,
			    struct value *scale, struct value *zero)
{
	struct node *m = node_new(g, op, n->name);

	if (!v)
		return NULL;
	node_input(g, m, v);
	node_input(g, m, scale);
	if (zero)
		node_input(g, m, zero);
	return graph_finish(g, m);
}

static struct value *in_float(struct graph *g, struct node *n, int i)
{
	return linear(g, n, "DequantizeLinear", n->in[i], n->in[i + 1], node_in(n, i + 2));
}

static int in_bytes(struct graph *g, struct node *n, struct value *v, int i)
{
	return graph_replace_first(n,
				   linear(g, n, "QuantizeLinear", v, n->in[i], node_in(n, i + 1)));
}

static int q_binary(struct graph *g, struct node *n, const char *op)
{
	struct value *a, *b;

	if (has_inputs(g, n, 3, (const int[]){ 3, 4, 6 }))
		return -1;
	a = in_float(g, n, 0);
	b = in_float(g, n, 3);
	return in_bytes(g, n, a && b ? OP2(op, a, b) : NULL, 6);
}

static int q_add_expand(struct graph *g, struct node *n)
{
	return q_binary(g, n, "Add");
}
static int q_mul_expand(struct graph *g, struct node *n)
{
	return q_binary(g, n, "Mul");
}

static int q_sigmoid_expand(struct graph *g, struct node *n)
{
	if (has_inputs(g, n, 1, (const int[]){ 3 }))
		return -1;
	return in_bytes(g, n, OP1("Sigmoid", in_float(g, n, 0)), 3);
}

static int q_leaky_expand(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "LeakyRelu", n->name);
	struct value *v = has_inputs(g, n, 1, (const int[]){ 3 }) ? NULL : in_float(g, n, 0);

	if (!v)
		return -1;
	node_input(g, m, v);
	node_attr_f(g, m, "alpha", attr_f(n, "alpha", 0.01f));
	return in_bytes(g, n, graph_finish(g, m), 3);
}

static int q_softmax_expand(struct graph *g, struct node *n)
{
	int64_t axis = attr_i(n, "axis", -1), first = attr_i(n, "opset", 0) < 13;
	struct node *m = node_new(g, "Softmax", n->name);
	struct value *v = has_inputs(g, n, 2, (const int[]){ 1, 3 }) ? NULL : in_float(g, n, 0);

	if (!v || node_axis(g, n, &axis, v->ndim))
		return -1;
	/* Before opset 13 it is over all axes from this one on. */
	if (first != (g->opset < 13) && axis != v->ndim - 1)
		return node_error(g, n, "its opset is %lld, the model's %lld: not supported",
				  (long long)attr_i(n, "opset", 0), (long long)g->opset);
	node_input(g, m, v);
	node_attr_i(g, m, "axis", axis);
	return in_bytes(g, n, graph_finish(g, m), 3);
}

/* v with its channels, which are last, second, or back again. */
static struct value *channels(struct graph *g, struct node *n, struct value *v, bool second)
{
	struct node *m = node_new(g, "Transpose", n->name);
	int64_t perm[RDU_MAX_DIMS] = { 0 };

	if (!v)
		return NULL;
	for (int i = 1; i < v->ndim; i++)
		perm[i] = second ? (i == 1 ? v->ndim - 1 : i - 1) : (i == v->ndim - 1 ? 1 : i + 1);
	node_input(g, m, v);
	node_attr_ints(g, m, "perm", (size_t)v->ndim, perm);
	return graph_finish(g, m);
}

static int q_average_expand(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "AveragePool", n->name);
	struct value *v = has_inputs(g, n, 2, (const int[]){ 1, 3 }) ? NULL : in_float(g, n, 0);
	bool last = attr_i(n, "channels_last", 0);

	v = last ? channels(g, n, v, true) : v;
	if (!v)
		return -1;
	node_input(g, m, v);
	m->attrs = n->attrs;
	/* What lies beyond the padding counts, too. */
	if (attr_i(n, "count_include_pad", 0))
		node_attr_i(g, m, "count_include_pad", POOL_WHOLE);
	v = graph_finish(g, m);
	return in_bytes(g, n, last ? channels(g, n, v, false) : v, 3);
}

static int q_where_expand(struct graph *g, struct node *n)
{
	struct value *a, *b;

	if (has_inputs(g, n, 6, (const int[]){ 1, 2, 4, 5, 7, 8 }))
		return -1;
	a = in_float(g, n, 1);
	b = in_float(g, n, 4);
	return in_bytes(g, n, a && b ? graph_op3(g, "Where", n->name, n->in[0], a, b) : NULL, 7);
}

/* A matrix, turned if it says so. */
static struct value *turned_if(struct graph *g, struct node *n, int in, const char *attr)
{
	static const int64_t perm[] = { 1, 0 };
	struct node *m = node_new(g, "Transpose", n->name);

	if (n->in[in]->ndim != 2) {
		node_error(g, n, "input %d has shape %s", in, value_shape_text(g, n->in[in]));
		return NULL;
	}
	if (!attr_i(n, attr, 0))
		return n->in[in];
	node_input(g, m, n->in[in]);
	node_attr_ints(g, m, "perm", 2, perm);
	return graph_finish(g, m);
}

/* Sums of products and C in int32, scaled; in bytes if a scale is given for them. */
static int q_gemm_expand(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "MatMulInteger", n->name);
	struct value *a, *b, *v, *s;

	if (has_inputs(g, n, 4, (const int[]){ 1, 2, 4, 5 }))
		return -1;
	a = turned_if(g, n, 0, "transA");
	b = a ? turned_if(g, n, 3, "transB") : NULL;
	if (!b)
		return -1;
	node_input(g, m, a);
	node_input(g, m, b);
	node_input(g, m, n->in[2]);
	node_input(g, m, n->in[5]);
	v = add_if(g, n, graph_finish(g, m), node_in(n, 6));
	v = graph_cast(g, n->name, v, RDU_DT_F32);
	s = OP2("Mul", n->in[1], n->in[4]);
	s = s ? OP2("Mul", s, F(attr_f(n, "alpha", 1))) : NULL;
	v = v && s ? OP2("Mul", v, s) : NULL;
	return node_in(n, 7) ? in_bytes(g, n, v, 7) : graph_replace_first(n, v);
}

static int q_global_average_expand(struct graph *g, struct node *n)
{
	bool last = attr_i(n, "channels_last", 0);
	int64_t axes[RDU_MAX_DIMS];
	int num = n->in[0]->ndim - 2;
	struct value *x;

	if (has_inputs(g, n, 1, (const int[]){ 3 }))
		return -1;
	if (num < 1)
		return node_error(g, n, "input %s has no planes", value_shape_text(g, n->in[0]));
	for (int i = 0; i < num; i++)
		axes[i] = i + (last ? 1 : 2);
	x = in_float(g, n, 0);
	return in_bytes(g, n, x ? graph_reduce(g, "ReduceMean", n->name, x, num, axes, 1) : NULL,
			3);
}

static int q_concat_expand(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "Concat", n->name);

	if ((n->num_in - 2) % 3)
		return node_error(g, n, "it has %d inputs", n->num_in);
	for (int i = 2; i < n->num_in; i += 3) {
		struct value *v =
			has_inputs(g, n, 2, (const int[]){ i, i + 1 }) ? NULL : in_float(g, n, i);

		if (!v)
			return -1;
		node_input(g, m, v);
	}
	node_attr_i(g, m, "axis", attr_i(n, "axis", 0));
	return in_bytes(g, n, graph_finish(g, m), 0);
}

/* Distances between rows: the square root of the sum of squares. */
static int distances_expand(struct graph *g, struct node *n)
{
	bool squared = !strcmp(attr_s(n, "metric", "sqeuclidean"), "sqeuclidean");
	struct value *a = n->in[0], *b = n->in[1];
	int64_t last = 2;

	if (a->ndim != 2 || b->ndim != 2 || a->dim[1] != b->dim[1])
		return node_error(g, n, "shapes %s and %s do not fit", value_shape_text(g, a),
				  value_shape_text(g, b));
	a = graph_reshape(g, n->name, a, 3, (int64_t[]){ a->dim[0], 1, a->dim[1] });
	a = a ? OP2("Sub", a, b) : NULL;
	a = a ? OP2("Mul", a, a) : NULL;
	a = a ? graph_reduce(g, "ReduceSum", n->name, a, 1, &last, 0) : NULL;
	return graph_replace_first(n, a && !squared ? OP1("Sqrt", a) : a);
}

static int as_onnx(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, n->op->name, n->name);

	for (int i = 0; i < n->num_in; i++)
		node_input(g, m, n->in[i]);
	m->attrs = n->attrs;
	return graph_replace_first(n, graph_finish(g, m));
}

#define MS(onnx, lo, hi, outs, fn)                                                   \
	{                                                                            \
		.name = onnx, .domain = "com.microsoft", .min_in = lo, .max_in = hi, \
		.max_out = outs, .expand = fn                                        \
	}

const struct op ops_contrib[] = {
	MS("Attention", 2, 7, 2, packed_attention_expand),
	MS("BiasGelu", 2, 2, 1, gelu_expand),
	MS("CDist", 2, 2, 1, distances_expand),
	MS("DequantizeLinear", 2, 3, 1, as_onnx),
	MS("DynamicQuantizeMatMul", 3, 5, 1, dynamic_matmul_expand),
	MS("EmbedLayerNormalization", 1, 9, 3, embed_norm_expand),
	MS("FastGelu", 1, 2, 1, fast_gelu_expand),
	MS("FusedConv", 2, 4, 1, fused_conv_expand),
	MS("FusedGemm", 2, 3, 1, fused_gemm_expand),
	MS("FusedMatMul", 2, 2, 1, fused_matmul_expand),
	MS("Gelu", 1, 1, 1, gelu_expand),
	MS("MatMulIntegerToFloat", 4, 7, 1, to_float_expand),
	MS("MatMulNBits", 3, 6, 1, matmul_nbits_expand),
	MS("MultiHeadAttention", 1, 10, 4, multi_head_expand),
	MS("QGemm", 6, 9, 1, q_gemm_expand),
	MS("QLinearAdd", 2, 8, 1, q_add_expand),
	MS("QLinearAveragePool", 4, 5, 1, q_average_expand),
	MS("QLinearConcat", 1, -1, 1, q_concat_expand),
	MS("QLinearGlobalAveragePool", 2, 5, 1, q_global_average_expand),
	MS("QLinearLeakyRelu", 2, 5, 1, q_leaky_expand),
	MS("QLinearMul", 2, 8, 1, q_mul_expand),
	MS("QLinearSigmoid", 2, 5, 1, q_sigmoid_expand),
	MS("QLinearSoftmax", 4, 5, 1, q_softmax_expand),
	MS("QLinearWhere", 8, 9, 1, q_where_expand),
	MS("QuantizeLinear", 2, 3, 1, as_onnx),
	MS("QuickGelu", 1, 1, 1, quick_gelu_expand),
	MS("SkipLayerNormalization", 3, 5, 4, skip_norm_expand),
	MS("SkipSimplifiedLayerNormalization", 3, 4, 4, skip_simple_expand),
	MS("Trilu", 1, 2, 1, as_onnx),
	{ .name = "SimplifiedLayerNormalization",
	  .min_in = 2,
	  .max_in = 2,
	  .max_out = 2,
	  .expand = simple_norm_expand },
	{ 0 },
};
