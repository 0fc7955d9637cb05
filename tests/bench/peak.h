/* SPDX-License-Identifier: MIT */
/* What this host's arithmetic can do at most, measured where it is compared with. */
#ifndef TESTS_PEAK_H
#define TESTS_PEAK_H

/* FLOP/s of `threads` threads that do nothing but multiply-add in registers, by
 * bf16 dot products where the CPU has them, else fp32 FMA. *what: which. */
double peak_flops(int threads, const char **what);

#endif
