// SPDX-License-Identifier: MIT
/*
 * Pipe: groups of nests that run the same loops together. In each iteration a nest makes a slice
 * of its result, the next one takes it from scratchpads while the first is at the following
 * iteration (a metapipeline: Plasticine, ISCA'17, 3.1), and what lies between two nests of a group
 * never is anywhere as a whole. A group is one section. It is made where it takes less time than
 * its nests do through memory.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "pipe.h"
#include "mem.h"

#define MOST_PARTS 16 /* of a slice */
#define FEWEST_ITERATIONS 4 /* or filling and emptying take longer than the rest */
#define WANTED_ITERATIONS 32
#define MOST_ITERATIONS 4096
#define TOO_LONG 1.5 /* as what a group is taken to take */
#define MOST_SHORTER 2 /* groups that are tried instead */
/* With several tiles, of what its nests take: without groups there are large tensors in scratchpads, and others find
 * less room than they will beside groups. */
#define LEAST_WORTH 0.75

/* ---- which nests --------------------------------------------------------------- */

/* The loops of a nest that reads nothing of the group's. */
static bool find_own_loops(const struct trial *g, const struct nest *n, struct slicing *s)
{
	for (int i = 0; i < n->num_out; i++) {
		int64_t words = be_words(n->out[i].access.tensor);

		if (words % g->iterations == 0 &&
		    slice_loops(n, &n->out[i].access, words / g->iterations, s) &&
		    slice_only(n, &n->out[i].access, words / g->iterations, s))
			return true;
	}
	return false;
}

void pipe_range_of(const struct nest *n, const struct access *a, int k, int64_t *lo, int64_t *hi)
{
	*lo = *hi = a->offset[k];
	for (int d = 0; d < n->ndim; d++)
		*(a->coef[k][d] < 0 ? lo : hi) += a->coef[k][d] * (n->dim[d].extent - 1);
}

/* Does nobody of the group before number q write what it writes by this access? */
static bool writes_alone(const struct trial *g, int q, const struct access *a)
{
	const struct tensor *t = tensor_storage(a->tensor);
	int64_t lo, hi, from, to;

	for (int k = g->first; k < q; k++)
		for (int i = 0; i < g->e->nests[k]->num_out; i++) {
			const struct access *w = &g->e->nests[k]->out[i].access;
			bool apart = false;

			if (tensor_storage(w->tensor) != t)
				continue;
			for (int d = 0; d < t->ndim && w->tensor == a->tensor; d++) {
				pipe_range_of(g->e->nests[q], a, d, &lo, &hi);
				pipe_range_of(g->e->nests[k], w, d, &from, &to);
				apart |= lo > to || hi < from;
			}
			if (!apart)
				return false;
		}
	return true;
}

/* Can nest number q run the loops with those before it? Its own are found from what it reads of
 * theirs; of the first, from `made`, a result; of one that reads nothing of theirs, from any. */
static bool take(struct trial *g, int q, const struct access *made)
{
	struct nest *n = g->e->nests[q];
	struct slicing *s = &g->loops[q - g->first];
	bool found = false;

	/* Programs of a group wait for their slices alone. */
	if (n->group || n->loop || q - g->first == g->most || be_makes_of_changing(g->be, g->e, n))
		return false;
	if (made)
		found = slice_loops(n, made, be_words(made->tensor) / g->iterations, s);
	for (int i = 0; i < n->num_in; i++) {
		const struct traffic *t = &g->t[tensor_storage(n->in[i].tensor)->id];
		int64_t slice = be_words(n->in[i].tensor) / g->iterations;

		if (t->writer < 0)
			continue;
		if (!t->sliced || (n->in[i].gather_in >= 0 && !be_reads_tiles(g->be, n, &n->in[i])))
			return false;
		if (!found && !slice_loops(n, &n->in[i], slice, s))
			return false;
		found = true;
		if (!slice_nearly(n, &n->in[i], slice, s))
			return false;
	}
	if ((!found && !find_own_loops(g, n, s)) ||
	    (s->inner > 1 && (nest_counts(n, s->dim[s->num - 1]) || n->ndim == NEST_MAX_DIMS)))
		return false;
	for (int i = 0; i < n->num_out; i++) {
		const struct access *a = &n->out[i].access;
		const struct traffic *t = &g->t[tensor_storage(a->tensor)->id];

		if (n->out[i].add || a->gather_in >= 0 || t->read || !writes_alone(g, q, a))
			return false;
	}
	return true;
}

