// SPDX-License-Identifier: MIT
/* rdu eval: serve the test images, tell how many were right. */
#include <stdlib.h>
#include <string.h>
#include "rdu_tool.h"

#define AHEAD 4 /* batches in flight */

struct eval {
	struct session s;
	const char *device, *path, *data, *labels, *results, *entry;
	double count;
	bool json, wait;
	const struct rdu_file_symbol *x, *y;
	struct images images;
	unsigned int batch, classes, batches;
	float *in, *out[AHEAD];
	struct rdu_job *jobs[AHEAD];
	unsigned char *answers;
	struct rdu_stats sum;
};

static int prepare(struct eval *e)
{
	int entry = rdu_file_find_entry(e->s.file, e->entry);
	unsigned int i, num_in = 0, num_out = 0;
	char error[512];

	if (entry < 0)
		return fail("%s", rdu_error_text(e->s.file));
	for (i = 0; i < rdu_file_num_symbols(e->s.file); i++) {
		const struct rdu_file_symbol *sym = rdu_file_get_symbol(e->s.file, i);

		if (!(sym->entries >> entry & 1))
			continue;
		if (sym->flags & RDU_SYM_INPUT) {
			num_in++;
			e->x = sym;
		}
		if (sym->flags & RDU_SYM_OUTPUT) {
			num_out++;
			e->y = sym;
		}
	}
	if (num_in > 1 || num_out > 1)
		return fail(
			"entry point %s has %u inputs and %u outputs: `rdu eval` serves images, "
			"one input and one output; `rdu run` takes any number",
			e->entry, num_in, num_out);
	if (!e->x || !e->y || e->x->dtype != RDU_DT_F32 || e->y->dtype != RDU_DT_F32 ||
	    e->x->ndim < 2 || e->y->ndim != 2 || e->x->dims[0] != e->y->dims[0] || !e->x->dims[0] ||
	    e->y->dims[1] > 256)
		return fail("entry point %s: want an input float32[batch,...] and an output "
			    "float32[batch,classes]",
			    e->entry);
	if (images_read(e->data, "t10k", &e->images, error, sizeof(error)))
		return fail("%s", error);
	if (e->count && e->count < e->images.count)
		e->images.count = e->count;
	e->batch = e->x->dims[0];
	e->classes = e->y->dims[1];
	e->batches = (e->images.count + e->batch - 1) / e->batch;
	if (rdu_symbol_size(e->x) != 4ull * e->batch * e->images.rows * e->images.cols)
		return fail("\"%s\" does not take images of %u x %u", e->x->name, e->images.rows,
			    e->images.cols);
	e->in = xmalloc(rdu_symbol_size(e->x));
	for (i = 0; i < AHEAD; i++)
		e->out[i] = xmalloc(rdu_symbol_size(e->y));
	e->answers = xmalloc(e->batches * e->batch);
	if (rdu_program_bind(e->s.prog, e->x->name, e->in, rdu_symbol_size(e->x)))
		return fail("%s", rdu_error_text(e->s.prog));
	return 0;
}

static int submit(struct eval *e, unsigned int b)
{
	unsigned int order[e->batch], n, slot = b % AHEAD;

	for (n = 0; n < e->batch && b * e->batch + n < e->images.count; n++)
		order[n] = b * e->batch + n;
	images_batch(&e->images, order, n, e->batch, e->in);
	if (rdu_program_bind(e->s.prog, e->y->name, e->out[slot], rdu_symbol_size(e->y)))
		return fail("%s", rdu_error_text(e->s.prog));
	if (rdu_program_submit(e->s.prog, e->entry, &e->jobs[slot]))
		return fail("%s", rdu_error_text(e->jobs[slot]));
	return 0;
}

static int collect(struct eval *e, unsigned int b)
{
	unsigned int slot = b % AHEAD, i, c;
	struct rdu_stats st;
	int ret = rdu_job_wait(e->jobs[slot], -1, &st);

	if (ret)
		fail("%s", rdu_error_text(e->jobs[slot]));
	rdu_job_free(e->jobs[slot]);
	e->jobs[slot] = NULL;
	if (ret)
		return EXIT_FAIL;
	add_stats(&e->sum, &st);
	for (i = 0; i < e->batch; i++) {
		const float *y = e->out[slot] + i * e->classes;
		unsigned int best = 0;

		for (c = 1; c < e->classes; c++)
			if (y[c] > y[best])
				best = c;
		e->answers[b * e->batch + i] = best;
	}
	return 0;
}

static int loop(struct eval *e)
{
	unsigned int b, done = 0, i;
	int ret = 0;

	for (b = 0; b < e->batches && !ret; b++) {
		ret = submit(e, b);
		if (!ret && b - done + 1 == AHEAD)
			ret = collect(e, done++);
	}
	while (!ret && done < e->batches)
		ret = collect(e, done++);
	for (i = 0; i < AHEAD; i++)
		rdu_job_free(e->jobs[i]);
	return ret;
}

