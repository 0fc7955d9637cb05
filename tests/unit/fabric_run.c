// SPDX-License-Identifier: MIT
/* Small configurations, each run and compared with plain C loops. */
#include <math.h>
#include "fabric_test.h"

#define VECS 100 /* vectors */

static uint32_t in0[65536], in1[65536], out0[65536], out1[65536], want[65536];

static void fill(uint32_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = rdu_u(rndf());
}

static uint32_t bf(float f)
{
	return rdu_bf16(rdu_u(f));
}

/* out = relu(a * b + 0.5), and a copy of a through the multicast. */
static void test_chain(struct rig *r)
{
	struct cfgb *b = cfgb_new(&r->chip, 1);
	uint32_t la = put_load(b, 0, 0, VECS), lb = put_load(b, 1, 1, VECS);
	uint32_t pcu = cfgb_program(b, RDU_KIND_SIMD, 0, 0);
	uint32_t st = put_store(b, 2, 2, VECS), st1 = put_store(b, 3, 3, VECS);
	size_t n = (size_t)VECS * r->chip.lanes;

	fill(in0, n);
	fill(in1, n);
	cfgb_loop(b, pcu, VECS);
	cfgb_stage(b, pcu, RDU_SIMD_FMA, 0, cfgb_in(0), cfgb_in(1), cfgb_immf(0.5f));
	cfgb_stage(b, pcu, RDU_SIMD_FMAX, 0, cfgb_reg(0), cfgb_immf(0), cfgb_none());
	cfgb_connect(b, la, 0, pcu, 0);
	cfgb_connect(b, la, 0, st1, 0);
	cfgb_connect(b, lb, 0, pcu, 1);
	cfgb_connect(b, pcu, 0, st, 0);
	rig_segment(r, 0, in0, n * 4);
	rig_segment(r, 1, in1, n * 4);
	rig_segment(r, 2, out0, n * 4);
	rig_segment(r, 3, out1, n * 4);
	for (size_t i = 0; i < n; i++)
		want[i] = rdu_fmax(rdu_u(rdu_fma(rdu_f(in0[i]), rdu_f(in1[i]), 0.5f)), 0);
	ok(rig_build_run(r, b) == 0 && same_words("out0", out0, want, n), "element-wise chain");
	ok(same_words("out1", out1, in0, n), "multicast");
}

/* Sums of rows (cross-lane), maxima of columns, by accumulators. */
static void test_reduce(struct rig *r)
{
	struct cfgb *b = cfgb_new(&r->chip, 1);
	int L = r->chip.lanes, R = 10, C = 7;
	uint32_t ld = put_load(b, 0, 0, R * C), pcu = cfgb_program(b, RDU_KIND_SIMD, 0, 0);
	uint32_t st = put_store(b, 2, 1, R), st1 = put_store(b, 3, 2, R);

	fill(in0, (size_t)R * C * L);
	cfgb_loop(b, pcu, R);
	cfgb_loop(b, pcu, C);
	cfgb_stage_acc(b, pcu, RDU_SIMD_FADD, 0, cfgb_in(0), cfgb_acc(), cfgb_none(), 2, 0);
	cfgb_stage_acc(b, pcu, RDU_SIMD_FMAX, 1, cfgb_in(0), cfgb_acc(), cfgb_none(), 2,
		       0xff800000);
	cfgb_stage(b, pcu, RDU_SIMD_RED_FADD, 0, cfgb_reg(0), cfgb_none(), cfgb_none());
	cfgb_tail(b, pcu, RDU_SIMD_EXP, 1, cfgb_reg(1), cfgb_none(), cfgb_none());
	cfgb_out_port(b, pcu, 0, 2, 0, 1);
	cfgb_out_port(b, pcu, 1, 2, 1, 1);
	cfgb_connect(b, ld, 0, pcu, 0);
	cfgb_connect(b, pcu, 0, st, 0);
	cfgb_connect(b, pcu, 1, st1, 0);
	rig_segment(r, 0, in0, sizeof(in0));
	rig_segment(r, 1, out0, sizeof(out0));
	rig_segment(r, 2, out1, sizeof(out1));
	bool good = rig_build_run(r, b) == 0;

	for (int i = 0; i < R; i++) {
		float v[64] = { 0 };
		float m[64];

		for (int l = 0; l < L; l++) {
			m[l] = rdu_f(0xff800000);
			for (int c = 0; c < C; c++) {
				float x = rdu_f(in0[(i * C + c) * L + l]);

				v[l] = x + v[l];
				m[l] = x > m[l] ? x : m[l];
			}
			good = SAME(out1, i * L + l, rdu_canon(rdu_exp(m[l]))) && good;
		}
		for (int s = L / 2; s; s /= 2)
			for (int l = 0; l < s; l++)
				v[l] += v[l + s];
		for (int l = 0; l < L; l++)
			good = SAME(out0, i * L + l, rdu_u(v[0])) && good;
	}
	ok(good, "accumulators, cross-lane sum, tail after the reduction");
}

