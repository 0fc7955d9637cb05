// SPDX-License-Identifier: MIT
/*
 * Integers and NaN: what each operator gives, or that it stops and why. Each case
 * is one operator, run by the plain interpreter of nests, with its inputs as
 * constants (folded), and on the fabric of a wide and a narrow chip at every
 * level of optimisation, alone and with two threads.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include "graph.h"
#include "rduc_back_run.h"
#include "tap.h"

#define F32 RDU_DT_F32
#define BF16 RDU_DT_BF16
#define I64 RDU_DT_I64
#define I32 RDU_DT_I32
#define I8 RDU_DT_I8
#define U8 RDU_DT_U8
#define BOOL RDU_DT_BOOL
#define F16 RDU_DT_F16
#define F64 RDU_DT_F64
#define U16 RDU_DT_U16
#define I16 RDU_DT_I16
#define U32 RDU_DT_U32
#define U64 RDU_DT_U64

#define MAX_ELEMENTS 24

/* Values as double: all that is used here is exact. */
struct array {
	enum rdu_dtype dtype;
	int ndim;
	int64_t dim[4];
	int num;
	double v[MAX_ELEMENTS];
	bool constant;
	int trap; /* of what is wanted: enum rdu_trap; OUTSIDE: fault BOUNDS */
};

#define NUM(...) ((int)(sizeof((double[]){ __VA_ARGS__ }) / sizeof(double)))
#define A(t, ...)                                                                       \
	{                                                                               \
		t, 1, { NUM(__VA_ARGS__) }, NUM(__VA_ARGS__), { __VA_ARGS__ }, false, 0 \
	}
#define K(t, ...)                                                                      \
	{                                                                              \
		t, 1, { NUM(__VA_ARGS__) }, NUM(__VA_ARGS__), { __VA_ARGS__ }, true, 0 \
	}
#define M(t, rows, cols, ...)                                                     \
	{                                                                         \
		t, 2, { rows, cols }, NUM(__VA_ARGS__), { __VA_ARGS__ }, false, 0 \
	}
#define STOPS(why)                                  \
	{                                           \
		F32, 0, { 0 }, 0, { 0 }, false, why \
	}

struct test {
	const char *op;
	const char *attr; /* an integer attribute, its value in at */
	int64_t at;
	struct array in[3];
	struct array want;
};

#define OUTSIDE 1000

