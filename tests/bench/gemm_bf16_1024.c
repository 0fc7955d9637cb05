// SPDX-License-Identifier: MIT
/*
 * A 1024 x 1024 x 1024 bf16 GEMM compiled by rduc -O3, run by the card model in
 * this process on two threads, against OpenBLAS sgemm on the same two threads.
 * Runs of the two alternate, and the best of each counts. A run of the card is
 * all of rdu_program_run(): inputs copied to card memory, program and argument
 * load, execution, result copied back.
 */
#include <cblas.h>
#include <math.h>
#include "bench.h"

#define N 1024
#define ROUNDS 15

/* OpenBLAS's threads spin for a while after a call: let them fall asleep. */
static void rest(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 60000000 }, NULL);
}

int main(void)
{
	const double flop = 2.0 * N * N * N;
	const struct rdu_file_symbol *in, *b, *out;
	double card = 1e9, blas = 1e9, t, worst = 0;
	float *a, *w, *c, *ref;
	struct card k;

	tool("build/host/bin/rdu-mkmodel gemm --m 1024 --n 1024 --k 1024 -o build/bench/gemm.onnx "
	     "&& "
	     "build/host/bin/rduc build/bench/gemm.onnx -O3 -o build/bench/gemm.rdu");
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
	ref = new_floats(N * N);
	fill(a, N * N, 1);
	fill(w, N * N, 2);
	if (rdu_program_write(k.prog, b->name, w, N * N * 4) ||
	    rdu_program_bind(k.prog, in->name, a, N * N * 4) ||
	    rdu_program_bind(k.prog, out->name, c, N * N * 4))
		die("bind", k.prog);
	openblas_set_num_threads(2);
	for (int i = 0; i < ROUNDS + 2; i++) { /* the first two warm up */
		rest();
		t = now();
		card_run(&k, NULL, NULL);
		t = now() - t;
		if (i >= 2 && t < card)
			card = t;
		rest();
		t = now();
		cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, N, N, N, 1, a, N, w, N, 0,
			    ref, N);
		t = now() - t;
		if (i >= 2 && t < blas)
			blas = t;
	}
	for (int i = 0; i < N * N; i++)
		worst = fmax(worst, fabs(c[i] - ref[i]));
	/* bf16 inputs: relative 2^-9 each, sums of 1024 products of about 1/3. */
	if (!(worst < 1.0)) {
		fprintf(stderr, "gemm_bf16_1024: the result is wrong by %g\n", worst);
		return 1;
	}
	report("gemm_bf16_1024", flop / card * 1e-9, "GFLOP/s", "openblas_sgemm",
	       flop / blas * 1e-9);
	card_free(&k);
	return 0;
}
