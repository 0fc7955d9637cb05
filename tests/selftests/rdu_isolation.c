// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Two users on one card: one has something, the other is after it. Every test
 * is an attack; Documentation/isolation.md says which promise it is on.
 */
#include <pthread.h>
#include <sys/ptrace.h>

#include "monitor.h"
#include "program.h"
#include "user.h"

#define SECRET 0x5ec7e75ec7e75ec7ULL
#define SECRET32 0x5ec7e75eU

static void plant(void *map, uint64_t size)
{
	uint64_t *p = map;

	for (uint64_t i = 0; i < size / 8; i++)
		p[i] = SECRET;
}

/* Bytes that are not zero, or not the secret. */
static uint64_t other_than(const void *map, uint64_t size, uint64_t value)
{
	const uint64_t *p = map;
	uint64_t n = 0;

	for (uint64_t i = 0; i < size / 8; i++)
		n += p[i] != value;
	return n * 8;
}

/* 0: nothing found there. */
static bool refused(int ret)
{
	return ret == -ENOENT || ret == -EINVAL || ret == -EACCES || ret == -EBADF ||
	       ret == -EOPNOTSUPP;
}

#define EXPECT_REFUSED(call)                                                   \
	do {                                                                   \
		int ret_ = (call);                                             \
		if (!refused(ret_))                                            \
			EXPECT_EQ(ret_, -ENOENT);                              \
	} while (0)

/* ---- what a victim has ------------------------------------------------- */

struct belongings {
	struct run run;
	struct buffer device, system, own; /* own: bound in one VM only */
	uint32_t sync;
};

static void belongings_init(struct belongings *b, int fd)
{
	struct drm_rdu_bo_create own = { .size = 1 << 20 };

	run_init(&b->run, fd, 3, 1, DRM_RDU_PLACEMENT_DEVICE);
	b->device = buffer_create(fd, b->run.vm, VA_BASE + (16 << 20), 8 << 20,
				  DRM_RDU_PLACEMENT_DEVICE);
	b->system = buffer_create(fd, b->run.vm, VA_BASE + (32 << 20), 2 << 20,
				  DRM_RDU_PLACEMENT_SYSTEM);
	own.vm_id = b->run.vm;
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE, &own), 0);
	b->own = (struct buffer){ .handle = own.handle, .va = VA_BASE + (48 << 20),
				  .size = own.size };
	b->own.map = bo_map(fd, own.handle, own.size);
	ASSERT_EQ(vm_map(fd, b->run.vm, own.handle, 0, b->own.va, own.size, 0), 0);
	plant(b->device.map, b->device.size);
	plant(b->system.map, b->system.size);
	plant(b->own.map, b->own.size);
	b->sync = sync_create(fd);
	ASSERT_EQ(submit(fd, b->run.ctx, &(struct drm_rdu_job){ .type = DRM_RDU_JOB_BARRIER }, 1,
			 b->sync), 0);
	run_check(&b->run, 3, 1);
}

/* All is there, as it was, and works. */
static void belongings_check(struct belongings *b)
{
	int fd = b->run.fd;

	EXPECT_EQ(other_than(b->device.map, b->device.size, SECRET), 0);
	EXPECT_EQ(other_than(b->system.map, b->system.size, SECRET), 0);
	EXPECT_EQ(other_than(b->own.map, b->own.size, SECRET), 0);
	EXPECT_EQ(ctx_state(fd, b->run.ctx).state, 0);
	EXPECT_EQ(sync_status(fd, b->sync), 1);
	run_check(&b->run, 3, 7);
	/* Bound still: the card sees it too. */
	ASSERT_EQ(run_job(fd, b->run.ctx, job_copy(b->system.va, b->device.va, 1 << 20)), 1);
	ASSERT_EQ(run_job(fd, b->run.ctx, job_copy(b->device.va, b->own.va, 1 << 20)), 1);
	EXPECT_EQ(other_than(b->system.map, b->system.size, SECRET), 0);
	EXPECT_EQ(other_than(b->device.map, b->device.size, SECRET), 0);
}


/* What is known of the victim: the attacker knows it too. */
static struct {
	struct user user;
	pid_t pid;
	uint64_t offset[3];	/* for mmap() */
} prey;