static const struct test tests[] = {
	/* ---- conversions ---- */
	{ "Cast",
	  "to",
	  I8,
	  { A(I32, 200, -200, 127, 128, -129, 300, -1) },
	  A(I8, -56, 56, 127, -128, 127, 44, -1) },
	{ "Cast", "to", U8, { A(I32, 300, -1, 255, 256, 5) }, A(U8, 44, 255, 255, 0, 5) },
	{ "Cast", "to", U8, { A(I8, -1, 5, -128) }, A(U8, 255, 5, 128) },
	{ "Cast", "to", I8, { A(U8, 255, 5, 128) }, A(I8, -1, 5, -128) },
	{ "Cast", "to", I8, { A(I64, 200, -200, 5) }, A(I8, -56, 56, 5) },
	{ "Cast",
	  "to",
	  I32,
	  { A(I64, 2147483647, -2147483648.0, 5) },
	  A(I32, 2147483647, -2147483648.0, 5) },
	{ "Cast",
	  "to",
	  I64,
	  { A(I32, 2147483647, -2147483648.0, 5) },
	  A(I64, 2147483647, -2147483648.0, 5) },
	{ "Cast", "to", I32, { A(BOOL, 1, 0, 1) }, A(I32, 1, 0, 1) },
	{ "Cast", "to", BOOL, { A(I32, 256, 0, -1) }, A(BOOL, 1, 0, 1) },
	{ "Cast", "to", BOOL, { A(I64, 7, 0, -1) }, A(BOOL, 1, 0, 1) },
	{ "Cast",
	  "to",
	  BOOL,
	  { A(F32, NAN, 0, -0.0, 0.25, -INFINITY, 1e-40) },
	  A(BOOL, 1, 0, 0, 1, 1, 1) },
	{ "Cast", "to", I8, { A(F32, 200, -129.9, 1.9, -1.9, 1e10) }, A(I8, -56, 127, 1, -1, -1) },
	{ "Cast", "to", U8, { A(F32, 300, -1.5, 255.9, NAN) }, A(U8, 44, 255, 255, 0) },
	{ "Cast",
	  "to",
	  I32,
	  { A(F32, 1e10, -1e10, 3.9, -3.9, NAN) },
	  A(I32, 2147483647, -2147483648.0, 3, -3, 0) },
	{ "Cast",
	  "to",
	  I64,
	  { A(F32, 2147483520, -2147483648.0, 3.9, -3.9) },
	  A(I64, 2147483520, -2147483648.0, 3, -3) },
	{ "Cast", "to", I64, { A(F32, 1, 3e9) }, STOPS(RDU_TRAP_CONVERT) },
	{ "Cast", "to", I64, { A(F32, 1, -3e9) }, STOPS(RDU_TRAP_CONVERT) },
	{ "Cast", "to", I64, { A(F32, 1, NAN) }, STOPS(RDU_TRAP_CONVERT) },
	{ "Cast", "to", F32, { A(I64, 2147483647, -7) }, A(F32, 2147483648.0, -7) },
	{ "Cast", "to", F32, { A(I64, 1, 3e9) }, STOPS(RDU_TRAP_LOAD) },
	{ "Cast",
	  "to",
	  I32,
	  { A(I64, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, -2147483649.0) },
	  STOPS(RDU_TRAP_LOAD) },
	{ "Cast", "to", BF16, { A(I32, 257, -3) }, A(BF16, 256, -3) },
	{ "Cast", "to", I32, { A(BF16, 256, -3.5) }, A(I32, 256, -3) },
	/* ---- arithmetic ---- */
	{ "Add", NULL, 0, { A(U8, 200, 1, 255), A(U8, 100, 2, 1) }, A(U8, 44, 3, 0) },
	{ "Add", NULL, 0, { A(I8, 127, -128, 5), A(I8, 1, -1, -6) }, A(I8, -128, 127, -1) },
	{ "Add", NULL, 0, { A(I32, 2147483647, -5), A(I32, 1, 3) }, A(I32, -2147483648.0, -2) },
	{ "Sub", NULL, 0, { A(U8, 1, 5), A(U8, 2, 3) }, A(U8, 255, 2) },
	{ "Sub", NULL, 0, { A(I8, -128, 5), A(I8, 1, 3) }, A(I8, 127, 2) },
	{ "Mul", NULL, 0, { A(U8, 16, 5, 255), A(U8, 16, 3, 255) }, A(U8, 0, 15, 1) },
	{ "Mul", NULL, 0, { A(I8, 16, 64, -128), A(I8, 8, 4, -1) }, A(I8, -128, 0, -128) },
	{ "Mul", NULL, 0, { A(I32, 65536, 3), A(I32, 65536, -7) }, A(I32, 0, -21) },
	{ "Neg", NULL, 0, { A(I8, -128, 5, -5) }, A(I8, -128, -5, 5) },
	{ "Abs", NULL, 0, { A(I8, -128, 5, -5) }, A(I8, -128, 5, 5) },
	{ "Abs", NULL, 0, { A(U8, 200, 5) }, A(U8, 200, 5) },
	{ "Abs", NULL, 0, { A(I32, -2147483648.0, -5) }, A(I32, -2147483648.0, 5) },
	{ "Relu", NULL, 0, { A(I8, -128, 5) }, A(I8, 0, 5) },
	{ "Sign", NULL, 0, { A(I8, -128, 5, 0) }, A(I8, -1, 1, 0) },
	{ "Max", NULL, 0, { A(U8, 200, 5), A(U8, 100, 250) }, A(U8, 200, 250) },
	{ "Min", NULL, 0, { A(I8, -128, 5), A(I8, 100, -2) }, A(I8, -128, -2) },
	{ "Clip", NULL, 0, { A(I8, -100, 5, 100), K(I8, -50), K(I8, 50) }, A(I8, -50, 5, 50) },
	{ "Clip", NULL, 0, { A(F32, 0, 3, NAN), K(F32, 4), K(F32, 2) }, A(F32, 2, 2, NAN) },
	{ "Clip", NULL, 0, { A(F32, INFINITY, -INFINITY, 1), K(F32, -2) }, A(F32, FLT_MAX, -2, 1) },
	{ "Clip", NULL, 0, { A(F32, INFINITY, -INFINITY, NAN) }, A(F32, FLT_MAX, -FLT_MAX, NAN) },
	{ "Where", NULL, 0, { A(BOOL, 1, 0), A(I8, -128, 5), A(I8, 100, -2) }, A(I8, -128, -2) },
	{ "Less", NULL, 0, { A(U8, 200, 5), A(U8, 100, 250) }, A(BOOL, 0, 1) },
	{ "Div",
	  NULL,
	  0,
	  { K(I32, 8, -8, 7, -7, -2147483648.0), K(I32, -3, 3, -2, 2, -1) },
	  A(I32, -2, -2, -3, -3, -2147483648.0) },
	{ "Div", NULL, 0, { K(I8, -128, 7), K(I8, -1, -2) }, A(I8, -128, -3) },
	{ "Div",
	  NULL,
	  0,
	  { A(I32, 8, -8, 7, -7, -2147483648.0, -2147483648.0, -2147483648.0, 2147483647,
	      2147483647, 2147483647, -2147483647, 1073741824, 2147483647, 2147483646, 1999999999,
	      0),
	    A(I32, -3, 3, -2, 2, -1, 1, -2147483648.0, -2147483648.0, 1, 2147483647, 2147483647,
	      -2147483648.0, 46341, 2, 1000000000, -7) },
	  A(I32, -2, -2, -3, -3, -2147483648.0, -2147483648.0, 1, 0, 2147483647, 1, -1, 0, 46340,
	    1073741823, 1, 0) },
	{ "Div", NULL, 0, { A(I8, -128, 7, 127), A(I8, -1, -2, 127) }, A(I8, -128, -3, 1) },
	{ "Div", NULL, 0, { A(U8, 255, 254, 7), A(U8, 2, 255, 200) }, A(U8, 127, 0, 0) },
	{ "Div", NULL, 0, { A(I64, 100, -100, 7), A(I64, 7, 7, -2) }, A(I64, 14, -14, -3) },
	{ "Div",
	  NULL,
	  0,
	  { M(I32, 2, 3, 9, -9, 8, 7, 1, 0), A(I32, 2, 4, -3) },
	  M(I32, 2, 3, 4, -2, -2, 3, 0, 0) },
	{ "Div", NULL, 0, { K(I64, -2147483648.0, 7), A(I64, -1, 1) }, STOPS(RDU_TRAP_INT64) },
	{ "Div", NULL, 0, { A(I32, 1, 5, 3), A(I32, 1, 0, 3) }, STOPS(RDU_TRAP_DIVIDE) },
	{ "Mod",
	  NULL,
	  0,
	  { A(I32, 7, -7, 7, -7, -2147483648.0, -2147483648.0, 2147483647, -2147483647, 6),
	    A(I32, 3, 3, -3, -3, -1, 2147483647, -2147483648.0, -2147483648.0, -3) },
	  A(I32, 1, 2, -2, -1, 0, 2147483646, -1, -2147483647, 0) },
	{ "Mod",
	  "fmod",
	  1,
	  { A(I32, 7, -7, 7, -7, -2147483648.0, 2147483647),
	    A(I32, 3, 3, -3, -3, 10, -2147483648.0) },
	  A(I32, 1, -1, 1, -1, -8, 2147483647) },
	/* Halves, which only a quotient rounded as IEEE has: 0.25 / 0.1 is 2.5 in fp32. */
	{ "QuantizeLinear",
	  NULL,
	  0,
	  { A(F32, 0.25f, 0.35f, 0.05f, 0.75f, -0.25f, -12.75f, 12.65f, 1e30, -INFINITY, NAN),
	    K(F32, 0.1f), K(U8, 128) },
	  A(U8, 130, 132, 128, 136, 126, 0, 254, 255, 0, 128) },
	{ "QuantizeLinear",
	  "axis",
	  0,
	  { M(F32, 3, 2, 5, -7, 5, -7, 1.5, 2.5), K(F32, 2, -2, 1), K(I8, 0, 1, 127) },
	  M(I8, 3, 2, 2, -4, -1, 5, 127, 127) },
	{ "QuantizeLinear", NULL, 0, { A(I32, 5, -300, 7), K(F32, 2) }, A(U8, 2, 0, 4) },
	{ "DequantizeLinear",
	  "axis",
	  0,
	  { M(U8, 2, 2, 0, 255, 5, 7), K(F32, 0.5, 2), K(U8, 255, 5) },
	  M(F32, 2, 2, -127.5, 0, 0, 4) },
	{ "DequantizeLinear",
	  NULL,
	  0,
	  { A(I8, -128, 127), A(F32, 0.25), K(I8, 127) },
	  A(F32, -63.75, 0) },
	{ "OneHot",
	  "axis",
	  0,
	  { A(F32, 1, -1, 7), K(F32, 3), A(F32, -2, 5) },
	  M(F32, 3, 3, -2, -2, -2, 5, -2, -2, -2, 5, -2) },
	{ "Range",
	  NULL,
	  0,
	  { { F32, 0, { 0 }, 1, { 1.5 }, true, 0 },
	    { F32, 0, { 0 }, 1, { -1 }, true, 0 },
	    { F32, 0, { 0 }, 1, { -0.75 }, true, 0 } },
	  A(F32, 1.5, 0.75, 0, -0.75) },
	{ "ReduceProd", NULL, 0, { A(I32, 65537, 3, -5, 7, 65537, 1, 11) }, A(I32, -151389315.0) },
	{ "ReduceProd", "keepdims", 0, { A(U8, 7, 16, 3) }, { U8, 0, { 0 }, 1, { 80 }, false, 0 } },
	{ "Hardmax",
	  NULL,
	  0,
	  { M(F32, 2, 3, 1, 3, 3, NAN, 5, 6) },
	  M(F32, 2, 3, 0, 1, 0, 1, 0, 0) },
	{ "EyeLike", "k", -1, { M(I64, 3, 2, 9, 9, 9, 9, 9, 9) }, M(I64, 3, 2, 0, 0, 1, 0, 0, 1) },
	{ "Mod", NULL, 0, { A(U8, 255, 200, 7), A(U8, 16, 7, 200) }, A(U8, 15, 4, 7) },
	{ "Mod", NULL, 0, { A(I8, -128, 127), A(I8, 7, -128) }, A(I8, 5, -1) },
	{ "Mod", NULL, 0, { K(I64, 1099511627777.0, -7, -7), K(I64, 4, 4, -4) }, A(I64, 1, 1, -3) },
	{ "Mod", NULL, 0, { K(I64, 7), A(I64, 4, 0) }, STOPS(RDU_TRAP_DIVIDE) },
	{ "Pow",
	  NULL,
	  0,
	  { A(I32, 46341, -3, 5000), K(I32, 2) },
	  A(I32, -2147479015.0, 9, 25000000) },
	{ "Pow", NULL, 0, { A(I32, 7, -3, 11), K(F32, 7) }, A(I32, 823543, -2187, 19487171) },
	{ "Pow", NULL, 0, { A(U8, 7, 16, 3), K(U8, 3) }, A(U8, 87, 0, 27) },
	{ "Pow",
	  NULL,
	  0,
	  { A(I32, 3, -2, 2, 2, -1, 7, 0, 1), A(I32, 19, 31, 32, 40, 1001, 0, 0, -0.0) },
	  A(I32, 1162261467, -2147483648.0, 0, 0, -1, 1, 1, 1) },
	{ "Pow", NULL, 0, { A(I32, 2, 3), A(I32, 3, -1) }, STOPS(RDU_TRAP_POWER) },
	{ "Pow", NULL, 0, { A(I32, 2, 3), A(I32, 3, 34) }, STOPS(RDU_TRAP_POWER) },
	{ "Pow",
	  NULL,
	  0,
	  { A(I32, 3, 8, 10, 8), A(F32, 0.5, 0.5, 2.5, 2) },
	  A(I32, 1, 2, 316, 64) },
	{ "Pow",
	  NULL,
	  0,
	  { A(I64, 46340, -3, 2147483647, 3), A(I64, 2, 3, 1, 19) },
	  A(I64, 2147395600, -27, 2147483647, 1162261467) },
	{ "Pow", NULL, 0, { A(I64, 46341, -3), A(I64, 2, 3) }, STOPS(RDU_TRAP_INT64) },
	{ "Pow", NULL, 0, { A(I64, 46341, -3), K(I64, 2) }, STOPS(RDU_TRAP_INT64) },
	{ "Pow", NULL, 0, { A(I64, 1290, -3), K(I64, 3) }, A(I64, 2146689000, -27) },
	/* ---- int64: what does not fit stops ---- */
	{ "Add", NULL, 0, { A(I64, 2147483647, -5), A(I64, -1, 3) }, A(I64, 2147483646, -2) },
	{ "Add", NULL, 0, { A(I64, 2147483647, -5), A(I64, 1, 3) }, STOPS(RDU_TRAP_INT64) },
	{ "Add", NULL, 0, { A(I64, 0, -2147483648.0), A(I64, 1, -1) }, STOPS(RDU_TRAP_INT64) },
	{ "Sub", NULL, 0, { A(I64, 0, -2147483648.0), A(I64, 1, -1) }, A(I64, -1, -2147483647) },
	{ "Sub", NULL, 0, { A(I64, 0, -2147483648.0), A(I64, 1, 1) }, STOPS(RDU_TRAP_INT64) },
	{ "Mul",
	  NULL,
	  0,
	  { A(I64, 46340, 65536, 3), A(I64, 46340, -32768, -7) },
	  A(I64, 2147395600, -2147483648.0, -21) },
	{ "Mul", NULL, 0, { A(I64, 100000, 3), A(I64, 100000, 4) }, STOPS(RDU_TRAP_INT64) },
	{ "Mul", NULL, 0, { A(I64, 65536, 3), A(I64, 32768, 4) }, STOPS(RDU_TRAP_INT64) },
	{ "Neg", NULL, 0, { A(I64, 1, -2147483648.0) }, STOPS(RDU_TRAP_INT64) },
	{ "Abs", NULL, 0, { A(I64, 1, -2147483648.0) }, STOPS(RDU_TRAP_INT64) },
	{ "Neg", NULL, 0, { A(I64, 1, -2147483647) }, A(I64, -1, 2147483647) },
	{ "Equal", NULL, 0, { A(I64, 1099511627776.0, 5), A(I64, 0, 5) }, STOPS(RDU_TRAP_LOAD) },
	{ "Identity", NULL, 0, { A(I64, 4294967301.0, 5) }, STOPS(RDU_TRAP_LOAD) },
	/* Lanes that only fill up a vector: 0 + 2147483647 + 1 would not fit. */
	{ "Add+Add",
	  NULL,
	  0,
	  { A(I64, -1, -2, -3, -4, -5), K(I64, 2147483647), K(I64, 1) },
	  A(I64, 2147483647, 2147483646, 2147483645, 2147483644, 2147483643) },
	{ "Add+Add",
	  NULL,
	  0,
	  { A(I64, -1, -2, -3, -4, 0), K(I64, 2147483647), K(I64, 1) },
	  STOPS(RDU_TRAP_INT64) },
	/* ---- constants are computed as ONNX says, in 64 bits ---- */
	{ "Add",
	  NULL,
	  0,
	  { K(I64, 1099511627776.0, 5), K(I64, -1099511627770.0, 3) },
	  A(I64, 6, 8) },
	{ "Add",
	  NULL,
	  0,
	  { K(I64, 1099511627776.0, 5), K(I64, 1, 3) },
	  A(I64, 1099511627777.0, 8) },
	{ "Mul", NULL, 0, { K(I64, 100000, -70000), K(I64, 100000, 70000) }, A(I64, 1e10, -4.9e9) },
	{ "Cast", "to", I32, { K(I64, 4294967301.0, -1) }, A(I32, 5, -1) },
	{ "Cast", "to", U8, { K(I64, 1099511627777.0, -1) }, A(U8, 1, 255) },
	{ "Cast", "to", F32, { K(I64, 3e9, -1) }, A(F32, 3e9, -1) },
	{ "Cast", "to", I64, { K(F32, 3e9, -1.5) }, A(I64, 3e9, -1) },
	{ "Cast", "to", BOOL, { K(I64, 4294967296.0, 0) }, A(BOOL, 1, 0) },
	{ "Neg", NULL, 0, { K(I64, 1099511627776.0, 5) }, A(I64, -1099511627776.0, -5) },
	{ "Less",
	  NULL,
	  0,
	  { K(I64, 1099511627776.0, 5), K(I64, 5, 1099511627776.0) },
	  A(BOOL, 0, 1) },
	{ "Div",
	  NULL,
	  0,
	  { K(I64, 1099511627776.0, -7), K(I64, 4, 2) },
	  A(I64, 274877906944.0, -3) },
	{ "Identity", NULL, 0, { K(I64, 1099511627776.0, 5) }, A(I64, 1099511627776.0, 5) },
	/* ---- indices ---- */
	{ "Gather",
	  NULL,
	  0,
	  { M(F32, 3, 2, 0, 1, 2, 3, 4, 5), A(I64, -1, 0, -3, 2) },
	  M(F32, 4, 2, 4, 5, 0, 1, 0, 1, 4, 5) },
	{ "Gather",
	  NULL,
	  0,
	  { M(F32, 3, 2, 0, 1, 2, 3, 4, 5), A(I64, 0, 4294967297.0) },
	  STOPS(RDU_TRAP_LOAD) },
	{ "Gather", NULL, 0, { M(F32, 3, 2, 0, 1, 2, 3, 4, 5), A(I64, 0, 3) }, STOPS(OUTSIDE) },
	{ "Gather", NULL, 0, { M(F32, 3, 2, 0, 1, 2, 3, 4, 5), A(I64, 0, -4) }, STOPS(OUTSIDE) },
	{ "Gather",
	  "axis",
	  1,
	  { M(F32, 3, 2, 0, 1, 2, 3, 4, 5), A(I32, -1, 0) },
	  M(F32, 3, 2, 1, 0, 3, 2, 5, 4) },
	{ "Gather",
	  "axis",
	  1,
	  { M(F32, 3, 2, 0, 1, 2, 3, 4, 5), A(I64, 0, 2) },
	  STOPS(RDU_TRAP_INDEX) },
	{ "Gather",
	  "axis",
	  1,
	  { M(F32, 3, 2, 0, 1, 2, 3, 4, 5), A(I32, 0, -3) },
	  STOPS(RDU_TRAP_INDEX) },
	{ "GatherElements",
	  "axis",
	  1,
	  { M(F32, 2, 2, 0, 1, 2, 3), M(I64, 2, 1, 1, -2) },
	  M(F32, 2, 1, 1, 2) },
	{ "GatherElements",
	  "axis",
	  1,
	  { M(F32, 2, 2, 0, 1, 2, 3), M(I64, 2, 1, 2, 0) },
	  STOPS(RDU_TRAP_INDEX) },
	{ "NegativeLogLikelihoodLoss",
	  NULL,
	  0,
	  { M(F32, 2, 3, 1, 2, 3, 4, 5, 6), A(I64, 2, 0) },
	  { F32, 0, { 0 }, 1, { -3.5 }, false, 0 } },
	{ "NegativeLogLikelihoodLoss",
	  NULL,
	  0,
	  { M(F32, 2, 3, 1, 2, 3, 4, 5, 6), A(I64, 3, 0) },
	  STOPS(RDU_TRAP_INDEX) },
	{ "NegativeLogLikelihoodLoss",
	  "ignore_index",
	  -1,
	  { M(F32, 2, 3, 1, 2, 3, 4, 5, 6), A(I64, -1, 0) },
	  { F32, 0, { 0 }, 1, { -4 }, false, 0 } },
	/* ---- unsigned and 16 bits ---- */
	{ "Add", NULL, 0, { A(U16, 65535, 1), A(U16, 2, 3) }, A(U16, 1, 4) },
	{ "Mul", NULL, 0, { A(I16, 300, -181), A(I16, 300, 181) }, A(I16, 24464, -32761) },
	{ "Add", NULL, 0, { A(U32, 4294967295.0, 7), A(U32, 2, 3) }, A(U32, 1, 10) },
	{ "Sub", NULL, 0, { A(U64, 7, 2147483647), A(U64, 7, 1) }, A(U64, 0, 2147483646) },
	{ "Sub", NULL, 0, { A(U64, 7, 2), A(U64, 7, 3) }, STOPS(RDU_TRAP_INT64) },
	{ "Add", NULL, 0, { A(U64, 4294967296.0, 2), A(U64, 7, 3) }, STOPS(RDU_TRAP_LOAD) },
	{ "Less", NULL, 0, { A(U32, 1, 3e9, 3e9), A(U32, 3e9, 1, 3e9) }, A(BOOL, 1, 0, 0) },
	{ "LessOrEqual", NULL, 0, { A(U32, 1, 3e9, 3e9), A(U32, 3e9, 1, 3e9) }, A(BOOL, 1, 0, 1) },
	{ "Max", NULL, 0, { A(U32, 1, 3e9), A(U32, 3e9, 1) }, A(U32, 3e9, 3e9) },
	{ "Min", NULL, 0, { A(U32, 1, 3e9), A(U32, 3e9, 1) }, A(U32, 1, 1) },
	{ "Clip",
	  NULL,
	  0,
	  { A(U32, 1, 3e9, 4e9), K(U32, 2), K(U32, 3500000000.0) },
	  A(U32, 2, 3e9, 3500000000.0) },
	{ "Sign", NULL, 0, { A(U32, 0, 5, 3e9) }, A(U32, 0, 1, 1) },
	{ "Abs", NULL, 0, { A(U32, 0, 3e9) }, A(U32, 0, 3e9) },
	{ "Div",
	  NULL,
	  0,
	  { A(U32, 4294967295.0, 4294967295.0, 4294967295.0, 4294967295.0, 3e9, 3e9, 7, 0,
	      2147483648.0),
	    A(U32, 1, 2, 4294967295.0, 4294967294.0, 3000000001.0, 2999999999.0, 3e9, 3e9, 3) },
	  A(U32, 4294967295.0, 2147483647, 1, 1, 0, 1, 0, 0, 715827882) },
	{ "Mod",
	  NULL,
	  0,
	  { A(U32, 4294967295.0, 4294967295.0, 4294967295.0, 3e9, 3e9, 7, 2147483648.0),
	    A(U32, 1, 2, 4294967294.0, 3000000001.0, 2999999999.0, 3e9, 3) },
	  A(U32, 0, 1, 1, 3e9, 1, 7, 2) },
	{ "Div", NULL, 0, { A(U32, 3e9), A(U32, 0) }, STOPS(RDU_TRAP_DIVIDE) },
	{ "Cast",
	  "to",
	  F32,
	  { A(U32, 4294967295.0, 2147483649.0, 3e9, 5) },
	  A(F32, 4294967296.0, 2147483648.0, 3e9, 5) },
	{ "Cast",
	  "to",
	  U32,
	  { A(F32, 3e9f, -1, 5.9f, NAN, 1e20f) },
	  A(U32, 3e9, 4294967295.0, 5, 0, 4294967295.0) },
	{ "Cast", "to", I64, { A(U32, 5, 2147483647) }, A(I64, 5, 2147483647) },
	{ "Cast", "to", U64, { A(I32, 5, 0) }, A(U64, 5, 0) },
	{ "Cast", "to", U64, { A(F32, 5.5f, -1) }, STOPS(RDU_TRAP_CONVERT) },
	{ "Cast", "to", U16, { A(I32, 65536 + 5, -1) }, A(U16, 5, 65535) },
	{ "Cast", "to", I16, { A(I32, 65536 + 5, 32768) }, A(I16, 5, -32768) },
	{ "BitwiseNot", NULL, 0, { A(U16, 0, 65535, 1) }, A(U16, 65535, 0, 65534) },
	{ "BitwiseNot", NULL, 0, { A(I8, 0, -1, 5) }, A(I8, -1, 0, -6) },
	{ "BitwiseXor", NULL, 0, { A(I32, 5, -1), A(I32, 3, 7) }, A(I32, 6, -8) },
	{ "ReduceSum", NULL, 0, { A(I32, 16777217, 2, 5, -1, 7) }, A(I32, 16777230) },
	{ "ReduceMax", NULL, 0, { A(U32, 1, 3e9, 5) }, A(U32, 3e9) },
	{ "ReduceMin", NULL, 0, { A(I64, 16777217, 16777216, 16777218) }, A(I64, 16777216) },
	{ "ReduceMean", NULL, 0, { A(I32, -7, 2, 1) }, A(I32, -1) },
	{ "ReduceMax", NULL, 0, { A(BOOL, 0, 1, 0) }, A(BOOL, 1) },
	{ "ReduceL1", NULL, 0, { A(I32, -16777217, 2) }, A(I32, 16777219) },
	{ "ArgMax", NULL, 0, { A(I32, 16777216, 16777217, 16777217) }, A(I64, 1) },
	{ "ArgMin", "select_last_index", 1, { A(I32, 3, -5, 7, -5) }, A(I64, 3) },
	{ "ArgMax", NULL, 0, { A(I32, -65537, -65536, -65535, -65535) }, A(I64, 2) },
	{ "ArgMin", NULL, 0, { A(I32, 65536, 131071, 65537, 65536) }, A(I64, 0) },
	{ "ArgMax", NULL, 0, { A(I32, INT32_MIN, INT32_MAX, INT32_MAX - 1) }, A(I64, 1) },
	{ "ArgMin", NULL, 0, { A(I32, INT32_MIN + 1, INT32_MIN, INT32_MAX) }, A(I64, 1) },
	{ "ArgMax", NULL, 0, { A(U32, 1, 0x80000000, 0x7fffffff) }, A(I64, 1) },
	{ "ArgMax", NULL, 0, { A(I64, -7, 5, -9, 5, 0x7fffffff, 4) }, A(I64, 4) },
	{ "ArgMin", NULL, 0, { A(I64, 70000, 65536, 65537, -1, 3) }, A(I64, 3) },
	{ "ArgMax", NULL, 0, { K(I64, 1ll << 52, (1ll << 52) + 1, -1) }, A(I64, 1) },
	{ "ArgMin", NULL, 0, { K(I64, -(1ll << 48), -(1ll << 48) - 1, 7) }, A(I64, 1) },
	{ "ArgMax", NULL, 0, { A(I8, -128, 127, 127) }, A(I64, 1) },
	{ "ArgMin", NULL, 0, { A(U8, 255, 128, 127, 200) }, A(I64, 2) },
	{ "ArgMin", NULL, 0, { A(I16, 255, -32768, 32767) }, A(I64, 1) },
	{ "ArgMin", NULL, 0, { A(U32, 0x80000001, 0x80000000, 0xffffffff) }, A(I64, 1) },
	{ "CumSum",
	  "reverse",
	  1,
	  { A(I32, 16777217, 1, -3), K(I64, 0) },
	  A(I32, 16777215, -2, -3) },
	{ "CumSum", "exclusive", 1, { A(I64, 5, 1, -3, 4, 9), K(I64, 0) }, A(I64, 0, 5, 6, 3, 7) },
	/* ---- float16: rounded by each operator, also in between; double ---- */
	{ "Add",
	  NULL,
	  0,
	  { A(F16, 2048, 1, 65504), A(F16, 1, 0x1p-24, 16) },
	  A(F16, 2048, 1, INFINITY) },
	{ "Add+Add",
	  NULL,
	  0,
	  { A(F16, 2048, 1), A(F16, 1, 0.5), A(F16, 1, 1) },
	  A(F16, 2048, 2.5) },
	{ "Mul",
	  NULL,
	  0,
	  { A(F16, 0x1p-14, 3 * 0x1p-24), A(F16, 0.25, 0.5) },
	  A(F16, 0x1p-16, 0x1p-23) },
	{ "Cast",
	  "to",
	  F16,
	  { A(F32, 65519, 65520, -1e9, 2049, 2051, NAN) },
	  A(F16, 65504, INFINITY, -INFINITY, 2048, 2052, NAN) },
	{ "Clip", NULL, 0, { A(F16, INFINITY, -3), K(F16, -2) }, A(F16, 65504, -2) },
	{ "Add",
	  NULL,
	  0,
	  { A(F64, 1, 0.5, INFINITY), A(F64, 2, 0.25, 1) },
	  A(F64, 3, 0.75, INFINITY) },
	{ "Mul", NULL, 0, { A(F64, 1e300), A(F64, 1e-300) }, STOPS(RDU_TRAP_LOAD) },
	{ "Cast", "to", F32, { A(F64, 16777217, 0.5) }, A(F32, 16777216, 0.5) },
	/* Nearest of quotients whose remainder would overflow or be denormal. */
	{ "QuantizeLinear",
	  NULL,
	  0,
	  { A(F32, 0x1.fffffep127f, 0x1.8p127f, 0x1.4p127f, 0x1p127f), K(F32, 0x1p126f), K(U8, 0) },
	  A(U8, 4, 3, 2, 2) },
	{ "QuantizeLinear",
	  NULL,
	  0,
	  { A(F32, 8 * 0x1p-149f, 7 * 0x1p-149f, -8 * 0x1p-149f, 1), K(F32, 3 * 0x1p-149f),
	    K(I8, 0) },
	  A(I8, 3, 2, -3, 127) },
	/* ---- TopK is of GatherElements; scatters ---- */
	{ "ScatterElements",
	  NULL,
	  0,
	  { A(F32, 1, 2, 3), A(I64, -1, 0), A(F32, 7, NAN) },
	  A(F32, NAN, 2, 7) },
	{ "ScatterElements",
	  NULL,
	  0,
	  { A(I32, 1, 2, 3), A(I64, 3), A(I32, 7) },
	  STOPS(RDU_TRAP_INDEX) },
	{ "ScatterND",
	  NULL,
	  0,
	  { M(U8, 2, 2, 1, 2, 3, 4), M(I64, 1, 2, -1, 0), A(U8, 9) },
	  M(U8, 2, 2, 1, 2, 9, 4) },
	{ "GatherND",
	  NULL,
	  0,
	  { M(F32, 2, 2, 1, 2, 3, 4), M(I64, 2, 2, 1, -2, 0, 1) },
	  A(F32, 3, 2) },
	{ "GatherND",
	  NULL,
	  0,
	  { M(F32, 2, 2, 1, 2, 3, 4), M(I64, 1, 2, 2, 0) },
	  STOPS(RDU_TRAP_INDEX) },
	/* ---- NaN ---- */
	{ "TopK", NULL, 0, { A(F32, 0.0, NAN, 1, -0.0, 1), K(I64, 5) }, A(F32, NAN, 1, 1, 0, 0) },
	{ "ArgMax", NULL, 0, { A(F32, 1, NAN, 7, NAN) }, A(I64, 1) },
	{ "ArgMin", NULL, 0, { A(F32, 1, NAN, 7, NAN) }, A(I64, 1) },
	{ "ArgMax", "select_last_index", 1, { A(F32, 1, NAN, 7, NAN, 3) }, A(I64, 3) },
	{ "ArgMax", NULL, 0, { A(F32, -INFINITY, -INFINITY) }, A(I64, 0) },
	{ "ArgMin", NULL, 0, { A(F32, 0.0, -0.0, 5) }, A(I64, 0) },
	{ "Sign", NULL, 0, { A(F32, NAN, -2, 0, -0.0, INFINITY) }, A(F32, NAN, -1, 0, 0, 1) },
	{ "Relu", NULL, 0, { A(F32, NAN, -2) }, A(F32, NAN, 0) },
	{ "Max", NULL, 0, { A(F32, NAN, 1, NAN), A(F32, 7, NAN, NAN) }, A(F32, NAN, NAN, NAN) },
	{ "Min", NULL, 0, { A(F32, NAN, 1, NAN), A(F32, 7, NAN, NAN) }, A(F32, NAN, NAN, NAN) },
	{ "ReduceMax", NULL, 0, { A(F32, 1, NAN, 7) }, A(F32, NAN) },
	{ "ReduceMin", NULL, 0, { A(F32, 1, NAN, 7) }, A(F32, NAN) },
	{ "Equal", NULL, 0, { A(F32, NAN, 1, 0.0), A(F32, NAN, 1, -0.0) }, A(BOOL, 0, 1, 1) },
	{ "Less", NULL, 0, { A(F32, NAN, 1), A(F32, 1, NAN) }, A(BOOL, 0, 0) },
	{ "GreaterOrEqual", NULL, 0, { A(F32, NAN, 1), A(F32, 1, NAN) }, A(BOOL, 0, 0) },
	{ "IsNaN", NULL, 0, { A(F32, NAN, INFINITY, 1) }, A(BOOL, 1, 0, 0) },
	{ "IsInf", NULL, 0, { A(F32, NAN, INFINITY, -INFINITY) }, A(BOOL, 0, 1, 1) },
	{ "Round", NULL, 0, { A(F32, NAN, 2.5, -1.5, 1e10) }, A(F32, NAN, 2, -2, 1e10) },
	{ "Floor", NULL, 0, { A(F32, NAN, -INFINITY, -1.5) }, A(F32, NAN, -INFINITY, -2) },
	{ "Softmax", NULL, 0, { A(F32, NAN, 1) }, A(F32, NAN, NAN) },
	{ "LeakyRelu", NULL, 0, { A(F32, NAN, 1) }, A(F32, NAN, 1) },
	{ "Elu", NULL, 0, { A(F32, NAN, 1) }, A(F32, NAN, 1) },
	{ "HardSigmoid", NULL, 0, { A(F32, NAN, 100) }, A(F32, NAN, 1) },
	{ "HardSwish", NULL, 0, { A(F32, NAN, 100) }, A(F32, NAN, 100) },
};

