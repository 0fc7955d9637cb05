// SPDX-License-Identifier: MIT
/*
 * What is resident is not loaded or stored: the programs of a section that were made for
 * memory become READs and WRITEs of the scratchpads that hold the tensor's parts. One whose
 * addresses stay within a part uses that part alone. Else there is one for each part, with
 * predicates that leave out what lies in the others; what several READs give is brought
 * together again by an exclusive OR: where one has the value, the others give the pad, and
 * an even number of pads cancels out.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

/* The part of an address that a predicate's counters make up, if that is a multiple of the
 * predicate's own value: the factor, else 0. */
static int64_t factor(const struct uprog *p, const struct upred *q, uint32_t done, bool lane_done,
		      uint32_t *mask)
{
	int64_t f = 0;
	bool any = false;

	*mask = 0;
	for (int c = 0; c <= p->num_counters; c++) {
		bool lane = c == p->num_counters;
		int64_t s = lane ? q->lane_stride : q->stride[c];
		int64_t a = lane ? p->acc.lane_stride : p->acc.stride[c];

		if (!s)
			continue;
		if (a % s || (any && a / s != f) || (lane ? lane_done : done >> c & 1))
			return 0;
		f = a / s;
		any = true;
		if (!lane)
			*mask |= 1u << c;
	}
	return f;
}

static void add_span(int64_t *lo, int64_t *hi, int64_t stride, int64_t first, int64_t last)
{
	*lo += stride > 0 ? stride * first : stride * last;
	*hi += stride > 0 ? stride * last : stride * first;
}

/* Addresses that an access may touch, from *lo to *hi, while its first `fixed` counters stay where
 * they start; *lo > *hi: none. */
static void span(const struct uprog *p, int fixed, int64_t *lo, int64_t *hi)
{
	const struct uaccess *a = &p->acc;
	bool lane_done = false;
	uint32_t done = (1u << fixed) - 1;

	*lo = *hi = a->base;
	for (int i = 0; i < a->num_preds; i++) { /* what they leave of their counters */
		const struct upred *q = &a->pred[i];
		int64_t from = q->base, to = q->base, f;
		uint32_t mask;

		f = factor(p, q, done, lane_done, &mask);
		if (!f)
			continue;
		for (int c = 0; c < p->num_counters; c++)
			add_span(&from, &to, q->stride[c], p->c[c].start,
				 p->c[c].start + p->c[c].step * (p->c[c].trip - 1));
		add_span(&from, &to, q->lane_stride, 0, a->lanes - 1);
		from = max64(from, q->lo);
		to = min64(to, q->hi - 1);
		if (from > to) {
			*lo = 1;
			*hi = 0;
			return;
		}
		add_span(lo, hi, f, from - q->base, to - q->base);
		done |= mask;
		lane_done |= q->lane_stride != 0;
	}
	for (int c = 0; c < p->num_counters; c++)
		if (!(done >> c & 1))
			add_span(lo, hi, a->stride[c], p->c[c].start,
				 p->c[c].start + p->c[c].step * (p->c[c].trip - 1));
	if (!lane_done)
		add_span(lo, hi, a->lane_stride, 0, a->lanes - 1);
}

/* Is a place along an axis another one in each slice? */
static bool in_slices(const struct lnest *l, const struct laxis *x)
{
	for (int d = 0; d < l->num_dims; d++)
		if (l->shared[d] && x->coef[d])
			return true;
	return false;
}

/* Indices that are taken one by one, since a part lies between two of them: they are the outermost of a
 * tensor, and few. Of slices none: plans that count on a window's rows lying apart there take longer than
 * they seem to. */
#define MOST_PLACES 256

static int64_t most_places(const struct residence *r)
{
	return r->group ? 0 : MOST_PLACES;
}

/* Places that parts are seen at: where some of the slice before is read, too, its parts come first. */
static int count_places(const struct residence *r)
{
	return r->before ? 2 * r->num_parts : r->num_parts;
}

