// SPDX-License-Identifier: MIT
/*
 * The way in: what it costs to give the card work and data, through the driver.
 * Run in the VM by tests/bench/guest, which starts the VM with an NVMe device
 * and puts the host's memcpy in the place of the guest's; by itself it takes
 * any card.
 *
 *	way_in NAME...        the named ones
 *	way_in host_memcpy    only GB/s of memcpy: to be run on the host
 */
#include <fcntl.h>
#include <unistd.h>
#include <sys/mman.h>
#include <xf86drm.h>
#include "bench.h"
#include "drm/rdu_accel.h"
#include "measure.h"

#define COPY (64 << 20)
#define TOUCH (64 << 20)
#define TURNS 3 /* with the peer */
#define JOBS 1000
#define BATCHES 5 /* of JOBS, turn about with the peer */
#define MANY 100000
#define ROUNDS 10 /* that they are done in, turn about with the peer */
#define TOGETHER 64 /* jobs in one SUBMIT */
#define BLOCK 4096

static struct rdu_context *ctx;

static void check(int failed)
{
	if (failed)
		die("the card", ctx);
}

/* One direction is measured with the other, and told once. */
static void dma(bool to_card)
{
	static double to, from, guest;

	if (!guest) {
		guest = measure_memcpy(COPY);
		check(measure_copy(ctx, COPY, &to, &from));
	}
	report(to_card ? "dma_h2d_64m" : "dma_d2h_64m", (to_card ? to : from) * 1e-9, "GB/s",
	       "guest-memcpy", guest * 1e-9);
}

/* Random blocks by O_DIRECT: seconds, the median. */
static double nvme_read(unsigned int count)
{
	int fd = open("/dev/nvme0n1", O_RDONLY | O_DIRECT);
	double *t = calloc(count, sizeof(*t)), median;
	uint32_t seed = 1, blocks;
	void *block;

	if (fd < 0 || !t || posix_memalign(&block, BLOCK, BLOCK))
		die("/dev/nvme0n1, the peer", NULL);
	blocks = lseek(fd, 0, SEEK_END) / BLOCK;
	for (unsigned int i = 0; i < count; i++) {
		off_t at;

		seed = seed * 1664525 + 1013904223;
		at = (off_t)((seed >> 8) % blocks) * BLOCK;
		t[i] = now();
		if (pread(fd, block, BLOCK, at) != BLOCK)
			die("reading /dev/nvme0n1", NULL);
		t[i] = now() - t[i];
	}
	median = measure_median(t, count);
	free(block);
	free(t);
	close(fd);
	return median;
}

static void latency(void)
{
	double job[BATCHES], read[BATCHES];

	for (unsigned int i = 0; i < BATCHES; i++) {
		check(measure_latency(ctx, JOBS, &job[i]));
		read[i] = nvme_read(JOBS);
	}
	report("job_latency", measure_median(job, BATCHES) * 1e6, "us", "nvme-read-4k",
	       measure_median(read, BATCHES) * 1e6);
}

/* The ioctls themselves, with a context of their own. */
static struct {
	int fd;
	uint32_t ctx, timeline;
	uint64_t point;
} ioctls;

static void call(unsigned long request, void *arg, const char *what)
{
	if (drmIoctl(ioctls.fd, request, arg))
		die(what, NULL);
}

static void ioctls_open(void)
{
	struct drm_rdu_vm_create vm = { 0 };
	struct drm_rdu_ctx_create create = { 0 };

	if (ioctls.ctx)
		return;
	ioctls.fd = rdu_device_fd(rdu_context_device(ctx));
	call(DRM_IOCTL_RDU_VM_CREATE, &vm, "VM_CREATE");
	create.vm_id = vm.vm_id;
	call(DRM_IOCTL_RDU_CTX_CREATE, &create, "CTX_CREATE");
	ioctls.ctx = create.ctx_id;
	if (drmSyncobjCreate(ioctls.fd, 0, &ioctls.timeline))
		die("syncobj", NULL);
}

