// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Address spaces, seen through copies and fills. */
#include "card.h"

TEST(create_errors)
{
	struct drm_rdu_vm_create create = { 0 };
	struct drm_rdu_vm_destroy destroy;
	int fd = card_open();

	EXPECT_RESERVED(fd, DRM_IOCTL_RDU_VM_CREATE, create, flags, 0);
	destroy = (struct drm_rdu_vm_destroy){ .vm_id = vm_create(fd) };
	EXPECT_RESERVED(fd, DRM_IOCTL_RDU_VM_DESTROY, destroy, pad, 0);
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_DESTROY, &destroy), 0);
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_DESTROY, &destroy), -ENOENT);
	EXPECT_EQ(vm_destroy(fd, 0), -ENOENT);
	EXPECT_EQ(vm_destroy(card_open(), vm_create(fd)), -ENOENT);
}

TEST(bind_errors)
{
	int fd = card_open();
	struct drm_rdu_query_info info = card_info(fd);
	uint32_t vm = vm_create(fd), bo = bo_create(fd, 4 * PAGE, DRM_RDU_PLACEMENT_DEVICE);
	struct drm_rdu_bind_op good = { .handle = bo, .va = VA_BASE, .size = PAGE }, op;
	struct drm_rdu_vm_bind args = {
		.vm_id = vm, .ops = (uintptr_t)&op, .num_ops = 1, .op_stride = sizeof(op),
	}, bad;

	op = good;
	EXPECT_RESERVED(fd, DRM_IOCTL_RDU_VM_BIND, args, flags, 0);
	EXPECT_RESERVED(fd, DRM_IOCTL_RDU_VM_BIND, args, pad, 0);
	bad = args;
	bad.num_ops = 0;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_BIND, &bad), -EINVAL);
	bad.num_ops = info.max_bind_ops + 1;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_BIND, &bad), -EINVAL);
	bad.num_ops = ~0U;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_BIND, &bad), -EINVAL);
	bad = args;
	bad.vm_id = 0;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_BIND, &bad), -ENOENT);
	bad = args;
	for (uint32_t stride = 0; stride < sizeof(op); stride += 8) {
		bad.op_stride = stride;
		EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_BIND, &bad), -EINVAL);
	}
	bad.op_stride = sizeof(op) + 4;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_BIND, &bad), -EINVAL);
	bad.op_stride = 1 << 20;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_BIND, &bad), -EINVAL);
	bad = args;
	bad.ops = (uintptr_t)bad_page();
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_BIND, &bad), -EFAULT);

	/* Each bit of the operation that has no meaning. */
	for (int bit = 0; bit < 32; bit++) {
		op = good;
		op.flags = 1U << bit;
		EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_BIND, &args),
			  op.flags == DRM_RDU_BIND_READONLY ? 0 : -EINVAL);
		op = good;
		op.pad = 1U << bit;
		EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_BIND, &args), -EINVAL);
		op = good;
		op.type = 2U << bit;
		if (op.type)
			EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_BIND, &args), -EINVAL);
		op = (struct drm_rdu_bind_op){ .type = DRM_RDU_BIND_UNMAP, .va = VA_BASE,
					       .size = PAGE, .flags = 1U << bit };
		EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_BIND, &args), -EINVAL);
	}
	op = (struct drm_rdu_bind_op){ .type = DRM_RDU_BIND_UNMAP, .va = VA_BASE, .size = PAGE,
				       .handle = bo };
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_BIND, &args), -EINVAL);
	op.handle = 0;
	op.offset = PAGE;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_BIND, &args), -EINVAL);

	/* Bounds. */
	EXPECT_EQ(vm_map(fd, vm, 0, 0, VA_BASE, PAGE, 0), -ENOENT);
	EXPECT_EQ(vm_map(fd, vm, bo, 0, VA_BASE, 0, 0), -EINVAL);
	EXPECT_EQ(vm_map(fd, vm, bo, 0, VA_BASE + 1, PAGE, 0), -EINVAL);
	EXPECT_EQ(vm_map(fd, vm, bo, 0, VA_BASE, PAGE + 1, 0), -EINVAL);
	EXPECT_EQ(vm_map(fd, vm, bo, 8, VA_BASE, PAGE, 0), -EINVAL);
	EXPECT_EQ(vm_map(fd, vm, bo, 0, VA_BASE, 5 * PAGE, 0), -EINVAL);
	EXPECT_EQ(vm_map(fd, vm, bo, 4 * PAGE, VA_BASE, PAGE, 0), -EINVAL);
	EXPECT_EQ(vm_map(fd, vm, bo, PAGE, VA_BASE, 4 * PAGE, 0), -EINVAL);
	EXPECT_EQ(vm_map(fd, vm, bo, ~0ULL - PAGE + 1, VA_BASE, PAGE, 0), -EINVAL);
	EXPECT_EQ(vm_map(fd, vm, bo, 0, 0, PAGE, 0), -EINVAL);
	EXPECT_EQ(vm_map(fd, vm, bo, 0, info.va_start - PAGE, PAGE, 0), -EINVAL);
	EXPECT_EQ(vm_map(fd, vm, bo, 0, info.va_end, PAGE, 0), -EINVAL);
	EXPECT_EQ(vm_map(fd, vm, bo, 0, info.va_end - PAGE, 2 * PAGE, 0), -EINVAL);
	EXPECT_EQ(vm_map(fd, vm, bo, 0, ~0ULL - PAGE + 1, PAGE, 0), -EINVAL);
	EXPECT_EQ(vm_unmap(fd, vm, VA_BASE, ~0ULL - PAGE + 1), -EINVAL);
	/* The ends themselves. */
	EXPECT_EQ(vm_map(fd, vm, bo, 0, info.va_start, PAGE, 0), 0);
	EXPECT_EQ(vm_map(fd, vm, bo, 0, info.va_end - PAGE, PAGE, 0), 0);
	EXPECT_EQ(vm_unmap(fd, vm, info.va_start, info.va_end - info.va_start), 0);
}

