// SPDX-License-Identifier: MIT
/*
 * Cut: which nests make one section. Each was lowered by itself; neighbours whose units fit on
 * the tiles together become one section, with token edges where one needs what another makes,
 * if that takes less time, by the card's own clock, than a section each with its own program
 * and argument load. All of a load counts, though a chip with two configuration planes may hide
 * it: a section less is one less that planes must hold, and what hides a load is known when all
 * is cut. Nests that do not depend on each other then run side by side.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

#define SMALL 256 /* one part in so many is not worth making a section for, */
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

/* ---- about what sections take as one ------------------------------------------------ */

/* Of memory's rate, what sections that read and write much reach. */
#define MEMORY_SHARE 0.76

static int last_nest(const struct be_section *s)
{
	return s->first_nest + s->num_nests - 1;
}

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

/* What is known of sections s, s + 1 and so on as one, as each is added. */
struct outlook {
	const struct be_section *s;
	double *end; /* of each: when its nests end that wait for others of them */
	int num;
	double longest; /* cycles: the longest chain of nests that wait for each other */
	double memory; /* cycles */
};

static void add_to(const struct backend *be, struct outlook *o)
{
	const struct be_section *s = &o->s[o->num];
	double alone = (double)s->im->cycles, *end = &o->end[o->num];

	*end = 0;
	for (int k = o->num - 1; k >= 0; k--)
		if (o->end[k] > *end && !may_swap(be, &o->s[k], s))
			*end = o->end[k];
	*end += alone;
	o->longest = fmax(o->longest, *end);
	/* by itself it may do better */
	o->memory += fmin(alone, (double)s->im->dram_bytes /
					 (be_bytes_per_cycle(&be->chip) * MEMORY_SHARE));
	o->num++;
}

/* ---- which fit into one ------------------------------------------------------------- */

static int all_pmus(const struct backend *be)
{
	return (int)rdu_chip_pmus_per_tile(&be->chip) * be->tiles;
}

/* By nest, the scratchpads of what is resident while it runs, a bit each. */
struct taken {
	uint64_t *bits;
	int words;
};

static struct taken find_taken(const struct backend *be, int num_nests)
{
	struct taken t = { .words = (all_pmus(be) + 63) / 64 };

	t.bits = xcalloc((size_t)num_nests * (size_t)t.words + 1, sizeof(*t.bits));
	for (int i = 0; be->residence && i < be->m->num_tensors; i++) {
		const struct residence *r = &be->residence[i];

		for (int64_t k = max64(r->first, 0); r->resident && k <= r->last && k < num_nests;
		     k++)
			for (int p = 0; p < r->num_parts; p++)
				t.bits[k * t.words + r->spot[p].pmu / 64] |= 1ull
									     << r->spot[p].pmu % 64;
	}
	return t;
}

/* A buffer of a scratchpad with something resident. */
struct pinned {
	const struct ubuffer *buffer;
	bool written;
	int next; /* another one of the same scratchpad, -1: there is none */
};

/* What sections use of the tiles together. */
struct use_of_tiles {
	int units[3]; /* by kind, but for scratchpads with something resident */
	uint64_t *taken; /* the latter, a bit each */
	int *reads, *writes; /* programs, by scratchpad */
	int *first; /* the number of its first buffer, -1: none */
	struct pinned *p;
	int num, room;
};

static struct use_of_tiles nothing_used(const struct backend *be)
{
	int pmus = all_pmus(be);
	struct use_of_tiles use = { .reads = xcalloc((size_t)pmus + 1, sizeof(int)),
				    .writes = xcalloc((size_t)pmus + 1, sizeof(int)),
				    .first = xmalloc(sizeof(int) * (size_t)(pmus + 1)),
				    .taken = xcalloc((size_t)pmus / 64 + 1, sizeof(uint64_t)) };

	for (int i = 0; i < pmus; i++)
		use.first[i] = -1;
	return use;
}

static void free_use(struct use_of_tiles *use)
{
	free(use->reads);
	free(use->writes);
	free(use->first);
	free(use->taken);
	free(use->p);
}

/* Adds a buffer. False: gather() would find that it clashes with another section's; these are below `others`. */
static bool use_buffer(struct use_of_tiles *use, int pin, const struct ubuffer *b, bool written,
		       int others)
{
	for (int k = use->first[pin]; k >= 0; k = use->p[k].next) {
		const struct pinned *p = &use->p[k];

		if (k < others && overlap(p->buffer, b) &&
		    (p->buffer->words != b->words || p->buffer->copies != b->copies ||
		     p->buffer->base != b->base || (p->written && written)))
			return false;
	}
	use->p = xroom(use->p, use->num, &use->room, sizeof(*use->p));
	use->p[use->num] = (struct pinned){ b, written, use->first[pin] };
	use->first[pin] = use->num++;
	return true;
}

