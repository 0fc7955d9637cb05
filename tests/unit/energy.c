// SPDX-License-Identifier: MIT
/* Modelled energy: what is published, and small sections worked out by hand (Documentation/energy.md). */
#include <math.h>
#include "card_program.h"
#include "cfgbuild.h"
#include "fabric.h"

static struct rdu_chip chip; /* sn10: 32 lanes, 8 columns, 7 nm, DDR4 */
static const struct rdu_cfg_pred no_pred;

static void near(double got, double want, const char *what)
{
	if (!ok(fabs(got - want) <= 1e-9 * fabs(want), "%s", what))
		printf("# got %.12g, want %.12g\n", got, want);
}

static struct rdu_energy energy_of(struct cfgb *b)
{
	struct rdu_cfg_diag diag;
	struct rdu_energy e = { 0 };
	size_t size;
	void *image = cfgb_finish(b, &size);
	struct rdu_section *s = rdu_section_new(image, size, &chip, 0, &diag);

	if (ok(s != NULL, "a section: %s", s ? "" : diag.text))
		e = rdu_section_time(s, NULL, NULL, NULL)->energy;
	rdu_section_free(s);
	free(image);
	return e;
}

static void events(void)
{
	struct rdu_chip c = chip;
	struct rdu_events e, other;

	ok(rdu_chip_events(&chip, &e), "sn10's process is known");
	near(e.fadd, 380, "fp32 add at 7 nm");
	near(e.fmul, 1310, "fp32 product");
	near(e.mac_bf16, 210 + 380, "bf16");
	near(e.mac_int8, 70 + 30, "int8");
	near(e.mac_ternary, 30, "ternary");
	near(e.sram_word, sqrt(7500 * 8500) / 2, "half an access of 16 KiB, between 8 and 32");
	near(e.dram_byte, 1300e3 / 8, "DDR4");
	c.dram_burst = 32;
	c.dram_row = 1024;
	rdu_chip_events(&c, &other);
	near(other.dram_byte, 350e3 / 8, "HBM2's devices, whatever their speed");
	c.dram_burst = 16;
	rdu_chip_events(&c, &other);
	near(other.dram_byte, 1300e3 / 8, "memory of no family counts as DDR");
	c.process_nm = 45;
	c.pmu_bytes = chip.pmu_banks << 15;
	rdu_chip_events(&c, &other);
	near(other.fmul, 3700, "fp32 product at 45 nm");
	near(other.sram_word, 10000, "an access of 32 KiB at 45 nm");
	c.process_nm = 20;
	rdu_chip_events(&c, &other);
	ok(other.fmul > e.fmul && other.fmul < 3700, "a process between the two");
	c.process_nm = 0;
	ok(!rdu_chip_events(&c, &other) && !other.fadd && !other.dram_byte && !other.tile_idle,
	   "a process that is not known: nothing is");
	ok(!rdu_chip_find("plasticine", &c, (char[200]){ 0 }, 200) && rdu_chip_events(&c, &other),
	   "plasticine's is");
	near(other.tile_idle, 7.17e6, "its tile, by table 7");
	near(other.hop_word,
	     32 * (7235.0 / 512 + 0.94 * 200e3 / 2560 * pow(310.0 / 200, log(2.8) / log(4))),
	     "a word through one of its switches, and a pitch of wire");
}

/* n vectors loaded, `op`, stored by an AGCU `rows` away. */
static struct rdu_energy stream(int n, enum rdu_simd_op op, uint32_t rows)
{
	struct cfgb *b = cfgb_new(&chip, 1);
	uint32_t p[3];

	b->num_segments = 2;
	p[0] = cfgb_program(b, RDU_KIND_LOAD, 0, 0);
	p[1] = cfgb_program(b, RDU_KIND_SIMD, 0, 0);
	p[2] = cfgb_program(b, RDU_KIND_STORE, 0, 2 * rows);
	for (int i = 0; i < 3; i++)
		cfgb_loop(b, p[i], n);
	for (uint32_t i = 0; i < 2; i++)
		cfgb_access(b, p[2 * i],
			    &(struct rdu_cfg_access){ .target = i,
						      .lanes = chip.lanes,
						      .lane_stride = 1,
						      .stride = { chip.lanes } },
			    &no_pred);
	cfgb_stage(b, p[1], op, 0, cfgb_in(0), cfgb_immf(2), cfgb_none());
	cfgb_connect(b, p[0], 0, p[1], 0);
	cfgb_connect(b, p[1], 0, p[2], 0);
	return energy_of(b);
}

static void streams(void)
{
	struct rdu_energy e = stream(100, RDU_SIMD_FADD, 1), other;
	struct rdu_events v;

	rdu_chip_events(&chip, &v);
	near(e.compute, 100 * 32 * 380e-15, "100 vectors: their additions");
	near(e.memory, 2 * 100 * 32 * 4 * 162500e-15, "... read and written");
	/* LOAD and PCU share a switch; the STORE's is the next one. */
	near(e.network, 100 * 32 * (1 + 2) * v.hop_word * 1e-15, "... through three switches");
	ok(!e.scratchpad && !e.idle, "... and no scratchpad; what idles is the program's");
	other = stream(100, RDU_SIMD_FMUL, 1);
	near(other.compute, 100 * 32 * 1310e-15, "products instead");
	near(rdu_energy_joules(&other) - rdu_energy_joules(&e), 100 * 32 * 930e-15,
	     "... and nothing else changes");
	other = stream(100, RDU_SIMD_FADD, 4);
	near(other.network - e.network, 100 * 32 * 3 * v.hop_word * 1e-15,
	     "three switches farther");
	other = stream(50, RDU_SIMD_FADD, 1);
	near(2 * rdu_energy_joules(&other), rdu_energy_joules(&e), "half of it");
}

