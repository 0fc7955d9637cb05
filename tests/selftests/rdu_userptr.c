// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Buffers of a process's own pages: what may be pinned, what it counts as. */
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "user.h"

#define OTHER (VA_BASE + (1ULL << 30))

static void *anonymous(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_TRUE(p != MAP_FAILED);
	return p;
}

static int userptr_flags(int fd, const void *p, size_t size, uint32_t flags, uint32_t *handle)
{
	struct drm_rdu_bo_create_userptr args = {
		.user_ptr = (uintptr_t)p, .size = size, .flags = flags,
	};
	int ret = call(fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &args);

	*handle = args.handle;
	return ret;
}

static int userptr(int fd, const void *p, size_t size, uint32_t *handle)
{
	return userptr_flags(fd, p, size, 0, handle);
}

/* Pages of a process that count as locked. */
static long locked(pid_t pid)
{
	char path[32], line[128];
	long kib = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	ASSERT_TRUE(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmLck: %ld kB", &kib) == 1)
			break;
	fclose(f);
	return kib < 0 ? kib : kib * 1024 / (long)PAGE;
}

/* The card, for one who may pin so many pages. */
static int limited_user(unsigned long pages)
{
	struct rlimit limit = { pages * PAGE, pages * PAGE };

	if (getuid())
		SKIP("not root");
	ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	return become_user(USER_VICTIM);
}

/* A file with a VM and a context for copies, and userptr buffers bound at OTHER. */
struct pinner {
	int fd;
	uint32_t vm, ctx;
	struct buffer b;
};

static struct pinner pinner_create(int fd, size_t size)
{
	struct pinner p = { .fd = fd };

	p.vm = vm_create(fd);
	p.ctx = ctx_create(fd, p.vm, 0);
	p.b = buffer_create(fd, p.vm, VA_BASE, size, DRM_RDU_PLACEMENT_DEVICE);
	return p;
}

/* The card writes value to the whole buffer. */
static void card_writes(struct pinner *p, uint32_t handle, size_t size, uint32_t value)
{
	ASSERT_EQ(vm_map(p->fd, p->vm, handle, 0, OTHER, size, 0), 0);
	ASSERT_EQ(run_job(p->fd, p->ctx, job_fill(OTHER, size, value)), 1);
}

/* What the card reads in the buffer's first word. */
static uint32_t card_reads(struct pinner *p, uint32_t handle, uint32_t flags)
{
	ASSERT_EQ(vm_map(p->fd, p->vm, handle, 0, OTHER, PAGE, flags), 0);
	ASSERT_EQ(run_job(p->fd, p->ctx, job_copy(VA_BASE, OTHER, PAGE)), 1);
	return *(volatile uint32_t *)p->b.map;
}

TEST(errors)
{
	struct drm_rdu_bo_create_userptr args = { .user_ptr = PAGE, .size = PAGE };
	struct drm_rdu_bo_info info;
	struct drm_prime_handle prime;
	int fd = card_open();
	char *memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);

	if (!(card_info(fd).features & DRM_RDU_FEATURE_USERPTR)) {
		EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &args), -EOPNOTSUPP);
		SKIP("no userptr");
	}
	args.user_ptr = (uintptr_t)memory;
	EXPECT_RESERVED(fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, args, flags,
			DRM_RDU_USERPTR_READONLY);
	args.size = 100;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &args), -EINVAL);
	args.size = 0;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &args), -EINVAL);
	args.size = ~0ULL - PAGE + 1;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &args), -EINVAL);
	args.size = PAGE;
	args.user_ptr = (uintptr_t)memory + 8;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &args), -EINVAL);
	args.user_ptr = 0xffff888000000000ULL; /* the kernel's */
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &args), -EFAULT);
	args.user_ptr = (uintptr_t)bad_page();
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &args), -EFAULT);
	/* The second half is missing. */
	munmap(memory + 2 * PAGE, 2 * PAGE);
	args.user_ptr = (uintptr_t)memory;
	args.size = 4 * PAGE;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &args), -EFAULT);
	/* Not mappable, not exportable. */
	args.size = 2 * PAGE;
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &args), 0);
	info = (struct drm_rdu_bo_info){ .handle = args.handle };
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_INFO, &info), 0);
	EXPECT_EQ(info.mmap_offset, 0);
	EXPECT_EQ(info.flags, DRM_RDU_BO_USERPTR);
	EXPECT_EQ(info.placement, DRM_RDU_PLACEMENT_SYSTEM);
	prime = (struct drm_prime_handle){ .handle = args.handle, .flags = O_RDWR };
	EXPECT_EQ(call(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime), -EPERM);
}

