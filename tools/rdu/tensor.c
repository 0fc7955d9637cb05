// SPDX-License-Identifier: MIT
/*
 * Tensors in files: NumPy's .npy (format 1 and 2) and ONNX's TensorProto, read
 * strictly. Of the protobuf wire format only what TensorProto uses is here.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "rdu_tool.h"

struct reader {
	const char *path;
	char *error;
	size_t error_size;
};

static int bad(const struct reader *r, const char *format, ...)
{
	va_list args;
	int n = snprintf(r->error, r->error_size, "%s: ", r->path);

	va_start(args, format);
	if (n >= 0 && (size_t)n < r->error_size)
		vsnprintf(r->error + n, r->error_size - n, format, args);
	va_end(args);
	return -1;
}

static int read_all(const struct reader *r, unsigned char **data, size_t *size)
{
	FILE *f = fopen(r->path, "rb");
	size_t have = 0, room = 1 << 16;
	unsigned char *p = NULL;

	if (!f)
		return bad(r, "%s", strerror(errno));
	for (;;) {
		unsigned char *more = realloc(p, room);

		if (!more) {
			free(p);
			fclose(f);
			return bad(r, "out of memory");
		}
		p = more;
		have += fread(p + have, 1, room - have, f);
		if (have < room)
			break;
		room *= 2;
	}
	if (ferror(f)) {
		int error = errno;

		free(p);
		fclose(f);
		return bad(r, "%s", strerror(error));
	}
	fclose(f);
	*data = p;
	*size = have;
	return 0;
}

/* Elements from the dimensions; -1 if there are absurdly many. */
static int count_elements(const struct tensor *t, size_t *count)
{
	unsigned int d;

	*count = 1;
	for (d = 0; d < t->ndim; d++)
		if (t->dims[d] < 0 || __builtin_mul_overflow(*count, (size_t)t->dims[d], count) ||
		    *count >> 46)
			return -1;
	return 0;
}

static int set_data(const struct reader *r, struct tensor *t, const void *data, size_t size)
{
	size_t count;

	if (count_elements(t, &count))
		return bad(r, "the shape is too large");
	if (count * rdu_dtype_size(t->dtype) != size)
		return bad(r, "%zu bytes of data, but the shape says %zu", size,
			   count * rdu_dtype_size(t->dtype));
	t->size = size;
	t->data = malloc(size + 1);
	if (!t->data)
		return bad(r, "out of memory");
	memcpy(t->data, data, size);
	return 0;
}

/* ---- .npy -------------------------------------------------------------------------- */

static const struct {
	uint32_t dtype;
	const char *descr;
} npy_types[] = {
	{ RDU_DT_F32, "<f4" },
	{ RDU_DT_I64, "<i8" },
	{ RDU_DT_I32, "<i4" },
	{ RDU_DT_U8, "|u1" },
	{ RDU_DT_I8, "|i1" },
	{ RDU_DT_BOOL, "|b1" },
	{ RDU_DT_F16, "<f2" },
	{ RDU_DT_F64, "<f8" },
	{ RDU_DT_I16, "<i2" },
	{ RDU_DT_U32, "<u4" },
	{ RDU_DT_U64, "<u8" },
	{ RDU_DT_U16, "<u2" },
	/* NumPy has no such types: their bits, read as integers. */
	{ RDU_DT_BF16, "<u2" },
	{ RDU_DT_F8E4M3FN, "|u1" },
	{ RDU_DT_F8E4M3FNUZ, "|u1" },
	{ RDU_DT_F8E5M2, "|u1" },
	{ RDU_DT_F8E5M2FNUZ, "|u1" },
	{ RDU_DT_F8E8M0, "|u1" },
	{ RDU_DT_F4E2M1, "|u1" },
	{ RDU_DT_U4, "|u1" },
	{ RDU_DT_I4, "|i1" },
	{ RDU_DT_U2, "|u1" },
	{ RDU_DT_I2, "|i1" },
};

static const char *npy_descr(uint32_t dtype)
{
	for (size_t i = 0; i < sizeof(npy_types) / sizeof(npy_types[0]); i++)
		if (npy_types[i].dtype == dtype)
			return npy_types[i].descr;
	return NULL;
}

