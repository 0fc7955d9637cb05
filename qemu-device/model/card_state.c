// SPDX-License-Identifier: MIT
/*
 * The card as a stream of bytes: registers, queues, programs, what is loaded on
 * the tiles, scratchpads, and commands that a pause stopped halfway. One walk
 * serves both directions: `field` puts what is there, or fills it in.
 *
 * What follows from something else is not in the stream: who owns a tile (the
 * queues say), translations and TLBs (made again), threads. Numbers are little
 * endian, as on every host the card runs on. A stream may come from anywhere:
 * whatever is loaded is checked as if a guest had written it.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "card_priv.h"

#define MAGIC 0x54534452 /* "RDST" */
#define END 0x44534452 /* "RDSD" */
#define VERSION 3
#define PAGE 4096
#define PROGRAMS_MAX (RDU_MAX_SLOTS + 4 * RDU_MAX_QUEUES)

struct stream {
	struct rdu_card *card;
	int (*put)(void *opaque, const void *buf, size_t len);
	int (*get)(void *opaque, void *buf, size_t len); /* NULL: saving */
	void *opaque;
	bool bad;
	char *error;
	size_t error_size;
	/* Those that slots, tiles and runs refer to; each is in the stream once. */
	struct card_program *program[PROGRAMS_MAX];
	uint32_t num_programs;
};

/* Keeps the first text. Returns false. */
static bool __attribute__((format(printf, 2, 3))) refuse(struct stream *s, const char *fmt, ...)
{
	va_list ap;

	if (!s->bad && s->error_size) {
		va_start(ap, fmt);
		vsnprintf(s->error, s->error_size, fmt, ap);
		va_end(ap);
	}
	s->bad = true;
	return false;
}

static void bytes(struct stream *s, void *p, size_t n)
{
	if (s->bad) {
		if (s->get)
			memset(p, 0, n);
	} else if (s->get ? s->get(s->opaque, p, n) : s->put(s->opaque, p, n)) {
		if (s->get)
			memset(p, 0, n);
		refuse(s, s->get ? "the state ends too early" : "the state cannot be written");
	}
}

#define field(s, x) bytes(s, &(x), sizeof(x))

/* A field that is atomic, an enumeration or a truth value: as a number. */
#define number(s, type, x)                 \
	do {                               \
		type n_ = (type)(x);       \
		bytes(s, &n_, sizeof(n_)); \
		if ((s)->get)              \
			(x) = n_;          \
	} while (0)

/* A mark that must be the same when it comes back. */
static bool mark(struct stream *s, uint32_t value, const char *what)
{
	uint32_t seen = value;

	field(s, seen);
	return seen == value || refuse(s, "%s", what);
}

/* ---- which card ------------------------------------------------------------ */

struct identity {
	uint64_t chip_hash, mem_size;
	char chip[RDU_CHIP_NAME_LEN], serial[sizeof(((struct rdu_card *)0)->serial)];
	uint32_t timing_only;
	uint32_t zero; /* else what was on the stack would be here */
};

static void printable(char *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (text[i] && (text[i] < ' ' || text[i] > '~'))
			text[i] = '?';
}

static const char *name_of(struct identity *id, char *text, size_t size)
{
	printable(id->chip, sizeof(id->chip));
	printable(id->serial, sizeof(id->serial));
	snprintf(text, size, "chip %.*s (%016llx), %llu KiB of memory, serial \"%.*s\"%s",
		 (int)sizeof(id->chip), id->chip, (unsigned long long)id->chip_hash,
		 (unsigned long long)id->mem_size >> 10, (int)sizeof(id->serial), id->serial,
		 id->timing_only ? ", timing only" : "");
	return text;
}

