// SPDX-License-Identifier: MIT
/*
 * The compiler as a library: two compiles at once, one that is cancelled anywhere, one that finds
 * too little memory anywhere, models that are broken, options that are wrong. Nothing may be left
 * over: the test runs with LeakSanitizer.
 */
#include <errno.h>
#include <pthread.h>
#include "e2e.h"
#include "mem.h"
#include "onnx_build.h"
#include "rduc.h"

#define D(...) ((int64_t[]){ __VA_ARGS__, 0 })

/* Bytes, of a file or an output. */
struct bytes {
	void *data;
	size_t size;
};

static struct bytes packed(struct build *b)
{
	struct bytes f;

	f.data = build_pack(b, &f.size);
	return f;
}

/* width: the test makes models that differ. */
static struct bytes network(int width)
{
	struct build *b = build_new();

	build_input(b, "x", D(4, 8));
	build_weight(b, "w1", D(8, width), 1, 0.5f);
	build_weight(b, "w2", D(width, 3), 2, 0.5f);
	build_node(b, "MatMul", "x w1", "h");
	build_node(b, "Relu", "h", "r");
	build_node(b, "MatMul", "r w2", "logits");
	build_output(b, "logits", D(4, 3));
	return packed(b);
}

/* Products with a weight one after another, enough to be cancelled in; or only maps, more than a
 * small chip has room for. */
static struct bytes deep(int layers, bool products)
{
	struct build *b = build_new();
	char in[40], out[20];

	build_input(b, "h0", D(4, 8));
	build_weight(b, "w", D(8, 8), 3, 0.5f);
	for (int i = 0; i < layers; i++) {
		snprintf(in, sizeof(in), products ? "h%d w" : "h%d", i);
		snprintf(out, sizeof(out), "h%d", i + 1);
		build_node(b, products ? "MatMul" : "Tanh", in, out);
	}
	snprintf(out, sizeof(out), "h%d", layers);
	build_output(b, out, D(4, 8));
	return packed(b);
}

static struct rduc *compiler(int train)
{
	struct rduc *c;

	if (rduc_new(&c))
		exit(1);
	if (train && (rduc_set(c, "train", "1") || rduc_set(c, "optimizer", "adamw")))
		exit(1);
	return c;
}

static struct bytes copy_program(const struct rduc *c)
{
	struct bytes b = { NULL, 0 };
	const void *p = rduc_output(c, RDUC_PROGRAM, &b.size);

	if (p) {
		b.data = malloc(b.size);
		memcpy(b.data, p, b.size);
	}
	return b;
}

static bool same_program(const struct rduc *c, struct bytes b)
{
	size_t size;
	const void *p = rduc_output(c, RDUC_PROGRAM, &size);

	return p && size == b.size && !memcmp(p, b.data, size);
}

static struct bytes alone(struct bytes model)
{
	struct rduc *c = compiler(1);
	struct bytes b;

	if (rduc_compile(c, model.data, model.size))
		printf("# %s\n", rduc_error_text(c));
	b = copy_program(c);
	rduc_free(c);
	return b;
}

/* ---- what a compile gives -------------------------------------------------------------- */

static void outputs(struct bytes model)
{
	static const struct {
		enum rduc_output what;
		const char *begins;
	} want[] = { { RDUC_REPORT, "model " },	       { RDUC_REPORT_JSON, "{" },
		     { RDUC_FLOOR_PLAN, "<svg" },      { RDUC_GRAPH, "digraph" },
		     { RDUC_SUMMARY, "net for sn10" }, { RDUC_PARAMETERS, "trained  w1" } };
	struct rduc *c = compiler(1);
	struct rdu_file *file;
	struct bytes program;
	size_t size;
	int without = 0;

	tap(!rduc_output(c, RDUC_PROGRAM, &size) && !size, "before a compile there is no program");
	rduc_set(c, "name", "net");
	tap(!rduc_compile(c, model.data, model.size) && !*rduc_error_text(c),
	    "a model compiles: %s", rduc_error_text(c));
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		without += !rduc_output(c, want[i].what, NULL);
	tap(without == 6, "only the program is given if nothing else was asked for");
	program = copy_program(c);
	tap(!rdu_file_parse(program.data, program.size, &file) &&
		    rdu_file_find_entry(file, "train_step") >= 0,
	    "librdu takes the program");
	rdu_file_close(file);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		rduc_want(c, want[i].what);
	rduc_compile(c, model.data, model.size);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		const char *text = rduc_output(c, want[i].what, &size);

		tap(text && !strncmp(text, want[i].begins, strlen(want[i].begins)) &&
			    strlen(text) == size,
		    "output %d begins with '%s'", (int)want[i].what, want[i].begins);
	}
	tap(same_program(c, program), "the program has the same bytes");
	tap(rduc_want(c, RDUC_OUTPUTS) == -EINVAL && strstr(rduc_error_text(c), "no output number"),
	    "an output that there is not: %s", rduc_error_text(c));
	free(program.data);
	rduc_free(c);
}

