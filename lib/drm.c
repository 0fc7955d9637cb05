/* SPDX-License-Identifier: MIT */
/*
 * The driver's device node: contexts, buffers, programs and work through the
 * ioctls of drm/rdu_accel.h. Waiting is DRM's own: a timeline syncobj a context,
 * whose point n is signalled when SUBMIT n is done.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <xf86drm.h>
#include "drm_card.h"
#include "rdu_card.h"

#define IN_FLIGHT 64 /* submissions of one context, so that nobody queues for ever */

/* As drmIoctl, but with a negative errno. */
static int call(struct drm_device *d, unsigned long request, void *arg)
{
	if (d->fd < 0)
		return -ENODEV; /* closed for a reset */
	return drmIoctl(d->fd, request, arg) ? -errno : 0;
}

static int query(struct drm_device *d, uint32_t type, void *data, uint32_t size)
{
	struct drm_rdu_dev_query q = { .type = type, .size = size, .pointer = (uintptr_t)data };

	return call(d, DRM_IOCTL_RDU_DEV_QUERY, &q);
}

/* All that needs the card itself is refused, until the driver takes it anew. */
static bool cut_off(struct drm_device *d)
{
	struct drm_rdu_query_clock clock;

	return query(d, DRM_RDU_QUERY_CLOCK, &clock, sizeof(clock)) == -EIO;
}

static const char *why(struct drm_device *d, int ret)
{
	switch (ret) {
	case -ENODEV:
		return "the card was reset, or has gone";
	case -EDQUOT:
		return "one user may not have more of the card";
	case -EIO:
		return cut_off(d) ? LR_CUT_OFF : "the card refused it, or did not answer";
	default:
		return strerror(-ret);
	}
}

/* ---- the device ---------------------------------------------------------------------- */

static int drm_open(struct rdu_device *dev, const char *where)
{
	struct drm_rdu_query_chip chip = { 0 };
	struct drm_device *d;
	drmVersion *version;
	int ret;

	d = dev->priv = calloc(1, sizeof(*d));
	if (!d)
		return lr_fail(&dev->obj, -ENOMEM, "%s: out of memory", where);
	d->fd = -1;
	ret = lr_drm_find(dev, where, d);
	if (ret)
		return ret;
	snprintf(dev->name, sizeof(dev->name), "%s", d->node);
	version = drmGetVersion(d->fd);
	d->epochs = version && version->version_major == 1 && version->version_minor >= 3;
	if (version)
		snprintf(d->driver, sizeof(d->driver), "%s %d.%d", version->name,
			 version->version_major, version->version_minor);
	drmFreeVersion(version);
	ret = query(d, DRM_RDU_QUERY_INFO, &d->info, sizeof(d->info));
	if (!ret)
		ret = query(d, DRM_RDU_QUERY_CHIP, &chip, sizeof(chip));
	if (ret)
		return lr_fail(&dev->obj, ret, "%s: the driver does not tell about its card: %s",
			       d->node, why(d, ret));
	memcpy(dev->chip.name, chip.name, sizeof(dev->chip.name));
	dev->chip.assumed = chip.assumed;
#define CHIP_FIELD(i, f, u, m)                                 \
	dev->chip.f = i < DRM_RDU_CHIP_FIELDS ? chip.fields[i] \
					      : chip.more_fields[i % DRM_RDU_CHIP_FIELDS];
	RDU_CHIP_FIELDS(CHIP_FIELD)
#undef CHIP_FIELD
	dev->chip_hash = d->info.chip_hash;
	if (rdu_chip_hash(&dev->chip) != dev->chip_hash)
		return lr_fail(
			&dev->obj, -ENODEV,
			"%s: its chip description (%016llx) has not the fields that this "
			"library knows: card (interface %u.%u), driver (%s) and library must "
			"be of an age",
			d->node, (unsigned long long)dev->chip_hash,
			d->info.interface_version >> 16, d->info.interface_version & 0xffff,
			d->driver);
	snprintf(d->pci, sizeof(d->pci), "%04x:%02x:%02x.%x", d->info.pci_domain,
		 d->info.pci_bdf >> 8, d->info.pci_bdf >> 3 & 31, d->info.pci_bdf & 7);
	return 0;
}

