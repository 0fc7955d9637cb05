// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <fnmatch.h>
#include <math.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "case.h"
#include "rdu.h"

extern char **environ;

#define MAX_IO 32
#define DOUBLE_MISFIT "an element of 64 bits does not fit 32"

static void verdict(struct result *r, enum verdict v, const char *fmt, ...)
{
	va_list ap;

	r->verdict = v;
	va_start(ap, fmt);
	vsnprintf(r->why, sizeof(r->why), fmt, ap);
	va_end(ap);
	for (char *p = r->why; *p; p++)
		if (*p == '\n' || *p == '#' || *p == '\t')
			*p = ' ';
}

static void collect_ops(const Onnx__GraphProto *g, char *out, size_t size)
{
	size_t n = 0;

	out[0] = 0;
	for (size_t i = 0; i < g->n_node; i++) {
		const char *t = g->node[i]->op_type;
		size_t len = strlen(t);
		const char *p = strstr(out, t);
		bool seen = false;

		for (; p && !seen; p = strstr(p + 1, t))
			seen = (p == out || p[-1] == ',') && (!p[len] || p[len] == ',');
		if (!seen && n + len + 2 < size)
			n += snprintf(out + n, size - n, "%s%s", n ? "," : "", t);
	}
}

/*
 * The suite passes everything as a graph input, also what says a shape. Shapes
 * are static for the compiler, so these inputs are made initializers, with the
 * value that the case gives them: of each of ONNX's operators those inputs that
 * say a shape, a place in it, how often, or whether at all (Dropout), whether
 * the compiler knows it or not.
 */
#define INPUT(i) (1u << (i))
#define FROM(i) (~0u << (i))

static const struct {
	const char *op; /* a pattern */
	unsigned int inputs;
} constants[] = {
	{ "AffineGrid", INPUT(1) },
	{ "CenterCropPad", INPUT(1) },
	{ "Col2Im", INPUT(1) | INPUT(2) },
	{ "ConstantOfShape", INPUT(0) },
	{ "CumSum", INPUT(1) },
	{ "DFT", INPUT(1) | INPUT(2) },
	{ "Dropout", INPUT(1) | INPUT(2) },
	{ "Expand", INPUT(1) },
	{ "Loop", INPUT(0) | INPUT(1) },
	{ "MaxUnpool", INPUT(2) },
	{ "MelWeightMatrix", FROM(0) },
	{ "OneHot", INPUT(1) },
	{ "Pad", INPUT(1) | INPUT(3) },
	{ "Range", FROM(0) },
	{ "Reduce*", INPUT(1) },
	{ "Reshape", INPUT(1) },
	{ "Resize", FROM(1) },
	{ "STFT", INPUT(1) | INPUT(3) },
	{ "Slice", FROM(1) },
	{ "Split", INPUT(1) },
	{ "SplitToSequence", INPUT(1) },
	{ "Squeeze", INPUT(1) },
	{ "Tile", FROM(1) },
	{ "TopK", INPUT(1) },
	{ "Trilu", INPUT(1) },
	{ "Unsqueeze", INPUT(1) },
	{ "Upsample", INPUT(1) },
	{ "*Window", INPUT(0) },
};

static unsigned int constant_inputs(const char *op)
{
	for (size_t k = 0; k < sizeof(constants) / sizeof(constants[0]); k++)
		if (!fnmatch(constants[k].op, op, 0))
			return constants[k].inputs;
	return 0;
}

static bool is_constant(const Onnx__GraphProto *g, const char *name)
{
	for (size_t i = 0; i < g->n_node; i++) {
		const Onnx__NodeProto *n = g->node[i];
		unsigned int inputs = constant_inputs(n->op_type);

		for (size_t j = 0; j < n->n_input && j < 32; j++)
			if ((inputs >> j & 1) && !strcmp(n->input[j], name))
				return true;
	}
	return false;
}

/* NAME_expanded is what case NAME's operator is made of, with the same inputs: what says a shape
 * there says one here. NULL: there is no such case. */
static Onnx__ModelProto *unexpanded(const char *dir)
{
	const char *tail = strstr(dir, "_expanded");
	char path[1200];

	if (!tail)
		return NULL;
	snprintf(path, sizeof(path), "%.*s/model.onnx", (int)(tail - dir), dir);
	return access(path, R_OK) ? NULL : model_read(path);
}

