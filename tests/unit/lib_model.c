// SPDX-License-Identifier: MIT
/*
 * Programs on a card through the library's own calls: on the model in this
 * process, and, as tests/selftests/librdu.c, on a card and its driver: both back
 * ends must pass the same.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include "lib_test.h"

#ifndef TEST_DEVICE
#define TEST_DEVICE "model:plasticine,threads=1,mem=64M"
#endif

static const char *device = TEST_DEVICE;
static char chip[17];
static struct sample plain, gathering, wide;
static const char *plain_path, *gather_path, *wide_path;

struct setup {
	struct rdu_device *dev;
	struct rdu_context *ctx;
	struct rdu_file *file;
	struct rdu_program *prog;
	float *x, *y;
	size_t n, size;
};

static void up(struct setup *s, const char *path)
{
	struct rdu_context_options options = { .size = sizeof(options), .tiles = 1 };

	memset(s, 0, sizeof(*s));
	if (rdu_open(device, &s->dev) || rdu_file_open(path, &s->file) ||
	    rdu_context_new(s->dev, &options, &s->ctx) ||
	    rdu_program_load(s->ctx, s->file, &s->prog)) {
		ok(false, "set-up: %s; %s; %s; %s", rdu_error_text(s->dev), rdu_error_text(s->file),
		   rdu_error_text(s->ctx), rdu_error_text(s->prog));
		exit(1);
	}
	s->n = VECTORS * plain.chip.lanes;
	s->size = s->n * 4;
	s->x = malloc(s->size);
	s->y = calloc(1, s->size);
	for (size_t i = 0; i < s->n; i++)
		s->x[i] = (float)i / 16 - 20;
}

static void down(struct setup *s)
{
	rdu_program_free(s->prog);
	rdu_context_free(s->ctx);
	rdu_file_close(s->file);
	rdu_close(s->dev);
	free(s->x);
	free(s->y);
}

/*
 * Bytes of card memory that belong to this opened card. The driver frees what others
 * have closed a little later, so what is free on the card as a whole does not tell.
 */
static uint64_t card_memory(struct rdu_device *dev)
{
	struct rdu_device_info info;
	unsigned long long kib = 0;
	char path[64], line[128];
	bool found = false;
	FILE *f;

	if (rdu_device_fd(dev) < 0) {
		rdu_device_get_info(dev, &info, sizeof(info));
		return info.mem_total - info.mem_free;
	}
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", rdu_device_fd(dev));
	f = fopen(path, "r");
	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "drm-total-vram: %llu KiB", &kib) == 1;
	if (f)
		fclose(f);
	ok(found, "%s has drm-total-vram", path);
	return kib << 10;
}

static bool right(const float *x, const float *y, size_t n, float w)
{
	for (size_t i = 0; i < n; i++)
		if (y[i] != 2 * x[i] + w)
			return false;
	return true;
}

static void test_open(void)
{
	static const struct {
		const char *where;
		int code;
		const char *words;
	} bad[] = {
		{ "model:nonsuch", -EINVAL, "nonsuch" },
		{ "model:sn10,threads", -EINVAL, "there are threads=N" },
		{ "model:sn10,mem=12Q", -EINVAL, "mem=12Q" },
		{ "model:sn10,mem=1", -EINVAL, "1M or more" },
		{ "something", -EINVAL, "a card is \"auto\"" },
		{ "/dev/null", -ENXIO, "not a node of the rdu driver" },
		{ "/dev/accel/accel63", -ENOENT, "accel63" },
		{ "ffff:ff:1f.7", -ENOENT, "no accel node" },
	};
	struct rdu_device_info info;
	struct rdu_tile_usage use[4];
	struct rdu_context *ctx;
	struct rdu_device *dev;
	unsigned int i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		refused(rdu_open(bad[i].where, &dev), bad[i].code, dev, bad[i].words, bad[i].where);
		ok(rdu_context_new(dev, NULL, &ctx) == -EINVAL && rdu_error_text(ctx)[0],
		   "no context on it");
		rdu_context_free(ctx);
		rdu_close(dev);
	}
	ok(!rdu_open("model:sn10,mem=16M,threads=1", &dev), "sn10");
	ok(!rdu_device_get_info(dev, &info, sizeof(info)) && !strcmp(info.chip, "sn10") &&
		   info.mem_total == 16 << 20 && info.is_model && info.num_queues > 1,
	   "info");
	ok(rdu_device_chip(dev)->tiles == 4 && rdu_device_fd(dev) == -1, "chip");
	ok(rdu_device_get_usage(dev, use, 4, sizeof(use[0])) == 4 && !use[0].owned, "free tiles");
	rdu_close(dev);
	rdu_close(NULL);
}

