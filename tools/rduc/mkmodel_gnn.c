// SPDX-License-Identifier: MIT
/*
 * rdu-mkmodel: a graph network (GraphSAGE with means): graphs are nodes with features and lists
 * of edges; a layer adds to each node the mean of those that have an edge to it.
 */
#include "graph.h"
#include "mkmodel.h"

struct sizes {
	int64_t graphs, nodes, edges;
};

/* One end of all edges, once for each of `width` features: [N,EDGES,width] */
static const char *ends(struct mk *m, const char *scope, const char *edges, int64_t end,
			const struct sizes *s, int64_t width)
{
	int64_t dim[] = { s->graphs, s->edges, width }, two = 2;
	Onnx__NodeProto *n = MK_SCOPED(m, scope, "Gather", edges, mk_ints(m, scope, 0, &end, 1));
	const char *x;

	mk_attr_int(n, "axis", 1);
	x = MK_OP(m, scope, "Unsqueeze", n->output[0], mk_ints(m, scope, 1, &two, 1));
	return MK_OP(m, scope, "Expand", x, mk_ints(m, scope, 1, dim, 3));
}

/* What edges bring to the nodes that they lead to, added up: [N,NODES,width] */
static const char *added(struct mk *m, const char *scope, const char *to, const char *brought,
			 const struct sizes *s, int64_t width)
{
	const char *zero = mk_zeros(m, scope, DIMS(s->graphs, s->nodes, width));
	Onnx__NodeProto *n = MK_SCOPED(m, scope, "ScatterElements", zero, to, brought);

	mk_attr_int(n, "axis", 1);
	mk_attr_string(n, "reduction", "add");
	return n->output[0];
}

/* Of each node the number of edges to it, but 1 where there are none: [N,NODES,1] */
static const char *degrees(struct mk *m, const char *edges, const struct sizes *s)
{
	int64_t dim[] = { s->graphs, s->edges, 1 };
	const char *one = mk_scalar(m, "degree", 1), *sum;

	sum = MK_OP(m, "degree", "Expand", one, mk_ints(m, "degree", 1, dim, 3));
	sum = added(m, "degree", ends(m, "degree", edges, 1, s, 1), sum, s, 1);
	return MK_OP(m, "degree", "Max", sum, one);
}

static const char *layer(struct mk *m, const char *path, const char *x, const char *edges,
			 const char *degree, const struct sizes *s, int64_t in, int64_t out)
{
	Onnx__NodeProto *n = MK_SCOPED(m, path, "GatherElements", x,
				       ends(m, mk_text("%s.from", path), edges, 0, s, in));
	const char *to = ends(m, mk_text("%s.to", path), edges, 1, s, in), *mean;

	mk_attr_int(n, "axis", 1);
	mean = MK_OP(m, path, "Div", added(m, path, to, n->output[0], s, in), degree);
	x = MK_OP(m, path, "Add", mk_rows(m, mk_text("%s.lin_l", path), mean, in, out, 0.3),
		  mk_rows(m, mk_text("%s.lin_r", path), x, in, out, 0.3));
	return MK_OP(m, path, "Add", x, mk_filled(m, mk_text("%s.lin_l.bias", path), DIMS(out), 0));
}

static int make_gnn(struct mk *m)
{
	struct sizes s = { mk_size(m, "batch"), mk_size(m, "nodes"), mk_size(m, "edges") };
	int64_t width = mk_size(m, "features"), classes = mk_size(m, "classes");
	int64_t hidden[MK_MAX_LIST];
	int num = mk_list(m, "hidden", hidden);
	const char *x = mk_input(m, "x", 0, DIMS(s.graphs, s.nodes, width));
	const char *edges = mk_input(m, "edges", RDU_DT_I64, DIMS(s.graphs, 2, s.edges)), *degree;

	if (num < 0)
		return -1;
	degree = degrees(m, edges, &s);
	for (int i = 0; i <= num; i++) {
		int64_t out = i < num ? hidden[i] : classes;
		const char *path = mk_text("convs.%d", i);

		x = layer(m, path, x, edges, degree, &s, width, out);
		if (i < num)
			x = MK_OP(m, path, "Relu", x);
		width = out;
	}
	mk_output(m, "logits", x, DIMS(s.graphs, s.nodes, classes));
	return 0;
}

#define SIZE(name, about, value)                              \
	{                                                     \
		name, MK_SIZE, about, value, 1, 1 << 24, NULL \
	}

const struct mk_family mk_gnn[] = {
	{ .name = "gnn",
	  .about = "x [N,NODES,FEATURES] and edges [N,2,EDGES] to classes of the nodes: GraphSAGE",
	  .make = make_gnn,
	  .option = { SIZE("batch", "graphs at once", 1),
		      SIZE("nodes", "nodes of a graph", 256),
		      SIZE("edges", "edges of a graph: from its first row to its second", 1024),
		      SIZE("features", "features of a node", 64),
		      SIZE("classes", "classes that a node can be of", 7),
		      { "hidden", MK_LIST, "widths of the layers between", 0, 1, 1 << 20,
			"64" } } },
	{ 0 },
};
