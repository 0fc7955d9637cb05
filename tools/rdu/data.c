// SPDX-License-Identifier: MIT
/* Batches of examples. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "data.h"

const struct tensor *data_own(struct dataset *d, const struct tensor *t)
{
	d->owned[d->num_owned] = *t;
	return &d->owned[d->num_owned++];
}

void data_free(struct dataset *d)
{
	unsigned int i;

	for (i = 0; i < d->num_owned; i++)
		free(d->owned[i].data);
	for (i = 0; i < d->num_fields; i++)
		free(d->field[i].batch);
	memset(d, 0, sizeof(*d));
}

size_t field_width(const struct field *f, size_t *outer)
{
	size_t before = 1, behind = 1;
	unsigned int i;

	for (i = 0; i < f->sym->ndim; i++) {
		if (i < f->axis)
			before *= f->sym->dims[i];
		if (i > f->axis)
			behind *= f->sym->dims[i];
	}
	if (outer)
		*outer = before;
	return before * behind;
}

/* ---- options ------------------------------------------------------------------------ */

/* One more of an option that may be given several times. */
static bool more(const char *option, const char **list, unsigned int *num, const char *text)
{
	if (*num == MAX_FIELDS) {
		fail("--%s: more than %d", option, MAX_FIELDS);
		return false;
	}
	list[(*num)++] = text;
	return true;
}

bool data_option(struct data_options *o, const char *option, const char *text)
{
	static const char *const words[] = { "uint8", "uint16", "uint32", "int32", "int64", NULL };
	static const uint32_t types[] = { RDU_DT_U8, RDU_DT_U16, RDU_DT_U32, RDU_DT_I32,
					  RDU_DT_I64 };
	unsigned int word;

	if (!strcmp(option, "data") || !strcmp(option, "eval-data"))
		return more(option, o->source, &o->num_sources, text);
	if (!strcmp(option, "columns"))
		return more(option, o->columns, &o->num_columns, text);
	if (!strcmp(option, "axis"))
		return more(option, o->axis, &o->num_axes, text);
	if (!strcmp(option, "tokens")) {
		if (!parse_word("--tokens", text, words, &word))
			return false;
		o->tokens = types[word];
		return true;
	}
	o->ignores = true; /* ignore-index */
	return parse_count("--ignore-index", text, INT32_MIN, INT32_MAX, &o->ignore);
}

/* ---- the inputs of an entry point --------------------------------------------------- */

/* The value of NAME=VALUE if the name is that of an input. */
static const char *value_for(const char *text, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(text, name, n) && text[n] == '=' ? text + n + 1 : NULL;
}

static int choose_axis(struct field *f, const struct data_options *o)
{
	double axis = 0;
	unsigned int i;

	for (i = 0; i < o->num_axes; i++) {
		const char *text = value_for(o->axis[i], f->sym->name);

		if (text && !parse_count("--axis", text, 0, RDU_MAX_DIMS - 1, &axis))
			return EXIT_FAIL;
	}
	f->axis = axis;
	if (f->axis >= f->sym->ndim)
		return fail("input \"%s\" has %u dimensions: there is no axis %u for examples",
			    f->sym->name, f->sym->ndim, f->axis);
	return 0;
}

static int add_field(struct dataset *d, const struct session *s, const struct rdu_file_symbol *sym,
		     const struct data_options *o)
{
	const char *loss = rdu_file_meta(s->file, "loss", NULL), *below;
	struct field *f = &d->field[d->num_fields];
	char key[sizeof(sym->name) + 8];

	if (d->num_fields == MAX_FIELDS)
		return fail("more than %d inputs", MAX_FIELDS);
	f->sym = sym;
	f->labels = !strcmp(sym->name, "labels") && loss &&
		    !strncmp(loss, "softmax_cross_entropy", strlen("softmax_cross_entropy"));
	snprintf(key, sizeof(key), "below.%s", sym->name);
	below = rdu_file_meta(s->file, key, NULL);
	f->below = below ? strtod(below, NULL) : 0;
	f->ignore = o->ignores ? o->ignore : NO_CLASS;
	f->batch = xcalloc(1, rdu_symbol_size(sym));
	d->num_fields++;
	switch (sym->dtype) {
	case RDU_DT_F32:
	case RDU_DT_BF16:
	case RDU_DT_F64:
	case RDU_DT_I64:
	case RDU_DT_I32:
	case RDU_DT_U8:
	case RDU_DT_BOOL:
		return choose_axis(f, o);
	}
	return fail("input \"%s\" is of type %s: data can become float32, float64, bfloat16, "
		    "int64, int32, uint8 and bool",
		    sym->name, rdu_dtype_name(sym->dtype));
}

