// SPDX-License-Identifier: MIT
/*
 * Program slots, and the commands that run what is in them.
 *
 * PROG_LOAD takes its own copy of the image out of card memory before it looks
 * at it: the guest can't change what was validated. Programs are counted by
 * reference, so a slot can be emptied while a queue runs what was in it.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "card_priv.h"
#include "timing_priv.h"

void rdu_program_put(struct card_program *p)
{
	uint32_t i;

	if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
		return;
	for (i = 0; p->section && i < p->hdr->num_sections; i++)
		if (p->section[i].section)
			rdu_section_free(p->section[i].section);
	atomic_fetch_sub(&p->card->image_bytes, p->size);
	pthread_cond_destroy(&p->freed);
	pthread_mutex_destroy(&p->lock);
	free(p->section);
	free(p->writes);
	free(p->image);
	free(p);
}

/* The queue's references follow what is in its planes. Arguments were for what was in use. */
static void set_planes(struct card_queue *q, const struct rdu_planes *planes)
{
	struct card_program *now[] = { planes->used.program, planes->other.program };
	struct card_program *before[] = { q->planes.used.program, q->planes.other.program };

	for (int i = 0; i < 2; i++)
		if (now[i])
			atomic_fetch_add(&now[i]->refs, 1);
	for (int i = 0; i < 2; i++)
		rdu_program_put(before[i]);
	q->planes = *planes;
	free(q->args.block);
	memset(&q->args, 0, sizeof(q->args));
}

void rdu_queue_unload(struct card_queue *q)
{
	set_planes(q, &(struct rdu_planes){ 0 });
	rdu_schedule_free(q->run);
	q->run = NULL;
	if (q->work == CARD_WORK_SUSPENDED)
		card_queue_move(q, CARD_WORK_QUIET);
}

struct card_program *rdu_program_new(struct rdu_card *card, unsigned char *image, size_t size,
				     uint32_t tiles)
{
	struct card_program *p = calloc(1, sizeof(*p));
	const struct rdu_prog_header *h = (const void *)image;
	pthread_condattr_t attr;

	if (!p)
		return NULL;
	p->section = calloc(h->num_sections + 1, sizeof(*p->section));
	if (!p->section) {
		free(p);
		return NULL;
	}
	p->refs = 1;
	p->card = card;
	p->image = image;
	p->size = size;
	atomic_fetch_add(&card->image_bytes, size);
	p->hdr = h;
	p->sections = (const void *)(image + h->sections_off);
	p->segments = (const void *)(image + h->segments_off);
	p->entries = (const void *)(image + h->entries_off);
	p->steps = (const void *)(image + h->steps_off);
	p->region_size = (const void *)(image + h->regions_off);
	p->tiles = tiles;
	p->chip = card->chip;
	if (card_kept_prepare(p)) {
		atomic_fetch_sub(&card->image_bytes, size);
		free(p->section);
		free(p);
		return NULL;
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->freed, &attr);
	pthread_condattr_destroy(&attr);
	return p;
}

