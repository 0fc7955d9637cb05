/* SPDX-License-Identifier: MIT */
/* When scratchpads are taken, from which nest to which. */
#ifndef RDUC_STAYS_H
#define RDUC_STAYS_H

#include "backend.h"

#define SMALL_TENSOR 16384 /* words, which memory takes a few hundred cycles for */

struct stays {
	const struct backend *be;
	int num, step; /* every step-th is the next: all over the chip */
	struct stay {
		int first, last;
		int latest; /* the greatest last up to here */
		int tensor; /* id of its storage; -1: all of the scratchpad is taken */
		int64_t base, words;
	} * *stay; /* in the order of their firsts */
	int *num_stays, *room;
	struct words {
		int64_t from, to;
	} * *ever; /* where something is at any time, in their order, apart from each other */
	int *num_ever, *room_ever;
	struct users { /* of a storage, by its id: where nests stand, in their order */
		int num, room, *nest;
		int gap; /* nests between these and those of the tensor that was looked for last, */
		int gap_of; /* if this is its number */
	} * users;
	int found; /* number of that tensor */
	bool share; /* several tensors may be in a scratchpad at a time */
};

/* Of an entry's nests; nothing is taken. */
void stays_init(const struct backend *be, const struct module_entry *e, bool share,
		struct stays *p);
void stays_end(struct stays *p);
/* The PMU, counted over all tiles, with number i in the order in which they are taken. */
int stays_pmu(const struct stays *p, int i);
/* All of number i is taken. */
void stays_add(struct stays *p, int i, int first, int last);
/* Scratchpads for the parts of a tensor, of those from number `from` to `to`, and places in them: where no other
 * tensor is at the time that one of its nests uses as well, and best none that is used by nests nearby, as these
 * may become one section. False: there are not as many. */
bool stays_find(struct stays *p, struct residence *r, int from, int to);
/* Do two tensors of the entry lie in the same place at a time? */
bool stays_clash(const struct backend *be, const struct module_entry *e);

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

/* Places all of it anew, the earlier ones first, which wastes nothing, in the first `most` scratchpads, of which none
 * is taken so far. False: there are not enough, and all is where it was. */
bool stays_place_again(const struct placing *p, struct stays *pmus, int most);

#endif
