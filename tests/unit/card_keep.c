// SPDX-License-Identifier: MIT
/* What KEEP steps bring: it is used when it is there, and never when it is not. */
#include <unistd.h>
#include "card_moved.h"
#include "card_program.h"
#include "keep_program.h"

#define ARGS (8 * MB)
#define STATS (9 * MB)
#define SOURCE MB
#define RESULT (2 * MB)
#define OTHER (3 * MB)

static void put(struct bed *b, uint64_t at, float first)
{
	for (unsigned int i = 0; i < KEEP_WORDS; i++)
		floats(b, at)[i] = first + (float)i;
}

static bool is_there(struct bed *b, uint64_t at, float first)
{
	for (unsigned int i = 0; i < KEEP_WORDS; i++)
		if (floats(b, at)[i] != first + (float)i) {
			printf("# element %u: %g, want %g\n", i, (double)floats(b, at)[i],
			       (double)(first + (float)i));
			return false;
		}
	return true;
}

static void regions(struct bed *b, uint64_t source)
{
	struct rdu_args *a = (void *)(b->mem + ARGS);
	const uint64_t at[] = { source, RESULT, OTHER };

	a->num_regions = 3;
	a->num_scalars = 0;
	for (int i = 0; i < 3; i++) {
		a->regions[i].addr = VA + at[i];
		a->regions[i].size = KEEP_BYTES;
	}
}

static struct rdu_cmd run_epoch(uint32_t slot, uint32_t entry, uint32_t epoch)
{
	struct rdu_cmd c = run(slot, VA + ARGS, true, false);

	c.run.index = entry;
	c.run.args_size = sizeof(struct rdu_args) + 3 * 16;
	c.run.epoch = epoch;
	return c;
}

/* Runs main: right results, and as many KEEP steps left out as wanted. */
static void main_gives(struct bed *b, unsigned int q, uint32_t epoch, float first, uint64_t kept,
		       const char *what)
{
	const struct rdu_stats *s = (void *)(b->mem + STATS);
	bool good;

	memset(b->mem + RESULT, 0xff, KEEP_BYTES);
	good = bed_do(b, q, run_epoch(0, KEEP_MAIN, epoch));
	if (!ok(good && is_there(b, RESULT, first) && s->kept == kept && s->sections == 2 - kept &&
			s->dram_bytes == (2 - kept) * KEEP_BYTES,
		"%s: %s", what, kept ? "not loaded again" : "loaded"))
		printf("# %llu kept, %llu sections, %llu bytes\n", (unsigned long long)s->kept,
		       (unsigned long long)s->sections, (unsigned long long)s->dram_bytes);
}

/* It is there. */
static void kept(struct bed *b, uint32_t epoch, float first)
{
	main_gives(b, 1, epoch, first, 0, "a first run");
	main_gives(b, 1, epoch, first, 1, "the next one");
}

static void enable(struct bed *b)
{
	bed_enable(b, 1, root, 0, 1);
	regions(b, SOURCE);
	put(b, SOURCE, 100);
	put(b, OTHER, 5000);
}

static void stays(struct bed *b)
{
	const struct rdu_stats *s = (void *)(b->mem + STATS);
	uint64_t first;

	main_gives(b, 1, 0, 100, 0, "epoch 0");
	main_gives(b, 1, 0, 100, 0, "epoch 0 again");
	main_gives(b, 1, 7, 100, 0, "what epoch 0 brought");
	first = s->end_cycle - s->start_cycle;
	main_gives(b, 1, 7, 100, 1, "the same epoch");
	ok(s->end_cycle - s->start_cycle < first && !s->pload_cycles,
	   "... the clock counts what was loaded, %llu cycles and then %llu",
	   (unsigned long long)first, (unsigned long long)(s->end_cycle - s->start_cycle));
	/* Breaking the promise of an epoch shows where results come from. */
	put(b, SOURCE, 200);
	main_gives(b, 1, 7, 100, 1, "memory written behind the card's back");
	main_gives(b, 1, 8, 200, 0, "a new epoch");
	main_gives(b, 1, 8, 200, 1, "... and again");
	main_gives(b, 1, 7, 200, 0, "the epoch before");
	main_gives(b, 1, 0, 200, 0, "epoch 0 after another");
	main_gives(b, 1, 7, 200, 0, "... after which nothing is there");
	put(b, SOURCE, 100);
}

