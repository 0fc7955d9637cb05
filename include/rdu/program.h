/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The program image (what the card is given: sections, schedule, regions) and
 * the program file (ELF64, what the compiler writes and librdu loads).
 *
 * A program image holds no weights and no names of tensors; those are in the
 * file. Program image layout: header, tables, section configuration images.
 */
#ifndef RDU_PROGRAM_H
#define RDU_PROGRAM_H

#include <linux/types.h>

#define RDU_PROG_MAGIC 0x474f5052 /* "RPOG" */
#define RDU_PROG_VERSION 2
/* Bytes of a program image: the one limit of compiler, library, driver and card
 * (rdu_program_validate()). */
#define RDU_MAX_PROGRAM_IMAGE (256u << 20)
#define RDU_MAX_SECTIONS 4096
#define RDU_MAX_ENTRIES 64
#define RDU_MAX_REGIONS 4096
#define RDU_MAX_STEPS 65536
#define RDU_MAX_LOOP_DEPTH 4

struct rdu_prog_header {
	__u32 magic;
	__u16 version;
	__u16 header_size;
	__u32 size; /* bytes of the whole program image */
	__u32 num_tiles;
	__u64 chip_hash;
	__u32 num_regions; /* given at run time in struct rdu_args */
	__u32 num_scalars;
	__u32 sections_off, num_sections; /* struct rdu_prog_section */
	__u32 segments_off, num_segments; /* struct rdu_prog_segment */
	__u32 entries_off, num_entries; /* struct rdu_prog_entry */
	__u32 steps_off, num_steps; /* struct rdu_prog_step */
	__u32 regions_off, zero; /* __u64 sizes[num_regions] */
};

struct rdu_prog_section {
	__u32 offset, size; /* configuration image, offset a multiple of 8 */
	__u32 first_segment, num_segments; /* num_segments as in the image's header */
	char name[48]; /* for people: the operators it holds, zero terminated */
};

#define RDU_SEG_READ 0x1
#define RDU_SEG_WRITE 0x2

struct rdu_prog_segment {
	__u32 region;
	__u32 access; /* RDU_SEG_* */
	__u64 offset; /* bytes into the region */
	__u64 size; /* bytes */
	__u64 loop_stride; /* added per iteration of the innermost loop around the step */
};

struct rdu_prog_entry {
	/* Zero terminated. NAME[...]: of the same graph as NAME, for other shapes of its inputs,
	 * whose tensors are called NAME[...]/TENSOR. */
	char name[32];
	__u32 first_step, num_steps;
};

enum rdu_step_kind {
	RDU_STEP_RUN = 0, /* arg: section: program load (if not loaded), argument load, execute */
	RDU_STEP_LOOP = 1, /* arg: iterations */
	RDU_STEP_END = 2,
	/*
	 * arg: section, which brings memory's contents into scratchpads and does nothing else.
	 * As RUN, but left out while they are there from an earlier RUN command (cmd.h, `epoch`):
	 * the card has seen nobody write to these scratchpads, or to that memory, since. Not in
	 * a loop. The section stores nothing, reads no buffer that it does not write, adds to
	 * none, and reads no argument registers.
	 */
	RDU_STEP_KEEP = 3,
};

struct rdu_prog_step {
	__u32 kind, arg;
};

/* ---- the ELF64 file ---------------------------------------------------- */

/*
 * e_type ET_EXEC, e_machine RDU_ELF_MACHINE. Sections, all little-endian:
 *   .rdu.chip     struct rdu_chip it was compiled for
 *   .rdu.program  program image
 *   .rdu.regions  struct rdu_file_region[]
 *   .rdu.symbols  struct rdu_file_symbol[]
 *   .rdu.ops      struct rdu_file_op[]: names behind op_id
 *   .rdu.data     initial contents of regions (weights), aligned to 4096
 *   .rdu.meta     text, "key value" a line: model, options, expected cycles, ...
 *   .rdu.hash     __u64: FNV-1a 64 over all the sections above, in this order
 * and .symtab/.strtab naming entry points (STT_FUNC) and symbols (STT_OBJECT).
 */
#define RDU_ELF_MACHINE 0x5244

enum rdu_region_kind {
	RDU_REGION_INPUT = 0,
	RDU_REGION_OUTPUT = 1,
	RDU_REGION_WEIGHT = 2, /* trained or constant */
	RDU_REGION_STATE = 3, /* the optimizer's or the model's, counters */
	RDU_REGION_TEMP = 4, /* activations: contents do not outlive a run */
};

#define RDU_NO_DATA 0xffffffffffffffffULL

