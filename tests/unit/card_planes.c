// SPDX-License-Identifier: MIT
/* Configuration planes: what a load costs behind a section, and what schedules load. */
#include "card_moved.h"
#include "card_program.h"
#include "keep_program.h"

#define ARGS (8 * MB)
#define STATS (9 * MB)
#define TRACE (10 * MB)

/* sn10 with other fields: a description's text with lines like "\nconfig_planes 1". */
static void describe(char *path, unsigned int planes, unsigned int latency)
{
	char error[200], *text, *line;
	struct rdu_chip c;
	FILE *f;

	rdu_chip_find("sn10", &c, error, sizeof(error));
	c.config_planes = planes;
	c.pload_latency = latency;
	text = rdu_chip_text(&c);
	snprintf(path, 32, "/tmp/planes-XXXXXX");
	f = fdopen(mkstemp(path), "w");
	if (!text || !f)
		abort();
	line = strstr(text, "name");
	fprintf(f, "%s", line);
	fclose(f);
	free(text);
}

/* ---- the rule ----------------------------------------------------------------- */

static void behind(uint64_t cycles, uint64_t bytes, uint64_t want, const char *what)
{
	uint64_t got = rdu_pload_cycles(&chip, 64000, &(struct rdu_load_under){ cycles, bytes });

	ok(got == want, "64000 bytes behind %llu cycles and %llu bytes: %s (%llu)",
	   (unsigned long long)cycles, (unsigned long long)bytes, what, (unsigned long long)got);
}

static struct rdu_planes planes;

static void loaded(uintptr_t program, uint32_t section, uint64_t cycles, uint64_t bytes,
		   const char *what)
{
	struct rdu_load l = rdu_planes_load(&chip, &planes, (void *)program, section, 64000, NULL);

	ok(l.cycles == cycles && l.bytes == bytes, "%s: %llu cycles, %llu bytes", what,
	   (unsigned long long)l.cycles, (unsigned long long)l.bytes);
}

/* Memory moves 128 bytes a cycle, a configuration is loaded at 64, after 1000 cycles. */
static void by_hand(void)
{
	char error[200];

	rdu_chip_find("sn10", &chip, error, sizeof(error));
	is(rdu_pload_cycles(&chip, 64000, NULL), 2000, "nothing runs: latency and bytes");
	behind(0, 0, 2000, "nothing runs");
	behind(10000, 0, 16, "the switch");
	behind(2000, 0, 16, "it just has the time");
	behind(1500, 0, 516, "500 cycles of it are left");
	behind(1, 0, 2015, "all but one are");
	behind(10000, 640000, 266, "memory is busy half the time, for which half of it waits");
	behind(10000, 1280000, 516, "memory is busy all the time, and takes 10500 for both");
	behind(2000, 256000, 516, "as long as the load");
	behind(1000, 128000, 1016, "the load takes longer than memory for both");
	behind(10000, 5000000, 516, "most of it over the link: no more than memory can");
	behind(UINT64_MAX, UINT64_MAX, 20, "the longest: memory is busy for a 128th of it");
	loaded(1, 0, 2000, 64000, "two planes: a first section");
	loaded(1, 0, 0, 0, "the same");
	loaded(1, 1, 2000, 64000, "another");
	loaded(1, 0, 16, 0, "the first again");
	loaded(1, 1, 16, 0, "the other again");
	loaded(2, 1, 2000, 64000, "that of another program");
	loaded(1, 1, 16, 0, "the one before");
	loaded(1, 0, 2000, 64000, "the one before that");
	chip.config_planes = 1;
	planes = (struct rdu_planes){ 0 };
	behind(10000, 0, 2000, "one plane");
	loaded(1, 0, 2000, 64000, "one plane: a first section");
	loaded(1, 0, 0, 0, "the same");
	loaded(1, 1, 2000, 64000, "another");
	loaded(1, 0, 2000, 64000, "the first again");
}

/* ---- schedules ---------------------------------------------------------------- */

