// SPDX-License-Identifier: MIT
/*
 * Pass 1: an ONNX model to the graph. Shapes come later (simplify); here names,
 * operators, attributes and constants are checked.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "graph.h"
#include "onnx.pb-c.h"

#define NEWEST_IR 13

/* Names to values: open addressing, twice as large as what goes in. */
struct names {
	size_t size;
	struct value **slot;
	struct names *outer; /* of a subgraph: those of the graph around it; NULL: none */
	struct subgraph *inside; /* the subgraph */
	int depth;
};

static struct value **find(const struct names *t, const char *name)
{
	size_t i = rdu_fnv1a(RDU_FNV1A_INIT, name, strlen(name)) & (t->size - 1);

	while (t->slot[i] && strcmp(t->slot[i]->name, name))
		i = (i + 1) & (t->size - 1);
	return &t->slot[i];
}

static void names_init(struct graph *g, struct names *t, size_t num)
{
	memset(t, 0, sizeof(*t));
	t->size = 16;
	while (t->size < 2 * num + 2)
		t->size *= 2;
	t->slot = graph_alloc(g, t->size * sizeof(*t->slot));
}

/* The value of that name, here or in a graph around this one; what comes from there is kept as
 * captured, once. NULL: there is none. */
static struct value *lookup(struct graph *g, const struct names *t, const char *name)
{
	struct value *v = *find(t, name), **to;
	struct subgraph *s = t->inside;

	if (v || !t->outer)
		return v;
	v = lookup(g, t->outer, name);
	for (int i = 0; v && i < s->num_captured; i++)
		if (s->captured[i] == v)
			return v;
	if (!v)
		return NULL;
	to = graph_alloc(g, ((size_t)s->num_captured + 1) * sizeof(*to));
	if (s->num_captured)
		memcpy(to, s->captured, (size_t)s->num_captured * sizeof(*to));
	to[s->num_captured++] = v;
	s->captured = to;
	return v;
}

static const struct import_shape *given_shape(const struct import_options *opt, const char *name)
{
	for (int i = 0; i < opt->num_shapes; i++)
		if (!strcmp(opt->shapes[i].name, name))
			return &opt->shapes[i];
	return NULL;
}

/* A shape as the file says it; -1 where it leaves it open. Returns its rank, -1: none. */
static int read_shape(const Onnx__TypeProto__Tensor *type, int64_t *dim)
{
	if (!type->shape || type->shape->n_dim > RDU_MAX_DIMS)
		return -1;
	for (size_t i = 0; i < type->shape->n_dim; i++) {
		const Onnx__TensorShapeProto__Dimension *d = type->shape->dim[i];
		bool said = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;

		dim[i] = said && d->dim_value >= 0 ? d->dim_value : -1;
	}
	return (int)type->shape->n_dim;
}

/* Dimension i of an input is the size of that name. False: there is none. */
static bool named_dim(struct graph *g, struct value *v, int i, const char *name,
		      const struct import_options *opt)
{
	for (int d = 0; d < opt->num_dims; d++)
		if (!strcmp(opt->dims[d].name, name)) {
			v->dim[i] = opt->dims[d].size;
			v->sized[i] = (unsigned char)(d + 1);
			g->dims_used |= 1ull << d;
			return true;
		}
	return false;
}

/* The shape of an input as --shape says it. */
static int take_shape(struct graph *g, struct value *v, const struct import_shape *given,
		      const struct import_options *opt)
{
	v->ndim = given->ndim;
	memcpy(v->dim, given->dim, sizeof(v->dim));
	for (int i = 0; i < v->ndim; i++)
		if (given->named[i] && !named_dim(g, v, i, given->named[i], opt))
			return graph_error(
				g, "--shape %s: '%s' has no size: give it some with --dim %s=...",
				v->name, given->named[i], given->named[i]);
	return 0;
}

