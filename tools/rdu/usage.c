// SPDX-License-Identifier: MIT
/* Who uses the card, and how much of it: for `rdu stat` and `rdu top`. */
#include <ctype.h>
#include <dirent.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "rdu_tool.h"

/* Parts that add up to 100 at most: a queue's clock may be ahead of the card's. */
struct share share_of_cycles(const uint64_t then[NUM_USES], const uint64_t now[NUM_USES],
			     double all)
{
	struct share s = { .idle = 100 };
	double sum = 0;
	int i;

	for (i = 0; i < NUM_USES; i++) {
		if (all <= 0 || now[i] < then[i])
			return (struct share){ .idle = 100 };
		s.use[i] = 100 * (double)(now[i] - then[i]) / all;
		sum += s.use[i];
	}
	for (i = 0; sum > 100 && i < NUM_USES; i++)
		s.use[i] *= 100 / sum;
	s.idle = sum > 100 ? 0 : 100 - sum;
	return s;
}

struct share share_of_tile(const struct rdu_tile_usage *a, const struct rdu_tile_usage *b)
{
	const uint64_t then[NUM_USES] = { a->exec_cycles, a->pload_cycles, a->aload_cycles,
					  a->copy_cycles };
	const uint64_t now[NUM_USES] = { b->exec_cycles, b->pload_cycles, b->aload_cycles,
					 b->copy_cycles };

	if (b->clock_cycles <= a->clock_cycles)
		return (struct share){ .idle = 100 }; /* nothing ran, or a reset in between */
	return share_of_cycles(then, now, (double)(b->clock_cycles - a->clock_cycles));
}

/* A process says what it is called: nothing of that is for the terminal to obey. */
static void print_safe(char *text)
{
	for (; *text; text++)
		if (!isascii((unsigned char)*text) || iscntrl((unsigned char)*text))
			*text = '?';
}

void command_of(int pid, const char *name, char *text, size_t size)
{
	char path[40], line[256];
	size_t n, i;
	FILE *f;

	snprintf(text, size, "%s", name);
	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	f = pid ? fopen(path, "r") : NULL;
	if (f) {
		n = fread(line, 1, sizeof(line) - 1, f);
		fclose(f);
		while (n && !line[n - 1])
			n--;
		for (i = 0; i < n; i++)
			if (!line[i])
				line[i] = ' ';
		line[n] = 0;
		if (n)
			snprintf(text, size, "%s", line);
	}
	print_safe(text);
}

void user_of(unsigned int uid, char *text, size_t size)
{
	const struct passwd *pw = getpwuid(uid);

	if (pw)
		snprintf(text, size, "%.32s", pw->pw_name);
	else
		snprintf(text, size, "%u", uid);
}

/* ---- clients -------------------------------------------------------------------- */

static const char *const use_names[NUM_USES] = { "exec", "pload", "aload", "copy" };

/* "drm-KEY-NAME:\tNUMBER [UNIT]" of a file's fdinfo. */
static bool number_of(const char *line, const char *key, const char *name, uint64_t *value)
{
	size_t k = strlen(key), n = strlen(name);
	char *end;

	if (strncmp(line, key, k) || strncmp(line + k, name, n) || line[k + n] != ':')
		return false;
	*value = strtoull(line + k + n + 1, &end, 10);
	if (!strncmp(end, " KiB", 4))
		*value <<= 10;
	else if (!strncmp(end, " MiB", 4))
		*value <<= 20;
	return true;
}

/* False: not a file of a DRM driver, or gone meanwhile. */
static bool client_read(const char *path, struct client *c)
{
	FILE *f = fopen(path, "r");
	bool found = false;
	char line[256];
	int i;

	if (!f)
		return false;
	memset(c, 0, sizeof(*c));
	while (fgets(line, sizeof(line), f)) {
		if (number_of(line, "drm-client-id", "", &c->id))
			found = true;
		number_of(line, "drm-total-", "vram", &c->vram);
		number_of(line, "drm-total-", "system", &c->system);
		number_of(line, "drm-active-", "vram", &c->active);
		for (i = 0; i < NUM_USES; i++)
			number_of(line, "drm-cycles-", use_names[i], &c->cycles[i]);
	}
	fclose(f);
	return found;
}

static struct client *client_find(const struct clients *list, uint64_t id)
{
	unsigned int i;

	for (i = 0; i < list->count; i++)
		if (list->client[i].id == id)
			return &list->client[i];
	return NULL;
}

const struct client *clients_find(const struct clients *list, uint64_t id)
{
	return client_find(list, id);
}

static void client_add(struct clients *list, const struct client *c)
{
	struct client *known = client_find(list, c->id);

	if (known) {
		/* It may have it more than once. */
		known->processes += known->last != c->pid;
		known->last = c->pid;
		return;
	}
	list->client = realloc(list->client, (list->count + 1) * sizeof(*c));
	if (!list->client) {
		fail("out of memory");
		exit(EXIT_FAIL);
	}
	list->client[list->count++] = *c;
}

/* The files of one process that are the card's node. False: no right to look. */
static bool process_read(struct clients *list, const char *pid, dev_t node)
{
	char path[64], name[32] = "";
	const struct dirent *entry;
	struct stat st, owner;
	struct client c;
	FILE *f;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.10s/fd", pid);
	dir = opendir(path);
	if (!dir)
		return access(path, F_OK); /* it has ended */
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%.10s/fd/%.10s", pid, entry->d_name);
		if (stat(path, &st) || !S_ISCHR(st.st_mode) || st.st_rdev != node)
			continue;
		snprintf(path, sizeof(path), "/proc/%.10s/fdinfo/%.10s", pid, entry->d_name);
		if (!client_read(path, &c))
			continue;
		c.pid = c.last = atoi(pid);
		c.processes = 1;
		snprintf(path, sizeof(path), "/proc/%.10s", pid);
		c.uid = stat(path, &owner) ? 0 : owner.st_uid;
		snprintf(path, sizeof(path), "/proc/%.10s/comm", pid);
		f = fopen(path, "r");
		if (f) {
			if (fgets(name, sizeof(name), f))
				name[strcspn(name, "\n")] = 0;
			fclose(f);
		}
		command_of(c.pid, name, c.command, sizeof(c.command));
		client_add(list, &c);
	}
	closedir(dir);
	return true;
}

void clients_read(struct clients *list, const char *node)
{
	const struct dirent *entry;
	struct stat st;
	DIR *proc;

	memset(list, 0, sizeof(*list));
	proc = opendir("/proc");
	if (!proc || stat(node, &st)) {
		if (proc)
			closedir(proc);
		return;
	}
	while ((entry = readdir(proc)))
		if (isdigit((unsigned char)entry->d_name[0]) && atoi(entry->d_name) != getpid() &&
		    !process_read(list, entry->d_name, st.st_rdev))
			list->hidden++;
	closedir(proc);
}

void clients_free(struct clients *list)
{
	free(list->client);
	memset(list, 0, sizeof(*list));
}