static void drm_close(struct rdu_device *dev)
{
	struct drm_device *d = dev->priv;

	if (d->fd >= 0)
		close(d->fd);
	free(d);
}

/* This process's descriptor of the open file that stays the other's. */
static void drm_device_forget(struct rdu_device *dev)
{
	drm_close(dev);
}

static int drm_fd(struct rdu_device *dev)
{
	return ((struct drm_device *)dev->priv)->fd;
}

static int drm_info(struct rdu_device *dev, struct rdu_device_info *info)
{
	struct drm_device *d = dev->priv;
	struct drm_rdu_query_memory memory = { 0 };
	struct drm_rdu_query_clock clock = { 0 };
	struct drm_rdu_query_health health = { 0 };
	int ret = query(d, DRM_RDU_QUERY_MEMORY, &memory, sizeof(memory));

	if (!ret)
		ret = query(d, DRM_RDU_QUERY_CLOCK, &clock, sizeof(clock));
	if (!ret)
		ret = query(d, DRM_RDU_QUERY_HEALTH, &health, sizeof(health));
	if (ret)
		return lr_fail(&dev->obj, ret, "%s: the driver does not tell how its card is: %s",
			       d->node, why(d, ret));
	memcpy(info->serial, d->info.serial, 16);
	snprintf(info->node, sizeof(info->node), "%s", d->node);
	snprintf(info->pci_address, sizeof(info->pci_address), "%s", d->pci);
	snprintf(info->driver, sizeof(info->driver), "%s", d->driver);
	info->interface_version = d->info.interface_version;
	info->num_queues = d->info.max_contexts;
	info->mem_total = memory.size;
	info->mem_free = memory.free;
	info->clock_cycles = clock.cycles;
	info->clock_ns = clock.cpu_before + (clock.cpu_after - clock.cpu_before) / 2;
	info->temp_millidegree = health.temp_mc;
	info->power_milliwatt = health.power_mw;
	info->ecc_corrected = health.ecc_ce;
	info->ecc_uncorrected = health.ecc_ue;
	info->faults = health.faults;
	info->resets = health.resets;
	return 0;
}

static int drm_usage(struct rdu_device *dev, struct rdu_tile_usage *usage, unsigned int count)
{
	struct drm_device *d = dev->priv;
	struct drm_rdu_query_tile *tiles = calloc(dev->chip.tiles + 1, sizeof(*tiles));
	unsigned int i;
	int ret;

	if (!tiles)
		return lr_fail(&dev->obj, -ENOMEM, "out of memory");
	ret = query(d, DRM_RDU_QUERY_TILES, tiles, dev->chip.tiles * sizeof(*tiles));
	for (i = 0; !ret && i < count; i++) {
		struct rdu_tile_usage *u = &usage[i];

		u->tile = tiles[i].tile;
		u->owned = !!(tiles[i].flags & DRM_RDU_TILE_OWNED);
		if (tiles[i].flags & DRM_RDU_TILE_NAMED) {
			u->pid = tiles[i].pid;
			u->uid = tiles[i].uid;
			memcpy(u->command, tiles[i].comm, sizeof(tiles[i].comm));
		}
		u->clock_cycles = tiles[i].clock;
		u->exec_cycles = tiles[i].exec_cycles;
		u->pload_cycles = tiles[i].pload_cycles;
		u->aload_cycles = tiles[i].aload_cycles;
		u->copy_cycles = tiles[i].copy_cycles;
	}
	free(tiles);
	if (ret)
		return lr_fail(&dev->obj, ret, "%s: the driver does not tell about tiles: %s",
			       d->node, why(d, ret));
	return dev->chip.tiles;
}

static int fail_write(struct rdu_device *dev, const char *path, int ret)
{
	return lr_fail(&dev->obj, ret, "%s: %s%s", path, strerror(-ret),
		       ret == -EACCES ? "; resetting a card needs root" : "");
}

static int write_file(struct rdu_device *dev, const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret ? fail_write(dev, path, ret) : 0;
}

