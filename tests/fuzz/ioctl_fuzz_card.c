// SPDX-License-Identifier: MIT
/* The fuzzer's calls of the driver's own ioctls. */
#define SELFTEST_PART
#include <poll.h>

#include "ioctl_fuzz.h"

FIELDS(f_query, F(drm_rdu_dev_query, type, NUM), F(drm_rdu_dev_query, size, NUM),
       F(drm_rdu_dev_query, pointer, PTR));
FIELDS(f_vm_create, F(drm_rdu_vm_create, flags, FLAGS), F(drm_rdu_vm_create, vm_id, NUM));
FIELDS(f_vm_destroy, F(drm_rdu_vm_destroy, vm_id, VM), F(drm_rdu_vm_destroy, pad, PADDING));
FIELDS(f_vm_bind, F(drm_rdu_vm_bind, vm_id, VM), F(drm_rdu_vm_bind, flags, FLAGS),
       F(drm_rdu_vm_bind, ops, PTR), F(drm_rdu_vm_bind, num_ops, NUM),
       F(drm_rdu_vm_bind, op_stride, NUM), F(drm_rdu_vm_bind, failed_op, NUM),
       F(drm_rdu_vm_bind, pad, PADDING));
FIELDS(f_bind_op, F(drm_rdu_bind_op, type, NUM), F(drm_rdu_bind_op, flags, FLAGS),
       F(drm_rdu_bind_op, handle, BO), F(drm_rdu_bind_op, pad, PADDING),
       F(drm_rdu_bind_op, offset, NUM), F(drm_rdu_bind_op, va, NUM), F(drm_rdu_bind_op, size, NUM));
FIELDS(f_bo_create, F(drm_rdu_bo_create, size, NUM), F(drm_rdu_bo_create, placement, NUM),
       F(drm_rdu_bo_create, flags, FLAGS), F(drm_rdu_bo_create, vm_id, VM),
       F(drm_rdu_bo_create, handle, NUM));
FIELDS(f_userptr, F(drm_rdu_bo_create_userptr, user_ptr, PTR),
       F(drm_rdu_bo_create_userptr, size, NUM), F(drm_rdu_bo_create_userptr, flags, FLAGS),
       F(drm_rdu_bo_create_userptr, handle, NUM));
FIELDS(f_bo_info, F(drm_rdu_bo_info, handle, BO), F(drm_rdu_bo_info, pad, PADDING),
       F(drm_rdu_bo_info, mmap_offset, NUM));
FIELDS(f_ctx_create, F(drm_rdu_ctx_create, vm_id, VM), F(drm_rdu_ctx_create, flags, FLAGS),
       F(drm_rdu_ctx_create, num_tiles, NUM), F(drm_rdu_ctx_create, queue_depth, NUM),
       F(drm_rdu_ctx_create, timeout_ms, NUM), F(drm_rdu_ctx_create, watchdog_cycles, NUM),
       F(drm_rdu_ctx_create, tile_mask, NUM), F(drm_rdu_ctx_create, ctx_id, NUM));
FIELDS(f_ctx_destroy, F(drm_rdu_ctx_destroy, ctx_id, CTX), F(drm_rdu_ctx_destroy, pad, PADDING));
FIELDS(f_ctx_state, F(drm_rdu_ctx_get_state, ctx_id, CTX), F(drm_rdu_ctx_get_state, pad, PADDING));
FIELDS(f_prog_load, F(drm_rdu_prog_load, data, PTR), F(drm_rdu_prog_load, size, NUM),
       F(drm_rdu_prog_load, flags, FLAGS), F(drm_rdu_prog_load, prog_id, NUM));
FIELDS(f_prog_unload, F(drm_rdu_prog_unload, prog_id, PROG), F(drm_rdu_prog_unload, pad, PADDING));
FIELDS(f_submit, F(drm_rdu_submit, ctx_id, CTX), F(drm_rdu_submit, flags, FLAGS),
       F(drm_rdu_submit, jobs, PTR), F(drm_rdu_submit, num_jobs, NUM),
       F(drm_rdu_submit, job_stride, NUM), F(drm_rdu_submit, syncs, PTR),
       F(drm_rdu_submit, num_syncs, NUM), F(drm_rdu_submit, sync_stride, NUM),
       F(drm_rdu_submit, seqno, NUM));
FIELDS(f_job, F(drm_rdu_job, type, NUM), F(drm_rdu_job, flags, FLAGS), F(drm_rdu_job, raw[0], NUM),
       F(drm_rdu_job, raw[1], NUM), F(drm_rdu_job, raw[2], NUM), F(drm_rdu_job, raw[3], NUM),
       F(drm_rdu_job, raw[4], NUM), F(drm_rdu_job, raw[5], NUM), F(drm_rdu_job, run.prog_id, PROG),
       F(drm_rdu_job, run.entry, NUM));
