// SPDX-License-Identifier: MIT
/* rdu dump: what is in a program file; the units are in dump_unit.c. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "dump.h"

static const char *shape(const struct rdu_file_symbol *s, char *text, size_t size)
{
	size_t at = snprintf(text, size, "%s[", rdu_dtype_name(s->dtype));
	unsigned int d;

	for (d = 0; d < s->ndim && at < size; d++)
		at += snprintf(text + at, size - at, "%s%s%lld", d ? "," : "",
			       !(s->flags & RDU_SYM_BLOCKS) && s->block >> d & 1 ? "0.."
			       : s->dims[d] > 1 && RDU_SYM_ROWS_OF(s->flags, d)	 ? "1.."
										 : "",
			       (long long)s->dims[d]);
	if (at < size)
		snprintf(text + at, size - at, "]");
	return text;
}

static const char *region_kind(unsigned int kind)
{
	static const char *const names[] = { "input", "output", "weight", "state", "temp" };

	return kind < 5 ? names[kind] : "?";
}

static void dump_entries(const struct rdu_file *f)
{
	const struct rdu_prog_header *h = rdu_file_header(f);
	const char *image = rdu_file_image(f, NULL);
	const struct rdu_prog_entry *e = (const void *)(image + h->entries_off);
	const struct rdu_prog_step *step = (const void *)(image + h->steps_off);
	const struct rdu_prog_section *sec = (const void *)(image + h->sections_off);
	unsigned int i, k, depth;

	for (i = 0; i < h->num_entries; i++) {
		printf("\nentry point %s (%u steps)\n", e[i].name, e[i].num_steps);
		for (k = e[i].first_step, depth = 1; k < e[i].first_step + e[i].num_steps; k++) {
			const struct rdu_prog_step *s = &step[k];

			if (s->kind == RDU_STEP_END && depth > 1)
				depth--;
			printf("  %*s", depth * 2, "");
			if (s->kind == RDU_STEP_RUN)
				printf("run section %u \"%s\"\n", s->arg, sec[s->arg].name);
			else if (s->kind == RDU_STEP_KEEP)
				printf("keep section %u \"%s\"\n", s->arg, sec[s->arg].name);
			else if (s->kind == RDU_STEP_LOOP)
				printf("loop %u times\n", s->arg);
			else
				printf("end\n");
			depth += s->kind == RDU_STEP_LOOP;
		}
	}
}

static void dump_regions(const struct rdu_file *f)
{
	unsigned int i;

	printf("\nregions\n");
	for (i = 0; i < rdu_file_num_regions(f); i++) {
		const struct rdu_file_region *r = rdu_file_get_region(f, i);

		printf("  %4u %-7s %12llu bytes, align %5llu, %s  %s\n", i, region_kind(r->kind),
		       (unsigned long long)r->size, (unsigned long long)r->align,
		       r->data == RDU_NO_DATA ? "zeros" : "data ", r->name);
	}
}

static void dump_symbols(const struct rdu_file *f)
{
	char text[128], uses[256];
	unsigned int i, e;
	size_t at;

	printf("\nsymbols\n");
	for (i = 0; i < rdu_file_num_symbols(f); i++) {
		const struct rdu_file_symbol *s = rdu_file_get_symbol(f, i);

		for (e = 0, at = 0, uses[0] = 0; e < rdu_file_num_entries(f); e++)
			if (s->entries >> e & 1 && at < sizeof(uses))
				at += snprintf(uses + at, sizeof(uses) - at, " %s",
					       rdu_file_entry(f, e));
		printf("  %-32s %-26s region %4u + %-8llu%s%s%s%s :%s\n", s->name,
		       shape(s, text, sizeof(text)), s->region, (unsigned long long)s->offset,
		       s->flags & RDU_SYM_INPUT ? " input" : "",
		       s->flags & RDU_SYM_OUTPUT ? " output" : "",
		       s->flags & RDU_SYM_WEIGHT ? " weight" : "",
		       s->flags & RDU_SYM_MODEL_STATE ? " model-state"
		       : s->flags & RDU_SYM_STATE     ? " state"
		       : s->flags & RDU_SYM_CONSTANT  ? " constant"
						      : "",
		       uses);
		if (rdu_file_symbol_sizes(f, i) >= 0)
			printf("  %-32s \"%s\" says how large it is\n", "",
			       rdu_file_get_symbol(f, s->table)->name);
		if (s->flags & RDU_SYM_BLOCKS)
			printf("  %-32s in blocks of %u x %u, those of table \"%s\"\n", "",
			       s->block, s->block, rdu_file_get_symbol(f, s->table)->name);
	}
}

static void dump_overview(const struct rdu_file *f)
{
	const struct rdu_prog_header *h = rdu_file_header(f);
	unsigned int i;

	printf("program for chip %s (%016llx), %u tiles, image %u bytes, %u scalars\n",
	       rdu_file_chip(f)->name, (unsigned long long)h->chip_hash, h->num_tiles, h->size,
	       h->num_scalars);
	if (rdu_file_meta_text(f)[0])
		printf("\nmeta\n%s", rdu_file_meta_text(f));
	dump_entries(f);
	printf("\nsections (SECTION[:PROGRAM] shows more, \"all\" everything)\n");
	for (i = 0; i < h->num_sections; i++) {
		struct config c;

		if (config_open(&c, f, i))
			continue;
		printf("  %4u %6u programs %5u streams %5u tokens %4u buffers %3u segments %8u "
		       "bytes  %s\n",
		       i, c.h->programs.count, c.h->streams.count, c.h->tokens.count,
		       c.h->buffers.count, c.h->num_segments, c.section->size, c.section->name);
	}
	dump_regions(f);
	dump_symbols(f);
	printf("\noperators\n");
	for (i = 0; i < rdu_file_num_ops(f); i++)
		printf("  %4u %-24s %s\n", i, rdu_file_get_op(f, i)->type,
		       rdu_file_get_op(f, i)->name);
}

/* "12", "pcu3", "1.pmu20" (tile 1): true if the program is meant. */
static bool meant(const struct config *c, unsigned int program, const char *what)
{
	const struct rdu_cfg_program *p = &c->programs[program];
	const char *unit = unit_kind_name(p->kind);
	unsigned long tile = 0;
	char *end;

	if (isdigit((unsigned char)what[0])) {
		unsigned long n = strtoul(what, &end, 10);

		if (!*end)
			return n == program;
		if (*end != '.')
			return false;
		tile = n;
		what = end + 1;
	}
	if (strncasecmp(what, unit, strlen(unit)))
		return false;
	what += strlen(unit);
	return isdigit((unsigned char)what[0]) && strtoul(what, &end, 10) == p->unit && !*end &&
	       p->tile == tile;
}