/* ---- values ------------------------------------------------------------------ */

static void set(void *data, enum rdu_dtype t, int i, double v)
{
	float f = (float)v;
	uint64_t n = v < 0 ? (uint64_t)(int64_t)v : (uint64_t)v;
	uint32_t u;

	switch (t) {
	case RDU_DT_F32:
		((float *)data)[i] = f;
		break;
	case RDU_DT_F64:
		((double *)data)[i] = v;
		break;
	case RDU_DT_F16:
		((uint16_t *)data)[i] = half_bits(v);
		break;
	case RDU_DT_BF16:
		memcpy(&u, &f, 4);
		((uint16_t *)data)[i] = (uint16_t)(u >> 16);
		break;
	default: /* little-endian */
		memcpy((char *)data + i * dtype_bytes(t), &n, (size_t)dtype_bytes(t));
		break;
	}
}

static double get(void *data, enum rdu_dtype t, int i)
{
	return value_real(&(struct value){ .dtype = t, .data = data }, i);
}

static bool same(const struct array *want, void *data, const char *how)
{
	for (int i = 0; i < want->num; i++) {
		double v = get(data, want->dtype, i);

		if (v == want->v[i] || (isnan(v) && isnan(want->v[i])))
			continue;
		printf("# %s: element %d is %.17g, not %.17g\n", how, i, v, want->v[i]);
		return false;
	}
	return true;
}

