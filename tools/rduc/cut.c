// SPDX-License-Identifier: MIT
/*
 * Cut: which nests make one section. Each was lowered by itself; neighbours whose units fit on
 * the tiles together become one section, with token edges where one needs what another makes,
 * if that takes less time, by the card's own clock, than a section each with its own program
 * and argument load. All of a load counts, though a chip with two configuration planes may hide
 * it: a section less is one less that planes must hold, and what hides a load is known when all
 * is cut. Nests that do not depend on each other then run side by side.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

#define SMALL 256 /* one part in so many is not worth timing a section for, */
#define SMALL_OF_GROUPS 32 /* nor this of one with a group, which takes long to make */

/* ---- one image after another --------------------------------------------------- */

static int same_unit(const struct uimage *to, const struct uunit *u)
{
	for (int i = 0; u->pin >= 0 && i < to->num_units; i++)
		if (to->unit[i].pin == u->pin)
			return i;
	return -1;
}

/* Units of `from`: their numbers in `to`. A scratchpad that holds something resident is one. */
static int *append_units(struct uimage *to, const struct uimage *from, const struct band *band)
{
	int *unit = xmalloc(sizeof(int) * (size_t)(from->num_units + 1));

	for (int i = 0; i < from->num_units; i++) {
		const struct uunit *u = &from->unit[i];

		unit[i] = same_unit(to, u);
		if (unit[i] < 0) {
			unit[i] = image_unit(to, u->kind, u->hx, band_place(band, u->hy));
			to->unit[unit[i]].pin = u->pin;
		}
	}
	return unit;
}

static bool overlap(const struct ubuffer *a, const struct ubuffer *b)
{
	return a->base < b->base + (int64_t)b->copies * b->words &&
	       b->base < a->base + (int64_t)a->copies * a->words;
}

/* Two nests want one place of a scratchpad. */
static void fail_clash(struct uimage *im, const char *what)
{
	image_fail(im, "%s", what);
	im->clash = true;
}

/* Buffers likewise. One that would lie over another in its scratchpad makes the image fail. */
static int *append_buffers(struct uimage *to, const struct uimage *from, const int *unit)
{
	int *buffer = xmalloc(sizeof(int) * (size_t)(from->num_buffers + 1));

	for (int i = 0; i < from->num_buffers; i++) {
		const struct ubuffer *b = &from->buffer[i];
		int u = unit[b->unit];

		buffer[i] = -1;
		for (int k = 0; to->unit[u].pin >= 0 && k < to->num_buffers; k++) {
			if (to->buffer[k].unit != u)
				continue;
			if (!overlap(&to->buffer[k], b))
				continue;
			if (to->buffer[k].words != b->words || to->buffer[k].copies != b->copies ||
			    to->buffer[k].base != b->base)
				fail_clash(to, "two tensors in one place of a scratchpad");
			buffer[i] = k;
		}
		if (buffer[i] < 0) {
			buffer[i] = image_buffer(to, u, b->copies, b->words);
			to->buffer[buffer[i]].base = b->base;
		}
	}
	return buffer;
}

static void append_streams(struct uimage *to, const struct uimage *from, int first_prog)
{
	for (int i = 0; i < from->num_streams; i++) {
		const struct ustream *s = &from->stream[i];
		struct ustream *t;

		to->stream =
			xroom(to->stream, to->num_streams, &to->room_streams, sizeof(*to->stream));
		t = &to->stream[to->num_streams++];
		*t = (struct ustream){ .prog = s->prog + first_prog,
				       .port = s->port,
				       .num_dests = s->num_dests,
				       .room = s->num_dests };
		t->dest = xmalloc(sizeof(*t->dest) * (size_t)(s->num_dests + 1));
		for (int k = 0; k < s->num_dests; k++)
			t->dest[k] =
				(struct udest){ s->dest[k].prog + first_prog, s->dest[k].port };
	}
}

static bool is_memory(const struct uprog *p)
{
	return p->kind == RDU_KIND_LOAD || p->kind == RDU_KIND_STORE;
}

