/* SPDX-License-Identifier: MIT */
/*
 * Inside librdu: the objects. Nothing here is visible to applications; functions
 * are called lr_* so that they never meet those of the model.
 *
 * Locks: a context's (recursive) lock guards everything made on it (buffers, programs,
 * jobs); a device's lock guards what the back end shares between contexts.
 * Order: context, then device. Neither is held while waiting for the card.
 */
#ifndef RDU_INTERNAL_H
#define RDU_INTERNAL_H

#include <errno.h>
#include <pthread.h>
#include "rdu.h"
#include <rdu/config.h>

#define RDU_EXPORT __attribute__((visibility("default")))
#define RDU_PRINTF(a, b) __attribute__((format(printf, a, b)))

/* What every object begins with. */
struct rdu_object {
	int code; /* negative errno of the last failure, 0: none */
	bool dead; /* it failed while it was made */
	uint32_t process; /* that made it, and alone may use it; 0: any may */
	char text[1024];
};

/* Note a failure; gives back `code` (a negative errno). */
int lr_fail(struct rdu_object *obj, int code, const char *format, ...) RDU_PRINTF(3, 4);
/* Take over the failure of another object. */
int lr_fail_as(struct rdu_object *obj, const struct rdu_object *other);
/* Names in one text for an error: those that fit, and how many more there are. Begins zeroed. */
struct lr_names {
	char text[400];
	size_t at;
	unsigned int left;
};

void lr_names_add(struct lr_names *names, const char *name);
/* Zeroed memory for an object of this process. NULL: out of memory. */
void *lr_new(size_t size);
/* Refuse to work with an object that could not be made, or that another process made. */
int lr_check(struct rdu_object *obj);
/* lr_check() of what an object is to be made on: notes a failure on the object. */
int lr_check_base(struct rdu_object *obj, struct rdu_object *base, const char *what);
/* The object came here by fork(): what it stands for is not ours to use or to free. */
bool lr_foreign(const struct rdu_object *obj);

/* ---- ranges of addresses (range.c) ---------------------------------------- */

struct lr_range {
	uint64_t start, size;
};

/* What is free of an address range: sorted, no two touch. */
struct lr_ranges {
	struct lr_range *free;
	unsigned int count, room;
	uint64_t available; /* bytes */
};

int lr_ranges_init(struct lr_ranges *r, uint64_t start, uint64_t size);
void lr_ranges_fini(struct lr_ranges *r);
/* First fit. align: a power of two. 0 or -ENOSPC, -ENOMEM. */
int lr_ranges_take(struct lr_ranges *r, uint64_t size, uint64_t align, uint64_t *start);
void lr_ranges_give(struct lr_ranges *r, uint64_t start, uint64_t size);

/* ---- objects --------------------------------------------------------------- */

struct rdu_backend;

struct rdu_device {
	struct rdu_object obj;
	const struct rdu_backend *backend;
	void *priv;
	struct rdu_chip chip;
	uint64_t chip_hash;
	char name[128]; /* as opened, for messages */
	pthread_mutex_t lock;
};

struct rdu_context {
	struct rdu_object obj;
	struct rdu_device *dev;
	void *priv;
	uint32_t tiles;
	struct rdu_context_options options;
	pthread_mutex_t lock;
	struct lr_ranges va;
	uint64_t last_token; /* of the last submission */
};

struct rdu_buffer {
	struct rdu_object obj;
	struct rdu_context *ctx;
	uint64_t size; /* as asked for */
	uint64_t room; /* whole pages */
	uint64_t address; /* device address */
	uint32_t flags;
	void *map; /* NULL: not mapped yet */
	uint64_t handle; /* back end's: GEM handle, or card address */
	uint64_t map_offset; /* back end's */
};

