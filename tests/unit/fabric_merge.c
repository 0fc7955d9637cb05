// SPDX-License-Identifier: MIT
/*
 * A tensor in several scratchpads, brought together by SIMD stages that XOR what READ programs
 * with predicates give: what the model makes by itself (source.c) against plain C, with every
 * table of kernels and one and two threads. Parts overlap, pads are not zero, and where the stages
 * are anything but XORs of all ports the result is that of those stages.
 */
#include "fabric_test.h"
#include "kernels.h"

#define PARTS 4
#define A 3 /* activations */
#define I 7
#define J 5
#define CONSTANT 0x01020304

static uint32_t out0[A * I * J * 64], want[A * I * J * 64];

struct variant {
	const char *name;
	int narrow; /* lanes that are not read */
	int lane_stride;
	int step; /* of the inner loop; of the next: J * step + 3 */
	enum rdu_simd_op op; /* of the first stage */
	bool nested, own_loops;
};

static const struct variant variants[] = {
	{ "one merge", 0, 1, 64, RDU_SIMD_XOR, false, false },
	{ "merge of a merge", 0, 1, 64, RDU_SIMD_XOR, true, false },
	{ "vectors that overlap", 0, 1, 5, RDU_SIMD_XOR, true, false },
	{ "narrow vectors", 3, 1, 40, RDU_SIMD_XOR, true, false },
	{ "lanes apart", 1, 3, 7, RDU_SIMD_XOR, true, false },
	{ "lanes backwards", 0, -2, -31, RDU_SIMD_XOR, false, false },
	{ "lanes on one element", 0, 0, 9, RDU_SIMD_XOR, true, false },
	{ "loops of its own in each", 0, 1, 64, RDU_SIMD_XOR, true, true },
	{ "an OR among the stages", 0, 1, 64, RDU_SIMD_OR, true, false },
	{ "an AND among the stages", 2, 1, 21, RDU_SIMD_AND, false, false },
};

/* Elements that the accesses go over. */
static int64_t first_of(const struct variant *v, int lanes)
{
	int64_t lane = v->lane_stride < 0 ? v->lane_stride * (lanes - 1) : 0;
	int64_t steps = v->step < 0 ? v->step * (J - 1) + (J * v->step + 3) * (I - 1) : 0;

	return -(lane + steps);
}

static int64_t at(const struct variant *v, int lanes, int a, int i, int j, int l)
{
	return first_of(v, lanes) + 11 * a + (J * v->step + 3) * i + v->step * j +
	       v->lane_stride * l;
}

/* Parts hold elements [k * part - 9, (k + 1) * part + 9). */
static void part_bounds(const struct variant *v, int lanes, int k, int64_t *lo, int64_t *hi)
{
	int64_t most = 0, part;

	for (int corner = 0; corner < 8; corner++) {
		int64_t e = at(v, lanes, A - 1, corner & 1 ? I - 1 : 0, corner & 2 ? J - 1 : 0,
			       corner & 4 ? lanes - 1 : 0);

		most = e > most ? e : most;
	}
	part = most / PARTS + 1;
	*lo = k * part - 9;
	*hi = (k + 1) * part + 9;
}

static uint32_t pad_of(int k)
{
	return 0x10101010u * (uint32_t)(k + 1) + 7;
}

static uint32_t fold(enum rdu_simd_op op, uint32_t a, uint32_t b)
{
	return rdu_simd_scalar(op, a, b, 0);
}

static void expect(struct rig *r, const struct variant *v)
{
	int L = (int)r->chip.lanes, lanes = L - v->narrow;
	uint32_t x[PARTS], *o = want;

	for (int n = 0; n < A * I * J; n++)
		for (int l = 0; l < L; l++) {
			int64_t e = at(v, lanes, n / (I * J), n / J % I, n % J, l), lo, hi;

			for (int k = 0; k < PARTS; k++) {
				part_bounds(v, lanes, k, &lo, &hi);
				x[k] = l < lanes && e >= lo && e < hi ? r->scratch[k][e - lo]
								      : pad_of(k);
			}
			*o++ = fold(v->op, x[0], x[1]) ^ x[2] ^ x[3] ^ CONSTANT;
		}
}

