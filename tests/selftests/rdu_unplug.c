// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The device goes while it is in use: unbind, removal from the bus, rmmod. */
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "victim.h"

#define DRIVER "/sys/bus/pci/drivers/rdu"

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

/* Nobody has it open: the card that comes back is the same node as before. */
TEST(same_node)
{
	struct stat before, after;
	char pci[32];
	int fd;

	for (int i = 0; i < 3; i++) {
		card_works();
		fd = card_open_idle();
		ASSERT_EQ(fstat(fd, &before), 0);
		pci_name(fd, pci);
		close(fd);
		ASSERT_EQ(sys_write(DRIVER "/unbind", pci), 0);
		ASSERT_EQ(sys_write(DRIVER "/bind", pci), 0);
		fd = card_open();
		ASSERT_EQ(fstat(fd, &after), 0);
		close(fd);
		if (i) /* before the first, the card of an earlier test may have been in the way */
			EXPECT_EQ(after.st_rdev, before.st_rdev);
	}
}

/* Calls with a page that somebody holds back. */
struct slow_call {
	int fd, kind, ret;
	uint32_t ctx;
	uintptr_t page;
};

static void *slow_call(void *data)
{
	struct slow_call *c = data;
	struct drm_rdu_submit submit = {
		.ctx_id = c->ctx, .jobs = c->page, .num_jobs = 1,
		.job_stride = sizeof(struct drm_rdu_job),
	};
	struct drm_rdu_prog_load load = { .data = c->page, .size = PAGE };
	struct drm_rdu_bo_create_userptr userptr = { .user_ptr = c->page, .size = PAGE };
	struct drm_rdu_vm_bind bind = {
		.vm_id = 1, .ops = c->page, .num_ops = 1, .op_stride = sizeof(struct drm_rdu_bind_op),
	};

	switch (c->kind) {
	case 0:
		c->ret = call(c->fd, DRM_IOCTL_RDU_SUBMIT, &submit);
		break;
	case 1:
		c->ret = call(c->fd, DRM_IOCTL_RDU_PROG_LOAD, &load);
		break;
	case 2:
		c->ret = call(c->fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &userptr);
		break;
	case 3:
		c->ret = call(c->fd, DRM_IOCTL_RDU_VM_BIND, &bind);
		break;
	case 4:
		c->ret = query(c->fd, DRM_RDU_QUERY_INFO, (void *)c->page, PAGE);
		break;
	}
	return NULL;
}

/* The card goes all the same, and the call ends when the page comes. */
TEST(page_that_does_not_come)
{
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	struct uffdio_api api = { .api = UFFD_API };

	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		SKIP("no userfaultfd");
	for (int kind = 0; kind < 5; kind++) {
		struct slow_call c = { .fd = card_open(), .kind = kind };
		struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
		struct uffdio_zeropage zero = { 0 };
		struct uffd_msg msg;
		pthread_t thread;
		char pci[32];
		void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				  -1, 0);

		ASSERT_TRUE(page != MAP_FAILED);
		pci_name(c.fd, pci);
		c.page = (uintptr_t)page;
		c.ctx = ctx_create(c.fd, vm_create(c.fd), 0);
		range.range = zero.range = (struct uffdio_range){ c.page, PAGE };
		ASSERT_EQ(ioctl(uffd, UFFDIO_REGISTER, &range), 0);
		ASSERT_EQ(pthread_create(&thread, NULL, slow_call, &c), 0);
		ASSERT_EQ(read(uffd, &msg, sizeof(msg)), (ssize_t)sizeof(msg));
		ASSERT_EQ(msg.event, UFFD_EVENT_PAGEFAULT);
		ASSERT_EQ(sys_write(DRIVER "/unbind", pci), 0);
		ASSERT_EQ(ioctl(uffd, UFFDIO_ZEROPAGE, &zero), 0);
		ASSERT_EQ(pthread_join(thread, NULL), 0);
		EXPECT_TRUE(c.ret < 0 || kind == 4);
		close(c.fd);
		ASSERT_EQ(sys_write(DRIVER "/bind", pci), 0);
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

/* Nobody's card: the driver leaves it alone until it may have it again. */
TEST(driver_override)
{
	char path[128], pci[32];
	int fd = card_open();

	pci_name(fd, pci);
	close(fd);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", pci);
	ASSERT_EQ(sys_write(path, "somebody-else"), 0);
	ASSERT_EQ(sys_write(DRIVER "/unbind", pci), 0);
	EXPECT_EQ(sys_write(DRIVER "/bind", pci), -ENODEV);
	EXPECT_EQ(sys_write("/sys/bus/pci/drivers_probe", pci), 0);
	EXPECT_EQ(card_find(0), -1);
	ASSERT_EQ(sys_write(path, "\n"), 0);
	ASSERT_EQ(sys_write("/sys/bus/pci/drivers_probe", pci), 0);
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
	pid_t waiter;

	victim_init(&v);
	waiter = waiter_start(&v);
	usleep(20000);
	ASSERT_EQ(sys_write(DRIVER "/unbind", v.pci), 0);
	waiter_end(waiter);
	victim_check(&v);
	ASSERT_EQ(sys_write(DRIVER "/bind", v.pci), 0);
	card_works();
}

static void open_and_close_for_ever(void)
{
	const struct drm_rdu_job job = job_barrier();

	for (;;) {
		struct drm_rdu_vm_create vm = { 0 };
		uint32_t ctx;
		int fd = card_find(0);

		if (fd < 0)
			continue;
		if (!call(fd, DRM_IOCTL_RDU_VM_CREATE, &vm))
			for (int i = 0; i < 16 && !ctx_try(fd, vm.vm_id, 0, &ctx); i++)
				submit(fd, ctx, &job, 1, 0);
		close(fd);
	}
}

/* Files that are just being opened or closed: they keep nothing of the card. */
TEST(open_and_close)
{
	char pci[32];
	pid_t pid[3];
	int fd = card_open();

	pci_name(fd, pci);
	close(fd);
	for (int i = 0; i < 3; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			open_and_close_for_ever();
		}
	}
	for (int i = 0; i < (test_patience() > 1 ? 10 : 20); i++) {
		usleep(50000);
		ASSERT_EQ(sys_write(DRIVER "/unbind", pci), 0);
		ASSERT_EQ(sys_write(DRIVER "/bind", pci), 0);
	}
	for (int i = 0; i < 3; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
	}
	card_works();
}

/* The module can't go while a file is open, and can when none is. */
TEST(rmmod)
{
	char pci[32];
	int fd = card_open(), ret = 0;

	pci_name(fd, pci);
	EXPECT_EQ(syscall(SYS_delete_module, "rdu", O_NONBLOCK), -1);
	EXPECT_EQ(errno, EAGAIN);
	ctx_create(fd, vm_create(fd), 1);
	close(fd);
	/* So do fences: those of the last jobs are let go a little after their file. */
	for (int i = 0; i < 400 && (ret = syscall(SYS_delete_module, "rdu", O_NONBLOCK)); i++)
		usleep(25000);
	ASSERT_EQ(ret, 0);
	ASSERT_EQ(system("modprobe rdu"), 0);
	card_works();
}
