// SPDX-License-Identifier: MIT
/*
 * The cycle-by-cycle simulator on small graphs: the card's bits, and what must hold of
 * its cycles whatever the assumptions are.
 */
#include "cycle.h"
#include "fabric_test.h"

#define WORDS (1 << 18) /* of a segment */

struct outcome {
	uint64_t cycles, bytes;
	bool ran;
};

/* Runs an image on both, from the same memory; frees the builder. */
static struct outcome both(struct rig *r, struct cfgb *b, const char *what)
{
	struct cycle_segment seg[16];
	struct outcome out = { 0 };
	struct cycle_result got = { 0 };
	struct rig other = *r;
	char error[300] = "";
	bool same = true;
	size_t size;
	uint32_t n = b->num_segments;
	void *image = cfgb_finish(b, &size);
	struct rdu_section *s = rdu_section_new(image, size, &r->chip, 0, &r->diag);
	struct cycle_setup setup = {
		.section = s, .segments = seg, .scalars = r->scalars, .limit = 10000000
	};

	if (!s) {
		ok(false, "%s: %s", what, r->diag.text);
		free(image);
		return out;
	}
	other.scratch = calloc(r->num_scratch, sizeof(*other.scratch));
	rig_scratch(&other, image);
	setup.scratch = other.scratch;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t *a = malloc(WORDS * 4), *c = malloc(WORDS * 4);

		for (int k = 0; k < WORDS; k++)
			a[k] = c[k] = rdu_u(rndf());
		rig_segment(r, (int)i, a, WORDS * 4);
		seg[i] = (struct cycle_segment){ (unsigned char *)c, WORDS * 4, (uint64_t)i << 20 };
	}
	out.ran = !rig_run(r, image, size) && !cycle_run(&setup, &got, error, sizeof(error));
	if (*error)
		printf("# %s\n", error);
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t *a = r->seg[i].ptr, *c = (const uint32_t *)(const void *)seg[i].data;

		for (int k = 0; k < WORDS && same; k++)
			if (a[k] != c[k]) {
				printf("# segment %u word %d: the card has %08x, cycles %08x\n", i,
				       k, a[k], c[k]);
				same = false;
			}
		free(r->seg[i].ptr);
		free(seg[i].data);
	}
	out.cycles = got.cycles;
	out.bytes = got.dram_bytes;
	ok(out.ran && same, "%s: the card's bits, after %llu cycles and %llu bytes", what,
	   (unsigned long long)out.cycles, (unsigned long long)out.bytes);
	rig_clear(&other);
	free(other.scratch);
	rig_clear(r);
	rdu_section_free(s);
	free(image);
	return out;
}

static struct cfgb *stream(const struct rdu_chip *chip, int n, unsigned int format)
{
	struct cfgb *b = cfgb_new(chip, 1);
	uint32_t p[3], i;

	b->num_segments = 2;
	p[0] = cfgb_program(b, RDU_KIND_LOAD, 0, 0);
	p[1] = cfgb_program(b, RDU_KIND_SIMD, 0, 0);
	p[2] = cfgb_program(b, RDU_KIND_STORE, 0, 2);
	for (i = 0; i < 3; i++)
		cfgb_loop(b, p[i], n);
	for (i = 0; i < 3; i += 2)
		cfgb_access(b, p[i],
			    &(struct rdu_cfg_access){ .target = i / 2,
						      .format = (uint8_t)format,
						      .lanes = (uint8_t)chip->lanes,
						      .lane_stride = 1,
						      .stride = { chip->lanes } },
			    NULL);
	cfgb_stage(b, p[1], RDU_SIMD_FMAX, 0, cfgb_in(0), cfgb_immf(0), cfgb_none());
	cfgb_connect(b, p[0], 0, p[1], 0);
	cfgb_connect(b, p[1], 0, p[2], 0);
	return b;
}

/* LOAD -> buffer of `copies` -> STORE. */
static struct cfgb *buffered(const struct rdu_chip *chip, unsigned int copies, int acts, int n)
{
	struct cfgb *b = cfgb_new(chip, 1);
	uint32_t p[4] = { cfgb_program(b, RDU_KIND_LOAD, 0, 0),
			  cfgb_program(b, RDU_KIND_WRITE, 0, 0),
			  cfgb_program(b, RDU_KIND_READ, 0, 0),
			  cfgb_program(b, RDU_KIND_STORE, 0, 1) };

