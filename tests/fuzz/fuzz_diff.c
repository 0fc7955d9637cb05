// SPDX-License-Identifier: MIT
/*
 * fuzz_diff [OPTION...]: random models, compiled in every way, against judges
 *
 *   -seconds=N      how long; without it and -cases: a short run of a fixed seed
 *   -cases=N        how many
 *   -seed=N         of the first case, the next has N + 1 (default: the time)
 *   -findings=DIR   where failing cases go (build/fuzz/findings)
 *   -judges=0       no judges outside: no ONNX Runtime, no PyTorch
 *   -limits=0       no infinities, no NaN, no ends of integers among the data
 *   -chip=NAME      on this chip only: sn10, plasticine, two-ports, lanes8, lanes64
 *   -shrink=N       seconds to make a failing case smaller (60)
 *   -replay=DIR     one finding once more, as it was shrunk
 *   -verbose=1      a line for each case
 *
 * Prints TAP. A case that fails is made smaller and left in DIR/diff-SEED: model.onnx,
 * model.txt, the inputs, report.txt, and `choices`, which -replay reads.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "diff/diff.h"

#define CASE_SECONDS 120 /* one that takes longer hangs */
#define SHORT_CASES 50 /* of the run without options */
#define SHORT_SEED 20261128
#define MAX_REASONS 400

static struct {
	double seconds, shrink;
	uint64_t cases, seed;
	bool judges, verbose, no_limits;
	const char *findings, *replay;
} option = { .judges = true, .shrink = 60, .findings = "build/fuzz/findings" };

struct reason {
	char text[200];
	int count;
};

static struct table {
	int num;
	struct reason item[MAX_REASONS];
} refusals, declines, kinds;

static int count_pass, count_refused, count_bad, judged[JUDGES];
static char work[200];

/* Counts a text by what it says, whatever names and numbers are in it. */
static struct reason *count_reason(struct table *t, const char *text)
{
	char plain[200];
	size_t n = 0;
	int i;

	for (const char *c = text; *c && n < sizeof(plain) - 3; c++) {
		if (*c == '\'' && strchr(c + 1, '\'')) {
			c = strchr(c + 1, '\'');
			plain[n++] = '\'';
			plain[n++] = '\'';
		} else if (*c >= '0' && *c <= '9') {
			if (!n || plain[n - 1] != 'N')
				plain[n++] = 'N';
		} else {
			plain[n++] = *c == '\n' ? ' ' : *c;
		}
	}
	plain[n] = 0;
	for (i = 0; i < t->num && strcmp(t->item[i].text, plain); i++)
		;
	if (i == MAX_REASONS)
		i--;
	else if (i == t->num)
		memcpy(t->item[t->num++].text, plain, n + 1);
	t->item[i].count++;
	return &t->item[i];
}

static int by_count(const void *a, const void *b)
{
	return ((const struct reason *)b)->count - ((const struct reason *)a)->count;
}

static void print_table(struct table *t, const char *what)
{
	qsort(t->item, (size_t)t->num, sizeof(t->item[0]), by_count);
	for (int i = 0; i < t->num; i++)
		printf("# %s %d: %s\n", what, t->item[i].count, t->item[i].text);
}

/* ---- one case ------------------------------------------------------------------------ */

static void child(const struct case_id *id, const char *dir, struct verdict *v)
{
	static struct model m;
	struct config c;
	char path[600];

	snprintf(path, sizeof(path), "%s/stderr", dir);
	if (!freopen(path, "w", stderr))
		_exit(1);
	alarm(CASE_SECONDS);
	if (id->seeded)
		choices_seed(id->seed, v);
	else
		choices_replay(id->choice, id->num, v);
	make_config(&c);
	m.no_limits = option.no_limits;
	make_model(&m, &c);
	edit_model(&m, &id->edits);
	run_case(&m, &c, dir, v);
	fflush(stderr);
	_exit(0);
}

/* What a process that died said last. */
static void last_words(const char *dir, char *text, size_t size)
{
	char path[600];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/stderr", dir);
	f = fopen(path, "r");
	text[0] = 0;
	if (!f)
		return;
	n = fread(text, 1, size - 1, f);
	text[n] = 0;
	fclose(f);
}

static void keep_judges(bool died, const struct verdict *v)
{
	char why[200];

	for (int s = 0; s < SERVERS; s++)
		if (judge_there(s) && (died || !strcmp(v->declined[s], JUDGE_ENDED))) {
			judge_stop(s);
			if (!judge_start(s, why, sizeof(why)))
				printf("# a judge does not come back: %s\n", why);
		}
}

