// SPDX-License-Identifier: MIT
/*
 * rdu-plain-lm: goes on from a prompt as a language model of rdu-mkmodel does, in double precision and
 * with nothing but C's library: no compiler, no card, no cache, no state. A judge of rdu generate
 * (tests/e2e/generate-test), which is to share no code with it, and to stay plain.
 *
 *     rdu-plain-lm FAMILY WEIGHTS HEADS KV_HEADS LAYERS COUNT TEMPERATURE TOP_K TOP_P SEED
 *
 * FAMILY: gpt, llama, bitnet, matmulfree or rwkv4. WEIGHTS: of each weight a line "NAME ROWS COLUMNS"
 * (a vector is one row), then its fp32 numbers. Standard input: the prompt's token numbers; standard
 * output: COUNT more. TEMPERATURE 0: always the likeliest; TOP_K 0 and TOP_P 1: of all. All tokens are
 * read anew for each one.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct weight {
	char name[100];
	size_t rows, cols;
	double *v;
};

static struct weight *weights;
static size_t num_weights;

static struct {
	size_t heads, kv_heads, layers;
	int ternary; /* products are BitNet's */
} model;

static void load(FILE *f)
{
	struct weight w;
	float x;

	while (fscanf(f, "%99s %zu %zu", w.name, &w.rows, &w.cols) == 3) {
		int good = fgetc(f) == '\n';

		w.v = malloc(w.rows * w.cols * sizeof(*w.v));
		for (size_t i = 0; good && i < w.rows * w.cols; i++) {
			good = w.v && fread(&x, sizeof(x), 1, f) == 1;
			w.v[i] = good ? (double)x : 0;
		}
		weights = realloc(weights, (num_weights + 1) * sizeof(*weights));
		if (!good || !weights) {
			fprintf(stderr, "rdu-plain-lm: the weights end early\n");
			exit(1);
		}
		weights[num_weights++] = w;
	}
}

static const struct weight *get(const char *name)
{
	for (size_t i = 0; i < num_weights; i++)
		if (!strcmp(weights[i].name, name))
			return &weights[i];
	fprintf(stderr, "rdu-plain-lm: there is no weight '%s'\n", name);
	exit(1);
}

static char *at_layer(const char *family_path, size_t layer)
{
	static char path[200];

	snprintf(path, sizeof(path), family_path, layer);
	return path;
}

/* A name of two parts, which stays for the next calls. */
static const char *join(const char *a, const char *b)
{
	static char names[64][200];
	static unsigned int last;
	char *name = names[++last % 64];

	if (strlen(a) + strlen(b) >= sizeof(names[0]))
		exit(1);
	return strcat(strcpy(name, a), b);
}

static double *room(size_t count)
{
	double *v = calloc(count + 1, sizeof(*v));

	if (!v)
		exit(1);
	return v;
}

/* ---- what layers are made of --------------------------------------------------------------- */

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

static double sigmoid(double x)
{
	return 1 / (1 + exp(-x));
}

static void add(double *x, const double *y, size_t count)
{
	for (size_t i = 0; i < count; i++)
		x[i] += y[i];
}

/* Rows x[count][d], each normed with the weights of `path`. */
static double *layer_normed(const char *path, const double *x, size_t count)
{
	const struct weight *scale = get(join(path, ".weight")), *bias = get(join(path, ".bias"));
	size_t d = scale->cols;
	double *y = room(count * d);

	for (size_t t = 0; t < count; t++)
		layer_norm(y + t * d, x + t * d, d, scale->v, bias->v);
	return y;
}

static double *rms_normed(const char *path, const double *x, size_t count, double epsilon)
{
	const struct weight *scale = get(join(path, ".weight"));
	size_t d = scale->cols;
	double *y = room(count * d);

	for (size_t t = 0; t < count; t++) {
		double squares = 0;

		for (size_t i = 0; i < d; i++)
			squares += x[t * d + i] * x[t * d + i] / (double)d;
		for (size_t i = 0; i < d; i++)
			y[t * d + i] = x[t * d + i] / sqrt(squares + epsilon) * scale->v[i];
	}
	return y;
}

