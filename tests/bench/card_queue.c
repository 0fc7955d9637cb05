// SPDX-License-Identifier: MIT
/*
 * Host cost of the card's front: an empty command from doorbell to completion,
 * against waking a thread and being woken by it; a copy of 64 MiB in card
 * memory, small pages and large ones, against memcpy of the same bytes.
 */
#include <math.h>
#include <sched.h>
#include "../unit/card_test.h"

#define MB (1ull << 20)
#define ROUNDS 500
#define TURNS 40 /* of ROUNDS; the best one counts, as the host may be busy */

static double seconds(void)
{
	return (double)bed_now(NULL) * 1e-9;
}

struct pair {
	pthread_mutex_t lock;
	pthread_cond_t there, back;
	unsigned int asked, answered;
};

static void *answer(void *arg)
{
	struct pair *p = arg;

	pthread_mutex_lock(&p->lock);
	while (p->answered < ROUNDS) {
		while (p->asked == p->answered)
			pthread_cond_wait(&p->there, &p->lock);
		p->answered++;
		pthread_cond_signal(&p->back);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static double thread_round_trip(void)
{
	struct pair p = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER,
			  PTHREAD_COND_INITIALIZER, 0, 0 };
	double start = seconds();
	pthread_t thread;

	if (pthread_create(&thread, NULL, answer, &p))
		return 0;
	pthread_mutex_lock(&p.lock);
	while (p.asked < ROUNDS) {
		p.asked++;
		pthread_cond_signal(&p.there);
		while (p.answered < p.asked)
			pthread_cond_wait(&p.back, &p.lock);
	}
	pthread_mutex_unlock(&p.lock);
	pthread_join(thread, NULL);
	return (seconds() - start) / ROUNDS;
}

static double command_round_trip(struct bed *b)
{
	double start = seconds();
	uint64_t seq;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		seq = bed_put(b, 1, (struct rdu_cmd){ .op = RDU_OP_NOP });
		bed_ring(b, 1);
		while (bed_done(b, 1) < seq)
			sched_yield();
	}
	return (seconds() - start) / ROUNDS;
}

/* Best of several, taken in turns with the peer, as the host may be busy. */
static void copies(struct bed *b, uint64_t va, const char *name)
{
	struct rdu_cmd c = { .op = RDU_OP_COPY };
	double mine = 1e9, peer = 1e9, t;

	c.copy.src = va;
	c.copy.dst = va + 64 * MB;
	c.copy.len = 64 * MB;
	for (unsigned int i = 0; i < 16; i++) {
		t = seconds();
		if (!bed_do(b, 1, c))
			exit(1);
		t = seconds() - t;
		mine = t < mine ? t : mine;
		t = seconds();
		memmove(b->mem + 64 * MB, b->mem, 64 * MB);
		t = seconds() - t;
		peer = t < peer ? t : peer;
	}
	printf("bench %s %.2f GB/s vs memmove %.2f ratio %.2f\n", name, 64e-9 * MB / mine,
	       64e-9 * MB / peer, peer / mine);
}

int main(void)
{
	struct bed *b = bed_new("sn10", 1, false);
	uint64_t root = bed_root(b), va = 0x10000000;
	double peer, mine;

	bed_map(b, root, va, 0, 128 * MB, RDU_PTE_WRITE, 0);
	bed_map(b, root, va + 256 * MB, 0, 128 * MB, RDU_PTE_WRITE, 1);
	bed_enable(b, 1, root, 0, 1);
	memset(b->mem, 1, 128 * MB);

	peer = mine = 1e9;
	for (unsigned int i = 0; i < TURNS; i++) {
		peer = fmin(peer, thread_round_trip() * 1e6);
		mine = fmin(mine, command_round_trip(b) * 1e6);
	}
	printf("bench card_empty_command %.2f us vs condition_variable %.2f ratio %.2f\n", mine,
	       peer, mine / peer);
	copies(b, va, "card_copy_4k_pages");
	copies(b, va + 256 * MB, "card_copy_2m_pages");
	bed_free(b);
	return 0;
}
