// SPDX-License-Identifier: MIT
/*
 * Staging: a contraction that reads windows loads what its tiles share again for each of them. In a
 * group, a nest in front of it may copy the tensor, slice by slice: each element is loaded once, but
 * for the slices' halos, and the tiles are read from the copy.
 *
 * So is what a nest reads across: where elements lie side by side along another dimension than the one it
 * goes along, of each burst that it loads it wants one element. If it cannot go slice by slice itself, since
 * it sums over all slices, a nest between the two turns the tensor, and it reads that.
 *
 * Of a tensor that several nests make parts of (a concatenation), the copy takes the last part from
 * the nest right before it, which is of the group, too: this part never is in memory.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "pipe.h"
#include "mem.h"

#define MOST_LOADS 1.2 /* of what is read in windows, on average, before it is staged */
#define MOST_ACROSS \
	2 /* times what it is, before what is read across is: its reader shares no section with others then */

/* Elements that a nest writes by an access. */
static double written(const struct nest *n, const struct access *a)
{
	double points = 1;

	for (int d = 0; d < n->ndim; d++)
		points *= slice_step(a, d) ? (double)n->dim[d].extent : 1;
	return points;
}

/* Bytes that the group moves of storage number i at least. */
static double bytes_of(const struct trial *g, int i)
{
	const struct tensor *t = g->be->m->tensors[i];
	const struct nest *n = g->t[i].writer < 0 ? NULL : g->e->nests[g->t[i].writer];
	double words = 0;

	for (int o = 0; n && o < n->num_out; o++)
		if (tensor_storage(n->out[o].access.tensor) == t)
			words = fmax(words, written(n, &n->out[o].access));
	return (n ? words : (double)be_words(t)) * dtype_size(t->dtype);
}

/* The axis along which a nest makes all of the last part of a tensor, and where that begins; -1: it makes
 * something else of it. */
static int last_part(const struct nest *n, const struct access *a, int64_t *from)
{
	double points = 1;
	int axis = -1;

	for (int k = 0; k < a->tensor->ndim; k++) {
		int64_t lo, hi;

		pipe_range_of(n, a, k, &lo, &hi);
		if (hi + 1 != a->tensor->dim[k] || (lo && axis >= 0))
			return -1;
		points *= (double)(hi - lo + 1);
		if (lo) {
			axis = k;
			*from = lo;
		}
	}
	return a->guarded || a->gather_in >= 0 || written(n, a) != points ? -1 : axis;
}

/* The largest input that nest number k reads windows of, in memory; -1: none. */
static int find_windows(const struct trial *g, int k)
{
	const struct nest *n = g->e->nests[k];
	int best = -1;

	if (n->group || n->loop || g->be->num_ops + g->e->num_nests == RDU_MAX_SECTIONS)
		return -1;
	for (int i = 0; i < n->num_in; i++) {
		const struct access *a = &n->in[i];
		bool window = false;

		for (int d = 0; d < a->tensor->ndim; d++) {
			double points = 1; /* more than there are: some are read again */

			for (int q = 0; q < n->ndim; q++)
				points *= a->coef[d][q] ? (double)n->dim[q].extent : 1;
			window |= points > (double)a->tensor->dim[d];
		}
		if (window && a->gather_in < 0 && be_reuses(g->be, n, i) &&
		    (best < 0 || be_words(a->tensor) > be_words(n->in[best].tensor)))
			best = i;
	}
	return best;
}

/* The largest input that lies in memory across what else a nest of no contraction goes along: of each burst that
 * it loads, it wants an element. -1: none. */
static int find_across(const struct trial *g, int k)
{
	const struct nest *n = g->e->nests[k];
	int of[2], best = -1, along = slice_along(n, &n->out[0].access);

	if (n->group || n->loop || g->be->num_ops + g->e->num_nests == RDU_MAX_SECTIONS ||
	    be_contraction(g->be, n, of))
		return -1;
	for (int i = 0; i < n->num_in; i++) {
		int d = slice_along(n, &n->in[i]);

		if (d >= 0 && d != along && n->in[i].gather_in < 0 &&
		    (best < 0 || be_words(n->in[i].tensor) > be_words(n->in[best].tensor)))
			best = i;
	}
	return best;
}