static bool is_answer(const struct rdu_file_symbol *sym)
{
	return !strcmp(sym->name, "labels") || !strcmp(sym->name, "target");
}

static int check_names(const struct dataset *d, const char *option, unsigned int num,
		       const char *const *text)
{
	unsigned int i, k;

	for (i = 0; i < num; i++) {
		for (k = 0; k < d->num_fields; k++)
			if (value_for(text[i], d->field[k].sym->name))
				break;
		if (k == d->num_fields)
			return fail("%s %s: NAME= of one of the program's inputs, as \"%s\"",
				    option, text[i], d->field[0].sym->name);
	}
	return 0;
}

int data_fields(struct dataset *d, const struct session *s, const char *entry,
		const struct data_options *o)
{
	int e = rdu_file_find_entry(s->file, entry), last;
	unsigned int i, k;

	if (e < 0)
		return fail("%s; compile it with rduc --train", rdu_error_text(s->file));
	for (last = 0; last < 2; last++) /* what is wanted of it comes behind what it reads */
		for (i = 0; i < rdu_file_num_symbols(s->file); i++) {
			const struct rdu_file_symbol *sym = rdu_file_get_symbol(s->file, i);

			if (!(sym->entries >> e & 1) || !(sym->flags & RDU_SYM_INPUT) ||
			    !strcmp(sym->name, "lr") || is_answer(sym) != last)
				continue;
			if (add_field(d, s, sym, o))
				return EXIT_FAIL;
		}
	if (!d->num_fields)
		return fail("entry point %s has no inputs to give data to", entry);
	if (check_names(d, "--axis", o->num_axes, o->axis) ||
	    check_names(d, "--columns", o->num_columns, o->columns))
		return EXIT_FAIL;
	d->batch = d->field[0].sym->dims[d->field[0].axis];
	for (k = 1; k < d->num_fields; k++) {
		const struct field *f = &d->field[k], *first = &d->field[0];

		if (f->sym->dims[f->axis] != (int64_t)d->batch)
			return fail("input \"%s\" takes %u examples (axis %u), \"%s\" %lld (axis "
				    "%u): --axis NAME=AXIS says where examples lie",
				    first->sym->name, d->batch, first->axis, f->sym->name,
				    (long long)f->sym->dims[f->axis], f->axis);
	}
	return d->batch ? 0 : fail("input \"%s\" takes no examples", d->field[0].sym->name);
}

/* ---- parts ------------------------------------------------------------------------------ */

/* Some of a stream's tokens; whole: the last example may be shorter. */
static struct part of_stream(const struct dataset *d, size_t token, size_t tokens, bool whole)
{
	size_t labels = tokens ? tokens - 1 : 0;

	return (struct part){ 0, (labels + (whole ? d->units - 1 : 0)) / d->units, token, tokens };
}

struct part data_all(const struct dataset *d, bool whole)
{
	return d->stream ? of_stream(d, 0, d->stream, whole) : (struct part){ 0, d->count, 0, 0 };
}

int data_hold_out(const struct dataset *d, double share, struct part *train, struct part *held)
{
	size_t all = d->stream ? d->stream : d->count, n = all * share;

	*train = (struct part){ 0, all - n, 0, 0 };
	*held = (struct part){ all - n, n, 0, 0 };
	if (d->stream) {
		*train = of_stream(d, 0, all - n, false);
		*held = of_stream(d, all - n, n, true);
	}
	if (train->count && held->count)
		return 0;
	return fail("--hold-out %g of %zu %s: too few are left", share, all, d->unit);
}

