// SPDX-License-Identifier: MIT
/*
 * The back half of the compiler: a module of nests in, a program file out.
 */
#include <malloc.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"
#include "progress.h"
#include "workers.h"

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

void be_drop_notes(struct backend *be, int first, int num)
{
	for (int i = first; i < first + num; i++)
		free(be->note[i]);
	for (int i = first + num; i < be->num_notes; i++)
		be->note[i - num] = be->note[i];
	be->num_notes -= num;
}

/* What was noted of several entry points is said once. */
static void drop_repeated_notes(struct backend *be)
{
	for (int i = be->num_notes - 1; i > 0; i--)
		for (int k = 0; k < i; k++)
			if (!strcmp(be->note[i], be->note[k])) {
				be_drop_notes(be, i, 1);
				break;
			}
}

int be_check(struct backend *be, const char *pass)
{
	char error[400];

	for (int e = 0; e < be->m->num_entries; e++)
		for (int k = 0; k < be->m->entries[e].num_nests; k++)
			if (nest_check(be->m->entries[e].nests[k], error, sizeof(error)))
				return be_error(be, "internal: after %s: %s", pass, error);
	for (int e = 0; e < be->m->num_entries; e++)
		if (module_check_loops(&be->m->entries[e], error, sizeof(error)))
			return be_error(be, "internal: after %s: %s", pass, error);
	return 0;
}

FILE *be_log(const struct backend *be)
{
	return be->opt->log ? be->opt->log : stderr;
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

/* A section is made. The one that fills what it finds in scratchpads has its place in front of the
 * loop. */
void be_settle(struct backend *be, struct be_section *first, struct be_section *s)
{
	struct be_section *f = first;

	if (!s->im->fill) {
		memcpy(s->nest->chunk, s->im->chunk, sizeof(s->nest->chunk));
		memcpy(s->nest->split, s->im->split, sizeof(s->nest->split));
		return;
	}
	while (f->first_nest != s->im->held->first)
		f++;
	image_free(f->im);
	f->im = s->im->fill;
	be_hold_uses(be, f->nest, image_pmus(f->im));
	s->im->fill = NULL;
	s->im->held = NULL;
}

/* Lowers a nest. One that does not fit is made as at a lower level. 0; 1: it was fused and does
 * not fit so; 2: it does not fit; or -1. */
static int lower_nest(struct backend *be, struct be_section *first, struct be_section *s)
{
	static const int levels[] = { 3, 1, 0 };
	struct nest *n = s->nest;
	int op = be->num_ops + s->first_nest, r;
	char reason[256];

	do
		r = be_lower_next(be, n, op, &s->im);
	while (r > 0 && be_evict_some(be, first, n));
	if (!r)
		r = be_improve(be, first, s);
	if (!r && be->tiles > 1 && be->level >= 3)
		r = be_lower_fewer(be, n, op, s > first ? s[-1].im : NULL, &s->im);
	if (!r)
		be_settle(be, first, s);
	if (r <= 0 || n->fused[0])
		return r;
	snprintf(reason, sizeof(reason), "%s", be->error);
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]) && r > 0; i++) {
		if (levels[i] >= be->level)
			continue;
		r = be_lower(be, n, levels[i], op, &s->im);
		if (!r)
			be_note(be, "%s: made as at -O%d: %s", n->name, levels[i], reason);
	}
	if (!r)
		be_settle(be, first, s);
	return r > 0 ? 2 : r;
}

/* Does a nest fill what is held? Its section is made with the reader's. */
static bool is_fill(const struct backend *be, const struct nest *n)
{
	return be_hold_of(be, n->out[0].access.tensor);
}

/* The section of a group, with what may stay in scratchpads of what it reads and makes. 0, -1, or 1: it cannot be made
 * again. */
static int take_group(struct backend *be, struct be_section *first, struct be_section *s)
{
	struct module_entry *e = &be->m->entries[s->entry];
	struct group_use without;
	struct tensor *left;

	for (;;) {
		s->im = be_group_image(be, e, s->first_nest, &s->num_nests, &without);
		if (s->im)
			return 0;
		if (!without.nest) {
			be_error(be, "internal: %s: its group has no section", s->nest->name);
			return be->fixed ? 1 : -1;
		}
		if (without.t)
			be_leave(be, first, without.nest, without.t, be->error);
		while (!without.t && (left = be_group_leaves(be, without.nest)) != NULL)
			be_leave(be, first, s->nest, left, be->error);
	}
}

