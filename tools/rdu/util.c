// SPDX-License-Identifier: MIT
/* Messages, numbers for people. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "rdu_tool.h"

bool line_open;

void close_line(void)
{
	if (line_open)
		putchar('\n');
	line_open = false;
	fflush(stdout);
}

int fail(const char *format, ...)
{
	va_list args;

	close_line();
	fputs("rdu: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return EXIT_FAIL;
}

int usage(const char *command, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "rdu %s: ", command);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "; `rdu %s --help` tells more\n", command);
	return EXIT_USAGE;
}

bool parse_number(const char *option, const char *text, double least, double most, double *value)
{
	char *end;

	errno = 0;
	*value = strtod(text, &end);
	if (!errno && end != text && !*end && *value >= least && *value <= most)
		return true;
	fprintf(stderr, "rdu: %s %s: a number from %g to %g\n", option, text, least, most);
	return false;
}

bool parse_count(const char *option, const char *text, double least, double most, double *value)
{
	if (!parse_number(option, text, least, most, value))
		return false;
	if (*value == floor(*value))
		return true;
	fprintf(stderr, "rdu: %s %s: a whole number\n", option, text);
	return false;
}

bool parse_word(const char *option, const char *text, const char *const *words, unsigned int *index)
{
	unsigned int i;

	for (*index = 0; words[*index]; ++*index)
		if (!strcmp(text, words[*index]))
			return true;
	fprintf(stderr, "rdu: %s %s: one of", option, text);
	for (i = 0; words[i]; i++)
		fprintf(stderr, "%s %s", i ? "," : "", words[i]);
	fprintf(stderr, "\n");
	return false;
}

int check_files(const struct lr_outfile_use *use, unsigned int count)
{
	char text[2 * PATH_MAX + 100];

	return lr_outfile_check_all(use, count, text, sizeof(text)) ? fail("%s", text) : 0;
}

void *xmalloc(size_t size)
{
	void *p = malloc(size ? size : 1);

	if (!p) {
		fail("out of memory (%zu bytes)", size);
		exit(EXIT_FAIL);
	}
	return p;
}

void *xcalloc(size_t count, size_t size)
{
	void *p = calloc(count ? count : 1, size ? size : 1);

	if (!p) {
		fail("out of memory (%zu times %zu bytes)", count, size);
		exit(EXIT_FAIL);
	}
	return p;
}

double now_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static const char *human(double v, double base, const char *const *units, unsigned int n,
			 const char *suffix, char *text, size_t size)
{
	unsigned int i = 0;

	while (v >= base && i + 1 < n) {
		v /= base;
		i++;
	}
	snprintf(text, size, "%.*f %s%s",
		 v >= 100 || fabs(v - round(v)) <= 1e-12 * v ? 0
		 : v >= 10				     ? 1
							     : 2,
		 v, units[i], suffix);
	return text;
}

const char *human_bytes(double bytes, char *text, size_t size)
{
	static const char *const units[] = { "", "Ki", "Mi", "Gi", "Ti" };

	return human(bytes, 1024, units, 5, "B", text, size);
}

const char *human_count(double count, char *text, size_t size)
{
	static const char *const units[] = { "", "k", "M", "G", "T", "P" };

	human(count, 1000, units, 6, "", text, size);
	return text;
}

const char *human_time(double seconds, char *text, size_t size)
{
	static const char *const units[] = { "n", "u", "m", "" };

	if (seconds >= 1) {
		snprintf(text, size, "%.*f s", seconds < 10 ? 2 : 1, seconds);
		return text;
	}
	return human(seconds * 1e9, 1000, units, 4, "s", text, size);
}

void put_xml(FILE *f, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			fputs("&amp;", f);
			break;
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '"':
			fputs("&quot;", f);
			break;
		default:
			fputc(*text, f);
		}
	}
}