static bool same_card(struct stream *s)
{
	const struct rdu_card *card = s->card;
	struct identity mine = { .chip_hash = card->chip_hash,
				 .mem_size = card->mem_size,
				 .timing_only = card->timing_only };
	struct identity seen;
	char a[200], b[200];
	uint32_t version = VERSION;

	memcpy(mine.chip, card->chip.name, sizeof(mine.chip));
	memcpy(mine.serial, card->serial, sizeof(mine.serial));
	seen = mine;
	mark(s, MAGIC, "this is not the state of a card");
	field(s, version);
	if (!s->bad && version != VERSION)
		return refuse(s, "the state has version %u, this card reads version %u", version,
			      VERSION);
	field(s, seen);
	if (s->bad || (seen.chip_hash == mine.chip_hash && seen.mem_size == mine.mem_size &&
		       seen.timing_only == mine.timing_only &&
		       !memcmp(seen.serial, mine.serial, sizeof(mine.serial))))
		return !s->bad;
	return refuse(s, "the state is of a card with %s; this one has %s",
		      name_of(&seen, a, sizeof(a)), name_of(&mine, b, sizeof(b)));
}

/* ---- programs -------------------------------------------------------------- */

static void collect(struct stream *s, struct card_program *p)
{
	uint32_t i;

	for (i = 0; p && i < s->num_programs; i++)
		if (s->program[i] == p)
			return;
	if (p)
		s->program[s->num_programs++] = p;
}

static void collect_all(struct stream *s)
{
	unsigned int i;

	for (i = 0; i < RDU_MAX_SLOTS; i++)
		collect(s, s->card->slot[i]);
	for (i = 0; i < RDU_MAX_QUEUES; i++) {
		collect(s, s->card->queue[i].planes.used.program);
		collect(s, s->card->queue[i].planes.other.program);
		collect(s, s->card->queue[i].kept.program);
		if (s->card->queue[i].run)
			collect(s, s->card->queue[i].run->job.p);
	}
}

/* The image grows as bytes arrive: a short stream takes little memory. */
static unsigned char *get_image(struct stream *s, uint64_t size)
{
	unsigned char *image = NULL, *more;
	uint64_t at, n;

	for (at = 0; at < size && !s->bad; at += n) {
		n = size - at < 1 << 20 ? size - at : 1 << 20;
		more = realloc(image, at + n);
		if (!more) {
			refuse(s, "no memory for a program of %llu bytes",
			       (unsigned long long)size);
			break;
		}
		image = more;
		bytes(s, image + at, n);
	}
	return image;
}

static struct card_program *get_program(struct stream *s, uint64_t size, uint32_t tiles)
{
	struct card_program *p = NULL;
	struct rdu_cfg_diag diag = { .text = "" };
	unsigned char *image;

	if (size < sizeof(struct rdu_prog_header) || size > RDU_MAX_PROGRAM_IMAGE ||
	    size > RDU_MAX_LOADED_IMAGES - s->card->image_bytes || !tiles ||
	    tiles > s->card->chip.tiles) {
		refuse(s, "a program of %llu bytes for %u tiles", (unsigned long long)size, tiles);
		return NULL;
	}
	image = get_image(s, size);
	if (s->bad) {
		free(image);
		return NULL;
	}
	if (rdu_program_validate(image, size, &s->card->chip, tiles, &diag))
		refuse(s, "a program is refused: %s", diag.text);
	else
		p = rdu_program_new(s->card, image, size, tiles);
	if (!p) {
		refuse(s, "no memory for a program");
		free(image);
	}
	return p;
}

static void programs(struct stream *s)
{
	uint32_t i, n;

	if (!s->get)
		collect_all(s);
	n = s->num_programs;
	field(s, n);
	if (n > PROGRAMS_MAX)
		refuse(s, "%u programs", n);
	for (i = 0; i < n && !s->bad; i++) {
		struct card_program *p = s->program[i];
		uint64_t size = s->get ? 0 : p->size;
		uint32_t tiles = s->get ? 0 : p->tiles;

		field(s, size);
		field(s, tiles);
		if (!s->get)
			bytes(s, p->image, p->size);
		else if (!s->bad)
			s->program[i] = get_program(s, size, tiles);
		if (s->get && s->program[i])
			s->num_programs++;
	}
}

/* A reference to a program: its number from 1 on, 0: none. */
static void reference(struct stream *s, struct card_program **p)
{
	uint32_t i = 0;

	while (!s->get && *p && s->program[i++] != *p)
		;
	field(s, i);
	if (!s->get)
		return;
	if (i > s->num_programs)
		refuse(s, "program %u of %u", i, s->num_programs);
	*p = NULL;
	if (i && !s->bad) {
		*p = s->program[i - 1];
		atomic_fetch_add(&(*p)->refs, 1);
	}
}