static struct traffic *touch(struct trial *g, int id)
{
	struct traffic *t = &g->t[id];

	if (!t->read && t->writer < 0) {
		g->touched = xroom(g->touched, g->num_touched, &g->room_touched, sizeof(int));
		g->touched[g->num_touched++] = id;
	}
	return t;
}

static void note(struct trial *g, int q)
{
	struct nest *n = g->e->nests[q];

	for (int i = 0; i < n->num_in; i++) {
		struct traffic *t = touch(g, tensor_storage(n->in[i].tensor)->id);

		t->read = true;
		if (t->writer >= 0) {
			t->reads++;
			t->last = q;
		}
	}
	for (int i = 0; i < n->num_out; i++) {
		const struct access *a = &n->out[i].access;
		int id = tensor_storage(a->tensor)->id;
		int64_t words = be_words(a->tensor);

		touch(g, id);
		g->t[id].writer = g->t[id].last = q;
		g->t[id].sliced = !g->outside[id] && g->first_writer[id] == q &&
				  words % g->iterations == 0 &&
				  slice_only(n, a, words / g->iterations, &g->loops[q - g->first]);
	}
}

int pipe_copies(const struct traffic *t)
{
	int n = t->last - t->writer + 1;

	return n < 2 ? 2 : n > RDU_MAX_COPIES ? RDU_MAX_COPIES : n;
}

static void clear(struct trial *g)
{
	for (int i = 0; i < g->num_touched; i++)
		g->t[g->touched[i]] =
			(struct traffic){ .writer = -1, .last = -1, .most_lag = INT64_MAX };
	g->num_touched = 0;
}

bool pipe_is_channel(const struct traffic *t)
{
	return t->writer >= 0 && t->sliced && t->reads;
}

/* Is a storage read after the group? */
bool pipe_read_after(const struct trial *g, int id)
{
	return g->last_reader[id] >= g->first + g->num;
}

/* How many of the group's nests, from the first on, what they hand on makes one. */
static int count_joined(const struct trial *g)
{
	int of[MOST_NESTS], parts = 0, joined = 1;

	for (int q = 0; q < g->num; q++) {
		const struct nest *n = g->e->nests[g->first + q];

		of[q] = q;
		parts++;
		for (int i = 0; i < n->num_in; i++) {
			int w = g->t[tensor_storage(n->in[i].tensor)->id].writer - g->first;
			int was = w >= 0 ? of[w] : q;

			parts -= was != q;
			for (int k = 0; k < q; k++)
				if (of[k] == was)
					of[k] = q;
		}
		if (parts == 1)
			joined = q + 1;
	}
	return joined;
}

void pipe_grow(struct trial *g, int first, int most, const struct access *made, int64_t iterations)
{
	const struct module *m = g->be->m;
	int joined, without;

	g->most = most;
	clear(g);
	g->first = first;
	g->iterations = iterations;
	g->saved = g->room = 0;
	for (g->num = 0; first + g->num < g->e->num_nests; g->num++) {
		if (!take(g, first + g->num, g->num ? NULL : made))
			break;
		note(g, first + g->num);
	}
	joined = count_joined(g);
	if (g->num && joined < g->num) {
		pipe_grow(g, first, joined, made, iterations);
		return;
	}
	without = lags_find(g);
	if (without >= 0) {
		pipe_grow(g, first, without - first, made, iterations);
		return;
	}
	for (int k = 0; k < g->num_touched; k++) {
		int i = g->touched[k];
		double words = (double)be_words(m->tensors[i]);

		if (!pipe_is_channel(&g->t[i]))
			continue;
		/* Slices are cut among replicas along their outermost axis. */
		if (words / (double)iterations >=
			    (double)slice_axis_step(m->tensors[i], (int64_t)words / iterations) *
				    MOST_PARTS ||
		    words / (double)iterations < 4096)
			g->saved += words * g->t[i].reads;
		if (!pipe_read_after(g, i))
			g->saved += words;
		g->room += (words / (double)iterations + (double)g->t[i].again) *
			   (pipe_copies(&g->t[i]) + (g->t[i].before ? 1 : 0));
	}
}

