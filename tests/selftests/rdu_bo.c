// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Buffers: creation, mapping, sharing. */
#include "card.h"

static const uint32_t placements[] = { DRM_RDU_PLACEMENT_DEVICE, DRM_RDU_PLACEMENT_SYSTEM };

TEST(create_errors)
{
	struct drm_rdu_bo_create args = { .size = PAGE };
	int fd = card_open();

	EXPECT_RESERVED(fd, DRM_IOCTL_RDU_BO_CREATE, args, flags, 0);
	EXPECT_RESERVED(fd, DRM_IOCTL_RDU_BO_CREATE, args, placement, 1);
	args.size = 0;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE, &args), -EINVAL);
	args.size = ~0ULL;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE, &args), -EINVAL);
	args.size = ~0ULL - PAGE + 1;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE, &args), -EINVAL);
	args.size = 1ULL << 46;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE, &args), -ENOSPC);
	args.placement = DRM_RDU_PLACEMENT_SYSTEM;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE, &args), -ENOMEM);
	args.size = PAGE;
	args.vm_id = 1234;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE, &args), -ENOENT);
}

TEST(info)
{
	struct drm_rdu_bo_info info;
	int fd = card_open();

	for (int p = 0; p < 2; p++) {
		uint32_t bo = bo_create(fd, 100, placements[p]);

		info = (struct drm_rdu_bo_info){ .handle = bo };
		ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_INFO, &info), 0);
		EXPECT_EQ(info.size, PAGE);
		EXPECT_EQ(info.placement, placements[p]);
		EXPECT_EQ(info.flags, 0);
		EXPECT_NE(info.mmap_offset, 0);
		info = (struct drm_rdu_bo_info){ .handle = bo };
		EXPECT_RESERVED(fd, DRM_IOCTL_RDU_BO_INFO, info, pad, 0);
		EXPECT_EQ(bo_close(fd, bo), 0);
		EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_INFO, &info), -ENOENT);
		EXPECT_EQ(bo_close(fd, bo), -EINVAL);
	}
	info = (struct drm_rdu_bo_info){ .handle = 0 };
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_INFO, &info), -ENOENT);
}

TEST(map_read_write)
{
	int fd = card_open();

	for (int p = 0; p < 2; p++) {
		size_t size = 5 << 20, n = size / sizeof(uint64_t);
		uint32_t bo = bo_create(fd, size, placements[p]);
		uint64_t *a = bo_map(fd, bo, size), *b = bo_map(fd, bo, size);

		for (size_t i = 0; i < n; i++)
			if (a[i]) {
				EXPECT_EQ(a[i], 0);
				break;
			}
		for (size_t i = 0; i < n; i++)
			a[i] = i * 0x9e3779b97f4a7c15ULL;
		/* The handle may go, the mappings stay. */
		bo_close(fd, bo);
		for (size_t i = 0; i < n; i++)
			if (b[i] != i * 0x9e3779b97f4a7c15ULL) {
				EXPECT_EQ(b[i], i * 0x9e3779b97f4a7c15ULL);
				break;
			}
		munmap(a, size);
		munmap(b, size);
	}
}

/* A hole in a mapping, and its parts moved: each page stays what it was. */
TEST(map_split)
{
	int fd = card_open();

	for (int p = 0; p < 2; p++) {
		uint32_t bo = bo_create(fd, 8 * PAGE, placements[p]);
		char *a = bo_map(fd, bo, 8 * PAGE), *moved;
		uint32_t *b = bo_map(fd, bo, 8 * PAGE);

		for (int i = 0; i < 8; i++)
			b[i * PAGE / 4] = i + 1;
		munmap(a + 3 * PAGE, PAGE);
		for (int i = 0; i < 8; i++)
			if (i != 3)
				EXPECT_EQ(*(uint32_t *)(a + i * PAGE), i + 1);
		moved = mremap(a + 4 * PAGE, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE);
		if (moved != MAP_FAILED)
			for (int i = 0; i < 4; i++)
				EXPECT_EQ(*(uint32_t *)(moved + i * PAGE), i + 5);
	}
}

TEST(map_errors)
{
	struct drm_rdu_bo_info info;
	int fd = card_open(), other = card_open();
	uint32_t bo = bo_create(fd, PAGE, DRM_RDU_PLACEMENT_DEVICE);

	info = (struct drm_rdu_bo_info){ .handle = bo };
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_INFO, &info), 0);
	/* Private, too long, elsewhere, by one who has no handle. */
	EXPECT_TRUE(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd,
			 info.mmap_offset) == MAP_FAILED);
	EXPECT_TRUE(mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd,
			 info.mmap_offset) == MAP_FAILED);
	EXPECT_TRUE(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd,
			 info.mmap_offset + PAGE) == MAP_FAILED);
	EXPECT_TRUE(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
	EXPECT_TRUE(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, other,
			 info.mmap_offset) == MAP_FAILED);
	EXPECT_TRUE(mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd,
			 info.mmap_offset) == MAP_FAILED);
	EXPECT_TRUE(mprotect(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, info.mmap_offset), PAGE,
			     PROT_READ | PROT_EXEC) != 0);
}

