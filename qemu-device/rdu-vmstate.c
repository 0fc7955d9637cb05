/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The card in a snapshot, and on its way to another host.
 *
 * When the machine stops, the card's threads stop at the next boundary between
 * steps and what they raised is delivered, before anything is saved. Then the
 * model tells its state as bytes (model/card_state.c); they are passed on with
 * their number in front. Card memory goes as RAM, while the machine runs: its
 * pages are marked when the card has written to them.
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "qemu/error-report.h"
#include "migration/qemu-file-types.h"
#include "rdu.h"

#define RDU_STATE_CHUNK MiB

static int rdu_count(void *opaque, const void *buf, size_t len)
{
	*(uint64_t *)opaque += len;
	return 0;
}

static int rdu_put(void *opaque, const void *buf, size_t len)
{
	qemu_put_buffer(opaque, buf, len);
	return 0;
}

static int rdu_state_put(QEMUFile *f, void *pv, size_t size, const VMStateField *field,
			 JSONWriter *vmdesc)
{
	struct rdu_card *card = *(struct rdu_card **)pv;
	char error[300] = "";
	uint64_t len = 0;

	if (rdu_card_save(card, rdu_count, &len, error, sizeof(error))) {
		error_report("rdu: %s", error);
		return -EINVAL;
	}
	qemu_put_be64(f, len);
	rdu_card_save(card, rdu_put, f, error, sizeof(error));
	return qemu_file_get_error(f);
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
	uint64_t len = qemu_get_be64(f);

	while (b->len < len && !qemu_file_get_error(f)) {
		size_t n = MIN(len - b->len, RDU_STATE_CHUNK);
		uint8_t *more = g_try_realloc(b->data, b->len + n);

		if (!more) {
			error_report("rdu: no memory for a state of %" PRIu64 " bytes", len);
			return false;
		}
		b->data = more;
		if (qemu_get_buffer(f, b->data + b->len, n) != n) {
			break;
		}
		b->len += n;
	}
	if (b->len < len) {
		error_report("rdu: of a state of %" PRIu64 " bytes, %" PRIu64 " have come", len,
			     b->len);
	}
	return b->len == len;
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
	.version_id = 1,
	.minimum_version_id = 1,
	.post_load = rdu_post_load,
	.fields =
		(const VMStateField[]){
			VMSTATE_PCI_DEVICE(parent_obj, RduState),
			VMSTATE_MSIX(parent_obj, RduState),
			VMSTATE_STRUCT(parent_obj.exp.aer_log, RduState, 0, vmstate_pcie_aer_log,
				       PCIEAERLog),
			/* Those that a card in D3hot, or a dead one, keeps back. */
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
	} else if (!running && !s->paused) {
		s->paused = true;
		rdu_card_pause(s->card);
		rdu_host_deliver(s);
	}
}

/* A machine that waits for its state, or for the order to start, has a card that
 * waits, too. */
void rdu_vmstate_realize(RduState *s)
{
	vmstate_register_ram(s->mem, DEVICE(s));
	s->vmstate_change = qemu_add_vm_change_state_handler(rdu_vm_state_change, s);
	rdu_vm_state_change(s, runstate_is_running(), RUN_STATE_PRELAUNCH);
}

void rdu_vmstate_exit(RduState *s)
{
	if (s->vmstate_change) {
		qemu_del_vm_change_state_handler(s->vmstate_change);
		s->vmstate_change = NULL;
		vmstate_unregister_ram(s->mem, DEVICE(s));
	}
}
