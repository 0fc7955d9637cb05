// SPDX-License-Identifier: MIT
/*
 * An element-wise chain over 16 M floats against memcpy of as many bytes with
 * two threads: both read and write each byte once. Tensors are in card memory;
 * only the run is timed.
 */
#include <pthread.h>
#include "bench.h"

#define COUNT (16 << 20)
#define ROUNDS 9

struct part {
	char *to;
	const char *from;
	size_t n;
};

static void *copy(void *arg)
{
	struct part *p = arg;

	memcpy(p->to, p->from, p->n);
	return NULL;
}

int main(void)
{
	const struct rdu_file_symbol *in, *out;
	double card = 1e9, peer = 1e9, t, bytes = 2.0 * COUNT * 4;
	float *a = new_floats(COUNT), *b = new_floats(COUNT);
	struct card k;

	tool("build/host/bin/rdu-mkmodel relu --m 4096 --n 4096 -o build/bench/relu.onnx && "
	     "build/host/bin/rduc -q build/bench/relu.onnx -O3 -o build/bench/relu.rdu");
	card_load(&k, "model:sn10,threads=2", "build/bench/relu.rdu");
	in = card_symbol(&k, RDU_SYM_INPUT, 0);
	out = card_symbol(&k, RDU_SYM_OUTPUT, 0);
	if (!in || !out || rdu_symbol_size(in) != COUNT * 4ULL)
		die("build/bench/relu.rdu has other tensors", NULL);
	fill(a, COUNT, 3);
	memset(b, 1, COUNT * 4ULL);
	if (rdu_program_write(k.prog, in->name, a, COUNT * 4ULL))
		die("write", k.prog);
	for (int i = 0; i < ROUNDS + 1; i++) {
		struct part p = { (char *)b, (char *)a, COUNT * 2ULL },
			    q = { (char *)b + COUNT * 2ULL, (char *)a + COUNT * 2ULL,
				  COUNT * 2ULL };
		pthread_t th;

		t = now();
		card_run(&k, NULL, NULL);
		t = now() - t;
		if (i && t < card)
			card = t;
		t = now();
		if (pthread_create(&th, NULL, copy, &p))
			return 1;
		copy(&q);
		pthread_join(th, NULL);
		t = now() - t;
		if (i && t < peer)
			peer = t;
	}
	if (rdu_program_read(k.prog, out->name, b, COUNT * 4ULL))
		die("read", k.prog);
	for (int i = 0; i < COUNT; i++)
		if (b[i] != (a[i] > 0 ? a[i] : 0))
			die("stream_relu: a wrong value", NULL);
	report("stream_relu", bytes / card * 1e-9, "GB/s", "memcpy", bytes / peer * 1e-9);
	card_free(&k);
	return 0;
}