/* Says where it is; works, checks its results, until the attack is over. */
static void victim(int fd, int line)
{
	struct drm_rdu_bo_info info[3];
	struct belongings b;
	uint64_t word;

	belongings_init(&b, fd);
	info[0] = (struct drm_rdu_bo_info){ .handle = b.device.handle };
	info[1] = (struct drm_rdu_bo_info){ .handle = b.system.handle };
	info[2] = (struct drm_rdu_bo_info){ .handle = b.own.handle };
	say(line, getpid());
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_INFO, &info[i]), 0);
		say(line, info[i].mmap_offset);
	}
	while (hear(line, &word))
		run_check(&b.run, 3, word & 15);
	belongings_check(&b);
}

static void duel(void (*attack)(int fd, int line))
{
	struct user attacker;
	siginfo_t done = { 0 };

	prey.user = user_start(USER_VICTIM, victim);
	prey.pid = heard(prey.user.line);
	for (int i = 0; i < 3; i++)
		prey.offset[i] = heard(prey.user.line);
	attacker = user_start(USER_ATTACKER, attack);
	for (int i = 0; !done.si_pid; i++) {
		say(prey.user.line, i);
		usleep(50000);
		ASSERT_EQ(waitid(P_PID, attacker.pid, &done, WEXITED | WNOHANG | WNOWAIT), 0);
	}
	user_end(&attacker);
	user_end(&prey.user);
}

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

/* ---- configurations ---------------------------------------------------- */

/*
 * A scale program with one thing wrong. Segments 0 and 1 lie in the middle of
 * larger buffers of the attacker's: what is stored beside them would show.
 */
enum crime {
	CRIME_NONE,
	LOAD_BEFORE, LOAD_BEYOND, LOAD_FAR, LOAD_WRAPS, LOAD_STRIDE, LOAD_LANES,
	STORE_BEFORE, STORE_BEYOND, STORE_FAR, STORE_WRAPS, STORE_STRIDE,
	TILE_NEXT, TILE_NONE, UNIT_NONE, ROUTE_OUT, ROUTE_NONE, BUFFER_OUT, BUFFER_WRAPS,
	SEGMENT_NONE, SEGMENT_LARGE, SEGMENT_WRAPS, SEGMENT_OFFSET, LOOP_OUT,
	GATHER_BEFORE, GATHER_BEYOND, GATHER_FAR, GATHER_SCALED, SCATTER_BEYOND,
	REGISTER_READ, REGISTER_SENT, /* one that nothing was written to */
	NUM_CRIMES
};

static void access_crime(struct rdu_cfg_access *a, enum crime before, enum crime crime)
{
	if (crime == before)
		a->base = -1;
	if (crime == before + 1)
		a->base = 1;
	if (crime == before + 2)
		a->base = 1LL << 40;
	if (crime == before + 3)
		a->base = 1LL << 62; /* times four bytes is nothing at all */
	if (crime == before + 4)
		a->stride[0] = 1LL << 62;
	if (crime == LOAD_LANES && before == LOAD_BEFORE)
		a->lane_stride = 1LL << 61;
}

