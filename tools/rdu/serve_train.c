// SPDX-License-Identifier: MIT
/*
 * rdu serve-train: examples in the order in which they come, a batch at a time. Each batch is
 * answered first, by the weights of now and by a frozen copy of the first ones; then the training
 * step learns from it. Both programs are on one card, and take turns on the same tiles.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "data.h"

#define WINDOW 20 /* batches that a point of the picture is the mean of */

enum { LIVE, FROZEN };

struct server {
	struct session s;
	struct rdu_program *program[2]; /* LIVE is the session's */
	const char *device, *path, *save, *log_path, *picture, *results;
	struct data_options options;
	double want, lr_given;
	bool wait;
	struct dataset data;
	struct part part;
	const struct field *labels; /* NULL: answers have no classes */
	const struct rdu_file_symbol *logits; /* of forward; NULL: only losses are known */
	unsigned int batches, done;
	float lr, loss, *out;
	float *value[2]; /* of each batch: the accuracy, or the loss */
	struct rdu_stats serve, train; /* of LIVE */
	FILE *log;
	struct lr_outfile log_file;
};

/* ---- what is there ------------------------------------------------------------------------ */

/* Logits of whole batches of labels: then answers are right or wrong. */
static void find_logits(struct server *v)
{
	int e = rdu_file_find_entry(v->s.file, "forward");
	unsigned int i;

	for (i = 0; i < v->data.num_fields; i++)
		if (v->data.field[i].labels)
			v->labels = &v->data.field[i];
	for (i = 0; v->labels && e >= 0 && i < rdu_file_num_symbols(v->s.file); i++) {
		const struct rdu_file_symbol *sym = rdu_file_get_symbol(v->s.file, i);
		const struct rdu_file_symbol *labels = v->labels->sym;

		if (!(sym->entries >> e & 1) || !(sym->flags & RDU_SYM_OUTPUT) ||
		    sym->dtype != RDU_DT_F32 || sym->ndim != labels->ndim + 1 ||
		    memcmp(sym->dims, labels->dims, labels->ndim * sizeof(sym->dims[0])))
			continue;
		if (!v->logits || !strcmp(sym->name, "logits"))
			v->logits = sym;
	}
}

static int bind(struct server *v, struct rdu_program *p)
{
	unsigned int k;
	int ret = rdu_program_bind(p, "loss", &v->loss, sizeof(v->loss));

	for (k = 0; k < v->data.num_fields && !ret; k++)
		ret = rdu_program_bind(p, v->data.field[k].sym->name, v->data.field[k].batch,
				       rdu_symbol_size(v->data.field[k].sym));
	if (v->logits && !ret)
		ret = rdu_program_bind(p, v->logits->name, v->out, rdu_symbol_size(v->logits));
	return ret ? fail("%s", rdu_error_text(p)) : 0;
}

static int prepare(struct server *v)
{
	const char *opt = rdu_file_meta(v->s.file, "optimizer", NULL);
	const char *micro = rdu_file_meta(v->s.file, "accumulate", NULL);

	if (data_fields(&v->data, &v->s, "train_step", &v->options) ||
	    data_read(&v->data, &v->options, "train"))
		return EXIT_FAIL;
	if (micro)
		return fail("%s takes %lu batches a step (rduc --accumulate): here each batch is a "
			    "step",
			    v->path, strtoul(micro, NULL, 10));
	if (rdu_file_find_entry(v->s.file, "evaluate") < 0)
		return fail("%s: it can't tell the loss of what it serves",
			    rdu_error_text(v->s.file));
	v->part = data_all(&v->data, false);
	v->batches = v->part.count / v->data.batch;
	if (v->want && v->want < v->batches)
		v->batches = v->want;
	if (!v->batches)
		return fail("%u %s are less than a batch of %u", v->part.count, v->data.unit,
			    v->data.batch);
	v->lr = v->lr_given > 0 ? v->lr_given : opt && !strncmp(opt, "adam", 4) ? 0.002 : 0.1;
	find_logits(v);
	if (v->logits)
		v->out = xmalloc(rdu_symbol_size(v->logits));
	v->value[LIVE] = xcalloc(v->batches, sizeof(float));
	v->value[FROZEN] = xcalloc(v->batches, sizeof(float));
	v->program[LIVE] = v->s.prog;
	if (rdu_program_load(v->s.ctx, v->s.file, &v->program[FROZEN]))
		return fail("%s", rdu_error_text(v->program[FROZEN]));
	if (bind(v, v->program[LIVE]) || bind(v, v->program[FROZEN]))
		return EXIT_FAIL;
	if (rdu_program_bind(v->s.prog, "lr", &v->lr, sizeof(v->lr)))
		return fail("%s", rdu_error_text(v->s.prog));
	if (!v->log_path)
		return 0;
	v->log = lr_outfile_open(&v->log_file, v->log_path);
	if (!v->log)
		return fail("%s: %s", v->log_path, strerror(-v->log_file.error));
	fprintf(v->log, "batch,%s,frozen_%s,loss\n", v->logits ? "accuracy" : "served_loss",
		v->logits ? "accuracy" : "loss");
	return 0;
}

