/* SPDX-License-Identifier: MIT */
/* rdu generate: the loop over tokens (generate.c), how one is chosen (sample.c), and what they are
 * to the user: text or numbers (prompt.c). */
#ifndef RDU_GENERATE_H
#define RDU_GENERATE_H

#include "rdu_tool.h"

/* How the next token is chosen of those that the logits rate; as the card takes it. */
struct sampling {
	float temperature; /* logits are divided by it; 0: always the best token */
	uint32_t top_k; /* only the best ones; 0: all */
	float top_p; /* only the best ones that together have this probability; 1: all */
	uint32_t seed;
};

/* The next token, number `index`. scratch: room for `vocab` numbers. -1: a logit is not finite. */
int64_t sample_token(const struct sampling *s, const float *logits, unsigned int vocab,
		     uint32_t index, unsigned int *scratch);

/* What to go on from: one of the three is not NULL. */
struct prompt {
	const char *text, *file, *tokens_file;
	unsigned int count;
	unsigned int *token; /* malloc */
};

/* 0, or EXIT_FAIL after a message. vocab: tokens that there are. */
int prompt_read(struct prompt *p, unsigned int vocab);
/* A token that was chosen; to standard output, at once. */
void prompt_print(const struct prompt *p, unsigned int token);
void prompt_print_end(const struct prompt *p);

#endif
