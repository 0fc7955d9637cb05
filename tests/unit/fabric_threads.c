// SPDX-License-Identifier: MIT
/*
 * Random sections of stages that store over each other's results and stop at traps: the memory
 * that is left and the fault are those of the fixed order of activations, for any threads.
 */
#include "fabric_test.h"

#define STAGES 4
#define ACTIVATIONS 7
#define MOST_VECS 300
#define SHIFT 40 /* vectors between what two activations store */
#define MARK 0x80000000u /* in a lane: a trap */
#define REPEATS 4

struct plan {
	int lanes, edges, vecs[STAGES];
	size_t area; /* words that a stage loads in an activation */
	struct {
		int src, dst, initial;
		bool whole; /* one token, from the last activation to the first */
	} edge[3 * STAGES * STAGES];
	uint32_t trapping[STAGES][2]; /* programs */
	bool apart; /* the stages' stores */
};

static uint32_t *in, *out, *want;
static size_t out_words;

/* Where an activation stores: stages of odd numbers go backwards. */
static size_t place(const struct plan *p, int s, int island, int a)
{
	size_t at = (size_t)(s % 2 ? ACTIVATIONS - 1 - a : a) * SHIFT * (size_t)p->lanes;

	return at + (size_t)(2 * s + island) * (p->apart ? p->area : (size_t)p->lanes);
}

/* Each stage loads its part, adds a number to it in two islands, and stores both results. */
static struct cfgb *build(struct plan *p, const struct rdu_chip *chip)
{
	struct cfgb *b = cfgb_new(chip, 1);
	int L = p->lanes;
	uint32_t load[STAGES];

	for (int s = 0; s < STAGES; s++) {
		uint32_t q[5] = { cfgb_program(b, RDU_KIND_LOAD, 0, 3 * s) };
		struct rdu_cfg_access a = { .lanes = L, .lane_stride = 1 };

		load[s] = q[0];
		for (int i = 0; i < 2; i++) {
			q[1 + 2 * i] = cfgb_program(b, RDU_KIND_SIMD, 0, 2 * s + i);
			q[2 + 2 * i] = cfgb_program(b, RDU_KIND_STORE, 0, 3 * s + 1 + i);
			p->trapping[s][i] = q[1 + 2 * i];
		}
		for (int i = 0; i < 5; i++) {
			cfgb_outer(b, q[i], ACTIVATIONS);
			cfgb_loop(b, q[i], p->vecs[s]);
		}
		a.base = (int)p->area * ACTIVATIONS * s;
		a.stride[0] = (int)p->area;
		a.stride[1] = L;
		cfgb_access(b, q[0], &a, NULL);
		a.stride[0] = s % 2 ? -SHIFT * L : SHIFT * L;
		a.target = 1;
		for (int i = 0; i < 2; i++) {
			uint32_t simd = q[1 + 2 * i];

			cfgb_stage(b, simd, RDU_SIMD_AND, 1, cfgb_in(0), cfgb_imm(MARK),
				   cfgb_none());
			cfgb_stage(b, simd, RDU_SIMD_TRAP, 0, cfgb_in(0), cfgb_reg(1), cfgb_none());
			cfgb_stage(b, simd, RDU_SIMD_IADD, 0, cfgb_in(0), cfgb_imm(100 * i + s),
				   cfgb_none());
			cfgb_connect(b, q[0], 0, simd, 0);
			cfgb_connect(b, simd, 0, q[2 + 2 * i], 0);
			a.base = (int)place(p, s, i, 0);
			cfgb_access(b, q[2 + 2 * i], &a, NULL);
		}
	}
	b->num_segments = 2;
	for (int i = 0; i < p->edges; i++)
		cfgb_token(b, load[p->edge[i].src], load[p->edge[i].dst], p->edge[i].whole,
			   p->edge[i].whole, (uint32_t)p->edge[i].initial);
	return b;
}

static void add_edge(struct plan *p, int src, int dst, int initial, bool whole)
{
	p->edge[p->edges].whole = whole;
	p->edge[p->edges].src = src;
	p->edge[p->edges].dst = dst;
	p->edge[p->edges++].initial = initial;
}

/* An activation in plain C: true and where, if it stops at a trap. */
static bool activation(const struct plan *p, int s, int a, uint64_t *lane)
{
	const uint32_t *data = in + p->area * (size_t)(ACTIVATIONS * s + a);
	size_t n = (size_t)p->vecs[s] * (size_t)p->lanes;

	for (size_t k = 0; k < n; k++) {
		if (data[k] & MARK) {
			*lane = (uint64_t)a * n + k;
			return true;
		}
	}
	for (size_t i = 0; i < 2; i++) {
		size_t to = place(p, s, (int)i, a);

		for (size_t k = 0; k < n; k++)
			want[to + k] = data[k] + (uint32_t)(100 * i) + (uint32_t)s;
	}
	return false;
}

static bool takes(const struct plan *p, int edge, int stage, int a)
{
	return p->edge[edge].dst == stage && (!p->edge[edge].whole || !a);
}

