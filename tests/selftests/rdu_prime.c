// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Buffers shared with other drivers and between two cards, as dma-bufs. */
#include <linux/dma-buf.h>
#include <linux/udmabuf.h>

#include "card.h"

#define PEER "/sys/module/rdu/parameters/peer_to_peer"
#define OTHER (VA_BASE + (1ULL << 30))

static const uint32_t placements[] = { DRM_RDU_PLACEMENT_DEVICE, DRM_RDU_PLACEMENT_SYSTEM };

static int cpu_access(int dmabuf, uint64_t flags)
{
	struct dma_buf_sync args = { .flags = flags };

	return call(dmabuf, DMA_BUF_IOCTL_SYNC, &args);
}

static void *share_map(int dmabuf, size_t size)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0);

	ASSERT_TRUE(map != MAP_FAILED);
	return map;
}

/* The card writes to, then reads from, imported memory that map shows. */
static void card_uses(int fd, uint32_t handle, volatile uint32_t *map, size_t size)
{
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0);
	struct buffer b = buffer_create(fd, vm, VA_BASE, size, DRM_RDU_PLACEMENT_DEVICE);

	ASSERT_EQ(vm_map(fd, vm, handle, 0, OTHER, size, 0), 0);
	ASSERT_EQ(run_job(fd, ctx, job_fill(OTHER, size, 5)), 1);
	EXPECT_EQ(map[0], 5);
	EXPECT_EQ(map[size / 4 - 1], 5);
	for (size_t i = 0; i < size / 4; i++)
		map[i] = i * 3;
	ASSERT_EQ(run_job(fd, ctx, job_copy(VA_BASE, OTHER, size)), 1);
	EXPECT_EQ(memcmp(b.map, (void *)map, size), 0);
	EXPECT_EQ(ctx_destroy(fd, ctx), 0);
	EXPECT_EQ(vm_destroy(fd, vm), 0);
	EXPECT_EQ(bo_close(fd, b.handle), 0);
	munmap(b.map, size);
}

/* Card 1 copies from and to card 0's memory; then card 0 goes. */
TEST(peer_to_peer)
{
	int a = card_open(), b = card_open_nth(1), dmabuf;
	uint32_t vm = vm_create(b), ctx = ctx_create(b, vm, 0), bo, in;
	struct buffer mine;
	uint32_t *theirs;
	char pci[32];

	pci_name(a, pci);
	bo = bo_create(a, 1 << 20, DRM_RDU_PLACEMENT_DEVICE);
	theirs = bo_map(a, bo, 1 << 20);
	mine = buffer_create(b, vm, VA_BASE, 1 << 20, DRM_RDU_PLACEMENT_DEVICE);
	dmabuf = bo_export(a, bo);
	ASSERT_EQ(sys_write(PEER, "N"), 0);
	EXPECT_EQ(bo_import(b, dmabuf, &in), -EOPNOTSUPP);
	ASSERT_EQ(sys_write(PEER, "Y"), 0);
	ASSERT_EQ(bo_import(b, dmabuf, &in), 0);
	ASSERT_EQ(sys_write(PEER, "N"), 0);
	ASSERT_EQ(vm_map(b, vm, in, 0, OTHER, 1 << 20, 0), 0);
	for (int i = 0; i < 1 << 18; i++)
		theirs[i] = i * 3;
	ASSERT_EQ(run_job(b, ctx, job_copy(VA_BASE, OTHER, 1 << 20)), 1);
	EXPECT_EQ(memcmp(mine.map, theirs, 1 << 20), 0);
	ASSERT_EQ(run_job(b, ctx, job_fill(OTHER, 1 << 20, 7)), 1);
	EXPECT_EQ(theirs[0], 7);
	EXPECT_EQ(theirs[(1 << 18) - 1], 7);
	/* The exporter goes: what is read then is a fault. */
	ASSERT_EQ(sys_write("/sys/bus/pci/drivers/rdu/unbind", pci), 0);
	EXPECT_EQ(run_job(b, ctx, job_copy(VA_BASE, OTHER, 4)), -EIO);
	EXPECT_EQ(ctx_state(b, ctx).fault_code, RDU_FAULT_PAGE);
	EXPECT_EQ(vm_map(b, vm, in, 0, VA_BASE + (2ULL << 30), PAGE, 0), -ENODEV);
	EXPECT_EQ(theirs[0], 0);
	ASSERT_EQ(sys_write("/sys/bus/pci/drivers/rdu/bind", pci), 0);
}

