// SPDX-License-Identifier: MIT
/*
 * What ONNX Runtime's exporters write of decoders, in its domain com.microsoft: RotaryEmbedding and
 * GroupQueryAttention. They become ONNX's RotaryEmbedding, TensorScatter into the cache, and Attention.
 */
#include <math.h>
#include <string.h>
#include "graph.h"

static struct value *sum_of(struct graph *g, struct node *n, struct value *a, struct value *b)
{
	return a && b ? graph_op2(g, "Add", n->name, a, b) : NULL;
}

/* Numbers of `length` places from `first` on, int64 [batch, length]; first: [1] or [batch]. */
static struct value *places_from(struct graph *g, struct node *n, struct value *first,
				 int64_t batch, int64_t length)
{
	int64_t column[] = { first ? value_count(first) : 1, 1 }, dim[] = { batch, length },
		two = 2;
	struct value *v = graph_reshape(g, n->name, first, 2, column);

	v = sum_of(g, n, v, loop_count(g, RDU_DT_I64, length));
	return v ? graph_op2(g, "Expand", n->name, v, graph_const(g, RDU_DT_I64, 1, &two, dim))
		 : NULL;
}

/* x, turned by the cosines and sines of its places. heads: 0 where x has a dimension of them. */
static struct value *rotary(struct graph *g, struct node *n, struct value *x, struct value *cosine,
			    struct value *sine, struct value *places, int64_t heads,
			    int64_t interleaved)
{
	struct node *m = node_new(g, "RotaryEmbedding", n->name);

	if (!x || !places)
		return NULL;
	if (cosine->ndim != 2 || !value_same_shape(cosine, sine)) {
		node_error(g, n, "its cosines and sines have shapes %s and %s",
			   value_shape_text(g, cosine), value_shape_text(g, sine));
		return NULL;
	}
	node_input(g, m, x);
	node_input(g, m, cosine);
	node_input(g, m, sine);
	node_input(g, m, places);
	node_attr_i(g, m, "num_heads", heads);
	node_attr_i(g, m, "interleaved", interleaved);
	node_attr_i(g, m, "rotary_embedding_dim", 2 * cosine->dim[1]);
	return graph_finish(g, m);
}

static int rotary_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *places = n->in[1];
	int64_t heads = attr_i(n, "num_heads", 0),
		half = n->in[2]->ndim == 2 ? n->in[2]->dim[1] : 0;

	if (attr_f(n, "scale", 1) != 1 || attr_i(n, "is_packed_batching", 0))
		return node_error(g, n, "scale and is_packed_batching are not supported");
	if (x->ndim != 3 && x->ndim != 4)
		return node_error(g, n, "its input has shape %s", value_shape_text(g, x));
	if (attr_i(n, "rotary_embedding_dim", 2 * half) &&
	    attr_i(n, "rotary_embedding_dim", 2 * half) != 2 * half)
		return node_error(g, n, "rotary_embedding_dim is %lld, cosines have %lld columns",
				  (long long)attr_i(n, "rotary_embedding_dim", 0), (long long)half);
	if (x->ndim == 3 && !heads && half) /* heads are as wide as the tables say */
		heads = x->dim[2] / (2 * half);
	if (value_count(places) == 1)
		places = places_from(g, n, places, x->dim[0], x->dim[x->ndim - 2]);
	return graph_replace_first(
		n, rotary(g, n, x, n->in[2], n->in[3], places, heads, attr_i(n, "interleaved", 0)));
}

/* ---- GroupQueryAttention ------------------------------------------------------------------- */

enum {
	IN_KEY = 1,
	IN_PAST_KEY = 3,
	IN_LAST = 5,
	IN_TOTAL,
	IN_COSINE,
	IN_SINE,
	IN_PLACES,
	IN_BIAS,
	IN_SINKS,
	IN_FIRST_REFUSED
};

