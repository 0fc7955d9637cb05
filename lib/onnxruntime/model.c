// SPDX-License-Identifier: MIT
/* A part of one of ORT's graphs as the bytes of an ONNX file. */
#include <limits.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include "onnx.pb-c.h"
#include "provider.h"

/* Messages, and what ORT gave for them: freed at once. */
struct heap {
	struct block {
		struct block *next;
		max_align_t data[];
	} * blocks;
	OrtValue **value;
	size_t num_values;
	void *names; /* tsearch()'s: of the constants that are in the model */
};

static void *take(struct heap *h, size_t num, size_t size)
{
	struct block *b = calloc(1, sizeof(*b) + num * size);

	if (!b)
		return NULL;
	b->next = h->blocks;
	h->blocks = b;
	return b->data;
}

static void keep_name(void *name)
{
	(void)name;
}

static void heap_free(struct heap *h)
{
	for (size_t i = 0; i < h->num_values; i++)
		ort->ReleaseValue(h->value[i]);
	free(h->value);
	tdestroy(h->names, keep_name);
	for (struct block *b = h->blocks, *next; b; b = next) {
		next = b->next;
		free(b);
	}
}

/* A new message, or out of the function. */
#define NEW(h, p, init)                         \
	do {                                    \
		(p) = take(h, 1, sizeof(*(p))); \
		if (!(p))                       \
			return out_of_memory(); \
		init(p);                        \
	} while (0)
#define NEW_ARRAY(h, p, num)                        \
	do {                                        \
		(p) = take(h, (num), sizeof(*(p))); \
		if (!(p))                           \
			return out_of_memory();     \
	} while (0)

/* ---- values ------------------------------------------------------------------ */

OrtStatus *tensor_type(const OrtValueInfo *value, const OrtTensorTypeAndShapeInfo **info)
{
	const OrtTypeInfo *type;
	enum ONNXType kind;
	const char *name;

	TRY(ort->GetValueInfoName(value, &name));
	TRY(ort->GetValueInfoTypeInfo(value, &type));
	TRY(ort->GetOnnxTypeFromTypeInfo(type, &kind));
	if (kind != ONNX_TYPE_TENSOR)
		return fail(ORT_NOT_IMPLEMENTED, "%s is no tensor", name);
	return ort->CastTypeInfoToTensorInfo(type, info);
}

OrtStatus *shape_of(const OrtTensorTypeAndShapeInfo *info, struct rdu_shape *shape)
{
	size_t ndim;

	TRY(ort->GetDimensionsCount(info, &ndim));
	if (ndim > RDU_MAX_DIMS)
		return fail(ORT_NOT_IMPLEMENTED, "%s has %zu dimensions, more than %d", shape->name,
			    ndim, RDU_MAX_DIMS);
	shape->ndim = (uint32_t)ndim;
	return ort->GetDimensions(info, shape->dims, ndim);
}

OrtStatus *input_shape(const OrtValueInfo *value, struct rdu_shape *shape)
{
	const OrtTensorTypeAndShapeInfo *info;

	TRY(ort->GetValueInfoName(value, &shape->name));
	TRY(tensor_type(value, &info));
	return shape_of(info, shape);
}

bool shape_is_open(const struct rdu_shape *shape)
{
	for (uint32_t i = 0; i < shape->ndim; i++)
		if (shape->dims[i] < 0)
			return true;
	return false;
}

