// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* DEV_QUERY and what monitoring reads. */
#include <poll.h>

#include "card.h"
#include "rdu/regs.h"

TEST(version)
{
	char name[16] = "";
	struct drm_version v = { .name = name, .name_len = sizeof(name) - 1 };
	int fd = card_open();

	ASSERT_EQ(call(fd, DRM_IOCTL_VERSION, &v), 0);
	EXPECT_EQ(v.version_major, 1);
}

TEST(info)
{
	int fd = card_open();
	struct drm_rdu_query_info info = card_info(fd);

	EXPECT_EQ(info.interface_version >> 16, RDU_INTERFACE_VERSION >> 16);
	EXPECT_EQ(info.pci_vendor, RDU_PCI_VENDOR);
	EXPECT_EQ(info.pci_device, RDU_PCI_DEVICE);
	EXPECT_GT(info.num_tiles, 0);
	EXPECT_GT(info.mem_size, 0);
	EXPECT_NE(info.chip_hash, 0);
	EXPECT_NE(info.chip_name[0], 0);
	EXPECT_NE(info.serial[0], 0);
	EXPECT_EQ(info.page_size, PAGE);
	EXPECT_GT(info.va_end, info.va_start);
	EXPECT_GT(info.max_contexts, 0);
	EXPECT_GT(info.max_jobs, 0);
}

TEST(chip)
{
	struct drm_rdu_query_chip chip;
	int fd = card_open();

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_CHIP, &chip, sizeof(chip)), 0);
	EXPECT_EQ(chip.fields[0], card_info(fd).num_tiles);
	EXPECT_NE(chip.more_fields[0], 0); /* no memory is without a bank group */
	EXPECT_NE(chip.more_fields[DRM_RDU_CHIP_MORE_FIELDS - 2], 0); /* nor a unit without a plane */
}

TEST(memory)
{
	struct drm_rdu_query_memory a, b;
	int fd = card_open_idle();
	uint32_t bo;

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &a, sizeof(a)), 0);
	EXPECT_GE(a.size, a.free);
	bo = bo_create(fd, 1 << 20, DRM_RDU_PLACEMENT_DEVICE);
	ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &b, sizeof(b)), 0);
	EXPECT_EQ(b.used_by_file, 1 << 20);
	EXPECT_EQ(a.free - b.free, 1 << 20);
	bo_close(fd, bo);
	ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &b, sizeof(b)), 0);
	EXPECT_EQ(b.free, a.free);
	EXPECT_EQ(b.used_by_file, 0);
}

TEST(clock)
{
	struct drm_rdu_query_clock a, b;
	int fd = card_open();

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_CLOCK, &a, sizeof(a)), 0);
	ASSERT_EQ(query(fd, DRM_RDU_QUERY_CLOCK, &b, sizeof(b)), 0);
	EXPECT_GE(a.cpu_after, a.cpu_before);
	EXPECT_GE(b.cpu_before, a.cpu_after);
	EXPECT_GE(b.cycles, a.cycles);
	EXPECT_GT(a.clock_khz, 0);
}

TEST(health)
{
	struct drm_rdu_query_health h;
	int fd = card_open();

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_HEALTH, &h, sizeof(h)), 0);
	EXPECT_GT(h.temp_mc, 0);
	EXPECT_GT(150000, h.temp_mc);
	EXPECT_EQ(h.ecc_ue, 0);
}

TEST(tiles)
{
	struct drm_rdu_query_tile tiles[64];
	int fd = card_open(), other = card_open();
	struct drm_rdu_query_info info = card_info(fd);
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 1), mine = 0, owned = 0;
	uint32_t size = info.num_tiles * sizeof(tiles[0]);

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_TILES, tiles, size), 0);
	for (uint32_t i = 0; i < info.num_tiles; i++) {
		EXPECT_EQ(tiles[i].tile, i);
		if (!(tiles[i].flags & DRM_RDU_TILE_MINE))
			continue;
		mine++;
		EXPECT_EQ(tiles[i].ctx_id, ctx);
		EXPECT_TRUE(tiles[i].flags & DRM_RDU_TILE_NAMED);
		EXPECT_EQ(tiles[i].pid, getpid());
		EXPECT_EQ(tiles[i].uid, getuid());
	}
	EXPECT_EQ(mine, 1);

	/* Another user sees that a tile is busy, not whose it is. */
	if (getuid() == 0)
		ASSERT_EQ(setuid(65534), 0);
	ASSERT_EQ(query(other, DRM_RDU_QUERY_TILES, tiles, size), 0);
	for (uint32_t i = 0; i < info.num_tiles; i++) {
		owned += !!(tiles[i].flags & DRM_RDU_TILE_OWNED);
		EXPECT_EQ(tiles[i].flags & (DRM_RDU_TILE_MINE | DRM_RDU_TILE_NAMED), 0);
		EXPECT_EQ(tiles[i].ctx_id, 0);
		EXPECT_EQ(tiles[i].pid, 0);
		EXPECT_EQ(tiles[i].comm[0], 0);
	}
	EXPECT_GE(owned, 1);
}

