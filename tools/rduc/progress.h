/* SPDX-License-Identifier: MIT */
/* What the compiler is at, for whoever waits for it. */
#ifndef RDUC_PROGRESS_H
#define RDUC_PROGRESS_H

struct progress {
	void (*say)(void *arg, const char *what); /* NULL: nobody wants to know */
	void *arg;
};

/* What is being done now: "patterns". A compile that has been cancelled ends here. p may be NULL. */
__attribute__((format(printf, 2, 3))) void progress_say(const struct progress *p, const char *fmt,
							...);

#endif