TEST(copy)
{
	size_t size = 4 << 20;
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0);
	struct buffer b = buffer_create(fd, vm, VA_BASE, size, DRM_RDU_PLACEMENT_DEVICE);
	uint32_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				-1, 0), *map = b.map;
	struct drm_rdu_bo_create_userptr args = { .user_ptr = (uintptr_t)memory, .size = size };

	for (size_t i = 0; i < size / 4; i++)
		memory[i] = i;
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &args), 0);
	ASSERT_EQ(vm_map(fd, vm, args.handle, 0, OTHER, size, 0), 0);
	ASSERT_EQ(run_job(fd, ctx, job_copy(VA_BASE, OTHER, size)), 1);
	EXPECT_EQ(map[size / 4 - 1], size / 4 - 1);
	ASSERT_EQ(run_job(fd, ctx, job_fill(OTHER, size, 7)), 1);
	EXPECT_EQ(memory[0], 7);
	EXPECT_EQ(memory[size / 4 - 1], 7);
	/* Read only is read only. */
	args.flags = DRM_RDU_USERPTR_READONLY;
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_BO_CREATE_USERPTR, &args), 0);
	EXPECT_EQ(vm_map(fd, vm, args.handle, 0, VA_BASE + (2ULL << 30), size, 0), -EACCES);
	ASSERT_EQ(vm_map(fd, vm, args.handle, 0, VA_BASE + (2ULL << 30), size,
			 DRM_RDU_BIND_READONLY), 0);
	ASSERT_EQ(run_job(fd, ctx, job_copy(VA_BASE, VA_BASE + (2ULL << 30), size)), 1);
	EXPECT_EQ(map[5], 7);
	EXPECT_EQ(run_job(fd, ctx, job_fill(VA_BASE + (2ULL << 30), 4, 8)), -EIO);
	/* The process's mapping may go first. */
	munmap(memory, size);
}

/* To the page, with what is locked otherwise, and given back. */
TEST(limit)
{
	int fd = limited_user(8);
	char *memory = anonymous(16 * PAGE);
	uint32_t a, b, c;

	ASSERT_EQ(locked(getpid()), 0);
	EXPECT_EQ(userptr(fd, memory, 9 * PAGE, &a), -ENOMEM);
	EXPECT_EQ(locked(getpid()), 0);
	for (int i = 0; i < 5; i++) {
		ASSERT_EQ(userptr(fd, memory, 8 * PAGE, &a), 0);
		EXPECT_EQ(locked(getpid()), 8);
		EXPECT_EQ(userptr(fd, memory + 8 * PAGE, PAGE, &b), -ENOMEM);
		EXPECT_EQ(userptr(fd, memory, PAGE, &b), -ENOMEM);
		EXPECT_EQ(locked(getpid()), 8);
		ASSERT_EQ(bo_close(fd, a), 0);
		EXPECT_EQ(locked(getpid()), 0);
	}
	/* Twice the same page is two; what mlock() has counts too. */
	ASSERT_EQ(mlock(memory, 3 * PAGE), 0);
	EXPECT_EQ(userptr(fd, memory, 6 * PAGE, &a), -ENOMEM);
	ASSERT_EQ(userptr(fd, memory, 3 * PAGE, &a), 0);
	ASSERT_EQ(userptr_flags(fd, memory, 2 * PAGE, DRM_RDU_USERPTR_READONLY, &b), 0);
	EXPECT_EQ(userptr(fd, memory, PAGE, &c), -ENOMEM);
	EXPECT_NE(mlock(memory + 8 * PAGE, PAGE), 0);
	ASSERT_EQ(munlock(memory, 3 * PAGE), 0);
	ASSERT_EQ(userptr(fd, memory, 3 * PAGE, &c), 0);
	/* The buffer counts until the last that uses it is gone. */
	struct pinner p = pinner_create(fd, PAGE);

	ASSERT_EQ(vm_map(fd, p.vm, a, 0, OTHER, 3 * PAGE, 0), 0);
	EXPECT_EQ(bo_close(fd, a), 0);
	EXPECT_EQ(bo_close(fd, b), 0);
	EXPECT_EQ(bo_close(fd, c), 0);
	munmap(memory, 16 * PAGE);
	EXPECT_EQ(locked(getpid()), 3);
	ASSERT_EQ(vm_unmap(fd, p.vm, OTHER, 3 * PAGE), 0);
	EXPECT_EQ(locked(getpid()), 0);
}

