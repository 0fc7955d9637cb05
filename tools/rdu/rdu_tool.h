/* SPDX-License-Identifier: MIT */
/* What the subcommands of `rdu` share. */
#ifndef RDU_TOOL_H
#define RDU_TOOL_H

#include <getopt.h>
#include <stdio.h>
#include "../json.h"
#include "outfile.h"
#include "rdu.h"

enum { EXIT_OK = 0, EXIT_FAIL = 1, EXIT_USAGE = 2 };

/* Every subcommand: argv[0] is its name; returns an exit code. */
#define COMMANDS(X) \
	X(info, "[--json]", "what the card is made of, and how it is") \
	X(stat, "[-i SEC] [--count N] [--csv] [--json] [--skip-idle]", "what every tile is doing") \
	X(top, "[-i SEC] [-b] [-n N] [--json]", "who uses the card, live") \
	X(run, "FILE.rdu [ENTRY] [--input NAME=FILE] [--output NAME=FILE]", "run an entry point") \
	X(train, "FILE.rdu --data DATA [--epochs N] [--save OUT.rdu]", "train on text, images, tables") \
	X(eval, "FILE.rdu --data DIR [--labels FILE]", "serve the test images, tell the accuracy") \
	X(serve_train, "FILE.rdu --data DATA [--picture FILE.svg]", "serve examples as they come, and learn from them") \
	X(generate, "FILE.rdu --prompt TEXT [--tokens N] [--temperature F]", "a language model goes on") \
	X(trace, "FILE.rdu [ENTRY] [-o FILE.json] [--svg FILE]", "where the time of one run goes") \
	X(dump, "FILE.rdu [SECTION[:PROGRAM|:UNIT]]", "a program file in readable form") \
	X(bench, "[--size MIB] [--jobs N] [--json]", "how fast the way to the card is") \
	X(validate, "FILE.rdu [--chip CHIP]", "check a program file as the card would") \
	X(chip, "[CHIP]", "chip descriptions: list, check, print with every field explained") \
	X(faults, "[--list] [--json]", "faults and errors of the card, and what they mean") \
	X(reset, "", "reset the card")

#define COMMAND_DECL(name, args, text) int cmd_##name(int argc, char **argv);
COMMANDS(COMMAND_DECL)
#undef COMMAND_DECL

/* ---- messages (util.c) ------------------------------------------------------- */

