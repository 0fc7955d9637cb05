/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Orders to the machine around us: QEMU's monitor (QMP) on a virtio port, if
 * the VM was started with MONITOR=yes. With it a test switches the card's
 * faults, takes a card away, or brings it back.
 */
#ifndef RDU_SELFTEST_MONITOR_H
#define RDU_SELFTEST_MONITOR_H

#include <glob.h>
#include <stdarg.h>

#include "harness.h"

/* The second port of the console's device; skips the test where there is none. */
static inline FILE *monitor_open(void)
{
	FILE *port = NULL;
	glob_t found;

	if (!glob("/dev/vport*p2", 0, NULL, &found))
		port = fopen(found.gl_pathv[0], "r+");
	globfree(&found);
	if (!port)
		SKIP("no monitor: start the VM with MONITOR=yes");
	setvbuf(port, NULL, _IONBF, 0);
	return port;
}

/*
 * Gives a QMP order, e.g. monitor("'execute': 'qom-set', 'arguments': {...}");
 * single quotes become double ones. Returns 0, or -1 after it printed the
 * monitor's answer.
 */
__attribute__((format(printf, 1, 2)))
static inline int monitor(const char *fmt, ...)
{
	static unsigned int number;
	char order[1024], line[4096], id[48];
	FILE *port = monitor_open();
	bool negotiated = false;
	va_list args;
	int ret = -1;

	va_start(args, fmt);
	vsnprintf(order, sizeof(order), fmt, args);
	va_end(args);
	for (char *c = order; *c; c++)
		if (*c == '\'')
			*c = '"';
	snprintf(id, sizeof(id), "\"%d.%u\"", getpid(), ++number);
	/* Refused, with no harm done, if the monitor has been talked to before. */
	fprintf(port, "{\"execute\": \"qmp_capabilities\", \"id\": %s}\n", id);
	while (fgets(line, sizeof(line), port)) {
		if (!strstr(line, id))
			continue; /* the greeting, an event, what was left unread */
		if (!negotiated) {
			negotiated = true;
			fprintf(port, "{%s, \"id\": %s}\n", order, id);
			continue;
		}
		ret = strstr(line, "\"error\"") ? -1 : 0;
		break;
	}
	if (ret)
		printf("# monitor: %s\n# says: %s", order, line);
	fclose(port);
	return ret;
}

/* Sets a property of the n-th card; value in QMP's form: "true", "3", "'x'". */
static inline int card_property(unsigned int card, const char *name, const char *value)
{
	return monitor("'execute': 'qom-set', 'arguments': {'path': '/machine/peripheral/rdu%u', "
		       "'property': '%s', 'value': %s}", card, name, value);
}

#endif