static void append(struct uimage *to, const struct uimage *from, const struct band *band)
{
	int first_prog = to->num_progs, first_stream = to->num_streams;
	int *unit = append_units(to, from, band), *buffer = append_buffers(to, from, unit);

	for (int i = 0; i < from->num_progs; i++) {
		const struct uprog *f = &from->prog[i];
		int pr = image_prog(to, f->kind, unit[f->unit], f->op_id);
		struct uprog *p = &to->prog[pr];

		image_copy_prog(p, f);
		p->unit = unit[f->unit];
		if (is_memory(f)) {
			const struct usegment *s = &from->segment[f->acc.target];

			p->acc.target = image_segment(to, s->t, s->access);
		} else if (f->kind == RDU_KIND_READ || f->kind == RDU_KIND_WRITE) {
			p->acc.target = buffer[f->acc.target];
		}
		for (int k = 0; k < p->num_in; k++)
			p->in[k].stream += first_stream;
		for (int k = 0; k < p->num_out; k++)
			p->out[k].stream += first_stream;
	}
	append_streams(to, from, first_prog);
	for (int i = 0; i < from->num_tokens; i++) {
		const struct utoken *t = &from->token[i];

		image_token(to, t->src + first_prog, t->src_mask, t->dst + first_prog, t->dst_mask,
			    t->initial);
	}
	to->systolic |= from->systolic;
	free(unit);
	free(buffer);
}

/* ---- what orders them ------------------------------------------------------------- */

static uint32_t all_outer(const struct uprog *p)
{
	return (1u << p->num_outer) - 1;
}

/* The second starts when the first has run to its end. */
static void order(struct uimage *im, int first, int second)
{
	image_token(im, first, all_outer(&im->prog[first]), second, all_outer(&im->prog[second]),
		    0);
}

/* A buffer that one nest writes and another reads. Between nests of a group it turns over in each
 * iteration, and a reader may be some copies behind; else it has one copy and turns over once, when all of it
 * is there, or has been read. */
static void hand_over(struct uimage *im, int write, int read, bool write_first)
{
	struct uprog *w = &im->prog[write], *r = &im->prog[read];
	uint32_t copies = im->buffer[w->acc.target].copies;
	uint32_t behind = (copies - (uint32_t)r->acc.copy_start) % copies;

	if (!w->looped) {
		w->acc.flip_mask = all_outer(w);
		r->acc.flip_mask = all_outer(r);
	}
	if (!write_first) /* what it reads is there */
		behind += copies;
	image_token(im, write, w->acc.flip_mask, read, r->acc.flip_mask, behind);
	image_token(im, read, r->acc.flip_mask, write, w->acc.flip_mask, copies - behind);
}

/* What is resident as a whole in a unit, while the section runs that is made; NULL: nothing. */
static struct tensor *resident_in(const struct backend *be, const struct uunit *u)
{
	for (int i = 0; i < be->m->num_tensors && u->pin >= 0; i++) {
		const struct residence *r = &be->residence[i];

		if (!r->resident || r->group || r->last < be->at || r->first > be->until)
			continue;
		for (int k = 0; k < r->num_parts; k++)
			if (r->spot[k].pmu == u->pin)
				return be->m->tensors[i];
	}
	return NULL;
}

/* Token edges from programs before `first` to those from there on, which touch the same. What nests of
 * a group store is apart. */
static void add_edges(const struct backend *be, struct uimage *im, int first, bool grouped)
{
	for (int i = 0; i < first; i++)
		for (int k = first; k < im->num_progs && !im->error[0]; k++) {
			const struct uprog *a = &im->prog[i], *b = &im->prog[k];
			bool wa = a->kind == RDU_KIND_WRITE, wb = b->kind == RDU_KIND_WRITE;

			if (a->acc.target != b->acc.target || a->acc.target < 0)
				continue;
			if (is_memory(a) && is_memory(b)) {
				if (a->kind == RDU_KIND_STORE && b->kind == RDU_KIND_STORE
					    ? !grouped
					    : a->kind != b->kind)
					order(im, i, k);
			} else if ((wa || a->kind == RDU_KIND_READ) &&
				   (wb || b->kind == RDU_KIND_READ)) {
				if (wa && wb) {
					fail_clash(im, "a scratchpad is written by two nests");
					im->crowded = resident_in(be, &im->unit[a->unit]);
				} else if (wa || wb) {
					hand_over(im, wa ? i : k, wa ? k : i, wa);
				}
			}
		}
}

