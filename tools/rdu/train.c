// SPDX-License-Identifier: MIT
/*
 * rdu train: a training loop over examples. Weights stay on the card; a batch is sent with one
 * RUN command, and some are always queued ahead. A step is one batch, or as many as the program
 * adds up gradients of before it changes the weights. A program with the entry point train_steps
 * does several steps in one run.
 */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "train.h"

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

	for (i = 0; i < t->part.count; i++)
		t->order[i] = i;
	for (i = t->part.count - 1; i; i--) {
		unsigned int k = next(&state) % (i + 1), swap = t->order[i];

		t->order[i] = t->order[k];
		t->order[k] = swap;
	}
	/* So that the tokens that are too many for whole examples are not always the last ones. */
	if (t->data.stream)
		t->shift = next(&state) % ((t->part.tokens - 1) % t->data.units + 1);
}

float lr_at(const struct trainer *t, unsigned int step)
{
	unsigned int warm = t->plan.warm_up, left = t->steps - warm;
	double peak = t->plan.lr;

	if (step < warm)
		return peak * (step + 1) / warm;
	if (t->plan.schedule == CONSTANT)
		return peak;
	if (t->plan.schedule == TWO_STAGE && step >= t->steps / 2)
		peak = t->plan.second_lr;
	return peak * 0.5 * (1 + cos(M_PI * (step - warm) / left));
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

static bool eval_due(const struct trainer *t, unsigned int step)
{
	unsigned int every = t->plan.eval_every;

	return t->held && (step + 1 == t->steps || (every && (step + 1) % every == 0));
}

static bool save_due(const struct trainer *t, unsigned int step)
{
	unsigned int every = t->plan.save_every;

	return every && (step + 1) % every == 0 && step + 1 < t->steps;
}

/* All batches of a step are done. */
static int end_step(struct trainer *t)
{
	struct loss_point *p = &t->curve[t->done - t->first];

	p->step = t->done;
	p->loss = t->step_loss / t->micro;
	p->lr = lr_at(t, t->done);
	p->held_out = NAN;
	t->done++;
	if (isfinite(p->loss) && eval_due(t, p->step) && evaluate(t, p))
		return EXIT_FAIL;
	if (!t->log_broken)
		t->log_broken = log_step(t, p, &t->step_stats);
	memset(&t->step_stats, 0, sizeof(t->step_stats));
	t->step_loss = 0;
	progress(t, t->done == t->steps);
	if (!isfinite(p->loss))
		return fail("step %u: the loss is %g: the learning rate (%g) may be too high",
			    p->step, p->loss, p->lr);
	if (t->held && !isnan(p->held_out) && !isfinite(p->held_out))
		return fail("step %u: the loss of what is held out is %g", p->step, p->held_out);
	return 0;
}

/* A step's share of what its run took; the last one has the rest. */
static uint64_t share(uint64_t all, unsigned int step, unsigned int steps)
{
	return all / steps + (step + 1 == steps ? all % steps : 0);
}

/* All steps of a run are done. */
static int end_run(struct trainer *t, const struct flight *f, const struct rdu_stats *st)
{
	uint64_t cycles = st->end_cycle - st->start_cycle;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < f->steps && !ret; i++) {
		t->step_stats.end_cycle = share(cycles, i, f->steps);
		t->step_stats.wall_ns = share(st->wall_ns, i, f->steps);
		t->step_loss = f->loss[i];
		ret = end_step(t);
	}
	return ret;
}

/* Waits for the job that was queued first. */
static int collect(struct trainer *t)
{
	struct flight *f = &t->flight[t->collected++ % AHEAD];
	struct rdu_stats st;
	int ret = rdu_job_wait(f->job, -1, &st);

	if (ret)
		fail("step %u: %s", t->done, rdu_error_text(f->job));
	rdu_job_free(f->job);
	f->job = NULL;
	if (ret)
		return EXIT_FAIL;
	add_stats(&t->sum, &st);
	if (f->steps)
		return end_run(t, f, &st);
	add_stats(&t->step_stats, &st);
	t->step_loss += f->loss[0];
	return ++t->batches % t->micro ? 0 : end_step(t);
}

