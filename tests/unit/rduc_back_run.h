/* SPDX-License-Identifier: MIT */
/*
 * Runs a compiled program in this process: reads the ELF file rduc wrote, gives
 * every region memory, and executes an entry point's sections one by one.
 */
#ifndef RDUC_BACK_RUN_H
#define RDUC_BACK_RUN_H

#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fabric.h"

struct ran {
	struct rdu_chip chip;
	unsigned char *program;
	size_t program_size;
	struct rdu_file_region *region;
	size_t num_regions;
	struct rdu_file_symbol *symbol;
	size_t num_symbols;
	unsigned char **memory; /* by region */
	uint64_t cycles, dram_bytes, macs;
	uint32_t fault; /* that stopped the last entry point; 0: none */
	void (*at_loop)(struct ran *r); /* called at each LOOP step; NULL: nobody is */
	/* If the entry has KEEP steps it is run again without them, and this is called before. */
	void (*again)(struct ran *r, void *opaque);
	void *opaque;
	bool ran_again;
};

static inline void *ran_part(Elf *elf, const char *name, size_t *size)
{
	Elf_Scn *scn = NULL;
	size_t strndx;

	*size = 0;
	elf_getshdrstrndx(elf, &strndx);
	while ((scn = elf_nextscn(elf, scn))) {
		GElf_Shdr h;

		gelf_getshdr(scn, &h);
		if (!strcmp(elf_strptr(elf, strndx, h.sh_name), name)) {
			Elf_Data *d = elf_rawdata(scn, NULL);
			void *p = aligned_alloc(64, (d->d_size + 64) / 64 * 64);

			if (d->d_size)
				memcpy(p, d->d_buf, d->d_size);
			*size = d->d_size;
			return p;
		}
	}
	return NULL;
}

static inline int ran_open(struct ran *r, const char *path)
{
	int fd = open(path, O_RDONLY);
	size_t size, data_size;
	unsigned char *data;
	void *chip;
	Elf *elf;

	memset(r, 0, sizeof(*r));
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!elf)
		return -1;
	chip = ran_part(elf, ".rdu.chip", &size);
	if (!chip)
		return -1;
	memcpy(&r->chip, chip, sizeof(r->chip));
	free(chip);
	r->program = ran_part(elf, ".rdu.program", &r->program_size);
	r->region = ran_part(elf, ".rdu.regions", &size);
	r->num_regions = size / sizeof(*r->region);
	r->symbol = ran_part(elf, ".rdu.symbols", &size);
	r->num_symbols = size / sizeof(*r->symbol);
	data = ran_part(elf, ".rdu.data", &data_size);
	elf_end(elf);
	close(fd);
	r->memory = calloc(r->num_regions + 1, sizeof(*r->memory));
	for (size_t i = 0; i < r->num_regions; i++) {
		r->memory[i] = aligned_alloc(64, (r->region[i].size + 127) / 64 * 64);
		if (!r->memory[i])
			return -1;
		/* Weights and state that have no data start as zeros; on those of others nobody may count. */
		if (r->region[i].kind == RDU_REGION_WEIGHT || r->region[i].kind == RDU_REGION_STATE)
			memset(r->memory[i], 0, r->region[i].size);
		else if (r->region[i].size < 1 << 28)
			memset(r->memory[i], 0xa5, r->region[i].size);
		if (r->region[i].data != RDU_NO_DATA)
			memcpy(r->memory[i], data + r->region[i].data,
			       r->region[i].data + r->region[i].size <= data_size
				       ? r->region[i].size
				       : data_size - r->region[i].data);
	}
	free(data);
	return 0;
}

static inline void ran_close(struct ran *r)
{
	for (size_t i = 0; i < r->num_regions; i++)
		free(r->memory[i]);
	free(r->memory);
	free(r->program);
	free(r->region);
	free(r->symbol);
}

static inline void *ran_symbol(struct ran *r, const char *name)
{
	for (size_t i = 0; i < r->num_symbols; i++)
		if (!strcmp(r->symbol[i].name, name))
			return r->memory[r->symbol[i].region] + r->symbol[i].offset;
	return NULL;
}

/*
 * Scratchpads full of NaN. All of a large chip's are much memory, of which a section
 * touches little: every one is a private copy of the same pages.
 */
static inline void ran_scratch(uint32_t **scratch, size_t num, size_t bytes)
{
	int fd = memfd_create("scratchpad", 0);
	unsigned char *p;

	if (fd < 0 || ftruncate(fd, (off_t)bytes))
		abort();
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		abort();
	memset(p, 0xff, bytes);
	munmap(p, bytes);
	for (size_t i = 0; i < num; i++) {
		scratch[i] = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
		if (scratch[i] == MAP_FAILED)
			abort();
	}
	close(fd);
}

/* Runs section number k, in iteration i of the innermost loop around it. */
static inline int ran_section(struct ran *r, uint32_t k, uint64_t i, uint32_t **scratch,
			      struct rdu_pool *pool, bool execute, char *error, size_t error_size)
{
	const struct rdu_prog_header *h = (const void *)r->program;
	const struct rdu_prog_section *q =
		(const struct rdu_prog_section *)(r->program + h->sections_off) + k;
	const struct rdu_prog_segment *seg =
		(const struct rdu_prog_segment *)(r->program + h->segments_off) + q->first_segment;
	const struct rdu_section_time *time;
	struct rdu_segment bound[256];
	struct fab_fault fault;
	struct rdu_cfg_diag diag;
	struct rdu_section *x =
		rdu_section_new(r->program + q->offset, q->size, &r->chip, h->num_tiles, &diag);
	int rc = 0;

