// SPDX-License-Identifier: MIT
/*
 * Groups that were made (pipe.c): the sections that they become, again when something that they make
 * stays in scratchpads as a whole, and their end.
 */
#include <stdlib.h>
#include "mem.h"
#include "pipe.h"

#define SLOWER 1.05 /* is as good, for what others gain where they find something in scratchpads */

/* Does everybody behind the group who reads storage t read it under its own shape? */
static bool is_read_as_it_is(const struct trial *g, const struct tensor *t)
{
	for (int k = g->first + g->num; k < g->e->num_nests; k++)
		for (int i = 0; i < g->e->nests[k]->num_in; i++) {
			const struct tensor *x = g->e->nests[k]->in[i].tensor;

			if (tensor_storage(g->e->nests[k]->in[i].tensor) == t && x != t)
				return false;
		}
	return true;
}

/* The nests from number `first` on read `to` instead of `from`. */
static void read_instead(struct module_entry *e, int first, const struct tensor *from,
			 struct tensor *to)
{
	for (int k = first; k < e->num_nests; k++)
		for (int i = 0; i < e->nests[k]->num_in; i++)
			if (e->nests[k]->in[i].tensor == from)
				e->nests[k]->in[i].tensor = to;
}

bool pipe_split_kept(struct trial *g)
{
	int num = g->num_touched;
	int64_t room = be_room_words(g->be);

	g->num_kept = 0;
	for (int q = 0; q < num && g->num_kept < MOST_KEPT; q++) {
		int id = g->touched[q], o = 0;
		struct tensor *t = g->be->m->tensors[id], *to;
		struct nest *w;

		if (!pipe_is_channel(&g->t[id]) || !pipe_read_after(g, id) || g->outside[id] ||
		    be_words(t) > room || !is_read_as_it_is(g, t))
			continue;
		w = g->e->nests[g->t[id].writer];
		while (o < w->num_out && w->out[o].access.tensor != t)
			o++;
		if (o == w->num_out || w->num_out == NEST_MAX_OUT)
			continue;
		to = pipe_add_temp(g, t, "kept", g->t[id].writer, g->last_reader[id]);
		w->out[w->num_out] = w->out[o];
		w->out[w->num_out++].access.tensor = to;
		read_instead(g->e, g->first + g->num, t, to);
		g->last_reader[id] = g->t[id].last;
		g->kept[g->num_kept++] = (struct kept){ t, to };
	}
	return g->num_kept > 0;
}

void pipe_join_kept(struct trial *g, const struct kept *kept, int num)
{
	for (int i = 0; i < num; i++) {
		read_instead(g->e, 0, kept[i].to, kept[i].from);
		g->last_reader[kept[i].from->id] = g->last_reader[kept[i].to->id];
	}
}

void group_list_pmus(const struct backend *be, struct group *g)
{
	const struct uimage *im = g->im;

	g->pmu = xmalloc(sizeof(*g->pmu) * (size_t)(im->num_units + 1));
	for (int u = 0; u < im->num_units; u++)
		if (im->unit[u].kind == RDU_UNIT_PMU)
			g->pmu[g->num_pmus++] =
				im->unit[u].tile * (int)rdu_chip_pmus_per_tile(&be->chip) +
				im->unit[u].phys;
}

const int *be_group_pmus(const struct backend *be, int group, int *num)
{
	*num = be->group[group - 1].num_pmus;
	return be->group[group - 1].pmu;
}

struct tensor *be_group_leaves(const struct backend *be, const struct nest *n)
{
	for (int i = 0; i < n->num_out; i++) {
		struct tensor *t = tensor_storage(n->out[i].access.tensor);

		if (be->residence[t->id].resident && be->residence[t->id].by_group)
			return t;
	}
	return NULL;
}

/* Cycles that memory would take for what others read of what a nest of a group leaves in scratchpads, or its part
 * of that. */