/* What was dropped is made again. As lower_nest(). */
static int lower_dropped(struct backend *be, struct be_section *first)
{
	for (struct be_section *s = first; s < be->section + be->num_sections; s++) {
		int r;

		if (s->im || is_fill(be, s->nest))
			continue;
		be->at = be->until = s->first_nest;
		r = s->nest->group ? take_group(be, first, s) : lower_nest(be, first, s);
		if (r)
			return r;
		s = first - 1; /* it may have dropped others */
	}
	return 0;
}

void be_drop_sections(struct backend *be, int first)
{
	while (be->num_sections > first)
		image_free(be->section[--be->num_sections].im);
}

/* As lower_nests(), which drops what was made ahead in the end. */
static int lower_each(struct backend *be, struct module_entry *e, int entry)
{
	struct be_section *first = be->section + be->num_sections;

	for (int k = 0; k < e->num_nests; k++) {
		struct be_section *s = &be->section[be->num_sections];
		const struct tensor *wrong;
		int r;

		if (be->num_ops + k == RDU_MAX_SECTIONS)
			return be_error(be, "%s: needs more than %d sections", be->m->name,
					RDU_MAX_SECTIONS);
		*s = (struct be_section){
			.entry = entry, .first_nest = k, .num_nests = 1, .nest = e->nests[k]
		};
		r = s->nest->group ? take_group(be, first, s) : 0;
		if (r)
			return r;
		if (s->im || is_fill(be, s->nest)) {
			be->num_sections++;
			k += s->num_nests - 1;
			r = lower_dropped(be, first);
			if (r)
				return r < 0 ? -1 : 1;
			continue;
		}
		be_ahead(be, e, k + 1);
		be->at = be->until = k;
		progress_say(be->opt->progress, "%s, nest %d of %d: %s", e->name, k + 1,
			     e->num_nests, s->nest->name ? s->nest->name : "");
		r = lower_nest(be, first, s);
		if (r < 0)
			return -1;
		if (r == 2 || (r && be->fixed)) /* or nests must stay as they are */
			return 1;
		if (r) {
			be_note(be, "not fused so far: %s", be->error);
			be_ahead_drop(be);
			be_unfuse(be, e, k--);
			if (be_check(be, "unfuse"))
				return -1;
			wrong = be_narrow_wrong(be);
			if (wrong) /* all is made once more, without */
				return be_error(be, "%s: '%s' is bf16 in memory, but read as fp32",
						e->name, wrong->name);
			if (!be_resident_renumber(be, e)) {
				be_error(be, "%s: fused in another way", e->name);
				return 1;
			}
			continue;
		}
		be->num_sections++;
		r = lower_dropped(be, first);
		if (r)
			return r < 0 ? -1 : 1;
	}
	return 0;
}

/* The sections of an entry. 0, -1, or 1: a nest cannot be made with what is resident, as it lies. */
static int lower_nests(struct backend *be, struct module_entry *e, int entry)
{
	int r = lower_each(be, e, entry);

	be_ahead_drop(be);
	return r;
}

static void add_step(struct backend *be, enum rdu_step_kind kind, uint32_t arg)
{
	be->step[be->num_steps++] = (struct rdu_prog_step){ kind, arg };
}

/* LOOP and END between a section in loop `from` and one in loop `to`. */
static void add_loop_steps(struct backend *be, const struct module_entry *e, int from, int to)
{
	int both = loop_around(e, from, to);

	for (; from != both; from = e->loop[from - 1].parent)
		add_step(be, RDU_STEP_END, 0);
	for (; to != both; both = loop_below(e, to, both))
		add_step(be, RDU_STEP_LOOP, (uint32_t)e->loop[loop_below(e, to, both) - 1].trip);
}

/* Runs the entry's sections, from number `first` on, with LOOP and END around those of a loop. */
void be_add_steps(struct backend *be, const struct module_entry *e, int first)
{
	int loop = 0;

	for (int i = first; i < be->num_sections; i++) {
		add_loop_steps(be, e, loop, be->section[i].nest->loop);
		loop = be->section[i].nest->loop;
		add_step(be, be_fills_kept(be, be->section[i].nest) ? RDU_STEP_KEEP : RDU_STEP_RUN,
			 (uint32_t)i);
	}
	add_loop_steps(be, e, loop, 0);
}

