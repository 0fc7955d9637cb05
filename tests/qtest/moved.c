// SPDX-License-Identifier: MIT
/* A machine moves from one QEMU to another, with all that its card holds. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "card.h"
#include "expect.h"

#define MB (1ULL << 20)
#define SLOT 4

/* Two machines with a monitor each; the second waits for what the first sends. */
struct pair {
	char folder[32];
	struct card a, b;
	FILE *monitor[2];
};

static bool start(struct pair *p, const char *first, const char *second)
{
	char path[2][64], qmp[2][96], from[64];
	const char *args[2][10] = { { "-device", first, "-qmp", qmp[0] },
				    { "-device", second, "-qmp", qmp[1], "-incoming", from } };
	struct qtest *q;

	memset(p, 0, sizeof(*p));
	strcpy(p->folder, "/tmp/rdu-qtest.XXXXXX");
	if (!mkdtemp(p->folder))
		return false;
	snprintf(from, sizeof(from), "unix:%s/move", p->folder);
	for (unsigned int i = 0; i < 2; i++) {
		snprintf(path[i], sizeof(path[i]), "%s/%u", p->folder, i);
		snprintf(qmp[i], sizeof(qmp[i]), "unix:%s,server=on,wait=off", path[i]);
		q = qtest_start(args[i]);
		if (i) {
			p->b = p->a;
			p->b.q = q;
		} else {
			card_setup(&p->a, q, SLOT);
		}
		p->monitor[i] = qtest_monitor(path[i]);
		if (!p->monitor[i] ||
		    !qtest_order(p->monitor[i], "{\"execute\": \"qmp_capabilities\"}", "return"))
			return false;
	}
	return true;
}

/* To the end; true if the second machine has it. */
static bool move(struct pair *p)
{
	char json[160];
	unsigned int n;

	snprintf(json, sizeof(json),
		 "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"unix:%s/move\"}}",
		 p->folder);
	if (!qtest_order(p->monitor[0], json, "return"))
		return false;
	memcpy(p->b.tail, p->a.tail, sizeof(p->b.tail));
	for (n = 0; n < 12000; n++) {
		if (!qtest_order(p->monitor[1], "{\"execute\": \"query-status\"}", "inmigrate"))
			break;
		usleep(5000);
	}
	return qtest_order(p->monitor[1], "{\"execute\": \"query-status\"}", "\"running\": true");
}

static void end(struct pair *p)
{
	char path[64];

	for (unsigned int i = 0; i < 2; i++) {
		struct qtest *q = i ? p->b.q : p->a.q;

		if (p->monitor[i])
			fclose(p->monitor[i]);
		if (q && qtest_stop(q) && !*why)
			snprintf(why, sizeof(why), "machine %u ended by itself", i);
		snprintf(path, sizeof(path), "%s/%u", p->folder, i);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/move", p->folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/stream", p->folder);
	unlink(path);
	rmdir(p->folder);
}

#define CARD "rdu,addr=4,mem-size=64M,threads=2,serial=QTEST"

static void submit(struct card *c, unsigned int op, uint64_t seqno, uint64_t dst, uint64_t src,
		   uint64_t len)
{
	struct rdu_cmd cmd = { .op = op, .seqno = seqno, .flags = RDU_CMD_IRQ };

	if (op == RDU_OP_FILL) {
		cmd.fill.dst = dst;
		cmd.fill.len = len;
		cmd.fill.value = src;
	} else if (op == RDU_OP_COPY) {
		cmd.copy.dst = dst;
		cmd.copy.src = src;
		cmd.copy.len = len;
	}
	card_submit(c, 0, &cmd);
}

static void masked(struct card *c, unsigned int vector, bool mask)
{
	uint32_t table = qtest_cfg_read(c->q, c->slot, c->msix + 4, 4) & ~7u;

	qtest_write(c->q, c->regs + table + 16 * vector + 12, mask, 4);
}

static void at_work(struct pair *p)
{
	struct card *a = &p->a, *b = &p->b;
	uint64_t serial;

	card_enable(a);
	card_queue_setup(a, 0);
	card_queue_setup(a, 3);
	masked(a, 3, true);
	card_submit(a, 3, &(struct rdu_cmd){ .seqno = 7, .flags = RDU_CMD_IRQ });
	EXPECT(card_wait_seqno(a, 3, 7));
	card_write64(a, RDU_REG_QUEUE(9) + RDU_REG_Q_RING_LO, 0x123456789000);
	serial = card_read64(a, RDU_REG_SERIAL);
	submit(a, RDU_OP_FILL, 1, 0, 0xabcd1234, 20 * MB);
	submit(a, RDU_OP_FILL, 2, 8 * MB, 0x5678, 4 * MB);
	for (unsigned int i = 0; i < 10; i++)
		submit(a, RDU_OP_COPY, 3 + i, (22 + i * 2) * MB + 12, 0, 20 * MB);
	EXPECT(move(p));
	EXPECT(card_wait_seqno(b, 0, 12));
	EXPECT(card_wait_msi(b, 0));
	EXPECT_EQ(qtest_read(b->q, b->mem + 40 * MB + 8, 8), 0xabcd1234abcd1234);
	EXPECT_EQ(qtest_read(b->q, b->mem + 40 * MB + 12 + 8 * MB, 4), 0x5678);
	EXPECT_EQ(qtest_read(b->q, b->mem + 40 * MB + 12 + 12 * MB, 4), 0xabcd1234);
	EXPECT_EQ(card_read64(b, RDU_REG_QUEUE(9) + RDU_REG_Q_RING_LO), 0x123456789000);
	EXPECT_EQ(card_read64(b, RDU_REG_SERIAL), serial);
	EXPECT_EQ(card_read(b, RDU_REG_QUEUE(0) + RDU_REG_Q_HEAD), 12);
	EXPECT_EQ(qtest_read(b->q, GUEST_MSI(3), 4), 0);
	masked(b, 3, false); /* was pending */
	EXPECT(card_wait_msi(b, 3));
}