	if (!x) {
		snprintf(error, error_size, "%s: %s", q->name, diag.text);
		return -1;
	}
	time = rdu_section_time(x, NULL, NULL, NULL);
	r->cycles += time->cycles;
	r->dram_bytes += time->dram_bytes;
	r->macs += time->macs;
	for (uint32_t s = 0; s < q->num_segments; s++) {
		bound[s].ptr = r->memory[seg[s].region] + seg[s].offset + i * seg[s].loop_stride;
		bound[s].size = seg[s].size;
		bound[s].write = seg[s].access & RDU_SEG_WRITE;
	}
	struct fab_run run = { .segments = bound, .scratch = scratch, .pool = pool };

	if (execute && rdu_section_execute(x, &run, &fault)) {
		snprintf(error, error_size, "%s: fault %d info %u in unit program %u at %llu",
			 q->name, fault.code, fault.info, fault.program,
			 (unsigned long long)fault.addr);
		r->fault = fault.code;
		rc = -1;
	}
	rdu_section_free(x);
	return rc;
}

static inline const struct rdu_prog_step *ran_steps(const struct ran *r, uint32_t e, uint32_t *num)
{
	const struct rdu_prog_header *h = (const void *)r->program;
	const struct rdu_prog_entry *en = (const void *)(r->program + h->entries_off);

	*num = en[e].num_steps;
	return (const struct rdu_prog_step *)(r->program + h->steps_off) + en[e].first_step;
}

/* Does a section of the kind of steps read or write any of these bytes of a region? */
static inline bool ran_touches(const struct ran *r, uint32_t e, enum rdu_step_kind kind,
			       uint32_t region, uint64_t from, uint64_t size)
{
	const struct rdu_prog_header *h = (const void *)r->program;
	uint32_t num;
	const struct rdu_prog_step *step = ran_steps(r, e, &num);

	for (uint32_t s = 0; s < num; s++) {
		const struct rdu_prog_section *q = (const void *)(r->program + h->sections_off);
		const struct rdu_prog_segment *g = (const void *)(r->program + h->segments_off);

		if (step[s].kind != kind)
			continue;
		q += step[s].arg;
		for (g += q->first_segment;
		     g < (const struct rdu_prog_segment *)(r->program + h->segments_off) +
				 q->first_segment + q->num_segments;
		     g++)
			if (g->region == region && from < g->offset + g->size &&
			    g->offset < from + size)
				return true;
	}
	return false;
}

/* Runs an entry's steps; later: without what an earlier run has left in scratchpads. */
static inline int ran_schedule(struct ran *r, uint32_t e, bool later, uint32_t **scratch,
			       struct rdu_pool *pool, bool execute, char *error, size_t error_size)
{
	uint32_t num, body[RDU_MAX_LOOP_DEPTH];
	const struct rdu_prog_step *step = ran_steps(r, e, &num);
	uint64_t done[RDU_MAX_LOOP_DEPTH];
	int rc = 0, depth = 0;

	for (uint32_t s = 0; s < num && !rc; s++) {
		if (later && step[s].kind == RDU_STEP_KEEP)
			continue;
		if (step[s].kind == RDU_STEP_LOOP) {
			body[depth] = s;
			done[depth++] = 0;
			if (r->at_loop)
				r->at_loop(r);
		} else if (step[s].kind == RDU_STEP_END) {
			if (++done[depth - 1] < step[body[depth - 1]].arg)
				s = body[depth - 1];
			else
				depth--;
		} else {
			rc = ran_section(r, step[s].arg, depth ? done[depth - 1] : 0, scratch, pool,
					 execute, error, error_size);
		}
	}
	return rc;
}

/* Runs entry e; execute false: validation and time only. 0 or -1 with a text. */
static inline int ran_entry(struct ran *r, uint32_t e, struct rdu_pool *pool, bool execute,
			    char *error, size_t error_size)
{
	const struct rdu_prog_header *h = (const void *)r->program;
	size_t pmus = execute ? rdu_chip_pmus_per_tile(&r->chip) * h->num_tiles : 0;
	uint32_t **scratch = calloc(pmus + 1, sizeof(*scratch)), num;
	const struct rdu_prog_step *step = ran_steps(r, e, &num);
	bool keeps = false;
	int rc;

	r->cycles = r->dram_bytes = r->macs = 0;
	r->fault = 0;
	if (execute)
		ran_scratch(scratch, pmus, r->chip.pmu_bytes);
	rc = ran_schedule(r, e, false, scratch, pool, execute, error, error_size);
	for (uint32_t s = 0; s < num; s++)
		keeps |= step[s].kind == RDU_STEP_KEEP;
	r->ran_again = !rc && keeps && r->again;
	if (r->ran_again) {
		r->again(r, r->opaque);
		rc = ran_schedule(r, e, true, scratch, pool, execute, error, error_size);
	}
	for (size_t i = 0; i < pmus; i++)
		munmap(scratch[i], r->chip.pmu_bytes);
	free(scratch);
	return rc;
}

#endif