static void slots(struct stream *s)
{
	struct rdu_card *card = s->card;
	unsigned int i;

	for (i = 0; i < RDU_MAX_SLOTS; i++)
		reference(s, &card->slot[i]);
}

/* ---- commands in progress --------------------------------------------------- */

static void args(struct stream *s, const struct card_program *p, struct rdu_bound_args *a)
{
	uint8_t there = a->block != NULL;
	uint32_t region;
	size_t size;

	field(s, there);
	if (!there || s->bad)
		return;
	if (s->get) {
		a->block = rdu_args_new(p, &size);
		if (!a->block) {
			refuse(s, "no memory for arguments");
			return;
		}
		a->scalars = (uint32_t *)(void *)&a->block->regions[p->hdr->num_regions];
	}
	bytes(s, a->block,
	      (size_t)((unsigned char *)(a->scalars + p->hdr->num_scalars) -
		       (unsigned char *)a->block));
	/* A program without arguments has an empty block. */
	if (s->get && (p->hdr->num_regions || p->hdr->num_scalars) &&
	    rdu_args_wrong(p, a->block, &region))
		refuse(s, "arguments that do not fit their program: region %d", (int)region);
}

static void stretch(struct stream *s, struct rdu_stretch *x)
{
	number(s, uint8_t, x->host);
	field(s, x->addr);
	field(s, x->len);
	if (!x->host && (x->addr > s->card->mem_size || x->len > s->card->mem_size - x->addr))
		refuse(s, "a copy outside of card memory");
}

static void tracer(struct stream *s, struct rdu_tracer *t)
{
	field(s, t->addr);
	field(s, t->count);
	field(s, t->room);
	field(s, t->dropped);
	field(s, t->keep);
	if (t->room > RDU_TRACE_MAX / sizeof(*t->events) || t->count > t->room ||
	    t->keep > t->room || (!t->addr && t->room))
		refuse(s, "a trace of %u events, %u at most", t->count, t->room);
	if (s->get && t->addr && !s->bad) {
		t->events = calloc(t->room ? t->room : 1, sizeof(*t->events));
		if (!t->events)
			refuse(s, "no memory for a trace");
	}
	if (t->addr && !s->bad)
		bytes(s, t->events, t->count * sizeof(*t->events));
}

static bool is_loop(const struct card_program *p, const struct rdu_prog_entry *e,
		    const struct rdu_loop *l)
{
	const struct rdu_prog_step *step = &p->steps[e->first_step];

	return l->body && l->body <= e->num_steps && step[l->body - 1].kind == RDU_STEP_LOOP &&
	       step[l->body - 1].arg == l->count && l->done < l->count;
}

static void run(struct stream *s, struct card_queue *q)
{
	struct card_program *p = q->run ? q->run->job.p : NULL;
	uint32_t entry = q->run ? q->run->entry : 0, i;
	struct rdu_schedule *r;

	reference(s, &p);
	field(s, entry);
	if (!p)
		return;
	if (s->get) {
		if (s->bad || entry >= p->hdr->num_entries ||
		    p->hdr->num_tiles > q->live.tile_count)
			refuse(s, "a run of entry point %u, on %u tiles", entry,
			       q->live.tile_count);
		else
			q->run = rdu_schedule_new(q, p, entry);
		if (!q->run) {
			rdu_program_put(p);
			refuse(s, "no memory for a run");
		}
	}
	if (s->bad)
		return;
	r = q->run;
	field(s, r->epoch);
	field(s, r->at);
	field(s, r->depth);
	field(s, r->loop);
	field(s, r->job.stats);
	field(s, r->job.wall);
	field(s, r->job.under);
	args(s, p, &r->args);
	tracer(s, &r->job.trace);
	if (s->bad || !s->get)
		return;
	if (r->job.under.cycles > q->spent.exec)
		refuse(s, "a run whose last section took %llu cycles, of %llu",
		       (unsigned long long)r->job.under.cycles, (unsigned long long)q->spent.exec);
	if (r->depth > RDU_MAX_LOOP_DEPTH || !r->args.block)
		refuse(s, "a run in %u loops", r->depth);
	for (i = 0; i < r->depth && !s->bad; i++)
		if (!is_loop(p, &p->entries[entry], &r->loop[i]))
			refuse(s, "a loop from step %u on", r->loop[i].body);
}

