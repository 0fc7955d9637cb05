// SPDX-License-Identifier: MIT
/*
 * Documentation/card.md and faults.md hold the tables of the headers, row by row.
 * `card_doc --print` writes them out, to be pasted.
 */
#include <stdarg.h>
#include "card_test.h"

struct table {
	const char *name;
	char text[16384];
	size_t n;
};

static struct table tables[7]; /* the last one is in faults.md */

__attribute__((format(printf, 2, 3))) static void row(struct table *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	t->n += (size_t)vsnprintf(t->text + t->n, sizeof(t->text) - t->n, fmt, ap);
	va_end(ap);
}

static void fill_tables(void)
{
	struct table *t = tables;
	struct rdu_chip sn10, pl;
	char e[200];

	rdu_chip_find("sn10", &sn10, e, sizeof(e));
	rdu_chip_find("plasticine", &pl, e, sizeof(e));

	t->name = "card registers";
#define R(n, off, acc, doc) row(t, "| 0x%03x | `%s` | %s | %s |\n", off, #n, acc, doc);
	RDU_REGS(R)
	t++;
	t->name = "queue registers";
	RDU_QUEUE_REGS(R)
#undef R
	t++;
	t->name = "commands";
#define OP(n, v, a, d) row(t, "| %d | `%s` | %s | %s |\n", v, #n, a ? "0" : "any", d);
	RDU_OPS(OP)
#undef OP
	t++;
	t->name = "faults";
#define FAULT(n, v, d) row(t, "| %d | `%s` | %s |\n", v, #n, d);
	RDU_FAULTS(FAULT)
#undef FAULT
	t++;
	t->name = "configuration errors";
#define ERR(n, v, d) row(t, "| %d | `%s` | %s |\n", v, #n, d);
	RDU_CFG_ERRORS(ERR)
#undef ERR
	t++;
	t->name = "chip fields";
#define FIELD(i, f, u, d)                                                   \
	row(t, "| %d | `%s` | %s | %u%s | %u%s | %s |\n", i, #f, u, sn10.f, \
	    sn10.assumed >> (i)&1 ? " *" : "", pl.f, pl.assumed >> (i)&1 ? " *" : "", d);
	RDU_CHIP_FIELDS(FIELD)
#undef FIELD
	t++;
	t->name = "faults on demand";
#define VALUE_QUEUE "queue, -1"
#define VALUE_COUNT "count"
#define VALUE_FLAG "on, off"
#define INJECT(n, p, k, d) row(t, "| `%s` | %s | %s |\n", p, VALUE_##k, d);
	RDU_INJECTS(INJECT)
#undef INJECT
}

static char *read_all(const char *path)
{
	char *text = NULL;
	FILE *f = fopen(path, "r");
	size_t n = 0, got;

	if (!f)
		return NULL;
	do {
		text = realloc(text, n + 65537);
		got = fread(text + n, 1, 65536, f);
		n += got;
		text[n] = 0;
	} while (got);
	fclose(f);
	return text;
}

int main(int argc, char **argv)
{
	char *doc = read_all("Documentation/card.md"),
	     *faults = read_all("Documentation/faults.md");
	unsigned int i;

	fill_tables();
	if (argc > 1 && !strcmp(argv[1], "--print")) {
		for (i = 0; i < 7; i++)
			printf("## %s\n\n%s\n", tables[i].name, tables[i].text);
		free(doc);
		free(faults);
		return 0;
	}
	if (!doc) {
		printf("1..0 # SKIP Documentation/card.md is not in the current folder\n");
		return 77;
	}
	for (i = 0; i < 6; i++)
		ok(strstr(doc, tables[i].text) != NULL, "card.md has the table of %s",
		   tables[i].name);
	ok(faults && strstr(faults, tables[6].text), "faults.md has the table of %s",
	   tables[6].name);
	free(doc);
	free(faults);
	return tap_done();
}
