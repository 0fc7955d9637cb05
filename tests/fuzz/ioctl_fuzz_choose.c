// SPDX-License-Identifier: MIT
/* What the fuzzer of the driver's ioctls chooses, and how it spoils what is right. */
#define SELFTEST_PART
#include "ioctl_fuzz.h"

const unsigned int slots[HANDLES] = { 6, 20, 5, 5, 10 };

/* ---- choices ------------------------------------------------------------- */

uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

uint64_t any(struct thread *t)
{
	uint64_t x = mix(t->rng += 0x9e3779b97f4a7c15ULL);

	t->hash = (t->hash ^ x) * 0x100000001b3ULL;
	return x;
}

unsigned int below(struct thread *t, unsigned int n)
{
	unsigned int x = (any(t) >> 16) % n;

	t->hash = (t->hash ^ x ^ n) * 0x100000001b3ULL;
	return x;
}

unsigned int below_after(struct thread *t, unsigned int n)
{
	return (t->after = mix(t->after + 1)) % n;
}

bool one_in(struct thread *t, unsigned int n)
{
	return !below(t, n);
}

struct file *some_file(struct thread *t)
{
	return &world.files[below(t, FILES)];
}

unsigned int some_slot(struct thread *t, enum kind kind)
{
	/* The first ones are the busiest. */
	unsigned int n = slots[kind];

	return below(t, 2) ? below(t, n) : below(t, n / 3 + 1);
}

uint32_t some(struct thread *t, struct file *f, enum kind kind)
{
	unsigned int slot = some_slot(t, kind), i;

	if (one_in(t, 8)) /* perhaps gone, perhaps never there */
		return f->handle[kind][slot];
	for (i = 0; i < slots[kind] && !f->handle[kind][slot]; i++)
		slot = (slot + 1) % slots[kind];
	return f->handle[kind][slot];
}

/* It was closed; one in eight is kept, to be used when it is no more. */
void forget(struct thread *t, struct file *f, enum kind kind, uint32_t handle)
{
	if (below_after(t, 8))
		for (unsigned int i = 0; i < slots[kind]; i++)
			if (f->handle[kind][i] == handle)
				f->handle[kind][i] = 0;
}

int some_fd(struct thread *t, enum fd_kind kind)
{
	return world.fd[kind][below(t, FDS)];
}

void keep_fd(struct thread *t, enum fd_kind kind, int fd)
{
	unsigned int slot = below_after(t, FDS);

	if (fd < 0)
		return;
	fd = atomic_exchange(&world.fd[kind][slot], fd);
	if (fd >= 0)
		close(fd);
}

/* Few addresses, so that mappings meet; some at the ends of what there is. */
uint64_t some_va(struct thread *t)
{
	switch (below(t, 16)) {
	case 0:
		return (1ULL << RDU_VA_BITS) - PAGE * (1 + below(t, 4));
	case 1:
		return 0x200000 + PAGE * below(t, 4);
	case 2:
	case 3:
		return (uint64_t)(1 + below(t, 4)) << 30;
	case 4:
	case 5:
	case 6:
	case 7:
		return VA_BASE + ((uint64_t)below(t, 8) << 21);
	default:
		return VA_BASE + PAGE * below(t, 64);
	}
}

uint64_t some_size(struct thread *t)
{
	static const unsigned int pages[] = { 1, 1, 2, 3, 16, 17, 63, 511, 512, 513, 1024 };

	return PAGE * pages[below(t, sizeof(pages) / sizeof(*pages))];
}

/* Where do_home() maps a page of buffer, most of the time. */
uint64_t job_va(struct thread *t)
{
	static const uint64_t home[] = { VA_BASE + PAGE, VA_BASE + (1 << 20), VA_BASE + (2 << 20) };

	return one_in(t, 16) ? some_va(t) : home[below(t, 3)] + 64 * below(t, 8);
}

uint64_t boundary(struct thread *t)
{
	static const uint64_t value[] = {
		0,	    1,		2,	  3,	      7,	  8,	      63,
		64,	    65,		4095,	  4096,	      4097,	  1u << 20,   1u << 21,
		1u << 30,   ~0u >> 1,	1u << 31, ~0u,	      1ULL << 32, 1ULL << 47, 1ULL << 48,
		1ULL << 52, 1ULL << 63, ~0ULL,	  ~0ULL >> 1, ~4095ULL,	  ~7ULL,
	};

	return value[below(t, sizeof(value) / sizeof(*value))] + (one_in(t, 4) ? -1 : 0);
}

