// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The card sleeps when nothing is asked of it, wakes up at whatever is asked,
 * and goes back to sleep: nobody keeps it awake by mistake.
 */
#include <glob.h>

#include "program.h"

#define SIZE (4 << 20)

/* A file of the card's in sysfs: its first line. */
static void card_file(int fd, const char *which, char path[128], char *text, size_t size)
{
	char name[32];
	FILE *file;

	pci_name(fd, name);
	snprintf(path, 128, "/sys/bus/pci/devices/%s/%s", name, which);
	file = fopen(path, "r");
	if (!file)
		SKIP("no %s: a kernel without power management", path);
	if (!fgets(text, size, file))
		text[0] = 0;
	fclose(file);
	text[strcspn(text, "\n")] = 0;
}

static bool asleep(int fd)
{
	char path[128], text[32];

	card_file(fd, "power/runtime_status", path, text, sizeof(text));
	return !strcmp(text, "suspended");
}

/* To sleep, which nobody hinders. */
static void expect_sleep(int fd, const char *after)
{
	bool sleeps = asleep(fd);

	for (int i = 0; i < 600 && !sleeps; i++) {
		usleep(50000);
		sleeps = asleep(fd);
	}
	if (!sleeps)
		printf("# awake after: %s\n", after);
	ASSERT_TRUE(sleeps);
}

/* Lets it sleep after so many milliseconds; old: gets how many it was before. */
static void sleep_allow(int fd, const char *ms, char old[32])
{
	char path[128], text[32];

	card_file(fd, "power/control", path, text, sizeof(text));
	ASSERT_EQ(sys_write(path, "auto"), 0);
	card_file(fd, "power/autosuspend_delay_ms", path, text, sizeof(text));
	snprintf(old, 32, "%s", text);
	ASSERT_EQ(sys_write(path, ms), 0);
}

/* As it was before sleep_allow(). */
static void sleep_forbid(int fd, const char *ms)
{
	char path[128], text[32];

	card_file(fd, "power/autosuspend_delay_ms", path, text, sizeof(text));
	ASSERT_EQ(sys_write(path, ms), 0);
	card_file(fd, "power/control", path, text, sizeof(text));
	ASSERT_EQ(sys_write(path, "on"), 0);
	EXPECT_TRUE(!asleep(fd));
}

/* Reads what a pattern finds. */
static void read_file(const char *pattern)
{
	char text[4096];
	glob_t found;
	int file;

	if (glob(pattern, 0, NULL, &found))
		return;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		file = open(found.gl_pathv[i], O_RDONLY);
		ASSERT_GE(file, 0);
		while (read(file, text, sizeof(text)) > 0)
			;
		close(file);
	}
	globfree(&found);
}

