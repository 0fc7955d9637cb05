// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * One user at a limit is refused, others are not; and what was taken is given
 * back, however it ends.
 */
#include <pthread.h>

#include "program.h"
#include "user.h"

#define USER_OTHER USER_ATTACKER

static int set_limit(const char *name, int percent)
{
	char path[96], pci[32], text[16];
	int fd = card_open();

	pci_name(fd, pci);
	close(fd);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/user_limits/%s", pci, name);
	snprintf(text, sizeof(text), "%d", percent);
	return sys_write(path, text);
}

/* Per cent of each thing that a user may have; -1: what is usual. */
static void set_limits(int tiles, int contexts, int programs, int memory, int system)
{
	static const char * const names[] = { "tiles", "contexts", "programs", "memory", "system" };
	static const int usual[] = { 100, 50, 50, 90, 50 };
	int values[] = { tiles, contexts, programs, memory, system };

	if (getuid())
		SKIP("not root");
	for (int i = 0; i < 5; i++)
		ASSERT_EQ(set_limit(names[i], values[i] < 0 ? usual[i] : values[i]), 0);
}

static void usual_limits(void)
{
	set_limits(-1, -1, -1, -1, -1);
}

static struct drm_rdu_query_user account(int fd)
{
	struct drm_rdu_query_user u;

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_USER, &u, sizeof(u)), 0);
	return u;
}

/* Nothing charged; workers of the driver's may be a little late. */
static void expect_empty(int fd)
{
	struct drm_rdu_query_user u;

	for (int i = 0; i < 1000; i++) {
		u = account(fd);
		if (!u.tiles.used && !u.contexts.used && !u.programs.used && !u.memory.used &&
		    !u.system.used)
			return;
		usleep(10000);
	}
	EXPECT_EQ(u.tiles.used, 0);
	EXPECT_EQ(u.contexts.used, 0);
	EXPECT_EQ(u.programs.used, 0);
	EXPECT_EQ(u.memory.used, 0);
	EXPECT_EQ(u.system.used, 0);
}

static int bo_try(int fd, uint64_t size, uint32_t placement, uint32_t *handle)
{
	struct drm_rdu_bo_create args = { .size = size, .placement = placement };
	int ret = call(fd, DRM_IOCTL_RDU_BO_CREATE, &args);

	*handle = args.handle;
	return ret;
}

static void (*to_do)(int fd, int line);

/* What an earlier process of that user had is gone. */
static void from_nothing(int fd, int line)
{
	expect_empty(fd);
	to_do(fd, line);
}

static struct user start(uid_t uid, void (*act)(int fd, int line))
{
	to_do = act;
	return user_start(uid, from_nothing);
}

/* One user up to his limit, then, while he has it, another; then the first lets go. */
static void two_users(void (*take)(int fd, int line), void (*other)(int fd, int line))
{
	struct user a = start(USER_VICTIM, take), b;

	heard(a.line);
	b = start(USER_OTHER, other);
	user_end(&b);
	say(a.line, 0);
	user_end(&a);
	usual_limits();
}

static void take_tiles(int fd, int line)
{
	struct drm_rdu_query_user u = account(fd);
	int again = card_open_again(fd);
	uint32_t vm = vm_create(fd), ctx, more;

	ASSERT_EQ(u.tiles.used, 0);
	ASSERT_EQ(u.tiles.max, card_info(fd).num_tiles / 2);
	EXPECT_EQ(ctx_try(fd, vm, u.tiles.max + 1, &ctx), -EDQUOT);
	EXPECT_EQ(account(fd).contexts.used, 0);
	ctx = ctx_create(fd, vm, u.tiles.max);
	EXPECT_EQ(account(fd).tiles.used, u.tiles.max);
	EXPECT_EQ(account(fd).contexts.used, 1);
	EXPECT_EQ(ctx_try(fd, vm, 1, &more), -EDQUOT);
	/* Another file is the same user. */
	EXPECT_EQ(ctx_try(again, vm_create(again), 1, &more), -EDQUOT);
	EXPECT_EQ(ctx_try(again, vm_create(again), 0, &more), 0);
	EXPECT_EQ(account(fd).contexts.used, 2);
	say(line, 1);
	heard(line);
	EXPECT_EQ(ctx_destroy(fd, ctx), 0);
	EXPECT_EQ(account(fd).tiles.used, 0);
	ctx = ctx_create(fd, vm, u.tiles.max);
}

