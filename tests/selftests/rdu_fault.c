// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The card misbehaves (Documentation/faults.md): the guilty context is stopped
 * and told why, another goes on, and a new one works.
 */
#include <linux/netlink.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include "monitor.h"
#include "program.h"

#define DRIVER "/sys/bus/pci/drivers/rdu"
#define SIZE (1 << 20)

/* Two contexts, on queues 1 and 2 of a card that nobody else uses. */
struct pair {
	struct run bystander;
	int fd;
	uint32_t vm, ctx, sync;
	struct buffer device, system;
};

static void pair_init(struct pair *p)
{
	struct drm_rdu_ctx_create args = { .num_tiles = 1, .timeout_ms = 300 };

	fclose(monitor_open()); /* or skip */
	run_init(&p->bystander, card_open_idle(), 3, 1, DRM_RDU_PLACEMENT_DEVICE);
	p->fd = card_open();
	p->vm = args.vm_id = vm_create(p->fd);
	ASSERT_EQ(call(p->fd, DRM_IOCTL_RDU_CTX_CREATE, &args), 0);
	p->ctx = args.ctx_id;
	p->sync = sync_create(p->fd);
	p->device = buffer_create(p->fd, p->vm, VA_BASE, SIZE, DRM_RDU_PLACEMENT_DEVICE);
	p->system = buffer_create(p->fd, p->vm, VA_BASE + (1 << 30), SIZE,
				  DRM_RDU_PLACEMENT_SYSTEM);
}

/* How a job of the guilty context ends. */
static int pair_run(struct pair *p, struct drm_rdu_job job)
{
	ASSERT_EQ(submit(p->fd, p->ctx, &job, 1, p->sync), 0);
	ASSERT_EQ(sync_wait(p->fd, p->sync, 0, 60000), 0);
	return sync_status(p->fd, p->sync);
}

/* The other context has noticed nothing, and the guilty one's successor works. */
static void pair_check(struct pair *p, uint32_t state, uint32_t code)
{
	struct drm_rdu_ctx_get_state got = ctx_state(p->fd, p->ctx);
	struct drm_rdu_job job = job_barrier();

	EXPECT_EQ(got.state, state);
	EXPECT_EQ(got.fault_code, code);
	EXPECT_EQ(got.fault_seqno, 1);
	EXPECT_EQ(got.fault_job, 0);
	EXPECT_EQ(submit(p->fd, p->ctx, &job, 1, 0), -EIO);
	EXPECT_EQ(ctx_state(p->bystander.fd, p->bystander.ctx).state, 0);
	run_check(&p->bystander, 3, 1);
	ASSERT_EQ(ctx_destroy(p->fd, p->ctx), 0);
	p->ctx = ctx_create(p->fd, p->vm, 1);
	ASSERT_EQ(run_job(p->fd, p->ctx, job_fill(p->device.va, SIZE, 7)), 1);
	EXPECT_EQ(*(uint32_t *)p->device.map, 7);
}

/* No watchdog of the card's sees it: the driver's own clock does. */
TEST(hang)
{
	struct pair p;

	pair_init(&p);
	ASSERT_EQ(card_property(0, "fault-hang", "2"), 0);
	EXPECT_EQ(pair_run(&p, job_barrier()), -ETIME);
	pair_check(&p, DRM_RDU_CTX_STATE_HUNG, RDU_FAULT_WATCHDOG);
}

TEST(uncorrectable_memory_error)
{
	struct pair p;

	pair_init(&p);
	ASSERT_EQ(card_property(0, "fault-ecc-ue", "1"), 0);
	EXPECT_EQ(pair_run(&p, job_copy(p.system.va, p.device.va, SIZE)), -EIO);
	EXPECT_EQ(ctx_state(p.fd, p.ctx).va, p.device.va);
	pair_check(&p, DRM_RDU_CTX_STATE_FAULTED, RDU_FAULT_ECC);
}

