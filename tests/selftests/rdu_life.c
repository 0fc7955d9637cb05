// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Lives and deaths: processes that are killed anywhere, files that are shared by
 * fork(), dup() and sockets, calls that signals interrupt, and mappings, streams
 * and work that outlive what they came from.
 */
#include <dirent.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "harness.h"

/* Every ioctl of this program; in a storm of signals only EINTR may come of it. */
static bool storming;
static unsigned long interrupted;
static int unexpected;

static int watched_ioctl(int fd, unsigned long request, void *arg)
{
	int ret = ioctl(fd, request, arg);

	if (ret < 0 && storming) {
		if (errno == EINTR)
			interrupted++;
		else
			unexpected = errno;
	}
	return ret;
}

#define ioctl watched_ioctl
#include "program.h"
#include "user.h"
#undef ioctl

#define SECONDS 1000000 /* of usleep() */

/* What all processes together leave of the card. */
struct left {
	uint64_t memory;
	uint32_t tiles, queues;
};

static struct left card_left(void)
{
	struct drm_rdu_query_tile tiles[64] = { 0 };
	struct drm_rdu_query_memory memory;
	struct left left = { 0 };
	int fd = card_open();
	uint32_t num = card_info(fd).num_tiles, vm, id;

	ASSERT_GE(64, num);
	ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &memory, sizeof(memory)), 0);
	ASSERT_EQ(query(fd, DRM_RDU_QUERY_TILES, tiles, num * sizeof(tiles[0])), 0);
	left.memory = memory.free;
	for (uint32_t i = 0; i < num; i++)
		left.tiles += !(tiles[i].flags & DRM_RDU_TILE_OWNED);
	vm = vm_create(fd);
	while (!ctx_try(fd, vm, 0, &id))
		left.queues++;
	close(fd);
	return left;
}

/* Those who are gone give back a little later than waitpid() tells of them. */
static void wait_left(struct left want)
{
	struct left now;

	for (int i = 0; i < 600; i++) {
		now = card_left();
		if (now.memory >= want.memory && now.tiles >= want.tiles &&
		    now.queues >= want.queues)
			return;
		usleep(SECONDS / 10);
	}
	EXPECT_GE(now.memory, want.memory);
	EXPECT_GE(now.tiles, want.tiles);
	ASSERT_GE(now.queues, want.queues);
}

/* The card with nobody on it. */
static struct left card_quiet(void)
{
	int fd = card_open();
	struct left want = {
		.tiles = card_info(fd).num_tiles, .queues = card_info(fd).max_contexts,
	};

	struct left now;

	close(fd);
	wait_left(want);
	/* Page tables of those who just left may come back still. */
	for (int i = 0; i < 10; i++) {
		now = card_left();
		if (now.memory > want.memory)
			want.memory = now.memory;
		usleep(SECONDS / 50);
	}
	return want;
}

static pid_t child(void (*act)(int line), int *line)
{
	int ends[2];
	pid_t pid;

	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ends[0]);
		act(ends[1]);
		fflush(stdout);
		_exit(test_status);
	}
	close(ends[1]);
	*line = ends[0];
	return pid;
}

static void child_ended(pid_t pid)
{
	int status;

	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
}

static void child_kill(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	/* Not before, of a failure of its own. */
	ASSERT_EQ(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, 1);
}

#define KILLS 120
#define KILLED_AT_ONCE 3

static uint64_t random_state;
static unsigned long *lives; /* of all children: came to their end, not killed before */

static uint32_t random_below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 16) % n;
}

