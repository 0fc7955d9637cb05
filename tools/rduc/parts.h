/* SPDX-License-Identifier: MIT */
/* Into which parts what is resident is cut. */
#ifndef RDUC_PARTS_H
#define RDUC_PARTS_H

#include "backend.h"

#define WANTED_PARTS \
	16 /* as many units write and read a tensor at a time; with several tiles, of each as many */
#define MOST_PARTS 32 /* where the vectors of a batch have parts of their own */
#define CARRIED_PARTS 8 /* of what a loop carries: their scratchpads are no other's in all of it */

/* Dimensions of a tensor: the outermost; the outermost below `step` words. -1: there is none. */
int parts_outermost(const struct tensor *t);
int parts_next_axis(const struct tensor *t, int64_t step);
/* The dimension along which the vectors of a batch lie (batch.c), if it is outermost but for `axis`: what is cut
 * along that can be cut along this one as well. -1: there is none. */
int parts_vectors_dim(const struct backend *be, const struct tensor *t, int axis);
void parts_make_outermost(struct tensor *t, int axis);
/* Cuts a tensor along an axis, which is its outermost or becomes it, into so many parts; where that has
 * too few positions, along the next ones as well. False: it cannot be. What is copied are weights, mostly, whose
 * outermost dimension is that of an array's lanes or columns: best of whole vectors of positions. */
bool parts_cut(struct backend *be, const struct tensor *t, int axis, int parts);
/* How many parts what a loop carries is cut into. */
int parts_carried(int64_t words);
/* Cuts each of a tensor's parts once more: along the vectors of its batch, or, where it holds several positions
 * along the axis, into as many. False: it cannot be. */
bool parts_cut_vectors(const struct backend *be, const struct tensor *t, int axis,
		       struct residence *r);
/* Cuts each of a tensor's parts into so many that are alike, of whole vectors of positions along the axis. False: it
 * cannot be. */
bool parts_cut_finer(const struct backend *be, const struct tensor *t, struct residence *r,
		     int times);

#endif
