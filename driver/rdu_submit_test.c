// SPDX-License-Identifier: GPL-2.0-only
/* KUnit tests of rdu_submit.c, which includes this file: jobs to commands. */
#include <kunit/test.h>

#define RDU_TEST_VA	SZ_1G

static int rdu_submit_test_cmd(const struct drm_rdu_job *job, struct rdu_cmd *cmd)
{
	memset(cmd, 0, sizeof(*cmd));
	return rdu_job_cmd(NULL, NULL, job, cmd);
}

/* Every word that a type does not use must be zero, every flag too. */
static void rdu_submit_test_unused(struct kunit *test)
{
	static const struct {
		struct drm_rdu_job job;
		u32 used, op;
	} cases[] = {
		{ { .type = DRM_RDU_JOB_COPY,
		    .copy = { RDU_TEST_VA, RDU_TEST_VA + SZ_4K, SZ_4K } }, 3, RDU_OP_COPY },
		{ { .type = DRM_RDU_JOB_FILL, .fill = { .va = RDU_TEST_VA, .len = SZ_4K } },
		  3, RDU_OP_FILL },
		{ { .type = DRM_RDU_JOB_BARRIER }, 0, RDU_OP_NOP },
		{ { .type = DRM_RDU_JOB_TIMESTAMP, .timestamp = { RDU_TEST_VA } },
		  1, RDU_OP_TIMESTAMP },
	};
	struct drm_rdu_job job;
	struct rdu_cmd cmd;
	size_t i;
	u32 j, bit;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		job = cases[i].job;
		KUNIT_ASSERT_EQ_MSG(test, rdu_submit_test_cmd(&job, &cmd), 0, "case %zu", i);
		KUNIT_EXPECT_EQ(test, cmd.op, cases[i].op);
		KUNIT_EXPECT_EQ(test, cmd.flags, 0);
		KUNIT_EXPECT_EQ(test, cmd.slot, 0);
		for (j = cases[i].used; j < ARRAY_SIZE(job.raw); j++)
			for (bit = 0; bit < 64; bit++) {
				job.raw[j] ^= BIT_ULL(bit);
				KUNIT_EXPECT_EQ_MSG(test, rdu_submit_test_cmd(&job, &cmd), -EINVAL,
						    "case %zu word %u bit %u", i, j, bit);
				job.raw[j] ^= BIT_ULL(bit);
			}
		for (bit = 0; bit < 32; bit++) {
			job.flags = BIT(bit);
			KUNIT_EXPECT_EQ(test, rdu_submit_test_cmd(&job, &cmd), -EINVAL);
		}
	}
	job = (struct drm_rdu_job){ .type = DRM_RDU_JOB_TIMESTAMP + 1 };
	KUNIT_EXPECT_EQ(test, rdu_submit_test_cmd(&job, &cmd), -EINVAL);
	job.type = U32_MAX;
	KUNIT_EXPECT_EQ(test, rdu_submit_test_cmd(&job, &cmd), -EINVAL);
}

/* Ranges: of what, at what, how much; they may not overlap. */
static void rdu_submit_test_ranges(struct kunit *test)
{
	static const struct {
		u64 src, dst, len;
		int ret;
	} copies[] = {
		{ RDU_TEST_VA, RDU_TEST_VA + 1, 1, 0 },
		{ RDU_TEST_VA, RDU_TEST_VA, 1, -EINVAL },
		{ RDU_TEST_VA, RDU_TEST_VA + 1, 2, -EINVAL },
		{ RDU_TEST_VA + 1, RDU_TEST_VA, 2, -EINVAL },
		{ RDU_TEST_VA, RDU_TEST_VA + SZ_4K, 0, -EINVAL },
		{ RDU_VA_START, RDU_TEST_VA, SZ_4K, 0 },
		{ RDU_VA_START - 1, RDU_TEST_VA, SZ_4K, -EINVAL },
		{ 0, RDU_TEST_VA, SZ_4K, -EINVAL },
		{ RDU_VA_END - SZ_4K, RDU_TEST_VA, SZ_4K, 0 },
		{ RDU_TEST_VA, RDU_VA_END - SZ_4K, SZ_4K + 1, -EINVAL },
		{ RDU_TEST_VA, RDU_VA_START, -(u64)RDU_VA_START, -EINVAL },
		{ -(u64)SZ_4K, RDU_TEST_VA, SZ_8K, -EINVAL },
		{ U64_MAX, U64_MAX - SZ_4K, 1, -EINVAL },
	};
	static const struct {
		u64 va, len;
		int ret;
	} fills[] = {
		{ RDU_TEST_VA + 4, 8, 0 },
		{ RDU_TEST_VA + 2, 8, -EINVAL },
		{ RDU_TEST_VA, 7, -EINVAL },
		{ RDU_TEST_VA, 0, -EINVAL },
		{ RDU_VA_END - 4, 4, 0 },
		{ RDU_VA_END - 4, 8, -EINVAL },
		{ U64_MAX - 3, 4, -EINVAL },
		{ RDU_TEST_VA, -(u64)4, -EINVAL },
	};
	struct drm_rdu_job job;
	struct rdu_cmd cmd;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(copies); i++) {
		job = (struct drm_rdu_job){ .type = DRM_RDU_JOB_COPY };
		job.copy.src_va = copies[i].src;
		job.copy.dst_va = copies[i].dst;
		job.copy.len = copies[i].len;
		KUNIT_EXPECT_EQ_MSG(test, rdu_submit_test_cmd(&job, &cmd), copies[i].ret,
				    "copy %zu", i);
		if (copies[i].ret)
			continue;
		KUNIT_EXPECT_EQ(test, cmd.copy.src, copies[i].src);
		KUNIT_EXPECT_EQ(test, cmd.copy.dst, copies[i].dst);
		KUNIT_EXPECT_EQ(test, cmd.copy.len, copies[i].len);
	}
	for (i = 0; i < ARRAY_SIZE(fills); i++) {
		job = (struct drm_rdu_job){ .type = DRM_RDU_JOB_FILL };
		job.fill.va = fills[i].va;
		job.fill.len = fills[i].len;
		job.fill.value = 0x12345678;
		KUNIT_EXPECT_EQ_MSG(test, rdu_submit_test_cmd(&job, &cmd), fills[i].ret,
				    "fill %zu", i);
		if (!fills[i].ret)
			KUNIT_EXPECT_EQ(test, cmd.fill.value, 0x12345678);
	}
	for (i = 1; i < 8; i++) {
		job = (struct drm_rdu_job){ .type = DRM_RDU_JOB_TIMESTAMP };
		job.timestamp.va = RDU_TEST_VA + i;
		KUNIT_EXPECT_EQ(test, rdu_submit_test_cmd(&job, &cmd), -EINVAL);
	}
}

static struct kunit_case rdu_submit_cases[] = {
	KUNIT_CASE(rdu_submit_test_unused),
	KUNIT_CASE(rdu_submit_test_ranges),
	{}
};

static struct kunit_suite rdu_submit_suite = {
	.name = "rdu_submit",
	.test_cases = rdu_submit_cases,
};

kunit_test_suite(rdu_submit_suite);
