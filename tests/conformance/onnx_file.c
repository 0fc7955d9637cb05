// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "onnx_file.h"

void *read_file(const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	size_t cap = 65536, n = 0, got;
	char *buf = NULL, *more;

	if (!f)
		return NULL;
	do {
		more = realloc(buf, cap *= 2);
		if (!more)
			break;
		buf = more;
		got = fread(buf + n, 1, cap - n, f);
		n += got;
	} while (got && n == cap);
	if (!more || ferror(f)) {
		free(buf);
		buf = NULL;
	}
	fclose(f);
	*size = n;
	return buf;
}

Onnx__ModelProto *model_read(const char *path)
{
	size_t size;
	void *buf = read_file(path, &size);
	Onnx__ModelProto *m;

	if (!buf) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return NULL;
	}
	m = onnx__model_proto__unpack(NULL, size, buf);
	free(buf);
	if (!m || !m->graph) {
		fprintf(stderr, "%s: not an ONNX model\n", path);
		if (m)
			onnx__model_proto__free_unpacked(m, NULL);
		return NULL;
	}
	return m;
}

static const struct {
	int type;
	size_t size;
	const char *name;
} types[] = {
	{ 1, 4, "float" },	 { 2, 1, "uint8" },	      { 3, 1, "int8" },
	{ 4, 2, "uint16" },	 { 5, 2, "int16" },	      { 6, 4, "int32" },
	{ 7, 8, "int64" },	 { 8, 0, "string" },	      { 9, 1, "bool" },
	{ 10, 2, "float16" },	 { 11, 8, "double" },	      { 12, 4, "uint32" },
	{ 13, 8, "uint64" },	 { 14, 8, "complex64" },      { 15, 16, "complex128" },
	{ 16, 2, "bfloat16" },	 { 17, 1, "float8e4m3fn" },   { 18, 1, "float8e4m3fnuz" },
	{ 19, 1, "float8e5m2" }, { 20, 1, "float8e5m2fnuz" }, { 21, 1, "uint4" },
	{ 22, 1, "int4" },	 { 23, 1, "float4e2m1" },     { 24, 1, "float8e8m0" },
	{ 25, 1, "uint2" },	 { 26, 1, "int2" },
};

size_t type_size(int type)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].type == type)
			return types[i].size;
	return 0;
}

const char *type_name(int type)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].type == type)
			return types[i].name;
	return "unknown";
}

/* Bits of an element, of types that are packed in a file; 0: the others. */
static unsigned int packed_bits(int type)
{
	return type >= 21 && type <= 23 ? 4 : type == 25 || type == 26 ? 2 : 0;
}

static int unpack(struct value *v, const Onnx__TensorProto *t)
{
	unsigned int bits = packed_bits(v->type), each = 8 / bits;
	size_t places = (v->count + each - 1) / each;

	if ((t->has_raw_data ? t->raw_data.len : t->n_int32_data) != places)
		return -1;
	for (int64_t i = 0; i < v->count; i++) {
		unsigned int byte = t->has_raw_data ? t->raw_data.data[i / each]
						    : (unsigned int)t->int32_data[i / each];
		unsigned int code = byte >> bits * (i % each) & ((1 << bits) - 1);
		bool negative = (v->type == 22 || v->type == 26) && code >> (bits - 1);

		((uint8_t *)v->raw)[i] = code - (negative ? 1 << bits : 0);
	}
	return 0;
}

int value_from_proto(struct value *v, const Onnx__TensorProto *t)
{
	size_t es = type_size(t->data_type), n;

	memset(v, 0, sizeof(*v));
	if (!es || t->n_dims > MAX_DIMS || t->n_external_data)
		return -1;
	v->type = t->data_type;
	v->ndim = t->n_dims;
	v->count = 1;
	for (int i = 0; i < v->ndim; i++) {
		v->dim[i] = t->dims[i];
		if (v->dim[i] < 0 || v->dim[i] > (1 << 30))
			return -1;
		v->count *= v->dim[i];
		if (v->count > (1LL << 31))
			return -1;
	}
	n = v->count;
	v->raw = calloc(n + 1, es);
	if (!v->raw)
		return -1;
	if (packed_bits(v->type)) {
		if (unpack(v, t))
			goto bad;
		return 0;
	}
	if (t->has_raw_data) {
		if (t->raw_data.len != n * es)
			goto bad;
		memcpy(v->raw, t->raw_data.data, n * es);
		return 0;
	}
	if (t->n_float_data == n && v->type == 1) {
		memcpy(v->raw, t->float_data, n * 4);
	} else if (t->n_double_data == n && v->type == 11) {
		memcpy(v->raw, t->double_data, n * 8);
	} else if (t->n_int64_data == n && v->type == 7) {
		memcpy(v->raw, t->int64_data, n * 8);
	} else if (t->n_uint64_data == n && (v->type == 12 || v->type == 13)) {
		for (size_t i = 0; i < n; i++)
			if (es == 4)
				((uint32_t *)v->raw)[i] = t->uint64_data[i];
			else
				((uint64_t *)v->raw)[i] = t->uint64_data[i];
	} else if (t->n_int32_data == n && es <= 4 && v->type != 1) {
		for (size_t i = 0; i < n; i++)
			if (es == 1)
				((uint8_t *)v->raw)[i] = t->int32_data[i];
			else if (es == 2)
				((uint16_t *)v->raw)[i] = t->int32_data[i];
			else
				((int32_t *)v->raw)[i] = t->int32_data[i];
	} else if (n) {
		goto bad;
	}
	return 0;
bad:
	value_free(v);
	return -1;
}

