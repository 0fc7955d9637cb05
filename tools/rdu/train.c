// SPDX-License-Identifier: MIT
/*
 * rdu train: a training loop over labelled images. Weights stay on the card; a
 * step sends a batch and one RUN command, and some steps are always queued ahead.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "rdu_tool.h"

#define AHEAD 4 /* steps in flight */

enum schedule { COSINE, CONSTANT };

struct plan {
	const char *device, *path, *data, *save, *curve, *log, *results, *entry;
	double epochs, lr, seed, max_steps;
	enum schedule schedule;
	int progress; /* 1: always, 0: never, -1: when it is a terminal */
	bool json;
};

struct names { /* symbols of the entry point */
	const struct rdu_file_symbol *x, *labels, *lr, *loss;
};

struct trainer {
	struct session s;
	struct plan plan;
	struct names names;
	struct images images;
	unsigned int *order;
	unsigned int batch, steps_per_epoch, steps;
	float *x, lr;
	int64_t *labels;
	float loss[AHEAD];
	struct rdu_job *jobs[AHEAD];
	struct loss_point *curve;
	unsigned int done;
	struct rdu_stats sum;
	FILE *log;
	double start, last_line;
};

/* ---- what to train with ------------------------------------------------------------- */

static int find_names(struct session *s, const char *entry, struct names *n)
{
	int e = rdu_file_find_entry(s->file, entry);
	unsigned int i;

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
		else
			n->x = sym;
	}
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

/* ---- the loop --------------------------------------------------------------------------- */

static void progress(struct trainer *t, bool last)
{
	const struct loss_point *p = &t->curve[t->done - 1];
	double now = now_seconds(), elapsed = now - t->start;
	double card = (t->sum.end_cycle - t->sum.start_cycle) / chip_hz(&t->s);
	bool terminal = t->plan.progress == 1 || (t->plan.progress < 0 && isatty(1));
	unsigned int tenth = t->steps / 10 ? t->steps / 10 : 1,
		     from = t->done > 20 ? t->done - 20 : 0;
	char text[32], bar[25];
	float mean = 0;
	unsigned int i;

	if (!t->plan.progress || t->plan.json)
		return;
	if (terminal ? !last && now - t->last_line < 0.1 : !last && t->done % tenth)
		return;
	t->last_line = now;
	for (i = from; i < t->done; i++)
		mean += t->curve[i].loss / (t->done - from);
	for (i = 0; i < 24; i++)
		bar[i] = i < 24ull * t->done / t->steps ? '#' : '.';
	bar[24] = 0;
	printf("%s[%s] step %*u/%u  loss %.4f  lr %.2e  %5.0f images/s  card time %s%s",
	       terminal ? "\r" : "", bar, t->steps > 999 ? 4 : 3, t->done, t->steps, mean, p->lr,
	       (double)t->done * t->batch / elapsed, human_time(card, text, sizeof(text)),
	       terminal && !last ? "   " : "   \n");
	line_open = terminal && !last;
	fflush(stdout);
}