struct rdu_file_region {
	char name[64];
	__u32 kind; /* enum rdu_region_kind */
	__u32 zero;
	__u64 size;
	__u64 align;
	__u64 data; /* offset in .rdu.data, or RDU_NO_DATA: starts as zeros */
};

/*
 * Element types are ONNX's TensorProto.DataType numbers. An element of 2 or 4 bits takes a byte: the
 * integer itself, or, of F4E2M1, its code.
 */
enum rdu_dtype {
	RDU_DT_F32 = 1,
	RDU_DT_U8 = 2,
	RDU_DT_I8 = 3,
	RDU_DT_U16 = 4,
	RDU_DT_I16 = 5,
	RDU_DT_I32 = 6,
	RDU_DT_I64 = 7,
	RDU_DT_BOOL = 9,
	RDU_DT_F16 = 10,
	RDU_DT_F64 = 11,
	RDU_DT_U32 = 12,
	RDU_DT_U64 = 13,
	RDU_DT_BF16 = 16,
	RDU_DT_F8E4M3FN = 17,
	RDU_DT_F8E4M3FNUZ = 18,
	RDU_DT_F8E5M2 = 19,
	RDU_DT_F8E5M2FNUZ = 20,
	RDU_DT_U4 = 21,
	RDU_DT_I4 = 22,
	RDU_DT_F4E2M1 = 23,
	RDU_DT_F8E8M0 = 24,
	RDU_DT_U2 = 25,
	RDU_DT_I2 = 26,
};

#define RDU_SYM_INPUT 0x1
#define RDU_SYM_OUTPUT 0x2
#define RDU_SYM_WEIGHT 0x4 /* a parameter or buffer of the model */
#define RDU_SYM_STATE 0x8
#define RDU_SYM_CONSTANT 0x10 /* part of the program: neither saved nor restored */
#define RDU_SYM_MODEL_STATE 0x20 /* with STATE: the model's own (a cache), not the optimizer's */

#define RDU_MAX_DIMS 8

/*
 * Dimension d of an input or output is of rows, of kind k (1 to 7): row i of each output is made of
 * rows i of the inputs, of all that have rows of this kind, and of nothing else of them; how
 * many rows there are makes no difference. So fewer rows can be given, and others
 * behind them: the entry point's outputs are right in as many rows as were given.
 */
#define RDU_SYM_ROWS(d, k) ((__u32)(k) << (8 + 3 * (d)))
#define RDU_SYM_ROWS_OF(flags, d) ((flags) >> (8 + 3 * (d)) & 7)

/*
 * A matrix [terms, results] (with TRANSPOSED: [results, terms]) of which blocks alone are kept. The
 * region holds [columns, most, n, n]: of each column of blocks, n results, up to `most` blocks of n
 * terms. Symbol `table`, int32 or uint16 [columns, most], says which block of terms each one is, in rising
 * order; what does not rise, or is behind the last block of terms, only fills up. Elements
 * of blocks that are not there are 0.
 */
#define RDU_SYM_BLOCKS 0x40
#define RDU_SYM_TRANSPOSED 0x80 /* with BLOCKS */

/*
 * An output of which data say how large it is: not RDU_SYM_BLOCKS, and bit d of `block` is set for each such
 * dimension d. Symbol `table`, an output of the same entry points, int64, has an element for each of these, in
 * order: how many of it a run has made, not more than dims[d]. The region holds dims[]; what lies behind those
 * has no meaning.
 */

/* A named tensor, row-major in its region, or in blocks. */
struct rdu_file_symbol {
	char name[64];
	__u32 region;
	__u32 dtype; /* enum rdu_dtype */
	__u32 flags; /* RDU_SYM_*, RDU_SYM_ROWS() */
	__u32 ndim;
	__u64 offset; /* bytes into the region */
	__s64 dims[RDU_MAX_DIMS];
	__u64 entries; /* bit e: used by entry point e */
	__u32 table, block; /* with BLOCKS: number of a symbol, and n; of an output: see above; else 0 */
};

/* What a longer name of a tensor becomes: its first 54 bytes, "~", and its hash. */
#define RDU_LONG_NAME_FORMAT "%.54s~%08x"
#define RDU_LONG_NAME_HASH(name, length) ((__u32)rdu_fnv1a(RDU_FNV1A_INIT, name, length))

struct rdu_file_op {
	char name[64]; /* ONNX node name, or what it became */
	char type[32]; /* operator, or "grad of ..." */
};

#define RDU_FNV1A_INIT 0xcbf29ce484222325ULL

static inline __u64 rdu_fnv1a(__u64 h, const void *data, unsigned long n)
{
	const unsigned char *p = (const unsigned char *)data;

	while (n--)
		h = (h ^ *p++) * 0x100000001b3ULL;
	return h;
}

#endif
