// SPDX-License-Identifier: MIT
/*
 * rdu-mkmodel: ONNX graphs, node by node. Everything is allocated once, and nothing is freed
 * before the process ends.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "graph.h"
#include "mem.h"
#include "mkmodel.h"
#include "outfile.h"

/* Most bytes of weights in the model's own file: a protobuf message ends at 2 GiB. */
#define MAX_FILE_BYTES (2000ull << 20)
#define MAX_DRAWN_BYTES (16ull << 30) /* of weights with values: they are all in memory */
#define MAX_WEIGHT_BYTES (1ull << 40)
#define OUTSIDE 4096 /* bytes of a weight that goes to another file, if any does */

/* Add to a protobuf repeated field. */
#define PUSH(array, count, item)                                          \
	do {                                                              \
		(array) = xgrow((array), (int)(count), sizeof(*(array))); \
		(array)[(count)++] = (item);                              \
	} while (0)

char *mk_text(const char *fmt, ...)
{
	va_list ap, again;
	char *text;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	text = xcalloc((size_t)n + 1, 1);
	vsnprintf(text, (size_t)n + 1, fmt, again);
	va_end(again);
	return text;
}

/* splitmix64 */
double mk_uniform(struct mk *m)
{
	uint64_t z = (m->seed += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	z ^= z >> 31;
	return (double)(z >> 11) / 9007199254740992.0;
}

static uint16_t to_bf16(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

/* ---- tensors ----------------------------------------------------------------- */

static Onnx__ValueInfoProto *value_info(const char *name, int dtype, int ndim, const int64_t *dim)
{
	Onnx__ValueInfoProto *v = xcalloc(1, sizeof(*v));
	Onnx__TypeProto *type = xcalloc(1, sizeof(*type));
	Onnx__TypeProto__Tensor *t = xcalloc(1, sizeof(*t));
	Onnx__TensorShapeProto *s = xcalloc(1, sizeof(*s));

	onnx__value_info_proto__init(v);
	onnx__type_proto__init(type);
	onnx__type_proto__tensor__init(t);
	onnx__tensor_shape_proto__init(s);
	v->name = xstrdup(name);
	v->type = type;
	type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
	type->tensor_type = t;
	t->has_elem_type = true;
	t->elem_type = dtype;
	t->shape = s;
	for (int i = 0; i < ndim; i++) {
		Onnx__TensorShapeProto__Dimension *d = xcalloc(1, sizeof(*d));

		onnx__tensor_shape_proto__dimension__init(d);
		d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
		d->dim_value = dim[i];
		PUSH(s->dim, s->n_dim, d);
	}
	return v;
}

const char *mk_input(struct mk *m, const char *name, int dtype, int ndim, const int64_t *dim)
{
	Onnx__ValueInfoProto *v = value_info(name, dtype ? dtype : m->dtype, ndim, dim);

	PUSH(m->graph.input, m->graph.n_input, v);
	return v->name;
}

/* Zeros. When sizes are measured only, there is nothing but the count of its bytes. */
static Onnx__TensorProto *tensor(struct mk *m, const char *name, int dtype, int ndim,
				 const int64_t *dim)
{
	Onnx__TensorProto *t = xcalloc(1, sizeof(*t));
	int64_t n = dims_count(ndim, dim);
	uint64_t bytes = n < 0 ? MAX_WEIGHT_BYTES + 1
			       : (uint64_t)n * (uint64_t)dtype_bytes((enum rdu_dtype)dtype);

	if (m->weight_bytes > MAX_WEIGHT_BYTES)
		bytes = 0; /* it is refused anyway */
	onnx__tensor_proto__init(t);
	t->name = xstrdup(name);
	t->has_data_type = true;
	t->data_type = dtype;
	for (int i = 0; i < ndim; i++)
		PUSH(t->dims, t->n_dims, dim[i]);
	t->has_raw_data = true;
	m->weight_bytes += bytes;
	m->drawn_bytes += bytes;
	if (!m->measured)
		t->raw_data.len = (size_t)bytes;
	t->raw_data.data = xcalloc(t->raw_data.len + sizeof(int64_t), 1); /* room for a scalar */
	return t;
}

static void set_element(Onnx__TensorProto *t, size_t i, float f)
{
	if (t->data_type == RDU_DT_BF16)
		((uint16_t *)t->raw_data.data)[i] = to_bf16(f);
	else
		((float *)t->raw_data.data)[i] = f;
}

static size_t num_elements(const Onnx__TensorProto *t)
{
	return t->raw_data.len / (size_t)dtype_bytes((enum rdu_dtype)t->data_type);
}

static const char *initializer(struct mk *m, Onnx__TensorProto *t)
{
	PUSH(m->graph.initializer, m->graph.n_initializer, t);
	return t->name;
}

const char *mk_weight(struct mk *m, const char *name, int ndim, const int64_t *dim, double bound)
{
	uint64_t drawn = m->drawn_bytes;
	Onnx__TensorProto *t = tensor(m, name, m->dtype, ndim, dim);

	if (m->no_values)
		m->drawn_bytes = drawn;
	for (size_t i = 0; i < num_elements(t) && !m->no_values; i++)
		set_element(t, i, (float)((2 * mk_uniform(m) - 1) * bound));
	return initializer(m, t);
}

const char *mk_filled(struct mk *m, const char *name, int ndim, const int64_t *dim, double value)
{
	Onnx__TensorProto *t = tensor(m, name, m->dtype, ndim, dim);

	for (size_t i = 0; i < num_elements(t); i++)
		set_element(t, i, (float)value);
	return initializer(m, t);
}

const char *mk_table(struct mk *m, const char *name, int ndim, const int64_t *dim, const double *v)
{
	Onnx__TensorProto *t = tensor(m, name, m->dtype, ndim, dim);

	for (size_t i = 0; i < num_elements(t); i++)
		set_element(t, i, (float)v[i]);
	return initializer(m, t);
}

const char *mk_causal_mask(struct mk *m, const char *name, int64_t length)
{
	Onnx__TensorProto *t = tensor(m, name, RDU_DT_BOOL, DIMS(1, 1, length, length));

	for (size_t i = 0; i < num_elements(t); i++)
		t->raw_data.data[i] = (int64_t)i % length <= (int64_t)i / length;
	return initializer(m, t);
}

/* ---- nodes ------------------------------------------------------------------- */

Onnx__NodeProto *mk_node(struct mk *m, const char *type, const char *name, const char *const *in,
			 const char *out)
{
	Onnx__NodeProto *n = xcalloc(1, sizeof(*n));

	onnx__node_proto__init(n);
	n->op_type = xstrdup(type);
	n->name = xstrdup(name);
	for (; *in; in++)
		PUSH(n->input, n->n_input, xstrdup(*in));
	PUSH(n->output, n->n_output, xstrdup(out));
	PUSH(m->graph.node, m->graph.n_node, n);
	return n;
}

Onnx__NodeProto *mk_scoped(struct mk *m, const char *scope, const char *type, const char *const *in)
{
	const char *first = mk_text("%s%s/%s", *scope ? "/" : "", scope, type);
	size_t length = strlen(first);
	int same = 0;
	const char *name;

	for (size_t i = 0; i < m->graph.n_node; i++) {
		const char *other = m->graph.node[i]->name;

		same += !strncmp(other, first, length) && (!other[length] || other[length] == '_');
	}
	name = same ? mk_text("%s_%d", first, same) : first;
	return mk_node(m, type, name, in, mk_text("%s_output_0", name));
}

const char *mk_more_output(Onnx__NodeProto *n)
{
	char *name = mk_text("%s_output_%zu", n->name, n->n_output);

	PUSH(n->output, n->n_output, name);
	return name;
}

static Onnx__AttributeProto *attribute(Onnx__NodeProto *n, const char *name,
				       Onnx__AttributeProto__AttributeType type)
{
	Onnx__AttributeProto *a = xcalloc(1, sizeof(*a));

	onnx__attribute_proto__init(a);
	a->name = xstrdup(name);
	a->has_type = true;
	a->type = type;
	PUSH(n->attribute, n->n_attribute, a);
	return a;
}

void mk_attr_int(Onnx__NodeProto *n, const char *name, int64_t v)
{
	Onnx__AttributeProto *a = attribute(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);

	a->has_i = true;
	a->i = v;
}

void mk_attr_string(Onnx__NodeProto *n, const char *name, const char *v)
{
	Onnx__AttributeProto *a = attribute(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);

	a->has_s = true;
	a->s.data = (uint8_t *)xstrdup(v);
	a->s.len = strlen(v);
}

void mk_attr_float(Onnx__NodeProto *n, const char *name, float v)
{
	Onnx__AttributeProto *a = attribute(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);

	a->has_f = true;
	a->f = v;
}

void mk_attr_ints(Onnx__NodeProto *n, const char *name, int num, const int64_t *v)
{
	Onnx__AttributeProto *a = attribute(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);

	for (int i = 0; i < num; i++)
		PUSH(a->ints, a->n_ints, v[i]);
}

static const char *constant(struct mk *m, const char *scope, Onnx__TensorProto *t)
{
	Onnx__NodeProto *n = mk_scoped(m, scope, "Constant", (const char *const[]){ NULL });
	Onnx__AttributeProto *a =
		attribute(n, "value", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR);

	a->t = t;
	return n->output[0];
}

const char *mk_ints(struct mk *m, const char *scope, int ndim, const int64_t *v, int64_t num)
{
	Onnx__TensorProto *t = tensor(m, "", RDU_DT_I64, ndim, &num);

	memcpy(t->raw_data.data, v, t->raw_data.len);
	return constant(m, scope, t);
}

const char *mk_int_table(struct mk *m, const char *scope, int ndim, const int64_t *dim,
			 const int64_t *v)
{
	Onnx__TensorProto *t = tensor(m, "", RDU_DT_I64, ndim, dim);

	memcpy(t->raw_data.data, v, t->raw_data.len);
	return constant(m, scope, t);
}

const char *mk_scalar(struct mk *m, const char *scope, double v)
{
	Onnx__TensorProto *t = tensor(m, "", m->dtype, 0, NULL);

	set_element(t, 0, (float)v);
	return constant(m, scope, t);
}

const char *mk_zeros(struct mk *m, const char *scope, int ndim, const int64_t *dim)
{
	return constant(m, scope, tensor(m, "", m->dtype, ndim, dim));
}

void mk_body_begin(struct mk *m, Onnx__GraphProto *around)
{
	*around = m->graph;
	onnx__graph_proto__init(&m->graph);
}

void mk_body_end(struct mk *m, const Onnx__GraphProto *around, Onnx__NodeProto *n)
{
	Onnx__AttributeProto *a =
		attribute(n, "body", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH);

	a->g = xmalloc(sizeof(*a->g));
	*a->g = m->graph;
	a->g->name = mk_text("%s.body", n->name);
	m->graph = *around;
}

void mk_output(struct mk *m, const char *name, const char *value, int ndim, const int64_t *dim)
{
	const char *was = xstrdup(value);

	for (size_t i = 0; i < m->graph.n_node; i++) {
		Onnx__NodeProto *n = m->graph.node[i];

		for (size_t k = 0; k < n->n_input; k++)
			if (!strcmp(n->input[k], was))
				n->input[k] = xstrdup(name);
		for (size_t k = 0; k < n->n_output; k++)
			if (!strcmp(n->output[k], was))
				n->output[k] = xstrdup(name);
	}
	PUSH(m->graph.output, m->graph.n_output, value_info(name, m->dtype, ndim, dim));
}

/* ---- parts of models ----------------------------------------------------------- */

const char *mk_reshape(struct mk *m, const char *scope, const char *x, int ndim, const int64_t *dim)
{
	return MK_OP(m, scope, "Reshape", x, mk_ints(m, scope, 1, dim, ndim));
}

const char *mk_transpose(struct mk *m, const char *scope, const char *x, int ndim,
			 const int64_t *perm)
{
	Onnx__NodeProto *n = MK_SCOPED(m, scope, "Transpose", x);

	mk_attr_ints(n, "perm", ndim, perm);
	return n->output[0];
}

/* "layer1.0.conv1" names the weights, "layer1/0/conv1" the nodes. */
static char *scope_of(const char *path)
{
	char *scope = xstrdup(path);

	for (char *s = scope; *s; s++)
		if (*s == '.')
			*s = '/';
	return scope;
}

const char *mk_linear(struct mk *m, const char *path, const char *x, int64_t in, int64_t out)
{
	double bound = 1 / sqrt((double)in);
	const char *w = mk_weight(m, mk_text("%s.weight", path), DIMS(out, in), bound);
	const char *b = mk_weight(m, mk_text("%s.bias", path), DIMS(out), bound);
	Onnx__NodeProto *n = MK_SCOPED(m, scope_of(path), "Gemm", x, w, b);

	mk_attr_float(n, "alpha", 1);
	mk_attr_float(n, "beta", 1);
	mk_attr_int(n, "transB", 1);
	return n->output[0];
}

const char *mk_gelu(struct mk *m, const char *scope, const char *x)
{
	const char *half = MK_OP(m, scope, "Mul", x, mk_scalar(m, scope, 0.5));
	const char *y = MK_OP(m, scope, "Pow", x, mk_scalar(m, scope, 3));

	y = MK_OP(m, scope, "Mul", y, mk_scalar(m, scope, 0.044715));
	y = MK_OP(m, scope, "Add", x, y);
	y = MK_OP(m, scope, "Mul", y, mk_scalar(m, scope, sqrt(2 / M_PI)));
	y = MK_OP(m, scope, "Tanh", y);
	y = MK_OP(m, scope, "Add", y, mk_scalar(m, scope, 1));
	return MK_OP(m, scope, "Mul", half, y);
}

const char *mk_layer_norm(struct mk *m, const char *scope, const char *path, const char *x,
			  int64_t width)
{
	const char *scale = mk_filled(m, mk_text("%s.weight", path), DIMS(width), 1);
	const char *shift = mk_filled(m, mk_text("%s.bias", path), DIMS(width), 0);
	Onnx__NodeProto *n = MK_SCOPED(m, scope, "LayerNormalization", x, scale, shift);

	mk_attr_int(n, "axis", -1);
	mk_attr_float(n, "epsilon", 1e-5f);
	return n->output[0];
}

const char *mk_rows(struct mk *m, const char *path, const char *x, int64_t in, int64_t out,
		    double stddev)
{
	const char *w = mk_weight(m, mk_text("%s.weight", path), DIMS(out, in), stddev * sqrt(3));

	return MK_OP(m, path, "MatMul", x, mk_transpose(m, path, w, DIMS(1, 0)));
}

const char *mk_conv(struct mk *m, const char *path, const char *x, int64_t in, int64_t out,
		    int64_t kernel, int64_t stride, int64_t pad, double gain)
{
	double bound = 1 / sqrt((double)(in * kernel * kernel));
	const char *w = mk_weight(m, mk_text("%s.weight", path), DIMS(out, in, kernel, kernel),
				  gain * bound);
	const char *b = mk_weight(m, mk_text("%s.bias", path), DIMS(out), bound);
	Onnx__NodeProto *n = MK_SCOPED(m, scope_of(path), "Conv", x, w, b);

	mk_attr_ints(n, "dilations", DIMS(1, 1));
	mk_attr_int(n, "group", 1);
	mk_attr_ints(n, "kernel_shape", DIMS(kernel, kernel));
	mk_attr_ints(n, "pads", DIMS(pad, pad, pad, pad));
	mk_attr_ints(n, "strides", DIMS(stride, stride));
	return n->output[0];
}

const char *mk_max_pool(struct mk *m, const char *scope, const char *x, int64_t kernel,
			int64_t stride, int64_t pad)
{
	Onnx__NodeProto *n = MK_SCOPED(m, scope, "MaxPool", x);

	mk_attr_int(n, "ceil_mode", 0);
	mk_attr_ints(n, "kernel_shape", DIMS(kernel, kernel));
	mk_attr_ints(n, "pads", DIMS(pad, pad, pad, pad));
	mk_attr_ints(n, "strides", DIMS(stride, stride));
	return n->output[0];
}

/* ---- the file ------------------------------------------------------------------ */

int mk_measure(const struct mk *m)
{
	struct mk sizes = *m;

	sizes.measured = true;
	if (m->family->make(&sizes))
		return -1;
	if (sizes.weight_bytes > MAX_WEIGHT_BYTES)
		return mk_refuse(m, "its weights need more than %llu GiB", MAX_WEIGHT_BYTES >> 30);
	if (sizes.drawn_bytes > MAX_DRAWN_BYTES)
		return mk_refuse(m, "%s need more than the %llu GiB that are drawn%s",
				 m->no_values ? "its masks" : "its weights", MAX_DRAWN_BYTES >> 30,
				 m->no_values ? "" : "; there is --no-values");
	return 0;
}

static void external(Onnx__TensorProto *t, const char *key, char *value)
{
	Onnx__StringStringEntryProto *e = xcalloc(1, sizeof(*e));

	onnx__string_string_entry_proto__init(e);
	e->key = xstrdup(key);
	e->value = value;
	PUSH(t->external_data, t->n_external_data, e);
}

/* The weights' contents go to FILE.onnx.data, where other exporters have them, too. Zeros are holes of it. */
static int write_data(struct mk *m, const char *path)
{
	const char *name = mk_text("%s.data", path), *slash = strrchr(name, '/');
	struct lr_outfile o;
	FILE *f = lr_outfile_open(&o, name);
	off_t end = 0;
	int ret;

	for (size_t i = 0; i < m->graph.n_initializer; i++) {
		Onnx__TensorProto *t = m->graph.initializer[i];
		off_t at = (end + OUTSIDE - 1) / OUTSIDE * OUTSIDE;
		size_t size = t->raw_data.len;

		if (size < OUTSIDE)
			continue;
		if (f && !is_zeros(t->raw_data.data, size)) { /* errors are told at the end */
			fseeko(f, at, SEEK_SET);
			fwrite(t->raw_data.data, 1, size, f);
		}
		end = at + (off_t)size;
		external(t, "location", xstrdup(slash ? slash + 1 : name));
		external(t, "offset", mk_text("%lld", (long long)at));
		external(t, "length", mk_text("%zu", size));
		t->has_data_location = true;
		t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
		t->has_raw_data = false;
	}
	if (f && (fflush(f) || ftruncate(fileno(f), end))) {
		ret = -errno;
		lr_outfile_discard(&o);
	} else {
		ret = lr_outfile_close(&o);
	}
	return ret ? mk_refuse(m, "%s: %s", name, strerror(-ret)) : 0;
}

int mk_write(struct mk *m, const char *path)
{
	Onnx__OperatorSetIdProto opset = ONNX__OPERATOR_SET_ID_PROTO__INIT, *opsets[] = { &opset };
	Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
	char error[512];
	size_t size;
	void *data;
	int ret;

	if (m->no_values || m->weight_bytes > MAX_FILE_BYTES) {
		if (!strcmp(path, "-"))
			return mk_refuse(m, "its weights are in a file beside the model's: -o has "
					    "to name a file");
		if (write_data(m, path))
			return -1;
	}
	opset.domain = (char *)"";
	opset.has_version = true;
	opset.version = m->opset;
	model.has_ir_version = true;
	model.ir_version = m->opset > 14 ? 8 : 7;
	model.producer_name = (char *)"rdu-mkmodel";
	model.n_opset_import = 1;
	model.opset_import = opsets;
	m->graph.name = xstrdup(m->family->name);
	model.graph = &m->graph;
	size = onnx__model_proto__get_packed_size(&model);
	data = xmalloc(size);
	onnx__model_proto__pack(&model, data);
	ret = write_whole_file(path, data, size, error, sizeof(error));
	free(data);
	if (ret)
		fprintf(stderr, "rdu-mkmodel: %s\n", error);
	return ret;
}
