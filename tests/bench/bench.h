/* SPDX-License-Identifier: MIT */
/* What the benchmarks share. They run from the project's top. */
#ifndef TESTS_BENCH_H
#define TESTS_BENCH_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "rdu.h"

static inline double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static inline void die(const char *what, const void *object)
{
	fprintf(stderr, "%s: %s\n", what, object ? rdu_error_text(object) : "failed");
	exit(1);
}

/* Runs a shell command quietly; its output is in build/bench/log. */
static inline void tool(const char *command)
{
	char line[2048];

	snprintf(line, sizeof(line), "mkdir -p build/bench && { %s; } >build/bench/log 2>&1", command);
	if (system(line)) {
		fprintf(stderr, "failed: %s (build/bench/log)\n", command);
		exit(1);
	}
}

struct card {
	struct rdu_device *dev;
	struct rdu_context *ctx;
	struct rdu_file *file;
	struct rdu_program *prog;
};

static inline void card_load(struct card *c, const char *where, const char *path)
{
	if (rdu_open(where, &c->dev))
		die(where, c->dev);
	if (rdu_file_open(path, &c->file))
		die(path, c->file);
	if (rdu_context_new(c->dev, NULL, &c->ctx))
		die("context", c->ctx);
	if (rdu_program_load(c->ctx, c->file, &c->prog))
		die("load", c->prog);
}

static inline void card_free(struct card *c)
{
	rdu_program_free(c->prog);
	rdu_context_free(c->ctx);
	rdu_file_close(c->file);
	rdu_close(c->dev);
}

static inline void card_run(struct card *c, const char *entry, struct rdu_stats *stats)
{
	if (rdu_program_run(c->prog, entry, stats))
		die("run", c->prog);
}

/* The k-th symbol that has all of `flags`. */
static inline const struct rdu_file_symbol *card_symbol(struct card *c, uint32_t flags, int k)
{
	for (unsigned int i = 0; i < rdu_file_num_symbols(c->file); i++) {
		const struct rdu_file_symbol *s = rdu_file_get_symbol(c->file, i);

		if ((s->flags & flags) == flags && !k--)
			return s;
	}
	return NULL;
}

/* Numbers in [-1, 1), the same in every run. */
static inline void fill(float *p, size_t n, uint32_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = (int32_t)seed * (1.0f / 2147483648.0f);
	}
}

static inline float *new_floats(size_t n)
{
	float *p = aligned_alloc(64, (n * 4 + 63) / 64 * 64);

	if (!p)
		exit(1);
	return p;
}

/* The line that a benchmark prints. */
static inline void report(const char *name, double value, const char *unit, const char *peer,
			  double peer_value)
{
	printf("bench %s %.4g %s vs %s %.4g ratio %.3f\n", name, value, unit, peer, peer_value,
	       value / peer_value);
	fflush(stdout);
}

#endif
