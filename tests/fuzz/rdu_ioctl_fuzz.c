// SPDX-License-Identifier: MIT
/*
 * Fuzzer of the driver's ioctls, for the guest. It knows every ioctl of the
 * driver and those of the DRM core that go with them, keeps the handles that
 * live, makes calls that are mostly right, and spoils them field by field:
 * boundary values, flipped bits, handles of the wrong kind or gone, pointers to
 * nothing or to the edge of something. Threads race on the same handles while
 * a timer interrupts them; processes fork, share files and are killed.
 *
 *	rdu_ioctl_fuzz -s SEED [-j THREADS] [-t SECONDS] [-n STEPS] [-r ROUND] [-f]
 *
 * With -f, and QEMU's monitor (MONITOR=yes), the card has faults meanwhile: hangs,
 * lost interrupts, failed transfers, PCI errors.
 *
 * A run is made of rounds; each starts with new processes and a seed of its own,
 * and says so in the kernel's log. -r starts with a later round. With -j 1 the
 * same seed makes the same calls; the hash of what was chosen is printed.
 * Without arguments: TAP, as a self-test.
 *
 * What it finds is in the kernel's log (KASAN and friends); what it checks
 * itself is that nothing is left on the card and that the card still computes.
 */
#define main selftest_main /* the TAP part */
#include "tests/selftests/monitor.h"
#include "tests/selftests/program.h"
#undef main

#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "ioctl_fuzz.h"

struct world world;
struct shared *shared;
unsigned char *image;
size_t image_size;
bool single;
static struct timespec deadline;

static const struct {
	void (*run)(struct thread *t);
	unsigned int weight;
} actions[] = {
#define ACTION(name, weight) { do_##name, weight },
	FUZZ_ACTIONS(ACTION)
#undef ACTION
};

/* ---- runs ---------------------------------------------------------------- */

static bool time_is_up(void)
{
	struct timespec now;

	if (!deadline.tv_sec)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > deadline.tv_sec ||
	       (now.tv_sec == deadline.tv_sec && now.tv_nsec > deadline.tv_nsec);
}

void run_steps(struct thread *t)
{
	unsigned int total = 0, i, w;
	uint64_t seed = t->rng, binds = shared->binds; /* then all files are dead */

	for (i = 0; i < sizeof(actions) / sizeof(*actions); i++)
		total += actions[i].weight;
	while (t->steps-- && !time_is_up() && shared->binds == binds) {
		/* Whatever a call came to, the next step is the same. */
		t->rng = mix(seed + t->steps);
		t->after = ~t->rng;
		w = below(t, total);
		for (i = 0; w >= actions[i].weight; i++)
			w -= actions[i].weight;
		if (t->child && actions[i].run == do_fork)
			continue;
		actions[i].run(t);
	}
}

static void *thread_main(void *arg)
{
	run_steps(arg);
	return NULL;
}

static void nothing(int number)
{
	(void)number;
}