/* An input, or an output: their shapes follow from the inputs'. */
static OrtStatus *value_message(struct heap *h, const OrtValueInfo *value, bool shaped,
				Onnx__ValueInfoProto **out)
{
	const OrtTensorTypeAndShapeInfo *info;
	enum ONNXTensorElementDataType dtype;
	Onnx__TypeProto__Tensor *tensor;
	struct rdu_shape shape;
	Onnx__ValueInfoProto *v;
	const char *name;

	TRY(ort->GetValueInfoName(value, &name));
	TRY(tensor_type(value, &info));
	TRY(ort->GetTensorElementType(info, &dtype));
	NEW(h, v, onnx__value_info_proto__init);
	NEW(h, v->type, onnx__type_proto__init);
	NEW(h, tensor, onnx__type_proto__tensor__init);
	v->name = (char *)name;
	v->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
	v->type->tensor_type = tensor;
	tensor->has_elem_type = true;
	tensor->elem_type = (int)dtype; /* ONNX's numbers */
	*out = v;
	if (!shaped)
		return NULL;
	TRY(input_shape(value, &shape));
	NEW(h, tensor->shape, onnx__tensor_shape_proto__init);
	NEW_ARRAY(h, tensor->shape->dim, shape.ndim);
	tensor->shape->n_dim = shape.ndim;
	for (uint32_t i = 0; i < shape.ndim; i++) {
		Onnx__TensorShapeProto__Dimension *d;

		NEW(h, d, onnx__tensor_shape_proto__dimension__init);
		if (shape.dims[i] >= 0) {
			d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
			d->dim_value = shape.dims[i];
		}
		tensor->shape->dim[i] = d;
	}
	return NULL;
}

/* Its bytes stay ORT's. */
static OrtStatus *tensor_bytes(struct heap *h, const OrtTensorTypeAndShapeInfo *info,
			       const OrtValue *value, Onnx__TensorProto *t)
{
	enum ONNXTensorElementDataType dtype;
	const void *data;

	TRY(ort->GetTensorElementType(info, &dtype));
	TRY(ort->GetDimensionsCount(info, &t->n_dims));
	NEW_ARRAY(h, t->dims, t->n_dims);
	TRY(ort->GetDimensions(info, t->dims, t->n_dims));
	TRY(ort->GetTensorSizeInBytes(value, &t->raw_data.len));
	TRY(ort->GetTensorData(value, &data));
	t->has_data_type = t->has_raw_data = true;
	t->data_type = (int)dtype;
	t->raw_data.data = (uint8_t *)data;
	return NULL;
}

static OrtStatus *tensor_message(struct heap *h, const char *name, const OrtValue *value,
				 Onnx__TensorProto **out)
{
	OrtTensorTypeAndShapeInfo *info;
	OrtStatus *status;

	NEW(h, *out, onnx__tensor_proto__init);
	(*out)->name = (char *)name;
	TRY(ort->GetTensorTypeAndShape(value, &info));
	status = tensor_bytes(h, info, value, *out);
	ort->ReleaseTensorTypeAndShapeInfo(info);
	return status;
}

static OrtStatus *constant_message(struct heap *h, const OrtValueInfo *value,
				   Onnx__TensorProto **out)
{
	const OrtValue *tensor;
	const char *name;

	TRY(ort->GetValueInfoName(value, &name));
	TRY(ort->ValueInfo_GetInitializerValue(value, &tensor));
	if (!tensor)
		return fail(ORT_FAIL, "the constant %s has no value", name);
	return tensor_message(h, name, tensor, out);
}

/* ---- attributes -------------------------------------------------------------- */

/* What ReadOpAttr() gives. */
static OrtStatus *read_attribute(struct heap *h, const OrtOpAttr *attr, OrtOpAttrType type,
				 void **data, size_t *size)
{
	OrtStatus *status;

	*size = 0;
	/* It fails, but for an empty one, and says how many bytes there are. */
	status = ort->ReadOpAttr(attr, type, NULL, 0, size);
	if (status && *size)
		ort->ReleaseStatus(status);
	else if (status)
		return status;
	NEW_ARRAY(h, *(char **)data, *size + 1);
	return *size ? ort->ReadOpAttr(attr, type, *data, *size, size) : NULL;
}

static OrtStatus *strings(struct heap *h, const char *text, size_t size, Onnx__AttributeProto *a)
{
	size_t n = 0;

	for (size_t i = 0; i < size; i++)
		n += !text[i];
	NEW_ARRAY(h, a->strings, n);
	for (; a->n_strings < n; text += strlen(text) + 1)
		a->strings[a->n_strings++] =
			(ProtobufCBinaryData){ .len = strlen(text), .data = (uint8_t *)text };
	return NULL;
}

