/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Two users on one card: one has something, the other is after it. */
#ifndef RDU_SELFTEST_DUEL_H
#define RDU_SELFTEST_DUEL_H

#include "program.h"
#include "user.h"

#define SECRET 0x5ec7e75ec7e75ec7ULL
#define SECRET32 0x5ec7e75eU
#define MINE 0xb0b0b0b0b0b0b0b0ULL /* what the other one writes */

static inline void plant(void *map, uint64_t size)
{
	uint64_t *p = map;

	for (uint64_t i = 0; i < size / 8; i++)
		p[i] = SECRET;
}

/* Bytes that are not zero, or not the secret. */
static inline uint64_t other_than(const void *map, uint64_t size, uint64_t value)
{
	const uint64_t *p = map;
	uint64_t n = 0;

	for (uint64_t i = 0; i < size / 8; i++)
		n += p[i] != value;
	return n * 8;
}

/* 0: nothing found there. */
static inline bool refused(int ret)
{
	return ret == -ENOENT || ret == -EINVAL || ret == -EACCES || ret == -EBADF ||
	       ret == -EOPNOTSUPP;
}

#define EXPECT_REFUSED(call)                                                   \
	do {                                                                   \
		int ret_ = (call);                                             \
		if (!refused(ret_))                                            \
			EXPECT_EQ(ret_, -ENOENT);                              \
	} while (0)

/* ---- what a victim has ------------------------------------------------- */

struct belongings {
	struct run run;
	struct buffer device, system, own; /* own: bound in one VM only */
	uint32_t sync;
};

static inline void belongings_init(struct belongings *b, int fd)
{
	struct drm_rdu_bo_create own = { .size = 1 << 20 };

	run_init(&b->run, fd, 3, 1, DRM_RDU_PLACEMENT_DEVICE);
	b->device = buffer_create(fd, b->run.vm, VA_BASE + (16 << 20), 8 << 20,
				  DRM_RDU_PLACEMENT_DEVICE);
	b->system = buffer_create(fd, b->run.vm, VA_BASE + (32 << 20), 2 << 20,
				  DRM_RDU_PLACEMENT_SYSTEM);
	own.vm_id = b->run.vm;
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE, &own), 0);
	b->own = (struct buffer){ .handle = own.handle, .va = VA_BASE + (48 << 20),
				  .size = own.size };
	b->own.map = bo_map(fd, own.handle, own.size);
	ASSERT_EQ(vm_map(fd, b->run.vm, own.handle, 0, b->own.va, own.size, 0), 0);
	plant(b->device.map, b->device.size);
	plant(b->system.map, b->system.size);
	plant(b->own.map, b->own.size);
	b->sync = sync_create(fd);
	ASSERT_EQ(submit(fd, b->run.ctx, &(struct drm_rdu_job){ .type = DRM_RDU_JOB_BARRIER }, 1,
			 b->sync), 0);
	run_check(&b->run, 3, 1);
}

/* All is there, as it was, and works. */
static inline void belongings_check(struct belongings *b)
{
	int fd = b->run.fd;

	EXPECT_EQ(other_than(b->device.map, b->device.size, SECRET), 0);
	EXPECT_EQ(other_than(b->system.map, b->system.size, SECRET), 0);
	EXPECT_EQ(other_than(b->own.map, b->own.size, SECRET), 0);
	EXPECT_EQ(ctx_state(fd, b->run.ctx).state, 0);
	EXPECT_EQ(sync_status(fd, b->sync), 1);
	run_check(&b->run, 3, 7);
	/* Bound still: the card sees it too. */
	ASSERT_EQ(run_job(fd, b->run.ctx, job_copy(b->system.va, b->device.va, 1 << 20)), 1);
	ASSERT_EQ(run_job(fd, b->run.ctx, job_copy(b->device.va, b->own.va, 1 << 20)), 1);
	EXPECT_EQ(other_than(b->system.map, b->system.size, SECRET), 0);
	EXPECT_EQ(other_than(b->device.map, b->device.size, SECRET), 0);
}

/* What is known of the victim: the attacker knows it too. */
static struct {
	struct user user;
	pid_t pid;
	uint64_t offset[3];	/* for mmap() */
} prey;

/* Says where it is; works, checks its results, until the attack is over. */
static inline void victim(int fd, int line)
{
	struct drm_rdu_bo_info info[3];
	struct belongings b;
	uint64_t word;

	belongings_init(&b, fd);
	info[0] = (struct drm_rdu_bo_info){ .handle = b.device.handle };
	info[1] = (struct drm_rdu_bo_info){ .handle = b.system.handle };
	info[2] = (struct drm_rdu_bo_info){ .handle = b.own.handle };
	say(line, getpid());
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_INFO, &info[i]), 0);
		say(line, info[i].mmap_offset);
	}
	while (hear(line, &word))
		run_check(&b.run, 3, word & 15);
	belongings_check(&b);
}

static inline void duel(void (*attack)(int fd, int line))
{
	struct user attacker;
	siginfo_t done = { 0 };

	prey.user = user_start(USER_VICTIM, victim);
	prey.pid = heard(prey.user.line);
	for (int i = 0; i < 3; i++)
		prey.offset[i] = heard(prey.user.line);
	attacker = user_start(USER_ATTACKER, attack);
	for (int i = 0; !done.si_pid; i++) {
		say(prey.user.line, i);
		usleep(50000);
		ASSERT_EQ(waitid(P_PID, attacker.pid, &done, WEXITED | WNOHANG | WNOWAIT), 0);
	}
	user_end(&attacker);
	user_end(&prey.user);
}

#endif
