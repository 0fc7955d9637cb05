// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Buffers shared with other drivers and between two cards, as dma-bufs. */
#include <linux/udmabuf.h>

#include "card.h"

#define PEER "/sys/module/rdu/parameters/peer_to_peer"

/* Card 1 copies from and to card 0's memory; then card 0 goes. */
TEST(peer_to_peer)
{
	int a = card_open(), b = card_open_nth(1), dmabuf;
	uint32_t vm = vm_create(b), ctx = ctx_create(b, vm, 0), bo, in;
	struct drm_rdu_query_info info = card_info(a);
	struct buffer mine;
	uint32_t *theirs;
	char pci[32];

	if (getuid())
		SKIP("not root");
	bo = bo_create(a, 1 << 20, DRM_RDU_PLACEMENT_DEVICE);
	theirs = bo_map(a, bo, 1 << 20);
	mine = buffer_create(b, vm, VA_BASE, 1 << 20, DRM_RDU_PLACEMENT_DEVICE);
	dmabuf = bo_export(a, bo);
	ASSERT_EQ(sys_write(PEER, "N"), 0);
	EXPECT_EQ(bo_import(b, dmabuf, &in), -EOPNOTSUPP);
	ASSERT_EQ(sys_write(PEER, "Y"), 0);
	ASSERT_EQ(bo_import(b, dmabuf, &in), 0);
	ASSERT_EQ(sys_write(PEER, "N"), 0);
	ASSERT_EQ(vm_map(b, vm, in, 0, VA_BASE + (1 << 30), 1 << 20, 0), 0);
	for (int i = 0; i < 1 << 18; i++)
		theirs[i] = i * 3;
	ASSERT_EQ(run_job(b, ctx, job_copy(VA_BASE, VA_BASE + (1 << 30), 1 << 20)), 1);
	EXPECT_EQ(memcmp(mine.map, theirs, 1 << 20), 0);
	ASSERT_EQ(run_job(b, ctx, job_fill(VA_BASE + (1 << 30), 1 << 20, 7)), 1);
	EXPECT_EQ(theirs[0], 7);
	EXPECT_EQ(theirs[(1 << 18) - 1], 7);
	/* The exporter goes: what is read then is a fault. */
	snprintf(pci, sizeof(pci), "%04x:%02x:%02x.%x", info.pci_domain, info.pci_bdf >> 8,
		 info.pci_bdf >> 3 & 31, info.pci_bdf & 7);
	ASSERT_EQ(sys_write("/sys/bus/pci/drivers/rdu/unbind", pci), 0);
	EXPECT_EQ(run_job(b, ctx, job_copy(VA_BASE, VA_BASE + (1 << 30), 4)), -EIO);
	EXPECT_EQ(ctx_state(b, ctx).fault_code, RDU_FAULT_PAGE);
	EXPECT_EQ(vm_map(b, vm, in, 0, VA_BASE + (2ULL << 30), PAGE, 0), -ENODEV);
	EXPECT_EQ(theirs[0], 0);
	ASSERT_EQ(sys_write("/sys/bus/pci/drivers/rdu/bind", pci), 0);
}

TEST(udmabuf)
{
	struct udmabuf_create create = { .size = 4 * PAGE };
	int fd = card_open(), dev = open("/dev/udmabuf", O_RDWR), dmabuf;
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0), in, *map;
	struct drm_rdu_bo_info info;
	struct buffer b;

	if (dev < 0)
		SKIP("no udmabuf");
	create.memfd = memfd_create("rdu", MFD_ALLOW_SEALING);
	ASSERT_EQ(ftruncate(create.memfd, 4 * PAGE), 0);
	ASSERT_EQ(fcntl(create.memfd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, create.memfd, 0);
	dmabuf = ioctl(dev, UDMABUF_CREATE, &create);
	ASSERT_GE(dmabuf, 0);
	ASSERT_EQ(bo_import(fd, dmabuf, &in), 0);
	info = (struct drm_rdu_bo_info){ .handle = in };
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_INFO, &info), 0);
	EXPECT_EQ(info.flags, DRM_RDU_BO_IMPORTED);
	EXPECT_EQ(info.mmap_offset, 0);
	b = buffer_create(fd, vm, VA_BASE, 4 * PAGE, DRM_RDU_PLACEMENT_DEVICE);
	ASSERT_EQ(vm_map(fd, vm, in, 0, VA_BASE + (1 << 30), 4 * PAGE, 0), 0);
	ASSERT_EQ(run_job(fd, ctx, job_fill(VA_BASE + (1 << 30), 4 * PAGE, 5)), 1);
	EXPECT_EQ(map[4 * PAGE / 4 - 1], 5);
	map[0] = 6;
	ASSERT_EQ(run_job(fd, ctx, job_copy(VA_BASE, VA_BASE + (1 << 30), 4 * PAGE)), 1);
	EXPECT_EQ(memcmp(b.map, map, 4 * PAGE), 0);
}