/* ---- the loop ------------------------------------------------------------------------------- */

/* Share of the labels with a class whose logit is the largest. */
static double accuracy(const struct server *v)
{
	size_t classes = v->logits->dims[v->logits->ndim - 1], i, c;
	size_t n = rdu_symbol_size(v->logits) / sizeof(float) / classes, right = 0, all = 0;

	for (i = 0; i < n; i++) {
		double label = data_element(v->labels->batch, v->labels->sym->dtype, i);
		const float *y = v->out + i * classes;
		size_t best = 0;

		if (label < 0)
			continue;
		for (c = 1; c < classes; c++)
			if (y[c] > y[best])
				best = c;
		right += best == label;
		all++;
	}
	return (double)right / all;
}

/* What one of the two makes of the batch. */
static int answer(struct server *v, int who)
{
	struct rdu_stats st;

	if (rdu_program_run(v->program[who], v->logits ? "forward" : "evaluate", &st))
		return fail("batch %u: %s", v->done + 1, rdu_error_text(v->program[who]));
	if (who == LIVE)
		add_stats(&v->serve, &st);
	v->value[who][v->done] = v->logits ? accuracy(v) : v->loss;
	return 0;
}

static double mean(const float *v, unsigned int from, unsigned int to)
{
	double sum = 0;
	unsigned int i;

	for (i = from; i < to; i++)
		sum += v[i];
	return sum / (to - from);
}

static int one_batch(struct server *v)
{
	unsigned int pick[v->data.batch], i;
	struct rdu_stats st;

	for (i = 0; i < v->data.batch; i++)
		pick[i] = v->done * v->data.batch + i;
	if (!data_batch(&v->data, &v->part, 0, pick, v->data.batch))
		return fail("batch %u: none of its labels has a class", v->done + 1);
	if (answer(v, FROZEN) || answer(v, LIVE))
		return EXIT_FAIL;
	if (rdu_program_run(v->program[LIVE], "train_step", &st))
		return fail("batch %u: %s", v->done + 1, rdu_error_text(v->program[LIVE]));
	add_stats(&v->train, &st);
	if (!isfinite(v->loss))
		return fail("batch %u: the loss is %g: the learning rate (%g) may be too high",
			    v->done + 1, v->loss, v->lr);
	if (v->log)
		fprintf(v->log, "%u,%.6g,%.6g,%.6g\n", v->done + 1, v->value[LIVE][v->done],
			v->value[FROZEN][v->done], v->loss);
	v->done++;
	return 0;
}

static int loop(struct server *v)
{
	unsigned int tenth = v->batches / 10 ? v->batches / 10 : 1;
	int ret = 0;

	while (v->done < v->batches && !ret) {
		ret = one_batch(v);
		if (!ret && (v->done % tenth == 0 || v->done == v->batches)) {
			unsigned int from = v->done - (v->done < tenth ? v->done : tenth);

			printf("batch %u/%u  %s of the last %u: %.4f, frozen %.4f\n", v->done,
			       v->batches, v->logits ? "accuracy" : "loss", v->done - from,
			       mean(v->value[LIVE], from, v->done),
			       mean(v->value[FROZEN], from, v->done));
			fflush(stdout);
		}
	}
	return ret;
}

/* ---- what came of it ------------------------------------------------------------------------ */

static double seconds(const struct server *v, const struct rdu_stats *st)
{
	return (st->exec_cycles + st->pload_cycles + st->aload_cycles) / chip_hz(&v->s);
}

static int write_picture(struct server *v)
{
	const char *what = v->logits ? "accuracy" : "loss";
	struct curve curves[2] = { { "learns", "#0b5cad", NULL }, { "frozen", "#c0561a", NULL } };
	float *smooth[2];
	char name[80];
	unsigned int k, i;
	int ret;

	for (k = 0; k < 2; k++) {
		smooth[k] = xcalloc(v->done + 1, sizeof(float));
		for (i = 0; i < v->done; i++)
			smooth[k][i] =
				mean(v->value[k], i + 1 > WINDOW ? i + 1 - WINDOW : 0, i + 1);
		curves[k].y = smooth[k];
	}
	snprintf(name, sizeof(name), "%s, mean of %d batches", what, WINDOW);
	ret = write_curves_svg(v->picture, curves, 2, v->done,
			       "Served, and learned from, batch by batch", v->path, "batch", name);
	free(smooth[0]);
	free(smooth[1]);
	return ret ? fail("%s: %s", v->picture, strerror(-ret)) : 0;
}

