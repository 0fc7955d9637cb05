/* SPDX-License-Identifier: MIT */
/*
 * Jobs: one run of an entry point, with the copies of bound inputs before it and
 * of bound outputs after it. All that belongs to one job lies in one slot of
 * host memory, so any number can be in flight while the card works in order.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"

static uint64_t room_for(uint64_t *at, uint64_t size)
{
	uint64_t offset = *at;

	*at += (size + 63) & ~63ull;
	return offset;
}

static struct rdu_slot *take_slot(struct rdu_program *prog, uint64_t size)
{
	struct rdu_slot **p, *slot;

	pthread_mutex_lock(&prog->ctx->lock);
	for (p = &prog->slots; *p && (*p)->buf->size < size; p = &(*p)->next)
		;
	slot = *p;
	if (slot)
		*p = slot->next;
	pthread_mutex_unlock(&prog->ctx->lock);
	if (slot)
		return slot;
	slot = calloc(1, sizeof(*slot));
	if (!slot)
		return NULL;
	if (!rdu_buffer_new(prog->ctx, size, RDU_BUFFER_HOST, &slot->buf))
		slot->map = rdu_buffer_map(slot->buf);
	if (slot->map)
		return slot;
	if (slot->buf)
		lr_fail_as(&prog->obj, &slot->buf->obj);
	rdu_buffer_free(slot->buf);
	free(slot);
	return NULL;
}

static void fill_args(struct rdu_program *prog, struct rdu_args *args)
{
	const struct rdu_file *file = prog->file;
	unsigned int i;

	args->num_regions = file->num_regions;
	args->num_scalars = file->header->num_scalars;
	for (i = 0; i < file->num_regions; i++) {
		args->regions[i].addr = prog->regions[i].buf->address + prog->regions[i].offset;
		args->regions[i].size = file->regions[i].size;
	}
	memcpy(&args->regions[i], prog->scalars, args->num_scalars * sizeof(*prog->scalars));
}

static bool copied(const struct rdu_program *prog, unsigned int symbol, unsigned int entry,
		   uint32_t flag)
{
	const struct rdu_file_symbol *sym = &prog->file->symbols[symbol];

	return prog->bindings[symbol].data && sym->flags & flag && sym->entries >> entry & 1 &&
	       rdu_symbol_size(sym);
}

static struct rdu_cmd copy_cmd(struct rdu_program *prog, unsigned int symbol, uint64_t host,
			       bool in)
{
	const struct rdu_file_symbol *sym = &prog->file->symbols[symbol];
	const struct rdu_region_place *place = &prog->regions[sym->region];
	uint64_t card = place->buf->address + place->offset + sym->offset;
	struct rdu_cmd cmd = { .op = RDU_OP_COPY };

	cmd.copy.src = in ? host : card;
	cmd.copy.dst = in ? card : host;
	cmd.copy.len = rdu_symbol_size(sym);
	return cmd;
}

RDU_EXPORT int rdu_program_submit(struct rdu_program *prog, const char *entry,
				  struct rdu_job **out)
{
	const struct rdu_file *file = prog->file;
	struct rdu_context *ctx = prog->ctx;
	struct rdu_job *job;
	struct rdu_cmd *cmds = NULL, *run;
	uint64_t at = 0, args_size, args_at, host;
	unsigned int i, n = 0, copies = 0;
	int index, ret = 0;

	for (i = 0; !prog->obj.dead && i < file->num_symbols; i++)
		copies += prog->bindings[i].data ? 2 : 0;
	job = *out = calloc(1, sizeof(*job) + copies * sizeof(job->outputs[0]));
	if (!job)
		return -ENOMEM;
	job->prog = prog;
	job->obj.dead = true;
	if (lr_check(&prog->obj))
		return lr_fail(&job->obj, -EINVAL, "the program could not be loaded");
	index = rdu_file_find_entry(prog->file, entry);
	if (index < 0)
		return lr_fail_as(&job->obj, &file->obj);
	job->entry = index;

	args_size = sizeof(struct rdu_args) + file->num_regions * 16 +
		    file->header->num_scalars * sizeof(*prog->scalars);
	args_at = room_for(&at, args_size);
	job->stats_offset = room_for(&at, sizeof(struct rdu_stats));
	job->trace_room = prog->trace_events ? sizeof(struct rdu_trace) + prog->trace_events *
						       sizeof(struct rdu_trace_event) : 0;
	job->trace_offset = room_for(&at, job->trace_room);
	host = at;
	for (i = 0; i < file->num_symbols; i++) {
		if (copied(prog, i, index, RDU_SYM_INPUT))
			room_for(&at, rdu_symbol_size(&file->symbols[i]));
		if (copied(prog, i, index, RDU_SYM_OUTPUT))
			room_for(&at, rdu_symbol_size(&file->symbols[i]));
	}
	cmds = calloc(copies + 1, sizeof(*cmds));
	job->slot = cmds ? take_slot(prog, at) : NULL;
	if (!job->slot) {
		free(cmds);
		if (prog->obj.code)
			return lr_fail_as(&job->obj, &prog->obj);
		return lr_fail(&job->obj, -ENOMEM, "out of memory for a job of %llu bytes",
				(unsigned long long)at);
	}

	pthread_mutex_lock(&ctx->lock);
	fill_args(prog, (struct rdu_args *)(job->slot->map + args_at));
	memset(job->slot->map + job->stats_offset, 0, sizeof(struct rdu_stats));
	if (job->trace_room)
		memset(job->slot->map + job->trace_offset, 0, sizeof(struct rdu_trace));
	for (i = 0; i < file->num_symbols; i++) {
		size_t size = rdu_symbol_size(&file->symbols[i]);

		if (!copied(prog, i, index, RDU_SYM_INPUT))
			continue;
		memcpy(job->slot->map + host, prog->bindings[i].data, size);
		cmds[n++] = copy_cmd(prog, i, job->slot->buf->address + room_for(&host, size), true);
	}
	run = &cmds[n++];
	run->op = RDU_OP_RUN;
	run->run.index = index;
	run->run.args = job->slot->buf->address + args_at;
	run->run.args_size = args_size;
	run->run.stats = job->slot->buf->address + job->stats_offset;
	if (job->trace_room) {
		run->run.trace = job->slot->buf->address + job->trace_offset;
		run->run.trace_size = job->trace_room;
	}
	for (i = 0; i < file->num_symbols; i++) {
		size_t size = rdu_symbol_size(&file->symbols[i]);
		struct rdu_job_output *o = &job->outputs[job->num_outputs];

		if (!copied(prog, i, index, RDU_SYM_OUTPUT))
			continue;
		*o = (struct rdu_job_output){ prog->bindings[i].data, room_for(&host, size), size };
		cmds[n++] = copy_cmd(prog, i, job->slot->buf->address + o->offset, false);
		job->num_outputs++;
	}
	job->first_token = ctx->last_token;
	ret = ctx->dev->backend->submit(ctx, prog, cmds, n, &job->token);
	if (!ret) {
		ctx->last_token = prog->last_token = job->token;
		prog->num_jobs++;
		job->obj.dead = false;
	} else {
		job->slot->next = prog->slots;
		prog->slots = job->slot;
		job->slot = NULL;
	}
	pthread_mutex_unlock(&ctx->lock);
	free(cmds);
	if (ret == -EIO || ret == -ENODEV)
		return lr_fail_fault(&job->obj, ctx, NULL, NULL, ret);
	if (ret)
		return lr_fail(&job->obj, ret, "the commands could not be queued: %s",
				strerror(-ret));
	return 0;
}

/* The job's words for the fault: was it this job, or one before it? */
static int fault_of(struct rdu_job *job, int code)
{
	struct rdu_context *ctx = job->prog->ctx;
	struct rdu_fault_info fault = { 0 };
	bool mine = ctx->dev->backend->fault(ctx, &fault) == 1 &&
		    fault.seqno > job->first_token && fault.seqno <= job->token;
	int ret = lr_fail_fault(&job->obj, ctx, mine ? job->prog : NULL,
				 mine ? job->prog->file->entries[job->entry].name :
					"a run before this one", code);

	lr_fail_as(&job->prog->obj, &job->obj);
	return ret;
}