/* All are checked before the first is done. */
TEST(bind_checks_first)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0);
	uint32_t bo = bo_create(fd, PAGE, DRM_RDU_PLACEMENT_DEVICE);
	struct drm_rdu_bind_op ops[2] = {
		{ .handle = bo, .va = VA_BASE, .size = PAGE },
		{ .handle = bo, .va = VA_BASE, .size = 3 },
	};
	struct drm_rdu_vm_bind args = {
		.vm_id = vm, .ops = (uintptr_t)ops, .num_ops = 2, .op_stride = sizeof(ops[0]),
	};

	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_BIND, &args), -EINVAL);
	EXPECT_EQ(args.failed_op, 1);
	EXPECT_EQ(run_job(fd, ctx, job_fill(VA_BASE, 4, 1)), -EIO);
}

/* A stride beyond the structure: newer user space, zeros in what is new. */
TEST(bind_stride)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), bo = bo_create(fd, PAGE, DRM_RDU_PLACEMENT_DEVICE);
	struct { struct drm_rdu_bind_op op; uint64_t more; } ops[2] = {
		{ .op = { .handle = bo, .va = VA_BASE, .size = PAGE } },
		{ .op = { .handle = bo, .va = VA_BASE + PAGE, .size = PAGE } },
	};
	struct drm_rdu_vm_bind args = {
		.vm_id = vm, .ops = (uintptr_t)ops, .num_ops = 2, .op_stride = sizeof(ops[0]),
	};

	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_BIND, &args), 0);
	ops[1].more = 1;
	EXPECT_EQ(call(fd, DRM_IOCTL_RDU_VM_BIND, &args), -EINVAL);
}

static void copy_there_and_back(uint32_t from, uint32_t to, uint64_t size)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0);
	struct buffer a = buffer_create(fd, vm, VA_BASE, size, from);
	struct buffer b = buffer_create(fd, vm, VA_BASE + (1 << 30), size, to);
	uint64_t *x = a.map, *y = b.map;

	for (uint64_t i = 0; i < size / 8; i++)
		x[i] = i ^ 0xdeadbeefcafeULL;
	ASSERT_EQ(run_job(fd, ctx, job_copy(b.va, a.va, size)), 1);
	for (uint64_t i = 0; i < size / 8; i++)
		if (y[i] != (i ^ 0xdeadbeefcafeULL)) {
			ASSERT_EQ(y[i], i ^ 0xdeadbeefcafeULL);
		}
}

TEST(copy_system_to_device)
{
	copy_there_and_back(DRM_RDU_PLACEMENT_SYSTEM, DRM_RDU_PLACEMENT_DEVICE, 3 << 20);
}

TEST(copy_device_to_system)
{
	copy_there_and_back(DRM_RDU_PLACEMENT_DEVICE, DRM_RDU_PLACEMENT_SYSTEM, 3 << 20);
}

TEST(copy_device_to_device)
{
	copy_there_and_back(DRM_RDU_PLACEMENT_DEVICE, DRM_RDU_PLACEMENT_DEVICE, 8 << 20);
}

