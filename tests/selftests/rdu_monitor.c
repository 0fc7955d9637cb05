// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What monitoring reads: fdinfo, tracepoints, sensors and other files of sysfs.
 */
#include <dirent.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "monitor.h"
#include "program.h"
#include "user.h"

#define SIZE (1 << 20)
#define NUM_ENGINES 4

static const char *const engines[NUM_ENGINES] = { "exec", "pload", "aload", "copy" };

/* ---- reading ------------------------------------------------------------- */

/* 0 or -errno. */
static int fdinfo_of(pid_t pid, int fd, char *text, size_t size)
{
	char path[64];
	ssize_t n;
	int f;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, fd);
	f = open(path, O_RDONLY);
	if (f < 0)
		return -errno;
	n = read(f, text, size - 1);
	if (n < 0)
		n = -errno;
	close(f);
	text[n > 0 ? n : 0] = 0;
	return n < 0 ? n : 0;
}

/* The line's value, or NULL. */
static const char *key_of(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, key, len) && line[len] == ':')
			return line + len + 1;
	}
	return NULL;
}

static long long number_of(const char *text, const char *key)
{
	const char *value = key_of(text, key);

	if (!value)
		printf("# no key %s\n", key);
	return value ? atoll(value) : -1;
}

static long long number(int fd, const char *key)
{
	char text[4096];

	ASSERT_EQ(fdinfo_of(getpid(), fd, text, sizeof(text)), 0);
	return number_of(text, key);
}

struct engine_times {
	long long ns[NUM_ENGINES], cycles[NUM_ENGINES];
};

static void engine_times(const char *text, struct engine_times *t)
{
	char key[40];

	for (int i = 0; i < NUM_ENGINES; i++) {
		snprintf(key, sizeof(key), "drm-engine-%s", engines[i]);
		t->ns[i] = number_of(text, key);
		snprintf(key, sizeof(key), "drm-cycles-%s", engines[i]);
		t->cycles[i] = number_of(text, key);
	}
}

/* ---- form ------------------------------------------------------------------ */

static void check_line(const char *text, const char *what, const char *name, const char *unit)
{
	const char *value;
	char key[48], *end;

	snprintf(key, sizeof(key), "drm-%s-%s", what, name);
	value = key_of(text, key);
	if (!value) {
		printf("# no key %s\n", key);
		test_status = TEST_FAIL;
		return;
	}
	EXPECT_EQ(*value, '\t');
	EXPECT_TRUE(value[1] >= '0' && value[1] <= '9');
	strtoull(value, &end, 10);
	if (strncmp(end, unit, strlen(unit)) || end[strlen(unit)] != '\n') {
		printf("# %s:%.20s\n", key, value);
		test_status = TEST_FAIL;
	}
}

/* What drm-usage-stats.rst asks of keys, values and units. */
TEST(keys)
{
	static const char *const regions[] = { "vram", "system" };
	struct drm_rdu_query_info info;
	int fd = card_open();
	char text[4096], pdev[32];

	info = card_info(fd);
	ASSERT_EQ(fdinfo_of(getpid(), fd, text, sizeof(text)), 0);
	EXPECT_EQ(strncmp(key_of(text, "drm-driver") ?: "", "\trdu\n", 5), 0);
	EXPECT_GT(number_of(text, "drm-client-id"), 0);
	snprintf(pdev, sizeof(pdev), "\t%04x:%02x:%02x.%x\n", info.pci_domain, info.pci_bdf >> 8,
		 info.pci_bdf >> 3 & 31, info.pci_bdf & 7);
	EXPECT_EQ(strncmp(key_of(text, "drm-pdev") ?: "", pdev, strlen(pdev)), 0);
	for (int i = 0; i < NUM_ENGINES; i++) {
		check_line(text, "engine", engines[i], " ns");
		check_line(text, "engine-capacity", engines[i], "");
		check_line(text, "cycles", engines[i], "");
		check_line(text, "maxfreq", engines[i], " KHz");
	}
	EXPECT_EQ(number_of(text, "drm-engine-capacity-exec"), info.num_tiles);
	EXPECT_EQ(number_of(text, "drm-maxfreq-exec"), card_chip(fd).clock_khz);
	/* Either that or maxfreq, not both. */
	EXPECT_TRUE(!key_of(text, "drm-total-cycles-exec"));
	for (int i = 0; i < 2; i++) {
		check_line(text, "total", regions[i], " KiB");
		check_line(text, "shared", regions[i], " KiB");
		check_line(text, "active", regions[i], " KiB");
		check_line(text, "resident", regions[i], " KiB");
	}
}