/* Rows times a matrix [d][n], plus a bias. */
static double *gemm(const char *path, const double *x, size_t count)
{
	const struct weight *w = get(join(path, ".weight")), *bias = get(join(path, ".bias"));
	double *y = room(count * w->cols);

	for (size_t t = 0; t < count; t++)
		for (size_t k = 0; k < w->cols; k++) {
			y[t * w->cols + k] = bias->v[k];
			for (size_t i = 0; i < w->rows; i++)
				y[t * w->cols + k] += x[t * w->rows + i] * w->v[i * w->cols + k];
		}
	return y;
}

/* Rows times a matrix [n][d], transposed. */
static double *linear(const char *path, const double *x, size_t count)
{
	const struct weight *w = get(join(path, ".weight"));
	double *y = room(count * w->rows);

	for (size_t t = 0; t < count; t++)
		for (size_t k = 0; k < w->rows; k++)
			for (size_t i = 0; i < w->cols; i++)
				y[t * w->rows + k] += x[t * w->cols + i] * w->v[k * w->cols + i];
	return y;
}

static double within(double x, double least, double most)
{
	return x < least ? least : x > most ? most : x;
}

/* BitNet b1.58: integers of 8 bits by a row's largest number, times -1, 0 and 1 by the weights' mean. */
static double *bit_linear(const char *path, const double *x, size_t count)
{
	const struct weight *w = get(join(path, ".weight"));
	double *y = room(count * w->rows), *z = rms_normed(join(path, ".norm"), x, count, 1e-8);
	double mean = 0;

	for (size_t i = 0; i < w->rows * w->cols; i++)
		mean += fabs(w->v[i]) / (double)(w->rows * w->cols);
	mean = mean < 1e-5 ? 1e-5 : mean;
	for (size_t t = 0; t < count; t++) {
		double most = 1e-5;

		for (size_t i = 0; i < w->cols; i++)
			most = fmax(most, fabs(z[t * w->cols + i]));
		for (size_t k = 0; k < w->rows; k++) {
			double sum = 0;

			for (size_t i = 0; i < w->cols; i++)
				sum += within(rint(z[t * w->cols + i] * 127 / most), -128, 127) *
				       within(rint(w->v[k * w->cols + i] / mean), -1, 1);
			y[t * w->rows + k] = sum * most / 127 * mean;
		}
	}
	free(z);
	return y;
}

/* nn.Linear of llama, or BitNet's, `part` of a layer. */
static double *projected(const char *layer, const char *part, const double *x, size_t count)
{
	const char *path;

	path = join(join(layer, "."), part);
	return (model.ternary ? bit_linear : linear)(path, x, count);
}

/* Each token's attention to those before it and itself. q: [count][stride], of which the first d are
 * `heads` heads; k and v likewise, with `kv` heads that are shared. */
static double *attend(const double *q, const double *k, const double *v, size_t stride,
		      size_t kv_stride, size_t count, size_t d, size_t heads, size_t kv)
{
	size_t w = d / heads;
	double *y = room(count * d), *p = room(count);

	for (size_t at = 0; at < count; at++)
		for (size_t h = 0; h < heads; h++) {
			size_t from = h / (heads / kv) * w;
			double sum = 0;

			for (size_t t = 0; t <= at; t++) {
				p[t] = 0;
				for (size_t i = 0; i < w; i++)
					p[t] += q[at * stride + h * w + i] *
						k[t * kv_stride + from + i];
				p[t] = exp(p[t] / sqrt((double)w));
				sum += p[t];
			}
			for (size_t t = 0; t <= at; t++)
				for (size_t i = 0; i < w; i++)
					y[at * d + h * w + i] +=
						p[t] / sum * v[t * kv_stride + from + i];
		}
	free(p);
	return y;
}