struct grouped {
	int64_t batch, length, size; /* sequences; queries of each; of a head */
	int64_t heads, kv_heads, total;
	struct value *
		used; /* int64 [batch]: keys that count, with the new ones; NULL: as many as queries */
	struct value *past; /* int64 [batch], of them those of before; NULL: none */
};

static int grouped_get(struct graph *g, struct node *n, struct grouped *a)
{
	const struct value *q = n->in[0], *total = node_in(n, IN_TOTAL);
	struct value *last = node_in(n, IN_LAST);
	int64_t shared;

	for (int i = IN_FIRST_REFUSED; i < n->num_in; i++)
		if (n->in[i])
			return node_error(g, n, "input %d is not supported", i);
	if (attr_i(n, "qk_output", 0) > 0 || (n->num_out > 3 && n->out[3]))
		return node_error(g, n, "its products of queries and keys are not supported");
	if (attr_f(n, "softcap", 0) != 0 && (node_in(n, IN_BIAS) || node_in(n, IN_SINKS)))
		return node_error(g, n, "softcap with a bias or with sinks is not supported");
	if (!attr_i(n, "local_window_size", -1))
		return node_error(g, n,
				  "a window of no keys (local_window_size is 0) is not supported");
	*a = (struct grouped){ .heads = attr_i(n, "num_heads", 0),
			       .kv_heads = attr_i(n, "kv_num_heads", 0) };
	if (!last || !total)
		return node_error(g, n, "seqlens_k and total_sequence_length have to be given");
	if (!total->constant || !total->data || value_count(total) != 1)
		return node_error(g, n,
				  "total_sequence_length ('%s') is not a constant: not supported",
				  total->name);
	a->total = value_int(total, 0);
	shared = a->heads + (node_in(n, IN_KEY) ? 0 : 2 * a->kv_heads);
	if (q->ndim != 3 || a->heads < 1 || a->kv_heads < 1 || a->heads % a->kv_heads ||
	    q->dim[2] % shared || value_count(last) != q->dim[0] || a->total < q->dim[1])
		return node_error(g, n,
				  "%lld and %lld heads, queries %s, lengths %s and %lld keys do "
				  "not fit",
				  (long long)a->heads, (long long)a->kv_heads,
				  value_shape_text(g, q), value_shape_text(g, last),
				  (long long)a->total);
	a->batch = q->dim[0];
	a->length = q->dim[1];
	a->size = q->dim[2] / shared;
	if (a->total == a->length) /* the first ones: none are before them */
		return 0;
	last = graph_cast(g, n->name, graph_reshape(g, n->name, last, 1, &a->batch), RDU_DT_I64);
	a->used = sum_of(g, n, last, graph_const_i(g, 1));
	a->past = sum_of(g, n, last, graph_const_i(g, 1 - a->length));
	return a->past ? 0 : -1;
}

/* The queries, keys or values (0, 1, 2), [batch, length, heads * size]. */
static struct value *part_of(struct graph *g, struct node *n, const struct grouped *a, int which)
{
	int64_t from = which ? a->heads + (which - 1) * a->kv_heads : 0;

	if (node_in(n, IN_KEY))
		return which && !node_in(n, which) ? NULL : n->in[which];
	return graph_slice(g, n->name, n->in[0], 2, from * a->size,
			   (which ? a->kv_heads : a->heads) * a->size, false);
}

/* New keys or values [batch, length, ...] at their places in the cache, which becomes as long as it has to be. */
static struct value *cached(struct graph *g, struct node *n, const struct grouped *a,
			    struct value *v, struct value *cache)
{
	int64_t dim[] = { a->batch, a->length, a->kv_heads, a->size };
	static const int64_t perm[] = { 0, 2, 1, 3 };
	struct node *m;

