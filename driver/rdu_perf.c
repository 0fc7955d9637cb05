// SPDX-License-Identifier: GPL-2.0-only
/*
 * PERF_OPEN: a file that gives samples of the counters, of a context or of the
 * whole card. A work item samples; a reader that is late loses the newest.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kfifo.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>

#include "rdu_ctx.h"

#define RDU_PERF_SAMPLES	256
#define RDU_PERF_MIN_PERIOD	NSEC_PER_MSEC
#define RDU_PERF_MAX_PERIOD	(10 * NSEC_PER_SEC)

struct rdu_perf {
	struct rdu_device *rdev;
	struct rdu_ctx *ctx;		/* NULL: the whole card; the work's alone */
	unsigned long period;		/* jiffies, at least one */
	struct delayed_work work;
	wait_queue_head_t wait;
	spinlock_t lock;		/* Protects: fifo, lost, ended */
	DECLARE_KFIFO(fifo, struct drm_rdu_perf_sample, RDU_PERF_SAMPLES);
	u64 lost;
	bool ended;
};

/* Each tile for itself: a context with four counts four times. */
static void rdu_perf_card(struct rdu_device *rdev, struct rdu_busy *sum)
{
	struct rdu_busy busy;
	struct rdu_ctx *ctx;
	u32 i;

	memset(sum, 0, sizeof(*sum));
	for (i = 0; i < rdev->num_tiles; i++) {
		mutex_lock(&rdev->grant_lock);
		ctx = rdev->tiles[i].owner;
		if (ctx)
			ctx = rdu_ctx_get_unless_zero(ctx);
		rdu_busy_add(sum, &rdev->tiles[i].past);
		mutex_unlock(&rdev->grant_lock);
		if (!ctx)
			continue;
		rdu_ctx_busy(ctx, &busy);
		rdu_busy_add(sum, &busy);
		rdu_ctx_put(ctx);
	}
}

static bool rdu_perf_sample(struct rdu_perf *perf)
{
	struct rdu_device *rdev = perf->rdev;
	struct drm_rdu_perf_sample sample = {};
	struct rdu_busy busy;
	int idx;

	if (perf->ctx && READ_ONCE(perf->ctx->closed))
		return false;
	if (!drm_dev_enter(&rdev->drm, &idx))
		return false;
	sample.time = ktime_get_ns();
	sample.clock = rdu_device_clock(rdev);
	if (perf->ctx) {
		rdu_ctx_busy(perf->ctx, &busy);
		sample.completed = rdu_ctx_completed(perf->ctx);
	} else {
		rdu_perf_card(rdev, &busy);
	}
	drm_dev_exit(idx);
	sample.exec_cycles = busy.exec;
	sample.pload_cycles = busy.pload;
	sample.aload_cycles = busy.aload;
	sample.copy_cycles = busy.copy;

	spin_lock(&perf->lock);
	sample.lost = perf->lost;
	if (!kfifo_put(&perf->fifo, sample))
		perf->lost++;
	spin_unlock(&perf->lock);
	return true;
}

static void rdu_perf_work(struct work_struct *work)
{
	struct rdu_perf *perf = container_of(to_delayed_work(work), struct rdu_perf, work);

	if (rdu_perf_sample(perf)) {
		schedule_delayed_work(&perf->work, perf->period);
	} else {
		/* The stream may stay open for long: not the context's memory. */
		if (perf->ctx)
			rdu_ctx_put(perf->ctx);
		perf->ctx = NULL;
		spin_lock(&perf->lock);
		perf->ended = true;
		spin_unlock(&perf->lock);
	}
	wake_up_all(&perf->wait);
}

static bool rdu_perf_ready(struct rdu_perf *perf)
{
	bool ready;

	spin_lock(&perf->lock);
	ready = perf->ended || !kfifo_is_empty(&perf->fifo);
	spin_unlock(&perf->lock);
	return ready;
}

