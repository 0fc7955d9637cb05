// SPDX-License-Identifier: MIT
/*
 * Tiles and replicas of a contraction, by search: every choice of lane, column
 * and pair dimension; for each, tile sizes and replica counts by descent on the
 * expected cycles.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tile.h"
#include "mem.h"

static int64_t granule(const struct contract *c, int d)
{
	return d == c->lane ? c->gl : d == c->col ? c->gc : d == c->pair ? c->elements : 1;
}

/* Numbers of parts that a dimension is cut into, and of replicas along it. */
static const int part_counts[] = { 1,  2,  3,  4,   5,	 6,   7,   8,	9,   10, 12,
				   14, 16, 18, 20,  24,	 28,  32,  36,	40,  48, 56,
				   64, 80, 96, 128, 192, 256, 384, 512, 1024 };
static const int replica_counts[] = { 1,  2,  3,  4,  5,  6,  7,  8,  9,   10,	11,  12,  13,
				      14, 15, 16, 18, 20, 22, 24, 26, 28,  29,	30,  32,  34,
				      36, 40, 44, 48, 56, 64, 80, 96, 128, 160, 256, 320, 640 };
#define MAX_TILES (sizeof(part_counts) / sizeof(part_counts[0]) + 1)
#define MAX_UNROLLS (sizeof(replica_counts) / sizeof(replica_counts[0]) + NEST_MAX_OUT)

static int tile_choices(const struct contract *c, int d, int64_t *t)
{
	int64_t g = granule(c, d), blocks = ceil_div(c->l->extent[d], g);
	int n = 0;

	if (c->l->shared[d] || c->chunk[d]) {
		t[0] = c->l->shared[d] ? 1 : c->chunk[d];
		return 1;
	}
	for (size_t i = 0; i + 1 < MAX_TILES; i++) {
		int64_t v;

		if (part_counts[i] > blocks)
			break;
		v = ceil_div(blocks, part_counts[i]) * g;
		if (!n || t[n - 1] != v)
			t[n++] = v;
	}
	if (!n || t[n - 1] != g)
		t[n++] = g;
	return n;
}

static int unroll_choices(const struct contract *c, int d, int64_t tile, int64_t *u)
{
	int64_t tiles = ceil_div(c->l->extent[d], tile);
	int n = 0;

	if (c->split[d] || c->l->shared[d] || (c->l->reduce[d] && !c->may_split)) {
		u[0] = max64(c->split[d], 1);
		return 1;
	}
	for (size_t i = 0; i < sizeof(replica_counts) / sizeof(replica_counts[0]); i++)
		if (replica_counts[i] <= tiles && replica_counts[i] <= c->pl->max_unroll &&
		    (!c->l->reduce[d] || c->l->extent[d] % (tile * replica_counts[i]) == 0))
			u[n++] = replica_counts[i];
	if (!n) /* terms beyond the last are of one replica */
		u[n++] = 1;
	for (int i = 0; i < c->l->n->num_out;
	     i++) { /* of alike parts, a slice may have any number */
		const struct residence *r = c->kept_out[i];

		if (r && r->before && r->num_parts <= tiles && r->num_parts <= c->pl->max_unroll)
			u[n++] = r->num_parts;
	}
	return n;
}

/* Finds the best tile and replica count of one dimension, all else fixed. What has too many replicas, or whose arrays
 * take longer than the best, is not looked at any further. */
static void try_choices(struct contract *c, int d, struct step *s)
{
	int64_t t[MAX_TILES], u[MAX_UNROLLS], others = contract_replicas(c, -1) / c->unroll[d];
	int64_t most = min64(c->pl->max_unroll, c->pcus) / others;
	double rest = c->systolic ? 2 : 1; /* cycles of an array, but for the steps along d */
	int nt = tile_choices(c, d, t);

	for (int e = 0; e < c->l->num_dims; e++)
		rest *= e == d ? 1 : (double)(contract_trips(c, e) * contract_steps(c, e));

	s->best_tile = c->tile[d];
	s->best_unroll = c->unroll[d];
	s->best = c->cost;
	for (int i = 0; i < nt; i++) {
		int nu = unroll_choices(c, d, t[i], u);

		c->tile[d] = t[i];
		contract_forget(c);
		for (int k = 0; k < nu; k++) {
			c->unroll[d] = u[k];
			if (u[k] > most ||
			    rest * (double)(contract_trips(c, d) * contract_steps(c, d)) > s->best)
				continue;
			if (contract_solve_below(c, s->best * 0.9999) &&
			    c->cost < s->best * 0.9999) {
				s->best = c->cost;
				s->best_tile = t[i];
				s->best_unroll = u[k];
			}
		}
	}
	s->taken = true;
}