/* By what factor a number of iterations is off the one that is wanted. */
static double distance(int64_t iterations)
{
	double f = (double)iterations / WANTED_ITERATIONS;

	return f > 1 ? f : 1 / f;
}

static bool better(const struct trial *a, int64_t iterations, double saved)
{
	if (a->saved != saved)
		return a->saved > saved;
	return distance(a->iterations) < distance(iterations);
}

int64_t pipe_choose(struct trial *g, int first, int most, const struct access **made, double *saved)
{
	const struct nest *n = g->e->nests[first];
	const struct rdu_chip *chip = &g->be->chip;
	double all = (double)rdu_chip_pmus_per_tile(chip) * g->be->tiles * chip->pmu_bytes / 4;
	int64_t best = 0;

	*made = NULL;
	*saved = 0;
	for (int o = 0; o < n->num_out && !n->group && !n->loop; o++) {
		const struct access *a = &n->out[o].access;
		int64_t words = be_words(a->tensor), tried = 0;

		for (int d = 0; d < n->ndim; d++)
			for (int64_t inner = 1; inner < n->dim[d].extent; inner++) {
				int64_t slice = slice_step(a, d) * inner;

				if (n->dim[d].extent % inner || slice <= 0 || words % slice ||
				    words / slice < FEWEST_ITERATIONS ||
				    words / slice > MOST_ITERATIONS || slice == tried)
					continue;
				tried = slice;
				pipe_grow(g, first, most, a, words / slice);
				if (g->num < 2 || g->room > all / 2 || !better(g, best, *saved))
					continue;
				best = g->iterations;
				*saved = g->saved;
				*made = a;
			}
	}
	return best;
}

/* ---- making one ------------------------------------------------------------------- */

/* How many parts of a slice, `least` to `most`: as many as are alike. all: they have to be. */
static int count_alike(int64_t extent, int64_t least, int most, bool all)
{
	int num = most;

	while (num > least && extent % num)
		num--;
	while (all && extent % num)
		num++;
	return num;
}

/* The free scratchpad that is nearest to number `want`; there is one. */
static int nearest_free(const bool *taken, int all, int want)
{
	int best = -1;

	for (int i = 0; i < all; i++)
		if (!taken[i] && (best < 0 || abs(i - want) < abs(best - want)))
			best = i;
	return best;
}

/* Where a slice is along the tiles' height, 0..1: in the middle of the bands of its users. */
static double middle_of(const struct trial *g, const struct traffic *t, const double *work)
{
	double sum = 0, from = 0, to = 0;

	for (int i = 0; i < g->num; i++) {
		if (g->first + i == t->writer)
			from = sum + work[i] / 2;
		if (g->first + i == t->last)
			to = sum + work[i] / 2;
		sum += work[i];
	}
	return (from + to) / 2 / sum;
}

static void print_slices(const struct backend *be, const struct tensor *x, const struct traffic *t)
{
	const struct residence *r = &be->residence[x->id];

	fprintf(be_log(be), "pipe: %s: %d copies of %d parts of %lld words%s", x->name, r->copies,
		r->num_parts, (long long)r->part, r->memory ? ", and memory" : "");
	if (t->lag)
		fprintf(be_log(be), ", %lld behind", (long long)t->lag);
	if (t->before + t->again)
		fprintf(be_log(be), ", %lld of the slice before %s",
			(long long)(t->before + t->again), t->again ? "made again" : "kept");
	fprintf(be_log(be), "\n");
}

