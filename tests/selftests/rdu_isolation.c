// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Two users on one card: one has something, the other is after it. Every test
 * is an attack; Documentation/isolation.md says which promise it is on. More of
 * them are in rdu_config.c, rdu_remains.c and rdu_timing.c.
 */
#include <glob.h>
#include <pthread.h>
#include <sys/ptrace.h>

#include "duel.h"

/* ---- handles ----------------------------------------------------------- */

static int prime_export(int fd, uint32_t handle)
{
	struct drm_prime_handle args = { .handle = handle, .flags = DRM_RDWR | DRM_CLOEXEC };

	return call(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &args);
}

/* Every kind of number that could be another's, at a file that has nothing. */
static void guess(int fd, uint32_t n, const struct run *mine)
{
	struct drm_rdu_vm_destroy vm = { .vm_id = n };
	struct drm_rdu_bo_info info = { .handle = n };
	struct drm_rdu_ctx_get_state state = { .ctx_id = n };
	struct drm_rdu_perf_open perf = { .ctx_id = n, .period_ns = 1000000 };
	struct drm_rdu_bo_create bo = { .size = PAGE, .vm_id = n };
	struct drm_rdu_ctx_create ctx = { .vm_id = n };
	struct drm_syncobj_destroy sync = { .handle = n };
	struct drm_syncobj_handle out = { .handle = n };
	struct drm_gem_flink flink = { .handle = n };
	struct drm_gem_open named = { .name = n };
	struct drm_rdu_job job = job_barrier();

	EXPECT_REFUSED(vm_unmap(fd, n, VA_BASE, PAGE));
	EXPECT_REFUSED(vm_map(fd, n, n, 0, VA_BASE, PAGE, 0));
	EXPECT_REFUSED(call(fd, DRM_IOCTL_RDU_VM_DESTROY, &vm));
	EXPECT_REFUSED(call(fd, DRM_IOCTL_RDU_BO_INFO, &info));
	EXPECT_REFUSED(prime_export(fd, n));
	EXPECT_REFUSED(bo_close(fd, n));
	EXPECT_REFUSED(submit(fd, n, &job, 1, 0));
	EXPECT_REFUSED(call(fd, DRM_IOCTL_RDU_CTX_GET_STATE, &state));
	EXPECT_REFUSED(ctx_destroy(fd, n));
	EXPECT_REFUSED(prog_unload(fd, n));
	EXPECT_REFUSED(call(fd, DRM_IOCTL_RDU_PERF_OPEN, &perf));
	EXPECT_REFUSED(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &ctx));
	if (n)
		EXPECT_REFUSED(call(fd, DRM_IOCTL_RDU_BO_CREATE, &bo));
	EXPECT_REFUSED(sync_signal(fd, n, 0));
	EXPECT_REFUSED(sync_wait(fd, n, 0, 0));
	EXPECT_REFUSED(call(fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &out));
	EXPECT_REFUSED(call(fd, DRM_IOCTL_SYNCOBJ_DESTROY, &sync));
	/* Names of the whole card's buffers: not for users of it. */
	EXPECT_REFUSED(call(fd, DRM_IOCTL_GEM_FLINK, &flink));
	EXPECT_REFUSED(call(fd, DRM_IOCTL_GEM_OPEN, &named));
	/* In calls that are good but for the one number. */
	if (n != mine->args.handle && n != mine->stats.handle && n != mine->in.handle &&
	    n != mine->out.handle)
		EXPECT_REFUSED(vm_map(mine->fd, mine->vm, n, 0, VA_BASE + (1 << 30), PAGE, 0));
	if (n != mine->prog) {
		job = run_command(mine);
		job.run.prog_id = n;
		EXPECT_REFUSED(submit(mine->fd, mine->ctx, &job, 1, 0));
	}
	job = job_barrier();
	if (n)
		EXPECT_REFUSED(submit(mine->fd, mine->ctx, &job, 1, n));
}

static void attack_handles(int fd, int line)
{
	static const uint32_t far[] = { 4095, 4096, 4097, 65536, 1U << 30, ~0U >> 1, 1U << 31, ~0U };
	struct run mine;
	int empty = card_open_again(fd);

	(void)line;
	run_init(&mine, fd, 5, 1, DRM_RDU_PLACEMENT_DEVICE);
	for (uint32_t n = 0; n < 64; n++)
		guess(empty, n, &mine);
	for (unsigned int i = 0; i < sizeof(far) / sizeof(*far); i++)
		guess(empty, far[i], &mine);
	run_check(&mine, 5, 1);
}

