// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of rdu_query.c, which includes this file: how the kernel and a user
 * space of another age agree on sizes.
 */
#include <linux/mman.h>

#include <kunit/test.h>

/* Two pages of user memory, of which only the first is there. */
static unsigned long rdu_query_test_user(struct kunit *test)
{
	unsigned long at = kunit_vm_mmap(test, NULL, 0, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE,
					 MAP_ANONYMOUS | MAP_PRIVATE, 0);

	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(at));
	KUNIT_ASSERT_NE(test, at, 0);
	KUNIT_ASSERT_EQ(test, vm_munmap(at + PAGE_SIZE, PAGE_SIZE), 0);
	return at;
}

/* An answer of 16 bytes, to those who expect less, as much, more, or ask how much. */
static void rdu_query_test_answer(struct kunit *test)
{
	static const u32 sizes[] = { 0, 1, 8, 15, 16, 17, 24, 4096 };
	unsigned long at = rdu_query_test_user(test);
	struct drm_rdu_dev_query args = { .size = 5 };
	u8 *got = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	u8 answer[16];
	size_t i;
	u32 j;

	KUNIT_ASSERT_NOT_NULL(test, got);
	memset(answer, 0xa5, sizeof(answer));
	KUNIT_EXPECT_EQ(test, rdu_query_copy(&args, answer, sizeof(answer)), 0);
	KUNIT_EXPECT_EQ(test, args.size, sizeof(answer));
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		memset(got, 0x77, PAGE_SIZE);
		KUNIT_ASSERT_EQ(test, copy_to_user((void __user *)at, got, PAGE_SIZE), 0);
		args = (struct drm_rdu_dev_query){ .pointer = at, .size = sizes[i] };
		KUNIT_EXPECT_EQ(test, rdu_query_copy(&args, answer, sizeof(answer)), 0);
		KUNIT_EXPECT_EQ(test, args.size, sizeof(answer));
		KUNIT_ASSERT_EQ(test, copy_from_user(got, (void __user *)at, PAGE_SIZE), 0);
		for (j = 0; j < PAGE_SIZE; j++) {
			u8 want = j >= sizes[i] ? 0x77 : j < sizeof(answer) ? 0xa5 : 0;

			if (got[j] != want)
				break;
		}
		KUNIT_EXPECT_EQ_MSG(test, j, PAGE_SIZE, "size %u", sizes[i]);
	}
	args = (struct drm_rdu_dev_query){ .pointer = at + PAGE_SIZE - 8, .size = 16 };
	KUNIT_EXPECT_EQ(test, rdu_query_copy(&args, answer, sizeof(answer)), -EFAULT);
	args = (struct drm_rdu_dev_query){ .pointer = at + PAGE_SIZE - 16, .size = 17 };
	KUNIT_EXPECT_EQ(test, rdu_query_copy(&args, answer, sizeof(answer)), -EFAULT);
	args = (struct drm_rdu_dev_query){ .pointer = U64_MAX - 7, .size = 16 };
	KUNIT_EXPECT_EQ(test, rdu_query_copy(&args, answer, sizeof(answer)), -EFAULT);
}

/* An array of 16-byte elements, from those who have theirs larger. */
static void rdu_query_test_array(struct kunit *test)
{
	static const struct {
		u32 offset, count, stride;
		int ret;
	} cases[] = {
		{ 0, 4, 16, 0 },
		{ 0, 4, 24, 0 },
		{ 0, 4, 64, 0 },
		{ 0, 0, 16, 0 },
		{ 0, 4, 8, -EINVAL },
		{ 0, 4, 0, -EINVAL },
		{ 0, 4, 17, -EINVAL },
		{ 0, 4, 20, -EINVAL },
		{ 0, 1, PAGE_SIZE, 0 },
		{ 0, 1, PAGE_SIZE + 8, -EINVAL },
		{ 0, 1, U32_MAX - 7, -EINVAL },
		{ PAGE_SIZE - 64, 4, 16, 0 },
		{ PAGE_SIZE - 64, 3, 24, -EFAULT },
		{ PAGE_SIZE, 1, 16, -EFAULT },
	};
	unsigned long at = rdu_query_test_user(test);
	u64 *user = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL), got[8];
	size_t i;
	u32 j;

	KUNIT_ASSERT_NOT_NULL(test, user);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		u32 words = cases[i].stride / 8;

		/* What both know is told apart, what only user space knows is zero. */
		memset(user, 0, PAGE_SIZE);
		for (j = 0; j < cases[i].count && !cases[i].ret; j++) {
			user[cases[i].offset / 8 + j * words] = 100 + j;
			user[cases[i].offset / 8 + j * words + 1] = 200 + j;
		}
		KUNIT_ASSERT_EQ(test, copy_to_user((void __user *)at, user, PAGE_SIZE), 0);
		KUNIT_EXPECT_EQ_MSG(test, rdu_copy_array(got, 16, at + cases[i].offset,
							 cases[i].count, cases[i].stride),
				    cases[i].ret, "case %zu", i);
		for (j = 0; j < cases[i].count && !cases[i].ret; j++) {
			KUNIT_EXPECT_EQ(test, got[2 * j], 100 + j);
			KUNIT_EXPECT_EQ(test, got[2 * j + 1], 200 + j);
		}
	}
	/* Something in a part that this kernel does not know. */
	memset(user, 0, PAGE_SIZE);
	user[5] = BIT_ULL(63);
	KUNIT_ASSERT_EQ(test, copy_to_user((void __user *)at, user, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, rdu_copy_array(got, 16, at, 2, 24), -EINVAL);
	KUNIT_EXPECT_EQ(test, rdu_copy_array(got, 16, at, 1, 24), 0);
	KUNIT_EXPECT_EQ(test, rdu_copy_array(got, 16, U64_MAX - 15, 2, 16), -EFAULT);
}

static struct kunit_case rdu_query_cases[] = {
	KUNIT_CASE(rdu_query_test_answer),
	KUNIT_CASE(rdu_query_test_array),
	{}
};

static struct kunit_suite rdu_query_suite = {
	.name = "rdu_query",
	.test_cases = rdu_query_cases,
};

kunit_test_suite(rdu_query_suite);