/* The sections of keep_program.h, run in another order. */
static void *image_with(const struct rdu_prog_step *more, uint32_t num, size_t *size)
{
	unsigned char *image = keep_image(&chip, size);
	struct rdu_prog_header *h = (void *)image;
	size_t old = h->num_steps * sizeof(*more), new = num * sizeof(*more);
	struct rdu_prog_entry *e;

	image = realloc(image, *size + old + new);
	h = (void *)image;
	memcpy(image + *size, image + h->steps_off, old);
	memcpy(image + *size + old, more, new);
	h->steps_off = (uint32_t)*size;
	e = (void *)(image + h->entries_off);
	e->first_step = h->num_steps;
	e->num_steps = num;
	h->num_steps += num;
	*size += old + new;
	h->size = (uint32_t)*size;
	return image;
}

static const struct rdu_prog_section *section_of(struct bed *b, uint32_t i)
{
	return &b->card->slot[0]->sections[i];
}

static struct rdu_cmd run_all(void)
{
	struct rdu_cmd c = run(0, VA + ARGS, true, true);

	c.run.args_size = sizeof(struct rdu_args) + 3 * 16;
	return c;
}

static struct bed *bed_with(unsigned int planes_, unsigned int latency,
			    const struct rdu_prog_step *steps, uint32_t num)
{
	struct rdu_args *a;
	struct bed *b;
	char path[32];
	size_t size;
	void *image;

	describe(path, planes_, latency);
	b = bed_new(path, 1, false);
	unlink(path);
	chip = b->chip;
	root = bed_root(b);
	bed_map(b, root, VA, 0, 64 * MB, RDU_PTE_WRITE, 1);
	bed_enable(b, 0, 0, 0, 0);
	bed_enable(b, 1, root, 0, 1);
	bed_enable(b, 2, root, 1, 2);
	a = (void *)(b->mem + ARGS);
	*a = (struct rdu_args){ .num_regions = 3 };
	for (unsigned int i = 0; i < 3; i++) {
		a->regions[i].addr = VA + (i + 1) * MB;
		a->regions[i].size = KEEP_BYTES;
	}
	image = image_with(steps, num, &size);
	ok(!load_image(b, 0, image, size), "%u planes: a program", planes_);
	return b;
}

/* Executions of a trace: sections and cycles, in order. */
static unsigned int executions(struct bed *b, const struct rdu_trace_event **exec)
{
	const struct rdu_trace *t = (void *)(b->mem + TRACE);
	unsigned int n = 0;

	for (uint32_t i = 0; i < t->count; i++)
		if (t->events[i].kind == RDU_TRACE_EXEC)
			exec[n++] = &t->events[i];
	return n;
}

static const struct rdu_trace_event *pload_of(struct bed *b, uint32_t section)
{
	const struct rdu_trace *t = (void *)(b->mem + TRACE);

	for (uint32_t i = 0; i < t->count; i++)
		if (t->events[i].kind == RDU_TRACE_PLOAD && t->events[i].section == section)
			return &t->events[i];
	return NULL;
}

/* What loading section `next` shows behind an execution. */
static uint64_t shows(struct bed *b, const struct rdu_trace_event *before, uint32_t next)
{
	const struct rdu_load_under under = { before->end - before->start,
					      (before->section == 4 ? 2 : 1) * KEEP_BYTES };

	return rdu_pload_cycles(&chip, section_of(b, next)->size, &under);
}

static const struct rdu_prog_step loop_of_two[] = {
	{ RDU_STEP_RUN, 2 }, { RDU_STEP_LOOP, 3 }, { RDU_STEP_RUN, 1 }, { RDU_STEP_RUN, 4 },
	{ RDU_STEP_END, 0 }, { RDU_STEP_RUN, 3 },  { RDU_STEP_RUN, 1 },
};
#define EXECUTIONS 9