static void *criminal(int fd, enum crime crime, size_t *size)
{
	uint64_t regions[] = { WORDS * 4, WORDS * 4 };
	struct rdu_chip chip = card_chip(fd);
	struct cfgb *b = cfgb_new(&chip, 1);
	int32_t trips = WORDS / chip.lanes;
	bool gather = crime >= GATHER_BEFORE && crime <= GATHER_SCALED;
	struct rdu_cfg_access access = {
		.lanes = chip.lanes, .lane_stride = 1, .stride = { chip.lanes },
	}, other;
	uint32_t load, middle, store, unit = 0, tile = 0;
	struct rdu_prog_header *header;
	struct rdu_prog_segment *segment;
	size_t cfg_size;
	char *cfg, *image;

	b->num_segments = 2;
	unit = crime == UNIT_NONE ? chip.agcus_per_tile : 0;
	tile = crime == TILE_NEXT ? 1 : crime == TILE_NONE ? 0xffff : 0;
	/* The builder lays routes between units that exist. */
	load = cfgb_program(b, RDU_KIND_LOAD, 0, 0);
	cfgb_loop(b, load, trips);
	other = access;
	access_crime(&other, LOAD_BEFORE, crime);
	cfgb_access(b, load, &other, NULL);
	other = access;
	if (gather) {
		middle = cfgb_program(b, RDU_KIND_LOAD, 0, 2);
		other.flags = RDU_ACCESS_GATHER;
		other.stride[0] = 0;
		other.lane_stride = 0;
		other.index_stride = crime == GATHER_SCALED ? 1LL << 30 : 1;
		cfgb_loop(b, middle, trips);
		cfgb_access(b, middle, &other, NULL);
	} else if (crime == BUFFER_OUT || crime == BUFFER_WRAPS) {
		uint32_t words = chip.pmu_bytes / 4;

		middle = cfgb_program(b, RDU_KIND_WRITE, 0, 0);
		other.target = cfgb_buffer(b, 0, 0, 1, crime == BUFFER_OUT ? words - WORDS / 2 :
					   0U - WORDS / 2, WORDS);
		cfgb_loop(b, middle, trips);
		cfgb_access(b, middle, &other, NULL);
	} else {
		middle = cfgb_program(b, RDU_KIND_SIMD, 0, 0);
		cfgb_loop(b, middle, trips);
		cfgb_stage(b, middle, RDU_SIMD_MOV, 0,
			   crime == REGISTER_READ ? cfgb_reg(3) : cfgb_in(0), cfgb_none(),
			   cfgb_none());
		if (crime == REGISTER_SENT)
			cfgb_out_port(b, middle, 0, 0, 3, 1);
	}
	cfgb_connect(b, load, 0, middle, 0);
	if (cfgb_prog(b, middle)->kind != RDU_KIND_WRITE) {
		other = access;
		other.target = crime == SEGMENT_NONE ? 2 : 1;
		access_crime(&other, STORE_BEFORE, crime);
		store = cfgb_program(b, RDU_KIND_STORE, 0, 1);
		cfgb_loop(b, store, trips);
		if (crime == SCATTER_BEYOND) {
			other.flags = RDU_ACCESS_GATHER;
			other.stride[0] = 0;
			other.lane_stride = 0;
			other.index_stride = 1;
		}
		cfgb_access(b, store, &other, NULL);
		cfgb_connect(b, middle, 0, store, 0);
		if (crime == SCATTER_BEYOND)
			cfgb_connect(b, load, 0, store, 1);
	}
	cfg = cfgb_finish(b, &cfg_size);
	{
		struct rdu_cfg_header *h = (void *)cfg;
		struct rdu_cfg_program *p = (void *)(cfg + h->programs.offset);
		struct rdu_cfg_link *link = (void *)(cfg + h->links.offset);

		p[0].tile = tile;
		if (unit)
			p[0].unit = unit;
		if (crime == ROUTE_OUT)
			link[0].sw = chip.tile_rows * chip.tile_cols; /* the next tile's */
		if (crime == ROUTE_NONE)
			link[0].sw = ~0U;
	}
	image = cfgb_program_image(cfg, cfg_size, regions, size);
	free(cfg);
	header = (void *)image;
	segment = (void *)(image + header->segments_off);
	if (crime == SEGMENT_LARGE)
		segment[1].size *= 2;
	if (crime == SEGMENT_WRAPS)
		segment[1].offset = 0ULL - PAGE;
	if (crime == SEGMENT_OFFSET)
		segment[1].offset = 64;
	if (crime == LOOP_OUT) {
		image = endless_image(image, size);
		header = (void *)image;
		segment = (void *)(image + header->segments_off);
		segment[0].loop_stride = segment[1].loop_stride = 64;
	}
	return image;
}