/* The driver lets go, the function is reset, the driver takes it again: nothing
 * that was there before is left. An open file would keep its node's number, and the
 * card would come back under another: this device's is closed before. */
static int drm_reset(struct rdu_device *dev)
{
	static const char bind[] = "/sys/bus/pci/drivers/" DRM_RDU_DRIVER_NAME "/bind";
	static const char unbind[] = "/sys/bus/pci/drivers/" DRM_RDU_DRIVER_NAME "/unbind";
	struct drm_device *d = dev->priv;
	char reset[96];
	int ret;

	if (access(unbind, W_OK))
		return fail_write(dev, unbind, -errno);
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	snprintf(reset, sizeof(reset), "/sys/bus/pci/devices/%s/reset", d->pci);
	ret = write_file(dev, unbind, d->pci);
	if (ret)
		return ret;
	ret = write_file(dev, reset, "1");
	if (!write_file(dev, bind, d->pci))
		return ret;
	return lr_fail(&dev->obj, dev->obj.code,
		       "%s: after its reset the driver does not take the card: %s; the kernel's "
		       "log tells why",
		       d->pci, strerror(-dev->obj.code));
}

/* ---- contexts ---------------------------------------------------------------------------- */

/* ENOSPC has other causes, too: queues, card memory. */
static bool tiles_are_short(struct rdu_context *ctx, struct drm_device *d)
{
	struct drm_rdu_query_tile tiles[64] = { 0 };
	unsigned int i, free = 0;

	if (query(d, DRM_RDU_QUERY_TILES, tiles, sizeof(tiles)))
		return false;
	for (i = 0; i < ctx->dev->chip.tiles && free < ctx->tiles; i++)
		free = tiles[i].flags & DRM_RDU_TILE_OWNED ? 0 : free + 1;
	return free < ctx->tiles;
}

static int make_context(struct rdu_context *ctx, struct drm_device *d, struct drm_context *c)
{
	struct drm_rdu_ctx_create create = {
		.vm_id = c->vm,
		.num_tiles = ctx->tiles,
		.watchdog_cycles = ctx->options.watchdog_cycles,
	};
	const struct timespec moment = { 0, 10000000 };
	uint64_t ms = ctx->options.watchdog_ms;
	bool are_short;
	int ret;

	create.timeout_ms = ms > d->info.max_timeout_ms ? d->info.max_timeout_ms : ms;
	create.queue_depth = 1;
	while (create.queue_depth < ctx->options.queue_depth &&
	       create.queue_depth * 2 <= d->info.max_jobs)
		create.queue_depth *= 2;
	c->depth = create.queue_depth;
	for (;;) {
		/* Looked at on either side: others come and go meanwhile. */
		are_short = tiles_are_short(ctx, d);
		ret = call(d, DRM_IOCTL_RDU_CTX_CREATE, &create);
		if (ret != -ENOSPC || !(are_short || tiles_are_short(ctx, d)))
			break;
		ret = -EBUSY;
		if (!ctx->options.wait_for_tiles)
			break;
		nanosleep(&moment, NULL);
	}
	c->id = create.ctx_id;
	if (ret == -EBUSY)
		return lr_fail(&ctx->obj, ret,
			       "%s: fewer than %u tiles in a row are free; `rdu "
			       "stat` tells who has them",
			       d->node, ctx->tiles);
	if (ret)
		return lr_fail(&ctx->obj, ret, "%s: no context with %u tiles: %s", d->node,
			       ctx->tiles, why(d, ret));
	return 0;
}

static int drm_context_new(struct rdu_context *ctx)
{
	struct drm_device *d = ctx->dev->priv;
	struct drm_context *c = ctx->priv = calloc(1, sizeof(*c));
	struct drm_rdu_vm_create vm = { 0 };
	uint64_t start = d->info.va_start < 2 << 20 ? 2 << 20 : d->info.va_start;
	int ret;

	if (!c || lr_ranges_init(&ctx->va, start, d->info.va_end - start))
		return lr_fail(&ctx->obj, -ENOMEM, "%s: out of memory", d->node);
	ret = call(d, DRM_IOCTL_RDU_VM_CREATE, &vm);
	c->vm = vm.vm_id;
	if (ret)
		return lr_fail(&ctx->obj, ret, "%s: no address space: %s", d->node, why(d, ret));
	if (drmSyncobjCreate(d->fd, 0, &c->timeline))
		return lr_fail(&ctx->obj, -errno, "%s: no syncobj: %s", d->node, strerror(errno));
	return make_context(ctx, d, c);
}

