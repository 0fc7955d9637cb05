// SPDX-License-Identifier: MIT
/*
 * Validation: a good image is accepted, and every error code is given for an
 * image that has just that wrong, with the place of the offender. Then
 * truncations and flipped bits, which must never crash.
 */
#include "fabric_test.h"

static struct rdu_chip chip;

/* The good image: load -> write, read -> pcu -> store, and a systolic array. */
struct good {
	unsigned char *data;
	size_t size;
	struct rdu_cfg_header *h;
	struct rdu_cfg_program *prog;
	struct rdu_cfg_stream *stream;
	struct rdu_cfg_dest *dest;
	struct rdu_cfg_link *link;
	struct rdu_cfg_token *token;
	struct rdu_cfg_buffer *buffer;
};

enum { LD, WR, RD, PCU, ST, RC, RR, SYS, ST2 };

static void make(struct good *g)
{
	struct cfgb *b = cfgb_new(&chip, 1);
	int L = chip.lanes;
	uint32_t p[9];
	static const uint8_t kind[] = { RDU_KIND_LOAD, RDU_KIND_WRITE,	  RDU_KIND_READ,
					RDU_KIND_SIMD, RDU_KIND_STORE,	  RDU_KIND_READ,
					RDU_KIND_READ, RDU_KIND_SYSTOLIC, RDU_KIND_STORE };
	static const uint8_t unit[] = { 0, 3, 3, 2, 1, 5, 6, 9, 2 };
	struct rdu_cfg_access a = { .lanes = L, .lane_stride = 1, .stride = { 4 * L, L } };
	struct rdu_cfg_systolic sys = { .cols = 4, .k_mask = 2 };

	for (int i = 0; i < 9; i++) {
		p[i] = cfgb_program(b, kind[i], 0, unit[i]);
		cfgb_outer(b, p[i], 3);
		cfgb_loop(b, p[i], 4);
	}
	cfgb_buffer(b, 0, 3, 2, 0, 4 * L);
	cfgb_buffer(b, 0, 5, 1, 0, 12 * L);
	cfgb_buffer(b, 0, 6, 1, 100, 12 * L);
	cfgb_buffer(b, 0, 6, 1, 100 + 12 * L, 12);
	cfgb_access(b, LD, &a, NULL);
	a.target = 1;
	cfgb_access(b, ST, &a, NULL);
	a.target = 2;
	cfgb_access(b, ST2, &a, NULL);
	a.target = 0;
	a.stride[0] = 0;
	cfgb_access(b, WR, &a, NULL);
	cfgb_access(b, RD, &a, NULL);
	a.target = 1;
	cfgb_access(b, RC, &a, NULL);
	a.target = 2;
	a.lanes = 4;
	cfgb_access(b, RR, &a, NULL);
	cfgb_stage(b, PCU, RDU_SIMD_FADD, 0, cfgb_in(0), cfgb_arg(1), cfgb_none());
	cfgb_tail(b, PCU, RDU_SIMD_EXP, 0, cfgb_reg(0), cfgb_none(), cfgb_none());
	cfgb_systolic(b, SYS, &sys);
	cfgb_out_port(b, SYS, 0, 2, 0, 4);
	cfgb_connect(b, LD, 0, WR, 0);
	cfgb_connect(b, RD, 0, PCU, 0);
	cfgb_connect(b, PCU, 0, ST, 0);
	cfgb_connect(b, RC, 0, SYS, 0);
	cfgb_connect(b, RR, 0, SYS, 1);
	cfgb_connect(b, SYS, 0, ST2, 0);
	cfgb_order(b, WR, RD, 0, 0, 2, 0);
	b->num_segments = 3;
	b->num_scalars = 2;
	g->data = cfgb_finish(b, &g->size);
	g->h = (void *)g->data;
	g->prog = (void *)(g->data + g->h->programs.offset);
	g->stream = (void *)(g->data + g->h->streams.offset);
	g->dest = (void *)(g->data + g->h->dests.offset);
	g->link = (void *)(g->data + g->h->links.offset);
	g->token = (void *)(g->data + g->h->tokens.offset);
	g->buffer = (void *)(g->data + g->h->buffers.offset);
}

