// SPDX-License-Identifier: MIT
/* rdu generate: the tokens to go on from, and those that come. Text is bytes, each a token, as rdu
 * train has it; token numbers are written with white space between them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "generate.h"

#define BYTES 256 /* tokens that text has */

/* Where bytes stop being UTF-8; `size`: nowhere. */
static size_t first_bad(const unsigned char *s, size_t size)
{
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
	size_t at = 0;

	while (at < size) {
		unsigned int more = s[at] < 0x80 ? 0 : s[at] < 0xe0 ? 1 : s[at] < 0xf0 ? 2 : 3, i;
		uint32_t code = more ? s[at] & (0x3f >> more) : s[at];

		if ((s[at] >= 0x80 && s[at] < 0xc2) || s[at] > 0xf4 || more >= size - at)
			return at;
		for (i = 1; i <= more; i++) {
			if ((s[at + i] & 0xc0) != 0x80)
				return at;
			code = code << 6 | (s[at + i] & 0x3f);
		}
		if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
			return at;
		at += more + 1;
	}
	return size;
}

/* malloc, with a zero behind it; NULL after a message. */
static char *read_file(const char *option, const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	char *data = NULL;
	size_t room = 0, n = 1;

	for (*size = 0; f && n; *size += n) {
		if (room - *size < 2) {
			room = 2 * room + 4096;
			data = realloc(data, room);
		}
		if (!data)
			break;
		n = fread(data + *size, 1, room - *size - 1, f);
	}
	if (!f || !data || ferror(f)) {
		fail("%s %s: %s", option, path, strerror(errno));
		free(data);
		data = NULL;
	} else {
		data[*size] = 0;
	}
	if (f)
		fclose(f);
	return data;
}

static int text_tokens(struct prompt *p, const char *option, const char *text, size_t size,
		       unsigned int vocab)
{
	size_t bad = first_bad((const unsigned char *)text, size), i;

	if (vocab != BYTES)
		return fail("%s: text has %u tokens, its bytes; the model's vocabulary has %u: "
			    "--tokens-file takes token numbers",
			    option, BYTES, vocab);
	if (bad < size)
		return fail("%s: not UTF-8 at byte %zu (0x%02x); --tokens-file takes any bytes, as "
			    "numbers",
			    option, bad, (unsigned char)text[bad]);
	p->token = xmalloc(size * sizeof(*p->token));
	for (i = 0; i < size; i++)
		p->token[i] = (unsigned char)text[i];
	p->count = size;
	return 0;
}

static int number_tokens(struct prompt *p, char *text, size_t size, unsigned int vocab)
{
	char *save, *word, *end;

	if (memchr(text, 0, size))
		return fail("--tokens-file %s: these are no token numbers: there is a zero byte",
			    p->tokens_file);
	p->token = xmalloc((size / 2 + 1) * sizeof(*p->token));
	for (word = strtok_r(text, " \t\r\n", &save); word;
	     word = strtok_r(NULL, " \t\r\n", &save)) {
		unsigned long n;

		errno = 0;
		n = strtoul(word, &end, 10);
		if (*word < '0' || *word > '9' || *end || errno)
			return fail("--tokens-file %s: number %u, \"%.20s\", is no token number",
				    p->tokens_file, p->count + 1, word);
		if (n >= vocab)
			return fail("--tokens-file %s: token %u is %lu; the vocabulary has %u "
				    "tokens, from 0 on",
				    p->tokens_file, p->count + 1, n, vocab);
		p->token[p->count++] = n;
	}
	return 0;
}

int prompt_read(struct prompt *p, unsigned int vocab)
{
	const char *option = p->text   ? "--prompt"
			     : p->file ? "--prompt-file"
				       : "--tokens-file",
		   *path = p->file ? p->file : p->tokens_file;
	char *data = NULL;
	size_t size = p->text ? strlen(p->text) : 0;
	int ret;

	if (!p->text && !(data = read_file(option, path, &size)))
		return EXIT_FAIL;
	if (p->tokens_file)
		ret = number_tokens(p, data, size, vocab);
	else
		ret = text_tokens(p, option, p->text ? p->text : data, size, vocab);
	free(data);
	if (!ret && !p->count)
		ret = fail("%s%s%s: it is empty: there is nothing to go on from", option,
			   p->text ? "" : " ", p->text ? "" : path);
	return ret;
}

void prompt_print(const struct prompt *p, unsigned int token)
{
	static bool begun;

	if (p->tokens_file)
		printf(begun ? " %u" : "%u", token);
	else if (isatty(1) && ((token < ' ' && token != '\n' && token != '\t') || token == 127))
		fputs("\xef\xbf\xbd", stdout); /* no byte of a model's may control the terminal */
	else
		putchar(token);
	begun = true;
	fflush(stdout);
}

void prompt_print_end(const struct prompt *p)
{
	if (p->tokens_file || isatty(1))
		putchar('\n');
	fflush(stdout);
}
