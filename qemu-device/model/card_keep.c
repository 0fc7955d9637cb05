// SPDX-License-Identifier: MIT
/*
 * What KEEP steps have brought into a queue's scratchpads, of one program, and
 * whether it is there still. It is gone when
 *  - a section writes to one of the scratchpads, or one of another program runs;
 *  - a command of the queue writes to memory that it came from;
 *  - a RUN has another epoch, or other regions;
 *  - the queue's tiles are cleared (disable, reset).
 * All of that happens in the order of the queue's commands, so the same commands load the same
 * and take the same time. Memory that is written past the queue, by the host or through other
 * addresses, and other memory that is mapped at the same ones, is what a RUN's epoch tells of.
 */
#include <stdlib.h>
#include <string.h>
#include "card_priv.h"

/* ---- which scratchpads a section writes ------------------------------------- */

static size_t words_of(const struct card_program *p)
{
	return ((size_t)p->hdr->num_tiles * rdu_chip_pmus_per_tile(&p->chip) + 63) / 64;
}

static void find_writes(const struct card_program *p, uint32_t section, uint64_t *writes)
{
	const unsigned char *image = p->image + p->sections[section].offset;
	const struct rdu_cfg_header *h = (const void *)image;
	const struct rdu_cfg_program *prog = (const void *)(image + h->programs.offset);

	for (uint32_t i = 0; i < h->programs.count; i++) {
		size_t pmu = (size_t)prog[i].tile * rdu_chip_pmus_per_tile(&p->chip) + prog[i].unit;

		if (prog[i].kind == RDU_KIND_WRITE)
			writes[pmu / 64] |= 1ull << pmu % 64;
	}
}

int card_kept_prepare(struct card_program *p)
{
	bool any = false;

	for (uint32_t i = 0; i < p->hdr->num_steps; i++)
		any |= p->steps[i].kind == RDU_STEP_KEEP;
	if (!any)
		return 0;
	p->writes = calloc(p->hdr->num_sections, words_of(p) * sizeof(*p->writes));
	if (!p->writes)
		return -1;
	for (uint32_t i = 0; i < p->hdr->num_sections; i++)
		find_writes(p, i, p->writes + i * words_of(p));
	return 0;
}

static bool same_pmus(const struct card_program *p, uint32_t a, uint32_t b)
{
	for (size_t i = 0; i < words_of(p); i++)
		if (p->writes[a * words_of(p) + i] & p->writes[b * words_of(p) + i])
			return true;
	return false;
}

/* ---- what is there ------------------------------------------------------------ */

void card_kept_drop(struct card_queue *q)
{
	rdu_program_put(q->kept.program);
	free(q->kept.there);
	free(q->kept.region);
	memset(&q->kept, 0, sizeof(q->kept));
}

int card_kept_new(struct card_queue *q, struct card_program *p, uint32_t epoch)
{
	struct card_kept *k = &q->kept;

	card_kept_drop(q);
	k->there = calloc(p->hdr->num_sections, sizeof(*k->there));
	k->region = calloc(p->hdr->num_regions + 1, sizeof(*k->region));
	if (!k->there || !k->region) {
		card_kept_drop(q);
		return -1;
	}
	atomic_fetch_add(&p->refs, 1);
	k->program = p;
	k->epoch = epoch;
	return 0;
}

static bool reads(const struct card_program *p, uint32_t section, uint32_t region)
{
	const struct rdu_prog_section *s = &p->sections[section];

	for (uint32_t i = 0; i < s->num_segments; i++)
		if (p->segments[s->first_segment + i].region == region)
			return true;
	return false;
}

void card_kept_begin(struct card_queue *q, const struct card_program *p,
		     const struct rdu_args *args, uint32_t epoch)
{
	struct card_kept *k = &q->kept;

	if (k->program != p)
		return; /* gone when the first section runs */
	if (k->epoch != epoch) {
		card_kept_drop(q);
		return;
	}
	for (uint32_t r = 0; r < p->hdr->num_regions; r++) {
		if (k->region[r] == args->regions[r].addr)
			continue;
		k->region[r] = args->regions[r].addr;
		for (uint32_t s = 0; s < p->hdr->num_sections; s++)
			if (k->there[s] && reads(p, s, r))
				k->there[s] = false;
	}
}

bool card_kept_there(struct card_queue *q, const struct card_program *p, uint32_t section)
{
	return q->kept.program == p && q->kept.there[section];
}

int card_kept_open(struct card_queue *q, struct card_program *p, const struct rdu_args *args,
		   uint32_t epoch)
{
	if (!epoch || q->kept.program == p)
		return 0;
	if (card_kept_new(q, p, epoch))
		return -1;
	for (uint32_t r = 0; r < p->hdr->num_regions; r++)
		q->kept.region[r] = args->regions[r].addr;
	return 0;
}

void card_kept_add(struct card_queue *q, const struct card_program *p, uint32_t section)
{
	if (q->kept.program == p)
		q->kept.there[section] = true;
}

void card_kept_overwrite(struct card_queue *q, const struct card_program *p, uint32_t section)
{
	struct card_kept *k = &q->kept;

	if (k->program && k->program != p)
		card_kept_drop(q);
	for (uint32_t s = 0; k->program && s < p->hdr->num_sections; s++)
		if (k->there[s] && same_pmus(p, s, section))
			k->there[s] = false;
}

void card_kept_written(struct card_queue *q, uint64_t va, uint64_t len)
{
	const struct card_program *p = q->kept.program;

	for (uint32_t s = 0; p && s < p->hdr->num_sections; s++) {
		const struct rdu_prog_section *sec = &p->sections[s];

		for (uint32_t i = 0; q->kept.there[s] && i < sec->num_segments; i++) {
			const struct rdu_prog_segment *g = &p->segments[sec->first_segment + i];
			uint64_t from = q->kept.region[g->region] + g->offset;

			if (va < from + g->size && from < va + len)
				q->kept.there[s] = false;
		}
	}
}
