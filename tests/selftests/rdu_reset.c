// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The card is reset while it is in use: by the driver, since a queue does not
 * stop, through sysfs, and by PCI error recovery. Contexts go on.
 */
#include <sys/prctl.h>

#include "monitor.h"
#include "program.h"

#define SIZE (4 << 20)
#define WORK 24

/* Resets the function, as sysfs does. */
static int function_reset(int fd)
{
	char name[32], path[96];

	pci_name(fd, name);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset", name);
	return sys_write(path, "1");
}

/* A context that counts: step i copies a word and adds, by program and fills. */
struct worker {
	struct run run;
	uint32_t sync;
	struct buffer big;
	uint64_t clock, stamp;	/* seen so far */
};

static void worker_init(struct worker *w, uint32_t timeout_ms)
{
	struct drm_rdu_ctx_create args = { .num_tiles = 1, .timeout_ms = timeout_ms };

	w->clock = w->stamp = 0;
	run_init(&w->run, card_open(), 3, 1, DRM_RDU_PLACEMENT_DEVICE);
	ASSERT_EQ(ctx_destroy(w->run.fd, w->run.ctx), 0);
	args.vm_id = w->run.vm;
	ASSERT_EQ(call(w->run.fd, DRM_IOCTL_RDU_CTX_CREATE, &args), 0);
	w->run.ctx = args.ctx_id;
	w->sync = sync_create(w->run.fd);
	w->big = buffer_create(w->run.fd, w->run.vm, VA_BASE + (1 << 30), SIZE,
			       DRM_RDU_PLACEMENT_DEVICE);
}

/* Arms a fault for a context with a tile: on its queue, as debugfs tells. */
static void worker_fault(struct worker *w, const char *fault)
{
	struct drm_rdu_query_context c[8] = { 0 };
	char queue[16];

	ASSERT_EQ(query(w->run.fd, DRM_RDU_QUERY_CONTEXTS, c, sizeof(c)), 0);
	ASSERT_EQ(c[0].ctx_id, w->run.ctx);
	snprintf(queue, sizeof(queue), "%u", queue_find(0, c[0].tile_mask).number);
	ASSERT_EQ(card_property(0, fault, queue), 0);
}

/*
 * Many submits in flight. Each command reads what the one before it wrote: one
 * that is left out, done twice or out of order shows in the end. in = 1; then
 * out = 3 * in, in = out, WORK times; and long fills in between.
 */
static void worker_start(struct worker *w)
{
	struct run *r = &w->run;
	struct drm_rdu_job jobs[3];

	for (int i = 0; i < WORDS; i++)
		((float *)r->in.map)[i] = 1;
	for (int i = 0; i < WORK; i++) {
		jobs[0] = run_command(r);
		jobs[1] = job_copy(r->in.va, r->out.va, WORDS * 4);
		jobs[2] = job_fill(w->big.va, SIZE, i);
		ASSERT_EQ(submit(r->fd, r->ctx, jobs, 3, w->sync), 0);
	}
}

/* It does not go back: asked for, in statistics of the last RUN, in timestamps. */
static void worker_clock(struct worker *w)
{
	struct run *r = &w->run;
	struct rdu_stats *stats = r->stats.map;
	uint64_t *stamp = (uint64_t *)(stats + 1), clock;

	EXPECT_GT(stats->start_cycle, w->stamp);
	EXPECT_GT(stats->end_cycle, stats->start_cycle);
	ASSERT_EQ(run_job(r->fd, r->ctx, (struct drm_rdu_job){
			  .type = DRM_RDU_JOB_TIMESTAMP,
			  .timestamp.va = r->stats.va + sizeof(*stats) }), 1);
	EXPECT_GE(*stamp, stats->end_cycle);
	clock = card_clock(r->fd);
	EXPECT_GT(clock, w->clock);
	EXPECT_GE(clock, *stamp);
	w->clock = clock;
	w->stamp = *stamp;
}

static void worker_check(struct worker *w)
{
	struct run *r = &w->run;
	struct drm_rdu_ctx_get_state state;
	float want = 1;

	ASSERT_EQ(sync_wait(r->fd, w->sync, 0, 60000), 0);
	EXPECT_EQ(sync_status(r->fd, w->sync), 1);
	state = ctx_state(r->fd, r->ctx);
	EXPECT_EQ(state.state, 0);
	EXPECT_EQ(state.completed, state.submitted);
	for (int i = 0; i < WORK; i++)
		want *= 3;
	for (int i = 0; i < WORDS; i++) {
		if (((float *)r->in.map)[i] != want)
			printf("# word %d: %g, not %g\n", i, ((float *)r->in.map)[i], want);
		ASSERT_EQ(((float *)r->in.map)[i] == want, 1);
	}
	EXPECT_EQ(((uint32_t *)w->big.map)[SIZE / 4 - 1], WORK - 1);
	worker_clock(w);
}