void run_in_child(const struct case_id *id, const char *only, const char *dir, struct verdict *v)
{
	char about[sizeof(v->only)];
	int status = 0;
	bool died;
	pid_t pid;

	snprintf(about, sizeof(about), "%s", only ? only : ""); /* it may be in v */
	memset(v, 0, sizeof(*v));
	memcpy(v->only, about, sizeof(about));
	fflush(stdout);
	pid = fork();
	if (!pid)
		child(id, dir, v);
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror("fuzz_diff");
		exit(2);
	}
	died = status != 0;
	if (died) {
		v->kind = VERDICT_BAD;
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
			snprintf(v->what, sizeof(v->what), "hang");
		else if (WIFSIGNALED(status))
			snprintf(v->what, sizeof(v->what), "crash %s", strsignal(WTERMSIG(status)));
		else
			snprintf(v->what, sizeof(v->what), "crash exit %d", WEXITSTATUS(status));
		last_words(dir, v->text, sizeof(v->text));
	}
	keep_judges(died, v);
}

/* ---- findings ---------------------------------------------------------------------------- */

static bool write_choices(const struct case_id *id, const char *dir)
{
	char path[600];
	FILE *f;

	snprintf(path, sizeof(path), "%s/choices", dir);
	f = fopen(path, "w");
	if (!f)
		return false;
	fprintf(f, "%" PRIx64 " %x\n", id->edits.cut, id->edits.dropped);
	for (int i = 0; i < id->num; i++)
		fprintf(f, "%u\n", id->choice[i]);
	return !fclose(f);
}

static bool read_choices(struct case_id *id, const char *dir)
{
	char path[600];
	FILE *f;

	memset(id, 0, sizeof(*id));
	snprintf(path, sizeof(path), "%s/choices", dir);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%" SCNx64 " %x", &id->edits.cut, &id->edits.dropped) != 2) {
		fprintf(stderr, "fuzz_diff: %s: %s\n", path, strerror(errno));
		return false;
	}
	while (id->num < MAX_CHOICES && fscanf(f, "%u", &id->choice[id->num]) == 1)
		id->num++;
	fclose(f);
	return true;
}

static void report(const char *dir, uint64_t seed, const struct verdict *v)
{
	char path[600];
	FILE *f;

	snprintf(path, sizeof(path), "%s/report.txt", dir);
	f = fopen(path, "w");
	if (!f)
		return;
	fprintf(f,
		"what: %s\n%s\n\nmade of: %s\nagain, as it was: fuzz_diff -seed=%" PRIu64
		" -cases=1\nagain, as it is here: fuzz_diff -replay=%s\n",
		v->what, v->text, v->ops, seed, dir);
	fclose(f);
}

static void empty_work(void)
{
	char command[300];

	snprintf(command, sizeof(command), "rm -rf '%s'/*", work);
	if (system(command))
		perror("fuzz_diff");
}

/* Makes it smaller, and keeps it unless one of the same kind is there already. */
static void found(uint64_t seed, struct verdict *v)
{
	static struct case_id id;
	char dir[400], kind[500], command[1600];
	struct reason *r;
	int tries;

	printf("# seed %" PRIu64 ": %s: %.300s (%s)\n", seed, v->what, v->text, v->ops);
	fflush(stdout);
	id = (struct case_id){ .seeded = true, .seed = seed };
	tries = shrink(&id, v, work, option.shrink);
	if (id.seeded || v->kind != VERDICT_BAD) {
		printf("# it does not fail every time\n");
		run_in_child(&id, NULL, work, v);
	}
	snprintf(kind, sizeof(kind), "%s:%s", v->what,
		 strchr(v->ops, ',') ? strchr(v->ops, ',') : "");
	r = count_reason(&kinds, kind);
	printf("#   shrunk in %d tries: %s: %.300s (%s)\n", tries, v->what, v->text, v->ops);
	if (r->count > 1)
		return;
	empty_work();
	run_in_child(&id, v->what, work, v);
	snprintf(dir, sizeof(dir), "%s/diff-%" PRIu64, option.findings, seed);
	snprintf(command, sizeof(command), "rm -rf '%s' && mkdir -p '%s' && cp -r '%s'/. '%s'", dir,
		 dir, work, dir);
	if (system(command) || !write_choices(&id, dir))
		printf("#   it cannot be written to %s\n", dir);
	report(dir, seed, v);
	printf("#   %s\n", dir);
	fflush(stdout);
}