/* Uses all there is, over and over; only work of others may be in its way. */
static void live(bool endless)
{
	for (;;) {
		int fd = card_open();
		uint32_t vm = vm_create(fd), ctx, sync = sync_create(fd);
		struct drm_rdu_prog_load load;
		struct drm_rdu_job jobs[4];
		struct rdu_args *args;
		struct buffer b, out;
		size_t size;
		void *image = scale_image(fd, 2, RDU_SIMD_FMUL, &size);

		if (endless)
			image = endless_image(image, &size);
		ASSERT_EQ(prog_load(fd, image, size, &load), 0);
		free(image);
		while (ctx_try(fd, vm, 1, &ctx))
			usleep(1000);
		b = buffer_create(fd, vm, VA_BASE, 1 << 20, DRM_RDU_PLACEMENT_SYSTEM);
		out = buffer_create(fd, vm, VA_BASE + (1 << 20), 4 << 20,
				    DRM_RDU_PLACEMENT_DEVICE);
		args = b.map;
		args->num_regions = 2;
		args->regions[0].addr = out.va;
		args->regions[1].addr = out.va + (1 << 20);
		args->regions[0].size = args->regions[1].size = WORDS * 4;
		jobs[0] = job_fill(out.va, 4 << 20, 1);
		jobs[1] = job_copy(b.va + (1 << 19), out.va, 1 << 19);
		jobs[2] = (struct drm_rdu_job){
			.type = DRM_RDU_JOB_RUN,
			.run = { .prog_id = load.prog_id, .args_va = b.va,
				 .args_size = sizeof(*args) + 32 },
		};
		jobs[3] = job_barrier();
		for (int i = 0; i < 3; i++)
			ASSERT_EQ(submit(fd, ctx, jobs, 4, i ? 0 : sync), 0);
		if (endless)
			pause();
		ASSERT_EQ(sync_wait(fd, sync, 0, 60000), 0);
		ASSERT_EQ(vm_unmap(fd, vm, out.va, 4 << 20), 0);
		munmap(b.map, b.size);
		munmap(out.map, out.size);
		close(fd);
		__atomic_fetch_add(lives, 1, __ATOMIC_RELAXED);
	}
}

static void live_short(int line)
{
	(void)line;
	live(false);
}

static void live_endless(int line)
{
	(void)line;
	live(true);
}

TEST(killed_anywhere)
{
	struct left before = card_quiet();
	pid_t pids[KILLED_AT_ONCE] = { 0 };
	int lines[KILLED_AT_ONCE];
	struct run r;

	lives = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(lives != MAP_FAILED);
	random_state = 0x1ee7c0de5eedULL;
	for (int i = 0; i < KILLS + KILLED_AT_ONCE; i++) {
		int n = i % KILLED_AT_ONCE;

		if (pids[n]) {
			child_kill(pids[n]);
			close(lines[n]);
		}
		pids[n] = 0;
		if (i < KILLS)
			pids[n] = child(i % 4 == 3 ? live_endless : live_short, &lines[n]);
		usleep(random_below(60000));
	}
	printf("# %d killed, %lu rounds of theirs done before\n", KILLS, *lives);
	wait_left(before);
	run_init(&r, card_open(), 3, card_info(card_open()).num_tiles, DRM_RDU_PLACEMENT_DEVICE);
	run_check(&r, 3, 1);
}

static struct run shared;

/* Works with its parent's file, and leaves a context and a buffer in it. */
static void use_inherited(int line)
{
	uint32_t ctx;

	run_check(&shared, 2, 1);
	ctx = ctx_create(shared.fd, shared.vm, 1);
	buffer_create(shared.fd, shared.vm, VA_BASE + (8 << 20), PAGE, DRM_RDU_PLACEMENT_DEVICE);
	ASSERT_EQ(run_job(shared.fd, ctx, job_fill(VA_BASE + (8 << 20), PAGE, 77)), 1);
	say(line, ctx);
}

TEST(fork_and_exit)
{
	uint32_t ctx;
	pid_t pid;
	int line;

	run_init(&shared, card_open(), 2, 1, DRM_RDU_PLACEMENT_SYSTEM);
	run_check(&shared, 2, 5);
	for (int i = 0; i < 3; i++) {
		pid = child(use_inherited, &line);
		ctx = heard(line);
		child_ended(pid);
		run_check(&shared, 2, 9);
		ASSERT_EQ(run_job(shared.fd, ctx, job_copy(shared.out.va, VA_BASE + (8 << 20), 4)),
			  1);
		ASSERT_EQ(*(volatile uint32_t *)shared.out.map, 77);
		ASSERT_EQ(ctx_destroy(shared.fd, ctx), 0);
	}
}

TEST(dup)
{
	struct left before = card_quiet();
	struct run r;
	int fd = card_open();

	run_init(&r, fd, 2, 1, DRM_RDU_PLACEMENT_DEVICE);
	r.fd = dup(fd);
	ASSERT_GE(r.fd, 0);
	close(fd);
	run_check(&r, 2, 3);
	close(r.fd);
	munmap(r.args.map, r.args.size);
	munmap(r.stats.map, r.stats.size);
	munmap(r.in.map, r.in.size);
	munmap(r.out.map, r.out.size);
	wait_left(before);
}

/* What a file's first owner hands to the next, beside the file. */
struct parcel {
	struct run r;
	uint32_t sync;
};