uint32_t tensor_npy_dtype(uint32_t dtype)
{
	const char *descr = npy_descr(dtype);
	size_t i = 0;

	while (descr && strcmp(npy_types[i].descr, descr))
		i++;
	return descr ? npy_types[i].dtype : 0;
}

static int read_npy(const struct reader *r, struct tensor *t, const unsigned char *p, size_t size)
{
	char header[4096], *at, *end;
	size_t n, start, i;

	if (size < 12 || (p[6] != 1 && p[6] != 2))
		return bad(r, "not a .npy file of format 1 or 2");
	n = p[8] | p[9] << 8;
	start = 10;
	if (p[6] == 2) {
		n |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
		start = 12;
	}
	if (n >= sizeof(header) || size - start < n)
		return bad(r, "the header is cut short");
	memcpy(header, p + start, n);
	header[n] = 0;
	if (!strstr(header, "'fortran_order': False"))
		return bad(r, "stored column-major (fortran_order): store it with "
			      "numpy.ascontiguousarray");
	at = strstr(header, "'descr': '");
	for (i = 0; at && i < sizeof(npy_types) / sizeof(npy_types[0]); i++)
		if (!strncmp(at + 10, npy_types[i].descr, 3) && at[13] == '\'')
			break;
	if (!at || i == sizeof(npy_types) / sizeof(npy_types[0]))
		return bad(r,
			   "type %.8s: there are float16, 32 and 64, int and uint of 8, 16, 32 "
			   "and 64 bits, and bool",
			   at ? at + 9 : "?");
	t->dtype = npy_types[i].dtype;
	at = strstr(header, "'shape': (");
	if (!at)
		return bad(r, "no shape");
	for (at += 10, t->ndim = 0; *at != ')'; at = end) {
		if (t->ndim == RDU_MAX_DIMS)
			return bad(r, "more than %u dimensions", RDU_MAX_DIMS);
		errno = 0;
		t->dims[t->ndim++] = strtoll(at, &end, 10);
		if (end == at || errno)
			return bad(r, "the shape is damaged");
		while (*end == ',' || *end == ' ')
			end++;
	}
	return set_data(r, t, p + start + n, size - start - n);
}

static void write_npy(FILE *f, const struct tensor *t)
{
	char shape[256] = "", header[512];
	size_t at = 0;
	unsigned int d, n;

	for (d = 0; d < t->ndim; d++)
		at += snprintf(shape + at, sizeof(shape) - at, "%lld%s", (long long)t->dims[d],
			       t->ndim == 1	 ? ","
			       : d + 1 < t->ndim ? ", "
						 : "");
	n = snprintf(header, sizeof(header),
		     "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
		     npy_descr(t->dtype), shape);
	while ((10 + n + 1) % 64)
		header[n++] = ' ';
	header[n++] = '\n';
	fwrite("\x93NUMPY\x01\x00", 1, 8, f);
	fputc(n & 255, f);
	fputc(n >> 8, f);
	fwrite(header, 1, n, f);
	fwrite(t->data, 1, t->size, f);
}

/* ---- TensorProto ---------------------------------------------------------------------- */

/* onnx.proto: message TensorProto */
enum {
	DIMS = 1,
	DATA_TYPE = 2,
	SEGMENT = 3,
	FLOAT_DATA = 4,
	INT32_DATA = 5,
	STRING_DATA = 6,
	INT64_DATA = 7,
	NAME = 8,
	RAW_DATA = 9,
	DOUBLE_DATA = 10,
	UINT64_DATA = 11,
	EXTERNAL_DATA = 13,
	DATA_LOCATION = 14
};

static bool varint(const unsigned char **p, const unsigned char *end, uint64_t *value)
{
	unsigned int shift;

	*value = 0;
	for (shift = 0; shift < 64 && *p < end; shift += 7) {
		unsigned char b = *(*p)++;

		*value |= (uint64_t)(b & 127) << shift;
		if (!(b & 128))
			return shift < 63 || b < 2;
	}
	return false;
}

struct values { /* of one of the typed fields */
	unsigned char *data;
	size_t size, room;
};

