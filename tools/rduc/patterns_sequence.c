// SPDX-License-Identifier: MIT
/*
 * Sequences of tensors, as exporters write them for a list of Python's: which tensors one has, and in which order, is
 * known while compiling. So a sequence is no data: it is a list of the values that are in it, and the operators here
 * leave nothing on the card but the tensors' own Split and Concat. A Loop that has any is made iteration by iteration
 * (patterns_unroll.c). A sequence is no input or result of a model, and nothing that a Scan, or an If whose condition
 * is computed, hands on.
 */
#include <string.h>
#include "bounded.h"
#include "graph.h"

static struct sequence *sequence_new(struct graph *g, int64_t dtype, int num)
{
	struct sequence *s = graph_alloc(g, sizeof(*s));

	s->dtype = (enum rdu_dtype)dtype;
	s->num = num;
	s->item = graph_alloc(g, ((size_t)num + 1) * sizeof(*s->item));
	return s;
}

void sequence_append(struct graph *g, struct sequence *s, struct value *v)
{
	struct value **was = s->item;

	if (!(s->num & (s->num - 1))) { /* room is a power of two */
		s->item = graph_alloc(g, 2 * ((size_t)s->num + 1) * sizeof(*s->item));
		for (int i = 0; i < s->num; i++)
			s->item[i] = was[i];
	}
	s->item[s->num++] = v;
}

/* The node's first output is a value of its own, which is the sequence. */
static int make_sequence(struct graph *g, struct node *n, struct sequence *s)
{
	struct value *v = graph_value(g, n->out[0]->name);

	v->sequence = s;
	graph_replace(n, 0, v);
	return 0;
}

/* The first input's; NULL on error. */
static const struct sequence *sequence_in(struct graph *g, struct node *n)
{
	const struct sequence *s = n->in[0] ? n->in[0]->sequence : NULL;

	if (!s)
		node_error(g, n, "input 0 is not a sequence");
	return s;
}

/* Is a node's input of the type that the tensors of a sequence have? 0, or -1. */
static int check_type(struct graph *g, const struct node *n, const struct value *v,
		      enum rdu_dtype t)
{
	if (v->dtype == t)
		return 0;
	return node_error(g, n, "'%s' is %s, the sequence has tensors of %s", v->name,
			  dtype_name(v->dtype), dtype_name(t));
}

/* None of a node's inputs from the first-th on is a sequence itself. */
static int check_tensors(struct graph *g, const struct node *n, int first)
{
	for (int i = first; i < n->num_in; i++)
		if (n->in[i] && n->in[i]->sequence)
			return node_error(g, n, "'%s' is a sequence, and not a tensor",
					  n->in[i]->name);
	return 0;
}

/* The position that input `in` says, of 0 to last; `otherwise` if it is not given. */
static int position(struct graph *g, struct node *n, int in, int last, int otherwise, int num,
		    int *at)
{
	const int64_t *p;
	int count;

	*at = otherwise;
	if (!node_in(n, in))
		return last < 0 ? node_error(g, n, "the sequence is empty") : 0;
	p = node_const_ints(g, n, in, &count);
	if (!p)
		return -1;
	if (count != 1)
		return node_error(g, n, "its position has %d elements, not one", count);
	if (*p < -num || *p > last)
		return node_error(g, n, "position %lld of a sequence of %d", (long long)*p, num);
	*at = (int)(*p < 0 ? *p + num : *p);
	return 0;
}

/* A node of this file's, of `num` outputs, as if it were one of the model's: its inputs may be bounded. 0 or -1. */
static int made(struct graph *g, struct node *n, int num)
{
	n->num_out = num;
	n->out = graph_alloc(g, (size_t)num * sizeof(*n->out));
	for (int i = 0; i < num; i++) {
		n->out[i] = graph_value(g, graph_format(g, "%.200s_%d", n->name, g->counter++));
		n->out[i]->producer = n;
	}
	return graph_process_bounded(g, n);
}

static int empty_expand(struct graph *g, struct node *n)
{
	int64_t type = attr_i(n, "dtype", RDU_DT_F32);

	if (!dtype_bytes((enum rdu_dtype)type))
		return node_error(g, n, "dtype %lld: not supported", (long long)type);
	return make_sequence(g, n, sequence_new(g, type, 0));
}

static int construct_expand(struct graph *g, struct node *n)
{
	struct sequence *s;

	if (check_tensors(g, n, 0))
		return -1;
	s = sequence_new(g, n->in[0] ? n->in[0]->dtype : 0, n->num_in);
	for (int i = 0; i < n->num_in; i++) {
		if (!n->in[i])
			return node_error(g, n, "input %d is missing", i);
		if (check_type(g, n, n->in[i], s->dtype))
			return -1;
		s->item[i] = n->in[i];
	}
	return make_sequence(g, n, s);
}

static int insert_expand(struct graph *g, struct node *n)
{
	const struct sequence *was = sequence_in(g, n);
	struct sequence *s;
	int at;

	if (!was || check_tensors(g, n, 1) || check_type(g, n, n->in[1], was->dtype) ||
	    position(g, n, 2, was->num, was->num, was->num, &at))
		return -1;
	s = sequence_new(g, was->dtype, was->num + 1);
	for (int i = 0; i < s->num; i++)
		s->item[i] = i == at ? n->in[1] : was->item[i - (i > at)];
	return make_sequence(g, n, s);
}