struct rdu_file {
	struct rdu_object obj;
	unsigned char *bytes; /* the file; everything below points into it */
	size_t size;
	char *path; /* for messages */
	struct rdu_chip chip;
	uint64_t chip_hash;
	const unsigned char *image;
	size_t image_size;
	const struct rdu_prog_header *header;
	const struct rdu_prog_entry *entries;
	const struct rdu_file_region *regions;
	unsigned int num_regions;
	const struct rdu_file_symbol *symbols;
	unsigned int num_symbols;
	const struct rdu_file_op *ops;
	unsigned int num_ops;
	const unsigned char *data;
	size_t data_size;
	char *meta; /* a copy, zero terminated */
};

/* ---- tensors that are kept in blocks (blocks.c) ------------------------------ */

/* What is wrong with what a symbol says of its blocks; NULL: nothing. */
const char *lr_blocks_check(const struct rdu_file *file, const struct rdu_file_symbol *sym);
/* Bytes of a symbol in its region. */
uint64_t lr_stored_size(const struct rdu_file *file, const struct rdu_file_symbol *sym);
void lr_blocks_unpack(const struct rdu_file *file, const struct rdu_file_symbol *sym,
		      const void *stored, void *whole);
void lr_blocks_pack(const struct rdu_file *file, const struct rdu_file_symbol *sym,
		    const void *whole, void *stored);
/* Is all that is not 0 in blocks? -EDOM: it is not; -ENOMEM. */
int lr_blocks_hold(const struct rdu_file *file, const struct rdu_file_symbol *sym,
		   const void *whole);

/* ---- outputs of which data say how large they are (sizes.c) ------------------- */

/* What is wrong with what a symbol says of its sizes; NULL: nothing. */
const char *lr_sizes_check(const struct rdu_file *file, const struct rdu_file_symbol *sym);
/* The number of the symbol that has the sizes; -1: it has none. */
int lr_sizes_of(const struct rdu_file_symbol *sym);

struct rdu_binding { /* of one symbol */
	void *data;
	size_t size;
};

struct rdu_region_place { /* of one region */
	struct rdu_buffer *buf; /* the program's own, or one given */
	uint64_t offset;
	uint64_t own_offset; /* in the program's own buffer */
	bool kept; /* KEEP steps read it */
};

/* Host memory of one job: argument block, stats, trace, copies of inputs and
 * outputs. Kept by the program and used again. */
struct rdu_slot {
	struct rdu_slot *next;
	struct rdu_buffer *buf;
	unsigned char *map;
};

struct rdu_program {
	struct rdu_object obj;
	struct rdu_context *ctx;
	struct rdu_file *file;
	uint64_t handle; /* back end's: slot, or program id */
	bool loaded;
	struct rdu_buffer *memory; /* its own regions */
	struct rdu_region_place *regions;
	struct rdu_binding *bindings;
	uint32_t *scalars;
	uint32_t trace_events;
	uint32_t epoch; /* of the runs since kept regions were last written; never 0 */
	bool written; /* they were, since the last run was queued */
	struct rdu_slot *slots; /* free ones */
	uint64_t last_token;
};

struct rdu_job_output {
	void *data;
	uint64_t offset; /* in the slot */
	size_t size;
};

struct rdu_job {
	struct rdu_object obj;
	struct rdu_program *prog;
	unsigned int entry;
	uint64_t first_token, token; /* submissions after first_token up to token */
	struct rdu_slot *slot; /* NULL: done, and handed back */
	uint64_t stats_offset, trace_offset;
	uint32_t trace_room;
	struct rdu_stats stats;
	struct rdu_trace *trace;
	unsigned int num_outputs;
	int result;
	struct rdu_job_output *outputs;
};

/* The epoch (rdu/cmd.h) of a run that is about to be queued; 0: somebody else can write to what
 * its KEEP steps read. Context's lock held. */
uint32_t lr_program_epoch(struct rdu_program *prog);

/* Number of a symbol, of which a long name may be given; -1: there is none. */
int lr_symbol(const struct rdu_file *file, const char *name);

/* A list of slots, and their memory. */
void lr_free_slots(struct rdu_slot *slots);

/* Puts a fault of the context into words on an object: operator, unit, section. */
int lr_fail_fault(struct rdu_object *obj, struct rdu_context *ctx, struct rdu_program *prog,
		  const char *entry, int code);

#endif
