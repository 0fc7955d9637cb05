/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Who has a card that goes away meanwhile, and what becomes of what they have. */
#ifndef RDU_SELFTEST_VICTIM_H
#define RDU_SELFTEST_VICTIM_H

#include <poll.h>

#include "card.h"

/* Somebody with buffers, mappings and work in flight. */
struct victim {
	int fd, given, queued; /* the card, its first work, and the last */
	uint32_t vm, ctx, sync;
	struct buffer device, system;
	char pci[32];
};

static inline void victim_init(struct victim *v)
{
	struct drm_rdu_job jobs[64];

	v->fd = card_open();
	pci_name(v->fd, v->pci);
	v->vm = vm_create(v->fd);
	v->ctx = ctx_create(v->fd, v->vm, 1);
	v->sync = sync_create(v->fd);
	v->device = buffer_create(v->fd, v->vm, VA_BASE, 16 << 20, DRM_RDU_PLACEMENT_DEVICE);
	v->system = buffer_create(v->fd, v->vm, VA_BASE + (1 << 30), 1 << 20,
				  DRM_RDU_PLACEMENT_SYSTEM);
	*(uint32_t *)v->device.map = 42;
	for (int i = 0; i < 64; i++)
		jobs[i] = job_fill(VA_BASE, 16 << 20, i);
	for (int i = 0; i < 8; i++) {
		ASSERT_EQ(submit(v->fd, v->ctx, jobs, 64, v->sync), 0);
		/* Files, which can be asked when the card is gone. */
		if (i == 0)
			v->given = sync_file(v->fd, v->sync);
	}
	v->queued = sync_file(v->fd, v->sync);
}

/* Somebody who waits for that work. */
static inline pid_t waiter_start(struct victim *v)
{
	pid_t pid = fork();

	if (!pid) {
		/* Signalled, or the ioctl sees that the card is gone. */
		int ret = sync_wait(v->fd, v->sync, 0, 60000);

		_exit(ret == 0 || ret == -ENODEV ? 0 : 1);
	}
	return pid;
}

/* He has been woken. */
static inline void waiter_end(pid_t pid)
{
	int status;

	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
}

/* What user space sees of a card that is gone. */
static inline void victim_check(struct victim *v)
{
	struct drm_rdu_vm_create args = { 0 };
	struct drm_rdu_job job = job_barrier();
	struct pollfd wait = { .fd = v->queued, .events = POLLIN };
	int status;

	/* Cut short, or done before. What the card was not given yet may say ENODEV. */
	EXPECT_EQ(poll(&wait, 1, 60000), 1);
	status = sync_file_status(v->given);
	EXPECT_EQ(status, status == 1 ? 1 : -ECANCELED);
	status = sync_file_status(v->queued);
	EXPECT_TRUE(status == 1 || status == -ECANCELED || status == -ENODEV);
	EXPECT_EQ(call(v->fd, DRM_IOCTL_RDU_VM_CREATE, &args), -ENODEV);
	EXPECT_EQ(submit(v->fd, v->ctx, &job, 1, 0), -ENODEV);
	/* Mappings stay, and do not kill. */
	for (size_t at = 0; at < v->device.size; at += PAGE)
		EXPECT_EQ(*(uint32_t *)((char *)v->device.map + at), 0);
	*(uint32_t *)v->device.map = 1;
	*(uint32_t *)v->system.map = 1;
	close(v->fd);
	munmap(v->device.map, v->device.size);
	munmap(v->system.map, v->system.size);
}

#endif
