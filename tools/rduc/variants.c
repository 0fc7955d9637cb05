// SPDX-License-Identifier: MIT
/*
 * Variants of an entry: its sections are made plainly, then with groups, with scratchpads shared, with nests side by
 * side, with what loops carry in scratchpads, and with what they hold there. What takes least by the card's clock
 * stays.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"
#include "progress.h"

/* ---- with groups or without ------------------------------------------------------- */

/* What an entry point has become, put aside. */
struct outcome {
	int num_sections, first_note, num_notes;
	struct be_section *section;
	struct residence *residence;
	int64_t *stride;
	uint64_t cycles, once; /* of a later run, and of the first one */
};

/* What the sections of an entry take in the first run, from number `first` on, and, returned, in a later one. */
static uint64_t sum_runs(struct backend *be, const struct module_entry *e, int first,
			 uint64_t *first_run)
{
	int steps = be->num_steps;
	struct be_run once, later;

	be_add_steps(be, e, first);
	be_expect_steps(be, be->step + steps, (uint32_t)(be->num_steps - steps), &once, &later);
	be->num_steps = steps;
	*first_run = once.exec + once.load;
	return later.exec + later.load;
}

static uint64_t sum_cycles(struct backend *be, const struct module_entry *e, int first)
{
	uint64_t once;

	return sum_runs(be, e, first, &once);
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
			     .stride = be_copy_strides(be->m) };

	o.cycles = sum_runs(be, e, first, &o.once);
	be->num_sections = first;
	be->residence = residence;
	return o;
}

/* What a nest's part of its section's time goes by: what its units were busy with, or, with several tiles, where many
 * that wait for each other are one section, what it took alone. */
static double weight(const struct backend *be, const struct module_entry *e,
		     const struct ushare *share)
{
	int nest = share->op - be->num_ops;

	if (nest < 0 || nest >= e->num_nests || be->tiles == 1 || !e->nests[nest]->cost.cycles)
		return (double)share->busy;
	return (double)e->nests[nest]->cost.cycles;
}

/* Cycles of each nest: its part of the section's. */
static double *nest_cycles(const struct backend *be, const struct module_entry *e, int first)
{
	double *cycles = xcalloc((size_t)e->num_nests + 1, sizeof(*cycles));
	struct be_loads loads = { 0 };

	for (int i = first; i < be->num_sections; i++) {
		const struct be_section *s = &be->section[i];
		double all = (double)(s->im->cycles + be_load(be, &loads, s->im).cycles), busy = 0;

		for (int k = 0; k < s->im->num_shares; k++)
			busy += weight(be, e, &s->im->share[k]);
		for (int k = 0; k < s->im->num_shares; k++) {
			int nest = s->im->share[k].op - be->num_ops;

			if (nest >= 0 && nest < e->num_nests && busy > 0)
				cycles[nest] += all * weight(be, e, &s->im->share[k]) / busy;
		}
	}
	return cycles;
}

/* Of an entry's sections, those put aside are dropped for those made since, from number `first` on;
 * or the other way round. */
