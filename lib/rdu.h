/* SPDX-License-Identifier: MIT */
/*
 * librdu: programs on a reconfigurable dataflow card.
 *
 * A device is a card, or the model of one inside this process. A context owns
 * tiles, an address space and a command queue of a device. A file is a program
 * file that rduc wrote, parsed and checked. A program is a file loaded on a
 * context: its regions have memory there, its weights are in them, its entry
 * points can be run.
 *
 *	struct rdu_device *dev;
 *	struct rdu_context *ctx;
 *	struct rdu_program *prog;
 *	struct rdu_file *file;
 *
 *	if (rdu_open("model:sn10", &dev) || rdu_file_open("net.rdu", &file) ||
 *	    rdu_context_new(dev, NULL, &ctx) || rdu_program_load(ctx, file, &prog) ||
 *	    rdu_program_bind(prog, "x", x, sizeof(x)) ||
 *	    rdu_program_bind(prog, "y", y, sizeof(y)) ||
 *	    rdu_program_run(prog, "forward", NULL))
 *		...
 *
 * Errors. Functions that return int give 0 (or a count), or a negative errno
 * number. rdu_error_text() of the object the call was made on then says in words
 * what went wrong, where, and what to do. A call that makes an object always
 * stores a pointer, also when it fails (NULL only when memory ran out): the
 * failed object can do nothing but give its error text and be freed, with the
 * function that frees any other. Every function that frees takes NULL.
 *
 *	-EINVAL    an argument is wrong
 *	-ENOENT    no such entry point, symbol, card or file
 *	-ENOEXEC   not a program file, or a damaged one, or one the validator refuses
 *	-EXDEV     compiled for another chip
 *	-EBUSY     no free tiles
 *	-ENOMEM    out of host memory
 *	-ENOSPC    out of card memory
 *	-EFAULT    the program faulted on the card; the context is dead
 *	-ETIMEDOUT the watchdog stopped it (context dead), or a wait ran out of time
 *	-ENODEV    the card has gone, or was reset under the context
 *	-EIO       the card was cut off, since it did not answer; `rdu reset` brings it back
 *	-ECHILD    the object came into this process by fork(): see below
 *
 * Threads. Every function may be called from any thread; calls on one object
 * (a device, a context with its buffers, programs and jobs) are serialised, but
 * for waiting, which lets others in. An error text stays valid until the next
 * failing call on its object. The library keeps no state beside its objects, never
 * prints, never exits, installs no signal handler, and starts threads only for "model:".
 *
 * Processes. A device, and all that is made on it, belongs to the process that opened
 * it. In a child of fork() every call on such an object fails with -ECHILD (those that
 * give a pointer or a descriptor: NULL, -1), but for rdu_error_text(), for those that only
 * tell what the process has in memory (names, sizes, addresses, the chip description),
 * and for those that free. They free the child's own memory and descriptor, and change
 * nothing on the card or in the parent; what the threads of a "model:" worked with stays
 * until the child ends. Buffers that were mapped must not be used in a child. The child
 * may open the card for itself. Files (struct rdu_file) may be used on either side.
 *
 * Sizes are in bytes, times in the unit their names say. Tensors are row-major
 * and little-endian. Types, limits and record layouts that library, compiler and
 * card agree on come from the rdu/ headers included here.
 */
#ifndef RDU_H
#define RDU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rdu/chip.h>
#include <rdu/cmd.h>
#include <rdu/program.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RDU_API_VERSION 1

struct rdu_device;
struct rdu_context;
struct rdu_buffer;
struct rdu_file;
struct rdu_program;
struct rdu_job;

/**
 * rdu_error_text - what the last failing call on an object ran into
 * @object: any object of this library
 *
 * Returns a text without a line end, "" if nothing failed, and a general text
 * for NULL. Owned by the object.
 */
const char *rdu_error_text(const void *object);

/**
 * rdu_version - version of the library that is running, "MAJOR.MINOR"
 */
const char *rdu_version(void);

/* ---- devices ------------------------------------------------------------ */

/**
 * rdu_open - open a card
 * @where: NULL, "" or "auto": the first card of this machine that can be opened;
 *         a PCI address ("0000:00:04.0" or "00:04.0"); a device node
 *         ("/dev/accel/accel0"); or "model:CHIP[,OPTION...]": a card modelled in
 *         this process, where CHIP is the name of a chip or the path of a chip
 *         description, and an OPTION one of
 *           threads=N    host threads that run the fabric (default: one per CPU;
 *                        results never depend on it)
 *           mem=N[KMGT]  card memory (default 4G; what is not touched costs nothing)
 *           timing-only  keep time, compute no values
 * @dev: the device; free with rdu_close()
 */