static void attack_configurations(int fd, int line)
{
	const uint64_t size = WORDS * 4, canary = 0xca9a51caca9a51caULL;
	struct buffer in, out;
	unsigned int refusals = 0, faults = 0;

	(void)line;
	for (int crime = 0; crime < NUM_CRIMES; crime++) {
		struct drm_rdu_prog_load load;
		struct rdu_args *args;
		struct run r;
		size_t bytes;
		void *image = criminal(fd, crime, &bytes);
		uint32_t *index;
		int ret = prog_load(fd, image, bytes, &load);

		free(image);
		if (ret) {
			EXPECT_EQ(ret, -EBADMSG);
			EXPECT_NE(load.error, 0);
			EXPECT_NE(crime, CRIME_NONE);
			refusals++;
			continue;
		}
		/* Accepted: then it must fault, or do no harm. */
		run_init(&r, fd, 5, 1, DRM_RDU_PLACEMENT_DEVICE);
		r.prog = load.prog_id;
		in = buffer_create(fd, r.vm, VA_BASE + (64 << 20), 3 * size, DRM_RDU_PLACEMENT_DEVICE);
		out = buffer_create(fd, r.vm, VA_BASE + (65 << 20), 3 * size,
				    DRM_RDU_PLACEMENT_DEVICE);
		for (unsigned int i = 0; i < 3 * size / 8; i++) {
			((uint64_t *)in.map)[i] = canary;
			((uint64_t *)out.map)[i] = canary;
		}
		index = (uint32_t *)((char *)in.map + size);
		for (int i = 0; i < WORDS; i++)
			index[i] = i;
		if (crime == GATHER_BEFORE)
			index[WORDS / 2] = -1;
		if (crime == GATHER_BEYOND || crime == SCATTER_BEYOND)
			index[WORDS / 2] = WORDS;
		if (crime == GATHER_FAR)
			index[WORDS / 2] = 0x80000000;
		args = r.args.map;
		args->regions[0].addr = in.va + size;
		args->regions[1].addr = out.va + size;
		ret = run_job(fd, r.ctx, run_command(&r));
		if (ret != (crime == CRIME_NONE ? 1 : -EIO))
			printf("# crime %d\n", crime);
		EXPECT_EQ(ret, crime == CRIME_NONE ? 1 : -EIO);
		faults += ret == -EIO;
		EXPECT_EQ(other_than(in.map, size, canary), 0);
		EXPECT_EQ(other_than((char *)in.map + 2 * size, size, canary), 0);
		EXPECT_EQ(other_than(out.map, size, canary), 0);
		EXPECT_EQ(other_than((char *)out.map + 2 * size, size, canary), 0);
		/* Nothing from beside it has come in. */
		for (uint64_t i = 0; i < WORDS && crime; i++) {
			uint32_t word = ((uint32_t *)out.map)[WORDS + i];

			EXPECT_TRUE(word == (uint32_t)canary || word < WORDS);
		}
		ctx_destroy(fd, r.ctx);
		munmap(in.map, in.size);
		munmap(out.map, out.size);
		bo_close(fd, in.handle);
		bo_close(fd, out.handle);
		vm_destroy(fd, r.vm);
		prog_unload(fd, load.prog_id);
	}
	printf("# %u configurations refused, %u stopped by a fault\n", refusals, faults);
}

TEST(configurations)
{
	duel(attack_configurations);
}

/* More tiles than were granted. */
static void attack_tiles(int fd, int line)
{
	struct rdu_prog_header *header;
	struct drm_rdu_prog_load load;
	struct drm_rdu_job job;
	struct rdu_cfg_header *cfg;
	struct rdu_prog_section *section;
	struct run r;
	size_t size;
	char *image;

	(void)line;
	run_init(&r, fd, 5, 1, DRM_RDU_PLACEMENT_DEVICE);
	image = scale_image(fd, 2, RDU_SIMD_FMUL, &size);
	header = (void *)image;
	section = (void *)(image + header->sections_off);
	cfg = (void *)(image + section->offset);
	cfg->num_tiles = 2; /* only the section says so */
	EXPECT_EQ(prog_load(fd, image, size, &load), -EBADMSG);
	header->num_tiles = 2;
	ASSERT_EQ(prog_load(fd, image, size, &load), 0);
	job = run_command(&r);
	job.run.prog_id = load.prog_id;
	EXPECT_EQ(submit(fd, r.ctx, &job, 1, 0), -EINVAL);
	header->num_tiles = card_info(fd).num_tiles + 1;
	cfg->num_tiles = header->num_tiles;
	EXPECT_EQ(prog_load(fd, image, size, &load), -EBADMSG);
	header->num_tiles = cfg->num_tiles = ~0U;
	EXPECT_EQ(prog_load(fd, image, size, &load), -EBADMSG);
	run_check(&r, 5, 3);
	free(image);
}

TEST(tiles)
{
	if (card_info(card_open()).num_tiles < 2)
		SKIP("one tile only");
	duel(attack_tiles);
}

/* ---- what is left behind ----------------------------------------------- */

#define PASS_VECTORS 64

/* All of every scratchpad of a tile: from segment 0, whose vectors are written
 * over and over, or to it, which then has room for them all. */
