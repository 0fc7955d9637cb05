/* SPDX-License-Identifier: MIT */
/*
 * Reading ONNX files and IDX data for the tests. Written apart from the
 * compiler's importer on purpose: what judges it shares no code with it.
 */
#ifndef TESTS_ONNX_FILE_H
#define TESTS_ONNX_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "onnx.pb-c.h"

#define MAX_DIMS 8

struct value {
	int ndim;
	int64_t dim[MAX_DIMS];
	int type; /* TensorProto.DataType of `raw` */
	int64_t count; /* elements */
	void *raw;     /* row-major, in `type`; malloc'ed */
};

/* Whole file, malloc'ed, or NULL with errno. */
void *read_file(const char *path, size_t *size);
/* NULL with a message on stderr. Freed by onnx__model_proto__free_unpacked. */
Onnx__ModelProto *model_read(const char *path);
/* Bytes of an element, 0 if the type is not one we know. */
size_t type_size(int type);
const char *type_name(int type);
/* 0, or -1: a type we do not know, or a size that does not fit the shape. */
int value_from_proto(struct value *v, const Onnx__TensorProto *t);
/* A file with one TensorProto; `name` may be NULL, else is malloc'ed. */
int value_read(struct value *v, const char *path, char **name);
void value_free(struct value *v);
/* Element i as a number. */
double value_get(const struct value *v, int64_t i);

const Onnx__AttributeProto *node_attr(const Onnx__NodeProto *n, const char *name);
int64_t attr_int(const Onnx__NodeProto *n, const char *name, int64_t otherwise);
float attr_float(const Onnx__NodeProto *n, const char *name, float otherwise);
/* Copies up to `max` integers; returns how many the attribute holds. */
int attr_ints(const Onnx__NodeProto *n, const char *name, int64_t *out, int max);
bool attr_is(const Onnx__NodeProto *n, const char *name, const char *text);

/* IDX file, plain or gzip'ed, of unsigned bytes. dim[0] is the number of items.
 * NULL with a message on stderr. */
uint8_t *idx_read(const char *path, int *ndim, int64_t dim[MAX_DIMS]);

#endif