/* A held port: one vector of in1 for every C of in0; lane 3 of it broadcast. */
static void test_held(struct rig *r)
{
	struct cfgb *b = cfgb_new(&r->chip, 1);
	int L = r->chip.lanes, R = 9, C = 11;
	uint32_t ld = put_load(b, 0, 0, R * C), lh = put_load(b, 1, 1, R);
	uint32_t pcu = cfgb_program(b, RDU_KIND_SIMD, 0, 0), st = put_store(b, 2, 2, R * C);
	bool good;

	fill(in0, (size_t)R * C * L);
	fill(in1, (size_t)R * L);
	cfgb_loop(b, pcu, R);
	cfgb_loop(b, pcu, C);
	cfgb_stage(b, pcu, RDU_SIMD_FMA, 0, cfgb_in(0), cfgb_in_lane(1, 1), cfgb_in(1));
	cfgb_stage(b, pcu, RDU_SIMD_IADD, 1, cfgb_opd(RDU_OPD_COUNTER, 1),
		   cfgb_opd(RDU_OPD_LANE, 0), cfgb_none());
	cfgb_stage(b, pcu, RDU_SIMD_XOR, 0, cfgb_reg(0), cfgb_reg(1), cfgb_none());
	cfgb_in_port(b, pcu, 1, 2, 1);
	cfgb_connect(b, ld, 0, pcu, 0);
	cfgb_connect(b, lh, 0, pcu, 1);
	cfgb_connect(b, pcu, 0, st, 0);
	rig_segment(r, 0, in0, sizeof(in0));
	rig_segment(r, 1, in1, sizeof(in1));
	rig_segment(r, 2, out0, sizeof(out0));
	good = rig_build_run(r, b) == 0;
	for (int i = 0; i < R; i++)
		for (int c = 0; c < C; c++)
			for (int l = 0; l < L; l++) {
				float x = rdu_f(in0[(i * C + c) * L + l]);
				float f = rdu_fma(x, rdu_f(in1[i * L + 1]), rdu_f(in1[i * L + l]));

				good = SAME(out0, (i * C + c) * L + l,
					    rdu_u(f) ^ (uint32_t)(c + l)) &&
				       good;
			}
	ok(good, "held port, lane broadcast, counter and lane operands");
}

/* Element i of a segment in one of the formats that hold any word. */
static void put_element(void *segment, enum rdu_format f, int i, uint32_t v)
{
	uint16_t h = (uint16_t)(f == RDU_FMT_BF16 ? rdu_bf16(v) : rdu_f16(v));

	if (f == RDU_FMT_WORD)
		((uint32_t *)segment)[i] = v;
	else
		((uint16_t *)segment)[i] = h;
}

static float get_element(const void *segment, enum rdu_format f, int i)
{
	uint16_t h = ((const uint16_t *)segment)[i];

	if (f == RDU_FMT_WORD)
		return rdu_f(((const uint32_t *)segment)[i]);
	return rdu_f(f == RDU_FMT_BF16 ? (uint32_t)h << 16 : rdu_f16_wide(h));
}

/* A sliding window with padding: out[i] = in[i - 1] + in[i + 1] of a row. */
static void test_window(struct rig *r, enum rdu_format format)
{
	struct cfgb *b = cfgb_new(&r->chip, 1);
	int L = r->chip.lanes, W = 3 * L - 5, H = 6;
	uint32_t ld = put_load(b, 0, 0, 0), pcu, st, wr, rl, rr, buf;
	struct rdu_cfg_access a = { .lanes = L, .lane_stride = 1, .num_preds = 1 };
	struct rdu_cfg_pred p = { .hi = W, .lane_stride = 1 };
	bool good;

	buf = cfgb_buffer(b, 0, 0, 1, 64, W * H);
	cfgb_prog(b, ld)->counter[0].limit = H;
	cfgb_loop(b, ld, 3);
	wr = cfgb_program(b, RDU_KIND_WRITE, 0, 0);
	rl = cfgb_program(b, RDU_KIND_READ, 0, 0);
	rr = cfgb_program(b, RDU_KIND_READ, 0, 0);
	pcu = cfgb_program(b, RDU_KIND_SIMD, 0, 0);
	st = cfgb_program(b, RDU_KIND_STORE, 0, 1);
	for (uint32_t q = wr; q <= st; q++) {
		cfgb_loop(b, q, H);
		cfgb_loop(b, q, 3);
	}
	a.stride[0] = W;
	a.stride[1] = L;
	p.stride[1] = L;
	cfgb_body(b, ld)->size = 0;
	a.format = (uint8_t)format;
	cfgb_access(b, ld, &a, &p);
	a.format = 0;
	a.target = buf;
	cfgb_access(b, wr, &a, &p);
	a.base = p.base = -1;
	cfgb_access(b, rl, &a, &p);
	a.base = p.base = 1;
	cfgb_access(b, rr, &a, &p);
	a.base = p.base = 0;
	a.target = 1;
	a.format = (uint8_t)format;
	cfgb_access(b, st, &a, &p);
	b->num_segments = 2;
	cfgb_stage(b, pcu, RDU_SIMD_FADD, 0, cfgb_in(0), cfgb_in(1), cfgb_none());
	cfgb_connect(b, ld, 0, wr, 0);
	cfgb_connect(b, rl, 0, pcu, 0);
	cfgb_connect(b, rr, 0, pcu, 1);
	cfgb_connect(b, pcu, 0, st, 0);
	cfgb_order(b, wr, rl, 0, 0, 1, 0);
	cfgb_order(b, wr, rr, 0, 0, 1, 0);
	memset(out0, 0, sizeof(out0));
	memset(want, 0, sizeof(want));
	for (int i = 0; i < W * H; i++)
		put_element(in0, format, i, rdu_u(rndf()));
	for (int i = 0; i < W * H; i++) {
		float lo = i % W ? get_element(in0, format, i - 1) : 0;
		float hi = i % W + 1 < W ? get_element(in0, format, i + 1) : 0;

		put_element(want, format, i, rdu_u(lo + hi));
	}
	rig_segment(r, 0, in0, (size_t)W * H * (format ? 2 : 4));
	rig_segment(r, 1, out0, (size_t)W * H * (format ? 2 : 4));
	good = rig_build_run(r, b) == 0;
	ok(same_words("out0", out0, want, (size_t)W * H + 1) && good,
	   "window with predicates, through a scratchpad, format %d", format);
}