static void with_pair(const char *first, const char *second, void (*test)(struct pair *))
{
	struct pair p;

	if (start(&p, first, second))
		test(&p);
	else
		snprintf(why, sizeof(why), "machines do not start");
	end(&p);
}

void test_moved_at_work(struct card *c)
{
	(void)c;
	with_pair(CARD, CARD, at_work);
}

static void power(struct card *c, unsigned int state)
{
	qtest_cfg_write(c->q, c->slot, card_find_cap(c, 0x01) + 4, state, 2);
}

static void in_d3hot(struct pair *p)
{
	card_enable(&p->a);
	card_queue_setup(&p->a, 0);
	submit(&p->a, RDU_OP_FILL, 1, 0, 0x77, 4096);
	EXPECT(card_wait_seqno(&p->a, 0, 1));
	power(&p->a, 3);
	EXPECT_EQ(card_read(&p->a, RDU_REG_MAGIC), ~0u);
	EXPECT(move(p));
	EXPECT_EQ(card_read(&p->b, RDU_REG_MAGIC), ~0u);
	power(&p->b, 0);
	EXPECT_EQ(card_read(&p->b, RDU_REG_MAGIC), RDU_MAGIC);
	EXPECT_EQ(card_read(&p->b, RDU_REG_QUEUE(0) + RDU_REG_Q_STATUS), RDU_QUEUE_IDLE);
	submit(&p->b, RDU_OP_COPY, 2, MB, 0, 4096);
	EXPECT(card_wait_seqno(&p->b, 0, 2));
	EXPECT_EQ(qtest_read(p->b.q, p->b.mem + MB + 4092, 4), 0x77);
}

void test_moved_in_d3hot(struct card *c)
{
	(void)c;
	with_pair(CARD, CARD, in_d3hot);
}

static void dead(struct pair *p)
{
	EXPECT_EQ(card_read(&p->a, RDU_REG_MAGIC), ~0u);
	EXPECT(move(p));
	EXPECT_EQ(card_read(&p->b, RDU_REG_MAGIC), ~0u);
	EXPECT(qtest_order(p->monitor[1],
			   "{\"execute\": \"qom-list\", \"arguments\": {\"path\": \"/machine\"}}",
			   "return"));
	EXPECT(qtest_order(
		p->monitor[1],
		"{\"execute\": \"qom-set\", \"arguments\": {\"path\": \"/machine/peripheral/r\","
		" \"property\": \"fault-dead\", \"value\": false}}",
		"return"));
	EXPECT_EQ(card_read(&p->b, RDU_REG_MAGIC), RDU_MAGIC);
}

void test_moved_dead(struct card *c)
{
	(void)c;
	with_pair(CARD ",id=r,fault-dead=on", CARD ",id=r", dead);
}

static void to_another_card(struct pair *p)
{
	card_enable(&p->a);
	card_queue_setup(&p->a, 0);
	EXPECT(!move(p));
	for (unsigned int n = 0; n < 2000 && qtest_alive(p->b.q); n++)
		usleep(5000);
	EXPECT_EQ(qtest_stop(p->b.q), 256 + 1);
	p->b.q = NULL;
	/* The first one still has its card. */
	qtest_order(p->monitor[0], "{\"execute\": \"cont\"}", "return");
	submit(&p->a, RDU_OP_NOP, 1, 0, 0, 0);
	EXPECT(card_wait_seqno(&p->a, 0, 1));
}

void test_moved_to_another_card(struct card *c)
{
	(void)c;
	with_pair(CARD, "rdu,addr=4,mem-size=64M,serial=OTHER", to_another_card);
	if (!*why)
		with_pair(CARD, "rdu,addr=4,mem-size=32M,serial=QTEST", to_another_card);
	if (!*why)
		with_pair(CARD, "rdu,addr=4,mem-size=64M,serial=QTEST,chip=plasticine",
			  to_another_card);
}

/* ---- a stream that somebody has changed ------------------------------------- */

struct stream {
	char path[64];
	uint8_t *data;
	size_t len, state; /* where the model's own bytes begin */
	uint64_t state_len;
};

static uint64_t big_endian(const uint8_t *p)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < 8; i++)
		value = value << 8 | p[i];
	return value;
}

