/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the card asks of the machine: host memory, interrupts, time, the log.
 *
 * All of it is called from the card's own threads, which never hold the big
 * QEMU lock and must never wait for it: the main loop waits for these threads,
 * lock held, when the card is reset, paused or unplugged. So their interrupts go
 * through a bottom half, and DMA reaches RAM only (guest memory, and the RAM
 * behind other cards' windows): a transfer to another device's registers would
 * need the lock, and is refused like an address where nothing answers.
 *
 * A processor that rings a doorbell carries out brief commands itself, and has
 * the lock. The same holds for it: nothing in here calls other devices, as they
 * might call back, and take away the very card that is at work. An interrupt is
 * a write to an address of the guest's choice; it is noted here, and raised when
 * the model has returned, before the doorbell's write does.
 */
#include "qemu/osdep.h"
#include "rdu.h"
#include "trace.h"

/* Which card a trace event is of: its id, or what all without one are called. */
static const char *rdu_name(RduState *s)
{
	return DEVICE(s)->id ? DEVICE(s)->id : TYPE_RDU;
}

/* ---- RCU ----------------------------------------------------------------- */

/*
 * Guest memory maps are protected by RCU, which must know each reader. The
 * card's threads are plain ones: register them when they first come here, and
 * have the key's destructor take them off the list when they end.
 */
static pthread_key_t rcu_key;
static pthread_once_t rcu_key_once = PTHREAD_ONCE_INIT;

static void rdu_rcu_leave(void *registered)
{
	rcu_unregister_thread();
}

static void rdu_rcu_make_key(void)
{
	pthread_key_create(&rcu_key, rdu_rcu_leave);
}

static void rdu_rcu_enter(void)
{
	static __thread bool registered;

	if (registered || bql_locked()) {
		return; /* the big lock's holders are QEMU's own threads */
	}
	registered = true;
	rcu_register_thread();
	pthread_setspecific(rcu_key, &rcu_key);
}

/* ---- host memory --------------------------------------------------------- */

/*
 * *len bytes of plain RAM at most, from addr on; NULL: none. Good while RCU's
 * lock is held. One translation serves the access too: a second one might find
 * registers there by now, which need the big lock.
 */
static void *rdu_ram(RduState *s, hwaddr addr, hwaddr *len, bool write, MemoryRegion **mr)
{
	hwaddr offset;

	if (qatomic_read(&s->silent)) {
		return NULL;
	}
	/* In order with what went before, as dma_memory_rw() has it: a doorbell, other DMA. */
	smp_mb();
	*mr = address_space_translate(pci_get_address_space(PCI_DEVICE(s)), addr, &offset, len,
				      write, MEMTXATTRS_UNSPECIFIED);
	if (!memory_region_is_ram(*mr) || memory_region_is_ram_device(*mr) ||
	    (write && (*mr)->readonly)) {
		return NULL;
	}
	return (char *)memory_region_get_ram_ptr(*mr) + offset;
}

/* The end of an access: tells of stores, lets go of the reference. */
static void rdu_ram_put(RduState *s, void *ptr, uint64_t len, bool write)
{
	address_space_unmap(pci_get_address_space(PCI_DEVICE(s)), ptr, len, write, write ? len : 0);
}

static int rdu_dma(RduState *s, uint64_t addr, void *buf, uint64_t len, bool write)
{
	trace_rdu_dma(rdu_name(s), write ? "write" : "read", addr, len);
	rdu_rcu_enter();
	RCU_READ_LOCK_GUARD();
	while (len) {
		MemoryRegion *mr;
		hwaddr run = len;
		void *ram = rdu_ram(s, addr, &run, write, &mr);

		if (!ram) {
			return -1;
		}
		/* Both may be the card's own memory: its window is host memory too. */
		if (write) {
			memmove(ram, buf, run);
			memory_region_ref(mr);
			rdu_ram_put(s, ram, run, true);
		} else {
			memmove(buf, ram, run);
		}
		addr += run;
		buf = (char *)buf + run;
		len -= run;
	}
	return 0;
}

static int rdu_host_read(void *opaque, uint64_t addr, void *buf, uint64_t len)
{
	return rdu_dma(opaque, addr, buf, len, false);
}

static int rdu_host_write(void *opaque, uint64_t addr, const void *buf, uint64_t len)
{
	return rdu_dma(opaque, addr, (void *)buf, len, true);
}

/*
 * Only the machine's own RAM: a reference to anything that can be unplugged
 * (another card's memory) might be the last one, and must not be dropped here,
 * without the big lock.
 */
static void *rdu_host_map(void *opaque, uint64_t addr, uint64_t len, bool write)
{
	RduState *s = opaque;
	hwaddr got = len;
	MemoryRegion *mr;
	void *ptr;

	rdu_rcu_enter();
	RCU_READ_LOCK_GUARD();
	ptr = len ? rdu_ram(s, addr, &got, write, &mr) : NULL;
	if (!ptr || got < len || mr != current_machine->ram) {
		return NULL;
	}
	trace_rdu_map(rdu_name(s), write ? "write" : "read", addr, len, ptr);
	memory_region_ref(mr);
	return ptr;
}

static void rdu_host_unmap(void *opaque, void *ptr, uint64_t len, bool write)
{
	trace_rdu_unmap(rdu_name(opaque), ptr, len);
	rdu_rcu_enter();
	rdu_ram_put(opaque, ptr, len, write);
}

/* ---- interrupts ---------------------------------------------------------- */

/*
 * Raises what is pending. A vector's message may go to a slot's registers, and
 * unplug the card; the pointer stays good until here it is let go of.
 */
void rdu_host_deliver(void *opaque)
{
	RduState *s = opaque;
	PCIDevice *pci = PCI_DEVICE(s);

	/* Else they wait: for D0 or a reset, for the machine to go on. */
	if (s->silent || s->paused) {
		return;
	}
	object_ref(OBJECT(s));
	for (unsigned int w = 0; w < ARRAY_SIZE(s->irq_pending); w++) {
		uint64_t bits = qatomic_xchg(&s->irq_pending[w], 0);

		while (bits) {
			unsigned int vector = w * 64 + ctz64(bits);

			bits &= bits - 1;
			trace_rdu_msix(rdu_name(s), vector, msix_enabled(pci));
			if (msix_enabled(pci)) {
				msix_notify(pci, vector);
			}
		}
	}
	object_unref(OBJECT(s));
}

static void rdu_host_irq(void *opaque, unsigned int vector)
{
	RduState *s = opaque;

	trace_rdu_interrupt(rdu_name(s), vector);
	if (vector < RDU_NUM_VECTORS) {
		qatomic_or(&s->irq_pending[vector / 64], BIT_ULL(vector % 64));
		if (!bql_locked()) {
			qemu_bh_schedule(s->irq_bh);
		}
	}
}

/* ---- the rest ------------------------------------------------------------ */

static uint64_t rdu_host_now_ns(void *opaque)
{
	return get_clock();
}

/*
 * Only a migration asks for it. It clears a page's mark before it reads the page:
 * the mark must come after what the card wrote, and the look at whether marks are
 * wanted, too.
 */
static void rdu_host_dirty(void *opaque, uint64_t offset, uint64_t len)
{
	RduState *s = opaque;

	smp_mb();
	if (memory_region_get_dirty_log_mask(s->mem) & (1 << DIRTY_MEMORY_MIGRATION)) {
		rdu_rcu_enter();
		memory_region_set_dirty(s->mem, offset, len);
	}
}

static void rdu_host_guest_error(void *opaque, const char *text)
{
	qemu_log_mask(LOG_GUEST_ERROR, "rdu: %s\n", text);
}

static void rdu_host_trace(void *opaque, enum rdu_event event, unsigned int queue,
			   const uint64_t arg[4])
{
	const char *name = rdu_name(opaque);

	switch (event) {
	case RDU_EVENT_DOORBELL:
		trace_rdu_doorbell(name, queue, arg[0]);
		break;
	case RDU_EVENT_COMMAND:
		trace_rdu_command(name, queue, arg[0], arg[1]);
		break;
	case RDU_EVENT_COMPLETION:
		trace_rdu_completion(name, queue, arg[0], arg[1]);
		break;
	case RDU_EVENT_FAULT:
		trace_rdu_fault(name, queue, arg[0], arg[1], arg[2], arg[3]);
		break;
	case RDU_EVENT_RESET:
		trace_rdu_queue_reset(name, queue);
		break;
	case RDU_EVENT_CARD_RESET:
		trace_rdu_reset(name);
		break;
	}
}

const struct rdu_host_ops rdu_host_ops = {
	.read = rdu_host_read,
	.write = rdu_host_write,
	.irq = rdu_host_irq,
	.now_ns = rdu_host_now_ns,
	.map = rdu_host_map,
	.unmap = rdu_host_unmap,
	.dirty = rdu_host_dirty,
	.guest_error = rdu_host_guest_error,
	.trace = rdu_host_trace,
	.brief_in_doorbell = true,
};

void rdu_host_init(RduState *s)
{
	pthread_once(&rcu_key_once, rdu_rcu_make_key);
	/* Unguarded: a guard is in the device, which may be gone afterwards. */
	s->irq_bh = qemu_bh_new(rdu_host_deliver, s);
}

/* Interrupts that were on their way when the card was reset never arrive. */
void rdu_host_reset(RduState *s)
{
	for (unsigned int w = 0; w < ARRAY_SIZE(s->irq_pending); w++) {
		qatomic_set(&s->irq_pending[w], 0);
	}
}

void rdu_host_exit(RduState *s)
{
	qemu_bh_delete(s->irq_bh);
	s->irq_bh = NULL;
}