/* Vectors that are columns of a segment, all of them or but the last three. */
static void test_columns(struct rig *r, enum rdu_format format, bool cut)
{
	struct cfgb *b = cfgb_new(&r->chip, 1);
	int L = r->chip.lanes, n = 41, live = cut ? n - 3 : n;
	uint32_t ld = put_load(b, 0, 0, n), st = cfgb_program(b, RDU_KIND_STORE, 0, 1);
	struct rdu_cfg_access a = { .target = 1,
				    .lanes = L,
				    .lane_stride = n + 3,
				    .stride = { 1 },
				    .format = (uint8_t)format,
				    .num_preds = 1 };
	struct rdu_cfg_pred p = { .hi = live, .stride = { 1 } };
	bool good;

	cfgb_loop(b, st, n);
	cfgb_access(b, st, &a, &p);
	b->num_segments = 2;
	cfgb_connect(b, ld, 0, st, 0);
	fill(in0, (size_t)n * L);
	memset(out0, 0, sizeof(out0));
	memset(want, 0, sizeof(want));
	for (int i = 0; i < live; i++)
		for (int l = 0; l < L; l++)
			put_element(want, format, i + l * (n + 3), in0[i * L + l]);
	rig_segment(r, 0, in0, (size_t)n * L * 4);
	rig_segment(r, 1, out0, sizeof(out0));
	good = rig_build_run(r, b) == 0;
	ok(same_words("out0", out0, want, sizeof(out0) / 4) && good, "columns%s, format %d",
	   cut ? " but the last" : "", format);
}

/* Transposed read, strided store, packs, formats. */
static void test_transpose(struct rig *r)
{
	int L = r->chip.lanes, pack;

	for (pack = 0; pack < 4; pack++) {
		struct cfgb *b = cfgb_new(&r->chip, 1);
		int words = pack == RDU_PACK_LANE ? L / 2 : L,
		    vecs = pack == RDU_PACK_VEC ? L / 2 : L;
		uint32_t ld = put_load(b, 0, 0, L), st = put_store(b, 1, 1, vecs);
		uint32_t wr = cfgb_program(b, RDU_KIND_WRITE, 0, 1);
		uint32_t rd = cfgb_program(b, RDU_KIND_READ, 0, 1);
		uint32_t buf = cfgb_buffer(b, 0, 1, 2, 8, L * L);
		struct rdu_cfg_access w = { .target = buf,
					    .lanes = L,
					    .lane_stride = 1,
					    .stride = { pack == RDU_PACK_VEC ? words / 2 : words },
					    .pack = pack };
		struct rdu_cfg_access rda = { .target = buf,
					      .lanes = words,
					      .lane_stride = 1,
					      .stride = { words },
					      .pad = 7 };
		bool good;

		if (pack == RDU_PACK_NONE) { /* transposed */
			rda.lane_stride = L;
			rda.stride[0] = 1;
		}
		cfgb_loop(b, wr, L);
		cfgb_loop(b, rd, vecs);
		cfgb_access(b, wr, &w, NULL);
		cfgb_access(b, rd, &rda, NULL);
		cfgb_connect(b, ld, 0, wr, 0);
		cfgb_connect(b, rd, 0, st, 0);
		cfgb_order(b, wr, rd, 0, 0, 2, 0);
		fill(in0, (size_t)L * L);
		memset(out0, 0xee, sizeof(out0));
		rig_segment(r, 0, in0, (size_t)L * L * 4);
		rig_segment(r, 1, out0, sizeof(out0));
		good = rig_build_run(r, b) == 0;
		for (int i = 0; i < vecs; i++)
			for (int l = 0; l < L; l++) {
				const float *f = (const float *)in0;
				uint32_t v;

				if (pack == RDU_PACK_NONE)
					v = in0[l * L + i];
				else if (pack == RDU_PACK_VEC)
					v = bf(f[2 * i * L + l]) | bf(f[(2 * i + 1) * L + l]) << 16;
				else if (pack == RDU_PACK_LANE)
					v = l >= words ? 7
						       : bf(f[i * L + 2 * l]) |
								 bf(f[i * L + 2 * l + 1]) << 16;
				else
					v = bf(f[i * L + l]);
				good = SAME(out0, i * L + l, v) && good;
			}
		ok(good, pack ? "pack %d" : "transposed read (%d)", pack);
	}
}

