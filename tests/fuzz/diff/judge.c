// SPDX-License-Identifier: MIT
/*
 * Judges in processes of their own: ONNX Runtime in node, PyTorch in python. One line
 * with a folder goes in, one line comes out: "ok", or why the judge declines.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "diff.h"

static struct server {
	const char *program;
	pid_t pid;
	int to, from;
} servers[SERVERS] = {
	[SERVER_ORT] = { .program = "tests/fuzz/judge-onnxruntime" },
	[SERVER_TORCH] = { .program = "tests/fuzz/judge-torch" },
};

/* One line within a minute; false when there is none. */
static bool read_line(struct server *s, char *line, size_t size)
{
	size_t n = 0;

	while (n + 1 < size) {
		struct pollfd p = { .fd = s->from, .events = POLLIN };

		if (poll(&p, 1, 60000) <= 0 || read(s->from, line + n, 1) != 1)
			return false;
		if (line[n] == '\n') {
			line[n] = 0;
			return true;
		}
		n++;
	}
	line[n] = 0;
	return true;
}

bool judge_start(int server, char *why, size_t size)
{
	struct server *s = &servers[server];
	int to[2], from[2];

	if (pipe(to) || pipe(from)) {
		snprintf(why, size, "%s", strerror(errno));
		return false;
	}
	s->pid = fork();
	if (!s->pid) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		close(to[0]);
		close(to[1]);
		close(from[0]);
		close(from[1]);
		execl(s->program, s->program, (char *)NULL);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	s->to = to[1];
	s->from = from[0];
	if (s->pid > 0 && read_line(s, why, size) && !strcmp(why, "ready"))
		return true;
	if (!*why)
		snprintf(why, size, "%s does not start", s->program);
	judge_stop(server);
	return false;
}

void judge_stop(int server)
{
	struct server *s = &servers[server];

	if (s->pid <= 0)
		return;
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	close(s->to);
	close(s->from);
	s->pid = 0;
}

bool judge_there(int server)
{
	return servers[server].pid > 0;
}

bool judge_ask(int server, const char *dir, char *why, size_t size)
{
	struct server *s = &servers[server];
	size_t n = strlen(dir);

	if (s->pid <= 0) {
		snprintf(why, size, "not there");
		return false;
	}
	if (write(s->to, dir, n) != (ssize_t)n || write(s->to, "\n", 1) != 1 ||
	    !read_line(s, why, size)) {
		snprintf(why, size, "%s", JUDGE_ENDED);
		return false;
	}
	if (strcmp(why, "ok"))
		return false;
	why[0] = 0;
	return true;
}

void *read_bytes(const char *dir, const char *prefix, const char *name, size_t size)
{
	unsigned char *data = malloc(size + 8);
	char path[700];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s_%s.bin", dir, prefix, name);
	f = fopen(path, "rb");
	if (f) {
		n = fread(data, 1, size + 1, f);
		fclose(f);
	}
	if (n == size)
		return data;
	free(data);
	return NULL;
}
