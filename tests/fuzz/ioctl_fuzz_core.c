// SPDX-License-Identifier: MIT
/*
 * The fuzzer's calls of the DRM core, what it does with memory and other drivers'
 * buffers, with files and processes.
 */
#define SELFTEST_PART
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>

#include "ioctl_fuzz.h"

#ifndef DRM_IOCTL_SYNCOBJ_EVENTFD /* younger than some libdrm */
struct drm_syncobj_eventfd {
	__u32 handle, flags;
	__u64 point;
	__s32 fd;
	__u32 pad;
};
#define DRM_IOCTL_SYNCOBJ_EVENTFD DRM_IOWR(0xCF, struct drm_syncobj_eventfd)
#endif

FIELDS(f_prime, F(drm_prime_handle, handle, BO), F(drm_prime_handle, flags, FLAGS),
       F(drm_prime_handle, fd, NUM));
FIELDS(f_sync_create, F(drm_syncobj_create, flags, FLAGS));
FIELDS(f_sync_destroy, F(drm_syncobj_destroy, handle, SYNC), F(drm_syncobj_destroy, pad, PADDING));
FIELDS(f_sync_handle, F(drm_syncobj_handle, handle, SYNC), F(drm_syncobj_handle, flags, FLAGS),
       F(drm_syncobj_handle, fd, NUM), F(drm_syncobj_handle, pad, PADDING));
/* Not count_handles: the core allocates what it is told. */
FIELDS(f_sync_wait, F(drm_syncobj_timeline_wait, handles, PTR),
       F(drm_syncobj_timeline_wait, points, PTR), F(drm_syncobj_timeline_wait, flags, FLAGS));
FIELDS(f_sync_array, F(drm_syncobj_timeline_array, handles, PTR),
       F(drm_syncobj_timeline_array, points, PTR), F(drm_syncobj_timeline_array, flags, FLAGS));
/* Not flags: with wrong ones the core of some kernels loses a reference of the source. */
FIELDS(f_sync_transfer, F(drm_syncobj_transfer, src_handle, SYNC),
       F(drm_syncobj_transfer, dst_handle, SYNC), F(drm_syncobj_transfer, src_point, NUM),
       F(drm_syncobj_transfer, dst_point, NUM), F(drm_syncobj_transfer, pad, PADDING));

void do_sync_create(struct thread *t)
{
	struct file *f = some_file(t);
	struct drm_syncobj_create args = { .flags = below(t, 2) };

	spoil(t, f, &args, f_sync_create);
	if (CALL(t, f, DRM_IOCTL_SYNCOBJ_CREATE, args) >= 0)
		remember(t, f, SYNC, args.handle, 0);
}

void do_sync_destroy(struct thread *t)
{
	struct file *f = some_file(t);
	struct drm_syncobj_destroy args = { .handle = some(t, f, SYNC) };

	spoil(t, f, &args, f_sync_destroy);
	if (CALL(t, f, DRM_IOCTL_SYNCOBJ_DESTROY, args) >= 0)
		forget(t, f, SYNC, args.handle);
}

void do_sync_wait(struct thread *t)
{
	struct file *f = some_file(t);
	uint32_t *handle = room(t, 32), n = 1 + below(t, 4), i;
	uint64_t *point = room(t, 32);
	struct drm_syncobj_timeline_wait args = {
		.handles = (uintptr_t)handle,
		.points = (uintptr_t)point,
		.count_handles = n,
		.timeout_nsec = one_in(t, 3) ? 0 : after_ms(0) + 1000000,
		.flags = below(t, 8),
	};

	for (i = 0; i < n; i++) {
		handle[i] = some(t, f, SYNC);
		point[i] = below(t, 8);
	}
	spoil(t, f, &args, f_sync_wait);
	CALL(t, f, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, args);
}

