// SPDX-License-Identifier: MIT
/*
 * What the device can be made with, and what is refused; what it tells QEMU's
 * trace.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "card.h"
#include "expect.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

void test_memory_backend(struct card *c)
{
	struct card second;

	card_setup(&second, c->q, 5);
	EXPECT_EQ(card_read64(&second, RDU_REG_MEM_SIZE_LO), 32 << 20);
	EXPECT_EQ(card_bar_size(&second, RDU_BAR_MEM), 32 << 20);
	qtest_write(c->q, second.mem + 0x1000, 0x55aa, 8);
	EXPECT_EQ(qtest_read(c->q, second.mem + 0x1000, 8), 0x55aa);
	EXPECT_EQ(qtest_read(c->q, c->mem + 0x1000, 8), 0);
}

/* The window is a power of two; beyond the memory nothing answers. */
void test_odd_memory_size(struct card *c)
{
	struct card second;

	card_setup(&second, c->q, 5);
	EXPECT_EQ(card_read64(&second, RDU_REG_MEM_SIZE_LO), 24 << 20);
	EXPECT_EQ(card_bar_size(&second, RDU_BAR_MEM), 32 << 20);
	qtest_write(c->q, second.mem + (24 << 20) - 8, 0x77, 8);
	qtest_write(c->q, second.mem + (24 << 20), 0x88, 8);
	EXPECT_EQ(qtest_read(c->q, second.mem + (24 << 20) - 8, 8), 0x77);
	EXPECT(qtest_read(c->q, second.mem + (24 << 20), 8) != 0x88);
}

/* KiB of memory that the process has. */
static uint64_t resident(pid_t pid)
{
	char path[64], line[128];
	unsigned long long kib = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "VmRSS: %llu", &kib);
	if (file)
		fclose(file);
	return kib;
}

/* As much as SN10 has: all of it can be reached, and what is not touched costs nothing. */
void test_huge_memory(struct card *c)
{
	const uint64_t size = 1536ULL << 30, at = 1ULL << 44;
	struct rdu_cmd fill = { .op = RDU_OP_FILL, .seqno = 1 };
	struct page_table pt;
	struct card second;

	card_setup(&second, c->q, 5);
	EXPECT_EQ(card_read64(&second, RDU_REG_MEM_SIZE_LO), size);
	EXPECT_EQ(card_bar_size(&second, RDU_BAR_MEM), 2048ULL << 30);
	second.mem = at;
	qtest_cfg_write(c->q, 5, 0x20, 0, 4);
	qtest_cfg_write(c->q, 5, 0x24, at >> 32, 4);
	qtest_write(c->q, at + size - 8, 0x77, 8);
	EXPECT_EQ(qtest_read(c->q, at + size - 8, 8), 0x77);

	pt_init(&pt, &second, 0x10000);
	pt_map(&pt, 0x20000000, size - 4096, RDU_PTE_WRITE);
	card_enable(&second);
	card_write64(&second, RDU_REG_QUEUE(1) + RDU_REG_Q_PT_LO, 0x10000);
	card_queue_setup(&second, 1);
	fill.fill.dst = 0x20000000;
	fill.fill.len = 4096;
	fill.fill.value = 0x12345678;
	card_submit(&second, 1, &fill);
	EXPECT(card_wait_seqno(&second, 1, 1));
	EXPECT_EQ(qtest_read(c->q, at + size - 8, 8), 0x1234567812345678);
	/* QEMU itself keeps three bits a page, to know which were written to. */
	EXPECT(resident(qtest_pid(c->q)) < (size >> 12) * 3 / 8 / 1024 + (200 << 10));
}

static char ro_file[] = "/tmp/rdu-qtest-ro-XXXXXX";

/* A file of 4 MiB, of which the first word is 0x600d. */
static bool make_file(char *name)
{
	static const uint64_t word = 0x600d;
	int fd = mkstemp(name);
	bool good = fd >= 0 && !ftruncate(fd, 4 << 20) &&
		    pwrite(fd, &word, sizeof(word), 0) == sizeof(word);

	if (fd >= 0)
		close(fd);
	return good;
}

