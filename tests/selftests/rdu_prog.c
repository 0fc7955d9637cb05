// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Programs: loading good and bad ones, and running one on the fabric. */
#include "program.h"

TEST(load_errors)
{
	int fd = card_open();
	size_t size;
	void *image = scale_image(fd, 2, RDU_SIMD_FMUL, &size);
	struct drm_rdu_prog_load args = { .data = (uintptr_t)image, .size = size };
	struct drm_rdu_prog_unload unload;

	EXPECT_RESERVED(fd, DRM_IOCTL_RDU_PROG_LOAD, args, flags, 0);
	args.size = 0;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_PROG_LOAD, &args), -EINVAL);
	args.size = card_info(fd).max_prog_size + 1ULL;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_PROG_LOAD, &args), -EINVAL);
	args.size = ~0ULL;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_PROG_LOAD, &args), -EINVAL);
	EXPECT_EQ(prog_load(fd, bad_page(), size, &args), -EFAULT);
	EXPECT_EQ(prog_load(fd, NULL, size, &args), -EFAULT);
	unload = (struct drm_rdu_prog_unload){ .prog_id = 1 };
	EXPECT_RESERVED(fd, DRM_IOCTL_RDU_PROG_UNLOAD, unload, pad, 0);
	EXPECT_EQ(prog_unload(fd, 0), -ENOENT);
	EXPECT_EQ(prog_unload(fd, 1), -ENOENT);
}

TEST(load_unload)
{
	int fd = card_open(), other = card_open();
	struct drm_rdu_query_memory before, after;
	struct drm_rdu_prog_load args;
	size_t size;
	void *image = scale_image(fd, 2, RDU_SIMD_FMUL, &size);

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &before, sizeof(before)), 0);
	for (int i = 0; i < 50; i++) {
		ASSERT_EQ(prog_load(fd, image, size, &args), 0);
		EXPECT_NE(args.prog_id, 0);
		EXPECT_EQ(args.error, 0);
		EXPECT_EQ(prog_unload(other, args.prog_id), -ENOENT);
		ASSERT_EQ(prog_unload(fd, args.prog_id), 0);
		EXPECT_EQ(prog_unload(fd, args.prog_id), -ENOENT);
	}
	/* Unloading is finished a little later. */
	for (int i = 0; i < 100; i++) {
		ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &after, sizeof(after)), 0);
		if (after.free >= before.free)
			break;
		usleep(20000);
	}
	EXPECT_GE(after.free, before.free);
}

/* Who loads a program does not wait until somebody's large buffer is cleared. */
TEST(load_while_clearing)
{
	enum { BEFORE, CLEARING, AFTER };
	struct drm_rdu_query_memory mem;
	int *stage = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct drm_rdu_prog_load args;
	int fd = card_open_idle(), loads = 0, status;
	size_t size;
	void *image = scale_image(fd, 2, RDU_SIMD_FMUL, &size);
	pid_t pid;

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &mem, sizeof(mem)), 0);
	/* A processor that was busy elsewhere proves nothing. */
	for (int i = 0; i < 5 && loads < 8; i++) {
		loads = 0;
		*stage = BEFORE;
		pid = fork();
		if (!pid) {
			int own = card_open();

			*stage = CLEARING;
			bo_create(own, mem.size / 2, DRM_RDU_PLACEMENT_DEVICE);
			*stage = AFTER;
			_exit(0);
		}
		while (*(volatile int *)stage == BEFORE)
			usleep(1000);
		for (;;) {
			ASSERT_EQ(prog_load(fd, image, size, &args), 0);
			ASSERT_EQ(prog_unload(fd, args.prog_id), 0);
			if (*(volatile int *)stage == AFTER)
				break;
			loads++;
		}
		ASSERT_EQ(waitpid(pid, &status, 0), pid);
		ASSERT_EQ(status, 0);
	}
	EXPECT_GE(loads, 8);
	printf("# %d while %llu MiB were cleared\n", loads, (unsigned long long)mem.size >> 21);
	free(image);
}

