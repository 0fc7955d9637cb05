// SPDX-License-Identifier: MIT
/*
 * Modelled energy: what each thing that a section does takes, of a chip of a given process,
 * and how often its configuration does it (Documentation/energy.md). Like the time it depends
 * on no data: lanes for which a predicate does not hold count as any.
 */
#include <math.h>
#include "timing_priv.h"

/* ---- what a thing takes ------------------------------------------------------------ */

/* What is published of two processes, in femtojoules; others lie on the power law between. */
struct published {
	double nm, fj, other_nm, other_fj;
};

/* Horowitz, ISSCC 2014 (45 nm); Jouppi et al., ISCA 2021, table 2 (7 nm). bf16's product is
 * given for 7 nm alone: it is taken to follow that of fp16, 1,100 and 340. */
static const struct published fp32_add = { 7, 380, 45, 900 }, fp32_mul = { 7, 1310, 45, 3700 },
			      int32_add = { 7, 30, 45, 100 }, int32_mul = { 7, 1480, 45, 3100 },
			      int8_mul = { 7, 70, 45, 200 },
			      bf16_mul = { 7, 210, 45, 210 * 1100.0 / 340 };

/* 64 bits of SRAM, by the bytes that answer (the same tables). */
static const struct {
	double bytes;
	struct published access;
} sram[] = {
	{ 8 << 10, { 7, 7500, 45, 10000 } },
	{ 32 << 10, { 7, 8500, 45, 20000 } },
	{ 1 << 20, { 7, 14000, 45, 100000 } },
};

/* A bit over a millimetre of wire, of 256 bits over 10 mm: Keckler et al., IEEE Micro 31(5),
 * 2011, table 1: 310 pJ at 40 nm, 200 at 10. */
static const struct published wire_mm = { 10, 200e3 / 2560, 40, 310e3 / 2560 };

/* Plasticine, whose network and powers are published (28 nm, 16 lanes). */
#define PLASTICINE_NM 28
#define PLASTICINE_LANES 16
/* 112.8 mm2, 128 units (Prabhakar et al., ISCA 2017, table 5): from one to the next. */
#define PLASTICINE_PITCH_MM 0.94
/* 512 bits through a switch of four links and back pressure: the data of Zhang et al., ISCA 2019. */
#define PLASTICINE_SWITCH_FJ (7235.0 / 512)
/* What table 7's powers leave where no unit is used, over 64 pairs of PCU and PMU. */
#define PLASTICINE_IDLE_UW (7.17e6 / 64)

static double at(double nm, const struct published *p)
{
	return p->fj * pow(p->other_fj / p->fj, log(nm / p->nm) / log(p->other_nm / p->nm));
}

/* 64 bits of an SRAM; sizes beyond those that are published count as the nearest. */
static double sram_access(double nm, double bytes)
{
	const size_t last = sizeof(sram) / sizeof(sram[0]) - 1;
	size_t i = 1;
	double low, high;

	if (bytes <= sram[0].bytes || bytes >= sram[last].bytes)
		return at(nm, &sram[bytes <= sram[0].bytes ? 0 : last].access);
	while (bytes > sram[i].bytes)
		i++;
	low = at(nm, &sram[i - 1].access);
	high = at(nm, &sram[i].access);
	return low * pow(high / low,
			 log(bytes / sram[i - 1].bytes) / log(sram[i].bytes / sram[i - 1].bytes));
}

/* Arithmetic, against that of Plasticine's process. */
static double against_plasticine(double nm)
{
	return (at(nm, &fp32_add) + at(nm, &fp32_mul)) /
	       (at(PLASTICINE_NM, &fp32_add) + at(PLASTICINE_NM, &fp32_mul));
}

bool rdu_chip_events(const struct rdu_chip *chip, struct rdu_events *e)
{
	double nm = chip->process_nm, wider = (double)chip->lanes / PLASTICINE_LANES, hop;

	*e = (struct rdu_events){ 0 };
	if (!chip->process_nm)
		return false;
	/* A unit's area grows with its lanes, and shrinks with the process. */
	hop = PLASTICINE_SWITCH_FJ * against_plasticine(nm) +
	      PLASTICINE_PITCH_MM * sqrt(wider * nm / PLASTICINE_NM) * at(nm, &wire_mm);
	e->fadd = at(nm, &fp32_add);
	e->fmul = at(nm, &fp32_mul);
	e->iadd = at(nm, &int32_add);
	e->imul = at(nm, &int32_mul);
	e->mac_bf16 = at(nm, &bf16_mul) + e->fadd;
	e->mac_int8 = at(nm, &int8_mul) + e->iadd;
	e->mac_ternary = e->iadd;
	e->sram_word = sram_access(nm, (double)chip->pmu_bytes / chip->pmu_banks) / 2;
	e->hop_word = 32 * hop;
	e->dram_byte = rdu_chip_dram_fj(chip);
	e->tile_idle =
		PLASTICINE_IDLE_UW * wider * against_plasticine(nm) * rdu_chip_pcus_per_tile(chip);
	return true;
}

/* ---- how often ------------------------------------------------------------------- */

