/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints: the way of a SUBMIT, and what goes wrong on it. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM rdu

#if !defined(RDU_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define RDU_TRACE_H

#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(rdu_submit_class,
		    TP_PROTO(u32 queue, u64 submit, u32 cmds),
		    TP_ARGS(queue, submit, cmds),
		    TP_STRUCT__entry(__field(u32, queue)
				     __field(u32, cmds)
				     __field(u64, submit)),
		    TP_fast_assign(__entry->queue = queue;
				   __entry->cmds = cmds;
				   __entry->submit = submit;),
		    TP_printk("queue=%u submit=%llu cmds=%u",
			      __entry->queue, __entry->submit, __entry->cmds));

/* Given to the scheduler. */
DEFINE_EVENT(rdu_submit_class, rdu_submit,
	     TP_PROTO(u32 queue, u64 submit, u32 cmds),
	     TP_ARGS(queue, submit, cmds));

/* Given to the card. */
DEFINE_EVENT(rdu_submit_class, rdu_run,
	     TP_PROTO(u32 queue, u64 submit, u32 cmds),
	     TP_ARGS(queue, submit, cmds));

/* The card says it is done. */
DEFINE_EVENT(rdu_submit_class, rdu_done,
	     TP_PROTO(u32 queue, u64 submit, u32 cmds),
	     TP_ARGS(queue, submit, cmds));

TRACE_EVENT(rdu_fault,
	    TP_PROTO(u32 queue, u32 state, u32 code, u64 va, u64 submit, u32 job),
	    TP_ARGS(queue, state, code, va, submit, job),
	    TP_STRUCT__entry(__field(u32, queue)
			     __field(u32, state)
			     __field(u32, code)
			     __field(u32, job)
			     __field(u64, va)
			     __field(u64, submit)),
	    TP_fast_assign(__entry->queue = queue;
			   __entry->state = state;
			   __entry->code = code;
			   __entry->job = job;
			   __entry->va = va;
			   __entry->submit = submit;),
	    TP_printk("queue=%u state=%#x code=%u va=%#llx submit=%llu job=%u",
		      __entry->queue, __entry->state, __entry->code,
		      __entry->va, __entry->submit, __entry->job));

TRACE_EVENT(rdu_reset,
	    TP_PROTO(u32 queue, int result),
	    TP_ARGS(queue, result),
	    TP_STRUCT__entry(__field(u32, queue)
			     __field(int, result)),
	    TP_fast_assign(__entry->queue = queue;
			   __entry->result = result;),
	    TP_printk("queue=%u result=%d",
		      __entry->queue, __entry->result));

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE rdu_trace
#include <trace/define_trace.h>
