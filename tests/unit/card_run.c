// SPDX-License-Identifier: MIT
/* Programs on the card: load, run, schedules, arguments, faults, tiles. */
#include "card_program.h"
#include "card_priv.h"

static void fault_is(struct bed *b, struct rdu_cmd c, uint32_t code, uint32_t section,
		     const char *what)
{
	bed_do(b, 1, c);
	ok(qrd(b, 1, RDU_REG_Q_FAULT_CODE) == code && qrd(b, 1, RDU_REG_Q_FAULT_SECTION) == section,
	   "%s: fault %u (got %u, section %d)", what, code, qrd(b, 1, RDU_REG_Q_FAULT_CODE),
	   (int)qrd(b, 1, RDU_REG_Q_FAULT_SECTION));
	bed_reset(b, 1);
	bed_enable(b, 1, root, 0, 1);
}

static void plain(struct bed *b)
{
	const struct rdu_stats *s = (void *)(b->mem + 9 * MB);
	const struct rdu_trace *t = (void *)(b->mem + 10 * MB);
	unsigned int i, kinds[5] = { 0 };
	struct rdu_cmd c;
	uint64_t exec;
	size_t size;
	void *image = scale(3, 2, 1, &size);

	is(load(b, 0, image, size, 0), 0, "PROG_LOAD: accepted");
	for (i = 0; i < N * 32; i++)
		floats(b, MB)[i] = (float)i - 100;
	args(b, 8 * MB, 2, VA + MB, VA + 2 * MB, BYTES);
	ok(bed_do(b, 1, run(0, VA + 8 * MB, true, true)), "RUN completes");
	ok(scaled(floats(b, MB), floats(b, 2 * MB), 3, N * 32), "and computes");
	is(s->sections, 1, "stats: one section");
	is(s->pload_cycles, chip.pload_latency + (size + chip.pload_bytes - 1) / chip.pload_bytes,
	   "stats: program load");
	is(s->aload_cycles, chip.aload_cycles + 2 * chip.aload_per_segment, "stats: argument load");
	is(s->flops, 2 * N * 32, "stats: operations");
	is(s->dram_bytes, 4 * BYTES, "stats: bytes");
	is(s->end_cycle - s->start_cycle, s->exec_cycles + s->pload_cycles + s->aload_cycles,
	   "stats: the clock moved by their sum");
	exec = s->exec_cycles;
	ok(exec >= 2 * N && s->wall_ns > 0, "stats: %llu cycles", (unsigned long long)exec);
	for (i = 0; i < t->count && i < 1000; i++)
		kinds[t->events[i].kind % 5]++;
	ok(kinds[RDU_TRACE_PLOAD] == 1 && kinds[RDU_TRACE_ALOAD] == 1 &&
		   kinds[RDU_TRACE_EXEC] == 1 && kinds[RDU_TRACE_UNIT] == 3 &&
		   kinds[RDU_TRACE_STAGE] == 2 && !t->dropped,
	   "trace: loads, execution, three units, two activations (%u %u %u %u %u, dropped %u)",
	   kinds[0], kinds[1], kinds[2], kinds[4], kinds[3], t->dropped);
	is(rdu_card_mmio_read(b->card, RDU_REG_QUEUE(1) + RDU_REG_Q_EXEC_LO, 8), exec, "Q_EXEC");

	ok(bed_do(b, 1, run(0, VA + 8 * MB, true, false)), "RUN again");
	is(s->pload_cycles, 0, "nothing to load: it is on the tiles");
	is(s->exec_cycles, exec, "the same cycles");
	c = run(0, VA + 8 * MB, false, true);
	c.run.trace_size = sizeof(struct rdu_trace) + 2 * sizeof(struct rdu_trace_event);
	ok(bed_do(b, 1, c), "a trace of two events");
	ok(t->count == 2 && t->dropped == 5, "two kept, the others counted (%u, %u)", t->count,
	   t->dropped);

	c = (struct rdu_cmd){ .op = RDU_OP_PLOAD };
	bed_do(b, 1, c);
	c = (struct rdu_cmd){ .op = RDU_OP_ALOAD };
	c.run.args = VA + 8 * MB;
	c.run.args_size = 40;
	ok(bed_do(b, 1, c), "PLOAD, ALOAD");
	memset(b->mem + 2 * MB, 0, BYTES);
	c = (struct rdu_cmd){ .op = RDU_OP_EXEC };
	ok(bed_do(b, 1, c) && bed_do(b, 1, c), "EXEC twice");
	ok(scaled(floats(b, MB), floats(b, 2 * MB), 3, N * 32), "the same result");
}

