/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The configuration image of one section: unit programs, streams, tokens,
 * buffers and routes. Little-endian; tables of fixed-size records, found by the
 * offsets in the header (from the image's first byte, 8-byte aligned).
 *
 * One shape for all units (Plasticine, ISCA'17, 3.1-3.5): a *unit program* is a
 * counter chain, input ports, a body, output ports and control.
 *
 * Counters. counter[0] is the outermost. The first `num_outer` counters count
 * activations: they step once an activation. The others run through once in
 * every activation. Each iteration of the chain is one firing of the body.
 * Values run start, start + step, ... while less than limit (step > 0).
 *
 * Masks. A mask selects counters (bit i: counter[i]). "At first": each selected
 * counter is at its first value; "at last": at its last one. An empty mask
 * always holds. So mask = bit of the innermost counter, at last, is "when it
 * wraps".
 *
 * Ports. An input port pops a vector at the iterations where its mask is at
 * first, and holds it until the next pop. An output port pushes at the
 * iterations where its mask is at last. What a stream's producer pushes in an
 * activation must equal what each of its consumers pops in one, and all
 * programs joined by streams (a *stage*) have the same number of activations.
 *
 * Tokens. An edge from program `src` to `dst` holds `initial` tokens at the
 * start of the section. An activation of dst whose outer counters in dst_mask
 * are at first starts only when it can take one token; an activation of src
 * whose outer counters in src_mask are at last adds one when it ends. A credit
 * is a token in the other direction.
 * The section is done when every program has run all its activations.
 *
 * Buffers. A PMU buffer has `copies` copies of `words` words. A program that
 * accesses a buffer uses copy (copy_start + flips) mod copies, where flips
 * counts its activations so far that had the outer counters in flip_mask at
 * last. A buffer has at most one write program; for each of its read programs
 * there must be an edge W -> R (src_mask = W's flip_mask, dst_mask = R's
 * flip_mask, d initial tokens) and an edge R -> W (src_mask = R's flip_mask,
 * dst_mask = W's flip_mask, copies - d initial tokens), with
 * R.copy_start = (W.copy_start - d) mod copies, and both flip equally often.
 * That is what makes the result independent of timing. (d = 1 with two copies:
 * R sees what W wrote in the activation before: an accumulator.)
 * Scratchpads hold what they held before the section; they are cleared when
 * tiles change hands.
 */
#ifndef RDU_CONFIG_H
#define RDU_CONFIG_H

#include <linux/types.h>

#define RDU_CFG_MAGIC 0x47464352 /* "RCFG" */
#define RDU_CFG_VERSION 1

#define RDU_MAX_COUNTERS 8
#define RDU_MAX_PORTS 4
#define RDU_MAX_PREDS 4
#define RDU_MAX_STAGES 16
#define RDU_MAX_TAIL 4
#define RDU_MAX_COPIES 16

/* Limits that bound what a loader allocates. */
#define RDU_MAX_SECTION_IMAGE (64u << 20) /* bytes of one section's image */
#define RDU_MAX_PROGRAMS 65536
#define RDU_MAX_STREAMS 65536
#define RDU_MAX_TOKENS 262144
#define RDU_MAX_BUFFERS 65536
#define RDU_MAX_SEGMENTS 4096
#define RDU_MAX_SCALARS 64

struct rdu_cfg_table {
	__u32 offset; /* bytes from the image's start, multiple of 8 */
	__u32 count;  /* records */
};

struct rdu_cfg_header {
	__u32 magic;
	__u16 version;
	__u16 header_size; /* sizeof(struct rdu_cfg_header) */
	__u32 size;        /* bytes of the whole image */
	__u32 num_tiles;   /* virtual tiles used, consecutive */
	__u64 chip_hash;   /* of the chip description it was compiled for */
	__u32 num_segments; /* bound by argument load */
	__u32 num_scalars;  /* argument registers read */
	struct rdu_cfg_table programs; /* struct rdu_cfg_program */
	struct rdu_cfg_table bodies;   /* bytes: bodies, 8-byte aligned each */
	struct rdu_cfg_table streams;  /* struct rdu_cfg_stream */
	struct rdu_cfg_table dests;    /* struct rdu_cfg_dest */
	struct rdu_cfg_table links;    /* struct rdu_cfg_link */
	struct rdu_cfg_table tokens;   /* struct rdu_cfg_token */
	struct rdu_cfg_table buffers;  /* struct rdu_cfg_buffer */
	__u64 zero;
};

enum rdu_limit_kind {
	RDU_LIMIT_IMM = 0,
	RDU_LIMIT_ARG = 1,    /* limit = argument register[limit], 0 <= value */
	RDU_LIMIT_STREAM = 2, /* limit = lane 0 of input port[limit], popped at activation start */
};

struct rdu_cfg_counter {
	__s32 start;
	__s32 step;
	__s32 limit;
	__u32 limit_kind; /* enum rdu_limit_kind */
};

#define RDU_NO_STREAM 0xffffffffu

struct rdu_cfg_port {
	__u32 stream; /* index */
	__u16 mask;   /* pop at first / push at last */
	__u8 reg;     /* output: first register pushed */
	__u8 count;   /* output: registers pushed one after another (reg, reg + 1, ...);
		       * input: must be 1, but for a systolic init port */
};

enum rdu_unit { RDU_UNIT_PCU = 0, RDU_UNIT_PMU = 1, RDU_UNIT_AGCU = 2 };

/* X(name, value, unit, meaning) */
#define RDU_KINDS(X) \
	X(SIMD, 0, PCU, "pipeline of operations over lanes, then a tail") \
	X(SYSTOLIC, 1, PCU, "output-stationary array, then a tail") \
	X(READ, 2, PMU, "scratchpad to stream: out[0]; in[0] is the index stream of a gather") \
	X(WRITE, 3, PMU, "stream to scratchpad: in[0]; in[1] is the index stream of a scatter") \
	X(LOAD, 4, AGCU, "segment to stream: out[0]; in[0] is the index stream of a gather") \
	X(STORE, 5, AGCU, "stream to segment: in[0]; in[1] is the index stream of a scatter")

enum rdu_kind {
#define RDU_KIND_ENUM(n, v, u, d) RDU_KIND_##n = v,
	RDU_KINDS(RDU_KIND_ENUM)
#undef RDU_KIND_ENUM
};

struct rdu_cfg_program {
	__u8 kind; /* enum rdu_kind */
	__u8 num_counters; /* 1..8 */
	__u8 num_outer;    /* <= num_counters */
	__u8 num_in, num_out;
	__u8 zero8;
	__u16 tile;        /* virtual tile */
	__u16 unit;        /* PCU, PMU or AGCU number within the tile, row-major */
	__u16 op_id;       /* for people: which operator this came from (program.h) */
	__u32 body;        /* byte offset in the bodies table */
	struct rdu_cfg_counter counter[RDU_MAX_COUNTERS];
	struct rdu_cfg_port in[RDU_MAX_PORTS];
	struct rdu_cfg_port out[RDU_MAX_PORTS];
};

/* ---- PCU, SIMD -------------------------------------------------------- */

enum rdu_operand_kind {
	RDU_OPD_NONE = 0,
	RDU_OPD_REG = 1,     /* index: register written by an earlier stage of this iteration */
	RDU_OPD_IN = 2,      /* index: input port, lane by lane */
	RDU_OPD_IN_LANE = 3, /* index: input port, `lane` broadcast to all lanes */
	RDU_OPD_COUNTER = 4, /* index: counter value, int32, all lanes */
	RDU_OPD_LANE = 5,    /* the lane's own number, int32 */
	RDU_OPD_IMM = 6,     /* imm, all lanes */
	RDU_OPD_ACC = 7,     /* this stage's result of the iteration before, or `init`
			      * when acc_mask is at first */
	RDU_OPD_ARG = 8,     /* index: argument register, all lanes */
};

struct rdu_cfg_operand {
	__u8 kind, index, lane, zero;
	__u32 imm;
};

/*
 * X(name, value, operands, tail only, meaning). f: fp32, i: int32, u: uint32.
 * Comparisons give 1.0f or 0.0f (f) and 1 or 0 (i). SELECT: a != 0 ? b : c,
 * tested on the bits (so -0.0f selects b). All fp32 operations are IEEE 754
 * binary32, round to nearest even, with denormals; a NaN result is 0x7fc00000.
 * FMAX/FMIN: NaN if either is NaN, and +0 > -0.
 */
#define RDU_SIMD_OPS(X) \
	X(MOV, 0, 1, 0, "a") \
	X(FADD, 1, 2, 0, "a + b") \
	X(FSUB, 2, 2, 0, "a - b") \
	X(FMUL, 3, 2, 0, "a * b") \
	X(FMA, 4, 3, 0, "a * b + c, one rounding") \
	X(FMAX, 5, 2, 0, "maximum") \
	X(FMIN, 6, 2, 0, "minimum") \
	X(FNEG, 7, 1, 0, "-a") \
	X(FABS, 8, 1, 0, "|a|") \
	X(FLT, 9, 2, 0, "a < b") \
	X(FLE, 10, 2, 0, "a <= b") \
	X(FEQ, 11, 2, 0, "a == b") \
	X(SELECT, 12, 3, 0, "a ? b : c") \
	X(IADD, 16, 2, 0, "a + b mod 2^32") \
	X(ISUB, 17, 2, 0, "a - b mod 2^32") \
	X(IMUL, 18, 2, 0, "a * b mod 2^32") \
	X(IMAX, 19, 2, 0, "signed maximum") \
	X(IMIN, 20, 2, 0, "signed minimum") \
	X(ILT, 21, 2, 0, "signed a < b") \
	X(ILE, 22, 2, 0, "signed a <= b") \
	X(IEQ, 23, 2, 0, "a == b") \
	X(AND, 24, 2, 0, "bitwise and") \
	X(OR, 25, 2, 0, "bitwise or") \
	X(XOR, 26, 2, 0, "bitwise exclusive or") \
	X(SHL, 27, 2, 0, "a << (b & 31)") \
	X(SHR, 28, 2, 0, "unsigned a >> (b & 31)") \
	X(SAR, 29, 2, 0, "signed a >> (b & 31)") \
	X(IMULH, 30, 2, 0, "upper 32 bits of the signed 64-bit product a * b") \
	X(TRAP, 31, 2, 0, "a; where b is not 0 in any lane the section stops: fault VALUE, info b") \
	X(RED_FADD, 32, 1, 0, "cross-lane sum to all lanes; tree: for s = lanes/2 .. 1: v[l] += v[l + s]") \
	X(RED_FMAX, 33, 1, 0, "cross-lane maximum to all lanes, same tree") \
	X(RED_FMIN, 34, 1, 0, "cross-lane minimum to all lanes, same tree") \
	X(RED_IADD, 35, 1, 0, "cross-lane int32 sum to all lanes") \
	X(SHIFT, 36, 2, 0, "lane l gets lane l + imm of a (b: IMM), 0 beyond the ends") \
	X(EXP, 64, 1, 1, "e^a") \
	X(LOG, 65, 1, 1, "natural logarithm") \
	X(TANH, 66, 1, 1, "hyperbolic tangent") \
	X(SIGMOID, 67, 1, 1, "1 / (1 + e^-a)") \
	X(ERF, 68, 1, 1, "error function") \
	X(RECIP, 69, 1, 1, "1 / a, correctly rounded") \
	X(RSQRT, 70, 1, 1, "1 / sqrt(a): square root, then reciprocal, each correctly rounded") \
	X(SQRT, 71, 1, 1, "square root, correctly rounded") \
	X(SIN, 72, 1, 1, "sine") \
	X(COS, 73, 1, 1, "cosine") \
	X(F2I, 74, 1, 1, "fp32 to int32, nearest even, saturating, NaN: 0") \
	X(I2F, 75, 1, 1, "int32 to fp32, nearest even") \
	X(F2BF, 76, 1, 1, "fp32 rounded to the nearest bf16 (even), as fp32") \
	X(F2BF_SR, 77, 3, 1, "fp32 to bf16 by stochastic rounding (random: RNG of seed b, index c)") \
	X(FLOOR, 78, 1, 1, "largest integer not above a") \
	X(CEIL, 79, 1, 1, "smallest integer not below a") \
	X(ROUND, 80, 1, 1, "nearest integer, halves to even") \
	X(RNG, 81, 2, 1, "32 random bits from seed a and index b (counter-based, defined in Documentation)") \
	X(F2H, 82, 1, 1, "fp32 rounded to the nearest fp16 (even), as fp32")

enum rdu_simd_op {
#define RDU_SIMD_ENUM(n, v, o, t, d) RDU_SIMD_##n = v,
	RDU_SIMD_OPS(RDU_SIMD_ENUM)
#undef RDU_SIMD_ENUM
};

struct rdu_cfg_stage {
	__u8 op;        /* enum rdu_simd_op */
	__u8 dst;       /* register */
	__u16 acc_mask; /* RDU_OPD_ACC restarts where this mask is at first */
	__u32 init;     /* what it restarts with */
	struct rdu_cfg_operand a, b, c;
};

/* Stages, then tail operations. A tail operation may be any tail-only one, and
 * FADD, FMUL, FMAX, FMIN, MOV with a REG and an IMM or ARG operand. */
struct rdu_cfg_simd {
	__u8 num_stages, num_tail;
	__u8 zero[6];
	struct rdu_cfg_stage stage[]; /* num_stages + num_tail */
};

/* ---- PCU, systolic ---------------------------------------------------- */

/*
 * in[0]: column vectors (lanes words), in[1]: row vectors (`cols` words used).
 * A step at each iteration: for every lane l and column j
 *     acc[j][l] = mac(acc[j][l], col[l], row[j])
 * BF16: a word holds two bf16, element 2k in the low half, 2k+1 in the high
 * half; mac is fma(odd, odd, .) and then fma(even, even, .), denormal inputs
 * and results taken as zero, round to nearest even. A step takes two cycles.
 * INT8: a word holds four int8 (uint8: the flags), element 4k in the lowest
 * byte; mac adds the four products to an int32, mod 2^32. A step takes two
 * cycles, too.
 * TERNARY: as INT8, but a word of one operand, the rows or the columns (the
 * flags), has 16 weights of two bits, weight i in bits 2 i and 2 i + 1: 00 is 0,
 * 01 is 1, 11 is -1; 10 is a fault, VALUE. The innermost counter is one of k_mask
 * and counts to four: at its iteration s, weights 4 s to 4 s + 3 are taken, and mac
 * adds the other operand's four bytes to the int32, subtracts them, or leaves them
 * out. A step takes two cycles, too.
 * Where k_mask is at first acc restarts: at zero, or (init_mask not at first, or
 * RDU_SYS_INIT_ALWAYS) at the `cols` vectors popped from in[2], column by
 * column. in[2]'s mask is k_mask and its count is cols; it pops even when the
 * value is not used. Where k_mask is at last the array drains: `cols` vectors,
 * each through the tail (register 0), pushed on every output port (mask k_mask
 * plus any others at last, count = cols).
 */
enum rdu_systolic_mode { RDU_SYS_BF16 = 0, RDU_SYS_INT8 = 1, RDU_SYS_TERNARY = 2 };

#define RDU_SYS_INIT 0x1        /* in[2] gives starting values ... */
#define RDU_SYS_INIT_ALWAYS 0x2 /* ... always; else only where init_mask is not at first */
#define RDU_SYS_COLS_UNSIGNED 0x4 /* INT8, TERNARY: the bytes of in[0] are uint8 */
#define RDU_SYS_ROWS_UNSIGNED 0x8 /* INT8, TERNARY: the bytes of in[1] are uint8 */
#define RDU_SYS_COLS_TERNARY 0x10 /* TERNARY: the weights are in[0], else in[1] */

struct rdu_cfg_systolic {
	__u8 mode; /* enum rdu_systolic_mode */
	__u8 cols; /* 1..chip's systolic_cols */
	__u8 flags;
	__u8 num_tail;
	__u16 k_mask;    /* the counters that are the contraction */
	__u16 init_mask;
	struct rdu_cfg_stage tail[];
};

/* ---- PMU and AGCU ----------------------------------------------------- */

enum rdu_format { /* of an element in a segment (AGCU); PMU: WORD, but see rdu_pack */
	RDU_FMT_WORD = 0, /* fp32, int32 or uint32 */
	RDU_FMT_BF16 = 1, /* fp32 in the stream; stored by nearest even */
	RDU_FMT_I8 = 2,   /* I8 to U16, U64: int32 in the stream. A value that does not */
	RDU_FMT_U8 = 3,   /* fit where it goes, in either direction, is a fault: VALUE. */
	RDU_FMT_I64 = 4,
	RDU_FMT_I16 = 5,
	RDU_FMT_U16 = 6,
	RDU_FMT_F16 = 7, /* fp32 in the stream; stored by nearest even */
	RDU_FMT_F64 = 8, /* fp32 in the stream, nearest even; beyond fp32: VALUE */
	RDU_FMT_U64 = 9,
};

/* Bytes of an element in memory. */
static inline unsigned int rdu_format_bytes(unsigned int format)
{
	switch (format) {
	case RDU_FMT_I8:
	case RDU_FMT_U8:
		return 1;
	case RDU_FMT_BF16:
	case RDU_FMT_F16:
	case RDU_FMT_I16:
	case RDU_FMT_U16:
		return 2;
	case RDU_FMT_I64:
	case RDU_FMT_U64:
	case RDU_FMT_F64:
		return 8;
	}
	return 4;
}

/*
 * PMU WRITE: narrow elements, P to a word of the scratchpad, the first in the
 * lowest bits. Format WORD: fp32 on the stream becomes bf16, P = 2. Format I8
 * or U8: int32 on the stream, P = 4; a value in the first `lanes` lanes that does
 * not fit is a fault, VALUE, whatever predicates say.
 */
enum rdu_pack {
	RDU_PACK_NONE = 0,
	RDU_PACK_VEC = 1,  /* vectors P i ... P i + P - 1 of the stream -> one vector */
	RDU_PACK_LANE = 2, /* lanes P l ... P l + P - 1 -> word l: `lanes`, a multiple of P, counts the
			    * stream's, lanes / P words are written, address lane l is word l */
	RDU_PACK_LOW = 3,  /* lane -> lowest element, the others zero */
};
/* PACK_VEC: the innermost counter's trip count is a multiple of P, and the
 * address is taken at the first iteration of each P. */

#define RDU_ACCESS_GATHER 0x1 /* element index += index stream, per lane, times index_stride */
#define RDU_ACCESS_ADD 0x2    /* STORE, WRITE: fp32 add to what is there, lane 0 first */
#define RDU_ACCESS_ONE_INDEX 0x4 /* with GATHER: the index stream's lane 0, for all lanes */

/* e = base + sum(stride[i] * counter[i]) + lane_stride * lane, in lo <= e < hi */
struct rdu_cfg_pred {
	__s32 base, lo, hi, lane_stride;
	__s32 stride[RDU_MAX_COUNTERS];
};

/*
 * Element of lane l at an iteration:
 *     base + sum(stride[i] * counter[i]) + lane_stride * l   (+ gather)
 * counted in elements of `format` from the segment's start, or in words from
 * the buffer copy's start. A lane l >= lanes, or one for which a predicate does
 * not hold, reads as `pad` and writes nothing; it touches no memory.
 */
struct rdu_cfg_access {
	__u32 target; /* buffer (PMU) or segment (AGCU) */
	__u8 format, pack, lanes, num_preds;
	__u16 flip_mask;   /* PMU: outer counters */
	__u8 copy_start;   /* PMU */
	__u8 flags;        /* RDU_ACCESS_* */
	__u32 pad;         /* word */
	__s64 base;
	__s64 lane_stride;
	__s64 stride[RDU_MAX_COUNTERS];
	__s64 index_stride;
	struct rdu_cfg_pred pred[]; /* num_preds */
};

/* ---- streams, tokens, buffers, routes --------------------------------- */

struct rdu_cfg_dest {
	__u32 program;
	__u32 port;
};

enum rdu_net { RDU_NET_VECTOR = 0, RDU_NET_SCALAR = 1 };

struct rdu_cfg_stream {
	__u32 program; /* producer */
	__u8 port;     /* its output port */
	__u8 net;      /* enum rdu_net */
	__u16 zero;
	__u32 first_dest, num_dests; /* multicast */
	__u32 first_link, num_links; /* the route: a tree of links */
};

/* A directed link leaves `switch` (y * tile_cols + x, y counted over all
 * virtual tiles of the program) towards `dir`. A stream's links form a tree
 * rooted at the producer's switch that reaches each consumer's switch. */
enum rdu_dir { RDU_DIR_N = 0, RDU_DIR_E = 1, RDU_DIR_S = 2, RDU_DIR_W = 3 };

struct rdu_cfg_link {
	__u32 sw;
	__u32 dir; /* enum rdu_dir; N: y - 1, S: y + 1 */
};

struct rdu_cfg_token {
	__u32 src, dst; /* programs */
	__u16 src_mask, dst_mask;
	__u32 initial;
};

struct rdu_cfg_buffer {
	__u16 tile, unit; /* PMU */
	__u32 copies;
	__u32 base;  /* word in the scratchpad */
	__u32 words; /* of one copy */
};

/* ---- what validation may refuse --------------------------------------- */

/* X(name, value, text) */
#define RDU_CFG_ERRORS(X) \
	X(OK, 0, "accepted") \
	X(TRUNCATED, 1, "the image ends before a table does") \
	X(MAGIC, 2, "not a configuration image or program image") \
	X(VERSION, 3, "image version not supported") \
	X(CHIP, 4, "compiled for another chip description") \
	X(TOO_LARGE, 5, "a count is beyond its limit") \
	X(ALIGN, 6, "a table or body is not aligned") \
	X(RESERVED, 7, "a reserved field is not zero") \
	X(KIND, 8, "unknown unit program kind") \
	X(UNIT, 9, "no such unit in the granted tiles") \
	X(UNIT_BUSY, 10, "the unit holds no more programs") \
	X(COUNTER, 11, "bad counter: step, bounds, kind or number") \
	X(MASK, 12, "a mask selects a counter that is not there, or not an outer one") \
	X(PORT, 13, "bad port: number, register or count") \
	X(NO_STREAM, 14, "a port without a stream") \
	X(NO_PRODUCER, 15, "a stream without a producer, or with two") \
	X(NO_CONSUMER, 16, "a stream without a consumer, or a port named twice") \
	X(RATE, 17, "a stream's rates do not balance") \
	X(CYCLE, 18, "a stage has a cycle of streams") \
	X(ACTIVATIONS, 19, "programs of one stage differ in activations") \
	X(DEADLOCK, 20, "the tokens deadlock") \
	X(TOKEN, 21, "bad token edge") \
	X(BUFFER, 22, "a buffer is outside the scratchpad or overlaps another") \
	X(RACE, 23, "a buffer's writer and reader are not ordered by tokens") \
	X(ADDRESS, 24, "an access leaves its buffer") \
	X(OPCODE, 25, "unknown operation") \
	X(OPERAND, 26, "bad operand") \
	X(STAGES, 27, "more stages, registers or tail operations than the chip has") \
	X(SYSTOLIC, 28, "bad systolic body, or the chip has no such array") \
	X(FORMAT, 29, "unknown format or packing") \
	X(SEGMENT, 30, "no such segment") \
	X(SCALAR, 31, "no such argument register") \
	X(ROUTE, 32, "a route does not join its stream's units") \
	X(WIRES, 33, "more routes on a link than it has wires") \
	X(BODY, 34, "a body is outside the image or of the wrong size") \
	X(REGION, 35, "a segment names no region, or lies outside it") \
	X(SCHEDULE, 36, "a bad step or entry point") \
	X(UNSUPPORTED, 37, "valid, but not supported by this card") \
	X(NAME, 38, "a name is not terminated") \
	X(KEEP, 39, "a section that cannot be kept: it does more than fill scratchpads")

enum rdu_cfg_error {
#define RDU_CFG_ERROR_ENUM(n, v, t) RDU_CFG_E_##n = v,
	RDU_CFG_ERRORS(RDU_CFG_ERROR_ENUM)
#undef RDU_CFG_ERROR_ENUM
};

#endif
