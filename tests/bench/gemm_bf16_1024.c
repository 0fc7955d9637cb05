// SPDX-License-Identifier: MIT
/*
 * A 1024 x 1024 x 1024 bf16 GEMM compiled by rduc -O3, run by the card model in
 * this process on two threads, against oneDNN's on the same two threads: bf16 to
 * fp32 as the card's, or fp32 where the processor has no kernel for bf16 (the peer's
 * name says which). Runs of the two alternate, and the best of each counts. A run of
 * the card is all of rdu_program_run(): inputs copied to card memory, program and
 * argument load, execution, result copied back. A run of oneDNN is the product alone,
 * of inputs already in bf16. Beside it: oneDNN in fp32, and what this host's arithmetic
 * can do at most.
 */
#include <math.h>
#include "bench.h"
#include "onednn.h"
#include "peak.h"

#define N 1024
#define ROUNDS 15
#define THREADS 2

/* OpenMP's threads spin for a while after a call: let them fall asleep. */
static void rest(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 60000000 }, NULL);
}

static void host_runs(struct onednn_matmul *m, int round, double *best)
{
	double t;

	if (!m)
		return;
	rest();
	t = now();
	onednn_matmul_run(m);
	t = now() - t;
	if (round >= 0 && t < *best)
		*best = t;
}

/* Of bf16 inputs: relative 2^-9 each, sums of 1024 products of about 1/3. */
static void compare(const float *c, const float *ref, const char *what)
{
	for (int i = 0; i < N * N; i++)
		if (!(fabsf(c[i] - ref[i]) < 1.0f)) {
			fprintf(stderr, "gemm_bf16_1024: %s [%d][%d] is %g, fp32 has %g\n", what,
				i / N, i % N, c[i], ref[i]);
			exit(1);
		}
}

int main(int argc, char **argv)
{
	const double flop = 2.0 * N * N * N;
	const struct rdu_file_symbol *in, *b, *out;
	double card = 1e9, fp32 = 1e9, bf16 = 1e9, t;
	struct onednn_matmul *m32, *m16;
	struct peak peaks[PEAKS_MAX];
	double highest[PEAKS_MAX] = { 0 };
	int num_peaks = 0;
	float *a, *w, *c, *c32, *c16;
	struct card k;

	(void)argc;
	onednn_clean_environment(argv);
	tool("build/host/bin/rdu-mkmodel gemm --m 1024 --n 1024 --k 1024 -o build/bench/gemm.onnx "
	     "&& "
	     "build/host/bin/rduc -q build/bench/gemm.onnx -O3 -o build/bench/gemm.rdu");
	card_load(&k, "model:sn10,threads=2", "build/bench/gemm.rdu");
	in = card_symbol(&k, RDU_SYM_INPUT, 0);
	b = card_symbol(&k, RDU_SYM_WEIGHT, 0);
	if (!b)
		b = card_symbol(&k, RDU_SYM_INPUT, 1);
	out = card_symbol(&k, RDU_SYM_OUTPUT, 0);
	if (!in || !b || !out || rdu_symbol_size(in) != N * N * 4 ||
	    rdu_symbol_size(b) != N * N * 4 || rdu_symbol_size(out) != N * N * 4)
		die("build/bench/gemm.rdu has other tensors", NULL);
	a = new_floats(N * N);
	w = new_floats(N * N);
	c = new_floats(N * N);
	c32 = new_floats(N * N);
	c16 = new_floats(N * N);
	fill(a, N * N, 1);
	fill(w, N * N, 2);
	if (rdu_program_write(k.prog, b->name, w, N * N * 4) ||
	    rdu_program_bind(k.prog, in->name, a, N * N * 4) ||
	    rdu_program_bind(k.prog, out->name, c, N * N * 4))
		die("bind", k.prog);
	m32 = onednn_matmul_new(N, false, THREADS, a, w, c32);
	m16 = onednn_matmul_new(N, true, THREADS, a, w, c16);
	if (!m32) {
		fprintf(stderr, "gemm_bf16_1024: oneDNN has no fp32 matmul\n");
		return 1;
	}
	for (int i = -2; i < ROUNDS; i++) { /* the first two warm up */
		rest();
		t = now();
		card_run(&k, NULL, NULL);
		t = now() - t;
		if (i >= 0 && t < card)
			card = t;
		host_runs(m16, i, &bf16);
		host_runs(m32, i, &fp32);
		num_peaks = host_peaks(THREADS, peaks);
		for (int p = 0; p < num_peaks; p++)
			highest[p] = fmax(highest[p], peaks[p].flops);
	}
	compare(c, c32, "the card's");
	if (m16)
		compare(c16, c32, "oneDNN's bf16");
	report("gemm_bf16_1024", flop / card * 1e-9, "GFLOP/s", m16 ? "onednn_bf16" : "onednn_fp32",
	       flop / (m16 ? bf16 : fp32) * 1e-9);
	printf("# of the same run, GFLOP/s on %d threads: onednn_fp32 %.4g", THREADS,
	       flop / fp32 * 1e-9);
	for (int p = 0; p < num_peaks; p++)
		printf(", %s %.4g", peaks[p].name, highest[p] * 1e-9);
	printf("\n");
	onednn_matmul_free(m16);
	onednn_matmul_free(m32);
	card_free(&k);
	return 0;
}
