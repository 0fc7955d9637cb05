// SPDX-License-Identifier: MIT
#include "qtest.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct qtest {
	pid_t pid;
	FILE *in, *out;
	bool gone;
};

#define MAX_ARGS 64
#define DEFAULT_QEMU "build/qemu/build/qemu-system-x86_64"

static char *line_of(struct qtest *q)
{
	static __thread char *line;
	static __thread size_t room;

	for (;;) {
		if (q->gone || getline(&line, &room, q->in) <= 0) {
			q->gone = true;
			return NULL;
		}
		if (strncmp(line, "IRQ ", 4))
			return line;
	}
}

/* Sends a command; the text after "OK", or NULL. */
static __attribute__((format(printf, 2, 3))) char *command(struct qtest *q, const char *format, ...)
{
	va_list args;
	char *line;

	if (q->gone)
		return NULL;
	va_start(args, format);
	vfprintf(q->out, format, args);
	va_end(args);
	if (fputc('\n', q->out) == EOF || fflush(q->out)) {
		q->gone = true;
		return NULL;
	}
	line = line_of(q);
	if (!line || strncmp(line, "OK", 2))
		return NULL;
	return line + 2;
}

/* QEMU on one end of a socket pair; the other end, or -1. errors: its stderr. */
static int spawn(const char *const *args, int errors, pid_t *pid)
{
	const char *qemu = getenv("QEMU");
	const char *argv[MAX_ARGS] = {
		qemu && *qemu ? qemu : DEFAULT_QEMU,
		"-accel",
		"qtest",
		"-M",
		"q35",
		"-m",
		"128M",
		"-nodefaults",
		"-no-user-config",
		"-display",
		"none",
		"-L",
		"/usr/share/seabios",
		"-L",
		"/usr/share/qemu",
		"-qtest",
		"stdio",
		"-qtest-log",
		"none",
	};
	unsigned int n = 0;
	int fd[2];

	while (argv[n])
		n++;
	for (; *args && n < MAX_ARGS - 1; args++)
		argv[n++] = *args;
	signal(SIGPIPE, SIG_IGN);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
		return -1;
	fflush(stdout);
	*pid = fork();
	if (*pid == 0) {
		dup2(fd[1], 0);
		dup2(fd[1], 1);
		dup2(errors, 2);
		execv(argv[0], (char **)argv);
		fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(fd[1]);
	return *pid < 0 ? -1 : fd[0];
}

struct qtest *qtest_start(const char *const *args)
{
	struct qtest *q = calloc(1, sizeof(*q));
	int fd;

	if (!q)
		exit(1);
	fd = spawn(args, 2, &q->pid);
	if (fd < 0)
		exit(1);
	q->in = fdopen(fd, "r");
	q->out = fdopen(dup(fd), "w");
	if (!q->in || !q->out)
		exit(1);
	if (!command(q, "clock_step 0") && q->gone) {
		printf("Bail out! QEMU does not start\n");
		exit(1);
	}
	return q;
}

bool qtest_refused(const char *const *args, char *said, size_t size)
{
	static const char hello[] = "clock_step 0\n";
	FILE *errors = tmpfile();
	char answer[64];
	int status = 0, fd;
	pid_t pid;

	*said = 0;
	fd = errors ? spawn(args, fileno(errors), &pid) : -1;
	if (fd < 0)
		return false;
	/* One that starts answers; one that refuses closes its end. */
	if (write(fd, hello, sizeof(hello) - 1) > 0 && read(fd, answer, sizeof(answer)) > 0)
		kill(pid, SIGKILL);
	close(fd);
	waitpid(pid, &status, 0);
	rewind(errors);
	said[fread(said, 1, size - 1, errors)] = 0;
	fclose(errors);
	return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

pid_t qtest_pid(const struct qtest *q)
{
	return q->pid;
}

bool qtest_alive(struct qtest *q)
{
	return !q->gone && command(q, "readb 0x0") != NULL;
}

int qtest_stop(struct qtest *q)
{
	int status = 0, result = 0;

	if (q->gone) {
		waitpid(q->pid, &status, 0);
		result = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status) + 256;
	} else {
		/* Ended this way, QEMU takes the device apart: it may still crash. */
		kill(q->pid, SIGTERM);
		waitpid(q->pid, &status, 0);
		if (WIFSIGNALED(status))
			result = WTERMSIG(status);
		else if (WEXITSTATUS(status))
			result = WEXITSTATUS(status) + 256;
	}
	fclose(q->in);
	fclose(q->out);
	free(q);
	return result;
}

FILE *qtest_monitor(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
	for (unsigned int n = 0; n < 1000; n++) {
		if (!connect(fd, (struct sockaddr *)&to, sizeof(to)))
			return fdopen(fd, "r+");
		usleep(10000);
	}
	close(fd);
	return NULL;
}

bool qtest_order(FILE *f, const char *json, const char *word)
{
	static char line[65536];

	fseek(f, 0, SEEK_CUR); /* from reading to writing */
	fprintf(f, "%s\n", json);
	fflush(f);
	fseek(f, 0, SEEK_CUR);
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "\"return\"") || strstr(line, "\"error\""))
			return strstr(line, word);
	return false;
}

