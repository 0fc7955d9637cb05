/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The chip description: what a card is made of.
 *
 * One table, RDU_CHIP_FIELDS, gives every field once: its C name, the index of
 * its capability register (RDU_REG_CHIP + 4 * index), its unit and its meaning.
 * The text format of a chip description file is one "name value" pair a line
 * ('#' starts a comment, a '*' after the value marks it as assumed).
 *
 * Nothing above the card is compiled for one chip: the compiler, the library
 * and the tools read these fields from a description or from the registers.
 */
#ifndef RDU_CHIP_H
#define RDU_CHIP_H

#include <linux/types.h>

#define RDU_CHIP_NAME_LEN 16

/* X(index, field, unit, meaning) */
#define RDU_CHIP_FIELDS(X) \
	X(0, tiles, "", "tiles on the chip, stacked along y; the grain of sharing") \
	X(1, tile_cols, "", "switches (and so units) along x in a tile") \
	X(2, tile_rows, "", "switches along y in a tile; (x + y) even: PCU, odd: PMU") \
	X(3, agcus_per_tile, "", "AGCUs of a tile; number i at x = (i & 1 ? cols - 1 : 0), y = i / 2 % rows") \
	X(4, lanes, "words", "32-bit words in a vector") \
	X(5, simd_stages, "", "stages of a PCU's SIMD body") \
	X(6, simd_regs, "", "registers of a PCU stage, per lane") \
	X(7, tail_stages, "", "operations of a PCU's tail") \
	X(8, pcu_vec_in, "", "vector input ports of a PCU") \
	X(9, pcu_vec_out, "", "vector output ports of a PCU") \
	X(10, systolic_cols, "", "columns of the lanes x columns systolic array; 0: none") \
	X(11, clock_khz, "kHz", "fabric clock") \
	X(12, pmu_bytes, "bytes", "scratchpad of a PMU") \
	X(13, pmu_banks, "", "banks of a scratchpad, one word wide") \
	X(14, pmu_writes, "", "write programs a PMU holds (they share one vector a cycle)") \
	X(15, pmu_reads, "", "read programs a PMU holds (they share one vector a cycle)") \
	X(16, agcu_programs, "", "programs an AGCU holds (they share one vector a cycle)") \
	X(17, vec_links, "", "vector streams a link between switches carries, each way") \
	X(18, hop_cycles, "cycles", "latency of one switch hop") \
	X(19, pmu_cycles, "cycles", "latency of a scratchpad access") \
	X(20, stage_cycles, "cycles", "latency of one SIMD stage or tail operation") \
	X(21, dram_mbps, "MB/s", "off-chip bandwidth of the chip (10^6 bytes per second)") \
	X(22, dram_channels, "", "off-chip channels") \
	X(23, dram_burst, "bytes", "off-chip burst") \
	X(24, dram_latency, "cycles", "off-chip latency") \
	X(25, host_mbps, "MB/s", "host link bandwidth, each way") \
	X(26, host_latency, "cycles", "host link latency") \
	X(27, pload_bytes, "bytes/cycle", "rate at which a configuration is loaded") \
	X(28, pload_latency, "cycles", "fixed cost of a program load") \
	X(29, aload_cycles, "cycles", "fixed cost of an argument load") \
	X(30, aload_per_segment, "cycles", "cost of binding one segment") \
	X(31, tlb_cycles, "cycles", "reserved for address translation cost; 0: free")

#define RDU_CHIP_NUM_FIELDS 32

struct rdu_chip {
	char name[RDU_CHIP_NAME_LEN]; /* zero padded */
	__u64 assumed;                /* bit i: field i is assumed, not published */
#define RDU_CHIP_MEMBER(i, f, u, d) __u32 f;
	RDU_CHIP_FIELDS(RDU_CHIP_MEMBER)
#undef RDU_CHIP_MEMBER
};

#endif
