// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of rdu_mmu.c, which includes this file. Card memory is ordinary
 * memory here, and the tables in it are walked as the card does.
 */
#include <linux/pm_runtime.h>
#include <linux/prandom.h>
#include <linux/vmalloc.h>

#include <kunit/device.h>
#include <kunit/test.h>

#define RDU_TEST_MEM	SZ_4M
#define RDU_TEST_PAGES	4096
/* Pages around this address have edges of tables of every level among them. */
#define RDU_TEST_VA	(BIT_ULL(39) - (RDU_TEST_PAGES / 2) * RDU_PAGE_SIZE)

struct rdu_mmu_test {
	struct rdu_device *rdev;
	struct rdu_mmu mmu;
	u64 avail;	/* with no table but the root */
};

static int rdu_mmu_test_init(struct kunit *test)
{
	struct rdu_mmu_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	struct rdu_device *rdev = kunit_kzalloc(test, sizeof(*rdev), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	KUNIT_ASSERT_NOT_NULL(test, rdev);
	mutex_init(&rdev->vram.lock);
	mutex_init(&rdev->mmus_lock);
	INIT_LIST_HEAD(&rdev->mmus);
	init_rwsem(&rdev->gate_lock);
	init_waitqueue_head(&rdev->gate_wait);
	rdev->drm.dev = kunit_device_register(test, "rdu");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, rdev->drm.dev);
	pm_runtime_set_active(rdev->drm.dev);
	pm_runtime_enable(rdev->drm.dev);
	rdev->vram.size = RDU_TEST_MEM;
	rdev->vram.cpu = vzalloc(RDU_TEST_MEM);
	KUNIT_ASSERT_NOT_NULL(test, rdev->vram.cpu);
	INIT_LIST_HEAD(&rdev->vram.pieces);
	KUNIT_ASSERT_EQ(test, rdu_buddy_init(&rdev->vram.mm, RDU_TEST_MEM, RDU_PAGE_SIZE), 0);
	KUNIT_ASSERT_EQ(test, rdu_mmu_init(&t->mmu, rdev, NULL), 0);
	t->rdev = rdev;
	t->avail = rdev->vram.mm.avail;
	test->priv = t;
	return 0;
}

static void rdu_mmu_test_exit(struct kunit *test)
{
	struct rdu_mmu_test *t = test->priv;

	if (!t)
		return;
	rdu_mmu_fini(&t->mmu);
	KUNIT_EXPECT_EQ(test, t->rdev->vram.mm.avail, RDU_TEST_MEM);
	rdu_buddy_fini(&t->rdev->vram.mm);
	vfree(t->rdev->vram.cpu);
}

/* What the card finds: the address of the page with its flags, 0: a fault. */
static u64 rdu_mmu_test_walk(struct rdu_mmu_test *t, u64 va)
{
	u64 table = rdu_mmu_root(&t->mmu), entry;
	u32 level = RDU_PT_LEVELS;

	for (;;) {
		const __le64 *pt = t->rdev->vram.cpu + table;

		level--;
		entry = le64_to_cpu(pt[rdu_pt_index(level, va)]);
		if (!(entry & RDU_PTE_VALID))
			return 0;
		if (!level)
			return entry;
		if (entry & RDU_PTE_LARGE)
			break;
		table = entry & RDU_PTE_ADDR;
	}
	return (entry & ~RDU_PTE_LARGE) + (va & (rdu_pt_span(level) - 1) & ~(RDU_PAGE_SIZE - 1));
}

static u64 rdu_mmu_test_tables(struct rdu_mmu_test *t)
{
	return (t->avail - t->rdev->vram.mm.avail) / RDU_PAGE_SIZE;
}

static struct rdu_bo *rdu_mmu_test_bo(struct kunit *test, struct rdu_extent *extents,
				      u32 count, u32 placement)
{
	struct rdu_bo *bo = kunit_kzalloc(test, sizeof(*bo), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, bo);
	bo->placement = placement;
	bo->extents = extents;
	bo->num_extents = count;
	return bo;
}

