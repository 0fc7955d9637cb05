// SPDX-License-Identifier: MIT
/*
 * Routes: a tree of links for every stream, at most vec_links streams on a
 * directed link. Trees grow by the cheapest path to the nearest consumer not yet
 * reached; where links overflow, they become dearer and everything is routed
 * again (negotiated congestion, as PathFinder does, FPGA'95).
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

struct router {
	struct uimage *im;
	int cols, rows, nodes, cap;
	int *load; /* by link: node * 4 + direction */
	int *to; /* node that a link leads to, -1: there is none */
	float *history, *cost;
	float *dist;
	int *from; /* link by which a node was reached, -1: of the tree */
	int *stamp, now;
	bool *tree, *target;
	struct heap_item {
		float d;
		int node;
	} * heap;
	int heap_len, heap_room;
	float press;
};

static int step_node(const struct router *r, int node, int dir)
{
	int x = node % r->cols, y = node / r->cols;

	switch (dir) {
	case RDU_DIR_N:
		return y ? node - r->cols : -1;
	case RDU_DIR_S:
		return y + 1 < r->rows ? node + r->cols : -1;
	case RDU_DIR_E:
		return x + 1 < r->cols ? node + 1 : -1;
	default:
		return x ? node - 1 : -1;
	}
}

static void heap_push(struct router *r, float d, int node)
{
	int i;

	if (r->heap_len == r->heap_room) {
		r->heap_room = r->heap_room * 2 + 256;
		r->heap = xrealloc(r->heap, sizeof(*r->heap) * (size_t)r->heap_room);
	}
	i = r->heap_len++;
	while (i && r->heap[(i - 1) / 2].d > d) {
		r->heap[i] = r->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	r->heap[i] = (struct heap_item){ d, node };
}

static struct heap_item heap_pop(struct router *r)
{
	struct heap_item top = r->heap[0], last = r->heap[--r->heap_len];
	int i = 0;

	for (;;) {
		int c = 2 * i + 1;

		if (c >= r->heap_len)
			break;
		if (c + 1 < r->heap_len && r->heap[c + 1].d < r->heap[c].d)
			c++;
		if (r->heap[c].d >= last.d)
			break;
		r->heap[i] = r->heap[c];
		i = c;
	}
	if (r->heap_len)
		r->heap[i] = last;
	return top;
}

static void find_cost(struct router *r, int link)
{
	int over = r->load[link] + 1 - r->cap;
	float use = (float)r->load[link] / (float)r->cap;

	r->cost[link] = (1.0f + 0.5f * use * use + r->history[link]) *
			(over > 0 ? 1.0f + r->press * (float)over : 1.0f);
}

static void add_load(struct router *r, int link, int more)
{
	r->load[link] += more;
	find_cost(r, link);
}

static int unit_node(const struct router *r, int prog)
{
	const struct uunit *u = &r->im->unit[r->im->prog[prog].unit];

	return u->y * r->cols + u->x;
}

static void add_link(struct ustream *s, int node, int dir)
{
	if (!(s->num_links & (s->num_links - 1)) || !s->link) {
		size_t room = s->num_links ? (size_t)s->num_links * 2 : 1;

		s->link = xrealloc(s->link, sizeof(*s->link) * room);
	}
	s->link[s->num_links++] = (struct rdu_cfg_link){ (uint32_t)node, (uint32_t)dir };
}

static void route_stream(struct router *r, struct ustream *s)
{
	int left = 0, num_tree = 0, *tree_nodes = xmalloc(sizeof(int) * (size_t)r->nodes);

	memset(r->tree, 0, sizeof(bool) * (size_t)r->nodes);
	memset(r->target, 0, sizeof(bool) * (size_t)r->nodes);
	r->tree[unit_node(r, s->prog)] = true;
	tree_nodes[num_tree++] = unit_node(r, s->prog);
	for (int d = 0; d < s->num_dests; d++) {
		int n = unit_node(r, s->dest[d].prog);

		if (!r->target[n] && !r->tree[n]) {
			r->target[n] = true;
			left++;
		}
	}
	s->num_links = 0;
	free(s->link);
	s->link = NULL;
	while (left) {
		int node = -1;

		r->now++;
		r->heap_len = 0;
		for (int i = 0; i < num_tree; i++) {
			r->dist[tree_nodes[i]] = 0;
			r->stamp[tree_nodes[i]] = r->now;
			r->from[tree_nodes[i]] = -1;
			heap_push(r, 0, tree_nodes[i]);
		}
		while (r->heap_len) {
			struct heap_item t = heap_pop(r);

			if (t.d > r->dist[t.node])
				continue;
			node = t.node;
			if (r->target[node])
				break;
			for (int dir = 0; dir < 4; dir++) {
				int o = r->to[node * 4 + dir];
				float d;

				if (o < 0 || r->tree[o])
					continue;
				d = t.d + r->cost[node * 4 + dir];
				if (r->stamp[o] == r->now && r->dist[o] <= d)
					continue;
				r->stamp[o] = r->now;
				r->dist[o] = d;
				r->from[o] = node * 4 + dir;
				heap_push(r, d, o);
			}
		}
		/* the path, backwards */
		r->target[node] = false;
		left--;
		for (int n = node; r->from[n] >= 0;) {
			int link = r->from[n];

			add_link(s, link / 4, link % 4);
			add_load(r, link, 1);
			r->tree[n] = true;
			tree_nodes[num_tree++] = n;
			if (r->target[n]) {
				r->target[n] = false;
				left--;
			}
			n = link / 4;
		}
	}
	free(tree_nodes);
}

int be_route(struct backend *be, struct uimage *im)
{
	struct router r = { .im = im,
			    .cols = (int)im->chip->tile_cols,
			    .rows = (int)im->chip->tile_rows * im->tiles,
			    .cap = (int)im->chip->vec_links,
			    .press = 0.5f };
	int over = 1, most = 0;

	r.nodes = r.cols * r.rows;
	r.load = xcalloc((size_t)r.nodes * 4, sizeof(int));
	r.to = xmalloc((size_t)r.nodes * 4 * sizeof(int));
	r.history = xcalloc((size_t)r.nodes * 4, sizeof(float));
	r.cost = xmalloc((size_t)r.nodes * 4 * sizeof(float));
	r.dist = xcalloc((size_t)r.nodes, sizeof(float));
	r.from = xcalloc((size_t)r.nodes, sizeof(int));
	r.stamp = xcalloc((size_t)r.nodes, sizeof(int));
	r.tree = xcalloc((size_t)r.nodes, sizeof(bool));
	r.target = xcalloc((size_t)r.nodes, sizeof(bool));
	for (int k = 0; k < r.nodes * 4; k++)
		r.to[k] = step_node(&r, k / 4, k % 4);
	for (int round = 0; round < 16 && over; round++) {
		over = 0;
		for (int k = 0; k < r.nodes * 4; k++)
			find_cost(&r, k);
		for (int s = 0; s < im->num_streams; s++) {
			struct ustream *t = &im->stream[s];
			bool bad = round == 0;

			/* after the first round only what is on a full link moves */
			for (int k = 0; k < t->num_links && !bad; k++)
				bad = r.load[t->link[k].sw * 4 + t->link[k].dir] > r.cap;
			if (!bad)
				continue;
			for (int k = 0; round && k < t->num_links; k++)
				add_load(&r, (int)(t->link[k].sw * 4 + t->link[k].dir), -1);
			route_stream(&r, t);
		}
		for (int k = 0; k < r.nodes * 4; k++)
			if (r.load[k] > r.cap) {
				over++;
				r.history[k] += (float)(r.load[k] - r.cap);
			}
		r.press *= 1.7f;
	}
	for (int k = 0; k < r.nodes * 4; k++)
		if (r.load[k] > most)
			most = r.load[k];
	free(r.load);
	free(r.to);
	free(r.history);
	free(r.cost);
	free(r.dist);
	free(r.from);
	free(r.stamp);
	free(r.tree);
	free(r.target);
	free(r.heap);
	if (over)
		return be_error(
			be,
			"%s: %d links need to carry up to %d streams, a link of %s has %d wires",
			im->name, over, most, im->chip->name, r.cap);
	return 0;
}
