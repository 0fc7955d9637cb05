/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Commands, completions and faults.
 *
 * A queue is a ring of 64-byte commands in host memory. The producer writes
 * commands, then the new tail (a free-running count) to the queue's doorbell.
 * Commands of one queue start and finish in order. When a command finishes, its
 * sequence number is written to the queue's completion word; then, if
 * RDU_CMD_IRQ is set, the queue's MSI-X vector is raised.
 * A command that fails writes no sequence number: the queue turns FAULTED, its
 * fault registers say why, and the fault vector is raised.
 */
#ifndef RDU_CMD_H
#define RDU_CMD_H

#include <linux/types.h>

/* X(name, value, admin, meaning) */
#define RDU_OPS(X) \
	X(NOP, 0, 0, "does nothing; completes in order (a fence)") \
	X(COPY, 1, 0, "copies len bytes between device addresses; ranges must not overlap") \
	X(FILL, 2, 0, "fills len bytes with a 32-bit value; address and len multiples of 4") \
	X(RUN, 3, 0, "runs an entry point's schedule: program load, argument load, execute for each section") \
	X(PLOAD, 4, 0, "program load: one section of a program slot onto the granted tiles") \
	X(ALOAD, 5, 0, "argument load: binds the loaded section's segments") \
	X(EXEC, 6, 0, "executes the loaded section") \
	X(TIMESTAMP, 7, 0, "writes the card clock (64 bits, cycles) to dst") \
	X(PROG_LOAD, 64, 1, "validates a program image in card memory and keeps it in a slot") \
	X(PROG_UNLOAD, 65, 1, "empties a slot")

enum rdu_op {
#define RDU_OP_ENUM(n, v, a, d) RDU_OP_##n = v,
	RDU_OPS(RDU_OP_ENUM)
#undef RDU_OP_ENUM
};

#define RDU_CMD_IRQ 0x1 /* raise the queue's vector when done */
#define RDU_CMD_ALL_FLAGS 0x1

struct rdu_cmd {
	__u8 op;    /* enum rdu_op */
	__u8 flags; /* RDU_CMD_* */
	__u16 zero;
	__u32 slot; /* RUN, PLOAD, PROG_*: program slot */
	__u64 seqno;
	union {
		struct {
			__u64 src, dst, len, zero[3];
		} copy; /* COPY; TIMESTAMP uses dst */
		struct {
			__u64 dst, len;
			__u32 value, zero32;
			__u64 zero[3];
		} fill;
		struct {
			__u32 index;      /* RUN: entry point; PLOAD: section */
			__u32 trace_size; /* bytes at trace; 0: no trace */
			__u64 args;       /* device address of struct rdu_args (ALOAD, RUN) */
			__u64 args_size;
			__u64 stats;      /* device address of struct rdu_stats; 0: none */
			__u64 trace;      /* device address of struct rdu_trace; 0: none */
			/*
			 * RUN: what KEEP steps (program.h) brought may stay for a later RUN of
			 * the program with the same epoch, if in between no other than this
			 * queue's commands, at the addresses they name, changes the memory it
			 * came from, and no other memory is mapped there. 0: nothing stays, and
			 * nothing that stayed is used.
			 */
			__u32 epoch;
			__u32 zero;
		} run;
		struct {
			__u64 addr;   /* card address of the program image */
			__u64 size;   /* bytes */
			__u64 result; /* host address of struct rdu_prog_result; 0: none */
			__u32 tiles;  /* tiles the program may use at most; 0: all of the chip */
			__u32 zero32;
			__u64 zero[2];
		} prog;
		__u64 raw[6];
	};
};

/* Argument block: this header, regions[num_regions], then scalars[num_scalars]. */
struct rdu_args {
	__u32 num_regions;
	__u32 num_scalars;
	struct {
		__u64 addr; /* device address, 64-byte aligned */
		__u64 size; /* bytes */
	} regions[];
};

/* Answer to PROG_LOAD: written before the command completes, also on refusal.
 * A refused program does not fault the administrator's queue. */
struct rdu_prog_result {
	__u32 error;   /* enum rdu_cfg_error, 0: accepted */
	__u32 section; /* section that is at fault, ~0: the program image itself */
	__u64 offset;  /* byte offset of the offender in the program image */
};

struct rdu_stats {
	__u64 start_cycle, end_cycle; /* card clock */
	/* These add up to the time from start to end. Program load counts with what it adds to it: of
	 * one that goes on while a section runs, that is what shows behind it. */
	__u64 exec_cycles, pload_cycles, aload_cycles, copy_cycles;
	__u64 dram_bytes;  /* moved by the AGCUs to and from memory */
	__u64 macs;        /* systolic multiply-accumulates */
	__u64 flops;       /* SIMD floating-point operations, all lanes (FMA: 2) */
	__u64 sections;    /* executions */
	__u64 wall_ns;     /* measured on the host, not modelled */
	__u64 kept;        /* KEEP steps left out: what they bring was there */
	__u64 energy;      /* picojoules, modelled; 0: the chip's process is not known */
	__u64 load_bytes;  /* of program images loaded, shown or not */
	__u64 zero[2];
};

