// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Contexts and SUBMIT: errors, order, syncs, faults, lifetime. */
#include <pthread.h>

#include "card.h"

TEST(ctx_errors)
{
	int fd = card_open();
	struct drm_rdu_query_info info = card_info(fd);
	struct drm_rdu_ctx_create args = { .vm_id = vm_create(fd) }, bad;
	struct drm_rdu_ctx_get_state state;
	struct drm_rdu_ctx_destroy destroy;

	EXPECT_RESERVED(fd, DRM_IOCTL_RDU_CTX_CREATE, args, flags, 0);
	bad = args;
	bad.vm_id = 999;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &bad), -ENOENT);
	bad = args;
	bad.num_tiles = info.num_tiles + 1;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &bad), -EINVAL);
	bad = args;
	bad.queue_depth = 3;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &bad), -EINVAL);
	bad.queue_depth = info.max_jobs * 2;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &bad), -EINVAL);
	bad = args;
	bad.timeout_ms = info.max_timeout_ms + 1;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &bad), -EINVAL);

	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &args), 0);
	state = (struct drm_rdu_ctx_get_state){ .ctx_id = args.ctx_id };
	EXPECT_RESERVED(fd, DRM_IOCTL_RDU_CTX_GET_STATE, state, pad, 0);
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_CTX_GET_STATE, &state), 0);
	EXPECT_EQ(state.state, 0);
	EXPECT_EQ(state.fault_code, 0);
	EXPECT_EQ(state.submitted, 0);
	EXPECT_EQ(state.fault_job, DRM_RDU_NO_JOB);
	destroy = (struct drm_rdu_ctx_destroy){ .ctx_id = args.ctx_id };
	EXPECT_RESERVED(fd, DRM_IOCTL_RDU_CTX_DESTROY, destroy, pad, 0);
	EXPECT_EQ(call(card_open(), DRM_IOCTL_RDU_CTX_DESTROY, &destroy), -ENOENT);
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_CTX_DESTROY, &destroy), 0);
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_CTX_DESTROY, &destroy), -ENOENT);
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_CTX_GET_STATE, &state), -ENOENT);
}

/* Tiles are granted once; a destroyed context's are free at once. */
TEST(tiles_run_out)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx[64], extra, n = card_info(fd).num_tiles;
	uint64_t all = 0;

	for (int round = 0; round < 5; round++) {
		all = 0;
		for (uint32_t i = 0; i < n; i++) {
			struct drm_rdu_ctx_create args = { .vm_id = vm, .num_tiles = 1 };

			ASSERT_EQ(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &args), 0);
			EXPECT_EQ(all & args.tile_mask, 0);
			EXPECT_EQ(__builtin_popcountll(args.tile_mask), 1);
			all |= args.tile_mask;
			ctx[i] = args.ctx_id;
		}
		EXPECT_EQ(ctx_try(fd, vm, 1, &extra), -ENOSPC);
		EXPECT_EQ(ctx_try(fd, vm, 0, &extra), 0);
		for (uint32_t i = 0; i < n; i++)
			ASSERT_EQ(ctx_destroy(fd, ctx[i]), 0);
		ASSERT_EQ(ctx_destroy(fd, extra), 0);
		ASSERT_EQ(ctx_try(fd, vm, n, &extra), 0);
		ASSERT_EQ(ctx_destroy(fd, extra), 0);
	}
}

TEST(queues_run_out)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), id, n = 0, most = card_info(fd).max_contexts;
	int ret;

	while (!(ret = ctx_try(fd, vm, 0, &id)))
		if (++n > most)
			break;
	EXPECT_EQ(ret, -ENOSPC);
	EXPECT_EQ(n, most);
	close(fd);
	fd = card_open();
	EXPECT_EQ(ctx_try(fd, vm_create(fd), 0, &id), 0);
}

