/* SPDX-License-Identifier: MIT */
/*
 * librduc: the compiler from ONNX to programs for a reconfigurable dataflow card.
 *
 * A compiler object holds options, and what the last compile gave: the program file's
 * bytes, reports, and diagnostics. It can be used again and again.
 *
 *	struct rduc *c;
 *	const void *program;
 *	size_t size;
 *
 *	if (rduc_new(&c) || rduc_set(c, "chip", "sn10") || rduc_set(c, "optimize", "3") ||
 *	    rduc_compile_file(c, "net.onnx"))
 *		errx(1, "%s", rduc_error_text(c));
 *	program = rduc_output(c, RDUC_PROGRAM, &size);
 *	fwrite(program, 1, size, f);
 *	rduc_free(c);
 *
 * The bytes go to rdu_file_parse() of librdu, or into a file that rdu_file_open() and the
 * command rdu read.
 *
 * Errors. Functions that return int give 0 or a negative errno number; rduc_error_text()
 * then says what went wrong, and where in the model.
 *
 *	-EINVAL    an option is wrong, or the model is refused: rduc_diagnostic() has all reasons
 *	-ENOENT    no such chip description
 *	-EIO       the model's file cannot be read
 *	-ENOMEM    out of memory, or more than the option memory allows
 *	-ECANCELED rduc_cancel() was called
 *	-EBUSY     a compile is running on this object
 *
 * Threads. The library keeps no state beside its objects, never prints, never exits, installs
 * no signal handler, and starts threads only if the option threads asks for some: these take no signal, and end
 * with the compile. Different objects can be used by different threads at
 * the same time; one object by one thread, but for rduc_cancel(), which any thread may call at
 * any time. A compile needs a stack of 1 MiB. What it gives depends on the model and the
 * options, and on nothing else.
 */
#ifndef RDUC_H
#define RDUC_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RDUC_API_VERSION 1

struct rduc;

/**
 * rduc_new - make a compiler
 * @c: the compiler, NULL when there is no memory; free with rduc_free()
 */
int rduc_new(struct rduc **c);

/**
 * rduc_free - free a compiler and all that it gave; takes NULL
 */
void rduc_free(struct rduc *c);

/**
 * rduc_error_text - what the last failing call ran into
 *
 * Returns a text without a line end, "" if nothing failed. It may have several lines, one for
 * each reason. Owned by the compiler, and valid until its next call.
 */
const char *rduc_error_text(const struct rduc *c);

/**
 * rduc_version - version of the library that is running, "MAJOR.MINOR"
 */
const char *rduc_version(void);

/* ---- options -------------------------------------------------------------- */

/**
 * rduc_set - set an option
 * @name: the name of an option of rduc(1), without dashes.
 *        These there are, in brackets what holds if they are not set:
 *          chip            name of a chip, or path of a chip description (sn10)
 *          optimize        0, 1, 3: one section per operator, rules, whole graph by cost (1)
 *          tiles           tiles to use (1)
 *          pipe, hold      auto, always, never (auto): see rduc(1)
 *          sparse-weights  auto, always, never (auto): see rduc(1)
 *          precision       bf16 or fp32: of contractions (bf16, where the chip has an array)
 *          shape           NAME=D,D,...: shape of an input; may be set for several. D is a size, or
 *                          several, for each of which an entry point is made: 1..8, in steps
 *                          16..512:16, times a number 1..64:x2, a list [1,4,16..32:4]; or a name
 *          dim             NAME=SIZES: sizes, written as in shape, of dimensions that the model, or
 *                          shape, has by this name; may be set for several
 *          batch           first dimension of inputs that leave it open
 *          state           IN=OUT,...: inputs that are kept from run to run, and the outputs that
 *                          take their places; a '*' in both names stands for the same text
 *          entry           NAME=FILE: one more entry point, from another ONNX file with weights of
 *                          the same names and values; may be set for several
 *          train           1: also make the entry points train_step and evaluate (0)
 *          loss            softmax_cross_entropy (default), mse, binary_cross_entropy,
 *                          binary_cross_entropy_with_logits, or graph: the model's own output
 *          optimizer       sgd (default), momentum, adam, adamw
 *          momentum, beta1, beta2, epsilon, weight-decay
 *                          of the optimizer (0.9, 0.9, 0.999, 1e-8, 0; adamw: 0.01)
 *          clip-norm       most that the norm of all gradients may be (any)
 *          accumulate      batches of a step, which takes the mean of their gradients (1)
 *          steps-per-run   N: also make the entry point train_steps, N steps in one run (none)
 *          unbiased-variance
 *                          1: BatchNormalization in training mode keeps the unbiased variance, as
 *                          PyTorch's; 0: that of the batch, as ONNX says (0)
 *          tokens-per-run  N: of the entry point decode also make generate, N tokens in one run, and
 *                          generate_step, one (none)
 *          greedy          1: generate always takes the likeliest token, and has no inputs (0)
 *          train-only, freeze, no-decay
 *                          names of weights, or patterns as of fnmatch(3), with commas
 *                          between them; each call adds some
 *          print-after     names of passes, with commas between them: rduc_set_log()
 *          name            of the model, for reports and the program file
 *          threads         threads that a compile runs in, the caller's among them (1): what it gives is the
 *                          same for any number
 *          memory          bytes that a compile may take at most, without its results; 0: no limit
 * @value: its value
 *
 * Options stay set for all compiles that follow. -EINVAL: no such option, or a value that it
 * does not take; nothing is changed then.
 */