static void test_run(void)
{
	struct rdu_stats a, b;
	struct setup s;

	up(&s, plain_path);
	ok(!rdu_program_bind(s.prog, "x", s.x, s.size) &&
		   !rdu_program_bind(s.prog, "y", s.y, s.size),
	   "bound");
	ok(!rdu_program_run(s.prog, "main", &a), "run: %s", rdu_error_text(s.prog));
	ok(right(s.x, s.y, s.n, 0.5), "y = 2 x + w");
	ok(a.end_cycle > a.start_cycle && a.exec_cycles && a.pload_cycles && a.aload_cycles &&
		   a.dram_bytes == 3 * s.size && a.sections == 1,
	   "counters");
	ok(!rdu_program_run(s.prog, NULL, &b) && b.exec_cycles == a.exec_cycles,
	   "the same cycles again");
	refused(rdu_program_run(s.prog, "nonsuch", NULL), -ENOENT, s.prog, "there are: main",
		"no such entry point");
	refused(rdu_program_bind(s.prog, "nonsuch", s.x, s.size), -ENOENT, s.prog, "nonsuch",
		"no such symbol");
	refused(rdu_program_bind(s.prog, "x", s.x, s.size - 1), -EINVAL, s.prog, "were bound",
		"too little memory");
	refused(rdu_program_bind(s.prog, "w", s.x, s.size), -EINVAL, s.prog, "read and write it",
		"a weight can't be bound");
	refused(rdu_program_set_scalars(s.prog, (uint32_t[]){ 1 }, 1), -EINVAL, s.prog,
		"argument registers", "scalars that are not there");
	down(&s);
}

static void test_in_flight(void)
{
	enum { JOBS = 300 };
	struct rdu_job *jobs[JOBS];
	struct setup s;
	float *y;
	bool good = true;
	int i;

	up(&s, plain_path);
	y = calloc(JOBS, s.size);
	rdu_program_bind(s.prog, "x", s.x, s.size);
	for (i = 0; i < JOBS; i++) {
		s.x[0] = i;
		rdu_program_bind(s.prog, "y", y + i * s.n, s.size);
		good &= same_number("rdu_program_submit", i,
				    rdu_program_submit(s.prog, "main", &jobs[i]), 0);
	}
	ok(good, "more jobs than the queue holds");
	/* Waited for out of order. */
	for (i = JOBS - 1; i >= 0; i--)
		good &= same_number("rdu_job_wait", i, rdu_job_wait(jobs[i], -1, NULL), 0);
	for (i = 0; i < JOBS; i++) {
		good &= same_number("first of y of job", i, y[i * s.n], 2 * i + 0.5f);
		good &= same_number("last of y of job", i, y[(i + 1) * s.n - 1],
				    2 * s.x[s.n - 1] + 0.5f);
		rdu_job_free(jobs[i]);
	}
	ok(good, "each has its own inputs and outputs");
	rdu_program_bind(s.prog, "y", NULL, 0);
	good = !rdu_program_submit(s.prog, "main", &jobs[0]) &&
	       !rdu_program_submit(s.prog, "main", &jobs[1]);
	rdu_job_free(jobs[1]);
	rdu_job_free(jobs[0]);
	ok(good, "freed without waiting");
	free(y);
	down(&s);
}

static void *runner(void *arg)
{
	struct setup *s = arg;
	struct rdu_stats st;
	struct rdu_job *job;
	long bad = 0;
	int i;

	for (i = 0; i < 40; i++) {
		bad += rdu_program_submit(s->prog, "main", &job) != 0;
		bad += rdu_job_wait(job, i & 1 ? -1 : 10000, &st) != 0 || !st.exec_cycles;
		rdu_job_free(job);
	}
	return (void *)bad;
}

static void test_threads(void)
{
	pthread_t threads[4];
	struct setup s;
	void *bad;
	long all = 0;
	int i;

	up(&s, plain_path);
	rdu_program_bind(s.prog, "x", s.x, s.size);
	for (i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, runner, &s);
	for (i = 0; i < 100; i++) { /* binding meanwhile changes the size of jobs */
		struct rdu_buffer *buf;

		rdu_program_bind(s.prog, "x", i & 1 ? s.x : NULL, s.size);
		rdu_buffer_new(s.ctx, 5000, i & 1, &buf);
		rdu_buffer_free(buf);
	}
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], &bad);
		all += (long)bad;
	}
	ok(!all, "four threads on one program");
	down(&s);
}

