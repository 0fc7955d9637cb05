// SPDX-License-Identifier: MIT
/*
 * Nothing behind the fabric's back: what runs is the configuration in the
 * program file. Compiles a small network, swaps one opcode, one stride, one
 * counter limit, one token, one buffer's number of copies or one route in the image, and wants to
 * see the result change or the load refused with a code and a place. A card that computed "Conv" from
 * the operator's name would not notice.
 */
#include "e2e.h"
#include "rdu/config.h"

enum swap {
	SWAP_OPCODE,
	SWAP_STRIDE,
	SWAP_SYSTOLIC,
	SWAP_ROUTE,
	SWAP_COUNTER,
	SWAP_TOKEN,
	SWAP_COPIES,
	SWAP_CHOICE,
	SWAPS
};

static const char *const swap_name[] = { "opcode",  "stride", "systolic step", "route",
					 "counter", "token",  "copies",	       "sampler's opcode" };

struct image {
	uint8_t *bytes;
	size_t size;
};

static struct rdu_cfg_header *section(struct image *im, unsigned int i)
{
	struct rdu_prog_header *h = (void *)im->bytes;
	struct rdu_prog_section *s = (void *)(im->bytes + h->sections_off);

	return (void *)(im->bytes + s[i].offset);
}

static unsigned int num_sections(struct image *im)
{
	return ((struct rdu_prog_header *)im->bytes)->num_sections;
}

static void *table(struct rdu_cfg_header *h, struct rdu_cfg_table t)
{
	return (uint8_t *)h + t.offset;
}

/* Does a program wait by both edges for the same? Without one of them, it still waits by the other. */
static bool waits_alike(const struct rdu_cfg_token *a, const struct rdu_cfg_token *b)
{
	return a->dst == b->dst && a->dst_mask == b->dst_mask && a->initial == b->initial;
}

static bool waits_as_before(const struct rdu_cfg_token *t, uint32_t i)
{
	for (uint32_t j = 0; j < i; j++)
		if (waits_alike(&t[j], &t[i]))
			return true;
	return false;
}

static uint8_t other_op(uint8_t op)
{
	switch (op) {
	case RDU_SIMD_FADD:
		return RDU_SIMD_FSUB;
	case RDU_SIMD_FSUB:
		return RDU_SIMD_FADD;
	case RDU_SIMD_FMUL:
		return RDU_SIMD_FADD;
	case RDU_SIMD_FMAX:
		return RDU_SIMD_FMIN;
	case RDU_SIMD_FMIN:
		return RDU_SIMD_FMAX;
	case RDU_SIMD_FNEG:
		return RDU_SIMD_FABS;
	case RDU_SIMD_EXP:
		return RDU_SIMD_TANH;
	case RDU_SIMD_RECIP:
		return RDU_SIMD_SQRT;
	}
	return op;
}

/* Operations of which only the sampler has any, so that tokens must be others. */
static uint8_t other_choice(uint8_t op)
{
	switch (op) {
	case RDU_SIMD_LOG:
		return RDU_SIMD_EXP;
	case RDU_SIMD_SHR:
		return RDU_SIMD_SHL;
	case RDU_SIMD_RNG:
		return RDU_SIMD_F2BF_SR;
	}
	return op;
}

/*
 * Makes the k-th swap of a kind in the image; false if there are fewer.
 * *what says in words what was swapped.
 */
