// SPDX-License-Identifier: MIT
/* rdu run: an entry point with tensors from files. */
#include <stdlib.h>
#include <string.h>
#include "rdu_tool.h"

#define MAX_FILES 256

struct binding {
	const char *text; /* NAME=FILE, as given */
	const struct rdu_file_symbol *sym;
	const char *path;
	struct tensor t;
	struct rdu_shape shape; /* its name, and what counts of the symbol */
};

struct request {
	const char *device, *path, *entry, *trace;
	struct binding in[MAX_FILES], out[MAX_FILES];
	unsigned int num_in, num_out;
	unsigned int repeat, trace_events;
	bool json, wait;
};

static bool add_binding(struct binding *b, unsigned int *n, const char *text)
{
	const char *eq = strchr(text, '=');

	if (!eq || eq == text || !text[1] || text[strlen(text) - 1] == '=')
		usage("run", "\"%s\": want NAME=FILE", text);
	else if (*n == MAX_FILES)
		usage("run", "\"%s\": more than %d of them", text, MAX_FILES);
	else
		b[(*n)++].text = text;
	return *n && b[*n - 1].text == text;
}

/* All of the symbol counts. */
static void set_symbol(struct binding *b, const struct rdu_file_symbol *sym)
{
	b->sym = sym;
	b->shape = (struct rdu_shape){ .name = sym->name, .ndim = sym->ndim };
	memcpy(b->shape.dims, sym->dims, sizeof(b->shape.dims));
}

/* Names may hold '=', and files too: the longest name that there is. */
static int find_symbol(struct session *s, struct binding *b)
{
	char *name = xmalloc(strlen(b->text) + 1);
	const char *eq;
	int i = -1, k;

	for (eq = strchr(b->text, '='); eq && eq[1]; eq = strchr(eq + 1, '=')) {
		snprintf(name, eq - b->text + 1, "%s", b->text);
		k = rdu_file_find_symbol(s->file, name);
		if (k < 0)
			continue;
		i = k;
		b->path = eq + 1;
	}
	if (i < 0) {
		snprintf(name, strchr(b->text, '=') - b->text + 1, "%s", b->text);
		rdu_file_find_symbol(s->file, name); /* for its words */
	}
	free(name);
	if (i < 0)
		return fail("%s", rdu_error_text(s->file));
	set_symbol(b, rdu_file_get_symbol(s->file, i));
	return 0;
}

/* Which symbols are meant; and no tensor is given twice, no file written that is read. */
static int find_symbols(struct session *s, struct request *r)
{
	struct lr_outfile_use use[2 * MAX_FILES + 2] = { { NULL, r->path },
							 { "--trace", r->trace } };
	unsigned int n = 2, i, k;

	for (i = 0; i < r->num_in; i++) {
		if (find_symbol(s, &r->in[i]))
			return EXIT_FAIL;
		for (k = 0; k < i; k++)
			if (r->in[k].sym == r->in[i].sym)
				return fail("\"%s\" is given twice: %s, %s", r->in[i].sym->name,
					    r->in[k].path, r->in[i].path);
		use[n++] = (struct lr_outfile_use){ NULL, r->in[i].path };
	}
	for (i = 0; i < r->num_out; i++) {
		if (find_symbol(s, &r->out[i]))
			return EXIT_FAIL;
		use[n++] = (struct lr_outfile_use){ "--output", r->out[i].path };
	}
	return check_files(use, n);
}

/* A .npy file has the types that NumPy has none of as integers. */
static bool same_shape(const struct tensor *t, const struct rdu_file_symbol *sym,
		       const struct rdu_shape *shape)
{
	return (t->dtype == sym->dtype || t->dtype == tensor_npy_dtype(sym->dtype)) &&
	       t->ndim == shape->ndim &&
	       !memcmp(t->dims, shape->dims, t->ndim * sizeof(t->dims[0]));
}

static const char *shape_text(const char *dtype, unsigned int ndim, const int64_t *dims, char *text,
			      size_t size)
{
	size_t at = snprintf(text, size, "%s[", dtype);
	unsigned int d;

	for (d = 0; d < ndim && at < size; d++)
		at += snprintf(text + at, size - at, "%s%lld", d ? "," : "", (long long)dims[d]);
	if (at < size)
		snprintf(text + at, size - at, "]");
	return text;
}

static int read_inputs(struct request *r)
{
	char error[512];

	for (unsigned int i = 0; i < r->num_in; i++)
		if (tensor_read(r->in[i].path, &r->in[i].t, error, sizeof(error)))
			return fail("%s", error);
	return 0;
}

