// SPDX-License-Identifier: MIT
#include <stdarg.h>
#include <stdio.h>
#include "mem.h"
#include "progress.h"

void progress_say(const struct progress *p, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	heap_check();
	if (!p || !p->say)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->say(p->arg, text);
}