union fd_message {
	char space[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static void send_file(int line)
{
	union fd_message control = { 0 };
	struct parcel parcel;
	struct iovec data = { &parcel, sizeof(parcel) };
	struct msghdr message = {
		.msg_iov = &data, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	struct drm_rdu_job job;

	memset(&parcel, 0, sizeof(parcel));
	run_init(&parcel.r, card_open(), 4, 1, DRM_RDU_PLACEMENT_DEVICE);
	run_check(&parcel.r, 4, 1);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &parcel.r.fd, sizeof(int));
	/* Maybe still under way when it dies. */
	parcel.sync = sync_create(parcel.r.fd);
	job = job_fill(parcel.r.in.va, WORDS * 4, 0x5a);
	ASSERT_EQ(submit(parcel.r.fd, parcel.r.ctx, &job, 1, parcel.sync), 0);
	ASSERT_EQ(sendmsg(line, &message, 0), sizeof(parcel));
	pause();
}

TEST(passed_to_another)
{
	struct left before = card_quiet();

	for (int i = 0; i < 3; i++) {
		union fd_message control = { 0 };
		struct parcel parcel;
		struct iovec data = { &parcel, sizeof(parcel) };
		struct msghdr message = {
			.msg_iov = &data, .msg_iovlen = 1,
			.msg_control = &control, .msg_controllen = sizeof(control),
		};
		struct run *r = &parcel.r;
		int line;
		pid_t pid = child(send_file, &line);

		ASSERT_EQ(recvmsg(line, &message, MSG_WAITALL | MSG_CMSG_CLOEXEC), sizeof(parcel));
		ASSERT_TRUE(CMSG_FIRSTHDR(&message));
		memcpy(&r->fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
		child_kill(pid);
		close(line);
		ASSERT_EQ(sync_wait(r->fd, parcel.sync, 0, 60000), 0);
		ASSERT_EQ(sync_status(r->fd, parcel.sync), 1);
		r->in.map = bo_map(r->fd, r->in.handle, r->in.size);
		r->out.map = bo_map(r->fd, r->out.handle, r->out.size);
		ASSERT_EQ(*(volatile uint32_t *)r->in.map, 0x5a);
		run_check(r, 4, 2);
		munmap(r->in.map, r->in.size);
		munmap(r->out.map, r->out.size);
		close(r->fd);
	}
	wait_left(before);
}

/* One of each file that the driver, or DRM for it, makes. */
static void open_all_and_exec(int line)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, card_info(fd).num_tiles);
	struct drm_rdu_perf_open perf = { .ctx_id = ctx, .period_ns = 1000000 };
	struct drm_prime_handle dmabuf = {
		.handle = bo_create(fd, PAGE, DRM_RDU_PLACEMENT_DEVICE), .flags = DRM_CLOEXEC,
	};

	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_PERF_OPEN, &perf), 0);
	ASSERT_EQ(call(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &dmabuf), 0);
	say(line, 1);
	execl("/bin/sleep", "sleep", "1000", NULL);
	ASSERT_EQ(errno, 0);
}

TEST(closed_by_exec)
{
	struct left before = card_quiet();
	char folder[32];
	struct dirent *entry;
	DIR *dir;
	int line;
	pid_t pid = child(open_all_and_exec, &line);

	heard(line);
	wait_left(before);
	snprintf(folder, sizeof(folder), "/proc/%d/fd", pid);
	dir = opendir(folder);
	ASSERT_TRUE(dir);
	while ((entry = readdir(dir))) {
		char path[300], target[256] = "";

		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (readlink(path, target, sizeof(target) - 1) < 0)
			continue;
		EXPECT_TRUE(!strstr(target, "accel") && !strstr(target, "rdu-perf") &&
			    !strstr(target, "dmabuf"));
	}
	closedir(dir);
	child_kill(pid);
}

static volatile unsigned long signals;

static void on_signal(int sig)
{
	(void)sig;
	signals++;
}

/* A signal each millisecond; SIGALRM is the harness's. */
static timer_t storm_begin(void)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec every = { { 0, 1000000 }, { 0, 1000000 } };
	timer_t timer;

	ASSERT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
	ASSERT_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	ASSERT_EQ(timer_settime(timer, 0, &every, NULL), 0);
	storming = true;
	return timer;
}

