/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The card in a snapshot, and on its way to another host.
 *
 * When the machine stops, the card's threads stop at the next boundary between
 * steps, before anything is saved. Interrupts that they raised and that nobody has
 * got yet are saved, and arrive when the machine goes on. The
 * model tells its state as bytes (model/card_state.c), once: they are passed on in
 * chunks, each with its length in front; one of no bytes is the end. Card memory
 * goes as RAM, while the machine runs: its pages are marked when the card has
 * written to them.
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "migration/qemu-file-types.h"
#include "rdu.h"

#define RDU_STATE_CHUNK MiB

/* What the model tells, on its way to a file. */
struct rdu_out {
	QEMUFile *f;
	size_t len;
	uint8_t *chunk;
};

static void rdu_out_flush(struct rdu_out *out)
{
	qemu_put_be32(out->f, out->len);
	qemu_put_buffer(out->f, out->chunk, out->len);
	out->len = 0;
}

static int rdu_put(void *opaque, const void *buf, size_t len)
{
	struct rdu_out *out = opaque;

	while (len) {
		size_t n = MIN(len, RDU_STATE_CHUNK - out->len);

		memcpy(out->chunk + out->len, buf, n);
		out->len += n;
		buf = (const uint8_t *)buf + n;
		len -= n;
		if (out->len == RDU_STATE_CHUNK) {
			rdu_out_flush(out);
		}
	}
	return 0;
}

static int rdu_state_put(QEMUFile *f, void *pv, size_t size, const VMStateField *field,
			 JSONWriter *vmdesc)
{
	struct rdu_out out = { .f = f, .chunk = g_malloc(RDU_STATE_CHUNK) };
	struct rdu_card *card = *(struct rdu_card **)pv;
	char error[300] = "";
	int result;

	if (rdu_card_save(card, rdu_put, &out, error, sizeof(error))) {
		error_report("rdu: %s", error);
		result = -EINVAL;
	} else {
		if (out.len) {
			rdu_out_flush(&out);
		}
		qemu_put_be32(f, 0);
		result = qemu_file_get_error(f);
	}
	g_free(out.chunk);
	return result;
}

struct rdu_bytes {
	uint8_t *data;
	uint64_t len, at;
};

static int rdu_get(void *opaque, void *buf, size_t len)
{
	struct rdu_bytes *b = opaque;

	if (len > b->len - b->at) {
		return -1;
	}
	memcpy(buf, b->data + b->at, len);
	b->at += len;
	return 0;
}

/*
 * All of it is gathered first: reading a file may let others run, and nobody is
 * to see half a card. Memory is taken as bytes arrive, not as they are announced.
 */
static bool rdu_gather(QEMUFile *f, struct rdu_bytes *b)
{
	uint32_t n;

	while ((n = qemu_get_be32(f)) && !qemu_file_get_error(f)) {
		uint8_t *more = n <= RDU_STATE_CHUNK ? g_try_realloc(b->data, b->len + n) : NULL;

		if (!more) {
			error_report("rdu: no room for %" PRIu32 " bytes of state after %" PRIu64,
				     n, b->len);
			return false;
		}
		b->data = more;
		if (qemu_get_buffer(f, b->data + b->len, n) != n) {
			break;
		}
		b->len += n;
	}
	if (n || qemu_file_get_error(f)) {
		error_report("rdu: the state ends after %" PRIu64 " bytes", b->len);
		return false;
	}
	return true;
}

static int rdu_state_get(QEMUFile *f, void *pv, size_t size, const VMStateField *field)
{
	struct rdu_card *card = *(struct rdu_card **)pv;
	struct rdu_bytes bytes = { 0 };
	char error[300] = "";
	int result = 0;

	if (!rdu_gather(f, &bytes)) {
		result = -EIO;
	} else if (rdu_card_load(card, rdu_get, &bytes, error, sizeof(error))) {
		error_report("rdu: %s", error);
		result = -EINVAL;
	} else if (bytes.at != bytes.len) {
		error_report("rdu: %" PRIu64 " bytes after the card's state", bytes.len - bytes.at);
		result = -EINVAL;
	}
	g_free(bytes.data);
	return result;
}

static const VMStateInfo rdu_vmstate_card = {
	.name = "rdu card",
	.get = rdu_state_get,
	.put = rdu_state_put,
};

/* What QEMU's code takes for granted is checked here: a stream may come from anywhere. */
static int rdu_post_load(void *opaque, int version_id)
{
	RduState *s = opaque;

	if (s->irq_pending[ARRAY_SIZE(s->irq_pending) - 1] >> RDU_NUM_VECTORS % 64) {
		error_report("rdu: interrupts of vectors beyond %u are pending",
			     RDU_NUM_VECTORS - 1);
		rdu_host_reset(s);
		return -EINVAL;
	}
	rdu_answer_update(s);
	return 0;
}

const VMStateDescription rdu_vmstate = {
	.name = "rdu",
	.version_id = 2,
	.minimum_version_id = 2,
	.post_load = rdu_post_load,
	.fields =
		(const VMStateField[]){
			VMSTATE_PCI_DEVICE(parent_obj, RduState),
			VMSTATE_MSIX(parent_obj, RduState),
			VMSTATE_STRUCT(parent_obj.exp.aer_log, RduState, 0, vmstate_pcie_aer_log,
				       PCIEAERLog),
			/* Those still to be delivered. */
			VMSTATE_UINT64_ARRAY(irq_pending, RduState,
					     DIV_ROUND_UP(RDU_NUM_VECTORS, 64)),
			VMSTATE_SINGLE(card, RduState, 0, rdu_vmstate_card, struct rdu_card *),
			VMSTATE_END_OF_LIST(),
		},
};

/* ---- the machine stops and goes on ---------------------------------------- */

static void rdu_vm_state_change(void *opaque, bool running, RunState state)
{
	RduState *s = opaque;

	if (running && s->paused) {
		s->paused = false;
		rdu_card_resume(s->card);
		qemu_bh_schedule(s->irq_bh);
	} else if (!running && !s->paused) {
		s->paused = true;
		rdu_card_pause(s->card);
	}
}

/* A machine that waits for its state, or for the order to start, has a card that
 * waits, too. */
void rdu_vmstate_realize(RduState *s)
{
	vmstate_register_ram(s->mem, DEVICE(s));
	s->vmstate_change = qemu_add_vm_change_state_handler(rdu_vm_state_change, s);
	rdu_vm_state_change(s, runstate_is_running() || runstate_check(RUN_STATE_SUSPENDED),
			    RUN_STATE_PRELAUNCH);
}

void rdu_vmstate_exit(RduState *s)
{
	if (s->vmstate_change) {
		qemu_del_vm_change_state_handler(s->vmstate_change);
		s->vmstate_change = NULL;
		vmstate_unregister_ram(s->mem, DEVICE(s));
	}
}