/* What could not be made has not been counted. */
TEST(limit_after_failure)
{
	int fd = limited_user(8);
	char *memory = anonymous(8 * PAGE);
	uint32_t a;

	munmap(memory + 5 * PAGE, PAGE);
	for (int i = 0; i < 20; i++) {
		EXPECT_EQ(userptr(fd, memory, 8 * PAGE, &a), -EFAULT);
		EXPECT_EQ(locked(getpid()), 0);
	}
	EXPECT_EQ(userptr(fd, anonymous(8 * PAGE), 8 * PAGE, &a), 0);
	EXPECT_EQ(locked(getpid()), 8);
}

TEST(limit_lifted)
{
	struct rlimit none = { 0, 0 };
	int fd = card_open();
	uint32_t a;

	if (getuid())
		SKIP("not root");
	ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &none), 0);
	EXPECT_EQ(userptr(fd, anonymous(PAGE), PAGE, &a), 0); /* CAP_IPC_LOCK */
	EXPECT_EQ(locked(getpid()), 1);
	fd = become_user(USER_VICTIM);
	EXPECT_EQ(userptr(fd, anonymous(PAGE), PAGE, &a), -ENOMEM);
}

/*
 * The limit is a process's, as for mlock(). A child starts with nothing; what it
 * adds to a file that it shares is its own, and is not the parent's after it died.
 */