/* Saves a machine at work. False: it did not work. */
static bool record(struct pair *p, struct stream *s)
{
	char json[200];
	FILE *f;

	snprintf(s->path, sizeof(s->path), "%s/stream", p->folder);
	snprintf(json, sizeof(json),
		 "{\"execute\": \"migrate\", \"arguments\": {\"uri\": \"exec:cat >%s\"}}", s->path);
	if (!qtest_order(p->monitor[0], json, "return"))
		return false;
	for (unsigned int n = 0; n < 2000; n++) {
		if (qtest_order(p->monitor[0], "{\"execute\": \"query-migrate\"}", "completed"))
			break;
		usleep(5000);
	}
	f = fopen(s->path, "rb");
	if (!f || fseek(f, 0, SEEK_END) || ftell(f) <= 0)
		return false;
	s->len = (size_t)ftell(f);
	s->data = malloc(s->len);
	rewind(f);
	if (!s->data || fread(s->data, 1, s->len, f) != s->len)
		return false;
	fclose(f);
	/* What is before it is RAM, which has nothing of the kind in it. */
	for (s->state = 24; s->state + 4 < s->len; s->state++) {
		s->state_len = big_endian(s->data + s->state - 8);
		if (!memcmp(s->data + s->state, "RDST", 4) && s->state_len < s->len - s->state)
			return true;
	}
	return false;
}

/* What becomes of a machine that is given this: 0, or as qtest_stop() says. */
static int play(struct stream *s, const uint8_t *data, size_t len)
{
	char qmp[112], path[80], json[200];
	const char *args[] = { "-device", CARD,		  "-qmp", qmp,	       "-incoming", "defer",
			       "-d",	  "guest_errors", "-D",	  "/dev/null", NULL };
	struct qtest *q;
	FILE *f;

	f = fopen(s->path, "wb");
	if (!f || fwrite(data, 1, len, f) != len || fclose(f))
		return -1;
	snprintf(path, sizeof(path), "%s.qmp", s->path);
	snprintf(qmp, sizeof(qmp), "unix:%s,server=on,wait=off", path);
	q = qtest_start(args);
	f = qtest_monitor(path);
	if (!f)
		return -1;
	qtest_order(f, "{\"execute\": \"qmp_capabilities\"}", "return");
	snprintf(json, sizeof(json),
		 "{\"execute\": \"migrate-incoming\", \"arguments\":"
		 " {\"uri\": \"exec:cat %s\"}}",
		 s->path);
	qtest_order(f, json, "return");
	/* It has it, runs for a moment, or has ended. */
	for (unsigned int n = 0; n < 2000 && qtest_alive(q); n++) {
		if (qtest_order(f, "{\"execute\": \"query-status\"}", "\"running\": true"))
			break;
		usleep(5000);
	}
	fclose(f);
	unlink(path);
	return qtest_stop(q);
}

/* The same, with some bytes changed: `at` counts from the model's first. */
static int play_changed(struct stream *s, long at, const void *bytes, size_t n)
{
	uint8_t *data = malloc(s->len);
	int end;

	if (!data)
		return -1;
	memcpy(data, s->data, s->len);
	memcpy(data + (long)s->state + at, bytes, n);
	end = play(s, data, s->len);
	free(data);
	return end;
}

static void damaged(struct pair *p)
{
	static const uint8_t ones[8] = { 255, 255, 255, 255, 255, 255, 255, 255 };
	const int refused = 256 + 1;
	struct stream s;
	uint32_t seed = 1;

	card_enable(&p->a);
	card_queue_setup(&p->a, 0);
	card_queue_setup(&p->a, 3);
	submit(&p->a, RDU_OP_FILL, 1, 0, 0xabcd1234, 20 * MB);
	submit(&p->a, RDU_OP_FILL, 2, 8 * MB, 0x5678, 4 * MB);
	EXPECT(record(p, &s));
	EXPECT_EQ(play(&s, s.data, s.len), 0);
	/* Interrupts of vectors that there are not; the state's length; its first words. */
	EXPECT_EQ(play_changed(&s, -16, ones, 8), refused);
	EXPECT_EQ(play_changed(&s, -8, ones, 8), refused);
	EXPECT_EQ(play_changed(&s, -8, "\0\0\0\0\0\0\0", 8), refused);
	EXPECT_EQ(play_changed(&s, 0, ones, 4), refused);
	EXPECT_EQ(play_changed(&s, 4, ones, 4), refused);
	EXPECT_EQ(play_changed(&s, (long)s.state_len - 4, ones, 4), refused);
	EXPECT_EQ(play(&s, s.data, s.state + s.state_len / 2), refused);
	/* Any other place: it is refused, or makes no difference to QEMU. */
	for (unsigned int i = 0; i < 12; i++) {
		int end;

		seed = seed * 1664525 + 1013904223;
		end = play_changed(&s, (long)(seed % (s.state_len - 8)), ones, 1 + i % 8);
		EXPECT(!end || end == refused);
	}
	free(s.data);
}

void test_moved_damaged(struct card *c)
{
	(void)c;
	with_pair(CARD, CARD, damaged);
}
