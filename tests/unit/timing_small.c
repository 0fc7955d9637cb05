// SPDX-License-Identifier: MIT
/*
 * Modelled time: small graphs worked out by hand, from the formulas of
 * Documentation/timing.md, and properties that hold for any graph.
 */
#include "card_test.h"
#include "cfgbuild.h"
#include "fabric.h"
#include "timing_priv.h"

static struct rdu_chip chip;
static const struct rdu_cfg_pred no_pred;

static struct rdu_section *section(struct cfgb *b)
{
	struct rdu_cfg_diag diag;
	struct rdu_section *s;
	size_t size;
	void *image = cfgb_finish(b, &size);

	s = rdu_section_new(image, size, &chip, 0, &diag);
	free(image);
	if (!s) {
		printf("Bail out! refused: %s\n", diag.text);
		exit(1);
	}
	return s;
}

static unsigned int distance(const struct rdu_section *s, uint32_t a, uint32_t c)
{
	unsigned int x0, y0, x1, y1;

	rdu_chip_unit_xy(&chip, rdu_kind_unit(s->programs[a].kind), s->programs[a].unit, &x0, &y0);
	rdu_chip_unit_xy(&chip, rdu_kind_unit(s->programs[c].kind), s->programs[c].unit, &x1, &y1);
	return abs((int)x0 - (int)x1) + abs((int)y0 - (int)y1) + 1;
}

/* Counters of every program fit the section's cycles; busy ones are exact. */
static bool adds_up(const struct rdu_section_time *t)
{
	for (uint32_t i = 0; i < t->num_programs; i++) {
		const struct rdu_unit_time *u = &t->programs[i];

		if (u->busy + u->stall_in + u->stall_out + u->stall_mem > t->cycles || !u->busy)
			return false;
	}
	for (uint32_t i = 0; i < t->num_stages; i++)
		if (t->stages[i].busy > t->cycles || !t->stages[i].activations)
			return false;
	return true;
}

/* load -> relu -> store over n vectors of `format`, lanes lane_stride apart. */
static struct rdu_section *stream(int n, unsigned int format, int64_t lane_stride,
				  unsigned int outer)
{
	struct cfgb *b = cfgb_new(&chip, 1);
	uint32_t p[3], i;

	b->num_segments = 2;
	p[0] = cfgb_program(b, RDU_KIND_LOAD, 0, 0);
	p[1] = cfgb_program(b, RDU_KIND_SIMD, 0, 0);
	p[2] = cfgb_program(b, RDU_KIND_STORE, 0, 2);
	for (i = 0; i < 3; i++) {
		if (outer)
			cfgb_outer(b, p[i], (int)outer);
		cfgb_loop(b, p[i], n);
	}
	cfgb_access(b, p[0],
		    &(struct rdu_cfg_access){
			    .target = 0,
			    .format = format,
			    .lanes = chip.lanes,
			    .lane_stride = lane_stride,
			    .stride = { [0] = lane_stride == 1 && !outer ? chip.lanes : 0,
					[1] = outer ? chip.lanes : 0 } },
		    &no_pred);
	cfgb_stage(b, p[1], RDU_SIMD_FMAX, 0, cfgb_in(0), cfgb_immf(0), cfgb_none());
	cfgb_access(
		b, p[2],
		&(struct rdu_cfg_access){
			.target = 1,
			.format = format,
			.lanes = chip.lanes,
			.lane_stride = 1,
			.stride = { [0] = outer ? 0 : chip.lanes, [1] = outer ? chip.lanes : 0 } },
		&no_pred);
	cfgb_connect(b, p[0], 0, p[1], 0);
	cfgb_connect(b, p[1], 0, p[2], 0);
	return section(b);
}

