// SPDX-License-Identifier: GPL-2.0-only
/* KUnit tests of rdu_ctx.c, which includes this file: grants, and what is refused. */
#include <kunit/test.h>

/* 'x': a tile that has an owner. */
static int rdu_ctx_test_find(struct kunit *test, const char *map, u32 count)
{
	struct rdu_device *rdev = test->priv;
	int first;
	u32 i;

	rdev->num_tiles = strlen(map);
	for (i = 0; i < rdev->num_tiles; i++)
		rdev->tiles[i].owner = map[i] == 'x' ? (struct rdu_ctx *)rdev : NULL;
	mutex_lock(&rdev->grant_lock);
	first = rdu_find_tiles(rdev, count);
	mutex_unlock(&rdev->grant_lock);
	return first;
}

static void rdu_ctx_test_tiles(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, rdu_ctx_test_find(test, "........", 1), 0);
	KUNIT_EXPECT_EQ(test, rdu_ctx_test_find(test, "........", 8), 0);
	KUNIT_EXPECT_EQ(test, rdu_ctx_test_find(test, "xxxxxxxx", 1), -ENOSPC);
	KUNIT_EXPECT_EQ(test, rdu_ctx_test_find(test, ".x.x.x.x", 2), -ENOSPC);
	/* The smallest gap that will do, the first of those. */
	KUNIT_EXPECT_EQ(test, rdu_ctx_test_find(test, "...x..x.", 1), 7);
	KUNIT_EXPECT_EQ(test, rdu_ctx_test_find(test, "...x..x.", 2), 4);
	KUNIT_EXPECT_EQ(test, rdu_ctx_test_find(test, "...x..x.", 3), 0);
	KUNIT_EXPECT_EQ(test, rdu_ctx_test_find(test, "...x..x.", 4), -ENOSPC);
	KUNIT_EXPECT_EQ(test, rdu_ctx_test_find(test, "x..x..x.", 2), 1);
	KUNIT_EXPECT_EQ(test, rdu_ctx_test_find(test, "xxxxxx..", 2), 6);
	KUNIT_EXPECT_EQ(test, rdu_ctx_test_find(test, "................................", 32),
			0);
}

static void rdu_ctx_test_tile_mask(struct kunit *test)
{
	struct rdu_ctx *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ctx);
	ctx->tile_first = 5;
	KUNIT_EXPECT_EQ(test, rdu_ctx_tile_mask(ctx), 0);
	ctx->num_tiles = 1;
	KUNIT_EXPECT_EQ(test, rdu_ctx_tile_mask(ctx), 0x20);
	ctx->num_tiles = 3;
	KUNIT_EXPECT_EQ(test, rdu_ctx_tile_mask(ctx), 0xe0);
	ctx->tile_first = 0;
	ctx->num_tiles = RDU_MAX_TILES;
	KUNIT_EXPECT_EQ(test, rdu_ctx_tile_mask(ctx), U32_MAX);
}

static void rdu_ctx_test_check(struct kunit *test)
{
	static const struct {
		struct drm_rdu_ctx_create args;
		int ret;
	} cases[] = {
		{ {}, 0 },
		{ { .num_tiles = 4 }, 0 },
		{ { .num_tiles = 5 }, -EINVAL },
		{ { .num_tiles = U32_MAX }, -EINVAL },
		{ { .flags = 1 }, -EINVAL },
		{ { .flags = BIT(31) }, -EINVAL },
		{ { .queue_depth = 1 }, -EINVAL },
		{ { .queue_depth = 2 }, 0 },
		{ { .queue_depth = 3 }, -EINVAL },
		{ { .queue_depth = RDU_MAX_JOBS }, 0 },
		{ { .queue_depth = RDU_MAX_JOBS + 1 }, -EINVAL },
		{ { .queue_depth = RDU_MAX_JOBS * 2 }, -EINVAL },
		{ { .queue_depth = BIT(31) }, -EINVAL },
		{ { .timeout_ms = RDU_MAX_TIMEOUT_MS }, 0 },
		{ { .timeout_ms = RDU_MAX_TIMEOUT_MS + 1 }, -EINVAL },
		{ { .watchdog_cycles = U64_MAX }, 0 },
	};
	struct rdu_device *rdev = test->priv;
	size_t i;

	rdev->num_tiles = 4;
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		KUNIT_EXPECT_EQ_MSG(test, rdu_ctx_check(rdev, &cases[i].args), cases[i].ret,
				    "case %zu", i);
}

static int rdu_ctx_test_init(struct kunit *test)
{
	struct rdu_device *rdev = kunit_kzalloc(test, sizeof(*rdev), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, rdev);
	mutex_init(&rdev->grant_lock);
	test->priv = rdev;
	return 0;
}

static struct kunit_case rdu_ctx_cases[] = {
	KUNIT_CASE(rdu_ctx_test_tiles),
	KUNIT_CASE(rdu_ctx_test_tile_mask),
	KUNIT_CASE(rdu_ctx_test_check),
	{}
};

static struct kunit_suite rdu_ctx_suite = {
	.name = "rdu_ctx",
	.init = rdu_ctx_test_init,
	.test_cases = rdu_ctx_cases,
};

kunit_test_suite(rdu_ctx_suite);
