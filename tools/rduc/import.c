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

/* Names to values: open addressing, twice as large as what goes in. */
struct names {
	size_t size;
	struct value **slot;
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
	t->size = 16;
	while (t->size < 2 * num + 2)
		t->size *= 2;
	t->slot = graph_alloc(g, t->size * sizeof(*t->slot));
}

/* Protobuf strings can hold anything: what we print must be printable. */
static const char *clean(struct graph *g, const char *s)
{
	char *p = graph_strdup(g, s ? s : "");

	for (char *c = p; *c; c++)
		if ((unsigned char)*c < 32 || *c == 127)
			*c = '?';
	return p;
}

static int import_input(struct graph *g, struct names *names, const Onnx__ValueInfoProto *vi,
			const struct import_options *opt)
{
	const char *name = clean(g, vi->name);
	const Onnx__TypeProto__Tensor *type;
	struct value **slot = find(names, name), *v;
	int elem;

	if (*slot && (*slot)->kind == TENSOR_WEIGHT)
		return 0; /* an initializer that is listed as an input (ir_version 3) */
	if (!*name || *slot)
		return graph_error(g, "input '%s' is %s", name,
				   *name ? "defined twice" : "nameless");
	if (!vi->type || vi->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
		return graph_error(g, "input '%s' is not a tensor", name);
	type = vi->type->tensor_type;
	elem = type->has_elem_type ? type->elem_type : 0;
	if (!dtype_bytes((enum rdu_dtype)elem))
		return graph_error(g,
				   "input '%s' has element type %d: not supported (float, "
				   "bfloat16, int32, int64, uint8, int8 and bool are)",
				   name, elem);
	v = graph_value(g, name);
	*slot = v;
	v->kind = TENSOR_INPUT;
	v->dtype = (enum rdu_dtype)elem;
	for (int i = 0; i < opt->num_shapes; i++)
		if (!strcmp(opt->shapes[i].name, name)) {
			v->ndim = opt->shapes[i].ndim;
			memcpy(v->dim, opt->shapes[i].dim, sizeof(v->dim));
		}
	if (v->ndim < 0) {
		if (!type->shape && opt->any_shape) {
			v->ndim = 0;
			return 0;
		}
		if (!type->shape)
			return graph_error(g,
					   "input '%s' has no shape: give one with --shape %s=...",
					   name, name);
		if (type->shape->n_dim > RDU_MAX_DIMS)
			return graph_error(g, "input '%s' has %zu dimensions, more than %d", name,
					   type->shape->n_dim, RDU_MAX_DIMS);
		v->ndim = (int)type->shape->n_dim;
		for (int i = 0; i < v->ndim; i++) {
			const Onnx__TensorShapeProto__Dimension *d = type->shape->dim[i];

			if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE) {
				v->dim[i] = d->dim_value;
			} else if (opt->any_shape) {
				v->dim[i] = 1;
			} else if (!i && opt->batch) {
				v->dim[i] = opt->batch;
			} else {
				bool named = d->value_case ==
					     ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;

				return graph_error(
					g,
					"input '%s' has dimension %d open (%s): shapes are static "
					"here, fix it with %s--shape %s=...",
					name, i, named ? clean(g, d->dim_param) : "?",
					i ? "" : "--batch N or ", name);
			}
		}
	}
	for (int i = 0; i < v->ndim; i++)
		if (v->dim[i] < 1 || v->dim[i] > INT32_MAX)
			return graph_error(g, "input '%s' has dimension %d = %" PRId64, name, i,
					   v->dim[i]);
	if (value_count(v) < 0)
		return graph_error(g, "input '%s' has too many elements", name);
	return 0;
}

