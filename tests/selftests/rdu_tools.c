// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The `rdu` command beside a job: who uses the card (top), also on a terminal,
 * which is as it was afterwards, what is PCI about it (info), how fast it is (bench).
 */
#include <grp.h>
#include <poll.h>
#include <pty.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <utmp.h>

#include "monitor.h"
#include "card.h"

#define SIZE (16 << 20)

/* Runs it; gives the exit code and what it printed, errors too. */
static int rdu(const char *args, char *text, size_t size)
{
	char command[128];
	size_t n = 0, got;
	FILE *f;
	int rc;

	snprintf(command, sizeof(command), "{ rdu %s; } 2>&1", args);
	f = popen(command, "r");
	ASSERT_TRUE(f);
	while (n < size - 1 && (got = fread(text + n, 1, size - 1 - n, f)))
		n += got;
	text[n] = 0;
	rc = pclose(f);
	ASSERT_TRUE(WIFEXITED(rc));
	if (WEXITSTATUS(rc) == 127)
		SKIP("no `rdu` on the path");
	return WEXITSTATUS(rc);
}

static bool says(const char *text, const char *what)
{
	if (strstr(text, what))
		return true;
	printf("# not said: %s\n# in:\n", what);
	for (; *text; text += *text == '\n') {
		int length = strcspn(text, "\n");

		printf("# %.*s\n", length, text);
		text += length;
	}
	return false;
}

/* A process that fills memory until it is killed. */
static pid_t worker_start(void)
{
	int line[2];
	pid_t pid;
	char byte;

	ASSERT_EQ(pipe(line), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		int fd = card_open();
		uint32_t vm = vm_create(fd), ctx = ctx_create(fd, vm, 1);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		buffer_create(fd, vm, VA_BASE, SIZE, DRM_RDU_PLACEMENT_DEVICE);
		while (run_job(fd, ctx, job_fill(VA_BASE, SIZE, 1)) == 1)
			if (write(line[1], "", 1) < 0)
				break;
		_exit(0);
	}
	close(line[1]);
	if (read(line[0], &byte, 1) != 1) {
		int status;

		waitpid(pid, &status, 0);
		_exit(WEXITSTATUS(status) ?: TEST_FAIL); /* no card: skipped */
	}
	return pid;
}

static void worker_end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

TEST(top_batch)
{
	pid_t worker = worker_start();
	char text[16384], what[64];
	double copy = 0;
	char *at;

	ASSERT_EQ(rdu("top -b -n 2 -i 0.5", text, sizeof(text)), 0);
	snprintf(what, sizeof(what), " %d root ", worker);
	EXPECT_TRUE(says(text, what));
	EXPECT_TRUE(says(text, "Temperature "));
	EXPECT_TRUE(says(text, "TILE "));
	EXPECT_TRUE(says(text, " 16 MiB"));
	EXPECT_TRUE(!strchr(text, '\033'));

	ASSERT_EQ(rdu("top --json -n 1 -i 0.5", text, sizeof(text)), 0);
	snprintf(what, sizeof(what), "\"pid\": %d,\n          \"processes\": 1", worker);
	at = strstr(text, what);
	EXPECT_TRUE(at || says(text, what));
	if (at)
		at = strstr(at, "\"copy\": ");
	if (at)
		copy = atof(at + 8);
	EXPECT_TRUE(copy > 0 && copy <= 100);
	worker_end(worker);
}

