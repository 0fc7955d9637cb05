// SPDX-License-Identifier: MIT
/*
 * rdu-mkmodel: writes ONNX models of known families, with weights drawn from a seed.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "graph.h"
#include "mem.h"
#include "mkmodel.h"

enum { EXIT_USAGE = 2 };

static const struct mk_family *const families[] = {
	mk_basic, mk_gpt, mk_llama, mk_rwkv, mk_uno, mk_gnn, mk_vision, mk_mixer, mk_dlrm, mk_lstm
};

#define FOR_EACH_FAMILY(f)                                                     \
	for (size_t i_ = 0; i_ < sizeof(families) / sizeof(families[0]); i_++) \
		for (const struct mk_family *f = families[i_]; f->name; f++)

static const char usage[] = "usage: rdu-mkmodel NAME -o FILE.onnx [options]\n"
			    "       rdu-mkmodel NAME --help\n"
			    "\n"
			    "The models there are:\n";

static const struct mk_option seed_option = { "seed", MK_SIZE, "what the weights are drawn from",
					      1,      0,       1 << 24,
					      NULL };

/* ---- options --------------------------------------------------------------------- */

static int find_option(const struct mk_family *f, const char *name)
{
	for (int i = 0; i < MK_MAX_OPTIONS && f->option[i].name; i++)
		if (!strcmp(f->option[i].name, name))
			return i;
	return -1;
}

static int own_option(const struct mk *m, const char *name)
{
	int i = find_option(m->family, name);

	if (i >= 0)
		return i;
	fprintf(stderr, "rdu-mkmodel: internal: %s has no --%s\n", m->family->name, name);
	abort();
}

int64_t mk_size(const struct mk *m, const char *option)
{
	int i = own_option(m, option);

	return m->option[i].given ? m->option[i].value : m->family->option[i].value;
}

bool mk_given(const struct mk *m, const char *option)
{
	return m->option[own_option(m, option)].given;
}

int mk_refuse(const struct mk *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "rdu-mkmodel: %s: ", m->family->name);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	return -1;
}

static int number(const struct mk *m, const struct mk_option *o, const char *text, char **end,
		  int64_t *out)
{
	*out = strtoll(text, end, 10);
	if (*end != text && *out >= o->lo && *out <= o->hi && (**end == ',' || !**end))
		return 0;
	return mk_refuse(m, "--%s takes %s from %" PRId64 " to %" PRId64 ", not '%s'", o->name,
			 o->kind == MK_LIST ? "whole numbers" : "a whole number", o->lo, o->hi,
			 text);
}

int mk_list(const struct mk *m, const char *option, int64_t out[MK_MAX_LIST])
{
	int i = own_option(m, option), num = 0;
	const struct mk_option *o = &m->family->option[i];
	const char *s = m->option[i].given ? m->option[i].list : o->list;

	for (;;) {
		char *end;

		if (num == MK_MAX_LIST)
			return mk_refuse(m, "--%s has more than %d numbers", option, MK_MAX_LIST);
		if (number(m, o, s, &end, &out[num++]))
			return -1;
		if (!*end)
			return num;
		s = end + 1;
	}
}

/* A number without anything behind it. */
static int size_option(const struct mk *m, const struct mk_option *o, const char *text,
		       int64_t *out)
{
	char *end;

	if (strchr(text, ','))
		return mk_refuse(m, "--%s takes one number, not '%s'", o->name, text);
	return number(m, o, text, &end, out);
}

/* One that was given; value: NULL for a flag. */
static int take_option(struct mk *m, const char *name, const char *value)
{
	int i = find_option(m->family, name);
	int64_t seed;

	if (!strcmp(name, "dtype")) {
		if (strcmp(value, "fp32") && strcmp(value, "bf16"))
			return mk_refuse(m, "--dtype is fp32 or bf16, not '%s'", value);
		m->dtype = strcmp(value, "bf16") ? RDU_DT_F32 : RDU_DT_BF16;
		return 0;
	}
	if (!strcmp(name, "seed") && !m->family->no_weights) {
		if (size_option(m, &seed_option, value, &seed))
			return -1;
		m->seed = (uint64_t)seed;
		return 0;
	}
	if (!strcmp(name, "no-values") && !m->family->no_weights) {
		m->no_values = true;
		return 0;
	}
	if (i < 0)
		return mk_refuse(m, "it has no --%s; rdu-mkmodel %s --help says what it has", name,
				 m->family->name);
	m->option[i].given = true;
	m->option[i].list = value;
	m->option[i].value = 1;
	return m->family->option[i].kind == MK_SIZE
		       ? size_option(m, &m->family->option[i], value, &m->option[i].value)
		       : 0;
}

/* ---- help -------------------------------------------------------------------------- */