/* ---- engine time -------------------------------------------------------------- */

/* Reads one file's fdinfo again and again: nothing may ever go back. */
struct watch {
	pthread_t thread;
	pid_t pid;
	int fd;
	volatile bool stop;
	volatile unsigned int samples;
	unsigned int backward;
};

static void *watch_run(void *arg)
{
	struct engine_times now, last = { 0 };
	struct watch *w = arg;
	char text[4096];

	while (!w->stop) {
		if (fdinfo_of(w->pid, w->fd, text, sizeof(text)) || !key_of(text, "drm-driver"))
			continue;
		engine_times(text, &now);
		for (int i = 0; i < NUM_ENGINES; i++) {
			if (now.ns[i] >= last.ns[i] && now.cycles[i] >= last.cycles[i])
				continue;
			w->backward++;
			printf("# %s: from %lld ns, %lld cycles back to %lld ns, %lld cycles\n",
			       engines[i], last.ns[i], last.cycles[i], now.ns[i], now.cycles[i]);
		}
		last = now;
		w->samples++;
	}
	return NULL;
}

static void watch_start(struct watch *w, pid_t pid, int fd)
{
	*w = (struct watch){ .pid = pid, .fd = fd };
	ASSERT_EQ(pthread_create(&w->thread, NULL, watch_run, w), 0);
}

static void watch_end(struct watch *w)
{
	/* What it watched may have been over before it looked twice. */
	while (w->samples < 2)
		usleep(1000);
	w->stop = true;
	pthread_join(w->thread, NULL);
	EXPECT_EQ(w->backward, 0);
}

TEST(time_of_a_job)
{
	int fd = card_open();
	struct engine_times t;
	struct watch w;
	char text[4096];
	struct run r;

	ASSERT_EQ(fdinfo_of(getpid(), fd, text, sizeof(text)), 0);
	engine_times(text, &t);
	for (int i = 0; i < NUM_ENGINES; i++) {
		EXPECT_EQ(t.ns[i], 0);
		EXPECT_EQ(t.cycles[i], 0);
	}
	run_init(&r, fd, 3, 1, DRM_RDU_PLACEMENT_DEVICE);
	watch_start(&w, getpid(), fd);
	for (int i = 0; i < 10; i++)
		run_check(&r, 3, i);
	ASSERT_EQ(run_job(fd, r.ctx, job_fill(r.in.va, r.in.size, 1)), 1);
	watch_end(&w);
	ASSERT_EQ(fdinfo_of(getpid(), fd, text, sizeof(text)), 0);
	engine_times(text, &t);
	for (int i = 0; i < NUM_ENGINES; i++) {
		EXPECT_GT(t.ns[i], 0);
		/* One and the same, at one frequency. */
		EXPECT_EQ(t.ns[i], (long long)((double)t.cycles[i] * 1e6 /
					       card_chip(fd).clock_khz));
	}
}

/* Nothing of a context's time is lost when it goes, nor counted twice. */
TEST(time_of_contexts_gone)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd);
	struct watch w;
	long long one;

	buffer_create(fd, vm, VA_BASE, SIZE, DRM_RDU_PLACEMENT_DEVICE);
	watch_start(&w, getpid(), fd);
	for (int i = 1; i <= 50; i++) {
		uint32_t ctx = ctx_create(fd, vm, 0);

		ASSERT_EQ(run_job(fd, ctx, job_fill(VA_BASE, SIZE, 1)), 1);
		if (i == 1)
			one = number(fd, "drm-cycles-copy");
		ASSERT_EQ(ctx_destroy(fd, ctx), 0);
		ASSERT_EQ(number(fd, "drm-cycles-copy"), i * one);
	}
	watch_end(&w);
	EXPECT_GT(one, 0);
}

