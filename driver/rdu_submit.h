/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RDU_SUBMIT_H
#define RDU_SUBMIT_H

#include <drm/gpu_scheduler.h>

#include "rdu_device.h"

struct rdu_ctx;
struct rdu_fence;
struct rdu_prog;
struct rdu_signal;

/* One SUBMIT: commands ready for the ring, with all that they need held. */
struct rdu_submit {
	struct drm_sched_job base;
	struct rdu_ctx *ctx;
	struct rdu_fence *fence;
	bool awake;			/* keeps the card awake */
	bool inited;			/* base is */
	bool armed;			/* fence is out in the world */
	u64 number;			/* in its context */
	u32 num_cmds;
	u32 num_progs;
	u32 num_signals;
	struct rdu_prog **progs;	/* in the same piece of memory */
	struct rdu_signal *signals;	/* the same; used up when the fence is out */
	struct rdu_cmd cmds[] __counted_by(num_cmds);
};

static inline struct rdu_submit *to_rdu_submit(struct drm_sched_job *job)
{
	return container_of(job, struct rdu_submit, base);
}

/* rdu_submit.c */
void rdu_submit_free(struct rdu_submit *submit);
int rdu_ioctl_submit(struct drm_device *drm, void *data, struct drm_file *file);

#endif
