/* SPDX-License-Identifier: MIT */
/*
 * librdumodel: the card, in plain C, with no word about QEMU.
 *
 * A front end (the QEMU device, or librdu's in-process back end) owns the card
 * memory and fills in the host callbacks. The card runs its queues on threads of
 * its own; callbacks are called from them. No globals: any number of cards.
 */
#ifndef RDU_CARD_H
#define RDU_CARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "rdu/chip.h"
#include "rdu/cmd.h"
#include "rdu/config.h"
#include "rdu/program.h"
#include "rdu/regs.h"

struct rdu_card;

/* What the card tells of its work, and arg[0], arg[1] ... of it. */
enum rdu_event {
	RDU_EVENT_DOORBELL,   /* the tail that was written */
	RDU_EVENT_COMMAND,    /* begins, or goes on after a pause: seqno, enum rdu_op */
	RDU_EVENT_COMPLETION, /* seqno, cycles it took */
	RDU_EVENT_FAULT,      /* seqno, enum rdu_fault, info, address; seqno 0: no command's */
	RDU_EVENT_RESET,      /* of the queue, carried out */
	RDU_EVENT_CARD_RESET, /* of all queues and of the card; `queue` is 0 */
};

struct rdu_host_ops {
	/* Copy from or to host (guest-physical) memory. Return 0, or -1 if the
	 * bus refused. Called from card threads. */
	int (*read)(void *opaque, uint64_t addr, void *buf, uint64_t len);
	int (*write)(void *opaque, uint64_t addr, const void *buf, uint64_t len);
	/* Raise MSI-X vector. Called from card threads, and in rdu_card_doorbell()
	 * (see below); a pause waits for it. It must not call the card. */
	void (*irq)(void *opaque, unsigned int vector);
	/* Monotonic time in nanoseconds. */
	uint64_t (*now_ns)(void *opaque);
	/* Optional: direct pointer to host memory [addr, addr + len), or NULL.
	 * Valid until unmap. */
	void *(*map)(void *opaque, uint64_t addr, uint64_t len, bool write);
	void (*unmap)(void *opaque, void *ptr, uint64_t len, bool write);
	/* Optional: card memory [offset, offset + len) was written by the card. */
	void (*dirty)(void *opaque, uint64_t offset, uint64_t len);
	/* Optional: what a guest did wrong, for the front end's log. */
	void (*guest_error)(void *opaque, const char *text);
	/* Optional: what the card does, for the front end's log; see enum rdu_event.
	 * The card's lock may be held: it must not call the card. */
	void (*trace)(void *opaque, enum rdu_event event, unsigned int queue,
		      const uint64_t arg[4]);
	/* The callbacks may be called in rdu_card_doorbell() too. Then it carries
	 * out commands that take less time than waking a thread for them. */
	bool brief_in_doorbell;
};

struct rdu_card_config {
	const struct rdu_chip *chip;
	void *mem;         /* card memory, zeroed, owned by the front end */
	uint64_t mem_size; /* bytes, multiple of 4096 */
	unsigned int threads; /* host threads for the fabric, 256 at most; 0: one per CPU */
	const char *serial;   /* 16 printable ASCII characters at most */
	bool timing_only;  /* keep time, compute no values */
};

/* Returns NULL and sets *error (static text) if the description is impossible. */
struct rdu_card *rdu_card_new(const struct rdu_card_config *config,
			      const struct rdu_host_ops *ops, void *opaque,
			      const char **error);
/* Stops everything, waits, frees. Card memory stays the front end's. */
void rdu_card_free(struct rdu_card *card);

/* BAR0. size: 1, 2, 4 or 8; any offset. Unaligned or odd-sized accesses read 0
 * or are ignored, but for 8-byte reads and writes of aligned register pairs. */
uint64_t rdu_card_mmio_read(struct rdu_card *card, uint64_t offset, unsigned int size);
void rdu_card_mmio_write(struct rdu_card *card, uint64_t offset, uint64_t value,
			 unsigned int size);
/* BAR2. */
void rdu_card_doorbell(struct rdu_card *card, uint64_t offset, uint64_t value,
		       unsigned int size);