	b->num_segments = 2;
	cfgb_buffer(b, 0, 0, copies, 0, (uint32_t)n * chip->lanes);
	for (uint32_t i = 0; i < 4; i++) {
		bool agcu = !i || i == 3;

		cfgb_outer(b, p[i], acts);
		cfgb_loop(b, p[i], n);
		cfgb_access(b, p[i],
			    &(struct rdu_cfg_access){
				    .target = i == 3,
				    .lanes = (uint8_t)chip->lanes,
				    .lane_stride = 1,
				    .stride = { agcu ? n * (int)chip->lanes : 0, chip->lanes } },
			    NULL);
	}
	cfgb_order(b, p[1], p[2], 0, 0, copies, 0);
	cfgb_connect(b, p[0], 0, p[1], 0);
	cfgb_connect(b, p[2], 0, p[3], 0);
	return b;
}

/* A product of bf16: packed columns and rows, K steps, `blocks` results stored. */
static struct cfgb *product(const struct rdu_chip *chip, int k, int blocks)
{
	struct cfgb *b = cfgb_new(chip, 1);
	uint32_t cols = chip->systolic_cols, a = cfgb_program(b, RDU_KIND_SYSTOLIC, 0, 0), st;

	b->num_segments = 3;
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t ld = cfgb_program(b, RDU_KIND_LOAD, 0, 2 * i),
			 w = cfgb_program(b, RDU_KIND_WRITE, 0, i),
			 r = cfgb_program(b, RDU_KIND_READ, 0, i);

		cfgb_buffer(b, 0, i, 1, 0, (uint32_t)k * chip->lanes);
		cfgb_loop(b, ld, 2 * k);
		cfgb_access(b, ld,
			    &(struct rdu_cfg_access){ .target = i,
						      .lanes = (uint8_t)chip->lanes,
						      .lane_stride = 1,
						      .stride = { chip->lanes } },
			    NULL);
		cfgb_loop(b, w, k);
		cfgb_loop(b, w, 2);
		cfgb_access(b, w,
			    &(struct rdu_cfg_access){ .target = i,
						      .pack = RDU_PACK_VEC,
						      .lanes = (uint8_t)chip->lanes,
						      .lane_stride = 1,
						      .stride = { chip->lanes } },
			    NULL);
		cfgb_loop(b, r, blocks);
		cfgb_loop(b, r, k);
		cfgb_access(b, r,
			    &(struct rdu_cfg_access){ .target = i,
						      .lanes = (uint8_t)(i ? cols : chip->lanes),
						      .lane_stride = 1,
						      .stride = { 0, chip->lanes } },
			    NULL);
		cfgb_connect(b, ld, 0, w, 0);
		cfgb_order(b, w, r, 0, 0, 1, 0);
		cfgb_connect(b, r, 0, a, i);
	}
	cfgb_loop(b, a, blocks);
	cfgb_loop(b, a, k);
	cfgb_systolic(b, a,
		      &(struct rdu_cfg_systolic){
			      .mode = RDU_SYS_BF16, .cols = (uint8_t)cols, .k_mask = 2 });
	st = cfgb_program(b, RDU_KIND_STORE, 0, 4);
	cfgb_loop(b, st, blocks * (int)cols);
	cfgb_access(b, st,
		    &(struct rdu_cfg_access){ .target = 2,
					      .lanes = (uint8_t)chip->lanes,
					      .lane_stride = 1,
					      .stride = { chip->lanes } },
		    NULL);
	cfgb_connect(b, a, 0, st, 0);
	cfgb_out_port(b, a, 0, 2, 0, (uint8_t)cols);
	return b;
}

static double bound(const struct rdu_chip *chip, uint64_t bytes)
{
	return (double)bytes * chip->clock_khz / (chip->dram_mbps * 1e3);
}

static void streams(struct rig *r)
{
	struct rdu_chip chip = r->chip;
	struct outcome one, two, fast, far;

	one = both(r, stream(&chip, 1000, RDU_FMT_WORD), "stream");
	ok(one.bytes == 2000ull * chip.lanes * 4, "stream: each burst moves once");
	ok((double)one.cycles >= bound(&chip, one.bytes), "stream: not faster than the memory");
	two = both(r, stream(&chip, 2000, RDU_FMT_WORD), "twice as long a stream");
	ok(two.cycles > one.cycles && two.cycles < 2 * one.cycles + 100, "it takes longer");
	both(r, stream(&chip, 1000, RDU_FMT_BF16), "stream of bf16");
	r->chip.dram_tck /= 2;
	r->chip.dram_mbps *= 2;
	chip = r->chip;
	fast = both(r, stream(&chip, 1000, RDU_FMT_WORD), "stream from a faster memory");
	ok(fast.cycles < one.cycles, "it is faster");
	r->chip.dram_tck *= 2;
	r->chip.dram_mbps /= 2;
	r->chip.dram_latency += 1000;
	chip = r->chip;
	far = both(r, stream(&chip, 1000, RDU_FMT_WORD), "stream from a memory that is far");
	ok(far.cycles > 2 * one.cycles, "it is slower: requests in flight are bounded");
	r->chip.dram_latency -= 1000;
}

