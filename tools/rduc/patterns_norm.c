// SPDX-License-Identifier: MIT
/* Normalizations: made of reductions and maps. */
#include <string.h>
#include "graph.h"

/* (x - mean) / sqrt(variance + epsilon) over axes; then scale and bias. */
static struct value *normalize(struct graph *g, struct node *n, struct value *x, int num,
			       const int64_t *axes, struct value *scale, struct value *bias,
			       struct value **parts)
{
	enum rdu_dtype type = x->dtype;
	struct value *mean, *d, *v;

	/* In fp32, whatever the type; scale and bias are applied in it. */
	x = graph_cast(g, graph_format(g, "%.200s.wide", n->name), x, RDU_DT_F32);
	mean = graph_reduce(g, "ReduceMean", graph_format(g, "%.200s.mean", n->name), x, num, axes,
			    1);
	d = mean ? graph_op2(g, "Sub", graph_format(g, "%.200s.center", n->name), x, mean) : NULL;
	v = d ? graph_op2(g, "Mul", graph_format(g, "%.200s.square", n->name), d, d) : NULL;
	v = graph_reduce(g, "ReduceMean", graph_format(g, "%.200s.var", n->name), v, num, axes, 1);
	parts[2] = v;
	v = graph_op2(g, "Add", graph_format(g, "%.200s.eps", n->name), v,
		      v ? graph_const_f(g, attr_f(n, "epsilon", 1e-5f)) : NULL);
	v = graph_op2(g, "Pow", graph_format(g, "%.200s.rsqrt", n->name), v,
		      v ? graph_const_f(g, -0.5f) : NULL);
	parts[0] = mean;
	parts[1] = v;
	v = v ? graph_op2(g, "Mul", graph_format(g, "%.200s.normal", n->name), d, v) : NULL;
	v = graph_cast(g, graph_format(g, "%.200s.typed", n->name), v, type);
	if (v && scale)
		v = graph_op2(g, "Mul", graph_format(g, "%.200s.scale", n->name), v, scale);
	if (v && bias)
		v = graph_op2(g, "Add", graph_format(g, "%.200s.bias", n->name), v, bias);
	return v;
}

static int layer_norm_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *parts[3], *y;
	int64_t axis = attr_i(n, "axis", -1), axes[RDU_MAX_DIMS];
	int num = 0;

	if (node_float_only(g, n))
		return -1;
	if (attr_i(n, "stash_type", 1) != 1)
		return node_error(g, n, "stash_type other than float is not supported");
	if (axis < 0)
		axis += x->ndim;
	if (axis < 0 || axis >= x->ndim)
		return node_error(g, n, "axis is out of range");
	for (int64_t i = axis; i < x->ndim; i++)
		axes[num++] = i;
	y = normalize(g, n, x, num, axes, n->in[1], node_in(n, 2), parts);
	if (!y)
		return -1;
	graph_replace(n, 1, parts[0]);
	graph_replace(n, 2, parts[1]);
	return graph_replace_first(n, y);
}

/* x / sqrt(mean(x^2) + epsilon) * scale */
static int rms_norm_expand(struct graph *g, struct node *n)
{
	int64_t axis = attr_i(n, "axis", -1), axes[RDU_MAX_DIMS];
	struct value *x = n->in[0], *v;
	int num = 0;

	if (node_float_only(g, n) || node_axis(g, n, &axis, x->ndim))
		return -1;
	if (attr_i(n, "stash_type", 1) != 1)
		return node_error(g, n, "stash_type other than float is not supported");
	for (int64_t i = axis; i < x->ndim; i++)
		axes[num++] = i;
	x = graph_cast(g, graph_format(g, "%.200s.wide", n->name), x, RDU_DT_F32);
	v = x ? graph_op2(g, "Mul", graph_format(g, "%.200s.square", n->name), x, x) : NULL;
	v = graph_reduce(g, "ReduceMean", graph_format(g, "%.200s.mean", n->name), v, num, axes, 1);
	v = v ? graph_op2(g, "Add", graph_format(g, "%.200s.eps", n->name), v,
			  graph_const_f(g, attr_f(n, "epsilon", 1e-5f)))
	      : NULL;
	v = v ? graph_op2(g, "Pow", graph_format(g, "%.200s.rsqrt", n->name), v,
			  graph_const_f(g, -0.5f))
	      : NULL;
	v = v ? graph_op2(g, "Mul", graph_format(g, "%.200s.normal", n->name), x, v) : NULL;
	v = graph_cast(g, graph_format(g, "%.200s.typed", n->name), v, n->in[0]->dtype);
	return graph_replace_first(n, v ? graph_op2(g, "Mul", n->name, v, n->in[1]) : NULL);
}

