/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints: the way of a SUBMIT, and what goes wrong on it. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM rdu

#if !defined(RDU_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define RDU_TRACE_H

#include <linux/tracepoint.h>

#include "rdu_device.h"

/* fence: as the kernel's own dma_fence and scheduler events name it. */
DECLARE_EVENT_CLASS(rdu_submit_class,
		    TP_PROTO(struct rdu_device *rdev, u32 queue, u64 context, u64 submit,
			     u32 cmds),
		    TP_ARGS(rdev, queue, context, submit, cmds),
		    TP_STRUCT__entry(__string(dev, dev_name(rdev->drm.dev))
				     __field(u32, queue)
				     __field(u32, cmds)
				     __field(u64, context)
				     __field(u64, submit)),
		    TP_fast_assign(__assign_str(dev);
				   __entry->queue = queue;
				   __entry->cmds = cmds;
				   __entry->context = context;
				   __entry->submit = submit;),
		    TP_printk("dev=%s queue=%u fence=%llu:%llu cmds=%u", __get_str(dev),
			      __entry->queue, __entry->context, __entry->submit,
			      __entry->cmds));

/* Given to the scheduler, by the process that does it. */
DEFINE_EVENT(rdu_submit_class, rdu_submit,
	     TP_PROTO(struct rdu_device *rdev, u32 queue, u64 context, u64 submit, u32 cmds),
	     TP_ARGS(rdev, queue, context, submit, cmds));

/* Given to the card. */
DEFINE_EVENT(rdu_submit_class, rdu_run,
	     TP_PROTO(struct rdu_device *rdev, u32 queue, u64 context, u64 submit, u32 cmds),
	     TP_ARGS(rdev, queue, context, submit, cmds));

/* The card says it is done. */
DEFINE_EVENT(rdu_submit_class, rdu_done,
	     TP_PROTO(struct rdu_device *rdev, u32 queue, u64 context, u64 submit, u32 cmds),
	     TP_ARGS(rdev, queue, context, submit, cmds));

/* A context died; code: enum rdu_fault, state: DRM_RDU_CTX_STATE_*. */
TRACE_EVENT(rdu_fault,
	    TP_PROTO(struct rdu_device *rdev, u32 queue, u64 context, u32 state, u32 code, u64 va,
		     u64 submit, u32 job),
	    TP_ARGS(rdev, queue, context, state, code, va, submit, job),
	    TP_STRUCT__entry(__string(dev, dev_name(rdev->drm.dev))
			     __field(u32, queue)
			     __field(u32, state)
			     __field(u32, code)
			     __field(u32, job)
			     __field(u64, va)
			     __field(u64, context)
			     __field(u64, submit)),
	    TP_fast_assign(__assign_str(dev);
			   __entry->queue = queue;
			   __entry->state = state;
			   __entry->code = code;
			   __entry->job = job;
			   __entry->va = va;
			   __entry->context = context;
			   __entry->submit = submit;),
	    TP_printk("dev=%s queue=%u fence=%llu:%llu job=%d state=%#x code=%u va=%#llx",
		      __get_str(dev), __entry->queue, __entry->context, __entry->submit,
		      (int)__entry->job, __entry->state, __entry->code, __entry->va));

/* Of a queue; 0: of the administrator's, or of the card with all of them. */
TRACE_EVENT(rdu_reset,
	    TP_PROTO(struct rdu_device *rdev, u32 queue, int result),
	    TP_ARGS(rdev, queue, result),
	    TP_STRUCT__entry(__string(dev, dev_name(rdev->drm.dev))
			     __field(u32, queue)
			     __field(int, result)),
	    TP_fast_assign(__assign_str(dev);
			   __entry->queue = queue;
			   __entry->result = result;),
	    TP_printk("dev=%s queue=%u result=%d", __get_str(dev), __entry->queue,
		      __entry->result));

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE rdu_trace
#include <trace/define_trace.h>
