// SPDX-License-Identifier: MIT
/*
 * Modelled, not measured: how much of the chip's systolic peak a large GEMM of
 * bf16 matrices gets at -O3, by the card's own clock, with all tiles of the chip.
 * Timing only: no values are computed. Chip fields marked as assumed are behind
 * both numbers. Large, because 128 GB/s of off-chip memory have to feed 328
 * TFLOP/s: each element must be used some thousand times.
 */
#include "bench.h"
#include "rdu_card.h"

#define M 32768
#define N 32768
#define K 32768

int main(void)
{
	char command[512], line[256];
	const struct rdu_chip *chip;
	struct rdu_stats s;
	struct card k;
	double seconds, peak;
	FILE *f;

	snprintf(command, sizeof(command),
		 "build/host/bin/rdu-mkmodel gemm --dtype bf16 --m %d --n %d --k %d -o "
		 "build/bench/large.onnx && "
		 "build/host/bin/rduc -q build/bench/large.onnx -O3 --tiles 4 "
		 "--report build/bench/large.report -o build/bench/large.rdu",
		 M, N, K);
	tool(command);
	card_load(&k, "model:sn10,timing-only,mem=16G", "build/bench/large.rdu");
	card_run(&k, NULL, &s);
	chip = rdu_device_chip(k.dev);
	peak = rdu_chip_peak_bf16_flops(chip);
	seconds = (s.end_cycle - s.start_cycle) / (chip->clock_khz * 1e3);
	report("gemm_bf16_peak", 2.0 * M * N * K / seconds * 1e-12, "TFLOP/s(modelled)",
	       "chip_peak", peak * 1e-12);
	printf("# %d x %d x %d: %llu cycles (exec %llu, pload %llu, aload %llu), %.1f GB moved\n",
	       M, N, K, (unsigned long long)(s.end_cycle - s.start_cycle),
	       (unsigned long long)s.exec_cycles, (unsigned long long)s.pload_cycles,
	       (unsigned long long)s.aload_cycles, s.dram_bytes * 1e-9);
	/* The compiler's word on what bounds it. */
	f = fopen("build/bench/large.report", "r");
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "bound by") || strstr(line, "matmul"))
			printf("# %s", line);
	if (f)
		fclose(f);
	card_free(&k);
	return 0;
}
