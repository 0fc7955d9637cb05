// SPDX-License-Identifier: MIT
/*
 * Programs that write what another one reads, and nothing between them: what the model copies or
 * transposes without making vectors of it (transfer.c) against plain C, with every table of kernels
 * and one and two threads. With them, what must not be taken for such: words written twice, loops
 * that end apart, pairs that do not begin at a word.
 */
#include "fabric_test.h"
#include "kernels.h"

#define WORDS 40000
#define LOOPS 3
#define A 2 /* activations */
#define RANDOM 100 /* variants */

static uint32_t from[WORDS], to[WORDS], want[WORDS];

enum way { LOAD_WRITE, READ_STORE, READ_WRITE };

struct side {
	int trip[LOOPS]; /* innermost last */
	int stride[LOOPS];
	int outer, lane, base; /* base: of the smallest address */
};

struct variant {
	const char *name;
	enum way way;
	enum rdu_format format, packed; /* of the segment; of what is written */
	enum rdu_pack pack;
	int narrow; /* lanes that are not written */
	struct side from, to;
};

static const struct variant variants[] = {
	{ "rows",
	  LOAD_WRITE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_NONE,
	  0,
	  { { 1, 8, 48 }, { 0, 32, 256 }, 32 * 400, 1, 3 },
	  { { 1, 1, 384 }, { 0, 0, 32 }, 384 * 32, 1, 5 } },
	{ "all in one piece",
	  READ_STORE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_NONE,
	  0,
	  { { 1, 1, 384 }, { 0, 0, 32 }, 384 * 32, 1, 0 },
	  { { 4, 6, 16 }, { 96 * 32, 16 * 32, 32 }, 384 * 32, 1, 0 } },
	{ "a transposition",
	  READ_WRITE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_NONE,
	  0,
	  { { 1, 1, 200 }, { 0, 0, 32 }, 200 * 32, 1, 0 },
	  { { 1, 1, 200 }, { 0, 0, 1 }, 203 * 32, 203, 0 } },
	{ "a transposition, and a loop around it",
	  READ_STORE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_NONE,
	  0,
	  { { 3, 1, 37 }, { 37 * 32, 0, 32 }, 111 * 32, 1, 0 },
	  { { 3, 37, 1 }, { 41 * 33, 1, 0 }, 3 * 41 * 33, 41, 9 } },
	{ "lanes apart become neighbours",
	  READ_WRITE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_NONE,
	  0,
	  { { 1, 1, 71 }, { 0, 0, 1 }, 75, 150, 1 },
	  { { 1, 1, 71 }, { 0, 0, 32 }, 71 * 32, 1, 0 } },
	{ "backwards",
	  READ_WRITE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_NONE,
	  0,
	  { { 1, 20, 8 }, { 0, -256, 32 }, 5120, 1, 0 },
	  { { 1, 1, 160 }, { 0, 0, -32 }, -5120, 1, 0 } },
	{ "bf16",
	  LOAD_WRITE,
	  RDU_FMT_BF16,
	  RDU_FMT_WORD,
	  RDU_PACK_LANE,
	  0,
	  { { 1, 1, 384 }, { 0, 0, 32 }, 384 * 32, 1, 0 },
	  { { 1, 1, 384 }, { 0, 0, 16 }, 384 * 16, 1, 1 } },
	{ "bf16, transposed",
	  LOAD_WRITE,
	  RDU_FMT_BF16,
	  RDU_FMT_WORD,
	  RDU_PACK_LANE,
	  0,
	  { { 1, 1, 64 * 7 }, { 0, 0, 32 }, 64 * 7 * 32, 1, 2 },
	  { { 1, 64, 7 }, { 0, 1, 16 * 67 }, 16 * 67 * 7, 67, 0 } },
	{ "bf16 that begin within a word",
	  LOAD_WRITE,
	  RDU_FMT_BF16,
	  RDU_FMT_WORD,
	  RDU_PACK_LANE,
	  0,
	  { { 1, 1, 100 }, { 0, 0, 32 }, 3200, 1, 1 },
	  { { 1, 1, 100 }, { 0, 0, 16 }, 1600, 1, 0 } },
	{ "bf16 on odd strides",
	  LOAD_WRITE,
	  RDU_FMT_BF16,
	  RDU_FMT_WORD,
	  RDU_PACK_LANE,
	  0,
	  { { 1, 1, 100 }, { 0, 0, 33 }, 3300, 1, 0 },
	  { { 1, 1, 100 }, { 0, 0, 16 }, 1600, 1, 0 } },
	{ "fp32 to bf16",
	  READ_WRITE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_LANE,
	  2,
	  { { 1, 5, 20 }, { 0, 700, 32 }, 3501, 1, 0 },
	  { { 1, 1, 100 }, { 0, 0, 15 }, 1500, 1, 0 } },
	{ "fp32 to bf16, transposed",
	  LOAD_WRITE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_LANE,
	  0,
	  { { 1, 1, 4 * 37 * 2 }, { 0, 0, 32 }, 4 * 37 * 64, 1, 0 },
	  { { 4, 37, 2 }, { 41 * 33, 1, 16 * 41 }, 4 * 41 * 33, 41, 3 } },
	{ "fp32 to bf16, of fp32 one apart",
	  READ_WRITE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_LANE,
	  0,
	  { { 1, 1, 50 }, { 0, 0, 31 }, 1550, 1, 0 },
	  { { 1, 1, 50 }, { 0, 0, 1 }, 50 * 16, 50, 0 } },
	{ "fp32 to lower bf16",
	  LOAD_WRITE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_LOW,
	  0,
	  { { 1, 3, 30 }, { 0, 1200, 32 }, 3600, 1, 1 },
	  { { 1, 1, 90 }, { 0, 0, 32 }, 90 * 32, 1, 0 } },
	{ "fp32 to lower bf16, transposed",
	  LOAD_WRITE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_LOW,
	  0,
	  { { 1, 3, 43 }, { 0, 43 * 32, 32 }, 129 * 32, 1, 0 },
	  { { 1, 3, 43 }, { 0, 47 * 32, 1 }, 3 * 47 * 32, 47, 0 } },
	{ "int8, fewer lanes written",
	  LOAD_WRITE,
	  RDU_FMT_I8,
	  RDU_FMT_I8,
	  RDU_PACK_LANE,
	  4,
	  { { 1, 5, 30 }, { 0, 1024, 32 }, 5120, 1, 4 },
	  { { 1, 1, 150 }, { 0, 0, 7 }, 1050, 1, 0 } },
	{ "uint8, transposed",
	  LOAD_WRITE,
	  RDU_FMT_U8,
	  RDU_FMT_U8,
	  RDU_PACK_LANE,
	  0,
	  { { 1, 16, 9 }, { 0, 288, 32 }, 16 * 288, 1, 0 },
	  { { 1, 16, 9 }, { 0, 1, 17 * 8 }, 17 * 8 * 9, 17, 0 } },
	{ "fewer lanes written",
	  LOAD_WRITE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_NONE,
	  7,
	  { { 1, 1, 90 }, { 0, 0, 32 }, 90 * 32, 1, 0 },
	  { { 1, 1, 90 }, { 0, 0, 25 }, 90 * 25, 1, 0 } },
	{ "words written twice",
	  READ_WRITE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_NONE,
	  0,
	  { { 1, 1, 90 }, { 0, 0, 32 }, 90 * 32, 1, 0 },
	  { { 1, 1, 90 }, { 0, 0, 5 }, 100, 1, 0 } },
	{ "one word each time",
	  READ_STORE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_NONE,
	  0,
	  { { 1, 1, 90 }, { 0, 0, 32 }, 90 * 32, 1, 0 },
	  { { 9, 1, 10 }, { 32, 0, 0 }, 320, 1, 0 } },
	{ "loops that end apart",
	  READ_STORE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_NONE,
	  0,
	  { { 1, 6, 4 }, { 0, 129, 32 }, 800, 1, 0 },
	  { { 1, 4, 6 }, { 0, 193, 32 }, 800, 1, 0 } },
	{ "bf16 that become fp32",
	  LOAD_WRITE,
	  RDU_FMT_BF16,
	  RDU_FMT_WORD,
	  RDU_PACK_NONE,
	  0,
	  { { 1, 1, 90 }, { 0, 0, 32 }, 90 * 32, 1, 0 },
	  { { 1, 1, 90 }, { 0, 0, 32 }, 90 * 32, 1, 0 } },
	{ "words apart on both sides",
	  READ_WRITE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_NONE,
	  0,
	  { { 1, 1, 90 }, { 0, 0, 64 }, 90 * 64, 2, 0 },
	  { { 1, 1, 90 }, { 0, 0, 96 }, 90 * 96, 3, 0 } },
	{ "lanes apart become neighbours, words apart",
	  READ_STORE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_NONE,
	  0,
	  { { 1, 1, 40 }, { 0, 0, 1 }, 40, 80, 0 },
	  { { 1, 1, 40 }, { 0, 0, 2 }, 80, 160, 0 } },
	{ "one word",
	  LOAD_WRITE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_NONE,
	  31,
	  { { 1, 1, 1 }, { 0, 0, 0 }, 32, 1, 0 },
	  { { 1, 1, 1 }, { 0, 0, 0 }, 32, 1, 0 } },
	{ "one vector",
	  LOAD_WRITE,
	  RDU_FMT_WORD,
	  RDU_FMT_WORD,
	  RDU_PACK_NONE,
	  0,
	  { { 1, 1, 1 }, { 0, 0, 0 }, 32, 1, 0 },
	  { { 1, 1, 1 }, { 0, 0, 0 }, 32, 1, 0 } },
};

