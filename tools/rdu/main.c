// SPDX-License-Identifier: MIT
/* rdu: look at cards, run programs on them. One subcommand a file. */
#include <stdlib.h>
#include <string.h>
#include "rdu_tool.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *args, *text;
} commands[] = {
#define COMMAND(n, a, t) { #n, cmd_##n, a, t },
	COMMANDS(COMMAND)
#undef COMMAND
};

#define NUM_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* Commands of two words have a dash between them. */
static const char *typed(const char *name)
{
	static char text[32];
	char *to = text;

	for (; *name && to < text + sizeof(text) - 1; name++)
		*to++ = *name == '_' ? '-' : *name;
	*to = 0;
	return text;
}

static void list(FILE *f)
{
	size_t i;

	fprintf(f, "usage: rdu COMMAND [...]\n\n");
	for (i = 0; i < NUM_COMMANDS; i++)
		fprintf(f, "  %-12s %s\n", typed(commands[i].name), commands[i].text);
	fprintf(f, "\n`rdu COMMAND --help` tells more. All but `dump` and `chip` take --device\n"
		   "WHERE: auto, a PCI address, a /dev/accel node, or model:CHIP (a card in this\n"
		   "process: no driver, no root).\n"
		   "Exit code: 0 done, 1 failed, 2 wrong usage.\n");
}

int help(const char *command, const char *options)
{
	size_t i;

	for (i = 0; i < NUM_COMMANDS; i++)
		if (!strcmp(typed(commands[i].name), command))
			printf("usage: rdu %s %s\n\nrdu %s: %s\n\n%s", command, commands[i].args,
			       command, commands[i].text, options);
	return EXIT_OK;
}

const char *default_device(void)
{
	return getenv("RDU_DEVICE");
}

int main(int argc, char **argv)
{
	char name[64];
	size_t i;
	int ret;

	if (argc < 2) {
		list(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		list(stdout);
		return EXIT_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("rdu %s\n", rdu_version());
		return EXIT_OK;
	}
	for (i = 0; i < NUM_COMMANDS; i++) {
		if (strcmp(typed(commands[i].name), argv[1]))
			continue;
		snprintf(name, sizeof(name), "rdu %s", argv[1]);
		argv[1] = name; /* what getopt_long() says begins with it */
		ret = commands[i].run(argc - 1, argv + 1);
		/* A full disk must not look like success. */
		if (fflush(stdout) || ferror(stdout))
			return ret ? ret : fail("standard output: write error");
		return ret;
	}
	fprintf(stderr, "rdu: no command \"%s\"\n\n", argv[1]);
	list(stderr);
	return EXIT_USAGE;
}