/* What the bits of an fp16 say. */
static float half_value(uint16_t h)
{
	int e = h >> 10 & 31, m = h & 1023;
	float v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexpf(m + 1024, e - 25) : ldexpf(m, -24);

	return h & 0x8000 ? -v : v;
}

static void test_formats(struct rig *r)
{
	static const uint8_t size[] = { 4, 2, 1, 1, 8, 2, 2, 2, 8, 8 };
	int L = r->chip.lanes, n = 20;

	for (int f = 1; f < (int)sizeof(size); f++) {
		struct cfgb *b = cfgb_new(&r->chip, 1);
		uint32_t ld = put_load(b, 0, 0, n), st = put_store(b, 1, 1, n);
		uint32_t st2 = put_store(b, 2, 2, n);
		unsigned char *bytes = (unsigned char *)in1;
		bool good;

		((struct rdu_cfg_access *)cfgb_body(b, ld)->bytes)->format = f;
		((struct rdu_cfg_access *)cfgb_body(b, st2)->bytes)->format = f;
		cfgb_connect(b, ld, 0, st, 0);
		cfgb_connect(b, ld, 0, st2, 0);
		for (int i = 0; i < n * L * 8; i++)
			bytes[i] = rnd();
		for (int i = 0; i < n * L; i++) {
			int16_t h;
			int64_t q = (int32_t)rnd();
			double d = (double)rndf();

			if (f == RDU_FMT_BF16) {
				h = bf(rndf());
				memcpy(bytes + 2 * i, &h, 2);
			}
			if (f == RDU_FMT_F16) { /* all of them but NaN, of which there is one */
				h = (int16_t)(i * 37);
				h = (h & 0x7fff) > 0x7c00 ? 0x7e00 : h;
				memcpy(bytes + 2 * i, &h, 2);
			}
			if (f == RDU_FMT_U64)
				q &= INT32_MAX;
			if (f == RDU_FMT_F64)
				memcpy(&q, &d, 8);
			if (size[f] == 8)
				memcpy(bytes + 8 * i, &q, 8);
		}
		memset(out1, 0, sizeof(out1));
		rig_segment(r, 0, bytes, (size_t)n * L * size[f]);
		rig_segment(r, 1, out0, sizeof(out0));
		rig_segment(r, 2, out1, (size_t)n * L * size[f]);
		good = rig_build_run(r, b) == 0 && !memcmp(out1, bytes, (size_t)n * L * size[f]);
		for (int i = 0; i < n * L; i++) {
			uint16_t h;
			int64_t q;

			memcpy(&h, bytes + 2 * i, 2);
			double d;
			float single;
			uint32_t v, word;

			memcpy(&q, bytes + 8 * i, 8);
			memcpy(&d, bytes + 8 * i, 8);
			single = f == RDU_FMT_F16 ? half_value(h) : (float)d;
			memcpy(&word, &single, 4);
			v = f == RDU_FMT_BF16			   ? (uint32_t)h << 16
			    : f == RDU_FMT_I8			   ? (uint32_t)(int8_t)bytes[i]
			    : f == RDU_FMT_U8			   ? bytes[i]
			    : f == RDU_FMT_U16			   ? h
			    : f == RDU_FMT_F16 || f == RDU_FMT_F64 ? word
			    : size[f] == 8			   ? (uint32_t)q
								   : (uint32_t)(int16_t)h;

			good = SAME(out0, i, v) && good;
		}
		ok(good, "segment format %d there and back", f);
	}
}

/* Does the run stop with VALUE, for that reason, there? */
static bool stops(struct rig *r, struct cfgb *b, uint32_t program, uint32_t info, uint64_t addr)
{
	size_t size;
	void *image = cfgb_finish(b, &size);
	int ret = rig_run(r, image, size);

	free(image);
	if (ret == 2 && r->fault.code == RDU_FAULT_VALUE && r->fault.program == program &&
	    r->fault.info == info && r->fault.addr == addr)
		return true;
	printf("# %d: fault %d info %u program %u address %llu, not VALUE %u %u %llu\n", ret,
	       r->fault.code, r->fault.info, r->fault.program, (unsigned long long)r->fault.addr,
	       info, program, (unsigned long long)addr);
	return false;
}

/* What a format cannot hold, at some place among what it can: loaded from one of 64
 * bits (F64: the bits), stored as an integer. */