FIELDS(f_sync, F(drm_rdu_sync, flags, FLAGS), F(drm_rdu_sync, handle, SYNC),
       F(drm_rdu_sync, point, NUM));
FIELDS(f_perf, F(drm_rdu_perf_open, ctx_id, CTX), F(drm_rdu_perf_open, flags, FLAGS),
       F(drm_rdu_perf_open, period_ns, NUM), F(drm_rdu_perf_open, fd, NUM),
       F(drm_rdu_perf_open, pad, PADDING));
FIELDS(f_gem_close, F(drm_gem_close, handle, BO), F(drm_gem_close, pad, PADDING));

void do_query(struct thread *t)
{
	struct file *f = some_file(t);
	uint32_t size = below(t, 4) ? 2048 : below(t, 4096);
	struct drm_rdu_dev_query args = {
		.type = below(t, DRM_RDU_QUERY_HEALTH + 1),
		.size = size,
		.pointer = one_in(t, 6) ? 0 : (uintptr_t)room(t, size),
	};

	spoil(t, f, &args, f_query);
	CALL(t, f, DRM_IOCTL_RDU_DEV_QUERY, args);
}

void do_vm_create(struct thread *t)
{
	struct file *f = some_file(t);
	struct drm_rdu_vm_create args = { 0 };

	spoil(t, f, &args, f_vm_create);
	if (CALL(t, f, DRM_IOCTL_RDU_VM_CREATE, args) >= 0)
		remember(t, f, VM, args.vm_id, 0);
}

void do_vm_destroy(struct thread *t)
{
	struct file *f = some_file(t);
	struct drm_rdu_vm_destroy args = { .vm_id = some(t, f, VM) };

	spoil(t, f, &args, f_vm_destroy);
	if (CALL(t, f, DRM_IOCTL_RDU_VM_DESTROY, args) >= 0)
		forget(t, f, VM, args.vm_id);
}

static void some_bind_op(struct thread *t, struct file *f, struct drm_rdu_bind_op *op,
			 unsigned int odds)
{
	unsigned int slot = some_slot(t, BO);
	uint64_t pages = f->size[slot] / PAGE ? f->size[slot] / PAGE : 1;

	*op = (struct drm_rdu_bind_op){ .type = below(t, 4) ? DRM_RDU_BIND_MAP : DRM_RDU_BIND_UNMAP,
					.va = some_va(t) };
	if (op->type == DRM_RDU_BIND_MAP) {
		uint64_t x = any(t);

		for (unsigned int i = 0; x >> 60 && i < slots[BO] && !f->handle[BO][slot]; i++)
			slot = (slot + 1) % slots[BO];
		pages = f->size[slot] / PAGE ? f->size[slot] / PAGE : 1;
		op->handle = f->handle[BO][slot];
		op->flags = one_in(t, 5) ? DRM_RDU_BIND_READONLY : 0;
		/* No choice may hang on what calls have given. */
		op->offset = x & 3 ? 0 : (x >> 8) % pages * PAGE;
		op->size = x & 12 ? pages * PAGE - op->offset
				  : ((x >> 24) % (pages - op->offset / PAGE) + 1) * PAGE;
	} else {
		op->size = below(t, 6) ? some_size(t) : (uint64_t)(1 + below(t, 300)) << 30;
	}
	spoil_one_in(t, odds, f, op, f_bind_op);
}

void do_vm_bind(struct thread *t)
{
	struct file *f = some_file(t);
	uint32_t n = below(t, 4) ? 1 + below(t, 3) : 1 + below(t, 40);
	uint32_t stride = sizeof(struct drm_rdu_bind_op) + (one_in(t, 6) ? 8 * below(t, 4) : 0);
	struct drm_rdu_vm_bind args = { .vm_id = some(t, f, VM),
					.num_ops = n,
					.op_stride = stride };
	unsigned char *ops = room(t, n * stride);

	memset(ops, 0, n * stride);
	for (uint32_t i = 0; i < n; i++)
		some_bind_op(t, f, (struct drm_rdu_bind_op *)(ops + i * stride), 4 * n);
	args.ops = (uintptr_t)ops;
	spoil(t, f, &args, f_vm_bind);
	CALL(t, f, DRM_IOCTL_RDU_VM_BIND, args);
}

void do_bo_create(struct thread *t)
{
	struct file *f = some_file(t);
	struct drm_rdu_bo_create args = {
		.size = one_in(t, 40) ? (uint64_t)(1 + below(t, 64)) << 20 : some_size(t),
		.placement = below(t, 2) ? DRM_RDU_PLACEMENT_SYSTEM : DRM_RDU_PLACEMENT_DEVICE,
		.vm_id = one_in(t, 4) ? some(t, f, VM) : 0,
	};
	uint64_t limit;

	spoil(t, f, &args, f_bo_create);
	/* The machine's memory is not what is on trial, nor its speed of clearing it. */
	limit = args.placement == DRM_RDU_PLACEMENT_SYSTEM ? 8u << 20 : 64u << 20;
	if (args.size > limit && args.size < 1ULL << 36)
		args.size = limit;
	if (CALL(t, f, DRM_IOCTL_RDU_BO_CREATE, args) >= 0)
		remember(t, f, BO, args.handle, args.size);
}