static void suspended(struct stream *s, struct card_queue *q)
{
	field(s, q->spent);
	field(s, q->watchdog_end);
	field(s, q->patience_ns);
	field(s, q->progress.done);
	field(s, q->progress.dram);
	field(s, q->progress.host);
	stretch(s, &q->progress.dst);
	stretch(s, &q->progress.src);
	run(s, q);
	if (q->run && q->batch[q->batch_pos].op != RDU_OP_RUN)
		refuse(s, "queue %u: it runs a command of another kind", q->id);
}

/* What is there of what KEEP steps brought. The scratchpads come later. */
static void kept(struct stream *s, struct card_queue *q)
{
	struct card_kept *k = &q->kept;
	struct card_program *p = k->program;

	reference(s, &p);
	if (!p || s->bad)
		return;
	field(s, k->epoch);
	if (s->get) {
		if (!k->epoch || !p->writes || p->hdr->num_tiles > q->live.tile_count)
			refuse(s, "queue %u: a program that keeps nothing", q->id);
		else if (card_kept_new(q, p, k->epoch))
			refuse(s, "no memory for what a queue keeps");
		rdu_program_put(p);
		if (s->bad)
			return;
	}
	for (uint32_t i = 0; i < p->hdr->num_sections; i++)
		number(s, uint8_t, k->there[i]);
	bytes(s, k->region, p->hdr->num_regions * sizeof(*k->region));
}

/* ---- queues ----------------------------------------------------------------- */

static void config(struct stream *s, struct rdu_queue_config *c)
{
	field(s, c->ring);
	field(s, c->cpl);
	field(s, c->pt);
	field(s, c->log2);
	field(s, c->tile_first);
	field(s, c->tile_count);
}

/* Grants the queue its tiles; what enabling a queue checks is checked here. */
static bool take_tiles(struct stream *s, struct card_queue *q)
{
	struct rdu_card *card = s->card;
	uint32_t first = q->live.tile_first, count = q->live.tile_count, t;
	bool runs = q->status == RDU_QUEUE_IDLE || q->status == RDU_QUEUE_RUNNING;

	if (q->status > RDU_QUEUE_FAULTED || q->live.log2 > 16 || (runs && !q->live.log2) ||
	    (q->status == RDU_QUEUE_DISABLED && (q->live.log2 || count)))
		return refuse(s, "queue %u: status %u, 2^%u commands", q->id, q->status,
			      q->live.log2);
	if (count && (first >= card->chip.tiles || count > card->chip.tiles - first))
		return refuse(s, "queue %u: tiles %u to %u", q->id, first, first + count);
	for (t = first; t < first + count && count; t++) {
		if (card->tile_owner[t])
			return refuse(s, "queues %u and %u on tile %u", card->tile_owner[t] - 1,
				      q->id, t);
		card->tile_owner[t] = q->id + 1;
	}
	return true;
}

/* One of what is asked of a queue: as a truth value. */
static void request(struct stream *s, struct card_queue *q, enum card_request what)
{
	uint8_t asked = (q->requests & what) != 0;

	field(s, asked);
	if (s->get && asked)
		q->requests |= what;
}

/* The command in progress, and what waits for its end. */
static void work(struct stream *s, struct card_queue *q)
{
	uint8_t stuck = q->work == CARD_WORK_STUCK, hung = stuck || q->work == CARD_WORK_HUNG;
	uint8_t suspended = q->work == CARD_WORK_SUSPENDED;
	bool reset, disable;

	field(s, hung);
	field(s, stuck);
	field(s, suspended);
	/* Still to be carried out: a reset, if it is stuck, else a disable. */
	request(s, q, CARD_REQ_RESET);
	request(s, q, CARD_REQ_DISABLE);
	request(s, q, CARD_REQ_ENABLE);
	reset = q->requests & CARD_REQ_RESET;
	disable = q->requests & CARD_REQ_DISABLE;
	if (((hung || suspended) &&
	     (q->status != RDU_QUEUE_RUNNING || q->batch_pos == q->batch_len)) ||
	    (hung && suspended) || (stuck && !hung) || (reset && !stuck) ||
	    (disable && !hung && !suspended) ||
	    (q->requests & CARD_REQ_ENABLE && !reset && !disable))
		refuse(s, "queue %u: a command in progress that cannot be", q->id);
	else if (s->get && (hung || suspended))
		card_queue_move(q, stuck  ? CARD_WORK_STUCK
				   : hung ? CARD_WORK_HUNG
					  : CARD_WORK_SUSPENDED);
}