TEST(handles)
{
	duel(attack_handles);
}

/* ---- mmap() ------------------------------------------------------------ */

static int map_at(int fd, uint64_t offset, uint64_t size, int prot, int flags)
{
	void *map = mmap(NULL, size, prot, flags, fd, offset);

	if (map == MAP_FAILED)
		return -errno;
	munmap(map, size);
	return 0;
}

static void attack_mmap(int fd, int line)
{
	uint32_t handle = bo_create(fd, 4 * PAGE, DRM_RDU_PLACEMENT_DEVICE);
	struct drm_rdu_bo_info info = { .handle = handle };
	uint64_t all = 0x100000, hits = 0;
	char *map;

	(void)line;
	/* Offsets are known: they are no secret, and no right either. */
	for (int i = 0; i < 3; i++) {
		for (uint64_t at = 0; at < 1 << 20; at += 16 * PAGE) {
			EXPECT_REFUSED(map_at(fd, prey.offset[i] + at, PAGE, PROT_READ, MAP_SHARED));
			EXPECT_REFUSED(map_at(fd, prey.offset[i] + at, (1 << 20) - at,
					      PROT_READ | PROT_WRITE, MAP_SHARED));
		}
		EXPECT_EQ(map_at(fd, prey.offset[i], 1 << 20, PROT_READ, MAP_SHARED), -EACCES);
		EXPECT_REFUSED(map_at(fd, prey.offset[i], PAGE, PROT_READ, MAP_PRIVATE));
	}
	/* Around all buffers there are: only one's own is to be had. */
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_INFO, &info), 0);
	for (uint64_t page = all; page < all + 32768; page++) {
		int ret = map_at(fd, page * PAGE, PAGE, PROT_READ, MAP_SHARED);

		if (!ret && page * PAGE >= info.mmap_offset &&
		    page * PAGE < info.mmap_offset + 4 * PAGE)
			hits++;
		else
			EXPECT_REFUSED(ret);
	}
	EXPECT_GE(4, hits);
	for (uint64_t page = 0; page < 4096; page++)
		EXPECT_REFUSED(map_at(fd, page * PAGE, PAGE, PROT_READ, MAP_SHARED));
	/* Nor beyond the end of one's own. */
	EXPECT_EQ(map_at(fd, info.mmap_offset, 5 * PAGE, PROT_READ, MAP_SHARED), -EINVAL);
	EXPECT_REFUSED(map_at(fd, info.mmap_offset + 4 * PAGE, PAGE, PROT_READ, MAP_SHARED));
	map = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, fd, info.mmap_offset);
	ASSERT_TRUE(map != MAP_FAILED);
	EXPECT_TRUE(mremap(map, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED);
	EXPECT_TRUE(mremap(map, 0, PAGE, MREMAP_MAYMOVE) == MAP_FAILED || other_than(map, PAGE, 0) == 0);
}

TEST(mmap_offsets)
{
	duel(attack_mmap);
}

/* ---- device addresses -------------------------------------------------- */

/* A context that dies with every try is made anew. */
static int try_once(struct run *r, struct drm_rdu_job job, uint64_t va)
{
	int ret = run_job(r->fd, r->ctx, job);
	struct drm_rdu_ctx_get_state state;

	if (ret == -EINVAL)
		return ret; /* not even a VM's address */
	EXPECT_EQ(ret, -EIO);
	state = ctx_state(r->fd, r->ctx);
	EXPECT_EQ(state.state, DRM_RDU_CTX_STATE_FAULTED);
	EXPECT_EQ(state.fault_code, RDU_FAULT_PAGE);
	/* It is told its own address, and what is there is not told. */
	if (va)
		EXPECT_EQ(state.va, va);
	ctx_destroy(r->fd, r->ctx);
	r->ctx = ctx_create(r->fd, r->vm, 1);
	return ret;
}

static void attack_address(struct run *r, uint64_t va)
{
	struct drm_rdu_job job;

	memset(r->out.map, 0xaa, WORDS * 4);
	try_once(r, job_copy(r->out.va, va, PAGE), va);
	try_once(r, job_copy(va, r->in.va, PAGE), va);
	if (!(va & 3))
		try_once(r, job_fill(va, PAGE, SECRET32 + 1), va);
	if (!(va & 7)) {
		job = (struct drm_rdu_job){ .type = DRM_RDU_JOB_TIMESTAMP, .timestamp.va = va };
		try_once(r, job, va);
		job = run_command(r);
		job.run.args_va = va;
		try_once(r, job, va);
	}
	EXPECT_EQ(other_than(r->out.map, WORDS * 4, 0xaaaaaaaaaaaaaaaaULL), 0);
	if (!(va & 7)) {
		job = run_command(r);
		job.run.stats_va = va;
		try_once(r, job, va);
		job = run_command(r);
		job.run.trace_va = va;
		job.run.trace_size = PAGE;
		try_once(r, job, va);
	}
}

