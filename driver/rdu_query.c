// SPDX-License-Identifier: GPL-2.0-only
/*
 * DEV_QUERY: what the card is, has and does.
 */
#include <linux/capability.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>

#include "rdu/program.h"

#include "rdu_ctx.h"
#include "rdu_gem.h"
#include "rdu_vm.h"

/* Copies what both sides know, zeroes the rest of what user space gave. */
static int rdu_query_copy(struct drm_rdu_dev_query *args, const void *src, size_t size)
{
	void __user *dst = u64_to_user_ptr(args->pointer);
	size_t common = min_t(size_t, size, args->size);

	if (!args->pointer) {
		args->size = size;
		return 0;
	}
	if (copy_to_user(dst, src, common) ||
	    clear_user(dst + common, args->size - common))
		return -EFAULT;
	args->size = size;
	return 0;
}

static int rdu_query_info(struct rdu_device *rdev, struct drm_rdu_dev_query *args)
{
	struct pci_dev *pdev = rdu_pdev(rdev);
	struct drm_rdu_query_info info = {
		.features = DRM_RDU_FEATURE_USERPTR | DRM_RDU_FEATURE_PERF,
		.interface_version = rdev->interface_version,
		.pci_vendor = pdev->vendor,
		.pci_device = pdev->device,
		.pci_subvendor = pdev->subsystem_vendor,
		.pci_subdevice = pdev->subsystem_device,
		.pci_revision = pdev->revision,
		.pci_bdf = pci_dev_id(pdev),
		.pci_domain = pci_domain_nr(pdev->bus),
		.num_tiles = rdev->num_tiles,
		.chip_hash = rdev->chip_hash,
		.mem_size = rdev->mem_size,
		.va_start = RDU_VA_START,
		.va_end = RDU_VA_END,
		.page_size = RDU_PAGE_SIZE,
		.max_contexts = rdev->num_queues - 1,
		.max_programs = RDU_MAX_SLOTS,
		.max_prog_size = RDU_MAX_PROGRAM_IMAGE,
		.max_jobs = RDU_MAX_JOBS,
		.max_syncs = RDU_MAX_SYNCS,
		.max_bind_ops = RDU_MAX_BIND_OPS,
		.max_timeout_ms = RDU_MAX_TIMEOUT_MS,
	};

	memcpy(info.chip_name, rdev->chip.name, sizeof(info.chip_name));
	memcpy(info.serial, rdev->serial, sizeof(info.serial));
	return rdu_query_copy(args, &info, sizeof(info));
}

static int rdu_query_memory(struct rdu_device *rdev, struct drm_rdu_dev_query *args,
			    struct drm_file *file)
{
	struct drm_rdu_query_memory mem = {
		.size = rdev->vram.size,
		.cpu_visible = rdev->vram.size,
	};
	struct drm_gem_object *obj;
	int id;

	mutex_lock(&rdev->vram.lock);
	mem.free = rdev->vram.mm.avail;
	mutex_unlock(&rdev->vram.lock);

	spin_lock(&file->table_lock);
	idr_for_each_entry(&file->object_idr, obj, id)
		if (!rdu_bo_is_host(to_rdu_bo(obj)))
			mem.used_by_file += obj->size;
	spin_unlock(&file->table_lock);
	return rdu_query_copy(args, &mem, sizeof(mem));
}

static int rdu_query_clock(struct rdu_device *rdev, struct drm_rdu_dev_query *args)
{
	struct drm_rdu_query_clock clock = { .clock_khz = rdev->chip.clock_khz };
	int ret, idx;

	ret = rdu_card_enter(rdev, &idx);
	if (ret)
		return ret;
	clock.cpu_before = ktime_get_ns();
	clock.cycles = rdu_read64(rdev, RDU_REG_CYCLES_LO); /* as in timestamps */
	clock.cpu_after = ktime_get_ns();
	rdu_card_exit(rdev, idx);
	return rdu_query_copy(args, &clock, sizeof(clock));
}

/* The number of something in one of a file's tables; 0: it is not there. */
static u32 rdu_id_of(struct xarray *table, const void *wanted)
{
	unsigned long id;
	u32 found = 0;
	void *entry;

	xa_lock(table);
	xa_for_each(table, id, entry) {
		if (entry == wanted) {
			found = id;
			break;
		}
	}
	xa_unlock(table);
	return found;
}

static void rdu_query_tile(struct rdu_file *rfile, u32 index, struct drm_rdu_query_tile *tile)
{
	struct rdu_device *rdev = rfile->rdev;
	struct rdu_busy sum, busy;
	struct rdu_ctx *ctx;

	mutex_lock(&rdev->grant_lock);
	ctx = rdev->tiles[index].owner;
	if (ctx)
		ctx = rdu_ctx_get_unless_zero(ctx);
	sum = rdev->tiles[index].past;
	mutex_unlock(&rdev->grant_lock);

	tile->tile = index;
	tile->clock = rdu_device_clock(rdev);
	if (ctx) {
		tile->flags |= DRM_RDU_TILE_OWNED;
		tile->ctx_id = rdu_id_of(&rfile->ctxs, ctx);
		if (tile->ctx_id)
			tile->flags |= DRM_RDU_TILE_MINE;
		if (uid_eq(ctx->uid, current_uid()) || perfmon_capable()) {
			tile->flags |= DRM_RDU_TILE_NAMED;
			tile->pid = pid_vnr(ctx->pid);
			tile->uid = from_kuid_munged(current_user_ns(), ctx->uid);
			strscpy_pad(tile->comm, ctx->comm, sizeof(tile->comm));
		}
		rdu_ctx_busy(ctx, &busy);
		rdu_busy_add(&sum, &busy);
		rdu_ctx_put(ctx);
	}
	tile->exec_cycles = sum.exec;
	tile->pload_cycles = sum.pload;
	tile->aload_cycles = sum.aload;
	tile->copy_cycles = sum.copy;
}