static int rdu_mmu_test_map(struct rdu_mmu_test *t, u64 va, u64 size, const struct rdu_bo *bo,
			    u64 offset, bool write)
{
	int ret;

	mutex_lock(&t->mmu.lock);
	ret = rdu_mmu_prepare_map(&t->mmu, va, size, bo, offset);
	if (!ret)
		rdu_mmu_map(&t->mmu, va, size, bo, offset, write);
	else
		rdu_mmu_prune(&t->mmu, va, size);
	mutex_unlock(&t->mmu.lock);
	rdu_mmu_reap(&t->mmu);
	return ret;
}

static int rdu_mmu_test_unmap(struct rdu_mmu_test *t, u64 va, u64 size)
{
	int ret;

	mutex_lock(&t->mmu.lock);
	ret = rdu_mmu_prepare_unmap(&t->mmu, va, size);
	if (!ret)
		rdu_mmu_unmap(&t->mmu, va, size);
	else
		rdu_mmu_prune(&t->mmu, va, size);
	mutex_unlock(&t->mmu.lock);
	rdu_mmu_reap(&t->mmu);
	return ret;
}

/* Leaves are as large as addresses and size allow. */
static void rdu_mmu_test_leaves(struct kunit *test)
{
	static const struct {
		u64 va, addr, size, tables;
	} cases[] = {
		{ SZ_1G, SZ_1G, SZ_1G, 1 },
		{ SZ_2M, SZ_4M, SZ_2M, 2 },
		{ SZ_2M, SZ_4M, RDU_PAGE_SIZE, 3 },
		{ SZ_2M, SZ_4M + RDU_PAGE_SIZE, SZ_2M, 3 },
		{ SZ_2M + RDU_PAGE_SIZE, SZ_4M + RDU_PAGE_SIZE, SZ_2M, 4 },
		{ SZ_1G - SZ_2M, SZ_1G - SZ_2M, SZ_4M, 3 },
		{ SZ_1G - SZ_2M, SZ_1G - SZ_2M, SZ_1G + SZ_4M, 3 },
	};
	struct rdu_mmu_test *t = test->priv;
	struct rdu_extent extent;
	struct rdu_bo *bo;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		u64 va = cases[i].va, addr = cases[i].addr, last = cases[i].size - RDU_PAGE_SIZE;
		const u64 flags = RDU_PTE_VALID | RDU_PTE_HOST;

		extent = (struct rdu_extent){ .addr = addr, .size = cases[i].size };
		bo = rdu_mmu_test_bo(test, &extent, 1, DRM_RDU_PLACEMENT_SYSTEM);
		KUNIT_ASSERT_EQ(test, rdu_mmu_test_map(t, va, cases[i].size, bo, 0, false), 0);
		KUNIT_EXPECT_EQ_MSG(test, rdu_mmu_test_tables(t), cases[i].tables, "case %zu", i);
		KUNIT_EXPECT_EQ(test, rdu_mmu_test_walk(t, va), addr | flags);
		KUNIT_EXPECT_EQ(test, rdu_mmu_test_walk(t, va + last), (addr + last) | flags);
		KUNIT_EXPECT_EQ(test, rdu_mmu_test_walk(t, va - RDU_PAGE_SIZE), 0);
		KUNIT_EXPECT_EQ(test, rdu_mmu_test_walk(t, va + cases[i].size), 0);
		KUNIT_ASSERT_EQ(test, rdu_mmu_test_unmap(t, va, cases[i].size), 0);
		KUNIT_EXPECT_EQ(test, rdu_mmu_test_walk(t, va), 0);
		KUNIT_EXPECT_EQ(test, rdu_mmu_test_tables(t), 0);
	}
}