TEST(limit_per_process)
{
	int fd = limited_user(8), report[2], status;
	uint32_t mine, theirs, more;
	struct pinner p = pinner_create(fd, PAGE);
	pid_t pid;

	ASSERT_EQ(userptr(fd, anonymous(8 * PAGE), 8 * PAGE, &mine), 0);
	ASSERT_EQ(pipe(report), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		EXPECT_EQ(locked(getpid()), 0);
		ASSERT_EQ(userptr(fd, anonymous(8 * PAGE), 8 * PAGE, &theirs), 0);
		EXPECT_EQ(locked(getpid()), 8);
		EXPECT_EQ(locked(getppid()), 8);
		EXPECT_EQ(userptr(fd, anonymous(PAGE), PAGE, &more), -ENOMEM);
		ASSERT_EQ(write(report[1], &theirs, sizeof(theirs)), (ssize_t)sizeof(theirs));
		_exit(test_status);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
	ASSERT_EQ(read(report[0], &theirs, sizeof(theirs)), (ssize_t)sizeof(theirs));
	/* The dead one's pages are still the card's. */
	card_writes(&p, theirs, 8 * PAGE, 0x11);
	EXPECT_EQ(card_reads(&p, theirs, 0), 0x11);
	EXPECT_EQ(locked(getpid()), 8);
	EXPECT_EQ(bo_close(fd, theirs), 0);
	ASSERT_EQ(vm_unmap(fd, p.vm, OTHER, 8 * PAGE), 0);
	EXPECT_EQ(locked(getpid()), 8);
	/* And the child may give back what the parent pinned. */
	pid = fork();
	if (!pid) {
		EXPECT_EQ(bo_close(fd, mine), 0);
		_exit(test_status);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
	EXPECT_EQ(locked(getpid()), 0);
}

/* The process becomes another program; the buffer, in a file kept open, stays. */
TEST(exec)
{
	int fd = card_open(), report[2], status;
	struct pinner p = pinner_create(fd, PAGE);
	uint32_t theirs;
	pid_t pid;

	ASSERT_EQ(pipe2(report, O_CLOEXEC), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		ASSERT_EQ(userptr(fd, anonymous(4 * PAGE), 4 * PAGE, &theirs), 0);
		ASSERT_EQ(write(report[1], &theirs, sizeof(theirs)), (ssize_t)sizeof(theirs));
		fcntl(fd, F_SETFD, 0);
		execlp("sleep", "sleep", "1000", NULL);
		_exit(127);
	}
	close(report[1]);
	ASSERT_EQ(read(report[0], &theirs, sizeof(theirs)), (ssize_t)sizeof(theirs));
	ASSERT_EQ(read(report[0], &status, 1), 0); /* closed by exec */
	EXPECT_EQ(locked(pid), 0);
	card_writes(&p, theirs, 4 * PAGE, 0x22);
	EXPECT_EQ(card_reads(&p, theirs, 0), 0x22);
	EXPECT_EQ(bo_close(fd, theirs), 0);
	ASSERT_EQ(vm_unmap(fd, p.vm, OTHER, 4 * PAGE), 0);
	EXPECT_EQ(locked(pid), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* After fork() the card's pages are the parent's; the child gets copies. */
TEST(fork_copies)
{
	int fd = card_open(), status;
	struct pinner p = pinner_create(fd, PAGE);
	volatile uint32_t *memory = anonymous(2 * PAGE);
	uint32_t mine, theirs;
	pid_t pid;

	memory[0] = 1;
	memory[PAGE / 4] = 2;
	ASSERT_EQ(userptr(fd, (void *)memory, PAGE, &mine), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		EXPECT_EQ(memory[0], 1);
		memory[0] = 3;
		EXPECT_EQ(card_reads(&p, mine, 0), 1);
		card_writes(&p, mine, PAGE, 4);
		EXPECT_EQ(memory[0], 3);
		/* A page that both still share: pinned by the child, it is the child's. */
		ASSERT_EQ(userptr(fd, (char *)memory + PAGE, PAGE, &theirs), 0);
		card_writes(&p, theirs, PAGE, 5);
		EXPECT_EQ(memory[PAGE / 4], 5);
		_exit(test_status);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	ASSERT_EQ(status, 0);
	EXPECT_EQ(memory[0], 4);
	EXPECT_EQ(memory[PAGE / 4], 2);
	memory[0] = 6;
	EXPECT_EQ(card_reads(&p, mine, 0), 6);
}

/* Only reading does not mean reading a page that is about to be copied away. */
TEST(read_only_stays_true)
{
	int fd = card_open(), file;
	struct pinner p = pinner_create(fd, PAGE);
	volatile uint32_t *fresh = anonymous(PAGE), *copy;
	uint32_t bo, value = 7;

	ASSERT_EQ(userptr_flags(fd, (void *)fresh, PAGE, DRM_RDU_USERPTR_READONLY, &bo), 0);
	EXPECT_EQ(card_reads(&p, bo, DRM_RDU_BIND_READONLY), 0);
	fresh[0] = 1;
	EXPECT_EQ(card_reads(&p, bo, DRM_RDU_BIND_READONLY), 1);
	/* The same with a private copy of a file. */
	file = memfd_create("rdu", MFD_CLOEXEC);
	ASSERT_EQ(ftruncate(file, PAGE), 0);
	ASSERT_EQ(pwrite(file, &value, sizeof(value), 0), (ssize_t)sizeof(value));
	copy = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	ASSERT_TRUE(copy != MAP_FAILED);
	ASSERT_EQ(userptr_flags(fd, (void *)copy, PAGE, DRM_RDU_USERPTR_READONLY, &bo), 0);
	EXPECT_EQ(card_reads(&p, bo, DRM_RDU_BIND_READONLY), 7);
	copy[0] = 8;
	EXPECT_EQ(card_reads(&p, bo, DRM_RDU_BIND_READONLY), 8);
	ASSERT_EQ(pread(file, &value, sizeof(value), 0), (ssize_t)sizeof(value));
	EXPECT_EQ(value, 7);
}

TEST(read_only_mapping)
{
	int fd = card_open();
	char *memory = anonymous(PAGE);
	uint32_t bo;

	memset(memory, 1, PAGE);
	ASSERT_EQ(mprotect(memory, PAGE, PROT_READ), 0);
	EXPECT_EQ(userptr(fd, memory, PAGE, &bo), -EFAULT);
	EXPECT_EQ(userptr_flags(fd, memory, PAGE, DRM_RDU_USERPTR_READONLY, &bo), 0);
	ASSERT_EQ(mprotect(memory, PAGE, PROT_NONE), 0);
	EXPECT_EQ(userptr_flags(fd, memory, PAGE, DRM_RDU_USERPTR_READONLY, &bo), -EFAULT);
	ASSERT_EQ(mprotect(memory, PAGE, PROT_WRITE), 0);
	EXPECT_EQ(userptr(fd, memory, PAGE, &bo), 0);
}

/* Pages of a shared file: those that no disk has to be told of changes, only. */
TEST(files)
{
	char path[] = "rdu-userptr.XXXXXX";
	int fd = card_open(), file = mkstemp(path);
	struct pinner p = pinner_create(fd, PAGE);
	char *shared, *copy;
	struct statfs fs;
	uint32_t bo, word;

	if (file < 0)
		SKIP("can't make a file here");
	EXPECT_EQ(ftruncate(file, 4 * PAGE), 0);
	EXPECT_EQ(fstatfs(file, &fs), 0);
	unlink(path);
	shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	copy = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	if (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC || shared == MAP_FAILED ||
	    copy == MAP_FAILED)
		SKIP("no file of a disk here");
	EXPECT_EQ(userptr(fd, shared, 4 * PAGE, &bo), -EFAULT);
	memset(shared, 1, PAGE); /* the same with the page in place */
	EXPECT_EQ(userptr(fd, shared, PAGE, &bo), -EFAULT);
	ASSERT_EQ(userptr_flags(fd, shared, PAGE, DRM_RDU_USERPTR_READONLY, &bo), 0);
	EXPECT_EQ(card_reads(&p, bo, DRM_RDU_BIND_READONLY), 0x01010101);
	ASSERT_EQ(userptr(fd, copy, PAGE, &bo), 0);
	card_writes(&p, bo, PAGE, 2);
	EXPECT_EQ(*(uint32_t *)copy, 2);
	EXPECT_EQ(*(uint32_t *)shared, 0x01010101);

	file = memfd_create("rdu", MFD_CLOEXEC);
	ASSERT_EQ(ftruncate(file, 4 * PAGE), 0);
	shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	ASSERT_EQ(userptr(fd, shared, 4 * PAGE, &bo), 0);
	card_writes(&p, bo, 4 * PAGE, 3);
	ASSERT_EQ(pread(file, &word, sizeof(word), 3 * PAGE), (ssize_t)sizeof(word));
	EXPECT_EQ(word, 3);
	/* The file gets shorter: the pages are nobody's but the card's. */
	ASSERT_EQ(ftruncate(file, 0), 0);
	card_writes(&p, bo, 4 * PAGE, 4);
	ASSERT_EQ(ftruncate(file, 4 * PAGE), 0);
	ASSERT_EQ(pread(file, &word, sizeof(word), 3 * PAGE), (ssize_t)sizeof(word));
	EXPECT_EQ(word, 0);
	ASSERT_EQ(ftruncate(file, 2 * PAGE), 0);
	EXPECT_EQ(userptr(fd, shared, 4 * PAGE, &bo), -EFAULT); /* beyond its end */
}

/* Memory that is not ordinary: a device's, the kernel's own, a secret. */
TEST(special_memory)
{
	int fd = card_open(), secret;
	char *map, line[256];
	uint32_t bo;
	FILE *maps;

	for (uint32_t placement = 0; placement < 2; placement++) {
		map = bo_map(fd, bo_create(fd, PAGE, placement), PAGE);
		memset(map, 1, PAGE);
		EXPECT_EQ(userptr(fd, map, PAGE, &bo), -EFAULT);
		EXPECT_EQ(userptr_flags(fd, map, PAGE, DRM_RDU_USERPTR_READONLY, &bo), -EFAULT);
	}
	maps = fopen("/proc/self/maps", "r");
	ASSERT_TRUE(maps);
	while (fgets(line, sizeof(line), maps))
		if (strstr(line, "[vvar")) {
			map = (char *)strtoul(line, NULL, 16);
			/* Newer kernels have pages there that may be pinned, to be read. */
			EXPECT_EQ(userptr(fd, map, PAGE, &bo), -EFAULT);
		}
	fclose(maps);
	secret = syscall(SYS_memfd_secret, 0);
	if (secret >= 0) {
		ASSERT_EQ(ftruncate(secret, PAGE), 0);
		map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, secret, 0);
		ASSERT_TRUE(map != MAP_FAILED);
		memset(map, 1, PAGE);
		EXPECT_EQ(userptr(fd, map, PAGE, &bo), -EFAULT);
		EXPECT_EQ(userptr_flags(fd, map, PAGE, DRM_RDU_USERPTR_READONLY, &bo), -EFAULT);
	}
}

/* The mapping goes, or gets other pages: the card keeps those it was given. */
TEST(unmapped_while_bound)
{
	int fd = card_open();
	struct pinner p = pinner_create(fd, PAGE);
	volatile uint32_t *memory = anonymous(2 * PAGE);
	uint32_t bo;

	memory[0] = 1;
	ASSERT_EQ(userptr(fd, (void *)memory, 2 * PAGE, &bo), 0);
	ASSERT_EQ(madvise((void *)memory, PAGE, MADV_DONTNEED), 0);
	EXPECT_EQ(memory[0], 0);
	EXPECT_EQ(card_reads(&p, bo, 0), 1);
	card_writes(&p, bo, 2 * PAGE, 2);
	EXPECT_EQ(memory[0], 0);
	EXPECT_EQ(memory[PAGE / 4], 2);
	munmap((void *)memory, 2 * PAGE);
	card_writes(&p, bo, 2 * PAGE, 3);
	memory = mmap((void *)memory, 2 * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	ASSERT_TRUE(memory != MAP_FAILED);
	EXPECT_EQ(memory[0], 0);
	EXPECT_EQ(memory[PAGE / 4], 0);
	EXPECT_EQ(card_reads(&p, bo, 0), 3);
}

static void huge(char *memory, size_t size)
{
	int fd = card_open();
	struct pinner p = pinner_create(fd, PAGE);
	uint32_t all, part;

	memset(memory, 1, size);
	ASSERT_EQ(userptr(fd, memory, size, &all), 0);
	EXPECT_EQ(locked(getpid()), size / PAGE);
	/* From the middle of one to the middle of the next. */
	ASSERT_EQ(userptr(fd, memory + (1 << 20) + PAGE, 2 << 20, &part), 0);
	card_writes(&p, all, size, 2);
	EXPECT_EQ(*(uint32_t *)memory, 2);
	EXPECT_EQ(*(uint32_t *)(memory + size - 4), 2);
	card_writes(&p, part, 2 << 20, 3);
	EXPECT_EQ(*(uint32_t *)(memory + (1 << 20) + PAGE - 4), 2);
	EXPECT_EQ(*(uint32_t *)(memory + (1 << 20) + PAGE), 3);
	EXPECT_EQ(*(uint32_t *)(memory + (3 << 20) + PAGE - 4), 3);
	EXPECT_EQ(*(uint32_t *)(memory + (3 << 20) + PAGE), 2);
	EXPECT_EQ(bo_close(fd, all), 0);
	ASSERT_EQ(vm_unmap(fd, p.vm, OTHER, size), 0);
	EXPECT_EQ(bo_close(fd, part), 0);
	EXPECT_EQ(locked(getpid()), 0);
}

TEST(huge_pages)
{
	size_t size = 8 << 20;
	char *memory = anonymous(size + (2 << 20));

	memory = (char *)(((uintptr_t)memory + (2 << 20) - 1) & ~((2UL << 20) - 1));
	if (madvise(memory, size, MADV_HUGEPAGE))
		SKIP("no transparent huge pages");
	huge(memory, size);
	/* Cut in two after it was pinned. */
	munmap(memory + PAGE, PAGE);
	huge(memory + (2 << 20), size - (2 << 20));
}

TEST(hugetlb)
{
	size_t size = 4 << 20;
	char *memory;

	if (sys_write("/proc/sys/vm/nr_hugepages", "2"))
		SKIP("no hugetlb pages");
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (memory == MAP_FAILED)
		SKIP("no memory for hugetlb pages");
	huge(memory, size);
	munmap(memory, size);
	sys_write("/proc/sys/vm/nr_hugepages", "0");
}