TEST(truncated)
{
	int fd = card_open();
	struct drm_rdu_prog_load args;
	size_t size;
	char *image = scale_image(fd, 2, RDU_SIMD_FMUL, &size);

	for (size_t n = 1; n < size; n += n < 200 ? 1 : 37) {
		ASSERT_EQ(prog_load(fd, image, n, &args), -EBADMSG);
		EXPECT_NE(args.error, 0);
		EXPECT_GE(n, args.error_offset);
	}
}

TEST(garbage)
{
	int fd = card_open();
	struct drm_rdu_prog_load args;
	unsigned char data[8192];

	srandom(1);
	for (int i = 0; i < 100; i++) {
		for (size_t j = 0; j < sizeof(data); j++)
			data[j] = random() >> 8;
		ASSERT_EQ(prog_load(fd, data, sizeof(data), &args), -EBADMSG);
		EXPECT_NE(args.error, 0);
	}
	memset(data, 0, sizeof(data));
	ASSERT_EQ(prog_load(fd, data, sizeof(data), &args), -EBADMSG);
	memset(data, 0xff, sizeof(data));
	ASSERT_EQ(prog_load(fd, data, sizeof(data), &args), -EBADMSG);
}

/* Refused with a reason, or accepted and then harmless; and nobody logs it. */
TEST_TIMED(bit_flips, 240)
{
	int fd = card_open();
	struct drm_rdu_prog_load args;
	unsigned int refused = 0, accepted = 0;
	size_t size;
	unsigned char *image = scale_image(fd, 2, RDU_SIMD_FMUL, &size);

	for (size_t bit = 0; bit < size * 8; bit += bit < 1024 ? 1 : 29) {
		int ret;

		image[bit / 8] ^= 1 << (bit & 7);
		ret = prog_load(fd, image, size, &args);
		image[bit / 8] ^= 1 << (bit & 7);
		if (ret) {
			ASSERT_EQ(ret, -EBADMSG);
			EXPECT_NE(args.error, 0);
			EXPECT_GE(size, args.error_offset);
			refused++;
		} else {
			accepted++;
			ASSERT_EQ(prog_unload(fd, args.prog_id), 0);
		}
	}
	EXPECT_GT(refused, accepted);
	printf("# %u refused, %u accepted\n", refused, accepted);
}

TEST(run)
{
	static const uint32_t placement[] = { DRM_RDU_PLACEMENT_DEVICE, DRM_RDU_PLACEMENT_SYSTEM };
	struct run r;

	for (int p = 0; p < 2; p++) {
		struct rdu_stats *stats;

		run_init(&r, card_open(), 2.5f, 1, placement[p]);
		run_check(&r, 2.5f, 0);
		stats = r.stats.map;
		EXPECT_GT(stats->end_cycle, stats->start_cycle);
		EXPECT_GT(stats->exec_cycles, 0);
		EXPECT_GT(stats->pload_cycles, 0);
		EXPECT_EQ(stats->sections, 1);
		run_check(&r, 2.5f, 1);
	}
}

TEST(run_errors)
{
	int fd = card_open();
	struct drm_rdu_job good, job;
	uint32_t none;
	struct run r;

	run_init(&r, fd, 2, 1, DRM_RDU_PLACEMENT_DEVICE);
	good = run_command(&r);
	for (int bit = 0; bit < 32; bit++) {
		job = good;
		job.flags = 1U << bit;
		EXPECT_EQ(submit(fd, r.ctx, &job, 1, 0), -EINVAL);
	}
#define BAD_RUN(field, value, error)                                           \
	do {                                                                   \
		job = good;                                                    \
		job.run.field = value;                                         \
		EXPECT_EQ(submit(fd, r.ctx, &job, 1, 0), error);               \
	} while (0)
	BAD_RUN(prog_id, 0, -ENOENT);
	BAD_RUN(prog_id, r.prog + 1, -ENOENT);
	BAD_RUN(entry, 1, -EINVAL);
	BAD_RUN(entry, ~0U, -EINVAL);
	BAD_RUN(args_va, 0, -EINVAL);
	BAD_RUN(args_va, VA_BASE + 4, -EINVAL);
	BAD_RUN(args_size, 0, -EINVAL);
	BAD_RUN(args_size, ~0ULL, -EINVAL);
	BAD_RUN(stats_va, ~7ULL, -EINVAL);
	BAD_RUN(stats_va, VA_BASE + 1, -EINVAL);
	BAD_RUN(trace_va, VA_BASE, -EINVAL);
	BAD_RUN(trace_size, 64, -EINVAL);
	/* A context without tiles runs nothing. */
	none = ctx_create(fd, r.vm, 0);
	EXPECT_EQ(submit(fd, none, &good, 1, 0), -EINVAL);
	/* Another file's program. */
	int other = card_open();
	uint32_t vm = vm_create(other);

	EXPECT_EQ(submit(other, ctx_create(other, vm, 1), &good, 1, 0), -ENOENT);
	run_check(&r, 2, 3);
}