TEST(submit_errors)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0), sync = sync_create(fd);
	struct drm_rdu_query_info info = card_info(fd);
	struct drm_rdu_job job = job_barrier();
	struct drm_rdu_sync s = { .flags = DRM_RDU_SYNC_SIGNAL, .handle = sync };
	struct drm_rdu_submit args = {
		.ctx_id = ctx, .jobs = (uintptr_t)&job, .num_jobs = 1, .job_stride = sizeof(job),
		.syncs = (uintptr_t)&s, .num_syncs = 1, .sync_stride = sizeof(s),
	}, bad;

	EXPECT_RESERVED(fd, DRM_IOCTL_RDU_SUBMIT, args, flags, 0);
#define BAD(field, value, error)                                               \
	do {                                                                   \
		bad = args;                                                    \
		bad.field = value;                                             \
		EXPECT_EQ(call(fd, DRM_IOCTL_RDU_SUBMIT, &bad), error);        \
	} while (0)
	BAD(ctx_id, 0, -ENOENT);
	BAD(num_jobs, 0, -EINVAL);
	BAD(num_jobs, info.max_jobs + 1, -EINVAL);
	BAD(num_jobs, ~0U, -EINVAL);
	BAD(num_syncs, info.max_syncs + 1, -EINVAL);
	BAD(num_syncs, ~0U, -EINVAL);
	BAD(num_syncs, 0, -EINVAL);
	BAD(job_stride, sizeof(job) - 8, -EINVAL);
	BAD(job_stride, sizeof(job) + 4, -EINVAL);
	BAD(sync_stride, sizeof(s) - 8, -EINVAL);
	BAD(sync_stride, 0, -EINVAL);
	BAD(jobs, (uintptr_t)bad_page(), -EFAULT);
	BAD(syncs, (uintptr_t)bad_page(), -EFAULT);
	BAD(jobs, 0, -EFAULT);
	for (int bit = 2; bit < 32; bit++) {
		s.flags = DRM_RDU_SYNC_SIGNAL | 1U << bit;
		EXPECT_EQ(call(fd, DRM_IOCTL_RDU_SUBMIT, &args), -EINVAL);
	}
	s = (struct drm_rdu_sync){ .flags = DRM_RDU_SYNC_SIGNAL, .handle = sync, .point = 1 };
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_SUBMIT, &args), -EINVAL);
	s = (struct drm_rdu_sync){ .flags = DRM_RDU_SYNC_SIGNAL | DRM_RDU_SYNC_TIMELINE,
				   .handle = sync };
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_SUBMIT, &args), -EINVAL);
	s = (struct drm_rdu_sync){ .flags = DRM_RDU_SYNC_SIGNAL, .handle = 999 };
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_SUBMIT, &args), -ENOENT);
	s = (struct drm_rdu_sync){ .handle = 999 };
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_SUBMIT, &args), -ENOENT);
	/* Nothing was submitted to it: nothing to wait for. */
	s = (struct drm_rdu_sync){ .handle = sync };
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_SUBMIT, &args), -EINVAL);
	EXPECT_EQ(ctx_state(fd, ctx).submitted, 0);
}

TEST(job_errors)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0);
	struct drm_rdu_query_info info = card_info(fd);
	struct drm_rdu_job good[] = {
		job_copy(VA_BASE, VA_BASE + PAGE, 64),
		job_fill(VA_BASE, 64, 1),
		job_barrier(),
		{ .type = DRM_RDU_JOB_TIMESTAMP, .timestamp.va = VA_BASE },
	}, job;
	static const int used[] = { 3, 3, 0, 1 };

	buffer_create(fd, vm, VA_BASE, 2 * PAGE, DRM_RDU_PLACEMENT_DEVICE);
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(run_job(fd, ctx, good[i]), 1);
		for (int bit = 0; bit < 32; bit++) {
			job = good[i];
			job.flags = 1U << bit;
			EXPECT_EQ(submit(fd, ctx, &job, 1, 0), -EINVAL);
		}
		for (int word = used[i]; word < 6; word++)
			for (int bit = 0; bit < 64; bit++) {
				job = good[i];
				job.raw[word] = 1ULL << bit;
				EXPECT_EQ(submit(fd, ctx, &job, 1, 0), -EINVAL);
			}
	}
	for (int bit = 3; bit < 32; bit++) {
		job = (struct drm_rdu_job){ .type = 1U << bit };
		EXPECT_EQ(submit(fd, ctx, &job, 1, 0), -EINVAL);
	}
	job = (struct drm_rdu_job){ .type = DRM_RDU_JOB_TIMESTAMP + 1 };
	EXPECT_EQ(submit(fd, ctx, &job, 1, 0), -EINVAL);
	for (int bit = 0; bit < 32; bit++) {
		job = good[1];
		job.fill.pad = 1U << bit;
		EXPECT_EQ(submit(fd, ctx, &job, 1, 0), -EINVAL);
	}
