// SPDX-License-Identifier: MIT
/* Files of examples: images, text and other tokens, arrays. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "data.h"

#define MAX_DEPTH 32 /* of folders in folders */

static bool ends(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcmp(text + n - m, end);
}

static bool is_float(uint32_t dtype)
{
	return dtype == RDU_DT_F32 || dtype == RDU_DT_F64 || dtype == RDU_DT_BF16 ||
	       dtype == RDU_DT_F16;
}

/* ---- what all kinds are checked for ------------------------------------------------- */

/* Can an input take the number? NULL, or why not. */
static const char *misfit(const struct field *f, double v, char *text, size_t size)
{
	if (!isfinite(v))
		return "it is no finite number";
	if (is_float(f->sym->dtype))
		return NULL;
	if (v != floor(v))
		return "it is no whole number";
	if (f->labels && v == f->ignore)
		return NULL;
	if (f->below && (v < 0 || v >= f->below)) {
		snprintf(text, size, "%s 0 to %.0f", f->labels ? "the classes are" : "there are",
			 f->below - 1);
		return text;
	}
	if (f->sym->dtype == RDU_DT_U8 && (v < 0 || v > 255))
		return "uint8 goes from 0 to 255";
	if (f->sym->dtype == RDU_DT_BOOL && v != 0 && v != 1)
		return "bool is 0 or 1";
	return v < INT32_MIN || v > INT32_MAX ? "the card's numbers have 32 bits" : NULL;
}

static int bad_number(const struct dataset *d, const struct field *f, size_t number, double v,
		      const char *why)
{
	return fail("%s: %s %zu, counted from 0, has %g for \"%s\": %s", f->path,
		    d->stream ? "token" : "example", number, v, f->sym->name, why);
}

/* All numbers that a field takes. */
static int check_field(const struct dataset *d, const struct field *f)
{
	size_t outer, inner = field_width(f, &outer), e, o, i, n = d->count;
	size_t first = f->first, stride = f->stride;
	char text[80];

	inner /= outer;
	if (d->stream) { /* what is read of it is all of it, by turns */
		n = d->stream;
		outer = inner = stride = 1;
		first = 0;
	}
	for (e = 0; e < n; e++)
		for (o = 0; o < outer; o++)
			for (i = 0; i < inner; i++) {
				double v = data_element(f->data, f->dtype,
							first + e * stride + o * f->outer + i);
				const char *why = misfit(f, v, text, sizeof(text));

				if (why)
					return bad_number(d, f, e, v, why);
			}
	return 0;
}

/* ---- tokens ------------------------------------------------------------------------------ */

/* A program that tells each token's next one: an input of numbers, and labels like it. */
static bool tells_tokens(const struct dataset *d)
{
	const struct rdu_file_symbol *x = d->field[0].sym, *y = d->field[1].sym;

	return d->num_fields == 2 && x->ndim == 2 && y->ndim == 2 && !is_float(x->dtype) &&
	       d->field[1].labels && !d->field[0].axis && !d->field[1].axis &&
	       x->dims[1] == y->dims[1];
}

static int need_tokens(const struct dataset *d, const char *path)
{
	if (tells_tokens(d))
		return 0;
	return fail("%s: text and tokens are for a program with one input of whole numbers "
		    "[batch,tokens], and labels of the same shape",
		    path);
}

/* A row of tokens: each example some of them, its labels those that come next. */
static int use_stream(struct dataset *d, const char *path, const struct tensor *t)
{
	unsigned int k;

	t = data_own(d, t);
	if (need_tokens(d, path))
		return EXIT_FAIL;
	d->unit = "tokens";
	d->units = d->field[0].sym->dims[1];
	d->stream = t->size / rdu_dtype_size(t->dtype);
	if (d->stream <= d->units)
		return fail("%s: %zu tokens: an example takes %u, and the one that comes next",
			    path, d->stream, d->units);
	for (k = 0; k < 2; k++) {
		struct field *f = &d->field[k];

		f->path = path;
		f->data = t->data;
		f->dtype = t->dtype;
		f->first = k;
		f->stride = d->units;
	}
	return 0;
}

/* Sequences, one an example: [examples, tokens + 1]. */
static int use_sequences(struct dataset *d, const char *path, const struct tensor *t)
{
	unsigned int k;

	t = data_own(d, t);
	d->unit = "tokens";
	d->units = d->field[0].sym->dims[1];
	d->count = t->dims[0];
	for (k = 0; k < 2; k++) {
		struct field *f = &d->field[k];

		f->path = path;
		f->data = t->data;
		f->dtype = t->dtype;
		f->first = k;
		f->stride = t->dims[1];
	}
	return 0;
}

/* ---- text ------------------------------------------------------------------------------------ */

