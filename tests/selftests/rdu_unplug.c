// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The device goes while it is in use: unbind, removal from the bus, FLR, rmmod. */
#include <dirent.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "card.h"

#define DRIVER "/sys/bus/pci/drivers/rdu"

struct victim {
	int fd;
	uint32_t vm, ctx, sync;
	struct buffer device, system;
	char pci[32];
};

static void victim_init(struct victim *v)
{
	struct drm_rdu_job jobs[64];

	v->fd = card_open();
	pci_name(v->fd, v->pci);
	v->vm = vm_create(v->fd);
	v->ctx = ctx_create(v->fd, v->vm, 1);
	v->sync = sync_create(v->fd);
	v->device = buffer_create(v->fd, v->vm, VA_BASE, 16 << 20, DRM_RDU_PLACEMENT_DEVICE);
	v->system = buffer_create(v->fd, v->vm, VA_BASE + (1 << 30), 1 << 20,
				  DRM_RDU_PLACEMENT_SYSTEM);
	*(uint32_t *)v->device.map = 42;
	for (int i = 0; i < 64; i++)
		jobs[i] = job_fill(VA_BASE, 16 << 20, i);
	for (int i = 0; i < 8; i++)
		ASSERT_EQ(submit(v->fd, v->ctx, jobs, 64, v->sync), 0);
}

/* What user space sees of a card that is gone. */
static void victim_check(struct victim *v)
{
	struct drm_rdu_vm_create args = { 0 };
	struct drm_rdu_job job = job_barrier();

	EXPECT_EQ(call(v->fd, DRM_IOCTL_RDU_VM_CREATE, &args), -ENODEV);
	EXPECT_EQ(submit(v->fd, v->ctx, &job, 1, 0), -ENODEV);
	/* Mappings stay, and do not kill. */
	for (size_t at = 0; at < v->device.size; at += PAGE)
		EXPECT_EQ(*(uint32_t *)((char *)v->device.map + at), 0);
	*(uint32_t *)v->device.map = 1;
	*(uint32_t *)v->system.map = 1;
	close(v->fd);
	munmap(v->device.map, v->device.size);
	munmap(v->system.map, v->system.size);
}

/* A card that is back works from the start. */
static void card_works(void)
{
	uint32_t vm, ctx;
	struct buffer b;
	int fd;

	fd = card_open();
	vm = vm_create(fd);
	ctx = ctx_create(fd, vm, card_info(fd).num_tiles);
	b = buffer_create(fd, vm, VA_BASE, 1 << 20, DRM_RDU_PLACEMENT_DEVICE);
	ASSERT_EQ(run_job(fd, ctx, job_fill(VA_BASE, 1 << 20, 9)), 1);
	EXPECT_EQ(*(uint32_t *)b.map, 9);
	munmap(b.map, b.size);
	close(fd);
}

TEST(unbind)
{
	for (int i = 0; i < 3; i++) {
		struct victim v;

		victim_init(&v);
		ASSERT_EQ(sys_write(DRIVER "/unbind", v.pci), 0);
		victim_check(&v);
		ASSERT_EQ(sys_write(DRIVER "/bind", v.pci), 0);
		card_works();
	}
}

/* Bound again while the old file is still open. */
TEST(rebind_with_old_file)
{
	struct victim v;

	victim_init(&v);
	ASSERT_EQ(sys_write(DRIVER "/unbind", v.pci), 0);
	ASSERT_EQ(sys_write(DRIVER "/bind", v.pci), 0);
	card_works();
	victim_check(&v);
	card_works();
}

TEST(remove_and_rescan)
{
	char path[128];
	struct victim v;

	victim_init(&v);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/remove", v.pci);
	ASSERT_EQ(sys_write(path, "1"), 0);
	victim_check(&v);
	ASSERT_EQ(sys_write("/sys/bus/pci/rescan", "1"), 0);
	card_works();
}

/* A waiter is woken. */
TEST(waiter_wakes)
{
	struct victim v;
	int status;
	pid_t pid;

	victim_init(&v);
	pid = fork();
	if (!pid) {
		/* Signalled, or the ioctl sees that the card is gone. */
		int ret = sync_wait(v.fd, v.sync, 0, 30000);

		_exit(ret == 0 || ret == -ENODEV ? 0 : 1);
	}
	usleep(20000);
	ASSERT_EQ(sys_write(DRIVER "/unbind", v.pci), 0);
	waitpid(pid, &status, 0);
	EXPECT_EQ(status, 0);
	victim_check(&v);
	ASSERT_EQ(sys_write(DRIVER "/bind", v.pci), 0);
	card_works();
}

/* The module can't go while a file is open, and can when none is. */
TEST(rmmod)
{
	char pci[32];
	int fd = card_open();

	pci_name(fd, pci);
	EXPECT_EQ(syscall(SYS_delete_module, "rdu", O_NONBLOCK), -1);
	EXPECT_EQ(errno, EAGAIN);
	ctx_create(fd, vm_create(fd), 1);
	close(fd);
	ASSERT_EQ(syscall(SYS_delete_module, "rdu", O_NONBLOCK), 0);
	ASSERT_EQ(system("modprobe rdu"), 0);
	card_works();
}
