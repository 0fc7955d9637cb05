/* SPDX-License-Identifier: MIT */
/* Integers over a scale, as quantization-aware training leaves them in fp32 or bf16. */
#ifndef RDUC_SCALED_H
#define RDUC_SCALED_H

#include "graph.h"

/* The node of that operator that a value comes from; NULL: a constant, or another operator. */
const struct node *value_made_by(const struct value *v, const char *op);
/* Before casts between fp32 and bf16. */
struct value *value_past_casts(struct value *v);

struct scaled {
	struct value *whole, *scale; /* in fp32 or bf16 */
	int least, most; /* between these, which int8 or uint8 hold, are the whole numbers */
	bool divided; /* whole / scale, else whole * scale */
};

/* Is it that, by one scale in each row of the last axis? */
bool value_is_scaled(struct value *v, struct scaled *s);

#endif
