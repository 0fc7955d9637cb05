/* SPDX-License-Identifier: MIT */
/* What the rules of bounded values (bounded_rules.c, bounded_joins.c) share with what they are rules of (bounded.c). */
#ifndef RDUC_BOUNDED_H
#define RDUC_BOUNDED_H

#include "graph.h"

#define MAX_EXTENTS 64 /* elements of a tensor of sizes */

/* Processes a node that reads bounded values, or extents. 0, or -1. */
typedef int (*bounded_rule)(struct graph *g, struct node *n);
bounded_rule bounded_rule_of(const struct node *n); /* NULL: there is none */

int bounded_give(struct graph *g, struct node *n, int k, struct value *const *size);
/* Processes the node as of tensors of their whole room; then all its outputs have these sizes. */
int bounded_process(struct graph *g, struct node *n, struct value *const *size);
/* Says that v is bounded, and that this is not supported `why`. -1. */
int bounded_refuse(struct graph *g, struct node *n, const struct value *v, const char *why);

/* The elements of a constant of integers, or of what is computed of sizes; NULL: it is neither. */
const struct extent *bounded_extents(struct graph *g, const struct value *v, int *num);
int bounded_set_extents(struct graph *g, struct node *n, struct extent *e, bool pick);
/* What an elementwise operator makes of two; e->size, which one of them has, is to be picked. false: not known. */
bool bounded_combine(const char *op, const struct extent *a, const struct extent *b,
		     struct extent *e);
/* -1 where v is below 0, else 0. */
struct value *bounded_sign(struct graph *g, const char *name, struct value *v);
/* e->size, as one: below 0 it stops the run. */
struct value *bounded_whole(struct graph *g, const char *name, const struct extent *e);
/* The operator of two sizes, or what they count: of the same ones, one value. */
struct value *bounded_op2(struct graph *g, const char *name, const char *op, struct value *a,
			  struct value *b);
struct value *bounded_product(struct graph *g, const char *name, const struct extent *e, int num,
			      int64_t *most);

/* The size that a tensor has; if it is not the one that is said of it, the run stops. */
struct value *bounded_as_said(struct graph *g, const char *name, struct value *size,
			      struct value *said);

bool bounded_any(const struct node *n); /* is an input bounded? */
const struct value *first_bounded(const struct node *n); /* the first one; NULL */

/* Rules: bounded.c, bounded_joins.c. */
int bounded_shape(struct graph *g, struct node *n);
int bounded_size(struct graph *g, struct node *n);
int bounded_split(struct graph *g, struct node *n);
int bounded_batches(struct graph *g, struct node *n);
int bounded_roi_align(struct graph *g, struct node *n);
int bounded_concat(struct graph *g, struct node *n);
int bounded_slice(struct graph *g, struct node *n);
int bounded_reduce(struct graph *g, struct node *n);
int bounded_arg(struct graph *g, struct node *n);
int bounded_softmax(struct graph *g, struct node *n);
int bounded_cumsum(struct graph *g, struct node *n);
int bounded_top_k(struct graph *g, struct node *n);
int bounded_matmul(struct graph *g, struct node *n);
int bounded_gemm(struct graph *g, struct node *n);
int bounded_scatter(struct graph *g, struct node *n);
int bounded_fill_shape(struct graph *g, struct node *n);
int bounded_expand(struct graph *g, struct node *n);
int bounded_tile(struct graph *g, struct node *n);
int bounded_range(struct graph *g, struct node *n);
int bounded_einsum(struct graph *g, struct node *n); /* patterns_einsum.c */
int bounded_resize(struct graph *g, struct node *n); /* patterns_resize.c */

#endif
