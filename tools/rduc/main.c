// SPDX-License-Identifier: MIT
/* rduc: the command line. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "graph.h"
#include "outfile.h"
#include "progress.h"
#include "rdu_card.h"

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
	"  --pipe WHEN          groups of operators that run iteration by iteration: auto (where\n"
	"                       that is faster), always (where it can be), never (auto; -O3 only)\n"
	"  --hold WHEN          what all iterations of a loop read stays in scratchpads: auto "
	"(where\n"
	"                       that is faster), always (where it fits), never (auto; not at -O0)\n"
	"  --precision bf16|fp32  of contractions (bf16, where the chip has an array)\n"
	"  --shape NAME=D,D,... shape of an input\n"
	"  --batch N            first dimension of inputs that leave it open\n"
	"  --train              also make the entry point train_step, with\n"
	"    --loss softmax_cross_entropy|mse     (softmax_cross_entropy)\n"
	"    --optimizer sgd|momentum|adam|adamw  (sgd)\n"
	"    --momentum F (0.9) --beta1 F (0.9) --beta2 F (0.999) --epsilon F (1e-8)\n"
	"    --weight-decay F (0; adamw: 0.01)\n"
	"    --train-only PATTERN,... --freeze PATTERN,...  weights to train, not to train\n"
	"  --weights FILE       take weights from this program file into the ONNX model\n"
	"  --report FILE        what each section costs, and what bounds it\n"
	"  --report-json FILE   the same for programs\n"
	"  --floor-plan FILE    SVG of units and routes\n"
	"  --dot FILE           the graph, for Graphviz\n"
	"  --print-after PASS   import, simplify, differentiate, patterns, ... (to stderr)\n"
	"  --list-ops           operators that are supported\n"
	"\n"
	"The training step reads the inputs of the model, `labels` (int64; `target` for\n"
	"mse) and `lr` (float [1]), and writes `loss` (float [1]).\n"
	"\n"
	"Exit code: 0 done, 1 failed, 2 wrong usage.\n";

enum {
	OPT_CHIP = 256,
	OPT_TILES,
	OPT_PIPE,
	OPT_HOLD,
	OPT_PRECISION,
	OPT_SHAPE,
	OPT_BATCH,
	OPT_TRAIN,
	OPT_LOSS,
	OPT_OPTIMIZER,
	OPT_MOMENTUM_F,
	OPT_BETA1,
	OPT_BETA2,
	OPT_EPSILON,
	OPT_DECAY,
	OPT_FREEZE,
	OPT_TRAIN_ONLY,
	OPT_WEIGHTS,
	OPT_REPORT,
	OPT_REPORT_JSON,
	OPT_PROGRESS,
	OPT_FLOOR_PLAN,
	OPT_DOT,
	OPT_PRINT,
	OPT_LIST,
	OPT_HELP
};

static const struct option options[] = {
	{ "output", required_argument, NULL, 'o' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "chip", required_argument, NULL, OPT_CHIP },
	{ "tiles", required_argument, NULL, OPT_TILES },
	{ "pipe", required_argument, NULL, OPT_PIPE },
	{ "hold", required_argument, NULL, OPT_HOLD },
	{ "precision", required_argument, NULL, OPT_PRECISION },
	{ "shape", required_argument, NULL, OPT_SHAPE },
	{ "batch", required_argument, NULL, OPT_BATCH },
	{ "train", no_argument, NULL, OPT_TRAIN },
	{ "loss", required_argument, NULL, OPT_LOSS },
	{ "optimizer", required_argument, NULL, OPT_OPTIMIZER },
	{ "momentum", required_argument, NULL, OPT_MOMENTUM_F },
	{ "beta1", required_argument, NULL, OPT_BETA1 },
	{ "beta2", required_argument, NULL, OPT_BETA2 },
	{ "epsilon", required_argument, NULL, OPT_EPSILON },
	{ "weight-decay", required_argument, NULL, OPT_DECAY },
	{ "freeze", required_argument, NULL, OPT_FREEZE },
	{ "train-only", required_argument, NULL, OPT_TRAIN_ONLY },
	{ "weights", required_argument, NULL, OPT_WEIGHTS },
	{ "report", required_argument, NULL, OPT_REPORT },
	{ "report-json", required_argument, NULL, OPT_REPORT_JSON },
	{ "progress", required_argument, NULL, OPT_PROGRESS },
	{ "floor-plan", required_argument, NULL, OPT_FLOOR_PLAN },
	{ "dot", required_argument, NULL, OPT_DOT },
	{ "print-after", required_argument, NULL, OPT_PRINT },
	{ "list-ops", no_argument, NULL, OPT_LIST },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

#define MAX_SHAPES 64
#define MAX_PATTERNS 256

struct arguments {
	const char *in, *out, *chip, *weights;
	struct rduc_options opt;
	struct import_options import;
	struct import_shape shapes[MAX_SHAPES];
	bool train, decay_given, quiet;
	enum progress_when progress;
	struct train_options training;
	const char *freeze[MAX_PATTERNS], *train_only[MAX_PATTERNS];
};

static int wrong(const char *what, const char *value)
{
	fprintf(stderr, "rduc: %s '%s'; --help says what there is\n", what, value);
	return -1;
}

static int number(const char *option, const char *text, int64_t lo, int64_t hi, int64_t *out)
{
	char *end;
	long long v = strtoll(text, &end, 10);

	if (end == text || *end || v < lo || v > hi) {
		fprintf(stderr,
			"rduc: %s takes a number from %" PRId64 " to %" PRId64 ", not '%s'\n",
			option, lo, hi, text);
		return -1;
	}
	*out = v;
	return 0;
}

static int real(const char *option, const char *text, float lo, float hi, float *out)
{
	char *end;
	float v;

	errno = 0; /* too small for a float is not 0 */
	v = strtof(text, &end);
	if (end == text || *end || !(v >= lo && v <= hi) || errno) {
		fprintf(stderr, "rduc: %s takes a number from %g to %g, not '%s'\n", option, lo, hi,
			text);
		return -1;
	}
	*out = v;
	return 0;
}

