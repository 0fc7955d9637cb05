// SPDX-License-Identifier: MIT
/*
 * The same bits: training must not depend on how many host threads run the
 * fabric, nor on the run, nor on a checkpoint in between; and the modelled time
 * must be the same too. Several steps in one run are as many single ones.
 */
#include <math.h>
#include <stdbool.h>
#include "e2e.h"

#define STEPS 6

struct trained {
	uint64_t hash; /* of all weights */
	uint64_t cycles; /* modelled, of all steps */
	uint64_t bytes; /* over card memory, of all steps */
	float loss[STEPS];
};

/* Writes an input of train_step; row: to this row of what train_steps reads. -1: itself. */
static void put(struct rdu_program *p, const char *name, const void *data, size_t size, int row)
{
	char all[80], *rows = NULL;
	int ret;

	if (row < 0) {
		ret = rdu_program_write(p, name, data, size);
	} else {
		rows = malloc(STEPS * size);
		snprintf(all, sizeof(all), "steps/%s", name);
		ret = rdu_program_read(p, all, rows, STEPS * size);
		memcpy(rows + (size_t)row * size, data, size);
		if (!ret)
			ret = rdu_program_write(p, all, rows, STEPS * size);
		free(rows);
	}
	if (ret)
		printf("# %s\n", rdu_error_text(p));
}

/* The step's batch: images are noise with a bright spot where the label says. */
static void batch(struct rdu_program *p, int step, int row)
{
	struct rdu_file *f = rdu_program_file(p);

	for (unsigned int i = 0; i < rdu_file_num_symbols(f); i++) {
		const struct rdu_file_symbol *s = rdu_file_get_symbol(f, i);
		size_t n = rdu_symbol_size(s);
		void *d;

		if (!(s->flags & RDU_SYM_INPUT) || !strncmp(s->name, "steps/", 6))
			continue;
		d = calloc(1, n + 8);
		if (s->dtype == RDU_DT_F32 && s->ndim > 1)
			fill(d, n / 4, 1000 * step + 7);
		else if (s->dtype == RDU_DT_F32)
			for (size_t k = 0; k < n / 4; k++)
				((float *)d)[k] = 0.05f; /* learning rate */
		else if (s->dtype == RDU_DT_I32)
			for (size_t k = 0; k < n / 4; k++)
				((int32_t *)d)[k] = (k * 7 + step) % 10;
		else if (s->dtype == RDU_DT_I64)
			for (size_t k = 0; k < n / 8; k++)
				((int64_t *)d)[k] = (k * 7 + step) % 10;
		put(p, s->name, d, n, row);
		free(d);
	}
}

/* at_once: all STEPS steps in one run. */
static int train_so(const char *where, const char *path, int from, int to, bool at_once,
		    const char *save, struct trained *t)
{
	struct rdu_device *dev = NULL;
	struct rdu_file *f = NULL;
	struct card c = { 0 };
	struct rdu_stats stats;
	char error[512] = "";
	int ret = rdu_open(where, &dev);

	memset(t, 0, sizeof(*t));
	if (!ret)
		ret = rdu_file_open(path, &f);
	if (!ret)
		ret = card_load(&c, dev, f, error, sizeof(error));
	for (int i = from; i < to && !ret; i++) {
		batch(c.prog, i, at_once ? i : -1);
		if (at_once && i < to - 1)
			continue;
		ret = rdu_program_run(c.prog, at_once ? "train_steps" : "train_step", &stats);
		if (!ret && at_once)
			ret = rdu_program_read(c.prog, "steps/loss", t->loss, sizeof(t->loss));
		else if (!ret)
			ret = rdu_program_read(c.prog, "loss", &t->loss[i], 4);
		t->cycles += stats.end_cycle - stats.start_cycle;
		t->bytes += stats.dram_bytes;
	}
	if (!ret)
		ret = rdu_program_weights_hash(c.prog, &t->hash);
	if (!ret && save)
		ret = rdu_program_save(c.prog, save);
	if (ret)
		printf("# %s %s: %s %s %s\n", where, path, error, f ? rdu_error_text(f) : "",
		       c.prog ? rdu_error_text(c.prog) : "");
	card_unload(&c);
	rdu_file_close(f);
	rdu_close(dev);
	return ret;
}

static int train(const char *where, const char *path, int from, int to, const char *save,
		 struct trained *t)
{
	return train_so(where, path, from, to, false, save, t);
}