/* (x - mean) / (standard deviation + 1e-9), as ONNX's function has it. */
static int mean_variance_expand(struct graph *g, struct node *n)
{
	static const int64_t otherwise[] = { 0, 2, 3 };
	struct value *x = n->in[0], *d, *v;
	const int64_t *axes;
	int num;

	if (node_float_only(g, n))
		return -1;
	axes = attr_ints(n, "axes", &num);
	if (!axes) {
		axes = otherwise;
		num = 3;
	}
	v = graph_reduce(g, "ReduceMean", graph_format(g, "%.200s.mean", n->name), x, num, axes, 1);
	d = v ? graph_op2(g, "Sub", graph_format(g, "%.200s.center", n->name), x, v) : NULL;
	v = d ? graph_op2(g, "Mul", graph_format(g, "%.200s.square", n->name), d, d) : NULL;
	v = graph_reduce(g, "ReduceMean", graph_format(g, "%.200s.var", n->name), v, num, axes, 1);
	v = v ? graph_op1(g, "Sqrt", graph_format(g, "%.200s.std", n->name), v) : NULL;
	v = v ? graph_op2(g, "Add", graph_format(g, "%.200s.eps", n->name), v,
			  graph_const_f(g, 1e-9f))
	      : NULL;
	return graph_replace_first(n, v ? graph_op2(g, "Div", n->name, d, v) : NULL);
}

static struct value *per_channel(struct graph *g, struct node *n, struct value *v, int ndim)
{
	int64_t dim[RDU_MAX_DIMS] = { 0 };

	if (!v)
		return NULL;
	dim[0] = value_count(v);
	for (int i = 1; i < ndim; i++)
		dim[i] = 1;
	return graph_reshape(g, n->name, v, ndim, dim);
}

static int channel_shapes(struct graph *g, struct node *n, int num)
{
	if (node_float_only(g, n))
		return -1;
	if (n->in[0]->ndim < 2)
		return node_error(g, n, "its input has %d dimensions", n->in[0]->ndim);
	for (int i = 1; i < num; i++)
		if (n->in[i]->ndim != 1 || n->in[i]->dim[0] != n->in[0]->dim[1])
			return node_error(g, n, "input %d has shape %s", i,
					  value_shape_text(g, n->in[i]));
	return 0;
}

static int instance_norm_expand(struct graph *g, struct node *n)
{
	static const int64_t axes[] = { 2, 3, 4, 5, 6, 7 };
	struct value *parts[3];
	int ndim = n->in[0]->ndim;

	if (channel_shapes(g, n, 3))
		return -1;
	return graph_replace_first(n, normalize(g, n, n->in[0], ndim - 2, axes,
						per_channel(g, n, n->in[1], ndim - 1),
						per_channel(g, n, n->in[2], ndim - 1), parts));
}

