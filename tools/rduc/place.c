// SPDX-License-Identifier: MIT
/*
 * Placement on the checkerboard. Units that say where they want to be go to the
 * nearest free place of their kind; the others follow their neighbours, in the
 * order in which most of their neighbours are placed. AGCU programs share the
 * AGCUs at the edges: near, and evenly spread.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

struct site {
	int x, y, tile, phys;
	int used; /* programs */
	bool taken; /* it holds what a section before left there, and one after reads */
	bool held; /* that is what the section's held PMUs are for */
};

struct placer {
	struct uimage *im;
	int cols, rows; /* of switches, all tiles */
	int num[3];
	struct site *site[3];
	int *at; /* PCU and PMU sites: switch -> site */
	int *first, *next, *other; /* neighbours of a unit */
	int num_links;
	int *queue, head, tail; /* PCUs and PMUs that wait for their places */
	bool *queued;
	int seeds; /* units so far that were placed by no neighbour */
};

static void add_neighbour(struct placer *p, int a, int b)
{
	p->other[p->num_links] = b;
	p->next[p->num_links] = p->first[a];
	p->first[a] = p->num_links++;
}

static void sites(struct placer *p)
{
	const struct rdu_chip *chip = p->im->chip;
	unsigned int per[3] = { rdu_chip_pcus_per_tile(chip), rdu_chip_pmus_per_tile(chip),
				chip->agcus_per_tile };

	p->cols = (int)chip->tile_cols;
	p->rows = (int)chip->tile_rows * p->im->tiles;
	for (int k = 0; k < 3; k++) {
		p->num[k] = (int)per[k] * p->im->tiles;
		p->site[k] = xcalloc((size_t)p->num[k] + 1, sizeof(struct site));
		for (int i = 0; i < p->num[k]; i++) {
			struct site *s = &p->site[k][i];
			unsigned int x, y;

			s->tile = i / (int)per[k];
			s->phys = i % (int)per[k];
			rdu_chip_unit_xy(chip, (enum rdu_unit)k, (unsigned int)s->phys, &x, &y);
			s->x = (int)x;
			s->y = (int)y + s->tile * (int)chip->tile_rows;
		}
	}
}

static int nearest(struct placer *p, const struct uunit *u, double x, double y)
{
	enum rdu_unit kind = u->kind;
	double best = 1e30;
	int at = -1;

	for (int i = 0; i < p->num[kind]; i++) {
		const struct site *s = &p->site[kind][i];
		double d;

		if (kind == RDU_UNIT_AGCU) {
			if (s->used >= (int)p->im->chip->agcu_programs)
				continue;
			d = fabs(s->x - x) + fabs(s->y - y) + 2.0 * s->used;
		} else {
			if (s->used || (u->filled >= 0 ? !s->held : s->taken))
				continue;
			d = (s->x - x) * (s->x - x) + (s->y - y) * (s->y - y);
		}
		if (d < best) {
			best = d;
			at = i;
		}
	}
	return at;
}

static void put_at(struct placer *p, int unit, struct site *s)
{
	struct uunit *u = &p->im->unit[unit];

	s->used++;
	u->x = s->x;
	u->y = s->y;
	u->tile = s->tile;
	u->phys = s->phys;
}

static bool put(struct placer *p, int unit, double x, double y)
{
	const struct uunit *u = &p->im->unit[unit];
	int i = nearest(p, u, x, y);

	if (i < 0)
		return false;
	put_at(p, unit, &p->site[u->kind][i]);
	return true;
}

/* Mean place of a unit's placed neighbours; how many there are. */
static int middle(struct placer *p, int unit, double *x, double *y)
{
	int n = 0;

	*x = *y = 0;
	for (int k = p->first[unit]; k >= 0; k = p->next[k]) {
		const struct uunit *o = &p->im->unit[p->other[k]];

		if (o->x < 0)
			continue;
		*x += o->x;
		*y += o->y;
		n++;
	}
	if (n) {
		*x /= n;
		*y /= n;
	}
	return n;
}

double band_place(const struct band *band, double y)
{
	return y < 0 || band->to <= 0 ? y : band->from + y * (band->to - band->from);
}

static void hint(const struct placer *p, const struct uunit *u, int order, double *x, double *y)
{
	/* spread what has no wish along the diagonal */
	double h = order * 0.381966;

	*x = (u->hx >= 0 ? u->hx : h - floor(h)) * (p->cols - 1);
	*y = (u->hy >= 0 ? u->hy : 0.5) * (p->rows - 1);
}

/* Near its neighbours, if some have a place. */
static bool put_near(struct placer *p, int unit)
{
	double x, y;

	if (!middle(p, unit, &x, &y))
		hint(p, &p->im->unit[unit], p->seeds++, &x, &y);
	return put(p, unit, x, y);
}

/* A PCU or PMU waits for a place, once. */
static void enqueue(struct placer *p, int unit)
{
	if (p->im->unit[unit].kind == RDU_UNIT_AGCU || p->queued[unit])
		return;
	p->queue[p->tail++] = unit;
	p->queued[unit] = true;
}

/* Those that wait get their places, and their neighbours. False: one found none. */
static bool place_queued(struct placer *p)
{
	while (p->head < p->tail) {
		int v = p->queue[p->head++];

		if (p->im->unit[v].x < 0 && !put_near(p, v))
			return false;
		for (int k = p->first[v]; k >= 0; k = p->next[k])
			enqueue(p, p->other[k]);
	}
	return true;
}