/* From an address to the words behind the first of these places. */
static int64_t from_first(const struct residence *r)
{
	return r->lag + (r->before ? r->words : 0);
}

/* A block of indices of each dimension. */
struct block {
	int64_t first[NEST_MAX_DIMS], last[NEST_MAX_DIMS];
};

/* Marks the parts of its tensor, or a slice, between the first and the last word that an access reaches. */
static void mark_span(const struct lnest *l, const struct residence *kept, const struct lacc *a,
		      const struct block *b, bool *touched)
{
	int64_t lo = a->base + from_first(kept), hi = lo;

	for (int i = 0; i < a->num_axes; i++) {
		const struct laxis *x = &a->axis[i];
		int64_t from = x->off, to = x->off;

		for (int d = 0; d < l->num_dims; d++)
			add_span(&from, &to, x->coef[d], b->first[d], b->last[d]);
		if (x->guard && !(kept->group && in_slices(l, x))) {
			from = max64(from, 0);
			to = min64(to, x->dim - 1);
		}
		add_span(&lo, &hi, x->ms, from, to);
	}
	if (a->gather_in >= 0)
		add_span(&lo, &hi, a->gather_stride, 0, a->gather_extent - 1);
	for (int64_t q = max64(lo, 0) / kept->part; q < count_places(kept) && q * kept->part <= hi;
	     q++)
		touched[q] = true;
}

/* Marks the parts that an access reaches in a block, from dimension d on index by index where these lie
 * parts apart. */
static void mark_parts(const struct lnest *l, const struct residence *kept, const struct lacc *a,
		       struct block b, int d, int64_t places, bool *touched)
{
	int64_t first, last;

	while (d < l->num_dims && (b.first[d] == b.last[d] || llabs(lacc_coef(a, d)) < kept->part ||
				   places * (b.last[d] - b.first[d] + 1) > most_places(kept)))
		d++;
	if (d == l->num_dims) {
		mark_span(l, kept, a, &b, touched);
		return;
	}
	first = b.first[d];
	last = b.last[d];
	for (int64_t i = first; i <= last; i++) {
		b.first[d] = b.last[d] = i;
		mark_parts(l, kept, a, b, d + 1, places * (last - first + 1), touched);
	}
}

/* The parts that replica number k[] along the dimensions of `s` reaches. False: it is beyond their end. */
static bool find_parts(const struct lnest *l, const struct residence *kept, const struct lacc *a,
		       const struct spread *s, const int64_t *k, bool *touched)
{
	struct block b = { { 0 }, { 0 } };

	for (int q = 0; q < l->num_dims; q++)
		b.last[q] = (l->shared[q] && kept->group ? 1 : l->extent[q]) - 1;
	for (int i = 0; i < s->num; i++) {
		int d = s->dim[i];

		b.first[d] = k[i] * s->block[i];
		b.last[d] = min64(b.last[d], b.first[d] + s->block[i] - 1);
		if (b.first[d] > b.last[d])
			return false;
	}
	memset(touched, 0, sizeof(bool) * (size_t)count_places(kept));
	mark_parts(l, kept, a, b, 0, 1, touched);
	return true;
}

/* The next replica along the dimensions of `s`. False: that was the last. */
static bool next_replica(const struct spread *s, int64_t *k)
{
	for (int i = s->num - 1; i >= 0; i--) {
		if (++k[i] < s->blocks[i])
			return true;
		k[i] = 0;
	}
	return false;
}

int resident_joins(const struct rdu_chip *chip, const struct residence *r, const struct lnest *l,
		   const struct lacc *a, const struct spread *s)
{
	int64_t k[MAX_SPREAD] = { 0 };
	bool *touched;
	int pcus = 0;

	if (count_places(r) == 1)
		return 0;
	touched = xmalloc(sizeof(bool) * (size_t)count_places(r));
	do {
		int num = 0;

		if (!find_parts(l, r, a, s, k, touched))
			continue;
		for (int q = 0; q < count_places(r); q++)
			num += touched[q];
		pcus += combining_pcus(chip, num);
	} while (next_replica(s, k));
	free(touched);
	return pcus;
}

