// SPDX-License-Identifier: MIT
/*
 * rdu stat: the columns of sntilestat. Shares are of the card's own clock, which
 * runs while there is work: with an owner, idle is time spent on the host.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "rdu_tool.h"

enum form { TABLE, CSV, JSON };

static void print_tile(enum form form, struct json *j, const struct rdu_tile_usage *u,
		       struct share s)
{
	char tile[40], command[256], user[33] = "", pid[16] = "";

	snprintf(tile, sizeof(tile), "/XRDU_0/RDU_0/TILE_%u", u->tile);
	double idle = s.idle + s.use[USE_COPY];

	command_of(u->pid, u->command, command, sizeof(command));
	if (u->pid) {
		snprintf(pid, sizeof(pid), "%d", u->pid);
		user_of(u->uid, user, sizeof(user));
	}
	switch (form) {
	case TABLE:
		printf("%-20s %5.1f %5.1f  %5.1f  %5.1f  %5.1f    %5.1f %6s %8s %.80s\n", tile,
		       idle, s.use[USE_EXEC], s.use[USE_PLOAD], s.use[USE_ALOAD], 0.0, 0.0, pid,
		       user, u->owned && !u->pid ? "(another user's)" : command);
		break;
	case CSV:
		printf("%s,%.2f,%.2f,%.2f,%.2f,%.2f,%.2f,%s,%s,\"", tile, idle, s.use[USE_EXEC],
		       s.use[USE_PLOAD], s.use[USE_ALOAD], 0.0, 0.0, pid, user);
		for (const char *p = command; *p; p++)
			printf(*p == '"' ? "\"\"" : "%c", *p);
		printf("\"\n");
		break;
	case JSON:
		json_begin(j, NULL, '{');
		json_string(j, "tile", tile);
		json_number(j, "idle", idle);
		json_number(j, "exec", s.use[USE_EXEC]);
		json_number(j, "pload", s.use[USE_PLOAD]);
		json_number(j, "aload", s.use[USE_ALOAD]);
		json_integer(j, "exec_cycles", u->exec_cycles);
		json_integer(j, "pload_cycles", u->pload_cycles);
		json_integer(j, "aload_cycles", u->aload_cycles);
		json_integer(j, "copy_cycles", u->copy_cycles);
		json_bool(j, "owned", u->owned);
		json_integer(j, "pid", u->pid);
		json_string(j, "user", user);
		json_string(j, "command", command);
		json_end(j, '}');
	}
}

static int sample(struct rdu_device *dev, enum form form, bool skip_idle, double interval,
		  unsigned int count)
{
	unsigned int tiles = rdu_device_chip(dev)->tiles, i, t;
	struct rdu_tile_usage *a = xcalloc(tiles, sizeof(*a)), *b = xcalloc(tiles, sizeof(*b));
	const struct timespec wait = { (time_t)interval, (interval - (time_t)interval) * 1e9 };
	struct json j;
	int ret = EXIT_OK;

	if (form == JSON) {
		json_open(&j, stdout);
		json_begin(&j, "samples", '[');
	} else if (form == CSV) {
		printf("TILE,%%idle,%%exec,%%pload,%%aload,%%chkpt,%%quiesce,PID,USER,COMMAND\n");
	}
	/* No interval: all since the driver was bound. */
	if (interval && rdu_device_get_usage(dev, a, tiles, sizeof(*a)) < 0)
		ret = EXIT_FAIL;
	for (i = 0; i < count && !ret; i++) {
		fflush(stdout);
		nanosleep(&wait, NULL);
		if (rdu_device_get_usage(dev, b, tiles, sizeof(*b)) < 0) {
			ret = EXIT_FAIL;
			break;
		}
		if (form == TABLE)
			printf("%sTILE                 %%idle %%exec %%pload %%aload %%chkpt "
			       "%%quiesce    "
			       "PID     USER COMMAND\n",
			       i ? "\n" : "");
		else if (form == JSON)
			json_begin(&j, NULL, '[');
		for (t = 0; t < tiles; t++) {
			struct share s = share_of_tile(&a[t], &b[t]);

			if (!skip_idle || b[t].owned || s.idle + s.use[USE_COPY] < 100)
				print_tile(form, &j, &b[t], s);
		}
		if (form == JSON)
			json_end(&j, ']');
		memcpy(a, b, tiles * sizeof(*a));
	}
	if (form == JSON) {
		json_end(&j, ']');
		json_close(&j);
	}
	free(a);
	free(b);
	return ret ? fail("%s", rdu_error_text(dev)) : EXIT_OK;
}

int cmd_stat(int argc, char **argv)
{
	static const struct option options[] = { DEVICE_OPTION,
						 JSON_OPTION,
						 HELP_OPTION,
						 { "interval", required_argument, NULL, 'i' },
						 { "count", required_argument, NULL, 'n' },
						 { "csv", no_argument, NULL, 'c' },
						 { "skip-idle", no_argument, NULL, 's' },
						 { 0 } };
	const char *device = default_device();
	double interval = 5, count = 1;
	enum form form = TABLE;
	bool skip_idle = false;
	struct rdu_device *dev;
	int c, ret;

	while ((c = getopt_long(argc, argv, "d:ji:n:csh", options, NULL)) >= 0) {
		switch (c) {
		case 'd':
			device = optarg;
			break;
		case 'j':
			form = JSON;
			break;
		case 'c':
			form = CSV;
			break;
		case 'i':
			if (!parse_number("-i", optarg, 0, 86400, &interval))
				return EXIT_USAGE;
			break;
		case 'n':
			if (!parse_count("--count", optarg, 1, 1e9, &count))
				return EXIT_USAGE;
			break;
		case 's':
			skip_idle = true;
			break;
		case 'h':
			return help(
				"stat", DEVICE_HELP
				"  -i, --interval SEC   between two readings (5); 0: all since the "
				"driver was bound\n"
				"  -n, --count N        samples (1)\n"
				"      --skip-idle      only tiles that have an owner or work\n"
				"      --csv, --json    for programs\n\n"
				"Shares are of the card's clock in the interval. %idle of a tile\n"
				"that has a PID is time on the host and on copies.\n");
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		return usage("stat", "\"%s\" is one argument too many", argv[optind]);
	if (rdu_open(device, &dev))
		ret = fail("%s", rdu_error_text(dev));
	else
		ret = sample(dev, form, skip_idle, interval, count);
	rdu_close(dev);
	return ret;
}