static void *body(struct good *g, int p)
{
	return g->data + g->h->bodies.offset + g->prog[p].body;
}

static int validate(struct good *g, struct rdu_cfg_diag *d)
{
	/* In memory of its own size, so that a byte too far is seen. */
	void *copy = malloc(g->size ? g->size : 1);
	int ret;

	memcpy(copy, g->data, g->size);
	ret = rdu_config_validate(copy, g->size, &chip, 0, d);
	free(copy);
	return ret;
}

/* Changes one thing and asks for the error at `where`. */
#define BAD(code, change, where)                                                           \
	do {                                                                               \
		struct rdu_cfg_diag d_;                                                    \
		struct good g_, *g = &g_;                                                  \
		uint64_t at_;                                                              \
                                                                                           \
		make(g);                                                                   \
		change;                                                                    \
		at_ = (uint64_t)((unsigned char *)(where)-g->data);                        \
		ok(validate(g, &d_) && d_.error == RDU_CFG_E_##code && d_.offset == at_ && \
			   d_.text[0],                                                     \
		   #code ": " #change " (%s)", d_.text);                                   \
		if (d_.error != RDU_CFG_E_##code || d_.offset != at_)                      \
			printf("# got error %d at %llu, wanted %d at %llu\n", d_.error,    \
			       (unsigned long long)d_.offset, RDU_CFG_E_##code,            \
			       (unsigned long long)at_);                                   \
		free(g->data);                                                             \
	} while (0)

/* Changes one thing that may be so. */
#define GOOD(change)                                     \
	do {                                             \
		struct rdu_cfg_diag d_;                  \
		struct good g_, *g = &g_;                \
                                                         \
		make(g);                                 \
		change;                                  \
		ok(!validate(g, &d_), "good: " #change); \
		free(g->data);                           \
	} while (0)

#define ACCESS(p) ((struct rdu_cfg_access *)body(g, p))
#define SIMD ((struct rdu_cfg_simd *)body(g, PCU))
#define ARRAY ((struct rdu_cfg_systolic *)body(g, SYS))

static void test_header(void)
{
	BAD(TRUNCATED, g->size -= 8, &g->h->size);
	BAD(TRUNCATED, g->h->programs.count += 1000, &g->h->programs);
	BAD(TRUNCATED, g->h->streams.offset = 0xfffffff8, &g->h->streams);
	BAD(MAGIC, g->h->magic++, &g->h->magic);
	BAD(VERSION, g->h->version++, &g->h->version);
	BAD(VERSION, g->h->header_size--, &g->h->version);
	BAD(CHIP, g->h->chip_hash ^= 1, &g->h->chip_hash);
	BAD(TOO_LARGE, g->h->tokens.count = RDU_MAX_TOKENS + 1, &g->h->tokens);
	BAD(TOO_LARGE, g->h->num_segments = RDU_MAX_SEGMENTS + 1, &g->h->num_segments);
	BAD(TOO_LARGE, g->h->num_scalars = RDU_MAX_SCALARS + 1, &g->h->num_scalars);
	BAD(ALIGN, g->h->dests.offset += 4, &g->h->dests);
	BAD(RESERVED, g->h->zero = 1, &g->h->zero);
	BAD(UNIT, g->h->num_tiles = chip.tiles + 1, &g->h->num_tiles);
}

static void test_programs(void)
{
	BAD(KIND, g->prog[PCU].kind = 6, &g->prog[PCU].kind);
	BAD(RESERVED, g->prog[PCU].zero8 = 1, &g->prog[PCU].zero8);
	BAD(UNIT, g->prog[PCU].tile = 1, &g->prog[PCU].tile);
	BAD(UNIT, g->prog[PCU].unit = 160, &g->prog[PCU].tile);
	BAD(UNIT_BUSY, g->prog[SYS].unit = 2, &g->prog[SYS].tile);
	BAD(COUNTER, g->prog[LD].num_counters = 0, &g->prog[LD].num_counters);
	BAD(COUNTER, g->prog[LD].num_counters = 9, &g->prog[LD].num_counters);
	BAD(COUNTER, g->prog[LD].num_outer = 3, &g->prog[LD].num_counters);
	BAD(COUNTER, g->prog[LD].counter[1].step = 0, &g->prog[LD].counter[1]);
	BAD(COUNTER, g->prog[LD].counter[1].limit = 0, &g->prog[LD].counter[1]);
	BAD(COUNTER, g->prog[LD].counter[1].limit_kind = 3, &g->prog[LD].counter[1]);
	BAD(UNSUPPORTED, g->prog[LD].counter[1].limit_kind = 2, &g->prog[LD].counter[1]);
	BAD(SCALAR, g->prog[LD].counter[1].limit_kind = 1, &g->prog[LD].counter[1]);
	BAD(TOO_LARGE, g->prog[LD].counter[0].limit = 1 << 30, &g->prog[LD].num_outer);
	BAD(MASK, g->prog[PCU].in[0].mask = 1, &g->prog[PCU].in[0].mask);
	BAD(MASK, g->prog[PCU].out[0].mask = 4, &g->prog[PCU].out[0].mask);
	BAD(PORT, g->prog[PCU].num_in = 5, &g->prog[PCU].num_in);
	BAD(PORT, g->prog[PCU].in[0].count = 2, &g->prog[PCU].in[0].count);
	BAD(PORT, g->prog[PCU].out[0].reg = 1, &g->prog[PCU].out[0].reg);
	BAD(PORT, g->prog[PCU].num_out = 0, &g->prog[PCU].num_out);
	BAD(BODY, g->prog[PCU].body = g->h->bodies.count & ~7u, &g->prog[PCU].body);
	BAD(BODY, g->prog[PCU].body = 0xfffffff8, &g->prog[PCU].body);
	BAD(ALIGN, g->prog[PCU].body += 4, &g->prog[PCU].body);
}

static void test_bodies(void)
{
	BAD(STAGES, SIMD->num_stages = chip.simd_stages + 1, SIMD);
	BAD(STAGES, SIMD->num_tail = chip.tail_stages + 1, SIMD);
	BAD(STAGES, SIMD->stage[0].dst = chip.simd_regs, &SIMD->stage[0].dst);
	BAD(RESERVED, SIMD->zero[3] = 1, &SIMD->zero[3]);
	BAD(OPCODE, SIMD->stage[0].op = 200, &SIMD->stage[0].op);
	BAD(OPCODE, SIMD->stage[0].op = RDU_SIMD_EXP, &SIMD->stage[0].op);
	BAD(OPCODE, SIMD->stage[1].op = RDU_SIMD_FMA, &SIMD->stage[1].op);
	BAD(OPERAND, SIMD->stage[0].a.kind = 9, &SIMD->stage[0].a);
	BAD(OPERAND, SIMD->stage[0].a.index = 1, &SIMD->stage[0].a);
	BAD(OPERAND, SIMD->stage[0].a.kind = RDU_OPD_REG, &SIMD->stage[0].a);
	BAD(OPERAND, SIMD->stage[0].c.kind = RDU_OPD_IMM, &SIMD->stage[0].c);
	BAD(OPERAND, SIMD->stage[1].a.kind = RDU_OPD_IN, &SIMD->stage[1].a);
	BAD(SCALAR, SIMD->stage[0].b.index = 2, &SIMD->stage[0].b);
	BAD(MASK, SIMD->stage[0].acc_mask = 4, &SIMD->stage[0].acc_mask);
	BAD(SYSTOLIC, ARRAY->mode = 3, &ARRAY->mode);
	BAD(SYSTOLIC, ARRAY->mode = RDU_SYS_TERNARY + 1, &ARRAY->mode);
	GOOD(ARRAY->mode = RDU_SYS_TERNARY);
	GOOD((ARRAY->mode = RDU_SYS_TERNARY, ARRAY->flags = RDU_SYS_COLS_UNSIGNED));
	GOOD((ARRAY->mode = RDU_SYS_TERNARY,
	      ARRAY->flags = RDU_SYS_COLS_TERNARY | RDU_SYS_ROWS_UNSIGNED));
	BAD(SYSTOLIC, (ARRAY->mode = RDU_SYS_TERNARY, ARRAY->flags = RDU_SYS_ROWS_UNSIGNED),
	    &ARRAY->flags);
	BAD(SYSTOLIC,
	    (ARRAY->mode = RDU_SYS_TERNARY,
	     ARRAY->flags = RDU_SYS_COLS_TERNARY | RDU_SYS_COLS_UNSIGNED),
	    &ARRAY->flags);
	BAD(SYSTOLIC, (ARRAY->mode = RDU_SYS_INT8, ARRAY->flags = RDU_SYS_COLS_TERNARY),
	    &ARRAY->flags);
	BAD(SYSTOLIC, (ARRAY->mode = RDU_SYS_TERNARY, ARRAY->k_mask = 0), &ARRAY->k_mask);
	BAD(SYSTOLIC, (ARRAY->mode = RDU_SYS_TERNARY, g->prog[SYS].counter[1].limit = 5),
	    &g->prog[SYS].counter[1]);
	BAD(SYSTOLIC, ARRAY->cols = chip.systolic_cols + 1, &ARRAY->cols);
	BAD(SYSTOLIC, ARRAY->flags = RDU_SYS_INIT_ALWAYS, &ARRAY->flags);
	BAD(SYSTOLIC, ARRAY->flags = RDU_SYS_COLS_UNSIGNED, &ARRAY->flags);
	BAD(SYSTOLIC, (ARRAY->mode = RDU_SYS_INT8, ARRAY->flags = 0x10), &ARRAY->flags);
	GOOD((ARRAY->mode = RDU_SYS_INT8, ARRAY->flags = 0));
	GOOD((ARRAY->mode = RDU_SYS_INT8,
	      ARRAY->flags = RDU_SYS_COLS_UNSIGNED | RDU_SYS_ROWS_UNSIGNED));
	BAD(MASK, ARRAY->k_mask = 1, &ARRAY->k_mask);
	BAD(MASK, ARRAY->init_mask = 4, &ARRAY->init_mask);
	BAD(PORT, ARRAY->flags = RDU_SYS_INIT, &g->prog[SYS].num_in);
	BAD(PORT, g->prog[SYS].out[0].mask = 0, &g->prog[SYS].out[0].mask);
	BAD(FORMAT, ACCESS(LD)->format = RDU_FMT_U64 + 1, &ACCESS(LD)->format);
	BAD(FORMAT, ACCESS(RD)->format = RDU_FMT_BF16, &ACCESS(RD)->format);
	BAD(FORMAT, ACCESS(WR)->pack = 4, &ACCESS(WR)->pack);
	BAD(FORMAT, ACCESS(WR)->format = RDU_FMT_I8, &ACCESS(WR)->format);
	BAD(FORMAT, (ACCESS(WR)->format = RDU_FMT_I16, ACCESS(WR)->pack = RDU_PACK_VEC),
	    &ACCESS(WR)->format);
	BAD(FORMAT,
	    (ACCESS(WR)->format = RDU_FMT_U8, ACCESS(WR)->pack = RDU_PACK_LANE,
	     ACCESS(WR)->lanes = 6),
	    &ACCESS(WR)->lanes);
	GOOD((ACCESS(WR)->format = RDU_FMT_U8, ACCESS(WR)->pack = RDU_PACK_LANE));
	GOOD((ACCESS(WR)->format = RDU_FMT_I8, ACCESS(WR)->pack = RDU_PACK_VEC));
	BAD(FORMAT, ACCESS(RD)->pack = RDU_PACK_LOW, &ACCESS(RD)->pack);
	BAD(FORMAT, ACCESS(LD)->lanes = chip.lanes + 1, &ACCESS(LD)->lanes);
	BAD(FORMAT, ACCESS(LD)->flags = RDU_ACCESS_ADD, &ACCESS(LD)->flags);
	BAD(FORMAT, ACCESS(LD)->flags = RDU_ACCESS_ONE_INDEX, &ACCESS(LD)->flags);
	BAD(RESERVED, ACCESS(LD)->flags = 8, &ACCESS(LD)->flags);
	BAD(RESERVED, ACCESS(LD)->copy_start = 1, &ACCESS(LD)->flip_mask);
	BAD(TOO_LARGE, ACCESS(LD)->num_preds = 5, &ACCESS(LD)->num_preds);
	BAD(PORT, ACCESS(LD)->flags = RDU_ACCESS_GATHER, &g->prog[LD].num_in);
	BAD(SEGMENT, ACCESS(LD)->target = 3, &ACCESS(LD)->target);
	BAD(BUFFER, ACCESS(RD)->target = 4, &ACCESS(RD)->target);
	BAD(BUFFER, ACCESS(RD)->target = 1, &ACCESS(RD)->target);
	BAD(BUFFER, ACCESS(RD)->copy_start = 2, &ACCESS(RD)->copy_start);
	BAD(ADDRESS, ACCESS(RD)->stride[1]++, &ACCESS(RD)->base);
	BAD(ADDRESS, ACCESS(RD)->base = -1, &ACCESS(RD)->base);
	BAD(ADDRESS, ACCESS(LD)->stride[0] = INT64_MAX, &ACCESS(LD)->base);
	BAD(ADDRESS, ACCESS(LD)->index_stride = INT64_MIN, &ACCESS(LD)->index_stride);
	BAD(MASK, ACCESS(RD)->flip_mask = 2, &ACCESS(RD)->flip_mask);
}

static void test_graph(void)
{
	BAD(NO_STREAM, g->prog[PCU].in[0].stream = RDU_NO_STREAM, &g->prog[PCU].in[0]);
	BAD(NO_PRODUCER, g->stream[1].program = 100, &g->stream[1].program);
	BAD(NO_PRODUCER, g->stream[1].port = 1, &g->stream[1].program);
	BAD(NO_PRODUCER, g->prog[RD].out[0].stream = 0, &g->stream[1].program);
	BAD(NO_CONSUMER, g->stream[1].num_dests = 0, &g->stream[1].first_dest);
	BAD(NO_CONSUMER, g->stream[1].first_dest = 0xffffffff, &g->stream[1].first_dest);
	BAD(NO_CONSUMER, g->dest[1].program = 100, &g->dest[1]);
	BAD(RESERVED, g->stream[1].zero = 1, &g->stream[1].zero);
	BAD(UNSUPPORTED, g->stream[1].net = RDU_NET_SCALAR, &g->stream[1].net);
	BAD(RATE, g->prog[PCU].out[0].mask = 2, &g->stream[2]);
	BAD(ACTIVATIONS, g->prog[ST].counter[0].limit = 2, &g->prog[ST]);
	BAD(ROUTE, g->link[0].sw = 100000, &g->link[0]);
	BAD(ROUTE, g->link[0].dir = 4, &g->link[0]);
	BAD(ROUTE, g->link[g->stream[1].first_link].sw += 40, &g->link[g->stream[1].first_link]);
	BAD(ROUTE, g->stream[1].num_links = 0, &g->dest[g->stream[1].first_dest]);
	BAD(ROUTE, g->stream[1].first_link = 0xffffffff, &g->stream[1].first_link);
	BAD(BUFFER, g->buffer[3].base--, &g->buffer[3]);
	BAD(BUFFER, g->buffer[0].copies = 17, &g->buffer[0]);
	BAD(BUFFER, g->buffer[0].base = chip.pmu_bytes / 4, &g->buffer[0]);
	BAD(UNIT, g->buffer[3].unit = 1000, &g->buffer[3]);
	BAD(TOKEN, g->token[0].src = 100, &g->token[0]);
	BAD(MASK, g->token[0].src_mask = 2, &g->token[0].src_mask);
	BAD(RACE, g->token[0].src = RC, ACCESS(RD));
	BAD(RACE, ACCESS(RD)->copy_start = 1, ACCESS(RD));
	BAD(RACE, g->token[1].initial = 3, ACCESS(RD));
}

/* Several things must be wrong at once for these. */
static void test_more(void)
{
	struct rdu_cfg_diag d;
	struct good g;
	struct cfgb *b;
	int L = chip.lanes;
	uint32_t p, q;

	/* An array register that is there, but whose program wants in[0] too. */
	make(&g);
	g.prog[PCU].in[0].stream = g.prog[ST].in[0].stream;
	ok(validate(&g, &d) && d.error == RDU_CFG_E_NO_CONSUMER, "NO_CONSUMER: %s", d.text);
	free(g.data);

	make(&g);
	g.stream[0].num_dests = 0;
	ok(validate(&g, &d) && d.error == RDU_CFG_E_NO_CONSUMER, "NO_CONSUMER: %s", d.text);
	free(g.data);
	make(&g);
	g.h->streams.count = 5;
	ok(validate(&g, &d) && d.error == RDU_CFG_E_NO_STREAM, "NO_STREAM: %s", d.text);
	free(g.data);

	/* Two PCUs that feed each other. */
	b = cfgb_new(&chip, 1);
	for (int i = 0; i < 2; i++) {
		p = cfgb_program(b, RDU_KIND_SIMD, 0, i);
		cfgb_loop(b, p, 4);
		cfgb_stage(b, p, RDU_SIMD_MOV, 0, cfgb_in(0), cfgb_none(), cfgb_none());
	}
	cfgb_connect(b, 0, 0, 1, 0);
	cfgb_connect(b, 1, 0, 0, 0);
	g.data = cfgb_finish(b, &g.size);
	ok(validate(&g, &d) && d.error == RDU_CFG_E_CYCLE, "CYCLE: %s", d.text);
	free(g.data);

	/* Tokens that never come. */
	make(&g);
	g.token[1].initial = 1;
	g.token[0].initial = 1;
	((struct rdu_cfg_access *)body(&g, RD))->copy_start = 1;
	ok(!validate(&g, &d), "a reader one copy behind: %s", d.text);
	g.token[0].initial = 0;
	g.token[1].initial = 0;
	g.buffer[0].copies = 1;
	((struct rdu_cfg_access *)body(&g, RD))->copy_start = 0;
	ok(validate(&g, &d) && d.error == RDU_CFG_E_RACE, "RACE: %s", d.text);
	free(g.data);
	b = cfgb_new(&chip, 1);
	for (int i = 0; i < 2; i++) {
		struct rdu_cfg_access a = { .target = i, .lanes = L, .lane_stride = 1 };

		p = cfgb_program(b, RDU_KIND_LOAD, 0, i);
		q = cfgb_program(b, RDU_KIND_STORE, 0, i);
		cfgb_outer(b, p, 5);
		cfgb_outer(b, q, 5);
		cfgb_access(b, p, &a, NULL);
		cfgb_access(b, q, &a, NULL);
		cfgb_connect(b, p, 0, q, 0);
	}
	b->num_segments = 2;
	cfgb_token(b, 1, 2, 1, 0, 3); /* one token a section, five wanted, three there */
	g.data = cfgb_finish(b, &g.size);
	ok(validate(&g, &d) && d.error == RDU_CFG_E_DEADLOCK, "DEADLOCK: %s", d.text);
	free(g.data);

	/* More streams between two switches than there are wires. */
	b = cfgb_new(&chip, 1);
	for (uint32_t i = 0; i <= chip.vec_links; i++) {
		struct rdu_cfg_access a = { .lanes = L, .lane_stride = 1 };

		p = cfgb_program(b, RDU_KIND_LOAD, 0, 0);
		q = cfgb_program(b, RDU_KIND_STORE, 0, 1);
		cfgb_loop(b, p, 1);
		cfgb_loop(b, q, 1);
		cfgb_access(b, p, &a, NULL);
		cfgb_access(b, q, &a, NULL);
		cfgb_connect(b, p, 0, q, 0);
	}
	b->num_segments = 1;
	g.data = cfgb_finish(b, &g.size);
	ok(validate(&g, &d) && d.error == RDU_CFG_E_WIRES, "WIRES: %s", d.text);
	free(g.data);
}

/* Whatever is refused or accepted, nothing breaks; what is accepted runs. */
static void test_noise(void)
{
	struct rdu_cfg_diag d;
	struct rig r;
	struct good g;
	uint32_t accepted = 0, rounds = 6000;
	static uint32_t mem[3][4096];
	_Atomic bool stop = false;

	rig_init(&r, "sn10");
	for (int i = 0; i < 3; i++)
		rig_segment(&r, i, mem[i], sizeof(mem[i]));
	make(&g);
	for (size_t n = 0; n < g.size; n += 1 + n / 64) {
		size_t size = g.size;

		g.size = n;
		if (!validate(&g, &d))
			accepted++;
		g.size = size;
	}
	ok(!accepted, "truncations are refused");
	for (uint32_t i = 0; i < rounds; i++) {
		unsigned char *keep = malloc(g.size);
		int flips = 1 + rnd() % 3;
		struct rdu_section *s;

		memcpy(keep, g.data, g.size);
		while (flips--)
			g.data[rnd() % g.size] ^= 1 << (rnd() & 7);
		s = rdu_section_new(g.data, g.size, &r.chip, 0, &d);
		if (s) {
			struct fab_run run = { .segments = r.seg,
					       .scalars = r.scalars,
					       .scratch = r.scratch,
					       .stop = &stop,
					       .deadline_ns = 1 };

			/* Short ones are run; the deadline ends the others. */
			accepted++;
			if (((struct rdu_cfg_header *)g.data)->num_segments <= 3 &&
			    ((struct rdu_cfg_header *)g.data)->num_scalars <= RDU_MAX_SCALARS) {
				rig_scratch(&r, g.data);
				rdu_section_execute(s, &run, &r.fault);
			}
			rdu_section_free(s);
		}
		memcpy(g.data, keep, g.size);
		free(keep);
	}
	ok(accepted > 0 && accepted < rounds,
	   "flipped bits: %u of %u images accepted, none harmful", accepted, rounds);
	free(g.data);
	rig_free(&r);
}

static void test_program(void)
{
	struct rdu_cfg_diag d;
	struct good g;
	uint64_t sizes[3] = { 4096 * 4, 4096 * 4, 4096 * 4 };
	struct rdu_prog_header *h;
	struct rdu_prog_section *sec;
	struct rdu_prog_segment *seg;
	struct rdu_prog_step *step;
	struct rdu_prog_entry *entry;
	unsigned char *image, *keep;
	size_t size;

	make(&g);
	image = cfgb_program_image(g.data, g.size, sizes, &size);
	keep = malloc(size);
	memcpy(keep, image, size);
	h = (void *)image;
	sec = (void *)(image + h->sections_off);
	seg = (void *)(image + h->segments_off);
	entry = (void *)(image + h->entries_off);
	step = (void *)(image + h->steps_off);
#define PROG(code, change)                                                                         \
	do {                                                                                       \
		change;                                                                            \
		ok(rdu_program_validate(image, size, &chip, 0, &d) && d.error == RDU_CFG_E_##code, \
		   "program " #code ": " #change " (%s)", d.text);                                 \
		memcpy(image, keep, size);                                                         \
	} while (0)
	ok(!rdu_program_validate(image, size, &chip, 0, &d), "a good program (%s)", d.text);
	PROG(MAGIC, h->magic++);
	PROG(VERSION, h->version++);
	PROG(CHIP, h->chip_hash++);
	PROG(TRUNCATED, h->size++);
	PROG(TRUNCATED, h->num_steps += 100000 - 40000);
	PROG(TOO_LARGE, h->num_steps = RDU_MAX_STEPS + 1);
	PROG(ALIGN, h->steps_off++);
	PROG(RESERVED, h->zero = 1);
	PROG(UNIT, h->num_tiles = 100);
	PROG(NAME, memset(sec->name, 'x', sizeof(sec->name)));
	PROG(NAME, memset(entry->name, 'x', sizeof(entry->name)));
	PROG(ALIGN, sec->offset++);
	PROG(TRUNCATED, sec->size += 64);
	PROG(SEGMENT, sec->num_segments = 2);
	PROG(SEGMENT, sec->first_segment = 0xffffffff);
	PROG(REGION, seg[1].region = 3);
	PROG(REGION, seg[1].offset = 8);
	PROG(REGION, seg[1].size = ~0ull);
	PROG(REGION, seg[1].access = 4);
	PROG(SCHEDULE, step->arg = 1);
	PROG(SCHEDULE, step->kind = 4);
	PROG(KEEP, step->kind = RDU_STEP_KEEP);
	PROG(SCHEDULE, step->kind = RDU_STEP_LOOP);
	PROG(SCHEDULE, step->kind = RDU_STEP_END);
	PROG(SCHEDULE, entry->num_steps = 2);
	PROG(SCALAR, h->num_scalars = 1);
	PROG(OPCODE,
	     ((unsigned char *)image)[sec->offset + g.h->bodies.offset + g.prog[PCU].body + 8] =
		     250);
	ok(d.section == 0, "the section at fault is named");
	for (int i = 0; i < 3000; i++) {
		int flips = 1 + rnd() % 3;

		while (flips--)
			image[rnd() % size] ^= 1 << (rnd() & 7);
		rdu_program_validate(image, size, &chip, 0, &d);
		memcpy(image, keep, size);
	}
	ok(true, "flipped bits in a program");
	free(keep);
	free(image);
	free(g.data);
}

/* Changing one thing of a good image changes what comes out, or is refused. */
static void test_matters(void)
{
	static uint32_t in[2048], out[4096], first[4096];
	struct rig r;
	struct good g;

	rig_init(&r, "sn10");
	for (int i = 0; i < 2048; i++)
		in[i] = rdu_u(rndf());
	for (int t = 0; t < 5; t++) {
		struct rdu_cfg_access *rd;
		int ret;

		make(&g);
		rd = body(&g, RD);
		if (t == 1)
			((struct rdu_cfg_simd *)body(&g, PCU))->stage[0].op = RDU_SIMD_FSUB;
		if (t == 2)
			rd->stride[1]--;
		if (t == 3)
			g.link[g.stream[1].first_link].dir ^= 2;
		if (t == 4)
			((struct rdu_cfg_simd *)body(&g, PCU))->stage[1].op = RDU_SIMD_TANH;
		memset(out, 0, sizeof(out));
		rig_segment(&r, 0, in, sizeof(in));
		rig_segment(&r, 1, out, sizeof(out) / 2);
		rig_segment(&r, 2, out + 2048, sizeof(out) / 2);
		r.scalars[1] = rdu_u(0.25f);
		ret = rig_run(&r, g.data, g.size);
		if (!t)
			memcpy(first, out, sizeof(out));
		ok(t ? ret == 1 || memcmp(first, out, sizeof(out)) : ret == 0,
		   t ? "change %d matters" : "the good image runs (%d)", t);
		free(g.data);
	}
	rig_free(&r);
}

int main(void)
{
	struct rdu_cfg_diag d;
	struct good g;
	char error[100];

	if (rdu_chip_find("sn10", &chip, error, sizeof(error)))
		return 1;
	make(&g);
	ok(!validate(&g, &d), "a good image (%s)", d.text);
	free(g.data);
	test_header();
	test_programs();
	test_bodies();
	test_graph();
	test_more();
	test_program();
	test_matters();
	test_noise();
	return tap_done();
}
