// SPDX-License-Identifier: MIT
/* rduc: the command line of librduc. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "display.h"
#include "graph.h"
#include "outfile.h"
#include "rduc.h"

enum { EXIT_USAGE = 2 };

static const char usage[] =
	"usage: rduc MODEL.onnx -o MODEL.rdu [options]\n"
	"       rduc --weights TRAINED.rdu MODEL.onnx -o TRAINED.onnx\n"
	"\n"
	"  -o FILE              what to write (-: standard output)\n"
	"  -q, --quiet          do not say what was made\n"
	"  --progress WHEN      auto (after 2 seconds), always, never (auto; with -q never)\n"
	"  --chip NAME|FILE     chip description (sn10)\n"
	"  -O0 | -O1 | -O3      one section per operator, rules, whole graph by cost (-O1)\n"
	"  --tiles N            virtual tiles to use (1)\n"
	"  --threads N          threads that compile (one for each processor); the program is the "
	"same\n"
	"  --pipe WHEN          groups of operators that run iteration by iteration: auto (where\n"
	"                       that is faster), always (where it can be), never (auto; -O3 only)\n"
	"  --hold WHEN          what all iterations of a loop, or all runs, read stays in "
	"scratchpads:\n"
	"                       auto (where that is faster), always (where it fits), never (auto; "
	"not at -O0)\n"
	"  --sparse-weights WHEN  zeros of weights are left out: auto (of ONNX's sparse\n"
	"                       initializers), always (of all, which keep them), never (auto)\n"
	"  --precision bf16|fp32  of contractions (bf16, where the chip has an array)\n"
	"  --shape NAME=D,D,... shape of an input; D is a size, several of them, for each of "
	"which\n"
	"                       an entry point is made (1..8, 16..512:16, 1..64:x2, "
	"[1,4,16..32:4]),\n"
	"                       or a name that --dim gives sizes to\n"
	"  --value NAME=V,V,... the elements of an input, or the one number that all of them are,\n"
	"                       if they are known now: it is no input of the program then;\n"
	"                       or ranges of sizes that runs will say, LO..HI\n"
	"  --dim NAME=SIZES     sizes of dimensions that the model, or --shape, has by this name\n"
	"  --batch N            first dimension of inputs that leave it open\n"
	"  --state IN=OUT,...   inputs that are kept from run to run, and the outputs that take\n"
	"                       their places; a * in both names stands for the same text\n"
	"  --entry NAME=FILE    one more entry point, of another ONNX file of the same weights;\n"
	"                       its inputs and outputs are called NAME/... (also for --shape)\n"
	"  --tokens-per-run N   of the entry point decode also make generate: N tokens in a run,\n"
	"                       each chosen on the card, by temperature, top_k, top_p and seed\n"
	"  --greedy             it takes the likeliest token always, which is faster\n"
	"  --constant-weights   weights are part of the program: they have no names, and cannot "
	"be\n"
	"                       changed; what is computed of them alone may be computed now\n"
	"  --train              also make the entry point train_step, with\n"
	"    --loss softmax_cross_entropy|mse|binary_cross_entropy|\n"
	"           binary_cross_entropy_with_logits|graph (softmax_cross_entropy)\n"
	"    --optimizer sgd|momentum|adam|adamw  (sgd)\n"
	"    --momentum F (0.9) --beta1 F (0.9) --beta2 F (0.999) --epsilon F (1e-8)\n"
	"    --weight-decay F (0; adamw: 0.01)\n"
	"    --no-decay PATTERN,...               weights that do not decay\n"
	"    --clip-norm F                        most that the norm of all gradients may be\n"
	"    --accumulate N (1)                   batches of a step: the mean of their gradients\n"
	"    --steps-per-run N                    also make train_steps: N steps in one run\n"
	"    --unbiased-variance                  what BatchNormalization in training mode keeps, "
	"as PyTorch\n"
	"    --train-only PATTERN,... --freeze PATTERN,...  weights to train, not to train\n"
	"  --weights FILE       take weights from this program file into the ONNX model\n"
	"  --report FILE        what each section costs, and what bounds it\n"
	"  --report-json FILE   the same for programs\n"
	"  --floor-plan FILE    SVG of units and routes\n"
	"  --dot FILE           the graph, for Graphviz\n"
	"  --print-after PASS   import, simplify, differentiate, patterns, ... (to stderr)\n"
	"  --list-ops           operators that are supported\n"
	"\n"
	"The training step reads the inputs of the model, `labels` (int64; float `target`\n"
	"for other losses than softmax_cross_entropy; nothing for graph, where the loss is\n"
	"an output of the model) and `lr` (float [1]), and writes `loss` (one float). The\n"
	"entry point evaluate writes the loss, and changes nothing.\n"
	"\n"
	"Exit code: 0 done, 1 failed, 2 wrong usage.\n";

/* Those of the library have its names; VALUE: it takes one. */
#define VALUE required_argument, NULL, OPT_LIBRARY
enum {
	OPT_LIBRARY = 256,
	OPT_TRAIN,
	OPT_CONSTANT,
	OPT_GREEDY,
	OPT_UNBIASED,
	OPT_WEIGHTS,
	OPT_PROGRESS,
	OPT_LIST,
	OPT_HELP,
	OPT_OUTPUT
};