/* Card memory comes back cleared, whoever had it. */
TEST(cleared)
{
	struct drm_rdu_query_memory mem;
	size_t size = 32 << 20;

	for (int round = 0; round < 3; round++) {
		int fd = card_open();
		uint32_t bo = bo_create(fd, size, DRM_RDU_PLACEMENT_DEVICE);
		uint64_t *map = bo_map(fd, bo, size), any = 0;

		for (size_t i = 0; i < size / 8; i++)
			any |= map[i];
		EXPECT_EQ(any, 0);
		memset(map, 0x5a, size);
		close(fd);
		munmap(map, size);
	}
	ASSERT_EQ(query(card_open(), DRM_RDU_QUERY_MEMORY, &mem, sizeof(mem)), 0);
}

/* One page more than there is. (Filling the card would fill the host's memory.) */
TEST(space_runs_out)
{
	struct drm_rdu_query_memory before, after;
	struct drm_rdu_bo_create args;
	int fd = card_open_idle();

	for (int i = 0; i < 20; i++) {
		ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &before, sizeof(before)), 0);
		args = (struct drm_rdu_bo_create){ .size = before.free + PAGE };
		EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE, &args), -ENOSPC);
	}
	bo_create(fd, 1 << 20, DRM_RDU_PLACEMENT_DEVICE);
	args.size = before.free;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE, &args), -ENOSPC);
	close(fd);
	fd = card_open();
	ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &after, sizeof(after)), 0);
	EXPECT_GE(after.free, before.free);
}

TEST(private)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), vm2 = vm_create(fd);
	struct drm_rdu_bo_create args = { .size = PAGE, .vm_id = vm };
	struct drm_prime_handle prime;
	struct drm_rdu_bo_info info;

	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE, &args), 0);
	info = (struct drm_rdu_bo_info){ .handle = args.handle };
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_INFO, &info), 0);
	EXPECT_EQ(info.flags, DRM_RDU_BO_PRIVATE);
	EXPECT_EQ(vm_map(fd, vm, args.handle, 0, VA_BASE, PAGE, 0), 0);
	EXPECT_EQ(vm_map(fd, vm2, args.handle, 0, VA_BASE, PAGE, 0), -EINVAL);
	prime = (struct drm_prime_handle){ .handle = args.handle, .flags = O_RDWR };
	EXPECT_EQ(call(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime), -EPERM);
	/* The VM may go first. */
	EXPECT_EQ(vm_destroy(fd, vm), 0);
	memset(bo_map(fd, args.handle, PAGE), 1, PAGE);
}

TEST(prime)
{
	int fd = card_open(), other = card_open();

	for (int p = 0; p < 2; p++) {
		uint32_t bo = bo_create(fd, 4 * PAGE, placements[p]);
		struct drm_prime_handle out = { .handle = bo, .flags = O_RDWR | O_CLOEXEC }, in;
		uint32_t *map = bo_map(fd, bo, 4 * PAGE), *shared, *direct;

		ASSERT_EQ(call(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &out), 0);
		/* Back into the same file: the same handle. */
		in = (struct drm_prime_handle){ .fd = out.fd };
		ASSERT_EQ(call(fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &in), 0);
		EXPECT_EQ(in.handle, bo);
		in = (struct drm_prime_handle){ .fd = out.fd };
		ASSERT_EQ(call(other, DRM_IOCTL_PRIME_FD_TO_HANDLE, &in), 0);
		shared = bo_map(other, in.handle, 4 * PAGE);
		direct = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, out.fd, 0);
		ASSERT_TRUE(direct != MAP_FAILED);
		map[PAGE / 4] = 0x12345678;
		EXPECT_EQ(shared[PAGE / 4], 0x12345678);
		EXPECT_EQ(direct[PAGE / 4], 0x12345678);
		close(out.fd);
	}
}

/* A handle means nothing in another file. */
TEST(foreign_handle)
{
	int fd = card_open(), other = card_open();
	uint32_t vm = vm_create(other), bo = bo_create(fd, PAGE, DRM_RDU_PLACEMENT_DEVICE);
	struct drm_rdu_bo_info info = { .handle = bo };

	EXPECT_EQ(call(other, DRM_IOCTL_RDU_BO_INFO, &info), -ENOENT);
	EXPECT_EQ(vm_map(other, vm, bo, 0, VA_BASE, PAGE, 0), -ENOENT);
}

/* fork shares the file and its handles; a child's mapping is the parent's. */
TEST(fork_shares)
{
	int fd = card_open(), status;
	uint32_t bo = bo_create(fd, PAGE, DRM_RDU_PLACEMENT_DEVICE);
	volatile uint32_t *map = bo_map(fd, bo, PAGE);
	pid_t pid = fork();

	if (!pid) {
		uint32_t *again = bo_map(fd, bo, PAGE);

		again[0] = 1;
		map[1] = 2;
		_exit(test_status);
	}
	waitpid(pid, &status, 0);
	ASSERT_EQ(status, 0);
	EXPECT_EQ(map[0], 1);
	EXPECT_EQ(map[1], 2);
}