static void other_tiles(int fd, int line)
{
	uint32_t ctx;

	(void)line;
	EXPECT_EQ(ctx_try(fd, vm_create(fd), card_info(fd).num_tiles / 2, &ctx), 0);
}

TEST(tiles)
{
	set_limits(50, -1, -1, -1, -1);
	two_users(take_tiles, other_tiles);
}

static void take_contexts(int fd, int line)
{
	struct drm_rdu_query_user u = account(fd);
	uint32_t vm = vm_create(fd), ctx = 0, more;

	ASSERT_EQ(u.contexts.max, card_info(fd).max_contexts / 4);
	for (uint64_t i = 0; i < u.contexts.max; i++)
		ctx = ctx_create(fd, vm, 0);
	EXPECT_EQ(ctx_try(fd, vm, 0, &more), -EDQUOT);
	EXPECT_EQ(account(fd).contexts.used, u.contexts.max);
	say(line, 1);
	heard(line);
	EXPECT_EQ(ctx_destroy(fd, ctx), 0);
	ctx_create(fd, vm, 0);
	EXPECT_EQ(ctx_try(fd, vm, 0, &more), -EDQUOT);
}

static void other_contexts(int fd, int line)
{
	(void)line;
	ctx_create(fd, vm_create(fd), 0);
}

TEST(contexts)
{
	set_limits(-1, 25, -1, -1, -1);
	two_users(take_contexts, other_contexts);
}

static void take_programs(int fd, int line)
{
	struct drm_rdu_query_user u = account(fd);
	struct drm_rdu_prog_unload unload = { 0 };
	struct drm_rdu_prog_load load;
	size_t size;
	char *image = scale_image(fd, 2, RDU_SIMD_FMUL, &size);

	ASSERT_EQ(u.programs.max, card_info(fd).max_programs / 100);
	ASSERT_GT(u.programs.max, 0);
	for (uint64_t i = 0; i < u.programs.max; i++) {
		/* One that the card refuses does not count. */
		image[0] ^= 1;
		EXPECT_EQ(prog_load(fd, image, size, &load), -EBADMSG);
		image[0] ^= 1;
		for (int left = 500; left && account(fd).programs.used != i; left--)
			usleep(10000);
		ASSERT_EQ(account(fd).programs.used, i);
		ASSERT_EQ(prog_load(fd, image, size, &load), 0);
	}
	unload.prog_id = load.prog_id;
	EXPECT_EQ(prog_load(fd, image, size, &load), -EDQUOT);
	say(line, 1);
	heard(line);
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_PROG_UNLOAD, &unload), 0);
	for (int left = 500; left && account(fd).programs.used == u.programs.max; left--)
		usleep(10000);
	EXPECT_EQ(prog_load(fd, image, size, &load), 0);
}

static void other_programs(int fd, int line)
{
	struct drm_rdu_prog_load load;
	size_t size;
	void *image = scale_image(fd, 2, RDU_SIMD_FMUL, &size);

	(void)line;
	EXPECT_EQ(prog_load(fd, image, size, &load), 0);
}

TEST(programs)
{
	set_limits(-1, -1, 1, -1, -1);
	two_users(take_programs, other_programs);
}

/* Buffers, programs and page tables are all card memory. */
static void take_memory(int fd, int line)
{
	struct drm_rdu_vm_create more = { 0 };
	struct drm_rdu_prog_load load;
	struct drm_rdu_query_memory mem;
	struct drm_rdu_query_user u;
	uint32_t vm = vm_create(fd), page = bo_create(fd, PAGE, DRM_RDU_PLACEMENT_DEVICE), bo;
	size_t size;
	void *image = scale_image(fd, 2, RDU_SIMD_FMUL, &size);

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &mem, sizeof(mem)), 0);
	u = account(fd);
	ASSERT_EQ(u.memory.max, mem.size / 100);
	ASSERT_EQ(u.memory.used, 2 * PAGE); /* the VM's first table, the buffer */
	size = (u.memory.max - u.memory.used) & ~(PAGE - 1);
	EXPECT_EQ(bo_try(fd, size + PAGE, DRM_RDU_PLACEMENT_DEVICE, &bo), -EDQUOT);
	ASSERT_EQ(bo_try(fd, size, DRM_RDU_PLACEMENT_DEVICE, &bo), 0);
	EXPECT_EQ(account(fd).memory.used, 2 * PAGE + size);
	EXPECT_EQ(account(fd).system.used, 0);
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_CREATE, &more), -EDQUOT);
	EXPECT_EQ(vm_map(fd, vm, page, 0, VA_BASE, PAGE, 0), -EDQUOT);
	EXPECT_EQ(prog_load(fd, image, PAGE, &load), -EDQUOT);
	EXPECT_EQ(bo_try(fd, 1ULL << 40, DRM_RDU_PLACEMENT_DEVICE, &page), -ENOSPC);
	/* The computer's memory is another matter. */
	bo_create(fd, PAGE, DRM_RDU_PLACEMENT_SYSTEM);
	say(line, 1);
	heard(line);
	EXPECT_EQ(bo_close(fd, bo), 0);
	EXPECT_EQ(account(fd).memory.used, 2 * PAGE);
	ASSERT_EQ(bo_try(fd, size, DRM_RDU_PLACEMENT_DEVICE, &bo), 0);
}

