// SPDX-License-Identifier: MIT
/* Validation of routes: trees that reach, on wires that are there. */
#include <stdlib.h>
#include <string.h>
#include "fabric_priv.h"

struct grid {
	uint32_t cols, rows, switches;
	uint32_t *into; /* switch -> 1 + stream that last entered it */
	uint32_t *from; /* switch -> where from */
	uint32_t *reach; /* switch -> 1 + stream known to reach it */
	uint16_t *wires; /* link -> streams on it */
};

static uint32_t switch_of(const struct rdu_section *s, uint32_t program)
{
	const struct rdu_cfg_program *c = &s->programs[program];
	unsigned int x, y;

	rdu_chip_unit_xy(&s->chip, rdu_kind_unit(c->kind), c->unit, &x, &y);
	return (c->tile * s->chip.tile_rows + y) * s->chip.tile_cols + x;
}

static int check_link(struct rdu_section *s, struct grid *g, const struct rdu_cfg_link *l,
		      uint32_t stream, uint32_t root, struct rdu_cfg_diag *diag)
{
	uint32_t x, y, to;

	if (l->sw >= g->switches || l->dir > RDU_DIR_W)
		return RDU_REFUSE(s, diag, ROUTE, l, "stream %u: switch %u of %u, direction %u",
				  stream, l->sw, g->switches, l->dir);
	x = l->sw % g->cols + (l->dir == RDU_DIR_E) - (l->dir == RDU_DIR_W);
	y = l->sw / g->cols + (l->dir == RDU_DIR_S) - (l->dir == RDU_DIR_N);
	if (x >= g->cols || y >= g->rows)
		return RDU_REFUSE(s, diag, ROUTE, l, "stream %u leaves the tiles at switch %u",
				  stream, l->sw);
	to = y * g->cols + x;
	if (to == root || g->into[to] == stream + 1)
		return RDU_REFUSE(s, diag, ROUTE, l, "stream %u enters switch %u twice", stream,
				  to);
	g->into[to] = stream + 1;
	g->from[to] = l->sw;
	if (++g->wires[l->sw * 4 + l->dir] > s->chip.vec_links)
		return RDU_REFUSE(s, diag, WIRES, l,
				  "more than %u streams leave switch %u in direction %u",
				  s->chip.vec_links, l->sw, l->dir);
	return 0;
}

/* Does the tree of this stream hang `sw` from its root? */
static bool reaches(struct grid *g, uint32_t stream, uint32_t root, uint32_t sw)
{
	uint32_t at = sw, steps = 0;

	while (at != root && g->reach[at] != stream + 1) {
		if (g->into[at] != stream + 1 || steps++ > g->switches)
			return false;
		at = g->from[at];
	}
	while (sw != at) {
		g->reach[sw] = stream + 1;
		sw = g->from[sw];
	}
	return true;
}

static int check_route(struct rdu_section *s, struct grid *g, uint32_t i, uint64_t *total,
		       struct rdu_cfg_diag *diag)
{
	const struct rdu_cfg_stream *st = &s->streams[i];
	uint32_t root = switch_of(s, st->program), k;

	*total += st->num_links;
	if ((uint64_t)st->first_link + st->num_links > s->hdr->links.count ||
	    *total > s->hdr->links.count)
		return RDU_REFUSE(s, diag, ROUTE, &st->first_link, "stream %u: links %u + %u of %u",
				  i, st->first_link, st->num_links, s->hdr->links.count);
	for (k = 0; k < st->num_links; k++)
		if (check_link(s, g, &s->links[st->first_link + k], i, root, diag))
			return -1;
	for (k = 0; k < st->num_links; k++)
		if (!reaches(g, i, root, s->links[st->first_link + k].sw))
			return RDU_REFUSE(s, diag, ROUTE, &s->links[st->first_link + k],
					  "stream %u: switch %u is not joined to its producer", i,
					  s->links[st->first_link + k].sw);
	for (k = 0; k < st->num_dests; k++) {
		const struct rdu_cfg_dest *d = &s->dests[st->first_dest + k];
		uint32_t sw = switch_of(s, d->program);

		if (!reaches(g, i, root, sw))
			return RDU_REFUSE(
				s, diag, ROUTE, d,
				"stream %u: the route does not reach program %u at switch "
				"%u",
				i, d->program, sw);
	}
	return 0;
}

int rdu_validate_routes(struct rdu_section *s, struct rdu_cfg_diag *diag)
{
	struct grid g = { .cols = s->chip.tile_cols,
			  .rows = s->chip.tile_rows * s->hdr->num_tiles };
	uint64_t total = 0;
	int ret = 0;

	g.switches = g.cols * g.rows;
	g.into = calloc((size_t)g.switches * 3 + 1, sizeof(uint32_t));
	g.wires = calloc((size_t)g.switches * 4 + 1, sizeof(uint16_t));
	if (!g.into || !g.wires)
		ret = RDU_REFUSE(s, diag, TOO_LARGE, &s->hdr->streams, "no memory");
	g.from = g.into ? g.into + g.switches : NULL;
	g.reach = g.into ? g.from + g.switches : NULL;
	for (uint32_t i = 0; i < s->hdr->streams.count && !ret; i++)
		ret = check_route(s, &g, i, &total, diag);
	free(g.into);
	free(g.wires);
	return ret;
}