/* Scratchpads for the slices, by what the units are shared by. False: they do not fit. */
static bool place_slices(struct trial *g, const double *work)
{
	struct backend *be = g->be;
	int all = (int)rdu_chip_pmus_per_tile(&be->chip) * be->tiles, num = 0, at = 0;
	bool *taken = xcalloc((size_t)all + 1, sizeof(bool)), fit = true;

	for (int i = 0; i < g->num_touched; i++)
		num += pipe_is_channel(&g->t[g->touched[i]]);

	for (int q = 0; q < g->num_touched && fit; q++) {
		int i = g->touched[q];
		const struct traffic *t = &g->t[i];
		struct residence *r = &be->residence[i];
		const struct tensor *x = be->m->tensors[i];
		int64_t slice, unit, extent, least;

		if (!pipe_is_channel(t))
			continue;
		slice = be_words(x) / g->iterations + t->again;
		unit = lags_unit(g, x);
		extent = slice / unit;
		*r = (struct residence){ .resident = true,
					 .memory = pipe_read_after(g, i),
					 .first = t->writer,
					 .last = t->last,
					 .group = be->num_groups + 1,
					 .copies = pipe_copies(t) + (t->before ? 1 : 0),
					 .words = slice,
					 .lag = t->lag + t->again,
					 .before = t->before,
					 .num_readers = t->reads };
		least = ceil_div(slice * 4 * r->copies, be->chip.pmu_bytes);
		r->num_parts =
			(int)min64(extent, max64(least, min64(MOST_PARTS, all * 3 / 5 / num)));
		while (least < extent && /* of whole units */
		       ceil_div(extent, least) * unit * 4 * r->copies > be->chip.pmu_bytes)
			least++;
		r->num_parts = (int)max64(least, r->num_parts);
		r->num_parts = count_alike(extent, least, r->num_parts, t->before);
		r->part = ceil_div(extent, r->num_parts) * unit;
		r->num_parts = (int)ceil_div(slice, r->part);
		at += r->num_parts;
		fit = r->part * 4 * r->copies <= be->chip.pmu_bytes && at <= all * 3 / 4;
		r->spot = xcalloc((size_t)r->num_parts, sizeof(*r->spot));
		for (int k = 0; k < r->num_parts && fit; k++) { /* every other one around there */
			r->spot[k].pmu = nearest_free(taken, all,
						      (int)(middle_of(g, t, work) * all) + 2 * k -
							      r->num_parts);
			taken[r->spot[k].pmu] = true;
		}
		if (be_prints(be, "pipe"))
			print_slices(be, x, t);
	}
	free(taken);
	return fit;
}

static void drop_slices(struct trial *g)
{
	for (int k = 0; k < g->num_touched; k++) {
		int i = g->touched[k];

		if (pipe_is_channel(&g->t[i])) {
			free(g->be->residence[i].spot);
			g->be->residence[i] = (struct residence){ 0 };
		}
	}
}

/* The group is one section from now on. */
static void keep(struct trial *g, struct uimage *im, const struct nest *was)
{
	struct backend *be = g->be;
	struct group *to;

	be->group = xrealloc(be->group, sizeof(*be->group) * (size_t)(be->num_groups + 1));
	to = &be->group[be->num_groups++];
	*to = (struct group){ .num = g->num,
			      .nest = xmalloc(sizeof(*to->nest) * (size_t)g->num),
			      .was = xmalloc(sizeof(*was) * (size_t)g->num),
			      .sharing = g->sharing,
			      .num_kept = g->num_kept,
			      .im = im,
			      .op = be->num_ops + g->first };
	memcpy(to->kept, g->kept, sizeof(to->kept));
	group_list_pmus(be, to);
	for (int i = 0; i < g->num; i++) {
		to->nest[i] = g->e->nests[g->first + i];
		to->was[i] = was[i];
	}
}

/* One more temporary like t, named after that and what it is, which nest `writer` makes and nest
 * `reader` reads. */
struct tensor *pipe_add_temp(struct trial *g, const struct tensor *t, const char *what, int writer,
			     int reader)
{
	struct backend *be = g->be;
	struct tensor *to = be_temp_like(be, t, what);
	size_t num = (size_t)be->m->num_tensors;

	be->residence = xrealloc(be->residence, sizeof(*be->residence) * (num + 1));
	be->residence[to->id] = (struct residence){ 0 };
	g->t = xrealloc(g->t, sizeof(*g->t) * (num + 1));
	g->t[to->id] = (struct traffic){ .writer = -1, .last = -1, .most_lag = INT64_MAX };
	g->outside = xrealloc(g->outside, sizeof(*g->outside) * (num + 1));
	g->outside[to->id] = false;
	g->last_reader = xrealloc(g->last_reader, sizeof(*g->last_reader) * (num + 1));
	g->last_reader[to->id] = reader;
	g->first_writer = xrealloc(g->first_writer, sizeof(*g->first_writer) * (num + 1));
	g->first_writer[to->id] = writer;
	return to;
}

/* Few programs can read one scratchpad. A contraction, whose replicas all want much of a slice, has
 * it in a set of scratchpads of its own where others read it, too: its maker writes both. True: one
 * has. */
