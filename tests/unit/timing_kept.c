// SPDX-License-Identifier: MIT
/*
 * Times of sections in files: another process finds there what one has found out, and takes
 * no file that is damaged, of another section, or of another model. Each question is asked by
 * a process of its own, for within one they are kept in memory, too.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "card_test.h"
#include "cfgbuild.h"
#include "fabric.h"
#include "rdu/program.h"
#include "timing_priv.h"

#define SUM 16 /* where in the file its checksum is, */
#define BODY 24 /* where what it is of begins, */
#define CYCLES 32 /* and the section's cycles (timing_kept.c) */

static struct rdu_chip chip;
static const struct rdu_cfg_pred no_pred;
static char folder[] = "/tmp/timing-kept-XXXXXX";

/* load -> store of n vectors */
static struct rdu_section *section(int n)
{
	struct cfgb *b = cfgb_new(&chip, 1);
	uint32_t p[2] = { cfgb_program(b, RDU_KIND_LOAD, 0, 0),
			  cfgb_program(b, RDU_KIND_STORE, 0, 2) };
	struct rdu_cfg_diag diag;
	struct rdu_section *s;
	size_t size;
	void *image;

	b->num_segments = 2;
	for (uint32_t i = 0; i < 2; i++) {
		cfgb_loop(b, p[i], n);
		cfgb_access(b, p[i],
			    &(struct rdu_cfg_access){ .target = i,
						      .format = RDU_FMT_WORD,
						      .lanes = chip.lanes,
						      .lane_stride = 1,
						      .stride = { [0] = chip.lanes } },
			    &no_pred);
	}
	cfgb_connect(b, p[0], 0, p[1], 0);
	image = cfgb_finish(b, &size);
	s = rdu_section_new(image, size, &chip, 0, &diag);
	free(image);
	if (!s) {
		printf("Bail out! refused: %s\n", diag.text);
		exit(1);
	}
	return s;
}

/* Cycles of load -> store of n vectors, as a process of its own finds them. */
static uint64_t ask(int n, bool store)
{
	uint64_t cycles = 0;
	int fds[2], status = 0;
	pid_t child;

	if (pipe(fds))
		return 0;
	fflush(stdout);
	child = fork();
	if (!child) {
		struct rdu_section *s = section(n);
		const struct rdu_section_time *t =
			store ? rdu_section_time_stored(s) : rdu_section_time(s, NULL, NULL, NULL);

		cycles = t ? t->cycles : 0;
		rdu_section_free(s);
		_exit(write(fds[1], &cycles, sizeof(cycles)) != sizeof(cycles));
	}
	close(fds[1]);
	if (read(fds[0], &cycles, sizeof(cycles)) != sizeof(cycles))
		cycles = 0;
	close(fds[0]);
	waitpid(child, &status, 0);
	return status ? 0 : cycles;
}

/* Files in the folder; the name of the last one. */
static int files(char name[300])
{
	DIR *dir = opendir(folder);
	struct dirent *e;
	int n = 0;

	while (dir && (e = readdir(dir))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		n++;
		snprintf(name, 300, "%s/%s", folder, e->d_name);
	}
	if (dir)
		closedir(dir);
	return n;
}

static unsigned char file[1 << 20];

static size_t get(const char *name)
{
	FILE *f = fopen(name, "rb");
	size_t n = f ? fread(file, 1, sizeof(file), f) : 0;

	if (f)
		fclose(f);
	return n;
}

static void put(const char *name, size_t size)
{
	FILE *f = fopen(name, "wb");

	if (!f || fwrite(file, 1, size, f) != size || fclose(f)) {
		printf("Bail out! cannot write %s\n", name);
		exit(1);
	}
}

static void set_sum(size_t size)
{
	uint64_t sum = rdu_fnv1a(RDU_FNV1A_INIT, file + BODY, size - BODY);

	memcpy(file + SUM, &sum, sizeof(sum));
}

int main(void)
{
	char name[300] = "", error[200], moved[320];
	uint64_t right, other, wrong;
	unsigned char whole[sizeof(file) / 16];
	size_t size;

	if (rdu_chip_find("sn10", &chip, error, sizeof(error)) || !mkdtemp(folder))
		return 1;
	setenv("RDU_TIME_CACHE", "off", 1);
	right = ask(64, true);
	other = ask(65, true);
	ok(right && other && right != other, "two sections: %llu and %llu cycles",
	   (unsigned long long)right, (unsigned long long)other);
	setenv("RDU_TIME_CACHE", folder, 1);
	is(ask(64, false), right, "asked without storing");
	is(files(name), 0, "there is no file");
	is(ask(64, true), right, "asked and stored");
	is(files(name), 1, "there is one file");
	size = get(name);
	ok(size > CYCLES + 8 && size < sizeof(whole), "of %zu bytes", size);
	memcpy(whole, file, size);

	wrong = right + 1000;
	memcpy(file + CYCLES, &wrong, sizeof(wrong));
	set_sum(size);
	put(name, size);
	is(ask(64, false), wrong, "another process takes what the file says");
	is(ask(65, false), other, "for its own section only");
	memcpy(file, whole, size);

	/* Damaged anywhere, it is not taken. */
	for (size_t at = 0; at < size; at += at < 128 ? 1 : 61) {
		memcpy(file + CYCLES, &wrong, sizeof(wrong));
		set_sum(size);
		file[at] ^= 0x40;
		put(name, size);
		if (ask(64, false) != right)
			break;
		memcpy(file, whole, size);
		if (at + 61 >= size)
			ok(true, "a file with any byte changed is not taken");
	}
	for (size_t n = 0; n < size; n = 2 * n + 1) {
		put(name, n);
		if (ask(64, false) != right)
			ok(false, "a file cut to %zu bytes is not taken", n);
	}
	is(ask(64, true), right, "it is written anew");
	ok(get(name) == size && !memcmp(file, whole, size), "as it was");

	/* A link is not followed, whatever it leads to. */
	memcpy(file + CYCLES, &wrong, sizeof(wrong));
	set_sum(size);
	snprintf(moved, sizeof(moved), "%s-moved", name);
	put(moved, size);
	unlink(name);
	ok(!symlink(moved, name), "a link in its place");
	is(ask(64, false), right, "is not followed");
	is(ask(64, true), right, "a time that is stored replaces it");
	ok(get(name) == size && !memcmp(file, whole, size), "as it was");
	unlink(moved);

	/* Where nothing can be written, nothing is lost. */
	unlink(name);
	setenv("RDU_TIME_CACHE", "/proc/nothing/here", 1);
	is(ask(64, true), right, "a folder that cannot be");
	setenv("RDU_TIME_CACHE", "", 1);
	is(ask(64, true), right, "no folder");
	unsetenv("RDU_TIME_CACHE");
	setenv("XDG_CACHE_HOME", folder, 1);
	is(ask(64, true), right, "by the user's cache");
	is(files(name), 1, "there is a folder in it");
	snprintf(moved, sizeof(moved), "%s/rdu", folder);
	ok(!strcmp(name, moved), "of the name that the documentation gives");
	snprintf(moved, sizeof(moved), "rm -r %s", folder);
	ok(!system(moved), "cleaned up");
	return tap_done();
}