static bool append(struct values *v, const void *data, size_t size)
{
	while (v->size + size > v->room) {
		unsigned char *more = realloc(v->data, v->room ? 2 * v->room : 256);

		if (!more)
			return false;
		v->data = more;
		v->room = v->room ? 2 * v->room : 256;
	}
	memcpy(v->data + v->size, data, size);
	v->size += size;
	return true;
}

/* Which field keeps elements of a type, if not the raw one. */
static unsigned int field_of(uint32_t dtype)
{
	switch (dtype) {
	case RDU_DT_F32:
		return FLOAT_DATA;
	case RDU_DT_F64:
		return DOUBLE_DATA;
	case RDU_DT_I64:
		return INT64_DATA;
	case RDU_DT_U32:
	case RDU_DT_U64:
		return UINT64_DATA;
	}
	return INT32_DATA;
}

/* int32_data, int64_data and uint64_data: false if the number is none of the tensor's type, too. */
static bool append_integer(struct values *v, uint32_t dtype, uint64_t value)
{
	int64_t n = (int64_t)value, least = 0, most = UINT8_MAX;

	if (dtype == RDU_DT_U64)
		return append(v, &value, 8);

	switch (dtype) {
	case RDU_DT_I8:
		least = INT8_MIN;
		most = INT8_MAX;
		break;
	case RDU_DT_BOOL:
		most = 1;
		break;
	case RDU_DT_BF16: /* its bits */
	case RDU_DT_F16:
	case RDU_DT_U16:
		most = UINT16_MAX;
		break;
	case RDU_DT_I16:
		least = INT16_MIN;
		most = INT16_MAX;
		break;
	case RDU_DT_I32:
		least = INT32_MIN;
		most = INT32_MAX;
		break;
	case RDU_DT_U32:
		most = UINT32_MAX;
		break;
	case RDU_DT_I64:
		least = INT64_MIN;
		most = INT64_MAX;
		break;
	}
	return n >= least && n <= most &&
	       append(v, &value, rdu_dtype_size(dtype)); /* little-endian */
}

/* A TensorProto has several elements of these in a byte. */
static int check_packed(const struct reader *r, uint32_t dtype)
{
	switch (dtype) {
	case RDU_DT_U4:
	case RDU_DT_I4:
	case RDU_DT_F4E2M1:
	case RDU_DT_U2:
	case RDU_DT_I2:
		return bad(r, "%s is packed in a TensorProto: not supported, use a .npy file",
			   rdu_dtype_name(dtype));
	}
	return 0;
}