static uint32_t put_part(struct cfgb *b, const struct variant *v, int lanes, int k)
{
	uint32_t p = cfgb_program(b, RDU_KIND_READ, 0, (uint32_t)k);
	struct rdu_cfg_access a = { .lanes = (uint8_t)lanes,
				    .lane_stride = v->lane_stride,
				    .num_preds = 1,
				    .pad = pad_of(k) };
	struct rdu_cfg_pred q = { .lane_stride = v->lane_stride };
	int64_t lo, hi;

	part_bounds(v, lanes, k, &lo, &hi);
	a.target = cfgb_buffer(b, 0, (uint32_t)k, 1, 0, (uint32_t)(hi - lo));
	a.base = first_of(v, lanes) - lo;
	a.stride[0] = 11;
	a.stride[1] = J * v->step + 3;
	a.stride[2] = v->step;
	q.base = (int32_t)first_of(v, lanes);
	q.lo = (int32_t)lo;
	q.hi = (int32_t)hi;
	for (int i = 0; i < 3; i++)
		q.stride[i] = (int32_t)a.stride[i];
	cfgb_outer(b, p, A);
	if (v->own_loops && k == 1) { /* the same vectors by a loop more */
		cfgb_loop(b, p, I);
		cfgb_loop(b, p, 1);
		a.stride[3] = a.stride[2];
		q.stride[3] = q.stride[2];
		a.stride[2] = 0;
		q.stride[2] = 0;
	} else {
		cfgb_loop(b, p, I);
	}
	cfgb_loop(b, p, J);
	cfgb_access(b, p, &a, &q);
	return p;
}

static uint32_t put_simd(struct cfgb *b, uint32_t unit)
{
	uint32_t p = cfgb_program(b, RDU_KIND_SIMD, 0, unit);

	cfgb_outer(b, p, A);
	cfgb_loop(b, p, I * J);
	return p;
}

static void test(struct rig *r, const struct variant *v)
{
	struct cfgb *b = cfgb_new(&r->chip, 1);
	int L = (int)r->chip.lanes, ports = v->nested ? 2 : PARTS;
	uint32_t part[PARTS], st, inner, outer;

	rig_clear(r);
	for (int k = 0; k < PARTS; k++) {
		part[k] = put_part(b, v, L - v->narrow, k);
		r->scratch[k] = aligned_alloc(64, r->chip.pmu_bytes);
		for (uint32_t i = 0; i < r->chip.pmu_bytes / 4; i++)
			r->scratch[k][i] = rnd();
	}
	inner = put_simd(b, 0);
	outer = v->nested ? put_simd(b, 1) : inner;
	for (int k = 0; k < ports; k++)
		cfgb_connect(b, part[k], 0, inner, (uint32_t)k);
	cfgb_stage(b, inner, v->op, 0, cfgb_in(0), cfgb_in(1), cfgb_none());
	if (v->nested) {
		cfgb_connect(b, inner, 0, outer, 0);
		cfgb_connect(b, part[2], 0, outer, 1);
		cfgb_connect(b, part[3], 0, outer, 2);
		cfgb_stage(b, outer, RDU_SIMD_XOR, 1, cfgb_in(1), cfgb_in(0), cfgb_none());
		cfgb_stage(b, outer, RDU_SIMD_XOR, 0, cfgb_reg(1), cfgb_in(2), cfgb_none());
	} else {
		cfgb_stage(b, inner, RDU_SIMD_XOR, 1, cfgb_in(2), cfgb_in(3), cfgb_none());
		cfgb_stage(b, inner, RDU_SIMD_XOR, 0, cfgb_reg(0), cfgb_reg(1), cfgb_none());
	}
	cfgb_stage(b, outer, RDU_SIMD_XOR, 0, cfgb_reg(0), cfgb_imm(CONSTANT), cfgb_none());
	st = cfgb_program(b, RDU_KIND_STORE, 0, 0);
	cfgb_outer(b, st, A);
	cfgb_loop(b, st, I * J);
	cfgb_access(b, st,
		    &(struct rdu_cfg_access){
			    .lanes = (uint8_t)L, .lane_stride = 1, .stride = { I * J * L, L } },
		    NULL);
	b->num_segments = 1;
	cfgb_connect(b, outer, 0, st, 0);
	memset(out0, 0, sizeof(out0));
	rig_segment(r, 0, out0, (size_t)A * I * J * L * 4);
	expect(r, v);
	ok(rig_build_run(r, b) == 0 && same_words("out0", out0, want, (size_t)A * I * J * L), "%s",
	   v->name);
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
			rig_free(&r);
		}
	return tap_done();
}
