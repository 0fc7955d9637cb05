// SPDX-License-Identifier: MIT
/*
 * Plans of contractions that were asked for before: layers of a network are alike; and those that are about to
 * be asked for, which other threads find.
 */
#include <string.h>
#include "tile.h"
#include "mem.h"
#include "rdu/program.h"
#include "workers.h"

/* A search by another thread, with copies of all that nests and residents may have changed by then. */
struct search_ahead {
	struct work work; /* the first: find_ahead() */
	struct heap heap;
	struct nest n;
	struct lnest l;
	struct plan pl;
	struct residence kept_in[NEST_MAX_IN], kept_out[NEST_MAX_OUT];
	struct contract c;
	int r; /* what contract_search() said */
};

struct known_plan {
	uint64_t question;
	struct search_ahead *ahead; /* NULL: the plan is known */
	int r; /* what contract_search() said */
	struct contract plan;
};

static uint64_t mix(uint64_t h, const void *data, size_t size)
{
	return rdu_fnv1a(h, data, size);
}

static uint64_t mix_access(uint64_t h, const struct lacc *a, const struct residence *r)
{
	int64_t v[] = { a->base,
			a->num_axes,
			a->gather_in,
			a->t->dtype,
			a->gather_stride,
			a->gather_extent,
			r ? r->part : 0,
			r ? r->num_parts : 0,
			r ? r->memory : 0,
			r ? r->held : 0,
			r ? r->lag : 0,
			r ? r->before : 0,
			r ? r->group > 0 : 0 };

	h = mix(h, v, sizeof(v));
	for (int i = 0; i < a->num_axes; i++) {
		const struct laxis *x = &a->axis[i];
		int64_t w[] = { x->ms, x->off, x->dim, x->guard };

		h = mix(mix(h, w, sizeof(w)), x->coef, sizeof(x->coef));
	}
	return h;
}

/* Of all that contract_search() depends on; layers of a network ask the same. */
static uint64_t question(const struct contract *c)
{
	const struct lnest *l = c->l;
	int v[] = { c->may_split, c->systolic,	c->pcus,       c->pmus,	       c->agcus,
		    c->op[0].in,  c->op[1].in,	c->epi_pcus,   c->epi_in,      c->pl->max_unroll,
		    c->pl->level, l->num_dims,	l->n->num_in,  l->n->num_out,  c->tiles,
		    c->made,	  c->made_pcus, c->made_loads, c->made_slower, c->turn_pcus,
		    c->can_tail,  c->start };
	uint64_t h = mix(mix(RDU_FNV1A_INIT, v, sizeof(v)), &c->made_share, sizeof(c->made_share));

	for (int d = 0; d < l->num_dims; d++) {
		int64_t w[] = { l->extent[d], l->reduce[d], l->shared[d], c->chunk[d],
				c->split[d] };

		h = mix(h, w, sizeof(w));
	}
	for (int i = 0; i < l->n->num_in; i++) {
		h = mix_access(h, &l->in[i], c->kept_in[i]);
	}
	for (int i = 0; i < l->n->num_out; i++)
		h = mix_access(h, &l->out[i], c->kept_out[i]);
	return h;
}

static void search_now(void *arg)
{
	struct search_ahead *a = arg;

	a->r = contract_search(&a->c);
}

static void find_ahead(struct work *work)
{
	struct search_ahead *a = (struct search_ahead *)work;

	heap_run(&a->heap, search_now, a);
}

static struct known_plan *find(struct backend *be, uint64_t question)
{
	for (int i = 0; i < be->num_plans; i++)
		if (be->plan[i].question == question)
			return &be->plan[i];
	return NULL;
}

static struct known_plan *new_plan(struct backend *be, uint64_t question)
{
	be->plan = xroom(be->plan, be->num_plans, &be->room_plans, sizeof(*be->plan));
	be->plan[be->num_plans] = (struct known_plan){ .question = question };
	return &be->plan[be->num_plans++];
}

/* The plan that another thread has found, or is at. False: it had no memory. */
static bool take_ahead(struct backend *be, struct known_plan *k)
{
	struct search_ahead *a = k->ahead;
	bool found;

	workers_take(be->workers, &a->work);
	k->r = a->r;
	k->plan = a->c;
	k->ahead = NULL;
	found = a->heap.end == HEAP_DONE;
	free(a);
	return found;
}

int contract_plan(struct backend *be, struct contract *c)
{
	uint64_t q = question(c);
	struct contract asked = *c;
	struct known_plan *k = find(be, q);
	bool known = k && (!k->ahead || take_ahead(be, k));

	if (!k)
		k = new_plan(be, q);
	if (!known) {
		k->r = contract_search(c);
		k->plan = *c;
		return k->r;
	}
	*c = k->plan;
	c->l = asked.l;
	c->pl = asked.pl;
	memcpy(c->kept_in, asked.kept_in, sizeof(c->kept_in));
	memcpy(c->kept_out, asked.kept_out, sizeof(c->kept_out));
	return k->r;
}

static void search_ahead(struct backend *be, const struct contract *c)
{
	uint64_t q = question(c);
	struct search_ahead *a;

	if (find(be, q))
		return;
	a = xcalloc(1, sizeof(*a));
	a->n = *c->l->n;
	a->l = *c->l;
	a->l.n = &a->n;
	a->pl = *c->pl;
	a->c = *c;
	a->c.l = &a->l;
	a->c.pl = &a->pl;
	for (int i = 0; i < a->n.num_in; i++)
		if (c->kept_in[i]) {
			a->kept_in[i] = *c->kept_in[i];
			a->c.kept_in[i] = &a->kept_in[i];
		}
	for (int i = 0; i < a->n.num_out; i++)
		if (c->kept_out[i]) {
			a->kept_out[i] = *c->kept_out[i];
			a->c.kept_out[i] = &a->kept_out[i];
		}
	a->work.run = find_ahead;
	new_plan(be, q)->ahead = a;
	workers_give(be->workers, &a->work);
}

void be_plan_ahead(struct backend *be, const struct nest *n)
{
	struct plan pl = plan_of_level(be->level);
	struct contract c;
	struct lnest l;

	lnest_from(&l, n);
	if (!contract_set_up(be, &l, &pl, &c))
		search_ahead(be, &c);
}

void be_plans_drop(struct backend *be)
{
	for (int i = 0; i < be->num_plans; i++)
		if (be->plan[i].ahead)
			workers_drop(be->workers, &be->plan[i].ahead->work);
}

void be_plans_end(struct backend *be)
{
	for (int i = 0; i < be->num_plans; i++)
		free(be->plan[i].ahead);
	free(be->plan);
	be->plan = NULL;
	be->num_plans = be->room_plans = 0;
}