/* The jobs that are under way, but for `left` of them. */
static int collect_all(struct trainer *t, unsigned int left)
{
	int ret = 0;

	while (!ret && t->submitted - t->collected > left)
		ret = collect(t);
	return ret;
}

/* Batch number `part` of a step, into what the inputs are bound to. */
static int make_batch(struct trainer *t, unsigned int step, unsigned int part)
{
	unsigned int at = (step % t->steps_per_epoch * t->micro + part) * t->batch, i;

	if (!part && !(step % t->steps_per_epoch))
		shuffle(t, step / t->steps_per_epoch);
	for (i = 0; i < t->batch; i++) /* the last one is filled up with the first examples */
		t->pick[i] = t->order[(at + i) % t->part.count];
	if (!data_batch(&t->data, &t->part, t->shift, t->pick, t->batch))
		return fail("step %u: none of its labels has a class: the loss is of nothing",
			    step);
	t->lr = lr_at(t, step);
	return 0;
}

/* steps: of the run, 0: it is a batch. */
static int submit(struct trainer *t, unsigned int step, unsigned int steps, const char *entry)
{
	struct flight *f = &t->flight[t->submitted % AHEAD];
	const char *loss = steps ? t->rows_loss : "loss";

	f->steps = steps;
	if (rdu_program_bind(t->s.prog, loss, f->loss, (steps ? steps : 1) * sizeof(*f->loss)))
		return fail("%s", rdu_error_text(t->s.prog));
	if (rdu_program_submit(t->s.prog, entry, &f->job))
		return fail("step %u: %s", step, rdu_error_text(f->job));
	t->submitted++;
	return collect_all(t, AHEAD - 1);
}

static int one_step(struct trainer *t, unsigned int step)
{
	unsigned int part;
	int ret = 0;

	for (part = 0; part < t->micro && !ret; part++) {
		ret = make_batch(t, step, part);
		if (!ret)
			ret = submit(t, step, 0,
				     part + 1 == t->micro ? t->plan.entry : "accumulate_step");
	}
	return ret;
}

/* As many steps as a run has. */
static int one_run(struct trainer *t, unsigned int step)
{
	struct rows *r;
	unsigned int i;

	for (i = 0; i < t->run; i++) {
		if (make_batch(t, step + i, 0))
			return EXIT_FAIL;
		for (r = t->rows; r->sym; r++) {
			size_t size = rdu_symbol_size(r->sym) / t->run;

			memcpy(r->data + i * size, r->row, size);
		}
	}
	return submit(t, step, t->run, "train_steps");
}

/* Is there something to be done before the last step of a run that begins here? */
static bool run_fits(const struct trainer *t, unsigned int step)
{
	unsigned int i;

	if (!t->run || t->steps - step < t->run)
		return false;
	for (i = step; i + 1 < step + t->run; i++)
		if (eval_due(t, i) || save_due(t, i))
			return false;
	return true;
}

/* What is due after a step. */
static int after_step(struct trainer *t, unsigned int step)
{
	int ret = 0;

	if (eval_due(t, step) || save_due(t, step))
		ret = collect_all(t, 0);
	if (!ret && save_due(t, step)) {
		ret = check_finite(t);
		if (!ret)
			checkpoint_save(t); /* one that fails is said: the next may do */
	}
	return ret;
}

static int loop(struct trainer *t)
{
	unsigned int step = t->first, i;
	int ret = 0;

	t->start = now_seconds();
	if (t->first % t->steps_per_epoch)
		shuffle(t, t->first / t->steps_per_epoch);
	while (step < t->steps && !ret && !stopped() && !t->log_broken) {
		unsigned int steps = run_fits(t, step) ? t->run : 1;

		ret = steps > 1 ? one_run(t, step) : one_step(t, step);
		step += steps;
		if (!ret)
			ret = after_step(t, step - 1);
	}
	if (!ret)
		ret = collect_all(t, 0);
	if (!ret)
		ret = check_finite(t);
	for (i = 0; i < AHEAD; i++)
		rdu_job_free(t->flight[i].job);
	return ret;
}