/* An output that is handed out, up to so many bytes. */
struct taker {
	struct bytes got;
	size_t most;
};

static int take_part(void *arg, const void *data, size_t size)
{
	struct taker *t = arg;

	if (t->got.size + size > t->most)
		return -ENOSPC;
	t->got.data = realloc(t->got.data, t->got.size + size + 1);
	memcpy((char *)t->got.data + t->got.size, data, size);
	t->got.size += size;
	return 0;
}

static void handed_out(struct bytes model, struct bytes program)
{
	static const size_t most[] = { 0, 1000, 4096 };
	struct rduc *c = compiler(1);
	struct taker all = { .most = SIZE_MAX };
	enum rduc_severity severity;
	size_t size;

	tap(!rduc_set_output(c, RDUC_PROGRAM, take_part, &all) &&
		    !rduc_compile(c, model.data, model.size) && all.got.size == program.size &&
		    !memcmp(all.got.data, program.data, program.size),
	    "a program that is handed out has the same bytes");
	tap(!rduc_output(c, RDUC_PROGRAM, &size) && !size, "and is not kept");
	for (size_t i = 0; i < sizeof(most) / sizeof(most[0]); i++) {
		struct taker full = { .most = most[i] };
		int ret;

		rduc_set_output(c, RDUC_PROGRAM, take_part, &full);
		ret = rduc_compile(c, model.data, model.size);
		tap(ret == -ENOSPC && strstr(rduc_error_text(c), strerror(ENOSPC)) &&
			    rduc_diagnostic(c, 0, &severity),
		    "who takes no more than %zu bytes ends the compile: %d, %s", most[i], ret,
		    rduc_error_text(c));
		free(full.got.data);
	}
	tap(!rduc_set_output(c, RDUC_PROGRAM, NULL, NULL) &&
		    !rduc_compile(c, model.data, model.size) && same_program(c, program),
	    "after that it is kept again");
	tap(rduc_set_output(c, RDUC_OUTPUTS, take_part, &all) == -EINVAL,
	    "an output that there is not: %s", rduc_error_text(c));
	free(all.got.data);
	rduc_free(c);
}

static void add_text(void *arg, const char *text, size_t size)
{
	struct bytes *b = arg;

	b->data = realloc(b->data, b->size + size + 1);
	memcpy((char *)b->data + b->size, text, size);
	b->size += size;
	((char *)b->data)[b->size] = 0;
}

static void logged(struct bytes model)
{
	struct rduc *c = compiler(0);
	struct bytes said = { NULL, 0 };

	rduc_set(c, "print-after", "import,patterns,fuse");
	rduc_set_log(c, add_text, &said);
	rduc_compile(c, model.data, model.size);
	tap(said.data && strstr(said.data, "Relu") && strstr(said.data, "after fusion"),
	    "what print-after prints goes to the log");
	free(said.data);
	rduc_free(c);
}

/* Each note of a report is a remark, and nothing else is. */
static void remarks(struct bytes model)
{
	struct rduc *c = compiler(0);
	enum rduc_severity severity = RDUC_ERROR;
	const char *report, *text;
	int num = 0, missing = 0;

	rduc_set(c, "chip", "tests/chips/few.chip");
	rduc_set(c, "optimize", "3");
	rduc_want(c, RDUC_REPORT);
	rduc_compile(c, model.data, model.size);
	report = rduc_output(c, RDUC_REPORT, NULL);
	for (unsigned int i = 0; report && (text = rduc_diagnostic(c, i, &severity)); i++) {
		num++;
		missing += severity != RDUC_REMARK || !strstr(report, text);
	}
	tap(num && !missing, "%d remarks: those of the report", num);
	rduc_free(c);
}

/* ---- errors ------------------------------------------------------------------------------ */

