// SPDX-License-Identifier: MIT
/*
 * ONNX files through protobuf-c: parsing without trust, tensors to host arrays.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "graph.h"
#include "onnx.pb-c.h"
#include "mem.h"
#include "outfile.h"

#define MAX_DEPTH 32
#define MAX_FILE INT32_MAX /* protobuf's own limit */

/*
 * protobuf-c unpacks messages within messages by recursion and without a
 * limit: a few kilobytes of nested headers would overflow the stack. Walk the
 * wire format first, along the descriptors.
 */
static bool varint(const uint8_t **p, const uint8_t *end, uint64_t *v)
{
	*v = 0;
	for (int shift = 0; shift < 64 && *p < end; shift += 7) {
		uint8_t b = *(*p)++;

		*v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return true;
	}
	return false;
}

static bool depth_ok(const ProtobufCMessageDescriptor *d, const uint8_t *p, const uint8_t *end,
		     int depth)
{
	if (depth > MAX_DEPTH)
		return false;
	while (p < end) {
		const ProtobufCFieldDescriptor *f;
		uint64_t tag, n;

		if (!varint(&p, end, &tag))
			return false;
		switch (tag & 7) {
		case 0:
			if (!varint(&p, end, &n))
				return false;
			break;
		case 1:
		case 5:
			n = (tag & 7) == 1 ? 8 : 4;
			if ((uint64_t)(end - p) < n)
				return false;
			p += n;
			break;
		case 2:
			if (!varint(&p, end, &n) || n > (uint64_t)(end - p))
				return false;
			f = protobuf_c_message_descriptor_get_field(d, (unsigned)(tag >> 3));
			if (f && f->type == PROTOBUF_C_TYPE_MESSAGE &&
			    !depth_ok(f->descriptor, p, p + n, depth + 1))
				return false;
			p += n;
			break;
		default:
			return false;
		}
	}
	return true;
}

static void *allocate(void *data, size_t size)
{
	(void)data;
	return xmalloc(size);
}

static void release(void *data, void *p)
{
	(void)data;
	free(p);
}

static ProtobufCAllocator allocator = { .alloc = allocate, .free = release };

ProtobufCAllocator *onnx_allocator(void)
{
	return &allocator;
}

void onnx_free(Onnx__ModelProto *m)
{
	onnx__model_proto__free_unpacked(m, &allocator);
}

Onnx__ModelProto *onnx_parse(const void *data, size_t size, char *error, int error_size)
{
	Onnx__ModelProto *m;

	if (!size ||
	    !depth_ok(&onnx__model_proto__descriptor, data, (const uint8_t *)data + size, 0)) {
		snprintf(error, error_size,
			 "not an ONNX file, or truncated: its protobuf encoding is broken");
		return NULL;
	}
	m = onnx__model_proto__unpack(&allocator, size, data);
	if (!m) {
		snprintf(error, error_size, "not an ONNX file: its protobuf encoding is broken");
		return NULL;
	}
	if (!m->graph) {
		snprintf(error, error_size, "not an ONNX model: it has no graph");
		onnx_free(m);
		return NULL;
	}
	return m;
}

struct Onnx__AttributeProto *onnx_attribute(const void *data, size_t size)
{
	const uint8_t *p = data, *end = p + size;
	uint64_t length;

	if (!varint(&p, end, &length) || length != (uint64_t)(end - p) ||
	    !depth_ok(&onnx__attribute_proto__descriptor, p, end, 0))
		return NULL;
	return onnx__attribute_proto__unpack(&allocator, (size_t)length, p);
}

const char *onnx_text(struct graph *g, const char *s)
{
	char *p = graph_strdup(g, s ? s : "");

	for (char *c = p; *c; c++)
		if ((unsigned char)*c < 32 || *c == 127)
			*c = '?';
	return p;
}

bool onnx_is_foreign(const char *domain)
{
	return domain && *domain && strcmp(domain, "ai.onnx");
}

int onnx_opset(struct graph *g, size_t num, struct Onnx__OperatorSetIdProto *const *o,
	       int64_t *version)
{
	*version = 0;
	for (size_t i = 0; i < num; i++) {
		if (onnx_is_foreign(o[i]->domain))
			continue; /* of use to nodes of that domain only */
		if (*version)
			return graph_error(g, "it says twice which version of ONNX it uses");
		*version = o[i]->has_version ? o[i]->version : 0;
	}
	return 0;
}

const char *onnx_type_name(int t)
{
	static const char *const names[] = {
		"undefined",	  "float",    "uint8",	      "int8",		"uint16",
		"int16",	  "int32",    "int64",	      "string",		"bool",
		"float16",	  "double",   "uint32",	      "uint64",		"complex64",
		"complex128",	  "bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2",
		"float8e5m2fnuz", "uint4",    "int4",	      "float4e2m1",	"float8e8m0",
		"uint2",	  "int2"
	};

	return t >= 0 && t < (int)(sizeof(names) / sizeof(names[0])) ? names[t] : "unknown";
}

/* Are there several elements to a byte? */
static bool is_packed(enum rdu_dtype type)
{
	return dtype_bits(type) < 8;
}

