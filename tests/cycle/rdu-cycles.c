// SPDX-License-Identifier: MIT
/*
 * rdu-cycles FILE [ENTRY [BELOW]]: every section of a program's entry point, cycle by
 * cycle, beside the time that the card gives. Memory holds small numbers of both signs,
 * int64 those below BELOW (1: zeros); after each section the two must hold the same bits,
 * and have moved the same bytes where no address is data. "run" at the end is with program
 * and argument loads.
 */
#include "cycle.h"
#include "rduc_back_run.h"

static void fill(struct ran *r, uint32_t below)
{
	uint32_t x = 1;

	for (size_t i = 0; i < r->num_symbols; i++) {
		const struct rdu_file_symbol *s = &r->symbol[i];
		float *p = (float *)(r->memory[s->region] + s->offset);
		size_t bytes = r->region[s->region].size - s->offset;

		if (r->region[s->region].data != RDU_NO_DATA)
			continue;
		for (size_t k = 0; s->dtype == RDU_DT_F32 && k < bytes / 4; k++) {
			x = x * 1664525 + 1013904223;
			p[k] = (float)((int)(x >> 20) - 2048) / 1024;
		}
		if (s->dtype != RDU_DT_F32)
			memset(p, 0, bytes);
		for (size_t k = 0; s->dtype == RDU_DT_I64 && k < bytes / 8; k++) {
			x = x * 1664525 + 1013904223;
			((int64_t *)(void *)p)[k] = (x >> 8) % below;
		}
	}
}

/* Scratchpads that the section has buffers in, those that are not there yet. */
static void scratch_for(uint32_t **scratch, const struct rdu_section *s)
{
	uint32_t pmus = rdu_chip_pmus_per_tile(&s->chip);

	for (uint32_t i = 0; i < s->hdr->buffers.count; i++) {
		uint32_t **p = &scratch[s->buffers[i].tile * pmus + s->buffers[i].unit];

		if (*p)
			continue;
		*p = aligned_alloc(64, s->chip.pmu_bytes);
		memset(*p, 0xff, s->chip.pmu_bytes);
	}
}

static bool gathers(const struct rdu_section *s)
{
	for (uint32_t i = 0; i < s->hdr->programs.count; i++) {
		unsigned int kind = s->programs[i].kind;
		const struct rdu_cfg_access *a = s->progs[i].body;

		if ((kind == RDU_KIND_LOAD || kind == RDU_KIND_STORE) &&
		    a->flags & RDU_ACCESS_GATHER)
			return true;
	}
	return false;
}

/* An entry point by its name or number; one that is not there, or that has loops, ends this. */
static uint32_t find_entry(const struct rdu_prog_header *h, const struct rdu_prog_entry *en,
			   const struct rdu_prog_step *step, const char *name)
{
	uint32_t e = 0;
	char number[12] = "0";

	while (name && e < h->num_entries && strcmp(en[e].name, name) && strcmp(number, name))
		snprintf(number, sizeof(number), "%u", ++e);
	if (e == h->num_entries) {
		fprintf(stderr, "rdu-cycles: there is no entry point '%s'\n", name);
		exit(2);
	}
	for (uint32_t k = 0; k < en[e].num_steps; k++)
		if (step[en[e].first_step + k].kind != RDU_STEP_RUN &&
		    step[en[e].first_step + k].kind != RDU_STEP_KEEP) {
			fprintf(stderr, "rdu-cycles: %s has a loop, which is not simulated\n",
				en[e].name);
			exit(1);
		}
	return e;
}