uint64_t data_hash(const struct dataset *d, const struct part *p)
{
	uint64_t h = RDU_FNV1A_INIT;
	unsigned int i;

	for (i = 0; i < d->num_owned; i++)
		h = rdu_fnv1a(h, d->owned[i].data, d->owned[i].size);
	return rdu_fnv1a(h, p, sizeof(*p));
}

/* ---- batches ------------------------------------------------------------------------------ */

double data_element(const void *data, uint32_t dtype, size_t i)
{
	union {
		uint32_t word;
		float f;
	} bf;

	switch (dtype) {
	case RDU_DT_F32:
		return ((const float *)data)[i];
	case RDU_DT_F64:
		return ((const double *)data)[i];
	case RDU_DT_I64:
		return ((const int64_t *)data)[i];
	case RDU_DT_U64:
		return ((const uint64_t *)data)[i];
	case RDU_DT_I32:
		return ((const int32_t *)data)[i];
	case RDU_DT_U32:
		return ((const uint32_t *)data)[i];
	case RDU_DT_I16:
		return ((const int16_t *)data)[i];
	case RDU_DT_U16:
		return ((const uint16_t *)data)[i];
	case RDU_DT_I8:
		return ((const int8_t *)data)[i];
	case RDU_DT_U8:
	case RDU_DT_BOOL:
		return ((const uint8_t *)data)[i];
	case RDU_DT_BF16:
		bf.word = (uint32_t)((const uint16_t *)data)[i] << 16;
		return bf.f;
	}
	return NAN; /* data_read() has refused others */
}

static void put(const struct field *f, size_t at, double v)
{
	union {
		uint32_t word;
		float f;
	} bf = { .f = v };

	switch (f->sym->dtype) {
	case RDU_DT_F32:
		((float *)f->batch)[at] = v;
		break;
	case RDU_DT_F64:
		((double *)f->batch)[at] = v;
		break;
	case RDU_DT_BF16: /* to the nearest, ties to even; all are finite */
		((uint16_t *)f->batch)[at] = (bf.word + 0x7fff + (bf.word >> 16 & 1)) >> 16;
		break;
	case RDU_DT_I64:
		((int64_t *)f->batch)[at] = v;
		break;
	case RDU_DT_I32:
		((int32_t *)f->batch)[at] = v;
		break;
	default:
		((uint8_t *)f->batch)[at] = v;
	}
}

/* Where a field's numbers for an example begin, and how many of them there are. */
static size_t example(const struct dataset *d, const struct field *f, const struct part *p,
		      size_t shift, unsigned int number, size_t *there)
{
	size_t at = f->first + (size_t)(p->first + number) * f->stride, end;

	*there = SIZE_MAX;
	if (!d->stream)
		return at;
	at += p->token + shift;
	end = p->token + p->tokens;
	*there = at < end ? end - at : 0;
	return at;
}

static size_t fill(const struct dataset *d, struct field *f, const struct part *p, size_t shift,
		   const unsigned int *pick, unsigned int n)
{
	size_t outer, inner = field_width(f, &outer), classes = 0, o, i;
	unsigned int b;

	inner /= outer;
	for (b = 0; b < d->batch; b++) {
		size_t there = 0, from = 0;

		if (b < n)
			from = example(d, f, p, shift, pick[b], &there);
		for (o = 0; o < outer; o++)
			for (i = 0; i < inner; i++) {
				size_t at = (o * d->batch + b) * inner + i, k = o * f->outer + i;
				double v = f->labels ? NO_CLASS : 0;

				if (k < there)
					v = data_element(f->data, f->dtype, from + k);
				if (f->labels && v == f->ignore)
					v = NO_CLASS;
				if (f->pixels)
					v = (float)v / 255.0f;
				classes += v >= 0;
				put(f, at, v);
			}
	}
	return f->labels ? classes : n;
}

size_t data_batch(struct dataset *d, const struct part *p, size_t shift, const unsigned int *pick,
		  unsigned int n)
{
	size_t classes = n;
	unsigned int k;

	for (k = 0; k < d->num_fields; k++) {
		size_t c = fill(d, &d->field[k], p, shift, pick, n);

		if (d->field[k].labels)
			classes = c;
	}
	return classes;
}
