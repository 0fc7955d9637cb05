/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RDU_USER_H
#define RDU_USER_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/uidgid_types.h>

struct rdu_device;

enum rdu_limit {
	RDU_LIMIT_TILES,
	RDU_LIMIT_CONTEXTS,
	RDU_LIMIT_PROGRAMS,
	RDU_LIMIT_MEMORY,	/* bytes of card memory, page tables included */
	RDU_LIMIT_SYSTEM,	/* bytes of the computer's memory */
	RDU_NUM_LIMITS,
};

/* What one user has of a card, by all files that he opened. */
struct rdu_user {
	struct rdu_device *rdev;
	struct kref ref;	/* open files, charges */
	struct list_head link;	/* rdu_device.users */
	kuid_t uid;
	spinlock_t lock;	/* Protects: used */
	u64 used[RDU_NUM_LIMITS];
};

/* A part of that: all zeros when nothing is charged. */
struct rdu_charge {
	struct rdu_user *user;
	enum rdu_limit limit;
	u64 amount;
};

/* Of the device, from its binding on. */
extern const struct attribute_group *rdu_limit_groups[];
void rdu_limits_init(struct rdu_device *rdev);
struct rdu_user *rdu_user_get(struct rdu_device *rdev, kuid_t uid);
void rdu_user_put(struct rdu_user *user);
u64 rdu_user_limit(struct rdu_device *rdev, enum rdu_limit limit);
int rdu_charge(struct rdu_charge *charge, struct rdu_user *user, enum rdu_limit limit,
	       u64 amount);
void rdu_uncharge(struct rdu_charge *charge);

#endif