static bool is_initializer(const Onnx__GraphProto *g, const char *name)
{
	for (size_t i = 0; i < g->n_initializer; i++)
		if (!strcmp(g->initializer[i]->name, name))
			return true;
	return false;
}

struct io {
	char name[128];
	struct value v;
	void *out; /* outputs: what the card wrote */
	int64_t sizes[RDU_MAX_DIMS]; /* where data say how large it is */
	int out_type;
};

/* NAME=D,D,... of the inputs whose shape the model leaves open. */
struct shapes {
	int num;
	char text[MAX_IO][256];
};

static void add_shape(struct shapes *s, const struct io *io)
{
	char *text = s->text[s->num++];
	int at = snprintf(text, sizeof(s->text[0]), "%.120s=", io->name);

	for (int i = 0; i < io->v.ndim; i++)
		at += snprintf(text + at, sizeof(s->text[0]) - at, "%s%lld", i ? "," : "",
			       (long long)io->v.dim[i]);
}

static bool is_open(const Onnx__ValueInfoProto *vi)
{
	const Onnx__TensorShapeProto *shape = vi->type->tensor_type->shape;

	for (size_t i = 0; shape && i < shape->n_dim; i++)
		if (shape->dim[i]->value_case !=
		    ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE)
			return true;
	return !shape;
}

static int write_model(const Onnx__ModelProto *m, const char *path)
{
	size_t n = onnx__model_proto__get_packed_size(m);
	uint8_t *buf = malloc(n);
	FILE *f = fopen(path, "wb");
	int ret = -1;

	if (buf && f) {
		onnx__model_proto__pack(m, buf);
		ret = fwrite(buf, 1, n, f) == n ? 0 : -1;
	}
	if (f && fclose(f))
		ret = -1;
	free(buf);
	return ret;
}

static Onnx__TensorProto *proto_read(const char *path)
{
	size_t size;
	void *buf = read_file(path, &size);
	Onnx__TensorProto *t = buf ? onnx__tensor_proto__unpack(NULL, size, buf) : NULL;

	free(buf);
	return t;
}