/* The first transfer is the fetch of the command itself. */
TEST(failed_fetch)
{
	struct pair p;

	pair_init(&p);
	ASSERT_EQ(card_property(0, "fault-dma", "1"), 0);
	/* No command was read: none is to blame. */
	EXPECT_EQ(pair_run(&p, job_barrier()), -ECANCELED);
	EXPECT_EQ(ctx_state(p.fd, p.ctx).state, DRM_RDU_CTX_STATE_FAULTED);
	EXPECT_EQ(ctx_state(p.fd, p.ctx).fault_code, RDU_FAULT_BAD_RING);
	run_check(&p.bystander, 3, 1);
}

/* Late, but done: the driver looks before it judges. */
TEST(lost_interrupt)
{
	struct pair p;

	pair_init(&p);
	ASSERT_EQ(card_property(0, "fault-drop-irq", "1"), 0);
	EXPECT_EQ(pair_run(&p, job_fill(p.device.va, SIZE, 5)), 1);
	EXPECT_EQ(ctx_state(p.fd, p.ctx).state, 0);
	EXPECT_EQ(*(uint32_t *)p.device.map, 5);
	run_check(&p.bystander, 3, 1);
}

/* A number the card was never given is not believed. */
TEST(poisoned_completion)
{
	struct pair p;

	pair_init(&p);
	ASSERT_EQ(card_property(0, "fault-poison", "1"), 0);
	EXPECT_EQ(pair_run(&p, job_barrier()), -ETIME);
	pair_check(&p, DRM_RDU_CTX_STATE_HUNG, RDU_FAULT_WATCHDOG);
}

/* Whether the card took the program nobody knows: its slot can be used again. */
TEST(lost_answer)
{
	static const char param[] = "/sys/module/rdu/parameters/admin_timeout_ms";
	struct drm_rdu_prog_load load;
	struct pair p;
	size_t size;
	void *image;

	pair_init(&p);
	image = scale_image(p.fd, 5, RDU_SIMD_FMUL, &size);
	ASSERT_EQ(sys_write(param, "500"), 0);
	ASSERT_EQ(card_property(0, "fault-poison", "1"), 0);
	EXPECT_EQ(prog_load(p.fd, image, size, &load), -EIO);
	/* Until the card has been reset the answer is EIO: to who is refused, at once. */
	EXPECT_EQ(sys_write(param, "3600000"), 0);
	for (int i = 0; i < 300 && prog_load(p.fd, image, size, &load); i++)
		usleep(100000);
	EXPECT_NE(load.prog_id, 0);
	/* By now the one that failed has given its slot back, which is the next. */
	for (int i = 0; i < 3; i++) {
		usleep(100000);
		EXPECT_EQ(prog_load(p.fd, image, size, &load), 0);
	}
	EXPECT_EQ(sys_write(param, "60000"), 0);
	run_check(&p.bystander, 3, 1);
}

/* A card that is there again works with a driver that starts anew. */
static void start_anew(struct pair *p)
{
	pair_init(p);
	run_check(&p->bystander, 3, 2);
	EXPECT_EQ(pair_run(p, job_barrier()), 1);
}

/* A program that never ends, a thousand times: all that it held comes back. */
TEST_TIMED(thousand_hangs, 240)
{
	struct drm_rdu_ctx_create args = { .num_tiles = 1, .timeout_ms = 1 };
	struct drm_rdu_query_memory before, after;
	struct drm_rdu_job job;
	struct run r;
	size_t size;
	void *image;

	r.fd = card_open_idle();
	image = endless_image(scale_image(r.fd, 3, RDU_SIMD_FMUL, &size), &size);
	run_load(&r, r.fd, image, size, 1, DRM_RDU_PLACEMENT_DEVICE);
	ASSERT_EQ(ctx_destroy(r.fd, r.ctx), 0);
	job = run_command(&r);
	args.vm_id = r.vm;
	ASSERT_EQ(query(r.fd, DRM_RDU_QUERY_MEMORY, &before, sizeof(before)), 0);
	for (int i = 0; i < 1000; i++) {
		ASSERT_EQ(call(r.fd, DRM_IOCTL_RDU_CTX_CREATE, &args), 0);
		ASSERT_EQ(run_jobs(r.fd, args.ctx_id, &job, 1), -ETIME);
		ASSERT_EQ(ctx_state(r.fd, args.ctx_id).fault_code, RDU_FAULT_WATCHDOG);
		ASSERT_EQ(ctx_destroy(r.fd, args.ctx_id), 0);
	}
	ASSERT_EQ(query(r.fd, DRM_RDU_QUERY_MEMORY, &after, sizeof(after)), 0);
	EXPECT_EQ(before.free, after.free);
}