static void *scratch_image(int fd, uint32_t tile, bool write, size_t *size, uint64_t *region)
{
	struct rdu_chip chip = card_chip(fd);
	uint32_t pmus = chip.tile_cols * chip.tile_rows / 2, words = chip.pmu_bytes / 4;
	uint32_t pass = PASS_VECTORS * chip.lanes;
	struct cfgb *b = cfgb_new(&chip, chip.tiles);
	size_t cfg_size;
	void *cfg, *image;

	*region = (uint64_t)pmus * (write ? pass : words) * 4;
	b->num_segments = 1;
	for (uint32_t i = 0; i < pmus; i++) {
		/* An AGCU of the scratchpad's row, left or right. */
		uint32_t agcu = (i / (chip.tile_cols / 2) * 2 + (i & 1)) % chip.agcus_per_tile;
		uint32_t p = cfgb_program(b, write ? RDU_KIND_LOAD : RDU_KIND_READ, tile,
					  write ? agcu : i);
		uint32_t q = cfgb_program(b, write ? RDU_KIND_WRITE : RDU_KIND_STORE, tile,
					  write ? i : agcu);
		struct rdu_cfg_access pmu = { .lanes = chip.lanes, .lane_stride = 1,
					      .stride = { pass, chip.lanes } }, segment = pmu;

		pmu.target = cfgb_buffer(b, tile, i, 1, 0, words);
		segment.base = (uint64_t)i * (write ? pass : words);
		if (write)
			segment.stride[0] = 0;
		cfgb_loop(b, p, words / pass);
		cfgb_loop(b, p, PASS_VECTORS);
		cfgb_loop(b, q, words / pass);
		cfgb_loop(b, q, PASS_VECTORS);
		cfgb_access(b, p, write ? &segment : &pmu, NULL);
		cfgb_access(b, q, write ? &pmu : &segment, NULL);
		cfgb_connect(b, p, 0, q, 0);
	}
	cfg = cfgb_finish(b, &cfg_size);
	image = cfgb_program_image(cfg, cfg_size, region, size);
	free(cfg);
	return image;
}

/* Writes the secret to the scratchpads of all tiles, or reads them: bytes that
 * are not `value`. */
static uint64_t scratch_run(int fd, uint32_t vm, uint32_t ctx, bool write, uint64_t value)
{
	uint64_t other = 0, bytes;
	struct buffer args = buffer_create(fd, vm, VA_BASE + (1ULL << 32), PAGE,
					   DRM_RDU_PLACEMENT_SYSTEM);

	for (uint32_t t = 0; t < card_info(fd).num_tiles; t++) {
		struct drm_rdu_job job = { .type = DRM_RDU_JOB_RUN };
		struct drm_rdu_prog_load load;
		struct rdu_args *block = args.map;
		struct buffer data;
		size_t size;
		void *image = scratch_image(fd, t, write, &size, &bytes);

		ASSERT_EQ(prog_load(fd, image, size, &load), 0);
		free(image);
		data = buffer_create(fd, vm, VA_BASE + (1ULL << 33), bytes,
				     DRM_RDU_PLACEMENT_DEVICE);
		if (write)
			plant(data.map, bytes);
		else
			ASSERT_EQ(run_job(fd, ctx, job_fill(data.va, bytes, 0xaaaaaaaa)), 1);
		block->num_regions = 1;
		block->regions[0].addr = data.va;
		block->regions[0].size = bytes;
		job.run.prog_id = load.prog_id;
		job.run.args_va = args.va;
		job.run.args_size = sizeof(struct rdu_args) + 16;
		ASSERT_EQ(run_job(fd, ctx, job), 1);
		if (!write)
			other += other_than(data.map, bytes, value);
		prog_unload(fd, load.prog_id);
		ASSERT_EQ(vm_unmap(fd, vm, data.va, bytes), 0);
		munmap(data.map, bytes);
		bo_close(fd, data.handle);
	}
	munmap(args.map, args.size);
	bo_close(fd, args.handle);
	ASSERT_EQ(vm_unmap(fd, vm, args.va, args.size), 0);
	return other;
}

enum ending {
	END_DESTROY, END_FAULT, END_WATCHDOG, END_KILLED, END_KILLED_AT_WORK,
	/* by what the machine does to the card, see monitor.h */
	END_HANG, END_STUCK,
	NUM_ENDINGS
};
static enum ending ending;

