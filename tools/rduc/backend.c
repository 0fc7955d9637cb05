// SPDX-License-Identifier: MIT
/*
 * The back half of the compiler: a module of nests in, a program file out.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"
#include "progress.h"

int be_error(struct backend *be, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(be->error, (size_t)be->error_size, fmt, ap);
	va_end(ap);
	return -1;
}

void be_note(struct backend *be, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	be->note = xrealloc(be->note, sizeof(char *) * (size_t)(be->num_notes + 1));
	be->note[be->num_notes++] = xstrdup(text);
}

int be_check(struct backend *be, const char *pass)
{
	char error[400];

	for (int e = 0; e < be->m->num_entries; e++)
		for (int k = 0; k < be->m->entries[e].num_nests; k++)
			if (nest_check(be->m->entries[e].nests[k], error, sizeof(error)))
				return be_error(be, "internal: after %s: %s", pass, error);
	return 0;
}

bool be_prints(const struct backend *be, const char *pass)
{
	const char *s = be->opt->print_after;
	size_t n = strlen(pass);

	while (s && *s) {
		if ((!strncmp(s, pass, n) && (!s[n] || s[n] == ',')) ||
		    (!strncmp(s, "all", 3) && (!s[3] || s[3] == ',')))
			return true;
		s = strchr(s, ',');
		if (s)
			s++;
	}
	return false;
}

static void print_image(const struct uimage *im)
{
	static const char *const kind[] = {
#define KIND_NAME(n, v, u, d) #n,
		RDU_KINDS(KIND_NAME)
#undef KIND_NAME
	};

	fprintf(stderr, "lower: section %s: %d unit programs, %d streams, %d tokens, %d buffers\n",
		im->name, im->num_progs, im->num_streams, im->num_tokens, im->num_buffers);
	for (int i = 0; i < im->num_progs; i++) {
		const struct uprog *p = &im->prog[i];
		const struct uunit *u = &im->unit[p->unit];

		fprintf(stderr, "  %4d %-8s at (%d,%d)", i, kind[p->kind], u->x, u->y);
		for (int c = 0; c < p->num_counters; c++)
			fprintf(stderr, "%s%lld", c == p->num_outer ? " | " : " ",
				(long long)p->c[c].trip);
		if (p->acc.target >= 0)
			fprintf(stderr, "  %s%d, %d lanes, pack %d",
				p->kind == RDU_KIND_LOAD || p->kind == RDU_KIND_STORE ? "segment "
										      : "buffer ",
				p->acc.target, p->acc.lanes, p->acc.pack);
		fprintf(stderr, "\n");
	}
}

/* Lowers a nest. One that does not fit is made as at a lower level. 0, 1:
 * it was fused and does not fit so, or -1. */
static int lower_nest(struct backend *be, struct nest *n, struct uimage **im)
{
	static const int levels[] = { 3, 1, 0 };
	char reason[256];
	int r = be_lower(be, n, be->level, be->num_ops, im);

	if (r <= 0 || n->fused[0])
		return r;
	snprintf(reason, sizeof(reason), "%s", be->error);
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]) && r > 0; i++) {
		if (levels[i] >= be->level)
			continue;
		r = be_lower(be, n, levels[i], be->num_ops, im);
		if (!r)
			be_note(be, "%s: made as at -O%d: %s", n->name, levels[i], reason);
	}
	return r ? -1 : 0;
}

static int lower_entry(struct backend *be, int entry)
{
	struct module_entry *e = &be->m->entries[entry];

	for (int k = 0; k < e->num_nests; k++) {
		struct nest *n = e->nests[k];
		struct be_section *s = &be->section[be->num_sections];
		struct rdu_file_op *op = &be->op[be->num_ops];
		int r;

		if (be->num_sections == RDU_MAX_SECTIONS)
			return be_error(be, "%s: needs more than %d sections", be->m->name,
					RDU_MAX_SECTIONS);
		progress_say(be->opt->progress, "%s, nest %d of %d: %s", e->name, k + 1,
			     e->num_nests, n->name ? n->name : "");
		r = lower_nest(be, n, &s->im);
		if (r < 0)
			return -1;
		if (r) {
			be_note(be, "not fused so far: %s", be->error);
			be_unfuse(be, e, k--);
			if (be_check(be, "unfuse"))
				return -1;
			continue;
		}
		snprintf(op->name, sizeof(op->name), "%.63s", n->name ? n->name : "");
		snprintf(op->type, sizeof(op->type), "%.31s", n->op_type ? n->op_type : "");
		if (be_prints(be, "lower") || be_prints(be, "place"))
			print_image(s->im);
		s->entry = entry;
		s->nest = n;
		be->step[be->num_steps++] =
			(struct rdu_prog_step){ RDU_STEP_RUN, (uint32_t)be->num_sections };
		be->num_sections++;
		be->num_ops++;
	}
	return 0;
}

