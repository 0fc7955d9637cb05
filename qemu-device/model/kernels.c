// SPDX-License-Identifier: MIT
/* The portable kernels, and the choice of a table for this CPU. */
#include <stdlib.h>
#define KERNELS_NAME "portable"
#include "kernels_body.h"

static bool cpu_has(unsigned int table)
{
#ifdef __x86_64__
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
		return false;
	if (table == 1)
		return true;
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
	    !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
		return false;
	if (table == 2)
		return true;
	if (!__builtin_cpu_supports("avx512vnni"))
		return false;
	return table == 3 || __builtin_cpu_supports("avx512bf16");
#else
	(void)table;
	return false;
#endif
}

/* Are two fused multiply-adds faster than one dot product of bf16? Intel's take a cycle together,
 * and the dot product two. */
static bool dots_are_slow(void)
{
#ifdef __x86_64__
	__builtin_cpu_init();
	return __builtin_cpu_is("intel");
#else
	return false;
#endif
}

const struct rdu_kernels *rdu_kernels_nth(unsigned int n)
{
	const struct rdu_kernels *all[] = { &kernels,
					    rdu_kernels_avx2(),
					    rdu_kernels_avx512(),
					    rdu_kernels_avx512vnni(),
					    rdu_kernels_avx512bf16fma(),
					    rdu_kernels_avx512bf16() };

	for (unsigned int i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i] && (!i || cpu_has(i)) && !n--)
			return all[i];
	return NULL;
}

const struct rdu_kernels *rdu_kernels_get(void)
{
	const struct rdu_kernels *best = &kernels, *k;
	const char *want = getenv("RDU_KERNELS");

	for (unsigned int i = 0; (k = rdu_kernels_nth(i)); i++) {
		if (k != rdu_kernels_avx512bf16() || !dots_are_slow())
			best = k;
		if (want && !strcmp(want, k->name))
			return k;
	}
	return best;
}
