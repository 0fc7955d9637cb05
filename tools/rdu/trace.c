// SPDX-License-Identifier: MIT
/* rdu trace: one run, and where its time went. */
#include <stdlib.h>
#include <string.h>
#include "rdu_tool.h"

struct total {
	unsigned int section;
	uint64_t cycles;
};

static int most_first(const void *a, const void *b)
{
	const struct total *x = a, *y = b;

	return x->cycles == y->cycles ? 0 : x->cycles < y->cycles ? 1 : -1;
}

/* The sections that take longest to execute: a load may lie under the execution before. */
static void print_top(FILE *f, const struct trace *t, uint64_t all)
{
	const struct rdu_prog_header *h = rdu_file_header(t->file);
	const struct rdu_prog_section *sec =
		(const void *)((const char *)rdu_file_image(t->file, NULL) + h->sections_off);
	struct total *totals = xcalloc(h->num_sections + 1, sizeof(*totals));
	unsigned int i;
	char text[32];

	for (i = 0; i < h->num_sections; i++)
		totals[i].section = i;
	for (i = 0; i < t->count; i++) {
		const struct rdu_trace_event *e = &t->events[i];

		if (e->kind == RDU_TRACE_EXEC && e->section < h->num_sections)
			totals[e->section].cycles += e->end - e->start;
	}
	qsort(totals, h->num_sections, sizeof(*totals), most_first);
	fprintf(f, "sections that take longest (execution alone)\n");
	for (i = 0; i < h->num_sections && i < 10 && totals[i].cycles; i++)
		fprintf(f, "  %4u  %5.1f %%  %10s  %s\n", totals[i].section,
			100.0 * totals[i].cycles / (all ? all : 1),
			human_time(totals[i].cycles / t->hz, text, sizeof(text)),
			sec[totals[i].section].name);
	free(totals);
}

/* Inputs that nobody gave are small numbers that repeat: an index of zero is
 * valid everywhere, so integers stay zero. */
static int fill_inputs(struct session *s, int entry)
{
	unsigned int i;

	for (i = 0; i < rdu_file_num_symbols(s->file); i++) {
		const struct rdu_file_symbol *sym = rdu_file_get_symbol(s->file, i);
		size_t size = rdu_symbol_size(sym), k;
		float *data;
		int ret;

		if (!(sym->flags & RDU_SYM_INPUT) || !(sym->entries >> entry & 1) ||
		    sym->dtype != RDU_DT_F32)
			continue;
		data = xmalloc(size);
		for (k = 0; k < size / 4; k++)
			data[k] = (float)(k * 2654435761u >> 22) / 1024;
		ret = rdu_program_write(s->prog, sym->name, data, size);
		free(data);
		if (ret)
			return fail("%s", rdu_error_text(s->prog));
	}
	return 0;
}

int cmd_trace(int argc, char **argv)
{
	static const struct option options[] = { DEVICE_OPTION,
						 WAIT_OPTION,
						 HELP_OPTION,
						 { "output", required_argument, NULL, 'o' },
						 { "svg", required_argument, NULL, 's' },
						 { "events", required_argument, NULL, 'e' },
						 { 0 } };
	const char *device = NULL, *out = NULL, *svg = NULL;
	struct session s = { 0 };
	struct rdu_job *job = NULL;
	struct rdu_stats st;
	struct trace t = { 0 };
	double events = 200000;
	bool wait = false;
	FILE *summary;
	int c, n, ret, entry;

	while ((c = getopt_long(argc, argv, "d:o:s:e:h", options, NULL)) >= 0) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 'o':
			out = optarg;
			break;
		case 's':
			svg = optarg;
			break;
		case 'e':
			if (!parse_count("--events", optarg, 1, 1 << 24, &events))
				return EXIT_USAGE;
			break;
		case 'W':
			wait = true;
			break;
		case 'h':
			return help("trace", DEVICE_HELP WAIT_HELP
				    "  -o, --output FILE    timeline for ui.perfetto.dev (JSON)\n"
				    "  -s, --svg FILE       timeline as a picture\n"
				    "  -e, --events N       events at most (200000)\n\n"
				    "Inputs are made up; `rdu run --trace` takes yours.\n");
		default:
			return EXIT_USAGE;
		}
	}
	if (optind == argc || optind + 2 < argc)
		return usage("trace", "want FILE.rdu and at most one ENTRY");
	ret = check_files((struct lr_outfile_use[]){ { NULL, argv[optind] },
						     { "--output", out },
						     { "--svg", svg } },
			  3);
	if (!ret)
		ret = session_open(&s, device, argv[optind], wait);
	if (ret)
		goto out;
	entry = rdu_file_find_entry(s.file, argv[optind + 1]);
	if (entry < 0) {
		ret = fail("%s", rdu_error_text(s.file));
		goto out;
	}
	ret = fill_inputs(&s, entry);
	if (ret)
		goto out;
	rdu_program_set_trace(s.prog, events);
	if (rdu_program_submit(s.prog, rdu_file_entry(s.file, entry), &job) ||
	    rdu_job_wait(job, -1, &st) || (n = rdu_job_trace(job, &t.events, &t.dropped)) < 0) {
		ret = fail("%s", rdu_error_text(job));
		goto out;
	}
	t.count = n;
	t.file = s.file;
	t.entry = rdu_file_entry(s.file, entry);
	t.hz = chip_hz(&s);
	t.tiles = rdu_file_num_tiles(s.file);
	summary = (out && lr_outfile_is_stdout(out)) || (svg && lr_outfile_is_stdout(svg)) ? stderr
											   : stdout;
	print_stats(summary, &st, t.hz);
	print_top(summary, &t, st.end_cycle - st.start_cycle);
	fprintf(summary, "events %u\ndropped %u\n", t.count, t.dropped);
	n = out ? write_trace_json(out, &t) : 0;
	if (n)
		ret = fail("%s: %s", out, strerror(-n));
	n = svg ? write_timeline_svg(svg, &t) : 0;
	if (n)
		ret = fail("%s: %s", svg, strerror(-n));
out:
	rdu_job_free(job);
	session_close(&s);
	return ret;
}