static const struct option options[] = {
	{ "output", required_argument, NULL, 'o' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "chip", VALUE },
	{ "tiles", VALUE },
	{ "threads", VALUE },
	{ "pipe", VALUE },
	{ "hold", VALUE },
	{ "sparse-weights", VALUE },
	{ "precision", VALUE },
	{ "shape", VALUE },
	{ "dim", VALUE },
	{ "value", VALUE },
	{ "batch", VALUE },
	{ "state", VALUE },
	{ "entry", VALUE },
	{ "tokens-per-run", VALUE },
	{ "train", no_argument, NULL, OPT_TRAIN },
	{ "greedy", no_argument, NULL, OPT_GREEDY },
	{ "unbiased-variance", no_argument, NULL, OPT_UNBIASED },
	{ "constant-weights", no_argument, NULL, OPT_CONSTANT },
	{ "loss", VALUE },
	{ "optimizer", VALUE },
	{ "momentum", VALUE },
	{ "beta1", VALUE },
	{ "beta2", VALUE },
	{ "epsilon", VALUE },
	{ "weight-decay", VALUE },
	{ "no-decay", VALUE },
	{ "clip-norm", VALUE },
	{ "accumulate", VALUE },
	{ "steps-per-run", VALUE },
	{ "freeze", VALUE },
	{ "train-only", VALUE },
	{ "print-after", VALUE },
	{ "weights", required_argument, NULL, OPT_WEIGHTS },
	{ "report", required_argument, NULL, OPT_OUTPUT + RDUC_REPORT },
	{ "report-json", required_argument, NULL, OPT_OUTPUT + RDUC_REPORT_JSON },
	{ "floor-plan", required_argument, NULL, OPT_OUTPUT + RDUC_FLOOR_PLAN },
	{ "dot", required_argument, NULL, OPT_OUTPUT + RDUC_GRAPH },
	{ "progress", required_argument, NULL, OPT_PROGRESS },
	{ "list-ops", no_argument, NULL, OPT_LIST },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

/* In the order in which they come to their places: the program last. */
static const struct output {
	enum rduc_output what;
	const char *option, *label;
} outputs[] = { { RDUC_REPORT, "--report", "report" },
		{ RDUC_REPORT_JSON, "--report-json", "report" },
		{ RDUC_FLOOR_PLAN, "--floor-plan", "floor plan" },
		{ RDUC_GRAPH, "--dot", "graph" },
		{ RDUC_PROGRAM, "-o", NULL } };
#define NUM_OUTPUTS (sizeof(outputs) / sizeof(outputs[0]))

#define MAX_ENTRIES RDU_MAX_ENTRIES /* of a program */

struct arguments {
	struct rduc *compiler;
	const char *in, *weights, *chip;
	const char *path[RDUC_OUTPUTS]; /* what is to be written where */
	const char *entry[MAX_ENTRIES]; /* files of further entry points */
	int num_entries;
	bool train, quiet, prints;
	enum display_when progress;
	FILE *summary; /* NULL: nothing is said */
	struct lr_outfile program; /* its FILE is there from its first byte on */
	bool not_written; /* which is why the compile failed */
};

static int progress_option(struct arguments *a, const char *when)
{
	static const char *const words[] = { "auto", "always", "never" };

	for (int i = 0; i < 3; i++)
		if (!strcmp(words[i], when)) {
			a->progress = (enum display_when)i;
			return 0;
		}
	fprintf(stderr, "rduc: --progress is auto, always or never, not '%s'; --help says more\n",
		when);
	return -1;
}

/* An option of the library. */
static int set(struct arguments *a, const char *name, const char *value)
{
	if (!rduc_set(a->compiler, name, value))
		return 0;
	fprintf(stderr, "rduc: %s; --help says what there is\n", rduc_error_text(a->compiler));
	return -1;
}

static int option(struct arguments *a, int c, int index, char *arg)
{
	if (c >= OPT_OUTPUT) {
		a->path[c - OPT_OUTPUT] = arg;
		return rduc_want(a->compiler, (enum rduc_output)(c - OPT_OUTPUT));
	}
	switch (c) {
	case 'o':
		a->path[RDUC_PROGRAM] = arg;
		return 0;
	case 'O':
		return set(a, "optimize", arg);
	case 'q':
		a->quiet = true;
		return 0;
	case OPT_TRAIN:
		a->train = true;
		return set(a, "train", "1");
	case OPT_CONSTANT:
		return set(a, "constant-weights", "1");
	case OPT_GREEDY:
		return set(a, "greedy", "1");
	case OPT_UNBIASED:
		return set(a, "unbiased-variance", "1");
	case OPT_WEIGHTS:
		a->weights = arg;
		return 0;
	case OPT_PROGRESS:
		return progress_option(a, arg);
	case OPT_LIBRARY:
		if (!strcmp(options[index].name, "chip"))
			a->chip = arg;
		if (!strcmp(options[index].name, "print-after"))
			a->prints = true;
		if (set(a, options[index].name, arg))
			return -1;
		if (!strcmp(options[index].name, "entry") && a->num_entries < MAX_ENTRIES)
			a->entry[a->num_entries++] = strchr(arg, '=') + 1;
		return 0;
	}
	return -1;
}

static void show_progress(void *display, const char *what)
{
	display_say(display, what);
}

static void print_log(void *arg, const char *text, size_t size)
{
	(void)arg;
	fwrite(text, 1, size, stderr);
}

/* All of it at once would take as much memory as the weights do. */
static int write_program(void *arg, const void *data, size_t size)
{
	struct arguments *a = arg;
	FILE *f = a->program.f ? a->program.f : lr_outfile_open(&a->program, a->path[RDUC_PROGRAM]);

	errno = 0;
	if (f && fwrite(data, 1, size, f) == size)
		return 0;
	a->not_written = true;
	return !f ? a->program.error : errno ? -errno : -EIO;
}

static int put_in_place(struct arguments *a)
{
	int ret = lr_outfile_close(&a->program);

	if (ret)
		fprintf(stderr, "rduc: %s: %s: %s\n", a->in, a->path[RDUC_PROGRAM], strerror(-ret));
	return ret;
}

static int write_outputs(struct arguments *a)
{
	for (size_t i = 0; i < NUM_OUTPUTS; i++) {
		const char *path = a->path[outputs[i].what];
		const void *data;
		char why[PATH_MAX + 80];
		size_t size;

		if (!path || outputs[i].what == RDUC_PROGRAM)
			continue;
		data = rduc_output(a->compiler, outputs[i].what, &size);
		if (write_whole_file(path, data, size, why, sizeof(why))) {
			fprintf(stderr, "rduc: %s: %s\n", a->in, why);
			return -1;
		}
	}
	return put_in_place(a);
}

/* Remarks are in the report. */
static void print_notes(const struct arguments *a)
{
	enum rduc_severity severity;
	const char *text;

	for (unsigned int i = 0; (text = rduc_diagnostic(a->compiler, i, &severity)); i++)
		if (severity == RDUC_NOTE)
			fprintf(stderr, "rduc: %s: note: %s\n", a->in, text);
}

static int compile(struct arguments *a)
{
	struct rduc *c = a->compiler;
	struct display *d;
	int ret;

	if (a->quiet || (a->prints && a->progress == DISPLAY_AUTO))
		a->progress = DISPLAY_NEVER;
	d = display_new(a->progress);
	rduc_set_progress(c, show_progress, d);
	rduc_set_log(c, print_log, NULL);
	if (rduc_want(c, RDUC_SUMMARY) || rduc_want(c, RDUC_PARAMETERS) ||
	    rduc_set_output(c, RDUC_PROGRAM, write_program, a))
		return -1;
	ret = rduc_compile_file(c, a->in);
	display_free(d);
	print_notes(a);
	if (a->not_written)
		fprintf(stderr, "rduc: %s: %s: %s\n", a->in, a->path[RDUC_PROGRAM],
			rduc_error_text(c));
	else if (ret == -ENOENT) /* not about the model */
		fprintf(stderr, "rduc: %s\n", rduc_error_text(c));
	else if (ret)
		fprintf(stderr, "rduc: %s: %s\n", a->in, rduc_error_text(c));
	return ret;
}

static int check_files(const struct arguments *a)
{
	struct lr_outfile_use use[2 + NUM_OUTPUTS + MAX_ENTRIES] = { { NULL, a->in },
								     { NULL, a->weights } };
	size_t num = 2 + NUM_OUTPUTS;
	static char text[2 * PATH_MAX + 100];

	for (size_t i = 0; i < NUM_OUTPUTS; i++)
		use[2 + i] = (struct lr_outfile_use){ outputs[i].option, a->path[outputs[i].what] };
	for (int i = 0; i < a->num_entries; i++)
		use[num++].path = a->entry[i];
	if (!lr_outfile_check_all(use, num, text, sizeof(text)))
		return 0;
	fprintf(stderr, "rduc: %s\n", text);
	return -1;
}

static int write_weights(const struct arguments *a)
{
	static char error[5000];
	const char *out = a->path[RDUC_PROGRAM];
	int ret = onnx_write_weights(a->weights, a->in, out, error, sizeof(error));

	if (ret)
		fprintf(stderr, "rduc: %s\n", error);
	else if (a->summary)
		fprintf(a->summary, "%s: %s with the weights of %s\n", out, a->in, a->weights);
	return ret;
}

/* What was made. */
static void print_summary(const struct arguments *a)
{
	const char *out = a->path[RDUC_PROGRAM];

	if (a->summary)
		fprintf(a->summary, "%s: %s", out,
			(const char *)rduc_output(a->compiler, RDUC_SUMMARY, NULL));
	if (a->train && !a->quiet)
		fputs(rduc_output(a->compiler, RDUC_PARAMETERS, NULL),
		      lr_outfile_is_stdout(out) ? stderr : stdout);
}

/* Where the rest went, and what can be done with it now. */
static void print_next(const struct arguments *a)
{
	const char *out = a->path[RDUC_PROGRAM];
	FILE *f = a->summary;

	for (size_t i = 0; i < NUM_OUTPUTS; i++)
		if (outputs[i].label && a->path[outputs[i].what])
			fprintf(f, "  %-12s %s\n", outputs[i].label, a->path[outputs[i].what]);
	if (lr_outfile_is_stdout(out))
		return;
	if (a->train)
		fprintf(f, "next: rdu train %s --device model:%s --data DATA --save FILE.rdu\n",
			out, a->chip);
	else
		fprintf(f,
			"next: rdu run %s --device model:%s --input NAME=FILE --output NAME=FILE\n",
			out, a->chip);
}

/* A full disk must not look like success. */
static int finish(int ret)
{
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "rduc: standard output: write error\n");
		ret = -1;
	}
	return ret ? 1 : 0;
}