static void drm_context_free(struct rdu_context *ctx)
{
	struct drm_device *d = ctx->dev->priv;
	struct drm_context *c = ctx->priv;
	struct drm_rdu_ctx_destroy ctx_destroy = { 0 };
	struct drm_rdu_vm_destroy vm_destroy = { 0 };

	if (!c)
		return;
	ctx_destroy.ctx_id = c->id;
	vm_destroy.vm_id = c->vm;
	if (c->id)
		call(d, DRM_IOCTL_RDU_CTX_DESTROY, &ctx_destroy);
	if (c->timeline)
		drmSyncobjDestroy(d->fd, c->timeline);
	if (c->vm)
		call(d, DRM_IOCTL_RDU_VM_DESTROY, &vm_destroy);
	free(c);
}

static void drm_context_forget(struct rdu_context *ctx)
{
	free(ctx->priv);
}

static int get_state(struct rdu_context *ctx, struct drm_rdu_ctx_get_state *state)
{
	struct drm_device *d = ctx->dev->priv;
	struct drm_context *c = ctx->priv;

	*state = (struct drm_rdu_ctx_get_state){ .ctx_id = c->id };
	return call(d, DRM_IOCTL_RDU_CTX_GET_STATE, state);
}

static int drm_fault(struct rdu_context *ctx, struct rdu_fault_info *fault)
{
	struct drm_rdu_ctx_get_state state;
	int ret = get_state(ctx, &state);

	if (ret)
		return ret;
	if (!(state.state & (DRM_RDU_CTX_STATE_FAULTED | DRM_RDU_CTX_STATE_HUNG)))
		return state.state && cut_off(ctx->dev->priv) ? -EIO : 0;
	fault->code = state.state & DRM_RDU_CTX_STATE_HUNG ? RDU_FAULT_WATCHDOG : state.fault_code;
	fault->info = state.fault_info;
	fault->address = state.va;
	fault->seqno = state.fault_seqno;
	fault->section = state.section;
	fault->program = state.unit_program;
	return 1;
}

/* ---- buffers ------------------------------------------------------------------------------- */

static int drm_buffer_new(struct rdu_buffer *buf)
{
	struct rdu_context *ctx = buf->ctx;
	struct drm_device *d = ctx->dev->priv;
	struct drm_context *c = ctx->priv;
	struct drm_rdu_bo_create create = {
		.size = buf->room,
		.placement = buf->flags & RDU_BUFFER_HOST ? DRM_RDU_PLACEMENT_SYSTEM
							  : DRM_RDU_PLACEMENT_DEVICE,
		.vm_id = c->vm,
	};
	struct drm_rdu_bind_op op = { .type = DRM_RDU_BIND_MAP,
				      .va = buf->address,
				      .size = buf->room };
	struct drm_rdu_vm_bind bind = {
		.vm_id = c->vm, .ops = (uintptr_t)&op, .num_ops = 1, .op_stride = sizeof(op)
	};
	struct drm_gem_close close = { 0 };
	int ret = call(d, DRM_IOCTL_RDU_BO_CREATE, &create);

	if (ret)
		return lr_fail(&buf->obj, ret, "%s: no %s memory for %llu bytes: %s", d->node,
			       buf->flags & RDU_BUFFER_HOST ? "system" : "card",
			       (unsigned long long)buf->room, why(d, ret));
	buf->handle = op.handle = close.handle = create.handle;
	ret = call(d, DRM_IOCTL_RDU_VM_BIND, &bind);
	if (ret) {
		call(d, DRM_IOCTL_GEM_CLOSE, &close);
		return lr_fail(&buf->obj, ret, "%s: %llu bytes can't be bound at 0x%llx: %s",
			       d->node, (unsigned long long)buf->room,
			       (unsigned long long)buf->address, why(d, ret));
	}
	return 0;
}