/* Runs what entry number `of` runs, but loops that are in none once. */
static void add_steps_once(struct backend *be, int of)
{
	const struct rdu_prog_entry *e = &be->entry[of];
	int depth = 0;

	for (uint32_t i = e->first_step; i < e->first_step + e->num_steps; i++) {
		struct rdu_prog_step s = be->step[i];

		depth -= s.kind == RDU_STEP_END;
		if (depth || (s.kind != RDU_STEP_LOOP && s.kind != RDU_STEP_END))
			add_step(be, s.kind, s.arg);
		depth += s.kind == RDU_STEP_LOOP;
	}
}

int64_t *be_copy_strides(const struct module *m)
{
	size_t size = sizeof(m->tensors[0]->stride);
	int64_t *s = xmalloc(size * (size_t)(m->num_tensors + 1));

	for (int i = 0; i < m->num_tensors; i++)
		memcpy(s + (size_t)i * RDU_MAX_DIMS, m->tensors[i]->stride, size);
	return s;
}

void be_set_strides(const struct module *m, const int64_t *s)
{
	for (int i = 0; i < m->num_tensors; i++)
		memcpy(m->tensors[i]->stride, s + (size_t)i * RDU_MAX_DIMS,
		       sizeof(m->tensors[i]->stride));
}

int be_make_sections(struct backend *be, int entry)
{
	struct module_entry *e = &be->m->entries[entry];
	int first = be->num_sections, r;
	int64_t *stride = be_copy_strides(be->m);

	r = be->level > 0 ? be_resident(be, e) : 0;
	if (!r)
		r = lower_nests(be, e, entry);
	if (r > 0 && !be->fixed && be->level > 0) { /* then without anything resident */
		be_note(be, "%s: nothing stays in scratchpads: %s", e->name, be->error);
		be_drop_sections(be, first);
		be_resident_drop(be, e);
		be_set_strides(be->m, stride);
		r = lower_nests(be, e, entry);
	}
	if (!r && be->level >= 3)
		r = be_fit_beside(be, be->section + first);
	if (!r && be->level > 0)
		be_cut(be, first);
	free(stride);
	return r > 0 && !be->fixed ? -1 : r;
}

