// SPDX-License-Identifier: MIT
/*
 * rdu-plain-gpt: goes on from a prompt as a GPT of rdu-mkmodel does, in double precision and with
 * nothing but C's library: no compiler, no card, no cache. A judge of rdu generate
 * (tests/e2e/generate-test), which is to share no code with it, and to stay plain.
 *
 *     rdu-plain-gpt WEIGHTS VOCABULARY PLACES WIDTH HEADS LAYERS COUNT TEMPERATURE TOP_K TOP_P SEED
 *
 * WEIGHTS: fp32 numbers, in the order of load(). Standard input: the prompt's token numbers; standard
 * output: COUNT more. TEMPERATURE 0: always the likeliest; TOP_K 0 and TOP_P 1: of all.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct layer {
	double *ln1, *ln1_bias, *attn, *attn_bias, *proj, *proj_bias;
	double *ln2, *ln2_bias, *fc, *fc_bias, *out, *out_bias;
};

struct gpt {
	size_t vocab, places, width, heads, layers;
	double *wte, *wpe, *ln, *ln_bias;
	struct layer *layer;
};

static double *numbers(FILE *f, size_t count)
{
	double *v = malloc(count * sizeof(*v));
	float x;

	for (size_t i = 0; i < count; i++) {
		if (!v || fread(&x, sizeof(x), 1, f) != 1) {
			fprintf(stderr, "rdu-plain-gpt: the weights end early\n");
			exit(1);
		}
		v[i] = (double)x;
	}
	return v;
}

static void load(struct gpt *g, FILE *f)
{
	size_t d = g->width;

	g->wte = numbers(f, g->vocab * d);
	g->wpe = numbers(f, g->places * d);
	g->ln = numbers(f, d);
	g->ln_bias = numbers(f, d);
	g->layer = calloc(g->layers + 1, sizeof(*g->layer));
	for (size_t i = 0; i < g->layers; i++)
		g->layer[i] = (struct layer){
			.ln1 = numbers(f, d),
			.ln1_bias = numbers(f, d),
			.attn = numbers(f, d * 3 * d),
			.attn_bias = numbers(f, 3 * d),
			.proj = numbers(f, d * d),
			.proj_bias = numbers(f, d),
			.ln2 = numbers(f, d),
			.ln2_bias = numbers(f, d),
			.fc = numbers(f, d * 4 * d),
			.fc_bias = numbers(f, 4 * d),
			.out = numbers(f, 4 * d * d),
			.out_bias = numbers(f, d),
		};
	if (fgetc(f) != EOF) {
		fprintf(stderr, "rdu-plain-gpt: more weights than the model has\n");
		exit(1);
	}
}

static void layer_norm(double *y, const double *x, size_t d, const double *scale,
		       const double *bias)
{
	double mean = 0, var = 0;

	for (size_t i = 0; i < d; i++)
		mean += x[i] / (double)d;
	for (size_t i = 0; i < d; i++)
		var += (x[i] - mean) * (x[i] - mean) / (double)d;
	for (size_t i = 0; i < d; i++)
		y[i] = (x[i] - mean) / sqrt(var + 1e-5) * scale[i] + bias[i];
}

/* y[n] = x[d] matrix[d][n] + bias[n] */
static void product(double *y, const double *x, size_t d, size_t n, const double *matrix,
		    const double *bias)
{
	for (size_t k = 0; k < n; k++) {
		y[k] = bias[k];
		for (size_t i = 0; i < d; i++)
			y[k] += x[i] * matrix[i * n + k];
	}
}

/* The last token's attention to all `count`. qkv: [count][3][d] */
static void attend(double *y, const double *qkv, size_t at, size_t d, size_t heads)
{
	size_t w = d / heads;
	double p[at + 1];

	for (size_t h = 0; h < heads; h++) {
		const double *q = qkv + at * 3 * d + h * w;
		double sum = 0;

		for (size_t t = 0; t <= at; t++) {
			const double *k = qkv + t * 3 * d + d + h * w;

			p[t] = 0;
			for (size_t i = 0; i < w; i++)
				p[t] += q[i] * k[i];
			p[t] = exp(p[t] / sqrt((double)w));
			sum += p[t];
		}
		for (size_t i = 0; i < w; i++) {
			y[h * w + i] = 0;
			for (size_t t = 0; t <= at; t++)
				y[h * w + i] += p[t] / sum * qkv[t * 3 * d + 2 * d + h * w + i];
		}
	}
}