static int dump_part(const struct rdu_file *f, const char *what)
{
	const struct rdu_prog_header *h = rdu_file_header(f);
	const char *colon = strchr(what, ':');
	struct config c;
	char *end;
	unsigned long section = strtoul(what, &end, 10);
	unsigned int i, found = 0;

	if (end == what || (*end && end != colon) || section >= h->num_sections)
		return fail("no section \"%s\": there are 0 to %u", what, h->num_sections - 1);
	if (config_open(&c, f, section))
		return EXIT_FAIL;
	if (!colon) {
		dump_section(&c);
		return EXIT_OK;
	}
	for (i = 0; i < c.h->programs.count; i++) {
		if (!meant(&c, i, colon + 1))
			continue;
		dump_program(&c, i);
		found++;
	}
	if (!found)
		return fail(
			"section %lu has no program or unit \"%s\": want a program number, or a "
			"unit: pcu3, or 1.pmu20 for tile 1",
			section, colon + 1);
	return EXIT_OK;
}

int cmd_dump(int argc, char **argv)
{
	static const struct option options[] = { HELP_OPTION, { 0 } };
	struct rdu_file *f = NULL;
	int c, ret = EXIT_OK;
	unsigned int i, p;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		if (c != 'h')
			return EXIT_USAGE;
		return help("dump",
			    "  FILE.rdu              entry points, sections, regions, symbols\n"
			    "  FILE.rdu 3            section 3: programs, streams, tokens, "
			    "buffers, routes\n"
			    "  FILE.rdu 3:17         unit program 17 of section 3, in full\n"
			    "  FILE.rdu 3:pcu5       all programs of PCU 5 of tile 0 (1.pcu5: of "
			    "tile 1)\n"
			    "  FILE.rdu all          everything\n");
	}
	if (optind == argc || optind + 2 < argc)
		return usage("dump", "want FILE.rdu and at most one SECTION[:PROGRAM]");
	if (rdu_file_open(argv[optind], &f)) {
		ret = fail("%s", rdu_error_text(f));
	} else if (optind + 1 == argc) {
		dump_overview(f);
	} else if (strcmp(argv[optind + 1], "all")) {
		ret = dump_part(f, argv[optind + 1]);
	} else {
		dump_overview(f);
		for (i = 0; i < rdu_file_header(f)->num_sections && !ret; i++) {
			struct config cfg;

			ret = config_open(&cfg, f, i);
			if (ret)
				break;
			dump_section(&cfg);
			for (p = 0; p < cfg.h->programs.count; p++)
				dump_program(&cfg, p);
		}
	}
	rdu_file_close(f);
	return ret;
}
