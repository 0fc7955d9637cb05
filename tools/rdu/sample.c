// SPDX-License-Identifier: MIT
/* rdu generate: choosing a token. Random numbers are counted, not drawn: number n of a seed is the
 * same on every host, whatever was chosen before. */
#include <math.h>
#include <stdlib.h>
#include "generate.h"

static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

double sample_uniform(uint64_t seed, uint64_t index)
{
	return (mix(mix(seed) + (index + 1) * 0x9e3779b97f4a7c15ull) >> 11) * 0x1p-53;
}

/* qsort_r(): the best first, of equal ones the first. */
static int by_logit(const void *a, const void *b, void *logits)
{
	unsigned int i = *(const unsigned int *)a, k = *(const unsigned int *)b;
	const float *l = logits;

	if (l[i] != l[k])
		return l[i] > l[k] ? -1 : 1;
	return i < k ? -1 : 1;
}

static unsigned int best(const float *logits, unsigned int vocab)
{
	unsigned int at = 0, i;

	for (i = 1; i < vocab; i++)
		if (logits[i] > logits[at])
			at = i;
	return at;
}

int64_t sample_token(const struct sampling *s, const float *logits, unsigned int vocab,
		     uint64_t index, unsigned int *scratch)
{
	unsigned int num = s->top_k && s->top_k < vocab ? s->top_k : vocab, kept, i;
	double sum = 0, part = 0, at;

	for (i = 0; i < vocab; i++) {
		if (!isfinite(logits[i]))
			return -1;
		scratch[i] = i;
	}
	if (!s->temperature)
		return best(logits, vocab);
	qsort_r(scratch, vocab, sizeof(*scratch), by_logit, (void *)logits);
#define WEIGHT(i) exp(((double)logits[scratch[i]] - logits[scratch[0]]) / s->temperature)
	for (i = 0; i < num; i++)
		sum += WEIGHT(i);
	for (kept = 0; kept < num && (!kept || part < s->top_p * sum); kept++)
		part += WEIGHT(kept);
	at = sample_uniform(s->seed, index) * part;
	for (i = 0, part = 0; i + 1 < kept; i++) {
		part += WEIGHT(i);
		if (part > at)
			break;
	}
#undef WEIGHT
	return scratch[i];
}