/* Does a replica along the first two dimensions begin where one before it does: with a later row of a window at an
 * earlier place, for one? Then they share what reads that. */
static bool reads_again(const struct lnest *l, const struct lacc *a, const struct spread *s,
			const int64_t *k)
{
	int64_t step[2], at;

	if (s->num < 2)
		return false;
	for (int i = 0; i < 2; i++) {
		step[i] = lacc_coef(a, s->dim[i]) * s->block[i];
		if (l->extent[s->dim[i]] % s->block[i])
			return false;
	}
	at = step[0] * k[0] + step[1] * k[1];
	for (int64_t i = 0; i < k[0]; i++)
		if ((at - step[0] * i) % step[1] == 0 && (at - step[0] * i) / step[1] >= 0 &&
		    (at - step[0] * i) / step[1] < s->blocks[1])
			return true;
	return false;
}

int resident_crowd(const struct residence *r, const struct lnest *l, const struct lacc *a,
		   const struct spread *s)
{
	int64_t k[MAX_SPREAD] = { 0 };
	int *count, most = 0;
	bool *touched;

	if (count_places(r) == 1) {
		int64_t all = 1;

		for (int i = 0; i < s->num; i++)
			all *= s->blocks[i];
		return (int)min64(all, INT16_MAX);
	}
	count = xcalloc((size_t)r->num_parts, sizeof(int));
	touched = xmalloc(sizeof(bool) * (size_t)count_places(r));
	do {
		if (!find_parts(l, r, a, s, k, touched) || reads_again(l, a, s, k))
			continue;
		for (int q = 0; q < count_places(r); q++)
			if (touched[q])
				most = (int)max64(most, ++count[q % r->num_parts]);
	} while (next_replica(s, k));
	free(count);
	free(touched);
	return most;
}

static int pinned_unit(struct uimage *im, int pmu)
{
	int u;

	for (u = 0; u < im->num_units; u++)
		if (im->unit[u].kind == RDU_UNIT_PMU && im->unit[u].pin == pmu)
			return u;
	u = image_unit(im, RDU_UNIT_PMU, -1, -1);
	im->unit[u].pin = pmu;
	return u;
}

/* Programs of a kind in a unit. */
static int count_programs(const struct uimage *im, int unit, enum rdu_kind kind)
{
	int n = 0;

	for (int i = 0; i < im->num_progs; i++)
		n += im->prog[i].unit == unit && im->prog[i].kind == kind;
	return n;
}

/* The same vectors in the same order? A counter's start and step don't matter where nothing
 * depends on it. */
static bool same_reads(const struct uprog *a, const struct uprog *b)
{
	int64_t base = a->acc.base - b->acc.base;

	if (a->num_counters != b->num_counters || a->num_outer != b->num_outer || a->num_in ||
	    b->num_in || a->acc.lanes != b->acc.lanes || a->acc.pad != b->acc.pad ||
	    a->acc.copy_start != b->acc.copy_start || a->acc.lane_stride != b->acc.lane_stride ||
	    a->acc.num_preds != b->acc.num_preds)
		return false;
	for (int c = 0; c < a->num_counters; c++) {
		const struct ucounter *x = &a->c[c], *y = &b->c[c];

		if (x->trip != y->trip || a->acc.stride[c] * x->step != b->acc.stride[c] * y->step)
			return false;
		base += a->acc.stride[c] * x->start - b->acc.stride[c] * y->start;
	}
	for (int i = 0; i < a->acc.num_preds; i++) {
		const struct upred *p = &a->acc.pred[i], *q = &b->acc.pred[i];
		int64_t e = p->base - q->base;

		if (p->lane_stride != q->lane_stride || p->hi - p->lo != q->hi - q->lo)
			return false;
		for (int c = 0; c < a->num_counters; c++) {
			if (p->stride[c] * a->c[c].step != q->stride[c] * b->c[c].step)
				return false;
			e += p->stride[c] * a->c[c].start - q->stride[c] * b->c[c].start;
		}
		if (e != p->lo - q->lo)
			return false;
	}
	return !base;
}

