/* SPDX-License-Identifier: MIT */
/*
 * A program that keeps region 0 in scratchpad 0. Its entry points:
 *   main   KEEP: region 0 into scratchpad 0; RUN: scratchpad 0 to region 1
 *   over   region 2 into scratchpad 0
 *   beside region 2 into scratchpad 1
 *   store  region 2 to region 0
 *   read   scratchpad 0 to region 1
 *   carry  region 2 into scratchpad 0; KEEP_CARRIED times: that plus 1 into scratchpad 1, and back
 *          to scratchpad 0, and that to region 1
 */
#ifndef KEEP_PROGRAM_H
#define KEEP_PROGRAM_H

#include "cfgbuild.h"

#define KEEP_VECTORS 64
#define KEEP_WORDS (KEEP_VECTORS * 32)
#define KEEP_BYTES (KEEP_WORDS * 4)

#define KEEP_CARRIED 4
#define KEEP_SECTIONS 7

enum { KEEP_MAIN, KEEP_OVER, KEEP_BESIDE, KEEP_STORE, KEEP_READ, KEEP_CARRY };

/* KEEP_WORDS words of one scratchpad, plus a number, to another. */
static inline void *keep_add(const struct rdu_chip *chip, unsigned int from, unsigned int to,
			     float more, size_t *size)
{
	const struct rdu_cfg_access a = { .lanes = 32, .lane_stride = 1, .stride = { 32 } };
	struct cfgb *b = cfgb_new(chip, 1);
	struct rdu_cfg_access t = a;
	uint32_t read, add, write;

	read = cfgb_program(b, RDU_KIND_READ, 0, from);
	cfgb_loop(b, read, KEEP_VECTORS);
	cfgb_buffer(b, 0, from, 1, 0, KEEP_WORDS);
	cfgb_access(b, read, &a, NULL);
	add = cfgb_program(b, RDU_KIND_SIMD, 0, 0);
	cfgb_loop(b, add, KEEP_VECTORS);
	cfgb_stage(b, add, RDU_SIMD_FADD, 0, cfgb_in(0), cfgb_immf(more), cfgb_none());
	write = cfgb_program(b, RDU_KIND_WRITE, 0, to);
	cfgb_loop(b, write, KEEP_VECTORS);
	t.target = 1;
	cfgb_buffer(b, 0, to, 1, 0, KEEP_WORDS);
	cfgb_access(b, write, &t, NULL);
	cfgb_connect(b, read, 0, add, 0);
	cfgb_connect(b, add, 0, write, 0);
	return cfgb_finish(b, size);
}

/* From one kind of program to another, KEEP_WORDS words; the PMU's, if there is one, is `pmu`. */
static inline void *keep_section(const struct rdu_chip *chip, enum rdu_kind from, enum rdu_kind to,
				 unsigned int pmu, size_t *size)
{
	struct cfgb *b = cfgb_new(chip, 1);
	enum rdu_kind kind[2] = { from, to };
	uint32_t p[2];

	for (int i = 0; i < 2; i++) {
		struct rdu_cfg_access a = { .lanes = 32, .lane_stride = 1, .stride = { 32 } };
		bool memory = kind[i] == RDU_KIND_LOAD || kind[i] == RDU_KIND_STORE;

		if (memory)
			a.target = b->num_segments++;
		else
			cfgb_buffer(b, 0, pmu, 1, 0, KEEP_WORDS);
		p[i] = cfgb_program(b, kind[i], 0, memory ? (unsigned int)i : pmu);
		cfgb_loop(b, p[i], KEEP_VECTORS);
		cfgb_access(b, p[i], &a, NULL);
	}
	cfgb_connect(b, p[0], 0, p[1], 0);
	return cfgb_finish(b, size);
}

