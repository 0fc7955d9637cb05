// SPDX-License-Identifier: MIT
/* The trace a command leaves in memory: sections, stages' activations, units. */
#include <stdlib.h>
#include <string.h>
#include "card_priv.h"

int rdu_trace_begin(struct rdu_tracer *t, uint64_t addr, uint32_t size, uint64_t sections,
		    struct rdu_failure *f)
{
	memset(t, 0, sizeof(*t));
	if (!addr)
		return 0;
	if (size < sizeof(struct rdu_trace))
		return rdu_fail(f, RDU_FAULT_BAD_ARGS, size, addr);
	if (size > RDU_TRACE_MAX)
		size = RDU_TRACE_MAX;
	t->room = (uint32_t)((size - sizeof(struct rdu_trace)) / sizeof(struct rdu_trace_event));
	t->keep = sections < t->room / 3 ? (uint32_t)sections * 3 : t->room;
	t->events = calloc(t->room ? t->room : 1, sizeof(*t->events));
	if (!t->events)
		return rdu_fail(f, RDU_FAULT_INTERNAL, 0, 0);
	t->addr = addr;
	return 0;
}

static struct rdu_trace_event *place(struct rdu_tracer *t, uint32_t keep)
{
	if (!t->addr)
		return NULL;
	if (t->count + keep < t->room)
		return &t->events[t->count++];
	if (t->dropped != UINT32_MAX)
		t->dropped++;
	return NULL;
}

void rdu_trace_event(struct rdu_tracer *t, enum rdu_trace_kind kind, uint32_t section,
		     uint64_t start, uint64_t end)
{
	struct rdu_trace_event *e = place(t, 0);

	if (kind <= RDU_TRACE_EXEC && t->keep)
		t->keep--;
	if (e)
		*e = (struct rdu_trace_event){
			.kind = kind, .section = section, .start = start, .end = end
		};
}

void rdu_trace_units(struct rdu_tracer *t, uint32_t section, const struct rdu_section_time *time)
{
	uint32_t i;

	for (i = 0; i < time->num_programs && t->addr; i++) {
		const struct rdu_unit_time *u = &time->programs[i];
		struct rdu_trace_event *e = place(t, t->keep);

		if (e)
			*e = (struct rdu_trace_event){ .kind = RDU_TRACE_UNIT,
						       .section = section,
						       .id = i,
						       .arg = time->stage_of[i],
						       .start = u->busy,
						       .end = u->stall_in,
						       .stall_out = u->stall_out,
						       .stall_mem = u->stall_mem };
	}
}

bool rdu_trace_has_room(struct rdu_tracer *t, const struct rdu_section_time *time)
{
	uint64_t n = t->dropped;
	uint32_t i;

	if (!t->addr || t->count + t->keep < t->room)
		return t->addr;
	for (i = 0; i < time->num_stages; i++)
		n += time->stages[i].activations;
	t->dropped = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
	return false;
}

void rdu_trace_stage(void *tracer, uint32_t stage, uint32_t activation, uint64_t start,
		     uint64_t end)
{
	struct rdu_tracer *t = tracer;
	struct rdu_trace_event *e = place(t, t->keep);

	if (e)
		*e = (struct rdu_trace_event){ .kind = RDU_TRACE_STAGE,
					       .section = t->section,
					       .id = stage,
					       .arg = activation,
					       .start = t->start + start,
					       .end = t->start + end };
}

int rdu_trace_end(struct rdu_tracer *t, struct card_queue *q, struct rdu_failure *f)
{
	struct rdu_trace head = { .count = t->count, .dropped = t->dropped };
	int result = 0;

	if (t->addr && f)
		result = rdu_mem_write(q, t->addr, &head, sizeof(head), f) ||
			 rdu_mem_write(q, t->addr + sizeof(head), t->events,
				       (uint64_t)t->count * sizeof(*t->events), f);
	free(t->events);
	t->events = NULL;
	t->addr = 0;
	return result ? -1 : 0;
}