static int import_attr(struct graph *g, struct node *n, const Onnx__AttributeProto *a)
{
	const char *name = clean(g, a->name);
	int type = a->has_type ? (int)a->type : 0;
	struct attr *out;

	if (node_attr(n, name))
		return node_error(g, n, "attribute '%s' is given twice", name);
	if (!type) /* old files leave it out */
		type = a->has_i	     ? 2
		       : a->has_f    ? 1
		       : a->has_s    ? 3
		       : a->t	     ? 4
		       : a->n_ints   ? 7
		       : a->n_floats ? 6
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
		out->s = clean(g, s);
		break;
	}
	case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
		out->kind = ATTR_FLOATS;
		out->num = (int)a->n_floats;
		out->floats = graph_alloc(g, (a->n_floats + 1) * sizeof(float));
		if (a->n_floats)
			memcpy(out->floats, a->floats, a->n_floats * sizeof(float));
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
	const struct value *slope = node_in(n, 1);

	if (!strcmp(op, "PRelu") && slope && !(slope->ndim == 1 && slope->dim[0] == 1))
		return node_error(g, n, "a slope a channel (before opset 7) is not supported");
	if (!attr_i(n, "is_test", 0) && !strcmp(op, "Dropout"))
		return node_error(g, n, "training mode is not supported");
	if (!strcmp(op, "BatchNormalization") &&
	    (!attr_i(n, "is_test", 0) || !attr_i(n, "spatial", 1)))
		return node_error(g, n, "training mode and spatial 0 are not supported");
	return 0;
}

static int import_node(struct graph *g, struct names *names, const Onnx__NodeProto *p,
		       const char *name)
{
	struct node *n = node_new(g, p->op_type, name);
	const struct op *op = n->op;

	if ((int)p->n_input < op->min_in || (op->max_in >= 0 && (int)p->n_input > op->max_in))
		return node_error(g, n, "it has %zu inputs", p->n_input);
	if (!p->n_output || (op->max_out > 0 && (int)p->n_output > op->max_out))
		return node_error(g, n, "it has %zu outputs, the supported form has up to %d",
				  p->n_output, op->max_out);
	for (size_t i = 0; i < p->n_attribute; i++)
		if (import_attr(g, n, p->attribute[i]))
			return -1;
	for (size_t i = 0; i < p->n_input; i++) {
		const char *in = clean(g, p->input[i]);
		struct value *v = *in ? *find(names, in) : NULL;

		if (*in && !v)
			return node_error(g, n,
					  "input '%s' is not there yet: nothing makes it, or the "
					  "graph has a cycle or is not in order",
					  in);
		if (!v && (int)i < op->min_in)
			return node_error(g, n, "input %zu is missing", i);
		node_input(g, n, v);
	}
	n->num_out = (int)p->n_output;
	n->out = graph_alloc(g, n->num_out * sizeof(*n->out));
	for (int i = 0; i < n->num_out; i++) {
		const char *out = clean(g, p->output[i]);
		struct value **slot;

		if (!*out)
			continue;
		slot = find(names, out);
		if (*slot)
			return node_error(g, n, "output '%s' is defined twice", out);
		*slot = n->out[i] = graph_value(g, out);
		n->out[i]->producer = n;
	}
	if (!n->out[0])
		return node_error(g, n, "its first output has no name");
	if (g->opset < 7 && check_old(g, n))
		return -1;
	graph_append(g, n);
	return 0;
}

/* Every operator that is not there, at once. */
static int check_supported(struct graph *g, const Onnx__GraphProto *p,
			   const char *const *node_names)
{
	int missing = 0, at = 0;
	char text[3000];

	for (size_t i = 0; i < p->n_node; i++) {
		const Onnx__NodeProto *n = p->node[i];
		const struct op *op = op_find(n->op_type ? n->op_type : "");
		bool foreign = n->domain && *n->domain && strcmp(n->domain, "ai.onnx");
		const char *why = NULL;

		if (foreign)
			why = "operators of other domains";
		else if (!op || op->internal)
			why = "operator";
		if (!why)
			continue;
		if (at < (int)sizeof(text) - 200)
			at += snprintf(text + at, sizeof(text) - at,
				       "\n  node '%.60s' (%s%s%.40s): %s not supported",
				       node_names[i], foreign ? clean(g, n->domain) : "",
				       foreign ? "::" : "", clean(g, n->op_type), why);
		missing++;
	}
	if (!missing)
		return 0;
	return graph_error(g, "%d node%s not supported:%s", missing, missing > 1 ? "s" : "", text);
}