static void test_misfits(struct rig *r)
{
	static const struct {
		int format, size;
		bool load;
		int64_t fits[2], not [3];
	} row[] = {
		{ RDU_FMT_I64,
		  8,
		  true,
		  { INT32_MIN, INT32_MAX },
		  { 1ll << 31, -(1ll << 31) - 1, 1ll << 32 } },
		{ RDU_FMT_U64, 8, true, { 0, INT32_MAX }, { 1ll << 31, -1, INT64_MIN } },
		/* Infinity; the largest number, one that would round up to an infinity */
		{ RDU_FMT_F64,
		  8,
		  true,
		  { 0x3ff0000000000000, 0x7ff0000000000000 },
		  { 0x7fefffffffffffff, 0x47effffff0000000, -0x10000000000001 } },
		{ RDU_FMT_I8, 1, false, { -128, 127 }, { 128, -129, INT32_MIN } },
		{ RDU_FMT_U8, 1, false, { 0, 255 }, { 256, -1, INT32_MIN } },
		{ RDU_FMT_I16, 2, false, { -32768, 32767 }, { 32768, -32769, INT32_MAX } },
		{ RDU_FMT_U16, 2, false, { 0, 65535 }, { 65536, -1, INT32_MIN } },
		{ RDU_FMT_U64, 8, false, { 0, INT32_MAX }, { -1, INT32_MIN, -5 } },
	};
	int L = r->chip.lanes, n = 20, all = n * L;

	for (size_t k = 0; k < sizeof(row) / sizeof(row[0]); k++) {
		bool load = row[k].load, good = true;
		int64_t *q = (int64_t *)in0;

		for (int t = -1; t < 12; t++) {
			struct cfgb *b = cfgb_new(&r->chip, 1);
			uint32_t ld = put_load(b, 0, 0, n), st = put_store(b, 1, 1, n);
			int at = t < 0 ? 0 : t % 4 == 0 ? 0 : t % 4 == 1 ? all - 1 : t * 53 % all;
			struct rdu_cfg_access *a = (void *)cfgb_body(b, load ? ld : st)->bytes;

			a->format = (uint8_t)row[k].format;
			cfgb_connect(b, ld, 0, st, 0);
			for (int i = 0; i < all; i++) {
				int64_t v = row[k].fits[i & 1];

				if (t >= 0 && i >= at && (i == at || t & 1))
					v = row[k].not [t / 4];
				if (load)
					q[i] = v;
				else
					in0[i] = (uint32_t)v;
			}
			rig_segment(r, 0, in0, (size_t)all * (load ? 8 : 4));
			rig_segment(r, 1, out0, (size_t)all * (load ? 4 : (size_t)row[k].size));
			if (t < 0)
				good = rig_build_run(r, b) == 0;
			else
				good &= stops(r, b, load ? ld : st,
					      load ? RDU_TRAP_LOAD : RDU_TRAP_STORE,
					      (uint64_t)at * (uint64_t)row[k].size);
		}
		ok(good, "format %d: what does not fit stops the run", row[k].format);
	}
}

/* Packs of bytes: each way, each type, and what does not fit. */
static void test_byte_packs(struct rig *r)
{
	int L = r->chip.lanes;

	for (int t = 0; t < 12; t++) {
		struct cfgb *b = cfgb_new(&r->chip, 1);
		int pack = 1 + t % 3, type = t / 3 % 2 ? RDU_FMT_U8 : RDU_FMT_I8;
		int words = pack == RDU_PACK_LANE ? L / 4 : L,
		    vecs = pack == RDU_PACK_VEC ? L / 4 : L;
		uint32_t ld = put_load(b, 0, 0, L), st = put_store(b, 1, 1, vecs);
		uint32_t wr = cfgb_program(b, RDU_KIND_WRITE, 0, 1);
		uint32_t rd = cfgb_program(b, RDU_KIND_READ, 0, 1);
		uint32_t buf = cfgb_buffer(b, 0, 1, 2, 8, L * L);
		int step = pack == RDU_PACK_VEC ? 4 : 1, lane = pack == RDU_PACK_LANE ? 4 : 1;
		struct rdu_cfg_access w = { .target = buf,
					    .format = (uint8_t)type,
					    .lanes = L,
					    .lane_stride = 1,
					    .stride = { words / step },
					    .pack = pack };
		struct rdu_cfg_access rda = { .target = buf,
					      .lanes = words,
					      .lane_stride = 1,
					      .stride = { words },
					      .pad = 7 };
		bool good = true;

		cfgb_loop(b, wr, L);
		cfgb_loop(b, rd, vecs);
		cfgb_access(b, wr, &w, NULL);
		cfgb_access(b, rd, &rda, NULL);
		cfgb_connect(b, ld, 0, wr, 0);
		cfgb_connect(b, rd, 0, st, 0);
		cfgb_order(b, wr, rd, 0, 0, 2, 0);
		for (int i = 0; i < L * L; i++) {
			int v = (int)(rnd() & 255);

			in0[i] =
				(uint32_t)(v < 4 ? (v & 1) * 255 : v) - (type == RDU_FMT_I8) * 128u;
		}
		memset(out0, 0xee, sizeof(out0));
		rig_segment(r, 0, in0, (size_t)L * L * 4);
		rig_segment(r, 1, out0, sizeof(out0));
		if (t >= 6) { /* one below, one above */
			in0[L * L / 2 + 1] = type == RDU_FMT_I8 ? t % 2 ? 128u : -129u
					     : t % 2		? 256u
								: -1u;
			ok(stops(r, b, wr, RDU_TRAP_STORE, 0), "byte pack %d of type %d: no room",
			   pack, type);
			continue;
		}
		good = rig_build_run(r, b) == 0;
		for (int i = 0; i < vecs; i++)
			for (int l = 0; l < L; l++) {
				uint32_t v = 0;

				for (int k = 0; k < 4 && l < words; k++) {
					int row = i * step + (step > 1 ? k : 0);
					int at = l * lane + (lane > 1 ? k : 0);

					if (!k || step > 1 || lane > 1)
						v |= (in0[row * L + at] & 255) << 8 * k;
				}
				good = SAME(out0, i * L + l, l < words ? v : 7) && good;
			}
		ok(good, "byte pack %d of type %d", pack, type);
	}
}