static void improve(struct contract *c, int d, struct steps *known)
{
	struct step *s = steps_find(known, c, d);

	if (!s->taken)
		try_choices(c, d, s);
	c->tile[d] = s->best_tile;
	c->unroll[d] = s->best_unroll;
	c->cost = s->best;
}

/* One dimension after the other, as long as that helps. One that was the last to change has the best
 * already. */
static double descend(struct contract *c, struct steps *known)
{
	int last = -1;
	double was;

	if (!contract_solve(c))
		c->cost = 1e300;
	do {
		was = c->cost;
		for (int d = 0; d < c->l->num_dims; d++) {
			double before = c->cost;

			if (d == last)
				break;
			improve(c, d, known);
			if (c->cost < before)
				last = d;
		}
	} while (c->cost < was * 0.999);
	if (!contract_solve(c))
		c->cost = 1e300;
	return c->cost;
}

static void start_small(struct contract *c)
{
	for (int d = 0; d < c->l->num_dims; d++) {
		c->tile[d] = c->chunk[d] ? c->chunk[d] : granule(c, d);
		c->unroll[d] = max64(c->split[d], 1);
	}
}

/* All terms of a sum at a time, and all columns: results are made once, and each is stored whole. */
static void start_sums_whole(struct contract *c)
{
	for (int d = 0; d < c->l->num_dims; d++)
		if (!c->l->shared[d] && !c->chunk[d] && (c->l->reduce[d] || d == c->col))
			c->tile[d] = ceil_div(c->l->extent[d], granule(c, d)) * granule(c, d);
}

/* As well, with a replica for each part of an operand that is resident, along a dimension that tells its parts
 * apart. False: there is none. */
static bool start_by_parts(struct contract *c)
{
	bool any = false;

	start_small(c);
	start_sums_whole(c);
	for (int o = 0; o < 2; o++) {
		const struct residence *r = c->kept_in[c->op[o].in];

		for (int d = 0; d < c->l->num_dims && r && !r->held; d++) {
			int64_t u[MAX_UNROLLS];
			int n;

			if ((c->l->reduce[d] && (!c->may_split || c->chunk[d])) || d == c->lane ||
			    d == c->col || !contract_needs(c, o, d))
				continue;
			n = unroll_choices(c, d, granule(c, d), u);
			while (n > 1 && u[n - 1] > r->num_parts)
				n--;
			c->unroll[d] = n ? u[n - 1] : 1;
			if (c->l->reduce[d])
				c->tile[d] = ceil_div(c->l->extent[d], c->unroll[d]);
			any |= c->unroll[d] > 1;
		}
	}
	return any;
}

static uint32_t next_random(uint32_t *s)
{
	*s = *s * 1664525u + 1013904223u;
	return *s >> 8;
}

#define GRID_KEEP 12

/* Starts with all compute units in a grid over lanes and columns: many are
 * looked at, the best are worked on. */
static void search_grid(struct contract *c, struct contract *best, struct steps *known)
{
	int64_t pcus = c->pcus / (1 + c->epi_pcus);
	struct contract *kept = xcalloc(GRID_KEEP, sizeof(*kept));
	int64_t u[MAX_UNROLLS];
	int nu, num = 0;

	if (c->col < 0) {
		free(kept);
		return;
	}
	pcus = min64(pcus, c->pl->max_unroll);
	nu = unroll_choices(c, c->lane, c->gl, u);
	for (int i = 0; i < nu * 64; i++) {
		int64_t nl = 1 + i % 8, nc = 1 + i / 8 % 8, ul = u[i / 64];
		int64_t uc = min64(pcus * 9 / 10 / ul, ceil_div(c->l->extent[c->col], c->gc));
		int at;

		start_small(c);
		c->unroll[c->lane] = ul;
		c->unroll[c->col] = uc < 1 ? 1 : uc;
		c->tile[c->lane] = ceil_div(c->l->extent[c->lane], ul * nl * c->gl) * c->gl;
		c->tile[c->col] =
			ceil_div(c->l->extent[c->col], c->unroll[c->col] * nc * c->gc) * c->gc;
		c->cost = 1e300;
		for (int d = 0; d < c->l->num_dims; d++)
			if (c->l->reduce[d])
				improve(c, d, known);
		if (c->cost >= 1e300)
			continue;
		for (at = num; at > 0 && kept[at - 1].cost > c->cost; at--)
			if (at < GRID_KEEP)
				kept[at] = kept[at - 1];
		if (at < GRID_KEEP)
			kept[at] = *c;
		if (num < GRID_KEEP)
			num++;
	}
	for (int i = 0; i < num; i++) {
		*c = kept[i];
		if (descend(c, known) < best->cost)
			*best = *c;
	}
	free(kept);
}