static double op_energy(const struct rdu_events *e, unsigned int op)
{
	switch (op) {
	case RDU_SIMD_FADD:
	case RDU_SIMD_FSUB:
	case RDU_SIMD_FMAX:
	case RDU_SIMD_FMIN:
	case RDU_SIMD_RED_FADD:
	case RDU_SIMD_RED_FMAX:
	case RDU_SIMD_RED_FMIN:
	case RDU_SIMD_F2I:
	case RDU_SIMD_I2F:
	case RDU_SIMD_FLOOR:
	case RDU_SIMD_CEIL:
	case RDU_SIMD_ROUND:
		return e->fadd;
	case RDU_SIMD_FMUL:
		return e->fmul;
	case RDU_SIMD_FMA:
		return e->fmul + e->fadd;
	case RDU_SIMD_IMUL:
	case RDU_SIMD_IMULH:
		return e->imul;
	case RDU_SIMD_RNG:
		return 2 * e->imul;
	}
	if (op >= RDU_SIMD_EXP && op <= RDU_SIMD_COS)
		return 2 * (e->fmul + e->fadd);
	return e->iadd;
}

/* A vector through these stages. */
static double stages_energy(const struct rdu_chip *chip, const struct rdu_events *e,
			    const struct rdu_cfg_stage *st, unsigned int n)
{
	double fj = 0;

	for (unsigned int i = 0; i < n; i++)
		fj += op_energy(e, st[i].op);
	return fj * chip->lanes;
}

static double mac_energy(const struct rdu_events *e, unsigned int mode)
{
	return mode == RDU_SYS_BF16   ? e->mac_bf16
	       : mode == RDU_SYS_INT8 ? e->mac_int8
				      : e->mac_ternary;
}

/* One activation of a PCU's program. */
static double pcu_energy(const struct rdu_section *s, const struct rdu_events *e,
			 const struct rdu_unit_prog *p, const struct rdu_prog_cost *c)
{
	const struct rdu_cfg_simd *simd = p->body;
	const struct rdu_cfg_systolic *array = p->body;

	if (p->cfg->kind == RDU_KIND_SIMD)
		return (double)p->iterations *
		       stages_energy(&s->chip, e, simd->stage, simd->num_stages + simd->num_tail);
	return (double)c->macs * mac_energy(e, array->mode) +
	       (double)p->drains * array->cols *
		       stages_energy(&s->chip, e, array->tail, array->num_tail);
}

/* Words that a scratchpad reads or writes in one activation; what adds does both. */
static double pmu_words(const struct rdu_unit_prog *p)
{
	const struct rdu_cfg_access *a = p->body;
	double words = (double)p->iterations * a->lanes;

	if (p->cfg->kind == RDU_KIND_WRITE)
		words /= rdu_pack_vectors(a);
	return a->flags & RDU_ACCESS_ADD ? 2 * words : words;
}

void rdu_section_energy(const struct rdu_section *s, const struct rdu_costs *c,
			struct rdu_energy *energy)
{
	const double joule = 1e-15, lanes = s->chip.lanes;
	struct rdu_events e;

	*energy = (struct rdu_energy){ 0 };
	if (!rdu_chip_events(&s->chip, &e))
		return;
	for (uint32_t i = 0; i < s->hdr->programs.count; i++) {
		const struct rdu_unit_prog *p = &s->progs[i];
		double times = joule * (double)p->activations;

		if (p->cfg->kind < RDU_KIND_READ)
			energy->compute += times * pcu_energy(s, &e, p, &c->prog[i]);
		else if (p->cfg->kind < RDU_KIND_LOAD)
			energy->scratchpad += times * pmu_words(p) * e.sram_word;
		else
			energy->memory += joule * (double)c->prog[i].all_bytes * e.dram_byte;
	}
	for (uint32_t i = 0; i < s->hdr->streams.count; i++) {
		const struct rdu_cfg_stream *st = &s->streams[i];
		const struct rdu_unit_prog *p = &s->progs[st->program];

		energy->network += joule * (double)p->pushes[st->port] * (double)p->activations *
				   (st->num_links + 1.0) * lanes * e.hop_word;
	}
}

struct rdu_energy rdu_load_energy(const struct rdu_chip *chip, uint64_t image_bytes)
{
	struct rdu_events e;

	rdu_chip_events(chip, &e);
	return (struct rdu_energy){ .memory = 1e-15 * (double)image_bytes * e.dram_byte };
}

double rdu_idle_energy(const struct rdu_chip *chip, uint32_t tiles, uint64_t cycles)
{
	struct rdu_events e;

	rdu_chip_events(chip, &e);
	return 1e-6 * e.tile_idle * tiles * (double)cycles / (chip->clock_khz * 1e3);
}

void rdu_energy_add(struct rdu_energy *to, const struct rdu_energy *from, uint64_t times)
{
#define PART_ADD(part, text) to->part += (double)times * from->part;
	RDU_ENERGY_PARTS(PART_ADD)
#undef PART_ADD
}

double rdu_energy_joules(const struct rdu_energy *e)
{
	double sum = 0;

#define PART_SUM(part, text) sum += e->part;
	RDU_ENERGY_PARTS(PART_SUM)
#undef PART_SUM
	return sum;
}