static void places(struct bed *b)
{
	const struct rdu_stats *s = (void *)(b->mem + 9 * MB);
	unsigned int i;

	/* Region 0 in host memory, region 1 in pages that are not neighbours. */
	bed_map(b, root, VA + 128 * MB, HOST_BASE + MB, 64 * 1024, RDU_PTE_WRITE | RDU_PTE_HOST, 0);
	for (i = 0; i < 16; i++)
		bed_map(b, root, VA + 129 * MB + i * 4096, 20 * MB + (15 - i) * 4096ull, 4096,
			RDU_PTE_WRITE, 0);
	memcpy(host_ptr(b, HOST_BASE + MB), b->mem + MB, BYTES);
	args(b, 8 * MB, 2, VA + 128 * MB, VA + 129 * MB, BYTES);
	ok(bed_do(b, 1, run(0, VA + 8 * MB, true, false)), "from host memory to scattered pages");
	ok((double)s->exec_cycles >
		   (double)BYTES * chip.clock_khz / (chip.host_mbps * 1e3) + chip.host_latency,
	   "not faster than the host link: %llu cycles", (unsigned long long)s->exec_cycles);
	ok(b->maps == 1 && b->unmaps == 1, "host memory in one piece is used in place");
	for (i = 0; i < 2; i++)
		ok(scaled(floats(b, MB) + i * 1024, floats(b, 20 * MB + (15 - i) * 4096), 3, 1024),
		   "page %u", i);
	args(b, 8 * MB, 2, VA + 129 * MB, VA + 129 * MB, BYTES);
	ok(bed_do(b, 1, run(0, VA + 8 * MB, false, false)), "in place");
	ok(scaled(floats(b, MB), floats(b, 20 * MB + 15 * 4096), 27, 1024),
	   "both segments see the same memory");

	/* Every second host page elsewhere: through a buffer, and back. */
	for (i = 0; i < 16; i++)
		bed_map(b, root, VA + 131 * MB + i * 4096, HOST_BASE + 2 * MB + i * 8192ull, 4096,
			RDU_PTE_WRITE | RDU_PTE_HOST, 0);
	args(b, 8 * MB, 2, VA + MB, VA + 131 * MB, BYTES);
	ok(bed_do(b, 1, run(0, VA + 8 * MB, false, false)), "to scattered host pages");
	ok(b->maps == 1 && scaled(floats(b, MB) + 1024,
				  (float *)host_ptr(b, HOST_BASE + 2 * MB + 8192), 3, 1024),
	   "stores arrive there");
	/* Read only is enough to read, not to write. */
	bed_map(b, root, VA + 130 * MB, MB, MB, 0, 0);
	args(b, 8 * MB, 2, VA + 130 * MB, VA + 2 * MB, BYTES);
	fault_is(b, run(0, VA + 8 * MB, false, false), RDU_FAULT_PROTECTION, 0,
		 "the image may write to region 0, which is read only");
	args(b, 8 * MB, 2, VA + MB, VA + 140 * MB, BYTES);
	fault_is(b, run(0, VA + 8 * MB, false, false), RDU_FAULT_PAGE, 0, "region not mapped");
}

