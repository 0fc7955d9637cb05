/* SPDX-License-Identifier: MIT */
/*
 * Programs of the literature as hand-written configurations, each with a plain C
 * reference: what `make validation` times against the published tables.
 */
#ifndef LITERATURE_H
#define LITERATURE_H

#include "cfgbuild.h"

#define LITERATURE_SEGMENTS 8

struct literature {
	const char *name, *size, *published; /* published: where, and under which conditions */
	double ms; /* published */
	uint32_t rows; /* of the published size; a multiple of 16 */
	uint32_t num_segments; /* columns of 32-bit words, the last one is the result */
	/* The configuration for `rows` rows, on plasticine's units; cfgb_finish() takes it. */
	struct cfgb *(*build)(const struct rdu_chip *chip, uint32_t rows);
	uint32_t (*result_rows)(uint32_t rows);
	/* Inputs, the same each time. */
	void (*fill)(uint32_t **column, uint32_t rows);
	/* Compares the result with a plain computation; 0, or -1 and a text. *worst: the
	 * largest relative error. */
	int (*check)(uint32_t *const *column, uint32_t rows, double *worst, char *text,
		     size_t size);
};

extern const struct literature literature_q6, literature_black_scholes;

/* A LOAD or STORE of so many vectors of a column, one after another. */
uint32_t literature_agcu(struct cfgb *b, enum rdu_kind kind, uint32_t unit, uint32_t segment,
			 uint32_t vectors);
/* A PCU's program that fires once a vector. */
uint32_t literature_pcu(struct cfgb *b, uint32_t unit, uint32_t vectors);
/* Numbers in [0, 1), the same each time. */
double literature_random(uint64_t *state);

struct literature_time {
	uint64_t card, cycles; /* by the card's clock, cycle by cycle */
	uint64_t bytes; /* to and from off-chip memory, cycle by cycle */
	double worst; /* relative error of the result */
};

/* Runs `rows` rows on the card's fabric and cycle by cycle, wants the same bits of both and
 * the right values. Columns lie one after another, each from a page on, `gap` bytes between
 * them. 0, or -1 and a text. */
int literature_run(const struct literature *l, const struct rdu_chip *chip, uint32_t rows,
		   uint64_t gap, struct literature_time *time, char *text, size_t size);

#endif