static void one(const struct case_id *id, struct verdict *v)
{
	run_in_child(id, NULL, work, v);
	for (int j = 0; j < JUDGES; j++)
		judged[j] += v->judged[j];
	for (int s = 0; s < SERVERS; s++)
		if (judge_there(s) && v->declined[s][0]) {
			char text[200];

			snprintf(text, sizeof(text), "%s: %s", s ? "PyTorch" : "ONNX Runtime",
				 v->declined[s]);
			count_reason(&declines, text);
		}
	if (option.verbose)
		printf("# seed %" PRIu64 ": %d nodes, %s %s %s\n", id->seed, v->num_nodes,
		       v->kind == VERDICT_PASS	? "passed"
		       : v->kind == VERDICT_BAD ? "failed"
						: "refused",
		       v->what, v->text);
	if (v->kind == VERDICT_PASS) {
		count_pass++;
	} else if (v->kind == VERDICT_REFUSED) {
		count_refused++;
		count_reason(&refusals, v->text);
	} else {
		count_bad++;
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void run_all(struct verdict *v)
{
	double until = option.seconds ? now() + option.seconds : 0;

	for (uint64_t i = 0; option.cases ? i < option.cases : now() < until; i++) {
		const struct case_id id = { .seeded = true, .seed = option.seed + i };

		one(&id, v);
		if (v->kind == VERDICT_BAD)
			found(id.seed, v);
		if (i % 64 == 63 || v->kind == VERDICT_BAD)
			empty_work();
	}
}

static bool parse(int argc, char **argv)
{
	option.seed = (uint64_t)time(NULL) << 20;
	for (int i = 1; i < argc; i++) {
		char *value = strchr(argv[i], '=');
		size_t n = value ? (size_t)(value - argv[i]) : 0;

#define IS(name) (n == strlen(name) && !strncmp(argv[i], name, n))
		if (IS("-seconds"))
			option.seconds = strtod(value + 1, NULL);
		else if (IS("-cases"))
			option.cases = strtoull(value + 1, NULL, 0);
		else if (IS("-seed"))
			option.seed = strtoull(value + 1, NULL, 0);
		else if (IS("-findings"))
			option.findings = value + 1;
		else if (IS("-judges"))
			option.judges = atoi(value + 1) != 0;
		else if (IS("-chip") && !only_chip(value + 1))
			return false;
		else if (IS("-chip"))
			continue;
		else if (IS("-shrink"))
			option.shrink = strtod(value + 1, NULL);
		else if (IS("-replay"))
			option.replay = value + 1;
		else if (IS("-limits"))
			option.no_limits = !atoi(value + 1);
		else if (IS("-verbose"))
			option.verbose = atoi(value + 1) != 0;
		else
			return false;
#undef IS
	}
	if (!option.seconds && !option.cases && !option.replay) {
		option.cases = SHORT_CASES;
		option.seed = SHORT_SEED;
		option.judges = false;
	}
	return true;
}

int main(int argc, char **argv)
{
	static const char *const who[] = { "ONNX Runtime", "PyTorch" };
	static struct case_id id;
	struct verdict *v =
		mmap(NULL, sizeof(*v), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool stops, plants;
	char why[SERVERS][200] = { "not asked for", "not asked for" };
	const char *tmp = getenv("TMPDIR");

	if (!parse(argc, argv) || v == MAP_FAILED) {
		fprintf(stderr, "fuzz_diff: what is said about it stands on top of its source\n");
		return 2;
	}
	snprintf(work, sizeof(work), "%s/fuzz-diff-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(work)) {
		perror(work);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	for (int s = 0; s < SERVERS && option.judges; s++)
		judge_start(s, why[s], sizeof(why[s]));
	printf("# seed %" PRIu64 "\n", option.seed);
	if (option.replay) {
		if (!read_choices(&id, option.replay))
			return 2;
		one(&id, v);
		printf("# %s: %s (%s)\n", v->what, v->text, v->ops);
	} else {
		run_all(v);
	}
	printf("# %d cases: %d passed, %d refused, %d failed\n",
	       count_pass + count_refused + count_bad, count_pass, count_refused, count_bad);
	printf("# judged by the nests %d, by all levels %d, by threads %d, by ONNX Runtime %d, by "
	       "PyTorch %d\n",
	       judged[JUDGE_NEST], judged[JUDGE_LEVELS], judged[JUDGE_THREADS], judged[JUDGE_ORT],
	       judged[JUDGE_TORCH]);
	print_table(&refusals, "refused");
	print_table(&declines, "declined");
	print_table(&kinds, "kind");
	printf("1..5\n%sok 1 - nothing differs in %d cases\n", count_bad ? "not " : "",
	       count_pass + count_refused + count_bad);
	for (int s = 0; s < SERVERS; s++) {
		int n = judged[s ? JUDGE_TORCH : JUDGE_ORT];

		if (judge_there(s))
			printf("%sok %d - %s judged %d cases\n", n || option.replay ? "" : "not ",
			       s + 2, who[s], n);
		else
			printf("ok %d - %s # SKIP %s: %s\n", s + 2, who[s], who[s], why[s]);
		judge_stop(s);
	}
	stops = check_stops(work, v);
	printf("%sok 4 - a stop on one side only is found\n", stops ? "" : "not ");
	plants = check_plants(work, v);
	printf("%sok 5 - a planted defect is found, and rounding is none\n", plants ? "" : "not ");
	empty_work();
	rmdir(work);
	return count_bad || !stops || !plants || !(count_pass || option.replay);
}