/* ---- the families: x[count][d], in place, from the embedding to what the last norm takes ---- */

/* A part of a layer: a function of x is added to it. */
static void add_and_free(double *x, double *y, size_t count)
{
	add(x, y, count);
	free(y);
}

static void gpt_layer(const char *layer, double *x, size_t count, size_t d)
{
	double *z = layer_normed(join(layer, ".ln_1"), x, count);
	double *qkv = gemm(join(layer, ".attn.c_attn"), z, count), *y;

	y = attend(qkv, qkv + d, qkv + 2 * d, 3 * d, 3 * d, count, d, model.heads, model.heads);
	add_and_free(x, gemm(join(layer, ".attn.c_proj"), y, count), count * d);
	free(z);
	free(qkv);
	free(y);
	z = layer_normed(join(layer, ".ln_2"), x, count);
	y = gemm(join(layer, ".mlp.c_fc"), z, count);
	for (size_t i = 0; i < count * 4 * d; i++)
		y[i] *= 0.5 *
			(1 + tanh(sqrt(2 / acos(-1)) * (y[i] + 0.044715 * y[i] * y[i] * y[i])));
	add_and_free(x, gemm(join(layer, ".mlp.c_proj"), y, count), count * d);
	free(z);
	free(y);
}

/* Heads w wide, turned by the angles of their places. */
static void rotate(double *x, size_t count, size_t heads, size_t w)
{
	for (size_t t = 0; t < count; t++)
		for (size_t h = 0; h < heads; h++)
			for (size_t i = 0; i < w / 2; i++) {
				double *a = x + (t * heads + h) * w + i, *b = a + w / 2, was = *a;
				double angle = (double)t * pow(10000, -2.0 * (double)i / (double)w);

				*a = was * cos(angle) - *b * sin(angle);
				*b = *b * cos(angle) + was * sin(angle);
			}
}

static void llama_layer(const char *layer, double *x, size_t count, size_t d)
{
	size_t w = d / model.heads, kv = w * model.kv_heads, inner;
	const char *path;
	double *z, *q, *k, *v, *y;

	path = join(layer, ".input_layernorm");
	z = rms_normed(path, x, count, 1e-6);
	q = projected(layer, "self_attn.q_proj", z, count);
	k = projected(layer, "self_attn.k_proj", z, count);
	v = projected(layer, "self_attn.v_proj", z, count);
	rotate(q, count, model.heads, w);
	rotate(k, count, model.kv_heads, w);
	y = attend(q, k, v, d, kv, count, d, model.heads, model.kv_heads);
	add_and_free(x, projected(layer, "self_attn.o_proj", y, count), count * d);
	free(z);
	free(q);
	free(k);
	free(v);
	free(y);
	path = join(layer, ".post_attention_layernorm");
	z = rms_normed(path, x, count, 1e-6);
	inner = get(join(layer, ".mlp.gate_proj.weight"))->rows;
	q = projected(layer, "mlp.gate_proj", z, count);
	k = projected(layer, "mlp.up_proj", z, count);
	for (size_t i = 0; i < count * inner; i++)
		q[i] *= sigmoid(q[i]) * k[i];
	add_and_free(x, projected(layer, "mlp.down_proj", q, count), count * d);
	free(z);
	free(q);
	free(k);
}

/* The least that element i forgets in a layer: of a softmax over the layers, the sum from the second to
 * this one. */
static double lower_bound(size_t layer, size_t i)
{
	const struct weight *w;
	double all = 0, some = 0;

	if (!layer)
		return 0;
	w = get("lower_bounds");
	for (size_t k = 0; k < w->rows; k++) {
		all += exp(w->v[k * w->cols + i]);
		some += k && k <= layer ? exp(w->v[k * w->cols + i]) : 0;
	}
	return some / all;
}