static int input_shape(struct graph *g, struct value *v, const Onnx__TypeProto__Tensor *type,
		       const struct import_options *opt)
{
	const struct import_shape *given = given_shape(opt, v->name);
	const struct import_value *value = import_given_value(opt, v->name);
	int64_t dim[RDU_MAX_DIMS];
	int ndim = read_shape(type, dim);

	if (given) {
		if (take_shape(g, v, given, opt))
			return -1;
		g->own_shapes &= ndim == v->ndim && !memcmp(dim, v->dim, ndim * sizeof(*dim));
		return 0;
	}
	g->own_shapes &= !opt->any_shape;
	if (!type->shape && opt->any_shape) {
		v->ndim = 0;
		return 0;
	}
	if (!type->shape)
		return graph_error(g, "input '%s' has no shape: give one with --shape %s=...",
				   v->name, v->name);
	if (ndim < 0)
		return graph_error(g, "input '%s' has %zu dimensions, more than %d", v->name,
				   type->shape->n_dim, RDU_MAX_DIMS);
	for (int i = 0; i < ndim; i++) {
		const Onnx__TensorShapeProto__Dimension *d = type->shape->dim[i];
		bool named = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;

		if (dim[i] < 0 && opt->any_shape)
			dim[i] = 1;
		if (dim[i] < 0 && value && ndim == 1) {
			dim[i] = import_count_numbers(value);
			g->own_shapes = false;
		}
		if (dim[i] < 0 && named && named_dim(g, v, i, onnx_text(g, d->dim_param), opt)) {
			dim[i] = v->dim[i];
			g->own_shapes = false;
		}
		if (dim[i] < 0 && !i && opt->batch) {
			dim[i] = opt->batch;
			g->own_shapes = false;
		}
		if (dim[i] < 0)
			return graph_error(
				g,
				"input '%s' has dimension %d open (%s): shapes are static "
				"here, fix it with %s%s%s%s--shape %s=...",
				v->name, i, named ? onnx_text(g, d->dim_param) : "?",
				i ? "" : "--batch N or ", named ? "--dim '" : "",
				named ? onnx_text(g, d->dim_param) : "", named ? "=...' or " : "",
				v->name);
	}
	v->ndim = ndim;
	memcpy(v->dim, dim, sizeof(dim));
	g->batch_used |= ndim && opt->batch && dim[0] == opt->batch;
	return 0;
}

char *import_state_output(struct graph *g, const struct import_state *s, const char *in)
{
	const char *star = strchr(s->in, '*'), *to = strchr(s->out, '*');
	size_t before = star ? (size_t)(star - s->in) : 0, behind = star ? strlen(star + 1) : 0;
	size_t length = strlen(in);

	if (!star)
		return strcmp(s->in, in) ? NULL : graph_strdup(g, s->out);
	if (length < before + behind || strncmp(in, s->in, before) ||
	    strcmp(in + length - behind, star + 1))
		return NULL;
	return graph_format(g, "%.*s%.*s%s", (int)(to - s->out), s->out,
			    (int)(length - before - behind), in + before, to + 1);
}

static char *state_output(struct graph *g, const struct import_options *opt, const char *in)
{
	char *out = NULL;

	for (int i = 0; i < opt->num_states && !out; i++)
		out = import_state_output(g, &opt->states[i], in);
	return out;
}

/* An input becomes a state. What it is at first is in the file, else it is zeros. */
static int import_state(struct graph *g, struct value *v, const struct value *initial)
{
	v->kind = TENSOR_STATE;
	v->model_state = true;
	v->constant = v->trainable = false;
	if (initial->data && (initial->dtype != v->dtype || !value_same_shape(initial, v)))
		return graph_error(g, "state '%s' is %s%s, but starts as %s%s", v->name,
				   dtype_name(v->dtype), value_shape_text(g, v),
				   dtype_name(initial->dtype), value_shape_text(g, initial));
	return 0;
}

