/* SPDX-License-Identifier: MIT */
#ifndef TESTS_TABLE_H
#define TESTS_TABLE_H

#include "case.h"

/* Writes the table of operators (Markdown) from the results of a run. 0 or -1. */
int table_write(const char *path, char **cases, const struct result *res, int num,
		const struct options *opt);

#endif