/* Are there entry points for several shapes, and is this one of them? */
static bool has_shapes(const struct rdu_file *file, const char *entry)
{
	size_t n = strcspn(entry, "[");
	bool found = entry[n];

	for (unsigned int e = 0; e < rdu_file_num_entries(file); e++)
		found |= !strncmp(rdu_file_entry(file, e), entry, n) &&
			 rdu_file_entry(file, e)[n] == '[';
	return found;
}

/* What a tensor is in the entry point. */
static int set_binding(struct session *s, const struct rdu_shape *shapes, unsigned int num,
		       int entry, struct binding *b)
{
	struct rdu_shape shape;
	int k = rdu_file_entry_shape(s->file, entry, shapes, num, b->shape.name, &shape);

	if (k < 0 && b->sym->flags & (RDU_SYM_INPUT | RDU_SYM_OUTPUT))
		return fail("%s", rdu_error_text(s->file));
	if (k < 0)
		return 0; /* a weight that it does not use */
	b->sym = rdu_file_get_symbol(s->file, k);
	b->shape = shape;
	return 0;
}

/* The entry point that takes the inputs that were read; its number, -1 after a message. */
static int choose_entry(struct session *s, struct request *r, int entry)
{
	struct rdu_shape *shapes;
	unsigned int num = 0;
	int ret = 0;

	if (!has_shapes(s->file, r->entry))
		return entry;
	shapes = xcalloc(r->num_in + 1, sizeof(*shapes));
	for (unsigned int i = 0; i < r->num_in; i++) {
		struct binding *in = &r->in[i];

		if (!(in->sym->flags & RDU_SYM_INPUT))
			continue;
		shapes[num] = in->shape;
		shapes[num].ndim = in->t.ndim;
		memcpy(shapes[num++].dims, in->t.dims, sizeof(in->t.dims));
	}
	entry = rdu_file_entry_for_shapes(s->file, r->entry, shapes, num);
	if (entry < 0)
		ret = fail("%s", rdu_error_text(s->file));
	for (unsigned int i = 0; i < r->num_in && !ret; i++)
		ret = set_binding(s, shapes, num, entry, &r->in[i]);
	for (unsigned int i = 0; i < r->num_out && !ret; i++)
		ret = set_binding(s, shapes, num, entry, &r->out[i]);
	free(shapes);
	if (ret)
		return -1;
	r->entry = rdu_file_entry(s->file, entry);
	return entry;
}

/* Fewer rows than the entry point takes become as many. */
static void pad_input(struct binding *in)
{
	void *whole;

	if (!memcmp(in->shape.dims, in->sym->dims, sizeof(in->shape.dims)))
		return;
	whole = xcalloc(1, rdu_symbol_size(in->sym));
	rdu_symbol_pad(in->sym, &in->shape, in->t.data, whole);
	free(in->t.data);
	in->t.data = whole;
	in->t.size = rdu_symbol_size(in->sym);
}

static int bind_inputs(struct session *s, struct request *r)
{
	char a[128], b[128];
	unsigned int i;

	for (i = 0; i < r->num_in; i++) {
		struct binding *in = &r->in[i];
		const struct rdu_file_symbol *sym = in->sym;
		int ret;

		if (!same_shape(&in->t, sym, &in->shape)) {
			int64_t dims[RDU_MAX_DIMS];

			memcpy(dims, sym->dims, sizeof(dims));
			return fail("%s is %s, but \"%s\" is %s", in->path,
				    shape_text(rdu_dtype_name(in->t.dtype), in->t.ndim, in->t.dims,
					       a, sizeof(a)),
				    sym->name,
				    shape_text(rdu_dtype_name(sym->dtype), sym->ndim, dims, b,
					       sizeof(b)));
		}
		pad_input(in);
		if (sym->flags & RDU_SYM_INPUT)
			ret = rdu_program_bind(s->prog, sym->name, in->t.data, in->t.size);
		else
			ret = rdu_program_write(s->prog, sym->name, in->t.data, in->t.size);
		if (ret)
			return fail("%s", rdu_error_text(s->prog));
	}
	return 0;
}

