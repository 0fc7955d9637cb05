// SPDX-License-Identifier: MIT
/*
 * rdu-conformance [OPTION...] SUITE...: ONNX's backend tests on a card
 *
 *   --rduc FILE       the compiler                    (build/host/bin/rduc)
 *   --device D        as rdu_open() takes it          (model:sn10,threads=1)
 *   --chip C          what to compile for             (sn10)
 *   -O LEVEL          optimisation level              (1)
 *   --precision P     fp32 or bf16                    (fp32)
 *   --only GLOB       cases whose name matches; may be repeated
 *   --cases FILE      only the cases listed, one a line
 *   --except FILE     cases not to run, one a line
 *   --must FILE       cases, one a line, that have to pass: a skip fails
 *   --expect FILE     cases that are not ONNX's: all that SUITE holds, one a line, a
 *                     name alone where the result has to be right, NAME: REASON
 *                     where the compiler has to refuse with a reason that begins so;
 *                     a case that is not listed is skipped
 *   --table FILE      write the table of operators there (Markdown)
 *   --passed FILE     write the names of the cases that passed
 *   --jobs N          cases at a time                 (2)
 *   --seconds N       time limit of a case            (30)
 *   --work DIR        folder for what is compiled     (build/conformance)
 *
 * SUITE is a folder of cases: model.onnx, test_data_set_0/{input,output}_N.pb.
 * Each case runs in a process of its own, so that a crash is one failed case.
 */
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "case.h"
#include "mistaken.h"
#include "table.h"

/* What is expected of a case that is not in the list of expectations. */
static const char UNLISTED[] = "unlisted";

struct list {
	char **item;
	int num;
};

static void list_add(struct list *l, const char *s)
{
	l->item = realloc(l->item, (l->num + 1) * sizeof(char *));
	l->item[l->num++] = strdup(s);
}

/* Lines of a file: their first words, or whole; comments begin with #. */
static int list_read(struct list *l, const char *path, bool whole)
{
	FILE *f = fopen(path, "r");
	char line[512];

	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, whole ? "\n" : " \t\r\n#")] = 0;
		if (*line && *line != '#')
			list_add(l, line);
	}
	fclose(f);
	return 0;
}

/* What the list of expectations says of a case; NULL: nothing. */
static const char *expected(const struct list *l, const char *name)
{
	size_t n = strlen(name);

	for (int i = 0; i < l->num; i++) {
		const char *s = l->item[i];

		if (!strncmp(s, name, n) && (!s[n] || !strncmp(s + n, ": ", 2)))
			return s[n] ? s + n + 2 : "";
	}
	return NULL;
}

static bool list_has(const struct list *l, const char *s)
{
	for (int i = 0; i < l->num; i++)
		if (!fnmatch(l->item[i], s, 0))
			return true;
	return false;
}

static bool must_pass(const struct list *must, const struct list *expect, const char *name)
{
	return list_has(must, name) || expected(expect, name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Adds the cases of a suite, sorted. */
static int find_cases(struct list *cases, const char *suite, const struct list *only,
		      const struct list *except)
{
	DIR *d = opendir(suite);
	struct dirent *e;
	char path[1200];
	int from = cases->num;

	if (!d) {
		fprintf(stderr, "%s: %s\n", suite, strerror(errno));
		return -1;
	}
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.' || (only->num && !list_has(only, e->d_name)) ||
		    list_has(except, e->d_name))
			continue;
		snprintf(path, sizeof(path), "%s/%s/model.onnx", suite, e->d_name);
		if (access(path, R_OK))
			continue;
		*strrchr(path, '/') = 0;
		list_add(cases, path);
	}
	closedir(d);
	qsort(cases->item + from, cases->num - from, sizeof(char *), by_name);
	return 0;
}

static const char *name_of(const char *path)
{
	return strrchr(path, '/') + 1;
}

static pid_t start(const char *dir, const struct options *opt, struct result *res, int seconds)
{
	pid_t pid = fork();

	if (!pid) {
		setpgid(0, 0);
		alarm(seconds);
		if (opt->expect == UNLISTED) {
			res->verdict = CASE_SKIP;
			snprintf(res->why, sizeof(res->why), "nothing is expected of it");
		} else {
			case_run(dir, opt, res);
		}
		_exit(0);
	}
	return pid;
}

/* The case's process ended: a bad end is a verdict too. */
static void ended(struct result *res, pid_t pid, int status)
{
	kill(-pid, SIGKILL); /* a compiler that its case left behind */
	if (WIFSIGNALED(status)) {
		res->verdict = CASE_FAIL;
		snprintf(res->why, sizeof(res->why),
			 WTERMSIG(status) == SIGALRM ? "took too long" : "died: %s",
			 strsignal(WTERMSIG(status)));
	} else if (WEXITSTATUS(status)) {
		res->verdict = CASE_FAIL;
		snprintf(res->why, sizeof(res->why), "exit status %d", WEXITSTATUS(status));
	}
}

static void make_folders(const char *path)
{
	char part[1024];

	for (size_t i = 1; i <= strlen(path) && i < sizeof(part); i++)
		if (path[i] == '/' || !path[i]) {
			snprintf(part, i + 1, "%s", path);
			mkdir(part, 0777);
		}
}

/* A second name for the compiler: a build that goes on beside the tests replaces
 * the first one. */
static const char *keep(const char *program, const char *work)
{
	static char name[1100];

	snprintf(name, sizeof(name), "%s/rduc.%d", work, (int)getpid());
	unlink(name);
	return link(program, name) ? program : name;
}