/* The program image, malloc'ed. */
static inline void *keep_image(const struct rdu_chip *chip, size_t *size)
{
	static const struct {
		enum rdu_kind from, to;
		unsigned int pmu, segments;
		struct rdu_prog_segment segment[2];
	} sections[] = {
#define READS(r) { .region = r, .access = RDU_SEG_READ, .size = KEEP_BYTES }
#define WRITES(r)                                                        \
	{                                                                \
		.region = r, .access = RDU_SEG_WRITE, .size = KEEP_BYTES \
	}
		{ RDU_KIND_LOAD, RDU_KIND_WRITE, 0, 1, { READS(0) } },
		{ RDU_KIND_READ, RDU_KIND_STORE, 0, 1, { WRITES(1) } },
		{ RDU_KIND_LOAD, RDU_KIND_WRITE, 0, 1, { READS(2) } },
		{ RDU_KIND_LOAD, RDU_KIND_WRITE, 1, 1, { READS(2) } },
		{ RDU_KIND_LOAD, RDU_KIND_STORE, 0, 2, { READS(2), WRITES(0) } },
		{ RDU_KIND_READ, RDU_KIND_WRITE, 0, 0, { { 0 } } },
		{ RDU_KIND_READ, RDU_KIND_WRITE, 1, 0, { { 0 } } },
#undef READS
#undef WRITES
	};
	static const struct rdu_prog_entry entries[] = { { "main", 0, 2 },   { "over", 2, 1 },
							 { "beside", 3, 1 }, { "store", 4, 1 },
							 { "read", 1, 1 },   { "carry", 5, 6 } };
	static const struct rdu_prog_step steps[] = { { RDU_STEP_KEEP, 0 },
						      { RDU_STEP_RUN, 1 },
						      { RDU_STEP_RUN, 2 },
						      { RDU_STEP_RUN, 3 },
						      { RDU_STEP_RUN, 4 },
						      { RDU_STEP_RUN, 2 },
						      { RDU_STEP_LOOP, KEEP_CARRIED },
						      { RDU_STEP_RUN, 5 },
						      { RDU_STEP_RUN, 6 },
						      { RDU_STEP_RUN, 1 },
						      { RDU_STEP_END, 0 } };
	static const uint64_t regions[] = { KEEP_BYTES, KEEP_BYTES, KEEP_BYTES };
	struct rdu_prog_section table[KEEP_SECTIONS] = { 0 };
	struct rdu_prog_header h = { .magic = RDU_PROG_MAGIC,
				     .version = RDU_PROG_VERSION,
				     .header_size = sizeof(h),
				     .num_tiles = 1,
				     .chip_hash = rdu_chip_hash(chip),
				     .num_regions = 3,
				     .num_sections = KEEP_SECTIONS,
				     .num_entries = 6,
				     .num_steps = 11 };
	struct cfgb_table image = { 0 };

	cfgb_add(&image, &h, sizeof(h));
	h.sections_off = image.size;
	cfgb_add(&image, table, sizeof(table));
	h.segments_off = image.size;
	for (unsigned int i = 0; i < KEEP_SECTIONS; i++) {
		table[i].first_segment = h.num_segments;
		table[i].num_segments = sections[i].segments;
		snprintf(table[i].name, sizeof(table[i].name), "section %u", i);
		h.num_segments += sections[i].segments;
		cfgb_add(&image, sections[i].segment,
			 sections[i].segments * sizeof(sections[i].segment[0]));
	}
	h.entries_off = image.size;
	cfgb_add(&image, entries, sizeof(entries));
	h.steps_off = image.size;
	cfgb_add(&image, steps, sizeof(steps));
	h.regions_off = image.size;
	cfgb_add(&image, regions, sizeof(regions));
	for (unsigned int i = 0; i < KEEP_SECTIONS; i++) {
		size_t n;
		unsigned int pmu = sections[i].pmu;
		void *section =
			sections[i].to == RDU_KIND_WRITE && !sections[i].segments
				? keep_add(chip, pmu, !pmu, (float)!pmu, &n)
				: keep_section(chip, sections[i].from, sections[i].to, pmu, &n);

		table[i].offset = image.size;
		table[i].size = n;
		cfgb_add(&image, section, n);
		free(section);
		while (image.size & 7)
			cfgb_add(&image, NULL, 1);
	}
	h.size = image.size;
	memcpy(image.data, &h, sizeof(h));
	memcpy(image.data + h.sections_off, table, sizeof(table));
	*size = image.size;
	return image.data;
}

#endif