static void matmulfree_layer(size_t number, const char *layer, double *x, size_t count, size_t d)
{
	size_t inner = get(join(layer, ".mlp.down_proj.weight"))->cols;
	double *z, *f, *in, *g, *gate, *state = room(d), *y = room(count * (inner > d ? inner : d));
	const char *path;

	path = join(layer, ".attn_norm");
	z = rms_normed(path, x, count, 1e-6);
	f = projected(layer, "attn.f_proj", z, count);
	in = projected(layer, "attn.i_proj", z, count);
	g = projected(layer, "attn.g_proj", z, count);
	path = join(layer, ".attn.g_norm");
	gate = rms_normed(path, g, count, 1e-5);
	for (size_t t = 0; t < count; t++)
		for (size_t i = 0; i < d; i++) {
			double least = lower_bound(number, i), v = in[t * d + i];
			double keep = least + (1 - least) * sigmoid(f[t * d + i]);

			state[i] = keep * state[i] + v * sigmoid(v) * (1 - keep);
			y[t * d + i] = gate[t * d + i] * state[i] * sigmoid(state[i]);
		}
	add_and_free(x, projected(layer, "attn.o_proj", y, count), count * d);
	free(z);
	free(f);
	free(in);
	free(g);
	free(gate);
	free(state);
	path = join(layer, ".mlp_norm");
	z = rms_normed(path, x, count, 1e-6);
	g = projected(layer, "mlp.gate_proj", z, count);
	for (size_t t = 0; t < count; t++)
		for (size_t i = 0; i < inner; i++) {
			const double *both = g + t * 2 * inner;

			y[t * inner + i] = both[i] * sigmoid(both[i]) * both[inner + i];
		}
	add_and_free(x, projected(layer, "mlp.down_proj", y, count), count * d);
	free(z);
	free(g);
	free(y);
}

/* Rows mixed with the ones before them, times the weight of the same name. */
static double *mixed(const char *layer, const char *part, const double *x, size_t count, size_t d)
{
	const char *path;
	const struct weight *mu;
	double *y = room(count * d), *z;

	mu = get(join(join(layer, ".time_mix_"), (char[]){ *part, 0 }));
	for (size_t t = 0; t < count; t++)
		for (size_t i = 0; i < d; i++)
			y[t * d + i] = x[t * d + i] * mu->v[i] +
				       (t ? x[(t - 1) * d + i] : 0) * (1 - mu->v[i]);
	path = join(join(layer, "."), part);
	z = linear(path, y, count);
	free(y);
	return z;
}

/* Means of v, weighted by e^k, which decays with each token; a token's own has a bonus. */
static void decayed_means(const char *layer, const double *k, double *v, size_t count, size_t d)
{
	const struct weight *decay = get(join(layer, ".time_decay"));
	const struct weight *first = get(join(layer, ".time_first"));

	for (size_t at = count; at--;)
		for (size_t i = 0; i < d; i++) {
			double own = exp(k[at * d + i] + first->v[i]), all = own,
			       sum = own * v[at * d + i];

			for (size_t t = 0; t < at; t++) {
				double age = (double)(at - 1 - t);
				double e = exp(k[t * d + i] - age * exp(decay->v[i]));

				all += e;
				sum += e * v[t * d + i];
			}
			v[at * d + i] = sum / all;
		}
}

static void rwkv_layer(const char *layer, double *x, size_t count, size_t d)
{
	size_t inner;
	const char *path;
	double *z, *k, *v, *r;

	path = join(layer, ".ln1");
	z = layer_normed(path, x, count);
	path = join(layer, ".att");
	k = mixed(path, "key", z, count, d);
	v = mixed(path, "value", z, count, d);
	r = mixed(path, "receptance", z, count, d);
	decayed_means(path, k, v, count, d);
	for (size_t i = 0; i < count * d; i++)
		v[i] *= sigmoid(r[i]);
	path = join(layer, ".att.output");
	add_and_free(x, linear(path, v, count), count * d);
	free(z);
	free(k);
	free(v);
	free(r);
	path = join(layer, ".ln2");
	z = layer_normed(path, x, count);
	path = join(layer, ".ffn");
	k = mixed(path, "key", z, count, d);
	r = mixed(path, "receptance", z, count, d);
	inner = get(join(path, ".key.weight"))->rows;
	for (size_t i = 0; i < count * inner; i++)
		k[i] = k[i] > 0 ? k[i] * k[i] : 0;
	path = join(layer, ".ffn.value");
	v = linear(path, k, count);
	for (size_t i = 0; i < count * d; i++)
		x[i] += sigmoid(r[i]) * v[i];
	free(z);
	free(k);
	free(v);
	free(r);
}

