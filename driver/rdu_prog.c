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

static void rdu_prog_release_work(struct work_struct *work)
{
	struct rdu_prog *prog = container_of(work, struct rdu_prog, release_work);
	struct rdu_device *rdev = prog->rdev;
	struct drm_device *drm = &rdev->drm;
	int idx;

	if (prog->loaded && prog->generation == READ_ONCE(rdev->generation) &&
	    drm_dev_enter(drm, &idx)) {
		struct rdu_cmd cmd = { .op = RDU_OP_PROG_UNLOAD, .slot = prog->slot };

		rdu_admin_exec(rdev, &cmd, NULL);
		drm_dev_exit(idx);
	}
	if (!list_empty(&prog->blocks))
		rdu_vram_free(rdev, &prog->blocks);
	ida_free(&rdev->slots, prog->slot);
	mutex_destroy(&prog->load_lock);
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

static struct rdu_prog *rdu_prog_create(struct rdu_device *rdev)
{
	struct rdu_prog *prog;

	prog = kzalloc(sizeof(*prog), GFP_KERNEL_ACCOUNT);
	if (!prog)
		return ERR_PTR(-ENOMEM);
	prog->slot = ida_alloc_max(&rdev->slots, RDU_MAX_SLOTS - 1, GFP_KERNEL);
	if (prog->slot < 0) {
		int ret = prog->slot;

		kfree(prog);
		return ERR_PTR(ret);
	}
	prog->rdev = rdev;
	mutex_init(&prog->load_lock);
	kref_init(&prog->ref);
	INIT_LIST_HEAD(&prog->blocks);
	INIT_WORK(&prog->release_work, rdu_prog_release_work);
	drm_dev_get(&rdev->drm);
	rdu_cleanup_get();
	return prog;
}

/* Has the card take the image, which lies in its memory, into the slot. */
static int rdu_prog_give(struct rdu_prog *prog, struct rdu_prog_result *result)
{
	struct rdu_cmd cmd = { .op = RDU_OP_PROG_LOAD, .slot = prog->slot };

	cmd.prog.addr = rdu_buddy_block_offset(list_first_entry(&prog->blocks,
								struct rdu_buddy_block, link));
	cmd.prog.size = prog->size;
	prog->generation = READ_ONCE(prog->rdev->generation);
	return rdu_admin_exec(prog->rdev, &cmd, result);
}

/**
 * rdu_prog_ready() - Load a program again if the card was reset since
 * @prog: program; the caller is in drm_dev_enter()
 *
 * Return: 0, or -EIO if the card does not take it.
 */
int rdu_prog_ready(struct rdu_prog *prog)
{
	struct rdu_prog_result result = {};
	int ret = 0;

	mutex_lock(&prog->load_lock);
	if (prog->generation != READ_ONCE(prog->rdev->generation)) {
		ret = rdu_prog_give(prog, &result);
		if (!ret && result.error)
			ret = -EIO;
		if (ret)
			prog->generation--; /* not loaded: asked again next time */
	}
	mutex_unlock(&prog->load_lock);
	return ret;
}

/* Copies the image to the card and has it checked there. */
static int rdu_prog_fill(struct rdu_prog *prog, struct drm_rdu_prog_load *args)
{
	struct rdu_device *rdev = prog->rdev;
	struct rdu_prog_header header = {};
	struct rdu_prog_result result;
	struct rdu_buddy_block *block;
	u64 size, addr;
	void *image;
	int ret;

	size = ALIGN(args->size, RDU_PAGE_SIZE);
	ret = rdu_vram_alloc(rdev, size, true, &prog->blocks);
	if (ret)
		return ret;
	block = list_first_entry(&prog->blocks, struct rdu_buddy_block, link);
	addr = rdu_buddy_block_offset(block);
	image = rdev->vram.cpu + addr;
	if (copy_from_user(image, u64_to_user_ptr(args->data), args->size))
		return -EFAULT;
	memset(image + args->size, 0, size - args->size);

	prog->size = args->size;
	ret = rdu_prog_give(prog, &result);
	if (ret)
		return ret;
	if (result.error) {
		args->error = result.error;
		args->error_section = result.section;
		args->error_offset = min_t(u64, result.offset, args->size);
		return -EBADMSG;
	}
	prog->loaded = true;
	/* An accepted image has a header. */
	memcpy(&header, image, min_t(size_t, sizeof(header), args->size));
	prog->num_tiles = header.num_tiles;
	prog->num_entries = header.num_entries;
	return 0;
}

int rdu_ioctl_prog_load(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_rdu_prog_load *args = data;
	struct rdu_file *rfile = file->driver_priv;
	struct rdu_prog *prog;
	int ret, idx;
	u32 id;

	if (args->flags || !args->size || args->size > RDU_MAX_IMAGE)
		return -EINVAL;
	args->error = 0;
	args->error_section = 0;
	args->error_offset = 0;

	if (!drm_dev_enter(drm, &idx))
		return -ENODEV;
	prog = rdu_prog_create(to_rdu_device(drm));
	if (IS_ERR(prog)) {
		ret = PTR_ERR(prog);
		goto out_dev_exit;
	}
	ret = rdu_prog_fill(prog, args);
	if (!ret)
		ret = xa_alloc(&rfile->progs, &id, prog, XA_LIMIT(1, RDU_MAX_IDS),
			       GFP_KERNEL_ACCOUNT);
	if (ret) {
		rdu_prog_put(prog);
		ret = ret == -EBUSY ? -ENOSPC : ret;
		goto out_dev_exit;
	}
	args->prog_id = id;
out_dev_exit:
	drm_dev_exit(idx);
	return ret;
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