/* A scratchpad with something resident has few programs, of whichever nests. */
static void check_pinned(const struct backend *be, struct uimage *im)
{
	int *reads = xcalloc((size_t)im->num_units + 1, sizeof(int));
	int *writes = xcalloc((size_t)im->num_units + 1, sizeof(int));

	for (int i = 0; i < im->num_progs; i++) {
		reads[im->prog[i].unit] += im->prog[i].kind == RDU_KIND_READ;
		writes[im->prog[i].unit] += im->prog[i].kind == RDU_KIND_WRITE;
	}
	for (int u = 0; u < im->num_units; u++)
		if (im->unit[u].pin >= 0 && (reads[u] > (int)im->chip->pmu_reads ||
					     writes[u] > (int)im->chip->pmu_writes)) {
			image_fail(im, "a scratchpad is read by %d programs, and written by %d",
				   reads[u], writes[u]);
			im->crowded = resident_in(be, &im->unit[u]);
		}
	free(reads);
	free(writes);
}

/* ---- which ------------------------------------------------------------------------- */

static int count_pcus(const struct uimage *im)
{
	int n = 0;

	for (int i = 0; i < im->num_units; i++)
		n += im->unit[i].kind == RDU_UNIT_PCU;
	return n;
}

static bool has_group(const struct be_section *s, int num)
{
	for (int i = 0; i < num; i++)
		if (s[i].num_nests > 1)
			return true;
	return false;
}

/* The sections after one another in one image, as far as they go together: *num of them. grouped:
 * their nests are a group's, and have their bands; else each gets one as high as its part of the compute
 * units, so that streams of one do not cross the others. A whole group stays around its slices. */
static struct uimage *gather(struct backend *be, const struct be_section *s, int *num, bool grouped)
{
	struct band band = { 0, 0 };
	struct uimage *im;
	bool apart = !grouped && !has_group(s, *num);
	char name[100];
	int pcus = 1;

	for (int i = 0; i < *num; i++)
		pcus += count_pcus(s[i].im);

	snprintf(name, sizeof(name), "%.20s .. %.20s", s->im->name, s[*num - 1].im->name);
	im = image_new(&be->chip, be->tiles, name);
	for (int i = 0; i < *num && !im->error[0]; i++) {
		int first = im->num_progs;

		if (apart)
			band = (struct band){ band.to,
					      band.to + (double)count_pcus(s[i].im) / pcus };
		append(im, s[i].im, &band);
		add_edges(be, im, first, grouped);
		check_pinned(be, im);
		if (im->error[0])
			*num = i;
	}
	return im;
}

/* No other section is made of one of several nests. */
static void close_joined(const struct backend *be, struct uimage *im)
{
	if (!be_prints(be, "lower") && !be_prints(be, "place"))
		image_close(im);
}

static uint64_t cycles(const struct backend *be, struct uimage *im)
{
	return im->cycles + be_load_after(be, NULL, im);
}

/* Cycles of so many sections, with their loads. */
static uint64_t apart(const struct backend *be, const struct be_section *s, int num)
{
	uint64_t sum = 0;

	for (int k = 0; k < num; k++)
		sum += cycles(be, s[k].im);
	return sum;
}

/* Cycles of loads that sections spare as one. */
static uint64_t saved_loads(const struct backend *be, const struct be_section *s, int num,
			    struct uimage *one)
{
	uint64_t sum = 0, load = be_load_after(be, NULL, one);

	for (int k = 0; k < num; k++)
		sum += be_load_after(be, NULL, s[k].im);
	return sum > load ? sum - load : 0;
}

/* Does each nest read what the one before it makes? Then they run one after another, and what one section
 * saves is loads. */