#define BAD_JOB(...)                                                           \
	do {                                                                   \
		job = (__VA_ARGS__);                                           \
		EXPECT_EQ(submit(fd, ctx, &job, 1, 0), -EINVAL);               \
	} while (0)
	BAD_JOB(job_copy(VA_BASE, VA_BASE + PAGE, 0));
	BAD_JOB(job_copy(VA_BASE, VA_BASE + PAGE, ~0ULL));
	BAD_JOB(job_copy(VA_BASE, VA_BASE + 8, 16));
	BAD_JOB(job_copy(VA_BASE + 8, VA_BASE, 16));
	BAD_JOB(job_copy(VA_BASE, VA_BASE, 16));
	BAD_JOB(job_copy(0, VA_BASE, 16));
	BAD_JOB(job_copy(VA_BASE, info.va_end - 8, 16));
	BAD_JOB(job_fill(VA_BASE + 2, 4, 0));
	BAD_JOB(job_fill(VA_BASE, 6, 0));
	BAD_JOB(job_fill(VA_BASE, 0, 0));
	BAD_JOB(job_fill(0, 4, 0));
	BAD_JOB(job_fill(~0ULL - 3, 4, 0));
	BAD_JOB((struct drm_rdu_job){ .type = DRM_RDU_JOB_TIMESTAMP, .timestamp.va = VA_BASE + 4 });
	/* No refused job did anything. */
	EXPECT_EQ(ctx_state(fd, ctx).state, 0);
	EXPECT_EQ(run_job(fd, ctx, job_barrier()), 1);
}

TEST(order_and_seqno)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0), sync = sync_create(fd);
	struct buffer b = buffer_create(fd, vm, VA_BASE, 1 << 20, DRM_RDU_PLACEMENT_DEVICE);
	struct drm_rdu_sync s = { .flags = DRM_RDU_SYNC_SIGNAL, .handle = sync };
	struct drm_rdu_job jobs[100];
	uint32_t *map = b.map;
	uint64_t seqno;

	for (int i = 0; i < 300; i++) {
		for (int j = 0; j < 100; j++)
			jobs[j] = job_fill(VA_BASE, 4, i * 100 + j);
		ASSERT_EQ(submit_syncs(fd, ctx, jobs, 100, &s, 1, &seqno), 0);
		EXPECT_EQ(seqno, i + 1);
	}
	ASSERT_EQ(sync_wait(fd, sync, 0, 30000), 0);
	EXPECT_EQ(sync_status(fd, sync), 1);
	EXPECT_EQ(map[0], 29999);
	EXPECT_EQ(ctx_state(fd, ctx).submitted, 300);
	EXPECT_EQ(ctx_state(fd, ctx).completed, 300);
}

TEST(full_depth)
{
	int fd = card_open();
	struct drm_rdu_ctx_create args = { .vm_id = vm_create(fd), .queue_depth = 2 };
	struct drm_rdu_job jobs[1024];

	for (int i = 0; i < 1024; i++)
		jobs[i] = job_barrier();
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &args), 0);
	EXPECT_EQ(run_jobs(fd, args.ctx_id, jobs, 3), -EINVAL);
	for (int i = 0; i < 20; i++)
		EXPECT_EQ(submit(fd, args.ctx_id, jobs, 2, 0), 0);
	EXPECT_EQ(run_jobs(fd, args.ctx_id, jobs, 2), 1);
	args.queue_depth = 1024;
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &args), 0);
	for (int i = 0; i < 5; i++)
		EXPECT_EQ(run_jobs(fd, args.ctx_id, jobs, 1024), 1);
}

