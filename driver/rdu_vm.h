/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RDU_VM_H
#define RDU_VM_H

#include <linux/kref.h>
#include <linux/mutex.h>

#include <drm/drm_gpuvm.h>

#include "rdu_mmu.h"

struct rdu_vm {
	struct drm_gpuvm base;
	struct rdu_device *rdev;
	struct kref ref;	/* handle, contexts, ioctls under way */
	struct mutex lock;	/* Protects: base's tree, mmu, ctxs, mapped */
	struct rdu_mmu mmu;
	struct list_head ctxs;	/* rdu_ctx.vm_link: who must be flushed */
	u64 mapped[2];		/* bytes of card memory, of host memory */
};

/* May sleep. */
void rdu_vm_put(struct rdu_vm *vm);
struct rdu_vm *rdu_vm_lookup(struct rdu_file *rfile, u32 id);

int rdu_ioctl_vm_create(struct drm_device *drm, void *data, struct drm_file *file);
int rdu_ioctl_vm_destroy(struct drm_device *drm, void *data, struct drm_file *file);
int rdu_ioctl_vm_bind(struct drm_device *drm, void *data, struct drm_file *file);

#endif