static int lower_all(struct backend *be)
{
	struct module *m = be->m;
	int total = 0;

	for (int e = 0; e < m->num_entries; e++)
		total += m->entries[e].num_nests;
	if (!total)
		return be_error(be, "%s: nothing to compile", m->name);
	if (m->num_entries > RDU_MAX_ENTRIES)
		return be_error(be, "%s: needs %d entry points, a program has at most %d", m->name,
				m->num_entries, RDU_MAX_ENTRIES);
	be->section = xcalloc(RDU_MAX_SECTIONS, sizeof(*be->section));
	be->step = xcalloc(RDU_MAX_SECTIONS, sizeof(*be->step));
	be->op = xcalloc(RDU_MAX_SECTIONS, sizeof(*be->op));
	for (int e = 0; e < m->num_entries; e++) {
		struct rdu_prog_entry *en = &be->entry[e];

		snprintf(en->name, sizeof(en->name), "%.31s", m->entries[e].name);
		en->first_step = (uint32_t)be->num_steps;
		if (lower_entry(be, e))
			return -1;
		en->num_steps = (uint32_t)be->num_steps - en->first_step;
	}
	return 0;
}

/* Entries and nests of our own: fusion changes them, and they are the caller's. (Its tensors'
 * strides are layout's to set.) */
static struct module *copy_entries(const struct module *m)
{
	struct module *c = xcalloc(1, sizeof(*c));

	*c = *m;
	c->entries = xcalloc((size_t)m->num_entries + 1, sizeof(*c->entries));
	for (int e = 0; e < m->num_entries; e++) {
		struct module_entry *to = &c->entries[e];

		*to = m->entries[e];
		to->nests = xcalloc((size_t)to->num_nests + 1, sizeof(*to->nests));
		for (int k = 0; k < to->num_nests; k++) {
			to->nests[k] = xmalloc(sizeof(struct nest));
			*to->nests[k] = *m->entries[e].nests[k];
		}
	}
	return c;
}

static void backend_free(struct backend *be)
{
	for (int e = 0; e < be->m->num_entries; e++) {
		for (int k = 0; k < be->m->entries[e].num_nests; k++)
			nest_free_fused(be->m->entries[e].nests[k]);
		free(be->m->entries[e].nests);
	}
	free(be->m->entries);
	free(be->m);
	for (int i = 0; i < be->num_names; i++)
		free(be->names[i]);
	for (int i = 0; i < be->num_notes; i++)
		free(be->note[i]);
	free(be->note);
	free(be->names);
	for (int i = 0; i < be->num_sections; i++)
		image_free(be->section[i].im);
	free(be->section);
	free(be->step);
	free(be->op);
	free(be->region);
	free(be->where);
	free(be->data);
	free(be->program);
}

/* Compiles as at a level. 0, -1, or 1: the program is larger than a card takes. */
static int passes(struct backend *be, const char *out_path)
{
	const struct rduc_options *opt = be->opt;
	int r = be_check(be, "patterns");

	if (!r && be->level > 0) {
		progress_say(opt->progress, "fuse");
		be_fuse(be);
		r = be_check(be, "fuse");
	}
	if (!r) {
		be_layout(be);
		r = lower_all(be);
	}
	progress_say(opt->progress, "write");
	if (!r)
		r = be_regions(be);
	if (!r)
		r = be_program(be);
	if (!r)
		r = be_report(be);
	if (!r && opt->floor_plan)
		r = be_floorplan(be, opt->floor_plan);
	if (!r && opt->dot)
		r = be_dot(be, opt->dot);
	return r ? r : be_write(be, out_path);
}

int rduc_backend(struct module *m, const struct rduc_options *opt, const char *out_path,
		 char *error, int error_size)
{
	static const int levels[] = { 3, 1, 0 };
	unsigned int tiles = opt->tiles ? (unsigned int)opt->tiles : 1;
	char reason[400] = "";
	int r = 1;

	if (tiles > opt->chip->tiles) {
		snprintf(error, (size_t)error_size, "%u tiles asked for, %s has %u", tiles,
			 opt->chip->name, opt->chip->tiles);
		return -1;
	}
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]) && r > 0; i++) {
		struct backend be = { .opt = opt,
				      .chip = *opt->chip,
				      .tiles = (int)tiles,
				      .level = levels[i],
				      .error = error,
				      .error_size = error_size };

		if (levels[i] > opt->opt)
			continue;
		be.m = copy_entries(m);
		if (reason[0])
			be_note(&be, "all of it is made as at -O%d: %s", levels[i], reason);
		r = passes(&be, out_path);
		if (r > 0 && !reason[0])
			snprintf(reason, sizeof(reason), "%s", error);
		progress_hide(opt->progress);
		if (!r && opt->summary)
			be_summary(&be, out_path);
		backend_free(&be);
	}
	if (r > 0) /* no level takes it: the reason of the one that was asked for */
		snprintf(error, (size_t)error_size, "%s", reason);
	return r ? -1 : 0;
}