/* A pointer that is wrong in some way, or to a neighbour's memory. */
uint64_t bad_pointer(struct thread *t)
{
	uint64_t base = (uintptr_t)t->arena;

	switch (below(t, 10)) {
	case 0:
		return 0;
	case 1:
		return base + (below(t, 2) ? ARENA_NONE : ARENA_EDGE - 8 * below(t, 64));
	case 2:
		return base + ARENA_CONST;
	case 3:
		return base + ARENA_NONE - 1 - below(t, 64);
	case 4:
		return base + ARENA_CONST - 1 - below(t, 64);
	case 5:
		return 0xffff888000000000ULL + below(t, 1u << 30);
	case 6:
		return ~0ULL - below(t, 256);
	case 7:
		return (1ULL << 47) - below(t, 8192);
	case 8:
		return WINDOW + WINDOW_STEP * below(t, MAPS) + below(t, 8192);
	default: /* another thread's arguments */
		return ARENA + ARENA_STEP * below(t, MAX_THREADS) + ARENA_NONE - 8 * below(t, 64);
	}
}

/* ---- fields -------------------------------------------------------------- */

static void spoil_field(struct thread *t, struct file *f, unsigned char *p,
			const struct field *field)
{
	uint64_t value = 0;

	memcpy(&value, p + field->offset, field->size);
	switch (below(t, 6)) {
	case 0:
		value ^= 1ULL << below(t, field->size * 8);
		break;
	case 1:
		value = boundary(t);
		break;
	case 2:
		value += below(t, 2) ? 1 : -1;
		break;
	case 3:
		value = any(t);
		break;
	default:
		if (field->kind == PTR)
			value = bad_pointer(t);
		else if (field->kind < HANDLES) /* of another kind, file, or gone */
			value = some(t, below(t, 2) ? f : some_file(t), below(t, HANDLES));
		else if (field->kind == PADDING || field->kind == FLAGS)
			value ^= 1ULL << below(t, field->size * 8);
		else
			value = boundary(t);
	}
	memcpy(p + field->offset, &value, field->size);
}

/* Leaves all but one in `odds` as they are; some get one field spoiled, some a few. */
void spoil_one_in(struct thread *t, unsigned int odds, struct file *f, void *p,
		  const struct field *fields)
{
	unsigned int n = 0, times;

	if (below(t, odds))
		return;
	while (fields[n].size)
		n++;
	times = one_in(t, 4) ? 3 : 1;
	while (times--)
		spoil_field(t, f, p, &fields[below(t, n)]);
}

void spoil(struct thread *t, struct file *f, void *p, const struct field *fields)
{
	spoil_one_in(t, 3, f, p, fields);
}

/* ---- calls --------------------------------------------------------------- */

/* The end of the good memory: one byte more and there is nothing. */
void *at_edge(struct thread *t, size_t size)
{
	return t->arena + ARENA_GOOD - size;
}

/* For arrays: somewhere in the good memory, or up to an edge of their own. */
void *room(struct thread *t, size_t size)
{
	unsigned int at = below(t, (ARENA_GOOD - 0x1000 - size) / 8);

	return t->arena + (below(t, 3) ? 8 * at : ARENA_EDGE - size);
}

/*
 * The call itself: never made again. What the kernel wrote comes back in args,
 * if it was given a place where it could.
 */
int fuzz_ioctl(struct thread *t, int fd, unsigned long request, void *args, size_t size)
{
	unsigned int nr = _IOC_NR(request) - DRM_COMMAND_BASE;
	void *where = at_edge(t, size);
	int ret;

	if (one_in(t, 50)) {
		where = (void *)(uintptr_t)bad_pointer(t);
	} else {
		memcpy(where, args, size);
	}
	if (one_in(t, 100)) { /* user space of another age: shorter, longer, another way */
		unsigned int dir = _IOC_DIR(request), bytes = size;

		switch (below(t, 4)) {
		case 0:
			bytes = below(t, size + 1);
			break;
		case 1:
			bytes = size + 8 * below(t, 8);
			where = room(t, bytes);
			memcpy(where, args, size);
			break;
		case 2:
			dir = below(t, 4);
			break;
		default:
			bytes = below(t, 1u << 14);
		}
		request = _IOC(dir, 'd', _IOC_NR(request), bytes);
	}
	ret = ioctl(fd, request, where);
	shared->calls++;
	shared->good += ret >= 0;
	if (nr < 32) {
		shared->call_of[nr]++;
		shared->good_of[nr] += ret >= 0;
	}
	if (ret >= 0 && where == at_edge(t, size))
		memcpy(args, where, size);
	return ret;
}

void remember(struct thread *t, struct file *f, enum kind kind, uint32_t handle, uint64_t size)
{
	unsigned int slot = below_after(t, slots[kind]);
	struct drm_gem_close close_bo;
	uint32_t old;

	if (kind == BO)
		f->size[slot] = size;
	old = atomic_exchange(&f->handle[kind][slot], handle);
	if (!old || old == handle || below_after(t, 8))
		return;
	/* Else it stays open and unknown until the round ends. */
	if (kind == BO) {
		close_bo = (struct drm_gem_close){ .handle = old };
		ioctl(f->fd, DRM_IOCTL_GEM_CLOSE, &close_bo);
	}
}