static int import_graph(struct graph *g, const Onnx__ModelProto *m,
			const struct import_options *opt)
{
	const Onnx__GraphProto *p = m->graph;
	const char **node_names = graph_alloc(g, (p->n_node + 1) * sizeof(*node_names));
	size_t num = p->n_initializer + p->n_input;
	struct names names;

	g->opset = 0;
	for (size_t i = 0; i < m->n_opset_import; i++) {
		const Onnx__OperatorSetIdProto *o = m->opset_import[i];

		if (!o->domain || !*o->domain || !strcmp(o->domain, "ai.onnx"))
			g->opset = o->has_version && o->version > 0 && o->version < 1000
					   ? (int)o->version
					   : 0;
	}
	if (p->n_sparse_initializer)
		return graph_error(g, "sparse initializers are not supported");
	g->name = graph_strdup(g, clean(g, p->name));
	for (size_t i = 0; i < p->n_node; i++) {
		const Onnx__NodeProto *n = p->node[i];

		num += n->n_output;
		node_names[i] = n->name && *n->name ? clean(g, n->name)
				: n->n_output	    ? clean(g, n->output[0])
						    : "";
	}
	if (check_supported(g, p, node_names))
		return -1;
	if (g->opset < 1)
		return graph_error(g, "it does not say which version of ONNX it uses");
	names_init(g, &names, num);
	for (size_t i = 0; i < p->n_initializer; i++) {
		const char *name = clean(g, p->initializer[i]->name);
		struct value **slot, *v;

		if (!*name)
			return graph_error(g, "initializer %zu is nameless", i);
		v = onnx_tensor(g, p->initializer[i], graph_format(g, "initializer '%s'", name));
		if (!v)
			return -1;
		v->name = graph_strdup(g, name);
		slot = find(&names, name);
		if (*slot)
			return graph_error(g, "initializer '%s' is defined twice", name);
		*slot = v;
	}
	for (size_t i = 0; i < p->n_input; i++)
		if (import_input(g, &names, p->input[i], opt))
			return -1;
	for (int i = 0; i < opt->num_shapes; i++) {
		struct value *v = *find(&names, opt->shapes[i].name);

		if (!v || v->kind != TENSOR_INPUT)
			return graph_error(g, "--shape %s: the model has no such input",
					   opt->shapes[i].name);
	}
	for (size_t i = 0; i < p->n_node; i++)
		if (import_node(g, &names, p->node[i], node_names[i]))
			return -1;
	if (!p->n_output)
		return graph_error(g, "the graph has no outputs");
	g->outputs = graph_alloc(g, p->n_output * sizeof(*g->outputs));
	for (size_t i = 0; i < p->n_output; i++) {
		const char *name = clean(g, p->output[i]->name);
		struct value *v = *find(&names, name);

		if (!v)
			return graph_error(g, "nothing makes output '%s'", name);
		for (int k = 0; k < g->num_outputs; k++)
			if (!strcmp(g->outputs[k].name, name))
				return graph_error(g, "output '%s' is listed twice", name);
		g->outputs[g->num_outputs].name = graph_strdup(g, name);
		g->outputs[g->num_outputs++].value = v;
	}
	return graph_parameters(g, opt);
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
	ret = import_graph(g, m, opt ? opt : &none);
	onnx__model_proto__free_unpacked(m, NULL);
	if (!ret)
		return g;
	graph_free(g);
	return NULL;
}