int rdu_prog_load(struct card_queue *q, const struct rdu_cmd *cmd, struct rdu_failure *f)
{
	struct rdu_card *card = q->card;
	uint64_t addr = cmd->prog.addr, size = cmd->prog.size;
	uint32_t tiles = cmd->prog.tiles ? cmd->prog.tiles : card->chip.tiles;
	struct rdu_prog_result result = { .section = RDU_NONE };
	struct rdu_cfg_diag diag;
	struct card_program *p = NULL;
	unsigned char *image = NULL;

	memset(&diag, 0, sizeof(diag));
	if (tiles > card->chip.tiles)
		tiles = card->chip.tiles;
	if (cmd->slot >= RDU_MAX_SLOTS || card->slot[cmd->slot])
		return rdu_fail(f, RDU_FAULT_BAD_SLOT, cmd->slot, 0);
	if (size > card->mem_size || addr > card->mem_size - size)
		return rdu_fail(f, RDU_FAULT_PAGE, 0, addr);
	if (size < sizeof(struct rdu_prog_header))
		result.error = RDU_CFG_E_TRUNCATED;
	else if (size > RDU_MAX_PROGRAM_IMAGE)
		result.error = RDU_CFG_E_TOO_LARGE;
	else if (size > RDU_MAX_LOADED_IMAGES - card->image_bytes)
		result.error = RDU_CFG_E_UNSUPPORTED;
	if (result.error)
		goto answer;
	if (rdu_inject_ecc(q, addr, f))
		return -1;
	image = malloc(size);
	if (!image)
		return rdu_fail(f, RDU_FAULT_INTERNAL, 0, size);
	memcpy(image, card->mem + addr, size);
	if (rdu_program_validate(image, size, &card->chip, tiles, &diag)) {
		result.error = diag.error ? diag.error : RDU_CFG_E_UNSUPPORTED;
		result.section = diag.section;
		result.offset = diag.offset;
		rdu_guest_error(card, "program refused: section %d, offset %llu: %s",
				(int)diag.section, (unsigned long long)diag.offset, diag.text);
		free(image);
		goto answer;
	}
	p = rdu_program_new(card, image, size, tiles);
	if (!p) {
		free(image);
		return rdu_fail(f, RDU_FAULT_INTERNAL, 0, size);
	}
answer:
	if (cmd->prog.result && rdu_bus_write(card, cmd->prog.result, &result, sizeof(result))) {
		rdu_program_put(p);
		return rdu_fail(f, RDU_FAULT_HOST_BUS, RDU_FAULT_INFO_WRITE, cmd->prog.result);
	}
	if (p) {
		pthread_mutex_lock(&card->lock);
		card->slot[cmd->slot] = p;
		pthread_mutex_unlock(&card->lock);
	}
	return 0;
}

int rdu_prog_unload(struct card_queue *q, const struct rdu_cmd *cmd, struct rdu_failure *f)
{
	struct rdu_card *card = q->card;
	struct card_program *p = NULL;

	pthread_mutex_lock(&card->lock);
	if (cmd->slot < RDU_MAX_SLOTS) {
		p = card->slot[cmd->slot];
		card->slot[cmd->slot] = NULL;
	}
	pthread_mutex_unlock(&card->lock);
	if (!p)
		return rdu_fail(f, RDU_FAULT_BAD_SLOT, cmd->slot, 0);
	rdu_program_put(p);
	return 0;
}

static struct card_program *slot_get(struct rdu_card *card, uint32_t slot)
{
	struct card_program *p = NULL;

	pthread_mutex_lock(&card->lock);
	if (slot < RDU_MAX_SLOTS && card->slot[slot]) {
		p = card->slot[slot];
		atomic_fetch_add(&p->refs, 1);
	}
	pthread_mutex_unlock(&card->lock);
	return p;
}

/* ---- a translated section, one user at a time ------------------------------- */

static const struct rdu_cfg_header *section_header(const struct card_program *p, uint32_t i)
{
	return (const void *)(p->image + p->sections[i].offset);
}

bool rdu_program_fits(const struct card_program *p, uint32_t i, uint32_t tiles)
{
	return section_header(p, i)->num_tiles <= tiles && p->hdr->num_tiles <= tiles;
}

static struct rdu_section *section_get(struct card_queue *q, struct card_program *p, uint32_t i,
				       struct rdu_failure *f)
{
	struct rdu_slot_section *s = &p->section[i];
	struct rdu_cfg_diag diag;