static void make_arena(struct thread *t)
{
	t->arena = (unsigned char *)(ARENA + ARENA_STEP * t->number);
	if (mmap(t->arena, ARENA_STEP, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		_exit(3);
	mprotect(t->arena + ARENA_NONE, PAGE, PROT_NONE);
	mprotect(t->arena + ARENA_EDGE, PAGE, PROT_NONE);
	mprotect(t->arena + ARENA_CONST, PAGE, PROT_READ);
	munmap(t->arena + ARENA_CONST + PAGE, PAGE);
}

/* One process of a round. */
static void worker(uint64_t seed, unsigned int threads, unsigned int steps)
{
	struct sigaction action = { .sa_handler = nothing }; /* EINTR, no restart */
	static struct thread thread[MAX_THREADS];
	pthread_t id[MAX_THREADS];
	unsigned int i;

	sigaction(SIGALRM, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	for (i = 0; i < FILES; i++)
		world.files[i].fd = open_card();
	memset(world.fd, 0xff, sizeof(world.fd));
	if (seed & 1) /* nobody */
		if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
			_exit(4);
	for (i = 0; i < threads; i++) {
		thread[i] = (struct thread){ .number = i, .rng = mix(seed + i), .steps = steps };
		make_arena(&thread[i]);
	}
	for (i = 0; i < FILES; i++)
		do_home(&thread[0]);
	for (i = 1; i < threads; i++)
		if (pthread_create(&id[i], NULL, thread_main, &thread[i]))
			_exit(5);
	do_signal(&thread[0]);
	run_steps(&thread[0]);
	for (i = 1; i < threads; i++)
		pthread_join(id[i], NULL);
	for (i = 0; i < 4; i++)
		if (world.pid[i])
			kill(world.pid[i], SIGKILL);
	if (single)
		shared->hash = mix(shared->hash ^ thread[0].hash);
	_exit(0);
}

static void say_round(uint64_t seed, unsigned int round)
{
	FILE *log = fopen("/dev/kmsg", "w");

	if (!log)
		return;
	fprintf(log, "rdu_ioctl_fuzz: seed %llu round %u\n", (unsigned long long)seed, round);
	fclose(log);
}

struct run_options {
	uint64_t seed;
	unsigned int threads, seconds, steps, round;
	bool faults;
};

static void set_fault(const char *name, unsigned int value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	card_property(0, name, text);
}

/* Queue 0 is the kernel's own. */
static void some_fault(uint64_t x)
{
	static const char *const kind[] = { "fault-hang",   "fault-stuck", "fault-drop-irq",
					    "fault-poison", "fault-dma",   "fault-ecc-ue" };
	static const char *const error[] = { "RCVR", "COMP_TIME", "CA", "UNX_COMP" };
	unsigned int which = x % 8, value = x >> 8 & 7;

	if (which < 6)
		set_fault(kind[which], which < 2 ? value : 1 + value % 3);
	else
		monitor("'execute': 'human-monitor-command', 'arguments': "
			"{'command-line': 'pcie_aer_inject_error rdu0 %s'}",
			error[value % 4]);
	shared->faults++;
}

/* What was armed and has not struck will not. */
static void end_faults(void)
{
	static const char *const count[] = { "fault-drop-irq", "fault-poison", "fault-dma",
					     "fault-ecc-ue" };

	for (unsigned int i = 0; i < sizeof(count) / sizeof(*count); i++)
		set_fault(count[i], 0);
	card_property(0, "fault-hang", "-1");
	card_property(0, "fault-stuck", "-1");
}

/*
 * The driver lets go of the card and takes it again, as one has to do when faults
 * came so thick that it could not be reset.
 */
static void rebind(void)
{
	glob_t found;
	char *name;

	if (glob("/sys/bus/pci/drivers/rdu/0000:*", 0, NULL, &found))
		return;
	name = strrchr(found.gl_pathv[0], '/') + 1;
	sys_write("/sys/bus/pci/drivers/rdu/unbind", name);
	sys_write("/sys/bus/pci/drivers/rdu/bind", name);
	globfree(&found);
	shared->binds++;
}

/* A process of its own: a fault every few seconds. */
static pid_t start_faults(uint64_t seed)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!shared->ended) {
		seed = mix(seed + 1);
		usleep(seed & 0x7fffff);
		if (seed >> 28 & 7)
			some_fault(seed >> 32);
		else
			rebind();
	}
	_exit(0);
}

static void set_parameter(const char *name, const char *value)
{
	char path[80];

	snprintf(path, sizeof(path), "/sys/module/rdu/parameters/%s", name);
	sys_write(path, value);
}

/* Returns the hash of what was chosen. */
static uint64_t fuzz_run(const struct run_options *o)
{
	unsigned int processes = o->threads > 1 ? 2 : 1, round, done = 0, p;
	unsigned int threads = (o->threads + processes - 1) / processes;
	unsigned int limit = o->steps ? o->steps : o->seconds ? ~0u : ROUND_STEPS;
	uint64_t start_good = shared->good, start_calls = shared->calls;
	pid_t pid[2], faults = o->faults ? start_faults(o->seed) : 0;

	single = o->threads == 1;
	shared->hash = 0;
	memset(&deadline, 0, sizeof(deadline));
	if (o->seconds) {
		clock_gettime(CLOCK_MONOTONIC, &deadline);
		deadline.tv_sec += o->seconds;
	}
	for (round = o->round; done < limit && !time_is_up(); round++) {
		unsigned int steps = limit - done < ROUND_STEPS ? limit - done : ROUND_STEPS;
		uint64_t seed = mix(o->seed * 0x10001 + round);

		say_round(o->seed, round);
		for (p = 0; p < processes; p++) {
			fflush(stdout);
			pid[p] = fork();
			if (!pid[p])
				worker(mix(seed + p), threads, steps);
		}
		/* Some end before their time. */
		if (!single && seed % 4 == 1) {
			usleep(seed >> 8 & 0xfffff);
			kill(pid[seed >> 40 & 1], SIGKILL);
		}
		for (p = 0; p < processes; p++) {
			int status;

			waitpid(pid[p], &status, 0);
			if (WIFEXITED(status) && WEXITSTATUS(status))
				printf("# round %u: process %u ended with %d\n", round, p,
				       WEXITSTATUS(status));
			if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
				printf("# round %u: process %u: %s\n", round, p,
				       strsignal(WTERMSIG(status)));
		}
		done += steps;
	}
	if (faults) {
		shared->ended = true; /* not in the middle of an order */
		waitpid(faults, NULL, 0);
		end_faults();
	}
	card_order("power/control", "on");
	card_order("power/autosuspend_delay_ms", "5000");
	printf("# seed %llu: %u rounds, %llu calls, %llu of them succeeded, choices %016llx\n",
	       (unsigned long long)o->seed, round - o->round,
	       (unsigned long long)(shared->calls - start_calls),
	       (unsigned long long)(shared->good - start_good), (unsigned long long)shared->hash);
	return shared->hash;
}

/* Everything given back, a little later; and the card does what it is for. */
static bool card_is_well(uint64_t free_before, bool faults)
{
	struct drm_rdu_bo_create bo = { .size = PAGE, .placement = DRM_RDU_PLACEMENT_DEVICE };
	struct drm_rdu_query_memory memory = { 0 };
	struct drm_rdu_query_tile tiles[64];
	unsigned int owned = 0;
	struct buffer b;
	uint32_t vm, ctx;
	int fd = card_open(), ret;

	/* After a fault of the kernel's queue it is EIO until the card was reset. */
	for (int i = 0; i < 300 && (ret = call(fd, DRM_IOCTL_RDU_BO_CREATE, &bo)); i++)
		usleep(100000);
	if (ret == -EIO && faults) {
		printf("# the card was cut off: it is bound again\n");
		rebind();
		close(fd);
		fd = card_open();
		ret = call(fd, DRM_IOCTL_RDU_BO_CREATE, &bo);
	}
	if (ret) {
		printf("# afterwards no buffer can be made: %d\n", ret);
		return false;
	}
	bo_close(fd, bo.handle);
	for (int i = 0; i < 600; i++) {
		memset(tiles, 0, sizeof(tiles));
		owned = 0;
		ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &memory, sizeof(memory)), 0);
		ASSERT_EQ(query(fd, DRM_RDU_QUERY_TILES, tiles, sizeof(tiles)), 0);
		for (int tile = 0; tile < 64; tile++)
			owned += !!(tiles[tile].flags & DRM_RDU_TILE_OWNED);
		if (memory.free >= free_before && !owned)
			break;
		usleep(50000);
	}
	if (memory.free < free_before || owned) {
		printf("# %llu bytes of card memory and %u tiles were left behind\n",
		       (unsigned long long)(free_before - memory.free), owned);
		return false;
	}
	vm = vm_create(fd);
	ctx = ctx_create(fd, vm, 1);
	b = buffer_create(fd, vm, VA_BASE, 1 << 20, DRM_RDU_PLACEMENT_DEVICE);
	ret = run_job(fd, ctx, job_fill(b.va, b.size, 0x12345678));
	if (ret != 1 || ((uint32_t *)b.map)[77] != 0x12345678) {
		printf("# afterwards a fill ended with %d\n", ret);
		return false;
	}
	munmap(b.map, b.size);
	close(fd);
	return true;
}

