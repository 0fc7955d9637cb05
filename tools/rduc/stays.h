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

/* Number of the first nest of the group that nest number k is of; k: it is of none. */
int stays_group_start(const struct module_entry *e, int k);
/* The scratchpads that sections of groups use are theirs. */
void stays_add_groups(const struct backend *be, const struct module_entry *e, struct stays *p);

/* What is placed: of all that stays. */
struct placing {
	struct backend *be;
	const struct module_entry *e;
	struct residence **r;
	int num;
};

/* Places all of it anew, the earlier ones first, which wastes nothing. False: there are not enough, and all is where
 * it was. */
bool stays_place_again(const struct placing *p);

#endif
