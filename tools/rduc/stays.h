/* SPDX-License-Identifier: MIT */
/* When scratchpads are taken, from which nest to which. */
#ifndef RDUC_STAYS_H
#define RDUC_STAYS_H

#include "backend.h"

#define SMALL_TENSOR 16384 /* words, which memory takes a few hundred cycles for */

struct stays {
	int num, step; /* every step-th is the next: all over the chip */
	struct stay {
		int first, last;
	} * *stay;
	int *num_stays, *room;
};

void stays_init(const struct backend *be, struct stays *p);
void stays_end(struct stays *p);
/* The PMU, counted over all tiles, with number i in the order in which they are taken. */
int stays_pmu(const struct stays *p, int i);
/* Number i is taken. */
void stays_add(struct stays *p, int i, int first, int last);
/* Scratchpads for the parts of a tensor, of those from number `from` to `to`, which no other has at
 * the time: those that have long been free, as nests that follow each other may become one
 * section. False: there are not as many. */
bool stays_find(struct stays *p, struct residence *r, int from, int to);

#endif