/* Which output each state is after a run. */
static int find_next_states(struct graph *g, const struct import_options *opt)
{
	for (int i = 0; i < g->num_values; i++) {
		struct value *v = g->values[i];
		struct graph_output *to = NULL;
		const char *name;

		if (v->kind != TENSOR_STATE)
			continue;
		name = state_output(g, opt, v->name);
		for (int k = 0; k < g->num_outputs && !to; k++)
			if (!strcmp(g->outputs[k].name, name))
				to = &g->outputs[k];
		if (!to)
			return graph_error(g, "state '%s': the model has no output '%s'", v->name,
					   name);
		if (to->state)
			return graph_error(
				g, "output '%s' is the next value of two states: '%s', '%s'", name,
				to->state->name, v->name);
		to->state = v;
	}
	return 0;
}

/* A default that may be another at run time, if the command line says so. */
static bool keeps_default(struct graph *g, struct value *v, const Onnx__ModelProto *m,
			  const struct import_options *opt)
{
	if (given_shape(opt, v->name) || import_given_value(opt, v->name)) {
		v->data = NULL;
		v->constant = v->trainable = false;
		return false;
	}
	/* Before version 4 every initializer had to be an input too. */
	if (m->has_ir_version && m->ir_version >= 4) {
		g->default_input = g->default_input ? g->default_input : v->name;
		g->num_defaults++;
	}
	return true;
}

