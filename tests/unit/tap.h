/* SPDX-License-Identifier: MIT */
/*
 * One line of TAP for each thing that is checked. Values are compared by same_...(),
 * which say the index, what was got and what was wanted, of the first ten that differ.
 */
#ifndef TAP_H
#define TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static int tap_count, tap_failed, tap_differ;
/* In a child of fork(): what it checks is a remark, and its exit code the result. */
static bool tap_child;

__attribute__((format(printf, 2, 3), unused)) static bool ok(bool good, const char *fmt, ...)
{
	va_list ap;

	printf("%s%sok %d - ", tap_child ? "# child: " : "", good ? "" : "not ", ++tap_count);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	tap_failed += !good;
	tap_differ = 0;
	return good;
}

/* A word of 32 bits, shown as such and as the float it may be. */
__attribute__((unused)) static bool same_word(const char *what, size_t index, uint32_t got,
					      uint32_t want)
{
	float f, w;

	if (got == want)
		return true;
	memcpy(&f, &got, 4);
	memcpy(&w, &want, 4);
	if (tap_differ++ < 10)
		printf("# %s[%zu]: got %#x (%.9g), wanted %#x (%.9g)\n", what, index, got, f, want,
		       w);
	return false;
}

/* SAME(array, index, wanted): of an array of words. */
#define SAME(array, index, want) same_word(#array, (size_t)(index), (array)[index], (want))

/* `n` words of each. */
__attribute__((unused)) static bool same_words(const char *what, const void *got, const void *want,
					       size_t n)
{
	uint32_t a, b;
	bool good = true;

	for (size_t i = 0; i < n; i++) {
		memcpy(&a, (const char *)got + i * 4, 4);
		memcpy(&b, (const char *)want + i * 4, 4);
		good = same_word(what, i, a, b) && good;
	}
	return good;
}

/* A number of any kind that a double holds. */
__attribute__((unused)) static bool same_number(const char *what, size_t index, double got,
						double want)
{
	if (got == want)
		return true;
	if (tap_differ++ < 10)
		printf("# %s[%zu]: got %.17g, wanted %.17g\n", what, index, got, want);
	return false;
}

/* The plan; the program's exit code. */
__attribute__((unused)) static int tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed ? 1 : 0;
}

#endif
