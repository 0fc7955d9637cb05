// SPDX-License-Identifier: GPL-2.0-only
/*
 * fdinfo: usage of the card by one open file, with the keys that
 * drm-usage-stats asks for. An engine is what tiles do (exec, pload, aload,
 * copy), its capacity their number, its time the card's own: counted in cycles
 * of its clock, which has one frequency. What an engine has said it never takes
 * back.
 */
#include <linux/math64.h>

#include <drm/drm_drv.h>
#include <drm/drm_gem.h>

#include "rdu_ctx.h"
#include "rdu_gem.h"
#include "rdu_prog.h"
#include "rdu_vm.h"

enum { RDU_VRAM, RDU_SYSTEM, RDU_NUM_REGIONS };

struct rdu_usage {
	struct rdu_busy busy;		/* tiles' cycles */
	u64 active[RDU_NUM_REGIONS];	/* bytes that jobs in flight can reach */
	struct rdu_vm *vms[RDU_MAX_QUEUES]; /* that were counted, to compare with */
	u32 num_vms;
};

/* What is mapped where there is work to do, each address space once. */
static void rdu_usage_add_vm(struct rdu_usage *usage, struct rdu_vm *vm)
{
	u32 i;

	for (i = 0; i < usage->num_vms; i++)
		if (usage->vms[i] == vm)
			return;
	if (usage->num_vms == ARRAY_SIZE(usage->vms))
		return;
	usage->vms[usage->num_vms++] = vm;
	for (i = 0; i < RDU_NUM_REGIONS; i++)
		usage->active[i] += READ_ONCE(vm->mapped[i]);
}

static void rdu_usage_add_ctx(struct rdu_usage *usage, struct rdu_ctx *ctx)
{
	struct rdu_busy busy;

	rdu_ctx_busy(ctx, &busy);
	rdu_busy_add_tiles(&usage->busy, &busy, ctx);
	if (!READ_ONCE(ctx->dead) && rdu_ctx_completed(ctx) != READ_ONCE(ctx->submitted))
		rdu_usage_add_vm(usage, ctx->vm);
}

/* A context on its way from the file to its past is in neither for a moment. */
static void rdu_busy_max(struct rdu_busy *told, const struct rdu_busy *now)
{
	told->exec = max(told->exec, now->exec);
	told->pload = max(told->pload, now->pload);
	told->aload = max(told->aload, now->aload);
	told->copy = max(told->copy, now->copy);
}

static void rdu_usage_collect(struct rdu_usage *usage, struct rdu_file *rfile)
{
	unsigned long index;
	struct rdu_ctx *ctx;

	spin_lock(&rfile->busy_lock);
	usage->busy = rfile->past;
	spin_unlock(&rfile->busy_lock);

	xa_for_each(&rfile->ctxs, index, ctx) {
		ctx = rdu_ctx_lookup(rfile, index);
		if (!ctx)
			continue;
		rdu_usage_add_ctx(usage, ctx);
		rdu_ctx_put(ctx);
	}

	spin_lock(&rfile->busy_lock);
	rdu_busy_max(&rfile->told, &usage->busy);
	usage->busy = rfile->told;
	spin_unlock(&rfile->busy_lock);
}

static void rdu_fdinfo_engine(struct drm_printer *p, struct rdu_device *rdev, const char *name,
			      u64 cycles)
{
	u64 hz = max(rdev->chip.clock_khz, 1u) * 1000ull, rest;
	u64 seconds = div64_u64_rem(cycles, hz, &rest);

	/* In two parts, as no number of cycles may overflow the division. */
	drm_printf(p, "drm-engine-%s:\t%llu ns\n", name,
		   seconds * NSEC_PER_SEC + div64_u64(rest * USEC_PER_SEC, hz / 1000));
	drm_printf(p, "drm-engine-capacity-%s:\t%u\n", name, rdev->num_tiles);
	drm_printf(p, "drm-cycles-%s:\t%llu\n", name, cycles);
	drm_printf(p, "drm-maxfreq-%s:\t%u KHz\n", name, rdev->chip.clock_khz);
}

/* Programs lie in card memory as buffers do, but have no handle. */
static u64 rdu_fdinfo_programs(struct rdu_file *rfile)
{
	struct rdu_prog *prog;
	unsigned long id;
	u64 size = 0;

	xa_lock(&rfile->progs);
	xa_for_each(&rfile->progs, id, prog)
		size += ALIGN(prog->size, RDU_PAGE_SIZE);
	xa_unlock(&rfile->progs);
	return size;
}

static void rdu_fdinfo_memory(struct drm_printer *p, struct drm_file *file, const u64 *active)
{
	static const char * const region[RDU_NUM_REGIONS] = { "vram", "system" };
	u64 total[RDU_NUM_REGIONS] = {}, shared[RDU_NUM_REGIONS] = {};
	struct drm_gem_object *obj;
	int id, i;

	spin_lock(&file->table_lock);
	idr_for_each_entry(&file->object_idr, obj, id) {
		i = rdu_bo_is_host(to_rdu_bo(obj)) ? RDU_SYSTEM : RDU_VRAM;
		total[i] += obj->size;
		if (drm_gem_object_is_shared_for_memory_stats(obj))
			shared[i] += obj->size;
	}
	spin_unlock(&file->table_lock);
	total[RDU_VRAM] += rdu_fdinfo_programs(file->driver_priv);

	/* Buffers never move, nor go: what is allocated is resident, not purgeable. */
	for (i = 0; i < RDU_NUM_REGIONS; i++) {
		drm_printf(p, "drm-total-%s:\t%llu KiB\n", region[i], total[i] >> 10);
		drm_printf(p, "drm-shared-%s:\t%llu KiB\n", region[i], shared[i] >> 10);
		drm_printf(p, "drm-active-%s:\t%llu KiB\n", region[i],
			   min(active[i], total[i]) >> 10);
		drm_printf(p, "drm-resident-%s:\t%llu KiB\n", region[i], total[i] >> 10);
	}
}

/* The caller, drm_show_fdinfo(), is in drm_dev_enter(). */
void rdu_show_fdinfo(struct drm_printer *p, struct drm_file *file)
{
	struct rdu_file *rfile = file->driver_priv;
	struct rdu_device *rdev = rfile->rdev;
	struct rdu_usage usage = {};

	rdu_usage_collect(&usage, rfile);
	rdu_fdinfo_engine(p, rdev, "exec", usage.busy.exec);
	rdu_fdinfo_engine(p, rdev, "pload", usage.busy.pload);
	rdu_fdinfo_engine(p, rdev, "aload", usage.busy.aload);
	rdu_fdinfo_engine(p, rdev, "copy", usage.busy.copy);
	rdu_fdinfo_memory(p, file, usage.active);
}