static int import_input(struct graph *g, struct names *names, const Onnx__ModelProto *m,
			const Onnx__ValueInfoProto *vi, const struct import_options *opt)
{
	const char *name = onnx_text(g, vi->name);
	const Onnx__TypeProto__Tensor *type;
	struct value **slot = find(names, name), *v = *slot;
	bool initial = v && v->kind == TENSOR_WEIGHT, state = state_output(g, opt, name);
	const struct import_value *value = import_given_value(opt, name);
	struct value first = { 0 };
	int elem;

	if (!*name || (v && !initial))
		return graph_error(g, "input '%s' is %s", name,
				   *name ? "defined twice" : "nameless");
	if (state && value)
		return graph_error(g, "--value %s: it is a state, which --state says", name);
	if (initial && state)
		first = *v;
	else if (initial && keeps_default(g, v, m, opt))
		return 0;
	if (!v)
		*slot = v = graph_value(g, name);
	v->kind = TENSOR_INPUT;
	v->unknown = true; /* until all of it is right */
	if (!vi->type || vi->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
		return graph_error(g, "input '%s' is not a tensor", name);
	type = vi->type->tensor_type;
	elem = type->has_elem_type ? type->elem_type : 0;
	if (!dtype_bytes((enum rdu_dtype)elem))
		return graph_error(g, "input '%s' has element type %d (%s): not supported", name,
				   elem, onnx_type_name(elem));
	v->dtype = (enum rdu_dtype)elem;
	if (input_shape(g, v, type, opt))
		return -1;
	for (int i = 0; i < v->ndim; i++)
		if (v->dim[i] < 0 || v->dim[i] > INT32_MAX)
			return graph_error(g, "input '%s' has dimension %d = %" PRId64, name, i,
					   v->dim[i]);
	if (value_count(v) < 0)
		return graph_error(g, "input '%s' has too many elements", name);
	v->unknown = false;
	if (value)
		return import_value(g, v, value);
	return state ? import_state(g, v, &first) : 0;
}

/* What the file says of values that nodes make. */
static void import_declared(struct graph *g, struct names *names, const Onnx__ValueInfoProto *vi)
{
	struct value *v = *find(names, onnx_text(g, vi->name));
	const Onnx__TypeProto__Tensor *type;
	struct declared *d;

	if (!v || !vi->type || vi->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
		return;
	type = vi->type->tensor_type;
	d = graph_alloc(g, sizeof(*d));
	d->name = v->name;
	d->dtype = (enum rdu_dtype)(type->has_elem_type ? type->elem_type : 0);
	d->ndim = read_shape(type, d->dim);
	v->declared = d;
}

static int import_initializer(struct graph *g, struct names *names, struct value *v,
			      const char *name);
static struct subgraph *import_subgraph(struct graph *g, struct names *names, struct node *n,
					const Onnx__GraphProto *p);

static int import_attr(struct graph *g, struct names *names, struct node *n,
		       const Onnx__AttributeProto *a)
{
	const char *name = onnx_text(g, a->name);
	int type = a->has_type ? (int)a->type : 0;
	struct attr *out;

	if (a->ref_attr_name && *a->ref_attr_name)
		return node_error(g, n, "attribute '%s' is a function's", name);
	if (node_attr(n, name))
		return node_error(g, n, "attribute '%s' is given twice", name);
	if (!type) /* old files leave it out */
		type = a->has_i	      ? 2
		       : a->has_f     ? 1
		       : a->has_s     ? 3
		       : a->t	      ? 4
		       : a->n_ints    ? 7
		       : a->n_floats  ? 6
		       : a->n_strings ? 8
		       : a->g	      ? 5
				      : 0;
	switch (type) {
	case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
		node_attr_i(g, n, name, a->i);
		return 0;
	case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
		node_attr_f(g, n, name, a->f);
		return 0;
	case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
		node_attr_ints(g, n, name, (int)a->n_ints, a->ints);
		return 0;
	default:
		break;
	}
	out = graph_alloc(g, sizeof(*out));
	out->name = name;
	switch (type) {
	case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING: {
		char *s = graph_alloc(g, a->s.len + 1);

		if (a->s.len)
			memcpy(s, a->s.data, a->s.len);
		out->kind = ATTR_STRING;
		out->s = onnx_text(g, s);
		break;
	}
	case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
		out->kind = ATTR_FLOATS;
		out->num = (int)a->n_floats;
		out->floats = graph_alloc(g, (a->n_floats + 1) * sizeof(float));
		if (a->n_floats)
			memcpy(out->floats, a->floats, a->n_floats * sizeof(float));
		break;
	case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS:
		out->kind = ATTR_STRINGS;
		out->num = (int)a->n_strings;
		out->strings = graph_alloc(g, (a->n_strings + 1) * sizeof(*out->strings));
		for (size_t i = 0; i < a->n_strings; i++) {
			char *s = graph_alloc(g, a->strings[i].len + 1);

			if (a->strings[i].len)
				memcpy(s, a->strings[i].data, a->strings[i].len);
			out->strings[i] = onnx_text(g, s);
		}
		break;
	case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
		if (!a->t)
			return node_error(g, n, "attribute '%s' has no tensor", name);
		out->kind = ATTR_TENSOR;
		out->tensor = onnx_tensor(
			g, a->t, graph_format(g, "attribute '%s' of node '%s'", name, n->name));
		if (!out->tensor)
			return -1;
		break;
	case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH:
		if (!a->g)
			return node_error(g, n, "attribute '%s' has no graph", name);
		out->kind = ATTR_GRAPH;
		out->graph = import_subgraph(g, names, n, a->g);
		if (!out->graph)
			return -1;
		break;
	default:
		return node_error(g, n, "attribute '%s' has a type that is not supported", name);
	}
	out->next = n->attrs;
	n->attrs = out;
	return 0;
}

/* What meant something else before opset 7. */
static int check_old(struct graph *g, const struct node *n)
{
	const char *op = n->op->name;

	if (!attr_i(n, "is_test", 0) && !strcmp(op, "Dropout"))
		return node_error(g, n, "training mode is not supported");
	if (!attr_i(n, "is_test", 0) && !strcmp(op, "BatchNormalization"))
		return node_error(g, n, "training mode is not supported");
	return 0;
}

/* A node of an operator that isn't known: what it makes is unknown. */
static void refuse(struct graph *g, struct node *n)
{
	struct op *op = graph_alloc(g, sizeof(*op));

	graph_collect(g, "node", n->name, n->op->name);
	*op = (struct op){ .name = n->op->name, .missing = true };
	n->op = op;
}

static const struct op *node_op(struct graph *g, const Onnx__NodeProto *p)
{
	bool foreign = onnx_is_foreign(p->domain);
	const struct op *op = op_find_in(foreign ? p->domain : "", p->op_type ? p->op_type : "");
	struct op *missing;

	if (op && !op->internal)
		return op;
	missing = graph_alloc(g, sizeof(*missing));
	missing->missing = true;
	missing->name = foreign ? graph_format(g, "%s::%s", onnx_text(g, p->domain),
					       onnx_text(g, p->op_type))
				: onnx_text(g, p->op_type);
	graph_error(g, "operator not supported");
	return missing;
}

/* The node and what it makes. */
static int import_outputs(struct graph *g, struct names *names, const Onnx__NodeProto *p,
			  struct node *n)
{
	n->num_out = (int)p->n_output;
	n->out = graph_alloc(g, (n->num_out + 1) * sizeof(*n->out));
	for (int i = 0; i < n->num_out; i++) {
		const char *out = onnx_text(g, p->output[i]);
		struct value **slot;

		if (!*out)
			continue;
		slot = find(names, out);
		if (*slot)
			return node_error(g, n, "output '%s' is defined twice", out);
		*slot = n->out[i] = graph_value(g, out);
		n->out[i]->producer = n;
	}
	if (n->op->optional_first && n->num_out && !n->out[0]) {
		n->out[0] = graph_value(g, NULL);
		n->out[0]->producer = n;
	}
	return 0;
}

static int import_node(struct graph *g, struct names *names, const Onnx__NodeProto *p,
		       struct node *n)
{
	const struct op *op = n->op;

	if ((int)p->n_input < op->min_in || (op->max_in >= 0 && (int)p->n_input > op->max_in))
		return node_error(g, n, "it has %zu inputs, the supported form has %d%s%.0d",
				  p->n_input, op->min_in, op->max_in < 0 ? " or more" : " to ",
				  op->max_in < 0 ? 0 : op->max_in);
	if (op->max_out > 0 && (int)p->n_output > op->max_out)
		return node_error(g, n, "it has %zu outputs, the supported form has up to %d",
				  p->n_output, op->max_out);
	for (size_t i = 0; i < p->n_attribute; i++)
		if (import_attr(g, names, n, p->attribute[i]))
			return -1;
	for (size_t i = 0; i < p->n_input; i++) {
		const char *in = onnx_text(g, p->input[i]);
		struct value *v = *in ? lookup(g, names, in) : NULL;

		if (*in && !v)
			return node_error(g, n, "input '%s' is not there: nothing makes it", in);
		if (!v && (int)i < op->min_in)
			return node_error(g, n, "input %zu is missing", i);
		node_input(g, n, v);
	}
	if (schema_check(g, n))
		return -1;
	n->num_real = n->num_in;
	for (const struct attr *a = n->attrs; a; a = a->next)
		for (int i = 0; a->kind == ATTR_GRAPH && i < a->graph->num_captured; i++)
			node_input(g, n, a->graph->captured[i]);
	return g->opset < 7 ? check_old(g, n) : 0;
}

struct visit {
	struct node *node;
	int next; /* input to look at */
};

/*
 * Append a node after what makes its inputs: files are to be in this order already,
 * but not all are. The stack holds what waits for its inputs.
 */
static void append_sorted(struct graph *g, struct node *n, struct visit *stack)
{
	int depth = 0;

	if (n->sorted)
		return;
	stack[depth++] = (struct visit){ n, 0 };
	n->visiting = true;
	while (depth) {
		struct visit *at = &stack[depth - 1];
		struct node *by = NULL;

		while (at->next < at->node->num_in && !by) {
			struct value *v = at->node->in[at->next++];

			/* What a graph around this one makes is there before. */
			by = v && v->producer && !v->producer->sorted &&
					     v->producer->depth == n->depth
				     ? v->producer
				     : NULL;
			if (!by || !by->visiting)
				continue;
			node_error(g, at->node, "input '%s' is made of its own result: a cycle",
				   v->name);
			refuse(g, at->node);
			by = NULL;
		}
		if (by) {
			by->visiting = true;
			stack[depth++] = (struct visit){ by, 0 };
			continue;
		}
		at->node->sorted = true;
		graph_append(g, at->node);
		depth--;
	}
}

/* A node without a name has that of what it makes. */
static char *node_name(struct graph *g, const Onnx__NodeProto *p, size_t index)
{
	if (p->name && *p->name)
		return graph_strdup(g, onnx_text(g, p->name));
	for (size_t i = 0; i < p->n_output; i++)
		if (*p->output[i])
			return graph_strdup(g, onnx_text(g, p->output[i]));
	return graph_format(g, "#%zu", index);
}

static void import_nodes(struct graph *g, struct names *names, const Onnx__GraphProto *p)
{
	struct node **node = graph_alloc(g, (p->n_node + 1) * sizeof(*node));
	struct visit *stack = graph_alloc(g, (p->n_node + 1) * sizeof(*stack));

	for (size_t i = 0; i < p->n_node; i++) {
		const Onnx__NodeProto *o = p->node[i];
		struct node *n = node[i] = graph_alloc(g, sizeof(*n));

		n->name = node_name(g, o, i);
		n->depth = names->depth;
		n->op = node_op(g, o);
		if (n->op->missing) {
			const char *text = graph_strdup(g, g->error);

			g->error[0] = 0;
			node_error(g, n, "%s", text);
			refuse(g, n);
		}
		if (import_outputs(g, names, o, n))
			refuse(g, n);
		else if (!n->op->missing && (!n->num_out || !n->out[0]) &&
			 node_error(g, n, "its first output has no name"))
			refuse(g, n);
	}
	for (size_t i = 0; i < p->n_node; i++)
		if (!node[i]->op->missing && import_node(g, names, p->node[i], node[i]))
			refuse(g, node[i]);
	for (size_t i = 0; i < p->n_node; i++)
		append_sorted(g, node[i], stack);
}

/* The graph of an attribute. Its values are named after the node. NULL on error. */
static struct subgraph *import_subgraph(struct graph *g, struct names *outer, struct node *n,
					const Onnx__GraphProto *p)
{
	size_t num = p->n_initializer + p->n_input;
	struct subgraph *s = graph_alloc(g, sizeof(*s));
	struct node **nodes = g->nodes;
	int num_nodes = g->num_nodes, cap_nodes = g->cap_nodes;
	struct names names;

	if (p->n_sparse_initializer) {
		node_error(g, n, "its body has sparse initializers, which are not supported");
		return NULL;
	}
	for (size_t i = 0; i < p->n_node; i++)
		num += p->node[i]->n_output;
	names_init(g, &names, num);
	names.outer = outer;
	names.inside = s;
	names.depth = outer->depth + 1;
	for (size_t i = 0; i < p->n_initializer; i++) {
		const char *name = onnx_text(g, p->initializer[i]->name);
		const char *what = graph_format(g, "initializer '%s'", name);

		if (import_initializer(g, &names, onnx_tensor(g, p->initializer[i], what), name))
			return NULL;
	}
	s->num_in = (int)p->n_input;
	s->in = graph_alloc(g, (p->n_input + 1) * sizeof(*s->in));
	for (size_t i = 0; i < p->n_input; i++) {
		const char *name = onnx_text(g, p->input[i]->name);
		struct value **slot = find(&names, name);

		if (!*name || *slot) {
			node_error(g, n, "input '%s' of its body is %s", name,
				   *name ? "defined twice" : "nameless");
			return NULL;
		}
		*slot = s->in[i] = graph_value(g, name);
	}
	g->nodes = NULL;
	g->num_nodes = g->cap_nodes = 0;
	import_nodes(g, &names, p);
	if (!g->num_reasons)
		graph_find_estimators(g);
	s->nodes = graph_alloc(g, ((size_t)g->num_nodes + 1) * sizeof(*s->nodes));
	s->num_nodes = g->num_nodes;
	if (s->num_nodes)
		memcpy(s->nodes, g->nodes, (size_t)s->num_nodes * sizeof(*s->nodes));
	free(g->nodes);
	g->nodes = nodes;
	g->num_nodes = num_nodes;
	g->cap_nodes = cap_nodes;
	s->num_out = (int)p->n_output;
	s->out = graph_alloc(g, (p->n_output + 1) * sizeof(*s->out));
	for (size_t i = 0; i < p->n_output; i++) {
		const char *name = onnx_text(g, p->output[i]->name);

		s->out[i] = lookup(g, &names, name);
		if (!s->out[i]) {
			node_error(g, n, "nothing makes output '%s' of its body", name);
			return NULL;
		}
	}
	for (size_t i = 0; i < names.size; i++)
		if (names.slot[i])
			names.slot[i]->name =
				graph_format(g, "%.200s/%s", n->name, names.slot[i]->name);
	return s;
}

static int import_initializer(struct graph *g, struct names *names, struct value *v,
			      const char *name)
{
	struct value **slot = find(names, name);

	if (!*name)
		return graph_error(g, "an initializer is nameless");
	if (*slot)
		return graph_error(g, "initializer '%s' is defined twice", name);
	*slot = v ? v : graph_value(g, name);
	(*slot)->unknown = !v;
	if (!v)
		return -1;
	v->name = graph_strdup(g, name);
	v->initializer = true;
	return 0;
}

static void import_values(struct graph *g, struct names *names, const Onnx__ModelProto *m,
			  const struct import_options *opt)
{
	const Onnx__GraphProto *p = m->graph;

	for (size_t i = 0; i < p->n_initializer; i++) {
		const char *name = onnx_text(g, p->initializer[i]->name);
		const char *what = graph_format(g, "initializer '%s'", name);

		if (import_initializer(g, names, onnx_tensor(g, p->initializer[i], what), name))
			graph_collect(g, "initializer", name, NULL);
		onnx_drop_contents(p->initializer[i]);
	}
	for (size_t i = 0; i < p->n_sparse_initializer; i++) {
		const Onnx__SparseTensorProto *t = p->sparse_initializer[i];
		const char *name = onnx_text(g, t->values ? t->values->name : "");
		const char *what = graph_format(g, "initializer '%s'", name);

		struct value *v = onnx_sparse_tensor(g, t, what);

		if (import_initializer(g, names, v, name))
			graph_collect(g, "initializer", name, NULL);
		else
			v->sparse = true;
	}
	for (size_t i = 0; i < p->n_input; i++)
		if (import_input(g, names, m, p->input[i], opt))
			graph_collect(g, "input", onnx_text(g, p->input[i]->name), NULL);
}

static int import_opset(struct graph *g, const Onnx__ModelProto *m)
{
	int64_t version = 0;

	if (m->has_ir_version && m->ir_version > NEWEST_IR)
		return graph_error(g,
				   "its format (IR version %" PRId64
				   ") is not supported, %d is the "
				   "newest that is known here",
				   m->ir_version, NEWEST_IR);
	if (onnx_opset(g, m->n_opset_import, m->opset_import, &version))
		return -1;
	for (size_t i = 0; i < m->n_functions && !version; i++)
		if (onnx_opset(g, m->functions[i]->n_opset_import, m->functions[i]->opset_import,
			       &version))
			return -1;
	/* It need not say one if it has no such operators. */
	for (size_t i = 0; i < m->graph->n_node && !version; i++)
		if (!onnx_is_foreign(m->graph->node[i]->domain))
			return graph_error(g, "it does not say which version of ONNX it uses");
	return schema_check_opset(g, version ? version : schema_newest_opset());
}

static bool is_output(const struct graph *g, const char *name)
{
	for (int k = 0; k < g->num_outputs; k++)
		if (!strcmp(g->outputs[k].name, name))
			return true;
	return false;
}

/* The name of the next output: its own, or, of what is listed once more (a module of PyTorch may return
 * something twice), a new one. */
static char *output_name(struct graph *g, struct names *names, const char *name)
{
	char *given = graph_strdup(g, name);

	if (!is_output(g, name))
		return given;
	for (int k = 2; is_output(g, given) || *find(names, given); k++)
		given = graph_format(g, "%.200s.%d", name, k);
	return given;
}

static int import_graph(struct graph *g, Onnx__ModelProto *m, const struct import_options *opt)
{
	const Onnx__GraphProto *p = m->graph;
	size_t num = p->n_initializer + p->n_sparse_initializer + p->n_input;
	struct names names;

	if (import_opset(g, m) || onnx_inline(g, m))
		return -1;
	g->own_shapes = true;
	g->name = graph_strdup(g, onnx_text(g, p->name));
	for (size_t i = 0; i < p->n_node; i++)
		num += p->node[i]->n_output;
	names_init(g, &names, num);
	import_values(g, &names, m, opt);
	for (int i = 0; i < opt->num_shapes; i++) {
		struct value *v = *find(&names, opt->shapes[i].name);

		if (!v || (v->kind != TENSOR_INPUT && v->kind != TENSOR_STATE))
			return graph_error(g, "--shape %s: the model has no such input",
					   opt->shapes[i].name);
	}
	for (int i = 0; i < opt->num_values; i++) {
		struct value *v = *find(&names, opt->values[i].name);

		if (!v || (!v->given && v->kind != TENSOR_INPUT))
			return graph_error(g, "--value %s: the model has no such input",
					   opt->values[i].name);
	}
	import_nodes(g, &names, p);
	for (size_t i = 0; i < p->n_value_info; i++)
		import_declared(g, &names, p->value_info[i]);
	for (size_t i = 0; i < p->n_output; i++)
		import_declared(g, &names, p->output[i]);
	if (!p->n_output)
		return graph_error(g, "the graph has no outputs");
	g->outputs = graph_alloc(g, p->n_output * sizeof(*g->outputs));
	for (size_t i = 0; i < p->n_output; i++) {
		const char *name = onnx_text(g, p->output[i]->name);
		struct value *v = *find(&names, name);

		if (!v)
			return graph_error(g, "nothing makes output '%s'", name);
		g->outputs[g->num_outputs].name = output_name(g, &names, name);
		g->outputs[g->num_outputs++].value = v;
	}
	/* What is refused already need not be judged. */
	if (g->num_reasons)
		return 0;
	graph_find_estimators(g);
	return find_next_states(g, opt) || graph_parameters(g, opt) ? -1 : 0;
}

struct graph *graph_import(const void *onnx, size_t size, const struct import_options *opt,
			   char *error, int error_size)
{
	static const struct import_options none;
	Onnx__ModelProto *m = onnx_parse(onnx, size, error, error_size);
	struct graph *g;
	int ret;

	if (!m)
		return NULL;
	g = graph_new(error, error_size);
	g->path = opt ? opt->path : NULL;
	ret = import_graph(g, m, opt ? opt : &none);
	onnx_free(m);
	if (ret)
		graph_collect(g, "model", "", NULL);
	if (!g->num_reasons)
		return g;
	/* Shapes and types have reasons too. */
	graph_simplify(g);
	graph_free(g);
	return NULL;
}
