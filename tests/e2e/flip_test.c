// SPDX-License-Identifier: MIT
/*
 * Damaged program files. A valid file is cut short at many places, and has bits
 * flipped: as it is (the hash refuses it), and with the hash set right again
 * (then tables, validator and run time have to). Every file is refused with a
 * text, or runs to an end within the watchdog's time; nothing crashes (this runs
 * under AddressSanitizer) and the card goes on working.
 *
 * The seed is fixed; FLIPS=N changes how many.
 */
#include <elf.h>
#include <errno.h>
#include <time.h>
#include "e2e.h"

static const char *const hashed[] = { ".rdu.chip", ".rdu.program", ".rdu.regions", ".rdu.symbols",
				      ".rdu.ops",  ".rdu.data",	   ".rdu.meta" };

static uint64_t rng_state = 0x9e3779b97f4a7c15ULL;

static uint32_t rnd(uint32_t n)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (rng_state >> 16) % n;
}

/* The section header of a name in a valid file. */
static Elf64_Shdr *find(uint8_t *file, const char *name)
{
	Elf64_Ehdr *e = (void *)file;
	Elf64_Shdr *s = (void *)(file + e->e_shoff);
	const char *names = (char *)file + s[e->e_shstrndx].sh_offset;

	for (int i = 0; i < e->e_shnum; i++)
		if (!strcmp(names + s[i].sh_name, name))
			return &s[i];
	return NULL;
}

struct outcome {
	int refused_file, refused_load, faulted, ran, silent;
	double slowest;
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void try(struct rdu_device *dev, const void *bytes, size_t size, struct outcome *o)
{
	struct rdu_context_options opt = { .size = sizeof(opt), .watchdog_ms = 500 };
	struct rdu_context *ctx = NULL;
	struct rdu_program *prog = NULL;
	struct rdu_file *f = NULL;
	double t = now();
	int ret = rdu_file_parse(bytes, size, &f);

	if (ret) {
		o->refused_file++;
		o->silent += !*rdu_error_text(f);
		goto out;
	}
	ret = rdu_context_new(dev, &opt, &ctx);
	if (ret) {
		printf("# context: %s\n", rdu_error_text(ctx));
		o->silent++;
		goto out;
	}
	ret = rdu_program_load(ctx, f, &prog);
	if (ret) {
		o->refused_load++;
		o->silent += !*rdu_error_text(prog);
		goto out;
	}
	ret = rdu_program_run(prog, NULL, NULL);
	if (ret) {
		o->faulted++;
		o->silent += !*rdu_error_text(prog);
	} else {
		o->ran++;
	}
out:
	rdu_program_free(prog);
	rdu_context_free(ctx);
	rdu_file_close(f);
	t = now() - t;
	if (t > o->slowest)
		o->slowest = t;
}

static void said(const char *what, const struct outcome *o, int total)
{
	tap(!o->silent && o->refused_file + o->refused_load + o->faulted + o->ran == total &&
		    o->slowest < 10,
	    "%s: %d files, %d refused when opened, %d when loaded, %d faulted, %d ran; slowest "
	    "%.2f s",
	    what, total, o->refused_file, o->refused_load, o->faulted, o->ran, o->slowest);
}

int main(void)
{
	const char *good = "build/e2e/flip.rdu";
	int flips = getenv("FLIPS") ? atoi(getenv("FLIPS")) : 3000;
	struct outcome o;
	struct rdu_device *dev;
	struct rdu_file *f;
	struct card c = { 0 };
	uint8_t *file = NULL, *copy;
	size_t size = 0;
	uint64_t want, got;
	char error[512] = "";
	FILE *in;

	if (!tap(!tool("rdu-mkmodel mlp --batch 4 -o build/e2e/flip.onnx") &&
			 !tool("rduc -q build/e2e/flip.onnx -O1 -o %s", good),
		 "a small network compiles"))
		return tap_end();
	in = fopen(good, "rb");
	if (in) {
		fseek(in, 0, SEEK_END);
		size = ftell(in);
		rewind(in);
		file = malloc(size);
		if (fread(file, 1, size, in) != size)
			size = 0;
		fclose(in);
	}
	copy = malloc(size + 1);
	if (!tap(size && find(file, ".rdu.program") && find(file, ".rdu.hash") &&
			 !rdu_open("model:sn10,threads=1,mem=256M", &dev),
		 "card and file open"))
		return tap_end();
	tap(!rdu_file_parse(file, size, &f) && !card_load(&c, dev, f, error, sizeof(error)) &&
		    !card_hash(&c, NULL, &want, error, sizeof(error)),
	    "the file itself runs %s", error);
	card_unload(&c);
	rdu_file_close(f);

	memset(&o, 0, sizeof(o));
	for (int i = 0; i < flips / 5; i++)
		try(dev, file, rnd(size), &o);
	said("cut short", &o, flips / 5);
	tap(o.refused_file == flips / 5, "every one is refused");

	memset(&o, 0, sizeof(o));
	for (int i = 0; i < flips / 5; i++) {
		memcpy(copy, file, size);
		for (int k = rnd(3); k >= 0; k--)
			copy[rnd(size)] ^= 1 << rnd(8);
		try(dev, copy, size, &o);
	}
	said("bits flipped", &o, flips / 5);

	/* Aimed: a bit of one section, mostly the program, and the hash made right. */
	memset(&o, 0, sizeof(o));
	for (int i = 0; i < flips; i++) {
		const char *name = hashed[rnd(4) ? 1 : rnd(7)];
		uint64_t h = RDU_FNV1A_INIT;
		Elf64_Shdr *s;

		memcpy(copy, file, size);
		s = find(copy, name);
		if (!s || !s->sh_size)
			s = find(copy, ".rdu.program");
		for (int k = rnd(2); k >= 0; k--) {
			uint32_t at = rnd(s->sh_size);

			if (rnd(4))
				copy[s->sh_offset + at] ^= 1 << rnd(8);
			else /* a whole byte: counts and offsets far away */
				copy[s->sh_offset + at] = rnd(2) ? 0xff : rnd(256);
		}
		for (int k = 0; k < 7; k++)
			if ((s = find(copy, hashed[k])))
				h = rdu_fnv1a(h, copy + s->sh_offset, s->sh_size);
		memcpy(copy + find(copy, ".rdu.hash")->sh_offset, &h, 8);
		try(dev, copy, size, &o);
	}
	said("bits flipped and hash made right", &o, flips);
	tap(o.refused_load > 0, "the validator has refused some");

	memset(&c, 0, sizeof(c));
	tap(!rdu_file_parse(file, size, &f) && !card_load(&c, dev, f, error, sizeof(error)) &&
		    !card_hash(&c, NULL, &got, error, sizeof(error)) && got == want,
	    "the card still computes the same %s", error);
	card_unload(&c);
	rdu_file_close(f);
	rdu_close(dev);
	free(file);
	free(copy);
	return tap_end();
}