static void prepare(void)
{
	int fd = card_open();

	image = scale_image(fd, 2.5f, RDU_SIMD_FMUL, &image_size);
	close(fd);
	for (int i = 0; i < 16; i++) {
		char path[40];

		snprintf(path, sizeof(path), "/dev/accel/accel%d", i);
		chmod(path, 0666); /* for the rounds that run as nobody */
	}
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	ASSERT_TRUE(shared != MAP_FAILED);
}

static uint64_t free_memory(void)
{
	struct drm_rdu_query_memory memory = { 0 };
	int fd = card_open();

	ASSERT_EQ(query(fd, DRM_RDU_QUERY_MEMORY, &memory, sizeof(memory)), 0);
	close(fd);
	return memory.free;
}

static void print_calls(void)
{
	static const char *const name[] = {
		"DEV_QUERY",	     "VM_CREATE",   "VM_DESTROY", "VM_BIND",	 "BO_CREATE",
		"BO_CREATE_USERPTR", "BO_INFO",	    "CTX_CREATE", "CTX_DESTROY", "CTX_GET_STATE",
		"PROG_LOAD",	     "PROG_UNLOAD", "SUBMIT",	  "PERF_OPEN",
	};

	for (unsigned int i = 0; i < sizeof(name) / sizeof(*name); i++)
		printf("# %-18s %8llu calls %8llu succeeded\n", name[i],
		       (unsigned long long)shared->call_of[i],
		       (unsigned long long)shared->good_of[i]);
	printf("# %llu orders of the owner's (sleep, reset), %llu faults, bound again %llu times\n",
	       (unsigned long long)shared->owner_orders, (unsigned long long)shared->faults,
	       (unsigned long long)shared->binds);
}