/* Runs without end in a context that has little time. */
static void overrun(int fd, uint32_t vm, uint32_t ctx)
{
	struct run r = { .fd = fd, .vm = vm, .ctx = ctx };
	struct drm_rdu_prog_load load;
	struct rdu_args *args;
	size_t size;
	void *image = scale_image(fd, 1, RDU_SIMD_FMUL, &size);

	image = endless_image(image, &size);
	ASSERT_EQ(prog_load(fd, image, size, &load), 0);
	free(image);
	r.prog = load.prog_id;
	r.args = buffer_create(fd, vm, VA_BASE + (1ULL << 34), PAGE, DRM_RDU_PLACEMENT_SYSTEM);
	r.in = buffer_create(fd, vm, VA_BASE + (2ULL << 34), WORDS * 8, DRM_RDU_PLACEMENT_DEVICE);
	args = r.args.map;
	args->num_regions = 2;
	args->regions[0].addr = r.in.va;
	args->regions[1].addr = r.in.va + WORDS * 4;
	args->regions[0].size = args->regions[1].size = WORDS * 4;
	r.stats.va = 0;
	EXPECT_EQ(run_job(fd, ctx, run_command(&r)), -ETIME);
}

/* Leaves its secret in all scratchpads and much memory. */
static void leaver(int fd, int line)
{
	struct drm_rdu_ctx_create args = {
		.vm_id = vm_create(fd), .num_tiles = card_info(fd).num_tiles, .timeout_ms = 4000,
	};
	uint32_t vm = args.vm_id, ctx;
	struct buffer b;
	uint64_t word;

	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &args), 0);
	ctx = args.ctx_id;
	scratch_run(fd, vm, ctx, true, SECRET);
	/* It is there: the same reading finds nothing else. */
	if (ending == END_DESTROY)
		EXPECT_EQ(scratch_run(fd, vm, ctx, false, SECRET), 0);
	for (uint64_t size = PAGE, va = VA_BASE; size <= 32 << 20; size *= 2, va += 64 << 20) {
		b = buffer_create(fd, vm, va, size, DRM_RDU_PLACEMENT_DEVICE);
		plant(b.map, size);
		plant(buffer_create(fd, vm, va + (32 << 20), size,
				    DRM_RDU_PLACEMENT_SYSTEM).map, size);
	}
	if (ending == END_DESTROY)
		ctx_destroy(fd, ctx);
	if (ending == END_FAULT)
		EXPECT_EQ(run_job(fd, ctx, job_fill(1ULL << 45, 4, 0)), -EIO);
	if (ending == END_KILLED_AT_WORK)
		for (int i = 0; i < 32; i++) {
			struct drm_rdu_job job = job_fill(b.va, b.size, SECRET32);

			ASSERT_EQ(submit(fd, ctx, &job, 1, 0), 0);
		}
	if (ending == END_WATCHDOG)
		overrun(fd, vm, ctx);
	if (ending >= END_HANG) {
		say(line, 0);
		hear(line, &word);
		EXPECT_NE(run_job(fd, ctx, job_barrier()), 1);
	}
	say(line, test_status);
	hear(line, &word);
}

static void finder(int fd, int line)
{
	uint32_t vm = vm_create(fd), ctx, tries = 0;

	(void)line;
	/* The last reference is given up a little later than waitpid(). */
	while (ctx_try(fd, vm, card_info(fd).num_tiles, &ctx) && tries++ < 500)
		usleep(20000);
	ASSERT_GT(500, tries);
	EXPECT_EQ(scratch_run(fd, vm, ctx, false, 0), 0);
	for (uint64_t size = PAGE; size <= 32 << 20; size *= 2) {
		for (int p = 0; p < 2; p++) {
			uint32_t bo = bo_create(fd, size, p ? DRM_RDU_PLACEMENT_SYSTEM :
						DRM_RDU_PLACEMENT_DEVICE);
			void *map = bo_map(fd, bo, size);

			EXPECT_EQ(other_than(map, size, 0), 0);
		}
	}
}

static void leave_and_find(void)
{
	struct user u = user_start(USER_VICTIM, leaver);

	if (ending >= END_HANG) {
		heard(u.line);
		/* The only context's queue is the first that is not the kernel's. */
		ASSERT_EQ(card_property(0, ending == END_HANG ? "fault-hang" : "fault-stuck", "1"), 0);
		say(u.line, 0);
	}
	EXPECT_EQ(heard(u.line), 0);
	if (ending == END_KILLED || ending == END_KILLED_AT_WORK)
		user_kill(&u);
	else
		user_end(&u);
	u = user_start(USER_ATTACKER, finder);
	user_end(&u);
}

TEST(left_behind)
{
	for (ending = 0; ending < END_HANG; ending++)
		leave_and_find();
}