	v = graph_reshape(g, n->name, v, 4, dim);
	if (!v)
		return NULL;
	m = node_new(g, "Transpose", n->name);
	node_input(g, m, v);
	node_attr_ints(g, m, "perm", 4, perm);
	v = graph_finish(g, m);
	if (!v || ((!cache || !value_count(cache)) && !a->past))
		return v;
	if (!cache || cache->ndim != 4 || cache->dim[0] != a->batch ||
	    cache->dim[1] != a->kv_heads || cache->dim[3] != a->size || cache->dtype != v->dtype) {
		node_error(g, n, "keys and values of before are %s, of float[%lld,%lld,n,%lld]",
			   cache ? value_shape_text(g, cache) : "not given", (long long)a->batch,
			   (long long)a->kv_heads, (long long)a->size);
		return NULL;
	}
	if (cache->dim[2] < a->total) {
		int64_t more[] = { a->batch, a->kv_heads, a->total - cache->dim[2], a->size };

		m = node_new(g, "Concat", n->name);
		node_input(g, m, cache);
		node_input(g, m, graph_const(g, v->dtype, 4, more, NULL));
		node_attr_i(g, m, "axis", 2);
		cache = graph_finish(g, m);
	}
	m = node_new(g, "TensorScatter", n->name);
	if (!cache)
		return NULL;
	node_input(g, m, cache);
	node_input(g, m, v);
	if (a->past)
		node_input(g, m, a->past);
	return graph_finish(g, m);
}

/* v along its axis with w behind it. */
static struct value *and_behind(struct graph *g, struct node *n, struct value *v, struct value *w,
				int64_t axis)
{
	struct node *m = node_new(g, "Concat", n->name);

	if (!v || !w)
		return NULL;
	node_input(g, m, v);
	node_input(g, m, w);
	node_attr_i(g, m, "axis", axis);
	return graph_finish(g, m);
}

/* Is it a softmax with one more term, exp(0) or exp of the head's sink? */
static bool has_sink(struct node *n)
{
	return attr_i(n, "smooth_softmax", 0) > 0 || node_in(n, IN_SINKS);
}

/*
 * What each query sees of `keys`, [batch, heads or 1, length, keys]: those up to its own, of them as many as the
 * window is long. Flags; with a bias or sinks numbers to add. A sink is one more key, of zeros, that all see.
 */
static struct value *seen_keys(struct graph *g, struct node *n, const struct grouped *a,
			       struct value *first, int64_t keys)
{
	int64_t own[] = { a->batch, 1, a->length, 1 }, window = attr_i(n, "local_window_size", -1);
	struct value *at = loop_count(g, RDU_DT_I64, keys), *sinks = node_in(n, IN_SINKS), *v, *in;
	struct value *bias = node_in(n, IN_BIAS), *place;

	place = graph_reshape(g, n->name, places_from(g, n, first, a->batch, a->length), 4, own);
	v = place ? graph_op2(g, "LessOrEqual", n->name, at, place) : NULL;
	if (v && window >= 0) {
		place = sum_of(g, n, place, graph_const_i(g, -window));
		in = place ? graph_op2(g, "Greater", n->name, at, place) : NULL;
		v = in ? graph_op2(g, "And", n->name, v, in) : NULL;
	}
	if (v && (bias || sinks)) {
		struct value *zero = graph_cast(g, n->name, graph_const_f(g, 0), n->in[0]->dtype);
		struct value *hidden =
			graph_cast(g, n->name, graph_const_f(g, -INFINITY), n->in[0]->dtype);

		if (bias && bias->ndim == 4 && bias->dim[3] > keys)
			bias = graph_slice(g, n->name, bias, 3, 0, keys, false);
		v = zero && hidden ? graph_op3(g, "Where", n->name, v, bias ? bias : zero, hidden)
				   : NULL;
	}
	if (v && sinks) {
		int64_t head[] = { 1, a->heads, 1, 1 },
			each[] = { a->batch, a->heads, a->length, 1 },
			all[] = { a->batch, a->heads, a->length, keys }, four = 4;

		if (sinks->ndim != 1 || sinks->dim[0] != a->heads) {
			node_error(g, n, "its sinks have shape %s, there are %lld heads",
				   value_shape_text(g, sinks), (long long)a->heads);
			return NULL;
		}
		sinks = graph_reshape(g, n->name, sinks, 4, head);
		sinks = sinks ? graph_op2(g, "Expand", n->name, sinks,
					  graph_const(g, RDU_DT_I64, 1, &four, each))
			      : NULL;
		v = graph_op2(g, "Expand", n->name, v, graph_const(g, RDU_DT_I64, 1, &four, all));
		return and_behind(g, n, v, sinks, 3);
	}
	if (v && has_sink(n)) { /* of logit 0 */
		int64_t one[] = { v->dim[0], v->dim[1], v->dim[2], 1 };
		struct value *more = graph_const(g, v->dtype, 4, one, NULL);

		if (v->dtype == RDU_DT_BOOL)
			memset(more->data, 1, (size_t)value_count(more));
		v = and_behind(g, n, v, more, 3);
	}
	return v;
}