void do_sync_array(struct thread *t)
{
	static const unsigned long request[] = {
		DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL,
		DRM_IOCTL_SYNCOBJ_QUERY,
		DRM_IOCTL_SYNCOBJ_TIMELINE_SIGNAL,
	};
	struct file *f = some_file(t);
	uint32_t *handle = room(t, 32), n = 1 + below(t, 4), i;
	uint64_t *point = room(t, 32);
	struct drm_syncobj_timeline_array args = {
		.handles = (uintptr_t)handle,
		.points = (uintptr_t)point,
		.count_handles = n,
		.flags = below(t, 2),
	};
	struct drm_syncobj_array plain = { .handles = (uintptr_t)handle, .count_handles = n };
	unsigned int which = below(t, 5);

	for (i = 0; i < n; i++) {
		handle[i] = some(t, f, SYNC);
		point[i] = below(t, 8);
	}
	if (which < 3) {
		spoil(t, f, &args, f_sync_array);
		CALL(t, f, request[which], args);
	} else if (which == 3) {
		CALL(t, f, DRM_IOCTL_SYNCOBJ_RESET, plain);
	} else {
		CALL(t, f, DRM_IOCTL_SYNCOBJ_SIGNAL, plain);
	}
}

void do_sync_share(struct thread *t)
{
	struct file *f = some_file(t);
	struct drm_syncobj_handle args = { .handle = some(t, f, SYNC), .flags = below(t, 2) };
	struct drm_syncobj_transfer transfer = {
		.src_handle = some(t, f, SYNC),
		.dst_handle = some(t, f, SYNC),
		.src_point = below(t, 6),
		.dst_point = below(t, 6),
	};
	struct drm_syncobj_eventfd event = { .handle = args.handle, .point = below(t, 6) };

	switch (below(t, 4)) {
	case 0:
		args.fd = -1;
		spoil(t, f, &args, f_sync_handle);
		if (CALL(t, f, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, args) >= 0)
			keep_fd(t, FD_SYNC, args.fd);
		break;
	case 1:
		args.fd = some_fd(t, FD_SYNC);
		spoil(t, f, &args, f_sync_handle);
		if (CALL(t, f, DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, args) >= 0 && !args.flags)
			remember(t, f, SYNC, args.handle, 0);
		break;
	case 2:
		spoil(t, f, &transfer, f_sync_transfer);
		CALL(t, f, DRM_IOCTL_SYNCOBJ_TRANSFER, transfer);
		break;
	default:
		event.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		CALL(t, f, DRM_IOCTL_SYNCOBJ_EVENTFD, event);
		close(event.fd);
	}
}

void do_prime_export(struct thread *t)
{
	struct file *f = some_file(t);
	struct drm_prime_handle args = { .handle = some(t, f, BO),
					 .flags = below(t, 2) ? DRM_CLOEXEC | DRM_RDWR : 0 };

	spoil(t, f, &args, f_prime);
	if (CALL(t, f, DRM_IOCTL_PRIME_HANDLE_TO_FD, args) >= 0)
		keep_fd(t, FD_DMABUF, args.fd);
}

void do_prime_import(struct thread *t)
{
	struct file *f = some_file(t);
	struct drm_prime_handle args = { .fd = some_fd(t, FD_DMABUF) };

	spoil(t, f, &args, f_prime);
	if (CALL(t, f, DRM_IOCTL_PRIME_FD_TO_HANDLE, args) >= 0)
		remember(t, f, BO, args.handle, PAGE);
}

/*
 * A buffer of another driver: udmabuf, the system heap. Imported once, most of
 * the time: DMA-API debug does not like pages that are mapped twice.
 */