/* A trap looks at every lane of every vector, and passes its value on. */
static void test_trap(struct rig *r)
{
	int L = r->chip.lanes, n = 40, all = n * L;
	bool good = true;

	for (int t = -1; t < 8; t++) {
		struct cfgb *b = cfgb_new(&r->chip, 1);
		uint32_t ld = put_load(b, 0, 0, n), lb = put_load(b, 1, 1, n);
		uint32_t pcu = cfgb_program(b, RDU_KIND_SIMD, 0, 0), st = put_store(b, 2, 2, n);
		int at = t == 0 ? 0 : t == 1 ? all - 1 : t * 97 % all;

		fill(in0, (size_t)all);
		memset(in1, 0, (size_t)all * 4);
		if (t >= 0)
			in1[at] = 7 + (uint32_t)t;
		if (t >= 0 && at + 1 < all)
			in1[at + 1] = 3;
		cfgb_loop(b, pcu, n);
		cfgb_stage(b, pcu, RDU_SIMD_TRAP, 0, cfgb_in(0), cfgb_in(1), cfgb_none());
		cfgb_connect(b, ld, 0, pcu, 0);
		cfgb_connect(b, lb, 0, pcu, 1);
		cfgb_connect(b, pcu, 0, st, 0);
		rig_segment(r, 0, in0, (size_t)all * 4);
		rig_segment(r, 1, in1, (size_t)all * 4);
		rig_segment(r, 2, out0, (size_t)all * 4);
		if (t < 0)
			good = rig_build_run(r, b) == 0 && !memcmp(in0, out0, (size_t)all * 4);
		else
			good &= stops(r, b, pcu, 7 + (uint32_t)t, (uint64_t)at);
	}
	ok(good, "traps: the first lane that is not 0 stops the run");
}

/* out[i] = table[index[i / L * L] + i % L], stored at as many places by one index, too. */
static void test_one_index(struct rig *r)
{
	struct cfgb *b = cfgb_new(&r->chip, 1);
	int L = r->chip.lanes, n = 12, T = 50;
	uint32_t idx = put_load(b, 0, 0, n), ga = cfgb_program(b, RDU_KIND_LOAD, 0, 1);
	uint32_t sc = cfgb_program(b, RDU_KIND_STORE, 0, 2);
	struct rdu_cfg_access a = { .target = 1,
				    .lanes = L - 1,
				    .lane_stride = 2,
				    .pad = 7,
				    .flags = RDU_ACCESS_GATHER | RDU_ACCESS_ONE_INDEX,
				    .index_stride = 3 };
	size_t size;
	void *image;
	bool good;

	cfgb_loop(b, ga, n);
	cfgb_access(b, ga, &a, NULL);
	a.target = 2;
	a.lanes = L;
	a.lane_stride = 1;
	a.index_stride = L;
	cfgb_loop(b, sc, n);
	cfgb_access(b, sc, &a, NULL);
	b->num_segments = 3;
	cfgb_connect(b, idx, 0, ga, 0);
	cfgb_connect(b, ga, 0, sc, 0);
	cfgb_connect(b, idx, 0, sc, 1);
	for (int i = 0; i < n * L; i++)
		in0[i] = i % L ? 0x7fffffff : (uint32_t)(n - 1 - i / L);
	fill(in1, 3 * T + 2 * L);
	rig_segment(r, 0, in0, (size_t)n * L * 4);
	rig_segment(r, 1, in1, (size_t)(3 * T + 2 * L) * 4);
	rig_segment(r, 2, out0, (size_t)n * L * 4);
	image = cfgb_finish(b, &size);
	good = rig_run(r, image, size) == 0;
	for (int i = 0; i < n * L; i++)
		good = SAME(out0, i, i % L < L - 1 ? in1[3 * (i / L) + 2 * (i % L)] : 7) && good;
	ok(good, "one index for all lanes");
	in0[0] = T + L;
	ok(rig_run(r, image, size) == 2 && r->fault.code == RDU_FAULT_BOUNDS &&
		   r->fault.program == ga,
	   "one index out of range is a fault");
	free(image);
}

