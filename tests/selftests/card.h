/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What every selftest does with the card: thin words for the ioctls. */
#ifndef RDU_SELFTEST_CARD_H
#define RDU_SELFTEST_CARD_H

#include <fcntl.h>
#include <time.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/dma-heap.h>
#include <linux/sync_file.h>
#include <drm/rdu_accel.h>

#include "harness.h"
#include "rdu/cmd.h"

#define PAGE 4096UL
#define VA_BASE 0x10000000ULL

/* 0 or -errno; a call that a signal interrupted is made again. */
static inline int call(int fd, unsigned long request, void *arg)
{
	int ret;

	do
		ret = ioctl(fd, request, arg);
	while (ret < 0 && (errno == EINTR || errno == EAGAIN));
	return ret < 0 ? -errno : ret;
}

/* The number-th card of the driver, -1 if there is none. */
static inline int card_find(int number)
{
	for (int i = 0; i < 16; i++) {
		char name[16] = "", path[32];
		struct drm_version version = { .name = name, .name_len = sizeof(name) - 1 };
		int fd;

		snprintf(path, sizeof(path), "/dev/accel/accel%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!call(fd, DRM_IOCTL_VERSION, &version) &&
		    !strcmp(name, DRM_RDU_DRIVER_NAME) && !number--)
			return fd;
		close(fd);
	}
	return -1;
}

/* Skips the test if there is none. */
static inline int card_open_nth(int number)
{
	int fd = card_find(number);

	if (fd < 0)
		SKIP("no card with the rdu driver");
	return fd;
}

static inline int card_open(void)
{
	return card_open_nth(0);
}

static inline int query(int fd, uint32_t type, void *data, uint32_t size)
{
	struct drm_rdu_dev_query q = { .type = type, .size = size, .pointer = (uintptr_t)data };

	return call(fd, DRM_IOCTL_RDU_DEV_QUERY, &q);
}

static inline struct drm_rdu_query_info card_info(int fd)
{
	struct drm_rdu_query_info info;

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_INFO, &info, sizeof(info)), 0);
	return info;
}

static inline uint64_t card_clock(int fd)
{
	struct drm_rdu_query_clock clock;

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_CLOCK, &clock, sizeof(clock)), 0);
	return clock.cycles;
}

/* 0 or -errno. */
static inline int sys_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* The card's name on the bus: 0000:01:00.0. */
static inline void pci_name(int fd, char name[32])
{
	struct drm_rdu_query_info info = card_info(fd);

	if (getuid())
		SKIP("not root");
	snprintf(name, 32, "%04x:%02x:%02x.%x", info.pci_domain, info.pci_bdf >> 8,
		 info.pci_bdf >> 3 & 31, info.pci_bdf & 7);
}

/*
 * As card_open(), once the driver has given back what others had: that comes a
 * little after their files are closed, and counts are compared. The card's first
 * page is nobody's.
 */
static inline int card_open_idle(void)
{
	struct drm_rdu_query_memory mem;
	int fd = card_open();

	for (int i = 0; i < 400; i++) {
		ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &mem, sizeof(mem)), 0);
		if (mem.size - mem.free <= PAGE)
			break;
		usleep(25000);
	}
	return fd;
}

/* Memory of the kernel's system heap, as a dma-buf. */
static inline int heap_alloc(size_t size, uint32_t flags)
{
	struct dma_heap_allocation_data args = { .len = size, .fd_flags = flags | O_CLOEXEC };
	int heap = open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC);

	if (heap < 0)
		SKIP("no system dma-heap");
	ASSERT_EQ(call(heap, DMA_HEAP_IOCTL_ALLOC, &args), 0);
	close(heap);
	return args.fd;
}

static inline uint32_t vm_create(int fd)
{
	struct drm_rdu_vm_create args = { 0 };

	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_VM_CREATE, &args), 0);
	ASSERT_NE(args.vm_id, 0);
	return args.vm_id;
}

static inline int vm_destroy(int fd, uint32_t vm)
{
	struct drm_rdu_vm_destroy args = { .vm_id = vm };

	return call(fd, DRM_IOCTL_RDU_VM_DESTROY, &args);
}

static inline uint32_t bo_create(int fd, uint64_t size, uint32_t placement)
{
	struct drm_rdu_bo_create args = { .size = size, .placement = placement };

	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE, &args), 0);
	ASSERT_NE(args.handle, 0);
	ASSERT_GE(args.size, size);
	return args.handle;
}

static inline int bo_close(int fd, uint32_t handle)
{
	struct drm_gem_close args = { .handle = handle };

	return call(fd, DRM_IOCTL_GEM_CLOSE, &args);
}

