// SPDX-License-Identifier: MIT
/*
 * A hostile guest against the card's QEMU device, through the qtest protocol:
 * registers, doorbells and the MSI-X table at any offset and size, configuration
 * space, rings and page tables of any content (at random they lead to the card's
 * own BARs, to another card's, to registers, ROM and holes), changed by a second
 * thread meanwhile; faults, resets, power states, a stopped machine, a card that
 * is plugged in and out.
 *
 *   fuzz_front [-max_total_time=SECONDS] [-seed=N] [-runs=N] [-verbose=1]
 *
 * QEMU ($QEMU) should be one with ASan and UBSan (`make qemu-asan`). A round is made from its seed;
 * QEMU lives for ROUNDS_PER_QEMU of them. After each, whatever it did, the card
 * must come back by a reset and copy rightly. Half of the rounds are *strict*:
 * nothing given to the card leads to guest RAM from GUARD on, or to where its own
 * page tables lie; at their end GUARD must be as it was, and nothing of it may be
 * found elsewhere. In the others everything goes.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "doubler.h"
#include "fuzz_front.h"

struct rdu_chip chip;
struct qtest *q;
struct card card, peer, visitor;
unsigned int pcie, pm, port;
unsigned char *ram, *mem, *guard;
void *image;
size_t image_size;
int monitor[2] = { -1, -1 };
FILE *answers;
bool wild, verbose, stopped, plugged;
uint64_t seed, first_seed;
uint32_t tail[QUEUES];
const char *step = "start";
uint64_t fetched, faults[16]; /* how deep it gets */

/* ---- saying, and failing -------------------------------------------------- */