static void streams(void)
{
	const struct rdu_section_time *t, *u;
	struct rdu_section *s;
	uint64_t fill, cycles, once;
	double rate;

	s = stream(1024, RDU_FMT_WORD, 1, 0);
	t = rdu_section_time(s, NULL, NULL, NULL);
	rate = chip.dram_mbps * 1e3 / chip.clock_khz;
	is(t->dram_bytes, 2 * 1024 * chip.lanes * 4, "stream: bytes of whole vectors");
	/* Both directions share the memory. */
	cycles = (uint64_t)(2.0 * 1024 * chip.lanes * 4 / rate);
	fill = chip.dram_latency + distance(s, 0, 1) * chip.hop_cycles + 1 + 1 +
	       distance(s, 1, 2) * chip.hop_cycles + chip.stage_cycles + 1 + chip.dram_latency;
	ok(t->cycles >= cycles + fill, "stream: %llu cycles, memory needs %llu, the way takes %llu",
	   (unsigned long long)t->cycles, (unsigned long long)cycles, (unsigned long long)fill);
	/* An AGCU has agcu_requests on their way, and a channel that is refreshed holds up all:
	 * no more than twice what these two leave. */
	cycles = 1024ull * chip.lanes * 4 / chip.dram_burst * chip.dram_latency /
			 chip.agcu_requests +
		 cycles;
	ok(t->cycles <= 2 * cycles + fill, "stream: at most twice %llu",
	   (unsigned long long)cycles);
	is(t->stages[0].bound, RDU_BOUND_DRAM, "stream: bound by memory");
	is(t->flops, 1024 * chip.lanes, "stream: an operation a word");
	is(t->programs[1].busy, 1024, "stream: PCU busy a cycle a vector");
	ok(adds_up(t), "stream: counters add up");
	once = t->cycles;
	u = rdu_section_time(s, NULL, NULL, NULL);
	ok(u == t && u->cycles == once, "asked again: the same");
	rdu_section_free(s);

	s = stream(1024, RDU_FMT_WORD, 1, 0);
	t = rdu_section_time(s, NULL, NULL, NULL);
	is(t->cycles, once, "made again: the same");
	rdu_section_free(s);

	s = stream(2048, RDU_FMT_WORD, 1, 0);
	t = rdu_section_time(s, NULL, NULL, NULL);
	ok(t->cycles > once && (double)t->cycles < 2.2 * (double)once,
	   "twice the vectors: %llu cycles after %llu", (unsigned long long)t->cycles,
	   (unsigned long long)once);
	rdu_section_free(s);

	s = stream(1024, RDU_FMT_BF16, 1, 0);
	t = rdu_section_time(s, NULL, NULL, NULL);
	is(t->dram_bytes, 2 * 1024 * chip.lanes * 2, "bf16: half the bytes");
	rdu_section_free(s);

	s = stream(1024, RDU_FMT_WORD, 4096, 0);
	t = rdu_section_time(s, NULL, NULL, NULL);
	ok(t->dram_bytes > 1024 * chip.lanes * 4, "lanes apart: bursts for each (held: %llu bytes)",
	   (unsigned long long)t->dram_bytes);
	rdu_section_free(s);

	/* One activation after the other: 64 vectors are 32 bursts, each of them read and
	 * written in every activation. A page of them lies in few banks, so that a burst
	 * takes its bank group's time, tCCD_L, and reads and writes take turns. */
	s = stream(64, RDU_FMT_I8, 1, 100);
	t = rdu_section_time(s, NULL, NULL, NULL);
	ok(t->cycles >= 6400 && t->cycles < 2 * 6400,
	   "100 activations of 64 follow each other: %llu cycles", (unsigned long long)t->cycles);
	is(t->stages[0].activations, 100, "100 activations");
	ok(adds_up(t), "counters add up");
	rdu_section_free(s);
}

/* Two stages around a buffer: W (from LOAD) and R (to STORE). */
static struct rdu_section *buffered(unsigned int copies, int acts, int n, int64_t read_stride)
{
	struct cfgb *b = cfgb_new(&chip, 1);
	uint32_t ld = cfgb_program(b, RDU_KIND_LOAD, 0, 0),
		 w = cfgb_program(b, RDU_KIND_WRITE, 0, 0);
	uint32_t r = cfgb_program(b, RDU_KIND_READ, 0, 0),
		 st = cfgb_program(b, RDU_KIND_STORE, 0, 1);
	uint32_t p[4] = { ld, w, r, st }, i;
	uint32_t words = (uint32_t)n * chip.lanes;