/* Time is of tiles: who holds two uses two. */
TEST(time_is_of_tiles)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd);
	long long before = 0, first = 0;

	if (card_info(fd).num_tiles < 2)
		SKIP("a card of one tile");
	buffer_create(fd, vm, VA_BASE, SIZE, DRM_RDU_PLACEMENT_DEVICE);
	for (unsigned int tiles = 0; tiles <= 2; tiles++) {
		uint32_t ctx = ctx_create(fd, vm, tiles);
		long long used;

		ASSERT_EQ(run_job(fd, ctx, job_fill(VA_BASE, SIZE, 1)), 1);
		used = number(fd, "drm-cycles-copy") - before;
		before += used;
		if (!tiles)
			first = used;
		EXPECT_EQ(used, first * (tiles < 2 ? 1 : 2));
		ASSERT_EQ(ctx_destroy(fd, ctx), 0);
	}
}

/* The queue is reset, the counters of the card go on. */
TEST(time_over_faults)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd);
	long long before = 0, now;
	struct watch w;

	buffer_create(fd, vm, VA_BASE, SIZE, DRM_RDU_PLACEMENT_DEVICE);
	watch_start(&w, getpid(), fd);
	for (int i = 0; i < 20; i++) {
		uint32_t ctx = ctx_create(fd, vm, 0);

		ASSERT_EQ(run_job(fd, ctx, job_fill(VA_BASE, SIZE, 1)), 1);
		ASSERT_EQ(run_job(fd, ctx, job_fill(VA_BASE + (1 << 30), SIZE, 1)), -EIO);
		now = number(fd, "drm-cycles-copy");
		EXPECT_GT(now, before);
		before = now;
		ASSERT_EQ(ctx_destroy(fd, ctx), 0);
	}
	watch_end(&w);
}

/* The card's counters start at zero with it. */
static void time_over_reset(const char *property)
{
	struct drm_rdu_ctx_create args = { .num_tiles = 1, .timeout_ms = 300 };
	int fd = card_open();
	uint32_t sync = sync_create(fd), other, vm;
	struct drm_rdu_job job = job_barrier();
	long long before, now;
	struct watch w;

	fclose(monitor_open()); /* or skip */
	args.vm_id = vm = vm_create(fd);
	buffer_create(fd, vm, VA_BASE, SIZE, DRM_RDU_PLACEMENT_DEVICE);
	other = ctx_create(fd, vm, 0); /* queue 1 */
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &args), 0); /* queue 2 */
	for (int i = 0; i < 10; i++)
		ASSERT_EQ(run_job(fd, other, job_fill(VA_BASE, SIZE, 1)), 1);
	ASSERT_EQ(run_job(fd, args.ctx_id, job_fill(VA_BASE, SIZE, 1)), 1);
	before = number(fd, "drm-cycles-copy");
	watch_start(&w, getpid(), fd);
	ASSERT_EQ(card_property(0, property, "2"), 0);
	ASSERT_EQ(submit(fd, args.ctx_id, &job, 1, sync), 0);
	ASSERT_EQ(sync_wait(fd, sync, 0, 100000), 0);
	ASSERT_EQ(ctx_destroy(fd, args.ctx_id), 0);
	EXPECT_GE(number(fd, "drm-cycles-copy"), before);
	/* Until the card is ready, and if the context was lost with it, EIO. */
	for (int i = 0; i < 300 && run_job(fd, other, job_fill(VA_BASE, SIZE, 1)) != 1; i++) {
		ctx_destroy(fd, other);
		while (ctx_try(fd, vm, 0, &other) && i++ < 300)
			usleep(100000);
	}
	now = number(fd, "drm-cycles-copy");
	EXPECT_GT(now, before);
	EXPECT_EQ(now % (before / 11), 0); /* no cycle lost, none made up */
	watch_end(&w);
}

TEST(time_over_queue_reset)
{
	time_over_reset("fault-hang");
}

TEST(time_over_card_reset)
{
	time_over_reset("fault-stuck");
}

/* ---- who is who --------------------------------------------------------------- */