static void test_buffers(void)
{
	struct rdu_buffer *buf, *host, *bad;
	struct setup s;
	float *map;

	up(&s, plain_path);
	ok(!rdu_buffer_new(s.ctx, s.size + 4096, RDU_BUFFER_CARD, &buf) &&
		   !rdu_buffer_new(s.ctx, s.size, RDU_BUFFER_HOST, &host),
	   "buffers");
	map = rdu_buffer_map(host);
	memcpy(map, s.x, s.size);
	ok(!rdu_program_bind_buffer(s.prog, "x", host, 0) &&
		   !rdu_program_bind_buffer(s.prog, "y", buf, 128),
	   "bound without copies");
	ok(!rdu_program_run(s.prog, "main", NULL), "run: %s", rdu_error_text(s.prog));
	ok(right(s.x, (float *)rdu_buffer_map(buf) + 32, s.n, 0.5), "the result is in the buffer");
	ok(!rdu_program_read(s.prog, "y", s.y, s.size) && right(s.x, s.y, s.n, 0.5),
	   "... and read by name");
	refused(rdu_program_bind_buffer(s.prog, "x", host, 64), -EINVAL, s.prog, "does not fit",
		"a buffer that is too small");
	refused(rdu_program_bind_buffer(s.prog, "x", buf, 4), -EINVAL, s.prog, "multiple of 64",
		"a bad offset");
	ok(!rdu_program_bind_buffer(s.prog, "x", NULL, 0) &&
		   !rdu_program_bind_buffer(s.prog, "y", NULL, 0),
	   "back to its own memory");
	refused(rdu_buffer_new(s.ctx, 1ull << 40, RDU_BUFFER_CARD, &bad), -ENOSPC, bad, "memory",
		"more than there is");
	rdu_buffer_free(bad);
	refused(rdu_buffer_new(s.ctx, 0, RDU_BUFFER_CARD, &bad), -EINVAL, bad, "0 bytes",
		"nothing");
	rdu_buffer_free(bad);
	refused(rdu_buffer_new(s.ctx, 64, 0x80, &bad), -EINVAL, bad, "flags", "an unknown flag");
	rdu_buffer_free(bad);
	rdu_buffer_free(buf);
	rdu_buffer_free(host);
	down(&s);
}

/* Memory comes back, and comes back as zeros. */
static void test_memory(void)
{
	uint64_t before = 0, after = 0;
	struct rdu_buffer *bufs[8];
	struct setup s;
	bool good = true;
	int i, round;

	up(&s, plain_path);
	for (round = 0; round < 20; round++) {
		for (i = 0; i < 8; i++) {
			unsigned char *p;

			good &= same_number("rdu_buffer_new", i,
					    rdu_buffer_new(s.ctx,
							   (1 + (i * 7 + round) % 8) * 700000ull,
							   i & 1 ? RDU_BUFFER_HOST : 0, &bufs[i]),
					    0);
			p = rdu_buffer_map(bufs[i]);
			if (!p) {
				printf("# buffer %d of round %d: not mapped\n", i, round);
				good = false;
				continue;
			}
			good &= same_number("first byte of buffer", i, p[0], 0);
			good &= same_number("last byte of buffer", i,
					    p[rdu_buffer_size(bufs[i]) - 1], 0);
			memset(p, 255, rdu_buffer_size(bufs[i]));
		}
		for (i = 0; i < 8; i++)
			rdu_buffer_free(bufs[(i * 3 + round) % 8]);
		/* Page tables are made once and kept by the context. */
		*(round ? &after : &before) = card_memory(s.dev);
	}
	ok(good, "buffers come and go, always zeroed");
	ok(after - before < 1 << 20, "card memory comes back");
	ok(!rdu_program_bind(s.prog, "x", s.x, s.size) &&
		   !rdu_program_bind(s.prog, "y", s.y, s.size) &&
		   !rdu_program_run(s.prog, NULL, NULL) && right(s.x, s.y, s.n, 0.5),
	   "a program still runs right");
	down(&s);
}