static OrtStatus *tensor_attribute(struct heap *h, const OrtOpAttr *attr, Onnx__AttributeProto *a)
{
	OrtValue **more = realloc(h->value, (h->num_values + 1) * sizeof(*more));
	OrtValue *value;

	if (!more)
		return out_of_memory();
	h->value = more;
	TRY(ort->OpAttr_GetTensorAttributeAsOrtValue(attr, &value));
	h->value[h->num_values++] = value;
	return tensor_message(h, "", value, &a->t);
}

static OrtStatus *attribute_message(struct heap *h, const OrtOpAttr *attr, OrtOpAttrType type,
				    Onnx__AttributeProto **out)
{
	Onnx__AttributeProto *a;
	const char *name;
	void *data;
	size_t size;

	TRY(ort->OpAttr_GetName(attr, &name));
	NEW(h, a, onnx__attribute_proto__init);
	*out = a;
	a->name = (char *)name;
	a->has_type = true;
	if (type == ORT_OP_ATTR_TENSOR) {
		a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
		return tensor_attribute(h, attr, a);
	}
	TRY(read_attribute(h, attr, type, &data, &size));
	switch (type) {
	case ORT_OP_ATTR_INT:
		a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
		a->has_i = true;
		memcpy(&a->i, data, sizeof(a->i));
		return NULL;
	case ORT_OP_ATTR_INTS:
		a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
		a->ints = data;
		a->n_ints = size / sizeof(*a->ints);
		return NULL;
	case ORT_OP_ATTR_FLOAT:
		a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
		a->has_f = true;
		memcpy(&a->f, data, sizeof(a->f));
		return NULL;
	case ORT_OP_ATTR_FLOATS:
		a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS;
		a->floats = data;
		a->n_floats = size / sizeof(*a->floats);
		return NULL;
	case ORT_OP_ATTR_STRING:
		a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
		a->has_s = true;
		a->s = (ProtobufCBinaryData){ .len = size, .data = data };
		return NULL;
	case ORT_OP_ATTR_STRINGS:
		a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS;
		return strings(h, data, size, a);
	default:
		return fail(ORT_NOT_IMPLEMENTED, "its attribute %s is of no type that is known",
			    name);
	}
}

/* ---- nodes ------------------------------------------------------------------- */

OrtStatus *node_inputs(const OrtNode *node, const OrtValueInfo ***values, size_t *num)
{
	size_t own, from_around;
	OrtStatus *status;

	TRY(ort->Node_GetNumInputs(node, &own));
	TRY(ort->Node_GetNumImplicitInputs(node, &from_around));
	*num = own + from_around;
	*values = calloc(*num + 1, sizeof(**values));
	if (!*values)
		return out_of_memory();
	status = ort->Node_GetInputs(node, *values, own);
	if (!status && from_around)
		status = ort->Node_GetImplicitInputs(node, *values + own, from_around);
	if (status)
		free(*values);
	return status;
}

OrtStatus *node_outputs(const OrtNode *node, const OrtValueInfo ***values, size_t *num)
{
	OrtStatus *status;

	TRY(ort->Node_GetNumOutputs(node, num));
	*values = calloc(*num + 1, sizeof(**values));
	if (!*values)
		return out_of_memory();
	status = ort->Node_GetOutputs(node, *values, *num);
	if (status)
		free(*values);
	return status;
}

static OrtStatus *value_names(struct heap *h, const OrtValueInfo *const *values, size_t num,
			      char ***names)
{
	NEW_ARRAY(h, *names, num);
	for (size_t i = 0; i < num; i++) {
		(*names)[i] = (char *)"";
		if (values[i])
			TRY(ort->GetValueInfoName(values[i], (const char **)&(*names)[i]));
	}
	return NULL;
}

static OrtStatus *graph_message(struct heap *h, const OrtGraph *graph, Onnx__GraphProto **out);