TEST(timestamp)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0);
	struct buffer b = buffer_create(fd, vm, VA_BASE, 1 << 20, DRM_RDU_PLACEMENT_SYSTEM);
	struct drm_rdu_job jobs[] = {
		{ .type = DRM_RDU_JOB_TIMESTAMP, .timestamp.va = VA_BASE },
		job_fill(VA_BASE + PAGE, 1 << 18, 0),
		{ .type = DRM_RDU_JOB_TIMESTAMP, .timestamp.va = VA_BASE + 8 },
	};
	uint64_t *map = b.map;

	ASSERT_EQ(run_jobs(fd, ctx, jobs, 3), 1);
	EXPECT_GT(map[1], map[0]);
}

/* ---- syncs ------------------------------------------------------------- */

TEST(timeline)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0), line = sync_create(fd);
	uint64_t big = 1ULL << 40; /* points have 64 bits */
	struct buffer b = buffer_create(fd, vm, VA_BASE, PAGE, DRM_RDU_PLACEMENT_DEVICE);
	struct drm_rdu_job job = job_fill(VA_BASE, 4, 9);
	uint32_t *map = b.map;

	for (uint64_t p = 1; p <= 5; p++) {
		struct drm_rdu_sync s[2] = {
			{ .flags = DRM_RDU_SYNC_TIMELINE, .handle = line, .point = big + p - 1 },
			{ .flags = DRM_RDU_SYNC_TIMELINE | DRM_RDU_SYNC_SIGNAL, .handle = line,
			  .point = big + p },
		};

		if (p == 1)
			ASSERT_EQ(submit_syncs(fd, ctx, &job, 1, s + 1, 1, NULL), 0);
		else
			ASSERT_EQ(submit_syncs(fd, ctx, &job, 1, s, 2, NULL), 0);
	}
	ASSERT_EQ(sync_wait(fd, line, big + 5, 30000), 0);
	EXPECT_EQ(map[0], 9);
	EXPECT_EQ(sync_wait(fd, line, big + 6, 10), -ETIME);
}

/* A wait between contexts: the second starts when the first is done. */
TEST(wait_across_contexts)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), a = ctx_create(fd, vm, 0), b = ctx_create(fd, vm, 0);
	struct buffer buf = buffer_create(fd, vm, VA_BASE, 4 << 20, DRM_RDU_PLACEMENT_DEVICE);
	uint32_t first = sync_create(fd), second = sync_create(fd), *map = buf.map;
	struct drm_rdu_job fills[] = { job_fill(VA_BASE, 2 << 20, 1), job_fill(VA_BASE, 4, 2) };
	struct drm_rdu_job copy = job_copy(VA_BASE + (2 << 20), VA_BASE, 2 << 20);

	for (int i = 0; i < 50; i++) {
		struct drm_rdu_sync s[2] = {
			{ .handle = first },
			{ .flags = DRM_RDU_SYNC_SIGNAL, .handle = second },
		};

		map[(2 << 20) / 4] = 0;
		ASSERT_EQ(submit(fd, a, fills, 2, first), 0);
		ASSERT_EQ(submit_syncs(fd, b, &copy, 1, s, 2, NULL), 0);
		ASSERT_EQ(sync_wait(fd, second, 0, 30000), 0);
		EXPECT_EQ(map[(2 << 20) / 4], 2);
	}
}