static void test_weights(void)
{
	const char *path = temp_path("saved.rdu");
	uint64_t h0, h1, h2;
	struct rdu_file *saved;
	struct setup s, t;
	float *w;

	up(&s, plain_path);
	w = malloc(s.size);
	ok(!rdu_program_read(s.prog, "w", w, s.size) && w[0] == 0.5 && w[s.n - 1] == 0.5,
	   "weights are on the card");
	ok(!rdu_program_weights_hash(s.prog, &h0), "hash");
	for (size_t i = 0; i < s.n; i++)
		w[i] = 3;
	ok(!rdu_program_write(s.prog, "w", w, s.size), "written");
	ok(!rdu_program_weights_hash(s.prog, &h1) && h0 != h1, "another hash");
	ok(h1 == rdu_fnv1a(RDU_FNV1A_INIT, w, s.size), "the hash is what it says");
	refused(rdu_program_write(s.prog, "w", w, s.size - 4), -EINVAL, s.prog, "bytes, not",
		"a wrong size");
	ok(!rdu_program_save(s.prog, path), "saved: %s", rdu_error_text(s.prog));
	refused(rdu_program_save(s.prog, "/nonexistent/x"), -ENOENT, s.prog, "No such file",
		"nowhere to save to");
	up(&t, path);
	rdu_program_bind(t.prog, "x", t.x, t.size);
	rdu_program_bind(t.prog, "y", t.y, t.size);
	ok(!rdu_program_run(t.prog, NULL, NULL) && right(t.x, t.y, t.n, 3), "loaded again");
	ok(!rdu_program_weights_hash(t.prog, &h2) && h1 == h2, "the same weights");
	down(&t);
	up(&t, plain_path);
	ok(!rdu_file_open(path, &saved), "read again");
	ok(rdu_program_restore(t.prog, saved) == 1 && !rdu_program_weights_hash(t.prog, &h2) &&
		   h1 == h2,
	   "restored");
	rdu_file_close(saved);
	ok(!rdu_program_save_as(t.prog, path, "model other\nstep 7\n") &&
		   !rdu_file_open(path, &saved) &&
		   !strcmp(rdu_file_meta_text(saved), "optimizer adamw\nmodel other\nstep 7\n"),
	   "properties that take the place of old ones, and new ones");
	rdu_file_close(saved);
	down(&t);
	free(w);
	down(&s);
	unlink(path);
}

/* A file like the plain one whose only weight has this name and type, all of it `value`. */
static const char *other_file(const char *name, uint32_t dtype, float value)
{
	const char *path = temp_path("other.rdu");
	static struct sample s;
	char error[256] = "";
	uint32_t word;

	sample_make(&s, plain.chip.name, false);
	snprintf(s.symbols[2].name, sizeof(s.symbols[2].name), "%s", name);
	s.symbols[2].dtype = dtype;
	memcpy(&word, &value, 4);
	for (size_t i = 0; i < sizeof(s.data) / 4; i++) {
		s.data[i] = value;
		if (dtype == RDU_DT_BF16) {
			((uint16_t *)s.data)[2 * i] = word >> 16;
			((uint16_t *)s.data)[2 * i + 1] = word >> 16;
		}
	}
	ok(!rdu_file_write(path, &s.parts, error, sizeof(error)), "%s of %s is written %s", path,
	   name, error);
	sample_free(&s);
	return path;
}

static void test_restore(void)
{
	struct rdu_file *file;
	struct setup s;
	uint16_t *half;
	float *w;

	up(&s, plain_path);
	w = calloc(s.n, 4);
	ok(!rdu_file_open(other_file("v", RDU_DT_F32, 3), &file), "another weight's file");
	refused(rdu_program_restore(s.prog, file), -EINVAL, s.prog, "the file has no \"w\"",
		"a weight that the file lacks");
	refused(rdu_program_restore(s.prog, file), -EINVAL, s.prog, "the program has no \"v\"",
		"a weight that the program lacks");
	rdu_file_close(file);
	ok(!rdu_file_open(other_file("w", RDU_DT_I32, 3), &file), "another type's file");
	refused(rdu_program_restore(s.prog, file), -EINVAL, s.prog, "\"w\" has another type",
		"another type");
	rdu_file_close(file);
	ok(!rdu_program_read(s.prog, "w", w, s.size) && w[0] == 0.5f && w[s.n - 1] == 0.5f,
	   "refused, nothing is changed");
	ok(!rdu_file_open(other_file("w", RDU_DT_BF16, 1.5f), &file), "a bfloat16 file");
	ok(rdu_program_restore(s.prog, file) == 1 && !rdu_program_read(s.prog, "w", w, s.size) &&
		   w[0] == 1.5f && w[s.n - 1] == 1.5f,
	   "bfloat16 becomes fp32: %g", (double)w[s.n - 1]);
	rdu_file_close(file);
	down(&s);
	up(&s, other_file("w", RDU_DT_BF16, 1.5f));
	half = calloc(s.n, 2);
	ok(!rdu_file_open(other_file("w", RDU_DT_F32, -2.5f), &file), "an fp32 file");
	ok(rdu_program_restore(s.prog, file) == 1 &&
		   !rdu_program_read(s.prog, "w", half, s.n * 2) && half[0] == 0xc020 &&
		   half[s.n - 1] == 0xc020,
	   "fp32 that is exact in bfloat16 becomes that");
	rdu_file_close(file);
	ok(!rdu_file_open(other_file("w", RDU_DT_F32, 0.1f), &file), "an fp32 file");
	refused(rdu_program_restore(s.prog, file), -EINVAL, s.prog, "not exact in bfloat16",
		"fp32 that bfloat16 can't hold");
	rdu_file_close(file);
	down(&s);
	unlink(temp_path("other.rdu"));
	free(half);
	free(w);
}