static char size_letter(unsigned int size)
{
	return size == 1 ? 'b' : size == 2 ? 'w' : size == 4 ? 'l' : 'q';
}

uint64_t qtest_read(struct qtest *q, uint64_t addr, unsigned int size)
{
	char *answer = command(q, "read%c 0x%" PRIx64, size_letter(size), addr);

	return answer ? strtoull(answer, NULL, 0) : ~0ULL;
}

void qtest_write(struct qtest *q, uint64_t addr, uint64_t value, unsigned int size)
{
	if (size < 8)
		value &= (1ULL << 8 * size) - 1;
	command(q, "write%c 0x%" PRIx64 " 0x%" PRIx64, size_letter(size), addr, value);
}

static int hex(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

void qtest_memread(struct qtest *q, uint64_t addr, void *buf, size_t len)
{
	char *answer = command(q, "read 0x%" PRIx64 " 0x%zx", addr, len);
	uint8_t *out = buf;

	memset(buf, 0xa5, len);
	answer = answer ? strchr(answer, 'x') : NULL;
	for (size_t i = 0; answer && i < len && answer[1 + 2 * i] > ' '; i++)
		out[i] = hex(answer[1 + 2 * i]) << 4 | hex(answer[2 + 2 * i]);
}

void qtest_memwrite(struct qtest *q, uint64_t addr, const void *buf, size_t len)
{
	const uint8_t *in = buf;
	char *text = malloc(2 * len + 1);

	if (!text)
		exit(1);
	for (size_t i = 0; i < len; i++)
		sprintf(text + 2 * i, "%02x", in[i]);
	command(q, "write 0x%" PRIx64 " 0x%zx 0x%s", addr, len, text);
	free(text);
}

static void cfg_select(struct qtest *q, unsigned int slot, unsigned int offset)
{
	command(q, "outl 0xcf8 0x%x", 0x80000000u | slot << 11 | (offset & 0xfc));
}

uint32_t qtest_cfg_read(struct qtest *q, unsigned int slot, unsigned int offset, unsigned int size)
{
	char *answer;

	cfg_select(q, slot, offset);
	answer = command(q, "in%c 0x%x", size_letter(size), 0xcfc + (offset & 3));
	return answer ? strtoul(answer, NULL, 0) : ~0u;
}

void qtest_cfg_write(struct qtest *q, unsigned int slot, unsigned int offset, uint32_t value,
		     unsigned int size)
{
	cfg_select(q, slot, offset);
	command(q, "out%c 0x%x 0x%x", size_letter(size), 0xcfc + (offset & 3), value);
}