/* ---- ways to run --------------------------------------------------------------- */

static struct graph *make(const struct test *t, bool constant, char *error, int size)
{
	struct graph *g = graph_new(error, size);
	const char *then = strchr(t->op, '+'); /* on the first one's result and the last input */
	struct node *n = node_new(g, then ? then + 1 : t->op, "tested"), *last = NULL;
	struct value *y;

	g->name = graph_strdup(g, "ints");
	g->opset = 18;
	for (int k = 0; k < 3 && t->in[k].num; k++) {
		const struct array *a = &t->in[k];
		struct value *v = graph_const(g, a->dtype, a->ndim, a->dim, NULL);

		for (int i = 0; i < a->num; i++)
			set(v->data, a->dtype, i, a->v[i]);
		v->name = graph_format(g, "x%d", k);
		if (!constant && !a->constant) {
			v->kind = TENSOR_INPUT;
			v->constant = false;
			v->data = NULL;
		}
		if (then && k == 2) {
			last = node_new(g, then + 1, "then");
			node_input(g, last, graph_finish(g, n));
			n = last;
		}
		node_input(g, n, v);
	}
	if (t->attr)
		node_attr_i(g, n, t->attr, t->at);
	y = graph_finish(g, n);
	if (!y) {
		graph_free(g);
		return NULL;
	}
	g->outputs = graph_alloc(g, sizeof(*g->outputs));
	g->outputs[0].name = graph_strdup(g, "y");
	g->outputs[0].value = y;
	g->num_outputs = 1;
	return g;
}

