// SPDX-License-Identifier: MIT
/*
 * The cycle-by-cycle simulator on small graphs: the card's bits, and what must hold of
 * its cycles whatever the assumptions are.
 */
#include "cycle.h"
#include "cycle_graphs.h"
#include "fabric_test.h"

#define WORDS (1 << 18) /* of a segment */

struct outcome {
	uint64_t cycles, bytes;
	bool ran;
};

/* Runs an image on both, from the same memory; frees the builder. weights: the number of the
 * segment that holds ternary ones, which are never 10; -1: none does. */
static struct outcome both_with(struct rig *r, struct cfgb *b, int weights, const char *what)
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

		for (int k = 0; k < WORDS; k++) {
			uint32_t v = rdu_u(rndf());

			if ((int)i == weights)
				v &= ~((v >> 1 & ~v & 0x55555555) << 1);
			a[k] = c[k] = v;
		}
		rig_segment(r, (int)i, a, WORDS * 4);
		seg[i] = (struct cycle_segment){ .data = (unsigned char *)c,
						 .size = WORDS * 4,
						 .address = (uint64_t)i << 20 };
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

static struct outcome both(struct rig *r, struct cfgb *b, const char *what)
{
	return both_with(r, b, -1, what);
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
			struct outcome p =
				both(&r, product(&r.chip, RDU_SYS_BF16, 64, 8), "product of bf16");

			ok(p.cycles >= 2 * 64 * 8, "two cycles a step");
			p = both(&r, product(&r.chip, RDU_SYS_INT8, 64, 8), "product of int8");
			ok(p.cycles >= 2 * 64 * 8, "two cycles a step of int8");
			p = both_with(&r, product(&r.chip, RDU_SYS_TERNARY, 64, 8), 1,
				      "product of int8 and ternary weights");
			ok(p.cycles >= 2 * 64 * 8, "two cycles a step of ternary weights");
		}
		rig_free(&r);
	}
	return tap_done();
}