/* It is over: keep what was asked for, hand back the slot. Lock held. */
static void finish(struct rdu_job *job, int result)
{
	struct rdu_program *prog = job->prog;
	struct rdu_slot *slot = job->slot;
	const struct rdu_trace *trace = (void *)(slot->map + job->trace_offset);
	unsigned int i;

	job->slot = NULL;
	job->result = result;
	if (!result) {
		for (i = 0; i < job->num_outputs; i++)
			memcpy(job->outputs[i].data, slot->map + job->outputs[i].offset,
			       job->outputs[i].size);
		memcpy(&job->stats, slot->map + job->stats_offset, sizeof(job->stats));
	}
	if (!result && job->trace_room) {
		uint32_t most = (job->trace_room - sizeof(*trace)) / sizeof(trace->events[0]);
		uint32_t count = trace->count < most ? trace->count : most;
		size_t size = sizeof(*trace) + count * sizeof(trace->events[0]);

		job->trace = malloc(size);
		if (job->trace) {
			memcpy(job->trace, trace, size);
			job->trace->count = count;
		}
	}
	/* After a fault the card is stopped: nothing writes to the slot any more. */
	slot->next = prog->slots;
	prog->slots = slot;
}

RDU_EXPORT int rdu_job_wait(struct rdu_job *job, int64_t timeout_ms, struct rdu_stats *stats)
{
	struct rdu_context *ctx = job->prog->ctx;
	int ret = lr_check(&job->obj);

	if (ret)
		return job->obj.code ? job->obj.code : ret;
	ret = job->slot ? ctx->dev->backend->wait(ctx, job->token, timeout_ms) : 0;
	if (ret == -ETIME)
		return lr_fail(&job->obj, -ETIMEDOUT, "entry point %s: not done after %lld ms",
				job->prog->file->entries[job->entry].name, (long long)timeout_ms);
	if (ret)
		ret = fault_of(job, ret);
	pthread_mutex_lock(&ctx->lock);
	if (job->slot)
		finish(job, ret);
	ret = job->result;
	if (stats)
		*stats = job->stats;
	pthread_mutex_unlock(&ctx->lock);
	return ret;
}

