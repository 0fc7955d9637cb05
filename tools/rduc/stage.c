// SPDX-License-Identifier: MIT
/*
 * Staging: a contraction that reads windows loads what its tiles share again for each of them. In a
 * group, a nest in front of it may copy the tensor, slice by slice: each element is loaded once, but
 * for the slices' halos, and the tiles are read from the copy.
 */
#include <stdlib.h>
#include <string.h>
#include "pipe.h"
#include "mem.h"

#define MOST_LOADS 1.2 /* of what is read in windows, on average, before it is staged */

static double bytes_of(const struct tensor *t)
{
	return (double)be_words(t) * dtype_size(t->dtype);
}

/* The largest input that nest number k reads windows of, in memory; -1: none. */
int stage_find(const struct trial *g, int k)
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

/* Does the group just made, or without one nest number k, load much of what it reads again, and wait
 * for that? */
bool stage_wanted(const struct trial *g, int k, bool made)
{
	const struct backend *be = g->be;
	const struct nest *n = g->e->nests[k];
	double rate = be_bytes_per_cycle(&be->chip), once = 0;
	const struct uimage *im = made ? be->group[be->num_groups - 1].im : NULL;
	double cycles = im ? (double)im->cycles : g->cycles[k];
	double bytes = im ? (double)im->dram_bytes : cycles * rate;

	for (int q = 0; q < g->num_touched && made; q++) {
		int i = g->touched[q];

		if (!pipe_is_channel(&g->t[i]) || pipe_read_after(g, i))
			once += bytes_of(be->m->tensors[i]);
	}
	for (int i = 0; i < n->num_in + n->num_out && !made; i++)
		once += bytes_of(i < n->num_in ? n->in[i].tensor
					       : n->out[i - n->num_in].access.tensor);
	return bytes > once * MOST_LOADS && bytes > cycles * rate / 2;
}

static void renumber(int *nest, int num, int from, int by)
{
	for (int i = 0; i < num; i++)
		nest[i] += nest[i] >= from ? by : 0;
}

/* Nest number k reads a copy of its input. */
static struct staging stage(struct trial *g, int k, int in)
{
	struct nest *n = g->e->nests[k];
	struct staging s = { .reader = n, .in = in, .from = n->in[in].tensor };
	int num = g->be->m->num_tensors;
	struct tensor *to;

	renumber(g->last_reader, num, k, 1);
	renumber(g->first_writer, num, k, 1);
	to = pipe_add_temp(g, s.from, "staged", k, k + 1);
	g->last_reader[tensor_storage(s.from)->id] =
		(int)max64(g->last_reader[tensor_storage(s.from)->id], k);
	s.copy = be_copy_nest(n, s.from, to);
	n->in[in].tensor = to;
	be_insert_nest(g->e, k, s.copy);
	g->cycles = xrealloc(g->cycles, sizeof(*g->cycles) * (size_t)(g->e->num_nests + 1));
	memmove(&g->cycles[k + 1], &g->cycles[k],
		sizeof(*g->cycles) * (size_t)(g->e->num_nests - k - 1));
	g->cycles[k] = 0;
	return s;
}

static void unstage(struct trial *g, int k, const struct staging *s)
{
	int num = g->be->m->num_tensors;

	s->reader->in[s->in].tensor = s->from;
	be_remove_nest(g->e, s->copy);
	renumber(g->last_reader, num, k + 1, -1);
	renumber(g->first_writer, num, k + 1, -1);
	memmove(&g->cycles[k], &g->cycles[k + 1],
		sizeof(*g->cycles) * (size_t)(g->e->num_nests - k));
}

/* Tries the group from number k on with the input staged. made: there is one without. */
bool stage_group(struct trial *g, int k, int in, bool made)
{
	double saved = made ? g->be->group[g->be->num_groups - 1].saved : 0;
	struct staging s;
	bool staged;

	if (made)
		pipe_take_back(g);
	s = stage(g, k, in);
	staged = pipe_from(g, k);
	if (staged && g->be->group[g->be->num_groups - 1].saved > saved) {
		g->be->group[g->be->num_groups - 1].staged = s;
		return true;
	}
	if (staged)
		pipe_take_back(g);
	unstage(g, k, &s);
	return made && pipe_from(g, k);
}