/* NAME=1,28,28; the name may hold '='. Changes the text. */
static int shape(struct arguments *a, char *text)
{
	struct import_shape *s = &a->shapes[a->import.num_shapes];
	char *dims = strrchr(text, '='), *save = NULL;

	if (!dims || a->import.num_shapes == MAX_SHAPES)
		return wrong("--shape takes NAME=D,D,..., not", text);
	*dims++ = 0;
	s->name = text;
	s->ndim = 0;
	for (char *d = strtok_r(dims, ",", &save); d; d = strtok_r(NULL, ",", &save)) {
		if (s->ndim == RDU_MAX_DIMS)
			return wrong("too many dimensions in --shape", text);
		if (number("--shape", d, 0, INT32_MAX, &s->dim[s->ndim++]))
			return -1;
	}
	a->import.num_shapes++;
	return 0;
}

/* Patterns with commas between them; changes the text. */
static int patterns(const char *option, const char **list, struct name_patterns *p, char *text)
{
	char *save = NULL;
	int before = p->num;

	for (char *s = strtok_r(text, ",", &save); s; s = strtok_r(NULL, ",", &save)) {
		if (p->num == MAX_PATTERNS)
			return wrong("too many names at", s);
		list[p->num++] = s;
	}
	return p->num > before ? 0 : wrong("no name in", option);
}

static const char *const optimizers[] = { "sgd", "momentum", "adam", "adamw" };

static int optimizer(struct arguments *a, const char *name)
{
	for (int i = 0; i < 4; i++)
		if (!strcmp(optimizers[i], name)) {
			a->training.optimizer = (enum optimizer)i;
			return 0;
		}
	return wrong("unknown optimizer", name);
}

/* Number of auto, always, never; -1: no such word. */
static int when_option(const char *option, const char *when)
{
	static const char *const words[] = { "auto", "always", "never" };
	char text[64];

	for (int i = 0; i < 3; i++)
		if (!strcmp(words[i], when))
			return i;
	snprintf(text, sizeof(text), "%s is auto, always or never, not", option);
	return wrong(text, when);
}

