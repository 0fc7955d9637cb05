// SPDX-License-Identifier: MIT
/* What the LOADs of a contraction's operands take, when memory is busy with nothing else. */
#include <math.h>
#include "tile.h"

/* What bursts take that have to wait for rows, of dram_latency: vectors leave in order, so for the last
 * of those on their way. */
#define LATENCY_BUSY 1.75

double loading_pace(const struct rdu_chip *chip, const struct loading *l)
{
	double bursts = l->bytes / l->vectors / chip->dram_burst;

	return fmax(1, chip->dram_latency * LATENCY_BUSY *
			       fmax(bursts / chip->agcu_requests, 1.0 / chip->agcu_vectors));
}

double loading_first(const struct rdu_chip *chip, const struct loading *l, int num)
{
	double time = 0, gone = 0;

	for (int done = 0; done < num; done++) {
		double least = HUGE_VAL, bytes = 0, slowest = 0;

		for (int i = 0; i < num; i++)
			if (l[i].vectors > gone)
				least = fmin(least, l[i].vectors);
		if (least == HUGE_VAL)
			break;
		for (int i = 0; i < num; i++) {
			if (l[i].vectors <= gone)
				continue;
			bytes += l[i].programs * l[i].bytes / l[i].vectors * (least - gone);
			slowest = fmax(slowest, loading_pace(chip, &l[i]));
		}
		time += fmax(bytes / be_bytes_per_cycle(chip), (least - gone) * slowest);
		gone = least;
	}
	return time;
}