/* Adds a section. False: something resident does not allow it. */
static bool use_more(const struct rdu_chip *chip, struct use_of_tiles *use, const struct uimage *im)
{
	bool *written = xcalloc((size_t)im->num_buffers + 1, sizeof(*written)), fits = true;
	int others = use->num;

	for (int u = 0; u < im->num_units; u++)
		use->units[im->unit[u].kind] += im->unit[u].pin < 0;
	for (int i = 0; i < im->num_progs; i++) {
		const struct uprog *p = &im->prog[i];
		int pin = im->unit[p->unit].pin;

		if (pin < 0)
			continue;
		if (p->kind == RDU_KIND_WRITE)
			written[p->acc.target] = true;
		use->reads[pin] += p->kind == RDU_KIND_READ;
		use->writes[pin] += p->kind == RDU_KIND_WRITE;
		fits = fits && use->reads[pin] <= (int)chip->pmu_reads &&
		       use->writes[pin] <= (int)chip->pmu_writes;
	}
	for (int i = 0; i < im->num_buffers && fits; i++) {
		int pin = im->unit[im->buffer[i].unit].pin;

		fits = pin < 0 || use_buffer(use, pin, &im->buffer[i], written[i], others);
	}
	free(written);
	return fits;
}

/* Adds what is resident while a section runs: the number of scratchpads that are left. */
static int pmus_left(const struct backend *be, struct use_of_tiles *use, const struct taken *t,
		     const struct be_section *s)
{
	int left = all_pmus(be);

	for (int k = s->first_nest; k <= last_nest(s); k++)
		for (int w = 0; w < t->words; w++)
			use->taken[w] |= t->bits[k * t->words + w];
	for (int w = 0; w < t->words; w++)
		left -= __builtin_popcountll(use->taken[w]);
	return left;
}

/* How many sections from s on fit on the tiles as one, and into scratchpads with what is resident. A group takes all
 * units of a single tile. */
static int fitting(const struct backend *be, const struct taken *taken, const struct be_section *s,
		   int num)
{
	const struct rdu_chip *chip = &be->chip;
	struct use_of_tiles use = nothing_used(be);
	int have[3] = { (int)rdu_chip_pcus_per_tile(chip) * be->tiles, 0,
			(int)(chip->agcus_per_tile * chip->agcu_programs) * be->tiles };
	int n;

	for (n = 0; n < num && s[n].nest->loop == s->nest->loop && s[n].nest->run == s->nest->run &&
		    be_fills_kept(be, s[n].nest) == be_fills_kept(be, s->nest) &&
		    (be->tiles > 1 || s[n].num_nests == 1);
	     n++) {
		bool fits = use_more(chip, &use, s[n].im);

		have[RDU_UNIT_PMU] = pmus_left(be, &use, taken, &s[n]);
		for (int k = 0; k < 3; k++)
			fits = fits && use.units[k] <= have[k];
		if (!fits)
			break;
	}
	free_use(&use);
	return n ? n : 1;
}

/* ---- where one ends and the next begins ------------------------------------------- */

#define ROUNDS 6
#define PROMISE 1024 /* one part in so many of an entry is not worth choosing its ends anew */

/* Some sections as one. */
struct trial {
	int num; /* of them */
	struct uimage *im; /* NULL: there is none that is faster than they one after another */
	uint64_t most; /* cycles, to be faster */
	bool timed;
};

/* Of the sections from one to the last: how many of the first had better be one, and what all take then. */
struct ends {
	int num, most; /* chosen; there may be */
	double cycles;
	double *about; /* cycles of as many as one */
	struct trial *trial;
	int num_trials, room;
};

/* What is known of the first of `num` before any is made. */
static void look_out(const struct backend *be, const struct taken *taken,
		     const struct be_section *s, int num, struct ends *ends)
{
	struct outlook o = { .s = s };
	uint64_t size = 0, alone = 0;
	uint32_t segments = 0;

	ends->most = fitting(be, taken, s, num);
	ends->about = xcalloc((size_t)ends->most + 1, sizeof(*ends->about));
	o.end = xcalloc((size_t)ends->most + 1, sizeof(*o.end));
	for (int n = 1; n <= ends->most; n++) {
		const struct uimage *im = s[n - 1].im;

		add_to(be, &o);
		size += im->size;
		segments += (uint32_t)im->num_segments;
		alone += cycles(be, s[n - 1].im);
		ends->about[n] = fmax(o.longest, o.memory) +
				 (double)rdu_pload_cycles(&be->chip, size, NULL) +
				 (double)rdu_aload_cycles(&be->chip, segments);
		if (n == 1)
			ends->about[n] = (double)alone;
		else if (ends->about[n] >
			 (double)alone * (1 - 1.0 / (has_group(s, n) ? SMALL_OF_GROUPS : SMALL)))
			ends->about[n] = INFINITY;
	}
	free(o.end);
}

static struct trial *trial_of(const struct ends *ends, int num)
{
	for (int i = 0; i < ends->num_trials; i++)
		if (ends->trial[i].num == num)
			return &ends->trial[i];
	return NULL;
}

