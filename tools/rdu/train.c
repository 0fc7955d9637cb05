// SPDX-License-Identifier: MIT
/*
 * rdu train: a training loop over labelled images. Weights stay on the card; a
 * step sends a batch and one RUN command, and some steps are always queued ahead.
 */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "train.h"

/* ---- what to train with ------------------------------------------------------------- */

static int find_names(struct session *s, const char *entry, struct names *n)
{
	int e = rdu_file_find_entry(s->file, entry);
	unsigned int i, num_x = 0;

	if (e < 0)
		return fail("%s; compile it with rduc --train", rdu_error_text(s->file));
	memset(n, 0, sizeof(*n));
	for (i = 0; i < rdu_file_num_symbols(s->file); i++) {
		const struct rdu_file_symbol *sym = rdu_file_get_symbol(s->file, i);

		if (!(sym->entries >> e & 1))
			continue;
		if (sym->flags & RDU_SYM_OUTPUT && !strcmp(sym->name, "loss"))
			n->loss = sym;
		if (!(sym->flags & RDU_SYM_INPUT))
			continue;
		if (!strcmp(sym->name, "labels"))
			n->labels = sym;
		else if (!strcmp(sym->name, "lr"))
			n->lr = sym;
		else if (num_x++ == 0)
			n->x = sym;
	}
	if (num_x > 1)
		return fail(
			"entry point %s has %u inputs beside \"labels\" and \"lr\": `rdu train` "
			"gives it images, one input",
			entry, num_x);
	if (!n->x || !n->labels || !n->lr || !n->loss)
		return fail(
			"entry point %s needs an image input, and symbols \"labels\", \"lr\" and "
			"\"loss\"; it has no %s",
			entry,
			!n->x	     ? "image input"
			: !n->labels ? "labels"
			: !n->lr     ? "lr"
				     : "loss");
	if (n->x->dtype != RDU_DT_F32 || n->x->ndim < 2 || n->labels->dtype != RDU_DT_I64 ||
	    n->labels->ndim != 1 || n->labels->dims[0] != n->x->dims[0] ||
	    n->lr->dtype != RDU_DT_F32 || rdu_symbol_size(n->lr) != 4 ||
	    n->loss->dtype != RDU_DT_F32 || rdu_symbol_size(n->loss) != 4)
		return fail(
			"entry point %s: want %s float32[batch,...], labels int64[batch], lr and "
			"loss float32[1]",
			entry, n->x->name);
	return 0;
}

/* splitmix64: the same order on every host. */
static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static void shuffle(struct trainer *t, unsigned int epoch)
{
	uint64_t state = (uint64_t)t->plan.seed * 1000003 + epoch;
	unsigned int i;

	for (i = 0; i < t->images.count; i++)
		t->order[i] = i;
	for (i = t->images.count - 1; i; i--) {
		unsigned int k = next(&state) % (i + 1), swap = t->order[i];

		t->order[i] = t->order[k];
		t->order[k] = swap;
	}
}

static float lr_at(const struct trainer *t, unsigned int step)
{
	if (t->plan.schedule == CONSTANT)
		return t->plan.lr;
	return t->plan.lr * 0.5 * (1 + cos(M_PI * step / t->steps));
}

/* ---- signals -------------------------------------------------------------------------- */

static volatile sig_atomic_t stop_signal;

/* The first one is a wish, the second is an order. */
static void on_signal(int number)
{
	stop_signal = number;
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
}

static void catch_signals(void)
{
	static const int numbers[] = { SIGINT, SIGTERM };
	struct sigaction old, new = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	unsigned int i;

	signal(SIGPIPE, SIG_IGN); /* nobody reads along any more: an error, and no end */
	for (i = 0; i < 2; i++)
		if (!sigaction(numbers[i], NULL, &old) && old.sa_handler != SIG_IGN)
			sigaction(numbers[i], &new, NULL);
}

static bool stopped(void)
{
	return stop_signal;
}

/* ---- the loop --------------------------------------------------------------------------- */