static bool run_in_turn(const struct be_section *s, int num)
{
	for (int k = 1; k < num; k++) {
		const struct nest *before = s[k - 1].nest;
		bool reads = false;

		for (int o = 0; o < before->num_out; o++)
			reads |=
				nest_reads(s[k].nest, tensor_storage(before->out[o].access.tensor));
		if (!reads)
			return false;
	}
	return true;
}

/* The section that up to `num` nests can be together. */
struct joined {
	int num; /* of them; 0: there is none */
	struct uimage *im; /* NULL: there can be none, or is not worth it */
	uint64_t most; /* cycles, to be faster than these one after another */
};

static struct joined not_joined(struct backend *be, int num, struct uimage *im)
{
	if (be_prints(be, "cut"))
		fprintf(be_log(be), "cut: not %d nests: %s\n", num,
			im->error[0] ? im->error : be->error);
	image_free(im);
	return (struct joined){ .num = num };
}

static struct joined not_faster(struct backend *be, const struct be_section *s, int num,
				struct uimage *im)
{
	snprintf(im->error, sizeof(im->error), "not faster than %llu cycles",
		 (unsigned long long)apart(be, s, num));
	return not_joined(be, num, im);
}

static int last_nest(const struct be_section *s)
{
	return s->first_nest + s->num_nests - 1;
}

static struct joined join(struct backend *be, const struct be_section *s, int num)
{
	int asked = num;
	struct uimage *im;
	uint64_t load, all;

	if (num < 2)
		return (struct joined){ .num = 0 };
	im = gather(be, s, &num, false);
	if (num < asked) {
		if (be_prints(be, "cut"))
			fprintf(be_log(be), "cut: %d nests only: %s\n", num, im->error);
		image_free(im);
		if (num < 2)
			return (struct joined){ .num = num };
		im = gather(be, s, &num, false);
	}
	be->at = s->first_nest;
	be->until = last_nest(&s[num - 1]);
	if (image_pack(im) || image_finish(be, im))
		return not_joined(be, num, im);
	load = be_load_after(be, NULL, im);
	all = apart(be, s, num);
	if (all <= load + 1 || (run_in_turn(s, num) && saved_loads(be, s, num, im) < all / SMALL))
		return not_faster(be, s, num, im);
	close_joined(be, im);
	return (struct joined){ num, im, all - load - 1 };
}

/* The next one to try: of three quarters of them. */
static struct joined join_fewer(struct backend *be, const struct be_section *s, int num)
{
	struct joined j = { .num = num };

	do
		j = join(be, s, j.num * 3 / 4);
	while (j.num > 1 && !j.im);
	return j;
}

/* How many sections from s on have units for one together; a group is alone, or, `groups`, as others. */
static int fitting(struct backend *be, const struct be_section *s, int num, bool groups)
{
	const struct rdu_chip *chip = &be->chip;
	int tiles = be->tiles, need[3] = { 0 }, n;
	int have[3] = { (int)rdu_chip_pcus_per_tile(chip) * tiles, 0,
			(int)(chip->agcus_per_tile * chip->agcu_programs) * tiles };

	be->at = be->until = s->first_nest;
	if (groups)
		be->until = last_nest(&s[num - 1]);
	have[RDU_UNIT_PMU] = be_free_pmus(be);

	for (n = 0; n < num && s[n].nest->loop == s->nest->loop && s[n].nest->run == s->nest->run &&
		    be_fills_kept(be, s[n].nest) == be_fills_kept(be, s->nest);
	     n++) {
		if (s[n].num_nests > 1 && !groups)
			return n ? n : 1;
		for (int u = 0; u < s[n].im->num_units; u++)
			need[s[n].im->unit[u].kind] += s[n].im->unit[u].pin < 0;
		for (int k = 0; k < 3; k++)
			if (need[k] > have[k])
				return n ? n : 1;
	}
	return n;
}

/* The first one to try, of up to `num` sections from s on. */
static struct joined join_first(struct backend *be, const struct be_section *s, int num)
{
	struct joined j = { 0 };

	if (num > 0)
		j = join(be, s, fitting(be, s, num, false));
	return num > 0 && !j.im ? join_fewer(be, s, j.num) : j;
}

/* The section of as many of `num` from s on, the first to try being j, as are faster together; of less than 2,
 * NULL: there is none. While another thread finds out whether it is, *after is made: the first to try behind it. */