static const struct array *input(const struct test *t, const struct tensor *x)
{
	return x->kind == TENSOR_INPUT && x->name[0] == 'x' ? &t->in[x->name[1] - '0'] : NULL;
}

static bool plain(const struct test *t, struct module *m)
{
	void *data[64] = { NULL }, *y = NULL;
	int trap = 0;
	bool good;

	for (int i = 0; i < m->num_tensors; i++) {
		struct tensor *x = m->tensors[i];
		int64_t n = dims_count(x->ndim, x->dim);
		const struct array *a = input(t, x);

		data[i] = calloc((size_t)n + 1, 8);
		if (x->data)
			memcpy(data[i], x->data, (size_t)(n * dtype_bytes(x->dtype)));
		for (int k = 0; a && k < a->num; k++)
			set(data[i], a->dtype, k, a->v[k]);
		if (x->kind == TENSOR_OUTPUT)
			y = data[i];
	}
	for (int i = 0; i < m->entries[0].num_nests && !trap; i++)
		trap = nest_eval(m->entries[0].nests[i], data, false);
	if (trap || t->want.trap)
		good = trap == (t->want.trap == OUTSIDE ? RDU_TRAP_INDEX : t->want.trap);
	else
		good = same(&t->want, y, "interpreter");
	if (trap && !good)
		printf("# interpreter: trap %d\n", trap);
	for (int i = 0; i < m->num_tensors; i++)
		free(data[i]);
	return good;
}