static int option(struct arguments *a, int c, char *arg)
{
	struct train_options *t = &a->training;
	int64_t n = 0;
	int when;

	switch (c) {
	case 'o':
		a->out = arg;
		return 0;
	case 'O':
		if (strcmp(arg, "0") && strcmp(arg, "1") && strcmp(arg, "3"))
			return wrong("there are -O0, -O1 and -O3, not -O", arg);
		a->opt.opt = arg[0] - '0';
		return 0;
	case 'q':
		a->quiet = true;
		return 0;
	case OPT_CHIP:
		a->chip = arg;
		return 0;
	case OPT_TILES:
		if (number("--tiles", arg, 1, 4096, &n))
			return -1;
		a->opt.tiles = (int)n;
		return 0;
	case OPT_PRECISION:
		if (strcmp(arg, "bf16") && strcmp(arg, "fp32"))
			return wrong("unknown precision", arg);
		a->opt.fp32 = !strcmp(arg, "fp32");
		return 0;
	case OPT_SHAPE:
		return shape(a, arg);
	case OPT_BATCH:
		return number("--batch", arg, 1, INT32_MAX, &a->import.batch);
	case OPT_TRAIN:
		a->train = true;
		return 0;
	case OPT_LOSS:
		t->loss = arg;
		return 0;
	case OPT_OPTIMIZER:
		return optimizer(a, arg);
	case OPT_MOMENTUM_F:
		return real("--momentum", arg, 0, 1, &t->momentum);
	case OPT_BETA1:
		return real("--beta1", arg, 0, 0.999999f, &t->beta1);
	case OPT_BETA2:
		return real("--beta2", arg, 0, 0.999999f, &t->beta2);
	case OPT_EPSILON:
		return real("--epsilon", arg, 0, 1, &t->epsilon);
	case OPT_DECAY:
		a->decay_given = true;
		return real("--weight-decay", arg, 0, 1, &t->weight_decay);
	case OPT_FREEZE:
		return patterns("--freeze", a->freeze, &a->import.freeze, arg);
	case OPT_TRAIN_ONLY:
		return patterns("--train-only", a->train_only, &a->import.train_only, arg);
	case OPT_WEIGHTS:
		a->weights = arg;
		return 0;
	case OPT_REPORT:
		a->opt.report_path = arg;
		return 0;
	case OPT_REPORT_JSON:
		a->opt.report_json = arg;
		return 0;
	case OPT_PROGRESS:
		when = when_option("--progress", arg);
		a->progress = (enum progress_when)when;
		return when < 0 ? -1 : 0;
	case OPT_PIPE:
		when = when_option("--pipe", arg);
		a->opt.pipe = (enum rduc_when)when;
		return when < 0 ? -1 : 0;
	case OPT_HOLD:
		when = when_option("--hold", arg);
		a->opt.hold = (enum rduc_when)when;
		return when < 0 ? -1 : 0;
	case OPT_FLOOR_PLAN:
		a->opt.floor_plan = arg;
		return 0;
	case OPT_DOT:
		a->opt.dot = arg;
		return 0;
	case OPT_PRINT:
		a->opt.print_after = arg;
		return 0;
	}
	return -1;
}

static bool prints(const struct arguments *a, const char *pass)
{
	const char *s = a->opt.print_after;
	size_t n = strlen(pass);

	for (; s && *s; s = strchr(s, ',') ? strchr(s, ',') + 1 : NULL)
		if ((!strncmp(s, pass, n) && (!s[n] || s[n] == ',')) ||
		    (!strncmp(s, "all", 3) && (!s[3] || s[3] == ',')))
			return true;
	return false;
}

static void print_module(const struct module *m)
{
	for (int e = 0; e < m->num_entries; e++)
		module_entry_print(&m->entries[e], stderr);
}

/* Where training isn't what PyTorch would do. */
static void note_differences(const struct graph *g, const char *path)
{
	for (int i = 0; i < g->num_nodes; i++) {
		const struct node *n = g->nodes[i];
		const char *what = !strcmp(n->op->name, "Dropout") ? "drops nothing here"
				   : !strcmp(n->op->name, "Round")
					   ? "is straight-through here; PyTorch's gradient is 0"
					   : NULL;

		if (what)
			fprintf(stderr, "rduc: %s: note: node '%s' (%s) %s\n", path, n->name,
				n->op->name, what);
	}
}

static void note_defaults(const struct graph *g, const char *path)
{
	if (g->num_defaults)
		fprintf(stderr,
			"rduc: %s: note: %d input%s (the first: '%s') keep%s the value in the "
			"file; "
			"--shape NAME=D,D,... makes one an input\n",
			path, g->num_defaults, g->num_defaults > 1 ? "s" : "", g->default_input,
			g->num_defaults > 1 ? "" : "s");
}

static int compile(struct arguments *a)
{
	static char error[1 << 20]; /* a line for every reason */
	const int size = sizeof(error);
	struct module *m = NULL;
	struct rdu_chip chip;
	struct graph *g;
	size_t length;
	void *file;
	int ret = -1;

	if (rdu_chip_find(a->chip, &chip, error, size)) {
		fprintf(stderr, "rduc: --chip %s: %s\n", a->chip, error);
		return -1;
	}
	a->opt.chip = &chip;
	if (a->quiet || (a->opt.print_after && a->progress == PROGRESS_AUTO))
		a->progress = PROGRESS_NEVER;
	a->opt.progress = progress_new(a->progress);
	progress_say(a->opt.progress, "import");
	file = read_whole_file(a->in, &length, error, size);
	g = file ? graph_import(file, length, &a->import, error, size) : NULL;
	free(file);
	if (!g)
		goto out;
	progress_hide(a->opt.progress);
	if (prints(a, "import"))
		graph_print(g, stderr);
	note_defaults(g, a->in);
	if (a->train)
		note_differences(g, a->in);
	progress_say(a->opt.progress, "simplify");
	if (graph_simplify(g))
		goto out;
	if (prints(a, "simplify"))
		graph_print(g, stderr);
	if (a->train) {
		progress_say(a->opt.progress, "differentiate");
		if (graph_differentiate(g, &a->training))
			goto out;
		if (prints(a, "differentiate"))
			graph_print(g, stderr);
	}
	progress_say(a->opt.progress, "patterns");
	m = graph_patterns(g);
	if (!m)
		goto out;
	if (prints(a, "patterns"))
		print_module(m);
	ret = rduc_backend(m, &a->opt, a->out, error, size);
out:
	progress_free(a->opt.progress);
	a->opt.progress = NULL;
	if (!ret && a->train)
		graph_print_parameters(g, stdout);
	if (ret)
		fprintf(stderr, "rduc: %s: %s\n", a->in, error);
	module_free(m);
	graph_free(g);
	return ret;
}

