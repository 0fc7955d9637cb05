// SPDX-License-Identifier: MIT
/* Training steps of a small GPT: 4 layers, d 256, 8 heads, 1024 tokens; T 128, batch 8. */
#include "train_step.h"

/* Multiply-adds of a token: weights, and attention's two products. */
#define TOKEN (4 * (12 * 256 * 256.0 + 2 * 128 * 256.0) + 1024 * 256.0)

int main(void)
{
	static const struct training t = {
		.name = "gpt_train_step",
		.model = "gpt --layers 4 --d 256 --heads 8 --t 128 --batch 8 --vocab 1024",
		.steps = 4,
		.macs = 3 * 8 * 128 * TOKEN,
	};

	train_step_bench(&t);
	return 0;
}