static void test_fault(void)
{
	struct rdu_fault_info fault;
	struct rdu_job *job, *after;
	struct setup s, other;
	int32_t *index;
	size_t i;

	up(&s, gather_path);
	index = malloc(s.size);
	for (i = 0; i < s.n; i++)
		index[i] = s.n - 1 - i;
	rdu_program_bind(s.prog, "x", s.x, s.size);
	rdu_program_bind(s.prog, "index", index, s.size);
	rdu_program_bind(s.prog, "y", s.y, s.size);
	ok(!rdu_program_run(s.prog, NULL, NULL) && s.y[0] == s.x[s.n - 1], "a gather");
	ok(rdu_context_get_fault(s.ctx, &fault) == 0 && !fault.code, "no fault");
	index[100] = s.n;
	ok(!rdu_program_submit(s.prog, NULL, &job), "an index out of range is queued");
	index[100] = 0;
	rdu_program_submit(s.prog, NULL, &after);
	refused(rdu_job_wait(job, -1, NULL), -EFAULT, job, "BOUNDS", "... and faults");
	ok(strstr(rdu_error_text(job), "entry point main") &&
		   strstr(rdu_error_text(job), "Gather") && strstr(rdu_error_text(job), "node_1") &&
		   strstr(rdu_error_text(job), "section 0"),
	   "in words: %s", rdu_error_text(job));
	ok(rdu_context_get_fault(s.ctx, &fault) == 1 && fault.code == RDU_FAULT_BOUNDS &&
		   fault.section == 0,
	   "the fault itself");
	ok(rdu_job_wait(after, -1, NULL) < 0, "jobs after it are lost");
	ok(rdu_program_run(s.prog, NULL, NULL) == -EFAULT, "the context is dead");
	ok(rdu_program_read(s.prog, "y", s.y, s.size) < 0, "also for reading");
	rdu_job_free(job);
	rdu_job_free(after);
	up(&other, plain_path);
	rdu_program_bind(other.prog, "x", other.x, other.size);
	ok(!rdu_program_run(other.prog, NULL, NULL), "another context is well");
	down(&other);
	free(index);
	down(&s);
}

/* An int64 index that does not fit 32 bits stops the run, and is named. */
static void test_wide_index(void)
{
	struct rdu_fault_info fault;
	struct setup s;
	int64_t *index;

	up(&s, wide_path);
	index = calloc(s.n, sizeof(*index));
	index[5] = 7;
	rdu_program_bind(s.prog, "x", s.x, s.size);
	rdu_program_bind(s.prog, "index", index, s.n * sizeof(*index));
	rdu_program_bind(s.prog, "y", s.y, s.size);
	ok(!rdu_program_run(s.prog, NULL, NULL) && s.y[5] == s.x[7], "a gather by int64");
	index[5] = (1ll << 32) + 5;
	refused(rdu_program_run(s.prog, NULL, NULL), -EFAULT, s.prog,
		"an element of 64 bits does not fit 32: element 5 of \"index\", 4294967301",
		"2^32 + 5 is not 5");
	ok(rdu_context_get_fault(s.ctx, &fault) == 1 && fault.code == RDU_FAULT_VALUE &&
		   fault.info == RDU_TRAP_LOAD && fault.address == 5 * sizeof(*index),
	   "the fault itself");
	free(index);
	down(&s);
}

/* What stops a context that is not a program's own mistake, in words. */
static void test_limits(void)
{
	struct rdu_context_options options = { .size = sizeof(options),
					       .tiles = 1,
					       .watchdog_cycles = 1 };
	struct rdu_context *ctx;
	struct rdu_program *prog;
	struct rdu_fault_info fault;
	struct rdu_buffer *buf;
	uint64_t address, ticket;
	struct setup s;

	up(&s, plain_path);
	rdu_buffer_new(s.ctx, 1 << 20, RDU_BUFFER_CARD, &buf);
	address = rdu_buffer_address(buf);
	rdu_buffer_free(buf);
	ok(!rdu_context_copy(s.ctx, address, address + 4096, 64, &ticket),
	   "a copy of what was freed is queued");
	refused(rdu_context_wait(s.ctx, ticket, -1), -EFAULT, s.ctx, "(PAGE,", "... and faults");
	ok(strstr(rdu_error_text(s.ctx), "a buffer was bound and then freed"), "in words: %s",
	   rdu_error_text(s.ctx));
	ok(rdu_context_get_fault(s.ctx, &fault) == 1 && fault.code == RDU_FAULT_PAGE &&
		   fault.address >= address && fault.address < address + (1 << 20) &&
		   fault.section == ~0u,
	   "the fault itself");

	/* Of its tiles one may be left, or another context would have to go. */
	rdu_program_free(s.prog);
	rdu_context_free(s.ctx);
	s.ctx = NULL;
	s.prog = NULL;
	rdu_context_new(s.dev, &options, &ctx);
	ok(!rdu_program_load(ctx, s.file, &prog), "loaded under a watchdog of a cycle");
	refused(rdu_program_run(prog, NULL, NULL), -ETIMEDOUT, prog, "(WATCHDOG,",
		"a run of more cycles than it may take");
	ok(strstr(rdu_error_text(prog), "give the context a longer watchdog"), "in words: %s",
	   rdu_error_text(prog));
	rdu_program_free(prog);
	rdu_context_free(ctx);
	down(&s);
}