static bool swap(struct image *im, enum swap kind, int k, char *what, size_t size)
{
	for (unsigned int s = 0; s < num_sections(im); s++) {
		struct rdu_cfg_header *h = section(im, s);
		struct rdu_cfg_program *p = table(h, h->programs);
		uint8_t *bodies = table(h, h->bodies);
		struct rdu_cfg_link *l = table(h, h->links);
		struct rdu_cfg_token *t = table(h, h->tokens);
		struct rdu_cfg_buffer *f = table(h, h->buffers);

		for (uint32_t i = 0; kind == SWAP_COPIES && i < h->buffers.count; i++) {
			if (f[i].copies < 2 || k--)
				continue;
			snprintf(what, size, "section %u buffer %u: %u copies -> %u", s, i,
				 f[i].copies, f[i].copies - 1);
			f[i].copies--;
			return true;
		}

		for (uint32_t i = 0; kind == SWAP_TOKEN && i < h->tokens.count; i++) {
			if (waits_as_before(t, i) || k--)
				continue;
			snprintf(what, size, "section %u edge %u: %u -> %u tokens at first", s, i,
				 t[i].initial, !t[i].initial);
			for (uint32_t j = h->tokens.count; j-- > i;)
				if (waits_alike(&t[j], &t[i]))
					t[j].initial = !t[j].initial;
			return true;
		}

		for (uint32_t i = 0; kind == SWAP_ROUTE && i < h->links.count; i++) {
			if (k--)
				continue;
			snprintf(what, size, "section %u link %u: direction %u -> %u", s, i,
				 l[i].dir, (l[i].dir + 2) & 3);
			l[i].dir = (l[i].dir + 2) & 3;
			return true;
		}
		for (uint32_t i = 0; i < h->programs.count; i++) {
			struct rdu_cfg_simd *b = (void *)(bodies + p[i].body);
			struct rdu_cfg_systolic *y = (void *)(bodies + p[i].body);
			struct rdu_cfg_access *a = (void *)(bodies + p[i].body);

			if ((kind == SWAP_OPCODE || kind == SWAP_CHOICE) &&
			    p[i].kind == RDU_KIND_SIMD) {
				for (int j = 0; j < b->num_stages + b->num_tail; j++) {
					uint8_t to = kind == SWAP_CHOICE
							     ? other_choice(b->stage[j].op)
							     : other_op(b->stage[j].op);

					if (to == b->stage[j].op || k--)
						continue;
					snprintf(what, size,
						 "section %u program %u stage %d: op %u -> %u", s,
						 i, j, b->stage[j].op, to);
					b->stage[j].op = to;
					return true;
				}
			} else if (kind == SWAP_STRIDE && p[i].kind >= RDU_KIND_READ) {
				for (int j = 0; j < p[i].num_counters; j++) {
					if (!a->stride[j] || k--)
						continue;
					snprintf(what, size,
						 "section %u program %u stride %d: %lld -> %lld", s,
						 i, j, (long long)a->stride[j],
						 (long long)a->stride[j] - 1);
					a->stride[j]--;
					return true;
				}
			} else if (kind == SWAP_SYSTOLIC && p[i].kind == RDU_KIND_SYSTOLIC) {
				/* One lane less in the array: the last column is gone. */
				if (k--)
					continue;
				snprintf(what, size, "section %u program %u: columns %u -> %u", s,
					 i, y->cols, y->cols - 1);
				y->cols--;
				return true;
			} else if (kind == SWAP_COUNTER) {
				for (int j = 0; j < p[i].num_counters; j++) {
					struct rdu_cfg_counter *c = &p[i].counter[j];

					if (c->limit_kind != RDU_LIMIT_IMM ||
					    c->limit - c->start <= c->step || k--)
						continue;
					snprintf(what, size,
						 "section %u program %u counter %d: limit %d -> %d",
						 s, i, j, c->limit, c->limit - c->step);
					c->limit -= c->step;
					return true;
				}
			}
		}
	}
	return false;
}

/* Writes the file with another image. */
static int rewrite(struct rdu_file *f, const struct image *im, const char *path)
{
	unsigned int nr = rdu_file_num_regions(f), ns = rdu_file_num_symbols(f),
		     no = rdu_file_num_ops(f);
	struct rdu_file_region *r = calloc(nr + 1, sizeof(*r));
	struct rdu_file_symbol *s = calloc(ns + 1, sizeof(*s));
	struct rdu_file_op *o = calloc(no + 1, sizeof(*o));
	uint8_t *data = NULL;
	size_t data_size = 0;
	char error[256];
	int ret;

	for (unsigned int i = 0; i < nr; i++) {
		const void *d = rdu_file_region_data(f, i);

		r[i] = *rdu_file_get_region(f, i);
		if (!d)
			continue;
		r[i].data = data_size;
		data = realloc(data, data_size + (r[i].size + 4095) / 4096 * 4096);
		memset(data + data_size, 0, (r[i].size + 4095) / 4096 * 4096);
		memcpy(data + data_size, d, r[i].size);
		data_size += (r[i].size + 4095) / 4096 * 4096;
	}
	for (unsigned int i = 0; i < ns; i++)
		s[i] = *rdu_file_get_symbol(f, i);
	for (unsigned int i = 0; i < no; i++)
		o[i] = *rdu_file_get_op(f, i);
	ret = rdu_file_write(path,
			     &(struct rdu_file_parts){
				     .chip = rdu_file_chip(f),
				     .image = im->bytes,
				     .image_size = im->size,
				     .regions = r,
				     .num_regions = nr,
				     .symbols = s,
				     .num_symbols = ns,
				     .ops = o,
				     .num_ops = no,
				     .data = data,
				     .data_size = data_size,
				     .meta = rdu_file_meta_text(f),
			     },
			     error, sizeof(error));
	if (ret)
		printf("# %s\n", error);
	free(r);
	free(s);
	free(o);
	free(data);
	return ret;
}

