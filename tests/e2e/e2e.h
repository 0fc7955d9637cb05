/* SPDX-License-Identifier: MIT */
/*
 * What the end-to-end tests share: TAP, the tools, a card with a program on it.
 * The tests run from the project's top and keep their files in build/e2e.
 */
#ifndef TESTS_E2E_H
#define TESTS_E2E_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "rdu.h"

static int tap_num, tap_bad;

__attribute__((format(printf, 2, 3), unused))
static int tap(int good, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %d - ", good ? "" : "not ", ++tap_num);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	tap_bad += !good;
	return good;
}

__attribute__((unused))
static int tap_end(void)
{
	printf("1..%d\n", tap_num);
	return tap_bad || !tap_num;
}

/* Runs a command of the build, quietly. 0 if it succeeded. */
__attribute__((format(printf, 1, 2), unused))
static int tool(const char *fmt, ...)
{
	char cmd[2048], line[2304];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	mkdir("build", 0777);
	mkdir("build/e2e", 0777);
	snprintf(line, sizeof(line), "{ PATH=build/host/bin:$PATH; %s; } >build/e2e/log 2>&1", cmd);
	if (!system(line))
		return 0;
	printf("# failed: %s\n", cmd);
	fflush(stdout);
	if (system("sed 's/^/# /' build/e2e/log | tail -n 5"))
		return -1;
	return -1;
}

/* Milliseconds that a command may take on the host; 0: any. */
__attribute__((unused))
static uint32_t card_watchdog_ms = 10000;

struct card {
	struct rdu_device *dev;
	struct rdu_context *ctx;
	struct rdu_program *prog;
};

/* A context and a program on an open device. 0, or a negative errno number with
 * the text in `error`. */
__attribute__((unused))
static int card_load(struct card *c, struct rdu_device *dev, struct rdu_file *file, char *error,
		     size_t size)
{
	struct rdu_context_options o = { .size = sizeof(o), .watchdog_ms = card_watchdog_ms };
	int ret;

	*c = (struct card){ .dev = dev };
	ret = rdu_context_new(dev, &o, &c->ctx);
	if (ret) {
		snprintf(error, size, "%s", rdu_error_text(c->ctx));
		return ret;
	}
	ret = rdu_program_load(c->ctx, file, &c->prog);
	if (ret)
		snprintf(error, size, "%s", rdu_error_text(c->prog));
	return ret;
}

__attribute__((unused))
static void card_unload(struct card *c)
{
	rdu_program_free(c->prog);
	rdu_context_free(c->ctx);
}

/* Numbers in [-1, 1), the same in every run. */
__attribute__((unused))
static void fill(float *p, size_t n, uint32_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = (int32_t)seed * (1.0f / 2147483648.0f);
	}
}

/*
 * Writes the same numbers to all inputs of an entry point, runs it, and hashes
 * its outputs (FNV-1a). 0, or a negative errno number and `error`.
 */
__attribute__((unused))
static int card_hash(struct card *c, const char *entry, uint64_t *hash, char *error, size_t size)
{
	struct rdu_file *f = rdu_program_file(c->prog);
	int e = rdu_file_find_entry(f, entry), ret = 0;
	unsigned int i, n = rdu_file_num_symbols(f);
	void *data;

	*hash = RDU_FNV1A_INIT;
	for (i = 0; i < n && !ret; i++) {
		const struct rdu_file_symbol *s = rdu_file_get_symbol(f, i);
		size_t bytes = rdu_symbol_size(s);

		if (!(s->flags & RDU_SYM_INPUT) || (s->flags & RDU_SYM_STATE))
			continue;
		data = calloc(1, bytes + 4);
		if (s->dtype == RDU_DT_F32)
			fill(data, bytes / 4, 7 + i);
		ret = rdu_program_write(c->prog, s->name, data, bytes);
		free(data);
	}
	if (!ret)
		ret = rdu_program_run(c->prog, entry, NULL);
	for (i = 0; i < n && !ret; i++) {
		const struct rdu_file_symbol *s = rdu_file_get_symbol(f, i);
		size_t bytes = rdu_symbol_size(s);

		if (!(s->flags & RDU_SYM_OUTPUT) || (e >= 0 && !(s->entries >> e & 1)))
			continue;
		data = calloc(1, bytes + 4);
		ret = rdu_program_read(c->prog, s->name, data, bytes);
		*hash = rdu_fnv1a(*hash, data, bytes);
		free(data);
	}
	if (ret)
		snprintf(error, size, "%s", rdu_error_text(c->prog));
	return ret;
}

#endif
