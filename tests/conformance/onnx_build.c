// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "onnx_build.h"

/* Appends to one of protobuf-c's arrays of pointers. */
#define APPEND(array, n, p)                                             \
	do {                                                            \
		(array) = realloc(array, ((n) + 1) * sizeof(*(array))); \
		(array)[(n)++] = (p);                                   \
	} while (0)

static struct build *all;

struct build *build_new(void)
{
	struct build *b = calloc(1, sizeof(*b));

	b->next = all;
	all = b;
	onnx__model_proto__init(&b->model);
	onnx__graph_proto__init(&b->graph);
	onnx__operator_set_id_proto__init(&b->opset);
	b->opset.has_version = 1;
	b->opset.version = 13;
	b->opset.domain = "";
	b->opsets[0] = &b->opset;
	b->model.has_ir_version = 1;
	b->model.ir_version = 7;
	b->model.n_opset_import = 1;
	b->model.opset_import = b->opsets;
	b->model.graph = &b->graph;
	b->graph.name = "test";
	return b;
}

static Onnx__ValueInfoProto *value_info(const char *name, int type, int ndim, const int64_t *dim)
{
	Onnx__ValueInfoProto *v = calloc(1, sizeof(*v));
	Onnx__TypeProto *t = calloc(1, sizeof(*t));
	Onnx__TypeProto__Tensor *tt = calloc(1, sizeof(*tt));
	Onnx__TensorShapeProto *s = calloc(1, sizeof(*s));

	onnx__value_info_proto__init(v);
	onnx__type_proto__init(t);
	onnx__type_proto__tensor__init(tt);
	onnx__tensor_shape_proto__init(s);
	for (int i = 0; i < ndim; i++) {
		Onnx__TensorShapeProto__Dimension *d = calloc(1, sizeof(*d));

		onnx__tensor_shape_proto__dimension__init(d);
		d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
		d->dim_value = dim[i];
		APPEND(s->dim, s->n_dim, d);
	}
	tt->has_elem_type = 1;
	tt->elem_type = type;
	tt->shape = s;
	t->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
	t->tensor_type = tt;
	v->name = strdup(name);
	v->type = t;
	return v;
}

static int dims(const int64_t *dim)
{
	int n = 0;

	while (dim[n])
		n++;
	return n;
}

void build_input(struct build *b, const char *name, const int64_t *dim)
{
	build_input_of(b, name, 1, dims(dim), dim);
}

void build_output(struct build *b, const char *name, const int64_t *dim)
{
	build_output_of(b, name, 1, dims(dim), dim);
}

void build_input_of(struct build *b, const char *name, int type, int ndim, const int64_t *dim)
{
	APPEND(b->graph.input, b->graph.n_input, value_info(name, type, ndim, dim));
}

void build_output_of(struct build *b, const char *name, int type, int ndim, const int64_t *dim)
{
	APPEND(b->graph.output, b->graph.n_output, value_info(name, type, ndim, dim));
}

Onnx__TensorProto *build_tensor(struct build *b, const char *name, int type, int ndim,
				const int64_t *dim, const void *raw, size_t size)
{
	Onnx__TensorProto *t = calloc(1, sizeof(*t));

	onnx__tensor_proto__init(t);
	t->name = strdup(name);
	t->has_data_type = 1;
	t->data_type = type;
	t->n_dims = ndim;
	t->dims = malloc((ndim + 1) * sizeof(*t->dims));
	if (ndim)
		memcpy(t->dims, dim, ndim * sizeof(*t->dims));
	t->has_raw_data = 1;
	t->raw_data.len = size;
	t->raw_data.data = malloc(size + 1);
	memcpy(t->raw_data.data, raw, size);
	APPEND(b->graph.initializer, b->graph.n_initializer, t);
	return t;
}

Onnx__TensorProto *build_weight(struct build *b, const char *name, const int64_t *dim,
				uint32_t seed, float scale)
{
	size_t n = 1;
	int nd;
	float *f;
	Onnx__TensorProto *t;

	for (nd = 0; dim[nd]; nd++)
		n *= dim[nd];
	f = malloc(n * sizeof(*f));
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		f[i] = (int32_t)seed * (scale / 2147483648.0f);
	}
	t = build_tensor(b, name, 1, nd, dim, f, n * sizeof(*f));
	free(f);
	return t;
}

void build_ints(struct build *b, const char *name, int n, const int64_t *v)
{
	build_tensor(b, name, 7, 1, (int64_t[]){ n }, v, n * sizeof(*v));
}

static void names(const char *text, char ***array, size_t *n)
{
	char *copy = strdup(text), *save = NULL;

	for (char *s = strtok_r(copy, " ", &save); s; s = strtok_r(NULL, " ", &save))
		APPEND(*array, *n, strdup(strcmp(s, "-") ? s : ""));
	free(copy);
}

Onnx__NodeProto *build_node(struct build *b, const char *op, const char *in, const char *out)
{
	Onnx__NodeProto *n = calloc(1, sizeof(*n));

	onnx__node_proto__init(n);
	n->op_type = strdup(op);
	names(in, &n->input, &n->n_input);
	names(out, &n->output, &n->n_output);
	n->name = strdup(n->output[0]);
	APPEND(b->graph.node, b->graph.n_node, n);
	return n;
}

static Onnx__AttributeProto *attr(Onnx__NodeProto *n, const char *name, int type)
{
	Onnx__AttributeProto *a = calloc(1, sizeof(*a));

	onnx__attribute_proto__init(a);
	a->name = strdup(name);
	a->has_type = 1;
	a->type = type;
	APPEND(n->attribute, n->n_attribute, a);
	return a;
}

void attr_add_int(Onnx__NodeProto *n, const char *name, int64_t v)
{
	Onnx__AttributeProto *a = attr(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);

	a->has_i = 1;
	a->i = v;
}

void attr_add_float(Onnx__NodeProto *n, const char *name, float v)
{
	Onnx__AttributeProto *a = attr(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);

	a->has_f = 1;
	a->f = v;
}

void attr_add_text(Onnx__NodeProto *n, const char *name, const char *v)
{
	Onnx__AttributeProto *a = attr(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);

	a->has_s = 1;
	a->s.len = strlen(v);
	a->s.data = (uint8_t *)strdup(v);
}

void attr_add_ints(Onnx__NodeProto *n, const char *name, int num, const int64_t *v)
{
	Onnx__AttributeProto *a = attr(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);

	a->n_ints = num;
	a->ints = malloc(num * sizeof(*v));
	memcpy(a->ints, v, num * sizeof(*v));
}

void *build_pack(struct build *b, size_t *size)
{
	uint8_t *buf;

	*size = onnx__model_proto__get_packed_size(&b->model);
	buf = malloc(*size + 1);
	if (buf)
		onnx__model_proto__pack(&b->model, buf);
	return buf;
}

int build_write(struct build *b, const char *path)
{
	size_t n;
	void *buf = build_pack(b, &n);
	FILE *f = fopen(path, "wb");
	int ret = -1;

	if (f && buf)
		ret = fwrite(buf, 1, n, f) == n ? 0 : -1;
	if (f && fclose(f))
		ret = -1;
	free(buf);
	return ret;
}
