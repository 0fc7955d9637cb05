/* SPDX-License-Identifier: MIT */
/*
 * A client of QEMU's qtest protocol: lines of text that read and write ports
 * and memory of a machine in which no processor runs.
 */
#ifndef QTEST_H
#define QTEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct qtest;

/* Starts QEMU ($QEMU, or the one built here) with a q35 machine, 128 MiB and
 * the arguments, a NULL-ended list. Exits the test if QEMU cannot start. */
struct qtest *qtest_start(const char *const *args);
/* True if QEMU with these arguments ends at once, with exit code 1. said: what it
 * wrote to stderr, cut off if there is no room. */
bool qtest_refused(const char *const *args, char *said, size_t size);
/* Ends QEMU. 0, or the signal, or 256 and its exit code. */
int qtest_stop(struct qtest *q);
pid_t qtest_pid(const struct qtest *q);
/* False once QEMU has gone. */
bool qtest_alive(struct qtest *q);

/* QEMU's monitor at a socket (-qmp unix:PATH,server=on,wait=off), ready for orders; or NULL. */
FILE *qtest_monitor(const char *path);
/* Gives an order; true if the answer has that word in it. */
bool qtest_order(FILE *monitor, const char *json, const char *word);

uint64_t qtest_read(struct qtest *q, uint64_t addr, unsigned int size); /* 1, 2, 4, 8 */
void qtest_write(struct qtest *q, uint64_t addr, uint64_t value, unsigned int size);
void qtest_memread(struct qtest *q, uint64_t addr, void *buf, size_t len);
void qtest_memwrite(struct qtest *q, uint64_t addr, const void *buf, size_t len);

/* Configuration space of function 0 of a device: slot is 32 * bus + device. */
uint32_t qtest_cfg_read(struct qtest *q, unsigned int slot, unsigned int offset,
			unsigned int size);
void qtest_cfg_write(struct qtest *q, unsigned int slot, unsigned int offset, uint32_t value,
		     unsigned int size);

#endif
