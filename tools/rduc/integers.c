// SPDX-License-Identifier: MIT
/* Integers of ONNX's types, as expressions of a nest. Each is a word, of which int64 and uint64
 * use 32 and 31 bits. */
#include "graph.h"

#define OP1(op, a) nest_op(n, RDU_SIMD_##op, a, -1, -1)
#define OP2(op, a, b) nest_op(n, RDU_SIMD_##op, a, b, -1)
#define OP3(op, a, b, d) nest_op(n, RDU_SIMD_##op, a, b, d)
#define LT(a, b) OP2(FLT, a, b)
#define SUB(a, b) OP2(FSUB, a, b)
#define MUL(a, b) OP2(FMUL, a, b)
#define SELECT(p, a, b) OP3(SELECT, p, a, b)
#define F(v) nest_imm_f(n, v)
#define I(v) nest_imm_i(n, v)

int expr_wrap(struct nest *n, enum rdu_dtype t, int x)
{
	int bits = dtype_bits(t);

	if (bits >= 32 || t == RDU_DT_BOOL)
		return x;
	if (dtype_is_unsigned(t))
		return OP2(AND, x, I((1 << bits) - 1));
	return OP2(SAR, OP2(SHL, x, I(32 - bits)), I(32 - bits));
}

int expr_in_range(struct nest *n, enum rdu_dtype t, int x)
{
	int least = dtype_is_unsigned(t) || dtype_is_code(t) ? 0 : -(1 << (dtype_bits(t) - 1));

	/* From the least one on, modulo 2^32. */
	x = nest_trap(n, x, OP2(SHR, OP2(ISUB, x, I(least)), I(dtype_bits(t))), RDU_TRAP_STORE);
	return x;
}

int expr_ordered(struct nest *n, enum rdu_dtype t, int x)
{
	return t == RDU_DT_U32 ? OP2(XOR, x, I(INT32_MIN)) : x;
}

/* a op b as numbers of type t: modulo 2^8, 2^16 or 2^32; those of 64 bits, of which there are
 * 32 here, stop where the result does not fit. */
int expr_arithmetic(struct nest *n, enum rdu_dtype t, enum rdu_simd_op op, int a, int b)
{
	int r = nest_op(n, op, a, b, -1), bad;

	if (t != RDU_DT_I64 && t != RDU_DT_U64)
		return expr_wrap(n, t, r);
	if (op == RDU_SIMD_IMUL) /* the upper half must be the lower one's sign */
		bad = OP2(XOR, OP2(IMULH, a, b), OP2(ISUB, I(0), OP2(ILT, r, I(0))));
	else if (op == RDU_SIMD_IADD)
		bad = OP2(ILT, OP2(AND, OP2(XOR, a, r), OP2(XOR, b, r)), I(0));
	else
		bad = OP2(ILT, OP2(AND, OP2(XOR, a, b), OP2(XOR, a, r)), I(0));
	if (t == RDU_DT_U64)
		bad = OP2(OR, bad, OP2(ILT, r, I(0)));
	return nest_trap(n, r, bad, RDU_TRAP_INT64);
}

/* A whole number in fp32 as a uint32; below 0 as an int32's bits. */
static int to_uint32(struct nest *n, int x)
{
	int far = OP1(F2I, SUB(x, F(0x1p31f)));

	return SELECT(LT(x, F(0x1p31f)), OP1(F2I, x), OP2(XOR, far, I(INT32_MIN)));
}

/* A whole number in fp32 as an integer of type t. What int32 (uint32) cannot hold
 * saturates, for the narrow types before it wraps; NaN gives 0. */
int expr_to_integer(struct nest *n, enum rdu_dtype t, int x)
{
	int r, fits;

	if (t == RDU_DT_U32)
		return SELECT(OP2(FEQ, x, x), to_uint32(n, x), I(0));
	r = OP1(F2I, x);
	if (t != RDU_DT_I64 && t != RDU_DT_U64)
		return expr_wrap(n, t, r);
	fits = OP2(FLT, x, F(0x1p31f));
	fits = SELECT(OP2(FLE, F(t == RDU_DT_I64 ? -0x1p31f : 0), x), fits, I(0));
	return nest_trap(n, r, OP2(IEQ, fits, I(0)), RDU_TRAP_CONVERT);
}

/* An integer of type t in fp32, rounded once. */
int expr_to_float(struct nest *n, enum rdu_dtype t, int x)
{
	int half;

	if (t != RDU_DT_U32)
		return OP1(I2F, x);
	half = OP2(OR, OP2(SHR, x, I(1)), OP2(AND, x, I(1))); /* a bit that is lost counts */
	return SELECT(OP2(ILT, x, I(0)), MUL(OP1(I2F, half), F(2)), OP1(I2F, x));
}

/* An integer of type `from` as one of type `to`. */
int expr_to_other(struct nest *n, enum rdu_dtype from, enum rdu_dtype to, int x)
{
	bool wide = to == RDU_DT_I64 || to == RDU_DT_U64;

	if (from == to || from == RDU_DT_BOOL)
		return x;
	if (wide && (from == RDU_DT_U32 || (to == RDU_DT_U64 && !dtype_is_unsigned(from))))
		return nest_trap(n, x, OP2(ILT, x, I(0)), RDU_TRAP_STORE);
	return expr_wrap(n, to, x);
}
