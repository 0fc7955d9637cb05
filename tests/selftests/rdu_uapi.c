// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What every ioctl refuses, from tables: each reserved bit by itself in a call
 * that is good without it, counts, strides, ranges that wrap, bad pointers.
 */
#include <stddef.h>

#include "card.h"
#include "rdu/program.h"
#include "uapi_form.h" /* what never changes, checked as this is compiled */

union arg {
	struct drm_rdu_dev_query dev_query;
	struct drm_rdu_vm_create vm_create;
	struct drm_rdu_vm_destroy vm_destroy;
	struct drm_rdu_vm_bind vm_bind;
	struct drm_rdu_bo_create bo_create;
	struct drm_rdu_bo_create_userptr bo_create_userptr;
	struct drm_rdu_bo_info bo_info;
	struct drm_rdu_ctx_create ctx_create;
	struct drm_rdu_ctx_destroy ctx_destroy;
	struct drm_rdu_ctx_get_state ctx_get_state;
	struct drm_rdu_prog_load prog_load;
	struct drm_rdu_prog_unload prog_unload;
	struct drm_rdu_submit submit;
	struct drm_rdu_perf_open perf_open;
	unsigned char bytes[128];
};

enum { QUERY, VM_CREATE, VM_DESTROY, VM_BIND, BO_CREATE, BO_CREATE_USERPTR, BO_INFO, CTX_CREATE,
       CTX_DESTROY, CTX_GET_STATE, PROG_LOAD, PROG_UNLOAD, SUBMIT, PERF_OPEN, NUM_IOCTLS };

#define OUT (1ULL << 63) /* no input: whatever is in it */

/* known: bits that have a meaning, or OUT. */
struct field {
	const char *name;
	size_t offset, size;
	uint64_t known;
};