static void drm_buffer_free(struct rdu_buffer *buf)
{
	struct drm_device *d = buf->ctx->dev->priv;
	struct drm_context *c = buf->ctx->priv;
	struct drm_rdu_bind_op op = { .type = DRM_RDU_BIND_UNMAP,
				      .va = buf->address,
				      .size = buf->room };
	struct drm_rdu_vm_bind bind = {
		.vm_id = c->vm, .ops = (uintptr_t)&op, .num_ops = 1, .op_stride = sizeof(op)
	};
	struct drm_gem_close close = { .handle = buf->handle };

	if (buf->map)
		munmap(buf->map, buf->room);
	call(d, DRM_IOCTL_RDU_VM_BIND, &bind);
	call(d, DRM_IOCTL_GEM_CLOSE, &close);
}

static void drm_buffer_forget(struct rdu_buffer *buf)
{
	if (buf->map)
		munmap(buf->map, buf->room);
}

static int drm_buffer_map(struct rdu_buffer *buf)
{
	struct drm_device *d = buf->ctx->dev->priv;
	struct drm_rdu_bo_info info = { .handle = buf->handle };
	int ret = call(d, DRM_IOCTL_RDU_BO_INFO, &info);
	void *map = MAP_FAILED;

	if (!ret && !info.mmap_offset)
		ret = -EOPNOTSUPP;
	if (!ret) {
		map = mmap(NULL, buf->room, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd,
			   info.mmap_offset);
		if (map == MAP_FAILED)
			ret = -errno;
	}
	if (ret)
		return lr_fail(&buf->obj, ret, "%s: a buffer of %llu bytes can't be mapped: %s",
			       d->node, (unsigned long long)buf->room, why(d, ret));
	buf->map = map;
	return 0;
}

/* ---- programs and work ------------------------------------------------------------------------ */

static int drm_program_load(struct rdu_program *prog)
{
	struct drm_device *d = prog->ctx->dev->priv;
	struct drm_rdu_prog_load load = {
		.data = (uintptr_t)prog->file->image,
		.size = prog->file->image_size,
	};
	int ret = call(d, DRM_IOCTL_RDU_PROG_LOAD, &load);

	if (ret == -EBADMSG)
		return lr_fail_refused(prog, load.error, load.error_section, load.error_offset);
	if (ret)
		return lr_fail(&prog->obj, ret, "%s: %s does not take the program: %s",
			       prog->file->path, d->node, why(d, ret));
	prog->handle = load.prog_id;
	return 0;
}

static void drm_program_unload(struct rdu_program *prog)
{
	struct drm_rdu_prog_unload unload = { .prog_id = prog->handle };

	call(prog->ctx->dev->priv, DRM_IOCTL_RDU_PROG_UNLOAD, &unload);
}

static int make_job(const struct drm_device *d, struct drm_rdu_job *job, const struct rdu_cmd *cmd,
		    struct rdu_program *prog)
{
	switch (cmd->op) {
	case RDU_OP_NOP:
		job->type = DRM_RDU_JOB_BARRIER;
		return 0;
	case RDU_OP_RUN:
		job->type = DRM_RDU_JOB_RUN;
		job->run = (struct drm_rdu_job_run){
			.prog_id = prog->handle,
			.entry = cmd->run.index,
			.args_va = cmd->run.args,
			.args_size = cmd->run.args_size,
			.stats_va = cmd->run.stats,
			.trace_va = cmd->run.trace,
			.trace_size = cmd->run.trace_size,
			.epoch = d->epochs ? cmd->run.epoch : 0,
		};
		return 0;
	case RDU_OP_COPY:
		job->type = DRM_RDU_JOB_COPY;
		job->copy =
			(struct drm_rdu_job_copy){ cmd->copy.src, cmd->copy.dst, cmd->copy.len };
		return 0;
	case RDU_OP_FILL:
		job->type = DRM_RDU_JOB_FILL;
		job->fill = (struct drm_rdu_job_fill){ .va = cmd->fill.dst,
						       .len = cmd->fill.len,
						       .value = cmd->fill.value };
		return 0;
	}
	return -EINVAL;
}

