// SPDX-License-Identifier: MIT
/*
 * How fast the card's clock is: modelled cycles in a second of a processor, timing only, for
 * a product of 4096 cubed, against the same with every activation played; and the time
 * that one of 32768 cubed on all tiles takes.
 */
#include "bench.h"
#include "rduc_back_run.h"
#include "timing_priv.h"

/* Of this process's work, whoever else runs. */
static double worked(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Seconds to time all sections of a program; *cycles: what they take. */
static double seconds(const char *path, bool whole, uint64_t *cycles)
{
	struct rdu_patience patience = { .whole = whole };
	const struct rdu_prog_header *h;
	const struct rdu_prog_section *sec;
	struct rdu_cfg_diag diag;
	struct ran r;
	double t, sum = 0;

	if (ran_open(&r, path))
		die(path, NULL);
	h = (const void *)r.program;
	sec = (const void *)(r.program + h->sections_off);
	*cycles = 0;
	for (uint32_t i = 0; i < h->num_sections; i++) {
		struct rdu_section *s = rdu_section_new(r.program + sec[i].offset, sec[i].size,
							&r.chip, h->num_tiles, &diag);
		const struct rdu_section_time *time;

		if (!s)
			die(diag.text, NULL);
		t = worked();
		time = rdu_section_time_within(s, NULL, NULL, NULL, NULL, &patience);
		sum += worked() - t;
		if (!time)
			die("no time for a section", NULL);
		*cycles += time->cycles;
		rdu_section_free(s);
	}
	ran_close(&r);
	return sum;
}

int main(void)
{
	static const char *const make =
		"build/host/bin/rdu-mkmodel gemm --m 4096 --n 4096 --k 4096 --dtype bf16 -o "
		"build/bench/4k.onnx && "
		"build/host/bin/rdu-mkmodel gemm --m 32768 --n 32768 --k 32768 --dtype bf16 -o "
		"build/bench/32k.onnx && "
		"build/host/bin/rduc -q -O3 build/bench/4k.onnx -o build/bench/4k.rdu && "
		"build/host/bin/rduc -q -O3 --tiles 4 build/bench/32k.onnx -o build/bench/32k.rdu";
	uint64_t cycles, whole;
	double t, all;

	tool(make);
	t = seconds("build/bench/4k.rdu", false, &cycles);
	all = seconds("build/bench/4k.rdu", true, &whole);
	report("section_time_gemm_4096", (double)cycles / t / 1e6, "Mcycles/s", "played_whole",
	       (double)whole / all / 1e6);
	printf("# 4096^3: %llu cycles, %llu when all is played (%+.2f %%)\n",
	       (unsigned long long)cycles, (unsigned long long)whole,
	       100 * ((double)cycles / (double)whole - 1));
	t = seconds("build/bench/32k.rdu", false, &cycles);
	printf("# 32768^3 on 4 tiles: %llu cycles, timed in %.1f s\n", (unsigned long long)cycles,
	       t);
	return 0;
}