/* A page out of the middle of 1 GiB: all the rest stays what it was. */
static void rdu_mmu_test_split(struct kunit *test)
{
	const u64 flags = RDU_PTE_VALID | RDU_PTE_WRITE, hole = SZ_1G + 77 * SZ_2M + 5 * SZ_4K;
	struct rdu_extent extent = { .addr = BIT_ULL(40), .size = SZ_1G };
	struct rdu_mmu_test *t = test->priv;
	struct rdu_bo *bo;
	u64 va;

	bo = rdu_mmu_test_bo(test, &extent, 1, DRM_RDU_PLACEMENT_DEVICE);
	KUNIT_ASSERT_EQ(test, rdu_mmu_test_map(t, SZ_1G, SZ_1G, bo, 0, true), 0);
	KUNIT_ASSERT_EQ(test, rdu_mmu_test_unmap(t, hole, RDU_PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, rdu_mmu_test_tables(t), 3);
	for (va = SZ_1G; va < SZ_2G; va += va / SZ_2M == hole / SZ_2M ? SZ_4K : SZ_2M) {
		u64 want = va == hole ? 0 : (extent.addr + va - SZ_1G) | flags;

		KUNIT_ASSERT_EQ_MSG(test, rdu_mmu_test_walk(t, va), want, "at %#llx", va);
	}
	/* Mapped over as a whole it is one entry again. */
	KUNIT_ASSERT_EQ(test, rdu_mmu_test_map(t, SZ_1G, SZ_1G, bo, 0, true), 0);
	KUNIT_EXPECT_EQ(test, rdu_mmu_test_tables(t), 1);
	KUNIT_EXPECT_EQ(test, rdu_mmu_test_walk(t, hole), (extent.addr + hole - SZ_1G) | flags);
}

/* Extents as they come: many small ones, some large, aligned or not. */
static struct rdu_extent *rdu_mmu_test_extents(struct kunit *test, struct rnd_state *rnd,
					       u64 size, u32 *count)
{
	struct rdu_extent *extents = kunit_kcalloc(test, RDU_TEST_PAGES, sizeof(*extents),
						   GFP_KERNEL);
	u64 offset = 0, addr = BIT_ULL(40);

	KUNIT_ASSERT_NOT_NULL(test, extents);
	for (*count = 0; offset < size; (*count)++) {
		u64 run = (1 + prandom_u32_state(rnd) % 32) * RDU_PAGE_SIZE;

		if (prandom_u32_state(rnd) % 4 == 0) {
			run = (1 + prandom_u32_state(rnd) % 3) * SZ_2M;
			/* So that large leaves are possible where va and offset agree. */
			addr = round_up(addr, SZ_2M) + (offset & (SZ_2M - 1));
		}
		run = min(run, size - offset);
		extents[*count] = (struct rdu_extent){ offset, addr, run };
		offset += run;
		addr += run + RDU_PAGE_SIZE * (1 + prandom_u32_state(rnd) % 8);
	}
	return extents;
}

/* Any order of maps and unmaps, against an array with a word for each page. */
static void rdu_mmu_test_random(struct kunit *test)
{
	u64 *want = kunit_kcalloc(test, RDU_TEST_PAGES, sizeof(*want), GFP_KERNEL);
	const u64 size = RDU_TEST_PAGES * RDU_PAGE_SIZE;
	struct rdu_mmu_test *t = test->priv;
	struct rnd_state rnd;
	struct rdu_bo *bos[4];
	u32 i, step, count;

	KUNIT_ASSERT_NOT_NULL(test, want);
	prandom_seed_state(&rnd, 20261121);
	for (i = 0; i < ARRAY_SIZE(bos); i++) {
		struct rdu_extent *extents = rdu_mmu_test_extents(test, &rnd, size, &count);

		bos[i] = rdu_mmu_test_bo(test, extents, count,
					 i % 2 ? DRM_RDU_PLACEMENT_SYSTEM :
						 DRM_RDU_PLACEMENT_DEVICE);
	}
	for (step = 0; step < 400; step++) {
		u32 align = prandom_u32_state(&rnd) % 3 ? 1 : 512;
		u32 first = round_down(prandom_u32_state(&rnd) % RDU_TEST_PAGES, align);
		u32 pages = 1 + prandom_u32_state(&rnd) % (align == 1 ? 64 : 2048);
		u64 va = RDU_TEST_VA + first * RDU_PAGE_SIZE, run;
		const struct rdu_bo *bo = bos[prandom_u32_state(&rnd) % ARRAY_SIZE(bos)];
		bool write = prandom_u32_state(&rnd) & 1;
		/* Half the time the buffer starts there too. */
		u64 offset = prandom_u32_state(&rnd) & 1 ? (u64)first * RDU_PAGE_SIZE : 0;

		pages = min3(pages, RDU_TEST_PAGES - first,
			     (u32)(RDU_TEST_PAGES - offset / RDU_PAGE_SIZE));
		if (prandom_u32_state(&rnd) % 3 == 0) {
			KUNIT_ASSERT_EQ(test, rdu_mmu_test_unmap(t, va, pages * RDU_PAGE_SIZE), 0);
			memset(&want[first], 0, pages * sizeof(*want));
		} else {
			u64 flags = RDU_PTE_VALID | (write ? RDU_PTE_WRITE : 0) |
				    (rdu_bo_is_host(bo) ? RDU_PTE_HOST : 0);

			KUNIT_ASSERT_EQ(test, rdu_mmu_test_map(t, va, pages * RDU_PAGE_SIZE, bo,
							       offset, write), 0);
			for (i = 0; i < pages; i++)
				want[first + i] = flags |
					rdu_bo_addr(bo, offset + i * RDU_PAGE_SIZE, &run);
		}
		if (step % 20 != 19)
			continue;
		for (i = 0; i < RDU_TEST_PAGES; i++)
			KUNIT_ASSERT_EQ_MSG(test,
					    rdu_mmu_test_walk(t, RDU_TEST_VA + i * RDU_PAGE_SIZE),
					    want[i], "page %u after step %u", i, step);
		KUNIT_ASSERT_EQ(test, rdu_mmu_test_walk(t, RDU_TEST_VA - RDU_PAGE_SIZE), 0);
		KUNIT_ASSERT_EQ(test, rdu_mmu_test_walk(t, RDU_TEST_VA + size), 0);
	}
	KUNIT_ASSERT_EQ(test, rdu_mmu_test_unmap(t, RDU_TEST_VA, size), 0);
	KUNIT_EXPECT_EQ(test, rdu_mmu_test_tables(t), 0);
}

/* Where there is no memory for tables, nothing changes, and nothing is lost. */
static void rdu_mmu_test_no_memory(struct kunit *test)
{
	struct rdu_extent extent = { .addr = BIT_ULL(40), .size = SZ_1G };
	struct rdu_mmu_test *t = test->priv;
	u64 va = SZ_1G, avail, left;
	struct rdu_vram_piece piece;
	struct rdu_bo *bo;

	bo = rdu_mmu_test_bo(test, &extent, 1, DRM_RDU_PLACEMENT_DEVICE);
	KUNIT_ASSERT_EQ(test, rdu_mmu_test_map(t, va, SZ_1G, bo, 0, true), 0);
	for (left = 0; left < 2; left++) {
		avail = t->rdev->vram.mm.avail;
		INIT_LIST_HEAD(&piece.blocks);
		KUNIT_ASSERT_EQ(test, rdu_vram_alloc(t->rdev, avail - left * RDU_PAGE_SIZE, false,
						     &piece), 0);
		/* Both need two tables. */
		KUNIT_EXPECT_EQ(test, rdu_mmu_test_unmap(t, va + SZ_2M + SZ_4K, SZ_4K), -ENOSPC);
		KUNIT_EXPECT_EQ(test, rdu_mmu_test_map(t, BIT_ULL(40), SZ_4K, bo, 0, true),
				-ENOSPC);
		rdu_vram_free(t->rdev, &piece);
		KUNIT_EXPECT_EQ(test, rdu_mmu_test_walk(t, va + SZ_2M + SZ_4K),
				(extent.addr + SZ_2M + SZ_4K) | RDU_PTE_VALID | RDU_PTE_WRITE);
		KUNIT_EXPECT_EQ(test, rdu_mmu_test_walk(t, BIT_ULL(40)), 0);
	}
	KUNIT_ASSERT_EQ(test, rdu_mmu_test_unmap(t, va, SZ_1G), 0);
	KUNIT_EXPECT_EQ(test, rdu_mmu_test_tables(t), 0);
}

/* Nothing leads to a buffer that was taken back; what it shared a table with stays. */
static void rdu_mmu_test_forget(struct kunit *test)
{
	struct rdu_extent gone[] = { { 0, SZ_1G, SZ_4M }, { SZ_4M, SZ_2G, RDU_PAGE_SIZE } };
	struct rdu_extent stays = { 0, SZ_1G + SZ_4M, SZ_4M };
	const u64 flags = RDU_PTE_VALID | RDU_PTE_HOST;
	struct rdu_mmu_test *t = test->priv;
	struct rdu_bo *lost, *kept, *card;
	bool hit;

	lost = rdu_mmu_test_bo(test, gone, 2, DRM_RDU_PLACEMENT_SYSTEM);
	kept = rdu_mmu_test_bo(test, &stays, 1, DRM_RDU_PLACEMENT_SYSTEM);
	/* The same numbers, but addresses of the card. */
	card = rdu_mmu_test_bo(test, gone, 2, DRM_RDU_PLACEMENT_DEVICE);
	KUNIT_ASSERT_EQ(test, rdu_mmu_test_map(t, SZ_16M, SZ_4M + SZ_4K, lost, 0, false), 0);
	KUNIT_ASSERT_EQ(test, rdu_mmu_test_map(t, SZ_32M + SZ_4K, SZ_4M, lost, 0, false), 0);
	KUNIT_ASSERT_EQ(test, rdu_mmu_test_map(t, SZ_32M, SZ_4K, kept, 0, false), 0);
	KUNIT_ASSERT_EQ(test, rdu_mmu_test_map(t, SZ_64M, SZ_4M, card, 0, false), 0);
	mutex_lock(&t->mmu.lock);
	hit = rdu_mmu_forget(&t->mmu, lost);
	KUNIT_EXPECT_TRUE(test, hit);
	hit = rdu_mmu_forget(&t->mmu, lost);
	KUNIT_EXPECT_FALSE(test, hit);
	mutex_unlock(&t->mmu.lock);
	KUNIT_EXPECT_EQ(test, rdu_mmu_test_walk(t, SZ_16M), 0);
	KUNIT_EXPECT_EQ(test, rdu_mmu_test_walk(t, SZ_16M + SZ_4M), 0);
	KUNIT_EXPECT_EQ(test, rdu_mmu_test_walk(t, SZ_32M + SZ_4M), 0);
	KUNIT_EXPECT_EQ(test, rdu_mmu_test_walk(t, SZ_32M), stays.addr | flags);
	KUNIT_EXPECT_EQ(test, rdu_mmu_test_walk(t, SZ_64M), SZ_1G | RDU_PTE_VALID);
}

static struct kunit_case rdu_mmu_cases[] = {
	KUNIT_CASE(rdu_mmu_test_leaves),
	KUNIT_CASE(rdu_mmu_test_split),
	KUNIT_CASE(rdu_mmu_test_random),
	KUNIT_CASE(rdu_mmu_test_no_memory),
	KUNIT_CASE(rdu_mmu_test_forget),
	{}
};

static struct kunit_suite rdu_mmu_suite = {
	.name = "rdu_mmu",
	.init = rdu_mmu_test_init,
	.exit = rdu_mmu_test_exit,
	.test_cases = rdu_mmu_cases,
};

kunit_test_suite(rdu_mmu_suite);