static ssize_t rdu_perf_read(struct file *file, char __user *data, size_t size, loff_t *pos)
{
	struct rdu_perf *perf = file->private_data;
	struct drm_rdu_perf_sample sample;
	size_t done = 0;
	bool got;
	int ret;

	if (size < sizeof(sample))
		return -EINVAL;
again:
	if (!rdu_perf_ready(perf)) {
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		ret = wait_event_interruptible(perf->wait, rdu_perf_ready(perf));
		if (ret)
			return ret;
	}
	while (size - done >= sizeof(sample)) {
		spin_lock(&perf->lock);
		got = kfifo_get(&perf->fifo, &sample);
		spin_unlock(&perf->lock);
		if (!got)
			break;
		if (copy_to_user(data + done, &sample, sizeof(sample)))
			return done ?: -EFAULT;
		done += sizeof(sample);
	}
	/* Another reader was quicker. */
	if (!done && !READ_ONCE(perf->ended))
		goto again;
	return done;
}

static __poll_t rdu_perf_poll(struct file *file, poll_table *wait)
{
	struct rdu_perf *perf = file->private_data;
	__poll_t events = 0;

	poll_wait(file, &perf->wait, wait);
	spin_lock(&perf->lock);
	if (!kfifo_is_empty(&perf->fifo))
		events |= EPOLLIN | EPOLLRDNORM;
	if (perf->ended)
		events |= EPOLLHUP;
	spin_unlock(&perf->lock);
	return events;
}

static void rdu_perf_free(struct rdu_perf *perf)
{
	struct drm_device *drm = &perf->rdev->drm;

	if (perf->ctx)
		rdu_ctx_put(perf->ctx);
	kfree(perf);
	drm_dev_put(drm);
}

static int rdu_perf_release(struct inode *inode, struct file *file)
{
	struct rdu_perf *perf = file->private_data;

	cancel_delayed_work_sync(&perf->work);
	rdu_perf_free(perf);
	return 0;
}

static const struct file_operations rdu_perf_fops = {
	.owner = THIS_MODULE,
	.read = rdu_perf_read,
	.poll = rdu_perf_poll,
	.release = rdu_perf_release,
	.llseek = noop_llseek,
};

int rdu_ioctl_perf_open(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_rdu_perf_open *args = data;
	struct rdu_perf *perf;
	struct file *stream;
	int fd, ret;

	if (args->flags || args->pad || args->period_ns < RDU_PERF_MIN_PERIOD ||
	    args->period_ns > RDU_PERF_MAX_PERIOD)
		return -EINVAL;
	if (!args->ctx_id && !perfmon_capable())
		return -EACCES;

	perf = kzalloc(sizeof(*perf), GFP_KERNEL_ACCOUNT);
	if (!perf)
		return -ENOMEM;
	perf->rdev = to_rdu_device(drm);
	drm_dev_get(drm);
	if (args->ctx_id) {
		perf->ctx = rdu_ctx_lookup(file->driver_priv, args->ctx_id);
		if (!perf->ctx) {
			ret = -ENOENT;
			goto err_free_perf;
		}
	}
	perf->period = max(nsecs_to_jiffies(args->period_ns), 1ul);
	spin_lock_init(&perf->lock);
	init_waitqueue_head(&perf->wait);
	INIT_KFIFO(perf->fifo);
	INIT_DELAYED_WORK(&perf->work, rdu_perf_work);

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		ret = fd;
		goto err_free_perf;
	}
	stream = anon_inode_getfile("[rdu-perf]", &rdu_perf_fops, perf, O_RDONLY);
	if (IS_ERR(stream)) {
		ret = PTR_ERR(stream);
		put_unused_fd(fd);
		goto err_free_perf;
	}
	schedule_delayed_work(&perf->work, 0);
	args->fd = fd;
	fd_install(fd, stream);
	return 0;

err_free_perf:
	rdu_perf_free(perf);
	return ret;
}