int rdu_open(const char *where, struct rdu_device **dev);

/**
 * rdu_close - close a card; its contexts must have been freed
 */
void rdu_close(struct rdu_device *dev);

struct rdu_device_info {
	char chip[RDU_CHIP_NAME_LEN + 1];
	char serial[17];
	char node[64];        /* "/dev/accel/accel0", or "" (model) */
	char pci_address[32]; /* "0000:00:04.0", or "" (model) */
	char driver[64];      /* "rdu 1.1", or "model" */
	uint64_t chip_hash;
	uint32_t interface_version; /* major << 16 | minor */
	uint32_t num_queues;        /* that applications can have */
	uint64_t mem_total, mem_free;
	uint64_t clock_cycles; /* card clock now */
	uint64_t clock_ns;     /* CLOCK_MONOTONIC at the same moment */
	int32_t temp_millidegree; /* modelled */
	uint32_t power_milliwatt; /* modelled */
	uint32_t ecc_corrected, ecc_uncorrected;
	uint32_t is_model; /* in this process */
	/* Since the driver was bound; of a model: 0. */
	uint64_t faults; /* contexts that faulted or hung */
	uint64_t resets; /* of queues that hung, and of the card */
};

/**
 * rdu_device_get_info - who a card is and how it is
 * @info: filled in
 * @size: sizeof(*info): newer libraries may know more fields
 */
int rdu_device_get_info(struct rdu_device *dev, struct rdu_device_info *info, size_t size);

/**
 * rdu_device_chip - the chip description; owned by the device
 */
const struct rdu_chip *rdu_device_chip(struct rdu_device *dev);

/**
 * rdu_device_fd - file descriptor of the device node, -1 for a model
 */
int rdu_device_fd(struct rdu_device *dev);

/* One tile at one moment. Cycles count since the driver was bound (a model: since
 * it was opened) and go on over resets: take two readings and subtract. What is left
 * of the clock is idle. */
struct rdu_tile_usage {
	uint32_t tile;
	uint32_t owned;   /* 1: a context owns it */
	int32_t pid;      /* owner's process, 0: free or not visible to the caller */
	uint32_t uid;     /* owner's user, valid if pid is not 0 */
	char command[24]; /* owner's command, "" if not visible */
	uint64_t clock_cycles; /* card clock at this reading */
	uint64_t exec_cycles, pload_cycles, aload_cycles, copy_cycles;
};

/**
 * rdu_device_get_usage - what every tile is doing
 * @usage: room for @count elements of @size bytes: sizeof(struct rdu_tile_usage)
 *
 * Returns how many tiles the chip has.
 */
int rdu_device_get_usage(struct rdu_device *dev, struct rdu_tile_usage *usage, unsigned int count,
			 size_t size);

/**
 * rdu_device_reset - reset the whole card; contexts on it are lost
 *
 * Needs root. Other objects of the device can only be freed afterwards; open it
 * again.
 */
int rdu_device_reset(struct rdu_device *dev);

/**
 * rdu_chip_by_name - a chip description by name, or from a description file
 */
int rdu_chip_by_name(const char *name_or_path, struct rdu_chip *chip, char *error,
		     size_t error_size);

/* ---- program files -------------------------------------------------------- */

/**
 * rdu_file_open - read and check a program file
 * @file: free with rdu_file_close()
 *
 * Checked: every table's bounds, names, regions, symbols, entry points and the
 * hash. The configurations inside are checked by the validator when loaded on a
 * context, or by rdu_file_validate().
 */
int rdu_file_open(const char *path, struct rdu_file **file);

/**
 * rdu_file_parse - the same from memory; @data is copied
 */
int rdu_file_parse(const void *data, size_t size, struct rdu_file **file);

void rdu_file_close(struct rdu_file *file);

/**
 * rdu_file_validate - run the card's validator over the whole program here
 * @chip: NULL: the chip it was compiled for
 */
int rdu_file_validate(struct rdu_file *file, const struct rdu_chip *chip);

