// SPDX-License-Identifier: MIT
/* Validation of a program image: sections, segments, entry points, schedule. */
#include <stdlib.h>
#include <string.h>
#include "fabric_priv.h"

struct image {
	const unsigned char *data;
	struct rdu_prog_header hdr;
	const struct rdu_prog_section *sections;
	const struct rdu_prog_segment *segments;
	const struct rdu_prog_entry *entries;
	const struct rdu_prog_step *steps;
	const uint64_t *regions;
	uint64_t *loops; /* section -> most iterations of an innermost loop around it */
	bool *kept; /* section -> there is a KEEP step of it */
};

#define HDR(field) offsetof(struct rdu_prog_header, field)
#define AT(im, p) ((uint64_t)((const unsigned char *)(p) - (im)->data))
#define REFUSE(diag, code, ...) rdu_refuse(diag, RDU_CFG_E_##code, __VA_ARGS__)

static int check_table(const struct image *im, uint32_t offset, uint64_t count, size_t record,
		       uint64_t max, uint64_t where, const char *name, struct rdu_cfg_diag *diag)
{
	if (count > max)
		return REFUSE(diag, TOO_LARGE, where, "%llu %s: at most %llu",
			      (unsigned long long)count, name, (unsigned long long)max);
	if (offset & 7)
		return REFUSE(diag, ALIGN, where, "table of %s at %u: not a multiple of 8", name,
			      offset);
	if (count && (offset < sizeof(im->hdr) || offset + count * record > im->hdr.size))
		return REFUSE(diag, TRUNCATED, where,
			      "table of %llu %s at %u: outside the image of %u bytes",
			      (unsigned long long)count, name, offset, im->hdr.size);
	return 0;
}

static int check_header(struct image *im, size_t size, const struct rdu_chip *chip, uint32_t tiles,
			struct rdu_cfg_diag *diag)
{
	struct rdu_prog_header *h = &im->hdr;

	if (size > RDU_MAX_PROGRAM_IMAGE)
		return REFUSE(diag, TOO_LARGE, 0, "program image of %zu bytes: at most %u", size,
			      RDU_MAX_PROGRAM_IMAGE);
	if (size < sizeof(*h))
		return REFUSE(diag, TRUNCATED, 0, "program image of %zu bytes", size);
	memcpy(h, im->data, sizeof(*h));
	if (h->magic != RDU_PROG_MAGIC)
		return REFUSE(diag, MAGIC, HDR(magic), "magic 0x%08x: not a program image",
			      h->magic);
	if (h->version != RDU_PROG_VERSION || h->header_size != sizeof(*h))
		return REFUSE(diag, VERSION, HDR(version),
			      "version %u, header of %u bytes: expected %u and %zu", h->version,
			      h->header_size, RDU_PROG_VERSION, sizeof(*h));
	if (h->size > size || h->size < sizeof(*h))
		return REFUSE(diag, TRUNCATED, HDR(size), "image of %u bytes, %zu are there",
			      h->size, size);
	if (h->zero)
		return REFUSE(diag, RESERVED, HDR(zero), "reserved field is %u", h->zero);
	if (h->chip_hash != rdu_chip_hash(chip))
		return REFUSE(diag, CHIP, HDR(chip_hash),
			      "compiled for chip %016llx, this is %.15s, %016llx",
			      (unsigned long long)h->chip_hash, chip->name,
			      (unsigned long long)rdu_chip_hash(chip));
	if (!h->num_tiles || h->num_tiles > tiles || h->num_tiles > chip->tiles)
		return REFUSE(diag, UNIT, HDR(num_tiles), "needs %u tiles, may use %u",
			      h->num_tiles, tiles);
	if (h->num_scalars > RDU_MAX_SCALARS)
		return REFUSE(diag, TOO_LARGE, HDR(num_scalars),
			      "%u argument registers: at most %u", h->num_scalars, RDU_MAX_SCALARS);
	if (check_table(im, h->sections_off, h->num_sections, sizeof(*im->sections),
			RDU_MAX_SECTIONS, HDR(sections_off), "sections", diag) ||
	    check_table(im, h->segments_off, h->num_segments, sizeof(*im->segments),
			(uint64_t)RDU_MAX_SECTIONS * RDU_MAX_SEGMENTS, HDR(segments_off),
			"segments", diag) ||
	    check_table(im, h->entries_off, h->num_entries, sizeof(*im->entries), RDU_MAX_ENTRIES,
			HDR(entries_off), "entry points", diag) ||
	    check_table(im, h->steps_off, h->num_steps, sizeof(*im->steps), RDU_MAX_STEPS,
			HDR(steps_off), "steps", diag) ||
	    check_table(im, h->regions_off, h->num_regions, sizeof(*im->regions), RDU_MAX_REGIONS,
			HDR(regions_off), "regions", diag))
		return -1;
	im->sections = (const void *)(im->data + h->sections_off);
	im->segments = (const void *)(im->data + h->segments_off);
	im->entries = (const void *)(im->data + h->entries_off);
	im->steps = (const void *)(im->data + h->steps_off);
	im->regions = (const void *)(im->data + h->regions_off);
	return 0;
}