/* Channels in groups: an instance a group. Before opset 21 a scale a group too. */
static int group_norm_expand(struct graph *g, struct node *n)
{
	struct value *x = n->in[0], *parts[3], *y, *s = n->in[1], *b = n->in[2];
	int64_t groups = attr_i(n, "num_groups", 0), dim[3], axis = 2, want;

	if (node_float_only(g, n))
		return -1;
	if (x->ndim < 3 || groups < 1 || x->dim[1] % groups)
		return node_error(g, n, "%lld groups do not fit %s", (long long)groups,
				  value_shape_text(g, x));
	if (attr_i(n, "stash_type", 1) != 1)
		return node_error(g, n, "stash_type other than float is not supported");
	want = g->opset < 21 ? groups : x->dim[1];
	if (s->ndim != 1 || b->ndim != 1 || s->dim[0] != want || b->dim[0] != want)
		return node_error(g, n, "scale %s and bias %s are not of %lld elements",
				  value_shape_text(g, s), value_shape_text(g, b), (long long)want);
	dim[0] = x->dim[0];
	dim[1] = groups;
	dim[2] = x->dim[0] ? value_count(x) / (x->dim[0] * groups) : 0;
	y = graph_reshape(g, n->name, x, 3, dim);
	if (!y)
		return -1;
	if (g->opset < 21)
		return graph_replace_first(
			n, graph_reshape(g, n->name,
					 normalize(g, n, y, 1, &axis, per_channel(g, n, s, 2),
						   per_channel(g, n, b, 2), parts),
					 x->ndim, x->dim));
	y = graph_reshape(g, n->name, normalize(g, n, y, 1, &axis, NULL, NULL, parts), x->ndim,
			  x->dim);
	y = y ? graph_op2(g, "Mul", graph_format(g, "%.200s.scale", n->name), y,
			  per_channel(g, n, s, x->ndim - 1))
	      : NULL;
	return graph_replace_first(n,
				   y ? graph_op2(g, "Add", graph_format(g, "%.200s.bias", n->name),
						 y, per_channel(g, n, b, x->ndim - 1))
				     : NULL);
}

/* before * momentum + now * (1 - momentum), [channels] */
static struct value *running(struct graph *g, struct node *n, struct value *before,
			     struct value *now)
{
	float momentum = attr_f(n, "momentum", 0.9f);
	struct value *a = graph_op2(g, "Mul", graph_format(g, "%.200s.before", n->name), before,
				    graph_const_f(g, momentum));
	struct value *b = graph_op2(g, "Mul", graph_format(g, "%.200s.now", n->name),
				    graph_reshape(g, n->name, now, 1, before->dim),
				    graph_const_f(g, 1 - momentum));

	return a ? graph_op2(g, "Add", graph_format(g, "%.200s.running", n->name), a, b) : NULL;
}

/* PyTorch's running variance is of the unbiased ones, ONNX's of those that normalize. */
static struct value *unbiased(struct graph *g, struct node *n, struct value *variance)
{
	int64_t num = value_count(n->in[0]) / n->in[0]->dim[1];

	if (num < 2) {
		node_error(g, n, "of one number a channel there is no unbiased variance");
		return NULL;
	}
	return graph_op2(g, "Mul", graph_format(g, "%.200s.unbiased", n->name), variance,
			 graph_const_f(g, (float)((double)num / (double)(num - 1))));
}

/* With the stored mean and variance: s = scale / sqrt(var + eps), x s + (b - mean s). */
/* If not (before opset 9), each element of a channel has statistics of its own. */
static bool is_spatial(const struct node *n)
{
	return attr_i(n, "spatial", 1);
}

static struct value *with_stored(struct graph *g, struct node *n)
{
	struct value *s, *t, *y;
	int ndim = n->in[0]->ndim;

	s = graph_op2(g, "Add", graph_format(g, "%.200s.eps", n->name), n->in[4],
		      graph_const_f(g, attr_f(n, "epsilon", 1e-5f)));
	s = s ? graph_op2(g, "Pow", graph_format(g, "%.200s.rsqrt", n->name), s,
			  graph_const_f(g, -0.5f))
	      : NULL;
	s = s ? graph_op2(g, "Mul", graph_format(g, "%.200s.scale", n->name), n->in[1], s) : NULL;
	t = s ? graph_op2(g, "Mul", graph_format(g, "%.200s.mean", n->name), n->in[3], s) : NULL;
	t = t ? graph_op2(g, "Sub", graph_format(g, "%.200s.bias", n->name), n->in[2], t) : NULL;
	if (t && is_spatial(n)) {
		s = per_channel(g, n, s, ndim - 1);
		t = per_channel(g, n, t, ndim - 1);
	}
	if (!s || !t)
		return NULL;
	y = graph_op2(g, "Mul", n->name, n->in[0], s);
	return y ? graph_op2(g, "Add", graph_format(g, "%.200s.add", n->name), y, t) : NULL;
}