/* An array over `words` of each contraction, 8 results of 32 lanes, from and to scratchpads. */
static struct rdu_energy contraction(int words, enum rdu_systolic_mode mode)
{
	struct cfgb *b = cfgb_new(&chip, 1);
	uint32_t in[2], a, w;
	int each = mode == RDU_SYS_TERNARY ? 4 : 1; /* steps that a word of weights lasts */

	in[0] = cfgb_program(b, RDU_KIND_READ, 0, 0);
	in[1] = cfgb_program(b, RDU_KIND_READ, 0, 1);
	a = cfgb_program(b, RDU_KIND_SYSTOLIC, 0, 0);
	w = cfgb_program(b, RDU_KIND_WRITE, 0, 2);
	for (uint32_t i = 0; i < 2; i++) {
		cfgb_buffer(b, 0, i, 1, 0, (uint32_t)words * chip.lanes);
		cfgb_loop(b, in[i], words / each);
		cfgb_loop(b, in[i], each);
		cfgb_access(b, in[i],
			    &(struct rdu_cfg_access){ .target = i,
						      .lanes = i ? 8 : chip.lanes,
						      .lane_stride = 1,
						      .stride = { chip.lanes } },
			    &no_pred);
	}
	cfgb_buffer(b, 0, 2, 1, 0, 8 * chip.lanes);
	cfgb_loop(b, a, words / each);
	cfgb_loop(b, a, each);
	cfgb_systolic(b, a, &(struct rdu_cfg_systolic){ .mode = mode, .cols = 8, .k_mask = 3 });
	cfgb_loop(b, w, 8);
	cfgb_access(b, w,
		    &(struct rdu_cfg_access){ .target = 2,
					      .lanes = chip.lanes,
					      .lane_stride = 1,
					      .stride = { chip.lanes } },
		    &no_pred);
	cfgb_connect(b, in[0], 0, a, 0);
	cfgb_connect(b, in[1], 0, a, 1);
	cfgb_connect(b, a, 0, w, 0);
	cfgb_out_port(b, a, 0, 3, 0, 8);
	return energy_of(b);
}

static void contractions(void)
{
	struct rdu_energy bf16 = contraction(64, RDU_SYS_BF16),
			  int8 = contraction(32, RDU_SYS_INT8), ternary;
	double macs = 64 * 2 * 32 * 8, word = sqrt(7500 * 8500) / 2 * 1e-15;

	near(bf16.compute, macs * 590e-15, "bf16: two products a word");
	near(bf16.scratchpad, (64 * (32 + 8) + 8 * 32) * word, "... its words read, and written");
	near(int8.compute, macs * 100e-15, "int8: as many products, of half the words");
	near(int8.scratchpad, (32 * (32 + 8) + 8 * 32) * word, "... which are read");
	ok(rdu_energy_joules(&int8) < rdu_energy_joules(&bf16), "int8 takes less than bf16");
	ternary = contraction(32, RDU_SYS_TERNARY);
	near(ternary.compute, macs * 30e-15, "ternary: adds alone");
	ok(rdu_energy_joules(&ternary) < rdu_energy_joules(&int8), "... and less than int8");
}

/* What the card counts in a run is what its sections, its loads and its tile took. */
static void counted(void)
{
	struct bed *b = bed_new("sn10", 1, false);
	const struct rdu_stats *st = (void *)(b->mem + 9 * MB);
	struct rdu_energy e;
	struct rdu_events v;
	size_t size;
	void *section;
	struct rdu_section *s;
	struct rdu_cfg_diag diag;
	double want;

	root = bed_root(b);
	bed_map(b, root, VA, 0, 64 * MB, RDU_PTE_WRITE, 1);
	bed_enable(b, 0, 0, 0, 0);
	bed_enable(b, 1, root, 0, 1);
	section = scale(3, 1, 1, &size);
	s = rdu_section_new(section, size, &chip, 0, &diag);
	e = rdu_section_time(s, NULL, NULL, NULL)->energy;
	rdu_section_free(s);
	is(load(b, 0, section, size, 0), 0, "a program");
	args(b, 8 * MB, 2, VA + MB, VA + 2 * MB, BYTES);
	ok(bed_do(b, 1, run(0, VA + 8 * MB, true, false)), "... runs");
	rdu_chip_events(&chip, &v);
	want = rdu_energy_joules(&e) + (double)size * v.dram_byte * 1e-15 +
	       v.tile_idle * 1e-6 * (double)(st->end_cycle - st->start_cycle) / 1e9;
	if (!ok(fabs((double)st->energy - want * 1e12) <= 3, "the card counts as much"))
		printf("# %llu pJ, want %.3f\n", (unsigned long long)st->energy, want * 1e12);
	bed_free(b);
}

int main(void)
{
	char error[200];

	if (rdu_chip_find("sn10", &chip, error, sizeof(error)))
		return 1;
	events();
	streams();
	contractions();
	counted();
	return tap_done();
}
