// SPDX-License-Identifier: MIT
/* The compiler's options: by name, as text. Both the library's and the command line's. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include "compile.h"

#undef free /* nothing here belongs to a compile */

static const char *const optimizers[] = { "sgd", "momentum", "adam", "adamw" };
static const char *const levels[] = { "0", "1", "2", "3" };
static const char *const precisions[] = { "bf16", "fp32" };
static const char *const whens[] = { "auto", "always", "never" };
static const char *const switches[] = { "0", "1" };

/* An option that is being set. */
struct setting {
	struct settings *s;
	const char *name, *value;
	char *error;
	size_t error_size;
};

__attribute__((format(printf, 2, 3))) static int wrong(const struct setting *o, const char *fmt,
						       ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(o->error, o->error_size, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int no_memory(const struct setting *o)
{
	wrong(o, "out of memory");
	return -ENOMEM;
}

static int number(const struct setting *o, const char *text, int64_t lo, int64_t hi, int64_t *out)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(text, &end, 10);
	if (end == text || *end || v < lo || v > hi || errno)
		return wrong(o, "--%s takes a number from %" PRId64 " to %" PRId64 ", not '%s'",
			     o->name, lo, hi, text);
	*out = v;
	return 0;
}

static int real(const struct setting *o, float lo, float hi, float *out)
{
	char *end;
	float v;

	errno = 0; /* too small for a float is not 0 */
	v = strtof(o->value, &end);
	if (end == o->value || *end || !(v >= lo && v <= hi) || errno)
		return wrong(o, "--%s takes a number from %g to %g, not '%s'", o->name, (double)lo,
			     (double)hi, o->value);
	*out = v;
	return 0;
}

/* Number of the word; or -EINVAL, and the text lists them. */
static int word(const struct setting *o, const char *const *words, int num)
{
	char list[200];
	int at = 0;

	for (int i = 0; i < num; i++) {
		if (!strcmp(words[i], o->value))
			return i;
		at += snprintf(list + at, sizeof(list) - (size_t)at, "%s%s",
			       !i	      ? ""
			       : i == num - 1 ? " or "
					      : ", ",
			       words[i]);
	}
	return wrong(o, "--%s is %s, not '%s'", o->name, list, o->value);
}

#define WORD(o, words) word(o, words, (int)(sizeof(words) / sizeof((words)[0])))

static int text(const struct setting *o, char **to)
{
	char *copy = strdup(o->value);

	if (!copy)
		return no_memory(o);
	free(*to);
	*to = copy;
	return 0;
}

static int shape(const struct setting *o)
{
	return settings_shape(o->s, o->value, o->error, o->error_size);
}

static int dim(const struct setting *o)
{
	return settings_dim(o->s, o->value, o->error, o->error_size);
}

/* NAME=V,V,...; the name may hold '='. */
static int set_value(const struct setting *o)
{
	struct import_options *im = &o->s->import;
	const char *numbers = strrchr(o->value, '=');
	struct import_value *more, *last;
	size_t n;

	if (!numbers || numbers == o->value || !numbers[1])
		return wrong(o, "--value takes NAME=V,V,..., not '%s'", o->value);
	n = (size_t)(numbers - o->value);
	for (int i = 0; i < im->num_values; i++)
		if (strlen(im->values[i].name) == n && !strncmp(im->values[i].name, o->value, n))
			return wrong(o, "--value %s is given twice", im->values[i].name);
	more = realloc(o->s->values, ((size_t)im->num_values + 1) * sizeof(*more));
	if (!more)
		return no_memory(o);
	im->values = o->s->values = more;
	last = &more[im->num_values++];
	*last = (struct import_value){ strndup(o->value, n), strdup(numbers + 1) };
	return last->name && last->numbers ? 0 : no_memory(o);
}

/* IN=OUT,...: a '*' in both, or in none. */
static int states(const struct setting *o)
{
	struct import_options *im = &o->s->import;

	for (const char *s = o->value; *s; s += strspn(s, ",")) {
		size_t n = strcspn(s, ","), in = strcspn(s, "=");
		struct import_state *more, *last;

		if (!in || in + 1 >= n)
			return wrong(o, "--state takes IN=OUT,..., not '%s'", o->value);
		more = realloc(o->s->states, ((size_t)im->num_states + 1) * sizeof(*more));
		if (!more)
			return no_memory(o);
		im->states = o->s->states = more;
		last = &more[im->num_states++];
		*last = (struct import_state){ strndup(s, in), strndup(s + in + 1, n - in - 1) };
		if (!last->in || !last->out)
			return no_memory(o);
		if (!strchr(last->in, '*') != !strchr(last->out, '*') ||
		    strchr(last->in, '*') != strrchr(last->in, '*') ||
		    strchr(last->out, '*') != strrchr(last->out, '*'))
			return wrong(o, "--state %s=%s: both names have one '*', or none has",
				     last->in, last->out);
		s += n;
	}
	return 0;
}

/* NAME=FILE: an entry point of another model. */
static int entry(const struct setting *o)
{
	static const char *const taken[] = { "forward", "train_step", "evaluate",
					     "accumulate_step" };
	struct settings *s = o->s;
	size_t n = strcspn(o->value, "="), good;
	struct entry_file *more, *last;

	good = strspn(o->value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
	if (!n || good != n || n >= sizeof(((struct module_entry *)0)->name) || !o->value[n] ||
	    !o->value[n + 1])
		return wrong(o,
			     "--entry takes NAME=FILE, a name of up to %zu letters, digits, _ and "
			     "-, not '%s'",
			     sizeof(((struct module_entry *)0)->name) - 1, o->value);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (strlen(taken[i]) == n && !strncmp(taken[i], o->value, n))
			return wrong(o, "--entry %s: the first model's entry points are called so",
				     taken[i]);
	for (int i = 0; i < s->num_entries; i++)
		if (strlen(s->entries[i].name) == n && !strncmp(s->entries[i].name, o->value, n))
			return wrong(o, "--entry %s is given twice", s->entries[i].name);
	more = realloc(s->entries, ((size_t)s->num_entries + 1) * sizeof(*more));
	if (!more)
		return no_memory(o);
	s->entries = more;
	last = &more[s->num_entries++];
	*last = (struct entry_file){ strndup(o->value, n), strdup(o->value + n + 1) };
	return last->name && last->path ? 0 : no_memory(o);
}

/* Patterns with commas between them. */
static int patterns(const struct setting *o, char ***list, struct name_patterns *p)
{
	int before = p->num;

	for (const char *s = o->value; *s; s += strspn(s, ",")) {
		size_t n = strcspn(s, ",");
		char **more = realloc(*list, ((size_t)p->num + 1) * sizeof(*more));

		if (!more)
			return no_memory(o);
		*list = more;
		p->pattern = (const char *const *)more;
		if (!n)
			continue;
		more[p->num] = strndup(s, n);
		if (!more[p->num])
			return no_memory(o);
		p->num++;
		s += n;
	}
	return p->num > before ? 0 : wrong(o, "no name in --%s", o->name);
}

static int level(const struct setting *o)
{
	int n = WORD(o, levels);

	if (n < 0 || n == 2)
		return wrong(o, "there are -O0, -O1 and -O3, not -O '%s'", o->value);
	o->s->opt.opt = n;
	return 0;
}

static int set_tiles(const struct setting *o)
{
	int64_t n = 0;
	int ret = number(o, o->value, 1, 4096, &n);

	if (!ret)
		o->s->opt.tiles = (int)n;
	return ret;
}

static int set_threads(const struct setting *o)
{
	int64_t n = 0;
	int ret = number(o, o->value, 1, 256, &n);

	if (!ret)
		o->s->opt.threads = (int)n;
	return ret;
}

static int set_memory(const struct setting *o)
{
	int64_t n = 0;
	int ret = number(o, o->value, 0, INT64_MAX, &n);

	if (!ret)
		o->s->memory = (size_t)n;
	return ret;
}

static int set_loss(const struct setting *o)
{
	int num = 0, n;

	while (train_losses[num])
		num++;
	n = word(o, train_losses, num);
	if (n >= 0)
		o->s->training.loss = train_losses[n];
	return n < 0 ? n : 0;
}

static int set_decay(const struct setting *o)
{
	int ret = real(o, 0, 1, &o->s->training.weight_decay);

	o->s->decay_given |= !ret;
	return ret;
}

/* Options that mean nothing without training, and some nothing with other optimizers than these. */
static const struct {
	const char *name;
	unsigned int optimizers; /* 0: all */
	const char *needs;
} for_training[] = {
	{ .name = "loss" },
	{ .name = "optimizer" },
	{ "momentum", 1 << OPT_MOMENTUM, "--optimizer momentum" },
	{ "beta1", 1 << OPT_ADAM | 1 << OPT_ADAMW, "--optimizer adam or adamw" },
	{ "beta2", 1 << OPT_ADAM | 1 << OPT_ADAMW, "--optimizer adam or adamw" },
	{ "epsilon", 1 << OPT_ADAM | 1 << OPT_ADAMW, "--optimizer adam or adamw" },
	{ .name = "weight-decay" },
	{ .name = "no-decay" },
	{ .name = "clip-norm" },
	{ .name = "accumulate" },
	{ .name = "steps-per-run" },
	{ .name = "unbiased-variance" },
};
#define NUM_FOR_TRAINING (sizeof(for_training) / sizeof(for_training[0]))

const char *settings_unused(const struct settings *s, const char **needs)
{
	for (size_t i = 0; i < NUM_FOR_TRAINING; i++) {
		unsigned int of = for_training[i].optimizers;

		*needs = s->train ? for_training[i].needs : "--train";
		if ((s->training_given >> i & 1) &&
		    (!s->train || (of && !(of >> s->training.optimizer & 1))))
			return for_training[i].name;
	}
	return NULL;
}

int settings_set(struct settings *s, const char *name, const char *value, char *error,
		 size_t error_size)
{
	const struct setting o = { s, name, value, error, error_size };
	struct train_options *t = &s->training;
	const struct {
		const char *name;
		float lo, hi, *to;
	} reals[] = { { "momentum", 0, 1, &t->momentum },
		      { "beta1", 0, 0.999999f, &t->beta1 },
		      { "beta2", 0, 0.999999f, &t->beta2 },
		      { "epsilon", 0, 1, &t->epsilon },
		      { "clip-norm", 1e-12f, 1e12f, &t->clip_norm } };
	const struct {
		const char *name;
		int (*set)(const struct setting *o);
	} calls[] = { { "optimize", level },
		      { "tiles", set_tiles },
		      { "threads", set_threads },
		      { "memory", set_memory },
		      { "shape", shape },
		      { "loss", set_loss },
		      { "weight-decay", set_decay },
		      { "state", states },
		      { "entry", entry },
		      { "dim", dim },
		      { "value", set_value } };
	const struct {
		const char *name;
		char **to;
	} texts[] = { { "chip", &s->chip },
		      { "name", &s->name },
		      { "print-after", &s->print_after } };
	int n;

	for (size_t i = 0; i < NUM_FOR_TRAINING; i++)
		if (!strcmp(name, for_training[i].name))
			s->training_given |= 1u << i;
	for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++)
		if (!strcmp(name, reals[i].name))
			return real(&o, reals[i].lo, reals[i].hi, reals[i].to);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (!strcmp(name, calls[i].name))
			return calls[i].set(&o);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (!strcmp(name, texts[i].name))
			return text(&o, texts[i].to);
	if (!strcmp(name, "batch"))
		return number(&o, value, 1, INT32_MAX, &s->import.batch);
	if (!strcmp(name, "accumulate"))
		return number(&o, value, 1, 1 << 20, &t->accumulate);
	if (!strcmp(name, "steps-per-run"))
		return number(&o, value, 1, 1 << 20, &t->steps);
	if (!strcmp(name, "tokens-per-run"))
		return number(&o, value, 1, 1 << 20, &s->tokens);
	if (!strcmp(name, "no-decay"))
		return patterns(&o, &s->no_decay, &s->import.no_decay);
	if (!strcmp(name, "freeze"))
		return patterns(&o, &s->freeze, &s->import.freeze);
	if (!strcmp(name, "train-only"))
		return patterns(&o, &s->train_only, &s->import.train_only);
	if (!strcmp(name, "pipe") || !strcmp(name, "hold") || !strcmp(name, "sparse-weights")) {
		n = WORD(&o, whens);
		if (n >= 0)
			*(*name == 'p'	 ? &s->opt.pipe
			  : *name == 'h' ? &s->opt.hold
					 : &s->sparse) = (enum rduc_when)n;
	} else if (!strcmp(name, "precision")) {
		n = WORD(&o, precisions);
		if (n >= 0)
			s->opt.fp32 = n;
	} else if (!strcmp(name, "train")) {
		n = WORD(&o, switches);
		if (n >= 0)
			s->train = n;
	} else if (!strcmp(name, "constant-weights")) {
		n = WORD(&o, switches);
		if (n >= 0)
			s->import.constant_weights = n;
	} else if (!strcmp(name, "unbiased-variance")) {
		n = WORD(&o, switches);
		if (n >= 0)
			t->unbiased = n;
	} else if (!strcmp(name, "greedy")) {
		n = WORD(&o, switches);
		if (n >= 0)
			s->greedy = n;
	} else if (!strcmp(name, "optimizer")) {
		n = WORD(&o, optimizers);
		if (n >= 0)
			t->optimizer = (enum optimizer)n;
	} else {
		return wrong(&o, "there is no option '%s'", name);
	}
	return n < 0 ? n : 0;
}

const char *settings_optimizer(const struct settings *s)
{
	return optimizers[s->training.optimizer];
}

void settings_init(struct settings *s)
{
	*s = (struct settings){ .opt = { .opt = 1 },
				.training = { .loss = train_losses[0],
					      .momentum = 0.9f,
					      .beta1 = 0.9f,
					      .beta2 = 0.999f,
					      .epsilon = 1e-8f } };
}

static void free_list(char **list, int num)
{
	for (int i = 0; i < num; i++)
		free(list[i]);
	free(list);
}

void settings_free(struct settings *s)
{
	for (int i = 0; i < s->import.num_shapes; i++)
		shape_free(&s->shapes[i]);
	free(s->shapes);
	for (int i = 0; i < s->num_sizes; i++)
		free(s->sizes[i].name);
	free(s->sizes);
	for (int i = 0; i < s->import.num_values; i++) {
		free((char *)s->values[i].name);
		free((char *)s->values[i].numbers);
	}
	free(s->values);
	for (int i = 0; i < s->import.num_states; i++) {
		free((char *)s->states[i].in);
		free((char *)s->states[i].out);
	}
	free(s->states);
	for (int i = 0; i < s->num_entries; i++) {
		free(s->entries[i].name);
		free(s->entries[i].path);
	}
	free(s->entries);
	free_list(s->freeze, s->import.freeze.num);
	free_list(s->train_only, s->import.train_only.num);
	free_list(s->no_decay, s->import.no_decay.num);
	free(s->chip);
	free(s->name);
	free(s->print_after);
}
