/* SPDX-License-Identifier: MIT */
/* What this host's arithmetic can do at most, measured where it is compared with. */
#ifndef TESTS_PEAK_H
#define TESTS_PEAK_H

#define PEAKS_MAX 4

struct peak {
	const char *name;
	double flops; /* FLOP/s of all threads; a multiply-add is two */
};

/*
 * Measures `threads` (1..64) threads that do nothing but multiply-add in registers, once
 * for each way this processor has: fp32 FMA (AVX-512, else AVX2, else scalar), bf16 dot
 * products (AVX512-BF16), bf16 tiles (AMX). Returns how many were written to `p`.
 */
int host_peaks(int threads, struct peak p[PEAKS_MAX]);

/* The highest of them, in FLOP/s; *what: its name. */
double peak_flops(int threads, const char **what);

#endif