static OrtStatus *attributes(struct heap *h, const OrtNode *node, Onnx__NodeProto *n)
{
	size_t num, num_graphs;
	const OrtOpAttr **attr;
	const OrtGraph **graph;
	const char **name;

	TRY(ort->Node_GetNumAttributes(node, &num));
	TRY(ort->Node_GetNumSubgraphs(node, &num_graphs));
	NEW_ARRAY(h, n->attribute, num + num_graphs);
	NEW_ARRAY(h, attr, num);
	if (num)
		TRY(ort->Node_GetAttributes(node, attr, num));
	for (size_t i = 0; i < num; i++) {
		OrtOpAttrType type;

		TRY(ort->OpAttr_GetType(attr[i], &type));
		if (type != ORT_OP_ATTR_GRAPH)
			TRY(attribute_message(h, attr[i], type, &n->attribute[n->n_attribute++]));
	}
	if (!num_graphs)
		return NULL;
	NEW_ARRAY(h, graph, num_graphs);
	NEW_ARRAY(h, name, num_graphs);
	TRY(ort->Node_GetSubgraphs(node, graph, num_graphs, name));
	for (size_t i = 0; i < num_graphs; i++) {
		Onnx__AttributeProto *a;

		NEW(h, a, onnx__attribute_proto__init);
		a->name = (char *)name[i];
		a->has_type = true;
		a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH;
		TRY(graph_message(h, graph[i], &a->g));
		n->attribute[n->n_attribute++] = a;
	}
	return NULL;
}

static OrtStatus *node_message(struct heap *h, const OrtNode *node, Onnx__NodeProto **out)
{
	const char *name, *type, *domain;
	const OrtValueInfo **in, **value;
	Onnx__NodeProto *n;

	NEW(h, n, onnx__node_proto__init);
	*out = n;
	TRY(ort->Node_GetName(node, &name));
	TRY(ort->Node_GetOperatorType(node, &type));
	TRY(ort->Node_GetDomain(node, &domain));
	n->name = (char *)name;
	n->op_type = (char *)type;
	n->domain = (char *)domain;
	TRY(ort->Node_GetNumInputs(node, &n->n_input));
	NEW_ARRAY(h, in, n->n_input);
	if (n->n_input)
		TRY(ort->Node_GetInputs(node, in, n->n_input));
	TRY(value_names(h, in, n->n_input, &n->input));
	TRY(ort->Node_GetNumOutputs(node, &n->n_output));
	NEW_ARRAY(h, value, n->n_output);
	if (n->n_output)
		TRY(ort->Node_GetOutputs(node, value, n->n_output));
	TRY(value_names(h, value, n->n_output, &n->output));
	return attributes(h, node, n);
}

static OrtStatus *values_message(struct heap *h, const OrtValueInfo *const *values, size_t num,
				 bool shaped, Onnx__ValueInfoProto ***out, size_t *num_out)
{
	NEW_ARRAY(h, *out, num);
	for (size_t i = 0; i < num; i++)
		if (values[i])
			TRY(value_message(h, values[i], shaped, &(*out)[(*num_out)++]));
	return NULL;
}

/* The body of a node. */
static OrtStatus *graph_message(struct heap *h, const OrtGraph *graph, Onnx__GraphProto **out)
{
	const OrtValueInfo **value;
	const OrtNode **node;
	Onnx__GraphProto *g;
	const char *name;
	size_t num;

	NEW(h, g, onnx__graph_proto__init);
	*out = g;
	TRY(ort->Graph_GetName(graph, &name));
	g->name = (char *)name;
	TRY(ort->Graph_GetNumNodes(graph, &g->n_node));
	NEW_ARRAY(h, node, g->n_node);
	NEW_ARRAY(h, g->node, g->n_node);
	TRY(ort->Graph_GetNodes(graph, node, g->n_node));
	for (size_t i = 0; i < g->n_node; i++)
		TRY(node_message(h, node[i], &g->node[i]));
	TRY(ort->Graph_GetNumInputs(graph, &num));
	NEW_ARRAY(h, value, num);
	TRY(ort->Graph_GetInputs(graph, value, num));
	TRY(values_message(h, value, num, false, &g->input, &g->n_input));
	TRY(ort->Graph_GetNumOutputs(graph, &num));
	NEW_ARRAY(h, value, num);
	TRY(ort->Graph_GetOutputs(graph, value, num));
	TRY(values_message(h, value, num, false, &g->output, &g->n_output));
	TRY(ort->Graph_GetNumInitializers(graph, &num));
	NEW_ARRAY(h, value, num);
	NEW_ARRAY(h, g->initializer, num);
	TRY(ort->Graph_GetInitializers(graph, value, num));
	for (; g->n_initializer < num; g->n_initializer++)
		TRY(constant_message(h, value[g->n_initializer],
				     &g->initializer[g->n_initializer]));
	return NULL;
}