static int usage(void)
{
	fprintf(stderr, "usage: rdu-conformance [OPTION...] SUITE...  (see conformance.c)\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option opts[] = {
		{ "rduc", 1, 0, 'r' },	    { "device", 1, 0, 'd' },  { "chip", 1, 0, 'c' },
		{ "precision", 1, 0, 'p' }, { "only", 1, 0, 'o' },    { "except", 1, 0, 'e' },
		{ "must", 1, 0, 'm' },	    { "table", 1, 0, 't' },   { "passed", 1, 0, 'P' },
		{ "jobs", 1, 0, 'j' },	    { "seconds", 1, 0, 's' }, { "work", 1, 0, 'w' },
		{ "cases", 1, 0, 'C' },	    { "expect", 1, 0, 'x' },  { 0, 0, 0, 0 },
	};
	struct options opt = { "build/host/bin/rduc",
			       "model:sn10,threads=1",
			       "sn10",
			       "-O1",
			       "fp32",
			       "build/conformance",
			       1e-3,
			       1e-5,
			       false,
			       NULL };
	struct list cases = { 0 }, only = { 0 }, except = { 0 }, must = { 0 };
	struct list expect = { 0 };
	const char *table = NULL, *passed = NULL, *rduc;
	int c, jobs = 2, seconds = 30, shown = 0, next = 0, running = 0, count[3] = { 0 };
	struct result *res;
	pid_t *pid;
	char *done, level[8];
	FILE *pass_file = NULL;
	struct timespec t0, t1;

	while ((c = getopt_long(argc, argv, "O:", opts, NULL)) != -1)
		switch (c) {
		case 'r':
			opt.rduc = optarg;
			break;
		case 'd':
			opt.device = optarg;
			break;
		case 'c':
			opt.chip = optarg;
			break;
		case 'p':
			opt.precision = optarg;
			break;
		case 'o':
			list_add(&only, optarg);
			break;
		case 'C':
			if (list_read(&only, optarg, false))
				return 2;
			break;
		case 'e':
			if (list_read(&except, optarg, false))
				return 2;
			break;
		case 'm':
			if (list_read(&must, optarg, false))
				return 2;
			break;
		case 'x':
			if (list_read(&expect, optarg, true))
				return 2;
			break;
		case 't':
			table = optarg;
			break;
		case 'P':
			passed = optarg;
			break;
		case 'j':
			jobs = atoi(optarg);
			break;
		case 's':
			seconds = atoi(optarg);
			break;
		case 'w':
			opt.work = optarg;
			break;
		case 'O':
			snprintf(level, sizeof(level), "-O%s", optarg);
			opt.opt = level;
			break;
		default:
			return usage();
		}
	if (optind == argc || jobs < 1)
		return usage();
	if (!strcmp(opt.precision, "bf16")) {
		opt.rtol = 2e-2;
		opt.atol = 2e-2;
		opt.atol_is_relative = true;
	}
	make_folders(opt.work);
	rduc = opt.rduc;
	opt.rduc = keep(rduc, opt.work);
	for (; optind < argc; optind++)
		if (find_cases(&cases, argv[optind], &only, &except))
			return 2;
	if (!cases.num) {
		printf("1..0\nnot ok - no case found\n");
		return 1;
	}
	/* Shared with the cases' processes. */
	res = mmap(NULL, cases.num * sizeof(*res), PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid = calloc(cases.num, sizeof(*pid));
	done = calloc(cases.num, 1);
	if (res == MAP_FAILED || !pid || !done)
		return 1;
	if (passed && !(pass_file = fopen(passed, "w"))) {
		fprintf(stderr, "%s: %s\n", passed, strerror(errno));
		return 2;
	}
	clock_gettime(CLOCK_MONOTONIC, &t0);
	printf("1..%d\n", cases.num);
	fflush(stdout);
	while (shown < cases.num) {
		int status, i;
		pid_t p;

		while (running < jobs && next < cases.num) {
			fflush(NULL);
			opt.expect =
				expect.num ? expected(&expect, name_of(cases.item[next])) : NULL;
			if (expect.num && !opt.expect)
				opt.expect = UNLISTED;
			pid[next] = start(cases.item[next], &opt, &res[next], seconds);
			if (pid[next++] > 0)
				running++;
		}
		p = wait(&status);
		if (p < 0)
			return 1;
		for (i = 0; i < next && pid[i] != p; i++)
			;
		if (i == next)
			continue;
		ended(&res[i], p, status);
		running--;
		done[i] = 1;
		for (; shown < next && done[shown]; shown++) {
			struct result *r = &res[shown];
			const char *name = name_of(cases.item[shown]);

			if (r->verdict == CASE_SKIP && must_pass(&must, &expect, name))
				r->verdict = CASE_FAIL;
			if (r->verdict == CASE_FAIL && mistaken(name)) {
				r->verdict = CASE_SKIP;
				snprintf(r->why, sizeof(r->why), "%s", mistaken(name));
			}
			count[r->verdict]++;
			if (r->verdict == CASE_PASS) {
				printf("ok %d - %s\n", shown + 1, name);
				if (pass_file)
					fprintf(pass_file, "%s\n", name);
			} else if (r->verdict == CASE_SKIP) {
				printf("ok %d - %s # SKIP %s\n", shown + 1, name, r->why);
			} else {
				printf("not ok %d - %s\n# %s\n", shown + 1, name, r->why);
			}
			fflush(stdout);
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &t1);
	printf("# %d passed, %d failed, %d skipped in %.1f s\n", count[CASE_PASS], count[CASE_FAIL],
	       count[CASE_SKIP], t1.tv_sec - t0.tv_sec + (t1.tv_nsec - t0.tv_nsec) * 1e-9);
	if (opt.rduc != rduc)
		unlink(opt.rduc);
	if (pass_file)
		fclose(pass_file);
	if (table && table_write(table, cases.item, res, cases.num, &opt))
		return 1;
	return count[CASE_FAIL] || !count[CASE_PASS];
}
