// SPDX-License-Identifier: MIT
/* Training steps of the demonstration's network, batch 64. */
#include "train_step.h"

/* Multiply-adds of an image: two convolutions, two dense layers. A step has them three times:
 * forward, gradient of inputs, gradient of weights. */
#define IMAGE (28 * 28 * 16 * 9.0 + 14 * 14 * 32 * 144.0 + 1568 * 128.0 + 128 * 10.0)

int main(void)
{
	static const struct training t = { .name = "cnn_train_step",
					   .model = "cnn --batch 64",
					   .steps = 20,
					   .macs = 3 * 64 * IMAGE };

	train_step_bench(&t);
	return 0;
}