static struct lr_outfile *unfinished;

static void leave_nothing(int signal_number)
{
	if (unfinished->path[0])
		unlink(unfinished->temp);
	raise(signal_number); /* which ends it now */
}

/* Signals that end the command leave no part of a program, as errors do. */
static void catch_signals(struct arguments *a)
{
	static const int numbers[] = { SIGHUP, SIGINT, SIGPIPE, SIGTERM };
	struct sigaction act = { .sa_handler = leave_nothing, .sa_flags = SA_RESETHAND }, was;

	unfinished = &a->program;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (!sigaction(numbers[i], NULL, &was) && was.sa_handler != SIG_IGN)
			sigaction(numbers[i], &act, NULL);
}

static int run(struct arguments *a)
{
	int ret;

	if (check_files(a))
		return 1;
	catch_signals(a);
	if (!a->quiet)
		a->summary = lr_outfile_is_stdout(a->path[RDUC_PROGRAM]) ? stderr : stdout;
	if (a->weights)
		return finish(write_weights(a));
	ret = compile(a);
	if (!ret)
		ret = write_outputs(a);
	lr_outfile_discard(&a->program); /* if it is not in its place */
	if (!ret)
		print_summary(a);
	if (!ret && a->summary)
		print_next(a);
	return finish(ret);
}