/* What so many sections take as one, or, if known is not set, may take. */
static double takes(const struct backend *be, const struct ends *ends, int num, bool known)
{
	const struct trial *m = trial_of(ends, num);

	if (m)
		return m->im ? (double)cycles(be, m->im) : INFINITY;
	return known && num > 1 ? INFINITY : ends->about[num];
}

/* Chooses all ends; from the last section to the first, as those behind are known then. known: of what is made only. */
static void choose(const struct backend *be, struct ends *ends, int num, bool known)
{
	for (int i = num - 1; i >= 0; i--) {
		struct ends *e = &ends[i];

		e->cycles = INFINITY;
		for (int n = 1; n <= e->most; n++) {
			double all = takes(be, e, n, known) + ends[i + n].cycles;

			if (all <= e->cycles) {
				e->num = n;
				e->cycles = all;
			}
		}
	}
}

static void not_made(struct backend *be, struct trial *m, struct uimage *im, const char *why)
{
	if (be_prints(be, "cut"))
		fprintf(be_log(be), "cut: not %d nests: %s: %s\n", m->num, im->name, why);
	image_free(im);
	m->im = NULL;
}

/* Makes one section of those that are chosen. Other threads may find out how long it takes. */
static void make(struct backend *be, const struct be_section *s, struct ends *ends)
{
	int num = ends->num, go = num;
	struct uimage *im = gather(be, s, &go, false);
	struct trial *m;
	uint64_t load, all = apart(be, s, num);

	ends->trial = xroom(ends->trial, ends->num_trials, &ends->room, sizeof(*ends->trial));
	m = &ends->trial[ends->num_trials++];
	*m = (struct trial){ .num = num, .im = im };
	be->at = s->first_nest;
	be->until = last_nest(&s[num - 1]);
	if (go < num || image_pack(im) || image_finish(be, im)) {
		not_made(be, m, im, im->error[0] ? im->error : be->error);
		return;
	}
	load = be_load_after(be, NULL, im);
	if (all <= load + 1) {
		not_made(be, m, im, "its load takes longer");
		return;
	}
	close_joined(be, im);
	m->most = all - load - 1;
	if (!be_prints(be, "cut"))
		be_time_ahead(be, im, m->most);
}

/* How long it takes that was made last. */
static void find_time(struct backend *be, struct ends *ends)
{
	struct trial *m = &ends->trial[ends->num_trials - 1];
	int r;

	m->timed = true;
	r = m->im ? be_time_about(be, m->im, m->most) : 0;
	if (r)
		not_made(be, m, m->im, r > 0 ? "not faster than one after another" : be->error);
}

/* Chooses ends. Do they promise to be better than what is made? */
static bool promises(const struct backend *be, struct ends *ends, int num)
{
	double made;

	choose(be, ends, num, true);
	made = ends->cycles;
	choose(be, ends, num, false);
	return ends->cycles < made * (1 - 1.0 / PROMISE);
}

/* Makes what is chosen and was not yet. */
static void make_chosen(struct backend *be, const struct be_section *s, struct ends *ends, int num)
{
	for (int i = 0; i < num; i += ends[i].num)
		if (ends[i].num > 1 && !trial_of(&ends[i], ends[i].num))
			make(be, s + i, &ends[i]);
	for (int i = 0; i < num; i += ends[i].num)
		if (ends[i].num_trials && !ends[i].trial[ends[i].num_trials - 1].timed)
			find_time(be, &ends[i]);
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

void be_cut(struct backend *be, int first)
{
	struct be_section *s = be->section + first;
	int all = be->num_sections - first, num = 0;
	struct ends *ends;
	struct taken taken;

	if (all < 2)
		return;
	ends = xcalloc((size_t)all + 1, sizeof(*ends));
	taken = find_taken(be, be->m->entries[s->entry].num_nests);
	for (int i = 0; i < all; i++)
		look_out(be, &taken, s + i, all - i, &ends[i]);
	free(taken.bits);
	for (int round = 0; round < ROUNDS && (promises(be, ends, all) || !round); round++)
		make_chosen(be, s, ends, all);
	choose(be, ends, all, true);
	for (int i = 0; i < all; num++) {
		struct ends *e = &ends[i];
		struct trial *m = trial_of(e, e->num);
		struct be_section to = s[i];

		if (m && be_prints(be, "cut"))
			fprintf(be_log(be), "cut: %s: %d nests, %llu cycles instead of %llu\n",
				m->im->name, m->num, (unsigned long long)cycles(be, m->im),
				(unsigned long long)apart(be, &s[i], m->num));
		to.num_nests = last_nest(&s[i + e->num - 1]) - to.first_nest + 1;
		for (int k = 0; m && k < m->num; k++)
			image_free(s[i + k].im);
		if (m) {
			to.im = m->im;
			m->im = NULL;
		}
		i += e->num;
		s[num] = to;
	}
	for (int i = 0; i < all; i++) {
		for (int k = 0; k < ends[i].num_trials; k++)
			image_free(ends[i].trial[k].im);
		free(ends[i].trial);
		free(ends[i].about);
	}
	be->num_sections = first + num;
	free(ends);
}