/* A program of a part that reads what `pr` would; -1: none. */
static int find_read(const struct uimage *im, int pr, int unit, int buffer)
{
	for (int i = 0; i < im->num_progs; i++) {
		const struct uprog *p = &im->prog[i];

		if (i != pr && p->kind == RDU_KIND_READ && p->unit == unit &&
		    p->acc.target == buffer && same_reads(p, &im->prog[pr]))
			return i;
	}
	return -1;
}

/* The buffer of a part that is read: all of it, in so many copies. */
static int whole_part(struct uimage *im, int unit, int copies, int64_t words, int64_t base)
{
	int b;

	for (int i = 0; i < im->num_buffers; i++)
		if (im->buffer[i].unit == unit && im->buffer[i].base == base)
			return i;
	b = image_buffer(im, unit, (uint32_t)copies, (uint32_t)words);
	im->buffer[b].base = base;
	return b;
}

struct rewrite {
	struct backend *be;
	struct uimage *im;
	const struct residence *r;
	struct tensor *t;
	int fill_op; /* op_id of what fills it, if it is held */
};

static int64_t part_words(const struct residence *r, int part)
{
	return min64(r->part, r->words - part * r->part);
}

/* Program `pr` becomes one of the part at a place; the program that does its work, which may be another
 * that was there. */
static int move_to_part(struct rewrite *w, int pr, int place, bool alone)
{
	struct uimage *im = w->im;
	int part = place % w->r->num_parts;
	bool before = place < count_places(w->r) - w->r->num_parts; /* of the slice before */
	int64_t first = part * w->r->part - (before ? w->r->words : 0);
	bool write = im->prog[pr].kind == RDU_KIND_STORE;
	int unit = pinned_unit(im, w->r->spot[part].pmu), same = -1;
	int most = write ? 1 : (int)im->chip->pmu_reads; /* a buffer has one writer */
	struct uprog *p = &im->prog[pr];

	if (w->r->group) { /* the next iteration of the shared loops has the next copy */
		p->acc.base += w->r->lag;
		p->acc.copy_start = before ? w->r->copies - 1 : 0;
		for (int c = 0; c < p->num_shared; c++)
			p->acc.stride[c] = 0;
		p->acc.flip_mask = (1u << p->num_outer) - (1u << p->num_shared);
		p->looped = true;
	}
	if (!alone) {
		struct upred *q = access_pred(&p->acc);

		q->base = p->acc.base;
		memcpy(q->stride, p->acc.stride, sizeof(q->stride));
		q->lane_stride = p->acc.lane_stride;
		q->lo = first;
		q->hi = q->lo + part_words(w->r, part);
	}
	p->acc.format = RDU_FMT_WORD;
	p->acc.base -= first;
	p->acc.target = whole_part(im, unit, w->r->group ? w->r->copies : 1, part_words(w->r, part),
				   w->r->spot[part].base);
	if (!write)
		same = find_read(im, pr, unit, p->acc.target);
	if (same >= 0) {
		p->kind = KIND_GONE;
		return same;
	}
	p->kind = write ? RDU_KIND_WRITE : RDU_KIND_READ;
	p->unit = unit;
	if (count_programs(im, unit, p->kind) > most)
		image_fail(im, "part %d of %s is %s by more than %d programs", part, w->t->name,
			   write ? "written" : "read", most);
	return pr;
}

/* A program of `from` goes to image `to`, without its ports. */
static int move_prog(struct uimage *to, struct uimage *from, int pr, int unit, int op)
{
	int n = image_prog(to, from->prog[pr].kind, unit, op);

	image_copy_prog(&to->prog[n], &from->prog[pr]);
	to->prog[n].unit = unit;
	to->prog[n].op_id = op;
	to->prog[n].num_in = to->prog[n].num_out = 0;
	from->prog[pr].kind = KIND_GONE;
	return n;
}

