/* SPDX-License-Identifier: MIT */
/* What a graph computes of constants alone, row by row along the last axis. */
#ifndef RDUC_CONSTANT_ROWS_H
#define RDUC_CONSTANT_ROWS_H

#include "graph.h"

struct rows;

/* NULL: v, in fp32 or bf16, is not known while compiling, or not by operators that are known here. The graph
 * must not change while there are rows. */
struct rows *rows_new(const struct value *v);
/* As many elements as v's last axis has; row counts through the axes before it. */
void rows_get(struct rows *r, int64_t row, float *out);
void rows_free(struct rows *r);
/* f as a tensor of a type, fp32 or bf16, holds it. */
float rows_rounded(enum rdu_dtype dtype, float f);

#endif