/* Where a program's regions and its statistics go. */
static void attack_regions(struct run *r, uint64_t va)
{
	struct rdu_args *args = r->args.map;
	struct drm_rdu_job job = run_command(r);
	int ret;

	for (int i = 0; i < 2; i++) {
		uint64_t addr = args->regions[i].addr;

		args->regions[i].addr = va;
		memset(r->out.map, 0, WORDS * 4);
		ret = run_job(r->fd, r->ctx, job);
		EXPECT_EQ(ret, -EIO);
		EXPECT_EQ(other_than(r->out.map, WORDS * 4, 0), 0);
		args->regions[i].addr = addr;
		ctx_destroy(r->fd, r->ctx);
		r->ctx = ctx_create(r->fd, r->vm, 1);
	}
}

static void attack_addresses(int fd, int line)
{
	const struct drm_rdu_query_info info = card_info(fd);
	struct drm_rdu_query_memory mem;
	struct run r;

	(void)line;
	run_init(&r, fd, 5, 1, DRM_RDU_PLACEMENT_DEVICE);
	ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &mem, sizeof(mem)), 0);
	{
		const uint64_t va[] = {
			/* where the victim's things are, in the victim's VM */
			VA_BASE + (16 << 20), VA_BASE + (32 << 20), VA_BASE + (48 << 20),
			/* beside one's own */
			r.in.va - PAGE, r.in.va + WORDS * 4, r.out.va + WORDS * 4,
			/* ends */
			info.va_start, info.va_end - PAGE, 1ULL << 47, (1ULL << 47) - PAGE,
			/* what could be taken for card memory, host memory, an entry */
			mem.size - PAGE, mem.size / 4 * 3, mem.size, 0x80000000, 0xfee00000,
			0x200003, 0x80000000 | 15, 1ULL << 40 | 0x1007,
		};

		for (unsigned int i = 0; i < sizeof(va) / sizeof(*va); i++) {
			attack_address(&r, va[i]);
			attack_regions(&r, va[i] & ~63ULL);
		}
	}
	/* Around the end: refused before the card sees it. */
	EXPECT_EQ(run_job(fd, r.ctx, job_copy(r.out.va, 0, PAGE)), -EINVAL);
	EXPECT_EQ(run_job(fd, r.ctx, job_copy(r.out.va, info.va_end, PAGE)), -EINVAL);
	EXPECT_EQ(run_job(fd, r.ctx, job_copy(r.out.va, info.va_end - PAGE, 2 * PAGE)), -EINVAL);
	EXPECT_EQ(run_job(fd, r.ctx, job_copy(r.out.va, ~0ULL - PAGE + 1, PAGE)), -EINVAL);
	EXPECT_EQ(run_job(fd, r.ctx, job_copy(r.out.va, r.in.va, ~0ULL)), -EINVAL);
	EXPECT_EQ(run_job(fd, r.ctx, job_fill(r.out.va, 0ULL - r.out.va, 1)), -EINVAL);
	EXPECT_EQ(run_job(fd, r.ctx, job_fill(~3ULL, 8, 1)), -EINVAL);
	/* Regions that wrap are the card's to refuse. */
	attack_regions(&r, ~63ULL);
	attack_regions(&r, 0);
	attack_regions(&r, 1ULL << 63);
	attack_regions(&r, info.va_end - 64);
	/* From one's own into what is not: only the own part is done. */
	memset(r.out.map, 0, WORDS * 4);
	try_once(&r, job_fill(r.out.va + WORDS * 4 - PAGE, 2 * PAGE, 7), r.out.va + WORDS * 4);
	EXPECT_EQ(other_than(r.out.map, WORDS * 4 - PAGE, 0), 0);
	run_check(&r, 5, 1);
}

TEST(device_addresses)
{
	duel(attack_addresses);
}

/* ---- what the system shows --------------------------------------------- */

