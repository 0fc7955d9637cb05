// SPDX-License-Identifier: MIT
/* rdu chip: chip descriptions, built in or a user's. */
#include <stdlib.h>
#include "rdu_tool.h"
#include "rdu_card.h"

static void list(void)
{
	const char *name, *source;
	unsigned int i;

	printf("chips\n");
	for (i = 0; (name = rdu_chip_builtin(i)); i++)
		printf("  %s\n", name);
	printf("families of off-chip memory, for `dram FAMILY` in a description file\n");
	for (i = 0; (name = rdu_chip_memory(i, &source)); i++)
		printf("  %-10s %s\n", name, source);
}

int cmd_chip(int argc, char **argv)
{
	static const struct option options[] = { HELP_OPTION, { 0 } };
	char error[RDU_CHIP_ERRORS], *text;
	struct rdu_chip chip;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		switch (c) {
		case 'h':
			return help("chip",
				    "  CHIP                 a name, or a description file: it is "
				    "checked, and printed\n"
				    "                       with every field explained; none: what "
				    "there is is listed\n");
		default:
			return EXIT_USAGE;
		}
	}
	if (optind + 1 < argc)
		return usage("chip", "\"%s\" is one argument too many", argv[optind + 1]);
	if (optind == argc) {
		list();
		return EXIT_OK;
	}
	if (rdu_chip_find(argv[optind], &chip, error, sizeof(error)))
		return fail("%s", error);
	text = rdu_chip_text(&chip);
	if (!text)
		return fail("out of memory");
	fputs(text, stdout);
	free(text);
	return EXIT_OK;
}