/* What guests can make the host hold has a bound, over all queues and slots. */
static void bounded(struct bed *b)
{
	const struct rdu_cmd out = { .op = RDU_OP_PROG_UNLOAD, .slot = 12 };
	uint64_t used = b->card->image_bytes;
	size_t size;
	void *image;

	is(b->card->bounce_bytes, 0, "no buffer outlives its section");
	args(b, 8 * MB, 2, VA + MB, VA + 131 * MB, BYTES);
	b->card->bounce_bytes = RDU_BOUNCE_MAX - BYTES + 1;
	fault_is(b, run(0, VA + 8 * MB, false, false), RDU_FAULT_INTERNAL, 0,
		 "other queues have the buffers");
	is(b->card->bounce_bytes, RDU_BOUNCE_MAX - BYTES + 1, "... and keep them");
	b->card->bounce_bytes = RDU_BOUNCE_MAX - BYTES;
	ok(bed_do(b, 1, run(0, VA + 8 * MB, false, false)), "just enough are left");
	b->card->bounce_bytes -= RDU_BOUNCE_MAX - BYTES;
	is(b->card->bounce_bytes, 0, "... and given back");

	image = scale(9, 1, 1, &size);
	is(load(b, 12, image, size, 0), 0, "a program");
	size = b->card->image_bytes - used;
	args(b, 8 * MB, 2, VA + MB, VA + 2 * MB, BYTES);
	ok(size && bed_do(b, 1, run(12, VA + 8 * MB, false, false)), "... runs");
	ok(bed_do(b, 0, out) && b->card->image_bytes == used + size,
	   "out of its slot, it is still on the tiles, and counts");
	bed_reset(b, 1);
	is(b->card->image_bytes, used, "no more after the queue's reset");
	bed_enable(b, 1, root, 0, 1);
	image = scale(9, 1, 1, &size);
	b->card->image_bytes = RDU_MAX_LOADED_IMAGES - 1000;
	is(load(b, 12, image, size, 0), RDU_CFG_E_UNSUPPORTED, "too many images");
	b->card->image_bytes = used;
}

static void arguments(struct bed *b)
{
	struct rdu_cmd c;
	size_t size;
	void *image;

	args(b, 8 * MB, 2, VA + MB, VA + 2 * MB, BYTES - 4);
	fault_is(b, run(0, VA + 8 * MB, false, false), RDU_FAULT_BAD_ARGS, ~0u, "region too small");
	args(b, 8 * MB, 2, VA + MB, VA + 2 * MB + 4, BYTES);
	fault_is(b, run(0, VA + 8 * MB, false, false), RDU_FAULT_BAD_ARGS, ~0u,
		 "region not aligned");
	args(b, 8 * MB, 1, VA + MB, VA + 2 * MB, BYTES);
	fault_is(b, run(0, VA + 8 * MB, false, false), RDU_FAULT_BAD_ARGS, ~0u, "a region missing");
	args(b, 8 * MB, 2, VA + MB, VA + 2 * MB, BYTES);
	c = run(0, VA + 8 * MB, false, false);
	c.run.args_size = 39;
	fault_is(b, c, RDU_FAULT_BAD_ARGS, ~0u, "block too short");
	c = run(0, VA + 200 * MB, false, false);
	fault_is(b, c, RDU_FAULT_PAGE, ~0u, "block not mapped");
	c = run(0, VA + 8 * MB, false, false);
	c.run.index = 1;
	fault_is(b, c, RDU_FAULT_BAD_SLOT, ~0u, "no such entry point");
	c = run(0, VA + 8 * MB, false, false);
	c.run.trace = VA + 10 * MB;
	c.run.trace_size = 4;
	fault_is(b, c, RDU_FAULT_BAD_ARGS, ~0u, "no room for a trace");
	c = run(0, VA + 8 * MB, false, false);
	c.run.stats = VA + 200 * MB;
	fault_is(b, c, RDU_FAULT_PAGE, ~0u, "stats not mapped");
	c = run(9, VA + 8 * MB, false, false);
	fault_is(b, c, RDU_FAULT_BAD_SLOT, ~0u, "empty slot");
	image = scale(2, 1, 2, &size);
	is(load(b, 1, image, size, 0), 0, "a program for two tiles");
	fault_is(b, run(1, VA + 8 * MB, false, false), RDU_FAULT_NO_TILES, ~0u, "on one");
	qwr(b, 1, RDU_REG_Q_WATCHDOG_LO, 1300);
	fault_is(b, run(0, VA + 8 * MB, false, false), RDU_FAULT_WATCHDOG, 0, "watchdog in cycles");
	qwr(b, 1, RDU_REG_Q_WATCHDOG_LO, 0);
	image = scale(2, 1, 1, &size);
	((uint8_t *)image)[8]++;
	is(load(b, 2, image, size, 0), RDU_CFG_E_TRUNCATED, "a damaged image is refused");
}

