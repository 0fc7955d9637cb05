// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A kernel that copies what devices are to reach (swiotlb=force on its command line):
 * the computer's memory is refused, card memory works.
 */
#include <linux/udmabuf.h>

#include "card.h"

static int open_where_copied(void)
{
	char line[2048] = "";
	FILE *file = fopen("/proc/cmdline", "r");

	ASSERT_TRUE(file && fgets(line, sizeof(line), file));
	fclose(file);
	if (!strstr(line, "swiotlb=force"))
		SKIP("the kernel was not started with swiotlb=force");
	return card_open();
}

TEST(system_memory)
{
	struct drm_rdu_bo_create args = { .size = PAGE, .placement = DRM_RDU_PLACEMENT_SYSTEM };
	int fd = open_where_copied();

	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE, &args), -EOPNOTSUPP);
	args.size = 8 << 20;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE, &args), -EOPNOTSUPP);
}

TEST(userptr)
{
	int fd = open_where_copied();
	struct drm_rdu_bo_create_userptr args = { .size = PAGE };

	args.user_ptr = (uintptr_t)mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &args), -EOPNOTSUPP);
	args.flags = DRM_RDU_USERPTR_READONLY;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &args), -EOPNOTSUPP);
}

TEST(import)
{
	int fd = open_where_copied(), dev = open("/dev/udmabuf", O_RDWR), dmabuf;
	struct udmabuf_create create = { .size = PAGE };
	uint32_t handle;

	if (dev < 0)
		SKIP("no udmabuf");
	create.memfd = memfd_create("rdu", MFD_ALLOW_SEALING);
	ASSERT_EQ(ftruncate(create.memfd, PAGE), 0);
	ASSERT_EQ(fcntl(create.memfd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	dmabuf = ioctl(dev, UDMABUF_CREATE, &create);
	ASSERT_GE(dmabuf, 0);
	EXPECT_EQ(bo_import(fd, dmabuf, &handle), -EOPNOTSUPP);
}

TEST(card_memory)
{
	int fd = open_where_copied();
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0);
	struct buffer b = buffer_create(fd, vm, VA_BASE, 1 << 20, DRM_RDU_PLACEMENT_DEVICE);

	ASSERT_EQ(run_job(fd, ctx, job_fill(b.va, b.size, 7)), 1);
	EXPECT_EQ(((uint32_t *)b.map)[b.size / 4 - 1], 7);
}