static double readers_gain(const struct backend *be, const struct group *g, const struct nest *n)
{
	double bytes = 0;

	for (int i = 0; i < n->num_out; i++) {
		const struct tensor *t = tensor_storage(n->out[i].access.tensor);
		const struct residence *r = &be->residence[t->id];
		int writers = 0;

		for (int k = 0; k < g->num; k++)
			writers += nest_writes(g->nest[k], t);
		if (r->resident && r->by_group)
			bytes += (double)tensor_size(t) * r->num_readers / writers;
	}
	return bytes / be_bytes_per_cycle(&be->chip);
}

/* Of the nests of a group that leave something in scratchpads the one that the others wait for; im NULL: the
 * one whose readers gain least. NULL: none does. */
static struct nest *worst_maker(const struct backend *be, const struct group *g,
				const struct uimage *im)
{
	struct nest *at = NULL;
	double most = 0;

	for (int i = 0; i < g->num; i++) {
		double x = im ? (double)im->share[i].busy : -readers_gain(be, g, g->nest[i]);

		if (!be_group_leaves(be, g->nest[i]) || (at && x <= most))
			continue;
		most = x;
		at = g->nest[i];
	}
	return at;
}

/* Does a nest find all of t in scratchpads, which others made? */
static bool finds(const struct backend *be, const struct nest *n, struct tensor *t)
{
	const struct residence *r = residence_of(be, n, t);

	return r && !r->group && nest_reads(n, tensor_storage(t));
}

/* Cycles that memory takes to store what a group finds in scratchpads, as far as nobody else reads it there. */
static double finding_gain(const struct backend *be, const struct group *g)
{
	double bytes = 0;

	for (int i = 0; i < be->m->num_tensors; i++) {
		bool found = false;

		for (int k = 0; k < g->num && !be->residence[i].memory; k++)
			found |= finds(be, g->nest[k], be->m->tensors[i]);
		if (found && tensor_storage(be->m->tensors[i]) == be->m->tensors[i])
			bytes += (double)tensor_size(be->m->tensors[i]);
	}
	return bytes / be_bytes_per_cycle(&be->chip);
}

/* What nest number `failed` of a group, or, -1, any, finds in scratchpads and had best read in memory, and *cycles that
 * memory takes for it: what has run out of programs or links, else what takes least. t NULL: it finds nothing. */
static struct group_use cheapest_found(const struct backend *be, const struct group *g, int failed,
				       double *cycles)
{
	struct group_use best = { NULL, NULL };

	for (int k = 0; k < g->num; k++)
		for (int i = 0; i < g->nest[k]->num_in && (failed < 0 || k == failed); i++) {
			struct tensor *t = tensor_storage(g->nest[k]->in[i].tensor);
			double takes = (double)tensor_size(t) / be_bytes_per_cycle(&be->chip) *
				       (be->residence[t->id].memory ? 1 : 2);
			bool is = t == be->crowded, was = best.t && best.t == be->crowded;

			if (!finds(be, g->nest[k], t) ||
			    (best.t && (is == was ? takes >= *cycles : was)))
				continue;
			*cycles = takes;
			best = (struct group_use){ g->nest[k], t };
		}
	return best;
}

/* What a group, which cannot be made with all that it finds and leaves in scratchpads, or is slower so (im), had best
 * have in memory. */
static struct group_use in_memory(const struct backend *be, const struct group *g,
				  const struct uimage *im, int failed)
{
	double cycles = 0;
	struct group_use found = cheapest_found(be, g, failed, &cycles), left = { NULL, NULL };

	if (!found.t && failed >= 0)
		found = cheapest_found(be, g, -1, &cycles);
	left.nest = worst_maker(be, g, im);
	if (!left.nest || (found.t && found.t == be->crowded))
		return found;
	for (int k = 0; k < g->num && be->tiles > 1 && be->crowded && !im; k++)
		if (nest_writes(g->nest[k], be->crowded) && be_group_leaves(be, g->nest[k]))
			return (struct group_use){ g->nest[k], NULL };
	return found.t && cycles < readers_gain(be, g, left.nest) ? found : left;
}

/* The group's section, with nothing found or left in scratchpads as a whole. */
static struct uimage *make_plain(struct backend *be, struct group *g, struct trial *t)
{
	struct tensor **list =
		xmalloc(sizeof(*list) * (size_t)g->num * (NEST_MAX_IN + NEST_MAX_OUT));
	struct uimage *im;
	bool hopeless;
	int num = 0;

