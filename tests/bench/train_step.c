// SPDX-License-Identifier: MIT
/*
 * The value is processor time, of all threads: wall time is nobody's measure on a
 * host that others use. It is the least of some steps, for the same reason.
 */
#include "train_step.h"
#include "bench.h"
#include "peak.h"

#define ROUNDS 3
#define WARM 2 /* steps that are not timed: the first one plans, and computes the card's clock */

static double processor_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static double least(double a, double b)
{
	return a < b ? a : b;
}

/* Numbers for every input: a rate, images, token numbers, labels of the first ten classes. */
static void write_inputs(struct card *k)
{
	for (unsigned int i = 0; i < rdu_file_num_symbols(k->file); i++) {
		const struct rdu_file_symbol *y = rdu_file_get_symbol(k->file, i);
		size_t n = rdu_symbol_size(y);
		void *data = new_floats(n / 4);

		if (!(y->flags & RDU_SYM_INPUT)) {
			free(data);
			continue;
		}
		if (y->dtype == RDU_DT_I64)
			for (size_t e = 0; e < n / 8; e++)
				((int64_t *)data)[e] = (int64_t)(e * 7 % 10);
		else if (y->ndim < 2)
			*(float *)data = 0.01f; /* learning rate */
		else
			fill(data, n / 4, 5);
		if (rdu_program_write(k->prog, y->name, data, n))
			die("write", k->prog);
		free(data);
	}
}

/* Seconds of a step in PyTorch, of the processors and on the wall; false without PyTorch. */
static bool peer_round(const struct training *t, double *cpu, double *wall)
{
	char line[300];
	double c, w;
	FILE *p;
	bool good;

	snprintf(line, sizeof(line),
		 "OMP_WAIT_POLICY=passive tests/bench/torch-train-step build/bench/%s.onnx %d %d "
		 "2>build/bench/%s.log",
		 t->name, t->steps, WARM, t->name);
	p = popen(line, "r");
	if (!p)
		die(line, NULL);
	good = fscanf(p, "%lf %lf", &c, &w) == 2;
	if (pclose(p) || !good)
		return false;
	*cpu = least(*cpu, c);
	*wall = least(*wall, w);
	return true;
}

void train_step_bench(const struct training *t)
{
	double cpu = 1e9, wall = 1e9, peer_cpu = 1e9, peer_wall = 1e9, peak;
	const char *what;
	struct rdu_stats s;
	char line[1000];
	struct card k;

	snprintf(line, sizeof(line),
		 "build/host/bin/rdu-mkmodel %s -o build/bench/%s.onnx && "
		 "build/host/bin/rduc -q --train --loss softmax_cross_entropy --optimizer sgd -O3 "
		 "build/bench/%s.onnx -o build/bench/%s.rdu",
		 t->model, t->name, t->name, t->name);
	tool(line);
	snprintf(line, sizeof(line), "build/bench/%s.rdu", t->name);
	card_load(&k, "model:sn10", line);
	write_inputs(&k);
	for (int i = 0; i < WARM; i++)
		card_run(&k, "train_step", &s);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < t->steps; i++) {
			double c = processor_time(), w = now();

			card_run(&k, "train_step", &s);
			cpu = least(cpu, processor_time() - c);
			wall = least(wall, now() - w);
		}
		if (!peer_round(t, &peer_cpu, &peer_wall)) {
			fprintf(stderr, "no PyTorch (build/bench/%s.log)\n", t->name);
			exit(1);
		}
	}
	report(t->name, cpu * 1e3, "ms_cpu", "pytorch", peer_cpu * 1e3);
	printf("# wall: %.4g ms, PyTorch %.4g ms\n", wall * 1e3, peer_wall * 1e3);
	if (t->macs) {
		peak = peak_flops(1, &what);
		printf("# multiply-adds: %.3g of %s\n", 2 * t->macs / cpu / peak, what);
	}
	printf("# modelled: %llu cycles a step\n",
	       (unsigned long long)(s.end_cycle - s.start_cycle));
	card_free(&k);
}