/* Function-level or platform reset: stops all queues, frees all program slots,
 * clears registers and scratchpads; card memory keeps its contents. Waits. */
void rdu_card_reset(struct rdu_card *card);
/* Stop fetching and wait until nothing is in flight; resume. (VM stop.) Long
 * commands stop halfway and go on afterwards; a section that takes more than
 * 30 s to its end is given up, as by a watchdog. */
void rdu_card_pause(struct rdu_card *card);
void rdu_card_resume(struct rdu_card *card);

/* As reset; and what outlives resets, the clock and the counters of memory errors, is cleared. */
void rdu_card_power_on(struct rdu_card *card);

/* ---- faults on demand ---------------------------------------------------- */

/* X(name, property of the QEMU device, kind of value, what happens).
 * QUEUE: a queue's number, -1: none; COUNT: how often; FLAG: until set to 0. */
#define RDU_INJECTS(X) \
	X(HANG, "fault-hang", QUEUE, "the next command of that queue never ends; a reset of the queue recovers") \
	X(STUCK, "fault-stuck", QUEUE, "the same, but only a reset of the card or of the function recovers") \
	X(DROP_IRQ, "fault-drop-irq", COUNT, "so many next interrupts are lost") \
	X(POISON, "fault-poison", COUNT, "so many next completion words are written as garbage, all ones") \
	X(DMA, "fault-dma", COUNT, "so many next transfers with host memory fail") \
	X(ECC_CE, "fault-ecc-ce", COUNT, "adds so many corrected memory errors to `ECC_CE`; reads as that counter") \
	X(ECC_UE, "fault-ecc-ue", COUNT, "so many next reads of card memory by commands hit an uncorrectable error") \
	X(DEAD, "fault-dead", FLAG, "the card answers no more: all reads give ones, writes are ignored, no DMA, no interrupts") \
	X(GONE, "fault-gone", FLAG, "as dead, and configuration space reads all ones too: off the bus")

enum rdu_inject {
#define RDU_INJECT_ENUM(n, p, k, t) RDU_INJECT_##n,
	RDU_INJECTS(RDU_INJECT_ENUM)
#undef RDU_INJECT_ENUM
	RDU_NUM_INJECTS
};

enum rdu_inject_kind { RDU_INJECT_QUEUE, RDU_INJECT_COUNT, RDU_INJECT_FLAG };
enum rdu_inject_kind rdu_inject_kind(enum rdu_inject what);

/* Arms (or ends) a fault, at any time, from any thread that may also reset the
 * card. Resets leave it armed. 0, or -1: no such value. A card that was dead or
 * gone and is so no more is as after power-on. */
int rdu_card_inject(struct rdu_card *card, enum rdu_inject what, int64_t value);
/* What is still to come: the queue (-1: none), the count, the flag. */
int64_t rdu_card_injected(struct rdu_card *card, enum rdu_inject what);

/* All of a paused card but its memory, faults on demand included, as a stream of
 * bytes, through the front end's put and get (0, or -1), which must not call the
 * card. A card of the same chip, memory size, serial number and `timing_only`
 * that loads it and is resumed goes on as the saved one would have. -1 and a
 * text if a stream is not one (the card is then as after power-on), or if put
 * fails. */
int rdu_card_save(struct rdu_card *card, int (*put)(void *opaque, const void *buf, size_t len),
		  void *opaque, char *error, size_t error_size);
int rdu_card_load(struct rdu_card *card, int (*get)(void *opaque, void *buf, size_t len),
		  void *opaque, char *error, size_t error_size);

/* ---- chip descriptions ------------------------------------------------- */

#define RDU_CHIP_ERRORS 8192 /* characters that take all that may be wrong with a chip */

/* "plasticine", "sn10", or the path of a description file. 0, or -1 with everything that
 * is wrong in error[error_size], a "file:line: field value: limit" a line; what finds no
 * room there is counted. */
int rdu_chip_find(const char *name_or_path, struct rdu_chip *chip, char *error,
		  size_t error_size);
