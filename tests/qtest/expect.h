/* SPDX-License-Identifier: MIT */
#ifndef EXPECT_H
#define EXPECT_H

#include <stdint.h>
#include <stdio.h>

/* A test says what it expects; the first thing that fails ends it. */

extern char why[256]; /* empty: all as expected */

#define EXPECT(condition)                                                                \
	do {                                                                             \
		if (!(condition)) {                                                      \
			snprintf(why, sizeof(why), "line %d: %s", __LINE__, #condition); \
			return;                                                          \
		}                                                                        \
	} while (0)

#define EXPECT_EQ(a, b)                                                                         \
	do {                                                                                    \
		uint64_t got_ = (a), want_ = (b);                                               \
		if (got_ != want_) {                                                            \
			snprintf(why, sizeof(why), "line %d: %s is %#llx, not %#llx", __LINE__, \
				 #a, (unsigned long long)got_, (unsigned long long)want_);      \
			return;                                                                 \
		}                                                                               \
	} while (0)

struct card;

/* properties.c: what the device is made with, and what it tells QEMU's trace. */
void test_memory_backend(struct card *c);
void test_odd_memory_size(struct card *c);
void test_huge_memory(struct card *c);
void test_bad_properties(struct card *c);
void test_file_kept(struct card *c);
void test_trace_events(struct card *c);

/* unplugged.c and moved.c: each starts machines of its own; the one given is not touched. */
void test_unplugged_by_interrupt(struct card *c);
void test_moved_at_work(struct card *c);
void test_moved_in_d3hot(struct card *c);
void test_moved_dead(struct card *c);
void test_moved_to_another_card(struct card *c);
void test_moved_damaged(struct card *c);

#endif
