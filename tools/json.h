/* SPDX-License-Identifier: MIT */
/*
 * Writing JSON, for the commands. In an array the keys are NULL.
 *
 *	struct json j;
 *
 *	json_open(&j, file);
 *	json_integer(&j, "tiles", 4);
 *	json_close(&j);
 */
#ifndef RDU_TOOLS_JSON_H
#define RDU_TOOLS_JSON_H

#include <stdbool.h>
#include <stdio.h>

struct json {
	FILE *file;
	unsigned int depth;
	bool comma;
};

void json_open(struct json *j, FILE *file);
void json_close(struct json *j);
void json_begin(struct json *j, const char *key, char bracket); /* '{' or '[' */
void json_end(struct json *j, char bracket); /* '}' or ']' */
/* A string without key or comma; a byte of no UTF-8 sequence becomes U+FFFD: JSON is UTF-8. */
void json_quote(FILE *file, const char *value);
void json_string(struct json *j, const char *key, const char *value);
void json_number(struct json *j, const char *key, double value);
void json_integer(struct json *j, const char *key, long long value);
void json_bool(struct json *j, const char *key, bool value);

#endif