/* The output of nest number k that is the last part of what the next nest, and nobody else, reads windows
 * of, as input *in; -1: none. */
static int find_part(const struct trial *g, int k, int *in)
{
	const struct nest *n = g->e->nests[k], *next;
	int64_t from;

	if (k + 1 >= g->e->num_nests || n->group || n->loop ||
	    g->be->num_ops + g->e->num_nests + 2 > RDU_MAX_SECTIONS)
		return -1;
	next = g->e->nests[k + 1];
	*in = find_windows(g, k + 1);
	for (int o = 0; *in >= 0 && o < n->num_out; o++) {
		const struct access *a = &n->out[o].access;
		int readers = 0;

		if (a->tensor != next->in[*in].tensor || a->tensor != tensor_whole(a->tensor) ||
		    g->outside[a->tensor->id] || n->out[o].add || last_part(n, a, &from) < 0)
			continue;
		for (int q = 0; q < g->e->num_nests; q++)
			for (int i = 0; i < g->e->nests[q]->num_in; i++)
				readers +=
					tensor_storage(g->e->nests[q]->in[i].tensor) == a->tensor;
		if (readers == 1)
			return o;
	}
	return -1;
}

double stage_part_saves(const struct trial *g, int k)
{
	int in, o = find_part(g, k, &in);

	return o < 0 ? 0 : 2 * written(g->e->nests[k], &g->e->nests[k]->out[o].access);
}

double stage_least_bytes(const struct trial *g, int k, bool group)
{
	const struct nest *n = g->e->nests[k];
	double bytes = 0;

	for (int q = 0; q < g->num_touched && group; q++) {
		int i = g->touched[q];

		if (!pipe_is_channel(&g->t[i]) || pipe_read_after(g, i))
			bytes += bytes_of(g, i);
	}
	for (int i = 0; i < n->num_in && !group; i++)
		bytes += (double)be_words(n->in[i].tensor) * dtype_size(n->in[i].tensor->dtype);
	for (int i = 0; i < n->num_out && !group; i++)
		bytes += written(n, &n->out[i].access) * dtype_size(n->out[i].access.tensor->dtype);
	return bytes;
}

/* Does the group just made, or without one nest number k, load much of what it reads again, and wait
 * for that? */
static bool wanted(const struct trial *g, int k, bool made, double most)
{
	const struct backend *be = g->be;
	double rate = be_bytes_per_cycle(&be->chip);
	const struct uimage *im = made ? be->group[be->num_groups - 1].im : NULL;
	double cycles = im ? (double)im->cycles : g->cycles[k];
	double bytes = im ? (double)im->dram_bytes : cycles * rate;

	return bytes > stage_least_bytes(g, k, made) * most && bytes > cycles * rate / 2;
}

static void renumber(int *nest, int num, int from, int by)
{
	for (int i = 0; i < num; i++)
		nest[i] += nest[i] >= from ? by : 0;
}

/* One more temporary like `whole`, that has `extent` positions along an axis. */
static struct tensor *add_part(struct trial *g, const struct tensor *whole, int axis,
			       int64_t extent, const char *what, int writer, int reader)
{
	struct tensor *t = pipe_add_temp(g, whole, what, writer, reader);

	t->dim[axis] = extent;
	for (int d = 0; d < whole->ndim; d++)
		if (whole->stride[d] > whole->stride[axis])
			t->stride[d] = whole->stride[d] / whole->dim[axis] * extent;
	return t;
}

/* Nest number k hands the last part of the tensor to the copy, number k + 2; what comes before is brought from
 * memory by a nest between them, into slices of its own: of these there is room for the rows that neighbours want,
 * and memory need not wait for the copy. */
