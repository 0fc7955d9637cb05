/* SPDX-License-Identifier: MIT */
/* What chip.c and chip_text.c share. */
#ifndef RDU_CHIP_PRIV_H
#define RDU_CHIP_PRIV_H

#include <string.h>
#include "rdu_card.h"

enum {
#define CHIP_INDEX(i, f, u, d) CHIP_INDEX_##f = i,
	RDU_CHIP_FIELDS(CHIP_INDEX)
#undef CHIP_INDEX
};

#define CHIP_PROBLEM_SIZE 200 /* characters that a problem's text takes at most */

/* Told of everything that is wrong: "FIELD VALUE: must be LIMIT". */
typedef void (*rdu_chip_found)(void *opaque, int field, const char *text);

/* Everything that makes a chip impossible, but its name; of fields that are not in
 * `known` nothing is said. */
void rdu_chip_problems(const struct rdu_chip *chip, uint64_t known, rdu_chip_found found,
		       void *opaque);

#endif