/* The last line on stdout is one that is rewritten: it has no end yet. */
extern bool line_open;
void close_line(void);
/* "rdu: ..." on stderr; gives EXIT_FAIL or EXIT_USAGE. */
int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int usage(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
int help(const char *command, const char *options);
/* A number of an option, or a whole one, within bounds; false after an error message. */
bool parse_number(const char *option, const char *text, double least, double most, double *value);
bool parse_count(const char *option, const char *text, double least, double most, double *value);
/* One of the words, up to NULL; false after an error message that names them. */
bool parse_word(const char *option, const char *text, const char *const *words,
		unsigned int *index);
/* Files of a command, looked at before any work is done; EXIT_FAIL after a message. */
int check_files(const struct lr_outfile_use *use, unsigned int count);
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
double now_seconds(void);
/* 12.3 GB, 1.50 us, 12.3 k: into text. */
const char *human_bytes(double bytes, char *text, size_t size);
const char *human_time(double seconds, char *text, size_t size);
const char *human_count(double count, char *text, size_t size);

/* Text with XML's special characters escaped, to a file. */
void put_xml(FILE *f, const char *text);

/* ---- who uses the card (usage.c) ----------------------------------------------- */

enum { USE_EXEC, USE_PLOAD, USE_ALOAD, USE_COPY, NUM_USES };

/* Of the card's clock between two readings, in percent. */
struct share {
	double idle, use[NUM_USES];
};

struct share share_of_cycles(const uint64_t then[NUM_USES], const uint64_t now[NUM_USES],
			     double all);
struct share share_of_tile(const struct rdu_tile_usage *a, const struct rdu_tile_usage *b);
/* The whole command line of a process where it can be seen, else its name. */
void command_of(int pid, const char *name, char *text, size_t size);
void user_of(unsigned int uid, char *text, size_t size);

/* An open file of the card's: /proc/PID/fdinfo. Several processes may have it. */
struct client {
	uint64_t id;
	int pid, last; /* first and last process that was found to have it */
	unsigned int uid, processes;
	char command[256];
	uint64_t cycles[NUM_USES]; /* of tiles */
	uint64_t vram, system, active; /* bytes; active: of vram */
};

struct clients {
	struct client *client;
	unsigned int count;
	unsigned int hidden; /* processes whose files we have no right to see */
};

/* All that have the node open, but for this process. */
void clients_read(struct clients *list, const char *node);
const struct client *clients_find(const struct clients *list, uint64_t id);
void clients_free(struct clients *list);

/* ---- a card on its bus (pci.c) ------------------------------------------------- */

struct pci_card {
	bool link; /* known: and the rest too, but for BARs and counters */
	double gts, max_gts; /* GT/s of a lane */
	unsigned int width, max_width;
	unsigned int num_bars;
	struct {
		unsigned int bar;
		unsigned long long address, size;
	} bars[6];
	unsigned int msix_vectors; /* 0: none */
	bool msix_enabled;
	bool aer; /* the card has it */
	uint32_t corrected, uncorrected; /* its status registers */
	bool counted; /* by the kernel, since the card was found */
	uint64_t count_corrected, count_nonfatal, count_fatal;
};

struct pci_error_bit {
	uint32_t mask; /* 0: end of the table */
	const char *name, *text; /* lspci's name, and what it means */
};

/* What can't be seen stays zero. */
void pci_card_read(const char *address, struct pci_card *card);
double pci_card_gbs(const struct pci_card *card); /* of the link, each way */
const struct pci_error_bit *pci_uncorrected_bits(void);
const struct pci_error_bit *pci_corrected_bits(void);

/* ---- a program on a card (session.c) ---------------------------------------------- */

struct session {
	struct rdu_device *dev;
	struct rdu_file *file;
	struct rdu_context *ctx;
	struct rdu_program *prog;
};

/* Opens all of it; 0 or an exit code after a message. Close in any case. wait: until there
 * are tiles for it. */
int session_open(struct session *s, const char *device, const char *path, bool wait);
void session_close(struct session *s);
double chip_hz(const struct session *s);
void json_stats(struct json *j, const char *key, const struct rdu_stats *st, double hz);
void print_stats(FILE *f, const struct rdu_stats *st, double hz);
void add_stats(struct rdu_stats *sum, const struct rdu_stats *st);

/* ---- tensors in files (tensor.c) ---------------------------------------------------- */

struct tensor {
	uint32_t dtype; /* enum rdu_dtype */
	unsigned int ndim;
	int64_t dims[RDU_MAX_DIMS];
	void *data; /* malloc */
	size_t size;
};

/* .npy, else ONNX TensorProto. 0, or -1 and a text. */
int tensor_read(const char *path, struct tensor *t, char *error, size_t error_size);
int tensor_write(const char *path, const char *name, const struct tensor *t, char *error,
		 size_t error_size);
/* What elements of a type are in a .npy file: integers, of the types that NumPy has none of. 0: no type. */
uint32_t tensor_npy_dtype(uint32_t dtype);

/* ---- images (idx.c) -------------------------------------------------------------------- */

struct images {
	unsigned int count, rows, cols;
	unsigned char *pixels; /* count * rows * cols */
	unsigned char *labels;
};

/* split: "train" or "t10k". 0, or -1 and a text. */
int images_read(const char *dir, const char *split, struct images *im, char *error,
		size_t error_size);
void images_free(struct images *im);
/* Pixels / 255 of images order[0..n), zeros for the rest of the batch. */
void images_batch(const struct images *im, const unsigned int *order, unsigned int n,
		  unsigned int batch, float *to);

/* ---- pictures and traces ------------------------------------------------------------------ */

struct loss_point {
	unsigned int step;
	float loss, lr;
	float held_out; /* loss of what is held out, after the step; NAN: not looked at */
};

/* What is called "the loss" wherever one number stands for many steps: the mean of the last
 * LOSS_STEPS of them. loss_svg.c */
#define LOSS_STEPS 100
double loss_mean(const struct loss_point *points, unsigned int count);
/* loss_svg.c: 0 or a negative errno. loss: its name. */
int write_loss_svg(const char *path, const struct loss_point *points, unsigned int count,
		   const char *title, const char *subtitle, const char *loss);

/* A row of numbers, one after the other, from 1 on. */
struct curve {
	const char *name, *colour;
	const float *y;
};

/* loss_svg.c: some curves of `count` points each; 0 or a negative errno. x, y: what the axes are. */
int write_curves_svg(const char *path, const struct curve *curves, unsigned int num,
		     unsigned int count, const char *title, const char *subtitle, const char *x,
		     const char *y);

struct trace {
	const struct rdu_trace_event *events;
	unsigned int count;
	uint32_t dropped;
	const struct rdu_file *file;
	const char *entry;
	double hz;
	unsigned int tiles;
};

/* timeline.c: 0 or a negative errno. */
int write_trace_json(const char *path, const struct trace *t);
int write_timeline_svg(const char *path, const struct trace *t);

#define DEVICE_OPTION { "device", required_argument, NULL, 'd' }
#define WAIT_OPTION { "wait", no_argument, NULL, 'W' }
#define JSON_OPTION { "json", no_argument, NULL, 'j' }
#define HELP_OPTION { "help", no_argument, NULL, 'h' }
#define DEVICE_HELP \
	"  -d, --device WHERE   auto (default), PCI address, /dev/accel node, or model:CHIP\n" \
	"                       (options: model:sn10,threads=2,mem=8G,timing-only);\n" \
	"                       RDU_DEVICE in the environment changes the default\n"

#define WAIT_HELP "      --wait           until tiles are free, if others have them\n"

/* --device, or RDU_DEVICE, or NULL. */
const char *default_device(void);

#endif