RDU_EXPORT void rdu_job_free(struct rdu_job *job)
{
	if (!job)
		return;
	if (!job->obj.dead) {
		struct rdu_context *ctx = job->prog->ctx;

		if (job->slot)
			ctx->dev->backend->wait(ctx, job->token, -1);
		pthread_mutex_lock(&ctx->lock);
		if (job->slot) {
			job->num_outputs = 0; /* its memory may be gone */
			finish(job, -ECANCELED);
		}
		job->prog->num_jobs--;
		pthread_mutex_unlock(&ctx->lock);
	}
	free(job->trace);
	free(job);
}

RDU_EXPORT int rdu_job_trace(struct rdu_job *job, const struct rdu_trace_event **events,
			     uint32_t *dropped)
{
	if (dropped)
		*dropped = 0;
	*events = NULL;
	if (lr_check(&job->obj))
		return -EINVAL;
	if (job->slot)
		return lr_fail(&job->obj, -EINVAL, "wait for the job first");
	if (!job->trace)
		return job->trace_room && !job->result ?
			       lr_fail(&job->obj, -ENOMEM, "out of memory for the trace") : 0;
	if (dropped)
		*dropped = job->trace->dropped;
	*events = job->trace->events;
	return job->trace->count;
}

RDU_EXPORT int rdu_program_run(struct rdu_program *prog, const char *entry,
			       struct rdu_stats *stats)
{
	struct rdu_job *job;
	int ret = rdu_program_submit(prog, entry, &job);

	if (!ret)
		ret = rdu_job_wait(job, -1, stats);
	if (ret && job)
		lr_fail_as(&prog->obj, &job->obj);
	rdu_job_free(job);
	return ret;
}