static inline void *bo_map(int fd, uint32_t handle, uint64_t size)
{
	struct drm_rdu_bo_info info = { .handle = handle };
	void *map;

	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_INFO, &info), 0);
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, info.mmap_offset);
	ASSERT_TRUE(map != MAP_FAILED);
	return map;
}

/* As a dma-buf; flags: O_RDWR, or 0 for reading only. */
static inline int bo_export_as(int fd, uint32_t handle, uint32_t flags)
{
	struct drm_prime_handle args = { .handle = handle, .flags = flags | O_CLOEXEC };

	ASSERT_EQ(call(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &args), 0);
	return args.fd;
}

static inline int bo_export(int fd, uint32_t handle)
{
	return bo_export_as(fd, handle, O_RDWR);
}

static inline int bo_import(int fd, int dmabuf, uint32_t *handle)
{
	struct drm_prime_handle args = { .fd = dmabuf };
	int ret = call(fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &args);

	*handle = args.handle;
	return ret;
}

static inline int vm_bind(int fd, uint32_t vm, const struct drm_rdu_bind_op *ops, uint32_t n)
{
	struct drm_rdu_vm_bind args = {
		.vm_id = vm, .ops = (uintptr_t)ops, .num_ops = n, .op_stride = sizeof(*ops),
	};

	return call(fd, DRM_IOCTL_RDU_VM_BIND, &args);
}

static inline int vm_map(int fd, uint32_t vm, uint32_t handle, uint64_t offset, uint64_t va,
			 uint64_t size, uint32_t flags)
{
	struct drm_rdu_bind_op op = {
		.type = DRM_RDU_BIND_MAP, .flags = flags, .handle = handle, .offset = offset,
		.va = va, .size = size,
	};

	return vm_bind(fd, vm, &op, 1);
}

static inline int vm_unmap(int fd, uint32_t vm, uint64_t va, uint64_t size)
{
	struct drm_rdu_bind_op op = { .type = DRM_RDU_BIND_UNMAP, .va = va, .size = size };

	return vm_bind(fd, vm, &op, 1);
}

/* A buffer that is bound at va and mapped. */
struct buffer {
	uint32_t handle;
	uint64_t va, size;
	void *map;
};

static inline struct buffer buffer_create(int fd, uint32_t vm, uint64_t va, uint64_t size,
					  uint32_t placement)
{
	struct buffer b = { .va = va, .size = size };

	b.handle = bo_create(fd, size, placement);
	b.map = bo_map(fd, b.handle, size);
	ASSERT_EQ(vm_map(fd, vm, b.handle, 0, va, size, 0), 0);
	return b;
}

static inline int ctx_try(int fd, uint32_t vm, uint32_t tiles, uint32_t *id)
{
	struct drm_rdu_ctx_create args = { .vm_id = vm, .num_tiles = tiles };
	int ret = call(fd, DRM_IOCTL_RDU_CTX_CREATE, &args);

	*id = args.ctx_id;
	return ret;
}

static inline uint32_t ctx_create(int fd, uint32_t vm, uint32_t tiles)
{
	uint32_t id;

	ASSERT_EQ(ctx_try(fd, vm, tiles, &id), 0);
	ASSERT_NE(id, 0);
	return id;
}

static inline int ctx_destroy(int fd, uint32_t ctx)
{
	struct drm_rdu_ctx_destroy args = { .ctx_id = ctx };

	return call(fd, DRM_IOCTL_RDU_CTX_DESTROY, &args);
}

static inline struct drm_rdu_ctx_get_state ctx_state(int fd, uint32_t ctx)
{
	struct drm_rdu_ctx_get_state args = { .ctx_id = ctx };

	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_CTX_GET_STATE, &args), 0);
	return args;
}

static inline uint32_t sync_create(int fd)
{
	struct drm_syncobj_create args = { 0 };

	ASSERT_EQ(call(fd, DRM_IOCTL_SYNCOBJ_CREATE, &args), 0);
	return args.handle;
}

static inline int64_t after_ms(int64_t ms)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec + ms * 1000000;
}

/* 0, -ETIME, ... point 0: a binary syncobj. */
static inline int sync_wait(int fd, uint32_t handle, uint64_t point, int64_t ms)
{
	struct drm_syncobj_timeline_wait args = {
		.handles = (uintptr_t)&handle, .points = (uintptr_t)&point, .count_handles = 1,
		.timeout_nsec = after_ms(ms), .flags = DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT,
	};

	return call(fd, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &args);
}

static inline int sync_signal(int fd, uint32_t handle, uint64_t point)
{
	struct drm_syncobj_timeline_array args = {
		.handles = (uintptr_t)&handle, .points = (uintptr_t)&point, .count_handles = 1,
	};

	return call(fd, DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL, &args);
}

