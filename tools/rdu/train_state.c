// SPDX-License-Identifier: MIT
/*
 * What outlives a training: checkpoints and the log. A checkpoint is the program file with
 * the weights and the optimizer's state of now; how far it is stands in its properties.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "train.h"

#define LOG_HEADER "step,loss,lr,card_cycles,wall_ns,held_out_loss\n"

const char *const schedules[] = { "cosine", "constant", "two-stage", NULL };

/* ---- checkpoints ------------------------------------------------------------------------ */

int checkpoint_save(struct trainer *t)
{
	char meta[512];

	snprintf(meta, sizeof(meta),
		 "train.step %u\ntrain.steps %u\ntrain.lr %.17g\ntrain.schedule %s\n"
		 "train.seed %.0f\ntrain.data %016llx\ntrain.warm_up %.0f\n"
		 "train.second_lr %.17g\ntrain.hold_out %.17g\n",
		 t->done, t->steps, t->plan.lr, schedules[t->plan.schedule], t->plan.seed,
		 (unsigned long long)t->data_hash, t->plan.warm_up, t->plan.second_lr,
		 t->plan.hold_out);
	if (rdu_program_save_as(t->s.prog, t->plan.save, meta))
		return fail("%s", rdu_error_text(t->s.prog));
	t->saved = t->done;
	return 0;
}

/* The value of a key, zero terminated; false after a message. */
static bool property(const struct trainer *t, const char *key, char *text, size_t size)
{
	size_t n = 0;
	const char *value = rdu_file_meta(t->s.file, key, &n);

	if (!value) {
		fail("%s: no checkpoint of `rdu train`: it has no \"%s\"", t->plan.resume, key);
		return false;
	}
	snprintf(text, size, "%.*s", (int)n, value);
	return true;
}

static bool property_number(const struct trainer *t, const char *key, double least, double most,
			    double *value)
{
	char text[64];

	return property(t, key, text, sizeof(text)) && parse_number(key, text, least, most, value);
}

int checkpoint_read(struct trainer *t)
{
	struct plan *p = &t->plan;
	double step, steps, lr, seed, warm, second, held;
	unsigned int word;
	char text[64];

	if (!property_number(t, "train.step", 0, 1e9, &step) ||
	    !property_number(t, "train.steps", 0, 1e9, &steps) ||
	    !property_number(t, "train.lr", 0, 1e6, &lr) ||
	    !property_number(t, "train.seed", 0, 9e15, &seed) ||
	    !property_number(t, "train.warm_up", 0, 1e9, &warm) ||
	    !property_number(t, "train.second_lr", 0, 1e6, &second) ||
	    !property_number(t, "train.hold_out", 0, 1, &held) ||
	    !property(t, "train.schedule", text, sizeof(text)) ||
	    !parse_word("train.schedule", text, schedules, &word))
		return EXIT_FAIL;
	if (p->lr < 0)
		p->lr = lr;
	if (p->seed < 0)
		p->seed = seed;
	if (p->schedule < 0)
		p->schedule = word;
	if (p->warm_up < 0)
		p->warm_up = warm;
	if (p->second_lr < 0)
		p->second_lr = second;
	if (p->hold_out < 0)
		p->hold_out = held;
	t->steps = steps;
	t->first = t->done = step;
	return 0;
}

int checkpoint_goes_on(struct trainer *t)
{
	char text[64], data[24];

	if (!property(t, "train.data", text, sizeof(text)))
		return EXIT_FAIL;
	snprintf(data, sizeof(data), "%016llx", (unsigned long long)t->data_hash);
	if (strcmp(data, text))
		return fail("%s was trained with other data than that in %s", t->plan.resume,
			    t->plan.data.source[0]);
	if (t->first >= t->steps)
		return fail("%s: all of the %u steps are done; --epochs or --steps asks for more",
			    t->plan.resume, t->steps);
	return 0;
}