static struct joined join_most(struct backend *be, const struct be_section *s, int num,
			       struct joined j, struct joined *after)
{
	*after = (struct joined){ 0 };
	while (j.im) {
		bool ahead = !be_prints(be, "cut") && be_time_ahead(be, j.im, j.most);
		int r;

		if (ahead)
			*after = join_first(be, s + j.num, num - j.num);
		if (after->im)
			be_time_ahead(be, after->im, after->most);
		r = be_time_about(be, j.im, j.most);
		if (!r)
			break;
		image_free(after->im);
		*after = (struct joined){ 0 };
		if (r > 0)
			not_faster(be, s, j.num, j.im);
		else
			not_joined(be, j.num, j.im);
		j = join_fewer(be, s, j.num);
	}
	return j;
}

struct uimage *be_join(struct backend *be, const struct be_section *s, int num, int first_nest,
		       bool *hopeless)
{
	int joined = num;
	struct uimage *im;

	be->at = first_nest;
	be->until = first_nest + num - 1;
	im = gather(be, s, &joined, true);
	be->crowded = im->crowded;
	*hopeless = im->clash;
	if (joined == num && !image_pack(im) && !image_finish(be, im)) {
		if (be->tiles == 1) /* there is nothing beside it */
			close_joined(be, im);
		return im;
	}
	if (im->error[0])
		be_error(be, "%s: %s", im->name, im->error);
	image_free(im);
	return NULL;
}

/* ---- where one ends and the next begins ------------------------------------------- */

/* Of memory's rate, what sections that read and write much reach. */
#define MEMORY_SHARE 0.76
/* Ends of a section that are tried, at most. */
#define END_TRIES 2

/* A section of several that were lowered by themselves; of none: it is part of the next one. */
struct run {
	int from, num;
	struct uimage *im; /* of one: the section's own */
};

/* May all nests of two sections be exchanged? */
static bool may_swap(const struct backend *be, const struct be_section *a,
		     const struct be_section *b)
{
	struct nest *const *nest = be->m->entries[a->entry].nests;

	for (int i = a->first_nest; i <= last_nest(a); i++)
		for (int k = b->first_nest; k <= last_nest(b); k++)
			if (!be_may_swap(be, nest[i], nest[k]))
				return false;
	return true;
}

/* About what sections take as one: their longest chain of nests that wait for each other, or memory. */
static double estimate(const struct backend *be, const struct be_section *s, int num)
{
	double *end = xcalloc((size_t)num + 1, sizeof(*end)), longest = 0, bytes = 0;

	for (int i = 0; i < num; i++) {
		for (int k = 0; k < i; k++)
			if (end[k] > end[i] && !may_swap(be, &s[k], &s[i]))
				end[i] = end[k];
		end[i] += (double)s[i].im->cycles;
		longest = end[i] > longest ? end[i] : longest;
		bytes += (double)s[i].im->dram_bytes;
	}
	free(end);
	bytes /= be_bytes_per_cycle(&be->chip) * MEMORY_SHARE;
	return longest > bytes ? longest : bytes;
}

/* The image of sections as one. NULL: they do not go together. */
static struct uimage *one_of(struct backend *be, const struct be_section *s, int num, uint64_t most)
{
	struct joined j;

	if (num == 1)
		return s->im->cycles < most ? s->im : NULL;
	j = join(be, s, num);
	if (j.im && j.num == num && !be_time_about(be, j.im, most))
		return j.im;
	image_free(j.im);
	return NULL;
}

static void drop(struct run *r)
{
	if (r->num > 1)
		image_free(r->im);
}

/* Ends the first of two sections at nest number `end` instead; where it begins: both are one. False: that takes no
 * less time. */