/* A file that two processes have, each by two descriptors. */
TEST(top_shared_file)
{
	int fd = card_open();
	char text[16384];
	pid_t pid;

	ASSERT_GE(fcntl(fd, F_DUPFD_CLOEXEC, 0), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	ASSERT_EQ(rdu("top --json -n 1 -i 0.1", text, sizeof(text)), 0);
	EXPECT_TRUE(says(text, "\"processes\": 2,"));
	worker_end(pid);
}

TEST(top_errors)
{
	char text[4096];

	close(card_open());
	EXPECT_EQ(rdu("top </dev/null", text, sizeof(text)), 1);
	EXPECT_TRUE(says(text, "not a terminal"));
	EXPECT_EQ(rdu("top -b -d model:sn10", text, sizeof(text)), 1);
	EXPECT_TRUE(says(text, "no other users"));
	EXPECT_EQ(rdu("top -i 0", text, sizeof(text)), 2);
	EXPECT_EQ(rdu("top -n 0", text, sizeof(text)), 2);
	EXPECT_EQ(rdu("top now", text, sizeof(text)), 2);
	EXPECT_EQ(rdu("top -b -n 1 -i 0.1 >/dev/full", text, sizeof(text)), 1);
	EXPECT_TRUE(says(text, "write error"));
}

/* What is none of an option's words or numbers is refused, and what is is told. */
TEST(words)
{
	char text[4096];

	EXPECT_EQ(rdu("train --schedule linear", text, sizeof(text)), 2);
	EXPECT_TRUE(says(text, "--schedule linear: one of cosine, constant, two-stage\n"));
	EXPECT_EQ(rdu("train --progress sometimes", text, sizeof(text)), 2);
	EXPECT_TRUE(says(text, "--progress sometimes: one of auto, never, always\n"));
	EXPECT_EQ(rdu("train --steps 1.5", text, sizeof(text)), 2);
	EXPECT_TRUE(says(text, "--steps 1.5: a whole number\n"));
	/* These are taken: what is missing is the file. */
	EXPECT_EQ(rdu("train --schedule constant --progress never", text, sizeof(text)), 2);
	EXPECT_TRUE(says(text, "want one FILE.rdu (or --resume FILE) and --data DATA"));
}

/* Who may not use the card is told who may, also if he named none. */
TEST(no_right)
{
	char text[4096], path[32], node[64] = "", named[80];
	const char *const commands[] = { "info", named };
	int fd = card_open(), status;
	struct stat st;
	pid_t pid;

	if (getuid())
		SKIP("not root");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ASSERT_GT(readlink(path, node, sizeof(node) - 1), 0);
	snprintf(named, sizeof(named), "info -d %.64s", node);
	ASSERT_EQ(fstat(fd, &st), 0);
	ASSERT_EQ(chown(node, 0, 65534), 0);
	ASSERT_EQ(chmod(node, 0660), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		ASSERT_EQ(setgroups(0, NULL), 0);
		ASSERT_EQ(setgid(4242), 0);
		ASSERT_EQ(setuid(4242), 0);
		for (int i = 0; i < 2; i++) {
			EXPECT_EQ(rdu(commands[i], text, sizeof(text)), 1);
			EXPECT_TRUE(says(text, "Permission denied; who may use it is in the group "
					       "nogroup"));
			EXPECT_EQ(!strstr(text, "model:sn10"), i);
		}
		fflush(stdout);
		_exit(test_status);
	}
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
	EXPECT_EQ(chown(node, st.st_uid, st.st_gid), 0);
	EXPECT_EQ(chmod(node, st.st_mode & 07777), 0);
}

/* A card that answers no more is cut off: said, with what helps, which does. */
TEST(cut_off)
{
	struct drm_rdu_ctx_create args = { .num_tiles = 1, .timeout_ms = 300 };
	char text[4096];
	int fd;

	fclose(monitor_open()); /* or skip */
	fd = card_open_idle();
	args.vm_id = vm_create(fd);
	ASSERT_EQ(call(fd, DRM_IOCTL_RDU_CTX_CREATE, &args), 0);
	ASSERT_EQ(card_property(0, "fault-dead", "true"), 0);
	EXPECT_EQ(run_job(fd, args.ctx_id, job_barrier()), -ETIME);
	for (int i = 0; i < 300 && rdu("info", text, sizeof(text)) == 0; i++)
		usleep(100000);
	EXPECT_TRUE(says(text, "the card was cut off"));
	EXPECT_TRUE(says(text, "`rdu reset` brings it back"));
	EXPECT_EQ(rdu("bench -s 1 -n 1", text, sizeof(text)), 1);
	EXPECT_TRUE(says(text, "the card was cut off"));
	ASSERT_EQ(card_property(0, "fault-dead", "false"), 0);
	close(fd);
	EXPECT_EQ(rdu("reset", text, sizeof(text)), 0);
	EXPECT_EQ(rdu("info", text, sizeof(text)), 0);
}

/* ---- on a terminal --------------------------------------------------------- */

struct terminal {
	pid_t pid;
	int master, slave;
	struct termios before;
	char text[65536];
	size_t size;
};

/* On a terminal of its own. */
static void terminal_run(struct terminal *t, const char *term, char *const argv[])
{
	struct winsize size = { .ws_row = 24, .ws_col = 100 };

	t->size = 0;
	ASSERT_EQ(openpty(&t->master, &t->slave, NULL, NULL, &size), 0);
	ASSERT_EQ(tcgetattr(t->slave, &t->before), 0);
	fflush(stdout);
	t->pid = fork();
	if (!t->pid) {
		login_tty(dup(t->slave));
		setenv("TERM", term, 1);
		execvp(argv[0], argv);
		_exit(127);
	}
}

static void terminal_start(struct terminal *t, const char *term)
{
	static char *const argv[] = { "rdu", "top", "-i", "0.2", NULL };

	terminal_run(t, term, argv);
}

static void terminal_read(struct terminal *t, int ms)
{
	struct pollfd p = { .fd = t->master, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, ms) < 1 || t->size == sizeof(t->text) - 1)
		return;
	n = read(t->master, t->text + t->size, sizeof(t->text) - 1 - t->size);
	if (n > 0)
		t->size += n;
	t->text[t->size] = 0;
}