int checkpoint_compare(struct trainer *t)
{
	struct rdu_file *file = NULL;
	size_t a, b;
	const void *image = rdu_file_image(t->s.file, &a), *other;
	int ret = 0;

	if (!t->plan.path)
		return 0;
	if (rdu_file_open(t->plan.path, &file)) {
		ret = fail("%s", rdu_error_text(file));
	} else {
		other = rdu_file_image(file, &b);
		if (a != b || memcmp(image, other, a))
			ret = fail("%s is no checkpoint of %s: their programs differ",
				   t->plan.resume, t->plan.path);
	}
	rdu_file_close(file);
	return ret;
}

int checkpoint_check(const struct trainer *t)
{
	const struct rdu_file *file = t->s.file;
	uint64_t bytes = 1 << 20; /* tables, names */
	size_t image;
	unsigned int i;
	int ret;

	if (!t->plan.save)
		return 0;
	rdu_file_image(file, &image);
	bytes += image;
	for (i = 0; i < rdu_file_num_regions(file); i++) {
		const struct rdu_file_region *r = rdu_file_get_region(file, i);

		if (r->kind == RDU_REGION_WEIGHT || r->kind == RDU_REGION_STATE ||
		    r->data != RDU_NO_DATA)
			bytes += r->size;
	}
	ret = lr_outfile_check(t->plan.save, bytes);
	return ret ? fail("--save %s (%llu bytes): %s", t->plan.save, (unsigned long long)bytes,
			  strerror(-ret))
		   : 0;
}

/* ---- the log ------------------------------------------------------------------------------ */

/* Cuts off what comes after the steps before `first`: it is done again. */
static int log_rewind(struct trainer *t)
{
	char *line = NULL;
	size_t room = 0;
	off_t end = 0;
	ssize_t n = getline(&line, &room, t->log);
	bool ours = n <= 0 || !strcmp(line, LOG_HEADER);
	unsigned int step;
	char comma;

	for (; ours && n > 0; n = getline(&line, &room, t->log)) {
		if (end && (sscanf(line, "%u%c", &step, &comma) != 2 || comma != ',' ||
			    step >= t->first || line[n - 1] != '\n'))
			break;
		end += n;
	}
	free(line);
	if (!ours)
		return fail("--log %s: there is something else in it than a log of `rdu train`",
			    t->plan.log);
	rewind(t->log);
	if (ftruncate(fileno(t->log), end) || fseeko(t->log, end, SEEK_SET))
		return fail("--log %s: %s", t->plan.log, strerror(errno));
	if (!end)
		fputs(LOG_HEADER, t->log);
	return 0;
}

int log_open(struct trainer *t)
{
	const char *path = t->plan.log;
	struct stat st;
	int ret = 0;

	if (!path)
		return 0;
	if (lr_outfile_is_stdout(path))
		path = "/dev/stdout";
	if (t->first && !stat(path, &st) && S_ISREG(st.st_mode)) {
		t->log = fopen(path, "r+e");
		ret = t->log ? log_rewind(t) : 0;
	} else {
		t->log = fopen(path, "we");
		if (t->log)
			fputs(LOG_HEADER, t->log);
	}
	if (ret)
		return ret;
	if (!t->log || fflush(t->log))
		return fail("--log %s: %s", t->plan.log, strerror(errno));
	return 0;
}

/* Line by line, so that it can be read along, and is there whatever comes. */
int log_step(struct trainer *t, const struct loss_point *p, const struct rdu_stats *st)
{
	if (!t->log)
		return 0;
	fprintf(t->log, "%u,%.9g,%.9g,%llu,%llu,", p->step, p->loss, p->lr,
		(unsigned long long)(st->end_cycle - st->start_cycle),
		(unsigned long long)st->wall_ns);
	if (!isnan(p->held_out))
		fprintf(t->log, "%.9g", p->held_out);
	fputc('\n', t->log);
	return fflush(t->log) ? fail("--log %s: %s", t->plan.log, strerror(errno)) : 0;
}

int log_close(struct trainer *t)
{
	FILE *log = t->log;

	t->log = NULL;
	return log && fclose(log) ? fail("--log %s: %s", t->plan.log, strerror(errno)) : 0;
}