static void schedules(struct bed *b)
{
	const struct rdu_stats *s = (void *)(b->mem + 9 * MB);
	size_t size;
	void *image = scale(5, 1, 1, &size);

	is(load(b, 3, image, size, 7), 0, "a schedule with a loop");
	for (unsigned int i = 0; i < 7 * N * 32; i++)
		floats(b, 30 * MB)[i] = (float)(i % 1000);
	args(b, 8 * MB, 2, VA + 30 * MB, VA + 31 * MB, 7 * BYTES);
	ok(bed_do(b, 1, run(3, VA + 8 * MB, true, false)), "RUN");
	is(s->sections, 7, "seven executions");
	ok(scaled(floats(b, 30 * MB), floats(b, 31 * MB), 5, 7 * N * 32), "each further on");
}

static void scratchpads(struct bed *b)
{
	struct rdu_cmd c;
	size_t size;
	void *image = scratch(true, &size);

	is(load(b, 4, image, size, 0), 0, "a program that fills a scratchpad");
	image = scratch(false, &size);
	is(load(b, 5, image, size, 0), 0, "and one that reads it");
	args(b, 8 * MB, 1, VA + MB, 0, BYTES);
	c = run(4, VA + 8 * MB, false, false);
	ok(bed_do(b, 1, c), "filled");
	args(b, 8 * MB, 1, VA + 3 * MB, 0, BYTES);
	c.slot = 5;
	ok(bed_do(b, 1, c) && !memcmp(b->mem + MB, b->mem + 3 * MB, BYTES),
	   "the next section finds what was there");
	bed_reset(b, 1);
	bed_enable(b, 2, root, 0, 1);
	memset(b->mem + 3 * MB, 0xff, BYTES);
	ok(bed_do(b, 2, c), "read by the next owner");
	ok(!floats(b, 3 * MB)[0] && !memcmp(b->mem + 3 * MB, b->mem + 3 * MB + 4, BYTES - 4),
	   "who finds zeros");
	bed_reset(b, 2);
	bed_enable(b, 1, root, 0, 1);
}

/* Loads two vectors' distance apart: the second half leaves the segment. */
static void outside(struct bed *b)
{
	struct cfgb *g = cfgb_new(&chip, 1);
	uint32_t ld = cfgb_program(g, RDU_KIND_LOAD, 0, 0),
		 st = cfgb_program(g, RDU_KIND_STORE, 0, 2);
	void *image;
	size_t size;

	g->num_segments = 2;
	cfgb_loop(g, ld, N);
	cfgb_loop(g, st, N);
	cfgb_access(g, ld,
		    &(struct rdu_cfg_access){ .lanes = 32, .lane_stride = 1, .stride = { 64 } },
		    &no_pred);
	cfgb_access(g, st,
		    &(struct rdu_cfg_access){
			    .target = 1, .lanes = 32, .lane_stride = 1, .stride = { 32 } },
		    &no_pred);
	cfgb_connect(g, ld, 0, st, 0);
	image = cfgb_finish(g, &size);
	is(load(b, 10, image, size, 0), 0, "a program that leaves its segment");
	args(b, 8 * MB, 2, VA + MB, VA + 2 * MB, BYTES);
	bed_do(b, 1, run(10, VA + 8 * MB, false, false));
	is(qrd(b, 1, RDU_REG_Q_FAULT_CODE), RDU_FAULT_SEGMENT, "faults");
	is(qrd(b, 1, RDU_REG_Q_FAULT_PROGRAM), ld, "... by that unit program");
	ok(rdu_card_mmio_read(b->card, RDU_REG_QUEUE(1) + RDU_REG_Q_FAULT_ADDR_LO, 8) >= BYTES,
	   "... at an offset beyond its end");
	bed_reset(b, 1);
	bed_enable(b, 1, root, 0, 1);
}