static int report(struct server *v)
{
	const char *what = v->logits ? "accuracy" : "loss";
	unsigned int last = v->done - v->done / 4;
	struct lr_outfile o;
	FILE *f = stdout;
	int ret = 0;

	if (v->picture && write_picture(v))
		return EXIT_FAIL;
	if (v->save && rdu_program_save(v->s.prog, v->save))
		return fail("%s", rdu_error_text(v->s.prog));
	if (v->results)
		f = lr_outfile_open(&o, v->results);
	if (!f)
		return fail("%s: %s", v->results, strerror(-o.error));
	if (last == v->done)
		last = 0;
	fprintf(f, "batches %u\n%s %.6f\nfrozen_%s %.6f\n", v->done, what,
		mean(v->value[LIVE], 0, v->done), what, mean(v->value[FROZEN], 0, v->done));
	fprintf(f, "last_quarter_%s %.6f\nlast_quarter_frozen_%s %.6f\n", what,
		mean(v->value[LIVE], last, v->done), what, mean(v->value[FROZEN], last, v->done));
	fprintf(f, "modelled_serve_seconds %.6f\nmodelled_train_seconds %.6f\n",
		seconds(v, &v->serve), seconds(v, &v->train));
	if (v->results)
		ret = lr_outfile_close(&o);
	return ret ? fail("%s: %s", v->results, strerror(-ret)) : 0;
}

static int close_log(struct server *v)
{
	int ret = v->log ? lr_outfile_close(&v->log_file) : 0;

	return ret ? fail("%s: %s", v->log_path, strerror(-ret)) : 0;
}

/* ---- the command ------------------------------------------------------------------------------ */

static const char help_text[] = DEVICE_HELP WAIT_HELP DATA_HELP
	"      --batches N        only the first N batches\n"
	"      --lr RATE          of each step (0.002 with an Adam optimizer, else 0.1)\n"
	"      --save OUT.rdu     the program with the weights of the end\n"
	"      --log FILE         a line each batch (CSV)\n"
	"      --picture FILE     both over time (SVG)\n"
	"      --results FILE     the \"key value\" lines go there instead\n";

enum { OPT_BATCHES = 256, OPT_LR, OPT_SAVE, OPT_LOG, OPT_PICTURE, OPT_RESULTS };

static const struct option options[] = { DEVICE_OPTION,
					 WAIT_OPTION,
					 HELP_OPTION,
					 DATA_OPTIONS,
					 { "batches", required_argument, NULL, OPT_BATCHES },
					 { "lr", required_argument, NULL, OPT_LR },
					 { "save", required_argument, NULL, OPT_SAVE },
					 { "log", required_argument, NULL, OPT_LOG },
					 { "picture", required_argument, NULL, OPT_PICTURE },
					 { "results", required_argument, NULL, OPT_RESULTS },
					 { 0 } };

static bool take_option(struct server *v, int c, int index)
{
	const char **path = c == OPT_SAVE      ? &v->save
			    : c == OPT_LOG     ? &v->log_path
			    : c == OPT_PICTURE ? &v->picture
			    : c == OPT_RESULTS ? &v->results
			    : c == 'd'	       ? &v->device
					       : NULL;

	if (path)
		*path = optarg;
	else if (c == 'W')
		v->wait = true;
	else if (c == DATA_OPTION)
		return data_option(&v->options, options[index].name, optarg);
	else if (c == OPT_BATCHES)
		return parse_count("--batches", optarg, 1, 1e9, &v->want);
	else if (c == OPT_LR)
		return parse_number("--lr", optarg, 1e-12, 1e6, &v->lr_given);
	else
		return false;
	return true;
}

static void finish(struct server *v)
{
	rdu_program_free(v->program[FROZEN]);
	session_close(&v->s);
	data_free(&v->data);
	free(v->out);
	free(v->value[LIVE]);
	free(v->value[FROZEN]);
}

int cmd_serve_train(int argc, char **argv)
{
	struct server v = { 0 };
	int c, index = 0, ret;

	while ((c = getopt_long(argc, argv, "d:h", options, &index)) >= 0) {
		if (c == 'h')
			return help("serve-train", help_text);
		if (!take_option(&v, c, index))
			return EXIT_USAGE;
	}
	if (optind + 1 != argc || !v.options.num_sources)
		return usage("serve-train", "want one FILE.rdu and --data DATA");
	v.path = argv[optind];
	ret = check_files((struct lr_outfile_use[]){ { NULL, v.path },
						     { "--save", v.save },
						     { "--log", v.log_path },
						     { "--picture", v.picture },
						     { "--results", v.results } },
			  5);
	if (ret)
		return ret;
	ret = session_open(&v.s, v.device, v.path, v.wait);
	if (!ret)
		ret = prepare(&v);
	if (!ret)
		ret = loop(&v);
	ret |= close_log(&v);
	if (!ret)
		ret = report(&v);
	finish(&v);
	return ret;
}
