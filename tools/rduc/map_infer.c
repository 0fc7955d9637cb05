// SPDX-License-Identifier: MIT
/* Elementwise operators on the graph: shapes and types, and what is done while compiling. */
#include <string.h>
#include "map.h"

/* Before opset 7 an axis said where the second shape lies in the first. */
static int legacy_broadcast(struct graph *g, struct node *n)
{
	struct value *a = n->in[0], *b = n->in[1];
	int64_t axis = attr_i(n, "axis", -1), dim[RDU_MAX_DIMS];

	if (g->opset >= 7 || n->num_in != 2 || axis < 0 || !attr_i(n, "broadcast", 0))
		return 0;
	if (axis + b->ndim > a->ndim)
		return node_error(g, n, "axis is out of range");
	memcpy(dim, b->dim, sizeof(dim));
	for (int i = b->ndim; i < a->ndim - axis; i++)
		dim[i] = 1;
	n->in[1] = graph_reshape(g, n->name, b, (int)(a->ndim - axis), dim);
	return n->in[1] ? 0 : -1;
}

int map_infer(struct graph *g, struct node *n)
{
	enum map_type type = n->op->map->type;
	enum rdu_dtype in = n->in[type == MAP_WHERE ? 1 : 0]->dtype, out = in;
	int64_t dim[RDU_MAX_DIMS] = { 0 };
	int ndim = 0;

	if (legacy_broadcast(g, n))
		return -1;
	for (int k = 0; k < n->num_in; k++) {
		struct value *v = n->in[k];

		if (!v && strcmp(n->op->name, "Clip"))
			return node_error(g, n, "input %d is missing", k);
		if (!v)
			continue;
		if (!broadcast_dims(ndim, dim, v->ndim, v->dim, &ndim, dim))
			return node_error(g, n,
					  "shape %s of '%s' does not broadcast with the others",
					  value_shape_text(g, v), v->name);
		if (type == MAP_WHERE && !k) {
			if (v->dtype != RDU_DT_BOOL)
				return node_error(g, n, "the condition must be bool");
			continue;
		}
		if (dtype_is_int(v->dtype) != dtype_is_int(in) && strcmp(n->op->name, "Pow"))
			return node_error(g, n, "'%s' is %s, another input is %s", v->name,
					  dtype_name(v->dtype), dtype_name(in));
	}
	if (type == MAP_FLOAT && dtype_is_int(in))
		return node_error(g, n, "not supported for %s", dtype_name(in));
	if (type == MAP_BOOL && in != RDU_DT_BOOL)
		return node_error(g, n, "not supported for %s", dtype_name(in));
	if (type == MAP_COMPARE)
		out = RDU_DT_BOOL;
	if (type == MAP_CAST) {
		out = (enum rdu_dtype)attr_i(n, "to", 0);
		if ((int)out == 11 || (int)out == 10)
			return node_error(g, n, "casts to float16 and double are not supported");
		if (!dtype_bytes(out))
			return node_error(g, n, "casts to type %d are not supported", (int)out);
	}
	return node_shape(g, n, 0, out, ndim, dim);
}

/* Integer division exists while compiling only (shape arithmetic): it truncates. */
int map_fold_div(struct graph *g, struct node *n)
{
	struct value *a = n->in[0], *b = n->in[1], *y = n->out[0];
	int64_t na, nb;

	if (!dtype_is_int(a->dtype))
		return 0;
	if (!a->constant || !b->constant || !a->data || !b->data || a->dtype != b->dtype)
		return node_error(g, n, "integer division is supported for constants only");
	na = value_count(a);
	nb = value_count(b);
	if (na != value_count(y) || (nb != na && nb != 1))
		return node_error(g, n, "integer division with broadcasting is not supported");
	y->data = graph_alloc(g, (na ? na : 1) * dtype_bytes(y->dtype));
	for (int64_t i = 0; i < na; i++) {
		int64_t p = value_int(a, i), q = value_int(b, nb == 1 ? 0 : i), r;

		if (!q)
			return node_error(g, n, "division by zero");
		/* The one quotient that does not fit wraps. */
		r = q == -1 ? (int64_t)(0 - (uint64_t)p) : p / q;
		memcpy((char *)y->data + i * dtype_bytes(y->dtype), &r, dtype_bytes(y->dtype));
	}
	return 1;
}

int map_expand_cast_like(struct graph *g, struct node *n)
{
	struct node *m = node_new(g, "Cast", n->name);
	struct value *v;

	node_input(g, m, n->in[0]);
	node_attr_i(g, m, "to", n->in[1]->dtype);
	v = graph_finish(g, m);
	if (!v)
		return -1;
	graph_replace(n, 0, v);
	return 0;
}
