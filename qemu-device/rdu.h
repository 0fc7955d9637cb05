/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The QEMU side of one card. */
#ifndef RDU_DEVICE_H
#define RDU_DEVICE_H

#include "compat.h"
#include "rdu_card.h"

#define TYPE_RDU "rdu"
OBJECT_DECLARE_SIMPLE_TYPE(RduState, RDU)

struct RduState {
	PCIDevice parent_obj;

	MemoryRegion regs;      /* BAR0 */
	MemoryRegion doorbells; /* BAR2 */
	MemoryRegion window;    /* BAR4: a power of two, card memory at its start */
	MemoryRegion own_mem;   /* card memory when no backend was given */
	MemoryRegion *mem;

	struct rdu_card *card;
	/* In front of each BAR while the card does not answer. */
	MemoryRegion silence[3];
	bool silent;

	uint8_t pm;  /* the power management capability's offset */
	bool paused; /* the virtual machine is stopped, and so is the card */
	VMChangeStateEntry *vmstate_change;
	Notifier machine_done;

	/* Card threads set bits; the main loop, or who rang, raises the vectors. */
	QEMUBH *irq_bh;
	uint64_t irq_pending[DIV_ROUND_UP(RDU_NUM_VECTORS, 64)];

	/* properties */
	char *chip;
	char *serial;
	uint32_t threads;
	uint64_t mem_size;
	bool mem_size_given;
	bool timing_only;
	HostMemoryBackend *memdev;
	int64_t inject[RDU_NUM_INJECTS]; /* of a card still to be made */
};

/* rdu.c: the card, after a change, does or does not answer. */
void rdu_answer_update(RduState *s);
/* Card memory as it is after power-on. */
void rdu_mem_clear(RduState *s);

/* rdu-inject.c: properties that make the card misbehave */
void rdu_inject_properties(ObjectClass *klass);
void rdu_inject_instance_init(Object *obj);
/* The command line's wishes, once there is a card. */
bool rdu_inject_realize(RduState *s, Error **errp);
bool rdu_injected(RduState *s, enum rdu_inject flag);

/* rdu-vmstate.c: the machine stops, is saved, goes on */
extern const VMStateDescription rdu_vmstate;
void rdu_vmstate_realize(RduState *s);
void rdu_vmstate_exit(RduState *s);

/* rdu-host.c: what the card's threads may ask of the machine */
extern const struct rdu_host_ops rdu_host_ops;
void rdu_host_init(RduState *s);
void rdu_host_reset(RduState *s);
/* Raises the vectors that are pending. Afterwards the card may be unplugged. */
void rdu_host_deliver(void *opaque);
void rdu_host_exit(RduState *s);

#endif