static int append_file(struct tensor *t, const char *path)
{
	FILE *f = fopen(path, "rb");
	unsigned char part[1 << 16];
	size_t n;
	int bad;

	if (!f)
		return fail("%s: %s", path, strerror(errno));
	while ((n = fread(part, 1, sizeof(part), f)) > 0) {
		unsigned char *more = realloc(t->data, t->size + n);

		if (!more) {
			fclose(f);
			return fail("%s: out of memory", path);
		}
		memcpy(more + t->size, part, n);
		t->data = more;
		t->size += n;
	}
	bad = ferror(f) ? errno : 0;
	fclose(f);
	return bad ? fail("%s: %s", path, strerror(bad)) : 0;
}

/* All files of a folder, and of those in it, in the order of their names. */
static int append_folder(struct tensor *t, const char *path, int depth)
{
	struct dirent **names;
	int n, i, ret = 0;

	if (depth > MAX_DEPTH)
		return fail("%s: more than %d folders in each other", path, MAX_DEPTH);
	n = scandir(path, &names, NULL, alphasort);
	if (n < 0)
		return fail("%s: %s", path, strerror(errno));
	for (i = 0; i < n; i++) {
		char *name = xmalloc(strlen(path) + strlen(names[i]->d_name) + 2);
		struct stat st;

		sprintf(name, "%s/%s", path, names[i]->d_name);
		if (ret || names[i]->d_name[0] == '.')
			; /* hidden files are not text of the folder */
		else if (stat(name, &st))
			ret = fail("%s: %s", name, strerror(errno));
		else if (S_ISDIR(st.st_mode))
			ret = append_folder(t, name, depth + 1);
		else
			ret = append_file(t, name);
		free(name);
		free(names[i]);
	}
	free(names);
	return ret;
}

/* Tokens are the bytes, or raw numbers of a type. */
static int read_raw(struct dataset *d, const char *path, uint32_t dtype, bool folder)
{
	struct tensor t = { .dtype = dtype };
	size_t size = rdu_dtype_size(dtype);

	if (folder ? append_folder(&t, path, 1) : append_file(&t, path)) {
		free(t.data);
		return EXIT_FAIL;
	}
	if (!t.size)
		return fail("%s: there is nothing in it", path);
	if (t.size % size) {
		free(t.data);
		return fail("%s: %zu bytes are no whole number of %s", path, t.size,
			    rdu_dtype_name(dtype));
	}
	return use_stream(d, path, &t);
}

/* ---- images ------------------------------------------------------------------------------------ */

static bool is_images(const char *folder, const char *split)
{
	static const char *const ends[] = { "", ".gz" };
	char path[4096];
	unsigned int i;

	for (i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s-images-idx3-ubyte%s", folder, split, ends[i]);
		if (!access(path, F_OK))
			return true;
	}
	return false;
}

static int read_images(struct dataset *d, const char *path, const char *split)
{
	struct tensor pixels = { .dtype = RDU_DT_U8 }, labels = { .dtype = RDU_DT_U8 };
	struct field *x = &d->field[0], *y = &d->field[1];
	struct images im;
	char error[512];

	if (d->num_fields != 2 || !y->labels || !is_float(x->sym->dtype) ||
	    field_width(y, NULL) != 1)
		return fail("%s: images are for a program with one floating-point input "
			    "[batch,...], and labels [batch]",
			    path);
	if (images_read(path, split, &im, error, sizeof(error)))
		return fail("%s", error);
	pixels.size = (size_t)im.count * im.rows * im.cols;
	pixels.data = im.pixels;
	labels.size = im.count;
	labels.data = im.labels;
	data_own(d, &labels);
	data_own(d, &pixels);
	d->unit = "images";
	d->units = 1;
	d->count = im.count;
	x->stride = (size_t)im.rows * im.cols;
	if (x->axis || field_width(x, NULL) != x->stride)
		return fail("\"%s\" takes images of %zu pixels, those in %s have %u x %u",
			    x->sym->name, field_width(x, NULL), path, im.rows, im.cols);
	x->path = y->path = path;
	x->data = im.pixels;
	x->dtype = y->dtype = RDU_DT_U8;
	x->pixels = true;
	y->data = im.labels;
	y->stride = 1;
	return 0;
}

/* ---- arrays ------------------------------------------------------------------------------------ */

static int read_array(const char *path, struct tensor *t)
{
	char error[512];

	if (tensor_read(path, t, error, sizeof(error)))
		return fail("%s", error);
	if (t->dtype == RDU_DT_F16 || !t->ndim) {
		free(t->data);
		return fail("%s: %s", path,
			    t->ndim ? "float16 is not read: store it as float32"
				    : "a single number");
	}
	if (!t->size) {
		free(t->data);
		return fail("%s: there is nothing in it", path);
	}
	return 0;
}

static void shape_text(char *text, size_t size, unsigned int ndim, const int64_t *dims,
		       unsigned int axis)
{
	size_t at = 0;
	unsigned int i;

	for (i = 0; i < ndim && at < size; i++)
		at += i == axis ? snprintf(text + at, size - at, "%sexamples", i ? "," : "")
				: snprintf(text + at, size - at, "%s%lld", i ? "," : "",
					   (long long)dims[i]);
}