/*
 * With mean and variance of the batch itself, which go into the running ones. Where a model is
 * trained that is how a step does it: it keeps the running ones, and other entry points read them.
 * Statistics that are no tensors of the program (they were a Constant) are none to keep.
 */
static int batch_norm_training(struct graph *g, struct node *n)
{
	static const int64_t axes[] = { 0, 2, 3, 4, 5, 6, 7 };
	int ndim = n->in[0]->ndim;
	struct value *parts[3], *y;
	bool keeps = g->trained;

	if (g->opset < 14 || n->num_out > 3)
		return node_error(g, n, "training_mode of before opset 14 is not supported");
	for (int i = 3; i < 5; i++)
		keeps &= n->in[i]->kind == TENSOR_WEIGHT && !n->in[i]->constant;
	if (keeps && g->in_body)
		return node_error(g, n, "statistics that are kept in a loop are not supported");
	if (keeps && g->in_branch)
		return node_error(
			g, n,
			"statistics that are kept in a branch of an If are not supported, "
			"unless its condition is a constant");
	y = normalize(g, n, n->in[0], ndim - 1, axes, per_channel(g, n, n->in[1], ndim - 1),
		      per_channel(g, n, n->in[2], ndim - 1), parts);
	if (g->unbiased && y)
		parts[2] = unbiased(g, n, parts[2]);
	for (int i = 1; i < 3 && y && (keeps || n->num_out > 1); i++) {
		struct value *old = n->in[2 + i], *now = i == 1 ? parts[0] : parts[2];
		struct value *v = now ? running(g, n, graph_kept(g, old), now) : NULL;

		if (v && keeps) {
			graph_keep(g, old, v);
			v = graph_by_mode(g, n->name, v, old);
		}
		if (!v)
			return -1;
		graph_replace(n, i, v);
	}
	if (keeps)
		y = graph_by_mode(g, n->name, y, with_stored(g, n));
	return graph_replace_first(n, y);
}

/* The shapes of its parameters are that of x, without the batch. */
static int element_shapes(struct graph *g, struct node *n)
{
	const struct value *x = n->in[0];

	if (node_float_only(g, n))
		return -1;
	for (int i = 1; i < 5; i++)
		if (x->ndim < 1 || n->in[i]->ndim != x->ndim - 1 ||
		    memcmp(n->in[i]->dim, x->dim + 1, sizeof(*x->dim) * (size_t)(x->ndim - 1)))
			return node_error(g, n, "spatial is 0, and input %d has shape %s", i,
					  value_shape_text(g, n->in[i]));
	return 0;
}

static int batch_norm_expand(struct graph *g, struct node *n)
{
	if (is_spatial(n) ? channel_shapes(g, n, 5) : element_shapes(g, n))
		return -1;
	if (attr_i(n, "training_mode", 0))
		return batch_norm_training(g, n);
	for (int i = 1; i < n->num_out; i++)
		if (n->out[i])
			return node_error(g, n, "its mean and variance outputs are not supported");
	return graph_replace_first(n, with_stored(g, n));
}

const struct op ops_norm[] = {
	{ .name = "RMSNormalization",
	  .min_in = 2,
	  .max_in = 2,
	  .max_out = 1,
	  .expand = rms_norm_expand },
	{ .name = "MeanVarianceNormalization",
	  .min_in = 1,
	  .max_in = 1,
	  .max_out = 1,
	  .expand = mean_variance_expand },
	{ .name = "BatchNormalization",
	  .min_in = 5,
	  .max_in = 5,
	  .max_out = 5,
	  .expand = batch_norm_expand },
	{ .name = "LayerNormalization",
	  .min_in = 2,
	  .max_in = 3,
	  .max_out = 3,
	  .expand = layer_norm_expand },
	{ .name = "GroupNormalization",
	  .min_in = 3,
	  .max_in = 3,
	  .max_out = 1,
	  .expand = group_norm_expand },
	{ .name = "InstanceNormalization",
	  .min_in = 3,
	  .max_in = 3,
	  .max_out = 1,
	  .expand = instance_norm_expand },
	{ 0 },
};
