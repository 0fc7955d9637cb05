// SPDX-License-Identifier: GPL-2.0-only
/*
 * debugfs: state for people. Nothing here changes anything.
 */
#include <linux/seq_file.h>

#include <drm/drm_debugfs.h>

#include "rdu_ctx.h"
#include "rdu_queue.h"

static int rdu_debugfs_queues(struct seq_file *m, void *unused)
{
	struct drm_debugfs_entry *entry = m->private;
	struct rdu_device *rdev = to_rdu_device(entry->dev);
	struct rdu_ctx *ctx;
	int ret, idx;

	ret = rdu_card_enter(rdev, &idx);
	if (ret)
		return ret;
	seq_puts(m, "queue tiles      status head       state submitted comm\n");
	mutex_lock(&rdev->grant_lock);
	list_for_each_entry(ctx, &rdev->ctxs, dev_link)
		seq_printf(m, "%5u %#010llx %6u %10u %#5x %9llu %s\n", ctx->queue_id,
			   rdu_ctx_tile_mask(ctx),
			   rdu_qread(rdev, ctx->queue_id, RDU_REG_Q_STATUS),
			   rdu_qread(rdev, ctx->queue_id, RDU_REG_Q_HEAD),
			   READ_ONCE(ctx->state), READ_ONCE(ctx->submitted), ctx->comm);
	mutex_unlock(&rdev->grant_lock);
	rdu_card_exit(rdev, idx);
	return 0;
}

static int rdu_debugfs_vram(struct seq_file *m, void *unused)
{
	struct drm_debugfs_entry *entry = m->private;
	struct rdu_device *rdev = to_rdu_device(entry->dev);

	mutex_lock(&rdev->vram.lock);
	seq_printf(m, "size %llu\nfree %llu\n", rdev->vram.size, (u64)rdev->vram.mm.avail);
	mutex_unlock(&rdev->vram.lock);
	return 0;
}

static const struct drm_debugfs_info rdu_debugfs_files[] = {
	{ "queues", rdu_debugfs_queues },
	{ "vram", rdu_debugfs_vram },
};

void rdu_debugfs_init(struct rdu_device *rdev)
{
	drm_debugfs_add_files(&rdev->drm, rdu_debugfs_files, ARRAY_SIZE(rdu_debugfs_files));
}