	for (int k = 0; k < g->num; k++)
		for (int i = 0; i < g->nest[k]->num_in + g->nest[k]->num_out; i++) {
			const struct nest *n = g->nest[k];
			struct tensor *x =
				tensor_storage(i < n->num_in ? n->in[i].tensor
							     : n->out[i - n->num_in].access.tensor);

			if (!be->residence[x->id].group)
				list[num++] = x;
		}
	g->op = be->num_ops + t->first;
	be->without = list;
	be->num_without = num;
	im = pipe_make(t, &g->sharing, g->op, UINT64_MAX, &hopeless);
	be->num_without = 0;
	free(list);
	return im;
}

struct uimage *be_group_image(struct backend *be, struct module_entry *e, int k, int *num_nests,
			      struct group_use *without)
{
	struct group *g = &be->group[e->nests[k]->group - 1];
	struct trial t = { .be = be, .e = e, .first = k, .num = g->num, .sharing = g->sharing };
	double most, gain = finding_gain(be, g);
	struct uimage *im;
	bool hopeless;

	*num_nests = g->num;
	*without = (struct group_use){ NULL, NULL };
	if (!g->im) /* who had it has dropped it: then it is made again */
		g->im = make_plain(be, g, &t);
	if (!g->im)
		return NULL;
	im = g->im;
	most = (double)im->cycles;
	if (!in_memory(be, g, NULL, -1).nest) {
		if (g->op != be->num_ops + k) { /* its nests had other numbers */
			image_free(im);
			im = make_plain(be, g, &t);
		}
		g->im = NULL;
		return im;
	}
	if (gain > 0 || worst_maker(be, g, NULL))
		most *= SLOWER;
	im = pipe_make(&t, &g->sharing, be->num_ops + k, (uint64_t)most, &hopeless);
	for (int i = 0; i < g->num; i++)
		most += readers_gain(be, g, g->nest[i]);
	most += gain;
	if (!im)
		im = pipe_make_again(&t, be->num_ops + k, (uint64_t)most);
	if (im && (double)im->cycles > most) {
		be_error(be, "%s: %llu cycles instead of %llu", im->name,
			 (unsigned long long)im->cycles, (unsigned long long)g->im->cycles);
		*without = in_memory(be, g, im, -1);
		image_free(im);
		im = NULL;
	} else if (!im) {
		*without = in_memory(be, g, NULL, t.failed);
	}
	if (be_prints(be, "pipe"))
		fprintf(be_log(be), "pipe: %s, with what stays: %s, %llu cycles, %llu before\n",
			g->im->name, im ? "made" : be->error,
			(unsigned long long)(im ? im->cycles : 0),
			(unsigned long long)g->im->cycles);
	return im;
}

double be_pipe_saved(const struct backend *be, int first)
{
	double sum = 0;

	for (int i = first; i < be->num_groups; i++)
		sum += be->group[i].saved;
	return sum;
}

void be_pipe_undo(struct backend *be, struct module_entry *e, int first)
{
	while (be->num_groups > first) {
		struct group *g = &be->group[--be->num_groups];

		for (int i = 0; i < g->num; i++)
			*g->nest[i] = g->was[i];
		for (int i = 0; i < g->num_kept; i++)
			read_instead(e, 0, g->kept[i].to, g->kept[i].from);
		if (g->staged.copy)
			stage_undo(e, &g->staged);
		image_free(g->im);
		free(g->nest);
		free(g->was);
		free(g->pmu);
	}
}

void be_pipe_close(struct backend *be)
{
	for (int i = 0; i < be->num_groups; i++)
		if (be->group[i].im)
			image_close(be->group[i].im);
}

void be_pipe_end(struct backend *be)
{
	for (int i = 0; i < be->num_groups; i++) {
		image_free(be->group[i].im);
		free(be->group[i].nest);
		free(be->group[i].was);
		free(be->group[i].pmu);
	}
	free(be->group);
}