/* Elements of 2 or 4 bits, the first one in a byte's lowest bits. */
static void unpack(const Onnx__TensorProto *t, enum rdu_dtype type, int64_t n, uint8_t *to)
{
	int bits = dtype_bits(type), each = 8 / bits, spare = 8 - bits;

	for (int64_t i = 0; i < n; i++) {
		uint8_t byte = t->has_raw_data ? t->raw_data.data[i / each]
					       : (uint8_t)t->int32_data[i / each];
		uint8_t high = (uint8_t)(byte << (spare - bits * (int)(i % each)));

		to[i] = dtype_stored(type) == RDU_DT_I8 ? (uint8_t)((int8_t)high >> spare)
							: (uint8_t)(high >> spare);
	}
}

/* Elements in raw_data or in the field of their type. */
static void convert(const Onnx__TensorProto *t, int type, int64_t n, void *out)
{
	int size = dtype_bytes((enum rdu_dtype)type);
	char *to = out;

	if (is_packed((enum rdu_dtype)type)) {
		unpack(t, (enum rdu_dtype)type, n, out);
		return;
	}

	if (t->has_raw_data && n)
		copy_to_zeros(out, t->raw_data.data, (size_t)(n * size));
	for (int64_t i = 0; i < n; i++, to += size) {
		if (t->has_raw_data)
			;
		else if (type == 1)
			memcpy(to, &t->float_data[i], 4);
		else if (type == 11)
			memcpy(to, &t->double_data[i], 8);
		else if (type == 7)
			memcpy(to, &t->int64_data[i], 8);
		else if (type == 12 || type == 13)
			memcpy(to, &t->uint64_data[i], (size_t)size); /* little-endian */
		else
			memcpy(to, &t->int32_data[i], (size_t)size);
		if (type == 9)
			*to = *to != 0;
	}
}

/* The first element that its type has no room for; -1: none. */
static int64_t misfit(const Onnx__TensorProto *t, int type, int64_t n)
{
	int64_t lo = type == 3 ? INT8_MIN : type == 5 ? INT16_MIN : 0;
	int64_t hi = type == 3						 ? INT8_MAX
		     : type == 5					 ? INT16_MAX
		     : type == 2 || dtype_is_small((enum rdu_dtype)type) ? UINT8_MAX
									 : UINT16_MAX;

	for (int64_t i = 0; i < n && !t->has_raw_data; i++)
		if (type == 12 ? t->uint64_data[i] > UINT32_MAX
			       : dtype_bytes((enum rdu_dtype)type) < 4 && type != 9 &&
					 (t->int32_data[i] < lo || t->int32_data[i] > hi))
			return i;
	return -1;
}

struct value *onnx_tensor(struct graph *g, const Onnx__TensorProto *t, const char *what)
{
	int type = t->has_data_type ? t->data_type : 0;
	int size = dtype_bytes((enum rdu_dtype)type);
	int64_t n, have, bad, want, places;
	bool packed;
	struct value *v;

	if (!size) {
		graph_error(g, "%s has element type %s: not supported", what, onnx_type_name(type));
		return NULL;
	}
	if (t->segment) {
		graph_error(g, "%s is stored in segments: not supported", what);
		return NULL;
	}
	if (t->n_dims > RDU_MAX_DIMS) {
		graph_error(g, "%s has %zu dimensions, more than %d", what, t->n_dims,
			    RDU_MAX_DIMS);
		return NULL;
	}
	for (size_t i = 0; i < t->n_dims; i++)
		if (t->dims[i] < 0 || t->dims[i] > INT32_MAX) {
			graph_error(g, "%s has dimension %" PRId64, what, t->dims[i]);
			return NULL;
		}
	n = dims_count((int)t->n_dims, t->dims);
	if (n < 0) {
		graph_error(g, "%s has too many elements", what);
		return NULL;
	}
	packed = is_packed((enum rdu_dtype)type);
	places = packed ? (n * dtype_bits((enum rdu_dtype)type) + 7) / 8 : n;
	want = packed ? places : n * size;
	if (onnx_is_external(t)) {
		Onnx__TensorProto here = *t;

		here.n_external_data = 0;
		here.has_data_location = false;
		here.has_raw_data = true;
		here.raw_data.len = (size_t)want;
		here.raw_data.data = onnx_external(g, t, want, what);
		v = here.raw_data.data ? onnx_tensor(g, &here, what) : NULL;
		free(here.raw_data.data);
		return v;
	}
	if (t->has_raw_data) {
		have = (int64_t)t->raw_data.len;
		if (have != want) {
			graph_error(g, "%s has %" PRId64 " bytes of data, its shape says %" PRId64,
				    what, have, want);
			return NULL;
		}
	} else {
		have = type == 1		  ? (int64_t)t->n_float_data
		       : type == 11		  ? (int64_t)t->n_double_data
		       : type == 7		  ? (int64_t)t->n_int64_data
		       : type == 12 || type == 13 ? (int64_t)t->n_uint64_data
						  : (int64_t)t->n_int32_data;
		if (have != places) {
			graph_error(g, "%s has %" PRId64 " elements, its shape says %" PRId64, what,
				    have, places);
			return NULL;
		}
	}
	bad = misfit(t, type, places);
	if (bad >= 0) {
		graph_error(g, "%s: element %" PRId64 " does not fit %s", what, bad,
			    onnx_type_name(type));
		return NULL;
	}
	v = graph_const(g, (enum rdu_dtype)type, (int)t->n_dims, t->dims, NULL);
	convert(t, type, n, v->data);
	return v;
}