/*
 * A region as often as there may be, each in small pages: long to look up. Nothing in
 * the card's memory is read but by the last: an error that waits for that tells
 * whether the card came that far.
 */
static void stopped_while_bound(struct bed *b)
{
	static uint64_t sizes[RDU_MAX_REGIONS];
	struct cfgb *g = cfgb_new(&chip, 1);
	uint32_t ld = cfgb_program(g, RDU_KIND_LOAD, 0, 0);
	uint32_t st = cfgb_program(g, RDU_KIND_STORE, 0, 0), i;
	struct rdu_args *a = host_ptr(b, HOST_BASE + 2 * MB);
	size_t section_size, size;
	uint64_t seq;
	struct rdu_prog_segment *seg;
	struct rdu_cmd c;
	void *image;
	void *section;

	g->num_segments = RDU_MAX_REGIONS;
	for (i = 0; i < 2; i++) {
		cfgb_loop(g, i ? st : ld, N);
		cfgb_access(g, i ? st : ld,
			    &(struct rdu_cfg_access){ .target = i ? 0 : RDU_MAX_REGIONS - 1,
						      .lanes = 32,
						      .lane_stride = 1,
						      .stride = { 32 } },
			    &no_pred);
	}
	cfgb_connect(g, ld, 0, st, 0);
	section = cfgb_finish(g, &section_size);
	bed_map(b, root, VA + 1024 * MB, 0, 128 * MB, RDU_PTE_WRITE, 0);
	bed_map(b, root, VA + 256 * MB, HOST_BASE + 2 * MB, MB, RDU_PTE_HOST, 0);
	a->num_regions = RDU_MAX_REGIONS;
	a->num_scalars = 0;
	for (i = 0; i < RDU_MAX_REGIONS; i++) {
		a->regions[i].addr = VA + 1024 * MB;
		a->regions[i].size = sizes[i] = 128 * MB;
	}
	image = cfgb_program_image(section, section_size, sizes, &size);
	free(section);
	seg = (void *)((char *)image + ((struct rdu_prog_header *)image)->segments_off);
	for (i = 0; i < RDU_MAX_REGIONS - 1; i++)
		seg[i].access = RDU_SEG_WRITE;
	is(load_image(b, 11, image, size), 0, "a program with as many regions as can be");
	c = run(11, VA + 256 * MB, false, false);
	c.run.args_size = sizeof(*a) + sizeof(a->regions[0]) * RDU_MAX_REGIONS;
	rdu_card_inject(b->card, RDU_INJECT_ECC_UE, 1);
	seq = bed_put(b, 1, c);
	bed_ring(b, 1);
	while (qrd(b, 1, RDU_REG_Q_STATUS) != RDU_QUEUE_RUNNING)
		usleep(10);
	usleep(50000);
	is(qrd(b, 1, RDU_REG_Q_STATUS), RDU_QUEUE_RUNNING, "segments are being bound");
	bed_reset(b, 1);
	ok(bed_done(b, 1) < seq, "reset while segments are bound: it did not complete");
	is(rdu_card_injected(b->card, RDU_INJECT_ECC_UE), 1, "... nor was the last bound");
	rdu_card_inject(b->card, RDU_INJECT_ECC_UE, 0);
	bed_enable(b, 1, root, 0, 1);
}