static void other_memory(int fd, int line)
{
	uint32_t vm = vm_create(fd);

	(void)line;
	buffer_create(fd, vm, VA_BASE, 1 << 20, DRM_RDU_PLACEMENT_DEVICE);
	/* Tables go with what they led to. */
	EXPECT_EQ(account(fd).memory.used, (1 << 20) + 4 * PAGE);
	EXPECT_EQ(vm_unmap(fd, vm, VA_BASE, 1 << 20), 0);
	EXPECT_EQ(account(fd).memory.used, (1 << 20) + PAGE);
}

TEST(memory)
{
	set_limits(-1, -1, -1, 1, -1);
	two_users(take_memory, other_memory);
}

static void take_system(int fd, int line)
{
	uint64_t max = account(fd).system.max & ~(PAGE - 1);
	uint32_t bo;

	ASSERT_GT(max, PAGE);
	EXPECT_EQ(bo_try(fd, max + PAGE, DRM_RDU_PLACEMENT_SYSTEM, &bo), -EDQUOT);
	ASSERT_EQ(bo_try(fd, max, DRM_RDU_PLACEMENT_SYSTEM, &bo), 0);
	EXPECT_EQ(bo_try(fd, PAGE, DRM_RDU_PLACEMENT_SYSTEM, &bo), -EDQUOT);
	EXPECT_EQ(account(fd).system.used, max);
	EXPECT_EQ(account(fd).memory.used, 0);
	say(line, 1);
	heard(line);
}

static void other_system(int fd, int line)
{
	(void)line;
	bo_create(fd, 1 << 20, DRM_RDU_PLACEMENT_SYSTEM);
}

TEST(system_memory)
{
	set_limits(-1, -1, -1, -1, 1);
	two_users(take_system, other_system);
}

static void nothing_goes(int fd, int line)
{
	struct drm_rdu_vm_create vm = { 0 };
	uint32_t bo;

	(void)line;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_CREATE, &vm), -EDQUOT);
	EXPECT_EQ(bo_try(fd, PAGE, DRM_RDU_PLACEMENT_DEVICE, &bo), -EDQUOT);
	EXPECT_EQ(bo_try(fd, PAGE, DRM_RDU_PLACEMENT_SYSTEM, &bo), -EDQUOT);
	expect_empty(fd);
}

/* CAP_SYS_RESOURCE: no limit, but an account. */
TEST(lifted)
{
	int fd = card_open();
	struct drm_rdu_query_user before, u;
	struct user a;

	set_limits(0, 0, 0, 0, 0);
	before = account(fd);
	ctx_create(fd, vm_create(fd), 1);
	bo_create(fd, PAGE, DRM_RDU_PLACEMENT_DEVICE);
	bo_create(fd, PAGE, DRM_RDU_PLACEMENT_SYSTEM);
	u = account(fd);
	EXPECT_EQ(u.tiles.max, 0);
	EXPECT_EQ(u.tiles.used, before.tiles.used + 1);
	EXPECT_EQ(u.contexts.used, before.contexts.used + 1);
	EXPECT_EQ(u.memory.used, before.memory.used + 2 * PAGE);
	EXPECT_EQ(u.system.used, before.system.used + PAGE);
	a = start(USER_VICTIM, nothing_goes);
	user_end(&a);
	/* More than a hundred is none, and changes nothing. */
	EXPECT_EQ(set_limit("tiles", 101), -EINVAL);
	EXPECT_EQ(set_limit("contexts", -1), -EINVAL);
	EXPECT_EQ(account(fd).tiles.max, 0);
	set_limits(100, 100, -1, -1, -1);
	EXPECT_EQ(account(fd).tiles.max, card_info(fd).num_tiles);
	EXPECT_EQ(account(fd).contexts.max, card_info(fd).max_contexts);
	usual_limits();
}