/* RUN of loop_of_two, nothing being loaded. Returns its cycles. */
static uint64_t from_nothing(struct bed *b)
{
	const struct rdu_stats *s = (void *)(b->mem + STATS);
	const struct rdu_trace_event *exec[16], *p;
	uint64_t want = 0, bytes = 0, alone;

	ok(bed_do(b, 1, run_all()) && executions(b, exec) == EXECUTIONS, "RUN: %d executions",
	   EXECUTIONS);
	for (int i = 0; i < EXECUTIONS; i++) {
		const struct rdu_prog_section *sec = section_of(b, exec[i]->section);
		bool there = chip.config_planes > 1 && i > 2 && i < 7;

		alone = rdu_pload_cycles(&chip, sec->size, NULL);
		bytes += there ? 0 : sec->size;
		want += there ? chip.config_switch
			: i   ? shows(b, exec[i - 1], exec[i]->section)
			      : alone;
	}
	alone = rdu_pload_cycles(&chip, section_of(b, 1)->size, NULL);
	p = pload_of(b, 1);
	ok(p->start == (chip.config_planes > 1 ? exec[0]->start : exec[0]->end),
	   "the second section's load begins with the first, if there is a plane for it");
	ok(p->end == (p->start + alone > exec[0]->end ? exec[0]->end + shows(b, exec[0], 1)
						      : p->start + alone),
	   "... and ends behind it, if it is longer");
	is(s->pload_cycles, want, "program load: what shows of it");
	is(s->load_bytes, bytes, "... of as many bytes as were loaded");
	is(s->end_cycle - s->start_cycle, s->exec_cycles + s->pload_cycles + s->aload_cycles,
	   "the clock moves by execution and what shows of loads");
	return s->end_cycle - s->start_cycle;
}

/* ---- moved -------------------------------------------------------------------- */

/* Saved and loaded at each of its writes to memory, from number `first` on. */
static void in_the_middle(struct bed *b, uint64_t cycles)
{
	const struct rdu_stats *s = (void *)(b->mem + STATS);
	unsigned int n = 1, all = 0;
	bool good = true;

	b->card->ops.dirty = stop_it;
	for (int first = 1; n; first++) {
		uint64_t seq;

		bed_reset(b, 1);
		bed_enable(b, 1, root, 0, 1);
		seq = bed_put(b, 1, run_all());
		countdown = first;
		bed_ring(b, 1);
		for (n = 0; bed_done(b, 1) < seq && !qrd(b, 1, RDU_REG_Q_FAULT_CODE);) {
			if (!b->card->paused) {
				usleep(50);
				continue;
			}
			n++;
			countdown = 1;
			good &= moved(b);
		}
		rdu_card_pause(b->card);
		countdown = 0;
		rdu_card_resume(b->card);
		good &= s->end_cycle - s->start_cycle == cycles;
		all += n;
	}
	b->card->ops.dirty = NULL;
	ok(good && all, "moved in the middle, %u times: the same cycles", all);
}

static void schedules(void)
{
	static const unsigned int latency[] = { 1000, 10 };
	uint64_t cycles[2][2], bytes;

	for (unsigned int l = 0; l < 2; l++)
		for (unsigned int p = 0; p < 2; p++) {
			struct bed *b = bed_with(p + 1, latency[l], loop_of_two, 7);
			const struct rdu_stats *s = (void *)(b->mem + STATS);

			cycles[l][p] = from_nothing(b);
			bytes = s->load_bytes;
			bed_do(b, 1, run_all());
			is(s->load_bytes, bytes - (p ? section_of(b, 1)->size : 0),
			   "a second run finds the last section in its plane, if it has one");
			bed_reset(b, 1);
			bed_enable(b, 1, root, 0, 1);
			is(from_nothing(b), cycles[l][p], "after a reset: all is loaded again");
			in_the_middle(b, cycles[l][p]);
			bed_free(b);
		}
	ok(cycles[0][1] < cycles[0][0] && cycles[1][1] < cycles[1][0],
	   "%llu cycles with two planes, %llu with one; %llu and %llu if loads begin at once",
	   (unsigned long long)cycles[0][1], (unsigned long long)cycles[0][0],
	   (unsigned long long)cycles[1][1], (unsigned long long)cycles[1][0]);
}