static int write_labels(struct eval *e)
{
	struct lr_outfile o;
	FILE *f = lr_outfile_open(&o, e->labels);
	unsigned int i;
	int ret;

	for (i = 0; f && i < e->images.count; i++)
		fprintf(f, "%u\n", e->answers[i]);
	ret = lr_outfile_close(&o);
	return ret ? fail("%s: %s", e->labels, strerror(-ret)) : 0;
}

static int report(struct eval *e, double wall)
{
	double hz = chip_hz(&e->s), accuracy;
	unsigned int right = 0, i;
	struct json j;
	struct lr_outfile o;
	FILE *out = stdout;
	int ret = 0;

	for (i = 0; i < e->images.count; i++)
		right += e->answers[i] == e->images.labels[i];
	accuracy = (double)right / e->images.count;
	if (e->labels && write_labels(e))
		return EXIT_FAIL;
	if (e->json) {
		json_open(&j, stdout);
		json_number(&j, "accuracy", accuracy);
		json_integer(&j, "right", right);
		json_integer(&j, "images", e->images.count);
		json_stats(&j, "stats", &e->sum, hz);
		json_number(&j, "wall_seconds", wall);
		json_close(&j);
		return 0;
	}
	print_stats(stdout, &e->sum, hz);
	if (e->results)
		printf("accuracy %.4f (%u of %u)\n", accuracy, right, e->images.count);
	if (e->results)
		out = lr_outfile_open(&o, e->results);
	if (!out)
		return fail("%s: %s", e->results, strerror(-o.error));
	fprintf(out, "images %u\nright %u\naccuracy %.4f\n", e->images.count, right, accuracy);
	if (e->sum.energy)
		fprintf(out, "modelled_joules %.6g\n", e->sum.energy * 1e-12);
	fprintf(out, "modelled_seconds %.6f\nwall_seconds %.3f\nimages_per_second %.0f\n",
		(e->sum.end_cycle - e->sum.start_cycle) / hz, wall, e->images.count / wall);
	if (e->results)
		ret = lr_outfile_close(&o);
	return ret ? fail("%s: %s", e->results, strerror(-ret)) : 0;
}

int cmd_eval(int argc, char **argv)
{
	static const struct option options[] = { DEVICE_OPTION,
						 WAIT_OPTION,
						 JSON_OPTION,
						 HELP_OPTION,
						 { "data", required_argument, NULL, 'D' },
						 { "labels", required_argument, NULL, 'l' },
						 { "count", required_argument, NULL, 'n' },
						 { "results", required_argument, NULL, 'r' },
						 { "entry", required_argument, NULL, 'e' },
						 { 0 } };
	struct eval e = { .entry = "forward" };
	double start;
	unsigned int i;
	int c, ret;

	while ((c = getopt_long(argc, argv, "d:jh", options, NULL)) >= 0) {
		switch (c) {
		case 'd':
			e.device = optarg;
			break;
		case 'j':
			e.json = true;
			break;
		case 'D':
			e.data = optarg;
			break;
		case 'l':
			e.labels = optarg;
			break;
		case 'n':
			if (!parse_count("--count", optarg, 0, 1e9, &e.count))
				return EXIT_USAGE;
			break;
		case 'r':
			e.results = optarg;
			break;
		case 'e':
			e.entry = optarg;
			break;
		case 'W':
			e.wait = true;
			break;
		case 'h':
			return help(
				"eval", DEVICE_HELP WAIT_HELP
				"      --data DIR      t10k-images-idx3-ubyte.gz, "
				"t10k-labels-idx1-ubyte.gz\n"
				"      --labels FILE   the answers, one a line\n"
				"      --count N       only the first N images\n"
				"      --results FILE  the \"key value\" lines go there instead\n"
				"      --entry NAME    (forward)\n"
				"  -j, --json          for programs\n");
		default:
			return EXIT_USAGE;
		}
	}
	if (optind + 1 != argc || !e.data)
		return usage("eval", "want one FILE.rdu and --data DIR");
	e.path = argv[optind];
	ret = check_files((struct lr_outfile_use[]){ { NULL, e.path },
						     { "--labels", e.labels },
						     { "--results", e.results } },
			  3);
	if (ret)
		return ret;
	ret = session_open(&e.s, e.device, e.path, e.wait);
	if (!ret)
		ret = prepare(&e);
	start = now_seconds();
	if (!ret)
		ret = loop(&e);
	if (!ret)
		ret = report(&e, now_seconds() - start);
	session_close(&e.s);
	images_free(&e.images);
	for (i = 0; i < AHEAD; i++)
		free(e.out[i]);
	free(e.in);
	free(e.answers);
	return ret;
}