/* Are there enough units? */
static int check_units(struct backend *be, const struct uimage *im, unsigned int taken)
{
	static const char *const name[] = { "PCUs", "PMUs", "AGCU programs" };
	const struct rdu_chip *chip = im->chip;
	unsigned int have[3] = { rdu_chip_pcus_per_tile(chip), rdu_chip_pmus_per_tile(chip),
				 chip->agcus_per_tile * chip->agcu_programs };
	unsigned int need[3] = { 0 };

	for (int u = 0; u < im->num_units; u++)
		need[im->unit[u].kind] += im->unit[u].pin < 0 && im->unit[u].filled < 0;
	if (need[RDU_UNIT_PMU] <= have[RDU_UNIT_PMU] * (unsigned int)im->tiles &&
	    need[RDU_UNIT_PMU] + taken > have[RDU_UNIT_PMU] * (unsigned int)im->tiles)
		return be_error(be, "%s: needs %u PMUs, %u hold what is resident, there are %u",
				im->name, need[RDU_UNIT_PMU], taken,
				have[RDU_UNIT_PMU] * (unsigned int)im->tiles);
	for (int k = 0; k < 3; k++)
		if (need[k] > have[k] * (unsigned int)im->tiles)
			return be_error(be, "%s: needs %u %s, %d tile%s of %s ha%s %u", im->name,
					need[k], name[k], im->tiles, im->tiles > 1 ? "s" : "",
					chip->name, im->tiles > 1 ? "ve" : "s",
					have[k] * (unsigned int)im->tiles);
	return 0;
}

int be_place(struct backend *be, struct uimage *im)
{
	struct placer p = { .im = im };
	int room = 16, r = 0;
	unsigned int num_taken = 0;
	bool *taken = be_taken_pmus(be);
	double x, y;

	for (unsigned int i = 0; i < rdu_chip_pmus_per_tile(im->chip) * (unsigned int)im->tiles;
	     i++)
		num_taken += taken[i];
	if (check_units(be, im, num_taken)) {
		free(taken);
		return -1;
	}
	for (int s = 0; s < im->num_streams; s++)
		room += 2 * im->stream[s].num_dests;
	p.first = xmalloc(sizeof(int) * (size_t)(im->num_units + 1));
	p.next = xmalloc(sizeof(int) * (size_t)room);
	p.other = xmalloc(sizeof(int) * (size_t)room);
	p.queue = xmalloc(sizeof(int) * (size_t)(im->num_units + 1));
	p.queued = xcalloc((size_t)im->num_units + 1, sizeof(bool));
	memset(p.first, -1, sizeof(int) * (size_t)(im->num_units + 1));
	sites(&p);
	for (int s = 0; s < im->num_streams; s++)
		for (int d = 0; d < im->stream[s].num_dests; d++) {
			int a = im->prog[im->stream[s].prog].unit;
			int b = im->prog[im->stream[s].dest[d].prog].unit;

			add_neighbour(&p, a, b);
			add_neighbour(&p, b, a);
		}
	for (int u = 0; u < im->num_units; u++)
		im->unit[u].x = -1;
	for (int i = 0; i < p.num[RDU_UNIT_PMU]; i++)
		p.site[RDU_UNIT_PMU][i].taken = taken[i];
	for (int i = 0; im->held && i < im->held->num_parts; i++)
		p.site[RDU_UNIT_PMU][im->held->spot[i].pmu].held = true;
	free(taken);
	for (int u = 0; u < im->num_units; u++)
		if (im->unit[u].pin >= 0)
			put_at(&p, u, &p.site[RDU_UNIT_PMU][im->unit[u].pin]);
	/* Wishes first; with several tiles, of these what results go through, which was made last: where values meet
	 * again that went different ways, a FIFO has to hold what the longer one delays. */
	for (int k = 0; k < 2 && !r; k++)
		for (int i = 0; i < im->num_units && !r; i++) {
			int u = im->tiles > 1 ? im->num_units - 1 - i : i;
			struct uunit *w = &im->unit[u];

			if ((int)w->kind != k || w->hx < 0)
				continue;
			hint(&p, w, 0, &x, &y);
			if (!put(&p, u, x, y))
				r = 1;
			enqueue(&p, u);
		}
	/* Then outwards from what is placed; PCUs and PMUs before AGCUs. */
	r = r || !place_queued(&p);
	for (int u = 0; u < im->num_units && !r; u++) {
		enqueue(&p, u);
		r = !place_queued(&p);
	}
	for (int u = 0; u < im->num_units && !r; u++) {
		if (im->unit[u].kind != RDU_UNIT_AGCU)
			continue;
		r = !put_near(&p, u);
	}
	memset(im->used, 0, sizeof(im->used));
	for (int k = 0; k < 3; k++) {
		for (int i = 0; i < p.num[k]; i++)
			im->used[k] += p.site[k][i].used > 0;
		free(p.site[k]);
	}
	free(p.first);
	free(p.next);
	free(p.other);
	free(p.queue);
	free(p.queued);
	if (r)
		return be_error(be, "internal: %s: a unit found no place", im->name);
	return 0;
}
