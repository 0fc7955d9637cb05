// SPDX-License-Identifier: MIT
/* The table of operators, and making nodes of them. */
#include <stdio.h>
#include <string.h>
#include "graph.h"

static const struct op *const tables[] = {
	ops_map,       ops_matmul, ops_conv,	ops_reduce,	   ops_shape,	  ops_train,
	ops_index,     ops_pool,   ops_part,	ops_resize,	   ops_compose,	  ops_loop,
	ops_recurrent, ops_scan,   ops_scatter, ops_quantize,	   ops_norm,	  ops_attention,
	ops_select,    ops_sample, ops_block,	ops_grid,	   ops_signal,	  ops_optimizer,
	ops_roi,       ops_random, ops_contrib, ops_decoder,	   ops_gradient,  ops_bounded,
	ops_boxes,     ops_unique, ops_linear,	ops_training_mode, ops_estimator, ops_sequence
};

const struct op *op_find_in(const char *domain, const char *name)
{
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (const struct op *op = tables[i]; op->name; op++)
			if (!strcmp(op->name, name) &&
			    !strcmp(op->domain ? op->domain : "", domain))
				return op;
	return NULL;
}

const struct op *op_find(const char *name)
{
	return op_find_in("", name);
}

void op_list(void *file)
{
	FILE *f = file;

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		for (const struct op *op = tables[i]; op->name; op++)
			if (!op->internal)
				fprintf(f, "%s%s%s%s\n", op->domain ? op->domain : "",
					op->domain ? "::" : "", op->name,
					op->gradient || op->expand || op->stop_gradient || op->view
						? ""
						: " (no gradient)");
}

bool broadcast_dims(int na, const int64_t *a, int nb, const int64_t *b, int *nd, int64_t *d)
{
	int n = na > nb ? na : nb;
	int64_t out[RDU_MAX_DIMS];

	for (int i = 0; i < n; i++) {
		int ia = i - (n - na), ib = i - (n - nb);
		int64_t da = ia < 0 ? 1 : a[ia], db = ib < 0 ? 1 : b[ib];

		if (da != db && da != 1 && db != 1)
			return false;
		out[i] = da == 1 ? db : da;
	}
	*nd = n;
	memcpy(d, out, n * sizeof(*d));
	return true;
}

void graph_replace(struct node *n, int out, struct value *by)
{
	if (out < n->num_out && n->out[out])
		n->out[out]->alias = value_resolve(by);
}

/* Elements of 2 to 8 bits that are no int8, uint8 or bool: what converts them and what moves them. */
static int check_small(struct graph *g, const struct node *n, int num, struct value *const *values)
{
	static const char *const takes[] = {
		"Cast",	    "CastLike",	 "QuantizeLinear", "DequantizeLinear",
		"Constant", "Identity",	 "Reshape",	   "Flatten",
		"Squeeze",  "Unsqueeze", "Transpose",	   "Shape",
		"Size"
	};

	for (int i = 0; i < num; i++) {
		if (!values[i] || values[i]->ndim < 0 || !dtype_is_small(values[i]->dtype))
			continue;
		for (size_t k = 0; k < sizeof(takes) / sizeof(takes[0]); k++)
			if (!strcmp(n->op->name, takes[k]))
				return 0;
		return node_error(g, n, "not supported for %s", dtype_name(values[i]->dtype));
	}
	return 0;
}

int graph_process(struct graph *g, struct node *n)
{
	int folded;

	for (int i = 0; i < n->num_in; i++) {
		n->in[i] = value_resolve(n->in[i]);
		if (n->in[i] && n->in[i]->sequence && n->op->sequences)
			continue;
		if (n->in[i] && n->in[i]->sequence)
			return node_error(g, n, "'%s' is a sequence: not supported here",
					  n->in[i]->name);
		if (n->in[i] && n->in[i]->ndim < 0)
			return node_error(g, n, "the shape of '%s' is not known", n->in[i]->name);
	}
	if (check_small(g, n, n->num_in, n->in))
		return -1;
	folded = n->op->rewrite ? n->op->rewrite(g, n) : 0;
	if (folded)
		return folded < 0 ? -1 : 0;
	if (n->op->infer && n->op->infer(g, n))
		return -1;
	if (check_small(g, n, n->num_out, n->out))
		return -1;
	for (int i = 0; i < n->num_out; i++)
		if (n->out[i] && n->out[i]->ndim < 0 && !n->op->expand && !n->out[i]->alias)
			return node_error(g, n, "output %d is not supported", i);
	folded = graph_fold(g, n);
	if (folded)
		return folded < 0 ? -1 : 0;
	if (n->op->expand) {
		if (n->op->expand(g, n))
			return -1;
		for (int i = 0; i < n->num_out; i++)
			if (n->out[i] && !n->out[i]->alias && !n->out[i]->producer->live)
				return node_error(g, n, "output %d is not supported", i);
		return 0;
	}
	graph_append(g, n);
	return 0;
}

struct value *graph_finish(struct graph *g, struct node *n)
{
	if (!n->num_out) {
		n->num_out = 1;
		n->out = graph_alloc(g, sizeof(*n->out));
		n->out[0] = graph_value(g, graph_format(g, "%.200s_%d", n->name, g->counter++));
		n->out[0]->producer = n;
	}
	return graph_process(g, n) ? NULL : value_resolve(n->out[0]);
}

struct value *graph_op1(struct graph *g, const char *op, const char *name, struct value *a)
{
	return graph_op3(g, op, name, a, NULL, NULL);
}

struct value *graph_op2(struct graph *g, const char *op, const char *name, struct value *a,
			struct value *b)
{
	return b ? graph_op3(g, op, name, a, b, NULL) : NULL;
}

struct value *graph_op3(struct graph *g, const char *op, const char *name, struct value *a,
			struct value *b, struct value *c)
{
	struct node *n = node_new(g, op, name);

	if (!a)
		return NULL;
	node_input(g, n, a);
	if (b)
		node_input(g, n, b);
	if (c)
		node_input(g, n, c);
	return graph_finish(g, n);
}

struct value *graph_reshape(struct graph *g, const char *name, struct value *v, int ndim,
			    const int64_t *dim)
{
	struct node *n;
	int64_t count = ndim;
	bool empty = false;

	if (!v)
		return NULL;
	if (v->ndim == ndim && (!ndim || !memcmp(v->dim, dim, ndim * sizeof(*dim))))
		return v;
	n = node_new(g, "Reshape", name);
	node_input(g, n, v);
	node_input(g, n, graph_const(g, RDU_DT_I64, 1, &count, dim));
	for (int i = 0; i < ndim; i++)
		empty |= !dim[i];
	if (empty) /* and not the input's dimension */
		node_attr_i(g, n, "allowzero", 1);
	return graph_finish(g, n);
}

struct value *graph_cast(struct graph *g, const char *name, struct value *v, enum rdu_dtype to)
{
	struct node *n = node_new(g, "Cast", name);

	if (!v || v->dtype == to)
		return v;
	node_input(g, n, v);
	node_attr_i(g, n, "to", to);
	return graph_finish(g, n);
}

int graph_replace_first(struct node *n, struct value *v)
{
	if (!v)
		return -1;
	graph_replace(n, 0, v);
	return 0;
}

int node_axis(struct graph *g, struct node *n, int64_t *axis, int ndim)
{
	if (*axis < 0)
		*axis += ndim;
	if (*axis < 0 || *axis >= ndim)
		return node_error(g, n, "axis is out of range");
	return 0;
}