/* Is an operand to be there as a whole? */
static bool wants_whole(const struct contract *c)
{
	return contract_holds(c, 0) || contract_holds(c, 1) || contract_in_group(c);
}

/* With several tiles: are results left in scratchpads, in parts that replicas tell apart? */
static bool leaves_parts(const struct contract *c)
{
	for (int i = 0; i < c->l->n->num_out && c->tiles > 1 && !contract_in_group(c); i++)
		if (c->kept_out[i])
			return true;
	return false;
}

/* Starts with sums whole, and, `whole`, with operands, so that one that is held, or does not change from iteration to
 * iteration of the shared loops, is loaded once; replicas over lanes and columns. */
static void search_whole(struct contract *c, struct contract *best, struct steps *known, bool whole)
{
	int64_t ul[MAX_UNROLLS], uc[MAX_UNROLLS] = { 1 };
	struct contract found = { .cost = 1e300 };
	int nl, nc = 1;

	start_small(c);
	nl = unroll_choices(c, c->lane, c->gl, ul);
	if (c->col >= 0)
		nc = unroll_choices(c, c->col, c->gc, uc);
	for (int i = 0; i < nl * nc; i++) {
		start_small(c);
		for (int d = 0; d < c->l->num_dims; d++)
			if (!c->l->shared[d] && !c->chunk[d] && (whole || c->l->reduce[d]))
				c->tile[d] = c->l->extent[d];
		c->unroll[c->lane] = ul[i % nl];
		c->tile[c->lane] = ceil_div(c->l->extent[c->lane], ul[i % nl] * c->gl) * c->gl;
		if (c->col >= 0) {
			c->unroll[c->col] = uc[i / nl];
			c->tile[c->col] =
				ceil_div(c->l->extent[c->col], uc[i / nl] * c->gc) * c->gc;
		}
		contract_forget(c);
		if (contract_solve_below(c, found.cost) && c->cost < found.cost)
			found = *c;
	}
	if (found.cost >= 1e300)
		return;
	*c = found;
	if (descend(c, known) < best->cost)
		*best = *c;
}

static void search(struct contract *c, int tries)
{
	struct steps known = { .dims = c->l->num_dims };
	struct contract best;
	uint32_t seed = 1;

	start_small(c);
	descend(c, &known);
	best = *c;
	start_small(c);
	start_sums_whole(c);
	if (descend(c, &known) < best.cost)
		best = *c;
	if (start_by_parts(c) && descend(c, &known) < best.cost)
		best = *c;
	if (wants_whole(c))
		search_whole(c, &best, &known, true);
	if (leaves_parts(c))
		search_whole(c, &best, &known, false);
	if (tries > 100)
		search_grid(c, &best, &known);
	for (int i = 0; i < tries; i++) {
		int64_t t[MAX_TILES], u[MAX_UNROLLS];

		*c = best;
		for (int d = 0; d < c->l->num_dims; d++) {
			int n;

			if (d != i % c->l->num_dims && next_random(&seed) % 3)
				continue;
			n = tile_choices(c, d, t);
			c->tile[d] = t[next_random(&seed) % (uint32_t)n];
			n = unroll_choices(c, d, c->tile[d], u);
			c->unroll[d] = u[next_random(&seed) % (uint32_t)n];
		}
		if (!contract_solve(c))
			continue;
		if (descend(c, &known) < best.cost)
			best = *c;
	}
	*c = best;
	steps_end(&known);
}

static int even_cut(int64_t extent, int most)
{
	int64_t n = ceil_div(extent, most);

	return (int)ceil_div(extent, n);
}