static bool on_fabric(const struct test *t, const char *chip_name, int level, struct rdu_pool *pool)
{
	char path[] = "/tmp/rduc-ints-XXXXXX", error[2048] = "", want[64];
	struct rduc_options opt = { .opt = level, .model = "ints" };
	struct graph *g = make(t, false, error, sizeof(error));
	struct module *m = g ? graph_patterns(g) : NULL;
	struct rdu_chip chip;
	bool good = false;
	struct ran r;
	int fd = mkstemp(path);

	close(fd);
	rdu_chip_find(chip_name, &chip, error, sizeof(error));
	chip.pmu_bytes = 16384; /* quick to clear */
	opt.chip = &chip;
	opt.fp32 = true;
	if (!m || rduc_backend(m, &opt, path, error, sizeof(error)) || ran_open(&r, path)) {
		printf("# %s -O%d: %s\n", chip_name, level, error);
	} else {
		for (int i = 0; i < m->num_tensors; i++) {
			const struct array *a = input(t, m->tensors[i]);

			for (int k = 0; a && k < a->num; k++)
				set(ran_symbol(&r, m->tensors[i]->name), a->dtype, k, a->v[k]);
		}
		snprintf(want, sizeof(want), "fault %d info %d ",
			 t->want.trap == OUTSIDE ? RDU_FAULT_BOUNDS : RDU_FAULT_VALUE,
			 t->want.trap == OUTSIDE ? 0 : t->want.trap);
		if (!ran_entry(&r, 0, pool, true, error, sizeof(error)))
			good = !t->want.trap && same(&t->want, ran_symbol(&r, "y"), chip_name);
		else
			good = t->want.trap && strstr(error, want);
		if (!good && (t->want.trap || *error))
			printf("# %s -O%d: %s%s\n", chip_name, level, *error ? error : "no fault",
			       t->want.trap ? "" : " where none was due");
		ran_close(&r);
	}
	module_free(m);
	graph_free(g);
	unlink(path);
	return good;
}