TEST(copy_odd_bytes)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0);
	struct buffer a = buffer_create(fd, vm, VA_BASE, 4 * PAGE, DRM_RDU_PLACEMENT_SYSTEM);
	struct buffer b = buffer_create(fd, vm, VA_BASE + 8 * PAGE, 4 * PAGE,
					DRM_RDU_PLACEMENT_DEVICE);
	unsigned char *x = a.map, *y = b.map;

	for (unsigned int i = 0; i < 4 * PAGE; i++)
		x[i] = i * 7 + 1;
	ASSERT_EQ(run_job(fd, ctx, job_copy(b.va + 5, a.va + 3, 2 * PAGE + 1)), 1);
	EXPECT_EQ(y[4], 0);
	EXPECT_EQ(memcmp(y + 5, x + 3, 2 * PAGE + 1), 0);
	EXPECT_EQ(y[5 + 2 * PAGE + 1], 0);
}

/* Mappings cut, replaced and rejoined: the card sees what was asked for. */
TEST(remap)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx;
	uint32_t a = bo_create(fd, 8 << 20, DRM_RDU_PLACEMENT_DEVICE);
	uint32_t b = bo_create(fd, 8 << 20, DRM_RDU_PLACEMENT_DEVICE);
	uint32_t *x = bo_map(fd, a, 8 << 20), *y = bo_map(fd, b, 8 << 20);
	uint64_t va = 1ULL << 30;

	/* 2 MiB entries, then a page of another buffer in the middle. */
	ASSERT_EQ(vm_map(fd, vm, a, 0, va, 8 << 20, 0), 0);
	ASSERT_EQ(vm_map(fd, vm, b, PAGE, va + (3 << 20), PAGE, 0), 0);
	ctx = ctx_create(fd, vm, 0);
	ASSERT_EQ(run_job(fd, ctx, job_fill(va, 8 << 20, 0x11)), 1);
	EXPECT_EQ(x[0], 0x11);
	EXPECT_EQ(x[(3 << 20) / 4 - 1], 0x11);
	EXPECT_EQ(x[(3 << 20) / 4], 0);
	EXPECT_EQ(x[(3 << 20) / 4 + PAGE / 4], 0x11);
	EXPECT_EQ(x[(8 << 20) / 4 - 1], 0x11);
	EXPECT_EQ(y[PAGE / 4 - 1], 0);
	EXPECT_EQ(y[PAGE / 4], 0x11);
	EXPECT_EQ(y[2 * PAGE / 4 - 1], 0x11);
	EXPECT_EQ(y[2 * PAGE / 4], 0);
	/* Back again, while the context's translations are warm. */
	ASSERT_EQ(vm_map(fd, vm, a, 3 << 20, va + (3 << 20), PAGE, 0), 0);
	ASSERT_EQ(run_job(fd, ctx, job_fill(va, 8 << 20, 0x22)), 1);
	EXPECT_EQ(x[(3 << 20) / 4], 0x22);
	EXPECT_EQ(y[PAGE / 4], 0x11);
	/* A large mapping over small ones. */
	for (int i = 0; i < 16; i++)
		ASSERT_EQ(vm_map(fd, vm, b, i * PAGE, va + i * 2 * PAGE, PAGE, 0), 0);
	ASSERT_EQ(vm_map(fd, vm, a, 0, va, 8 << 20, 0), 0);
	ASSERT_EQ(run_job(fd, ctx, job_fill(va, 8 << 20, 0x33)), 1);
	EXPECT_EQ(x[0], 0x33);
	EXPECT_EQ(x[2 * PAGE / 4], 0x33);
	EXPECT_EQ(y[0], 0);
	/* A hole: before and behind it work, in it is a fault. */
	ASSERT_EQ(vm_unmap(fd, vm, va + (2 << 20), 2 << 20), 0);
	ASSERT_EQ(run_job(fd, ctx, job_fill(va, 2 << 20, 0x44)), 1);
	ASSERT_EQ(run_job(fd, ctx, job_fill(va + (4 << 20), 4 << 20, 0x44)), 1);
	EXPECT_EQ(run_job(fd, ctx, job_fill(va + (4 << 20) - 4, 4, 0x55)), -EIO);
	EXPECT_EQ(ctx_state(fd, ctx).fault_code, RDU_FAULT_PAGE);
	EXPECT_EQ(ctx_state(fd, ctx).va, va + (4 << 20) - 4);
	EXPECT_EQ(x[(4 << 20) / 4 - 1], 0x33);
}