/* What user space has not signalled yet can't be waited for: no such fence. */
TEST(wait_before_submit)
{
	int fd = card_open();
	uint32_t ctx = ctx_create(fd, vm_create(fd), 0), line = sync_create(fd);
	struct drm_rdu_sync s = { .flags = DRM_RDU_SYNC_TIMELINE, .handle = line, .point = 7 };
	struct drm_rdu_job job = job_barrier();

	EXPECT_EQ(submit_syncs(fd, ctx, &job, 1, &s, 1, NULL), -EINVAL);
	ASSERT_EQ(sync_signal(fd, line, 7), 0);
	EXPECT_EQ(submit_syncs(fd, ctx, &job, 1, &s, 1, NULL), 0);
}

/* ---- faults ------------------------------------------------------------ */

TEST(fault_kills_one)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), bad = ctx_create(fd, vm, 0), good = ctx_create(fd, vm, 0);
	struct buffer b = buffer_create(fd, vm, VA_BASE, PAGE, DRM_RDU_PLACEMENT_DEVICE);
	uint32_t before = sync_create(fd), at = sync_create(fd), after = sync_create(fd);
	struct drm_rdu_job jobs[] = {
		job_fill(VA_BASE, 4, 1), job_barrier(), job_fill(VA_BASE + PAGE, 4, 2),
		job_fill(VA_BASE, 4, 3),
	};
	struct drm_rdu_ctx_get_state state;
	uint32_t *map = b.map;

	ASSERT_EQ(submit(fd, bad, jobs, 1, before), 0);
	ASSERT_EQ(submit(fd, bad, jobs, 4, at), 0);
	/* May come too late already. */
	if (submit(fd, bad, jobs, 1, after) == 0) {
		ASSERT_EQ(sync_wait(fd, after, 0, 30000), 0);
		EXPECT_EQ(sync_status(fd, after), -ECANCELED);
	}
	ASSERT_EQ(sync_wait(fd, at, 0, 30000), 0);
	EXPECT_EQ(sync_status(fd, before), 1);
	EXPECT_EQ(sync_status(fd, at), -EIO);
	EXPECT_EQ(map[0], 1);

	state = ctx_state(fd, bad);
	EXPECT_EQ(state.state, DRM_RDU_CTX_STATE_FAULTED);
	EXPECT_EQ(state.fault_code, RDU_FAULT_PAGE);
	EXPECT_EQ(state.va, VA_BASE + PAGE);
	EXPECT_EQ(state.fault_seqno, 2);
	EXPECT_EQ(state.fault_job, 2);
	EXPECT_EQ(state.section, 0xffffffff);
	EXPECT_EQ(state.completed, 1);
	EXPECT_EQ(submit(fd, bad, jobs, 1, 0), -EIO);

	ASSERT_EQ(run_job(fd, good, job_fill(VA_BASE, 4, 4)), 1);
	EXPECT_EQ(map[0], 4);
	EXPECT_EQ(ctx_state(fd, good).state, 0);
	EXPECT_EQ(ctx_destroy(fd, bad), 0);
	bad = ctx_create(fd, vm, 0);
	ASSERT_EQ(run_job(fd, bad, job_fill(VA_BASE, 4, 5)), 1);
}

TEST(many_faults)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), good = ctx_create(fd, vm, 1);
	struct drm_rdu_query_memory before, after;

	buffer_create(fd, vm, VA_BASE, PAGE, DRM_RDU_PLACEMENT_DEVICE);
	ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &before, sizeof(before)), 0);
	for (int i = 0; i < 100; i++) {
		uint32_t bad = ctx_create(fd, vm, 1);

		ASSERT_EQ(run_job(fd, bad, job_fill(VA_BASE + PAGE, 4, i)), -EIO);
		ASSERT_EQ(run_job(fd, good, job_fill(VA_BASE, 4, i)), 1);
		ASSERT_EQ(ctx_destroy(fd, bad), 0);
	}
	ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &after, sizeof(after)), 0);
	/* More: what an earlier test left was still on its way back. */
	EXPECT_GE(after.free, before.free);
}

