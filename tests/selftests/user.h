/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Ordinary users: processes that give root up, each with the card opened by its
 * own right, and a line between two of them.
 */
#ifndef RDU_SELFTEST_USER_H
#define RDU_SELFTEST_USER_H

#include <grp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "card.h"

#define USER_VICTIM 65501
#define USER_ATTACKER 65502

/*
 * From now on the process is that user, for good. Returns the card, opened as
 * that user: by a node that anyone may open and that is gone again, since the
 * real one need not be open to all.
 */
static inline int become_user(uid_t uid)
{
	char node[64];
	struct stat st;
	int fd;

	if (getuid())
		SKIP("not root");
	fd = card_open();
	ASSERT_EQ(fstat(fd, &st), 0);
	close(fd);
	snprintf(node, sizeof(node), "/dev/rdu-selftest.%d", getpid());
	umask(0);
	ASSERT_EQ(mknod(node, S_IFCHR | 0666, st.st_rdev), 0);
	ASSERT_EQ(setgroups(0, NULL), 0);
	ASSERT_EQ(setresgid(uid, uid, uid), 0);
	ASSERT_EQ(setresuid(uid, uid, 0), 0);
	fd = open(node, O_RDWR | O_CLOEXEC);
	ASSERT_EQ(seteuid(0), 0);
	unlink(node);
	ASSERT_EQ(setresuid(uid, uid, uid), 0);
	ASSERT_GE(fd, 0);
	/* What protects it then is that others are other users. */
	prctl(PR_SET_DUMPABLE, 1);
	return fd;
}

/* The same card once more, as a file of its own. */
static inline int card_open_again(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_GE(fd, 0);
	return fd;
}

struct user {
	pid_t pid;
	int line; /* to that process */
};

/* act(card, line) in a process of that user; its failures are the test's. */
static inline struct user user_start(uid_t uid, void (*act)(int fd, int line))
{
	struct user u;
	int line[2];

	close(card_open()); /* or skip */
	ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, line), 0);
	fflush(stdout);
	u.pid = fork();
	ASSERT_GE(u.pid, 0);
	if (!u.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(line[0]);
		test_status = TEST_PASS;
		act(become_user(uid), line[1]);
		fflush(stdout);
		_exit(test_status);
	}
	close(line[1]);
	u.line = line[0];
	return u;
}

static inline void user_end(struct user *u)
{
	int status;

	close(u->line);
	ASSERT_EQ(waitpid(u->pid, &status, 0), u->pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == TEST_SKIP)
		_exit(TEST_SKIP);
	EXPECT_EQ(status, 0);
}

static inline void user_kill(struct user *u)
{
	kill(u->pid, SIGKILL);
	waitpid(u->pid, NULL, 0);
	close(u->line);
}

static inline void say(int line, uint64_t word)
{
	ASSERT_EQ(send(line, &word, sizeof(word), MSG_NOSIGNAL), sizeof(word));
}

/* False: the other end is gone. */
static inline bool hear(int line, uint64_t *word)
{
	return recv(line, word, sizeof(*word), MSG_WAITALL) == sizeof(*word);
}

static inline uint64_t heard(int line)
{
	uint64_t word = 0;

	ASSERT_TRUE(hear(line, &word));
	return word;
}

#endif