/* Two queues that want more than memory's time get a half each; alone again, all of it. */
static void shared(struct bed *b)
{
	const struct rdu_stats *s = (void *)(b->mem + 9 * MB);
	struct rdu_cmd r = run(6, VA + 8 * MB, true, false);
	uint64_t alone, beside;
	double least; /* cycles that memory takes at half its rate */
	size_t size;
	void *image = scale(2, 64, 1, &size);

	is(load(b, 6, image, size, 0), 0, "a program that memory bounds");
	image = scale(2, 1 << 20, 1, &size);
	is(load(b, 7, image, size, 0), 0, "a longer one");
	args(b, 8 * MB, 2, VA + MB, VA + 2 * MB, BYTES);
	bed_do(b, 1, r);
	alone = s->exec_cycles;
	least = 2 * (double)s->dram_bytes * chip.clock_khz / (chip.dram_mbps * 1e3);
	bed_enable(b, 2, root, 1, 1);
	bed_put(b, 2, run(7, VA + 8 * MB, false, false));
	bed_ring(b, 2);
	while (!b->card->queue[2].memory_parts)
		usleep(100);
	bed_do(b, 1, r);
	beside = s->exec_cycles;
	ok((double)beside > least && beside < 2 * alone,
	   "beside another queue's section: %llu cycles, alone %llu", (unsigned long long)beside,
	   (unsigned long long)alone);
	bed_reset(b, 2);
	bed_do(b, 1, r);
	is(s->exec_cycles, alone, "alone again");
	for (r = (struct rdu_cmd){ .op = RDU_OP_PROG_UNLOAD, .slot = 6 }; r.slot < 8; r.slot++)
		bed_do(b, 0, r);
}

static void together(struct bed *b)
{
	uint64_t a, c, end;
	struct rdu_cmd r;
	bool both = false;
	size_t size;
	void *image = scale(2, 1 << 20, 1, &size);

	is(load(b, 6, image, size, 0), 0, "a long program");
	image = scale(2, 1 << 20, 1, &size);
	is(load(b, 7, image, size, 0), 0, "twice");
	bed_enable(b, 2, root, 1, 1);
	args(b, 8 * MB, 2, VA + MB, VA + 2 * MB, BYTES);
	a = bed_put(b, 1, run(6, VA + 8 * MB, false, false));
	c = bed_put(b, 2, run(7, VA + 8 * MB, false, false));
	bed_ring(b, 1);
	bed_ring(b, 2);
	end = bed_now(NULL) + 5000000000ULL;
	while (!both && bed_now(NULL) < end)
		both = qrd(b, 1, RDU_REG_Q_STATUS) == RDU_QUEUE_RUNNING &&
		       qrd(b, 2, RDU_REG_Q_STATUS) == RDU_QUEUE_RUNNING;
	ok(both, "two queues run at the same time");
	usleep(50000);
	bed_reset(b, 1);
	ok(bed_done(b, 1) < a, "reset of one while it executes: it did not complete");
	ok(qrd(b, 2, RDU_REG_Q_STATUS) == RDU_QUEUE_RUNNING || bed_done(b, 2) >= c,
	   "the other one is undisturbed");
	/* Unloaded while it runs. */
	r = (struct rdu_cmd){ .op = RDU_OP_PROG_UNLOAD, .slot = 7 };
	ok(bed_do(b, 0, r), "its slot is emptied");
	is(qrd(b, 2, RDU_REG_Q_FAULT_CODE), 0, "it runs on");
	qwr(b, 1, RDU_REG_Q_WATCHDOG_MS, 100);
	bed_enable(b, 1, root, 0, 1);
	r = run(6, VA + 8 * MB, false, false);
	fault_is(b, r, RDU_FAULT_WATCHDOG, 0, "watchdog in host time");
	bed_reset(b, 2);
	bed_reset(b, 0);
}