static bool split_sets(struct trial *g)
{
	int num = g->num_touched;
	bool any = false;

	for (int q = 0; q < num; q++) {
		const struct traffic t = g->t[g->touched[q]];
		struct tensor *x = g->be->m->tensors[g->touched[q]];
		int left = t.reads;

		for (int k = t.last; pipe_is_channel(&t) && k > t.writer && left > 1; k--) {
			struct nest *n = g->e->nests[k], *w = g->e->nests[t.writer];
			int o = 0, i = 0;

			while (i < n->num_in && n->in[i].tensor != x)
				i++;
			while (o < w->num_out && w->out[o].access.tensor != x)
				o++;
			if (i == n->num_in || o == w->num_out || w->num_out == NEST_MAX_OUT ||
			    !be_reuses(g->be, n, i))
				continue;
			w->out[w->num_out] = w->out[o];
			w->out[w->num_out].access.tensor = pipe_add_temp(g, x, "set", t.writer, k);
			n->in[i].tensor = w->out[w->num_out++].access.tensor;
			left--;
			any = true;
		}
	}
	return any;
}

bool pipe_reads_before(const struct trial *g)
{
	for (int i = 0; i < g->num_touched; i++)
		if (g->t[g->touched[i]].before || g->t[g->touched[i]].again)
			return true;
	return false;
}

/* Cycles that the group costs other nests: what they would find in scratchpads without it crosses
 * memory. With several tiles it may stay there, and the group may find it. */
static double cost_to_others(const struct trial *g)
{
	double bytes = 0;

	for (int q = 0; q < g->num_touched && g->be->tiles == 1; q++) {
		int id = g->touched[q];

		if (id >= g->num_plain || !g->plain[id].resident || g->plain[id].memory)
			continue;
		for (int k = g->first_writer[id]; k <= g->last_reader[id]; k++) {
			const struct nest *n = g->e->nests[k];

			if (k >= g->first && k < g->first + g->num)
				continue;
			for (int i = 0; i < n->num_in + n->num_out; i++) {
				const struct access *a =
					i < n->num_in ? &n->in[i] : &n->out[i - n->num_in].access;

				if (tensor_storage(a->tensor)->id == id)
					bytes += (double)tensor_size(a->tensor);
			}
		}
	}
	return bytes / be_bytes_per_cycle(&g->be->chip);
}

/* Cycles of a group's section with its loads, behind the nest before it. */
static double behind(const struct trial *g, struct uimage *im)
{
	struct be_loads l = { 0 };

	if (g->first)
		l.under.cycles = (uint64_t)g->cycles[g->first - 1];
	return (double)(be_load(g->be, &l, im).cycles + im->cycles);
}

/* The same as a group that was made before and is like it. NULL: it takes longer. */
static struct uimage *make_known(struct trial *g, const struct known_group *known, int op)
{
	bool hopeless;

	return pipe_make(g, &known->sharing, op, known->cycles, &hopeless);
}

