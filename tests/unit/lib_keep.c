// SPDX-License-Identifier: MIT
/* What programs keep on the tiles from run to run, through librdu: never older than memory. */
#include "keep_program.h"
#include "lib_test.h"

#ifndef TEST_DEVICE /* tests/selftests/librdu_keep.c has the driver's */
#define TEST_DEVICE "model:sn10,threads=1,mem=256M"
#endif

static struct rdu_file_region regions[3];
static struct rdu_file_symbol symbols[3];
static struct rdu_file_op ops[1];
static float data[KEEP_WORDS];

/* A file in which "w" is `first`, first + 1, ... */
static struct rdu_file *make_file(const struct rdu_chip *chip, float first)
{
	const uint32_t flags[] = { RDU_SYM_WEIGHT, RDU_SYM_OUTPUT, RDU_SYM_INPUT };
	const uint32_t kinds[] = { RDU_REGION_WEIGHT, RDU_REGION_OUTPUT, RDU_REGION_INPUT };
	const char *path = temp_path("keep.rdu");
	struct rdu_file_parts parts = { .chip = chip,
					.regions = regions,
					.num_regions = 3,
					.symbols = symbols,
					.num_symbols = 3,
					.ops = ops,
					.num_ops = 1,
					.data = data,
					.data_size = sizeof(data),
					.meta = "model test\n" };
	struct rdu_file *file;
	char error[300];

	for (unsigned int i = 0; i < 3; i++) {
		symbols[i] = (struct rdu_file_symbol){ .name = { "wyz"[i] },
						       .region = i,
						       .dtype = RDU_DT_F32,
						       .flags = flags[i],
						       .ndim = 1,
						       .dims = { KEEP_WORDS },
						       .entries = 63 };
		regions[i] = (struct rdu_file_region){ .name = { "wyz"[i] },
						       .kind = kinds[i],
						       .size = KEEP_BYTES,
						       .align = 64,
						       .data = i ? RDU_NO_DATA : 0 };
	}
	for (unsigned int i = 0; i < KEEP_WORDS; i++)
		data[i] = first + (float)i;
	parts.image = keep_image(chip, &parts.image_size);
	if (rdu_file_write(path, &parts, error, sizeof(error)) || rdu_file_open(path, &file)) {
		printf("Bail out! %s\n", error);
		exit(1);
	}
	unlink(path);
	free((void *)parts.image);
	return file;
}

/* Runs main: what comes out, and whether it was loaded. */
static void gives(struct rdu_program *p, float first, bool loaded, const char *what)
{
	float y[KEEP_WORDS] = { 0 };
	struct rdu_stats st;
	int ret;
	unsigned int i = 0;

	rdu_program_bind(p, "y", y, sizeof(y));
	ret = rdu_program_run(p, "main", &st);
	while (!ret && i < KEEP_WORDS && y[i] == first + (float)i)
		i++;
	if (!ok(!ret && i == KEEP_WORDS && st.kept == !loaded, "%s: %s", what,
		loaded ? "loaded" : "not loaded again"))
		printf("# %d \"%s\", element %u is %g, want %g; %llu kept\n", ret,
		       ret ? rdu_error_text(p) : "", i, (double)y[i % KEEP_WORDS],
		       (double)(first + (float)i), (unsigned long long)st.kept);
	rdu_program_bind(p, "y", NULL, 0);
}

static void fill(float *w, float first)
{
	for (unsigned int i = 0; i < KEEP_WORDS; i++)
		w[i] = first + (float)i;
}

static void written(struct rdu_program *p, struct rdu_file *other)
{
	float w[KEEP_WORDS];

	gives(p, 100, true, "first");
	gives(p, 100, false, "second");
	ok(!rdu_program_read(p, "w", w, sizeof(w)), "read it");
	gives(p, 100, false, "... which changes nothing");
	fill(w, 200);
	ok(!rdu_program_write(p, "z", w, sizeof(w)), "write what is not kept");
	gives(p, 100, false, "... which changes nothing");
	ok(!rdu_program_write(p, "w", w, sizeof(w)), "write it");
	gives(p, 200, true, "... is seen");
	gives(p, 200, false, "... and stays");
	ok(rdu_program_restore(p, other) > 0, "restore");
	gives(p, 300, true, "... is seen");
	ok(!rdu_program_run(p, "store", NULL), "an entry point that stores to it");
	gives(p, 200, true, "... is seen");
	ok(!rdu_program_run(p, "over", NULL), "one that takes its scratchpad");
	gives(p, 200, true, "... costs a load");
}