/* What is in it. Pointers are owned by the file. Indices out of range give NULL. */
const struct rdu_chip *rdu_file_chip(const struct rdu_file *file);
const struct rdu_prog_header *rdu_file_header(const struct rdu_file *file);
unsigned int rdu_file_num_tiles(const struct rdu_file *file);
unsigned int rdu_file_num_entries(const struct rdu_file *file);
const char *rdu_file_entry(const struct rdu_file *file, unsigned int entry);
unsigned int rdu_file_num_symbols(const struct rdu_file *file);
const struct rdu_file_symbol *rdu_file_get_symbol(const struct rdu_file *file, unsigned int symbol);
unsigned int rdu_file_num_regions(const struct rdu_file *file);
const struct rdu_file_region *rdu_file_get_region(const struct rdu_file *file, unsigned int region);
unsigned int rdu_file_num_ops(const struct rdu_file *file);
const struct rdu_file_op *rdu_file_get_op(const struct rdu_file *file, unsigned int op_id);
/* The program image (struct rdu_prog_header first). */
const void *rdu_file_image(const struct rdu_file *file, size_t *size);
/* Initial contents of a region as they are in memory, NULL: zeros. */
const void *rdu_file_region_data(const struct rdu_file *file, unsigned int region);
/**
 * rdu_file_read_symbol - initial contents of a tensor
 * @size: rdu_symbol_size()
 *
 * -ENOENT: there is no such symbol; -EINVAL: it has another size; -ENODATA: the file has no contents,
 * @data is zeros.
 */
int rdu_file_read_symbol(const struct rdu_file *file, unsigned int symbol, void *data, size_t size);
/* "key value" lines, and the value of one key: NULL if it is not there; the
 * value ends at a line end or the text's end. */
const char *rdu_file_meta_text(const struct rdu_file *file);
const char *rdu_file_meta(const struct rdu_file *file, const char *key, size_t *length);

/**
 * rdu_file_find_entry, rdu_file_find_symbol - index by name, -ENOENT
 * @name: of an entry point; NULL: "forward", or the only one. Of a tensor: as in the ONNX
 *        model; one of 64 bytes and more is found by the short form that the file has
 *
 * The same names are meant wherever a symbol is named (rdu_program_bind() and others).
 */
int rdu_file_find_entry(struct rdu_file *file, const char *name);
int rdu_file_find_symbol(struct rdu_file *file, const char *name);

/* The shape of a tensor of the model. */
struct rdu_shape {
	const char *name; /* in the model; ENTRY/NAME is the same */
	uint32_t ndim, zero;
	int64_t dims[RDU_MAX_DIMS];
};

/**
 * rdu_file_entry_for_shapes - which entry point takes inputs of these shapes
 * @entry: name; NULL: "forward", or the only one. Of the entry points that were made of the same
 *         graph for other shapes (NAME[...]), the one that takes the fewest elements is chosen
 * @shapes: of the inputs that can have several shapes, or of all
 *
 * A dimension of an input has to be the entry point's, or smaller where the compiler has proven
 * that rows do not depend on each other (RDU_SYM_ROWS_OF()); an input of 0 rows is not padded.
 * Returns its number; -EINVAL and a text with the shapes that there are, if none fits.
 */
int rdu_file_entry_for_shapes(struct rdu_file *file, const char *entry,
			      const struct rdu_shape *shapes, unsigned int num);

/**
 * rdu_file_entry_symbol - the symbol that a tensor of the model is in an entry point
 * @entry: number
 * @name: in the model, of an input, an output, a weight or a state
 *
 * Returns its number, -ENOENT.
 */
int rdu_file_entry_symbol(struct rdu_file *file, unsigned int entry, const char *name);

/**
 * rdu_file_entry_shape - the shape that an input or output has with inputs of these shapes
 * @entry: number, from rdu_file_entry_for_shapes() with the same @shapes
 * @shape: filled in: where the inputs have fewer rows than the entry point takes, so has it
 *
 * Returns the number of its symbol.
 */
int rdu_file_entry_shape(struct rdu_file *file, unsigned int entry, const struct rdu_shape *shapes,
			 unsigned int num, const char *name, struct rdu_shape *shape);

/**
 * rdu_symbol_pad, rdu_symbol_cut - from a tensor of fewer rows to the symbol's, and back
 * @shape: of @part; not larger than the symbol's, and 0 only where that is, or where data say the size
 * @part: elements of that shape
 * @whole: elements of the symbol's shape
 *
 * What is missing becomes copies of the last row, so that no data comes in which is not the caller's
 * (a division by 0 would stop the run). -EINVAL: the shapes do not fit.
 */
int rdu_symbol_pad(const struct rdu_file_symbol *symbol, const struct rdu_shape *shape,
		   const void *part, void *whole);