static void overwritten(struct bed *b)
{
	size_t size;
	void *section;
	struct rdu_cmd c;

	kept(b, 10, 100);
	bed_do(b, 1, run_epoch(0, KEEP_BESIDE, 10));
	main_gives(b, 1, 10, 100, 1, "a section that fills another scratchpad");
	bed_do(b, 1, run_epoch(0, KEEP_OVER, 10));
	main_gives(b, 1, 10, 100, 0, "a section that fills the same one");
	bed_do(b, 1, run_epoch(0, KEEP_OVER, 11));
	main_gives(b, 1, 10, 100, 0, "the same, in another epoch");

	kept(b, 12, 100);
	c = (struct rdu_cmd){ .op = RDU_OP_PLOAD };
	c.run.index = 2;
	bed_do(b, 1, c);
	main_gives(b, 1, 12, 100, 1, "PLOAD, which leaves scratchpads alone");
	bed_do(b, 1, c);
	c = (struct rdu_cmd){ .op = RDU_OP_ALOAD };
	c.run.args = VA + ARGS;
	c.run.args_size = sizeof(struct rdu_args) + 3 * 16;
	bed_do(b, 1, c);
	ok(bed_do(b, 1, (struct rdu_cmd){ .op = RDU_OP_EXEC }), "EXEC of a section");
	main_gives(b, 1, 12, 100, 0, "... that fills the same one");

	section = scale(3, 1, 1, &size);
	is(load(b, 1, section, size, 0), 0, "another program");
	kept(b, 13, 100);
	args(b, ARGS + 4096, 2, VA + OTHER, VA + 4 * MB, BYTES);
	ok(bed_do(b, 1, run(1, VA + ARGS + 4096, false, false)), "... runs");
	main_gives(b, 1, 13, 100, 0, "another program had the tiles");
}

static void written(struct bed *b)
{
	struct rdu_cmd c = { .op = RDU_OP_COPY };

	kept(b, 20, 100);
	c.copy.src = VA + OTHER;
	c.copy.dst = VA + OTHER + MB / 2;
	c.copy.len = KEEP_BYTES;
	bed_do(b, 1, c);
	main_gives(b, 1, 20, 100, 1, "COPY to other memory");
	c.copy.dst = VA + SOURCE;
	bed_do(b, 1, c);
	main_gives(b, 1, 20, 5000, 0, "COPY to where it came from");

	c = (struct rdu_cmd){ .op = RDU_OP_FILL };
	c.fill.dst = VA + SOURCE + KEEP_BYTES;
	c.fill.len = 4096;
	bed_do(b, 1, c);
	main_gives(b, 1, 20, 5000, 1, "FILL right behind it");
	floats(b, OTHER)[KEEP_WORDS - 1] = 0;
	c.fill.dst = VA + SOURCE + KEEP_BYTES - 4;
	c.fill.len = 4;
	bed_do(b, 1, c);
	memset(b->mem + RESULT, 0xff, KEEP_BYTES);
	bed_do(b, 1, run_epoch(0, KEEP_MAIN, 20));
	ok(floats(b, RESULT)[KEEP_WORDS - 1] == 0 && floats(b, RESULT)[0] == 5000,
	   "FILL of its last word is seen");

	put(b, OTHER, 300);
	ok(bed_do(b, 1, run_epoch(0, KEEP_STORE, 20)), "a section that stores there");
	main_gives(b, 1, 20, 300, 0, "... is seen");

	main_gives(b, 1, 20, 300, 1, "again");
	c = (struct rdu_cmd){ .op = RDU_OP_TIMESTAMP };
	c.copy.dst = VA + SOURCE;
	bed_do(b, 1, c);
	memcpy(b->mem + 5 * MB, b->mem + SOURCE, 8);
	bed_do(b, 1, run_epoch(0, KEEP_MAIN, 20));
	ok(!memcmp(b->mem + RESULT, b->mem + 5 * MB, 8), "TIMESTAMP is seen");
	put(b, SOURCE, 100);
	put(b, OTHER, 5000);

	kept(b, 21, 100);
	put(b, 6 * MB, 700);
	regions(b, 6 * MB);
	main_gives(b, 1, 21, 700, 0, "the region lies elsewhere");
	regions(b, SOURCE);
	main_gives(b, 1, 21, 100, 0, "... and where it was");

	kept(b, 22, 100);
	qwr(b, 1, RDU_REG_Q_TLB_FLUSH, 1);
	main_gives(b, 1, 22, 100, 1, "translations were forgotten");
	bed_map(b, root, VA, 6 * MB, 2 * MB, RDU_PTE_WRITE, 1);
	put(b, 6 * MB + SOURCE, 800);
	qwr(b, 1, RDU_REG_Q_TLB_FLUSH, 1);
	main_gives(b, 1, 23, 800, 0, "other memory is mapped there, and another epoch says so");
	bed_map(b, root, VA, 0, 2 * MB, RDU_PTE_WRITE, 1);
	qwr(b, 1, RDU_REG_Q_TLB_FLUSH, 1);
}