static uint64_t worker_busy(struct worker *w)
{
	struct drm_rdu_query_context c[8] = { 0 };

	ASSERT_EQ(query(w->run.fd, DRM_RDU_QUERY_CONTEXTS, c, sizeof(c)), 0);
	return c[0].exec_cycles + c[0].pload_cycles + c[0].aload_cycles + c[0].copy_cycles;
}

static uint64_t card_resets(int fd)
{
	struct drm_rdu_query_health health;

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_HEALTH, &health, sizeof(health)), 0);
	return health.resets;
}

/* The function's own reset, in the middle of work, again and again. */
TEST(function_level_reset)
{
	struct worker a, b, c;
	uint64_t busy = 0;

	worker_init(&a, 0);
	worker_init(&b, 0);
	worker_init(&c, 0);
	for (int i = 0; i < 8; i++) {
		worker_start(&a);
		worker_start(&b);
		worker_start(&c);
		usleep(i * 3000);
		ASSERT_EQ(function_reset(a.run.fd), 0);
		worker_check(&a);
		worker_check(&b);
		worker_check(&c);
		/* Counters go on from where they were. */
		EXPECT_GT(worker_busy(&a), busy);
		busy = worker_busy(&a);
	}
	/* What a process has mapped is there as before. */
	EXPECT_EQ(*(uint32_t *)a.big.map, WORK - 1);
	*(uint32_t *)a.big.map = 77;
	EXPECT_EQ(*(uint32_t *)a.big.map, 77);
}

/* Resets while everything else goes on: binding, loading, making contexts. */
TEST(reset_races)
{
	int fd = card_open(), status;
	uint32_t vm = vm_create(fd);
	struct drm_rdu_prog_load load;
	size_t size;
	void *image = scale_image(fd, 2, RDU_SIMD_FMUL, &size);
	struct buffer b = buffer_create(fd, vm, VA_BASE, SIZE, DRM_RDU_PLACEMENT_DEVICE);
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 0; i < 15; i++) {
			if (function_reset(fd))
				_exit(1);
			usleep(20000);
		}
		_exit(0);
	}
	for (int i = 0; waitpid(pid, &status, WNOHANG) == 0; i++) {
		uint32_t ctx = ctx_create(fd, vm, 1), bo;

		ASSERT_EQ(prog_load(fd, image, size, &load), 0);
		bo = bo_create(fd, SIZE, DRM_RDU_PLACEMENT_DEVICE);
		ASSERT_EQ(vm_map(fd, vm, bo, 0, VA_BASE + (1 << 30), SIZE, 0), 0);
		ASSERT_EQ(run_job(fd, ctx, job_fill(VA_BASE, SIZE, i)), 1);
		ASSERT_EQ(run_job(fd, ctx, job_copy(VA_BASE + (1 << 30), VA_BASE, SIZE)), 1);
		EXPECT_EQ(*(uint32_t *)b.map, i);
		ASSERT_EQ(vm_unmap(fd, vm, VA_BASE + (1 << 30), SIZE), 0);
		ASSERT_EQ(bo_close(fd, bo), 0);
		ASSERT_EQ(prog_unload(fd, load.prog_id), 0);
		ASSERT_EQ(ctx_destroy(fd, ctx), 0);
	}
	EXPECT_EQ(status, 0);
	free(image);
}

