// SPDX-License-Identifier: MIT
/*
 * The back half of the compiler: a module of nests in, a program file out.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "backend.h"

int be_error(struct backend *be, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(be->error, (size_t)be->error_size, fmt, ap);
	va_end(ap);
	return -1;
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

static int lower_all(struct backend *be)
{
	struct module *m = be->m;
	int total = 0;

	for (int e = 0; e < m->num_entries; e++)
		total += m->entries[e].num_nests;
	if (!total)
		return be_error(be, "%s: nothing to compile", m->name);
	if (total > RDU_MAX_SECTIONS)
		return be_error(be, "%s: %d sections, more than %d", m->name, total,
				RDU_MAX_SECTIONS);
	if (m->num_entries > RDU_MAX_ENTRIES)
		return be_error(be, "%s: more than %d entry points", m->name, RDU_MAX_ENTRIES);
	be->section = calloc((size_t)total, sizeof(*be->section));
	be->step = calloc((size_t)total, sizeof(*be->step));
	be->op = calloc((size_t)total, sizeof(*be->op));
	if (!be->section || !be->step || !be->op)
		abort();
	for (int e = 0; e < m->num_entries; e++) {
		struct rdu_prog_entry *en = &be->entry[e];

		snprintf(en->name, sizeof(en->name), "%.31s", m->entries[e].name);
		en->first_step = (uint32_t)be->num_steps;
		for (int k = 0; k < m->entries[e].num_nests; k++) {
			struct nest *n = m->entries[e].nests[k];
			struct be_section *s = &be->section[be->num_sections];
			struct rdu_file_op *op = &be->op[be->num_ops];

			snprintf(op->name, sizeof(op->name), "%.63s", n->name ? n->name : "");
			snprintf(op->type, sizeof(op->type), "%.31s", n->op_type ? n->op_type : "");
			if (be_lower(be, n, be->num_ops, &s->im))
				return -1;
			if (be_prints(be, "lower") || be_prints(be, "place"))
				print_image(s->im);
			s->entry = e;
			s->nest = n;
			be->step[be->num_steps++] =
				(struct rdu_prog_step){ RDU_STEP_RUN, (uint32_t)be->num_sections };
			be->num_sections++;
			be->num_ops++;
		}
		en->num_steps = (uint32_t)be->num_steps - en->first_step;
	}
	return 0;
}

/* Entries and nests of our own: fusion changes them, and they are the caller's. */
static struct module *copy_entries(const struct module *m)
{
	struct module *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	*c = *m;
	c->entries = calloc((size_t)m->num_entries + 1, sizeof(*c->entries));
	if (!c->entries)
		abort();
	for (int e = 0; e < m->num_entries; e++) {
		struct module_entry *to = &c->entries[e];

		*to = m->entries[e];
		to->nests = calloc((size_t)to->num_nests + 1, sizeof(*to->nests));
		if (!to->nests)
			abort();
		for (int k = 0; k < to->num_nests; k++) {
			to->nests[k] = malloc(sizeof(struct nest));
			if (!to->nests[k])
				abort();
			*to->nests[k] = *m->entries[e].nests[k];
		}
	}
	return c;
}

static void backend_free(struct backend *be)
{
	for (int e = 0; e < be->m->num_entries; e++) {
		for (int k = 0; k < be->m->entries[e].num_nests; k++)
			free(be->m->entries[e].nests[k]);
		free(be->m->entries[e].nests);
	}
	free(be->m->entries);
	free(be->m);
	for (int i = 0; i < be->num_names; i++)
		free(be->names[i]);
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

int rduc_backend(struct module *m, const struct rduc_options *opt, const char *out_path,
		 char *error, int error_size)
{
	struct backend be = { .m = copy_entries(m),
			      .opt = opt,
			      .chip = *opt->chip,
			      .error = error,
			      .error_size = error_size };
	int r = 0;

	be.tiles = opt->tiles ? opt->tiles : 1;
	if (be.tiles > (int)be.chip.tiles)
		r = be_error(&be, "%d tiles asked for, %s has %u", be.tiles, be.chip.name,
			     be.chip.tiles);
	if (!r && opt->opt > 0)
		be_fuse(&be);
	if (!r) {
		be_layout(&be);
		r = be_regions(&be);
	}
	if (!r)
		r = lower_all(&be);
	if (!r)
		r = be_program(&be);
	if (!r)
		r = be_report(&be);
	if (!r && opt->floor_plan)
		r = be_floorplan(&be, opt->floor_plan);
	if (!r && opt->dot)
		r = be_dot(&be, opt->dot);
	if (!r)
		r = be_write(&be, out_path);
	backend_free(&be);
	return r;
}
