// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* What one user finds of another's when he is gone, or as he goes. */
#include "duel.h"
#include "monitor.h"

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