/* A program image that the card refuses: told where it is wrong. */
static void test_bad_image(void)
{
	const char *path = temp_path("bad.rdu");
	struct rdu_prog_header *h;
	struct rdu_program *prog;
	struct rdu_cfg_header *cfg;
	struct rdu_file *file;
	struct sample bad;
	struct setup s;

	sample_make(&bad, chip, false);
	h = bad.image;
	cfg = (void *)((char *)bad.image +
		       ((struct rdu_prog_section *)((char *)bad.image + h->sections_off))->offset);
	cfg->version += 1;
	ok(!rdu_file_write(path, &bad.parts, NULL, 0), "written");
	up(&s, plain_path);
	ok(!rdu_file_open(path, &file), "opened");
	refused(rdu_program_load(s.ctx, file, &prog), -ENOEXEC, prog, "the card refused section 0",
		"refused");
	ok(strstr(rdu_error_text(prog), path), "in words: %s", rdu_error_text(prog));
	rdu_program_free(prog);
	ok(!rdu_program_run(s.prog, NULL, NULL), "the context is well");
	rdu_file_close(file);
	down(&s);
	sample_free(&bad);
	unlink(path);
}

struct end {
	struct rdu_context *context;
	unsigned int after_us;
};

static void *end_soon(void *arg)
{
	struct end *end = arg;

	usleep(end->after_us);
	rdu_context_free(end->context);
	return NULL;
}

/* At each point of the waiter's round; *ctx has what it wants, and is a new one then. */
static void test_wait_for_tiles(struct rdu_device *dev, const struct rdu_context_options *options,
				struct rdu_context **ctx)
{
	pthread_t thread;
	struct end end;
	int ret = 0;

	for (unsigned int i = 0; i < 60 && !ret; i++) {
		end = (struct end){ *ctx, i * 300 };
		ret = pthread_create(&thread, NULL, end_soon, &end);
		if (ret)
			break;
		ret = rdu_context_new(dev, options, ctx);
		pthread_join(thread, NULL);
	}
	ok(!ret, "waits for tiles%s%s", ret ? ": " : "", ret ? rdu_error_text(*ctx) : "");
}

static void test_refused(void)
{
	struct rdu_context_options options = { .size = sizeof(options), .tiles = 9 };
	const char *path = temp_path("foreign.rdu");
	struct rdu_context *ctx, *second;
	struct rdu_program *prog;
	struct sample foreign;
	struct rdu_device *dev;
	struct rdu_file *file;

	sample_make(&foreign, "plasticine", false);
	rdu_file_write(path, &foreign.parts, NULL, 0);
	/* A card is one already. */
	rdu_open(strncmp(device, "model:", 6) ? device : "model:sn10,mem=32M,threads=1", &dev);
	rdu_file_open(path, &file);
	refused(rdu_context_new(dev, &options, &ctx), -EINVAL, ctx, "has 4 tiles, not 9",
		"too many tiles");
	rdu_context_free(ctx);
	options.tiles = 3;
	ok(!rdu_context_new(dev, &options, &ctx), "3 tiles");
	options.tiles = 2;
	refused(rdu_context_new(dev, &options, &second), -EBUSY, second, "tiles in a row",
		"2 more of 4");
	rdu_context_free(second);
	options.tiles = 1;
	ok(!rdu_context_new(dev, &options, &second), "1 more of 4");
	options.wait_for_tiles = 1;
	test_wait_for_tiles(dev, &options, &second);
	refused(rdu_program_load(ctx, file, &prog), -EXDEV, prog, "compiled for chip plasticine",
		"another chip");
	ok(strstr(rdu_error_text(prog), "sn10"), "both names: %s", rdu_error_text(prog));
	ok(rdu_program_run(prog, NULL, NULL) == -EINVAL, "it can't be run");
	rdu_program_free(prog);
	rdu_context_free(second);
	rdu_context_free(ctx);
	rdu_file_close(file);
	rdu_close(dev);
	unlink(path);
	sample_free(&foreign);
}