/* Two sections: later runs load nothing, as long as nobody else's are loaded. */
static void two(void)
{
	static const struct rdu_prog_step steps[] = { { RDU_STEP_RUN, 2 }, { RDU_STEP_RUN, 1 } };
	struct bed *b = bed_with(2, 1000, steps, 2);
	const struct rdu_stats *s = (void *)(b->mem + STATS);
	struct rdu_cmd c = { .op = RDU_OP_PLOAD };

	bed_do(b, 1, run_all());
	is(s->load_bytes, section_of(b, 2)->size + section_of(b, 1)->size, "both are loaded");
	bed_do(b, 1, run_all());
	ok(!s->load_bytes && s->pload_cycles == 2 * chip.config_switch,
	   "a later run switches, and loads nothing");
	ok(moved(b) && bed_do(b, 1, run_all()) && !s->load_bytes, "nor when the card was moved");
	bed_do(b, 2, run_all());
	ok(s->load_bytes == section_of(b, 2)->size + section_of(b, 1)->size,
	   "another queue has planes of its own");
	bed_do(b, 1, run_all());
	is(s->load_bytes, 0, "... which the first does not lose its own by");

	c.run.stats = VA + STATS;
	c.run.index = 2;
	bed_do(b, 1, c);
	is(s->pload_cycles, chip.config_switch, "PLOAD of what is in the other plane");
	c.run.index = 3;
	bed_do(b, 1, c);
	ok(s->pload_cycles == rdu_pload_cycles(&chip, section_of(b, 3)->size, NULL) &&
		   s->load_bytes == section_of(b, 3)->size,
	   "PLOAD of what is in neither: nothing hides it");
	bed_do(b, 1, run_all());
	is(s->load_bytes, section_of(b, 1)->size, "it took the place of one of them");
	c.run.index = 2;
	bed_do(b, 1, c);
	bed_do(b, 1, (struct rdu_cmd){ .op = RDU_OP_EXEC });
	is(qrd(b, 1, RDU_REG_Q_FAULT_CODE), RDU_FAULT_NOT_LOADED, "arguments go with a switch");
	bed_free(b);
}

/* A fault is of the section whose turn it is, however much of its load lay under another. */
static void turns(void)
{
	static const struct rdu_prog_step steps[] = { { RDU_STEP_RUN, 2 }, { RDU_STEP_RUN, 4 } };
	struct bed *b = bed_with(2, 1000, steps, 2);
	const struct rdu_trace_event *exec[16];
	uint64_t most;

	bed_do(b, 1, run_all());
	is(executions(b, exec), 2, "two sections");
	most = exec[0]->end - ((struct rdu_stats *)(void *)(b->mem + STATS))->start_cycle;
	for (int i = 0; i < 2; i++) {
		bed_reset(b, 1);
		qwr(b, 1, RDU_REG_Q_WATCHDOG_LO, (uint32_t)most - !i);
		bed_enable(b, 1, root, 0, 1);
		bed_do(b, 1, run_all());
		ok(qrd(b, 1, RDU_REG_Q_FAULT_CODE) == RDU_FAULT_WATCHDOG &&
			   qrd(b, 1, RDU_REG_Q_FAULT_SECTION) == (i ? 4 : 2),
		   "watchdog: %s", i ? "in what shows of the next load" : "in the first section");
	}
	bed_reset(b, 1);
	qwr(b, 1, RDU_REG_Q_WATCHDOG_LO, 0);
	bed_enable(b, 1, root, 0, 1);
	/* Section 4 alone writes to region 0. */
	bed_map(b, root, VA + 256 * MB, MB, MB, 0, 0);
	((struct rdu_args *)(void *)(b->mem + ARGS))->regions[0].addr = VA + 256 * MB;
	bed_do(b, 1, run_all());
	ok(qrd(b, 1, RDU_REG_Q_FAULT_CODE) == RDU_FAULT_PROTECTION &&
		   qrd(b, 1, RDU_REG_Q_FAULT_SECTION) == 4,
	   "its segments: when it is to run");
	bed_free(b);
}

int main(void)
{
	by_hand();
	schedules();
	two();
	turns();
	return tap_done();
}
