/* SPDX-License-Identifier: MIT */
/* What the compiler is at, on standard error. */
#ifndef RDUC_DISPLAY_H
#define RDUC_DISPLAY_H

struct display;

enum display_when {
	DISPLAY_AUTO, /* after 2 seconds: a terminal's line is rewritten; else a line now and then */
	DISPLAY_ALWAYS, /* at once, all of it */
	DISPLAY_NEVER,
};

struct display *display_new(enum display_when when); /* NULL: shows nothing */
void display_say(struct display *d, const char *what);
/* Takes the line away. */
void display_free(struct display *d);

#endif