static int copy_prog(struct uimage *im, int pr)
{
	int n = image_prog(im, im->prog[pr].kind, im->prog[pr].unit, im->prog[pr].op_id);

	image_copy_prog(&im->prog[n], &im->prog[pr]);
	return n;
}

/* Marks the parts that a program may touch, from counter c on value by value where these lie parts apart.
 * *beyond: it may touch a word that is in none. */
static void mark_touched(const struct rewrite *w, struct uprog *p, int c, int64_t places,
			 bool *touched, bool *beyond)
{
	int fixed = w->r->group ? p->num_shared : 0;
	struct ucounter was;
	int64_t lo, hi;

	while (c < p->num_counters &&
	       (c < fixed || p->c[c].trip < 2 || places * p->c[c].trip > most_places(w->r) ||
		llabs(p->acc.stride[c] * p->c[c].step) < w->r->part))
		c++;
	if (c < p->num_counters) {
		was = p->c[c];
		p->c[c].trip = 1;
		for (int64_t i = 0; i < was.trip; i++) {
			p->c[c].start = was.start + i * was.step;
			mark_touched(w, p, c + 1, places * was.trip, touched, beyond);
		}
		p->c[c] = was;
		return;
	}
	span(p, fixed, &lo, &hi);
	if (lo > hi)
		return;
	lo += from_first(w->r);
	hi += from_first(w->r);
	*beyond |= lo < 0 || hi >= w->r->words + (w->r->before ? w->r->words : 0);
	for (int64_t q = max64(lo, 0) / w->r->part; q < count_places(w->r) && q * w->r->part <= hi;
	     q++)
		touched[q] = true;
}

/* Places of the parts that program pr may touch; there is one at least. alone: it touches nothing else
 * than the one. */
static int parts_of(const struct rewrite *w, int pr, int *part, bool *alone)
{
	bool *touched = xcalloc((size_t)count_places(w->r), sizeof(bool)), beyond = false;
	struct uprog p = w->im->prog[pr];
	int num = 0;

	part[0] = count_places(w->r) - w->r->num_parts;
	if (p.acc.flags & RDU_ACCESS_GATHER) { /* only the card knows which part an index is in */
		if (count_places(w->r) > 1)
			image_fail(w->im, "%s lies in parts, and is read by an index", w->t->name);
	} else {
		mark_touched(w, &p, 0, 1, touched, &beyond);
	}
	for (int q = 0; q < count_places(w->r); q++)
		if (touched[q])
			part[num++] = q;
	free(touched);
	*alone = num <= 1 && !(w->r->group && beyond);
	return num ? num : 1; /* nothing is left of it but the pad */
}

static void rewrite_store(struct rewrite *w, int pr)
{
	struct uimage *im = w->im;
	bool alone;
	int *part = xmalloc(sizeof(int) * (size_t)count_places(w->r));
	int from = im->prog[pr].in[0].stream, num = parts_of(w, pr, part, &alone);
	int *prog = xmalloc(sizeof(int) * (size_t)num);

	for (int k = 0; k < num; k++) {
		prog[k] = k || w->r->memory ? copy_prog(im, pr) : pr;
		if (prog[k] != pr)
			image_join(im, im->stream[from].prog, im->stream[from].port, prog[k], 0);
	}
	for (int k = 0; k < num; k++)
		move_to_part(w, prog[k], part[k], alone);
	free(part);
	free(prog);
}

/* All that took from stream `from` take from what program pr pushes. */
static void take_over(struct uimage *im, int from, int pr)
{
	struct ustream *s = &im->stream[from];

	if (im->prog[pr].out[0].stream < 0) {
		im->prog[pr].out[0].stream = from;
		s->prog = pr;
		s->port = 0;
		return;
	}
	for (int i = 0; i < s->num_dests; i++)
		image_join(im, pr, 0, im->stream[from].dest[i].prog, im->stream[from].dest[i].port);
	im->stream[from].prog = -1;
	im->stream[from].num_dests = 0;
}