#define FIELD(type, member, known)                                             \
	{ #member, offsetof(struct drm_rdu_##type, member),                    \
	  sizeof(((struct drm_rdu_##type *)0)->member), known }

static const struct ioctl {
	const char *name;
	unsigned long request;
	struct field fields[10];
} ioctls[NUM_IOCTLS] = {
	[QUERY] = { "DEV_QUERY", DRM_IOCTL_RDU_DEV_QUERY, { FIELD(dev_query, type, 7) } },
	[VM_CREATE] = { "VM_CREATE", DRM_IOCTL_RDU_VM_CREATE,
		{ FIELD(vm_create, flags, 0), FIELD(vm_create, vm_id, OUT) } },
	[VM_DESTROY] = { "VM_DESTROY", DRM_IOCTL_RDU_VM_DESTROY, { FIELD(vm_destroy, pad, 0) } },
	[VM_BIND] = { "VM_BIND", DRM_IOCTL_RDU_VM_BIND,
		{ FIELD(vm_bind, flags, 0), FIELD(vm_bind, pad, 0),
		  FIELD(vm_bind, failed_op, OUT) } },
	[BO_CREATE] = { "BO_CREATE", DRM_IOCTL_RDU_BO_CREATE,
		{ FIELD(bo_create, placement, 1), FIELD(bo_create, flags, 0),
		  FIELD(bo_create, handle, OUT) } },
	[BO_CREATE_USERPTR] = { "BO_CREATE_USERPTR", DRM_IOCTL_RDU_BO_CREATE_USERPTR,
		{ FIELD(bo_create_userptr, flags, DRM_RDU_USERPTR_READONLY),
		  FIELD(bo_create_userptr, handle, OUT) } },
	[BO_INFO] = { "BO_INFO", DRM_IOCTL_RDU_BO_INFO,
		{ FIELD(bo_info, pad, 0), FIELD(bo_info, size, OUT),
		  FIELD(bo_info, mmap_offset, OUT), FIELD(bo_info, placement, OUT),
		  FIELD(bo_info, flags, OUT) } },
	[CTX_CREATE] = { "CTX_CREATE", DRM_IOCTL_RDU_CTX_CREATE,
		{ FIELD(ctx_create, flags, 0), FIELD(ctx_create, ctx_id, OUT),
		  FIELD(ctx_create, tile_mask, OUT) } },
	[CTX_DESTROY] = { "CTX_DESTROY", DRM_IOCTL_RDU_CTX_DESTROY,
		{ FIELD(ctx_destroy, pad, 0) } },
	[CTX_GET_STATE] = { "CTX_GET_STATE", DRM_IOCTL_RDU_CTX_GET_STATE,
		{ FIELD(ctx_get_state, pad, 0), FIELD(ctx_get_state, state, OUT),
		  FIELD(ctx_get_state, fault_code, OUT), FIELD(ctx_get_state, va, OUT),
		  FIELD(ctx_get_state, fault_seqno, OUT), FIELD(ctx_get_state, fault_job, OUT),
		  FIELD(ctx_get_state, submitted, OUT), FIELD(ctx_get_state, completed, OUT) } },
	[PROG_LOAD] = { "PROG_LOAD", DRM_IOCTL_RDU_PROG_LOAD,
		{ FIELD(prog_load, flags, 0), FIELD(prog_load, prog_id, OUT),
		  FIELD(prog_load, error, OUT), FIELD(prog_load, error_section, OUT),
		  FIELD(prog_load, error_offset, OUT) } },
	[PROG_UNLOAD] = { "PROG_UNLOAD", DRM_IOCTL_RDU_PROG_UNLOAD,
		{ FIELD(prog_unload, pad, 0) } },
	[SUBMIT] = { "SUBMIT", DRM_IOCTL_RDU_SUBMIT,
		{ FIELD(submit, flags, 0), FIELD(submit, seqno, OUT) } },
	[PERF_OPEN] = { "PERF_OPEN", DRM_IOCTL_RDU_PERF_OPEN,
		{ FIELD(perf_open, flags, 0), FIELD(perf_open, pad, 0),
		  FIELD(perf_open, fd, OUT) } },
};

/* A program of no steps: the card takes it, and no builder is needed. */
struct image {
	struct rdu_prog_header header;
	struct rdu_prog_entry entry;
};

static int fd;
static uint32_t vm, ctx, bo, prog;
static struct drm_rdu_bind_op ops[2];
static struct drm_rdu_job jobs[2];
static struct drm_rdu_sync syncs[2];
static struct image image;
static char *user; /* two pages, then one that can't be accessed */

static struct drm_rdu_prog_load prog_arg(void)
{
	return (struct drm_rdu_prog_load){ .data = (uintptr_t)&image, .size = sizeof(image) };
}

static void start(void)
{
	struct drm_rdu_prog_load load;
	struct drm_rdu_query_info info;

	fd = card_open();
	info = card_info(fd);
	vm = vm_create(fd);
	ctx = ctx_create(fd, vm, 1);
	bo = bo_create(fd, 4 * PAGE, DRM_RDU_PLACEMENT_SYSTEM);
	ASSERT_EQ(vm_map(fd, vm, bo, 0, VA_BASE, 4 * PAGE, 0), 0);
	image = (struct image){
		.header = { .magic = RDU_PROG_MAGIC, .version = RDU_PROG_VERSION,
			    .header_size = sizeof(image.header), .size = sizeof(image),
			    .num_tiles = 1, .chip_hash = info.chip_hash,
			    .sections_off = sizeof(image), .segments_off = sizeof(image),
			    .entries_off = offsetof(struct image, entry), .num_entries = 1,
			    .steps_off = sizeof(image), .regions_off = sizeof(image) },
		.entry.name = "main",
	};
	load = prog_arg();
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_PROG_LOAD, &load), 0);
	prog = load.prog_id;
	for (int i = 0; i < 2; i++) {
		ops[i] = (struct drm_rdu_bind_op){ .type = DRM_RDU_BIND_MAP, .handle = bo,
						   .va = VA_BASE + (1 << 20), .size = PAGE };
		jobs[i] = job_barrier();
		syncs[i] = (struct drm_rdu_sync){ .flags = DRM_RDU_SYNC_SIGNAL,
						  .handle = sync_create(fd) };
	}
	user = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(user != MAP_FAILED);
	ASSERT_EQ(mprotect(user + 2 * PAGE, PAGE, PROT_NONE), 0);
}

/* An argument that is good, outputs full of bits. */
static union arg good(int which)
{
	const struct field *f;
	union arg a = { 0 };

	switch (which) {
	case QUERY:
		a.dev_query.pointer = (uintptr_t)user;
		a.dev_query.size = sizeof(struct drm_rdu_query_info);
		break;
	case VM_DESTROY:
		a.vm_destroy.vm_id = vm_create(fd);
		break;
	case VM_BIND:
		a.vm_bind = (struct drm_rdu_vm_bind){ .vm_id = vm, .ops = (uintptr_t)ops,
						      .num_ops = 2, .op_stride = sizeof(ops[0]) };
		break;
	case BO_CREATE:
		a.bo_create.size = PAGE;
		break;
	case BO_CREATE_USERPTR:
		a.bo_create_userptr.user_ptr = (uintptr_t)user;
		a.bo_create_userptr.size = PAGE;
		break;
	case BO_INFO:
		a.bo_info.handle = bo;
		break;
	case CTX_CREATE:
		a.ctx_create.vm_id = vm;
		break;
	case CTX_DESTROY:
		a.ctx_destroy.ctx_id = ctx_create(fd, vm, 0);
		break;
	case CTX_GET_STATE:
		a.ctx_get_state.ctx_id = ctx;
		break;
	case PROG_LOAD:
		a.prog_load = prog_arg();
		break;
	case PROG_UNLOAD: {
		struct drm_rdu_prog_load load = prog_arg();

		ASSERT_EQ(call(fd, DRM_IOCTL_RDU_PROG_LOAD, &load), 0);
		a.prog_unload.prog_id = load.prog_id;
		break;
	}
	case SUBMIT:
		a.submit = (struct drm_rdu_submit){
			.ctx_id = ctx, .jobs = (uintptr_t)jobs, .num_jobs = 2,
			.job_stride = sizeof(jobs[0]), .syncs = (uintptr_t)syncs, .num_syncs = 2,
			.sync_stride = sizeof(syncs[0]),
		};
		break;
	case PERF_OPEN:
		a.perf_open.ctx_id = ctx;
		a.perf_open.period_ns = 10000000;
		break;
	}
	for (f = ioctls[which].fields; f->name; f++)
		if (f->known == OUT)
			memset(a.bytes + f->offset, 0xa5, f->size);
	return a;
}

/*
 * Makes the call, which is to end like that. After an error the argument is as
 * it was, or its outputs are zero.
 */
static bool gives(int which, const union arg *arg, int want)
{
	const struct ioctl *io = &ioctls[which];
	union arg a = *arg, before = *arg;
	int ret = call(fd, io->request, &a);
	const struct field *f;

	if (ret != want) {
		printf("# %s gives %d, not %d\n", io->name, ret, want);
		return false;
	}
	for (f = io->fields; want && f->name; f++) {
		unsigned char zero[8] = { 0 };

		if (f->known == OUT && !memcmp(a.bytes + f->offset, zero, f->size))
			memset(before.bytes + f->offset, 0, f->size);
	}
	if (want && memcmp(&a, &before, sizeof(a))) {
		printf("# %s changed its argument and failed\n", io->name);
		return false;
	}
	return true;
}

/* Each bit in bytes, which the call reads, that no field gives a meaning. */
static void refuses(int which, const union arg *arg, const char *what, const struct field *f,
		    void *bytes)
{
	for (; f->name; f++)
		for (size_t bit = 0; f->known != OUT && bit < f->size * 8; bit++) {
			unsigned char *byte = (unsigned char *)bytes + f->offset + bit / 8;
			bool ok;

			if (bit < 64 && f->known >> bit & 1)
				continue;
			*byte ^= 1 << bit % 8;
			ok = gives(which, arg, -EINVAL);
			*byte ^= 1 << bit % 8;
			if (!ok)
				printf("# %s: %s, bit %zu\n", what, f->name, bit);
			EXPECT_TRUE(ok);
		}
}

TEST(reserved)
{
	start();
	for (int i = 0; i < NUM_IOCTLS; i++) {
		union arg a = good(i);

		refuses(i, &a, ioctls[i].name, ioctls[i].fields, &a);
		EXPECT_TRUE(gives(i, &a, 0));
	}
}

/* In the second element, so that the first was fine. */
TEST(reserved_bind)
{
	static const struct field map[] = {
		FIELD(bind_op, type, 1), FIELD(bind_op, flags, DRM_RDU_BIND_READONLY),
		FIELD(bind_op, pad, 0), { 0 },
	}, unmap[] = {
		FIELD(bind_op, type, 1), FIELD(bind_op, flags, 0), FIELD(bind_op, handle, 0),
		FIELD(bind_op, pad, 0), FIELD(bind_op, offset, 0), { 0 },
	};
	union arg a;

	start();
	a = good(VM_BIND);
	a.vm_bind.failed_op = 1;
	refuses(VM_BIND, &a, "MAP", map, &ops[1]);
	EXPECT_TRUE(gives(VM_BIND, &a, 0));
	ops[1] = (struct drm_rdu_bind_op){ .type = DRM_RDU_BIND_UNMAP, .va = ops[0].va,
					   .size = PAGE };
	refuses(VM_BIND, &a, "UNMAP", unmap, &ops[1]);
	EXPECT_TRUE(gives(VM_BIND, &a, 0));
}

/* Words of the union that the type doesn't use, from the n-th on. */
#define UNUSED(n) { "raw", offsetof(struct drm_rdu_job, raw[n]), (6 - (n)) * 8, 0 }

TEST(reserved_jobs)
{
	const struct {
		const char *name;
		struct drm_rdu_job job;
		struct field fields[5];
	} kinds[] = {
		{ "RUN", { .type = DRM_RDU_JOB_RUN,
			   .run = { .args_va = VA_BASE, .args_size = PAGE } },
		  { FIELD(job, type, 7), FIELD(job, flags, 0) } },
		{ "COPY", job_copy(VA_BASE, VA_BASE + PAGE, 8),
		  { FIELD(job, type, 7), FIELD(job, flags, 0), UNUSED(3) } },
		{ "FILL", job_fill(VA_BASE, 8, 1),
		  { FIELD(job, type, 7), FIELD(job, flags, 0), FIELD(job, fill.pad, 0),
		    UNUSED(3) } },
		{ "BARRIER", job_barrier(),
		  { FIELD(job, type, 7), FIELD(job, flags, 0), UNUSED(0) } },
		{ "TIMESTAMP", { .type = DRM_RDU_JOB_TIMESTAMP, .timestamp.va = VA_BASE },
		  { FIELD(job, type, 7), FIELD(job, flags, 0), UNUSED(1) } },
	};
	union arg a;

	start();
	a = good(SUBMIT);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		jobs[1] = kinds[i].job;
		if (jobs[1].type == DRM_RDU_JOB_RUN)
			jobs[1].run.prog_id = prog;
		refuses(SUBMIT, &a, kinds[i].name, kinds[i].fields, &jobs[1]);
		EXPECT_TRUE(gives(SUBMIT, &a, 0));
	}
	for (jobs[1] = job_barrier(); jobs[1].type < 8; jobs[1].type++)
		if (jobs[1].type > DRM_RDU_JOB_TIMESTAMP)
			EXPECT_TRUE(gives(SUBMIT, &a, -EINVAL));
	/* All that was accepted did well. */
	EXPECT_EQ(run_job(fd, ctx, job_barrier()), 1);
}

TEST(reserved_syncs)
{
	static const struct field binary[] = {
		FIELD(sync, flags, DRM_RDU_SYNC_SIGNAL), FIELD(sync, point, 0), { 0 },
	}, timeline[] = {
		FIELD(sync, flags, DRM_RDU_SYNC_SIGNAL), { 0 },
	};
	union arg a;

	start();
	a = good(SUBMIT);
	refuses(SUBMIT, &a, "binary", binary, &syncs[1]);
	EXPECT_TRUE(gives(SUBMIT, &a, 0));
	syncs[1].flags &= ~DRM_RDU_SYNC_SIGNAL;
	refuses(SUBMIT, &a, "binary wait", binary, &syncs[1]);
	EXPECT_TRUE(gives(SUBMIT, &a, 0));
	syncs[1] = (struct drm_rdu_sync){ .handle = sync_create(fd), .point = 1,
		.flags = DRM_RDU_SYNC_SIGNAL | DRM_RDU_SYNC_TIMELINE };
	refuses(SUBMIT, &a, "timeline", timeline, &syncs[1]);
	EXPECT_TRUE(gives(SUBMIT, &a, 0));
	syncs[1].point = 0;
	EXPECT_TRUE(gives(SUBMIT, &a, -EINVAL));
}

/* The arrays that ioctls take. */
static const struct array {
	int which;
	size_t pointer, count, stride, size;
	void *elements;
} arrays[] = {
#define ARRAY(which, type, many, one, elements)                                \
	{ which, offsetof(struct drm_rdu_##type, many), offsetof(struct drm_rdu_##type, num_##many), \
	  offsetof(struct drm_rdu_##type, one##_stride), sizeof((elements)[0]), elements }
	ARRAY(VM_BIND, vm_bind, ops, op, ops),
	ARRAY(SUBMIT, submit, jobs, job, jobs),
	ARRAY(SUBMIT, submit, syncs, sync, syncs),
};
#define NUM_ARRAYS (sizeof(arrays) / sizeof(arrays[0]))

static void put32(union arg *a, size_t offset, uint32_t value)
{
	memcpy(a->bytes + offset, &value, sizeof(value));
}

static void put64(union arg *a, size_t offset, uint64_t value)
{
	memcpy(a->bytes + offset, &value, sizeof(value));
}

TEST(counts)
{
	struct drm_rdu_query_info info;
	union arg a;

	start();
	info = card_info(fd);
	for (size_t i = 0; i < NUM_ARRAYS; i++) {
		const uint32_t limits[] = { info.max_bind_ops, info.max_jobs, info.max_syncs };
		const uint32_t counts[] = { limits[i] + 1, 1U << 31, ~0U };

		for (int j = 0; j < 3; j++) {
			a = good(arrays[i].which);
			put32(&a, arrays[i].count, counts[j]);
			EXPECT_TRUE(gives(arrays[i].which, &a, -EINVAL));
		}
	}
	a = good(VM_BIND);
	a.vm_bind.num_ops = 0;
	EXPECT_TRUE(gives(VM_BIND, &a, -EINVAL));
	a = good(SUBMIT);
	a.submit.num_jobs = 0;
	EXPECT_TRUE(gives(SUBMIT, &a, -EINVAL));
	/* No syncs, but where they are. */
	a = good(SUBMIT);
	a.submit.num_syncs = 0;
	EXPECT_TRUE(gives(SUBMIT, &a, -EINVAL));
	a.submit.syncs = 0;
	EXPECT_TRUE(gives(SUBMIT, &a, -EINVAL));
	a.submit.sync_stride = 0;
	EXPECT_TRUE(gives(SUBMIT, &a, 0));

	a = good(CTX_CREATE);
	a.ctx_create.queue_depth = 2;
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &a), 0);
	ctx = a.ctx_create.ctx_id;
	a = good(SUBMIT);
	EXPECT_TRUE(gives(SUBMIT, &a, 0));
	a.submit.num_jobs = 3;
	EXPECT_TRUE(gives(SUBMIT, &a, -EINVAL));

	a = good(CTX_CREATE);
	a.ctx_create.queue_depth = 2 * info.max_jobs;
	EXPECT_TRUE(gives(CTX_CREATE, &a, -EINVAL));
	a.ctx_create.queue_depth = 3;
	EXPECT_TRUE(gives(CTX_CREATE, &a, -EINVAL));
	a = good(CTX_CREATE);
	a.ctx_create.num_tiles = info.num_tiles + 1;
	EXPECT_TRUE(gives(CTX_CREATE, &a, -EINVAL));
	a = good(CTX_CREATE);
	a.ctx_create.timeout_ms = info.max_timeout_ms + 1;
	EXPECT_TRUE(gives(CTX_CREATE, &a, -EINVAL));
	a = good(PROG_LOAD);
	a.prog_load.size = info.max_prog_size + 1ULL;
	EXPECT_TRUE(gives(PROG_LOAD, &a, -EINVAL));
	a.prog_load.size = ~0ULL;
	EXPECT_TRUE(gives(PROG_LOAD, &a, -EINVAL));
	a.prog_load.size = 0;
	EXPECT_TRUE(gives(PROG_LOAD, &a, -EINVAL));
	a = good(QUERY);
	a.dev_query.size = ~0U;
	EXPECT_TRUE(gives(QUERY, &a, -EINVAL));
}

TEST(strides)
{
	start();
	for (size_t i = 0; i < NUM_ARRAYS; i++) {
		const struct array *r = &arrays[i];
		const uint32_t odd[] = { r->size + 1, r->size + 4, PAGE + 8, 1U << 31, ~0U };
		union arg a = good(r->which);

		for (uint32_t stride = 0; stride < r->size; stride++) {
			put32(&a, r->stride, stride);
			EXPECT_TRUE(gives(r->which, &a, -EINVAL));
		}
		for (int j = 0; j < 5; j++) {
			put32(&a, r->stride, odd[j]);
			EXPECT_TRUE(gives(r->which, &a, -EINVAL));
		}
		/* Longer elements, of newer user space. */
		for (uint32_t stride = r->size + 8; stride <= PAGE; stride += PAGE - r->size - 8) {
			memset(user, 0, 2 * PAGE);
			memcpy(user, r->elements, r->size);
			memcpy(user + stride, (char *)r->elements + r->size, r->size);
			put32(&a, r->stride, stride);
			put64(&a, r->pointer, (uintptr_t)user);
			EXPECT_TRUE(gives(r->which, &a, 0));
			for (uint32_t at = r->size; at < stride; at = at < r->size + 8 ?
			     at + 1 : stride - 1 > at ? stride - 1 : stride) {
				user[stride + at] = 1;
				EXPECT_TRUE(gives(r->which, &a, -EINVAL));
				user[stride + at] = 0;
			}
		}
	}
}

/* Pointers to nothing, to half of something, and to what is the kernel's. */
TEST(pointers)
{
	const uint64_t wild[] = { 0x1000, 1ULL << 47, 0xffff888000000000, ~0ULL - 7 };
	const struct {
		int which;
		size_t pointer, size;
	} flat[] = {
		{ QUERY, offsetof(struct drm_rdu_dev_query, pointer),
		  sizeof(struct drm_rdu_query_info) },
		{ PROG_LOAD, offsetof(struct drm_rdu_prog_load, data), sizeof(image) },
		{ BO_CREATE_USERPTR, offsetof(struct drm_rdu_bo_create_userptr, user_ptr), PAGE },
	};
	char *edge;
	union arg a;

	start();
	edge = user + 2 * PAGE;
	for (size_t i = 0; i < 3; i++) {
		a = good(flat[i].which);
		for (int j = 0; j < 4; j++) {
			/* A userptr is checked for its alignment first. */
			put64(&a, flat[i].pointer, flat[i].which == BO_CREATE_USERPTR ?
			      (wild[j] & -PAGE) - (j == 3 ? PAGE : 0) : wild[j]);
			EXPECT_TRUE(gives(flat[i].which, &a, -EFAULT));
		}
		put64(&a, flat[i].pointer, (uintptr_t)edge);
		EXPECT_TRUE(gives(flat[i].which, &a, -EFAULT));
		if (flat[i].which == BO_CREATE_USERPTR) {
			put64(&a, flat[i].pointer, (uintptr_t)edge - PAGE);
			a.bo_create_userptr.size = 2 * PAGE;
		} else {
			put64(&a, flat[i].pointer, (uintptr_t)edge - flat[i].size + 8);
		}
		EXPECT_TRUE(gives(flat[i].which, &a, -EFAULT));
	}
	for (size_t i = 0; i < NUM_ARRAYS; i++) {
		const struct array *r = &arrays[i];

		a = good(r->which);
		for (int j = 0; j < 4; j++) {
			put64(&a, r->pointer, wild[j]);
			EXPECT_TRUE(gives(r->which, &a, -EFAULT));
		}
		put64(&a, r->pointer, 0);
		EXPECT_TRUE(gives(r->which, &a, -EFAULT));
		/* Nothing there; the second's last word is not; the whole second. */
		for (size_t there = 0; there <= 2 * r->size; there += r->size) {
			char *at = edge - (there == 2 * r->size ? there - 8 : there);

			memcpy(at, r->elements, edge - at);
			put64(&a, r->pointer, (uintptr_t)at);
			EXPECT_TRUE(gives(r->which, &a, -EFAULT));
		}
		memcpy(edge - 2 * r->size, r->elements, 2 * r->size);
		put64(&a, r->pointer, (uintptr_t)edge - 2 * r->size);
		EXPECT_TRUE(gives(r->which, &a, 0));
	}
	/* The argument itself. */
	for (int i = 0; i < NUM_IOCTLS; i++) {
		size_t size = _IOC_SIZE(ioctls[i].request);

		EXPECT_EQ(call(fd, ioctls[i].request, edge), -EFAULT);
		EXPECT_EQ(call(fd, ioctls[i].request, edge - size + 4), -EFAULT);
		EXPECT_EQ(call(fd, ioctls[i].request, NULL), -EFAULT);
	}
}

/* start + size is more than 64 bits hold, or just that. */
static const struct { uint64_t start, size; } wraps[] = {
	{ -2 * PAGE, 4 * PAGE }, { -PAGE, PAGE }, { VA_BASE, -PAGE }, { VA_BASE, -VA_BASE },
	{ 1ULL << 63, 1ULL << 63 },
};

TEST(ranges)
{
	union arg bind, submit, a;

	start();
	bind = good(VM_BIND);
	bind.vm_bind.failed_op = 1;
	submit = good(SUBMIT);
	for (size_t i = 0; i < sizeof(wraps) / sizeof(wraps[0]); i++) {
		const uint64_t at = wraps[i].start, size = wraps[i].size;
		const struct drm_rdu_bind_op bad_ops[] = {
			{ .type = DRM_RDU_BIND_MAP, .handle = bo, .va = at, .size = size },
			{ .type = DRM_RDU_BIND_MAP, .handle = bo, .va = VA_BASE, .offset = at,
			  .size = size },
			{ .type = DRM_RDU_BIND_UNMAP, .va = at, .size = size },
		};
		const struct drm_rdu_job_run run = { .prog_id = prog, .args_va = VA_BASE,
						     .args_size = PAGE };
		struct drm_rdu_job bad_jobs[] = {
			job_copy(at, VA_BASE, size), job_copy(VA_BASE, at, size),
			job_fill(at, size, 0),
			{ .type = DRM_RDU_JOB_TIMESTAMP, .timestamp.va = -8 },
			{ .type = DRM_RDU_JOB_RUN, .run = run },
			{ .type = DRM_RDU_JOB_RUN, .run = run },
			{ .type = DRM_RDU_JOB_RUN, .run = run },
		};

		bad_jobs[4].run.args_va = at;
		bad_jobs[4].run.args_size = size;
		bad_jobs[5].run.stats_va = -8;
		bad_jobs[6].run.trace_va = -PAGE;
		bad_jobs[6].run.trace_size = PAGE << i;
		for (size_t j = 0; j < sizeof(bad_ops) / sizeof(bad_ops[0]); j++) {
			ops[1] = bad_ops[j];
			EXPECT_TRUE(gives(VM_BIND, &bind, -EINVAL));
		}
		for (size_t j = 0; j < sizeof(bad_jobs) / sizeof(bad_jobs[0]); j++) {
			jobs[1] = bad_jobs[j];
			EXPECT_TRUE(gives(SUBMIT, &submit, -EINVAL));
		}
		a = good(BO_CREATE_USERPTR);
		a.bo_create_userptr.user_ptr = at;
		a.bo_create_userptr.size = size;
		EXPECT_TRUE(gives(BO_CREATE_USERPTR, &a, -EINVAL));
	}
	a = good(BO_CREATE);
	for (int placement = 0; placement < 2; placement++) {
		a.bo_create.placement = placement;
		a.bo_create.size = ~0ULL; /* would round up to nothing */
		EXPECT_TRUE(gives(BO_CREATE, &a, -EINVAL));
		a.bo_create.size = -PAGE;
		EXPECT_TRUE(gives(BO_CREATE, &a, -EINVAL));
		a.bo_create.size = 0;
		EXPECT_TRUE(gives(BO_CREATE, &a, -EINVAL));
	}
}

/* Handles of nothing: no output is made up. */
TEST(handles)
{
	union arg a;

	start();
	for (int i = 0; i < NUM_IOCTLS; i++) {
		/* The handle comes first in all but a few. */
		if (i == QUERY || i == VM_CREATE || i == BO_CREATE || i == BO_CREATE_USERPTR ||
		    i == PROG_LOAD)
			continue;
		a = good(i);
		put32(&a, 0, 0x7ffffff0);
		EXPECT_TRUE(gives(i, &a, -ENOENT));
		put32(&a, 0, ~0U);
		EXPECT_TRUE(gives(i, &a, -ENOENT));
	}
	a = good(BO_CREATE);
	a.bo_create.vm_id = ~0U;
	EXPECT_TRUE(gives(BO_CREATE, &a, -ENOENT));
}

TEST(numbers)
{
	char arg[1 << 12] = { 0 };

	start();
	for (int nr = DRM_COMMAND_BASE + DRM_RDU_PERF_OPEN + 1; nr < DRM_COMMAND_END; nr++) {
		EXPECT_EQ(call(fd, DRM_IO(nr), NULL), -EINVAL);
		EXPECT_EQ(call(fd, DRM_IOWR(nr, uint64_t), arg), -EINVAL);
		EXPECT_EQ(call(fd, DRM_IOWR(nr, arg), arg), -EINVAL);
	}
	/* Another subsystem's. */
	EXPECT_EQ(call(fd, _IOWR('x', DRM_COMMAND_BASE, uint64_t), arg), -ENOTTY);
}
