// SPDX-License-Identifier: MIT
/*
 * The saved state of a card, as somebody may have changed it: bytes of any kind,
 * or a true state with edits. The card refuses it and says why, or takes it; then
 * it saves the same again, can run, and can be reset.
 */
#include "../unit/card_program.h"

#define STATES 4
#define EDITS 64

struct bytes {
	unsigned char *data;
	size_t len, room, at;
};

static struct bed *bed;
static struct bytes state[STATES];
static _Atomic bool stop_now;

static void check_dirty(void *opaque, uint64_t offset, uint64_t len)
{
	struct bed *b = opaque;

	if (offset > CARD_MEM || len > CARD_MEM - offset || !b->card)
		abort();
	stop_now = true;
}

static int put(void *opaque, const void *buf, size_t len)
{
	struct bytes *b = opaque;

	if (b->len + len > b->room) {
		b->room = 2 * (b->len + len);
		b->data = realloc(b->data, b->room);
		if (!b->data)
			abort();
	}
	memcpy(b->data + b->len, buf, len);
	b->len += len;
	return 0;
}

static int get(void *opaque, void *buf, size_t len)
{
	struct bytes *b = opaque;

	if (len > b->len - b->at)
		return -1;
	memcpy(buf, b->data + b->at, len);
	b->at += len;
	return 0;
}

static void save(struct bytes *b)
{
	char error[300];

	b->len = 0;
	if (rdu_card_save(bed->card, put, b, error, sizeof(error)))
		abort();
}

static bool load_state(struct bytes *b)
{
	char error[300] = "";

	b->at = 0;
	if (!rdu_card_load(bed->card, get, b, error, sizeof(error)))
		return true;
	if (!*error)
		abort(); /* no reason given */
	return false;
}

/* Queues and programs, and two commands that write; stopped in the first or second. */
static void at_work(struct rdu_cmd first, struct rdu_cmd second, struct bytes *b)
{
	rdu_card_resume(bed->card);
	stop_now = false;
	bed_put(bed, 1, first);
	bed_put(bed, 1, second);
	bed_ring(bed, 1);
	while (!stop_now)
		usleep(10);
	rdu_card_pause(bed->card);
	save(b);
}

static void prepare(void)
{
	struct rdu_host_ops ops = bed_ops;
	struct rdu_card_config config;
	struct rdu_cmd copy = { .op = RDU_OP_COPY };
	const char *why;
	size_t size;
	void *section;

	bed = bed_new("sn10", 1, false);
	rdu_card_free(bed->card);
	chip = bed->chip;
	chip.pmu_bytes = 16384; /* less to look through */
	config = (struct rdu_card_config){
		.chip = &chip, .mem = bed->mem, .mem_size = CARD_MEM, .threads = 2
	};
	ops.dirty = check_dirty;
	bed->card = rdu_card_new(&config, &ops, bed, &why);
	if (!bed->card)
		abort();
	rdu_card_pause(bed->card);
	save(&state[0]);
	rdu_card_resume(bed->card);
	root = bed_root(bed);
	bed_map(bed, root, VA, 0, 64 * MB, RDU_PTE_WRITE, 1);
	bed_enable(bed, 0, 0, 0, 0);
	bed_enable(bed, 1, root, 0, 1);
	bed_enable(bed, 2, root, 1, 2);
	section = scale(3, 1, 1, &size);
	if (load(bed, 0, section, size, 1000))
		abort();
	section = scratch(true, &size);
	if (load(bed, 1, section, size, 0))
		abort();
	args(bed, 8 * MB, 2, VA + MB, VA + 20 * MB, 1000 * BYTES);
	args(bed, 9 * MB, 1, VA + MB, 0, BYTES);
	copy.copy.src = VA + 12;
	copy.copy.dst = VA + 30 * MB;
	copy.copy.len = 30 * MB;
	/* Data in a scratchpad; a run that leaves a trace; a copy; a queue that hangs. */
	if (!bed_do(bed, 1, run(1, VA + 9 * MB, false, false)))
		abort();
	at_work(run(0, VA + 8 * MB, true, true), copy, &state[1]);
	rdu_card_reset(bed->card);
	rdu_card_resume(bed->card);
	bed_enable(bed, 1, root, 0, 1);
	at_work(copy, copy, &state[2]);
	if (!load_state(&state[1]) || !load_state(&state[2]) || !load_state(&state[0]))
		abort();
	rdu_card_resume(bed->card);
	bed_enable(bed, 1, root, 0, 1);
	rdu_card_inject(bed->card, RDU_INJECT_STUCK, 1);
	bed_put(bed, 1, copy);
	bed_ring(bed, 1);
	while (rdu_card_injected(bed->card, RDU_INJECT_STUCK) >= 0)
		usleep(10);
	rdu_card_pause(bed->card);
	qwr(bed, 1, RDU_REG_Q_CTRL, 3);
	save(&state[3]);
}

/* Three bytes say where, one how, four what. */
static void edit(struct bytes *b, const uint8_t *p)
{
	size_t at = (p[0] << 16 | p[1] << 8 | p[2]) % b->len, n = p[3] >> 6;

	switch (p[3] & 7) {
	case 0:
		b->len = at;
		break;
	case 1: /* that many more, or less */
		b->data[at] += p[4];
		break;
	case 2:
		memset(b->data + at, p[4], b->len - at < 8u << n ? b->len - at : 8u << n);
		break;
	default:
		for (n = 0; n < 4 && at + n < b->len; n++)
			b->data[at + n] = p[4 + n];
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bytes b, once, twice;
	unsigned int i;

	if (!bed)
		prepare();
	if (!size)
		return 0;
	b.len = 0;
	if (data[0] % (STATES + 1) == STATES) {
		put(&b, data + 1, size - 1);
	} else {
		put(&b, state[data[0] % (STATES + 1)].data, state[data[0] % (STATES + 1)].len);
		for (i = 1; i + 8 <= size && i < 1 + 8 * EDITS && b.len; i += 8)
			edit(&b, data + i);
	}
	if (load_state(&b)) {
		save(&once);
		if (!load_state(&once))
			abort(); /* what it wrote itself */
		save(&twice);
		if (once.len != twice.len || memcmp(once.data, twice.data, once.len))
			abort();
		rdu_card_resume(bed->card);
		usleep(200);
		rdu_card_inject(bed->card, RDU_INJECT_DEAD, 0);
		rdu_card_inject(bed->card, RDU_INJECT_GONE, 0);
		rdu_card_power_on(bed->card);
		rdu_card_pause(bed->card);
	}
	if (rdu_card_mmio_read(bed->card, RDU_REG_STATUS, 4) != RDU_STATUS_READY)
		abort();
	return 0;
}