static int submit_some(struct drm_device *d, struct drm_context *c, struct drm_rdu_job *jobs,
		       unsigned int count)
{
	struct drm_rdu_sync sync = { .flags = DRM_RDU_SYNC_SIGNAL | DRM_RDU_SYNC_TIMELINE,
				     .handle = c->timeline,
				     .point = c->submitted + 1 };
	struct drm_rdu_submit submit = { .ctx_id = c->id,
					 .jobs = (uintptr_t)jobs,
					 .num_jobs = count,
					 .job_stride = sizeof(*jobs),
					 .syncs = (uintptr_t)&sync,
					 .num_syncs = 1,
					 .sync_stride = sizeof(sync) };
	int ret = call(d, DRM_IOCTL_RDU_SUBMIT, &submit);

	if (!ret)
		c->submitted++;
	return ret;
}

/* Waits for a point; says nothing about how it went. */
static int wait_point(struct drm_device *d, struct drm_context *c, uint64_t point,
		      int64_t timeout_ms)
{
	int64_t until = INT64_MAX;
	struct timespec now;

	if (timeout_ms >= 0) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (timeout_ms < INT64_MAX / 1000000 - now.tv_sec * 1000 - 1000)
			until = now.tv_sec * 1000000000ll + now.tv_nsec + timeout_ms * 1000000;
	}
	return drmSyncobjTimelineWait(d->fd, &c->timeline, &point, 1, until, 0, NULL);
}

static int drm_submit(struct rdu_context *ctx, struct rdu_program *prog, struct rdu_cmd *cmds,
		      unsigned int count, uint64_t *token)
{
	struct drm_device *d = ctx->dev->priv;
	struct drm_context *c = ctx->priv;
	struct drm_rdu_job *jobs = calloc(count, sizeof(*jobs));
	unsigned int i, n;
	int ret = jobs ? 0 : -ENOMEM;

	for (i = 0; i < count && !ret; i++)
		ret = make_job(d, &jobs[i], &cmds[i], prog);
	for (i = 0; i < count && !ret; i += n) {
		n = count - i < c->depth ? count - i : c->depth;
		/* Half of them, or each submission would be a wait as well. */
		if (c->submitted - c->passed >= IN_FLIGHT) {
			wait_point(d, c, c->submitted - IN_FLIGHT / 2, -1);
			c->passed = c->submitted - IN_FLIGHT / 2;
		}
		ret = submit_some(d, c, jobs + i, n);
	}
	free(jobs);
	*token = c->submitted;
	return ret;
}

static int drm_wait(struct rdu_context *ctx, uint64_t token, int64_t timeout_ms)
{
	struct drm_device *d = ctx->dev->priv;
	struct drm_context *c = ctx->priv;
	struct drm_rdu_ctx_get_state state;
	int ret;

	if (token <= __atomic_load_n(&c->done, __ATOMIC_RELAXED))
		return 0;
	ret = wait_point(d, c, token, timeout_ms);
	if (ret == -ETIME)
		return ret;
	/* A fence that was signalled with an error is signalled all the same. */
	if (ret || get_state(ctx, &state))
		return -EIO;
	if (state.state &&
	    (state.fault_seqno ? token >= state.fault_seqno : token > state.completed))
		return -EIO;
	if (!state.state)
		__atomic_store_n(&c->done, token, __ATOMIC_RELAXED);
	return 0;
}

const struct rdu_backend lr_backend_drm = {
	.name = "driver",
	.open = drm_open,
	.close = drm_close,
	.device_forget = drm_device_forget,
	.context_forget = drm_context_forget,
	.buffer_forget = drm_buffer_forget,
	.info = drm_info,
	.usage = drm_usage,
	.reset = drm_reset,
	.fd = drm_fd,
	.context_new = drm_context_new,
	.context_free = drm_context_free,
	.fault = drm_fault,
	.buffer_new = drm_buffer_new,
	.buffer_free = drm_buffer_free,
	.buffer_map = drm_buffer_map,
	.program_load = drm_program_load,
	.program_unload = drm_program_unload,
	.submit = drm_submit,
	.wait = drm_wait,
};
