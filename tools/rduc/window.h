/* SPDX-License-Identifier: MIT */
/* Windows over spatial dimensions: what convolution and pooling share. */
#ifndef RDUC_WINDOW_H
#define RDUC_WINDOW_H

#include "graph.h"

#define MAX_SPACE 3

struct window {
	int space; /* spatial dimensions */
	int64_t in[MAX_SPACE], out[MAX_SPACE], kernel[MAX_SPACE], stride[MAX_SPACE];
	int64_t pad[MAX_SPACE], pad_end[MAX_SPACE], dilation[MAX_SPACE];
	int64_t group;
	bool ceil, transposed;
};

/* An axis of a gradient to a window operator's input: the positions with one
 * remainder of the stride. */
struct phase {
	int64_t r; /* input position s q + r */
	int64_t num_r; /* so many remainders from r on, each with kernel positions one further */
	int64_t num_q;
	int64_t k0, step, num_k; /* kernel positions k0 + step j, j < num_k */
	int64_t y0, back; /* output position q + y0 - back j */
};

/* "z", "y", "x" and "kz", "ky", "kx" */
const char *space_name(const struct window *w, int i);
const char *kernel_name(const struct window *w, int i);
/* What the attributes and the input's shape say; kernel: from the weights, or NULL. */
int window_get(struct graph *g, struct node *n, const struct value *x, const int64_t *kernel,
	       struct window *w);
/* Calls one() for every phase of every axis that is not empty. big: extents of the
 * side that is strided over. */
int each_phase(struct lower *l, struct node *n, const struct window *w, const int64_t *big,
	       int (*one)(struct lower *l, struct node *n, const struct window *w,
			  const struct phase *p, void *opaque),
	       void *opaque);
/* AveragePool's count_include_pad: a window has all its elements, wherever it lies. LpPool's sums have it. */
#define POOL_WHOLE 2
/* An internal node that takes its window from n. */
struct node *same_window(struct graph *g, struct node *n, const char *op, const char *what);
/* n->out[0] has the shape of the attribute "shape". */
int shape_attr_infer(struct graph *g, struct node *n);

#endif