static void storm_round(int round)
{
	int fd = card_open(), prime;
	struct drm_rdu_bo_create_userptr userptr = { .size = 16 * PAGE };
	struct drm_rdu_perf_open perf = { .period_ns = 1000000 };
	struct drm_prime_handle share = { .flags = DRM_CLOEXEC };
	struct drm_rdu_perf_sample sample;
	struct run r;
	uint32_t copy;
	void *page;
	ssize_t n;

	for (uint32_t type = DRM_RDU_QUERY_INFO; type <= DRM_RDU_QUERY_USER; type++)
		ASSERT_EQ(query(fd, type, NULL, 0), 0);
	run_init(&r, fd, 2, 1, round & 1 ? DRM_RDU_PLACEMENT_SYSTEM : DRM_RDU_PLACEMENT_DEVICE);
	run_check(&r, 2, round);

	page = mmap(NULL, userptr.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(page != MAP_FAILED);
	userptr.user_ptr = (uintptr_t)page;
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &userptr), 0);
	ASSERT_EQ(vm_map(fd, r.vm, userptr.handle, 0, VA_BASE + (8 << 20), userptr.size, 0), 0);
	ASSERT_EQ(run_job(fd, r.ctx, job_fill(VA_BASE + (8 << 20), userptr.size, round)), 1);
	for (uint32_t i = 0; i < userptr.size / 4; i++)
		ASSERT_EQ(((volatile int *)page)[i], round);
	ASSERT_EQ(vm_unmap(fd, r.vm, VA_BASE + (8 << 20), userptr.size), 0);
	ASSERT_EQ(bo_close(fd, userptr.handle), 0);
	munmap(page, userptr.size);

	share.handle = r.out.handle;
	ASSERT_EQ(call(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &share), 0);
	prime = share.fd;
	share.handle = 0;
	ASSERT_EQ(call(fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &share), 0);
	ASSERT_EQ(share.handle, r.out.handle);
	close(prime);

	perf.ctx_id = r.ctx;
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_PERF_OPEN, &perf), 0);
	do
		n = read(perf.fd, &sample, sizeof(sample));
	while (n < 0 && errno == EINTR);
	ASSERT_EQ(n, sizeof(sample));
	close(perf.fd);

	copy = ctx_create(fd, r.vm, 0);
	ASSERT_EQ(ctx_state(fd, copy).state, 0);
	ASSERT_EQ(run_job(fd, copy, job_copy(r.out.va, r.in.va, WORDS * 4)), 1);
	ASSERT_EQ(memcmp(r.in.map, r.out.map, WORDS * 4), 0);
	ASSERT_EQ(ctx_state(fd, copy).completed, 1);
	ASSERT_EQ(ctx_destroy(fd, copy), 0);
	ASSERT_EQ(prog_unload(fd, r.prog), 0);
	ASSERT_EQ(ctx_destroy(fd, r.ctx), 0);
	ASSERT_EQ(vm_destroy(fd, r.vm), 0);
	ASSERT_EQ(bo_close(fd, r.out.handle), 0);
	munmap(r.args.map, r.args.size);
	munmap(r.stats.map, r.stats.size);
	munmap(r.in.map, r.in.size);
	munmap(r.out.map, r.out.size);
	close(fd);
}

/* An ioctl that a signal interrupts is made again, and nothing is done twice or lost. */
TEST(signal_storm)
{
	struct left before = card_quiet();
	timer_t timer = storm_begin();

	for (int i = 1; i <= 60; i++)
		storm_round(i);
	storming = false;
	timer_delete(timer);
	printf("# %lu signals, %lu ioctls interrupted\n", signals, interrupted);
	EXPECT_GT(signals, 0);
	EXPECT_EQ(unexpected, 0);
	wait_left(before);
}

/* A mapping goes on with neither handle nor file, and holds its memory. */
TEST(map_outlives_all)
{
	struct left before = card_quiet();
	const uint32_t size = 8 << 20;

	for (int i = 0; i < 2; i++) {
		int fd = card_open();
		uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0);
		struct buffer b = buffer_create(fd, vm, VA_BASE, size,
						i ? DRM_RDU_PLACEMENT_SYSTEM :
						    DRM_RDU_PLACEMENT_DEVICE);
		volatile uint32_t *words = b.map;

		ASSERT_EQ(run_job(fd, ctx, job_fill(b.va, size, 42)), 1);
		ASSERT_EQ(bo_close(fd, b.handle), 0);
		ASSERT_EQ(vm_destroy(fd, vm), 0);
		ASSERT_EQ(ctx_destroy(fd, ctx), 0);
		close(fd);
		for (uint32_t word = 0; word < size / 4; word += 1000) {
			ASSERT_EQ(words[word], 42);
			words[word] = word;
			ASSERT_EQ(words[word], word);
		}
		if (!i)
			EXPECT_GE(before.memory, card_left().memory + size);
		munmap(b.map, size);
	}
	wait_left(before);
}