/* Pages that arrived in the scattered host pages of places(). */
static unsigned int arrived(struct bed *b)
{
	unsigned int i, n = 0;

	for (i = 0; i < BYTES / 4096; i++)
		n += scaled(floats(b, MB) + i * 1024,
			    (float *)host_ptr(b, HOST_BASE + 2 * MB + i * 8192), 2, 1024);
	for (i = 0; i < BYTES / 4096; i++)
		memset(host_ptr(b, HOST_BASE + 2 * MB + i * 8192), 0, 4096);
	return n;
}

/* A section that is cut off has stored something, through a buffer. */
static void cut_off(struct bed *b)
{
	struct rdu_cmd r = run(6, VA + 8 * MB, false, false);
	unsigned int n = 0, ms;

	arrived(b);
	args(b, 8 * MB, 2, VA + MB, VA + 131 * MB, BYTES);
	/* A busy host takes its time to come to the first store. */
	for (ms = 300; ms < 20000 && n != BYTES / 4096; ms *= 2) {
		qwr(b, 1, RDU_REG_Q_WATCHDOG_MS, ms);
		fault_is(b, r, RDU_FAULT_WATCHDOG, 0,
			 "watchdog in host time, stores go to a buffer");
		n = arrived(b);
	}
	is(n, BYTES / 4096, "they arrive");
	qwr(b, 1, RDU_REG_Q_WATCHDOG_MS, 0);
	bed_put(b, 1, r);
	bed_ring(b, 1);
	while (!b->card->bounce_bytes)
		usleep(10);
	usleep(ms * 1000);
	/* As a pause does when it has waited for half a minute. */
	pthread_mutex_lock(&b->card->lock);
	b->card->queue[1].requests |= CARD_REQ_OVERTIME;
	b->card->queue[1].stop = true;
	pthread_mutex_unlock(&b->card->lock);
	for (unsigned int i = 0; i < 100000 && qrd(b, 1, RDU_REG_Q_STATUS) != RDU_QUEUE_FAULTED;
	     i++)
		usleep(100);
	is(qrd(b, 1, RDU_REG_Q_FAULT_CODE), RDU_FAULT_WATCHDOG, "given up by a pause");
	is(arrived(b), BYTES / 4096, "they arrive");
	bed_reset(b, 1);
	bed_enable(b, 1, root, 0, 1);
}

static void timing_only(void)
{
	struct bed *b = bed_new("sn10", 1, true);
	const struct rdu_stats *s = (void *)(b->mem + 9 * MB);
	size_t size;
	void *image;

	root = bed_root(b);
	bed_map(b, root, VA, 0, 64 * MB, RDU_PTE_WRITE, 1);
	bed_enable(b, 0, 0, 0, 0);
	bed_enable(b, 1, root, 0, 1);
	image = scale(2, 1 << 16, 1, &size);
	is(load(b, 0, image, size, 0), 0, "timing only: loaded");
	floats(b, MB)[0] = 1;
	args(b, 8 * MB, 2, VA + MB, VA + 2 * MB, BYTES);
	ok(bed_do(b, 1, run(0, VA + 8 * MB, true, false)), "timing only: runs");
	ok(s->exec_cycles > N << 16 && floats(b, 2 * MB)[0] == 0, "cycles, no values");
	bed_free(b);
}

int main(void)
{
	struct bed *b = bed_new("sn10", 2, false);

	chip = b->chip;
	root = bed_root(b);
	bed_map(b, root, VA, 0, 64 * MB, RDU_PTE_WRITE, 1);
	bed_enable(b, 0, 0, 0, 0);
	bed_enable(b, 1, root, 0, 1);
	plain(b);
	places(b);
	bounded(b);
	arguments(b);
	schedules(b);
	scratchpads(b);
	outside(b);
	stopped_while_bound(b);
	shared(b);
	together(b);
	cut_off(b);
	bed_free(b);
	timing_only();
	return tap_done();
}
