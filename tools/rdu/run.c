// SPDX-License-Identifier: MIT
/* rdu run: an entry point with tensors from files. */
#include <stdlib.h>
#include <string.h>
#include "rdu_tool.h"

#define MAX_FILES 256

struct binding {
	char name[64];
	const char *path;
	struct tensor t;
};

struct request {
	const char *device, *path, *entry, *trace;
	struct binding in[MAX_FILES], out[MAX_FILES];
	unsigned int num_in, num_out;
	unsigned int repeat, trace_events;
	bool json;
};

static bool add_binding(struct binding *b, unsigned int *n, const char *text)
{
	const char *eq = strchr(text, '=');

	if (*n == MAX_FILES || !eq || eq == text || !eq[1] || eq - text > 63) {
		usage("run", "\"%s\": want NAME=FILE", text);
		return false;
	}
	memcpy(b[*n].name, text, eq - text);
	b[(*n)++].path = eq + 1;
	return true;
}

static const struct rdu_file_symbol *symbol(struct session *s, const char *name)
{
	int i = rdu_file_find_symbol(s->file, name);

	return i < 0 ? NULL : rdu_file_get_symbol(s->file, i);
}

static bool same_shape(const struct tensor *t, const struct rdu_file_symbol *sym)
{
	return t->dtype == sym->dtype && t->ndim == sym->ndim &&
	       !memcmp(t->dims, sym->dims, t->ndim * sizeof(t->dims[0]));
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

static int bind_inputs(struct session *s, struct request *r)
{
	char error[512], a[128], b[128];
	unsigned int i;

	for (i = 0; i < r->num_in; i++) {
		struct binding *in = &r->in[i];
		const struct rdu_file_symbol *sym = symbol(s, in->name);
		int ret;

		if (!sym)
			return fail("%s", rdu_error_text(s->file));
		if (tensor_read(in->path, &in->t, error, sizeof(error)))
			return fail("%s", error);
		if (!same_shape(&in->t, sym)) {
			int64_t dims[RDU_MAX_DIMS];

			memcpy(dims, sym->dims, sizeof(dims));
			return fail("%s is %s, but \"%s\" is %s", in->path,
				    shape_text(rdu_dtype_name(in->t.dtype), in->t.ndim, in->t.dims,
					       a, sizeof(a)),
				    in->name,
				    shape_text(rdu_dtype_name(sym->dtype), sym->ndim, dims, b,
					       sizeof(b)));
		}
		if (sym->flags & RDU_SYM_INPUT)
			ret = rdu_program_bind(s->prog, in->name, in->t.data, in->t.size);
		else
			ret = rdu_program_write(s->prog, in->name, in->t.data, in->t.size);
		if (ret)
			return fail("%s", rdu_error_text(s->prog));
	}
	return 0;
}

static void warn_unbound(struct session *s, struct request *r, int entry)
{
	unsigned int i, k;

	for (i = 0; i < rdu_file_num_symbols(s->file); i++) {
		const struct rdu_file_symbol *sym = rdu_file_get_symbol(s->file, i);

		if (!(sym->flags & RDU_SYM_INPUT) || !(sym->entries >> entry & 1))
			continue;
		for (k = 0; k < r->num_in && strcmp(r->in[k].name, sym->name); k++)
			;
		if (k == r->num_in)
			fprintf(stderr, "rdu: input \"%s\" is not given: it is zeros\n", sym->name);
	}
}

static int bind_outputs(struct session *s, struct request *r)
{
	unsigned int i;

	for (i = 0; i < r->num_out; i++) {
		struct binding *out = &r->out[i];
		const struct rdu_file_symbol *sym = symbol(s, out->name);

		if (!sym)
			return fail("%s", rdu_error_text(s->file));
		out->t.dtype = sym->dtype;
		out->t.ndim = sym->ndim;
		memcpy(out->t.dims, sym->dims, sizeof(out->t.dims));
		out->t.size = rdu_symbol_size(sym);
		out->t.data = xcalloc(1, out->t.size);
	}
	return 0;
}

static int write_outputs(struct session *s, struct request *r)
{
	char error[512];
	unsigned int i;

	for (i = 0; i < r->num_out; i++) {
		struct binding *out = &r->out[i];

		if (rdu_program_read(s->prog, out->name, out->t.data, out->t.size))
			return fail("%s", rdu_error_text(s->prog));
		if (tensor_write(out->path, out->name, &out->t, error, sizeof(error)))
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
	return write_trace_json(r->trace, &t) ? fail("%s: could not be written", r->trace) : 0;
}

static int run(struct session *s, struct request *r)
{
	struct rdu_stats sum = { 0 }, st;
	int entry = rdu_file_find_entry(s->file, r->entry), ret;
	double start;
	unsigned int i;
	struct json j;

	if (entry < 0)
		return fail("%s", rdu_error_text(s->file));
	r->entry = rdu_file_entry(s->file, entry);
	ret = bind_inputs(s, r);
	if (!ret)
		ret = bind_outputs(s, r);
	if (ret)
		return ret;
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
	if (!r->json) {
		printf("%s: %s, %u run%s, the last one:\n", r->path, r->entry, r->repeat,
		       r->repeat == 1 ? "" : "s");
		print_stats(stdout, &st, chip_hz(s));
		return EXIT_OK;
	}
	json_open(&j, stdout);
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
		case 'h':
			ret = help(
				"run", DEVICE_HELP
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
	ret = session_open(&s, r->device, r->path);
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