static int check_files(const struct arguments *a)
{
	const struct lr_outfile_use use[] = { { NULL, a->in },
					      { NULL, a->weights },
					      { "-o", a->out },
					      { "--report", a->opt.report_path },
					      { "--report-json", a->opt.report_json },
					      { "--floor-plan", a->opt.floor_plan },
					      { "--dot", a->opt.dot } };
	static char text[2 * PATH_MAX + 100];

	if (!lr_outfile_check_all(use, sizeof(use) / sizeof(use[0]), text, sizeof(text)))
		return 0;
	fprintf(stderr, "rduc: %s\n", text);
	return -1;
}

static int write_weights(const struct arguments *a)
{
	static char error[5000];
	int ret = onnx_write_weights(a->weights, a->in, a->out, error, sizeof(error));

	if (ret)
		fprintf(stderr, "rduc: %s\n", error);
	else if (a->opt.summary)
		fprintf(a->opt.summary, "%s: %s with the weights of %s\n", a->out, a->in,
			a->weights);
	return ret;
}

/* Where the rest went, and what can be done with it now. */
static void print_next(const struct arguments *a)
{
	FILE *f = a->opt.summary;

	if (a->opt.report_path)
		fprintf(f, "  report       %s\n", a->opt.report_path);
	if (a->opt.report_json)
		fprintf(f, "  report       %s\n", a->opt.report_json);
	if (a->opt.floor_plan)
		fprintf(f, "  floor plan   %s\n", a->opt.floor_plan);
	if (a->opt.dot)
		fprintf(f, "  graph        %s\n", a->opt.dot);
	if (lr_outfile_is_stdout(a->out))
		return;
	if (a->train)
		fprintf(f, "next: rdu train %s --device model:%s --data FOLDER --save FILE.rdu\n",
			a->out, a->chip);
	else
		fprintf(f,
			"next: rdu run %s --device model:%s --input NAME=FILE --output NAME=FILE\n",
			a->out, a->chip);
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

int main(int argc, char **argv)
{
	static struct arguments a = {
		.chip = "sn10",
		.opt = { .opt = 1 },
		.training = { .loss = "softmax_cross_entropy",
			      .momentum = 0.9f,
			      .beta1 = 0.9f,
			      .beta2 = 0.999f,
			      .epsilon = 1e-8f },
	};
	const char *slash;
	int c, ret;

	a.import.shapes = a.shapes;
	a.import.freeze.pattern = a.freeze;
	a.import.train_only.pattern = a.train_only;
	while ((c = getopt_long(argc, argv, "o:O:qh", options, NULL)) != -1) {
		if (c == OPT_LIST) {
			op_list(stdout);
			return finish(0);
		}
		if (c == OPT_HELP || c == 'h') {
			fputs(usage, stdout);
			return finish(0);
		}
		if (c == '?' || option(&a, c, optarg))
			return EXIT_USAGE;
	}
	if (optind + 1 != argc || !a.out) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	a.in = argv[optind];
	if (check_files(&a))
		return 1;
	if (!a.quiet)
		a.opt.summary = lr_outfile_is_stdout(a.out) ? stderr : stdout;
	if (a.weights)
		return finish(write_weights(&a));
	if (a.training.optimizer == OPT_ADAMW && !a.decay_given)
		a.training.weight_decay = 0.01f;
	slash = strrchr(a.in, '/');
	a.opt.model = slash ? slash + 1 : a.in;
	if (a.train) {
		static char meta[128];

		snprintf(meta, sizeof(meta), "loss %s\noptimizer %s\n", a.training.loss,
			 optimizers[a.training.optimizer]);
		a.opt.meta = meta;
	}
	ret = compile(&a);
	if (!ret && a.opt.summary)
		print_next(&a);
	return finish(ret);
}
