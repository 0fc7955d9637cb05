/* SPDX-License-Identifier: MIT */
/*
 * The parts of fuzz_front: QEMU and its rounds (fuzz_front.c), what the card is given
 * (fuzz_front_make.c), what is done to it (fuzz_front_act.c).
 */
#ifndef FUZZ_FRONT_H
#define FUZZ_FRONT_H

#include <stdatomic.h>
#include <stdio.h>

#include "../qtest/card.h"

#define ROUNDS_PER_QEMU 64
#define ACTIONS 400
#define PATIENCE 120 /* seconds that one step may take */
#define QUEUES 5 /* that get work; the others get pokes */

/* Guest RAM. */
#define RAM (16u << 20)
#define RING(q) (0x100000u + (q)*0x1000u)
#define CPL(q) (0x140000u + (q)*8u)
#define RESULTS 0x141000u
#define MSI(v) (0x142000u + (v)*4u)
#define VISITOR_RING 0x143000u
#define GRANTED 0x200000u
#define GUARD 0x400000u
#define ENTRIES_LOG2 6

/* Card memory. */
#define MEM (16u << 20)
#define TABLES 0x0u /* 32 pages: two roots, then levels 2, 1 and 0 */
#define IMAGE 0x100000u
#define DATA 0x200000u
#define ARGS 0x8000u /* device address: the DATA pages come first */

#define SLOT 4
#define PEER_SLOT 5
#define PORT_SLOT 6 /* a root port, in which a third card comes and goes */
#define ECAM 0xb0000000ULL

struct rnd {
	uint64_t state;
};

extern struct rdu_chip chip;
extern struct qtest *q;
extern struct card card, peer, visitor;
extern unsigned int pcie, pm, port;
extern unsigned char *ram, *mem, *guard;
extern void *image;
extern size_t image_size;
extern int monitor[2];
extern FILE *answers;
extern bool wild, verbose, stopped, plugged;
extern uint64_t seed, first_seed;
extern uint32_t tail[QUEUES];
extern const char *step;
extern uint64_t fetched, faults[16]; /* how deep it gets */

/* ---- fuzz_front.c ---- */

extern char *answer; /* to the last order */
__attribute__((format(printf, 1, 2), noreturn)) void fail(const char *format, ...);
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);
void set_property(const char *name, const char *value);
__attribute__((format(printf, 1, 2))) bool order(const char *format, ...);
void stop(void);

/* ---- fuzz_front_make.c ---- */

uint64_t bits(struct rnd *r);
uint32_t below(struct rnd *r, uint32_t n);
bool one_in(struct rnd *r, uint32_t n);
uint64_t number(struct rnd *r);
uint64_t near_page(struct rnd *r);
uint64_t host_page(struct rnd *r);
void build_tables(struct rnd *r);
void restore_images(void);
struct rdu_cmd command(struct rnd *r, unsigned int queue);
void change_tables(struct rnd *r);
void change_image(struct rnd *r);

/* ---- fuzz_front_act.c ---- */

extern atomic_bool racing;
extern struct rnd racer_rnd;
void *racer(void *unused);
void unplug(void);
void resume(void);
void enable(struct rnd *r, unsigned int queue);
void poke(uint64_t at, uint64_t value, unsigned int size);
void act(struct rnd *r);
void revive(void);
void setup(void);
void plug(struct rnd *r);

#endif
