/* SPDX-License-Identifier: MIT */
/* The driver's back end: what it keeps, and how it finds cards (drm_find.c). */
#ifndef RDU_LIB_DRM_CARD_H
#define RDU_LIB_DRM_CARD_H

#include "backend.h"
#include <drm/rdu_accel.h>

struct drm_device {
	int fd;
	char node[64];
	char pci[32];
	char driver[64];
	bool epochs; /* its driver knows a run's epoch */
	struct drm_rdu_query_info info;
};

struct drm_context {
	uint32_t vm, id, timeline;
	uint32_t depth;     /* jobs in one SUBMIT at most */
	uint64_t submitted; /* SUBMITs so far: the driver counts the same */
	uint64_t passed;    /* of these, known to be over */
	uint64_t done;      /* known to be done, and well */
};

/* Opens the node that `where` means: d->fd and d->node. Notes failures on dev. */
int lr_drm_find(struct rdu_device *dev, const char *where, struct drm_device *d);

#endif