static void choose(struct backend *be, struct outcome *was, bool better, int first)
{
	if (better) {
		be_drop_notes(be, was->first_note, was->num_notes);
		for (int i = 0; i < was->num_sections; i++)
			image_free(was->section[i].im);
		free_residences(be->m, was->residence, be->residence);
	} else {
		int notes = was->first_note + was->num_notes;

		be_drop_sections(be, first);
		be_drop_notes(be, notes, be->num_notes - notes);
		free_residences(be->m, be->residence, was->residence);
		be->residence = was->residence;
		memcpy(be->section + first, was->section,
		       sizeof(*be->section) * (size_t)was->num_sections);
		be->num_sections += was->num_sections;
		be_set_strides(be->m, was->stride);
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
	struct residence *slices;
	bool better = false;
	int64_t *turned;

	be_set_strides(be->m, *stride);
	be_pipe(be, e, entry, cycles, plain.residence);
	make_room(be->m, old, &plain.residence, &plain.stride);
	make_room(be->m, old, residence, stride);
	slices = copy_residences(be->m, be->residence);
	turned = be_copy_strides(be->m);
	/* What else the nests need is lowered anew: for a hundredth, that is not worth it. */
	if (be->num_groups > groups && (be->opt->pipe == WHEN_POSSIBLE ||
					be_pipe_saved(be, groups) > (double)plain.cycles / 100)) {
		be->fixed = true;
		r = be_make_sections(be, entry);
		be->fixed = false;
		better = !r && (be->opt->pipe == WHEN_POSSIBLE ||
				(double)sum_cycles(be, e, first) + held < (double)plain.cycles);
	}
	choose(be, &plain, better, first);
	if (better) { /* that is what the entry begins with now */
		memcpy(*residence, slices, sizeof(*slices) * (size_t)be->m->num_tensors);
		memcpy(*stride, turned,
		       sizeof(be->m->tensors[0]->stride) * (size_t)be->m->num_tensors);
	} else {
		be_pipe_undo(be, e, groups);
	}
	free(slices);
	free(turned);
	free(cycles);
	return r < 0 ? -1 : 0;
}

/* ---- with temporaries turned ---------------------------------------------------------- */

#define ACROSS_PART 32 /* of an entry's time: less of it is not worth to be made again */

/* Makes the sections again with what is read across in memory lying as it is read; what is better stays. stride: what
 * both begin with; it becomes that of the better one. */
static int make_turned(struct backend *be, int entry, int first, int notes,
		       const struct residence *residence, int64_t **stride)
{
	struct module_entry *e = &be->m->entries[entry];
	int *axis = be_across(be, entry, (double)sum_cycles(be, e, first) / ACROSS_PART), r;
	struct outcome plain;
	int64_t *turned;
	bool better;

	if (!axis)
		return 0;
	plain = put_aside(be, e, first, notes, copy_residences(be->m, residence));
	be_set_strides(be->m, *stride);
	be_turn(be, axis, be->m->num_tensors);
	turned = be_copy_strides(be->m);
	be->fixed = true;
	r = be_make_sections(be, entry);
	be->fixed = false;
	better = !r && sum_cycles(be, e, first) < plain.cycles;
	if (!r && be_prints(be, "layout"))
		fprintf(be_log(be), "layout: %s, turned: %llu cycles instead of %llu\n", e->name,
			(unsigned long long)sum_cycles(be, e, first),
			(unsigned long long)plain.cycles);
	choose(be, &plain, better, first);
	if (better) {
		free(*stride);
		*stride = turned;
	} else {
		free(turned);
	}
	free(axis);
	return r < 0 ? -1 : 0;
}

/* ---- with scratchpads shared --------------------------------------------------------- */

#define WORTH_SHARING \
	16 /* one part in so many of the time is what memory takes for what then stays as well */

/* Bytes that do not cross memory as temporaries of the entry stay, if all of them can. residence, stride: what it
 * begins with. */
static double resident_bytes(struct backend *be, const struct module_entry *e,
			     const struct residence *residence, const int64_t *stride)
{
	double sum = 0;

	be->residence = copy_residences(be->m, residence);
	be_set_strides(be->m, stride);
	be_resident(be, e);
	for (int i = 0; i < be->m->num_tensors; i++) {
		const struct residence *r = &be->residence[i];

		if (r->resident && !r->group)
			sum += (double)tensor_size(be->m->tensors[i]) * (r->num_readers + 1);
	}
	free_residences(be->m, be->residence, residence);
	be->residence = NULL;
	return sum;
}

/* Makes the sections again with what is resident sharing scratchpads, where that leaves more of them to others; what
 * is better stays, and is how all that follows is made. residence, stride: what both begin with. */
static int make_shared(struct backend *be, int entry, int first, int notes,
		       const struct residence *residence, const int64_t *stride)
{
	struct module_entry *e = &be->m->entries[entry];
	struct outcome alone = put_aside(be, e, first, notes, NULL);
	double bytes = resident_bytes(be, e, residence, stride);
	bool better = false;
	int r = 1;

	be->pmus_shared = true;
	bytes = resident_bytes(be, e, residence, stride) - bytes;
	be->residence = copy_residences(be->m, residence);
	be_set_strides(be->m, stride);
	if (bytes / be_bytes_per_cycle(&be->chip) * WORTH_SHARING >= (double)alone.cycles) {
		be->fixed = true;
		r = be_make_sections(be, entry);
		be->fixed = false;
		better = !r && sum_cycles(be, e, first) < alone.cycles;
		if (!r && be_prints(be, "resident"))
			fprintf(be_log(be), "resident: %s, shared: %llu cycles instead of %llu\n",
				e->name, (unsigned long long)sum_cycles(be, e, first),
				(unsigned long long)alone.cycles);
	}
	be->pmus_shared = better;
	choose(be, &alone, better, first);
	return r < 0 ? -1 : 0;
}

/* ---- side by side ------------------------------------------------------------------- */

#define BESIDE_TRIES 12

/* Makes the sections again, first with what is resident sharing scratchpads, then with nests in the order in which
 * more of them run side by side, as often as that is better. residence, stride: what all begin with. */
static int make_beside(struct backend *be, int entry, int first, const struct residence *residence,
		       const int64_t *stride)
{
	struct module_entry *e = &be->m->entries[entry];
	struct nest **order = copy_of(e->nests, sizeof(*order) * (size_t)e->num_nests);
	static const double pmus[] = { 0.9, 0.8, 0.7 };
	const int num = sizeof(pmus) / sizeof(pmus[0]);
	int r = 0, at = 0, fails = 0;
	bool shared = be->pmus_shared;

	for (int i = 0; i < BESIDE_TRIES && r >= 0 && fails < num; i++) {
		struct outcome before;
		bool better;

		if (!be_beside(be, e, first, pmus[at % num])) {
			fails++;
			at++;
			continue;
		}
		if (!i)
			be_beside_undo(e, order);
		before = put_aside(be, e, first, be->num_notes, copy_residences(be->m, residence));
		be_set_strides(be->m, stride);
		be->fixed = be->pmus_shared = true;
		r = be_make_sections(be, entry);
		be->fixed = false;
		be->pmus_shared = shared;
		better = !r && sum_cycles(be, e, first) < before.cycles;
		if (!r && be_prints(be, "beside"))
			fprintf(be_log(be), "beside: %s: %llu cycles instead of %llu\n", e->name,
				(unsigned long long)sum_cycles(be, e, first),
				(unsigned long long)before.cycles);
		choose(be, &before, better, first);
		if (better)
			fails = 0;
		else if (i)
			fails++;
		at += !better && i;
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
	be_set_strides(be->m, stride);
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

/* Are the sections that were made anew, if r is 0, better than those put aside? */
static bool is_better(struct backend *be, const struct module_entry *e, int first, const char *pass,
		      int r, const struct outcome *without)
{
	uint64_t cycles = r ? 0 : sum_cycles(be, e, first);

	if (be_prints(be, pass) && r)
		fprintf(be_log(be), "%s: %s: %s\n", pass, e->name, be->error);
	else if (be_prints(be, pass))
		fprintf(be_log(be), "%s: %s: %llu cycles instead of %llu\n", pass, e->name,
			(unsigned long long)cycles, (unsigned long long)without->cycles);
	return !r && (be->opt->hold == WHEN_POSSIBLE || cycles < without->cycles);
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
	bool better, shared = be->pmus_shared;

	be->pmus_shared |= !e->num_loops;
	carried = find_carried(be, e, residence, stride);
	make_room(be->m, old, &without.residence, &without.stride);
	be->residence = copy_residences(be->m, *residence);
	be_set_strides(be->m, *stride);
	be->fixed = true;
	if (carried)
		r = be_check(be, "carry") ? -1 : be_make_sections(be, entry);
	be->fixed = false;
	be->pmus_shared = shared;
	if (!r && !e->num_loops)
		r = make_beside(be, entry, first, *residence, *stride);
	better = is_better(be, e, first, "carry", r, &without);
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
		be_set_strides(be->m, stride);
		r = be_make_sections(be, entry);
		if (!r)
			break;
		be_drop_sections(be, first);
		be_drop_notes(be, notes, be->num_notes - notes);
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

	be_set_strides(be->m, stride);
	be->fixed = true;
	r = be_make_sections(be, entry);
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
	uint64_t cycles = 0, once = 0;
	bool better, shared = be->pmus_shared;

	be_hold(be, e);
	make_room(be->m, old, &be->residence, NULL);
	make_room(be->m, old, residence, stride);
	without = put_aside(be, e, first, notes, NULL);
	without.num_notes = old_notes - notes; /* be_hold()'s are not of them */
	be->pmus_shared = false; /* what is held lies alone, and others find fewer scratchpads */
	r = be_check(be, "hold");
	if (!r)
		r = make_held(be, entry, first, holds, *residence, *stride);
	if (!r)
		r = tighten(be, entry, first, *residence, *stride);
	if (!r)
		cycles = sum_runs(be, e, first, &once);
	if (!r && be_prints(be, "hold"))
		fprintf(be_log(be),
			"hold: %s: %d tensors: %llu cycles instead of %llu, in a first run %llu "
			"instead of %llu\n",
			e->name, be->num_holds - holds, (unsigned long long)cycles,
			(unsigned long long)without.cycles, (unsigned long long)once,
			(unsigned long long)without.once);
	/* What the first run loses, the next one is to win. */
	better = !r && (be->opt->hold == WHEN_POSSIBLE ||
			(cycles < without.cycles && once + cycles < without.once + without.cycles));
	if (r > 0)
		snprintf(reason, sizeof(reason), "%s", be->note[be->num_notes - 1]);
	choose(be, &without, better, first);
	be->pmus_shared = shared && !better;
	if (r > 0)
		be_note(be, "%s", reason);
	while (!better && be->num_holds > holds)
		be_hold_undo(be, e, be->hold[be->num_holds - 1].reader);
	return r < 0 ? -1 : 0;
}

/* ---- with what several nests read loaded once, or each time -------------------------- */

#define WORTH_LOADING_ONCE \
	32 /* one part in so many of the time is what memory takes for the loads that it spares */

static bool once_pays(const struct backend *be, const struct once *o, uint64_t cycles)
{
	double spared = be_once_saves(o) / be_bytes_per_cycle(&be->chip);

	return spared > 0 &&
	       (be->opt->hold == WHEN_POSSIBLE || spared * WORTH_LOADING_ONCE >= (double)cycles);
}

/* The entry's nests read copies in scratchpads of what several read, of as much as there is room for. NULL: memory
 * takes too little time for the rest. residence, stride: what the entry begins with; they grow. */
static struct once *find_once(struct backend *be, struct module_entry *e,
			      const struct outcome *without, struct residence **residence,
			      int64_t **stride)
{
	int num = be->m->num_tensors;
	int *way = xcalloc((size_t)num + 1, sizeof(*way));
	struct once *o = NULL;

	for (int r = 1; r > 0;) {
		int old = be->m->num_tensors;

		o = be_once(be, e, without->section, without->num_sections, way);
		make_room(be->m, old, residence, stride);
		r = once_pays(be, o, without->cycles) ? 0 : -1;
		if (!r) {
			be->residence = copy_residences(be->m, *residence);
			be_set_strides(be->m, *stride);
			r = be_resident(be, e) ? -1 : !be_once_fits(be, o, way);
			free_residences(be->m, be->residence, *residence);
			be->residence = NULL;
		}
		if (!r)
			break;
		be_once_undo(e, o);
		be_once_end(o);
		o = NULL;
	}
	free(way);
	return o;
}

/* Makes the sections again with what several nests read loaded once; what is better stays. residence, stride: what
 * both begin with. */
static int make_once(struct backend *be, int entry, int first, struct residence **residence,
		     int64_t **stride)
{
	struct module_entry *e = &be->m->entries[entry];
	int old = be->m->num_tensors, r = 1;
	struct outcome without = put_aside(be, e, first, be->num_notes, NULL);
	struct once *once = find_once(be, e, &without, residence, stride);
	bool better;

	make_room(be->m, old, &without.residence, &without.stride);
	be->residence = copy_residences(be->m, *residence);
	be_set_strides(be->m, *stride);
	be->fixed = true;
	if (once)
		r = be_once_check(be, e) ? -1 : be_make_sections(be, entry);
	be->fixed = false;
	better = once && is_better(be, e, first, "once", r, &without);
	choose(be, &without, better, first);
	if (once && !better)
		be_once_undo(e, once);
	if (once)
		be_once_end(once);
	return r < 0 ? -1 : 0;
}

int be_make_entry(struct backend *be, int entry)
{
	struct module_entry *e = &be->m->entries[entry];
	struct residence *residence = copy_residences(be->m, be->residence);
	int64_t *stride = be_copy_strides(be->m);
	int first = be->num_sections, notes = be->num_notes, groups = be->num_groups, r;
	bool may_hold, once;

	r = be_make_sections(be, entry);
	if (!r && be->level >= 3)
		r = make_turned(be, entry, first, notes, residence, &stride);
	if (!r && be->level >= 3 && be->opt->pipe != WHEN_NEVER) {
		progress_say(be->opt->progress, "%s, pipe", e->name);
		r = make_groups(be, entry, first, notes, &residence, &stride,
				be->opt->hold == WHEN_NEVER ? 0 : be_hold_saves(be, e));
	}
	be->pmus_shared = false;
	if (!r && be->level >= 3)
		r = make_shared(be, entry, first, notes, residence, stride);
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
	if (!r && be->level >= 3 && be->opt->hold != WHEN_NEVER) {
		progress_say(be->opt->progress, "%s, once", e->name);
		r = make_once(be, entry, first, &residence, &stride);
	}
	be->pmus_shared = false;
	free(residence);
	free(stride);
	return r ? -1 : 0;
}