	b->num_segments = 2;
	for (i = 0; i < 4; i++) {
		cfgb_outer(b, p[i], acts);
		cfgb_loop(b, p[i], n);
	}
	cfgb_buffer(b, 0, 0, copies, 0, words);
	for (i = 0; i < 4; i++) {
		bool agcu = p[i] == ld || p[i] == st;
		bool odd = p[i] == r && read_stride != 1;

		cfgb_access(b, p[i],
			    &(struct rdu_cfg_access){ .target = p[i] == st,
						      .format = agcu ? RDU_FMT_I8 : RDU_FMT_WORD,
						      .lanes = chip.lanes,
						      .lane_stride = odd ? read_stride : 1,
						      .stride = { 0, odd ? 1 : chip.lanes } },
			    &no_pred);
	}
	cfgb_order(b, w, r, 0, 0, copies, 0);
	cfgb_connect(b, ld, 0, w, 0);
	cfgb_connect(b, r, 0, st, 0);
	return section(b);
}

/* A stage that runs once, for long, and only then one that runs `acts` times. */
static struct rdu_section *one_then_many(int long_one, int acts)
{
	struct cfgb *b = cfgb_new(&chip, 1);
	uint32_t p[4] = { cfgb_program(b, RDU_KIND_LOAD, 0, 0),
			  cfgb_program(b, RDU_KIND_WRITE, 0, 0),
			  cfgb_program(b, RDU_KIND_READ, 0, 0),
			  cfgb_program(b, RDU_KIND_STORE, 0, 1) };

	b->num_segments = 2;
	cfgb_buffer(b, 0, 0, 1, 0, chip.lanes);
	for (int i = 0; i < 4; i++) {
		cfgb_outer(b, p[i], i < 2 ? 1 : acts);
		cfgb_loop(b, p[i], i < 2 ? long_one : 4);
		cfgb_access(b, p[i],
			    &(struct rdu_cfg_access){ .target = i == 3,
						      .format = RDU_FMT_WORD,
						      .lanes = chip.lanes,
						      .lane_stride = 1,
						      .flip_mask = i == 2 },
			    &no_pred);
	}
	cfgb_order(b, p[1], p[2], 0, 1, 1, 0);
	cfgb_connect(b, p[0], 0, p[1], 0);
	cfgb_connect(b, p[2], 0, p[3], 0);
	return section(b);
}

static uint64_t sum_spans, last_end, spans;

static void note(void *opaque, uint32_t stage, uint32_t activation, uint64_t start, uint64_t end)
{
	(void)opaque;
	(void)stage;
	(void)activation;
	spans++;
	sum_spans += end - start;
	if (end > last_end)
		last_end = end;
}