/* Structure of an entry's steps, and how often sections repeat. */
static int check_entry(struct image *im, const struct rdu_prog_entry *e, struct rdu_cfg_diag *diag)
{
	uint32_t loop[RDU_MAX_LOOP_DEPTH], depth = 0;

	if (!memchr(e->name, 0, sizeof(e->name)))
		return REFUSE(diag, NAME, AT(im, e->name), "entry point: name is not terminated");
	if ((uint64_t)e->first_step + e->num_steps > im->hdr.num_steps)
		return REFUSE(diag, SCHEDULE, AT(im, &e->first_step),
			      "entry point %s: steps %u + %u of %u", e->name, e->first_step,
			      e->num_steps, im->hdr.num_steps);
	for (uint32_t i = 0; i < e->num_steps; i++) {
		const struct rdu_prog_step *st = &im->steps[e->first_step + i];
		uint64_t around = depth ? loop[depth - 1] : 1;

		switch (st->kind) {
		case RDU_STEP_RUN:
		case RDU_STEP_KEEP:
			if (st->arg >= im->hdr.num_sections)
				return REFUSE(diag, SCHEDULE, AT(im, &st->arg),
					      "step %u runs section %u of %u", i, st->arg,
					      im->hdr.num_sections);
			if (st->kind == RDU_STEP_KEEP && depth)
				return REFUSE(diag, SCHEDULE, AT(im, st),
					      "step %u keeps section %u inside %u loops", i,
					      st->arg, depth);
			im->kept[st->arg] |= st->kind == RDU_STEP_KEEP;
			if (im->loops[st->arg] < around)
				im->loops[st->arg] = around;
			break;
		case RDU_STEP_LOOP:
			if (depth == RDU_MAX_LOOP_DEPTH || !st->arg)
				return REFUSE(diag, SCHEDULE, AT(im, st),
					      "step %u: loop of %u inside %u loops", i, st->arg,
					      depth);
			loop[depth++] = st->arg;
			break;
		case RDU_STEP_END:
			if (!depth || st->arg)
				return REFUSE(
					diag, SCHEDULE, AT(im, st),
					"step %u: end of a loop, argument %u, inside %u loops", i,
					st->arg, depth);
			depth--;
			break;
		default:
			return REFUSE(diag, SCHEDULE, AT(im, st), "step %u: kind %u", i, st->kind);
		}
	}
	if (depth)
		return REFUSE(diag, SCHEDULE, AT(im, &e->num_steps),
			      "entry point %s: %u loops without an end", e->name, depth);
	return 0;
}

static int check_segment(const struct image *im, const struct rdu_prog_segment *g, uint64_t times,
			 struct rdu_cfg_diag *diag)
{
	uint64_t last, end, size;

	if (g->region >= im->hdr.num_regions)
		return REFUSE(diag, REGION, AT(im, &g->region), "region %u of %u", g->region,
			      im->hdr.num_regions);
	if (!g->access || g->access & ~(RDU_SEG_READ | RDU_SEG_WRITE))
		return REFUSE(diag, REGION, AT(im, &g->access), "access 0x%x", g->access);
	size = im->regions[g->region];
	if (__builtin_mul_overflow(times ? times - 1 : 0, g->loop_stride, &last) ||
	    __builtin_add_overflow(last, g->offset, &end) ||
	    __builtin_add_overflow(end, g->size, &end) || end > size)
		return REFUSE(diag, REGION, AT(im, g),
			      "%llu bytes at %llu, %llu times %llu apart: region %u has %llu",
			      (unsigned long long)g->size, (unsigned long long)g->offset,
			      (unsigned long long)times, (unsigned long long)g->loop_stride,
			      g->region, (unsigned long long)size);
	return 0;
}

/* Leaving out a section that is kept must change nothing: what it brings into scratchpads follows
 * from memory alone, and that is all it does. */
static int check_kept(const struct image *im, uint32_t i, const struct rdu_section *s,
		      struct rdu_cfg_diag *diag)
{
	const struct rdu_prog_section *sec = &im->sections[i];
	uint32_t n = s->hdr->programs.count, writes = 0;
	bool *written = calloc((size_t)s->hdr->buffers.count + 1, sizeof(*written));
	int ret = written ? 0 : REFUSE(diag, TOO_LARGE, AT(im, sec), "no memory");

