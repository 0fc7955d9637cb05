// SPDX-License-Identifier: GPL-2.0-only
/*
 * Programs. The image is copied once into card memory that no VM maps and no
 * process sees, and the card checks that copy. What is wrong with an image goes
 * back to the caller, not to the log.
 */
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>

#include "rdu/config.h"
#include "rdu/program.h"

#include "rdu_prog.h"

#define RDU_PROG_CHUNK		SZ_1M

static void rdu_prog_unlist(struct rdu_prog *prog)
{
	mutex_lock(&prog->rdev->progs_lock);
	list_del_init(&prog->link);
	mutex_unlock(&prog->rdev->progs_lock);
}

static void rdu_prog_release_work(struct work_struct *work)
{
	struct rdu_prog *prog = container_of(work, struct rdu_prog, release_work);
	struct rdu_device *rdev = prog->rdev;
	struct drm_device *drm = &rdev->drm;
	int idx;

	/* In one go: a reset must not find it unloaded, and load it again. */
	if (!list_empty(&prog->link) && !rdu_card_enter(rdev, &idx)) {
		struct rdu_cmd cmd = { .op = RDU_OP_PROG_UNLOAD, .slot = prog->slot };

		rdu_prog_unlist(prog);
		/* It may be in the slot still. After a reset only those listed are. */
		if (rdu_admin_exec(rdev, &cmd, NULL))
			rdu_reset_request(rdev);
		rdu_card_exit(rdev, idx);
	}
	rdu_prog_unlist(prog);
	if (!list_empty(&prog->vram.blocks))
		rdu_vram_free(rdev, &prog->vram);
	rdu_uncharge(&prog->memory_charge);
	ida_free(&rdev->slots, prog->slot);
	rdu_uncharge(&prog->slot_charge);
	kfree(prog);
	drm_dev_put(drm);
	rdu_cleanup_done();
}

static void rdu_prog_release(struct kref *ref)
{
	struct rdu_prog *prog = container_of(ref, struct rdu_prog, ref);

	/* The last reference may be that of a job, given up by the scheduler. */
	rdu_cleanup_queue(&prog->release_work);
}

void rdu_prog_put(struct rdu_prog *prog)
{
	kref_put(&prog->ref, rdu_prog_release);
}

struct rdu_prog *rdu_prog_lookup(struct rdu_file *rfile, u32 id)
{
	struct rdu_prog *prog;

	xa_lock(&rfile->progs);
	prog = xa_load(&rfile->progs, id);
	if (prog)
		kref_get(&prog->ref);
	xa_unlock(&rfile->progs);
	return prog;
}

static struct rdu_prog *rdu_prog_create(struct rdu_file *rfile)
{
	struct rdu_device *rdev = rfile->rdev;
	struct rdu_prog *prog;
	int ret;

	prog = kzalloc(sizeof(*prog), GFP_KERNEL_ACCOUNT);
	if (!prog)
		return ERR_PTR(-ENOMEM);
	ret = rdu_charge(&prog->slot_charge, rfile->user, RDU_LIMIT_PROGRAMS, 1);
	if (ret)
		goto err_free_prog;
	prog->slot = ida_alloc_max(&rdev->slots, RDU_MAX_SLOTS - 1, GFP_KERNEL);
	if (prog->slot < 0) {
		ret = prog->slot;
		goto err_uncharge;
	}
	prog->rdev = rdev;
	INIT_LIST_HEAD(&prog->link);
	kref_init(&prog->ref);
	INIT_LIST_HEAD(&prog->vram.blocks);
	INIT_WORK(&prog->release_work, rdu_prog_release_work);
	drm_dev_get(&rdev->drm);
	rdu_cleanup_get();
	return prog;

err_uncharge:
	rdu_uncharge(&prog->slot_charge);
err_free_prog:
	kfree(prog);
	return ERR_PTR(ret);
}

/* Has the card take the image, which lies in its memory, into the slot. */
static int rdu_prog_give(struct rdu_prog *prog, struct rdu_prog_result *result)
{
	struct rdu_cmd cmd = { .op = RDU_OP_PROG_LOAD, .slot = prog->slot };

	cmd.prog.addr = rdu_vram_addr(&prog->vram);
	cmd.prog.size = prog->size;
	return rdu_admin_exec(prog->rdev, &cmd, result);
}

/**
 * rdu_prog_reload_all() - Fill the slots of a card that was reset
 * @rdev: device; the card is the caller's
 *
 * Return: 0, or -EIO if the card does not take what it took before.
 */
