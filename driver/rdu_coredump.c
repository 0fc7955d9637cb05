// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device core dump for a context that died: what the card said, and the
 * commands around the guilty one. Numbers and device addresses only, nothing
 * that was in a buffer. Made from a work item: the kernel may be on its way to
 * signalling a fence when a context dies.
 */
#include <linux/devcoredump.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include <drm/drm_drv.h>

#include "rdu_ctx.h"
#include "rdu_queue.h"

#define RDU_DUMP_CMDS	16
#define RDU_DUMP_SIZE	SZ_8K
#define RDU_DUMP_WORDS	(sizeof(struct rdu_cmd) / sizeof(u64))

struct rdu_coredump {
	struct work_struct work;
	struct rdu_device *rdev;
	struct rdu_ctx_fault fault;
	u32 queue, state, head, tail;
	u64 tile_mask, emitted, done, guilty;
	u32 num_cmds;
	u64 cmds[RDU_DUMP_CMDS][RDU_DUMP_WORDS];
};

/*
 * The core looks for a dump that the device has before it adds one, and two that
 * look at once both add theirs.
 */
static DEFINE_MUTEX(rdu_coredump_lock);

static void rdu_coredump_work(struct work_struct *work)
{
	struct rdu_coredump *dump = container_of(work, struct rdu_coredump, work);
	struct drm_device *drm = &dump->rdev->drm;
	size_t n = 0, i, j;
	char *text;
	int idx;

	text = vzalloc(RDU_DUMP_SIZE);
	if (!text || !drm_dev_enter(drm, &idx)) {
		vfree(text);
		goto out;
	}
	n += scnprintf(text + n, RDU_DUMP_SIZE - n,
		       "driver: rdu\nchip: %.16s\nqueue: %u\ntiles: %#llx\nstate: %#x\n",
		       dump->rdev->chip.name, dump->queue, dump->tile_mask, dump->state);
	n += scnprintf(text + n, RDU_DUMP_SIZE - n,
		       "fault: %u\ninfo: %#x\nva: %#llx\nsection: %d\nunit-program: %d\n",
		       dump->fault.code, dump->fault.info, dump->fault.va,
		       (s32)dump->fault.section, (s32)dump->fault.program);
	n += scnprintf(text + n, RDU_DUMP_SIZE - n,
		       "submit: %llu\njob: %d\ncommand: %llu\nhead: %u\ntail: %u\nemitted: %llu\ndone: %llu\n",
		       dump->fault.submit, (s32)dump->fault.job, dump->guilty, dump->head,
		       dump->tail, dump->emitted, dump->done);
	for (i = 0; i < dump->num_cmds; i++) {
		const u64 *word = dump->cmds[i];

		n += scnprintf(text + n, RDU_DUMP_SIZE - n, "cmd %llu: op %u flags %#x slot %u",
			       word[1], (u32)word[0] & 0xff, (u32)word[0] >> 8 & 0xff,
			       upper_32_bits(word[0]));
		for (j = 2; j < RDU_DUMP_WORDS; j++)
			n += scnprintf(text + n, RDU_DUMP_SIZE - n, " %#llx", word[j]);
		n += scnprintf(text + n, RDU_DUMP_SIZE - n, "\n");
	}
	mutex_lock(&rdu_coredump_lock);
	dev_coredumpv(drm->dev, text, n, GFP_KERNEL); /* takes text */
	mutex_unlock(&rdu_coredump_lock);
	drm_dev_exit(idx);
out:
	kfree(dump);
	drm_dev_put(drm);
	rdu_cleanup_done();
}

/* Called with rdu_ctx.lock held, the queue stopped and not reset yet. */
void rdu_coredump(struct rdu_ctx *ctx, u64 guilty)
{
	struct rdu_queue *q = ctx->queue;
	struct rdu_coredump *dump;
	u64 first, i;
	u32 j;

	lockdep_assert_held(&ctx->lock);
	/* Not worth waiting for memory on the way to a fence. */
	dump = kzalloc(sizeof(*dump), GFP_NOWAIT | __GFP_NOWARN);
	if (!dump)
		return;
	dump->rdev = ctx->rdev;
	dump->fault = ctx->fault;
	dump->queue = ctx->queue_id;
	dump->state = ctx->state;
	dump->tile_mask = rdu_ctx_tile_mask(ctx);
	dump->guilty = guilty;
	dump->head = rdu_qread(ctx->rdev, ctx->queue_id, RDU_REG_Q_HEAD);

	spin_lock_irq(&q->lock);
	dump->tail = q->tail;
	dump->emitted = q->emitted;
	dump->done = q->done;
	/* The guilty command in the middle; only what the ring still holds. */
	first = guilty > RDU_DUMP_CMDS / 2 ? guilty - RDU_DUMP_CMDS / 2 : 1;
	if (q->emitted > q->depth)
		first = max(first, q->emitted - q->depth + 1);
	for (i = first; i <= q->emitted && dump->num_cmds < RDU_DUMP_CMDS; i++) {
		const struct rdu_ring_cmd *cmd = &q->ring[(i - 1) & (q->depth - 1)];
		u64 *word = dump->cmds[dump->num_cmds++];

		for (j = 0; j < RDU_DUMP_WORDS; j++)
			word[j] = le64_to_cpu(cmd->word[j]);
		if ((word[0] & 0xff) == RDU_OP_FILL)
			word[4] = 0; /* what a user writes is the user's */
	}
	spin_unlock_irq(&q->lock);

	drm_dev_get(&ctx->rdev->drm);
	rdu_cleanup_get();
	INIT_WORK(&dump->work, rdu_coredump_work);
	rdu_cleanup_queue(&dump->work);
}