	pthread_mutex_lock(&p->lock);
	while (s->in_use) {
		struct timespec soon = rdu_in_ms(10);

		pthread_cond_timedwait(&p->freed, &p->lock, &soon);
		if (!s->in_use)
			break;
		pthread_mutex_unlock(&p->lock);
		if (!rdu_queue_continue(q, f))
			return NULL;
		pthread_mutex_lock(&p->lock);
	}
	s->in_use = true;
	pthread_mutex_unlock(&p->lock);
	if (s->section)
		return s->section;
	memset(&diag, 0, sizeof(diag));
	s->section = rdu_section_new(p->image + p->sections[i].offset, p->sections[i].size,
				     &p->chip, p->tiles, &diag);
	if (s->section)
		return s->section;
	rdu_fail(f, RDU_FAULT_CONFIG, diag.error, p->sections[i].offset + diag.offset);
	f->section = i;
	pthread_mutex_lock(&p->lock);
	s->in_use = false;
	pthread_cond_broadcast(&p->freed);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void section_put(struct card_program *p, uint32_t i)
{
	pthread_mutex_lock(&p->lock);
	p->section[i].in_use = false;
	pthread_cond_broadcast(&p->freed);
	pthread_mutex_unlock(&p->lock);
}

/* ---- argument blocks -------------------------------------------------------- */

struct rdu_args *rdu_args_new(const struct card_program *p, size_t *size)
{
	const struct rdu_args *a;