void do_userptr(struct thread *t)
{
	struct file *f = some_file(t);
	uint64_t pages = 1 + below(t, 40);
	struct drm_rdu_bo_create_userptr args = {
		.user_ptr = (uintptr_t)t->arena + ARENA_USER + PAGE * below(t, 200),
		.size = pages * PAGE,
		.flags = below(t, 2) ? DRM_RDU_USERPTR_READONLY : 0,
	};

	if (one_in(t, 8)) /* memory of the card */
		args.user_ptr = WINDOW + WINDOW_STEP * below(t, MAPS);
	spoil(t, f, &args, f_userptr);
	if (CALL(t, f, DRM_IOCTL_RDU_BO_CREATE_USERPTR, args) >= 0)
		remember(t, f, BO, args.handle, args.size);
}

void do_bo_info(struct thread *t)
{
	struct file *f = some_file(t);
	struct drm_rdu_bo_info args = { .handle = some(t, f, BO) };

	spoil(t, f, &args, f_bo_info);
	CALL(t, f, DRM_IOCTL_RDU_BO_INFO, args);
}

void do_gem_close(struct thread *t)
{
	struct file *f = some_file(t);
	struct drm_gem_close args = { .handle = some(t, f, BO) };

	spoil(t, f, &args, f_gem_close);
	if (CALL(t, f, DRM_IOCTL_GEM_CLOSE, args) >= 0)
		forget(t, f, BO, args.handle);
}

void do_ctx_create(struct thread *t)
{
	static const uint32_t timeout[] = { 1, 20, 100, 300, 1000 };
	struct file *f = some_file(t);
	struct drm_rdu_ctx_create args = {
		.vm_id = some(t, f, VM),
		.num_tiles = below(t, 4) ? below(t, 2) : below(t, 9),
		.queue_depth = below(t, 2) ? 0 : 2u << below(t, 10),
		.timeout_ms = timeout[below(t, 5)],
		.watchdog_cycles = one_in(t, 4) ? 1 + below(t, 100000) : 0,
	};
	unsigned int slot = some_slot(t, CTX);
	uint32_t old = f->handle[CTX][slot];

	/* Make room first: tiles are few. */
	if (below(t, 8)) {
		struct drm_rdu_ctx_destroy destroy = { .ctx_id = old };

		ioctl(f->fd, DRM_IOCTL_RDU_CTX_DESTROY, &destroy);
	}
	spoil(t, f, &args, f_ctx_create);
	/* Who resets the card waits for its jobs: not all the run. */
	if (args.timeout_ms > 5000 && args.timeout_ms <= 3600000)
		args.timeout_ms = 5000;
	if (CALL(t, f, DRM_IOCTL_RDU_CTX_CREATE, args) >= 0)
		f->handle[CTX][slot] = args.ctx_id;
}

void do_ctx_destroy(struct thread *t)
{
	struct file *f = some_file(t);
	struct drm_rdu_ctx_destroy args = { .ctx_id = some(t, f, CTX) };

	spoil(t, f, &args, f_ctx_destroy);
	if (CALL(t, f, DRM_IOCTL_RDU_CTX_DESTROY, args) >= 0)
		forget(t, f, CTX, args.ctx_id);
}

void do_ctx_state(struct thread *t)
{
	struct file *f = some_file(t);
	struct drm_rdu_ctx_get_state args = { .ctx_id = some(t, f, CTX) };

	spoil(t, f, &args, f_ctx_state);
	CALL(t, f, DRM_IOCTL_RDU_CTX_GET_STATE, args);
}

void do_prog_load(struct thread *t)
{
	struct file *f = some_file(t);
	unsigned char *data = room(t, image_size);
	struct drm_rdu_prog_load args = { .data = (uintptr_t)data, .size = image_size };

	memcpy(data, image, image_size);
	if (below(t, 2))
		for (unsigned int n = 1 + below(t, 4); n; n--) {
			uint32_t at = below(t, image_size / 4) * 4, word;

			memcpy(&word, data + at, 4);
			word = below(t, 2) ? word ^ 1u << below(t, 32) : boundary(t);
			memcpy(data + at, &word, 4);
		}
	spoil(t, f, &args, f_prog_load);
	if (CALL(t, f, DRM_IOCTL_RDU_PROG_LOAD, args) >= 0)
		remember(t, f, PROG, args.prog_id, 0);
}

