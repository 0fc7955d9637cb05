// SPDX-License-Identifier: MIT
/*
 * Faults on demand: how a driver's developer makes the card misbehave. What is
 * armed is one word each, looked at without a lock where the fault belongs:
 * before a command, an interrupt, a transfer, a read of card memory.
 */
#include "card_priv.h"

void rdu_inject_init(struct rdu_card *card)
{
	for (unsigned int i = 0; i < RDU_NUM_INJECTS; i++)
		card->inject[i] = 0;
	card->inject[RDU_INJECT_HANG] = -1;
	card->inject[RDU_INJECT_STUCK] = -1;
}

enum rdu_inject_kind rdu_inject_kind(enum rdu_inject what)
{
	static const enum rdu_inject_kind kind[] = {
#define KIND(n, p, k, t) [RDU_INJECT_##n] = RDU_INJECT_##k,
		RDU_INJECTS(KIND)
#undef KIND
	};

	return kind[what];
}

bool rdu_inject_due(struct rdu_card *card, enum rdu_inject what)
{
	int64_t left = card->inject[what];

	while (left > 0)
		if (atomic_compare_exchange_weak(&card->inject[what], &left, left - 1))
			return true;
	return false;
}

static bool meant(struct card_queue *q, enum rdu_inject what)
{
	int64_t id = q->id;

	return atomic_load_explicit(&q->card->inject[what], memory_order_relaxed) == id &&
	       atomic_compare_exchange_strong(&q->card->inject[what], &id, -1);
}

bool rdu_inject_hang(struct card_queue *q)
{
	struct rdu_card *card = q->card;
	bool hang = meant(q, RDU_INJECT_HANG), stuck = meant(q, RDU_INJECT_STUCK);

	if (!hang && !stuck)
		return false;
	pthread_mutex_lock(&card->lock);
	/* Not stuck if the card's reset is under way, which it would outlive. */
	card_queue_move(q, stuck && !card->reset_req ? CARD_WORK_STUCK : CARD_WORK_HUNG);
	return true;
}

int rdu_inject_ecc(struct card_queue *q, uint64_t va, struct rdu_failure *f)
{
	struct rdu_card *card = q->card;

	if (!rdu_inject_take(card, RDU_INJECT_ECC_UE))
		return 0;
	pthread_mutex_lock(&card->lock);
	card->ecc_ue++;
	pthread_mutex_unlock(&card->lock);
	return rdu_fail(f, RDU_FAULT_ECC, 0, va);
}

static void set_dead(struct rdu_card *card)
{
	bool dead = card->inject[RDU_INJECT_DEAD] || card->inject[RDU_INJECT_GONE];

	if (dead == card->dead)
		return;
	/* Nobody may start anything between the reset and the silence. */
	if (dead)
		card->dead = true;
	rdu_card_power_on(card);
	card->dead = dead;
}

bool rdu_inject_valid(enum rdu_inject what, int64_t value)
{
	static const int64_t most[] = { [RDU_INJECT_QUEUE] = RDU_MAX_QUEUES - 1,
					[RDU_INJECT_COUNT] = UINT32_MAX,
					[RDU_INJECT_FLAG] = 1 };
	enum rdu_inject_kind kind = rdu_inject_kind(what);

	return value >= (kind == RDU_INJECT_QUEUE ? -1 : 0) && value <= most[kind];
}

int rdu_card_inject(struct rdu_card *card, enum rdu_inject what, int64_t value)
{
	if (!rdu_inject_valid(what, value))
		return -1;
	if (what == RDU_INJECT_ECC_CE) {
		pthread_mutex_lock(&card->lock);
		card->ecc_ce += (uint32_t)value;
		pthread_mutex_unlock(&card->lock);
		return 0;
	}
	card->inject[what] = value;
	if (rdu_inject_kind(what) == RDU_INJECT_FLAG)
		set_dead(card);
	return 0;
}

int64_t rdu_card_injected(struct rdu_card *card, enum rdu_inject what)
{
	int64_t value = card->inject[what];

	if (what == RDU_INJECT_ECC_CE) {
		pthread_mutex_lock(&card->lock);
		value = card->ecc_ce;
		pthread_mutex_unlock(&card->lock);
	}
	return value;
}