static void take_part(struct trial *g, int k, int out, struct staging *s)
{
	struct nest *maker = g->e->nests[k], *copy = s->copy;
	struct access *a = &maker->out[out].access;
	struct tensor *whole = s->from, *part, *rest, *view;
	int64_t from = 0;
	int axis = last_part(maker, a, &from), i;

	part = add_part(g, whole, axis, whole->dim[axis] - from, "part", k, k + 2);
	rest = add_part(g, whole, axis, from, "rest", k + 1, k + 2);
	view = pipe_add_temp(g, whole, "view", -1, -1);
	view->view_of = whole;
	view->dim[axis] = from;
	s->maker = maker;
	s->out = out;
	s->rest = be_copy_nest(copy, view, rest);
	a->tensor = part;
	a->offset[axis] -= (int32_t)from;
	copy->in[0].tensor = rest;
	i = nest_input(copy, part);
	memcpy(copy->in[i].coef, copy->in[0].coef, sizeof(copy->in[i].coef));
	copy->in[i].offset[axis] = -(int32_t)from;
	copy->in[0].guarded = copy->in[i].guarded = true; /* who is outside gives 0 */
	copy->out[0].expr = nest_op(copy, RDU_SIMD_OR, nest_in(copy, 0), nest_in(copy, i), -1);
}

/* Nests from number `at` on, and what is known of them, make room for so many more. */
static void make_room(struct trial *g, int at, int num)
{
	int tensors = g->be->m->num_tensors;

	renumber(g->last_reader, tensors, at, num);
	renumber(g->first_writer, tensors, at, num);
	g->cycles = xrealloc(g->cycles, sizeof(*g->cycles) * (size_t)(g->e->num_nests + num));
	memmove(&g->cycles[at + num], &g->cycles[at],
		sizeof(*g->cycles) * (size_t)(g->e->num_nests - at));
	memset(&g->cycles[at], 0, sizeof(*g->cycles) * (size_t)num);
}

/* The `num` nests from number `at` on, which nobody wants any more, are not there any more. */
static void close_room(struct trial *g, int at, int num)
{
	int tensors = g->be->m->num_tensors;

	renumber(g->last_reader, tensors, at + 1, -num);
	renumber(g->first_writer, tensors, at + 1, -num);
	memmove(&g->cycles[at], &g->cycles[at + num],
		sizeof(*g->cycles) * (size_t)(g->e->num_nests - at));
}

/* Nest number `at` reads a copy of its input; out: of which the nest before makes the last part, or -1. */
static struct staging stage(struct trial *g, int at, int in, int out)
{
	struct nest *n = g->e->nests[at];
	struct staging s = { .reader = n, .in = in, .from = n->in[in].tensor };
	int id = tensor_storage(s.from)->id, copy = out < 0 ? at : at + 1;
	struct tensor *to;

	make_room(g, at, copy + 1 - at);
	to = pipe_add_temp(g, s.from, "staged", copy, copy + 1);
	g->last_reader[id] = (int)max64(g->last_reader[id], at);
	s.copy = be_copy_nest(n, s.from, to);
	n->in[in].tensor = to;
	if (out >= 0)
		take_part(g, at - 1, out, &s);
	be_insert_nest(g->e, at, s.copy);
	if (s.rest)
		be_insert_nest(g->e, at, s.rest);
	return s;
}

void stage_undo(struct module_entry *e, const struct staging *s)
{
	if (s->maker) {
		struct access *a = &s->maker->out[s->out].access;

		for (int d = 0; d < s->from->ndim; d++)
			a->offset[d] += (int32_t)(s->from->dim[d] - a->tensor->dim[d]);
		a->tensor = s->from;
	}
	s->reader->in[s->in].tensor = s->from;
	be_remove_nest(e, s->copy);
	if (s->rest)
		be_remove_nest(e, s->rest);
	if (s->turned) {
		s->turned->in[s->turned_in] = s->was;
		be_remove_nest(e, s->reader);
	}
}

static void unstage(struct trial *g, int at, const struct staging *s)
{
	int num = s->rest ? 2 : 1;

	stage_undo(g->e, s);
	close_room(g, at, num);
}

/* Tries the group from number k on with input `in` of nest number `at` staged; out: of which the nest before
 * makes the last part, or -1. made: there is a group without. True: there is one, the better of the two. */
static bool try_staged(struct trial *g, int k, int at, int in, int out, bool made)
{
	double saved = made ? g->be->group[g->be->num_groups - 1].saved : -HUGE_VAL;
	struct staging s;
	bool staged;

	if (made)
		pipe_take_back(g);
	s = stage(g, at, in, out);
	staged = pipe_from(g, k);
	if (staged && g->be->group[g->be->num_groups - 1].saved > saved) {
		g->be->group[g->be->num_groups - 1].staged = s;
		return true;
	}
	if (staged)
		pipe_take_back(g);
	unstage(g, at, &s);
	return made && pipe_from(g, k);
}