enum rdu_trace_kind {
	RDU_TRACE_PLOAD = 0, /* from its begin, which may lie under the EXEC before, to its end */
	RDU_TRACE_ALOAD = 1,
	RDU_TRACE_EXEC = 2,  /* one section from start to end */
	RDU_TRACE_STAGE = 3, /* one activation of stage `id` of `section` */
	RDU_TRACE_UNIT = 4,  /* counters of unit program `id`: see below */
};

struct rdu_trace_event {
	__u32 kind;
	__u32 section;
	__u32 id;    /* stage or unit program; STAGE: `arg` is the activation's number */
	__u32 arg;
	__u64 start; /* cycles; UNIT: cycles busy */
	__u64 end;   /* cycles; UNIT: cycles stalled on input */
	__u64 stall_out; /* UNIT: cycles stalled on output */
	__u64 stall_mem; /* UNIT: cycles stalled on memory */
};

struct rdu_trace {
	__u32 count;   /* events written */
	__u32 dropped; /* events for which there was no room */
	struct rdu_trace_event events[];
};

/* X(name, value, text) */
#define RDU_FAULTS(X) \
	X(NONE, 0, "no fault") \
	X(BAD_COMMAND, 1, "unknown operation, or a reserved field is not zero") \
	X(BAD_RING, 2, "the command ring cannot be read") \
	X(BAD_SLOT, 3, "no program in that slot, or no such section or entry point") \
	X(NO_TILES, 4, "the program needs more tiles than the queue was granted") \
	X(BAD_ARGS, 5, "the argument block does not fit the program") \
	X(PAGE, 6, "a device address is not mapped") \
	X(PROTECTION, 7, "write to a read-only mapping") \
	X(SEGMENT, 8, "an address is outside its segment") \
	X(BOUNDS, 9, "a data-dependent index or length is out of range") \
	X(NOT_LOADED, 10, "execute or argument load without a loaded section") \
	X(HOST_BUS, 11, "host memory could not be read or written") \
	X(WATCHDOG, 12, "the command took longer than the watchdog allows") \
	X(ECC, 13, "uncorrectable memory error") \
	X(CONFIG, 14, "the configuration was refused (info: enum rdu_cfg_error)") \
	X(INTERNAL, 15, "the card has no memory left for its own work") \
	X(VALUE, 16, "a value does not fit where it is to go")

enum rdu_fault {
#define RDU_FAULT_ENUM(n, v, t) RDU_FAULT_##n = v,
	RDU_FAULTS(RDU_FAULT_ENUM)
#undef RDU_FAULT_ENUM
};

/*
 * Q_FAULT_INFO of VALUE: what did not fit. The card itself gives LOAD and STORE,
 * with the element's byte offset in its segment as the address, and TERNARY. The others come
 * from TRAP operations of a program (config.h): operand b is the number, and the
 * address is the element's place in the program's stream, lanes * firing + lane.
 * X(name, value, text)
 */
#define RDU_TRAPS(X) \
	X(LOAD, 1, "an element of 64 bits does not fit 32") \
	X(STORE, 2, "a value does not fit the elements it is stored as") \
	X(INT64, 3, "the result of int64 arithmetic does not fit 32 bits") \
	X(CONVERT, 4, "a floating-point value converted to int64 does not fit 32 bits") \
	X(INDEX, 5, "an index is out of range") \
	X(DIVIDE, 6, "an integer is divided by zero") \
	X(POWER, 7, "an integer is raised to a power that is negative or too large") \
	X(TERNARY, 8, "two bits of a ternary weight are 10") \
	X(FINITE, 9, "a number of those that are compared is infinite, or none") \
	X(QUOTIENT, 10, "a remainder is of a quotient of 2^24 or more")

enum rdu_trap {
#define RDU_TRAP_ENUM(n, v, t) RDU_TRAP_##n = v,
	RDU_TRAPS(RDU_TRAP_ENUM)
#undef RDU_TRAP_ENUM
};

/* Q_FAULT_INFO of PAGE, PROTECTION and HOST_BUS: this bit for a write; for the
 * first two also, in bits 4 and up, the page-table level where the walk ended. */
#define RDU_FAULT_INFO_WRITE 0x1
#define RDU_FAULT_INFO_LEVEL(info) ((info) >> 4)

#endif