/* A client is an open file, whoever has how many descriptors of it. */
TEST(clients)
{
	int fd = card_open(), same = dup(fd), other = card_open_again(fd), line[2];
	long long id = number(fd, "drm-client-id");
	uint32_t vm = vm_create(fd);
	char text[4096], byte = 0;
	pid_t pid;

	buffer_create(fd, vm, VA_BASE, SIZE, DRM_RDU_PLACEMENT_DEVICE);
	/* Two contexts, as one client. */
	for (int i = 0; i < 2; i++)
		ASSERT_EQ(run_job(fd, ctx_create(fd, vm, 0), job_fill(VA_BASE, SIZE, 1)), 1);
	EXPECT_EQ(number(same, "drm-client-id"), id);
	EXPECT_EQ(number(same, "drm-cycles-copy"), number(fd, "drm-cycles-copy"));
	EXPECT_EQ(number(same, "drm-total-vram"), SIZE >> 10);
	EXPECT_NE(number(other, "drm-client-id"), id);
	EXPECT_EQ(number(other, "drm-cycles-copy"), 0);
	EXPECT_EQ(number(other, "drm-total-vram"), 0);

	ASSERT_EQ(pipe(line), 0);
	pid = fork();
	if (!pid) {
		close(line[1]);
		_exit(read(line[0], &byte, 1)); /* until the other end is closed */
	}
	ASSERT_EQ(fdinfo_of(pid, fd, text, sizeof(text)), 0);
	EXPECT_EQ(number_of(text, "drm-client-id"), id);
	EXPECT_EQ(number_of(text, "drm-cycles-copy"), number(fd, "drm-cycles-copy"));
	close(line[1]);
	waitpid(pid, NULL, 0);
}

static void work_until_told(int fd, int line)
{
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0);
	uint64_t word;

	buffer_create(fd, vm, VA_BASE, SIZE, DRM_RDU_PLACEMENT_DEVICE);
	say(line, fd);
	do {
		ASSERT_EQ(run_job(fd, ctx, job_fill(VA_BASE, SIZE, 1)), 1);
		say(line, 0);
	} while (hear(line, &word));
}

static void look_at(int fd, int line)
{
	pid_t pid = heard(line);
	char text[4096];

	fd = heard(line);
	say(line, -fdinfo_of(pid, fd, text, sizeof(text)));
}

/* Root sees everyone's, a user their own processes', nobody else's. */
TEST(permissions)
{
	static const uid_t uid[] = { USER_VICTIM, USER_ATTACKER };
	struct user worker = user_start(USER_VICTIM, work_until_told);
	int fd = heard(worker.line);
	char text[4096];
	struct watch w;

	heard(worker.line);
	watch_start(&w, worker.pid, fd);
	for (int i = 0; i < 5; i++) {
		say(worker.line, 0);
		heard(worker.line);
	}
	watch_end(&w);
	ASSERT_EQ(fdinfo_of(worker.pid, fd, text, sizeof(text)), 0);
	EXPECT_GT(number_of(text, "drm-engine-copy"), 0);
	EXPECT_EQ(number_of(text, "drm-total-vram"), SIZE >> 10);

	for (int i = 0; i < 2; i++) {
		struct user reader = user_start(uid[i], look_at);

		say(reader.line, worker.pid);
		say(reader.line, fd);
		EXPECT_EQ(heard(reader.line), i ? EACCES : 0);
		user_end(&reader);
	}
	user_kill(&worker);
}

/* ---- memory --------------------------------------------------------------------- */

TEST(memory)
{
	int fd = card_open(), other = card_open_again(fd);
	uint32_t device = bo_create(fd, SIZE, DRM_RDU_PLACEMENT_DEVICE);
	uint32_t system = bo_create(fd, 2 * SIZE, DRM_RDU_PLACEMENT_SYSTEM);
	struct drm_prime_handle prime = { .handle = device, .flags = DRM_CLOEXEC };

	EXPECT_EQ(number(fd, "drm-total-vram"), 1024);
	EXPECT_EQ(number(fd, "drm-resident-vram"), 1024);
	EXPECT_EQ(number(fd, "drm-total-system"), 2048);
	EXPECT_EQ(number(fd, "drm-resident-system"), 2048);
	EXPECT_EQ(number(fd, "drm-shared-vram"), 0);
	EXPECT_EQ(number(fd, "drm-active-vram"), 0);

	ASSERT_EQ(call(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime), 0);
	ASSERT_EQ(call(other, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime), 0);
	EXPECT_EQ(number(fd, "drm-shared-vram"), 1024);
	EXPECT_EQ(number(fd, "drm-shared-system"), 0);
	EXPECT_EQ(number(other, "drm-total-vram"), 1024);
	EXPECT_EQ(number(other, "drm-shared-vram"), 1024);

	ASSERT_EQ(bo_close(fd, device), 0);
	ASSERT_EQ(bo_close(fd, system), 0);
	EXPECT_EQ(number(fd, "drm-total-vram"), 0);
	EXPECT_EQ(number(fd, "drm-total-system"), 0);
}