/* The argument block is data: what is wrong in it is a fault, not an errno. */
TEST(bad_args)
{
	int fd = card_open();

	for (int i = 0; i < 4; i++) {
		struct drm_rdu_ctx_get_state state;
		struct rdu_args *args;
		struct run r;

		run_init(&r, fd, 2, 1, DRM_RDU_PLACEMENT_DEVICE);
		args = r.args.map;
		if (i == 0)
			args->num_regions = 0xffffffff;
		if (i == 1)
			args->regions[0].size = 4;
		if (i == 2)
			args->regions[1].addr = 1ULL << 40; /* not mapped */
		if (i == 3)
			ASSERT_EQ(vm_unmap(fd, r.vm, r.args.va, PAGE), 0);
		EXPECT_EQ(run_job(fd, r.ctx, run_command(&r)), -EIO);
		state = ctx_state(fd, r.ctx);
		EXPECT_EQ(state.state, DRM_RDU_CTX_STATE_FAULTED);
		EXPECT_EQ(state.fault_code, i < 2 ? RDU_FAULT_BAD_ARGS : RDU_FAULT_PAGE);
		EXPECT_EQ(state.fault_seqno, 1);
		EXPECT_EQ(state.fault_job, 0);
		if (i == 2) {
			EXPECT_EQ(state.va >> 40, 1);
			EXPECT_EQ(state.section, 0);
		}
		ctx_destroy(fd, r.ctx);
	}
}

/* Unloaded while queued: what was submitted still runs. */
TEST(unload_in_flight)
{
	int fd = card_open();
	struct drm_rdu_job jobs[16];
	uint32_t sync;
	struct run r;

	run_init(&r, fd, 3, 1, DRM_RDU_PLACEMENT_DEVICE);
	for (int i = 0; i < WORDS; i++)
		((float *)r.in.map)[i] = i;
	for (int i = 0; i < 16; i++)
		jobs[i] = run_command(&r);
	sync = sync_create(fd);
	ASSERT_EQ(submit(fd, r.ctx, jobs, 16, sync), 0);
	ASSERT_EQ(prog_unload(fd, r.prog), 0);
	EXPECT_EQ(submit(fd, r.ctx, jobs, 1, 0), -ENOENT);
	ASSERT_EQ(sync_wait(fd, sync, 0, 30000), 0);
	EXPECT_EQ(sync_status(fd, sync), 1);
	EXPECT_TRUE(((float *)r.out.map)[7] == 21);
}

/* Two processes on tiles of their own, at once; one of them also faults. */
TEST(two_processes)
{
	int status;
	pid_t pid[2];

	if (card_info(card_open()).num_tiles < 2)
		SKIP("one tile only");
	for (int i = 0; i < 2; i++) {
		pid[i] = fork();
		if (pid[i])
			continue;

		float factor = i ? 3 : 5;
		struct run r;

		run_init(&r, card_open(), factor, 1, DRM_RDU_PLACEMENT_DEVICE);
		for (int n = 0; n < 30; n++) {
			run_check(&r, factor, n);
			if (i && n % 10 == 5) {
				/* Die and rise. */
				EXPECT_EQ(run_job(r.fd, r.ctx, job_fill(1ULL << 40, 4, 0)), -EIO);
				ctx_destroy(r.fd, r.ctx);
				r.ctx = ctx_create(r.fd, r.vm, 1);
			}
		}
		_exit(test_status);
	}
	for (int i = 0; i < 2; i++) {
		waitpid(pid[i], &status, 0);
		EXPECT_EQ(status, 0);
	}
}