static void send_fd(int line, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	ASSERT_EQ(sendmsg(line, &msg, MSG_NOSIGNAL), 1);
}

static int receive_fd(int line)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	int fd;

	ASSERT_EQ(recvmsg(line, &msg, 0), 1);
	ASSERT_TRUE(CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	return fd;
}

/* Makes buffers, gives them away with everything of its own closed. */
static void gives(int fd, int line)
{
	int watch = card_open_again(fd);

	for (uint32_t placement = 0; placement < 2; placement++) {
		int dmabuf = bo_export(fd, bo_create(fd, 1 << 20, placement));

		send_fd(line, dmabuf);
		close(dmabuf);
	}
	send_fd(line, fd); /* and a file */
	close(fd);
	heard(line);
	EXPECT_EQ(account(watch).memory.used, (1 << 20) + PAGE);
	EXPECT_EQ(account(watch).system.used, 1 << 20);
	EXPECT_EQ(account(watch).tiles.used, 1);
	say(line, 1);
	heard(line);
	expect_empty(watch);
}

static void gets(int fd, int line)
{
	uint32_t handle;

	for (int i = 0; i < 2; i++) {
		int dmabuf = receive_fd(line);

		ASSERT_EQ(bo_import(fd, dmabuf, &handle), 0);
		close(dmabuf);
	}
	int theirs = receive_fd(line);

	/* Made in a file that another opened, by whoever has it: the other's. */
	ctx_create(theirs, vm_create(theirs), 1);
	expect_empty(fd);
	say(line, 1);
	heard(line);
}

TEST(given_away)
{
	struct user a, b;

	usual_limits();
	a = start(USER_VICTIM, gives);
	b = start(USER_OTHER, gets);
	for (int i = 0; i < 3; i++) {
		int fd = receive_fd(a.line);

		send_fd(b.line, fd);
		close(fd);
	}
	heard(b.line);
	say(a.line, 1);
	heard(a.line);
	say(b.line, 1);
	user_end(&b);
	say(a.line, 1);
	user_end(&a);
}

static void take_all(int fd, int line)
{
	struct drm_rdu_query_user u = account(fd);
	uint32_t vm = vm_create(fd), bo, ctx;
	struct drm_rdu_prog_load load;
	size_t size;
	void *image = scale_image(fd, 2, RDU_SIMD_FMUL, &size);

	say(line, 1);
	for (uint64_t i = 0;; i++) {
		if (ctx_try(fd, vm, i & 1, &ctx))
			break;
		prog_load(fd, image, size, &load);
		bo_try(fd, 1 << 18, i & 1, &bo);
		vm_map(fd, vm, bo, 0, VA_BASE + (i << 30), 1 << 18, 0);
		submit(fd, ctx, &(struct drm_rdu_job){ .type = DRM_RDU_JOB_BARRIER }, 1, 0);
	}
	EXPECT_GE(u.contexts.max, account(fd).contexts.used);
	pause();
}

static void watch(int fd, int line)
{
	while (heard(line)) {
		expect_empty(fd);
		say(line, 1);
	}
}

/* Killed wherever it was: nothing stays charged. */
TEST(killed)
{
	struct user w, a;

	usual_limits();
	w = start(USER_VICTIM, watch);
	for (int i = 0; i < 20; i++) {
		a = start(USER_VICTIM, take_all);
		heard(a.line);
		usleep(i * 5000);
		user_kill(&a);
		say(w.line, 1);
		heard(w.line);
	}
	say(w.line, 0);
	user_end(&w);
}

static int race_fd;

static void *race(void *data)
{
	unsigned int seed = (uintptr_t)data;
	uint32_t vm = vm_create(race_fd), ctx, bo;

	for (int i = 0; i < 60; i++) {
		int ret = ctx_try(race_fd, vm, 1, &ctx);

		if (ret && ret != -EDQUOT)
			return (void *)(intptr_t)ret;
		if (!bo_try(race_fd, PAGE << (rand_r(&seed) % 8), i & 1, &bo))
			bo_close(race_fd, bo);
		if (!ret)
			ctx_destroy(race_fd, ctx);
	}
	vm_destroy(race_fd, vm);
	return NULL;
}