void test_bad_properties(struct card *c)
{
	char backend[3][200];
	const struct {
		const char *args[7];
		const char *said;
	} bad[] = {
		{ { "-device", "rdu,chip=no-such-chip" }, "chip description: " },
		{ { "-device", "rdu,chip=/dev/null" }, "chip description: " },
		{ { "-device", "rdu,mem-size=5000" },
		  "mem-size: card memory is a multiple of 4 KiB" },
		{ { "-device", "rdu,mem-size=0" }, "mem-size: card memory is a multiple of 4 KiB" },
		{ { "-device", "rdu,mem-size=4P" },
		  "mem-size: card memory is a multiple of 4 KiB" },
		{ { "-device", "rdu,memdev=nothing" }, "nothing" },
		{ { "-device", "rdu,fault-hang=64" }, "a queue from 0 to 63" },
		{ { "-device", "rdu,threads=257" }, "more than 256 threads" },
		{ { "-device", "rdu,serial=12345678901234567" }, "16 printable ASCII characters" },
		{ { "-device", "rdu,serial=a\tb" }, "16 printable ASCII characters" },
		{ { "-device", "intel-iommu", "-device", "rdu" }, "virtual IOMMU" },
		{ { "-device", "rdu", "-device", "intel-iommu" }, "virtual IOMMU" },
		{ { "-object", "memory-backend-ram,id=m,size=4M", "-device",
		    "rdu,memdev=m,mem-size=4M" },
		  "exclude each other" },
		{ { "-object", "memory-backend-ram,id=m,size=4M", "-device", "rdu,memdev=m",
		    "-device", "rdu,memdev=m" },
		  "in use already" },
		{ { "-object", "memory-backend-ram,id=m,size=128M", "-machine", "memory-backend=m",
		    "-device", "rdu,memdev=m" },
		  "in use already" },
		{ { "-object", backend[0], "-device", "rdu,memdev=m" }, "is read only" },
		{ { "-object", backend[1], "-device", "rdu,memdev=m" }, "is read only" },
	};
	static const char *const good[][5] = {
		{ "-device", "rdu,mem-size=1M" },
		{ "-device", "rdu,mem-size=1M,threads=256,serial=1234567890123456" },
		{ "-object", "memory-backend-ram,id=m,size=4M,prealloc=on", "-device",
		  "rdu,memdev=m" },
	};
	const char *private[] = { "-object", backend[2], "-device", "rdu,memdev=m", NULL };
	char said[1024];

	(void)c;
	EXPECT(make_file(ro_file));
	snprintf(backend[0], sizeof(backend[0]),
		 "memory-backend-file,id=m,size=4M,readonly=on,mem-path=%s", ro_file);
	snprintf(backend[1], sizeof(backend[1]),
		 "memory-backend-file,id=m,size=4M,readonly=on,rom=on,share=on,mem-path=%s",
		 ro_file);
	snprintf(backend[2], sizeof(backend[2]),
		 "memory-backend-file,id=m,size=4M,readonly=on,rom=off,mem-path=%s", ro_file);
	for (unsigned int i = 0; i < COUNT(bad) && !*why; i++)
		if (!qtest_refused(bad[i].args, said, sizeof(said)) || !strstr(said, bad[i].said))
			snprintf(why, sizeof(why), "%s %s: not \"%s\": %.100s", bad[i].args[1],
				 bad[i].args[2] ? bad[i].args[3] : "", bad[i].said, said);
	for (unsigned int i = 0; i < COUNT(good) && !*why; i++)
		if (qtest_refused(good[i], said, sizeof(said)) || *said)
			snprintf(why, sizeof(why), "%s: %.150s", good[i][1], said);
	if (!*why && qtest_refused(private, said, sizeof(said)))
		snprintf(why, sizeof(why), "%.100s: %.100s", private[1], said);
	unlink(ro_file);
}

/*
 * A private mapping of a file: what the card stores, and what a card that is dead and
 * then comes back forgets, is not the file's.
 */