void do_foreign_buffer(struct thread *t)
{
	struct file *f = some_file(t);
	uint64_t size = PAGE * (1 + below(t, 64));
	bool heap = below(t, 2), keep = one_in(t, 16);
	struct dma_heap_allocation_data data = { .len = size, .fd_flags = O_RDWR | O_CLOEXEC };
	struct udmabuf_create create = { .size = size, .flags = UDMABUF_FLAGS_CLOEXEC };
	int fd = open(heap ? "/dev/dma_heap/system" : "/dev/udmabuf", O_RDWR | O_CLOEXEC);
	struct drm_prime_handle import = { .fd = -1 };

	if (heap) {
		if (ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &data) >= 0)
			import.fd = data.fd;
	} else {
		create.memfd = memfd_create("fuzz", MFD_ALLOW_SEALING | MFD_CLOEXEC);
		if (!ftruncate(create.memfd, size) &&
		    !fcntl(create.memfd, F_ADD_SEALS, F_SEAL_SHRINK))
			import.fd = ioctl(fd, UDMABUF_CREATE, &create);
		close(create.memfd);
	}
	close(fd);
	if (import.fd < 0)
		return;
	if (CALL(t, f, DRM_IOCTL_PRIME_FD_TO_HANDLE, import) >= 0)
		remember(t, f, BO, import.handle, size);
	if (keep)
		keep_fd(t, FD_DMABUF, import.fd);
	else
		close(import.fd);
}

void do_dmabuf(struct thread *t)
{
	int fd = some_fd(t, FD_DMABUF);
	struct dma_buf_sync sync = { .flags = below(t, 8) };
	struct dma_buf_export_sync_file export = { .flags = 1 + below(t, 3), .fd = -1 };
	struct dma_buf_import_sync_file import = { .flags = 1 + below(t, 3),
						   .fd = some_fd(t, FD_SYNC) };
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };
	unsigned int map = below(t, MAPS), which = below(t, 5);

	if (fd < 0)
		return;
	switch (which) {
	case 0:
		ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync);
		break;
	case 1:
		if (!ioctl(fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &export))
			close(export.fd);
		break;
	case 2:
		ioctl(fd, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import);
		break;
	case 3:
		poll(&p, 1, 1);
		break;
	default:
		if (mmap((void *)(WINDOW + WINDOW_STEP * map), 16 * PAGE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED)
			world.map_size[map] = 16 * PAGE;
	}
}

void do_mmap(struct thread *t)
{
	struct file *f = some_file(t);
	unsigned int slot = some_slot(t, BO), map = below(t, MAPS);
	struct drm_rdu_bo_info info = { .handle = f->handle[BO][slot] };
	int prot = below(t, 4) ? PROT_READ | PROT_WRITE : (int)below(t, 8);
	int flags = below(t, 8) ? MAP_SHARED : MAP_PRIVATE;
	uint64_t x = any(t), size;

	if (ioctl(f->fd, DRM_IOCTL_RDU_BO_INFO, &info) < 0)
		return;
	size = x & 3 ? info.size : ((x >> 8) % (info.size / PAGE + 2)) * PAGE;
	if (size > WINDOW_STEP)
		size = WINDOW_STEP;
	if ((x & 0xf0) == 0)
		info.mmap_offset += x >> 16 & ~4095ULL;
	if (mmap((void *)(WINDOW + WINDOW_STEP * map), size, prot, flags | MAP_FIXED, f->fd,
		 info.mmap_offset) != MAP_FAILED)
		world.map_size[map] = size;
	shared->calls++;
}