/* Runs the compiler; its messages go to `log`. Exit status, or 128 + signal. */
static int compile(const struct options *o, const struct shapes *shapes, const char *model,
		   const char *out, const char *log)
{
	char *argv[10 + 2 * MAX_IO] = { (char *)o->rduc, (char *)model,	 "-o",
					(char *)out,	 (char *)o->opt, "--chip",
					(char *)o->chip, "--precision",	 (char *)o->precision };
	posix_spawn_file_actions_t fa;
	pid_t pid;
	int status, err;

	for (int i = 0; shapes && i < shapes->num; i++) {
		argv[9 + 2 * i] = "--shape";
		argv[10 + 2 * i] = (char *)shapes->text[i];
	}
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	posix_spawn_file_actions_adddup2(&fa, 1, 2);
	err = posix_spawn(&pid, o->rduc, &fa, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	if (err || waitpid(pid, &status, 0) != pid)
		return 127;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool compare(const struct options *o, const struct io *io, struct result *r)
{
	struct value got = { .type = io->out_type, .raw = io->out };
	double atol = o->atol, rtol = o->rtol, largest = 0;

	/* The suite's bfloat16 numbers are cut off, the card's are rounded: one
	 * unit of the last place. */
	if (io->v.type == RDU_DT_BF16)
		rtol = 1.0 / 128;

	for (int64_t i = 0; o->atol_is_relative && i < io->v.count; i++) {
		double w = fabs(value_get(&io->v, i));

		if (isfinite(w) && w > largest)
			largest = w;
	}
	if (o->atol_is_relative)
		atol = o->atol * (largest > 0 ? largest : 1);
	for (int64_t i = 0; i < io->v.count; i++) {
		double want = value_get(&io->v, i), have = value_get(&got, i), off;

		if (io->v.type ==
		    11) /* double is computed in fp32: what is too small for it is 0 */
			want = fabs(want) < 0x1p-149 ? 0 : want;
		if (want == have || (isnan(want) && isnan(have)))
			continue;
		off = fabs(want - have) / (atol + rtol * fabs(want));
		if (io->v.type != 1 && io->v.type != 10 && io->v.type != 11 && io->v.type != 16)
			off = INFINITY;
		if (!(off <= r->worst))
			r->worst = off;
		if (!(off <= 1)) {
			verdict(r, CASE_FAIL, "%s[%lld] is %.9g, not %.9g", io->name, (long long)i,
				have, want);
			return false;
		}
	}
	return true;
}

/* The symbol of a graph's input or output: by name, else the k-th of its kind. */
static const struct rdu_file_symbol *symbol(struct rdu_file *f, const char *name, uint32_t flag,
					    int k)
{
	int i = rdu_file_find_symbol(f, name);

	if (i >= 0 && (rdu_file_get_symbol(f, i)->flags & flag))
		return rdu_file_get_symbol(f, i);
	for (i = 0; i < (int)rdu_file_num_symbols(f); i++) {
		const struct rdu_file_symbol *s = rdu_file_get_symbol(f, i);

		if ((s->flags & flag) && !k--)
			return s;
	}
	return NULL;
}

/* Is output `io` of the shape that it is to have? What counts of it stays. */
static bool same_shape(struct rdu_program *prog, const struct rdu_file_symbol *s, struct io *io,
		       struct result *r)
{
	struct rdu_shape shape = { 0 };
	char have[200] = "", want[200] = "";
	void *part;
	int at = 0, to = 0;

	if (rdu_program_output_shape(prog, s->name, &shape)) {
		verdict(r, CASE_FAIL, "shape: %s", rdu_error_text(prog));
		return false;
	}
	if ((int)shape.ndim == io->v.ndim &&
	    !memcmp(shape.dims, io->v.dim, shape.ndim * sizeof(int64_t))) {
		part = malloc(rdu_symbol_size(s) + 1);
		rdu_symbol_cut(s, &shape, io->out, part);
		free(io->out);
		io->out = part;
		return true;
	}
	for (unsigned int d = 0; d < shape.ndim; d++)
		at += snprintf(have + at, sizeof(have) - at, ",%lld", (long long)shape.dims[d]);
	for (int d = 0; d < io->v.ndim && d < 8; d++)
		to += snprintf(want + to, sizeof(want) - to, ",%lld", (long long)io->v.dim[d]);
	verdict(r, CASE_FAIL, "output %s has shape [%s], not [%s]", io->name, have + (at > 0),
		want + (to > 0));
	return false;
}

static void run(const char *path, const struct options *o, struct io *in, int num_in,
		struct io *out, int num_out, struct result *r)
{
	struct rdu_device *dev = NULL;
	struct rdu_context *ctx = NULL;
	struct rdu_program *prog = NULL;
	struct rdu_file *file = NULL;
	struct rdu_stats stats;

	if (rdu_file_open(path, &file)) {
		verdict(r, CASE_FAIL, "file: %s", rdu_error_text(file));
		goto out;
	}
	if (rdu_open(o->device, &dev)) {
		verdict(r, CASE_FAIL, "device: %s", rdu_error_text(dev));
		goto out;
	}
	if (rdu_context_new(dev, NULL, &ctx)) {
		verdict(r, CASE_FAIL, "context: %s", rdu_error_text(ctx));
		goto out;
	}
	if (rdu_program_load(ctx, file, &prog)) {
		verdict(r, CASE_FAIL, "load: %s", rdu_error_text(prog));
		goto out;
	}
	for (int i = 0; i < num_in; i++) {
		const struct rdu_file_symbol *s = symbol(file, in[i].name, RDU_SYM_INPUT, i);

		/* One that nothing uses (its data may even have another shape). */
		if (!s || !s->entries)
			continue;
		if ((int)s->dtype != in[i].v.type) {
			verdict(r, CASE_FAIL, "input %s became %s", in[i].name,
				rdu_dtype_name(s->dtype));
			goto out;
		}
		if (rdu_program_bind(prog, s->name, in[i].v.raw,
				     in[i].v.count * type_size(in[i].v.type))) {
			verdict(r, CASE_FAIL, "bind: %s", rdu_error_text(prog));
			goto out;
		}
	}
	for (int i = 0; i < num_out; i++) {
		const struct rdu_file_symbol *s = symbol(file, out[i].name, RDU_SYM_OUTPUT, i);
		int k;

		if (!s) {
			verdict(r, CASE_FAIL, "no output %s", out[i].name);
			goto out;
		}
		if ((int)s->dtype != out[i].v.type) {
			verdict(r, CASE_FAIL, "output %s became %s", out[i].name,
				rdu_dtype_name(s->dtype));
			goto out;
		}
		out[i].out_type = s->dtype;
		out[i].out = malloc(rdu_symbol_size(s) + 1);
		memset(out[i].out, 0xa5, rdu_symbol_size(s));
		if (rdu_program_bind(prog, s->name, out[i].out, rdu_symbol_size(s))) {
			verdict(r, CASE_FAIL, "bind: %s", rdu_error_text(prog));
			goto out;
		}
		k = rdu_file_symbol_sizes(file, (unsigned int)rdu_file_find_symbol(file, s->name));
		if (k >= 0 && rdu_program_bind(prog, rdu_file_get_symbol(file, k)->name,
					       out[i].sizes, sizeof(out[i].sizes))) {
			verdict(r, CASE_FAIL, "bind: %s", rdu_error_text(prog));
			goto out;
		}
	}
	if (rdu_program_run(prog, NULL, &stats)) {
		/* The suite has doubles that fp32 has no number for: the card says so. */
		verdict(r,
			strstr(rdu_error_text(prog), DOUBLE_MISFIT) && !o->expect ? CASE_SKIP
										  : CASE_FAIL,
			"run: %s", rdu_error_text(prog));
		goto out;
	}
	r->verdict = CASE_PASS;
	for (int i = 0; i < num_out && r->verdict == CASE_PASS; i++)
		if (same_shape(prog, symbol(file, out[i].name, RDU_SYM_OUTPUT, i), &out[i], r))
			compare(o, &out[i], r);
	/* Something must have run: an empty program cannot pass but for pure copies. */
	if (r->verdict == CASE_PASS && (!stats.sections || stats.end_cycle <= stats.start_cycle))
		verdict(r, CASE_FAIL, "nothing ran: %llu sections, %llu cycles",
			(unsigned long long)stats.sections,
			(unsigned long long)(stats.end_cycle - stats.start_cycle));
out:
	rdu_program_free(prog);
	rdu_context_free(ctx);
	rdu_close(dev);
	rdu_file_close(file);
}

/* Types the card has no tensors of: the compiler must say so too. */
static bool known_type(int type)
{
	return rdu_dtype_size(type);
}

/* What the compiler said, in one line; true if it refused for a missing feature. */
static bool refusal(const char *log, char *text, size_t size)
{
	size_t n;
	char *buf = read_file(log, &n), *s, *e;
	bool missing;

	if (!buf)
		return false;
	buf[n ? n - 1 : 0] = 0;
	/* "not supported", "only up to 4 are supported", "must be a constant". */
	s = strstr(buf, "supported");
	if (!s)
		s = strstr(buf, "must be a constant");
	missing = s;
	if (!s)
		s = buf;
	while (s > buf && s[-1] != '\n')
		s--;
	e = strchr(s, '\n');
	/* The heading "unsupported operators:" is followed by the list. */
	if (e && e > s && e[-1] == ':') {
		*e = ' ';
		e = strchr(e, '\n');
	}
	if (e)
		*e = 0;
	for (e = strstr(s, ".onnx: "); e; e = NULL)
		s = e + 7;
	snprintf(text, size, "%s", s);
	free(buf);
	return missing;
}

/* Reads file `number` of the case's data into v. */
static Onnx__TensorProto *read_data(const char *dir, const char *kind, size_t number,
				    const Onnx__ValueInfoProto *vi, struct value *v)
{
	char path[1200];
	Onnx__TensorProto *t;

	snprintf(path, sizeof(path), "%s/test_data_set_0/%s_%zu.pb", dir, kind, number);
	t = proto_read(path);
	if (!t || value_from_proto(v, t)) {
		if (t)
			onnx__tensor_proto__free_unpacked(t, NULL);
		return NULL;
	}
	/* The suite stores bfloat16 as uint16. */
	if (vi->type->tensor_type->elem_type == RDU_DT_BF16 && v->type == 4)
		v->type = RDU_DT_BF16;
	return t;
}

/* Is this input's data next? An initializer that is an input too may have some. */
static bool has_data(const char *dir, size_t number, const char *name)
{
	char path[1200];
	Onnx__TensorProto *t;
	bool has;

	snprintf(path, sizeof(path), "%s/test_data_set_0/input_%zu.pb", dir, number);
	t = proto_read(path);
	has = t && t->name && !strcmp(t->name, name);
	if (t)
		onnx__tensor_proto__free_unpacked(t, NULL);
	return has;
}

/* Is it a tensor of a type that the card has? If not: a skip. */
static bool takes_type(const Onnx__ValueInfoProto *vi, struct result *r)
{
	if (!vi->type || vi->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
		verdict(r, CASE_SKIP, "type: sequence or optional");
		return false;
	}
	if (!known_type(vi->type->tensor_type->elem_type)) {
		verdict(r, CASE_SKIP, "type: %s", type_name(vi->type->tensor_type->elem_type));
		return false;
	}
	return true;
}

/* Input files are numbered in the order of the graph's inputs. */
static int read_inputs(const char *dir, const struct options *o, Onnx__GraphProto *g, struct io *in,
		       size_t *num_in, struct shapes *shapes, struct result *r)
{
	Onnx__ModelProto *whole = o->expect ? NULL : unexpanded(dir);
	size_t kept = 0, file = 0;
	int ret = -1;

	for (size_t k = 0; k < g->n_input; k++) {
		Onnx__ValueInfoProto *vi = g->input[k];
		struct io *io = &in[*num_in];
		Onnx__TensorProto *t;

		if (is_initializer(g, vi->name) && (!o->expect || !has_data(dir, file, vi->name))) {
			g->input[kept++] = vi;
			continue;
		}
		if (!takes_type(vi, r))
			goto out;
		t = read_data(dir, "input", file++, vi, &io->v);
		if (!t) {
			verdict(r, CASE_FAIL, "input %zu cannot be read", file - 1);
			goto out;
		}
		snprintf(io->name, sizeof(io->name), "%s", vi->name);
		if (!o->expect &&
		    (is_constant(g, vi->name) || (whole && is_constant(whole->graph, vi->name)))) {
			t->name = strdup(vi->name);
			g->initializer = realloc(g->initializer,
						 (g->n_initializer + 1) * sizeof(*g->initializer));
			g->initializer[g->n_initializer++] = t;
			value_free(&io->v);
			continue;
		}
		if (is_open(vi) || (o->expect && is_initializer(g, vi->name)))
			add_shape(shapes, io);
		g->input[kept++] = vi;
		onnx__tensor_proto__free_unpacked(t, NULL);
		++*num_in;
	}
	g->n_input = kept;
	ret = 0;
out:
	if (whole)
		onnx__model_proto__free_unpacked(whole, NULL);
	return ret;
}

static int read_outputs(const char *dir, const Onnx__GraphProto *g, struct io *out,
			struct result *r)
{
	for (size_t k = 0; k < g->n_output; k++) {
		Onnx__ValueInfoProto *vi = g->output[k];
		Onnx__TensorProto *t;

		if (!takes_type(vi, r))
			return -1;
		snprintf(out[k].name, sizeof(out[0].name), "%s", vi->name);
		for (size_t i = 0; i < k; i++)
			if (!strcmp(out[i].name, vi->name)) /* listed twice: the k-th symbol */
				out[k].name[0] = 0;
		t = read_data(dir, "output", k, vi, &out[k].v);
		if (!t) {
			verdict(r, CASE_FAIL, "output %zu cannot be read", k);
			return -1;
		}
		onnx__tensor_proto__free_unpacked(t, NULL);
	}
	return 0;
}

/* A case that is expected to be refused: for this reason, and in plain words. */
static void judge_refusal(const struct options *o, int status, const char *log, struct result *r)
{
	size_t n;
	char *text = read_file(log, &n), *s;

	if (!status || !text || !n) {
		if (!status)
			verdict(r, CASE_FAIL, "is not refused; expected: %s", o->expect);
		else
			verdict(r, CASE_FAIL, "status %d, and no reason", status);
		free(text);
		return;
	}
	text[n - 1] = 0;
	for (s = strstr(text, ".onnx: "); s; s = NULL)
		memmove(text, s + 7, strlen(s + 7) + 1);
	for (s = text; *s; s++) /* a reason of several lines is one of the list */
		*s = *s == '\n' ? ' ' : *s;
	if (status != 1 || strncmp(text, o->expect, strlen(o->expect)))
		verdict(r, CASE_FAIL, "status %d, expected '%s': %s", status, o->expect, text);
	else
		r->verdict = CASE_PASS;
	free(text);
}

#define STOPS \
	"run: " /* what the reason of a case begins with that compiles, and that the card stops */

static bool is_stop(const char *reason)
{
	return reason && !strncmp(reason, STOPS, strlen(STOPS));
}

/* A case that is expected to be stopped: for this reason. */
static void judge_stop(const struct options *o, struct result *r)
{
	char why[sizeof(r->why)];

	if (r->verdict == CASE_FAIL && !strncmp(r->why, o->expect, strlen(o->expect))) {
		r->verdict = CASE_PASS;
		return;
	}
	snprintf(why, sizeof(why), "%s", r->verdict == CASE_PASS ? "is not stopped" : r->why);
	verdict(r, CASE_FAIL, "%s; expected: %s", why, o->expect);
}

void case_run(const char *dir, const struct options *o, struct result *r)
{
	char model[1200], out_path[1200], log[1200], said[256];
	const char *base = strrchr(dir, '/') ? strrchr(dir, '/') + 1 : dir;
	Onnx__ModelProto *m;
	Onnx__GraphProto *g;
	struct io in[MAX_IO], out[MAX_IO];
	struct shapes shapes = { 0 };
	size_t num_in = 0, k;
	int status;

	memset(r, 0, sizeof(*r));
	memset(in, 0, sizeof(in));
	memset(out, 0, sizeof(out));
	snprintf(model, sizeof(model), "%s/model.onnx", dir);
	m = model_read(model);
	if (!m) {
		verdict(r, CASE_FAIL, "model cannot be read");
		return;
	}
	g = m->graph;
	collect_ops(g, r->ops, sizeof(r->ops));
	if (g->n_output > MAX_IO || g->n_input > MAX_IO) {
		verdict(r, CASE_SKIP, "more inputs or outputs than this runner takes");
		return;
	}
	snprintf(out_path, sizeof(out_path), "%s/%s.rdu", o->work, base);
	snprintf(log, sizeof(log), "%s/%s.log", o->work, base);
	unlink(out_path);
	if (o->expect && *o->expect && !is_stop(o->expect)) {
		judge_refusal(o, compile(o, NULL, model, out_path, log), log, r);
		return;
	}
	if (read_inputs(dir, o, g, in, &num_in, &shapes, r) || read_outputs(dir, g, out, r))
		return;
	if (!o->expect) {
		snprintf(model, sizeof(model), "%s/%s.onnx", o->work, base);
		if (write_model(m, model)) {
			verdict(r, CASE_FAIL, "%s cannot be written", model);
			return;
		}
	}
	status = compile(o, &shapes, model, out_path, log);
	if (status) {
		bool missing = refusal(log, said, sizeof(said));

		if (missing && status < 126)
			verdict(r, CASE_SKIP, "%s", said);
		else
			verdict(r, CASE_FAIL, "rduc: status %d: %s", status, said);
		return;
	}
	run(out_path, o, in, (int)num_in, out, (int)g->n_output, r);
	if (is_stop(o->expect))
		judge_stop(o, r);
	if (r->verdict == CASE_PASS) {
		if (!o->expect)
			unlink(model);
		unlink(out_path);
		unlink(log);
	}
	for (k = 0; k < num_in; k++)
		value_free(&in[k].v);
	for (k = 0; k < g->n_output; k++) {
		value_free(&out[k].v);
		free(out[k].out);
	}
	onnx__model_proto__free_unpacked(m, NULL);
}