/* ---- what to train with ------------------------------------------------------------- */

static int check_program(struct trainer *t)
{
	struct rdu_file *file = t->s.file;
	int e = rdu_file_find_entry(file, t->plan.entry);
	const char *loss = rdu_file_meta(file, "loss", NULL);
	const char *micro = rdu_file_meta(file, "accumulate", NULL);
	bool lr = false, has_loss = false;
	unsigned int i;

	if (e < 0)
		return fail("%s; compile it with rduc --train", rdu_error_text(file));
	for (i = 0; i < rdu_file_num_symbols(file); i++) {
		const struct rdu_file_symbol *sym = rdu_file_get_symbol(file, i);

		if (!(sym->entries >> e & 1) || sym->dtype != RDU_DT_F32 ||
		    rdu_symbol_size(sym) != 4)
			continue;
		lr |= sym->flags & RDU_SYM_INPUT && !strcmp(sym->name, "lr");
		has_loss |= sym->flags & RDU_SYM_OUTPUT && !strcmp(sym->name, "loss");
	}
	if (!lr || !has_loss)
		return fail("entry point %s needs an input \"lr\" and an output \"loss\", "
			    "float32[1] each; it has no %s",
			    t->plan.entry, lr ? "loss" : "lr");
	t->micro = micro ? strtoul(micro, NULL, 10) : 1;
	t->loss_name = !loss			      ? "loss"
		       : !strncmp(loss, "softmax", 7) ? "softmax cross-entropy"
		       : !strncmp(loss, "mse", 3)     ? "mean squared error"
		       : !strncmp(loss, "binary", 6)  ? "binary cross-entropy"
						      : "the model's own";
	for (i = 0; i < t->data.num_fields; i++)
		t->masked |= t->data.field[i].labels;
	return t->micro ? 0 : fail("its property \"accumulate\" is damaged");
}

int bind_data(struct trainer *t, const struct dataset *d)
{
	unsigned int k;

	for (k = 0; k < d->num_fields; k++) {
		const struct field *f = &d->field[k];

		if (rdu_program_bind(t->s.prog, f->sym->name, f->batch, rdu_symbol_size(f->sym)))
			return fail("%s", rdu_error_text(t->s.prog));
	}
	return 0;
}

/* What train_steps has instead of an input or output of train_step: rows, of which that is the
 * first. NULL: it has none. */
static const struct rdu_file_symbol *find_rows(const struct trainer *t,
					       const struct rdu_file_symbol *of)
{
	struct rdu_file *file = t->s.file;
	int e = rdu_file_find_entry(file, "train_steps");
	unsigned int i;

	for (i = 0; i < rdu_file_num_symbols(file); i++) {
		const struct rdu_file_symbol *sym = rdu_file_get_symbol(file, i);

		if (sym != of && sym->region == of->region && sym->offset == of->offset &&
		    sym->entries >> e & 1 && rdu_symbol_size(sym) == rdu_symbol_size(of) * t->run)
			return sym;
	}
	return NULL;
}

static int add_rows(struct trainer *t, struct rows *r, const struct rdu_file_symbol *of,
		    const void *row)
{
	size_t size;

	r->sym = find_rows(t, of);
	if (!r->sym)
		return fail("entry point train_steps has no rows of \"%s\"", of->name);
	size = rdu_symbol_size(r->sym);
	r->row = row;
	r->data = xmalloc(size);
	return rdu_program_bind(t->s.prog, r->sym->name, r->data, size)
		       ? fail("%s", rdu_error_text(t->s.prog))
		       : 0;
}

