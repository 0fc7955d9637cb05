/* SPDX-License-Identifier: MIT */
/* What loops of the graph (loop.c) share with their gradient (loop_gradient.c). */
#ifndef RDUC_LOOP_H
#define RDUC_LOOP_H

#include "graph.h"

struct value **loop_values(struct graph *g, int num);
/* Calls fn for all that a node reads, and all that a loop's body reads and hands on. 0, or -1 as soon as
 * fn returns it. */
int loop_each_read(struct node *n, int (*fn)(void *arg, struct value **v), void *arg);
/* Is v made by a node of the body? */
bool loop_makes(const struct loop *l, const struct value *v);
/* Marks which nodes of the body are needed in this entry point, and of which loops in it what. */
void loop_mark(const struct node *n);
/* The shape of a result: rows of v. */
int loop_result(struct graph *g, struct node *n, int out, const struct value *v, int64_t rows);
int loop_gradient(struct graph *g, struct node *n);

#endif