/* Tries a group; known: one like it was made. True: it is one. */
static bool try_group(struct trial *g, const struct access *made, int op,
		      const struct known_group *known)
{
	struct nest was[MOST_NESTS];
	double work[MOST_NESTS], plain = 0, about;
	struct uimage *im = NULL;
	struct backend *be = g->be;
	uint64_t most = UINT64_MAX;
	bool split, fit;

	for (int i = 0; i < g->num; i++) {
		was[i] = *g->e->nests[g->first + i];
		plain += g->cycles[g->first + i];
	}
	if (be->opt->pipe != WHEN_POSSIBLE) /* twice, since the work is shared better then */
		most = (uint64_t)(2 * plain) + 1;
	plain -= cost_to_others(g);
	about = ends_about(g);
	/* Of those with halos ends_find() has judged already. */
	if (about >= plain && be->opt->pipe != WHEN_POSSIBLE && !pipe_reads_before(g)) {
		if (be_prints(be, "pipe"))
			fprintf(be_log(be),
				"pipe: %s: %d nests, %lld iterations: about %.0f cycles, %.0f "
				"otherwise\n",
				was[0].name, g->num, (long long)g->iterations, about, plain);
		return false;
	}
	split = pipe_split_kept(g);
	if (split_sets(g) || split)
		pipe_grow(g, g->first, g->num, made, g->iterations);
	for (int i = 0; i < g->num; i++) {
		struct nest *n = g->e->nests[g->first + i];

		work[i] = be_work(be, n);
		slice_share(n, &g->loops[i], be->num_groups + 1, g->more);
	}
	fit = place_slices(g, work);
	if (fit && known)
		im = make_known(g, known, op);
	if (fit && !im) {
		im = pipe_make_shared(g, work, op, most);
		if (im && behind(g, im) < plain * PIPE_WIDER)
			im = pipe_widen(g, im, op);
	}
	if (be_prints(be, "pipe"))
		fprintf(be_log(be), "pipe: %s: %d nests, %lld iterations: %s\n",
			g->e->nests[g->first]->name, g->num, (long long)g->iterations,
			im ? im->name : be->error);
	if (im && be_prints(be, "pipe"))
		fprintf(be_log(be), "pipe: %llu cycles, %.0f otherwise\n",
			(unsigned long long)behind(g, im), plain);
	if (im && (be->opt->pipe == WHEN_POSSIBLE ||
		   behind(g, im) < plain * (be->tiles > 1 ? LEAST_WORTH : 1))) {
		keep(g, im, was);
		be->group[be->num_groups - 1].saved = plain - behind(g, im);
		return true;
	}
	image_free(im);
	drop_slices(g);
	for (int i = 0; i < g->num; i++)
		*g->e->nests[g->first + i] = was[i];
	pipe_join_kept(g, g->kept, g->num_kept);
	return false;
}

static int *find_last_readers(const struct module *m, const struct module_entry *e)
{
	int *last = xmalloc(sizeof(int) * (size_t)(m->num_tensors + 1));

	for (int i = 0; i < m->num_tensors; i++)
		last[i] = -1;
	for (int k = 0; k < e->num_nests; k++)
		for (int i = 0; i < e->nests[k]->num_in; i++)
			last[tensor_storage(e->nests[k]->in[i].tensor)->id] = k;
	return last;
}

/* What makes one group take as long as another: layers of a network are alike. */
static uint64_t likeness(const struct trial *g)
{
	uint64_t h = rdu_fnv1a(RDU_FNV1A_INIT, &g->iterations, sizeof(g->iterations));

	for (int q = g->first; q < g->first + g->num; q++) {
		const struct nest *n = g->e->nests[q];

		for (int d = 0; d < n->ndim; d++) {
			h = rdu_fnv1a(h, &n->dim[d].extent, sizeof(n->dim[d].extent));
			h = rdu_fnv1a(h, &n->dim[d].reduce, sizeof(n->dim[d].reduce));
		}
		for (int i = 0; i < n->num_expr; i++) {
			h = rdu_fnv1a(h, &n->expr[i].kind, sizeof(n->expr[i].kind));
			h = rdu_fnv1a(h, &n->expr[i].op, sizeof(n->expr[i].op));
			h = rdu_fnv1a(h, n->expr[i].arg, sizeof(n->expr[i].arg));
		}
		for (int i = 0; i < n->num_in + n->num_out; i++) {
			const struct access *a =
				i < n->num_in ? &n->in[i] : &n->out[i - n->num_in].access;
			int id = tensor_storage(a->tensor)->id;
			int from = g->t[id].writer < 0 ? -1 : g->t[id].writer - g->first;
			bool after = pipe_read_after(g, id);

			h = rdu_fnv1a(h, a->coef, sizeof(a->coef));
			h = rdu_fnv1a(h, &a->gather_in, sizeof(a->gather_in));
			h = rdu_fnv1a(h, &a->gather_dim, sizeof(a->gather_dim));
			h = rdu_fnv1a(h, a->tensor->stride, sizeof(a->tensor->stride));
			h = rdu_fnv1a(h, &a->tensor->dtype, sizeof(a->tensor->dtype));
			h = rdu_fnv1a(h, &from, sizeof(from));
			h = rdu_fnv1a(h, &after, sizeof(after));
		}
	}
	return h;
}

/* The group that is like it and was tried; NULL: there is none. */
static struct known_group *find_known(const struct trial *g, uint64_t h)
{
	for (int i = 0; i < g->num_known; i++)
		if (g->known[i].likeness == h)
			return &g->known[i];
	return NULL;
}