void do_prog_unload(struct thread *t)
{
	struct file *f = some_file(t);
	struct drm_rdu_prog_unload args = { .prog_id = some(t, f, PROG) };

	spoil(t, f, &args, f_prog_unload);
	if (CALL(t, f, DRM_IOCTL_RDU_PROG_UNLOAD, args) >= 0)
		forget(t, f, PROG, args.prog_id);
}

static void some_job(struct thread *t, struct file *f, struct drm_rdu_job *job, unsigned int odds)
{
	uint64_t len = one_in(t, 16) ? some_size(t) : 4 + 4 * below(t, 800);

	switch (below(t, 5)) {
	case 0:
		*job = (struct drm_rdu_job){
			.type = DRM_RDU_JOB_RUN,
			.run = { .prog_id = some(t, f, PROG),
				 .args_va = VA_BASE,
				 .args_size = sizeof(struct rdu_args) + 32,
				 .stats_va = below(t, 2) ? VA_BASE + PAGE : 0 },
		};
		if (one_in(t, 4)) {
			job->run.trace_va = job_va(t);
			job->run.trace_size = 4096;
		}
		break;
	case 1:
		*job = job_copy(job_va(t), job_va(t), len);
		break;
	case 2:
		*job = job_fill(job_va(t), len, below(t, 1u << 30));
		break;
	case 3:
		*job = job_barrier();
		break;
	default:
		*job = (struct drm_rdu_job){ .type = DRM_RDU_JOB_TIMESTAMP,
					     .timestamp = { .va = job_va(t) } };
	}
	spoil_one_in(t, odds, f, job, f_job);
}

void do_submit(struct thread *t)
{
	struct file *f = some_file(t);
	uint32_t jobs = below(t, 16) ? 1 + below(t, 4) : 1 + below(t, 200);
	uint32_t syncs = below(t, 3), i;
	struct drm_rdu_job *job = room(t, jobs * sizeof(*job));
	struct drm_rdu_sync *sync = room(t, 2 * sizeof(*sync));
	struct drm_rdu_submit args = { .ctx_id = some(t, f, CTX),
				       .jobs = (uintptr_t)job,
				       .num_jobs = jobs,
				       .job_stride = sizeof(*job) };

	for (i = 0; i < jobs; i++)
		some_job(t, f, &job[i], 4 * jobs);
	if (syncs) {
		args.syncs = (uintptr_t)sync;
		args.num_syncs = syncs;
		args.sync_stride = sizeof(*sync);
	}
	for (i = 0; i < syncs; i++) {
		sync[i] = (struct drm_rdu_sync){ .handle = some(t, f, SYNC),
						 .flags = below(t, 3) ? 1 + 2 * below(t, 2)
								      : below(t, 4) };
		if (sync[i].flags & DRM_RDU_SYNC_TIMELINE)
			sync[i].point = 1 + below(t, 8);
		spoil_one_in(t, 8, f, &sync[i], f_sync);
	}
	spoil(t, f, &args, f_submit);
	/* A dead context makes room for a living one. */
	if (CALL(t, f, DRM_IOCTL_RDU_SUBMIT, args) < 0 && errno == EIO && below_after(t, 4)) {
		struct drm_rdu_ctx_destroy destroy = { .ctx_id = args.ctx_id };
		struct drm_rdu_ctx_create ctx = { .vm_id = f->handle[VM][0],
						  .num_tiles = 1,
						  .timeout_ms = 2000 };

		if (!ioctl(f->fd, DRM_IOCTL_RDU_CTX_DESTROY, &destroy))
			forget(t, f, CTX, args.ctx_id);
		if (!ioctl(f->fd, DRM_IOCTL_RDU_CTX_CREATE, &ctx))
			f->handle[CTX][0] = ctx.ctx_id;
	}
}

void do_perf_open(struct thread *t)
{
	struct file *f = some_file(t);
	struct drm_rdu_perf_open args = { .ctx_id = below(t, 4) ? some(t, f, CTX) : 0,
					  .period_ns = 1000000ULL * (1 + below(t, 30)) };

	spoil(t, f, &args, f_perf);
	if (CALL(t, f, DRM_IOCTL_RDU_PERF_OPEN, args) >= 0)
		keep_fd(t, FD_PERF, args.fd);
}

void do_perf_read(struct thread *t)
{
	int fd = some_fd(t, FD_PERF);
	size_t size = below(t, 4) ? sizeof(struct drm_rdu_perf_sample) * (1 + below(t, 8))
				  : below(t, 500);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	void *to = one_in(t, 8) ? (void *)(uintptr_t)bad_pointer(t) : room(t, size);

	if (fd < 0)
		return;
	poll(&p, 1, 1);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	shared->good += read(fd, to, size) >= 0;
	shared->calls++;
}