/* A file of the fence that is in a binary syncobj now. */
static inline int sync_file(int fd, uint32_t handle)
{
	struct drm_syncobj_handle args = {
		.handle = handle, .flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE,
	};
	int ret = call(fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &args);

	return ret ? ret : args.fd;
}

/* How that fence ended: 1 well, or -errno; closes the file. */
static inline int sync_file_status(int file)
{
	struct sync_file_info info = { 0 };
	int ret = call(file, SYNC_IOC_FILE_INFO, &info);

	close(file);
	return ret ? ret : info.status;
}

/* How the fence in a signalled binary syncobj ended: 1 well, or -errno. */
static inline int sync_status(int fd, uint32_t handle)
{
	int file = sync_file(fd, handle);

	return file < 0 ? file : sync_file_status(file);
}

static inline struct drm_rdu_job job_copy(uint64_t dst, uint64_t src, uint64_t len)
{
	return (struct drm_rdu_job){
		.type = DRM_RDU_JOB_COPY, .copy = { .src_va = src, .dst_va = dst, .len = len },
	};
}

static inline struct drm_rdu_job job_fill(uint64_t va, uint64_t len, uint32_t value)
{
	return (struct drm_rdu_job){
		.type = DRM_RDU_JOB_FILL, .fill = { .va = va, .len = len, .value = value },
	};
}

static inline struct drm_rdu_job job_barrier(void)
{
	return (struct drm_rdu_job){ .type = DRM_RDU_JOB_BARRIER };
}

static inline int submit_syncs(int fd, uint32_t ctx, const struct drm_rdu_job *jobs,
			       uint32_t num_jobs, const struct drm_rdu_sync *syncs,
			       uint32_t num_syncs, uint64_t *seqno)
{
	struct drm_rdu_submit args = {
		.ctx_id = ctx,
		.jobs = (uintptr_t)jobs, .num_jobs = num_jobs, .job_stride = sizeof(*jobs),
		.syncs = num_syncs ? (uintptr_t)syncs : 0, .num_syncs = num_syncs,
		.sync_stride = num_syncs ? sizeof(*syncs) : 0,
	};
	int ret = call(fd, DRM_IOCTL_RDU_SUBMIT, &args);

	if (seqno)
		*seqno = args.seqno;
	return ret;
}

/* Submits; signal: binary syncobj, 0: none. */
static inline int submit(int fd, uint32_t ctx, const struct drm_rdu_job *jobs, uint32_t n,
			 uint32_t signal)
{
	struct drm_rdu_sync sync = { .flags = DRM_RDU_SYNC_SIGNAL, .handle = signal };

	return submit_syncs(fd, ctx, jobs, n, &sync, signal ? 1 : 0, NULL);
}

/* Submits and waits: 1 done well, -errno of the submit or of the fence. */
static inline int run_jobs(int fd, uint32_t ctx, const struct drm_rdu_job *jobs, uint32_t n)
{
	struct drm_syncobj_destroy destroy = { .handle = sync_create(fd) };
	int ret = submit(fd, ctx, jobs, n, destroy.handle);

	if (!ret)
		ret = sync_wait(fd, destroy.handle, 0, TEST_TIMEOUT * 1000LL * test_patience());
	if (!ret)
		ret = sync_status(fd, destroy.handle);
	call(fd, DRM_IOCTL_SYNCOBJ_DESTROY, &destroy);
	return ret;
}

static inline int run_job(int fd, uint32_t ctx, struct drm_rdu_job job)
{
	return run_jobs(fd, ctx, &job, 1);
}

/* Every bit of a field that is not in `valid`, one after the other: EINVAL. */
#define EXPECT_RESERVED(fd, request, args, field, valid)                       \
	do {                                                                   \
		for (unsigned int bit_ = 0; bit_ < sizeof((args).field) * 8; bit_++) { \
			__typeof__(args) copy_ = (args);                       \
			if ((uint64_t)(valid) >> bit_ & 1)                     \
				continue;                                      \
			copy_.field ^= (__typeof__(copy_.field))1 << bit_;     \
			if (call(fd, request, &copy_) != -EINVAL)              \
				printf("# bit %u of " #field "\n", bit_);      \
			copy_ = (args);                                        \
			copy_.field ^= (__typeof__(copy_.field))1 << bit_;     \
			EXPECT_EQ(call(fd, request, &copy_), -EINVAL);         \
		}                                                              \
	} while (0)

/* A page that can't be read or written, for EFAULT. */
static inline void *bad_page(void)
{
	void *p = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_TRUE(p != MAP_FAILED);
	return p;
}

#endif
