/* SPDX-License-Identifier: MIT */
/* What the rules of bounded values (bounded_rules.c) share with what they are rules of (bounded.c). */
#ifndef RDUC_BOUNDED_H
#define RDUC_BOUNDED_H

#include "graph.h"

#define MAX_EXTENTS 64 /* elements of a tensor of sizes */

/* Processes a node that reads bounded values, or extents. 0, or -1. */
typedef int (*bounded_rule)(struct graph *g, struct node *n);
bounded_rule bounded_rule_of(const struct node *n); /* NULL: there is none */

int bounded_give(struct graph *g, struct node *n, int k, struct value *const *size);
/* Says that v is bounded, and that this is not supported `why`. -1. */
int bounded_refuse(struct graph *g, struct node *n, const struct value *v, const char *why);

/* The elements of a constant of integers, or of what is computed of sizes; NULL: it is neither. */
const struct extent *bounded_extents(struct graph *g, const struct value *v, int *num);
int bounded_set_extents(struct graph *g, struct node *n, struct extent *e, bool pick);
struct value *bounded_product(struct graph *g, const char *name, const struct extent *e, int num,
			      int64_t *most);

int bounded_shape(struct graph *g, struct node *n);
int bounded_size(struct graph *g, struct node *n);

#endif