static void progress(struct trainer *t, bool last)
{
	unsigned int here = t->done - t->first;
	const struct loss_point *p = &t->curve[here - 1];
	double now = now_seconds(), elapsed = now - t->start;
	double card = (t->sum.end_cycle - t->sum.start_cycle) / chip_hz(&t->s);
	bool terminal = t->plan.progress == 1 || (t->plan.progress < 0 && isatty(1));
	unsigned int tenth = t->steps / 10 ? t->steps / 10 : 1, i;
	char text[32], bar[25];

	if (!t->plan.progress || t->plan.json)
		return;
	if (terminal ? !last && now - t->last_line < 0.1 : !last && t->done % tenth)
		return;
	t->last_line = now;
	for (i = 0; i < 24; i++)
		bar[i] = i < 24ull * t->done / t->steps ? '#' : '.';
	bar[24] = 0;
	terminal &= t->out == stdout;
	fprintf(t->out, "%s[%s] step %*u/%u  loss %.4f  lr %.2e  %5.0f images/s  card time %s%s",
		terminal ? "\r" : "", bar, t->steps > 999 ? 4 : 3, t->done, t->steps,
		loss_mean(t->curve, here), p->lr, (double)here * t->batch / elapsed,
		human_time(card, text, sizeof(text)), terminal && !last ? "   " : "   \n");
	line_open = terminal && !last;
	fflush(t->out);
}

/* Waits for a step that was queued. */
static int collect(struct trainer *t)
{
	unsigned int slot = t->done % AHEAD;
	struct loss_point *p = &t->curve[t->done - t->first];
	struct rdu_stats st;
	int ret = rdu_job_wait(t->jobs[slot], -1, &st);

	if (ret)
		fail("step %u: %s", t->done, rdu_error_text(t->jobs[slot]));
	rdu_job_free(t->jobs[slot]);
	t->jobs[slot] = NULL;
	if (ret)
		return EXIT_FAIL;
	p->step = t->done;
	p->loss = t->loss[slot];
	p->lr = lr_at(t, t->done);
	add_stats(&t->sum, &st);
	t->done++;
	if (!t->log_broken)
		t->log_broken = log_step(t, p, &st);
	progress(t, t->done == t->steps);
	if (!isfinite(p->loss))
		return fail("step %u: the loss is %g: the learning rate (%g) may be too high",
			    p->step, p->loss, p->lr);
	return 0;
}

static int submit(struct trainer *t, unsigned int step)
{
	unsigned int at = step % t->steps_per_epoch * t->batch, i;
	unsigned int pick[t->batch];

	if (!(step % t->steps_per_epoch))
		shuffle(t, step / t->steps_per_epoch);
	for (i = 0; i < t->batch; i++) {
		/* The last batch is filled up with the first images. */
		pick[i] = t->order[(at + i) % t->images.count];
		t->labels[i] = t->images.labels[pick[i]];
	}
	images_batch(&t->images, pick, t->batch, t->batch, t->x);
	t->lr = lr_at(t, step);
	if (rdu_program_bind(t->s.prog, t->names.loss->name, &t->loss[step % AHEAD], 4))
		return fail("%s", rdu_error_text(t->s.prog));
	if (rdu_program_submit(t->s.prog, t->plan.entry, &t->jobs[step % AHEAD]))
		return fail("step %u: %s", step, rdu_error_text(t->jobs[step % AHEAD]));
	return 0;
}

/* The steps that are under way. */
static int collect_all(struct trainer *t, unsigned int submitted)
{
	int ret = 0;

	while (!ret && t->done < submitted)
		ret = collect(t);
	return ret;
}

static int loop(struct trainer *t)
{
	unsigned int every = t->plan.save_every, step, i;
	int ret = 0;

	t->start = now_seconds();
	if (t->first % t->steps_per_epoch)
		shuffle(t, t->first / t->steps_per_epoch);
	for (step = t->first; step < t->steps && !ret && !stopped() && !t->log_broken; step++) {
		ret = submit(t, step);
		if (!ret && step - t->done + 1 == AHEAD)
			ret = collect(t);
		if (!ret && every && (step + 1) % every == 0 && step + 1 < t->steps) {
			ret = collect_all(t, step + 1);
			if (!ret)
				checkpoint_save(t); /* one that fails is said: the next may do */
		}
	}
	if (!ret)
		ret = collect_all(t, step);
	for (i = 0; i < AHEAD; i++)
		rdu_job_free(t->jobs[i]);
	return ret;
}