int rduc_set(struct rduc *c, const char *name, const char *value);

/**
 * rduc_set_progress - be told what the compiler is at
 * @progress: called with a few words for each pass, and each operator in it, by the thread that
 *            compiles; it must return. NULL: nobody is told
 * @arg: its first argument
 */
void rduc_set_progress(struct rduc *c, void (*progress)(void *arg, const char *what), void *arg);

/**
 * rduc_set_log - where the option print-after prints to
 * @log: called with parts of the text, which end nowhere in particular, by the thread that
 *       compiles; it must return. NULL: it is not printed
 * @arg: its first argument
 */
void rduc_set_log(struct rduc *c, void (*log)(void *arg, const char *text, size_t size), void *arg);

/* ---- compiling ------------------------------------------------------------ */

/* What a compile can give. All but the program only if rduc_want() asked for it. */
enum rduc_output {
	RDUC_PROGRAM, /* the program file */
	RDUC_REPORT, /* text: what each section costs, and what bounds it */
	RDUC_REPORT_JSON, /* the same for programs */
	RDUC_FLOOR_PLAN, /* SVG of units and routes */
	RDUC_GRAPH, /* the graph after fusion, in Graphviz's language */
	RDUC_SUMMARY, /* text: what was made, in a few lines */
	RDUC_PARAMETERS, /* text: each weight, is it trained, and why (with train) */
	RDUC_OUTPUTS, /* how many there are */
};

/**
 * rduc_want - ask for an output besides the program
 *
 * Stays so for all compiles that follow. -EINVAL: no such output.
 */
int rduc_want(struct rduc *c, enum rduc_output what);

/**
 * rduc_set_output - have an output handed out while it is made
 * @write: called with one part after the other, by the thread that compiles, and nothing keeps them: a program
 *         file has all weights. 0, or a negative errno number, with which the compile fails; it must return.
 *         NULL: it is for rduc_output(), as at first
 * @arg: its first argument
 *
 * Stays so for all compiles that follow. A compile may fail with parts handed out. It is no rduc_want().
 * -EINVAL: no such output.
 */
int rduc_set_output(struct rduc *c, enum rduc_output what,
		    int (*write)(void *arg, const void *data, size_t size), void *arg);

/**
 * rduc_compile - compile a model
 * @model: the bytes of an ONNX file; not needed any more when the call returns
 * @size: how many
 *
 * Takes the place of all that an earlier compile gave, also when it fails.
 */
int rduc_compile(struct rduc *c, const void *model, size_t size);

/**
 * rduc_compile_file - the same with an ONNX file, or a pipe
 */
int rduc_compile_file(struct rduc *c, const char *path);

/**
 * rduc_cancel - end a compile soon
 *
 * The compile that runs, or the next one if none does, fails with -ECANCELED; the one after
 * that can succeed. May be called by any thread, and in a signal handler.
 */
void rduc_cancel(struct rduc *c);

/**
 * rduc_output - what the last compile gave
 * @size: bytes; may be NULL
 *
 * A text has a zero behind its last byte, which does not count. Owned by the compiler, and valid
 * until its next compile. NULL: there is none, or rduc_set_output() took it.
 */
const void *rduc_output(const struct rduc *c, enum rduc_output what, size_t *size);

enum rduc_severity {
	RDUC_NOTE, /* worth knowing: where training departs from PyTorch's, an input that is none */
	RDUC_ERROR, /* a reason why the model is refused */
	RDUC_REMARK, /* a note of the report: why operators are not fused, what does not fit */
};

/**
 * rduc_diagnostic - one of the things that the last compile had to say
 * @index: from 0
 * @severity: may be NULL
 *
 * Returns a text that names the node, input or weight it is about; NULL: there are no more.
 * Owned as rduc_output()'s.
 */
const char *rduc_diagnostic(const struct rduc *c, unsigned int index, enum rduc_severity *severity);

#ifdef __cplusplus
}
#endif

#endif