	for (uint32_t p = 0; p < n && !ret; p++) {
		const struct rdu_cfg_access *a = s->progs[p].body;

		if (s->programs[p].kind == RDU_KIND_WRITE) {
			written[a->target] = true;
			writes++;
		}
	}
	for (uint32_t p = 0; p < n && !ret; p++) {
		const struct rdu_cfg_access *a = s->progs[p].body;

		if (s->programs[p].kind == RDU_KIND_STORE)
			ret = REFUSE(diag, KEEP, sec->offset + rdu_offset(s, &s->programs[p]),
				     "section %u is kept, but its program %u stores", i, p);
		else if (s->programs[p].kind == RDU_KIND_WRITE && a->flags & RDU_ACCESS_ADD)
			ret = REFUSE(diag, KEEP, sec->offset + rdu_offset(s, &a->flags),
				     "section %u is kept, but its program %u adds to what is there",
				     i, p);
		else if (s->programs[p].kind == RDU_KIND_READ && !written[a->target])
			ret = REFUSE(diag, KEEP, sec->offset + rdu_offset(s, &a->target),
				     "section %u is kept, but its program %u reads buffer %u, "
				     "which the section does not fill",
				     i, p, a->target);
	}
	free(written);
	if (!ret && !writes)
		ret = REFUSE(diag, KEEP, AT(im, sec), "section %u is kept, but fills no scratchpad",
			     i);
	if (!ret && s->hdr->num_scalars)
		ret = REFUSE(diag, KEEP, AT(im, sec),
			     "section %u is kept, but reads %u argument registers", i,
			     s->hdr->num_scalars);
	return ret;
}

static int check_section(const struct image *im, uint32_t i, const struct rdu_chip *chip,
			 uint64_t *events, struct rdu_cfg_diag *diag)
{
	const struct rdu_prog_section *sec = &im->sections[i];
	const struct rdu_cfg_header *cfg;
	struct rdu_section *s;
	int ret = 0;

	if (!memchr(sec->name, 0, sizeof(sec->name)))
		return REFUSE(diag, NAME, AT(im, sec->name), "section %u: name is not terminated",
			      i);
	if (sec->offset & 7)
		return REFUSE(diag, ALIGN, AT(im, sec), "section %u at %u", i, sec->offset);
	if (sec->offset < sizeof(im->hdr) || (uint64_t)sec->offset + sec->size > im->hdr.size)
		return REFUSE(diag, TRUNCATED, AT(im, sec), "section %u: %u bytes at %u of %u", i,
			      sec->size, sec->offset, im->hdr.size);
	if ((uint64_t)sec->first_segment + sec->num_segments > im->hdr.num_segments)
		return REFUSE(diag, SEGMENT, AT(im, &sec->first_segment),
			      "section %u: segments %u + %u of %u", i, sec->first_segment,
			      sec->num_segments, im->hdr.num_segments);
	s = rdu_section_analyse(im->data + sec->offset, sec->size, chip, im->hdr.num_tiles, events,
				diag);
	if (!s) {
		diag->offset += sec->offset;
		diag->section = i;
		return -1;
	}
	cfg = s->hdr;
	if (cfg->num_segments != sec->num_segments)
		ret = REFUSE(diag, SEGMENT, AT(im, &sec->num_segments),
			     "section %u: %u segments, its configuration has %u", i,
			     sec->num_segments, cfg->num_segments);
	else if (cfg->num_scalars > im->hdr.num_scalars)
		ret = REFUSE(diag, SCALAR, sec->offset,
			     "section %u reads %u argument registers, the program has %u", i,
			     cfg->num_scalars, im->hdr.num_scalars);
	else if (im->kept[i])
		ret = check_kept(im, i, s, diag);
	rdu_section_free(s);
	for (uint32_t k = 0; k < sec->num_segments && !ret; k++)
		ret = check_segment(im, &im->segments[sec->first_segment + k], im->loops[i], diag);
	if (ret)
		diag->section = i;
	return ret;
}

int rdu_program_validate(const void *data, size_t size, const struct rdu_chip *chip, uint32_t tiles,
			 struct rdu_cfg_diag *diag)
{
	struct image im = { .data = data };
	uint64_t events = RDU_MAX_EVENTS, total = 0;
	int ret;

	memset(diag, 0, sizeof(*diag));
	diag->section = ~0u;
	if ((uintptr_t)data & 7)
		return REFUSE(diag, ALIGN, 0, "the image is not aligned in memory");
	ret = check_header(&im, size, chip, tiles ? tiles : chip->tiles, diag);
	if (ret)
		return ret;
	im.loops = calloc((size_t)im.hdr.num_sections + 1, sizeof(*im.loops));
	im.kept = calloc((size_t)im.hdr.num_sections + 1, sizeof(*im.kept));
	ret = im.loops && im.kept ? 0 : REFUSE(diag, TOO_LARGE, 0, "no memory");
	for (uint32_t i = 0; i < im.hdr.num_entries && !ret; i++)
		ret = check_entry(&im, &im.entries[i], diag);
	for (uint32_t i = 0; i < im.hdr.num_sections && !ret; i++) {
		total += im.sections[i].size;
		if (total > im.hdr.size)
			ret = REFUSE(diag, TRUNCATED, AT(&im, &im.sections[i]),
				     "sections up to %u overlap or leave the image", i);
		else
			ret = check_section(&im, i, chip, &events, diag);
	}
	free(im.loops);
	free(im.kept);
	return ret;
}