/* Exit code, -1: there is more to do. */
static int read_arguments(struct arguments *a, int argc, char **argv)
{
	int c, index = 0;

	while ((c = getopt_long(argc, argv, "o:O:qh", options, &index)) != -1) {
		if (c == OPT_LIST) {
			op_list(stdout);
			return finish(0);
		}
		if (c == OPT_HELP || c == 'h') {
			fputs(usage, stdout);
			return finish(0);
		}
		if (c == '?' || option(a, c, index, optarg))
			return EXIT_USAGE;
	}
	if (optind + 1 != argc || !a->path[RDUC_PROGRAM]) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	a->in = argv[optind];
	return -1;
}

/* As many threads as there are processors. */
static int use_processors(struct rduc *c)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	char text[24];

	snprintf(text, sizeof(text), "%ld", n < 1 ? 1 : n > 256 ? 256 : n);
	return rduc_set(c, "threads", text);
}

int main(int argc, char **argv)
{
	struct arguments a = { .chip = "sn10" };
	int ret;

	if (rduc_new(&a.compiler) || use_processors(a.compiler)) {
		fprintf(stderr, "rduc: out of memory\n");
		return 1;
	}
	ret = read_arguments(&a, argc, argv);
	if (ret < 0)
		ret = run(&a);
	rduc_free(a.compiler);
	return ret;
}
