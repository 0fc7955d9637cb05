// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit tests of rdu_queue.c, which includes this file. Ring, completion word
 * and doorbell are ordinary memory; the tests are the card.
 */
#include <kunit/test.h>
#include <linux/unaligned.h>

#define RDU_TEST_DEPTH	8
#define RDU_TEST_QUEUE	3

struct rdu_queue_test {
	struct rdu_device rdev;
	struct rdu_queue q;
	struct rdu_ring_cmd ring[RDU_TEST_DEPTH];
	__le64 cpl;
	u8 doorbells[(RDU_TEST_QUEUE + 1) * RDU_DOORBELL_STRIDE];
};

static int rdu_queue_test_init(struct kunit *test)
{
	struct rdu_queue_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, t);
	t->rdev.doorbells = (void __iomem __force *)t->doorbells;
	t->q.rdev = &t->rdev;
	t->q.id = RDU_TEST_QUEUE;
	t->q.depth = RDU_TEST_DEPTH;
	t->q.ring = t->ring;
	t->q.cpl = &t->cpl;
	spin_lock_init(&t->q.lock);
	INIT_LIST_HEAD(&t->q.fences);
	init_waitqueue_head(&t->q.wait);
	test->priv = t;
	return 0;
}

static u32 rdu_queue_test_bell(struct rdu_queue_test *t)
{
	return *(u32 *)(t->doorbells + RDU_TEST_QUEUE * RDU_DOORBELL_STRIDE);
}

/* A SUBMIT of some commands, with a reference of ours. */
static struct rdu_fence *rdu_queue_test_emit(struct kunit *test, u32 count, u64 submit)
{
	struct rdu_queue_test *t = test->priv;
	struct rdu_cmd cmds[RDU_TEST_DEPTH] = {};
	struct rdu_fence *fence = rdu_fence_alloc();
	u32 i;

	KUNIT_ASSERT_NOT_NULL(test, fence);
	rdu_fence_init(fence, dma_fence_context_alloc(1), submit);
	for (i = 0; i < count; i++)
		cmds[i] = (struct rdu_cmd){ .op = RDU_OP_FILL, .fill.dst = submit, .fill.len = i,
					    .fill.value = 7 };
	KUNIT_ASSERT_EQ(test, rdu_queue_emit(&t->q, cmds, count, fence), 0);
	return fence;
}

/* Where commands land, how they are numbered, which of them interrupts. */
static void rdu_queue_test_ring(struct kunit *test)
{
	struct rdu_queue_test *t = test->priv;
	u64 submit, number = 0;
	u32 i;

	for (submit = 1; submit <= 9; submit++) {
		u32 count = 1 + submit % RDU_TEST_DEPTH;
		struct rdu_fence *fence = rdu_queue_test_emit(test, count, submit);

		KUNIT_EXPECT_EQ(test, fence->first_cmd, number + 1);
		KUNIT_EXPECT_EQ(test, fence->last_cmd, number + count);
		for (i = 0; i < count; i++, number++) {
			const u8 *cmd = (const u8 *)&t->ring[number % RDU_TEST_DEPTH];

			/* Byte by byte, as the card has it on any computer. */
			KUNIT_EXPECT_EQ(test, cmd[0], RDU_OP_FILL);
			KUNIT_EXPECT_EQ(test, cmd[1], i == count - 1 ? RDU_CMD_IRQ : 0);
			KUNIT_EXPECT_EQ(test, get_unaligned_le64(cmd + 8), number + 1);
			KUNIT_EXPECT_EQ(test, get_unaligned_le64(cmd + 16), submit);
			KUNIT_EXPECT_EQ(test, get_unaligned_le64(cmd + 24), i);
			KUNIT_EXPECT_EQ(test, get_unaligned_le32(cmd + 32), 7);
		}
		KUNIT_EXPECT_EQ(test, rdu_queue_test_bell(t), number);
		t->cpl = cpu_to_le64(number);
		KUNIT_EXPECT_TRUE(test, rdu_queue_poll(&t->q));
		KUNIT_EXPECT_EQ(test, dma_fence_get_status(&fence->base), 1);
		dma_fence_put(&fence->base);
	}
}