static void test_trace(void)
{
	const struct rdu_trace_event *e;
	uint32_t dropped;
	struct rdu_job *job;
	struct setup s;
	int n, i, kinds[5] = { 0 };

	up(&s, plain_path);
	ok(!rdu_program_set_trace(s.prog, 1000), "trace on");
	ok(!rdu_program_submit(s.prog, NULL, &job), "submitted");
	ok(!rdu_job_wait(job, -1, NULL), "done");
	n = rdu_job_trace(job, &e, &dropped);
	for (i = 0; i < n; i++)
		kinds[e[i].kind]++;
	ok(n > 0 && !dropped && kinds[RDU_TRACE_PLOAD] == 1 && kinds[RDU_TRACE_EXEC] == 1 &&
		   kinds[RDU_TRACE_UNIT] == 4,
	   "events: load, execute, counters of 4 unit programs");
	rdu_job_free(job);
	rdu_program_set_trace(s.prog, 2);
	rdu_program_submit(s.prog, NULL, &job);
	rdu_job_wait(job, -1, NULL);
	n = rdu_job_trace(job, &e, &dropped);
	ok(n == 2 && dropped > 0, "too little room: %d kept, %u dropped", n, dropped);
	rdu_job_free(job);
	down(&s);
}

/* ---- fork() ------------------------------------------------------------------------ */

/* All that a process can do to objects that it came to by fork(); then it frees them. */
static void child_calls(struct setup *s, struct rdu_buffer *buf, struct rdu_job *job)
{
	const char *words = "came from by fork()", *path = temp_path("child.rdu");
	struct rdu_device_info info;
	struct rdu_tile_usage use;
	struct rdu_context *ctx;
	struct rdu_program *prog;
	struct rdu_fault_info fault;
	const struct rdu_trace_event *events;
	struct rdu_buffer *buf2;
	struct rdu_job *job2;
	uint64_t ticket, hash;

#define CHILD(call, object) refused(call, -ECHILD, object, words, #call)
	CHILD(rdu_device_get_info(s->dev, &info, sizeof(info)), s->dev);
	CHILD(rdu_device_get_usage(s->dev, &use, 1, sizeof(use)), s->dev);
	CHILD(rdu_device_reset(s->dev), s->dev);
	ok(rdu_device_fd(s->dev) == -1, "no descriptor");
	CHILD(rdu_context_new(s->dev, NULL, &ctx), ctx);
	rdu_context_free(ctx);
	CHILD(rdu_context_get_fault(s->ctx, &fault), s->ctx);
	CHILD(rdu_context_copy(s->ctx, rdu_buffer_address(buf), rdu_buffer_address(buf) + 4096, 64,
			       &ticket),
	      s->ctx);
	CHILD(rdu_context_barrier(s->ctx, &ticket), s->ctx);
	CHILD(rdu_context_wait(s->ctx, 1, -1), s->ctx);
	CHILD(rdu_buffer_new(s->ctx, 4096, RDU_BUFFER_CARD, &buf2), buf2);
	rdu_buffer_free(buf2);
	ok(!rdu_buffer_map(buf) && strstr(rdu_error_text(buf), words), "no mapping");
	CHILD(rdu_program_load(s->ctx, s->file, &prog), prog);
	rdu_program_free(prog);
	CHILD(rdu_program_bind(s->prog, "x", s->x, s->size), s->prog);
	CHILD(rdu_program_bind_buffer(s->prog, "x", NULL, 0), s->prog);
	CHILD(rdu_program_set_scalars(s->prog, NULL, 0), s->prog);
	CHILD(rdu_program_set_trace(s->prog, 16), s->prog);
	CHILD(rdu_program_run(s->prog, "main", NULL), s->prog);
	CHILD(rdu_program_submit(s->prog, "main", &job2), job2);
	rdu_job_free(job2);
	CHILD(rdu_program_read(s->prog, "y", s->y, s->size), s->prog);
	CHILD(rdu_program_write(s->prog, "w", s->y, s->size), s->prog);
	CHILD(rdu_program_save(s->prog, path), s->prog);
	ok(access(path, F_OK) != 0, "nothing was written");
	CHILD(rdu_program_restore(s->prog, s->file), s->prog);
	CHILD(rdu_program_weights_hash(s->prog, &hash), s->prog);
	CHILD(rdu_job_wait(job, -1, NULL), job);
	CHILD(rdu_job_trace(job, &events, NULL), job);
#undef CHILD
	rdu_job_free(job);
	rdu_buffer_free(buf);
	down(s);
}