static void print_options(const struct mk_family *f, FILE *to)
{
	for (int i = 0; i < MK_MAX_OPTIONS && f->option[i].name; i++) {
		const struct mk_option *o = &f->option[i];
		const char *value = o->kind == MK_SIZE	 ? " N"
				    : o->kind == MK_LIST ? " N,N,..."
							 : "";
		const char *left = mk_text("--%s%s", o->name, value);

		fprintf(to, "  %-20s %s", left, o->about);
		if (o->kind == MK_SIZE)
			fprintf(to, " (%" PRId64 ")", o->value);
		if (o->kind == MK_LIST)
			fprintf(to, " (%s)", o->list);
		fputc('\n', to);
	}
	if (!f->no_weights)
		fprintf(to,
			"  %-20s %s (%" PRId64 ")\n  %-20s weights are zeros, which take no room\n",
			"--seed N", seed_option.about, seed_option.value, "--no-values");
	fprintf(to, "  %-20s type of tensors (fp32)\n", "--dtype fp32|bf16");
}

static void print_family(const struct mk_family *f)
{
	printf("usage: rdu-mkmodel %s -o FILE.onnx [options]\n\n%s\n\n", f->name, f->about);
	printf("  %-20s what to write (-: standard output)\n", "-o FILE");
	print_options(f, stdout);
}

static void print_help(FILE *to, bool all)
{
	fputs(usage, to);
	FOR_EACH_FAMILY(f)
	fprintf(to, "  %-10s %s\n", f->name, f->about);
	if (!all)
		return;
	FOR_EACH_FAMILY(f)
	{
		fprintf(to, "\nOptions of %s:\n", f->name);
		print_options(f, to);
	}
}

/* ---- the command line ---------------------------------------------------------------- */

#define MAX_GIVEN 64

struct arguments {
	const char *out;
	bool help;
	int num;
	struct {
		const char *name, *value;
	} given[MAX_GIVEN];
};

/* Every option of any family, once. */
static struct option *all_options(void)
{
	int num = 0, room = 0;
	struct option *list = NULL;
	static const struct option first[] = { { "output", required_argument, NULL, 'o' },
					       { "help", no_argument, NULL, 'h' },
					       { "seed", required_argument, NULL, 0 },
					       { "dtype", required_argument, NULL, 0 },
					       { "no-values", no_argument, NULL, 0 } };

	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		list = xroom(list, num, &room, sizeof(*list));
		list[num++] = first[i];
	}
	FOR_EACH_FAMILY(f)
	for (int i = 0; i < MK_MAX_OPTIONS && f->option[i].name; i++) {
		const struct mk_option *o = &f->option[i];
		bool known = false;

		for (int k = 0; k < num; k++)
			known |= !strcmp(list[k].name, o->name);
		if (known)
			continue;
		list = xroom(list, num, &room, sizeof(*list));
		list[num++] = (struct option){ o->name,
					       o->kind == MK_FLAG ? no_argument : required_argument,
					       NULL, 0 };
	}
	list = xroom(list, num, &room, sizeof(*list));
	list[num] = (struct option){ 0 };
	return list;
}

static int parse(struct arguments *a, int argc, char **argv)
{
	struct option *list = all_options();
	int c, at, ret = 0;

	while (!ret && (c = getopt_long(argc, argv, "o:h", list, &at)) != -1) {
		if (c == 'o') {
			a->out = optarg;
		} else if (c == 'h') {
			a->help = true;
		} else if (c || a->num == MAX_GIVEN) {
			if (!c)
				fprintf(stderr, "rdu-mkmodel: more than %d options\n", MAX_GIVEN);
			ret = -1;
		} else {
			a->given[a->num].name = list[at].name;
			a->given[a->num++].value = optarg;
		}
	}
	free(list); /* its names are the families' */
	return ret;
}

static const struct mk_family *find_family(const char *name)
{
	FOR_EACH_FAMILY(f)
	if (!strcmp(f->name, name))
		return f;
	fprintf(stderr, "rdu-mkmodel: there is no model '%s'\n", name);
	print_help(stderr, false);
	return NULL;
}

int main(int argc, char **argv)
{
	static struct mk m = { .graph = ONNX__GRAPH_PROTO__INIT, .dtype = RDU_DT_F32, .seed = 1 };
	struct arguments a = { 0 };

	if (parse(&a, argc, argv))
		return EXIT_USAGE;
	if (optind == argc && a.help) {
		print_help(stdout, true);
		return 0;
	}
	if (optind + 1 != argc) {
		print_help(stderr, false);
		return EXIT_USAGE;
	}
	m.family = find_family(argv[optind]);
	if (!m.family)
		return EXIT_USAGE;
	m.opset = m.family->opset ? m.family->opset : 17;
	if (a.help) {
		print_family(m.family);
		return 0;
	}
	if (!a.out) {
		mk_refuse(&m, "-o says what to write");
		return EXIT_USAGE;
	}
	for (int i = 0; i < a.num; i++)
		if (take_option(&m, a.given[i].name, a.given[i].value))
			return EXIT_USAGE;
	if (mk_measure(&m) || m.family->make(&m))
		return EXIT_USAGE;
	return mk_write(&m, a.out) ? 1 : 0;
}