/* A queue that does not stop costs the card a reset, and only the guilty its life. */
TEST(stuck_queue)
{
	struct drm_rdu_job job = job_barrier();
	struct worker innocent, guilty;
	uint64_t resets, busy;

	fclose(monitor_open());
	for (int i = 0; i < 2; i++) {
		worker_init(&innocent, 0);
		worker_init(&guilty, 200);
		resets = card_resets(innocent.run.fd);
		busy = worker_busy(&innocent);
		worker_fault(&guilty, "fault-stuck");
		ASSERT_EQ(submit(guilty.run.fd, guilty.run.ctx, &job, 1, guilty.sync), 0);
		for (int j = 0; j < 3; j++)
			worker_start(&innocent);
		ASSERT_EQ(sync_wait(guilty.run.fd, guilty.sync, 0, 60000), 0);
		EXPECT_EQ(sync_status(guilty.run.fd, guilty.sync), -ETIME);
		EXPECT_EQ(ctx_state(guilty.run.fd, guilty.run.ctx).state,
			  DRM_RDU_CTX_STATE_HUNG);
		EXPECT_GT(card_resets(innocent.run.fd), resets);
		ASSERT_EQ(sync_wait(innocent.run.fd, innocent.sync, 0, 60000), 0);
		worker_start(&innocent);
		worker_check(&innocent);
		EXPECT_GT(worker_busy(&innocent), busy);
		close(innocent.run.fd);
		close(guilty.run.fd);
		munmap(innocent.big.map, SIZE);
		munmap(guilty.big.map, SIZE);
		for (struct worker *w = &innocent; w; w = w == &innocent ? &guilty : NULL) {
			munmap(w->run.args.map, PAGE);
			munmap(w->run.stats.map, PAGE);
			munmap(w->run.in.map, WORDS * 4);
			munmap(w->run.out.map, WORDS * 4);
		}
	}
}

/* As it is destroyed, too. */
TEST(stuck_queue_destroyed)
{
	struct drm_rdu_job job = job_barrier();
	struct worker innocent, guilty;

	fclose(monitor_open());
	worker_init(&innocent, 0);
	worker_init(&guilty, 0);
	worker_fault(&guilty, "fault-stuck");
	ASSERT_EQ(submit(guilty.run.fd, guilty.run.ctx, &job, 1, guilty.sync), 0);
	usleep(100000);
	worker_start(&innocent);
	ASSERT_EQ(ctx_destroy(guilty.run.fd, guilty.run.ctx), 0);
	ASSERT_EQ(sync_wait(guilty.run.fd, guilty.sync, 0, 10000), 0);
	EXPECT_EQ(sync_status(guilty.run.fd, guilty.sync), -ECANCELED);
	worker_check(&innocent);
	guilty.run.ctx = ctx_create(guilty.run.fd, guilty.run.vm, 1);
	worker_start(&guilty);
	worker_check(&guilty);
}

/* A job that hangs when the function is to be reset: its time is what others wait. */
TEST(hung_at_a_reset)
{
	struct drm_rdu_job job = job_barrier();
	struct worker innocent, guilty;

	fclose(monitor_open());
	worker_init(&innocent, 0);
	worker_init(&guilty, 200);
	worker_fault(&guilty, "fault-hang");
	ASSERT_EQ(submit(guilty.run.fd, guilty.run.ctx, &job, 1, guilty.sync), 0);
	usleep(100000);
	worker_start(&innocent);
	ASSERT_EQ(function_reset(innocent.run.fd), 0);
	ASSERT_EQ(sync_wait(guilty.run.fd, guilty.sync, 0, 30000), 0);
	EXPECT_EQ(sync_status(guilty.run.fd, guilty.sync), -ETIME);
	EXPECT_EQ(ctx_state(guilty.run.fd, guilty.run.ctx).state, DRM_RDU_CTX_STATE_HUNG);
	worker_check(&innocent);
	worker_start(&innocent);
	worker_check(&innocent);
}

/* The kernel's own queue hangs: who asked gets an error, nobody else notices. */
TEST(administrator_hangs)
{
	static const char param[] = "/sys/module/rdu/parameters/admin_timeout_ms";
	struct drm_rdu_bo_create bo = { .size = SIZE };
	struct worker innocent;

	fclose(monitor_open());
	worker_init(&innocent, 0);
	ASSERT_EQ(sys_write(param, "500"), 0);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(card_property(0, i ? "fault-stuck" : "fault-hang", "0"), 0);
		worker_start(&innocent);
		EXPECT_EQ(call(innocent.run.fd, DRM_IOCTL_RDU_BO_CREATE, &bo), -EIO);
		/* Until the card has been reset the answer is EIO. */
		for (int j = 0; j < 300 && call(innocent.run.fd, DRM_IOCTL_RDU_BO_CREATE, &bo); j++)
			usleep(100000);
		EXPECT_NE(bo.handle, 0);
		worker_check(&innocent);
	}
	EXPECT_EQ(sys_write(param, "60000"), 0);
}

/* ---- PCI errors --------------------------------------------------------- */