int rdu_symbol_cut(const struct rdu_file_symbol *symbol, const struct rdu_shape *shape,
		   const void *whole, void *part);

/**
 * rdu_file_symbol_sizes - where the sizes are of an output that data say the size of
 * @symbol: number
 *
 * Such an output has room for the largest that there can be (dims[]); a run makes the first ones of each
 * dimension d with bit d of `block` set, and what lies behind them has no meaning.
 * Returns the number of the symbol, int64, that has how many, in the order of these dimensions; -ENOENT: the
 * shape is the same in each run.
 */
int rdu_file_symbol_sizes(const struct rdu_file *file, unsigned int symbol);

/**
 * rdu_file_symbol_is_sizes - is a symbol one that has others' sizes, and no output of the model?
 */
bool rdu_file_symbol_is_sizes(const struct rdu_file *file, unsigned int symbol);

/**
 * rdu_symbol_set_sizes - the shape that such an output has
 * @sizes: elements of the symbol that has its sizes
 * @shape: of the symbol; those dimensions become what @sizes says
 *
 * -EINVAL: a size is negative, or more than there is room for.
 */
int rdu_symbol_set_sizes(const struct rdu_file_symbol *symbol, const int64_t *sizes,
			 struct rdu_shape *shape);

/* Bytes of an element, 0: unknown type; its name ("float32"); bytes of a tensor. */
size_t rdu_dtype_size(uint32_t dtype);
const char *rdu_dtype_name(uint32_t dtype);
size_t rdu_symbol_size(const struct rdu_file_symbol *symbol);

/* The parts a program file is made of, for those who write one. */
struct rdu_file_parts {
	const struct rdu_chip *chip;
	const void *image;
	size_t image_size;
	const struct rdu_file_region *regions;
	size_t num_regions;
	const struct rdu_file_symbol *symbols;
	size_t num_symbols;
	const struct rdu_file_op *ops;
	size_t num_ops;
	const void *data;
	size_t data_size;
	const char *meta; /* zero terminated text */
};

/**
 * rdu_file_write - write a program file (ELF, symbol table and hash included)
 * @error: text of the failure, may be NULL
 *
 * Written under another name, flushed, then renamed: @path is the old file or
 * the new one, never half of it. A symbolic link stays, and what it points to is
 * replaced; a FIFO or a character device is written to; "-" is standard output;
 * folders and block devices are refused.
 */
int rdu_file_write(const char *path, const struct rdu_file_parts *parts, char *error,
		   size_t error_size);

/* ---- contexts ------------------------------------------------------------- */

struct rdu_context_options {
	size_t size;          /* sizeof(struct rdu_context_options) */
	uint32_t tiles;       /* consecutive tiles to own; 0: all of the chip */
	uint32_t queue_depth; /* commands in flight at most; 0: 256 */
	uint64_t watchdog_ms; /* host milliseconds one command may take; 0: the driver's */
	uint64_t watchdog_cycles; /* card cycles one command may take; 0: no limit */
	uint32_t wait_for_tiles;  /* 1: wait until tiles are free instead of -EBUSY */
	uint32_t zero;
};

/**
 * rdu_context_new - tiles, an address space and a queue
 * @options: NULL: defaults
 * @ctx: free with rdu_context_free()
 */
int rdu_context_new(struct rdu_device *dev, const struct rdu_context_options *options,
		    struct rdu_context **ctx);

/**
 * rdu_context_free - stop the queue and free all; programs, buffers and jobs of
 * the context must have been freed
 */
void rdu_context_free(struct rdu_context *ctx);

struct rdu_device *rdu_context_device(struct rdu_context *ctx);

struct rdu_fault_info {
	uint32_t code;    /* enum rdu_fault; 0: none */
	uint32_t info;    /* code specific */
	uint64_t address; /* device address, byte in a segment, or byte in an image */
	uint64_t seqno;   /* of the guilty command */
	uint32_t section; /* ~0: none */
	uint32_t program; /* unit program of that section, ~0: none */
};

/**
 * rdu_context_get_fault - what stopped the context
 *
 * Returns 0: nothing did; 1: *@fault says what; -ENODEV, -EIO: the card did not stop
 * it, but is gone, or was cut off.
 */
int rdu_context_get_fault(struct rdu_context *ctx, struct rdu_fault_info *fault);

/* Name ("BOUNDS") and meaning of a fault or configuration error code. */
const char *rdu_fault_name(uint32_t code);
const char *rdu_fault_meaning(uint32_t code);
const char *rdu_config_error_name(uint32_t error);
const char *rdu_config_error_meaning(uint32_t error);

