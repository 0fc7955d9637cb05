// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Every allocation that a call makes fails once: the first, then the second, ...
 * until the call no longer makes so many. Each time it must say ENOMEM (EFAULT
 * where it was a copy to or from user space that failed), and leave nothing
 * behind: card memory, tiles and handles are counted here, the kernel's memory
 * by kmemleak. Needs a kernel with fault injection.
 */
#include "program.h"

#define MOST 400 /* allocations of one call */

struct env {
	int fd, made;
	uint32_t vm, bo, ctx, prog, sync, binary, handle;
	uint64_t point;
	struct drm_rdu_prog_load load;
	char *page;
};

static int fail_fd;

/* tests/guest-inject says where faults may strike. */
static bool injection_is_prepared(void)
{
	char text[32] = "";
	int fd = open("/sys/kernel/debug/failslab/reject-start", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	close(fd);
	return got > 0 && strtoull(text, NULL, 0);
}

static void env_init(struct env *e)
{
	size_t size;

	fail_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fail_fd < 0)
		SKIP("the kernel does not inject faults");
	if (!injection_is_prepared())
		SKIP("tests/guest-inject was not run");
	memset(e, 0, sizeof(*e));
	e->fd = card_open();
	e->vm = vm_create(e->fd);
	e->bo = bo_create(e->fd, PAGE, DRM_RDU_PLACEMENT_SYSTEM);
	ASSERT_EQ(vm_map(e->fd, e->vm, e->bo, 0, VA_BASE, PAGE, 0), 0);
	e->ctx = ctx_create(e->fd, e->vm, 0);
	e->sync = sync_create(e->fd);
	e->binary = sync_create(e->fd);
	e->load.data = (uintptr_t)scale_image(e->fd, 2, RDU_SIMD_FMUL, &size);
	e->load.size = size;
	e->page = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(e->page != MAP_FAILED);
	memset(e->page, 1, 4 * PAGE);
}

/* A number that was not reached may strike this very write. */
static void fail_after(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	for (int i = 0; i < 3; i++)
		if (pwrite(fail_fd, text, len, 0) == len)
			return;
	ASSERT_TRUE(!"fail-nth can be written");
}

/* True if the fault has struck since fail_after(). Nothing fails from now on. */
static bool fault_struck(void)
{
	char text[16] = "";
	bool struck = pread(fail_fd, text, sizeof(text) - 1, 0) > 0 && !atoi(text);

	fail_after(0);
	return struck;
}

static uint64_t free_memory(int fd)
{
	struct drm_rdu_query_memory memory = { 0 };

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &memory, sizeof(memory)), 0);
	return memory.free;
}

static unsigned int owned_tiles(int fd)
{
	struct drm_rdu_query_tile tiles[64] = { 0 };
	unsigned int owned = 0;

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_TILES, tiles, sizeof(tiles)), 0);
	for (int i = 0; i < 64; i++)
		owned += !!(tiles[i].flags & DRM_RDU_TILE_OWNED);
	return owned;
}

/*
 * again: makes the call once, 0 or -errno. undo: takes back what it made.
 * With EFAULT what it made may stay until the file is closed: that the caller
 * was not told of.
 */
static void fail_each(struct env *e, int (*again)(struct env *e), void (*undo)(struct env *e))
{
	unsigned int n, failed = 0, survived = 0, tiles;
	bool hidden = false;
	uint64_t memory;

	/* Tables and caches that stay are there from the first time on. */
	ASSERT_EQ(again(e), 0);
	if (undo)
		undo(e);
	memory = free_memory(e->fd);
	tiles = owned_tiles(e->fd);
	for (n = 1; n <= MOST; n++) {
		int ret;

		fail_after(n);
		ret = again(e);
		if (!fault_struck()) {
			ASSERT_EQ(ret, 0);
			break;
		}
		if (!ret) {
			survived++;
			if (undo)
				undo(e);
			continue;
		}
		failed++;
		hidden |= ret == -EFAULT;
		/* The core's allocator of card memory takes one for the other. */
		if (ret != -ENOMEM && ret != -EFAULT && ret != -ENOSPC)
			printf("# allocation %u: %s\n", n, strerror(-ret));
		EXPECT_TRUE(ret == -ENOMEM || ret == -EFAULT || ret == -ENOSPC);
	}
	EXPECT_GE(MOST, n);
	if (undo)
		undo(e);
	/* Some is given back a little later. */
	for (int i = 0; i < 200 && !hidden && free_memory(e->fd) < memory; i++)
		usleep(20000);
	if (!hidden) {
		EXPECT_GE(free_memory(e->fd), memory);
		EXPECT_EQ(owned_tiles(e->fd), tiles);
	}
	printf("# %u calls failed, %u did without\n", failed, survived);
}