/* Its queue is reset, then the whole card. */
TEST(left_by_reset)
{
	fclose(monitor_open()); /* or skip */
	for (ending = END_HANG; ending < NUM_ENDINGS; ending++)
		leave_and_find();
}

/* ---- memory that changes hands while the card is at work on it ------------ */

#define MOVE_SIZE (4 << 20)
#define MOVE_ROUNDS 40
#define MINE 0xb0b0b0b0b0b0b0b0ULL

/* Gives memory away that jobs, or a program, still write to and read. */
static void pulls_away(int fd, int line)
{
	uint32_t vm = vm_create(fd), sync = sync_create(fd);
	struct buffer y = buffer_create(fd, vm, VA_BASE + (1 << 30), MOVE_SIZE,
					DRM_RDU_PLACEMENT_DEVICE);
	unsigned int ended = 0, faulted = 0;

	(void)line;
	for (int i = 0; i < MOVE_ROUNDS; i++) {
		uint32_t ctx = ctx_create(fd, vm, 0), *word = y.map;
		struct buffer x = { .va = VA_BASE, .size = MOVE_SIZE };
		struct drm_rdu_job jobs[32];
		uint64_t odd = 0;

		x.handle = bo_create(fd, x.size, DRM_RDU_PLACEMENT_DEVICE);
		ASSERT_EQ(vm_map(fd, vm, x.handle, 0, x.va, x.size, 0), 0);
		for (int j = 0; j < 32; j++)
			jobs[j] = j & 1 ? job_copy(y.va, x.va, x.size) :
					  job_fill(x.va, x.size, SECRET32);
		ASSERT_EQ(submit(fd, ctx, jobs, 32, sync), 0);
		usleep(i % 8 * 500);
		if (i & 1)
			bo_close(fd, x.handle);
		ASSERT_EQ(vm_unmap(fd, vm, x.va, x.size), 0);
		if (!(i & 1))
			bo_close(fd, x.handle);
		if (i % 4 == 3)
			ctx_destroy(fd, ctx);
		ASSERT_EQ(sync_wait(fd, sync, 0, 30000), 0);
		if (sync_status(fd, sync) == 1)
			ended++;
		else
			faulted++;
		/* What came from there was its own, to the end. */
		for (int n = 0; n < MOVE_SIZE / 4; n++)
			odd += word[n] != 0 && word[n] != SECRET32;
		EXPECT_EQ(odd, 0);
		if (i % 4 != 3)
			ctx_destroy(fd, ctx);
	}
	printf("# %u rounds came to their end, %u did not\n", ended, faulted);
	/* The same under a program, which keeps the addresses it was started with. */
	for (int i = 0; i < MOVE_ROUNDS / 4; i++) {
		struct drm_rdu_job job;
		struct run r;
		size_t size;
		void *image = scale_image(fd, 1, RDU_SIMD_FMUL, &size);

		image = endless_image(image, &size);
		run_load(&r, fd, image, size, 1, DRM_RDU_PLACEMENT_DEVICE);
		plant(r.in.map, r.in.size);
		job = run_command(&r);
		ASSERT_EQ(submit(fd, r.ctx, &job, 1, sync), 0);
		/* It is at work when its results are there. */
		for (int n = 0; n < 3000 && !*(volatile uint64_t *)r.out.map; n++)
			usleep(1000);
		EXPECT_NE(*(volatile uint64_t *)r.out.map, 0);
		munmap(r.in.map, r.in.size);
		munmap(r.out.map, r.out.size);
		bo_close(fd, r.in.handle);
		bo_close(fd, r.out.handle);
		ASSERT_EQ(vm_unmap(fd, r.vm, r.in.va, r.in.size), 0);
		ASSERT_EQ(vm_unmap(fd, r.vm, r.out.va, r.out.size), 0);
		usleep(30000);
		ctx_destroy(fd, r.ctx);
		ASSERT_EQ(sync_wait(fd, sync, 0, 30000), 0);
		prog_unload(fd, r.prog);
		bo_close(fd, r.args.handle);
		bo_close(fd, r.stats.handle);
		vm_destroy(fd, r.vm);
	}
}

