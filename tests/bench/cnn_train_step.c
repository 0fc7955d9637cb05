// SPDX-License-Identifier: MIT
/*
 * Training steps of the demonstration's network (batch 64, SGD), images a
 * second, against what this host's arithmetic could do at most: the network's
 * multiply-adds, three times over (forward, gradient of inputs, gradient of
 * weights), at the peak rate measured in this run.
 */
#include "bench.h"
#include "peak.h"

#define BATCH 64
#define STEPS 12

int main(void)
{
	/* Multiply-adds of an image: two convolutions, two dense layers. */
	const double macs = 28 * 28 * 16 * 9.0 + 14 * 14 * 32 * 144.0 + 1568 * 128.0 + 128 * 10.0;
	const char *what;
	double best = 1e9, t, peak;
	struct rdu_stats s;
	struct card k;

	tool("build/host/bin/rdu-mkmodel cnn --batch 64 -o build/bench/cnn.onnx && "
	     "build/host/bin/rduc -q --train --loss softmax_cross_entropy --optimizer sgd -O3 "
	     "build/bench/cnn.onnx -o build/bench/cnn.rdu");
	card_load(&k, "model:sn10,threads=2", "build/bench/cnn.rdu");
	for (unsigned int i = 0; i < rdu_file_num_symbols(k.file); i++) {
		const struct rdu_file_symbol *y = rdu_file_get_symbol(k.file, i);
		size_t n = rdu_symbol_size(y);
		float *d;

		if (!(y->flags & RDU_SYM_INPUT) || y->dtype != RDU_DT_F32)
			continue;
		d = new_floats(n / 4);
		if (y->ndim < 2)
			d[0] = 0.01f; /* learning rate */
		else
			fill(d, n / 4, 5);
		if (rdu_program_write(k.prog, y->name, d, n))
			die("write", k.prog);
		free(d);
	}
	for (int i = 0; i < STEPS; i++) {
		t = now();
		card_run(&k, "train_step", &s);
		t = now() - t;
		if (i > 1 && t < best)
			best = t;
	}
	peak = peak_flops(2, &what);
	report("cnn_train_step", BATCH / best, "images/s", what, peak / (6 * macs));
	printf("# modelled: %llu cycles a step, %.0f images/s\n",
	       (unsigned long long)(s.end_cycle - s.start_cycle),
	       BATCH * (rdu_device_chip(k.dev)->clock_khz * 1e3) / (s.end_cycle - s.start_cycle));
	card_free(&k);
	return 0;
}