/* What jobs in flight can reach; a program is memory too. */
TEST(active_memory)
{
	struct drm_rdu_job job;
	int fd = card_open();
	long long programs;
	uint32_t other;
	size_t size;
	void *image;
	struct run r;

	image = scale_image(fd, 3, RDU_SIMD_FMUL, &size);
	image = endless_image(image, &size);
	run_load(&r, fd, image, size, 1, DRM_RDU_PLACEMENT_DEVICE);
	programs = number(fd, "drm-total-vram") - 2 * WORDS * 4 / 1024;
	EXPECT_EQ(programs, (long long)((size + PAGE - 1) / PAGE * (PAGE / 1024)));
	other = bo_create(fd, SIZE, DRM_RDU_PLACEMENT_DEVICE);
	EXPECT_EQ(number(fd, "drm-active-vram"), 0);
	job = run_command(&r);
	ASSERT_EQ(submit(fd, r.ctx, &job, 1, 0), 0);
	EXPECT_EQ(number(fd, "drm-active-vram"), 2 * WORDS * 4 / 1024);
	EXPECT_EQ(number(fd, "drm-active-system"), 2 * PAGE / 1024);
	ASSERT_EQ(vm_map(fd, r.vm, other, 0, VA_BASE + (1 << 30), SIZE, 0), 0);
	EXPECT_EQ(number(fd, "drm-active-vram"), (2 * WORDS * 4 + SIZE) / 1024);
	ASSERT_EQ(vm_unmap(fd, r.vm, VA_BASE + (1 << 30), SIZE), 0);
	EXPECT_EQ(number(fd, "drm-active-vram"), 2 * WORDS * 4 / 1024);
	ASSERT_EQ(ctx_destroy(fd, r.ctx), 0);
	EXPECT_EQ(number(fd, "drm-active-vram"), 0);
	EXPECT_EQ(number(fd, "drm-active-system"), 0);
	ASSERT_EQ(prog_unload(fd, r.prog), 0);
	EXPECT_EQ(number(fd, "drm-total-vram"), 2 * WORDS * 4 / 1024 + SIZE / 1024);
}

/* ---- tracepoints ------------------------------------------------------------------ */

#define TRACEFS "/sys/kernel/tracing"

/* An instance of the trace buffer, where only the driver's events are on. */
struct tracer {
	char path[64];
};

static void tracer_write(const struct tracer *t, const char *file, const char *text)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", t->path, file);
	ASSERT_EQ(sys_write(path, text), 0);
}

static void tracer_start(struct tracer *t)
{
	if (getuid())
		SKIP("not root");
	mount("tracefs", TRACEFS, "tracefs", 0, NULL); /* it may be mounted */
	if (access(TRACEFS "/events/rdu", F_OK))
		SKIP("a kernel without tracepoints");
	snprintf(t->path, sizeof(t->path), TRACEFS "/instances/rdu-selftest.%d", getpid());
	ASSERT_EQ(mkdir(t->path, 0700), 0);
	tracer_write(t, "events/rdu/enable", "1");
}

/* What was traced; the instance is gone then. */
static char *tracer_end(struct tracer *t)
{
	size_t size = 0, room = 1 << 20;
	char *text = malloc(room), path[128];
	ssize_t n;
	int fd;

	ASSERT_TRUE(text);
	tracer_write(t, "events/rdu/enable", "0");
	snprintf(path, sizeof(path), "%s/trace", t->path);
	fd = open(path, O_RDONLY);
	ASSERT_GE(fd, 0);
	while (size < room - 1 && (n = read(fd, text + size, room - 1 - size)) > 0)
		size += n;
	text[size] = 0;
	close(fd);
	rmdir(t->path);
	return text;
}