static void terminal_expect(struct terminal *t, const char *what)
{
	for (int i = 0; i < 300; i++) {
		t->text[t->size] = 0;
		if (strstr(t->text, what))
			return;
		terminal_read(t, 100);
	}
	ASSERT_TRUE(says(t->text, what));
}

/* Its exit status, once it has ended and left the terminal as it was. */
static int terminal_end(struct terminal *t)
{
	struct termios after;
	int status, i;

	for (i = 0; i < 300 && !waitpid(t->pid, &status, WNOHANG); i++)
		terminal_read(t, 100);
	ASSERT_TRUE(i < 300);
	while (t->size < sizeof(t->text) - 1) {
		size_t before = t->size;

		terminal_read(t, 100);
		if (t->size == before)
			break;
	}
	ASSERT_EQ(tcgetattr(t->slave, &after), 0);
	EXPECT_EQ(after.c_lflag, t->before.c_lflag);
	EXPECT_EQ(after.c_iflag, t->before.c_iflag);
	EXPECT_EQ(after.c_oflag, t->before.c_oflag);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		SKIP("no `rdu` on the path");
	return status;
}

/* The cursor is shown again, last of all. */
static void terminal_expect_cursor(const struct terminal *t)
{
	const char *hidden = NULL, *shown = NULL;

	for (const char *at = t->text; (at = strstr(at, "\033[?25")); at++) {
		if (at[5] == 'l')
			hidden = at;
		else if (at[5] == 'h')
			shown = at;
	}
	EXPECT_TRUE(shown && shown > hidden);
}

TEST(top_on_terminal)
{
	pid_t worker = worker_start();
	struct winsize size = { .ws_row = 14, .ws_col = 40 };
	struct terminal t;
	char what[32];

	terminal_start(&t, "linux");
	/* What comes before it may be a movement of the cursor. */
	snprintf(what, sizeof(what), "%d root", worker);
	terminal_expect(&t, what);
	terminal_expect(&t, "Temperature");
	EXPECT_EQ(ioctl(t.master, TIOCSWINSZ, &size), 0);
	t.size = 0;
	terminal_expect(&t, "CLIENT"); /* drawn anew, cut to the size */
	EXPECT_EQ(write(t.master, "xq", 2), 2);
	EXPECT_EQ(terminal_end(&t), 0);
	terminal_expect_cursor(&t);
	worker_end(worker);
}

TEST(top_and_signals)
{
	static const int signals[] = { SIGTERM, SIGHUP, SIGQUIT, SIGINT };
	struct terminal t;

	close(card_open());
	for (int i = 0; i < 4; i++) {
		terminal_start(&t, "linux");
		terminal_expect(&t, "CLIENT");
		if (signals[i] == SIGINT)
			EXPECT_EQ(write(t.master, "\003", 1), 1); /* as one types it */
		else
			kill(t.pid, signals[i]);
		EXPECT_EQ(WTERMSIG(terminal_end(&t)), signals[i]);
		terminal_expect_cursor(&t);
		close(t.master);
		close(t.slave);
	}
}

TEST(top_on_unknown_terminal)
{
	struct terminal t;

	close(card_open());
	terminal_start(&t, "no-such-terminal");
	EXPECT_EQ(WEXITSTATUS(terminal_end(&t)), 1);
	EXPECT_TRUE(says(t.text, "\"no-such-terminal\" is not known"));
}

/* The card is taken away meanwhile: said on a terminal that is as it was. */
TEST(top_and_unbind)
{
	struct terminal t;
	char name[32];
	int fd = card_open();

	pci_name(fd, name);
	close(fd);
	terminal_start(&t, "linux");
	terminal_expect(&t, "CLIENT");
	ASSERT_EQ(sys_write("/sys/bus/pci/drivers/rdu/unbind", name), 0);
	EXPECT_EQ(WEXITSTATUS(terminal_end(&t)), 1);
	terminal_expect_cursor(&t);
	EXPECT_TRUE(says(t.text, "rdu: "));
	ASSERT_EQ(sys_write("/sys/bus/pci/drivers/rdu/bind", name), 0);
}

/* ---- gputop ------------------------------------------------------------------ */