/* With one thread a seed makes the same calls again; another one others. */
TEST_TIMED(replay, 240)
{
	struct run_options o = { .seed = 7, .threads = 1, .steps = 300 };
	uint64_t first, second, other;

	prepare();
	first = fuzz_run(&o);
	second = fuzz_run(&o);
	o.seed = 8;
	other = fuzz_run(&o);
	EXPECT_TRUE(first == second);
	EXPECT_TRUE(first != other);
}

static bool each_succeeded(void)
{
	for (unsigned int i = 0; i <= DRM_RDU_PERF_OPEN; i++)
		if (!shared->good_of[i])
			return false;
	return true;
}

/* Seconds are short for a busy host: on with other seeds until every call has been good for once. */
TEST_TIMED(short_run, 280)
{
	struct run_options o = { .seed = 1, .threads = 4, .seconds = 20 };
	uint64_t before = free_memory();

	prepare();
	do {
		fuzz_run(&o);
	} while (!each_succeeded() && o.seed++ < 5);
	print_calls();
	EXPECT_TRUE(each_succeeded());
	EXPECT_TRUE(card_is_well(before, false));
}

int main(int argc, char **argv)
{
	struct run_options o = { .seed = 0, .threads = 4 };
	bool seeded = false;
	uint64_t before;
	int c;

	if (argc < 2 || argv[1][0] != '-')
		return selftest_main(argc, argv);
	while ((c = getopt(argc, argv, "s:j:t:n:r:f")) != -1) {
		unsigned long long value = optarg ? strtoull(optarg, NULL, 0) : 0;

		switch (c) {
		case 's':
			o.seed = value;
			seeded = true;
			break;
		case 'j':
			o.threads = value < 1 ? 1 : value > MAX_THREADS ? MAX_THREADS : value;
			break;
		case 't':
			o.seconds = value;
			break;
		case 'n':
			o.steps = value;
			break;
		case 'r':
			o.round = value;
			break;
		case 'f':
			o.faults = true;
			break;
		default:
			fprintf(stderr,
				"usage: %s [-s SEED] [-j THREADS] [-t SECONDS] [-n STEPS] "
				"[-r ROUND] [-f]\n",
				argv[0]);
			return 2;
		}
	}
	if (!seeded)
		o.seed = time(NULL);
	printf("# seed %llu\n", (unsigned long long)o.seed);
	before = free_memory();
	prepare();
	if (o.faults) {
		fclose(monitor_open()); /* or skip */
		/* So that what waits in vain does not wait for the whole run. */
		set_parameter("admin_timeout_ms", "500");
		set_parameter("timeout_ms", "5000");
	}
	fuzz_run(&o);
	set_parameter("admin_timeout_ms", "60000");
	set_parameter("timeout_ms", "120000");
	print_calls();
	if (!card_is_well(before, o.faults)) {
		printf("not ok 1 - seed %llu\n", (unsigned long long)o.seed);
		return 1;
	}
	printf("ok 1 - seed %llu\n", (unsigned long long)o.seed);
	return 0;
}