static void rewrite_load(struct rewrite *w, int pr)
{
	struct uimage *im = w->im;
	bool alone;
	int *part = xmalloc(sizeof(int) * (size_t)count_places(w->r));
	int to = im->prog[pr].out[0].stream, num = parts_of(w, pr, part, &alone);
	uint32_t pad = num & 1 ? 0 : im->prog[pr].acc.pad; /* as many pads as parts, less one */
	struct xsrc *src = xmalloc(sizeof(*src) * (size_t)num);
	struct uprog shape;

	if (num > 1 && !combining_pcus(im->chip, num))
		image_fail(im, "%s lies in %d parts, which a PCU of %s cannot bring together",
			   w->t->name, num, im->chip->name);
	im->prog[pr].out[0].stream = -1;
	for (int k = 0; k < num; k++)
		src[k] = (struct xsrc){ .prog = k ? copy_prog(im, pr) : pr };
	for (int k = 0; k < num; k++)
		src[k].prog = move_to_part(w, src[k].prog, part[k], alone);
	shape = im->prog[pr];
	src[0] = image_combine(im, RDU_SIMD_XOR, src, num, pad, &shape, -1, -1);
	if (!im->error[0])
		take_over(im, to, src[0].prog);
	free(part);
	free(src);
}

/* A LOAD and a WRITE of a tile that is loaded once in a run go to the section that fills the
 * scratchpad in front of the loop; who reads it finds it there. */
static void hold_tile(struct rewrite *w, const struct hold *h, int ld)
{
	struct uimage *im = w->im, *fill = im->fill;
	const struct nest *maker = be_maker(w->be, h->from);
	int from = im->prog[ld].out[0].stream, wr = im->stream[from].dest[0].prog, pmu, s;
	int buffer = im->prog[wr].acc.target, unit = im->prog[wr].unit;
	struct uprog load = im->prog[ld];
	struct xsrc source = { .prog = -1 };

	if (im->stream[from].num_dests != 1 || im->prog[wr].kind != RDU_KIND_WRITE ||
	    im->prog[wr].num_outer || im->buffer[buffer].copies != 1) {
		image_fail(im, "%s is not read as tiles that are loaded once", w->t->name);
		return;
	}
	if (!fill)
		fill = im->fill = image_new(im->chip, im->tiles, h->fill->name);
	im->held = w->r;
	pmu = image_unit(fill, RDU_UNIT_PMU, -1, -1);
	im->unit[unit].filled = pmu;
	if (maker) {
		im->prog[ld].kind = KIND_GONE;
		if (be_make_stream(w->be, fill, maker, &load, w->fill_op, &source)) {
			image_fail(im, "%s", fill->error);
			return;
		}
	} else {
		source.prog = move_prog(fill, im, ld, image_unit(fill, RDU_UNIT_AGCU, -1, -1),
					w->fill_op);
		fill->prog[source.prog].acc.target = image_segment(fill, h->from, RDU_SEG_READ);
		image_out(fill, source.prog, 0, 0, 1);
	}
	s = move_prog(fill, im, wr, pmu, w->fill_op);
	fill->prog[s].acc.target = image_buffer(fill, pmu, 1, im->buffer[buffer].words);
	image_join(fill, source.prog, source.port, s, image_in(fill, s, 0));
	im->stream[from].prog = -1;
	im->stream[from].num_dests = 0;
	for (int i = 0; i < im->num_progs; i++)
		if (im->prog[i].kind == RDU_KIND_READ && im->prog[i].acc.target == buffer)
			im->prog[i].acc.flip_mask = 0;
}

/* New numbers for what is kept of a table, in `to`; how many there are. */
static int renumber(int *to, int num)
{
	int n = 0;

	for (int i = 0; i < num; i++)
		to[i] = to[i] ? n++ : -1;
	return n;
}

#define KEEP(table, num, to)                                     \
	do {                                                     \
		for (int i_ = 0; i_ < (num); i_++)               \
			if ((to)[i_] >= 0)                       \
				(table)[(to)[i_]] = (table)[i_]; \
	} while (0)