TEST(contexts)
{
	struct drm_rdu_dev_query q = { .type = DRM_RDU_QUERY_CONTEXTS };
	struct drm_rdu_query_context list[4] = { 0 };
	int fd = card_open();
	uint32_t vm = vm_create(fd), a, b;

	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_DEV_QUERY, &q), 0);
	EXPECT_EQ(q.size, 0);
	a = ctx_create(fd, vm, 1);
	b = ctx_create(fd, vm, 0);
	q.size = sizeof(list);
	q.pointer = (uintptr_t)list;
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_DEV_QUERY, &q), 0);
	EXPECT_EQ(q.size, 2 * sizeof(list[0]));
	EXPECT_EQ(list[0].ctx_id, a);
	EXPECT_EQ(list[0].vm_id, vm);
	EXPECT_EQ(list[0].num_tiles, 1);
	EXPECT_NE(list[0].tile_mask, 0);
	EXPECT_EQ(list[1].ctx_id, b);
	EXPECT_EQ(list[1].tile_mask, 0);
}

/* A shorter structure gets its part, a longer one zeros at the end. */
TEST(sizes)
{
	static const uint32_t sizes[] = {
		sizeof(struct drm_rdu_query_info), sizeof(struct drm_rdu_query_chip),
		sizeof(struct drm_rdu_query_memory), sizeof(struct drm_rdu_query_clock),
	};
	unsigned char data[512];
	int fd = card_open();

	for (uint32_t type = 0; type < 4; type++) {
		struct drm_rdu_dev_query q = { .type = type };

		ASSERT_EQ(call(fd, DRM_IOCTL_RDU_DEV_QUERY, &q), 0);
		EXPECT_EQ(q.size, sizes[type]);

		memset(data, 0xaa, sizeof(data));
		q.size = 8;
		q.pointer = (uintptr_t)data;
		ASSERT_EQ(call(fd, DRM_IOCTL_RDU_DEV_QUERY, &q), 0);
		EXPECT_EQ(q.size, sizes[type]);
		EXPECT_EQ(data[8], 0xaa);

		q.size = sizeof(data);
		ASSERT_EQ(call(fd, DRM_IOCTL_RDU_DEV_QUERY, &q), 0);
		EXPECT_EQ(data[sizes[type]], 0);
		EXPECT_EQ(data[sizeof(data) - 1], 0);
	}
}

TEST(errors)
{
	struct drm_rdu_dev_query q = { .type = 0, .size = 64 };
	int fd = card_open();

	q.pointer = (uintptr_t)bad_page();
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_DEV_QUERY, &q), -EFAULT);
	q.size = 0xffffffff;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_DEV_QUERY, &q), -EINVAL);
	for (int bit = 3; bit < 32; bit++) {
		q = (struct drm_rdu_dev_query){ .type = 1U << bit };
		EXPECT_EQ(call(fd, DRM_IOCTL_RDU_DEV_QUERY, &q), -EINVAL);
	}
	q.type = DRM_RDU_QUERY_USER + 1;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_DEV_QUERY, &q), -EINVAL);
	/* A number that nobody has. */
	EXPECT_EQ(call(fd, DRM_IOWR(DRM_COMMAND_BASE + DRM_RDU_PERF_OPEN + 1, uint64_t), &q),
		  -EINVAL);
}

TEST(perf_errors)
{
	int fd = card_open();
	uint32_t ctx = ctx_create(fd, vm_create(fd), 0);
	struct drm_rdu_perf_open args = { .ctx_id = ctx, .period_ns = 1000000 };

	EXPECT_RESERVED(fd, DRM_IOCTL_RDU_PERF_OPEN, args, flags, 0);
	EXPECT_RESERVED(fd, DRM_IOCTL_RDU_PERF_OPEN, args, pad, 0);
	args.period_ns = 999999;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_PERF_OPEN, &args), -EINVAL);
	args.period_ns = ~0ULL;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_PERF_OPEN, &args), -EINVAL);
	args.period_ns = 1000000;
	args.ctx_id = ctx + 1;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_PERF_OPEN, &args), -ENOENT);
	if (getuid())
		SKIP("not root");
	args.ctx_id = 0;
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_PERF_OPEN, &args), 0);
	ASSERT_EQ(setuid(65534), 0);
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_PERF_OPEN, &args), -EACCES);
	args.ctx_id = ctx;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_PERF_OPEN, &args), 0);
}