static int grouped_expand(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "Attention", n->name);
	struct value *v[3], *places, *seen = NULL;
	bool masked = attr_i(n, "local_window_size", -1) >= 0 || has_sink(n) || node_in(n, IN_BIAS);
	struct grouped a;

	if (grouped_get(g, n, &a))
		return -1;
	places = a.past ? a.past : graph_const_i(g, 0);
	for (int i = 0; i < 3; i++) {
		v[i] = part_of(g, n, &a, i);
		if (v[i] && i < 2 && attr_i(n, "do_rotary", 0)) {
			if (!node_in(n, IN_COSINE) || !node_in(n, IN_SINE))
				return node_error(g, n, "do_rotary without cosines and sines");
			v[i] = rotary(g, n, v[i], n->in[IN_COSINE], n->in[IN_SINE],
				      node_in(n, IN_PLACES)
					      ? n->in[IN_PLACES]
					      : places_from(g, n, places, a.batch, a.length),
				      i ? a.kv_heads : a.heads, attr_i(n, "rotary_interleaved", 0));
		}
		if (v[i] && i)
			v[i] = cached(g, n, &a, v[i], node_in(n, IN_PAST_KEY + i - 1));
		if (!v[i])
			return node_error(g, n, "its queries, keys and values do not fit");
		if (masked && i == 1) {
			seen = seen_keys(g, n, &a, places, v[1]->dim[2]);
			if (!seen)
				return -1;
		}
		if (i && has_sink(n)) {
			int64_t none[] = { a.batch, a.kv_heads, 1, a.size };

			node_input(g, m,
				   and_behind(g, n, v[i],
					      graph_const(g, v[i]->dtype, 4, none, NULL), 2));
		} else {
			node_input(g, m, v[i]);
		}
	}
	if (masked)
		node_input(g, m, seen);
	for (int i = 0; i < 3 && a.used && !masked; i++)
		node_input(g, m, NULL);
	if (a.used && !masked)
		node_input(g, m, a.used);
	node_attr_i(g, m, "is_causal", !masked);
	node_attr_i(g, m, "q_num_heads", a.heads);
	node_attr_i(g, m, "kv_num_heads", a.kv_heads);
	if (attr_f(n, "scale", 0) != 0)
		node_attr_f(g, m, "scale", attr_f(n, "scale", 0));
	node_attr_f(g, m, "softcap", attr_f(n, "softcap", 0));
	graph_replace(n, 1, v[1]);
	graph_replace(n, 2, v[2]);
	return graph_replace_first(n, graph_finish(g, m));
}

const struct op ops_decoder[] = {
	{ .name = "GroupQueryAttention",
	  .domain = "com.microsoft",
	  .min_in = 1,
	  .max_in = 14,
	  .max_out = 4,
	  .expand = grouped_expand },
	{ .name = "RotaryEmbedding",
	  .domain = "com.microsoft",
	  .min_in = 4,
	  .max_in = 4,
	  .max_out = 1,
	  .expand = rotary_expand },
	{ 0 },
};
