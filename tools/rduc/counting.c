// SPDX-License-Identifier: MIT
/*
 * What does not count and is computed all the same: the branch of an If that is not taken, and the iterations of a Loop
 * behind its last one. It must not stop a run, so nodes there get numbers that stop none (g->counts says whether what
 * is being made counts). Sums of int64 that leave 32 bits stop a run there, too.
 */
#include <string.h>
#include "graph.h"

enum when {
	ALWAYS,
	OF_INTEGERS,
	OF_PRODUCTS, /* of two integers of 64 bits that are computed */
	TO_INTEGERS,
};

static const struct {
	const char *op;
	int in, other; /* the input, and the number that it is instead */
	enum when when;
} stoppers[] = {
	{ "Cast", 0, 0, TO_INTEGERS },
	{ "Div", 1, 1, OF_INTEGERS },
	{ "Gather", 1, 0, ALWAYS },
	{ "GatherElements", 1, 0, ALWAYS },
	{ "GatherND", 1, 0, ALWAYS },
	{ "Mod", 0, 0, ALWAYS },
	{ "Mod", 1, 1, ALWAYS },
	{ "Mul", 0, 0, OF_PRODUCTS },
	{ "Pow", 1, 0, OF_INTEGERS },
	{ "Scatter", 1, 0, ALWAYS },
	{ "ScatterElements", 1, 0, ALWAYS },
	{ "ScatterND", 1, 0, ALWAYS },
};

static bool stops(const struct node *n, enum when when)
{
	const struct value *x = n->in[0];

	if (!x || when == ALWAYS)
		return x != NULL;
	if (when == TO_INTEGERS)
		return !dtype_is_int(x->dtype);
	if (when == OF_PRODUCTS)
		return (x->dtype == RDU_DT_I64 || x->dtype == RDU_DT_U64) && n->num_in > 1 &&
		       !x->constant && !n->in[1]->constant;
	return dtype_is_int(x->dtype);
}

/* A loop's counter, of which each number is an index that is there. */
static bool is_in(const struct node *n, const struct value *at)
{
	int64_t axis = attr_i(n, "axis", 0);
	const struct value *x = n->in[0];

	axis += axis < 0 ? x->ndim : 0;
	return !strcmp(n->op->name, "Gather") && at->counts && axis >= 0 && axis < x->ndim &&
	       !x->size[axis] && at->counts <= x->dim[axis];
}

int counting_guard(struct graph *g, struct node *n)
{
	for (size_t i = 0; g->counts && i < sizeof(stoppers) / sizeof(stoppers[0]); i++) {
		struct value *v = node_in(n, stoppers[i].in), *other;

		if (n->op->domain || strcmp(n->op->name, stoppers[i].op) || !v || v->constant ||
		    v->extents || !stops(n, stoppers[i].when) || is_in(n, v))
			continue;
		other = graph_cast(g, n->name, graph_const_i(g, stoppers[i].other), v->dtype);
		other = graph_op3(g, "Where", graph_format(g, "%.200s.counted", n->name), g->counts,
				  v, other);
		if (!other)
			return -1;
		memcpy(other->size, v->size, sizeof(other->size));
		n->in[stoppers[i].in] = other;
	}
	return 0;
}

struct value *counting_and(struct graph *g, const char *name, struct value *valid)
{
	if (!valid || !g->counts)
		return valid ? valid : g->counts;
	return graph_op2(g, "And", graph_format(g, "%.200s.counts", name), valid, g->counts);
}