static const struct rdu_file_symbol *symbol(const struct trainer *t, const char *name)
{
	return rdu_file_get_symbol(t->s.file, rdu_file_find_symbol(t->s.file, name));
}

/* Where losses go, and what a run of several steps reads. */
static int make_room(struct trainer *t)
{
	const char *steps = rdu_file_meta(t->s.file, "steps_per_run", NULL);
	const struct rdu_file_symbol *loss;
	unsigned int i, k;

	if (steps && !strcmp(t->plan.entry, "train_step"))
		t->run = strtoul(steps, NULL, 10);
	for (i = 0; i < AHEAD; i++)
		t->flight[i].loss = xcalloc(t->run ? t->run : 1, sizeof(float));
	if (!t->run)
		return 0;
	if (rdu_file_find_entry(t->s.file, "train_steps") < 0)
		return fail("its property \"steps_per_run\" is damaged: %s",
			    rdu_error_text(t->s.file));
	for (k = 0; k < t->data.num_fields; k++)
		if (add_rows(t, &t->rows[k], t->data.field[k].sym, t->data.field[k].batch))
			return EXIT_FAIL;
	loss = find_rows(t, symbol(t, "loss"));
	if (!loss)
		return fail("entry point train_steps has no rows of \"loss\"");
	t->rows_loss = loss->name;
	return add_rows(t, &t->rows[k], symbol(t, "lr"), &t->lr);
}

static int read_data(struct trainer *t)
{
	struct data_options held = t->plan.data;

	if (data_fields(&t->data, &t->s, t->plan.entry, &t->plan.data) || check_program(t) ||
	    data_read(&t->data, &t->plan.data, "train"))
		return EXIT_FAIL;
	t->part = data_all(&t->data, false);
	if (t->plan.hold_out > 0) {
		t->held = &t->data;
		if (data_hold_out(&t->data, t->plan.hold_out, &t->part, &t->held_part))
			return EXIT_FAIL;
	}
	if (t->plan.held.num_sources) {
		memcpy(held.source, t->plan.held.source, sizeof(held.source));
		held.num_sources = t->plan.held.num_sources;
		t->held = &t->held_data;
		if (data_fields(t->held, &t->s, t->plan.entry, &held) ||
		    data_read(t->held, &held, "t10k"))
			return EXIT_FAIL;
		t->held_part = data_all(t->held, true);
	}
	if (t->held && rdu_file_find_entry(t->s.file, "evaluate") < 0)
		return fail("%s: it can't tell the loss of what is held out",
			    rdu_error_text(t->s.file));
	if (t->held && !t->masked && t->held_part.count < t->data.batch)
		return fail("held out are %u %s, less than the %u of a batch", t->held_part.count,
			    t->held->unit, t->data.batch);
	if (t->held && !t->masked && t->held_part.count % t->data.batch)
		fprintf(stderr,
			"rdu: note: the last %u of %u %s held out do not fill a batch of %u, "
			"and are not looked at\n",
			t->held_part.count % t->data.batch, t->held_part.count, t->held->unit,
			t->data.batch);
	t->data_hash = data_hash(&t->data, &t->part);
	return 0;
}

static void choose_defaults(struct trainer *t)
{
	struct plan *p = &t->plan;
	const char *opt = rdu_file_meta(t->s.file, "optimizer", NULL);

	if (p->seed < 0)
		p->seed = 1;
	if (p->schedule < 0)
		p->schedule = COSINE;
	if (p->lr < 0)
		p->lr = opt && !strncmp(opt, "adam", 4) ? 0.002 : 0.1;
	if (p->second_lr < 0)
		p->second_lr = p->lr / 2;
	if (p->warm_up < 0)
		p->warm_up = 0;
	if (p->hold_out < 0)
		p->hold_out = 0;
}