/* So that the smallest address is `base`. */
static int64_t first_of(const struct side *s, int lanes)
{
	int64_t low = 0;

	for (int i = 0; i < LOOPS; i++)
		low += s->stride[i] < 0 ? s->stride[i] * (s->trip[i] - 1) : 0;
	low += s->lane < 0 ? s->lane * (lanes - 1) : 0;
	low += s->outer < 0 ? s->outer * (A - 1) : 0;
	return s->base - low;
}

/* Of vector n of activation a. */
static int64_t at(const struct side *s, int lanes, int a, int n, int lane)
{
	int64_t e = first_of(s, lanes) + (int64_t)a * s->outer + (int64_t)lane * s->lane;

	for (int i = LOOPS - 1; i >= 0; n /= s->trip[i], i--)
		e += (int64_t)(n % s->trip[i]) * s->stride[i];
	return e;
}

static int vectors_of(const struct side *s)
{
	return s->trip[0] * s->trip[1] * s->trip[2];
}

static uint32_t element(enum rdu_format format, int64_t e)
{
	uint16_t half;
	uint8_t byte;

	switch (format) {
	case RDU_FMT_BF16:
		memcpy(&half, (char *)from + e * 2, 2);
		return (uint32_t)half << 16;
	case RDU_FMT_I8:
	case RDU_FMT_U8:
		memcpy(&byte, (char *)from + e, 1);
		return format == RDU_FMT_I8 ? (uint32_t)(int8_t)byte : byte;
	default:
		return from[e];
	}
}