/* Does the trace have the event with these words behind it? Prints it if not. */
static bool traced(const char *trace, const char *event, const char *what)
{
	char name[32];

	snprintf(name, sizeof(name), " %s: ", event);
	for (const char *at = trace; (at = strstr(at, name)); at++) {
		const char *end = strchrnul(at, '\n');
		const char *found = strstr(at, what);

		if (found && found < end)
			return true;
	}
	printf("# no %s with \"%s\" in:\n", event, what);
	for (const char *at = trace; *at; at += *at == '\n') {
		int length = strcspn(at, "\n");

		printf("# %.*s\n", length, at);
		at += length;
	}
	return false;
}

/* A job's way, and the end of one that writes where nothing is. */
TEST(trace)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx;
	char pci[32], what[192], fence[48];
	struct drm_rdu_job jobs[2];
	struct tracer tracer;
	char *trace, *at;

	pci_name(fd, pci);
	buffer_create(fd, vm, VA_BASE, SIZE, DRM_RDU_PLACEMENT_DEVICE);
	tracer_start(&tracer);
	ctx = ctx_create(fd, vm, 0);
	jobs[0] = job_fill(VA_BASE, SIZE, 1);
	jobs[1] = job_fill(VA_BASE + (1 << 30), SIZE, 1);
	ASSERT_EQ(run_job(fd, ctx, jobs[0]), 1);
	ASSERT_EQ(run_jobs(fd, ctx, jobs, 2), -EIO);
	ASSERT_EQ(ctx_destroy(fd, ctx), 0);
	trace = tracer_end(&tracer);

	/* fence=CONTEXT:SUBMIT; the same context in all of them. */
	at = strstr(trace, "fence=");
	ASSERT_TRUE(at);
	snprintf(fence, sizeof(fence), "%.*s", (int)strcspn(at, ":"), at);
	snprintf(what, sizeof(what), "dev=%s queue=1 %s:1 cmds=1", pci, fence);
	EXPECT_TRUE(traced(trace, "rdu_submit", what));
	EXPECT_TRUE(traced(trace, "rdu_run", what));
	EXPECT_TRUE(traced(trace, "rdu_done", what));
	snprintf(what, sizeof(what), "dev=%s queue=1 %s:2 cmds=2", pci, fence);
	EXPECT_TRUE(traced(trace, "rdu_submit", what));
	EXPECT_TRUE(traced(trace, "rdu_run", what));
	snprintf(what, sizeof(what), "dev=%s queue=1 %s:2 job=1 state=%#x code=%u va=%#llx", pci,
		 fence, DRM_RDU_CTX_STATE_FAULTED, RDU_FAULT_PAGE, VA_BASE + (1 << 30));
	EXPECT_TRUE(traced(trace, "rdu_fault", what));
	snprintf(what, sizeof(what), "dev=%s queue=1 result=0", pci);
	EXPECT_TRUE(traced(trace, "rdu_reset", what));
	free(trace);
}

/* A queue that does not stop: queue 0 stands for the card. */
TEST(trace_of_card_reset)
{
	struct drm_rdu_ctx_create args = { .num_tiles = 1, .timeout_ms = 300 };
	struct drm_rdu_job job = job_barrier();
	int fd = card_open();
	uint32_t sync = sync_create(fd);
	struct tracer tracer;
	char pci[32], what[128];
	char *trace;

	fclose(monitor_open()); /* or skip */
	pci_name(fd, pci);
	args.vm_id = vm_create(fd);
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &args), 0);
	tracer_start(&tracer);
	ASSERT_EQ(card_property(0, "fault-stuck", "1"), 0);
	ASSERT_EQ(submit(fd, args.ctx_id, &job, 1, sync), 0);
	ASSERT_EQ(sync_wait(fd, sync, 0, 100000), 0);
	trace = tracer_end(&tracer);
	snprintf(what, sizeof(what), "state=%#x", DRM_RDU_CTX_STATE_HUNG);
	EXPECT_TRUE(traced(trace, "rdu_fault", what));
	snprintf(what, sizeof(what), "dev=%s queue=0 result=0", pci);
	EXPECT_TRUE(traced(trace, "rdu_reset", what));
	free(trace);
}