/* One tile runs a program without end, all others are of work that waits for it. */
static void wait_for_nothing(int line)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, card_info(fd).num_tiles - 1);
	uint32_t never = sync_create(fd), done = sync_create(fd);
	struct drm_rdu_sync syncs[] = {
		{ .handle = never }, { .flags = DRM_RDU_SYNC_SIGNAL, .handle = done },
	};
	struct drm_rdu_sync first = { .flags = DRM_RDU_SYNC_SIGNAL, .handle = never };
	struct drm_rdu_job job = job_fill(VA_BASE, PAGE, 1);
	struct drm_rdu_job endless;
	struct run r;
	size_t size;
	void *image;

	buffer_create(fd, vm, VA_BASE, PAGE, DRM_RDU_PLACEMENT_DEVICE);
	image = scale_image(fd, 2, RDU_SIMD_FMUL, &size);
	image = endless_image(image, &size);
	run_load(&r, fd, image, size, 1, DRM_RDU_PLACEMENT_DEVICE);
	endless = run_command(&r);
	ASSERT_EQ(submit_syncs(fd, r.ctx, &endless, 1, &first, 1, NULL), 0);
	ASSERT_EQ(submit_syncs(fd, ctx, &job, 1, syncs, 2, NULL), 0);
	say(line, 1);
	sync_wait(fd, done, 0, 1000000);
	ASSERT_TRUE(false);
}

TEST(killed_waiting)
{
	struct left before = card_quiet();
	struct run r;

	for (int i = 0; i < 5; i++) {
		int line;
		pid_t pid = child(wait_for_nothing, &line);

		heard(line);
		usleep(i * 20000);
		EXPECT_EQ(card_left().tiles, 0);
		child_kill(pid);
		close(line);
		wait_left(before);
	}
	run_init(&r, card_open(), 3, before.tiles, DRM_RDU_PLACEMENT_DEVICE);
	run_check(&r, 3, 1);
}

static int stream;

static void read_to_end(int line)
{
	struct drm_rdu_perf_sample s[4], last = { 0 };
	ssize_t n;

	say(line, 1);
	while ((n = read(stream, s, sizeof(s))) > 0) {
		ASSERT_EQ(n % sizeof(s[0]), 0);
		for (size_t i = 0; i < n / sizeof(s[0]); i++) {
			EXPECT_GT(s[i].time, last.time);
			EXPECT_GE(s[i].clock, last.clock);
			EXPECT_GE(s[i].completed, last.completed);
			last = s[i];
		}
	}
	ASSERT_EQ(n, 0);
}

/* A reader that sleeps in read() is told of the end: context destroyed, file closed. */
TEST(stream_ends)
{
	struct left before = card_quiet();

	for (int i = 0; i < 4; i++) {
		int fd = card_open(), line;
		uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 1);
		struct drm_rdu_perf_open args = {
			.ctx_id = ctx, .period_ns = i & 2 ? 300000000 : 1000000,
		};
		struct buffer b = buffer_create(fd, vm, VA_BASE, PAGE, DRM_RDU_PLACEMENT_DEVICE);
		struct pollfd p;
		pid_t pid;

		munmap(b.map, b.size);
		ASSERT_EQ(call(fd, DRM_IOCTL_RDU_PERF_OPEN, &args), 0);
		ASSERT_EQ(run_job(fd, ctx, job_fill(VA_BASE, PAGE, 1)), 1);
		stream = args.fd;
		if (i & 1) { /* before fork(): the reader would hold the file */
			close(fd);
			pid = child(read_to_end, &line);
		} else {
			pid = child(read_to_end, &line);
			heard(line);
			usleep(50000);
			ASSERT_EQ(ctx_destroy(fd, ctx), 0);
		}
		child_ended(pid);
		close(line);
		p = (struct pollfd){ .fd = stream, .events = POLLIN };
		ASSERT_EQ(poll(&p, 1, 60000), 1);
		EXPECT_TRUE(p.revents & POLLHUP);
		close(stream);
		if (!(i & 1))
			close(fd);
	}
	wait_left(before);
}
