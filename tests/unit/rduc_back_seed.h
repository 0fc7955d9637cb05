/* SPDX-License-Identifier: MIT */
/* Numbers at random for tests of the back half, the same for a seed. */
#ifndef RDUC_BACK_SEED_H
#define RDUC_BACK_SEED_H

#include <stdint.h>

static uint64_t seed;

/* One of 0 to below - 1. */
static uint32_t number(uint32_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % below;
}

#endif
