// SPDX-License-Identifier: MIT
/* A program file on a card, and what its runs cost. */
#include <errno.h>
#include <string.h>
#include "rdu_tool.h"

int session_open(struct session *s, const char *device, const char *path, bool wait)
{
	struct rdu_context_options options = { .size = sizeof(options), .wait_for_tiles = wait };

	memset(s, 0, sizeof(*s));
	if (rdu_file_open(path, &s->file))
		return fail("%s", rdu_error_text(s->file));
	if (rdu_open(device ? device : default_device(), &s->dev))
		return fail("%s", rdu_error_text(s->dev));
	options.tiles = rdu_file_num_tiles(s->file);
	/* Told before there are too few tiles for it. */
	if (options.tiles > rdu_device_chip(s->dev)->tiles)
		options.tiles = 0;
	if (rdu_context_new(s->dev, &options, &s->ctx))
		return fail("%s", rdu_error_text(s->ctx));
	if (rdu_program_load(s->ctx, s->file, &s->prog))
		return fail("%s", rdu_error_text(s->prog));
	return 0;
}

void session_close(struct session *s)
{
	rdu_program_free(s->prog);
	rdu_context_free(s->ctx);
	rdu_close(s->dev);
	rdu_file_close(s->file);
	memset(s, 0, sizeof(*s));
}

double chip_hz(const struct session *s)
{
	return rdu_file_chip(s->file)->clock_khz * 1e3;
}

void add_stats(struct rdu_stats *sum, const struct rdu_stats *st)
{
	if (!sum->end_cycle)
		sum->start_cycle = st->start_cycle;
	sum->end_cycle = st->end_cycle;
	sum->exec_cycles += st->exec_cycles;
	sum->pload_cycles += st->pload_cycles;
	sum->aload_cycles += st->aload_cycles;
	sum->copy_cycles += st->copy_cycles;
	sum->dram_bytes += st->dram_bytes;
	sum->macs += st->macs;
	sum->flops += st->flops;
	sum->energy += st->energy;
	sum->sections += st->sections;
	sum->kept += st->kept;
	sum->load_bytes += st->load_bytes;
	sum->wall_ns += st->wall_ns;
}

void json_stats(struct json *j, const char *key, const struct rdu_stats *st, double hz)
{
	double cycles = st->end_cycle - st->start_cycle;

	json_begin(j, key, '{');
	json_integer(j, "cycles", st->end_cycle - st->start_cycle);
	json_integer(j, "exec_cycles", st->exec_cycles);
	json_integer(j, "pload_cycles", st->pload_cycles);
	json_integer(j, "aload_cycles", st->aload_cycles);
	json_number(j, "modelled_seconds", cycles / hz);
	json_integer(j, "dram_bytes", st->dram_bytes);
	json_integer(j, "macs", st->macs);
	json_integer(j, "flops", st->flops);
	if (st->energy)
		json_number(j, "energy_joules", st->energy * 1e-12);
	json_integer(j, "sections", st->sections);
	json_integer(j, "kept", st->kept);
	json_integer(j, "load_bytes", st->load_bytes);
	json_number(j, "wall_seconds", st->wall_ns * 1e-9);
	json_end(j, '}');
}

static void line(FILE *f, const char *what, uint64_t cycles, uint64_t all, double hz)
{
	char text[32];

	fprintf(f, "  %-14s %14llu  %10s  %5.1f %%\n", what, (unsigned long long)cycles,
		human_time(cycles / hz, text, sizeof(text)), all ? 100.0 * cycles / all : 0.0);
}

void print_stats(FILE *f, const struct rdu_stats *st, double hz)
{
	uint64_t all = st->end_cycle - st->start_cycle;
	uint64_t known = st->exec_cycles + st->pload_cycles + st->aload_cycles;
	double seconds = all / hz;
	char text[32], rate[32];

	fprintf(f, "modelled        card cycles        time    share\n");
	line(f, "exec", st->exec_cycles, all, hz);
	line(f, "pload", st->pload_cycles, all, hz);
	line(f, "aload", st->aload_cycles, all, hz);
	line(f, "copies, idle", all > known ? all - known : 0, all, hz);
	line(f, "all", all, all, hz);
	if (seconds > 0) {
		fprintf(f, "  card memory    %s moved",
			human_bytes(st->dram_bytes, text, sizeof(text)));
		fprintf(f, ", %s/s\n", human_bytes(st->dram_bytes / seconds, rate, sizeof(rate)));
		fprintf(f, "  systolic MACs  %s", human_count(st->macs, text, sizeof(text)));
		fprintf(f, ", %sFLOP/s\n", human_count(2 * st->macs / seconds, rate, sizeof(rate)));
		fprintf(f, "  SIMD FLOPs     %s", human_count(st->flops, text, sizeof(text)));
		fprintf(f, ", %sFLOP/s\n", human_count(st->flops / seconds, rate, sizeof(rate)));
	}
	if (st->energy && seconds > 0)
		fprintf(f, "  energy         %.4g J, %.4g W\n", st->energy * 1e-12,
			st->energy * 1e-12 / seconds);
	if (st->kept)
		fprintf(f, "  on the tiles   %llu section%s of weights, from an earlier run\n",
			(unsigned long long)st->kept, st->kept == 1 ? "" : "s");
	fprintf(f, "measured\n  the model took %s on this host\n",
		human_time(st->wall_ns * 1e-9, text, sizeof(text)));
}