static void attack_sight(int fd, int line)
{
	static const char *const closed[] = {
		"/sys/bus/pci/drivers/rdu/*/resource0", "/sys/bus/pci/drivers/rdu/*/resource2",
		"/sys/bus/pci/drivers/rdu/*/resource4*", "/sys/kernel/debug/accel",
		"/sys/class/devcoredump/devcd*/data",
	};
	struct drm_rdu_query_tile tiles[32] = { 0 };
	struct drm_rdu_perf_open perf = { .period_ns = 1000000 };
	uint32_t owned = 0;
	char path[64];

	(void)line;
	for (unsigned int i = 0; i < sizeof(closed) / sizeof(*closed); i++) {
		glob_t found;

		if (!glob(closed[i], 0, NULL, &found))
			for (size_t j = 0; j < found.gl_pathc; j++)
				EXPECT_EQ(open(found.gl_pathv[j], O_RDONLY), -1);
		globfree(&found);
	}
	snprintf(path, sizeof(path), "/proc/%d/fdinfo/0", prey.pid);
	EXPECT_EQ(open(path, O_RDONLY), -1);
	EXPECT_EQ(ptrace(PTRACE_ATTACH, prey.pid, 0, 0), -1);
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_PERF_OPEN, &perf), -EACCES);
	ASSERT_EQ(query(fd, DRM_RDU_QUERY_TILES, tiles, sizeof(tiles)), 0);
	for (int i = 0; i < 32; i++) {
		owned += tiles[i].flags & DRM_RDU_TILE_OWNED;
		EXPECT_EQ(tiles[i].flags & ~DRM_RDU_TILE_OWNED, 0);
		EXPECT_EQ(tiles[i].pid | tiles[i].uid | tiles[i].ctx_id | tiles[i].comm[0], 0);
	}
	EXPECT_EQ(owned, 1);
}

TEST(sight)
{
	duel(attack_sight);
}

/* ---- races on numbers that threads share ---------------------------------- */

#define RACE_THREADS 4
#define RACE_STEPS 600

static struct {
	int fd;
	uint32_t bo[6], vm[2], ctx[3], prog, sync;
	void *image;
	size_t size;
} race;

/* What is mapped under a number, whosever it is by now: nobody else's. */
static void race_look(uint32_t handle)
{
	struct drm_rdu_bo_info info = { .handle = handle };
	uint64_t *map;

	if (call(race.fd, DRM_IOCTL_RDU_BO_INFO, &info))
		return;
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, race.fd, info.mmap_offset);
	if (map == MAP_FAILED)
		return;
	for (unsigned int i = 0; i < PAGE / 8; i++) {
		uint64_t word = ((volatile uint64_t *)map)[i];

		for (int half = 0; half < 2; half++, word >>= 32)
			EXPECT_TRUE(!(uint32_t)word || (uint32_t)word == (uint32_t)MINE);
	}
	munmap(map, PAGE);
}

static void race_step(unsigned int *seed)
{
	uint32_t i = rand_r(seed) % 6, v = rand_r(seed) % 2, c = rand_r(seed) % 3;
	uint64_t va = VA_BASE + ((uint64_t)(rand_r(seed) % 4) << 20);
	struct drm_rdu_bo_create bo = { .size = PAGE << rand_r(seed) % 9,
					.placement = rand_r(seed) % 2 };
	struct drm_rdu_vm_create vm = { 0 };
	struct drm_rdu_prog_load load;
	struct drm_rdu_job job;

	switch (rand_r(seed) % 12) {
	case 0:
	case 1:
		if (!call(race.fd, DRM_IOCTL_RDU_BO_CREATE, &bo))
			race.bo[i] = bo.handle;
		break;
	case 2:
		bo_close(race.fd, race.bo[i]);
		break;
	case 3:
	case 4:
		vm_map(race.fd, race.vm[v], race.bo[i], 0, va, PAGE << rand_r(seed) % 9, 0);
		break;
	case 5:
		vm_unmap(race.fd, race.vm[v], va, 1 << 20);
		break;
	case 6:
		vm_destroy(race.fd, race.vm[v]);
		if (!call(race.fd, DRM_IOCTL_RDU_VM_CREATE, &vm))
			race.vm[v] = vm.vm_id;
		break;
	case 7:
		ctx_destroy(race.fd, race.ctx[c]);
		ctx_try(race.fd, race.vm[v], 0, &race.ctx[c]);
		break;
	case 8:
		prog_unload(race.fd, race.prog);
		if (!prog_load(race.fd, race.image, race.size, &load))
			race.prog = load.prog_id;
		break;
	case 9:
		race_look(race.bo[i]);
		break;
	default:
		job = rand_r(seed) % 2 ? job_fill(va, 1 << 14, (uint32_t)MINE) :
		      job_copy(va + (1 << 15), va, 1 << 14);
		submit(race.fd, race.ctx[c], &job, 1, rand_r(seed) % 2 ? race.sync : 0);
	}
}