int main(int argc, char **argv)
{
	struct ran a, b;
	const struct rdu_prog_header *h;
	const struct rdu_prog_section *sec;
	const struct rdu_prog_segment *seg;
	const struct rdu_prog_entry *en;
	const struct rdu_prog_step *step;
	uint32_t e, **sa, **sb;
	uint32_t below = argc > 3 ? (uint32_t)atoi(argv[3]) : 1;
	uint64_t *base, at = 0, loads[2] = { 0 }, runs[2] = { 0 };
	struct rdu_load_under under[2] = { 0 };
	struct rdu_planes planes[2] = { 0 };
	char error[300];
	size_t pmus;
	int bad = 0;

	if (argc < 2 || !below || ran_open(&a, argv[1]) || ran_open(&b, argv[1])) {
		fprintf(stderr, "rdu-cycles FILE [ENTRY [BELOW]]\n");
		return 2;
	}
	fill(&a, below);
	fill(&b, below);
	h = (const void *)a.program;
	sec = (const void *)(a.program + h->sections_off);
	seg = (const void *)(a.program + h->segments_off);
	en = (const void *)(a.program + h->entries_off);
	step = (const void *)(a.program + h->steps_off);
	e = find_entry(h, en, step, argc > 2 ? argv[2] : NULL);
	base = calloc(a.num_regions + 1, sizeof(*base));
	for (size_t i = 0; i < a.num_regions; i++) {
		base[i] = at;
		at += (a.region[i].size + 4095) / 4096 * 4096;
	}
	pmus = rdu_chip_pmus_per_tile(&a.chip) * h->num_tiles;
	sa = calloc(pmus + 1, sizeof(*sa));
	sb = calloc(pmus + 1, sizeof(*sb));
	printf("%-40s %12s %12s %7s %12s %12s\n", "section", "card", "cycles", "ratio", "card MB",
	       "MB");
	for (uint32_t k = 0; k < en[e].num_steps; k++) {
		const struct rdu_prog_section *q = &sec[step[en[e].first_step + k].arg];
		struct rdu_segment ga[256];
		struct cycle_segment gb[256];
		struct fab_fault fault;
		struct rdu_cfg_diag diag;
		struct rdu_section *x = rdu_section_new(a.program + q->offset, q->size, &a.chip,
							h->num_tiles, &diag);
		const struct rdu_section_time *t;
		struct cycle_result got = { 0 };
		bool same = true, moved;

		if (!x) {
			printf("%s: %s\n", q->name, diag.text);
			return 1;
		}
		scratch_for(sa, x);
		scratch_for(sb, x);
		for (uint32_t i = 0; i < q->num_segments; i++) {
			const struct rdu_prog_segment *g = &seg[q->first_segment + i];

			ga[i] = (struct rdu_segment){ a.memory[g->region] + g->offset, g->size,
						      g->access & RDU_SEG_WRITE };
			gb[i] = (struct cycle_segment){ .data = b.memory[g->region] + g->offset,
							.size = g->size,
							.address = base[g->region] + g->offset };
		}
		struct fab_run run = { .segments = ga, .scratch = sa };
		struct cycle_setup setup = {
			.section = x, .segments = gb, .scratch = sb, .limit = 100000000
		};

		t = rdu_section_time(x, NULL, NULL, NULL);
		if (rdu_section_execute(x, &run, &fault)) {
			printf("%s: fault %d\n", q->name, fault.code);
			return 1;
		}
		if (cycle_run(&setup, &got, error, sizeof(error))) {
			printf("%s: %s\n", q->name, error);
			bad++;
			rdu_section_free(x);
			continue;
		}
		for (uint32_t i = 0; i < q->num_segments; i++)
			same &= !memcmp(ga[i].ptr, gb[i].data, ga[i].size);
		moved = t->dram_bytes == got.dram_bytes || gathers(x);
		printf("%-40.40s %12llu %12llu %7.3f %12.3f %12.3f%s%s\n", q->name,
		       (unsigned long long)t->cycles, (unsigned long long)got.cycles,
		       (double)t->cycles / (double)got.cycles, (double)t->dram_bytes / 1e6,
		       (double)got.dram_bytes / 1e6, same ? "" : "  DIFFERENT BITS",
		       moved ? "" : "  DIFFERENT BYTES");
		if (getenv("V"))
			printf("    reads %llu writes %llu activates %llu refreshes %llu turns "
			       "%llu\n",
			       (unsigned long long)got.memory.reads,
			       (unsigned long long)got.memory.writes,
			       (unsigned long long)got.memory.activates,
			       (unsigned long long)got.memory.refreshes,
			       (unsigned long long)got.memory.turnarounds);
		for (int i = 0; i < 2; i++) {
			loads[i] += rdu_planes_load(&a.chip, &planes[i], a.program,
						    (uint32_t)(q - sec), q->size, &under[i])
					    .cycles +
				    rdu_aload_cycles(&a.chip, q->num_segments);
			under[i].cycles = i ? got.cycles : t->cycles;
			under[i].dram_bytes = i ? got.dram_bytes : t->dram_bytes;
			runs[i] += under[i].cycles;
		}
		bad += !same || !moved;
		rdu_section_free(x);
	}
	printf("%-40s %12llu %12llu %7.3f\n", "all", (unsigned long long)runs[0],
	       (unsigned long long)runs[1], (double)runs[0] / (double)runs[1]);
	printf("%-40s %12llu %12llu\n", "run", (unsigned long long)(runs[0] + loads[0]),
	       (unsigned long long)(runs[1] + loads[1]));
	return bad ? 1 : 0;
}
