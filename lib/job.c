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

/* Notes its failure on the job. Lock held. */
static struct rdu_slot *take_slot(struct rdu_program *prog, struct rdu_job *job, uint64_t size)
{
	struct rdu_slot **p, *slot;

	for (p = &prog->slots; *p && (*p)->buf->size < size; p = &(*p)->next)
		;
	slot = *p;
	if (slot) {
		*p = slot->next;
		slot->next = NULL;
		return slot;
	}
	slot = calloc(1, sizeof(*slot));
	if (!slot) {
		lr_fail(&job->obj, -ENOMEM, "out of memory");
		return NULL;
	}
	if (!rdu_buffer_new(prog->ctx, size, RDU_BUFFER_HOST, &slot->buf))
		slot->map = rdu_buffer_map(slot->buf);
	if (slot->map)
		return slot;
	if (slot->buf)
		lr_fail_as(&job->obj, &slot->buf->obj);
	else
		lr_fail(&job->obj, -ENOMEM, "out of memory");
	rdu_buffer_free(slot->buf);
	free(slot);
	return NULL;
}

void lr_free_slots(struct rdu_slot *slots)
{
	struct rdu_slot *slot;

	while ((slot = slots)) {
		slots = slot->next;
		rdu_buffer_free(slot->buf);
		free(slot);
	}
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

/* Room of each part of a job's slot, in order. */
struct layout {
	uint64_t args, args_size, copies, size;
	unsigned int num_copies;
};

static struct layout lay_out(struct rdu_program *prog, struct rdu_job *job)
{
	const struct rdu_file *file = prog->file;
	struct layout l = { 0 };
	unsigned int i;

	l.args_size = sizeof(struct rdu_args) + file->num_regions * 16 +
		      file->header->num_scalars * sizeof(*prog->scalars);
	l.args = room_for(&l.size, l.args_size);
	job->stats_offset = room_for(&l.size, sizeof(struct rdu_stats));
	job->trace_room = prog->trace_events
				  ? sizeof(struct rdu_trace) +
					    prog->trace_events * sizeof(struct rdu_trace_event)
				  : 0;
	job->trace_offset = room_for(&l.size, job->trace_room);
	l.copies = l.size;
	for (i = 0; i < file->num_symbols; i++) {
		unsigned int n = copied(prog, i, job->entry, RDU_SYM_INPUT) +
				 copied(prog, i, job->entry, RDU_SYM_OUTPUT);

		l.num_copies += n;
		while (n--)
			room_for(&l.size, rdu_symbol_size(&file->symbols[i]));
	}
	return l;
}

/* Inputs into the slot, commands into cmds; returns how many. */
static unsigned int make_commands(struct rdu_program *prog, struct rdu_job *job,
				  const struct layout *l, struct rdu_cmd *cmds)
{
	const struct rdu_file *file = prog->file;
	struct rdu_slot *slot = job->slot;
	uint64_t at = l->copies;
	struct rdu_cmd *run;
	unsigned int i, n = 0;

	fill_args(prog, (struct rdu_args *)(slot->map + l->args));
	memset(slot->map + job->stats_offset, 0, sizeof(struct rdu_stats));
	if (job->trace_room)
		memset(slot->map + job->trace_offset, 0, sizeof(struct rdu_trace));
	for (i = 0; i < file->num_symbols; i++) {
		size_t size = rdu_symbol_size(&file->symbols[i]);

		if (!copied(prog, i, job->entry, RDU_SYM_INPUT))
			continue;
		memcpy(slot->map + at, prog->bindings[i].data, size);
		cmds[n++] = copy_cmd(prog, i, slot->buf->address + room_for(&at, size), true);
	}
	run = &cmds[n++];
	run->op = RDU_OP_RUN;
	run->run.index = job->entry;
	run->run.args = slot->buf->address + l->args;
	run->run.args_size = l->args_size;
	run->run.stats = slot->buf->address + job->stats_offset;
	run->run.epoch = lr_program_epoch(prog);
	if (job->trace_room) {
		run->run.trace = slot->buf->address + job->trace_offset;
		run->run.trace_size = job->trace_room;
	}
	for (i = 0; i < file->num_symbols; i++) {
		size_t size = rdu_symbol_size(&file->symbols[i]);
		struct rdu_job_output *o = &job->outputs[job->num_outputs];

		if (!copied(prog, i, job->entry, RDU_SYM_OUTPUT))
			continue;
		*o = (struct rdu_job_output){ prog->bindings[i].data, room_for(&at, size), size };
		cmds[n++] = copy_cmd(prog, i, slot->buf->address + o->offset, false);
		job->num_outputs++;
	}
	return n;
}

/* Who reads an output that data say the size of reads its sizes, too. */
static int check_sizes_bound(struct rdu_program *prog, struct rdu_job *job)
{
	const struct rdu_file *file = prog->file;

	for (unsigned int i = 0; i < file->num_symbols; i++) {
		int k = lr_sizes_of(&file->symbols[i]);

		if (k >= 0 && copied(prog, i, job->entry, RDU_SYM_OUTPUT) &&
		    !prog->bindings[k].data)
			return lr_fail(
				&job->obj, -EINVAL,
				"%s: data say how large \"%s\" is: bind \"%s\" as well, or use "
				"rdu_program_run_tensors()",
				file->path, file->symbols[i].name, file->symbols[k].name);
	}
	return 0;
}

static int submit(struct rdu_program *prog, struct rdu_job *job)
{
	struct rdu_context *ctx = prog->ctx;
	struct layout l = lay_out(prog, job);
	struct rdu_cmd *cmds;
	int ret = check_sizes_bound(prog, job);

	if (ret)
		return ret;
	job->outputs = calloc(l.num_copies + 1, sizeof(*job->outputs));
	cmds = calloc(l.num_copies + 1, sizeof(*cmds));
	if (!cmds || !job->outputs) {
		free(cmds);
		return lr_fail(&job->obj, -ENOMEM, "out of memory");
	}
	job->slot = take_slot(prog, job, l.size);
	if (!job->slot) {
		free(cmds);
		return job->obj.code;
	}
	job->first_token = ctx->last_token;
	ret = ctx->dev->backend->submit(ctx, prog, cmds, make_commands(prog, job, &l, cmds),
					&job->token);
	free(cmds);
	if (!ret) {
		ctx->last_token = prog->last_token = job->token;
		job->obj.dead = false;
		return 0;
	}
	job->slot->next = prog->slots;
	prog->slots = job->slot;
	job->slot = NULL;
	if (ret == -EIO || ret == -ENODEV)
		return lr_fail_fault(&job->obj, ctx, NULL, NULL, ret);
	return lr_fail(&job->obj, ret, "the commands could not be queued: %s", strerror(-ret));
}

RDU_EXPORT int rdu_program_submit(struct rdu_program *prog, const char *entry, struct rdu_job **out)
{
	struct rdu_job *job = *out = lr_new(sizeof(*job));
	int index, ret;

	if (!job)
		return -ENOMEM;
	job->prog = prog;
	job->obj.dead = true;
	ret = lr_check_base(&job->obj, &prog->obj, "program");
	if (ret)
		return ret;
	index = rdu_file_find_entry(prog->file, entry);
	if (index < 0)
		return lr_fail_as(&job->obj, &prog->file->obj);
	job->entry = index;
	pthread_mutex_lock(&prog->ctx->lock);
	ret = submit(prog, job);
	pthread_mutex_unlock(&prog->ctx->lock);
	return ret;
}

/* The job's words for the fault: was it this job, or one before it? */
static int fault_of(struct rdu_job *job, int code)
{
	struct rdu_context *ctx = job->prog->ctx;
	struct rdu_fault_info fault = { 0 };
	bool mine = ctx->dev->backend->fault(ctx, &fault) == 1 && fault.seqno > job->first_token &&
		    fault.seqno <= job->token;
	int ret = lr_fail_fault(
		&job->obj, ctx, mine ? job->prog : NULL,
		mine ? job->prog->file->entries[job->entry].name : "a run before this one", code);

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

static bool pending(struct rdu_job *job)
{
	bool yes;

	pthread_mutex_lock(&job->prog->ctx->lock);
	yes = job->slot;
	pthread_mutex_unlock(&job->prog->ctx->lock);
	return yes;
}

RDU_EXPORT int rdu_job_wait(struct rdu_job *job, int64_t timeout_ms, struct rdu_stats *stats)
{
	struct rdu_context *ctx = job->prog->ctx;
	int ret = lr_check(&job->obj);

	if (ret)
		return job->obj.code ? job->obj.code : ret;
	ret = pending(job) ? ctx->dev->backend->wait(ctx, job->token, timeout_ms) : 0;
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
	if (!job->obj.dead && lr_foreign(&job->obj)) {
		lr_free_slots(job->slot);
	} else if (!job->obj.dead) {
		struct rdu_context *ctx = job->prog->ctx;

		if (pending(job))
			ctx->dev->backend->wait(ctx, job->token, -1);
		pthread_mutex_lock(&ctx->lock);
		if (job->slot) {
			job->num_outputs = 0; /* its memory may be gone */
			finish(job, -ECANCELED);
		}
		pthread_mutex_unlock(&ctx->lock);
	}
	free(job->outputs);
	free(job->trace);
	free(job);
}

RDU_EXPORT int rdu_job_trace(struct rdu_job *job, const struct rdu_trace_event **events,
			     uint32_t *dropped)
{
	int ret;

	if (dropped)
		*dropped = 0;
	*events = NULL;
	ret = lr_check(&job->obj);
	if (ret)
		return ret;
	if (pending(job))
		return lr_fail(&job->obj, -EINVAL, "wait for the job first");
	if (!job->trace)
		return job->trace_room && !job->result
			       ? lr_fail(&job->obj, -ENOMEM, "out of memory for the trace")
			       : 0;
	if (dropped)
		*dropped = job->trace->dropped;
	*events = job->trace->events;
	return job->trace->count;
}

RDU_EXPORT int rdu_program_run(struct rdu_program *prog, const char *entry, struct rdu_stats *stats)
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