static void pipelines(void)
{
	const struct rdu_section_time *t;
	struct rdu_section *s;
	uint64_t one, two, four;

	s = buffered(1, 20, 64, 1);
	t = rdu_section_time(s, NULL, NULL, NULL);
	one = t->cycles;
	ok(adds_up(t), "one copy: counters add up");
	ok(t->programs[1].stall_out > t->cycles / 4, "one copy: the writer waits for the reader");
	ok(one >= 20 * 2 * 64, "one copy: writing and reading take turns, %llu cycles",
	   (unsigned long long)one);
	rdu_section_time(s, NULL, note, NULL);
	is(spans, 40, "trace: one call an activation");
	ok(last_end <= one && last_end + 200 > one,
	   "trace: the last one ends at %llu, the section when all is written",
	   (unsigned long long)last_end);
	ok(sum_spans >= 40 * 64, "trace: each lasts as long as its work");
	rdu_section_free(s);
	s = buffered(2, 20, 64, 1);
	two = rdu_section_time(s, NULL, NULL, NULL)->cycles;
	rdu_section_free(s);
	s = buffered(12, 20, 64, 1);
	t = rdu_section_time(s, NULL, NULL, NULL);
	four = t->cycles;
	/* Stores that come thicker turn the bus at other moments: a few cycles. */
	ok(two < one && four <= two + 20, "double buffering is faster (%llu, %llu, %llu cycles)",
	   (unsigned long long)one, (unsigned long long)two, (unsigned long long)four);
	ok(four >= 20 * 64 && four < 2 * 20 * 64, "twelve copies: the stages overlap");
	rdu_section_free(s);

	/* What may be left out is looked for while nobody runs who is ever repeated. */
	s = one_then_many(40000, 64);
	t = rdu_section_time(s, NULL, NULL, NULL);
	ok(t && t->cycles >= 40000 + 64 * 4 && t->cycles < 60000,
	   "a long activation before many: %llu cycles", t ? (unsigned long long)t->cycles : 0);
	rdu_section_free(s);

	/* Lanes a multiple of the banks apart: all on one bank. */
	s = buffered(1, 1, 4, (int64_t)chip.pmu_banks / 8);
	ok(rdu_bank_cycles(s, 2) ==
		   32.0 / (chip.pmu_banks / (chip.pmu_banks / 8.0)) * (chip.lanes / 32.0),
	   "lanes %u apart: %.1f cycles a vector", chip.pmu_banks / 8, rdu_bank_cycles(s, 2));
	t = rdu_section_time(s, NULL, NULL, NULL);
	is(t->stages[t->stage_of[2]].bound, RDU_BOUND_BANK, "bound by banks");
	rdu_section_free(s);
	s = buffered(1, 1, 4, 3);
	ok(rdu_bank_cycles(s, 2) == 1.0 * chip.lanes / chip.pmu_banks ||
		   chip.lanes < chip.pmu_banks,
	   "an odd distance: no conflict");
	rdu_section_free(s);
}

/* k steps on a full array, `blocks` times: columns and rows read from PMUs. */
static void systolic(int k, int blocks, enum rdu_systolic_mode mode)
{
	struct cfgb *b = cfgb_new(&chip, 1);
	const struct rdu_section_time *t;
	struct rdu_section *s;
	uint32_t c, r, a, w, i, in[2];
	bool ternary = mode == RDU_SYS_TERNARY;
	uint64_t want;

	c = in[0] = cfgb_program(b, RDU_KIND_READ, 0, 0);
	r = in[1] = cfgb_program(b, RDU_KIND_READ, 0, 1);
	a = cfgb_program(b, RDU_KIND_SYSTOLIC, 0, 0);
	w = cfgb_program(b, RDU_KIND_WRITE, 0, 2);
	for (i = 0; i < 2; i++) {
		cfgb_buffer(b, 0, i, 1, 0, (uint32_t)k * chip.lanes);
		cfgb_loop(b, in[i], blocks);
		cfgb_loop(b, in[i], ternary ? k / 4 : k);
		cfgb_loop(b, in[i], ternary ? 4 : 1);
		cfgb_access(b, in[i],
			    &(struct rdu_cfg_access){ .target = i,
						      .lanes = i ? chip.systolic_cols : chip.lanes,
						      .lane_stride = 1,
						      .stride = { 0, chip.lanes } },
			    &no_pred);
	}
	cfgb_buffer(b, 0, 2, 1, 0, chip.systolic_cols * chip.lanes);
	cfgb_loop(b, a, blocks);
	cfgb_loop(b, a, ternary ? k / 4 : k);
	cfgb_loop(b, a, ternary ? 4 : 1);
	cfgb_systolic(b, a,
		      &(struct rdu_cfg_systolic){
			      .mode = mode, .cols = chip.systolic_cols, .k_mask = 6 });
	cfgb_loop(b, w, blocks);
	cfgb_loop(b, w, (int)chip.systolic_cols);
	cfgb_access(b, w,
		    &(struct rdu_cfg_access){ .target = 2,
					      .lanes = chip.lanes,
					      .lane_stride = 1,
					      .stride = { 0, chip.lanes } },
		    &no_pred);
	cfgb_connect(b, c, 0, a, 0);
	cfgb_connect(b, r, 0, a, 1);
	cfgb_connect(b, a, 0, w, 0);
	cfgb_out_port(b, a, 0, 6, 0, (uint8_t)chip.systolic_cols);
	s = section(b);
	t = rdu_section_time(s, NULL, NULL, NULL);
	want = 2ull * k * blocks;
	if (want < (uint64_t)blocks * chip.systolic_cols)
		want = (uint64_t)blocks * chip.systolic_cols;
	is(t->stages[0].busy, want, "systolic: two cycles a step, or the drain if that is longer");
	ok(t->cycles > want && t->cycles < want + chip.lanes + 3 * chip.systolic_cols + 40,
	   "systolic: %llu cycles, fill and drain %llu", (unsigned long long)t->cycles,
	   (unsigned long long)(t->cycles - want));
	is(t->macs,
	   (mode == RDU_SYS_BF16 ? 2ull : 4ull) * k * blocks * chip.lanes * chip.systolic_cols,
	   "systolic: MACs");
	is(t->stages[0].bound,
	   2 * k >= (int)chip.systolic_cols ? RDU_BOUND_COMPUTE : RDU_BOUND_PORT,
	   "systolic: what bounds it");
	ok(adds_up(t), "systolic: counters add up");
	rdu_section_free(s);
}