/* A process of its own; gives what it ended with. */
static int in_child(void (*calls)(struct setup *, struct rdu_buffer *, struct rdu_job *),
		    struct setup *s, struct rdu_buffer *buf, struct rdu_job *job)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		alarm(60); /* for a child that hangs */
		tap_child = true;
		tap_count = tap_failed = 0;
		calls(s, buf, job);
		fflush(stdout);
		_exit(tap_failed ? 1 : 0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

/* It opens the card anew, and so has results of its own. */
static void child_anew(struct setup *s, struct rdu_buffer *buf, struct rdu_job *job)
{
	struct setup own;

	(void)s, (void)buf, (void)job;
	up(&own, plain_path);
	ok(!rdu_program_bind(own.prog, "x", own.x, own.size) &&
		   !rdu_program_bind(own.prog, "y", own.y, own.size) &&
		   !rdu_program_run(own.prog, "main", NULL) && right(own.x, own.y, own.n, 0.5),
	   "a card of its own");
	down(&own);
}

static void test_fork(void)
{
	uint64_t before;
	struct rdu_buffer *buf;
	struct rdu_job *job;
	struct setup s;
	char *map;
	int i, wrong = 0;

	up(&s, plain_path);
	rdu_program_bind(s.prog, "x", s.x, s.size);
	rdu_program_bind(s.prog, "y", s.y, s.size);
	ok(!rdu_buffer_new(s.ctx, 8192, RDU_BUFFER_HOST, &buf) && (map = rdu_buffer_map(buf)),
	   "a buffer");
	memset(map, 0x5a, 8192);
	ok(!rdu_program_submit(s.prog, "main", &job), "a job");
	before = card_memory(s.dev);
	ok(in_child(child_calls, &s, buf, job) == 0, "a child is refused everything, and may free");
	ok(card_memory(s.dev) == before, "nothing on the card was freed by it");
	ok(!rdu_job_wait(job, -1, NULL) && right(s.x, s.y, s.n, 0.5), "the parent's job is done");
	rdu_job_free(job);
	ok(in_child(child_anew, &s, buf, NULL) == 0, "a child opens the card for itself");
	for (i = 0; i < 60; i++) {
		memset(s.y, 0, s.size);
		s.x[0] = i;
		wrong += rdu_program_run(s.prog, "main", NULL) || !right(s.x, s.y, s.n, 0.5);
	}
	ok(!wrong, "%d of 60 runs of the parent are wrong", wrong);
	for (i = 0; i < 8192 && map[i] == 0x5a; i++)
		;
	ok(i == 8192, "its buffer is as it was");
	rdu_buffer_free(buf);
	down(&s);
}

static void test_reset(void)
{
	struct rdu_device_info before, after;
	struct rdu_device *dev;
	struct setup s;

	ok(!rdu_open(device, &dev) && !rdu_device_get_info(dev, &before, sizeof(before)) &&
		   !rdu_device_reset(dev),
	   "reset");
	rdu_close(dev);
	ok(!rdu_open(device, &dev) && !rdu_device_get_info(dev, &after, sizeof(after)) &&
		   !strcmp(before.node, after.node),
	   "the card has the node it had: \"%s\", \"%s\"", before.node, after.node);
	rdu_close(dev);
	up(&s, plain_path);
	ok(!rdu_device_reset(s.dev), "reset");
	refused(rdu_program_run(s.prog, NULL, NULL), -ENODEV, s.prog, "was reset",
		"the context is lost");
	down(&s);
}

int main(void)
{
	struct rdu_device *dev;
	char error[256];

	if (rdu_open(device, &dev)) {
		printf("1..0 # SKIP %s\n", rdu_error_text(dev));
		rdu_close(dev);
		return 77;
	}
	snprintf(chip, sizeof(chip), "%s", rdu_device_chip(dev)->name);
	rdu_close(dev);
	sample_make(&plain, chip, false);
	sample_make(&gathering, chip, GATHER);
	sample_make(&wide, chip, GATHER_INT64);
	plain_path = strdup(temp_path("plain.rdu"));
	gather_path = strdup(temp_path("gather.rdu"));
	wide_path = strdup(temp_path("wide.rdu"));
	if (rdu_file_write(plain_path, &plain.parts, error, sizeof(error)) ||
	    rdu_file_write(gather_path, &gathering.parts, error, sizeof(error)) ||
	    rdu_file_write(wide_path, &wide.parts, error, sizeof(error))) {
		printf("Bail out! %s\n", error);
		return 1;
	}
	test_open();
	test_run();
	test_in_flight();
	test_threads();
	test_buffers();
	test_memory();
	test_weights();
	test_restore();
	test_fault();
	test_wide_index();
	test_limits();
	test_bad_image();
	test_refused();
	test_trace();
	test_fork();
	test_reset();
	unlink(plain_path);
	unlink(gather_path);
	unlink(wide_path);
	free((void *)plain_path);
	free((void *)gather_path);
	free((void *)wide_path);
	sample_free(&plain);
	sample_free(&gathering);
	sample_free(&wide);
	return tap_done();
}