#define FAIL_EACH(name, undo)                                                  \
	TEST(name)                                                             \
	{                                                                      \
		struct env e;                                                  \
									       \
		env_init(&e);                                                  \
		fail_each(&e, again_##name, undo);                             \
	}

/* Not call(): one call is one call. */
static int once(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

static int again_open(struct env *e)
{
	char path[32];

	for (int i = 0; i < 16; i++) {
		snprintf(path, sizeof(path), "/dev/accel/accel%d", i);
		e->made = open(path, O_RDWR | O_CLOEXEC);
		if (e->made >= 0 || errno != ENOENT)
			return e->made < 0 ? -errno : 0;
	}
	return -ENOENT;
}

static void undo_fd(struct env *e)
{
	close(e->made);
}

FAIL_EACH(open, undo_fd)

static int again_dev_query(struct env *e)
{
	int ret = 0;

	for (uint32_t type = 0; type <= DRM_RDU_QUERY_HEALTH && !ret; type++) {
		struct drm_rdu_dev_query q = { .type = type, .size = 4 * PAGE,
					       .pointer = (uintptr_t)e->page };

		ret = once(e->fd, DRM_IOCTL_RDU_DEV_QUERY, &q);
	}
	return ret;
}

FAIL_EACH(dev_query, NULL)

static int again_vm_create(struct env *e)
{
	struct drm_rdu_vm_create args = { 0 };
	int ret = once(e->fd, DRM_IOCTL_RDU_VM_CREATE, &args);

	e->handle = args.vm_id;
	return ret;
}

static void undo_vm(struct env *e)
{
	vm_destroy(e->fd, e->handle);
}

FAIL_EACH(vm_create, undo_vm)

static int again_vm_destroy(struct env *e)
{
	struct drm_rdu_vm_destroy args = { 0 };
	uint32_t left = 0;
	int ret;


	ret = again_vm_create(e);
	if (ret)
		return ret;
	args.vm_id = e->handle;
	ret = once(e->fd, DRM_IOCTL_RDU_VM_DESTROY, &args);
	if (ret)
		left = e->handle;
	if (left)
		vm_destroy(e->fd, left);
	return ret;
}

FAIL_EACH(vm_destroy, NULL)

/* Makes tables at every level, then maps over a part of it: splits, remains. */
static int again_vm_bind(struct env *e)
{
	struct drm_rdu_bind_op ops[] = {
		{ .handle = e->bo, .va = 5ULL << 39, .size = PAGE },
		{ .handle = e->handle, .va = 6ULL << 30, .size = 4 << 20 },
		{ .handle = e->bo, .va = (6ULL << 30) + (1 << 20), .size = PAGE },
		{ .type = DRM_RDU_BIND_UNMAP, .va = (6ULL << 30) + (3 << 20), .size = 16 * PAGE },
	};
	struct drm_rdu_vm_bind args = { .vm_id = e->vm, .ops = (uintptr_t)ops, .num_ops = 4,
					.op_stride = sizeof(ops[0]) };

	return once(e->fd, DRM_IOCTL_RDU_VM_BIND, &args);
}

static void undo_bind(struct env *e)
{
	ASSERT_EQ(vm_unmap(e->fd, e->vm, 5ULL << 39, PAGE), 0);
	ASSERT_EQ(vm_unmap(e->fd, e->vm, 6ULL << 30, 4 << 20), 0);
}

TEST(vm_bind)
{
	struct env e;

	env_init(&e);
	e.handle = bo_create(e.fd, 4 << 20, DRM_RDU_PLACEMENT_DEVICE);
	fail_each(&e, again_vm_bind, undo_bind);
}

static int again_bo_create(struct env *e)
{
	struct drm_rdu_bo_create args = { .size = 16 * PAGE, .placement = e->made };
	int ret = once(e->fd, DRM_IOCTL_RDU_BO_CREATE, &args);

	e->handle = args.handle;
	return ret;
}

static void undo_bo(struct env *e)
{
	bo_close(e->fd, e->handle);
}

FAIL_EACH(bo_create, undo_bo)

TEST(bo_create_system)
{
	struct env e;

	env_init(&e);
	e.made = DRM_RDU_PLACEMENT_SYSTEM;
	fail_each(&e, again_bo_create, undo_bo);
}

static int again_userptr(struct env *e)
{
	struct drm_rdu_bo_create_userptr args = { .user_ptr = (uintptr_t)e->page,
						  .size = 4 * PAGE };
	int ret = once(e->fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &args);

	e->handle = args.handle;
	return ret;
}

FAIL_EACH(userptr, undo_bo)

static int again_bo_info(struct env *e)
{
	struct drm_rdu_bo_info args = { .handle = e->bo };

	return once(e->fd, DRM_IOCTL_RDU_BO_INFO, &args);
}

FAIL_EACH(bo_info, NULL)

static int again_gem_close(struct env *e)
{
	struct drm_gem_close args = { 0 };
	int ret = again_bo_create(e);

	if (ret)
		return ret;
	args.handle = e->handle;
	ret = once(e->fd, DRM_IOCTL_GEM_CLOSE, &args);
	if (ret)
		bo_close(e->fd, args.handle);
	return ret;
}

FAIL_EACH(gem_close, NULL)

/* Pages that the CPU touches first now. */
static int again_fault(struct env *e)
{
	struct drm_rdu_bo_info info = { .handle = e->bo };
	int ret = once(e->fd, DRM_IOCTL_RDU_BO_INFO, &info);
	int memory, got;
	void *map;

	if (ret)
		return ret;
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, e->fd, info.mmap_offset);
	if (map == MAP_FAILED)
		return -errno;
	/* Read through the kernel: a fault that fails is EFAULT, not SIGBUS. */
	memory = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	if (memory < 0) {
		ret = -errno;
		munmap(map, PAGE);
		return ret;
	}
	got = read(memory, map, PAGE);
	ret = got == (int)PAGE ? 0 : got < 0 ? -errno : -EFAULT;
	close(memory);
	munmap(map, PAGE);
	return ret;
}

FAIL_EACH(fault, NULL)

static int again_prime(struct env *e)
{
	struct drm_prime_handle args = { .handle = e->bo, .flags = DRM_CLOEXEC | DRM_RDWR };
	int other = e->made, ret = once(e->fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &args);

	if (ret)
		return ret;
	ret = once(other, DRM_IOCTL_PRIME_FD_TO_HANDLE, &args);
	close(args.fd);
	e->handle = args.handle;
	return ret;
}

static void undo_prime(struct env *e)
{
	bo_close(e->made, e->handle);
}

TEST(prime)
{
	struct env e;

	env_init(&e);
	e.made = card_open();
	fail_each(&e, again_prime, undo_prime);
}

static int again_import(struct env *e)
{
	struct drm_prime_handle args = { .fd = e->made };
	int ret = once(e->fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &args);

	e->handle = args.handle;
	return ret;
}

static void undo_import(struct env *e)
{
	bo_close(e->fd, e->handle);
}

/* Another driver's memory: attached, mapped for the card. */
TEST(import)
{
	struct env e;

	env_init(&e);
	e.made = heap_alloc(4 * PAGE, O_RDWR);
	fail_each(&e, again_import, undo_import);
}

static int again_ctx_create(struct env *e)
{
	struct drm_rdu_ctx_create args = { .vm_id = e->vm, .num_tiles = 1 };
	int ret = once(e->fd, DRM_IOCTL_RDU_CTX_CREATE, &args);

	e->handle = args.ctx_id;
	return ret;
}

static void undo_ctx(struct env *e)
{
	ctx_destroy(e->fd, e->handle);
}

FAIL_EACH(ctx_create, undo_ctx)

static int again_ctx_destroy(struct env *e)
{
	struct drm_rdu_ctx_destroy args = { 0 };
	int ret = again_ctx_create(e);

	if (ret)
		return ret;
	args.ctx_id = e->handle;
	ret = once(e->fd, DRM_IOCTL_RDU_CTX_DESTROY, &args);
	if (ret)
		ctx_destroy(e->fd, args.ctx_id);
	return ret;
}

FAIL_EACH(ctx_destroy, NULL)

static int again_ctx_get_state(struct env *e)
{
	struct drm_rdu_ctx_get_state args = { .ctx_id = e->ctx };

	return once(e->fd, DRM_IOCTL_RDU_CTX_GET_STATE, &args);
}

FAIL_EACH(ctx_get_state, NULL)

static int again_prog_load(struct env *e)
{
	struct drm_rdu_prog_load args = e->load;
	int ret = once(e->fd, DRM_IOCTL_RDU_PROG_LOAD, &args);

	e->handle = args.prog_id;
	return ret;
}

static void undo_prog(struct env *e)
{
	struct drm_rdu_prog_unload args = { .prog_id = e->handle };

	call(e->fd, DRM_IOCTL_RDU_PROG_UNLOAD, &args);
}

FAIL_EACH(prog_load, undo_prog)

static int again_prog_unload(struct env *e)
{
	struct drm_rdu_prog_unload args = { 0 };
	int ret = again_prog_load(e);

	if (ret)
		return ret;
	args.prog_id = e->handle;
	ret = once(e->fd, DRM_IOCTL_RDU_PROG_UNLOAD, &args);
	if (ret)
		undo_prog(e);
	return ret;
}

FAIL_EACH(prog_unload, NULL)

/* Two commands, a dependency, a point of a timeline and a binary syncobj. */
static int again_submit(struct env *e)
{
	struct drm_rdu_job jobs[] = { job_barrier(), job_fill(VA_BASE, 64, 1) };
	struct drm_rdu_sync syncs[] = {
		{ .flags = DRM_RDU_SYNC_SIGNAL | DRM_RDU_SYNC_TIMELINE, .handle = e->sync,
		  .point = e->point + 1 },
		{ .flags = DRM_RDU_SYNC_SIGNAL, .handle = e->binary },
		{ .flags = DRM_RDU_SYNC_TIMELINE, .handle = e->sync, .point = e->point },
	};
	struct drm_rdu_submit args = {
		.ctx_id = e->handle, .jobs = (uintptr_t)jobs, .num_jobs = 2,
		.job_stride = sizeof(jobs[0]), .syncs = (uintptr_t)syncs,
		.num_syncs = e->point ? 3 : 2, .sync_stride = sizeof(syncs[0]),
	};
	int ret = once(e->fd, DRM_IOCTL_RDU_SUBMIT, &args);

	/* Told or not: with EFAULT it may have gone out. */
	if (!ret)
		e->point++;
	else if (ret == -EFAULT && !sync_wait(e->fd, e->sync, e->point + 1, 0))
		e->point++;
	return ret;
}

static void undo_submit(struct env *e)
{
	ASSERT_EQ(sync_wait(e->fd, e->sync, e->point, 30000), 0);
}

TEST(submit)
{
	struct env e;

	env_init(&e);
	e.handle = e.ctx;
	fail_each(&e, again_submit, undo_submit);
	EXPECT_EQ(ctx_state(e.fd, e.ctx).state, 0);
}

static int again_perf_open(struct env *e)
{
	struct drm_rdu_perf_open args = { .ctx_id = e->ctx, .period_ns = 1000000 };
	int ret = once(e->fd, DRM_IOCTL_RDU_PERF_OPEN, &args);

	e->made = args.fd;
	return ret;
}

FAIL_EACH(perf_open, undo_fd)