static void *look_at_tiles(void *arg)
{
	struct drm_rdu_query_tile tiles[64];
	int fd = card_open();

	while (!*(volatile bool *)arg)
		EXPECT_EQ(query(fd, DRM_RDU_QUERY_TILES, tiles, sizeof(tiles)), 0);
	close(fd);
	return NULL;
}

/* A context that has its tiles, and then fails, is in somebody's sight already. */
static void fail_in_sight(struct pair *p)
{
	bool over = false;
	pthread_t thread;
	uint32_t ctx;

	ASSERT_EQ(pthread_create(&thread, NULL, look_at_tiles, &over), 0);
	for (int i = 0; i < 2000; i++)
		EXPECT_EQ(ctx_try(p->fd, p->vm, 1, &ctx), -EIO);
	over = true;
	pthread_join(thread, NULL);
}

/* Kilobytes of the kernel's own objects that can't be had back. */
static long kernel_objects(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	char line[128];
	long kb = 0;

	ASSERT_TRUE(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "SUnreclaim: %ld", &kb) == 1)
			break;
	fclose(file);
	return kb;
}

/* On every queue of the card but the bystander's at once; all of it comes back. */
static void hang_all(struct run *bystander, uint32_t num)
{
	struct drm_rdu_ctx_create args = { .timeout_ms = 1 };
	struct drm_rdu_job job = job_barrier();
	uint32_t ctx[64], sync[64];
	int fd = card_open();
	struct buffer b;

	ASSERT_GE(64, num);
	args.vm_id = vm_create(fd);
	b = buffer_create(fd, args.vm_id, VA_BASE, SIZE, DRM_RDU_PLACEMENT_DEVICE);
	for (uint32_t i = 0; i < num; i++) {
		ASSERT_EQ(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &args), 0);
		ctx[i] = args.ctx_id;
		sync[i] = sync_create(fd);
	}
	for (uint32_t i = 0; i < num; i++) {
		char queue[16];

		snprintf(queue, sizeof(queue), "%u", i + 2);
		ASSERT_EQ(card_property(0, "fault-hang", queue), 0);
		ASSERT_EQ(submit(fd, ctx[i], &job, 1, sync[i]), 0);
		/* One is armed at a time. */
		for (int j = 0; j < 3000 && !queue_find(i + 2, 0).head; j++)
			usleep(1000);
		EXPECT_NE(queue_find(i + 2, 0).head, 0);
		if (i % 16 == 0)
			run_check(bystander, 3, i);
	}
	for (uint32_t i = 0; i < num; i++) {
		ASSERT_EQ(sync_wait(fd, sync[i], 0, 60000), 0);
		EXPECT_EQ(sync_status(fd, sync[i]), -ETIME);
		EXPECT_EQ(ctx_state(fd, ctx[i]).state, DRM_RDU_CTX_STATE_HUNG);
	}
	run_check(bystander, 3, 1);
	EXPECT_EQ(ctx_state(bystander->fd, bystander->ctx).state, 0);
	munmap(b.map, b.size);
	close(fd);
}

#define HANG_ROUNDS 4

/* Hangs that only the driver's own clock ends, by the hundred. */
TEST_TIMED(hundreds_of_hangs, 240)
{
	struct drm_rdu_query_memory before, after = { 0 };
	long objects = 0, grown;
	struct run r;
	uint32_t num;

	fclose(monitor_open()); /* or skip */
	run_init(&r, card_open_idle(), 3, 1, DRM_RDU_PLACEMENT_DEVICE);
	num = card_info(r.fd).max_contexts - 1;
	ASSERT_EQ(query(r.fd, DRM_RDU_QUERY_MEMORY, &before, sizeof(before)), 0);
	for (int i = 0; i < HANG_ROUNDS; i++) {
		hang_all(&r, num);
		for (int j = 0; j < 400 && after.free != before.free; j++) {
			usleep(25000);
			ASSERT_EQ(query(r.fd, DRM_RDU_QUERY_MEMORY, &after, sizeof(after)), 0);
		}
		EXPECT_EQ(after.free, before.free);
		after.free = 0;
		if (i == 0)
			objects = kernel_objects();
	}
	grown = kernel_objects() - objects;
	printf("# %u hangs; the kernel's objects after the first %u: %+ld KiB\n",
	       num * HANG_ROUNDS, num, grown);
	/* Less than a context. The debug kernel looks for itself, and frees late. */
	if (access("/sys/kernel/debug/kmemleak", F_OK))
		EXPECT_GE(2 * num * (HANG_ROUNDS - 1), grown);
}

