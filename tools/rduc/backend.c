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

/* The section of a group, with what may stay in scratchpads of what it makes. 0 or -1. */
static int take_group(struct backend *be, struct be_section *first, struct be_section *s)
{
	struct module_entry *e = &be->m->entries[s->entry];
	const struct nest *without;
	struct tensor *left;

	for (;;) {
		s->im = be_group_image(be, e, s->first_nest, &s->num_nests, &without);
		if (s->im)
			return 0;
		if (!without)
			return be_error(be, "internal: %s: its group has no section",
					s->nest->name);
		while ((left = be_group_leaves(be, without)) != NULL)
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

static void drop_sections(struct backend *be, int first)
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
		if (s->nest->group && take_group(be, first, s))
			return -1;
		if (s->im || is_fill(be, s->nest)) {
			be->num_sections++;
			k += s->num_nests - 1;
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
static void add_steps(struct backend *be, const struct module_entry *e, int first)
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

static int64_t *copy_strides(const struct module *m)
{
	size_t size = sizeof(m->tensors[0]->stride);
	int64_t *s = xmalloc(size * (size_t)(m->num_tensors + 1));

	for (int i = 0; i < m->num_tensors; i++)
		memcpy(s + (size_t)i * RDU_MAX_DIMS, m->tensors[i]->stride, size);
	return s;
}

static void set_strides(const struct module *m, const int64_t *s)
{
	for (int i = 0; i < m->num_tensors; i++)
		memcpy(m->tensors[i]->stride, s + (size_t)i * RDU_MAX_DIMS,
		       sizeof(m->tensors[i]->stride));
}

/* Makes the sections of an entry. 0, -1, or 1: with what groups it has, it cannot be. */
static int make_sections(struct backend *be, int entry)
{
	struct module_entry *e = &be->m->entries[entry];
	int first = be->num_sections, r;
	int64_t *stride = copy_strides(be->m);

	r = be->level > 0 ? be_resident(be, e) : 0;
	if (!r)
		r = lower_nests(be, e, entry);
	if (r > 0 && !be->fixed && be->level > 0) { /* then without anything resident */
		be_note(be, "%s: nothing stays in scratchpads: %s", e->name, be->error);
		drop_sections(be, first);
		be_resident_drop(be, e);
		set_strides(be->m, stride);
		r = lower_nests(be, e, entry);
	}
	if (!r && be->level >= 3)
		r = be_fit_beside(be, be->section + first);
	if (!r && be->level > 0)
		be_cut(be, first);
	if (!r)
		be_time_all_ahead(be, first);
	free(stride);
	return r > 0 && !be->fixed ? -1 : r;
}

/* ---- with groups or without ------------------------------------------------------- */

/* What an entry point has become, put aside. */
struct outcome {
	int num_sections, first_note, num_notes;
	struct be_section *section;
	struct residence *residence;
	int64_t *stride;
	uint64_t cycles;
};

/* What the sections of an entry take in a later run, from number `first` on. */
static uint64_t sum_cycles(struct backend *be, const struct module_entry *e, int first)
{
	int steps = be->num_steps;
	struct be_run once, later;

	add_steps(be, e, first);
	be_expect_steps(be, be->step + steps, (uint32_t)(be->num_steps - steps), &once, &later);
	be->num_steps = steps;
	return later.exec + later.load;
}

static void *copy_of(const void *from, size_t size)
{
	void *to = xmalloc(size + 1);

	memcpy(to, from, size);
	return to;
}

static struct residence *copy_residences(const struct module *m, const struct residence *from)
{
	return copy_of(from, sizeof(*from) * (size_t)(m->num_tensors + 1));
}

/* Residences of `from` that are not those of `kept`. */
static void free_residences(const struct module *m, struct residence *from,
			    const struct residence *kept)
{
	for (int i = 0; from && i < m->num_tensors; i++) {
		if (from[i].spot != kept[i].spot)
			free(from[i].spot);
		if (from[i].copy_reader != kept[i].copy_reader)
			free(from[i].copy_reader);
	}
	free(from);
}

static struct outcome put_aside(struct backend *be, const struct module_entry *e, int first,
				int notes, struct residence *residence)
{
	int num = be->num_sections - first;
	struct outcome o = { .num_sections = num,
			     .first_note = notes,
			     .num_notes = be->num_notes - notes,
			     .section = copy_of(be->section + first,
						sizeof(*be->section) * (size_t)num),
			     .residence = be->residence,
			     .stride = copy_strides(be->m),
			     .cycles = sum_cycles(be, e, first) };

	be->num_sections = first;
	be->residence = residence;
	return o;
}

static void drop_notes(struct backend *be, int first, int num)
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
				drop_notes(be, i, 1);
				break;
			}
}

/* Cycles of each nest: its part of the section's, by what its units were busy with. */
static double *nest_cycles(const struct backend *be, const struct module_entry *e, int first)
{
	double *cycles = xcalloc((size_t)e->num_nests + 1, sizeof(*cycles));
	struct be_loads loads = { 0 };

	for (int i = first; i < be->num_sections; i++) {
		const struct be_section *s = &be->section[i];
		double all = (double)(s->im->cycles + be_load(be, &loads, s->im).cycles), busy = 0;

		for (int k = 0; k < s->im->num_shares; k++)
			busy += (double)s->im->share[k].busy;
		for (int k = 0; k < s->im->num_shares; k++) {
			int nest = s->im->share[k].op - be->num_ops;

			if (nest >= 0 && nest < e->num_nests && busy > 0)
				cycles[nest] += all * (double)s->im->share[k].busy / busy;
		}
	}
	return cycles;
}

/* Of an entry's sections, those put aside are dropped for those made since, from number `first` on;
 * or the other way round. */
static void choose(struct backend *be, struct outcome *was, bool better, int first)
{
	if (better) {
		drop_notes(be, was->first_note, was->num_notes);
		for (int i = 0; i < was->num_sections; i++)
			image_free(was->section[i].im);
		free_residences(be->m, was->residence, be->residence);
	} else {
		int notes = was->first_note + was->num_notes;

		drop_sections(be, first);
		drop_notes(be, notes, be->num_notes - notes);
		free_residences(be->m, be->residence, was->residence);
		be->residence = was->residence;
		memcpy(be->section + first, was->section,
		       sizeof(*be->section) * (size_t)was->num_sections);
		be->num_sections += was->num_sections;
		set_strides(be->m, was->stride);
	}
	free(was->section);
	free(was->stride);
}

/* Room for the tensors from number `old` on, with what they begin with. */
static void make_room(const struct module *m, int old, struct residence **residence,
		      int64_t **stride)
{
	size_t row = sizeof(m->tensors[0]->stride), num = (size_t)m->num_tensors + 1;

	*residence = xrealloc(*residence, sizeof(**residence) * num);
	memset(*residence + old, 0, sizeof(**residence) * (num - (size_t)old));
	if (!stride)
		return;
	*stride = xrealloc(*stride, row * num);
	for (int i = old; i < m->num_tensors; i++)
		memcpy(*stride + (size_t)i * RDU_MAX_DIMS, m->tensors[i]->stride, row);
}

/* Makes the sections again with groups, where these are faster by more than `held` cycles, which what
 * may be held without them saves; what is better in the end stays. residence, stride: what both begin
 * with; they grow. */
static int make_groups(struct backend *be, int entry, int first, int notes,
		       struct residence **residence, int64_t **stride, double held)
{
	struct module_entry *e = &be->m->entries[entry];
	double *cycles = nest_cycles(be, e, first);
	int old = be->m->num_tensors, groups = be->num_groups, r = 0;
	struct outcome plain = put_aside(be, e, first, notes, copy_residences(be->m, *residence));
	bool better = false;

	set_strides(be->m, *stride);
	be_pipe(be, e, entry, cycles, plain.residence);
	make_room(be->m, old, &plain.residence, &plain.stride);
	make_room(be->m, old, residence, stride);
	/* What else the nests need is lowered anew: for a hundredth, that is not worth it. */
	if (be->num_groups > groups && (be->opt->pipe == WHEN_POSSIBLE ||
					be_pipe_saved(be, groups) > (double)plain.cycles / 100)) {
		be->fixed = true;
		r = make_sections(be, entry);
		be->fixed = false;
		better = !r && (be->opt->pipe == WHEN_POSSIBLE ||
				(double)sum_cycles(be, e, first) + held < (double)plain.cycles);
	}
	choose(be, &plain, better, first);
	if (!better)
		be_pipe_undo(be, e, groups);
	free(cycles);
	return r < 0 ? -1 : 0;
}

/* ---- side by side ------------------------------------------------------------------- */

#define BESIDE_TRIES 8

/* Makes the sections again, first with what is resident sharing scratchpads, then with nests in the order in which
 * more of them run side by side, as often as that is better. residence, stride: what all begin with. */
static int make_beside(struct backend *be, int entry, int first, const struct residence *residence,
		       const int64_t *stride)
{
	struct module_entry *e = &be->m->entries[entry];
	struct nest **order = copy_of(e->nests, sizeof(*order) * (size_t)e->num_nests);
	static const double pmus[] = { 0.85, 0.95, 0.75 };
	size_t fails = 0;
	int r = 0;

	for (int i = 0; i < BESIDE_TRIES && r >= 0 && fails < sizeof(pmus) / sizeof(pmus[0]); i++) {
		struct outcome before;
		bool better;

		if (!be_beside(be, e, first, pmus[fails])) {
			fails++;
			continue;
		}
		if (!i)
			be_beside_undo(e, order);
		before = put_aside(be, e, first, be->num_notes, copy_residences(be->m, residence));
		set_strides(be->m, stride);
		be->fixed = be->beside = true;
		r = make_sections(be, entry);
		be->fixed = be->beside = false;
		better = !r && sum_cycles(be, e, first) < before.cycles;
		if (!r && be_prints(be, "beside"))
			fprintf(be_log(be), "beside: %s: %llu cycles instead of %llu\n", e->name,
				(unsigned long long)sum_cycles(be, e, first),
				(unsigned long long)before.cycles);
		choose(be, &before, better, first);
		fails += !better && i;
		if (!better)
			be_beside_undo(e, order);
		memcpy(order, e->nests, sizeof(*order) * (size_t)e->num_nests);
	}
	free(order);
	return r < 0 ? -1 : 0;
}

/* ---- with what loops carry in scratchpads or without --------------------------------- */

/* Is there room for all of what is carried? What has none is marked. 0, 1: there is not, or -1. */
static int try_carried(struct backend *be, const struct module_entry *e, const struct carried *c,
		       const struct residence *residence, const int64_t *stride, bool * not )
{
	int r;

	be->residence = copy_residences(be->m, residence);
	set_strides(be->m, stride);
	r = be_resident(be, e);
	if (!r)
		r = !be_carry_fits(be, c, not );
	free_residences(be->m, be->residence, residence);
	be->residence = NULL;
	return r;
}

/* The entry's nests change what loops carry in scratchpads, as much as there is room for; NULL:
 * there is none. residence, stride: what the entry begins with; they grow. */
static struct carried *find_carried(struct backend *be, struct module_entry *e,
				    struct residence **residence, int64_t **stride)
{
	int num = be->m->num_tensors, r = 1;
	bool *not = xcalloc((size_t)num + 1, sizeof(bool));
	struct carried *c = NULL;

	while (r > 0 && be_can_carry(be, e, not )) {
		int old = be->m->num_tensors;

		c = be_carry(be, e, not );
		make_room(be->m, old, residence, stride);
		if (!e->num_loops)
			be_carry_mark(c, *residence);
		r = try_carried(be, e, c, *residence, *stride, not );
		if (!r)
			break;
		be_carry_undo(e, c);
		be_carry_end(c);
		c = NULL;
	}
	for (int i = 0; i < num && c; i++)
		if (not [i] && e->num_loops)
			be_note(be,
				"%s: loaded and stored in each iteration: there are no "
				"scratchpads left for it",
				be->m->tensors[i]->name);
	free(not );
	return c;
}

/* Makes the sections again with what loops change in place carried in scratchpads; what is better
 * stays. residence, stride: what both begin with. */
static int make_carried(struct backend *be, int entry, int first, int notes,
			struct residence **residence, int64_t **stride)
{
	struct module_entry *e = &be->m->entries[entry];
	int old = be->m->num_tensors, r = 1;
	struct outcome without = put_aside(be, e, first, notes, NULL);
	struct carried *carried;
	uint64_t cycles = 0;
	bool better;

	be->beside = !e->num_loops;
	carried = find_carried(be, e, residence, stride);
	make_room(be->m, old, &without.residence, &without.stride);
	be->residence = copy_residences(be->m, *residence);
	set_strides(be->m, *stride);
	be->fixed = true;
	if (carried)
		r = be_check(be, "carry") ? -1 : make_sections(be, entry);
	be->fixed = be->beside = false;
	if (!r && !e->num_loops)
		r = make_beside(be, entry, first, *residence, *stride);
	if (!r)
		cycles = sum_cycles(be, e, first);
	if (be_prints(be, "carry"))
		fprintf(be_log(be), "carry: %s: %s%llu cycles instead of %llu\n", e->name,
			r ? be->error : "", (unsigned long long)cycles,
			(unsigned long long)without.cycles);
	better = !r && (be->opt->hold == WHEN_POSSIBLE || cycles < without.cycles);
	choose(be, &without, better, first);
	if (carried && !better)
		be_carry_undo(e, carried);
	if (carried)
		be_carry_end(carried);
	return r < 0 ? -1 : 0;
}

/* ---- with holds or without ---------------------------------------------------------- */

#define MOST_HELD 8
#define LESS_HELD 5

/* Which hold is to go when the nest being lowered has no place: its own, or the last. */
static int blamed(const struct backend *be, const struct module_entry *e)
{
	for (int i = 0; i < be->num_holds; i++)
		if (be->hold[i].reader == e->nests[be->at])
			return i;
	return be->num_holds - 1;
}

/* Makes the sections with what loops read held in scratchpads: of what `hold` does, as much as
 * fits. 0, -1, or 1: nothing does. */
static int make_held(struct backend *be, int entry, int first, int holds,
		     const struct residence *residence, const int64_t *stride)
{
	struct module_entry *e = &be->m->entries[entry];
	int notes = be->num_notes, r = 1;

	be->fixed = true;
	be->held_tenths = MOST_HELD;
	while (r > 0 && be->num_holds > holds) {
		be->residence = copy_residences(be->m, residence);
		set_strides(be->m, stride);
		r = make_sections(be, entry);
		if (!r)
			break;
		drop_sections(be, first);
		drop_notes(be, notes, be->num_notes - notes);
		free_residences(be->m, be->residence, residence);
		be->residence = NULL;
		if (r < 0)
			break;
		if (be->held_tenths == MOST_HELD) { /* partial sums, for one, want PMUs, too */
			be->held_tenths = LESS_HELD;
			continue;
		}
		be_note(be, "%s: loaded whenever it is read: %s",
			be->hold[blamed(be, e)].from->name, be->error);
		notes++;
		be_hold_undo(be, e, be->hold[blamed(be, e)].reader);
	}
	be->fixed = false;
	return r;
}

/* Makes the sections again, with no more scratchpads for what is held than its readers use: others
 * find room, and nests go together. What is better stays. 0 or -1. */
static int tighten(struct backend *be, int entry, int first, const struct residence *residence,
		   const int64_t *stride)
{
	struct module_entry *e = &be->m->entries[entry];
	struct outcome loose =
		put_aside(be, e, first, be->num_notes, copy_residences(be->m, residence));
	int r;

	set_strides(be->m, stride);
	be->fixed = true;
	r = make_sections(be, entry);
	be->fixed = false;
	if (!r && be_prints(be, "hold"))
		fprintf(be_log(be),
			"hold: %s: %llu cycles with as few PMUs as are used, %llu before\n",
			e->name, (unsigned long long)sum_cycles(be, e, first),
			(unsigned long long)loose.cycles);
	choose(be, &loose, !r && sum_cycles(be, e, first) < loose.cycles, first);
	return r < 0 ? -1 : 0;
}

/* Makes the sections again with what loops read held in scratchpads; what is better stays.
 * residence, stride: what both begin with. */
static int make_holds(struct backend *be, int entry, int first, int notes,
		      struct residence **residence, int64_t **stride)
{
	struct module_entry *e = &be->m->entries[entry];
	int old = be->m->num_tensors, holds = be->num_holds, old_notes = be->num_notes, r;
	struct outcome without;
	char reason[512];
	uint64_t cycles = 0;
	bool better;

	be_hold(be, e);
	make_room(be->m, old, &be->residence, NULL);
	make_room(be->m, old, residence, stride);
	without = put_aside(be, e, first, notes, NULL);
	without.num_notes = old_notes - notes; /* be_hold()'s are not of them */
	r = be_check(be, "hold");
	if (!r)
		r = make_held(be, entry, first, holds, *residence, *stride);
	if (!r)
		r = tighten(be, entry, first, *residence, *stride);
	if (!r)
		cycles = sum_cycles(be, e, first);
	if (!r && be_prints(be, "hold"))
		fprintf(be_log(be), "hold: %s: %d tensors: %llu cycles instead of %llu\n", e->name,
			be->num_holds - holds, (unsigned long long)cycles,
			(unsigned long long)without.cycles);
	better = !r && (be->opt->hold == WHEN_POSSIBLE || cycles < without.cycles);
	if (r > 0)
		snprintf(reason, sizeof(reason), "%s", be->note[be->num_notes - 1]);
	choose(be, &without, better, first);
	if (r > 0)
		be_note(be, "%s", reason);
	while (!better && be->num_holds > holds)
		be_hold_undo(be, e, be->hold[be->num_holds - 1].reader);
	return r < 0 ? -1 : 0;
}

static int lower_entry(struct backend *be, int entry)
{
	struct module_entry *e = &be->m->entries[entry];
	struct residence *residence = copy_residences(be->m, be->residence);
	int64_t *stride = copy_strides(be->m);
	int first = be->num_sections, notes = be->num_notes, groups = be->num_groups, r;
	bool may_hold, once;

	r = make_sections(be, entry);
	if (!r && be->level >= 3 && be->opt->pipe != WHEN_NEVER) {
		progress_say(be->opt->progress, "%s, pipe", e->name);
		r = make_groups(be, entry, first, notes, &residence, &stride,
				be->opt->hold == WHEN_NEVER ? 0 : be_hold_saves(be, e));
	}
	once = be->level >= 3 && be->num_groups == groups && be->opt->hold != WHEN_NEVER &&
	       be_can_carry_once(be, e, first);
	if (!r && once)
		r = make_beside(be, entry, first, residence, stride);
	if (!r && be->level > 0 && (e->num_loops || once) && be->opt->hold != WHEN_NEVER &&
	    be->num_groups == groups) {
		progress_say(be->opt->progress, "%s, carry", e->name);
		r = make_carried(be, entry, first, notes, &residence, &stride);
	}
	may_hold = be->level > 0 && be->opt->hold != WHEN_NEVER && be_can_hold(be, e);
	if (!r && may_hold && be->num_groups > groups) {
		be_note(be, "%s: what it reads again and again is loaded each time: it has groups",
			e->name);
	} else if (!r && may_hold) {
		progress_say(be->opt->progress, "%s, hold", e->name);
		r = make_holds(be, entry, first, notes, &residence, &stride);
	}
	if (!r && be->level >= 3 && be->num_groups == groups && !once)
		r = make_beside(be, entry, first, residence, stride);
	free(residence);
	free(stride);
	if (r)
		return -1;
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
	add_steps(be, e, first);
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
	workers_free(be->workers);
}

/* Compiles as at a level. 0, -1, or 1: the program is larger than a card takes; 2: it cannot be made
 * with narrow temporaries. */
static int passes(struct backend *be, const char *out_path)
{
	const struct rduc_options *opt = be->opt;
	int r = be_check(be, "patterns");

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