static void plane(struct stream *s, const struct card_queue *q, struct rdu_plane *plane)
{
	struct card_program *p = plane->program;

	reference(s, &p);
	plane->program = p;
	if (!p)
		return;
	field(s, plane->section);
	if (plane->section >= p->hdr->num_sections ||
	    !rdu_program_fits(p, plane->section, q->live.tile_count))
		refuse(s, "queue %u: section %u on %u tiles", q->id, plane->section,
		       q->live.tile_count);
}

static void queue(struct stream *s, struct card_queue *q)
{
	struct rdu_failure *f = &q->fault;

	config(s, &q->reg);
	config(s, &q->live);
	number(s, uint64_t, q->watchdog);
	number(s, uint32_t, q->watchdog_ms);
	number(s, uint32_t, q->status);
	number(s, uint32_t, q->head);
	number(s, uint32_t, q->tail);
	number(s, uint32_t, f->code);
	field(s, f->info);
	field(s, f->addr);
	field(s, f->section);
	field(s, f->program);
	field(s, q->fault_seq);
	request(s, q, CARD_REQ_FAULT_IRQ);
	field(s, q->exec_cycles);
	field(s, q->pload_cycles);
	field(s, q->aload_cycles);
	field(s, q->copy_cycles);
	field(s, q->latch);
	field(s, q->time);
	if (s->get && !s->bad)
		take_tiles(s, q);

	field(s, q->batch_pos);
	field(s, q->batch_len);
	if (q->batch_len > RDU_BATCH || q->batch_pos > q->batch_len) {
		refuse(s, "queue %u: command %u of %u", q->id, q->batch_pos, q->batch_len);
		q->batch_pos = q->batch_len = 0;
	}
	bytes(s, q->batch, q->batch_len * sizeof(q->batch[0]));

	plane(s, q, &q->planes.used);
	plane(s, q, &q->planes.other);
	if (q->planes.other.program && (s->card->chip.config_planes < 2 || !card_loaded(q)))
		refuse(s, "queue %u: a section in a plane that it cannot be in", q->id);
	if (card_loaded(q) && !s->bad)
		args(s, card_loaded(q), &q->args);

	kept(s, q);

	work(s, q);
	q->stop = q->requests & CARD_REQ_RESET;
	if (q->work == CARD_WORK_SUSPENDED && !s->bad)
		suspended(s, q);
}

/* ---- scratchpads ------------------------------------------------------------- */

/* The pages of granted tiles that are not all zeros; then a mark. Those of free
 * tiles are: they are cleared between owners. */
static void put_scratch(struct stream *s)
{
	static const unsigned char zeros[PAGE];
	struct rdu_card *card = s->card;
	size_t tile = (size_t)card->pmus_per_tile * card->chip.pmu_bytes, at, n;
	uint64_t end = UINT64_MAX;
	uint32_t t;

	for (t = 0; t < card->chip.tiles; t++) {
		for (at = t * tile; card->tile_owner[t] && at < (t + 1) * tile; at += n) {
			uint64_t where = at;

			n = (t + 1) * tile - at < PAGE ? (t + 1) * tile - at : PAGE;
			if (!memcmp(card->scratch + at, zeros, n))
				continue;
			field(s, where);
			bytes(s, card->scratch + at, n);
		}
	}
	field(s, end);
}

static void get_scratch(struct stream *s)
{
	struct rdu_card *card = s->card;
	size_t tile = (size_t)card->pmus_per_tile * card->chip.pmu_bytes;
	uint64_t at, left, next = 0;

	for (;;) {
		field(s, at);
		if (s->bad || at == UINT64_MAX)
			return;
		/* In order, so that a stream has an end. */
		if (at < next || at >= card->scratch_size || at % tile % PAGE ||
		    !card->tile_owner[at / tile]) {
			refuse(s, "scratchpad contents at %llu", (unsigned long long)at);
			return;
		}
		left = tile - at % tile;
		bytes(s, card->scratch + at, left < PAGE ? left : PAGE);
		next = at + 1;
	}
}