void test_file_kept(struct card *c)
{
	char name[] = "/tmp/rdu-qtest-file-XXXXXX", backend[200], path[64], qmp[100];
	const char *args[] = { "-object", backend,   "-qmp",
			       qmp,	  "-device", "rdu,addr=5,id=card,memdev=m,fault-dead=on",
			       NULL };
	struct card own, second;
	uint64_t word = 0;
	FILE *file;

	(void)c;
	EXPECT(make_file(name));
	snprintf(path, sizeof(path), "%s.qmp", name);
	snprintf(qmp, sizeof(qmp), "unix:%s,server=on,wait=off", path);
	snprintf(backend, sizeof(backend), "memory-backend-file,id=m,size=4M,share=off,mem-path=%s",
		 name);
	own.q = card_machine(args);
	card_setup(&second, own.q, 5);
	file = qtest_monitor(path);
	EXPECT(file && qtest_order(file, "{\"execute\": \"qmp_capabilities\"}", "return"));
	EXPECT(qtest_order(file,
			   "{\"execute\": \"qom-set\", \"arguments\": {\"path\": "
			   "\"/machine/peripheral/card\", \"property\": \"fault-dead\", "
			   "\"value\": false}}",
			   "return"));
	fclose(file);
	card_setup(&second, own.q, 5);
	word = qtest_read(own.q, second.mem, 8);
	qtest_write(own.q, second.mem, 0xbad, 8);
	EXPECT_EQ(qtest_stop(own.q), 0);
	EXPECT_EQ(word, 0);
	file = fopen(name, "r");
	EXPECT(file && fread(&word, sizeof(word), 1, file) == 1);
	fclose(file);
	unlink(name);
	unlink(path);
	EXPECT_EQ(word, 0x600d);
}

/* ---- trace ------------------------------------------------------------------ */

void test_trace_events(struct card *c)
{
	static const char *const wanted[] = {
		"rdu_reset traced",
		"rdu_doorbell traced queue 1 tail 1\n",
		"rdu_dma traced read addr 0x110000 len 64",
		"rdu_command traced queue 1 seqno 41 op 0\n",
		"rdu_completion traced queue 1 seqno 41 cycles ",
		"rdu_interrupt traced vector 1\n",
		"rdu_msix traced vector 1 enabled 1\n",
		"rdu_command traced queue 1 seqno 42 op 200\n",
		"rdu_fault traced queue 1 seqno 42 code ",
		"rdu_interrupt traced vector 64\n",
		"rdu_queue_reset traced queue 1\n",
	};
	char log[] = "/tmp/rdu-qtest-trace-XXXXXX", text[65536] = "", *at = text;
	const char *args[] = {
		"-device", "rdu,addr=5,id=traced,mem-size=4M", "-trace", "rdu_*", "-D", log, NULL
	};
	struct rdu_cmd cmd = { .op = RDU_OP_NOP, .flags = RDU_CMD_IRQ, .seqno = 41 };
	int fd = mkstemp(log);
	struct card own;
	FILE *file;

	(void)c;
	EXPECT(fd >= 0);
	close(fd);
	own.q = card_machine(args);
	card_setup(&own, own.q, 5);
	card_enable(&own);
	card_queue_setup(&own, 1);
	card_submit(&own, 1, &cmd);
	EXPECT(card_wait_seqno(&own, 1, 41));
	EXPECT(card_wait_msi(&own, 1));
	cmd.op = 200;
	cmd.seqno = 42;
	card_submit(&own, 1, &cmd);
	EXPECT(card_wait_status(&own, 1, RDU_QUEUE_FAULTED));
	EXPECT(card_wait_msi(&own, RDU_VECTOR_FAULT));
	card_write(&own, RDU_REG_QUEUE(1) + RDU_REG_Q_CTRL, 2);
	EXPECT(card_wait_status(&own, 1, RDU_QUEUE_DISABLED));
	EXPECT_EQ(qtest_stop(own.q), 0);
	file = fopen(log, "r");
	EXPECT(file);
	text[fread(text, 1, sizeof(text) - 1, file)] = 0;
	fclose(file);
	unlink(log);
	for (unsigned int i = 0; i < COUNT(wanted) && !*why; i++) {
		at = strstr(at, wanted[i]);
		if (!at)
			snprintf(why, sizeof(why), "no \"%s\" where it should be", wanted[i]);
	}
}