static const char *table_of(const char *family)
{
	return !strcmp(family, "gpt")	  ? "wte.weight"
	       : !strcmp(family, "rwkv4") ? "emb.weight"
					  : "embed_tokens.weight";
}

/* Logits of the token behind `count`: one for each row of the table of tokens. */
static double *logits_of(const char *family, const size_t *token, size_t count)
{
	int gpt = !strcmp(family, "gpt"), rwkv = !strcmp(family, "rwkv4");
	int free_of_products = !strcmp(family, "matmulfree");
	const struct weight *table = get(table_of(family));
	const char *norm = gpt ? "ln_f" : rwkv ? "ln_out" : "norm";
	size_t d = table->cols;
	double *x = room(count * d), *y, *logits;

	model.ternary = free_of_products || !strcmp(family, "bitnet");
	for (size_t i = 0; i < count * d; i++)
		x[i] = table->v[token[i / d] * d + i % d] + (gpt ? get("wpe.weight")->v[i] : 0);
	if (rwkv) {
		y = layer_normed("blocks.0.ln0", x, count);
		free(x);
		x = y;
	}
	for (size_t i = 0; i < model.layers; i++) {
		if (gpt)
			gpt_layer(at_layer("h.%zu", i), x, count, d);
		else if (rwkv)
			rwkv_layer(at_layer("blocks.%zu", i), x, count, d);
		else if (free_of_products)
			matmulfree_layer(i, at_layer("layers.%zu", i), x, count, d);
		else
			llama_layer(at_layer("layers.%zu", i), x, count, d);
	}
	x = memmove(x, x + (count - 1) * d, d * sizeof(*x));
	y = gpt || rwkv ? layer_normed(norm, x, 1) : rms_normed(norm, x, 1, 1e-6);
	logits = gpt		    ? linear("wte", y, 1)
		 : free_of_products ? bit_linear("lm_head", y, 1)
				    : linear(rwkv ? "head" : "lm_head", y, 1);
	free(x);
	free(y);
	return logits;
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
	size_t *token = NULL, count = 0, want, next, vocab;
	FILE *f;

	if (argc != 11 || !(f = fopen(argv[2], "rb"))) {
		fprintf(stderr, "rdu-plain-lm: see the top of tests/e2e/plain_lm.c\n");
		return 2;
	}
	load(f);
	fclose(f);
	model.heads = strtoul(argv[3], NULL, 10);
	model.kv_heads = strtoul(argv[4], NULL, 10);
	model.layers = strtoul(argv[5], NULL, 10);
	want = strtoul(argv[6], NULL, 10);
	vocab = get(table_of(argv[1]))->rows;
	while (scanf("%zu", &next) == 1 && next < vocab) {
		token = realloc(token, (count + want + 1) * sizeof(*token));
		token[count++] = next;
	}
	if (!count) {
		fprintf(stderr, "rdu-plain-lm: no prompt\n");
		return 1;
	}
	for (size_t n = 0; n < want; n++) {
		double *logits = logits_of(argv[1], token, count);

		token[count] = choose(logits, vocab, (uint32_t)n, atof(argv[7]),
				      strtoul(argv[8], NULL, 10), atof(argv[9]),
				      (uint32_t)strtoul(argv[10], NULL, 10));
		printf("%zu\n", token[count++]);
		free(logits);
	}
	return 0;
}