	*size = sizeof(*a) + p->hdr->num_regions * sizeof(a->regions[0]) +
		p->hdr->num_scalars * sizeof(uint32_t);
	return calloc(1, *size + 8);
}

bool rdu_args_wrong(const struct card_program *p, const struct rdu_args *args, uint32_t *region)
{
	*region = RDU_NONE;
	if (args->num_regions != p->hdr->num_regions || args->num_scalars != p->hdr->num_scalars)
		return true;
	for (uint32_t i = 0; i < args->num_regions; i++) {
		*region = i;
		if (args->regions[i].size < p->region_size[i] || args->regions[i].addr & 63 ||
		    args->regions[i].addr + p->region_size[i] < args->regions[i].addr)
			return true;
	}
	return false;
}

static int read_args(struct card_queue *q, const struct card_program *p, uint64_t addr,
		     uint64_t size, struct rdu_bound_args *args, struct rdu_failure *f)
{
	uint32_t region;
	size_t need;

	args->block = rdu_args_new(p, &need);
	if (!args->block)
		return rdu_fail(f, RDU_FAULT_INTERNAL, 0, 0);
	args->scalars = (uint32_t *)(void *)&args->block->regions[p->hdr->num_regions];
	if (!addr && !size && !p->hdr->num_regions && !p->hdr->num_scalars)
		return 0;
	if (size < need) {
		rdu_fail(f, RDU_FAULT_BAD_ARGS, RDU_NONE, addr);
		goto fail;
	}
	if (rdu_mem_read(q, addr, args->block, need, f))
		goto fail;
	if (rdu_args_wrong(p, args->block, &region)) {
		rdu_fail(f, RDU_FAULT_BAD_ARGS, region,
			 region == RDU_NONE ? addr : args->block->regions[region].addr);
		goto fail;
	}
	return 0;
fail:
	free(args->block);
	args->block = NULL;
	return -1;
}

/* ---- the three commands ----------------------------------------------------- */

static int job_begin(struct card_job *j, struct card_queue *q, const struct rdu_cmd *c,
		     uint64_t sections, struct rdu_failure *f)
{
	memset(&j->stats, 0, sizeof(j->stats));
	j->wall = rdu_card_now(q->card);
	j->q = q;
	return rdu_trace_begin(&j->trace, c->run.trace, c->run.trace_size, sections, f);
}

static int job_end(struct card_job *j, const struct rdu_cmd *c, int failed, struct rdu_failure *f)
{
	struct card_queue *q = j->q;

	j->stats.start_cycle = q->time;
	j->stats.end_cycle = rdu_queue_clock(q);
	j->stats.exec_cycles = q->spent.exec;
	j->stats.pload_cycles = q->spent.pload;
	j->stats.aload_cycles = q->spent.aload;
	j->stats.copy_cycles = q->spent.copy;
	j->stats.wall_ns = rdu_card_now(q->card) - j->wall;
	if (rdu_trace_end(&j->trace, q, failed ? NULL : f))
		failed = -1;
	if (!failed && c->run.stats)
		failed = rdu_mem_write(q, c->run.stats, &j->stats, sizeof(j->stats), f);
	return failed;
}

/* Modelled energy of what was done in `cycles`; and so much that nobody can count it stays so. */
static void count_energy(struct card_job *j, const struct rdu_energy *e, uint64_t cycles)
{
	const struct card_program *p = j->p;
	double pj = 1e12 *
		    (rdu_energy_joules(e) + rdu_idle_energy(&p->chip, p->hdr->num_tiles, cycles));

	if (pj >= 0x1p64 || __builtin_add_overflow(j->stats.energy, (uint64_t)pj, &j->stats.energy))
		j->stats.energy = UINT64_MAX;
}

/* A load that began when the section before did: as long as it takes alone, or until it holds up
 * the next. */
static void trace_pload(struct card_job *j, uint32_t i, const struct rdu_load *load)
{
	uint64_t end = rdu_queue_clock(j->q), start = end - load->cycles, alone;

	if (load->bytes && j->p->chip.config_planes > 1) {
		alone = rdu_pload_cycles(&j->p->chip, load->bytes, NULL);
		start -= j->under.cycles;
		if (alone <= j->under.cycles)
			end = start + alone;
	}
	rdu_trace_event(&j->trace, RDU_TRACE_PLOAD, i, start, end);
}

/* Section i into use, which it may be in already. Its load began with the section before in the
 * schedule, which tells what comes next: nothing here has to be known sooner. */
static int pload(struct card_job *j, uint32_t i, struct rdu_failure *f)
{
	struct card_queue *q = j->q;
	struct card_program *p = j->p;
	struct rdu_planes planes = q->planes;
	struct rdu_energy energy;
	struct rdu_load load;

	if (card_loaded(q) == p && planes.used.section == i)
		return 0;
	f->section = i;
	if (!rdu_program_fits(p, i, q->live.tile_count))
		return rdu_fail(f, RDU_FAULT_NO_TILES, p->hdr->num_tiles, q->live.tile_count);
	load = rdu_planes_load(&p->chip, &planes, p, i, p->sections[i].size, &j->under);
	energy = rdu_load_energy(&p->chip, load.bytes);
	if (!rdu_queue_spend(q, &q->spent.pload, load.cycles, f))
		return -1;
	count_energy(j, &energy, load.cycles);
	j->stats.load_bytes += load.bytes;
	set_planes(q, &planes);
	trace_pload(j, i, &load);
	f->section = RDU_NONE;
	return 0;
}

static int aload(struct card_job *j, uint32_t i, struct rdu_failure *f)
{
	struct card_queue *q = j->q;
	uint64_t start = rdu_queue_clock(q),
		 cycles = rdu_aload_cycles(&j->p->chip, j->p->sections[i].num_segments);

	if (!rdu_queue_spend(q, &q->spent.aload, cycles, f))
		return -1;
	count_energy(j, &(struct rdu_energy){ 0 }, cycles);
	rdu_trace_event(&j->trace, RDU_TRACE_ALOAD, i, start, rdu_queue_clock(q));
	return 0;
}

/* Values, if the card computes any. */
static int compute(struct card_job *j, uint32_t i, struct rdu_section *s,
		   const struct card_binding *b, struct rdu_failure *f)
{
	struct card_queue *q = j->q;
	struct rdu_card *card = q->card;
	struct fab_fault record = { .program = RDU_NONE };
	struct fab_run run = {
		.segments = b->segment,
		.scalars = j->args->scalars,
		.scratch = card->scratch_ptr + (size_t)q->live.tile_first * card->pmus_per_tile,
		.pool = card->pool,
		.stop = &q->stop,
		.deadline_ns = q->deadline_ns,
	};

	if (card->timing_only || !rdu_section_execute(s, &run, &record))
		return 0;
	rdu_fail(f, record.code ? record.code : RDU_FAULT_INTERNAL,
		 record.code == RDU_FAULT_WATCHDOG ? 1 : record.info, record.addr);
	f->section = i;
	f->program = record.program;
	return -1;
}

/* What was stored before a fault stays stored: no watchdog and no pause cuts the
 * copies back of a section that has ended, which are bounded. A reset does. */
static int unbind(struct card_queue *q, struct card_binding *b, struct rdu_failure *f)
{
	struct rdu_card *card = q->card;
	uint64_t deadline = q->deadline_ns;
	int result;

	pthread_mutex_lock(&card->lock);
	card_queue_move(q, CARD_WORK_STORING);
	if (q->requests & CARD_REQ_OVERTIME)
		q->stop = q->requests & CARD_REQ_RESET || card->closing;
	pthread_mutex_unlock(&card->lock);
	q->deadline_ns = 0;
	result = rdu_unbind(q, b, !q->stop, f);
	q->deadline_ns = deadline;
	pthread_mutex_lock(&card->lock);
	card_queue_move(q, CARD_WORK_BUSY);
	pthread_mutex_unlock(&card->lock);
	return result;
}

/*
 * RDU_PARTS-ths of memory's time that other queues' sections take now. Of n queues that want
 * all of it, each gets an n-th.
 */
static uint32_t others_parts(const struct card_queue *q)
{
	uint32_t parts = 0, n = 1, most;

	for (unsigned int i = 0; i < RDU_MAX_QUEUES; i++) {
		uint32_t p = q->card->queue[i].memory_parts;

		if (i == q->id || !p)
			continue;
		parts += p;
		n++;
	}
	most = RDU_PARTS - (RDU_PARTS + n - 1) / n;
	return parts < most ? parts : most;
}

/* RDU_PARTS-ths of memory's time, rounded up, that a section takes. */
static uint32_t own_parts(const struct rdu_chip *chip, const struct rdu_section_time *t)
{
	double rate = chip->dram_mbps * 1e3 / chip->clock_khz;
	uint32_t parts =
		(uint32_t)ceil(RDU_PARTS * (double)t->dram_bytes / ((double)t->cycles * rate));

	return parts < RDU_PARTS ? parts : RDU_PARTS;
}

static void put_time(const struct rdu_section_time *t, const struct rdu_offchip *off)
{
	if (t && off)
		rdu_section_time_put(t);
}

static int exec(struct card_job *j, uint32_t i, uint64_t iteration, struct rdu_failure *f)
{
	struct card_queue *q = j->q;
	struct rdu_patience patience = { .stop = &q->stop,
					 .deadline_ns = q->deadline_ns,
					 .store = true };
	const struct rdu_section_time *t;
	uint64_t start = rdu_queue_clock(q);
	struct rdu_offchip beside = { .others = others_parts(q) };
	const struct rdu_offchip *off;
	struct card_binding b;
	struct rdu_section *s;
	int failed;

	f->section = i;
	s = section_get(q, j->p, i, f);
	if (!s)
		return -1;
	j->trace.section = i;
	j->trace.start = start;
	failed = rdu_bind(q, j->p, i, j->args, j->views, iteration, &b, f);
	if (failed)
		goto out;
	card_kept_overwrite(q, j->p, i);
	for (uint32_t k = 0; k < b.num; k++)
		if (b.segment[k].write)
			card_kept_written(q, b.va[k], b.segment[k].size);
	beside.in_host = b.any_in_host ? b.in_host : NULL;
	off = beside.in_host || beside.others ? &beside : NULL;
	t = rdu_section_time_within(s, j->args->scalars, off, NULL, NULL, &patience);
	q->memory_parts = t ? own_parts(&j->p->chip, t) : 0;
	if (!t) {
		failed = -1;
		if (patience.too_long)
			rdu_fail(f, RDU_FAULT_CONFIG, RDU_CFG_E_UNSUPPORTED,
				 j->p->sections[i].offset);
		else if (rdu_queue_continue(q, f)) /* argument registers that don't fit */
			rdu_fail(f, RDU_FAULT_CONFIG, RDU_CFG_E_COUNTER, j->p->sections[i].offset);
	} else {
		failed = rdu_queue_spend(q, &q->spent.exec, t->cycles, f) ? compute(j, i, s, &b, f)
									  : -1;
	}
	if (!failed) {
		j->under = (struct rdu_load_under){ t->cycles, t->dram_bytes };
		j->stats.dram_bytes += t->dram_bytes;
		j->stats.macs += t->macs;
		j->stats.flops += t->flops;
		count_energy(j, &t->energy, t->cycles);
		j->stats.sections++;
		rdu_trace_event(&j->trace, RDU_TRACE_EXEC, i, start, rdu_queue_clock(q));
		rdu_trace_units(&j->trace, i, t);
		if (rdu_trace_has_room(&j->trace, t))
			put_time(rdu_section_time_within(s, j->args->scalars, off, rdu_trace_stage,
							 &j->trace, &patience),
				 off);
	}
	q->memory_parts = 0;
	put_time(t, off);
	if (unbind(q, &b, failed ? &(struct rdu_failure){ .info = 0 } : f))
		failed = -1;
out:
	section_put(j->p, i);
	if (!failed)
		f->section = RDU_NONE;
	return failed;
}

/* ---- schedules -------------------------------------------------------------- */

/* Executions in a schedule, 2^63 at most: room for the trace. */
static uint64_t count_runs(const struct rdu_prog_step *step, uint32_t n)
{
	uint64_t times[RDU_MAX_LOOP_DEPTH + 1] = { 1 }, runs = 0;
	unsigned int depth = 0;
	uint32_t i;

	for (i = 0; i < n; i++) {
		if ((step[i].kind == RDU_STEP_RUN || step[i].kind == RDU_STEP_KEEP) &&
		    !__builtin_add_overflow(runs, times[depth], &runs))
			continue;
		if (step[i].kind == RDU_STEP_LOOP && depth < RDU_MAX_LOOP_DEPTH &&
		    !__builtin_mul_overflow(times[depth], step[i].arg, &times[depth + 1]))
			depth++;
		else if (step[i].kind == RDU_STEP_END && depth)
			depth--;
		else
			return UINT64_MAX;
	}
	return runs;
}

/* Index of the END that closes the LOOP before `at`. */
static uint32_t skip_loop(const struct rdu_prog_step *step, uint32_t n, uint32_t at)
{
	unsigned int open = 1;

	for (; at < n; at++) {
		if (step[at].kind == RDU_STEP_LOOP)
			open++;
		else if (step[at].kind == RDU_STEP_END && !--open)
			return at;
	}
	return n;
}

static int run_section(struct rdu_schedule *s, uint32_t section, uint64_t iteration,
		       struct rdu_failure *f)
{
	struct card_job *j = &s->job;