/* The modelled watchdog: a job that takes more cycles than its context allows. */
TEST(watchdog_cycles)
{
	int fd = card_open();
	struct drm_rdu_ctx_create args = { .vm_id = vm_create(fd), .watchdog_cycles = 10 };

	buffer_create(fd, args.vm_id, VA_BASE, 4 << 20, DRM_RDU_PLACEMENT_DEVICE);
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &args), 0);
	EXPECT_EQ(run_job(fd, args.ctx_id, job_fill(VA_BASE, 4 << 20, 1)), -ETIME);
	EXPECT_EQ(ctx_state(fd, args.ctx_id).fault_code, RDU_FAULT_WATCHDOG);
}

/* Host time: the card stops a job that takes longer than its context allows. */
TEST(watchdog_ms)
{
	int fd = card_open();
	struct drm_rdu_ctx_create args = { .vm_id = vm_create(fd), .timeout_ms = 1 };
	uint32_t good = ctx_create(fd, args.vm_id, 0);
	struct drm_rdu_ctx_get_state state;
	uint64_t size = 128 << 20;

	buffer_create(fd, args.vm_id, VA_BASE, size, DRM_RDU_PLACEMENT_DEVICE);
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &args), 0);
	EXPECT_EQ(run_job(fd, args.ctx_id, job_fill(VA_BASE, size, 1)), -ETIME);
	state = ctx_state(fd, args.ctx_id);
	EXPECT_NE(state.state, 0);
	EXPECT_EQ(state.fault_code, RDU_FAULT_WATCHDOG);
	EXPECT_EQ(state.fault_seqno, 1);
	EXPECT_EQ(run_job(fd, good, job_fill(VA_BASE, PAGE, 2)), 1);
}

/* A buffer unmapped while the card is at work on it: what gets its memory next
 * is not written to. */
TEST(unmap_in_flight)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd);
	uint64_t size = 64 << 20;

	for (int i = 0; i < 10; i++) {
		uint32_t ctx = ctx_create(fd, vm, 0), sync = sync_create(fd), next;
		struct buffer b = buffer_create(fd, vm, VA_BASE, size, DRM_RDU_PLACEMENT_DEVICE);
		struct drm_rdu_job jobs[4];
		uint64_t *map, any = 0;

		munmap(b.map, size);
		for (int j = 0; j < 4; j++)
			jobs[j] = job_fill(VA_BASE, size, 0x5a5a5a5a);
		ASSERT_EQ(submit(fd, ctx, jobs, 4, sync), 0);
		usleep(i * 1000);
		bo_close(fd, b.handle);
		ASSERT_EQ(vm_unmap(fd, vm, VA_BASE, size), 0);
		next = bo_create(fd, size, DRM_RDU_PLACEMENT_DEVICE);
		ASSERT_EQ(sync_wait(fd, sync, 0, 30000), 0);
		map = bo_map(fd, next, size);
		for (uint64_t at = 0; at < size / 8; at += 64)
			any |= map[at];
		EXPECT_EQ(any, 0);
		munmap(map, size);
		bo_close(fd, next);
		ctx_destroy(fd, ctx);
	}
}

/* ---- lifetime ---------------------------------------------------------- */

TEST(close_in_flight)
{
	for (int i = 0; i < 30; i++) {
		int fd = card_open();
		uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 1);
		struct drm_rdu_job jobs[64];

		struct buffer b = buffer_create(fd, vm, VA_BASE, 4 << 20,
						DRM_RDU_PLACEMENT_DEVICE);

		munmap(b.map, b.size); /* a mapping would hold the file */
		for (int j = 0; j < 64; j++)
			jobs[j] = job_fill(VA_BASE, 4 << 20, j);
		ASSERT_EQ(submit(fd, ctx, jobs, 64, 0), 0);
		if (i % 3 == 1)
			ASSERT_EQ(ctx_destroy(fd, ctx), 0);
		if (i % 3 == 2)
			vm_destroy(fd, vm);
		close(fd);
	}
	/* All is free again. */
	int fd = card_open();

	ctx_create(fd, vm_create(fd), card_info(fd).num_tiles);
}