/* Of a product by blocks one with pairs always is: its sums are then those of the dense product. */
static bool is_better(const struct contract *c, const struct contract *best)
{
	if (c->op[2].in >= 0 && c->cost < 1e300 && best->cost < 1e300 &&
	    (c->pair >= 0) != (best->pair >= 0))
		return c->pair >= 0;
	return c->cost < best->cost;
}

/* No plan for these dimensions takes fewer cycles: arrays have no step to spare, and all of them work. */
static double least_cycles(const struct contract *c)
{
	double steps = c->systolic ? 2 : 1;

	for (int d = 0; d < c->l->num_dims; d++)
		steps *= (double)c->l->extent[d] / (double)granule(c, d);
	return steps / (double)min64(c->pcus, c->pl->max_unroll);
}

/* The best of the plans that are found from the smallest tiles, for each choice of dimensions, or the
 * first; its cost is 1e300 if there is none. */
static struct contract first_plan(const struct contract *c, bool any)
{
	const struct lnest *l = c->l;
	struct contract best = { .cost = 1e300 }, t = *c;
	int ins[2] = { c->op[0].in, c->op[1].in };
	int cols = contract_columns(c->chip, c->systolic, c->bytes);

	if (!cols)
		return best;
	for (int v = 0; v < 16; v++) { /* which operand is columns; axes by index; order */
		t.op[0].in = ins[v & 1];
		t.op[1].in = ins[!(v & 1)];
		t.op[0].by_index = v & 2;
		t.op[1].by_index = v & 4;
		t.a_first = v & 8;
		for (int o = 0, skip = 0; o < 2; o++) {
			bool window = false;

			for (int i = 0; i < l->in[t.op[o].in].num_axes; i++) {
				int n = 0;

				for (int d = 0; d < l->num_dims; d++)
					n += l->in[t.op[o].in].axis[i].coef[d] != 0;
				window |= n > 1;
			}
			if (t.op[o].by_index && !window)
				skip = 1; /* the same thing as by axis */
			if (skip) {
				t.op[0].in = -1;
				break;
			}
		}
		if (t.op[0].in < 0)
			continue;
		for (t.lane = 0; t.lane < l->num_dims; t.lane++) {
			if (l->reduce[t.lane] || l->shared[t.lane] ||
			    !contract_needs(&t, 0, t.lane) || contract_reads(&t, 1, t.lane))
				continue;
			for (t.col = -1; t.col < l->num_dims; t.col++) {
				bool any_col = false;

				for (int d = 0; d < l->num_dims; d++)
					any_col |= !l->reduce[d] && !l->shared[d] &&
						   !contract_reads(&t, 0, d) &&
						   contract_needs(&t, 1, d);
				if (t.col < 0 ? any_col
					      : l->reduce[t.col] || l->shared[t.col] ||
							contract_reads(&t, 0, t.col) ||
							!contract_needs(&t, 1, t.col))
					continue;
				for (t.pair = -1; t.pair < l->num_dims; t.pair++) {
					if (t.pair >= 0 && (!t.systolic || !l->reduce[t.pair]))
						continue;
					if (t.weights >= 0 && t.pair != t.place)
						continue;
					t.gl = (int)min64(t.chip->lanes, l->extent[t.lane]);
					t.gc = t.col < 0 ? 1 : even_cut(l->extent[t.col], cols);
					/* By blocks, another plan may be better than a faster one. */
					if (t.op[2].in < 0 && least_cycles(&t) >= best.cost)
						continue;
					search(&t, 0);
					if (is_better(&t, &best))
						best = t;
					if (any && best.cost < 1e300)
						return best;
				}
			}
		}
	}
	return best;
}

bool contract_possible(const struct contract *c)
{
	struct parts_asked asked = { 0 };
	struct contract t = *c;

	t.asked = &asked;
	t = first_plan(&t, true);
	parts_end(&asked);
	return t.cost < 1e300;
}

int contract_search(struct contract *c)
{
	struct parts_asked asked = { 0 };
	struct contract best, t;
	bool found = false;
	double acts = 1;

	c->asked = &asked;
	best = t = first_plan(c, false);
	if (best.cost < 1e300) {
		search(&t, c->pl->level >= 3 ? 300 : 60);
		*c = t.cost < best.cost ? t : best;
		found = contract_solve(c);
	}
	c->asked = NULL;
	parts_end(&asked);
	for (int d = 0; d < c->l->num_dims; d++)
		acts *= (double)c->trip[d];
	return found && acts < 1e6 ? 0 : 1;
}