static void options(void)
{
	static const struct {
		const char *name, *value, *text;
	} wrong[] = {
		{ "nonsuch", "1", "there is no option 'nonsuch'" },
		{ "tiles", "0", "--tiles takes a number from 1 to 4096, not '0'" },
		{ "tiles", "1x", "--tiles takes a number from 1 to 4096, not '1x'" },
		{ "threads", "0", "--threads takes a number from 1 to 256, not '0'" },
		{ "batch", "99999999999999999999", "--batch takes a number from 1" },
		{ "optimize", "2", "there are -O0, -O1 and -O3" },
		{ "precision", "fp8", "--precision is bf16 or fp32, not 'fp8'" },
		{ "pipe", "yes", "--pipe is auto, always or never, not 'yes'" },
		{ "optimizer", "lion", "--optimizer is sgd, momentum, adam or adamw, not 'lion'" },
		{ "loss", "l1",
		  "--loss is softmax_cross_entropy, mse, binary_cross_entropy, "
		  "binary_cross_entropy_with_logits or graph, not 'l1'" },
		{ "epsilon", "1e-60", "--epsilon takes a number from 0 to 1" },
		{ "shape", "x", "--shape takes NAME=D,D,..., not 'x'" },
		{ "shape", "x=", "--shape takes NAME=D,D,..., not 'x='" },
		{ "shape", "x=1,-1", "a size is a number from 0 to 2147483647, not '-1'" },
		{ "shape", "x=1,1,1,1,1,1,1,1,1,1,1,1,1", "more than 8 dimensions" },
		{ "shape", "x=1..4,8..2", "the range 8..2 is reversed" },
		{ "dim", "n", "--dim takes NAME=SIZES, not 'n'" },
		{ "dim", "n=1,2", "sizes with commas between them stand in brackets" },
		{ "value", "x=", "--value takes NAME=V,V,..., not 'x='" },
		{ "freeze", ",", "no name in --freeze" },
		{ "train", "yes", "--train is 0 or 1, not 'yes'" },
		{ "memory", "-1", "--memory takes a number from 0" },
	};
	struct rduc *c = compiler(0);

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		tap(rduc_set(c, wrong[i].name, wrong[i].value) == -EINVAL &&
			    strstr(rduc_error_text(c), wrong[i].text),
		    "%s=%s: %s", wrong[i].name, wrong[i].value, rduc_error_text(c));
	tap(rduc_set(c, "tiles", NULL) == -EINVAL, "no value: %s", rduc_error_text(c));
	rduc_free(c);
	rduc_free(NULL);
}

static void broken(struct bytes model)
{
	struct rduc *c = compiler(0);
	struct build *b = build_new();
	enum rduc_severity severity = RDUC_NOTE;
	const char *text;
	struct bytes two;
	int mute = 0;

	for (size_t size = 0; size < model.size; size++) /* a shorter one may be a model, too */
		if (rduc_compile(c, model.data, size) && !*rduc_error_text(c))
			mute++;
	tap(!mute, "a model that is cut off anywhere is not refused without a word");
	tap(rduc_compile(c, "no model", 8) == -EINVAL && strstr(rduc_error_text(c), "ONNX") &&
		    !rduc_output(c, RDUC_PROGRAM, NULL),
	    "what is no model gives no program: %s", rduc_error_text(c));
	text = rduc_diagnostic(c, 0, &severity);
	tap(text && severity == RDUC_ERROR && !strcmp(text, rduc_error_text(c)) &&
		    !rduc_diagnostic(c, 1, NULL),
	    "one reason is one diagnostic");
	build_input(b, "x", D(4));
	build_node(b, "Frobnicate", "x", "y");
	build_node(b, "Wobble", "y", "z");
	build_output(b, "z", D(4));
	two = packed(b);
	tap(rduc_compile(c, two.data, two.size) == -EINVAL && rduc_diagnostic(c, 0, NULL) &&
		    strstr(rduc_diagnostic(c, 0, NULL), "Frobnicate") &&
		    rduc_diagnostic(c, 1, &severity) && severity == RDUC_ERROR &&
		    strstr(rduc_diagnostic(c, 1, NULL), "Wobble") && !rduc_diagnostic(c, 2, NULL),
	    "two reasons are two diagnostics: %s", rduc_error_text(c));
	tap(rduc_compile_file(c, "build/e2e/nonsuch.onnx") == -EIO && *rduc_error_text(c) &&
		    !rduc_diagnostic(c, 0, NULL),
	    "a file that there is not: %s", rduc_error_text(c));
	rduc_set(c, "chip", "nonsuch");
	tap(rduc_compile(c, model.data, model.size) == -ENOENT &&
		    strstr(rduc_error_text(c), "--chip nonsuch"),
	    "a chip that there is not: %s", rduc_error_text(c));
	rduc_set(c, "chip", "plasticine");
	tap(!rduc_compile(c, model.data, model.size) && !*rduc_error_text(c),
	    "after all that, a compile: %s", rduc_error_text(c));
	free(two.data);
	rduc_free(c);
}