/* Elements that a word is made of. */
static int elements_of(const struct variant *v)
{
	return v->pack != RDU_PACK_LANE ? 1 : v->packed == RDU_FMT_WORD ? 2 : 4;
}

static void expect(const struct variant *v, int lanes)
{
	int written = lanes - v->narrow;
	int per = elements_of(v);

	for (int a = 0; a < A; a++)
		for (int n = 0; n < vectors_of(&v->from); n++)
			for (int w = 0; w < written / per; w++) {
				uint32_t word = 0;

				for (int i = 0; i < per; i++) {
					uint32_t x = element(
						v->format, at(&v->from, lanes, a, n, w * per + i));

					word |= per == 4	      ? (x & 0xff) << 8 * i
						: v->pack ? rdu_bf16(x) << 16 * i
							  : x;
				}
				want[at(&v->to, written / per, a, n, w)] = word;
			}
}

static uint32_t put_side(struct cfgb *b, const struct side *s, enum rdu_kind kind,
			 struct rdu_cfg_access a, int lanes)
{
	uint32_t p = cfgb_program(b, kind, 0, kind == RDU_KIND_READ);

	if (kind == RDU_KIND_READ || kind == RDU_KIND_WRITE)
		a.target = cfgb_buffer(b, 0, kind == RDU_KIND_READ, 1, 0, WORDS);
	a.base = first_of(s, lanes);
	a.lane_stride = s->lane;
	a.stride[0] = s->outer;
	cfgb_outer(b, p, A);
	for (int i = 0; i < LOOPS; i++) {
		a.stride[i + 1] = s->stride[i];
		cfgb_loop(b, p, s->trip[i]);
	}
	cfgb_access(b, p, &a, NULL);
	return p;
}