/* Both cards at work in one buffer of the computer's memory. */
TEST(two_cards_system_memory)
{
	int a = card_open(), b = card_open_nth(1), dmabuf;
	uint32_t bo = bo_create(a, 1 << 20, DRM_RDU_PLACEMENT_SYSTEM), in, *map;

	map = bo_map(a, bo, 1 << 20);
	dmabuf = bo_export(a, bo);
	ASSERT_EQ(bo_import(b, dmabuf, &in), 0);
	card_uses(b, in, map, 1 << 20);
	card_uses(a, bo, map, 1 << 20);
	/* The one that lent it closes everything: the other goes on. */
	close(dmabuf);
	close(a);
	card_uses(b, in, map, 1 << 20);
}

TEST(udmabuf)
{
	struct udmabuf_create create = { .size = 4 * PAGE };
	int fd = card_open(), dev = open("/dev/udmabuf", O_RDWR), dmabuf;
	struct drm_rdu_bo_info info;
	uint32_t in, *map;

	if (dev < 0)
		SKIP("no udmabuf");
	create.memfd = memfd_create("rdu", MFD_ALLOW_SEALING);
	ASSERT_EQ(ftruncate(create.memfd, 4 * PAGE), 0);
	ASSERT_EQ(fcntl(create.memfd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, create.memfd, 0);
	dmabuf = ioctl(dev, UDMABUF_CREATE, &create);
	ASSERT_GE(dmabuf, 0);
	ASSERT_EQ(bo_import(fd, dmabuf, &in), 0);
	close(dmabuf);
	info = (struct drm_rdu_bo_info){ .handle = in };
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_INFO, &info), 0);
	EXPECT_EQ(info.size, 4 * PAGE);
	EXPECT_EQ(info.placement, DRM_RDU_PLACEMENT_SYSTEM);
	EXPECT_EQ(info.flags, DRM_RDU_BO_IMPORTED);
	EXPECT_EQ(info.mmap_offset, 0);
	card_uses(fd, in, map, 4 * PAGE);
}

TEST(dma_heap)
{
	size_t size = 3 << 20;
	int fd = card_open(), dmabuf = heap_alloc(size, O_RDWR);
	uint32_t in, again;

	ASSERT_EQ(bo_import(fd, dmabuf, &in), 0);
	ASSERT_EQ(bo_import(fd, dmabuf, &again), 0);
	EXPECT_EQ(again, in);
	card_uses(fd, in, share_map(dmabuf, size), size);
}

/* What may only be read can only be bound for reading. */
TEST(read_only_import)
{
	int fd = card_open(), dmabuf = heap_alloc(PAGE, O_RDONLY);
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0), in;
	struct buffer b = buffer_create(fd, vm, VA_BASE, PAGE, DRM_RDU_PLACEMENT_DEVICE);

	memset(b.map, 0xff, PAGE);
	ASSERT_EQ(bo_import(fd, dmabuf, &in), 0);
	EXPECT_EQ(vm_map(fd, vm, in, 0, OTHER, PAGE, 0), -EACCES);
	ASSERT_EQ(vm_map(fd, vm, in, 0, OTHER, PAGE, DRM_RDU_BIND_READONLY), 0);
	ASSERT_EQ(run_job(fd, ctx, job_copy(VA_BASE, OTHER, PAGE)), 1);
	EXPECT_EQ(*(uint32_t *)b.map, 0);
	EXPECT_EQ(run_job(fd, ctx, job_fill(OTHER, PAGE, 1)), -EIO);
}

/* The kernel's driver for tests of sharing. */
static int vgem_open(void)
{
	if (system("modprobe vgem 2>/dev/null"))
		printf("# no module vgem\n");
	for (int i = 0; i < 16; i++) {
		char name[16] = "", path[32];
		struct drm_version version = { .name = name, .name_len = sizeof(name) - 1 };
		int fd;

		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && !call(fd, DRM_IOCTL_VERSION, &version) && !strcmp(name, "vgem"))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	SKIP("no vgem");
}

static void *vgem_map(int vgem, uint32_t handle, size_t size)
{
	struct drm_mode_map_dumb args = { .handle = handle };
	void *map;

	ASSERT_EQ(call(vgem, DRM_IOCTL_MODE_MAP_DUMB, &args), 0);
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vgem, args.offset);
	ASSERT_TRUE(map != MAP_FAILED);
	return map;
}

TEST(vgem_import)
{
	struct drm_mode_create_dumb dumb = { .width = 1024, .height = 256, .bpp = 32 };
	int fd = card_open(), vgem = vgem_open(), dmabuf;
	uint32_t in;

	ASSERT_EQ(call(vgem, DRM_IOCTL_MODE_CREATE_DUMB, &dumb), 0);
	dmabuf = bo_export(vgem, dumb.handle);
	ASSERT_EQ(bo_import(fd, dmabuf, &in), 0);
	card_uses(fd, in, vgem_map(vgem, dumb.handle, dumb.size), dumb.size);
	/* The lender's handle and file go first. */
	close(dmabuf);
	close(vgem);
	ASSERT_EQ(vm_map(fd, vm_create(fd), in, 0, OTHER, dumb.size, 0), 0);
}

