/* SPDX-License-Identifier: MIT */
/* What the compiler is at, for whoever waits for it: on standard error. */
#ifndef RDUC_PROGRESS_H
#define RDUC_PROGRESS_H

struct progress;

enum progress_when {
	PROGRESS_AUTO, /* after 2 seconds: a terminal's line is rewritten; else a line now and then */
	PROGRESS_ALWAYS, /* at once, all of it */
	PROGRESS_NEVER,
};

struct progress *progress_new(enum progress_when when);
/* What is being done now: "patterns". NULL: nobody wants to know. */
__attribute__((format(printf, 2, 3))) void progress_say(struct progress *p, const char *fmt, ...);
/* Takes the line away, for something else to be printed. */
void progress_hide(struct progress *p);
void progress_free(struct progress *p);

#endif