/* Runs in flight, written between two of them: first + 5, then next. What is mapped and unmapped
 * meanwhile changes nothing: not what is loaded, and so not the time either. */
static void queued_once(struct rdu_context *ctx, struct rdu_program *p, float first, float next)
{
	float w[KEEP_WORDS], y[3][KEEP_WORDS];
	struct rdu_buffer *buf;
	struct rdu_job *job[3];
	struct rdu_stats st[3] = { 0 };

	fill(w, next);
	for (int i = 0; i < 3; i++) {
		if (i == 1)
			rdu_program_write(p, "w", w, sizeof(w));
		rdu_program_bind(p, "y", y[i], sizeof(y[i]));
		rdu_program_submit(p, "main", &job[i]);
		ok(!rdu_buffer_new(ctx, KEEP_BYTES, RDU_BUFFER_HOST, &buf), "a buffer");
		rdu_buffer_free(buf);
	}
	for (int i = 0; i < 3; i++) {
		ok(!rdu_job_wait(job[i], -1, &st[i]), "job %d", i);
		rdu_job_free(job[i]);
	}
	ok(y[0][5] == first + 5 && y[1][5] == next + 5 && y[2][5] == next + 5,
	   "%g, %g, %g: each has its own", (double)y[0][5], (double)y[1][5], (double)y[2][5]);
	ok(st[0].kept == 1 && !st[1].kept && st[2].kept == 1, "loaded for the second alone");
	rdu_program_bind(p, "y", NULL, 0);
}

static void queued(struct rdu_context *ctx, struct rdu_program *p)
{
	queued_once(ctx, p, 200, 300);
	queued_once(ctx, p, 300, 400);
}

static void given(struct rdu_context *ctx, struct rdu_program *p)
{
	struct rdu_buffer *buf;
	float *map;

	ok(!rdu_buffer_new(ctx, KEEP_BYTES, RDU_BUFFER_CARD, &buf), "a buffer");
	map = rdu_buffer_map(buf);
	fill(map, 500);
	rdu_program_bind_buffer(p, "w", buf, 0);
	gives(p, 500, true, "the weight is in a buffer of the caller's");
	fill(map, 600);
	gives(p, 600, true, "... who may write to it at any time");
	rdu_program_bind_buffer(p, "w", NULL, 0);
	gives(p, 400, true, "and in the program's own memory again");
	gives(p, 400, false, "... where it stays");
	rdu_buffer_free(buf);
}

static void shared(struct rdu_context *ctx, struct rdu_program *p, struct rdu_file *file)
{
	struct rdu_program *twin;

	ok(!rdu_program_load(ctx, file, &twin), "the same program, with weights of its own");
	gives(twin, 300, true, "the twin");
	gives(p, 400, true, "the first");
	gives(twin, 300, true, "the twin again");
	gives(twin, 300, false, "... twice");
	rdu_program_free(twin);
	gives(p, 400, true, "the first, alone");
}

int main(void)
{
	struct rdu_device *dev = NULL;
	struct rdu_context *ctx = NULL, *ctx2 = NULL;
	struct rdu_program *p = NULL, *p2 = NULL;
	struct rdu_context_options one = { .size = sizeof(one), .tiles = 1 };
	struct rdu_file *file, *other;
	struct rdu_chip chip;
	char error[200];

	if (rdu_chip_find("sn10", &chip, error, sizeof(error)))
		return 1;
	file = make_file(&chip, 100);
	other = make_file(&chip, 300);
	ok(!rdu_open(TEST_DEVICE, &dev), "a card");
	ok(!rdu_context_new(dev, &one, &ctx) && !rdu_program_load(ctx, file, &p), "a program: %s",
	   rdu_error_text(p));
	written(p, other);
	gives(p, 200, false, "once more");
	queued(ctx, p);
	given(ctx, p);
	shared(ctx, p, other);
	ok(!rdu_context_new(dev, &one, &ctx2) && !rdu_program_load(ctx2, file, &p2),
	   "another context");
	gives(p2, 100, true, "its program");
	gives(p, 400, false, "the first context's is where it was");
	gives(p2, 100, false, "and so is the other's");
	rdu_program_free(p2);
	rdu_context_free(ctx2);
	gives(p, 400, false, "also when that is gone");
	rdu_program_free(p);
	rdu_context_free(ctx);
	rdu_close(dev);
	rdu_file_close(file);
	rdu_file_close(other);
	return tap_done();
}