/* ---- sysfs ---------------------------------------------------------------------------- */

/* The first line of a file, without its end. */
static void sys_read(const char *folder, const char *file, char *text, size_t size)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	f = fopen(path, "r");
	if (!f || !fgets(text, size, f)) {
		printf("# cannot read %s\n", path);
		fflush(stdout);
		_exit(TEST_FAIL);
	}
	fclose(f);
	text[strcspn(text, "\n")] = 0;
}

static long sys_number(const char *folder, const char *file)
{
	char text[32];

	sys_read(folder, file, text, sizeof(text));
	return atol(text);
}

/* The card's /sys/.../hwmon/hwmonN. */
static void hwmon_folder(int fd, char path[128])
{
	char name[32], pattern[128];
	glob_t found;

	pci_name(fd, name);
	snprintf(pattern, sizeof(pattern), "/sys/bus/pci/devices/%s/hwmon/hwmon*", name);
	if (glob(pattern, 0, NULL, &found))
		SKIP("a kernel without hwmon");
	ASSERT_EQ(found.gl_pathc, 1);
	snprintf(path, 128, "%s", found.gl_pathv[0]);
	globfree(&found);
}

/* Waits until a sensor is above (below) a limit. */
static bool sensor_gets(const char *folder, const char *file, bool above, long limit)
{
	long value = 0;

	for (int i = 0; i < 600; i++) {
		value = sys_number(folder, file);
		if (above ? value > limit : value < limit)
			return true;
		usleep(50000);
	}
	printf("# %s stays at %ld\n", file, value);
	return false;
}

/* A card at work on all its tiles draws more, and gets warm. */
TEST(sensors)
{
	int fd = card_open();
	struct drm_rdu_job job;
	char folder[128], text[32];
	long temperature, power;
	struct run r;
	size_t size;
	void *image;

	hwmon_folder(fd, folder);
	sys_read(folder, "name", text, sizeof(text));
	EXPECT_EQ(strcmp(text, "rdu"), 0);
	sys_read(folder, "temp1_label", text, sizeof(text));
	EXPECT_EQ(strcmp(text, "chip"), 0);
	sys_read(folder, "power1_label", text, sizeof(text));
	EXPECT_EQ(strcmp(text, "card"), 0);

	/* What ran before is over: it cools down. */
	EXPECT_TRUE(sensor_gets(folder, "power1_input", false, 100 * 1000000L));
	power = sys_number(folder, "power1_input");
	temperature = sys_number(folder, "temp1_input");
	EXPECT_TRUE(power >= 20 * 1000000L);
	EXPECT_TRUE(temperature >= 20 * 1000 && temperature <= 90 * 1000);

	image = scale_image(fd, 3, RDU_SIMD_FMUL, &size);
	image = endless_image(image, &size);
	run_load(&r, fd, image, size, card_info(fd).num_tiles, DRM_RDU_PLACEMENT_DEVICE);
	job = run_command(&r);
	ASSERT_EQ(submit(fd, r.ctx, &job, 1, 0), 0);
	EXPECT_TRUE(sensor_gets(folder, "power1_input", true, power + 50 * 1000000L));
	EXPECT_TRUE(sensor_gets(folder, "temp1_input", true, temperature + 1000));
	EXPECT_TRUE(sys_number(folder, "power1_input") <= 400 * 1000000L);
	EXPECT_EQ(ctx_state(fd, r.ctx).state, 0);
	ASSERT_EQ(ctx_destroy(fd, r.ctx), 0);
	EXPECT_TRUE(sensor_gets(folder, "power1_input", false, power + 50 * 1000000L));
}

struct names {
	char name[256][64];
	unsigned int count;
};

static bool names_have(const struct names *list, const char *name)
{
	for (unsigned int i = 0; i < list->count; i++)
		if (!strcmp(list->name[i], name))
			return true;
	return false;
}

/* What lies in a folder of sysfs. */
static struct names names_in(const char *folder)
{
	struct names list = { .count = 0 };
	const struct dirent *entry;
	DIR *dir = opendir(folder);