/* Nest number k, which reads input `in` across, reads what one more nest in front of it makes: the same, turned as
 * it reads it. */
static struct nest *turn(struct trial *g, int k, int in)
{
	struct nest *n = g->e->nests[k], *t;
	struct access *a = &n->in[in], was = *a;
	int along = slice_along(n, &n->out[0].access), last = 0, id = tensor_storage(a->tensor)->id;
	double rate = be_bytes_per_cycle(&g->be->chip);
	double rest = fmin(g->cycles[k], stage_least_bytes(g, k, false) * MOST_LOADS / rate);
	struct tensor *to;
	int64_t step = 1;

	while (!was.coef[last][along])
		last++;
	make_room(g, k, 1);
	g->cycles[k] = g->cycles[k + 1] - rest;
	g->cycles[k + 1] = rest;
	to = pipe_add_temp(g, was.tensor, "turned", k, k + 1);
	g->last_reader[id] = (int)max64(g->last_reader[id], k);
	t = be_copy_nest(n, was.tensor, to);
	for (int d = last; d + 1 < to->ndim; d++) {
		to->dim[d] = was.tensor->dim[d + 1];
		memcpy(a->coef[d], was.coef[d + 1], sizeof(a->coef[d]));
		a->offset[d] = was.offset[d + 1];
		t->out[0].access.coef[d][d] = 0;
		t->out[0].access.coef[d][d + 1] = 1;
	}
	to->dim[to->ndim - 1] = was.tensor->dim[last];
	memcpy(a->coef[to->ndim - 1], was.coef[last], sizeof(a->coef[last]));
	a->offset[to->ndim - 1] = was.offset[last];
	t->out[0].access.coef[to->ndim - 1][to->ndim - 1] = 0;
	t->out[0].access.coef[to->ndim - 1][last] = 1;
	for (int d = to->ndim - 1; d >= 0; d--) {
		to->stride[d] = step;
		step *= to->dim[d];
	}
	a->tensor = to;
	be_insert_nest(g->e, k, t);
	return t;
}

/* Can what nest number k reads by an access be turned: one dimension of the tensor, and no other, goes along with
 * what it makes? */
static bool turns(const struct trial *g, int k, int in)
{
	const struct nest *n = g->e->nests[k];
	const struct access *a = &n->in[in];
	int along = slice_along(n, &n->out[0].access), num = 0;

	for (int d = 0; d < a->tensor->ndim && along >= 0; d++)
		num += a->coef[d][along] != 0;
	return num == 1 && n->reduce != REDUCE_NONE &&
	       g->be->num_ops + g->e->num_nests + 2 <= RDU_MAX_SECTIONS;
}

/* Tries the group that turns what nest number k reads. */
static bool try_turned(struct trial *g, int k, int in)
{
	struct nest *n = g->e->nests[k], *t;
	struct access was = n->in[in];
	struct staging *s;

	if (!turns(g, k, in))
		return false;
	t = turn(g, k, in);
	if (try_staged(g, k, k, 0, -1, false)) {
		s = &g->be->group[g->be->num_groups - 1].staged;
		s->turned = n;
		s->turned_in = in;
		s->was = was;
		return true;
	}
	n->in[in] = was;
	be_remove_nest(g->e, t);
	g->cycles[k] += g->cycles[k + 1];
	g->cycles[k + 1] = g->cycles[k];
	close_room(g, k, 1);
	return false;
}

bool stage_from(struct trial *g, int k, int *num)
{
	int in = find_windows(g, k), across = in < 0 ? find_across(g, k) : -1, out;
	bool made = pipe_from(g, k);

	*num = g->num;
	if (in >= 0 && wanted(g, k, made, MOST_LOADS))
		made = try_staged(g, k, k, in, -1, made);
	if (across >= 0 && wanted(g, k, made, MOST_ACROSS))
		made = try_staged(g, k, k, across, -1, made);
	if (!made && across >= 0 && wanted(g, k, false, MOST_ACROSS))
		made = try_turned(g, k, across);
	if (!made) {
		out = find_part(g, k, &in);
		made = out >= 0 && try_staged(g, k, k + 1, in, out, false);
	}
	if (made)
		*num = g->num;
	return made;
}