/* ---- the model --------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Constants of some values, but for those that the model has. */
static OrtStatus *constants(struct heap *h, const OrtValueInfo *const *values, size_t num,
			    Onnx__GraphProto *g)
{
	for (size_t i = 0; i < num; i++) {
		bool constant = false;
		const char *name;

		if (values[i])
			TRY(ort->ValueInfo_IsConstantInitializer(values[i], &constant));
		if (!constant)
			continue;
		TRY(ort->GetValueInfoName(values[i], &name));
		if (tfind(name, &h->names, compare_names))
			continue;
		if (!tsearch(name, &h->names, compare_names))
			return out_of_memory();
		TRY(constant_message(h, values[i], &g->initializer[g->n_initializer++]));
	}
	return NULL;
}

static OrtStatus *operator_sets(struct heap *h, const OrtGraph *graph, Onnx__ModelProto *m)
{
	const char **domain;
	int64_t *version;
	size_t num;

	TRY(ort->Graph_GetNumOperatorSets(graph, &num));
	NEW_ARRAY(h, domain, num);
	NEW_ARRAY(h, version, num);
	NEW_ARRAY(h, m->opset_import, num);
	TRY(ort->Graph_GetOperatorSets(graph, domain, version, num));
	for (size_t i = 0; i < num; i++) {
		NEW(h, m->opset_import[i], onnx__operator_set_id_proto__init);
		m->opset_import[i]->domain = (char *)domain[i];
		m->opset_import[i]->has_version = true;
		m->opset_import[i]->version = version[i];
		m->n_opset_import++;
	}
	return NULL;
}

static OrtStatus *part_message(struct heap *h, const OrtGraph *graph, const struct part *p,
			       Onnx__ModelProto *m)
{
	Onnx__GraphProto *g;
	const char *name;
	size_t most = 0;

	TRY(ort->Graph_GetOnnxIRVersion(graph, &m->ir_version));
	TRY(ort->Graph_GetName(graph, &name));
	m->has_ir_version = true;
	TRY(operator_sets(h, graph, m));
	NEW(h, g, onnx__graph_proto__init);
	m->graph = g;
	g->name = (char *)(*name ? name : "graph");
	NEW_ARRAY(h, g->node, p->num_nodes);
	for (; g->n_node < p->num_nodes; g->n_node++) {
		size_t own, from_around;

		TRY(node_message(h, p->node[g->n_node], &g->node[g->n_node]));
		TRY(ort->Node_GetNumInputs(p->node[g->n_node], &own));
		TRY(ort->Node_GetNumImplicitInputs(p->node[g->n_node], &from_around));
		most += own + from_around;
	}
	NEW_ARRAY(h, g->initializer, most);
	for (size_t i = 0; i < p->num_nodes; i++) {
		const OrtValueInfo **values;
		OrtStatus *status;
		size_t num;

		TRY(node_inputs(p->node[i], &values, &num));
		status = constants(h, values, num, g);
		free(values);
		TRY(status);
	}
	TRY(values_message(h, p->in, p->num_in, true, &g->input, &g->n_input));
	return values_message(h, p->out, p->num_out, false, &g->output, &g->n_output);
}

static OrtStatus *pack(const Onnx__ModelProto *message, struct model *m)
{
	m->size = onnx__model_proto__get_packed_size(message);
	if (m->size > INT_MAX)
		return fail(ORT_NOT_IMPLEMENTED, "its constants take more than 2 GiB");
	m->data = malloc(m->size);
	if (!m->data)
		return out_of_memory();
	onnx__model_proto__pack(message, m->data);
	return NULL;
}

OrtStatus *model_of_part(const OrtGraph *graph, const struct part *p, struct model *m)
{
	Onnx__ModelProto message = ONNX__MODEL_PROTO__INIT;
	struct heap h = { NULL };
	OrtStatus *status = part_message(&h, graph, p, &message);

	if (!status)
		status = pack(&message, m);
	heap_free(&h);
	return status;
}