	if (!dir) {
		printf("# no folder %s\n", folder);
		fflush(stdout);
		_exit(TEST_FAIL);
	}
	while ((entry = readdir(dir)) && list.count < 256)
		if (entry->d_name[0] != '.')
			snprintf(list.name[list.count++], 64, "%.63s", entry->d_name);
	closedir(dir);
	return list;
}

/* Each file is the kernel's own (there without us, or of every device), or documented. */
static void check_documented(const char *document, const struct names *list,
			     const struct names *without, const char *const *common)
{
	for (unsigned int i = 0; i < list->count; i++) {
		const char *name = list->name[i];
		const char *const *other;
		char what[80];

		if (without && names_have(without, name))
			continue;
		for (other = common; *other && strcmp(*other, name); other++)
			;
		if (*other)
			continue;
		snprintf(what, sizeof(what), "/%s\nDate:", name);
		if (!strstr(document, what)) {
			printf("# %s is not in Documentation/ABI/sysfs-driver-rdu\n", name);
			test_status = TEST_FAIL;
		}
	}
}

/* No file has two entries: one of them would be wrong some day. */
static void check_told_once(const char *document)
{
	static const char what[] = "What:";
	const char *entry, *end;
	char line[256];

	for (entry = document; (entry = strstr(entry, what)); entry = end) {
		end = entry + strcspn(entry, "\n");
		if (entry != document && entry[-1] != '\n')
			continue;
		snprintf(line, sizeof(line), "%.*s\n", (int)(end - entry), entry);
		if (strstr(end, line)) {
			printf("# twice in Documentation/ABI/sysfs-driver-rdu: %s", line);
			test_status = TEST_FAIL;
		}
	}
}

TEST(sysfs_is_documented)
{
	static const char *const device_common[] = {
		"accel", "driver", "hwmon", "msi_irqs", "user_limits", NULL
	};
	static const char *const class_common[] = { "dev", "device", "power", "subsystem",
						    "uevent", NULL };
	static const char *const module_common[] = {
		"coresize", "drivers", "holders", "import_ns", "initsize", "initstate", "notes",
		"parameters", "refcnt", "sections", "srcversion", "taint", "uevent", NULL
	};
	static const char *const none[] = { NULL };
	const char *top = getenv("TOP");
	struct names list, without;
	char path[512], folder[128], pci[32], name[32];
	static char document[65536];
	struct stat st;
	int fd = card_open();
	FILE *f;

	snprintf(path, sizeof(path), "%s/Documentation/ABI/sysfs-driver-rdu", top ?: "../..");
	f = fopen(path, "r");
	if (!f)
		SKIP("no %s", path);
	document[fread(document, 1, sizeof(document) - 1, f)] = 0;
	fclose(f);
	check_told_once(document);

	hwmon_folder(fd, folder);
	list = names_in(folder);
	EXPECT_GT(list.count, 5);
	check_documented(document, &list, NULL, class_common);
	if (!access("/sys/module/rdu/parameters", F_OK)) {
		list = names_in("/sys/module/rdu/parameters");
		check_documented(document, &list, NULL, none);
		list = names_in("/sys/module/rdu");
		check_documented(document, &list, NULL, module_common);
	}
	pci_name(fd, pci);
	ASSERT_EQ(fstat(fd, &st), 0);
	snprintf(name, sizeof(name), "accel%u", minor(st.st_rdev));
	snprintf(path, sizeof(path), "/sys/class/accel/%s", name);
	list = names_in(path);
	check_documented(document, &list, NULL, class_common);

	/* What the card's own folder has only as long as the driver is bound. */
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", pci);
	snprintf(folder, sizeof(folder), "/sys/bus/pci/devices/%s/user_limits", pci);
	list = names_in(folder);
	EXPECT_EQ(list.count, 5);
	check_documented(document, &list, NULL, none);
	list = names_in(path);
	close(fd);
	ASSERT_EQ(sys_write("/sys/bus/pci/drivers/rdu/unbind", pci), 0);
	without = names_in(path);
	ASSERT_EQ(sys_write("/sys/bus/pci/drivers/rdu/bind", pci), 0);
	EXPECT_TRUE(names_have(&list, "driver") && !names_have(&without, "driver"));
	check_documented(document, &list, &without, device_common);
}