TEST(vgem_export)
{
	int fd = card_open(), vgem = vgem_open(), dmabuf;
	uint32_t bo, in;

	bo = bo_create(fd, 1 << 20, DRM_RDU_PLACEMENT_SYSTEM);
	dmabuf = bo_export(fd, bo);
	ASSERT_EQ(bo_import(vgem, dmabuf, &in), 0);
	card_uses(fd, bo, share_map(dmabuf, 1 << 20), 1 << 20);
	/* A device that does not say that it can reach card memory does not get it. */
	bo = bo_create(fd, 1 << 20, DRM_RDU_PLACEMENT_DEVICE);
	EXPECT_EQ(bo_import(vgem, bo_export(fd, bo), &in), -EOPNOTSUPP);
}

TEST(export_errors)
{
	int fd = card_open();
	struct drm_prime_handle args = { .handle = 77, .flags = O_RDWR };
	int dmabuf;
	void *map;

	EXPECT_EQ(call(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &args), -ENOENT);
	for (int p = 0; p < 2; p++) {
		args.handle = bo_create(fd, 2 * PAGE, placements[p]);
		args.flags = ~(O_RDWR | O_CLOEXEC);
		EXPECT_EQ(call(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &args), -EINVAL);
		/* For reading only, now and later. */
		dmabuf = bo_export_as(fd, args.handle, 0);
		EXPECT_TRUE(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, dmabuf, 0) ==
			    MAP_FAILED);
		map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, dmabuf, 0);
		ASSERT_TRUE(map != MAP_FAILED);
		EXPECT_EQ(*(uint32_t *)map, 0);
		EXPECT_NE(mprotect(map, PAGE, PROT_READ | PROT_WRITE), 0);
		EXPECT_NE(mprotect(map, PAGE, PROT_READ | PROT_EXEC), 0);
		close(dmabuf);
		/* Too long, beyond the end, a private copy. */
		dmabuf = bo_export(fd, args.handle);
		EXPECT_TRUE(mmap(NULL, 3 * PAGE, PROT_READ, MAP_SHARED, dmabuf, 0) == MAP_FAILED);
		EXPECT_TRUE(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, dmabuf, 2 * PAGE) ==
			    MAP_FAILED);
		EXPECT_TRUE(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, dmabuf, 0) ==
			    MAP_FAILED);
		EXPECT_EQ(cpu_access(dmabuf, 0), -EINVAL);
		EXPECT_EQ(cpu_access(dmabuf, DMA_BUF_SYNC_RW | 8), -EINVAL);
		EXPECT_EQ(lseek(dmabuf, 0, SEEK_END), 2 * PAGE);
		close(dmabuf);
	}
	args.fd = fd; /* not a dma-buf */
	EXPECT_EQ(call(fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &args), -EINVAL);
	args.fd = -1;
	EXPECT_EQ(call(fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &args), -EBADF);
}

/* CPU and card take turns in a buffer that the CPU sees by its dma-buf. */
TEST(export_mmap_sync)
{
	size_t size = 1 << 20;
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0);

	for (int p = 0; p < 2; p++) {
		uint64_t va = VA_BASE + ((uint64_t)p << 24);
		struct buffer from = buffer_create(fd, vm, va, size, placements[p]);
		struct buffer to = buffer_create(fd, vm, va + OTHER, size, placements[p]);
		int out = bo_export(fd, from.handle), back = bo_export(fd, to.handle);
		uint32_t *write = share_map(out, size);
		const uint32_t *read = mmap(NULL, size, PROT_READ, MAP_SHARED, back, 0);

		ASSERT_TRUE(read != MAP_FAILED);
		for (uint32_t round = 1; round <= 3; round++) {
			ASSERT_EQ(cpu_access(out, DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE), 0);
			for (size_t i = 0; i < size / 4; i++)
				write[i] = i * round;
			ASSERT_EQ(cpu_access(out, DMA_BUF_SYNC_END | DMA_BUF_SYNC_WRITE), 0);
			ASSERT_EQ(run_job(fd, ctx, job_copy(to.va, from.va, size)), 1);
			ASSERT_EQ(cpu_access(back, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ), 0);
			for (size_t i = 0; i < size / 4; i++)
				if (read[i] != i * round) {
					EXPECT_EQ(read[i], i * round);
					break;
				}
			ASSERT_EQ(cpu_access(back, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ), 0);
		}
	}
}

/* Free card memory, when the driver's worker has given back what others had. */
static uint64_t memory_free(int fd)
{
	struct drm_rdu_query_memory mem = { 0 };
	uint64_t last;

	do {
		last = mem.free;
		usleep(50000);
		ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &mem, sizeof(mem)), 0);
	} while (mem.free != last);
	return mem.free;
}

