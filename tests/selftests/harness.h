/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * TAP, in the manner of the kernel's kselftest_harness.h: TEST(name) { ... },
 * each in a process of its own with a time limit. ASSERT_* end the test,
 * EXPECT_* go on; SKIP(why) ends it as skipped.
 *
 *	prog [NAME...]    runs all, or the named ones
 */
#ifndef RDU_SELFTEST_HARNESS_H
#define RDU_SELFTEST_HARNESS_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_TIMEOUT 120 /* seconds; a busy host and an emulated guest are slow */

enum { TEST_PASS = 0, TEST_FAIL = 1, TEST_SKIP = 4 };

struct test {
	const char *name;
	void (*run)(void);
	unsigned int timeout;
	struct test *next;
};

static int test_status;
#ifndef SELFTEST_PART /* else a source of a program whose tests are in another */
static struct test *test_list, **test_tail = &test_list;
#endif

#define TEST_TIMED(id, seconds)                                                \
	static void test_run_##id(void);                                       \
	static struct test test_##id = { #id, test_run_##id, seconds, NULL };  \
	static void __attribute__((constructor)) test_add_##id(void)           \
	{                                                                      \
		*test_tail = &test_##id;                                       \
		test_tail = &test_##id.next;                                   \
	}                                                                      \
	static void test_run_##id(void)

#define TEST(id) TEST_TIMED(id, TEST_TIMEOUT)

#define SKIP(...)                                                              \
	do {                                                                   \
		printf("# SKIP ");                                             \
		printf(__VA_ARGS__);                                           \
		printf("\n");                                                  \
		fflush(stdout);                                                \
		_exit(TEST_SKIP);                                              \
	} while (0)

#define TEST_CHECK(fatal, a, op, b)                                            \
	do {                                                                   \
		long long a_ = (long long)(a), b_ = (long long)(b);            \
		if (!(a_ op b_)) {                                             \
			printf("# %s:%d: %s (%lld, %#llx) " #op " %s (%lld, %#llx)\n", \
			       __FILE__, __LINE__, #a, a_, a_, #b, b_, b_);    \
			fflush(stdout);                                        \
			test_status = TEST_FAIL;                               \
			if (fatal)                                             \
				_exit(TEST_FAIL);                              \
		}                                                              \
	} while (0)

#define ASSERT_EQ(a, b) TEST_CHECK(1, a, ==, b)
#define ASSERT_NE(a, b) TEST_CHECK(1, a, !=, b)
#define ASSERT_GE(a, b) TEST_CHECK(1, a, >=, b)
#define ASSERT_GT(a, b) TEST_CHECK(1, a, >, b)
#define ASSERT_TRUE(a) TEST_CHECK(1, !!(a), ==, 1)
#define EXPECT_EQ(a, b) TEST_CHECK(0, a, ==, b)
#define EXPECT_NE(a, b) TEST_CHECK(0, a, !=, b)
#define EXPECT_GE(a, b) TEST_CHECK(0, a, >=, b)
#define EXPECT_GT(a, b) TEST_CHECK(0, a, >, b)
#define EXPECT_TRUE(a) TEST_CHECK(0, !!(a), ==, 1)

/* No child, no test: -1 is not to be waited for, let alone killed. */
static inline pid_t test_fork(void)
{
	pid_t pid = fork();

	ASSERT_GE(pid, 0);
	return pid;
}
#define fork() test_fork()

/* TEST_PATIENCE: on a slow kernel all takes so many times as long. */
static inline unsigned int test_patience(void)
{
	const char *text = getenv("TEST_PATIENCE");
	int factor = text ? atoi(text) : 1;

	return factor > 1 ? factor : 1;
}

static inline bool test_wanted(const struct test *t, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], t->name))
			return true;
	return argc < 2;
}

#ifndef SELFTEST_PART
/* Runs it; refuse: to its processes memory is refused now and then. */
static int harness_run(const struct test *t, bool refuse)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = (fork)();
	if (!pid) {
		FILE *file = refuse ? fopen("/proc/self/make-it-fail", "w") : NULL;

		alarm(t->timeout * test_patience());
		if (file) {
			fputs("1", file);
			fclose(file);
		}
		t->run();
		fflush(stdout);
		_exit(test_status);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		printf("# %s\n", WTERMSIG(status) == SIGALRM ? "took too long" :
		       strsignal(WTERMSIG(status)));
	return WIFEXITED(status) ? WEXITSTATUS(status) : TEST_FAIL;
}

/*
 * TEST_REFUSALS, a command: memory is refused to the tests now and then (the caller has
 * prepared the kernel for it). One that does not pass is run again with all there is:
 * then it must, after the command has put right what was left behind.
 */
int main(int argc, char **argv)
{
	const char *refusals = getenv("TEST_REFUSALS");
	int count = 0, number = 0, bad = 0;
	struct test *t;

	for (t = test_list; t; t = t->next)
		count += test_wanted(t, argc, argv);
	printf("TAP version 13\n1..%d\n", count);
	for (t = test_list; t; t = t->next) {
		const char *said = "";
		int status;

		if (!test_wanted(t, argc, argv))
			continue;
		status = harness_run(t, refusals);
		if (status != TEST_PASS && refusals) {
			printf("# %s: again, with all memory there is\n", t->name);
			if (system(refusals))
				printf("# %s failed\n", refusals);
			status = harness_run(t, false);
			said = " # with all memory there is";
		}
		number++;
		if (status == TEST_PASS) {
			printf("ok %d %s%s\n", number, t->name, said);
		} else if (status == TEST_SKIP) {
			printf("ok %d %s # SKIP\n", number, t->name);
		} else {
			printf("not ok %d %s%s\n", number, t->name, said);
			bad++;
		}
	}
	return bad ? 1 : 0;
}
#endif

#endif