/* Drops programs that are gone, with their tokens, and the streams, segments and units that nothing
 * uses any more. */
static void drop_unused(struct uimage *im)
{
	int *prog = xcalloc((size_t)im->num_progs + 1, sizeof(int)), progs;
	int *stream = xcalloc((size_t)im->num_streams + 1, sizeof(int)), streams;
	int *segment = xcalloc((size_t)im->num_segments + 1, sizeof(int)), segments;
	int *unit = xcalloc((size_t)im->num_units + 1, sizeof(int)), units, tokens;

	for (int i = 0; i < im->num_progs; i++) {
		const struct uprog *p = &im->prog[i];

		if (p->kind == KIND_GONE) {
			free(p->acc.pred);
			free(p->stage);
			continue;
		}
		prog[i] = unit[p->unit] = 1;
		if (p->kind == RDU_KIND_LOAD || p->kind == RDU_KIND_STORE)
			segment[p->acc.target] = 1;
	}
	for (int i = 0; i < im->num_streams; i++) {
		stream[i] = im->stream[i].prog >= 0;
		if (!stream[i])
			free(im->stream[i].dest);
	}
	progs = renumber(prog, im->num_progs);
	streams = renumber(stream, im->num_streams);
	segments = renumber(segment, im->num_segments);
	units = renumber(unit, im->num_units);
	KEEP(im->prog, im->num_progs, prog);
	KEEP(im->stream, im->num_streams, stream);
	KEEP(im->segment, im->num_segments, segment);
	KEEP(im->unit, im->num_units, unit);
	im->num_progs = progs;
	im->num_streams = streams;
	im->num_segments = segments;
	im->num_units = units;
	for (int i = 0; i < progs; i++) {
		struct uprog *p = &im->prog[i];

		p->unit = unit[p->unit];
		if (p->kind == RDU_KIND_LOAD || p->kind == RDU_KIND_STORE)
			p->acc.target = segment[p->acc.target];
		for (int k = 0; k < p->num_in; k++)
			p->in[k].stream = stream[p->in[k].stream];
		for (int k = 0; k < p->num_out; k++)
			p->out[k].stream = stream[p->out[k].stream];
	}
	for (int i = 0; i < streams; i++) {
		struct ustream *s = &im->stream[i];

		s->prog = prog[s->prog];
		for (int k = 0; k < s->num_dests; k++)
			s->dest[k].prog = prog[s->dest[k].prog];
	}
	tokens = 0;
	for (int i = 0; i < im->num_tokens; i++) {
		struct utoken t = im->token[i];

		t.src = prog[t.src];
		t.dst = prog[t.dst];
		if (t.src >= 0 && t.dst >= 0)
			im->token[tokens++] = t;
	}
	im->num_tokens = tokens;
	for (int i = 0; i < im->num_buffers; i++)
		im->buffer[i].unit = unit[im->buffer[i].unit];
	free(prog);
	free(stream);
	free(segment);
	free(unit);
}

int image_resident(struct backend *be, struct uimage *im, const struct nest *n)
{
	int num = im->num_progs;

	for (int i = 0; i < num && !im->error[0]; i++) {
		struct uprog *p = &im->prog[i];
		struct rewrite w = { .be = be, .im = im };

		if (p->kind != RDU_KIND_LOAD && p->kind != RDU_KIND_STORE)
			continue;
		w.t = im->segment[p->acc.target].t;
		w.r = residence_of(be, n, w.t);
		if (!w.r)
			continue;
		w.fill_op = be->num_ops + w.r->first;
		if (w.r->held)
			hold_tile(&w, be_hold_of(be, w.t), i);
		else if (p->kind == RDU_KIND_LOAD)
			rewrite_load(&w, i);
		else
			rewrite_store(&w, i);
		if (im->error[0] && !im->crowded)
			im->crowded = w.t;
	}
	if (!im->error[0]) {
		image_spare_pcus(im, n);
		drop_unused(im);
	}
	return im->error[0] ? -1 : 0;
}
