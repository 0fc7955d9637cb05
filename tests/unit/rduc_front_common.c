// SPDX-License-Identifier: MIT
/*
 * Common subexpressions: what several nodes compute alike is computed once; nodes that differ in anything stay, and so
 * do results of the model, which have names of their own.
 */
#include <stdio.h>
#include <string.h>
#include "graph.h"

static int num, bad;

static void tap(bool good, const char *what)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++num, what);
	bad += !good;
}

static struct value *input(struct graph *g, const char *name)
{
	struct value *x = graph_value(g, name);

	x->kind = TENSOR_INPUT;
	x->dtype = RDU_DT_F32;
	x->ndim = 2;
	x->dim[0] = 4;
	x->dim[1] = 6;
	return x;
}

/* Its exponent is a constant of its own. */
static struct value *power(struct graph *g, struct value *x, float exponent)
{
	return graph_op2(g, "Pow", graph_format(g, "pow%d", g->num_nodes), x,
			 graph_const_f(g, exponent));
}

static struct value *transposed(struct graph *g, struct value *x, const int64_t *perm)
{
	struct node *n = node_new(g, "Transpose", graph_format(g, "turn%d", g->num_nodes));

	node_input(g, n, x);
	if (perm)
		node_attr_ints(g, n, "perm", 2, perm);
	return graph_finish(g, n);
}

/* a op b is the result; how many nodes are left of those that there are. */
static int left(struct graph *g, struct value *a, struct value *b)
{
	static struct graph_output out = { .name = (char *)"y" };

	out.value = graph_op2(g, "Add", "y", a, b);
	g->outputs = &out;
	g->num_outputs = 1;
	graph_join_common(g);
	return g->num_nodes;
}

int main(void)
{
	const int64_t turn[] = { 1, 0 }, keep[] = { 0, 1 };
	char error[400];
	struct graph *g;
	struct value *x, *a, *b;

#define BEGIN                                \
	g = graph_new(error, sizeof(error)); \
	x = input(g, "x")
	BEGIN;
	a = power(g, x, 2);
	b = power(g, x, 2);
	tap(left(g, a, b) == 2 && g->nodes[1]->in[0] == a && g->nodes[1]->in[1] == a,
	    "equal nodes are one, though their constants are two");
	graph_free(g);

	BEGIN;
	a = graph_op1(g, "Abs", "a", power(g, x, 2));
	b = graph_op1(g, "Abs", "b", power(g, x, 2));
	tap(left(g, a, b) == 3, "and so are those that read them");
	graph_free(g);

	BEGIN;
	tap(left(g, power(g, x, 2), power(g, x, 3)) == 3, "other constants are others");
	graph_free(g);

	BEGIN;
	tap(left(g, power(g, x, 2), power(g, input(g, "z"), 2)) == 3, "so are other inputs");
	graph_free(g);

	BEGIN;
	a = graph_op2(g, "Sub", "a", x, power(g, x, 2));
	b = graph_op2(g, "Sub", "b", power(g, x, 2), x);
	tap(left(g, a, b) == 4, "and the same in another order");
	graph_free(g);

	BEGIN;
	a = transposed(g, transposed(g, x, turn), turn);
	b = transposed(g, transposed(g, x, keep), keep);
	tap(left(g, a, b) == 5, "other attributes are others");
	graph_free(g);

	BEGIN;
	a = transposed(g, transposed(g, x, turn), turn);
	b = transposed(g, transposed(g, x, turn), turn);
	tap(left(g, a, b) == 3, "the same ones are not");
	graph_free(g);

	BEGIN;
	a = graph_op2(g, "Add", "a", x, x);
	tap(left(g, x, x) == 2 && g->outputs[0].value->producer == g->nodes[1] &&
		    g->nodes[0]->out[0] == a,
	    "a result of the model stays what it is");
	graph_free(g);
	printf("1..%d\n", num);
	return bad != 0;
}