static int prepare(struct trainer *t)
{
	struct rdu_program *prog = t->s.prog;
	const struct names *n = &t->names;
	char error[512];
	size_t pixels;

	if (find_names(&t->s, t->plan.entry, &t->names))
		return EXIT_FAIL;
	if (images_read(t->plan.data, "train", &t->images, error, sizeof(error)))
		return fail("%s", error);
	t->batch = n->x->dims[0];
	pixels = rdu_symbol_size(n->x) / 4 / t->batch;
	if (pixels != (size_t)t->images.rows * t->images.cols)
		return fail("\"%s\" takes images of %zu pixels, those in %s have %u x %u",
			    n->x->name, pixels, t->plan.data, t->images.rows, t->images.cols);
	t->order = xmalloc(t->images.count * sizeof(*t->order));
	t->steps_per_epoch = (t->images.count + t->batch - 1) / t->batch;
	t->data_hash = rdu_fnv1a(RDU_FNV1A_INIT, t->images.labels, t->images.count);
	t->data_hash = rdu_fnv1a(t->data_hash, t->images.pixels, t->images.count * pixels);
	t->steps = t->steps_per_epoch * (t->plan.epochs < 0 ? 1 : t->plan.epochs);
	if (t->plan.max_steps > 0 && (t->steps > t->plan.max_steps || t->plan.epochs < 0))
		t->steps = t->plan.max_steps;
	if (!t->steps)
		return fail("--epochs %g of %u steps each: that is no step", t->plan.epochs,
			    t->steps_per_epoch);
	if (t->plan.resume && (checkpoint_compare(t) || checkpoint_read(t)))
		return EXIT_FAIL;
	if (checkpoint_check(t))
		return EXIT_FAIL;
	t->curve = xcalloc(t->steps - t->first, sizeof(*t->curve));
	t->x = xmalloc(rdu_symbol_size(n->x));
	t->labels = xmalloc(rdu_symbol_size(n->labels));
	if (t->plan.seed < 0)
		t->plan.seed = 1;
	if (t->plan.schedule < 0)
		t->plan.schedule = COSINE;
	if (t->plan.lr < 0) {
		const char *opt = rdu_file_meta(t->s.file, "optimizer", NULL);

		t->plan.lr = opt && !strncmp(opt, "adam", 4) ? 0.002 : 0.1;
	}
	if (rdu_program_bind(prog, n->x->name, t->x, rdu_symbol_size(n->x)) ||
	    rdu_program_bind(prog, n->labels->name, t->labels, rdu_symbol_size(n->labels)) ||
	    rdu_program_bind(prog, n->lr->name, &t->lr, sizeof(t->lr)))
		return fail("%s", rdu_error_text(prog));
	return log_open(t);
}

static int write_curve(struct trainer *t)
{
	double card = (t->sum.end_cycle - t->sum.start_cycle) / chip_hz(&t->s);
	char text[32], subtitle[160];
	int ret;

	if (!t->plan.curve)
		return 0;
	snprintf(subtitle, sizeof(subtitle), "%u steps of %u images, %s%s, card time %s (modelled)",
		 t->done, t->batch, rdu_file_chip(t->s.file)->name,
		 rdu_file_chip(t->s.file)->assumed ? " (numbers partly assumed)" : "",
		 human_time(card, text, sizeof(text)));
	ret = write_loss_svg(t->plan.curve, t->curve, t->done - t->first, "Training loss",
			     subtitle);
	return ret ? fail("--loss-curve %s: %s", t->plan.curve, strerror(-ret)) : 0;
}

/* Everything that outlives the run. The weights first; one that fails keeps none of the
 * others from being written. trained: they are worth keeping. */
static int keep(struct trainer *t, bool trained)
{
	int ret;

	close_line();
	ret = trained && t->plan.save && t->done > t->first && t->done > t->saved
		      ? checkpoint_save(t)
		      : 0;
	ret |= log_close(t);
	ret |= write_curve(t);
	if (!trained && t->saved)
		fprintf(stderr,
			"rdu: %s has the weights after step %u: --resume goes on from there\n",
			t->plan.save, t->saved);
	return ret || t->log_broken ? EXIT_FAIL : 0;
}

/* A wish was heard: what became of the training. */
static void say_stopped(const struct trainer *t)
{
	const char *by = stop_signal == SIGINT ? "SIGINT" : "SIGTERM";

	if (t->done == t->first)
		fail("ended by %s before the first step", by);
	else if (t->plan.save && t->saved == t->done)
		fail("ended by %s after step %u of %u; %s has the weights: --resume goes on from "
		     "there",
		     by, t->done, t->steps, t->plan.save);
	else
		fail("ended by %s after step %u of %u; the weights are lost: %s", by, t->done,
		     t->steps, t->plan.save ? "they could not be saved" : "--save keeps them");
}