/* ---- the end in the middle ----------------------------------------------------------------- */

struct stop {
	struct rduc *c;
	int steps, at; /* cancelled in step number `at`; 0: not */
};

static void step(void *arg, const char *what)
{
	struct stop *s = arg;

	(void)what;
	if (++s->steps == s->at)
		rduc_cancel(s->c);
}

static void cancelled_anywhere(struct bytes model, struct bytes program)
{
	struct stop s = { .c = compiler(1) };
	struct bytes whole;
	int all, bad = 0;

	rduc_set(s.c, "optimize", "3");
	rduc_compile(s.c, model.data, model.size);
	whole = copy_program(s.c);
	rduc_set(s.c, "threads", "3");
	rduc_set_progress(s.c, step, &s);
	rduc_compile(s.c, model.data, model.size);
	all = s.steps;
	tap(same_program(s.c, whole), "the program of three threads is that of one");
	free(whole.data);
	for (int at = 1; at < all; at++) { /* after the last step nobody asks */
		s.steps = 0;
		s.at = at;
		if (rduc_compile(s.c, model.data, model.size) != -ECANCELED || s.steps > at + 1 ||
		    rduc_output(s.c, RDUC_PROGRAM, NULL) || !*rduc_error_text(s.c)) {
			printf("# step %d of %d: %d steps, '%s'\n", at, all, s.steps,
			       rduc_error_text(s.c));
			bad++;
		}
	}
	tap(all > 20 && !bad, "cancelled in any of %d steps of three threads", all);
	rduc_cancel(s.c);
	s.at = 0;
	tap(rduc_compile(s.c, model.data, model.size) == -ECANCELED,
	    "cancelled before it began: the next one");
	rduc_set(s.c, "optimize", "1");
	tap(!rduc_compile(s.c, model.data, model.size) && same_program(s.c, program),
	    "and the one after that is right: %s", rduc_error_text(s.c));
	rduc_free(s.c);
}

static void little_memory(struct bytes model, struct bytes program)
{
	struct rduc *c = compiler(1);
	int refused = 0, bad = 0, ret = -ENOMEM;

	rduc_set(c, "threads", "2");
	for (size_t limit = 1000; ret && limit < 1 << 30; limit += limit / 32) {
		char text[32];

		snprintf(text, sizeof(text), "%zu", limit);
		rduc_set(c, "memory", text);
		ret = rduc_compile(c, model.data, model.size);
		refused += ret == -ENOMEM;
		if (ret && (ret != -ENOMEM || !strstr(rduc_error_text(c), "out of memory: ") ||
			    rduc_output(c, RDUC_PROGRAM, NULL)))
			bad++;
	}
	tap(!ret && refused > 50 && !bad, "%d limits of memory are too low, and it says so: %s",
	    refused, rduc_error_text(c));
	tap(same_program(c, program), "with enough it is right");
	rduc_free(c);
}

/* The same with entry points for several shapes, and what is tried for the sake of padding. */
static void several_shapes(struct bytes model)
{
	struct stop s = { .c = compiler(0) };
	int ret = -ENOMEM, refused = 0, all, bad = 0;

	rduc_set(s.c, "shape", "x=[1,3,4],8");
	for (size_t limit = 1000; ret && limit < 1 << 30; limit += limit / 8) {
		char text[32];

		snprintf(text, sizeof(text), "%zu", limit);
		rduc_set(s.c, "memory", text);
		ret = rduc_compile(s.c, model.data, model.size);
		refused += ret == -ENOMEM;
		bad += ret && ret != -ENOMEM;
	}
	tap(!ret && refused > 10 && !bad, "several shapes: %d limits of memory are too low",
	    refused);
	rduc_set_progress(s.c, step, &s);
	rduc_compile(s.c, model.data, model.size);
	all = s.steps;
	for (int at = 1; at < all; at++) {
		s.steps = 0;
		s.at = at;
		bad += rduc_compile(s.c, model.data, model.size) != -ECANCELED;
	}
	tap(all > 10 && !bad, "  cancelled in any of %d steps: %d are not", all, bad);
	rduc_free(s.c);
}

static int released;

static void release(void *object)
{
	released++;
	(free)(object);
}