/* 600 stages of 3 programs, 40 activations each: time it. */
static void large(void)
{
	struct cfgb *b = cfgb_new(&chip, 4);
	const struct rdu_section_time *t;
	struct rdu_section *s;
	unsigned int pmus = rdu_chip_pmus_per_tile(&chip), n = 300, i, k;
	uint64_t before, after;

	for (i = 0; i < n; i++) {
		unsigned int tile = i % 4, unit = i / 4 * 2 % pmus;
		unsigned int ag = unit / (chip.tile_cols / 2) * 2;
		uint32_t ld = cfgb_program(b, RDU_KIND_LOAD, tile, ag);
		uint32_t w = cfgb_program(b, RDU_KIND_WRITE, tile, unit);
		uint32_t r = cfgb_program(b, RDU_KIND_READ, tile, unit);
		uint32_t x = cfgb_program(b, RDU_KIND_SIMD, tile, unit);
		uint32_t y = cfgb_program(b, RDU_KIND_SIMD, tile, unit + 1);
		uint32_t st = cfgb_program(b, RDU_KIND_STORE, tile, ag + 1);
		uint32_t p[6] = { ld, w, r, x, y, st };

		cfgb_buffer(b, tile, unit, 2, 0, 16 * chip.lanes);
		for (k = 0; k < 6; k++) {
			cfgb_outer(b, p[k], 40);
			cfgb_loop(b, p[k], 16);
			if (p[k] == x || p[k] == y)
				cfgb_stage(b, p[k], RDU_SIMD_FADD, 0, cfgb_in(0), cfgb_immf(1),
					   cfgb_none());
			else
				cfgb_access(b, p[k],
					    &(struct rdu_cfg_access){ .target = p[k] == ld   ? 0
										: p[k] == st ? 1
											     : i,
								      .lanes = chip.lanes,
								      .lane_stride = 1,
								      .stride = { 0, chip.lanes } },
					    &no_pred);
		}
		cfgb_order(b, w, r, 0, 0, 2, 0);
		cfgb_connect(b, ld, 0, w, 0);
		cfgb_connect(b, r, 0, x, 0);
		cfgb_connect(b, x, 0, y, 0);
		cfgb_connect(b, y, 0, st, 0);
	}
	b->num_segments = 2;
	s = section(b);
	before = bed_now(NULL);
	t = rdu_section_time(s, NULL, NULL, NULL);
	after = bed_now(NULL);
	ok(t && t->num_stages == 2 * n, "%u programs, %u stages, %u activations", t->num_programs,
	   t->num_stages, t->num_stages * 40);
	printf("# timed in %.0f ms on the host (%llu cycles)\n", (double)(after - before) / 1e6,
	       (unsigned long long)t->cycles);
	ok(adds_up(t), "counters add up");
	ok(t->cycles >= (uint64_t)(t->dram_bytes / (chip.dram_mbps * 1e3 / chip.clock_khz)),
	   "memory is not faster than it is");
	rdu_section_free(s);
}