static void racing(int fd, int line)
{
	pthread_t threads[4];
	void *ret;

	(void)line;
	race_fd = fd;
	for (uintptr_t i = 0; i < 4; i++)
		ASSERT_EQ(pthread_create(&threads[i], NULL, race, (void *)i), 0);
	for (int i = 0; i < 4; i++) {
		ASSERT_EQ(pthread_join(threads[i], &ret), 0);
		EXPECT_EQ((intptr_t)ret, 0);
	}
	expect_empty(fd);
}

/* Threads at the limit: never over it, never wrong in the end. */
TEST(raced)
{
	struct user a;

	set_limits(50, 10, -1, -1, -1);
	a = start(USER_VICTIM, racing);
	user_end(&a);
	usual_limits();
}

/* ---- control groups ---------------------------------------------------------- */

#define GROUP "/sys/fs/cgroup/rdu-selftest"
#define GROUP_MAX (48UL << 20)
#define PIECE (4UL << 20)

static uint64_t group_now(void)
{
	FILE *file = fopen(GROUP "/memory.current", "r");
	unsigned long long now = 0;

	ASSERT_TRUE(file);
	ASSERT_EQ(fscanf(file, "%llu", &now), 1);
	fclose(file);
	return now;
}

/* Root, to whom no account is a limit. */
static void fill_group(void)
{
	uint32_t bo[GROUP_MAX / PIECE], last, n = 0;
	uint64_t before;
	int fd, ret;

	ASSERT_EQ(sys_write(GROUP "/cgroup.procs", "0"), 0);
	fd = card_open();
	/* What stands for card memory is the computer's, too: some 500 bytes a buffer. */
	before = group_now();
	for (int i = 0; i < 4000; i++)
		bo_create(fd, PAGE, DRM_RDU_PLACEMENT_DEVICE);
	EXPECT_GE(group_now(), before + 4000 * 256);
	close(fd);

	fd = card_open_idle();
	do
		ret = bo_try(fd, PIECE, DRM_RDU_PLACEMENT_SYSTEM, &bo[n]);
	while (!ret && ++n < GROUP_MAX / PIECE);
	EXPECT_EQ(ret, -ENOMEM);
	EXPECT_GE(n, 2);
	/* At the limit the group's other pages have to go. */
	EXPECT_GE(group_now(), n * PIECE);
	EXPECT_GE(GROUP_MAX, group_now());
	/* What is given back can be had again. */
	EXPECT_EQ(bo_close(fd, bo[n - 1]), 0);
	EXPECT_EQ(bo_try(fd, PIECE, DRM_RDU_PLACEMENT_SYSTEM, &last), 0);
	EXPECT_EQ(bo_try(fd, 8 * GROUP_MAX, DRM_RDU_PLACEMENT_SYSTEM, &last), -ENOMEM);
	/* Nobody outside notices. */
	fflush(stdout);
	ASSERT_EQ(sys_write("/sys/fs/cgroup/cgroup.procs", "0"), 0);
	bo_create(fd, GROUP_MAX, DRM_RDU_PLACEMENT_SYSTEM);
	ASSERT_EQ(sys_write(GROUP "/cgroup.procs", "0"), 0);
}

/* Buffers are the memory of the control group whose process asked for them. */
TEST(control_group)
{
	char max[32];
	int status;
	pid_t pid;

	if (getuid())
		SKIP("not root");
	close(card_open());
	if (sys_write("/sys/fs/cgroup/cgroup.subtree_control", "+memory"))
		SKIP("no memory controller of cgroup2 at /sys/fs/cgroup");
	rmdir(GROUP);
	ASSERT_EQ(mkdir(GROUP, 0755), 0);
	snprintf(max, sizeof(max), "%lu", GROUP_MAX);
	ASSERT_EQ(sys_write(GROUP "/memory.max", max), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		fill_group();
		fflush(stdout);
		_exit(test_status);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	/* All of it comes back. */
	for (int i = 0; i < 400 && group_now() > PIECE; i++)
		usleep(25000);
	EXPECT_GE(PIECE, group_now());
	EXPECT_EQ(rmdir(GROUP), 0);
}