/* 0: ran, *hash; else why not. */
static int run(struct rdu_device *dev, const char *path, const char *entry, uint64_t *hash,
	       char *error, size_t size)
{
	struct rdu_file *f;
	struct card c = { 0 };
	int ret = rdu_file_open(path, &f);

	if (ret)
		snprintf(error, size, "%s", rdu_error_text(f));
	else
		ret = card_load(&c, dev, f, error, size);
	if (!ret)
		ret = card_hash(&c, entry, hash, error, size);
	card_unload(&c);
	rdu_file_close(f);
	return ret;
}

/* Swaps of the kinds first to last in the program that rduc makes of a model, and runs of an entry
 * point. */
static void try_swaps(struct rdu_device *dev, const char *model, const char *options,
		      const char *entry, enum swap first, enum swap last)
{
	const char *good = "build/e2e/swap.rdu", *bad = "build/e2e/swapped.rdu";
	struct rdu_file *f;
	struct image im;
	uint64_t want, again, got;
	char error[512] = "", what[200];
	const void *bytes;

	if (!tap(!tool("rdu-mkmodel %s -o build/e2e/swap.onnx", model) &&
			 !tool("rduc -q build/e2e/swap.onnx %s -o %s", options, good),
		 "%s compiles, %s", model, options))
		return;
	if (!tap(!rdu_file_open(good, &f), "file opens"))
		return;
	bytes = rdu_file_image(f, &im.size);
	im.bytes = malloc(im.size);
	memcpy(im.bytes, bytes, im.size);
	if (!tap(!rewrite(f, &im, bad) && !run(dev, good, entry, &want, error, sizeof(error)) &&
			 !run(dev, bad, entry, &again, error, sizeof(error)) && want == again,
		 "the file written again gives the same result %s", error))
		last = first - 1;
	for (int kind = first; kind <= (int)last; kind++) {
		int changed = 0, refused = 0, same = 0, placed = 0, total = 0, step;

		while (swap(&im, kind, total, what, sizeof(what))) {
			memcpy(im.bytes, bytes, im.size);
			total++;
		}
		memcpy(im.bytes, bytes, im.size);
		/* At most 40 of a kind, spread over the program. */
		step = total / 40 + 1;
		for (int k = 0; k < total; k += step) {
			int ret;

			swap(&im, kind, k, what, sizeof(what));
			ret = rewrite(f, &im, bad);
			memcpy(im.bytes, bytes, im.size);
			if (ret) {
				tap(0, "%s: cannot be written", what);
				break;
			}
			ret = run(dev, bad, entry, &got, error, sizeof(error));
			if (ret) {
				refused++;
				placed += strpbrk(error, "0123456789") != NULL;
				if (refused == 1)
					printf("# %s: %s\n", what, error);
			} else if (got != want) {
				changed++;
				if (changed == 1)
					printf("# %s: another result\n", what);
			} else {
				same++;
				printf("# %s: no difference\n", what);
			}
		}
		/* Some swaps are harmless (x - 0 for x + 0); most must not be. */
		tap(changed + refused > 0 && same * 4 <= changed + refused,
		    "%s swapped: %d change the result, %d are refused, %d do nothing",
		    swap_name[kind], changed, refused, same);
		tap(placed == refused, "each refusal says where");
	}
	free(im.bytes);
	rdu_file_close(f);
}

int main(void)
{
	struct rdu_device *dev;

	if (!tap(!rdu_open("model:sn10", &dev), "card opens"))
		return tap_end();
	try_swaps(dev, "cnn --batch 4", "-O1", "forward", SWAP_OPCODE, SWAP_TOKEN);
	try_swaps(dev, "attention --t 128 --d 32 --batch 2", "-O3 --pipe always", "forward",
		  SWAP_COUNTER, SWAP_COPIES);
	try_swaps(dev, "gru --vocab 40 --input 4 --hidden 8 --batch 1 --t 1 --state",
		  "-O1 --entry decode=build/e2e/swap.onnx --state 'past.*=present.*' "
		  "--tokens-per-run 16",
		  "generate", SWAP_CHOICE, SWAP_CHOICE);
	rdu_close(dev);
	return tap_end();
}