static bool gives(const struct plan *p, int edge, int stage, int a)
{
	return p->edge[edge].src == stage && (!p->edge[edge].whole || a == ACTIVATIONS - 1);
}

/* The fixed order: rounds, in each of which every stage that is ready runs once. -1: to its
 * end; else the stage that stopped. */
static int fixed_order(const struct plan *p, uint64_t *lane)
{
	int count[sizeof(p->edge) / sizeof(p->edge[0])], done[STAGES] = { 0 };

	for (int i = 0; i < p->edges; i++)
		count[i] = p->edge[i].initial;
	for (;;) {
		bool ready[STAGES], any = false;

		for (int s = 0; s < STAGES; s++) {
			ready[s] = done[s] < ACTIVATIONS;
			for (int i = 0; i < p->edges; i++)
				ready[s] = ready[s] && (!takes(p, i, s, done[s]) || count[i] > 0);
			any |= ready[s];
		}
		if (!any)
			return -1;
		for (int s = 0; s < STAGES; s++)
			if (ready[s] && activation(p, s, done[s], lane))
				return s;
		for (int s = 0; s < STAGES; s++) {
			for (int i = 0; i < p->edges && ready[s]; i++)
				count[i] += gives(p, i, s, done[s]) - takes(p, i, s, done[s]);
			done[s] += ready[s];
		}
	}
}

static void test_case(struct rig *r, struct rdu_pool *const *pools, int num_pools, int number)
{
	struct plan p = { .lanes = r->chip.lanes,
			  .area = (size_t)(MOST_VECS + ACTIVATIONS * SHIFT) * r->chip.lanes,
			  .apart = number % 3 == 2 };
	int traps = number % 2 ? 1 + (int)(rnd() % 3) : 0, stopped;
	bool good = true, whole = number % 4 < 2;
	uint64_t lane = 0;
	void *image;
	size_t size;

	for (int s = 0; s < STAGES; s++) {
		p.vecs[s] = 1 + (int)(rnd() % (rnd() % 2 ? 10 : MOST_VECS));
		for (int d = s + 1; d < STAGES; d++) {
			if (whole ? !(rnd() % 8) : rnd() % 3)
				continue;
			if (whole) { /* no edge back: they would wait for each other */
				add_edge(&p, s, d, 0, rnd() % 2);
				continue;
			}
			add_edge(&p, s, d, (int)(rnd() % 2), false);
			if (rnd() % 2)
				add_edge(&p, d, s, 1 + (int)(rnd() % 3), false);
		}
	}
	for (size_t k = 0; k < p.area * STAGES * ACTIVATIONS; k++)
		in[k] = rnd() & ~MARK;
	while (traps--) {
		size_t s = rnd() % STAGES, a = rnd() % ACTIVATIONS;

		in[p.area * (ACTIVATIONS * s + a) +
		   rnd() % ((size_t)p.vecs[s] * (size_t)p.lanes)] |= MARK;
	}
	memset(want, 0, out_words * 4);
	stopped = fixed_order(&p, &lane);
	image = cfgb_finish(build(&p, &r->chip), &size);
	rig_segment(r, 0, in, p.area * STAGES * ACTIVATIONS * 4);
	rig_segment(r, 1, out, out_words * 4);
	for (int i = 0; i < num_pools * REPEATS; i++) {
		int ret;

		r->pool = pools[i % num_pools];
		memset(out, 0, out_words * 4);
		ret = rig_run(r, image, size);
		if (ret == 1)
			printf("# refused: %s\n", r->diag.text);
		if (stopped < 0)
			good &= !ret && !memcmp(out, want, out_words * 4);
		else
			good &= ret == 2 && r->fault.code == RDU_FAULT_VALUE &&
				r->fault.program == p.trapping[stopped][0] && r->fault.addr == lane;
	}
	r->pool = NULL;
	free(image);
	ok(good, "%s, section %d: %s, %s", r->chip.name, number,
	   p.apart ? "stores apart" : "stores over each other",
	   stopped < 0 ? "to its end" : "stops at a trap");
}

int main(void)
{
	static const char *const chips[] = { "sn10", "plasticine" };
	struct rdu_pool *pools[] = { NULL, rdu_pool_new(1), rdu_pool_new(2), rdu_pool_new(4) };
	int num_pools = sizeof(pools) / sizeof(pools[0]);

	for (int c = 0; c < 2; c++) {
		struct rig r;
		size_t area;

		rig_init(&r, chips[c]);
		area = (size_t)(MOST_VECS + ACTIVATIONS * SHIFT) * r.chip.lanes;
		out_words = 2 * STAGES * area;
		in = calloc(STAGES * ACTIVATIONS * area, 4);
		out = calloc(out_words, 4);
		want = calloc(out_words, 4);
		for (int i = 0; i < 40; i++)
			test_case(&r, pools, num_pools, i);
		free(in);
		free(out);
		free(want);
		rig_free(&r);
	}
	for (int i = 0; i < num_pools; i++)
		rdu_pool_free(pools[i]);
	return tap_done();
}