/* An array for one input: its shape, with any number of examples. */
static int use_array(struct dataset *d, struct field *f, const char *path, struct tensor *t)
{
	char want[200], have[200];
	int64_t dims[RDU_MAX_DIMS];
	size_t outer;
	unsigned int i;
	bool same = t->ndim == f->sym->ndim;

	for (i = 0; i < f->sym->ndim; i++) {
		dims[i] = f->sym->dims[i];
		same = same && (i == f->axis || t->dims[i] == dims[i]);
	}
	t = (struct tensor *)data_own(d, t);
	if (!same) {
		shape_text(want, sizeof(want), f->sym->ndim, dims, f->axis);
		shape_text(have, sizeof(have), t->ndim, t->dims, RDU_MAX_DIMS);
		return fail("%s: its shape is [%s], \"%s\" takes [%s]", path, have, f->sym->name,
			    want);
	}
	if (d->count && d->count != t->dims[f->axis])
		return fail("%s: %lld examples, the arrays before it have %u", path,
			    (long long)t->dims[f->axis], d->count);
	d->count = t->dims[f->axis];
	f->path = path;
	f->data = t->data;
	f->dtype = t->dtype;
	f->stride = field_width(f, &outer) / outer;
	f->outer = f->stride * d->count;
	return 0;
}

static int read_arrays(struct dataset *d, const struct data_options *o)
{
	unsigned int i, k;

	d->unit = "examples";
	d->units = 1;
	for (i = 0; i < o->num_sources; i++) {
		const char *path = NULL;
		struct field *f = NULL;
		struct tensor t;

		for (k = 0; k < d->num_fields && !path; k++) {
			size_t n = strlen(d->field[k].sym->name);

			f = &d->field[k];
			if (!strncmp(o->source[i], f->sym->name, n) && o->source[i][n] == '=')
				path = o->source[i] + n + 1;
		}
		if (!path)
			return fail("--data %s: no input of the program has that name",
				    o->source[i]);
		if (f->data)
			return fail("--data %s: input \"%s\" has its data", o->source[i],
				    f->sym->name);
		if (read_array(path, &t) || use_array(d, f, path, &t))
			return EXIT_FAIL;
	}
	for (k = 0; k < d->num_fields; k++)
		if (!d->field[k].data)
			return fail("no data for input \"%s\": --data %s=FILE.npy",
				    d->field[k].sym->name, d->field[k].sym->name);
	return 0;
}

/* ---- any of them -------------------------------------------------------------------------- */

static int read_npy(struct dataset *d, const struct data_options *o, const char *path)
{
	struct tensor t;

	if (read_array(path, &t))
		return EXIT_FAIL;
	if (t.ndim == 1 && !is_float(t.dtype))
		return use_stream(d, path, &t);
	if (t.ndim == 2 && tells_tokens(d) && !is_float(t.dtype) &&
	    t.dims[1] == d->field[0].sym->dims[1] + 1)
		return use_sequences(d, path, &t);
	if (t.ndim == 2)
		return data_table(d, o, path, data_own(d, &t), NULL);
	free(t.data);
	return fail("%s: an array of %u dimensions is for one input: --data NAME=%s", path, t.ndim,
		    path);
}

static bool names_input(const struct dataset *d, const char *text)
{
	unsigned int k;

	for (k = 0; k < d->num_fields; k++) {
		size_t n = strlen(d->field[k].sym->name);

		if (!strncmp(text, d->field[k].sym->name, n) && text[n] == '=')
			return true;
	}
	return false;
}

static int read_any(struct dataset *d, const struct data_options *o, const char *split)
{
	const char *path = o->source[0];
	bool table = ends(path, ".npy") || ends(path, ".csv");
	struct stat st;

	if (names_input(d, path) || o->num_sources > 1)
		return read_arrays(d, o);
	if (stat(path, &st))
		return fail("%s: %s", path, strerror(errno));
	if (o->num_columns && (o->tokens || !table))
		return fail("--columns is for tables, and %s is none", path);
	if (o->tokens)
		return read_raw(d, path, o->tokens, S_ISDIR(st.st_mode));
	if (S_ISDIR(st.st_mode) && is_images(path, split))
		return read_images(d, path, split);
	if (ends(path, ".npy"))
		return read_npy(d, o, path);
	if (ends(path, ".csv"))
		return data_csv(d, o, path);
	return read_raw(d, path, RDU_DT_U8, S_ISDIR(st.st_mode));
}

int data_read(struct dataset *d, const struct data_options *o, const char *split)
{
	unsigned int k;
	int ret = read_any(d, o, split);

	for (k = 0; !ret && k < d->num_fields; k++)
		ret = d->field[k].pixels ? 0 : check_field(d, &d->field[k]);
	return ret;
}
