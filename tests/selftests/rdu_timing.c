// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What one user learns of another by time: by the card's clock, which is modelled and
 * so the same in every run. Wall time is not looked at: Documentation/isolation.md says
 * what it shows.
 */
#include "program.h"
#include "user.h"

#define SIZE (4 << 20)
#define ROUNDS 8
#define FAR (VA_BASE + (1 << 30))

/* Words that arithmetic takes in different ways: zeros, numbers, denormals, NaNs. */
static const uint32_t kinds[][2] = {
	{ 0, 0 }, { 0x3f800000, 1 }, { 1, 0 }, { 0x7fc00000, 0 }, { 0x7f7fffff, 0x12345 },
};

#define KINDS (sizeof(kinds) / sizeof(*kinds))

struct worker {
	struct run run;
	struct buffer device, system, times;
};

static void worker_init(struct worker *w, int fd)
{
	run_init(&w->run, fd, 3, 1, DRM_RDU_PLACEMENT_DEVICE);
	w->device = buffer_create(fd, w->run.vm, FAR, SIZE, DRM_RDU_PLACEMENT_DEVICE);
	w->system = buffer_create(fd, w->run.vm, FAR + SIZE, SIZE, DRM_RDU_PLACEMENT_SYSTEM);
	w->times = buffer_create(fd, w->run.vm, FAR + 2 * SIZE, PAGE, DRM_RDU_PLACEMENT_SYSTEM);
}

static void worker_data(struct worker *w, unsigned int kind)
{
	struct buffer *b[] = { &w->run.in, &w->device, &w->system };

	for (int i = 0; i < 3; i++)
		for (uint64_t j = 0; j < b[i]->size / 4; j++)
			((uint32_t *)b[i]->map)[j] = kinds[kind][0] + j * kinds[kind][1];
}

static struct drm_rdu_job stamp(struct worker *w, int number)
{
	return (struct drm_rdu_job){
		.type = DRM_RDU_JOB_TIMESTAMP, .timestamp = { .va = w->times.va + 8 * number },
	};
}

/* What a user can measure of his own jobs, in cycles of the card. */
struct measured {
	uint64_t first, last; /* the clock */
	uint64_t program, copy, upload, fill;
	uint64_t exec, pload, aload, bytes;
};

static struct measured measure(struct worker *w)
{
	const struct rdu_stats *stats = w->run.stats.map;
	const uint64_t *times = w->times.map;
	struct drm_rdu_job jobs[] = {
		stamp(w, 0), run_command(&w->run),
		stamp(w, 1), job_copy(FAR, FAR + SIZE / 2, SIZE / 2),
		stamp(w, 2), job_copy(FAR, FAR + SIZE, SIZE / 2),
		stamp(w, 3), job_fill(FAR + SIZE / 2, SIZE / 2, 7),
		stamp(w, 4),
	};

	ASSERT_EQ(run_jobs(w->run.fd, w->run.ctx, jobs, sizeof(jobs) / sizeof(*jobs)), 1);
	return (struct measured){
		.first = times[0], .last = times[4],
		.program = times[1] - times[0], .copy = times[2] - times[1],
		.upload = times[3] - times[2], .fill = times[4] - times[3],
		.exec = stats->exec_cycles, .pload = stats->pload_cycles,
		.aload = stats->aload_cycles, .bytes = stats->dram_bytes,
	};
}

/* But for the clock itself. */
static void same(const struct measured *a, const struct measured *b)
{
	EXPECT_EQ(a->program, b->program);
	EXPECT_EQ(a->copy, b->copy);
	EXPECT_EQ(a->upload, b->upload);
	EXPECT_EQ(a->fill, b->fill);
	EXPECT_EQ(a->exec, b->exec);
	EXPECT_EQ(a->pload, b->pload);
	EXPECT_EQ(a->aload, b->aload);
	EXPECT_EQ(a->bytes, b->bytes);
}

static void two_tiles(void)
{
	if (card_info(card_open()).num_tiles < 2)
		SKIP("one tile only");
}

/*
 * The other's sections may take of memory's time while these run, half of it at most; all else
 * is the same.
 */
static void same_or_shared(const struct measured *alone, const struct measured *m)
{
	uint64_t more = m->exec - alone->exec;

	EXPECT_GE(m->exec, alone->exec);
	EXPECT_GE(2 * alone->exec + alone->exec / 4, m->exec);
	EXPECT_EQ(m->program, alone->program + more);
	EXPECT_EQ(m->copy, alone->copy);
	EXPECT_EQ(m->upload, alone->upload);
	EXPECT_EQ(m->fill, alone->fill);
	EXPECT_EQ(m->pload, alone->pload);
	EXPECT_EQ(m->aload, alone->aload);
	EXPECT_EQ(m->bytes, alone->bytes);
}