void onnx_drop_contents(Onnx__TensorProto *t)
{
	free(t->raw_data.data);
	t->raw_data = (ProtobufCBinaryData){ 0 };
}

/* As a dense tensor: its indices are those of elements, or of rows of one index a dimension. */
struct value *onnx_sparse_tensor(struct graph *g, const Onnx__SparseTensorProto *t,
				 const char *what)
{
	struct value *v = t->values ? onnx_tensor(g, t->values, what) : NULL;
	struct value *at = t->indices && v ? onnx_tensor(g, t->indices, what) : NULL, *out;
	int ndim = (int)t->n_dims, size = v ? dtype_bytes(v->dtype) : 0;
	bool rows = at && at->ndim == 2;
	int64_t count = t->n_dims <= RDU_MAX_DIMS ? dims_count(ndim, t->dims) : -1;

	if (!at || count < 0 || at->dtype != RDU_DT_I64 || v->ndim != 1 || at->ndim < 1 ||
	    at->ndim > 2 || at->dim[0] != v->dim[0] || (rows && at->dim[1] != ndim)) {
		graph_error(g, "%s is sparse, and its values, indices and shape do not fit", what);
		return NULL;
	}
	out = graph_const(g, v->dtype, ndim, t->dims, NULL);
	for (int64_t i = 0; i < v->dim[0]; i++) {
		const int64_t *row = (int64_t *)at->data + i * (rows ? ndim : 1);
		int64_t to = rows ? 0 : row[0];
		bool inside = true;

		for (int d = 0; rows && d < ndim; d++) {
			inside &= row[d] >= 0 && row[d] < t->dims[d];
			to = to * t->dims[d] + (inside ? row[d] : 0);
		}
		if (!inside || to < 0 || to >= count) {
			graph_error(g, "%s is sparse, and an index leaves it", what);
			return NULL;
		}
		memcpy((char *)out->data + to * size, (char *)v->data + i * size, (size_t)size);
	}
	return out;
}

/* 63 bytes is what a program file holds: cut, with a hash of the whole. */
void rduc_symbol_name(char out[64], const char *name)
{
	size_t n = strlen(name);

	memset(out, 0, 64);
	if (n < 64)
		memcpy(out, name, n);
	else
		snprintf(out, 64, RDU_LONG_NAME_FORMAT, name, RDU_LONG_NAME_HASH(name, n));
}

/* Files and pipes; a device may never end. */
static FILE *open_to_read(const char *path, char *error, int error_size)
{
	FILE *f = fopen(path, "rb");
	struct stat st;

	if (!f || fstat(fileno(f), &st)) {
		snprintf(error, error_size, "%s", strerror(errno));
	} else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
		snprintf(error, error_size, "is a device, not a file");
	} else if (S_ISDIR(st.st_mode)) {
		snprintf(error, error_size, "%s", strerror(EISDIR));
	} else if (S_ISREG(st.st_mode) && st.st_size > MAX_FILE) {
		snprintf(error, error_size,
			 "has %lld bytes: more than the 2 GiB that such a file can have",
			 (long long)st.st_size);
	} else {
		return f;
	}
	if (f)
		fclose(f);
	return NULL;
}

void *read_whole_file(const char *path, size_t *size, char *error, int error_size)
{
	FILE *f = open_to_read(path, error, error_size);
	char *data = NULL;
	size_t cap = 0;

	*size = 0;
	if (!f)
		return NULL;
	for (;;) {
		size_t got;

		if (*size > MAX_FILE) {
			snprintf(error, error_size,
				 "has more than the 2 GiB that such a file can have");
			goto fail;
		}
		if (*size + 1 >= cap) {
			char *more;

			cap = cap ? 2 * cap : 65536;
			more = realloc(data, cap);
			if (!more) {
				snprintf(error, error_size, "too large for this machine's memory");
				goto fail;
			}
			data = more;
		}
		got = fread(data + *size, 1, cap - *size - 1, f);
		*size += got;
		if (!got)
			break;
	}
	if (ferror(f)) {
		snprintf(error, error_size, "%s", strerror(errno));
		goto fail;
	}
	fclose(f);
	data[*size] = 0;
	return data;
fail:
	fclose(f);
	free(data);
	return NULL;
}

int write_whole_file(const char *path, const void *data, size_t size, char *error, int error_size)
{
	struct lr_outfile o;
	FILE *f = lr_outfile_open(&o, path);
	int ret;

	if (f)
		fwrite(data, 1, size, f); /* told at the end */
	ret = lr_outfile_close(&o);
	if (ret)
		snprintf(error, error_size, "%s: %s", path, strerror(-ret));
	return ret ? -1 : 0;
}