static int read_proto(const struct reader *r, struct tensor *t, const unsigned char *p, size_t size)
{
	const unsigned char *end = p + size, *raw = NULL;
	struct values floats = { 0 }, ints = { 0 };
	size_t raw_size = 0;
	int ret = -1;
	int pass;

	/* The type may come after the numbers: it is looked for first. */
	for (pass = 0; pass < 2; pass++) {
		const unsigned char *at = p;

		while (at < end) {
			const unsigned char *data = at;
			uint64_t tag, v = 0, n = 0;

			if (!varint(&at, end, &tag))
				goto damaged;
			switch (tag & 7) {
			case 0:
				if (!varint(&at, end, &v))
					goto damaged;
				break;
			case 2:
				if (!varint(&at, end, &n) || n > (size_t)(end - at))
					goto damaged;
				data = at;
				at += n;
				break;
			case 1:
			case 5:
				n = (tag & 7) == 1 ? 8 : 4;
				data = at;
				if ((size_t)(end - at) < n ||
				    tag >> 3 != (n == 8 ? DOUBLE_DATA : FLOAT_DATA))
					goto damaged;
				at += n;
				break;
			default:
				goto damaged;
			}
			if (!pass) {
				if (tag == (DATA_TYPE << 3))
					t->dtype = v;
				continue;
			}
			switch (tag >> 3) {
			case DIMS:
				while ((tag & 7) == 0 || data < at) {
					if ((tag & 7) == 2 && !varint(&data, at, &v))
						goto damaged;
					if (t->ndim == RDU_MAX_DIMS)
						goto damaged;
					t->dims[t->ndim++] = v;
					if ((tag & 7) == 0)
						break;
				}
				break;
			case FLOAT_DATA:
			case DOUBLE_DATA:
				if ((tag & 7) == 0 || n % rdu_dtype_size(t->dtype) ||
				    tag >> 3 != field_of(t->dtype) || !append(&floats, data, n))
					goto damaged;
				break;
			case INT32_DATA:
			case INT64_DATA:
			case UINT64_DATA:
				if (tag >> 3 != field_of(t->dtype))
					goto damaged;
				while ((tag & 7) == 0 || data < at) {
					if ((tag & 7) == 2 && !varint(&data, at, &v))
						goto damaged;
					if (!append_integer(&ints, t->dtype, v))
						goto damaged;
					if ((tag & 7) == 0)
						break;
				}
				break;
			case RAW_DATA:
				if ((tag & 7) != 2 || raw)
					goto damaged;
				raw = data;
				raw_size = n;
				break;
			case SEGMENT:
			case STRING_DATA:
			case EXTERNAL_DATA:
				bad(r, "segments, strings and external data are not supported");
				goto out;
			case DATA_LOCATION:
				if (v)
					goto damaged;
				break;
			}
		}
		if (!pass && !rdu_dtype_size(t->dtype)) {
			bad(r,
			    "%s type %u: there are float16, 32 and 64, bfloat16, int and uint of "
			    "8, 16, 32 and 64 bits, and bool",
			    t->dtype ? "ONNX" : "not a TensorProto, or", t->dtype);
			goto out;
		}
		if (!pass && check_packed(r, t->dtype))
			goto out;
	}
	if (!!raw + !!floats.size + !!ints.size > 1)
		goto damaged;
	if (raw)
		ret = set_data(r, t, raw, raw_size);
	else if (floats.size)
		ret = set_data(r, t, floats.data, floats.size);
	else
		ret = set_data(r, t, ints.data ? ints.data : (unsigned char *)"", ints.size);
	goto out;
damaged:
	bad(r, "a damaged ONNX TensorProto (and not a .npy file)");
out:
	free(floats.data);
	free(ints.data);
	return ret;
}

static void put_varint(FILE *f, uint64_t v)
{
	while (v > 127) {
		fputc((v & 127) | 128, f);
		v >>= 7;
	}
	fputc(v, f);
}

static void write_proto(FILE *f, const char *name, const struct tensor *t)
{
	unsigned int d;

	for (d = 0; d < t->ndim; d++) {
		put_varint(f, DIMS << 3);
		put_varint(f, t->dims[d]);
	}
	put_varint(f, DATA_TYPE << 3);
	put_varint(f, t->dtype);
	put_varint(f, NAME << 3 | 2);
	put_varint(f, strlen(name));
	fputs(name, f);
	put_varint(f, RAW_DATA << 3 | 2);
	put_varint(f, t->size);
	fwrite(t->data, 1, t->size, f);
}

/* ---- either ---------------------------------------------------------------------------- */

int tensor_read(const char *path, struct tensor *t, char *error, size_t error_size)
{
	struct reader r = { path, error, error_size };
	unsigned char *data = NULL;
	size_t size = 0;
	int ret;

	memset(t, 0, sizeof(*t));
	if (read_all(&r, &data, &size))
		return -1;
	if (size >= 8 && !memcmp(data, "\x93NUMPY", 6))
		ret = read_npy(&r, t, data, size);
	else
		ret = read_proto(&r, t, data, size);
	free(data);
	return ret;
}

static bool is_proto(const char *path)
{
	size_t n = strlen(path);

	return n > 3 && !strcmp(path + n - 3, ".pb");
}

int tensor_write(const char *path, const char *name, const struct tensor *t, char *error,
		 size_t error_size)
{
	struct reader r = { path, error, error_size };
	struct lr_outfile o;
	FILE *f;
	int ret;

	if (!rdu_dtype_size(t->dtype))
		return bad(&r, "unknown type %u", t->dtype);
	if (is_proto(path) && check_packed(&r, t->dtype))
		return -1;
	f = lr_outfile_open(&o, path);
	if (f && is_proto(path))
		write_proto(f, name, t);
	else if (f)
		write_npy(f, t);
	ret = lr_outfile_close(&o); /* of all writes */
	return ret ? bad(&r, "%s", strerror(-ret)) : 0;
}