static int rdu_query_tiles(struct rdu_file *rfile, struct drm_rdu_dev_query *args)
{
	struct rdu_device *rdev = rfile->rdev;
	struct drm_rdu_query_tile *tiles;
	u32 i;
	int ret;

	tiles = kcalloc(rdev->num_tiles, sizeof(*tiles), GFP_KERNEL_ACCOUNT);
	if (!tiles)
		return -ENOMEM;
	for (i = 0; args->pointer && i < rdev->num_tiles; i++)
		rdu_query_tile(rfile, i, &tiles[i]);
	ret = rdu_query_copy(args, tiles, rdev->num_tiles * sizeof(*tiles));
	kfree(tiles);
	return ret;
}

static int rdu_query_contexts(struct rdu_file *rfile, struct drm_rdu_dev_query *args)
{
	struct drm_rdu_query_context *list;
	u32 id, count = 0;
	struct rdu_ctx *ctx;
	struct rdu_busy busy;
	unsigned long index;
	int ret;

	/* No file has more than the card has queues. */
	list = kcalloc(RDU_MAX_QUEUES, sizeof(*list), GFP_KERNEL_ACCOUNT);
	if (!list)
		return -ENOMEM;
	xa_for_each(&rfile->ctxs, index, ctx) {
		struct drm_rdu_query_context *entry = &list[count];

		id = index;
		ctx = rdu_ctx_lookup(rfile, id);
		if (!ctx)
			continue;
		entry->ctx_id = id;
		entry->vm_id = rdu_id_of(&rfile->vms, ctx->vm);
		entry->state = READ_ONCE(ctx->state);
		entry->num_tiles = ctx->num_tiles;
		entry->tile_mask = rdu_ctx_tile_mask(ctx);
		entry->submitted = READ_ONCE(ctx->submitted);
		entry->completed = rdu_ctx_completed(ctx);
		rdu_ctx_busy(ctx, &busy);
		entry->exec_cycles = busy.exec;
		entry->pload_cycles = busy.pload;
		entry->aload_cycles = busy.aload;
		entry->copy_cycles = busy.copy;
		rdu_ctx_put(ctx);
		if (++count == RDU_MAX_QUEUES)
			break;
	}
	ret = rdu_query_copy(args, list, count * sizeof(*list));
	kfree(list);
	return ret;
}

static int rdu_query_health(struct rdu_device *rdev, struct drm_rdu_dev_query *args)
{
	struct drm_rdu_query_health health = {
		.faults = atomic64_read(&rdev->faults),
		.resets = atomic64_read(&rdev->resets),
	};
	int ret, idx;

	ret = rdu_card_enter(rdev, &idx);
	if (ret)
		return ret;
	health.temp_mc = (s32)rdu_read(rdev, RDU_REG_TEMP);
	health.power_mw = rdu_read(rdev, RDU_REG_POWER);
	health.ecc_ce = rdu_read(rdev, RDU_REG_ECC_CE);
	health.ecc_ue = rdu_read(rdev, RDU_REG_ECC_UE);
	rdu_card_exit(rdev, idx);
	return rdu_query_copy(args, &health, sizeof(health));
}

static int rdu_query_user(struct rdu_user *user, struct drm_rdu_dev_query *args)
{
	struct drm_rdu_query_limit limits[RDU_NUM_LIMITS];
	int i;

	BUILD_BUG_ON(sizeof(limits) != sizeof(struct drm_rdu_query_user));
	BUILD_BUG_ON(offsetof(struct drm_rdu_query_user, memory) !=
		     sizeof(limits[0]) * RDU_LIMIT_MEMORY);

	spin_lock(&user->lock);
	for (i = 0; i < RDU_NUM_LIMITS; i++)
		limits[i].used = user->used[i];
	spin_unlock(&user->lock);
	for (i = 0; i < RDU_NUM_LIMITS; i++)
		limits[i].max = rdu_user_limit(user->rdev, i);
	return rdu_query_copy(args, limits, sizeof(limits));
}

int rdu_ioctl_dev_query(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct rdu_device *rdev = to_rdu_device(drm);
	struct drm_rdu_dev_query *args = data;
	int ret;

	/* Bounds what is cleared beyond what we know. */
	if (args->pointer && args->size > SZ_64K)
		return -EINVAL;

	/* Not in drm_dev_enter(): a page of the user's may never come. */
	switch (args->type) {
	case DRM_RDU_QUERY_INFO:
		ret = rdu_query_info(rdev, args);
		break;
	case DRM_RDU_QUERY_CHIP:
		ret = rdu_query_copy(args, &rdev->chip, sizeof(rdev->chip));
		break;
	case DRM_RDU_QUERY_MEMORY:
		ret = rdu_query_memory(rdev, args, file);
		break;
	case DRM_RDU_QUERY_CLOCK:
		ret = rdu_query_clock(rdev, args);
		break;
	case DRM_RDU_QUERY_TILES:
		ret = rdu_query_tiles(file->driver_priv, args);
		break;
	case DRM_RDU_QUERY_CONTEXTS:
		ret = rdu_query_contexts(file->driver_priv, args);
		break;
	case DRM_RDU_QUERY_HEALTH:
		ret = rdu_query_health(rdev, args);
		break;
	case DRM_RDU_QUERY_USER:
		ret = rdu_query_user(((struct rdu_file *)file->driver_priv)->user, args);
		break;
	default:
		ret = -EINVAL;
		break;
	}
	return ret;
}

#if IS_ENABLED(CONFIG_DRM_ACCEL_RDU_KUNIT_TEST)
#include "rdu_query_test.c"
#endif