static void test(struct rig *r, const struct variant *v)
{
	struct cfgb *b = cfgb_new(&r->chip, 1);
	int lanes = (int)r->chip.lanes, written = lanes - v->narrow;
	int per = elements_of(v);
	struct rdu_cfg_access a = { .lanes = (uint8_t)lanes, .format = v->format };
	struct rdu_cfg_access w = { .lanes = (uint8_t)written,
				    .format = v->packed,
				    .pack = v->pack };
	uint32_t *out = to, p, q;

	rig_clear(r);
	for (int i = 0; i < WORDS; i++) {
		from[i] = (rnd_bits() & 0xffff0000) | rnd_bits() >> 16;
		to[i] = want[i] = 0x5a5a5a5a;
	}
	for (int k = 0; k < 2; k++)
		r->scratch[k] = aligned_alloc(64, r->chip.pmu_bytes);
	memcpy(r->scratch[1], from, sizeof(from));
	memcpy(r->scratch[0], to, sizeof(to));
	expect(v, lanes);
	p = put_side(b, &v->from, v->way == LOAD_WRITE ? RDU_KIND_LOAD : RDU_KIND_READ, a, lanes);
	q = put_side(b, &v->to, v->way == READ_STORE ? RDU_KIND_STORE : RDU_KIND_WRITE, w,
		     written / per);
	cfgb_connect(b, p, 0, q, 0);
	b->num_segments = v->way == READ_WRITE ? 0 : 1;
	if (v->way == LOAD_WRITE)
		rig_segment(r, 0, from, sizeof(from));
	else
		rig_segment(r, 0, to, sizeof(to));
	if (v->way != READ_STORE)
		out = r->scratch[0];
	ok(rig_build_run(r, b) == 0 && same_words("words", out, want, WORDS), "%s", v->name);
}

static int one_of(int n)
{
	return (int)(rnd() % (uint32_t)n);
}

/* Loops of four factors after one another, some of them as one. */
static void join_factors(struct side *s, const int *factor)
{
	int joined = one_of(LOOPS);

	for (int i = 0, k = 0; i < LOOPS; i++, k++) {
		s->trip[i] = factor[k];
		if (i == joined)
			s->trip[i] *= factor[++k];
	}
}

/* Loops, lanes and activations in any order of their strides; some backwards, some with words between, some over
 * the same words. */
static void random_strides(struct side *s, int lanes, bool lanes_first, bool apart)
{
	int *stride[] = { &s->lane, &s->stride[0], &s->stride[1], &s->stride[2], &s->outer };
	int trip[] = { lanes, s->trip[0], s->trip[1], s->trip[2], A };
	int step = 1;

	for (int i = lanes_first ? 1 : 0; i < 4; i++) {
		int k = i + one_of(5 - i), *p = stride[i], t = trip[i];

		stride[i] = stride[k];
		trip[i] = trip[k];
		stride[k] = p;
		trip[k] = t;
	}
	for (int i = 0; i < 5; i++) {
		*stride[i] = one_of(8) || (i == 0 && lanes_first) ? step : -step;
		if (!apart && !one_of(8))
			*stride[i] /= 2;
		step = step * trip[i] + (one_of(3) ? 0 : one_of(4));
	}
	s->base = one_of(3) ? 0 : one_of(5);
}

static struct variant random_variant(const struct rdu_chip *chip)
{
	struct variant v = { .name = "at random", .way = (enum way)one_of(3) };
	int lanes = (int)chip->lanes, per = 1, factor[LOOPS + 1];

	for (int i = 0; i <= LOOPS; i++)
		factor[i] = 1 + one_of(3);
	join_factors(&v.from, factor);
	join_factors(&v.to, factor);
	if (v.way != READ_STORE && !one_of(4)) {
		v.pack = RDU_PACK_LOW;
	} else if (v.way != READ_STORE && one_of(2)) {
		v.pack = RDU_PACK_LANE;
		per = 2;
		if (v.way == LOAD_WRITE && one_of(2)) {
			v.format = v.packed = one_of(2) ? RDU_FMT_I8 : RDU_FMT_U8;
			per = 4;
		} else if (v.way == LOAD_WRITE && one_of(2)) {
			v.format = RDU_FMT_BF16;
		}
	}
	v.narrow = one_of(2) ? 0 : one_of(lanes / per) * per;
	random_strides(&v.from, lanes, per > 1 && one_of(4), false);
	random_strides(&v.to, (lanes - v.narrow) / per, one_of(2), one_of(4));
	return v;
}

int main(void)
{
	const struct rdu_kernels *k;

	for (unsigned int n = 0; (k = rdu_kernels_nth(n)); n++)
		for (unsigned int threads = 1; threads <= 2; threads++) {
			struct rig r;

			setenv("RDU_KERNELS", k->name, 1);
			rig_init(&r, "sn10");
			r.pool = rdu_pool_new(threads);
			r.again = 2;
			printf("# %s kernels, %u threads\n", k->name, threads);
			for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
				test(&r, &variants[i]);
			for (int i = 0; i < RANDOM; i++) {
				struct variant v = random_variant(&r.chip);

				test(&r, &v);
			}
			rig_free(&r);
		}
	return tap_done();
}