/* So many empty jobs; the timeline's next point is signalled when they are done. */
static void submit_empty(uint32_t count)
{
	static struct drm_rdu_job jobs[TOGETHER];
	struct drm_rdu_sync sync = { .flags = DRM_RDU_SYNC_SIGNAL | DRM_RDU_SYNC_TIMELINE,
				     .handle = ioctls.timeline,
				     .point = ++ioctls.point };
	struct drm_rdu_submit submit = { .ctx_id = ioctls.ctx,
					 .jobs = (uintptr_t)jobs,
					 .num_jobs = count,
					 .job_stride = sizeof(*jobs),
					 .syncs = (uintptr_t)&sync,
					 .num_syncs = 1,
					 .sync_stride = sizeof(sync) };

	for (uint32_t i = 0; i < count; i++)
		jobs[i].type = DRM_RDU_JOB_BARRIER;
	call(DRM_IOCTL_RDU_SUBMIT, &submit, "SUBMIT");
}

static void wait_empty(uint64_t point)
{
	if (drmSyncobjTimelineWait(ioctls.fd, &ioctls.timeline, &point, 1, INT64_MAX, 0, NULL))
		die("waiting for a syncobj", NULL);
}

/*
 * Seconds a job: `jobs` of them, `together` in a SUBMIT, at most `ahead` SUBMITs in
 * flight. When there are so many it waits until half of them are done.
 */
static double empty_jobs(uint32_t jobs, uint32_t together, uint32_t ahead)
{
	uint32_t flying = 0;
	double t = now();

	for (uint32_t done = 0, n; done < jobs; done += n) {
		n = jobs - done < together ? jobs - done : together;
		submit_empty(n);
		if (++flying == ahead) {
			flying = ahead / 2;
			wait_empty(ioctls.point - flying);
		}
	}
	wait_empty(ioctls.point);
	return (now() - t) / jobs;
}

/*
 * Many in flight, against one at a time. Wall time of all of them, both: what
 * other work on the host takes away, it takes from both.
 */
static void pipelined(const char *name, uint32_t jobs, uint32_t together)
{
	double one[ROUNDS], each[ROUNDS];

	ioctls_open();
	for (unsigned int i = 0; i < ROUNDS; i++) {
		one[i] = empty_jobs(JOBS, 1, 1);
		each[i] = empty_jobs(jobs / ROUNDS, together, 32);
	}
	report(name, measure_median(each, ROUNDS) * 1e6, "us", "one-at-a-time",
	       measure_median(one, ROUNDS) * 1e6);
}

static void bar(bool write)
{
	double best[4] = { 0 }, t[4]; /* write, read; the peer's */
	struct rdu_buffer *buf;
	void *map, *peer;

	if (rdu_buffer_new(ctx, TOUCH, RDU_BUFFER_CARD, &buf))
		die("buffer", buf);
	map = rdu_buffer_map(buf);
	if (!map)
		die("map", buf);
	peer = mmap(NULL, TOUCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (peer == MAP_FAILED)
		die("mmap", NULL);
	for (unsigned int i = 0; i < TURNS; i++) {
		measure_touch(map, TOUCH, &t[0], &t[1]);
		measure_touch(peer, TOUCH, &t[2], &t[3]);
		for (unsigned int k = 0; k < 4; k++)
			best[k] = t[k] > best[k] ? t[k] : best[k];
	}
	if (write)
		report("bar_write", best[0] * 1e-9, "GB/s", "memory", best[2] * 1e-9);
	else
		report("bar_read", best[1] * 1e-9, "GB/s", "memory", best[3] * 1e-9);
	munmap(peer, TOUCH);
	rdu_buffer_free(buf);
}

int main(int argc, char **argv)
{
	struct rdu_context_options options = { .size = sizeof(options), .tiles = 1 };
	struct rdu_device *dev;

	if (argc == 2 && !strcmp(argv[1], "host_memcpy")) {
		printf("%.4f\n", measure_memcpy(COPY) * 1e-9);
		return 0;
	}
	if (rdu_open(NULL, &dev))
		die("card", dev);
	if (rdu_context_new(dev, &options, &ctx))
		die("context", ctx);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "dma_h2d_64m") || !strcmp(argv[i], "dma_d2h_64m"))
			dma(argv[i][4] == 'h');
		else if (!strcmp(argv[i], "job_latency"))
			latency();
		else if (!strcmp(argv[i], "job_pipelined"))
			pipelined(argv[i], MANY, TOGETHER);
		else if (!strcmp(argv[i], "job_submitted"))
			pipelined(argv[i], MANY / 10, 1);
		else if (!strcmp(argv[i], "bar_read") || !strcmp(argv[i], "bar_write"))
			bar(argv[i][4] == 'w');
		else
			die(argv[i], NULL);
	}
	rdu_context_free(ctx);
	rdu_close(dev);
	return 0;
}