/* Moves into whatever is free, large and small; finds it empty and keeps it so. */
static void moves_in(int fd, int line)
{
	static const uint32_t size[] = { MOVE_SIZE, WORDS * 4, MOVE_SIZE, WORDS * 4, WORDS * 4 };
	unsigned int n = sizeof(size) / sizeof(*size), moves = 0;
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0);
	uint64_t word;

	while (recv(line, &word, sizeof(word), MSG_DONTWAIT)) {
		struct buffer b[8];

		for (unsigned int i = 0; i < n; i++) {
			b[i] = buffer_create(fd, vm, VA_BASE + ((uint64_t)i << 24), size[i],
					     DRM_RDU_PLACEMENT_DEVICE);
			EXPECT_EQ(other_than(b[i].map, size[i], 0), 0);
			ASSERT_EQ(run_job(fd, ctx, job_fill(b[i].va, size[i], (uint32_t)MINE)), 1);
		}
		usleep(1000);
		for (unsigned int i = 0; i < n; i++) {
			EXPECT_EQ(other_than(b[i].map, size[i], MINE), 0);
			ASSERT_EQ(vm_unmap(fd, vm, b[i].va, size[i]), 0);
			munmap(b[i].map, size[i]);
			bo_close(fd, b[i].handle);
		}
		moves++;
	}
	printf("# moved in %u times\n", moves);
	EXPECT_GT(moves, 0);
}

TEST(moved_under_work)
{
	struct user in = user_start(USER_VICTIM, moves_in);
	struct user away = user_start(USER_ATTACKER, pulls_away);

	user_end(&away);
	user_end(&in);
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

/* ---- core dumps of the card ---------------------------------------------- */

#define DUMPS "/sys/class/devcoredump/devcd*/data"
#define NAME "se7cretname"

static void forget_dumps(void)
{
	glob_t found;

	if (!glob(DUMPS, 0, NULL, &found))
		for (size_t i = 0; i < found.gl_pathc; i++)
			sys_write(found.gl_pathv[i], "1");
	globfree(&found);
}

/* Has its secret wherever it can put one, and faults. */
static void dumped(int fd, int line)
{
	struct drm_rdu_job jobs[12];
	struct rdu_args *args;
	struct run r;
	size_t size;
	float factor;
	uint32_t bits = SECRET32;
	void *image;

	(void)line;
	prctl(PR_SET_NAME, NAME);
	memcpy(&factor, &bits, 4);
	image = scale_image(fd, factor, RDU_SIMD_FMUL, &size);
	run_load(&r, fd, image, size, 1, DRM_RDU_PLACEMENT_DEVICE);
	plant(r.in.map, r.in.size);
	plant(r.out.map, r.out.size);
	plant(r.stats.map, r.stats.size);
	args = r.args.map;
	for (uint64_t at = sizeof(*args) + 32; at < PAGE; at += 4)
		memcpy((char *)r.args.map + at, &bits, 4);
	for (int i = 0; i < 12; i++)
		jobs[i] = i & 1 ? run_command(&r) : job_fill(r.out.va, 64, SECRET32);
	args->regions[1].size = 1; /* the second run fails, amid the rest */
	EXPECT_EQ(run_jobs(fd, r.ctx, jobs, 12), -EIO);
}

TEST(core_dump)
{
	uint64_t secret = SECRET;
	char text[65536], number[32];
	size_t size = 0;
	glob_t found;
	struct user u;

	if (getuid())
		SKIP("not root");
	if (access("/sys/class/devcoredump", F_OK))
		SKIP("no device core dumps in this kernel");
	forget_dumps();
	u = user_start(USER_VICTIM, dumped);
	user_end(&u);
	for (int i = 0; i < 500 && !size; i++) {
		usleep(10000);
		if (!glob(DUMPS, 0, NULL, &found)) {
			int fd = open(found.gl_pathv[0], O_RDONLY);
			ssize_t n;

			while ((n = read(fd, text + size, sizeof(text) - 1 - size)) > 0)
				size += n;
			close(fd);
		}
		globfree(&found);
	}
	text[size] = 0;
	ASSERT_TRUE(strstr(text, "driver: rdu"));
	ASSERT_TRUE(strstr(text, ": op 2 ")); /* the fills are in it */
	EXPECT_TRUE(!memmem(text, size, &secret, 4));
	EXPECT_TRUE(!strcasestr(text, "5ec7e7"));
	EXPECT_TRUE(!strcasestr(text, "e75ec7"));
	snprintf(number, sizeof(number), "%u", SECRET32);
	EXPECT_TRUE(!strstr(text, number));
	EXPECT_TRUE(!strstr(text, NAME));
	/* Nor where anything lies in the kernel. */
	EXPECT_TRUE(!strcasestr(text, "0xffff"));
	forget_dumps();
}
