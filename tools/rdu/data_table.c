// SPDX-License-Identifier: MIT
/* Tables: each row an example, each input some of the columns. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "data.h"

#define MAX_COLUMNS 65536

/* ---- which columns ------------------------------------------------------------------- */

/* "7", "2-5" or a name: the first and the last column. */
static int one_columns(const char *path, const char *text, size_t n, unsigned int cols,
		       char *const *names, unsigned int *from, unsigned int *to)
{
	char *end;

	for (*from = 0; names && *from < cols; ++*from)
		if (strlen(names[*from]) == n && !strncmp(names[*from], text, n)) {
			*to = *from;
			return 0;
		}
	*from = *to = strtoul(text, &end, 10);
	if (end != text && *end == '-' && end + 1 < text + n)
		*to = strtoul(end + 1, &end, 10);
	if (end == text + n && n && *from >= 1 && *to >= *from && *to <= cols) {
		--*from;
		--*to;
		return 0;
	}
	return fail("--columns: \"%.*s\" is no column of %s: there are 1 to %u%s", (int)n, text,
		    path, cols, names ? ", and the names in its first line" : "");
}

/* The columns of NAME=..., as many as the field takes. */
static int listed(const char *path, const struct field *f, const char *text, unsigned int cols,
		  char *const *names, unsigned int *list)
{
	size_t width = field_width(f, NULL), have = 0;

	while (*text) {
		size_t n = strcspn(text, ",");
		unsigned int from, to;

		if (one_columns(path, text, n, cols, names, &from, &to))
			return EXIT_FAIL;
		for (; from <= to; from++, have++)
			if (have < width)
				list[have] = from;
		text += n + (text[n] == ',');
	}
	return have == width ? 0
			     : fail("--columns %s=...: %zu columns, an example of \"%s\" has %zu "
				    "numbers",
				    f->sym->name, have, f->sym->name, width);
}

static int by_order(const struct dataset *d, const char *path, unsigned int cols,
		    unsigned int *const *list)
{
	char text[1000] = "";
	size_t at = 0, all = 0, i;
	unsigned int k;

	for (k = 0; k < d->num_fields; k++) {
		size_t width = field_width(&d->field[k], NULL);

		for (i = 0; i < width; i++)
			list[k][i] = all + i;
		all += width;
		if (at < sizeof(text))
			at += snprintf(text + at, sizeof(text) - at, "%s%zu for \"%s\"",
				       k ? ", " : "", width, d->field[k].sym->name);
	}
	return all == cols ? 0
			   : fail("%s: %u columns; an example takes %s: --columns NAME=COLUMN,... "
				  "says which",
				  path, cols, text);
}

static int choose_columns(const struct dataset *d, const struct data_options *o, const char *path,
			  unsigned int cols, char *const *names, unsigned int *const *list)
{
	unsigned int i, k;

	if (!o->num_columns)
		return by_order(d, path, cols, list);
	for (k = 0; k < d->num_fields; k++) {
		const char *name = d->field[k].sym->name, *text = NULL;
		size_t n = strlen(name);

		for (i = 0; i < o->num_columns; i++)
			if (!strncmp(o->columns[i], name, n) && o->columns[i][n] == '=')
				text = o->columns[i] + n + 1;
		if (!text)
			return fail("--columns: none for input \"%s\"", name);
		if (listed(path, &d->field[k], text, cols, names, list[k]))
			return EXIT_FAIL;
	}
	return 0;
}

int data_table(struct dataset *d, const struct data_options *o, const char *path,
	       const struct tensor *t, char *const *names)
{
	size_t rows = t->dims[0], cols = t->dims[1], r, i;
	unsigned int *list[MAX_FIELDS], k;
	int ret;

	for (k = 0; k < d->num_fields; k++)
		list[k] = xcalloc(field_width(&d->field[k], NULL), sizeof(**list));
	ret = choose_columns(d, o, path, cols, names, list);
	for (k = 0; !ret && k < d->num_fields; k++) {
		struct field *f = &d->field[k];
		size_t outer, width = field_width(f, &outer);
		struct tensor own = { .dtype = RDU_DT_F64, .size = 8 * rows * width };
		double *to = own.data = xmalloc(own.size);

		for (r = 0; r < rows; r++)
			for (i = 0; i < width; i++)
				to[r * width + i] =
					data_element(t->data, t->dtype, r * cols + list[k][i]);
		f->path = path;
		f->data = data_own(d, &own)->data;
		f->dtype = RDU_DT_F64;
		f->stride = width;
		f->outer = width / outer;
	}
	for (k = 0; k < d->num_fields; k++)
		free(list[k]);
	d->unit = "rows";
	d->units = 1;
	d->count = rows;
	return ret;
}

