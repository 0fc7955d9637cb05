// SPDX-License-Identifier: MIT
/*
 * rdu generate: choosing a token on the host, as the card does in the entry point `generate`: from
 * the same logits the same token. The arithmetic is the card's (numerics.h), and what the compiler
 * makes of the rule is in tools/rduc/patterns_sample.c; this is the rule once more, with a sort.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include "generate.h"
#include "numerics.h"

/* Noise of Gumbel's distribution, -log(-log(1 - v)), for token `index` of a seed and candidate i: the same
 * wherever these are. */
static float noise(uint32_t seed, uint32_t index, uint32_t i)
{
	uint32_t bits = rdu_rng(rdu_rng(seed, index), i);
	float v = ((float)(int32_t)(bits >> 1) + 0.5f) * 0x1p-31f, few;

	v = v < 1 - 0x1p-24f ? v : 1 - 0x1p-24f;
	few = rdu_fma(v, rdu_fma(v, rdu_fma(v, 0.25f, 1 / 3.0f), 0.5f), 1);
	return -rdu_log(v < 0x1p-6f ? v * few : -rdu_log(1 - v));
}

/* qsort_r(): the best first. */
static int by_logit(const void *a, const void *b, void *logits)
{
	const float *l = logits;
	float x = l[*(const unsigned int *)a], y = l[*(const unsigned int *)b];

	return x > y ? -1 : x < y;
}

/* A token's weight as an integer, of all that are as good as the least one. */
static uint32_t whole_weight(const struct sampling *s, const float *logits, unsigned int i,
			     float most, float least, float scale)
{
	float w = rdu_exp((logits[i] - most) * (s->temperature > 0 ? 1 / s->temperature : 0));

	return logits[i] >= least ? rdu_f2i(w * scale) : 0;
}

/* The power of two by which the sum of weights is below 2^30, and above 2^28 or so. */
static float weight_scale(const struct sampling *s, const float *logits, unsigned int vocab,
			  float most, float least)
{
	uint32_t sum = vocab;

	for (unsigned int i = 0; i < vocab; i++)
		sum += whole_weight(s, logits, i, most, least, 4096);
	return rdu_f((295u << 23) - (rdu_u((float)(int32_t)sum) & 0x7f800000));
}

/* The least logit of the best tokens that together have a part of all weight. order: the best
 * first. */
static float least_of_part(const struct sampling *s, const float *logits, unsigned int vocab,
			   const unsigned int *order, float least)
{
	float most = logits[order[0]], scale = weight_scale(s, logits, vocab, most, least);
	uint32_t sum = 0, want;

	for (unsigned int i = 0; i < vocab; i++)
		sum += whole_weight(s, logits, i, most, least, scale);
	want = rdu_f2i((float)(int32_t)sum * s->top_p);
	sum = 0;
	for (unsigned int i = 0; i < vocab; i++) {
		sum += whole_weight(s, logits, order[i], most, least, scale);
		if (sum >= want && sum)
			return logits[order[i]];
	}
	return -INFINITY;
}

int64_t sample_token(const struct sampling *s, const float *logits, unsigned int vocab,
		     uint32_t index, unsigned int *scratch)
{
	float least = -INFINITY, best = -INFINITY, x;
	unsigned int at = 0, i;

	for (i = 0; i < vocab; i++) {
		if (!isfinite(logits[i]))
			return -1;
		scratch[i] = i;
	}
	if (s->top_k || s->top_p < 1)
		qsort_r(scratch, vocab, sizeof(*scratch), by_logit, (void *)logits);
	if (s->top_k && s->top_k <= vocab)
		least = logits[scratch[s->top_k - 1]];
	if (s->top_p < 1)
		least = fmaxf(least, least_of_part(s, logits, vocab, scratch, least));
	for (i = 0; i < vocab; i++) {
		if (logits[i] < least)
			continue;
		x = logits[i] + s->temperature * noise(s->seed, index, i);
		x = fmaxf(x, -FLT_MAX);
		if (x > best) {
			best = x;
			at = i;
		}
	}
	return at;
}
