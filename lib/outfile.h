/* SPDX-License-Identifier: MIT */
/*
 * Files that are written whole or not at all: one way for library and tools.
 *
 *	struct lr_outfile o;
 *	FILE *f = lr_outfile_open(&o, path);
 *
 *	if (f) {
 *		fprintf(f, ...);
 *	}
 *	ret = lr_outfile_close(&o);
 *
 * What the name stands for decides how:
 *   nothing, or a regular file  written under another name in the same folder, flushed to
 *                               the disk, then renamed; until then the old file stays as it
 *                               was. The new one has the old one's permissions, and its owner
 *                               and group if that may be. A file that may not be written is
 *                               not replaced either.
 *   a symbolic link             the same with what it points to: the link stays
 *   FIFO, terminal, /dev/full   opened, and written to
 *   "-", "/dev/stdout"          standard output
 *   folder, block device        refused
 */
#ifndef RDU_LIB_OUTFILE_H
#define RDU_LIB_OUTFILE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct lr_outfile {
	FILE *f;
	int error; /* negative errno: it could not be opened */
	char path[PATH_MAX]; /* what is replaced, "": written to in place */
	char temp[PATH_MAX]; /* what is written meanwhile */
};

/* NULL: lr_outfile_close() tells why. */
FILE *lr_outfile_open(struct lr_outfile *o, const char *path);
/* 0, or a negative errno of the open, of any write, or of the end; then the old file is as
 * it was. */
int lr_outfile_close(struct lr_outfile *o);
/* Closed, and nothing changed. */
void lr_outfile_discard(struct lr_outfile *o);

/* Could a file of so many bytes be written under that name? 0 or a negative errno. Nothing
 * is changed. */
int lr_outfile_check(const char *path, uint64_t bytes);
/* The two names mean one regular file (which may not be there yet). */
bool lr_outfile_same(const char *a, const char *b);
/* What a command reads and writes, for lr_outfile_check_all(). */
struct lr_outfile_use {
	const char *option; /* "-o", for messages; NULL: an argument that is read */
	const char *path; /* NULL: was not given */
};

/* Before any work: everything that is to be written can be, and nothing that is written is
 * read as well, or written twice. 0, or a negative errno and a text. */
int lr_outfile_check_all(const struct lr_outfile_use *use, unsigned int count, char *text,
			 size_t size);
/* Of a program file's data, which has zeros between its pieces. */
struct lr_piece {
	uint64_t at;
	const void *data;
	size_t size;
};

/* A program file's bytes; in place of parts->data so many pieces, by their places. 0 or a negative
 * errno; what is still in the FILE's buffer is not known to be written. */
struct rdu_file_parts;
int lr_file_write(FILE *f, const struct rdu_file_parts *parts, const struct lr_piece *piece,
		  size_t num);
/* As rdu_file_write(), likewise. */
int lr_file_write_to(const char *path, const struct rdu_file_parts *parts,
		     const struct lr_piece *piece, size_t num, char *error, size_t error_size);
/* The name means standard output. */
bool lr_outfile_is_stdout(const char *path);

#endif