/* A program with train_steps: one run of it, and single steps. */
static void steps_in_one_run(const char *level)
{
	struct trained single, all, general, memory;
	char path[64], never[64];
	bool good;

	snprintf(path, sizeof(path), "build/e2e/bits-steps%s.rdu", level);
	if (!tap(!tool("rduc -q --train --loss softmax_cross_entropy --optimizer adamw "
		       "--steps-per-run %d build/e2e/bits.onnx -O%s -o %s",
		       STEPS, level, path),
		 "-O%s: %d steps a run: compiles", level, STEPS))
		return;
	if (!tap(!train("model:sn10", path, 0, STEPS, NULL, &single) &&
			 !train_so("model:sn10", path, 0, STEPS, true, NULL, &all),
		 "-O%s: %d steps, one by one and in one run", level, STEPS))
		return;
	tap(single.hash == all.hash, "-O%s: the same weights", level);
	tap(all.loss[0] != all.loss[1] && !memcmp(single.loss, all.loss, sizeof(all.loss)),
	    "-O%s: the same losses: %g ... %g", level, (double)all.loss[0],
	    (double)all.loss[STEPS - 1]);
	tap(all.cycles < single.cycles && all.bytes < single.bytes,
	    "-O%s: fewer cycles and bytes: %llu, %llu; one by one %llu, %llu", level,
	    (unsigned long long)all.cycles, (unsigned long long)all.bytes,
	    (unsigned long long)single.cycles, (unsigned long long)single.bytes);
	snprintf(never, sizeof(never), "build/e2e/bits-never%s.rdu", level);
	good = !tool("rduc -q --train --loss softmax_cross_entropy --optimizer adamw --hold never "
		     "--steps-per-run %d build/e2e/bits.onnx -O%s -o %s",
		     STEPS, level, never) &&
	       !train_so("model:sn10", never, 0, STEPS, true, NULL, &memory);
	for (int i = 0; i < STEPS; i++) /* sums in another order */
		good &= fabsf(memory.loss[i] - all.loss[i]) < 1e-4f * all.loss[i];
	tap(good && all.bytes < memory.bytes,
	    "-O%s: the same losses as when weights go through memory, %llu bytes", level,
	    (unsigned long long)memory.bytes);
	setenv("RDU_KERNELS", "portable", 1);
	tap(!train_so("model:sn10", path, 0, STEPS, true, NULL, &general) &&
		    general.hash == all.hash,
	    "-O%s: the same weights without kernels for this host", level);
	unsetenv("RDU_KERNELS");
}

int main(void)
{
	static const struct {
		const char *name, *options;
	} program[] = { { "sgd", "--optimizer sgd" },
			{ "adamw", "--optimizer adamw" },
			{ "tiles4", "--optimizer adamw --tiles 4" } };
	struct trained one, two, again, half, start;
	char path[64];

	if (!tap(!tool("rdu-mkmodel cnn --batch 16 -o build/e2e/bits.onnx"), "a network"))
		return tap_end();
	for (size_t i = 0; i < sizeof(program) / sizeof(program[0]); i++) {
		const char *o = program[i].name;

		snprintf(path, sizeof(path), "build/e2e/bits-%s.rdu", o);
		if (!tap(!tool("rduc -q --train --loss softmax_cross_entropy %s "
			       "build/e2e/bits.onnx -O3 -o %s",
			       program[i].options, path),
			 "%s: compiles", o))
			continue;
		if (!tap(!train("model:sn10,threads=1", path, 0, STEPS, NULL, &one) &&
				 !train("model:sn10,threads=2", path, 0, STEPS, NULL, &two) &&
				 !train("model:sn10,threads=2", path, 0, STEPS, NULL, &again) &&
				 !train("model:sn10,threads=1", path, 0, 0, NULL, &start),
			 "%s: %d steps with 1 and with 2 threads", o, STEPS))
			continue;
		printf("# loss %g ... %g, weights %016llx\n", one.loss[0], one.loss[STEPS - 1],
		       (unsigned long long)one.hash);
		tap(one.hash != start.hash, "%s: weights have changed", o);
		tap(one.hash == two.hash, "%s: 1 and 2 threads give the same weights", o);
		tap(two.hash == again.hash, "%s: two runs give the same weights", o);
		tap(one.cycles && one.cycles == two.cycles && two.cycles == again.cycles,
		    "%s: modelled time is the same: %llu cycles", o,
		    (unsigned long long)one.cycles);
		tap(!train("model:sn10,threads=2", path, 0, STEPS / 2, "build/e2e/half.rdu",
			   &half) &&
			    !train("model:sn10,threads=1", "build/e2e/half.rdu", STEPS / 2, STEPS,
				   NULL, &half) &&
			    half.hash == one.hash,
		    "%s: through a checkpoint, still the same weights", o);
	}
	card_watchdog_ms = 0; /* a run of several steps is one command */
	steps_in_one_run("1");
	steps_in_one_run("3");
	return tap_end();
}
