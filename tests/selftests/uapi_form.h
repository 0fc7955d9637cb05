/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The form of the interface, in numbers: programs that were compiled once rely on
 * them. What is here must never change. A new ioctl, value, structure or field at
 * the end of one gets a line; a structure that grew, its new size as well, here
 * and in its IOCTL line: the old size goes on being taken.
 */
#include <stddef.h>

#include <drm/rdu_accel.h>

#define IOCTL(name, nr, size)                                                  \
	_Static_assert(DRM_IOCTL_RDU_##name == _IOC(_IOC_READ | _IOC_WRITE, 'd', \
						    0x40 + nr, size),          \
		       "the number of DRM_IOCTL_RDU_" #name " must never change")
#define VALUE(name, value)                                                     \
	_Static_assert(name == value, "the value of " #name " must never change")
#define SIZE(type, size)                                                       \
	_Static_assert(sizeof(struct type) == size,                            \
		       "struct " #type " has grown: a field at its end? then say its size here")
#define FIELD(type, field, at, size)                                           \
	_Static_assert(offsetof(struct type, field) == at &&                   \
		       sizeof(((struct type *)0)->field) == size,              \
		       "struct " #type ": " #field " has moved, or changed its size")

IOCTL(DEV_QUERY, 0x00, 16);
IOCTL(VM_CREATE, 0x01, 8);
IOCTL(VM_DESTROY, 0x02, 8);
IOCTL(VM_BIND, 0x03, 32);
IOCTL(BO_CREATE, 0x04, 24);
IOCTL(BO_CREATE_USERPTR, 0x05, 24);
IOCTL(BO_INFO, 0x06, 32);
IOCTL(CTX_CREATE, 0x07, 40);
IOCTL(CTX_DESTROY, 0x08, 8);
IOCTL(CTX_GET_STATE, 0x09, 64);
IOCTL(PROG_LOAD, 0x0a, 40);
IOCTL(PROG_UNLOAD, 0x0b, 8);
IOCTL(SUBMIT, 0x0c, 48);
IOCTL(PERF_OPEN, 0x0d, 24);

VALUE(DRM_RDU_QUERY_INFO, 0);
VALUE(DRM_RDU_QUERY_CHIP, 1);
VALUE(DRM_RDU_QUERY_MEMORY, 2);
VALUE(DRM_RDU_QUERY_CLOCK, 3);
VALUE(DRM_RDU_QUERY_TILES, 4);
VALUE(DRM_RDU_QUERY_CONTEXTS, 5);
VALUE(DRM_RDU_QUERY_HEALTH, 6);
VALUE(DRM_RDU_QUERY_USER, 7);
VALUE(DRM_RDU_BIND_MAP, 0);
VALUE(DRM_RDU_BIND_UNMAP, 1);
VALUE(DRM_RDU_PLACEMENT_DEVICE, 0);
VALUE(DRM_RDU_PLACEMENT_SYSTEM, 1);
VALUE(DRM_RDU_JOB_RUN, 0);
VALUE(DRM_RDU_JOB_COPY, 1);
VALUE(DRM_RDU_JOB_FILL, 2);
VALUE(DRM_RDU_JOB_BARRIER, 3);
VALUE(DRM_RDU_JOB_TIMESTAMP, 4);
VALUE(DRM_RDU_FEATURE_USERPTR, 0x1);
VALUE(DRM_RDU_FEATURE_PERF, 0x2);
VALUE(DRM_RDU_CHIP_FIELDS, 0x20);
VALUE(DRM_RDU_CHIP_MORE_FIELDS, 0x20);
VALUE(DRM_RDU_TILE_OWNED, 0x1);
VALUE(DRM_RDU_TILE_MINE, 0x2);
VALUE(DRM_RDU_TILE_NAMED, 0x4);
VALUE(DRM_RDU_BIND_READONLY, 0x1);
VALUE(DRM_RDU_USERPTR_READONLY, 0x1);
VALUE(DRM_RDU_BO_IMPORTED, 0x1);
VALUE(DRM_RDU_BO_PRIVATE, 0x2);
VALUE(DRM_RDU_BO_USERPTR, 0x4);
VALUE(DRM_RDU_CTX_STATE_FAULTED, 0x1);
VALUE(DRM_RDU_CTX_STATE_HUNG, 0x2);
VALUE(DRM_RDU_CTX_STATE_INNOCENT, 0x4);
VALUE(DRM_RDU_CTX_STATE_LOST, 0x8);
VALUE(DRM_RDU_NO_JOB, 0xffffffff);
VALUE(DRM_RDU_SYNC_SIGNAL, 0x1);
VALUE(DRM_RDU_SYNC_TIMELINE, 0x2);

SIZE(drm_rdu_dev_query, 16);
FIELD(drm_rdu_dev_query, type, 0, 4);
FIELD(drm_rdu_dev_query, size, 4, 4);
FIELD(drm_rdu_dev_query, pointer, 8, 8);

SIZE(drm_rdu_query_info, 128);
FIELD(drm_rdu_query_info, features, 0, 8);
FIELD(drm_rdu_query_info, interface_version, 8, 4);
FIELD(drm_rdu_query_info, pci_vendor, 12, 2);
FIELD(drm_rdu_query_info, pci_device, 14, 2);
FIELD(drm_rdu_query_info, pci_subvendor, 16, 2);
FIELD(drm_rdu_query_info, pci_subdevice, 18, 2);
FIELD(drm_rdu_query_info, pci_revision, 20, 2);
FIELD(drm_rdu_query_info, pci_bdf, 22, 2);
FIELD(drm_rdu_query_info, pci_domain, 24, 4);
FIELD(drm_rdu_query_info, num_tiles, 28, 4);
FIELD(drm_rdu_query_info, chip_hash, 32, 8);
FIELD(drm_rdu_query_info, chip_name, 40, 16);
FIELD(drm_rdu_query_info, serial, 56, 16);
FIELD(drm_rdu_query_info, mem_size, 72, 8);
FIELD(drm_rdu_query_info, va_start, 80, 8);
FIELD(drm_rdu_query_info, va_end, 88, 8);
FIELD(drm_rdu_query_info, page_size, 96, 4);
FIELD(drm_rdu_query_info, max_contexts, 100, 4);
FIELD(drm_rdu_query_info, max_programs, 104, 4);
FIELD(drm_rdu_query_info, max_prog_size, 108, 4);
FIELD(drm_rdu_query_info, max_jobs, 112, 4);
FIELD(drm_rdu_query_info, max_syncs, 116, 4);
FIELD(drm_rdu_query_info, max_bind_ops, 120, 4);
FIELD(drm_rdu_query_info, max_timeout_ms, 124, 4);

SIZE(drm_rdu_query_chip, 280);
FIELD(drm_rdu_query_chip, name, 0, 16);
FIELD(drm_rdu_query_chip, assumed, 16, 8);
FIELD(drm_rdu_query_chip, fields, 24, 128);
FIELD(drm_rdu_query_chip, more_fields, 152, 128);

SIZE(drm_rdu_query_memory, 32);
FIELD(drm_rdu_query_memory, size, 0, 8);
FIELD(drm_rdu_query_memory, free, 8, 8);
FIELD(drm_rdu_query_memory, cpu_visible, 16, 8);
FIELD(drm_rdu_query_memory, used_by_file, 24, 8);

SIZE(drm_rdu_query_clock, 32);
FIELD(drm_rdu_query_clock, cycles, 0, 8);
FIELD(drm_rdu_query_clock, cpu_before, 8, 8);
FIELD(drm_rdu_query_clock, cpu_after, 16, 8);
FIELD(drm_rdu_query_clock, clock_khz, 24, 4);
FIELD(drm_rdu_query_clock, pad, 28, 4);

SIZE(drm_rdu_query_tile, 80);
FIELD(drm_rdu_query_tile, tile, 0, 4);
FIELD(drm_rdu_query_tile, flags, 4, 4);
FIELD(drm_rdu_query_tile, ctx_id, 8, 4);
FIELD(drm_rdu_query_tile, pid, 12, 4);
FIELD(drm_rdu_query_tile, uid, 16, 4);
FIELD(drm_rdu_query_tile, pad, 20, 4);
FIELD(drm_rdu_query_tile, comm, 24, 16);
FIELD(drm_rdu_query_tile, exec_cycles, 40, 8);
FIELD(drm_rdu_query_tile, pload_cycles, 48, 8);
FIELD(drm_rdu_query_tile, aload_cycles, 56, 8);
FIELD(drm_rdu_query_tile, copy_cycles, 64, 8);
FIELD(drm_rdu_query_tile, clock, 72, 8);

SIZE(drm_rdu_query_context, 72);
FIELD(drm_rdu_query_context, ctx_id, 0, 4);
FIELD(drm_rdu_query_context, state, 4, 4);
FIELD(drm_rdu_query_context, vm_id, 8, 4);
FIELD(drm_rdu_query_context, num_tiles, 12, 4);
FIELD(drm_rdu_query_context, tile_mask, 16, 8);
FIELD(drm_rdu_query_context, submitted, 24, 8);
FIELD(drm_rdu_query_context, completed, 32, 8);
FIELD(drm_rdu_query_context, exec_cycles, 40, 8);
FIELD(drm_rdu_query_context, pload_cycles, 48, 8);
FIELD(drm_rdu_query_context, aload_cycles, 56, 8);
FIELD(drm_rdu_query_context, copy_cycles, 64, 8);

SIZE(drm_rdu_query_health, 32);
FIELD(drm_rdu_query_health, temp_mc, 0, 4);
FIELD(drm_rdu_query_health, power_mw, 4, 4);
FIELD(drm_rdu_query_health, ecc_ce, 8, 4);
FIELD(drm_rdu_query_health, ecc_ue, 12, 4);
FIELD(drm_rdu_query_health, faults, 16, 8);
FIELD(drm_rdu_query_health, resets, 24, 8);

SIZE(drm_rdu_query_limit, 16);
FIELD(drm_rdu_query_limit, used, 0, 8);
FIELD(drm_rdu_query_limit, max, 8, 8);

SIZE(drm_rdu_query_user, 80);
FIELD(drm_rdu_query_user, tiles, 0, 16);
FIELD(drm_rdu_query_user, contexts, 16, 16);
FIELD(drm_rdu_query_user, programs, 32, 16);
FIELD(drm_rdu_query_user, memory, 48, 16);
FIELD(drm_rdu_query_user, system, 64, 16);

SIZE(drm_rdu_vm_create, 8);
FIELD(drm_rdu_vm_create, flags, 0, 4);
FIELD(drm_rdu_vm_create, vm_id, 4, 4);

SIZE(drm_rdu_vm_destroy, 8);
FIELD(drm_rdu_vm_destroy, vm_id, 0, 4);
FIELD(drm_rdu_vm_destroy, pad, 4, 4);

SIZE(drm_rdu_bind_op, 40);
FIELD(drm_rdu_bind_op, type, 0, 4);
FIELD(drm_rdu_bind_op, flags, 4, 4);
FIELD(drm_rdu_bind_op, handle, 8, 4);
FIELD(drm_rdu_bind_op, pad, 12, 4);
FIELD(drm_rdu_bind_op, offset, 16, 8);
FIELD(drm_rdu_bind_op, va, 24, 8);
FIELD(drm_rdu_bind_op, size, 32, 8);

SIZE(drm_rdu_vm_bind, 32);
FIELD(drm_rdu_vm_bind, vm_id, 0, 4);
FIELD(drm_rdu_vm_bind, flags, 4, 4);
FIELD(drm_rdu_vm_bind, ops, 8, 8);
FIELD(drm_rdu_vm_bind, num_ops, 16, 4);
FIELD(drm_rdu_vm_bind, op_stride, 20, 4);
FIELD(drm_rdu_vm_bind, failed_op, 24, 4);
FIELD(drm_rdu_vm_bind, pad, 28, 4);

SIZE(drm_rdu_bo_create, 24);
FIELD(drm_rdu_bo_create, size, 0, 8);
FIELD(drm_rdu_bo_create, placement, 8, 4);
FIELD(drm_rdu_bo_create, flags, 12, 4);
FIELD(drm_rdu_bo_create, vm_id, 16, 4);
FIELD(drm_rdu_bo_create, handle, 20, 4);

SIZE(drm_rdu_bo_create_userptr, 24);
FIELD(drm_rdu_bo_create_userptr, user_ptr, 0, 8);
FIELD(drm_rdu_bo_create_userptr, size, 8, 8);
FIELD(drm_rdu_bo_create_userptr, flags, 16, 4);
FIELD(drm_rdu_bo_create_userptr, handle, 20, 4);

SIZE(drm_rdu_bo_info, 32);
FIELD(drm_rdu_bo_info, handle, 0, 4);
FIELD(drm_rdu_bo_info, pad, 4, 4);
FIELD(drm_rdu_bo_info, size, 8, 8);
FIELD(drm_rdu_bo_info, mmap_offset, 16, 8);
FIELD(drm_rdu_bo_info, placement, 24, 4);
FIELD(drm_rdu_bo_info, flags, 28, 4);

SIZE(drm_rdu_ctx_create, 40);
FIELD(drm_rdu_ctx_create, vm_id, 0, 4);
FIELD(drm_rdu_ctx_create, flags, 4, 4);
FIELD(drm_rdu_ctx_create, num_tiles, 8, 4);
FIELD(drm_rdu_ctx_create, queue_depth, 12, 4);
FIELD(drm_rdu_ctx_create, timeout_ms, 16, 4);
FIELD(drm_rdu_ctx_create, ctx_id, 20, 4);
FIELD(drm_rdu_ctx_create, watchdog_cycles, 24, 8);
FIELD(drm_rdu_ctx_create, tile_mask, 32, 8);

SIZE(drm_rdu_ctx_destroy, 8);
FIELD(drm_rdu_ctx_destroy, ctx_id, 0, 4);
FIELD(drm_rdu_ctx_destroy, pad, 4, 4);

SIZE(drm_rdu_ctx_get_state, 64);
FIELD(drm_rdu_ctx_get_state, ctx_id, 0, 4);
FIELD(drm_rdu_ctx_get_state, state, 4, 4);
FIELD(drm_rdu_ctx_get_state, fault_code, 8, 4);
FIELD(drm_rdu_ctx_get_state, fault_info, 12, 4);
FIELD(drm_rdu_ctx_get_state, section, 16, 4);
FIELD(drm_rdu_ctx_get_state, unit_program, 20, 4);
FIELD(drm_rdu_ctx_get_state, va, 24, 8);
FIELD(drm_rdu_ctx_get_state, fault_seqno, 32, 8);
FIELD(drm_rdu_ctx_get_state, fault_job, 40, 4);
FIELD(drm_rdu_ctx_get_state, pad, 44, 4);
FIELD(drm_rdu_ctx_get_state, submitted, 48, 8);
FIELD(drm_rdu_ctx_get_state, completed, 56, 8);

SIZE(drm_rdu_prog_load, 40);
FIELD(drm_rdu_prog_load, data, 0, 8);
FIELD(drm_rdu_prog_load, size, 8, 8);
FIELD(drm_rdu_prog_load, flags, 16, 4);
FIELD(drm_rdu_prog_load, prog_id, 20, 4);
FIELD(drm_rdu_prog_load, error, 24, 4);
FIELD(drm_rdu_prog_load, error_section, 28, 4);
FIELD(drm_rdu_prog_load, error_offset, 32, 8);

SIZE(drm_rdu_prog_unload, 8);
FIELD(drm_rdu_prog_unload, prog_id, 0, 4);
FIELD(drm_rdu_prog_unload, pad, 4, 4);

SIZE(drm_rdu_job_run, 48);
FIELD(drm_rdu_job_run, prog_id, 0, 4);
FIELD(drm_rdu_job_run, entry, 4, 4);
FIELD(drm_rdu_job_run, args_va, 8, 8);
FIELD(drm_rdu_job_run, args_size, 16, 8);
FIELD(drm_rdu_job_run, stats_va, 24, 8);
FIELD(drm_rdu_job_run, trace_va, 32, 8);
FIELD(drm_rdu_job_run, trace_size, 40, 4);
FIELD(drm_rdu_job_run, epoch, 44, 4);

SIZE(drm_rdu_job_copy, 24);
FIELD(drm_rdu_job_copy, src_va, 0, 8);
FIELD(drm_rdu_job_copy, dst_va, 8, 8);
FIELD(drm_rdu_job_copy, len, 16, 8);

SIZE(drm_rdu_job_fill, 24);
FIELD(drm_rdu_job_fill, va, 0, 8);
FIELD(drm_rdu_job_fill, len, 8, 8);
FIELD(drm_rdu_job_fill, value, 16, 4);
FIELD(drm_rdu_job_fill, pad, 20, 4);

SIZE(drm_rdu_job_timestamp, 8);
FIELD(drm_rdu_job_timestamp, va, 0, 8);

SIZE(drm_rdu_job, 56);
FIELD(drm_rdu_job, type, 0, 4);
FIELD(drm_rdu_job, flags, 4, 4);
FIELD(drm_rdu_job, run, 8, 48);
FIELD(drm_rdu_job, copy, 8, 24);
FIELD(drm_rdu_job, fill, 8, 24);
FIELD(drm_rdu_job, timestamp, 8, 8);
FIELD(drm_rdu_job, raw, 8, 48);

SIZE(drm_rdu_sync, 16);
FIELD(drm_rdu_sync, flags, 0, 4);
FIELD(drm_rdu_sync, handle, 4, 4);
FIELD(drm_rdu_sync, point, 8, 8);

SIZE(drm_rdu_submit, 48);
FIELD(drm_rdu_submit, ctx_id, 0, 4);
FIELD(drm_rdu_submit, flags, 4, 4);
FIELD(drm_rdu_submit, jobs, 8, 8);
FIELD(drm_rdu_submit, num_jobs, 16, 4);
FIELD(drm_rdu_submit, job_stride, 20, 4);
FIELD(drm_rdu_submit, syncs, 24, 8);
FIELD(drm_rdu_submit, num_syncs, 32, 4);
FIELD(drm_rdu_submit, sync_stride, 36, 4);
FIELD(drm_rdu_submit, seqno, 40, 8);

SIZE(drm_rdu_perf_open, 24);
FIELD(drm_rdu_perf_open, ctx_id, 0, 4);
FIELD(drm_rdu_perf_open, flags, 4, 4);
FIELD(drm_rdu_perf_open, period_ns, 8, 8);
FIELD(drm_rdu_perf_open, fd, 16, 4);
FIELD(drm_rdu_perf_open, pad, 20, 4);

SIZE(drm_rdu_perf_sample, 64);
FIELD(drm_rdu_perf_sample, time, 0, 8);
FIELD(drm_rdu_perf_sample, clock, 8, 8);
FIELD(drm_rdu_perf_sample, exec_cycles, 16, 8);
FIELD(drm_rdu_perf_sample, pload_cycles, 24, 8);
FIELD(drm_rdu_perf_sample, aload_cycles, 32, 8);
FIELD(drm_rdu_perf_sample, copy_cycles, 40, 8);
FIELD(drm_rdu_perf_sample, completed, 48, 8);
FIELD(drm_rdu_perf_sample, lost, 56, 8);

#undef IOCTL
#undef VALUE
#undef SIZE
#undef FIELD