static void *race_thread(void *number)
{
	unsigned int seed = (uintptr_t)number;

	for (int i = 0; i < RACE_STEPS; i++)
		race_step(&seed);
	return NULL;
}

/* Close, bind, submit, map and destroy, each under the other's hands. */
static void attack_races(int fd, int line)
{
	pthread_t thread[RACE_THREADS];

	(void)line;
	race.fd = fd;
	race.image = scale_image(fd, 2, RDU_SIMD_FMUL, &race.size);
	race.sync = sync_create(fd);
	for (uintptr_t i = 0; i < RACE_THREADS; i++)
		ASSERT_EQ(pthread_create(&thread[i], NULL, race_thread, (void *)(i + 1)), 0);
	for (int i = 0; i < RACE_THREADS; i++)
		pthread_join(thread[i], NULL);
}

TEST(races)
{
	duel(attack_races);
}

/* ---- memory of one's own that one may not write ------------------------- */

static char unwritable[] = "/tmp/rdu-selftest.XXXXXX";

static int userptr(int fd, void *memory, uint32_t flags, uint32_t *handle)
{
	struct drm_rdu_bo_create_userptr args = {
		.user_ptr = (uintptr_t)memory, .size = PAGE, .flags = flags,
	};
	int ret = call(fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &args);

	*handle = args.handle;
	return ret;
}

static void attack_unwritable(int fd, int line)
{
	int file = open(unwritable, O_RDONLY);
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0), handle;
	char *shared, *own, *copy;

	(void)line;
	if (!(card_info(fd).features & DRM_RDU_FEATURE_USERPTR))
		SKIP("no userptr");
	ASSERT_GE(file, 0);
	EXPECT_EQ(open(unwritable, O_RDWR), -1);
	shared = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, file, 0);
	own = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, file, 0);
	copy = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	ASSERT_TRUE(shared != MAP_FAILED && own != MAP_FAILED && copy != MAP_FAILED);
	EXPECT_EQ(userptr(fd, shared, 0, &handle), -EFAULT);
	EXPECT_EQ(userptr(fd, own, 0, &handle), -EFAULT);
	/* To read is granted, or not; then it can't be bound to be written. */
	for (int i = 0; i < 2; i++) {
		if (userptr(fd, i ? own : shared, DRM_RDU_USERPTR_READONLY, &handle))
			continue;
		EXPECT_EQ(vm_map(fd, vm, handle, 0, VA_BASE, PAGE, 0), -EACCES);
		ASSERT_EQ(vm_map(fd, vm, handle, 0, VA_BASE, PAGE, DRM_RDU_BIND_READONLY), 0);
		EXPECT_EQ(run_job(fd, ctx, job_fill(VA_BASE, PAGE, 0)), -EIO);
		EXPECT_EQ(ctx_state(fd, ctx).fault_code, RDU_FAULT_PROTECTION);
		ctx_destroy(fd, ctx);
		ctx = ctx_create(fd, vm, 0);
		EXPECT_EQ(other_than(shared, PAGE, SECRET), 0);
	}
	/* A private copy is one's own, and the file is not. */
	ASSERT_EQ(userptr(fd, copy, 0, &handle), 0);
	ASSERT_EQ(vm_map(fd, vm, handle, 0, VA_BASE, PAGE, 0), 0);
	EXPECT_EQ(run_job(fd, ctx, job_fill(VA_BASE, PAGE, 0)), 1);
	EXPECT_EQ(other_than(copy, PAGE, 0), 0);
	EXPECT_EQ(other_than(shared, PAGE, SECRET), 0);
}

TEST(unwritable_memory)
{
	char page[PAGE], now[PAGE];
	struct user u;
	int file;

	if (getuid())
		SKIP("not root");
	file = mkstemp(unwritable);
	ASSERT_GE(file, 0);
	plant(page, sizeof(page));
	ASSERT_EQ(write(file, page, sizeof(page)), (ssize_t)sizeof(page));
	fchmod(file, 0644);
	u = user_start(USER_ATTACKER, attack_unwritable);
	user_end(&u);
	EXPECT_EQ(pread(file, now, sizeof(now), 0), (ssize_t)sizeof(now));
	EXPECT_EQ(memcmp(page, now, sizeof(now)), 0);
	unlink(unwritable);
}
