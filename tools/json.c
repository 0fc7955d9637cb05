// SPDX-License-Identifier: MIT
#include <math.h>
#include <stdint.h>
#include "json.h"

static void key(struct json *j, const char *k)
{
	if (j->comma)
		fputc(',', j->file);
	if (j->depth)
		fprintf(j->file, "\n%*s", (int)j->depth * 2, "");
	if (k)
		fprintf(j->file, "\"%s\": ", k);
	j->comma = true;
}

void json_open(struct json *j, FILE *file)
{
	*j = (struct json){ .file = file };
	json_begin(j, NULL, '{');
}

void json_close(struct json *j)
{
	json_end(j, '}');
	fputc('\n', j->file);
}

void json_begin(struct json *j, const char *k, char bracket)
{
	key(j, k);
	fputc(bracket, j->file);
	j->depth++;
	j->comma = false;
}

void json_end(struct json *j, char bracket)
{
	j->depth--;
	fprintf(j->file, "\n%*s%c", (int)j->depth * 2, "", bracket);
	j->comma = true;
}

/* Bytes of the UTF-8 sequence at p; 0: it is none. */
static int utf8(const unsigned char *p)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	int n = *p < 0x80 ? 1 : *p >> 5 == 6 ? 2 : *p >> 4 == 14 ? 3 : *p >> 3 == 30 ? 4 : 0;
	uint32_t c = n > 1 ? *p & (0x7fu >> n) : *p;

	for (int i = 1; i < n; i++) {
		if (p[i] >> 6 != 2)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	return n && c >= least[n] && c <= 0x10ffff && c >> 11 != 0xd800 >> 11 ? n : 0;
}

void json_quote(FILE *file, const char *value)
{
	const unsigned char *p = (const unsigned char *)value;

	fputc('"', file);
	while (*p) {
		int n = utf8(p);

		if (!n)
			fputs("\\ufffd", file);
		else if (*p == '"' || *p == '\\')
			fprintf(file, "\\%c", *p);
		else if (*p < 0x20)
			fprintf(file, "\\u%04x", *p);
		else
			fwrite(p, 1, (size_t)n, file);
		p += n ? n : 1;
	}
	fputc('"', file);
}

void json_string(struct json *j, const char *k, const char *value)
{
	key(j, k);
	json_quote(j->file, value);
}

void json_number(struct json *j, const char *k, double value)
{
	key(j, k);
	if (isfinite(value))
		fprintf(j->file, "%.9g", value);
	else
		fputs("null", j->file); /* JSON has no NaN */
}

void json_integer(struct json *j, const char *k, long long value)
{
	key(j, k);
	fprintf(j->file, "%lld", value);
}

void json_bool(struct json *j, const char *k, bool value)
{
	key(j, k);
	fputs(value ? "true" : "false", j->file);
}