/* ---- buffers -------------------------------------------------------------- */

#define RDU_BUFFER_CARD 0x0 /* card memory */
#define RDU_BUFFER_HOST 0x1 /* system memory that the card reads and writes by DMA */

/**
 * rdu_buffer_new - memory that both sides can reach, zeroed
 * @flags: RDU_BUFFER_*
 * @buf: free with rdu_buffer_free(), when no submitted job uses it any more
 */
int rdu_buffer_new(struct rdu_context *ctx, uint64_t size, uint32_t flags,
		   struct rdu_buffer **buf);
void rdu_buffer_free(struct rdu_buffer *buf);
uint64_t rdu_buffer_size(const struct rdu_buffer *buf);
/* Where the card sees it. */
uint64_t rdu_buffer_address(const struct rdu_buffer *buf);
/* Where the process sees it, until freed; NULL: see rdu_error_text(). */
void *rdu_buffer_map(struct rdu_buffer *buf);

/**
 * rdu_context_copy - queue a copy between device addresses of a context
 * @to: rdu_buffer_address() of a buffer, plus an offset
 * @from: the same; the ranges must not overlap
 * @ticket: for rdu_context_wait()
 *
 * Runs in order with all else that is queued on the context. The call returns
 * when it is queued; it waits for room in the queue.
 */
int rdu_context_copy(struct rdu_context *ctx, uint64_t to, uint64_t from, uint64_t size,
		     uint64_t *ticket);

/**
 * rdu_context_barrier - queue a job that does nothing, and is done when all
 * before it is
 */
int rdu_context_barrier(struct rdu_context *ctx, uint64_t *ticket);

/**
 * rdu_context_wait - wait until a ticket's job, and all before it, is done
 * @timeout_ms: < 0: as long as it takes
 *
 * -ETIMEDOUT when time ran out: the job goes on.
 */
int rdu_context_wait(struct rdu_context *ctx, uint64_t ticket, int64_t timeout_ms);

/* ---- programs ------------------------------------------------------------- */

/**
 * rdu_program_load - put a program on a context
 * @file: may be closed after the last of its programs has been freed
 * @prog: free with rdu_program_free()
 *
 * Validates the program on the card, gives memory to its regions and fills in
 * weights and state. Fails with -EXDEV (and both names) if it was compiled for
 * another chip, with -EBUSY if it needs more tiles than the context has.
 */
int rdu_program_load(struct rdu_context *ctx, struct rdu_file *file, struct rdu_program **prog);

/**
 * rdu_program_free - waits for its jobs, then frees
 */
void rdu_program_free(struct rdu_program *prog);

struct rdu_file *rdu_program_file(struct rdu_program *prog);

/**
 * rdu_program_bind - bind an input or output symbol to memory of the process
 * @symbol: name
 * @data: an input is copied when a run is submitted, an output is written when
 *        its job has been waited for; NULL: unbind
 * @size: bytes at @data, at least the tensor's
 *
 * Only symbols that the entry point run uses are copied. An output that data say the size of
 * (rdu_file_symbol_sizes()) is written whole: a run is refused with -EINVAL if it is bound and its sizes
 * are not.
 */
int rdu_program_bind(struct rdu_program *prog, const char *symbol, void *data, size_t size);

/**
 * rdu_program_bind_buffer - let the card use a buffer in place, without copies
 * @buf: of the same context; NULL: back to the program's own memory
 * @offset: a multiple of 64; the symbol's whole region must fit behind it
 *
 * Binds the region the symbol lies in: symbols that share it move along.
 */
int rdu_program_bind_buffer(struct rdu_program *prog, const char *symbol, struct rdu_buffer *buf,
			    uint64_t offset);

/**
 * rdu_program_set_scalars - argument registers of runs submitted from now on
 * @values: as many 32-bit words as the program's header says (num_scalars)
 */
int rdu_program_set_scalars(struct rdu_program *prog, const uint32_t *values, unsigned int count);

/**
 * rdu_program_run - run an entry point and wait
 * @entry: name; NULL: "forward", or the only one
 * @stats: modelled cycles and counters of this run; may be NULL
 */
int rdu_program_run(struct rdu_program *prog, const char *entry, struct rdu_stats *stats);

/* A tensor of the caller's. */
struct rdu_tensor {
	struct rdu_shape shape;
	void *data; /* row-major, of the symbol's type */
	size_t size; /* bytes at @data */
};