/* Inputs that are not given, and what is given for nothing. */
static void warn_unbound(struct session *s, struct request *r, int entry)
{
	unsigned int i, k;

	for (i = 0; i < rdu_file_num_symbols(s->file); i++) {
		const struct rdu_file_symbol *sym = rdu_file_get_symbol(s->file, i);

		for (k = 0; k < r->num_in && r->in[k].sym != sym; k++)
			;
		if (sym->entries >> entry & 1 ? k < r->num_in || !(sym->flags & RDU_SYM_INPUT)
					      : k == r->num_in)
			continue;
		if (k < r->num_in)
			fprintf(stderr, "rdu: note: \"%s\" is given, but %s does not use it\n",
				sym->name, r->entry);
		else
			fprintf(stderr, "rdu: input \"%s\" is not given: it is zeros\n", sym->name);
	}
}

static void make_outputs(struct request *r)
{
	unsigned int i;

	for (i = 0; i < r->num_out; i++) {
		struct binding *out = &r->out[i];
		const struct rdu_file_symbol *sym = out->sym;

		out->t.dtype = sym->dtype;
		out->t.ndim = sym->ndim;
		memcpy(out->t.dims, out->shape.dims, sizeof(out->t.dims));
		out->t.size = rdu_symbol_size(sym);
		out->t.data = xcalloc(1, out->t.size);
	}
}

/* Leaves the rows that count. */
static void cut_output(struct binding *out)
{
	void *part;

	if (!memcmp(out->shape.dims, out->sym->dims, sizeof(out->shape.dims)))
		return;
	part = xcalloc(1, out->t.size);
	rdu_symbol_cut(out->sym, &out->shape, out->t.data, part);
	free(out->t.data);
	out->t.data = part;
	out->t.size = rdu_dtype_size(out->sym->dtype);
	for (unsigned int d = 0; d < out->shape.ndim; d++)
		out->t.size *= out->shape.dims[d];
}

/* Of an output that data say the size of, what the last run has made counts. */
static int take_sizes(struct session *s, struct binding *out)
{
	struct rdu_shape made;
	int ret = 0;

	if (rdu_file_symbol_sizes(s->file, rdu_file_find_symbol(s->file, out->sym->name)) < 0)
		return 0;
	ret = rdu_program_output_shape(s->prog, out->sym->name, &made);
	for (unsigned int d = 0; d < out->shape.ndim && !ret; d++)
		if (out->sym->block >> d & 1)
			out->t.dims[d] = out->shape.dims[d] = made.dims[d];
	return ret;
}

static int write_outputs(struct session *s, struct request *r)
{
	char error[512];
	unsigned int i;

	for (i = 0; i < r->num_out; i++) {
		struct binding *out = &r->out[i];

		if (rdu_program_read(s->prog, out->sym->name, out->t.data, out->t.size) ||
		    take_sizes(s, out))
			return fail("%s", rdu_error_text(s->prog));
		cut_output(out);
		if (tensor_write(out->path, out->shape.name, &out->t, error, sizeof(error)))
			return fail("%s", error);
	}
	return 0;
}

static int write_trace(struct session *s, struct request *r, struct rdu_job *job, int entry)
{
	struct trace t = { .file = s->file,
			   .entry = rdu_file_entry(s->file, entry),
			   .hz = chip_hz(s),
			   .tiles = rdu_file_num_tiles(s->file) };
	int n = rdu_job_trace(job, &t.events, &t.dropped);

	if (n < 0)
		return fail("%s", rdu_error_text(job));
	t.count = n;
	n = write_trace_json(r->trace, &t);
	return n ? fail("%s: %s", r->trace, strerror(-n)) : 0;
}

/* Standard output, unless a tensor or a trace goes there. */
static FILE *summary_file(const struct request *r)
{
	bool taken = r->trace && lr_outfile_is_stdout(r->trace);
	unsigned int i;

	for (i = 0; i < r->num_out; i++)
		taken |= lr_outfile_is_stdout(r->out[i].path);
	return taken ? stderr : stdout;
}