/* A file of sysfs about the card's errors: bytes, or -errno. */
static ssize_t aer_file(int fd, const char *which, char *text, size_t size)
{
	char name[32], path[96];
	ssize_t got;
	int file;

	pci_name(fd, name);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", name, which);
	file = open(path, O_RDONLY);
	if (file < 0)
		return -errno;
	got = read(file, text, size - 1);
	close(file);
	text[got > 0 ? got : 0] = 0;
	return got;
}

static long aer_count(int fd, const char *which)
{
	char text[2048], *total;

	if (aer_file(fd, which, text, sizeof(text)) < 0)
		SKIP("the kernel does not look after PCI errors here (no %s)", which);
	total = strstr(text, "TOTAL_ERR");
	ASSERT_TRUE(total);
	total += strcspn(total, " ");
	return strtol(total, NULL, 10);
}

/* An error of the card's, by the name that QEMU gives it, and that it was noted. */
static void aer_inject(int fd, const char *error, const char *count)
{
	long before = aer_count(fd, count);

	ASSERT_EQ(monitor("'execute': 'human-monitor-command', 'arguments': "
			  "{'command-line': 'pcie_aer_inject_error rdu0 %s'}", error), 0);
	for (int i = 0; i < 600 && aer_count(fd, count) == before; i++)
		usleep(50000);
	EXPECT_GT(aer_count(fd, count), before);
}

/* Neither costs a context anything, idle or at work. */
static void aer_harmless(const char *error, const char *count)
{
	struct worker a, b;

	fclose(monitor_open());
	worker_init(&a, 0);
	worker_init(&b, 0);
	for (int i = 0; i < 3; i++) {
		worker_start(&a);
		aer_inject(a.run.fd, error, count);
		worker_start(&b);
		worker_check(&a);
		worker_check(&b);
	}
}

TEST(correctable_error)
{
	aer_harmless("RCVR", "aer_dev_correctable");
}

TEST(nonfatal_error)
{
	aer_harmless("COMP_TIME", "aer_dev_nonfatal");
}

/*
 * Whether the port above tells that its link is up: after a reset of the link the
 * kernel waits for that. QEMU's does not with hot-plug by ACPI.
 */
static bool port_link_up(int fd)
{
	unsigned char config[256];
	char name[32], path[96];
	int file, cap;

	pci_name(fd, name);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/../config", name);
	file = open(path, O_RDONLY);
	ASSERT_GE(file, 0);
	ASSERT_EQ(read(file, config, sizeof(config)), sizeof(config));
	close(file);
	/* PCI_CAP_ID_EXP; PCI_EXP_LNKSTA, PCI_EXP_LNKSTA_DLLLA */
	for (cap = config[0x34]; cap; cap = config[cap + 1])
		if (config[cap] == 0x10)
			return config[cap + 18 + 1] & 0x20;
	return false;
}

/* The link is reset: what the card was at work on is lost, all else lives. */
TEST(fatal_error)
{
	struct drm_rdu_job job = job_barrier();
	struct worker idle, busy;
	uint64_t resets;

	fclose(monitor_open());
	worker_init(&idle, 0);
	if (!port_link_up(idle.run.fd))
		SKIP("the port does not tell that its link is up: QEMU_ARGS='-global "
		     "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'");
	for (int i = 0; i < 3; i++) {
		worker_init(&busy, 0);
		worker_start(&idle);
		worker_check(&idle);
		worker_fault(&busy, "fault-hang");
		ASSERT_EQ(submit(busy.run.fd, busy.run.ctx, &job, 1, busy.sync), 0);
		usleep(100000);
		resets = card_resets(idle.run.fd);
		ASSERT_EQ(monitor("'execute': 'human-monitor-command', 'arguments': "
				  "{'command-line': 'pcie_aer_inject_error rdu0 DLP'}"), 0);
		ASSERT_EQ(sync_wait(busy.run.fd, busy.sync, 0, 60000), 0);
		EXPECT_EQ(sync_status(busy.run.fd, busy.sync), -ECANCELED);
		EXPECT_EQ(ctx_state(busy.run.fd, busy.run.ctx).state, DRM_RDU_CTX_STATE_INNOCENT);
		EXPECT_GT(card_resets(idle.run.fd), resets);
		worker_start(&idle);
		worker_check(&idle);
		ASSERT_EQ(ctx_destroy(busy.run.fd, busy.run.ctx), 0);
		busy.run.ctx = ctx_create(busy.run.fd, busy.run.vm, 1);
		worker_start(&busy);
		worker_check(&busy);
		ASSERT_EQ(ctx_destroy(busy.run.fd, busy.run.ctx), 0);
	}
}