/* Nobody waits for ever for a card that answers no more, or is asked in vain. */
static void no_answer(struct pair *p, const char *fault)
{
	struct drm_rdu_vm_create vm = { 0 };
	struct run *r = &p->bystander;

	pair_init(p);
	ASSERT_EQ(card_property(0, fault, "true"), 0);
	EXPECT_EQ(pair_run(p, job_barrier()), -ETIME);
	EXPECT_EQ(ctx_state(p->fd, p->ctx).state, DRM_RDU_CTX_STATE_HUNG);
	for (int i = 0; i < 300 && !ctx_state(r->fd, r->ctx).state; i++)
		usleep(100000);
	EXPECT_EQ(ctx_state(r->fd, r->ctx).state, DRM_RDU_CTX_STATE_INNOCENT);
	EXPECT_EQ(call(r->fd, DRM_IOCTL_RDU_VM_CREATE, &vm), -EIO);
	EXPECT_EQ(*(uint32_t *)p->device.map, 0);
	*(uint32_t *)p->device.map = 1;
	ASSERT_EQ(ctx_destroy(p->fd, p->ctx), 0);
	fail_in_sight(p);
	ASSERT_EQ(card_property(0, fault, "false"), 0);
}

/* The kernel's own events, from now on. */
static int uevents_open(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int sock = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	ASSERT_GE(sock, 0);
	ASSERT_EQ(bind(sock, (struct sockaddr *)&address, sizeof(address)), 0);
	return sock;
}

/* Whether one of them, "ACTION@PATH", then "NAME=VALUE" after "NAME=VALUE", has all these. */
static bool uevent_came(int sock, const char *const wanted[], int num)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	char text[8192];

	while (poll(&p, 1, 1000) == 1) {
		ssize_t size = recv(sock, text, sizeof(text) - 1, 0);
		int found = 0;

		ASSERT_GE(size, 0);
		text[size] = 0;
		for (const char *at = text; at < text + size; at += strlen(at) + 1)
			for (int i = 0; i < num; i++)
				found += !strcmp(at, wanted[i]);
		if (found == num)
			return true;
	}
	return false;
}

TEST(dead)
{
	const char *wanted[] = { "ACTION=change", "SUBSYSTEM=accel", "WEDGED=rebind", NULL };
	char name[32], path[32], node[64] = "", device[80];
	struct pair p;
	int fd, sock;

	fclose(monitor_open());
	fd = card_open();
	pci_name(fd, name);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ASSERT_GT(readlink(path, node, sizeof(node) - 1), 0);
	snprintf(device, sizeof(device), "DEVNAME=%s", node + strlen("/dev/"));
	wanted[3] = device;
	sock = uevents_open();
	no_answer(&p, "fault-dead");
	EXPECT_TRUE(uevent_came(sock, wanted, 4));
	close(sock);
	ASSERT_EQ(sys_write(DRIVER "/unbind", name), 0);
	ASSERT_EQ(sys_write(DRIVER "/bind", name), 0);
	start_anew(&p);
}

/* Off the bus: when it is back, it is to be found anew. */
TEST(gone)
{
	char name[32], path[96];
	struct pair p;

	fclose(monitor_open());
	pci_name(card_open(), name);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", name);
	no_answer(&p, "fault-gone");
	ASSERT_EQ(sys_write(path, "1"), 0);
	ASSERT_EQ(sys_write("/sys/bus/pci/rescan", "1"), 0);
	start_anew(&p);
}
