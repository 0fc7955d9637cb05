// SPDX-License-Identifier: MIT
/* Prints how many kilohertz this machine's time stamp counter has. */
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static uint64_t counter(void)
{
#if defined(__x86_64__)
	return __rdtsc();
#else
	return now(); /* what QEMU takes instead */
#endif
}

/* Both at one moment: again, if somebody else ran in between. */
static void look(uint64_t *ns, uint64_t *ticks)
{
	uint64_t before;

	do {
		before = now();
		*ticks = counter();
		*ns = now();
	} while (*ns - before > 20000);
}

int main(void)
{
	const struct timespec pause = { .tv_nsec = 50000000 };
	uint64_t ns[2], ticks[2];

	look(&ns[0], &ticks[0]);
	nanosleep(&pause, NULL);
	look(&ns[1], &ticks[1]);
	printf("%.0f\n", (double)(ticks[1] - ticks[0]) * 1e6 / (ns[1] - ns[0]));
	return 0;
}