TEST(perf)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 1);
	struct drm_rdu_perf_open args = { .ctx_id = ctx, .period_ns = 1000000 };
	struct drm_rdu_perf_sample s[4], last = { 0 };
	struct pollfd p;
	ssize_t n;

	buffer_create(fd, vm, VA_BASE, 1 << 20, DRM_RDU_PLACEMENT_DEVICE);
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_PERF_OPEN, &args), 0);
	EXPECT_EQ(read(args.fd, s, sizeof(s[0]) - 1), -1);
	EXPECT_EQ(errno, EINVAL);
	for (int i = 0; i < 20; i++) {
		if (i == 5)
			ASSERT_EQ(run_job(fd, ctx, job_fill(VA_BASE, 1 << 20, 1)), 1);
		n = read(args.fd, s, sizeof(s));
		ASSERT_GT(n, 0);
		ASSERT_EQ(n % sizeof(s[0]), 0);
		for (size_t j = 0; j < n / sizeof(s[0]); j++) {
			EXPECT_GT(s[j].time, last.time);
			EXPECT_GE(s[j].clock, last.clock);
			EXPECT_GE(s[j].copy_cycles, last.copy_cycles);
			EXPECT_GE(s[j].completed, last.completed);
			last = s[j];
		}
	}
	EXPECT_GT(last.copy_cycles, 0);
	EXPECT_EQ(last.completed, 1);
	/* Nobody reads: samples are lost, and it is said how many. */
	usleep(100000);
	p = (struct pollfd){ .fd = args.fd, .events = POLLIN };
	ASSERT_EQ(poll(&p, 1, 5000), 1);
	EXPECT_TRUE(p.revents & POLLIN);
	/* The context goes: the rest, then the end. */
	ctx_destroy(fd, ctx);
	for (int i = 0; i < 1000; i++) {
		n = read(args.fd, s, sizeof(s));
		if (n <= 0)
			break;
	}
	EXPECT_EQ(n, 0);
	ASSERT_EQ(poll(&p, 1, 5000), 1);
	EXPECT_TRUE(p.revents & POLLHUP);
}

/* A stream that stays open does not keep its context's memory. */
TEST(perf_outlives)
{
	int watch = card_open(), fd = card_open();
	struct drm_rdu_query_memory before = { 0 }, now = { 0 };
	struct drm_rdu_perf_open args = { .period_ns = 1000000 };
	uint32_t vm, bo;

	ASSERT_EQ(query(watch, DRM_RDU_QUERY_MEMORY, &before, sizeof(before)), 0);
	vm = vm_create(fd);
	bo = bo_create(fd, 1 << 20, DRM_RDU_PLACEMENT_DEVICE);
	ASSERT_EQ(vm_map(fd, vm, bo, 0, VA_BASE, 1 << 20, 0), 0);
	args.ctx_id = ctx_create(fd, vm, 1);
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_PERF_OPEN, &args), 0);
	close(fd);
	for (int i = 0; i < 500 && now.free < before.free; i++) {
		usleep(20000);
		ASSERT_EQ(query(watch, DRM_RDU_QUERY_MEMORY, &now, sizeof(now)), 0);
	}
	EXPECT_GE(now.free, before.free);
}

/* Calls of display clients that follow a master, which no file here has. */
TEST(master_calls)
{
	char name[64];
	struct drm_unique unique = { .unique_len = sizeof(name), .unique = name };
	struct drm_auth auth = { 0 };
	int fd = card_open();

	EXPECT_EQ(call(fd, DRM_IOCTL_GET_UNIQUE, &unique), -EACCES);
	EXPECT_EQ(call(fd, DRM_IOCTL_GET_MAGIC, &auth), -EACCES);
	EXPECT_NE(call(fd, DRM_IOCTL_SET_MASTER, NULL), 0);
	EXPECT_NE(call(fd, DRM_IOCTL_DROP_MASTER, NULL), 0);
	EXPECT_EQ(card_info(fd).page_size, PAGE);
}