/* x[count][d], in place */
static void block(const struct gpt *g, const struct layer *l, double *x, size_t count)
{
	size_t d = g->width;
	double y[4 * d], z[4 * d], *qkv = malloc(count * 3 * d * sizeof(*qkv));

	for (size_t t = 0; t < count; t++) {
		layer_norm(y, x + t * d, d, l->ln1, l->ln1_bias);
		product(qkv + t * 3 * d, y, d, 3 * d, l->attn, l->attn_bias);
	}
	for (size_t t = 0; t < count; t++) {
		attend(y, qkv, t, d, g->heads);
		product(z, y, d, d, l->proj, l->proj_bias);
		for (size_t i = 0; i < d; i++)
			x[t * d + i] += z[i];
		layer_norm(y, x + t * d, d, l->ln2, l->ln2_bias);
		product(z, y, d, 4 * d, l->fc, l->fc_bias);
		for (size_t i = 0; i < 4 * d; i++)
			z[i] *= 0.5 * (1 + tanh(sqrt(2 / acos(-1)) *
						(z[i] + 0.044715 * z[i] * z[i] * z[i])));
		product(y, z, 4 * d, d, l->out, l->out_bias);
		for (size_t i = 0; i < d; i++)
			x[t * d + i] += y[i];
	}
	free(qkv);
}

static void logits_of(const struct gpt *g, const size_t *token, size_t count, double *logits)
{
	size_t d = g->width;
	double last[d], *x = malloc(count * d * sizeof(*x));

	for (size_t i = 0; i < count * d; i++)
		x[i] = g->wte[token[i / d] * d + i % d] + g->wpe[i];
	for (size_t i = 0; i < g->layers; i++)
		block(g, &g->layer[i], x, count);
	layer_norm(last, x + (count - 1) * d, d, g->ln, g->ln_bias);
	for (size_t v = 0; v < g->vocab; v++) {
		logits[v] = 0;
		for (size_t i = 0; i < d; i++)
			logits[v] += last[i] * g->wte[v * d + i];
	}
	free(x);
}

/* Philox 2x32-10 */
static uint32_t bits(uint32_t key, uint32_t counter)
{
	uint32_t left = counter, right = 0;

	for (int round = 0; round < 10; round++, key += 0x9e3779b9) {
		uint64_t both = 0xd256d193ull * left;

		left = (uint32_t)(both >> 32) ^ key ^ right;
		right = (uint32_t)both;
	}
	return left;
}

/* How many are better than x[i]. */
static size_t count_better(const double *x, size_t n, size_t i)
{
	size_t better = 0;

	for (size_t v = 0; v < n; v++)
		better += x[v] > x[i];
	return better;
}

/* May token i be chosen? Of the tokens with fewer than k better ones: if the better ones have less
 * than the part p of all their weight. */
static int may(const double *x, size_t n, size_t i, double t, size_t k, double p, double best)
{
	double all = 0, better = 0;

	for (size_t v = 0; v < n; v++) {
		double weight = exp((x[v] - best) / t);

		if (k && count_better(x, n, v) >= k)
			continue;
		all += weight;
		better += x[v] > x[i] ? weight : 0;
	}
	return (!k || count_better(x, n, i) < k) && (p >= 1 || better < p * all);
}

static size_t choose(const double *x, size_t n, uint32_t number, double t, size_t k, double p,
		     uint32_t seed)
{
	double best = x[0], score, most = -INFINITY;
	size_t at = 0;

	for (size_t i = 1; i < n; i++)
		best = x[i] > best ? x[i] : best;
	for (size_t i = 0; i < n; i++) {
		double v =
			((double)(bits(bits(seed, number), (uint32_t)i) >> 1) + 0.5) / 2147483648.0;

		score = t ? x[i] - t * log(-log1p(-v)) : x[i];
		if (score > most && (!t || may(x, n, i, t, k, p, best))) {
			most = score;
			at = i;
		}
	}
	return at;
}

int main(int argc, char **argv)
{
	struct gpt g;
	size_t *token, count = 0, want;
	double *logits;
	FILE *f;

	if (argc != 12 || !(f = fopen(argv[1], "rb"))) {
		fprintf(stderr, "rdu-plain-gpt: see the top of tests/e2e/plain_gpt.c\n");
		return 2;
	}
	g = (struct gpt){ .vocab = strtoul(argv[2], NULL, 10),
			  .places = strtoul(argv[3], NULL, 10),
			  .width = strtoul(argv[4], NULL, 10),
			  .heads = strtoul(argv[5], NULL, 10),
			  .layers = strtoul(argv[6], NULL, 10) };
	want = strtoul(argv[7], NULL, 10);
	load(&g, f);
	fclose(f);
	token = calloc(g.places + 1, sizeof(*token));
	logits = calloc(g.vocab, sizeof(*logits));
	while (count < g.places && scanf("%zu", &token[count]) == 1)
		count++;
	if (!count || count + want > g.places + 1) {
		fprintf(stderr, "rdu-plain-gpt: no prompt, or no places for it\n");
		return 1;
	}
	for (size_t n = 0; n < want; n++) {
		logits_of(&g, token, count, logits);
		token[count] = choose(logits, g.vocab, (uint32_t)n, atof(argv[8]),
				      strtoul(argv[9], NULL, 10), atof(argv[10]),
				      (uint32_t)strtoul(argv[11], NULL, 10));
		printf("%zu\n", token[count++]);
	}
	return 0;
}