/* Queues: one's scratchpads are nothing to another, and are gone with the queue. */
static void queues(struct bed *b)
{
	kept(b, 30, 100);
	bed_reset(b, 1);
	enable(b);
	main_gives(b, 1, 30, 100, 0, "reset of the queue");
	main_gives(b, 1, 30, 100, 1, "... and again");
	qwr(b, 1, RDU_REG_Q_CTRL, 0);
	while (qrd(b, 1, RDU_REG_Q_CTRL) & 1)
		usleep(20);
	enable(b);
	main_gives(b, 1, 30, 100, 0, "the queue was disabled");

	bed_enable(b, 2, root, 1, 1);
	main_gives(b, 2, 30, 100, 0, "another queue, with the same program and epoch");
	put(b, SOURCE, 900);
	main_gives(b, 2, 31, 900, 0, "... in an epoch of its own");
	main_gives(b, 2, 31, 900, 1, "... has its own");
	main_gives(b, 1, 30, 100, 1, "... which the first does not see");
	bed_reset(b, 2);
	main_gives(b, 1, 30, 100, 1, "... nor its end");
	put(b, SOURCE, 100);
}

/* ---- saved and loaded ----------------------------------------------------------- */

static void moves(struct bed *b)
{
	const struct rdu_stats *s = (void *)(b->mem + STATS);
	uint64_t cycles;

	kept(b, 40, 100);
	cycles = s->end_cycle - s->start_cycle;
	ok(moved(b), "saved and loaded");
	main_gives(b, 1, 40, 100, 1, "scratchpads moved along");
	is(s->end_cycle - s->start_cycle, cycles, "... and the clock counts the same");
	qwr(b, 1, RDU_REG_Q_TLB_FLUSH, 1);
	ok(moved(b), "saved after translations were forgotten");
	main_gives(b, 1, 40, 100, 1, "scratchpads moved along all the same");
}

/* What a loop hands on in scratchpads, saved and loaded after each `every` writes to memory, from
 * the first one on. Returns how often. */
static unsigned int carried(struct bed *b, int first, int every, uint64_t *cycles, bool *good)
{
	const struct rdu_stats *s = (void *)(b->mem + STATS);
	unsigned int stops = 0;
	uint64_t seq;

	memset(b->mem + RESULT, 0xff, KEEP_BYTES);
	seq = bed_put(b, 1, run_epoch(0, KEEP_CARRY, 0));
	countdown = first;
	bed_ring(b, 1);
	while (bed_done(b, 1) < seq && !qrd(b, 1, RDU_REG_Q_FAULT_CODE)) {
		if (!b->card->paused) {
			usleep(50);
			continue;
		}
		stops++;
		countdown = every;
		*good &= moved(b);
	}
	/* The last write is the answer's own: the card may stop for it after it was seen here. */
	rdu_card_pause(b->card);
	countdown = 0;
	rdu_card_resume(b->card);
	*good &= is_there(b, RESULT, 5000 + KEEP_CARRIED);
	*cycles = s->end_cycle - s->start_cycle;
	return stops;
}