void do_remap(struct thread *t)
{
	unsigned int map = below(t, MAPS), which = below(t, 6);
	char *p = (char *)(WINDOW + WINDOW_STEP * map) + PAGE * below(t, 8);
	size_t n = PAGE * (1 + below(t, 16));

	switch (which) {
	case 0:
		munmap((void *)(WINDOW + WINDOW_STEP * map), WINDOW_STEP);
		world.map_size[map] = 0;
		break;
	case 1:
		munmap(p, n);
		break;
	case 2:
		mprotect(p, n, below(t, 4));
		break;
	case 3:
		madvise(p, n, below(t, 2) ? MADV_DONTNEED : MADV_DONTFORK);
		break;
	case 4: /* what may be pinned for the card */
		p = (char *)t->arena + ARENA_USER + PAGE * below(t, 200);
		mmap(p, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		break;
	default:
		p = (char *)t->arena + ARENA_USER + PAGE * below(t, 200);
		madvise(p, n, MADV_DONTNEED);
	}
}

/* Through the kernel: what is not there gives EFAULT, not a signal. */
void do_touch(struct thread *t)
{
	static int memory = -1;
	unsigned int map = below(t, MAPS);
	uint64_t at = any(t);
	size_t n = 1 + below(t, 3 * PAGE);
	char *p = (char *)(WINDOW + WINDOW_STEP * map);
	bool write = below(t, 2);

	if (memory < 0) {
		memory = memfd_create("touch", MFD_CLOEXEC);
		if (ftruncate(memory, 4 * PAGE))
			return;
	}
	if (world.map_size[map])
		p += at % world.map_size[map];
	if (write)
		shared->good += pread(memory, p, n, 0) > 0;
	else
		shared->good += pwrite(memory, p, n, 0) > 0;
	shared->calls++;
}

int open_card(void)
{
	char path[40];
	int fd;

	for (int i = 0; i < 16; i++) {
		snprintf(path, sizeof(path), "/dev/accel/accel%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0)
			return fd;
	}
	return -1;
}

/* Writes to a file of the card's in sysfs: 0 or -errno. */
int card_order(const char *file, const char *text)
{
	char path[80];

	snprintf(path, sizeof(path), "/sys/class/accel/accel0/device/%s", file);
	return sys_write(path, text);
}

/* Everything a run needs, right: so that the card has real work to do. */
static void make_home(struct thread *t, struct file *f)
{
	struct drm_rdu_vm_create vm = { 0 };
	struct drm_rdu_ctx_create ctx = { .num_tiles = 1, .timeout_ms = 2000 };
	struct drm_rdu_prog_load load = { .size = image_size };
	struct drm_rdu_ctx_destroy destroy = { .ctx_id = f->handle[CTX][0] };
	uint32_t bo[4];
	uint64_t va[4] = { VA_BASE, VA_BASE + PAGE, VA_BASE + (1 << 20), VA_BASE + (2 << 20) };
	struct rdu_args *args;
	void *data = room(t, image_size);

	if (CALL(t, f, DRM_IOCTL_RDU_VM_CREATE, vm) < 0)
		return;
	f->handle[VM][0] = vm.vm_id;
	for (unsigned int i = 0; i < 4; i++) {
		struct drm_rdu_bo_create create = { .size = 2 * PAGE,
						    .placement = i ? DRM_RDU_PLACEMENT_DEVICE
								   : DRM_RDU_PLACEMENT_SYSTEM };
		struct drm_rdu_bind_op *op = at_edge(t, 512);
		struct drm_rdu_vm_bind bind = { .vm_id = vm.vm_id,
						.ops = (uintptr_t)op,
						.num_ops = 1,
						.op_stride = sizeof(*op) };

		if (ioctl(f->fd, DRM_IOCTL_RDU_BO_CREATE, &create) < 0)
			return;
		bo[i] = create.handle;
		*op = (struct drm_rdu_bind_op){ .handle = bo[i],
						.va = va[i],
						.size = i < 2 ? PAGE : 2 * PAGE };
		ioctl(f->fd, DRM_IOCTL_RDU_VM_BIND, &bind);
		f->size[i] = create.size;
		f->handle[BO][i] = bo[i];
	}
	struct drm_rdu_bo_info info = { .handle = bo[0] };

	if (ioctl(f->fd, DRM_IOCTL_RDU_BO_INFO, &info) < 0)
		return;
	args = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, info.mmap_offset);
	if (args != MAP_FAILED) {
		args->num_regions = 2;
		for (int i = 0; i < 2; i++) {
			args->regions[i].addr = va[2 + i];
			args->regions[i].size = 2 * PAGE;
		}
		munmap(args, PAGE);
	}
	memcpy(data, image, image_size);
	load.data = (uintptr_t)data;
	if (ioctl(f->fd, DRM_IOCTL_RDU_PROG_LOAD, &load) >= 0)
		f->handle[PROG][0] = load.prog_id;
	ioctl(f->fd, DRM_IOCTL_RDU_CTX_DESTROY, &destroy);
	ctx.vm_id = vm.vm_id;
	if (ioctl(f->fd, DRM_IOCTL_RDU_CTX_CREATE, &ctx) >= 0)
		f->handle[CTX][0] = ctx.ctx_id;
}

void do_home(struct thread *t)
{
	make_home(t, some_file(t));
}

void do_reopen(struct thread *t)
{
	struct file *f = some_file(t);
	int fd = open_card();

	if (fd < 0)
		return;
	fd = atomic_exchange(&f->fd, fd);
	close(fd);
	make_home(t, f); /* the other handles are of nothing now */
}

/* Any request number, any bytes. */
void do_garbage(struct thread *t)
{
	struct file *f = some_file(t);
	uint64_t args[32];
	unsigned int nr = below(t, 3) ? DRM_COMMAND_BASE + below(t, 20) : below(t, 0xd4);
	unsigned int size = 8 * below(t, 33);

	for (unsigned int i = 0; i < 32; i++)
		args[i] = below(t, 2) ? boundary(t) & ~0u >> 20 : 0;
	/* The core allocates as much as arrays of syncobjs are said to have. */
	if (nr >= 0xbf && nr <= 0xcf)
		return;
	fuzz_ioctl(t, f->fd, _IOC(below(t, 4), 'd', nr, size), args, size);
}

/* What monitoring reads, while it changes. */
void do_watch(struct thread *t)
{
	static const char *const path[] = {
		"/proc/self/fdinfo/%d",
		"/sys/kernel/debug/accel/0/clients",
		"/sys/kernel/debug/accel/0/gem_names",
		"/sys/kernel/debug/dma_buf/bufinfo",
		"/sys/class/hwmon/hwmon0/temp1_input",
		"/proc/self/smaps",
		"/sys/class/devcoredump/devcd%d/data",
	};
	struct file *f = some_file(t);
	char name[80], *data = room(t, 4096);
	unsigned int which = below(t, sizeof(path) / sizeof(*path));
	int fd;

	snprintf(name, sizeof(name), path[which], which ? (int)below(t, 30) : f->fd);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	for (int i = 0; i < 8 && read(fd, data, 4096) > 0; i++)
		;
	close(fd);
}

/* The machine's owner: lets the card sleep, or not, and resets the function. */
void do_owner(struct thread *t)
{
	static const char *const order[][2] = {
		{ "power/control", "auto" },
		{ "power/control", "auto" },
		{ "power/control", "on" },
		{ "power/autosuspend_delay_ms", "0" },
		{ "power/autosuspend_delay_ms", "10" },
		{ "reset", "1" },
	};
	unsigned int which = below(t, sizeof(order) / sizeof(*order));

	shared->owner_orders += !card_order(order[which][0], order[which][1]);
}

void do_fork(struct thread *t)
{
	struct thread child = *t;
	bool die;
	int slot = below(t, 4), old;
	pid_t pid;

	child.rng = any(t);
	child.steps = 1 + below(t, 120);
	child.child = true;
	die = below(t, 2);
	pid = (fork)();
	if (pid < 0)
		return;
	if (!pid) {
		run_steps(&child);
		if (die)
			kill(getpid(), SIGKILL);
		_exit(0);
	}
	if (single) { /* the order of calls is the same every time */
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return;
	}
	/* An older one goes: most likely in the middle of something. */
	old = atomic_exchange(&world.pid[slot], pid);
	if (old) {
		kill(old, SIGKILL);
		while (waitpid(old, NULL, 0) < 0 && errno == EINTR)
			;
	}
}

void do_signal(struct thread *t)
{
	struct itimerval timer = { .it_interval.tv_usec = 2000 + below(t, 40000) };

	timer.it_value = timer.it_interval;
	setitimer(ITIMER_REAL, &timer, NULL);
	kill(getpid(), SIGUSR1);
}