int value_read(struct value *v, const char *path, char **name)
{
	size_t size;
	void *buf = read_file(path, &size);
	Onnx__TensorProto *t = buf ? onnx__tensor_proto__unpack(NULL, size, buf) : NULL;
	int ret = -1;

	if (t) {
		ret = value_from_proto(v, t);
		if (name)
			*name = strdup(t->name ? t->name : "");
		onnx__tensor_proto__free_unpacked(t, NULL);
	}
	free(buf);
	return ret;
}

void value_free(struct value *v)
{
	free(v->raw);
	v->raw = NULL;
}

static double half_to_double(uint16_t h)
{
	int e = h >> 10 & 31, m = h & 1023;
	double v = e == 31 ? (m ? __builtin_nan("") : __builtin_inf())
		   : e	   ? __builtin_ldexp(m + 1024, e - 25)
			   : __builtin_ldexp(m, -24);

	return h & 0x8000 ? -v : v;
}

/* Sign, exponent and mantissa of a number of 4 or 8 bits. */
static double small_to_double(int type, unsigned int code)
{
	static const int mantissa[] = { 3, 3, 2, 2 }, biases[] = { 7, 8, 15, 16 };
	int m = type == 23 ? 1 : mantissa[type - 17], bias = type == 23 ? 1 : biases[type - 17];
	int bits = type == 23 ? 4 : 8, size = code & ((1 << (bits - 1)) - 1), e = size >> m;
	double v = e ? __builtin_ldexp((size & ((1 << m) - 1)) + (1 << m), e - bias - m)
		     : __builtin_ldexp(size, 1 - bias - m);

	if (type == 17 && size == 0x7f)
		return __builtin_nan("");
	if ((type == 18 || type == 20) && code == 0x80)
		return __builtin_nan("");
	if (type == 19 && size >= 0x7c)
		v = size > 0x7c ? __builtin_nan("") : __builtin_inf();
	return code >> (bits - 1) ? -v : v;
}

double value_get(const struct value *v, int64_t i)
{
	uint32_t w;
	float f;

	switch (v->type) {
	case 1:
		return ((float *)v->raw)[i];
	case 2:
	case 9:
	case 21:
	case 25:
		return ((uint8_t *)v->raw)[i];
	case 3:
	case 22:
	case 26:
		return ((int8_t *)v->raw)[i];
	case 4:
		return ((uint16_t *)v->raw)[i];
	case 5:
		return ((int16_t *)v->raw)[i];
	case 6:
		return ((int32_t *)v->raw)[i];
	case 7:
		return ((int64_t *)v->raw)[i];
	case 10:
		return half_to_double(((uint16_t *)v->raw)[i]);
	case 11:
		return ((double *)v->raw)[i];
	case 12:
		return ((uint32_t *)v->raw)[i];
	case 13:
		return ((uint64_t *)v->raw)[i];
	case 16:
		w = (uint32_t)((uint16_t *)v->raw)[i] << 16;
		memcpy(&f, &w, 4);
		return f;
	case 24:
		w = ((uint8_t *)v->raw)[i];
		return w == 255 ? __builtin_nan("") : __builtin_ldexp(1, (int)w - 127);
	case 17:
	case 18:
	case 19:
	case 20:
	case 23:
		return small_to_double(v->type, ((uint8_t *)v->raw)[i]);
	}
	return __builtin_nan("");
}

const Onnx__AttributeProto *node_attr(const Onnx__NodeProto *n, const char *name)
{
	for (size_t i = 0; i < n->n_attribute; i++)
		if (n->attribute[i]->name && !strcmp(n->attribute[i]->name, name))
			return n->attribute[i];
	return NULL;
}

int64_t attr_int(const Onnx__NodeProto *n, const char *name, int64_t otherwise)
{
	const Onnx__AttributeProto *a = node_attr(n, name);

	return a ? a->i : otherwise;
}

float attr_float(const Onnx__NodeProto *n, const char *name, float otherwise)
{
	const Onnx__AttributeProto *a = node_attr(n, name);

	return a ? a->f : otherwise;
}

int attr_ints(const Onnx__NodeProto *n, const char *name, int64_t *out, int max)
{
	const Onnx__AttributeProto *a = node_attr(n, name);

	for (size_t i = 0; a && i < a->n_ints && i < (size_t)max; i++)
		out[i] = a->ints[i];
	return a ? (int)a->n_ints : 0;
}

bool attr_is(const Onnx__NodeProto *n, const char *name, const char *text)
{
	const Onnx__AttributeProto *a = node_attr(n, name);

	return a && a->s.len == strlen(text) && !memcmp(a->s.data, text, a->s.len);
}

/* http://yann.lecun.com/exdb/mnist: 0, 0, type, dimensions, then big-endian sizes. */
uint8_t *idx_read(const char *path, int *ndim, int64_t dim[MAX_DIMS])
{
	gzFile f = gzopen(path, "rb");
	uint8_t head[4], d[4], *data = NULL;
	int64_t n = 1;

	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return NULL;
	}
	if (gzread(f, head, 4) != 4 || head[0] || head[1] || head[2] != 8 || head[3] > 4)
		goto bad;
	*ndim = head[3];
	for (int i = 0; i < *ndim; i++) {
		if (gzread(f, d, 4) != 4)
			goto bad;
		dim[i] = (int64_t)d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3];
		if (dim[i] > 1 << 24 || (n *= dim[i]) > 1 << 30)
			goto bad;
	}
	data = malloc(n + 1);
	if (data && gzread(f, data, n) == n) {
		gzclose(f);
		return data;
	}
bad:
	fprintf(stderr, "%s: not an IDX file of bytes\n", path);
	free(data);
	gzclose(f);
	return NULL;
}
