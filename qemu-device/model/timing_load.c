// SPDX-License-Identifier: MIT
/* Modelled time of loads: programs into configuration planes, and arguments. */
#include <math.h>
#include <stddef.h>
#include "fabric.h"

uint64_t rdu_pload_cycles(const struct rdu_chip *chip, uint64_t image_size,
			  const struct rdu_load_under *under)
{
	uint64_t alone =
		chip->pload_latency + (image_size + chip->pload_bytes - 1) / chip->pload_bytes;
	double rate = (double)chip->dram_mbps * 1e3 / chip->clock_khz, section, image, busy;
	uint64_t rest, memory, waits;

	if (chip->config_planes < 2 || !under || !under->cycles)
		return alone;
	section = (double)under->dram_bytes / rate;
	image = (double)image_size / rate;
	busy = section / (double)under->cycles;
	if (busy > 1) { /* some of it went over the host link */
		busy = 1;
		section = (double)under->cycles;
	}
	rest = alone > under->cycles ? alone - under->cycles : 0;
	memory = (uint64_t)ceil(fmax(section + image - (double)under->cycles, 0));
	waits = (uint64_t)ceil(busy * image);
	rest = memory > rest ? memory : rest;
	return chip->config_switch + (waits > rest ? waits : rest);
}

uint64_t rdu_aload_cycles(const struct rdu_chip *chip, uint32_t segments)
{
	return chip->aload_cycles + (uint64_t)chip->aload_per_segment * segments;
}

static bool is_plane(const struct rdu_plane *p, const void *program, uint32_t section)
{
	return p->program == program && p->section == section;
}

struct rdu_load rdu_planes_load(const struct rdu_chip *chip, struct rdu_planes *planes,
				void *program, uint32_t section, uint64_t image_size,
				const struct rdu_load_under *under)
{
	struct rdu_load load = { 0 };
	struct rdu_plane before = planes->used;

	if (is_plane(&planes->used, program, section))
		return load;
	if (is_plane(&planes->other, program, section)) {
		load.cycles = chip->config_switch;
	} else {
		load.cycles = rdu_pload_cycles(chip, image_size, under);
		load.bytes = image_size;
	}
	planes->used = (struct rdu_plane){ program, section };
	if (chip->config_planes > 1)
		planes->other = before;
	return load;
}