/* A destroyed context's fences signal, with an error. */
TEST(destroy_cancels)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0), sync[8];
	struct drm_rdu_job jobs[64];

	buffer_create(fd, vm, VA_BASE, 16 << 20, DRM_RDU_PLACEMENT_DEVICE);
	for (int j = 0; j < 64; j++)
		jobs[j] = job_fill(VA_BASE, 16 << 20, j);
	for (int i = 0; i < 8; i++) {
		sync[i] = sync_create(fd);
		ASSERT_EQ(submit(fd, ctx, jobs, 64, sync[i]), 0);
	}
	ASSERT_EQ(ctx_destroy(fd, ctx), 0);
	for (int i = 0; i < 8; i++)
		ASSERT_EQ(sync_wait(fd, sync[i], 0, 10000), 0);
	EXPECT_GT(0, sync_status(fd, sync[7]));
}

TEST(killed_process)
{
	for (int i = 0; i < 10; i++) {
		int ready[2], status;
		char c;
		pid_t pid;

		ASSERT_EQ(pipe(ready), 0);
		pid = fork();
		if (!pid) {
			int fd = card_open();
			uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 1);

			buffer_create(fd, vm, VA_BASE, 1 << 20, DRM_RDU_PLACEMENT_DEVICE);
			for (int n = 0;; n++) {
				struct drm_rdu_job job = job_fill(VA_BASE, 1 << 20, n);

				submit(fd, ctx, &job, 1, 0);
				if (n == 10)
					write(ready[1], "x", 1);
			}
		}
		ASSERT_EQ(read(ready[0], &c, 1), 1);
		usleep(i * 1000);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		close(ready[0]);
		close(ready[1]);
	}
	int fd = card_open();
	uint32_t id, tries = 0;

	/* The last reference is given up a little later than waitpid(). */
	while (ctx_try(fd, vm_create(fd), card_info(fd).num_tiles, &id) && tries++ < 100)
		usleep(20000);
	EXPECT_GT(100, tries);
}

static volatile int storm_end;
static int storm_fd;
static uint32_t storm_vm;

static void *storm_bind(void *arg)
{
	uint32_t bo = bo_create(storm_fd, 1 << 20, DRM_RDU_PLACEMENT_DEVICE);
	uint64_t va = VA_BASE + (1ULL << 30);

	(void)arg;
	while (!storm_end) {
		vm_map(storm_fd, storm_vm, bo, 0, va, 1 << 20, 0);
		vm_unmap(storm_fd, storm_vm, va + PAGE, PAGE);
		vm_unmap(storm_fd, storm_vm, va, 1 << 20);
	}
	return NULL;
}

static void *storm_ctx(void *arg)
{
	(void)arg;
	while (!storm_end) {
		struct drm_rdu_job job = job_fill(VA_BASE + (1ULL << 30), 1 << 20, 7);
		uint32_t id;

		if (ctx_try(storm_fd, storm_vm, 0, &id))
			continue;
		submit(storm_fd, id, &job, 1, 0);
		ctx_destroy(storm_fd, id);
	}
	return NULL;
}

static void on_signal(int sig)
{
	(void)sig;
}

/* Bind, submit, destroy and faults race in one VM, with signals in between; a
 * context beside them is not disturbed. */
TEST(race)
{
	struct sigaction action = { .sa_handler = on_signal };
	pthread_t threads[4];
	struct buffer b;
	uint32_t ctx;

	storm_fd = card_open();
	storm_vm = vm_create(storm_fd);
	b = buffer_create(storm_fd, storm_vm, VA_BASE, PAGE, DRM_RDU_PLACEMENT_DEVICE);
	ctx = ctx_create(storm_fd, storm_vm, 0);
	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, i & 1 ? storm_bind : storm_ctx, NULL);
	for (int i = 0; i < 500; i++) {
		ASSERT_EQ(run_job(storm_fd, ctx, job_fill(b.va, 4, i)), 1);
		ASSERT_EQ(*(volatile uint32_t *)b.map, i);
		pthread_kill(threads[i & 3], SIGUSR1);
	}
	storm_end = 1;
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}