static int erase_expand(struct graph *g, struct node *n)
{
	const struct sequence *was = sequence_in(g, n);
	struct sequence *s;
	int at;

	if (!was || check_tensors(g, n, 1) ||
	    position(g, n, 1, was->num - 1, was->num - 1, was->num, &at))
		return -1;
	s = sequence_new(g, was->dtype, was->num - 1);
	for (int i = 0; i < s->num; i++)
		s->item[i] = was->item[i + (i >= at)];
	return make_sequence(g, n, s);
}

static int at_expand(struct graph *g, struct node *n)
{
	const struct sequence *s = sequence_in(g, n);
	int at;

	if (!s || check_tensors(g, n, 1) || position(g, n, 1, s->num - 1, 0, s->num, &at))
		return -1;
	return graph_replace_first(n, s->item[at]);
}

static int length_expand(struct graph *g, struct node *n)
{
	const struct sequence *s = sequence_in(g, n);

	return s ? graph_replace_first(n, graph_const_i(g, s->num)) : -1;
}

/* v without dimension `axis`, or with one of one element more there. NULL on error. */
static struct value *squeezed(struct graph *g, const char *name, const char *op, struct value *v,
			      int64_t axis)
{
	struct node *m = node_new(g, op, name);
	int64_t one = 1;

	node_input(g, m, v);
	if (g->opset < 13)
		node_attr_ints(g, m, "axes", 1, &axis);
	else
		node_input(g, m, graph_const(g, RDU_DT_I64, 1, &one, &axis));
	return made(g, m, 1) ? NULL : value_resolve(m->out[0]);
}

/* Parts of one size and a last that may be smaller, or of sizes that are listed; without `split` of one, and then
 * keepdims 0 removes the dimension. */
static int split_expand(struct graph *g, struct node *n)
{
	bool given = node_in(n, 1), squeeze = !given && !attr_i(n, "keepdims", 1);
	struct value *x = n->in[0];
	const int64_t *sizes = NULL;
	int64_t axis = attr_i(n, "axis", 0), size = 1, *part;
	struct node *m = node_new(g, "Split", n->name);
	struct sequence *s;
	int num = 1;

	if (check_tensors(g, n, 0) || node_axis(g, n, &axis, x->ndim))
		return -1;
	if (x->size[axis])
		return bounded_refuse(g, n, x, "along its axis");
	if (given) {
		sizes = node_const_ints(g, n, 1, &num);
		if (!sizes)
			return -1;
		if (n->in[1]->ndim > 1)
			return node_error(g, n, "'split' has %d dimensions", n->in[1]->ndim);
		size = n->in[1]->ndim ? 1 : *sizes;
	}
	if (size < 1)
		return node_error(g, n, "parts of %lld elements", (long long)size);
	if (!given || !n->in[1]->ndim) {
		num = (int)((x->dim[axis] + size - 1) / size);
		part = graph_alloc(g, ((size_t)num + 1) * sizeof(*part));
		for (int i = 0; i < num; i++)
			part[i] = i < num - 1 ? size : x->dim[axis] - (num - 1) * size;
		sizes = part;
	}
	s = sequence_new(g, x->dtype, num);
	if (!num)
		return make_sequence(g, n, s);
	node_input(g, m, x);
	node_attr_i(g, m, "axis", axis);
	node_attr_ints(g, m, "split", num, sizes);
	if (made(g, m, num))
		return -1;
	for (int i = 0; i < num; i++) {
		s->item[i] = value_resolve(m->out[i]);
		if (squeeze)
			s->item[i] = squeezed(g, graph_format(g, "%.200s.%d", n->name, i),
					      "Squeeze", s->item[i], axis);
		if (!s->item[i])
			return -1;
	}
	return make_sequence(g, n, s);
}

struct value *sequence_joined(struct graph *g, const char *name, const struct sequence *s,
			      int64_t axis, bool stack)
{
	struct node *m = node_new(g, "Concat", name);

	node_attr_i(g, m, "axis", axis);
	for (int i = 0; i < s->num; i++) {
		const char *part = graph_format(g, "%.200s.%d", name, i);
		struct value *v =
			stack ? squeezed(g, part, "Unsqueeze", s->item[i], axis) : s->item[i];

		if (!v)
			return NULL;
		node_input(g, m, v);
	}
	return made(g, m, 1) ? NULL : value_resolve(m->out[0]);
}

static int concat_expand(struct graph *g, struct node *n)
{
	const struct sequence *s = sequence_in(g, n);
	bool stack = attr_i(n, "new_axis", 0);
	int64_t axis = attr_i(n, "axis", 0);

	if (!s)
		return -1;
	if (!s->num)
		return node_error(g, n, "the sequence is empty");
	if (node_axis(g, n, &axis, s->item[0]->ndim + stack))
		return -1;
	return graph_replace_first(n, sequence_joined(g, n->name, s, axis, stack));
}

#define SEQUENCE(onnx, lo, hi, fn)                                                    \
	{                                                                             \
		.name = onnx, .min_in = lo, .max_in = hi, .max_out = 1, .expand = fn, \
		.sequences = true                                                     \
	}

const struct op ops_sequence[] = { SEQUENCE("SequenceEmpty", 0, 0, empty_expand),
				   SEQUENCE("SequenceConstruct", 1, -1, construct_expand),
				   SEQUENCE("SequenceInsert", 2, 3, insert_expand),
				   SEQUENCE("SequenceErase", 1, 2, erase_expand),
				   SEQUENCE("SequenceAt", 2, 2, at_expand),
				   SEQUENCE("SequenceLength", 1, 1, length_expand),
				   SEQUENCE("SplitToSequence", 1, 2, split_expand),
				   SEQUENCE("ConcatFromSequence", 1, 1, concat_expand),
				   { 0 } };