/* Words far apart, the next vector's beside them: bursts that coalesce if enough are held. */
static struct cfgb *columns(const struct rdu_chip *chip)
{
	struct cfgb *b = stream(chip, 64, RDU_FMT_WORD);
	struct rdu_cfg_access *a = (struct rdu_cfg_access *)(void *)cfgb_body(b, 0)->bytes;

	a->lane_stride = 1024;
	a->stride[0] = 1;
	return b;
}

/* Every number of memory, AGCU and FIFO that the chip names makes itself felt: made much
 * worse it costs cycles, in a stream that is at the memory's limit. */
static void fields(struct rig *r)
{
	static const struct {
		const char *name;
		size_t at;
		uint32_t value;
	} worse[] = {
#define WORSE(f, v) { #f, offsetof(struct rdu_chip, f), v }
		WORSE(agcu_requests, 4),     WORSE(agcu_vectors, 4),	  WORSE(dram_queue, 1),
		WORSE(dram_row, 64),	     WORSE(dram_cwl, 400),	  WORSE(dram_trcd, 400000),
		WORSE(dram_trp, 2000000),    WORSE(dram_tras, 2000000),	  WORSE(dram_trc, 2000000),
		WORSE(dram_trrd_s, 2000000), WORSE(dram_trrd_l, 2000000), WORSE(dram_tfaw, 8000000),
		WORSE(dram_twtr_s, 2000000), WORSE(dram_twtr_l, 2000000), WORSE(dram_trtp, 2000000),
		WORSE(dram_trtw, 1000),	     WORSE(dram_twr, 2000000),	  WORSE(dram_trfc, 4000000),
		WORSE(dram_trefi, 500000),   WORSE(dram_tccd_l, 40),	  WORSE(dram_drain_high, 1),
		WORSE(dram_latency, 900),
#undef WORSE
	};
	const struct rdu_chip chip = r->chip;
	struct outcome base = both(r, stream(&chip, 1000, RDU_FMT_WORD), "stream"), got;
	struct outcome held = both(r, columns(&chip), "columns");

	for (size_t i = 0; i < sizeof(worse) / sizeof(worse[0]); i++) {
		uint32_t *field = (uint32_t *)(void *)((char *)&r->chip + worse[i].at),
			 was = *field;

		*field = worse[i].value;
		if (field == &r->chip.dram_drain_high)
			r->chip.dram_drain_low = 0;
		got = both(r, stream(&r->chip, 1000, RDU_FMT_WORD), worse[i].name);
		ok(got.cycles > base.cycles + base.cycles / 50,
		   "%s %u, not %u: %llu cycles, not %llu", worse[i].name, worse[i].value, was,
		   (unsigned long long)got.cycles, (unsigned long long)base.cycles);
		r->chip = chip;
	}
	r->chip.agcu_lines = 2;
	got = both(r, columns(&r->chip), "columns, few bursts held");
	ok(got.bytes > 2 * held.bytes, "agcu_lines 2: %llu bytes, not %llu",
	   (unsigned long long)got.bytes, (unsigned long long)held.bytes);
	r->chip = chip;
}

static void buffers(struct rig *r)
{
	struct outcome one = both(r, buffered(&r->chip, 1, 40, 16), "one copy"),
		       two = both(r, buffered(&r->chip, 2, 40, 16), "two copies"),
		       eight = both(r, buffered(&r->chip, 8, 40, 16), "eight copies");
	bool limited = (double)one.cycles < 1.2 * bound(&r->chip, one.bytes);

	/* They cannot where memory is at its limit; and loads and stores then meet in other
	 * banks, which may cost a little. */
	ok(two.cycles * 20 < one.cycles * (limited ? 21 : 20) &&
		   eight.cycles * 20 < two.cycles * 21,
	   "copies let the stages overlap: %llu, %llu, %llu cycles", (unsigned long long)one.cycles,
	   (unsigned long long)two.cycles, (unsigned long long)eight.cycles);
	ok(one.cycles >= 2 * 40 * 16, "with one copy they take turns");
}

int main(void)
{
	static const char *const chips[] = { "sn10", "plasticine" };

	for (int i = 0; i < 2; i++) {
		struct rig r;

		rig_init(&r, chips[i]);
		printf("# %s\n", chips[i]);
		streams(&r);
		fields(&r);
		buffers(&r);
		if (r.chip.systolic_cols) {
			struct outcome p = both(&r, product(&r.chip, 64, 8), "product of bf16");

			ok(p.cycles >= 2 * 64 * 8, "two cycles a step");
		}
		rig_free(&r);
	}
	return tap_done();
}