static int run(struct session *s, struct request *r)
{
	struct rdu_stats sum = { 0 }, st;
	int entry = rdu_file_find_entry(s->file, r->entry), ret;
	double start;
	unsigned int i;
	struct json j;
	FILE *f;

	if (entry < 0)
		return fail("%s", rdu_error_text(s->file));
	r->entry = rdu_file_entry(s->file, entry);
	ret = find_symbols(s, r);
	if (!ret)
		ret = read_inputs(r);
	if (ret)
		return ret;
	entry = choose_entry(s, r, entry);
	ret = entry < 0 ? EXIT_FAIL : bind_inputs(s, r);
	if (ret)
		return ret;
	make_outputs(r);
	warn_unbound(s, r, entry);
	start = now_seconds();
	for (i = 0; i < r->repeat; i++) {
		struct rdu_job *job;

		if (r->trace && i == r->repeat - 1)
			rdu_program_set_trace(s->prog, r->trace_events);
		ret = rdu_program_submit(s->prog, r->entry, &job);
		if (!ret)
			ret = rdu_job_wait(job, -1, &st);
		if (ret) {
			fail("%s", rdu_error_text(job));
			rdu_job_free(job);
			return EXIT_FAIL;
		}
		add_stats(&sum, &st);
		if (r->trace && i == r->repeat - 1)
			ret = write_trace(s, r, job, entry);
		rdu_job_free(job);
		if (ret)
			return ret;
	}
	start = now_seconds() - start;
	ret = write_outputs(s, r);
	if (ret)
		return ret;
	f = summary_file(r);
	if (!r->json) {
		fprintf(f, "%s: %s, %u run%s, the last one:\n", r->path, r->entry, r->repeat,
			r->repeat == 1 ? "" : "s");
		print_stats(f, &st, chip_hz(s));
		return EXIT_OK;
	}
	json_open(&j, f);
	json_string(&j, "file", r->path);
	json_string(&j, "entry", r->entry);
	json_string(&j, "chip", rdu_file_chip(s->file)->name);
	json_bool(&j, "assumed_numbers", rdu_file_chip(s->file)->assumed != 0);
	json_integer(&j, "repeat", r->repeat);
	json_stats(&j, "last", &st, chip_hz(s));
	json_stats(&j, "all", &sum, chip_hz(s));
	json_number(&j, "host_seconds", start);
	json_close(&j);
	return EXIT_OK;
}

int cmd_run(int argc, char **argv)
{
	static const struct option options[] = { DEVICE_OPTION,
						 WAIT_OPTION,
						 JSON_OPTION,
						 HELP_OPTION,
						 { "input", required_argument, NULL, 'i' },
						 { "output", required_argument, NULL, 'o' },
						 { "repeat", required_argument, NULL, 'n' },
						 { "trace", required_argument, NULL, 't' },
						 { "trace-events", required_argument, NULL, 'e' },
						 { 0 } };
	struct request *r = xcalloc(1, sizeof(*r));
	struct session s = { 0 };
	double number;
	unsigned int i;
	int c, ret = EXIT_USAGE;

	r->repeat = 1;
	r->trace_events = 200000;
	while ((c = getopt_long(argc, argv, "d:ji:o:n:t:h", options, NULL)) >= 0) {
		switch (c) {
		case 'd':
			r->device = optarg;
			break;
		case 'j':
			r->json = true;
			break;
		case 'i':
			if (!add_binding(r->in, &r->num_in, optarg))
				goto out;
			break;
		case 'o':
			if (!add_binding(r->out, &r->num_out, optarg))
				goto out;
			break;
		case 'n':
			if (!parse_count("--repeat", optarg, 1, 1e9, &number))
				goto out;
			r->repeat = number;
			break;
		case 't':
			r->trace = optarg;
			break;
		case 'e':
			if (!parse_count("--trace-events", optarg, 1, 1 << 24, &number))
				goto out;
			r->trace_events = number;
			break;
		case 'W':
			r->wait = true;
			break;
		case 'h':
			ret = help(
				"run", DEVICE_HELP WAIT_HELP
				"  -i, --input NAME=FILE   .npy, or ONNX TensorProto (.pb)\n"
				"  -o, --output NAME=FILE  .pb: TensorProto, else .npy; any "
				"symbol, also\n"
				"                          weights\n"
				"  -n, --repeat N          run it N times\n"
				"  -t, --trace FILE        timeline of the last run, for Perfetto\n"
				"      --trace-events N    events at most (200000)\n"
				"  -j, --json              counters and modelled time\n");
			goto out;
		default:
			goto out;
		}
	}
	if (optind == argc || optind + 2 < argc) {
		ret = usage("run", "want FILE.rdu and at most one ENTRY");
		goto out;
	}
	r->path = argv[optind];
	r->entry = argv[optind + 1];
	ret = session_open(&s, r->device, r->path, r->wait);
	if (!ret)
		ret = run(&s, r);
	session_close(&s);
out:
	for (i = 0; i < r->num_in; i++)
		free(r->in[i].t.data);
	for (i = 0; i < r->num_out; i++)
		free(r->out[i].t.data);
	free(r);
	return ret;
}