/* The same buffer twice, in two VMs, at two addresses. */
TEST(alias)
{
	int fd = card_open();
	uint32_t vm[2] = { vm_create(fd), vm_create(fd) };
	uint32_t ctx[2] = { ctx_create(fd, vm[0], 0), ctx_create(fd, vm[1], 0) };
	uint32_t bo = bo_create(fd, PAGE, DRM_RDU_PLACEMENT_DEVICE);
	uint32_t *map = bo_map(fd, bo, PAGE);

	ASSERT_EQ(vm_map(fd, vm[0], bo, 0, VA_BASE, PAGE, 0), 0);
	ASSERT_EQ(vm_map(fd, vm[0], bo, 0, VA_BASE + PAGE, PAGE, 0), 0);
	ASSERT_EQ(vm_map(fd, vm[1], bo, 0, VA_BASE + 2 * PAGE, PAGE, 0), 0);
	ASSERT_EQ(run_job(fd, ctx[0], job_fill(VA_BASE, 4, 1)), 1);
	ASSERT_EQ(run_job(fd, ctx[0], job_fill(VA_BASE + PAGE + 4, 4, 2)), 1);
	ASSERT_EQ(run_job(fd, ctx[1], job_fill(VA_BASE + 2 * PAGE + 8, 4, 3)), 1);
	EXPECT_EQ(map[0], 1);
	EXPECT_EQ(map[1], 2);
	EXPECT_EQ(map[2], 3);
	/* One VM's addresses are not the other's. */
	EXPECT_EQ(run_job(fd, ctx[1], job_fill(VA_BASE, 4, 4)), -EIO);
	EXPECT_EQ(map[0], 1);
}

TEST(readonly)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0);
	struct buffer a = buffer_create(fd, vm, VA_BASE, PAGE, DRM_RDU_PLACEMENT_DEVICE);
	uint32_t bo = bo_create(fd, 4 * PAGE, DRM_RDU_PLACEMENT_SYSTEM), *map, *x = a.map;
	uint64_t va = VA_BASE + 16 * PAGE;
	struct drm_rdu_ctx_get_state state;

	map = bo_map(fd, bo, 4 * PAGE);
	map[0] = 77;
	ASSERT_EQ(vm_map(fd, vm, bo, 0, va, 4 * PAGE, DRM_RDU_BIND_READONLY), 0);
	ASSERT_EQ(run_job(fd, ctx, job_copy(a.va, va, 4)), 1);
	EXPECT_EQ(x[0], 77);
	/* A cut leaves the rest as it was: read only. */
	ASSERT_EQ(vm_map(fd, vm, bo, 0, va + PAGE, PAGE, 0), 0);
	ASSERT_EQ(run_job(fd, ctx, job_fill(va + PAGE, 4, 78)), 1);
	EXPECT_EQ(map[0], 78);
	EXPECT_EQ(run_job(fd, ctx, job_fill(va + 2 * PAGE, 4, 79)), -EIO);
	state = ctx_state(fd, ctx);
	EXPECT_EQ(state.state, DRM_RDU_CTX_STATE_FAULTED);
	EXPECT_EQ(state.fault_code, RDU_FAULT_PROTECTION);
	EXPECT_EQ(state.va, va + 2 * PAGE);
	EXPECT_EQ(map[2 * PAGE / 4], 0);
}

/* A mapping holds its buffer. */
TEST(bound_outlives_handle)
{
	int fd = card_open();
	uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 0);
	struct buffer a = buffer_create(fd, vm, VA_BASE, PAGE, DRM_RDU_PLACEMENT_DEVICE);
	uint32_t *map = a.map;

	bo_close(fd, a.handle);
	ASSERT_EQ(run_job(fd, ctx, job_fill(a.va, PAGE, 5)), 1);
	EXPECT_EQ(map[1], 5);
	/* A destroyed VM lives on in its context. */
	ASSERT_EQ(vm_destroy(fd, vm), 0);
	ASSERT_EQ(run_job(fd, ctx, job_fill(a.va, PAGE, 6)), 1);
	EXPECT_EQ(map[1], 6);
	EXPECT_EQ(vm_unmap(fd, vm, a.va, PAGE), -ENOENT);
}

/* Tables are given back. */
TEST(no_leak)
{
	struct drm_rdu_query_memory before, after;
	int fd = card_open();
	uint32_t bo = bo_create(fd, 4 << 20, DRM_RDU_PLACEMENT_SYSTEM);

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &before, sizeof(before)), 0);
	for (int i = 0; i < 20; i++) {
		uint32_t vm = vm_create(fd);

		for (int j = 0; j < 20; j++) {
			uint64_t va = (uint64_t)(j + 1) << 39 | (uint64_t)i << 21;

			ASSERT_EQ(vm_map(fd, vm, bo, 0, va, 4 << 20, 0), 0);
			if (j & 1)
				ASSERT_EQ(vm_unmap(fd, vm, va + PAGE, 2 << 20), 0);
		}
		ASSERT_EQ(vm_unmap(fd, vm, 1ULL << 21, (1ULL << 47) - (1ULL << 21)), 0);
		ASSERT_EQ(vm_destroy(fd, vm), 0);
	}
	ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &after, sizeof(after)), 0);
	EXPECT_GE(after.free, before.free);
}
