// SPDX-License-Identifier: MIT
/* The report for programs: the numbers of report.c, as JSON. */
#include "../json.h"
#include "backend.h"

/* The nests that a section was made of, in order. */
static void put_nests(struct json *j, const struct nest *n)
{
	if (n->fused[0]) {
		put_nests(j, n->fused[0]);
		put_nests(j, n->fused[1]);
	} else {
		json_string(j, NULL, n->name ? n->name : "");
	}
}

static void put_units(struct json *j, const int used[3])
{
	json_begin(j, "units", '{');
	json_integer(j, "pcu", used[RDU_UNIT_PCU]);
	json_integer(j, "pmu", used[RDU_UNIT_PMU]);
	json_integer(j, "agcu", used[RDU_UNIT_AGCU]);
	json_end(j, '}');
}

/* Nothing, if the chip's process is not known. */
static void put_energy(struct json *j, const struct rdu_energy *e)
{
	double joules = rdu_energy_joules(e);

	if (!(joules > 0))
		return;
	json_number(j, "energy_joules", joules);
	json_begin(j, "energy_parts", '{');
#define PUT_PART(part, text) json_number(j, #part, e->part);
	RDU_ENERGY_PARTS(PUT_PART)
#undef PUT_PART
	json_end(j, '}');
}

/* load: what loading adds before it in a first run. */
static void put_section(struct json *j, const struct backend *be, const struct be_section *s,
			bool kept, const struct rdu_load *load)
{
	const struct uimage *im = s->im;

	json_begin(j, NULL, '{');
	json_string(j, "name", s->num_nests == 1 && s->nest->name ? s->nest->name : im->name);
	json_begin(j, "nests", '[');
	for (int k = 0; k < s->num_nests; k++)
		put_nests(j, be->m->entries[s->entry].nests[s->first_nest + k]);
	json_end(j, ']');
	put_units(j, im->used);
	json_integer(j, "cycles", (long long)im->cycles);
	json_integer(j, "load_cycles", (long long)load->cycles);
	json_integer(j, "load_bytes", (long long)load->bytes);
	json_integer(j, "bytes", (long long)im->dram_bytes);
	json_integer(j, "macs", (long long)im->macs);
	put_energy(j, &im->energy);
	json_number(j, "peak_share", be_peak_share(be, be_array_macs(be, im), im->cycles));
	json_string(j, "bound", be_bound_text(im->bound));
	json_bool(j, "kept", kept);
	json_end(j, '}');
}

static void put_run(struct json *j, const struct be_run *r)
{
	json_integer(j, "exec_cycles", (long long)r->exec);
	json_integer(j, "load_cycles", (long long)r->load);
	json_integer(j, "load_bytes", (long long)r->load_bytes);
	json_integer(j, "dram_bytes", (long long)r->dram_bytes);
	put_energy(j, &r->energy);
}

static void put_entry(struct json *j, const struct backend *be, int entry)
{
	struct be_expected x = be_expect(be, entry);
	struct be_loads loads = { 0 };

	json_begin(j, NULL, '{');
	json_string(j, "name", be->entry[entry].name);
	json_integer(j, "sections", x.sections);
	put_run(j, &x.first);
	json_begin(j, "later", '{');
	put_run(j, &x.later);
	json_end(j, '}');
	json_integer(j, "compulsory_bytes", (long long)x.compulsory_bytes);
	json_integer(j, "macs", (long long)x.first.macs);
	json_number(j, "peak_share",
		    be_peak_share(be, x.first.array_macs, x.first.exec + x.first.load));
	json_begin(j, "section_list", '[');
	for (uint32_t i = 0; i < be->entry[entry].num_steps; i++) {
		const struct rdu_prog_step *s = &be->step[be->entry[entry].first_step + i];

		if (s->kind == RDU_STEP_RUN || s->kind == RDU_STEP_KEEP) {
			struct rdu_load load = be_load(be, &loads, be->section[s->arg].im);

			put_section(j, be, &be->section[s->arg], s->kind == RDU_STEP_KEEP, &load);
		}
	}
	json_end(j, ']');
	json_end(j, '}');
}

void be_report_json(const struct backend *be, FILE *f)
{
	struct json j;

	json_open(&j, f);
	json_string(&j, "model", be->opt->model ? be->opt->model : be->m->name);
	json_string(&j, "chip", be->chip.name);
	json_integer(&j, "tiles", be->tiles);
	json_integer(&j, "level", be->level);
	json_integer(&j, "clock_khz", be->chip.clock_khz);
	json_begin(&j, "entries", '[');
	for (int e = 0; e < be->m->num_entries; e++)
		put_entry(&j, be, e);
	json_end(&j, ']');
	json_begin(&j, "notes", '[');
	for (int i = 0; i < be->num_notes; i++)
		json_string(&j, NULL, be->note[i]);
	json_end(&j, ']');
	json_close(&j);
}