	if (section >= j->p->hdr->num_sections)
		return rdu_fail(f, RDU_FAULT_BAD_SLOT, section, s->at);
	return pload(j, section, f) || aload(j, section, f) || exec(j, section, iteration, f);
}

static int keep(struct rdu_schedule *s, uint32_t section, struct rdu_failure *f)
{
	struct card_job *j = &s->job;

	if (section < j->p->hdr->num_sections && card_kept_there(j->q, j->p, section)) {
		j->stats.kept++;
		return 0;
	}
	if (card_kept_open(j->q, j->p, s->args.block, s->epoch))
		return rdu_fail(f, RDU_FAULT_INTERNAL, 0, 0);
	if (run_section(s, section, 0, f))
		return -1;
	if (s->epoch)
		card_kept_add(j->q, j->p, section);
	return 0;
}

static int schedule(struct rdu_schedule *s, struct rdu_failure *f)
{
	struct card_job *j = &s->job;
	const struct rdu_prog_entry *e = &j->p->entries[s->entry];
	const struct rdu_prog_step *step = &j->p->steps[e->first_step];
	uint32_t n = e->num_steps, at;
	struct rdu_loop *l;

	while ((at = s->at) < n) {
		if (j->q->card->paused)
			return RDU_SUSPENDED;
		if (!rdu_queue_continue(j->q, f))
			return -1;
		l = s->depth ? &s->loop[s->depth - 1] : NULL;
		switch (step[at].kind) {
		case RDU_STEP_RUN:
			if (run_section(s, step[at].arg, l ? l->done : 0, f))
				return -1;
			s->at++;
			break;
		case RDU_STEP_KEEP:
			if (keep(s, step[at].arg, f))
				return -1;
			s->at++;
			break;
		case RDU_STEP_LOOP:
			if (s->depth == RDU_MAX_LOOP_DEPTH)
				return rdu_fail(f, RDU_FAULT_BAD_SLOT, s->depth, at);
			s->at++;
			if (!step[at].arg) {
				s->at = skip_loop(step, n, s->at) + 1;
				break;
			}
			s->loop[s->depth++] =
				(struct rdu_loop){ .body = s->at, .count = step[at].arg };
			break;
		case RDU_STEP_END:
			if (!l)
				return rdu_fail(f, RDU_FAULT_BAD_SLOT, 0, at);
			if (++l->done < l->count) {
				s->at = l->body;
			} else {
				s->depth--;
				s->at++;
			}
			break;
		default:
			return rdu_fail(f, RDU_FAULT_BAD_SLOT, step[at].kind, at);
		}
	}
	return 0;
}

struct rdu_schedule *rdu_schedule_new(struct card_queue *q, struct card_program *p, uint32_t entry)
{
	struct rdu_schedule *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->job.views = calloc(p->hdr->num_regions + 1, sizeof(*s->job.views));
	if (!s->job.views) {
		free(s);
		return NULL;
	}
	s->job.q = q;
	s->job.p = p;
	s->job.args = &s->args;
	s->entry = entry;
	return s;
}

void rdu_schedule_free(struct rdu_schedule *s)
{
	if (!s)
		return;
	rdu_trace_end(&s->job.trace, s->job.q, NULL);
	rdu_program_put(s->job.p);
	free(s->job.views);
	free(s->args.block);
	free(s);
}

static struct rdu_schedule *start_run(struct card_queue *q, const struct rdu_cmd *cmd,
				      struct rdu_failure *f)
{
	struct card_program *p = slot_get(q->card, cmd->slot);
	const struct rdu_prog_entry *e;
	struct rdu_schedule *s;

