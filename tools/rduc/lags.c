// SPDX-License-Identifier: MIT
/*
 * By how much the nests of a group lag behind one another. Who reads windows wants the first elements of the
 * slice behind, so it goes on when these are there, and the last ones of the slice before: its scratchpads
 * have one copy more, or whoever makes them makes them again.
 */
#include "pipe.h"
#include "mem.h"

/* How far an input of nest number q, of what the group hands on, reaches beyond its slice, in words. False: it is
 * none, or *ok false: it reaches too far. */
static bool find_reach(struct trial *g, int q, const struct access *a, struct traffic **t,
		       int64_t *before, int64_t *after, bool *ok)
{
	const struct nest *n = g->e->nests[q];
	const struct slicing *s = &g->loops[q - g->first];
	int64_t slice = be_words(a->tensor) / g->iterations;

	*t = &g->t[tensor_storage(a->tensor)->id];
	if (!pipe_is_channel(*t))
		return false;
	*ok = slice_nearly(n, a, slice, s) && slice_reach(n, a, slice, s, before, after);
	return *ok;
}

/* Steps by which nest number q has to be behind, for what it reads to be there. *beyond: it reads beyond its
 * slice. False: too far. */
static bool find_lag(struct trial *g, int q, bool *beyond)
{
	const struct nest *n = g->e->nests[q];
	struct slicing *s = &g->loops[q - g->first];
	int last = s->dim[s->num - 1];
	int64_t before, after;
	struct traffic *t;
	bool ok = true;

	s->lag = s->again = 0;
	for (int i = 0; i < n->num_in && ok; i++)
		if (find_reach(g, q, &n->in[i], &t, &before, &after, &ok)) {
			s->lag = max64(s->lag,
				       ceil_div(t->lag + after, slice_step(&n->in[i], last)));
			*beyond |= before || after;
		}
	for (int i = 0; i < n->num_out && ok; i++) {
		const struct access *a = &n->out[i].access;

		t = &g->t[tensor_storage(a->tensor)->id];
		if (pipe_is_channel(t))
			t->lag = s->lag * slice_step(a, last);
	}
	return ok;
}

int64_t lags_unit(const struct trial *g, const struct tensor *t)
{
	return slice_axis_step(t, be_words(t) / g->iterations);
}

/* Has the scratchpad of a part room for one more copy? */
static bool keeps_before(const struct trial *g, const struct tensor *t)
{
	int copies = pipe_copies(&g->t[t->id]) + 1;

	return copies <= RDU_MAX_COPIES && lags_unit(g, t) * 4 * copies <= g->be->chip.pmu_bytes;
}

/* Nest number q lags as much as its readers allow: then they want less of the slice before. That is kept in
 * one more copy, where there is room, or made again. False: it reads too far then. */
static bool raise_lag(struct trial *g, int q)
{
	const struct nest *n = g->e->nests[q];
	struct slicing *s = &g->loops[q - g->first];
	int last = s->dim[s->num - 1];
	int64_t before, after, lag = INT64_MAX, again = 0;
	struct traffic *t;
	bool ok = true, room = true;

	for (int i = 0; i < n->num_out; i++) {
		const struct access *a = &n->out[i].access;

		t = &g->t[tensor_storage(a->tensor)->id];
		if (pipe_is_channel(t))
			lag = min64(lag, t->most_lag / slice_step(a, last));
	}
	if (lag != INT64_MAX)
		s->lag = lag;
	for (int i = 0; i < n->num_out; i++) {
		const struct access *a = &n->out[i].access;

		t = &g->t[tensor_storage(a->tensor)->id];
		if (!pipe_is_channel(t))
			continue;
		t->lag = s->lag * slice_step(a, last);
		t->before = max64(0, t->before - t->lag);
		again = max64(again, ceil_div(t->before, slice_step(a, last)));
		room &= !t->before || keeps_before(g, tensor_storage(a->tensor));
	}
	s->again = room ? 0 : again;
	for (int i = 0; i < n->num_out && s->again; i++) {
		const struct access *a = &n->out[i].access;

		t = &g->t[tensor_storage(a->tensor)->id];
		if (!pipe_is_channel(t))
			continue;
		t->again = s->again * slice_step(a, last);
		t->before = 0;
	}
	for (int i = 0; i < n->num_in && ok; i++)
		if (find_reach(g, q, &n->in[i], &t, &before, &after, &ok)) {
			int64_t behind = s->lag * slice_step(&n->in[i], last);

			t->most_lag = min64(t->most_lag, behind - after);
			t->before = max64(t->before, before + behind);
		}
	return ok;
}

/* Do the loops of nest number q go as those of the group's first? What one lags by, or makes again, lies in the
 * last of them: where that goes over a row of a tensor, and another's over all rows as one, the slice before is the
 * end of the row before to one, and beyond the border to the other. */
static bool goes_alike(const struct trial *g, int q)
{
	const struct slicing *a = &g->loops[0], *b = &g->loops[q - g->first];

	return g->e->nests[g->first]->dim[a->dim[a->num - 1]].extent / a->inner ==
	       g->e->nests[q]->dim[b->dim[b->num - 1]].extent / b->inner;
}

int lags_find(struct trial *g)
{
	int end = g->first + g->num, reads = -1;

	g->more = 0;
	for (int q = g->first; q < end; q++) {
		bool beyond = false;

		if (!find_lag(g, q, &beyond))
			return q;
		if (beyond && reads < 0)
			reads = q;
	}
	for (int q = g->first; q < end && reads >= 0; q++)
		if (!goes_alike(g, q) || !slice_can_lag(g->e->nests[q], &g->loops[q - g->first]))
			return q < reads ? reads : q;
	for (int q = end - 1; q >= g->first; q--)
		if (!raise_lag(g, q))
			return q;
	for (int q = 0; q < g->num; q++)
		g->more = max64(g->more, ceil_div(g->loops[q].lag, g->loops[q].inner));
	for (int i = 0; i < g->num_touched; i++) {
		const struct traffic *t = &g->t[g->touched[i]];
		int64_t words = be_words(g->be->m->tensors[g->touched[i]]);

		if (t->before + t->again > words / g->iterations)
			return t->last;
	}
	return -1;
}
