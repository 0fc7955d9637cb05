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
 * Gives a QMP order; single quotes become double ones. With an event, waits for
 * a line of the monitor's that has it, too. Returns 0, or -1 after it printed
 * the monitor's answer.
 */
__attribute__((format(printf, 2, 0)))
static inline int monitor_tell(const char *event, const char *fmt, va_list args)
{
	static unsigned int number;
	bool negotiated = false, answered = false;
	char order[1024], line[4096], id[48];
	FILE *port = monitor_open();
	int ret = -1;

	vsnprintf(order, sizeof(order), fmt, args);
	for (char *c = order; *c; c++)
		if (*c == '\'')
			*c = '"';
	snprintf(id, sizeof(id), "\"%d.%u\"", getpid(), ++number);
	/* Refused, with no harm done, if the monitor has been talked to before. */
	fprintf(port, "{\"execute\": \"qmp_capabilities\", \"id\": %s}\n", id);
	while (fgets(line, sizeof(line), port)) {
		if (negotiated && event && strstr(line, event)) {
			event = NULL;
		} else if (!strstr(line, id)) {
			continue; /* the greeting, an event, what was left unread */
		} else if (!negotiated) {
			negotiated = true;
			fprintf(port, "{%s, \"id\": %s}\n", order, id);
			continue;
		} else if (strstr(line, "\"error\"")) {
			break;
		} else {
			answered = true;
		}
		if (answered && !event) {
			ret = 0;
			break;
		}
	}
	if (ret)
		printf("# monitor: %s\n# says: %s", order, line);
	fclose(port);
	return ret;
}

/* E.g. monitor("'execute': 'qom-set', 'arguments': {...}"). */
__attribute__((format(printf, 1, 2)))
static inline int monitor(const char *fmt, ...)
{
	va_list args;
	int ret;

	va_start(args, fmt);
	ret = monitor_tell(NULL, fmt, args);
	va_end(args);
	return ret;
}

/* The same, and waits until something has come of it. */
__attribute__((format(printf, 2, 3)))
static inline int monitor_until(const char *event, const char *fmt, ...)
{
	va_list args;
	int ret;

	va_start(args, fmt);
	ret = monitor_tell(event, fmt, args);
	va_end(args);
	return ret;
}

/* A row of the first card's queues in debugfs. */
struct queue_row {
	unsigned int number, status, head;
	unsigned long long tiles;
};

/* That of a queue, or of tiles if they are not 0: faults are armed by the queue. */
static inline struct queue_row queue_find(unsigned int number, unsigned long long tiles)
{
	struct queue_row row = { 0 };
	bool is = false;
	char line[256];
	glob_t found;
	FILE *file;

	if (glob("/sys/kernel/debug/accel/*/queues", 0, NULL, &found))
		SKIP("no debugfs");
	file = fopen(found.gl_pathv[0], "r");
	globfree(&found);
	ASSERT_TRUE(file);
	while (!is && fgets(line, sizeof(line), file))
		is = sscanf(line, "%u %llx %u %u", &row.number, &row.tiles, &row.status,
			    &row.head) == 4 &&
		     (tiles ? row.tiles == tiles : row.number == number);
	fclose(file);
	ASSERT_TRUE(is);
	return row;
}

/* Sets a property of the n-th card; value in QMP's form: "true", "3", "'x'". */
static inline int card_property(unsigned int card, const char *name, const char *value)
{
	return monitor("'execute': 'qom-set', 'arguments': {'path': '/machine/peripheral/rdu%u', "
		       "'property': '%s', 'value': %s}", card, name, value);
}

#endif
