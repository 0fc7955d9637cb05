/* SPDX-License-Identifier: MIT */
/* What the table of elementwise operators (patterns_map.c) says of each, and what of it
 * works on the graph (map_infer.c). */
#ifndef RDUC_MAP_H
#define RDUC_MAP_H

#include "graph.h"

enum map_type {
	MAP_FLOAT, /* fp32 or bf16 in and out */
	MAP_NUMBER, /* also integers */
	MAP_COMPARE, /* numbers in, bool out */
	MAP_BOOL, /* bool in and out */
	MAP_INT, /* integers in and out */
	MAP_CAST,
	MAP_WHERE,
};

struct map_ctx;

struct map {
	enum map_type type;
	int (*expr)(struct map_ctx *c);
	int (*grad)(struct map_ctx *c, int which);
};

int map_infer(struct graph *g, struct node *n);
int map_infer_mod(struct graph *g, struct node *n);
int map_infer_round_quotient(struct graph *g, struct node *n);
int map_fold_div(struct graph *g, struct node *n);
int map_rewrite_shrink(struct graph *g, struct node *n);
int map_rewrite_many(struct graph *g, struct node *n);
int map_rewrite_of_integers(struct graph *g, struct node *n);
int map_expand_cast_like(struct graph *g, struct node *n);

#endif