static bool end_at(struct backend *be, const struct be_section *s, struct run *a, struct run *b,
		   int end)
{
	uint64_t now = cycles(be, a->im) + cycles(be, b->im), load = 0, takes;
	struct run x = { .from = a->from, .num = end - a->from };
	struct run y = { .from = end, .num = b->from + b->num - end };

	if (x.num) {
		x.im = one_of(be, s + x.from, x.num, now);
		if (!x.im)
			return false;
		load = cycles(be, x.im) + be_load_after(be, NULL, b->im);
	}
	y.im = load < now ? one_of(be, s + y.from, y.num, now - load) : NULL;
	takes = (x.num ? cycles(be, x.im) : 0) + (y.im ? cycles(be, y.im) : now);
	if (takes >= now) {
		drop(&x);
		drop(&y);
		return false;
	}
	if (be_prints(be, "cut"))
		fprintf(be_log(be), "cut: %s%s%s: %llu cycles instead of %llu\n",
			x.num ? x.im->name : "", x.num ? " and " : "", y.im->name,
			(unsigned long long)takes, (unsigned long long)now);
	drop(a);
	drop(b);
	*a = x;
	*b = y;
	return true;
}

/* Nests that only wait for one at the end of their section may have others beside them in the next one, and the
 * other way round. What a group leaves of memory or units is found so, too. */
static bool move_end(struct backend *be, const struct be_section *s, struct run *a, struct run *b)
{
	int from = a->from, end = b->from, to = b->from + b->num, best[END_TRIES];
	double now = estimate(be, s + from, end - from) + estimate(be, s + end, to - end);
	bool groups = has_group(s + from, to - from);
	double least[END_TRIES];

	if (groups && be->tiles == 1) /* it takes all units */
		return false;
	for (int i = 0; i < END_TRIES; i++) {
		least[i] = now - now / (groups ? SMALL_OF_GROUPS : SMALL);
		best[i] = -1;
	}
	for (int k = groups ? from : from + 1; k < to; k++) { /* else both together were tried */
		double takes = estimate(be, s + from, k - from) + estimate(be, s + k, to - k);
		int at = END_TRIES;

		if (k == end || fitting(be, s + k, to - k, groups) < to - k ||
		    (k > from && fitting(be, s + from, k - from, groups) < k - from))
			continue;
		while (at > 0 && takes < least[at - 1])
			at--;
		for (int i = END_TRIES - 1; i > at; i--) {
			least[i] = least[i - 1];
			best[i] = best[i - 1];
		}
		if (at < END_TRIES) {
			least[at] = takes;
			best[at] = k;
		}
	}
	for (int i = 0; i < END_TRIES && best[i] >= 0; i++)
		if (end_at(be, s, a, b, best[i]))
			return true;
	return false;
}

void be_cut(struct backend *be, int first)
{
	struct be_section *s = be->section;
	struct run *run = xcalloc((size_t)(be->num_sections - first) + 1, sizeof(*run));
	struct joined after = { 0 };
	int num = 0;

	for (int i = first; i < be->num_sections; i += run[num++].num) {
		int left = be->num_sections - i;
		struct joined j = after.im ? after : join_first(be, &s[i], left);

		j = join_most(be, &s[i], left, j, &after);
		run[num] = j.im ? (struct run){ i, j.num, j.im } : (struct run){ i, 1, s[i].im };
		if (j.im && be_prints(be, "cut"))
			fprintf(be_log(be), "cut: %s: %d nests, %llu cycles instead of %llu\n",
				j.im->name, j.num, (unsigned long long)cycles(be, j.im),
				(unsigned long long)apart(be, &s[i], j.num));
	}
	for (int i = 0; i + 1 < num; i++) {
		if (!move_end(be, s, &run[i], &run[i + 1]))
			continue;
		if (run[i].num) {
			i -= i ? 2 : 0; /* the one before may do better now */
		} else {
			memmove(&run[i], &run[i + 1], sizeof(*run) * (size_t)(--num - i));
			i -= i ? 2 : 1;
		}
	}
	for (int i = 0; i < num; i++) {
		struct be_section *to = &s[first + i];
		int last = last_nest(&s[run[i].from + run[i].num - 1]);

		for (int k = 0; k < run[i].num && run[i].num > 1; k++)
			image_free(s[run[i].from + k].im);
		*to = s[run[i].from];
		to->im = run[i].im;
		to->num_nests = last - to->first_nest + 1;
	}
	be->num_sections = first + num;
	free(run);
}