/* ---- the card ----------------------------------------------------------------- */

/* What is armed, and whether it struck: dead or gone. */
static void injected(struct stream *s)
{
	struct rdu_card *card = s->card;
	unsigned int i;

	for (i = 0; i < RDU_NUM_INJECTS; i++) {
		number(s, int64_t, card->inject[i]);
		if (!rdu_inject_valid(i, card->inject[i]))
			refuse(s, "fault on demand %u: %lld", i, (long long)card->inject[i]);
	}
	card->dead = card->inject[RDU_INJECT_DEAD] || card->inject[RDU_INJECT_GONE];
}

static void all(struct stream *s)
{
	struct rdu_card *card = s->card;
	unsigned int i;

	if (!same_card(s))
		return;
	number(s, uint8_t, card->enabled);
	field(s, card->fault_queues);
	field(s, card->clock);
	field(s, card->latch_hi);
	field(s, card->ecc_ce);
	field(s, card->ecc_ue);
	field(s, card->load);
	field(s, card->heat);
	if (!(card->load >= 0 && card->load <= 1 && card->heat >= 0 && card->heat <= 1))
		refuse(s, "an impossible load");
	injected(s);
	programs(s);
	slots(s);
	for (i = 0; i < RDU_MAX_QUEUES && !s->bad; i++)
		queue(s, &card->queue[i]);
	if (s->bad)
		return;
	if (s->get)
		get_scratch(s);
	else
		put_scratch(s);
	mark(s, END, "the state does not end where it should");
}

int rdu_card_save(struct rdu_card *card, int (*put)(void *opaque, const void *buf, size_t len),
		  void *opaque, char *error, size_t error_size)
{
	struct stream s = {
		.card = card, .put = put, .opaque = opaque, .error = error, .error_size = error_size
	};

	pthread_mutex_lock(&card->lock);
	if (card->paused && rdu_card_quiet(card))
		all(&s);
	else
		refuse(&s, "the card is not paused");
	pthread_mutex_unlock(&card->lock);
	return s.bad ? -1 : 0;
}

/* card->lock held. A worker for each queue that had one with something to do. */
static void start_workers(struct stream *s)
{
	struct rdu_card *card = s->card;
	unsigned int i;

	card->busy_ns = card->sample_busy = 0;
	for (i = 0; i < RDU_MAX_QUEUES && !s->bad; i++) {
		struct card_queue *q = &card->queue[i];

		atomic_fetch_add(&q->tlb_generation, 1);
		if ((q->status != RDU_QUEUE_DISABLED || q->requests & CARD_REQ_FAULT_IRQ) &&
		    rdu_queue_start(q))
			refuse(s, "no thread for queue %u", i);
	}
}

/* card->lock held. As after power-on: half a state is none. */
static void empty(struct rdu_card *card)
{
	rdu_inject_init(card);
	card->dead = false;
	rdu_card_request_reset(card);
	card->ecc_ce = card->ecc_ue = 0;
	card->clock = 0;
	card->load = card->heat = 0;
}

int rdu_card_load(struct rdu_card *card, int (*get)(void *opaque, void *buf, size_t len),
		  void *opaque, char *error, size_t error_size)
{
	struct stream s = {
		.card = card, .get = get, .opaque = opaque, .error = error, .error_size = error_size
	};
	uint32_t i;

	pthread_mutex_lock(&card->lock);
	if (card->paused && rdu_card_quiet(card)) {
		rdu_card_request_reset(card); /* done at once */
		all(&s);
		if (!s.bad)
			start_workers(&s);
		if (s.bad)
			empty(card);
	} else {
		refuse(&s, "the card is not paused");
	}
	pthread_mutex_unlock(&card->lock);
	/* Slots and queues hold their own references. */
	for (i = 0; i < s.num_programs; i++)
		rdu_program_put(s.program[i]);
	return s.bad ? -1 : 0;
}
