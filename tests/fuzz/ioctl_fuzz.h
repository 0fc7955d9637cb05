/* SPDX-License-Identifier: MIT */
/*
 * The parts of rdu_ioctl_fuzz: what is chosen (ioctl_fuzz_choose.c), the driver's
 * calls (ioctl_fuzz_card.c), those of the DRM core, of memory and of processes
 * (ioctl_fuzz_core.c).
 */
#ifndef RDU_IOCTL_FUZZ_H
#define RDU_IOCTL_FUZZ_H

#include <stdatomic.h>
#include <stddef.h>

#include "rdu/program.h"
#include "rdu/regs.h"
#include "tests/selftests/card.h"

/* Memory at fixed addresses, so that pointers are the same in every run. */
#define ARENA 0x100000000000ULL /* + thread: what ioctls are given */
#define ARENA_STEP 0x1000000ULL
#define ARENA_GOOD 0x40000ULL /* read and write; then a page of each: */
#define ARENA_NONE ARENA_GOOD /* PROT_NONE */
#define ARENA_CONST (ARENA_GOOD + PAGE) /* PROT_READ */
#define ARENA_EDGE 0x80000ULL /* again PROT_NONE: arrays end here */
#define ARENA_USER 0x100000ULL /* given as user pointers */
#define ARENA_USER_SIZE 0x100000ULL
#define WINDOW 0x110000000000ULL /* + map slot: mmap() of buffers */
#define WINDOW_STEP 0x4000000ULL

#define MAX_THREADS 16
#define FILES 3
#define MAPS 12
#define FDS 10
#define ROUND_STEPS 1500

enum kind { VM, BO, CTX, PROG, SYNC, HANDLES, NUM = HANDLES, FLAGS, PTR, PADDING };
extern const unsigned int slots[HANDLES];
#define MAX_SLOTS 20

struct file {
	_Atomic int fd;
	_Atomic uint32_t handle[HANDLES][MAX_SLOTS];
	_Atomic uint64_t size[MAX_SLOTS]; /* of buffers */
};

enum fd_kind { FD_DMABUF, FD_SYNC, FD_PERF, FD_KINDS };

/* What the threads of a process race on. */
extern struct world {
	struct file files[FILES];
	_Atomic int fd[FD_KINDS][FDS];
	_Atomic uint64_t map_size[MAPS];
	_Atomic int children;
	_Atomic int pid[4];
} world;

/* What all processes of a run count. */
extern struct shared {
	_Atomic uint64_t calls, good, hash;
	_Atomic uint64_t call_of[32], good_of[32]; /* the driver's, by number */
	_Atomic uint64_t owner_orders, faults, binds; /* that were taken */
	_Atomic bool ended;
} * shared;

extern unsigned char *image; /* a program */
extern size_t image_size;
extern bool single; /* one thread: the order of calls is the same every time */

struct thread {
	unsigned int number;
	uint64_t rng, hash; /* of what is chosen */
	uint64_t after; /* what is chosen after a call that may fail: not in the hash */
	unsigned char *arena;
	unsigned int steps;
	bool child;
};

/* What a step may be, and how often. */
#define FUZZ_ACTIONS(X)      \
	X(query, 5)          \
	X(vm_create, 3)      \
	X(vm_destroy, 1)     \
	X(vm_bind, 14)       \
	X(bo_create, 9)      \
	X(userptr, 4)        \
	X(bo_info, 2)        \
	X(gem_close, 5)      \
	X(ctx_create, 10)    \
	X(ctx_destroy, 2)    \
	X(ctx_state, 3)      \
	X(prog_load, 4)      \
	X(prog_unload, 2)    \
	X(submit, 20)        \
	X(perf_open, 2)      \
	X(perf_read, 2)      \
	X(sync_create, 4)    \
	X(sync_destroy, 1)   \
	X(sync_wait, 4)      \
	X(sync_array, 3)     \
	X(sync_share, 3)     \
	X(prime_export, 3)   \
	X(prime_import, 3)   \
	X(foreign_buffer, 2) \
	X(dmabuf, 3)         \
	X(mmap, 5)           \
	X(remap, 3)          \
	X(touch, 5)          \
	X(reopen, 1)         \
	X(home, 10)          \
	X(garbage, 3)        \
	X(watch, 1)          \
	X(owner, 1)          \
	X(fork, 1)           \
	X(signal, 1)

#define DECLARE_ACTION(name, weight) void do_##name(struct thread *t);
FUZZ_ACTIONS(DECLARE_ACTION)
#undef DECLARE_ACTION

struct field {
	unsigned short offset, size;
	enum kind kind;
};

#define F(type, name, kind)                                                         \
	{                                                                           \
		offsetof(struct type, name), sizeof(((struct type *)0)->name), kind \
	}
#define FIELDS(name, ...) static const struct field name[] = { __VA_ARGS__, { 0, 0, 0 } }

/* ioctl_fuzz_choose.c */
uint64_t mix(uint64_t x);
uint64_t any(struct thread *t);
unsigned int below(struct thread *t, unsigned int n);
unsigned int below_after(struct thread *t, unsigned int n);
bool one_in(struct thread *t, unsigned int n);
struct file *some_file(struct thread *t);
unsigned int some_slot(struct thread *t, enum kind kind);
uint32_t some(struct thread *t, struct file *f, enum kind kind);
void forget(struct thread *t, struct file *f, enum kind kind, uint32_t handle);
int some_fd(struct thread *t, enum fd_kind kind);
void keep_fd(struct thread *t, enum fd_kind kind, int fd);
uint64_t some_va(struct thread *t);
uint64_t some_size(struct thread *t);
uint64_t job_va(struct thread *t);
uint64_t boundary(struct thread *t);
uint64_t bad_pointer(struct thread *t);
void spoil_one_in(struct thread *t, unsigned int odds, struct file *f, void *p,
		  const struct field *fields);
void spoil(struct thread *t, struct file *f, void *p, const struct field *fields);
void *at_edge(struct thread *t, size_t size);
void *room(struct thread *t, size_t size);
int fuzz_ioctl(struct thread *t, int fd, unsigned long request, void *args, size_t size);
void remember(struct thread *t, struct file *f, enum kind kind, uint32_t handle, uint64_t size);

#define CALL(t, f, request, args) fuzz_ioctl(t, (f)->fd, request, &(args), sizeof(args))

int open_card(void);
int card_order(const char *file, const char *text);
void run_steps(struct thread *t);

#endif
