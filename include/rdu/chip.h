/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The chip description: what a card is made of.
 *
 * One table, RDU_CHIP_FIELDS, gives every field once: its C name, the index of
 * its capability register (RDU_REG_CHIP + 4 * index), its unit and its meaning.
 * The text format of a chip description file is one "name value" pair a line
 * ('#' starts a comment, a '*' after the value marks it as assumed); `rdu chip`
 * prints one with all of it explained. Off-chip memory is named as data sheets
 * do: Documentation/card.md has the sources.
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
	X(23, dram_burst, "bytes", "off-chip burst, and what a channel moves by one read or write command") \
	X(24, dram_latency, "cycles", "from request to data, nobody else asking: device, controller, wires") \
	X(25, host_mbps, "MB/s", "host link bandwidth, each way") \
	X(26, host_latency, "cycles", "host link latency") \
	X(27, pload_bytes, "bytes/cycle", "rate at which a configuration is loaded") \
	X(28, pload_latency, "cycles", "fixed cost of a program load") \
	X(29, aload_cycles, "cycles", "fixed cost of an argument load") \
	X(30, aload_per_segment, "cycles", "cost of binding one segment") \
	X(31, process_nm, "nm", "process, which energy follows from; 0: not known, and so is energy") \
	X(32, dram_groups, "", "bank groups of a channel; 1: none") \
	X(33, dram_banks, "", "banks of a channel, of all its groups together") \
	X(34, dram_row, "bytes", "row of a bank, over all devices of the channel") \
	X(35, dram_tck, "ps", "tCK: memory clock") \
	X(36, dram_cl, "clocks", "CL: from a read command to the first data") \
	X(37, dram_cwl, "clocks", "CWL: from a write command to the first data") \
	X(38, dram_tccd_s, "clocks", "tCCD_S: between column commands; a burst fills the bus for as long") \
	X(39, dram_tccd_l, "clocks", "tCCD_L: between column commands to banks of one group") \
	X(40, dram_trcd, "ps", "tRCD: from activate to read or write") \
	X(41, dram_trp, "ps", "tRP: from precharge to activate") \
	X(42, dram_tras, "ps", "tRAS: from activate to precharge") \
	X(43, dram_trc, "ps", "tRC: from activate to activate, of one bank") \
	X(44, dram_trrd_s, "ps", "tRRD_S: between activates") \
	X(45, dram_trrd_l, "ps", "tRRD_L: between activates of banks of one group") \
	X(46, dram_tfaw, "ps", "tFAW: holds four activates at most") \
	X(47, dram_twtr_s, "ps", "tWTR_S: from the end of written data to a read command") \
	X(48, dram_twtr_l, "ps", "tWTR_L: the same to a bank of the same group") \
	X(49, dram_trtp, "ps", "tRTP: from read to precharge") \
	X(50, dram_trtw, "clocks", "tRTW: from a read to a write command") \
	X(51, dram_twr, "ps", "tWR: from the end of written data to precharge") \
	X(52, dram_trfc, "ps", "tRFC: from refresh to activate") \
	X(53, dram_trefi, "ps", "tREFI: between refreshes of a channel") \
	X(54, dram_queue, "", "reads, and writes, that wait in a channel's controller at most") \
	X(55, dram_drain_high, "", "waiting writes that make a controller turn from reads to writes") \
	X(56, dram_drain_low, "", "waiting writes at which it turns back, if reads wait") \
	X(57, dram_drain_idle, "cycles", "without a new read after which it writes what waits") \
	X(58, agcu_requests, "", "bursts an AGCU has asked for and not yet got, at most") \
	X(59, agcu_vectors, "", "vectors of a LOAD that wait for their bursts, at most") \
	X(60, agcu_lines, "", "bursts in which a program of an AGCU coalesces: the last ones it touched") \
	X(61, fifo_vectors, "", "vectors that the FIFO of an input port holds") \
	X(62, config_planes, "", "configurations a unit holds; 2: the next section is loaded while one runs") \
	X(63, config_switch, "cycles", "from one configuration plane to the other")

#define RDU_CHIP_NUM_FIELDS 64 /* 64 at most: `assumed` has a bit for each */

#define RDU_MAX_AGCU_LINES 128

struct rdu_chip {
	char name[RDU_CHIP_NAME_LEN]; /* zero padded */
	__u64 assumed;                /* bit i: field i is assumed, not published */
#define RDU_CHIP_MEMBER(i, f, u, d) __u32 f;
	RDU_CHIP_FIELDS(RDU_CHIP_MEMBER)
#undef RDU_CHIP_MEMBER
};

#endif
