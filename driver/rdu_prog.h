/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RDU_PROG_H
#define RDU_PROG_H

#include <linux/kref.h>
#include <linux/workqueue.h>

#include "rdu_device.h"

/* A program image that the card has accepted, in a slot of the card. */
struct rdu_prog {
	struct rdu_device *rdev;
	struct kref ref;		/* handle, jobs, ioctls under way */
	struct work_struct release_work;
	struct list_head link;		/* rdu_device.progs; empty: the card hasn't got it */
	int slot;
	struct rdu_charge slot_charge;
	struct rdu_charge memory_charge;
	u64 size;
	u32 num_tiles;
	u32 num_entries;
	struct rdu_vram_piece vram;	/* the image */
};

struct rdu_prog *rdu_prog_lookup(struct rdu_file *rfile, u32 id);
int rdu_prog_reload_all(struct rdu_device *rdev);
void rdu_prog_put(struct rdu_prog *prog);

int rdu_ioctl_prog_load(struct drm_device *drm, void *data, struct drm_file *file);
int rdu_ioctl_prog_unload(struct drm_device *drm, void *data, struct drm_file *file);

#endif
