// SPDX-License-Identifier: MIT
/*
 * How far from the interpreter's a right result may be where rounding matters much: after
 * cancellation, beside the border between two bf16 numbers. The interpreter runs the case
 * again, several times, each operation rounding at random (nest_eval_noisy). In bf16 each
 * contraction is then in bf16 or in fp32, at random: the compiler streams one through SIMD
 * stages, in fp32, where that costs less than an array does.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "diff.h"
#include "graph.h"

#define SAMPLES 16

static bool coin(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 63;
}

static void run_noisy(const struct module *m, const int *entry, int num, void *const *start,
		      void **data, bool bf16, uint64_t *state)
{
	for (int i = 0; i < m->num_tensors; i++) {
		const struct tensor *t = m->tensors[i];

		memcpy(data[i], start[i],
		       (size_t)dims_count(t->ndim, t->dim) * (size_t)dtype_bytes(t->dtype));
	}
	for (int k = 0; k < num; k++)
		for (int i = 0; i < m->entries[entry[k]].num_nests; i++)
			nest_eval_noisy(m->entries[entry[k]].nests[i], data, bf16 && coin(state),
					state);
}

double **noise_spread(const struct module *m, const int *entry, int num, void *const *start,
		      void *const *center, bool bf16)
{
	size_t tensors = (size_t)m->num_tensors;
	double **spread = calloc(tensors + 1, sizeof(*spread));
	void **data = calloc(tensors + 1, sizeof(*data));
	uint64_t state = 1;

	for (size_t i = 0; i < tensors; i++) {
		size_t n = (size_t)dims_count(m->tensors[i]->ndim, m->tensors[i]->dim);

		spread[i] = calloc(n + 1, sizeof(**spread));
		data[i] = calloc(n + 1, (size_t)dtype_bytes(m->tensors[i]->dtype));
	}
	for (int s = 0; s < SAMPLES; s++) {
		run_noisy(m, entry, num, start, data, bf16, &state);
		for (size_t i = 0; i < tensors; i++) {
			const struct tensor *t = m->tensors[i];

			for (int64_t k = 0; k < dims_count(t->ndim, t->dim); k++) {
				double off = fabs(element(data[i], t->dtype, k) -
						  element(center[i], t->dtype, k));

				if (isfinite(off))
					spread[i][k] = fmax(spread[i][k], off);
			}
		}
	}
	for (size_t i = 0; i < tensors; i++)
		free(data[i]);
	free(data);
	return spread;
}