/* Constants are computed while compiling: exactly, int64 in 64 bits. */
static bool folded(const struct test *t)
{
	char error[2048] = "";
	struct graph *g = make(t, true, error, sizeof(error));
	struct value *y = g ? g->outputs[0].value : NULL;
	bool good = !y || !t->want.num || (y->constant && y->data);

	if (y && y->data && t->want.num)
		good = good && y->dtype == t->want.dtype && same(&t->want, y->data, "folded");
	if (!y)
		good = t->want.trap && *error;
	if (!good)
		printf("# folded: %s\n", error);
	graph_free(g);
	return good;
}

/* What cannot be compiled says which value of which tensor is why. */
static void refusals(void)
{
	static const struct {
		struct test test;
		const char *text[3];
	} row[] = {
		{ { "Greater", NULL, 0, { A(I64, 1, 5), K(I64, 1099511627776.0) }, A(BOOL, 0) },
		  { "'x1' has 1099511627776 at element 0", "does not fit 32 bits", "tested" } },
		{ { "Add", NULL, 0, { A(I64, 1, 5), K(I64, 7, -2147483649.0) }, A(I64, 0) },
		  { "'x1' has -2147483649 at element 1", "does not fit 32 bits", "tested" } },
		{ { "Gather", NULL, 0, { A(F32, 1, 2, 3), K(I64, 0, 3) }, A(F32, 0) },
		  { "index 1 of 'x1' is 3", "a dimension of 3", "tested" } },
		{ { "Gather", NULL, 0, { A(F32, 1, 2, 3), K(I64, 4294967296.0) }, A(F32, 0) },
		  { "index 0 of 'x1' is 4294967296", "a dimension of 3", "tested" } },
		{ { "Pad",
		    NULL,
		    0,
		    { A(I64, 1, 5), K(I64, 1, 1), K(I64, 4294967296.0) },
		    A(I64, 0) },
		  { "value to pad with, 4294967296", "does not fit 32 bits", "tested" } },
		{ { "Div", NULL, 0, { K(I32, 1, 5), K(I32, 1, 0) }, A(I32, 0) },
		  { "division by zero", "Div", "tested" } },
		{ { "Pow", NULL, 0, { K(I32, 2, 3), K(I32, 3, -1) }, A(I32, 0) },
		  { "raised to a power that is negative", "Pow", "tested" } },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		char error[2048] = "";
		struct graph *g = make(&row[i].test, false, error, sizeof(error));
		struct module *m = g ? graph_patterns(g) : NULL;
		bool good = !m;

		for (int k = 0; k < 3; k++)
			good = good && strstr(error, row[i].text[k]);
		if (!good)
			printf("# %s\n", m ? "compiled" : error);
		ok(good, "%s: %s", row[i].test.op, row[i].text[0]);
		module_free(m);
		graph_free(g);
	}
}

int main(void)
{
	static const int levels[] = { 0, 1, 3 };
	struct rdu_pool *pool = rdu_pool_new(2);

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		const struct test *t = &tests[i];
		bool constant = t->in[0].constant, good = folded(t);
		char error[2048] = "";

		for (int l = 0; l < 3 && !constant; l++) {
			struct graph *g = l ? NULL : make(t, false, error, sizeof(error));
			struct module *m = g ? graph_patterns(g) : NULL;

			if (!l)
				good = m && plain(t, m) && good;
			if (*error)
				printf("# %s\n", error);
			module_free(m);
			graph_free(g);
			good = on_fabric(t, "sn10", levels[l], l & 1 ? pool : NULL) && good;
			good = on_fabric(t, "plasticine", levels[l], l & 1 ? NULL : pool) && good;
		}
		ok(good, "%s of %s: %s", t->op, dtype_name(t->in[0].dtype),
		   t->want.trap ? "stops" : "right");
	}
	rdu_pool_free(pool);
	refusals();
	return tap_done();
}