__attribute__((format(printf, 1, 2))) void say(const char *format, ...)
{
	va_list args;

	if (!verbose)
		return;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

static void hint(void)
{
	fprintf(stderr,
		"replay: -seed=%" PRIu64 " -runs=1, or all this QEMU saw: -seed=%" PRIu64
		" -runs=%" PRIu64 "; step: %s\n",
		seed, first_seed, seed - first_seed + 1, step);
}

__attribute__((format(printf, 1, 2), noreturn)) void fail(const char *format, ...)
{
	va_list args;
	int end;

	fprintf(stderr, "ERROR: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	hint();
	alarm(0);
	end = qtest_stop(q);
	if (end)
		fprintf(stderr, "QEMU ended with %d\n", end);
	exit(1);
}

static void too_long(int signal)
{
	static const char text[] = "ERROR: QEMU does not answer\n";

	(void)signal;
	if (write(2, text, sizeof(text) - 1) < 0)
		_exit(1);
	kill(qtest_pid(q), SIGABRT);
}

/* ---- QMP ------------------------------------------------------------------ */

char *answer;

__attribute__((format(printf, 1, 2))) bool order(const char *format, ...)
{
	static size_t room;
	char text[300];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	say("%s", text);
	if (write(monitor[0], text, n) != n)
		return false;
	do {
		if (getline(&answer, &room, answers) <= 0)
			return false;
	} while (strncmp(answer, "{\"return\"", 9) && strncmp(answer, "{\"error\"", 8));
	if (verbose && answer[2] == 'e')
		say("  %s", answer);
	return answer[2] == 'r';
}

void set_property(const char *name, const char *value)
{
	order("{\"execute\":\"qom-set\",\"arguments\":{\"path\":\"/machine/peripheral/rdu0\","
	      "\"property\":\"%s\",\"value\":%s}}",
	      name, value);
}

/* ---- the end of a round --------------------------------------------------- */

#define CHECK(condition)                                           \
	do {                                                       \
		if (!(condition))                                  \
			fail("line %d: %s", __LINE__, #condition); \
	} while (0)

static void recover(void)
{
	static const char *const counts[] = { "fault-drop-irq", "fault-poison", "fault-dma",
					      "fault-ecc-ue" };

	step = "recover";
	alarm(PATIENCE);
	resume();
	unplug();
	set_property("fault-hang", "-1");
	set_property("fault-stuck", "-1");
	for (unsigned int i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		set_property(counts[i], "0");
	revive();
	qtest_cfg_write(q, SLOT, pcie + 8, 0x8000, 2);
	setup();
}

/* A copy in through the host's pages and out through the large one. */
static void works(struct rnd *r)
{
	uint8_t in[9000];
	struct rdu_cmd c[] = {
		{ .op = RDU_OP_COPY,
		  .seqno = 1,
		  .copy = { .src = 0x200000, .dst = 0x40003, .len = sizeof(in) } },
		{ .op = RDU_OP_COPY,
		  .flags = RDU_CMD_IRQ,
		  .seqno = 2,
		  .copy = { .src = 0x40003, .dst = 0xe00000 + 0x100000, .len = sizeof(in) } },
	};

	step = "work after a reset";
	build_tables(r);
	for (unsigned int i = 0; i < sizeof(in); i++)
		in[i] = bits(r);
	memcpy(ram + GRANTED, in, sizeof(in));
	memset(ram + CPL(1), 0, 8);
	memset(ram + MSI(1), 0, 4);
	qtest_write(q, card.regs + 0x8000 + 16, MSI(1), 4);
	CHECK(card_read(&card, RDU_REG_MAGIC) == RDU_MAGIC);
	CHECK(card_read(&card, RDU_REG_STATUS) == RDU_STATUS_READY);
	card_write(&card, RDU_REG_CTRL, RDU_CTRL_ENABLE);
	card_write64(&card, RDU_REG_QUEUE(1) + RDU_REG_Q_RING_LO, RING(1));
	card_write(&card, RDU_REG_QUEUE(1) + RDU_REG_Q_RING_LOG2, ENTRIES_LOG2);
	card_write64(&card, RDU_REG_QUEUE(1) + RDU_REG_Q_CPL_LO, CPL(1));
	card_write(&card, RDU_REG_QUEUE(1) + RDU_REG_Q_CTRL, 1);
	memcpy(ram + RING(1), c, sizeof(c));
	qtest_write(q, card.doorbells + RDU_DOORBELL_STRIDE, 2, 4);
	for (unsigned int n = 0; n < 20000; n++) {
		if (!memcmp(ram + CPL(1), &c[1].seqno, 8) && ram[MSI(1) + 3])
			break;
		CHECK(card_read(&card, RDU_REG_QUEUE(1) + RDU_REG_Q_STATUS) != RDU_QUEUE_FAULTED);
		usleep(100);
	}
	CHECK(!memcmp(ram + CPL(1), &c[1].seqno, 8));
	CHECK(ram[MSI(1) + 3] == MSI_DATA(1) >> 24);
	CHECK(!memcmp(ram + GRANTED + 0x100000, in, sizeof(in)));
	CHECK(card_read(&peer, RDU_REG_MAGIC) == RDU_MAGIC);
	CHECK(qtest_alive(q));
	alarm(0);
}

#define MARK "do not touch it!"

static void check_guard(void)
{
	for (unsigned int i = GUARD; i < RAM; i += 4096)
		if (memcmp(ram + i, guard + i, 4096))
			fail("host memory at %#x was written, which nobody gave to the card", i);
	if (memmem(mem, MEM, MARK, 16) || memmem(ram, GUARD, MARK, 16))
		fail("host memory was read that nobody gave to the card");
}

static void one_round(void)
{
	struct rnd r = { seed * 0x2545f4914f6cdd1dULL };
	struct rdu_cmd load;
	pthread_t thread;

	say("round %" PRIu64, seed);
	wild = seed & 1;
	racer_rnd.state = ~r.state;
	restore_images();
	build_tables(&r);
	for (unsigned int i = 0; i < QUEUES; i++)
		enable(&r, i);
	poke(card.regs + RDU_REG_CTRL, RDU_CTRL_ENABLE, 4);
	load = (struct rdu_cmd){ .op = RDU_OP_PROG_LOAD,
				 .prog = { .addr = IMAGE, .size = image_size } };
	memcpy(ram + RING(0) + (tail[0]++ & 63) * sizeof(load), &load, sizeof(load));
	poke(card.doorbells, tail[0], 4);
	if (one_in(&r, 2))
		plug(&r);
	racing = below(&r, 2);
	if (racing && pthread_create(&thread, NULL, racer, NULL))
		fail("no thread");
	for (unsigned int i = 0; i < ACTIONS && (i % 50 || qtest_alive(q)); i++)
		act(&r);
	if (racing) {
		racing = false;
		pthread_join(thread, NULL);
	}
	if (!qtest_alive(q))
		fail("QEMU is gone");
	recover();
	if (!wild)
		check_guard();
	else
		memcpy(ram + GUARD, guard + GUARD, RAM - GUARD);
	works(&r);
	if (wild) { /* nothing that it brought here may be found later */
		memset(mem + DATA, 0, MEM - DATA);
		memset(ram + RING(0), 0, GUARD - RING(0));
	}
}

/* ---- QEMU ----------------------------------------------------------------- */

/* A file of so many bytes, gone when everybody has let go of it. */
static void *shared_file(char *path, size_t size)
{
	int fd = mkstemp(path);
	void *p;

	if (fd < 0 || ftruncate(fd, size)) {
		perror(path);
		exit(1);
	}
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p;
}

static void start(void)
{
	char ram_path[] = "/dev/shm/fuzz-ram-XXXXXX", mem_path[] = "/dev/shm/fuzz-mem-XXXXXX";
	char ram_arg[200], mem_arg[200], chardev[60];
	const char *args[] = { "-m",	   "16M",
			       "-object",  ram_arg,
			       "-object",  mem_arg,
			       "-object",  "memory-backend-ram,id=peer,size=2M",
			       "-machine", "memory-backend=ram",
			       "-chardev", chardev,
			       "-mon",	   "chardev=qmp,mode=control",
			       "-device",  "rdu,id=rdu0,addr=4,memdev=mem,threads=2",
			       "-device",  "rdu,id=rdu1,addr=5,memdev=peer,threads=1",
			       "-object",  "memory-backend-ram,id=guestmem,size=2M",
			       "-device",  "pcie-root-port,id=hotport,addr=6,chassis=1,slot=1",
			       "-global",  "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
			       NULL };

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, monitor))
		exit(1);
	fcntl(monitor[0], F_SETFD, FD_CLOEXEC);
	ram = shared_file(ram_path, RAM);
	mem = shared_file(mem_path, MEM);
	snprintf(ram_arg, sizeof(ram_arg),
		 "memory-backend-file,id=ram,size=%u,share=on,mem-path=%s", RAM, ram_path);
	snprintf(mem_arg, sizeof(mem_arg),
		 "memory-backend-file,id=mem,size=%u,share=on,mem-path=%s", MEM, mem_path);
	snprintf(chardev, sizeof(chardev), "socket,id=qmp,fd=%d", monitor[1]);
	first_seed = seed;
	step = "start";
	q = qtest_start(args);
	close(monitor[1]);
	unlink(ram_path);
	unlink(mem_path);
	answers = fdopen(monitor[0], "r");
	order("{\"execute\":\"qmp_capabilities\"}");
	stopped = false;
	setup();
	pcie = card_find_cap(&card, 0x10);
	pm = card_find_cap(&card, 0x01);
	visitor.q = q;
	visitor.slot = 32; /* the first of bus 1 */
	visitor.regs = 0xf0000000;
	visitor.doorbells = 0xf0100000;
	visitor.mem = 0xf0200000;
	port = card_find_cap(&(struct card){ .q = q, .slot = PORT_SLOT }, 0x10);
	plugged = false;
	if (!pcie || !pm || !port)
		fail("no capabilities");
	memcpy(ram + GUARD, guard + GUARD, RAM - GUARD);
}

void stop(void)
{
	int end;

	step = "the end of QEMU";
	alarm(PATIENCE);
	end = qtest_stop(q);
	alarm(0);
	if (end) {
		fprintf(stderr, "ERROR: QEMU ended with %d\n", end);
		seed--;
		hint();
		exit(1);
	}
	fclose(answers);
	munmap(ram, RAM);
	munmap(mem, MEM);
}

static uint64_t option(int argc, char **argv, const char *name, uint64_t value)
{
	size_t n = strlen(name);

	for (int i = 1; i < argc; i++)
		if (!strncmp(argv[i], name, n) && argv[i][n] == '=')
			value = strtoull(argv[i] + n + 1, NULL, 0);
	return value;
}

int main(int argc, char **argv)
{
	uint64_t runs = option(argc, argv, "-runs", ~0ULL), done = 0;
	time_t begin = time(NULL), end = begin + option(argc, argv, "-max_total_time", 1 << 30);
	char why[200];

	verbose = option(argc, argv, "-verbose", 0);
	seed = option(argc, argv, "-seed", (uint64_t)begin * 1000);
	if (rdu_chip_find("sn10", &chip, why, sizeof(why)))
		return 1;
	image = doubler_image(&chip, &image_size);
	guard = malloc(RAM);
	if (!guard)
		return 1;
	for (unsigned int i = 0; i < RAM; i += 32) {
		memcpy(guard + i, MARK, 16);
		snprintf((char *)guard + i + 16, 16, "%15u", i);
	}
	signal(SIGALRM, too_long);
	if (!getenv("QEMU") || !*getenv("QEMU"))
		setenv("QEMU", "build/qemu/asan/qemu-system-x86_64", 1);
	setenv("ASAN_OPTIONS", "allocator_may_return_null=1:detect_leaks=1", 0);
	setenv("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1", 0);
	for (; done < runs && time(NULL) < end; done++, seed++) {
		if (done % ROUNDS_PER_QEMU == 0) {
			if (done)
				stop();
			start();
		}
		one_round();
	}
	stop();
	printf("%" PRIu64 " commands fetched by queues that were reset then; faults:", fetched);
	for (unsigned int i = 0; i < 16; i++)
		printf(" %" PRIu64, faults[i]);
	printf("\nDone %" PRIu64 " runs in %ld second(s)\n", done, (long)(time(NULL) - begin));
	return 0;
}