/* SUBMITs are done one by one, in order, each when its last command is. */
static void rdu_queue_test_order(struct kunit *test)
{
	struct rdu_queue_test *t = test->priv;
	struct rdu_fence *fence[3];
	struct dma_fence *last;
	u64 done;
	u32 i;

	for (i = 0; i < 3; i++)
		fence[i] = rdu_queue_test_emit(test, 2, 11 + i);
	last = rdu_queue_last_fence(&t->q);
	KUNIT_EXPECT_PTR_EQ(test, last, &fence[2]->base);
	dma_fence_put(last);
	for (done = 1; done <= 6; done++) {
		t->cpl = cpu_to_le64(done);
		KUNIT_EXPECT_TRUE(test, rdu_queue_poll(&t->q));
		KUNIT_EXPECT_FALSE(test, rdu_queue_poll(&t->q));
		KUNIT_EXPECT_EQ(test, t->q.submit_done, done < 2 ? 0 : 10 + done / 2);
		for (i = 0; i < 3; i++)
			KUNIT_EXPECT_EQ(test, dma_fence_get_status(&fence[i]->base),
					done >= 2 * (i + 1));
	}
	KUNIT_EXPECT_PTR_EQ(test, rdu_queue_last_fence(&t->q), NULL);
	for (i = 0; i < 3; i++)
		dma_fence_put(&fence[i]->base);
}

/* What the card can't mean is not believed. */
static void rdu_queue_test_garbage(struct kunit *test)
{
	struct rdu_queue_test *t = test->priv;
	struct rdu_fence *fence[2] = {
		rdu_queue_test_emit(test, 2, 1), rdu_queue_test_emit(test, 2, 2),
	};
	const u64 garbage[] = { 0, 5, U32_MAX, BIT_ULL(63), U64_MAX };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(garbage); i++) {
		t->cpl = cpu_to_le64(garbage[i]);
		KUNIT_EXPECT_FALSE(test, rdu_queue_poll(&t->q));
		KUNIT_EXPECT_EQ(test, t->q.done, 0);
	}
	t->cpl = cpu_to_le64(3);
	KUNIT_EXPECT_TRUE(test, rdu_queue_poll(&t->q));
	t->cpl = cpu_to_le64(2); /* time does not go back */
	KUNIT_EXPECT_FALSE(test, rdu_queue_poll(&t->q));
	KUNIT_EXPECT_EQ(test, t->q.done, 3);
	KUNIT_EXPECT_EQ(test, dma_fence_get_status(&fence[0]->base), 1);
	KUNIT_EXPECT_EQ(test, dma_fence_get_status(&fence[1]->base), 0);
	t->cpl = cpu_to_le64(4);
	KUNIT_EXPECT_TRUE(test, rdu_queue_poll(&t->q));
	dma_fence_put(&fence[0]->base);
	dma_fence_put(&fence[1]->base);
}

/* The guilty SUBMIT is told why, what was done is done, others are cancelled. */
static void rdu_queue_test_cancel(struct kunit *test)
{
	const int want[] = { 1, -ETIME, -ECANCELED };
	struct rdu_queue_test *t = test->priv;
	struct rdu_cmd cmd = { .op = RDU_OP_NOP };
	struct rdu_fence *fence[3], *late;
	u32 i;

	for (i = 0; i < 3; i++)
		fence[i] = rdu_queue_test_emit(test, 2, 1 + i);
	rdu_queue_stop(&t->q);
	late = rdu_fence_alloc();
	KUNIT_ASSERT_NOT_NULL(test, late);
	KUNIT_EXPECT_EQ(test, rdu_queue_emit(&t->q, &cmd, 1, late), -ECANCELED);
	rdu_fence_free(late);
	KUNIT_EXPECT_EQ(test, rdu_queue_test_bell(t), 6);
	t->cpl = cpu_to_le64(3); /* the second SUBMIT's first command, and nobody has looked yet */
	rdu_queue_cancel(&t->q, 4, -ETIME);
	KUNIT_EXPECT_TRUE(test, list_empty(&t->q.fences));
	for (i = 0; i < 3; i++) {
		KUNIT_EXPECT_EQ(test, dma_fence_get_status(&fence[i]->base), want[i]);
		dma_fence_put(&fence[i]->base);
	}
}

static struct kunit_case rdu_queue_cases[] = {
	KUNIT_CASE(rdu_queue_test_ring),
	KUNIT_CASE(rdu_queue_test_order),
	KUNIT_CASE(rdu_queue_test_garbage),
	KUNIT_CASE(rdu_queue_test_cancel),
	{}
};

static struct kunit_suite rdu_queue_suite = {
	.name = "rdu_queue",
	.init = rdu_queue_test_init,
	.test_cases = rdu_queue_cases,
};

kunit_test_suite(rdu_queue_suite);