	if (!p || cmd->run.index >= p->hdr->num_entries) {
		rdu_fail(f, RDU_FAULT_BAD_SLOT, cmd->slot, cmd->run.index);
		goto no_run;
	}
	e = &p->entries[cmd->run.index];
	if (p->hdr->num_tiles > q->live.tile_count) {
		rdu_fail(f, RDU_FAULT_NO_TILES, p->hdr->num_tiles, q->live.tile_count);
		goto no_run;
	}
	s = rdu_schedule_new(q, p, cmd->run.index);
	if (!s) {
		rdu_fail(f, RDU_FAULT_INTERNAL, 0, 0);
		goto no_run;
	}
	if (read_args(q, p, cmd->run.args, cmd->run.args_size, &s->args, f) ||
	    job_begin(&s->job, q, cmd, count_runs(&p->steps[e->first_step], e->num_steps), f)) {
		rdu_schedule_free(s);
		return NULL;
	}
	s->epoch = cmd->run.epoch;
	card_kept_begin(q, p, s->args.block, s->epoch);
	return s;
no_run:
	rdu_program_put(p);
	return NULL;
}

int rdu_cmd_run(struct card_queue *q, const struct rdu_cmd *cmd, struct rdu_failure *f)
{
	struct rdu_schedule *s = q->run;
	int failed;

	if (s) {
		/* Maybe on another host by now. */
		s->job.wall = rdu_card_now(q->card) - s->job.wall;
		memset(s->job.views, 0, s->job.p->hdr->num_regions * sizeof(*s->job.views));
	} else {
		s = start_run(q, cmd, f);
		if (!s)
			return -1;
	}
	q->run = NULL;
	failed = schedule(s, f);
	if (failed == RDU_SUSPENDED) {
		s->job.wall = rdu_card_now(q->card) - s->job.wall;
		q->run = s;
		return RDU_SUSPENDED;
	}
	failed = job_end(&s->job, cmd, failed, f);
	rdu_schedule_free(s);
	return failed;
}

int rdu_cmd_pload(struct card_queue *q, const struct rdu_cmd *cmd, struct rdu_failure *f)
{
	struct card_job j = { .p = slot_get(q->card, cmd->slot) };
	int failed = -1;

	if (!j.p || cmd->run.index >= j.p->hdr->num_sections) {
		rdu_fail(f, RDU_FAULT_BAD_SLOT, cmd->slot, cmd->run.index);
	} else {
		failed = job_begin(&j, q, cmd, 1, f);
		if (!failed) {
			failed = pload(&j, cmd->run.index, f);
			failed = job_end(&j, cmd, failed, f);
		}
	}
	rdu_program_put(j.p);
	return failed;
}

int rdu_cmd_aload(struct card_queue *q, const struct rdu_cmd *cmd, struct rdu_failure *f)
{
	struct rdu_bound_args args = { NULL, NULL };
	struct card_job j = { .p = card_loaded(q) };
	uint32_t section = q->planes.used.section;
	struct card_binding b;
	int failed;

	if (!j.p)
		return rdu_fail(f, RDU_FAULT_NOT_LOADED, 0, 0);
	if (read_args(q, j.p, cmd->run.args, cmd->run.args_size, &args, f))
		return -1;
	j.args = &args;
	j.views = calloc(j.p->hdr->num_regions + 1, sizeof(*j.views));
	failed = j.views ? job_begin(&j, q, cmd, 1, f) : rdu_fail(f, RDU_FAULT_INTERNAL, 0, 0);
	if (!failed) {
		/* Bound for the answer to "is it mapped?"; EXEC binds again. */
		f->section = section;
		failed = aload(&j, section, f) ||
			 rdu_bind(q, j.p, section, &args, j.views, 0, &b, f);
		if (!failed) {
			failed = rdu_unbind(q, &b, false, f);
			f->section = RDU_NONE;
		}
		failed = job_end(&j, cmd, failed ? -1 : 0, f);
	}
	free(j.views);
	if (failed) {
		free(args.block);
		return -1;
	}
	free(q->args.block);
	q->args = args;
	return 0;
}

int rdu_cmd_exec(struct card_queue *q, const struct rdu_cmd *cmd, struct rdu_failure *f)
{
	struct card_job j = { .p = card_loaded(q), .args = &q->args };
	int failed;

	if (!j.p || !q->args.block)
		return rdu_fail(f, RDU_FAULT_NOT_LOADED, j.p ? 1 : 0, 0);
	j.views = calloc(j.p->hdr->num_regions + 1, sizeof(*j.views));
	failed = j.views ? job_begin(&j, q, cmd, 1, f) : rdu_fail(f, RDU_FAULT_INTERNAL, 0, 0);
	if (!failed) {
		failed = exec(&j, q->planes.used.section, 0, f);
		failed = job_end(&j, cmd, failed, f);
	}
	free(j.views);
	return failed;
}