static int count_steps(struct trainer *t)
{
	unsigned int in_step = t->batch * t->micro;

	t->steps_per_epoch = (t->part.count + in_step - 1) / in_step;
	if (t->plan.resume && t->plan.epochs < 0 && t->plan.max_steps < 0)
		return 0; /* as many as before */
	t->steps = t->steps_per_epoch * (t->plan.epochs < 0 ? 1 : t->plan.epochs);
	if (t->plan.max_steps > 0 && (t->steps > t->plan.max_steps || t->plan.epochs < 0))
		t->steps = t->plan.max_steps;
	return t->steps ? 0
			: fail("--epochs %g of %u steps each: that is no step", t->plan.epochs,
			       t->steps_per_epoch);
}

static int prepare(struct trainer *t)
{
	if (t->plan.resume && (checkpoint_compare(t) || checkpoint_read(t)))
		return EXIT_FAIL;
	choose_defaults(t);
	if (read_data(t))
		return EXIT_FAIL;
	t->batch = t->data.batch;
	if (count_steps(t) || (t->plan.resume && checkpoint_goes_on(t)) || checkpoint_check(t))
		return EXIT_FAIL;
	if (t->plan.warm_up >= t->steps)
		return fail("--warm-up %.0f: all of the %u steps", t->plan.warm_up, t->steps);
	t->order = xmalloc(t->part.count * sizeof(*t->order));
	t->pick = xmalloc(t->batch * sizeof(*t->pick));
	t->curve = xcalloc(t->steps - t->first, sizeof(*t->curve));
	t->held_loss = NAN;
	if (rdu_program_bind(t->s.prog, "lr", &t->lr, sizeof(t->lr)))
		return fail("%s", rdu_error_text(t->s.prog));
	if (bind_data(t, &t->data) || make_room(t) || check_finite(t))
		return EXIT_FAIL;
	return log_open(t);
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

static void finish(struct trainer *t)
{
	unsigned int i;

	session_close(&t->s);
	data_free(&t->data);
	data_free(&t->held_data);
	if (t->log)
		fclose(t->log);
	for (i = 0; i < AHEAD; i++)
		free(t->flight[i].loss);
	for (i = 0; i < MAX_FIELDS + 2; i++)
		free(t->rows[i].data);
	free(t->order);
	free(t->curve);
	free(t->pick);
	free(t->finite);
}

/* Files of data: FILE, or NAME=FILE. */
static unsigned int add_sources(struct lr_outfile_use *use, unsigned int num,
				const struct data_options *o)
{
	unsigned int i;

	for (i = 0; i < o->num_sources; i++) {
		const char *path = o->source[i], *behind = strchr(path, '=');

		use[num++].path = behind && access(path, F_OK) ? behind + 1 : path;
	}
	return num;
}

/* What is read must not be written; but a checkpoint may take the place of the one that is
 * gone on from. */
static int check_plan(struct trainer *t)
{
	struct plan *p = &t->plan;
	bool same = p->path && p->resume && lr_outfile_same(p->path, p->resume);
	struct lr_outfile_use first[5 + 2 * MAX_FIELDS] = { { NULL, same ? NULL : p->path },
							    { "--save", p->save },
							    { "--log", p->log },
							    { "--loss-curve", p->curve },
							    { "--results", p->results } };
	const struct lr_outfile_use then[] = { { NULL, p->resume },
					       { "--log", p->log },
					       { "--loss-curve", p->curve },
					       { "--results", p->results } };
	unsigned int i, num = add_sources(first, 5, &p->data);

	num = add_sources(first, num, &p->held);
	t->out = stdout;
	for (i = 1; i < 5; i++)
		if (first[i].path && lr_outfile_is_stdout(first[i].path))
			t->out = stderr;
	return check_files(first, num) || check_files(then, 4) ? EXIT_FAIL : 0;
}

int cmd_train(int argc, char **argv)
{
	struct trainer t = { .plan = { .epochs = -1,
				       .lr = -1,
				       .seed = -1,
				       .max_steps = -1,
				       .schedule = -1,
				       .progress = -1,
				       .warm_up = -1,
				       .second_lr = -1,
				       .hold_out = -1,
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