/* The description as a file that rdu_chip_find() reads, every field explained. The caller
 * frees it; NULL: out of memory. */
char *rdu_chip_text(const struct rdu_chip *chip);
/* Name of the i-th built-in chip, of the i-th family of off-chip memory that a file's
 * "dram" may name; NULL beyond the last. *source: whose numbers they are. */
const char *rdu_chip_builtin(unsigned int i);
const char *rdu_chip_memory(unsigned int i, const char **source);
/* Hash that images and the CHIP_HASH registers carry. */
uint64_t rdu_chip_hash(const struct rdu_chip *chip);
/* 0 if a card can be built so, else -1 and all that is wrong, parted by semicolons. */
int rdu_chip_check(const struct rdu_chip *chip, char *error, size_t error_size);
/* Numbers that follow from the description. */
uint64_t rdu_chip_dram_mbps(const struct rdu_chip *chip); /* of its channels' times */
unsigned int rdu_chip_pcus_per_tile(const struct rdu_chip *chip);
unsigned int rdu_chip_pmus_per_tile(const struct rdu_chip *chip);
/* Switch (x, y) of a unit within its tile. */
void rdu_chip_unit_xy(const struct rdu_chip *chip, enum rdu_unit kind, unsigned int unit,
		      unsigned int *x, unsigned int *y);
double rdu_chip_peak_bf16_flops(const struct rdu_chip *chip); /* systolic, 0: none */
double rdu_chip_peak_int8_ops(const struct rdu_chip *chip); /* the same */
double rdu_chip_peak_fp32_flops(const struct rdu_chip *chip); /* SIMD, FMA = 2 */
double rdu_chip_dram_fj(const struct rdu_chip *chip); /* a byte to or from off-chip memory */

/* X(event, unit, what it is): what each thing that a chip does takes (Documentation/energy.md). */
#define RDU_EVENTS(X) \
	X(fadd, "fJ", "fp32 add, minimum, maximum, rounding, of a lane") \
	X(fmul, "fJ", "fp32 product of a lane") \
	X(iadd, "fJ", "int32 add, or any other operation of a lane") \
	X(imul, "fJ", "int32 product of a lane") \
	X(mac_bf16, "fJ", "product of bf16 added to fp32, in an array") \
	X(mac_int8, "fJ", "product of int8 added to int32, in an array") \
	X(mac_ternary, "fJ", "int8 added to int32 or taken from it, in an array") \
	X(sram_word, "fJ", "word read from or written to a scratchpad") \
	X(hop_word, "fJ", "word through a switch and to the next one") \
	X(dram_byte, "fJ", "byte to or from off-chip memory") \
	X(tile_idle, "uW", "a tile, whether it works or not")

struct rdu_events {
#define RDU_EVENT_MEMBER(event, unit, what) double event;
	RDU_EVENTS(RDU_EVENT_MEMBER)
#undef RDU_EVENT_MEMBER
};

/* False, and all are zero: the chip's process is not known. */
bool rdu_chip_events(const struct rdu_chip *chip, struct rdu_events *e);

/* X(part, of what): joules. */
#define RDU_ENERGY_PARTS(X) \
	X(compute, "arithmetic of PCUs") \
	X(scratchpad, "scratchpads read and written") \
	X(network, "streams from unit to unit") \
	X(memory, "off-chip memory") \
	X(idle, "tiles, whether they work or not")

struct rdu_energy {
#define RDU_ENERGY_MEMBER(part, text) double part;
	RDU_ENERGY_PARTS(RDU_ENERGY_MEMBER)
#undef RDU_ENERGY_MEMBER
};

double rdu_energy_joules(const struct rdu_energy *e); /* of all parts */
void rdu_energy_add(struct rdu_energy *to, const struct rdu_energy *from, uint64_t times);
/* Of loading images of so many bytes; of tiles for so many cycles. */
struct rdu_energy rdu_load_energy(const struct rdu_chip *chip, uint64_t image_bytes);
double rdu_idle_energy(const struct rdu_chip *chip, uint32_t tiles, uint64_t cycles);

#endif
