// SPDX-License-Identifier: GPL-2.0-only
/*
 * Accounts: how much of the card a user may have. What a file makes is charged
 * to the user who opened it, whoever uses the file or a dma-buf later, until it
 * is gone.
 */
#include <linux/capability.h>
#include <linux/device.h>
#include <linux/kstrtox.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "rdu_device.h"
#include "rdu_prog.h"
#include "rdu_user.h"

/*
 * How much of what there is one user may have, in per cent: attributes of the
 * device, below user_limits/, from the binding on.
 */
static const u32 rdu_usual_percent[RDU_NUM_LIMITS] = {
	[RDU_LIMIT_TILES] = 100,
	[RDU_LIMIT_CONTEXTS] = 50,
	[RDU_LIMIT_PROGRAMS] = 50,
	[RDU_LIMIT_MEMORY] = 90,
	[RDU_LIMIT_SYSTEM] = 50,
};

void rdu_limits_init(struct rdu_device *rdev)
{
	memcpy(rdev->user_percent, rdu_usual_percent, sizeof(rdev->user_percent));
}

static ssize_t rdu_limit_show(struct device *dev, struct device_attribute *attr, char *text)
{
	enum rdu_limit limit = (uintptr_t)container_of(attr, struct dev_ext_attribute, attr)->var;
	struct rdu_device *rdev = dev_get_drvdata(dev);

	return sysfs_emit(text, "%u\n", READ_ONCE(rdev->user_percent[limit]));
}

static ssize_t rdu_limit_store(struct device *dev, struct device_attribute *attr,
			       const char *text, size_t size)
{
	enum rdu_limit limit = (uintptr_t)container_of(attr, struct dev_ext_attribute, attr)->var;
	struct rdu_device *rdev = dev_get_drvdata(dev);
	u32 percent;
	int ret;

	ret = kstrtou32(text, 0, &percent);
	if (ret)
		return ret;
	if (percent > 100)
		return -EINVAL;
	WRITE_ONCE(rdev->user_percent[limit], percent);
	return size;
}

#define RDU_LIMIT_ATTR(name, limit)						\
	static struct dev_ext_attribute rdu_limit_##name = {			\
		__ATTR(name, 0644, rdu_limit_show, rdu_limit_store), (void *)(limit) }

RDU_LIMIT_ATTR(tiles, RDU_LIMIT_TILES);
RDU_LIMIT_ATTR(contexts, RDU_LIMIT_CONTEXTS);
RDU_LIMIT_ATTR(programs, RDU_LIMIT_PROGRAMS);
RDU_LIMIT_ATTR(memory, RDU_LIMIT_MEMORY);
RDU_LIMIT_ATTR(system, RDU_LIMIT_SYSTEM);

static struct attribute *rdu_limit_attrs[] = {
	&rdu_limit_tiles.attr.attr,
	&rdu_limit_contexts.attr.attr,
	&rdu_limit_programs.attr.attr,
	&rdu_limit_memory.attr.attr,
	&rdu_limit_system.attr.attr,
	NULL
};

static const struct attribute_group rdu_limit_group = {
	.name = "user_limits",
	.attrs = rdu_limit_attrs,
};

const struct attribute_group *rdu_limit_groups[] = { &rdu_limit_group, NULL };

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

	return whole[limit] * READ_ONCE(rdev->user_percent[limit]) / 100;
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