static int lower_entry(struct backend *be, int entry)
{
	const struct module_entry *e = &be->m->entries[entry];
	int first = be->num_sections;

	if (be_make_entry(be, entry))
		return -1;
	be_time_all_ahead(be, first);
	for (int k = 0; k < e->num_nests; k++) {
		const struct nest *n = e->nests[k];
		struct rdu_file_op *op = &be->op[be->num_ops++];

		snprintf(op->name, sizeof(op->name), "%.63s", n->name ? n->name : "");
		snprintf(op->type, sizeof(op->type), "%.31s", n->op_type ? n->op_type : "");
	}
	for (int i = first; i < be->num_sections; i++)
		if (be_prints(be, "lower") || be_prints(be, "place"))
			image_print(be, be->section[i].im);
	for (int i = first; i < be->num_sections; i++)
		image_close(be->section[i].im);
	be_pipe_close(be);
	malloc_trim(0); /* what was tried lies between what stays */
	be_add_steps(be, e, first);
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
	/* Each section in loops of its own, and once again without the outermost. */
	be->step = xcalloc(4 * RDU_MAX_LOOP_DEPTH * RDU_MAX_SECTIONS, sizeof(*be->step));
	be->op = xcalloc(RDU_MAX_SECTIONS, sizeof(*be->op));
	be->residence = xcalloc((size_t)m->num_tensors + 1, sizeof(*be->residence));
	for (int e = 0; e < m->num_entries; e++) {
		struct rdu_prog_entry *en = &be->entry[e];

		snprintf(en->name, sizeof(en->name), "%.31s", m->entries[e].name);
		en->first_step = (uint32_t)be->num_steps;
		if (m->entries[e].once_of)
			add_steps_once(be, m->entries[e].once_of - 1);
		else if (lower_entry(be, e))
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
	c->tensors = NULL;
	for (int i = 0; i < m->num_tensors; i++) { /* as module_tensor() lets it grow */
		c->tensors = xgrow(c->tensors, i, sizeof(*c->tensors));
		c->tensors[i] = m->tensors[i];
	}
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
	be_plans_drop(be);
	be_resident_end(be);
	be_pipe_end(be);
	be_time_end(be);
	be_plans_end(be);
	for (int e = 0; e < be->m->num_entries; e++) {
		for (int k = 0; k < be->m->entries[e].num_nests; k++)
			nest_free_fused(be->m->entries[e].nests[k]);
		free(be->m->entries[e].nests);
	}
	free(be->m->entries);
	for (int i = 0; i < be->num_made; i++)
		nest_free_fused(be->made[i].maker);
	free(be->made);
	be_narrow_undo(be); /* they are the caller's */
	for (int i = be->first_own; i < be->m->num_tensors; i++)
		tensor_free(be->m->tensors[i]);
	free(be->m->tensors);
	free(be->m);
	free(be->hold);
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
	free(be->piece);
	free(be->program);
	free(be->batch);
	workers_free(be->workers);
}

/* Compiles as at a level. 0, -1, or 1: the program is larger than a card takes; 2: it cannot be made
 * with narrow temporaries. */
static int passes(struct backend *be, const char *out_path)
{
	const struct rduc_options *opt = be->opt;
	int r = be_check(be, "patterns");

	be_find_batches(be);
	if (!r && be->level > 0) {
		progress_say(opt->progress, "fuse");
		be_shapes(be);
		be_copies(be);
		be_split_batch(be);
		if (be->tiles > 1) /* those of one have no room for such large ones */
			be_split_concatenations(be);
		r = be_check(be, "copies");
	}
	if (!r && be->level > 0) {
		be_recompute(be);
		r = be_check(be, "recompute");
	}
	if (!r && be->level > 0) {
		be_fuse(be);
		r = be_check(be, "fuse");
	}
	if (!r && be->level > 0) {
		be_order(be);
		r = be_check(be, "order");
	}
	if (!r) {
		be_layout(be);
		if (be->level > 0 && !be->wide)
			be_narrow(be);
		if (be->level > 0)
			be_make_operands(be);
		r = lower_all(be);
		be_plans_drop(be);
	}
	if (r < 0 && be_narrow_undo(be))
		return 2;
	progress_say(opt->progress, "write");
	if (!r)
		r = be_regions(be);
	if (!r)
		r = be_program(be);
	drop_repeated_notes(be);
	if (!r)
		r = be_time_all(be);
	if (!r)
		be_expect_all(be); /* whatever is reported, the program is the same */
	if (!r)
		r = be_report(be);
	if (!r && opt->floor_plan)
		be_floorplan(be, opt->floor_plan);
	if (!r && opt->dot)
		be_dot(be, opt->dot);
	if (!r && opt->summary)
		be_summary(be, opt->summary);
	return r ? r : be_write(be, out_path);
}

int rduc_backend(struct module *m, const struct rduc_options *opt, const char *out_path,
		 char *error, int error_size)
{
	static const int levels[] = { 3, 1, 0 };
	unsigned int tiles = opt->tiles ? (unsigned int)opt->tiles : 1;
	char reason[400] = "";
	bool wide = false;
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
				      .wide = wide,
				      .error = error,
				      .error_size = error_size };

		if (levels[i] > opt->opt)
			continue;
		be.workers = workers_new(opt->threads - 1);
		be.m = copy_entries(m);
		be.first_own = m->num_tensors;
		if (reason[0])
			be_note(&be, "all of it is made as at -O%d: %s", levels[i], reason);
		be_remarks(&be);
		r = passes(&be, out_path);
		wide |= r == 2;
		if (r == 2)
			i--; /* once more */
		else if (r > 0 && !reason[0])
			snprintf(reason, sizeof(reason), "%s", error);
		for (int n = 0; !r && opt->note && n < be.num_notes; n++)
			opt->note(opt->note_arg, be.note[n]);
		backend_free(&be);
	}
	if (r > 0) /* no level takes it: the reason of the one that was asked for */
		snprintf(error, (size_t)error_size, "%s", reason);
	return r ? -1 : 0;
}