/* out[i] = table[index[i]], then added up at bins[index[i]]. */
static void test_gather(struct rig *r)
{
	struct cfgb *b = cfgb_new(&r->chip, 1);
	int L = r->chip.lanes, n = 12, T = 50;
	uint32_t idx = put_load(b, 0, 0, n), ga = cfgb_program(b, RDU_KIND_LOAD, 0, 1);
	uint32_t st = put_store(b, 2, 2, n), sc = cfgb_program(b, RDU_KIND_STORE, 0, 3);
	struct rdu_cfg_access a = {
		.target = 1, .lanes = L, .flags = RDU_ACCESS_GATHER, .index_stride = 1
	};
	size_t size;
	void *image;
	bool good;

	cfgb_loop(b, ga, n);
	cfgb_access(b, ga, &a, NULL);
	a.target = 3;
	a.flags |= RDU_ACCESS_ADD;
	cfgb_loop(b, sc, n);
	cfgb_access(b, sc, &a, NULL);
	b->num_segments = 4;
	cfgb_connect(b, idx, 0, ga, 0);
	cfgb_connect(b, idx, 0, sc, 1);
	cfgb_connect(b, ga, 0, st, 0);
	cfgb_connect(b, ga, 0, sc, 0);
	for (int i = 0; i < n * L; i++)
		in0[i] = rnd() % T;
	fill(in1, T);
	memset(out1, 0, sizeof(out1));
	memset(want, 0, sizeof(want));
	rig_segment(r, 0, in0, (size_t)n * L * 4);
	rig_segment(r, 1, in1, (size_t)T * 4);
	rig_segment(r, 2, out0, (size_t)n * L * 4);
	rig_segment(r, 3, out1, (size_t)T * 4);
	image = cfgb_finish(b, &size);
	good = rig_run(r, image, size) == 0;
	for (int i = 0; i < n * L; i++) {
		good = SAME(out0, i, in1[in0[i]]) && good;
		want[in0[i]] = rdu_u(rdu_f(want[in0[i]]) + rdu_f(in1[in0[i]]));
	}
	ok(same_words("out1", out1, want, T) && good, "gather and scatter-add");
	in0[3 * L + 1] = T;
	ok(rig_run(r, image, size) == 2 && r->fault.code == RDU_FAULT_BOUNDS &&
		   r->fault.program == ga && r->fault.addr == (uint64_t)T * 4,
	   "an index out of range is a fault with its place");
	free(image);
}

/* A producer and a consumer in turns, two copies: order by tokens. */
static void test_tokens(struct rig *r)
{
	struct cfgb *b = cfgb_new(&r->chip, 1);
	int L = r->chip.lanes, A = 13, V = 5;
	uint32_t ld = cfgb_program(b, RDU_KIND_LOAD, 0, 0),
		 wr = cfgb_program(b, RDU_KIND_WRITE, 0, 0);
	uint32_t rd = cfgb_program(b, RDU_KIND_READ, 0, 0),
		 st = cfgb_program(b, RDU_KIND_STORE, 0, 1);
	uint32_t buf = cfgb_buffer(b, 0, 0, 2, 0, V * L), q[] = { ld, wr, rd, st };
	size_t n = (size_t)A * V * L;

	for (int i = 0; i < 4; i++) {
		struct rdu_cfg_access a = { .lanes = L, .lane_stride = 1, .stride = { 0, L } };

		cfgb_outer(b, q[i], A);
		cfgb_loop(b, q[i], V);
		if (i == 0 || i == 3)
			a.stride[0] = V * L;
		a.target = i == 0 ? 0 : i == 3 ? 1 : buf;
		if (i == 2) { /* backwards */
			a.base = (V - 1) * L;
			a.stride[1] = -L;
		}
		cfgb_access(b, q[i], &a, NULL);
	}
	b->num_segments = 2;
	cfgb_connect(b, ld, 0, wr, 0);
	cfgb_connect(b, rd, 0, st, 0);
	cfgb_order(b, wr, rd, 0, 0, 2, 0);
	fill(in0, n);
	for (int a = 0; a < A; a++)
		for (int v = 0; v < V; v++)
			memcpy(want + (a * V + v) * L, in0 + (a * V + V - 1 - v) * L, L * 4);
	rig_segment(r, 0, in0, n * 4);
	rig_segment(r, 1, out0, n * 4);
	ok(rig_build_run(r, b) == 0 && same_words("out0", out0, want, n), "two copies in turns");
}