/**
 * rdu_program_run_tensors - run the entry point that takes inputs of these shapes, and wait
 * @entry: as for rdu_file_entry_for_shapes()
 * @in: the inputs; those that are not among them are what they are in the program's memory
 * @out: outputs to be read: name, data and size are given, the rest of the shape is filled in. One that
 *       data say the size of needs room for the largest that there can be; it gets as many elements as the
 *       run has made, row-major, and the shape that they have
 * @stats: modelled cycles and counters of this run; may be NULL
 *
 * Chooses the entry point, pads inputs and cuts outputs as the calls above do. Nothing stays bound.
 * -EINVAL and a text with the shapes that there are, if none fits; then nothing was run.
 */
int rdu_program_run_tensors(struct rdu_program *prog, const char *entry,
			    const struct rdu_tensor *in, unsigned int num_in,
			    struct rdu_tensor *out, unsigned int num_out, struct rdu_stats *stats);

/**
 * rdu_program_submit - queue a run; runs of a context start and end in order
 * @job: free with rdu_job_free(); any number may be in flight (the call waits
 *       for room in the queue)
 */
int rdu_program_submit(struct rdu_program *prog, const char *entry, struct rdu_job **job);

/**
 * rdu_job_wait - wait for a job, then write the outputs that were bound to
 * memory when it was submitted
 * @timeout_ms: < 0: as long as it takes
 * @stats: may be NULL
 *
 * -ETIMEDOUT when time ran out: the job goes on.
 */
int rdu_job_wait(struct rdu_job *job, int64_t timeout_ms, struct rdu_stats *stats);

/**
 * rdu_job_free - waits for it if need be
 */
void rdu_job_free(struct rdu_job *job);

/**
 * rdu_program_set_trace - record events in jobs submitted from now on
 * @max_events: 0: off
 */
int rdu_program_set_trace(struct rdu_program *prog, uint32_t max_events);

/**
 * rdu_job_trace - events of a job that has been waited for
 * @events: owned by the job
 * @dropped: events for which there was no room; may be NULL
 *
 * Returns how many events there are. The UNIT events are the counters (busy and
 * stalled cycles) of every unit program of a section.
 */
int rdu_job_trace(struct rdu_job *job, const struct rdu_trace_event **events, uint32_t *dropped);

/**
 * rdu_program_read, rdu_program_write - a tensor's contents, by symbol name
 * @size: exactly the tensor's bytes
 *
 * Both wait for the jobs submitted before. An output that data say the size of is read whole:
 * rdu_program_output_shape() says what of it counts, rdu_symbol_cut() leaves that.
 */
int rdu_program_read(struct rdu_program *prog, const char *symbol, void *data, size_t size);
int rdu_program_write(struct rdu_program *prog, const char *symbol, const void *data, size_t size);

/**
 * rdu_program_output_shape - the shape of an output as the last run has left it
 * @symbol: name
 * @shape: filled in: the symbol's, where data say it what they said; the name stays the caller's
 *
 * Waits for the jobs submitted before.
 */
int rdu_program_output_shape(struct rdu_program *prog, const char *symbol, struct rdu_shape *shape);

/**
 * rdu_program_save - write a program file with the weights and state of now
 *
 * A checkpoint: loading it goes on where this program stands.
 */
int rdu_program_save(struct rdu_program *prog, const char *path);

/**
 * rdu_program_save_as - the same, with other properties (rdu_file_meta())
 * @meta: "key value" lines that take the place of those with the same key; NULL: none
 */
int rdu_program_save_as(struct rdu_program *prog, const char *path, const char *meta);

/**
 * rdu_program_restore - take all weights, and the state, from a file
 *
 * Files of the same model agree, whether they train or not. Each weight of one must be
 * in the other, of the same shape and of the same type; bfloat16 becomes fp32, and fp32
 * bfloat16 where that is exact. State: a program without any takes none. Of a file without
 * any, a program's starts at zero; otherwise all of it must agree. States of the model itself
 * (RDU_SYM_MODEL_STATE) are not taken, and stay as they are. -EINVAL, a text with the
 * names of what doesn't fit, and nothing is changed, else. Returns how many weights and
 * states were taken. Single weights: rdu_program_write().
 */
int rdu_program_restore(struct rdu_program *prog, struct rdu_file *file);

/**
 * rdu_program_weights_hash - FNV-1a 64 over all weights, in symbol order
 */
int rdu_program_weights_hash(struct rdu_program *prog, uint64_t *hash);

#ifdef __cplusplus
}
#endif

#endif
