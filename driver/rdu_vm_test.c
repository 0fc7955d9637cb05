// SPDX-License-Identifier: GPL-2.0-only
/* KUnit tests of rdu_vm.c, which includes this file: what VM_BIND refuses. */
#include <kunit/test.h>

static void rdu_vm_test_range(struct kunit *test)
{
	static const struct {
		u64 start, size, limit;
		bool ok;
	} cases[] = {
		{ 0, SZ_4K, SZ_4K, true },
		{ 0, 0, SZ_4K, false },
		{ SZ_4K, SZ_4K, SZ_4K, false },
		{ 0, SZ_8K, SZ_4K, false },
		{ 1, SZ_4K, SZ_1M, false },
		{ SZ_2K, SZ_4K, SZ_1M, false },
		{ 0, SZ_4K + 1, SZ_1M, false },
		{ RDU_VA_END - SZ_4K, SZ_4K, RDU_VA_END, true },
		{ RDU_VA_END - SZ_4K, SZ_8K, RDU_VA_END, false },
		{ RDU_VA_END, SZ_4K, RDU_VA_END, false },
		{ -(u64)SZ_4K, SZ_4K, RDU_VA_END, false },
		{ -(u64)SZ_4K, SZ_8K, RDU_VA_END, false },
		{ SZ_4K, -(u64)SZ_4K, RDU_VA_END, false },
		{ SZ_8K, -(u64)SZ_4K, RDU_VA_END, false },
		{ BIT_ULL(63), BIT_ULL(63), U64_MAX, false },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		KUNIT_EXPECT_EQ_MSG(test,
				    rdu_range_ok(cases[i].start, cases[i].size, cases[i].limit),
				    cases[i].ok, "case %zu", i);
}

/* UNMAP, and what is refused before a handle is looked at. */
static void rdu_vm_test_check(struct kunit *test)
{
	static const struct {
		struct drm_rdu_bind_op op;
		int ret;
	} cases[] = {
		{ { .type = DRM_RDU_BIND_UNMAP, .va = RDU_VA_START, .size = SZ_4K }, 0 },
		{ { .type = DRM_RDU_BIND_UNMAP, .va = RDU_VA_START,
		    .size = RDU_VA_END - RDU_VA_START }, 0 },
		{ { .type = DRM_RDU_BIND_UNMAP, .va = RDU_VA_START - SZ_4K, .size = SZ_4K },
		  -EINVAL },
		{ { .type = DRM_RDU_BIND_UNMAP, .va = 0, .size = SZ_4K }, -EINVAL },
		{ { .type = DRM_RDU_BIND_UNMAP, .va = RDU_VA_START, .size = 0 }, -EINVAL },
		{ { .type = DRM_RDU_BIND_UNMAP, .va = RDU_VA_START, .size = SZ_4K, .flags = 1 },
		  -EINVAL },
		{ { .type = DRM_RDU_BIND_UNMAP, .va = RDU_VA_START, .size = SZ_4K, .handle = 1 },
		  -EINVAL },
		{ { .type = DRM_RDU_BIND_UNMAP, .va = RDU_VA_START, .size = SZ_4K,
		    .offset = SZ_4K }, -EINVAL },
		{ { .type = DRM_RDU_BIND_UNMAP, .va = RDU_VA_START, .size = SZ_4K, .pad = 1 },
		  -EINVAL },
		{ { .type = DRM_RDU_BIND_MAP, .va = RDU_VA_START, .size = SZ_4K,
		    .flags = ~DRM_RDU_BIND_READONLY }, -EINVAL },
		{ { .type = DRM_RDU_BIND_MAP, .va = RDU_VA_END, .size = SZ_4K }, -EINVAL },
		{ { .type = 2, .va = RDU_VA_START, .size = SZ_4K }, -EINVAL },
		{ { .type = U32_MAX, .va = RDU_VA_START, .size = SZ_4K }, -EINVAL },
	};
	struct drm_gem_object *obj = NULL;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++)
		KUNIT_EXPECT_EQ_MSG(test, rdu_bind_check(NULL, NULL, &cases[i].op, &obj),
				    cases[i].ret, "case %zu", i);
	KUNIT_EXPECT_NULL(test, obj);
}

static struct kunit_case rdu_vm_cases[] = {
	KUNIT_CASE(rdu_vm_test_range),
	KUNIT_CASE(rdu_vm_test_check),
	{}
};

static struct kunit_suite rdu_vm_suite = {
	.name = "rdu_vm",
	.test_cases = rdu_vm_cases,
};

kunit_test_suite(rdu_vm_suite);