TEST(runtime)
{
	struct drm_rdu_query_health health;
	uint64_t clock = 0, now;
	struct drm_rdu_prog_load load;
	char old[32], name[32], path[128];
	struct buffer b;
	struct run r;
	uint32_t bo, ctx;
	size_t size;
	void *image;

	run_init(&r, card_open_idle(), 3, 1, DRM_RDU_PLACEMENT_DEVICE);
	image = scale_image(r.fd, 2, RDU_SIMD_FMUL, &size);
	b = buffer_create(r.fd, r.vm, VA_BASE + (1 << 30), SIZE, DRM_RDU_PLACEMENT_DEVICE);
	sleep_allow(r.fd, "100", old);
	expect_sleep(r.fd, "setting up");
	for (int i = 0; i < 3; i++) {
		/* The program is in its slot, buffers are as they were. */
		run_check(&r, 3, i);
		expect_sleep(r.fd, "a run");
		now = card_clock(r.fd);
		EXPECT_GT(now, clock);
		clock = now;
		expect_sleep(r.fd, "QUERY_CLOCK");
		EXPECT_EQ(((float *)r.out.map)[5] == 3 * (5 + i), 1);
		expect_sleep(r.fd, "a read of mapped memory");
		*(uint32_t *)b.map = i;
		expect_sleep(r.fd, "a write to mapped memory");
		ASSERT_EQ(run_job(r.fd, r.ctx, job_copy(b.va + PAGE, b.va, 4)), 1);
		expect_sleep(r.fd, "a copy");
		EXPECT_EQ(((uint32_t *)b.map)[PAGE / 4], i);
		expect_sleep(r.fd, "a read of mapped memory");
	}
	ASSERT_EQ(query(r.fd, DRM_RDU_QUERY_HEALTH, &health, sizeof(health)), 0);
	EXPECT_GT(health.power_mw, 0);
	expect_sleep(r.fd, "QUERY_HEALTH");
	now = card_clock(r.fd);
	EXPECT_GE(now, clock);
	expect_sleep(r.fd, "QUERY_CLOCK");
	bo = bo_create(r.fd, SIZE, DRM_RDU_PLACEMENT_DEVICE);
	expect_sleep(r.fd, "BO_CREATE");
	ASSERT_EQ(vm_map(r.fd, r.vm, bo, 0, VA_BASE + (2UL << 30), SIZE, 0), 0);
	expect_sleep(r.fd, "VM_BIND");
	ASSERT_EQ(vm_unmap(r.fd, r.vm, VA_BASE + (2UL << 30), SIZE), 0);
	ASSERT_EQ(bo_close(r.fd, bo), 0);
	expect_sleep(r.fd, "unbinding");
	ASSERT_EQ(prog_load(r.fd, image, size, &load), 0);
	expect_sleep(r.fd, "PROG_LOAD");
	ASSERT_EQ(prog_unload(r.fd, load.prog_id), 0);
	expect_sleep(r.fd, "PROG_UNLOAD");
	ASSERT_EQ(prog_load(r.fd, image, 64, &load), -EBADMSG);
	expect_sleep(r.fd, "a refused PROG_LOAD");
	ctx = ctx_create(r.fd, r.vm, 1);
	expect_sleep(r.fd, "CTX_CREATE");
	EXPECT_EQ(run_job(r.fd, ctx, job_fill(VA_BASE + (4UL << 30), PAGE, 0)), -EIO);
	expect_sleep(r.fd, "a fault");
	ASSERT_EQ(ctx_destroy(r.fd, ctx), 0);
	expect_sleep(r.fd, "CTX_DESTROY");
	pci_name(r.fd, name);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/hwmon/hwmon*/*_input", name);
	read_file(path);
	expect_sleep(r.fd, "hwmon");
	read_file("/sys/kernel/debug/accel/*/queues");
	expect_sleep(r.fd, "debugfs");
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/reset", name);
	ASSERT_EQ(sys_write(path, "1"), 0);
	expect_sleep(r.fd, "a reset of the function");
	EXPECT_GE(card_clock(r.fd), now);
	run_check(&r, 3, 7);
	/* Who only looks does not wake it up. */
	expect_sleep(r.fd, "a run");
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", r.fd);
	read_file(path);
	EXPECT_TRUE(asleep(r.fd));
	close(r.fd);
	r.fd = card_open();
	expect_sleep(r.fd, "closing the file");
	sleep_forbid(r.fd, old);
	free(image);
}

/* A job that takes longer than the delay is not put to sleep. */
TEST(long_job)
{
	struct drm_rdu_job jobs[64];
	char old[32];
	struct run r;
	struct buffer b;

	run_init(&r, card_open(), 3, 1, DRM_RDU_PLACEMENT_DEVICE);
	b = buffer_create(r.fd, r.vm, VA_BASE + (1 << 30), SIZE, DRM_RDU_PLACEMENT_DEVICE);
	sleep_allow(r.fd, "0", old);
	for (int i = 0; i < 64; i++)
		jobs[i] = job_fill(b.va, SIZE, i);
	for (int i = 0; i < 20; i++) {
		EXPECT_EQ(run_jobs(r.fd, r.ctx, jobs, 64), 1);
		EXPECT_EQ(*(uint32_t *)b.map, 63);
		run_check(&r, 3, i);
	}
	sleep_forbid(r.fd, old);
}
