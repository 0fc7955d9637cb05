// SPDX-License-Identifier: MIT
/*
 * Modelled, not measured: how much of the chip's systolic peak a large GEMM gets
 * at -O3, by the card's own clock, with all tiles of the chip. Timing only: no
 * values are computed. Chip fields marked as assumed are behind both numbers.
 */
#include "bench.h"
#include "rdu_card.h"

#define M 8192
#define N 8192
#define K 8192

int main(void)
{
	char command[512], meta[128] = "?";
	const struct rdu_chip *chip;
	struct rdu_stats s;
	struct card k;
	double seconds, peak;
	const char *bound;
	size_t len;

	snprintf(command, sizeof(command),
		 "build/host/bin/rdu-mkmodel gemm --m %d --n %d --k %d -o build/bench/large.onnx && "
		 "build/host/bin/rduc build/bench/large.onnx -O3 --tiles 4 "
		 "--report build/bench/large.report -o build/bench/large.rdu", M, N, K);
	tool(command);
	card_load(&k, "model:sn10,timing-only,mem=16G", "build/bench/large.rdu");
	card_run(&k, NULL, &s);
	chip = rdu_device_chip(k.dev);
	peak = rdu_chip_peak_bf16_flops(chip);
	seconds = (s.end_cycle - s.start_cycle) / (chip->clock_khz * 1e3);
	report("gemm_bf16_peak", 2.0 * M * N * K / seconds * 1e-12, "TFLOP/s(modelled)", "chip_peak",
	       peak * 1e-12);
	bound = rdu_file_meta(k.file, "bound", &len);
	if (bound)
		snprintf(meta, sizeof(meta), "%.*s", (int)len, bound);
	printf("# %d x %d x %d: %llu cycles (exec %llu, pload %llu, aload %llu), %.1f GB moved, bound by %s\n",
	       M, N, K, (unsigned long long)(s.end_cycle - s.start_cycle),
	       (unsigned long long)s.exec_cycles, (unsigned long long)s.pload_cycles,
	       (unsigned long long)s.aload_cycles, s.dram_bytes * 1e-9, meta);
	card_free(&k);
	return 0;
}