/* What it shows of a process: true if its line is among it. */
static bool gputop_shows(const char *program, pid_t worker)
{
	const char *top = getenv("TOP") ?: "../..";
	char loader[600], lib[512], path[600], what[32];
	char *argv[] = { loader, "--library-path", lib, path, "-n", "3", "-d", "1", NULL };
	static struct terminal t;

	snprintf(lib, sizeof(lib), "%s/build/gputop/lib", top);
	snprintf(loader, sizeof(loader), "%s/ld-linux-x86-64.so.2", lib);
	snprintf(path, sizeof(path), "%s/build/gputop/%s", top, program);
	if (access(path, X_OK))
		SKIP("no Debian's gputop: tools/vm/get-gputop fetches it");
	terminal_run(&t, "linux", argv);
	EXPECT_EQ(terminal_end(&t), 0);
	t.text[t.size] = 0;
	close(t.master);
	close(t.slave);
	snprintf(what, sizeof(what), "\n%d ", worker);
	if (!strstr(t.text, what))
		return false;
	/* All engines by their names, and the memory. */
	EXPECT_TRUE(says(t.text, " exec "));
	EXPECT_TRUE(says(t.text, " pload "));
	EXPECT_TRUE(says(t.text, " aload "));
	EXPECT_TRUE(says(t.text, " copy "));
	EXPECT_TRUE(says(t.text, " 16M "));
	return true;
}

/*
 * Debian's gputop takes files of major 226 only for those of cards, which an
 * accelerator's is not. With that number changed it shows our job: fdinfo has what
 * it needs.
 */
TEST(gputop)
{
	pid_t worker = worker_start();

	if (!gputop_shows("gputop", worker))
		EXPECT_TRUE(gputop_shows("gputop-accel", worker));
	worker_end(worker);
}

/* ---- info -------------------------------------------------------------------- */

TEST(info_pci)
{
	struct drm_rdu_query_info info;
	char text[16384], what[64];
	int fd = card_open();

	if (getuid())
		SKIP("not root");
	info = card_info(fd);
	ASSERT_EQ(rdu("info", text, sizeof(text)), 0);
	EXPECT_TRUE(says(text, "GT/s"));
	EXPECT_TRUE(says(text, "BAR0"));
	EXPECT_TRUE(says(text, "BAR2"));
	EXPECT_TRUE(says(text, "BAR4"));
	EXPECT_TRUE(says(text, "vectors, enabled"));
	ASSERT_EQ(rdu("info --json", text, sizeof(text)), 0);
	snprintf(what, sizeof(what), "\"pci_address\": \"%04x:%02x:%02x.%x\"", info.pci_domain,
		 info.pci_bdf >> 8, info.pci_bdf >> 3 & 31, info.pci_bdf & 7);
	EXPECT_TRUE(says(text, what));
	EXPECT_TRUE(says(text, "\"pcie_width\": "));
	EXPECT_TRUE(says(text, "\"msix_enabled\": true"));
}

/* How many the kernel has counted; -1: it does not count. */
static long corrected_errors(const char *text)
{
	static const char key[] = "\"aer_count_corrected\": ";
	const char *at = strstr(text, key);

	return at ? strtol(at + strlen(key), NULL, 10) : -1;
}

/* A corrected error on the link: the kernel counts it, and clears the status. */
TEST(info_errors)
{
	char text[16384], what[64];
	long before;

	fclose(monitor_open()); /* or skip */
	close(card_open());
	ASSERT_EQ(rdu("info --json", text, sizeof(text)), 0);
	before = corrected_errors(text);
	if (before < 0)
		SKIP("a kernel without AER, or a card behind no root port");
	ASSERT_EQ(monitor("'execute': 'human-monitor-command', 'arguments': "
			  "{'command-line': 'pcie_aer_inject_error -c rdu0 0x40'}"), 0);
	for (int i = 0; i < 100; i++) {
		ASSERT_EQ(rdu("info --json", text, sizeof(text)), 0);
		if (corrected_errors(text) != before)
			break;
		usleep(100000);
	}
	EXPECT_EQ(corrected_errors(text), before + 1);
	EXPECT_TRUE(says(text, "\"aer_count_fatal\": "));
	EXPECT_TRUE(says(text, "\"aer_corrected\": [\n"));
	ASSERT_EQ(rdu("info", text, sizeof(text)), 0);
	snprintf(what, sizeof(what), "%ld corrected, ", before + 1);
	EXPECT_TRUE(says(text, what));
	EXPECT_TRUE(says(text, "PCIe errors, corrected            : none"));
}

TEST(bench)
{
	char text[4096];

	close(card_open());
	ASSERT_EQ(rdu("bench -s 1 -n 10", text, sizeof(text)), 0);
	EXPECT_TRUE(says(text, "GB/s"));
	EXPECT_TRUE(says(text, "Empty job"));
	ASSERT_EQ(rdu("bench -s 1 -n 10 --json", text, sizeof(text)), 0);
	EXPECT_TRUE(says(text, "\"from_card_bytes_per_second\": "));
	EXPECT_EQ(rdu("bench -n 0", text, sizeof(text)), 2);
}