int rdu_prog_reload_all(struct rdu_device *rdev)
{
	struct rdu_prog_result result;
	struct rdu_prog *prog;
	int ret = 0;

	mutex_lock(&rdev->progs_lock);
	list_for_each_entry(prog, &rdev->progs, link) {
		ret = rdu_prog_give(prog, &result);
		if (!ret && result.error)
			ret = -EIO;
		if (ret)
			break;
	}
	mutex_unlock(&rdev->progs_lock);
	return ret;
}

/* Copies the image to card memory, by way of the kernel's: see rdu_card_enter(). */
static int rdu_prog_copy(struct rdu_prog *prog, u64 addr, const void __user *data)
{
	struct rdu_device *rdev = prog->rdev;
	u64 at, step;
	void *chunk;
	int ret, idx;

	chunk = kvmalloc(min_t(u64, prog->size, RDU_PROG_CHUNK), GFP_KERNEL);
	if (!chunk)
		return -ENOMEM;
	for (at = 0; at < prog->size; at += step) {
		step = min_t(u64, prog->size - at, RDU_PROG_CHUNK);
		ret = copy_from_user(chunk, data + at, step) ? -EFAULT : 0;
		if (!ret)
			ret = rdu_card_enter(rdev, &idx);
		if (ret)
			break;
		memcpy(rdev->vram.cpu + addr + at, chunk, step);
		if (at + step == prog->size)
			memset(rdev->vram.cpu + addr + at + step, 0, -prog->size % RDU_PAGE_SIZE);
		rdu_card_exit(rdev, idx);
	}
	kvfree(chunk);
	return ret;
}

/* Has the card check the image and take it. */
static int rdu_prog_check(struct rdu_prog *prog, u64 addr, struct drm_rdu_prog_load *args)
{
	struct rdu_device *rdev = prog->rdev;
	struct rdu_prog_header header = {};
	struct rdu_prog_result result;
	int ret, idx;

	ret = rdu_card_enter(rdev, &idx);
	if (ret)
		return ret;
	ret = rdu_prog_give(prog, &result);
	if (ret)
		rdu_reset_request(rdev); /* as above: it may be in the slot */
	if (!ret && result.error) {
		args->error = result.error;
		args->error_section = result.section;
		args->error_offset = min_t(u64, result.offset, args->size);
		ret = -EBADMSG;
	}
	if (!ret) {
		/* An accepted image has a header. */
		memcpy(&header, rdev->vram.cpu + addr,
		       min_t(size_t, sizeof(header), prog->size));
		prog->num_tiles = header.num_tiles;
		prog->num_entries = header.num_entries;
		mutex_lock(&rdev->progs_lock);
		list_add_tail(&prog->link, &rdev->progs);
		mutex_unlock(&rdev->progs_lock);
	}
	rdu_card_exit(rdev, idx);
	return ret;
}

static int rdu_prog_fill(struct rdu_prog *prog, struct rdu_user *user,
			 struct drm_rdu_prog_load *args)
{
	u64 size = ALIGN(args->size, RDU_PAGE_SIZE), addr;
	int ret;

	prog->size = args->size;
	ret = rdu_charge(&prog->memory_charge, user, RDU_LIMIT_MEMORY, size);
	if (ret)
		return ret;
	ret = rdu_vram_alloc(prog->rdev, size, true, &prog->vram);
	if (ret)
		return ret;
	addr = rdu_vram_addr(&prog->vram);
	ret = rdu_prog_copy(prog, addr, u64_to_user_ptr(args->data));
	return ret ?: rdu_prog_check(prog, addr, args);
}

int rdu_ioctl_prog_load(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_rdu_prog_load *args = data;
	struct rdu_file *rfile = file->driver_priv;
	struct rdu_prog *prog;
	u32 id;
	int ret;

	if (args->flags || !args->size || args->size > RDU_MAX_PROGRAM_IMAGE)
		return -EINVAL;
	args->error = 0;
	args->error_section = 0;
	args->error_offset = 0;

	prog = rdu_prog_create(rfile);
	if (IS_ERR(prog))
		return PTR_ERR(prog);
	ret = rdu_prog_fill(prog, rfile->user, args);
	if (!ret)
		ret = xa_alloc(&rfile->progs, &id, prog, XA_LIMIT(1, RDU_MAX_IDS),
			       GFP_KERNEL_ACCOUNT);
	if (ret) {
		rdu_prog_put(prog);
		return ret == -EBUSY ? -ENOSPC : ret;
	}
	args->prog_id = id;
	return 0;
}

int rdu_ioctl_prog_unload(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_rdu_prog_unload *args = data;
	struct rdu_file *rfile = file->driver_priv;
	struct rdu_prog *prog;

	if (args->pad)
		return -EINVAL;
	prog = xa_erase(&rfile->progs, args->prog_id);
	if (!prog)
		return -ENOENT;
	rdu_prog_put(prog);
	return 0;
}