static int report(struct trainer *t, double wall)
{
	double hz = chip_hz(&t->s), card = (t->sum.end_cycle - t->sum.start_cycle) / hz;
	unsigned int here = t->done - t->first;
	double mean = loss_mean(t->curve, here), rate = here * (double)t->batch / wall;
	FILE *out = t->out;
	struct lr_outfile o;
	uint64_t hash;
	struct json j;
	int ret = 0;

	if (rdu_program_weights_hash(t->s.prog, &hash))
		return fail("%s", rdu_error_text(t->s.prog));
	if (t->plan.json) {
		char hex[24];

		json_open(&j, out);
		json_integer(&j, "steps", t->done);
		json_number(&j, "loss", mean);
		json_stats(&j, "stats", &t->sum, hz);
		json_number(&j, "wall_seconds", wall);
		json_number(&j, "images_per_second", rate);
		snprintf(hex, sizeof(hex), "%016llx", (unsigned long long)hash);
		json_string(&j, "weights_hash", hex);
		if (t->plan.save && t->saved == t->done)
			json_string(&j, "saved", t->plan.save);
		json_close(&j);
		return 0;
	}
	print_stats(out, &t->sum, hz);
	if (t->plan.save && t->saved == t->done)
		fprintf(out, "saved\n  %s, the weights after step %u of %u\n", t->plan.save,
			t->saved, t->steps);
	if (t->plan.results)
		out = lr_outfile_open(&o, t->plan.results);
	if (!out)
		return fail("--results %s: %s", t->plan.results, strerror(-o.error));
	fprintf(out, "steps %u\nloss %.6f\n", t->done, mean);
	fprintf(out,
		"modelled_seconds %.6f\nmodelled_exec_seconds %.6f\n"
		"modelled_pload_seconds %.6f\nmodelled_aload_seconds %.6f\n",
		card, t->sum.exec_cycles / hz, t->sum.pload_cycles / hz, t->sum.aload_cycles / hz);
	fprintf(out, "wall_seconds %.3f\nimages_per_second %.0f\nweights_hash %016llx\n", wall,
		rate, (unsigned long long)hash);
	if (t->plan.results)
		ret = lr_outfile_close(&o);
	return ret ? fail("--results %s: %s", t->plan.results, strerror(-ret)) : 0;
}

static void finish(struct trainer *t)
{
	session_close(&t->s);
	images_free(&t->images);
	if (t->log)
		fclose(t->log);
	free(t->order);
	free(t->curve);
	free(t->x);
	free(t->labels);
}

/* What is read must not be written; but a checkpoint may take the place of the one that is
 * gone on from. */
static int check_plan(struct trainer *t)
{
	struct plan *p = &t->plan;
	bool same = p->path && p->resume && lr_outfile_same(p->path, p->resume);
	const struct lr_outfile_use first[] = { { NULL, same ? NULL : p->path },
						{ "--save", p->save },
						{ "--log", p->log },
						{ "--loss-curve", p->curve },
						{ "--results", p->results } };
	const struct lr_outfile_use then[] = { { NULL, p->resume },
					       { "--log", p->log },
					       { "--loss-curve", p->curve },
					       { "--results", p->results } };
	unsigned int i;

	t->out = stdout;
	for (i = 1; i < 5; i++)
		if (first[i].path && lr_outfile_is_stdout(first[i].path))
			t->out = stderr;
	return check_files(first, 5) || check_files(then, 4) ? EXIT_FAIL : 0;
}

int cmd_train(int argc, char **argv)
{
	struct trainer t = { .plan = { .epochs = -1,
				       .lr = -1,
				       .seed = -1,
				       .max_steps = -1,
				       .schedule = -1,
				       .progress = -1,
				       .entry = "train_step" } };
	int ret = plan_parse(argc, argv, &t.plan), kept;
	double start;

	if (!ret)
		ret = check_plan(&t);
	if (ret)
		return ret;
	ret = session_open(&t.s, t.plan.device, t.plan.resume ? t.plan.resume : t.plan.path,
			   t.plan.wait);
	if (!ret)
		ret = prepare(&t);
	if (ret) {
		finish(&t);
		return ret;
	}
	catch_signals();
	start = now_seconds();
	ret = loop(&t);
	kept = keep(&t, !ret);
	if (!ret)
		ret = report(&t, now_seconds() - start);
	if (stopped())
		say_stopped(&t);
	finish(&t);
	/* As a shell says it of one that the signal killed. */
	return ret || kept ? EXIT_FAIL : stopped() ? 128 + stop_signal : EXIT_OK;
}
