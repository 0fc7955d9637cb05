/* SPDX-License-Identifier: MIT */
/*
 * The two ways to a card: the driver's device node (drm.c), or the card model in
 * this process (model.c). Both are given the same commands.
 */
#ifndef RDU_BACKEND_H
#define RDU_BACKEND_H

#include "internal.h"

struct rdu_backend {
	const char *name;
	/* Fills in dev->priv, chip and chip_hash. Notes its failures on dev. */
	int (*open)(struct rdu_device *dev, const char *where);
	void (*close)(struct rdu_device *dev);
	/* In place of close, context_free, buffer_free in a process that did not make the
	 * object: frees this process's memory, and touches neither card nor kernel objects,
	 * which are still the other's. No lock is to be taken: who held it is not here. */
	void (*device_forget)(struct rdu_device *dev);
	void (*context_forget)(struct rdu_context *ctx);
	void (*buffer_forget)(struct rdu_buffer *buf);
	int (*info)(struct rdu_device *dev, struct rdu_device_info *info);
	/* Tiles of the chip, at most `count` written. */
	int (*usage)(struct rdu_device *dev, struct rdu_tile_usage *usage, unsigned int count);
	int (*reset)(struct rdu_device *dev);
	int (*fd)(struct rdu_device *dev); /* NULL: there is none */

	/* ctx->tiles tiles, an address space (ctx->va is set up here) and a queue.
	 * Notes its failures on ctx. Also called to take apart half a context. */
	int (*context_new)(struct rdu_context *ctx);
	void (*context_free)(struct rdu_context *ctx);
	/* 1: *fault says why the context is dead, 0: it is well, or was lost without a
	 * fault of its own; -EIO: the card was cut off; or another -errno. */
	int (*fault)(struct rdu_context *ctx, struct rdu_fault_info *fault);

	/* Memory for buf->room bytes at device address buf->address, zeroed. */
	int (*buffer_new)(struct rdu_buffer *buf);
	void (*buffer_free)(struct rdu_buffer *buf);
	/* Sets buf->map. */
	int (*buffer_map)(struct rdu_buffer *buf);

	/* Validates the image on the card and keeps it. */
	int (*program_load)(struct rdu_program *prog);
	void (*program_unload)(struct rdu_program *prog);

	/* Queues commands (RUN: `slot` is ignored, prog is what runs) in order;
	 * the token goes up with each call. Waits while the queue is full. Called
	 * with the context's lock held. */
	int (*submit)(struct rdu_context *ctx, struct rdu_program *prog, struct rdu_cmd *cmds,
		      unsigned int count, uint64_t *token);
	/* Until all up to token is done: 0, -ETIME (time ran out), or -EIO when the
	 * context died before it was. No lock held. timeout_ms < 0: no limit. */
	int (*wait)(struct rdu_context *ctx, uint64_t token, int64_t timeout_ms);
};

/* What to do about a card that the driver has given up. */
#define LR_CUT_OFF "the card was cut off, since it did not answer; `rdu reset` brings it back"

extern const struct rdu_backend lr_backend_drm, lr_backend_model;

/* Says in words why a program image was refused. */
int lr_fail_refused(struct rdu_program *prog, uint32_t error, uint32_t section, uint64_t offset);

#endif
