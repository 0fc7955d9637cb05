/* SPDX-License-Identifier: MIT */
/*
 * Writing small ONNX models for tests: everything is allocated once, nothing is
 * freed before the process ends.
 *
 *	struct build *b = build_new();
 *	build_input(b, "x", (int64_t[]){ 4, 8, 0 });
 *	build_weight(b, "w", (int64_t[]){ 8, 3, 0 }, seed, scale);
 *	attr_add_int(build_node(b, "Gemm", "x w", "y"), "transB", 0);
 *	build_output(b, "y", (int64_t[]){ 4, 3, 0 });
 *	build_write(b, path);
 */
#ifndef TESTS_ONNX_BUILD_H
#define TESTS_ONNX_BUILD_H

#include "onnx_file.h"

struct build {
	Onnx__ModelProto model;
	Onnx__GraphProto graph;
	Onnx__OperatorSetIdProto opset;
	Onnx__OperatorSetIdProto *opsets[1];
	struct build *next; /* all there are, so that they count as in use */
};

/* Shapes end with 0. */
struct build *build_new(void);
void build_input(struct build *b, const char *name, const int64_t *dim);
void build_output(struct build *b, const char *name, const int64_t *dim);
/* Of any type (TensorProto.DataType), and any number of dimensions. */
void build_input_of(struct build *b, const char *name, int type, int ndim, const int64_t *dim);
void build_output_of(struct build *b, const char *name, int type, int ndim, const int64_t *dim);
/* An initializer; raw: its elements, row-major. */
Onnx__TensorProto *build_tensor(struct build *b, const char *name, int type, int ndim,
				const int64_t *dim, const void *raw, size_t size);
/* Random numbers in [-scale, scale), of a fixed seed. */
Onnx__TensorProto *build_weight(struct build *b, const char *name, const int64_t *dim,
				uint32_t seed, float scale);
void build_ints(struct build *b, const char *name, int n, const int64_t *v);
/* Names are separated by spaces; "-" is an optional input that is not given. */
Onnx__NodeProto *build_node(struct build *b, const char *op, const char *in, const char *out);
void attr_add_int(Onnx__NodeProto *n, const char *name, int64_t v);
void attr_add_ints(Onnx__NodeProto *n, const char *name, int num, const int64_t *v);
void attr_add_float(Onnx__NodeProto *n, const char *name, float v);
void attr_add_text(Onnx__NodeProto *n, const char *name, const char *v);
/* The model's bytes, malloc'ed. */
void *build_pack(struct build *b, size_t *size);
int build_write(struct build *b, const char *path);

#endif
