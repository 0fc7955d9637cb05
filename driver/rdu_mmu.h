/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RDU_MMU_H
#define RDU_MMU_H

#include <linux/list.h>

#include "rdu_device.h"

struct rdu_bo;
struct rdu_pt;

/*
 * Page tables of one address space. Its VM's lock orders changes; the lock here
 * is for rdu_mmu_forget(), which comes from elsewhere.
 */
struct rdu_mmu {
	struct rdu_device *rdev;
	struct rdu_user *user;	/* charged for the tables; the root's charge holds it */
	struct mutex lock;	/* Protects: entries of live tables */
	struct list_head link;	/* rdu_device.mmus */
	bool hit;		/* lost something to rdu_mmu_forget(), under mmus_lock */
	struct rdu_pt *root;
	struct list_head dead;	/* tables out of use, to be freed by rdu_mmu_reap() */
	u32 num_dead;
};

int rdu_mmu_init(struct rdu_mmu *mmu, struct rdu_device *rdev, struct rdu_user *user);
void rdu_mmu_fini(struct rdu_mmu *mmu);
u64 rdu_mmu_root(const struct rdu_mmu *mmu);
static inline u32 rdu_mmu_num_dead(const struct rdu_mmu *mmu)
{
	return mmu->num_dead;
}

int rdu_mmu_prepare_map(struct rdu_mmu *mmu, u64 va, u64 size, const struct rdu_bo *bo,
			u64 offset);
int rdu_mmu_prepare_unmap(struct rdu_mmu *mmu, u64 va, u64 size);
void rdu_mmu_map(struct rdu_mmu *mmu, u64 va, u64 size, const struct rdu_bo *bo,
		 u64 offset, bool write);
void rdu_mmu_unmap(struct rdu_mmu *mmu, u64 va, u64 size);
void rdu_mmu_prune(struct rdu_mmu *mmu, u64 va, u64 size);
bool rdu_mmu_forget(struct rdu_mmu *mmu, const struct rdu_bo *bo);
void rdu_mmu_reap(struct rdu_mmu *mmu);

#endif
