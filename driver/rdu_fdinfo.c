// SPDX-License-Identifier: GPL-2.0-only
/*
 * fdinfo: usage of the card by one open file, with the keys that
 * drm-usage-stats asks for.
 */
#include <linux/math64.h>

#include <drm/drm_drv.h>
#include <drm/drm_gem.h>

#include "rdu_ctx.h"
#include "rdu_gem.h"

static void rdu_fdinfo_busy(struct rdu_file *rfile, struct rdu_busy *sum)
{
	struct rdu_busy busy;
	unsigned long index;
	struct rdu_ctx *ctx;
	int idx;

	spin_lock(&rfile->busy_lock);
	*sum = rfile->past;
	spin_unlock(&rfile->busy_lock);

	if (!drm_dev_enter(&rfile->rdev->drm, &idx))
		return;
	xa_for_each(&rfile->ctxs, index, ctx) {
		ctx = rdu_ctx_lookup(rfile, index);
		if (!ctx)
			continue;
		rdu_ctx_busy(ctx, &busy);
		rdu_busy_add(sum, &busy);
		rdu_ctx_put(ctx);
	}
	drm_dev_exit(idx);
}

static void rdu_fdinfo_engine(struct drm_printer *p, const char *name, u64 cycles, u32 khz)
{
	drm_printf(p, "drm-engine-%s:\t%llu ns\n", name,
		   khz ? mul_u64_u64_div_u64(cycles, USEC_PER_SEC, khz) : 0);
}

static void rdu_fdinfo_memory(struct drm_printer *p, struct drm_file *file)
{
	u64 total[2] = {}, shared[2] = {};
	static const char * const region[2] = { "vram", "system" };
	struct drm_gem_object *obj;
	int id, i;

	spin_lock(&file->table_lock);
	idr_for_each_entry(&file->object_idr, obj, id) {
		i = rdu_bo_is_host(to_rdu_bo(obj)) ? 1 : 0;
		total[i] += obj->size;
		if (obj->handle_count > 1 || obj->dma_buf)
			shared[i] += obj->size;
	}
	spin_unlock(&file->table_lock);

	/* Buffers never move: what is allocated is resident. */
	for (i = 0; i < 2; i++) {
		drm_printf(p, "drm-total-%s:\t%llu KiB\n", region[i], total[i] >> 10);
		drm_printf(p, "drm-shared-%s:\t%llu KiB\n", region[i], shared[i] >> 10);
		drm_printf(p, "drm-resident-%s:\t%llu KiB\n", region[i], total[i] >> 10);
	}
}

void rdu_show_fdinfo(struct drm_printer *p, struct drm_file *file)
{
	struct rdu_file *rfile = file->driver_priv;
	u32 khz = rfile->rdev->chip.clock_khz;
	struct rdu_busy busy;

	rdu_fdinfo_busy(rfile, &busy);
	rdu_fdinfo_engine(p, "exec", busy.exec, khz);
	rdu_fdinfo_engine(p, "pload", busy.pload, khz);
	rdu_fdinfo_engine(p, "aload", busy.aload, khz);
	rdu_fdinfo_engine(p, "copy", busy.copy, khz);
	rdu_fdinfo_memory(p, file);
}