/* Thousands of blocks that come, grow and go, two objects of others, and then too much. */
static void work_until_full(void *arg)
{
	void *object[2] = { malloc(10), malloc(10) }, **block = arg;

	xown(object[0], release);
	xown(object[1], release);
	xdisown(object[1]);
	(free)(object[1]);
	for (int i = 0; i < 20000; i++) {
		int k = i * 7919 % 5000;

		if (i % 3 == 2) {
			free(block[k]);
			block[k] = NULL;
		} else {
			block[k] = xrealloc(block[k], (size_t)(i % 100) + 1);
			memset(block[k], i, (size_t)(i % 100) + 1);
		}
	}
	for (;;)
		xmalloc(1000);
}

static void heap_itself(void)
{
	void **block = calloc(5000, sizeof(*block));
	struct heap heap = { .limit = 2000000 };

	tap(heap_run(&heap, work_until_full, block) == HEAP_NO_MEMORY && released == 1 &&
		    !strcmp(heap.why, "1000 bytes") && heap.used > 1998000 && heap.used <= 2000000,
	    "what a compile had is freed, and an object of another library released, once");
	(free)(block);
}

/* ---- threads ------------------------------------------------------------------------------- */

struct job {
	pthread_t thread;
	struct rduc *c;
	struct bytes model, want;
	int rounds, wrong;
};

static void *work(void *arg)
{
	struct job *j = arg;

	for (int i = 0; i < j->rounds; i++)
		if (rduc_compile(j->c, j->model.data, j->model.size) ||
		    !same_program(j->c, j->want)) {
			printf("# %s\n", rduc_error_text(j->c));
			j->wrong++;
		}
	return NULL;
}

struct gate { /* the compiler stops in a step until it is let on */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool arrived, open;
};

static void wait_at_gate(void *arg, const char *what)
{
	struct gate *g = arg;

	if (!strstr(what, "nest 2 of"))
		return;
	pthread_mutex_lock(&g->lock);
	g->arrived = true;
	pthread_cond_signal(&g->changed);
	while (!g->open)
		pthread_cond_wait(&g->changed, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

static void *compile_deep(void *arg)
{
	struct job *j = arg;

	j->wrong = rduc_compile(j->c, j->model.data, j->model.size);
	return NULL;
}

static void threads(struct bytes a, struct bytes b, struct bytes third)
{
	struct job job[3] = { { .model = a, .rounds = 8 },
			      { .model = b, .rounds = 8 },
			      { .model = third } };
	struct gate gate = { .lock = PTHREAD_MUTEX_INITIALIZER,
			     .changed = PTHREAD_COND_INITIALIZER };

	for (int i = 0; i < 3; i++)
		job[i].c = compiler(i < 2);
	for (int i = 0; i < 2; i++)
		job[i].want = alone(job[i].model);
	rduc_set(job[2].c, "optimize", "0");
	rduc_set_progress(job[2].c, wait_at_gate, &gate);
	pthread_create(&job[2].thread, NULL, compile_deep, &job[2]);
	for (int i = 0; i < 2; i++)
		pthread_create(&job[i].thread, NULL, work, &job[i]);
	pthread_mutex_lock(&gate.lock);
	while (!gate.arrived)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
	tap(rduc_compile(job[2].c, a.data, a.size) == -EBUSY &&
		    rduc_set(job[2].c, "tiles", "2") == -EBUSY,
	    "while a compile runs, its object is busy");
	rduc_cancel(job[2].c);
	pthread_mutex_lock(&gate.lock);
	gate.open = true;
	pthread_cond_signal(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
	for (int i = 0; i < 3; i++)
		pthread_join(job[i].thread, NULL);
	tap(job[2].wrong == -ECANCELED, "one thread's compile is cancelled by another: %s",
	    rduc_error_text(job[2].c));
	tap(!job[0].wrong && !job[1].wrong, "two others compile meanwhile, to the same programs");
	for (int i = 0; i < 3; i++) {
		free(job[i].want.data);
		rduc_free(job[i].c);
	}
}

int main(void)
{
	struct bytes small = network(5), large = network(40), many = deep(12, true),
		     maps = deep(40, false), program;

	program = alone(small);
	outputs(small);
	handed_out(small, program);
	logged(small);
	remarks(maps);
	options();
	broken(small);
	cancelled_anywhere(small, program);
	little_memory(small, program);
	several_shapes(small);
	heap_itself();
	threads(small, large, many);
	free(program.data);
	free(small.data);
	free(large.data);
	free(many.data);
	free(maps.data);
	return tap_end();
}
