// SPDX-License-Identifier: MIT
/*
 * What each section uses, how long it is expected to take by the card's own
 * timing model, and what bounds it.
 */
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "mem.h"

const char *be_bound_text(int bound)
{
	switch (bound) {
	case RDU_BOUND_COMPUTE:
		return "compute";
	case RDU_BOUND_PORT:
		return "ports";
	case RDU_BOUND_BANK:
		return "banks";
	case RDU_BOUND_DRAM:
		return "off-chip";
	case RDU_BOUND_HOST:
		return "host link";
	case RDU_BOUND_TOKEN:
		return "tokens";
	}
	return "start-up";
}

static const char *star(const struct backend *be, int field)
{
	return be->chip.assumed >> field & 1 ? "*" : "";
}

static void print_chip(const struct backend *be, FILE *f)
{
	static const char *const unit[] = {
#define FIELD_UNIT(i, f, u, d) [i] = u,
		RDU_CHIP_FIELDS(FIELD_UNIT)
#undef FIELD_UNIT
	};

	fprintf(f, "model %s\n", be->opt->model ? be->opt->model : be->m->name);
	fprintf(f, "chip %s: %u tiles of %u PCUs and %u PMUs, used %d; -O%d\n", be->chip.name,
		be->chip.tiles, rdu_chip_pcus_per_tile(&be->chip),
		rdu_chip_pmus_per_tile(&be->chip), be->tiles, be->level);
	fprintf(f,
		"peak %.1f TFLOPS bf16%s (systolic), %.1f TFLOPS fp32%s (SIMD); off-chip %.1f "
		"GB/s%s\n",
		rdu_chip_peak_bf16_flops(&be->chip) / 1e12, star(be, 10),
		rdu_chip_peak_fp32_flops(&be->chip) / 1e12, star(be, 5),
		be->chip.dram_mbps / 1000.0, star(be, 21));
	if (!be->chip.assumed)
		return;
	fprintf(f, "assumed, not published (*):");
#define FIELD_ASSUMED(i, field, u, d)  \
	if (be->chip.assumed >> (i)&1) \
		fprintf(f, " %s %u%s%s", #field, be->chip.field, *unit[i] ? " " : "", unit[i]);
	RDU_CHIP_FIELDS(FIELD_ASSUMED)
#undef FIELD_ASSUMED
	fprintf(f, "\n");
}

static void print_kind(FILE *f, const struct uimage *im, int prog)
{
	static const char *const kind[] = {
#define KIND_NAME(n, v, u, d) [v] = #n,
		RDU_KINDS(KIND_NAME)
#undef KIND_NAME
	};

	if (prog >= 0 && prog < im->num_progs)
		fprintf(f, " (%s)", kind[im->who[prog].kind]);
	fprintf(f, "\n");
}

static void print_section(const struct backend *be, FILE *f, const struct uimage *im, bool kept)
{
	double seconds = (double)im->cycles / (be->chip.clock_khz * 1000.0);
	char use[16] = "-";

	if (im->systolic && im->macs)
		snprintf(use, sizeof(use), "%.1f",
			 100.0 * be_peak_share(be, be_array_macs(be, im), im->cycles));
	fprintf(f, "%c %-36.36s %4d %4d %4d %12llu %10.1f %8.2f %8s  %s", kept ? '+' : ' ',
		im->name, im->used[RDU_UNIT_PCU], im->used[RDU_UNIT_PMU], im->used[RDU_UNIT_AGCU],
		(unsigned long long)im->cycles, seconds * 1e6,
		(double)im->dram_bytes / seconds / 1e9, use, be_bound_text(im->bound));
	print_kind(f, im, im->bound_prog);
	for (int i = 0; im->num_shares > 1 && i < im->num_shares; i++) {
		const struct ushare *s = &im->share[i];

		fprintf(f, "    %-34.34s %4d %4d %4d %12llu %29s  %s", be->op[s->op].name,
			s->used[RDU_UNIT_PCU], s->used[RDU_UNIT_PMU], s->used[RDU_UNIT_AGCU],
			(unsigned long long)s->busy, "", be_bound_text(s->bound));
		print_kind(f, im, s->bound_prog);
	}
}

uint64_t be_array_macs(const struct backend *be, const struct uimage *im)
{
	return im->macs - im->wide_macs * be->chip.lanes;
}

double be_peak_share(const struct backend *be, uint64_t array_macs, uint64_t cycles)
{
	double peak = (double)be->chip.lanes * be->chip.systolic_cols *
		      rdu_chip_pcus_per_tile(&be->chip) * be->tiles * (double)cycles;

	return peak > 0 ? (double)array_macs / peak : 0;
}

static void print_run(const struct backend *be, FILE *f, const char *which, const struct be_run *r)
{
	fprintf(f,
		"  %-11s execute %llu cycles, program and argument load %llu cycles, %.2f MB "
		"off-chip: %.1f us\n",
		which, (unsigned long long)r->exec, (unsigned long long)r->load,
		(double)r->dram_bytes / 1e6,
		(double)(r->exec + r->load) / be->chip.clock_khz * 1000.0);
}

static void print_energy(FILE *f, const struct rdu_energy *e)
{
	double all = rdu_energy_joules(e);

	if (!(all > 0))
		return;
	fprintf(f, "  energy %.4g mJ (first run):", 1e3 * all);
#define PRINT_PART(part, text) fprintf(f, " %s %.1f %%", #part, 100 * e->part / all);
	RDU_ENERGY_PARTS(PRINT_PART)
#undef PRINT_PART
	fprintf(f, "\n");
}

static void print_report(const struct backend *be, FILE *f)
{
	print_chip(be, f);
	for (int e = 0; e < be->m->num_entries; e++) {
		struct be_expected x = be_expect(be, e);

		fprintf(f, "\nentry %s\n", be->entry[e].name);
		fprintf(f, "  %-36s %4s %4s %4s %12s %10s %8s %8s  %s\n", "section", "PCU", "PMU",
			"AGCU", "cycles", "us", "GB/s", "% peak", "bound by");
		for (uint32_t i = 0; i < be->entry[e].num_steps; i++) {
			const struct rdu_prog_step *s = &be->step[be->entry[e].first_step + i];

			if (s->kind == RDU_STEP_RUN || s->kind == RDU_STEP_KEEP)
				print_section(be, f, be->section[s->arg].im,
					      s->kind == RDU_STEP_KEEP);
		}
		print_run(be, f, "first run:", &x.first);
		print_run(be, f, "later runs:", &x.later);
		fprintf(f,
			"  compulsory %.2f MB off-chip; %.1f %% of peak, loads included (first "
			"run)\n",
			(double)x.compulsory_bytes / 1e6,
			100.0 * be_peak_share(be, x.first.array_macs, x.first.exec + x.first.load));
		print_energy(f, &x.first.energy);
	}
	for (int i = 0; i < be->num_notes; i++)
		fprintf(f, "%snote: %s\n", i ? "" : "\n", be->note[i]);
	fprintf(f,
		"\n%% peak: multiply-accumulates of the systolic arrays against what all arrays of "
		"the\n"
		"tiles used could do in the time. Compulsory: what is read from inputs, weights "
		"and\n"
		"states, and written to results, weights and states, each byte once. Of the nests\n"
		"that a section holds: their units (AGCU: programs), and the cycles in which the\n"
		"busiest of their stages works. A section marked + brings weights into "
		"scratchpads; a\n"
		"later run on the same tiles, with nothing else in between, leaves it out. "
		"Program and\n"
		"argument load: what they add to the time; of a load under the execution before, "
		"that is\n"
		"what shows behind it. Cycles are modelled, at %.3f GHz%s.\n",
		be->chip.clock_khz / 1e6, star(be, 11));
}

void be_summary(const struct backend *be, FILE *f)
{
	int width = 12;

	for (int e = 0; e < be->m->num_entries; e++)
		if ((int)strlen(be->entry[e].name) > width)
			width = (int)strlen(be->entry[e].name);
	fprintf(f, "%s for %s, %d tile%s, -O%d\n", be->opt->model ? be->opt->model : be->m->name,
		be->chip.name, be->tiles, be->tiles == 1 ? "" : "s", be->opt->opt);
	for (int e = 0; e < be->m->num_entries; e++) {
		struct be_expected x = be_expect(be, e);

		fprintf(f,
			"  %-*s %3d section%s of up to %d PCUs, %d PMUs, %d AGCUs; %s%.1f us "
			"(modelled), later runs %.1f us\n",
			width, be->entry[e].name, x.sections, x.sections == 1 ? "" : "s",
			x.used[RDU_UNIT_PCU], x.used[RDU_UNIT_PMU], x.used[RDU_UNIT_AGCU],
			be->estimated ? "about " : "",
			(double)(x.first.exec + x.first.load) / be->chip.clock_khz * 1000.0,
			(double)(x.later.exec + x.later.load) / be->chip.clock_khz * 1000.0);
	}
}

/* What nests say of themselves. */
void be_remarks(struct backend *be)
{
	for (int e = 0; e < be->m->num_entries; e++)
		for (int k = 0; k < be->m->entries[e].num_nests; k++) {
			const struct nest *n = be->m->entries[e].nests[k];

			if (n->remark)
				be_note(be, "%s: %s", n->name, n->remark);
		}
}

int be_report(struct backend *be)
{
	if (be_time_reported(be))
		return -1;
	if (be_prints(be, "report"))
		print_report(be, be_log(be));
	if (be->opt->report)
		print_report(be, be->opt->report);
	if (be->opt->report_json)
		be_report_json(be, be->opt->report_json);
	return 0;
}