/* Waits for a step that was queued. */
static int collect(struct trainer *t)
{
	unsigned int slot = t->done % AHEAD;
	struct loss_point *p = &t->curve[t->done];
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
	if (t->log)
		fprintf(t->log, "%u,%.9g,%.9g,%llu,%llu\n", p->step, p->loss, p->lr,
			(unsigned long long)(st.end_cycle - st.start_cycle),
			(unsigned long long)st.wall_ns);
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

static int loop(struct trainer *t)
{
	unsigned int step, i;
	int ret = 0;

	t->start = now_seconds();
	for (step = 0; step < t->steps && !ret; step++) {
		ret = submit(t, step);
		if (!ret && step - t->done + 1 == AHEAD)
			ret = collect(t);
	}
	while (!ret && t->done < t->steps)
		ret = collect(t);
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
	t->steps = t->steps_per_epoch * t->plan.epochs;
	if (t->plan.max_steps && t->steps > t->plan.max_steps)
		t->steps = t->plan.max_steps;
	t->curve = xcalloc(t->steps, sizeof(*t->curve));
	t->x = xmalloc(rdu_symbol_size(n->x));
	t->labels = xmalloc(rdu_symbol_size(n->labels));
	if (!t->plan.lr) {
		const char *opt = rdu_file_meta(t->s.file, "optimizer", NULL);

		t->plan.lr = opt && !strncmp(opt, "adam", 4) ? 0.002 : 0.1;
	}
	if (rdu_program_bind(prog, n->x->name, t->x, rdu_symbol_size(n->x)) ||
	    rdu_program_bind(prog, n->labels->name, t->labels, rdu_symbol_size(n->labels)) ||
	    rdu_program_bind(prog, n->lr->name, &t->lr, sizeof(t->lr)))
		return fail("%s", rdu_error_text(prog));
	if (t->plan.log) {
		t->log = fopen(t->plan.log, "w");
		if (!t->log)
			return fail("%s: %s", t->plan.log, strerror(errno));
		fprintf(t->log, "step,loss,lr,card_cycles,wall_ns\n");
	}
	return 0;
}

static int report(struct trainer *t, double wall)
{
	double hz = chip_hz(&t->s), card = (t->sum.end_cycle - t->sum.start_cycle) / hz;
	unsigned int from = t->done > 100 ? t->done - 100 : 0, i;
	char text[32], subtitle[160];
	double mean = 0;
	uint64_t hash;
	struct json j;
	FILE *out;

	if (rdu_program_weights_hash(t->s.prog, &hash))
		return fail("%s", rdu_error_text(t->s.prog));
	for (i = from; i < t->done; i++)
		mean += t->curve[i].loss / (t->done - from);
	snprintf(subtitle, sizeof(subtitle), "%u steps of %u images, %s%s, card time %s (modelled)",
		 t->done, t->batch, rdu_file_chip(t->s.file)->name,
		 rdu_file_chip(t->s.file)->assumed ? " (numbers partly assumed)" : "",
		 human_time(card, text, sizeof(text)));
	if (t->plan.curve &&
	    write_loss_svg(t->plan.curve, t->curve, t->done, "Training loss", subtitle))
		return fail("%s: %s", t->plan.curve, strerror(errno));
	if (t->plan.save && rdu_program_save(t->s.prog, t->plan.save))
		return fail("%s", rdu_error_text(t->s.prog));
	if (t->log && (fclose(t->log) || (t->log = NULL)))
		return fail("%s: write error", t->plan.log);
	if (t->plan.json) {
		char hex[24];

		json_open(&j, stdout);
		json_integer(&j, "steps", t->done);
		json_number(&j, "loss", mean);
		json_stats(&j, "stats", &t->sum, hz);
		json_number(&j, "wall_seconds", wall);
		json_number(&j, "images_per_second", t->done * (double)t->batch / wall);
		snprintf(hex, sizeof(hex), "%016llx", (unsigned long long)hash);
		json_string(&j, "weights_hash", hex);
		json_close(&j);
		return 0;
	}
	print_stats(stdout, &t->sum, hz);
	out = t->plan.results ? fopen(t->plan.results, "w") : stdout;
	if (!out)
		return fail("%s: %s", t->plan.results, strerror(errno));
	fprintf(out, "steps %u\nloss %.6f\n", t->done, mean);
	fprintf(out,
		"modelled_seconds %.6f\nmodelled_exec_seconds %.6f\n"
		"modelled_pload_seconds %.6f\nmodelled_aload_seconds %.6f\n",
		card, t->sum.exec_cycles / hz, t->sum.pload_cycles / hz, t->sum.aload_cycles / hz);
	fprintf(out, "wall_seconds %.3f\nimages_per_second %.0f\nweights_hash %016llx\n", wall,
		t->done * (double)t->batch / wall, (unsigned long long)hash);
	if (out != stdout && fclose(out))
		return fail("%s: write error", t->plan.results);
	return 0;
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

#define TRAIN_HELP                                                                             \
	"      --data DIR         train-images-idx3-ubyte.gz and train-labels-idx1-ubyte.gz\n" \
	"      --epochs N         (1)\n"                                                       \
	"      --steps N          stop after N steps (0: when the epochs are done)\n"          \
	"      --lr RATE          at the start (0.002 with an Adam optimizer, else 0.1)\n"     \
	"      --schedule KIND    cosine (to zero at the end, default) or constant\n"          \
	"      --seed N           of the order of images (1)\n"                                \
	"      --save OUT.rdu     the program with the trained weights\n"                      \
	"      --loss-curve FILE  picture (SVG)\n"                                             \
	"      --log FILE         a line each step (CSV)\n"                                    \
	"      --results FILE     the \"key value\" lines go there instead\n"                  \
	"      --progress WHEN    auto (rewritten line on a terminal), always, never\n"        \
	"  -j, --json             the summary for programs\n"

static int parse(int argc, char **argv, struct plan *p)
{
	enum {
		DATA = 256,
		EPOCHS,
		STEPS,
		LR,
		SCHEDULE,
		SEED,
		SAVE,
		CURVE,
		LOG,
		PROGRESS,
		ENTRY,
		RESULTS
	};
	static const struct option options[] = { DEVICE_OPTION,
						 JSON_OPTION,
						 HELP_OPTION,
						 { "data", required_argument, NULL, DATA },
						 { "epochs", required_argument, NULL, EPOCHS },
						 { "steps", required_argument, NULL, STEPS },
						 { "lr", required_argument, NULL, LR },
						 { "schedule", required_argument, NULL, SCHEDULE },
						 { "seed", required_argument, NULL, SEED },
						 { "save", required_argument, NULL, SAVE },
						 { "loss-curve", required_argument, NULL, CURVE },
						 { "log", required_argument, NULL, LOG },
						 { "progress", required_argument, NULL, PROGRESS },
						 { "entry", required_argument, NULL, ENTRY },
						 { "results", required_argument, NULL, RESULTS },
						 { 0 } };
	static const char *const schedules[] = { "cosine", "constant", NULL };
	static const char *const progresses[] = { "auto", "never", "always", NULL };
	unsigned int word;
	bool ok = true;
	int c;

	while (ok && (c = getopt_long(argc, argv, "d:jh", options, NULL)) >= 0) {
		switch (c) {
		case 'd':
			p->device = optarg;
			break;
		case 'j':
			p->json = true;
			break;
		case DATA:
			p->data = optarg;
			break;
		case EPOCHS:
			ok = parse_number("--epochs", optarg, 0.001, 10000, &p->epochs);
			break;
		case STEPS:
			ok = parse_count("--steps", optarg, 0, 1e8, &p->max_steps);
			break;
		case LR:
			ok = parse_number("--lr", optarg, 1e-12, 1e6, &p->lr);
			break;
		case SEED:
			ok = parse_count("--seed", optarg, 0, 9e15, &p->seed);
			break;
		case SCHEDULE:
			ok = parse_word("--schedule", optarg, schedules, &word);
			p->schedule = word ? CONSTANT : COSINE;
			break;
		case PROGRESS:
			ok = parse_word("--progress", optarg, progresses, &word);
			p->progress = (int)word - 1;
			break;
		case SAVE:
			p->save = optarg;
			break;
		case CURVE:
			p->curve = optarg;
			break;
		case LOG:
			p->log = optarg;
			break;
		case ENTRY:
			p->entry = optarg;
			break;
		case RESULTS:
			p->results = optarg;
			break;
		case 'h':
			exit(help("train", DEVICE_HELP TRAIN_HELP));
		default:
			return EXIT_USAGE;
		}
	}
	if (!ok)
		return EXIT_USAGE;
	if (optind + 1 != argc || !p->data)
		return usage("train", "want one FILE.rdu and --data DIR");
	p->path = argv[optind];
	return 0;
}

int cmd_train(int argc, char **argv)
{
	struct trainer t = {
		.plan = { .epochs = 1, .seed = 1, .progress = -1, .entry = "train_step" }
	};
	int ret = parse(argc, argv, &t.plan);
	double start;

	if (ret)
		return ret;
	ret = session_open(&t.s, t.plan.device, t.plan.path);
	if (!ret)
		ret = prepare(&t);
	start = now_seconds();
	if (!ret)
		ret = loop(&t);
	if (!ret)
		ret = report(&t, now_seconds() - start);
	finish(&t);
	return ret;
}