/* Layers that are alike are timed once: whatever differs for people only. */
static void alike(void)
{
	const struct rdu_section_time *t[3];
	struct rdu_section *s[3];

	for (int i = 0; i < 3; i++) {
		struct rdu_cfg_program *p;

		s[i] = stream(i == 2 ? 65 : 64, RDU_FMT_WORD, 1, 0);
		p = (void *)(s[i]->image + s[i]->hdr->programs.offset);
		p->op_id = (uint16_t)i;
		t[i] = rdu_section_time(s[i], NULL, NULL, NULL);
	}
	ok(t[0] == t[1], "the same image for another operator: the same result");
	ok(t[0] != t[2] && t[2]->cycles > t[0]->cycles, "a vector more: another result");
	rdu_section_free(s[0]);
	ok(t[1]->cycles && t[1]->programs[1].busy == 64, "it outlives whoever asked first");
	rdu_section_free(s[1]);
	rdu_section_free(s[2]);
}

/* What is long need not take long to time; what does is given up. */
static void long_ones(void)
{
	struct rdu_patience patience = { .steps = 1000 };
	const struct rdu_section_time *t;
	struct rdu_section *s = stream(INT32_MAX, RDU_FMT_WORD, 1, 0);
	double memory;

	t = rdu_section_time_within(s, NULL, NULL, NULL, NULL, &patience);
	ok(!t && patience.too_long, "more steps than allowed: no time, and it says so");
	patience = (struct rdu_patience){ .deadline_ns = 1 };
	t = rdu_section_time_within(s, NULL, NULL, NULL, NULL, &patience);
	ok(!t && !patience.too_long, "past the deadline: no time, but not for its length");
	t = rdu_section_time(s, NULL, NULL, NULL);
	memory = 2.0 * INT32_MAX * chip.lanes * 4 * chip.clock_khz / (chip.dram_mbps * 1e3);
	ok(t && (double)t->cycles >= memory && (double)t->cycles < 2 * memory,
	   "2^31 vectors: %llu cycles, memory needs %.0f", t ? (unsigned long long)t->cycles : 0,
	   memory);
	is(t ? t->programs[1].busy : 0, INT32_MAX, "each of them fired");
	rdu_section_free(s);

	s = stream(64, RDU_FMT_WORD, 1, 1 << 24);
	patience = (struct rdu_patience){ .steps = 1u << 21 };
	t = rdu_section_time_within(s, NULL, NULL, NULL, NULL, &patience);
	memory = 2.0 * (1 << 30) * chip.lanes * 4 * chip.clock_khz / (chip.dram_mbps * 1e3);
	ok(t && (double)t->cycles >= memory && (double)t->cycles < 4 * memory,
	   "2^24 activations, in few steps: %llu cycles, memory needs %.0f",
	   t ? (unsigned long long)t->cycles : 0, memory);
	rdu_section_free(s);

	s = stream(100000, RDU_FMT_WORD, 1, 0);
	patience = (struct rdu_patience){ .cycles = 1000 };
	t = rdu_section_time_within(s, NULL, NULL, NULL, NULL, &patience);
	ok(!t && patience.longer, "no use for more than 1000 cycles: it takes longer");
	patience = (struct rdu_patience){ .cycles = 1u << 30 };
	t = rdu_section_time_within(s, NULL, NULL, NULL, NULL, &patience);
	ok(t && !patience.longer, "one for so many: it does not");
	rdu_section_free(s);
}

int main(void)
{
	char error[200];

	rdu_chip_find("sn10", &chip, error, sizeof(error));
	streams();
	pipelines();
	systolic(64, 8, RDU_SYS_BF16);
	systolic(2, 8, RDU_SYS_BF16);
	systolic(64, 8, RDU_SYS_INT8);
	systolic(64, 8, RDU_SYS_TERNARY);
	large();
	alike();
	long_ones();
	rdu_chip_find("plasticine", &chip, error, sizeof(error));
	spans = sum_spans = last_end = 0;
	streams();
	pipelines();
	is(rdu_pload_cycles(&chip, 640, NULL), chip.pload_latency + 640 / chip.pload_bytes,
	   "program load: latency and bytes");
	is(rdu_aload_cycles(&chip, 5), chip.aload_cycles + 5 * chip.aload_per_segment,
	   "argument load: a part for each segment");
	return tap_done();
}
