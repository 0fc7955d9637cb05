/* SPDX-License-Identifier: MIT */
/* The peer of matrix multiplication: oneDNN, through its C API (2.x, as in Debian 12, and 3.x). */
#ifndef TESTS_ONEDNN_H
#define TESTS_ONEDNN_H

#include <stdbool.h>

struct onednn_matmul;

/*
 * Starts the program anew without the variables of the environment that change what oneDNN
 * and its OpenMP do (DNNL_*, ONEDNN_*, OMP_*, GOMP_*, KMP_*), if there are any. To be called first.
 */
void onednn_clean_environment(char **argv);

/*
 * c = a x b, all n x n by rows, c in fp32, on `threads` threads. bf16: a and b are rounded
 * to bf16 here; b is laid out here as oneDNN likes it best. NULL where this processor has no
 * such kernel (bf16 needs AVX-512). Any other failure ends the program with a message.
 */
struct onednn_matmul *onednn_matmul_new(int n, bool bf16, int threads, const float *a,
					const float *b, float *c);
void onednn_matmul_run(struct onednn_matmul *m);
void onednn_matmul_free(struct onednn_matmul *m);

#endif