/* ---- CSV --------------------------------------------------------------------------------- */

/* Cuts a line into its fields, in place; quotes around one are taken off. Their number. */
static unsigned int cut(char *line, char **field, unsigned int room)
{
	unsigned int n = 0;
	char *to;

	for (;;) {
		if (n < room)
			field[n] = to = line;
		else
			return room + 1;
		if (*line == '"') {
			for (line++; *line && (*line != '"' || line[1] == '"'); *to++ = *line++)
				line += *line == '"';
			line += *line == '"';
		}
		while (*line && *line != ',')
			*to++ = *line++;
		n++;
		if (!*line) {
			*to = 0;
			return n;
		}
		*to = 0;
		line++;
	}
}

static bool number(const char *text, double *v)
{
	char *end;

	*v = strtod(text, &end);
	while (*end == ' ')
		end++;
	return end != text && !*end;
}

struct csv {
	const char *path;
	FILE *file;
	unsigned int line, cols;
	char **field, *names[MAX_COLUMNS];
	double *data;
	size_t rows, room;
};

static int csv_row(struct csv *c, char *line)
{
	unsigned int n = cut(line, c->field, MAX_COLUMNS), i;
	bool first = !c->cols, named = false;
	double v;

	if (n > MAX_COLUMNS)
		return fail("%s:%u: more than %d columns", c->path, c->line, MAX_COLUMNS);
	if (first)
		c->cols = n;
	if (n != c->cols)
		return fail("%s:%u: %u columns, the first line has %u", c->path, c->line, n,
			    c->cols);
	for (i = 0; first && i < n; i++)
		named |= !number(c->field[i], &v);
	for (i = 0; named && i < n; i++)
		c->names[i] = strdup(c->field[i]);
	if (named)
		return 0;
	if (c->rows == c->room) {
		c->room = c->room ? 2 * c->room : 1024;
		c->data = realloc(c->data, c->room * c->cols * sizeof(*c->data));
		if (!c->data)
			return fail("%s: out of memory", c->path);
	}
	for (i = 0; i < n; i++) {
		if (!number(c->field[i], &v) || !isfinite(v))
			return fail("%s:%u: column %u: \"%.40s\" is no finite number", c->path,
				    c->line, i + 1, c->field[i]);
		c->data[c->rows * c->cols + i] = v;
	}
	c->rows++;
	return 0;
}

static int csv_lines(struct csv *c)
{
	char *line = NULL;
	size_t room = 0;
	unsigned int blank = 0;
	ssize_t n;
	int ret = 0;

	while (!ret && (n = getline(&line, &room, c->file)) > 0) {
		c->line++;
		if (memchr(line, 0, n)) {
			ret = fail("%s:%u: a byte of zero: this is no text", c->path, c->line);
			break;
		}
		while (n && (line[n - 1] == '\n' || line[n - 1] == '\r'))
			line[--n] = 0;
		if (!n)
			blank = blank ? blank : c->line;
		else if (blank)
			ret = fail("%s:%u: an empty line", c->path, blank);
		else
			ret = csv_row(c, line);
	}
	if (!ret && ferror(c->file))
		ret = fail("%s: %s", c->path, strerror(errno));
	free(line);
	return ret;
}

int data_csv(struct dataset *d, const struct data_options *o, const char *path)
{
	struct csv *c = xcalloc(1, sizeof(*c));
	struct tensor t = { .dtype = RDU_DT_F64, .ndim = 2 };
	unsigned int i;
	int ret;

	c->path = path;
	c->file = fopen(path, "re");
	c->field = xmalloc(MAX_COLUMNS * sizeof(*c->field));
	ret = c->file ? csv_lines(c) : fail("%s: %s", path, strerror(errno));
	if (!ret && !c->rows)
		ret = fail("%s: there is nothing in it", path);
	if (!ret) {
		t.dims[0] = c->rows;
		t.dims[1] = c->cols;
		t.data = c->data;
		ret = data_table(d, o, path, &t, c->names[0] ? c->names : NULL);
	}
	for (i = 0; i < c->cols; i++)
		free(c->names[i]);
	free(c->data);
	free(c->field);
	if (c->file)
		fclose(c->file);
	free(c);
	return ret;
}