static int *find_first_writers(const struct module *m, const struct module_entry *e)
{
	int *first = xmalloc(sizeof(int) * (size_t)(m->num_tensors + 1));

	for (int i = 0; i < m->num_tensors; i++)
		first[i] = -1;
	for (int k = e->num_nests - 1; k >= 0; k--)
		for (int i = 0; i < e->nests[k]->num_out; i++)
			first[tensor_storage(e->nests[k]->out[i].access.tensor)->id] = k;
	return first;
}

/* The last group is none; what it was tried with is still there. */
void pipe_take_back(struct trial *g)
{
	const struct group *last = &g->be->group[g->be->num_groups - 1];

	drop_slices(g);
	pipe_join_kept(g, last->kept, last->num_kept);
	be_pipe_undo(g->be, g->e, g->be->num_groups - 1);
}

/* The group from number k on, of `most` nests at most, as it is best by what it takes about: *about cycles.
 * False: there is none. */
static bool find_group(struct trial *g, int k, int most, const struct access **made, double *about)
{
	double saved;
	int64_t iterations = pipe_choose(g, k, most, made, &saved);

	g->num = 1;
	if (!iterations)
		return false;
	pipe_grow(g, k, most, *made, iterations);
	*about = ends_find(g, made);
	return g->num > 1;
}

/* Tries a group, if none like it was refused. */
static bool try_new(struct trial *g, const struct access *made)
{
	uint64_t h = likeness(g);
	struct known_group *known = find_known(g, h);
	bool is;

	if (known && known->refused)
		return false;
	is = try_group(g, made, g->be->num_ops + g->first, known);
	if (!known) {
		g->known = xroom(g->known, g->num_known, &g->room_known, sizeof(*known));
		known = &g->known[g->num_known++];
	}
	*known = (struct known_group){ .likeness = h, .refused = !is };
	if (is) {
		known->sharing = g->sharing;
		known->cycles = g->be->group[g->be->num_groups - 1].im->cycles;
	}
	return is;
}

/* Tries the group from number k on; if that takes much longer than it was taken to, one without its last
 * nests. */
bool pipe_from(struct trial *g, int k)
{
	const struct access *made;
	double about;
	int slow = 0; /* nests of one that was made, and took long */

	for (int most = MOST_NESTS, tries = 0; find_group(g, k, most, &made, &about); tries++) {
		bool is = try_new(g, made);
		const struct uimage *im = is ? g->be->group[g->be->num_groups - 1].im : NULL;

		if (is && (double)im->cycles <= about * TOO_LONG)
			return true;
		if (is)
			pipe_take_back(g);
		if (is && !slow)
			slow = g->num;
		most = g->num - 1;
		if (tries == MOST_SHORTER || about == HUGE_VAL)
			break;
	}
	return slow && find_group(g, k, slow, &made, &about) && try_new(g, made);
}

/* Tries groups of an entry from its first nest to its last. One that is not worth it may be without
 * its first nests: it is tried again a quarter further on. */
static void find_groups(struct trial *g)
{
	for (int k = 0; k < g->e->num_nests; k++) {
		int num;
		bool made = stage_from(g, k, &num);

		k += made ? num - 1 : (num - 1) / 4;
	}
}

void be_pipe(struct backend *be, struct module_entry *e, int entry, const double *cycles,
	     const struct residence *plain)
{
	size_t room = (size_t)be->m->num_tensors + 1;
	struct trial g = { .be = be,
			   .e = e,
			   .plain = plain,
			   .num_plain = be->m->num_tensors,
			   .t = xcalloc(room, sizeof(*g.t)),
			   .outside = xcalloc(room, sizeof(bool)),
			   .last_reader = find_last_readers(be->m, e),
			   .first_writer = find_first_writers(be->m, e),
			   .cycles = xmalloc(sizeof(*cycles) * (size_t)(e->num_nests + 1)) };

	memcpy(g.cycles, cycles, sizeof(*cycles) * (size_t)e->num_nests);
	for (int i = 0; i < be->m->num_tensors; i++)
		g.t[i] = (struct traffic){ .writer = -1, .last = -1, .most_lag = INT64_MAX };
	be_find_outside(be, entry, g.outside);
	find_groups(&g);
	free(g.outside);
	free(g.last_reader);
	free(g.first_writer);
	free(g.touched);
	free(g.known);
	free(g.cycles);
	free(g.t);
}