/* The same, once it is what is wanted: some is given back a little later. */
static uint64_t memory_settles(int fd, uint64_t want)
{
	for (int i = 0; i < 400 && memory_free(fd) != want; i++)
		usleep(25000);
	return memory_free(fd);
}

/* A dma-buf keeps the memory when handle, VM, context and file are gone. */
TEST(outlives_file)
{
	size_t size = 4 << 20;
	int watch = card_open_idle();
	uint64_t before = memory_free(watch);

	for (int p = 0; p < 2; p++) {
		int fd = card_open(), dmabuf;
		uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0), in, *map;
		struct buffer b = buffer_create(fd, vm, VA_BASE, size, placements[p]);

		dmabuf = bo_export(fd, b.handle);
		ASSERT_EQ(run_job(fd, ctx, job_fill(VA_BASE, size, 9)), 1);
		EXPECT_EQ(bo_close(fd, b.handle), 0);
		munmap(b.map, size);
		EXPECT_EQ(ctx_destroy(fd, ctx), 0);
		EXPECT_EQ(vm_destroy(fd, vm), 0);
		/* Handle gone: imported into the file that made it, it is what it was. */
		ASSERT_EQ(bo_import(fd, dmabuf, &in), 0);
		map = bo_map(fd, in, size);
		EXPECT_EQ(map[0], 9);
		munmap(map, size);
		close(fd);
		map = share_map(dmabuf, size);
		EXPECT_EQ(map[size / 4 - 1], 9);
		map[1] = 10;
		/* Not an import to those who see it: the same buffer. */
		fd = card_open();
		ASSERT_EQ(bo_import(fd, dmabuf, &in), 0);
		close(dmabuf);
		card_uses(fd, in, map, size);
		close(fd);
		EXPECT_EQ(map[1], 3);
		if (placements[p] == DRM_RDU_PLACEMENT_DEVICE)
			EXPECT_EQ(memory_settles(watch, before - size), before - size);
		munmap(map, size);
	}
	EXPECT_EQ(memory_settles(watch, before), before);
}

/* The card goes: who has its dma-buf, and looks, sees zeros. */
TEST(outlives_card)
{
	uint32_t *map[2], *late;
	int fd = card_open(), dmabuf[2], go[2], status, ret;
	uint32_t in;
	char pci[32], c = 0;
	pid_t pid;

	pci_name(fd, pci);
	for (int p = 0; p < 2; p++) {
		uint32_t bo = bo_create(fd, 1 << 20, placements[p]);

		dmabuf[p] = bo_export(fd, bo);
		map[p] = share_map(dmabuf[p], 1 << 20);
		memset(map[p], 0x5a, 1 << 20);
	}
	/* Another process, which has nothing but the dma-bufs. */
	ASSERT_EQ(pipe(go), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(fd);
		ASSERT_EQ(read(go[0], &c, 1), 1);
		for (int p = 0; p < 2; p++) {
			for (int i = 0; i < 1 << 18; i++)
				if (map[p][i]) {
					EXPECT_EQ(map[p][i], 0);
					break;
				}
			map[p][7] = 7; /* and may write, to nowhere */
			late = share_map(dmabuf[p], 1 << 20);
			EXPECT_EQ(late[8], 0);
			cpu_access(dmabuf[p], DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW);
			cpu_access(dmabuf[p], DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW);
		}
		_exit(test_status);
	}
	ASSERT_EQ(sys_write("/sys/bus/pci/drivers/rdu/unbind", pci), 0);
	EXPECT_EQ(bo_import(fd, dmabuf[0], &in), -ENODEV);
	close(fd);
	ASSERT_EQ(sys_write("/sys/bus/pci/drivers/rdu/bind", pci), 0);
	/* While the new owner of the card uses the same memory. */
	fd = card_open();
	for (int i = 0; i < 8; i++)
		memset(bo_map(fd, bo_create(fd, 1 << 20, placements[0]), 1 << 20), 0xa5, 1 << 20);
	ASSERT_EQ(write(go[1], &c, 1), 1);
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	/* Its card memory is nobody's to share any more, whatever is believed. */
	ASSERT_EQ(sys_write(PEER, "Y"), 0);
	EXPECT_EQ(bo_import(fd, dmabuf[0], &in), -ENODEV);
	ASSERT_EQ(sys_write(PEER, "N"), 0);
	/* Kernels that know how cards reach each other get as far as asking it. */
	ret = bo_import(fd, dmabuf[0], &in);
	EXPECT_TRUE(ret == -EOPNOTSUPP || ret == -ENODEV);
	EXPECT_EQ(map[0][9], 0);
}
