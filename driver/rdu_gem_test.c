// SPDX-License-Identifier: GPL-2.0-only
/* KUnit tests of rdu_gem.c, which includes this file: where a buffer's bytes are. */
#include <kunit/test.h>

static void rdu_gem_test_extents(struct kunit *test)
{
	static const struct {
		u64 addr, size;
	} runs[] = {
		{ SZ_1M, SZ_4K }, { SZ_1M + SZ_4K, SZ_8K }, /* these two are one */
		{ SZ_2M, SZ_4K }, { SZ_1M - SZ_4K, SZ_4K }, { 0, SZ_64K },
	};
	static const struct rdu_extent want[] = {
		{ 0, SZ_1M, 3 * SZ_4K },
		{ 3 * SZ_4K, SZ_2M, SZ_4K },
		{ 4 * SZ_4K, SZ_1M - SZ_4K, SZ_4K },
		{ 5 * SZ_4K, 0, SZ_64K },
	};
	struct rdu_bo *bo = kunit_kzalloc(test, sizeof(*bo), GFP_KERNEL);
	u64 offset, run;
	size_t i;

	KUNIT_ASSERT_NOT_NULL(test, bo);
	KUNIT_ASSERT_EQ(test, rdu_bo_alloc_extents(bo, ARRAY_SIZE(runs)), 0);
	for (i = 0; i < ARRAY_SIZE(runs); i++)
		rdu_bo_add_extent(bo, runs[i].addr, runs[i].size);
	KUNIT_EXPECT_EQ(test, bo->num_extents, ARRAY_SIZE(want));
	KUNIT_EXPECT_MEMEQ(test, bo->extents, want, sizeof(want));
	for (i = 0; i < ARRAY_SIZE(want); i++)
		for (offset = 0; offset < want[i].size; offset += SZ_2K) {
			KUNIT_EXPECT_EQ(test, rdu_bo_addr(bo, want[i].offset + offset, &run),
					want[i].addr + offset);
			KUNIT_EXPECT_EQ(test, run, want[i].size - offset);
		}
	KUNIT_EXPECT_TRUE(test, rdu_bo_has_addr(bo, 0));
	KUNIT_EXPECT_TRUE(test, rdu_bo_has_addr(bo, SZ_1M + 3 * SZ_4K - 1));
	KUNIT_EXPECT_FALSE(test, rdu_bo_has_addr(bo, SZ_1M + 3 * SZ_4K));
	KUNIT_EXPECT_FALSE(test, rdu_bo_has_addr(bo, SZ_64K));
	KUNIT_EXPECT_FALSE(test, rdu_bo_has_addr(bo, SZ_2M - 1));
	KUNIT_EXPECT_FALSE(test, rdu_bo_has_addr(bo, U64_MAX));
	kvfree(bo->extents);
}

static struct kunit_case rdu_gem_cases[] = {
	KUNIT_CASE(rdu_gem_test_extents),
	{}
};

static struct kunit_suite rdu_gem_suite = {
	.name = "rdu_gem",
	.test_cases = rdu_gem_cases,
};

kunit_test_suite(rdu_gem_suite);