/* Works on data of the kind it is told, and says how many cycles that took. */
static void victim_in_turn(int fd, int line)
{
	struct worker w;
	uint64_t kind;

	worker_init(&w, fd);
	measure(&w); /* the program is loaded from then on */
	say(line, 0);
	while (hear(line, &kind)) {
		struct measured m;

		worker_data(&w, kind);
		m = measure(&w);
		say(line, m.last - m.first);
	}
}

/* The same without an end, and without a word. */
static void victim_all_the_time(int fd, int line)
{
	struct drm_rdu_job jobs[64];
	struct worker w;
	uint64_t kind;

	worker_init(&w, fd);
	for (int i = 0; i < 64; i++)
		jobs[i] = i % 4 == 0 ? run_command(&w.run) :
			  i % 4 == 1 ? job_copy(FAR, FAR + SIZE / 2, SIZE / 2) :
			  i % 4 == 2 ? job_copy(FAR + SIZE, FAR, SIZE / 2) :
				       job_fill(FAR, SIZE, i);
	for (;;) {
		while (recv(line, &kind, sizeof(kind), MSG_DONTWAIT) == sizeof(kind)) {
			worker_data(&w, kind);
			ASSERT_EQ(run_jobs(fd, w.run.ctx, jobs, 64), 1);
			say(line, 0);
		}
		/* The other is gone. */
		if (recv(line, &kind, sizeof(kind), MSG_DONTWAIT | MSG_PEEK) == 0)
			return;
		ASSERT_EQ(run_jobs(fd, w.run.ctx, jobs, 64), 1);
	}
}

static struct user other;

/* One's own data make no difference. */
static void own_data(int fd, int line)
{
	struct measured first, next;
	struct worker w;

	(void)line;
	worker_init(&w, fd);
	measure(&w);
	worker_data(&w, 0);
	first = measure(&w);
	EXPECT_GT(first.program, 0);
	EXPECT_GT(first.copy, 0);
	EXPECT_GT(first.upload, 0);
	EXPECT_GT(first.fill, 0);
	EXPECT_GT(first.exec, 0);
	for (unsigned int kind = 1; kind < KINDS; kind++) {
		worker_data(&w, kind);
		next = measure(&w);
		same(&first, &next);
		/* The card does nothing else, and its clock stands still meanwhile. */
		EXPECT_EQ(next.first, first.last);
		first = next;
	}
}

TEST(own_data)
{
	struct user u = user_start(USER_ATTACKER, own_data);

	user_end(&u);
}

/* What the other computes makes none but by its part of memory's time: while he is at it ... */
static void beside_another(int fd, int line)
{
	struct measured alone, next;
	struct worker w;
	uint64_t word;

	worker_init(&w, fd);
	measure(&w);
	alone = measure(&w);
	say(line, 0); /* now he may begin */
	ASSERT_TRUE(hear(line, &word));
	for (unsigned int kind = 0; kind < KINDS; kind++) {
		say(other.line, kind);
		heard(other.line);
		for (int i = 0; i < ROUNDS; i++) {
			next = measure(&w);
			same_or_shared(&alone, &next);
		}
	}
}

TEST(beside_another)
{
	struct user attacker;

	two_tiles();
	other = user_start(USER_VICTIM, victim_all_the_time);
	attacker = user_start(USER_ATTACKER, beside_another);
	heard(attacker.line);
	say(attacker.line, 0);
	user_end(&attacker);
	user_end(&other);
}

/*
 * ... and when it is over. But the clock is everybody's: it has moved by just the
 * cycles that he took, whatever his data were.
 */
static void after_another(int fd, int line)
{
	struct measured before, next;
	uint64_t took[KINDS];
	struct worker w;

	(void)line;
	worker_init(&w, fd);
	measure(&w);
	before = measure(&w);
	for (unsigned int kind = 0; kind < KINDS; kind++) {
		say(other.line, kind);
		took[kind] = heard(other.line);
		next = measure(&w);
		same(&before, &next);
		EXPECT_EQ(next.first - before.last, took[kind]);
		EXPECT_EQ(took[kind], took[0]);
		before = next;
	}
}

TEST(after_another)
{
	struct user attacker;

	two_tiles();
	other = user_start(USER_VICTIM, victim_in_turn);
	heard(other.line);
	attacker = user_start(USER_ATTACKER, after_another);
	user_end(&attacker);
	user_end(&other);
}