/* x - max(x): the maximum is known when all of x has gone by, so FIFOs grow. */
static void test_reconverge(struct rig *r)
{
	struct cfgb *b = cfgb_new(&r->chip, 1);
	int L = r->chip.lanes, n = 700;
	uint32_t ld = put_load(b, 0, 0, n), st = put_store(b, 1, 1, n), p[3];
	bool good;

	for (int i = 0; i < 3; i++) {
		p[i] = cfgb_program(b, RDU_KIND_SIMD, 0, i);
		cfgb_loop(b, p[i], n);
	}
	cfgb_stage(b, p[0], RDU_SIMD_FNEG, 0, cfgb_in(0), cfgb_none(), cfgb_none());
	cfgb_stage_acc(b, p[1], RDU_SIMD_FMAX, 0, cfgb_acc(), cfgb_in(0), cfgb_none(), 1,
		       0xff800000);
	cfgb_out_port(b, p[1], 0, 1, 0, 1);
	cfgb_stage(b, p[2], RDU_SIMD_FSUB, 0, cfgb_in(0), cfgb_in(1), cfgb_none());
	cfgb_in_port(b, p[2], 1, 1, 1);
	cfgb_connect(b, ld, 0, p[0], 0);
	cfgb_connect(b, p[0], 0, p[1], 0);
	cfgb_connect(b, p[0], 0, p[2], 0);
	cfgb_connect(b, p[1], 0, p[2], 1);
	cfgb_connect(b, p[2], 0, st, 0);
	fill(in0, (size_t)n * L);
	rig_segment(r, 0, in0, (size_t)n * L * 4);
	rig_segment(r, 1, out0, (size_t)n * L * 4);
	good = rig_build_run(r, b) == 0;
	for (int l = 0; l < L; l++) {
		float m = -2;

		for (int i = 0; i < n; i++)
			m = -rdu_f(in0[i * L + l]) > m ? -rdu_f(in0[i * L + l]) : m;
		for (int i = 0; i < n; i++)
			good = SAME(out0, i * L + l, rdu_u(-rdu_f(in0[i * L + l]) - m)) && good;
	}
	ok(good, "paths of different length");
}

/* A limit from an argument register. */
static void test_limits(struct rig *r)
{
	struct cfgb *b = cfgb_new(&r->chip, 1);
	uint32_t ld = put_load(b, 0, 0, VECS), st = put_store(b, 1, 1, VECS);
	int L = r->chip.lanes;
	size_t size;
	void *image;

	for (int i = 0; i < 2; i++) {
		cfgb_prog(b, i ? st : ld)->counter[0].limit = 1;
		cfgb_prog(b, i ? st : ld)->counter[0].limit_kind = RDU_LIMIT_ARG;
	}
	b->num_scalars = 2;
	cfgb_connect(b, ld, 0, st, 0);
	fill(in0, (size_t)VECS * L);
	memset(out0, 0, sizeof(out0));
	rig_segment(r, 0, in0, (size_t)VECS * L * 4);
	rig_segment(r, 1, out0, (size_t)VECS * L * 4);
	image = cfgb_finish(b, &size);
	r->scalars[1] = 17;
	ok(rig_run(r, image, size) == 0 && same_words("out0", out0, in0, 17 * L) &&
		   SAME(out0, 17 * L, 0),
	   "limit from an argument register");
	r->scalars[1] = 0;
	ok(rig_run(r, image, size) == 2 && r->fault.code == RDU_FAULT_CONFIG &&
		   r->fault.info == RDU_CFG_E_COUNTER,
	   "a limit of nothing is a fault");
	r->scalars[1] = VECS + 1;
	ok(rig_run(r, image, size) == 2 && r->fault.code == RDU_FAULT_SEGMENT &&
		   r->fault.addr == (uint64_t)VECS * L * 4,
	   "a segment too short is a fault with its place");
	free(image);
}

/* A section of no programs is one, too. */
static void test_nothing(struct rig *r)
{
	struct cfgb *b = cfgb_new(&r->chip, 1);

	rig_clear(r);
	ok(rig_build_run(r, b) == 0, "a section of no programs has nothing to do");
}

int main(void)
{
	static const char *const chips[] = { "sn10", "plasticine" };

	for (int c = 0; c < 2; c++) {
		for (unsigned int threads = 1; threads <= 2; threads++) {
			struct rig r;

			rig_init(&r, chips[c]);
			r.pool = rdu_pool_new(threads);
			r.again = 2;
			printf("# %s, %u threads\n", chips[c], threads);
			test_chain(&r);
			test_reduce(&r);
			test_held(&r);
			for (int f = RDU_FMT_WORD; f <= RDU_FMT_F16; f++) {
				if (f != RDU_FMT_WORD && f != RDU_FMT_BF16 && f != RDU_FMT_F16)
					continue;
				test_window(&r, (enum rdu_format)f);
				test_columns(&r, (enum rdu_format)f, false);
				test_columns(&r, (enum rdu_format)f, true);
			}
			test_transpose(&r);
			test_byte_packs(&r);
			test_formats(&r);
			test_misfits(&r);
			test_trap(&r);
			r.again = 0; /* it adds */
			test_gather(&r);
			r.again = 2;
			test_one_index(&r);
			test_tokens(&r);
			test_reconverge(&r);
			test_limits(&r);
			test_nothing(&r);
			rig_free(&r);
		}
	}
	return tap_done();
}
