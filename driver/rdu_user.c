// SPDX-License-Identifier: GPL-2.0-only
/*
 * Accounts: how much of the card a user may have. What a file makes is charged
 * to the user who opened it, whoever uses the file or a dma-buf later, until it
 * is gone.
 */
#include <linux/capability.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

#include "rdu_device.h"
#include "rdu_prog.h"
#include "rdu_user.h"

/* Per cent of what there is. */
static uint rdu_user_percent[RDU_NUM_LIMITS] = {
	[RDU_LIMIT_TILES] = 100,
	[RDU_LIMIT_CONTEXTS] = 50,
	[RDU_LIMIT_PROGRAMS] = 50,
	[RDU_LIMIT_MEMORY] = 90,
	[RDU_LIMIT_SYSTEM] = 50,
};

module_param_named(user_tiles, rdu_user_percent[RDU_LIMIT_TILES], uint, 0644);
MODULE_PARM_DESC(user_tiles, "Per cent of a card's tiles that one user may have (100)");
module_param_named(user_contexts, rdu_user_percent[RDU_LIMIT_CONTEXTS], uint, 0644);
MODULE_PARM_DESC(user_contexts, "Per cent of a card's contexts that one user may have (50)");
module_param_named(user_programs, rdu_user_percent[RDU_LIMIT_PROGRAMS], uint, 0644);
MODULE_PARM_DESC(user_programs, "Per cent of a card's program slots that one user may have (50)");
module_param_named(user_memory, rdu_user_percent[RDU_LIMIT_MEMORY], uint, 0644);
MODULE_PARM_DESC(user_memory, "Per cent of a card's memory that one user may have (90)");
module_param_named(user_system, rdu_user_percent[RDU_LIMIT_SYSTEM], uint, 0644);
MODULE_PARM_DESC(user_system, "Per cent of the computer's memory in buffers that one user may have (50)");

/* The user's account on this card, made if need be. */
struct rdu_user *rdu_user_get(struct rdu_device *rdev, kuid_t uid)
{
	struct rdu_user *user, *fresh;

	fresh = kzalloc(sizeof(*fresh), GFP_KERNEL_ACCOUNT);
	if (!fresh)
		return NULL;
	fresh->rdev = rdev;
	fresh->uid = uid;
	kref_init(&fresh->ref);
	spin_lock_init(&fresh->lock);

	mutex_lock(&rdev->users_lock);
	list_for_each_entry(user, &rdev->users, link) {
		if (uid_eq(user->uid, uid)) {
			kref_get(&user->ref);
			goto out_unlock;
		}
	}
	user = fresh;
	fresh = NULL;
	list_add_tail(&user->link, &rdev->users);
out_unlock:
	mutex_unlock(&rdev->users_lock);
	kfree(fresh);
	return user;
}

static void rdu_user_release(struct kref *ref)
{
	struct rdu_user *user = container_of(ref, struct rdu_user, ref);
	int i;

	for (i = 0; i < RDU_NUM_LIMITS; i++)
		WARN_ON_ONCE(user->used[i]);
	list_del(&user->link);
	mutex_unlock(&user->rdev->users_lock);
	kfree(user);
}

/* May sleep. */
void rdu_user_put(struct rdu_user *user)
{
	kref_put_mutex(&user->ref, rdu_user_release, &user->rdev->users_lock);
}

/* What a user may have at most, now. */
u64 rdu_user_limit(struct rdu_device *rdev, enum rdu_limit limit)
{
	const u64 whole[RDU_NUM_LIMITS] = {
		[RDU_LIMIT_TILES] = rdev->num_tiles,
		[RDU_LIMIT_CONTEXTS] = rdev->num_queues - 1,
		[RDU_LIMIT_PROGRAMS] = RDU_MAX_SLOTS,
		[RDU_LIMIT_MEMORY] = rdev->vram.size,
		[RDU_LIMIT_SYSTEM] = (u64)totalram_pages() << PAGE_SHIFT,
	};

	return whole[limit] * min(READ_ONCE(rdu_user_percent[limit]), 100u) / 100;
}

/**
 * rdu_charge() - Charge a user for something that is about to be made
 * @charge: to be undone by rdu_uncharge()
 * @user: who opened the file; NULL: nobody
 * @limit: what it is of
 * @amount: how much
 *
 * Return: 0, or -EDQUOT if that is more than the user may have.
 */
int rdu_charge(struct rdu_charge *charge, struct rdu_user *user, enum rdu_limit limit,
	       u64 amount)
{
	bool fits;
	u64 max;

	if (!user)
		return 0;
	max = rdu_user_limit(user->rdev, limit);
	spin_lock(&user->lock);
	fits = user->used[limit] <= max && amount <= max - user->used[limit];
	if (fits)
		user->used[limit] += amount;
	spin_unlock(&user->lock);
	if (!fits) {
		if (!capable(CAP_SYS_RESOURCE)) {
			drm_dbg(&user->rdev->drm, "user %u: limit %u is %llu, asks for %llu more\n",
				__kuid_val(user->uid), limit, max, amount);
			return -EDQUOT;
		}
		spin_lock(&user->lock);
		user->used[limit] += amount;
		spin_unlock(&user->lock);
	}
	kref_get(&user->ref);
	charge->user = user;
	charge->limit = limit;
	charge->amount = amount;
	return 0;
}

/* Does nothing if nothing is charged. May sleep. */
void rdu_uncharge(struct rdu_charge *charge)
{
	struct rdu_user *user = charge->user;

	if (!user)
		return;
	charge->user = NULL;
	spin_lock(&user->lock);
	user->used[charge->limit] -= charge->amount;
	spin_unlock(&user->lock);
	rdu_user_put(user);
}