static void carried_on(struct bed *b)
{
	uint64_t cycles, again;
	unsigned int most = 0, n = 1;
	bool good = true;

	kept(b, 50, 100);
	b->card->ops.dirty = stop_it;
	carried(b, 0, 0, &cycles, &good);
	ok(good, "a loop hands on what is in scratchpads");
	for (int first = 1; n; first++) {
		n = carried(b, first, first % 3, &again, &good);
		good &= again == cycles;
		most = n > most ? n : most;
	}
	ok(good && most >= KEEP_CARRIED,
	   "... and so it does, in as many cycles, when it is moved in the middle, up to %u times",
	   most);
	b->card->ops.dirty = NULL;
	main_gives(b, 1, 50, 100, 0, "what was kept, and is overwritten by a loop");
}

/* ---- what cannot be kept ---------------------------------------------------------- */

static void refused(const struct rdu_chip *c, void *image, size_t size, uint32_t error,
		    const char *text, const char *what)
{
	struct rdu_cfg_diag diag;

	if (!ok(rdu_program_validate(image, size, c, 0, &diag) && diag.error == error &&
			strstr(diag.text, text),
		"refused: %s", what))
		printf("# error %u, want %u: \"%s\"\n", diag.error, error, diag.text);
	free(image);
}

static struct rdu_prog_step *step_of(void *image, uint32_t i)
{
	struct rdu_prog_header *h = image;

	return (struct rdu_prog_step *)(void *)((unsigned char *)image + h->steps_off) + i;
}

static struct rdu_cfg_access *access_of(void *image, uint32_t section, uint32_t program)
{
	struct rdu_prog_header *h = image;
	struct rdu_prog_section *s =
		(struct rdu_prog_section *)(void *)((unsigned char *)image + h->sections_off);
	unsigned char *cfg = (unsigned char *)image + s[section].offset;
	struct rdu_cfg_header *ch = (void *)cfg;
	struct rdu_cfg_program *p = (struct rdu_cfg_program *)(void *)(cfg + ch->programs.offset);

	return (void *)(cfg + ch->bodies.offset + p[program].body);
}

static void refusals(void)
{
	struct rdu_cfg_diag diag;
	size_t size;
	void *image = keep_image(&chip, &size);

	ok(!rdu_program_validate(image, size, &chip, 0, &diag), "accepted as it is: %s", diag.text);
	step_of(image, 0)->arg = 1;
	refused(&chip, image, size, RDU_CFG_E_KEEP, "reads buffer 0, which the section does not",
		"a section that takes what it did not bring");
	image = keep_image(&chip, &size);
	step_of(image, 0)->arg = 4;
	refused(&chip, image, size, RDU_CFG_E_KEEP, "stores", "a section that stores");
	image = keep_image(&chip, &size);
	access_of(image, 0, 1)->flags |= RDU_ACCESS_ADD;
	refused(&chip, image, size, RDU_CFG_E_KEEP, "adds to what is there",
		"a section that adds to a scratchpad");
	image = keep_image(&chip, &size);
	step_of(image, 0)->arg = KEEP_SECTIONS;
	refused(&chip, image, size, RDU_CFG_E_SCHEDULE, "section 7 of 7", "no such section");
	image = keep_image(&chip, &size);
	/* main: LOOP, KEEP, END; steps 3 and 4 are others' */
	*step_of(image, 0) = (struct rdu_prog_step){ RDU_STEP_LOOP, 2 };
	*step_of(image, 1) = (struct rdu_prog_step){ RDU_STEP_KEEP, 0 };
	refused(&chip, image, size, RDU_CFG_E_SCHEDULE, "keeps section 0 inside 1 loops",
		"KEEP in a loop");
}

int main(void)
{
	struct bed *b = bed_new("sn10", 1, false);
	size_t size;
	void *image;

	chip = b->chip;
	root = bed_root(b);
	bed_map(b, root, VA, 0, 64 * MB, RDU_PTE_WRITE, 1);
	bed_enable(b, 0, 0, 0, 0);
	enable(b);
	image = keep_image(&chip, &size);
	is(load_image(b, 0, image, size), 0, "a program that keeps something");
	stays(b);
	overwritten(b);
	written(b);
	moves(b);
	carried_on(b);
	queues(b);
	refusals();
	bed_free(b);
	return tap_done();
}
